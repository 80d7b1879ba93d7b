//! The certificate of both daemons: generated once and kept, or the user's own.
//!
//! [`look`] reads what lies in /etc/dovecot/certs, and says what is wrong with it. A pair of the user's is never changed: it
//! is put in order, and both daemons read a copy of it, one file, which is swapped in whole. So they serve the same
//! at every moment, a pair that is refused leaves the running one in use, and links and mounts of single files may turn
//! at any time. A pair of ours is served where it lies.
//!
//! It cannot see a file that was renamed over one that is mounted by itself: the mount keeps showing the old one.

mod clients;
mod inspect;
mod look;
mod pair;
mod pem;
mod self_signed;
mod warnings;

use std::path::Path;

use anyhow::bail;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::clients::{wrong_chain, wrong_pair};
pub use self::look::look;
use self::pair::{Key, Pair};
pub use self::self_signed::Names;
use crate::layout::{CERTIFICATE, KEY, SERVED_CERTIFICATE};
use crate::plan::File;
use crate::report::Mistake;

/// What lies where a certificate is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    state: State,
    /// What is wrong with it.
    pub mistake: Option<Mistake>,
    /// What was put right, and what is not used.
    notes: Vec<String>,
    /// Why a change on the host may not be seen.
    pub mount: Option<String>,
    /// When it was looked at.
    seen: Timestamp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    /// Nothing at all.
    #[default]
    Nothing,
    /// Our key, whose certificate was not written yet, or was removed.
    KeyAlone(Key),
    /// A pair that was made here, and may be made anew.
    Ours(Box<Pair>),
    /// Any other.
    Users(Box<Pair>),
    /// Only root may read it.
    Unreadable(String),
}

/// A mistake is about the files, and about no variable.
pub fn is_about(mistake: &Mistake) -> bool {
    let directory = Path::new(CERTIFICATE).parent();
    directory.is_some_and(|directory| Path::new(&mistake.variable).starts_with(directory))
}

/// A certificate in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// For whom it is.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// It was made here.
    pub is_ours: bool,
    /// When it ends to be valid, in seconds since 1970.
    pub expires: i64,
}

/// What becomes of the pair.
#[derive(Debug, Default)]
pub struct Kept {
    /// What has to be written: the key first, for a key alone is completed at the next start, and a certificate alone could
    /// not be.
    pub files: Vec<File>,
    /// All that is served: it changes with the pair.
    pub served: String,
    /// What a user should know.
    pub news: Option<String>,
}

impl Found {
    /// Where the daemons read certificate and key.
    pub fn paths(&self) -> (&'static str, &'static str) {
        match self.state {
            State::Users(_) => (SERVED_CERTIFICATE, SERVED_CERTIFICATE),
            _ => (CERTIFICATE, KEY),
        }
    }

    /// What is served, if there is anything.
    pub fn summary(&self) -> Option<Summary> {
        let (State::Ours(pair) | State::Users(pair)) = &self.state else {
            return None;
        };
        let leaf = &pair.leaf;
        Some(Summary {
            names: leaf.names.clone().unwrap_or_else(|| vec![leaf.common_name.clone()]),
            issuer: leaf.issuer_name.clone(),
            is_ours: matches!(self.state, State::Ours(_)),
            expires: leaf.expires.as_second(),
        })
    }

    /// The pair is a user's own.
    pub fn is_users(&self) -> bool {
        matches!(self.state, State::Users(_))
    }

    /// What could not be looked at without being root.
    pub fn unreadable(&self) -> Option<&str> {
        match &self.state {
            State::Unreadable(path) => Some(path),
            _ => None,
        }
    }

    /// What deserves a thought. One that is made here has nothing of that kind.
    pub fn warnings(&self, hostname: &str) -> Vec<String> {
        let of_pair = match &self.state {
            State::Users(pair) => warnings::all(pair, hostname, self.seen),
            _ => Vec::new(),
        };
        self.notes.iter().cloned().chain(of_pair).collect()
    }

    /// A pair that no client accepts any more. A start serves it all the same: mail between servers flows with it.
    pub fn expired(&self) -> Option<Mistake> {
        let State::Users(pair) = &self.state else { return None };
        let reason = warnings::expired(&pair.leaf, self.seen)?;
        Some(Mistake::new(&pair.path, "", reason))
    }

    /// Sees to it that there is a pair. Writes nothing itself.
    ///
    /// Generates a self-signed one when there is none, renews one of our own before it expires or when the host's names have
    /// changed.
    pub fn keep(self, names: &Names) -> anyhow::Result<Kept> {
        match self.state {
            State::Users(pair) => Ok(Kept {
                files: vec![file(SERVED_CERTIFICATE, pair.text(), 0o600)],
                served: pair.text(),
                news: None,
            }),
            State::Ours(pair) => match self_signed::renewal(&pair.leaf, names, self.seen) {
                Some(news) => signed(&pair.key, names, news),
                None => Ok(Kept {
                    served: pair.text(),
                    ..Kept::default()
                }),
            },
            State::KeyAlone(key) => {
                let news = format!("Generated a self-signed certificate for the key {KEY}");
                signed(&key, names, news)
            }
            State::Nothing => {
                let key = self_signed::key()?;
                let news = format!(
                    "Generated a self-signed certificate for {}: {CERTIFICATE}",
                    names.hostname
                );
                let mut kept = signed(&key, names, news)?;
                kept.files.insert(0, file(KEY, key.0, 0o600));
                Ok(kept)
            }
            State::Unreadable(path) => bail!("{path}: cannot be read; root without CAP_DAC_OVERRIDE must own it"),
        }
    }
}

fn signed(key: &Key, names: &Names, news: String) -> anyhow::Result<Kept> {
    let certificate = self_signed::certificate(key, names)?;
    Ok(Kept {
        served: certificate.clone() + &key.0,
        files: vec![file(CERTIFICATE, certificate, 0o644)],
        news: Some(news),
    })
}

fn file(path: &str, pem: String, mode: u32) -> File {
    File {
        mode,
        ..File::public(Path::new(path), pem)
    }
}

#[cfg(test)]
mod tests;
