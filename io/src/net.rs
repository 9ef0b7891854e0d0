//! Framed connections over one event loop.
