//! Evidence files: `DIR/evidence/`, each named by the last entry that it tells of. `docs/format.md` has the bytes.
//!
//! They are for people, who look for the entry at which two replicas parted. Nothing rests on them.

use std::io;
use std::path::{Path, PathBuf};

use standin_core::entry::Index;
use standin_core::evidence::{Evidence, EvidenceError};

use crate::data_dir::{ASIDE_SUFFIX, create_dir_durably, replace_file};
use crate::log::index_of_digits;
use crate::storage::{OsStorage, Storage};

/// The directory of evidence inside a data directory.
pub const EVIDENCE_DIR: &str = "evidence";
/// Files that are kept, at most; those that tell of the earliest entries go. So many again that were set aside, of which
/// those go that were so first.
pub const EVIDENCE_FILES_MAX: usize = 4;
/// A longer file is no evidence, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;
const SUFFIX: &str = ".evidence";

/// Why evidence cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceFileError {
    /// The operating system says no.
    #[error("reading {file}: {source}")]
    Io {
        /// Which file or directory.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is damaged, or of another version.
    #[error("{file} is of no use: {source}")]
    Unsound {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        source: EvidenceError,
    },
}

/// Writes evidence into the data directory `dir`, durably. One that tells of the same last entry is there already: then
/// that one stays, for a later life may have come to something else. Waits for the disk.
///
/// # Errors
/// Those of the file system. Nothing is wrong with the rest of the data directory then.
pub fn keep_evidence(dir: &Path, evidence: &Evidence) -> io::Result<()> {
    let dir = dir.join(EVIDENCE_DIR);
    create_dir_durably(&OsStorage, &dir)?;
    let path = dir.join(file_name(evidence));
    if OsStorage.exists(&path) {
        return Ok(());
    }
    replace_file(&OsStorage, &path, &evidence.encode())?;
    let files = listed(&dir)?;
    let surplus = files.len().saturating_sub(EVIDENCE_FILES_MAX);
    for (_, path) in files.iter().take(surplus) {
        OsStorage.remove(path)?;
    }
    Ok(())
}

fn file_name(evidence: &Evidence) -> String {
    format!("{:020}{SUFFIX}", evidence.last().0)
}

/// The file of this evidence, inside a data directory.
#[must_use]
pub fn evidence_name(evidence: &Evidence) -> PathBuf {
    Path::new(EVIDENCE_DIR).join(file_name(evidence))
}

/// All evidence in the data directory `dir`, and what is wrong with files that are of no use. Changes nothing.
///
/// # Errors
/// [`EvidenceFileError::Io`].
pub fn evidence_in(
    dir: &Path,
) -> Result<(Vec<Evidence>, Vec<EvidenceFileError>), EvidenceFileError> {
    let dir = dir.join(EVIDENCE_DIR);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    if !OsStorage.is_dir(&dir) {
        return Ok((good, bad));
    }
    let all = listed(&dir).map_err(|source| EvidenceFileError::Io {
        file: dir.clone(),
        source,
    })?;
    for (_, file) in all {
        match OsStorage
            .read(&file, FILE_BYTES_MAX)
            .map(|it| Evidence::decode(&it))
        {
            Ok(Ok(evidence)) => good.push(evidence),
            Ok(Err(source)) => bad.push(EvidenceFileError::Unsound { file, source }),
            // One that came later has taken its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => bad.push(EvidenceFileError::Io { file, source }),
        }
    }
    Ok((good, bad))
}

/// Sets the evidence in the data directory `dir` aside that tells of entries behind `after`: its log has them no more, and
/// what comes to stand in their place is something else. Nothing reads it any more, but people have it, as they have the
/// log that it is of. To be done before the log goes. Waits for the disk.
///
/// # Errors
/// Those of the file system.
pub fn set_evidence_aside_after(dir: &Path, after: Index) -> io::Result<()> {
    let dir = dir.join(EVIDENCE_DIR);
    if !OsStorage.is_dir(&dir) {
        return Ok(());
    }
    let mut stale = listed(&dir)?;
    stale.retain(|(last, _)| *last > after);
    if stale.is_empty() {
        return Ok(());
    }
    let asides = listed_aside(&dir)?;
    let surplus = (asides.len() + stale.len()).saturating_sub(EVIDENCE_FILES_MAX);
    for (_, path) in asides.iter().take(surplus) {
        OsStorage.remove(path)?;
    }
    let newest = asides.last().map_or(0, |(number, _)| *number);
    for ((_, path), number) in stale.iter().zip(newest + 1..) {
        let mut name = path.clone().into_os_string();
        name.push(format!(".{number:06}{ASIDE_SUFFIX}"));
        OsStorage.rename(path, Path::new(&name))?;
    }
    OsStorage.sync_dir(&dir)
}

/// The files, by the last entry that they tell of.
fn listed(dir: &Path) -> io::Result<Vec<(Index, PathBuf)>> {
    let mut found = Vec::new();
    for name in OsStorage.list(dir)? {
        let digits = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(index) = digits.and_then(index_of_digits) {
            found.push((index, dir.join(name)));
        }
    }
    found.sort();
    Ok(found)
}

/// The files that were set aside, in that order: each has a number, which none before it had.
fn listed_aside(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for name in OsStorage.list(dir)? {
        let name_and_number = name
            .to_str()
            .and_then(|name| name.strip_suffix(ASIDE_SUFFIX)?.rsplit_once('.'))
            .filter(|(name, _)| name.ends_with(SUFFIX));
        if let Some(number) = name_and_number.and_then(|(_, number)| number.parse().ok()) {
            found.push((number, dir.join(name)));
        }
    }
    found.sort();
    Ok(found)
}
