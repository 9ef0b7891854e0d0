//! Replicas inside a program of one's own, and the typed client.

use std::fs;
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;

use serde::{Deserialize, Serialize};
use standin::client::{Client, ClientConfig, MachineClient};
use standin::{
    BuildError, Context, Durability, Machine, RandomStream, Replica, ReplicaBuilder, Stop,
};
use standin_core::identity::Token;
use standin_core::machine::typed::encode;
use standin_core::message::{ReplyStatus, StatusReply};
use standin_core::time::Duration;
use standin_core::view::{Holder, ViewRecord};
use standin_tools::cluster::{Cluster, ClusterConfig, VIEW_SERVICE};

use crate::support::raw::{Place, RawClient};
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
        Self::start_with::<Record>(name, cluster, |builder| builder)
    }

    /// The same, with more said of it.
    fn start_with<M: Machine>(
        name: &'static str,
        cluster: &Cluster,
        more: impl FnOnce(ReplicaBuilder<M>) -> ReplicaBuilder<M>,
    ) -> Self {
        let stop = Stop::default();
        let data = cluster.directory().join(name);
        let services = sure(cluster.view_services()).as_slice().join(",");
        let (ready, is_ready) = mpsc::channel();
        let builder = Replica::builder()
            .machine::<M>()
            .name(name)
            .listen("127.0.0.1:0")
            .viewservice(&services);
        let builder = more(builder);
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

/// A machine that executes a command to be held when it is let, on each replica.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Gate;

/// How often a command to be held was begun, and how often one may end: on all replicas of the one test that uses it.
struct Held {
    begun: u64,
    let_go: u64,
}

static HELD: Mutex<Held> = Mutex::new(Held {
    begun: 0,
    let_go: 0,
});
static HELD_CHANGED: Condvar = Condvar::new();

impl Held {
    fn until(is_so: impl Fn(&Self) -> bool) {
        let held = sure(HELD.lock());
        let waited = HELD_CHANGED.wait_timeout_while(held, PATIENCE, |held| !is_so(held));
        assert!(!sure(waited).1.timed_out());
    }

    fn change(change: impl FnOnce(&mut Self)) {
        let mut held = sure(HELD.lock());
        change(&mut held);
        drop(held);
        HELD_CHANGED.notify_all();
    }
}

impl Machine for Gate {
    const NAME: &'static str = "gate";
    const VERSION: u32 = 1;
    /// Whether it is to be held.
    type Command = bool;
    type Query = ();
    type Reply = ();

    fn apply(&mut self, _ctx: &mut Context<'_>, is_held: bool) {
        if is_held {
            let mut turn = 0;
            Held::change(|held| {
                held.begun += 1;
                turn = held.begun;
            });
            Held::until(|held| held.let_go >= turn);
        }
    }

    fn query(&self, (): ()) {}

    fn draw_command(_random: &mut RandomStream, _last: Option<&()>) -> bool {
        false
    }

    fn draw_query(_random: &mut RandomStream) {}
}

/// The backup is told that the first entry was applied together with the second entry. It acknowledges that one, though the
/// machine then takes as long with the first as the test likes.
#[test]
fn a_backup_acknowledges_what_came_before_it_applies_what_was_there() {
    /// What is told after a while without entries tells of the first entry before the second one is there, if that takes
    /// long to come. Then an answer that does not come means nothing.
    const TRIES: u64 = 8;
    const TRY: Duration = Duration::from_secs(2);
    let config = ClusterConfig {
        // A backup that hears nothing for so long is not to be dropped for it.
        lease: Duration::from_secs(60),
        ..ClusterConfig::new(env!("CARGO_BIN_EXE_standin"))
    };
    let mut cluster = sure(Cluster::new(config));
    sure(cluster.start(VIEW_SERVICE));
    let same = |builder: ReplicaBuilder<Gate>| builder;
    let first = Embedded::start_with("a", &cluster, same);
    let second = Embedded::start_with("b", &cluster, same);
    let status = sure(cluster.wait_for_pair(PATIENCE));
    let primary = &status.record.as_ref().expect("there is a pair").primary;
    let mut all = status.replicas.iter();
    let primary = all.find(|it| it.peer.identity.name == primary.name);
    let address = &primary.expect("it reports").peer.address;
    let mut clients = [RawClient::connect(address), RawClient::connect(address)];
    let places = clients.each_mut().map(|client| {
        let place = client.open_session();
        place.expect("it is the primary")
    });
    let mut is_acknowledged = false;
    for sequence in 1..=TRIES {
        let place = |at: usize| Place {
            sequence,
            ..places[at]
        };
        let [one, other] = &mut clients;
        let held = one.command(place(0), &encode::<Gate, _>(&true));
        let at_primary = 2 * sequence - 1;
        Held::until(|it| it.begun == at_primary);
        // It stands in the primary's socket before that goes on.
        let plain = other.command(place(1), &encode::<Gate, _>(&false));
        Held::change(|it| it.let_go = at_primary);
        let reply = other.reply(plain, TRY);
        Held::until(|it| it.begun == at_primary + 1);
        Held::change(|it| it.let_go = at_primary + 1);
        for (client, id) in [(one, held), (other, plain)] {
            let status = client.reply(id, PATIENCE).map(|reply| reply.status);
            assert_eq!(status, Some(ReplyStatus::Done));
        }
        is_acknowledged = reply.is_some();
        if is_acknowledged {
            break;
        }
    }
    assert!(is_acknowledged, "the backup waited for its machine");
    sure(second.stop());
    sure(first.stop());
}

#[test]
fn what_is_said_of_a_replica_is_what_it_does() {
    let config = ClusterConfig::new(env!("CARGO_BIN_EXE_standin"));
    let mut cluster = sure(Cluster::new(config));
    sure(cluster.start(VIEW_SERVICE));
    let first = Embedded::start_with("a", &cluster, |builder: ReplicaBuilder<Record>| {
        let builder = builder.durability(Durability::Disk).snapshot_every(4);
        builder.sessions_max(2)
    });
    // Nobody has to reach it there.
    let second = Embedded::start_with("b", &cluster, |builder: ReplicaBuilder<Record>| {
        builder.advertise("127.0.0.1:9")
    });
    let reached = |status: &StatusReply| {
        let mut all = status.replicas.iter();
        all.any(|it| it.peer.identity.name.as_str() == "b" && it.peer.address == "127.0.0.1:9")
    };
    sure(cluster.wait_for("the other address", PATIENCE, reached));

    let config = ClientConfig { timeout: PATIENCE };
    let client = sure(Client::new(sure(cluster.view_services()), config));
    let mut record = MachineClient::<Record>::new(client);
    for number in 1..=10 {
        sure(record.command(&Give(number)));
    }
    sure(record.into_client().close());
    let snapshots = cluster.directory().join("a/snapshots");
    let has_one = |_: &StatusReply| {
        let mut files = fs::read_dir(&snapshots).into_iter().flatten().flatten();
        files.any(|file| file.path().extension().is_some_and(|it| it == "snap"))
    };
    let status = sure(cluster.wait_for("a snapshot", PATIENCE, has_one));
    let holders = status.record.clone().expect("there is a view").holders;
    let mut first_address = status.replicas.iter();
    let first_address = first_address.find(|it| it.peer.identity.name.as_str() == "a");
    let first_address = &first_address.expect("it reports").peer.address;
    let mut client = RawClient::connect(first_address);
    for _ in 0..4 {
        let id = client.ask_for_session();
        client.reply(id, PATIENCE).expect("granted or refused");
    }
    let has_two = |_: &StatusReply| {
        let copy = standin::client::inspect(first_address, PATIENCE);
        copy.is_ok_and(|copy| copy.sessions == 2)
    };
    sure(cluster.wait_for("as many sessions as there may be", PATIENCE, has_two));
    let is_at_disk = |holder: &Holder| matches!(holder.token, Token::Disk { .. });
    assert!(holders.iter().all(is_at_disk), "{holders:?}");
    sure(second.stop());
    sure(first.stop());
}

#[test]
fn a_name_whose_data_is_lost_is_taken_over_only_if_that_is_said() {
    let config = ClusterConfig::new(env!("CARGO_BIN_EXE_standin"));
    let mut cluster = sure(Cluster::new(config));
    sure(cluster.start(VIEW_SERVICE));
    let first = Embedded::start("a", &cluster);
    let second = Embedded::start("b", &cluster);
    sure(cluster.wait_for_pair(PATIENCE));
    sure(first.stop());
    let is_alone = |status: &StatusReply| {
        let record = status.record.as_ref();
        let is_alone = |it: &ViewRecord| it.active && it.primary.name.as_str() == "b";
        let is_alone = record.is_some_and(|it| is_alone(it) && it.backup.is_none());
        // Nobody gives up a name that is in use.
        let mut all = status.replicas.iter();
        is_alone && !all.any(|it| it.peer.identity.name.as_str() == "a" && it.is_alive)
    };
    sure(cluster.wait_for("b alone", PATIENCE, is_alone));
    sure(fs::remove_dir_all(cluster.directory().join("a")));
    let services = sure(cluster.view_services()).as_slice().join(",");
    let builder = Replica::builder().machine::<Record>().name("a");
    let builder = builder.listen("127.0.0.1:0").viewservice(&services);
    let builder = builder.data(cluster.directory().join("a"));
    let refused = builder.takes_signals(false).run();
    let words = refused.expect_err("the name is taken").to_string();
    assert!(words.contains("--replace"), "{words}");
    let third = Embedded::start_with("a", &cluster, |builder: ReplicaBuilder<Record>| {
        builder.replace(true)
    });
    sure(cluster.wait_for_pair(PATIENCE));
    sure(third.stop());
    sure(second.stop());
}

#[test]
fn one_that_was_asked_to_stop_before_it_began_does_not_serve() {
    let dir = sure(tempfile::tempdir());
    let stop = Stop::default();
    stop.ask();
    let builder = Replica::builder().name("a").listen("127.0.0.1:0");
    let builder = builder.viewservice("127.0.0.1:1").stop(&stop);
    let builder = builder.data(dir.path().join("a")).takes_signals(false);
    let told = |_| panic!("nobody accepted it");
    // What was said before the machine was named holds as well.
    sure(builder.on_ready(told).machine::<Record>().run());
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
        (
            begin().name("a").listen("h:1").viewservice("h:2"),
            "a data directory: call data",
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
