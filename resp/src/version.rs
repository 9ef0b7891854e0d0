//! Which version of the protocol a connection speaks.

/// A version of the protocol. Every connection begins with the older one; `HELLO` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The version of Redis 1.2 to 5: five kinds of reply.
    #[default]
    Resp2,
    /// The version of Redis 6 and later: maps, sets, doubles, booleans, pushes.
    Resp3,
}

impl Version {
    /// The version with this number, 2 or 3; there is no other.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Version> {
        match number {
            2 => Some(Version::Resp2),
            3 => Some(Version::Resp3),
            _ => None,
        }
    }

    /// 2 or 3.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        }
    }
}
