//! Connecting to names.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use super::super::resolve::NAMES_WAITING_MAX;
use super::*;

type Addrs = io::Result<Vec<SocketAddr>>;

/// The test's side of a resolver that does as the test says.
struct Puppet {
    /// The names that it was asked for, one at a time.
    asked: Receiver<String>,
    /// What it answers; it hangs until there is something.
    answers: Sender<Addrs>,
}

fn puppet(node: &mut Node) -> Puppet {
    let (ask, asked) = channel();
    let (answers, to_answer) = channel();
    let to_answer = Mutex::new(to_answer);
    node.net.resolver.set(move |name| {
        let _ = ask.send(name.to_owned()); // the test may have ended
        let gone = || Err(io::ErrorKind::NotConnected.into());
        to_answer.lock().unwrap().recv().unwrap_or_else(|_| gone())
    });
    Puppet { asked, answers }
}

fn connect(node: &mut Node, name: &str, timeout: Duration) -> ConnId {
    node.net.connect(name, clock::boot(), timeout)
}

#[test]
fn a_name_that_is_looked_up_for_ever_holds_up_nobody_and_fails_in_time() {
    let (mut client, mut server) = (Node::new(Party::Client), Node::new(Party::Replica));
    let puppet = puppet(&mut client);
    let patient = connect(&mut client, "name:1", PATIENCE * 2);
    let (near, far) = pair(&mut client, &mut server);
    assert!(client.send(near, b"meanwhile"));
    turn_until([&mut client, &mut server], |[_, server]| {
        server.frames.iter().any(|(id, ..)| *id == far)
    });
    let hasty = connect(&mut client, "name:1", Duration::from_millis(20));
    turn_until([&mut client], |[client]| client.is_closed(hasty));
    let reason = client.closed[0].1.to_string();
    assert!(reason.contains("looking up the name"), "{reason}");
    assert!(!client.is_closed(patient));

    // Nor does it keep the loop from ending; the thread ends with what it does.
    drop(client);
    assert_eq!(puppet.asked.recv().unwrap(), "name:1");
    drop(puppet.answers);
    assert!(puppet.asked.recv().is_err(), "asked once, and gone");
}

#[test]
fn connections_to_one_name_wait_for_one_answer() {
    let (mut client, mut server) = (Node::new(Party::Client), Node::new(Party::Replica));
    let puppet = puppet(&mut client);
    for _ in 0..3 {
        connect(&mut client, "name:1", PATIENCE);
    }
    puppet.answers.send(Ok(vec![server.addr])).unwrap();
    turn_until([&mut client, &mut server], |[client, _]| {
        client.ready.len() == 3
    });
    assert_eq!(puppet.asked.try_recv().unwrap(), "name:1");
    assert_eq!(puppet.asked.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_name_that_has_no_address_is_an_error_for_all_who_wait() {
    let mut client = Node::new(Party::Client);
    let puppet = puppet(&mut client);
    let conns = [(); 2].map(|()| connect(&mut client, "name:1", PATIENCE));
    let error = io::Error::other("no such name");
    puppet.answers.send(Err(error)).unwrap();
    turn_until([&mut client], |[client]| client.closed.len() == 2);
    for conn in conns {
        let mut closed = client.closed.iter();
        let (_, reason) = closed.find(|(id, _)| *id == conn).unwrap();
        assert_eq!(reason.to_string(), "cannot connect: no such name");
    }
}

#[test]
fn an_answer_that_comes_after_everybody_has_given_up_serves_who_asks_next() {
    let (mut client, mut server) = (Node::new(Party::Client), Node::new(Party::Replica));
    let puppet = puppet(&mut client);
    let hasty = connect(&mut client, "name:1", Duration::from_millis(20));
    turn_until([&mut client], |[client]| client.is_closed(hasty));
    puppet.answers.send(Ok(vec![server.addr])).unwrap();
    turn_until([&mut client], |[client]| client.woken > 0);
    connect(&mut client, "name:1", PATIENCE);
    turn_until([&mut client, &mut server], |[client, _]| {
        client.ready.len() == 1
    });
    assert_eq!(puppet.asked.try_iter().count(), 1);
}

#[test]
fn names_that_wait_do_not_pile_up() {
    let mut client = Node::new(Party::Client);
    let puppet = puppet(&mut client);
    connect(&mut client, "first:1", PATIENCE);
    assert_eq!(puppet.asked.recv().unwrap(), "first:1");
    for number in 0..10 * NAMES_WAITING_MAX {
        let conn = connect(&mut client, &format!("name{number}:1"), PATIENCE);
        client.net.close(conn);
    }
    let waiting = client.net.resolver.waiting();
    assert_eq!(waiting.len(), NAMES_WAITING_MAX);
    let newest = format!("name{}:1", 10 * NAMES_WAITING_MAX - 1);
    assert_eq!(waiting.last(), Some(&newest));
    assert_eq!(puppet.asked.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_name_of_this_machine_is_found_as_the_operating_system_finds_it() {
    let (mut client, mut server) = (Node::new(Party::Client), Node::new(Party::Replica));
    let name = format!("localhost:{}", server.addr.port());
    connect(&mut client, &name, PATIENCE);
    turn_until([&mut client, &mut server], |[client, _]| {
        client.ready.len() == 1
    });
}
