//! What is looked up when somebody asks, and not counted.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::labels::QueueName;

/// How things are. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gauges {
    /// Postfix's queues.
    pub queues: Vec<QueueGauge>,
    /// The daemons.
    pub services: Vec<ServiceGauge>,
    /// When PID 1 started.
    pub started: i64,
    /// Accounts with mailboxes here.
    pub accounts: u64,
    /// When the certificate expires; 0 where there is none.
    pub certificate_expires: i64,
    /// Clients are served.
    pub is_healthy: bool,
    /// They are, and something is wrong all the same.
    pub is_degraded: bool,
    /// Memory of PID 1, in bytes (proc_pid_statm(5)).
    pub resident_memory: u64,
    /// Processor time of PID 1, in seconds.
    pub cpu: f64,
}

/// One queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueGauge {
    /// Which.
    pub queue: QueueName,
    /// How many messages.
    pub messages: u64,
    /// How old the oldest is, in seconds.
    pub oldest_age: u64,
}

/// One daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceGauge {
    /// Its name.
    pub service: String,
    /// It runs.
    pub is_up: bool,
    /// How often it was started again.
    pub restarts: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfQueue {
    queue: QueueName,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service: String,
}

type Unsigned = Gauge<u64, AtomicU64>;

/// The metrics that are set.
#[derive(Debug)]
pub(super) struct Registered {
    messages: Family<OfQueue, Unsigned>,
    oldest_age: Family<OfQueue, Unsigned>,
    up: Family<OfService, Gauge>,
    restarts: Family<OfService, Counter>,
    started: Gauge,
    accounts: Unsigned,
    certificate: Gauge,
    healthy: Gauge,
    degraded: Gauge,
    memory: Unsigned,
    cpu: Counter<f64, AtomicU64>,
}

impl Registered {
    pub(super) fn register(registry: &mut Registry) -> Registered {
        let all = Registered {
            messages: Family::default(),
            oldest_age: Family::default(),
            up: Family::default(),
            restarts: Family::default(),
            started: Gauge::default(),
            accounts: Unsigned::default(),
            certificate: Gauge::default(),
            healthy: Gauge::default(),
            degraded: Gauge::default(),
            memory: Unsigned::default(),
            cpu: Counter::default(),
        };
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Mailroom's version", info);
        registry.register(
            "queue_messages",
            "Messages in each of Postfix's queues",
            all.messages.clone(),
        );
        let help = "Age of the oldest message in each queue; 0 for an empty one";
        registry.register_with_unit("queue_oldest_age", help, Unit::Seconds, all.oldest_age.clone());
        registry.register("service_up", "1 while a daemon runs", all.up.clone());
        registry.register(
            "service_restarts",
            "How often a daemon was started again",
            all.restarts.clone(),
        );
        let help = "When PID 1 started, and all counters were 0, since 1970";
        registry.register_with_unit("start_time", help, Unit::Seconds, all.started.clone());
        registry.register(
            "accounts",
            "Accounts with mailboxes here, those of a directory aside",
            all.accounts.clone(),
        );
        let help = "When the certificate expires, since 1970; 0 where there is none";
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            help,
            Unit::Seconds,
            all.certificate.clone(),
        );
        registry.register(
            "healthy",
            "1 while clients are served, as the health check finds it",
            all.healthy.clone(),
        );
        registry.register(
            "degraded",
            "1 while clients are served and something is wrong",
            all.degraded.clone(),
        );
        registry.register_with_unit(
            "pid1_resident_memory",
            "Memory of PID 1",
            Unit::Bytes,
            all.memory.clone(),
        );
        registry.register_with_unit("pid1_cpu", "Processor time of PID 1", Unit::Seconds, all.cpu.clone());
        all.set(&Gauges::default());
        all
    }

    pub(super) fn set(&self, gauges: &Gauges) {
        for queue in QueueName::ALL {
            let found = gauges.queues.iter().find(|found| found.queue == *queue);
            let labels = OfQueue { queue: *queue };
            self.messages
                .get_or_create(&labels)
                .set(found.map_or(0, |found| found.messages));
            self.oldest_age
                .get_or_create(&labels)
                .set(found.map_or(0, |found| found.oldest_age));
        }
        for service in &gauges.services {
            let labels = OfService {
                service: service.service.clone(),
            };
            self.up.get_or_create(&labels).set(i64::from(service.is_up));
            let restarts = self.restarts.get_or_create(&labels);
            restarts.inc_by(service.restarts.saturating_sub(restarts.get()));
        }
        self.started.set(gauges.started);
        self.accounts.set(gauges.accounts);
        self.certificate.set(gauges.certificate_expires);
        self.healthy.set(i64::from(gauges.is_healthy));
        self.degraded.set(i64::from(gauges.is_degraded));
        self.memory.set(gauges.resident_memory);
        self.cpu.inc_by((gauges.cpu - self.cpu.get()).max(0.0));
    }
}
