//! The machine's clocks, read once per wake-up.
