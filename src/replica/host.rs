//! The event loop: events in, actions out.

mod link;
mod room;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::frame::FrameKind;
use standin_core::identity::Token;
use standin_core::machine::StateMachine;
use standin_core::message::{
    Kept, Party, Refusal, Reply, ReplyStatus, SnapshotOffer, SnapshotPiece, TokenDead,
    encode_replies,
};
use standin_core::poison::Poison;
use standin_core::time::{Duration, Instant, Now, earliest};
use standin_core::view::ViewId;
use standin_io::clock;
use standin_io::data_dir::DataDir;
use standin_io::log::{LogError, SegmentLog};
use standin_io::log_thread::{LogDone, LogThread};
use standin_io::mark::MarkFile;
use standin_io::net::{CloseReason, Net, NetEvent};
use standin_io::snapshots::Snapshots;
use standin_replica::{Action, Answers, Destination, Event, Level, ReadFor, Replica, Side};

pub(super) use link::ViewServiceLink;
use room::room_of;

use super::http::Http;
use super::images::{Imaged, Images};
use super::intake::{BYTES_PER_PEER, FRAMES_PER_PEER, Intake};
use super::resp::Resp;
use super::{ReplicaError, last_words};

/// How long a connection to the view service or to a primary may take to come about.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a clean stop waits for its last messages to leave.
const STOP_LINGER: Duration = Duration::from_millis(500);

/// What happened while actions were carried out.
#[derive(Debug)]
enum FollowUp {
    Written(Index),
    Synced(Index),
    /// What may be appended has come to be more or less.
    Room,
    LogRead(ReadFor, Vec<u8>),
    Cut(LogTip),
    Adopted(ViewId),
    PoisonNoted,
    FetchBegun(u64),
    /// What was fetched of the snapshot as of this entry is of no use.
    Unfetched(Index),
    Forgotten(LogTip),
    Install(Box<SnapshotOffer>),
}

/// A running replica.
#[derive(Debug)]
pub(super) struct Host<M> {
    replica: Replica<M>,
    net: Net,
    viewservice: ViewServiceLink,
    /// The connection to the primary that is followed.
    dial: Option<ConnId>,
    /// Connections that others made, by what they are.
    accepted: BTreeMap<ConnId, Party>,
    dir: DataDir,
    log: SegmentLog,
    log_thread: LogThread,
    images: Images<M>,
    /// Clients that speak RESP, if they may.
    resp: Option<Resp<M>>,
    /// Whoever asks by HTTP how this replica fares, if that is served.
    http: Option<Http>,
    follow_ups: VecDeque<FollowUp>,
    /// How many requests came together the last time that any did: the next will be about as many.
    requests_last: usize,
    answers: Answers,
    /// What the disk said when there was no room for the next segment.
    no_room: Option<String>,
    /// When that is tried again.
    room_retry_at: Option<Instant>,
    /// What the core was told of the room: which segment is in use, whether the next is ready, and whether there was none.
    room_told: (Index, bool, bool),
    /// Which entry the machine is executing, where the next life finds it.
    mark: Option<Arc<MarkFile>>,
    /// It was told to stop, and hands over first. Told again, it stops at once.
    is_leaving: bool,
    is_stopping: bool,
}

impl<M: StateMachine> Host<M> {
    pub(super) fn new(
        replica: Replica<M>,
        net: Net,
        viewservice: ViewServiceLink,
        dir: DataDir,
        log: SegmentLog,
        snapshots: Snapshots,
        mark: Option<Arc<MarkFile>>,
    ) -> Result<Self, ReplicaError> {
        let waker = net.waker();
        let images = Images::start(snapshots, move || {
            let _ = waker.wake(); // as below
        })?;
        let waker = net.waker();
        let log_thread = LogThread::start(move || {
            // It fails only if the loop is gone, and then nobody needs to be woken.
            let _ = waker.wake();
        });
        Ok(Self {
            replica,
            net,
            viewservice,
            dial: None,
            accepted: BTreeMap::new(),
            dir,
            log,
            log_thread,
            images,
            resp: None,
            http: None,
            follow_ups: VecDeque::from([FollowUp::Room]),
            requests_last: 0,
            answers: Answers::default(),
            no_room: None,
            // What is left of the segment in use may be too little already.
            room_retry_at: Some(clock::boot()),
            room_told: (Index::ZERO, false, false),
            mark,
            is_leaving: false,
            is_stopping: false,
        })
    }

    /// Serves clients that speak RESP as well.
    pub(super) fn serve_resp(&mut self, resp: Resp<M>) {
        self.resp = Some(resp);
    }

    /// Tells those who ask by HTTP how it fares.
    pub(super) fn serve_http(&mut self, http: Http) {
        http.answers();
        self.http = Some(http);
    }

    /// Runs until it is told to stop or cannot go on. `on_ready` is called once the view service has
    /// accepted this replica.
    pub(super) fn run(mut self, on_ready: impl FnOnce()) -> Result<(), ReplicaError> {
        let result = self.serve(on_ready);
        result.map_err(|error| self.give_up(error))
    }

    /// The last words of a replica that cannot go on. If its disk failed, that is on disk before it
    /// ends, or else the view service keeps it, which in any case need not wait for its lease to run out.
    fn give_up(mut self, error: ReplicaError) -> ReplicaError {
        if let Some(http) = &self.http {
            http.ends();
        }
        if !error.is_of_disk() {
            // A process before this one may have had to leave it to the view service.
            return error.noted(&mut self.dir);
        }
        let error = error.noted(&mut self.dir);
        // What it was about to do and to say rests on a disk that failed.
        while self.replica.next_action().is_some() {}
        self.replica.handle(clock::read(), Event::Stop);
        while let Some(action) = self.replica.next_action() {
            if let (Action::Release(_), Some(destination)) = (&action, action.destination()) {
                self.send(destination, &action);
            }
        }
        // It ends in any case, for the reason that is known.
        let _ = self.linger(Vec::new(), |host| {
            let conn = host.viewservice.conn;
            conn.is_some_and(|conn| host.net.output_bytes(conn) > 0)
        });
        let others = self.accepted.keys().chain(&self.dial);
        for conn in others.chain(&self.viewservice.conn) {
            self.net.close(*conn);
        }
        self.viewservice.closed(clock::boot());
        match self.dir.meta().life {
            Some(life) => {
                let dead = TokenDead {
                    store: self.dir.meta().store,
                    boot: life.boot,
                };
                last_words::told(error, dead, &mut self.net, &mut self.viewservice)
            }
            None => error,
        }
    }

    fn serve(&mut self, on_ready: impl FnOnce()) -> Result<(), ReplicaError> {
        let mut on_ready = Some(on_ready);
        let mut events = Vec::new();
        let mut clients = Vec::new();
        while !self.is_stopping {
            self.viewservice
                .keep(&mut self.net, clock::boot(), CONNECT_TIMEOUT);
            self.net.pause_client_input(!self.replica.has_room());
            let deadline = earliest(self.replica.deadline(), self.viewservice.deadline());
            let deadline = earliest(deadline, self.room_retry_at);
            let has_room = self.replica.has_room();
            let resp_deadline = self.resp.as_ref().and_then(|resp| resp.deadline(has_room));
            let deadline = earliest(deadline, resp_deadline);
            let polled = self.net.poll(deadline, &mut events);
            let now = polled.map_err(ReplicaError::io("waiting for events"))?;
            for event in events.drain(..) {
                self.on_net_event(now, event, &mut clients)?;
            }
            self.serve_clients(now, &mut clients)?;
            // After the input: what came while this process did not run has come in time.
            if self.replica.deadline().is_some_and(|at| now.boot >= at) {
                self.handle(now, Event::Deadline)?;
            }
            if self.room_retry_at.is_some_and(|at| now.boot >= at) {
                self.retry_room(now)?;
            }
            self.handle(now, Event::Flush)?;
            self.net.flush_all_but_clients();
            self.handle(now, Event::Apply)?;
            self.note_version()?;
            if let Some(resp) = &mut self.resp {
                resp.settle(&self.replica, &mut self.net, now);
            }
            if self.replica.has_left() {
                self.begin_stop(now)?;
            }
            if self.viewservice.is_accepted
                && let Some(on_ready) = on_ready.take()
            {
                on_ready();
            }
        }
        self.stop(events)
    }

    fn begin_stop(&mut self, now: Now) -> Result<(), ReplicaError> {
        if std::mem::replace(&mut self.is_stopping, true) {
            return Ok(());
        }
        self.handle(now, Event::Stop)
    }

    /// A clean stop: what was said leaves, the log is synced, and a mark says so, so that what this
    /// life acknowledged still counts in the next.
    fn stop(&mut self, events: Vec<NetEvent>) -> Result<(), ReplicaError> {
        self.linger(events, Self::has_unsent)?;
        self.log.sync_now()?;
        self.dir
            .note_clean_stop()
            .map_err(ReplicaError::meta("noting the clean stop"))
    }

    /// Waits, not for long, until what was said has left.
    fn linger(
        &mut self,
        mut events: Vec<NetEvent>,
        is_unsent: impl Fn(&Self) -> bool,
    ) -> Result<(), ReplicaError> {
        let end = clock::boot().plus(STOP_LINGER);
        while is_unsent(self) && clock::boot() < end {
            self.net
                .poll(Some(end), &mut events)
                .map_err(ReplicaError::io("waiting for events"))?;
        }
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        let conns = self.accepted.keys().chain(&self.viewservice.conn);
        let clients = self.resp.iter().flat_map(Resp::conns);
        conns
            .chain(clients)
            .into_iter()
            .any(|conn| self.net.output_bytes(*conn) > 0)
    }

    // Events.

    fn handle(&mut self, now: Now, event: Event<'_>) -> Result<(), ReplicaError> {
        self.replica.handle(now, event);
        self.carry_out(now)
    }

    fn on_net_event(
        &mut self,
        now: Now,
        event: NetEvent,
        clients: &mut Vec<ConnId>,
    ) -> Result<(), ReplicaError> {
        match event {
            NetEvent::Ready { conn, hello, .. } if self.viewservice.is(conn) => {
                if hello.party != Party::ViewService {
                    let link = &mut self.viewservice;
                    return link.misled(&mut self.net, hello.party, now.boot);
                }
                self.handle(now, Event::ViewServiceUp)
            }
            NetEvent::Ready { conn, .. } if self.dial == Some(conn) => {
                self.handle(now, Event::Dialled(conn))
            }
            // The view service is called, and calls nobody.
            NetEvent::Ready { conn, hello, .. } if hello.party == Party::ViewService => {
                self.net.refuse(conn, Refusal::Protocol);
                Ok(())
            }
            NetEvent::Ready { conn, hello, .. } => {
                self.accepted.insert(conn, hello.party);
                Ok(())
            }
            NetEvent::Input { conn } => {
                if self.accepted.get(&conn) == Some(&Party::Client) {
                    clients.push(conn);
                    return Ok(());
                }
                if let Some(resp) = self.resp.as_mut().filter(|_| self.net.is_plain(conn)) {
                    resp.heard(conn);
                    return Ok(());
                }
                self.on_peer_input(now, conn)
            }
            NetEvent::Closed { conn, reason } => self.on_closed(now, conn, &reason),
            NetEvent::Woken => self.on_woken(now),
            NetEvent::Signal(_) if self.is_leaving => self.begin_stop(now),
            NetEvent::Signal(_) => {
                self.is_leaving = true;
                self.handle(now, Event::Leave)
            }
        }
    }

    fn on_closed(
        &mut self,
        now: Now,
        conn: ConnId,
        reason: &CloseReason,
    ) -> Result<(), ReplicaError> {
        if self.viewservice.is(conn) {
            self.viewservice.check_refusal(reason)?;
            self.viewservice.lost(reason, now.boot);
            return self.handle(now, Event::ViewServiceDown);
        }
        if self.dial == Some(conn) {
            self.dial = None;
            return match reason {
                CloseReason::RefusedByPeer(refusal) => {
                    self.handle(now, Event::DialRefused(refusal))
                }
                _ => self.handle(now, Event::DialClosed),
            };
        }
        if self.resp.as_mut().is_some_and(|resp| resp.closed(conn)) {
            return Ok(());
        }
        if self.accepted.remove(&conn) == Some(Party::Replica) {
            return self.handle(now, Event::Closed(conn));
        }
        Ok(())
    }

    fn on_woken(&mut self, now: Now) -> Result<(), ReplicaError> {
        if let Some(http) = &self.http {
            http.tell(|| self.replica.account(now));
        }
        while let Some(done) = self.images.poll()? {
            match done {
                Imaged::Taken(kept) => self.handle(now, Event::SnapshotTaken(kept))?,
                Imaged::NotTaken(why) => self.handle(now, Event::SnapshotFailed(&why))?,
                Imaged::Digested(digest) => self.handle(now, Event::Digested(digest))?,
                Imaged::Checked(index, is_whole) => {
                    self.handle(now, Event::Fetched(index, is_whole))?;
                }
            }
        }
        while let Some(done) = self.log_thread.poll() {
            match done? {
                LogDone::Synced { through } => self.handle(now, Event::Synced(through))?,
                LogDone::Prepared { segment } => {
                    self.log.take_prepared(segment);
                    self.dir.keep_ballast();
                    self.tell_room(now)?;
                }
                LogDone::NoRoom { error } => {
                    let error = self.log.lack_room(error)?;
                    self.lack_room(now, error);
                    self.tell_room(now)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Hands over the input of all clients at once, within bounds: it becomes one batch.
    fn serve_clients(&mut self, now: Now, conns: &mut Vec<ConnId>) -> Result<(), ReplicaError> {
        if let Some(resp) = &mut self.resp {
            resp.take(&self.replica, &mut self.net, now);
        }
        let from_resp = self.resp.as_ref().map_or(0, |resp| resp.requests().len());
        let expected = match conns.is_empty() && from_resp == 0 {
            true => 0,
            false => self.requests_last.max(from_resp),
        };
        let mut intake = Intake::of(&self.net, conns, expected);
        conns.clear();
        if let Some(resp) = &self.resp {
            intake.requests.extend(resp.requests());
        }
        if intake.is_empty() {
            return Ok(());
        }
        self.requests_last = intake.requests.len();
        self.replica.handle(now, Event::Requests(&intake.requests));
        let Intake {
            asked,
            switchovers,
            taken,
            ..
        } = intake;
        for part in taken {
            self.net.consume(part.conn, part.bytes);
            if !part.is_good {
                self.net.refuse(part.conn, Refusal::Protocol);
            }
        }
        self.carry_out(now)?;
        for conn in asked {
            self.handle(now, Event::Inspect(conn))?;
        }
        for (conn, wanted) in switchovers {
            self.handle(now, Event::Switchover(conn, &wanted))?;
        }
        Ok(())
    }

    /// Takes the frames of the view service or another replica one by one, up to a bound.
    fn on_peer_input(&mut self, now: Now, conn: ConnId) -> Result<(), ReplicaError> {
        let mut taken = 0;
        for _ in 0..FRAMES_PER_PEER {
            let Some(frame) = self.net.frames(conn).next() else {
                return Ok(());
            };
            let bytes = frame.len();
            taken += bytes;
            let side = if self.viewservice.is(conn) {
                Side::ViewService
            } else if self.dial == Some(conn) {
                Side::Primary
            } else {
                Side::Follower
            };
            let is_answer = side == Side::ViewService && frame.kind == FrameKind::ReportReply;
            let is_good = self.replica.handle_frame(now, side, conn, &frame);
            self.net.consume(conn, bytes);
            match is_good {
                Ok(()) => {
                    if is_answer {
                        self.viewservice.answered();
                    }
                    self.carry_out(now)?;
                }
                Err(_) => self.net.refuse(conn, Refusal::Protocol),
            }
            if taken >= BYTES_PER_PEER {
                break;
            }
        }
        Ok(())
    }

    // Actions.

    /// Carries out all actions, and what comes of them, until there is nothing left.
    fn carry_out(&mut self, now: Now) -> Result<(), ReplicaError> {
        loop {
            while let Some(action) = self.replica.next_action() {
                self.carry_out_one(now, action)?;
            }
            self.send_answers();
            let Some(follow_up) = self.follow_ups.pop_front() else {
                return Ok(());
            };
            let event = match follow_up {
                FollowUp::Written(through) => Event::Written(through),
                FollowUp::Synced(through) => Event::Synced(through),
                FollowUp::Room => {
                    let room = room_of(&self.log);
                    self.replica
                        .handle(now, Event::Room(room, self.no_room.as_deref()));
                    continue;
                }
                FollowUp::LogRead(read, bytes) => Event::LogRead(read, bytes),
                FollowUp::Cut(tip) => Event::Cut(tip),
                FollowUp::Adopted(view) => Event::Adopted(view),
                FollowUp::PoisonNoted => Event::PoisonNoted,
                FollowUp::FetchBegun(have) => Event::FetchBegun(have),
                FollowUp::Unfetched(index) => Event::Fetched(index, false),
                FollowUp::Forgotten(base) => Event::Forgotten(base),
                FollowUp::Install(offer) => {
                    let covered = self.replica.standing().commit;
                    if covered == Index::ZERO {
                        // The log is of another data epoch, and so is this.
                        self.images.set_evidence_aside(self.dir.path());
                    }
                    let state = self.images.install(&mut self.log, &offer, covered)?;
                    self.replica.install(now, state, &offer);
                    self.begin_room(now);
                    continue;
                }
            };
            self.replica.handle(now, event);
        }
    }

    fn carry_out_one(&mut self, now: Now, action: Action) -> Result<(), ReplicaError> {
        if let Some(destination) = action.destination() {
            self.send(destination, &action);
            return Ok(());
        }
        match action {
            Action::RedialViewService => {
                if let Some(conn) = self.viewservice.conn {
                    self.net.close(conn);
                }
            }
            Action::Adopt(view, holds, kept) => self.adopt(view, holds, kept)?,
            Action::NotePoison(poison) => self.note_poison(poison)?,
            Action::Quarantine(why) => self.quarantine(why)?,
            Action::Append(batch) => {
                self.log.append(&batch)?;
                self.secure_room(now)?;
                self.note_room();
                self.written(batch.last());
            }
            Action::Sync => self.sync(),
            Action::ReadLog(read, from, bytes_max) => {
                let bytes = match self.log.read(from, bytes_max) {
                    // Who asks for it lacks it, too. That is no reason to serve no longer.
                    Err(LogError::Damaged { file, at, .. })
                        if matches!(read, ReadFor::Lend(..)) =>
                    {
                        log::error!(
                            "the log is damaged at byte {at} of {}, as was noticed when another replica \
                             asked for what stands there",
                            file.display()
                        );
                        Vec::new()
                    }
                    read => read?,
                };
                self.follow_ups.push_back(FollowUp::LogRead(read, bytes));
            }
            Action::Cut(Index::ZERO) => {
                // In this order: if it dies in between, the next life goes on from an old snapshot, as it did before.
                self.images.set_evidence_aside(self.dir.path());
                self.log.begin_anew()?;
                self.images.discard()?;
                self.begin_room(now);
                self.follow_ups.push_back(FollowUp::Cut(self.log.tip()));
            }
            Action::Cut(after) => {
                let tip = self.log.cut(after)?;
                self.begin_room(now);
                self.follow_ups.push_back(FollowUp::Cut(tip));
            }
            Action::TakeSnapshot(mark, image) => self.images.take(mark, image),
            Action::Digest(image) => self.images.digest(image),
            Action::KeepEvidence(evidence) => self.images.keep_evidence(self.dir.path(), evidence),
            Action::Forget(index) => {
                self.images.forget(&mut self.log, index);
                let base = self.log.base();
                self.follow_ups.push_back(FollowUp::Forgotten(base));
            }
            Action::ReadSnapshot(conn, read) => {
                let bytes = self.images.read(&read)?;
                let piece = SnapshotPiece {
                    nonce: read.nonce,
                    index: read.index,
                    offset: read.offset,
                    bytes: &bytes,
                };
                self.net.send(conn, |out| piece.encode(out));
            }
            Action::BeginFetch(offer) => {
                let have = self.images.begin_fetch(&offer)?;
                let unfetched = FollowUp::Unfetched(offer.mark.tip.index);
                let follow_up = have.map_or(unfetched, FollowUp::FetchBegun);
                self.follow_ups.push_back(follow_up);
            }
            Action::StorePiece(offset, bytes) => {
                if let Some(index) = self.images.store(offset, &bytes)? {
                    self.follow_ups.push_back(FollowUp::Unfetched(index));
                }
            }
            Action::CheckFetched => self.images.check(),
            // What was done before it still speaks of the log as it is now.
            Action::Install(offer) => self.follow_ups.push_back(FollowUp::Install(offer)),
            Action::Dial(address) => {
                self.hang();
                self.dial = Some(self.net.connect(&address, now.boot, CONNECT_TIMEOUT));
            }
            Action::Hang => self.hang(),
            Action::CloseFollower(conn) => self.net.close(conn),
            Action::RefuseFollower(conn, refusal) => self.net.refuse(conn, refusal),
            Action::Log(level, text) => log::log!(level_of(level), "{text}"),
            _ => unreachable!("what sends a message was sent"),
        }
        Ok(())
    }

    /// Notes that entries are in the page cache; several appends of one event are told as one.
    fn written(&mut self, through: Index) {
        if let Some(FollowUp::Written(last)) = self.follow_ups.back_mut() {
            *last = through;
        } else {
            self.follow_ups.push_back(FollowUp::Written(through));
        }
    }

    fn sync(&mut self) {
        match self.log.sync_request() {
            Some(request) => self.log_thread.sync(request),
            // Asked for already. If it is done already too, nobody else will say so.
            None => self
                .follow_ups
                .push_back(FollowUp::Synced(self.log.durable())),
        }
    }

    /// Waits for the disk on the loop: a view is adopted a few times in a replica's life, and until
    /// it is, this replica may do nothing else anyway (rule R5).
    fn adopt(
        &mut self,
        view: ViewId,
        holds: Option<Token>,
        kept: Option<Box<Kept>>,
    ) -> Result<(), ReplicaError> {
        let mut meta = self.dir.meta().clone();
        meta.adopted = view;
        meta.holds = holds;
        meta.kept = kept.map(|kept| *kept);
        self.dir
            .store(meta)
            .map_err(ReplicaError::meta("keeping the adopted view"))?;
        self.follow_ups.push_back(FollowUp::Adopted(view));
        Ok(())
    }

    /// Waits for the disk on the loop, as a quarantine does: this life has nothing else to do any more.
    fn note_poison(&mut self, poison: Poison) -> Result<(), ReplicaError> {
        let mut meta = self.dir.meta().clone();
        meta.poison = Some(poison);
        self.dir
            .store(meta)
            .map_err(ReplicaError::meta("noting that the machine failed"))?;
        self.follow_ups.push_back(FollowUp::PoisonNoted);
        Ok(())
    }

    /// Keeps durably that a newer version of the machine is executed, so that an older program does not even begin on
    /// this directory. Waits for the disk on the loop: versions are few.
    fn note_version(&mut self) -> Result<(), ReplicaError> {
        let state = self.replica.state();
        let (version, known) = (state.version(), &self.dir.meta().machine);
        if state.applied() == Index::ZERO || version <= known.version() {
            return Ok(());
        }
        let mut meta = self.dir.meta().clone();
        meta.machine = meta.machine.with_version(version);
        self.dir
            .store(meta)
            .map_err(ReplicaError::meta("noting the machine's version"))
    }

    fn quarantine(&mut self, why: String) -> Result<(), ReplicaError> {
        let mut meta = self.dir.meta().clone();
        meta.quarantine = Some(why);
        self.dir
            .store(meta)
            .map_err(ReplicaError::meta("keeping the quarantine"))
    }

    fn hang(&mut self) {
        if let Some(conn) = self.dial.take() {
            self.net.close(conn);
        }
    }

    /// A connection that is gone is no error: its end is reported as an event of its own.
    fn send(&mut self, destination: Destination, action: &Action) {
        let conn = match destination {
            Destination::ViewService => self.viewservice.conn,
            Destination::Conn(conn) => Some(conn),
        };
        if let Some(conn) = conn {
            self.net.send(conn, |out| action.encode(out));
        }
        if matches!(destination, Destination::ViewService) {
            // Now: a machine may take long with the next entry, and the lease is to be renewed meanwhile.
            self.net.flush();
        }
    }

    fn send_answers(&mut self) {
        let net = &self.net;
        self.replica.answer_reads(|conn| net.is_there(conn));
        self.replica.take_answers(&mut self.answers);
        for run in self.answers.runs() {
            let conn = run.conn();
            let count = run.len() as u64;
            let replies = run.iter().map(|(valid_until, reply)| {
                // The state was read before; only now does the clock say whether the lease still held.
                let is_late = valid_until.is_some_and(|until| clock::boot() >= until);
                match is_late {
                    true => Reply {
                        status: ReplyStatus::Overloaded,
                        bytes: &[],
                        ..reply
                    },
                    false => reply,
                }
            });
            match &mut self.resp {
                Some(resp) if resp.has(conn) => resp.answer(&mut self.net, conn, replies),
                _ => {
                    self.net.send_answers(conn, count, |out| {
                        encode_replies(replies, out);
                    });
                }
            }
        }
        self.answers.clear();
    }
}

pub(super) fn level_of(level: Level) -> log::Level {
    match level {
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    }
}
