//! Aliases of the user's own beside ours. The role addresses (postmaster, abuse and the like) stay, whatever maps are set; a
//! relay alone has none. An entry of the user's for one of them comes first. What a map of patterns fits is no domain of aliases: those
//! are named one by one, by `virtual_alias_domains` or as keys of the user's tables.

use std::collections::BTreeSet;
use std::path::Path;

use super::main_cf::Given;
use super::settings::Settings;
use super::user_tables::{UserFiles, references};
use crate::layout::POSTFIX_TABLES;
use crate::report::Mistake;
use crate::site::Site;

const MAPS: &str = "virtual_alias_maps";
const DOMAINS: &str = "virtual_alias_domains";
/// Types of tables whose sources are `key value` lines.
const KEYED: [&str; 5] = ["lmdb", "hash", "btree", "cdb", "texthash"];

/// Adds what the maps of the user's own leave out.
pub(super) fn complete(settings: &mut Settings, files: &UserFiles, site: &Site) {
    if let Some(given) = settings.parameters.get(MAPS) {
        let (variable, domains) = (given.variable.clone(), domains(&given.value, files, site));
        if !domains.is_empty() {
            settings.parameters.entry(DOMAINS.to_owned()).or_insert(Given {
                variable,
                value: domains.into_iter().collect::<Vec<_>>().join(", "),
                explicit: true,
            });
        }
    }
    settings.change_all(MAPS, |value| with_ours(value, site));
}

/// Ours come behind the user's.
fn with_ours(value: &mut String, site: &Site) {
    let ours = format!("lmdb:{POSTFIX_TABLES}/virtual");
    if !site.mailboxes || value.contains(&ours) {
        return;
    }
    if !value.is_empty() {
        value.push_str(", ");
    }
    value.push_str(&ours);
}

/// The keys that are domains (virtual(5), "virtual alias domains"), but for those that have mailboxes.
fn domains(value: &str, files: &UserFiles, site: &Site) -> BTreeSet<String> {
    let of_path = |path: &str| {
        let source = files.referenced.iter().find(|(there, _)| there == Path::new(path));
        source.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
    };
    references(value)
        .filter(|(kind, _)| KEYED.contains(kind))
        .filter_map(|(_, path)| of_path(path))
        .flat_map(|text| keys(&text).filter(|key| is_domain(key)).collect::<Vec<_>>())
        .filter(|domain| site.mailbox_domains().all(|own| own != domain))
        .collect()
}

/// A line that begins with white space continues the one before it.
fn keys(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .filter(|line| !line.starts_with(['#', ' ', '\t']))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_ascii_lowercase)
}

fn is_domain(key: &str) -> bool {
    key.contains('.') && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// Our own domain holds mailboxes: as a domain of aliases, too, all its mail would bounce.
pub(super) fn wrong(settings: &Settings, site: &Site) -> Option<Mistake> {
    let given = settings.parameters.get(DOMAINS)?;
    let own = |word: &str| match word {
        "$mydomain" | "${mydomain}" => site.mailboxes.then(|| site.domain.clone()),
        word => site
            .mailbox_domains()
            .find(|own| word.eq_ignore_ascii_case(own))
            .map(str::to_owned),
    };
    let mut words = given.value.split([',', ' ', '\t']);
    words.find_map(own).map(|own| {
        let reason = format!(
            "names {own}, whose accounts have mailboxes: its mail would bounce; leave it out, aliases in {MAPS} work for it \
             all the same"
        );
        Mistake::new(&given.variable, &given.value, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::read::tests::site;
    use crate::site::MAILBOXES;

    #[test]
    fn ours_come_last_and_once() {
        let added = |value: &str| {
            let mut value = value.to_owned();
            with_ours(&mut value, &site(&[]));
            with_ours(&mut value, &site(&[]));
            value
        };
        let ours = format!("lmdb:{POSTFIX_TABLES}/virtual");
        assert_eq!(added(""), ours);
        assert_eq!(added("static:a@b.test"), format!("static:a@b.test, {ours}"));
    }

    #[test]
    fn keys_that_are_domains() {
        let text =
            "# x.test y\nAlias.test anything\na@b.test c\n@alias.test user@metabuilder.local\n  more.test\nuser x\n";
        let files = UserFiles {
            referenced: vec![
                ("/a".into(), text.into()),
                ("/r".into(), "/./ user\nc.test x\n".into()),
                ("/own".into(), "metabuilder.local x\n".into()),
            ],
            ..UserFiles::default()
        };
        let maps = "lmdb:/a, regexp:/r, lmdb:/own";
        let found = domains(maps, &files, &site(&[]));
        assert_eq!(found, BTreeSet::from(["alias.test".to_owned()]));
        let found = domains(maps, &files, &site(&[(MAILBOXES, "off")]));
        assert!(
            found.contains("metabuilder.local"),
            "a relay alone has no mailboxes there: {found:?}"
        );
    }
}
