//! A cluster-aware client finds the primary by itself, whoever that is.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::python::python;
use crate::support::{sure, tell};
use crate::{Scene, address, start_with};

const LEASE: Duration = Duration::from_millis(500);
const FAILOVERS: usize = 3;
const REPLICAS: [&str; 3] = ["a", "b", "c"];

#[test]
fn redis_py_follows_three_failovers_by_itself() {
    let python = python();
    let mut scene = start_with("redis-py's RedisCluster", &REPLICAS, LEASE, &[]);
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/cluster.py"));
    command.args(REPLICAS.map(|name| address(&scene, name)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = sure(command.spawn());
    let stdin = child.stdin.take().expect("it is piped");
    let stdout = child.stdout.take().expect("it is piped");
    let (tell_lines, lines) = mpsc::channel();
    let reading = thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            // The test may have failed.
            let _ = tell_lines.send(sure(line));
        }
    });
    let progress = |scene: &mut Scene| {
        while lines.try_recv().is_ok() {}
        // One may have been on its way; the next tells of answers that came after it.
        for _ in 0..2 {
            scene.until("answers for redis-py", |_| match lines.try_recv() {
                Ok(line) => Some(line),
                Err(mpsc::TryRecvError::Empty) => None,
                Err(mpsc::TryRecvError::Disconnected) => panic!("the client has ended"),
            });
        }
    };
    progress(&mut scene);
    for _ in 0..FAILOVERS {
        let (pair, _) = scene.kill_one(|pair| &pair.primary);
        progress(&mut scene);
        sure(scene.start(&pair.primary));
    }
    progress(&mut scene);
    // It ends when its input does.
    drop(stdin);
    let status = sure(child.wait());
    reading.join().expect("its lines were read");
    let last = lines.try_iter().last().unwrap_or_default();
    tell(format_args!("RedisCluster, {FAILOVERS} failovers: {last}"));
    assert!(status.success(), "{last}");
    scene.until_agreement();
}
