//! When what is committed is applied.

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::message::Entries;
use standin_replica::{Action, Event, ReadFor, Recovered};

use crate::support::{Bench, identity, resume, view};

const PEER: ConnId = ConnId(1);

/// A machine may take long with an entry: nobody waits for that who waits for an acknowledgement.
#[test]
fn nothing_is_applied_before_all_is_said_that_others_wait_for() {
    let mut bench = Bench::follower();
    bench.event(Event::Dialled(PEER));
    bench.event(Event::Resume(PEER, &resume(view(1))));
    let batch = Bench::primary().appended.remove(0);
    let entries = Entries {
        nonce: 1,
        view: view(1),
        round: 1,
        commit: batch.last(),
        bytes: batch.bytes(),
    };
    let mut next = |event| {
        bench.replica.handle(bench.now, event);
        let actions: Vec<_> = std::iter::from_fn(|| bench.replica.next_action()).collect();
        (actions, bench.replica.state().applied())
    };
    let (actions, applied) = next(Event::Entries(PEER, &entries));
    let is_append = |action: &Action| matches!(action, Action::Append(_));
    assert!(actions.iter().any(is_append), "{actions:?}");
    assert_eq!(applied, Index::ZERO);
    next(Event::Written(batch.last()));
    let (actions, applied) = next(Event::Flush);
    let acknowledged = actions.iter().find_map(|action| match action {
        Action::Ack(PEER, ack) => Some((ack.durable, ack.applied)),
        _ => None,
    });
    assert_eq!(acknowledged, Some((batch.last(), Index::ZERO)));
    assert_eq!(applied, Index::ZERO);
    let (_, applied) = next(Event::Apply);
    assert_eq!(applied, batch.last());
}

/// What a new life replays is read in pieces: as each is there it is applied, and the next is asked for, without a wake-up
/// in between.
#[test]
fn what_was_read_is_applied_and_the_next_is_asked_for_at_once() {
    let mut primary = Bench::primary();
    for id in 1..=3 {
        primary.open(id);
        primary.sync();
    }
    let batches = primary.appended;
    assert!(batches.len() > 2, "{batches:?}");
    let tip = batches.last().expect("some").tip();
    let recovered = Recovered {
        tip,
        commit: tip.index,
        ..Recovered::default()
    };
    let mut bench = Bench::new(identity("a", 2), view(1), recovered);
    let asked = |action: Action| match action {
        Action::ReadLog(ReadFor::Apply, from, _) => Some(from),
        _ => None,
    };
    let begun: Vec<_> = bench.actions.drain(..).filter_map(asked).collect();
    assert_eq!(begun, [batches[0].first()]);
    for batch in &batches {
        let read = Event::LogRead(ReadFor::Apply, batch.bytes().to_vec());
        bench.replica.handle(bench.now, read);
        assert_eq!(bench.replica.state().applied(), batch.last());
        let actions = std::iter::from_fn(|| bench.replica.next_action());
        let next: Vec<_> = actions.filter_map(asked).collect();
        let is_last = batch.last() == tip.index;
        let expected = (!is_last).then(|| batch.last().next());
        assert_eq!(next, Vec::from_iter(expected));
    }
}
