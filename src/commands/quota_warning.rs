//! `mailroom quota-warning PERCENT ACCOUNT`: Dovecot calls it as vmail when a mailbox has become that full (quota_warning). It
//! tells the account by mail, which Dovecot's own delivery program puts into the mailbox, whatever is full.

use std::io::{Write, pipe};
use std::os::unix::process::CommandExt;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::system::programs::Program;

const DELIVERY: Program = Program {
    name: "dovecot-lda",
    package: "dovecot-core",
    directories: "/usr/lib/dovecot",
};

/// Becomes the delivery program; returns only where that cannot be run.
pub fn run(percent: u8, account: &str) -> anyhow::Result<u8> {
    let message = message(percent, account, Timestamp::now())?;
    let mut delivery = DELIVERY.command()?;
    // A pipe holds 64 KiB: nobody has to read meanwhile.
    let (reader, mut writer) = pipe()?;
    writer.write_all(message.as_bytes())?;
    drop(writer);
    let error = delivery.args(["-d", account]).stdin(reader).exec();
    Err(error.into())
}

/// The message (RFC 5322), which no program answers (RFC 3834).
fn message(percent: u8, account: &str, now: Timestamp) -> anyhow::Result<String> {
    let domain = account.rsplit_once('@').map_or(account, |(_, domain)| domain);
    let date = DateTimePrinter::new().timestamp_to_string(&now)?;
    let id = format!("quota.{percent}.{}@{domain}", now.as_nanosecond());
    Ok(format!(
        "From: Postmaster <postmaster@{domain}>\nTo: <{account}>\nSubject: Your mailbox is {percent}% full\nDate: {date}\n\
         Message-ID: <{id}>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n\
         The mailbox {account} is {percent}% full. When it is full, this server takes no\nmore mail for it: senders' servers try \
         again for some days, and then return\ntheir mail.\n\nDelete mail that you do not need, and empty the folder Trash.\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message() {
        let now = "2026-11-25T22:00:00Z".parse().unwrap();
        let message = message(80, "user@a.test", now).unwrap();
        let (header, body) = message.split_once("\n\n").unwrap();
        for line in [
            "From: Postmaster <postmaster@a.test>",
            "To: <user@a.test>",
            "Subject: Your mailbox is 80% full",
            "Date: Wed, 25 Nov 2026 22:00:00 -0000",
            "Message-ID: <quota.80.1795644000000000000@a.test>",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(header.lines().any(|other| other == line), "{line}: {header}");
        }
        assert!(body.lines().all(|line| line.len() < 80) && message.is_ascii(), "{body}");
    }
}
