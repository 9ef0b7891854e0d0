//! Rule R7: a client accepts nothing lower than it has seen, and sends its highest along.

use standin_client::Seen;
use standin_core::entry::Index;
use standin_core::message::ReplyStatus;
use standin_core::view::{DataEpoch, ViewId, ViewNumber};

use crate::harness::{Ended, Harness, Said, seen, sent, view};

#[test]
fn the_highest_seen_is_sent_along() {
    let mut client = Harness::settled();
    let frames = sent(&client.query(1, b"q"));
    assert_eq!(frames[0].seen, seen(1, 11));
    client.reply(2, frames[0].id, ReplyStatus::Done, seen(4, 30), b"");
    let frames = sent(&client.query(2, b"q"));
    assert_eq!(frames[0].seen, seen(4, 30));
    assert_eq!(client.core.seen(), seen(4, 30));
}

#[test]
fn an_answer_from_a_lower_view_is_thrown_away_and_the_replica_left() {
    let mut client = Harness::settled();
    let first = sent(&client.query(1, b"q"));
    client.reply(2, first[0].id, ReplyStatus::Done, seen(4, 30), b"");
    let frames = sent(&client.command(2, b"c"));
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(3, 31), b"stale");
    assert_eq!(said, [Said::Close(2)]);
    assert_eq!(client.wait(), [Said::Lookup(1)]);
    client.found(1, 4, Some("b:1"));
    let again = client.connected_and_sent(3);
    assert_eq!(again[0].what, frames[0].what);
    let said = client.reply(3, again[0].id, ReplyStatus::Done, seen(4, 31), b"good");
    assert_eq!(said, [Said::Answered(2, b"good".to_vec())]);
}

#[test]
fn an_answer_from_a_lower_index_is_thrown_away() {
    let mut client = Harness::settled();
    let frames = sent(&client.query(1, b"q"));
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 10), b"stale");
    assert_eq!(said, [Said::Close(2)]);
    // Not in a higher view of the same data epoch either.
    let mut client = Harness::settled();
    let frames = sent(&client.query(1, b"q"));
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(2, 10), b"stale");
    assert_eq!(said, [Said::Close(2)]);
}

#[test]
fn answers_to_requests_in_flight_together_may_come_in_any_order() {
    let mut client = Harness::settled();
    let one = sent(&client.query(1, b"q"));
    let two = sent(&client.query(2, b"q"));
    let said = client.reply(2, two[0].id, ReplyStatus::Done, seen(1, 20), b"");
    assert_eq!(said.len(), 1);
    let said = client.reply(2, one[0].id, ReplyStatus::Done, seen(1, 12), b"");
    assert_eq!(said, [Said::Answered(1, Vec::new())]);
    assert_eq!(client.core.seen(), seen(1, 20), "it never falls");
}

#[test]
fn a_forced_takeover_is_higher_though_its_index_is_lower() {
    let mut client = Harness::settled();
    let frames = sent(&client.query(1, b"q"));
    let forced = Seen {
        view: ViewId {
            data_epoch: DataEpoch(1),
            view: ViewNumber(2),
        },
        index: Index(5),
    };
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, forced, b"");
    assert_eq!(said, [Said::Answered(1, Vec::new())]);
    assert_eq!(client.core.seen(), forced);
}

#[test]
fn a_command_answered_from_a_lower_view_may_have_been_executed() {
    let mut client = Harness::settled();
    let first = sent(&client.query(1, b"q"));
    client.reply(2, first[0].id, ReplyStatus::Done, seen(4, 30), b"");
    let frames = sent(&client.command(2, b"c"));
    client.reply(2, frames[0].id, ReplyStatus::Done, seen(3, 31), b"stale");
    let said = client.wait_for(crate::harness::TIMEOUT);
    assert_eq!(said.last(), Some(&Said::Failed(2, Ended::OutcomeUnknown)));
}

#[test]
fn a_refusal_from_a_lower_view_is_not_believed_but_rules_execution_out() {
    let mut client = Harness::settled();
    let first = sent(&client.query(1, b"q"));
    client.reply(2, first[0].id, ReplyStatus::Done, seen(4, 30), b"");
    let frames = sent(&client.command(2, b"c"));
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::SessionUnknown,
        seen(3, 31),
        b"",
    );
    assert_eq!(said, [Said::Close(2)]);
    assert_eq!(
        client.core.session(),
        Some(10),
        "its word on the session is not taken"
    );
    let said = client.wait_for(crate::harness::TIMEOUT);
    assert_eq!(said.last(), Some(&Said::Failed(2, Ended::Unavailable)));
}

#[test]
fn a_refusal_raises_the_view_but_not_the_index() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    client.reply(
        2,
        frames[0].id,
        ReplyStatus::NotPrimary,
        seen(6, 99),
        b"b:1",
    );
    let again = client.connected_and_sent(3);
    assert_eq!(again[0].seen, seen(6, 11));
    // The deposed primary of view 1 can't answer any more.
    let said = client.reply(3, again[0].id, ReplyStatus::Done, seen(5, 12), b"stale");
    assert_eq!(said, [Said::Close(3)]);
}

#[test]
fn a_view_service_that_is_behind_is_not_believed() {
    let mut client = Harness::settled();
    let frames = sent(&client.query(1, b"q"));
    client.reply(2, frames[0].id, ReplyStatus::Done, seen(4, 30), b"");
    client.closed(2);
    assert_eq!(client.query(2, b"q"), [Said::Lookup(1)]);
    assert_eq!(client.found(1, 3, Some("a:1")), [Said::CloseViewService(1)]);
    assert_eq!(client.wait(), [Said::ConnectViewService(3, 0)]);
    client.view_service_connected(3);
    assert_eq!(
        client.found(3, 4, Some("a:1")),
        [Said::Connect(4, "a:1".into())]
    );
    assert_eq!(client.core.seen().view, view(4));
}
