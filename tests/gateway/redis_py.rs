//! The same with the Redis client that most programs in Python use.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use standin_core::time::Instant;
use standin_io::clock;

use crate::client::Gateway;
use crate::support::python::python;
use crate::support::{sure, tell};

/// How often the plug is pulled, if [`SECONDS_VARIABLE`] does not say how long.
const PULLS: u64 = 3;
/// Time from one pull to the next, at least.
const PULL_EVERY: Duration = Duration::from_secs(3);
/// How long the plug is pulled again and again, in seconds.
const SECONDS_VARIABLE: &str = "STANDIN_GATEWAY_SECONDS";

#[test]
fn redis_py_sees_no_error_and_no_reconnect_while_the_plug_is_pulled() {
    let python = python();
    let mut scene = super::start("redis-py");
    let gateways = [Gateway::start(&scene), Gateway::start(&scene)];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/gateway.py");
    let mut command = Command::new(python);
    command.arg(script);
    command.args(gateways.iter().map(|gateway| &gateway.address));
    let mut child = sure(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn());
    let stdin = child.stdin.take().expect("it is piped");
    let stdout = child.stdout.take().expect("it is piped");
    // Each line says that every client has had another answer.
    let (tell_lines, lines) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            // The test may have failed.
            let _ = tell_lines.send(sure(line));
        }
    });
    let seconds = std::env::var(SECONDS_VARIABLE).ok();
    let seconds = seconds.map(|text| sure(text.parse::<u64>()));
    let pulls = seconds.map_or(PULLS, |seconds| seconds / PULL_EVERY.as_secs());
    let progress = |scene: &mut crate::Scene| {
        while lines.try_recv().is_ok() {}
        // One may have been on its way; the next tells of answers that came after it.
        for _ in 0..2 {
            scene.until("answers for every redis-py client", |_| {
                lines.try_recv().ok()
            });
        }
    };
    progress(&mut scene);
    let mut next: Instant = clock::boot();
    for _ in 0..pulls {
        scene.until_moment(next);
        let (pair, killed) = scene.kill_one(|pair| &pair.primary);
        next = killed.plus(PULL_EVERY);
        progress(&mut scene);
        sure(scene.start(&pair.primary));
    }
    progress(&mut scene);
    // It ends when its input does.
    drop(stdin);
    let status = sure(child.wait());
    reading.join().expect("its lines were read");
    let last = lines.try_iter().last().unwrap_or_default();
    tell(format_args!("redis-py, {pulls} pulls: {last}"));
    assert!(status.success(), "{last}");
    scene.until_agreement();
}
