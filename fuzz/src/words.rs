//! Commands of the key-value machine, most of them well formed.

use arbitrary::{Result, Unstructured};
use standin_kv::table;

/// Words that make commands of what would else be noise.
const WORDS: [&str; 44] = [
    "a",
    "b",
    "c",
    "",
    "0",
    "1",
    "-1",
    "10",
    "2",
    "3.5",
    "nx",
    "xx",
    "gt",
    "lt",
    "get",
    "ex",
    "px",
    "keepttl",
    "persist",
    "match",
    "count",
    "type",
    "*",
    "[a-c]",
    "withscores",
    "limit",
    "rev",
    "byscore",
    "bylex",
    "-",
    "+",
    "(1",
    "[a",
    "left",
    "right",
    "before",
    "encoding",
    "replace",
    "db",
    "weights",
    "aggregate",
    "max",
    "inf",
    "a string that is longer than what is held in place",
];

/// An argument.
///
/// # Errors
/// The input is too short.
pub fn word(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match input.int_in_range(0..=9)? {
        0 => input.arbitrary()?,
        1 => {
            let length = input.int_in_range(0..=3000)?;
            vec![input.arbitrary()?; length]
        }
        _ => input.choose(&WORDS)?.as_bytes().to_vec(),
    })
}

/// A command that there is, with its arguments.
///
/// # Errors
/// The input is too short.
pub fn words(input: &mut Unstructured<'_>) -> Result<Vec<Vec<u8>>> {
    let specs: Vec<&table::Spec> = table::all().collect();
    let spec = input.choose(&specs)?;
    let mut words = vec![spec.name.as_bytes().to_vec()];
    let least = usize::from(spec.arity.unsigned_abs()) - 1;
    let more = if spec.arity < 0 {
        input.int_in_range(0..=5)?
    } else {
        0
    };
    for _ in 0..least + more {
        words.push(word(input)?);
    }
    Ok(words)
}
