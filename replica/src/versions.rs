//! The machine's executing version as a whole replica sees it (`protocol.md` section 12).

use standin_core::entry::{Batch, Entry, EntryKind, Index};
use standin_core::machine::StateMachine;
use standin_core::version::VersionStart;

use crate::event::{Action, Level};
use crate::replica::Replica;

impl<M: StateMachine> Replica<M> {
    /// Takes in what entries say that come to the log's end.
    pub(crate) fn note_versions(&mut self, batch: &Batch) {
        let starts = batch.version_starts();
        if starts.is_empty() {
            return;
        }
        for start in starts {
            self.log.version_starts.note(start);
        }
        let skips: Vec<_> = self.log.skips.iter().copied().collect();
        self.log.version_starts.skip(&skips);
    }

    /// The version of the machine that is executed, if the log does not say. A new log begins with the newest one that
    /// this program supports: there is nothing yet that anybody else would have to execute.
    pub(crate) fn begins_with(&self) -> u32 {
        match self.log.tip.index {
            Index::ZERO => self.config.versions.newest,
            _ => self.state.version(),
        }
    }

    /// Tells people of an Upgrade that was applied.
    pub(crate) fn tell_upgrade(&mut self, entry: &Entry<'_>, before: u32) {
        let version = self.state.version();
        if entry.header.kind != EntryKind::Upgrade || version == before {
            return;
        }
        let text = format!(
            "after entry {} the machine {} executes version {version}, and version {before} no more",
            entry.header.index,
            M::NAME
        );
        self.actions.push_back(Action::Log(Level::Info, text));
    }

    /// The log goes on with something that this program cannot execute.
    pub(crate) fn lacks_version(&mut self, start: VersionStart) {
        let VersionStart { at, version, .. } = start;
        let words = format!(
            "what comes at entry {at} is executed by version {version} of the machine, and {}",
            self.wanted(version)
        );
        self.set_trouble(Level::Warn, words.clone());
        self.refused = Some(words);
    }

    /// What to do about a version that this program lacks.
    pub(crate) fn wanted(&self, version: u32) -> String {
        let range = self.config.versions;
        format!(
            "this program supports {range}: start the replica with one that supports version {version}, and it \
             goes on"
        )
    }
}
