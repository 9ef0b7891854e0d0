//! The database in words, key by key, for people who look for where two copies part.

use standin_core::digest::Digester;
use standin_core::machine::bytes_in_words;

use crate::keyspace::{DatabaseId, Keyspace, NEVER, Record};

/// Tells each key that is not gone: where it is, and what stands there.
pub(crate) fn tell_all(keys: &Keyspace, tell: &mut dyn FnMut(&str, &str)) {
    for database in DatabaseId::all() {
        for record in keys.iter(database) {
            let key = bytes_in_words(record.key().as_bytes());
            tell(&format!("db {} {key}", database.number()), &words(record));
        }
    }
}

fn words(record: &Record) -> String {
    let value = &record.value;
    let what = match value.string() {
        Some(string) => bytes_in_words(string.as_bytes()),
        None => {
            let mut digester = Digester::default();
            let written = value.write(&mut digester);
            written.expect("writing to a digester cannot fail");
            let (count, digest) = (value.weight(), digester.finish());
            format!("of {count}, digest {digest:032x}")
        }
    };
    let deadline = match record.deadline() {
        NEVER => String::new(),
        deadline => format!(", gone at {deadline}"),
    };
    let (kind, changed) = (value.kind().name(), record.changed());
    format!("{kind} {what}{deadline}, changed by entry {changed}")
}
