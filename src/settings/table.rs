//! The one table of variables: parsing, error texts, `mailroom help-env` and the README's table come from it.

use crate::values::kind::Kind;

/// One environment variable that Mailroom knows by name.
#[derive(Debug)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// The value used when it is not set, written as a user would write it.
    pub default: &'static str,
    /// What the default means in words, where the value alone does not say it.
    pub default_note: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Nobody may see its value.
    pub secret: bool,
    /// The version that had it first.
    pub since: &'static str,
    /// The main.cf parameter that takes its value, where there is exactly one.
    pub parameter: Option<&'static str>,
}

/// The levels of `smtp_tls_security_level` (postconf(5)); `require` is the seed's word for `encrypt`.
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

/// `inet_protocols` (postconf(5)); Dovecot's `listen` follows it.
const PROTOCOLS: &[(&str, &str)] = &[
    ("ipv4", "ipv4"),
    ("ipv6", "ipv6"),
    ("all", "all"),
    ("ipv4, ipv6", "all"),
    ("ipv4,ipv6", "all"),
];

/// Every variable known by name, in the order in which it is documented.
pub static VARIABLES: &[Variable] = &[
    Variable {
        name: "POSTFIX_MYHOSTNAME",
        kind: Kind::Domain,
        default: "postfix.metabuilder.local",
        default_note: "",
        help: "Name of this server: greeting, HELO, `Received`, certificate.",
        secret: false,
        since: "0.1.0",
        parameter: Some("myhostname"),
    },
    Variable {
        name: "POSTFIX_MYDOMAIN",
        kind: Kind::Domain,
        default: "metabuilder.local",
        default_note: "",
        help: "Primary mail domain: its accounts log in by their short names too.",
        secret: false,
        since: "0.1.0",
        parameter: Some("mydomain"),
    },
    Variable {
        name: "POSTFIX_MYNETWORKS",
        kind: Kind::Networks,
        default: "",
        default_note: "the docker networks of this container, without their gateways",
        help: "Networks that may relay, and log in without TLS; `!` before one takes it out. Loopback is always trusted; set to nothing, it alone is. `/file` and `type:table` reach Postfix alone.",
        secret: false,
        since: "0.1.0",
        parameter: Some("mynetworks"),
    },
    Variable {
        name: "POSTFIX_SMTP_TLS_SECURITY_LEVEL",
        kind: Kind::OneOf(SMTP_TLS_LEVELS),
        default: "may",
        default_note: "",
        help: "TLS towards other servers; `require` means `encrypt`.",
        secret: false,
        since: "0.1.0",
        parameter: Some("smtp_tls_security_level"),
    },
    Variable {
        name: "POSTFIX_SMTPD_TLS_SECURITY_LEVEL",
        kind: Kind::OneOf(SMTPD_TLS_LEVELS),
        default: "may",
        default_note: "",
        help: "TLS on port 25; `require` means `encrypt`. 587 and 465 always need TLS.",
        secret: false,
        since: "0.1.0",
        parameter: Some("smtpd_tls_security_level"),
    },
    Variable {
        name: "POSTFIX_MESSAGE_SIZE_LIMIT",
        kind: Kind::Number { unit: "bytes" },
        default: "52428800",
        default_note: "",
        help: "Largest message in bytes, 0 for no limit.",
        secret: false,
        since: "0.1.0",
        parameter: Some("message_size_limit"),
    },
    Variable {
        name: "POSTFIX_RELAYHOST",
        kind: Kind::RelayHost,
        default: "",
        default_note: "none: mail goes to the recipient's own server",
        help: "Server that takes all outbound mail, as `[host]:port` (the host itself) or `domain` (its MX).",
        secret: false,
        since: "0.1.0",
        parameter: Some("relayhost"),
    },
    Variable {
        name: "POSTFIX_SMTP_SASL_PASSWORD_MAPS",
        kind: Kind::Text,
        default: "",
        default_note: "no login",
        help: "Where to look up the login for the relay host, such as `lmdb:/etc/postfix/sasl_passwd`; switches `smtp_sasl_auth_enable` on.",
        secret: false,
        since: "0.1.0",
        parameter: Some("smtp_sasl_password_maps"),
    },
    Variable {
        name: "MAILROOM_RELAYHOST_USERNAME",
        kind: Kind::Text,
        default: "",
        default_note: "no login",
        help: "Login at the relay host; goes with `MAILROOM_RELAYHOST_PASSWORD`.",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "MAILROOM_RELAYHOST_PASSWORD",
        kind: Kind::Text,
        default: "",
        default_note: "no login",
        help: "Its password; better as `MAILROOM_RELAYHOST_PASSWORD_FILE`, the path of a file that holds it.",
        secret: true,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "POSTFIX_INET_PROTOCOLS",
        kind: Kind::OneOf(PROTOCOLS),
        default: "ipv4",
        default_note: "",
        help: "Internet protocols of Postfix and of Dovecot.",
        secret: false,
        since: "0.1.0",
        parameter: Some("inet_protocols"),
    },
    Variable {
        name: "POSTFIX_DEFAULT_PROCESS_LIMIT",
        kind: Kind::Number { unit: "processes" },
        default: "100",
        default_note: "",
        help: "Most processes of one Postfix service, hence most SMTP sessions of one port.",
        secret: false,
        since: "0.1.0",
        parameter: Some("default_process_limit"),
    },
    Variable {
        name: "POSTFIX_DEFAULT_TRANSPORT_RATE_LIMIT",
        kind: Kind::Number { unit: "processes" },
        default: "0",
        default_note: "no limit of ours",
        help: "Most delivery processes of one transport (`maxproc` of smtp, relay, lmtp and virtual in master.cf).",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "POSTFIX_DEFAULT_DESTINATION_RATE_LIMIT",
        kind: Kind::Number { unit: "deliveries" },
        default: "0",
        default_note: "Postfix's own limit, 20",
        help: "Most deliveries at once to one destination (`default_destination_concurrency_limit`).",
        secret: false,
        since: "0.1.0",
        parameter: Some("default_destination_concurrency_limit"),
    },
    Variable {
        name: "MAILROOM_TRUST_GATEWAY",
        kind: Kind::Switch,
        default: "no",
        default_note: "",
        help: "Trust the docker gateway and the container's own address too. Whoever reaches a published port may come \
               from there: only where the ports are published on 127.0.0.1.",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "MAILROOM_ALLOW_OPEN_RELAY",
        kind: Kind::Switch,
        default: "no",
        default_note: "",
        help: "Accept networks of public addresses in `POSTFIX_MYNETWORKS`, and restrictions that let strangers relay.",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "MAILROOM_STOP_TIMEOUT",
        kind: Kind::Seconds { min: 1, max: 3600 },
        default: "9s",
        default_note: "",
        help: "Time for a clean stop; docker kills after 10 s unless told otherwise.",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "MAILROOM_ON_FAILURE",
        kind: Kind::OneOf(&[("exit", "exit"), ("keep", "keep")]),
        default: "exit",
        default_note: "",
        help: "When a daemon has failed five times in two minutes: `exit` ends the container with code 1, `keep` leaves that daemon down and the other up.",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "MAILROOM_LOG_LEVEL",
        kind: Kind::OneOf(&[("info", "info"), ("debug", "debug")]),
        default: "info",
        default_note: "",
        help: "`debug` also tells which variables were taken for those of Kubernetes services and docker links.",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
    Variable {
        name: "TZ",
        kind: Kind::TimeZone,
        default: "UTC",
        default_note: "",
        help: "Time zone of all log lines, such as `Europe/Berlin`.",
        secret: false,
        since: "0.1.0",
        parameter: None,
    },
];

/// The variable of that name.
pub fn variable(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// The table's own name for `POSTFIX_<PARAMETER>` in another case; any other name is its own.
pub fn own_name(name: &str) -> &str {
    VARIABLES
        .iter()
        .map(|variable| variable.name)
        .find(|own| name.starts_with("POSTFIX_") && own.eq_ignore_ascii_case(name))
        .unwrap_or(name)
}

/// A JSON schema (json-schema.org, 2020-12) of the environment: every variable of the table, and the shapes of all others.
pub fn json_schema() -> serde_json::Value {
    let property = |variable: &Variable| {
        let mut property = serde_json::json!({
            "type": "string",
            "description": variable.help,
            "x-allowed": variable.kind.allowed(),
            "x-since": variable.since,
        });
        if !variable.default.is_empty() {
            property["default"] = variable.default.into();
        }
        if let Kind::OneOf(words) = variable.kind {
            property["enum"] = words.iter().map(|(word, _)| *word).collect();
        }
        if variable.secret {
            property["writeOnly"] = true.into();
        }
        (variable.name.to_owned(), property)
    };
    let file = |variable: &Variable| {
        let property = serde_json::json!({
            "type": "string",
            "description": format!("Path of a file that holds {}.", variable.name),
        });
        (format!("{}_FILE", variable.name), property)
    };
    let ours = || VARIABLES.iter().filter(|variable| variable.name != "TZ");
    let properties: serde_json::Map<String, serde_json::Value> =
        VARIABLES.iter().map(property).chain(ours().map(file)).collect();
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Environment of Mailroom",
        "type": "object",
        "properties": properties,
        "patternProperties": {
            "^POSTFIX_": { "type": "string", "description": "A parameter of main.cf (postconf(5)), in any case." },
            "^DOVECOT_": { "type": "string", "description": "A setting of Dovecot; `__` between the levels of nested ones." },
            "^MAILROOM_MASTER_": { "type": "string", "description": "A service of master.cf." },
        },
    })
}

/// The table as Markdown, as it stands in the README.
pub fn markdown() -> String {
    let row = |Variable {
                   name,
                   kind,
                   default,
                   default_note,
                   help,
                   ..
               }: &Variable| {
        let default = match (*default, *default_note) {
            ("", note) => format!("_({note})_"),
            (value, "") => format!("`{value}`"),
            (value, note) => format!("`{value}` ({note})"),
        };
        format!("| `{name}` | {default} | {} | {help} |\n", kind.allowed())
    };
    let header = "| Variable | Default | Allowed | Purpose |\n|---|---|---|---|\n";
    std::iter::once(header.to_owned())
        .chain(VARIABLES.iter().map(row))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for variable in VARIABLES {
            assert!(variable.kind.parse(variable.default).is_ok(), "{}", variable.name);
        }
    }

    #[test]
    fn the_readme_holds_this_table() {
        let readme = include_str!("../../README.md");
        assert!(
            readme.contains(&markdown()),
            "README.md is stale: replace its table by `mailroom help-env --markdown`"
        );
    }
}
