//! Pairs as people have them, in a directory of the test's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
};

use super::look::{Mounts, look_at};
use super::*;

const HOST: &str = "mx.example.org";

/// A leaf with its key, the intermediate that signed it, and the root.
struct Issued {
    key: String,
    leaf: String,
    intermediate: String,
    root: String,
}

fn named(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = named(name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

fn issued_for(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let new_key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let (root_key, intermediate_key) = (new_key(), new_key());
    let (root, intermediate) = (authority("Root"), authority("Intermediate"));
    let mut leaf = named(HOST, &[HOST]);
    set_times(&mut leaf, -1, 60);
    change(&mut leaf);
    let by_root = Issuer::from_params(&root, &root_key);
    let by_intermediate = Issuer::from_params(&intermediate, &intermediate_key);
    Issued {
        key: key.serialize_pem(),
        leaf: leaf.signed_by(key, &by_intermediate).unwrap().pem(),
        intermediate: intermediate.signed_by(&intermediate_key, &by_root).unwrap().pem(),
        root: root.self_signed(&root_key).unwrap().pem(),
    }
}

fn issued() -> Issued {
    issued_for(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), |_| {})
}

/// Days from now.
fn set_times(parameters: &mut CertificateParams, begins: i64, expires: i64) {
    let time = |days: i64| {
        let seconds = Timestamp::now().as_second() + days * 86_400 + 43_200;
        (std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.cast_unsigned())).into()
    };
    (parameters.not_before, parameters.not_after) = (time(begins), time(expires));
}

/// A directory that stands for /etc/dovecot/certs.
struct Certs(tempfile::TempDir);

impl Certs {
    fn new() -> Certs {
        Certs(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Certs {
        fs::write(self.at(name), content).unwrap();
        self
    }

    fn look(&self) -> Found {
        look_at(&self.at("dovecot.crt"), &self.at("dovecot.key"), &Mounts::default())
    }

    /// What is wrong: the file's name, and the reason.
    fn refused(&self) -> (String, String) {
        let mistake = self.look().mistake.unwrap();
        let name = Path::new(&mistake.variable).file_name().unwrap();
        (name.to_string_lossy().into_owned(), mistake.reason)
    }

    /// What is served of a user's pair.
    fn served(&self) -> String {
        let found = self.look();
        assert_eq!(found.mistake, None);
        assert!(found.is_users());
        found.keep(&names(HOST)).unwrap().served
    }

    /// Keeps the pair, and writes what has to be written, here; returns the news.
    fn keep(&self, names: &Names) -> Option<String> {
        let found = self.look();
        assert_eq!(found.mistake, None);
        let kept = found.keep(names).unwrap();
        for file in kept.files {
            self.write(file.path.file_name().unwrap().to_str().unwrap(), file.bytes);
        }
        kept.news
    }
}

fn names(hostname: &str) -> Names {
    Names {
        hostname: hostname.to_owned(),
        more: Vec::new(),
    }
}

#[test]
fn a_pair_is_generated_once_and_follows_the_names() {
    let certs = Certs::new();
    assert!(certs.keep(&names(HOST)).unwrap().starts_with("Generated a self-signed"));
    assert_eq!(certs.keep(&names(HOST)), None);
    let key = fs::read(certs.at("dovecot.key")).unwrap();
    assert!(certs.keep(&names("a.test")).unwrap().ends_with("for a.test"));
    let mut more = names("a.test");
    more.more = ["smtp", "10.0.0.5", "a.test"].map(str::to_owned).into();
    assert!(certs.keep(&more).unwrap().ends_with("for smtp, 10.0.0.5 too"));
    assert_eq!(certs.keep(&more), None);
    assert_eq!(fs::read(certs.at("dovecot.key")).unwrap(), key, "the key is kept");
    assert_eq!(certs.look().paths(), (CERTIFICATE, KEY));

    fs::remove_file(certs.at("dovecot.crt")).unwrap();
    assert!(certs.keep(&names(HOST)).unwrap().contains("for the key"));
}

#[test]
fn a_generated_certificate_is_renewed_in_its_last_month_and_others_never() {
    let certs = Certs::new();
    let key = self_signed::key().unwrap();
    let pair = KeyPair::from_pem(&key.0).unwrap();
    let left = |days: i64, organisation: &str| {
        let mut parameters = named(HOST, &[HOST]);
        set_times(&mut parameters, -1, days);
        parameters
            .distinguished_name
            .push(DnType::OrganizationName, organisation);
        let signed = parameters.self_signed(&pair).unwrap();
        certs.write("dovecot.crt", signed.pem()).write("dovecot.key", &key.0);
        certs.look().keep(&names(HOST)).unwrap().news
    };
    assert_eq!(left(31, self_signed::ORGANISATION), None);
    assert!(
        left(29, self_signed::ORGANISATION)
            .unwrap()
            .ends_with("which had 29 days left")
    );
    for days in [29, -3] {
        assert_eq!(left(days, "Somebody else"), None);
    }
}

#[test]
fn a_pair_that_is_linked_or_mounted_is_not_ours_to_renew() {
    let certs = Certs::new();
    certs.keep(&names("a.test"));
    let (certificate, key) = (certs.at("dovecot.crt"), certs.at("dovecot.key"));
    let mut mounts = Mounts::default();
    mounts.points.insert(key.clone());
    let found = look_at(&certificate, &key, &mounts);
    assert!(found.is_users() && found.mount.unwrap().contains("as a single file"));
    fs::rename(&certificate, certs.at("real.crt")).unwrap();
    symlink("real.crt", &certificate).unwrap();
    assert!(certs.look().is_users());
    // A key alone is completed where it is ours.
    fs::remove_file(&certificate).unwrap();
    let found = look_at(&certificate, &key, &mounts);
    assert!(found.mistake.unwrap().reason.contains("is missing; mount both"));
}

/// Rows 1 and 2.
#[test]
fn links_that_lead_nowhere_are_refused_with_their_targets() {
    let certs = Certs::new();
    let issued = issued();
    symlink("../../archive/mx/fullchain1.pem", certs.at("dovecot.crt")).unwrap();
    let (name, reason) = certs.refused();
    assert_eq!(name, "dovecot.crt");
    assert!(
        reason.contains("is a link to ../../archive/mx/fullchain1.pem"),
        "{reason}"
    );
    fs::remove_file(certs.at("dovecot.crt")).unwrap();
    certs.write("dovecot.crt", &issued.leaf);
    assert!(certs.refused().1.contains("its key"), "the key is missing");
    symlink("dovecot.key", certs.at("dovecot.key")).unwrap();
    let (name, reason) = certs.refused();
    assert_eq!(name, "dovecot.key");
    assert!(
        reason.contains("is a link to dovecot.key, which cannot be read"),
        "{reason}"
    );
}

/// Rows 3, 4, 5, 7 and what passed before: all are served, as leaf, intermediate, root, key.
#[test]
fn what_can_be_put_right_is_served() {
    let Issued {
        key,
        leaf,
        intermediate,
        root,
    } = issued();
    let chain = format!("{leaf}{intermediate}");
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let bom = "\u{feff}";
    let long = |pem: &str| {
        let lines: Vec<&str> = pem.lines().collect();
        let (first, last) = (lines[0], lines[lines.len() - 1]);
        format!("{first}\n{}\n{last}", lines[1..lines.len() - 1].concat())
    };
    for (certificate, key_file) in [
        (chain.clone(), key.clone()),
        (format!("{key}{chain}"), format!("{key}{chain}")),
        (format!("{chain}{key}"), format!("{chain}{key}")),
        (chain.clone(), format!("{parameters}{key}")),
        (format!("{bom}{chain}"), format!("{bom}{key}")),
        (chain.replace('\n', "\r\n"), key.replace('\n', "\r\n")),
        (format!("{intermediate}{leaf}"), key.clone()),
        (
            format!("Bag Attributes\n    friendlyName: x\n{chain}"),
            format!("{key}\n "),
        ),
        (chain.trim().to_owned(), key.trim().to_owned()),
        (format!("{}{intermediate}", leaf.trim()), key.clone()),
        (format!("{}\n{intermediate}", long(&leaf)), long(&key)),
        (chain.replace('\n', "\n  "), key.replace('\n', "\n\t")),
    ] {
        let certs = Certs::new();
        certs.write("dovecot.crt", &certificate).write("dovecot.key", &key_file);
        let served = certs.served().replace("X509 ", "");
        let plain = |text: &str| text.replace("\r\n", "\n");
        assert_eq!(served, plain(&format!("{chain}{key}")), "{certificate}");
        let is_turned = certificate.starts_with(&intermediate);
        let warnings = certs.look().warnings(HOST);
        assert_eq!(warnings.iter().any(|line| line.contains("not in the order")), is_turned);
        assert_eq!(warnings.len(), usize::from(is_turned), "{warnings:?}");
    }
    let certs = Certs::new();
    certs.write("dovecot.crt", format!("{key}{root}{intermediate}{leaf}"));
    assert_eq!(certs.served(), format!("{chain}{root}{key}"), "one file for all");
    assert_eq!(certs.look().paths(), (SERVED_CERTIFICATE, SERVED_CERTIFICATE));
}

#[test]
fn keys_of_all_kinds_are_served() {
    for kind in [&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512, &PKCS_ED25519] {
        let issued = issued_for(&KeyPair::generate_for(kind).unwrap(), |_| {});
        let certs = Certs::new();
        certs.write("dovecot.crt", issued.leaf).write("dovecot.key", issued.key);
        certs.served();
    }
}

/// Rows 6, 8 and 10.
#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let (issued, other) = (issued(), issued());
    let relabelled = |pem: &str, from: &str, to: &str| pem.replace(&format!("{from}-----"), &format!("{to}-----"));
    let der = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents;
    let (leaf, key) = (issued.leaf.clone().into_bytes(), issued.key.clone().into_bytes());
    let trusted = relabelled(&issued.leaf, " CERTIFICATE", " TRUSTED CERTIFICATE").into_bytes();
    let encrypted = relabelled(&issued.key, " PRIVATE KEY", " ENCRYPTED PRIVATE KEY").into_bytes();
    let old_style = issued
        .key
        .replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1);
    for (certificate, key, name, reason) in [
        (&trusted, &key, "crt", "openssl x509 -in"),
        (&der(&issued.leaf), &key, "crt", "openssl x509 -inform DER -in"),
        (&leaf, &der(&issued.key), "key", "openssl pkey -inform DER -in"),
        (&leaf, &encrypted, "key", "the key is encrypted"),
        (&leaf, &old_style.into_bytes(), "key", "the key is encrypted"),
        (&leaf, &Vec::new(), "key", "is empty"),
        (&Vec::new(), &key, "crt", "is empty"),
        (&leaf, &b"nonsense".to_vec(), "key", "not a private key in PEM form"),
        (&leaf, &leaf, "key", "holds no private key, but: CERTIFICATE"),
        (&key, &key, "crt", "holds no certificate, but: PRIVATE KEY"),
        (&leaf, &other.key.into_bytes(), "crt", "do not belong together"),
        (&leaf[..leaf.len() - 30].to_vec(), &key, "crt", "it was cut off"),
    ] {
        let certs = Certs::new();
        certs.write("dovecot.crt", certificate).write("dovecot.key", key);
        let (at, said) = certs.refused();
        assert!(
            at.ends_with(name) && said.contains(reason),
            "{at}: {said}; expected {reason}"
        );
    }
    let certs = Certs::new();
    fs::create_dir(certs.at("dovecot.key")).unwrap();
    assert!(certs.refused().1.contains("docker made it because"));
}

/// Row 9.
#[test]
fn what_deserves_a_thought_is_one_warning_each() {
    let warnings = |host: &str, with_chain: bool, change: &dyn Fn(&mut CertificateParams)| {
        let issued = issued_for(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), change);
        let certs = Certs::new();
        let chain = if with_chain { &*issued.intermediate } else { "" };
        certs
            .write("dovecot.crt", issued.leaf + chain)
            .write("dovecot.key", issued.key);
        let found = certs.look();
        (found.warnings(host), found.expired().is_some())
    };
    assert_eq!(warnings(HOST, true, &|_| {}), (Vec::new(), false));
    for (host, with_chain, change, expected) in [
        (
            HOST,
            true,
            (&|it: &mut CertificateParams| set_times(it, 3, 90)) as &dyn Fn(&mut CertificateParams),
            "not valid before",
        ),
        (
            HOST,
            true,
            &|it: &mut CertificateParams| set_times(it, -87, 3),
            "in 3 days: renew it",
        ),
        (
            HOST,
            true,
            &|it: &mut CertificateParams| set_times(it, -90, -3),
            "has expired",
        ),
        (
            HOST,
            true,
            &|it: &mut CertificateParams| it.subject_alt_names.clear(),
            "no subjectAltName",
        ),
        (
            "imap.example.org",
            true,
            &|_| {},
            "is for mx.example.org, and not for imap.example.org",
        ),
        (HOST, false, &|_| {}, "(CN=Intermediate) is not in the file"),
    ] {
        let (said, has_expired) = warnings(host, with_chain, change);
        assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
        assert_eq!(has_expired, expected == "has expired");
    }
    let wild = |it: &mut CertificateParams| *it = named("x", &["*.example.org"]);
    assert_eq!(warnings("imap.example.org", true, &wild).0, Vec::<String>::new());
    assert_eq!(warnings("a.imap.example.org", true, &wild).0.len(), 1);
    let brief = |it: &mut CertificateParams| set_times(it, -1, 5);
    assert_eq!(
        warnings(HOST, true, &brief).0,
        Vec::<String>::new(),
        "six days are its whole life"
    );
    let at_its_end = |it: &mut CertificateParams| set_times(it, -5, 1);
    assert!(warnings(HOST, true, &at_its_end).0[0].contains("renew it"));
}

/// Row 11.
#[test]
fn a_mount_of_what_was_replaced_is_told() {
    let certs = Certs::new();
    let look = |mounts: &Mounts| look_at(&certs.at("dovecot.crt"), &certs.at("dovecot.key"), mounts).mount;
    let mut mounts = Mounts::default();
    assert_eq!(look(&mounts), None);
    mounts.replaced.insert(certs.0.path().to_owned());
    assert!(look(&mounts).unwrap().contains("was replaced on the host"));
}

/// Row 13.
#[test]
fn other_names_are_understood_or_told() {
    for (chain, key) in [("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key")] {
        let (certs, issued) = (Certs::new(), issued());
        certs.keep(&names(HOST));
        certs.write(chain, issued.leaf + &issued.intermediate);
        let warnings = certs.look().warnings(HOST);
        assert!(
            warnings[0].contains(&format!("holds {chain}, which is not used"))
                && warnings[0].ends_with(&format!("{key} is missing")),
            "{warnings:?}"
        );
        certs.write(key, &issued.key);
        assert!(certs.served().ends_with(&issued.key));
        let warnings = certs.look().warnings(HOST);
        assert!(
            warnings.len() == 1 && warnings[0].contains(" are served, valid until 2"),
            "{warnings:?}"
        );
    }
}

#[test]
fn a_key_is_not_shown() {
    let certs = Certs::new();
    let issued = issued();
    certs
        .write("dovecot.crt", issued.leaf)
        .write("dovecot.key", &issued.key);
    let shown = format!("{:?}", certs.look());
    assert!(shown.contains("Key(<hidden>)") && !shown.contains(issued.key.lines().nth(1).unwrap()));
}
