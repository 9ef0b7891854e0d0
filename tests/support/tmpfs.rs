//! Small file systems in memory, for data directories that fill up.
//!
//! Mounting them takes root.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{sure, tell};

/// Says that a test that cannot mount anything may do without.
const SKIP_VARIABLE: &str = "STANDIN_WITHOUT_MOUNTS";

/// A file system of its own. Dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one with room for so many bytes. `None`: this cannot be done here, and need not be.
    pub(crate) fn mount(bytes: u64) -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("standin-full-disk-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        sure(fs::create_dir(&path));
        let size = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&path)
            .output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Self { path }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        sure(fs::remove_dir(&path));
        assert!(
            std::env::var_os(SKIP_VARIABLE).is_some(),
            "this test mounts a small tmpfs, and could not: {why}; run it as root, or set {SKIP_VARIABLE} to do \
             without it"
        );
        tell(format_args!("skipped, for nothing can be mounted: {why}"));
        None
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let path = self.filler();
        let mut file = sure(File::options().append(true).create(true).open(path));
        for bytes in [1 << 20, 64 << 10, 4 << 10] {
            let zeros = vec![0; bytes];
            loop {
                match file.write(&zeros) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Gives it back.
    pub(crate) fn make_room(&self) {
        sure(fs::remove_file(self.filler()));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Processes of a test that failed may still have files open: it goes with the last of them.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        let _ = fs::remove_dir(&self.path);
    }
}
