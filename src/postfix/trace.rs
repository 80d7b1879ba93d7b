//! Traces what Postfix's programs say to what set the parameter or option: a variable, or `file:line`. The comment above a
//! line of main.cf, and above a service of master.cf, names it; a line without one is ours.

use super::{drop_ins, main_cf, master_cf};
use crate::report::Mistake;

/// The mistake behind one line that a program said, where it can be traced.
pub(super) fn trace(main_cf: &str, master_cf: &str, said: &str) -> Option<Mistake> {
    let (origin, value, reason) = in_master_cf(master_cf, said).or_else(|| in_main_cf(main_cf, said))?;
    Some(Mistake::new(origin, value, reason))
}

/// What postconf(1) has against a parameter: its name, or that of one to which a value refers, and what it says.
enum Objection {
    /// To a parameter.
    Parameter(String, String),
    /// To `$name`.
    Reference(String, String),
}

/// Reads one warning of `postconf -n`.
fn objection(warning: &str) -> Option<Objection> {
    let after = |text: &str| warning.split_once(text).map(|(_, rest)| rest);
    let name = |rest: &str| rest.split(['=', '"']).next().unwrap_or_default().trim().to_owned();
    if let Some(rest) = after("read-only parameter assignment: ") {
        return Some(Objection::Parameter(name(rest), "is read-only in Postfix".to_owned()));
    }
    if let Some(rest) = after("support for parameter \"") {
        let instead = rest
            .split_once("instead, specify ")
            .map_or("something else", |(_, instead)| instead);
        let said = format!("is on its way out of Postfix: set {} instead", instead.replace('"', ""));
        return Some(Objection::Parameter(name(rest), said));
    }
    if let Some(rest) = after("unused parameter: ") {
        return Some(Objection::Parameter(name(rest), "is not used by anything".to_owned()));
    }
    let undefined = name(after("undefined parameter: ")?);
    let said = format!("refers to ${undefined}, which is not a parameter");
    Some(Objection::Reference(undefined, said))
}

/// Traces what one of Postfix's programs says to who set the parameter: variable, value and what is wrong. The comment
/// above its line says who; a line without one is ours.
fn in_main_cf(text: &str, said: &str) -> Option<(String, String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let set: Vec<(&str, &str, &str)> = lines
        .windows(2)
        .filter_map(|pair| {
            let (name, value) = pair[1].split_once('=')?;
            let by = pair[0].strip_prefix("# ").filter(|by| is_origin(by))?;
            Some((by, name.trim(), value.trim()))
        })
        .collect();
    let (found, reason) = match objection(said) {
        Some(Objection::Parameter(wanted, reason)) => (set.iter().find(|(_, name, _)| *name == wanted), reason),
        Some(Objection::Reference(wanted, reason)) => {
            (set.iter().find(|(.., value)| main_cf::refers(value, &wanted)), reason)
        }
        None => {
            let by_name = set.iter().find(|(_, name, _)| holds_word(said, name));
            // Shorter ones, such as yes or 10, may stand in any sentence.
            let by_value = || {
                set.iter()
                    .find(|(.., value)| value.len() > 3 && holds_word(said, value))
            };
            let reason = said
                .split_once("fatal: ")
                .or_else(|| said.split_once("warning: "))
                .map_or(said, |(_, reason)| reason);
            (by_name.or_else(by_value), reason.to_owned())
        }
    };
    let (variable, name, value) = found?;
    Some(((*variable).to_owned(), drop_ins::shown(variable, name, value), reason))
}

/// Traces what postconf(1) says of an option in a rendered master.cf to who set it: origin, value and what is wrong.
fn in_master_cf(text: &str, said: &str) -> Option<(String, String, String)> {
    let objection = objection(said)?;
    let meant = |option: &SetOption| match &objection {
        Objection::Parameter(name, _) => option.name == *name,
        Objection::Reference(name, _) => main_cf::refers(&option.value, name),
    };
    let option = set_options(text).into_iter().find(meant)?;
    let (Objection::Parameter(_, reason) | Objection::Reference(_, reason)) = objection;
    let name = option.name.to_ascii_uppercase();
    let by_variable = option.origins.iter().find(|origin| origin.ends_with(&name));
    if let Some(variable) = by_variable {
        return Some((variable.clone(), option.value, reason));
    }
    let shown = format!("-o {}={}", option.name, option.value);
    Some((option.origins.last()?.clone(), shown, reason))
}

/// An option, and who made its service what it is.
struct SetOption {
    origins: Vec<String>,
    name: String,
    value: String,
}

/// The options of those services above which stands who set something.
fn set_options(text: &str) -> Vec<SetOption> {
    let (mut above, mut origins, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            above.extend(is_origin(comment).then(|| comment.to_owned()));
        } else if !line.starts_with(' ') {
            origins = std::mem::take(&mut above);
        } else if let Some(Ok((name, value))) = line.trim_start().strip_prefix("-o ").map(master_cf::option) {
            let origins = origins.clone();
            found.push(SetOption { origins, name, value });
        }
    }
    found.retain(|option| !option.origins.is_empty());
    found
}

/// Whether a text holds another one that is not a part of a longer word.
fn holds_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

/// Who set something, and not any other comment.
fn is_origin(text: &str) -> bool {
    text.starts_with("/etc/mailroom/")
        || (["POSTFIX_", "MAILROOM_"].iter().any(|prefix| text.starts_with(prefix)) && !text.contains(' '))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::master_cf::{Service, parse, parse_file};
    use super::*;

    #[test]
    fn warnings_are_traced_to_who_set_what() {
        let main_cf = "biff = no\n# POSTFIX_X\nsmtpd_use_tls = yes\n# POSTFIX_Y\nmaps = ${nosuch}/x\n";
        let traced = |said: &str| in_main_cf(main_cf, said).map(|(variable, value, _)| (variable, value));
        let warning = "postconf: warning: /x: support for parameter \"smtpd_use_tls\" will be removed; instead, specify \"level\"";
        assert_eq!(traced(warning), Some(("POSTFIX_X".into(), "yes".into())));
        assert_eq!(
            traced("postconf: warning: /x: undefined parameter: nosuch"),
            Some(("POSTFIX_Y".into(), "${nosuch}/x".into()))
        );
        assert_eq!(
            traced("postconf: warning: /x: unused parameter: biff=no"),
            None,
            "nobody set it"
        );
        assert_eq!(traced("postconf: fatal: something"), None);
        let main_cf =
            "# POSTFIX_BIFF\nbiff = no\n# POSTFIX_A\na = $foobar\n# POSTFIX_B\nb = $(foo)\n# POSTFIX_C\nc = cidr:/n\n";
        let traced = |said: &str| in_main_cf(main_cf, said).map(|(variable, ..)| variable);
        assert_eq!(traced("postmap: fatal: cannot open x"), None);
        assert_eq!(
            traced("postconf: warning: undefined parameter: foo"),
            Some("POSTFIX_B".into())
        );
        assert_eq!(
            traced("postmap: fatal: open cidr:/n: no such file"),
            Some("POSTFIX_C".into())
        );
        assert_eq!(traced("postmap: fatal: open cidr:/no"), None);
        let main_cf = "# POSTFIX_X\nsmtpd_use_tls = yes\n";
        assert_eq!(
            in_main_cf(main_cf, "postmap: fatal: invalid smtpd_use_tls parameter value yes")
                .unwrap()
                .2,
            "invalid smtpd_use_tls parameter value yes"
        );
    }

    #[test]
    fn warnings_are_traced_to_who_set_the_option() {
        let mut services = parse_file(
            Path::new("/etc/mailroom/master.cf.d/x.cf"),
            "\na inet n - n - - smtpd -o b=$c\n",
        )
        .unwrap();
        services.extend(parse("d inet n - n - - smtpd -o max_idle=$e\nf inet n - n - - smtpd -o b=2\n").unwrap());
        services[1]
            .origins
            .push("MAILROOM_MASTER_D_INET_PROCESS_LIMIT".to_owned());
        services[1].origins.push("MAILROOM_MASTER_D_INET_MAX_IDLE".to_owned());
        let text: String = services.iter().map(Service::to_string).collect();
        let traced = |said: &str| in_master_cf(&text, &format!("postconf: warning: /etc/postfix/master.cf: {said}"));
        let (origin, value, reason) = traced("unused parameter: b=$c").unwrap();
        assert_eq!((&*origin, &*value), ("/etc/mailroom/master.cf.d/x.cf:2", "-o b=$c"));
        assert!(reason.contains("not used"), "{reason}");
        assert_eq!(traced("undefined parameter: c").unwrap().0, origin);
        let (origin, value, _) = traced("undefined parameter: e").unwrap();
        assert_eq!((&*origin, &*value), ("MAILROOM_MASTER_D_INET_MAX_IDLE", "$e"));
        assert_eq!(traced("undefined parameter: g"), None);
    }
}
