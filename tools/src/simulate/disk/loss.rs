//! What a power loss leaves of a file.

use std::collections::BTreeMap;
use std::ops::Range;

use standin_core::random::RandomStream;

use super::content::{Content, offset, position};
use super::file::{Change, File};
use super::{DiskCounts, SECTOR_BYTES, below};

impl File {
    /// The page cache is gone, and of what was pending there is left what is drawn.
    pub(super) fn lose_power(&mut self, random: &mut RandomStream, counts: &mut DiskCounts) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.is_stale = true;
            match below(random, 5) {
                0 => counts.changes_lost += offset(pending.len()),
                1 => pending
                    .iter()
                    .for_each(|change| change.apply(&mut self.platter)),
                2 => keep_beginning(&mut self.platter, &pending, random, counts),
                3 => keep_sectors(&mut self.platter, &pending, random),
                _ => keep_any(&mut self.platter, &pending, random, counts),
            }
        }
        self.evict();
    }
}

/// Keeps the first changes, and of the next one a part.
fn keep_beginning(
    platter: &mut Content,
    pending: &[Change],
    random: &mut RandomStream,
    counts: &mut DiskCounts,
) {
    let kept = position(below(random, offset(pending.len())));
    for change in &pending[..kept] {
        change.apply(platter);
    }
    tear(platter, &pending[kept], random, counts);
    counts.changes_lost += offset(pending.len() - kept - 1);
}

/// Keeps some of the changes, and parts of some.
fn keep_any(
    platter: &mut Content,
    pending: &[Change],
    random: &mut RandomStream,
    counts: &mut DiskCounts,
) {
    for change in pending {
        match below(random, 4) {
            0 => counts.changes_lost += 1,
            1 => tear(platter, change, random, counts),
            _ => change.apply(platter),
        }
    }
}

/// Keeps a part of a write: a beginning, or some of the sectors. Another change is lost.
fn tear(
    platter: &mut Content,
    change: &Change,
    random: &mut RandomStream,
    counts: &mut DiskCounts,
) {
    let Change::Write { at, bytes } = change else {
        counts.changes_lost += 1;
        return;
    };
    counts.writes_torn += 1;
    if below(random, 2) == 0 {
        let kept = position(below(random, offset(bytes.len()) + 1));
        platter.write(&bytes[..kept], *at);
        return;
    }
    let mut done = 0;
    while done < bytes.len() {
        let here = at + offset(done);
        let piece = position(SECTOR_BYTES - here % SECTOR_BYTES).min(bytes.len() - done);
        if below(random, 2) == 0 {
            platter.write(&bytes[done..done + piece], here);
        }
        done += piece;
    }
}

/// Keeps each sector, and the length, as it was at a moment of its own.
fn keep_sectors(platter: &mut Content, pending: &[Change], random: &mut RandomStream) {
    let moments = offset(pending.len()) + 1;
    let length_moment = below(random, moments);
    let mut moment_of = touched(platter, pending);
    for moment in moment_of.values_mut() {
        *moment = below(random, moments);
    }
    let mut length = platter.length();
    let mut now = platter.clone();
    for (number, change) in (1..).zip(pending) {
        change.apply(&mut now);
        if number == length_moment {
            length = now.length();
        }
        for (sector, _) in moment_of.iter().filter(|(_, moment)| **moment == number) {
            platter.copy_sector(&now, *sector);
        }
    }
    platter.set_length(length);
}

/// The sectors that the changes touch. A truncation touches the one in which the file then ends: its
/// rest is zeroed, be it before or after the length is known. A file that grows again over what was
/// truncated has zeros there.
fn touched(platter: &Content, pending: &[Change]) -> BTreeMap<u64, u64> {
    let mut sectors = BTreeMap::new();
    let mut touch = |bytes: Range<u64>| {
        if !bytes.is_empty() {
            let range = bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES);
            sectors.extend(range.map(|sector| (sector, 0)));
        }
    };
    let mut length = platter.length();
    for change in pending {
        if let Change::Write { at, bytes } = change {
            touch(*at..at + offset(bytes.len()));
        }
        let after = change.length_after(length);
        if after < length {
            touch(after..after.next_multiple_of(SECTOR_BYTES));
        }
        touch(length..after.min(platter.written()));
        length = after;
    }
    sectors
}
