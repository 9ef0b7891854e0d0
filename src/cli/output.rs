//! Results on standard output, errors on standard error: one line each.

use std::fmt;
use std::io::Write;

/// Writes a result. A reader that has gone away is no error of ours.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes an error, as one line.
pub(crate) fn error(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", error_line(text));
}

/// An error as it is written: whatever stands in it, it stays one line.
pub(crate) fn error_line(text: fmt::Arguments<'_>) -> String {
    let text = text.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("standin: {}", words.join(" "))
}
