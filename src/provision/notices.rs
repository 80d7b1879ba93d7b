//! What the log says at a start: what is configured, who is trusted and why, what would be lost. A reload says what is new
//! in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::read::Read;
use crate::accounts::known::Known;
use crate::accounts::{Alias, Directory, Role};
use crate::facts::Facts;
use crate::facts::maildirs::Maildirs;
use crate::layout::{MAIL_DIRECTORY, PROBE_ADDRESS, QUEUE_DIRECTORY, STATE_DIRECTORY};
use crate::site::Site;
use crate::trust::Trust;
use crate::values::counted;

/// Lines for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// What is configured, secrets hidden.
    pub configured: Vec<String>,
    /// How the settings were understood, and what deserves a thought.
    pub notes: Vec<String>,
    /// What will be lost, or not work, as things stand.
    pub warnings: Vec<String>,
    /// Who has a mailbox.
    pub accounts: String,
    /// How many settings were given.
    pub given: usize,
}

/// All that there is to say.
pub(super) fn of(read: &Read, trust: &Trust, directory: &Directory) -> Notices {
    let set = read.configured.iter().flat_map(|daemon| daemon.settings());
    let configured = set.map(|set| {
        let value = read.secrets.shown(&set.origin, &set.value);
        format!("Configuring: {} = {value}", set.name).trim_end().to_owned()
    });
    let networks = format!("Configuring: mynetworks = {}", trust.mynetworks());
    let of_daemons = read.configured.iter();
    let of_daemons = of_daemons.flat_map(|daemon| daemon.warnings(&read.site, &read.facts));
    Notices {
        configured: configured.chain([networks]).collect(),
        notes: read
            .notes
            .iter()
            .chain(&trust.notes)
            .cloned()
            .chain(unread_mail(&read.facts.maildirs, directory, &read.site))
            .chain(taken_by_aliases(directory))
            .collect(),
        warnings: wrong_entries(read)
            .chain(storage(read))
            .chain(read.facts.certificate.warnings(&read.site.hostname))
            .chain(of_daemons)
            .chain(read.facts.rights.warning())
            .chain(unnamed_probe(&read.facts))
            .collect(),
        accounts: who_has_mail(directory),
        given: read.given,
    }
}

/// What is wrong in files, and what became of accounts because of it.
fn wrong_entries(read: &Read) -> impl Iterator<Item = String> {
    let wrong = read.troubles.iter().map(|mistake| {
        format!(
            "Warning: {}; until this is right, what was right there before stays in use",
            mistake.line()
        )
    });
    let Known { declared, live } = &read.known;
    let shadowed = live.accounts.keys().filter_map(|address| {
        let origin = declared.accounts.get(address)?.origin.as_ref()?;
        Some(format!(
            "Warning: {address} was added live, and is declared in {origin}, too: what is declared counts"
        ))
    });
    wrong.chain(shadowed)
}

/// One line about the accounts; with none, how to add one.
fn who_has_mail(directory: &Directory) -> String {
    let accounts = &directory.accounts;
    if let Some(external) = &directory.external {
        let beside = match accounts.len() {
            0 => String::new(),
            count => format!("; {count} declared beside them"),
        };
        return format!("Accounts are in {}{beside}", external.shown());
    }
    if accounts.is_empty() {
        return "No accounts: name:password in MAILROOM_ACCOUNTS, or a line in the file that MAILROOM_ACCOUNTS_FILE names, adds one"
            .to_owned();
    }
    if accounts.iter().all(|account| account.trusted_networks_only) {
        let names: Vec<&str> = accounts.iter().map(|account| account.name).collect();
        return format!(
            "Test accounts: {} (their passwords are public; they log in from trusted networks only)",
            names.join(", ")
        );
    }
    let has_administrator = accounts
        .iter()
        .any(|account| account.record.role == Role::Administrator);
    let nobody = if has_administrator {
        ""
    } else {
        "; none has the role admin: mail for postmaster and abuse is refused"
    };
    format!(
        "{} in {}, {}{nobody}",
        counted(accounts.len(), "account", "accounts"),
        counted(directory.domains.len(), "domain", "domains"),
        counted(directory.aliases.len(), "alias", "aliases")
    )
}

/// Whose mailbox it would be, as [`crate::accounts::Account::mailbox`] calls it.
fn mailbox(maildir: &Path) -> Cow<'_, str> {
    let below = maildir.strip_prefix(MAIL_DIRECTORY).unwrap_or(maildir);
    let home = below.parent().filter(|_| below.ends_with("Maildir"));
    home.unwrap_or(maildir).to_string_lossy()
}

/// Accounts whose mail an alias of their name takes.
fn taken_by_aliases(directory: &Directory) -> Option<String> {
    let takes_all = |alias: &&Alias| !alias.targets.contains(&alias.address) && directory.is_account(&alias.address);
    let mut taking = directory.aliases.iter().filter(takes_all);
    let Alias { address, targets } = taking.next()?;
    let others = match taking.count() {
        0 => String::new(),
        others => format!("; so it is with {}", counted(others, "other account", "other accounts")),
    };
    Some(format!(
        "Mail for {address} goes to {} alone: an alias has the name of that account; with the account among its targets that gets \
         a copy{others}",
        targets.join(", ")
    ))
}

/// Mail that was there before, in the layout of another image, and that no account reads. A relay alone leaves all mail.
fn unread_mail(maildirs: &Maildirs, directory: &Directory, site: &Site) -> Option<String> {
    if !site.mailboxes || directory.external.is_some() || maildirs.paths.is_empty() {
        return None;
    }
    let mut unread: BTreeMap<Cow<'_, str>, &PathBuf> =
        maildirs.paths.iter().map(|path| (mailbox(path), path)).collect();
    for account in &directory.accounts {
        unread.remove(&account.mailbox(&site.domain));
    }
    let unread: Vec<&PathBuf> = unread.into_values().collect();
    let (first, others) = unread.split_first()?;
    let at_least = if maildirs.more { "at least " } else { "" };
    let others = match others.len() {
        0 if !maildirs.more => String::new(),
        others => format!(" and {at_least}{}", counted(others, "other place", "other places")),
    };
    Some(format!(
        "Warning: mail lies in {}{others} that no account reads: accounts have theirs in {MAIL_DIRECTORY}/<user>/Maildir, \
         and what such a place holds (cur, new, folders) is read once it is moved there",
        first.display()
    ))
}

fn unnamed_probe(facts: &Facts) -> Option<String> {
    let can_be_named = facts.probe_is_named || facts.hosts_can_be_written;
    (!can_be_named).then(|| {
        format!(
            "/etc/hosts cannot be written; health probes will show in the log: give docker run --add-host \
             healthcheck:{PROBE_ADDRESS}"
        )
    })
}

/// Mail, and accounts, that would be lost with the container.
fn storage(read: &Read) -> Vec<String> {
    let Read { site, facts, known, .. } = read;
    let accounts = (STATE_DIRECTORY, "what commands added to accounts, aliases and domains");
    let volumes = [
        (MAIL_DIRECTORY, "all mail"),
        (QUEUE_DIRECTORY, "accepted mail that is not delivered yet"),
    ];
    volumes
        .into_iter()
        .chain((!known.live.is_empty()).then_some(accounts))
        .filter(|(path, _)| site.volumes().any(|volume| volume == *path))
        .filter_map(|(path, what)| {
            let place = match Path::new(path) {
                path if !facts.mounts.contains(path) => "not on a volume",
                path if facts.anonymous.contains(path) => "on a volume without a name, which no other container gets",
                _ => return None,
            };
            Some(format!("Warning: {path} is {place}: {what} is lost with the container"))
        })
        .collect()
}

impl Notices {
    /// All lines in their order.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        self.configured
            .iter()
            .chain(&self.notes)
            .chain(&self.warnings)
            .chain([&self.accounts])
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::site;
    use super::*;
    use crate::accounts::TestAccounts;

    #[test]
    fn an_alias_that_takes_the_mail_of_an_account() {
        let tests = TestAccounts::all("a.test").unwrap();
        let said = |targets: &[&str]| {
            taken_by_aliases(&Directory {
                accounts: tests.accounts().collect(),
                aliases: vec![Alias {
                    address: "user@a.test".to_owned(),
                    targets: targets.iter().map(|target| (*target).to_owned()).collect(),
                }],
                ..Directory::default()
            })
        };
        let taken = said(&["admin@a.test"]).unwrap();
        assert!(
            taken.starts_with("Mail for user@a.test goes to admin@a.test alone: "),
            "{taken}"
        );
        assert_eq!(said(&["admin@a.test", "user@a.test"]), None);
    }

    #[test]
    fn mail_that_no_account_reads() {
        let site = site(&[("POSTFIX_MYDOMAIN", "a.test")]);
        let tests = TestAccounts::all(&site.domain).unwrap();
        let said = |paths: &[&str], more: bool| {
            let paths = paths.iter().map(|path| Path::new(MAIL_DIRECTORY).join(path)).collect();
            unread_mail(
                &Maildirs { paths, more },
                &Directory {
                    accounts: tests.accounts().collect(),
                    ..Directory::default()
                },
                &site,
            )
        };
        assert_eq!(said(&["admin/Maildir", "user/Maildir"], true), None);
        let one = said(&["example.org/user", "user/Maildir"], false).unwrap();
        assert!(
            one.starts_with("Warning: mail lies in /var/mail/example.org/user that no account reads: "),
            "{one}"
        );
        let three = said(&["user", "vhosts/a.test/b", "vhosts/a.test/c"], true).unwrap();
        assert!(
            three.contains("/var/mail/user and at least 2 other places that no"),
            "{three}"
        );
        assert!(said(&["other/Maildir"], false).is_some());
    }
}
