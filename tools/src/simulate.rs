//! The simulator: whole clusters in one thread and in virtual time.

pub mod disk;
