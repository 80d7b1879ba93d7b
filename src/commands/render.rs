//! `mailroom render`: what would be written, and what would change. Secrets are not shown.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::bail;
use similar::TextDiff;

use super::decide;
use super::output::print;
use crate::layout::{RELAY_LOGIN, USERS_FILE};
use crate::plan::File;
use crate::secrets::{HIDDEN, Secrets};
use crate::settings::Environment;

/// Prints the files at or below `path`, or all; with `diff`, how they differ from what is there. Tables that were built are
/// no text: their sources are shown.
pub fn run(environment: &Environment, path: Option<&Path>, diff: bool) -> anyhow::Result<u8> {
    decide::run(environment, |desired, staged| {
        let is_text = |file: &&File| std::str::from_utf8(&file.bytes).is_ok_and(|text| !text.contains('\0'));
        let wanted = |file: &&File| path.is_none_or(|path| file.path.starts_with(path));
        let texts: Vec<&File> = staged.files.iter().filter(is_text).collect();
        let files: Vec<&&File> = texts.iter().filter(|file| wanted(file)).collect();
        if files.is_empty() {
            let paths: Vec<String> = texts.iter().map(|file| file.path.display().to_string()).collect();
            bail!("no such file is written; these are:\n  {}", paths.join("\n  "));
        }
        for file in files {
            show(file, &desired.secrets, diff, path != Some(&*file.path))?;
        }
        Ok(())
    })
}

fn show(file: &File, secrets: &Secrets, diff: bool, named: bool) -> anyhow::Result<()> {
    let path = file.path.display();
    if !diff {
        if named {
            print(format_args!(
                "==> {path} ({}:{} {:04o})",
                file.owner.user, file.owner.group, file.mode
            ));
        }
        print(shown(&file.path, &String::from_utf8_lossy(&file.bytes), secrets));
        return Ok(());
    }
    let old = match fs::read(&file.path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => bail!("{path}: {error}"),
    };
    let mode = fs::metadata(&file.path).map(|there| there.permissions().mode()).ok();
    let difference = difference(file, &old, mode);
    if !difference.is_empty() {
        print(difference.trim_end_matches('\n'));
    }
    Ok(())
}

/// How a file differs from what is there; nothing where it does not. What others may not read may hold secrets, and those
/// of an earlier start are not known any more: of such a file only that it differs.
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

/// Without secrets, and without the hashes of passwords.
fn shown(path: &Path, text: &str, secrets: &Secrets) -> String {
    if path == Path::new(RELAY_LOGIN) {
        let line = |line: &str| match line
            .split_once(' ')
            .and_then(|(host, login)| Some((host, login.split_once(':')?.0)))
        {
            Some((host, user)) if !line.starts_with('#') => format!("{host} {user}:{HIDDEN}\n"),
            _ => format!("{line}\n"),
        };
        return text.lines().map(line).collect();
    }
    if path != Path::new(USERS_FILE) {
        return secrets.hide_in_file(text);
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
}
