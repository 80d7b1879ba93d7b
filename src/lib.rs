//! Mailroom: environment variables in, a running mail server out. See docs/ARCHITECTURE.md for the way through.

pub mod accounts;
pub mod certificates;
pub mod cli;
pub mod commands;
pub mod commit;
pub mod control;
pub mod dovecot;
pub mod draft;
pub mod facts;
pub mod health;
pub mod layout;
pub mod logs;
pub mod plan;
pub mod postfix;
pub mod provision;
pub mod read;
pub mod render;
pub mod settings;
pub mod sources;
pub mod stage;
pub mod supervise;
pub mod system;
pub mod trust;
pub mod user_tables;
pub mod values;
