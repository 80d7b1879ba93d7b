//! What is wrong in the whole though each value alone is right: what `postfix check` does not see and what breaks mail, or
//! opens the relay.

use ipnet::IpNet;

use super::destinations;
use super::drop_ins;
use super::master_cf;
use super::master_settings::{Change, OPTIONAL, applied};
use super::open_tables;
use super::parameters::split_words;
use super::restrictions::{Outcome, services};
use super::sender_check::{CHECKS, SENDER_CHECK};
use super::settings::{Setting, Settings};
use crate::report::Mistake;
use crate::settings::Values;
use crate::site::{DELIMITER, Site};
use crate::values::nearest;
use crate::values::network::{self, Networks};
use crate::values::words;

/// What the checks look at.
struct Whole<'a> {
    settings: &'a Settings,
    site: &'a Site,
    values: &'a Values,
}

/// The origin of what is wrong, a variable or `file:line`, and the reason.
type Wrong = Vec<(String, String)>;

/// All of them.
pub(super) fn all(settings: &Settings, site: &Site, values: &Values) -> Vec<Mistake> {
    let whole = Whole { settings, site, values };
    let checks = [
        mailbox_limits,
        restriction_words,
        restrictions,
        sender_checks,
        relay_login,
        public_networks,
        open_lists,
        proxy_protocol,
        service_names,
        transports,
        listeners,
        delimiters,
    ];
    checks
        .into_iter()
        .flat_map(|check| check(&whole))
        .map(|(origin, reason)| {
            let value = whole.value_of(&origin);
            Mistake::new(origin, value, reason)
        })
        .collect()
}

impl Whole<'_> {
    /// The value that a variable was given.
    fn value_of(&self, origin: &str) -> String {
        let of_table = self.values.entries().find(|entry| entry.origin == origin);
        let of_parameter = || {
            let mut parameters = self.settings.parameters.iter();
            let (name, given) = parameters.find(|(_, given)| given.variable == origin)?;
            Some(drop_ins::shown(origin, name, &given.value))
        };
        let of_master = || {
            let mut master = self.settings.master.iter();
            master
                .find(|setting| setting.variable == origin)
                .and_then(|setting| setting.change.value().cloned())
        };
        // A line of a file is shown with the parameter's name.
        of_table
            .filter(|_| !origin.starts_with('/'))
            .map(|entry| entry.raw.clone())
            .or_else(of_parameter)
            .or_else(of_master)
            .unwrap_or_default()
    }

    /// The origin of a variable of the table that is set to something.
    fn set(&self, name: &str) -> Option<String> {
        let entry = self.values.entry(name)?;
        (!entry.canonical.is_empty()).then(|| entry.origin.clone())
    }
}

/// virtual(8) and local(8) are fatal when a mailbox may not be as large as a message.
fn mailbox_limits(whole: &Whole) -> Wrong {
    let mut wrong = Wrong::new();
    for scope in services(whole.settings, &["virtual", "local"]) {
        let parameter = match scope.service.program.as_str() {
            "virtual" => "virtual_mailbox_limit",
            _ => "mailbox_size_limit",
        };
        let (message, message_by) = scope.number("message_size_limit");
        let (limit, by) = scope.number(parameter);
        if limit > 0
            && (limit < message || message == 0)
            && let Some(variable) = by.or(message_by)
        {
            let needed = if message == 0 {
                "0".to_owned()
            } else {
                format!("0, or at least {message}")
            };
            wrong.push((
                variable,
                format!("is below POSTFIX_MESSAGE_SIZE_LIMIT, with which Postfix delivers nothing: must be {needed}"),
            ));
        }
    }
    wrong
}

/// Of every smtpd; one list may be that of several services.
fn restriction_words(whole: &Whole) -> Wrong {
    let mut wrong: Wrong = services(whole.settings, &["smtpd"])
        .flat_map(|scope| scope.wrong_words())
        .collect();
    wrong.sort();
    wrong.dedup();
    wrong
}

/// Of every smtpd: both lists are gone through, and mail is taken when neither refuses it.
fn restrictions(whole: &Whole) -> Wrong {
    let allowed = whole.site.allow_open_relay;
    let mut wrong = Wrong::new();
    for scope in services(whole.settings, &["smtpd"]) {
        let lists = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"].map(|list| scope.words(list, 0));
        let outcomes = lists
            .each_ref()
            .map(|(words, _)| scope.outcome(words, &whole.site.own_networks, 0));
        let is_open = !outcomes.contains(&Outcome::Refused) && outcomes.contains(&Outcome::Admitted);
        let reason = if is_open && !allowed {
            "lets everybody relay through this server: put reject_unauth_destination before permit and before a table that \
             answers OK to everybody, or set MAILROOM_ALLOW_OPEN_RELAY=yes"
        } else if !lists.iter().any(|(words, _)| scope.closes(words, 0)) {
            "lets nobody in and nobody out: Postfix wants reject_unauth_destination, reject or defer in it, and not \
             behind permit"
        } else {
            continue;
        };
        let [(_, relay), (_, recipient)] = lists;
        let variable = relay.into_iter().chain(recipient).next();
        wrong.extend(variable.map(|variable| (variable, reason.to_owned())));
    }
    // One list may be that of several services.
    wrong.dedup();
    wrong
}

/// Who may send under which address is checked by lists of the user's own though that is switched off.
fn sender_checks(whole: &Whole) -> Wrong {
    if whole.settings.submission.sender_check {
        return Wrong::new();
    }
    let lists = services(whole.settings, &["smtpd"]).flat_map(|scope| scope.lists());
    let mut wrong: Wrong = lists
        .filter_map(|(words, setters)| {
            let check = words.iter().find(|word| CHECKS.contains(&word.as_str()))?;
            let reason = format!("holds {check}, and {SENDER_CHECK}=off switches that off: keep one of the two");
            Some((setters.into_iter().next()?, reason))
        })
        .collect();
    // One list may be that of several services.
    wrong.sort();
    wrong.dedup();
    wrong
}

fn relay_login(whole: &Whole) -> Wrong {
    let wrong = |variable: String, reason: &str| vec![(variable, reason.to_owned())];
    let (username, password) = ("MAILROOM_RELAYHOST_USERNAME", "MAILROOM_RELAYHOST_PASSWORD");
    match (whole.set(username), whole.set(password)) {
        (Some(username), _) if words::means_none(&whole.settings.relay.username) => wrong(username, words::LEAVE_EMPTY),
        (Some(username), None) => wrong(
            username,
            "needs MAILROOM_RELAYHOST_PASSWORD, or MAILROOM_RELAYHOST_PASSWORD_FILE",
        ),
        (None, Some(password)) => wrong(password, "needs MAILROOM_RELAYHOST_USERNAME"),
        (Some(username), Some(_)) if let Some(maps) = whole.set("POSTFIX_SMTP_SASL_PASSWORD_MAPS") => {
            let maps = maps.replace("/etc/", "smtp_sasl_password_maps in /etc/");
            wrong(
                username,
                &format!("is a login at the relay host, and so is {maps}: keep one of them"),
            )
        }
        (Some(username), Some(_)) if whole.set("POSTFIX_RELAYHOST").is_none() => {
            wrong(username, "needs POSTFIX_RELAYHOST: the server to log in at")
        }
        (Some(username), Some(_)) if whole.settings.relay.username.contains(':') => {
            wrong(username, "must not hold a colon")
        }
        _ => Wrong::new(),
    }
}

/// A single public address may be a server of one's own; a range of them holds strangers.
fn public_networks(whole: &Whole) -> Wrong {
    if whole.site.allow_open_relay {
        return Wrong::new();
    }
    let reason = |net: IpNet| network::why_public(&net.to_string());
    let in_main_cf = whole
        .site
        .networks
        .as_ref()
        .and_then(|networks| networks.public(&whole.site.own_networks).next());
    let origin = whole.settings.networks_origin.clone().unwrap_or_default();
    let in_main_cf = in_main_cf.map(|net| (origin, reason(net)));
    let options = whole.settings.services.iter().filter_map(|service| {
        let (_, value) = service.options.iter().find(|(name, _)| name == "mynetworks")?;
        let networks: Networks = network::parse_list(value).ok()?;
        let net = networks.public(&whole.site.own_networks).next()?;
        Some((service.origins.first()?.clone(), reason(net)))
    });
    in_main_cf.into_iter().chain(options).collect()
}

/// Lists of which no stranger may be a part, and what a stranger could do.
const CLOSED: [(&str, &str); 5] = [
    (
        "relay_domains",
        "strangers could relay to all domains there: name the domains that this server relays to",
    ),
    (
        "relay_clientcerts",
        "strangers could relay with a certificate of their own: name fingerprints",
    ),
    (
        "permit_mx_backup_networks",
        "strangers could relay to domains of their own: name the networks of the servers whose backup this is",
    ),
    (
        "smtpd_authorized_xclient_hosts",
        "strangers could say that they have a trusted address: name private networks or single addresses",
    ),
    (
        "smtpd_authorized_xforward_hosts",
        "strangers could say in the log that they have another address: name private networks or single addresses",
    ),
];

/// Of every smtpd. A restriction that asks one of them need not be set now.
fn open_lists(whole: &Whole) -> Wrong {
    if whole.site.allow_open_relay {
        return Wrong::new();
    }
    let mut wrong = Wrong::new();
    for scope in services(whole.settings, &["smtpd"]) {
        for (list, reason) in CLOSED {
            let (words, setters) = scope.words(list, 0);
            let mut words = words.iter();
            let open = words.find(|word| open_tables::with_strangers(word, &whole.site.own_networks));
            let Some((open, setter)) = open.zip(setters.into_iter().next()) else {
                continue;
            };
            let reason = format!("{open} in {list} holds strangers: {reason}, or set MAILROOM_ALLOW_OPEN_RELAY=yes");
            wrong.push((setter, reason));
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

/// Who reaches the port would name the address that counts, and a client without the protocol is not answered.
fn proxy_protocol(whole: &Whole) -> Wrong {
    let mut wrong = Wrong::new();
    for scope in services(whole.settings, &["smtpd", "postscreen"]) {
        let parameter = format!("{}_upstream_proxy_protocol", scope.service.program);
        if let (value, Some(setter)) = scope.value(&parameter)
            && !value.is_empty()
        {
            let reason = format!(
                "{parameter}={value} is not supported: strangers who reach the port could say that they have a trusted \
                 address, and health checks would fail; leave it empty, and let the proxy pass addresses on by routing"
            );
            wrong.push((setter, reason));
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

/// Parameters that name a service, and its program (postconf(5)).
const SERVICE_NAMES: [(&str, &str); 18] = [
    ("address_verify_service_name", "verify"),
    ("bounce_service_name", "bounce"),
    ("cleanup_service_name", "cleanup"),
    ("connection_cache_service_name", "scache"),
    ("defer_service_name", "bounce"),
    ("dnsblog_service_name", "dnsblog"),
    ("error_service_name", "error"),
    ("flush_service_name", "flush"),
    ("pickup_service_name", "pickup"),
    ("postlog_service_name", "postlogd"),
    ("proxymap_service_name", "proxymap"),
    ("proxywrite_service_name", "proxymap"),
    ("queue_service_name", "qmgr"),
    ("rewrite_service_name", "trivial-rewrite"),
    ("showq_service_name", "showq"),
    ("tlsmgr_service_name", "tlsmgr"),
    ("tlsproxy_service_name", "tlsproxy"),
    ("trace_service_name", "bounce"),
];

/// Mail is refused, waits for ever or is lost where such a name is another program's, or nobody's.
fn service_names(whole: &Whole) -> Wrong {
    let services = applied(master_cf::services(), &whole.settings.master, &whole.settings.services);
    let wrong = |Setting { origin, name, value }: Setting| {
        let (_, program) = SERVICE_NAMES.iter().find(|(parameter, _)| *parameter == name)?;
        // postscreen(8)'s helpers are nobody's until a drop-in file adds them.
        let is_default = value == whole.settings.known.default_of(name);
        let is_there = services
            .iter()
            .any(|service| service.name == value && service.program == *program && service.kind != "inet");
        let names: Vec<&str> = services
            .iter()
            .filter(|service| service.program == *program)
            .map(|service| service.name.as_str())
            .collect();
        let must = match names.as_slice() {
            [] => format!("there is none of {program} in master.cf"),
            names => format!("must be {}, which is {program}", names.join(" or ")),
        };
        (!is_there && !is_default && !value.contains('$'))
            .then(|| (origin.to_owned(), format!("names no such service: {must}")))
    };
    whole.settings.all_set().filter_map(wrong).collect()
}

/// Mail for a transport that is no service of master.cf waits for ever.
fn transports(whole: &Whole) -> Wrong {
    let services = applied(master_cf::services(), &whole.settings.master, &whole.settings.services);
    let wrong = |Setting { origin, name, value }: Setting| {
        let transport = value.split(':').next().filter(|transport| !transport.is_empty())?;
        let is_one = destinations::TRANSPORTS.contains(&name) && !value.contains('$');
        let is_there = services.iter().any(|service| service.is(transport, "unix"));
        let names = services.iter().filter(|service| service.kind == "unix");
        let nearest = nearest(transport, names.map(|service| service.name.as_str()))
            .map(|nearest| format!("; did you mean {nearest}?"))
            .unwrap_or_default();
        (is_one && !is_there).then(|| {
            let reason = format!("{transport} is no service of master.cf: its mail would wait for ever{nearest}");
            (origin.to_owned(), reason)
        })
    };
    whole.settings.all_set().filter_map(wrong).collect()
}

/// A warning where mail for accounts waits until `postqueue -f`.
pub(super) fn waits_for_flush(settings: &Settings) -> Option<String> {
    let given = settings.parameters.get("defer_transports")?;
    let holds = split_words(&given.value).iter().any(|word| word == "virtual");
    holds.then(|| {
        format!(
            "Warning: {} holds virtual, which delivers to the mailboxes: all mail for accounts waits in the queue until \
             postqueue -f",
            given.variable
        )
    })
}

/// Both daemons and a pattern of ours hold them, and an address has to be left.
fn delimiters(whole: &Whole) -> Wrong {
    const SIGNS: &[u8] = b"+-_=./#~^!%&*|?";
    let is_right = |sign: u8| SIGNS.contains(&sign);
    match whole.set(DELIMITER) {
        Some(variable) if !whole.site.recipient_delimiter.bytes().all(is_right) => {
            let allowed = String::from_utf8_lossy(SIGNS);
            vec![(variable, format!("must be one or several of the signs {allowed}"))]
        }
        _ => Wrong::new(),
    }
}

/// At least one listener has to be left.
fn listeners(whole: &Whole) -> Wrong {
    let off: Vec<&str> = whole
        .settings
        .master
        .iter()
        .filter(|setting| setting.change == Change::Off)
        .map(|setting| setting.variable.as_str())
        .collect();
    match off.last() {
        Some(last) if off.len() >= OPTIONAL.len() => {
            vec![(
                (*last).to_owned(),
                "switches off the last of the SMTP listeners: keep one of them".to_owned(),
            )]
        }
        _ => Wrong::new(),
    }
}
