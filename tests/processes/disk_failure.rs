//! A disk that fails so badly that not even that can be written down: the process stays until the view
//! service knows, and no later one passes for the holder that it was.

use std::fs;
use std::path::PathBuf;

use standin_core::identity::Durability;
use standin_core::message::RoleName;
use standin_core::time::{Duration, Instant};
use standin_io::clock;
use standin_tools::cluster::VIEW_SERVICE;

use crate::support::load::LoadConfig;
use crate::support::scene::{Scene, role};
use crate::support::{PATIENCE, sure};

const LEASE: Duration = Duration::from_millis(500);
/// How long it is watched that a process does not end, in lease terms.
const TERMS_WATCHED: u32 = 4;

/// Puts something in the way of every write of a replica's meta file, the note of a failure included.
fn get_in_the_way(scene: &mut Scene, name: &str) -> PathBuf {
    let path = scene.directory().join(name).join("meta.new");
    scene.until("no write of the meta file to be under way", |_| {
        fs::create_dir(&path).ok()
    });
    path
}

#[test]
fn a_disk_failure_that_cannot_be_noted_is_told_to_the_view_service() {
    let title = "no note of a disk failure";
    let mut scene = Scene::start(title, LEASE, Durability::Os, &["a", "b"]);
    let load = scene.load(LoadConfig::default());
    let pair = scene.until_pair();
    scene.until_answers(&load);
    let in_the_way = get_in_the_way(&mut scene, &pair.backup);

    // The backup is to take over, and cannot even adopt the view; and it cannot tell anybody.
    sure(scene.kill(&pair.primary));
    let status = sure(scene.wait(&pair.backup, PATIENCE));
    assert!(!status.success(), "{status}");
    let words = scene.last_words(&pair.backup);
    assert!(words.contains("could not be noted"), "{words}");
    assert!(words.contains("the view service keeps it"), "{words}");

    // Another start is refused and makes up for the note; the one after that is a spare like any other.
    sure(fs::remove_dir(&in_the_way));
    sure(scene.spawn(&pair.backup));
    let status = sure(scene.wait(&pair.backup, PATIENCE));
    assert!(!status.success(), "{status}");
    let words = scene.last_words(&pair.backup);
    assert!(
        words.contains("its data directory says so from now on"),
        "{words}"
    );
    sure(scene.start(&pair.backup));
    scene.until_status("only the other one to be a holder", |status| {
        let why = status.unavailable.as_ref()?;
        let is_missing = why.contains(&format!("only {} may have", pair.primary));
        (is_missing && role(status, &pair.backup) == Some(RoleName::Spare)).then_some(())
    });
    sure(scene.start(&pair.primary));
    scene.until_pair();
    scene.audit(load);
}

#[test]
fn a_process_that_cannot_note_a_disk_failure_stays_until_the_view_service_is_back() {
    let title = "no note of a disk failure, and no view service";
    let mut scene = Scene::start(title, LEASE, Durability::Os, &["a", "b"]);
    let pair = scene.until_pair();
    get_in_the_way(&mut scene, &pair.backup);
    // It stops cleanly, but for the mark that it should leave.
    sure(scene.kill(VIEW_SERVICE));
    sure(scene.terminate(&pair.backup));
    scene.until("it to give up", |scene| {
        let words = scene.last_words(&pair.backup);
        words.contains("could not be noted").then_some(())
    });
    sure(scene.terminate(&pair.backup));
    let end: Instant = clock::boot().plus(LEASE * TERMS_WATCHED);
    scene.until("some terms to pass", |scene| {
        assert!(scene.is_running(&pair.backup), "nobody knows yet");
        (clock::boot() >= end).then_some(())
    });
    sure(scene.start(VIEW_SERVICE));
    let status = sure(scene.wait(&pair.backup, PATIENCE));
    assert!(!status.success(), "{status}");
    let words = scene.last_words(&pair.backup);
    assert!(words.contains("the view service keeps it"), "{words}");
}
