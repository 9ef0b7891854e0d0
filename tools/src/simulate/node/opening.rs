//! Opening a log that may be damaged.

use std::path::Path;

use standin_io::log::{Damage, LogConfig, LogError, SegmentIds, SegmentLog};

use super::{DATA, Machine};
use crate::simulate::disk::SimDisk;
use crate::simulate::marks::Mark;
use crate::simulate::stage::Stage;
use crate::simulate::watched::Subject;

/// Why a log cannot be opened.
pub(super) enum Unopened {
    /// The disk failed.
    Failed(LogError),
    /// It is somebody else's, or of a later version.
    Foreign(LogError),
    /// Something is missing, in words.
    Damaged(Box<Damage>, String),
}

/// Opens the log, and puts it in order where it is damaged and no entry is missing.
pub(super) fn open_log<M: Subject>(
    machine: &Machine,
    ids: &SegmentIds,
    config: LogConfig,
    stage: &mut Stage<'_, M>,
) -> Result<(SegmentLog<SimDisk>, standin_io::log::Recovered), Unopened> {
    let (disk, path) = (&machine.disk, Path::new(DATA));
    loop {
        let error = match SegmentLog::open_in(disk.clone(), path, ids.clone(), config) {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let words = error.to_string();
        let words = words.split(';').next().unwrap_or_default().to_owned();
        let is_of_disk = |error: &LogError| matches!(error, LogError::Io { .. } | LogError::Failed);
        let damage = match Damage::find(disk, path, ids, config, error) {
            Ok(damage) => damage,
            Err(error) if is_of_disk(&error) => return Err(Unopened::Failed(error)),
            Err(error) => return Err(Unopened::Foreign(error)),
        };
        let Some(fit) = damage.fit_of_nothing() else {
            return Err(Unopened::Damaged(Box::new(damage), words));
        };
        damage.fill(disk, &[], fit).map_err(Unopened::Failed)?;
        stage.mark(Mark::MendedAlone);
    }
}
