//! What people and scripts read: results on standard output, errors on standard error, one line each.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::OnceLock;

/// What the program is called, if it is not `standin`.
static PROGRAM: OnceLock<String> = OnceLock::new();

/// It was done, and the result could not be written.
const EXIT_NO: u8 = 1;

/// Writes a result, as a line; returns the exit status that this leaves.
#[must_use]
pub fn line(text: fmt::Arguments<'_>) -> u8 {
    written(write(format!("{text}\n")))
}

/// Writes a text, or any bytes, to standard output as they are.
///
/// # Errors
/// What the operating system said. [`written`] tells what that means.
pub fn write(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// The exit status that the writing of a result leaves. That the reader has gone away is no error of
/// ours; anything else is told, since the result is lost.
#[must_use]
pub fn written(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            error(format_args!(
                "cannot write the result to standard output: {failure}; it was done all the same, \
                 so check where the output goes before you do it again"
            ));
            EXIT_NO
        }
    }
}

/// The program is called `name`, for all that it says from now on. Only the first call counts.
pub fn name_program(name: String) {
    let _ = PROGRAM.set(name);
}

/// What the program is called.
#[must_use]
pub fn program() -> &'static str {
    PROGRAM.get().map_or("standin", String::as_str)
}

/// Writes an error, as one line.
pub fn error(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{}", error_line(text));
}

/// Writes an error of which there is more to be said: what is wrong in the first line, and behind it the `details`, each
/// in a line of its own.
pub fn error_with(text: fmt::Arguments<'_>, details: &[String]) {
    let mut lines = error_line(text);
    for detail in details {
        lines.push_str("\n  ");
        lines.push_str(detail.trim_end());
    }
    let _ = writeln!(io::stderr().lock(), "{lines}");
}

/// An error as it is written: whatever stands in it, it stays one line.
#[must_use]
pub fn error_line(text: fmt::Arguments<'_>) -> String {
    let text = text.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("{}: {}", program(), words.join(" "))
}
