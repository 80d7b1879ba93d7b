//! Accounts in a database or in LDAP, as Dovecot asks for them (Dovecot docs, "SQL", "LDAP"). Declared accounts come first.
//!
//! A name that could lead out of the mailboxes, such as `..`, is nobody's, whatever the directory says; signs such as `/` no
//! login has (auth_username_chars). Where a mailbox lies follows from the name that was asked for, never from a row.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::accounts::external::{Dialect, External, LDAP, Ldap, SQL, Sql, WORKER_DRIVER};
use crate::layout::{MAIL_DIRECTORY, PROGRAM, RUN_DIRECTORY, VMAIL_UID};
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
    Path::new(RUN_DIRECTORY).join("dovecot/directory.conf")
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
        let guard = |kind: &str| {
            let valid = "^[a-z0-9_][a-z0-9_+=&\\'-]*([.][a-z0-9_+=&\\'-]+)*@[a-z0-9.-]+$";
            format!(
                "{kind} names {{\n  driver = passwd-file\n  passwd_file_path = {}\n  auth_username_format = %{{user | if('~', \
                 '{valid}', 'right', 'wrong')}}\n  result_success = return-fail\n{}}}",
                names_file().display(),
                if kind == "passdb" {
                    "  fields {\n    nopassword = yes\n  }\n"
                } else {
                    ""
                }
            )
        };
        let primary = site.domain.replace('.', "[.]");
        let home = format!(
            "    home = {MAIL_DIRECTORY}/%{{user | regexp('^([^@]*)@{primary}$', '\\\\1') | regexp('^([^@]*)@(.*)$', '\\\\2/\\\\1')}}\n"
        );
        // What vmail runs may ask about accounts of its own user id (auth-userdb).
        let owner = format!("    uid = {VMAIL_UID}\n    gid = {VMAIL_UID}\n");
        let quota = quota(external, site);
        let (passdbs, userdb) = match external {
            External::Sql(sql) => of_sql(sql),
            External::Ldap(ldap) => of_ldap(ldap),
        };
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let userdb = format!(
            "{}\n{userdb}  fields_import_all = no\n  fields {{\n{owner}{home}{quota}  }}\n}}",
            guard("userdb")
        );
        Lines {
            place: Some(place_file()),
            passdbs: lines(&format!("{}\n{passdbs}", guard("passdb"))),
            userdbs: lines(&userdb),
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
        return format!("    quota_storage_size = %{{{of_row} | default('{of_site}')}}\n");
    }
    format!("    quota_storage_size = {of_site}\n")
}

fn sql_place(sql: &Sql) -> String {
    let url = &sql.url;
    let host = &url.host;
    let port = url.port.map_or(String::new(), |port| format!("    port = {port}\n"));
    let login = |database: &str| {
        format!(
            "    user = {}\n    # {SQL}\n    password = {}\n    {database} = {}\n",
            quoted(&url.user),
            quoted(&url.password),
            quoted(&url.path)
        )
    };
    let place = match sql.dialect {
        Dialect::Sqlite => format!("sqlite_path = {}\nsqlite_readonly = yes\n", quoted(&url.path)),
        Dialect::Mysql => {
            let login = login("dbname");
            format!("mysql {host} {{\n{login}{port}    connect_timeout = 2 secs\n    read_timeout = 5 secs\n}}\n")
        }
        Dialect::Pgsql => {
            let mode = url
                .option("sslmode")
                .map_or(String::new(), |mode| format!("    sslmode = {mode}\n"));
            format!(
                "pgsql {host} {{\n  parameters {{\n{}{port}{mode}  }}\n}}\n",
                login("dbname")
            )
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

fn of_sql(sql: &Sql) -> (String, String) {
    let (password, mailbox) = (query(&sql.queries.password), query(&sql.queries.mailbox));
    let passdbs = format!(
        "passdb directory {{\n  driver = sql\n  passdb_sql_query = {password}\n  use_worker = yes\n  result_internalfail = \
         return\n}}\npassdb directory_known {{\n  driver = sql\n  passdb_sql_query = SELECT NULL AS password, 'y' AS nopassword \
         FROM ({password}) AS found\n  use_worker = yes\n  result_success = return-fail\n  result_internalfail = return\n}}\n"
    );
    let userdb = format!(
        "userdb directory {{\n  driver = sql\n  use_worker = yes\n  userdb_sql_query = {mailbox}\n  userdb_sql_iterate_query = {}\n",
        query(&sql.queries.iterate)
    );
    (passdbs, userdb)
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

fn of_ldap(ldap: &Ldap) -> (String, String) {
    let filter = query(&ldap.filter);
    let check = if ldap.password_attribute.is_empty() {
        "  passdb_ldap_bind = yes\n".to_owned()
    } else {
        format!(
            "  fields {{\n    password = %{{ldap:{}}}\n  }}\n",
            ldap.password_attribute
        )
    };
    let passdbs = format!(
        "passdb directory {{\n  driver = ldap\n  use_worker = yes\n  passdb_ldap_filter = {filter}\n{check}  result_internalfail = return\n}}\npassdb \
         directory_known {{\n  driver = ldap\n  use_worker = yes\n  passdb_ldap_filter = {filter}\n  fields {{\n    nopassword = yes\n  }}\n  \
         result_success = return-fail\n  result_internalfail = return\n}}\n"
    );
    let iterate = filter
        .replace("%{user}", "*")
        .replace("%{user|username}", "*")
        .replace("%{user|domain}", "*");
    let userdb = format!(
        "userdb directory {{\n  driver = ldap\n  use_worker = yes\n  userdb_ldap_filter = {filter}\n  userdb_ldap_iterate_filter = {iterate}\n  \
         userdb_ldap_iterate_fields {{\n    user = %{{ldap:{}}}\n  }}\n",
        ldap.address_attribute
    );
    (passdbs, userdb)
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
