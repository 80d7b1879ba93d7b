//! The first step: what is set, and what is there. Mistakes of the user's come back beside it: a wrong variable has its
//! default then.

use crate::accounts;
use crate::accounts::entries::{self, Declaration};
use crate::accounts::external::External;
use crate::daemon::{self, Configured, Daemon, Grammar};
use crate::facts::Facts;
use crate::layout::PRIMARY_DOMAIN_RECORD;
use crate::report::{self, Mistake, Unusable};
use crate::secrets::Secrets;
use crate::settings::gather::{Gathered, gather};
use crate::settings::reader::Checked;
use crate::settings::table::{Table, Variable};
use crate::settings::{Environment, Names, Reader, Values};
use crate::site::{CATCH_ALL, MAILBOXES, Protocols, Site};
use crate::system::processes::Processes;
use crate::values::nearest;
use crate::values::network::Networks;

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// The settings of the site.
    pub site: Site,
    /// The settings of each daemon, in the order of the list.
    pub configured: Vec<Box<dyn Configured>>,
    /// What this machine is.
    pub facts: Facts,
    /// What is never shown.
    pub secrets: Secrets,
    /// Accounts and aliases that are declared.
    pub declaration: Declaration,
    /// What a user should know about how the environment was understood.
    pub notes: Vec<String>,
    /// How many settings were given.
    pub given: usize,
}

/// Reads everything; with what is wrong with it.
pub async fn read(
    daemons: &[&'static dyn Daemon],
    environment: &Environment,
    processes: &Processes,
) -> anyhow::Result<(Read, Vec<Mistake>)> {
    let table = daemon::table(daemons);
    let mut grammars = Vec::new();
    for daemon in daemons {
        grammars.push(daemon.learn(environment, &table, processes).await?);
    }
    let gathered = gather(environment, &table, &names(&grammars));
    let (configured, checked) = settings(table, gathered, grammars);
    let facts = Facts::gather(environment);
    examined(configured, checked, facts)
}

fn names(grammars: &[Box<dyn Grammar>]) -> Vec<&dyn Names> {
    grammars.iter().map(|grammar| &**grammar as &dyn Names).collect()
}

/// The settings of all rooms, each value right by itself.
fn settings(table: Table, gathered: Gathered, grammars: Vec<Box<dyn Grammar>>) -> (Vec<Box<dyn Configured>>, Checked) {
    let mut reader = Reader::new(table, gathered);
    let checks = |variable: &'static Variable, canonical: &str| {
        grammars
            .iter()
            .try_for_each(|grammar| grammar.check(variable, canonical))
    };
    reader.read_table(checks);
    reader.sort_out(&names(&grammars));
    let prefixes: Vec<&str> = grammars
        .iter()
        .flat_map(|grammar| grammar.prefixes())
        .copied()
        .collect();
    let configured = grammars.into_iter().map(|grammar| grammar.read(&mut reader)).collect();
    (configured, reader.finish(&prefixes))
}

/// With all that is wrong in the whole.
fn examined(
    mut configured: Vec<Box<dyn Configured>>,
    checked: Checked,
    facts: Facts,
) -> anyhow::Result<(Read, Vec<Mistake>)> {
    let Checked {
        values,
        mut secrets,
        mut notes,
        mut mistakes,
    } = checked;
    let mut site = Site::of(&values)?;
    notes.extend(without_ipv6(&mut site, &facts)?);
    let mut objections: Vec<Mistake> = other_primary_domain(&site, &values, &facts).into_iter().collect();
    objections.extend(facts.certificate.mistake.clone());
    let (declaration, of_entries) = entries::read(&values, &site);
    objections.extend(wrong_catch_all(&site, &values, &declaration));
    objections.extend(of_entries);
    let secret = declaration.external.as_ref().map_or("", External::secret);
    secrets.add_value(secret);
    for daemon in &mut configured {
        objections.extend(daemon.examine(&site, &values)?);
    }
    report::add(&mut mistakes, objections);
    let of_networks = site.networks.iter().flat_map(Networks::notes);
    let of_daemons = configured.iter().flat_map(|daemon| daemon.notes());
    notes = of_networks.chain(of_daemons).chain(notes).collect();
    let of_table = values.entries().filter(|entry| entry.explicit).count();
    let read = Read {
        given: of_table + configured.iter().map(|daemon| daemon.count()).sum::<usize>(),
        site,
        configured,
        facts,
        secrets,
        declaration,
        notes,
    };
    Ok((read, mistakes))
}

/// Where there is no IPv6, both protocols are IPv4 alone, and a note says so.
fn without_ipv6(site: &mut Site, facts: &Facts) -> anyhow::Result<Option<String>> {
    match (&facts.no_ipv6, site.protocols) {
        (Some(why), Protocols::All) => {
            site.protocols = Protocols::Ipv4;
            let note = format!("POSTFIX_INET_PROTOCOLS=all: there is no IPv6 here ({why}); IPv4 alone is served");
            Ok(Some(note))
        }
        (Some(why), Protocols::Ipv6) => Err(Unusable(format!(
            "POSTFIX_INET_PROTOCOLS=ipv6: there is no IPv6 here ({why}): use ipv4, or give the container's network IPv6"
        ))
        .into()),
        _ => Ok(None),
    }
}

/// With another primary domain the short home directories would hand one user's mail to another.
fn other_primary_domain(site: &Site, values: &Values, facts: &Facts) -> Option<Mistake> {
    let recorded = facts
        .recorded_domain
        .as_ref()
        .filter(|recorded| site.mailboxes && **recorded != site.domain)?;
    let reason = format!(
        "the mailboxes in /var/mail belong to {recorded}: set POSTFIX_MYDOMAIN={recorded}, or start with another volume \
         (to hand them over to {} on purpose, remove {PRIMARY_DOMAIN_RECORD})",
        site.domain
    );
    let origin = values.entry("POSTFIX_MYDOMAIN").map(|entry| entry.origin.clone());
    Some(Mistake::new(origin.unwrap_or_default(), &site.domain, reason))
}

/// Without that mailbox all mail would bounce.
fn wrong_catch_all(site: &Site, values: &Values, declaration: &Declaration) -> Option<Mistake> {
    /// More names would hide the reason.
    const SHOWN: usize = 10;
    let address = site.catch_all()?;
    let entry = values.entry(CATCH_ALL)?;
    let wrong = |reason: String| Some(Mistake::new(&entry.origin, &entry.raw, reason));
    if !site.mailboxes {
        return wrong(format!(
            "keeps all mail in a mailbox, and {MAILBOXES}=off leaves none: keep one of the two"
        ));
    }
    let declared = declaration.accounts.iter().map(|account| account.address.text());
    let names: Vec<String> = if declaration.accounts.is_empty() && declaration.external.is_none() && site.test_accounts
    {
        accounts::test_names()
            .map(|name| format!("{name}@{}", site.domain))
            .into()
    } else {
        declared.collect()
    };
    if names.contains(&address) {
        return None;
    }
    let meant = nearest(&address, names.iter().map(String::as_str)).map(|nearest| format!("; did you mean {nearest}?"));
    let shown = names
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let more = if names.len() > SHOWN { ", …" } else { "" };
    wrong(format!(
        "is no account of this server; its accounts are {shown}{more}{}",
        meant.unwrap_or_default()
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::daemons::DAEMONS;

    /// Parameters of a small Postfix.
    const PARAMETERS: &str = "smtpd_client_connection_rate_limit = 0\nsmtp_tls_CApath =\nbiff = yes\nmax_idle = 100s\n";

    /// Reads an environment, with nothing else set and no facts; with what is wrong with it.
    pub(crate) fn read_all(pairs: &[(&str, &str)]) -> (Read, Vec<Mistake>) {
        let environment: Environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let grammars = vec![crate::postfix::grammar(PARAMETERS, ""), crate::dovecot::grammar()];
        let table = daemon::table(DAEMONS);
        let gathered = gather(&environment, &table, &names(&grammars));
        let (configured, checked) = settings(table, gathered, grammars);
        examined(configured, checked, Facts::default()).unwrap()
    }

    /// The same, of what is right.
    pub(crate) fn read(pairs: &[(&str, &str)]) -> Read {
        let (read, mistakes) = read_all(pairs);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        read
    }

    /// The settings of the site alone.
    pub(crate) fn site(pairs: &[(&str, &str)]) -> Site {
        read(pairs).site
    }
}
