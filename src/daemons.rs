//! The list of daemons: the only place that names all of them.
//!
//! A daemon is a folder that implements [`Daemon`], and one line here. Reports, documentation and the health check name the
//! daemons in this order; which one starts first follows from what their services need.

use crate::daemon::Daemon;

/// Every daemon.
pub static DAEMONS: &[&dyn Daemon] = &[
    &crate::http::HTTPD,      // says how the server is; first, so that it is stopped last
    &crate::policyd::POLICYD, // limits logins and submissions, until nobody can do either
    &crate::postfix::Postfix, // takes, queues and delivers mail
    &crate::dovecot::Dovecot, // mailboxes and logins
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::table;
    use crate::logs::lines::LogLines;
    use crate::logs::record::Record;
    use proptest::prelude::*;

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

    /// Lines of a running server: mail of every fate, refusals, logins, faults; client and network renamed.
    const CORPUS: &str = include_str!("logs/corpus.log");

    fn owner(record: &Record) -> LogLines {
        let mut all = DAEMONS.iter().map(|daemon| daemon.log_lines());
        all.find(|lines| (lines.is_own)(record.program())).unwrap()
    }

    #[test]
    fn golden_fields_of_log_lines() {
        let fields = |line: &str| {
            let record = Record::parse(line.as_bytes());
            let lines = owner(&record);
            let fields: Vec<String> = (lines.fields)(&record)
                .iter()
                .map(|(name, value)| format!("    {name} = {value}"))
                .collect();
            let mut counted = Vec::new();
            (lines.counts)(&record, &mut |event| counted.push(format!("\n    counts {event:?}")));
            format!("{line}\n{}{}\n", fields.join("\n"), counted.concat())
        };
        assert!(CORPUS.lines().count() >= 300);
        insta::assert_snapshot!(CORPUS.lines().map(fields).collect::<String>());
    }

    proptest! {
        #[test]
        fn a_damaged_line_is_read_without_a_word(line in 0..CORPUS.lines().count(), at in 0..400_usize, byte: u8, cut in 0..400_usize) {
            let mut bytes = CORPUS.lines().nth(line).unwrap().as_bytes().to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(20));
            let record = Record::parse(&bytes);
            for daemon in DAEMONS {
                let lines = daemon.log_lines();
                let values: usize = (lines.fields)(&record).iter().map(|(_, value)| value.len()).sum();
                prop_assert!(values <= 2 * record.text.len(), "values are parts of the line");
                (lines.counts)(&record, &mut |_| {});
            }
        }
    }
}
