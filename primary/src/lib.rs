//! The primary's role: order inputs into the log, forward them, gate answers on the backup's
//! acknowledgement, commit, and bring a spare into sync.
//!
//! The central type is [`Primary`]: it is handed one [`Event`] at a time together with the time at
//! which it happened, and says in [`Action`]s what it wants done. The driving rule: handle one event,
//! take actions until there is none, then read the deadline. It decides what must be durable before
//! anything leaves; whoever carries the actions out cannot get that wrong, because it is never asked.
//! It opens no socket or file, reads no clock, draws no random number, and knows no state machine.

mod follower;
mod gate;
mod handover;
mod inputs;
mod limits;
mod primary;
mod reads;
mod room;
mod slowness;
mod streams;
mod versions;

pub use follower::{FOLLOWER_WINDOW_BYTES_MAX, common_entry};
pub use handover::{HandOverFailure, hand_over_max};
pub use limits::{
    LOG_READ_BYTES, Limits, PENDING_BYTES_MAX, PENDING_ENTRIES_MAX, Queues, READS_BYTES_MAX,
    READS_MAX,
};
pub use primary::{Action, Config, Event, Input, Payload, Primary, Query, Waiter};
pub use slowness::BackupPace;
pub use streams::{EXCLUDED_STORES_MAX, Following};
