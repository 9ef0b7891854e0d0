//! What must hold.

use super::*;

impl World {
    pub(crate) fn state(&self) -> String {
        let standing = |node: &Node| {
            node.replica
                .as_ref()
                .map(|replica| (replica.role_name(), replica.standing()))
        };
        let standings: Vec<_> = self.nodes.iter().map(standing).collect();
        let asks: Vec<_> = self
            .clients
            .iter()
            .map(|client| (client.ask, client.is_done))
            .collect();
        format!(
            "seed {}: {:?}\n{standings:#?}\n{asks:?}",
            self.seed, self.stored.record
        )
    }

    /// Whether no holder that the record names is what it was: then nobody may serve (section 7).
    pub(crate) fn is_lost(&self) -> bool {
        let Some(record) = &self.stored.record else {
            return false;
        };
        let is_held = |node: &Node| {
            let store = 100
                + self
                    .nodes
                    .iter()
                    .position(|one| std::ptr::eq(one, node))
                    .expect("one of them") as u128;
            let identity = Identity {
                name: ReplicaName::new("x").expect("a good name"),
                store: StoreId(store),
                life: node.life,
                clean_lives: node.clean_lives.clone(),
            };
            node.replica.is_some() && record.is_holder(&identity)
        };
        !self.nodes.iter().any(is_held)
    }

    /// Everybody was answered, the record names a pair, and all replicas that are up agree.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(record) = &self.stored.record else {
            return false;
        };
        let up: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| node.replica.as_ref())
            .collect();
        let first = up[0].standing();
        record.active
            && record.backup.is_some()
            && self.clients.iter().all(|client| client.is_done)
            && up.iter().all(|replica| {
                let standing = replica.standing();
                standing.last == first.last && standing.applied == first.last.index
            })
    }

    pub(crate) fn check(&self) {
        // S3: where two logs have an entry of one view at one index, they agree up to there.
        for (one, other) in [(0, 1), (0, 2), (1, 2)].map(|(a, b)| (&self.nodes[a], &self.nodes[b]))
        {
            let both = one.log.len().min(other.log.len());
            let last = (0..both)
                .rev()
                .find(|at| one.tip_at(*at).view == other.tip_at(*at).view);
            if let Some(last) = last {
                assert!(one.log[..=last] == other.log[..=last], "S3");
            }
        }
        if self.is_lost() {
            return;
        }
        for replica in self.nodes.iter().filter_map(|node| node.replica.as_ref()) {
            let mut bytes = Vec::new();
            replica.state().query(&[1], &mut bytes);
            let executed: Vec<u64> = bytes
                .chunks(8)
                .map(|one| u64::from_le_bytes(one.try_into().expect("8")))
                .collect();
            let mut sorted = executed.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), executed.len(), "S11: executed twice");
            for (number, value) in &self.acknowledged {
                let at = usize::try_from(*value - 1).expect("small");
                assert_eq!(
                    executed.get(at),
                    Some(number),
                    "S6: add {number} was answered {value}"
                );
            }
        }
    }
}
