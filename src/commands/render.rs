//! `mailroom render`: what would be written, and what would change. Secrets are not shown.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::bail;
use similar::TextDiff;

use super::draft;
use crate::dovecot;
use crate::plan::File;
use crate::settings::Environment;
use crate::settings::report::HIDDEN;

/// Prints the files at or below `path`, or all; with `diff`, how they differ from what is there.
pub fn run(environment: &Environment, path: Option<&Path>, diff: bool) -> anyhow::Result<u8> {
    draft::run(environment, async |settings, draft, _| {
        let wanted = |file: &&File| path.is_none_or(|path| file.path.starts_with(path));
        let files: Vec<&File> = draft.plan.files.iter().filter(wanted).collect();
        if files.is_empty() {
            let paths: Vec<String> = draft
                .plan
                .files
                .iter()
                .map(|file| file.path.display().to_string())
                .collect();
            bail!("no such file is written; these are:\n  {}", paths.join("\n  "));
        }
        for file in files {
            print(file, &settings.secrets, diff, path != Some(&*file.path))?;
        }
        Ok(())
    })
}

fn print(file: &File, secrets: &BTreeSet<String>, diff: bool, named: bool) -> anyhow::Result<()> {
    let path = file.path.display();
    if !diff {
        if named {
            println!(
                "==> {path} ({}:{} {:04o})",
                file.owner.user, file.owner.group, file.mode
            );
        }
        println!("{}", hidden(&file.path, &String::from_utf8_lossy(&file.bytes), secrets));
        return Ok(());
    }
    let old = match fs::read(&file.path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => bail!("{path}: {error}"),
    };
    let mode = fs::metadata(&file.path).map(|there| there.permissions().mode()).ok();
    print!("{}", difference(file, &old, mode));
    Ok(())
}

/// How a file differs from what is there; nothing where it does not. What others may not read may hold secrets, and those
/// of yesterday nobody knows any more: of such a file only that it differs.
fn difference(file: &File, old: &[u8], mode: Option<u32>) -> String {
    let path = file.path.display();
    let is_secret = |mode: u32| mode & 0o004 == 0;
    if old == file.bytes {
        String::new()
    } else if is_secret(file.mode) || mode.is_some_and(is_secret) {
        format!("--- {path} (there)\n+++ {path} (rendered)\ndiffers, and may hold secrets: not shown\n")
    } else {
        TextDiff::from_lines(&String::from_utf8_lossy(old), &String::from_utf8_lossy(&file.bytes))
            .unified_diff()
            .header(&format!("{path} (there)"), &format!("{path} (rendered)"))
            .to_string()
    }
}

/// Without secrets, and without the hashes of passwords. Of two secrets one may hold the other: the longer goes first.
fn hidden(path: &Path, text: &str, secrets: &BTreeSet<String>) -> String {
    let mut secrets: Vec<&String> = secrets.iter().collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let text = secrets
        .into_iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
    if path != dovecot::users_file() {
        return text;
    }
    let line = |line: &str| match line
        .split_once(':')
        .and_then(|(user, rest)| Some((user, rest.split_once(':')?.1)))
    {
        Some((user, rest)) if !line.starts_with('#') => format!("{user}:{HIDDEN}:{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_yesterday_is_not_shown() {
        let file = |mode: u32| File {
            mode,
            ..File::public("/x", "password new\n".to_owned())
        };
        let old = b"password old\n";
        assert!(difference(&file(0o644), old, Some(0o644)).contains("-password old\n+password new\n"));
        for (planned, there) in [(0o600, Some(0o644)), (0o644, Some(0o600)), (0o640, None)] {
            let shown = difference(&file(planned), old, there);
            assert!(shown.contains("differs") && !shown.contains("password"), "{shown}");
        }
        assert_eq!(difference(&file(0o600), b"password new\n", Some(0o600)), "");
    }

    #[test]
    fn a_secret_within_a_secret_is_hidden() {
        let secrets = BTreeSet::from(["abc".to_owned(), "xabcx".to_owned()]);
        assert_eq!(hidden(Path::new("/x"), "a xabcx abc", &secrets), "a <hidden> <hidden>");
    }
}
