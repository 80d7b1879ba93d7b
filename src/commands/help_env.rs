//! `mailroom help-env`: every variable, from the table that also reads them.

use crate::daemon::{Shape, table};
use crate::daemons::DAEMONS;
use crate::settings::table::Variable;

/// The table for a reader, as Markdown for the README (with the settings that cannot be set), or as a JSON schema.
pub fn text(as_markdown: bool, as_json: bool) -> String {
    let table = table(DAEMONS);
    let shapes: Vec<&Shape> = DAEMONS.iter().flat_map(|daemon| daemon.shapes()).collect();
    if as_markdown {
        let owned = DAEMONS.iter().map(|daemon| daemon.owned_settings());
        let owned: Vec<String> = owned.filter(|text| !text.is_empty()).collect();
        return format!("{}\n{}", table.markdown(), owned.join("\n"));
    }
    if as_json {
        let patterns: Vec<(&str, &str)> = shapes.iter().map(|shape| (shape.prefix, shape.schema)).collect();
        return format!("{:#}\n", table.json_schema(&patterns));
    }
    let shapes = shapes
        .iter()
        .map(|shape| format!("{}\n    {}\n", shape.name, shape.help));
    let file = "<ANY OF THESE>_FILE\n    The path of a file that holds the value.\n".to_owned();
    table
        .iter()
        .map(described)
        .chain(shapes)
        .chain([file])
        .collect::<Vec<_>>()
        .join("\n")
}

fn described(variable: &Variable) -> String {
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
}
