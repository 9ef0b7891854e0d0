//! The data directory of one machine.
