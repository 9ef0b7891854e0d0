//! Who is who: clusters, replicas, their data directories and their lives (`protocol.md` section 2).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name a replica may have, in bytes.
pub const REPLICA_NAME_BYTES_MAX: usize = 32;

/// How many earlier lives that ended with everything on disk an identity may still speak for.
pub const CLEAN_LIVES_MAX: usize = 8;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:08x})", stringify!($name), self.0 >> 96)
            }
        }
    };
}

random_id! {
    /// A cluster: drawn when its view service's data directory is formatted.
    ClusterId
}
random_id! {
    /// A data directory: drawn when it is formatted, so a replaced disk is another store.
    StoreId
}
random_id! {
    /// A boot of a machine, as the kernel names it. What was only in the page cache dies with it.
    BootId
}

/// One process life of a store.
///
/// `start` is counted durably in the data directory, so that of two incarnations of one store it is
/// known which came later; `nonce` is random, so that a restored copy of the directory, which counts
/// to the same number again, is still told apart. It is then *another*, but not a *newer* one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// How many times the store was started, this time included.
    pub start: u64,
    /// Random.
    pub nonce: u64,
}

impl Incarnation {
    /// Whether this life began after `other`, a life of the same store. Since a store is locked by
    /// its process, `other` is then dead.
    #[must_use]
    pub fn is_newer_than(self, other: Self) -> bool {
        self.start > other.start
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.start, self.nonce)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A replica's name: 1 to 32 bytes, lower-case letters, digits, `-` and `_`, beginning with a letter
/// or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReplicaName(String);

/// Why a string is no replica name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a replica name has 1 to 32 characters of a-z, 0-9, '-' and '_', the first a letter or a digit"
)]
pub struct NameError;

impl ReplicaName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] if it is empty, too long or has other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_valid = name.len() <= REPLICA_NAME_BYTES_MAX
            && name.bytes().next().is_some_and(plain)
            && name
                .bytes()
                .all(|byte| plain(byte) || byte == b'-' || byte == b'_');
        if is_valid {
            Ok(Self(name))
        } else {
            Err(NameError)
        }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReplicaName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl std::str::FromStr for ReplicaName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<ReplicaName> for String {
    fn from(name: ReplicaName) -> Self {
        name.0
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a write counts as safe on one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// In the process's memory, as VMware FT has it.
    Memory,
    /// In the machine's page cache: survives the death of the process.
    #[default]
    Os,
    /// On the disk (fdatasync): survives power loss.
    Disk,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Os => "os",
            Self::Disk => "disk",
        })
    }
}

impl std::str::FromStr for Durability {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "memory" => Ok(Self::Memory),
            "os" => Ok(Self::Os),
            "disk" => Ok(Self::Disk),
            _ => Err("the durability levels are memory, os and disk"),
        }
    }
}

/// The machine boot and process life in which something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// The machine's boot.
    pub boot: BootId,
    /// The process's life.
    pub incarnation: Incarnation,
}

/// What makes a store a holder, and ends when what it acknowledged may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Token {
    /// Holds as long as the process lives.
    Memory {
        /// The data directory.
        store: StoreId,
        /// The process life.
        incarnation: Incarnation,
    },
    /// Holds as long as the machine is not rebooted.
    Os {
        /// The data directory.
        store: StoreId,
        /// The machine's boot.
        boot: BootId,
    },
    /// Holds as long as the disk.
    Disk {
        /// The data directory.
        store: StoreId,
    },
}

impl Token {
    /// The store that the token speaks of.
    #[must_use]
    pub fn store(self) -> StoreId {
        match self {
            Self::Memory { store, .. } | Self::Os { store, .. } | Self::Disk { store } => store,
        }
    }
}

/// Everything that says which replica is speaking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The replica's name, chosen by people.
    pub name: ReplicaName,
    /// Its data directory.
    pub store: StoreId,
    /// This process's life and the machine's boot.
    pub life: Life,
    /// Earlier lives of the store that ended by a clean stop, with everything synced: their tokens
    /// live on. At most [`CLEAN_LIVES_MAX`].
    pub clean_lives: Vec<Life>,
}

impl Identity {
    /// The token under which this replica acknowledges at a durability level.
    #[must_use]
    pub fn token(&self, durability: Durability) -> Token {
        let store = self.store;
        match durability {
            Durability::Memory => Token::Memory {
                store,
                incarnation: self.life.incarnation,
            },
            Durability::Os => Token::Os {
                store,
                boot: self.life.boot,
            },
            Durability::Disk => Token::Disk { store },
        }
    }

    /// Whether this replica still has all that was acknowledged under `token`.
    #[must_use]
    pub fn satisfies(&self, token: Token) -> bool {
        let mut lives = std::iter::once(&self.life).chain(&self.clean_lives);
        token.store() == self.store
            && match token {
                Token::Memory { incarnation, .. } => {
                    lives.any(|life| life.incarnation == incarnation)
                }
                Token::Os { boot, .. } => lives.any(|life| life.boot == boot),
                Token::Disk { .. } => true,
            }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn identity(name: &str, start: u64) -> Identity {
        Identity {
            name: ReplicaName::new(name).unwrap(),
            store: StoreId(u128::from(name.as_bytes()[0])),
            life: Life {
                boot: BootId(7),
                incarnation: Incarnation {
                    start,
                    nonce: start * 100,
                },
            },
            clean_lives: Vec::new(),
        }
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "replica-1", "0_x"] {
            assert!(ReplicaName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "a b", "a\n", &"a".repeat(33)] {
            assert!(ReplicaName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_dies_with_what_it_stands_on() {
        let before = identity("a", 1);
        let mut restarted = identity("a", 2);
        assert!(!restarted.satisfies(before.token(Durability::Memory)));
        assert!(restarted.satisfies(before.token(Durability::Os)));
        restarted.life.boot = BootId(8);
        assert!(!restarted.satisfies(before.token(Durability::Os)));
        assert!(restarted.satisfies(before.token(Durability::Disk)));
        restarted.store = StoreId(99);
        assert!(!restarted.satisfies(before.token(Durability::Disk)));
    }

    #[test]
    fn a_clean_stop_keeps_the_tokens_of_the_life_it_ended() {
        let before = identity("a", 1);
        let mut restarted = identity("a", 2);
        restarted.life.boot = BootId(8);
        restarted.clean_lives.push(before.life);
        assert!(restarted.satisfies(before.token(Durability::Memory)));
        assert!(restarted.satisfies(before.token(Durability::Os)));
    }
}
