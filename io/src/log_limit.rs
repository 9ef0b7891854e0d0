//! Keeps a flood of like log lines short.
