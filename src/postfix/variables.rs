//! Postfix's variables that the table names, and what the names of all others begin with.

use super::sender_check::SENDER_CHECK;
use crate::settings::table::Variable;
use crate::site;
use crate::values::kind::Kind;

/// What the names of main.cf's parameters begin with.
pub const PARAMETER: &str = "POSTFIX_";
/// What the names of master.cf's settings begin with.
pub const MASTER: &str = "MAILROOM_MASTER_";
/// Drop-in files of parameters.
pub const MAIN_CF_D: &str = "main.cf.d";
/// Drop-in files of services.
pub const MASTER_CF_D: &str = "master.cf.d";

/// The levels of `smtp_tls_security_level` (postconf(5)); `require` is the founding README's word for `encrypt`.
const SMTP_TLS_LEVELS: &[(&str, &str)] = &[
    ("none", "none"),
    ("may", "may"),
    ("encrypt", "encrypt"),
    ("require", "encrypt"),
    ("dane", "dane"),
    ("dane-only", "dane-only"),
    ("fingerprint", "fingerprint"),
    ("verify", "verify"),
    ("secure", "secure"),
];

/// The levels of `smtpd_tls_security_level` (postconf(5)).
const SMTPD_TLS_LEVELS: &[(&str, &str)] = &[
    ("none", "none"),
    ("may", "may"),
    ("encrypt", "encrypt"),
    ("require", "encrypt"),
];

/// The variables of Postfix that the table names, in the order in which they are documented.
pub static VARIABLES: &[Variable] = &[
    Variable {
        name: "POSTFIX_SMTP_TLS_SECURITY_LEVEL",
        kind: Kind::OneOf(SMTP_TLS_LEVELS),
        default: "may",
        help: "TLS towards other servers; `require` means `encrypt`.",
        parameter: Some("smtp_tls_security_level"),
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_SMTPD_TLS_SECURITY_LEVEL",
        kind: Kind::OneOf(SMTPD_TLS_LEVELS),
        default: "may",
        help: "TLS on port 25; `require` means `encrypt`. 587 and 465 always need TLS.",
        parameter: Some("smtpd_tls_security_level"),
        ..Variable::NEW
    },
    Variable {
        name: SENDER_CHECK,
        kind: Kind::OnOff,
        default: "on",
        help: "`off` lets each account send under any sender address, those of others included.",
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_RELAYHOST",
        kind: Kind::RelayHost,
        default_note: "none: mail goes to the recipient's own server",
        help: "Server that takes all outbound mail, as `[host]:port` (the host itself) or `domain` (its MX).",
        parameter: Some("relayhost"),
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_SMTP_SASL_PASSWORD_MAPS",
        kind: Kind::Text,
        default_note: "no login",
        help: "Where to look up the login for the relay host, such as `lmdb:/etc/postfix/sasl_passwd`; switches `smtp_sasl_auth_enable` on.",
        parameter: Some("smtp_sasl_password_maps"),
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_RELAYHOST_USERNAME",
        kind: Kind::Text,
        default_note: "no login",
        help: "Login at the relay host; goes with `MAILROOM_RELAYHOST_PASSWORD`.",
        ..Variable::NEW
    },
    Variable {
        name: "MAILROOM_RELAYHOST_PASSWORD",
        kind: Kind::Text,
        default_note: "no login",
        help: "Its password; better as `MAILROOM_RELAYHOST_PASSWORD_FILE`, the path of a file that holds it.",
        secret: true,
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_DEFAULT_PROCESS_LIMIT",
        kind: Kind::Number { unit: "processes" },
        default: "100",
        help: "Most processes of one Postfix service, hence most SMTP sessions of one port.",
        parameter: Some("default_process_limit"),
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT",
        kind: Kind::Number { unit: "processes" },
        default: "0",
        default_note: "no limit of ours",
        help: "Most delivery processes of one transport (`maxproc` of smtp, relay, lmtp and virtual in master.cf).",
        ..Variable::NEW
    },
    Variable {
        name: "POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT",
        kind: Kind::Number { unit: "deliveries" },
        default: "0",
        default_note: "Postfix's own limit, 20",
        help: "Most deliveries at once to one destination (`default_destination_concurrency_limit`).",
        parameter: Some("default_destination_concurrency_limit"),
        ..Variable::NEW
    },
];

/// The variables of the table that set parameters of main.cf: the site's, and Postfix's own.
pub fn of_main_cf() -> impl Iterator<Item = &'static Variable> {
    site::VARIABLES
        .iter()
        .chain(VARIABLES)
        .filter(|variable| variable.parameter.is_some())
}

/// The parameter of main.cf that a variable sets, if it sets one.
pub fn parameter_of(variable: &Variable) -> Option<&'static str> {
    of_main_cf().find(|own| own.name == variable.name)?.parameter
}
