//! One change as a statement of SQL, for the tables of docs/accounts.sql. Mailroom itself never writes to a database: a user
//! pipes the statement into the database's own client. Pure.
//!
//! Who is in the database is not known here. What must not be done there is a condition of the statement, which changes no row
//! then; an account that is there already is refused by its key.

use super::address::Address;
use super::change::Change;
use super::external::Dialect;
use super::{Quota, password};
use crate::values::domain;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// On one line, with its semicolon.
    pub sql: String,
    /// What it changes, in words: an address, `@domain` or a domain.
    pub about: String,
    /// When it changes no row, in words; empty for one that is refused instead.
    pub changes_nothing: String,
}

/// The statement of a change. An error says what is wrong with the change.
pub fn of(change: &Change, dialect: Dialect, primary_domain: &str) -> Result<Statement, String> {
    let writer = Writer {
        dialect,
        primary_domain,
    };
    match change {
        Change::AddAccount {
            address,
            hash,
            role,
            quota,
        } => {
            let columns = [Some(("role", writer.text(role.name()))), quota.map(column)];
            writer.add_account(address, hash, columns.into_iter().flatten().collect())
        }
        Change::SetAccount {
            address,
            hash,
            role,
            quota,
        } => {
            let hash = hash.as_deref().map(|hash| writer.hash(hash)).transpose()?;
            let hash = hash.map(|hash| ("password", hash));
            let role = role.map(|role| ("role", writer.text(role.name())));
            writer.set_account(address, &[hash, role, quota.map(column)])
        }
        Change::EnableAccount { address, enabled } => {
            let enabled = ("enabled", u8::from(*enabled).to_string());
            writer.set_account(address, &[Some(enabled)])
        }
        Change::RemoveAccount { address } => writer.remove_account(address),
        Change::AddAlias { address, targets } => writer.add_alias(address, targets),
        Change::RemoveAlias { address, targets } => writer.remove_alias(address, targets),
        Change::AddDomain { domain } => writer.add_domain(domain),
        Change::RemoveDomain { domain } => writer.remove_domain(domain),
        Change::Import { .. } => Err("what is imported becomes Mailroom's own".to_owned()),
    }
}

fn column(quota: Quota) -> (&'static str, String) {
    ("quota", quota.limit().unwrap_or(0).to_string())
}

struct Writer<'a> {
    dialect: Dialect,
    primary_domain: &'a str,
}

impl Writer<'_> {
    /// In quotes. MySQL and MariaDB take a backslash for the beginning of another sign (their manual, "String Literals").
    fn text(&self, text: &str) -> String {
        let text = text.replace('\'', "''");
        match self.dialect {
            Dialect::Mysql => format!("'{}'", text.replace('\\', "\\\\")),
            Dialect::Pgsql | Dialect::Sqlite => format!("'{text}'"),
        }
    }

    fn hash(&self, hash: &str) -> Result<String, String> {
        password::check_scheme(hash).map_err(|reason| format!("the password {reason}"))?;
        Ok(self.text(hash))
    }

    fn address(&self, name: &str) -> Result<String, String> {
        let address = Address::read(name, self.primary_domain).map_err(|reason| format!("{name}: {reason}"))?;
        Ok(address.text())
    }

    fn alias_address(&self, name: &str) -> Result<String, String> {
        match name.strip_prefix('@') {
            Some(domain) => Ok(format!("@{}", domain_of(domain)?)),
            None => self.address(name),
        }
    }

    fn targets(&self, targets: &[String]) -> Result<Vec<String>, String> {
        let target = |name: &String| Ok(self.text(&self.address(name)?));
        targets.iter().map(target).collect()
    }

    fn add_account(&self, name: &str, hash: &str, more: Vec<(&str, String)>) -> Result<Statement, String> {
        let about = self.address(name)?;
        let first = [("address", self.text(&about)), ("password", self.hash(hash)?)];
        let (columns, values): (Vec<&str>, Vec<String>) = first.into_iter().chain(more).unzip();
        let sql = format!(
            "INSERT INTO accounts ({}) VALUES ({});",
            columns.join(", "),
            values.join(", ")
        );
        Ok(refused_if_there(sql, about))
    }

    fn set_account(&self, name: &str, columns: &[Option<(&str, String)>]) -> Result<Statement, String> {
        let about = self.address(name)?;
        let columns = columns.iter().flatten();
        let columns: Vec<String> = columns.map(|(column, value)| format!("{column} = {value}")).collect();
        Ok(Statement {
            sql: format!(
                "UPDATE accounts SET {} WHERE address = {};",
                columns.join(", "),
                self.text(&about)
            ),
            changes_nothing: format!("there is no account {about}"),
            about,
        })
    }

    fn remove_account(&self, name: &str) -> Result<Statement, String> {
        let about = self.address(name)?;
        let address = self.text(&about);
        Ok(Statement {
            sql: format!(
                "DELETE FROM accounts WHERE address = {address} AND NOT EXISTS (SELECT 1 FROM aliases WHERE target = {address});"
            ),
            changes_nothing: format!("there is no account {about}, or an alias leads to it"),
            about,
        })
    }

    fn add_alias(&self, name: &str, targets: &[String]) -> Result<Statement, String> {
        let about = self.alias_address(name)?;
        let address = self.text(&about);
        let rows: Vec<String> = self
            .targets(targets)?
            .iter()
            .map(|target| format!("({address}, {target})"))
            .collect();
        let sql = format!("INSERT INTO aliases (address, target) VALUES {};", rows.join(", "));
        Ok(refused_if_there(sql, about))
    }

    fn remove_alias(&self, name: &str, targets: &[String]) -> Result<Statement, String> {
        let about = self.alias_address(name)?;
        let targets = self.targets(targets)?.join(", ");
        let those = if targets.is_empty() {
            String::new()
        } else {
            format!(" AND target IN ({targets})")
        };
        Ok(Statement {
            sql: format!("DELETE FROM aliases WHERE address = {}{those};", self.text(&about)),
            changes_nothing: format!("{about} does not lead there"),
            about,
        })
    }

    fn add_domain(&self, name: &str) -> Result<Statement, String> {
        let about = domain_of(name)?;
        let sql = format!("INSERT INTO domains (domain) VALUES ({});", self.text(&about));
        Ok(refused_if_there(sql, about))
    }

    fn remove_domain(&self, name: &str) -> Result<Statement, String> {
        let about = domain_of(name)?;
        // No sign of a domain means anything to LIKE.
        let of_domain = self.text(&format!("%@{about}"));
        let none = |table: &str| format!("NOT EXISTS (SELECT 1 FROM {table} WHERE address LIKE {of_domain})");
        Ok(Statement {
            sql: format!(
                "DELETE FROM domains WHERE domain = {} AND {} AND {};",
                self.text(&about),
                none("accounts"),
                none("aliases")
            ),
            changes_nothing: format!("there is no domain {about}, or it has accounts or aliases"),
            about,
        })
    }
}

fn refused_if_there(sql: String, about: String) -> Statement {
    Statement {
        sql,
        about,
        changes_nothing: String::new(),
    }
}

fn domain_of(name: &str) -> Result<String, String> {
    domain::read(name).map_err(|reason| format!("{name} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;

    const HASH: &str = "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

    fn sql(change: &Change) -> String {
        of(change, Dialect::Pgsql, "a.test").map_or_else(|why| why, |statement| statement.sql)
    }

    fn named(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn accounts() {
        let add = |quota: Option<&str>| Change::AddAccount {
            address: named("O'Neil"),
            hash: named(HASH),
            role: Role::Administrator,
            quota: quota.map(|quota| quota.parse().unwrap()),
        };
        let values = format!("'o''neil@a.test', '{HASH}', 'admin'");
        assert_eq!(
            sql(&add(None)),
            format!("INSERT INTO accounts (address, password, role) VALUES ({values});")
        );
        assert_eq!(
            sql(&add(Some("1K"))),
            format!("INSERT INTO accounts (address, password, role, quota) VALUES ({values}, 1024);")
        );
        let set = Change::SetAccount {
            address: named("x@b.test"),
            hash: Some(named(HASH)),
            role: Some(Role::User),
            quota: Some(Quota::UNLIMITED),
        };
        assert_eq!(
            sql(&set),
            format!("UPDATE accounts SET password = '{HASH}', role = 'user', quota = 0 WHERE address = 'x@b.test';")
        );
        let disable = Change::EnableAccount {
            address: named("x"),
            enabled: false,
        };
        assert_eq!(
            sql(&disable),
            "UPDATE accounts SET enabled = 0 WHERE address = 'x@a.test';"
        );
        assert_eq!(
            sql(&Change::RemoveAccount { address: named("x") }),
            "DELETE FROM accounts WHERE address = 'x@a.test' AND NOT EXISTS (SELECT 1 FROM aliases WHERE target = 'x@a.test');"
        );
    }

    #[test]
    fn aliases_and_domains() {
        let (address, targets) = (named("@B.test"), vec![named("x"), named("y@c.test")]);
        let add = Change::AddAlias {
            address: address.clone(),
            targets: targets.clone(),
        };
        assert_eq!(
            sql(&add),
            "INSERT INTO aliases (address, target) VALUES ('@b.test', 'x@a.test'), ('@b.test', 'y@c.test');"
        );
        let remove = |targets: &[String]| Change::RemoveAlias {
            address: address.clone(),
            targets: targets.to_vec(),
        };
        assert_eq!(
            sql(&remove(&targets)),
            "DELETE FROM aliases WHERE address = '@b.test' AND target IN ('x@a.test', 'y@c.test');"
        );
        assert_eq!(sql(&remove(&[])), "DELETE FROM aliases WHERE address = '@b.test';");
        let domain = named("B.test");
        assert_eq!(
            sql(&Change::AddDomain { domain: domain.clone() }),
            "INSERT INTO domains (domain) VALUES ('b.test');"
        );
        assert_eq!(
            sql(&Change::RemoveDomain { domain }),
            "DELETE FROM domains WHERE domain = 'b.test' AND NOT EXISTS (SELECT 1 FROM accounts WHERE address LIKE '%@b.test') AND \
             NOT EXISTS (SELECT 1 FROM aliases WHERE address LIKE '%@b.test');"
        );
    }

    #[test]
    fn what_is_wrong_makes_no_statement() {
        let account = |address: &str, hash: &str| Change::SetAccount {
            address: named(address),
            hash: Some(named(hash)),
            role: None,
            quota: None,
        };
        assert!(
            sql(&account("x'; DROP TABLE accounts; --", HASH)).starts_with("x'; DROP TABLE accounts; --: a name has")
        );
        assert!(sql(&account("x", "plain")).contains("must begin with its scheme"));
        let alias = Change::AddAlias {
            address: named("@b'.test"),
            targets: Vec::new(),
        };
        assert!(sql(&alias).contains("must be a domain name"));
    }

    #[test]
    fn a_backslash_is_itself_everywhere() {
        let text = |dialect| {
            Writer {
                dialect,
                primary_domain: "",
            }
            .text(r"a\'b")
        };
        assert_eq!(text(Dialect::Mysql), r"'a\\''b'");
        assert_eq!(text(Dialect::Pgsql), r"'a\''b'");
    }
}
