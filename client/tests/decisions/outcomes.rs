//! How requests end: never "not executed" when it may have been.

use standin_client::{ConnectionId, Event, SILENCE_PATIENCE, Work};
use standin_core::entry::COMMAND_BYTES_MAX;
use standin_core::identity::ClusterId;
use standin_core::message::{Refusal, ReplyStatus};

use crate::harness::{Ended, Harness, Said, TIMEOUT, What, numbers, query, seen, sent};

#[test]
fn an_unanswered_command_ends_unknown_at_its_deadline_and_a_query_does_not() {
    let mut client = Harness::settled();
    let timeout = SILENCE_PATIENCE / 2;
    let begun = client.now;
    client.submit_until(1, Work::Command(b"c".to_vec()), begun.plus(timeout));
    client.submit_until(2, query(b"q"), begun.plus(timeout));
    let said = client.wait_for(timeout);
    let last = &said[said.len() - 2..];
    assert_eq!(last[0], Said::Failed(1, Ended::OutcomeUnknown));
    assert_eq!(last[1], Said::Failed(2, Ended::Unavailable));
    assert_eq!(client.now.since(begun), timeout);
    assert!(
        client.errors[0].contains("a:1 does not answer"),
        "{}",
        client.errors[0]
    );
    assert!(
        client.errors[0].contains("may or may not"),
        "{}",
        client.errors[0]
    );
}

#[test]
fn a_late_reply_to_what_was_given_up_is_ignored() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    client.wait_for(TIMEOUT);
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 12), b"late");
    assert_eq!(said, []);
}

#[test]
fn a_lost_connection_leaves_the_outcome_open_until_it_is_known() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    assert_eq!(
        client.closed(2),
        [Said::Lookup(1)],
        "the first look is at once"
    );
    client.found(1, 2, Some("b:1"));
    let again = client.connected_and_sent(3);
    assert_eq!(again[0].what, frames[0].what);
    // The next one declines, which says nothing of the first sending.
    client.reply(3, again[0].id, ReplyStatus::NotPrimary, seen(2, 11), b"");
    let said = client.wait_for(TIMEOUT);
    assert_eq!(said.last(), Some(&Said::Failed(1, Ended::OutcomeUnknown)));
}

#[test]
fn a_primary_that_lost_its_role_leaves_the_outcome_open() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::OutcomeUnknown,
        seen(2, 11),
        b"b:1",
    );
    assert_eq!(said, [Said::Close(2), Said::Connect(3, "b:1".into())]);
    let again = client.connected_and_sent(3);
    assert_eq!(again[0].what, frames[0].what);
    let said = client.reply(3, again[0].id, ReplyStatus::Done, seen(2, 13), b"once");
    assert_eq!(said, [Said::Answered(1, b"once".to_vec())]);

    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    client.reply(
        2,
        frames[0].id,
        ReplyStatus::OutcomeUnknown,
        seen(1, 11),
        b"",
    );
    let said = client.wait_for(TIMEOUT);
    assert_eq!(said.last(), Some(&Said::Failed(1, Ended::OutcomeUnknown)));
}

#[test]
fn a_refused_command_was_not_executed_and_its_number_is_free() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::Refused,
        seen(1, 11),
        b"over a limit\n",
    );
    assert_eq!(said, [Said::Failed(1, Ended::Refused)]);
    assert!(
        client.errors[0].ends_with("over a limit"),
        "{}",
        client.errors[0]
    );
    assert_eq!(numbers(&sent(&client.command(2, b"d"))), [(10, 2)]);
}

#[test]
fn a_skipped_command_is_an_error_that_names_the_entry_whatever_was_lost_before() {
    for is_lost_before in [false, true] {
        let mut client = Harness::settled();
        let mut frames = sent(&client.command(1, b"c"));
        let (mut connection, mut view) = (2, 1);
        if is_lost_before {
            client.closed(2);
            client.found(1, 2, Some("b:1"));
            frames = client.connected_and_sent(3);
            (connection, view) = (3, 2);
        }
        let entry = 1234u64.to_le_bytes();
        let status = ReplyStatus::Skipped;
        let said = client.reply(connection, frames[0].id, status, seen(view, 1300), &entry);
        assert_eq!(said, [Said::Failed(1, Ended::Skipped)]);
        let words = &client.errors[0];
        assert!(
            words.starts_with("entry 1234 made the machine fail"),
            "{words}"
        );
        // Its number is used up, as that of one that was executed.
        assert_eq!(numbers(&sent(&client.command(2, b"d"))), [(10, 3)]);
    }
}

#[test]
fn a_refusal_after_a_lost_sending_leaves_the_outcome_unknown() {
    let statuses = [
        ReplyStatus::Refused,
        ReplyStatus::SequenceGap,
        ReplyStatus::SessionUnknown,
        ReplyStatus::SequenceAcknowledged,
    ];
    for status in statuses {
        let mut client = Harness::settled();
        client.command(1, b"c");
        client.closed(2);
        client.found(1, 2, Some("b:1"));
        let again = client.connected_and_sent(3);
        let said = client.reply(3, again[0].id, status, seen(2, 12), b"");
        assert_eq!(said, [Said::Failed(1, Ended::OutcomeUnknown)], "{status:?}");
        assert_eq!(
            sent(&client.command(2, b"d"))[0].what,
            What::Open,
            "{status:?}"
        );
    }
}

#[test]
fn a_real_gap_is_a_refusal_and_ends_the_session() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.reply(2, frames[0].id, ReplyStatus::SequenceGap, seen(1, 11), b"");
    assert_eq!(said, [Said::Failed(1, Ended::Refused)]);
    assert_eq!(sent(&client.command(2, b"d"))[0].what, What::Open);
}

#[test]
fn an_acknowledged_request_was_executed_but_its_reply_is_gone() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::SequenceAcknowledged,
        seen(1, 11),
        b"",
    );
    assert_eq!(said, [Said::Failed(1, Ended::OutcomeUnknown)]);
}

#[test]
fn a_session_that_is_refused_refuses_the_commands_that_need_one() {
    let mut client = Harness::new("vs:1");
    client.command(1, b"c");
    client.command(2, b"d");
    client.query(3, b"q");
    client.view_service_connected(1);
    client.found(1, 1, Some("a:1"));
    let frames = client.connected_and_sent(2);
    let said = client.reply(2, frames[0].id, ReplyStatus::Refused, seen(1, 1), b"");
    let expected = [
        Said::Failed(1, Ended::Refused),
        Said::Failed(2, Ended::Refused),
    ];
    assert_eq!(said, expected);
    assert_eq!(client.core.pending(), 1, "the query goes on");
}

#[test]
fn what_is_too_long_is_refused_before_it_is_sent() {
    let mut client = Harness::settled();
    let long = vec![0; COMMAND_BYTES_MAX + 1];
    assert_eq!(client.command(1, &long), [Said::Failed(1, Ended::Refused)]);
    assert_eq!(client.query(2, &long), [Said::Failed(2, Ended::Refused)]);
    assert_eq!(sent(&client.command(3, &long[1..])).len(), 1);
}

#[test]
fn another_cluster_or_version_is_told_at_once() {
    let other_cluster = Refusal::OtherCluster { ours: ClusterId(7) };
    let version = Refusal::Version { ours: 9 };
    for (refusal, ended) in [
        (other_cluster, Ended::OtherCluster),
        (version, Ended::Protocol),
    ] {
        let refusal = Some(refusal);
        let mut client = Harness::new("vs:1");
        client.command(1, b"c");
        let connection = ConnectionId(1);
        let said = client.handle(Event::ViewServiceClosed {
            connection,
            refusal: refusal.clone(),
        });
        assert_eq!(said, [Said::Failed(1, ended)]);
        assert!(client.errors[0].contains("vs:1"), "{}", client.errors[0]);

        let mut client = Harness::settled();
        client.command(1, b"c");
        client.query(2, b"q");
        let connection = ConnectionId(2);
        let said = client.handle(Event::ReplicaClosed {
            connection,
            refusal,
        });
        let expected = [
            Said::Failed(1, Ended::OutcomeUnknown),
            Said::Failed(2, ended),
        ];
        assert_eq!(said, expected, "what was sent may have been executed");
    }
}

#[test]
fn a_replica_that_is_too_busy_for_a_connection_is_tried_again() {
    let mut client = Harness::new("vs:1");
    client.command(1, b"c");
    client.view_service_connected(1);
    client.found(1, 1, Some("a:1"));
    let connection = ConnectionId(2);
    let refusal = Some(Refusal::Busy);
    assert_eq!(
        client.handle(Event::ReplicaClosed {
            connection,
            refusal
        }),
        []
    );
    assert_eq!(client.wait(), [Said::Lookup(1)]);
}

#[test]
fn time_that_is_over_at_once_is_an_error_at_once() {
    let mut client = Harness::new("vs:1");
    let deadline = client.now;
    let work = Work::Command(b"c".to_vec());
    let request = standin_client::Request {
        id: 1,
        deadline,
        work,
    };
    assert_eq!(
        client.handle(Event::Submit(request)),
        [Said::Failed(1, Ended::Unavailable)]
    );
}
