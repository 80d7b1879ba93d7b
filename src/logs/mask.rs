//! `MAILROOM_LOG_MASK=addresses`: who writes to whom is not in the logs. Each local part, `user` of `user@example.org`, becomes a keyed
//! hash, the same one each time, so that the mails of one person can still be told from another's. The key stays on the server.
//!
//! What is no address stays: names in paths of mailboxes, for one. A message's id is no address, though it looks like one.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Bytes of the hash that are shown: 40 bits.
const SHOWN: usize = 5;
/// Before a local part of a message's id.
const IDS: [&str; 4] = ["message-id=<", "message-id=", "msgid=<", "msgid="];
/// Before a name that may come without a domain.
const NAMES: [&str; 2] = ["user=<", "sasl_username="];

/// Masks lines.
#[derive(Clone)]
pub struct Mask {
    key: String,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// With this key.
    pub fn new(key: String) -> Mask {
        Mask { key }
    }

    /// The line without local parts.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('@') {
            let begin = local_part(&rest[..at]);
            let (before, local) = rest[..at].split_at(begin);
            self.names(before, &mut masked);
            if local.is_empty() || IDS.iter().any(|id| before.ends_with(id)) {
                masked.push_str(local);
            } else {
                self.hash(local, &mut masked);
            }
            let domain = rest[at..]
                .find(['>', ',', ' ', ')', '"', ';'])
                .unwrap_or(rest.len() - at);
            masked.push_str(&rest[at..at + domain]);
            rest = &rest[at + domain..];
        }
        self.names(rest, &mut masked);
        masked
    }

    /// Names that stand alone, as in `user=<admin>` and `sasl_username=admin`; those with a domain end at an @.
    fn names(&self, text: &str, masked: &mut String) {
        let found = NAMES.iter().find_map(|opening| {
            let begin = text.find(opening)? + opening.len();
            let end = text[begin..]
                .find(['>', ',', ' '])
                .map_or(text.len(), |end| begin + end);
            Some((begin, end)).filter(|(begin, end)| begin < end)
        });
        let Some((begin, end)) = found else {
            return masked.push_str(text);
        };
        masked.push_str(&text[..begin]);
        self.hash(&text[begin..end], masked);
        self.names(&text[end..], masked);
    }

    fn hash(&self, local: &str, masked: &mut String) {
        let digest = Sha256::new()
            .chain_update(self.key.as_bytes())
            .chain_update([0])
            .chain_update(local.to_lowercase().as_bytes())
            .finalize();
        masked.push_str("u-");
        for byte in &digest[..SHOWN] {
            let _ = write!(masked, "{byte:02x}");
        }
    }
}

/// Where the local part at the end of a text begins: a quoted one at its quote (RFC 5321, section 4.1.2).
fn local_part(text: &str) -> usize {
    if let Some(within) = text.strip_suffix('"')
        && let Some(begin) = within.rfind('"')
    {
        return begin;
    }
    let is_before = |sign: char| sign.is_whitespace() || "<>,;:=()[]\"'".contains(sign);
    let last = text.char_indices().rfind(|(_, sign)| is_before(*sign));
    last.map_or(0, |(at, sign)| at + sign.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(text: &str) -> String {
        Mask::new("key".to_owned()).apply(text)
    }

    #[test]
    fn local_parts_become_hashes() {
        let user = masked("user@example.org");
        let hash = user.strip_suffix("@example.org").unwrap();
        assert!(hash.starts_with("u-") && hash.len() == 12, "{hash}");
        for (text, expected) in [
            (
                "to=<user@example.org>, orig_to=<USER>",
                format!("to=<{hash}@example.org>, orig_to=<USER>"),
            ),
            (
                "imap(user@example.org)<44><x>: Disconnected",
                format!("imap({hash}@example.org)<44><x>: Disconnected"),
            ),
            (
                "Logged in: user=<user>, method=PLAIN",
                format!("Logged in: user=<{hash}>, method=PLAIN"),
            ),
            (
                "client=a[192.0.2.1], sasl_method=PLAIN, sasl_username=user",
                format!("client=a[192.0.2.1], sasl_method=PLAIN, sasl_username={hash}"),
            ),
            ("message-id=<2026.1@host>", "message-id=<2026.1@host>".to_owned()),
            ("user=<>, rip=192.0.2.1", "user=<>, rip=192.0.2.1".to_owned()),
            ("nothing", "nothing".to_owned()),
        ] {
            assert_eq!(masked(text), expected);
        }
        let quoted = masked("to=<\"a secret\"@example.org>");
        assert!(
            !quoted.contains("secret") && quoted.ends_with("@example.org>"),
            "{quoted}"
        );
        assert_ne!(Mask::new("other".to_owned()).apply("user@example.org"), user);
    }

    proptest! {
        #[test]
        fn no_local_part_is_left(local in "[a-z]{6,20}", before in "[ <=,(]", after in "[>, )]") {
            let text = format!("x{before}{local}@example.org{after}y");
            prop_assert!(!masked(&text).contains(&local));
        }

        #[test]
        fn any_text_is_masked(text in ".{0,100}") {
            masked(&text);
        }
    }
}
