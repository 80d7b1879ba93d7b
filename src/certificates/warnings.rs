//! What is wrong with a pair that can be served all the same. Pure.

use jiff::Timestamp;

use super::inspect::Certificate;
use super::pair::Pair;
use crate::values::counted;

/// A certificate should have more than this many days left, one that lives shortly a third of its life.
const LAST_DAYS: i64 = 14;

/// One line each.
pub(super) fn all(pair: &Pair, hostname: &str, now: Timestamp) -> Vec<String> {
    let expired = expired(&pair.leaf, now);
    let times = expired
        .or_else(|| not_yet(&pair.leaf, now))
        .or_else(|| soon(&pair.leaf, now));
    let wrong = [times, no_name(&pair.leaf, hostname), no_issuer(pair)];
    let line = |reason| format!("Warning: {}: {reason}", pair.path);
    pair.notes
        .iter()
        .cloned()
        .chain(wrong.into_iter().flatten().map(line))
        .collect()
}

/// Of one whose time is over.
pub(super) fn expired(leaf: &Certificate, now: Timestamp) -> Option<String> {
    (leaf.expires <= now).then(|| {
        format!(
            "the certificate has expired on {}, {} ago: renew it, then docker exec … mailroom reload",
            day(leaf.expires),
            counted(days(leaf.expires, now), "day", "days")
        )
    })
}

fn not_yet(leaf: &Certificate, now: Timestamp) -> Option<String> {
    (leaf.begins > now).then(|| {
        format!(
            "the certificate is not valid before {}, in {}: is the clock right?",
            leaf.begins,
            counted(days(now, leaf.begins), "day", "days")
        )
    })
}

fn soon(leaf: &Certificate, now: Timestamp) -> Option<String> {
    let left = days(now, leaf.expires);
    let is_soon = left < LAST_DAYS.min(days(leaf.begins, leaf.expires) / 3);
    is_soon.then(|| {
        format!(
            "the certificate expires on {}, in {}: renew it",
            day(leaf.expires),
            counted(left, "day", "days")
        )
    })
}

fn no_name(leaf: &Certificate, hostname: &str) -> Option<String> {
    let Some(names) = &leaf.names else {
        return Some(format!(
            "the certificate has no subjectAltName, and clients take no other name for the server's: have it issued with \
             DNS:{hostname}"
        ));
    };
    (!names.iter().any(|name| covers(name, hostname))).then(|| {
        format!(
            "the certificate is for {}, and not for {hostname}: clients that connect to that name refuse it; set \
             POSTFIX_MYHOSTNAME, or have it issued for that name too",
            names.join(", ")
        )
    })
}

/// A star stands for the whole first label (RFC 9525, section 6.3).
fn covers(name: &str, hostname: &str) -> bool {
    let wild = |rest: &str| hostname.split_once('.').is_some_and(|(_, domain)| domain == rest);
    name == hostname || name.strip_prefix("*.").is_some_and(wild)
}

fn no_issuer(pair: &Pair) -> Option<String> {
    let leaf = &pair.leaf;
    let has_issuer = pair.chain.iter().any(|each| each.subject == leaf.issuer);
    (!leaf.is_self_signed() && !has_issuer).then(|| {
        format!(
            "the certificate of its issuer ({}) is not in the file: unless that is a root that your clients know, add it \
             below the server's own (authorities call the result fullchain.pem)",
            leaf.issuer_name
        )
    })
}

/// Whole days from one time to another.
fn days(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_hours() / 24
}

/// The day of a time, as it is written in messages.
pub(super) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}
