//! Replicas inside a program of one's own, and the typed client.

use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};
use standin::client::{Client, ClientConfig, MachineClient};
use standin::{BuildError, Context, Machine, RandomStream, Replica, Stop};
use standin_tools::cluster::{Cluster, ClusterConfig, VIEW_SERVICE};

use crate::support::{PATIENCE, sure};

/// The greatest number that was given, and how many were.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Record {
    greatest: i32,
    given: u64,
}

#[derive(Serialize, Deserialize)]
struct Give(i32);

impl Machine for Record {
    const NAME: &'static str = "record";
    const VERSION: u32 = 1;
    type Command = Give;
    type Query = ();
    type Reply = (i32, u64);

    fn apply(&mut self, _ctx: &mut Context<'_>, Give(number): Give) -> (i32, u64) {
        self.greatest = self.greatest.max(number);
        self.given += 1;
        (self.greatest, self.given)
    }

    fn query(&self, (): ()) -> (i32, u64) {
        (self.greatest, self.given)
    }

    fn draw_command(random: &mut RandomStream, _last: Option<&(i32, u64)>) -> Give {
        Give(i32::try_from(random.below(100)).unwrap_or(0))
    }

    fn draw_query(_random: &mut RandomStream) {}
}

/// A replica on a thread of its own.
struct Embedded {
    stop: Stop,
    thread: thread::JoinHandle<Result<(), BuildError>>,
}

impl Embedded {
    /// Starts it, and waits until it is ready.
    fn start(name: &'static str, cluster: &Cluster) -> Self {
        let stop = Stop::default();
        let data = cluster.directory().join(name);
        let services = sure(cluster.view_services()).as_slice().join(",");
        let (ready, is_ready) = mpsc::channel();
        let builder = Replica::builder()
            .machine::<Record>()
            .name(name)
            .listen("127.0.0.1:0")
            .viewservice(&services);
        let asked = stop.clone();
        let thread = thread::spawn(move || {
            let builder = builder.data(data).takes_signals(false).stop(&asked);
            let told = move |_| ready.send(()).unwrap_or_default();
            builder.on_ready(told).run()
        });
        sure(is_ready.recv_timeout(PATIENCE));
        Self { stop, thread }
    }

    fn stop(self) -> Result<(), BuildError> {
        self.stop.ask();
        self.thread.join().expect("it does not panic")
    }
}

#[test]
fn replicas_run_inside_a_program_and_one_stands_in_when_another_is_stopped() {
    let config = ClusterConfig::new(env!("CARGO_BIN_EXE_standin"));
    let mut cluster = sure(Cluster::new(config));
    sure(cluster.start(VIEW_SERVICE));
    let first = Embedded::start("a", &cluster);
    let second = Embedded::start("b", &cluster);
    sure(cluster.wait_for_pair(PATIENCE));

    let config = ClientConfig { timeout: PATIENCE };
    let client = sure(Client::new(sure(cluster.view_services()), config));
    let mut record = MachineClient::<Record>::new(client);
    assert_eq!(sure(record.command(&Give(7))), (7, 1));
    assert_eq!(sure(record.command(&Give(-3))), (7, 2));
    assert_eq!(sure(record.query(&())), (7, 2));

    sure(first.stop());
    assert_eq!(sure(record.command(&Give(9))), (9, 3));
    sure(record.into_client().close());
    sure(second.stop());
}

#[test]
fn one_that_was_asked_to_stop_before_it_began_does_not_serve() {
    let dir = sure(tempfile::tempdir());
    let stop = Stop::default();
    stop.ask();
    let builder = Replica::builder().machine::<Record>().name("a");
    let builder = builder.listen("127.0.0.1:0").viewservice("127.0.0.1:1");
    let builder = builder.data(dir.path().join("a")).takes_signals(false);
    let told = |_| panic!("nobody accepted it");
    sure(builder.stop(&stop).on_ready(told).run());
}

#[test]
fn what_is_missing_or_wrong_is_said_before_anything_is_begun() {
    let dir = sure(tempfile::tempdir());
    let data = dir.path().join("a");
    let begin = || Replica::builder().machine::<Record>();
    let whole = || {
        let builder = begin().name("a").listen("127.0.0.1:0").data(&data);
        builder.viewservice("127.0.0.1:1")
    };
    for (builder, words) in [
        (begin(), "a replica needs a name: call name before run"),
        (
            begin().name("a"),
            "a replica needs an address to listen on: call listen",
        ),
        (
            begin().name("a").listen("h:1"),
            "the view service's address: call viewservice",
        ),
        (whole().name("a b"), "'a b' is no name for a replica"),
        (whole().viewservice("nonsense"), "'nonsense'"),
        (whole().listen("127.0.0.1"), "cannot listen on 127.0.0.1"),
    ] {
        let error = builder.run().expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
        assert!(!data.exists(), "{words}");
    }
}

#[test]
fn a_client_of_another_machine_is_told_so() {
    let config = ClusterConfig::new(env!("CARGO_BIN_EXE_standin"));
    let mut cluster = sure(Cluster::new(config));
    sure(cluster.start_all(&["a", "b"]));
    let config = ClientConfig { timeout: PATIENCE };
    let client = sure(Client::new(sure(cluster.view_services()), config));
    let mut record = MachineClient::<Record>::new(client);
    let error = record
        .command(&Give(7))
        .expect_err("it is a counter")
        .to_string();
    assert!(
        error.contains("the machine refused: the counter knows"),
        "{error}"
    );
    let error = record.query(&()).expect_err("it is a counter").to_string();
    assert!(error.contains("machine"), "{error}");
}
