//! A backup that is slow (`protocol.md` sections 6 and 12): it is waited for, then dropped, and not joined again before it
//! keeps up; one that only pauses stays.

use crate::support::{Bench, TERM, identity};
use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::identity::{Durability, Identity};
use standin_core::message::Ack;
use standin_core::time::{Duration, Instant};
use standin_core::view::Reason;
use standin_primary::{Event, HandOverFailure};

const B: ConnId = ConnId(1);
const C: ConnId = ConnId(2);
const MS: Duration = Duration::from_millis(1);

/// Acknowledges all that was sent, and that everything up to `applied` is applied.
fn ack_applied(bench: &mut Bench, conn: ConnId, applied: Index) {
    let ack = Ack {
        round: bench.round(conn),
        applied,
        ..bench.ack_for(conn, bench.primary.tip().index)
    };
    bench.event(Event::Ack(conn, &ack));
}

/// And it has applied all that there is.
fn ack_whole(bench: &mut Bench, conn: ConnId) {
    let applied = applied_by_all(bench);
    ack_applied(bench, conn, applied);
}

/// Clients ask every 10 ms for `time`, as often as they are read; the backup acknowledges at once and applies one entry
/// each `apply`. How many were taken in.
fn ask_on(bench: &mut Bench, time: Duration, apply: Duration, applied: &mut Index) -> u64 {
    let before = bench.primary.tip().index;
    let (start, end) = (bench.now.boot, bench.now.boot.plus(time));
    let first = *applied;
    while bench.now.boot < end && bench.asked.too_slow.is_empty() {
        for _ in 0..5 {
            if bench.primary.has_room() {
                bench.command();
            }
        }
        bench.pass(MS * 10);
        let passed = bench.now.boot.since(start).as_nanos() / apply.as_nanos();
        let done = first.0 + u64::try_from(passed).expect("not long");
        *applied = (*applied).max(Index(done).min(bench.primary.commit()));
        ack_applied(bench, B, *applied);
    }
    bench.primary.tip().index.0 - before.0
}

fn drop_of(bench: &Bench) -> Option<Reason> {
    let mut reasons = bench.asked.swaps.iter().map(|(_, to)| to.reason);
    reasons.find(|reason| *reason == Reason::Dropped)
}

fn applied_by_all(bench: &Bench) -> Index {
    bench.primary.commit()
}

/// A pair whose backup is about to be asked to apply more than it can, and is dropped for it.
fn dropped() -> (Bench, Identity) {
    let mut bench = Bench::paired(Durability::Os);
    let mut applied = applied_by_all(&bench);
    ask_on(&mut bench, TERM * 4, MS * 100, &mut applied);
    bench.sync_all();
    bench.pass(MS);
    let (_, drop) = bench.asked.swaps.pop().expect("a Drop is asked");
    assert_eq!(drop.reason, Reason::Dropped);
    bench.record(&drop);
    bench.sync_all();
    bench.asked.swaps.clear();
    (bench, identity("b", 1))
}

#[test]
fn one_that_acknowledges_and_applies_a_hundredth_is_waited_for_and_then_dropped() {
    let mut bench = Bench::paired(Durability::Os);
    let mut applied = applied_by_all(&bench);
    let start = bench.now.boot;
    let taken = ask_on(&mut bench, TERM * 10, MS * 200, &mut applied);
    let after = bench.now.boot.since(start);
    assert_eq!(drop_of(&bench), None, "not before the own log is on disk");
    bench.sync_all();
    bench.pass(MS);
    assert_eq!(drop_of(&bench), Some(Reason::Dropped));
    assert!(after <= TERM * 3, "{after:?}");
    assert!(after >= TERM * 2, "{after:?}");
    let [(name, lag)] = bench.asked.too_slow.as_slice() else {
        panic!("{:?}", bench.asked.too_slow);
    };
    assert_eq!(name.as_str(), "b");
    assert!(
        lag.unapplied_ms > 250 && lag.unacknowledged_ms < 250,
        "{lag:?}"
    );
    // An eighth of a term's worth was taken in before it was seen to be slow, and then one for two that it did.
    assert!((60..100).contains(&taken), "{taken} entries");
    assert_eq!(bench.primary.backup_pace().drops, 1);
}

#[test]
fn while_it_is_waited_for_clients_are_served_on_at_half_its_pace() {
    let mut bench = Bench::paired(Durability::Os);
    let mut applied = applied_by_all(&bench);
    ask_on(&mut bench, TERM / 4, MS * 50, &mut applied);
    assert!(bench.primary.backup_pace().waited_for.is_some());
    let (before, had) = (applied, bench.primary.tip().index);
    let taken = ask_on(&mut bench, TERM, MS * 50, &mut applied);
    let done = applied.0 - before.0;
    assert_eq!(done, 20);
    assert!((9..=11).contains(&taken), "{taken} for {done}");
    assert!(bench.is_committed(had), "what was taken in is answered");
    ack_whole(&mut bench, B);
    assert!(bench.primary.has_room(), "it has caught up");
    assert!(bench.primary.backup_pace().waited_for.is_none());
}

#[test]
fn one_whose_every_sync_is_slow_is_dropped_though_it_is_never_silent() {
    let mut bench = Bench::paired(Durability::Disk);
    let sync = MS * 300;
    for round in 0.. {
        assert!(round < 20, "it slows every answer");
        let index = bench.command();
        bench.sync_all();
        bench.pass(sync);
        bench.ack_all(B);
        assert!(bench.is_committed(index));
        bench.pass(MS);
        if drop_of(&bench).is_some() {
            break;
        }
    }
    assert!(bench.asked.too_slow[0].1.unacknowledged_ms >= 300);
}

#[test]
fn pauses_and_slow_syncs_now_and_then_drop_nobody() {
    let mut bench = Bench::paired(Durability::Disk);
    for round in 0..100 {
        // A sync of 200 ms each time, and in each tenth a pause that is just no silence.
        let pause = if round % 10 == 0 { 490 } else { 200 };
        let index = bench.command();
        bench.sync_all();
        bench.pass(MS * pause);
        bench.ack_all(B);
        assert!(bench.is_committed(index));
        for _ in 0..10 {
            bench.command();
            bench.sync_all();
            bench.pass(MS * 5);
            bench.ack_all(B);
        }
        assert_eq!(drop_of(&bench), None, "round {round}");
    }
}

#[test]
fn a_primary_that_was_away_does_not_blame_its_backup() {
    // In the first rounds what its absence falls into is never looked at to its end, in the others it is.
    for pauses_between in [3, 6] {
        let mut bench = Bench::paired(Durability::Os);
        for round in 0..20 {
            // The backup is waited for, which is no harm yet, when the primary stops for a term.
            let before = bench.primary.tip().index;
            bench.command();
            for _ in 0..14 {
                bench.pass(MS * 10);
                bench.ack(B, before, bench.round(B));
            }
            assert!(bench.primary.backup_pace().waited_for.is_some());
            bench.now.boot = bench.now.boot.plus(TERM);
            bench.ack_all(B);
            for _ in 0..pauses_between {
                bench.pass(MS * 100);
                bench.ack_all(B);
            }
            assert_eq!(bench.asked.too_slow, [], "round {round}");
            assert_eq!(drop_of(&bench), None, "round {round}");
        }
    }
}

#[test]
fn one_that_says_nothing_is_not_waited_for() {
    let mut bench = Bench::paired(Durability::Os);
    bench.command();
    bench.pass(TERM / 4);
    for _ in 0..2 {
        bench.pass(MS * 100);
        assert!(bench.primary.has_room(), "reads are still answered");
        assert!(bench.primary.backup_pace().waited_for.is_some());
    }
}

/// A pair whose backup applies an entry each `apply`, says so only when it has, and waits for its primary. How many
/// entries it has before it after a term of that.
fn backlog_of_one_that_is_heard_only_when_it_has_applied(apply: Duration) -> u64 {
    let mut bench = Bench::paired(Durability::Os);
    let mut applied = applied_by_all(&bench);
    let start = bench.now.boot;
    while bench.now.boot.since(start) < TERM {
        for _ in 0..(apply.as_nanos() / MS.as_nanos()) {
            if bench.primary.has_room() {
                bench.command();
            }
            bench.pass(MS);
        }
        applied = applied.next().min(bench.primary.commit());
        ack_applied(&mut bench, B, applied);
    }
    bench.primary.tip().index.0 - applied.0
}

#[test]
fn what_it_has_before_it_does_not_grow_between_what_it_says() {
    // Until it is found to be behind, an eighth of a term, 125 entries come, and as many after its first word.
    let backlog = backlog_of_one_that_is_heard_only_when_it_has_applied(MS * 200);
    assert!(backlog <= 300, "{backlog} entries");
}

#[test]
fn a_backup_is_not_blamed_for_what_its_primary_takes_itself() {
    let drop_with = |own: Duration| {
        let mut bench = Bench::paired(Durability::Os);
        for _ in 0..30 {
            let applied = applied_by_all(&bench);
            bench.command();
            bench.primary.note_own_pace(own, bench.now.boot);
            for _ in 0..5 {
                ack_applied(&mut bench, B, applied);
                bench.pass(MS * 100);
            }
            ack_whole(&mut bench, B);
        }
        bench.asked.too_slow.len()
    };
    assert_eq!(drop_with(MS * 100), 0, "as slow as its primary");
    assert_eq!(drop_with(Duration::ZERO), 1, "and slower");
}

#[test]
fn no_drop_is_decided_that_the_view_service_would_not_hear_of() {
    let mut bench = Bench::paired(Durability::Os);
    let mut applied = applied_by_all(&bench);
    bench.event(Event::Lease(None));
    ask_on(&mut bench, TERM * 4, MS * 100, &mut applied);
    bench.sync_all();
    assert_eq!(bench.asked.too_slow, []);
}

#[test]
fn a_lone_primary_waits_for_a_spare_that_is_as_quick_and_behind() {
    let (mut bench, _) = dropped();
    let c = identity("c", 1);
    bench.follow(C, &c);
    // It applies one entry each 10 ms from an older one on, as many as are asked for.
    let mut applied = Index(applied_by_all(&bench).0 - 40);
    ack_applied(&mut bench, C, applied);
    for _ in 0..1000 {
        if bench.primary.has_room() {
            bench.command();
            bench.sync_all();
        }
        bench.pass(MS * 10);
        applied = applied.next().min(applied_by_all(&bench));
        ack_applied(&mut bench, C, applied);
        if !bench.asked.swaps.is_empty() {
            break;
        }
    }
    let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
    assert_eq!(join.backup.map(|it| it.name), Some(c.name));
}

#[test]
fn nobody_waits_for_a_spare_that_is_slow() {
    let (mut bench, _) = dropped();
    bench.follow(C, &identity("c", 1));
    let mut applied = Index(applied_by_all(&bench).0 - 40);
    ack_applied(&mut bench, C, applied);
    for step in 0..1000 {
        assert!(bench.primary.has_room(), "step {step}");
        bench.command();
        bench.sync_all();
        bench.pass(MS * 10);
        if step % 4 == 0 {
            applied = applied.next();
        }
        ack_applied(&mut bench, C, applied);
    }
    assert!(bench.asked.swaps.is_empty());
}

#[test]
fn what_it_may_apply_is_told_while_clients_are_not_read() {
    let mut bench = Bench::paired(Durability::Os);
    bench.command();
    bench.ack(B, bench.primary.tip().index, bench.round(B));
    // All is committed, and nobody asks anything: what is committed goes out by itself.
    let before = bench.asked.sends.len();
    bench.pass(MS * 20);
    assert!(bench.asked.sends.len() > before);
    // It applies nothing, and rounds go on, so that it can say when it has.
    let mut rounds = bench.round(B);
    let applied = Index(applied_by_all(&bench).0 - 1);
    ack_applied(&mut bench, B, applied);
    for _ in 0..4 {
        bench.pass(TERM / 8);
        assert!(bench.round(B) > rounds);
        rounds = bench.round(B);
        ack_applied(&mut bench, B, applied);
    }
    assert!(bench.primary.backup_pace().waited_for.is_some());
    ack_whole(&mut bench, B);
    assert!(bench.primary.has_room());
}

#[test]
fn a_slow_spare_is_not_joined_and_a_healthy_one_is() {
    let (mut bench, b) = dropped();
    bench.follow(B, &b);
    let behind = Index(applied_by_all(&bench).0 - 10);
    for _ in 0..100 {
        ack_applied(&mut bench, B, behind);
        bench.pass(TERM / 10);
    }
    assert!(
        bench.asked.swaps.is_empty(),
        "it has not applied what was there when it came"
    );
    let c = identity("c", 1);
    bench.follow(C, &c);
    ack_whole(&mut bench, C);
    bench.pass(MS * 20);
    ack_whole(&mut bench, C);
    let (_, join) = bench.asked.swaps.pop().expect("a Join is asked");
    assert_eq!(join.backup.map(|it| it.name), Some(c.name));
}

#[test]
fn one_that_was_dropped_for_it_waits_before_its_next_join() {
    let (mut bench, b) = dropped();
    bench.follow(B, &b);
    let start = bench.now.boot;
    while bench.asked.swaps.is_empty() {
        assert!(
            bench.now.boot.since(start) < TERM * 10,
            "it is never joined"
        );
        ack_whole(&mut bench, B);
        bench.pass(TERM / 10);
    }
    let waited = bench.now.boot.since(start);
    assert!(waited > Duration::from_millis(1800), "{waited:?}");
}

#[test]
fn nothing_is_handed_over_to_one_that_is_behind() {
    let mut bench = Bench::paired(Durability::Os);
    bench.command();
    bench.ack(B, bench.primary.tip().index, bench.round(B));
    bench.pass(MS * 20);
    let applied = Index(applied_by_all(&bench).0 - 1);
    for _ in 0..3 {
        ack_applied(&mut bench, B, applied);
        bench.pass(TERM / 10);
    }
    ack_applied(&mut bench, B, applied);
    bench.event(Event::HandOver);
    assert_eq!(bench.asked.failures, [HandOverFailure::Behind]);
    assert!(!bench.primary.is_holding(), "clients are not held in vain");
}

#[test]
fn the_age_of_a_long_backlog_is_never_taken_for_less() {
    let mut bench = Bench::paired(Durability::Os);
    let from = applied_by_all(&bench);
    let mut told: Vec<(Index, Instant)> = Vec::new();
    for _ in 0..3000 {
        let index = bench.command();
        let at = bench.now.boot;
        ack_applied(&mut bench, B, from);
        bench.event(Event::Deadline);
        told.push((index, at));
        bench.now.boot = bench.now.boot.plus(Duration::from_micros(50));
    }
    let lag = bench
        .primary
        .lags(bench.now.boot)
        .next()
        .expect("it follows");
    let oldest = bench.now.boot.since(told[0].1).as_millis();
    assert!(
        u128::from(lag.unapplied_ms) + 11 >= oldest,
        "{lag:?}, and {oldest} ms"
    );
    // Half of it is applied.
    let (half, since) = told[1500];
    ack_applied(&mut bench, B, half);
    let lag = bench
        .primary
        .lags(bench.now.boot)
        .next()
        .expect("it follows");
    let age = bench.now.boot.since(since).as_millis();
    let told = u128::from(lag.unapplied_ms);
    assert!(
        told + 11 >= age && told <= age + 11,
        "{lag:?}, and {age} ms"
    );
}
