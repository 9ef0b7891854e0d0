//! How many sessions there may be: what the primary of a view was told, on every replica, whatever the others were.

use standin_core::message::ReplyStatus;
use standin_core::time::Duration;
use standin_tools::cluster::{ClusterConfig, VIEW_SERVICE};

use crate::support::cli::STANDIN;
use crate::support::raw::RawClient;
use crate::support::scene::{Scene, TRIES};
use crate::support::{PATIENCE, sure, tell};

/// So long that nobody takes over who is not told to.
const LEASE: Duration = Duration::from_secs(60);
/// Most sessions of the views of each replica.
const FEW: u64 = 3;
const MORE: u64 = 5;

fn start(scene: &mut Scene, name: &str, sessions_max: u64) {
    sure(scene.spawn_with(name, &["--sessions-max", &sessions_max.to_string()]));
    scene.until("a replica", |scene| {
        sure(scene.is_ready(name)).then_some(())
    });
}

/// Opens more sessions at the primary than there can be. Each is granted, also by pushing out an idle one, or refused.
fn open_many(scene: &Scene, primary: &str) {
    let mut client = RawClient::connect(sure(scene.address(primary)));
    for _ in 0..MORE + 2 {
        let id = client.ask_for_session();
        let status = client.reply(id, PATIENCE).map(|reply| reply.status);
        assert!(
            matches!(status, Some(ReplyStatus::Done | ReplyStatus::Overloaded)),
            "{status:?}"
        );
    }
}

/// Waits until so many sessions are open at both, and checks that all else is the same at both, too.
fn until_sessions(scene: &mut Scene, sessions: u64) {
    scene.until(&format!("{sessions} sessions"), |scene| {
        let both = ["a", "b"].map(|name| scene.inspect(name).ok().map(|copy| copy.sessions));
        (both == [Some(sessions); 2]).then_some(())
    });
    scene.until_agreement();
}

/// Makes the backup primary, whatever becomes of it on a busy machine at first.
fn switch_over(scene: &mut Scene, to: &str) {
    for _ in 0..TRIES {
        scene.until_pair();
        let ran = scene.cli(&["switchover", "--timeout", "100s"]);
        if scene.until_pair().primary == to {
            return;
        }
        tell(format_args!("not switched over: {}", ran.stderr.trim_end()));
    }
    panic!("no switchover succeeds")
}

#[test]
fn a_view_has_as_many_sessions_as_its_primary_was_told_at_each_replica() {
    let config = ClusterConfig {
        lease: LEASE,
        ..ClusterConfig::new(STANDIN)
    };
    let mut scene = Scene::with("sessions", config);
    sure(scene.start(VIEW_SERVICE));
    start(&mut scene, "a", FEW);
    scene.until_record("a primary", |record| record.active.then_some(()));
    start(&mut scene, "b", MORE);
    scene.until_pair();
    open_many(&scene, "a");
    until_sessions(&mut scene, FEW);

    switch_over(&mut scene, "b");
    until_sessions(&mut scene, FEW);
    open_many(&scene, "b");
    until_sessions(&mut scene, MORE);

    // What a replica begins with from its log is what stands there, not what it is told now.
    sure(scene.terminate("a"));
    sure(scene.wait("a", PATIENCE));
    start(&mut scene, "a", 1);
    scene.until_pair();
    until_sessions(&mut scene, MORE);

    switch_over(&mut scene, "a");
    until_sessions(&mut scene, 1);
}
