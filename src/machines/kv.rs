//! A replicated, Redis-compatible database, and a client of it from Rust.
//!
//! The machine itself is [`KeyValue`]; [`arguments`] is how its commands look as bytes, and its replies are
//! those of Redis.

use standin_client::{Client, ClientConfig, ClientError, Consistency};
use standin_kv::keyspace::DatabaseId;
use standin_resp::Version;
use standin_resp::reply::Reply;

pub use standin_kv::{KeyValue, arguments};

/// Why a request to the database has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// The request did not get through; it may have been executed only if this says so.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The database executed nothing, and says why, in the words of Redis: `WRONGTYPE Operation ..`.
    #[error("the database refused: {0}")]
    Refused(String),
    /// The reply is none that the database has for this.
    #[error("the reply is none of the database's; check which machine the replicas run")]
    OtherMachine,
}

/// A client of a replicated database, in its database 0. Keys and values are any bytes.
///
/// ```no_run
/// use standin::client::ClientConfig;
/// use standin::machines::kv::KvClient;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut kv = KvClient::connect("127.0.0.1:7000", ClientConfig::default())?;
/// kv.set(b"visits", b"41")?;
/// assert_eq!(kv.incr(b"visits", 1)?, 42);
/// assert_eq!(kv.get(b"visits")?.as_deref(), Some(b"42".as_slice()));
/// assert_eq!(kv.del(&[b"visits"])?, 1);
/// kv.into_client().close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KvClient {
    client: Client,
}

impl KvClient {
    /// A client of the cluster whose view service is at `addresses`, as for [`Client::connect`].
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub fn connect(addresses: &str, config: ClientConfig) -> Result<Self, ClientError> {
        Client::connect(addresses, config).map(Self::new)
    }

    /// Speaks to a database through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The string at `key`, with every write answered before; `None` if there is no such key.
    ///
    /// # Errors
    /// [`KvError`]; refused if the key holds something other than a string.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match self.query(&[b"GET", key])? {
            Reply::Bulk(value) => Ok(Some(value)),
            Reply::NullBulk => Ok(None),
            reply => Err(unfit(reply)),
        }
    }

    /// Puts a string at `key`, once, in the place of whatever is there; without a deadline.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        match self.command(&[b"SET", key, value])? {
            Reply::Simple(ok) if ok == b"OK" => Ok(()),
            reply => Err(unfit(reply)),
        }
    }

    /// Removes keys, once; returns how many of them there were.
    ///
    /// # Errors
    /// [`KvError`]; refused if `keys` is empty.
    pub fn del(&mut self, keys: &[&[u8]]) -> Result<u64, KvError> {
        let words: Vec<&[u8]> = [b"DEL".as_slice()]
            .into_iter()
            .chain(keys.iter().copied())
            .collect();
        let reply = self.command(&words)?;
        match reply {
            Reply::Integer(count) => u64::try_from(count).map_err(|_| KvError::OtherMachine),
            reply => Err(unfit(reply)),
        }
    }

    /// Adds `n` to the number at `key`, once, and returns the new one; a key that is not there counts as 0.
    ///
    /// # Errors
    /// [`KvError`]; refused if what is there is no number, or would leave the range of `i64`.
    pub fn incr(&mut self, key: &[u8], n: i64) -> Result<i64, KvError> {
        match self.command(&[b"INCRBY", key, n.to_string().as_bytes()])? {
            Reply::Integer(value) => Ok(value),
            reply => Err(unfit(reply)),
        }
    }

    /// Executes any command that the machine knows, once: name, then arguments. The reply is as RESP2 has it; an
    /// error of the database's is a [`Reply::Error`].
    ///
    /// # Errors
    /// [`KvError`], but for [`KvError::Refused`].
    pub fn command(&mut self, words: &[&[u8]]) -> Result<Reply, KvError> {
        let answer = self.client.command(&encode(words))?;
        decode(&answer.bytes)
    }

    /// Asks for what changes nothing and needs no time and no chance, with every write answered before.
    ///
    /// # Errors
    /// As for [`KvClient::command`].
    pub fn query(&mut self, words: &[&[u8]]) -> Result<Reply, KvError> {
        let answer = self.client.query(&encode(words), Consistency::Confirmed)?;
        decode(&answer.bytes)
    }

    /// The client inside.
    #[must_use]
    pub fn into_client(self) -> Client {
        self.client
    }
}

/// A command or a query of these words, in database 0, to be answered in RESP2.
fn encode(words: &[&[u8]]) -> Vec<u8> {
    arguments::command(Version::Resp2, DatabaseId::default(), words)
}

/// The one reply that these bytes are.
fn decode(bytes: &[u8]) -> Result<Reply, KvError> {
    match Reply::parse(bytes) {
        Ok(Some((reply, length))) if length == bytes.len() => Ok(reply),
        _ => Err(KvError::OtherMachine),
    }
}

/// What a reply says that is not the expected one.
fn unfit(reply: Reply) -> KvError {
    match reply {
        Reply::Error(text) => KvError::Refused(String::from_utf8_lossy(&text).into_owned()),
        _ => KvError::OtherMachine,
    }
}
