//! Adopting views and switching roles, in dialog with the view service.

use standin_backup as backup;
use standin_core::entry::Index;
use standin_core::identity::Token;
use standin_core::machine::StateMachine;
use standin_core::message::{
    JoinAsked, Kept, Peer, REPLICAS_MAX, Refusal, Release, ReplyStatus, Report, ReportReply,
    SwapReply, UNSEEN_DEAD_MS, Witness,
};
use standin_core::planted::Bug;
use standin_core::time::{Duration, Now};
use standin_core::view::{ViewId, ViewRecord};
use standin_primary as primary;
use standin_primary::Primary;

use crate::event::{Action, Level};
use crate::parting::DIR_OF;
use crate::replica::{Replica, Role};

/// How a quarantine ends. It stands behind the reason, wherever that is told.
const QUARANTINE_ADVICE: &str = "look at both logs, then set the data directory aside and start with \
    an empty --data and --replace";

impl<M: StateMachine> Replica<M> {
    pub(crate) fn report_if_due(&mut self, now: Now) {
        if self.is_stopping {
            return;
        }
        let is_silent = self
            .dialog
            .silent_at(self.term())
            .is_some_and(|at| now.boot >= at);
        if is_silent && self.dialog.is_up {
            self.dialog.down();
            self.actions.push_back(Action::RedialViewService);
            return;
        }
        if !self.dialog.is_report_due(now.boot) {
            return;
        }
        let renew = match &self.role {
            Role::Primary(primary)
                if primary.is_active()
                    && !primary.has_given_lease_back()
                    && !self.is_stalled(now.boot) =>
            {
                Some(self.adopted)
            }
            _ => None,
        };
        self.tell_failure();
        self.tell_fatal();
        let number = self.dialog.report(now.boot, renew, self.term());
        let report = Report {
            number,
            identity: self.config.identity.clone(),
            address: self.config.address.clone(),
            standing: self.standing(),
            renew,
            replace: self.config.replace,
            trouble: self.remark(),
            room: self.room(),
            lags: match &self.role {
                Role::Primary(primary) => primary.lags(now.boot).collect(),
                Role::Backup(_) | Role::Between | Role::Quarantined => Vec::new(),
            },
            versions: self.version_standing(),
        };
        self.actions.push_back(Action::Report(Box::new(report)));
    }

    /// What to tell people of committed entries that went with the machine's power, as long as they are not
    /// here again. It keeps nobody from promoting this replica: that its token has died does.
    pub(crate) fn loss(&self) -> Option<String> {
        let (last, lost) = (self.log.tip.index, self.config.recovered.lost);
        let is_missing =
            last < lost && !matches!(self.role, Role::Primary(_)) && !self.is_log_outdated();
        is_missing.then(|| {
            format!(
                "its log ends at entry {last}, and entries up to {lost} had been committed: they were lost \
                 with the machine's power, and are fetched from a primary"
            )
        })
    }

    pub(crate) fn on_report_reply(&mut self, now: Now, reply: &ReportReply) {
        let term = self.term();
        self.dialog.answered(reply.number, now.boot, term);
        #[cfg(feature = "planted-bugs")]
        if self.planted.has(Bug::LeaseFromReply) {
            self.dialog.lease.forget_sending(now.boot);
        }
        self.dialog.wall = reply.wall;
        let primary = reply.record.as_ref().map(|record| &record.primary);
        self.dialog.note_peers(&reply.peers, primary);
        let Some(record) = &reply.record else {
            return self.witness();
        };
        if reply.granted {
            self.granted(reply.number, record);
        }
        self.on_record(now, record);
        self.tell_lease(now);
        self.tell_peers(now);
    }

    /// Tells a view service that has no record what is known of it here. As long as a higher view is being
    /// adopted, that is not said yet: who adopts it next is not known either.
    fn witness(&mut self) {
        if self.adopted == ViewId::default() || self.adopting.is_some() {
            return;
        }
        let view = self.adopted;
        let mut kept = self.kept.clone().filter(|kept| kept.record.id() == view);
        if let (Some(kept), Some(record)) = (&mut kept, &self.record)
            && record.id() == view
        {
            // It may have been activated since it was kept.
            kept.record = record.clone();
        }
        let witness = Witness {
            identity: self.config.identity.clone(),
            adopted: view,
            kept,
            holds: self.holds,
            last: self.log.tip,
        };
        self.actions.push_back(Action::Witness(Box::new(witness)));
    }

    pub(crate) fn on_swap_reply(&mut self, now: Now, reply: &SwapReply) {
        let is_newest = self.dialog.is_newest_swap(reply.number);
        let term = self.term();
        let is_activate = self.dialog.swap_answered(reply.number, now.boot, term);
        self.dialog.wall = reply.wall;
        let Some(record) = &reply.record else { return };
        if is_activate && reply.accepted {
            self.granted(reply.number, record);
        }
        let is_unchanged = self.record.as_ref() == Some(record);
        self.on_record(now, record);
        self.tell_lease(now);
        if is_newest && !reply.accepted && is_unchanged {
            self.keep_what_record_says(record);
            self.tell_primary(now, primary::Event::SwapRefused);
        }
    }

    fn granted(&mut self, number: u64, record: &ViewRecord) {
        let term = match Duration::from_millis(u64::from(record.term_ms)) {
            term if self.planted.has(Bug::LeaseTooLong) => term * 92 / 90,
            term => term,
        };
        self.dialog.lease.granted(number, term);
    }

    pub(crate) fn tell_lease(&mut self, now: Now) {
        let until = self.dialog.lease.until(self.adopted);
        self.tell_primary(now, primary::Event::Lease(until));
    }

    pub(crate) fn tell_peers(&mut self, now: Now) {
        let Some(record) = &self.record else { return };
        let find = |name, peers: &[Peer]| {
            peers
                .iter()
                .find(|peer| peer.identity.name == name)
                .cloned()
        };
        match &self.role {
            Role::Backup(_) => {
                let address = self.followed_address();
                self.tell_backup(now, backup::Event::Primary(address));
            }
            Role::Primary(_) => {
                let Some(backup) = record.backup.clone() else {
                    return;
                };
                let peer = find(backup.name.clone(), &self.dialog.peers);
                if let Some(peer) = peer {
                    if peer.unseen_ms == UNSEEN_DEAD_MS {
                        if backup.is(&peer.identity) {
                            self.tell_primary(now, primary::Event::BackupDied);
                        }
                        return;
                    }
                    let told = Duration::from_millis(peer.unseen_ms);
                    let unseen = self.dialog.unseen(told, now.boot);
                    self.tell_primary(now, primary::Event::BackupUnseen(unseen));
                }
            }
            Role::Between | Role::Quarantined => {}
        }
    }

    /// The address of the active primary, if that is another replica.
    pub(crate) fn primary_address(&self) -> Option<String> {
        let record = self.record.as_ref().filter(|record| record.active)?;
        if record.primary.name == self.config.identity.name {
            return None;
        }
        let is_primary = |peer: &&Peer| record.primary.is(&peer.identity);
        self.dialog
            .peers
            .iter()
            .find(is_primary)
            .map(|peer| peer.address.clone())
    }

    pub(crate) fn on_higher_view(&mut self, now: Now, view: ViewId) {
        if view > self.adopted {
            self.dialog.hurry_for_a_word(now.boot);
        }
    }

    pub(crate) fn on_record(&mut self, now: Now, record: &ViewRecord) {
        let view = record.id();
        if view < self.adopted {
            let words = format!(
                "the view service is at view {view}, lower than view {} that this replica has \
                 adopted; its record is not the cluster's newest",
                self.adopted
            );
            self.set_trouble(Level::Warn, words);
            return;
        }
        let has_activated = self.record.as_ref().is_some_and(|known| known.active);
        if view == self.adopted && has_activated && !record.active {
            let words = format!(
                "the view service says that view {view} is not active, and this replica knows that \
                 it is; its record is not the cluster's newest"
            );
            self.set_trouble(Level::Warn, words);
            return;
        }
        if let Some(adopting) = &mut self.adopting {
            if view >= adopting.id() {
                *adopting = record.clone();
            }
            self.note_handed_over(now.boot, record);
            self.end_role_unless_kept(record);
            return;
        }
        if view > self.adopted {
            self.note_handed_over(now.boot, record);
            self.end_role_unless_kept(record);
            self.adopting = Some(record.clone());
            if self.planted.has(Bug::ViewUnsynced) {
                self.holds = record.token_of(self.config.identity.store);
                return self.on_adopted(now, view);
            }
            self.adopt(record);
        } else if self.record.as_ref() != Some(record) {
            self.enter(now, record.clone());
        }
    }

    /// A higher view ends the role in a lower one at once, before it is durable: nothing of the lower
    /// view is acknowledged or answered any more. Only a primary whose own Join or Drop this is goes
    /// on, behind the same gate.
    pub(crate) fn end_role_unless_kept(&mut self, record: &ViewRecord) {
        let is_kept = matches!(&self.role, Role::Primary(primary)
            if primary.is_active() && record.active && record.primary.is(&self.config.identity));
        let goes_on =
            self.planted.has(Bug::LowerViewAcknowledged) && matches!(self.role, Role::Backup(_));
        if !is_kept && !goes_on {
            self.end_role();
        }
    }

    /// Keeps durably, before what follows, that this disk may come to be a holder's without being told: its
    /// next life must then take damage for damage, whatever power loss has done (section 12).
    pub(crate) fn keep_that_disk_may_hold(&mut self) {
        let store = self.config.identity.store;
        self.may_hold_by_disk = true;
        if self.holds != Some(Token::Disk { store }) {
            self.holds = Some(Token::Disk { store });
            let adopting = self.adopting.as_ref();
            let view = adopting.map_or(self.adopted, ViewRecord::id);
            self.keep(view);
        }
    }

    /// Keeps durably, before what follows, that a Join is asked for: it may land without being read, and whoever
    /// joins may then take over (section 11).
    pub(crate) fn keep_join(&mut self, proposed: &ViewRecord) {
        let Some(joining) = proposed.holders.last() else {
            return;
        };
        let view = self.adopted;
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.record.id() == view) else {
            return;
        };
        let asked = JoinAsked {
            name: joining.name.clone(),
            store: joining.token.store(),
        };
        if kept.joins.contains(&asked) {
            return;
        }
        if kept.joins.len() == REPLICAS_MAX {
            // So many that it is of no use to tell of them: nobody can know.
            self.kept = None;
        } else {
            kept.joins.push(asked);
        }
        self.keep(view);
    }

    fn keep(&mut self, view: ViewId) {
        let kept = self.kept.clone();
        let kept = kept.filter(|kept| kept.record.id() == view).map(Box::new);
        self.actions
            .push_back(Action::Adopt(view, self.holds, kept));
    }

    /// What was asked for was refused, and changes nothing any more.
    fn keep_what_record_says(&mut self, record: &ViewRecord) {
        let is_other = record.token_of(self.config.identity.store) != self.holds;
        if self.adopting.is_none() && is_other {
            self.adopt(record);
        }
    }

    /// Has a record's view made durable, and as what it names this replica. What was asked for in lower views
    /// can land no more.
    fn adopt(&mut self, record: &ViewRecord) {
        self.may_hold_by_disk = false;
        self.holds = record.token_of(self.config.identity.store);
        let view = record.id();
        let joins = match self.kept.take() {
            Some(kept) if kept.record.id() == view => kept.joins,
            _ => Vec::new(),
        };
        let kept = Kept {
            joins,
            ..Kept::of(record)
        };
        self.kept = (!self.planted.has(Bug::RecordUnkept)).then_some(kept);
        self.keep(view);
    }

    pub(crate) fn on_adopted(&mut self, now: Now, view: ViewId) {
        if view == self.adopted {
            return; // only the token is another
        }
        assert!(view > self.adopted, "the adopted view rises");
        let from = self.adopted;
        self.adopted = view;
        let Some(record) = self.adopting.take() else {
            return;
        };
        if record.id() > view {
            self.adopt(&record);
            self.adopting = Some(record);
            return;
        }
        if matches!(self.role, Role::Primary(_)) {
            self.dialog.lease.carry_over(from, view);
        }
        // What was asked for in lower views meanwhile can land no more.
        self.may_hold_by_disk = false;
        self.enter(now, record);
    }

    /// Takes up the role that a record of the adopted view gives.
    pub(crate) fn enter(&mut self, now: Now, record: ViewRecord) {
        assert_eq!(
            record.id(),
            self.adopted,
            "rule R5: adopt durably, then act"
        );
        if !matches!(self.role, Role::Quarantined) {
            self.trouble = None;
        }
        let was = self.role_name();
        self.record = Some(record.clone());
        // By Activate the candidate's disk comes to be all that counts, within the view.
        if record.token_of(self.config.identity.store) != self.holds && !self.may_hold_by_disk {
            self.adopt(&record);
        }
        self.learn_skips(&record.skips);
        let is_named = record.primary.is(&self.config.identity);
        #[cfg(feature = "planted-bugs")]
        let is_named = is_named || self.resumes(&record);
        match &self.role {
            Role::Quarantined => return,
            Role::Primary(role) if is_named && (record.active || !role.is_active()) => {
                let wall = self.dialog.wall;
                self.tell_primary(now, primary::Event::Record(&record, wall));
                self.tell_lease(now);
            }
            // Rule R4: an active view is taken up only by the candidate that activated it.
            _ if is_named && !record.active && !self.is_stopping => {
                self.end_role();
                self.stand_as_candidate(now, record);
            }
            _ if is_named && self.planted.has(Bug::ViewResumed) && !self.is_stopping => {
                self.end_role();
                let active = record.clone();
                self.stand_as_candidate(
                    now,
                    ViewRecord {
                        active: false,
                        ..record
                    },
                );
                let wall = self.dialog.wall;
                self.tell_primary(now, primary::Event::Record(&active, wall));
            }
            Role::Backup(_) if !is_named => self.tell_peers(now),
            _ => {
                self.end_role();
                self.follow(now);
            }
        }
        self.warn_if_followers_are_not_taken();
        self.dialog.hurry(now.boot);
        let (is, view) = (self.role_name(), self.adopted);
        if was != is {
            let text = format!("{} in view {view}", is.word());
            self.actions.push_back(Action::Log(Level::Info, text));
        }
    }

    /// Takes up the view that an earlier life of this replica held.
    #[cfg(feature = "planted-bugs")]
    fn resumes(&mut self, record: &ViewRecord) -> bool {
        let was_named = record.primary.name == self.config.identity.name;
        if !self.planted.has(Bug::ViewResumed) || !was_named {
            return false;
        }
        self.config.identity.life.incarnation = record.primary.incarnation;
        true
    }

    pub(crate) fn stand_as_candidate(&mut self, now: Now, record: ViewRecord) {
        let config = primary::Config {
            identity: self.config.identity.clone(),
            record,
            durability: self.config.durability,
            session_limits: self.config.session_limits,
            base: self.log.base,
            tip: self.log.tip,
            view_starts: self.log.view_starts.clone(),
            skips: self.unlisted_skips(),
            versions: self.config.versions,
            version_starts: self.log.version_starts.clone(),
            began_with: self.begins_with(),
            written: self.log.written,
            synced: self.log.synced,
            commit: self.log.commit,
            applied: self.state.applied(),
            seed: self.config.seed,
            limits: self.config.limits.primary,
            shares_entry: M::shares_entry,
            room: self.room.told(),
        };
        self.timers_through = Index::ZERO;
        // Whoever is named goes on with the log that it has, also into a new data epoch.
        self.log.data_epoch = self.adopted.data_epoch;
        self.role = Role::Primary(Box::new(Primary::candidate(config, now)));
        #[cfg(feature = "planted-bugs")]
        if let Role::Primary(primary) = &mut self.role {
            primary.plant(self.planted);
        }
        self.carry_out_primary(now);
    }

    pub(crate) fn follow(&mut self, now: Now) {
        if self.log.tip.index == Index::ZERO {
            self.log.data_epoch = self.adopted.data_epoch;
        }
        let standing = self.standing();
        let config = backup::Config {
            identity: self.config.identity.clone(),
            view: self.adopted,
            primary: if self.is_stopping {
                None
            } else {
                self.followed_address()
            },
            base: self.log.base,
            tip: self.log.tip,
            view_starts: self.log.view_starts.clone(),
            versions: self.config.versions,
            is_log_outdated: self.is_log_outdated(),
            written: self.log.written,
            synced: self.log.synced,
            commit: standing.commit,
            applied: standing.applied,
            reply_digest: standing.reply_digest,
            piece_bytes: self.config.limits.snapshot_piece_bytes,
            room: self.room.told(),
            state_digest: self.snapshots.newest_digest(),
        };
        self.role = Role::Backup(Box::new(backup::Backup::new(config, now.boot)));
        #[cfg(feature = "planted-bugs")]
        if let Role::Backup(backup) = &mut self.role {
            backup.plant(self.planted);
        }
        self.tell_backup(now, backup::Event::Deadline);
    }

    pub(crate) fn end_role(&mut self) {
        if matches!(self.role, Role::Quarantined) {
            return;
        }
        match std::mem::replace(&mut self.role, Role::Between) {
            Role::Primary(primary) => {
                self.timer_at = None;
                self.forget_parting();
                let (waiters, queries) = primary.step_down();
                for waiter in waiters {
                    // It was ordered: the next primary may have it, or may not.
                    self.answer_hint(waiter, ReplyStatus::OutcomeUnknown);
                }
                for query in queries {
                    self.answer_hint(query.waiter, ReplyStatus::NotPrimary);
                }
            }
            Role::Backup(_) => self.actions.push_back(Action::Hang),
            Role::Between | Role::Quarantined => {}
        }
    }

    pub(crate) fn on_stop(&mut self, _now: Now) {
        self.is_stopping = true;
        if let Role::Primary(primary) = &self.role
            && primary.is_active()
        {
            let release = Release {
                identity: self.config.identity.clone(),
                view: self.adopted,
            };
            self.actions.push_back(Action::Release(Box::new(release)));
        }
        self.end_role();
    }

    pub(crate) fn quarantine(&mut self, why: &str) {
        self.end_role();
        let words = format!("quarantined: {why}; {QUARANTINE_ADVICE}");
        self.actions.push_back(Action::Quarantine(words.clone()));
        self.actions
            .push_back(Action::Log(Level::Error, words.clone()));
        self.trouble = Some(words.clone());
        self.role = Role::Quarantined;
    }

    /// The replica that this one wants to follow turns it down. It asks again; people are told once.
    pub(crate) fn on_dial_refused(&mut self, now: Now, refusal: &Refusal) {
        let advice = match refusal {
            Refusal::RepliesDiffer => {
                self.keep_evidence();
                format!(
                    "; {}; then set the data directory of the wrong one aside and start it with an empty --data and \
                     --replace",
                    self.commands(&format!("{DIR_OF}PRIMARY"), "the primary")
                )
            }
            Refusal::MachineVersion { executing } => {
                format!(", and {}", self.wanted(*executing))
            }
            _ => String::new(),
        };
        let words = format!("the primary does not let it follow: {refusal}{advice}");
        if !matches!(self.role, Role::Quarantined) {
            self.set_trouble(Level::Warn, words.clone());
            self.refused = Some(words);
        }
        self.tell_backup(now, backup::Event::Closed);
    }

    /// The primary lets it follow.
    pub(crate) fn on_accepted(&mut self) {
        if let Some(words) = self.refused.take()
            && self.trouble.as_ref() == Some(&words)
        {
            self.trouble = None;
        }
    }

    pub(crate) fn set_trouble(&mut self, level: Level, words: String) {
        if self.trouble.as_ref() != Some(&words) {
            self.actions.push_back(Action::Log(level, words.clone()));
            self.trouble = Some(words);
        }
    }
}
