//! What `status` makes of made-up replies.

use clap::Parser;
use serde_json::json;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{BootId, ClusterId, Durability, Identity, Incarnation, Life, StoreId};
use standin_core::message::{Peer, ReplicaStatus, Room, Standing};
use standin_core::time::WallTime;
use standin_core::version::{VersionRange, VersionStanding};
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewNumber, ViewRecord};

use super::*;

fn name(name: &str) -> ReplicaName {
    ReplicaName::new(name).unwrap()
}

fn identity(of: &str) -> Identity {
    Identity {
        name: name(of),
        store: StoreId(u128::from(of.as_bytes()[0])),
        life: Life {
            boot: BootId(7),
            incarnation: Incarnation {
                start: 2,
                nonce: 10,
            },
        },
        clean_lives: Vec::new(),
    }
}

fn replica(of: &str, role: RoleName, last: u64) -> ReplicaStatus {
    ReplicaStatus {
        peer: Peer {
            identity: identity(of),
            address: format!("{of}:7101"),
            unseen_ms: 20,
        },
        standing: Some(Standing {
            view: ViewId {
                data_epoch: DataEpoch(0),
                view: ViewNumber(3),
            },
            role,
            last: LogTip {
                index: Index(last),
                view: ViewNumber(3),
                chain: 1,
                time: WallTime(1),
            },
            commit: Index(last - 1),
            applied: Index(last - 2),
            reply_digest: 0xabc,
        }),
        is_alive: true,
        trouble: None,
        room: Some(Room::Enough),
        behind_ms: Some(0),
        versions: Some(VersionStanding {
            executing: 0,
            supported: VersionRange::only(0),
        }),
    }
}

/// View 3: primary b, backup c, spare a.
fn reply() -> StatusReply {
    let (b, c) = (identity("b"), identity("c"));
    let holder = |identity: &Identity| Holder {
        name: identity.name.clone(),
        token: identity.token(Durability::Os),
    };
    StatusReply {
        cluster: ClusterId(5),
        record: Some(ViewRecord {
            cluster: ClusterId(5),
            data_epoch: DataEpoch(0),
            view: ViewNumber(3),
            primary: Member::of(&b),
            backup: Some(Member::of(&c)),
            holders: vec![holder(&b), holder(&c)],
            active: true,
            term_ms: 1000,
            reason: Reason::Joined,
            skips: Vec::new(),
        }),
        term_ms: 1000,
        lease_remaining_ms: Some(812),
        replicas: vec![
            replica("a", RoleName::Spare, 7),
            replica("b", RoleName::Primary, 9),
            replica("c", RoleName::Backup, 9),
        ],
        unavailable: None,
        trouble: None,
    }
}

fn json_of(reply: &StatusReply) -> serde_json::Value {
    serde_json::to_value(Account::of(reply)).unwrap()
}

#[test]
fn the_json_is_as_promised() {
    let of = |name: &str, role: &str, last: u64, behind: u64| {
        json!({
            "name": name, "role": role, "address": format!("{name}:7101"),
            "incarnation": "2-000000000000000a", "alive": true, "view": 3,
            "last_index": last, "commit_index": last - 1, "applied_index": last - 2,
            "digest": "00000000000000000000000000000abc", "behind": behind,
            "behind_ms": 0, "room": "enough", "machine_version": 0, "machine_versions": [0, 0],
        })
    };
    let expected = json!({
        "view": {
            "number": 3, "primary": "b", "backup": "c",
            "active": true, "data_epoch": 0, "cause": "a spare became the backup",
        },
        "lease": {"holder": "b", "term_ms": 1000, "remaining_ms": 812},
        "replicas": [of("a", "spare", 7, 2), of("b", "primary", 9, 0), of("c", "backup", 9, 0)],
        "cluster": "00000000000000000000000000000005",
    });
    assert_eq!(json_of(&reply()), expected);
    let text = render(&Account::of(&reply()), true);
    assert!(
        text.starts_with(r#"{"view":{"number":3,"primary":"b","backup":"c","#),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn what_is_missing_is_null() {
    let mut reply = reply();
    let record = reply.record.as_mut().unwrap();
    record.backup = None;
    record.active = false;
    reply.lease_remaining_ms = None;
    reply.replicas[1].standing = None;
    reply.replicas[2].is_alive = false;
    reply.unavailable = Some("both are gone; start one".to_owned());
    let json = json_of(&reply);
    assert_eq!(json["view"]["backup"], json!(null));
    assert_eq!(
        json["lease"],
        json!({"holder": null, "term_ms": 1000, "remaining_ms": null})
    );
    assert_eq!(json["unavailable"], "both are gone; start one");
    assert_eq!(json["replicas"][1]["role"], "candidate");
    assert_eq!(json["replicas"][1]["last_index"], json!(null));
    assert_eq!(
        json["replicas"][0]["behind"],
        json!(null),
        "the primary's end is unknown"
    );
    assert_eq!(
        json["replicas"][2]["role"],
        json!(null),
        "the dead are in no role"
    );
    assert_eq!(json["replicas"][2]["alive"], false);
    reply.record = None;
    assert_eq!(json_of(&reply)["view"], json!(null));
}

#[test]
fn a_restarted_primary_is_not_what_its_former_life_was() {
    let mut reply = reply();
    reply.replicas[1].peer.identity.life.incarnation.start = 3;
    assert_eq!(json_of(&reply)["replicas"][1]["role"], "spare");
    assert_eq!(json_of(&reply)["replicas"][0]["behind"], json!(null));
}

#[test]
fn a_restarted_backup_is_the_backup_as_long_as_it_has_what_it_acknowledged() {
    let mut reply = reply();
    let is_spare = |reply: &StatusReply| check(reply, &name("c"), Expected::Spare);
    reply.replicas[2].peer.identity.life.incarnation.start = 3;
    assert_eq!(check(&reply, &name("c"), Expected::Backup), Ok(()));
    assert!(is_spare(&reply).is_err());
    reply.replicas[2].peer.identity.life.boot = BootId(8);
    assert_eq!(is_spare(&reply), Ok(()), "its page cache is gone");
}

#[test]
fn expectations_are_about_the_living_and_the_record() {
    let check = |reply: &StatusReply, of: &str, expected| check(reply, &name(of), expected);
    let mut reply = reply();
    assert_eq!(check(&reply, "a", Expected::Spare), Ok(()));
    assert_eq!(check(&reply, "b", Expected::Primary), Ok(()));
    assert_eq!(check(&reply, "c", Expected::Backup), Ok(()));
    let no = check(&reply, "c", Expected::Primary).unwrap_err();
    assert_eq!(no, "c is backup, not primary");
    let no = check(&reply, "x", Expected::Spare).unwrap_err();
    assert!(no.contains("no replica of that name"), "{no}");
    reply.replicas[0].is_alive = false;
    for expected in [Expected::Primary, Expected::Backup, Expected::Spare] {
        assert!(
            check(&reply, "a", expected).is_err(),
            "the dead are nothing"
        );
    }
    reply.record.as_mut().unwrap().active = false;
    let no = check(&reply, "b", Expected::Primary).unwrap_err();
    assert_eq!(no, "b is candidate, not primary");
    reply.replicas[2].standing.as_mut().unwrap().role = RoleName::Quarantined;
    let no = check(&reply, "c", Expected::Backup).unwrap_err();
    assert_eq!(no, "c is quarantined, not backup");
    (reply.replicas[2].is_alive, reply.replicas[2].peer.unseen_ms) = (false, UNSEEN_DEAD_MS);
    let no = check(&reply, "c", Expected::Backup).unwrap_err();
    assert_eq!(no, "c is not backup: its process has died");
}

#[test]
fn the_table_shows_every_replica_and_why_nobody_serves() {
    let mut reply = reply();
    let text = render(&Account::of(&reply), false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "view    3: primary b, backup c (a spare became the backup)"
    );
    assert_eq!(lines[1], "lease   b, 812 of 1000 ms left");
    let cells: Vec<&str> = lines[4].split_whitespace().collect();
    assert_eq!(
        cells[..10],
        ["a", "spare", "a:7101", "3", "7", "6", "5", "2", "0", "ms"]
    );
    assert_eq!(lines.len(), 7);
    reply.replicas[0].is_alive = false;
    reply.replicas[1].trouble = Some("its disk failed".to_owned());
    reply.unavailable = Some("why".to_owned());
    reply.trouble = Some("no room".to_owned());
    let text = render(&Account::of(&reply), false);
    assert!(text.contains("a     dead"), "{text}");
    assert!(text.contains("\nb: its disk failed\n"), "{text}");
    assert!(text.contains("\nunavailable: why\n"), "{text}");
    assert!(text.contains("\nview service: no room\n"), "{text}");
}

#[test]
fn versions_of_the_machine_are_shown_while_they_may_change() {
    let words = |reply: &StatusReply| Account::of(reply).versions_words();
    let mut reply = reply();
    assert_eq!(words(&reply), None, "there is one version alone");
    reply.replicas[0].versions = None;
    let versions = reply.replicas[1].versions.as_mut().unwrap();
    versions.supported.newest = 2;
    assert_eq!(
        words(&reply).unwrap(),
        "version 0; b executes 0, supports 0 to 2; c executes 0, supports 0"
    );
    let json = &json_of(&reply)["replicas"];
    assert_eq!(json[0]["machine_version"], json!(null));
    assert_eq!(json[1]["machine_versions"], json!([0, 2]));
    let table = render(&Account::of(&reply), false);
    assert!(table.contains("\nmachine version 0; b executes"), "{table}");
    // As it is after an Upgrade of which a spare has not read yet.
    let only = VersionRange::only(2);
    for (replica, executing) in reply.replicas[1..].iter_mut().zip([2, 1]) {
        replica.versions = Some(VersionStanding {
            executing,
            supported: only,
        });
    }
    assert_eq!(
        words(&reply).unwrap(),
        "version 2; b executes 2, supports 2; c executes 1, supports 2"
    );
}

#[test]
fn time_that_passes_is_no_news() {
    let mut later = reply();
    later.lease_remaining_ms = Some(500);
    let steady = |reply: &StatusReply| Account::of(reply).without_time();
    assert_ne!(Account::of(&reply()), Account::of(&later));
    assert_eq!(steady(&reply()), steady(&later));
    later.lease_remaining_ms = None;
    assert_ne!(steady(&reply()), steady(&later), "that nobody holds it is");
}

#[test]
fn the_flags_are_understood() {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: StatusArgs,
    }
    let parse = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.args);
    let args = parse("status --viewservice h:1 --json --watch").unwrap();
    assert!(args.json && args.watch);
    let args = parse("status --viewservice h:1 --name a --expect backup").unwrap();
    assert_eq!(args.expect, Some(Expected::Backup));
    assert!(
        parse("status --viewservice h:1 --expect backup").is_err(),
        "of whom?"
    );
    assert!(parse("status --viewservice h:1 --name a --expect leader").is_err());
    assert!(parse("status --viewservice h:1 --name A!").is_err());
}
