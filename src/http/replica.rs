//! What a replica serves.

use standin_core::message::{RoleName, Room, StatusReply};
use standin_io::http::{HttpRequest, HttpResponse};
use standin_replica::Account;

use super::metrics::Metrics;
use super::{Check, not_found, readiness, status, stuck, unavailable};

const PATHS: &str = "/livez, /readyz, /primary, /backup, /replica, /status and /metrics";
const ROLES: [RoleName; 5] = [
    RoleName::Primary,
    RoleName::Candidate,
    RoleName::Backup,
    RoleName::Spare,
    RoleName::Quarantined,
];
const ROOMS: [Room; 3] = [Room::Enough, Room::Lacking, Room::Out];

/// Where the replica is in its life at the moment it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It waits for a view service, reads its log or has it mended.
    Starting,
    /// Its event loop runs.
    Running,
    /// It cannot go on, and stays until the right ones know why. It must not be restarted in the midst of that.
    Ending,
}

/// The answer to a request. `account` asks the event loop, `None` if that does not answer in time; `cluster` asks the view
/// service.
pub(crate) fn answer(
    request: &HttpRequest,
    moment: Moment,
    account: impl FnOnce() -> Option<Box<Account>>,
    cluster: impl FnOnce() -> Result<StatusReply, String>,
) -> HttpResponse {
    match (request.path(), moment) {
        ("/livez", Moment::Starting) => HttpResponse::text(200, "starting\n"),
        ("/livez", Moment::Ending) => HttpResponse::text(200, "ending\n"),
        ("/livez", Moment::Running) => match account() {
            Some(_) => HttpResponse::text(200, "alive\n"),
            None => stuck(),
        },
        ("/status", _) => match cluster() {
            Ok(reply) => status(&reply),
            Err(error) => unavailable(&format!("the view service does not answer: {error}")),
        },
        ("/readyz" | "/primary" | "/backup" | "/replica" | "/metrics", Moment::Running) => {
            match account() {
                Some(account) => answer_by(request, &account),
                None => stuck(),
            }
        }
        ("/readyz" | "/primary" | "/backup" | "/replica" | "/metrics", moment) => {
            unavailable(moment.words())
        }
        _ => not_found(request, PATHS),
    }
}

impl Moment {
    fn words(self) -> &'static str {
        match self {
            Self::Starting => "starting: it does not take part yet; its log says what it waits for",
            Self::Running => "it runs",
            Self::Ending => "ending: it cannot go on; its log says why",
        }
    }
}

fn answer_by(request: &HttpRequest, account: &Account) -> HttpResponse {
    match request.path() {
        "/readyz" => readiness(request, &checks(account), &notes(account)),
        "/primary" => is(account, account.is_serving, "primary"),
        "/backup" => is(account, is_backup(account), "backup"),
        "/replica" => follows(request, account),
        _ => metrics(account),
    }
}

fn is_backup(account: &Account) -> bool {
    account.standing.role == RoleName::Backup && account.is_following
}

/// Whether it has the role that was asked about and does what belongs to it.
fn is(account: &Account, is_it: bool, wanted: &str) -> HttpResponse {
    let role = account.standing.role.word();
    let view = account.standing.view;
    match (is_it, role == wanted) {
        (true, _) => HttpResponse::text(200, format!("{role} of view {view}\n")),
        (false, true) => unavailable(&format!("{role} of view {view}, but {}", idle(account))),
        (false, false) => unavailable(&format!("{role}, not {wanted}")),
    }
}

/// `/replica`: it follows a primary, and is not too far behind.
fn follows(request: &HttpRequest, account: &Account) -> HttpResponse {
    let behind_max = match request.parameter("max_behind").map(str::parse) {
        None => u64::MAX,
        Some(Ok(most)) => most,
        Some(Err(_)) => {
            let why = "max_behind is a number of entries, such as /replica?max_behind=100\n";
            return HttpResponse::text(400, why);
        }
    };
    let (role, behind) = (account.standing.role.word(), account.behind);
    if account.is_serving {
        return unavailable("primary, and follows nobody");
    }
    if !account.is_following {
        return unavailable(&format!("{role}, and {}", idle(account)));
    }
    let words = format!("{role}, {behind} entries behind");
    match behind <= behind_max {
        true => HttpResponse::text(200, format!("{words}\n")),
        false => unavailable(&words),
    }
}

/// What keeps it from what its role asks for.
fn idle(account: &Account) -> String {
    let what = match account.standing.role {
        RoleName::Primary => {
            "does not serve yet, or has neither a lease nor a backup that it hears"
        }
        RoleName::Candidate => "is taking over",
        RoleName::Backup | RoleName::Spare if account.is_in_touch => "fetches what it lacks",
        RoleName::Backup | RoleName::Spare => "follows no primary",
        RoleName::Quarantined => "is out of service",
    };
    match &account.trouble {
        Some(trouble) => format!("{what}: {trouble}"),
        None => what.to_owned(),
    }
}

/// Whether it makes progress in its role. The view service is none of it: without one, a pair serves on.
fn checks(account: &Account) -> [Check; 4] {
    let ok = |is_it: bool, why: &str| if is_it { Ok(()) } else { Err(why.to_owned()) };
    let is_at_work = account.is_serving || account.is_following || account.is_in_touch;
    let role = account.standing.role.word();
    let role = match is_at_work {
        true => Ok(()),
        false => Err(format!("{role}, and {}", idle(account))),
    };
    [
        ("event loop", Ok(())),
        ("role", role),
        (
            "progress",
            ok(
                !account.is_stalled,
                "its disk or its machine has had something to do for longer than a lease term",
            ),
        ),
        (
            "room",
            ok(account.room != Room::Out, "its log takes nothing more"),
        ),
    ]
}

/// What should be known of it, and keeps it from nothing.
fn notes(account: &Account) -> [Check; 2] {
    let view_service = match account.is_view_service_there {
        true => Ok(()),
        false => Err("it does not answer".to_owned()),
    };
    let trouble = account.trouble.clone().map_or(Ok(()), Err);
    [("view service", view_service), ("trouble", trouble)]
}

fn metrics(account: &Account) -> HttpResponse {
    let all = Metrics::default();
    let standing = &account.standing;
    let roles = ROLES.map(RoleName::word);
    let role = standing.role.word();
    all.choice("role", "What this replica is.", "role", &roles, role);
    all.gauge("view", "The view it has adopted.", standing.view.view.0);
    let help = "The data epoch; rises when an operator gives up what was answered.";
    all.gauge("data_epoch", help, standing.view.data_epoch.0);
    let help = "Whether it answers requests as primary.";
    all.gauge("serving", help, account.is_serving);
    all.gauge(
        "solo",
        "Whether it answers without a backup.",
        account.is_solo,
    );
    let help = "Whether entries flow to it from a primary.";
    all.gauge("following", help, account.is_following);
    let lease = account.lease_remaining.unwrap_or_default();
    let help = "What is left of the lease that it holds; 0 if it holds none.";
    all.gauge("lease_remaining_seconds", help, lease.as_secs_f64());
    let help = "Whether the view service answers it.";
    all.gauge("viewservice_reachable", help, account.is_view_service_there);
    log_metrics(&all, account);
    let help = "Whether its disk or machine has had something to do for longer than a lease term.";
    all.gauge("stalled", help, account.is_stalled);
    let help = "Whether something wants looking after; /readyz?verbose and status say what.";
    all.gauge("trouble", help, account.trouble.is_some());
    all.gauge(
        "sessions",
        "Sessions that are open.",
        count(account.sessions),
    );
    let help = "Entries that are ordered and not applied, reads and held requests that wait.";
    all.gauge("waiting", help, account.waiting);
    if let Some(versions) = account.versions {
        let help = "The version of the machine that is executed.";
        all.gauge("machine_version", help, versions.executing);
        let help = "The newest version of the machine that this program supports.";
        let newest = versions.supported.newest;
        all.gauge("machine_version_supported", help, newest);
    }
    parting_metrics(&all, account);
    all.response()
}

fn log_metrics(all: &Metrics, account: &Account) {
    let standing = &account.standing;
    all.gauge("last_index", "The end of its log.", standing.last.index.0);
    let help = "The last entry that it knows to be committed.";
    all.gauge("commit_index", help, standing.commit.0);
    let help = "The last entry that its machine has executed.";
    all.gauge("applied_index", help, standing.applied.0);
    let help = "Committed entries that it knows of and has not executed.";
    all.gauge("behind_entries", help, account.behind);
    let (words, is) = (ROOMS.map(Room::word), account.room.word());
    all.choice("log_room", "Whether its log has room.", "room", &words, is);
    let acknowledged = account.followers.iter().map(|follower| {
        let role = if follower.is_backup {
            "backup"
        } else {
            "spare"
        };
        let labels = [follower.name.clone(), role.to_owned()];
        (labels, follower.acknowledged.0)
    });
    let help = "The last entry that a follower has acknowledged to this primary.";
    let labels = ["follower", "role"];
    all.gauges("follower_acknowledged_index", help, labels, acknowledged);
}

/// That replicas have parted must not be overlooked: see docs/determinism.md.
fn parting_metrics(all: &Metrics, account: &Account) {
    let parted = account.parted.iter().map(|name| ([name.clone()], true));
    let help = "A replica that this primary keeps out, for it came to other replies or states.";
    all.gauges("parted", help, ["replica"], parted);
    let help = "How often another replica was found to have come to other replies or states.";
    all.counter("partings_total", help, account.partings);
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
