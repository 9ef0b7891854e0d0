//! The frozen primary: SIGSTOP for three lease terms under load, a takeover, and SIGCONT. It wakes up
//! believing that it is still primary, with requests in its sockets that came while it was away.

use std::collections::BTreeMap;

use standin_client::Consistency;
use standin_core::identity::Durability;
use standin_core::message::{ReplyStatus, RoleName};
use standin_core::time::{Duration, Instant};
use standin_core::view::ViewNumber;
use standin_io::clock;

use crate::support::counter_history::{Kind, Operation, Outcome};
use crate::support::load::{Load, LoadConfig};
use crate::support::raw::{Place, RawClient, RawReply};
use crate::support::scene::{Pair, Scene, replica, role};
use crate::support::{PATIENCE, SLACK, ms, sure, tell};

const LEASE: Duration = Duration::from_millis(300);
/// How long the primary is frozen, in lease terms.
const TERMS_FROZEN: u32 = 3;
/// Rounds that may come to nothing for each that counts: the machine may be so busy that the backup is
/// dropped for its silence just before the primary is frozen, and then nobody may take over.
const VOID_ROUNDS: u32 = 4;
/// Connections with so much to read that the woken one serves its clients before it has read all that
/// came while it was away, and so before it can know that it was deposed.
const CROWD: usize = 128;
const NONSENSE_BYTES: usize = 48 << 10;
/// The number under which raw clients note what they saw.
const RAW: usize = 1000;

#[test]
fn a_frozen_primary_answers_nothing_wrong_when_it_wakes_up_and_rejoins() {
    run("two replicas, primary frozen", &["a", "b"], 20);
}

#[test]
fn with_a_spare_the_frozen_primary_comes_back_behind_it() {
    run("three replicas, primary frozen", &["a", "b", "c"], 8);
}

fn run(title: &str, replicas: &[&str], rounds: u32) {
    let mut scene = Scene::start(title, LEASE, Durability::Os, replicas);
    let load = scene.load(LoadConfig::default());
    let mut tally = Tally::default();
    let mut tried = 0;
    while tally.rounds < rounds {
        assert!(tried < rounds * VOID_ROUNDS, "{title}: no round counts");
        tried += 1;
        round(&mut scene, &load, &mut tally);
    }
    scene.audit(load);
    tell(format_args!(
        "{title}: {rounds} of {tried} rounds counted; longest wait {}; what the woken one answered: \
         {:?}",
        ms(tally.gap_max),
        tally.replies
    ));
}

/// What came of all rounds.
#[derive(Debug, Default)]
struct Tally {
    rounds: u32,
    gap_max: Duration,
    /// What the frozen replica answered after it woke up: how often, by what was asked.
    replies: BTreeMap<String, u32>,
}

/// One request that waits in the sockets of the frozen replica.
#[derive(Clone, Copy, Debug)]
struct Question {
    id: u64,
    what: What,
    invoked: Instant,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Read(Consistency),
    Add(Place),
}

/// A connection with requests that wait for their answers.
#[derive(Debug)]
struct Asker {
    client: RawClient,
    questions: Vec<Question>,
}

impl Asker {
    fn connect(address: &str) -> Self {
        Self {
            client: RawClient::connect(address),
            questions: Vec::new(),
        }
    }

    fn ask(&mut self, what: What) {
        let invoked = clock::boot();
        let id = match what {
            What::Read(consistency) => self.client.ask(consistency),
            What::Add(place) => self.client.add(place),
        };
        self.questions.push(Question { id, what, invoked });
    }

    /// Reads that must not be stale. The one by lease comes first: it need not wait for anybody, but
    /// behind a confirmed one it does.
    fn ask_for_the_newest(&mut self) {
        self.ask(What::Read(Consistency::Lease));
        self.ask(What::Read(Consistency::Confirmed));
    }
}

fn round(scene: &mut Scene, load: &Load, tally: &mut Tally) {
    let pair = scene.until_pair();
    scene.until_answers(load);
    let address = sure(scene.address(&pair.primary)).to_owned();
    let mut early = Asker::connect(&address);
    let Some(places) = open_two_sessions(&mut early.client) else {
        return; // it has lost its role meanwhile
    };

    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut client = RawClient::connect(&address);
        let id = client.ask(Consistency::Stale);
        assert!(
            client.reply(id, PATIENCE).is_some(),
            "every replica answers that"
        );
        crowd.push(client);
    }

    scene.freeze(&pair.primary);
    let frozen = clock::boot();
    early.ask(What::Add(places[0]));
    for client in &mut crowd {
        client.ask_nonsense(NONSENSE_BYTES);
    }
    let next = until_taken_over(scene, &pair);
    let mut late = Asker::connect(&address);
    if next.is_some() {
        // Adds are answered elsewhere by now, so whatever the frozen one has is old. What comes on
        // the first connection it reads first, before it hears that it was deposed.
        scene.until_answers(load);
        early.ask_for_the_newest();
        early.ask(What::Add(places[1]));
        late.ask_for_the_newest();
    }
    scene.until_moment(frozen.plus(LEASE * TERMS_FROZEN));
    sure(scene.resume(&pair.primary));

    for asker in [&mut early, &mut late] {
        for question in asker.questions.clone() {
            settle(scene, load, &mut asker.client, question, &mut tally.replies);
        }
    }
    let Some(next) = next else { return };
    until_rejoined(scene, &pair.primary, next);
    let gap = load.longest_wait(frozen);
    tell(format_args!(
        "primary {} frozen: longest wait {}",
        pair.primary,
        ms(gap)
    ));
    assert!(gap < LEASE + SLACK, "{gap:?}");
    tally.gap_max = tally.gap_max.max(gap);
    tally.rounds += 1;
}

/// The first places of two sessions; `None` if this is no primary.
fn open_two_sessions(client: &mut RawClient) -> Option<[Place; 2]> {
    Some([client.open_session()?, client.open_session()?])
}

/// Waits until another replica is primary, and returns its view; `None` if nobody can become it, or
/// the frozen one was not primary any more.
fn until_taken_over(scene: &mut Scene, pair: &Pair) -> Option<ViewNumber> {
    scene.until_record("the backup to take over", |record| {
        let is_frozen_primary = record.primary.name.as_str() == pair.primary;
        if !is_frozen_primary && record.active {
            return Some(Some(record.view));
        }
        let mut holders = record.holders.iter();
        let is_alone = holders.all(|holder| holder.name.as_str() == pair.primary);
        (is_frozen_primary && is_alone).then_some(None)
    })
}

/// Waits until the replica follows in the view that deposed it or in a later one.
fn until_rejoined(scene: &mut Scene, name: &str, view: ViewNumber) {
    scene.until_status("the woken one to rejoin", |status| {
        let standing = replica(status, name)?.standing?;
        let follows = matches!(role(status, name)?, RoleName::Backup | RoleName::Spare);
        let has_role = follows || role(status, name)? == RoleName::Primary;
        (standing.view.view >= view && has_role).then_some(())
    });
}

/// Takes the answer to what the frozen replica was asked, and notes it as part of the history.
fn settle(
    scene: &mut Scene,
    load: &Load,
    client: &mut RawClient,
    question: Question,
    replies: &mut BTreeMap<String, u32>,
) {
    let reply = client.reply(question.id, PATIENCE);
    assert!(
        reply.is_some() || client.is_closed(),
        "{question:?} was never answered"
    );
    let status = reply.as_ref().map(|reply| reply.status);
    let asked = match question.what {
        What::Read(consistency) => format!("{consistency:?} read"),
        What::Add(_) => "add".to_owned(),
    };
    let answered = status.map_or("closed".to_owned(), |status| format!("{status:?}"));
    *replies.entry(format!("{asked}: {answered}")).or_default() += 1;
    match (question.what, reply) {
        (What::Read(_), Some(reply)) => {
            if reply.value().is_some() {
                load.note(operation(Kind::Get, question.invoked, &reply));
            }
        }
        (What::Read(_), None) => {}
        (What::Add(place), reply) => {
            let repeated = repeat(scene, place);
            if let Some(value) = reply.and_then(|reply| reply.value()) {
                assert_eq!(
                    repeated.value(),
                    Some(value),
                    "the woken one answered an add that the service knows differently"
                );
            }
            load.note(operation(Kind::Add, question.invoked, &repeated));
        }
    }
}

/// Sends an add of a session again until it is done: the same one, wherever the primary is. If it was
/// executed before, this does not execute it again.
fn repeat(scene: &mut Scene, place: Place) -> RawReply {
    scene.until("a primary to answer an add sent again", |scene| {
        let record = scene.status().ok()?.record?;
        let address = sure(scene.address(record.primary.name.as_str())).to_owned();
        let mut client = RawClient::connect(&address);
        let id = client.add(place);
        let reply = client.reply(id, SLACK)?;
        let is_known = !matches!(
            reply.status,
            ReplyStatus::SessionUnknown
                | ReplyStatus::SequenceGap
                | ReplyStatus::SequenceAcknowledged
                | ReplyStatus::Refused
        );
        assert!(is_known, "{place:?}: {reply:?}");
        reply.value().is_some().then_some(reply)
    })
}

fn operation(kind: Kind, invoked: Instant, reply: &RawReply) -> Operation {
    let value = reply.value().expect("only answers are noted");
    Operation {
        client: RAW,
        kind,
        invoked,
        returned: reply.at,
        outcome: Outcome::Value(value, reply.seen.view),
    }
}
