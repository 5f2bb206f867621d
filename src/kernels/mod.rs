//! Loops over slices: the arithmetic of the crate, without tensors.
//!
//! This is the only place with threads, instruction sets and (with `memory`) `unsafe`. It is public so that benches and
//! curious users reach it; its functions may change between minor versions.
#![allow(unsafe_code, reason = "instruction sets and disjoint writes; each block states why it is sound")]

pub mod attention;
pub mod conv;
pub mod crf;
pub mod ctc;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod gamma;
pub mod gemm;
mod lanes;
pub mod linalg;
pub mod math;
pub mod norm;
pub mod optim;
pub mod parallel;
pub mod pick;
pub mod pool;
mod prefetch;
mod processor;
pub mod random;
pub mod recurrent;
pub mod reduce;
pub mod simd;
pub mod softmax;
mod strided;
#[cfg(test)]
pub(crate) mod testing;
mod threads;
pub mod unfold;
