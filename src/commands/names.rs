//! `mailroom alias` and `mailroom domain`: names beside accounts.

use clap::Subcommand;
use serde::Serialize;

use super::directory::{self, Local};
use super::output::print;
use super::rename;
use super::table::Table;
use crate::accounts::change::Change;
use crate::accounts::known::Kept;
use crate::settings::Environment;
use crate::site;

/// What is done with aliases.
#[derive(Debug, Subcommand)]
pub enum Aliases {
    /// Send mail for an address to others; one that is there gets more targets
    Add {
        /// `name`, `name@domain`, or `@domain` for all that is nobody's there
        name: String,
        /// Accounts, aliases, or addresses elsewhere
        #[arg(required = true)]
        targets: Vec<String>,
        #[command(flatten)]
        local: Local,
    },
    /// Remove an alias, or some of its targets
    Remove {
        /// `name`, `name@domain` or `@domain`
        name: String,
        /// Only these targets
        targets: Vec<String>,
        #[command(flatten)]
        local: Local,
    },
    /// List all aliases, with where each comes from
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// What is done with domains.
#[derive(Debug, Subcommand)]
pub enum Domains {
    /// Add a domain that has mailboxes here
    Add {
        /// Such as example.net
        domain: String,
        #[command(flatten)]
        local: Local,
    },
    /// Remove a domain that has no accounts and aliases any more
    Remove {
        /// Such as example.net
        domain: String,
        #[command(flatten)]
        local: Local,
    },
    /// Rename a domain, its mailboxes, accounts and aliases, while no server runs
    Rename {
        /// Its name
        old: String,
        /// The name that it gets; the settings have it already
        new: String,
        /// Show what would be renamed, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List all domains, with where each comes from
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Does it; returns the exit code.
pub fn aliases(command: Aliases, environment: &Environment) -> anyhow::Result<u8> {
    match command {
        Aliases::Add {
            name: address,
            targets,
            local,
        } => directory::make(Change::AddAlias { address, targets }, local, environment),
        Aliases::Remove {
            name: address,
            targets,
            local,
        } => directory::make(Change::RemoveAlias { address, targets }, local, environment),
        Aliases::List { json } => list_aliases(json),
    }
}

/// Does it; returns the exit code.
pub fn domains(command: Domains, environment: &Environment) -> anyhow::Result<u8> {
    match command {
        Domains::Add { domain, local } => directory::make(Change::AddDomain { domain }, local, environment),
        Domains::Remove { domain, local } => directory::make(Change::RemoveDomain { domain }, local, environment),
        Domains::Rename { old, new, dry_run } => rename::run(&old, &new, dry_run, environment),
        Domains::List { json } => list_domains(json, environment),
    }
}

#[derive(Debug, Serialize)]
struct ShownAlias {
    address: String,
    targets: Vec<String>,
    origin: String,
}

fn list_aliases(json: bool) -> anyhow::Result<u8> {
    let known = Kept::read()?.known();
    let all = known.declared.aliases.iter().chain(&known.live.aliases);
    let mut all: Vec<ShownAlias> = all
        .map(|(address, kept)| ShownAlias {
            address: address.clone(),
            targets: kept.targets.clone(),
            origin: kept.origin.clone().unwrap_or_else(|| "live".to_owned()),
        })
        .collect();
    all.sort_by(|one, other| one.address.cmp(&other.address));
    if json {
        print(serde_json::to_string_pretty(&all)?);
    } else if all.is_empty() {
        print("there is no alias: mailroom alias add adds one");
    } else {
        let mut table = Table::new(&["ALIAS", "TARGETS", "ORIGIN"]);
        for ShownAlias {
            address,
            targets,
            origin,
        } in &all
        {
            table.row(&[address, &targets.join(", "), origin]);
        }
        print(table);
    }
    Ok(0)
}

#[derive(Debug, Serialize)]
struct ShownDomain {
    domain: String,
    origin: String,
}

fn list_domains(json: bool, environment: &Environment) -> anyhow::Result<u8> {
    let of = |domain: String, origin: &str| ShownDomain {
        domain,
        origin: origin.to_owned(),
    };
    let declared = site::more_domains(environment);
    let declared = declared.into_iter().map(|domain| of(domain, site::DOMAINS));
    let live = Kept::read()?.live.domains.into_iter().map(|domain| of(domain, "live"));
    let primary = of(site::primary_domain(environment), "POSTFIX_MYDOMAIN, the primary one");
    let all: Vec<ShownDomain> = std::iter::once(primary).chain(declared).chain(live).collect();
    if json {
        print(serde_json::to_string_pretty(&all)?);
        return Ok(0);
    }
    let mut table = Table::new(&["DOMAIN", "ORIGIN"]);
    for ShownDomain { domain, origin } in &all {
        table.row(&[domain, origin]);
    }
    print(table);
    Ok(0)
}
