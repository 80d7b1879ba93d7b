//! The process `mailroom httpd`: binds its port as root, gives up every privilege, and answers on one thread. Each answer is
//! PID 1's, asked for at its socket; PID 1 decides how old one may be. SIGHUP has it read anew who is trusted.

use std::fs;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{ConnectInfo, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ipnet::IpNet;
use nix::sys::prctl;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::listener::{Bounded, Peer};
use super::{NAME, OWNER, Settings, config_file, page};
use crate::control::{self, Answer, Question};
use crate::health::{self, Report};
use crate::layout::HTTP_QUESTIONS;
use crate::own_daemon;
use crate::system::files::at;

/// Whether PID 1 and its daemons live.
pub(super) const LIVEZ: &str = "/livez";
/// Longest wait for PID 1, which asks the daemons itself: a health check's longest run, and some.
const PATIENCE: Duration = Duration::from_secs(4);
/// OpenMetrics 1.0, section "Content Type".
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const STRANGER: &str = "this is for trusted networks: those of POSTFIX_MYNETWORKS, or the container's own, and the docker gateway \
    with MAILROOM_TRUST_GATEWAY=yes; docker exec … mailroom status shows the same\n";

/// Who may see more than whether all is well.
type Trusted = Arc<RwLock<Vec<IpNet>>>;

/// Runs until it is killed.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    prctl::set_name(c"httpd")?;
    let settings = read_settings()?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("{}={}", crate::site::HTTP_LISTEN, settings.listen))?;
    own_daemon::drop_privileges(OWNER)?;
    let trusted = Arc::new(RwLock::new(settings.trusted));
    let service = router(Arc::clone(&trusted)).into_make_service_with_connect_info::<Peer>();
    tokio::spawn(axum::serve(Bounded::new(listener), service).into_future());
    follow_settings(&trusted).await
}

/// Settings that cannot be read leave those of before in force.
async fn follow_settings(trusted: &Trusted) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        hangups.recv().await;
        match read_settings() {
            Ok(settings) => *trusted.write().unwrap_or_else(PoisonError::into_inner) = settings.trusted,
            Err(error) => own_daemon::say(NAME, &format!("the settings stay as they were: {error:#}")),
        }
    }
}

fn read_settings() -> anyhow::Result<Settings> {
    let path = config_file();
    let text = at(&path, fs::read(&path))?;
    serde_json::from_slice(&text).with_context(|| format!("{NAME}: {}", path.display()))
}

fn router(trusted: Trusted) -> Router {
    let of_trusted = Router::new()
        .route("/", get(page::page))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(Arc::clone(&trusted), for_trusted));
    Router::new()
        .route(LIVEZ, get(live))
        .route("/readyz", get(ready))
        .with_state(trusted)
        .merge(of_trusted)
}

fn is_trusted(trusted: &Trusted, peer: IpAddr) -> bool {
    let trusted = trusted.read().unwrap_or_else(PoisonError::into_inner);
    trusted.iter().any(|net| net.contains(&peer))
}

async fn for_trusted(
    State(trusted): State<Trusted>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if is_trusted(&trusted, peer) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, STRANGER).into_response()
    }
}

/// Why there is no answer of PID 1's, in words.
async fn ask(question: Question) -> Result<String, String> {
    let asked = async {
        let mut stream = UnixStream::connect(HTTP_QUESTIONS).await?;
        let request = serde_json::to_string(&control::Request::Observe(question))?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        std::io::Result::Ok(serde_json::from_str(&line)?)
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(Answer::Done(text))) => Ok(text),
        Ok(Ok(Answer::Refused(why) | Answer::Wrong(why))) => Err(why),
        Ok(Err(error)) => Err(format!("PID 1 cannot be asked: {error}")),
        Err(_) => Err(format!("PID 1 does not answer within {} s", PATIENCE.as_secs())),
    }
}

async fn live(
    State(trusted): State<Trusted>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    RawQuery(query): RawQuery,
) -> Response {
    let report = report(Question::Live).await;
    let alive = report.is_live();
    let word = if alive { "alive" } else { "dead" };
    verdict(alive, word, &report, is_verbose(query) && is_trusted(&trusted, peer))
}

async fn ready(
    State(trusted): State<Trusted>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    RawQuery(query): RawQuery,
) -> Response {
    let report = report(Question::Ready).await;
    let is_verbose = is_verbose(query) && is_trusted(&trusted, peer);
    verdict(report.is_ready(), report.state.word(), &report, is_verbose)
}

/// What PID 1 says of the server. That it says nothing is a fault like any other.
async fn report(question: Question) -> Report {
    let answer = ask(question).await;
    let report = answer.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    report.unwrap_or_else(|why| Report::of(health::State::Unhealthy, &why))
}

fn is_verbose(query: Option<String>) -> bool {
    query.is_some_and(|query| query.split('&').any(|word| word.split('=').next() == Some("verbose")))
}

/// One word, or all that is known, as JSON.
fn verdict(is_good: bool, word: &str, report: &Report, is_verbose: bool) -> Response {
    let status = if is_good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    match serde_json::to_string(report) {
        Ok(json) if is_verbose => (status, headers, [(header::CONTENT_TYPE, JSON)], json + "\n").into_response(),
        _ => (status, headers, format!("{word}\n")).into_response(),
    }
}

async fn status() -> Response {
    answered(Question::Status, JSON).await
}

async fn metrics() -> Response {
    answered(Question::Metrics, OPENMETRICS).await
}

async fn answered(question: Question, kind: &'static str) -> Response {
    match ask(question).await {
        Ok(text) => {
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")];
            (headers, text).into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}
