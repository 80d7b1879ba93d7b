//! Accounts in a database or in LDAP, as Postfix asks for them: a file for each question, read by proxymap(8), which keeps
//! one connection for all (pgsql_table(5), mysql_table(5), sqlite_table(5), ldap_table(5)).
//!
//! The answer is an address that was asked for (`%S`), never what a row holds, except for the targets of aliases. No path is
//! made of it here: mail is delivered by Dovecot, which looks at the name first.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::files::main_cf_file;
use super::tables::{EXTENSION, escape_pattern};
use crate::accounts::ADMINISTRATOR_ALIASES;
use crate::accounts::external::{Dialect, External, LDAP, Ldap, SQL, Sql};
use crate::layout::{POSTFIX_TABLES, RUN_DIRECTORY};
use crate::plan::{File, Plan, TABLE_HEADER};
use crate::site::Site;
use crate::staging::Staging;
use crate::system::files::Owner;

/// proxymap(8) runs as this user.
const POSTFIX_GROUP: Owner = Owner {
    user: "root",
    group: "postfix",
};

/// The questions, by the names of their files.
const MAILBOXES: &str = "mailboxes";
const ALIASES: &str = "aliases";
const DOMAINS: &str = "domains";
const ROLES: &str = "roles";
/// The role addresses of the domains that are set, and of any domain.
const ROLES_HERE: &str = "roles_here.regexp";
const ROLES_ANYWHERE: &str = "roles_anywhere.regexp";

fn directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("postfix-directory")
}

/// The tables in which each parameter looks besides ours.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// `virtual_mailbox_domains`.
    pub(super) domains: Vec<String>,
    /// `virtual_mailbox_maps`.
    pub(super) mailboxes: Vec<String>,
    /// `virtual_alias_maps`. An account is an alias for itself, so that none of a whole domain takes its mail.
    pub(super) aliases: Vec<String>,
    /// Who owns a sender address (`smtpd_sender_login_maps`).
    pub(super) owners: Vec<String>,
    /// Who may send as anybody.
    pub(super) relays: Vec<String>,
}

impl Tables {
    pub(super) fn of(external: Option<&External>, site: &Site) -> Tables {
        let Some(external) = external else {
            return Tables::default();
        };
        let kind = match external {
            External::Sql(sql) => sql.dialect.name(),
            External::Ldap(_) => "ldap",
        };
        let asked = |name: &str| format!("proxy:{kind}:{}/{name}.cf", directory().display());
        let pattern = |name: &str| format!("regexp:{}/{name}", directory().display());
        let (has_aliases, has_roles) = match external {
            External::Sql(_) => (true, true),
            External::Ldap(ldap) => (!ldap.alias_filter.is_empty(), !ldap.role_filter.is_empty()),
        };
        let has_domains = matches!(external, External::Sql(_));
        let mut tables = Tables::default();
        tables.mailboxes.push(asked(MAILBOXES));
        if has_aliases {
            tables.aliases.push(asked(ALIASES));
        }
        tables.aliases.push(asked(MAILBOXES));
        tables.owners.clone_from(&tables.aliases);
        if !site.recipient_delimiter.is_empty() {
            let short = format!("regexp:{POSTFIX_TABLES}/{EXTENSION}");
            tables.owners.push(format!("pipemap:{{{short}, {}}}", asked(MAILBOXES)));
        }
        if has_domains {
            tables.domains.push(asked(DOMAINS));
        }
        if has_roles {
            let holders = asked(ROLES);
            tables.relays.push(format!("pipemap:{{static:relay, {holders}}}"));
            tables
                .aliases
                .push(format!("pipemap:{{{}, {holders}}}", pattern(ROLES_HERE)));
            if has_domains {
                let (anywhere, domains) = (pattern(ROLES_ANYWHERE), asked(DOMAINS));
                tables
                    .aliases
                    .push(format!("pipemap:{{{anywhere}, {domains}, static:admin, {holders}}}"));
            }
        }
        tables
    }
}

/// postconf(1) reads the files of tables that it finds in main.cf: where they are staged.
pub(super) fn use_staged(staging: &Staging) -> anyhow::Result<()> {
    let (main_cf, place) = (main_cf_file(), directory());
    let text = staging.read(&main_cf);
    let staged = staging.at(&place).display().to_string();
    let text = text.replace(&place.display().to_string(), &staged);
    staging
        .write(&main_cf, text.as_bytes())
        .context(main_cf.display().to_string())
}

/// Adds the files of these tables.
pub(super) fn add(plan: &mut Plan, external: Option<&External>, site: &Site) {
    let Some(external) = external else {
        return;
    };
    plan.directory(directory(), Owner::ROOT, 0o755);
    let questions = match external {
        External::Sql(sql) => of_sql(sql),
        External::Ldap(ldap) => of_ldap(ldap),
    };
    for (name, text) in questions {
        plan.files.push(File {
            path: directory().join(format!("{name}.cf")),
            bytes: format!("{TABLE_HEADER}{text}").into_bytes(),
            owner: POSTFIX_GROUP,
            mode: 0o640,
        });
    }
    if matches!(external, External::Sql(sql) if sql.dialect == Dialect::Mysql) {
        let text = format!("{TABLE_HEADER}{CLIENT_OPTIONS}");
        plan.files.push(File::public(client_options(), text));
    }
    let domains: Vec<String> = site.mailbox_domains().map(escape_pattern).collect();
    let names = ADMINISTRATOR_ALIASES.join("|");
    for (name, rule) in [
        (ROLES_HERE, format!("/^({names})@({})$/ admin", domains.join("|"))),
        (ROLES_ANYWHERE, format!("/^({names})@(.+)$/ ${{2}}")),
    ] {
        let text = format!("{TABLE_HEADER}{rule}\n");
        plan.files.push(File::public(directory().join(name), text));
    }
}

fn of_sql(sql: &Sql) -> Vec<(&'static str, String)> {
    let place = match sql.dialect {
        Dialect::Sqlite => format!("dbpath = {}\n", sql.url.path),
        Dialect::Mysql => {
            let place = with_login(sql, &format!("inet:{}", sql.url.authority()));
            format!("{place}option_file = {}\n", client_options().display())
        }
        Dialect::Pgsql => with_login(sql, &postgres_uri(sql)),
    };
    let queries = &sql.queries;
    // Its columns are Dovecot's matter: a row is enough here.
    let mailbox = format!("SELECT 1 FROM ({}) AS found", queries.mailbox);
    // A percent sign of the user's own is none: the settings allow placeholders alone.
    [
        (MAILBOXES, &mailbox, "%S"),
        (ALIASES, &queries.alias, "%s"),
        (DOMAINS, &queries.domain, "%S"),
        (ROLES, &queries.role, "%s"),
    ]
    .map(|(name, query, format)| (name, format!("{place}query = {query}\nresult_format = {format}\n")))
    .into()
}

/// Seconds until a database that did not answer is asked again. (Postfix's default is a minute.) All mail waits meanwhile; with
/// fewer, proxymap(8) would do little else than wait for the database, and keep clients waiting who ask about others.
const RETRY: u32 = 10;

/// Seconds that `MySQL`'s client has for a connection; that of `PostgreSQL` has them by `PGCONNECT_TIMEOUT` in main.cf.
const CLIENT_OPTIONS: &str = "[client]\nconnect-timeout = 2\n";

/// The file of these options (my.cnf).
fn client_options() -> PathBuf {
    directory().join("my.cnf")
}

fn with_login(sql: &Sql, hosts: &str) -> String {
    let Sql { url, .. } = sql;
    format!(
        "# {SQL}\nhosts = {hosts}\nuser = {}\npassword = {}\ndbname = {}\nretry_interval = {RETRY}\n",
        url.user, url.password, url.path
    )
}

/// libpq's own form is the one that takes options; the login stands in it, too (pgsql_table(5)).
fn postgres_uri(sql: &Sql) -> String {
    let url = &sql.url;
    match url.option("sslmode") {
        None => format!("inet:{}", url.authority()),
        Some(mode) => format!(
            "postgresql://{}:{}@{}/{}?sslmode={mode}",
            encoded(&url.user),
            encoded(&url.password),
            url.authority(),
            encoded(&url.path)
        ),
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn of_ldap(ldap: &Ldap) -> Vec<(&'static str, String)> {
    let url = &ldap.url;
    let bind = if ldap.bind_dn.is_empty() {
        "bind = no\n".to_owned()
    } else {
        format!(
            "bind = yes\nbind_dn = {}\n# {LDAP}_BIND_PASSWORD\nbind_pw = {}\n",
            ldap.bind_dn, ldap.bind_password
        )
    };
    let start_tls = if url.option("starttls") == Some("yes") {
        "start_tls = yes\n"
    } else {
        ""
    };
    let place = format!(
        "server_host = {}://{}\nsearch_base = {}\nversion = 3\ntimeout = 5\n{bind}{start_tls}",
        url.scheme,
        url.authority(),
        url.path
    );
    let attribute = &ldap.address_attribute;
    let question = |name, filter: &str, format| {
        let text =
            format!("{place}query_filter = {filter}\nresult_attribute = {attribute}\nresult_format = {format}\n");
        (!filter.is_empty()).then_some((name, text))
    };
    [
        question(MAILBOXES, &ldap.filter, "%S"),
        question(ALIASES, &ldap.alias_filter, "%s"),
        question(ROLES, &ldap.role_filter, "%s"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
