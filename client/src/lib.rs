//! The client's side of Standin: sessions, finding the primary, and exactly-once retry.
//!
//! A [`ClientCore`] takes requests, finds the primary through the view service or a replica's hint,
//! and sends a request again, under the same session and sequence number, until it is answered or
//! its deadline has come. It is pure: events in, actions out, and a deadline. [`Client`] is the
//! blocking shell around it that most programs want, one for each thread. Neither ever says that a
//! request was not executed when it may have been: "refused", "no primary" and "outcome unknown"
//! are separate errors. [`MachineClient`] is the same for machines whose commands and replies are types.
//!
//! ```no_run
//! use standin_client::{Client, ClientConfig, Consistency};
//!
//! # fn main() -> Result<(), standin_client::ClientError> {
//! let mut client = Client::connect("127.0.0.1:7000", ClientConfig::default())?;
//! let answer = client.command(b"a command of the machine's own")?;
//! let state = client.query(b"a query", Consistency::Confirmed)?;
//! assert!(state.seen >= answer.seen);
//! client.close()?;
//! # Ok(())
//! # }
//! ```

mod address;
mod ask;
mod backoff;
mod blocking;
mod core;
mod driver;
mod error;
mod finder;
mod requests;
mod typed;

pub use crate::address::{AddressError, VIEW_SERVICES_MAX, ViewServices, check_address};
pub use crate::ask::{AskError, force, history, inspect, rebuild, status, switchover};
pub use crate::backoff::{BACKOFF_FIRST, BACKOFF_MAX, BACKOFF_MIN};
pub use crate::blocking::{Client, ClientConfig};
pub use crate::core::{
    ATTEMPT_PATIENCE, Action, Answer, CONNECT_PATIENCE, ClientCore, ConnectionId, CoreConfig,
    Event, HINTS_MAX, PROBE_INTERVAL, SILENCE_PATIENCE, WithoutRoom,
};
pub use crate::driver::Driver;
pub use crate::error::{ClientError, Trouble};
pub use crate::finder::LOOKUP_PATIENCE;
pub use crate::requests::{NO_DEADLINE, REQUESTS_MAX, Request, Work};
pub use crate::typed::{MachineClient, MachineError};
pub use standin_core::message::{Consistency, Seen};
