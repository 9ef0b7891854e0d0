//! After a forced takeover a client whose last answer may be lost is told so (`protocol.md` section 7).

use standin_client::{ConnectionId, Event, Seen};
use standin_core::entry::Index;
use standin_core::message::{LookupReply, ReplyStatus};
use standin_core::view::{DataEpoch, ViewId, ViewNumber};

use crate::harness::{Ended, Harness, Said, What, sent};

fn forced(view: u64, index: u64) -> Seen {
    Seen {
        view: ViewId {
            data_epoch: DataEpoch(1),
            view: ViewNumber(view),
        },
        index: Index(index),
    }
}

#[test]
fn a_client_whose_last_answer_may_be_lost_is_told_so_once_and_goes_on_in_another_session() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.reply(2, frames[0].id, ReplyStatus::AnswerLost, forced(5, 4), b"");
    assert_eq!(said, [Said::Close(2), Said::Failed(1, Ended::AnswerLost)]);
    let words = &client.errors[0];
    for part in [
        "up to entry 11 (view 1) may be lost",
        "nothing was executed",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(client.core.seen(), forced(5, 4));
    assert_eq!(
        client.core.session(),
        None,
        "its number may be another client's"
    );
    client.command(2, b"d");
    client.handle(Event::Found {
        connection: ConnectionId(1),
        reply: LookupReply {
            view: Some(forced(5, 4).view),
            primary: Some("b:1".to_owned()),
            term_ms: 1000,
        },
    });
    let frames = client.connected_and_sent(3);
    assert_eq!(
        (frames[0].what.clone(), frames[0].seen),
        (What::Open, forced(5, 4))
    );
}

#[test]
fn what_may_have_been_executed_stays_unknown() {
    let mut client = Harness::settled();
    client.command(1, b"c");
    client.closed(2);
    client.found(1, 5, Some("b:1"));
    let again = client.connected_and_sent(3);
    let query = sent(&client.query(2, b"q"));
    let said = client.reply(3, again[0].id, ReplyStatus::AnswerLost, forced(5, 4), b"");
    assert_eq!(query.len(), 1);
    assert_eq!(
        said,
        [
            Said::Close(3),
            Said::Failed(1, Ended::OutcomeUnknown),
            Said::Failed(2, Ended::AnswerLost)
        ]
    );
}

#[test]
fn a_client_whose_answers_are_all_there_goes_on_as_if_nothing_had_happened() {
    let mut client = Harness::settled();
    let frames = sent(&client.query(1, b"q"));
    client.reply(2, frames[0].id, ReplyStatus::Done, forced(5, 4), b"");
    assert_eq!(
        client.core.seen(),
        forced(5, 4),
        "nothing that it had seen is lost"
    );
    assert!(
        client.core.session().is_some(),
        "so its session is the same"
    );
}
