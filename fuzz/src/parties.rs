//! Who may speak, and what of: few enough that they meet, and now and then anything at all.

use arbitrary::{Result, Unstructured};
use standin_core::address::Address;
use standin_core::entry::{Index, LogTip};
use standin_core::identity::{
    BootId, ClusterId, Durability, Identity, Incarnation, Life, ReplicaName, StoreId,
};
use standin_core::message::{RoleName, Standing};
use standin_core::time::WallTime;
use standin_core::view::{DataEpoch, Holder, Member, Reason, ViewId, ViewNumber, ViewRecord};

/// The cluster that all of them belong to.
pub const CLUSTER: ClusterId = ClusterId(1);

/// A number that is mostly small.
pub fn number(input: &mut Unstructured<'_>) -> Result<u64> {
    match input.arbitrary::<u8>()? {
        0 => input.arbitrary(),
        1 => Ok(u64::MAX),
        small => Ok(u64::from(small) % 16),
    }
}

/// Where somebody answers Redis clients, if anywhere.
pub fn resp(input: &mut Unstructured<'_>) -> Result<Option<Address>> {
    let port = input.int_in_range(0..=3)?;
    Ok(Address::new(format!("h:{port}")).ok())
}

/// One of three replicas, in one of few lives, on its own store as a rule.
pub fn identity(input: &mut Unstructured<'_>) -> Result<Identity> {
    let who: u8 = input.arbitrary()?;
    let store = match who {
        240.. => who % 4,
        _ => who % 3,
    };
    let start = u64::from(input.arbitrary::<u8>()? % 4);
    let life = |start: u64| Life {
        boot: BootId((start / 2).into()),
        incarnation: Incarnation {
            start,
            nonce: start,
        },
    };
    Ok(Identity {
        name: ReplicaName::new(["a", "b", "c"][usize::from(who % 3)]).expect("a good name"),
        store: StoreId(store.into()),
        life: life(start),
        clean_lives: (0..start).take(usize::from(who / 64)).map(life).collect(),
    })
}

/// A view, mostly low.
pub fn view(input: &mut Unstructured<'_>) -> Result<ViewId> {
    Ok(ViewId {
        data_epoch: DataEpoch(u32::from(input.ratio(1, 16)?)),
        view: ViewNumber(number(input)?),
    })
}

/// The end of somebody's log.
pub fn tip(input: &mut Unstructured<'_>) -> Result<LogTip> {
    Ok(LogTip {
        index: Index(number(input)?),
        view: ViewNumber(number(input)?),
        chain: input.arbitrary()?,
        time: WallTime(number(input)?),
    })
}

/// Where a replica says that it stands.
pub fn standing(input: &mut Unstructured<'_>) -> Result<Standing> {
    const ROLES: [RoleName; 5] = [
        RoleName::Primary,
        RoleName::Candidate,
        RoleName::Backup,
        RoleName::Spare,
        RoleName::Quarantined,
    ];
    // A replica that has just begun is the most common beginning of a story.
    if input.ratio(1, 2)? {
        return Ok(Standing {
            view: ViewId::default(),
            role: RoleName::Spare,
            last: LogTip::default(),
            commit: Index::ZERO,
            applied: Index::ZERO,
            reply_digest: 0,
        });
    }
    Ok(Standing {
        view: view(input)?,
        role: *input.choose(&ROLES)?,
        last: tip(input)?,
        commit: Index(number(input)?),
        applied: Index(number(input)?),
        reply_digest: input.arbitrary()?,
    })
}

/// A durability level.
pub fn durability(input: &mut Unstructured<'_>) -> Result<Durability> {
    Ok(*input.choose(&[Durability::Memory, Durability::Os, Durability::Disk])?)
}

/// Any record of the cluster.
pub fn record(input: &mut Unstructured<'_>) -> Result<ViewRecord> {
    let primary = identity(input)?;
    let mut record =
        ViewRecord::bootstrap(CLUSTER, &primary, 1 + u32::from(input.arbitrary::<u16>()?));
    let id = view(input)?;
    record.data_epoch = id.data_epoch;
    record.view = id.view;
    record.active = input.arbitrary()?;
    record.reason = *input.choose(&[Reason::Activated, Reason::Joined, Reason::Dropped])?;
    if input.arbitrary()? {
        let backup = identity(input)?;
        record.backup = Some(Member::of(&backup));
        let token = backup.token(durability(input)?);
        let name = backup.name;
        record.holders.push(Holder { name, token });
    }
    Ok(record)
}

/// What follows from `record` by a move that `asker` may mean to make.
pub fn next_record(
    input: &mut Unstructured<'_>,
    record: &ViewRecord,
    asker: &Identity,
) -> Result<ViewRecord> {
    Ok(match input.arbitrary::<u8>()? % 8 {
        0 | 1 => record.activate(asker),
        2 if record.view < ViewNumber(u64::MAX) => record.drop_backup(asker),
        3..=5 if record.view < ViewNumber(u64::MAX) => {
            let backup = identity(input)?;
            let level = durability(input)?;
            let primary = Holder {
                name: asker.name.clone(),
                token: asker.token(level),
            };
            record.join(primary, (&backup, backup.token(level)))
        }
        _ => self::record(input)?,
    })
}
