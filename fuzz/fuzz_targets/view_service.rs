//! The view service stands whatever anybody says to it, and what it stores can be read again.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use standin_core::conn::ConnId;
use standin_core::identity::StoreId;
use standin_core::message::{
    Died, Force, ForceOutcome, JoinAsked, Kept, Lag, Message, Rebuild, Release, Report, Room, Swap,
    TokenDead, Witness,
};
use standin_core::time::{Duration, Instant, Now, WallTime};
use standin_core::view::{Member, ViewRecord};
use standin_fuzz::parties;
use standin_viewservice::{Action, Answer, Event, History, LeaseTerm, StoredState, ViewService};

const EVENTS_MAX: usize = 200;

struct World {
    service: ViewService,
    boot: Instant,
    /// A state on its way to the disk.
    storing: Option<StoredState>,
    /// Who reported last on each connection.
    reporter: Option<Report>,
}

impl World {
    fn new(is_rebuilding: bool) -> Self {
        let term = LeaseTerm::new(Duration::from_secs(1)).expect("within the limits");
        let boot = Instant::from_nanos(1_000_000_000);
        let service = match is_rebuilding {
            true => ViewService::rebuilding(term, boot, 5),
            false => ViewService::new(StoredState::new(parties::CLUSTER), term, boot),
        };
        Self {
            service,
            boot,
            storing: None,
            reporter: None,
        }
    }

    fn handle(&mut self, event: Event) {
        let wall = WallTime(self.boot.as_nanos());
        let boot = self.boot;
        let before = self.service.state().clone();
        self.service.handle(Now { boot, wall }, event);
        while let Some(action) = self.service.next_action() {
            match action {
                Action::Send { answer, .. } => self.check_answer(&answer),
                Action::Store { state } => {
                    assert!(self.storing.is_none(), "two stores at a time");
                    check_store(&before, &state);
                    self.storing = Some(state);
                }
                Action::Refuse { refusal, .. } => refusal.encode(&mut Vec::new()),
                Action::KeepHistory { history } => {
                    assert_eq!(History::decode(&history.encode()).as_ref(), Ok(&history));
                    let record = self.service.state().record.as_ref();
                    let newest = history.newest().map(|newest| newest.view);
                    assert_eq!(newest, record.map(ViewRecord::id));
                }
            }
        }
    }

    fn stored(&mut self) {
        if let Some(state) = self.storing.take() {
            self.handle(Event::Stored);
            assert_eq!(self.service.state(), &state, "it goes by what is durable");
        }
    }

    fn check_answer(&self, answer: &Answer) {
        let mut out = Vec::new();
        match answer {
            Answer::Report(reply) => {
                reply.encode(&mut out);
                assert_eq!(reply.record, self.service.state().record);
                if reply.granted {
                    let record = reply.record.as_ref().expect("a lease is of a view");
                    assert!(record.active, "a lease for a candidate");
                }
            }
            Answer::Swap(reply) => reply.encode(&mut out),
            Answer::TokenDead(reply) => reply.encode(&mut out),
            Answer::Died(reply) => reply.encode(&mut out),
            Answer::History(reply) => reply.encode(&mut out),
            Answer::Lookup(reply) => {
                reply.encode(&mut out);
                check_words(reply.primary.as_deref());
            }
            Answer::Status(reply) => {
                reply.encode(&mut out);
                check_words(reply.unavailable.as_deref());
                for replica in &reply.replicas {
                    check_words(Some(&replica.peer.address));
                    check_words(replica.trouble.as_deref());
                }
            }
            Answer::Force(reply) => {
                reply.encode(&mut out);
                let (ForceOutcome::Done { loss: words }
                | ForceOutcome::WouldLose { loss: words }
                | ForceOutcome::Refused { reason: words }) = &reply.outcome;
                check_words(Some(words));
            }
        }
    }
}

/// What is printed stays on its line.
fn check_words(words: Option<&str>) {
    let words = words.unwrap_or_default();
    assert!(!words.contains(char::is_control), "{words:?}");
}

fn check_store(before: &StoredState, after: &StoredState) {
    assert_eq!(StoredState::decode(&after.encode()).as_ref(), Ok(after));
    let view = |state: &StoredState| state.record.as_ref().map(ViewRecord::id);
    assert!(view(after) >= view(before), "the view fell");
    assert!(after.term_max_ms >= before.term_max_ms);
}

fn lag(input: &mut Unstructured<'_>) -> Result<Lag> {
    Ok(Lag {
        store: StoreId(input.arbitrary()?),
        unacknowledged_ms: input.arbitrary()?,
        unapplied_ms: input.arbitrary()?,
    })
}

fn report(input: &mut Unstructured<'_>, world: &World) -> Result<Report> {
    let address = match input.arbitrary::<u8>()? {
        0 => input.arbitrary()?,
        port => format!("h:{port}"),
    };
    let record = world.service.state().record.as_ref();
    Ok(Report {
        number: parties::number(input)?,
        identity: parties::identity(input)?,
        address,
        standing: parties::standing(input)?,
        renew: match input.arbitrary::<u8>()? % 4 {
            0 => None,
            1 => Some(parties::view(input)?),
            _ => record.map(ViewRecord::id),
        },
        replace: input.ratio(1, 8)?,
        trouble: match input.arbitrary::<u8>()? {
            0 => Some("é".repeat(600)),
            1..16 => Some(input.arbitrary()?),
            _ => None,
        },
        room: *input.choose(&[Room::Enough, Room::Lacking, Room::Out])?,
        lags: match input.arbitrary::<u8>()? {
            0 => vec![lag(input)?; 17],
            1..32 => vec![lag(input)?],
            _ => Vec::new(),
        },
        versions: None,
    })
}

fn swap(input: &mut Unstructured<'_>, world: &World) -> Result<Swap> {
    let identity = match (&world.reporter, input.ratio(3, 4)?) {
        (Some(report), true) => report.identity.clone(),
        _ => parties::identity(input)?,
    };
    let expected = match (&world.service.state().record, input.ratio(7, 8)?) {
        (Some(record), true) => record.clone(),
        _ => parties::record(input)?,
    };
    Ok(Swap {
        number: parties::number(input)?,
        proposed: parties::next_record(input, &expected, &identity)?,
        identity,
        expected,
    })
}

fn witness(input: &mut Unstructured<'_>, world: &World) -> Result<Witness> {
    let (identity, adopted) = match (&world.reporter, input.ratio(7, 8)?) {
        (Some(report), true) => (report.identity.clone(), report.standing.view),
        _ => (parties::identity(input)?, parties::view(input)?),
    };
    let mut record = parties::record(input)?;
    if input.ratio(7, 8)? {
        (record.data_epoch, record.view) = (adopted.data_epoch, adopted.view);
    }
    let joins = match input.ratio(1, 4)? {
        true => {
            let joins = parties::identity(input)?;
            vec![JoinAsked {
                name: joins.name,
                store: joins.store,
            }]
        }
        false => Vec::new(),
    };
    Ok(Witness {
        identity,
        adopted,
        kept: input.ratio(7, 8)?.then_some(Kept { record, joins }),
        holds: None,
        last: parties::tip(input)?,
    })
}

fn rebuild(input: &mut Unstructured<'_>) -> Result<Rebuild> {
    let mut replicas = Vec::new();
    while replicas.len() < 4 && input.ratio(3, 4)? {
        replicas.push(parties::identity(input)?.name);
    }
    Ok(Rebuild {
        replicas,
        primary: match input.arbitrary()? {
            true => Some(parties::identity(input)?.name),
            false => None,
        },
        accept_loss: input.arbitrary()?,
    })
}

fn step(input: &mut Unstructured<'_>, world: &mut World) -> Result<()> {
    let conn = ConnId(u64::from(input.arbitrary::<u8>()? % 8));
    let event = match input.arbitrary::<u8>()? % 16 {
        0..=4 => {
            let report = report(input, world)?;
            world.reporter = Some(report.clone());
            let report = Box::new(report);
            Event::Report { conn, report }
        }
        5..=7 => {
            let swap = Box::new(swap(input, world)?);
            Event::Swap { conn, swap }
        }
        8 => {
            let identity = parties::identity(input)?;
            let dead = TokenDead {
                store: identity.store,
                boot: identity.life.boot,
            };
            Event::TokenDead { conn, dead }
        }
        9 => {
            let record = world.service.state().record.as_ref();
            let release = Release {
                identity: parties::identity(input)?,
                view: record.map_or(parties::view(input)?, ViewRecord::id),
            };
            let release = Box::new(release);
            Event::Release { conn, release }
        }
        10 if input.ratio(1, 3)? => {
            let record = world.service.state().record.as_ref();
            let member = match record.filter(|_| input.ratio(1, 2).unwrap_or_default()) {
                Some(record) => record.primary.clone(),
                None => Member::of(&parties::identity(input)?),
            };
            let died = Died { member };
            Event::Died { conn, died }
        }
        10 => Event::Lookup { conn },
        11 if input.ratio(1, 3)? => Event::HistoryRequest { conn },
        11 => Event::StatusRequest { conn },
        12 if input.ratio(1, 3)? => {
            let force = Box::new(Force {
                primary: parties::identity(input)?.name,
                accept_loss: input.arbitrary()?,
            });
            Event::Force { conn, force }
        }
        12 if world.service.is_rebuilding() && input.ratio(2, 3)? => {
            let rebuild = Box::new(rebuild(input)?);
            Event::Rebuild { conn, rebuild }
        }
        13 if world.service.is_rebuilding() && input.ratio(2, 3)? => {
            let witness = Box::new(witness(input, world)?);
            Event::Witness { conn, witness }
        }
        12 => Event::Closed { conn },
        13 => {
            if let Some(at) = world.service.deadline() {
                world.boot = world.boot.max(at);
            }
            Event::Deadline
        }
        14 => {
            let elapsed = Duration::from_millis(input.arbitrary::<u16>()?.into());
            world.boot = world.boot.plus(elapsed);
            Event::Deadline
        }
        _ => {
            world.stored();
            return Ok(());
        }
    };
    world.handle(event);
    // The disk is mostly faster than whoever speaks next.
    if input.ratio(3, 4)? {
        world.stored();
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let Ok(is_rebuilding) = input.ratio(1, 4) else {
        return;
    };
    let mut world = World::new(is_rebuilding);
    for _ in 0..EVENTS_MAX {
        // The end of the input ends the story.
        if input.is_empty() || step(&mut input, &mut world).is_err() {
            return;
        }
    }
});
