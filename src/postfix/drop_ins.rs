//! The lines of drop-in files, with where they stand.

use super::master_cf::{self, Service};
use super::variables::PARAMETER;
use crate::report::Mistake;
use crate::settings::{DropIn, Line};
use crate::values::kind;

fn mistake(file: &DropIn, number: usize, value: &str, reason: &str) -> Mistake {
    Mistake::new(format!("{}:{number}", file.path.display()), value, reason)
}

/// `name = value` lines, as the variables that would set them; one that begins with white space continues the one before it
/// (postconf(5)).
pub fn main_cf(file: &DropIn) -> Vec<Result<Line, Mistake>> {
    let blanks = |(number, line): (usize, String)| (number, line.replace('\t', " "));
    let read = |(number, line): (usize, String)| match line.split_once('=') {
        _ if kind::one_line(&line).is_err() => Err(mistake(file, number, "", "holds control characters")),
        Some((name, value)) if !name.trim().is_empty() => Ok(Line {
            name: format!("{PARAMETER}{}", name.trim()),
            value: value.trim().to_owned(),
            origin: format!("{}:{number}", file.path.display()),
        }),
        _ => Err(mistake(file, number, &line, "must be name = value")),
    };
    master_cf::logical_lines(&file.text)
        .into_iter()
        .map(blanks)
        .map(read)
        .collect()
}

/// A value as a report shows it: a line of a file has no variable's name before it, but the parameter's.
pub fn shown(origin: &str, name: &str, value: &str) -> String {
    if origin.starts_with('/') && !name.is_empty() {
        format!("{name} = {value}")
    } else {
        value.to_owned()
    }
}

/// Services as in master.cf.
pub fn master_cf(file: &DropIn) -> Result<Vec<Service>, Mistake> {
    master_cf::parse_file(&file.path, &file.text).map_err(|(number, reason)| mistake(file, number, "", &reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_mistakes_say_where() {
        let file = DropIn {
            path: "/etc/mailroom/main.cf.d/a.cf".into(),
            text: "# x\na\t=\t1,\n\t2\n\nb=\nnonsense\n".to_owned(),
        };
        let lines = main_cf(&file);
        let first = lines[0].as_ref().unwrap();
        assert_eq!((&*first.name, &*first.value), ("POSTFIX_a", "1, 2"));
        assert_eq!(first.origin, "/etc/mailroom/main.cf.d/a.cf:2");
        assert_eq!(lines[1].as_ref().unwrap().value, "");
        assert_eq!(
            lines[2].as_ref().unwrap_err().variable,
            "/etc/mailroom/main.cf.d/a.cf:6"
        );
    }
}
