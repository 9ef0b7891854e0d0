//! A client of a machine whose commands, queries and replies are types.

use std::fmt;
use std::marker::PhantomData;

use standin_core::machine::Machine;
use standin_core::machine::typed::{decode_reply, encode};
use standin_core::message::Consistency;

use crate::blocking::{Client, ClientConfig};
use crate::error::ClientError;

/// Why a request to a machine has no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The request did not get through; it may have been executed only if this says so.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The machine knows no such command or query and executed nothing: it is another one, or of another version than this program.
    #[error("the machine refused: {0}")]
    Refused(String),
    /// The reply is none that this program knows.
    #[error(
        "the reply is none of the machine {0}, or not of this program's version of it; check which machine the replicas run, and which version"
    )]
    OtherMachine(&'static str),
}

/// A client of replicas of the machine `M`. Blocks; one for each thread.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # use standin_core::machine::{Context, Machine};
/// # use standin_core::random::RandomStream;
/// # #[derive(Clone, Default, Serialize, Deserialize)]
/// # struct Visits(u64);
/// # #[derive(Serialize, Deserialize)]
/// # enum Command { Add(u64) }
/// # #[derive(Serialize, Deserialize)]
/// # enum Query { Count }
/// # impl Machine for Visits {
/// #     const NAME: &'static str = "visits";
/// #     const VERSION: u32 = 1;
/// #     type Command = Command;
/// #     type Query = Query;
/// #     type Reply = u64;
/// #     fn apply(&mut self, _: &mut Context<'_>, Command::Add(n): Command) -> u64 { self.0 += n; self.0 }
/// #     fn query(&self, _: Query) -> u64 { self.0 }
/// #     fn draw_command(random: &mut RandomStream, _last: Option<&u64>) -> Command { Command::Add(random.below(9)) }
/// #     fn draw_query(_: &mut RandomStream) -> Query { Query::Count }
/// # }
/// use standin_client::{ClientConfig, MachineClient};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut visits = MachineClient::<Visits>::connect("127.0.0.1:7000", ClientConfig::default())?;
/// let count: u64 = visits.command(&Command::Add(2))?;
/// assert!(visits.query(&Query::Count)? >= count);
/// visits.into_client().close()?;
/// # Ok(())
/// # }
/// ```
pub struct MachineClient<M> {
    client: Client,
    machine: PhantomData<fn() -> M>,
}

impl<M: Machine> fmt::Debug for MachineClient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineClient")
            .field("machine", &M::NAME)
            .field("client", &self.client)
            .finish()
    }
}

impl<M: Machine> MachineClient<M> {
    /// A client of the cluster whose view service is at `addresses`, as for [`Client::connect`].
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    pub fn connect(addresses: &str, config: ClientConfig) -> Result<Self, ClientError> {
        Client::connect(addresses, config).map(Self::new)
    }

    /// Speaks to the machine through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            machine: PhantomData,
        }
    }

    /// Has a command executed, once, and returns its reply.
    ///
    /// # Errors
    /// [`MachineError`]; its variants tell whether the command may have been executed all the same.
    pub fn command(&mut self, command: &M::Command) -> Result<M::Reply, MachineError> {
        reply_of::<M>(&self.client.command(&encode::<M, _>(command))?.bytes)
    }

    /// Asks the machine; the answer has everything in it that was answered before.
    ///
    /// # Errors
    /// [`MachineError`], when nobody who may answer is reached in time.
    pub fn query(&mut self, query: &M::Query) -> Result<M::Reply, MachineError> {
        self.query_with(query, Consistency::Confirmed)
    }

    /// The same with another [`Consistency`].
    ///
    /// # Errors
    /// As [`MachineClient::query`].
    pub fn query_with(
        &mut self,
        query: &M::Query,
        consistency: Consistency,
    ) -> Result<M::Reply, MachineError> {
        reply_of::<M>(
            &self
                .client
                .query(&encode::<M, _>(query), consistency)?
                .bytes,
        )
    }

    /// The client inside.
    #[must_use]
    pub fn into_client(self) -> Client {
        self.client
    }
}

fn reply_of<M: Machine>(reply: &[u8]) -> Result<M::Reply, MachineError> {
    let reply = decode_reply::<M>(reply).ok_or(MachineError::OtherMachine(M::NAME))?;
    reply.map_err(MachineError::Refused)
}
