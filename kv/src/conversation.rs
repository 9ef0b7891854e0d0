//! One client's connection: what it has said so far, and what becomes of its next request.
//!
//! A [`Conversation`] is the pure core of a connection. It is handed the arguments of one request and says what
//! is to be done ([`Step`]): the reply is written already, or the machine is to be asked or given a command, or
//! the [`Host`] is to answer, or the connection is to be closed. It remembers what the protocol has a connection
//! remember: version, name, database, password, the transaction that is being queued, the keys that are watched.
//!
//! The host keeps two promises. Replies go out in the order of their requests, whatever is under way. And a
//! query is answered from a state in which all commands are executed that this conversation gave out before it.

mod client;
mod cluster;
mod commands;
mod config;
mod handshake;
mod host;
mod info;
mod subcommands;

use std::collections::{BTreeMap, BTreeSet};

use standin_core::entry::COMMAND_BYTES_MAX;
use standin_resp::Version;
use standin_resp::number::parse_integer;
use standin_resp::request::{Limits, Request};
use standin_resp::writer::ReplyWriter;

pub use client::{ClientChoice, ClientKind};
pub use cluster::{SLOTS, key_slot, node_id};
pub use host::{Follower, Host, Info, KeyspaceInfo, Node, Place, Role};

use crate::arguments::{self, Watch, begin_command, begin_queued, begin_transaction, put_argument};
use crate::call::{Outcome, REPLY_BYTES_MAX, Refusal};
use crate::commands::connection::database as numbered_database;
use crate::commands::keys::check_object;
use crate::keyspace::{DatabaseId, Sight};
use crate::table::{Handler, Spec, Way, find, unknown};

/// Most bytes of a request as it comes in. A command of 1 MiB may have arguments of one byte, each of which takes
/// seven in a request.
pub const REQUEST_BYTES_MAX: u32 = 4 << 20;
/// Most bytes of all keys that a connection watches, and of what is known of them: the transaction carries both.
pub const WATCH_BYTES_MAX: usize = 64 << 10;
/// Most names, patterns or sections that one command asks for, where each of them may be answered at length.
pub(crate) const NAMES_MAX: usize = 1_024;
/// What a watched key takes beside its own bytes in a transaction, at most.
const WATCH_OVERHEAD_BYTES: usize = 16;
/// What a transaction has before its watches and commands, at most.
const TRANSACTION_HEAD_BYTES: usize = 8;
/// Most bytes of all commands that a transaction has queued.
pub const QUEUE_BYTES_MAX: usize = COMMAND_BYTES_MAX - WATCH_BYTES_MAX - TRANSACTION_HEAD_BYTES;

// The errors below name these numbers.
const _: () = assert!(
    QUEUE_BYTES_MAX == 983_032 && WATCH_BYTES_MAX == 65_536 && COMMAND_BYTES_MAX == 1_048_576
);

const TOO_LONG: Refusal =
    Refusal::of("ERR the command is longer than a command may be: 1048576 bytes");

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// The reply is written, if the request gets one.
    Replied,
    /// The machine is to be asked the query that was written; what it answers is the reply.
    Query(Then),
    /// The command that was written is to be ordered and executed; what the machine answers is the reply.
    Order(Then),
    /// The host is to answer.
    Ask(Box<Ask>),
    /// What is written, if anything, is the last that the client gets: the connection is to be closed.
    Close,
}

/// Rare and long, so that it is not carried along by all other steps.
fn ask(ask: Ask) -> Step {
    Step::Ask(Box::new(ask))
}

/// What becomes of what the machine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is the reply, as it is.
    Pass,
    /// The same, and it is short. What was written may be made one with what was written right before it or after it, if
    /// that may be, too.
    Join,
    /// It is handed to [`Conversation::hear`], which writes the reply. The next request of this connection must
    /// wait until then: it depends on it.
    Hear,
}

/// What only the host can answer, because it has to wait for it or because it is about all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `WAIT`: an integer, how many replicas besides this one have all that this connection has written, once it
    /// is as many as are wanted or the time is over.
    Wait {
        /// How many are wanted.
        replicas: i64,
        /// How long to wait, in milliseconds; 0 for as long as it takes.
        timeout_ms: u64,
    },
    /// `CLIENT LIST`: a text ([`ReplyWriter::verbatim`], `txt`) of the [lines](Conversation::line) of all
    /// connections that are chosen.
    Clients(ClientChoice),
    /// `CLIENT KILL`: close all connections that are chosen. The reply is an integer, how many were; or, if
    /// `is_one`, `OK`, and `ERR No such client` if there was none.
    Kill {
        /// Which.
        choice: ClientChoice,
        /// The old form, which names one connection.
        is_one: bool,
    },
}

/// A connection's state. See the [module](self).
#[derive(Debug)]
pub struct Conversation {
    id: u64,
    addr: String,
    local_addr: String,
    /// The version in which the client is answered.
    version: Version,
    name: Vec<u8>,
    library: [Vec<u8>; 2],
    database: DatabaseId,
    /// It has given the password, or none is needed.
    is_authenticated: bool,
    transaction: Option<Transaction>,
    /// Keys whose change keeps the next transaction from being executed, and what is known of them.
    ///
    /// Invariant: both take `watch_bytes` together, [`WATCH_BYTES_MAX`] at most.
    watches: BTreeMap<(DatabaseId, Vec<u8>), Sight>,
    watch_bytes: usize,
    /// What the next answer of the machine is to be taken for. As long as there is something, no request may
    /// come.
    pending: Option<Pending>,
    /// The command that came last, for people.
    last_command: &'static str,
}

/// Commands that wait for EXEC.
#[derive(Debug)]
struct Transaction {
    /// As a transaction holds them.
    commands: Vec<u8>,
    count: usize,
    /// One of them was refused: none will be executed.
    is_refused: bool,
    /// The database that will be selected once all of them are executed.
    database: DatabaseId,
    /// The slot of the first key.
    slot: Option<u16>,
}

#[derive(Debug)]
enum Pending {
    /// What is known of these keys.
    Watch(BTreeSet<Vec<u8>>),
    /// Whether the transaction was executed: then this database is selected.
    Exec(DatabaseId),
}

/// What the requests of one conversation are taken with: where things go, and who is asked.
pub(crate) struct Taking<'a, 'r> {
    request: &'a Request<'r>,
    host: &'a dyn Host,
    reply: ReplyWriter<'a>,
    command: &'a mut Vec<u8>,
}

impl<'r> Taking<'_, 'r> {
    fn at(&self, place: usize) -> &'r [u8] {
        self.request
            .argument(place)
            .expect("the number of arguments was checked")
    }

    fn len(&self) -> usize {
        self.request.len()
    }

    fn is_word(&self, place: usize, word: &str) -> bool {
        let argument = self.request.argument(place);
        argument.is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn ok(&mut self) -> Outcome<Step> {
        self.reply.ok();
        Ok(Step::Replied)
    }

    /// Refuses more names than are answered at once.
    fn check_names(&self) -> Outcome {
        match self.len() <= NAMES_MAX + 2 {
            true => Ok(()),
            false => Err(Refusal::of(
                "ERR more is asked for at once than 1024 things",
            )),
        }
    }
}

impl Conversation {
    /// A new connection. `id` is unlike any other that the host has given; the addresses are for people.
    #[must_use]
    pub fn new(id: u64, addr: String, local_addr: String, host: &dyn Host) -> Conversation {
        Conversation {
            id,
            addr,
            local_addr,
            version: Version::default(),
            name: Vec::new(),
            library: [Vec::new(), Vec::new()],
            database: DatabaseId::default(),
            is_authenticated: host.password().is_none(),
            transaction: None,
            watches: BTreeMap::new(),
            watch_bytes: 0,
            pending: None,
            last_command: "NULL",
        }
    }

    /// Takes the next request: replies are appended to `replies`, commands and queries to `command`.
    ///
    /// # Panics
    /// When an answer is still to be [heard](Conversation::hear): the host's bug.
    pub fn take(
        &mut self,
        request: &Request<'_>,
        host: &dyn Host,
        replies: &mut Vec<u8>,
        command: &mut Vec<u8>,
    ) -> Step {
        assert!(
            self.pending.is_none(),
            "connection {} has an answer to hear first: {:?}",
            self.id,
            self.pending
        );
        let Some(name) = request.argument(0) else {
            return Step::Replied;
        };
        let (replies_at, command_at) = (replies.len(), command.len());
        let spec = find(name).filter(|spec| !matches!(spec.handler, Handler::Missing));
        let taken = match spec {
            Some(spec) if spec.takes(request.len()) => self.take_known(
                spec,
                &mut Taking {
                    request,
                    host,
                    reply: ReplyWriter::new(replies, self.version),
                    command,
                },
            ),
            // What a browser says that was lured into talking to a database.
            None if [&b"post"[..], b"host:"]
                .iter()
                .any(|it| it.eq_ignore_ascii_case(name)) =>
            {
                return Step::Close;
            }
            spec => Err(self.refuse_call(spec, request)),
        };
        let refusal = match taken {
            Ok(_) if replies.len() - replies_at > REPLY_BYTES_MAX => Refusal::REPLY_TOO_LONG,
            // One by one: to move the whole step, right after it was written in parts, has the processor wait.
            Ok(Step::Order(then)) => return Step::Order(then),
            Ok(Step::Query(then)) => return Step::Query(then),
            Ok(step) => return step,
            Err(refusal) => refusal,
        };
        replies.truncate(replies_at);
        command.truncate(command_at);
        ReplyWriter::new(replies, self.version).error(refusal.text());
        Step::Replied
    }

    /// Whether what becomes of a request depends on who is primary.
    #[must_use]
    pub fn needs_primary(&self, request: &Request<'_>) -> bool {
        let spec = request.argument(0).and_then(find);
        let Some(spec) = spec.filter(|spec| spec.takes(request.len())) else {
            return false;
        };
        let is_refused = !self.is_authenticated || matches!(spec.handler, Handler::Missing);
        !is_refused
            && match spec.way {
                Way::Write | Way::Entry | Way::Query => true,
                Way::Connection => match spec.name {
                    "exec" | "watch" | "wait" => true,
                    "cluster" => cluster::names_primary(request),
                    _ => false,
                },
            }
    }

    /// Takes what the machine has answered to a step with [`Then::Hear`], and writes the reply. In place of an
    /// answer an error's reply may come: then it is the reply.
    ///
    /// # Panics
    /// When no answer is to be heard: the host's bug.
    pub fn hear(&mut self, answer: &[u8], replies: &mut Vec<u8>) {
        let pending = self.pending.take().expect("an answer is to be heard");
        let mut reply = ReplyWriter::new(replies, self.version);
        match pending {
            Pending::Watch(keys) => match arguments::read_sights(answer) {
                Some(sights) if sights.len() == keys.len() => {
                    for (key, sight) in keys.into_iter().zip(sights) {
                        self.watch_bytes += key.len() + WATCH_OVERHEAD_BYTES;
                        self.watches.insert((self.database, key), sight);
                    }
                    reply.ok();
                }
                _ if answer.starts_with(b"-") => reply.raw(answer),
                _ => reply.error("ERR what the keys are could not be found out, none is watched"),
            },
            Pending::Exec(database) => {
                // Nothing else that a transaction is answered with begins like an array that has elements.
                let is_told = answer.starts_with(b"*") && !answer.starts_with(b"*-");
                let words = answer.strip_prefix(b"-").unwrap_or_default();
                if is_told || words.starts_with(Refusal::EXECUTED_UNTOLD.text()) {
                    self.database = database;
                }
                reply.raw(answer);
            }
        }
    }

    /// Whether an answer is to be [heard](Conversation::hear) before the next request is taken.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// What the next request may hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            // A longer argument gets a reply that says so, up to the point where it isn't worth reading.
            bulk_bytes_max: REQUEST_BYTES_MAX as usize,
            request_bytes_max: REQUEST_BYTES_MAX,
            is_unauthenticated: !self.is_authenticated,
        }
    }

    /// How many bytes it holds on behalf of the client, by which the host can bound what all of them hold:
    /// commands that are queued, keys that are watched. The largest hold somewhat more than 1 MiB.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let queued = self
            .transaction
            .as_ref()
            .map_or(0, |queued| queued.commands.capacity());
        self.watch_bytes + queued
    }

    /// The version in which the client is answered.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The number that the host has given it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    fn take_known(&mut self, spec: &'static Spec, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        if !self.is_authenticated && !spec.has_flag("no_auth") {
            let refusal = Refusal::of("NOAUTH Authentication required.");
            return Err(self.refuse_unlooked(spec, refusal));
        }
        self.last_command = spec.name;
        if self.transaction.is_some() && !is_done_in_transaction(spec) {
            let queued = self.queue(spec, taking);
            return queued.map_err(|refusal| self.refuse(refusal));
        }
        match spec.way {
            Way::Write | Way::Entry => {
                cluster::check_place(spec, taking.request, taking.host)?;
                self.encode(taking)?;
                let arguments = (1..taking.len()).map(|place| taking.at(place));
                Ok(Step::Order(match spec.joins(arguments) {
                    true => Then::Join,
                    false => Then::Pass,
                }))
            }
            Way::Query => {
                cluster::check_place(spec, taking.request, taking.host)?;
                self.encode(taking)?;
                Ok(Step::Query(match spec.is_quick {
                    true => Then::Join,
                    false => Then::Pass,
                }))
            }
            Way::Connection => self.take_own(spec, taking),
        }
    }

    /// Commands that never reach the machine, unless it has to be asked first.
    fn take_own(&mut self, spec: &'static Spec, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        match spec.name {
            "ping" => {
                match taking.request.argument(1) {
                    None => taking.reply.simple("PONG"),
                    Some(words) if taking.len() == 2 => taking.reply.bulk(words),
                    Some(_) => return Err(Refusal::arity("ping")),
                }
                Ok(Step::Replied)
            }
            "echo" => {
                let words = taking.at(1);
                taking.reply.bulk(words);
                Ok(Step::Replied)
            }
            "select" => {
                self.database = database(taking.at(1))?;
                taking.ok()
            }
            "quit" => {
                taking.reply.ok();
                Ok(Step::Close)
            }
            "multi" => self.multi(taking),
            "exec" => self.exec(taking),
            "discard" => self.discard(taking),
            "watch" => self.watch(spec, taking),
            "unwatch" => {
                self.unwatch();
                taking.ok()
            }
            "hello" => self.hello(taking),
            "auth" => self.auth(taking),
            "reset" => self.reset(taking),
            "client" => self.client(taking),
            "command" => commands::command(taking),
            "config" => config::config(taking),
            "info" => info::info(taking),
            "role" => info::role(taking),
            "wait" => wait(taking),
            "cluster" => cluster::cluster(taking),
            "readonly" | "readwrite" | "asking" => cluster::mode(taking),
            name => Err(Refusal::quoting(
                format!("ERR '{name}' is a command that this connection cannot answer").into(),
            )),
        }
    }

    /// A request for a command that there isn't, or with too few or too many arguments.
    #[cold]
    fn refuse_call(&mut self, spec: Option<&'static Spec>, request: &Request<'_>) -> Refusal {
        match spec {
            Some(spec) => self.refuse_unlooked(spec, Refusal::arity(spec.name)),
            None => {
                let name = request.argument(0).unwrap_or_default();
                self.refuse(unknown(name, request.iter().skip(1)))
            }
        }
    }

    /// Refuses a command before it was looked at. An EXEC ends the transaction even so.
    #[cold]
    fn refuse_unlooked(&mut self, spec: &Spec, refusal: Refusal) -> Refusal {
        if spec.name != "exec" {
            return self.refuse(refusal);
        }
        self.end_transaction();
        let text = refusal.text();
        let cause = text.strip_prefix(b"ERR ").unwrap_or(text);
        let start = b"EXECABORT Transaction discarded because of: ";
        Refusal::quoting([start, cause].concat())
    }

    /// Notes that a transaction, if there is one, has lost a command.
    fn refuse(&mut self, refusal: Refusal) -> Refusal {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_refused = true;
        }
        refusal
    }

    /// Writes the request as the machine takes it.
    fn encode(&self, taking: &mut Taking<'_, '_>) -> Outcome {
        let start = taking.command.len();
        begin_command(taking.command, self.version, self.database);
        for argument in taking.request.iter() {
            put_argument(taking.command, argument);
        }
        match taking.command.len() - start <= COMMAND_BYTES_MAX {
            true => Ok(()),
            false => Err(TOO_LONG),
        }
    }

    fn multi(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        if self.transaction.is_some() {
            return Err(Refusal::NESTED_MULTI);
        }
        self.transaction = Some(Transaction {
            commands: Vec::new(),
            count: 0,
            is_refused: false,
            database: self.database,
            slot: None,
        });
        taking.ok()
    }

    fn queue(&mut self, spec: &'static Spec, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        if !spec.may_be_queued() {
            return Err(Refusal::of("ERR Command not allowed inside a transaction"));
        }
        if spec.name == "object" {
            check_object(taking.at(1), taking.len())?;
        }
        if spec.way != Way::Connection {
            cluster::check_place(spec, taking.request, taking.host)?;
        }
        let transaction = self.transaction.as_mut().expect("there is one");
        let start = transaction.commands.len();
        begin_queued(&mut transaction.commands, taking.len());
        for argument in taking.request.iter() {
            put_argument(&mut transaction.commands, argument);
        }
        if transaction.commands.len() > QUEUE_BYTES_MAX {
            transaction.commands.truncate(start);
            return Err(Refusal::of(
                "ERR the transaction is longer than a transaction may be: 983032 bytes",
            ));
        }
        transaction.count += 1;
        if spec.name == "select" {
            // One that there isn't is an error among the replies, and changes nothing.
            transaction.database = database(taking.at(1)).unwrap_or(transaction.database);
        }
        if transaction.slot.is_none() {
            transaction.slot = cluster::slot_of(spec, taking.request);
        }
        taking.reply.simple("QUEUED");
        Ok(Step::Replied)
    }

    fn exec(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        let watches = std::mem::take(&mut self.watches);
        let Some(transaction) = self.transaction.take() else {
            self.watches = watches;
            return Err(Refusal::of("ERR EXEC without MULTI"));
        };
        self.end_transaction();
        if transaction.is_refused {
            return Err(Refusal::of(
                "EXECABORT Transaction discarded because of previous errors.",
            ));
        }
        if transaction.count == 0 && watches.is_empty() {
            taking.reply.array(0);
            return Ok(Step::Replied);
        }
        cluster::check_place_of_slot(transaction.slot.unwrap_or(0), taking.host)?;
        let watches: Vec<Watch> = watches
            .into_iter()
            .map(|((database, key), sight)| Watch {
                database,
                key,
                sight,
            })
            .collect();
        begin_transaction(taking.command, self.version, self.database, &watches);
        taking.command.extend_from_slice(&transaction.commands);
        if transaction.database == self.database {
            return Ok(Step::Order(Then::Pass));
        }
        // Something watched may have changed, and the host may not be able to have it executed.
        self.pending = Some(Pending::Exec(transaction.database));
        Ok(Step::Order(Then::Hear))
    }

    fn discard(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        if self.transaction.is_none() {
            return Err(Refusal::of("ERR DISCARD without MULTI"));
        }
        self.end_transaction();
        taking.ok()
    }

    fn watch(&mut self, spec: &'static Spec, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        if self.transaction.is_some() {
            return Err(Refusal::WATCH_IN_MULTI);
        }
        cluster::check_place(spec, taking.request, taking.host)?;
        let mut keys = BTreeSet::new();
        let mut bytes = self.watch_bytes;
        for key in taking.request.iter().skip(1) {
            // What was known of it first is what counts.
            if keys.contains(key) || self.watches.contains_key(&(self.database, key.to_vec())) {
                continue;
            }
            bytes += key.len() + WATCH_OVERHEAD_BYTES;
            if bytes > WATCH_BYTES_MAX {
                return Err(Refusal::of(
                    "ERR more keys would be watched than a transaction can carry: 65536 bytes",
                ));
            }
            keys.insert(key.to_vec());
        }
        if keys.is_empty() {
            return taking.ok();
        }
        begin_command(taking.command, self.version, self.database);
        put_argument(taking.command, b"WATCH");
        for key in &keys {
            put_argument(taking.command, key);
        }
        self.pending = Some(Pending::Watch(keys));
        Ok(Step::Query(Then::Hear))
    }

    fn end_transaction(&mut self) {
        self.transaction = None;
        self.unwatch();
    }

    fn unwatch(&mut self) {
        self.watches.clear();
        self.watch_bytes = 0;
    }
}

/// Whether a command is not queued but done at once while others are being queued.
fn is_done_in_transaction(spec: &Spec) -> bool {
    matches!(
        spec.name,
        "exec" | "discard" | "multi" | "watch" | "quit" | "reset"
    )
}

/// The database that an argument names.
fn database(argument: &[u8]) -> Outcome<DatabaseId> {
    numbered_database(parse_integer(argument).ok_or(Refusal::NOT_INTEGER)?)
}

fn wait(taking: &mut Taking<'_, '_>) -> Outcome<Step> {
    if !matches!(taking.host.place(), Place::Here) {
        return Err(Refusal::of(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica \
             is configured to be writable (which is not the default) writes to replicas are just local and are \
             not propagated.",
        ));
    }
    let replicas = parse_integer(taking.at(1)).ok_or(Refusal::NOT_INTEGER)?;
    let timeout = parse_integer(taking.at(2))
        .ok_or(Refusal::of("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| Refusal::of("ERR timeout is negative"))?;
    Ok(ask(Ask::Wait {
        replicas,
        timeout_ms,
    }))
}
