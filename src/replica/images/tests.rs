//! Evidence, as it is written beside all else that the thread does.

use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::Duration;

use standin_core::capture::Image;
use standin_core::identity::{ClusterId, StoreId};
use standin_core::machine::MachineId;
use standin_io::evidence::{EVIDENCE_DIR, evidence_in};
use standin_io::snapshots::SnapshotIds;

use super::*;
use crate::machines::counter::Counter;

/// Longer than the thread takes for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A state that takes until it is let go.
#[derive(Debug)]
struct Held(Mutex<Receiver<()>>);

impl Image for Held {
    fn write(&self, _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }

    fn digest(&self) -> u128 {
        let held = self.0.lock().unwrap();
        held.recv_timeout(PATIENCE).unwrap();
        0
    }
}

/// Images whose thread is busy until it is told otherwise.
struct Busy {
    dir: tempfile::TempDir,
    images: Images<Counter>,
    woken: Receiver<()>,
    release: Sender<()>,
}

impl Busy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ids = SnapshotIds {
            cluster: ClusterId(1),
            machine: MachineId::of::<Counter>(),
        };
        let snapshots = Snapshots::open(dir.path(), ids).unwrap();
        let (wakes, woken) = std::sync::mpsc::channel();
        let images = Images::start(snapshots, move || wakes.send(()).unwrap()).unwrap();
        let (release, held) = std::sync::mpsc::channel();
        images.digest(SharedImage(std::sync::Arc::new(Held(Mutex::new(held)))));
        Self {
            dir,
            images,
            woken,
            release,
        }
    }

    fn keep(&mut self, last: u64) {
        let evidence = Evidence {
            store: StoreId(1),
            before: Index(last),
            chain: DigestChain::default(),
            replies: Vec::new(),
            states: Vec::new(),
        };
        self.images
            .keep_evidence(self.dir.path(), Box::new(evidence));
    }

    /// Lets the thread do all that it was asked for, and says which evidence is there.
    fn kept(&mut self) -> Vec<u64> {
        let _ = self.release.send(());
        while self.images.is_keeping {
            self.woken.recv_timeout(PATIENCE).unwrap();
            while self.images.poll().unwrap().is_some() {}
        }
        let (good, bad) = evidence_in(self.dir.path()).unwrap();
        assert!(bad.is_empty(), "{bad:?}");
        good.iter().map(|it| it.last().0).collect()
    }

    /// Of which entries there is evidence that was set aside, first to last.
    fn aside(&self) -> Vec<u64> {
        let files = std::fs::read_dir(self.dir.path().join(EVIDENCE_DIR)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut found: Vec<(u64, u64)> = names
            .filter_map(|name| {
                let mut parts = name.strip_suffix(".aside")?.split(".evidence.");
                let last = parts.next()?.parse().ok()?;
                Some((parts.next()?.parse().ok()?, last))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, last)| last).collect()
    }
}

#[test]
fn of_evidence_that_comes_while_some_is_written_the_newest_is_written_next() {
    let mut busy = Busy::new();
    for last in [10, 20, 30] {
        busy.keep(last);
    }
    assert_eq!(busy.kept(), [10, 30]);
    busy.keep(40);
    assert_eq!(busy.kept(), [10, 30, 40]);
}

#[test]
fn evidence_that_is_being_written_is_set_aside_with_the_log_that_it_is_of() {
    let mut busy = Busy::new();
    busy.keep(10);
    busy.keep(20);
    let dir = busy.dir.path().to_owned();
    busy.images.set_evidence_aside(&dir);
    busy.keep(5);
    assert_eq!(busy.kept(), [5], "what came after is of another log");
    assert_eq!(busy.aside(), [10]);
    busy.images.set_evidence_aside(&dir);
    assert_eq!(busy.kept(), [0; 0]);
    busy.keep(6);
    assert_eq!(busy.kept(), [6]);
    assert_eq!(busy.aside(), [10, 5]);
}
