//! Whatever can be encoded, made at random.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use standin_core::address::Address;
use standin_core::digest::DigestChain;
use standin_core::entry::{
    Batch, BatchBuilder, BatchStamp, ENTRY_REPLY_BYTES_MAX, EntryKind, Index, LogTip,
};
use standin_core::evidence::{Evidence, KeptReply, REPLY_KEPT_BYTES_MAX, RecordedState};
use standin_core::identity::{
    BootId, ClusterId, Identity, Incarnation, Life, ReplicaName, StoreId, Token,
};
use standin_core::machine::MachineId;
use standin_core::message::*;
use standin_core::poison::{SKIPS_MAX, Skip};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewNumber, ViewRecord};

prop_compose! {
    pub(crate) fn any_view()(data_epoch: u32, view: u64) -> ViewId {
        ViewId { data_epoch: DataEpoch(data_epoch), view: ViewNumber(view) }
    }
}

prop_compose! {
    pub(crate) fn any_seen()(view in any_view(), index: u64) -> Seen {
        Seen { view, index: Index(index) }
    }
}

prop_compose! {
    pub(crate) fn any_life()(boot: u128, start: u64, nonce: u64) -> Life {
        Life { boot: BootId(boot), incarnation: Incarnation { start, nonce } }
    }
}

prop_compose! {
    pub(crate) fn any_identity()(
        name in "[a-z0-9][a-z0-9_-]{0,31}",
        store: u128,
        life in any_life(),
        clean_lives in vec(any_life(), 0..8),
    ) -> Identity {
        let name = ReplicaName::new(name).unwrap();
        Identity { name, store: StoreId(store), life, clean_lives }
    }
}

prop_compose! {
    pub(crate) fn any_tip()(index: u64, view: u64, chain: u32, time: u64) -> LogTip {
        LogTip { index: Index(index), view: ViewNumber(view), chain, time: WallTime(time) }
    }
}

prop_compose! {
    pub(crate) fn any_address()(host in "[!-~]{1,40}", port in 1..=u16::MAX) -> Address {
        Address::new(format!("{host}:{port}")).unwrap()
    }
}

pub(crate) fn any_role() -> impl Strategy<Value = RoleName> {
    prop::sample::select(vec![
        RoleName::Primary,
        RoleName::Candidate,
        RoleName::Backup,
        RoleName::Spare,
        RoleName::Quarantined,
    ])
}

prop_compose! {
    pub(crate) fn any_standing()(
        view in any_view(),
        role in any_role(),
        last in any_tip(),
        numbers in any::<[u64; 2]>(),
        reply_digest: u128,
    ) -> Standing {
        let [commit, applied] = numbers.map(Index);
        Standing { view, role, last, commit, applied, reply_digest }
    }
}

prop_compose! {
    pub(crate) fn any_peer()(
        identity in any_identity(),
        address in "[ -~]{0,40}",
        unseen_ms: u64,
    ) -> Peer {
        Peer { identity, address, unseen_ms }
    }
}

pub(crate) fn any_token() -> impl Strategy<Value = Token> {
    (any::<u128>(), any_life(), 0..3).prop_map(|(store, life, level)| {
        let store = StoreId(store);
        match level {
            0 => Token::Memory {
                store,
                incarnation: life.incarnation,
            },
            1 => Token::Os {
                store,
                boot: life.boot,
            },
            _ => Token::Disk { store },
        }
    })
}

pub(crate) fn any_reason() -> impl Strategy<Value = Reason> {
    prop::sample::select(vec![
        Reason::Bootstrap,
        Reason::LeaseExpired,
        Reason::Released,
        Reason::PrimaryRestarted,
        Reason::NotActivated,
        Reason::Activated,
        Reason::Joined,
        Reason::Dropped,
        Reason::Forced,
        Reason::HandedOver,
    ])
}

prop_compose! {
    pub(crate) fn any_skip()(index: u64, view: u64) -> Skip {
        Skip { index: Index(index), view: ViewNumber(view) }
    }
}

prop_compose! {
    pub(crate) fn any_record()(
        cluster: u128,
        view in any_view(),
        primary in any_identity(),
        backup in proptest::option::of(any_identity()),
        tokens in vec(any_token(), 1..3),
        active: bool,
        term_ms: u32,
        reason in any_reason(),
        skips in vec(any_skip(), 0..SKIPS_MAX),
    ) -> ViewRecord {
        let name = &primary.name;
        ViewRecord {
            cluster: ClusterId(cluster),
            data_epoch: view.data_epoch,
            view: view.view,
            primary: Member::of(&primary),
            backup: backup.as_ref().map(Member::of),
            holders: tokens.into_iter().map(|token| Holder { name: name.clone(), token }).collect(),
            active,
            term_ms,
            reason,
            skips,
        }
    }
}

pub(crate) fn any_machine() -> impl Strategy<Value = MachineId> {
    ("[!-~]{1,32}", any::<u32>())
        .prop_map(|(name, version)| MachineId::new(&name, version).unwrap())
}

pub(crate) fn any_refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        any::<u32>().prop_map(|ours| Refusal::Version { ours }),
        any::<u128>().prop_map(|ours| Refusal::OtherCluster {
            ours: ClusterId(ours)
        }),
        any_machine().prop_map(|ours| Refusal::OtherMachine { ours }),
        any::<u128>().prop_map(|store| Refusal::NameTaken {
            store: StoreId(store)
        }),
        Just(Refusal::TooManyReplicas),
        vec("[a-z][a-z0-9]{0,31}", 0..17).prop_map(|names| {
            let names = names
                .into_iter()
                .map(|name| ReplicaName::new(name).unwrap());
            Refusal::NamesTaken {
                names: names.collect(),
            }
        }),
        Just(Refusal::RepliesDiffer),
        any::<u32>().prop_map(|executing| Refusal::MachineVersion { executing }),
        Just(Refusal::Protocol),
        Just(Refusal::Busy),
        Just(Refusal::Superseded),
        Just(Refusal::TokenDead),
    ]
}

prop_compose! {
    /// A log's end that leaves room for entries after it.
    pub(crate) fn any_start()(
        index in 0..u64::MAX / 2,
        view in 0..u64::MAX / 2,
        chain: u32,
        time in 0..u64::MAX / 2,
    ) -> LogTip {
        LogTip { index: Index(index), view: ViewNumber(view), chain, time: WallTime(time) }
    }
}

prop_compose! {
    /// A batch and what it follows.
    pub(crate) fn any_batch()(
        before in any_start(),
        later in 0..1000_u64,
        seed: u64,
        commit: u64,
        begins_view: bool,
        payloads in vec(vec(any::<u8>(), 0..200), 1..8),
    ) -> (LogTip, Batch) {
        let stamp = BatchStamp {
            view: if begins_view { before.view.next() } else { before.view },
            time: WallTime(before.time.0 + later),
            seed,
            commit: Index(commit),
        };
        let mut builder = BatchBuilder::new(before, stamp);
        for (number, payload) in payloads.iter().enumerate() {
            let kind = match number {
                0 if begins_view => EntryKind::ViewStart,
                1 => EntryKind::Direct,
                2 => EntryKind::Run,
                _ => EntryKind::Command,
            };
            builder.push(kind, |out| out.extend_from_slice(payload));
        }
        (before, builder.finish().unwrap())
    }
}

prop_compose! {
    fn any_kept_reply()(
        chain: u128,
        status in 0..=10_u8,
        length in prop_oneof![0..20_u32, 400..700_u32, Just(u32::try_from(ENTRY_REPLY_BYTES_MAX).unwrap())],
        byte: u8,
        is_kept: bool,
    ) -> KeptReply {
        let kept = (length as usize).min(REPLY_KEPT_BYTES_MAX);
        KeptReply {
            chain: DigestChain(chain),
            status,
            length,
            bytes: is_kept.then(|| vec![byte; kept]),
        }
    }
}

prop_compose! {
    pub(crate) fn any_evidence()(
        store: u128,
        before in 0..u64::MAX >> 1,
        chain: u128,
        replies in vec(any_kept_reply(), 0..4),
        states in btree_map(any::<u64>(), any::<(u128, u128)>(), 0..3),
    ) -> Evidence {
        let states = states.into_iter().map(|(index, (reply_digest, state_digest))| RecordedState {
            index: Index(index),
            reply_digest,
            state_digest,
        });
        Evidence {
            store: StoreId(store),
            before: Index(before),
            chain: DigestChain(chain),
            replies,
            states: states.collect(),
        }
    }
}
