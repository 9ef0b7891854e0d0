//! Networks that can be broken.

use standin_core::time::Duration;
use standin_tools::cluster::Placement;

use crate::party::Direction;

/// What can be wrong with what one party sends to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing gets through, and nobody is told. What was sent meanwhile arrives when it is over, as
    /// TCP would have it.
    Cut,
    /// It arrives later by so much.
    Delay(Duration),
    /// So many bytes get through in a second.
    Slow(u32),
    /// Connections that were there, and those made meanwhile, are lost for ever without either side
    /// being told, as if the other side's machine had vanished.
    HalfOpen,
    /// Connections that were there are reset, and so are those made meanwhile.
    Reset,
}

/// What stands between the parties.
pub(crate) trait Network {
    /// Where this process is to stand.
    fn placement(&self, name: &str) -> Placement;

    /// Tells where a process listens, once that is known.
    fn reached_at(&mut self, name: &'static str, address: &str);

    /// Tells that a process has been started.
    fn started(&mut self, name: &'static str, pid: u32);

    /// Where clients find the view service.
    fn view_service(&self) -> String;

    /// Whether this network can be broken in this way.
    fn can(&self, trouble: Trouble) -> bool;

    /// Breaks it, in one direction. Nothing else is wrong with that direction yet.
    fn afflict(&mut self, direction: Direction, trouble: Trouble);

    /// Puts right whatever is wrong with a direction.
    fn heal(&mut self, direction: Direction);

    /// What is worth telling about it in the end.
    fn account(&self) -> String;
}
