//! A file that is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file to be: something beside it, until it is written. Dropped before, it leaves nothing, and what was there before stays.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    beside: PathBuf,
    file: File,
}

impl NewFile {
    /// Finds out whether a file can be there, and holds its place.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        // What a link leads to is replaced, and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&path).is_ok_and(|it| !it.is_file()) {
            return Err(io::Error::other("it is there, and no file"));
        }
        let mut beside = path.clone().into_os_string();
        beside.push(format!(".{}.tmp", std::process::id()));
        let beside = PathBuf::from(beside);
        let file = File::create_new(&beside)?;
        Ok(Self { path, beside, file })
    }

    /// Writes it.
    pub(super) fn write(mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        fs::rename(&self.beside, &self.path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already if all went well; else best effort.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn it_is_replaced_whole_or_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("it.svg");
        NewFile::begin(&path).unwrap().write("first").unwrap();
        let second = NewFile::begin(&path).unwrap();
        assert_eq!(names(directory.path()).len(), 2);
        drop(second);
        assert_eq!(names(directory.path()), ["it.svg"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        NewFile::begin(&path).unwrap().write("2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2");
        assert_eq!(names(directory.path()), ["it.svg"]);
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_before_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        for bad in [
            directory.path().join("none/it.svg"),
            directory.path().to_owned(),
            "/dev/null".into(),
        ] {
            assert!(NewFile::begin(&bad).is_err(), "{}", bad.display());
        }
        assert_eq!(names(directory.path()), [""; 0]);
    }
}
