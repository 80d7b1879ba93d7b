//! `mailroom help-env`: every variable, from the table that also reads them.

use crate::settings::table::{VARIABLES, markdown};

/// The table for a reader, or as Markdown for the README.
pub fn text(as_markdown: bool) -> String {
    if as_markdown {
        return markdown();
    }
    let entries = VARIABLES.iter().map(|variable| {
        let default = match (variable.default, variable.default_note) {
            ("", note) => note.to_owned(),
            (value, "") => value.to_owned(),
            (value, note) => format!("{value} ({note})"),
        };
        let (help, allowed) = (variable.help.replace('`', ""), variable.kind.allowed().replace('`', ""));
        format!(
            "{}\n    {help}\n    allowed: {allowed}; default: {default}\n",
            variable.name
        )
    });
    let others = "POSTFIX_<PARAMETER>\n    Any other parameter of main.cf (postconf(5)), in any case.\n";
    entries
        .chain(std::iter::once(others.to_owned()))
        .collect::<Vec<_>>()
        .join("\n")
}
