//! `standin snapshot`: snapshots outside of data directories.

use std::io;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;
use standin_core::digest::DigestChain;
use standin_core::identity::{ReplicaName, StoreId};
use standin_core::machine::{MachineId, StateMachine, VersionRange};
use standin_core::snapshot::SnapshotHeader;
use standin_core::state::Replicated;
use standin_core::view::ViewId;
use standin_io::data_dir::{DataDir, DataDirError};
use standin_io::entropy;
use standin_io::snapshots::{
    RestoreError, SnapshotFile, SnapshotIds, SnapshotsError, newest_in, restore_data_dir,
};

use super::{EXIT_MISUSED, EXIT_NO, output};
use crate::machines::{counter::Counter, kv::KeyValue};

/// The arguments of `standin snapshot`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  standin snapshot save a counter.snap && standin snapshot verify counter.snap\n\n\
    Exit status: 0 done; 1 it was not done, or the snapshot is not whole; 2 misused."
)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the newest whole snapshot out of a replica's data directory
    #[command(after_help = "Example:\n  standin snapshot save a counter.snap\n\n\
        The replica may run meanwhile. A replica takes a snapshot each --snapshot-every entries; what was answered \
        since the newest one is in its log alone.")]
    Save {
        /// The data directory of a replica
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The file to write; nothing may be there
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say what a snapshot is of, by its header alone
    #[command(after_help = "Example:\n  standin snapshot inspect counter.snap --json")]
    Inspect {
        /// The snapshot
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON, on one line
        #[arg(long, env = "STANDIN_JSON", value_parser = BoolishValueParser::new())]
        json: bool,
    },
    /// Read all of a snapshot, and say whether it is whole
    #[command(after_help = "Example:\n  standin snapshot verify counter.snap\n\n\
        If this program has the machine, the state is restored as well, and must come to the same digest.")]
    Verify {
        /// The snapshot
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make a data directory of a snapshot
    #[command(after_help = "Example:\n  standin snapshot restore counter.snap c\n  \
        standin replica --name c --replace --data c --listen 127.0.0.1:7103 --viewservice 127.0.0.1:7000 \
        --machine counter\n\n\
        A replica that is started with it catches up from the primary. If no replica is left but this one, \
        'standin recover' makes it primary, and loses what was answered after the snapshot.")]
    Restore {
        /// The snapshot
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The data directory to make; it may be there if it is empty
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The replica's name; that of the directory, unless another is given
        #[arg(long, env = "STANDIN_NAME", value_name = "NAME")]
        name: Option<ReplicaName>,
    },
}

/// What `inspect --json` prints. The fields are a promise; more may be added.
#[derive(Debug, Serialize)]
struct Account {
    cluster: String,
    machine: MachineAccount,
    data_epoch: u32,
    view: u64,
    index: u64,
    state_bytes: u64,
    state_digest: String,
    reply_digest: String,
    file_bytes: u64,
}

#[derive(Debug, Serialize)]
struct MachineAccount {
    name: String,
    version: u32,
}

/// Why a command of these came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Dir(#[from] DataDirError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotsError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("{0} is no data directory of a replica: it has no meta file")]
    NotFormatted(PathBuf),
    #[error(
        "{0} has no snapshot: its replica takes one each --snapshot-every entries, and has not come so far"
    )]
    None(PathBuf),
    #[error("{0} has no snapshot that is whole: the log that leads up to them may still be there")]
    NoneWhole(PathBuf),
    #[error("{path} is whole, but the machine cannot read the state in it: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{path} is whole, but the machine restored another state from it: its digest is {found:032x} and should be \
         {expected:032x}; the machine's capture and restore do not fit each other"
    )]
    Differs {
        path: PathBuf,
        expected: u128,
        found: u128,
    },
}

/// Does what is asked for.
pub(crate) fn run<M: StateMachine>(args: &SnapshotArgs) -> u8 {
    let (doing, outcome) = match &args.command {
        Command::Save { dir, file } => ("save a snapshot", save(dir, file)),
        Command::Inspect { file, json } => ("inspect a snapshot", inspect(file, *json)),
        Command::Verify { file } => ("verify a snapshot", verify::<M>(file)),
        Command::Restore { file, dir, name } => {
            let Some(name) = name.clone().or_else(|| name_of(dir)) else {
                output::error(format_args!(
                    "cannot restore a snapshot: {} is no name for a replica; say --name",
                    dir.display()
                ));
                return EXIT_MISUSED;
            };
            ("restore a snapshot", restore(file, dir, &name))
        }
    };
    match outcome {
        Ok(text) => output::line(format_args!("{text}")),
        Err(failure) => {
            output::error(format_args!("cannot {doing}: {failure}"));
            EXIT_NO
        }
    }
}

/// The name that a data directory's own name is.
fn name_of(dir: &Path) -> Option<ReplicaName> {
    dir.file_name()?.to_str()?.parse().ok()
}

fn save(dir: &Path, to: &Path) -> Result<String, Failure> {
    let meta = DataDir::look(dir)?.ok_or_else(|| Failure::NotFormatted(dir.to_owned()))?;
    let Some(cluster) = meta.cluster else {
        return Err(Failure::None(dir.to_owned()));
    };
    let ids = SnapshotIds {
        cluster,
        machine: meta.machine,
    };
    let (newest, damaged) = newest_in(dir, &ids)?;
    for error in &damaged {
        output::error(format_args!("left out a newer snapshot: {error}"));
    }
    let newest = newest.ok_or_else(|| {
        if damaged.is_empty() {
            Failure::None(dir.to_owned())
        } else {
            Failure::NoneWhole(dir.to_owned())
        }
    })?;
    let copy = newest.copy_to(to)?;
    Ok(format!("saved {}", words(&copy)))
}

fn inspect(path: &Path, is_json: bool) -> Result<String, Failure> {
    let file = SnapshotFile::open(path)?;
    let header = file.header();
    if !is_json {
        return Ok(words(&file));
    }
    let account = Account::of(header);
    Ok(serde_json::to_string(&account).expect("names and numbers become JSON"))
}

fn verify<M: StateMachine>(path: &Path) -> Result<String, Failure> {
    let file = SnapshotFile::open(path)?;
    file.verify()?;
    let machine = &file.header().point.machine;
    let known = [
        Known::of::<M>(),
        Known::of::<Counter>(),
        Known::of::<KeyValue>(),
    ];
    let restored = match known.iter().find(|known| known.is(machine)) {
        Some(Known { check, .. }) => {
            check(&file)?;
            "the machine restores it"
        }
        None => "the state itself was not looked at: this program does not have the machine",
    };
    Ok(format!("whole: {}; {restored}", words(&file)))
}

/// A machine that this program has.
struct Known {
    name: &'static str,
    versions: VersionRange,
    check: fn(&SnapshotFile) -> Result<(), Failure>,
}

impl Known {
    fn of<M: StateMachine>() -> Self {
        Self {
            name: M::NAME,
            versions: VersionRange::of::<M>(),
            check: check_restored::<M>,
        }
    }

    fn is(&self, machine: &MachineId) -> bool {
        self.name == machine.name() && self.versions.contains(machine.version())
    }
}

/// Checks that the machine makes of the state what it was made of.
fn check_restored<M: StateMachine>(file: &SnapshotFile) -> Result<(), Failure> {
    let unreadable = |source| Failure::Unreadable {
        path: file.path().to_owned(),
        source,
    };
    let header = file.header();
    let point = &header.point;
    let digest = DigestChain(point.reply_digest.0);
    let mut input = file.state().map_err(unreadable)?;
    let version = point.machine.version();
    let state = Replicated::<M>::restore(&mut input, point.tip.index, digest, version);
    let found = state.map_err(unreadable)?.state_digest();
    if found == header.state_digest {
        return Ok(());
    }
    Err(Failure::Differs {
        path: file.path().to_owned(),
        expected: header.state_digest,
        found,
    })
}

fn restore(path: &Path, dir: &Path, name: &ReplicaName) -> Result<String, Failure> {
    let file = SnapshotFile::open(path)?;
    restore_data_dir(&file, dir, name, StoreId(entropy::u128()))?;
    Ok(format!(
        "made {} the data directory of replica {name}, from {}; start it with --replace if the cluster knows that \
         name",
        dir.display(),
        words(&file)
    ))
}

/// What a snapshot is of, on one line.
fn words(file: &SnapshotFile) -> String {
    let header = file.header();
    let point = &header.point;
    let view = ViewId {
        data_epoch: point.data_epoch,
        view: point.tip.view,
    };
    format!(
        "{}: entry {} of view {view}, {}, cluster {}, {} bytes, state digest {:032x}",
        file.path().display(),
        point.tip.index,
        point.machine,
        point.cluster,
        header.file_bytes(),
        header.state_digest
    )
}

impl Account {
    fn of(header: &SnapshotHeader) -> Self {
        let point = &header.point;
        Self {
            cluster: point.cluster.to_string(),
            machine: MachineAccount {
                name: point.machine.name().to_owned(),
                version: point.machine.version(),
            },
            data_epoch: point.data_epoch.0,
            view: point.tip.view.0,
            index: point.tip.index.0,
            state_bytes: header.state_bytes,
            state_digest: format!("{:032x}", header.state_digest),
            reply_digest: format!("{:032x}", point.reply_digest.0),
            file_bytes: header.file_bytes(),
        }
    }
}
