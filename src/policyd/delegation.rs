//! Postfix's side: its policy delegation protocol (SMTPD_POLICY_README). smtpd(8) sends `name=value` lines and an empty one for
//! each message that a client is about to send, and reads what to do with it.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::NAME;
use super::server::Shared;
use super::submissions::Verdict;
use crate::own_daemon;

/// What smtpd says of a message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    account: String,
    recipients: u32,
}

impl Request {
    /// Takes one line; others are of no interest.
    fn take(&mut self, line: &str) {
        match line.split_once('=') {
            Some(("sasl_username", account)) => self.account = account.to_lowercase(),
            Some(("recipient_count", recipients)) => self.recipients = recipients.parse().unwrap_or(1),
            _ => {}
        }
    }
}

/// Answers one smtpd until it leaves.
pub(super) async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut request = Request::default();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.is_empty() {
            request.take(&line);
            continue;
        }
        let answer = format!("action={}\n\n", decide(&shared, &std::mem::take(&mut request)));
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The action for a message (access(5)). Without a login, there is no account to count for.
fn decide(shared: &Shared, request: &Request) -> String {
    if request.account.is_empty() {
        return "DUNNO".to_owned();
    }
    let (submissions, now) = (&mut shared.policies().submissions, shared.now());
    let (account, limit) = (&request.account, submissions.limit());
    match submissions.decide(account, request.recipients.max(1), now) {
        Verdict::Allow => "DUNNO".to_owned(),
        Verdict::Later { tell } => {
            if tell {
                own_daemon::say(
                    NAME,
                    &format!(
                        "submission refused: account={account} has sent to {limit} recipients within an hour and gets 450 until \
                     that is over; where this is right, raise MAILROOM_SUBMISSION_RATE={limit}; where it is not, change its \
                     password"
                    ),
                );
            }
            format!("450 4.7.1 this account has sent to {limit} recipients within an hour: try again later")
        }
        Verdict::Never => {
            format!("550 5.7.1 more recipients than this account may send to within an hour, which is {limit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines() {
        let mut request = Request::default();
        for line in [
            "request=smtpd_access_policy",
            "sasl_username=User@example.org",
            "recipient_count=3",
            "x",
            "a=b=c",
        ] {
            request.take(line);
        }
        let account = "user@example.org".to_owned();
        assert_eq!(request, Request { account, recipients: 3 });
    }
}
