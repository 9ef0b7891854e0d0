//! A small file system of its own for each process, which can be filled up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use standin_tools::cluster::VIEW_SERVICE;

use crate::party::{Party, REPLICAS};
use crate::support::sure;
use crate::support::tmpfs::Tmpfs;

/// Room for all that a replica of this test ever keeps, several times.
const DISK_BYTES: u64 = 64 << 20;

/// The disks of all processes.
#[derive(Debug)]
pub(crate) struct Disks(BTreeMap<Party, Tmpfs>);

impl Disks {
    /// `None`: nothing can be mounted here, and need not be.
    pub(crate) fn mount() -> Option<Self> {
        let parties = REPLICAS.into_iter().chain([VIEW_SERVICE]);
        let disks = parties.map(|name| Some((name, Tmpfs::mount(DISK_BYTES)?)));
        disks.collect::<Option<_>>().map(Self)
    }

    /// Has the processes keep their data there, apart from what fills them up.
    pub(crate) fn place(&self, directory: &Path) {
        for (name, disk) in &self.0 {
            let data = data(disk);
            sure(fs::create_dir(&data));
            sure(symlink(data, directory.join(name)));
        }
    }

    pub(crate) fn fill(&self, name: Party) {
        self.0[name].fill();
    }

    pub(crate) fn make_room(&self, name: Party) {
        self.0[name].make_room();
    }

    /// Copies what is there to where it stays.
    pub(crate) fn keep(&self, directory: &Path) {
        for (name, disk) in &self.0 {
            let place = directory.join(name);
            // It is done as a test fails: what cannot be kept is not.
            let _ = fs::remove_file(&place);
            let _ = Command::new("cp")
                .arg("-a")
                .args([&data(disk), &place])
                .status();
        }
    }
}

fn data(disk: &Tmpfs) -> PathBuf {
    disk.path().join("data")
}
