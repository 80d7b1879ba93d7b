use std::fmt::Write;
use std::path::PathBuf;

use super::super::read::tests::read;
use super::*;
use crate::health;
use crate::plan::Tree;

/// The lines of the passwd-file with the same hash at each run.
fn without_salts(users: &str) -> String {
    let line = |line: &str| match line.split_once(":{SHA512-CRYPT}") {
        Some((address, rest)) => {
            let (_, rest) = rest.split_once(':').unwrap();
            format!("{address}:{{SHA512-CRYPT}}$6$salt$hash:{rest}\n")
        }
        None => format!("{line}\n"),
    };
    users.lines().map(line).collect()
}

/// Everything that is rendered for an environment, as one text.
fn rendered(pairs: &[(&str, &str)]) -> String {
    let mut read = read(pairs);
    read.facts.interfaces = vec!["172.20.0.2/16".parse().unwrap()];
    read.facts.gateways = ["172.20.0.1".parse().unwrap()].into();
    read.facts.kubernetes = pairs.iter().any(|(name, _)| *name == "KUBERNETES_SERVICE_HOST");
    read.facts.probe_is_named = true;
    let desired = desired(&read).unwrap();
    let mut plan = desired.plan.clone();
    plan.files.push(health::file(&desired.probes, &[]).unwrap());
    let mut text = String::new();
    for directory in &plan.directories {
        let (path, owner) = (directory.path.display(), directory.owner);
        writeln!(text, "{path}/ {}:{} {:o}", owner.user, owner.group, directory.mode).unwrap();
    }
    let of_accounts: Vec<Tree> = desired.account_files.iter().flat_map(|files| files.trees()).collect();
    for Tree { path, owner, .. } in plan.trees.iter().chain(&of_accounts) {
        writeln!(text, "{}/** {}:{}", path.display(), owner.user, owner.group).unwrap();
    }
    let of_accounts = desired.account_files.iter().flat_map(|files| files.files());
    for file in plan.files.iter().chain(of_accounts) {
        let (path, owner) = (file.path.display(), file.owner);
        let table = if plan.tables.contains(&file.path) {
            " (table)"
        } else {
            ""
        };
        writeln!(
            text,
            "\n======== {path} {}:{} {:o}{table}",
            owner.user, owner.group, file.mode
        )
        .unwrap();
        text.push_str(&without_salts(std::str::from_utf8(&file.bytes).unwrap()));
    }
    text
}

/// The numbered environments. The first is shown whole, the others by what they change.
const ENVIRONMENTS: &[(&str, &[(&str, &str)])] = &[
    ("01_nothing_set", &[]),
    (
        "02_the_seeds_compose_file",
        &[
            ("POSTFIX_MYHOSTNAME", "postfix.metabuilder.local"),
            ("POSTFIX_MYDOMAIN", "metabuilder.local"),
            (
                "POSTFIX_MYNETWORKS",
                "127.0.0.1/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
            ),
            ("POSTFIX_SMTP_TLS_SECURITY_LEVEL", "may"),
            ("POSTFIX_SMTPD_TLS_SECURITY_LEVEL", "may"),
        ],
    ),
    ("03_trusted_gateway", &[("MAILROOM_TRUST_GATEWAY", "yes")]),
    (
        "04_tuning",
        &[
            ("POSTFIX_DEFAULT_PROCESS_LIMIT", "200"),
            ("POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT", "100"),
            ("POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT", "100"),
            ("POSTFIX_MESSAGE_SIZE_LIMIT", "104857600"),
        ],
    ),
    (
        "05_relay_host_with_login",
        &[
            ("POSTFIX_RELAYHOST", "[smtp.example.org]:587"),
            ("MAILROOM_RELAYHOST_USERNAME", "me"),
            ("MAILROOM_RELAYHOST_PASSWORD", "hunter2"),
            ("POSTFIX_SMTP_TLS_SECURITY_LEVEL", "require"),
        ],
    ),
    (
        "06_both_protocols",
        &[
            ("POSTFIX_INET_PROTOCOLS", "all"),
            ("POSTFIX_MYNETWORKS", "10.0.0.0/8 [2001:db8::]/32"),
        ],
    ),
    (
        "07_another_domain",
        &[
            ("POSTFIX_MYHOSTNAME", "mx.example.org"),
            ("POSTFIX_MYDOMAIN", "example.org"),
        ],
    ),
    (
        "08_any_parameter",
        &[
            ("POSTFIX_SMTPD_CLIENT_CONNECTION_RATE_LIMIT", "60"),
            ("POSTFIX_smtp_tls_CApath", "/etc"),
            ("POSTFIX_BIFF", "yes"),
        ],
    ),
    (
        "10_master_and_dovecot",
        &[
            ("MAILROOM_MASTER_SUBMISSIONS_INET", "off"),
            ("MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT", "20"),
            ("MAILROOM_MASTER_SUBMISSION_INET_MAX_IDLE", "5s"),
            ("DOVECOT_MAIL_MAX_USERIP_CONNECTIONS", "20"),
            ("DOVECOT_SERVICE__IMAP_LOGIN__PROCESS_MIN_AVAIL", "4"),
        ],
    ),
    (
        "09_kubernetes",
        &[
            ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
            ("POSTFIX_PORT_25_TCP", "tcp://10.96.0.7:25"),
        ],
    ),
    (
        "11_catch_all",
        &[
            ("MAILROOM_CATCH_ALL", "user"),
            ("POSTFIX_RELAYHOST", "[smtp.example.org]:587"),
            ("MAILROOM_RELAYHOST_USERNAME", "me"),
            ("MAILROOM_RELAYHOST_PASSWORD", "hunter2"),
        ],
    ),
    (
        "12_relay_only",
        &[
            ("MAILROOM_MAILBOXES", "off"),
            ("POSTFIX_MYDOMAIN", "example.org"),
            ("POSTFIX_RELAYHOST", "[smtp.example.net]:587"),
        ],
    ),
    ("13_quota", &[("MAILROOM_QUOTA", "5G")]),
    ("14_sieve", &[("MAILROOM_SIEVE", "on")]),
    (
        "15_accounts_in_postgresql",
        &[(
            "MAILROOM_ACCOUNTS_SQL",
            "postgres://mail:hunter-2@db/mail?sslmode=require",
        )],
    ),
    (
        "16_accounts_in_mysql",
        &[("MAILROOM_ACCOUNTS_SQL", "mysql://mail:hunter-2@db:3307/mail")],
    ),
    (
        "17_accounts_in_ldap",
        &[("MAILROOM_ACCOUNTS_LDAP", "ldap://db/dc=a,dc=test?starttls=yes")],
    ),
];

#[test]
fn golden_files() {
    let first = rendered(ENVIRONMENTS[0].1);
    for (name, environment) in ENVIRONMENTS {
        let text = rendered(environment);
        let shown = if environment.is_empty() {
            text
        } else {
            changes(&first, &text)
        };
        insta::assert_snapshot!(*name, shown);
    }
}

/// The lines that are only in one of two texts, in order.
fn changes(before: &str, after: &str) -> String {
    let old: Vec<&str> = before
        .lines()
        .filter(|line| !after.lines().any(|other| other == *line))
        .collect();
    let new: Vec<&str> = after
        .lines()
        .filter(|line| !before.lines().any(|other| other == *line))
        .collect();
    let marked = |sign: &'static str, lines: Vec<&str>| -> String {
        lines.iter().map(|line| format!("{sign} {line}\n")).collect()
    };
    marked("-", old) + &marked("+", new)
}

#[test]
fn what_cannot_be_written_is_found_before_anything_is() {
    let refused = |mounts: &[&str], read_only: &[&str]| {
        let mut read = read(&[]);
        read.facts.mounts = mounts.iter().map(PathBuf::from).collect();
        read.facts.read_only = read_only.iter().map(PathBuf::from).collect();
        desired(&read).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&["/etc/postfix", "/etc/hosts"], &["/etc/dovecot/certs"]), None);
    for (path, directory) in [
        ("/etc/postfix/main.cf", "/etc/mailroom/main.cf.d"),
        ("/etc/postfix/master.cf", "/etc/mailroom/master.cf.d"),
        ("/run/mailroom/dovecot/dovecot.conf", "/etc/mailroom/dovecot.d"),
        ("/etc/dovecot/dovecot.conf", "/etc/mailroom/dovecot.d"),
    ] {
        let said = refused(&[path], &[]).unwrap();
        assert!(
            said.starts_with(&format!("{path} is mounted from outside")) && said.contains(directory),
            "{said}"
        );
    }
    let said = refused(&[], &["/var/mail"]).unwrap();
    assert!(said.starts_with("/var/mail is read-only"), "{said}");
    let mut relay_only = read(&[("MAILROOM_MAILBOXES", "off")]);
    relay_only.facts.read_only = [PathBuf::from("/var/mail")].into();
    assert!(desired(&relay_only).is_ok(), "it has nothing to write there");
}
