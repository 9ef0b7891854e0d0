//! Whom the client asks, and when.

use standin_client::{
    BACKOFF_MAX, BACKOFF_MIN, CONNECT_PATIENCE, ConnectionId, Event, HINTS_MAX, LOOKUP_PATIENCE,
    SILENCE_PATIENCE,
};
use standin_core::message::ReplyStatus;
use standin_core::time::Duration;

use crate::harness::{Ended, Harness, Said, TIMEOUT, What, query, seen, sent};

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_first_request_finds_the_primary_through_the_view_service() {
    let mut client = Harness::new("vs:1");
    assert_eq!(client.query(7, b"q"), [Said::ConnectViewService(1, 0)]);
    assert_eq!(client.view_service_connected(1), [Said::Lookup(1)]);
    assert_eq!(
        client.found(1, 3, Some("a:1")),
        [Said::Connect(2, "a:1".into())]
    );
    let frames = client.connected_and_sent(2);
    assert!(matches!(&frames[0].what, What::Query { bytes, .. } if bytes == b"q"));
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(3, 5), b"answer");
    assert_eq!(said, [Said::Answered(7, b"answer".to_vec())]);
    assert_eq!(client.core.deadline(), None, "an idle client wants nothing");
}

#[test]
fn a_settled_client_sends_at_once() {
    let mut client = Harness::settled();
    assert_eq!(sent(&client.query(1, b"q")).len(), 1);
}

#[test]
fn without_a_primary_it_asks_again_soon_and_never_at_once_until_the_deadline() {
    let mut client = Harness::new("vs:1");
    client.command(7, b"c");
    client.view_service_connected(1);
    let begun = client.now;
    let mut asked = 0;
    loop {
        let before = client.now;
        assert_eq!(client.found(1, 3, None), []);
        let said = client.wait();
        let waited = client.now.since(before);
        if said == [Said::Failed(7, Ended::Unavailable)] {
            break;
        }
        assert_eq!(said, [Said::Lookup(1)]);
        assert!(waited >= BACKOFF_MIN && waited <= BACKOFF_MAX, "{waited:?}");
        asked += 1;
    }
    assert_eq!(client.now.since(begun), TIMEOUT, "exactly at its deadline");
    assert!((50..1000).contains(&asked), "{asked}");
    assert!(
        client.errors[0].contains("knows of no primary"),
        "{}",
        client.errors[0]
    );
    assert!(
        client.errors[0].contains("within 5s"),
        "{}",
        client.errors[0]
    );
}

#[test]
fn view_services_are_tried_in_turn() {
    let mut client = Harness::new("vs:1,vs:2");
    assert_eq!(client.query(7, b"q"), [Said::ConnectViewService(1, 0)]);
    assert_eq!(
        client.view_service_closed(1),
        [Said::ConnectViewService(2, 1)]
    );
    // The second refuses as well: back to the first, but not at once.
    assert_eq!(client.view_service_closed(2), []);
    assert_eq!(client.wait(), [Said::ConnectViewService(3, 0)]);
    // Frozen: it neither connects nor fails.
    let begun = client.now;
    let said = client.wait();
    assert_eq!(client.now.since(begun), LOOKUP_PATIENCE);
    assert_eq!(said, [Said::CloseViewService(3)]);
    assert_eq!(client.wait(), [Said::ConnectViewService(4, 1)]);
    // Connects, but does not answer.
    assert_eq!(client.view_service_connected(4), [Said::Lookup(4)]);
    assert_eq!(client.wait(), [Said::CloseViewService(4)]);
    assert_eq!(client.wait(), [Said::ConnectViewService(5, 0)]);
}

#[test]
fn what_a_given_up_connection_still_says_is_ignored() {
    let mut client = Harness::new("vs:1");
    client.query(7, b"q");
    client.wait_for(LOOKUP_PATIENCE);
    assert_eq!(client.view_service_connected(1), []);
    assert_eq!(client.found(1, 1, Some("a:1")), []);
    assert_eq!(client.view_service_closed(1), []);
    assert_eq!(client.closed(1), []);
}

#[test]
fn the_last_primary_is_tried_while_no_view_service_answers() {
    let mut client = Harness::settled();
    client.view_service_closed(1);
    client.closed(2);
    assert_eq!(client.query(1, b"q"), [Said::ConnectViewService(3, 0)]);
    assert_eq!(
        client.view_service_closed(3),
        [Said::Connect(4, "a:1".into())]
    );
    assert_eq!(client.connected_and_sent(4).len(), 1);
}

#[test]
fn a_hint_is_followed() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::NotPrimary,
        seen(2, 11),
        b"b:1",
    );
    assert_eq!(said, [Said::Close(2), Said::Connect(3, "b:1".into())]);
    let again = client.connected_and_sent(3);
    assert_eq!(
        again[0].what, frames[0].what,
        "the same session and sequence number"
    );
}

#[test]
fn an_empty_hint_its_own_address_and_nonsense_lead_to_the_view_service() {
    for hint in ["", "a:1", "nonsense", "b:0"] {
        let mut client = Harness::settled();
        let frames = sent(&client.command(1, b"c"));
        let said = client.reply(
            2,
            frames[0].id,
            ReplyStatus::NotPrimary,
            seen(1, 11),
            hint.as_bytes(),
        );
        assert_eq!(said, [Said::Close(2)], "{hint}: not at once");
        assert_eq!(client.wait(), [Said::Lookup(1)]);
    }
}

#[test]
fn two_replicas_that_point_at_each_other_are_not_followed_for_ever() {
    let mut client = Harness::settled();
    let mut frames = sent(&client.command(1, b"c"));
    for hop in 0..HINTS_MAX {
        let connection = 2 + u64::from(hop);
        let hint = if hop % 2 == 0 { "b:1" } else { "a:1" };
        let said = client.reply(
            connection,
            frames[0].id,
            ReplyStatus::NotPrimary,
            seen(1, 11),
            hint.as_bytes(),
        );
        assert_eq!(
            said,
            [
                Said::Close(connection),
                Said::Connect(connection + 1, hint.into())
            ]
        );
        frames = client.connected_and_sent(connection + 1);
    }
    let said = client.reply(
        5,
        frames[0].id,
        ReplyStatus::NotPrimary,
        seen(1, 11),
        b"a:1",
    );
    assert_eq!(said, [Said::Close(5)]);
    assert_eq!(client.wait(), [Said::Lookup(1)]);
}

#[test]
fn no_replica_serving_is_told_apart_from_nobody_there() {
    let mut client = Harness::settled();
    let mut frames = sent(&client.command(1, b"c"));
    let mut connection = 2;
    let ended = loop {
        client.reply(
            connection,
            frames[0].id,
            ReplyStatus::NotPrimary,
            seen(1, 11),
            b"",
        );
        let said = client.wait();
        if let [Said::Failed(1, ended)] = said[..] {
            break ended;
        }
        assert_eq!(said, [Said::Lookup(1)]);
        let said = client.found(1, 1, Some("a:1"));
        connection += 1;
        assert_eq!(said, [Said::Connect(connection, "a:1".into())]);
        frames = client.connected_and_sent(connection);
    };
    assert_eq!(ended, Ended::NotPrimary);
}

#[test]
fn a_frozen_primary_is_left_only_for_another_of_a_higher_view() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let begun = client.now;
    assert_eq!(
        client.wait(),
        [Said::Lookup(1)],
        "the connection stays open"
    );
    assert_eq!(client.now.since(begun), 100 * MS);
    for (number, primary) in [(1, "a:1"), (1, "b:1"), (2, "a:1")] {
        assert_eq!(
            client.found(1, number, Some(primary)),
            [],
            "{number} {primary}"
        );
        let before = client.now;
        assert_eq!(client.wait(), [Said::Lookup(1)]);
        assert_eq!(client.now.since(before), 50 * MS);
    }
    assert_eq!(
        client.found(1, 3, None),
        [],
        "a view that nobody serves in yet"
    );
    assert_eq!(client.wait(), [Said::Lookup(1)]);
    let said = client.found(1, 3, Some("b:1"));
    assert_eq!(said, [Said::Close(2), Said::Connect(3, "b:1".into())]);
    let again = client.connected_and_sent(3);
    assert_eq!(
        again[0].what, frames[0].what,
        "the same session and sequence number"
    );
    assert_ne!(again[0].id, frames[0].id);
    let said = client.reply(3, again[0].id, ReplyStatus::Done, seen(3, 20), b"done");
    assert_eq!(said, [Said::Answered(1, b"done".to_vec())]);
}

#[test]
fn a_silent_primary_is_connected_to_anew_though_every_request_is_given_less_time_than_that() {
    let mut client = Harness::settled();
    let begun = client.now;
    let mut id = 0;
    // Each request waits for 500 ms, in vain, and the view service knows of nobody else.
    let said = loop {
        id += 1;
        assert!(client.now <= begun.plus(SILENCE_PATIENCE), "it stays");
        let deadline = client.now.plus(500 * MS);
        let mut said = client.submit_until(id, query(b"q"), deadline);
        while !said.contains(&Said::Close(2)) && client.now < deadline {
            said = client.wait();
            if said == [Said::Lookup(1)] {
                assert_eq!(client.found(1, 1, Some("a:1")), []);
            }
        }
        if said.contains(&Said::Close(2)) {
            break said;
        }
        assert_eq!(said, [Said::Failed(id, Ended::Unavailable)]);
    };
    assert_eq!(client.now.since(begun), SILENCE_PATIENCE);
    assert_eq!(said, [Said::Close(2), Said::Lookup(1)]);
    let said = client.found(1, 1, Some("a:1"));
    assert_eq!(said, [Said::Connect(3, "a:1".into())]);
    let again = client.connected_and_sent(3);
    let said = client.reply(3, again[0].id, ReplyStatus::Done, seen(1, 11), b"done");
    assert_eq!(said, [Said::Answered(id, b"done".to_vec())]);
}

#[test]
fn a_primary_that_answers_others_in_time_is_not_doubted() {
    let mut client = Harness::settled();
    client.command(1, b"slow");
    for id in 2..20 {
        let frames = sent(&client.query(id, b"q"));
        assert_eq!(client.wait_for(60 * MS), []);
        client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 11), b"");
    }
}

#[test]
fn a_host_that_vanished_is_doubted_while_it_is_connected_to_and_given_up_after_a_second() {
    let mut client = Harness::new("vs:1");
    client.query(7, b"q");
    client.view_service_connected(1);
    client.found(1, 1, Some("a:1"));
    let begun = client.now;
    assert_eq!(client.wait(), [Said::Lookup(1)]);
    assert_eq!(client.now.since(begun), 100 * MS);
    client.found(1, 1, Some("a:1"));
    let mut said = client.wait();
    while said == [Said::Lookup(1)] {
        said = client.found(1, 1, Some("a:1"));
        assert_eq!(said, []);
        said = client.wait();
    }
    assert_eq!(client.now.since(begun), CONNECT_PATIENCE);
    assert_eq!(said, [Said::Close(2), Said::Lookup(1)]);
}

#[test]
fn a_connection_that_breaks_while_idle_is_made_anew_with_the_next_request() {
    let mut client = Harness::settled();
    assert_eq!(client.closed(2), []);
    assert_eq!(client.core.deadline(), None);
    assert_eq!(client.query(1, b"q"), [Said::Lookup(1)]);
    // The view service as well: no address is passed over for that.
    client.found(1, 1, None);
    let mut client = Harness::settled();
    assert_eq!(client.view_service_closed(1), []);
    assert_eq!(client.closed(2), []);
    assert_eq!(client.query(1, b"q"), [Said::ConnectViewService(3, 0)]);
}

#[test]
fn a_primary_that_cannot_be_connected_to_is_not_tried_in_a_spin() {
    let mut client = Harness::new("vs:1");
    client.query(7, b"q");
    client.view_service_connected(1);
    let begun = client.now;
    let mut connection = 1;
    let mut tries = 0;
    loop {
        connection += 1;
        assert_eq!(
            client.found(1, 1, Some("a:1")),
            [Said::Connect(connection, "a:1".into())]
        );
        tries += 1;
        let mut said = client.closed(connection);
        if said.is_empty() {
            said = client.wait();
        }
        if said != [Said::Lookup(1)] {
            assert_eq!(said, [Said::Failed(7, Ended::Unavailable)]);
            break;
        }
    }
    assert_eq!(client.now.since(begun), TIMEOUT);
    assert!((50..1000).contains(&tries), "{tries}");
}

#[test]
fn a_connection_of_the_other_kind_with_the_same_number_means_nothing() {
    let mut client = Harness::settled();
    let frames = sent(&client.query(1, b"q"));
    let connection = ConnectionId(2);
    let refusal = None;
    assert_eq!(
        client.handle(Event::ViewServiceClosed {
            connection,
            refusal
        }),
        []
    );
    let said = client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 11), b"");
    assert_eq!(said, [Said::Answered(1, Vec::new())]);
}

#[test]
fn news_of_another_primary_is_followed_unasked() {
    let mut client = Harness::settled();
    let frames = sent(&client.command(1, b"c"));
    let said = client.found(1, 2, Some("b:1"));
    assert_eq!(said, [Said::Close(2), Said::Connect(3, "b:1".into())]);
    let again = client.connected_and_sent(3);
    assert_eq!(again[0].what, frames[0].what, "the very same command");
    // Without a connection, while the next question is put off.
    client.closed(3);
    client.found(1, 2, None);
    let said = client.found(1, 3, Some("c:1"));
    assert_eq!(said, [Said::Connect(4, "c:1".into())]);
}

#[test]
fn news_that_is_none_changes_nothing() {
    let mut client = Harness::settled();
    client.command(1, b"c");
    for (number, primary) in [
        (1, Some("b:1")),
        (0, Some("b:1")),
        (2, None),
        (2, Some("a:1")),
    ] {
        assert_eq!(client.found(1, number, primary), [], "{number} {primary:?}");
    }
    // Over a connection that is not the view service's.
    assert_eq!(client.found(9, 5, Some("b:1")), []);
}
