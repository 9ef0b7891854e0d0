//! The views that there were, for people (`standin history`).

use serde::{Deserialize, Serialize};

use crate::identity::ReplicaName;
use crate::time::WallTime;
use crate::view::{Reason, ViewId};

/// Most views in a [`HistoryReply`], which are the newest.
pub const HISTORY_VIEWS_MAX: usize = 512;

/// Anyone to view service: which views were there?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRequest;

/// One view, as the view service saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastView {
    /// Which.
    pub view: ViewId,
    /// When it began, on the view service's wall clock; `None`: nobody noted that.
    pub began: Option<WallTime>,
    /// Its primary.
    pub primary: ReplicaName,
    /// Its backup.
    pub backup: Option<ReplicaName>,
    /// Why it began. Of one whose beginning nobody noted: what is known to have happened last in it.
    pub cause: Reason,
    /// Whether its primary came to serve.
    pub is_active: bool,
    /// If its primary took over from another life: how long nobody served, in milliseconds, from when the
    /// lease was last renewed to when this view was activated. `None` also if the view service was
    /// started anew in between.
    pub gap_ms: Option<u64>,
}

/// View service to anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// The newest views, at most [`HISTORY_VIEWS_MAX`], oldest first.
    pub views: Vec<PastView>,
    /// What is missing and why, in words, if something went wrong.
    pub remark: Option<String>,
}
