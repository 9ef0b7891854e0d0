//! The log thread: group commit, segments made ahead of time, cuts in between.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::sample::{batch, contents, fill, open, segments};
use standin_core::entry::Index;
use standin_io::log::SegmentLog;
use standin_io::log_thread::{LogDone, LogThread};

/// Far longer than any of this takes.
const DEADLINE: Duration = Duration::from_secs(30);

fn start() -> (LogThread, Receiver<()>) {
    let (sender, wakes) = channel();
    // The test may have ended already.
    let thread = LogThread::start(move || sender.send(()).unwrap_or_default());
    (thread, wakes)
}

/// Polls until `is_done`, taking prepared segments.
fn drive(
    thread: &LogThread,
    wakes: &Receiver<()>,
    log: &mut SegmentLog,
    mut is_done: impl FnMut(&mut SegmentLog, Option<LogDone>) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let done = thread.poll().transpose().unwrap();
        let is_idle = done.is_none();
        if is_done(log, done) {
            return;
        }
        if is_idle {
            let left = deadline.saturating_duration_since(Instant::now());
            wakes
                .recv_timeout(left)
                .expect("the log thread wakes us in time");
        }
    }
}

fn until_durable(thread: &LogThread, wakes: &Receiver<()>, log: &mut SegmentLog, index: Index) {
    drive(thread, wakes, log, |log, done| {
        if let Some(LogDone::Synced { through }) = done {
            assert_eq!(log.durable(), through);
        }
        log.durable() >= index
    });
}

fn prepared_files(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join("log")).unwrap();
    names
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().starts_with("next-")
        })
        .count()
}

#[test]
fn a_sync_is_reported_through_the_entry_it_was_asked_for() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let (thread, wakes) = start();
    fill(&mut log, 30);
    assert_eq!(log.durable(), Index(0));
    let tip = log.tip().index;
    thread.sync(log.sync_request().unwrap());
    assert!(log.sync_request().is_none(), "it has been asked for");
    // What comes later is not covered.
    let next = batch(log.tip(), 9, 1, 10);
    log.append(&next).unwrap();
    until_durable(&thread, &wakes, &mut log, tip);
    assert_eq!(log.durable(), tip);
}

#[test]
fn requests_that_queue_up_are_served_together() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let (thread, wakes) = start();
    let requests = 500;
    for _ in 0..requests {
        let view = 1;
        let next = batch(log.tip(), view, 1, 10);
        log.append(&next).unwrap();
        thread.sync(log.sync_request().unwrap());
    }
    let (mut reports, tip) = (0, log.tip().index);
    drive(&thread, &wakes, &mut log, |log, done| {
        reports += usize::from(matches!(done, Some(LogDone::Synced { .. })));
        log.durable() == tip
    });
    assert!((1..requests).contains(&reports), "{reports}");
}

#[test]
fn a_sync_from_before_a_cut_is_not_reported_after_it() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let (thread, wakes) = start();
    fill(&mut log, 10);
    let request = log.sync_request().unwrap();
    log.cut(Index(3)).unwrap();
    for _ in 0..20 {
        let next = batch(log.tip(), 2, 1, 10);
        log.append(&next).unwrap();
    }
    assert!(request.through() > Index(3));
    thread.sync(request);
    wakes.recv_timeout(DEADLINE).unwrap();
    assert!(thread.poll().is_none());
    assert_eq!(log.durable(), Index(3));
    let tip = log.tip().index;
    thread.sync(log.sync_request().unwrap());
    until_durable(&thread, &wakes, &mut log, tip);
}

#[test]
fn segments_are_made_ahead_and_full_ones_synced_without_being_asked_for() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let (thread, wakes) = start();
    let mut made_ahead = 0;
    while segments(root.path()).len() < 6 {
        let next = batch(log.tip(), 1, 1, 200);
        log.append(&next).unwrap();
        thread.upkeep(&mut log);
        while let Some(done) = thread.poll() {
            if let LogDone::Prepared { segment } = done.unwrap() {
                made_ahead += 1;
                log.take_prepared(segment);
            }
        }
        assert!(prepared_files(root.path()) <= 1);
    }
    let before_last = segments(root.path()).pop().unwrap();
    let first: u64 = before_last
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    until_durable(&thread, &wakes, &mut log, Index(first - 1));
    // One more, and it is in use after the next roll.
    drive(&thread, &wakes, &mut log, |log, done| {
        if let Some(LogDone::Prepared { segment }) = done {
            made_ahead += 1;
            log.take_prepared(segment);
        }
        if prepared_files(root.path()) == 0 || made_ahead == 0 {
            let next = batch(log.tip(), 1, 1, 200);
            log.append(&next).unwrap();
            thread.upkeep(log);
        }
        made_ahead > 0
    });
    let before = contents(&log);
    drop((log, thread));
    assert_eq!(contents(&open(root.path()).0), before);
}

#[test]
fn a_segment_that_is_ready_is_the_next_one() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let (thread, wakes) = start();
    // More than half of the first segment.
    let next = batch(log.tip(), 1, 1, 2500);
    log.append(&next).unwrap();
    thread.upkeep(&mut log);
    drive(&thread, &wakes, &mut log, |log, done| match done {
        Some(LogDone::Prepared { segment }) => {
            log.take_prepared(segment);
            true
        }
        _ => false,
    });
    assert_eq!(
        (prepared_files(root.path()), segments(root.path()).len()),
        (1, 1)
    );
    let next = batch(log.tip(), 1, 1, 2500);
    log.append(&next).unwrap();
    assert_eq!(
        (prepared_files(root.path()), segments(root.path()).len()),
        (0, 2)
    );
    let before = contents(&log);
    drop(log);
    assert_eq!(contents(&open(root.path()).0), before);
}

#[test]
fn a_segment_that_cannot_be_made_for_another_reason_than_room_ends_all() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let (thread, wakes) = start();
    // The name that the first file would get is taken.
    fs::create_dir(root.path().join("log/next-1")).unwrap();
    let next = batch(log.tip(), 1, 1, 2500);
    log.append(&next).unwrap();
    thread.upkeep(&mut log);
    let error = loop {
        match thread.poll() {
            Some(Err(error)) => break error,
            Some(Ok(done)) => panic!("{done:?}"),
            None => wakes.recv_timeout(DEADLINE).unwrap(),
        }
    };
    assert!(!error.is_want_of_room(), "{error}");
    assert!(log.lack_room(error).is_err());
    let next = batch(log.tip(), 1, 1, 10);
    assert!(log.append(&next).is_err(), "the first failure is final");
}

#[test]
fn a_blocking_sync_covers_what_the_thread_has_not_done() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 30);
    let never_run = log.sync_request().unwrap();
    log.sync_now().unwrap();
    assert_eq!(log.durable(), log.tip().index);
    drop(never_run);
}
