//! What a view service serves.

use standin_core::message::{ReplicaStatus, StatusReply};
use standin_io::http::{HttpRequest, HttpResponse};
use standin_viewservice::ServiceAccount;

use super::metrics::{Metrics, Value};
use super::{Check, not_found, readiness, status, stuck};
use crate::status::role;

const PATHS: &str =
    "/livez, /readyz, /status and /metrics (/primary, /backup and /replica are for replicas)";

/// The answer to a request. `account` asks the event loop; `None` if that does not answer.
pub(crate) fn answer(
    request: &HttpRequest,
    account: impl FnOnce() -> Option<ServiceAccount>,
) -> HttpResponse {
    if !["/livez", "/readyz", "/status", "/metrics"].contains(&request.path()) {
        return not_found(request, PATHS);
    }
    let Some(account) = account() else {
        return stuck();
    };
    let reply = &account.status;
    match request.path() {
        "/livez" => HttpResponse::text(200, "alive\n"),
        "/readyz" => readiness(request, &checks(&account), &notes(&account)),
        "/status" => status(reply),
        _ => metrics(&account),
    }
}

/// Whether it can do its work. That somebody serves is not its work: it is ready before there is a replica. Nor is room on its
/// disk: whoever serves goes on without.
fn checks(account: &ServiceAccount) -> [Check; 2] {
    [
        ("event loop", Ok(())),
        ("record", account.unfit.clone().map_or(Ok(()), Err)),
    ]
}

fn notes(account: &ServiceAccount) -> [Check; 1] {
    let trouble = account.status.trouble.clone();
    [("trouble", trouble.map_or(Ok(()), Err))]
}

fn metrics(account: &ServiceAccount) -> HttpResponse {
    let all = Metrics::default();
    let reply = &account.status;
    if let Some(record) = &reply.record {
        all.gauge("view", "The number of the view.", record.view.0);
        let help = "The data epoch; rises when an operator gives up what was answered.";
        all.gauge("data_epoch", help, record.data_epoch.0);
        let help = "Whether the view's primary has taken over.";
        all.gauge("view_active", help, record.active);
        let help = "Whether the view has a backup.";
        all.gauge("view_paired", help, record.backup.is_some());
    }
    let help = "Whether nobody can serve; /status says why.";
    all.gauge("unavailable", help, reply.unavailable.is_some());
    let term = f64::from(reply.term_ms) / 1000.0;
    all.gauge("lease_term_seconds", "The lease term.", term);
    let left = reply.lease_remaining_ms.unwrap_or_default().value() / 1000.0;
    let help = "What is left of the primary's lease; 0 if nobody holds one.";
    all.gauge("lease_remaining_seconds", help, left);
    let help = "Whether something is wrong with the view service itself.";
    let is_in_trouble = reply.trouble.is_some() || account.unfit.is_some();
    all.gauge("trouble", help, is_in_trouble);
    replica_metrics(&all, reply);
    all.response()
}

fn replica_metrics(all: &Metrics, reply: &StatusReply) {
    let each = |name: &str, help: &str, value: &dyn Fn(&ReplicaStatus) -> Option<f64>| {
        let values = reply.replicas.iter().filter_map(|replica| {
            let name = replica.peer.identity.name.to_string();
            Some(([name], value(replica)?))
        });
        all.gauges(name, help, ["replica"], values);
    };
    let help = "Whether a replica was heard of within a lease term.";
    each("replica_alive", help, &|it| Some(it.is_alive.value()));
    let help = "What a living replica is.";
    let record = reply.record.as_ref();
    let roles = reply.replicas.iter().filter_map(|replica| {
        let name = replica.peer.identity.name.to_string();
        Some(([name, role(record, replica)?.word().to_owned()], true))
    });
    all.gauges("replica_role", help, ["replica", "role"], roles);
    let help = "The end of a replica's log, by its own last word.";
    each("replica_last_index", help, &|it| {
        Some(it.standing?.last.index.0.value())
    });
    let help = "The last entry that a replica's machine has executed, by its own last word.";
    each("replica_applied_index", help, &|it| {
        Some(it.standing?.applied.0.value())
    });
    let help = "How long ago the primary sent what a replica has not dealt with yet.";
    each("replica_behind_seconds", help, &|it| {
        Some(it.behind_ms?.value() / 1000.0)
    });
    let help = "Whether a replica says that something wants looking after; /status says what.";
    each("replica_trouble", help, &|it| {
        Some(it.trouble.is_some().value())
    });
    let help = "The version of the machine that a replica executes, by its own last word.";
    each("replica_machine_version", help, &|it| {
        Some(it.versions?.executing.value())
    });
}
