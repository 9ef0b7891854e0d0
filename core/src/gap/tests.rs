use super::*;
use crate::entry::{Batch, BatchBuilder, BatchStamp, Command, EntryKind, ViewStart};
use crate::identity::{Durability, Incarnation, ReplicaName};
use crate::message::encode_payload;
use crate::time::WallTime;
use crate::view::{DataEpoch, ViewNumber};

fn stamp(view: u64, seed: u64) -> BatchStamp {
    BatchStamp {
        view: ViewNumber(view),
        time: WallTime(5),
        seed,
        commit: Index::ZERO,
    }
}

/// Ten entries, all of them sound.
fn log(seed: u64) -> Batch {
    let mut builder = BatchBuilder::new(LogTip::default(), stamp(1, seed));
    let start = ViewStart {
        data_epoch: DataEpoch(0),
        primary: ReplicaName::new("a").unwrap(),
        incarnation: Incarnation { start: 1, nonce: 1 },
        durability: Durability::Os,
        session_timeout_ms: 1,
        sessions_max: 1,
        replies_bytes_max: 1,
        session_idle_min_ms: 1,
        skips: Vec::new(),
        machine_version: Some(1),
    };
    builder.push(EntryKind::ViewStart, |out| encode_payload(&start, out));
    for number in 1..10 {
        let text = vec![7; number * 10];
        let command = Command {
            session: 1,
            sequence: number as u64,
            acknowledged: 0,
            bytes: &text,
        };
        builder.push(EntryKind::Command, |out| command.encode(out));
    }
    builder.finish().unwrap()
}

/// The log's end after entry `index`, and where the next one begins.
fn after(log: &Batch, index: u64) -> (LogTip, usize) {
    let mut end = (LogTip::default(), 0);
    for entry in log.entries().take(usize::try_from(index).unwrap()) {
        end = (entry.tip(), end.1 + entry.header.length as usize);
    }
    end
}

/// The log with entries `first..=last` damaged, each in its last byte.
fn damaged(log: &Batch, first: u64, last: u64) -> Vec<u8> {
    let mut bytes = log.bytes().to_vec();
    for index in first..=last {
        bytes[after(log, index).1 - 1] ^= 0x10;
    }
    bytes
}

fn gap(log: &Batch, first: u64, last: u64, next: NextSegment) -> Gap {
    let (before, at) = after(log, first - 1);
    Gap::find(before, &damaged(log, first, last)[at..], next)
}

fn filled(gap: Gap, bytes: &[u8]) -> Result<Option<Fit>, FillingError> {
    Filling::new(gap, Planted::NONE).take(bytes)
}

#[test]
fn what_was_there_fits_and_is_taken_up_to_where_the_log_goes_on() {
    let log = log(9);
    for first in 1..10 {
        for last in first..10 {
            let gap = gap(&log, first, last, NextSegment::Unknown);
            assert!(gap.can_be_filled());
            assert_eq!(gap.fit(0, gap.before()), None, "{first}..={last}");
            let (from, through) = (after(&log, first - 1).1, after(&log, last).1);
            // In pieces of one entry, and with more behind than is wanted.
            let mut filling = Filling::new(gap.clone(), Planted::NONE);
            for entry in log.entries().skip(usize::try_from(first).unwrap() - 1) {
                let end = after(&log, entry.header.index.0).1;
                let whole = &log.bytes()[end - entry.header.length as usize..end];
                if filling.take(whole) == Ok(Some(Fit::Within)) {
                    break;
                }
            }
            assert_eq!(filling.into_bytes(), &log.bytes()[from..through]);
            let mut filling = Filling::new(gap, Planted::NONE);
            assert_eq!(filling.take(&log.bytes()[from..]), Ok(Some(Fit::Within)));
            assert_eq!(filling.into_bytes(), &log.bytes()[from..through]);
        }
    }
}

#[test]
fn entries_of_another_history_do_not_fit_however_good_they_are() {
    let (ours, theirs) = (log(9), log(8));
    let gap = gap(&ours, 1, 3, NextSegment::Unknown);
    let (_, end) = after(&theirs, 3);
    // They go on after what is before the gap, and what is behind does not go on after them.
    let unfit = filled(gap.clone(), &theirs.bytes()[..end]);
    assert_eq!(unfit, Ok(None), "more might follow");
    let unfit = filled(gap, theirs.bytes());
    assert_eq!(unfit, Err(FillingError::Unfit(Index(9))));
}

#[test]
fn entries_that_do_not_go_on_after_the_last_good_one_are_not_taken() {
    let (ours, theirs) = (log(9), log(8));
    let gap = gap(&ours, 4, 6, NextSegment::Unknown);
    let (_, at) = after(&theirs, 3);
    assert_eq!(
        filled(gap.clone(), &theirs.bytes()[at..]),
        Err(FillingError::Entry(EntryError::Chain(Index(4))))
    );
    let (_, at) = after(&ours, 4);
    let skipped = filled(gap.clone(), &ours.bytes()[at..]);
    assert!(matches!(
        skipped,
        Err(FillingError::Entry(EntryError::Index { .. }))
    ));
    let (_, at) = after(&ours, 3);
    let mut flipped = ours.bytes()[at..].to_vec();
    flipped[20] ^= 1;
    assert_eq!(
        filled(gap, &flipped),
        Err(FillingError::Entry(EntryError::Checksum))
    );
}

#[test]
fn the_bytes_must_be_as_many_as_are_missing() {
    let log = log(9);
    let (before, at) = after(&log, 3);
    let mut bytes = damaged(&log, 4, 4)[at..].to_vec();
    bytes.insert(0, 0); // all that is behind stands one byte further on
    let gap = Gap::find(before, &bytes, NextSegment::Unknown);
    assert_eq!(
        filled(gap, &log.bytes()[at..]),
        Err(FillingError::Unfit(Index(9)))
    );
}

#[test]
fn a_gap_at_a_segments_end_is_filled_up_to_where_the_next_one_goes_on() {
    let log = log(9);
    let (before, at) = after(&log, 6);
    let (end, through) = after(&log, 8);
    let next = log.entries().nth(8).unwrap().header;
    for next in [NextSegment::After(end), NextSegment::With(next)] {
        let gap = Gap::find(before, &[0xff; 40], next);
        let mut filling = Filling::new(gap, Planted::NONE);
        assert_eq!(filling.take(&log.bytes()[at..]), Ok(Some(Fit::Segment)));
        assert_eq!(filling.into_bytes(), &log.bytes()[at..through]);
    }
    let gap = Gap::find(before, &[0xff; 40], NextSegment::Unknown);
    assert!(!gap.can_be_filled(), "nothing says where it ends");
}

#[test]
fn nothing_is_missing_where_the_next_segment_goes_on_after_the_last_good_entry() {
    let log = log(9);
    let (before, _) = after(&log, 6);
    let gap = Gap::find(before, &[0, 0, 3], NextSegment::After(before));
    assert_eq!(gap.fit(0, before), Some(Fit::Segment));
    // As where only a header was bad.
    let rest = &log.bytes()[after(&log, 6).1..];
    let gap = Gap::find(before, rest, NextSegment::Unknown);
    assert_eq!(gap.fit(0, before), Some(Fit::Within));
}

#[test]
fn entries_inside_of_what_a_client_sent_do_not_end_a_gap() {
    // A command that carries a whole entry of a higher index, which is seen once the command is damaged.
    let mut builder = BatchBuilder::new(LogTip::default(), stamp(1, 9));
    let whole = log(9);
    builder.push(EntryKind::ViewStart, |out| {
        let start = whole.entries().next().unwrap();
        out.extend_from_slice(start.payload);
    });
    let forged = &whole.bytes()[after(&whole, 8).1..];
    let command = Command {
        session: 1,
        sequence: 1,
        acknowledged: 0,
        bytes: forged,
    };
    builder.push(EntryKind::Command, |out| command.encode(out));
    builder.push(EntryKind::Command, |out| {
        Command {
            bytes: &[1; 30],
            ..command
        }
        .encode(out);
    });
    let log = builder.finish().unwrap();
    let (before, at) = after(&log, 1);
    let mut bytes = log.bytes()[at..].to_vec();
    bytes[5] ^= 1;
    let gap = Gap::find(before, &bytes, NextSegment::Unknown);
    let mut filling = Filling::new(gap, Planted::NONE);
    assert_eq!(filling.take(&log.bytes()[at..]), Ok(Some(Fit::Within)));
    assert_eq!(filling.end().index, Index(2));
}

#[test]
fn an_entry_that_no_replica_could_apply_is_not_taken() {
    let mut builder = BatchBuilder::new(LogTip::default(), stamp(1, 9));
    builder.push(EntryKind::ViewStart, |out| out.push(1));
    builder.push(EntryKind::OpenSession, |_| {});
    let log = builder.finish().unwrap();
    let gap = gap(&log, 1, 1, NextSegment::Unknown);
    assert_eq!(
        filled(gap, log.bytes()),
        Err(FillingError::Payload(Index(1)))
    );
}

#[test]
fn no_more_is_kept_than_a_gap_may_lack() {
    let (before, _) = after(&log(9), 1);
    let far = LogTip {
        index: Index(1_000_000),
        ..before
    };
    let gap = Gap::find(before, &[], NextSegment::After(far));
    let mut filling = Filling::new(gap, Planted::NONE);
    let text = vec![7; 1_000_000];
    let mut count = 0;
    let error = loop {
        let mut builder = BatchBuilder::new(filling.end(), stamp(1, 9));
        let command = Command {
            session: 1,
            sequence: 1,
            acknowledged: 0,
            bytes: &text,
        };
        builder.push(EntryKind::Command, |out| command.encode(out));
        match filling.take(builder.finish().unwrap().bytes()) {
            Ok(None) => count += 1,
            Ok(Some(fit)) => panic!("{fit:?}"),
            Err(error) => break error,
        }
        assert!(count < 140);
    };
    assert_eq!(error, FillingError::TooLong);
    let kept = filling.into_bytes().len();
    assert!(kept <= GAP_BYTES_MAX && kept > GAP_BYTES_MAX - 2 * text.len());
}
