//! What goes wrong, and how it ends.

use super::*;

impl World {
    pub(crate) fn start(&mut self, party: usize) {
        if self.is_up(party) || self.dead_for_good == Some(party) {
            return;
        }
        self.log(|| format!("start {party}"));
        self.lives[party] += 1;
        self.wakes[party] = None;
        if party == VIEW_SERVICE {
            let term = LeaseTerm::new(TERM).expect("within bounds");
            self.service = Some(ViewService::new(self.stored.clone(), term, self.now));
            return self.wake_at(party, self.service.as_ref().and_then(ViewService::deadline));
        }
        let (nonce, seed) = (self.random.next_u64(), self.random.next_u64());
        let (now, durability, start) = (self.clock(), self.durability, self.lives[party]);
        let node = &mut self.nodes[party];
        node.life = Life {
            boot: BootId(u128::from(node.boot) * 10 + party as u128),
            incarnation: Incarnation { start, nonce },
        };
        node.synced = node.log.len();
        let config = Config {
            identity: Identity {
                name: ReplicaName::new(["a", "b", "c"][party]).expect("a good name"),
                store: StoreId(100 + party as u128),
                life: node.life,
                clean_lives: node.clean_lives.clone(),
            },
            address: party.to_string(),
            durability,
            session_timeout: Duration::from_secs(600),
            sessions_max: 1000,
            seed,
            adopted: node.adopted,
            recovered: node.recovered(),
            replace: false,
            quarantine: node.quarantine.clone(),
        };
        node.replica = Some(Replica::new(config, now));
        self.at_node(party, Event::Deadline);
        self.after(Duration::ZERO, Coming::Redial(party, start));
    }

    /// The process of `party` ends; what it held open breaks.
    pub(crate) fn end(&mut self, party: usize) {
        self.paused_until[party] = self.now;
        self.lives[party] += 1;
        let held: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, c)| c.ends.contains(&party) && !c.is_cut)
            .map(|(id, _)| *id)
            .collect();
        held.into_iter().for_each(|id| self.cut(id));
        if party == VIEW_SERVICE {
            self.service = None;
            // A store under way may have reached the disk.
            if let Some(state) = self.storing.take()
                && self.below(2) == 0
            {
                self.stored = state;
            }
        } else {
            let node = &mut self.nodes[party];
            (node.replica, node.viewservice, node.dial) = (None, None, None);
            node.cuts += 1;
        }
    }

    pub(crate) fn lose_power(&mut self, node: usize) {
        let unsynced = (self.nodes[node].log.len() - self.nodes[node].synced) as u64;
        let lost = usize::try_from(self.below(unsynced + 1)).expect("small");
        let disk = &mut self.nodes[node];
        disk.log.truncate(disk.log.len() - lost);
        disk.boot += 1;
        disk.clean_lives.clear();
        self.end(node);
    }

    pub(crate) fn stop(&mut self, node: usize) {
        self.at_node(node, Event::Stop);
        let disk = &mut self.nodes[node];
        disk.synced = disk.log.len();
        if disk.clean_lives.len() == 8 {
            disk.clean_lives.remove(0);
        }
        let life = disk.life;
        disk.clean_lives.push(life);
        self.end(node);
    }

    pub(crate) fn fault(&mut self) {
        if self.healed_at.is_some() {
            return;
        }
        let party = usize::try_from(self.below(REPLICAS as u64 + 1)).expect("small");
        let other = usize::try_from(self.below(PARTIES as u64)).expect("small");
        let (kind, away) = (self.below(12), millis(self.below(2500)));
        self.log(|| format!("fault {kind} at {party}, {other}, for {away:?}"));
        match kind {
            0 | 1 if self.is_up(party) => {
                self.end(party);
                self.after(away, Coming::Start(party));
            }
            2 if self.is_up(party) && party != VIEW_SERVICE => {
                self.lose_power(party);
                self.after(away, Coming::Start(party));
            }
            3 if self.is_up(party) && party != VIEW_SERVICE => {
                self.stop(party);
                self.after(away, Coming::Start(party));
            }
            4 | 5 => {
                let until = &mut self.paused_until[party];
                *until = self.now.plus(away).max(*until);
            }
            6..8 => self.blocked_until[party][other] = self.now.plus(away),
            8 | 9 => {
                self.blocked_until[party][other] = self.now.plus(away);
                self.blocked_until[other][party] = self.now.plus(away);
            }
            _ => {
                let cut: Vec<ConnId> = self
                    .conns
                    .iter()
                    .filter(|(_, c)| c.ends.contains(&party) && !c.is_cut)
                    .map(|(id, _)| *id)
                    .collect();
                for id in cut {
                    if self.below(2) == 0 {
                        self.cut(id);
                    }
                }
            }
        }
        let most = if self.seed.is_multiple_of(4) {
            120
        } else {
            700
        };
        let wait = millis(10 + self.below(most));
        self.after(wait, Coming::Fault);
    }

    pub(crate) fn heal(&mut self) {
        // Whoever is paused wakes up in time; until then it is a fault.
        self.healed_at = self
            .paused_until
            .iter()
            .copied()
            .max()
            .map(|until| until.max(self.now));
        self.blocked_until = [[self.now; PARTIES]; PARTIES];
        let node = usize::try_from(self.below(REPLICAS as u64 * 2)).expect("small");
        let record = self.stored.record.as_ref();
        let store = StoreId(100 + node as u128);
        let is_needed = record.is_none_or(|record| {
            record
                .holders
                .iter()
                .any(|holder| holder.token.store() == store)
        });
        if node < REPLICAS && !is_needed {
            if self.is_up(node) {
                self.end(node);
            }
            self.dead_for_good = Some(node);
        }
        self.log(|| format!("heal, but for {:?}", self.dead_for_good));
        for party in 0..=VIEW_SERVICE {
            self.start(party);
        }
    }
}
