//! What a machine is told of entries before they are applied.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::RefCell;
use std::io;

use standin_core::entry::{BatchBuilder, BatchStamp, Command, EntryKind, Index, LogTip, Run};
use standin_core::machine::{Context, StateMachine};
use standin_core::poison::Skip;
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_core::view::ViewNumber;

/// Takes down what it is told to prefetch, which a machine of the world must not.
#[derive(Default)]
struct Attentive(RefCell<Vec<Vec<u8>>>);

impl StateMachine for Attentive {
    const NAME: &'static str = "attentive";
    const VERSION: u32 = 1;
    type Capture = ();

    fn prefetch(&self, commands: &mut dyn Iterator<Item = &[u8]>) {
        for command in commands {
            if command == b"panic" {
                std::panic::resume_unwind(Box::new("far too early"));
            }
            self.0.borrow_mut().push(command.to_vec());
        }
    }

    fn apply(&mut self, _: &mut Context<'_>, _: &[u8], _: &mut Vec<u8>) {}

    fn query(&self, _: &[u8], _: &mut Vec<u8>) {}

    fn capture(&self) {}

    fn write_capture((): &(), _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }

    fn restore(_: &mut dyn io::Read) -> io::Result<Self> {
        Ok(Self::default())
    }
}

fn command(sequence: u64, bytes: &[u8]) -> Command<'_> {
    Command {
        session: 1,
        sequence,
        acknowledged: 0,
        bytes,
    }
}

#[test]
fn a_machine_is_told_the_commands_of_all_kinds_of_entries_in_order() {
    let stamp = BatchStamp {
        view: ViewNumber(1),
        time: WallTime(1),
        seed: 0,
        commit: Index::ZERO,
    };
    let mut builder = BatchBuilder::new(LogTip::default(), stamp);
    builder.push(EntryKind::OpenSession, |_| {});
    builder.push(EntryKind::Command, |out| command(1, b"one").encode(out));
    builder.push(EntryKind::Direct, |out| out.extend_from_slice(b"two"));
    builder.push(EntryKind::Run, |out| {
        Run::encode(&[command(2, b"three"), command(3, b"four")], out);
    });
    builder.push(EntryKind::Handover, |_| {});
    builder.push(EntryKind::Direct, |out| out.extend_from_slice(b"panic"));
    builder.push(EntryKind::Direct, |out| out.extend_from_slice(b"five"));
    let batch = builder.finish().unwrap();

    let mut state = Replicated::<Attentive>::default();
    state.prefetch(batch.entries().take(5));
    let told = state.machine().0.take();
    assert_eq!(told, [&b"one"[..], b"two", b"three", b"four"]);

    // What is to be skipped the machine does not see.
    let skip = Skip {
        index: Index(3),
        view: ViewNumber(1),
    };
    state.skip(skip);
    state.prefetch(batch.entries().take(3));
    assert_eq!(state.machine().0.take(), [b"one"]);

    // Whoever fails so early has not failed: the entries are applied as ever.
    state.prefetch(batch.entries());
    assert_eq!(state.machine().0.borrow().len(), 3);
    assert!(!state.is_poisoned());
    for entry in batch.entries() {
        state.apply(&entry, &mut Vec::new()).unwrap();
    }
    assert_eq!(state.applied(), batch.tip().index);
}
