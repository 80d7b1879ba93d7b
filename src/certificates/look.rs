//! What lies in /etc/dovecot/certs, and whether it can be served. Reads only.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use rcgen::KeyPair;

use super::pair::{self, Key, Pair};
use super::{Found, State, pem, self_signed, warnings};
use crate::layout::{CERTIFICATE, KEY};
use crate::report::Mistake;
use crate::system::proc;

/// Names that other programs give to chain and key: certbot and most that work with ACME, Kubernetes.
const OTHER_NAMES: [(&str, &str); 2] = [("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key")];

/// How the names of files end that may be of use here.
const ENDS: [&str; 8] = ["pem", "crt", "cer", "key", "der", "p12", "pfx", "p7b"];

/// Looks at what is there.
pub fn look() -> Found {
    let mounts = Mounts {
        points: proc::mount_points(),
        replaced: proc::replaced_mounts(),
    };
    look_at(Path::new(CERTIFICATE), Path::new(KEY), &mounts)
}

/// Where something is mounted, and of that what is no longer on the host where it was.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub points: BTreeSet<PathBuf>,
    pub replaced: BTreeSet<PathBuf>,
}

/// As [`look`], at these paths.
pub(super) fn look_at(certificate: &Path, key: &Path, mounts: &Mounts) -> Found {
    let (state, mistake) = match state(certificate, key, mounts) {
        Ok(state) => (state, None),
        Err(Wrong::Mistake(mistake)) => (State::Nothing, Some(mistake)),
        Err(Wrong::Forbidden(path)) => (State::Unreadable(path), None),
    };
    let is_users = matches!(state, State::Users(_));
    let unused = if is_users || mistake.is_some() {
        None
    } else {
        unused(certificate, key)
    };
    Found {
        state,
        mistake,
        notes: unused.into_iter().collect(),
        mount: [certificate, key].into_iter().find_map(|path| stale(path, mounts)),
        seen: Timestamp::now(),
    }
}

/// Why there is nothing to serve.
enum Wrong {
    Mistake(Mistake),
    /// Others than root may not read it.
    Forbidden(String),
}

impl From<Mistake> for Wrong {
    fn from(mistake: Mistake) -> Wrong {
        Wrong::Mistake(mistake)
    }
}

fn state(certificate: &Path, key: &Path, mounts: &Mounts) -> Result<State, Wrong> {
    let is_foreign = |path: &Path| path.is_symlink() || mounts.points.contains(path);
    let of_path = |path: &Path| path.display().to_string();
    let found = (read(certificate)?, read(key)?);
    let state = match found {
        (None, None) => State::Nothing,
        (None, Some(_)) if is_foreign(key) => {
            let reason = format!(
                "there is a key, but its certificate {} is missing; mount both",
                of_path(certificate)
            );
            return Err(Mistake::new(of_path(key), "", reason).into());
        }
        (None, Some(bytes)) => State::KeyAlone(key_alone(&of_path(key), &bytes)?),
        (Some(chain), given) => {
            let (certificate_path, key_path) = (of_path(certificate), of_path(key));
            if given.is_none() && !pem::sections(&chain).iter().any(pem::Section::is_key) {
                let reason =
                    format!("there is a certificate, but its key {key_path} is missing; mount both or neither");
                return Err(Mistake::new(certificate_path, "", reason).into());
            }
            let key_content = given.as_deref().map(|bytes| (key_path.as_str(), bytes));
            let pair = Box::new(pair::pair((&certificate_path, &chain), key_content)?);
            let is_foreign = is_foreign(certificate) || is_foreign(key) || is_read_only(certificate);
            let may_be_renewed = given.is_some() && !is_foreign;
            if may_be_renewed && self_signed::is_ours(&pair.leaf) {
                State::Ours(pair)
            } else {
                State::Users(pair)
            }
        }
    };
    match &state {
        State::Nothing | State::Ours(_) => match under_other_names(certificate)? {
            Some(pair) => Ok(State::Users(pair)),
            None => can_be_made(&state, certificate).map(|()| state).map_err(Wrong::from),
        },
        _ => Ok(state),
    }
}

/// A pair with names that other programs give, which comes before one of ours.
fn under_other_names(certificate: &Path) -> Result<Option<Box<Pair>>, Wrong> {
    let directory = certificate.parent().unwrap_or(certificate);
    for (chain, key) in OTHER_NAMES.map(|(chain, key)| (directory.join(chain), directory.join(key))) {
        if let (Some(chain_bytes), Some(key_bytes)) = (read(&chain)?, read(&key)?) {
            let (chain, key) = (chain.display().to_string(), key.display().to_string());
            let mut pair = pair::pair((&chain, &chain_bytes), Some((&key, &key_bytes)))?;
            let until = warnings::day(pair.leaf.expires);
            pair.notes.push(format!(
                "Certificate: {chain} and {key} are served, valid until {until}"
            ));
            return Ok(Some(Box::new(pair)));
        }
    }
    Ok(None)
}

/// One file of a pair with such names, and the other one, which is missing.
fn half_a_pair(directory: &Path) -> Option<(PathBuf, PathBuf)> {
    let pairs = OTHER_NAMES.map(|(chain, key)| (directory.join(chain), directory.join(key)));
    let both_ways = pairs
        .into_iter()
        .flat_map(|(chain, key)| [(chain.clone(), key.clone()), (key, chain)]);
    both_ways
        .into_iter()
        .find(|(one, other)| one.exists() && !other.exists())
}

/// Where there is none, one is made: that needs a directory that can be written.
fn can_be_made(state: &State, certificate: &Path) -> Result<(), Mistake> {
    let directory = certificate.parent().unwrap_or(certificate);
    if *state == State::Nothing && is_read_only(certificate) {
        if let Some((there, missing)) = half_a_pair(directory) {
            let reason = format!(
                "is there, but {} is missing, which belongs to it; mount both",
                missing.display()
            );
            return Err(Mistake::new(there.display().to_string(), "", reason));
        }
        let reason = "there is no certificate here, and none can be made: the directory is mounted read-only; mount one that \
                      holds dovecot.crt and dovecot.key, or one that can be written";
        return Err(Mistake::new(directory.display().to_string(), "", reason));
    }
    Ok(())
}

/// The directory of a file is mounted read-only.
fn is_read_only(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(path);
    access(directory, AccessFlags::W_OK) == Err(Errno::EROFS)
}

/// What is of no use as it is called, where a certificate is made instead.
fn unused(certificate: &Path, key: &Path) -> Option<String> {
    let directory = certificate.parent()?;
    let entries = fs::read_dir(directory).ok()?.flatten();
    let is_of_use = |path: &PathBuf| {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or("");
        path != certificate && path != key && ENDS.contains(&end)
    };
    let mut names: Vec<String> = entries
        .filter(|entry| is_of_use(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    let advice = match half_a_pair(directory) {
        Some((_, missing)) => format!("{} is missing", missing.display()),
        None => "call the chain dovecot.crt and the key dovecot.key (fullchain.pem and privkey.pem, or tls.crt and tls.key, \
                 are understood too)"
            .to_owned(),
    };
    (!names.is_empty()).then(|| {
        format!(
            "Warning: {} holds {}, which is not used: a self-signed certificate is served; {advice}",
            directory.display(),
            names.join(", ")
        )
    })
}

/// A key of ours whose certificate is missing.
fn key_alone(path: &str, bytes: &[u8]) -> Result<Key, Mistake> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    match KeyPair::from_pem(&text) {
        Ok(_) => Ok(Key(text)),
        Err(error) => Err(Mistake::new(
            path,
            "",
            format!("there is no certificate, and none can be made for this key ({error}): mount both, or remove it"),
        )),
    }
}

/// What a file holds; `None` where there is nothing, not even a link.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Wrong> {
    let shown = path.display().to_string();
    let wrong = |reason: String| Err(Mistake::new(&shown, "", reason).into());
    if fs::metadata(path).is_ok_and(|there| there.is_dir()) {
        return wrong(
            "is a directory: docker made it because the file is missing on the host; put the file there (remove the \
             directory that docker made on the host too), and make the container anew"
                .to_owned(),
        );
    }
    match (fs::read(path), fs::read_link(path)) {
        (Ok(bytes), _) => Ok(Some(bytes)),
        (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => Err(Wrong::Forbidden(shown)),
        (Err(error), Err(_)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        (Err(error), Ok(target)) if error.kind() == io::ErrorKind::NotFound => wrong(format!(
            "is a link to {}, and what that leads to is not there: mount the directory that holds the file itself too \
             (certbot's live/ needs archive/ beside it), or copy it with cp -L",
            target.display()
        )),
        (Err(error), Ok(target)) => wrong(format!(
            "is a link to {}, which cannot be read: {error}",
            target.display()
        )),
        (Err(error), Err(_)) => wrong(format!("cannot be read: {error}")),
    }
}

/// Why a new file on the host may not be seen here.
fn stale(path: &Path, mounts: &Mounts) -> Option<String> {
    let shown = path.display();
    let directory = path.parent().unwrap_or(path);
    if let Some(point) = [path, directory]
        .into_iter()
        .find(|point| mounts.replaced.contains(*point))
    {
        return Some(format!(
            "{} was replaced on the host, and this mount keeps the old one: docker restart shows the new one; mount the \
             directory that it lies in, and a reload is enough",
            point.display()
        ));
    }
    mounts.points.contains(path).then(|| {
        format!(
            "{shown} is mounted as a single file: one that was renamed over it on the host, or a link that was turned there, is \
             seen after docker restart; mount the directory, and a reload is enough"
        )
    })
}
