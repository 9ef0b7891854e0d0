//! What a client is told instead of an answer.

use standin_client::ClientError;
use standin_resp::Version;
use standin_resp::writer::ReplyWriter;

/// Writes why a command or query was not done, or that nobody knows whether it was.
pub(super) fn write_error(error: &ClientError, out: &mut Vec<u8>) {
    // An error looks the same in both versions.
    ReplyWriter::new(out, Version::default()).error(words(error));
}

fn words(error: &ClientError) -> String {
    match error {
        ClientError::Refused { reason } => format!("ERR nothing was done: {reason}"),
        ClientError::NoRoom { words } => format!("MISCONF nothing was done: {words}"),
        ClientError::Skipped { entry } => format!(
            "ERR nothing was done: the database fails at this command, or at one that came with it, in entry {entry} of the log, which is skipped"
        ),
        ClientError::AnswerLost { seen } => format!(
            "ERR nothing was done: an operator forced a takeover, and what was answered up to entry {} (view {}) may \
             be lost; look at the data before you go on",
            seen.index, seen.view
        ),
        ClientError::OutcomeUnknown { trouble, .. } => format!(
            "ERR the outcome is unknown: {trouble}; the command may or may not have been executed; look at the data \
             before you repeat it"
        ),
        ClientError::NotPrimary { trouble, .. } | ClientError::Unavailable { trouble, .. } => {
            format!("TRYAGAIN nothing was done: {trouble}")
        }
        other if other.is_outcome_unknown() => format!(
            "ERR the outcome is unknown: {other}; look at the data before you repeat the command"
        ),
        other => format!("ERR nothing was done: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use standin_client::Trouble;
    use standin_core::entry::Index;
    use standin_core::time::Duration;

    use super::*;

    #[test]
    fn only_what_is_unknown_is_called_so() {
        let waited = Duration::from_secs(1);
        let address = "h:1".to_owned();
        let unknown = ClientError::OutcomeUnknown {
            waited,
            trouble: Trouble::SessionExpired,
        };
        assert!(words(&unknown).starts_with("ERR the outcome is unknown: "));
        let certain = [
            ClientError::Refused {
                reason: "r".to_owned(),
            },
            ClientError::NoRoom {
                words: "w".to_owned(),
            },
            ClientError::Skipped { entry: Index(7) },
            ClientError::AnswerLost {
                seen: standin_client::Seen::default(),
            },
            ClientError::Unavailable {
                waited,
                trouble: Trouble::NothingTried,
            },
            ClientError::Protocol {
                address,
                what: "w".to_owned(),
            },
        ];
        for error in certain {
            let words = words(&error);
            assert!(words.contains(" nothing was done: "), "{words}");
            assert!(!words.contains("unknown"), "{words}");
        }
    }
}
