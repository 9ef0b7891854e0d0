//! The views that there were, as people are told of them.

use standin_core::identity::{ClusterId, Durability};
use standin_core::message::{Died, HISTORY_VIEWS_MAX, HistoryReply};
use standin_core::view::{Member, Reason, ViewNumber};
use standin_viewservice::{Action, Answer, Event, History, StoredState};

use super::rig::{REPORT_EVERY, Rig, TERM, accepted, at, holder};

fn ask(rig: &mut Rig) -> HistoryReply {
    let conn = rig.conn();
    match rig.handle(Event::HistoryRequest { conn }).as_slice() {
        [
            Action::Send {
                conn: to,
                answer: Answer::History(reply),
            },
        ] if *to == conn => reply.clone(),
        other => panic!("{other:?}"),
    }
}

/// The last history among some actions that is to be kept.
fn kept(actions: &[Action]) -> Option<&History> {
    let mut histories = actions.iter().rev().filter_map(|action| match action {
        Action::KeepHistory { history } => Some(history),
        _ => None,
    });
    histories.next()
}

/// Number, primary, backup, cause, gap.
type Line = (u64, String, Option<String>, Reason, Option<u64>);

fn lines(reply: &HistoryReply) -> Vec<Line> {
    let line = |view: &standin_core::message::PastView| {
        (
            view.view.view.0,
            view.primary.to_string(),
            view.backup.as_ref().map(ToString::to_string),
            view.cause,
            view.gap_ms,
        )
    };
    reply.views.iter().map(line).collect()
}

fn activate(rig: &mut Rig, name: &str) -> Vec<Action> {
    let active = rig.record().activate(&rig.id(name));
    let said = rig.swap(name, active);
    assert!(accepted(&said));
    said
}

#[test]
fn each_view_has_its_cause_and_each_takeover_its_gap() {
    let mut rig = Rig::pair();
    assert_eq!(
        lines(&ask(&mut rig)),
        [
            (1, "a".into(), None, Reason::Bootstrap, None),
            (2, "a".into(), Some("b".into()), Reason::Joined, None),
        ]
    );
    // The lease runs out: from a's last renewal, which was the last report.
    let renewed = rig.now_ms / REPORT_EVERY * REPORT_EVERY;
    rig.kill("a");
    rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    rig.now_ms += 7;
    activate(&mut rig, "b");
    let gap = rig.now_ms - renewed;
    assert!(gap > TERM);
    let third = ask(&mut rig).views.pop().unwrap();
    assert!(third.is_active);
    assert_eq!(
        (third.cause, third.gap_ms),
        (Reason::LeaseExpired, Some(gap))
    );
    // A proof of death, some time after a renewal.
    rig.start("a", 2);
    let (b, a) = (rig.id("b"), rig.id("a"));
    rig.report("a");
    let joined = rig
        .record()
        .join(holder(&b, Durability::Os), (&a, a.token(Durability::Os)));
    assert!(accepted(&rig.swap("b", joined)));
    rig.run(REPORT_EVERY);
    let renewed = rig.now_ms / REPORT_EVERY * REPORT_EVERY;
    rig.kill("b");
    let (conn, member) = (rig.conn(), Member::of(&b));
    rig.handle(Event::Died {
        conn,
        died: Died { member },
    });
    activate(&mut rig, "a");
    let last = ask(&mut rig).views.pop().unwrap();
    let gap = rig.now_ms - renewed;
    assert_eq!((last.cause, last.gap_ms), (Reason::Died, Some(gap)));
    assert!(gap < TERM / 2);
}

#[test]
fn one_that_never_served_is_told_of_and_the_gap_goes_on_over_it() {
    let mut rig = Rig::pair();
    rig.kill("a");
    rig.run(TERM);
    rig.kill("b");
    rig.start("a", 2);
    rig.run(2 * TERM + REPORT_EVERY);
    assert_eq!(rig.view(), (4, "a".to_owned(), false));
    activate(&mut rig, "a");
    let views = ask(&mut rig).views;
    let [.., third, fourth] = views.as_slice() else {
        panic!("{views:?}")
    };
    assert_eq!((third.is_active, third.gap_ms), (false, None));
    assert_eq!(
        (fourth.is_active, fourth.cause),
        (true, Reason::NotActivated)
    );
    assert!(fourth.gap_ms.unwrap() >= 3 * TERM, "{fourth:?}");
}

#[test]
fn it_is_kept_when_a_view_is_active_and_not_while_a_takeover_is_under_way() {
    let mut rig = Rig::pair();
    rig.kill("a");
    let said = rig.run(TERM);
    assert_eq!(rig.view(), (3, "b".to_owned(), false));
    assert_eq!(kept(&said), None);
    let said = activate(&mut rig, "b");
    let history = kept(&said).unwrap();
    assert!(
        matches!(said.last(), Some(Action::KeepHistory { .. })),
        "last"
    );
    assert_eq!(history, rig.service.history());
    assert_eq!(History::decode(&history.encode()).as_ref(), Ok(history));
}

#[test]
fn it_goes_on_after_a_restart_also_without_what_was_not_kept() {
    let mut rig = Rig::pair();
    let before = rig.service.history().clone();
    rig.kill("a");
    rig.run(TERM);
    // Killed in the midst of a takeover: view 3 is stored, and not in the history.
    let state = rig.service.state().clone();
    let start = |history: History, remark: Option<String>| {
        let mut rig = Rig::on(state.clone(), TERM, 50_000);
        rig.service = standin_viewservice::ViewService::new(
            state.clone(),
            standin_viewservice::LeaseTerm::new(std::time::Duration::from_millis(TERM)).unwrap(),
            at(50_000),
        )
        .with_history(history, remark);
        rig
    };
    let mut again = start(before, None);
    let reply = ask(&mut again);
    let last = reply.views.last().unwrap();
    assert_eq!((last.view.view, last.began), (ViewNumber(3), None));
    assert_eq!((last.cause, last.is_active), (Reason::LeaseExpired, false));
    assert_eq!((reply.views.len(), reply.remark), (3, None));
    // How long nobody served is not known: the one who saw the last renewal is gone.
    again.start("b", 1);
    again.report("b");
    activate(&mut again, "b");
    let last = ask(&mut again).views.pop().unwrap();
    assert_eq!((last.is_active, last.gap_ms), (true, None));

    // Lost: it begins with the present view, and says so.
    let mut lost = start(
        History::default(),
        Some("earlier views are not known: gone".into()),
    );
    let reply = ask(&mut lost);
    assert_eq!(reply.views.len(), 1);
    assert_eq!(
        reply.remark.as_deref(),
        Some("earlier views are not known: gone")
    );

    // Of a record that is not there: none of it was here.
    let none = StoredState::new(ClusterId(1));
    let term = standin_viewservice::LeaseTerm::new(std::time::Duration::from_millis(TERM)).unwrap();
    let service = standin_viewservice::ViewService::new(none, term, at(0));
    let service = service.with_history(lost.service.history().clone(), None);
    assert_eq!(service.history(), &History::default());
}

#[test]
fn the_oldest_views_are_forgotten() {
    let mut rig = Rig::pair();
    let a = rig.id("a");
    for _ in 0..HISTORY_VIEWS_MAX {
        let drop = rig.record().drop_backup(&a);
        assert!(accepted(&rig.swap("a", drop)));
    }
    let views = ask(&mut rig).views;
    assert_eq!(views.len(), HISTORY_VIEWS_MAX);
    let rises = |two: &[standin_core::message::PastView]| two[0].view < two[1].view;
    assert!(views.windows(2).all(rises));
    assert_eq!(views.last().unwrap().view, rig.record().id());
    let bytes = rig.service.history().encode();
    assert!(History::decode(&bytes).is_ok());
}
