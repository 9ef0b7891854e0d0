//! Clients on plain sockets, without sessions: Redis's protocol, and HTTP.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_io::signals::Signals;
use standin_resp::reply::ReplyScanner;

use super::http::HttpReply;
use super::request::Source;
use super::{
    Expected, LoadConfig, LoadError, LoadResult, OPEN_TIMEOUT, Pace, Recorder, Request, Run,
};

/// Most bytes that are read of one connection at a time.
const READ_BYTES: usize = 64 << 10;
/// So many requests may wait for their answers before an open loop is given up.
const WAITING_MAX: usize = 4 << 20;
const SIGNAL: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// What is spoken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Language<'a> {
    /// Redis's protocol: each request has these replies.
    Resp(&'a [Expected]),
    /// HTTP: each request has one response, with these words in its body.
    Http(&'a str),
}

/// Puts load on a service.
pub(super) fn run(
    config: &LoadConfig,
    request: &Request,
    language: Language<'_>,
    pace: Pace,
) -> Result<LoadResult, LoadError> {
    let mut load = Load::open(config, request, language)?;
    match pace {
        Pace::Closed(depth) => load.fill(depth)?,
        Pace::Open(per_second) => load.schedule = Some(Schedule::new(per_second)?),
    }
    load.drive()
}

/// When requests of an open loop are due: the first at its beginning, the others at equal distances.
#[derive(Debug)]
struct Schedule {
    begin: Instant,
    per_second: u64,
    /// How many were taken.
    taken: u64,
    timer: TimerFd,
}

impl Schedule {
    fn new(per_second: u64) -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK)?;
        Ok(Self {
            begin: clock::boot(),
            per_second,
            taken: 0,
            timer,
        })
    }

    /// When a request is due.
    fn due(&self, number: u64) -> Instant {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.per_second);
        let after = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.begin.plus(Duration::from_nanos(after))
    }

    /// The next request, if it is due, and when it was.
    fn take(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let number = self.taken;
        let due = self.due(number);
        if due > now {
            return None;
        }
        self.taken += 1;
        Some((number, due))
    }

    /// Has the loop woken when the next one is due.
    fn arm(&self, now: Instant) -> io::Result<()> {
        // At once, if it is due by now: zero would disarm it.
        let wait = self.due(self.taken).since(now);
        let wait = wait.max(Duration::from_nanos(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
        Ok(self.timer.set(expiration, TimerSetTimeFlags::empty())?)
    }
}

/// What came on one connection, until it is a whole reply.
#[derive(Debug, Default)]
pub(super) struct Answers {
    input: Vec<u8>,
    /// What of it was taken.
    taken: usize,
    scanner: ReplyScanner,
    /// Of the oldest request in flight so many replies have come.
    replies: usize,
}

impl Answers {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.taken);
        self.taken = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Whether one more request is answered, as it should be, by what has come; each counts once.
    pub(super) fn next(&mut self, language: Language<'_>) -> Result<bool, String> {
        match language {
            Language::Resp(expected) => self.next_replies(expected),
            Language::Http(words) => {
                let reply = HttpReply::parse(&self.input[self.taken..])?;
                let Some(reply) = reply else {
                    return Ok(false);
                };
                reply.check(words)?;
                self.taken += reply.length;
                Ok(true)
            }
        }
    }

    fn next_replies(&mut self, expected: &[Expected]) -> Result<bool, String> {
        loop {
            let rest = &self.input[self.taken..];
            let scanned = self.scanner.scan(rest).map_err(|error| error.to_string())?;
            let Some(length) = scanned else {
                return Ok(false);
            };
            let reply = &rest[..length];
            let wanted = expected.get(self.replies).copied();
            if !wanted.is_some_and(|wanted| wanted.fits(reply)) {
                return Err(format!(
                    "a request was answered '{}'",
                    reply.trim_ascii_end().escape_ascii()
                ));
            }
            self.taken += length;
            self.replies += 1;
            if self.replies == expected.len() {
                self.replies = 0;
                return Ok(true);
            }
        }
    }
}

/// One connection.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    answers: Answers,
    /// What is to be sent, and how much of it was.
    output: Vec<u8>,
    written: usize,
    /// Since when each request in flight counts, the oldest first.
    since: VecDeque<Instant>,
}

impl Client {
    fn ask(&mut self, source: &mut Source<'_>, since: Instant) {
        self.output.extend_from_slice(source.draw());
        self.since.push_back(since);
    }

    /// Sends what is to be sent, as far as the connection takes it.
    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Takes what has come, and records each request that is answered by it. Says how many are.
    fn take(
        &mut self,
        language: Language<'_>,
        scratch: &mut [u8],
        now: Instant,
        recorder: &mut Recorder,
    ) -> Result<u64, String> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err("the service hung up".to_owned()),
                Ok(count) => {
                    self.answers.push(&scratch[..count]);
                    // What is left would have filled the buffer; what comes later wakes the loop.
                    if count < scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.take_replies(language, now, recorder)
    }

    fn take_replies(
        &mut self,
        language: Language<'_>,
        now: Instant,
        recorder: &mut Recorder,
    ) -> Result<u64, String> {
        let mut answered = 0;
        while self.answers.next(language)? {
            let since = self.since.pop_front();
            let since = since.ok_or("a reply came that nobody had asked for")?;
            recorder.record(now.since(since));
            answered += 1;
        }
        Ok(answered)
    }
}

#[derive(Debug)]
struct Load<'a> {
    config: &'a LoadConfig,
    source: Source<'a>,
    language: Language<'a>,
    poll: Poll,
    signals: Option<Signals>,
    /// Those that have failed are gone.
    clients: Vec<Option<Client>>,
    schedule: Option<Schedule>,
    run: Run,
    scratch: Vec<u8>,
}

impl<'a> Load<'a> {
    /// Makes all connections.
    fn open(
        config: &'a LoadConfig,
        request: &'a Request,
        language: Language<'a>,
    ) -> Result<Self, LoadError> {
        let poll = Poll::new()?;
        let signals = config.heeds_signals.then(Signals::block).transpose()?;
        if let Some(signals) = &signals {
            let fd = signals.as_raw_fd();
            let registry = poll.registry();
            registry.register(&mut SourceFd(&fd), SIGNAL, Interest::READABLE)?;
        }
        let mut load = Self {
            config,
            source: Source::new(request),
            language,
            poll,
            signals,
            clients: Vec::new(),
            schedule: None,
            run: Run::new(config, clock::boot()),
            scratch: vec![0; READ_BYTES],
        };
        let address: Result<SocketAddr, _> = config.address.parse();
        let address = address.map_err(|_| config.not_open(0, "it is no address".to_owned()))?;
        for at in 0..config.wanted() {
            let client = load.connect(address, at);
            let client = client.map_err(|error| config.not_open(at, error.to_string()))?;
            load.clients.push(Some(client));
        }
        Ok(load)
    }

    fn connect(&self, address: SocketAddr, at: usize) -> io::Result<Client> {
        let stream = std::net::TcpStream::connect_timeout(&address, OPEN_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(at), interest)?;
        Ok(Client {
            stream,
            answers: Answers::default(),
            output: Vec::new(),
            written: 0,
            since: VecDeque::new(),
        })
    }

    /// Fills each connection for a closed loop.
    fn fill(&mut self, depth: u64) -> Result<(), LoadError> {
        let now = clock::boot();
        for client in self.clients.iter_mut().flatten() {
            for _ in 0..depth {
                client.ask(&mut self.source, now);
            }
            client.flush()?;
        }
        Ok(())
    }

    /// Goes on until time is up.
    fn drive(mut self) -> Result<LoadResult, LoadError> {
        if let Some(schedule) = &self.schedule {
            let fd = schedule.timer.as_fd().as_raw_fd();
            let registry = self.poll.registry();
            registry.register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        }
        let mut now = clock::boot();
        self.run = Run::new(self.config, now);
        let mut events = Events::with_capacity(1024);
        while self.run.goes_on(now) {
            let next = self.run.deadline();
            self.ask_for_due(now)?;
            self.poll.poll(&mut events, Some(next.since(now)))?;
            now = clock::boot();
            for event in &events {
                match event.token() {
                    SIGNAL => {
                        let signals = self.signals.as_ref();
                        if signals.map(Signals::next).transpose()?.flatten().is_some() {
                            return Err(LoadError::Interrupted);
                        }
                    }
                    TIMER => {}
                    Token(at) => self.serve(at, now),
                }
            }
            if self.clients.iter().all(Option::is_none) {
                return Err(self.config.lost(self.run));
            }
        }
        Ok(self.run.result(now))
    }

    /// Sends what is due in an open loop, over one connection after the other.
    fn ask_for_due(&mut self, now: Instant) -> Result<(), LoadError> {
        let Some(schedule) = &mut self.schedule else {
            return Ok(());
        };
        let count = self.clients.len();
        let mut waiting = 0;
        while let Some((number, due)) = schedule.take(now) {
            let at = usize::try_from(number).unwrap_or(usize::MAX) % count;
            if let Some(client) = &mut self.clients[at] {
                client.ask(&mut self.source, due);
                waiting = waiting.max(client.since.len());
            }
        }
        schedule.arm(clock::boot())?;
        if waiting > WAITING_MAX / count {
            return Err(LoadError::TooFast {
                address: self.config.address.clone(),
                waiting: self.clients.iter().flatten().map(|it| it.since.len()).sum(),
            });
        }
        for at in 0..count {
            self.flush(at);
        }
        Ok(())
    }

    /// A connection can be read, or written, or has ended.
    fn serve(&mut self, at: usize, now: Instant) {
        let Some(client) = &mut self.clients[at] else {
            return;
        };
        let taken = client.take(
            self.language,
            &mut self.scratch,
            now,
            &mut self.run.recorder,
        );
        match taken {
            Ok(answered) if self.schedule.is_none() => {
                for _ in 0..answered {
                    client.ask(&mut self.source, now);
                }
                self.flush(at);
            }
            Ok(_) => self.flush(at),
            Err(reason) => self.fail(at, reason),
        }
    }

    fn flush(&mut self, at: usize) {
        let flushed = self.clients[at].as_mut().map(Client::flush);
        if let Some(Err(error)) = flushed {
            self.fail(at, error.to_string());
        }
    }

    fn fail(&mut self, at: usize, reason: String) {
        self.clients[at] = None;
        self.run.recorder.fail(reason);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::Work;
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances_and_each_is_taken_once() {
        let mut schedule = Schedule::new(300).unwrap();
        let at = |micros| schedule.begin.plus(Duration::from_micros(micros));
        let (first, early, late) = (at(0), at(3_333), at(10_000));
        let take = |schedule: &mut Schedule, now| {
            let taken = std::iter::from_fn(|| schedule.take(now));
            taken.map(|(number, _)| number).collect::<Vec<_>>()
        };
        assert_eq!(take(&mut schedule, first), [0]);
        assert_eq!(
            take(&mut schedule, early),
            [] as [u64; 0],
            "a third of a microsecond early"
        );
        assert_eq!(
            take(&mut schedule, late),
            [1, 2, 3],
            "what is late is asked for all at once"
        );
        assert_eq!(schedule.due(3), late);
        schedule.arm(late).unwrap();
        schedule.arm(schedule.due(9)).unwrap();
    }

    #[test]
    fn a_request_that_is_sent_late_counts_from_when_it_was_due() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = LoadConfig {
            address: listener.local_addr().unwrap().to_string(),
            connections: 1,
            pace: Pace::Open(100),
            warm_up: Duration::ZERO,
            measured: Duration::from_secs(1),
            work: Work::Resp(b"x".to_vec().into(), vec![Expected::Done]),
            heeds_signals: false,
        };
        let request = Request::new(b"x".to_vec());
        let mut load = Load::open(&config, &request, Language::Resp(&[Expected::Done])).unwrap();
        let schedule = Schedule::new(100).unwrap();
        let at = |millis| schedule.begin.plus(Duration::from_millis(millis));
        let (late, answered) = (at(25), at(30));
        load.schedule = Some(schedule);
        load.run.recorder.is_counting = true;

        load.ask_for_due(late).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut requests = [0; 3];
        stream.read_exact(&mut requests).unwrap();
        assert_eq!(requests, *b"xxx");
        let client = load.clients[0].as_mut().unwrap();
        client.answers.push(b"+1\r\n+2\r\n+3\r\n");
        let recorder = &mut load.run.recorder;
        client
            .take_replies(load.language, answered, recorder)
            .unwrap();
        let latencies = load.run.result(answered);
        // Due at 0, 10 and 20 ms, sent at 25 and answered at 30.
        assert_eq!(latencies.requests, 3);
        for (told, millis) in [(latencies.max_us, 30), (latencies.p50_us, 20)] {
            assert!(told.abs_diff(millis * 1000) < 100, "{latencies:?}");
        }
    }
}
