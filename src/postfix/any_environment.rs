//! Thousands of environments such as users write, and worse: each becomes a draft, or a report that names what was given.

use proptest::prelude::*;

use super::main_cf::Given;
use super::master_settings::{Change, MasterSetting};
use super::parameters;
use super::tests::{Whole, read_with, sources};
use super::*;
use crate::accounts::Directory;
use crate::daemon::table;
use crate::daemons::DAEMONS;
use crate::facts::Facts;
use crate::site::CATCH_ALL;
use crate::trust::Trust;

/// What the names of our variables begin with.
const PREFIXES: [&str; 3] = ["POSTFIX_", "DOVECOT_", "MAILROOM_"];

const PARAMETERS: &str = "biff = no\nmax_idle = 100s\nsmtpd_banner = $myhostname ESMTP\nsmtp_tls_CAfile =\n\
    smtpd_relay_restrictions =\nsmtpd_recipient_restrictions =\nvirtual_mailbox_limit = 51200000\nmyhostname = x\n\
    smtpd_hard_error_limit = ${stress?{1}:{20}}\ndefault_destination_concurrency_limit = 20\nqueue_directory = /q\n\
    smtpd_client_event_limit_exceptions = $mynetworks\nsmtp_sasl_password_maps =\nmynetworks =\nheader_checks =\n\
    smtpd_tls_security_level =\nsmtp_tls_key_file =\nmyorigin = $myhostname\n";

fn realistic() -> Parameters {
    Parameters::parse(PARAMETERS, "lmdb\ncidr\ninline\nstatic\nregexp\nproxy\n")
}

fn any_case(name: &str) -> impl Strategy<Value = String> + use<> {
    let (lower, mixed) = (name.to_ascii_lowercase(), name.to_owned());
    prop_oneof![3 => Just(name.to_ascii_uppercase()), 1 => Just(lower), 1 => Just(mixed)]
}

/// Names that a user would write, and a few that are unknown.
fn name() -> impl Strategy<Value = String> {
    let of_table: Vec<&str> = table(DAEMONS).iter().map(|variable| variable.name).collect();
    let parameters: Vec<&str> = PARAMETERS
        .lines()
        .filter_map(|line| line.split_once(" ="))
        .map(|(name, _)| name)
        .collect();
    let fields: &'static [&'static str] = &["process_limit", "wakeup"];
    let services: &'static [&'static str] = &[
        "smtp_inet",
        "submission_inet",
        "submissions_inet",
        "smtp_unix",
        "qmgr_unix",
        "virtual_unix",
    ];
    let settings: &'static [&'static str] = &[
        "mail_debug",
        "mail_max_userip_connections",
        "login_greeting",
        "listen",
        "doveadm_password",
        "service__imap_login__process_min_avail",
        "protocol__imap__mail_debug",
        "auth_allow_cleartext",
    ];
    let behind = |prefix: &'static str| move |rest: String| format!("{prefix}{rest}");
    let option = proptest::sample::select([&parameters, fields].concat());
    prop_oneof![
        4 => proptest::sample::select(of_table.clone()).prop_map(str::to_owned),
        2 => proptest::sample::select(of_table)
            .prop_filter_map("POSTFIX_", |name| name.strip_prefix("POSTFIX_").map(str::to_ascii_lowercase))
            .prop_map(behind("POSTFIX_")),
        4 => proptest::sample::select(parameters).prop_flat_map(any_case).prop_map(behind("POSTFIX_")),
        2 => (proptest::sample::select(services), option)
            .prop_flat_map(|(service, option)| any_case(&format!("{service}_{option}")))
            .prop_map(behind("MAILROOM_MASTER_")),
        1 => proptest::sample::select(services).prop_map(|name| format!("MAILROOM_MASTER_{}", name.to_uppercase())),
        2 => proptest::sample::select(settings)
            .prop_flat_map(any_case).prop_map(behind("DOVECOT_")),
        1 => "(POSTFIX_|MAILROOM_|DOVECOT_|MAILROOM_MASTER_|)[A-Z_a-z]{0,20}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    let words: &'static [&'static str] = &[
        "",
        "yes",
        "no",
        "0",
        "5",
        "100",
        "4h",
        "104857600",
        "mx.example.org",
        "[smtp.example.org]:587",
        "ipv4",
        "all",
        "10.0.0.0/8",
        "127.0.0.1/8 ::1",
        "0.0.0.0/0",
        "may",
        "require",
        "off",
        "permit_mynetworks, reject",
        "permit",
        "$biff x",
        "lmdb:/etc/postfix/x",
        "static:a:b",
        "inline:{a=b}",
        "Europe/Berlin",
        "two words",
        "${max_idle}",
        "-",
        "300?",
    ];
    prop_oneof![
        12 => proptest::sample::select(words).prop_map(str::to_owned),
        1 => "[a-z0-9./:,$ ]{0,20}",
        1 => ".{0,40}",
    ]
}

/// What fits a variable, by the end of its name.
fn right(name: &str) -> &'static str {
    const BY_END: &[(&str, &str)] = &[
        ("SECURITY_LEVEL", "require"),
        ("MYHOSTNAME", "MX.example.org"),
        ("MYDOMAIN", "example.org"),
        ("MYNETWORKS", "127.0.0.1/8 10.0.0.0/8 ::1"),
        ("RELAYHOST", "[smtp.example.org]:587"),
        ("LIMIT", "104857600"),
        ("LIMIT_EXCEPTIONS", "$mynetworks 10.0.0.1/8"),
        ("MAX_IDLE", "4h"),
        ("TIMEOUT", "30s"),
        ("BIFF", "no"),
        ("DEBUG", "yes"),
        ("GATEWAY", "yes"),
        ("OPEN_RELAY", "no"),
        ("RESTRICTIONS", "permit_mynetworks, reject"),
        ("PASSWORD_MAPS", "static:a:b"),
        ("PROTOCOLS", "all"),
        ("ON_FAILURE", "keep"),
        ("LOG_LEVEL", "debug"),
        ("TZ", "UTC"),
        ("_INET", "off"),
        ("WAKEUP", "300?"),
        ("MIN_AVAIL", "4"),
        ("CONNECTIONS", "20"),
    ];
    let name = name.to_ascii_uppercase();
    let right = BY_END.iter().find(|(end, _)| name.ends_with(end));
    right.map_or("two words", |(_, value)| value)
}

/// Most values fit their names, or nothing would get as far as a draft.
fn environment() -> impl Strategy<Value = Environment> {
    // The catch-all leaves out what the others set; it has tests of its own.
    let name = name().prop_filter("the catch-all", |name| !name.eq_ignore_ascii_case(CATCH_ALL));
    let pair = (name, value(), 0..8_u8).prop_map(|(name, value, throw)| {
        let value = if throw > 0 { right(&name).to_owned() } else { value };
        (name, value)
    });
    proptest::collection::vec(pair, 0..8).prop_map(|pairs| pairs.into_iter().collect())
}

/// Everything that was given and is not a mistake stands in the files, once.
fn drafted(given: &Environment, whole: &Whole) {
    let facts = Facts::default();
    let (settings, directory): (&Settings, &Directory) = (&whole.postfix, &Directory::default());
    let basis = Basis {
        site: &whole.site,
        facts: &facts,
        trust: &Trust::decide(&whole.site, &facts),
        directory,
        environment: &[],
    };
    let mut plan = Configuration::new(settings.clone()).part(&basis).unwrap().plan;
    plan.extend(whole.dovecot.part(&basis).unwrap().plan);
    let text = |name: &str| {
        let file = plan.files.iter().find(|file| file.path.ends_with(name)).unwrap();
        String::from_utf8(file.bytes.clone()).unwrap()
    };
    let (main_cf, dovecot_conf) = (text("main.cf"), text("dovecot.conf"));
    let services = super::master_cf::parse(&text("master.cf")).unwrap();
    for (name, Given { value, .. }) in &settings.parameters {
        let is_it = |line: &&str| line.split_once('=').is_some_and(|(there, _)| there.trim_end() == name);
        let lines: Vec<&str> = main_cf.lines().filter(is_it).collect();
        assert_eq!(lines, [format!("{name} = {value}").trim_end()], "{given:?}");
    }
    for MasterSetting {
        service: (name, kind),
        change,
        ..
    } in &settings.master
    {
        for service in services.iter().filter(|service| service.is(name, kind)) {
            match change {
                Change::Off => panic!("{name} is off: {given:?}"),
                Change::Field(place, value) => assert_eq!(service.fields[*place], *value, "{given:?}"),
                Change::Option(option, value) => {
                    let values: Vec<&String> = service
                        .options
                        .iter()
                        .filter(|(there, _)| there == option)
                        .map(|(_, value)| value)
                        .collect();
                    assert_eq!(values, [value], "{given:?}");
                }
            }
        }
    }
    for (name, value) in given.iter().filter(|(name, _)| name.starts_with("DOVECOT_")) {
        let lines = dovecot_conf.lines().filter(|line| line.trim() == format!("# {name}"));
        let is_noise = crate::settings::noise::is_noise(&name["DOVECOT_".len()..], value);
        // What is decided may be set to what it is.
        let setting = format!("{} = {}", name["DOVECOT_".len()..].to_ascii_lowercase(), value.trim());
        let is_said = dovecot_conf.lines().any(|line| line == setting.trim_end());
        assert!(
            is_noise || lines.count() == 1 || is_twin(given, name) || is_said || value.trim().is_empty(),
            "{name}: {given:?}"
        );
    }
    // One that cannot be empty is unset then.
    for (name, _) in given
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    {
        let parameter = name
            .strip_prefix("POSTFIX_")
            .and_then(|rest| realistic().find(rest).map(str::to_owned));
        let stands = parameter.is_none_or(|name| {
            name == "mynetworks" || parameters::owned(&name).is_some() || settings.parameters.contains_key(&name)
        });
        assert!(stands, "{name}: {given:?}");
    }
}

/// Whether the same setting is given in another case, too: one of them stands for both.
fn is_twin(given: &Environment, name: &str) -> bool {
    given.keys().filter(|other| other.eq_ignore_ascii_case(name)).count() > 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever the environment holds: a draft in which each value stands on one line, or a report that names a
    /// variable that was given.
    #[test]
    fn any_environment_is_drafted_or_refused_by_name(
        given in environment()
    ) {
        match read_with(sources(given.clone()), realistic()) {
            Ok(whole) => drafted(&given, &whole),
            Err(report) => prop_assert!(report.0.iter().all(|mistake| given.contains_key(&mistake.variable)), "{report}"),
        }
    }
}
