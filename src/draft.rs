//! From settings and facts to everything that shall be: trust, accounts, the plan, what is probed, what is told.

use std::path::{Path, PathBuf};

use crate::accounts::{self, Account, Hashes};
use crate::facts::{Facts, PRIMARY_DOMAIN_RECORD};
use crate::health::Targets;
use crate::layout::{MAIL_DIRECTORY, PROBE_ADDRESS, QUEUE_DIRECTORY};
use crate::plan::{File, Plan};
use crate::settings::Settings;
use crate::settings::report::{HIDDEN, shown};
use crate::trust::Trust;
use crate::user_tables::UserFiles;
use crate::{dovecot, postfix};

/// What shall be.
#[derive(Debug)]
pub struct Draft {
    /// Who is trusted.
    pub trust: Trust,
    /// What is probed.
    pub targets: Targets,
    /// What is written.
    pub plan: Plan,
    /// What a user is told.
    pub lines: Vec<String>,
}

impl Draft {
    /// Decides everything. `kept` are the password hashes of an earlier start.
    pub fn new(settings: &Settings, facts: &Facts, files: UserFiles, kept: &Hashes) -> anyhow::Result<Draft> {
        let trust = Trust::decide(settings, facts);
        let accounts = accounts::test_accounts(&settings.domain, kept).map_err(anyhow::Error::msg)?;
        let targets = Targets::new(settings, facts.probe_is_named);
        let mut plan = plan(settings, &trust, &accounts, &targets)?;
        plan.user_tables = files.tables;
        plan.referenced = files.referenced;
        let lines = lines(settings, facts, &trust, &accounts);
        Ok(Draft {
            trust,
            targets,
            plan,
            lines,
        })
    }
}

/// The seed's `Configuring:` lines, what is decided with secrets hidden, then notes and warnings.
fn lines(settings: &Settings, facts: &Facts, trust: &Trust, accounts: &[Account]) -> Vec<String> {
    let holds_secret = |value: &str| settings.secrets.iter().any(|secret| value.contains(secret));
    let parameters = settings.parameters.iter().map(|(name, given)| {
        let value = if holds_secret(&given.value) {
            HIDDEN.to_owned()
        } else {
            shown(&given.variable, &given.value)
        };
        format!("Configuring: {name} = {value}").trim_end().to_owned()
    });
    let networks = format!("Configuring: mynetworks = {}", trust.mynetworks());
    let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
    let names = format!(
        "Test accounts: {} (their passwords are public; they log in from trusted networks only)",
        names.join(", ")
    );
    let unnamed = (!facts.probe_is_named).then(|| {
        format!("/etc/hosts cannot be written; health probes will show in the log: give docker run --add-host healthcheck:{PROBE_ADDRESS}")
    });
    parameters
        .chain([networks])
        .chain(settings.notes.iter().chain(&trust.notes).cloned())
        .chain(storage_warnings(settings, facts))
        .chain(unnamed)
        .chain([names])
        .collect()
}

/// Mail that would be lost with the container, and mail that Postfix would not take.
fn storage_warnings(settings: &Settings, facts: &Facts) -> Vec<String> {
    let volumes = [
        (MAIL_DIRECTORY, "all mail"),
        (QUEUE_DIRECTORY, "accepted mail that is not delivered yet"),
    ];
    let mut warnings: Vec<String> = volumes
        .into_iter()
        .filter_map(|(path, what)| {
            let place = match Path::new(path) {
                path if !facts.mounts.contains(path) => "not on a volume",
                path if facts.anonymous.contains(path) => "on a volume without a name, which no other container gets",
                _ => return None,
            };
            Some(format!("Warning: {path} is {place}: {what} is lost with the container"))
        })
        .collect();
    // smtpd(8) asks for one and a half times the limit (queue_minfree in postconf(5)).
    let needed = settings.message_size_limit / 2 * 3;
    if let Some(space) = facts.queue_space.filter(|space| *space < needed) {
        warnings.push(format!(
            "Warning: {QUEUE_DIRECTORY} has {space} bytes free; Postfix takes no mail with fewer than {needed}, which is \
             1.5 times POSTFIX_MESSAGE_SIZE_LIMIT: free some, or set a smaller limit"
        ));
    }
    warnings
}

fn plan(settings: &Settings, trust: &Trust, accounts: &[Account], targets: &Targets) -> anyhow::Result<Plan> {
    let mut plan = dovecot::plan(settings, trust, accounts)?;
    plan.extend(postfix::plan(settings, trust, accounts)?);
    plan.extend(targets.plan()?);
    plan.files.push(File::public(
        PathBuf::from(PRIMARY_DOMAIN_RECORD),
        format!("{}\n", settings.domain),
    ));
    plan.hide(&settings.secrets);
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::accounts::Role;
    use crate::plan::Tree;
    use crate::postfix::parameters::Parameters;
    use crate::settings::Environment;
    use crate::settings::Sources;

    /// Everything that is rendered for an environment, as one text.
    fn rendered(pairs: &[(&str, &str)]) -> String {
        let environment: Environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let known = Parameters::parse(
            "smtpd_client_connection_rate_limit = 0\nsmtp_tls_CAfile =\nbiff = yes\nmax_idle = 100s\n",
            "",
        );
        let kubernetes = environment.contains_key("KUBERNETES_SERVICE_HOST");
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        let settings = Settings::read(&sources, &known).unwrap();
        let facts = Facts {
            interfaces: vec!["172.20.0.2/16".parse().unwrap()],
            gateways: ["172.20.0.1".parse().unwrap()].into(),
            kubernetes,
            ..Facts::default()
        };
        let trust = Trust::decide(&settings, &facts);
        let account = |name: &str, role| Account {
            name: name.to_owned(),
            domain: settings.domain.clone(),
            role,
            hash: "{SHA512-CRYPT}$6$salt$hash".to_owned(),
            trusted_networks_only: true,
        };
        let accounts = [
            account("admin", Role::Administrator),
            account("relay", Role::Relay),
            account("user", Role::User),
        ];
        let plan = plan(&settings, &trust, &accounts, &Targets::new(&settings, true)).unwrap();
        let mut text = String::new();
        for directory in &plan.directories {
            let (path, owner) = (directory.path.display(), directory.owner);
            writeln!(text, "{path}/ {}:{} {:o}", owner.user, owner.group, directory.mode).unwrap();
        }
        for Tree { path, owner, .. } in &plan.trees {
            writeln!(text, "{}/** {}:{}", path.display(), owner.user, owner.group).unwrap();
        }
        for file in &plan.files {
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
            text.push_str(std::str::from_utf8(&file.bytes).unwrap());
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
                ("POSTFIX_smtp_tls_CAfile", "/ca.pem"),
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
}
