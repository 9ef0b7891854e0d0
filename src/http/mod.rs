//! What `--http` serves: probes for whatever restarts and routes, the cluster's status, and metrics.

mod metrics;
pub(crate) mod replica;
pub(crate) mod viewservice;

use standin_core::message::StatusReply;
use standin_core::time::Duration;
use standin_io::http::{HttpRequest, HttpResponse};

use crate::status::Account;

/// How long an event loop may take to answer before it counts as stuck.
pub(crate) const LOOP_PATIENCE: Duration = Duration::from_secs(3);

/// One condition of being ready: what it is called, and what is wrong if it does not hold.
type Check = (&'static str, Result<(), String>);

/// `/readyz`: whether all checks hold, or with `?verbose` each of them, and what else should be known.
fn readiness(request: &HttpRequest, checks: &[Check], notes: &[Check]) -> HttpResponse {
    let failed = checks.iter().find_map(|(name, outcome)| {
        let why = outcome.as_ref().err()?;
        Some(format!("not ready: {name}: {why}\n"))
    });
    let status = if failed.is_some() { 503 } else { 200 };
    if request.parameter("verbose").is_none() {
        return HttpResponse::text(status, failed.unwrap_or_else(|| "ready\n".to_owned()));
    }
    let line = |sign: char, (name, outcome): &Check| match outcome {
        Ok(()) => format!("[+] {name}: ok\n"),
        Err(why) => format!("[{sign}] {name}: {why}\n"),
    };
    let checks = checks.iter().map(|check| line('-', check));
    let notes = notes.iter().map(|note| line('!', note));
    HttpResponse::text(status, checks.chain(notes).collect::<String>())
}

/// `/status`: what `standin status --json` prints.
fn status(reply: &StatusReply) -> HttpResponse {
    HttpResponse::of(200, "application/json", Account::of(reply).json())
}

fn unavailable(why: &str) -> HttpResponse {
    HttpResponse::text(503, format!("{why}\n"))
}

fn stuck() -> HttpResponse {
    let patience = LOOP_PATIENCE.as_secs();
    unavailable(&format!("the event loop has not answered for {patience} s"))
}

fn not_found(request: &HttpRequest, paths: &str) -> HttpResponse {
    let path = request.path().escape_debug();
    HttpResponse::text(404, format!("nothing is at {path}; there are {paths}\n"))
}

#[cfg(test)]
mod tests;
