//! Sessions and sequence numbers: opened, repeated, lost, closed.

use standin_client::{NO_DEADLINE, REQUESTS_MAX, WithoutRoom, Work};
use standin_core::message::ReplyStatus;
use standin_core::session::SESSION_WINDOW;

use crate::harness::{Ended, Harness, Said, TIMEOUT, What, numbers, seen, sent};

#[test]
fn the_first_command_opens_a_session_and_is_its_number_one() {
    let mut client = Harness::new("vs:1");
    client.command(7, b"c");
    client.view_service_connected(1);
    client.found(1, 1, Some("a:1"));
    let frames = client.connected_and_sent(2);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].what, What::Open);
    let id = 42u64.to_le_bytes();
    let frames = client.reply_and_sent(2, frames[0].id, ReplyStatus::Done, seen(1, 42), &id);
    let expected = What::Command {
        session: 42,
        sequence: 1,
        acknowledged: 0,
        bytes: b"c".to_vec(),
    };
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].what, expected);
    client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 43), b"");
    let frames = sent(&client.command(8, b"d"));
    let expected = What::Command {
        session: 42,
        sequence: 2,
        acknowledged: 1,
        bytes: b"d".to_vec(),
    };
    assert_eq!(frames[0].what, expected);
}

#[test]
fn a_query_opens_no_session() {
    let mut client = Harness::new("vs:1");
    client.query(7, b"q");
    client.view_service_connected(1);
    client.found(1, 1, Some("a:1"));
    let frames = client.connected_and_sent(2);
    assert!(matches!(frames[0].what, What::Query { .. }));
    assert_eq!(client.core.session(), None);
}

#[test]
fn the_opening_of_a_session_is_repeated_on_the_next_connection() {
    let mut client = Harness::new("vs:1");
    client.command(7, b"c");
    client.view_service_connected(1);
    client.found(1, 1, Some("a:1"));
    let first = client.connected_and_sent(2);
    assert_eq!(client.closed(2), [Said::Lookup(1)]);
    client.found(1, 2, Some("b:1"));
    let again = client.connected_and_sent(3);
    assert_eq!(again[0].what, What::Open);
    assert_ne!(again[0].id, first[0].id);
    // Until its deadline: nothing was executed.
    client.closed(3);
    let said = client.wait_for(TIMEOUT);
    assert_eq!(said.last(), Some(&Said::Failed(7, Ended::Unavailable)));
}

#[test]
fn a_lost_session_is_replaced_if_the_request_cannot_have_been_executed() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::SessionUnknown,
        seen(1, 12),
        b"",
    );
    assert_eq!(said, [], "not at once");
    let open = sent(&client.wait());
    assert_eq!(open[0].what, What::Open);
    let id = 50u64.to_le_bytes();
    let frames = client.reply_and_sent(2, open[0].id, ReplyStatus::Done, seen(1, 50), &id);
    assert_eq!(numbers(&frames), [(50, 1)]);
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 51), b"x");
    assert_eq!(said, [Said::Answered(1, b"x".to_vec())]);
}

#[test]
fn a_lost_session_leaves_the_outcome_unknown_if_the_request_was_sent_before() {
    let mut client = Harness::settled();
    client.command(1, b"c");
    client.closed(2);
    client.found(1, 2, Some("b:1"));
    let again = client.connected_and_sent(3);
    assert_eq!(numbers(&again), [(10, 2)]);
    let said = client.reply(
        3,
        again[0].id,
        ReplyStatus::SessionUnknown,
        seen(2, 12),
        b"",
    );
    assert_eq!(said, [Said::Failed(1, Ended::OutcomeUnknown)]);
    assert!(
        client.errors[0].contains("session expired"),
        "{}",
        client.errors[0]
    );
    // What follows gets a session of its own.
    assert_eq!(sent(&client.command(2, b"d"))[0].what, What::Open);
}

#[test]
fn a_sending_that_was_declined_does_not_count_when_the_session_is_lost() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    client.reply(
        2,
        frames[0].id,
        ReplyStatus::NotPrimary,
        seen(1, 11),
        b"b:1",
    );
    let again = client.connected_and_sent(3);
    assert_eq!(
        client.reply(
            3,
            again[0].id,
            ReplyStatus::SessionUnknown,
            seen(2, 12),
            b""
        ),
        []
    );
    assert_eq!(sent(&client.wait())[0].what, What::Open);
}

#[test]
fn a_session_of_an_id_that_commands_are_numbered_in_is_not_taken() {
    let mut client = Harness::settled();
    let lost = sent(&client.command(1, b"c"));
    client.command(2, b"d");
    let status = ReplyStatus::SequenceAcknowledged;
    let said = client.reply(2, lost[0].id, status, seen(1, 12), b"");
    assert_eq!(said, [Said::Failed(1, Ended::OutcomeUnknown)]);
    let open = sent(&client.command(3, b"e"));
    assert_eq!(open[0].what, What::Open);
    let id = 10u64.to_le_bytes();
    let said = client.reply(2, open[0].id, ReplyStatus::Done, seen(1, 13), &id);
    let why = "command 2 is number 3 of session 10";
    assert_eq!(said, [Said::Close(2)], "{why}");
}

#[test]
fn sessions_that_are_lost_at_once_are_not_opened_in_a_spin() {
    let mut client = Harness::settled();
    let mut frames = sent(&client.command(1, b"c"));
    let mut opened = 0;
    let begun = client.now;
    loop {
        assert_eq!(
            client.reply(
                2,
                frames[0].id,
                ReplyStatus::SessionUnknown,
                seen(1, 12),
                b""
            ),
            []
        );
        let said = client.wait();
        if said == [Said::Failed(1, Ended::Unavailable)] {
            break;
        }
        let open = sent(&said);
        opened += 1;
        let id = (50 + opened as u64).to_le_bytes();
        frames = client.reply_and_sent(2, open[0].id, ReplyStatus::Done, seen(1, 50), &id);
    }
    assert_eq!(client.now.since(begun), TIMEOUT);
    assert!(opened < 1000, "{opened}");
}

#[test]
fn the_session_is_closed_after_what_was_asked_before() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    assert_eq!(client.submit(2, Work::CloseSession), []);
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 12), b"");
    assert_eq!(said[0], Said::Answered(1, Vec::new()));
    let frames = sent(&said[1..]);
    assert_eq!(frames[0].what, What::Close { session: 10 });
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 13), b"");
    assert_eq!(said, [Said::Answered(2, Vec::new())]);
    assert_eq!(client.core.session(), None);
    assert_eq!(sent(&client.command(3, b"c"))[0].what, What::Open);
}

#[test]
fn closing_no_session_needs_nobody() {
    let mut client = Harness::new("vs:1");
    let said = client.submit(1, Work::CloseSession);
    assert_eq!(said, [Said::Answered(1, Vec::new())]);
    let mut client = Harness::settled();
    let frames = sent(&client.submit(1, Work::CloseSession));
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::SessionUnknown,
        seen(1, 12),
        b"",
    );
    assert_eq!(said, [Said::Answered(1, Vec::new())], "closed is closed");
}

#[test]
fn the_window_and_the_queue_are_bounded() {
    let mut client = Harness::settled();
    let mut frames = Vec::new();
    for id in 1..=SESSION_WINDOW {
        frames.extend(sent(&client.command(id, b"c")));
    }
    assert_eq!(client.command(17, b"c"), [], "the window is full");
    let queries_go = client.query(18, b"q");
    assert_eq!(sent(&queries_go).len(), 1);
    let next = client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 12), b"");
    assert_eq!(numbers(&sent(&next[1..])), [(10, 18)]);
    let waiting = client.core.pending() as u64;
    for id in 0..(REQUESTS_MAX as u64 - waiting) {
        assert_eq!(client.command(100 + id, b"c"), []);
    }
    assert_eq!(
        client.command(999, b"c"),
        [Said::Failed(999, Ended::Refused)]
    );
}

#[test]
fn commands_of_a_lost_session_keep_their_order_before_one_that_comes_later() {
    let mut client = Harness::settled();
    let first = sent(&client.command(1, b"a"));
    let second = sent(&client.command(2, b"b"));
    assert_eq!([numbers(&first), numbers(&second)], [[(10, 2)], [(10, 3)]]);
    client.reply(
        2,
        first[0].id,
        ReplyStatus::SessionUnknown,
        seen(1, 12),
        b"",
    );
    // The reply to the second has not come when the third is asked for.
    client.command(3, b"c");
    let open = sent(&client.wait());
    let id = 50u64.to_le_bytes();
    let frames = client.reply_and_sent(2, open[0].id, ReplyStatus::Done, seen(1, 50), &id);
    let bytes = |sent: &crate::harness::Sent| match &sent.what {
        What::Command { bytes, .. } => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let order: Vec<_> = frames.iter().map(bytes).collect();
    assert_eq!(order, [b"a", b"b", b"c"]);
    assert_eq!(numbers(&frames), [(50, 1), (50, 2), (50, 3)]);
    // What the second was answered in the old session tells nothing any more.
    let said = client.reply(
        2,
        second[0].id,
        ReplyStatus::SessionUnknown,
        seen(1, 50),
        b"",
    );
    assert_eq!(said, []);
}

#[test]
fn without_room_a_command_ends_at_once_if_that_is_wanted_and_it_was_not_sent_before() {
    let mut client = Harness::settled_with(WithoutRoom::Fail);
    let frames = sent(&client.command(1, b"c"));
    let no_room = ReplyStatus::NoRoom;
    let said = client.reply(2, frames[0].id, no_room, seen(1, 12), b"disk full");
    assert_eq!(said, [Said::Failed(1, Ended::NoRoom)]);
    assert!(
        client.errors[0].contains("disk full"),
        "{}",
        client.errors[0]
    );
    let frames = sent(&client.command(2, b"d"));
    assert_eq!(numbers(&frames), [(10, 2)], "nothing has this number");
    // This one may have been executed by the replica that is gone.
    client.closed(2);
    client.found(1, 2, Some("b:1"));
    let again = client.connected_and_sent(3);
    assert_eq!(client.reply(3, again[0].id, no_room, seen(2, 12), b""), []);
    let again = sent(&client.wait());
    assert_eq!(numbers(&again), [(10, 2)]);
}

#[test]
fn a_request_without_a_deadline_waits_as_long_as_it_takes() {
    let mut client = Harness::new("vs:1");
    client.submit_until(1, Work::Command(b"c".to_vec()), NO_DEADLINE);
    let said = client.wait_for(1_000 * TIMEOUT);
    assert!(
        !said.iter().any(|said| matches!(said, Said::Failed(..))),
        "{said:?}"
    );
    assert_eq!(client.core.pending(), 1);
}
