//! Rules of header_checks(5) and body_checks(5): cleanup(8) and smtp(8) warn of an action that they do not know when mail
//! comes, and go without the rule. postmap(1) knows patterns alone.

/// Actions of header_checks(5).
const ACTIONS: [&str; 15] = [
    "BCC", "DISCARD", "DUNNO", "FILTER", "HOLD", "IGNORE", "INFO", "OK", "PASS", "PREPEND", "REDIRECT", "REJECT",
    "REPLACE", "STRIP", "WARN",
];

/// What is wrong, with the line where the rule begins.
pub(super) fn wrong(parameter: &str, text: &str) -> Vec<(usize, String)> {
    let has_actions = parameter.ends_with("header_checks") || parameter.ends_with("body_checks");
    let wrong = |(line, rule): (usize, String)| {
        if rule.ends_with('\\') {
            let reason = "ends in a backslash: a line that begins with white space continues the one before it";
            return Some((line, reason.to_owned()));
        }
        let action = action(&rule).filter(|_| has_actions)?;
        let is_known = ACTIONS.iter().any(|known| known.eq_ignore_ascii_case(action));
        (!is_known).then(|| {
            let nearest = crate::values::nearest(&action.to_ascii_uppercase(), ACTIONS.into_iter())
                .map(|nearest| format!("; did you mean {nearest}?"))
                .unwrap_or_default();
            (line, format!("{action} is not an action (header_checks(5)){nearest}"))
        })
    };
    super::master_cf::logical_lines(text)
        .into_iter()
        .filter_map(wrong)
        .collect()
}

/// The first word behind `/pattern/flags`; none where there is no such pattern, which is postmap's to say.
fn action(rule: &str) -> Option<&str> {
    let rule = rule.trim().trim_start_matches('!').trim_start();
    let delimiter = rule.chars().next().filter(|c| !c.is_alphanumeric())?;
    let mut is_escaped = false;
    let end = rule.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == delimiter && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    });
    let behind = &rule[end?.0 + delimiter.len_utf8()..];
    // `/one/!/other/ action` of regexp_table(5).
    if behind.starts_with('!') {
        return None;
    }
    behind.split_once(char::is_whitespace)?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_that_are_not_known() {
        let text = "# x\n/^Subject: a\\/b/i REJECT no\nif /x/\n!/y/ nonsense z\nendif\n\n/a/ reject\n  more\n/b/ REJCT\n/c/ WARN \\\n";
        let found = wrong("smtp_header_checks", text);
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [4, 9, 10], "{found:?}");
        assert!(found[1].1.ends_with("did you mean REJECT?"), "{found:?}");
        assert_eq!(wrong("virtual_alias_maps", "/./ user@a.test\n"), []);
    }
}
