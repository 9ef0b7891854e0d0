//! A run in plain words.

use std::fmt;

use standin_core::conn::ConnId;
use standin_core::frame::FrameKind;
use standin_core::message::{
    Ack, Entries, Follow, Message as _, Reply, Report, ReportReply, Resume, Swap, SwapReply,
};
use standin_core::view::ViewRecord;

use super::cluster::{Cluster, Task};
use super::deviation::{Deviation, Ending};
use super::links::{Bytes, Letter, Party, name_of};
use super::node::whole;
use super::past::{Fact, Wish};

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open a session"),
            Self::Write(call) => write!(f, "write {call}"),
            Self::Read => f.write_str("read"),
        }
    }
}

fn record(record: Option<&ViewRecord>) -> String {
    let Some(record) = record else {
        return "no view".to_owned();
    };
    let holders: Vec<&str> = record.holders.iter().map(|it| it.name.as_str()).collect();
    let backup = record.backup.as_ref().map_or("-", |it| it.name.as_str());
    format!(
        "view {}: primary {}, backup {backup}, holders {}, {}",
        record.view,
        record.primary.name.as_str(),
        holders.join(" and "),
        if record.active { "active" } else { "inactive" }
    )
}

fn frame(bytes: &Bytes) -> String {
    let frame = whole(&bytes.bytes);
    let said = match frame.kind {
        FrameKind::Report => Report::decode(&frame).map(|it| match it.renew {
            Some(view) => format!("a report that asks to renew the lease of view {view}"),
            None => "a report".to_owned(),
        }),
        FrameKind::ReportReply => ReportReply::decode(&frame).map(|it| {
            let granted = if it.granted { ", lease renewed" } else { "" };
            format!("the record ({}{granted})", record(it.record.as_ref()))
        }),
        FrameKind::Swap => {
            Swap::decode(&frame).map(|it| format!("a swap to ({})", record(Some(&it.proposed))))
        }
        FrameKind::SwapReply => SwapReply::decode(&frame).map(|it| {
            let outcome = if it.accepted { "accepted" } else { "refused" };
            format!("swap {outcome} ({})", record(it.record.as_ref()))
        }),
        FrameKind::Follow => Follow::decode(&frame).map(|it| {
            let last = it.last.index;
            format!(
                "a request to follow in view {}, with a log up to {last}",
                it.view
            )
        }),
        FrameKind::Resume => Resume::decode(&frame)
            .map(|it| format!("go on after entry {} in view {}", it.common.index, it.view)),
        FrameKind::Entries => Entries::decode(&frame).map(|it| {
            let what = if it.bytes.is_empty() {
                "no entries"
            } else {
                "entries"
            };
            format!("{what} of view {}, committed up to {}", it.view, it.commit)
        }),
        FrameKind::Ack => Ack::decode(&frame)
            .map(|it| format!("acknowledged up to {} in view {}", it.durable, it.view)),
        FrameKind::Reply => Reply::decode(&frame).map(|it| {
            let (status, index) = (it.status, it.seen.index);
            format!("answer {status:?} {:?} as of entry {index}", it.bytes)
        }),
        kind => Ok(format!("{kind:?}")),
    };
    said.expect("our own messages are understood")
}

fn ends(cluster: &Cluster, id: ConnId, at: usize) -> Option<(Party, Party)> {
    let conn = cluster.links.conns.iter().find(|conn| conn.id == id)?;
    Some((conn.ends[1 - at].party, conn.ends[at].party))
}

/// What a task is, before it is carried out.
pub(super) fn task(cluster: &Cluster, task: Task) -> String {
    match task {
        Task::Deliver { conn, at } => {
            let parties = ends(cluster, conn, at);
            let conn = cluster.links.conns.iter().find(|it| it.id == conn);
            let letter = conn.and_then(|it| it.ends[at].letters.front());
            let (Some((from, to)), Some(letter)) = (parties, letter) else {
                return "nothing".to_owned();
            };
            match letter {
                Letter::Ready => format!("{to} is connected to {from}"),
                Letter::Closed => format!("{to} sees its connection to {from} closed"),
                Letter::Frame(bytes) => format!("{from} to {to}: {}", frame(bytes)),
            }
        }
        Task::SyncDone(host) => format!("the disk of {} is done with a sync", name_of(host)),
        Task::ComeRound(party) => format!("{party} comes round: its deadline has passed"),
        Task::Call(call) => {
            let target = cluster.client.target(call, cluster.named());
            let wish = cluster.client.wish(call);
            format!("the client asks {} to {wish}", name_of(target))
        }
        Task::Release => "what was held back for a moment is let go".to_owned(),
        Task::Elapse => "a quarter of a lease term goes by".to_owned(),
    }
}

/// What a deviation is, before it happens.
pub(super) fn deviation(cluster: &Cluster, deviation: Deviation) -> String {
    let length = |is_long| if is_long { "for long" } else { "for a moment" };
    match deviation {
        Deviation::Hold { conn, at, is_long } => match ends(cluster, conn, at) {
            Some((from, to)) => format!(
                "what {from} sends to {to} on this connection is held back {}",
                length(is_long)
            ),
            None => "nothing".to_owned(),
        },
        Deviation::Reset(conn) => match ends(cluster, conn, 0) {
            Some((from, to)) => format!("the connection of {to} to {from} breaks"),
            None => "nothing".to_owned(),
        },
        Deviation::End {
            host,
            how,
            is_back,
            is_mute,
        } => format!(
            "{} {}{}{}",
            name_of(host),
            match how {
                Ending::Death => "dies",
                Ending::PowerLoss => "loses its power",
                Ending::Stop => "is stopped",
            },
            if is_mute {
                ", and what it sent is lost"
            } else {
                ""
            },
            if is_back { ", and is back at once" } else { "" }
        ),
        Deviation::Return(host) => format!("{} is started again", name_of(host)),
        Deviation::Isolate(host) => format!("{} is cut off from all but clients", name_of(host)),
        Deviation::Pause(party) => format!("the process of {party} is paused"),
        Deviation::Slow { host, is_long } => {
            format!("the disk of {} is slow {}", name_of(host), length(is_long))
        }
        Deviation::Restart { is_mute } => format!(
            "the view service is killed and started again{}",
            if is_mute {
                ", and what it sent is lost"
            } else {
                ""
            }
        ),
        Deviation::HandOver(host) => format!("{} is asked to hand over", name_of(host)),
        Deviation::Hurry(call) => format!(
            "the client does not wait: it asks {} to {}",
            name_of(cluster.client.target(call, cluster.named())),
            cluster.client.wish(call)
        ),
    }
}

/// What came of a step, if it is worth a line.
pub(super) fn fact(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::Appended {
            host,
            batch,
            is_primary,
        } => format!(
            "{} {} entries {} to {}",
            name_of(*host),
            if *is_primary { "orders" } else { "appends" },
            batch.first(),
            batch.last()
        ),
        Fact::Cut { host, after, .. } => {
            format!("{} cuts its log after entry {after}", name_of(*host))
        }
        Fact::Adopted { host, view, .. } => format!("{} adopts view {view}", name_of(*host)),
        Fact::Answered { host, answered } => format!(
            "{} answers {}: {:?} {:?} as of entry {}",
            name_of(*host),
            answered.asked.wish,
            answered.status,
            answered.bytes,
            answered.seen.index
        ),
        Fact::Quarantined { host, why } => format!("{} is out of service: {why}", name_of(*host)),
        Fact::Recorded { after, .. } => format!("the record is now {}", record(Some(after))),
        Fact::Acked { .. } | Fact::Proposed(_) | Fact::Turned { .. } => return None,
    })
}
