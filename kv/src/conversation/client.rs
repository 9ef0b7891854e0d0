//! CLIENT: what a connection may know and say of itself and of others.

use standin_resp::number::parse_integer;

use super::handshake::checked_name;
use super::subcommands::{self, Subcommand, row};
use super::{Ask, Conversation, Step, Taking, ask};
use crate::call::{Outcome, Refusal};

const SUBCOMMANDS: &[Subcommand] = &[
    row(
        "getname",
        2,
        "",
        "Return the name of the current connection.",
    ),
    row(
        "getredir",
        2,
        "",
        "Return -1: no client is redirected to another.",
    ),
    row("id", 2, "", "Return the ID of the current connection."),
    row(
        "info",
        2,
        "",
        "Return information about the current client connection.",
    ),
    row(
        "kill",
        -3,
        "<ip:port> | [ID <id>] [TYPE <type>] [USER <name>] [ADDR <addr>] [LADDR <addr>] [SKIPME (YES|NO)]",
        "Kill connections.",
    ),
    row(
        "list",
        -2,
        "[TYPE <type> | ID <id> [<id> ...]]",
        "Return information about client connections.",
    ),
    row(
        "no-evict",
        3,
        "(ON|OFF)",
        "Do nothing: no client is evicted.",
    ),
    row(
        "no-touch",
        3,
        "(ON|OFF)",
        "Do nothing: keys are not remembered to be touched.",
    ),
    row("reply", 3, "ON", "Do nothing: replies are always on."),
    row(
        "setinfo",
        4,
        "(LIB-NAME|LIB-VER) <value>",
        "Say which library this connection uses.",
    ),
    row(
        "setname",
        3,
        "<name>",
        "Assign the name <name> to the current connection.",
    ),
    row("tracking", -3, "OFF", "Do nothing: no keys are tracked."),
    row("trackinginfo", 2, "", "Report that no keys are tracked."),
    row(
        "unblock",
        -3,
        "<clientid> [TIMEOUT|ERROR]",
        "Return 0: no client is blocked.",
    ),
];

/// A type of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// What every client here is.
    Normal,
    /// What no client here is: `master`, `replica`, `pubsub`.
    Other,
}

/// Which connections are meant: those of which all hold that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientChoice {
    /// One of these, which are in order.
    pub ids: Option<Vec<u64>>,
    /// The one at this address.
    pub addr: Option<Vec<u8>>,
    /// Those that came in at this address.
    pub local_addr: Option<Vec<u8>>,
    /// Those of this type.
    pub kind: Option<ClientKind>,
    /// Not this one.
    pub except: Option<u64>,
}

impl ClientChoice {
    /// Whether this connection is among them.
    #[must_use]
    pub fn includes(&self, it: &Conversation) -> bool {
        let is_addr = |wanted: &Vec<u8>| wanted == it.addr.as_bytes();
        let is_local_addr = |wanted: &Vec<u8>| wanted == it.local_addr.as_bytes();
        self.ids
            .as_ref()
            .is_none_or(|ids| ids.binary_search(&it.id).is_ok())
            && self.addr.as_ref().is_none_or(is_addr)
            && self.local_addr.as_ref().is_none_or(is_local_addr)
            && self.kind.is_none_or(|kind| kind == ClientKind::Normal)
            && self.except != Some(it.id)
    }
}

impl Conversation {
    pub(super) fn client(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        match subcommands::find("client", SUBCOMMANDS, taking)? {
            "getname" => match self.name.is_empty() {
                true => taking.reply.null(),
                false => taking.reply.bulk(&self.name),
            },
            "getredir" => taking.reply.integer(-1),
            "id" => (taking.reply).integer(i64::try_from(self.id).unwrap_or(i64::MAX)),
            "info" => {
                self.last_command = "client|info";
                let ids = Some(vec![self.id]);
                return Ok(ask(Ask::Clients(ClientChoice {
                    ids,
                    ..ClientChoice::default()
                })));
            }
            "kill" => return self.kill(taking),
            "list" => {
                self.last_command = "client|list";
                return Ok(ask(Ask::Clients(list_choice(taking)?)));
            }
            "no-evict" | "no-touch" => {
                if !taking.is_word(2, "on") && !taking.is_word(2, "off") {
                    return Err(Refusal::SYNTAX);
                }
                taking.reply.ok();
            }
            "reply" => {
                if taking.is_word(2, "off") || taking.is_word(2, "skip") {
                    return Err(Refusal::of(
                        "ERR replies cannot be turned off here: read them, and drop them",
                    ));
                }
                if !taking.is_word(2, "on") {
                    return Err(Refusal::SYNTAX);
                }
                taking.reply.ok();
            }
            "setinfo" => return self.set_info(taking),
            "setname" => {
                self.name = checked_name(taking.at(2))?.to_vec();
                taking.reply.ok();
            }
            "tracking" => {
                if taking.is_word(2, "on") {
                    return Err(Refusal::of("ERR keys cannot be tracked here"));
                }
                if !taking.is_word(2, "off") {
                    return Err(Refusal::SYNTAX);
                }
                taking.reply.ok();
            }
            "trackinginfo" => {
                taking.reply.map(3);
                taking.reply.bulk("flags");
                taking.reply.set(1);
                taking.reply.bulk("off");
                taking.reply.bulk("redirect");
                taking.reply.integer(-1);
                taking.reply.bulk("prefixes");
                taking.reply.array(0);
            }
            "unblock" => {
                if taking.len() > 3 && !taking.is_word(3, "timeout") && !taking.is_word(3, "error")
                {
                    return Err(Refusal::of(
                        "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
                    ));
                }
                parse_integer(taking.at(2)).ok_or(Refusal::NOT_INTEGER)?;
                taking.reply.integer(0);
            }
            // Its reply is written.
            _ => {}
        }
        Ok(Step::Replied)
    }

    fn set_info(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        let (what, place) = match () {
            () if taking.is_word(2, "lib-name") => ("lib-name", 0),
            () if taking.is_word(2, "lib-ver") => ("lib-ver", 1),
            () => {
                let mut text = b"ERR Unrecognized option '".to_vec();
                text.extend_from_slice(taking.at(2));
                text.push(b'\'');
                return Err(Refusal::quoting(text));
            }
        };
        let value = checked_name(taking.at(3)).map_err(|refusal| {
            let text = String::from_utf8_lossy(refusal.text());
            Refusal::quoting(text.replace("Client names", what).into())
        })?;
        self.library[place] = value.to_vec();
        taking.ok()
    }

    fn kill(&self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        let mut choice = ClientChoice::default();
        let is_one = taking.len() == 3;
        if is_one {
            choice.addr = Some(taking.at(2).to_vec());
            return Ok(ask(Ask::Kill { choice, is_one }));
        }
        choice.except = Some(self.id);
        let mut at = 2;
        while at < taking.len() {
            let value = taking.request.argument(at + 1).ok_or(Refusal::SYNTAX)?;
            let word = |word| taking.is_word(at, word);
            match () {
                () if word("id") => {
                    let id = parse_integer(value).and_then(|id| u64::try_from(id).ok());
                    let id = id.filter(|id| *id > 0);
                    let id = id.ok_or(Refusal::of("ERR client-id should be greater than 0"))?;
                    choice.ids = Some(vec![id]);
                }
                () if word("type") => choice.kind = Some(kind(value)?),
                () if word("addr") => choice.addr = Some(value.to_vec()),
                () if word("laddr") => choice.local_addr = Some(value.to_vec()),
                () if word("user") => {
                    if value != b"default" {
                        let text = [b"ERR No such user '", value, b"'"].concat();
                        return Err(Refusal::quoting(text));
                    }
                }
                () if word("skipme") => match () {
                    () if value.eq_ignore_ascii_case(b"yes") => choice.except = Some(self.id),
                    () if value.eq_ignore_ascii_case(b"no") => choice.except = None,
                    () => return Err(Refusal::SYNTAX),
                },
                () => return Err(Refusal::SYNTAX),
            }
            at += 2;
        }
        Ok(ask(Ask::Kill { choice, is_one }))
    }

    /// The line that CLIENT LIST shows of this connection, its end included; `age_s` and `idle_s` say for how long
    /// it has been there, and has said nothing, in seconds.
    #[must_use]
    pub fn line(&self, age_s: u64, idle_s: u64) -> String {
        let text = |bytes| String::from_utf8_lossy(bytes);
        let (multi, flag, queued_bytes) = match &self.transaction {
            None => ("-1".to_owned(), 'N', 0),
            Some(queued) => (queued.count.to_string(), 'x', queued.commands.len()),
        };
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={age_s} idle={idle_s} flags={flag} db={} sub=0 psub=0 ssub=0 \
             multi={multi} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem={queued_bytes} rbs=0 rbp=0 obl=0 oll=0 omem=0 \
             tot-mem=0 events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
            self.id,
            self.addr,
            self.local_addr,
            text(&self.name),
            self.database.number(),
            self.last_command,
            self.version.number(),
            text(&self.library[0]),
            text(&self.library[1]),
        )
    }
}

fn list_choice(taking: &Taking<'_, '_>) -> Outcome<ClientChoice> {
    let mut choice = ClientChoice::default();
    match taking.len() {
        2 => {}
        4 if taking.is_word(2, "type") => choice.kind = Some(kind(taking.at(3))?),
        4.. if taking.is_word(2, "id") => {
            let mut ids = Vec::new();
            for id in taking.request.iter().skip(3) {
                let id = parse_integer(id).and_then(|id| u64::try_from(id).ok());
                ids.push(id.ok_or(Refusal::of("ERR Invalid client ID"))?);
            }
            // All connections are looked for among them.
            ids.sort_unstable();
            choice.ids = Some(ids);
        }
        _ => return Err(Refusal::SYNTAX),
    }
    Ok(choice)
}

fn kind(name: &[u8]) -> Outcome<ClientKind> {
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    match () {
        () if is("normal") => Ok(ClientKind::Normal),
        () if ["master", "replica", "slave", "pubsub"].into_iter().any(is) => Ok(ClientKind::Other),
        () => {
            let text = [b"ERR Unknown client type '", name, b"'"].concat();
            Err(Refusal::quoting(text))
        }
    }
}
