//! The checker of histories is tested too: it must accept what one copy of a machine can show, refuse
//! everything else, and say so when it does not know.

mod against_stateright;
mod generate;
mod large;
mod verdicts;
