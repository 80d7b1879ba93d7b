//! From settings and facts to files in place and services to run: trust, keep, plan, stage, commit.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::accounts::{self, Account, Hashes};
use crate::facts::{self, Facts, PRIMARY_DOMAIN_RECORD};
use crate::health::Targets;
use crate::layout::{CERTIFICATE, KEY, PROBE_ADDRESS};
use crate::logs::{Configuration, Logs};
use crate::plan::{File, Plan};
use crate::settings::Settings;
use crate::settings::report::shown;
use crate::supervise::service::Service;
use crate::system::processes::Processes;
use crate::trust::Trust;
use crate::{certificates, commit, dovecot, postfix, stage};

/// Everything up to the first daemon: keep, plan, stage, commit.
pub async fn provision(
    settings: &Settings,
    facts: &Facts,
    logs: &Logs,
    processes: &Processes,
) -> anyhow::Result<Vec<Service>> {
    let trust = Trust::decide(settings, facts);
    logs.configure(Configuration {
        time_zone: jiff::tz::TimeZone::get(&settings.time_zone)?,
        host: settings.hostname.split('.').next().unwrap_or_default().to_owned(),
        gateways: trust.gateways.iter().map(ToString::to_string).collect(),
    });
    logs.own("Starting Postfix SMTP server configuration...".to_owned());
    tell_settings(settings, &trust, logs);

    // The key takes as long as all the rest: it is made beside it.
    let certificate = certificate(settings);
    let accounts = test_accounts(settings)?;
    logs.own(format!(
        "Test accounts: {} (their passwords are public; they log in from trusted networks only)",
        accounts
            .iter()
            .map(|account| account.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    ));
    let targets = Targets::new(settings, name_probe_address(logs));
    let plan = plan(settings, &trust, &accounts, &targets)?;
    commit::directories(&plan.directories)?;
    if let Some(news) = certificate.await? {
        logs.own(news);
    }
    let files = stage::stage(&plan, processes).await?;
    commit::files(&files)?;
    logs.own("Mail server configuration complete".to_owned());

    let environment = daemon_environment(settings);
    let services = [
        Some(dovecot::service::service(&environment)),
        postfix::service::service(&environment, &targets),
    ];
    Ok(services.into_iter().flatten().collect())
}

/// The seed's `Configuring:` lines: what the environment decides, secrets hidden.
fn tell_settings(settings: &Settings, trust: &Trust, logs: &Logs) {
    for (name, given) in &settings.parameters {
        logs.own(
            format!("Configuring: {name} = {}", shown(&given.variable, &given.value))
                .trim_end()
                .to_owned(),
        );
    }
    logs.own(format!("Configuring: mynetworks = {}", trust.mynetworks()));
    for note in settings.notes.iter().chain(&trust.notes) {
        logs.own(note.clone());
    }
}

/// On a thread of its own: an RSA key is a matter of luck, 40 to 400 ms.
fn certificate(settings: &Settings) -> impl Future<Output = anyhow::Result<Option<String>>> + use<> {
    let hostname = settings.hostname.clone();
    let (sender, kept) = tokio::sync::oneshot::channel();
    let work = move || {
        let _ = sender.send(certificates::keep(Path::new(CERTIFICATE), Path::new(KEY), &hostname));
    };
    let started = std::thread::Builder::new().name("certificate".to_owned()).spawn(work);
    async move {
        started?;
        kept.await.context("the certificate's thread failed")?
    }
}

fn test_accounts(settings: &Settings) -> anyhow::Result<Vec<Account>> {
    let kept = Hashes::from_passwd_file(&fs::read_to_string(dovecot::users_file()).unwrap_or_default());
    accounts::test_accounts(&settings.domain, &kept).map_err(anyhow::Error::msg)
}

/// Gives the health probe's address a name in /etc/hosts. Without one Postfix asks DNS at each greeting, which takes
/// 10 s when DNS is dead; then probes come from 127.0.0.1 and show in the log.
fn name_probe_address(logs: &Logs) -> bool {
    if facts::hosts_file_has(PROBE_ADDRESS) {
        return true;
    }
    let append = || -> io::Result<()> {
        let mut hosts = fs::OpenOptions::new().append(true).open("/etc/hosts")?;
        writeln!(hosts, "{PROBE_ADDRESS}\thealthcheck")
    };
    match append() {
        Ok(()) => true,
        Err(error) => {
            logs.own(format!(
                "/etc/hosts: {error}; health probes will show in the log: give docker run \
                 --add-host healthcheck:{PROBE_ADDRESS}"
            ));
            false
        }
    }
}

fn plan(settings: &Settings, trust: &Trust, accounts: &[Account], targets: &Targets) -> anyhow::Result<Plan> {
    let mut plan = dovecot::plan(settings, trust, accounts)?;
    plan.extend(postfix::plan(settings, trust, accounts)?);
    plan.extend(targets.plan()?);
    plan.files.push(File::public(
        PathBuf::from(PRIMARY_DOMAIN_RECORD),
        format!("{}\n", settings.domain),
    ));
    Ok(plan)
}

/// Nothing of our own environment reaches the daemons: it may hold secrets.
fn daemon_environment(settings: &Settings) -> Vec<(String, String)> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TZ", settings.time_zone.as_str()),
        // resolv.conf(5): a DNS that does not answer holds up a greeting for 2 s, not for 10 s.
        ("RES_OPTIONS", "timeout:1 attempts:2"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::accounts::Role;
    use crate::postfix::parameters::Parameters;
    use crate::settings::Environment;

    /// Everything that is rendered for an environment, as one text.
    fn rendered(pairs: &[(&str, &str)]) -> String {
        let environment: Environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let known = Parameters::parse("smtpd_client_connection_rate_limit = 0\nsmtp_tls_CAfile =\nbiff = yes\n");
        let settings = Settings::from_environment(&environment, &known).unwrap();
        let facts = Facts {
            interfaces: vec!["172.20.0.2/16".parse().unwrap()],
            gateways: ["172.20.0.1".parse().unwrap()].into(),
            kubernetes: environment.contains_key("KUBERNETES_SERVICE_HOST"),
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
                ("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "lmdb:/etc/postfix/sasl_passwd"),
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
