//! How a client says who it is and how it wants to be answered: HELLO, AUTH, RESET.

use standin_resp::Version;
use standin_resp::number::parse_integer;
use standin_resp::writer::ReplyWriter;

use super::{Conversation, Host, Place, Step, Taking};
use crate::call::{Outcome, Refusal};
use crate::keyspace::DatabaseId;

/// The version of Redis whose replies and errors these are.
pub(crate) const REDIS_VERSION: &str = "7.0.15";
/// Longest name of a client or its library, in bytes.
const NAME_BYTES_MAX: usize = 1_024;
/// The one user there is.
const USER: &[u8] = b"default";

const WRONG_PASSWORD: Refusal =
    Refusal::of("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: Refusal = Refusal::of(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
     configuration is correct?",
);
const HELLO_FIRST: Refusal = Refusal::of(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
     option can be used to authenticate the client and select the RESP protocol version at the same time",
);
const LONG_NAME: Refusal = Refusal::of("ERR Client names cannot be longer than 1024 bytes.");
const BAD_NAME: Refusal =
    Refusal::of("ERR Client names cannot contain spaces, newlines or special characters.");

impl Conversation {
    pub(super) fn hello(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        let mut version = self.version;
        if let Some(number) = taking.request.argument(1) {
            let number = parse_integer(number).ok_or(Refusal::of(
                "ERR Protocol version is not an integer or out of range",
            ))?;
            version = Version::from_number(number)
                .ok_or(Refusal::of("NOPROTO unsupported protocol version"))?;
        }
        let mut at = 2;
        // As in Redis, what comes before a bad option has been done by then.
        while at < taking.len() {
            let more = taking.len() - 1 - at;
            if taking.is_word(at, "auth") && more >= 2 {
                self.authenticate(taking.at(at + 1), taking.at(at + 2), taking.host)?;
                at += 3;
            } else if taking.is_word(at, "setname") && more >= 1 {
                self.name = checked_name(taking.at(at + 1))?.to_vec();
                at += 2;
            } else {
                let mut text = b"ERR Syntax error in HELLO option '".to_vec();
                text.extend_from_slice(taking.at(at));
                text.push(b'\'');
                return Err(Refusal::quoting(text));
            }
        }
        if !self.is_authenticated {
            return Err(HELLO_FIRST);
        }
        self.version = version;
        self.write_hello(taking);
        Ok(Step::Replied)
    }

    fn write_hello(&self, taking: &mut Taking<'_, '_>) {
        // The reply is in the new version already.
        let mut out = Vec::new();
        let mut reply = ReplyWriter::new(&mut out, self.version);
        reply.map(7);
        reply.bulk("server");
        reply.bulk("redis");
        reply.bulk("version");
        reply.bulk(REDIS_VERSION);
        reply.bulk("proto");
        reply.integer(i64::from(self.version.number()));
        reply.bulk("id");
        reply.integer(i64::try_from(self.id).unwrap_or(i64::MAX));
        reply.bulk("mode");
        reply.bulk(match taking.host.nodes() {
            Some(_) => "cluster",
            None => "standalone",
        });
        reply.bulk("role");
        reply.bulk(match taking.host.place() {
            Place::Here => "master",
            Place::At(_) | Place::Nowhere => "replica",
        });
        reply.bulk("modules");
        reply.array(0);
        taking.reply.raw(&out);
    }

    pub(super) fn auth(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        match taking.len() {
            2 if taking.host.password().is_none() => return Err(NO_PASSWORD),
            2 => self.authenticate(USER, taking.at(1), taking.host)?,
            3 => self.authenticate(taking.at(1), taking.at(2), taking.host)?,
            _ => return Err(Refusal::SYNTAX),
        }
        taking.ok()
    }

    fn authenticate(&mut self, user: &[u8], password: &[u8], host: &dyn Host) -> Outcome {
        // Where none is configured any will do.
        let is_right = host
            .password()
            .is_none_or(|expected| is_same(expected, password));
        if user != USER || !is_right {
            return Err(WRONG_PASSWORD);
        }
        self.is_authenticated = true;
        Ok(())
    }

    pub(super) fn reset(&mut self, taking: &mut Taking<'_, '_>) -> Outcome<Step> {
        self.end_transaction();
        self.version = Version::default();
        self.name.clear();
        self.database = DatabaseId::default();
        self.is_authenticated = taking.host.password().is_none();
        taking.reply.simple("RESET");
        Ok(Step::Replied)
    }
}

/// A name that CLIENT LIST can show.
pub(super) fn checked_name(name: &[u8]) -> Outcome<&[u8]> {
    if name.len() > NAME_BYTES_MAX {
        return Err(LONG_NAME);
    }
    match name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        true => Ok(name),
        false => Err(BAD_NAME),
    }
}

/// Whether the password is the expected one. How long it takes tells nothing but its length.
fn is_same(expected: &[u8], given: &[u8]) -> bool {
    let differing = expected
        .iter()
        .zip(given)
        .fold(0, |all, (a, b)| all | (a ^ b));
    expected.len() == given.len() && differing == 0
}
