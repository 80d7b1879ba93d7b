//! Children: spawned here, and waited for here alone.
//!
//! `waitpid(-1)` beside any other wait in the same process loses exit statuses, so this is the only place that waits:
//! for daemons, for helper commands and for orphans. It runs on one thread; spawning and registering a child cannot be
//! interrupted by a reap.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::pidfd;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone; whose child it was, only its parent learnt how.
    Unknown,
}

impl Exit {
    /// Exit code 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal(signal) => match Signal::try_from(*signal) {
                Ok(name) => write!(f, "was ended by {name}"),
                Err(_) => write!(f, "was ended by signal {signal}"),
            },
            Exit::Unknown => write!(f, "ended"),
        }
    }
}

/// What a helper command printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A child that runs.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: Pid,
    /// The reading end of its standard output.
    pub stdout: pipe::Receiver,
    /// The reading end of its standard error.
    pub stderr: pipe::Receiver,
    /// Resolves when it has ended.
    pub exit: oneshot::Receiver<Exit>,
}

/// The one owner of wait(). Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    waiting: Rc<RefCell<HashMap<Pid, oneshot::Sender<Exit>>>>,
}

impl Processes {
    /// Makes orphans come to us: to PID 1 they do, and to any other child subreaper (prctl(2)). Nothing is reaped until
    /// [`Signals::listen`](super::signals::Signals::listen) hears of children that end.
    pub fn start() -> io::Result<Processes> {
        if !is_first() {
            nix::sys::prctl::set_child_subreaper(true)?;
        }
        Ok(Processes::default())
    }

    /// Takes every status there is: those of our children are handed on, those of orphans end here.
    ///
    /// SIGCHLD is not queued: one may stand for many children.
    pub fn reap(&self) {
        while let Some((pid, status)) = pidfd::wait() {
            let exit = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (_, Some(signal)) => Exit::Signal(signal),
                (None, None) => continue,
            };
            if let Some(waiting) = self.waiting.borrow_mut().remove(&pid) {
                // The receiver may be gone, as after a helper's deadline.
                let _ = waiting.send(exit);
            }
        }
    }

    /// Spawns a command with empty standard input and with pipes for its output.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.spawn_fed(command, Stdio::null())
    }

    /// The same with other standard input.
    ///
    /// The child has only file descriptors 0 to 2 (all of ours are close-on-exec), an empty signal mask and default
    /// signal dispositions.
    fn spawn_fed(&self, command: &mut Command, input: Stdio) -> io::Result<Child> {
        let (stdout, child_stdout) = std::io::pipe()?;
        let (stderr, child_stderr) = std::io::pipe()?;
        let stdout = receiver(stdout.into())?;
        let stderr = receiver(stderr.into())?;
        command
            .stdin(input)
            .stdout(child_stdout)
            .stderr(child_stderr)
            .current_dir("/");
        let spawned = command.spawn();
        // The command keeps our copies of the writing ends open: the pipes would never end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pid = Pid::from_raw(spawned?.id().cast_signed());
        Ok(Child {
            pid,
            stdout,
            stderr,
            exit: self.watch(pid),
        })
    }

    /// Resolves when `pid` has ended, if it is or becomes our child.
    pub fn watch(&self, pid: Pid) -> oneshot::Receiver<Exit> {
        let (sender, exit) = oneshot::channel();
        self.waiting.borrow_mut().insert(pid, sender);
        exit
    }

    /// Runs a helper command to its end; past the deadline it is killed and an error says so.
    pub async fn output(&self, command: &mut Command, deadline: Duration) -> io::Result<Output> {
        self.output_fed(command, Stdio::null(), deadline).await
    }

    /// The same for one that reads its standard input.
    pub async fn output_fed(&self, command: &mut Command, input: Stdio, deadline: Duration) -> io::Result<Output> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = at_program(&program, self.spawn_fed(command.process_group(0), input))?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let work = async {
            let (exit, read_stdout, read_stderr) = tokio::join!(
                &mut child.exit,
                child.stdout.read_to_end(&mut stdout),
                child.stderr.read_to_end(&mut stderr)
            );
            read_stdout?;
            read_stderr?;
            Ok(exit.unwrap_or(Exit::Unknown))
        };
        let Ok(exit) = tokio::time::timeout(deadline, work).await else {
            let _ = nix::sys::signal::killpg(child.pid, Signal::SIGKILL);
            let late = format!("{program} did not end within {deadline:?} and was killed");
            return Err(io::Error::new(io::ErrorKind::TimedOut, late));
        };
        let exit = at_program(&program, exit)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output {
            exit,
            stdout: text(stdout),
            stderr: text(stderr),
        })
    }
}

/// Whether this is PID 1 of its PID namespace.
pub fn is_first() -> bool {
    Pid::this() == Pid::from_raw(1)
}

/// Closes file descriptors that our parent left open: they would stay open in every daemon.
pub fn drop_inherited_descriptors() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers: Vec<i32> = open
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in numbers.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one that listed them is closed already, which is an error of no interest.
        let _ = nix::unistd::close(descriptor);
    }
}

fn receiver(fd: OwnedFd) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(fd)
}

fn at_program<T>(program: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, work)
    }

    /// Reaping takes all children of the test process, so everything about it is in one test.
    #[test]
    fn no_status_is_lost() {
        run(async {
            let processes = Processes::start().unwrap();
            let signals = crate::system::signals::Signals::of_children().unwrap();
            signals.listen(processes.clone()).unwrap();
            let second = Duration::from_secs(60);
            let mut children = Vec::new();
            for _ in 0..500 {
                let mut command = Command::new("sh");
                children.push(processes.spawn(command.args(["-c", "exit 3"])).unwrap().exit);
            }
            for exit in children {
                assert_eq!(
                    tokio::time::timeout(second, exit).await.unwrap().unwrap(),
                    Exit::Code(3)
                );
            }

            let mut command = Command::new("sh");
            let output = processes
                .output(command.args(["-c", "echo a; echo b >&2; kill -9 $$"]), second)
                .await
                .unwrap();
            assert_eq!(
                (output.exit, &*output.stdout, &*output.stderr),
                (Exit::Signal(9), "a\n", "b\n")
            );

            // The first number behind those that glibc keeps for itself.
            let mut command = Command::new("sh");
            let output = processes
                .output(command.args(["-c", "kill -40 $$"]), second)
                .await
                .unwrap();
            assert_eq!(output.exit, Exit::Signal(40), "real-time signals have no names");

            let missing = processes
                .output(&mut Command::new("/nonexistent"), second)
                .await
                .unwrap_err();
            assert!(missing.to_string().starts_with("/nonexistent: "), "{missing}");

            let mut slow = Command::new("sleep");
            let late = processes
                .output(slow.arg("60"), Duration::from_millis(50))
                .await
                .unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        });
    }
}
