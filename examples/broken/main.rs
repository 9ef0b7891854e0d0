//! Machines that are broken on purpose: each is of use, and each has one of the bugs by which two replicas come to something
//! else from the same entries. `standin replay --diff` (here `broken replay --diff`) finds the entry.
//!
//! | Commands | File | The bug | Instead |
//! |---|---|---|---|
//! | `votes for NAME`, `votes ranking`, `votes close` | `votes.rs` | the order of a `HashMap` | `BTreeMap`, or sort |
//! | `visits note NAME`, `visits stamp`, `visits open` | `visits.rs` | the wall clock | `Context::now` |
//! | `shares put N`, `shares split`, `shares settle` | `shares.rs` | which of two threads is first | one thread, or a fixed order of results |
//! | `prices add N`, `prices total`, `prices print` | `prices.rs` | floats, and text that a machine's settings decide | integers, fixed text |
//! | `seats take NAME`, `seats find`, `seats sort` | `seats.rs` | addresses of memory | numbers of one's own |
//!
//! The first command of each behaves well. The second shows its bug in the reply, the third in the state alone: it is
//! answered "done".
//!
//! ```text
//! broken viewservice --listen 127.0.0.1:7000 --data vs
//! broken replica --name a --listen 127.0.0.1:7101 --viewservice 127.0.0.1:7000 --data a --machine broken
//! ```

mod prices;
mod seats;
mod shares;
mod visits;
mod votes;

use std::io;
use std::process::ExitCode;

use standin::simulate::Subject;
use standin::{Context, RandomStream, StateMachine};

/// All of them, side by side.
#[derive(Clone, Default)]
struct Broken {
    votes: votes::Votes,
    visits: visits::Visits,
    shares: shares::Shares,
    prices: prices::Prices,
    seats: seats::Seats,
}

impl Broken {
    fn execute(&mut self, ctx: &mut Context<'_>, words: &[&str]) -> Option<String> {
        match *words {
            ["votes", verb, ref rest @ ..] => self.votes.execute(verb, rest),
            ["visits", verb, ref rest @ ..] => self.visits.execute(ctx, verb, rest),
            ["shares", verb, ref rest @ ..] => self.shares.execute(verb, rest),
            ["prices", verb, ref rest @ ..] => self.prices.execute(verb, rest),
            ["seats", verb, ref rest @ ..] => self.seats.execute(verb, rest),
            _ => None,
        }
    }

    /// All that there is to know, by name: the state is what these say.
    fn parts(&self) -> Vec<(String, String)> {
        let parts = [
            self.votes.parts(),
            self.visits.parts(),
            self.shares.parts(),
            self.prices.parts(),
            self.seats.parts(),
        ];
        parts.concat()
    }

    fn take_part(&mut self, name: &str, words: &str) -> Option<()> {
        let (machine, name) = name.split_once(' ')?;
        match machine {
            "votes" => self.votes.take_part(name, words),
            "visits" => self.visits.take_part(name, words),
            "shares" => self.shares.take_part(name, words),
            "prices" => self.prices.take_part(name, words),
            "seats" => self.seats.take_part(name, words),
            _ => None,
        }
    }
}

impl StateMachine for Broken {
    const NAME: &'static str = "broken";
    const VERSION: u32 = 1;
    type Capture = Vec<(String, String)>;

    fn apply(&mut self, ctx: &mut Context<'_>, command: &[u8], reply: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(command);
        let words: Vec<&str> = text.split_whitespace().collect();
        let answer = self.execute(ctx, &words);
        let answer = answer.unwrap_or_else(|| format!("'{text}' is no command"));
        reply.extend_from_slice(answer.as_bytes());
    }

    fn query(&self, _query: &[u8], reply: &mut Vec<u8>) {
        for (name, words) in self.parts() {
            reply.extend_from_slice(format!("{name}: {words}\n").as_bytes());
        }
    }

    fn capture(&self) -> Self::Capture {
        self.parts()
    }

    fn write_capture(parts: &Self::Capture, out: &mut dyn io::Write) -> io::Result<()> {
        for (name, words) in parts {
            writeln!(out, "{name}\t{words}")?;
        }
        Ok(())
    }

    fn restore(input: &mut dyn io::Read) -> io::Result<Self> {
        let mut broken = Self::default();
        let text = io::read_to_string(input)?;
        for line in text.lines() {
            let part = line.split_once('\t');
            let taken = part.and_then(|(name, words)| broken.take_part(name, words));
            taken.ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("'{line}' is no part"))
            })?;
        }
        Ok(broken)
    }

    fn command_words(command: &[u8]) -> String {
        String::from_utf8_lossy(command).into_owned()
    }

    fn parse_command(words: &str) -> Result<Vec<u8>, String> {
        Ok(words.into())
    }

    fn parse_query(words: &str) -> Result<Vec<u8>, String> {
        Ok(words.into())
    }

    fn reply_words(reply: &[u8]) -> String {
        String::from_utf8_lossy(reply).into_owned()
    }

    fn state_words(&self, tell: &mut dyn FnMut(&str, &str)) {
        for (name, words) in self.parts() {
            tell(&name, &words);
        }
    }
}

impl Subject for Broken {
    /// Mostly good ones: the demo and the simulator need not look long.
    fn draw_command(random: &mut RandomStream, _last: Option<&[u8]>) -> Vec<u8> {
        let command = match random.below(100) {
            0 => "votes ranking",
            1 => "visits stamp",
            2 => "seats find",
            3 => "prices total",
            4 => "shares split",
            5..50 => "votes for nobody",
            50..75 => "shares put 3",
            _ => "prices add 2",
        };
        command.into()
    }

    fn draw_query(_random: &mut RandomStream) -> Vec<u8> {
        Vec::new()
    }
}

fn main() -> ExitCode {
    standin::cli::main_with::<Broken>()
}
