//! The process `mailroom policyd`: binds its two sockets as root, gives up every privilege, and answers Postfix and Dovecot on
//! one thread. SIGHUP has it read its settings again; what it has counted stays.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::prctl;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use super::logins::Logins;
use super::submissions::Submissions;
use super::{NAME, OWNER, Settings, auth_policy, config_file, delegation};
use crate::layout::{LOGIN_POLICY_SECRET, LOGIN_POLICY_SERVER, SUBMISSION_POLICY_SOCKET};
use crate::own_daemon;
use crate::system::files::{Owner, at};

/// smtpd(8) runs as this one.
const POSTFIX: Owner = Owner {
    user: "root",
    group: "postfix",
};

/// What is remembered.
pub(super) struct Policies {
    pub(super) logins: Logins,
    pub(super) submissions: Submissions,
}

/// What all connections share.
pub(super) struct Shared {
    policies: Mutex<Policies>,
    /// Dovecot shows it.
    pub(super) secret: String,
    begun: Instant,
}

impl Shared {
    pub(super) fn policies(&self) -> MutexGuard<'_, Policies> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Runs until it is killed.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    prctl::set_name(c"policyd")?;
    let settings = read_settings()?;
    let secret = at(Path::new(LOGIN_POLICY_SECRET), fs::read_to_string(LOGIN_POLICY_SECRET))?;
    let submissions = listen_for_postfix()?;
    let logins = listen_for_dovecot().await?;
    own_daemon::drop_privileges(OWNER)?;
    let shared = Arc::new(Shared {
        policies: Mutex::new(Policies {
            logins: Logins::new(settings.logins),
            submissions: Submissions::new(settings.submission_rate),
        }),
        secret,
        begun: Instant::now(),
    });
    tokio::spawn(take_submissions(submissions, Arc::clone(&shared)));
    tokio::spawn(axum::serve(logins, auth_policy::router(Arc::clone(&shared))).into_future());
    follow_settings(&shared).await
}

fn listen_for_postfix() -> anyhow::Result<UnixListener> {
    let path = Path::new(SUBMISSION_POLICY_SOCKET);
    let bound = || {
        let listener = UnixListener::bind(path)?;
        let (user, group) = POSTFIX.ids()?;
        chown(path, Some(user.as_raw()), Some(group.as_raw()))?;
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(listener)
    };
    Ok(at(path, bound())?)
}

async fn listen_for_dovecot() -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from(LOGIN_POLICY_SERVER);
    TcpListener::bind(address).await.with_context(|| format!("{address}"))
}

async fn take_submissions(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(delegation::serve(stream, Arc::clone(&shared)))),
            // Too many open files, which passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Settings that cannot be read leave those of before in force.
async fn follow_settings(shared: &Shared) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        hangups.recv().await;
        match read_settings() {
            Ok(settings) => {
                let mut policies = shared.policies();
                policies.logins.set(settings.logins);
                policies.submissions.set(settings.submission_rate);
            }
            Err(error) => own_daemon::say(NAME, &format!("the settings stay as they were: {error:#}")),
        }
    }
}

fn read_settings() -> anyhow::Result<Settings> {
    let path = config_file();
    let text = at(&path, fs::read(&path))?;
    serde_json::from_slice(&text).with_context(|| format!("{NAME}: {}", path.display()))
}
