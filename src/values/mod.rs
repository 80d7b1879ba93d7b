//! What values may be, wherever they come from: types, networks, and the nearest right word for a wrong one.

pub mod domain;
pub mod kind;
pub mod network;
pub mod quota;
pub mod relay_host;
pub mod span;
pub mod text;
pub mod words;

use std::fmt;

/// A count with the word for what is counted: `1 file`, `2 files`.
pub fn counted<T: fmt::Display + PartialEq + From<u8> + Copy>(count: T, one: &str, several: &str) -> String {
    let word = if count == T::from(1) { one } else { several };
    format!("{count} {word}")
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        let counted = |count: usize| counted(count, "alias", "aliases");
        assert_eq!([0, 1, 2].map(counted), ["0 aliases", "1 alias", "2 aliases"]);
    }
}
