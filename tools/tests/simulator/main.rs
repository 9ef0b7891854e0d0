//! The simulator, in one program: whatever uses it compiles all that is simulated, and that takes long.

mod deadly;
mod planted_bugs;
mod scenarios;
mod simulate;
mod surviving_logs;
