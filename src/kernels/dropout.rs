//! Dropout: elements that survive a draw are scaled, the others are 0. The draws are had by counter, so nothing needs to be
//! saved for the way back: the same numbers are drawn again.

use super::parallel::{PIECES, pieces_mut};
use super::simd::{isa, simd};
use crate::element::Float;
use crate::rng::{counter, halves, philox};

/// Blocks that are drawn side by side.
const LANES: usize = 16;
/// Elements that they decide: four words each.
const GROUP: usize = 4 * LANES;

/// Which elements survive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    /// The generator's key.
    pub key: u64,
    /// The generator's stream.
    pub stream: u64,
    /// The first block that is drawn.
    pub block: u64,
    /// An element survives when its word is not below this: the probability to go is `threshold / 2^32`.
    pub threshold: u32,
}

/// How many blocks of the generator decide over `n` elements.
pub fn blocks(n: usize) -> u64 {
    (n.div_ceil(GROUP) * LANES) as u64
}

simd! {
    /// `y[i] = x[i] scale` where element `start + i` survives, else 0; `start` is a multiple of `GROUP`.
    fn apply_from[T: Float](mask: Mask, start: usize, x: &[T], scale: T, y: &mut [T]) {
        let key = halves(mask.key);
        let mut block = mask.block.wrapping_add((start / 4) as u64);
        for (x, y) in x.chunks(GROUP).zip(y.chunks_mut(GROUP)) {
            // Word j of block b decides over element j * LANES + b of the group: no transposition.
            let mut words = [[0; LANES]; 4];
            for l in 0..LANES {
                let drawn = philox(key, counter(mask.stream, block.wrapping_add(l as u64)));
                words.iter_mut().zip(drawn).for_each(|(words, word)| words[l] = word);
            }
            for ((y, &x), &word) in y.iter_mut().zip(x).zip(words.as_flattened()) {
                *y = if word >= mask.threshold { x * scale } else { T::ZERO };
            }
            block = block.wrapping_add(LANES as u64);
        }
    }
}

/// `y[i] = x[i] scale` where element `i` survives, else 0.
///
/// # Panics
/// When the lengths differ.
pub fn apply<T: Float>(mask: Mask, x: &[T], scale: T, y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "dropout: lengths differ");
    let isa = isa();
    const { assert!(PIECES.is_multiple_of(GROUP)) };
    pieces_mut(y, |start, y| apply_from(isa, mask, start, &x[start..start + y.len()], scale, y));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::parallel::GRAIN;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    #[test]
    fn survivors_are_those_that_the_generators_words_name() {
        for n in [0, 1, 5, 63, 64, 65, 1000, GRAIN, GRAIN + 1, 3 * GRAIN + 77] {
            let mask = Mask { key: 0x1234_5678_9abc_def0, stream: 3 << 40, block: (1 << 32) - 5, threshold: 1 << 30 };
            let x: Vec<f32> = noise(n, 7).into_iter().map(|x| x as f32).collect();
            let results = on_every_machine(
                || {
                    let mut y = vec![9.0; n];
                    apply(mask, &x, 4.0 / 3.0, &mut y);
                    y
                },
                |y| bits(y),
            );
            for y in results {
                for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
                    let block = mask.block + (i / 64 * 16 + i % 16) as u64;
                    let counter = [block as u32, (block >> 32) as u32, 0, 3 << 8];
                    let word = philox([0x9abc_def0, 0x1234_5678], counter)[i % 64 / 16];
                    assert_eq!(y, if word >= 1 << 30 { x * (4.0 / 3.0) } else { 0.0 }, "{i} of {n}");
                    assert!(block - mask.block < blocks(n));
                }
            }
        }
    }
}
