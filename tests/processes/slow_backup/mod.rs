//! A backup that is slow (`protocol.md` sections 6 and 13, L3), with real processes under load: one whose machine takes a
//! hundred times as long for each entry as it should, one whose disk takes long for each sync, and one whose disk does
//! not finish any. The service goes on, the slow one is dropped, a healthy spare takes its place, and the slow one is not
//! joined again while it is slow. No operation ends in an error, and every answered one counts once.
//!
//! The slow disk is a library that the replicas are started with (`slow_sync.c`, built with the C compiler that links
//! this program, too): it makes syncs slow for one data directory while a file beside it says so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_io::clock;
use standin_tools::cluster::ClusterConfig;

use crate::support::cli::STANDIN;
use crate::support::load::LoadConfig;
use crate::support::scene::{Pair, Scene};
use crate::support::{example, ms, sure, tell};

/// Long, so that a machine that is busy does not make a slow backup a silent one.
const LEASE: Duration = Duration::from_secs(2);
/// A backup may be dropped for another reason, if the machine is busy: then it is tried again.
const TRIES: u32 = 5;
/// How long it is watched that a slow one is not joined again, in lease terms.
const TERMS_WATCHED: u32 = 4;

/// What makes a replica slow: a file beside its data directory.
#[derive(Clone, Copy)]
struct Trouble {
    /// How the file's name goes on after the replica's.
    extension: &'static str,
    /// What it says.
    says: &'static str,
    /// What the primary must say when it drops the backup for it, in one of the tries; nothing if it is for silence.
    words: Option<&'static str>,
}

impl Trouble {
    fn file(self, scene: &Scene, name: &str) -> PathBuf {
        scene.directory().join(name).with_extension(self.extension)
    }
}

#[test]
fn a_backup_whose_machine_is_a_hundred_times_slower_is_replaced() {
    let config = ClusterConfig {
        lease: LEASE,
        machine: "sluggish".to_owned(),
        ..ClusterConfig::new(example("sluggish"))
    };
    // 50 entries a second, and clients ask for hundreds.
    let trouble = Trouble {
        extension: "sluggish",
        says: "20000",
        words: Some("it applies what it has up to"),
    };
    run("a slow machine", &config, trouble);
}

#[test]
fn a_backup_whose_disk_takes_long_for_each_sync_is_replaced() {
    let trouble = Trouble {
        extension: "stalled",
        says: "700",
        words: Some("clients waited"),
    };
    run("slow syncs", &on_slow_disks("slow-syncs"), trouble);
}

#[test]
fn a_backup_whose_disk_finishes_no_sync_is_replaced() {
    let trouble = Trouble {
        extension: "stalled",
        says: "1000000000",
        words: None,
    };
    run("a stalled disk", &on_slow_disks("stalled-disk"), trouble);
}

/// Replicas at level `disk` whose syncs can be made slow.
fn on_slow_disks(title: &str) -> ClusterConfig {
    let build = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(title);
    sure(fs::create_dir_all(&build));
    let library = build.join("slow_sync.so");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/processes/slow_backup/slow_sync.c"
    );
    let mut compiler = Command::new("cc");
    compiler.args([
        "-shared", "-fPIC", "-O1", "-Wall", "-Werror", source, "-ldl", "-o",
    ]);
    let built = sure(compiler.arg(&library).status());
    assert!(built.success(), "{source} does not build");
    let program = build.join("standin");
    let script = format!(
        "#!/bin/sh\nexport LD_PRELOAD='{}'\nexec '{STANDIN}' \"$@\"\n",
        library.display()
    );
    sure(fs::write(&program, script));
    sure(fs::set_permissions(
        &program,
        fs::Permissions::from_mode(0o755),
    ));
    ClusterConfig {
        lease: LEASE,
        durability: Durability::Disk,
        ..ClusterConfig::new(program)
    }
}

fn run(title: &str, config: &ClusterConfig, trouble: Trouble) {
    for attempt in 1..=TRIES {
        let was_said = replace(title, config.clone(), trouble);
        if was_said || trouble.words.is_none() {
            return;
        }
        tell(format_args!("{title}: try {attempt} was for nothing"));
    }
    panic!("{title}: the primary never said why it dropped its backup");
}

/// Lets a backup get into trouble. Whether the primary has said what it should.
fn replace(title: &str, config: ClusterConfig, trouble: Trouble) -> bool {
    let mut scene = Scene::with(title, config);
    sure(scene.start_all(&["a", "b", "c"]));
    let load = scene.load(LoadConfig {
        clients: 10,
        ..LoadConfig::default()
    });
    let began = clock::boot();
    scene.until("the load", |_| {
        load.has_answers_since(began, 20).then_some(())
    });
    let Pair {
        primary, backup, ..
    } = scene.until_pair();
    let file = trouble.file(&scene, &backup);
    sure(fs::write(&file, trouble.says));
    let slow_since = clock::boot();
    scene.until_record("a backup that is not slow", |record| {
        let pair = Pair::of(record)?;
        (pair.backup != backup && pair.primary != backup).then_some(())
    });
    let replaced_in = clock::boot().since(slow_since);
    // It is served on, and the slow one stays out of it.
    let replaced = clock::boot();
    scene.until("answers", |_| {
        load.has_answers_since(replaced, 20).then_some(())
    });
    let watched = replaced.plus(LEASE * TERMS_WATCHED);
    scene.until_record("a while", |record| {
        let name = record.backup.as_ref().map(|it| it.name.to_string());
        assert_ne!(
            name.as_ref(),
            Some(&backup),
            "{title}: it is as slow as before"
        );
        (clock::boot() > watched).then_some(())
    });
    let longest = load.longest_wait(slow_since);
    sure(fs::remove_file(&file));
    scene.audit(load);
    tell(format_args!(
        "{title}: replaced in {}; longest wait of a client {}",
        ms(replaced_in),
        ms(longest)
    ));
    let log = sure(fs::read_to_string(scene.log_path(&primary)));
    let dropped = format!("the backup {backup} is too slow, and is dropped: ");
    (trouble.words).is_some_and(|words| log.contains(&(dropped.clone() + words)))
}
