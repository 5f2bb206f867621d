//! Deep learning in Rust, on a tape.

pub mod element;
pub mod kernels;
