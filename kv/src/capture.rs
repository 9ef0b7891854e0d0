//! A state as bytes: what a snapshot holds, and what the digest of a state is made of. docs/format.md has
//! every field.
//!
//! All numbers are little-endian. Keys stand in the order of their hashes, which is the same whatever led to
//! the state, so equal states are equal bytes. What cannot be seen but decides what later commands answer
//! is part of it: encodings, change indexes, the table of removals, the timer.

use std::io;

use crate::arguments::ARGUMENT_BYTES_MAX;

/// Bytes that are read at a time: no length makes more room than there are bytes to fill it.
const PIECE_BYTES: usize = 64 << 10;

pub(crate) fn write_u8(out: &mut dyn io::Write, number: u8) -> io::Result<()> {
    out.write_all(&[number])
}

pub(crate) fn write_u64(out: &mut dyn io::Write, number: u64) -> io::Result<()> {
    out.write_all(&number.to_le_bytes())
}

/// Writes a number of elements.
pub(crate) fn write_count(out: &mut dyn io::Write, count: usize) -> io::Result<()> {
    write_u64(out, count as u64)
}

/// Writes a length and as many bytes.
pub(crate) fn write_bytes(out: &mut dyn io::Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).expect("strings are bounded");
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)
}

pub(crate) fn read_u8(input: &mut dyn io::Read) -> io::Result<u8> {
    read_array::<1>(input).map(|[byte]| byte)
}

pub(crate) fn read_u64(input: &mut dyn io::Read) -> io::Result<u64> {
    read_array(input).map(u64::from_le_bytes)
}

pub(crate) fn read_i64(input: &mut dyn io::Read) -> io::Result<i64> {
    read_array(input).map(i64::from_le_bytes)
}

/// Reads a number of elements. It may be far more than there are: make no room for them before they are read.
pub(crate) fn read_count(input: &mut dyn io::Read) -> io::Result<u64> {
    read_u64(input)
}

/// Reads a length and as many bytes.
pub(crate) fn read_bytes(input: &mut dyn io::Read) -> io::Result<Vec<u8>> {
    let length = u32::from_le_bytes(read_array(input)?) as usize;
    if length > ARGUMENT_BYTES_MAX {
        return Err(invalid("a string is longer than strings may be"));
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let start = bytes.len();
        bytes.resize(length.min(start + PIECE_BYTES), 0);
        input.read_exact(&mut bytes[start..])?;
    }
    Ok(bytes)
}

fn read_array<const N: usize>(input: &mut dyn io::Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The bytes are no state of this machine.
pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
