//! The decisions of a primary, step by step: one event in, the actions compared.

mod backup_trouble;
mod feeding;
mod forgetting;
mod handover;
mod room;
mod rules;
mod runs;
mod slowness;
mod support;
mod versions;
