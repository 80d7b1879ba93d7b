//! The templates, compiled in, and what fills them.

use anyhow::{Context as _, bail};
use serde::Serialize;
use tera::{Context, Tera};

/// Renders a template. A variable that it needs and does not get is an error; so is a value with a line break or a NUL,
/// which would be a second setting.
pub fn render(name: &str, template: &str, values: &impl Serialize) -> anyhow::Result<String> {
    let json = serde_json::to_value(values)?;
    refuse_second_lines(name, &json)?;
    let context = Context::from_serialize(&json)?;
    Tera::one_off(template, &context, false).with_context(|| format!("template {name}"))
}

fn refuse_second_lines(name: &str, value: &serde_json::Value) -> anyhow::Result<()> {
    match value {
        serde_json::Value::String(text) if text.contains(['\n', '\r', '\0']) => {
            bail!("template {name}: a value holds a line break: {text:?}")
        }
        serde_json::Value::Array(values) => values.iter().try_for_each(|value| refuse_second_lines(name, value)),
        serde_json::Value::Object(map) => map.values().try_for_each(|value| refuse_second_lines(name, value)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn missing_values_and_second_lines_are_errors() {
        let values = BTreeMap::from([("a", "x")]);
        assert_eq!(render("t", "a = {{ a }}", &values).unwrap(), "a = x");
        assert!(render("t", "{{ b }}", &values).is_err());
        assert!(render("t", "{{ a }}", &BTreeMap::from([("a", "x\ny = z")])).is_err());
    }
}
