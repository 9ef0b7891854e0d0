//! The state file, for any content and any damage.
#![allow(clippy::unwrap_used)] // helpers of tests, too, end the test by it

use proptest::collection::vec;
use proptest::prelude::*;
use standin_core::entry::Index;
use standin_core::identity::{
    BootId, ClusterId, Identity, Incarnation, Life, ReplicaName, StoreId, Token,
};
use standin_core::message::{REPLICAS_MAX, TokenDead};
use standin_core::poison::{SKIPS_MAX, Skip};
use standin_core::view::{DataEpoch, Holder, Reason, ViewNumber, ViewRecord};
use standin_viewservice::{Registered, STATE_BYTES_MAX, StateError, StoredState, Tenure};

fn skip((index, view): (u64, u64)) -> Skip {
    Skip {
        index: Index(index),
        view: ViewNumber(view),
    }
}

prop_compose! {
    fn any_record()(
        name in "[a-z0-9][a-z0-9_-]{0,31}",
        numbers in any::<[u64; 3]>(),
        data_epoch: u32,
        store: u128,
        boot: u128,
        holders in 1..=2_usize,
        active: bool,
        term_ms in 1..=60_000_u32,
        skips in vec(any::<(u64, u64)>(), 0..=SKIPS_MAX),
    ) -> ViewRecord {
        let [view, start, nonce] = numbers;
        let incarnation = Incarnation { start, nonce };
        let identity = Identity {
            name: ReplicaName::new(name).unwrap(),
            store: StoreId(store),
            life: Life { boot: BootId(boot), incarnation },
            clean_lives: Vec::new(),
        };
        let mut record = ViewRecord::bootstrap(ClusterId(0), &identity, term_ms);
        let other = Token::Os { store: StoreId(!store), boot: BootId(boot) };
        record.holders.push(Holder { name: identity.name, token: other });
        record.holders.truncate(holders);
        record.data_epoch = DataEpoch(data_epoch);
        record.view = ViewNumber(view);
        record.active = active;
        record.reason = Reason::LeaseExpired;
        record.skips = skips.into_iter().map(skip).collect();
        record
    }
}

prop_compose! {
    fn any_state()(
        cluster: u128,
        record in proptest::option::of(any_record()),
        names in proptest::collection::btree_set("[a-z0-9][a-z0-9_-]{0,31}", 0..REPLICAS_MAX),
        first_store: u64,
        term_max_ms: u32,
        dead in vec(any::<(u64, u128)>(), 0..REPLICAS_MAX),
        poison in proptest::option::of(any::<(u64, u64)>()),
        tenures in vec(any::<(u64, u64, u32, u32)>(), 0..=16),
    ) -> StoredState {
        let cluster = ClusterId(cluster);
        let record = record.map(|record| ViewRecord { cluster, ..record });
        let registered = |(number, name): (usize, String)| Registered {
            name: ReplicaName::new(name).unwrap(),
            store: StoreId(u128::from(first_store) + number as u128),
        };
        let tenures = tenures.into_iter().map(|(from, store, first, more)| Tenure {
            from: ViewNumber(from),
            store: StoreId(store.into()),
            first: first.into(),
            last: u64::from(first) + u64::from(more),
        });
        let tenures = tenures.collect();
        StoredState {
            cluster,
            term_max_ms: record.as_ref().map_or(term_max_ms % 60_000, |record| record.term_ms),
            dead_tokens: dead
                .into_iter()
                .map(|(store, boot)| TokenDead { store: StoreId(store.into()), boot: BootId(boot) })
                .collect(),
            replicas: names.into_iter().enumerate().map(registered).collect(),
            served: record.as_ref().map(|record| record.primary.clone()),
            poison: poison.map(skip),
            tenures,
            record,
        }
    }
}

proptest! {
    #[test]
    fn a_state_reads_back_and_neither_its_beginnings_nor_its_damaged_forms_do(
        state in any_state(),
    ) {
        let bytes = state.encode();
        prop_assert!(bytes.len() <= STATE_BYTES_MAX);
        prop_assert_eq!(StoredState::decode(&bytes), Ok(state));
        for cut in 0..bytes.len() {
            prop_assert!(StoredState::decode(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert_eq!(StoredState::decode(&longer), Err(StateError::Length));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(StoredState::decode(&damaged).is_err(), "bit {}", bit);
        }
    }

    #[test]
    fn any_bytes_may_be_offered(bytes in vec(any::<u8>(), 0..600)) {
        prop_assert!(StoredState::decode(&bytes).is_err());
    }

    #[test]
    fn a_state_that_could_not_be_written_is_not_read(
        payload in vec(0..4_u8, 0..200),
    ) {
        // Past the checksum, only what the fields may hold stands between bytes and a state.
        let mut bytes = StoredState::new(ClusterId(0)).encode();
        bytes.truncate(20);
        bytes.extend_from_slice(&payload);
        let length = u32::try_from(payload.len()).unwrap();
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..16]);
        hasher.update(&payload);
        bytes[16..20].copy_from_slice(&hasher.finalize().to_le_bytes());
        match StoredState::decode(&bytes) {
            Ok(state) => prop_assert_eq!(state.encode(), bytes),
            Err(error) => prop_assert_eq!(error, StateError::Field),
        }
    }
}
