//! Dovecot's side: the HTTP server that is asked before and after each password is looked at, and told of each outcome
//! (Dovecot docs, "Authentication Policy"). Dovecot asks for 587 and 465, too: Postfix's logins are its own.
//!
//! The question after the password has been looked at is what keeps many guesses at once from being one: a guess that turns out
//! right while others have turned out wrong is refused.
//!
//! A request without an address is a command's inside the container, such as `doveadm auth test`: it is always allowed.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::routing::get;
use serde::Deserialize;

use super::NAME;
use super::logins::{Attempt, Reason, Verdict};
use super::server::Shared;
use crate::own_daemon;

/// A request is a few hundred bytes.
const LARGEST_REQUEST: usize = 16 << 10;
/// The header in which Dovecot sends its key (`auth_policy_server_api_header`).
const KEY_HEADER: &str = "X-API-Key";

/// What clients are told that are refused.
const REFUSAL: &str = "too many failed logins, try again later";

/// The server, for clients that know the key.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(decides).post(answer))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(shared)
}

/// What Dovecot says of an attempt; `success` and what follows only in a report.
#[derive(Debug, Deserialize)]
struct Said {
    login: String,
    pwhash: String,
    remote: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    policy_reject: bool,
    #[serde(default)]
    fail_type: String,
}

/// The health check's question: whether a decision could be made now.
async fn decides(State(shared): State<Arc<Shared>>) -> StatusCode {
    drop(shared.policies());
    StatusCode::OK
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<String, StatusCode> {
    if headers.get(KEY_HEADER).map(HeaderValue::as_bytes) != Some(shared.secret.as_bytes()) {
        return Err(StatusCode::FORBIDDEN);
    }
    let said: Said = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let Ok(address) = said.remote.parse::<IpAddr>() else {
        return Ok(status(0, ""));
    };
    let account = said.login.to_lowercase();
    let attempt = Attempt {
        address: address.to_canonical(),
        account: &account,
        password: &said.pwhash,
    };
    match uri.query() {
        Some("command=allow") => Ok(decide(&shared, &attempt, &said.protocol)),
        Some("command=report") => {
            report(&shared, &attempt, &said);
            Ok(status(0, ""))
        }
        _ => Err(StatusCode::NOT_FOUND),
    }
}

/// Dovecot's form of a verdict: -1 refuses, a number slows by so many seconds.
fn status(status: i64, message: &str) -> String {
    serde_json::json!({ "status": status, "msg": message }).to_string()
}

fn decide(shared: &Shared, attempt: &Attempt, protocol: &str) -> String {
    let (logins, now) = (&mut shared.policies().logins, shared.now());
    match logins.decide(attempt, now) {
        Verdict::Allow => status(0, ""),
        Verdict::Slow(by) => status(by.as_secs().cast_signed(), ""),
        Verdict::Refuse { reason, tell } => {
            if tell {
                own_daemon::say(NAME, &refused(attempt, reason, protocol));
            }
            status(-1, REFUSAL)
        }
    }
}

/// What could not be checked is no guess.
fn report(shared: &Shared, attempt: &Attempt, said: &Said) {
    if said.policy_reject || said.fail_type == "internal" {
        return;
    }
    let (logins, now) = (&mut shared.policies().logins, shared.now());
    logins.learn(attempt, said.success, now);
}

/// The line of the log. The client's own text, its name, comes last.
fn refused(attempt: &Attempt, reason: Reason, protocol: &str) -> String {
    let reason = match reason {
        Reason::Address => "address",
        Reason::Account => "account",
    };
    let (address, account) = (attempt.address, attempt.account);
    format!("login refused: address={address} reason={reason} protocol={protocol} user=<{account}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_log() {
        let attempt = Attempt {
            address: "2001:db8::5".parse().unwrap(),
            account: "user@example.org",
            password: "x",
        };
        assert_eq!(
            refused(&attempt, Reason::Address, "imap"),
            "login refused: address=2001:db8::5 reason=address protocol=imap user=<user@example.org>"
        );
    }

    #[test]
    fn dovecots_requests_are_understood() {
        let report = r#"{"device_id":"","fail_type":"credentials","login":"nobody@metabuilder.local","protocol":"imap","pwhash":"7e2","remote":"127.0.0.1","session_id":"x","success":false,"policy_reject":false,"tls":true}"#;
        let said: Said = serde_json::from_str(report).unwrap();
        assert_eq!(
            (said.login.as_str(), said.success, said.fail_type.as_str()),
            ("nobody@metabuilder.local", false, "credentials")
        );
        assert_eq!(
            status(-1, REFUSAL),
            r#"{"msg":"too many failed logins, try again later","status":-1}"#
        );
    }
}
