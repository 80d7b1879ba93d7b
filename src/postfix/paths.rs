//! Files and directories that parameters name besides tables: certificates, keys, lists. A client whose CA file is missing,
//! or holds no certificate, sends without TLS; a list that is missing makes smtpd(8) refuse all mail for a while. Reads only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use x509_parser::pem::Pem;

use super::user_tables::{no_text, plain_files};
use crate::values::text;

/// What shall be at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Certificates in PEM.
    Certificates,
    /// A private key in PEM.
    Key,
    /// Both, in one or several files.
    Chain,
    /// A directory that the user postfix reads: daemons look in it after they have dropped their privileges.
    Directory,
    /// A list of words.
    List,
    /// Any file.
    File,
}

/// Words that stand for no file.
const WORDS: [&str; 3] = ["auto", "default", "none"];

/// By the ends of the names of parameters (postconf(5)).
const BY_END: [(&str, Wanted); 8] = [
    ("_CAfile", Wanted::Certificates),
    ("_CApath", Wanted::Directory),
    ("cert_file", Wanted::Certificates),
    ("key_file", Wanted::Key),
    ("_tls_chain_files", Wanted::Chain),
    ("_trust_anchor_file", Wanted::Certificates),
    ("_param_file", Wanted::File),
    ("bounce_template_file", Wanted::File),
];

/// Lists in which `/path` stands for what a file holds.
const LISTS: [&str; 14] = [
    "debug_peer_list",
    "fast_flush_domains",
    "masquerade_domains",
    "masquerade_exceptions",
    "parent_domain_matches_subdomains",
    "permit_mx_backup_networks",
    "qmqpd_authorized_clients",
    "relay_domains",
    "smtp_sasl_mechanism_filter",
    "smtpd_authorized_verp_clients",
    "smtpd_authorized_xclient_hosts",
    "smtpd_authorized_xforward_hosts",
    "smtpd_client_event_limit_exceptions",
    "virtual_alias_domains",
];

/// What is wrong with the files that a parameter names.
pub(super) fn wrong(name: &str, value: &str) -> Option<String> {
    if value.is_empty() || value.contains('$') {
        return None;
    }
    if LISTS.contains(&name) {
        let mut files = plain_files(value);
        return files.find_map(|path| at(Wanted::List, &path));
    }
    let (_, wanted) = BY_END.iter().find(|(end, _)| name.ends_with(end))?;
    match wanted {
        Wanted::Chain => value
            .split([',', ' ', '\t'])
            .filter(|word| !word.is_empty())
            .find_map(|path| at(*wanted, path)),
        Wanted::File if WORDS.contains(&value) => None,
        _ => at(*wanted, value),
    }
}

fn at(wanted: Wanted, value: &str) -> Option<String> {
    let quoted = ['"', '\''].into_iter().find(|quote| value.starts_with(*quote));
    if let Some(quote) = quoted {
        return Some(format!(
            "names the file {value}: the quotes ({quote}) are part of it; leave them off"
        ));
    }
    if !value.starts_with('/') {
        return Some(format!("{value} is not a path: one begins with a /"));
    }
    let path = Path::new(value);
    let there = match fs::metadata(path) {
        // Somebody else's check cannot look into root's directories.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(format!("{value} does not exist: mount it, or name one that is there"));
        }
        Err(error) => return Some(format!("{value}: {error}")),
        Ok(there) => there,
    };
    match wanted {
        Wanted::Directory if !there.is_dir() => Some(format!("{value} is not a directory")),
        Wanted::Directory if there.permissions().mode() & 0o005 != 0o005 => Some(format!(
            "{value} cannot be read by the user postfix: give it the mode 0755, and its files 0644"
        )),
        Wanted::Directory => None,
        _ if there.is_dir() => Some(format!("{value} is a directory, not a file")),
        Wanted::File => None,
        Wanted::List => no_text(path),
        _ => in_pem(wanted, value, &fs::read(path).ok()?),
    }
}

/// What is wrong with what a file holds. OpenSSL refuses the whole file for one certificate that it cannot read.
fn in_pem(wanted: Wanted, path: &str, bytes: &[u8]) -> Option<String> {
    if let Some((line, reason)) = text::wrong(bytes) {
        return Some(format!("{path}:{line}: {reason}"));
    }
    let (mut certificates, mut keys) = (0, 0);
    for block in Pem::iter_from_buffer(bytes) {
        let Ok(block) = block else {
            return Some(format!("{path} is no PEM file that can be read to its end"));
        };
        match block.label.as_str() {
            "ENCRYPTED PRIVATE KEY" => {
                return Some(format!(
                    "the key in {path} is encrypted: nobody is there to type its password"
                ));
            }
            label if label.ends_with("PRIVATE KEY") => keys += 1,
            "CERTIFICATE" if block.parse_x509().is_err() => {
                return Some(format!("certificate {} in {path} cannot be read", certificates + 1));
            }
            "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => certificates += 1,
            _ => {}
        }
    }
    let is_for_keys = matches!(wanted, Wanted::Key);
    match wanted {
        Wanted::Certificates if certificates == 0 => Some(format!(
            "{path} holds no certificate: it must be a PEM file with -----BEGIN CERTIFICATE-----"
        )),
        _ if is_for_keys && keys == 0 => Some(format!(
            "{path} holds no private key: it must be a PEM file with -----BEGIN PRIVATE KEY-----"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_not_what_is_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let pair = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::default().self_signed(&pair).unwrap().pem();
        let (ca, key) = (file("ca.pem", &signed), file("key.pem", &pair.serialize_pem()));
        let broken = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
        let (empty, half) = (file("empty", ""), file("half", &format!("{signed}{broken}")));
        let marked = file("marked", &format!("\u{feff}{signed}"));
        let here = directory.path().display().to_string();
        for (name, value) in [
            ("smtp_tls_CAfile", ca.as_str()),
            ("smtp_tls_CAfile", ""),
            ("smtp_tls_CAfile", "$x/y"),
            ("smtp_tls_key_file", &key),
            ("smtp_tls_chain_files", &format!("{key}, {ca}")),
            ("smtpd_tls_dh1024_param_file", "auto"),
            ("relay_domains", "a.test !b.test"),
            ("mailbox_command", "/nonexistent"),
        ] {
            assert_eq!(wrong(name, value), None, "{name}={value}");
        }
        for (name, value, reason) in [
            ("smtp_tls_CAfile", "/nonexistent.pem", "does not exist"),
            ("lmtp_tls_CApath", "/nonexistent", "does not exist"),
            ("smtp_tls_CAfile", &format!("\"{ca}\""), "leave them off"),
            ("smtp_tls_CAfile", "ca.pem", "begins with a /"),
            ("smtp_tls_CAfile", &here, "is a directory"),
            ("smtp_tls_CAfile", &empty, "holds no certificate"),
            ("smtp_tls_CAfile", &half, "certificate 2"),
            ("smtp_tls_CApath", &ca, "is not a directory"),
            ("smtp_tls_key_file", &ca, "holds no private key"),
            ("smtp_tls_chain_files", &format!("{ca}, /nonexistent"), "does not exist"),
            ("relay_domains", "a.test, /nonexistent", "does not exist"),
            ("relay_domains", &marked, ":1: begins with a byte-order mark"),
            ("smtp_tls_CAfile", &marked, ":1: begins with a byte-order mark"),
        ] {
            let said = wrong(name, value).expect(value);
            assert!(said.contains(reason), "{name}={value}: {said}");
        }
    }
}
