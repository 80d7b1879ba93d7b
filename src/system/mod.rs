//! Thin over the operating system: files, processes, signals.

pub mod beneath;
pub mod files;
pub mod lines;
pub mod lock;
pub mod memory;
pub mod owners;
pub mod panics;
pub mod pidfd;
pub mod proc;
pub mod processes;
pub mod programs;
pub mod routes;
pub mod signals;
pub mod usage;
pub mod watch;
