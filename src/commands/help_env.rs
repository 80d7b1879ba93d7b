//! `mailroom help-env`: every variable, from the table that also reads them.

use crate::postfix::parameters::owned_markdown;
use crate::settings::table::{VARIABLES, json_schema, markdown};

/// The table for a reader, as Markdown for the README (with the parameters that cannot be set), or as a JSON schema.
pub fn text(as_markdown: bool, as_json: bool) -> String {
    if as_markdown {
        return format!("{}\n{}", markdown(), owned_markdown());
    }
    if as_json {
        return format!("{:#}\n", json_schema());
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
    let others = "POSTFIX_<PARAMETER>\n    Any other parameter of main.cf (postconf(5)), in any case.\n\n\
                  MAILROOM_MASTER_<SERVICE>_<TYPE>[_<PARAMETER>]\n    A service of master.cf: off, its process limit, an -o option.\n\n\
                  DOVECOT_<SETTING>, DOVECOT_<BLOCK>__<NAME>__<SETTING>\n    Any setting of Dovecot.\n\n\
                  <ANY OF THESE>_FILE\n    The path of a file that holds the value.\n";
    entries
        .chain(std::iter::once(others.to_owned()))
        .collect::<Vec<_>>()
        .join("\n")
}
