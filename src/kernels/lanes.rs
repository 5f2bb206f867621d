//! Folds of one row: sums and the like, in lanes that run side by side.
//!
//! The lanes are arrays that an inner loop of fixed length walks through; the compiler keeps them in registers as long as
//! nothing addresses them by a variable index, which is why the row's end has lanes of its own.

use super::prefetch::request_after;
use super::processor::fetches_ahead;

/// Lanes of one fold: enough vectors that none waits for its own last result.
const LANES: usize = 64;
/// Lanes of each of two sums: with 64 those of AVX2 would not fit the registers.
const PAIRS: usize = 32;
/// Lanes that take what is left of a row, but for the last few elements.
const FEW: usize = 16;

/// Folds the lanes to one by halves. Inlined, the compiler would take the vectors of the loop before it apart into single
/// numbers.
#[inline(never)]
pub(super) fn folded<T: Copy, const N: usize>(lanes: &[T; N], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = *lanes;
    let mut width = N / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] = f(lanes[l], lanes[l + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of the lanes.
#[inline(always)]
fn total<T: Copy + std::ops::Add<Output = T>>(lanes: &[T; PAIRS]) -> T {
    let (chunks, _) = lanes.as_chunks::<8>();
    let mut few = chunks[0];
    for chunk in &chunks[1..] {
        for l in 0..8 {
            few[l] = few[l] + chunk[l];
        }
    }
    ((few[0] + few[4]) + (few[2] + few[6])) + ((few[1] + few[5]) + (few[3] + few[7]))
}

/// `f` of `start` and of `term(a[i], b[i])` for all `i`, where `f` is associative and `start` its neutral element; in an order
/// that depends on the length alone. The slices have one length.
#[inline(always)]
pub(super) fn fold<T: Copy>(a: &[T], b: &[T], start: T, f: impl Fn(T, T) -> T, term: impl Fn(T, T) -> T) -> T {
    let ((a_chunks, a), (b_chunks, b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let ((a_few, a), (b_few, b)) = (a.as_chunks::<FEW>(), b.as_chunks::<FEW>());
    let mut all = start;
    if !a_chunks.is_empty() || !a_few.is_empty() {
        let requests = !fetches_ahead();
        let mut lanes = [start; LANES];
        for (a, b) in a_chunks.iter().zip(b_chunks) {
            if requests {
                request_after(a);
            }
            for l in 0..LANES {
                lanes[l] = f(lanes[l], term(a[l], b[l]));
            }
        }
        for (a, b) in a_few.iter().zip(b_few) {
            for l in 0..FEW {
                lanes[l] = f(lanes[l], term(a[l], b[l]));
            }
        }
        all = folded(&lanes, &f);
    }
    let mut end = start;
    for (&a, &b) in a.iter().zip(b) {
        end = f(end, term(a, b));
    }
    f(all, end)
}

/// The sums of both of `term(a[i], b[i], c[i])` over all `i`, from `zero` on; as [`fold`].
#[inline(always)]
pub(super) fn sums<T: Copy + std::ops::Add<Output = T>>(
    [a, b, c]: [&[T]; 3],
    zero: T,
    term: impl Fn(T, T, T) -> (T, T),
) -> (T, T) {
    let (a_chunks, a) = a.as_chunks::<PAIRS>();
    let (b_chunks, b) = b.as_chunks::<PAIRS>();
    let (c_chunks, c) = c.as_chunks::<PAIRS>();
    let ((a_few, a), (b_few, b), (c_few, c)) = (a.as_chunks::<FEW>(), b.as_chunks::<FEW>(), c.as_chunks::<FEW>());
    let mut all = (zero, zero);
    if !a_chunks.is_empty() || !a_few.is_empty() {
        let (mut first, mut second) = ([zero; PAIRS], [zero; PAIRS]);
        for ((a, b), c) in a_chunks.iter().zip(b_chunks).zip(c_chunks) {
            for l in 0..PAIRS {
                let (one, other) = term(a[l], b[l], c[l]);
                first[l] = first[l] + one;
                second[l] = second[l] + other;
            }
        }
        for ((a, b), c) in a_few.iter().zip(b_few).zip(c_few) {
            for l in 0..FEW {
                let (one, other) = term(a[l], b[l], c[l]);
                first[l] = first[l] + one;
                second[l] = second[l] + other;
            }
        }
        all = (total(&first), total(&second));
    }
    let mut end = (zero, zero);
    for ((&a, &b), &c) in a.iter().zip(b).zip(c) {
        let (one, other) = term(a, b, c);
        end = (end.0 + one, end.1 + other);
    }
    (all.0 + end.0, all.1 + end.1)
}
