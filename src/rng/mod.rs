//! The crate's one random generator: counter-based, so that a draw can be had by its index.
//!
//! A counter-based generator has no state to carry along: block `i` of stream `s` under key `k` is a function of
//! `(k, s, i)`. Threads that share out a loop draw by index and give the same bits however the loop was split.

mod normal;

pub(crate) use normal::normal;
use std::convert::Infallible;

/// One block of Philox4x32-10: 128 random bits that depend on `key` and `counter` alone.
///
/// Ten rounds of two 32 x 32 -> 64 bit multiplications; the halves are swapped and mixed with a key that walks by the
/// Weyl constants. Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3.
#[inline]
pub fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    const ROUNDS: usize = 10;
    let wide = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    let [mut k0, mut k1] = key;
    let mut c = counter;
    for _ in 0..ROUNDS {
        let (high0, low0) = wide(MULTIPLIERS[0], c[0]);
        let (high1, low1) = wide(MULTIPLIERS[1], c[2]);
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0];
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    c
}

/// The lower half and the upper one.
#[inline(always)]
pub(crate) fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// The counter of a block of a stream.
#[inline(always)]
pub(crate) fn counter(stream: u64, block: u64) -> [u32; 4] {
    let ([b0, b1], [s0, s1]) = (halves(block), halves(stream));
    [b0, b1, s0, s1]
}

/// A seeded random generator: Philox4x32-10 with the seed as its key.
///
/// The 128-bit counter holds a stream number (upper half) and a block number (lower half); a block gives four `u32`.
/// Equal seeds give equal bits on every machine and for any number of threads. Not for cryptography.
///
/// It implements `rand_core`'s traits, so the distributions of `rand_distr` work with it.
///
/// ```
/// use wengert::Rng;
///
/// let mut rng = Rng::new(7);
/// let first = rng.next_u32();
/// assert_eq!(Rng::new(7).next_u32(), first);
/// // Every worker has a stream of its own, whatever the others draw.
/// let mut worker = rng.stream(3);
/// assert!(worker.uniform() < 1.0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    key: u64,
    stream: u64,
    /// The block that is computed next.
    block: u64,
    words: [u32; 4],
    /// How many of `words` have been drawn; 4 when a new block is due.
    drawn: usize,
}

impl Rng {
    /// The generator with this seed, at the start of its sequence.
    pub fn new(seed: u64) -> Self {
        Rng { key: seed, stream: 0, block: 0, words: [0; 4], drawn: 4 }
    }

    /// Sub-stream `index`: a generator that is independent of this one and of its other sub-streams.
    ///
    /// It depends on the seed (and on the stream this generator itself is) and on `index`, not on what has been drawn.
    /// Sub-streams have sub-streams of their own.
    pub fn stream(&self, index: u64) -> Rng {
        // Key and stream number, 128 bits, are themselves a Philox block. Its key differs from the one that draws, so
        // that a sub-stream's name is not to be seen among the parent's draws.
        const NAMING: u64 = 0x6A09_E667_F3BC_C908; // the fractional part of the square root of 2
        let [a, b, c, d] = philox(halves(self.key ^ NAMING), counter(self.stream, index));
        Rng { key: join(a, b), stream: join(c, d), ..Rng::new(0) }
    }

    /// The next 32 random bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.drawn == 4 {
            self.words = self.block(0);
            self.block = self.block.wrapping_add(1);
            self.drawn = 0;
        }
        self.drawn += 1;
        self.words[self.drawn - 1]
    }

    /// The next 64 random bits, the lower half first.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        join(low, self.next_u32())
    }

    /// A uniform number in `[0, 1)`: a multiple of `2^-53`.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        uniform([self.next_u32(), self.next_u32()])
    }

    /// A uniform number in `[0, 1)`: a multiple of `2^-24`.
    #[inline]
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// A normal number, mean 0 and variance 1: `sqrt(-2 ln u) cos(2 pi v)` with `u` in `(0, 1]`, `v` in `[0, 1)`.
    ///
    /// Logarithm and cosine are the crate's own, to two units in the last place, the same on every machine.
    ///
    /// Box and Muller, "A note on the generation of random normal deviates", 1958. The sine of the pair is left aside,
    /// so that the generator has no state besides its position.
    pub fn normal(&mut self) -> f64 {
        normal([(); 4].map(|()| self.next_u32()))
    }

    /// A whole number in `0..n`, every one equally likely.
    ///
    /// Lemire, "Fast random integer generation in an interval", 2019, algorithm 5: the upper half of a 128-bit product,
    /// with the few draws rejected that would favour some numbers.
    ///
    /// # Panics
    /// When `n` is 0.
    #[track_caller]
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "below: expected an upper bound of at least 1, found 0");
        let n = n as u64;
        let rejected = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= rejected {
                return (product >> 64) as usize;
            }
        }
    }

    /// Puts the slice in random order, every order equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, slice: &mut [T]) {
        for last in (1..slice.len()).rev() {
            slice.swap(last, self.below(last + 1));
        }
    }

    /// Where the generator stands: its key, its stream, the block and the word that are drawn next.
    ///
    /// [`Rng::at`] turns it into the same generator again, for a training run that is resumed.
    pub fn position(&self) -> [u64; 4] {
        match self.drawn {
            4 => [self.key, self.stream, self.block, 0],
            drawn => [self.key, self.stream, self.block.wrapping_sub(1), drawn as u64],
        }
    }

    /// The generator that stands at a [`Rng::position`]. The word counts modulo 4.
    pub fn at(position: [u64; 4]) -> Rng {
        let [key, stream, block, word] = position;
        let mut rng = Rng { key, stream, block, ..Rng::new(0) };
        for _ in 0..word % 4 {
            rng.next_u32();
        }
        rng
    }

    /// The block `index` places after the next whole one, without drawing it: how a kernel draws by index.
    #[inline]
    pub fn block(&self, index: u64) -> [u32; 4] {
        philox(halves(self.key), counter(self.stream, self.block.wrapping_add(index)))
    }

    /// The generator as it will be when so many words have been drawn.
    pub(crate) fn after(&self, words: u64) -> Rng {
        let [key, stream, block, word] = self.position();
        let word = word + words % 4;
        Rng::at([key, stream, block.wrapping_add(words / 4 + word / 4), word % 4])
    }

    /// Leaves out the rest of the current block and then `blocks` blocks, in constant time.
    ///
    /// A kernel that has drawn by [`Rng::block`] moves the generator past its draws with this.
    pub fn skip(&mut self, blocks: u64) {
        self.block = self.block.wrapping_add(blocks);
        self.drawn = 4;
    }
}

/// The generator's draws for `rand` and `rand_distr`; they cannot fail.
impl rand_core::TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.next_u32().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Seeding in `rand`'s manner; `seed_from_u64` is [`Rng::new`].
impl rand_core::SeedableRng for Rng {
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Self {
        Rng::new(u64::from_le_bytes(seed))
    }

    fn seed_from_u64(seed: u64) -> Self {
        Rng::new(seed)
    }
}

/// `words / 2^64`, rounded down to a multiple of `2^-53`; the lower word first.
#[inline(always)]
fn uniform([low, high]: [u32; 2]) -> f64 {
    f64::from(high) * (1.0 / (1u64 << 32) as f64) + f64::from(low >> 11) * (1.0 / (1u64 << 53) as f64)
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

thread_local! {
    static THREAD_RNG: std::cell::RefCell<Rng> = std::cell::RefCell::new(Rng::new(0));
}

/// Sets the seed of this thread's generator, which initialization, dropout, shuffling and `Tensor::randn` draw from.
///
/// ```
/// use wengert::{Tensor, seed};
/// seed(7);
/// let a = Tensor::randn([3]).to_vec();
/// seed(7);
/// assert_eq!(Tensor::randn([3]).to_vec(), a);
/// ```
pub fn seed(seed: u64) {
    set_thread_rng(Rng::new(seed));
}

/// This thread's generator as it stands, which [`set_thread_rng`] brings back: a training run that is resumed draws what it
/// would have drawn.
///
/// ```
/// use wengert::{Tensor, set_thread_rng, thread_rng};
/// let before = thread_rng();
/// let a = Tensor::randn([3]).to_vec();
/// set_thread_rng(before);
/// assert_eq!(Tensor::randn([3]).to_vec(), a);
/// ```
pub fn thread_rng() -> Rng {
    with_thread_rng(|rng| rng.clone())
}

/// Puts a generator in the place of this thread's, which initialization, dropout, shuffling and `Tensor::randn` draw from.
pub fn set_thread_rng(rng: Rng) {
    THREAD_RNG.set(rng);
}

/// Draws from this thread's generator.
pub(crate) fn with_thread_rng<R>(f: impl FnOnce(&mut Rng) -> R) -> R {
    THREAD_RNG.with_borrow_mut(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        // Random123, tests/kat_vectors, the three lines `philox4x32 10`: counter, key, answer.
        let known = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, answer) in known {
            assert_eq!(philox(key, counter), answer);
        }
    }

    #[test]
    fn draws_are_the_blocks_in_order() {
        let mut rng = Rng::new(0x299f_31d0_a409_3822);
        for block in 0..5 {
            let expected = philox([0xa409_3822, 0x299f_31d0], [block, 0, 0, 0]);
            assert_eq!([(); 4].map(|()| rng.next_u32()), expected);
        }
    }

    #[test]
    fn a_saved_position_resumes_at_every_word() {
        let mut rng = Rng::new(3).stream(9);
        for _ in 0..11 {
            let (mut saved, mut original) = (Rng::at(rng.position()), rng.clone());
            for _ in 0..9 {
                assert_eq!(saved.next_u32(), original.next_u32());
            }
            rng.next_u32();
        }
    }

    #[test]
    fn skipping_is_drawing_and_a_block_ahead_is_what_will_be_drawn() {
        let mut rng = Rng::new(5);
        rng.next_u32();
        let (third, mut skipped) = (rng.block(2), rng.clone());
        skipped.skip(2);
        for _ in 0..3 + 8 {
            rng.next_u32();
        }
        assert_eq!(rng.block(0), third);
        assert_eq!(rng.next_u64(), skipped.next_u64());
        assert_eq!(rng.position(), skipped.position());
    }

    #[test]
    fn after_some_words_it_stands_where_drawing_them_leads() {
        for begun in 0..6 {
            let mut start = Rng::new(5);
            (0..begun).for_each(|_| _ = start.next_u32());
            let mut drawn = start.clone();
            for words in 0..14 {
                let mut after = start.after(words);
                assert_eq!(after.position(), drawn.position(), "{begun} {words}");
                assert_eq!(after.next_u32(), drawn.next_u32(), "{begun} {words}");
            }
        }
    }

    #[test]
    fn streams_differ_from_each_other_and_do_not_depend_on_what_was_drawn() {
        let mut rng = Rng::new(0);
        let mut first: Vec<u64> = (0..1000).map(|i| rng.stream(i).next_u64()).collect();
        first.extend((0..1000).map(|i| rng.stream(0).stream(i).next_u64()));
        first.extend((0..1000).map(|_| rng.next_u64()));
        assert_eq!(rng.stream(17).next_u64(), first[17]);
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 3000);
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        const N: usize = 100_000;
        let mut rng = Rng::new(1);
        let mean = |draws: &[f64], power: i32| draws.iter().map(|x| x.powi(power)).sum::<f64>() / N as f64;
        // Bounds: six standard errors, sqrt(variance of x^power / N).
        let u: Vec<f64> = (0..N).map(|_| rng.uniform()).collect();
        assert!(u.iter().all(|x| (0.0..1.0).contains(x)));
        assert!((mean(&u, 1) - 1.0 / 2.0).abs() < 6.0 * (1.0 / 12.0 / N as f64).sqrt());
        assert!((mean(&u, 2) - 1.0 / 3.0).abs() < 6.0 * (4.0 / 45.0 / N as f64).sqrt());
        let z: Vec<f64> = (0..N).map(|_| rng.normal()).collect();
        assert!(mean(&z, 1).abs() < 6.0 * (1.0 / N as f64).sqrt());
        assert!((mean(&z, 2) - 1.0).abs() < 6.0 * (2.0 / N as f64).sqrt());
        assert!((mean(&z, 4) - 3.0).abs() < 6.0 * (96.0 / N as f64).sqrt());
        let f = (0..N).map(|_| f64::from(rng.uniform_f32())).collect::<Vec<_>>();
        assert!(f.iter().all(|x| (0.0..1.0).contains(x)));
        assert!((mean(&f, 1) - 1.0 / 2.0).abs() < 6.0 * (1.0 / 12.0 / N as f64).sqrt());
    }

    #[test]
    fn below_is_even_and_shuffle_reaches_every_order_equally() {
        let mut rng = Rng::new(2);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            let mut order = [0, 1, 2];
            rng.shuffle(&mut order);
            counts[order[0] * 2 + usize::from(order[1] > order[2])] += 1;
        }
        // 10,000 each; the standard deviation of a count is sqrt(60,000 * 1/6 * 5/6) = 91.
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 6 * 91), "{counts:?}");
        assert_eq!(rng.below(1), 0);
        assert!((0..100).map(|_| rng.below(7)).max() == Some(6));
    }

    #[test]
    #[should_panic(expected = "below: expected an upper bound of at least 1, found 0")]
    fn below_zero_panics() {
        Rng::new(0).below(0);
    }

    #[test]
    fn rand_core_draws_the_same_words() {
        fn draw(rng: &mut impl rand_core::Rng) -> (u32, u64, [u8; 6]) {
            let mut bytes = [0; 6];
            let words = (rng.next_u32(), rng.next_u64());
            rng.fill_bytes(&mut bytes);
            (words.0, words.1, bytes)
        }
        let mut rng = Rng::new(8);
        let (a, b) = (rng.next_u32(), rng.next_u64());
        let bytes = [rng.next_u32(), rng.next_u32()].map(u32::to_le_bytes).concat();
        assert_eq!(
            draw(&mut <Rng as rand_core::SeedableRng>::seed_from_u64(8)),
            (a, b, bytes[..6].try_into().unwrap())
        );
    }
}
