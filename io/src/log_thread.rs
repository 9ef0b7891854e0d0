//! The thread that writes the log.
