//! The directory of a cluster: temporary and removed, or the user's own and kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use standin_io::entropy;

use super::ClusterError;

/// A directory that goes with its owner, unless it is kept.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    is_kept: bool,
}

impl Directory {
    /// A new directory among the temporary files, for this user alone.
    pub(crate) fn temporary() -> Result<Self, ClusterError> {
        let name = format!(
            "standin-{}-{:08x}",
            std::process::id(),
            entropy::u64() >> 32
        );
        let path = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self {
                path,
                is_kept: false,
            }),
            Err(source) => Err(ClusterError::File { path, source }),
        }
    }

    /// The directory at `path`, made if need be, which must have nothing in it.
    pub(super) fn kept(path: &Path) -> Result<Self, ClusterError> {
        let failed = |source| ClusterError::File {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(failed)?;
        if fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(ClusterError::NotEmpty {
                path: path.to_owned(),
            });
        }
        // The processes get absolute paths, whatever their working directory.
        let path = fs::canonicalize(path).map_err(failed)?;
        Ok(Self {
            path,
            is_kept: true,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error!("cannot remove {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_goes_and_a_kept_one_stays() {
        let temporary = Directory::temporary().unwrap();
        let path = temporary.path().to_owned();
        fs::write(path.join("file"), b"x").unwrap();

        let inside = path.join("kept/deeper");
        let kept = Directory::kept(&inside).unwrap();
        fs::write(kept.path().join("file"), b"x").unwrap();
        drop(kept);
        assert!(inside.join("file").exists());
        let again = Directory::kept(&inside);
        assert!(
            matches!(again, Err(ClusterError::NotEmpty { .. })),
            "{again:?}"
        );

        drop(temporary);
        assert!(!path.exists());
    }
}
