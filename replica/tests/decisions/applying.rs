//! When what is committed is applied.

use standin_core::conn::ConnId;
use standin_core::entry::Index;
use standin_core::message::Entries;
use standin_replica::{Action, Event};

use crate::support::{Bench, resume, view};

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
