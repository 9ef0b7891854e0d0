//! What the mark of the life before says of an entry at which it died: as in `src/replica/start.rs`.

use standin_core::entry::LogTip;
use standin_core::identity::BootId;
use standin_core::mark::{FatalEntry, MarkedLog};
use standin_io::data_dir::DataDir;
use standin_io::log::Recovered;

use crate::simulate::disk::SimDisk;
use crate::simulate::doom::Doom;

pub(super) fn fatal_entry(
    doom: &Doom,
    dir: &DataDir<SimDisk>,
    boot: BootId,
    base: LogTip,
    recovered: &Recovered,
) -> Option<FatalEntry> {
    let meta = dir.meta();
    let last = meta.life?;
    let ended = doom.how_it_ended(meta.store, last, meta.boot(boot));
    let log = MarkedLog {
        base,
        tip: recovered.tip,
        view_starts: &recovered.view_starts,
    };
    FatalEntry::after(meta.fatal, last.incarnation.start, ended, log)
}
