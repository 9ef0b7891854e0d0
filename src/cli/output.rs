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
    let text = text.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    let _ = writeln!(std::io::stderr().lock(), "standin: {}", words.join(" "));
}
