//! How often each command was answered, and in which way.

use std::collections::BTreeMap;

use standin_kv::table::{self, Spec, Way};

/// Ways to be answered.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    executed: u64,
    /// Refused for the number of its arguments.
    arity: u64,
    /// Refused for what stands under its key.
    wrong_type: u64,
    /// Refused otherwise.
    refused: u64,
}

/// How often each command was answered, and in which way.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answers: BTreeMap<&'static str, Answers>,
    /// Transactions that were executed, and that came to nothing since a watched key was changed.
    pub(crate) executed: u64,
    pub(crate) aborted: u64,
}

impl Tally {
    pub(crate) fn note(&mut self, request: &[Vec<u8>], reply: &[u8]) {
        let Some(spec) = table::find(&request[0]) else {
            return;
        };
        let answers = self.answers.entry(spec.name).or_default();
        let place = if reply.starts_with(b"-ERR wrong number") {
            &mut answers.arity
        } else if reply.starts_with(b"-WRONGTYPE") {
            &mut answers.wrong_type
        } else if reply.starts_with(b"-") {
            &mut answers.refused
        } else {
            &mut answers.executed
        };
        *place += 1;
    }

    /// Fails if a command was never executed, or never refused as it might have been.
    pub(crate) fn judge(&self) {
        let mut missing = Vec::new();
        for spec in table::all() {
            let answers = self.answers.get(spec.name).copied().unwrap_or_default();
            let mut want = |is_there: bool, what: &str| {
                if !is_there {
                    missing.push(format!("{} was never {what}", spec.name));
                }
            };
            // Without a cluster Redis refuses its commands, and who has no password may give none.
            let is_refused = ["auth", "cluster", "readonly", "readwrite", "asking"];
            want(
                answers.executed > 0 || is_refused.contains(&spec.name),
                "executed",
            );
            // To EXEC Redis says then that the transaction is discarded.
            want(
                answers.arity > 0 || spec.arity == -1 || spec.name == "exec",
                "given too few arguments, or too many",
            );
            want(
                answers.wrong_type > 0 || !is_typed(spec),
                "used on a key of another type",
            );
        }
        assert!(missing.is_empty(), "{}", missing.join("\n"));
        assert!(self.executed > 0 && self.aborted > 0, "{self:?}");
    }
}

/// Whether a command works on keys of one type alone.
fn is_typed(spec: &Spec) -> bool {
    let types = ["string", "list", "set", "sortedset", "hash"];
    // SET and its like replace whatever there is, and MGET takes it for nothing.
    let takes_all = ["set", "setnx", "setex", "psetex", "mget", "mset", "msetnx"];
    spec.way != Way::Connection
        && !takes_all.contains(&spec.name)
        && spec.categories.split(' ').any(|it| types.contains(&it))
}
