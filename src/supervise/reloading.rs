//! Carries out reloads: SIGHUP to the service, holds for those that need its sockets, and the look after clients that
//! overtake the reload. When to hold is decided in `reload`.

use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::policy::Id;
use super::reload::{Do, LINGER, LONGEST, Step};
use super::reload_guard::{self, Processes};
use super::service::{Readiness, Service};
use super::slots::What;
use super::supervisor::Supervisor;

impl Supervisor {
    /// Has a service read its configuration again.
    pub(super) fn reload(&mut self, id: Id) {
        if self.in_order(id) {
            self.reload_step(id, Step::Wanted);
        } else {
            // It says nothing, and no other service waits for it: there is nothing to keep in order.
            self.hang_up(id);
        }
    }

    /// Whether a reload of it is kept in order: it says when it serves again, or others wait for it.
    fn in_order(&self, id: Id) -> bool {
        matches!(self.services[id].ready, Readiness::Notify(_)) || !self.dependents(id).is_empty()
    }

    /// Carries out what a reload needs next.
    pub(super) fn reload_step(&mut self, id: Id, step: Step) {
        for what in self.slots[id].reload.step(step, Instant::now()) {
            match what {
                Do::Hold => {
                    let dependents = self.dependents(id).into_iter();
                    let holds = dependents.filter_map(|other| self.slots[other].held()).collect();
                    self.slots[id].holds = holds;
                }
                Do::HangUp => self.hang_up(id),
                Do::AwaitLimit => self.await_limit(id, LONGEST),
                Do::AwaitLinger => self.await_limit(id, LINGER),
                Do::Release => {
                    self.slots[id].holds.clear();
                    self.slots[id].under_way.clear();
                }
            }
        }
    }

    fn await_limit(&self, id: Id, time: Duration) {
        let report = self.reporter(id);
        spawn_local(async move {
            sleep(time).await;
            report.send(What::ReloadLimit);
        });
    }

    /// The services that need a socket which this one provides.
    fn dependents(&self, id: Id) -> Vec<Id> {
        let provides = &self.services[id].provides;
        let depends = |other: &Id| *other != id && self.services[*other].needs_one_of(provides);
        (0..self.services.len()).filter(depends).collect()
    }

    fn hang_up(&mut self, id: Id) {
        let service = Rc::clone(&self.services[id]);
        let under_way = if self.in_order(id) {
            Vec::new()
        } else {
            std::mem::take(&mut self.slots[id].under_way)
        };
        let slot = &self.slots[id];
        let (mut waiting, mut replaced) = (Processes::default(), Processes::default());
        if let (Some(guard), Some(main)) = (&service.reload_guard, slot.main) {
            waiting.add((guard.waiting)(main));
            replaced.add((guard.replaced)(main));
        }
        slot.signal(Signal::SIGHUP);
        spawn_local(async move {
            replaced.have_ended().await;
            drop(under_way);
            look_after(service, waiting).await;
        });
    }

    /// A user begins a reload: what waits for a client between now and the main process's SIGHUP is what the reload
    /// ends.
    pub(super) fn reload_begins(&mut self, id: Id) {
        let service = Rc::clone(&self.services[id]);
        let slot = &mut self.slots[id];
        let (Some(main), true, Some(guard)) = (slot.main, slot.pidfd.is_some(), service.reload_guard.clone()) else {
            return;
        };
        if slot.guarding.as_ref().is_some_and(|guarding| !guarding.is_closed()) {
            return;
        }
        let (guarding, reloaded) = oneshot::channel();
        slot.guarding = Some(guarding);
        spawn_local(async move {
            let waiting = reload_guard::collect(&guard, main, reloaded).await;
            look_after(service, waiting).await;
        });
    }

    /// The main process has got its SIGHUP. Our own reloads lead to this, too, and then there is nothing to end.
    pub(super) fn reloaded(&mut self, id: Id) {
        if let Some(guarding) = self.slots[id].guarding.take() {
            let _ = guarding.send(());
        }
    }
}

async fn look_after(service: Rc<Service>, waiting: Processes) {
    if let Some(guard) = &service.reload_guard {
        waiting.look_after(service.name, &guard.probes).await;
    }
}
