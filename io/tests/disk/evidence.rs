//! Evidence files: what is written is read, what was there first stays, few are kept, and damaged ones are told of.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests of a shell")]

use std::fs;
use std::path::Path;

use standin_core::digest::DigestChain;
use standin_core::entry::Index;
use standin_core::evidence::{Evidence, KeptReply};
use standin_core::identity::StoreId;
use standin_io::evidence::{
    EVIDENCE_DIR, EVIDENCE_FILES_MAX, evidence_in, keep_evidence, set_evidence_aside_after,
};

fn evidence(last: u64, reply: &[u8]) -> Evidence {
    Evidence {
        store: StoreId(1),
        before: Index(last - 1),
        chain: DigestChain(7),
        replies: vec![KeptReply {
            chain: DigestChain(8),
            status: 0,
            length: u32::try_from(reply.len()).unwrap(),
            bytes: Some(reply.to_vec()),
        }],
        states: Vec::new(),
    }
}

fn good(dir: &Path) -> Vec<Evidence> {
    let (good, bad) = evidence_in(dir).unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    good
}

/// The files that were set aside, first to last, and what they tell.
fn aside(dir: &Path) -> Vec<(String, Evidence)> {
    let files = fs::read_dir(dir.join(EVIDENCE_DIR)).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let mut asides: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "aside"))
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, Evidence::decode(&bytes).unwrap())
        })
        .collect();
    let number = |name: &str| name.split('.').nth(2).map(str::to_owned);
    asides.sort_by_key(|(name, _)| number(name));
    asides
}

/// Evidence that was set aside as the file of this number.
fn set_aside((last, number, reply): (u64, u32, &[u8])) -> (String, Evidence) {
    let name = format!("{last:020}.evidence.{number:06}.aside");
    (name, evidence(last, reply))
}

#[test]
fn what_was_found_first_of_an_entry_stays_and_the_latest_entries_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(good(dir.path()), []);
    keep_evidence(dir.path(), &evidence(5, b"first")).unwrap();
    keep_evidence(dir.path(), &evidence(5, b"of a later life")).unwrap();
    assert_eq!(good(dir.path()), [evidence(5, b"first")]);
    for last in 6..=20 {
        keep_evidence(dir.path(), &evidence(last, b"more")).unwrap();
    }
    let newest = 21 - EVIDENCE_FILES_MAX as u64;
    let expected: Vec<Evidence> = (newest..=20).map(|last| evidence(last, b"more")).collect();
    assert_eq!(good(dir.path()), expected);
}

#[test]
fn what_tells_of_entries_that_the_log_has_no_more_is_set_aside_for_people() {
    let dir = tempfile::tempdir().unwrap();
    set_evidence_aside_after(dir.path(), Index(5)).unwrap();
    for last in 5..=7 {
        keep_evidence(dir.path(), &evidence(last, b"yes")).unwrap();
    }
    set_evidence_aside_after(dir.path(), Index(5)).unwrap();
    assert_eq!(good(dir.path()), [evidence(5, b"yes")]);
    let both = [(6, 1, &b"yes"[..]), (7, 2, b"yes")];
    assert_eq!(aside(dir.path()), both.map(set_aside));
    // What came in the place of those entries is remembered like any other.
    keep_evidence(dir.path(), &evidence(7, b"no")).unwrap();
    assert_eq!(good(dir.path())[1], evidence(7, b"no"));
    set_evidence_aside_after(dir.path(), Index::ZERO).unwrap();
    assert_eq!(good(dir.path()), []);
    // In the order in which it was done, also where the entries come before those of an earlier time.
    let all = [
        (6, 1, &b"yes"[..]),
        (7, 2, b"yes"),
        (5, 3, b"yes"),
        (7, 4, b"no"),
    ];
    assert_eq!(aside(dir.path()), all.map(set_aside));
    assert_eq!(EVIDENCE_FILES_MAX, all.len());
    keep_evidence(dir.path(), &evidence(4, b"later")).unwrap();
    set_evidence_aside_after(dir.path(), Index(3)).unwrap();
    let last = [all[1], all[2], all[3], (4, 5, b"later")];
    assert_eq!(aside(dir.path()), last.map(set_aside));
    // With nothing to be set aside, nothing goes.
    set_evidence_aside_after(dir.path(), Index::ZERO).unwrap();
    assert_eq!(aside(dir.path()), last.map(set_aside));
}

#[test]
fn a_damaged_file_is_told_of_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    keep_evidence(dir.path(), &evidence(5, b"yes")).unwrap();
    keep_evidence(dir.path(), &evidence(6, b"no")).unwrap();
    let path = dir
        .path()
        .join(EVIDENCE_DIR)
        .join(format!("{:020}.evidence", 6));
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::write(dir.path().join(EVIDENCE_DIR).join("other"), "no evidence").unwrap();
    let (good, bad) = evidence_in(dir.path()).unwrap();
    assert_eq!(good, [evidence(5, b"yes")]);
    let words: Vec<String> = bad.iter().map(ToString::to_string).collect();
    assert!(
        words.len() == 1 && words[0].contains("checksum is wrong"),
        "{words:?}"
    );
}
