//! Where the view service is: one address or several, as people write them.

use standin_core::address::is_address;

/// Most view service addresses that are taken.
pub const VIEW_SERVICES_MAX: usize = 16;

/// Why a text is no list of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// One of them is not HOST:PORT.
    #[error(
        "'{text}' is no address: write HOST:PORT, such as 127.0.0.1:7000, several with commas \
         between them"
    )]
    Malformed {
        /// The part that is wrong, shortened if it is long.
        text: String,
    },
    /// There are too many.
    #[error("{count} addresses were given: at most {VIEW_SERVICES_MAX} are taken")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// Addresses of a cluster's view service: 1 to [`VIEW_SERVICES_MAX`], each HOST:PORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewServices(Vec<String>);

impl ViewServices {
    /// Reads `HOST:PORT[,HOST:PORT..]`.
    ///
    /// # Errors
    /// [`AddressError`] if there is none, one is malformed, or there are too many.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let count = text.split(',').count();
        if count > VIEW_SERVICES_MAX {
            return Err(AddressError::TooMany { count });
        }
        let addresses = text.split(',').map(|part| {
            let part = part.trim();
            check_address(part).map(|()| part.to_owned())
        });
        addresses.collect::<Result<_, _>>().map(Self)
    }

    /// The addresses; at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl std::str::FromStr for ViewServices {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Checks that `text` is HOST:PORT with a host of at least one character and a port from 1.
///
/// # Errors
/// [`AddressError::Malformed`] if it is not.
pub fn check_address(text: &str) -> Result<(), AddressError> {
    if is_address(text) {
        Ok(())
    } else {
        Err(AddressError::Malformed {
            text: text.chars().take(80).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use standin_core::address::ADDRESS_BYTES_MAX;

    use super::*;

    #[test]
    fn one_address_or_several_are_taken() {
        let parse = |text| ViewServices::parse(text).map(|list| list.0);
        assert_eq!(parse("h:1"), Ok(vec!["h:1".to_owned()]));
        assert_eq!(
            parse("127.0.0.1:7000, [::1]:65535"),
            Ok(vec!["127.0.0.1:7000".to_owned(), "[::1]:65535".to_owned()])
        );
    }

    #[test]
    fn anything_else_is_refused_with_the_part_that_is_wrong() {
        for bad in [
            "", "host", ":1", "h:0", "h:65536", "h:+1", "h:", "a b:1", "h:1,",
        ] {
            assert!(ViewServices::parse(bad).is_err(), "{bad}");
        }
        let refused = ViewServices::parse("h:1,nonsense").unwrap_err();
        assert!(refused.to_string().contains("'nonsense'"), "{refused}");
        let many = vec!["h:1"; VIEW_SERVICES_MAX + 1].join(",");
        assert!(matches!(
            ViewServices::parse(&many),
            Err(AddressError::TooMany { count: 17 })
        ));
        let long = format!("{}:1", "h".repeat(ADDRESS_BYTES_MAX));
        assert!(ViewServices::parse(&long).is_err());
    }
}
