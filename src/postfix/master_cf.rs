//! master.cf as values: services with their fields and `-o` options (master(5)).

use std::fmt;
use std::path::Path;

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name: a port or a socket.
    pub name: String,
    /// `inet`, `unix`, `unix-dgram`, `fifo` or `pass`.
    pub kind: String,
    /// private, unprivileged, chroot, wakeup, process limit.
    pub fields: [String; 5],
    /// The program.
    pub program: String,
    /// `-o name=value`, in order.
    pub options: Vec<(String, String)>,
    /// What comes behind the options, as it stands.
    pub arguments: Vec<String>,
    /// The variables, or the file and line, that make it what it is.
    pub origins: Vec<String>,
}

/// The place of the process limit among the fields.
pub const PROCESS_LIMIT: usize = 4;
const WAKEUP: usize = 3;

/// The fields that may be set, by their names in `postconf -F`.
pub const FIELDS: [(&str, usize); 2] = [("process_limit", PROCESS_LIMIT), ("wakeup", WAKEUP)];

impl Service {
    /// Whether it is the one of that name and type.
    pub fn is(&self, name: &str, kind: &str) -> bool {
        self.name == name && self.kind == kind
    }

    /// Its name in an environment variable: `submission_inet`, `postlog_unix_dgram`.
    pub fn variable(&self) -> String {
        format!("{}_{}", self.name, self.kind)
            .replace('-', "_")
            .to_ascii_lowercase()
    }

    /// Sets an option, in place of an earlier one.
    pub fn set_option(&mut self, name: &str, value: &str) {
        let setting = (name.to_owned(), value.to_owned());
        match self.options.iter_mut().find(|(there, _)| there == name) {
            Some(there) => *there = setting,
            None => self.options.push(setting),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for origin in &self.origins {
            writeln!(f, "# {origin}")?;
        }
        let [private, unprivileged, chroot, wakeup, limit] = &self.fields;
        writeln!(
            f,
            "{:<11} {:<6} {private:<7} {unprivileged:<6} {chroot:<6} {wakeup:<6} {limit:<7} {}",
            self.name, self.kind, self.program
        )?;
        for (name, value) in &self.options {
            // Braces keep white space together.
            if value.contains(char::is_whitespace) {
                writeln!(f, "    -o {{ {name} = {value} }}")?;
            } else {
                writeln!(f, "    -o {name}={value}")?;
            }
        }
        if !self.arguments.is_empty() {
            writeln!(f, "    {}", self.arguments.join(" "))?;
        }
        Ok(())
    }
}

/// The template, before anything is filled in.
pub const TEMPLATE: &str = include_str!("../../templates/master.cf");

/// Its services.
pub fn services() -> Vec<Service> {
    parse(TEMPLATE).unwrap_or_default()
}

/// The lines of main.cf or master.cf, with their numbers from 1: comments left out, and lines that begin with white space
/// joined to the one that they continue (postconf(5)).
pub fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with(char::is_whitespace) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push((number, line.trim_end().to_owned())),
        }
    }
    lines
}

/// Reads services. An error names the line, counted from 1, and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Service>, (usize, String)> {
    let services = numbered(text)?;
    Ok(services.into_iter().map(|(_, service)| service).collect())
}

/// Reads services of which each remembers the file and its line.
pub fn parse_file(path: &Path, text: &str) -> Result<Vec<Service>, (usize, String)> {
    let remembered = |(number, service): (usize, Service)| {
        right_fields(&service).map_err(|reason| (number, reason))?;
        Ok(Service {
            origins: vec![format!("{}:{number}", path.display())],
            ..service
        })
    };
    numbered(text)?.into_iter().map(remembered).collect()
}

/// What postconf(1) wants of the fields (master(5)).
fn right_fields(service: &Service) -> Result<(), String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let [private, unprivileged, chroot, wakeup, limit] = &service.fields;
    for (name, value) in [("private", private), ("unpriv", unprivileged), ("chroot", chroot)] {
        if !["-", "y", "n"].contains(&value.as_str()) {
            return Err(format!("{value}: {name} must be y, n or -"));
        }
    }
    if wakeup != "-" && !is_number(wakeup.trim_end_matches('?')) {
        return Err(format!(
            "{wakeup}: wakeup must be a number of seconds, perhaps with a ? behind it, or -"
        ));
    }
    if limit != "-" && !is_number(limit) {
        return Err(format!("{limit}: maxproc must be a number of processes, or -"));
    }
    Ok(())
}

fn numbered(text: &str) -> Result<Vec<(usize, Service)>, (usize, String)> {
    logical_lines(text)
        .into_iter()
        .map(|(number, line)| match service(&line) {
            Ok(service) => Ok((number, service)),
            Err(reason) => Err((number, reason)),
        })
        .collect()
}

fn service(line: &str) -> Result<Service, String> {
    if line.starts_with(char::is_whitespace) {
        return Err("continues a service, and there is none before it".to_owned());
    }
    let words = words(line)?;
    let [
        name,
        kind,
        private,
        unprivileged,
        chroot,
        wakeup,
        limit,
        program,
        arguments @ ..,
    ] = &*words
    else {
        return Err("must be: service type private unpriv chroot wakeup maxproc command".to_owned());
    };
    if !["inet", "unix", "unix-dgram", "fifo", "pass"].contains(&kind.as_str()) {
        return Err(format!(
            "{kind}: a service's type must be inet, unix, unix-dgram, fifo or pass"
        ));
    }
    let mut service = Service {
        name: name.clone(),
        kind: kind.clone(),
        fields: [private, unprivileged, chroot, wakeup, limit].map(Clone::clone),
        program: program.clone(),
        options: Vec::new(),
        arguments: Vec::new(),
        origins: Vec::new(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if let Some(behind) = option_of(word) {
            let text = if behind.is_empty() {
                words.next().map_or("", String::as_str)
            } else {
                behind
            };
            let (name, value) = option(text)?;
            service.set_option(&name, &value);
            continue;
        }
        service.arguments.push(word.clone());
        // From here on everything is the program's own: the `-o` of another command behind argv=, perhaps.
        if !word.starts_with('-') {
            service.arguments.extend(words.by_ref().cloned());
        }
    }
    Ok(service)
}

/// What stands behind the `o` of `-o`, of `-oname=value` and of `-vo`: getopt(3) takes them for the same.
fn option_of(word: &str) -> Option<&str> {
    word.strip_prefix('-')?.trim_start_matches(['v', 'D']).strip_prefix('o')
}

/// What stands behind `-o`: `name=value`, or `{ name = value }`.
pub(super) fn option(text: &str) -> Result<(String, String), String> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(text);
    let (name, value) = inner
        .split_once('=')
        .ok_or_else(|| format!("-o {text}: must be name=value"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Splits at white space outside braces.
fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0_u32);
    for c in line.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1).ok_or("has a } without a {")?,
            c if c.is_whitespace() && depth == 0 => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if depth > 0 {
        return Err("has a { without a }".to_owned());
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_and_written() {
        let text = "# comment\nsmtp inet n - n - 5 smtpd -v\n  -o a=b\n  -o { c = d e }\n\nsmtp unix - - n - - smtp\n";
        let mut services = parse(text).unwrap();
        assert_eq!(services.len(), 2);
        assert_eq!(services[0].program, "smtpd");
        assert_eq!(services[0].arguments, ["-v"]);
        assert_eq!(
            services[0].options,
            [("a".into(), "b".into()), ("c".into(), "d e".into())]
        );
        assert_eq!(services[0].variable(), "smtp_inet");
        services[0].set_option("a", "z");
        let written = services[0].to_string();
        assert_eq!(parse(&written).unwrap(), services[..1]);
        assert!(written.contains("    -o a=z\n    -o { c = d e }\n"), "{written}");
    }

    #[test]
    fn options_stand_before_the_programs_own_arguments() {
        let policy = "policy unix - n n - 0 spawn -o x_time_limit=3600 user=nobody argv=/usr/bin/policyd -o b=c";
        let service = &parse(policy).unwrap()[0];
        assert_eq!(service.options, [("x_time_limit".into(), "3600".into())]);
        assert_eq!(service.arguments, ["user=nobody", "argv=/usr/bin/policyd", "-o", "b=c"]);
        let written = service.to_string();
        assert!(
            written.ends_with(" spawn\n    -o x_time_limit=3600\n    user=nobody argv=/usr/bin/policyd -o b=c\n"),
            "{written}"
        );
        assert_eq!(&parse(&written).unwrap()[0], service);
    }

    #[test]
    fn options_as_getopt_reads_them() {
        for written in ["-o a=b", "-oa=b", "-vo a=b", "-vvoa=b"] {
            let service = &parse(&format!("x unix - - n - - smtp {written}\n")).unwrap()[0];
            assert_eq!(service.options, [("a".into(), "b".into())], "{written}");
            assert!(service.arguments.is_empty(), "{written}");
        }
    }

    #[test]
    fn wrong_lines_are_named() {
        assert_eq!(parse("\n  -o a=b\n").unwrap_err().0, 2);
        assert_eq!(parse("smtp inet n - n - - smtpd\nx y\n").unwrap_err().0, 2);
        assert!(parse("smtp tcp n - n - - smtpd\n").unwrap_err().1.contains("inet"));
        for line in [
            "x - n - - smtpd",
            "n - x - - smtpd",
            "n - n x - smtpd",
            "n - n - 1x smtpd",
        ] {
            let said = parse_file(Path::new("/x"), &format!("# a\n25 inet {line}\n")).unwrap_err();
            assert!(said.0 == 2 && said.1.contains("must be"), "{said:?}");
        }
        assert!(
            parse("smtp inet n - n - - smtpd -o { a = b\n")
                .unwrap_err()
                .1
                .contains('{')
        );
        assert!(
            parse("smtp inet n - n - - smtpd -o a\n")
                .unwrap_err()
                .1
                .contains("name=value")
        );
    }
}
