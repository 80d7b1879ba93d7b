//! The certificates that smtp(8) and lmtp(8) show to other servers, for each service as it will run: with a key that does not
//! belong to its certificate they go without, or defer all mail. Reads only.

use std::fs;
use std::path::Path;

use super::restrictions::{Scope, services};
use super::settings::Settings;
use super::{drop_ins, paths};
use crate::certificates::{wrong_chain, wrong_pair};
use crate::report::Mistake;

/// What is wrong with them.
pub(super) fn wrong(settings: &Settings) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = services(settings, &["smtp", "lmtp"])
        .flat_map(|scope| of_service(&scope))
        .collect();
    // Several services have the same.
    mistakes.dedup();
    mistakes
}

/// Chains come first, and the others are not looked at then.
fn of_service(scope: &Scope) -> Vec<Mistake> {
    let named = |parameter: &str| format!("{}_tls_{parameter}", scope.service.program);
    let (chains, by) = scope.value(&named("chain_files"));
    if !chains.is_empty() {
        return chain(&named("chain_files"), &chains, by).into_iter().collect();
    }
    let pairs = [("cert_file", "key_file"), ("eccert_file", "eckey_file")];
    let pairs = pairs.map(|(certificate, key)| pair(scope, &named(certificate), &named(key)));
    pairs.into_iter().flatten().collect()
}

fn chain(name: &str, value: &str, by: Option<String>) -> Option<Mistake> {
    let paths: Vec<&str> = value.split([',', ' ', '\t']).filter(|path| !path.is_empty()).collect();
    if value.contains('$') || paths::wrong(name, value).is_some() {
        return None;
    }
    let contents: Vec<Vec<u8>> = paths.iter().map(|path| read(path)).collect::<Option<_>>()?;
    let reason = wrong_chain((&paths.join(" "), &contents.join(&b'\n')))?;
    let by = by?;
    let shown = drop_ins::shown(&by, name, value);
    Some(Mistake::new(by, shown, reason))
}

/// A key's file that is not set is the certificate's.
fn pair(scope: &Scope, certificate: &str, key: &str) -> Option<Mistake> {
    let ((path, by), (key_path, key_by)) = (scope.value(certificate), scope.value(key));
    let key_path = Some(key_path).filter(|key_path| *key_path != format!("${certificate}"));
    let is_wrong = |name: &str, path: &str| path.contains('$') || paths::wrong(name, path).is_some();
    // What is wrong with one file is said already.
    if path.is_empty() || is_wrong(certificate, &path) || key_path.as_ref().is_some_and(|path| is_wrong(key, path)) {
        return None;
    }
    let key_path = key_path.unwrap_or_else(|| path.clone());
    let (bytes, key_bytes) = (read(&path)?, read(&key_path)?);
    let reason = wrong_pair((&path, &bytes), Some((&key_path, &key_bytes)))?;
    let (by, name, value) = match (key_by, by) {
        (Some(by), _) => (by, key, key_path),
        (None, by) => (by?, certificate, path),
    };
    let shown = drop_ins::shown(&by, name, &value);
    Some(Mistake::new(by, shown, reason))
}

/// Somebody else's check may not be allowed to.
fn read(path: &str) -> Option<Vec<u8>> {
    fs::read(Path::new(path)).ok()
}
