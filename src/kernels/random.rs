//! Normal numbers of the random generator, many at a time.

use super::parallel::pieces_mut;
use super::simd::{isa, simd};
use crate::element::Float;
use crate::rng::{Rng, counter, halves, normal, philox};

/// Numbers that are drawn side by side.
const LANES: usize = 32;
/// As few are drawn one by one.
const FEW: usize = 8;

simd! {
    /// The normal numbers of the words from `position` on.
    fn normals_from[T: Float](position: [u64; 4], y: &mut [T]) {
        let [key, stream, mut block, word] = position;
        let key = halves(key);
        // Word j of a number is word `places[j][0]` of a block, which is the number's own or the one after it.
        let places = [0, 1, 2, 3].map(|j| [(word as usize + j) % 4, (word as usize + j) / 4]);
        // Word by word, and the block before the others first.
        let mut words = [[0; LANES + 1]; 4];
        words.iter_mut().zip(philox(key, counter(stream, block))).for_each(|(words, word)| words[0] = word);
        for y in y.chunks_mut(LANES) {
            for l in 0..LANES {
                let drawn = philox(key, counter(stream, block.wrapping_add(1 + l as u64)));
                for j in 0..4 {
                    words[j][1 + l] = drawn[j];
                }
            }
            let mut parts = [[0; LANES]; 4];
            for (part, [word, from]) in parts.iter_mut().zip(places) {
                part.copy_from_slice(&words[word][from..][..LANES]);
            }
            let mut numbers = [0.0; LANES];
            for l in 0..LANES {
                numbers[l] = normal([parts[0][l], parts[1][l], parts[2][l], parts[3][l]]);
            }
            y.iter_mut().zip(numbers).for_each(|(y, number)| *y = T::of(number));
            words.iter_mut().for_each(|words| words[0] = words[LANES]);
            block = block.wrapping_add(LANES as u64);
        }
    }
}

/// The normal numbers that a generator at this [`Rng::position`](crate::Rng::position) gives in order.
pub fn normals<T: Float>([key, stream, block, word]: [u64; 4], y: &mut [T]) {
    if y.len() <= FEW {
        let mut rng = Rng::at([key, stream, block, word]);
        return y.iter_mut().for_each(|y| *y = T::of(rng.normal()));
    }
    let isa = isa();
    // Each takes as many words as a block has.
    pieces_mut(y, |start, y| normals_from(isa, [key, stream, block.wrapping_add(start as u64), word], y));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, on_every_machine};

    #[test]
    fn many_are_those_of_the_generator_in_order_with_the_same_bits_on_every_machine() {
        for n in [0, 1, FEW + 1, 31, 32, 33, 1000] {
            for begun in 0..5 {
                let mut rng = Rng::at([0x299f_31d0_a409_3822, 3 << 40, (1 << 32) - 9, 0]);
                (0..begun).for_each(|_| _ = rng.next_u32());
                let results = on_every_machine(
                    || {
                        let (mut single, mut double) = (vec![9.0_f32; n], vec![9.0_f64; n]);
                        normals(rng.position(), &mut single);
                        normals(rng.position(), &mut double);
                        (single, double)
                    },
                    |(single, double)| [bits(single), bits(double)],
                );
                let mut one_by_one = rng.clone();
                let expected: Vec<f64> = (0..n).map(|_| one_by_one.normal()).collect();
                for (single, double) in results {
                    assert!(bits(&double) == bits(&expected), "{n} from word {begun}");
                    assert!(single.iter().zip(&expected).all(|(&x, &expected)| x == expected as f32));
                }
            }
        }
    }
}
