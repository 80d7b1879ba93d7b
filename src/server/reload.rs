//! Reloads: the same road again, for daemons that run. Services whose files have changed are reloaded, the others are left
//! alone; when anything is refused, the running configuration stays in use.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{InForce, Origin, Outcome, Wish, configure_logs};
use crate::provision::{Fingerprints, Provisioned, desired, provision, read};
use crate::site::MAILBOXES;
use crate::supervise::Request;
use crate::supervise::service::Service;
use crate::system::panics;

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

    /// Fulfils wishes, for ever.
    pub(super) async fn serve(mut self, mut wishes: UnboundedReceiver<Wish>) {
        while let Some(first) = wishes.recv().await {
            // One reload fulfils all wishes until now.
            let mut awaiting: Vec<oneshot::Sender<Outcome>> = first.into_iter().collect();
            while let Ok(more) = wishes.try_recv() {
                awaiting.extend(more);
            }
            let span = tracing::info_span!("reload");
            let outcome = panics::contain_future(self.once().instrument(span)).await;
            let outcome = outcome
                .unwrap_or_else(|| Err(anyhow::anyhow!("an internal error, told above")))
                .map_err(|error| format!("{error:#}"));
            match &outcome {
                Ok(done) => tracing::info!("{done}"),
                Err(why) => tracing::warn!("Reload refused, the running configuration stays in use: {why}"),
            }
            for each in awaiting {
                let _ = each.send(outcome.clone());
            }
        }
    }

    async fn once(&mut self) -> anyhow::Result<String> {
        let Origin {
            daemons,
            environment,
            processes,
            logs,
        } = &self.origin;
        let read = read(daemons, environment, processes).await?;
        let desired = desired(&read)?;
        let is_users = desired.certificate.is_users();
        anyhow::ensure!(
            is_users || !self.in_force.certificate_is_users,
            "your certificate is no longer in /etc/dovecot/certs: put it back; without it docker restart begins to serve a \
             self-signed one"
        );
        // Dovecot's listeners and the lock on the mailboxes are those of the start.
        anyhow::ensure!(
            desired.site.mailboxes == self.in_force.mailboxes,
            "{MAILBOXES} has changed: docker restart puts that into effect"
        );
        let mount = desired.certificate.mount.clone();
        let (notices, read_at_start) = (desired.notices.clone(), desired.read_at_start.clone());
        configure_logs(&desired, logs)?;
        let Provisioned {
            services,
            fingerprints,
            written,
            ..
        } = provision(desired, processes).await?;
        let said: BTreeSet<&String> = self.in_force.notices.lines().collect();
        for line in notices.lines().filter(|line| !said.contains(line)) {
            tracing::info!("{line}");
        }
        for ((name, value), (_, before)) in read_at_start.iter().zip(&self.in_force.read_at_start) {
            if value != before {
                tracing::warn!("{name} has changed: docker restart puts that into effect");
            }
        }
        self.in_force.notices = notices;
        self.in_force.certificate_is_users = is_users;
        let said = self.reload_changed(services, fingerprints, &written);
        Ok(mount.map_or(said.clone(), |mount| format!("{said} ({mount})")))
    }

    /// Reloads the services of which something has changed, or had been edited and was written anew; returns what the log
    /// says.
    fn reload_changed(&mut self, services: Vec<Service>, fingerprints: Fingerprints, written: &[PathBuf]) -> String {
        let before = &self.in_force.fingerprints;
        let is_edited = |service: &Service| {
            let mut reads = service.reads.iter();
            reads.any(|read| written.iter().any(|path| path.starts_with(read)))
        };
        let has_changed =
            |service: &Service| fingerprints.get(service.name) != before.get(service.name) || is_edited(service);
        let is_new = fingerprints != *before;
        let changed: Vec<Service> = services.into_iter().filter(has_changed).collect();
        let mut names: Vec<&'static str> = changed.iter().map(|service| service.name).collect();
        names.sort_unstable();
        self.in_force.fingerprints = fingerprints;
        for service in changed {
            let _ = self.requests.send(Request::Reload(Box::new(service)));
        }
        let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        match &*names {
            _ if !is_new && !written.is_empty() => format!(
                "Reloaded: {} (nothing has changed, but what others had edited was written anew: {})",
                if names.is_empty() {
                    "nothing".to_owned()
                } else {
                    names.join(", ")
                },
                written.join(", ")
            ),
            [] => "Reloaded: nothing has changed".to_owned(),
            names => format!("Reloaded: {}", names.join(", ")),
        }
    }
}
