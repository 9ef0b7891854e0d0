//! A cluster's status in few words.

use std::fmt;

use standin_core::message::StatusReply;

/// A status in one line, for error messages.
#[derive(Debug)]
pub struct Outline<'a>(pub &'a StatusReply);

impl fmt::Display for Outline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.record {
            None => write!(f, "no view yet")?,
            Some(record) => {
                let state = if record.active { "active" } else { "inactive" };
                write!(
                    f,
                    "view {} ({state}), primary {}",
                    record.view, record.primary.name
                )?;
                match &record.backup {
                    Some(backup) => write!(f, ", backup {}", backup.name)?,
                    None => write!(f, ", no backup")?,
                }
            }
        }
        for replica in &self.0.replicas {
            let role = replica
                .standing
                .map_or("silent", |standing| standing.role.word());
            let life = if replica.is_alive {
                "alive"
            } else {
                "not heard of"
            };
            write!(f, "; {} {role}, {life}", replica.peer.identity.name)?;
            if let Some(trouble) = &replica.trouble {
                write!(f, " ({trouble})")?;
            }
        }
        match &self.0.unavailable {
            Some(reason) => write!(f, "; unavailable: {reason}"),
            None => Ok(()),
        }
    }
}
