//! Where replicas answer Redis clients, as far as it is known here: what a client is redirected by, and told of the
//! cluster. Nothing else is decided by it.

use standin_core::address::Address;
use standin_core::machine::StateMachine;
use standin_core::message::Resume;
use standin_core::planted::Bug;
use standin_core::view::Member;
use standin_primary::Following;

use crate::replica::{Replica, Role};

/// Where this replica answers, and the primary.
#[derive(Clone, Debug, Default)]
pub(crate) struct RespAddresses {
    own: Option<Address>,
    /// The life that this replica followed last, and where it said that it answers.
    primary: Option<(Member, Option<Address>)>,
}

impl RespAddresses {
    pub(crate) fn own(&self) -> Option<Address> {
        self.own.clone()
    }
}

impl<M: StateMachine> Replica<M> {
    /// Where this replica answers Redis clients, from when its process listens there; `None`, as at first: nowhere.
    /// To be called before the first event: whom it follows, and who follows it, is told once for each stream.
    pub fn set_resp_address(&mut self, address: Option<Address>) {
        self.resp.own = address;
    }

    /// The primary that is followed in the present view has said where it answers.
    pub(crate) fn learn_resp(&mut self, resume: &Resume) {
        if let Some(record) = &self.record {
            self.resp.primary = Some((record.primary.clone(), resume.resp.clone()));
        }
    }

    /// Where the primary answers Redis clients, `HOST:PORT`: the one that the record as last read names, whether or not
    /// its view is active. This replica's own address if that is this life of it, otherwise what that primary has said
    /// when it was followed last, in this view or an earlier one. `None`: it answers none, or has not been followed
    /// yet, as right after a takeover; or this replica has not read a record.
    #[must_use]
    pub fn primary_resp(&self) -> Option<&str> {
        let primary = &self.record.as_ref()?.primary;
        let address = if primary.is(&self.config.identity) {
            self.resp.own.as_ref()
        } else {
            let followed = self.resp.primary.as_ref();
            let is_planted = self.planted.has(Bug::RedirectOld);
            followed
                .and_then(|(life, told)| told.as_ref().filter(|_| life == primary || is_planted))
        };
        address.map(Address::as_str)
    }

    /// Whether this replica follows somebody, who has answered on the connection that is there now. If not, the primary
    /// that the record names may be dead.
    #[must_use]
    pub fn is_in_touch(&self) -> bool {
        matches!(&self.role, Role::Backup(backup) if backup.is_in_touch())
    }

    /// Who follows this replica, if it is primary or candidate; otherwise nobody. At most
    /// [`standin_core::message::REPLICAS_MAX`].
    pub fn followers(&self) -> impl Iterator<Item = Following<'_>> {
        let primary = match &self.role {
            Role::Primary(primary) => Some(primary),
            Role::Backup(_) | Role::Between | Role::Quarantined => None,
        };
        primary.into_iter().flat_map(|primary| primary.following())
    }
}
