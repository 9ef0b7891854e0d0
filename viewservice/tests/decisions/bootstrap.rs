//! The first view, and a record that was lost.

use standin_core::message::RoleName;
use standin_core::view::{Reason, ViewId, ViewNumber};
use standin_viewservice::Action;

use super::rig::{Rig, TERM, report_replies, stores};

#[test]
fn the_first_replica_to_report_becomes_the_candidate_of_view_1() {
    let mut rig = Rig::new();
    rig.start("a", 1);
    rig.start("b", 1);
    let actions = rig.report("a");
    assert_eq!(stores(&actions), 1, "name and view in one store");
    assert_eq!(rig.view(), (1, "a".to_owned(), false));
    assert_eq!(rig.record().reason, Reason::Bootstrap);
    assert_eq!(rig.record().holders.len(), 1);

    let actions = rig.report("b");
    assert_eq!(stores(&actions), 1, "its name");
    assert_eq!(rig.view(), (1, "a".to_owned(), false), "once");
    let names: Vec<_> = (rig.service.state().replicas.iter())
        .map(|replica| replica.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn nothing_is_said_before_the_first_view_is_durable() {
    let mut rig = Rig::new();
    rig.disk_is_slow = true;
    rig.start("a", 1);
    rig.start("b", 1);
    let actions = rig.report("a");
    assert!(matches!(actions.as_slice(), [Action::Store { .. }]));
    assert_eq!(rig.report("b"), [], "it waits for the store in progress");
    assert_eq!(rig.status().record, None, "not durable, so not revealed");

    let actions = rig.stored();
    let replies = report_replies(&actions);
    assert_eq!(replies[0].0, rig.nodes["a"].conn);
    assert_eq!(replies[0].1.record, Some(rig.record()));
    assert_eq!(stores(&actions), 1, "now b's name is stored");
    let actions = rig.stored();
    assert_eq!(report_replies(&actions)[0].0, rig.nodes["b"].conn);
}

#[test]
fn two_replicas_that_report_at_once_do_not_both_begin() {
    let mut rig = Rig::new();
    rig.disk_is_slow = true;
    rig.start("b", 1);
    rig.start("a", 1);
    rig.report("b");
    rig.report("a");
    rig.stored();
    rig.stored();
    assert_eq!(rig.view(), (1, "b".to_owned(), false));
    assert_eq!(rig.service.state().replicas.len(), 2);
}

#[test]
fn a_replica_with_a_past_never_begins_a_first_view() {
    for (view, last) in [(3, (0, 0)), (0, (2, 9))] {
        let mut rig = Rig::new();
        rig.start("a", 1);
        rig.node("a").last = last;
        rig.node("a").view = Some(ViewId {
            view: ViewNumber(view),
            ..ViewId::default()
        });
        let actions = rig.report("a");
        assert_eq!(stores(&actions), 0);
        assert_eq!(report_replies(&actions)[0].1.record, None);
        // And nobody else does either: what that one knows of is not to be begun anew.
        rig.start("b", 1);
        rig.report("b");
        rig.kill("a");
        rig.run(5 * TERM);
        assert_eq!(rig.service.state().record, None);
        let words = rig.unavailable();
        assert!(words.contains("lost its record"), "{words}");
        assert!(
            words.contains("data directory that it had before"),
            "{words}"
        );
    }
}

#[test]
fn a_quarantined_replica_is_no_first_primary() {
    let mut rig = Rig::new();
    rig.start("a", 1);
    rig.node("a").role = RoleName::Quarantined;
    rig.report("a");
    assert_eq!(rig.service.state().record, None);
    rig.start("b", 1);
    rig.report("b");
    assert_eq!(rig.view().1, "b");
}

#[test]
fn an_old_copy_of_the_service_decides_nothing() {
    let mut rig = Rig::pair();
    // b has seen view 9; this service knows nothing of it.
    rig.node("b").view = Some(ViewId {
        view: ViewNumber(9),
        ..ViewId::default()
    });
    rig.report("b");
    rig.kill("a");
    rig.run(5 * TERM);
    assert_eq!(rig.view(), (2, "a".to_owned(), true));
    let words = rig.unavailable();
    assert!(words.contains("is an old copy"), "{words}");
    assert!(words.contains("b was in view 9"), "{words}");
    rig.start("a", 2);
    rig.report("a");
    assert_eq!(rig.view().0, 2);
}
