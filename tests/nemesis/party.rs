//! Who talks to whom.

use standin_tools::cluster::VIEW_SERVICE;

/// The replicas.
pub(crate) const REPLICAS: [&str; 3] = ["a", "b", "c"];
/// All clients together: they are threads of this process.
pub(crate) const CLIENTS: &str = "clients";

/// One that talks over the network, by its name in the cluster, or [`CLIENTS`].
pub(crate) type Party = &'static str;

/// What one party sends to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Direction {
    pub(crate) from: Party,
    pub(crate) to: Party,
}

impl Direction {
    pub(crate) fn back(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
        }
    }
}

/// Every two parties that have something to say to each other, once.
pub(crate) fn links() -> Vec<Direction> {
    let mut links = Vec::new();
    for (nth, from) in REPLICAS.into_iter().enumerate() {
        links.push(Direction {
            from,
            to: VIEW_SERVICE,
        });
        let others = REPLICAS.into_iter().skip(nth + 1);
        links.extend(others.map(|to| Direction { from, to }));
        links.push(Direction {
            from: CLIENTS,
            to: from,
        });
    }
    links.push(Direction {
        from: CLIENTS,
        to: VIEW_SERVICE,
    });
    links
}
