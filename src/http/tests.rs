//! What is answered by made-up accounts.

use std::collections::BTreeSet;

use standin_client::AskError;
use standin_core::entry::{Index, LogTip};
use standin_core::message::{RoleName, Room, Standing};
use standin_core::version::{VersionRange, VersionStanding};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};
use standin_replica::{Account, FollowerAccount};

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
        is_stalled: false,
        behind: 3,
        lease_remaining: is_primary.then_some(Duration::from_millis(500)),
        is_view_service_there: true,
        room: Room::Enough,
        trouble: None,
        versions: VersionStanding {
            executing: 2,
            supported: VersionRange::only(2),
        },
        followers: Vec::new(),
        parted: BTreeSet::new(),
        partings: 0,
        sessions: 4,
        waiting: 5,
    }
}

fn asked(target: &str, moment: Moment) -> (u16, String) {
    let nobody = || -> Result<_, AskError> { unreachable!("the view service was not asked about") };
    let response = answer(&HttpRequest::to(target), || moment, nobody);
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    (response.status(), body)
}

fn of(target: &str, account: &Account) -> (u16, String) {
    asked(target, Moment::Running(Box::new(account.clone())))
}

#[test]
fn one_that_starts_is_alive_and_nothing_else() {
    assert_eq!(asked("/livez", Moment::Starting).0, 200);
    for target in ["/readyz", "/primary", "/backup", "/replica", "/metrics"] {
        let (status, body) = asked(target, Moment::Starting);
        assert_eq!(status, 503, "{target}");
        assert!(body.starts_with("starting"), "{body}");
        assert_eq!(asked(target, Moment::Stuck).0, 503, "{target}");
    }
    assert_eq!(asked("/livez", Moment::Stuck).0, 503);
    let (status, body) = asked("/livez/", Moment::Starting);
    assert_eq!(status, 404);
    assert!(body.contains("/readyz"), "{body}");
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
    assert!(body.contains("has no lease"), "{body}");
    assert_eq!(of("/readyz", &primary).0, 503);
    let mut backup = account(RoleName::Backup);
    assert_eq!(of("/backup", &backup).0, 200);
    backup.is_following = false;
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
    let wants: [(&str, Want); 4] = [
        ("view service", |it| it.is_view_service_there = false),
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
        assert_eq!((status, body.lines().count()), (503, 5), "{body}");
        let failed = body.lines().filter(|line| line.starts_with("[-] "));
        assert_eq!(failed.count(), 1, "{body}");
    }
    let mut account = primary;
    account.room = Room::Lacking;
    account.trouble = Some("b is dropped".into());
    assert_eq!(of("/readyz", &account).0, 200, "it makes progress");
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
