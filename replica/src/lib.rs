//! One replica's decision core: which role it has in the view, its dialog with the view service, its
//! log as far as decisions need it, and its state machine.
//!
//! The central type is [`Replica`]. It hosts a `standin_backup::Backup` while it follows and a
//! `standin_primary::Primary` while the record names it, adopts every view durably before it acts by
//! it (rule R5), and applies what is committed. It is driven like every decision core: handle one
//! event, take actions until there is none, take the answers, read the deadline. The process around
//! it owns sockets, files and clocks; a simulator is another such process. It stands apart from the
//! program so that both can drive the very same struct. It never opens a socket or a file, reads a
//! clock or draws a random number.

mod account;
mod answers;
mod apply;
mod clients;
mod dialog;
mod event;
mod fatal;
mod handover;
mod last_words;
mod lend;
mod limits;
mod pace;
mod parting;
mod poison;
mod reads;
mod recent;
mod repair;
mod replica;
mod replies;
mod resp;
mod roles;
mod room;
mod snapshots;
mod versions;
mod views;
mod wire;

pub use account::{Account, FollowerAccount};
pub use answers::{ANSWERS_BYTES_MAX, Answer, AnswerRun, Answers, Request, RequestBody};
pub use event::{Action, Event, Level, ReadFor};
pub use handover::{HELD_BYTES_MAX, HELD_REQUESTS_MAX};
pub use last_words::{LastAction, LastWords};
pub use limits::Limits;
pub use parting::{DIR_OF, FINDS_THE_ENTRY};
pub use repair::{Repair, RepairAction, RepairConfig};
pub use replica::{Config, Recovered, Replica};
pub use replies::REPLY_BYTES_KEPT;
pub use room::{LogRoom, ROOM_RESERVE_BYTES};
pub use snapshots::{KeptSnapshot, SNAPSHOTS_PINNED_MAX, SharedImage, SnapshotConfig};
pub use standin_primary::Following;
pub use wire::{Destination, FromClient, Side, client_frame};
