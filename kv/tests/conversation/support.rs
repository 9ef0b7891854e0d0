//! A host for conversations in a test: one machine, and what is asked of the host answered at hand.
#![allow(dead_code, reason = "each test uses a part")]

use standin_core::entry::COMMAND_BYTES_MAX;
use standin_core::time::WallTime;
use standin_kv::conversation::{
    Ask, Conversation, Follower, Host, Info, KeyspaceInfo, Node, Place, Role, Step, Then,
};
use standin_kv::{KeyValue, Moment};
use standin_resp::request::RequestParser;
use standin_resp::writer::ReplyWriter;

/// Any time will do, where nobody says which it is.
const START: WallTime = WallTime(1_700_000_000_000_000_000);

/// What the host says of itself.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) password: Option<Vec<u8>>,
    /// Where commands are executed, if not here; empty if nowhere.
    pub(crate) elsewhere: Option<String>,
    /// Whether that may no longer be so.
    pub(crate) is_lost: bool,
    pub(crate) nodes: Option<Vec<Node>>,
    pub(crate) role: Role,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            password: None,
            elsewhere: None,
            is_lost: false,
            nodes: None,
            role: Role::Primary {
                index: 0,
                followers: Vec::new(),
            },
        }
    }
}

impl Host for Facts {
    fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    fn place(&self) -> Place<'_> {
        match self.elsewhere.as_deref() {
            None => Place::Here,
            Some("") => Place::Nowhere,
            Some(addr) => Place::At(addr),
        }
    }

    fn is_in_touch(&self) -> bool {
        !self.is_lost
    }

    fn nodes(&self) -> Option<Vec<Node>> {
        self.nodes.clone()
    }

    fn view(&self) -> u64 {
        4
    }

    fn role(&self) -> Role {
        self.role.clone()
    }

    fn info(&self) -> Info {
        Info {
            program_version: "0.1.0".into(),
            process_id: 7,
            run_id: "0123456789012345678901234567890123456789".into(),
            port: 6379,
            uptime_s: 100_000,
            clients: 1,
            keyspace: vec![KeyspaceInfo {
                database: 3,
                keys: 5,
                keys_with_deadline: 2,
            }],
            ..Info::default()
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("port", "6379".into()), ("maxclients", "10000".into())]
    }
}

/// The machine, and who talks to it.
pub(crate) struct Server {
    pub(crate) facts: Facts,
    /// Logged time of the next entry.
    pub(crate) now: WallTime,
    machine: KeyValue,
    index: u64,
    pub(crate) alarm: Option<WallTime>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            facts: Facts::default(),
            now: START,
            machine: KeyValue::default(),
            index: 0,
            alarm: None,
        }
    }
}

/// A connection to it.
pub(crate) struct Client {
    pub(crate) conversation: Conversation,
    parser: RequestParser,
    /// What was said and is no whole request yet.
    buffer: Vec<u8>,
    pub(crate) is_closed: bool,
    /// What was done about the last request.
    pub(crate) step: Step,
}

impl Client {
    pub(crate) fn new(id: u64, server: &Server) -> Client {
        let addr = "127.0.0.1:5000".to_owned();
        let local_addr = "127.0.0.1:6379".to_owned();
        Client {
            conversation: Conversation::new(id, addr, local_addr, &server.facts),
            parser: RequestParser::new(),
            buffer: Vec::new(),
            is_closed: false,
            step: Step::Replied,
        }
    }

    /// Says something, and returns all that is said to it.
    pub(crate) fn say(&mut self, server: &mut Server, bytes: &[u8]) -> Vec<u8> {
        let mut replies = Vec::new();
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        while !self.is_closed {
            let limits = self.conversation.limits();
            match self.parser.parse(&self.buffer[at..], &limits) {
                Ok(None) => break,
                Ok(Some(request)) => {
                    at += request.consumed();
                    let mut command = Vec::new();
                    let step =
                        self.conversation
                            .take(&request, &server.facts, &mut replies, &mut command);
                    self.step = step.clone();
                    self.is_closed = step == Step::Close;
                    server.carry_out(&mut self.conversation, step, &command, &mut replies);
                }
                Err(error) => {
                    let version = self.conversation.version();
                    error.write(&mut ReplyWriter::new(&mut replies, version));
                    self.is_closed = true;
                }
            }
        }
        self.buffer.drain(..at);
        replies
    }

    /// The same with a line, and as text.
    pub(crate) fn line(&mut self, server: &mut Server, line: &str) -> String {
        let said = self.say(server, format!("{line}\r\n").as_bytes());
        String::from_utf8(said).expect("the tests say text")
    }
}

impl Server {
    fn moment(&mut self) -> Moment {
        self.index += 1;
        Moment {
            now: self.now,
            index: self.index,
        }
    }

    /// Lets the timer fire as often as it is due.
    pub(crate) fn fire_timers(&mut self) {
        while self.alarm.is_some_and(|at| at <= self.now) {
            let moment = self.moment();
            self.alarm = self.machine.fire(moment);
        }
    }

    fn carry_out(
        &mut self,
        conversation: &mut Conversation,
        step: Step,
        command: &[u8],
        replies: &mut Vec<u8>,
    ) {
        assert!(command.len() <= COMMAND_BYTES_MAX, "{}", command.len());
        let (is_command, then) = match step {
            Step::Replied | Step::Close => return assert_eq!(command, b""),
            Step::Ask(ask) => return answer_ask(conversation, *ask, replies),
            Step::Query(then) => (false, then),
            Step::Order(then) => (true, then),
        };
        let answer = self.execute(is_command, command);
        match then {
            Then::Pass | Then::Join => replies.extend_from_slice(&answer),
            Then::Hear => conversation.hear(&answer, replies),
        }
    }

    pub(crate) fn execute(&mut self, is_command: bool, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        if !is_command {
            self.machine.answer(bytes, &mut answer);
            return answer;
        }
        let moment = self.moment();
        let alarm = self
            .machine
            .execute(moment, &mut || 1 << 40, bytes, &mut answer);
        self.alarm = alarm.or(self.alarm);
        answer
    }
}

/// The only connection there is, with nobody behind the server.
pub(crate) fn answer_ask(conversation: &Conversation, ask: Ask, replies: &mut Vec<u8>) {
    let mut reply = ReplyWriter::new(replies, conversation.version());
    match ask {
        Ask::Wait { .. } => reply.integer(0),
        Ask::Clients(choice) => {
            let is_meant = choice.includes(conversation);
            let line = is_meant.then(|| conversation.line(0, 0));
            reply.verbatim(*b"txt", line.unwrap_or_default());
        }
        Ask::Kill { choice, is_one } => match (choice.includes(conversation), is_one) {
            (true, true) => reply.ok(),
            (false, true) => reply.error("ERR No such client"),
            (is_meant, false) => reply.integer(i64::from(is_meant)),
        },
    }
}

pub(crate) fn node(id: &str, port: u16, is_primary: bool) -> Node {
    Node {
        id: id.to_owned(),
        host: "10.0.0.1".into(),
        port,
        is_primary,
        is_myself: !is_primary,
        is_alive: true,
        index: 9,
    }
}

pub(crate) fn follower(port: u16) -> Follower {
    Follower {
        host: "10.0.0.2".into(),
        port,
        index: 8,
    }
}
