//! What is true in a run, kept beside the system from what can be seen of it.
//!
//! Nothing here comes from what a replica believes: logs are followed entry by entry, tokens are held
//! against the lives that really were.

mod truly;

use std::collections::{BTreeMap, BTreeSet};

use standin_core::entry::{
    ENTRY_HEADER_BYTES, Entry, EntryHeader, EntryKind, Index, LogTip, ViewStart,
};
use standin_core::identity::{Identity, StoreId};
use standin_core::message::{ReplyStatus, Seen, TokenDead};
use standin_core::poison::Skip;
use standin_core::time::Instant;
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewRecord};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::fact::{Asked, Fact};
use super::marks::Mark;

pub(crate) use truly::Truly;

/// An entry of a log, and a hash over it and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) header: EntryHeader,
    pub(crate) hash: u64,
}

impl Link {
    /// Its index, and the hash.
    pub(crate) fn place(&self) -> (Index, u64) {
        (self.header.index, self.hash)
    }
}

/// The truth about a whole run.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) now: Instant,
    /// The record that is durable at the view service.
    pub(crate) record: Option<ViewRecord>,
    /// The record of each view, as it was last.
    pub(crate) records: BTreeMap<ViewId, ViewRecord>,
    /// The stores that the view service ever knew durably.
    pub(crate) known_stores: Vec<StoreId>,
    /// The entries that the record has ever said to be skipped.
    pub(crate) skips: Vec<Skip>,
    /// The record was lost, and made again since it was lost last.
    pub(crate) is_rebuilt: bool,
    /// The dead tokens that were ever durable at the view service.
    pub(crate) dead_tokens: Vec<TokenDead>,
    pub(crate) replicas: Vec<Truly>,
    /// All entries that a primary ever made: index and hash, and the bytes.
    pub(crate) made: BTreeMap<(u64, u64), Vec<u8>>,
    /// The entry that was answered at each index.
    pub(crate) answered: BTreeMap<u64, u64>,
    /// The last entry that was answered in each view: its index and hash.
    pub(crate) answered_in: BTreeMap<ViewId, (Index, u64)>,
    /// Sessions whose answered commands a client has, with the reply.
    pub(crate) replies: BTreeMap<(u64, u64), (ReplyStatus, Vec<u8>)>,
    /// The most that each store has reported to the present process of the view service: its view,
    /// and what it has of the committed entries.
    reported: BTreeMap<StoreId, (ViewId, Index)>,
    /// When the view service last heard from each store.
    pub(crate) heard_at: BTreeMap<StoreId, Instant>,
    /// The highest entry that each store ever acknowledged or applied, and did not cut since: its
    /// index and hash.
    vouched: BTreeMap<StoreId, (Index, u64)>,
    /// The hash over the log up to each entry that was applied anywhere.
    pub(crate) applied: Vec<u64>,
    /// The logs up to entries of which there ever was a snapshot.
    trunks: Vec<Vec<Link>>,
    /// The data epochs that operators have begun, and the last answered entry that each of them kept.
    given_up: Vec<(DataEpoch, Index)>,
    /// When a Join last landed whose life had ended.
    pub(crate) late_join_at: Option<Instant>,
    /// When the newest swap of each view was asked for.
    asked_at: BTreeMap<ViewId, Instant>,
    /// Stores whose replies have come to be wrong: a primary that found it takes none of them back.
    pub(crate) erred: BTreeSet<StoreId>,
    /// Stores whose states have come to be others than they should be.
    pub(crate) strayed: BTreeSet<StoreId>,
    /// The digests of states that a machine which replies wrongly has come to.
    wrong_states: BTreeSet<u128>,
    /// Another replica has fetched one of them: nobody can tell any more who is right.
    pub(crate) is_wrong_handed_on: bool,
    /// A primary whose replies are wrong has answered with one: nobody can keep it from that, and what
    /// clients were told proves nothing any more.
    pub(crate) is_falsified: bool,
}

impl Truth {
    pub(crate) fn new(replicas: usize) -> Self {
        Self {
            now: Instant::ZERO,
            record: None,
            records: BTreeMap::new(),
            known_stores: Vec::new(),
            skips: Vec::new(),
            is_rebuilt: false,
            dead_tokens: Vec::new(),
            replicas: vec![Truly::default(); replicas],
            made: BTreeMap::new(),
            answered: BTreeMap::new(),
            answered_in: BTreeMap::new(),
            replies: BTreeMap::new(),
            reported: BTreeMap::new(),
            heard_at: BTreeMap::new(),
            vouched: BTreeMap::new(),
            applied: Vec::new(),
            trunks: Vec::new(),
            given_up: Vec::new(),
            late_join_at: None,
            asked_at: BTreeMap::new(),
            erred: BTreeSet::new(),
            strayed: BTreeSet::new(),
            wrong_states: BTreeSet::new(),
            is_wrong_handed_on: false,
            is_falsified: false,
        }
    }

    /// The newest answered entry: its index and hash.
    pub(crate) fn answered_last(&self) -> Option<(Index, u64)> {
        let (index, hash) = self.answered.last_key_value()?;
        Some((Index(*index), *hash))
    }

    /// The known limit, if `record` makes a replica primary whose disk has less than it had, and nobody
    /// could know: an older copy was put back, and the view service has not heard of it having more,
    /// since its own process began; or the disk failed, and the process was killed before it could say so.
    pub(crate) fn is_beyond_help(&self, record: &ViewRecord) -> Option<Mark> {
        let is_it = |one: &&Truly| {
            let identity = one.identity.as_ref();
            identity.is_some_and(|identity| record.primary.is(identity))
        };
        let replica = self.replicas.iter().find(is_it)?;
        let has_forgotten = self.has_forgotten_force(record);
        if record.reason == Reason::Rebuilt
            && (has_forgotten || self.replicas.iter().any(Truly::may_lack))
        {
            // Who may have gone on says that it has not: it does not know any more. Or it was whom an operator had named
            // in a forced takeover, and its disk is gone.
            let lacks_one = |(index, hash): (Index, u64)| {
                let link = replica.link(index, false);
                link.is_none_or(|link| link.hash != hash)
            };
            // What nobody was answered shows that somebody went on, too.
            let applied = self.applied.last().copied();
            let applied = applied.map(|hash| (Index(self.applied.len() as u64), hash));
            let lacks =
                self.answered_last().is_some_and(lacks_one) || applied.is_some_and(lacks_one);
            let mark = match has_forgotten {
                true => Mark::ForceForgotten,
                false => Mark::BeyondHelp,
            };
            return lacks.then_some(mark);
        }
        let has_lost = self.vouched(replica).is_some_and(|(index, hash)| {
            let link = replica.link(index, false);
            link.is_none_or(|link| link.hash != hash)
        });
        // A candidate applies all that it has; one of an older copy that was not told apart goes on.
        if !has_lost || !(record.active || replica.is_older) {
            None
        } else if replica.is_failure_untold() {
            Some(Mark::FailureUntold)
        } else {
            (replica.is_older && !replica.is_told_apart).then_some(Mark::BeyondHelp)
        }
    }

    /// Whether a takeover was forced that no disk knows of any more: whoever had adopted it was lost with its disk. A record
    /// that is made again after that is of the data epoch before.
    fn has_forgotten_force(&self, record: &ViewRecord) -> bool {
        let mut given_up = self.given_up.iter();
        let was_forced = given_up.any(|(epoch, _)| *epoch > record.data_epoch);
        let knows = |one: &Truly| one.data_epoch > record.data_epoch;
        was_forced && !self.replicas.iter().any(knows)
    }

    /// A record was made again: what only the lost one listed to be skipped, and nobody has acted on, nobody need skip. A
    /// primary acts on it by listing it in its ViewStart.
    fn forget_skips(&mut self) {
        let mut listed = BTreeSet::new();
        for bytes in self.made.values() {
            let entry = Entry::decode(bytes).expect("a primary made it");
            if entry.header.kind == EntryKind::ViewStart {
                let start = ViewStart::decode(entry.payload);
                listed.extend(start.into_iter().flat_map(|start| start.skips));
            }
        }
        self.skips.retain(|skip| listed.contains(skip));
    }

    /// The highest entry that a replica's store ever acknowledged or applied: its index and hash.
    pub(crate) fn vouched(&self, replica: &Truly) -> Option<(Index, u64)> {
        let store = replica.identity.as_ref()?.store;
        self.vouched.get(&store).copied()
    }

    /// Whether the present process of the view service has heard that a replica's store is beyond a view.
    pub(crate) fn has_reported_beyond(&self, replica: &Truly, view: ViewId) -> bool {
        let store = replica.store();
        let reported = store.and_then(|store| self.reported.get(&store));
        reported.is_some_and(|(most, _)| *most > view)
    }

    fn vouch(&mut self, host: usize, through: Index) {
        let replica = &self.replicas[host];
        let link = replica.link(through, false);
        if let Some(identity) = &replica.identity
            && let Some(hash) = link.map(|link| link.hash)
        {
            let most = self.vouched.entry(identity.store);
            let most = most.or_insert((through, hash));
            *most = (*most).max((through, hash));
        }
    }

    /// A replica goes on from a state: its own, one that it fetched, or one of an older copy of its disk. If that is
    /// of a machine which replied wrongly, nobody can know.
    fn note_state(&mut self, host: usize, index: Index, state_digest: u128) {
        let replica = &mut self.replicas[host];
        if replica.wrong_from.is_none() && self.wrong_states.contains(&state_digest) {
            replica.wrong_from = Some(index);
            self.is_wrong_handed_on = true;
        }
    }

    /// Of what a replica vouched for, what is in its log.
    fn vouch_no_more_than_log(&mut self, host: usize) {
        let replica = &self.replicas[host];
        let last = replica.log.last();
        let last = last.map(|link| (link.header.index, link.hash));
        if let Some(identity) = &replica.identity
            && let Some(most) = self.vouched.remove(&identity.store)
        {
            let most = last.map(|last| (identity.store, most.min(last)));
            self.vouched.extend(most);
        }
    }

    /// The log up to an entry that somebody has, or had, a snapshot of, or of a later one; empty if nobody ever
    /// had.
    pub(crate) fn trunk(&self, tip: LogTip) -> &[Link] {
        let through = usize::try_from(tip.index.0).expect("a log in memory");
        let up_to = |trunk: &Vec<Link>| {
            let link = trunk.get(through.checked_sub(1)?)?;
            let end = (link.header.view, link.header.checksum);
            (end == (tip.view, tip.chain)).then_some(through)
        };
        let found = (self.trunks.iter()).find_map(|trunk| Some(&trunk[..up_to(trunk)?]));
        found.unwrap_or(&[])
    }

    /// Whether the entry that ends with this hash of the log was applied anywhere.
    pub(crate) fn is_applied(&self, index: Index, hash: u64) -> bool {
        let place = usize::try_from(index.0 - 1).expect("a log in memory");
        self.applied.get(place) == Some(&hash)
    }

    /// When the swap was asked for that led to the present record; `None` if nobody asked.
    pub(crate) fn record_asked_at(&self) -> Option<Instant> {
        let record = self.record.as_ref()?;
        self.asked_at.get(&record.id()).copied()
    }

    /// Whether a member of a record is a life that still runs.
    fn is_current(&self, member: &Member) -> bool {
        self.replicas.iter().any(|one| {
            let identity = one.identity.as_ref();
            one.is_running && identity.is_some_and(|identity| member.is(identity))
        })
    }

    /// Whether a replica's replies up to an entry are wrong.
    pub(crate) fn is_wrong(&self, host: usize, through: Index) -> bool {
        let from = self.replicas[host].wrong_from;
        from.is_some_and(|from| from <= through)
    }

    /// Whether a replica's store is one whose replies have come to be wrong.
    pub(crate) fn has_erred(&self, replica: &Truly) -> bool {
        (replica.store()).is_some_and(|store| self.erred.contains(&store))
    }

    /// Whether a replica's state is another than it should be, or may be once its process has read its disk.
    pub(crate) fn has_strayed(&self, replica: &Truly) -> bool {
        let is_of_disk = (replica.store()).is_some_and(|store| self.strayed.contains(&store));
        replica.has_strayed || (is_of_disk && !replica.is_running)
    }

    /// Whether an answer was given from what an operator has given up by now: a pair that is cut off goes on, and
    /// cannot know.
    pub(crate) fn is_given_up(&self, seen: &Seen) -> bool {
        is_given_up(&self.given_up, seen)
    }

    /// What the replica that an operator has named has on its platter for sure. The view service may have
    /// died over the record and tell of it only now, to another life of that replica.
    pub(crate) fn kept_by(&self, after: &ViewRecord) -> &[Link] {
        let named = after.holders.first().and_then(|holder| self.holder(holder));
        named.map_or(&[], |(_, named)| {
            &named.log[..named.synced.min(named.log.len())]
        })
    }

    /// Whether a replica has adopted the data epoch of the record. What others do is of the past.
    pub(crate) fn is_of_data_epoch(&self, host: usize) -> bool {
        let record = self.record.as_ref();
        record.is_none_or(|record| self.replicas[host].data_epoch >= record.data_epoch)
    }

    /// The data epoch of a replica's log: that of its newest view.
    pub(crate) fn log_epoch(&self, host: usize) -> DataEpoch {
        let log = self.replicas[host].log.iter().rev();
        let mut starts = log.filter(|link| link.header.kind == EntryKind::ViewStart);
        let epoch = starts.find_map(|link| {
            let bytes = self.made.get(&(link.header.index.0, link.hash))?;
            let entry = Entry::decode(bytes).ok()?;
            let start = ViewStart::decode(entry.payload)?;
            Some(start.data_epoch)
        });
        epoch.unwrap_or_default()
    }

    /// An operator has named the primary of `after`: what was answered and is not on its platter is given
    /// up. The last entry that was answered and stays.
    pub(crate) fn accept_loss(&mut self, after: &ViewRecord) -> Index {
        let kept = self.kept_by(after).iter();
        let log: BTreeMap<u64, u64> = kept.map(|link| (link.header.index.0, link.hash)).collect();
        self.answered
            .retain(|index, hash| log.get(index) == Some(hash));
        self.answered_in
            .retain(|_, (index, hash)| log.get(&index.0) == Some(hash));
        // Sessions of the new data epoch may have the numbers of lost ones.
        self.replies.clear();
        self.reported.clear();
        let is_kept = |(place, hash): &(usize, &u64)| log.get(&(*place as u64 + 1)) == Some(*hash);
        let applied = self.applied.iter().enumerate().take_while(is_kept).count();
        self.applied.truncate(applied);
        if let Some(store) = after.holders.first().map(|holder| holder.token.store()) {
            let last = log.last_key_value();
            let last = last.map(|(index, hash)| (Index(*index), *hash));
            self.vouched.remove(&store);
            self.vouched.extend(last.map(|last| (store, last)));
        }
        let kept = self.answered_last();
        if let (Some(kept), Some(record)) = (kept, &self.record) {
            self.answered_in.insert(record.id(), kept);
        }
        let kept = kept.map_or(Index::ZERO, |(index, _)| index);
        self.given_up.push((after.data_epoch, kept));
        kept
    }

    /// The replica that a holder names.
    pub(crate) fn holder(&self, holder: &Holder) -> Option<(usize, &Truly)> {
        let is_it = |one: &&(usize, &Truly)| {
            let store = one.1.identity.as_ref().map(|identity| identity.store);
            store == Some(holder.token.store())
        };
        self.replicas.iter().enumerate().find(|one| is_it(&one))
    }

    /// Takes a fact in, after the checkers have seen it.
    pub(crate) fn note(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Started {
                host,
                identity,
                snapshot,
                base,
                log,
                adopted,
            } => {
                self.on_started(*host, identity, *base, log);
                if let Some((index, state_digest)) = snapshot {
                    self.note_state(*host, *index, *state_digest);
                }
                let replica = &mut self.replicas[*host];
                replica.data_epoch = adopted.data_epoch;
                let has = replica
                    .log
                    .last()
                    .map_or(Index::ZERO, |link| link.header.index);
                let most = self.reported.get(&identity.store);
                replica.is_told_apart |= most.is_some_and(|most| *adopted < most.0 || has < most.1);
            }
            Fact::SnapshotTaken {
                host,
                tip,
                state_digest,
            } => {
                if self.is_wrong(*host, tip.index) {
                    self.wrong_states.insert(*state_digest);
                }
                let through = usize::try_from(tip.index.0).expect("a log in memory");
                // If its log has been set aside since, nothing comes of it.
                let trunk = self.replicas[*host].log.get(..through);
                let trunk = trunk.map(<[Link]>::to_vec).unwrap_or_default();
                if self.trunk(*tip) != trunk {
                    self.trunks.push(trunk);
                }
            }
            Fact::Installed {
                host,
                tip,
                state_digest,
                ..
            } => {
                let trunk = self.trunk(*tip).to_vec();
                self.note_state(*host, tip.index, *state_digest);
                let replica = &mut self.replicas[*host];
                replica.synced = trunk.len();
                replica.log = trunk;
                self.vouch_no_more_than_log(*host);
            }
            Fact::AllSynced { host } => self.replicas[*host].end_cleanly(),
            Fact::Ended {
                host,
                lost_power,
                is_killed,
            } => {
                let Some(replica) = self.replicas.get_mut(*host) else {
                    return;
                };
                replica.end(*lost_power, *is_killed);
            }
            Fact::Wiped { host } => self.replicas[*host] = Truly::default(),
            Fact::DamagedSetAside { host, store, .. } => self.replicas[*host].set_aside(*store),
            Fact::Restored { host, store } => {
                let replica = &mut self.replicas[*host];
                replica.put_back = *store;
                (replica.is_older, replica.is_unread) = (true, true);
                (replica.is_rotten, replica.is_very_rotten) = (false, false);
            }
            Fact::Rotted { host, is_bit } => {
                let replica = &mut self.replicas[*host];
                let was_rotten = std::mem::replace(&mut replica.is_rotten, true);
                replica.is_very_rotten |= was_rotten || !is_bit;
            }
            Fact::Poisoned { host, .. } => self.replicas[*host].is_poisoned = true,
            Fact::Falsified { host, from } => self.replicas[*host].wrong_from = Some(*from),
            Fact::StraysFrom { host, from } => self.replicas[*host].strays_from = Some(*from),
            Fact::Strayed { host, has } => {
                let replica = &mut self.replicas[*host];
                replica.has_strayed = *has;
                if *has {
                    // If its own machine is right, it has fetched the state of one that is not.
                    self.is_wrong_handed_on |= replica.strays_from.is_none();
                    self.strayed.extend(replica.store());
                }
            }
            Fact::Appended {
                host,
                batch,
                is_primary,
            } => {
                let log = &mut self.replicas[*host].log;
                for (entry, bytes) in entries(batch.bytes()) {
                    let link = next_link(log, &entry, bytes);
                    log.push(link);
                    if *is_primary {
                        let place = (entry.header.index.0, link.hash);
                        self.made.entry(place).or_insert_with(|| bytes.to_vec());
                    }
                }
            }
            Fact::Synced { host, through } => {
                let replica = &mut self.replicas[*host];
                let through = usize::try_from(through.0).expect("a log in memory");
                replica.synced = replica.synced.max(through.min(replica.log.len()));
            }
            Fact::Known { store } => self.known_stores.push(*store),
            Fact::RecordLost => {
                self.is_rebuilt = false;
                // What the view service alone knew of them nobody knows any more.
                for dead in std::mem::take(&mut self.dead_tokens) {
                    for replica in &mut self.replicas {
                        let identity = replica.identity.as_ref();
                        let is_of = identity.is_some_and(|identity| {
                            (identity.store, identity.life.boot) == (dead.store, dead.boot)
                        });
                        if is_of {
                            replica.untold = Some(dead.boot);
                        }
                    }
                }
            }
            Fact::DiskFailed { host, heard } => {
                self.replicas[*host].fail(*heard, &self.known_stores);
            }
            Fact::TokenKept { dead } => {
                self.dead_tokens.push(*dead);
                for replica in &mut self.replicas {
                    let store = replica.identity.as_ref().map(|identity| identity.store);
                    if store == Some(dead.store) && replica.untold == Some(dead.boot) {
                        replica.untold = None;
                    }
                }
            }
            Fact::Cut { host, after, .. } => {
                let replica = &mut self.replicas[*host];
                let after = usize::try_from(after.0).expect("a log in memory");
                replica.log.truncate(after);
                replica.synced = replica.log.len();
                self.vouch_no_more_than_log(*host);
            }
            Fact::Acked { host, ack } => self.vouch(*host, ack.durable),
            Fact::ServiceStarted => {
                self.reported.clear();
                for replica in &mut self.replicas {
                    replica.is_told_apart = false;
                }
            }
            Fact::Reported { identity, standing } => {
                self.heard_at.insert(identity.store, self.now);
                let has = standing.commit.min(standing.last.index);
                let most = self.reported.entry(identity.store).or_default();
                *most = (most.0.max(standing.view), most.1.max(has));
            }
            Fact::Adopted { host, view } => self.replicas[*host].data_epoch = view.data_epoch,
            Fact::Proposed { swap } => {
                self.asked_at.insert(swap.proposed.id(), self.now);
            }
            Fact::Recorded { after, .. } => {
                self.is_rebuilt = true;
                if after.reason == Reason::Joined && !self.is_current(&after.primary) {
                    self.late_join_at = Some(self.now);
                }
                if after.reason == Reason::Rebuilt {
                    self.forget_skips();
                }
                let is_new = |skip: &&Skip| !self.skips.contains(skip);
                let new: Vec<Skip> = after.skips.iter().filter(is_new).copied().collect();
                self.skips.extend(new);
                self.on_vouched_for(after);
                self.records.insert(after.id(), (*after).clone());
                self.record = Some((*after).clone());
            }
            Fact::Answered(answered) => {
                // What is answered in a data epoch that is over goes with it.
                let Some(outcome) = answered.outcome() else {
                    return;
                };
                if !self.is_of_data_epoch(answered.host) {
                    return;
                }
                let is_command = matches!(answered.asked, Asked::Command { .. } | Asked::Direct);
                self.is_falsified |=
                    is_command && self.is_wrong(answered.host, answered.seen.index);
                if let Asked::Command { session, sequence } = answered.asked {
                    self.replies.entry((session, sequence)).or_insert(outcome);
                }
                if !matches!(answered.asked, Asked::Read(_))
                    && let Some(link) =
                        self.replicas[answered.host].link(answered.seen.index, false)
                {
                    let (index, hash) = (answered.seen.index, link.hash);
                    self.answered.insert(index.0, hash);
                    let last = self.answered_in.entry(answered.standing.view);
                    let last = last.or_insert((index, hash));
                    *last = (*last).max((index, hash));
                }
            }
            Fact::Applied { host, through, .. } if self.is_of_data_epoch(*host) => {
                self.vouch(*host, *through);
                let replica = &self.replicas[*host];
                let through = usize::try_from(through.0).expect("a log in memory");
                let log = replica.log.iter().take(through);
                let new = log.skip(self.applied.len());
                self.applied.extend(new.map(|link| link.hash));
            }
            Fact::Turned { host, standing, .. } => {
                self.replicas[*host].standing = Some(*standing);
            }
            _ => {}
        }
    }

    /// The primary vouches for who joins, and an operator for who is named: what the view service held
    /// against them counts no longer. Who is joined also has everything, whatever its disk was before.
    fn on_vouched_for(&mut self, record: &ViewRecord) {
        let is_vouched_for = matches!(record.reason, Reason::Joined | Reason::Forced);
        for replica in self.replicas.iter_mut().filter(|_| is_vouched_for) {
            let store = replica.identity.as_ref().map(|identity| identity.store);
            let token = store.and_then(|store| record.token_of(store));
            replica.is_told_apart &= token.is_none();
        }
        let Some(backup) = record
            .backup
            .as_ref()
            .filter(|_| record.reason == Reason::Joined)
        else {
            return;
        };
        for replica in &mut self.replicas {
            let identity = replica.identity.as_ref();
            if replica.is_running && identity.is_some_and(|identity| backup.is(identity)) {
                replica.is_older = false;
                // What was lost in this boot it has again.
                replica.untold = None;
                replica.is_loss_sure = false;
                // And may lose it: its disk may have failed already, and nobody has heard.
                replica.is_boot_dirty = true;
                let boot = replica.identity.as_ref().map(|identity| identity.life.boot);
                replica.dead_boots.retain(|dead| Some(*dead) != boot);
            }
        }
    }

    fn on_started(&mut self, host: usize, identity: &Identity, base: LogTip, log: &[u8]) {
        let trunk = self.trunk(base).to_vec();
        let replica = &mut self.replicas[host];
        let before = std::mem::replace(&mut replica.log, trunk);
        let had = before.len();
        replica.is_running = true;
        replica.is_boot_dirty = true;
        replica.is_end_unsure = false;
        replica.has_lost_cache = false;
        replica.is_failure_unnoted = false;
        replica.is_cache_unsure = false;
        replica.standing = None;
        replica.is_poisoned = false;
        replica.has_strayed = false;
        for (entry, bytes) in entries(log) {
            let link = next_link(&replica.log, &entry, bytes);
            replica.log.push(link);
        }
        let was_synced = std::mem::take(&mut replica.synced);
        // Recovery syncs what it has read.
        replica.synced = replica.log.len();
        if let Some(boot) = replica.untold.take()
            && identity.life.boot == boot
        {
            // Either nothing was lost after all, and its token stands, or it passes for what it is not.
            replica.is_loss_sure |= !replica.log.starts_with(&before);
            if replica.is_loss_sure {
                replica.untold = Some(boot);
            } else {
                replica.dead_boots.retain(|dead| *dead != boot);
            }
        }
        replica.is_loss_sure &= replica.untold.is_some();
        replica.identity = Some(identity.clone());
        // It has read all of its disk: what had rotted of the end is gone, the rest is whole.
        (replica.is_unread, replica.put_back) = (false, None);
        if let Some(old) = replica.setting_aside.take() {
            // Else its disk failed before anything was set aside.
            replica.is_older &= identity.store == old;
        }
        let is_shorter = std::mem::take(&mut replica.is_rotten) && replica.log.len() < had;
        // An entry behind the one bit that calls it committed tells rot from a write that was lost. Where
        // nothing does, a power loss hides it: the known limit. One that was not synced may be gone itself.
        let first = replica.log.len() + 1;
        let mut behind = before.iter().take(was_synced).skip(first);
        let is_told = !std::mem::take(&mut replica.is_very_rotten)
            && behind.any(|link| link.header.commit.0 >= first as u64);
        replica.is_older |= is_shorter && !is_told;
        if is_shorter {
            // An end that it does not know to have been clean is none: nobody relies on that life any more.
            let known = &identity.clean_lives;
            replica.clean_lives.retain(|life| known.contains(life));
        }
    }
}

/// Whether an answer was given from what is given up by operators who began these data epochs and kept so much.
pub(crate) fn is_given_up(kept: &[(DataEpoch, Index)], seen: &Seen) -> bool {
    let mut later = kept
        .iter()
        .filter(|(epoch, _)| *epoch > seen.view.data_epoch);
    later.any(|(_, kept)| seen.index > *kept)
}

/// The entries in the bytes of a log or a batch, each with its own bytes.
pub(crate) fn entries(bytes: &[u8]) -> impl Iterator<Item = (Entry<'_>, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = Entry::decode(rest).expect("only whole entries are handed out");
        let (whole, after) = rest.split_at(ENTRY_HEADER_BYTES + entry.payload.len());
        rest = after;
        Some((entry, whole))
    })
}

/// The link of an entry that comes after `log`.
pub(crate) fn next_link(log: &[Link], entry: &Entry<'_>, bytes: &[u8]) -> Link {
    let before = log.last().map_or(0, |link| link.hash);
    Link {
        header: entry.header,
        hash: hash_after(before, bytes),
    }
}

/// The hash over a log that ends with an entry of these bytes; `before` is the one over what comes before it, or zero.
pub(crate) fn hash_after(before: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, before)
}

#[cfg(test)]
mod tests {
    use standin_core::identity::{BootId, ClusterId, Incarnation, Life, ReplicaName};
    use standin_core::view::ViewNumber;

    use super::*;

    fn identity(store: u128) -> Identity {
        Identity {
            name: ReplicaName::new("a").expect("a name"),
            store: StoreId(store),
            life: Life {
                boot: BootId(1),
                incarnation: Incarnation { start: 1, nonce: 1 },
            },
            clean_lives: Vec::new(),
        }
    }

    fn start(truth: &mut Truth, store: u128) {
        truth.note(&Fact::Started {
            host: 0,
            identity: &identity(store),
            adopted: ViewId::default(),
            snapshot: None,
            base: LogTip::default(),
            log: &[],
        });
    }

    #[test]
    fn a_damaged_copy_is_excused_until_another_store_has_taken_its_place() {
        let mut truth = Truth::new(1);
        let store = Some(StoreId(7));
        truth.note(&Fact::Restored { host: 0, store });
        truth.note(&Fact::DamagedSetAside {
            host: 0,
            view: ViewId::default(),
            store: StoreId(7),
        });
        let is_excused = |truth: &Truth| truth.replicas[0].is_tampered();
        assert!(is_excused(&truth), "its disk may fail in the midst of it");
        let mut failed = truth;
        start(&mut failed, 7);
        assert!(is_excused(&failed), "nothing was set aside");
        failed.note(&Fact::DamagedSetAside {
            host: 0,
            view: ViewId::default(),
            store: StoreId(7),
        });
        start(&mut failed, 8);
        assert!(!is_excused(&failed), "a store of its own");
    }

    #[test]
    fn a_forced_takeover_is_forgotten_only_if_no_disk_knows_of_it() {
        let identity = identity(7);
        let first = ViewRecord::bootstrap(ClusterId(1), &identity, 500).activate(&identity);
        let forced = first.force(&identity);
        let rebuilt = ViewRecord {
            view: ViewNumber(1_000_000_000),
            ..first.clone()
        };
        let mut truth = Truth::new(2);
        assert!(!truth.has_forgotten_force(&rebuilt), "there was none");
        truth.accept_loss(&forced);
        let view = forced.id();
        truth.note(&Fact::Adopted { host: 1, view });
        assert!(
            !truth.has_forgotten_force(&rebuilt),
            "it is down, and knows"
        );
        truth.note(&Fact::Wiped { host: 1 });
        assert!(truth.has_forgotten_force(&rebuilt));
        assert!(!truth.has_forgotten_force(&forced), "of its own data epoch");
    }
}
