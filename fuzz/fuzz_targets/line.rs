//! A client's connection under any bytes: whatever is done late, and however the bytes are cut, what is said to it is the
//! same, and every reply is whole. What it has held on its behalf is bounded, whatever its host says meanwhile.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_core::machine::StateMachine as _;
use standin_core::time::WallTime;
use standin_fuzz::words::words;
use standin_kv::conversation::{
    Ask, Conversation, Host, Info, Node, Place, QUEUE_BYTES_MAX, Role, WATCH_BYTES_MAX,
};
use standin_kv::line::{Given, Kind, Line, Stop, WAITING_REPLY_BYTES_MAX, Work};
use standin_kv::{KeyValue, Moment};
use standin_resp::Version;
use standin_resp::reply::Reply;
use standin_resp::writer::ReplyWriter;

/// What a line may have held on its behalf: what is queued, watched, held back and waits, each up to its bound, and what
/// one request or reply may add to that.
const HELD_BYTES_MAX: usize =
    QUEUE_BYTES_MAX + WATCH_BYTES_MAX + WAITING_REPLY_BYTES_MAX + (3 << 20);

/// A host that says what the input wants.
#[derive(Clone, Debug)]
struct Whim {
    has_password: bool,
    is_cluster: bool,
    place: u8,
    is_in_touch: bool,
}

impl Host for Whim {
    fn password(&self) -> Option<&[u8]> {
        self.has_password.then_some(b"a")
    }

    fn place(&self) -> Place<'_> {
        match self.place % 4 {
            0 => Place::At("h:1"),
            1 => Place::Nowhere,
            _ => Place::Here,
        }
    }

    fn is_in_touch(&self) -> bool {
        self.is_in_touch
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        self.is_cluster.then(Vec::new)
    }

    fn view(&self) -> u64 {
        1
    }

    fn role(&self) -> Role {
        Role::Primary {
            index: 1,
            followers: Vec::new(),
        }
    }

    fn info(&self) -> Info {
        Info::default()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// One line with all that is behind it.
struct Served {
    line: Line,
    machine: KeyValue,
    index: u64,
    /// Given out and not executed.
    given: Vec<(Given, Vec<u8>)>,
    asked: Option<(u64, Ask)>,
    said: Vec<u8>,
}

impl Served {
    fn new(host: &Whim) -> Self {
        let conversation = Conversation::new(1, "h:2".into(), "h:1".into(), host);
        Self {
            line: Line::new(conversation, true),
            machine: KeyValue::default(),
            index: 0,
            given: Vec::new(),
            asked: None,
            said: Vec::new(),
        }
    }

    /// Takes from the front of what has arrived; whether it should be called again once something was answered.
    fn take(&mut self, arrived: &mut Vec<u8>, mut most: usize, host: &Whim) -> Stop {
        let mut work = Work::default();
        let (consumed, stop) = self
            .line
            .take(arrived, &mut most, host, &mut self.said, &mut work);
        arrived.drain(..consumed);
        for given in work.given {
            let bytes = work.bytes[given.range.clone()].to_vec();
            self.given.push((given, bytes));
        }
        if let Stop::Ask(id, ask) = &stop {
            assert!(self.asked.replace((*id, ask.clone())).is_none());
        }
        let held = self.line.held_bytes();
        assert!(held <= HELD_BYTES_MAX, "{held} bytes are held");
        stop
    }

    /// Executes one of what was given out, and hands in the answer: of commands the first.
    fn answer(&mut self, which: usize) -> bool {
        if let Some((id, ask)) = self
            .asked
            .take_if(|_| which.is_multiple_of(2) || self.given.is_empty())
        {
            let mut reply = Vec::new();
            let mut writer = ReplyWriter::new(&mut reply, self.line.conversation().version());
            match ask {
                Ask::Wait { .. } => writer.integer(0),
                Ask::Clients(_) => writer.verbatim(*b"txt", ""),
                Ask::Kill { .. } => writer.integer(0),
            }
            self.line.answer(id, &reply, &mut self.said);
            return true;
        }
        if self.given.is_empty() {
            return false;
        }
        let is_query = self.given[0].0.kind == Kind::Query;
        let at = if is_query {
            which % self.given.len()
        } else {
            0
        };
        let (given, bytes) = self.given.remove(at);
        let mut answer = Vec::new();
        if is_query {
            self.machine.query(&bytes, &mut answer);
        } else {
            self.index += 1;
            let now = WallTime(1_700_000_000_000_000_000);
            let moment = Moment {
                now,
                index: self.index,
            };
            self.machine
                .execute(moment, &mut || 1 << 40, &bytes, &mut answer);
        }
        self.line.answer(given.id, &answer, &mut self.said);
        true
    }

    /// Each request is answered before the next is taken.
    fn at_once(mut self, bytes: &[u8], host: &Whim) -> Vec<u8> {
        let mut arrived = bytes.to_vec();
        loop {
            let stop = self.take(&mut arrived, 1, host);
            while self.answer(0) {}
            match stop {
                Stop::Hungry | Stop::Ended => break,
                Stop::NoPrimary => self.line.stop_seeking(),
                _ => {}
            }
        }
        self.said
    }

    /// Bytes come and answers are handed in as the input wants it.
    fn in_any_order(
        mut self,
        mut bytes: &[u8],
        host: &Whim,
        order: &mut Unstructured<'_>,
    ) -> Vec<u8> {
        let mut arrived = Vec::new();
        loop {
            let choice: u8 = match order.is_empty() {
                true => 1,
                false => order.arbitrary().unwrap_or(1),
            };
            if choice.is_multiple_of(4) {
                self.answer(usize::from(choice / 4));
            }
            let count = if choice == 1 {
                bytes.len()
            } else {
                usize::from(choice)
            };
            let (piece, rest) = bytes.split_at(count.min(bytes.len()));
            bytes = rest;
            arrived.extend_from_slice(piece);
            match self.take(&mut arrived, usize::from(choice) + 1, host) {
                Stop::Ended => break,
                Stop::NoPrimary => self.line.stop_seeking(),
                Stop::Hungry if bytes.is_empty() && !self.answer(0) => break,
                Stop::Blocked | Stop::Ask(..) => _ = self.answer(usize::from(choice)),
                Stop::Hungry | Stop::Sated => {}
            }
        }
        while self.answer(0) {}
        self.said
    }
}

/// What a client sends: commands as clients write them, lines, and noise.
fn said(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..input.int_in_range(1..=40)? {
        match input.int_in_range(0..=19)? {
            0 => bytes.extend_from_slice(&input.arbitrary::<Vec<u8>>()?),
            1..=3 => bytes.extend_from_slice(match input.int_in_range(0..=5)? {
                0 => b"MULTI\r\n",
                1 => b"EXEC\r\n",
                2 => b"HELLO 3 AUTH default a\r\n",
                3 => b"AUTH a\r\n",
                4 => b"HELLO 2\r\n",
                _ => b"CLIENT LIST\r\n",
            }),
            _ => {
                let words = words(input)?;
                let mut writer = ReplyWriter::new(&mut bytes, Version::Resp2);
                writer.array(words.len());
                words.iter().for_each(|word| writer.bulk(word));
            }
        }
    }
    Ok(bytes)
}

/// What was said to a client is whole replies.
fn check_replies(mut said: &[u8]) {
    while !said.is_empty() {
        let parsed = Reply::parse(said);
        let (_, len) = parsed
            .unwrap_or_else(|error| panic!("no reply: {error:?}"))
            .expect("the last reply is whole");
        said = &said[len..];
    }
}

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let mut host = Whim {
        has_password: input.ratio(1, 4)?,
        is_cluster: input.arbitrary()?,
        place: input.arbitrary()?,
        is_in_touch: input.ratio(3, 4)?,
    };
    let is_fickle = input.ratio(1, 4)?;
    let bytes = match input.ratio(1, 8)? {
        true => {
            let length = input.int_in_range(0..=input.len())?;
            input.bytes(length)?.to_vec()
        }
        false => said(input)?,
    };
    if !is_fickle {
        let at_once = Served::new(&host).at_once(&bytes, &host);
        check_replies(&at_once);
        let late = Served::new(&host).in_any_order(&bytes, &host, input);
        assert!(at_once == late, "what is done late is answered otherwise");
        return Ok(());
    }
    // A host that changes its mind: only the bounds hold, and that replies are whole.
    let mut served = Served::new(&host);
    let mut arrived = Vec::new();
    for piece in bytes.chunks(usize::from(input.arbitrary::<u8>()?) + 1) {
        host.place = input.arbitrary()?;
        host.is_in_touch = input.arbitrary()?;
        arrived.extend_from_slice(piece);
        match served.take(&mut arrived, 100, &host) {
            Stop::Ended => break,
            Stop::NoPrimary if input.arbitrary()? => served.line.stop_seeking(),
            _ => {}
        }
        if input.arbitrary()? {
            served.answer(input.arbitrary::<u8>()?.into());
        }
    }
    served.line.end();
    while served.answer(0) {}
    assert!(served.line.is_over());
    check_replies(&served.said);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // Input that is too short for what is drawn from it tests nothing more.
    let _ = run(&mut Unstructured::new(data));
});
