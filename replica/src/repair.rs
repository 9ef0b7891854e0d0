//! A replica whose own log is damaged, before it may be one again (`protocol.md` section 12).
//!
//! It tells the view service that it is out of service and why, finds the other replicas by way of it, and asks one after
//! the other for the entries that are missing. What fills the gap is written in its place, and the log is read anew.
//! If nobody has it, and the cluster does not rely on this store, its log is set aside and it joins anew as another
//! store. Otherwise it waits, and says what people can do.

use std::collections::{BTreeSet, VecDeque};

use standin_core::conn::ConnId;
use standin_core::entry::{Index, LogTip};
use standin_core::frame::{Frame, FrameKind};
use standin_core::gap::{Filling, Fit, Gap};
use standin_core::identity::{Identity, StoreId, Token};
use standin_core::message::{
    DecodeError, EntriesPiece, EntriesRead, Kept, Message as _, Peer, Report, ReportReply,
    RoleName, Room, Standing, Witness,
};
use standin_core::planted::{Bug, Planted};
use standin_core::time::{Duration, Instant, earliest};
use standin_core::view::{ViewId, ViewRecord};

use crate::dialog::{Dialog, term_of};
use crate::event::Level;

/// How long a replica that was asked may take to connect, or to send the next piece.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after all were asked in vain they are asked again: one may have come back.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// What is wrong with a log, and whose it is.
#[derive(Clone, Debug)]
pub struct RepairConfig {
    /// Who this is: a life of its own, which acknowledges nothing.
    pub identity: Identity,
    /// Where others reach it.
    pub address: String,
    /// The view that it has adopted.
    pub adopted: ViewId,
    /// What it has kept of that view.
    pub kept: Option<Kept>,
    /// The token under which it is a holder in it, or may be.
    pub holds: Option<Token>,
    /// The last entry before the damage.
    pub last: LogTip,
    /// What is missing; `None` if entries cannot mend it.
    pub gap: Option<Gap>,
    /// What is wrong, in words.
    pub words: String,
    /// The log and the snapshots may be set aside once nobody relies on them.
    pub may_set_aside: bool,
    /// The operator said that this new store takes over the name of a lost one, or it does so by itself.
    pub replace: bool,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairAction {
    /// Send to the view service.
    Report(Box<Report>),
    /// Send to the view service, which has no record.
    Witness(Box<Witness>),
    /// The view service does not answer: connect anew, to another address if there is one.
    RedialViewService,
    /// Connect to the replica at this address.
    Dial(String),
    /// Close that connection.
    Hang,
    /// Send to that replica.
    Ask(ConnId, EntriesRead),
    /// These are the missing entries, and fit so: write them in their place, and read the log anew. This is over.
    Fill(Vec<u8>, Fit),
    /// Set log and snapshots aside, and join anew as another store, by this record. This is over.
    SetAside(ViewId),
    /// Tell people.
    Log(Level, String),
}

/// A replica that is being asked.
#[derive(Clone, Debug)]
struct Asking {
    store: StoreId,
    name: String,
    /// The connection, once it is ready.
    conn: Option<ConnId>,
    heard_at: Instant,
    filling: Filling,
}

/// What came of a replica that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// It was not reached, or broke off.
    Nothing,
    /// It does not have what is missing.
    No,
}

/// Seeks what a damaged log lacks.
///
/// Driven as every decision core: one event, then actions until there is none, then the deadline.
#[derive(Clone, Debug)]
pub struct Repair {
    config: RepairConfig,
    dialog: Dialog,
    /// The record as last read.
    record: Option<ViewRecord>,
    /// Replicas that were heard of in this round and could not be reached, or broke off.
    unreached: BTreeSet<StoreId>,
    /// Replicas that said in this round that they do not have what is missing.
    without: BTreeSet<StoreId>,
    asking: Option<Asking>,
    /// When the next round begins.
    round_at: Instant,
    /// What stands in the way, as it was last said to people.
    told: Option<String>,
    is_over: bool,
    planted: Planted,
    actions: VecDeque<RepairAction>,
}

impl Repair {
    /// There is no connection yet.
    #[must_use]
    pub fn new(config: RepairConfig) -> Self {
        Self {
            config,
            dialog: Dialog::new(),
            record: None,
            unreached: BTreeSet::new(),
            without: BTreeSet::new(),
            asking: None,
            round_at: Instant::ZERO,
            told: None,
            is_over: false,
            planted: Planted::default(),
            actions: VecDeque::new(),
        }
    }

    /// Plants a bug, right after it was made.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// A connection to the view service is ready.
    pub fn on_up(&mut self, now: Instant) {
        self.dialog.up(now, self.term());
        self.go_on(now);
    }

    /// That connection is gone.
    pub fn on_down(&mut self, now: Instant) {
        self.dialog.down();
        self.go_on(now);
    }

    /// The deadline has come.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.patience_ends().is_some_and(|at| now >= at) {
            self.give_up(Said::Nothing, "does not answer");
        }
        self.go_on(now);
    }

    /// The view service says something.
    ///
    /// # Errors
    /// [`DecodeError`] if it cannot be read; the connection is then of no further use.
    pub fn on_view_service(&mut self, now: Instant, frame: &Frame<'_>) -> Result<(), DecodeError> {
        if frame.kind != FrameKind::ReportReply {
            return Err(DecodeError { kind: frame.kind });
        }
        let reply = ReportReply::decode(frame)?;
        self.dialog.answered(reply.number, now, self.term());
        let primary = reply.record.as_ref().map(|record| &record.primary);
        self.dialog.note_peers(&reply.peers, primary);
        self.record = reply.record;
        if self.record.is_none() {
            self.witness();
        }
        self.go_on(now);
        Ok(())
    }

    /// Tells a view service that has no record what is known of it here, as any replica does: it may be this word that
    /// it waits for, and this replica waits for the record.
    fn witness(&mut self) {
        let adopted = self.config.adopted;
        if adopted == ViewId::default() {
            return;
        }
        let kept = self.config.kept.clone();
        let witness = Witness {
            identity: self.config.identity.clone(),
            adopted,
            kept: kept.filter(|kept| kept.record.id() == adopted),
            holds: self.config.holds,
            last: self.config.last,
        };
        self.act(RepairAction::Witness(Box::new(witness)));
    }

    /// The connection that [`RepairAction::Dial`] asked for is ready.
    pub fn on_dialled(&mut self, now: Instant, conn: ConnId) {
        if let Some(asking) = &mut self.asking {
            asking.conn = Some(conn);
            asking.heard_at = now;
            let after = asking.filling.end();
            self.act(RepairAction::Ask(conn, EntriesRead { after }));
        }
        self.go_on(now);
    }

    /// That connection is gone, or never came about.
    pub fn on_closed(&mut self, now: Instant) {
        if let Some(asking) = self.asking.take() {
            self.unreached.insert(asking.store);
        }
        self.go_on(now);
    }

    /// The replica that is being asked says something.
    ///
    /// # Errors
    /// [`DecodeError`] if it cannot be read; the connection is then of no further use.
    pub fn on_peer(
        &mut self,
        now: Instant,
        conn: ConnId,
        frame: &Frame<'_>,
    ) -> Result<(), DecodeError> {
        if frame.kind != FrameKind::EntriesPiece {
            return Err(DecodeError { kind: frame.kind });
        }
        let piece = EntriesPiece::decode(frame)?;
        self.on_piece(now, conn, piece);
        self.go_on(now);
        Ok(())
    }

    fn on_piece(&mut self, now: Instant, conn: ConnId, piece: EntriesPiece<'_>) {
        let Some(asking) = &mut self.asking else {
            return;
        };
        if asking.conn != Some(conn) || piece.after != asking.filling.end().index || self.is_over {
            return;
        }
        asking.heard_at = now;
        let taken = asking.filling.take(piece.bytes);
        match taken {
            Ok(Some(fit)) => {
                let asking = self.asking.take().expect("it was just looked at");
                let name = asking.name;
                let last = asking.filling.end().index;
                let bytes = asking.filling.into_bytes();
                let first = self.config.last.index.next();
                self.say(
                    Level::Warn,
                    format!(
                        "replica {name} has sent what is missing, entries {first} to {last} ({} bytes): what is \
                         on both sides of them fits",
                        bytes.len()
                    ),
                );
                self.act(RepairAction::Hang);
                self.act(RepairAction::Fill(bytes, fit));
                self.is_over = true;
            }
            Ok(None) if piece.bytes.is_empty() => self.give_up(Said::No, "does not have all of it"),
            Ok(None) => {
                let after = asking.filling.end();
                self.act(RepairAction::Ask(conn, EntriesRead { after }));
            }
            Err(error) => self.give_up(Said::No, &format!("has something else: {error}")),
        }
    }

    /// Nothing comes of the replica that is being asked.
    fn give_up(&mut self, said: Said, why: &str) {
        let Some(asking) = self.asking.take() else {
            return;
        };
        match said {
            Said::Nothing => self.unreached.insert(asking.store),
            Said::No => self.without.insert(asking.store),
        };
        let words = format!("replica {} cannot help: it {why}", asking.name);
        self.say(Level::Info, words);
        self.act(RepairAction::Hang);
    }

    fn go_on(&mut self, now: Instant) {
        if self.is_over {
            return;
        }
        self.seek(now);
        if let Some(record) = self.dispensed_with() {
            self.act(RepairAction::SetAside(record));
            self.is_over = true;
            return;
        }
        self.tell_people();
        self.report(now);
    }

    /// Asks the next replica, if one can be asked; begins another round if none is left.
    fn seek(&mut self, now: Instant) {
        let Some(gap) = self.config.gap.clone() else {
            return;
        };
        if self.asking.is_some() {
            return;
        }
        let is_round_over = !self.unreached.is_empty() || !self.without.is_empty();
        if self.next_peer().is_none() && is_round_over && now >= self.round_at {
            if self.round_at > Instant::ZERO {
                self.unreached.clear();
                self.without.clear();
                self.round_at = Instant::ZERO;
            } else {
                self.round_at = now.plus(ROUND_PAUSE);
            }
        }
        let Some(peer) = self.next_peer().cloned() else {
            return;
        };
        self.asking = Some(Asking {
            store: peer.identity.store,
            name: peer.identity.name.to_string(),
            conn: None,
            heard_at: now,
            filling: Filling::new(gap, self.planted),
        });
        self.act(RepairAction::Dial(peer.address));
    }

    /// The replicas that the view service hears.
    fn peers(&self) -> impl Iterator<Item = &Peer> {
        let seen_max = u64::try_from(self.term().as_millis()).unwrap_or(u64::MAX);
        let ours = self.config.identity.store;
        let peers = self.dialog.peers.iter();
        peers.filter(move |peer| {
            peer.unseen_ms <= seen_max && !peer.address.is_empty() && peer.identity.store != ours
        })
    }

    /// Who is to be asked next: the primary first, which has the most.
    fn next_peer(&self) -> Option<&Peer> {
        let store = |peer: &&Peer| peer.identity.store;
        let is_left = |peer: &&Peer| {
            !self.unreached.contains(&store(peer)) && !self.without.contains(&store(peer))
        };
        let primary = self.record.as_ref().map(|record| &record.primary.name);
        let is_other = |peer: &&Peer| Some(&peer.identity.name) != primary;
        self.peers().filter(is_left).min_by_key(is_other)
    }

    /// The view by whose record the cluster can do without this store's log, if it can and nobody has what is missing.
    fn dispensed_with(&self) -> Option<ViewId> {
        if self.planted.has(Bug::HolderSetAside) {
            let record = self.record.as_ref().filter(|record| record.active)?;
            return self.primary_of(record).map(|_| record.id());
        }
        if !self.config.may_set_aside || self.asking.is_some() || self.in_the_way().is_some() {
            return None;
        }
        let record = self.record.as_ref()?;
        if self.config.gap.is_some() {
            // Everybody who can be asked was, and the primary, which has the most, has answered.
            let primary = self.primary_of(record)?;
            let has_answered = self.without.contains(&primary.identity.store);
            if !has_answered || self.next_peer().is_some() {
                return None;
            }
        }
        Some(record.id())
    }

    fn primary_of(&self, record: &ViewRecord) -> Option<&Peer> {
        self.peers().find(|peer| record.primary.is(&peer.identity))
    }

    /// Why the log may not be set aside, in words; `None`: a primary serves that has all that was answered, and the
    /// record does not name this store.
    fn in_the_way(&self) -> Option<String> {
        let Some(record) = &self.record else {
            return Some("the view service has not said yet who serves".to_owned());
        };
        let (view, store) = (record.id(), self.config.identity.store);
        if view < self.config.adopted {
            return Some(format!(
                "the view service is at view {view}, and this replica was in view {}",
                self.config.adopted
            ));
        }
        let is_holder = record.holders.iter().any(|it| it.token.store() == store);
        if is_holder {
            return Some(format!(
                "view {view} counts on this replica for what was answered"
            ));
        }
        if !record.active || self.primary_of(record).is_none() {
            return Some(format!(
                "{} does not serve as the primary of view {view}",
                record.primary.name
            ));
        }
        None
    }

    /// What keeps this replica from serving, for the status.
    fn trouble(&self) -> String {
        let words = &self.config.words;
        let seeks = match &self.config.gap {
            Some(_) => {
                let count = self.peers().count();
                match (self.asking.as_ref(), count) {
                    (Some(asking), _) => {
                        return format!(
                            "{words}; replica {} is being asked for what is missing",
                            asking.name
                        );
                    }
                    (None, 0) => "no other replica runs that could have what is missing",
                    (None, _) => "no replica that runs has what is missing",
                }
            }
            None => "entries of other replicas cannot mend that",
        };
        let then = match self.in_the_way() {
            Some(why) => format!(
                "its log is not set aside, since {why}; start the other replicas or put a good copy of this \
                 directory back; if nobody can serve, `standin recover` goes on with what another replica has"
            ),
            None if !self.config.may_set_aside => {
                "set the data directory aside and start with an empty --data and --replace"
                    .to_owned()
            }
            None => "it is about to set its log aside and join anew".to_owned(),
        };
        format!("{words}; {seeks}; {then}")
    }

    /// Says once what is waited for.
    fn tell_people(&mut self) {
        if self.asking.is_some() || !self.dialog.is_up || self.record.is_none() {
            return;
        }
        let trouble = self.trouble();
        if self.told.as_ref() != Some(&trouble) {
            self.say(Level::Warn, format!("this replica cannot serve: {trouble}"));
            self.told = Some(trouble);
        }
    }

    fn report(&mut self, now: Instant) {
        let term = self.term();
        if self.dialog.is_up && self.dialog.silent_at(term).is_some_and(|at| now >= at) {
            self.dialog.down();
            self.act(RepairAction::RedialViewService);
            return;
        }
        if !self.dialog.is_report_due(now) {
            return;
        }
        let number = self.dialog.report(now, None, term);
        let role = if self.planted.has(Bug::DamagedPromoted) {
            RoleName::Spare
        } else {
            RoleName::Quarantined
        };
        let standing = Standing {
            view: self.config.adopted,
            role,
            last: self.config.last,
            commit: Index::ZERO,
            applied: Index::ZERO,
            reply_digest: 0,
        };
        let report = Report {
            number,
            identity: self.config.identity.clone(),
            address: self.config.address.clone(),
            standing,
            renew: None,
            replace: self.config.replace,
            trouble: Some(self.trouble()),
            room: Room::Enough,
            lags: Vec::new(),
            versions: None,
        };
        self.act(RepairAction::Report(Box::new(report)));
    }

    fn act(&mut self, action: RepairAction) {
        self.actions.push_back(action);
    }

    fn say(&mut self, level: Level, words: String) {
        self.act(RepairAction::Log(level, words));
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn next_action(&mut self) -> Option<RepairAction> {
        self.actions.pop_front()
    }

    /// When [`Repair::on_deadline`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let round = Some(self.round_at).filter(|at| *at > Instant::ZERO && self.asking.is_none());
        let dialog = self.dialog.deadline(self.term());
        earliest(earliest(self.patience_ends(), round), dialog)
    }

    fn patience_ends(&self) -> Option<Instant> {
        let asking = self.asking.as_ref();
        asking.map(|asking| asking.heard_at.plus(PATIENCE))
    }

    fn term(&self) -> Duration {
        term_of(self.record.as_ref())
    }
}

#[cfg(test)]
mod tests;
