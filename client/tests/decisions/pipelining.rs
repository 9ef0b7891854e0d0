//! Several commands in flight: what one's end means for those behind it.

use standin_client::Work;
use standin_core::message::ReplyStatus;
use standin_core::time::Duration;

use crate::harness::{Ended, Harness, Said, Sent, TIMEOUT, What, numbers, seen, sent};

/// A settled client with commands 1, 2 and 3 in flight, as numbers 2, 3 and 4 of session 10.
fn three_in_flight() -> (Harness, Vec<Sent>) {
    let mut client = Harness::settled();
    let mut frames = Vec::new();
    for id in 1..=3 {
        frames.extend(sent(&client.command(id, b"c")));
    }
    assert_eq!(numbers(&frames), [(10, 2), (10, 3), (10, 4)]);
    (client, frames)
}

#[test]
fn all_are_repeated_in_order_after_the_connection_is_lost() {
    let (mut client, frames) = three_in_flight();
    client.reply(2, frames[0].id, ReplyStatus::Done, seen(1, 12), b"");
    assert_eq!(client.closed(2), [Said::Lookup(1)]);
    client.found(1, 2, Some("b:1"));
    let again = client.connected_and_sent(3);
    assert_eq!(numbers(&again), [(10, 3), (10, 4)]);
    let acknowledged = |sent: &Sent| match sent.what {
        What::Command { acknowledged, .. } => acknowledged,
        _ => panic!("a command"),
    };
    assert_eq!(
        acknowledged(&again[1]),
        2,
        "the reply to number 3 is still wanted"
    );
}

#[test]
fn those_behind_one_that_was_put_off_wait_for_it() {
    let (mut client, frames) = three_in_flight();
    let seen = seen(1, 11);
    assert_eq!(
        client.reply(2, frames[0].id, ReplyStatus::Overloaded, seen, b""),
        []
    );
    assert_eq!(
        client.reply(2, frames[1].id, ReplyStatus::SequenceGap, seen, b""),
        []
    );
    assert_eq!(
        client.reply(2, frames[2].id, ReplyStatus::SequenceGap, seen, b""),
        []
    );
    let mut again = Vec::new();
    while again.len() < 3 {
        let said = client.wait();
        if !said.is_empty() {
            again.extend(sent(&said));
        }
    }
    assert_eq!(numbers(&again), [(10, 2), (10, 3), (10, 4)]);
}

#[test]
fn overload_until_the_deadline_means_not_executed() {
    let mut client = Harness::settled();
    let mut frames = sent(&client.command(1, b"c"));
    let begun = client.now;
    let mut tries = 0;
    loop {
        client.reply(2, frames[0].id, ReplyStatus::Overloaded, seen(1, 11), b"");
        let said = client.wait();
        if said == [Said::Failed(1, Ended::Unavailable)] {
            break;
        }
        frames = sent(&said);
        assert_eq!(numbers(&frames), [(10, 2)]);
        tries += 1;
    }
    assert_eq!(client.now.since(begun), TIMEOUT);
    assert!((50..1000).contains(&tries), "{tries}");
    assert!(
        client.errors[0].contains("too much to do"),
        "{}",
        client.errors[0]
    );
    assert_eq!(
        numbers(&sent(&client.command(2, b"d"))),
        [(10, 2)],
        "its number is free"
    );
}

#[test]
fn a_refused_number_is_not_used_again_once_later_ones_were_sent() {
    let (mut client, frames) = three_in_flight();
    // Copies of numbers 3 and 4 may still be on their way somewhere. Were number 2 used again, they
    // would come to be executed.
    let said = client.reply(
        2,
        frames[0].id,
        ReplyStatus::Refused,
        seen(1, 11),
        b"too long",
    );
    assert_eq!(said[0], Said::Failed(1, Ended::Refused));
    let open = sent(&said[1..]);
    assert_eq!(open[0].what, What::Open);
    assert_eq!(
        client.reply(2, frames[1].id, ReplyStatus::SequenceGap, seen(1, 11), b""),
        []
    );
    let id = 50u64.to_le_bytes();
    let again = client.reply_and_sent(2, open[0].id, ReplyStatus::Done, seen(1, 50), &id);
    assert_eq!(numbers(&again), [(50, 1), (50, 2)]);
}

#[test]
fn behind_an_unknown_outcome_the_session_ends_and_the_rest_moves_on() {
    let mut client = Harness::settled();
    client.command(1, b"lost");
    client.closed(2);
    client.wait_for(Duration::from_secs(4));
    let frames_of_two = client.command(2, b"later");
    assert_eq!(frames_of_two, []);
    let said = client.wait_for(Duration::from_secs(1));
    assert_eq!(said.last(), Some(&Said::Failed(1, Ended::OutcomeUnknown)));
    let view_service = loop {
        match client.wait()[..] {
            [Said::ConnectViewService(connection, _)] => break connection,
            [Said::CloseViewService(_)] => {}
            ref other => panic!("{other:?}"),
        }
    };
    client.view_service_connected(view_service);
    let said = client.found(view_service, 2, Some("b:1"));
    let [Said::Connect(replica, _)] = said[..] else {
        panic!("{said:?}");
    };
    let open = client.connected_and_sent(replica);
    assert_eq!(
        open[0].what,
        What::Open,
        "number 2 of session 10 may yet be executed"
    );
}

#[test]
fn one_that_was_numbered_behind_an_unknown_outcome_is_renumbered_when_it_is_a_gap() {
    let mut client = Harness::settled();
    let deadline = client.now.plus(Duration::from_secs(1));
    client.submit_until(1, Work::Command(b"lost".to_vec()), deadline);
    client.closed(2);
    client.found(1, 2, Some("b:1"));
    client.wait_for(Duration::from_millis(500));
    let again = client.connected_and_sent(3);
    assert_eq!(numbers(&again), [(10, 2)]);
    client.wait_for(Duration::from_millis(400));
    let second = client.command(2, b"behind");
    let second = sent(&second[..1]);
    assert_eq!(numbers(&second), [(10, 3)]);
    let said = client.wait_for(Duration::from_millis(100));
    assert!(
        said.contains(&Said::Failed(1, Ended::OutcomeUnknown)),
        "{said:?}"
    );
    let said = client.reply(3, second[0].id, ReplyStatus::SequenceGap, seen(2, 12), b"");
    assert_eq!(said, []);
    let said = client.wait_for(Duration::from_millis(100));
    let open = said.iter().find_map(|said| match said {
        Said::Send(_, frames) => Some(frames[0].clone()),
        _ => None,
    });
    let open = open.expect("a session is opened");
    assert_eq!(open.what, What::Open);
    let id = 50u64.to_le_bytes();
    let again = client.reply_and_sent(3, open.id, ReplyStatus::Done, seen(2, 50), &id);
    assert_eq!(numbers(&again), [(50, 1)]);
}
