//! Accounts in a directory of the user's own: a database (`MAILROOM_ACCOUNTS_SQL`) or LDAP (`MAILROOM_ACCOUNTS_LDAP`).
//! Dovecot and Postfix ask it, each by its own drivers; Mailroom itself never does. Pure.

use super::url::{self, Url};
use crate::report::Mistake;
use crate::secrets::HIDDEN;
use crate::settings::{Environment, Values};

/// The variable of a database.
pub const SQL: &str = "MAILROOM_ACCOUNTS_SQL";
/// The variable of an LDAP server.
pub const LDAP: &str = "MAILROOM_ACCOUNTS_LDAP";
const BIND_DN: &str = "MAILROOM_ACCOUNTS_LDAP_BIND_DN";
/// The variable of the password for it.
pub const BIND_PASSWORD: &str = "MAILROOM_ACCOUNTS_LDAP_BIND_PASSWORD";
const FILTER: &str = "MAILROOM_ACCOUNTS_LDAP_FILTER";
const ALIAS_FILTER: &str = "MAILROOM_ACCOUNTS_LDAP_ALIAS_FILTER";
const ROLE_FILTER: &str = "MAILROOM_ACCOUNTS_LDAP_ROLE_FILTER";
const ADDRESS_ATTRIBUTE: &str = "MAILROOM_ACCOUNTS_LDAP_ADDRESS_ATTRIBUTE";
const PASSWORD_ATTRIBUTE: &str = "MAILROOM_ACCOUNTS_LDAP_PASSWORD_ATTRIBUTE";
const QUOTA_ATTRIBUTE: &str = "MAILROOM_ACCOUNTS_LDAP_QUOTA_ATTRIBUTE";

/// The variable by which Dovecot's auth workers know the driver of a database.
pub const WORKER_DRIVER: &str = "SQL_DRIVER";

/// Who is asked about accounts beside those that are declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum External {
    /// A database.
    Sql(Sql),
    /// An LDAP server.
    Ldap(Ldap),
}

/// The kinds of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `PostgreSQL`.
    Pgsql,
    /// `MySQL` and `MariaDB`.
    Mysql,
    /// `SQLite`.
    Sqlite,
}

impl Dialect {
    /// The name that both daemons give to its driver.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Pgsql => "pgsql",
            Dialect::Mysql => "mysql",
            Dialect::Sqlite => "sqlite",
        }
    }
}

/// A database and what it is asked. In the queries `%s` is the address, `%u` its name and `%d` its domain.
#[derive(Clone, PartialEq, Eq)]
pub struct Sql {
    /// Its kind.
    pub dialect: Dialect,
    /// Where it is. `SQLite`: the path of its file alone.
    pub url: Url,
    /// What it is asked.
    pub queries: Queries,
    /// The variable of a query of the user's own: the tables are not ours then.
    pub own_query: Option<String>,
}

/// Queries, one for each question. All but the password's are asked by both daemons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queries {
    /// The hash of an account's password, as column `password`.
    pub password: String,
    /// A row if there is such an account; what it may store is in column `quota`, if there is one.
    pub mailbox: String,
    /// The targets of an alias.
    pub alias: String,
    /// A row if `%s` is a domain of the directory.
    pub domain: String,
    /// The addresses of all accounts that have the role `%s`.
    pub role: String,
    /// The addresses of all accounts, as column `user`.
    pub iterate: String,
}

/// An LDAP server and what it is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Ldap {
    /// Where it is; its path is the base of searches.
    pub url: Url,
    /// Who asks; nothing for an anonymous client.
    pub bind_dn: String,
    /// The password of who asks.
    pub bind_password: String,
    /// Finds the account whose address is `%s`.
    pub filter: String,
    /// Finds the accounts for which `%s` is an alias; empty for no aliases.
    pub alias_filter: String,
    /// Finds the accounts that have the role `%s`; empty for no roles.
    pub role_filter: String,
    /// The attribute that holds an account's address.
    pub address_attribute: String,
    /// The attribute that holds the hash of its password; empty: the server itself checks it (a bind as that account).
    pub password_attribute: String,
    /// The attribute that says how much it may store; empty where none does.
    pub quota_attribute: String,
}

impl std::fmt::Debug for Sql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.dialect, self.url)
    }
}

impl std::fmt::Debug for Ldap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} as {}", self.url, self.bind_dn)
    }
}

impl External {
    /// What is never shown.
    pub fn secret(&self) -> &str {
        match self {
            External::Sql(sql) => &sql.url.password,
            External::Ldap(ldap) => &ldap.bind_password,
        }
    }

    /// Whether it may say of an account how much that may store. Which columns a query has only the database knows.
    pub fn has_quotas(&self) -> bool {
        match self {
            External::Sql(_) => true,
            External::Ldap(ldap) => !ldap.quota_attribute.is_empty(),
        }
    }

    /// What it is and where, without secrets.
    pub fn shown(&self) -> String {
        match self {
            External::Sql(sql) => match sql.dialect {
                Dialect::Pgsql => format!("the PostgreSQL database {} on {}", sql.url.path, sql.url.host),
                Dialect::Mysql => format!("the MySQL database {} on {}", sql.url.path, sql.url.host),
                Dialect::Sqlite => format!("the SQLite file {}", sql.url.path),
            },
            External::Ldap(ldap) => format!("the LDAP directory {} on {}", ldap.url.path, ldap.url.host),
        }
    }
}

/// The variable that names a directory, where one does; whether it is right is another question.
pub fn named(environment: &Environment) -> Option<&'static str> {
    let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.trim().is_empty());
    [SQL, LDAP]
        .into_iter()
        .find(|name| is_set(name) || is_set(&format!("{name}_FILE")))
}

/// Reads the variables; with what is wrong with them.
pub fn read(values: &Values) -> (Option<External>, Vec<Mistake>) {
    let text = |name: &str| values.entry(name).map_or("", |entry| entry.canonical.as_str());
    let mut mistakes = Vec::new();
    let mut wrong = |name: &str, reason: String| {
        let origin = values.entry(name).map_or(name, |entry| entry.origin.as_str());
        mistakes.push(Mistake::new(origin, HIDDEN, reason));
    };
    let (given_sql, given_ldap) = (!text(SQL).is_empty(), !text(LDAP).is_empty());
    for (main, is_given) in [(SQL, given_sql), (LDAP, given_ldap)] {
        for name in given_parts(values, main).filter(|_| !is_given) {
            wrong(
                &name,
                format!("goes with {main}, which is not set: set that, or leave this out"),
            );
        }
    }
    if given_sql && given_ldap {
        wrong(
            LDAP,
            format!("is set, and so is {SQL}: there is one directory; keep one of the two"),
        );
    }
    let external = if given_sql {
        let queries = Queries::read(|name| text(name).to_owned(), &mut wrong);
        sql(text(SQL), queries, given_parts(values, SQL).next())
            .map(External::Sql)
            .map_err(|reason| (SQL, reason))
    } else if given_ldap {
        for name in [FILTER, ALIAS_FILTER, ROLE_FILTER] {
            if let Err(reason) = check_filter(text(name)) {
                wrong(name, reason);
            }
        }
        ldap(&text).map(External::Ldap)
    } else {
        return (None, mistakes);
    };
    match external {
        Ok(external) => (Some(external), mistakes),
        Err((name, reason)) => {
            wrong(name, reason);
            (None, mistakes)
        }
    }
}

/// Variables that are set beside the main one.
fn given_parts<'a>(values: &'a Values, main: &str) -> impl Iterator<Item = String> + use<'a> {
    let begin = format!("{main}_");
    let parts = values.names().filter(move |name| name.starts_with(&begin));
    let given = parts.filter(|name| values.entry(name).is_some_and(|entry| entry.explicit));
    given.map(str::to_owned)
}

/// libpq's words for TLS (PostgreSQL docs, "SSL Support").
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

fn sql(text: &str, queries: Queries, own_query: Option<String>) -> Result<Sql, String> {
    const SCHEMES: [&str; 5] = ["postgres", "postgresql", "mysql", "mariadb", "sqlite"];
    let scheme = text.split("://").next().unwrap_or_default();
    let (dialect, options): (_, &[&str]) = match scheme {
        "postgres" | "postgresql" => (Dialect::Pgsql, &["sslmode"]),
        "mysql" | "mariadb" => (Dialect::Mysql, &[]),
        "sqlite" => (Dialect::Sqlite, &[]),
        _ => return Err(url::wrong_scheme(&SCHEMES, "postgres://user:password@host/database")),
    };
    if dialect != Dialect::Sqlite {
        url::check_login(text)?;
    }
    let mut url = url::read(text, options)?;
    if dialect == Dialect::Sqlite {
        if !url.host.is_empty() || !text.starts_with("sqlite:///") || url.path.is_empty() {
            return Err("must name the absolute path of a file, with three slashes: sqlite:///path".to_owned());
        }
        url.path = format!("/{}", url.path);
        return Ok(Sql {
            dialect,
            url,
            queries,
            own_query,
        });
    }
    if url.host.is_empty() {
        return Err(format!("names no host: write {scheme}://user:password@host/database"));
    }
    if url.path.is_empty() || url.path.contains('/') {
        return Err(format!(
            "names no database: write {scheme}://user:password@host/database"
        ));
    }
    if url.user.is_empty() {
        return Err(format!("names no user: write {scheme}://user:password@host/database"));
    }
    if let Some(mode) = url.option("sslmode").filter(|mode| !MODES.contains(mode)) {
        return Err(format!("sslmode={mode}: must be one of {}", MODES.join(", ")));
    }
    Ok(Sql {
        dialect,
        url,
        queries,
        own_query,
    })
}

fn ldap<'a>(text: &impl Fn(&str) -> &'a str) -> Result<Ldap, (&'static str, String)> {
    let of_url = |reason: String| (LDAP, reason);
    let whole = text(LDAP);
    if !whole.starts_with("ldap://") && !whole.starts_with("ldaps://") {
        return Err(of_url(url::wrong_scheme(
            &["ldap", "ldaps"],
            "ldap://host/ou=people,dc=example,dc=org",
        )));
    }
    let url = url::read(whole, &["starttls"]).map_err(of_url)?;
    if url.host.is_empty() {
        return Err(of_url(
            "names no host: write ldap://host/ou=people,dc=example,dc=org".to_owned(),
        ));
    }
    if url.path.is_empty() {
        return Err(of_url(
            "names no base of searches: write ldap://host/ou=people,dc=example,dc=org".to_owned(),
        ));
    }
    if !url.user.is_empty() {
        return Err(of_url(format!(
            "holds a login: name it in {BIND_DN} and {BIND_PASSWORD}"
        )));
    }
    if let Some(mode) = url.option("starttls").filter(|mode| !["yes", "no"].contains(mode)) {
        return Err(of_url(format!("starttls={mode}: must be yes or no")));
    }
    if text(BIND_DN).is_empty() != text(BIND_PASSWORD).is_empty() {
        return Err((
            BIND_DN,
            format!("goes with {BIND_PASSWORD}: set both, or none for an anonymous client"),
        ));
    }
    Ok(Ldap {
        url,
        bind_dn: text(BIND_DN).to_owned(),
        bind_password: text(BIND_PASSWORD).to_owned(),
        filter: text(FILTER).to_owned(),
        alias_filter: text(ALIAS_FILTER).to_owned(),
        role_filter: text(ROLE_FILTER).to_owned(),
        address_attribute: text(ADDRESS_ATTRIBUTE).to_owned(),
        password_attribute: text(PASSWORD_ATTRIBUTE).to_owned(),
        quota_attribute: text(QUOTA_ATTRIBUTE).to_owned(),
    })
}

impl Queries {
    fn read(text: impl Fn(&str) -> String, wrong: &mut impl FnMut(&str, String)) -> Queries {
        let mut query = |name: &str, needs: &[&str]| {
            let name = format!("{SQL}_{name}_QUERY");
            let query = text(&name);
            if let Err(reason) = check_query(&query, needs) {
                wrong(&name, reason);
            }
            query
        };
        Queries {
            password: query("PASSWORD", &["%s", "%u"]),
            mailbox: query("MAILBOX", &["%s", "%u"]),
            alias: query("ALIAS", &["%s", "%u"]),
            domain: query("DOMAIN", &["%s"]),
            role: query("ROLE", &["%s"]),
            iterate: query("ITERATE", &[]),
        }
    }
}

/// The placeholders of a query: none but these three, and at least one of those that it needs.
fn check_query(query: &str, needs: &[&str]) -> Result<(), String> {
    if query.contains(';') || query.contains("--") || query.contains("/*") {
        return Err("must be one query, without a semicolon or a comment".to_owned());
    }
    check_placeholders(query)?;
    // The drivers quote what a string may not hold, and nothing else.
    if has_bare_placeholder(query) {
        return Err("has a placeholder that is not between single quotes: write '%s'".to_owned());
    }
    if needs.is_empty() && query.contains('%') {
        return Err("asks for all accounts: it has no placeholder".to_owned());
    }
    if !needs.is_empty() && !needs.iter().any(|needed| query.contains(needed)) {
        return Err(format!("asks for nobody: it must hold {}", needs.join(" or ")));
    }
    Ok(())
}

fn has_bare_placeholder(query: &str) -> bool {
    let is_in_quotes = |before: &str| before.matches('\'').count() % 2 == 1;
    query.match_indices('%').any(|(at, _)| !is_in_quotes(&query[..at]))
}

fn check_filter(filter: &str) -> Result<(), String> {
    if filter.is_empty() {
        return Ok(());
    }
    check_placeholders(filter)?;
    if !filter.starts_with('(') || !filter.ends_with(')') {
        return Err("must be a filter in brackets, such as (mail=%s)".to_owned());
    }
    if !filter.contains("%s") && !filter.contains("%u") {
        return Err("asks for nobody: it must hold %s or %u".to_owned());
    }
    let (opened, closed) = (filter.matches('(').count(), filter.matches(')').count());
    if opened != closed {
        return Err(format!("opens {opened} brackets and closes {closed}"));
    }
    Ok(())
}

fn check_placeholders(text: &str) -> Result<(), String> {
    let wrong = text
        .split('%')
        .skip(1)
        .find(|behind| !behind.starts_with(['s', 'u', 'd']));
    wrong.map_or(Ok(()), |behind| {
        let sign: String = behind.chars().take(1).collect();
        Err(format!(
            "%{sign} is no placeholder: there are %s (the address), %u (its name) and %d (its domain)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::read::tests::read_all;

    #[test]
    fn what_lets_names_be_more_than_names() {
        for (query, is_right) in [
            ("SELECT 1 FROM users WHERE mail = '%s'", true),
            ("SELECT 1 FROM users WHERE name = '%u' AND domain = '%d'", true),
            ("SELECT 1 FROM users WHERE mail = %s", false),
            ("SELECT 1 FROM users WHERE name = '%u' AND domain = %d", false),
            ("SELECT 1 FROM users WHERE note = 'it''s' AND mail = '%s'", true),
        ] {
            assert_eq!(check_query(query, &["%s", "%u"]).is_ok(), is_right, "{query}");
        }
        for (filter, is_right) in [
            ("(&(objectClass=x)(mail=%s))", true),
            ("(&(objectClass=x)(mail=%s)", false),
        ] {
            assert_eq!(check_filter(filter).is_ok(), is_right, "{filter}");
        }
    }

    fn said(pairs: &[(&str, &str)]) -> String {
        let (_, mistakes) = read_all(pairs);
        let said = mistakes
            .iter()
            .map(|mistake| format!("{}: {}", mistake.variable, mistake.reason));
        said.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn databases_and_directories_that_are_right() {
        for (name, url) in [
            (SQL, "postgres://mail:p%40ss@db/mail?sslmode=require"),
            (SQL, "mysql://mail:x@db:3307/mail"),
            (SQL, "sqlite:///etc/passwd"),
            (LDAP, "ldap://ldap.a.test/dc=a,dc=test?starttls=yes"),
            (LDAP, "ldaps://[2001:db8::1]:6360/dc=a%20b"),
        ] {
            assert_eq!(said(&[(name, url)]), "", "{url}");
        }
        let (read, _) = read_all(&[(SQL, "postgres://mail:p%40ss@db/mail?sslmode=require")]);
        let external = read.external.unwrap();
        assert_eq!(external.secret(), "p@ss");
        assert!(!format!("{external:?}").contains("p@ss"));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        const URL: &str = "postgres://mail:hunter-2@db/mail";
        for (pairs, reason) in [
            (vec![(SQL, "oracle://mail:hunter-2@db/mail")], "postgres://, "),
            (vec![(SQL, "postgres://mail:hunter-2@/mail")], "no host"),
            (vec![(SQL, "postgres://mail:hunter-2@db")], "no database"),
            (vec![(SQL, "postgres://db/mail")], "no user"),
            (
                vec![(SQL, "postgres://mail:hunter-2@db/mail?pool=4")],
                "pool is no option",
            ),
            (vec![(SQL, "postgres://mail:hunter-2@db/mail?sslmode=on")], "sslmode=on"),
            (vec![(SQL, "postgres://mail:hunter-2@db:port/mail")], "port"),
            (vec![(SQL, "sqlite://accounts.db")], "three slashes"),
            (
                vec![(SQL, "sqlite:///var/lib/none/accounts.db")],
                "MAILROOM_ACCOUNTS_SQL: there is no file /var/lib/none/accounts.db: ",
            ),
            (
                vec![(SQL, "sqlite:///etc")],
                "/etc is no file: name the file of the database",
            ),
            (vec![(SQL, "postgres://mail:hunter@-2/x@db/mail")], "/ as %2F, @ as %40"),
            (vec![(SQL, "postgres://mail:hunter-2/x@db/mail")], "/ as %2F, @ as %40"),
            (vec![(SQL, "mysql://mail:hunter-2?x@db/mail")], "? as %3F"),
            (vec![(LDAP, "http://x/dc=a")], "ldaps://"),
            (vec![(LDAP, "ldap://x")], "base of searches"),
            (vec![(LDAP, "ldap://x/dc=a"), (SQL, URL)], "keep one of the two"),
            (vec![(LDAP, "ldap://x/dc=a"), (BIND_DN, "cn=x")], BIND_PASSWORD),
            (vec![(LDAP, "ldap://x/dc=a"), (FILTER, "mail=%s")], "in brackets"),
            (vec![(FILTER, "(mail=%s)")], "goes with MAILROOM_ACCOUNTS_LDAP"),
            (
                vec![(SQL, URL), ("MAILROOM_ACCOUNTS_SQL_PASSWORD_QUERY", "SELECT 1")],
                "asks for nobody",
            ),
            (
                vec![(SQL, URL), ("MAILROOM_ACCOUNTS_SQL_ALIAS_QUERY", "SELECT '%n'")],
                "%n is no placeholder",
            ),
            (
                vec![(SQL, URL), ("MAILROOM_ACCOUNTS_SQL_ROLE_QUERY", "SELECT '%s';")],
                "semicolon",
            ),
        ] {
            let said = said(&pairs);
            assert!(said.contains(reason), "{pairs:?}: {said}");
            assert!(!said.contains("hunter-2"), "{said}");
        }
    }
}
