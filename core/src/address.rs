//! Where somebody is reached, as it crosses connections: `HOST:PORT`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// An address: at most [`ADDRESS_BYTES_MAX`] bytes of `HOST:PORT`, the host one or more visible ASCII
/// characters, the port 1 to 65535 in digits. It may be printed, or put into a reply, as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

/// A text is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is HOST:PORT, such as 127.0.0.1:7000, of at most {ADDRESS_BYTES_MAX} bytes")]
pub struct NoAddress;

impl Address {
    /// Checks and takes an address.
    ///
    /// # Errors
    /// [`NoAddress`] if it is none.
    pub fn new(text: impl Into<String>) -> Result<Self, NoAddress> {
        let text = text.into();
        if is_address(&text) {
            Ok(Self(text))
        } else {
            Err(NoAddress)
        }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is an [`Address`].
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.len() <= ADDRESS_BYTES_MAX
        && text.rsplit_once(':').is_some_and(|(host, port)| {
            let host_is_plain = host.bytes().all(|byte| byte.is_ascii_graphic());
            // Digits only: `parse` alone would take "+7000".
            let port_is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
            let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
            !host.is_empty() && host_is_plain && port_is_plain && is_port
        })
}

impl TryFrom<String> for Address {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        Self::new(text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port_and_no_more_bytes_than_it_may() {
        let longest = format!("{}:1", "h".repeat(ADDRESS_BYTES_MAX - 2));
        for good in ["h:1", "127.0.0.1:65535", "[::1]:6379", &longest] {
            assert_eq!(Address::new(good).unwrap().as_str(), good);
        }
        let too_long = format!("{longest}1");
        for bad in [
            "", "h", ":1", "h:", "h:0", "h:65536", "h:+1", "a b:1", "a\r\nb:1", "\u{e9}:1",
            &too_long,
        ] {
            assert_eq!(Address::new(bad), Err(NoAddress), "{bad:?}");
        }
    }
}
