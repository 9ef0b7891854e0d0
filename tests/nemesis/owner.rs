//! Whose socket is at the other end of a connection on loopback: the kernel tells.
//!
//! All replicas dial one and the same address to reach another, so the proxy cannot tell by the
//! address who it is that connects; and it is to know nothing of the protocol.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use standin_tools::cluster::children_of;

/// The number of the socket that connected from `own` to `other`; `None` if it has been closed.
///
/// Takes the kernel some milliseconds.
pub(crate) fn socket(own: SocketAddr, other: SocketAddr) -> Option<String> {
    let (own, other) = (in_table(own)?, in_table(other)?);
    let table = fs::read_to_string("/proc/thread-self/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.nth(1) == Some(&own) && words.next() == Some(&other);
        // A socket that nobody has any more has number 0.
        let number = words.nth(6).filter(|number| is_it && *number != "0")?;
        Some(number.to_owned())
    })
}

/// Whether process `pid` or a child of it has this socket.
pub(crate) fn has_socket(pid: u32, socket: &str) -> bool {
    let mut family = children_of(pid);
    family.push(pid);
    family.into_iter().any(|pid| holds(pid, socket))
}

fn holds(pid: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false; // it has died
    };
    let name = PathBuf::from(format!("socket:[{socket}]"));
    let mut targets = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| target == name)
}

/// An address as the kernel's table has it: the bytes of the IP address as one number of this
/// machine's byte order.
fn in_table(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    let mut octets = ip.octets();
    if cfg!(target_endian = "little") {
        octets.reverse();
    }
    let [a, b, c, d] = octets;
    Some(format!(
        "{a:02X}{b:02X}{c:02X}{d:02X}:{:04X}",
        address.port()
    ))
}
