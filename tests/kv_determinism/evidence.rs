//! What a replica has come to: all that it stores, read out by commands; and its state, made once more from its log.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use standin::machines::kv::{KeyValue, arguments};
use standin_core::entry::{EntryKind, Index, LogTip};
use standin_core::frame::{FRAME_PAYLOAD_BYTES_MAX, Frame, FrameKind};
use standin_core::message::{
    Consistency, Hello, Message as _, Party, QueryRequest, Replies, ReplyStatus, Seen,
};
use standin_core::state::Replicated;
use standin_core::time::WallTime;
use standin_io::log::LogReader;
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;
use standin_resp::reply::Reply;

use crate::support::{PATIENCE, sure, uninterrupted};

/// Questions that are sent before their answers are read.
const ASKED_TOGETHER: usize = 64;

/// Answers questions, each with the machine's own bytes.
pub(crate) type Ask<'a> = &'a mut dyn FnMut(&[Vec<u8>]) -> Vec<Vec<u8>>;

/// All that is stored, as a text with a line for each key.
pub(crate) fn dump(ask: Ask<'_>) -> String {
    let mut text = String::new();
    for number in 0..16 {
        let database = DatabaseId::new(number).expect("there are sixteen");
        let line = |words: &[&[u8]]| arguments::command(Version::Resp2, database, words);
        let keys = all_keys(ask, database);
        let mut questions = Vec::new();
        for key in &keys {
            questions.push(line(&[b"TYPE", key]));
            questions.push(line(&[b"OBJECT", b"ENCODING", key]));
            questions.push(line(&[b"PEXPIRETIME", key]));
        }
        let told = ask(&questions);
        let values: Vec<Vec<u8>> = keys
            .iter()
            .zip(told.chunks(3))
            .map(|(key, told)| match told[0].as_slice() {
                // A key may go while it is asked about: the dump is of no one moment then, and is made again.
                b"+string\r\n" | b"+none\r\n" => line(&[b"GET", key]),
                b"+list\r\n" => line(&[b"LRANGE", key, b"0", b"-1"]),
                b"+hash\r\n" => line(&[b"HGETALL", key]),
                b"+set\r\n" => line(&[b"SMEMBERS", key]),
                b"+zset\r\n" => line(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
                other => panic!("no such type: {}", other.escape_ascii()),
            })
            .collect();
        let values = ask(&values);
        for ((key, told), value) in keys.iter().zip(told.chunks(3)).zip(&values) {
            let told = told.concat();
            let (key, told) = (key.escape_ascii(), told.escape_ascii());
            let written = writeln!(text, "{number} {key} {told} {}", value.escape_ascii());
            written.expect("a text takes anything");
        }
    }
    text
}

/// The keys of a database, by SCAN.
fn all_keys(ask: Ask<'_>, database: DatabaseId) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut cursor = b"0".to_vec();
    loop {
        let words: [&[u8]; 4] = [b"SCAN", &cursor, b"COUNT", b"500"];
        let answers = ask(&[arguments::command(Version::Resp2, database, &words)]);
        let reply = sure(Reply::parse(&answers[0]));
        let Some((Reply::Array(parts), _)) = reply else {
            panic!("SCAN answers {}", answers[0].escape_ascii());
        };
        let [Reply::Bulk(next), Reply::Array(found)] = parts.as_slice() else {
            panic!("SCAN answers {parts:?}");
        };
        let found = found.iter().filter_map(Reply::text);
        keys.extend(found.map(<[u8]>::to_vec));
        if next == b"0" {
            return keys;
        }
        cursor.clone_from(next);
    }
}

/// Asks the machine of a state that is here.
pub(crate) fn ask_state(state: &Replicated<KeyValue>, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let answers = questions.iter().map(|question| {
        let mut answer = Vec::new();
        sure(state.query(question, &mut answer));
        answer
    });
    answers.collect()
}

/// A connection that asks one replica, whatever it is.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: TcpStream,
    input: Vec<u8>,
    /// Up to which entry the replica had applied what it was asked about, each time anew.
    seen: BTreeSet<Index>,
}

impl Reader {
    /// The entry as of which all was answered; `None` if it was not the same for all.
    pub(crate) fn moment(&self) -> Option<Index> {
        match self.seen.len() {
            1 => self.seen.first().copied(),
            _ => None,
        }
    }

    pub(crate) fn connect(address: &str) -> Self {
        let mut stream = sure(TcpStream::connect(address));
        sure(stream.set_nodelay(true));
        sure(stream.set_read_timeout(Some(PATIENCE)));
        let mut out = Vec::new();
        Hello::new(Party::Client, None, None).encode(&mut out);
        sure(stream.write_all(&out));
        Self {
            stream,
            input: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    pub(crate) fn ask(&mut self, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for together in questions.chunks(ASKED_TOGETHER) {
            let mut out = Vec::new();
            for (id, bytes) in (1..).zip(together) {
                let query = QueryRequest {
                    id,
                    seen: Seen::default(),
                    consistency: Consistency::Stale,
                    bytes,
                };
                query.encode(&mut out);
            }
            sure(self.stream.write_all(&out));
            let wanted = answers.len() + together.len();
            while answers.len() < wanted {
                self.hear(&mut answers, wanted - together.len());
            }
        }
        answers
    }

    /// Takes in what has come, waiting for it if there is nothing: answers, the first of which is number 1 and has the place
    /// `first` among all.
    fn hear(&mut self, answers: &mut Vec<Vec<u8>>, first: usize) {
        let Some(frame) = sure(Frame::decode(&self.input, FRAME_PAYLOAD_BYTES_MAX)) else {
            let mut bytes = [0; 64 << 10];
            let count = sure(uninterrupted(|| self.stream.read(&mut bytes)));
            assert!(count > 0, "a replica closed the connection");
            self.input.extend_from_slice(&bytes[..count]);
            return;
        };
        // Else it is the hello.
        if matches!(frame.kind, FrameKind::Reply | FrameKind::Replies) {
            for reply in sure(Replies::decode(&frame)).iter() {
                let id = (answers.len() - first + 1) as u64;
                assert_eq!((reply.id, reply.status), (id, ReplyStatus::Done));
                self.seen.insert(reply.seen.index);
                answers.push(reply.bytes.to_vec());
            }
        }
        let length = frame.len();
        self.input.drain(..length);
    }
}

/// What a replay of a log came upon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) entries: u64,
    /// Timers that fired.
    pub(crate) fired: u64,
    /// The time with which each view begins.
    pub(crate) views: Vec<WallTime>,
}

/// Applies the log in data directory `dir` to `state`, which has applied what comes before `from`, up to entry `to`.
pub(crate) fn replay(
    dir: &Path,
    state: &mut Replicated<KeyValue>,
    from: LogTip,
    to: Index,
) -> Replayed {
    let mut log = sure(LogReader::open(dir));
    sure(log.go_near(from.index.next()));
    while log.tip().index < from.index {
        sure(log.next_entry()).expect("the log has what comes before");
    }
    let mut tip = log.tip();
    assert_eq!(tip, from, "the log goes on from there");
    let mut replayed = Replayed::default();
    let mut reply = Vec::new();
    while tip.index < to {
        let entry = sure(log.next_entry());
        let entry = entry.unwrap_or_else(|| panic!("the log ends after {}", tip.index));
        let next = entry.tip();
        assert!(next.time >= tip.time, "time went back at {}", next.index);
        replayed.entries += 1;
        match entry.header.kind {
            EntryKind::ViewStart => replayed.views.push(next.time),
            EntryKind::Timer => replayed.fired += 1,
            _ => {}
        }
        reply.clear();
        if let Err(fault) = state.apply(&entry, &mut reply) {
            panic!("the machine failed at {}: {}", next.index, fault.words);
        }
        tip = next;
    }
    replayed
}
