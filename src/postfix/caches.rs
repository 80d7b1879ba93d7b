//! Tables that Postfix makes itself, and writes as the user postfix: results of probes, sessions of TLS. Reads only.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::User;

use super::files::data_directory;
use super::user_tables::references;

/// By the ends of the names of parameters (postconf(5)).
pub(super) fn is_one(name: &str) -> bool {
    name == "address_verify_map" || name.ends_with("_cache_map") || name.ends_with("_session_cache_database")
}

/// A place in which it may not make one.
pub(super) fn wrong(value: &str) -> Option<String> {
    let (_, path) = references(value).next()?;
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    let data = data_directory();
    if directory.starts_with(&data) {
        return None;
    }
    let advice = format!(
        "name a place below {} (empty after each restart of the container) or a directory that belongs to the user postfix",
        data.display()
    );
    let directory = directory.display();
    let there = match fs::metadata(directory.to_string()) {
        Ok(there) if there.is_dir() => there,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
        _ => {
            return Some(format!(
                "Postfix makes this table itself, and {directory} is not there: {advice}"
            ));
        }
    };
    let postfix = User::from_name("postfix").ok().flatten().map(|user| user.uid.as_raw());
    let mode = there.permissions().mode();
    let may_write = (postfix == Some(there.uid()) && mode & 0o200 != 0) || mode & 0o002 != 0;
    (!may_write).then(|| format!("Postfix makes this table itself, and may not write in {directory}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_postfix_may_write() {
        assert!(is_one("smtp_tls_session_cache_database") && is_one("postscreen_cache_map"));
        assert!(!is_one("virtual_alias_maps"));
        let at = |path: &Path| wrong(&format!("btree:{}", path.display()));
        assert_eq!(at(&data_directory().join("verify")), None);
        assert_eq!(wrong("btree:$data_directory/verify"), None);
        let directory = tempfile::tempdir().unwrap();
        let refused = at(&directory.path().join("verify")).unwrap();
        assert!(refused.contains("may not write") && refused.contains("/run/mailroom/postfix"));
        assert!(at(Path::new("/nonexistent/verify")).unwrap().contains("is not there"));
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(at(&directory.path().join("verify")), None);
    }
}
