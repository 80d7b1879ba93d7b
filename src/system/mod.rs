//! Thin over the operating system: files, processes, accounts of the machine.

pub mod files;
pub mod processes;
