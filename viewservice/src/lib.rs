//! The authority on who is primary.
//!
//! [`ViewService`] is the decision core: the view record as one compare-and-swap register, the lease
//! as its grantor sees it, and the one move that the view service makes by itself, Depose
//! (`protocol.md` sections 2, 3 and 11). [`store`] keeps its state in a file and [`daemon`] drives it
//! with sockets and clocks. It never judges which replica is in sync (rule R6), never says anything
//! that rests on a record which is not durable yet, and never deposes on silence alone after it was
//! itself away.
//!
//! # Driving it
//! Hand in one event, take actions until there are none, then read the deadline:
//!
//! ```
//! use standin_core::conn::ConnId;
//! use standin_core::identity::ClusterId;
//! use standin_core::time::{Duration, Now};
//! use standin_viewservice::{Action, Event, LeaseTerm, StoredState, ViewService};
//!
//! let term = LeaseTerm::new(Duration::from_secs(1)).expect("within the limits");
//! let now = Now::default();
//! let mut service = ViewService::new(StoredState::new(ClusterId(1)), term, now.boot);
//! service.handle(now, Event::Lookup { conn: ConnId(1) });
//! while let Some(action) = service.next_action() {
//!     match action {
//!         Action::Send { .. } => { /* encode it into the connection's output */ }
//!         Action::Store { .. } => { /* make it durable, then hand in `Event::Stored` */ }
//!         Action::Refuse { .. } => { /* say why, then close the connection */ }
//!         Action::KeepHistory { .. } => { /* make it durable when nobody waits for anything */ }
//!     }
//! }
//! assert_eq!(service.deadline(), None, "without a view there is nothing to wait for");
//! ```

mod candidates;
pub mod daemon;
mod event;
mod fatal;
mod force;
mod framed;
mod history;
mod lease;
mod poison;
mod rebuild;
mod roster;
mod service;
mod status;
pub mod store;
mod stored;
mod waiting;

pub use event::{Action, Answer, Event, InputError};
pub use fatal::Tenure;
pub use history::{HISTORY_BYTES_MAX, HISTORY_FORMAT_VERSION, History, HistoryError};
pub use lease::{LEASE_TERM_MAX, LEASE_TERM_MIN, LeaseTerm, LeaseTermError};
pub use roster::TROUBLE_BYTES_MAX;
pub use service::{LOOKERS_MAX, STORE_RETRY, ViewService};
pub use status::ServiceAccount;
pub use stored::{Registered, STATE_BYTES_MAX, STATE_FORMAT_VERSION, StateError, StoredState};
pub use waiting::WAITING_MAX;
