//! Reloads: the same road again, for daemons that run. Services whose files have changed are reloaded, the others are left
//! alone; when anything is refused, the running configuration stays in use.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::Instrument;

use super::{InForce, Origin, Wish, configure_logs};
use crate::accounts::change::Change;
use crate::accounts::known::Kept;
use crate::control::Answer;
use crate::provision::notices::Notices;
use crate::provision::{Fingerprints, Provisioned, desired, provision, provision_accounts, read};
use crate::report::Mistake;
use crate::site::MAILBOXES;
use crate::supervise::Request;
use crate::supervise::service::Service;
use crate::system::memory;
use crate::system::panics;

/// What a reload says that has found everything as it was.
const NOTHING: &str = "Reloaded: nothing has changed";

/// Longest that a reload is waited for: who waits for its outcome is told then.
const IN_FORCE: Duration = Duration::from_secs(2);

/// Does reloads, one at a time.
pub(super) struct Reload {
    origin: Origin,
    in_force: InForce,
    requests: UnboundedSender<Request>,
}

impl Reload {
    pub(super) fn new(origin: Origin, in_force: InForce, requests: UnboundedSender<Request>) -> Reload {
        Reload {
            origin,
            in_force,
            requests,
        }
    }

    /// Fulfils wishes, for ever. One reload fulfils all that there are.
    pub(super) async fn serve(mut self, mut wishes: UnboundedReceiver<Wish>) {
        while let Some(first) = wishes.recv().await {
            let mut all = vec![first];
            while let Ok(more) = wishes.try_recv() {
                all.push(more);
            }
            let (changes, outcomes): (Vec<_>, Vec<_>) = all.into_iter().map(|wish| (wish.change, wish.outcome)).unzip();
            let span = tracing::info_span!("reload");
            let work = self.with_changes(changes).instrument(span);
            let said = Box::pin(panics::contain_future(work)).await;
            memory::give_back();
            let said = said
                .unwrap_or_else(|| vec![Answer::Refused("an internal error, told above".to_owned()); outcomes.len()]);
            for (outcome, said) in outcomes.into_iter().zip(said) {
                let _ = outcome.map(|outcome| outcome.send(said));
            }
        }
    }

    /// Makes these changes of accounts and reads everything again; returns the outcome of each wish.
    async fn with_changes(&mut self, changes: Vec<Option<Change>>) -> Vec<Answer> {
        let declared = self.in_force.declared.clone();
        let kept = spawn_blocking(move || Kept::read_beside(declared)).await;
        let kept = match kept.map_err(anyhow::Error::from).flatten() {
            Ok(kept) => kept,
            Err(error) => return vec![Answer::Refused(format!("{error:#}")); changes.len()],
        };
        let mut known = kept.known();
        let site = &self.in_force.read.site;
        let made = |change: Option<Change>| change.map(|change| change.apply(&mut known, site));
        let made: Vec<Option<Result<String, String>>> = changes.into_iter().map(made).collect();
        if made.iter().all(|made| matches!(made, Some(Err(_)))) {
            let wrong = made.into_iter().flatten().filter_map(Result::err);
            return wrong.map(Answer::Wrong).collect();
        }
        let is_asked_for = made.iter().any(Option::is_none);
        let holds =
            !is_asked_for && kept.live.domains == known.live.domains && self.in_force.read.holds_with(&known.live);
        let kept = kept.with(known);
        let outcome = if holds {
            self.accounts_alone(kept).await
        } else {
            self.once(kept).await
        };
        let outcome = outcome.map_err(|error| format!("{error:#}"));
        match &outcome {
            Ok(None) if is_asked_for => tracing::info!("{NOTHING}"),
            Ok(None) => {}
            Ok(Some(done)) => tracing::info!("{done}"),
            Err(why) => tracing::warn!("Reload refused, the running configuration stays in use: {why}"),
        }
        let troubles: Vec<String> = self.in_force.read.troubles.iter().map(Mistake::line).collect();
        let of_wish = |made: Option<Result<String, String>>| match (made, &outcome) {
            (Some(Err(why)), _) => Answer::Wrong(why),
            (_, Err(why)) => Answer::Refused(why.clone()),
            (Some(Ok(said)), Ok(_)) => {
                tracing::info!("Accounts: {said}");
                Answer::Done(said)
            }
            (None, Ok(done)) => {
                let done = done.clone().unwrap_or_else(|| NOTHING.to_owned());
                match &*troubles {
                    [] => Answer::Done(done),
                    troubles => Answer::Wrong(format!(
                        "{done}; what was right before stays in use where something is wrong:\n  {}",
                        troubles.join("\n  ")
                    )),
                }
            }
        };
        made.into_iter().map(of_wish).collect()
    }

    /// The short road of a change of accounts: what was read holds, and so does what the checkers have found. Where other
    /// files change, too, as with the first account that has a quota, it is the whole road.
    async fn accounts_alone(&mut self, kept: Kept) -> anyhow::Result<Option<String>> {
        let in_force = &mut self.in_force;
        in_force.read.known = kept.known();
        in_force.read.kept = kept;
        let desired = desired(&in_force.read)?;
        let declared = in_force.read.kept.declared_then(&in_force.read.known);
        let kept = in_force.read.take_accounts();
        if desired.plan.fingerprint() != in_force.plan {
            return self.once(kept).await;
        }
        configure_logs(&desired, &self.origin.logs)?;
        // The change itself is said instead.
        let notices = Notices {
            accounts: in_force.notices.accounts.clone(),
            ..desired.notices.clone()
        };
        provision_accounts(desired, &self.origin.processes).await?;
        self.in_force.declared = declared;
        self.say_what_is_new(notices);
        Ok(None)
    }

    /// Returns what was reloaded; nothing where nothing has changed.
    async fn once(&mut self, kept: Kept) -> anyhow::Result<Option<String>> {
        let Origin {
            daemons,
            environment,
            processes,
            logs,
            ..
        } = &self.origin;
        let read = read(daemons, environment, processes, kept).await?;
        let desired = desired(&read)?;
        let is_users = desired.certificate.is_users();
        anyhow::ensure!(
            is_users || !self.in_force.certificate_is_users,
            "your certificate is no longer in /etc/dovecot/certs: put it back; without it docker restart begins to serve a \
             self-signed one"
        );
        // Dovecot's listeners and the lock on the mailboxes are those of the start.
        anyhow::ensure!(
            desired.site.mailboxes == self.in_force.read.site.mailboxes,
            "{MAILBOXES} has changed: docker restart puts that into effect"
        );
        let mount = desired.certificate.mount.clone();
        let plan = desired.plan.fingerprint();
        let (notices, read_at_start) = (desired.notices.clone(), desired.read_at_start.clone());
        configure_logs(&desired, logs)?;
        let Provisioned {
            services,
            fingerprints,
            written,
            ..
        } = provision(desired, processes).await?;
        self.say_what_is_new(notices);
        for ((name, value), (_, before)) in read_at_start.iter().zip(&self.in_force.read_at_start) {
            if value != before {
                tracing::warn!("{name} has changed: docker restart puts that into effect");
            }
        }
        self.in_force.certificate_is_users = is_users;
        self.in_force.declared = read.kept.declared_then(&read.known);
        self.in_force.read = read.without_accounts();
        self.in_force.plan = plan;
        let said = self.reload_changed(services, fingerprints, &written).await;
        Ok(match (said, mount) {
            (said, None) => said,
            (said, Some(mount)) => Some(format!("{} ({mount})", said.unwrap_or_else(|| NOTHING.to_owned()))),
        })
    }

    fn say_what_is_new(&mut self, notices: Notices) {
        let said: BTreeSet<&String> = self.in_force.notices.lines().collect();
        for line in notices.lines().filter(|line| !said.contains(line)) {
            tracing::info!("{line}");
        }
        self.in_force.notices = notices;
    }

    /// Reloads the services of which something has changed, or had been edited and was written anew; returns what the log
    /// says, once new clients meet what is new.
    async fn reload_changed(
        &mut self,
        services: Vec<Service>,
        fingerprints: Fingerprints,
        written: &[PathBuf],
    ) -> Option<String> {
        let before = &self.in_force.fingerprints;
        let is_read = |path: &Path, service: &Service| service.reads.iter().any(|read| path.starts_with(read));
        // What no service reads is a state of ours.
        let of_services = |path: &&PathBuf| services.iter().any(|service| is_read(path, service));
        let written: Vec<PathBuf> = written.iter().filter(of_services).cloned().collect();
        let is_edited = |service: &Service| written.iter().any(|path| is_read(path, service));
        let has_changed =
            |service: &Service| fingerprints.get(service.name) != before.get(service.name) || is_edited(service);
        let is_new = fingerprints != *before;
        let changed: Vec<Service> = services.into_iter().filter(has_changed).collect();
        let mut names: Vec<&'static str> = changed.iter().map(|service| service.name).collect();
        names.sort_unstable();
        self.in_force.fingerprints = fingerprints;
        let (under_way, mut over) = mpsc::channel(1);
        for service in changed {
            let _ = self
                .requests
                .send(Request::Reload(Box::new(service), under_way.clone()));
        }
        drop(under_way);
        let _ = timeout(IN_FORCE, over.recv()).await;
        let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        match &*names {
            _ if !is_new && !written.is_empty() => Some(format!(
                "Reloaded: {} (nothing has changed, but what others had edited was written anew: {})",
                if names.is_empty() {
                    "nothing".to_owned()
                } else {
                    names.join(", ")
                },
                written.join(", ")
            )),
            [] => None,
            names => Some(format!("Reloaded: {}", names.join(", "))),
        }
    }
}
