//! A machine of one's own in forty lines: it counts visits, and begins again when nobody has come for a minute.
//!
//! `cargo run --release --example visits -- demo` pulls the plug on it; `-- --help` lists what else it can do.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use standin::{Context, Duration, Machine, RandomStream};

/// All of the state. A replica that has the same log has the same count.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Visits(u64);

#[derive(Serialize, Deserialize)]
enum Command {
    Add(u64),
}

const QUIET: u64 = 1; // this machine's number for its one timer

impl Machine for Visits {
    const NAME: &'static str = "visits";
    const VERSION: u32 = 1;
    type Command = Command;
    type Query = ();
    type Reply = u64;

    fn apply(&mut self, ctx: &mut Context<'_>, Command::Add(n): Command) -> u64 {
        self.0 = self.0.saturating_add(n);
        ctx.set_timer(QUIET, ctx.now().plus(Duration::from_secs(60)));
        self.0
    }
    fn timer(&mut self, _ctx: &mut Context<'_>, _id: u64) {
        self.0 = 0;
    }
    fn query(&self, (): ()) -> u64 {
        self.0
    }
    fn draw_command(random: &mut RandomStream, _last: Option<&u64>) -> Command {
        Command::Add(random.below(3))
    }
    fn draw_query(_random: &mut RandomStream) {}
}

fn main() -> ExitCode {
    standin::cli::main_with::<Visits>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_minute_begins_anew() {
        let mut visits = standin::Solo::<Visits>::new();
        assert_eq!(visits.command(&Command::Add(2)), 2);
        visits.pass(Duration::from_secs(59));
        assert_eq!(visits.command(&Command::Add(3)), 5);
        visits.pass(Duration::from_secs(60));
        assert_eq!(visits.query(&()), 0);
    }

    #[test]
    fn it_holds_under_faults() {
        standin::simulate::<Visits>(1..=20).assert_holds();
    }
}
