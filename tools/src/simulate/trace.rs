//! What happened in a run, line by line: the same seed gives the same lines, byte for byte.
//!
//! Columns: virtual time in seconds, who (`h` and the number of the host, `-` for nobody), what.

use std::fmt::Write as _;

use standin_core::time::Instant;

use super::fact::{Answered, Fact};

/// The lines of a run, if anybody wants them.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<String>,
}

impl Trace {
    /// A trace that keeps its lines, or one that keeps nothing.
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self {
            lines: is_wanted.then(String::new),
        }
    }

    pub(crate) fn line(&mut self, now: Instant, host: usize, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let at = Time(now);
            writeln!(lines, "{at} h{host} {}", text()).expect("writing to memory cannot fail");
        }
    }

    pub(crate) fn remark(&mut self, now: Instant, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let at = Time(now);
            writeln!(lines, "{at} -  {}", text()).expect("writing to memory cannot fail");
        }
    }

    pub(crate) fn fact(&mut self, now: Instant, fact: &Fact<'_>) {
        let Some(lines) = &mut self.lines else {
            return;
        };
        let at = Time(now);
        let written = match fact {
            Fact::Turned { .. } => Ok(()),
            Fact::Started {
                host,
                identity,
                adopted,
                base,
                log,
                ..
            } => writeln!(
                lines,
                "{at} h{host} starts as {} {:?}, adopted {adopted}, {} bytes of log after entry {}",
                identity.name,
                identity.life,
                log.len(),
                base.index
            ),
            Fact::Appended {
                host,
                batch,
                is_primary,
            } => writeln!(
                lines,
                "{at} h{host} appends {}..={} of view {}{}",
                batch.first(),
                batch.last(),
                batch.tip().view,
                if *is_primary { " as primary" } else { "" }
            ),
            Fact::Answered(Answered {
                host,
                asked,
                status,
                seen,
                bytes,
                ..
            }) => writeln!(
                lines,
                "{at} h{host} answers {asked:?}: {status:?} at {} {:?}",
                seen.index, bytes
            ),
            Fact::Recorded { after, .. } => writeln!(
                lines,
                "{at} -  record: view {} {} {}, backup {}, holders {:?} ({})",
                after.id(),
                if after.active { "primary" } else { "candidate" },
                after.primary.name,
                after.backup.as_ref().map_or("none", |it| it.name.as_str()),
                after.holders,
                after.reason.words()
            ),
            Fact::Called {
                call,
                client,
                asked,
                ..
            } => writeln!(lines, "{at} -  client {client} makes call {call} {asked:?}"),
            fact => writeln!(lines, "{at} -  {fact:?}"),
        };
        written.expect("writing to memory cannot fail");
    }

    /// The lines.
    pub(crate) fn into_lines(self) -> Option<String> {
        self.lines
    }
}

struct Time(Instant);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_nanos() / 1000;
        write!(f, "{:>5}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}
