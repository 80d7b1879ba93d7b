//! Follows the networks of the container: who is trusted depends on them, so a change of addresses or gateways has
//! everything read again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use super::{Wish, wish};
use crate::control::Answer;
use crate::facts::Facts;
use crate::settings::Environment;
use crate::system::routes::Routes;

/// After a reload for changed networks that was refused.
const RETRY: Duration = Duration::from_secs(30);

/// Addresses and gateways.
type Seen = (Vec<IpNet>, BTreeSet<IpAddr>);

/// The networks that the configuration in force is made for.
pub struct Networks(RefCell<Seen>);

impl Networks {
    /// Those of the start.
    pub fn of(facts: &Facts) -> Networks {
        Networks(RefCell::new(seen(facts)))
    }

    /// Has everything read again when they change; again after a while where that was refused.
    pub(super) async fn follow(&self, environment: &Environment, wishes: &UnboundedSender<Wish>) {
        let routes = match Routes::watch() {
            Ok(routes) => routes,
            Err(error) => {
                tracing::warn!("changes of the networks will not be noticed: {error}");
                return;
            }
        };
        loop {
            let now = seen(&Facts::gather(environment));
            let changed = now != *self.0.borrow();
            if changed {
                tracing::info!("The networks of this container have changed");
                let (wish, awaited) = wish(None);
                let _ = wishes.send(wish);
                if matches!(awaited.await, Ok(Answer::Done(_))) {
                    *self.0.borrow_mut() = now;
                    continue;
                }
            }
            tokio::select! {
                changed = routes.changed() => if changed.is_err() { return },
                () = sleep(RETRY), if changed => {}
            }
        }
    }
}

fn seen(facts: &Facts) -> Seen {
    (facts.interfaces.clone(), facts.gateways.clone())
}
