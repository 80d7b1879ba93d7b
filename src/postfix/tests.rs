//! The settings as a whole: what a user may write, what becomes of it, and what is refused in which words.

use std::collections::BTreeSet;

use super::variables::{MAIN_CF_D, MASTER_CF_D};
use super::*;
use crate::daemon::{Configured, table};
use crate::daemons::DAEMONS;
use crate::report::Report;
use crate::secrets::Secrets;
use crate::settings::gather::{Gathered, Given as GivenVariable};
use crate::settings::{DropIn, Names, Reader};

pub(super) fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn known() -> Parameters {
    Parameters::parse(
        "myhostname = x\nsmtp_tls_CAname =\ndefault_destination_concurrency_limit = 20\nqueue_directory = /x\n\
         maillog_file =\nvirtual_mailbox_limit = 5\nsmtpd_relay_restrictions = a\n\
         smtpd_recipient_restrictions =\nsmtpd_restriction_classes =\n",
        "",
    )
}

/// What is set, as far as these tests look at it.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) site: Site,
    pub(super) postfix: Settings,
    pub(super) catch_all: Option<CatchAll>,
    pub(super) dovecot: Box<dyn Configured>,
    pub(super) secrets: Secrets,
}

/// All that settings are read from.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) environment: Environment,
    /// Names of variables whose values came from files.
    pub(super) secrets: Vec<String>,
    pub(super) main_cf: Vec<DropIn>,
    pub(super) master_cf: Vec<DropIn>,
    pub(super) dovecot: Vec<DropIn>,
}

pub(super) fn sources(environment: Environment) -> Sources {
    Sources {
        environment,
        ..Sources::default()
    }
}

/// Reads everything with a Postfix that has these parameters.
pub(super) fn read_with(sources: Sources, known: Parameters) -> Result<Whole, Report> {
    let table = table(DAEMONS);
    let (postfix, dovecot) = (Known(known), crate::dovecot::grammar());
    let names: [&dyn Names; 2] = [&postfix, &*dovecot];
    let mut gathered = Gathered::default();
    gathered.take_environment(&sources.environment, &table, &names, |_, _| {
        Err(std::io::ErrorKind::NotFound.into())
    });
    for name in &sources.secrets {
        if let Some(GivenVariable { secret, .. }) = gathered.variables.get_mut(name) {
            *secret = true;
        }
    }
    for (owner, directory, files) in [
        (names[0], MAIN_CF_D, sources.main_cf),
        (names[0], MASTER_CF_D, sources.master_cf),
        (names[1], "dovecot.d", sources.dovecot),
    ] {
        gathered.take_files(owner, directory, files, &table);
    }
    let mut reader = Reader::new(table, gathered);
    reader.read_table(|variable, canonical| postfix.check(variable, canonical));
    reader.sort_out(&names);
    let prefixes = names
        .iter()
        .flat_map(|names| names.prefixes())
        .copied()
        .collect::<Vec<_>>();
    let mut postfix = Configuration::new(Settings::read(postfix.0, &mut reader));
    let dovecot = dovecot.read(&mut reader);
    let checked = reader.finish(&prefixes);
    if !checked.mistakes.is_empty() {
        return Err(Report::of(checked.mistakes, &checked.secrets));
    }
    let site = Site::of(&checked.values).unwrap();
    let mistakes = postfix.examine(&site, &checked.values).unwrap();
    if !mistakes.is_empty() {
        return Err(Report::of(mistakes, &checked.secrets));
    }
    Ok(Whole {
        site,
        postfix: postfix.settings,
        catch_all: postfix.catch_all,
        dovecot,
        secrets: checked.secrets,
    })
}

fn read(pairs: &[(&str, &str)]) -> Result<Whole, Report> {
    read_with(sources(environment(pairs)), known())
}

#[test]
fn nothing_set_gives_the_seeds_defaults() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.site.hostname, "postfix.metabuilder.local");
    assert_eq!(settings.postfix.parameters["message_size_limit"].value, "52428800");
    assert_eq!(settings.site.networks, None);
    assert!(
        !settings
            .postfix
            .parameters
            .contains_key("default_destination_concurrency_limit")
    );
}

#[test]
fn all_mistakes_are_reported_with_suggestions() {
    let report = read(&[
        ("POSTFIX_MYHOSTNAM", "x"),
        ("POSTFIX_MESSAGE_SIZE_LIMIT", "ten"),
        ("POSTFIX_MYNETWORKS", "10.0.0.0/99"),
    ])
    .unwrap_err()
    .to_string();
    insta::assert_snapshot!(report);
}

#[test]
fn the_tables_variables_in_any_case() {
    let values = [
        "0.0.0.0/0",
        "require",
        "ipv4, ipv6",
        "static:a:b",
        "mx.example.org",
        "[a.test]:25",
        "7",
    ];
    for variable in table(DAEMONS)
        .iter()
        .filter(|variable| variable.name.starts_with("POSTFIX_"))
    {
        let lower = format!("POSTFIX_{}", variable.name["POSTFIX_".len()..].to_ascii_lowercase());
        for value in values {
            let named = |name: &str| {
                read(&[(name, value)])
                    .map(|settings| format!("{settings:?}").replace(name, "NAME"))
                    .map_err(|report| report.to_string().replace(name, "NAME"))
            };
            assert_eq!(named(&lower), named(variable.name), "{lower}={value}");
        }
        let report = read(&[(&lower, "x y z"), (variable.name, "x")]).unwrap_err();
        assert!(report.0.iter().any(|mistake| mistake.reason.contains("keep one")));
    }
    assert!(read(&[("POSTFIX_relayhost", "a.test"), ("POSTFIX_RELAYHOST", "a.test")]).is_ok());
    let report = read(&[("POSTFIX_mynetworks", "0.0.0.0/0")]).unwrap_err();
    assert_eq!(report.0[0].variable, "POSTFIX_mynetworks", "as the user wrote it");
}

/// A Postfix with what opens and closes a server.
fn guarded() -> Parameters {
    let parameters = "smtpd_relay_restrictions = \nsmtpd_recipient_restrictions =\nrelay_domains =\nrelay_clientcerts =\n\
        permit_mx_backup_networks =\nsmtpd_authorized_xclient_hosts =\nsmtpd_authorized_xforward_hosts =\n\
        smtpd_upstream_proxy_protocol =\nqueue_service_name = qmgr\ncleanup_service_name = cleanup\n\
        bounce_service_name = bounce\nerror_service_name = error\nvirtual_minimum_uid = 100\ndefault_transport = smtp\n\
        content_filter =\ndefer_transports =\nsmtpd_restriction_classes =\n";
    Parameters::parse(parameters, "cidr\ninline\nlmdb\npcre\nregexp\nstatic\n")
}

/// The reason for which these are refused; nothing where they are not.
fn refused(pairs: &[(&str, &str)], master_cf: &str) -> Option<String> {
    let mut sources = sources(environment(pairs));
    sources.master_cf = vec![DropIn {
        path: "/x.cf".into(),
        text: master_cf.to_owned(),
    }];
    let report = read_with(sources, guarded()).err()?;
    let named = |origin: &str| origin == "/x.cf:1" || pairs.iter().any(|(name, _)| *name == origin);
    assert!(report.0.iter().all(|mistake| named(&mistake.variable)), "{report}");
    Some(report.0[0].reason.clone())
}

#[test]
fn what_opens_the_relay_is_refused() {
    const OPEN: (&str, &str) = ("MAILROOM_ALLOW_OPEN_RELAY", "yes");
    let relay = "POSTFIX_SMTPD_RELAY_RESTRICTIONS";
    for (name, value) in [
        ("POSTFIX_RELAY_DOMAINS", "static:all"),
        ("POSTFIX_RELAY_DOMAINS", "example.org com"),
        ("POSTFIX_RELAY_DOMAINS", "pcre:{{/./ x}}"),
        ("POSTFIX_RELAY_CLIENTCERTS", "static:x"),
        ("POSTFIX_PERMIT_MX_BACKUP_NETWORKS", "0.0.0.0/0"),
        ("POSTFIX_SMTPD_AUTHORIZED_XCLIENT_HOSTS", "10.0.0.0/8, 8.0.0.0/8"),
        ("POSTFIX_SMTPD_AUTHORIZED_XCLIENT_HOSTS", "static:all"),
        ("POSTFIX_SMTPD_AUTHORIZED_XFORWARD_HOSTS", "0.0.0.0/0"),
        ("MAILROOM_MASTER_SMTP_INET_SMTPD_AUTHORIZED_XCLIENT_HOSTS", "[::]/0"),
        (relay, "check_client_access static:OK, reject_unauth_destination"),
        (relay, "check_client_access static:permit, reject_unauth_destination"),
        (relay, "check_sender_access pcre:{{/./ OK}} reject_unauth_destination"),
        (
            relay,
            "check_recipient_access regexp:{{/^/ ok}} reject_unauth_destination",
        ),
        (relay, "static:1, reject_unauth_destination"),
        (
            relay,
            "check_client_access cidr:{{0.0.0.0/0 OK}} reject_unauth_destination",
        ),
        (
            "MAILROOM_MASTER_SMTP_INET_SMTPD_RELAY_RESTRICTIONS",
            "check_helo_access static:OK, reject",
        ),
    ] {
        let reason = refused(&[(name, value)], "").unwrap_or_default();
        assert!(
            reason.contains("MAILROOM_ALLOW_OPEN_RELAY=yes"),
            "{name}={value}: {reason}"
        );
        assert_eq!(refused(&[(name, value), OPEN], ""), None, "{name}={value}");
    }
    let listener = "10025 inet n - n - - smtpd -o smtpd_authorized_xclient_hosts=0.0.0.0/0\n";
    assert!(refused(&[], listener).is_some() && refused(&[OPEN], listener).is_none());
    for (name, value) in [
        ("POSTFIX_RELAY_DOMAINS", "example.org lan lmdb:/nonexistent/x"),
        (
            "POSTFIX_SMTPD_AUTHORIZED_XCLIENT_HOSTS",
            "10.0.0.0/8, 8.8.8.8, proxy.example.org",
        ),
        ("POSTFIX_PERMIT_MX_BACKUP_NETWORKS", "192.168.0.0/16"),
        (relay, "check_client_access static:DUNNO, reject_unauth_destination"),
        (relay, "check_client_access static:550, reject_unauth_destination"),
        (relay, "check_sasl_access static:OK, reject_unauth_destination"),
        (relay, "check_sender_mx_access static:OK, reject_unauth_destination"),
        (relay, "reject_unauth_destination, check_client_access static:OK"),
        (
            relay,
            "check_client_access cidr:{{10.0.0.0/8 OK}} reject_unauth_destination",
        ),
        (relay, "check_client_access inline:{a=OK} reject_unauth_destination"),
    ] {
        let reason = refused(&[(name, value)], "").unwrap_or_default();
        assert!(
            reason.is_empty() || reason.contains("exist"),
            "{name}={value}: {reason}"
        );
    }
}

#[test]
fn a_proxy_that_names_addresses_is_refused() {
    let reason = refused(&[("POSTFIX_SMTPD_UPSTREAM_PROXY_PROTOCOL", "haproxy")], "").unwrap();
    assert!(reason.contains("trusted address"), "{reason}");
    let option = "MAILROOM_MASTER_SMTP_INET_SMTPD_UPSTREAM_PROXY_PROTOCOL";
    assert!(refused(&[(option, "haproxy")], "").is_some());
    assert!(
        refused(
            &[],
            "10025 inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy\n"
        )
        .is_some()
    );
    assert_eq!(refused(&[("POSTFIX_SMTPD_UPSTREAM_PROXY_PROTOCOL", "")], ""), None);
}

#[test]
fn services_and_transports_are_in_master_cf() {
    let slow = "slow unix - - n - - smtp\npre-cleanup unix n - n - 0 cleanup\n";
    for (name, value, reason) in [
        ("POSTFIX_QUEUE_SERVICE_NAME", "qmgrr", "must be qmgr"),
        ("POSTFIX_CLEANUP_SERVICE_NAME", "nope", "must be cleanup or pre-cleanup"),
        (
            "POSTFIX_BOUNCE_SERVICE_NAME",
            "discard",
            "must be bounce or defer or trace",
        ),
        ("POSTFIX_ERROR_SERVICE_NAME", "discard", "must be error or retry"),
        (
            "MAILROOM_MASTER_SMTP_INET_CLEANUP_SERVICE_NAME",
            "qmgr",
            "must be cleanup",
        ),
        ("POSTFIX_DEFAULT_TRANSPORT", "smpt:[a.test]", "did you mean smtp?"),
        ("POSTFIX_CONTENT_FILTER", "gone:[a.test]:25", "no service of master.cf"),
        ("POSTFIX_VIRTUAL_MINIMUM_UID", "5001", "at most 5000"),
    ] {
        let said = refused(&[(name, value)], slow).unwrap_or_default();
        assert!(said.contains(reason), "{name}={value}: {said}");
    }
    for (name, value) in [
        ("POSTFIX_QUEUE_SERVICE_NAME", "qmgr"),
        ("MAILROOM_MASTER_SMTP_INET_CLEANUP_SERVICE_NAME", "pre-cleanup"),
        ("POSTFIX_DEFAULT_TRANSPORT", "slow"),
        ("POSTFIX_DEFAULT_TRANSPORT", "error:closed"),
        ("POSTFIX_CONTENT_FILTER", "slow:[a.test]:25"),
        ("POSTFIX_VIRTUAL_MINIMUM_UID", "5000"),
    ] {
        assert_eq!(refused(&[(name, value)], slow), None, "{name}={value}");
    }
    let waits = |value: &str| {
        let whole = read_with(sources(environment(&[("POSTFIX_DEFER_TRANSPORTS", value)])), guarded()).unwrap();
        checks::waits_for_flush(&whole.postfix)
    };
    assert!(waits("smtp, virtual").is_some() && waits("smtp").is_none());
}

#[test]
fn prefixes_are_in_capitals() {
    for (name, right) in [
        ("mailroom_catch_all", "MAILROOM_CATCH_ALL"),
        ("Mailroom_Catch_All", "MAILROOM_CATCH_ALL"),
        ("mailroom_catchall", "MAILROOM_CATCH_ALL"),
        ("mailroom_relayhost_password", "MAILROOM_RELAYHOST_PASSWORD"),
        ("mailroom_master_submission_inet", "MAILROOM_MASTER_SUBMISSION_INET"),
        ("MAILROOM_master_SUBMISSION_INET", "MAILROOM_MASTER_SUBMISSION_INET"),
        ("postfix_relayhost", "POSTFIX_RELAYHOST"),
        ("Postfix_smtp_tls_CAname", "POSTFIX_SMTP_TLS_CANAME"),
    ] {
        let report = read(&[(name, "off")]).unwrap_err();
        let [mistake] = &*report.0 else { panic!("{report}") };
        assert_eq!(mistake.variable, name);
        assert!(mistake.reason.contains(&format!("did you mean {right}?")), "{report}");
        assert!(
            !name.ends_with("password") || mistake.value == crate::secrets::HIDDEN,
            "{report}"
        );
    }
    for (name, value) in [
        ("mailroom_port", "tcp://10.0.0.1:25"),
        ("mailroom_service_host", "10.0.0.1"),
        ("postfix_version", "3.10"),
        ("dovecot_home", "/x"),
        ("mailroomy", "x"),
    ] {
        assert!(read(&[(name, value)]).is_ok(), "{name}");
    }
}

#[test]
fn tables_of_the_tables_variables_have_a_type() {
    let known = Parameters::parse("", "lmdb\ncidr\n");
    let refused = |name: &str, value: &str| {
        let sources = sources(environment(&[(name, value)]));
        assert!(needs_parameters(&sources.environment, &table(DAEMONS)), "{name}");
        read_with(sources, known.clone()).unwrap_err().0.remove(0).reason
    };
    assert!(refused("POSTFIX_MYNETWORKS", "10.0.0.0/8 !cird:/n").ends_with("did you mean cidr:?"));
    assert!(refused("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "lmbd:/x").ends_with("did you mean lmdb:?"));
    assert!(refused("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "lmdb:{x").contains("without a }"));
    assert!(!needs_parameters(
        &environment(&[("POSTFIX_MYNETWORKS", "10.0.0.0/8"), ("PATH", "a:b")]),
        &table(DAEMONS)
    ));
}

#[test]
fn parameters_in_any_case_and_mixed_case_names() {
    let settings = read(&[("POSTFIX_SMTP_TLS_CANAME", "a")]).unwrap();
    assert_eq!(settings.postfix.parameters["smtp_tls_CAname"].value, "a");
    let settings = read(&[("POSTFIX_smtp_tls_CAname", "a")]).unwrap();
    assert_eq!(
        settings.postfix.parameters["smtp_tls_CAname"].variable,
        "POSTFIX_smtp_tls_CAname"
    );
}

#[test]
fn a_name_of_the_users_own_needs_a_reference() {
    assert!(read(&[("POSTFIX_MY_CLIENTS", "x")]).is_err());
    let settings = read(&[
        ("POSTFIX_MY_CLIENTS", "x"),
        ("POSTFIX_SMTP_TLS_CANAME", "${my_clients}"),
    ])
    .unwrap();
    assert_eq!(settings.postfix.parameters["my_clients"].value, "x");
    for (name, value, refers) in [
        (
            "POSTFIX_MINE",
            "reject",
            ("POSTFIX_SMTPD_RESTRICTION_CLASSES", "other, mine"),
        ),
        (
            "POSTFIX_MY_SERVER_HOST",
            "a.test",
            ("POSTFIX_SMTP_TLS_CANAME", "inline:{a=b}, proxy:ldap:my"),
        ),
    ] {
        assert!(read(&[(name, value), refers]).is_ok(), "{name}");
        assert!(read(&[(name, value)]).is_err(), "{name}");
    }
}

#[test]
fn a_name_of_the_users_own_for_a_service_of_a_drop_in_file() {
    let known = Parameters::parse(
        "default_destination_concurrency_limit = 20\ndefault_destination_rate_delay = 0s\ncommand_time_limit = 9s\n",
        "",
    );
    let read = |name: &str, value: &str| {
        let file = DropIn {
            path: "/x.cf".into(),
            text: "slow unix - - n - - smtp -o syslog_name=$our_name\npolicy unix - n n - 0 spawn argv=/p\n".to_owned(),
        };
        let mut sources = sources(environment(&[(name, value)]));
        sources.master_cf = vec![file];
        read_with(sources, known.clone()).map_err(|report| report.0[0].reason.clone())
    };
    for (name, value) in [
        ("POSTFIX_SLOW_DESTINATION_CONCURRENCY_LIMIT", "2"),
        ("POSTFIX_SLOW_DESTINATION_RATE_DELAY", "1s"),
        ("POSTFIX_POLICY_TIME_LIMIT", "3600s"),
        ("POSTFIX_OUR_NAME", "x"),
    ] {
        assert!(read(name, value).is_ok(), "{name}: {:?}", read(name, value));
    }
    assert!(
        read("POSTFIX_SLOW_DESTINATION_RATE_DELAY", "x")
            .unwrap_err()
            .contains("a time")
    );
    assert!(
        read("POSTFIX_SLOW_NONSENSE", "1")
            .unwrap_err()
            .contains("not a parameter")
    );
}

#[test]
fn owned_parameters_and_second_lines_are_refused() {
    assert!(
        read(&[("POSTFIX_QUEUE_DIRECTORY", "/q")]).unwrap_err().0[0]
            .reason
            .contains("decided by mailroom")
    );
    assert!(
        read(&[("POSTFIX_SMTP_TLS_CANAME", "a\nb = c")]).unwrap_err().0[0]
            .reason
            .contains("one line")
    );
}

#[test]
fn two_names_for_one_parameter_must_agree() {
    let both = |own| {
        read(&[
            ("POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT", "100"),
            ("POSTFIX_DEFAULT_DESTINATION_CONCURRENCY_LIMIT", own),
        ])
    };
    assert!(both("100").is_ok());
    assert!(
        both("50").unwrap_err().0[0]
            .reason
            .contains("POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT")
    );
}

#[test]
fn two_spellings_of_one_place_must_agree() {
    for (one, two) in [
        ("DOVECOT_MAIL_DEBUG", "DOVECOT_mail_debug"),
        (
            "MAILROOM_MASTER_SMTP_INET_SMTP_TLS_CANAME",
            "MAILROOM_MASTER_SMTP_INET_smtp_tls_CAname",
        ),
        (
            "MAILROOM_MASTER_SMTP_UNIX_PROCESS_LIMIT",
            "MAILROOM_MASTER_smtp_unix_process_limit",
        ),
    ] {
        assert!(read(&[(one, "5"), (two, "5")]).is_ok(), "{one}");
        let report = read(&[(one, "5"), (two, "6")]).unwrap_err();
        assert!(report.0[0].reason.contains("keep one of them"), "{report}");
    }
}

#[test]
fn kubernetes_and_foreign_names_are_ignored_and_unknown_ones_of_ours_are_not() {
    assert!(
        read(&[
            ("POSTFIX_PORT_25_TCP_ADDR", "10.0.0.1"),
            ("PATH", "/bin"),
            ("MAIL_FROM", "x")
        ])
        .is_ok()
    );
    let report = read(&[("MAILROOM_TRUST_GATEWY", "yes"), ("DOVECOT_LISTEN", "1")]).unwrap_err();
    assert_eq!(report.0.len(), 2);
    assert!(
        report.0[1].reason.ends_with("did you mean MAILROOM_TRUST_GATEWAY?"),
        "{:?}",
        report.0[1]
    );
}

#[test]
fn what_is_wrong_in_the_whole_is_found() {
    let refused = |pairs: &[(&str, &str)]| read(pairs).unwrap_err().0.remove(0);
    let mistake = refused(&[("POSTFIX_VIRTUAL_MAILBOX_LIMIT", "100")]);
    assert!(mistake.reason.contains("at least 52428800"), "{mistake:?}");
    let mistake = refused(&[("POSTFIX_SMTPD_RELAY_RESTRICTIONS", "permit_mynetworks")]);
    assert!(mistake.reason.contains("reject_unauth_destination"), "{mistake:?}");
    let mistake = refused(&[("POSTFIX_SMTPD_RELAY_RESTRICTIONS", "permit, reject")]);
    assert!(mistake.reason.contains("lets everybody relay"), "{mistake:?}");
    let mistake = refused(&[("POSTFIX_MYNETWORKS", "10.0.0.0/8 0.0.0.0/0")]);
    assert!(mistake.reason.contains("MAILROOM_ALLOW_OPEN_RELAY"), "{mistake:?}");
    let open = ("MAILROOM_ALLOW_OPEN_RELAY", "yes");
    assert!(read(&[("POSTFIX_MYNETWORKS", "0.0.0.0/0"), open]).is_ok());
    assert!(
        read(&[("POSTFIX_SMTPD_RELAY_RESTRICTIONS", "permit"), open]).is_err(),
        "smtpd would not start"
    );
    assert!(
        refused(&[("POSTFIX_smtpd_relay_restrictions", "permit")])
            .reason
            .contains("everybody")
    );
    let mistake = refused(&[("MAILROOM_RELAYHOST_USERNAME", "me"), ("POSTFIX_RELAYHOST", "[a.test]")]);
    assert!(
        mistake.reason.contains("MAILROOM_RELAYHOST_PASSWORD_FILE"),
        "{mistake:?}"
    );
    let off = ["SMTP", "SUBMISSION", "SUBMISSIONS"].map(|name| (format!("MAILROOM_MASTER_{name}_INET"), "off"));
    let off: Vec<(&str, &str)> = off.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert!(refused(&off).reason.contains("keep one of them"));
    assert!(read(&off[1..]).is_ok());
}

#[test]
fn every_smtpd_is_closed_to_strangers() {
    const RELAY: &str = "POSTFIX_SMTPD_RELAY_RESTRICTIONS";
    const RECIPIENT: &str = "POSTFIX_SMTPD_RECIPIENT_RESTRICTIONS";
    const ON_25: &str = "MAILROOM_MASTER_SMTP_INET_SMTPD_RELAY_RESTRICTIONS";
    let classes = ("POSTFIX_SMTPD_RESTRICTION_CLASSES", "mine");
    let own = |value| [classes, ("POSTFIX_MINE", value), (RELAY, "mine, reject")];
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[(RELAY, "permit, check_client_access static:x, reject")], "everybody"),
        (&[(RELAY, "check_client_access static:x, permit")], "everybody"),
        (&[(RELAY, ""), (RECIPIENT, "permit, reject")], "everybody"),
        (
            &[(RELAY, "$smtpd_recipient_restrictions"), (RECIPIENT, "permit")],
            "everybody",
        ),
        (&[(ON_25, "permit, reject")], "everybody"),
        (&own("permit"), "everybody"),
        (&[(RELAY, "warn_if_reject reject, permit")], "everybody"),
        (
            &[("POSTFIX_MUA_RELAY_RESTRICTIONS", "permit_sasl_authenticated")],
            "nobody",
        ),
        (
            &[(
                "MAILROOM_MASTER_SUBMISSION_INET_MUA_RELAY_RESTRICTIONS",
                "permit_mynetworks",
            )],
            "nobody",
        ),
        (&[(RELAY, "warn_if_reject reject_unauth_destination")], "nobody"),
        (
            &[(RELAY, "permit_mynetworks"), (RECIPIENT, "permit_mynetworks")],
            "nobody",
        ),
        (&[(RELAY, ""), (RECIPIENT, "$smtpd_relay_restrictions")], "nobody"),
        (
            &[("MAILROOM_MASTER_VIRTUAL_UNIX_VIRTUAL_MAILBOX_LIMIT", "5")],
            "at least 52428800",
        ),
    ];
    for (given, expected) in cases {
        let report = read(given).expect_err(&format!("{given:?}"));
        assert_eq!(report.0.len(), 1, "{report}");
        let Mistake { variable, reason, .. } = &report.0[0];
        assert!(reason.contains(expected), "{given:?}: {reason}");
        assert!(given.iter().any(|(name, _)| name == variable), "{given:?}: {variable}");
    }
    for given in [
        &[(
            RELAY,
            "check_client_access static:x, permit_mynetworks, defer_unauth_destination",
        )][..],
        &[(RELAY, "permit_mynetworks"), (RECIPIENT, "reject_unauth_destination")],
        &[(RELAY, "${x?{permit}:{permit_mynetworks, reject}}"), ("POSTFIX_X", "")],
        &own("permit_mynetworks"),
        &[(ON_25, "permit_mynetworks, reject")],
    ] {
        assert!(read(given).is_ok(), "{given:?}: {:?}", read(given));
    }
    let open = [own("permit").as_slice(), &[("MAILROOM_ALLOW_OPEN_RELAY", "yes")]].concat();
    assert!(read(&open).is_ok(), "smtpd starts, and relays for all");
}

#[test]
fn drop_in_services_are_closed_to_strangers() {
    let read = |text: &str| {
        let file = DropIn {
            path: "/etc/mailroom/master.cf.d/x.cf".into(),
            text: format!("# x\n2525 inet n - n - - smtpd\n{text}"),
        };
        let sources = Sources {
            master_cf: vec![file],
            ..Sources::default()
        };
        read_with(sources, known())
    };
    for (text, expected) in [
        ("  -o mynetworks=0.0.0.0/0\n", "holds public addresses"),
        (
            "  -o { smtpd_relay_restrictions = permit_mynetworks, permit }\n",
            "everybody",
        ),
        ("  -o smtpd_relay_restrictions=\n", "nobody"),
    ] {
        let mistake = read(text).unwrap_err().0.remove(0);
        assert_eq!(mistake.variable, "/etc/mailroom/master.cf.d/x.cf:2");
        assert!(mistake.reason.contains(expected), "{mistake:?}");
    }
    assert!(read("  -o mynetworks=127.0.0.0/8\n").is_ok());
}

#[test]
fn drop_in_files_are_applied_last_and_named() {
    let file = |text: &str| Sources {
        environment: environment(&[
            ("POSTFIX_MYHOSTNAME", "a.example.org"),
            ("POSTFIX_smtp_tls_caname", "/a"),
        ]),
        main_cf: vec![DropIn {
            path: "/etc/mailroom/main.cf.d/x.cf".into(),
            text: text.to_owned(),
        }],
        ..Sources::default()
    };
    let settings = read_with(file("myhostname = b.example.org\nsmtp_tls_CAname = /b\n"), known()).unwrap();
    assert_eq!(settings.site.hostname, "b.example.org");
    assert_eq!(settings.postfix.parameters["smtp_tls_CAname"].value, "/b");
    assert_eq!(
        settings.postfix.parameters["smtp_tls_CAname"].variable,
        "/etc/mailroom/main.cf.d/x.cf:2"
    );
    let report = read_with(file("myhostname = b\nqueue_directory = /q\nnonsense = 1\n"), known()).unwrap_err();
    let named: Vec<&str> = report.0.iter().map(|mistake| mistake.variable.as_str()).collect();
    assert_eq!(named.len(), 3);
    assert!(
        named
            .iter()
            .all(|name| name.starts_with("/etc/mailroom/main.cf.d/x.cf:")),
        "{named:?}"
    );
}

#[test]
fn secrets_are_never_told() {
    let mut sources = sources(environment(&[
        ("POSTFIX_RELAYHOST", "hunter2 [hunter2"),
        ("POSTFIX_MYHOSTNAM", "hunter2"),
    ]));
    sources.secrets = ["POSTFIX_RELAYHOST".to_owned(), "POSTFIX_MYHOSTNAM".to_owned()].into();
    let report = read_with(sources, known()).unwrap_err().to_string();
    assert!(
        !report.contains("hunter2") && report.contains("POSTFIX_RELAYHOST=<hidden>"),
        "{report}"
    );
}

#[test]
fn values_of_secrets_by_their_names_are_collected_and_not_told() {
    let settings = read(&[
        ("POSTFIX_smtp_sasl_password_maps", "static:u:hunter2"),
        ("DOVECOT_DOVEADM_PASSWORD", "hunter3"),
        ("OTHER_PASSWORD", "hunter4"),
    ])
    .unwrap();
    let values: BTreeSet<&str> = settings.secrets.values().collect();
    assert_eq!(values, ["static:u:hunter2", "hunter3"].into());
    let report = read(&[("DOVECOT_DOVEADM_PASSWORD", "hunter2"), ("POSTFIX_BANER", "x hunter2")]).unwrap_err();
    assert_eq!(report.0[0].value, "x <hidden>", "whoever repeats it");
    for (name, value) in [
        ("MAILROOM_RELAYHOST_PASS", "hunter2"),
        ("MAILROOM_RELAYHOST_PASSWROD", "hunter2"),
        ("MAILROOM_RELAYHOST_PASWORD", "hunter2"),
        ("MAILROOM_RELAYHOST_PASSWORD", "hunter2 "),
        ("POSTFIX_SMTP_SASL_PASSWORD_MAPS", "static:u:{hunter2"),
        ("POSTFIX_MY_API_TOKEN", "hunter2"),
    ] {
        let report = read(&[(name, value)]).unwrap_err().to_string();
        assert!(
            !report.contains("hunter2") && report.contains(&format!("{name}=<hidden>")),
            "{report}"
        );
    }
    let report = read(&[("MAILROOM_RELAYHOST_PASSWORD", "hunter2")])
        .unwrap_err()
        .to_string();
    assert!(report.contains("needs MAILROOM_RELAYHOST_USERNAME"), "{report}");
    let report = read(&[("MAILROOM_RELAYHOST_PASSWROD", "hunter2")])
        .unwrap_err()
        .to_string();
    assert!(report.contains("did you mean MAILROOM_RELAYHOST_PASSWORD?"), "{report}");
}

#[test]
fn secrets_are_collected_as_they_are_rendered_and_from_drop_in_files() {
    let drop_in = |path: &str, text: &str| DropIn {
        path: path.into(),
        text: text.to_owned(),
    };
    let mut sources = sources(environment(&[("POSTFIX_MYHOSTNAME", "MX.Example.org")]));
    sources.secrets = ["POSTFIX_MYHOSTNAME".to_owned()].into();
    sources.master_cf = vec![drop_in(
        "/m.cf",
        "a unix - - n - - smtp -o smtp_sasl_password_maps=static:u:p\n",
    )];
    sources.dovecot = vec![drop_in("/d.conf", "doveadm_password = \"hunter2\"\nssl = yes\n")];
    let secrets = read_with(sources, known()).unwrap().secrets;
    let expected = ["MX.Example.org", "mx.example.org", "static:u:p", "hunter2"];
    assert_eq!(secrets.values().collect::<BTreeSet<_>>(), expected.into());
}
