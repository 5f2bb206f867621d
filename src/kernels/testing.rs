//! What the tests of the kernels share.

use super::parallel::with_num_threads;
use super::simd::{Isa, with_isa};
use std::fmt::Debug;

/// Runs `f` on every instruction set; on each with 1, 2, 3 and 8 threads, which must agree in every bit (`bits` tells
/// NaN from NaN); gives the result of every instruction set.
pub fn on_every_machine<R: Send, B: PartialEq + Debug>(f: impl Fn() -> R + Sync, bits: impl Fn(&R) -> B) -> Vec<R> {
    Isa::available()
        .into_iter()
        .map(|isa| {
            let mut first: Option<(R, B)> = None;
            for threads in [1, 2, 3, 8] {
                let result = with_num_threads(threads, || with_isa(isa, &f));
                let image = bits(&result);
                match &first {
                    Some((_, expected)) => assert!(*expected == image, "{isa:?}: {threads} threads change the bits"),
                    None => first = Some((result, image)),
                }
            }
            first.expect("a number of threads").0
        })
        .collect()
}

/// The bits of numbers.
pub fn bits<T: crate::element::Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// `n` numbers between -1 and 1, the same on every run.
pub fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}
