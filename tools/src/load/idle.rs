//! Connections that are made, say one thing each, and then are silent.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};

use standin_core::message::Party;
use standin_io::clock;
use standin_io::net::{Net, NetConfig, NetEvent, NetLimits};
use standin_io::signals::Signals;

use super::fill::exchange;
use super::native::OPENING_MAX;
use super::stream::{Answers, Language};
use super::{Expected, LoadError, OPEN_TIMEOUT, REVISION, Work};

/// Most connections of which nothing is heard, to one service.
pub const IDLE_MAX: u32 = 20_000;

/// Connections that say nothing any more; they end with this.
pub struct Idle {
    address: String,
    kept: Kept,
}

enum Kept {
    /// Plain ones.
    Streams(Vec<TcpStream>),
    /// Those of the native protocol, and how many there are.
    Native(Box<Net>, usize),
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = match &self.kept {
            Kept::Streams(streams) => streams.len(),
            Kept::Native(_, kept) => *kept,
        };
        f.debug_struct("Idle")
            .field("address", &self.address)
            .field("kept", &kept)
            .finish()
    }
}

impl Idle {
    /// Makes so many connections to a service that is put under such work. Each has been answered once, so the service has
    /// it: by a PING of Redis's protocol, a question for etcd's state, or the native hello.
    ///
    /// # Errors
    /// [`LoadError`] if one cannot be made, or a signal asks this process to stop.
    pub fn open(
        address: &str,
        count: u32,
        work: &Work,
        signals: &Signals,
    ) -> Result<Self, LoadError> {
        let wanted = usize::try_from(count).expect("it was checked");
        let kept = match work {
            Work::Native(_) | Work::Query { .. } => native(address, wanted, signals)?,
            Work::Resp(..) => {
                let language = Language::Resp(&[Expected::Done]);
                let hello = b"*1\r\n$4\r\nPING\r\n";
                Kept::Streams(streams(address, wanted, hello, language, signals)?)
            }
            Work::Http(..) => {
                let hello = b"POST /v3/maintenance/status HTTP/1.1\r\nHost: etcd\r\nContent-Length: 2\r\n\r\n{}";
                Kept::Streams(streams(
                    address,
                    wanted,
                    hello,
                    Language::Http(REVISION),
                    signals,
                )?)
            }
            Work::Syncs(_) => Kept::Streams(Vec::new()),
        };
        Ok(Self {
            address: address.to_owned(),
            kept,
        })
    }

    /// That all of them are still there.
    ///
    /// # Errors
    /// [`LoadError::IdleLost`].
    pub fn check(&mut self) -> Result<(), LoadError> {
        let (lost, count) = match &mut self.kept {
            Kept::Streams(streams) => {
                let lost = streams.iter().filter(|stream| is_lost(stream)).count();
                (lost, streams.len())
            }
            Kept::Native(net, count) => {
                let mut lost = 0;
                let mut events = Vec::new();
                loop {
                    net.poll(Some(clock::boot()), &mut events)?;
                    if events.is_empty() {
                        break (lost, *count);
                    }
                    let closed = |event: &NetEvent| matches!(event, NetEvent::Closed { .. });
                    lost += events.drain(..).filter(closed).count();
                }
            }
        };
        if lost == 0 {
            return Ok(());
        }
        Err(LoadError::IdleLost {
            address: self.address.clone(),
            lost,
            count,
        })
    }
}

/// Whether the service has closed it, or says something that it was not asked for.
fn is_lost(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn streams(
    address: &str,
    wanted: usize,
    hello: &[u8],
    language: Language<'_>,
    signals: &Signals,
) -> Result<Vec<TcpStream>, LoadError> {
    let mut streams = Vec::with_capacity(wanted);
    while streams.len() < wanted {
        if signals.next()?.is_some() {
            return Err(LoadError::Interrupted);
        }
        let one = open(address, hello, language);
        let one = one.map_err(|reason| LoadError::Open {
            address: address.to_owned(),
            opened: streams.len(),
            wanted,
            reason,
        })?;
        streams.push(one);
    }
    Ok(streams)
}

fn open(address: &str, hello: &[u8], language: Language<'_>) -> Result<TcpStream, String> {
    let address: SocketAddr = address.parse().map_err(|_| "it is no address")?;
    let connect = || -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, OPEN_TIMEOUT)?;
        stream.set_read_timeout(Some(OPEN_TIMEOUT))?;
        Ok(stream)
    };
    let mut stream = connect().map_err(|error| error.to_string())?;
    exchange(&mut stream, hello, &mut Answers::default(), language, 1)?;
    let silent = stream.set_nonblocking(true);
    silent.map_err(|error| error.to_string())?;
    Ok(stream)
}

fn native(address: &str, wanted: usize, signals: &Signals) -> Result<Kept, LoadError> {
    let mut net = Net::new(NetConfig {
        party: Party::Client,
        cluster: None,
        machine: None,
        limits: NetLimits::default(),
    })?;
    let (mut begun, mut opened) = (0, 0);
    let mut events = Vec::new();
    while opened < wanted {
        if signals.next()?.is_some() {
            return Err(LoadError::Interrupted);
        }
        while begun < wanted && begun < opened + OPENING_MAX {
            net.connect(address, clock::boot(), OPEN_TIMEOUT);
            begun += 1;
        }
        // Each of them ends by itself if nothing comes of it.
        net.poll(None, &mut events)?;
        for event in events.drain(..) {
            match event {
                NetEvent::Ready { .. } => opened += 1,
                NetEvent::Closed { reason, .. } => {
                    return Err(LoadError::Open {
                        address: address.to_owned(),
                        opened,
                        wanted,
                        reason: reason.to_string(),
                    });
                }
                NetEvent::Input { .. } | NetEvent::Woken | NetEvent::Signal(_) => {}
            }
        }
    }
    Ok(Kept::Native(Box::new(net), wanted))
}
