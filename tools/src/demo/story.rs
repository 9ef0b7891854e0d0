//! The story on standard output, line by line as it happens.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal};

use standin_core::time::{Duration, Instant};
use standin_io::clock;

use crate::output;

/// Width of a line's elapsed time with what follows it.
const INDENT: usize = 11;
/// Where lines are broken, in characters.
const WIDTH: usize = 100;

/// Tells what happens, with the time since the beginning.
#[derive(Debug)]
pub(super) struct Story {
    begun: Instant,
    /// Whether to make what matters stand out.
    is_bold: bool,
    /// The first failure to write, which is told in the end.
    failure: RefCell<Option<io::Error>>,
}

impl Story {
    pub(super) fn begin() -> Self {
        let is_bold = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            begun: clock::boot(),
            is_bold,
            failure: RefCell::new(None),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        clock::boot().since(self.begun)
    }

    /// Tells something that happened just now.
    pub(super) fn tell(&self, text: &str) {
        self.print(&timed(self.elapsed(), text));
    }

    /// Tells something that happened just now, and that matters most.
    pub(super) fn shout(&self, text: &str) {
        let text = timed(self.elapsed(), text);
        self.heading(&text);
    }

    /// Prints a line, or several, in bold where that can be shown.
    pub(super) fn heading(&self, text: &str) {
        if self.is_bold {
            self.print(&format!("\x1b[1m{text}\x1b[0m"));
        } else {
            self.print(text);
        }
    }

    /// Prints a line, or several, as they are.
    pub(super) fn print(&self, text: &str) {
        if let Err(error) = output::write(format!("{text}\n")) {
            self.failure.borrow_mut().get_or_insert(error);
        }
    }

    /// Whether all of it could be written.
    pub(super) fn end(self) -> io::Result<()> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }
}

/// A text behind the time, broken into lines that stay clear of it.
fn timed(elapsed: Duration, text: &str) -> String {
    let mut lines = format!("{:>7.2} s  ", elapsed.as_secs_f64());
    let mut width = INDENT;
    for (nth, word) in text.split(' ').enumerate() {
        let word_width = word.chars().count();
        if nth > 0 && width + 1 + word_width > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(INDENT));
            width = INDENT;
        } else if nth > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += word_width;
    }
    lines
}

/// A number with commas between its thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and the thing that is counted, in the plural if need be.
pub(super) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", thousands(number))
}

/// A duration in seconds, with two decimals unless it is whole.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanos() == 0 {
            return write!(f, "{} s", self.0.as_secs());
        }
        write!(f, "{:.2} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(count(1, "add"), "1 add");
        assert_eq!(count(2_000, "add"), "2,000 adds");
        assert_eq!(Seconds(Duration::from_millis(1_046)).to_string(), "1.05 s");
        assert_eq!(Seconds(Duration::from_secs(1)).to_string(), "1 s");
    }

    #[test]
    fn long_lines_are_broken_beside_the_time() {
        let text = timed(Duration::from_millis(1_500), "word ".repeat(30).trim_end());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("   1.50 s  word word"), "{text}");
        assert!(lines[1].starts_with("           word"), "{text}");
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(text.matches("word").count(), 30);
    }
}
