//! One connection's side of the talk: which version it speaks, its database, its transaction, what it watches.
//!
//! [`Conversation`] is handed each request in turn and says what is to be done with it. It opens no socket and
//! asks no machine: its host does, keeps replies in the order of their requests, and hands back what only it can
//! know. Whatever a client sends, a conversation holds a bounded amount of it.

use standin_core::entry::COMMAND_BYTES_MAX;
use standin_resp::Version;
use standin_resp::request::Request;
use standin_resp::writer::ReplyWriter;

use crate::arguments::{self, Watch, read_sights};
use crate::call::Refusal;
use crate::commands::connection::database;
use crate::keyspace::DatabaseId;
use crate::table::{Handler, Spec, Way, find, takes_or_refuse, unknown};

/// Most keys that one connection watches.
pub const WATCHES_MAX: usize = 1024;
/// Most bytes of a transaction's commands: with what it watches, it must fit into one command of the machine.
pub const QUEUE_BYTES_MAX: usize = COMMAND_BYTES_MAX - (64 << 10);
/// Longest name of a connection, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Its reply was written.
    Reply,
    /// Its reply was written, and then the connection ends.
    Close,
    /// The machine is to be asked with the bytes that were written; what it replies is what the client gets.
    Query,
    /// The bytes that were written are a command to be ordered; what the machine replies is what the client gets.
    Command,
    /// As [`Next::Query`], but the answer goes to [`Conversation::answered`], before the next request is taken.
    QueryFirst,
    /// As [`Next::Command`], but the answer goes to [`Conversation::answered`], before the next request is taken.
    CommandFirst,
    /// Its host answers by what only that knows: INFO, ROLE, WAIT, CLUSTER, CONFIG, AUTH and parts of CLIENT.
    Host(&'static str),
}

/// Where the bytes go that [`Conversation::take`] writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// Replies, in the client's version.
    pub reply: &'a mut Vec<u8>,
    /// A command or a query for the machine. Empty before each request.
    pub bytes: &'a mut Vec<u8>,
}

/// What the answer of the machine is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Awaited {
    /// These keys in this database are to be watched.
    Watch(DatabaseId, Vec<Vec<u8>>),
    /// Whether the transaction was executed: then this database is selected from now on.
    Select(DatabaseId),
}

/// A transaction that has begun.
#[derive(Clone, Debug, Default)]
struct Queue {
    /// The commands, encoded.
    bytes: Vec<u8>,
    /// A command was refused: EXEC will be, too.
    is_broken: bool,
    /// The database that its commands select at last.
    selects: Option<DatabaseId>,
}

/// What a host has decided of a client for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The client must give a password before anything else.
    pub wants_password: bool,
    /// The host is a node that points elsewhere when it is not the primary, and HELLO says so.
    pub is_cluster: bool,
}

/// One connection's side of the talk. See the [module](self).
#[derive(Clone, Debug)]
pub struct Conversation {
    id: u64,
    version: Version,
    database: DatabaseId,
    name: Vec<u8>,
    library: Vec<u8>,
    library_version: Vec<u8>,
    terms: Terms,
    is_admitted: bool,
    queue: Option<Queue>,
    watches: Vec<Watch>,
    awaited: Option<Awaited>,
}

impl Conversation {
    /// A conversation at its beginning, with the id that CLIENT ID answers.
    #[must_use]
    pub fn new(id: u64, terms: Terms) -> Self {
        Self {
            id,
            version: Version::Resp2,
            database: DatabaseId::default(),
            name: Vec::new(),
            library: Vec::new(),
            library_version: Vec::new(),
            terms,
            is_admitted: !terms.wants_password,
            queue: None,
            watches: Vec::new(),
            awaited: None,
        }
    }

    /// The version that the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The database that is selected.
    #[must_use]
    pub fn database(&self) -> DatabaseId {
        self.database
    }

    /// The id that CLIENT ID answers.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name that the client has given itself; empty if none.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The client's library and its version, as it has told them; empty if it has not.
    #[must_use]
    pub fn library(&self) -> (&[u8], &[u8]) {
        (&self.library, &self.library_version)
    }

    /// Whether a transaction has begun.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.queue.is_some()
    }

    /// How many keys are watched.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.watches.len()
    }

    /// Whether an answer is awaited ([`Conversation::answered`]) before the next request may be taken.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// The client has given the password.
    pub fn admit(&mut self) {
        self.is_admitted = true;
    }

    /// Takes a request that is not empty, and says what is to be done with it.
    ///
    /// # Panics
    /// If an answer is awaited: that is a bug of the host's.
    pub fn take(&mut self, request: Request<'_>, output: &mut Output<'_>) -> Next {
        assert!(self.awaited.is_none(), "an answer is awaited first");
        debug_assert!(output.bytes.is_empty(), "bytes of another request");
        let name = request.argument(0).unwrap_or_default();
        let reply_at = output.reply.len();
        let decided = find(name)
            .filter(|spec| !matches!(spec.handler, Handler::Missing))
            .ok_or_else(|| unknown(name, request.iter().skip(1)))
            .and_then(|spec| takes_or_refuse(spec, request.len()))
            .and_then(|spec| self.decide(spec, request, output));
        match decided {
            Ok(next) => next,
            Err(refusal) => {
                // What cannot be queued breaks the transaction.
                if let Some(queue) = &mut self.queue {
                    queue.is_broken |= !refusal.leaves_queue();
                }
                output.bytes.clear();
                output.reply.truncate(reply_at);
                ReplyWriter::new(output.reply, self.version).error(refusal.text());
                Next::Reply
            }
        }
    }

    fn decide(
        &mut self,
        spec: &'static Spec,
        request: Request<'_>,
        output: &mut Output<'_>,
    ) -> Result<Next, Refusal> {
        if !self.is_admitted && !spec.has_flag("no_auth") {
            return Err(Refusal::of("NOAUTH Authentication required."));
        }
        if self.queue.is_some() && !matches!(spec.name, "exec" | "discard" | "multi" | "watch") {
            if matches!(spec.name, "quit" | "reset") {
                return self.connection(spec, request, output);
            }
            return self.enqueue(spec, request, output);
        }
        match spec.way {
            Way::Connection => self.connection(spec, request, output),
            Way::Query => {
                self.encode(request, output.bytes)?;
                Ok(Next::Query)
            }
            Way::Write | Way::Entry => {
                self.encode(request, output.bytes)?;
                Ok(Next::Command)
            }
        }
    }

    fn encode(&self, request: Request<'_>, bytes: &mut Vec<u8>) -> Result<(), Refusal> {
        arguments::begin_command(bytes, self.version, self.database);
        for argument in request.iter() {
            arguments::put_argument(bytes, argument);
        }
        match bytes.len() <= COMMAND_BYTES_MAX {
            true => Ok(()),
            false => Err(Refusal::of(
                "ERR the request is longer than 1 MiB: send it in several",
            )),
        }
    }

    fn enqueue(
        &mut self,
        spec: &'static Spec,
        request: Request<'_>,
        output: &mut Output<'_>,
    ) -> Result<Next, Refusal> {
        if !spec.may_be_queued() {
            return Err(Refusal::quoting(
                format!("ERR '{}' is not allowed in a transaction", spec.name).into(),
            ));
        }
        let queue = self.queue.as_mut().expect("a transaction has begun");
        let needed: usize = request.iter().map(|argument| argument.len() + 4).sum();
        if queue.bytes.len() + needed + 4 > QUEUE_BYTES_MAX {
            return Err(Refusal::of(
                "ERR the transaction would be longer than 1 MiB: make several of it",
            ));
        }
        if spec.name == "select" {
            let number = request.argument(1).unwrap_or_default();
            let selected = standin_resp::number::parse_integer(number).map(database);
            if let Some(Ok(selected)) = selected {
                queue.selects = Some(selected);
            }
        }
        arguments::begin_queued(&mut queue.bytes, request.len());
        for argument in request.iter() {
            arguments::put_argument(&mut queue.bytes, argument);
        }
        ReplyWriter::new(output.reply, self.version).simple("QUEUED");
        Ok(Next::Reply)
    }

    /// What the connection answers, or its host.
    fn connection(
        &mut self,
        spec: &'static Spec,
        request: Request<'_>,
        output: &mut Output<'_>,
    ) -> Result<Next, Refusal> {
        let argument = |place: usize| request.argument(place).unwrap_or_default();
        let mut reply = ReplyWriter::new(output.reply, self.version);
        match spec.name {
            "ping" => match request.len() {
                1 => reply.simple("PONG"),
                2 => reply.bulk(argument(1)),
                _ => return Err(Refusal::arity("ping")),
            },
            "echo" => reply.bulk(argument(1)),
            "quit" => {
                reply.ok();
                return Ok(Next::Close);
            }
            "reset" => {
                *self = Self::new(self.id, self.terms);
                ReplyWriter::new(output.reply, self.version).simple("RESET");
            }
            "select" => {
                let number = standin_resp::number::parse_integer(argument(1));
                self.database = database(number.ok_or(Refusal::NOT_INTEGER)?)?;
                reply.ok();
            }
            "multi" => {
                if self.queue.is_some() {
                    return Err(Refusal::NESTED_MULTI);
                }
                self.queue = Some(Queue::default());
                reply.ok();
            }
            "discard" => {
                self.queue
                    .take()
                    .ok_or(Refusal::of("ERR DISCARD without MULTI"))?;
                self.watches.clear();
                reply.ok();
            }
            "exec" => return self.exec(output),
            "watch" => return self.watch(request, output),
            "unwatch" => {
                self.watches.clear();
                reply.ok();
            }
            "command" => crate::server::command(request, &mut reply)?,
            "hello" => return self.hello(request, output),
            "client" => return self.client(request, output),
            _ => return Ok(Next::Host(spec.name)),
        }
        Ok(Next::Reply)
    }

    fn exec(&mut self, output: &mut Output<'_>) -> Result<Next, Refusal> {
        let queue = self.queue.take();
        let queue = queue.ok_or(Refusal::of("ERR EXEC without MULTI"))?;
        let watches = std::mem::take(&mut self.watches);
        if queue.is_broken {
            return Err(Refusal::of(
                "EXECABORT Transaction discarded because of previous errors.",
            ));
        }
        let bytes = &mut *output.bytes;
        arguments::begin_transaction(bytes, self.version, self.database, &watches);
        bytes.extend_from_slice(&queue.bytes);
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(Refusal::of(
                "EXECABORT Transaction discarded: it and what it watches are longer than 1 MiB.",
            ));
        }
        match queue.selects {
            // Without watches it is executed for certain.
            Some(selected) if watches.is_empty() => self.database = selected,
            Some(selected) => {
                self.awaited = Some(Awaited::Select(selected));
                return Ok(Next::CommandFirst);
            }
            None => {}
        }
        Ok(Next::Command)
    }

    fn watch(&mut self, request: Request<'_>, output: &mut Output<'_>) -> Result<Next, Refusal> {
        if self.queue.is_some() {
            return Err(Refusal::WATCH_IN_MULTI);
        }
        let is_watched = |key: &[u8]| {
            let mut watches = self.watches.iter();
            watches.any(|watch| watch.database == self.database && watch.key == key)
        };
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for key in request.iter().skip(1) {
            // The first look counts: a second one would not see what has happened since.
            if !is_watched(key) && !keys.iter().any(|it| it == key) {
                keys.push(key.to_vec());
            }
            if self.watches.len() + keys.len() > WATCHES_MAX {
                return Err(Refusal::of(
                    "ERR too many keys are watched: at most 1024 at a time",
                ));
            }
        }
        if keys.is_empty() {
            ReplyWriter::new(output.reply, self.version).ok();
            return Ok(Next::Reply);
        }
        arguments::begin_command(output.bytes, self.version, self.database);
        arguments::put_argument(output.bytes, b"watch");
        for key in &keys {
            arguments::put_argument(output.bytes, key);
        }
        self.awaited = Some(Awaited::Watch(self.database, keys));
        Ok(Next::QueryFirst)
    }

    /// The machine's answer to what was asked or ordered first; writes the client's reply.
    ///
    /// # Panics
    /// If nothing is awaited: that is a bug of the host's.
    pub fn answered(&mut self, answer: &[u8], reply: &mut Vec<u8>) {
        match self.awaited.take().expect("an answer is awaited") {
            Awaited::Watch(database, keys) => {
                let sights = read_sights(answer).filter(|sights| sights.len() == keys.len());
                let Some(sights) = sights else {
                    reply.extend_from_slice(answer); // an error of the machine's
                    return;
                };
                let seen = keys.into_iter().zip(sights);
                self.watches.extend(seen.map(|(key, sight)| Watch {
                    database,
                    key,
                    sight,
                }));
                ReplyWriter::new(reply, self.version).ok();
            }
            Awaited::Select(selected) => {
                let is_executed = answer.first() == Some(&b'*') && !answer.starts_with(b"*-1");
                if is_executed {
                    self.database = selected;
                }
                reply.extend_from_slice(answer);
            }
        }
    }

    fn hello(&mut self, request: Request<'_>, output: &mut Output<'_>) -> Result<Next, Refusal> {
        let argument = |place: usize| request.argument(place).unwrap_or_default();
        let is_word =
            |place: usize, word: &str| argument(place).eq_ignore_ascii_case(word.as_bytes());
        let mut version = self.version;
        if request.len() > 1 {
            let number = standin_resp::number::parse_integer(argument(1));
            let number = number.ok_or(Refusal::of(
                "ERR Protocol version is not an integer or out of range",
            ))?;
            version = Version::from_number(number)
                .ok_or(Refusal::of("NOPROTO unsupported protocol version"))?;
        }
        let mut name = None;
        let mut place = 2;
        while place < request.len() {
            let left = request.len() - place - 1;
            if is_word(place, "auth") && left >= 2 {
                // Whether they are right only the host knows; it goes on from here.
                return Ok(Next::Host("hello"));
            } else if is_word(place, "setname") && left >= 1 {
                name = Some(checked_name(argument(place + 1))?);
                place += 2;
            } else {
                let mut text = b"ERR Syntax error in HELLO option '".to_vec();
                text.extend_from_slice(argument(place));
                text.push(b'\'');
                return Err(Refusal::quoting(text));
            }
        }
        if !self.is_admitted {
            return Err(Refusal::of(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            ));
        }
        self.greet(version, name, output.reply);
        Ok(Next::Reply)
    }

    /// Speaks this version from now on, and answers as HELLO does; for a host that has checked a password, too.
    pub fn greet(&mut self, version: Version, name: Option<&[u8]>, reply: &mut Vec<u8>) {
        self.version = version;
        if let Some(name) = name {
            self.name = name.to_vec();
        }
        let mut reply = ReplyWriter::new(reply, version);
        reply.map(7);
        reply.bulk("server");
        reply.bulk("redis");
        reply.bulk("version");
        reply.bulk(REDIS_VERSION);
        reply.bulk("proto");
        reply.integer(i64::from(version.number()));
        reply.bulk("id");
        reply.integer(i64::try_from(self.id).unwrap_or(i64::MAX));
        reply.bulk("mode");
        reply.bulk(match self.terms.is_cluster {
            true => "cluster",
            false => "standalone",
        });
        reply.bulk("role");
        reply.bulk("master");
        reply.bulk("modules");
        reply.array(0);
    }

    fn client(&mut self, request: Request<'_>, output: &mut Output<'_>) -> Result<Next, Refusal> {
        let argument = |place: usize| request.argument(place).unwrap_or_default();
        let word = argument(1).to_ascii_lowercase();
        let takes = |count: usize| match request.len() == count {
            true => Ok(()),
            false => {
                let name = format!("client|{}", String::from_utf8_lossy(&word));
                Err(Refusal::arity(&name))
            }
        };
        let mut reply = ReplyWriter::new(output.reply, self.version);
        match word.as_slice() {
            b"id" => {
                takes(2)?;
                reply.integer(i64::try_from(self.id).unwrap_or(i64::MAX));
            }
            b"getname" => {
                takes(2)?;
                match self.name.is_empty() {
                    true => reply.null(),
                    false => reply.bulk(&self.name),
                }
            }
            b"setname" => {
                takes(3)?;
                self.name = checked_name(argument(2))?.to_vec();
                reply.ok();
            }
            b"setinfo" => {
                takes(4)?;
                let value = argument(3);
                let is_sound =
                    value.len() <= NAME_BYTES_MAX && value.iter().all(u8::is_ascii_graphic);
                if !is_sound {
                    return Err(Refusal::of(
                        "ERR lib-name and lib-ver cannot contain spaces, newlines or special characters.",
                    ));
                }
                match argument(2).to_ascii_lowercase().as_slice() {
                    b"lib-name" => self.library = value.to_vec(),
                    b"lib-ver" => self.library_version = value.to_vec(),
                    _ => {
                        let mut text = b"ERR Unrecognized option '".to_vec();
                        text.extend_from_slice(argument(2));
                        text.push(b'\'');
                        return Err(Refusal::quoting(text));
                    }
                }
                reply.ok();
            }
            b"no-evict" => {
                takes(3)?;
                let is_known = [&b"on"[..], b"off"]
                    .iter()
                    .any(|it| argument(2).eq_ignore_ascii_case(it));
                if !is_known {
                    return Err(Refusal::SYNTAX);
                }
                // Nothing is ever evicted for want of memory, so there is nothing to remember.
                reply.ok();
            }
            b"list" => return Ok(Next::Host("client")),
            _ => {
                return Err(crate::commands::keys::unknown_subcommand(
                    "CLIENT",
                    argument(1),
                ));
            }
        }
        Ok(Next::Reply)
    }
}

/// The version of Redis whose commands and replies these are.
pub const REDIS_VERSION: &str = "7.0.15";

/// A name that a client may give itself.
fn checked_name(name: &[u8]) -> Result<&[u8], Refusal> {
    match name.len() <= NAME_BYTES_MAX && name.iter().all(u8::is_ascii_graphic) {
        true => Ok(name),
        false => Err(Refusal::of(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        )),
    }
}
