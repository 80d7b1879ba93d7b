//! The first step: what is set, and what is there. Mistakes of the user's come back beside it: a wrong variable has its
//! default then.

use std::fs;
use std::io::ErrorKind;

use tokio::task::spawn_blocking;

use crate::accounts;
use crate::accounts::declared;
use crate::accounts::entries::{self, Declaration, Entry, Wrong};
use crate::accounts::external::{self, Dialect, External, Sql};
use crate::accounts::known::{Kept, Known};
use crate::accounts::names::split_by_lmtp;
use crate::accounts::records::Records;
use crate::daemon::{self, Configured, Daemon, Grammar};
use crate::facts::Facts;
use crate::report::{self, Mistake, Unusable};
use crate::secrets::{HIDDEN, Secrets};
use crate::settings::gather::{Gathered, gather};
use crate::settings::reader::Checked;
use crate::settings::table::{Table, Variable};
use crate::settings::{Environment, Names, Reader, Values};
use crate::site::{CATCH_ALL, DELIMITER, DOMAINS, MAILBOXES, MYDOMAIN, Protocols, QUOTA, SIEVE, Site};
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
    /// Where more of both are.
    pub external: Option<External>,
    /// Entries in files that are wrong, where the last good state of them is known.
    pub wrong: Vec<Wrong>,
    /// What was in force before.
    pub kept: Kept,
    /// What shall be: nothing before it is settled.
    pub known: Known,
    /// Mistakes that keep nobody from being served.
    pub troubles: Vec<Mistake>,
    /// What a user should know about how the environment was understood.
    pub notes: Vec<String>,
    /// How many settings were given.
    pub given: usize,
}

impl Read {
    /// Hashes the passwords that are new, beside what runs: each takes some 50 ms.
    pub async fn settle(mut self) -> anyhow::Result<Read> {
        let (declaration, wrong) = (std::mem::take(&mut self.declaration), std::mem::take(&mut self.wrong));
        let before = self.kept.declared.clone();
        let settled = spawn_blocking(move || declared::settle(&declaration, &wrong, before.as_ref()));
        self.known = Known {
            declared: settled.await?.map_err(anyhow::Error::msg)?,
            live: self.kept.live.clone(),
        };
        Ok(self)
    }

    /// Without what is known of accounts: what a change of them alone does not change.
    pub fn without_accounts(mut self) -> Read {
        self.take_accounts();
        self
    }

    /// Takes what is known of accounts, which may be much.
    pub fn take_accounts(&mut self) -> Kept {
        self.known = Known::default();
        std::mem::take(&mut self.kept)
    }

    /// Whether what was read holds with these accounts, too: neither the domains nor what is declared depend on them.
    pub fn holds_with(&self, live: &Records) -> bool {
        let is_served = |domain: &String| self.site.domains().any(|served| served == domain);
        self.troubles.is_empty() && self.site.catch_all().is_none() && live.domains.iter().all(is_served)
    }
}

/// Reads everything; with what is wrong with it. `kept` is what was in force before, with the live accounts as they shall be.
pub async fn read(
    daemons: &[&'static dyn Daemon],
    environment: &Environment,
    processes: &Processes,
    kept: Kept,
) -> anyhow::Result<(Read, Vec<Mistake>)> {
    let table = daemon::table(daemons);
    let mut grammars = Vec::new();
    for daemon in daemons {
        grammars.push(daemon.learn(environment, &table, processes).await?);
    }
    let gathered = gather(environment, &table, &names(&grammars));
    let (configured, checked) = settings(table, gathered, grammars);
    let facts = Facts::gather(environment);
    examined(configured, checked, facts, kept)
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
    kept: Kept,
) -> anyhow::Result<(Read, Vec<Mistake>)> {
    let Checked {
        values,
        mut secrets,
        mut notes,
        mut mistakes,
    } = checked;
    secrets.add_value(&facts.login_policy_secret);
    secrets.add_value(&facts.log_mask_key);
    let mut site = Site::of(&values)?;
    site.add_domains(&kept.live.domains);
    notes.extend(without_ipv6(&mut site, &facts)?);
    let mut objections: Vec<Mistake> = other_primary_domain(&site, &values, &kept).into_iter().collect();
    objections.extend(facts.certificate.mistake.clone());
    let (external, of_directory) = external::read(&values);
    site.has_directory = external.is_some();
    secrets.add_value(external.as_ref().map_or("", External::secret));
    objections.extend(of_directory);
    objections.extend(missing_database(external.as_ref(), &values));
    let (declaration, mut wrong) = entries::read(&values, &site, &kept.live);
    wrong.extend(
        kept.declared
            .iter()
            .flat_map(|declared| entries::emptied(&values, declared)),
    );
    objections.extend(without_mailboxes(&site, &values));
    objections.extend(wrong_catch_all(&site, &values, &declaration, &kept.live));
    objections.extend(live_accounts_in_the_way(&site, &values, &kept));
    // A file may be mended while the server runs, and an account in it may go to which an alias in a variable leads. A first start
    // has no good state of either.
    let is_tolerated = |wrong: &Wrong| {
        let kept = kept.declared.as_ref();
        let is_kept = |address: &String| kept.is_some_and(|kept| kept.aliases.contains_key(address));
        kept.is_some()
            && (wrong.is_in_file || wrong.entry == Entry::Alias && wrong.address.as_ref().is_some_and(is_kept))
    };
    let (wrong, refused): (Vec<Wrong>, Vec<Wrong>) = wrong.into_iter().partition(is_tolerated);
    objections.extend(refused.into_iter().map(|wrong| wrong.mistake));
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
        troubles: wrong.iter().map(|wrong| wrong.mistake.clone()).collect(),
        declaration,
        external,
        wrong,
        kept,
        known: Known::default(),
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
fn other_primary_domain(site: &Site, values: &Values, kept: &Kept) -> Option<Mistake> {
    let recorded = kept
        .primary_domain
        .as_ref()
        .filter(|recorded| site.mailboxes && **recorded != site.domain)?;
    let reason = format!(
        "the mailboxes in /var/mail belong to {recorded}: set POSTFIX_MYDOMAIN={recorded}, or start with another volume; \
         mailroom domain rename {recorded} {} --dry-run, with these volumes and settings, says how they get the new name",
        site.domain
    );
    let origin = values.entry("POSTFIX_MYDOMAIN").map(|entry| entry.origin.clone());
    Some(Mistake::new(origin.unwrap_or_default(), &site.domain, reason))
}

/// Accounts that commands added were right beside the settings of that time. Beside these, mail of one could become another's: their
/// mailboxes lie where those of a domain do, or their addresses are sub-addresses.
fn live_accounts_in_the_way(site: &Site, values: &Values, kept: &Kept) -> Vec<Mistake> {
    let mut wrong = Vec::new();
    let object = |name: &str, reason: String| {
        let entry = values.entry(name);
        let origin = entry.map_or(name, |entry| entry.origin.as_str());
        Mistake::new(origin, entry.map_or("", |entry| entry.raw.as_str()), reason)
    };
    let declared = kept
        .declared
        .as_deref()
        .into_iter()
        .flat_map(|records| &records.accounts);
    let left = declared.filter(|(_, record)| record.origin.is_none());
    let advice = "with the settings of before, mailroom account remove takes it away";
    for address in kept.live.accounts.keys().chain(left.map(|(address, _)| address)) {
        let (name, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        if domain == site.domain && site.domains().any(|served| served == name) {
            let variable = if name == site.domain { MYDOMAIN } else { DOMAINS };
            wrong.push(object(
                variable,
                format!("{name} is the name of the account {address}, whose mail lies where that of the domain would; {advice}"),
            ));
        }
        let record = kept.live.accounts.get(address);
        if let Some(reason) = record.and_then(|record| split_by_lmtp(site, name, record.quota)) {
            wrong.push(object(DELIMITER, format!("{reason}, or {advice}")));
        }
        let short = format!("{}@{domain}", site.without_extension(name));
        if short != *address && kept.live.accounts.contains_key(&short) {
            wrong.push(object(
                DELIMITER,
                format!(
                    "{address} would be a sub-address of {short}, and both are accounts: use other signs, or {advice}"
                ),
            ));
        }
    }
    wrong
}

/// Without the file no account is found, and every login would wait for it.
fn missing_database(external: Option<&External>, values: &Values) -> Option<Mistake> {
    let Some(External::Sql(Sql {
        dialect: Dialect::Sqlite,
        url,
        ..
    })) = external
    else {
        return None;
    };
    let path = &url.path;
    let reason = match fs::metadata(path) {
        Ok(there) if there.is_file() => return None,
        Ok(_) => format!("{path} is no file: name the file of the database"),
        Err(error) if error.kind() == ErrorKind::NotFound => format!(
            "there is no file {path}: mount the directory that holds it, or make it there: sqlite3 {path} <docs/accounts.sql"
        ),
        // `mailroom check` may be run by anybody.
        Err(_) => return None,
    };
    let origin = values.entry(external::SQL).map(|entry| entry.origin.clone());
    Some(Mistake::new(origin.unwrap_or_default(), HIDDEN, reason))
}

/// What is about mailboxes where there are none.
fn without_mailboxes(site: &Site, values: &Values) -> Vec<Mistake> {
    let asked = [
        (QUOTA, "limits mailboxes", site.quota.limit().is_some()),
        (SIEVE, "filters mail into mailboxes", site.sieve),
    ];
    let asked = asked.into_iter().filter(|(.., is_on)| *is_on && !site.mailboxes);
    let wrong = |(name, what, _): (&str, &str, bool)| {
        let entry = values.entry(name)?;
        let reason = format!("{what}, and {MAILBOXES}=off leaves none: keep one of the two");
        Some(Mistake::new(&entry.origin, &entry.raw, reason))
    };
    asked.filter_map(wrong).collect()
}

/// Without that mailbox all mail would bounce.
fn wrong_catch_all(site: &Site, values: &Values, declaration: &Declaration, live: &Records) -> Option<Mistake> {
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
    let there: Vec<String> = declared.chain(live.accounts.keys().cloned()).collect();
    let names: Vec<String> = if there.is_empty() && site.has_test_accounts() && !live.had_accounts {
        accounts::test_names()
            .map(|name| format!("{name}@{}", site.domain))
            .into()
    } else {
        there
    };
    if names.contains(&address) {
        return None;
    }
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown = format!("its accounts are {}{more}", shown.join(", "));
    let meant = nearest(&address, names.iter().map(String::as_str)).map(|nearest| format!("; did you mean {nearest}?"));
    let is_test = |name: &str| address == format!("{name}@{}", site.domain);
    wrong(if names.is_empty() {
        "is no account of this server, which has none of its own (one in a database or LDAP cannot be named)".to_owned()
    } else if accounts::test_names().into_iter().any(is_test) {
        format!(
            "is a test account, and these are gone once there are others: add an account {address} first, or name one that is \
             there; {shown}"
        )
    } else {
        format!("is no account of this server; {shown}{}", meant.unwrap_or_default())
    })
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
        let grammars = vec![
            crate::http::HTTPD.grammar(),
            crate::policyd::POLICYD.grammar(),
            crate::postfix::grammar(PARAMETERS, ""),
            crate::dovecot::grammar(),
        ];
        let table = daemon::table(DAEMONS);
        let gathered = gather(&environment, &table, &names(&grammars));
        let (configured, checked) = settings(table, gathered, grammars);
        examined(configured, checked, Facts::default(), Kept::default()).unwrap()
    }

    /// The site, and the values of the table as they would come from files.
    pub(crate) fn site_and_values(pairs: &[(&str, &str)]) -> (Site, Values) {
        let environment: Environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let grammars = vec![crate::postfix::grammar(PARAMETERS, ""), crate::dovecot::grammar()];
        let table = daemon::table(DAEMONS);
        let gathered = gather(&environment, &table, &names(&grammars));
        let (_, checked) = settings(table, gathered, grammars);
        (Site::of(&checked.values).unwrap(), checked.values)
    }

    /// The same, of what is right.
    pub(crate) fn read(pairs: &[(&str, &str)]) -> Read {
        let (read, mistakes) = read_all(pairs);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let settled = declared::settle(&read.declaration, &[], None).unwrap();
        Read {
            known: Known {
                declared: settled,
                live: Records::default(),
            },
            ..read
        }
    }

    #[test]
    fn what_needs_mailboxes() {
        for name in [QUOTA, SIEVE] {
            let value = if name == QUOTA { "5G" } else { "on" };
            let (_, mistakes) = read_all(&[(MAILBOXES, "off"), (name, value)]);
            assert!(mistakes.len() == 1 && mistakes[0].variable == name, "{mistakes:?}");
            read(&[(MAILBOXES, "off"), (name, "off")]);
        }
    }

    /// The settings of the site alone.
    pub(crate) fn site(pairs: &[(&str, &str)]) -> Site {
        read(pairs).site
    }
}
