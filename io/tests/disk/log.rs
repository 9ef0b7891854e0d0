//! The log on a healthy disk: append, roll, read, cut, reopen.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sample::{CONFIG, batch, contents, fill, first_index, ids, open, segments, try_open};
use standin_core::entry::{Batch, Index, LogTip};
use standin_core::segment::{ScanEnd, SegmentHeader, scan};
use standin_core::view::ViewNumber;
use standin_io::log::{CUT_TAILS_MAX, LogConfig, SegmentLog};

#[test]
fn asking_for_what_was_never_written_gives_an_empty_answer() {
    let root = crate::sample::root();
    let (log, recovered) = open(root.path());
    assert_eq!(log.tip(), LogTip::default());
    assert_eq!(recovered.tip, LogTip::default());
    assert!(recovered.view_starts.is_empty());
    assert!(log.read(Index(1), 1000).unwrap().is_empty());
    assert!(log.read(Index(999), 1000).unwrap().is_empty());
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let tips = fill(&mut log, 100);
    let before = contents(&log);
    assert!(segments(root.path()).len() > 3, "the log has rolled");
    drop(log);
    let (log, recovered) = open(root.path());
    assert_eq!(Some(&recovered.tip), tips.last());
    assert_eq!(log.tip(), recovered.tip);
    assert_eq!(log.durable(), log.tip().index);
    assert_eq!(contents(&log), before);
    assert_eq!(recovered.torn, None);
    let views: Vec<_> = recovered
        .view_starts
        .iter()
        .map(|(view, _)| view.0)
        .collect();
    assert_eq!(views, [1, 2, 3, 4, 5]);
    let (view, first) = recovered.view_starts[2];
    let read = log.read(first, 1).unwrap();
    let entry = standin_core::entry::Entry::decode(&read).unwrap();
    assert_eq!(entry.header.view, view);
    assert_eq!(
        tips[usize::try_from(first.0).unwrap() - 1].view,
        ViewNumber(2)
    );
    // The last batch named what was there before it as committed.
    assert_eq!(recovered.commit.next(), recovered.tip.index);
}

#[test]
fn a_reopened_log_goes_on() {
    let root = crate::sample::root();
    for _ in 0..5 {
        let (mut log, _) = open(root.path());
        let view = log.tip().view.0 + 1;
        for count in 1..8 {
            let next = batch(log.tip(), view, count, 100);
            log.append(&next).unwrap();
        }
        let (tip, before) = (log.tip(), contents(&log));
        drop(log);
        let (log, recovered) = open(root.path());
        assert_eq!(recovered.tip, tip);
        assert_eq!(contents(&log), before);
    }
}

#[test]
fn reading_begins_anywhere_and_keeps_to_its_bound() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 100);
    let whole = contents(&log);
    let all = Batch::verify(whole, LogTip::default()).unwrap();
    for from in 1..=log.tip().index.0 {
        for bytes_max in [0, 1, 100, 700, 100_000] {
            let read = log.read(Index(from), bytes_max).unwrap();
            assert_eq!(first_index(&read), Index(from));
            assert!(all.bytes_from(Index(from)).starts_with(&read));
            let first_bytes = log.read(Index(from), 0).unwrap().len();
            assert!(read.len() <= bytes_max.max(first_bytes), "{}", read.len());
        }
    }
}

#[test]
fn long_segments_are_read_from_any_position_too() {
    let root = crate::sample::root();
    let config = LogConfig {
        segment_bytes: 8 << 20,
        may_have_lost_writes: false,
        may_be_holder: true,
        ..LogConfig::default()
    };
    let (mut log, _) = SegmentLog::open(root.path(), ids(), config).unwrap();
    // Small batches, large ones, and entries as long as they get.
    for (count, bytes) in [
        (700, 500),
        (3, 1 << 20),
        (4000, 10),
        (1, 1 << 20),
        (50, 3000),
    ] {
        let next = batch(log.tip(), 1, count, bytes);
        log.append(&next).unwrap();
        for _ in 0..300 {
            let next = batch(log.tip(), 1, 1, 333);
            log.append(&next).unwrap();
        }
    }
    let check = |log: &SegmentLog| {
        let mut from = 1;
        while from <= log.tip().index.0 {
            let read = log.read(Index(from), 10_000).unwrap();
            assert_eq!(first_index(&read), Index(from));
            from += 37;
        }
        contents(log)
    };
    let before = check(&log);
    drop(log);
    let (log, _) = SegmentLog::open(root.path(), ids(), config).unwrap();
    assert_eq!(check(&log), before, "positions are the same after recovery");
}

#[test]
fn a_batch_longer_than_a_segment_has_one_to_itself() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    for bytes in [10, 10_000, 10] {
        let next = batch(log.tip(), 1, 2, bytes);
        log.append(&next).unwrap();
    }
    assert_eq!(segments(root.path()).len(), 3);
    let before = contents(&log);
    drop(log);
    let (log, _) = open(root.path());
    assert_eq!(contents(&log), before);
}

#[test]
fn segments_are_preallocated() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 50);
    for file in segments(root.path()) {
        let bytes = fs::metadata(&file).unwrap().len();
        assert_eq!(bytes, CONFIG.segment_bytes, "{}", file.display());
    }
}

#[test]
fn after_a_cut_anywhere_the_log_ends_there_and_goes_on() {
    let sample = crate::sample::root();
    let (mut log, _) = open(sample.path());
    let tips = fill(&mut log, 45);
    let all = Batch::verify(contents(&log), LogTip::default()).unwrap();
    let starts = all.view_starts().to_vec();
    assert!(segments(sample.path()).len() > 2);
    drop(log);
    for (after, tip) in tips.iter().enumerate() {
        let root = crate::sample::root();
        fs::create_dir(root.path().join("log")).unwrap();
        for file in segments(sample.path()) {
            let name = file.file_name().unwrap();
            fs::copy(&file, root.path().join("log").join(name)).unwrap();
        }
        let (mut log, _) = open(root.path());
        let index = Index(u64::try_from(after).unwrap());
        assert_eq!(log.cut(index).unwrap(), *tip);
        assert_eq!((log.tip(), log.durable()), (*tip, index));
        let kept = &all.bytes()[..all.bytes().len() - tail_bytes(&all, index)];
        assert_eq!(contents(&log), kept, "cut after {after}");

        // Reopened as it is: nothing old comes back.
        drop(log);
        let (mut log, recovered) = open(root.path());
        assert_eq!(recovered.tip, *tip, "cut after {after}");
        let views: Vec<_> = starts
            .iter()
            .filter(|(_, first)| *first <= index)
            .copied()
            .collect();
        assert_eq!(recovered.view_starts, views);
        for file in segments(root.path()) {
            assert_eq!(fs::metadata(&file).unwrap().len(), CONFIG.segment_bytes);
        }

        // Continued with something shorter than what stood there, then reopened.
        let next = batch(log.tip(), 9, 1, 1);
        log.append(&next).unwrap();
        drop(log);
        let (log, recovered) = open(root.path());
        assert_eq!((recovered.tip, recovered.torn), (next.tip(), None));
        assert_eq!(contents(&log), [kept, next.bytes()].concat());
    }
}

fn tail_bytes(all: &Batch, after: Index) -> usize {
    if after == all.last() {
        0
    } else {
        all.bytes_from(after.next()).len()
    }
}

#[test]
fn a_long_segment_reads_right_after_a_cut_in_it() {
    let root = crate::sample::root();
    let config = LogConfig {
        segment_bytes: 8 << 20,
        may_have_lost_writes: false,
        may_be_holder: true,
        ..LogConfig::default()
    };
    let (mut log, _) = SegmentLog::open(root.path(), ids(), config).unwrap();
    let grow = |log: &mut SegmentLog, view, bytes| {
        for _ in 0..300 {
            let next = batch(log.tip(), view, 1, bytes);
            log.append(&next).unwrap();
        }
    };
    grow(&mut log, 1, 1000);
    log.cut(Index(10)).unwrap();
    // Entries of another length, so that the old ones' places are wrong.
    grow(&mut log, 2, 1500);
    for from in 1..=log.tip().index.0 {
        assert_eq!(first_index(&log.read(Index(from), 1).unwrap()), Index(from));
    }
}

#[test]
fn a_cut_tail_is_kept_for_people() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    let tips = fill(&mut log, 60);
    let all = Batch::verify(contents(&log), LogTip::default()).unwrap();
    log.cut(Index(7)).unwrap();
    let kept: Vec<_> = fs::read_dir(root.path().join("cut")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    let bytes = fs::read(kept[0].as_ref().unwrap().path()).unwrap();
    let header = SegmentHeader::decode(&bytes).unwrap();
    assert_eq!(header.before, tips[7]);
    let tail = &bytes[standin_core::segment::SEGMENT_HEADER_BYTES..];
    assert_eq!(tail, all.bytes_from(Index(8)));
    let found = scan(tail, header.before, |_| {});
    assert_eq!((found.tip, found.end), (all.tip(), ScanEnd::Clean));
}

#[test]
fn only_the_newest_cut_tails_are_kept() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    for _ in 0..CUT_TAILS_MAX + 5 {
        let (view, kept) = (log.tip().view.0 + 1, log.tip().index);
        let next = batch(log.tip(), view, 3, 10);
        log.append(&next).unwrap();
        log.cut(kept.next()).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(root.path().join("cut"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), CUT_TAILS_MAX);
    assert!(names[0].starts_with("000006-"), "{}", names[0]);
}

#[test]
fn cutting_nothing_changes_nothing() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 10);
    let tip = log.tip();
    assert_eq!(log.cut(tip.index).unwrap(), tip);
    assert_eq!(log.durable(), tip.index);
    assert_eq!(fs::read_dir(root.path().join("cut")).unwrap().count(), 0);
}

#[test]
fn files_that_were_being_prepared_are_removed() {
    let root = crate::sample::root();
    let (mut log, _) = open(root.path());
    fill(&mut log, 10);
    drop(log);
    let left = root.path().join("log/next-3");
    fs::write(&left, "half").unwrap();
    try_open(root.path()).unwrap();
    assert!(!left.exists());
}

const APPEND: &str = "STANDIN_TEST_APPEND_TO";

/// Not a test of its own: the process that the next one kills.
#[test]
fn append_without_end_if_asked_to() {
    if let Ok(path) = std::env::var(APPEND) {
        let (mut log, _) = open(Path::new(&path));
        let mut stdout = std::io::stdout().lock();
        loop {
            let next = batch(log.tip(), 1, 3, 50);
            log.append(&next).unwrap();
            writeln!(stdout, "\nappended {}", log.tip().index).unwrap();
        }
    }
}

#[test]
fn what_was_appended_survives_the_death_of_the_process() {
    let root = crate::sample::root();
    for round in 1..=10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "log::append_without_end_if_asked_to",
                "--nocapture",
            ])
            .env(APPEND, root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let appended = |line: std::io::Result<String>| -> Option<u64> {
            line.unwrap().strip_prefix("appended ")?.parse().ok()
        };
        lines.by_ref().filter_map(appended).nth(round * 37).unwrap();
        child.kill().unwrap();
        // What it said before it died, to the last whole line.
        let said = lines.filter_map(appended).last().unwrap_or_default();
        child.wait().unwrap();
        let (log, _) = open(root.path());
        assert!(log.tip().index.0 >= said, "round {round}: {said}");
        contents(&log);
    }
}
