//! The list of daemons: the only place that names all of them.
//!
//! A daemon is a folder that implements [`Daemon`], and one line here. Reports, documentation and the health check name the
//! daemons in this order; which one starts first follows from what their services need.

use crate::daemon::Daemon;

/// Every daemon.
pub static DAEMONS: &[&dyn Daemon] = &[
    &crate::http::Httpd,      // says how the server is; first, so that it is stopped last
    &crate::policyd::Policyd, // limits logins and submissions, until nobody can do either
    &crate::postfix::Postfix, // takes, queues and delivers mail
    &crate::dovecot::Dovecot, // mailboxes and logins
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::table;

    #[test]
    fn every_default_is_allowed() {
        for variable in table(DAEMONS).iter() {
            assert!(variable.kind.canonical(variable.default).is_ok(), "{}", variable.name);
        }
    }

    #[test]
    fn the_readme_holds_the_table_of_variables() {
        let readme = include_str!("../README.md");
        assert!(
            readme.contains(&table(DAEMONS).markdown()),
            "README.md is stale: replace its table by `mailroom help-env --markdown`"
        );
    }

    #[test]
    fn the_readme_holds_what_cannot_be_set() {
        let readme = include_str!("../README.md");
        for daemon in DAEMONS {
            assert!(
                readme.contains(&daemon.owned_settings()),
                "README.md is stale: replace its tables of settings that Mailroom decides by those of \
                 `mailroom help-env --markdown`"
            );
        }
    }
}
