//! A made-up daemon for the tests of the house: it greets on a port. `test_house.py` adds this folder as `src/greeter`, and
//! its line to the list of daemons. It has all that a daemon may have: variables, a file, a checker, a service that needs
//! another's socket, a probe, log lines, work to finish.

use std::path::{Path, PathBuf};

use crate::daemon::{Basis, Checker, Configured, Daemon, Findings, Grammar, Part, Set, Shape, Work};
use crate::health::Named;
use crate::layout::{AUTH_SOCKET, RUN_DIRECTORY};
use crate::logs::fields::Fields;
use crate::logs::lines::LogLines;
use crate::plan::{File, Plan};
use crate::probes::{Greeting, Probe};
use crate::report::{Mistake, Report};
use crate::secrets::Secrets;
use crate::settings::table::{Table, Variable};
use crate::settings::{DropIn, Environment, Knowledge, Line, Names, Reader, Values};
use crate::site::Site;
use crate::staging::{LIMIT, Staging};
use crate::supervise::service::{Drain, Preparation, Readiness, Service, StopShare};
use crate::system::files::Owner;
use crate::system::processes::Processes;
use crate::system::programs::Program;
use crate::values::kind::Kind;

/// The daemon itself: a script for perl(1), which the image has.
const SCRIPT: &str = include_str!("greeter.pl");

static VARIABLES: [Variable; 2] = [
    Variable {
        name: "GREETER_WORD",
        kind: Kind::Text,
        default: "hello",
        help: "What it says.",
        parameter: Some("word"),
        ..Variable::NEW
    },
    Variable {
        name: "GREETER_PORT",
        kind: Kind::Number { unit: "ports" },
        default: "7000",
        help: "Where it says that.",
        ..Variable::NEW
    },
];

/// The daemon.
#[derive(Debug)]
pub struct Greeter;

impl Daemon for Greeter {
    fn variables(&self) -> &'static [Variable] {
        &VARIABLES
    }

    fn shapes(&self) -> &'static [Shape] {
        &[]
    }

    fn log_lines(&self) -> LogLines {
        LogLines {
            service: "greeter",
            file: "/var/log/greeter.log",
            is_own: |program| program == "greeter",
            is_probe: |record, _| record.message() == "greeted 127.0.0.9",
            credentials: |_| None,
            trouble: |_| None,
            bare: |_| None,
            fields: |_| Fields::default(),
            counts: |_, _| {},
            means: |_| None,
        }
    }

    fn learn<'a>(&'a self, _: &'a Environment, _: &'a Table, _: &'a Processes) -> Work<'a, Box<dyn Grammar>> {
        Box::pin(async {
            let grammar: Box<dyn Grammar> = Box::new(Shapes);
            Ok(grammar)
        })
    }
}

#[derive(Debug)]
struct Shapes;

impl Names for Shapes {
    fn prefixes(&self) -> &'static [&'static str] {
        &["GREETER_"]
    }

    fn knows(&self, _: &str, _: &str) -> Knowledge {
        Knowledge::No
    }

    fn drop_in_directories(&self) -> &'static [&'static str] {
        &[]
    }

    fn lines(&self, _: &str, _: &DropIn) -> Vec<Result<Line, Mistake>> {
        Vec::new()
    }
}

impl Grammar for Shapes {
    fn check(&self, variable: &Variable, canonical: &str) -> Result<(), String> {
        if variable.name == "GREETER_WORD" && canonical == "bye" { Err("is no greeting".to_owned()) } else { Ok(()) }
    }

    fn read(self: Box<Self>, reader: &mut Reader) -> Box<dyn Configured> {
        for other in reader.others("GREETER_") {
            let reason = reader.unknown(&other.name, "is not a variable of the greeter", &[]);
            reader.mistake(&other.name, reason);
        }
        Box::new(Settings::default())
    }
}

#[derive(Debug, Default, serde::Deserialize)]
struct Settings {
    #[serde(rename = "greeter_word")]
    word: String,
    #[serde(rename = "greeter_port")]
    port: u16,
}

impl Configured for Settings {
    fn examine(&mut self, _: &Site, values: &Values) -> anyhow::Result<Vec<Mistake>> {
        *self = envy::from_iter(values.pairs())?;
        Ok(Vec::new())
    }

    fn count(&self) -> usize {
        0
    }

    fn settings(&self) -> Vec<Set> {
        vec![Set {
            name: "word".to_owned(),
            origin: "GREETER_WORD".to_owned(),
            value: self.word.clone(),
        }]
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn read_at_start(&self, _: &Site) -> Option<(&'static str, String)> {
        Some(("the greeter's port", self.port.to_string()))
    }

    fn part(&self, basis: &Basis) -> anyhow::Result<Part> {
        let probe = Probe::Greeting(Greeting {
            address: ([127, 0, 0, 1], self.port).into(),
            source: "127.0.0.9".parse().ok(),
            begins: "220 ".to_owned(),
            goodbye: "QUIT".to_owned(),
            tls: false,
            most: None,
        });
        let mut plan = Plan::default();
        plan.directory(directory(), Owner::ROOT, 0o755);
        plan.files.push(File::public(directory().join("greeter.pl"), SCRIPT.to_owned()));
        plan.files.push(File::public(config(), self.config("")));
        Ok(Part {
            service: Some(self.service(basis.environment, &probe)),
            checker: Box::new(ConfigChecker(config())),
            probes: vec![Named {
                name: "greeter".to_owned(),
                probe,
                essential: true,
            }],
            plan,
            account_files: None,
        })
    }
}

fn directory() -> PathBuf {
    Path::new(RUN_DIRECTORY).join("greeter")
}

fn config() -> PathBuf {
    directory().join("greeter.conf")
}

impl Settings {
    /// The configuration; `closing` makes it turn new clients away.
    fn config(&self, closing: &str) -> String {
        format!("# GREETER_WORD\nword = {}\nport = {}\n{closing}", self.word, self.port)
    }

    fn service(&self, environment: &[(String, String)], probe: &Probe) -> Service {
        let script = directory().join("greeter.pl").display().to_string();
        Service {
            name: "greeter",
            command: vec!["/usr/bin/perl".to_owned(), script.clone(), config().display().to_string()],
            environment: environment.to_vec(),
            essential: true,
            own_group: true,
            needs: vec![AUTH_SOCKET.into()],
            provides: Vec::new(),
            stale_files: Vec::new(),
            preparations: vec![Preparation::Run(vec!["/usr/bin/perl".to_owned(), "-c".to_owned(), script])],
            ready: Readiness::Answers(probe.clone()),
            pid_file: directory().join("pid"),
            process: "greeter",
            reads: vec![directory()],
            reload_guard: None,
            drain: Some(Drain {
                closing: vec![File::public(config(), self.config("closing = yes\n"))],
                ports: vec![self.port],
                queues: Vec::new(),
                dispatcher: "none",
                handed_out: Vec::new(),
            }),
            stop_share: StopShare { drain: 10, end: 10 },
            stop_order: Vec::new(),
        }
    }
}

/// The script reads its own configuration.
#[derive(Debug)]
struct ConfigChecker(PathBuf);

const PERL: Program = Program {
    name: "perl",
    package: "perl-base",
    directories: "/usr/bin",
};

impl Checker for ConfigChecker {
    fn check<'a>(&'a self, staging: &'a Staging, processes: &'a Processes) -> Work<'a, Findings> {
        Box::pin(async move {
            let mut command = PERL.command()?;
            command.arg(staging.at(&directory().join("greeter.pl"))).arg("-c").arg(staging.at(&self.0));
            let output = processes.output(&mut command, LIMIT).await?;
            if output.exit.is_success() {
                return Ok(Findings::default());
            }
            let said = output.stderr.trim();
            let mistake = Mistake::new("GREETER_WORD", said, "is refused by the greeter");
            Err(Report::of(vec![mistake], &Secrets::default()).into())
        })
    }
}
