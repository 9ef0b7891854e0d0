//! The view service's record is lost, damaged, or older than it should be: what is said then, what goes on, and
//! how an operator makes it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use standin_core::identity::Durability;
use standin_core::time::Duration;
use standin_core::view::{Reason, ViewNumber};
use standin_io::clock;
use standin_tools::cluster::{POLL_PAUSE, VIEW_SERVICE};

use crate::support::cli::{Ran, STANDIN};
use crate::support::load::{Load, LoadConfig};
use crate::support::scene::{Scene, replica};
use crate::support::{PATIENCE, ms, sure, tell};

const LEASE: Duration = Duration::from_millis(500);
/// How long it is watched that nothing is granted, in lease terms.
const TERMS_WATCHED: u32 = 3;
/// The number of a view that was made again is at least so far above all before it.
const SKIPPED: ViewNumber = ViewNumber(1_000_000_000);

/// A pair, a spare, and a load on them.
fn begin(title: &str) -> (Scene, Load) {
    let mut scene = Scene::start(title, LEASE, Durability::Os, &["a", "b", "c"]);
    let load = scene.load(LoadConfig::default());
    scene.until_pair();
    scene.until_answers(&load);
    (scene, load)
}

fn data(scene: &Scene) -> PathBuf {
    scene.directory().join(VIEW_SERVICE)
}

fn lose_record(scene: &mut Scene) {
    if scene.is_running(VIEW_SERVICE) {
        sure(scene.kill(VIEW_SERVICE));
    }
    sure(fs::remove_dir_all(data(scene)));
}

fn rebuild(scene: &Scene, names: &str) -> Ran {
    scene.cli(&["recover", "--rebuild", names])
}

/// What `standin status` says about why nobody serves.
fn until_said(scene: &mut Scene, words: &[&str]) -> String {
    scene.until_status("the status to say what is wrong", |status| {
        let why = status.unavailable.clone()?;
        words.iter().all(|it| why.contains(it)).then_some(why)
    })
}

/// The record is made again, the pair is one again, and a takeover works as ever.
fn rebuild_and_take_over(scene: &mut Scene, load: &Load) {
    let begun = clock::boot();
    scene.until("the record to be made again", |scene| {
        let ran = rebuild(scene, "a,b,c");
        match ran.status {
            Some(0) => {
                assert!(ran.stdout.contains("nothing is lost"), "{ran:?}");
                Some(())
            }
            // For as long as a lease may be held, and until all have reported.
            Some(1) => None,
            _ => panic!("{ran:?}"),
        }
    });
    let record = scene.until_record("somebody to serve", |record| {
        record.active.then(|| record.clone())
    });
    assert!(record.view >= SKIPPED, "{record:?}");
    scene.until_answers(load);
    let took = ms(clock::boot().since(begun));
    scene.until_pair();
    let (pair, killed) = scene.kill_one(|pair| &pair.primary);
    scene.until_record("the other one to take over", |record| {
        (record.active && record.primary.name.as_str() != pair.primary).then_some(())
    });
    scene.until_answers(load);
    let takeover = ms(clock::boot().since(killed));
    tell(format_args!(
        "answers {took} after the first try to rebuild; a takeover later {takeover}"
    ));
    sure(scene.start(&pair.primary));
    scene.until_pair();
}

#[test]
fn a_lost_record_is_said_to_be_lost_and_made_again_while_the_pair_serves_on() {
    let title = "view record lost";
    let (mut scene, load) = begin(title);
    lose_record(&mut scene);
    let gone = clock::boot();
    scene.until_moment(gone.plus(LEASE * TERMS_WATCHED));
    scene.until_answers(&load);

    // Started as if nothing had ever been: nobody of the old cluster is let in, and both sides say why.
    sure(scene.start(VIEW_SERVICE));
    let why = until_said(&mut scene, &["replicas of another cluster", "--rebuild"]);
    tell(format_args!("{title}, begun anew: {why}"));
    let ran = rebuild(&scene, "a,b,c");
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("not started with --rebuild"), "{ran:?}");
    scene.until("a replica to say so, too", |scene| {
        let log = sure(fs::read_to_string(scene.log_path("a")));
        log.contains("the other side belongs to another cluster")
            .then_some(())
    });
    scene.until_answers(&load);

    // Started to have it made again: it waits, and an operator hears what is missing.
    lose_record(&mut scene);
    scene.add_argument(VIEW_SERVICE, "--rebuild");
    sure(scene.start(VIEW_SERVICE));
    let why = until_said(
        &mut scene,
        &["heard: a, b, c", "standin recover --rebuild a,b,c"],
    );
    tell(format_args!("{title}, waiting: {why}"));
    let past_leases = clock::boot().plus(LEASE * 2);
    scene.until_moment(past_leases);
    check_refused(&scene, "a,b", "c is heard here and not named");
    check_refused(&scene, "a,b,c,d", "d is not heard here");
    let pair = backup_of(&mut scene);
    sure(scene.kill(&pair));
    scene.until_status("the backup to be missed", |status| {
        (!replica(status, &pair)?.is_alive).then_some(())
    });
    check_refused(&scene, "a,b,c", &format!("{pair} is not heard here"));
    let would = scene.cli(&["recover", "--rebuild", "a,b,c", "--primary", "c"]);
    assert_eq!(would.status, Some(1), "{would:?}");
    assert!(
        would.stdout.contains("whatever else was answered is lost"),
        "{would:?}"
    );
    assert!(sure(scene.status()).record.is_none());
    sure(scene.start(&pair));

    rebuild_and_take_over(&mut scene, &load);
    let again = rebuild(&scene, "a,b,c");
    assert_eq!(again.status, Some(0), "{again:?}");
    sure(scene.restart(VIEW_SERVICE));
    scene.until_answers(&load);
    let history = scene.cli(&["history"]);
    assert!(
        history.stdout.contains(Reason::Rebuilt.words()),
        "{history:?}"
    );
    scene.audit(load);
}

fn check_refused(scene: &Scene, names: &str, words: &str) {
    let ran = rebuild(scene, names);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains(words) && ran.stderr.lines().count() == 1,
        "{words}: {ran:?}"
    );
}

/// The replica that says it is the backup.
fn backup_of(scene: &mut Scene) -> String {
    scene.until_status("a backup", |status| {
        let mut replicas = status.replicas.iter();
        let backup = replicas.find(|one| {
            let role = one.standing.map(|standing| standing.role);
            role == Some(standin_core::message::RoleName::Backup)
        });
        backup.map(|backup| backup.peer.identity.name.to_string())
    })
}

/// Runs `standin viewservice` where it must not start, and returns the one line that it says.
fn refused_start(data: &Path) -> String {
    let mut child = sure(
        Command::new(STANDIN)
            .args(["viewservice", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn(),
    );
    let end = clock::boot().plus(PATIENCE);
    while sure(child.try_wait()).is_none() {
        if clock::boot() > end {
            sure(child.kill());
            panic!("it serves a record that is not what was written");
        }
        std::thread::sleep(POLL_PAUSE);
    }
    let output = sure(child.wait_with_output());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "never ready: {output:?}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn a_damaged_record_is_never_served_wherever_the_damage_is() {
    let title = "view record damaged";
    let (mut scene, load) = begin(title);
    sure(scene.kill(VIEW_SERVICE));
    let file = data(&scene).join("state");
    let good = sure(fs::read(&file));
    let mut forms: Vec<Vec<u8>> = (0..good.len())
        .map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            bad
        })
        .collect();
    let lengths = [0, 1, 19, 20, good.len() / 2, good.len() - 1];
    forms.extend(lengths.map(|length| good[..length].to_vec()));
    forms.push([good.as_slice(), b"\0"].concat());
    forms.push(b"not a record at all".to_vec());
    let count = forms.len();
    let mut lines = std::collections::BTreeSet::new();
    for bad in forms {
        sure(fs::write(&file, &bad));
        let line = refused_start(&data(&scene));
        for words in [
            "its state file is bad",
            "--rebuild",
            &file.display().to_string()[..8],
        ] {
            assert!(line.contains(words), "{words}: {line}");
        }
        assert_eq!(sure(fs::read(&file)), bad, "what is there is left as it is");
        lines.insert(line);
    }
    sure(fs::remove_file(&file));
    let line = refused_start(&data(&scene));
    assert!(
        line.contains("its state file is gone") && line.contains("--rebuild"),
        "{line}"
    );
    tell(format_args!(
        "{title}: {count} forms refused, in {} lines of this kind: {line}",
        lines.len()
    ));
    scene.until_answers(&load);

    // The file itself put back is as good as ever.
    sure(fs::write(&file, &good));
    sure(scene.start(VIEW_SERVICE));
    scene.until_pair();
    // And where it is lost for good, the replicas know.
    lose_record(&mut scene);
    scene.add_argument(VIEW_SERVICE, "--rebuild");
    sure(scene.start(VIEW_SERVICE));
    rebuild_and_take_over(&mut scene, &load);
    scene.audit(load);
}

#[test]
fn an_older_copy_of_the_record_grants_nothing_and_says_so() {
    let title = "older view record";
    let (mut scene, load) = begin(title);
    let file = data(&scene).join("state");
    let old = sure(fs::read(&file));
    let (pair, _) = scene.kill_one(|pair| &pair.primary);
    sure(scene.start(&pair.primary));
    let now = scene.until_pair();
    assert!(now.view > pair.view);
    sure(scene.kill(VIEW_SERVICE));
    sure(fs::write(&file, &old));
    sure(scene.start(VIEW_SERVICE));
    let why = until_said(&mut scene, &["is an old copy", "--rebuild"]);
    tell(format_args!("{title}: {why}"));
    let record = sure(scene.status()).record;
    let end = clock::boot().plus(LEASE * TERMS_WATCHED);
    scene.until("some lease terms to pass with nothing granted", |scene| {
        if let Ok(status) = scene.status() {
            assert_eq!(status.record, record, "no number is used again");
            assert_eq!(status.lease_remaining_ms, None);
        }
        (clock::boot() >= end).then_some(())
    });
    // The pair needs nobody.
    scene.until_answers(&load);
    let ran = rebuild(&scene, "a,b,c");
    assert!(ran.stderr.contains("it has its record"), "{ran:?}");
    lose_record(&mut scene);
    scene.add_argument(VIEW_SERVICE, "--rebuild");
    sure(scene.start(VIEW_SERVICE));
    rebuild_and_take_over(&mut scene, &load);
    scene.audit(load);
}
