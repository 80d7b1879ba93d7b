//! `mailroom render`: what would be written, and what would change. Secrets are not shown.

use std::collections::BTreeSet;
use std::fs;
use std::io;
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
    let new = hidden(&file.path, &String::from_utf8_lossy(&file.bytes), secrets);
    if !diff {
        if named {
            println!(
                "==> {path} ({}:{} {:04o})",
                file.owner.user, file.owner.group, file.mode
            );
        }
        println!("{new}");
        return Ok(());
    }
    let old = match fs::read(&file.path) {
        Ok(old) => hidden(&file.path, &String::from_utf8_lossy(&old), secrets),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => bail!("{path}: {error}"),
    };
    if old != new {
        print!(
            "{}",
            TextDiff::from_lines(&old, &new)
                .unified_diff()
                .header(&format!("{path} (there)"), &format!("{path} (rendered)"))
        );
    }
    Ok(())
}

/// Without secrets, and without the hashes of passwords.
fn hidden(path: &Path, text: &str, secrets: &BTreeSet<String>) -> String {
    let text = secrets
        .iter()
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
