//! `MAILROOM_CATCH_ALL`: mail for anybody is kept in one mailbox, and none leaves.
//!
//! Two measures, of which each would be enough. Every route leads to virtual(8), for which all recipients have that mailbox;
//! the recipient stays what it was (`X-Original-To`, `Delivered-To`). And every program of master.cf that is not known to
//! deliver nothing is virtual(8): what a filter, a table or a drop-in file may still ask for, there is no program that could
//! send mail elsewhere, or lose it.
//!
//! Who may send, and as whom, is decided as ever, and so are aliases: an application meets what it would meet without this.

use std::collections::BTreeSet;

use super::main_cf::Given;
use super::master_cf::{PROCESS_LIMIT, Service};
use super::master_settings::Change;
use super::settings::Settings;
use crate::accounts::Account;
use crate::site::{CATCH_ALL, Site};

/// Where mail for other domains than ours goes (trivial-rewrite(8)).
const ROUTES: [&str; 3] = ["default_transport", "local_transport", "relay_transport"];

/// What would lead mail elsewhere or refuse a recipient; empty unless it is set.
const LEFT_OUT: [&str; 13] = [
    "content_filter",
    "relay_recipient_maps",
    "relayhost",
    "sender_dependent_default_transport_maps",
    "sender_dependent_relayhost_maps",
    "smtp_sasl_auth_enable",
    "smtp_sasl_password_maps",
    "smtp_tls_wrappermode",
    "smtpd_proxy_filter",
    "transport_maps",
    "virtual_alias_domains",
    "virtual_mailbox_maps",
    "virtual_transport",
];

/// The programs that deliver nothing. A command of spawn(8) is asked by smtpd(8), for a policy; it could not read a message
/// that qmgr(8) named to it.
const STAY: [&str; 20] = [
    "anvil",
    "bounce",
    "cleanup",
    "dnsblog",
    "flush",
    "oqmgr",
    "pickup",
    "postlogd",
    "postscreen",
    "proxymap",
    "qmgr",
    "qmqpd",
    "scache",
    "showq",
    "smtpd",
    "spawn",
    "tlsmgr",
    "tlsproxy",
    "trivial-rewrite",
    "verify",
];

/// Services of error(8), by which qmgr(8) returns or defers what cannot be delivered.
const RETURNS: [&str; 2] = ["error", "retry"];

/// Local parts that qmgr(8) throws mail for away, where the domain is an address of this server (qmgr_message.c in Postfix's
/// sources): one that no sender uses.
const THROWN_AWAY: &str = "mailroom-double-bounce";

/// What keeps all mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatchAll {
    /// The account's address.
    address: String,
    /// The variables, or `file:line`, that are not used for it.
    unused: BTreeSet<String>,
}

impl CatchAll {
    /// Changes the settings, where it is on.
    pub(super) fn apply(settings: &mut Settings, site: &Site) -> Option<CatchAll> {
        let address = site.catch_all()?;
        let mut unused = BTreeSet::new();
        let mut leave_out = |variable: &str, value: &str| {
            if !value.is_empty() {
                unused.insert(variable.to_owned());
            }
        };
        // Their domains stay ours.
        let mut domains: Vec<String> = site.domains().map(str::to_owned).collect();
        for name in LEFT_OUT.into_iter().chain(ROUTES) {
            let Some(given) = settings.parameters.remove(name) else {
                continue;
            };
            if given.explicit {
                leave_out(&given.variable, &given.value);
            }
            if name == "virtual_alias_domains" && !given.value.is_empty() {
                domains.push(given.value);
            }
        }
        let is_left_out = |name: &str| LEFT_OUT.contains(&name) || ROUTES.contains(&name);
        settings.master.retain(|setting| match &setting.change {
            Change::Option(name, value) if is_left_out(name) => {
                leave_out(&setting.variable, value);
                false
            }
            _ => true,
        });
        for service in &mut settings.services {
            let origin = service.origins.first().cloned().unwrap_or_default();
            if !stays(service) {
                leave_out(&origin, &service.program);
            }
            service.options.retain(|(name, value)| {
                let stays = !is_left_out(name);
                if !stays {
                    leave_out(&origin, value);
                }
                stays
            });
        }
        settings.relay.without_host();
        for name in ROUTES {
            settings.parameters.insert(name.to_owned(), given("virtual"));
        }
        let sender = "double_bounce_sender".to_owned();
        settings.parameters.entry(sender).or_insert_with(|| given(THROWN_AWAY));
        if domains.len() > site.domains().count() {
            let domains = given(&domains.join(", "));
            settings
                .parameters
                .insert("virtual_mailbox_domains".to_owned(), domains);
        }
        Some(CatchAll { address, unused })
    }

    /// What a user should know.
    pub(super) fn note(&self) -> String {
        let unused: Vec<&str> = self.unused.iter().map(String::as_str).collect();
        let unused = if unused.is_empty() {
            String::new()
        } else {
            format!("; not used: {}", unused.join(", "))
        };
        format!(
            "{CATCH_ALL} is on: mail for anybody is kept in the mailbox of {}, and none leaves{unused}",
            self.address
        )
    }

    /// `virtual_mailbox_maps`: the same mailbox for every recipient.
    pub(super) fn mailbox_maps(&self, accounts: &[Account], primary_domain: &str) -> Option<Given> {
        let account = accounts.iter().find(|account| account.address == self.address)?;
        let mailbox = account.mailbox(primary_domain);
        Some(given(&format!("static:{mailbox}/Maildir/")))
    }
}

fn given(value: &str) -> Given {
    Given {
        variable: CATCH_ALL.to_owned(),
        value: value.to_owned(),
        explicit: true,
    }
}

/// Makes every program that may deliver virtual(8), as the template has it: which needs root's rights (master(5),
/// "unprivileged"), and is asked by its private socket. Nothing but a socket can be such a service.
pub(super) fn keep_in(services: &mut Vec<Service>) {
    services.retain(|service| stays(service) || service.kind == "unix");
    for service in services.iter_mut().filter(|service| !stays(service)) {
        let before = service.clone();
        let limit = std::mem::take(&mut service.fields[PROCESS_LIMIT]);
        service.fields = ["-".into(), "n".into(), "n".into(), "-".into(), limit];
        "virtual".clone_into(&mut service.program);
        service.options.clear();
        service.arguments.clear();
        if *service != before {
            service.origins.push(CATCH_ALL.to_owned());
        }
    }
}

/// Whether a service is left as it is. A listener of spawn(8) would hand a client's mail to a command.
fn stays(service: &Service) -> bool {
    match service.program.as_str() {
        "error" => RETURNS.contains(&service.name.as_str()),
        "spawn" => service.kind == "unix",
        program => STAY.contains(&program),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{environment, read_with, sources};
    use super::super::{files, master_cf};
    use super::*;
    use crate::accounts::TestAccounts;
    use crate::postfix::parameters::Parameters;
    use crate::settings::DropIn;

    const KNOWN: &str = "transport_maps =\ncontent_filter =\nsmtpd_proxy_filter =\ndefault_transport = smtp\n\
        virtual_alias_domains =\nrelay_recipient_maps =\nalways_bcc =\nsmtp_tls_wrappermode = no\nsmtp_tls_security_level =\n";

    /// The settings with the catch-all, the account's, and what these pairs set beside it.
    fn applied(pairs: &[(&str, &str)], master_cf: &str) -> (Settings, CatchAll, Site) {
        let pairs = [pairs, &[(CATCH_ALL, "USER")]].concat();
        let mut sources = sources(environment(&pairs));
        sources.master_cf = vec![DropIn {
            path: "/x.cf".into(),
            text: master_cf.to_owned(),
        }];
        let known = Parameters::parse(KNOWN, "inline\nstatic\n");
        let whole = read_with(sources, known).unwrap();
        (whole.postfix, whole.catch_all.unwrap(), whole.site)
    }

    #[test]
    fn all_routes_lead_to_one_mailbox() {
        let (settings, kept, site) = applied(&[], "");
        for route in ROUTES {
            assert_eq!(settings.parameters[route].value, "virtual");
        }
        let tests = TestAccounts::all(&site.domain).unwrap();
        let maps = kept
            .mailbox_maps(&tests.accounts().collect::<Vec<_>>(), &site.domain)
            .unwrap();
        assert_eq!(maps.value, "static:user/Maildir/");
        let note = "MAILROOM_CATCH_ALL is on: mail for anybody is kept in the mailbox of user@metabuilder.local, and none leaves";
        assert_eq!(kept.note(), note);
    }

    #[test]
    fn it_wins_over_every_other_way_and_says_so() {
        let (settings, kept, _) = applied(
            &[
                ("POSTFIX_RELAYHOST", "[smtp.example.org]:465"),
                ("MAILROOM_RELAYHOST_USERNAME", "me"),
                ("MAILROOM_RELAYHOST_PASSWORD", "secret"),
                ("POSTFIX_TRANSPORT_MAPS", "inline:{a.test=smtp:b.test}"),
                ("POSTFIX_CONTENT_FILTER", "smtp:[filter]:10025"),
                ("POSTFIX_DEFAULT_TRANSPORT", "error:closed"),
                ("POSTFIX_ALWAYS_BCC", "archive@example.org"),
                ("MAILROOM_MASTER_SMTP_INET_SMTPD_PROXY_FILTER", "filter:10025"),
            ],
            "out unix - - n - - smtp -o transport_maps=static:smtp\n",
        );
        for name in LEFT_OUT {
            assert!(!settings.parameters.contains_key(name), "{name}");
        }
        assert!(!settings.relay_login() && settings.relay.host.is_empty());
        assert_eq!(settings.parameters["always_bcc"].value, "archive@example.org");
        for name in [
            "POSTFIX_RELAYHOST",
            "MAILROOM_RELAYHOST_USERNAME",
            "POSTFIX_TRANSPORT_MAPS",
            "POSTFIX_CONTENT_FILTER",
            "POSTFIX_DEFAULT_TRANSPORT",
            "MAILROOM_MASTER_SMTP_INET_SMTPD_PROXY_FILTER",
            "/x.cf:1",
        ] {
            assert!(kept.note().contains(name), "{name}: {}", kept.note());
        }
        let text = format!("{:?}", settings.services);
        assert!(!text.contains("transport_maps"), "{text}");
    }

    #[test]
    fn domains_of_aliases_stay_ours() {
        let (settings, ..) = applied(&[("POSTFIX_VIRTUAL_ALIAS_DOMAINS", "a.test, b.test")], "");
        let domains = &settings.parameters["virtual_mailbox_domains"].value;
        assert_eq!(domains, "metabuilder.local, a.test, b.test");
    }

    #[test]
    fn no_program_is_left_that_could_send_or_lose_mail() {
        let own = "out unix - - n - - smtp -o syslog_name=x\nhook unix - n n - - pipe flags=R user=nobody argv=/bin/sh\n\
            path unix - - n - - ./smtp\nvirtual unix n - y - 3 discard\nclosed unix - - n - - error\n\
            policy unix - n n - 0 spawn user=nobody argv=/p\n2525 inet n n n - 0 spawn user=nobody argv=/p\n\
            2424 inet n - n - - lmtp\n10025 inet n - n - - smtpd -o virtual_transport=error\n";
        let (settings, kept, site) = applied(&[], own);
        let services = files::services(&settings, &site).unwrap();
        let find = |name: &str, kind: &str| services.iter().find(|service| service.is(name, kind));
        for name in [
            "smtp", "relay", "lmtp", "local", "discard", "virtual", "out", "hook", "path", "closed",
        ] {
            let service = find(name, "unix").unwrap();
            assert_eq!(service.program, "virtual");
            assert_eq!(service.fields[..4], ["-", "n", "n", "-"], "{service}");
            assert!(service.options.is_empty() && service.arguments.is_empty(), "{service}");
        }
        assert_eq!(find("virtual", "unix").unwrap().fields[4], "3");
        for (name, program) in [
            ("error", "error"),
            ("retry", "error"),
            ("policy", "spawn"),
            ("bounce", "bounce"),
        ] {
            assert_eq!(find(name, "unix").unwrap().program, program);
        }
        assert!(find("2525", "inet").is_none() && find("2424", "inet").is_none());
        assert!(find("10025", "inet").unwrap().options.is_empty());
        for line in [1, 2, 3, 4, 5, 7, 8, 9] {
            assert!(
                kept.note().contains(&format!("/x.cf:{line}")),
                "{line}: {}",
                kept.note()
            );
        }
        assert!(!kept.note().contains("/x.cf:6"), "{}", kept.note());
        let listener = |service: &&Service| service.is("smtp", "inet");
        let before = master_cf::services();
        assert_eq!(before.iter().find(listener), services.iter().find(listener));
    }
}
