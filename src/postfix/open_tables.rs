//! Tables and lists that can be seen to hold everybody: `static:OK`, a pattern that fits all, networks of strangers, domains
//! such as `com`. What else stands in a table only Postfix knows. Reads only.

use std::fs;

use ipnet::IpNet;

use super::master_cf::logical_lines;
use super::parameters::split_words;
use crate::values::network::{self, OwnNetworks};

/// Top-level domains of which parts belong to strangers, besides those of countries, which have two letters.
const TOP_LEVEL: [&str; 22] = [
    "aero", "app", "arpa", "biz", "cloud", "com", "coop", "dev", "edu", "gov", "info", "int", "jobs", "mil", "mobi",
    "museum", "name", "net", "online", "org", "pro", "xyz",
];

/// Types whose files hold a key and a value on each line (postmap(1)).
const KEYED: [&str; 5] = ["btree", "cdb", "hash", "lmdb", "texthash"];

/// What a table, `type:name`, answers to everybody, or to networks of strangers.
pub(super) fn answers(table: &str, own: &OwnNetworks) -> Vec<String> {
    let table = table.trim_start_matches("proxy:");
    let Some((kind, name)) = table.split_once(':') else {
        return Vec::new();
    };
    match kind {
        "static" => vec![in_braces(name).unwrap_or(name).trim().to_owned()],
        "regexp" | "pcre" => {
            let rule = |rule: &String| answer_to_all(rule);
            rules(name).iter().find_map(rule).into_iter().collect()
        }
        "cidr" => of_networks(&rules(name), own),
        "unionmap" | "pipemap" => {
            let inner = split_words(in_braces(name).unwrap_or(name));
            inner.iter().flat_map(|table| answers(table, own)).collect()
        }
        _ => Vec::new(),
    }
}

/// A word of a list of domains, or of addresses and networks, by which strangers are in it.
pub(super) fn with_strangers(word: &str, own: &OwnNetworks) -> bool {
    if word.starts_with('!') {
        return false;
    }
    let of_file = |path: &str| {
        let lines = logical_lines(&fs::read_to_string(path).unwrap_or_default());
        let words = lines
            .into_iter()
            .flat_map(|(_, line)| split_words(&line))
            .collect::<Vec<_>>();
        words
            .iter()
            .any(|word| !word.starts_with('/') && with_strangers(word, own))
    };
    match word.trim_start_matches("proxy:").split_once(":/") {
        _ if word.starts_with('/') => of_file(word),
        Some((kind, path)) if KEYED.contains(&kind) => {
            let lines = logical_lines(&fs::read_to_string(format!("/{path}")).unwrap_or_default());
            lines
                .iter()
                .any(|(_, line)| line.split_whitespace().next().is_some_and(is_top_level))
        }
        _ => {
            let networks = network::parse_list(word).unwrap_or_default();
            networks.public(own).next().is_some() || is_top_level(word) || !answers(word, own).is_empty()
        }
    }
}

/// All domains below it count, too (parent_domain_matches_subdomains in postconf(5)).
fn is_top_level(word: &str) -> bool {
    let word = word.trim_start_matches('.').to_ascii_lowercase();
    let is_country = word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_country || TOP_LEVEL.contains(&word.as_str())
}

fn in_braces(text: &str) -> Option<&str> {
    text.trim().strip_prefix('{')?.strip_suffix('}')
}

/// The rules of a file, or of `{{ rule }, { rule }}`, without those that stand between `if` and `endif`.
fn rules(name: &str) -> Vec<String> {
    let in_file = || -> Vec<String> {
        let lines = logical_lines(&fs::read_to_string(name).unwrap_or_default());
        lines.into_iter().map(|(_, line)| line).collect()
    };
    let in_value = |inner: &str| -> Vec<String> {
        let rules = split_words(inner);
        let rules = rules.iter().filter_map(|rule| in_braces(rule));
        rules.map(|rule| rule.trim().to_owned()).collect()
    };
    let rules = in_braces(name).map_or_else(in_file, in_value);
    let mut depth = 0_usize;
    let mut is_unconditional = |rule: &String| {
        let word = rule.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "if" => depth += 1,
            "endif" => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    rules.into_iter().filter(|rule| is_unconditional(rule)).collect()
}

/// What a rule of regexp_table(5) answers, where its pattern fits everything, or all but what a `!` pattern fits.
fn answer_to_all(rule: &str) -> Option<String> {
    let (negated, rule) = match rule.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, rule),
    };
    let delimiter = rule.chars().next().filter(|c| !c.is_alphanumeric())?;
    let (pattern, behind) = rule[delimiter.len_utf8()..].split_once(delimiter)?;
    let pattern = pattern.trim_start_matches(['^', '(']).trim_end_matches(['$', ')']);
    let fits_all = negated || ["", ".", ".*", ".+", ".?", ".*?", "[^ ]*", "[^ ]+"].contains(&pattern);
    let (_, answer) = behind.split_once(char::is_whitespace)?;
    fits_all.then(|| answer.trim().to_owned())
}

/// What rules of cidr_table(5) answer to networks of strangers: the first that fits decides.
fn of_networks(rules: &[String], own: &OwnNetworks) -> Vec<String> {
    let (mut before, mut found): (Vec<IpNet>, Vec<String>) = (Vec::new(), Vec::new());
    for rule in rules {
        let Some((pattern, answer)) = rule.split_once(char::is_whitespace) else {
            continue;
        };
        let networks = network::parse_list(pattern).map(|list| list.nets).unwrap_or_default();
        for network in networks {
            let is_decided = before.iter().any(|earlier| earlier.contains(&network.net));
            if !is_decided && (network.excluded || own.leave_public(network.net)) {
                found.push(answer.trim().to_owned());
            }
            if !network.excluded {
                before.push(network.net);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(table: &str) -> Vec<String> {
        answers(table, &OwnNetworks::default())
    }

    #[test]
    fn answers_to_everybody() {
        for (table, answer) in [
            ("static:OK", "OK"),
            ("static:{permit_x, reject}", "permit_x, reject"),
            ("proxy:static:x", "x"),
            ("pcre:{{/^10/ REJECT}, {/./ OK}}", "OK"),
            ("regexp:{{/^/ OK}, {/.*/ REJECT}}", "OK"),
            ("regexp:{{!/^bad/ OK}}", "OK"),
            ("cidr:{{10.0.0.0/8 REJECT}, {0.0.0.0/0 OK}}", "OK"),
            ("cidr:{{!10.0.0.0/8 OK}}", "OK"),
            ("cidr:{{8.0.0.0/8 OK}, {8.8.0.0/16 REJECT}}", "OK"),
            ("unionmap:{static:OK}", "OK"),
        ] {
            assert_eq!(said(table), [answer], "{table}");
        }
        for table in [
            "inline:{a=OK}",
            "lmdb:/nonexistent",
            "regexp:{{/^a/ OK}}",
            "pcre:{{if /x/}, {/./ OK}, {endif}}",
            "cidr:{{10.0.0.0/8 OK}, {8.8.8.8 OK}}",
            "regexp:/nonexistent",
        ] {
            assert_eq!(said(table), [""; 0], "{table}");
        }
    }

    #[test]
    fn lists_with_strangers() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("domains");
        fs::write(&file, "# ours\nexample.org\ncom x\n").unwrap();
        let (plain, keyed) = (file.display().to_string(), format!("lmdb:{}", file.display()));
        let own = OwnNetworks::default();
        for word in [
            "com",
            ".ORG",
            "de",
            "static:x",
            "0.0.0.0/0",
            "[::]/0",
            &plain,
            &keyed,
            "pcre:{{/./ x}}",
        ] {
            assert!(with_strangers(word, &own), "{word}");
        }
        for word in [
            "example.org",
            "lan",
            "localhost",
            "!com",
            "10.0.0.0/8",
            "8.8.8.8",
            "$x",
            "/nonexistent",
            "inline:{a=b}",
        ] {
            assert!(!with_strangers(word, &own), "{word}");
        }
    }
}
