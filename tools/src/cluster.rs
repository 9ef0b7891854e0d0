//! Real processes on loopback, to be broken on purpose.
