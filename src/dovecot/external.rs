//! Accounts in a database or in LDAP, as Dovecot asks for them (Dovecot docs, "SQL", "LDAP"). Declared accounts come first.
//!
//! A name that could lead out of the mailboxes, such as `..`, is nobody's, whatever the directory says; signs such as `/` no
//! login has (auth_username_chars). Where a mailbox lies follows from the name that was asked for, never from a row.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::accounts::external::{Dialect, External, LDAP, Ldap, SQL, Sql, WORKER_DRIVER};
use crate::accounts::url::Url;
use crate::layout::{DIRECTORY_CONFIG, MAIL_DIRECTORY, PROGRAM, RUN_DIRECTORY, VMAIL_UID};
use crate::plan::TABLE_HEADER;
use crate::site::Site;

/// The names that are nobody's, by one word.
pub(super) fn names_file() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("dovecot/names")
}

/// The only entry of that file.
pub(super) const NAMES: &str = "wrong:::::::\n";

/// How the directory is reached, for root alone: the database's password stands there. What vmail runs, such as dovecot-lda, reads
/// dovecot.conf and passes over this file; it asks the auth server about accounts.
pub(super) fn place_file() -> PathBuf {
    DIRECTORY_CONFIG.into()
}

/// What that file holds.
pub(super) fn place(external: &External) -> String {
    let settings = match external {
        External::Sql(sql) => sql_place(sql),
        External::Ldap(ldap) => ldap_place(ldap),
    };
    format!("{TABLE_HEADER}{settings}")
}

/// Lines of dovecot.conf.
#[derive(Debug, Default, Serialize)]
pub(super) struct Lines {
    /// The file that says how the directory is reached.
    pub(super) place: Option<PathBuf>,
    /// Who may log in, and who is not asked about any further.
    pub(super) passdbs: Vec<String>,
    /// Who has a mailbox, and where.
    pub(super) userdbs: Vec<String>,
    /// What becomes an auth worker, in the place of Dovecot's own program.
    pub(super) worker: Option<String>,
}

impl Lines {
    pub(super) fn of(external: Option<&External>, site: &Site) -> Lines {
        let Some(external) = external else {
            return Lines::default();
        };
        let (passdbs, userdb) = match external {
            External::Sql(sql) => of_sql(sql),
            External::Ldap(ldap) => of_ldap(ldap),
        };
        let fields = block("fields", &fields(external, site));
        let userdb = block("userdb directory", &format!("{userdb}fields_import_all = no\n{fields}"));
        let nobodys = block("fields", "nopassword = yes\n");
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        Lines {
            place: Some(place_file()),
            passdbs: lines(&(block("passdb names", &(guard() + &nobodys)) + &passdbs)),
            userdbs: lines(&(block("userdb names", &guard()) + &userdb)),
            worker: match external {
                External::Sql(sql) => worker(sql),
                External::Ldap(_) => None,
            },
        }
    }
}

/// The command that becomes an auth worker once it has looked whether the database answers.
fn worker(sql: &Sql) -> Option<String> {
    let default_port = match sql.dialect {
        Dialect::Pgsql => 5432,
        Dialect::Mysql => 3306,
        Dialect::Sqlite => return None,
    };
    let (host, port, driver) = (&sql.url.host, sql.url.port.unwrap_or(default_port), sql.dialect.name());
    Some(format!("{PROGRAM} auth-worker {driver} {host} {port}"))
}

/// Settings between braces, below a word for what they are of.
fn block(head: &str, settings: &str) -> String {
    let settings: String = settings.lines().map(|line| format!("  {line}\n")).collect();
    format!("{head} {{\n{settings}}}\n")
}

/// Ends the search for a name that no account may have.
fn guard() -> String {
    let right = "^[a-z0-9_][a-z0-9_+=&\\'-]*([.][a-z0-9_+=&\\'-]+)*@[a-z0-9.-]+$";
    let path = names_file();
    format!(
        "driver = passwd-file\n\
         passwd_file_path = {}\n\
         auth_username_format = %{{user | if('~', '{right}', 'right', 'wrong')}}\n\
         result_success = return-fail\n",
        path.display()
    )
}

/// What is known of each account of the directory. What vmail runs may ask about accounts of its own user id (auth-userdb).
fn fields(external: &External, site: &Site) -> String {
    let primary = site.domain.replace('.', "[.]");
    let quota = quota(external, site);
    format!(
        "uid = {VMAIL_UID}\n\
         gid = {VMAIL_UID}\n\
         home = {MAIL_DIRECTORY}/%{{user | regexp('^([^@]*)@{primary}$', '\\\\1') | regexp('^([^@]*)@(.*)$', '\\\\2/\\\\1')}}\n\
         {quota}"
    )
}

/// How much an account may store: as its row says, or as all may. Nothing where there is no limit.
fn quota(external: &External, site: &Site) -> String {
    let of_site = site.quota.limit().unwrap_or(0);
    let of_row = match external {
        External::Sql(_) => "sql:quota",
        External::Ldap(ldap) => &format!("ldap:{}", ldap.quota_attribute),
    };
    if !site.mailboxes || (of_site == 0 && !external.has_quotas()) {
        return String::new();
    }
    if external.has_quotas() {
        return format!("quota_storage_size = %{{{of_row} | default('{of_site}')}}\n");
    }
    format!("quota_storage_size = {of_site}\n")
}

fn sql_place(sql: &Sql) -> String {
    let url = &sql.url;
    let server = format!("{} {}", sql.dialect.name(), url.host);
    let place = match sql.dialect {
        Dialect::Sqlite => format!("sqlite_path = {}\nsqlite_readonly = yes\n", quoted(&url.path)),
        Dialect::Mysql => {
            let timeouts = "connect_timeout = 2 secs\nread_timeout = 5 secs\n";
            block(&server, &(login(url) + timeouts))
        }
        Dialect::Pgsql => {
            let mode = url.option("sslmode");
            let mode = mode.map_or(String::new(), |mode| format!("sslmode = {mode}\n"));
            block(&server, &block("parameters", &(login(url) + &mode)))
        }
    };
    let driver = match sql.dialect {
        Dialect::Sqlite => sql.dialect.name().to_owned(),
        // The auth process asks nothing itself, but connects when it starts: with the host's name not resolved or the host silent
        // it is killed or crashes (Dovecot 2.4.1), and nobody can log in. So are workers (mailroom auth-worker).
        Dialect::Mysql | Dialect::Pgsql => {
            format!("%{{env:{WORKER_DRIVER} | default('sqlite')}}\nsqlite_path = :memory:")
        }
    };
    format!("sql_driver = {driver}\n{place}")
}

fn login(url: &Url) -> String {
    let port = url.port.map_or(String::new(), |port| format!("port = {port}\n"));
    format!(
        "user = {}\n# {SQL}\npassword = {}\ndbname = {}\n{port}",
        quoted(&url.user),
        quoted(&url.password),
        quoted(&url.path)
    )
}

/// Lookups of passwords, and what is asked for a mailbox.
fn of_sql(sql: &Sql) -> (String, String) {
    let password = query(&sql.queries.password);
    let directory = format!(
        "driver = sql\n\
         passdb_sql_query = {password}\n\
         use_worker = yes\n\
         result_internalfail = return\n"
    );
    let known = format!(
        "driver = sql\n\
         passdb_sql_query = SELECT NULL AS password, 'y' AS nopassword FROM ({password}) AS found\n\
         use_worker = yes\n\
         result_success = return-fail\n\
         result_internalfail = return\n"
    );
    let userdb = format!(
        "driver = sql\n\
         use_worker = yes\n\
         userdb_sql_query = {}\n\
         userdb_sql_iterate_query = {}\n",
        query(&sql.queries.mailbox),
        query(&sql.queries.iterate)
    );
    (lookups(&directory, &known), userdb)
}

/// Who is known to the directory, and gave another password, is asked about nowhere else.
fn lookups(directory: &str, known: &str) -> String {
    block("passdb directory", directory) + &block("passdb directory_known", known)
}

fn ldap_place(ldap: &Ldap) -> String {
    let url = &ldap.url;
    let starttls = if url.option("starttls") == Some("yes") {
        "ldap_starttls = yes\n"
    } else {
        ""
    };
    let bind = if ldap.bind_dn.is_empty() {
        String::new()
    } else {
        format!(
            "ldap_auth_dn = {}\n# {LDAP}_BIND_PASSWORD\nldap_auth_dn_password = {}\n",
            quoted(&ldap.bind_dn),
            quoted(&ldap.bind_password)
        )
    };
    format!(
        "ldap_uris = {}://{}\nldap_base = {}\nldap_timeout = 10 secs\n{starttls}{bind}",
        url.scheme,
        url.authority(),
        quoted(&url.path)
    )
}

/// As [`of_sql`].
fn of_ldap(ldap: &Ldap) -> (String, String) {
    let filter = query(&ldap.filter);
    let check = if ldap.password_attribute.is_empty() {
        "passdb_ldap_bind = yes\n".to_owned()
    } else {
        block("fields", &format!("password = %{{ldap:{}}}\n", ldap.password_attribute))
    };
    let directory = format!(
        "driver = ldap\n\
         use_worker = yes\n\
         passdb_ldap_filter = {filter}\n\
         {check}\
         result_internalfail = return\n"
    );
    let known = format!(
        "driver = ldap\n\
         use_worker = yes\n\
         passdb_ldap_filter = {filter}\n\
         {}\
         result_success = return-fail\n\
         result_internalfail = return\n",
        block("fields", "nopassword = yes\n")
    );
    let iterate = filter
        .replace("%{user}", "*")
        .replace("%{user|username}", "*")
        .replace("%{user|domain}", "*");
    let userdb = format!(
        "driver = ldap\n\
         use_worker = yes\n\
         userdb_ldap_filter = {filter}\n\
         userdb_ldap_iterate_filter = {iterate}\n\
         {}",
        block(
            "userdb_ldap_iterate_fields",
            &format!("user = %{{ldap:{}}}\n", ldap.address_attribute)
        )
    );
    (lookups(&directory, &known), userdb)
}

/// With Dovecot's own variables, which its drivers quote.
fn query(text: &str) -> String {
    text.replace("%s", "%{user}")
        .replace("%u", "%{user|username}")
        .replace("%d", "%{user|domain}")
}

/// A value as it is, whatever signs it holds (`%` begins a variable, `$` a reference).
fn quoted(text: &str) -> String {
    let text = text.replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{text}\"")
}
