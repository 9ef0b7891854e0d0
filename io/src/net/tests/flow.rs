//! That what was sent arrives: in order, once, whole, and fairly.

use std::io::Write as _;
use std::thread;

use nix::sys::signal::{Signal, raise};

use super::*;

#[test]
fn frames_of_all_sizes_arrive_in_order() {
    let (mut near, mut far) = (Node::new(Party::Replica), Node::new(Party::Replica));
    let (at_near, at_far) = pair(&mut near, &mut far);
    let sizes = [0, 1, 100, 70_000, 3, 2 << 20, 0, 1 << 20, 12];
    for (number, size) in (0_u8..).zip(sizes) {
        let payload = vec![number; size];
        assert!(near.send(at_near, &payload));
        assert!(far.send(at_far, &payload));
    }
    turn_until([&mut near, &mut far], |[near, far]| {
        near.frames.len() == sizes.len() && far.frames.len() == sizes.len()
    });
    for frames in [&near.frames, &far.frames] {
        for ((number, size), (_, _, payload)) in (0_u8..).zip(sizes).zip(frames) {
            assert!(*payload == vec![number; size], "frame {number}");
        }
    }
    assert_eq!(near.net.output_bytes(at_near), 0);
}

#[test]
fn a_frame_that_comes_byte_by_byte_arrives() {
    let mut server = Node::new(Party::Replica);
    let mut stream = raw(server.addr);
    let mut bytes = hello_of(Party::Client);
    frame_into(&mut bytes, b"slowly");
    for byte in bytes {
        stream.write_all(&[byte]).unwrap();
        server.turn();
    }
    turn_until([&mut server], |[server]| server.frames.len() == 1);
    assert_eq!(server.frames[0].2, b"slowly");
}

#[test]
fn frames_of_several_connections_can_be_held_at_once() {
    let mut server = Node::new(Party::Replica);
    server.consumes = false;
    let mut clients = [Node::new(Party::Client), Node::new(Party::Client)];
    let [first, second] = &mut clients;
    let (near_first, far_first) = pair(first, &mut server);
    let (near_second, far_second) = pair(second, &mut server);
    first.send(near_first, b"one");
    second.send(near_second, b"two");
    turn_until([first, second, &mut server], |[.., server]| {
        [far_first, far_second]
            .iter()
            .all(|id| server.net.frames(*id).count() == 1)
    });
    let held: Vec<_> = [far_first, far_second]
        .into_iter()
        .flat_map(|id| server.net.frames(id))
        .collect();
    assert_eq!(
        (held[0].payload, held[1].payload),
        (b"one".as_slice(), b"two".as_slice())
    );
}

#[test]
fn what_is_not_consumed_is_reported_again() {
    let (mut near, mut far) = (Node::new(Party::Client), Node::new(Party::Replica));
    far.consumes = false;
    let (at_near, at_far) = pair(&mut near, &mut far);
    near.send(at_near, b"one");
    near.send(at_near, b"two");
    turn_until([&mut near, &mut far], |[_, far]| {
        far.net.frames(at_far).count() == 2
    });
    let one = far.net.frames(at_far).next().unwrap().len();
    far.net.consume(at_far, one);
    let mut events = Vec::new();
    let start = clock::boot();
    let late = start.plus(Duration::from_secs(10));
    for _ in 0..20 {
        let now = far.net.poll(Some(late), &mut events).unwrap();
        assert!(matches!(events[..], [NetEvent::Input { conn }] if conn == at_far));
        assert!(now.boot < late, "slept with something to report");
    }
    far.consumes = true;
    far.turn();
    assert_eq!(far.frames[0].2, b"two");
    let soon = clock::boot().plus(Duration::from_millis(1));
    far.net.poll(Some(soon), &mut events).unwrap();
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn the_end_is_reported_after_the_last_frame_is_consumed() {
    let (mut near, mut far) = (Node::new(Party::Client), Node::new(Party::Replica));
    far.consumes = false;
    let (at_near, at_far) = pair(&mut near, &mut far);
    near.send(at_near, b"last words");
    near.net.flush();
    near.net.close(at_near);
    near.turn();
    assert!(matches!(near.closed[..], [(_, CloseReason::Here)]));
    turn_until([&mut far], |[far]| far.net.frames(at_far).count() == 1);
    turn_until([&mut far], |[far]| !far.send(at_far, b""));
    assert!(far.closed.is_empty());
    assert_eq!(far.net.connection_count(), 0);
    far.consumes = true;
    turn_until([&mut far], |[far]| far.is_closed(at_far));
    assert_eq!(far.frames[0].2, b"last words");
    assert!(matches!(far.closed[..], [(_, CloseReason::Peer)]));
}

#[test]
fn an_end_that_arrives_together_with_a_frame_is_noticed() {
    let mut server = Node::new(Party::Replica);
    let mut stream = raw(server.addr);
    stream.write_all(&hello_of(Party::Client)).unwrap();
    turn_until([&mut server], |[server]| server.ready.len() == 1);
    stream.write_all(&frame_of(b"last words")).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    turn_until([&mut server], |[server]| server.closed.len() == 1);
    assert_eq!(server.frames[0].2, b"last words");
}

#[test]
fn pausing_and_resuming_loses_nothing() {
    let (mut near, mut far) = (Node::new(Party::Client), Node::new(Party::Replica));
    let (at_near, at_far) = pair(&mut near, &mut far);
    let total = 3000_u32;
    let mut sent = 0_u32;
    let mut turns = 0_u32;
    turn_until([&mut near, &mut far], |[near, far]| {
        turns += 1;
        let paused = !turns.is_multiple_of(3);
        match turns % 2 {
            0 => far.net.pause_input(at_far, paused),
            _ => far.net.pause_client_input(paused),
        }
        for _ in 0..100.min(total - sent) {
            assert!(near.send(at_near, &[&sent.to_le_bytes()[..], &[7; 500]].concat()));
            sent += 1;
        }
        if sent == total {
            far.net.pause_input(at_far, false);
            far.net.pause_client_input(false);
        }
        far.frames.len() == total as usize
    });
    for (number, (_, _, payload)) in (0_u32..).zip(&far.frames) {
        assert_eq!(payload[..4], number.to_le_bytes());
    }
}

#[test]
fn a_paused_connection_is_not_read() {
    let (mut near, mut far) = (Node::new(Party::Client), Node::new(Party::Replica));
    let (at_near, at_far) = pair(&mut near, &mut far);
    far.net.pause_input(at_far, true);
    // More than the kernel's buffers hold, so that some must wait at the sender.
    for _ in 0..20 {
        near.send(at_near, &vec![1; 2 << 20]);
    }
    let (mut before, mut unchanged) = (0, 0);
    turn_until([&mut near, &mut far], |[near, _]| {
        let left = near.net.output_bytes(at_near);
        unchanged = if left == before { unchanged + 1 } else { 0 };
        before = left;
        left > 0 && unchanged > 20
    });
    assert!(far.frames.is_empty());
    assert_eq!(far.net.frames(at_far).count(), 0);
    far.net.pause_input(at_far, false);
    turn_until([&mut near, &mut far], |[_, far]| far.frames.len() == 20);
}

#[test]
fn to_go_on_after_a_pause_concerns_those_who_have_something_to_say_alone() {
    let mut server = Node::new(Party::Replica);
    let streams: Vec<_> = (0..50).map(|_| raw(server.addr)).collect();
    for mut stream in &streams {
        stream.write_all(&hello_of(Party::Client)).unwrap();
    }
    turn_until([&mut server], |[server]| server.ready.len() == 50);
    for turns in 1..=3 {
        server.net.pause_client_input(true);
        for (mut stream, speaks) in streams.iter().zip([false, true].into_iter().cycle()) {
            if speaks {
                stream.write_all(&frame_of(b"word")).unwrap();
            }
        }
        turn_until([&mut server], |[server]| server.net.held_back.len() == 25);
        for _ in 0..3 {
            server.turn();
        }
        assert_eq!(server.net.held_back.len(), 25, "each stands there once");
        server.net.pause_client_input(false);
        assert_eq!(server.net.held_back.len(), 0);
        turn_until([&mut server], |[server]| server.frames.len() == turns * 25);
    }
    // Those that are gone meanwhile are forgotten.
    server.net.pause_client_input(true);
    for _ in 0..10 {
        let streams: Vec<_> = (0..50).map(|_| raw(server.addr)).collect();
        let ready = server.ready.len();
        for mut stream in &streams {
            stream.write_all(&hello_of(Party::Client)).unwrap();
            stream.write_all(&frame_of(b"word")).unwrap();
        }
        turn_until([&mut server], |[server]| server.ready.len() == ready + 50);
        let ids: Vec<_> = server.ready[ready..].iter().map(|(id, ..)| *id).collect();
        ids.into_iter().for_each(|id| server.net.close(id));
        let (held_back, conns) = (server.net.held_back.len(), server.net.conns.len());
        assert!(held_back <= 2 * (conns + 50), "{held_back} beside {conns}");
    }
}

#[test]
fn only_clients_are_paused_together() {
    let mut server = Node::new(Party::Replica);
    let (mut client, mut replica) = (Node::new(Party::Client), Node::new(Party::Replica));
    let (from_client, at_client) = pair(&mut client, &mut server);
    let (from_replica, at_replica) = pair(&mut replica, &mut server);
    server.net.pause_client_input(true);
    client.send(from_client, b"client");
    client.turn();
    replica.send(from_replica, b"replica");
    turn_until([&mut client, &mut replica, &mut server], |[.., server]| {
        !server.frames.is_empty()
    });
    assert_eq!(server.frames[0].0, at_replica);
    server.net.pause_client_input(false);
    turn_until([&mut client, &mut server], |[_, server]| {
        server.frames.len() == 2
    });
    assert_eq!(server.frames[1].0, at_client);
}

#[test]
fn a_noisy_peer_does_not_keep_others_waiting() {
    let limits = NetLimits {
        // So little that there is always more noise than one wake-up reads.
        read_bytes_per_conn: 1 << 10,
        read_bytes_per_poll: 2 << 10,
        ..NetLimits::default()
    };
    let mut server = Node::limited(limits);
    let addr = server.addr;
    let noisy = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(&hello_of(Party::Client)).unwrap();
        let noise: Vec<u8> = (0..1000).flat_map(|_| frame_of(&[0; 100])).collect();
        // Ends when the server is dropped.
        while stream.write_all(&noise).is_ok() {}
    });
    turn_until([&mut server], |[server]| server.frames.len() > 1000);
    let noisy_id = server.frames[0].0;
    let mut quiet: Vec<_> = (0..8).map(|_| raw(addr)).collect();
    for stream in &mut quiet {
        stream.write_all(&hello_of(Party::Client)).unwrap();
    }
    turn_until([&mut server], |[server]| server.ready.len() == 9);
    let mut turns_of_rounds = Vec::new();
    for _ in 0..50 {
        server.frames.clear();
        for stream in &mut quiet {
            stream.write_all(&frame_of(b"quiet")).unwrap();
        }
        let mut turns = 0;
        turn_until([&mut server], |[server]| {
            turns += 1;
            let heard = server.frames.iter().filter(|frame| frame.0 != noisy_id);
            heard.count() == quiet.len()
        });
        turns_of_rounds.push(turns);
    }
    // The kernel may take its time to deliver on a busy machine, so not every round is looked at;
    // but once it has delivered, the quiet have their turn within a few wake-ups.
    turns_of_rounds.sort_unstable();
    assert!(turns_of_rounds[10] < 10, "{turns_of_rounds:?}");
    drop(server);
    noisy.join().unwrap();
}

#[test]
fn the_waker_wakes_from_another_thread_and_its_wakes_merge() {
    let mut node = Node::new(Party::Client);
    let waker = node.net.waker();
    let other = thread::spawn(move || {
        for _ in 0..10 {
            waker.wake().unwrap();
        }
    });
    let mut events = Vec::new();
    node.net.poll(None, &mut events).unwrap();
    assert!(matches!(events[..], [NetEvent::Woken]), "{events:?}");
    other.join().unwrap();
}

#[test]
fn signals_are_reported() {
    let mut node = Node::new(Party::Client);
    node.net.watch_signals(Signals::block().unwrap()).unwrap();
    // To this thread alone, which blocks it: other tests' threads do not.
    raise(Signal::SIGTERM).unwrap();
    turn_until([&mut node], |[node]| !node.signals.is_empty());
    assert_eq!(node.signals, [Signal::SIGTERM as i32]);
}

#[test]
fn a_sleep_lasts_until_the_deadline_and_reads_the_clock_after_it() {
    let mut node = Node::new(Party::Client);
    let mut events = Vec::new();
    let deadline = clock::boot().plus(Duration::from_micros(20_300));
    let mut polls = 0;
    while node.net.poll(Some(deadline), &mut events).unwrap().boot < deadline {
        polls += 1;
    }
    assert!(polls < 5, "spun {polls} times");
}

#[test]
fn a_stale_id_finds_nothing() {
    let (mut near, mut far) = (Node::new(Party::Client), Node::new(Party::Replica));
    far.consumes = false;
    let (at_near, at_far) = pair(&mut near, &mut far);
    far.net.close(at_far);
    turn_until([&mut near, &mut far], |[near, far]| {
        near.is_closed(at_near) && far.is_closed(at_far)
    });
    let (again, at_far_again) = pair(&mut near, &mut far);
    near.send(again, b"for the new one");
    turn_until([&mut near, &mut far], |[_, far]| {
        far.net.frames(at_far_again).count() == 1
    });
    assert_eq!(far.net.frames(at_far).count(), 0);
    far.net.consume(at_far, 1);
    far.net.pause_input(at_far, true);
    far.net.close(at_far);
    far.net.refuse(at_far, Refusal::Protocol);
    assert!(!far.send(at_far, b"nobody"));
    assert_eq!(
        (far.net.output_bytes(at_far), far.net.peer_addr(at_far)),
        (0, None)
    );
    assert_eq!(far.net.frames(at_far_again).count(), 1);
    far.turn();
    assert_eq!(far.closed.len(), 1);
}

#[test]
fn whose_input_was_consumed_in_part_comes_after_those_who_still_wait() {
    let mut server = Node::new(Party::Replica);
    let bytes = [hello_of(Party::Client), frame_of(b"one"), frame_of(b"two")].concat();
    let streams = [(); 3].map(|()| {
        let mut stream = raw(server.addr);
        stream.write_all(&bytes).unwrap();
        stream
    });
    server.consumes = false;
    turn_until([&mut server], |[server]| {
        let conns = server.ready.iter();
        conns
            .filter(|(id, ..)| server.net.frames(*id).count() == 2)
            .count()
            == streams.len()
    });
    let order = |server: &mut Node| {
        let mut events = Vec::new();
        server.net.poll(None, &mut events).unwrap();
        let inputs = events.iter().map(|event| match event {
            NetEvent::Input { conn } => *conn,
            other => panic!("{other:?}"),
        });
        inputs.collect::<Vec<_>>()
    };
    let [first, second, third] = order(&mut server)[..] else {
        panic!("three have input");
    };
    let one = frame_of(b"one").len();
    server.net.consume(first, one);
    assert_eq!(order(&mut server), [second, third, first]);
    // A pause changes nothing about whose turn it is.
    server.net.consume(second, one);
    server.net.pause_client_input(true);
    server.net.flush();
    let mut events = Vec::new();
    server.net.poll(Some(Instant::ZERO), &mut events).unwrap();
    assert!(events.is_empty(), "{events:?}");
    server.net.pause_client_input(false);
    assert_eq!(order(&mut server), [third, first, second]);
}

#[test]
fn a_loop_that_looks_again_and_again_hears_all_that_one_which_sleeps_hears() {
    let (mut from, mut to) = (Node::new(Party::Replica), Node::new(Party::Replica));
    // Longer than any turn: whatever comes, it comes while it looks, but where others keep it from its processor.
    let most = Duration::from_secs(10);
    to.net.set_busy_poll(most);
    let (near, _) = pair(&mut from, &mut to);
    let waker = to.net.waker();
    turn_until([&mut to], |[to]| {
        waker.wake().unwrap();
        to.net.busy_poll.window(clock::boot(), None) == most
    });
    to.turn();
    to.woken = 0;
    for round in 0..50_u8 {
        assert!(from.send(near, &[round]));
        turn_until([&mut from, &mut to], |[_, to]| {
            to.frames.len() > usize::from(round)
        });
        waker.wake().unwrap();
        turn_until([&mut to], |[to]| to.woken > usize::from(round));
    }
    let heard: Vec<_> = to.frames.iter().map(|(.., payload)| payload[0]).collect();
    assert!(heard.into_iter().eq(0..50));
    from.net.close(near);
    turn_until([&mut from, &mut to], |[_, to]| !to.closed.is_empty());
}
