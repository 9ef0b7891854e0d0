//! Random numbers from the kernel.
