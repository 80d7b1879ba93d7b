//! Services that drop-in files define, on this machine: their programs, ports and users. master(8) ends for a port that it
//! does not know, and starts a program that is not there again and again. Reads only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::User;

use super::master_cf::{self, Service};
use crate::report::Mistake;
use crate::values::nearest;

/// Postfix's programs (`daemon_directory`).
const PROGRAMS: &str = "/usr/lib/postfix/sbin";
/// Names of ports (services(5)).
const PORTS: &str = "/etc/services";

/// What is wrong with them.
pub(super) fn wrong(services: &[Service]) -> Vec<Mistake> {
    let own = services.iter().filter_map(|service| {
        let origin = service.origins.first().filter(|origin| origin.starts_with('/'))?;
        Some((origin, service))
    });
    own.flat_map(|(origin, service)| {
        let shown = format!("{} {} {}", service.name, service.kind, service.program);
        let reasons = program(&service.program)
            .into_iter()
            .chain(needed(service))
            .chain(port(service))
            .chain(command(service));
        reasons
            .map(move |reason| Mistake::new(origin, shown.clone(), reason))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Services of which Postfix's other programs ask what one program alone answers; their names are in main.cf (postconf(5),
/// `*_service_name`), and `virtual` is where mail for accounts goes.
const NEEDED: [&str; 17] = [
    "anvil",
    "bounce",
    "cleanup",
    "defer",
    "error",
    "flush",
    "pickup",
    "proxymap",
    "proxywrite",
    "qmgr",
    "retry",
    "rewrite",
    "showq",
    "tlsmgr",
    "trace",
    "verify",
    "virtual",
];

/// A service that others need may be changed, and stays the same program.
fn needed(service: &Service) -> Option<String> {
    let of_template = master_cf::services()
        .into_iter()
        .find(|other| other.is(&service.name, &service.kind))
        .filter(|other| NEEDED.contains(&other.name.as_str()))?;
    let is_right = service.program == of_template.program
        || (service.name.as_str(), service.program.as_str()) == ("qmgr", "oqmgr");
    (!is_right).then(|| {
        format!(
            "{} has to be {}: mail is lost or stays in the queue with another program; give the service another name",
            service.name, of_template.program
        )
    })
}

/// master(8) would take a path, too, and this image's checks would not know the program by it.
fn program(name: &str) -> Option<String> {
    if name.contains('/') {
        return Some(format!(
            "{name} must be the name of a program in {PROGRAMS}, without a path"
        ));
    }
    if is_program(&Path::new(PROGRAMS).join(name)) {
        return None;
    }
    let entries = fs::read_dir(PROGRAMS).into_iter().flatten().flatten();
    let names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let nearest = nearest(name, names.iter().map(String::as_str))
        .map(|nearest| format!("; did you mean {nearest}?"))
        .unwrap_or_default();
    Some(format!("{name} is not a program in {PROGRAMS}{nearest}"))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o111 != 0)
}

/// Of a listener, `host:port` or `port`.
fn port(service: &Service) -> Option<String> {
    if service.kind != "inet" {
        return None;
    }
    let port = service.name.rsplit(':').next().unwrap_or_default();
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_right = if is_number {
        port.parse::<u16>().is_ok_and(|port| port > 0)
    } else {
        names_a_port(&fs::read_to_string(PORTS).unwrap_or_default(), port)
    };
    (!is_right).then(|| format!("{port} is no port: must be a number of 1 to 65535, or a name in {PORTS}"))
}

/// Whether a line of services(5), `name port/tcp alias…`, is about TCP and has this name.
fn names_a_port(services: &str, name: &str) -> bool {
    let is_it = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (first, port) = (words.next(), words.next().unwrap_or_default());
        port.ends_with("/tcp") && first.into_iter().chain(words).any(|word| word == name)
    };
    services.lines().any(is_it)
}

/// The user and the command of pipe(8) and spawn(8), which die without them.
fn command(service: &Service) -> Option<String> {
    if !["pipe", "spawn"].contains(&service.program.as_str()) {
        return None;
    }
    let argument = |name: &str| {
        service
            .arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(name))
    };
    let (Some(user), Some(command)) = (argument("user="), argument("argv=")) else {
        return Some(format!("{} needs user= and argv=", service.program));
    };
    let user = user.split(':').next().unwrap_or(user);
    if let Ok(None) = User::from_name(user) {
        return Some(format!("user={user}: there is no such user in this container"));
    }
    if ["root", "postfix"].contains(&user) {
        return Some(format!(
            "user={user}: {} runs nothing with that user's rights",
            service.program
        ));
    }
    let is_there = !command.starts_with('/') || is_program(Path::new(command));
    (!is_there).then(|| format!("argv={command}: there is no such program in this container"))
}

#[cfg(test)]
mod tests {
    use super::super::master_cf::parse;
    use super::*;

    #[test]
    fn ports_have_numbers_or_names() {
        let services = "# a\nsmtp\t25/tcp\t\tmail\t# x\nntp 123/udp\n";
        assert!(names_a_port(services, "smtp") && names_a_port(services, "mail"));
        assert!(!names_a_port(services, "ntp") && !names_a_port(services, "x") && !names_a_port(services, ""));
        let refused = |name: &str| port(&parse(&format!("{name} inet n - n - - smtpd\n")).unwrap()[0]).is_some();
        for right in ["10025", "127.0.0.1:10025", "[::1]:1"] {
            assert!(!refused(right), "{right}");
        }
        for wrong in ["0", "99999", "nosuchport", "127.0.0.1:"] {
            assert!(refused(wrong), "{wrong}");
        }
    }

    #[test]
    fn commands_have_a_user() {
        let said = |arguments: &str| command(&parse(&format!("x unix - n n - - pipe {arguments}\n")).unwrap()[0]);
        assert!(said("argv=/bin/sh").is_some_and(|said| said.contains("user=")));
        assert!(said("user=nosuch-user argv=/bin/sh").is_some_and(|said| said.contains("no such user")));
        assert!(said("user=root argv=/bin/sh").is_some_and(|said| said.contains("rights")));
        assert!(said("user=nobody argv=/nope").is_some_and(|said| said.contains("no such program")));
        assert_eq!(said("flags=R user=nobody:nogroup argv=/bin/sh -c x"), None);
    }

    #[test]
    fn programs_have_names() {
        for path in ["./smtp", "../sbin/smtp", "/usr/lib/postfix/sbin/smtp"] {
            assert!(
                program(path).is_some_and(|said| said.contains("without a path")),
                "{path}"
            );
        }
    }

    #[test]
    fn services_that_others_need_stay_what_they_are() {
        let said = |line: &str| needed(&parse(line).unwrap()[0]);
        for (name, program, right) in [
            ("virtual", "discard", "virtual"),
            ("cleanup", "smtp", "cleanup"),
            ("retry", "discard", "error"),
            ("rewrite", "virtual", "trivial-rewrite"),
        ] {
            let reason = said(&format!("{name} unix - - n - - {program}\n"));
            assert!(
                reason.is_some_and(|said| said.contains(&format!("has to be {right}"))),
                "{name}"
            );
            assert_eq!(said(&format!("{name} unix - - n - 1 {right}\n")), None);
        }
        for line in [
            "smtp unix - - n - - discard\n",
            "qmgr unix n - n 300 1 oqmgr\n",
            "out unix - - n - - smtp\n",
        ] {
            assert_eq!(said(line), None, "{line}");
        }
    }
}
