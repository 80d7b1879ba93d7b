//! What values may be, wherever they come from: types, networks, and the nearest right word for a wrong one.

pub mod domain;
pub mod kind;
pub mod network;
pub mod quota;
pub mod relay_host;
pub mod text;
pub mod words;

/// The candidate most like `text`, if any is like it at all. One that begins with `text` counts as near.
pub fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_ascii_lowercase();
    let distance = |candidate: &str| {
        let candidate = candidate.to_ascii_lowercase();
        let distance = strsim::damerau_levenshtein(&lower, &candidate);
        if candidate.starts_with(&lower) {
            distance.div_ceil(2)
        } else {
            distance
        }
    };
    candidates
        .map(|candidate| (distance(candidate), candidate))
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(text.len())))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len().max(3))
        .map(|(_, candidate)| candidate)
}
