//! [`ViewService`]: one event in, actions out.

mod admission;
mod death;
mod fatal;
mod forced;
mod lookups;
mod past;
mod poisoned;
mod rebuilding;
mod room;

use std::collections::VecDeque;

use standin_core::conn::ConnId;
use standin_core::identity::{CLEAN_LIVES_MAX, ClusterId, Identity};
use standin_core::message::{
    ADDRESS_BYTES_MAX, ForceOutcome, Peer, Poisoned, REPLICAS_MAX, Refusal, Release, Report,
    ReportReply, RoleName, Swap, SwapReply, TokenDead, TokenDeadReply,
};
#[cfg(feature = "planted-bugs")]
use standin_core::planted::Bug;
use standin_core::planted::Planted;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_core::view::{Member, Reason, ViewId, ViewRecord};

use crate::candidates::{best_candidate, can_be_handed_to, primary_restarted};
use crate::event::{Action, Answer, Event};
use crate::fatal::Fatalities;
use crate::history::History;
use crate::lease::{Grantor, LeaseTerm};
use crate::poison::Progress;
use crate::roster::{Roster, has_history};
use crate::status;
use crate::stored::StoredState;
use crate::waiting::{Request, WaitingLine};
use admission::Admission;
use lookups::Lookers;
use rebuilding::Testimony;

pub use lookups::LOOKERS_MAX;
pub use room::STORE_RETRY;

/// The view of an inactive record is moved on after this many lease terms.
const INACTIVE_TERMS_MAX: u32 = 2;

/// A state on its way to the disk, and what to answer when it is there.
#[derive(Clone, Debug)]
struct Storing {
    state: StoredState,
    cause: StoreCause,
}

#[derive(Clone, Debug)]
enum StoreCause {
    /// A report registers its replica, or starts the first view. `None`: its connection is gone.
    Report(Option<(ConnId, Box<Report>)>),
    /// A swap was accepted. `None`: its connection is gone.
    Swap(Option<(ConnId, u64)>),
    /// A token is dead. `None`: its connection is gone.
    TokenDead(Option<(ConnId, TokenDead)>),
    /// The machine of a replica failed at an entry.
    Poisoned(Box<Poisoned>),
    /// Processes of replicas died at an entry, which is to be skipped.
    Fatal,
    /// The view service deposes.
    Depose,
    /// It looks whether there is room again.
    Look,
    /// An operator forces a takeover, by which this is lost. `None`: its connection is gone.
    Force(Option<(ConnId, String)>),
    /// The lost record is made again, as this says. `None`: the operator's connection is gone.
    Rebuild(Option<(ConnId, String)>),
}

/// The decision core of the view service. See the crate's page for how to drive it.
#[derive(Clone, Debug)]
pub struct ViewService {
    /// The term of views that begin from now on; a running view keeps its own.
    term: LeaseTerm,
    /// What is durable. All that is said and granted rests on this alone.
    state: StoredState,
    /// What is being made durable. At most one at a time.
    storing: Option<Storing>,
    /// Requests that wait for the store in progress.
    ///
    /// Invariant: empty if nothing is being stored.
    waiting: WaitingLine,
    /// The disk had no room when something was to be stored last.
    no_room: Option<room::NoRoom>,
    /// Who has reported since the start.
    roster: Roster,
    /// What is granted, and from when on silence counts.
    grantor: Grantor,
    /// The record was lost, and is to be made again from what replicas tell.
    testimony: Option<Testimony>,
    /// That was done in the life of this process.
    was_rebuilt: bool,
    /// A cluster whose replicas knock, which is not this one's.
    strangers: Option<ClusterId>,
    /// How far the primary has come.
    progress: Progress,
    /// What replicas say of entries at which their processes died.
    fatalities: Fatalities,
    /// The primary that gave its lease back, and in which view.
    released: Option<(ViewId, Member)>,
    /// A primary that has died, as its parent process said, though it may not have reported yet since
    /// this process started.
    died: Option<Member>,
    /// Connections over which somebody asked who is primary.
    lookers: Lookers,
    /// The views that there were, for people.
    history: History,
    /// What is missing in it, in words.
    remark: Option<String>,
    /// When this process last granted a lease.
    served_at: Option<Instant>,
    /// Since when the record is as it is, counted from this process's start at the earliest.
    changed_at: Instant,
    /// When this process started.
    started_at: Instant,
    /// When the last event happened.
    now: Instant,
    planted: Planted,
    actions: VecDeque<Action>,
}

impl ViewService {
    /// A view service that starts with what was stored. A new view's lease lasts `term`.
    #[must_use]
    pub fn new(state: StoredState, term: LeaseTerm, now: Instant) -> Self {
        let granted_max = Duration::from_millis(u64::from(state.term_max_ms));
        let mut service = Self {
            term,
            state,
            storing: None,
            waiting: WaitingLine::default(),
            no_room: None,
            roster: Roster::default(),
            grantor: Grantor::new(now, granted_max.max(term.duration())),
            testimony: None,
            was_rebuilt: false,
            strangers: None,
            progress: Progress::default(),
            fatalities: Fatalities::default(),
            released: None,
            died: None,
            lookers: Lookers::default(),
            history: History::default(),
            remark: None,
            served_at: None,
            changed_at: now,
            started_at: now,
            now,
            planted: Planted::default(),
            actions: VecDeque::new(),
        };
        if service.state.record.is_some() {
            service.grantor.watch(now, service.view_term());
        }
        service
    }

    /// Plants a bug, right after the view service was made.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
        self.roster.planted = planted;
        if planted.has(Bug::DeposesAtStart) {
            self.grantor = Grantor::new(self.now, Duration::ZERO);
            self.grantor.watch(self.now, self.view_term());
        }
    }

    /// Takes one event, which happened at `now`.
    ///
    /// # Panics
    /// If actions of the event before are left, which is a bug of the driver.
    pub fn handle(&mut self, now: Now, event: Event) {
        assert!(
            self.actions.is_empty(),
            "actions are left: {:?}",
            self.actions
        );
        let now = Now {
            boot: now.boot.max(self.now),
            ..now
        };
        self.now = now.boot;
        self.grantor.observe(now.boot, self.view_term());
        match event {
            Event::Report { conn, report } => self.on_report(now, conn, report),
            Event::Swap { conn, swap } => self.on_swap(now, conn, swap),
            Event::Release { release, .. } => self.on_release(&release),
            Event::TokenDead { conn, dead } => self.on_token_dead(now, conn, dead),
            Event::Died { conn, died } => self.on_died(now, conn, died),
            Event::Poisoned { conn, poisoned } => self.on_poisoned(now, conn, poisoned),
            Event::Fatal { conn, fatal } => self.on_fatal(now, conn, fatal),
            Event::Witness { conn, witness } => self.on_witness(conn, witness),
            Event::Rebuild { conn, rebuild } => self.on_rebuild(now, conn, &rebuild),
            Event::Stranger { cluster } => self.strangers = Some(cluster),
            Event::Lookup { conn } => self.on_lookup(conn),
            Event::StatusRequest { conn } => self.on_status_request(now, conn),
            Event::HistoryRequest { conn } => self.on_history_request(conn),
            Event::Force { conn, force } => self.on_force(now, conn, force),
            Event::Closed { conn } => self.on_closed(conn),
            Event::Stored => self.on_stored(now),
            Event::NotStored { why } => self.on_not_stored(now, why),
            Event::Deadline => self.on_deadline(now),
        }
        self.depose_if_due(now);
        self.look_for_room();
    }

    /// The next thing to do; `None` once everything is said.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to hand in [`Event::Deadline`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let room = self.room_deadline();
        let Some(record) = &self.state.record else {
            return room;
        };
        let inactive_until = (!record.active)
            .then(|| self.inactive_until())
            .filter(|at| *at > self.now);
        earliest(
            room,
            earliest(self.grantor.deadline(self.now), inactive_until),
        )
    }

    /// What is durable.
    #[must_use]
    pub fn state(&self) -> &StoredState {
        &self.state
    }

    fn on_report(&mut self, now: Now, conn: ConnId, report: Box<Report>) {
        // The address is printed and dialled elsewhere, so it is held against what one can be.
        let is_sound = report.address.len() <= ADDRESS_BYTES_MAX
            && report.address.bytes().all(|byte| byte.is_ascii_graphic())
            && report.identity.clean_lives.len() <= CLEAN_LIVES_MAX
            && report.lags.len() <= REPLICAS_MAX;
        if !is_sound {
            return self.refuse(conn, Refusal::Protocol);
        }
        match self.admit(now, conn, &report) {
            Admission::Welcome => {}
            Admission::NotYet => return,
            Admission::Refused(refusal) => {
                if refusal == Refusal::TokenDead {
                    self.note_refused(conn, *report);
                }
                return self.refuse(conn, refusal);
            }
        }
        self.grantor.heard(now.boot, self.view_term());
        match self.state_with(now, &report) {
            None => self.answer_report(now, conn, *report),
            Some(_) if self.storing.is_some() => self.wait(now, conn, Request::Report(report)),
            Some(state) => self.store(state, StoreCause::Report(Some((conn, report)))),
        }
    }

    /// The state that an admitted report brings about, if it is another: a new name or store, the first
    /// view.
    fn state_with(&self, now: Now, report: &Report) -> Option<StoredState> {
        let identity = &report.identity;
        if self.is_rebuilding() {
            return None;
        }
        let mut histories = self.roster.iter().map(|replica| replica.has_history());
        if self.state.record.is_none()
            && (has_history(&report.standing) || histories.any(|has_history| has_history))
        {
            // There were views, and this service has forgotten them. It must not begin anew.
            return None;
        }
        let mut state = self.state.clone();
        if self.is_full() && state.store_of(&identity.name).is_none() {
            let forgotten = self.forgettable(now.boot);
            let forgotten = forgotten.expect("it was admitted since one gives way");
            state.replicas.retain(|replica| replica.name != *forgotten);
        }
        state.register(&identity.name, identity.store);
        if state.record.is_none() && report.standing.role != RoleName::Quarantined {
            let term_ms = self.term.millis();
            state.record = Some(ViewRecord::bootstrap(state.cluster, identity, term_ms));
        }
        (state != self.state).then_some(state)
    }

    fn answer_report(&mut self, now: Now, conn: ConnId, report: Report) {
        let granted = self.grants(&report);
        if granted {
            self.served_at = Some(now.boot);
            self.grantor.grant(now.boot, self.view_term());
        }
        let number = report.number;
        self.progress.note(self.state.record.as_ref(), &report);
        self.roster.note(report, conn, now.boot);
        let reply = self.report_reply(now, number, granted);
        self.send(conn, Answer::Report(reply));
    }

    /// Whether a renewal is granted: to the primary of the active view that it names, and no other.
    ///
    /// A lapsed lease is granted again as long as nobody else is primary.
    fn grants(&self, report: &Report) -> bool {
        let Some(record) = &self.state.record else {
            return false;
        };
        let storing = self
            .storing
            .as_ref()
            .and_then(|it| it.state.record.as_ref());
        // Once another primary is on its way to the disk, the present one gets no more time: it
        // would hold its lease while the other serves.
        let is_being_deposed = storing.is_some_and(|next| !next.active);
        record.active
            && report.renew == Some(record.id())
            && record.primary.is(&report.identity)
            && !is_being_deposed
            && !self.is_released(record)
            && !self.is_behind()
    }

    fn on_swap(&mut self, now: Now, conn: ConnId, swap: Box<Swap>) {
        if self.storing.is_some() {
            return self.wait(now, conn, Request::Swap(swap));
        }
        if self.accepts(&swap) {
            #[cfg(feature = "planted-bugs")]
            let swap = self.keeping_deposed(swap);
            let state = StoredState {
                record: Some(swap.proposed),
                ..self.state.clone()
            };
            self.store(state, StoreCause::Swap(Some((conn, swap.number))));
        } else {
            self.answer_swap(now, conn, swap.number, false);
        }
    }

    /// Leaves the holders as they are at Activate.
    #[cfg(feature = "planted-bugs")]
    fn keeping_deposed(&self, mut swap: Box<Swap>) -> Box<Swap> {
        if self.planted.has(Bug::DeposedKept) && swap.proposed.reason == Reason::Activated {
            swap.proposed.holders.clone_from(&swap.expected.holders);
        }
        swap
    }

    /// Whether a swap is one of the protocol's moves from the present record.
    ///
    /// Not who is alive decides, but the record alone: a swap that a dead primary sent, and that
    /// arrives before anybody took over, is as good as if it had come earlier. Only whom the view is
    /// handed over to must be there.
    fn accepts(&self, swap: &Swap) -> bool {
        let Some(current) = &self.state.record else {
            return false;
        };
        swap.expected == *current
            && current.check_move(&swap.proposed, &swap.identity).is_ok()
            && self.knows_joining(&swap.proposed)
            && self.can_follow(current, &swap.proposed)
            && !self.is_behind()
    }

    /// Whether a Join names a replica that the cluster knows. One whose name was given up while it
    /// followed, and could not report, is not known any more: as a holder it would have to be.
    fn knows_joining(&self, proposed: &ViewRecord) -> bool {
        proposed.reason != Reason::Joined
            || (proposed.holders.iter())
                .all(|holder| self.state.store_of(&holder.name) == Some(holder.token.store()))
    }

    /// Whether Hand over names a replica that can take over.
    fn can_follow(&self, current: &ViewRecord, proposed: &ViewRecord) -> bool {
        let at = (self.now, self.view_term());
        proposed.reason != Reason::HandedOver
            || can_be_handed_to(&self.state, current, proposed, &self.roster, at)
    }

    fn answer_swap(&mut self, now: Now, conn: ConnId, number: u64, accepted: bool) {
        let reply = SwapReply {
            number,
            accepted,
            record: self.state.record.clone(),
            wall: now.wall,
        };
        self.send(conn, Answer::Swap(reply));
    }

    fn on_release(&mut self, release: &Release) {
        let Some(record) = &self.state.record else {
            return;
        };
        if record.id() == release.view && record.primary.is(&release.identity) {
            self.released = Some((record.id(), record.primary.clone()));
        }
    }

    /// A replica's disk failed, and it could not even write that down. What it says is kept here, so that
    /// no later life counts as the holder that it was.
    fn on_token_dead(&mut self, now: Now, conn: ConnId, dead: TokenDead) {
        if self.storing.is_some() {
            return self.wait(now, conn, Request::TokenDead(dead));
        }
        let mut state = self.state.clone();
        state.add_dead(dead);
        #[cfg(feature = "planted-bugs")]
        if self.planted.has(Bug::DeadTokenForgotten) {
            state = self.state.clone();
        }
        if state == self.state {
            self.send(conn, Answer::TokenDead(TokenDeadReply { dead }));
        } else {
            self.store(state, StoreCause::TokenDead(Some((conn, dead))));
        }
    }

    /// How it fares.
    #[must_use]
    pub fn account(&self, now: Instant) -> status::ServiceAccount {
        status::account(&self.facts(now))
    }

    fn on_status_request(&mut self, now: Now, conn: ConnId) {
        let reply = status::reply(&self.facts(now.boot));
        self.send(conn, Answer::Status(reply));
    }

    fn facts(&self, now: Instant) -> status::Facts<'_> {
        let record = self.state.record.as_ref();
        status::Facts {
            state: &self.state,
            roster: &self.roster,
            grantor: &self.grantor,
            now,
            started_at: self.started_at,
            term_ms: self.view_term_ms(),
            is_behind: self.is_behind(),
            trouble: self.no_room.as_ref().map(room::NoRoom::words),
            is_rebuilding: self.is_rebuilding(),
            strangers: self.strangers,
            is_released: record.is_some_and(|record| self.is_released(record)),
            has_died: record.is_some_and(|record| self.has_died(record)),
            is_overdue: record.is_some_and(|record| !record.active && now >= self.inactive_until()),
        }
    }

    fn on_closed(&mut self, conn: ConnId) {
        self.lookers.forget(conn);
        self.roster.disconnect(conn);
        self.waiting.forget(conn);
        match self.storing.as_mut().map(|storing| &mut storing.cause) {
            Some(StoreCause::Report(asker)) if is_conn(asker, conn) => *asker = None,
            Some(StoreCause::Swap(asker)) if is_conn(asker, conn) => *asker = None,
            Some(StoreCause::TokenDead(asker)) if is_conn(asker, conn) => *asker = None,
            Some(StoreCause::Force(asker) | StoreCause::Rebuild(asker)) if is_conn(asker, conn) => {
                *asker = None;
            }
            Some(
                StoreCause::Report(_)
                | StoreCause::Swap(_)
                | StoreCause::TokenDead(_)
                | StoreCause::Poisoned(_)
                | StoreCause::Fatal
                | StoreCause::Depose
                | StoreCause::Look
                | StoreCause::Force(_)
                | StoreCause::Rebuild(_),
            )
            | None => {}
        }
    }

    fn on_stored(&mut self, now: Now) {
        let storing = self.storing.take().expect("something was being stored");
        self.no_room = None;
        let before = std::mem::replace(&mut self.state, storing.state);
        if matches!(storing.cause, StoreCause::Rebuild(_)) {
            self.end_rebuilding();
        }
        for replica in &before.replicas {
            if self.state.store_of(&replica.name).is_none() {
                self.roster.forget(&replica.name);
            }
        }
        let has_changed = before.record != self.state.record;
        if has_changed {
            self.on_record_changed(now, before.record.as_ref());
        }
        match storing.cause {
            StoreCause::Report(Some((conn, report))) => self.answer_report(now, conn, *report),
            StoreCause::Swap(Some((conn, number))) => self.answer_swap(now, conn, number, true),
            StoreCause::TokenDead(Some((conn, dead))) => {
                self.send(conn, Answer::TokenDead(TokenDeadReply { dead }));
            }
            StoreCause::Poisoned(poisoned) => self.end_poisoned(&poisoned),
            StoreCause::Force(Some((conn, loss))) | StoreCause::Rebuild(Some((conn, loss))) => {
                self.answer_force(conn, ForceOutcome::Done { loss });
            }
            StoreCause::Report(None)
            | StoreCause::Swap(None)
            | StoreCause::TokenDead(None)
            | StoreCause::Fatal
            | StoreCause::Depose
            | StoreCause::Look
            | StoreCause::Force(None)
            | StoreCause::Rebuild(None) => {}
        }
        if has_changed {
            self.push(now);
            self.tell_lookers(before.record.as_ref());
            self.keep_history();
        }
        self.go_on_waiting(now);
    }

    /// Takes up what has waited for a store.
    fn go_on_waiting(&mut self, now: Now) {
        while self.storing.is_none()
            && let Some((conn, request)) = self.waiting.pop()
        {
            match request {
                Request::Report(report) => self.on_report(now, conn, report),
                Request::Swap(swap) => self.on_swap(now, conn, swap),
                Request::TokenDead(dead) => self.on_token_dead(now, conn, dead),
                Request::Force(force) => self.on_force(now, conn, force),
                Request::Poisoned(poisoned) => self.on_poisoned(now, conn, poisoned),
                Request::Fatal(fatal) => self.on_fatal(now, conn, fatal),
            }
        }
    }

    fn on_record_changed(&mut self, now: Now, before: Option<&ViewRecord>) {
        self.note_view(now, before);
        let term = self.view_term();
        let record = self
            .state
            .record
            .as_ref()
            .expect("a record is never removed");
        if !record.active {
            // Another primary, who was granted nothing yet.
            self.grantor.start_over();
        } else if before.is_some_and(|before| !before.active) {
            // Activate counts as a renewal. After Join and Drop the lease goes on as it is.
            self.served_at = Some(now.boot);
            self.grantor.grant(now.boot, term);
        }
        match record.reason {
            Reason::Joined => self.roster.vouch(record),
            Reason::Forced => self.roster.accept(&record.primary.name),
            _ => {}
        }
        self.changed_at = now.boot;
        self.grantor.watch(now.boot, term);
    }

    fn on_deadline(&mut self, now: Now) {
        if self.state.record.is_some() {
            self.grantor.watch(now.boot, self.view_term());
        }
    }

    fn depose_if_due(&mut self, now: Now) {
        if self.storing.is_some() {
            return;
        }
        let Some(record) = &self.state.record else {
            return;
        };
        let Some(reason) = self.depose_reason(now.boot, record) else {
            return;
        };
        let at = (now.boot, self.view_term());
        let Some(candidate) = best_candidate(&self.state, record, &self.roster, at) else {
            return;
        };
        let next = ViewRecord {
            term_ms: self.term.millis(),
            ..self.deposed(record, &candidate.identity, reason)
        };
        let mut state = self.state.clone();
        state.grant_skips(next, &self.progress, self.planted);
        self.store(state, StoreCause::Depose);
    }

    fn deposed(&self, record: &ViewRecord, candidate: &Identity, reason: Reason) -> ViewRecord {
        #[cfg(feature = "planted-bugs")]
        if self.planted.has(Bug::NonHolderPromoted) || self.planted.has(Bug::RestartedPromoted) {
            return record.depose_to_anybody(candidate, reason);
        }
        record.depose(candidate, reason)
    }

    /// Why the present primary should go, if it should: proof first, silence after.
    fn depose_reason(&self, now: Instant, record: &ViewRecord) -> Option<Reason> {
        if self.is_behind() {
            None
        } else if primary_restarted(record, &self.roster).is_some() {
            Some(Reason::PrimaryRestarted)
        } else if self.has_died(record) {
            Some(Reason::Died)
        } else if self.is_released(record) {
            Some(Reason::Released)
        } else if !self.grantor.is_out(now, self.view_term()) {
            None
        } else if record.active {
            Some(Reason::LeaseExpired)
        } else {
            (now >= self.inactive_until()).then_some(Reason::NotActivated)
        }
    }

    /// Until when the candidate of an inactive view may take.
    fn inactive_until(&self) -> Instant {
        self.changed_at.plus(self.view_term() * INACTIVE_TERMS_MAX)
    }

    /// Whether this view's primary gave its lease back. It answers nothing more, whatever it says.
    fn is_released(&self, record: &ViewRecord) -> bool {
        self.released
            .as_ref()
            .is_some_and(|(view, member)| *view == record.id() && *member == record.primary)
    }

    /// Whether a replica has seen a later view than the record's: then the data directory is an old
    /// copy, and what it would decide was decided otherwise before.
    fn is_behind(&self) -> bool {
        let current = self.state.record.as_ref().map(ViewRecord::id);
        current.is_some_and(|current| {
            let mut replicas = self.roster.iter();
            replicas.any(|replica| replica.standing.view > current)
        })
    }

    fn view_term_ms(&self) -> u32 {
        let record = self.state.record.as_ref();
        record.map_or(self.term.millis(), |record| record.term_ms)
    }

    /// The lease term of the present view.
    fn view_term(&self) -> Duration {
        Duration::from_millis(u64::from(self.view_term_ms()))
    }

    fn report_reply(&self, now: Now, number: u64, granted: bool) -> ReportReply {
        ReportReply {
            number,
            record: self.state.record.clone(),
            granted,
            wall: now.wall,
            peers: self.peers(now.boot),
        }
    }

    /// All replicas. Who has not reported to this process is unseen since it began: a primary whose
    /// backup is cut off from here must hear of it though this process never saw that backup.
    fn peers(&self, now: Instant) -> Vec<Peer> {
        let unseen = now.since(self.started_at);
        let unreported = status::unreported(&self.state, &self.roster, unseen);
        let reported = self.roster.iter().map(|replica| replica.peer(now));
        reported.chain(unreported).collect()
    }

    /// Tells every connected replica what the record is now.
    fn push(&mut self, now: Now) {
        let news = self.report_reply(now, 0, false);
        let conns: Vec<ConnId> = self
            .roster
            .iter()
            .filter_map(|replica| replica.conn)
            .collect();
        for conn in conns {
            self.send(conn, Answer::Report(news.clone()));
        }
    }

    fn store(&mut self, mut state: StoredState, cause: StoreCause) {
        assert!(self.storing.is_none(), "one store at a time");
        if self.waits_for_room() {
            return self.give_up_storing(cause);
        }
        if let Some(record) = &state.record {
            // Durable before anything is granted for that long.
            state.term_max_ms = state.term_max_ms.max(record.term_ms);
        }
        state.note_service();
        self.actions.push_back(Action::Store {
            state: state.clone(),
        });
        self.storing = Some(Storing { state, cause });
    }

    /// Keeps a request until the store in progress is done. A swap that is turned away is answered:
    /// it will never take effect. The rest is simply said again.
    fn wait(&mut self, now: Now, conn: ConnId, request: Request) {
        match self.waiting.push(conn, request) {
            Some(Request::Swap(swap)) => self.answer_swap(now, conn, swap.number, false),
            Some(Request::Force(_)) => {
                let reason = "the view service has too much to do; try again".to_owned();
                self.answer_force(conn, ForceOutcome::Refused { reason });
            }
            Some(
                Request::Report(_)
                | Request::TokenDead(_)
                | Request::Poisoned(_)
                | Request::Fatal(_),
            )
            | None => {}
        }
    }

    fn send(&mut self, conn: ConnId, answer: Answer) {
        self.actions.push_back(Action::Send { conn, answer });
    }

    fn refuse(&mut self, conn: ConnId, refusal: Refusal) {
        self.on_closed(conn);
        self.actions.push_back(Action::Refuse { conn, refusal });
    }
}

fn is_conn<T>(asker: &Option<(ConnId, T)>, conn: ConnId) -> bool {
    asker.as_ref().is_some_and(|(asker, _)| *asker == conn)
}
