//! A gateway: clients that speak RESP come in, and sessions with whoever is primary go out.
//!
//! A client of it is connected to one process whatever happens to the primary: what it has under way waits, is sent
//! again under the same number until it is answered, and is so executed once. Any number of gateways may run; none
//! of them keeps anything that is not in the replicas.

mod lane;
mod lanes;
mod run;
mod seat;
mod stall;
mod words;

use standin_client::ViewServices;

pub use run::run;

/// What a gateway is told at its start.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where it listens for clients that speak RESP, `HOST:PORT`; port 0 means any.
    pub listen: String,
    /// Where the view service is.
    pub view_services: ViewServices,
    /// What clients have to say first, if they have to.
    pub password: Option<Vec<u8>>,
}

/// Why a gateway cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another --listen address")]
    Listen {
        /// The address.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// This machine refused something: sockets, descriptors, memory.
    #[error("cannot run a gateway: {doing}: {source}; see what limits this process has")]
    Local {
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl GatewayError {
    fn local(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Local { doing, source }
    }
}
