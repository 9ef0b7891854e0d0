//! The counter's bytes, as its clients write and read them.

const OP_ADD: u8 = 1;
const OP_GET: u8 = 2;
const REPLY_VALUE: u8 = 0;

/// The command that adds 1.
pub(super) fn add_one() -> [u8; 9] {
    let mut command = [OP_ADD; 9];
    command[1..].copy_from_slice(&1_i64.to_le_bytes());
    command
}

/// The query for the value.
pub(super) fn get() -> [u8; 1] {
    [OP_GET]
}

/// The value in a reply; `None` if the reply says something else, or the value is below zero, as no
/// sum of ones is.
pub(super) fn value(reply: &[u8]) -> Option<u64> {
    let (&REPLY_VALUE, value) = reply.split_first()? else {
        return None;
    };
    let value = i64::from_le_bytes(value.try_into().ok()?);
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_counter() {
        assert_eq!(add_one(), [1, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(get(), [2]);
        assert_eq!(value(&[0, 2, 1, 0, 0, 0, 0, 0, 0]), Some(258));
        assert_eq!(value(&[0, 255, 255, 255, 255, 255, 255, 255, 255]), None);
        assert_eq!(value(b"\x01wrong"), None);
        assert_eq!(value(&[0, 1]), None);
        assert_eq!(value(&[]), None);
    }
}
