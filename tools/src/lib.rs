//! What is run on Standin rather than in it: the demo, and the cluster harness under it; the benchmark
//! and its relay floor; replays of logs; the checker of histories; the simulator; the exhaustive look. They write what
//! came out of it as the command line does.

pub mod bench;
pub mod cluster;
pub mod demo;
pub mod explore;
pub mod history;
pub mod load;
pub mod output;
pub mod relay;
pub mod replay;
pub mod simulate;
