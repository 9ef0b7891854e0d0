//! Entries that pass for good ones follow each other, encode to the same bytes, and may be applied or
//! are known to be unsound.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, Command, Entry, EntryKind, Index, LogTip,
};

fn check_entry(before: LogTip, entry: &Entry<'_>) {
    assert_eq!(before.check_next(entry), Ok(()));
    let stamp = BatchStamp {
        view: entry.header.view,
        time: entry.header.time,
        seed: entry.header.seed,
        commit: entry.header.commit,
    };
    let mut builder = BatchBuilder::new(before, stamp);
    let index = builder.push(entry.header.kind, |out| {
        out.extend_from_slice(entry.payload)
    });
    assert_eq!(index, entry.header.index);
    let again = builder.finish().expect("it has an entry");
    assert_eq!(again.tip(), entry.tip(), "encoded otherwise: {entry:?}");
    if entry.header.kind == EntryKind::Command {
        let command = Command::decode(entry.payload);
        assert_eq!(command.is_some(), entry.has_sound_payload());
        let mut payload = Vec::new();
        if let Some(command) = command {
            command.encode(&mut payload);
            assert_eq!(payload, entry.payload);
        }
    }
}

fn check_batch(before: LogTip, batch: &Batch) {
    let mut tip = before;
    let mut at = 0;
    let mut view_starts = Vec::new();
    for entry in batch.entries() {
        check_entry(tip, &entry);
        assert_eq!(batch.bytes_from(entry.header.index), &batch.bytes()[at..]);
        if entry.header.view > tip.view {
            view_starts.push((entry.header.view, entry.header.index));
        }
        tip = entry.tip();
        at += entry.header.length as usize;
        let shorter = Batch::verify(batch.bytes()[..at].to_vec(), before);
        assert_eq!(shorter.map(|batch| batch.tip()), Ok(tip));
        assert!(Batch::verify(batch.bytes()[..at - 1].to_vec(), before).is_err());
    }
    assert_eq!(at, batch.bytes().len());
    assert_eq!((tip, batch.last()), (batch.tip(), tip.index));
    assert_eq!(batch.first(), Index(before.index.0 + 1));
    assert_eq!(batch.view_starts(), view_starts);
}

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let is_sealed: bool = input.arbitrary()?;
    let before = standin_fuzz::any_tip(&mut input)?;
    let mut bytes = input.take_rest().to_vec();
    if is_sealed {
        standin_fuzz::seal_entries(&mut bytes, before.chain);
    }
    let first = Entry::decode(&bytes);
    if let Ok(batch) = Batch::verify(bytes.clone(), before) {
        assert!(first.is_ok());
        check_batch(before, &batch);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // Input that is too short for what is drawn from it tests nothing.
    let _ = run(data);
});
