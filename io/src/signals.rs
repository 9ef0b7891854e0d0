//! Signals as something the event loop can wait for.
