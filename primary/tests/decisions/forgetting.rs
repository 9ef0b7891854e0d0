//! A log whose beginning is gone: who follows from where, and who is offered a snapshot instead.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::Durability;
use standin_core::message::Follow;
use standin_primary::Event;

use crate::support::{Bench, identity};

const C: ConnId = ConnId(3);

/// A lone primary with ten entries, and the end of its log as it was before each of the last ones.
fn lone() -> (Bench, Vec<LogTip>) {
    let mut bench = Bench::solo(Durability::Os);
    let mut tips = vec![bench.primary.tip()];
    while bench.primary.tip().index < Index(10) {
        bench.command();
        bench.sync_all();
        tips.push(bench.primary.tip());
    }
    (bench, tips)
}

fn follow_from(bench: &mut Bench, last: LogTip) {
    let starts = bench.primary.view_starts().iter().copied();
    let follow = Follow {
        identity: identity("c", 1),
        view: bench.primary.record().id(),
        last,
        view_starts: starts.filter(|(_, first)| *first <= last.index).collect(),
        resp: None,
        versions: standin_core::version::VersionRange::only(1),
    };
    bench.event(Event::Follow(C, &follow));
}

#[test]
fn who_lacks_what_is_gone_is_offered_a_snapshot_and_nobody_else() {
    let (mut bench, tips) = lone();
    let base = tips[tips.len() - 4];
    bench.event(Event::Forgotten(base));
    follow_from(&mut bench, tips[tips.len() - 5]);
    assert_eq!(bench.asked.offers, [C]);
    assert!(bench.asked.resumes.is_empty());
    assert_eq!(bench.primary.needs_from(), None, "it has no stream");

    bench.asked.offers.clear();
    follow_from(&mut bench, LogTip::default());
    assert_eq!(bench.asked.offers, [C], "nor with nothing at all");

    bench.asked.offers.clear();
    follow_from(&mut bench, base);
    assert!(bench.asked.offers.is_empty());
    let resumes: Vec<_> = bench.asked.resumes.drain(..).collect();
    assert_eq!(resumes.len(), 1);
    assert_eq!(resumes[0].1.common, base, "known though its entry is gone");
    assert_eq!(bench.primary.needs_from(), Some(base.index.next()));
}

#[test]
fn a_stream_that_is_behind_what_is_forgotten_ends() {
    let (mut bench, tips) = lone();
    follow_from(&mut bench, tips[tips.len() - 5]);
    let common = tips[tips.len() - 5].index;
    assert_eq!(bench.primary.needs_from(), Some(common), "to look it up");
    bench.event(Event::Forgotten(tips[tips.len() - 5]));
    assert!(bench.asked.closed.is_empty(), "it is not behind");
    bench.event(Event::Forgotten(tips[tips.len() - 3]));
    assert_eq!(bench.asked.closed, [C]);
    assert_eq!(bench.primary.needs_from(), None);
}

#[test]
fn views_that_are_gone_are_forgotten_but_for_the_one_that_goes_on() {
    let (mut bench, tips) = lone();
    let starts = bench.primary.view_starts().clone();
    bench.event(Event::Forgotten(*tips.last().unwrap()));
    assert_eq!(bench.primary.view_starts(), &starts[starts.len() - 1..]);
}
