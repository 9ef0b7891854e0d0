//! What is answered by made-up accounts.

use std::collections::BTreeSet;

use standin_core::entry::{Index, LogTip};
use standin_core::identity::ClusterId;
use standin_core::message::{RoleName, Room, Standing};
use standin_core::version::{VersionRange, VersionStanding};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};
use standin_replica::{Account, FollowerAccount};
use standin_viewservice::ServiceAccount;

use super::replica::{Moment, answer};
use super::*;

fn account(role: RoleName) -> Account {
    let is_primary = role == RoleName::Primary;
    Account {
        standing: Standing {
            view: ViewId {
                data_epoch: DataEpoch(0),
                view: ViewNumber(3),
            },
            role,
            last: LogTip {
                index: Index(12),
                ..LogTip::default()
            },
            commit: Index(11),
            applied: Index(8),
            reply_digest: 0,
        },
        is_serving: is_primary,
        is_solo: false,
        is_following: matches!(role, RoleName::Backup | RoleName::Spare),
        is_in_touch: matches!(role, RoleName::Backup | RoleName::Spare),
        is_stalled: false,
        behind: 3,
        lease_remaining: is_primary.then_some(Duration::from_millis(500)),
        is_view_service_there: true,
        room: Room::Enough,
        trouble: None,
        versions: Some(VersionStanding {
            executing: 2,
            supported: VersionRange::only(2),
        }),
        followers: Vec::new(),
        parted: BTreeSet::new(),
        partings: 0,
        sessions: 4,
        waiting: 5,
    }
}

/// `None`: the event loop does not answer.
fn asked(target: &str, moment: Moment, account: Option<&Account>) -> (u16, String) {
    let nobody = || -> Result<_, String> { unreachable!("the view service was not asked about") };
    let account = || account.cloned().map(Box::new);
    said(&answer(&HttpRequest::to(target), moment, account, nobody))
}

fn said(response: &HttpResponse) -> (u16, String) {
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    (response.status(), body)
}

fn of(target: &str, account: &Account) -> (u16, String) {
    asked(target, Moment::Running, Some(account))
}

#[test]
fn one_that_starts_or_ends_is_alive_and_nothing_else() {
    for (moment, words) in [(Moment::Starting, "starting"), (Moment::Ending, "ending")] {
        assert_eq!(asked("/livez", moment, None), (200, format!("{words}\n")));
        for target in ["/readyz", "/primary", "/backup", "/replica", "/metrics"] {
            let (status, body) = asked(target, moment, None);
            assert_eq!(status, 503, "{target}");
            assert!(body.starts_with(words), "{body}");
            assert_eq!(asked(target, Moment::Running, None).0, 503, "{target}");
        }
    }
    assert_eq!(asked("/livez", Moment::Running, None).0, 503, "it is stuck");
    let (status, body) = asked("/livez/", Moment::Starting, None);
    assert_eq!(status, 404);
    assert!(body.contains("/readyz"), "{body}");
}

#[test]
fn what_the_view_service_says_is_passed_on_or_that_it_says_nothing() {
    let cluster = || Err("asked h:1 in vain".to_owned());
    let request = HttpRequest::to("/status");
    let (status, body) = said(&answer(&request, Moment::Starting, || None, cluster));
    assert_eq!(status, 503);
    assert!(
        body.contains("does not answer: asked h:1 in vain"),
        "{body}"
    );
}

#[test]
fn a_role_is_what_is_also_done() {
    let mut primary = account(RoleName::Primary);
    assert_eq!(
        of("/primary", &primary),
        (200, "primary of view 3\n".into())
    );
    assert_eq!(
        of("/replica", &primary),
        (503, "primary, and follows nobody\n".into())
    );
    primary.is_serving = false;
    let (status, body) = of("/primary", &primary);
    assert_eq!(status, 503);
    assert!(body.contains("neither a lease nor"), "{body}");
    assert_eq!(of("/readyz", &primary).0, 503);
    let mut backup = account(RoleName::Backup);
    assert_eq!(of("/backup", &backup).0, 200);
    backup.is_following = false;
    assert_eq!(of("/readyz", &backup).0, 200, "it fetches a snapshot");
    let (status, body) = of("/replica", &backup);
    assert_eq!(status, 503);
    assert!(body.contains("fetches what it lacks"), "{body}");
    backup.is_in_touch = false;
    for target in ["/backup", "/replica", "/readyz"] {
        let (status, body) = of(target, &backup);
        assert_eq!(status, 503, "{target}");
        assert!(body.contains("follows no primary"), "{body}");
    }
    let mut quarantined = account(RoleName::Quarantined);
    quarantined.trouble = Some("its log is damaged".into());
    let (status, body) = of("/readyz", &quarantined);
    assert_eq!(status, 503);
    assert!(body.contains("its log is damaged"), "{body}");
}

#[test]
fn how_far_behind_is_allowed_is_up_to_who_asks() {
    let spare = account(RoleName::Spare);
    let (status, body) = of("/replica", &spare);
    assert_eq!((status, body.as_str()), (200, "spare, 3 entries behind\n"));
    assert_eq!(of("/replica?max_behind=3", &spare).0, 200);
    assert_eq!(of("/replica?max_behind=2", &spare).0, 503);
    for nonsense in ["", "x", "-1", "1e3"] {
        let target = format!("/replica?max_behind={nonsense}");
        assert_eq!(of(&target, &spare).0, 400, "{target}");
    }
}

#[test]
fn each_want_keeps_it_from_being_ready() {
    let primary = account(RoleName::Primary);
    assert_eq!(of("/readyz", &primary), (200, "ready\n".into()));
    type Want = fn(&mut Account);
    let wants: [(&str, Want); 3] = [
        ("progress", |it| it.is_stalled = true),
        ("room", |it| it.room = Room::Out),
        ("role", |it| it.is_serving = false),
    ];
    for (name, want) in wants {
        let mut account = primary.clone();
        want(&mut account);
        let (status, body) = of("/readyz", &account);
        assert_eq!(status, 503, "{name}");
        assert!(body.starts_with(&format!("not ready: {name}: ")), "{body}");
        let (status, body) = of("/readyz?verbose", &account);
        assert_eq!((status, body.lines().count()), (503, 6), "{body}");
        let failed = body.lines().filter(|line| line.starts_with("[-] "));
        assert_eq!(failed.count(), 1, "{body}");
    }
    let mut account = primary;
    account.room = Room::Lacking;
    account.trouble = Some("b is dropped".into());
    account.is_view_service_there = false;
    assert_eq!(of("/readyz", &account).0, 200, "it makes progress");
    let (status, body) = of("/readyz?verbose", &account);
    assert_eq!(status, 200);
    for note in ["[!] view service: it does not", "[!] trouble: b is"] {
        assert!(body.contains(note), "{body}");
    }
}

#[test]
fn metrics_say_what_is_known() {
    let mut primary = account(RoleName::Primary);
    primary.followers.push(FollowerAccount {
        name: "b".into(),
        is_backup: true,
        acknowledged: Index(10),
    });
    primary.parted.insert("c".into());
    primary.partings = 2;
    let (status, text) = of("/metrics", &primary);
    assert_eq!(status, 200);
    for line in [
        "standin_role{role=\"primary\"} 1",
        "standin_role{role=\"backup\"} 0",
        "standin_view 3",
        "standin_lease_remaining_seconds 0.5",
        "standin_last_index 12",
        "standin_behind_entries 3",
        "standin_log_room{room=\"enough\"} 1",
        "standin_follower_acknowledged_index{follower=\"b\",role=\"backup\"} 10",
        "standin_parted{replica=\"c\"} 1",
        "# TYPE standin_partings_total counter",
        "standin_partings_total 2",
        "standin_machine_version 2",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    let (_, text) = of("/metrics", &account(RoleName::Spare));
    assert!(text.contains("standin_lease_remaining_seconds 0\n"));
    assert!(!text.contains("standin_parted{"), "{text}");
}

#[test]
fn a_view_service_that_lets_nobody_serve_is_not_ready_and_one_without_room_is() {
    let mut account = ServiceAccount {
        status: StatusReply {
            cluster: ClusterId(1),
            record: None,
            term_ms: 1000,
            lease_remaining_ms: None,
            replicas: Vec::new(),
            unavailable: Some("no replica has started".into()),
            trouble: Some("no room".into()),
        },
        unfit: None,
    };
    let of = |target: &str, account: &ServiceAccount| {
        let response = viewservice::answer(&HttpRequest::to(target), || Some(account.clone()));
        said(&response)
    };
    assert_eq!(of("/readyz", &account), (200, "ready\n".into()));
    let (_, body) = of("/readyz?verbose", &account);
    assert!(body.ends_with("[!] trouble: no room\n"), "{body}");
    account.unfit = Some("the view record is lost".into());
    let (status, body) = of("/readyz", &account);
    assert_eq!(status, 503);
    assert!(body.contains("the view record is lost"), "{body}");
    assert_eq!(of("/livez", &account).0, 200);
    let (_, metrics) = of("/metrics", &account);
    assert!(metrics.contains("standin_unavailable 1\n"), "{metrics}");
    let silent = viewservice::answer(&HttpRequest::to("/livez"), || None);
    assert_eq!(silent.status(), 503);
}
