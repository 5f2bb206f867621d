//! The transforms but that of the input, which is a micro-kernel ([`Squares`](crate::kernels::gemm::Squares)). Sixteen numbers stand
//! for each tile and channel; their place in the square of 4 x 4 is the slowest axis.
//!
//! ```text
//! B^T = 1  0 -1  0    G = 1    0    0     A^T = 1  1  1  0
//!       0  1  1  0        1/2  1/2  1/2         0  1 -1 -1
//!       0 -1  1  0        1/2 -1/2  1/2
//!       0  1  0 -1        0    0    1
//! ```
#![allow(clippy::needless_range_loop, reason = "loops over registers; counted ones unroll whole")]

use crate::element::Float;
use crate::kernels::simd::simd;
use std::ops::{Add, Mul, Sub};

/// Numbers that are transformed side by side; the width of a panel is a multiple.
const L: usize = 8;

/// So many numbers.
#[derive(Clone, Copy)]
struct Lanes<T>([T; L]);

impl<T: Float> Lanes<T> {
    #[inline(always)]
    fn all(x: T) -> Self {
        Lanes([x; L])
    }

    /// # Safety
    /// `L` numbers must be there.
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller vouches for it; an array is aligned as its numbers are.
        Lanes(unsafe { from.cast::<[T; L]>().read() })
    }

    /// # Safety
    /// There must be room for `L` numbers.
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: as above.
        unsafe { to.cast::<[T; L]>().write(self.0) }
    }

    #[inline(always)]
    fn relu(mut self) -> Self {
        for x in &mut self.0 {
            *x = x.relu();
        }
        self
    }
}

macro_rules! lanes {
    ($($trait:ident $name:ident),+) => {$(
        impl<T: Float> $trait for Lanes<T> {
            type Output = Self;
            #[inline(always)]
            fn $name(mut self, other: Self) -> Self {
                for l in 0..L {
                    self.0[l] = self.0[l].$name(other.0[l]);
                }
                self
            }
        }
    )+};
}
lanes!(Add add, Sub sub, Mul mul);

/// `G g`, one column.
macro_rules! widen {
    ([$a:expr, $b:expr, $c:expr]) => {{
        let (a, b, c, half) = ($a, $b, $c, Lanes::all(T::of(0.5)));
        let (ends, middle) = (half * (a + c), half * b);
        [a, ends + middle, ends - middle, c]
    }};
}

/// `A^T m`, one column.
macro_rules! gather {
    ([$a:expr, $b:expr, $c:expr, $d:expr]) => {{
        let (a, b, c, d) = ($a, $b, $c, $d);
        [a + b + c, b - c - d]
    }};
}

/// `A y`, one column.
macro_rules! scatter {
    ([$a:expr, $b:expr]) => {{
        let (a, b) = ($a, $b);
        [a, a + b, a - b, Lanes::all(T::ZERO) - b]
    }};
}

/// `G^T s`, one column.
macro_rules! narrow {
    ([$a:expr, $b:expr, $c:expr, $d:expr]) => {{
        let (a, b, c, d, half) = ($a, $b, $c, $d, Lanes::all(T::of(0.5)));
        [a + half * (b + c), half * (b - c), d + half * (b + c)]
    }};
}

simd! {
    /// The weights of a panel, `[channels, 9, width]` (in reversed order of the taps if `flip`), to `[16, channels, width]`.
    pub(super) fn weight[T: Float](taps: &[T], flip: bool, width: usize, to: &mut [T]) {
        let channels = taps.len() / (9 * width);
        assert!(width.is_multiple_of(L) && to.len() >= 16 * channels * width, "winograd: weight");
        for channel in 0..channels {
            for l in (0..width).step_by(L) {
                // SAFETY: `taps` has 9 rows of a channel; the assertion has checked `to`.
                unsafe {
                    let taps = taps.as_ptr().add(channel * 9 * width + l);
                    let to = to.as_mut_ptr().add(channel * width + l);
                    macro_rules! tap {
                        ($i:literal) => {
                            Lanes::<T>::load(taps.add(if flip { 8 - $i } else { $i } * width))
                        };
                    }
                    let a = widen!([tap!(0), tap!(3), tap!(6)]);
                    let b = widen!([tap!(1), tap!(4), tap!(7)]);
                    let c = widen!([tap!(2), tap!(5), tap!(8)]);
                    for i in 0..4 {
                        let row = widen!([a[i], b[i], c[i]]);
                        for j in 0..4 {
                            row[j].store(to.add((4 * i + j) * channels * width));
                        }
                    }
                }
            }
        }
    }

    /// The output of `lines` rows of `tiles` tiles, of one panel: from `products` `[16, tiles of all lines, width]`, number
    /// `place` `between` behind the one before, to `[rows, columns, width]`; what lies beyond is left out.
    pub(super) fn output[T: Float](
        products: &[T],
        between: usize,
        grid: [usize; 2],
        width: usize,
        bias: &[T],
        relu: bool,
        size: [usize; 2],
        to: &mut [T],
    ) {
        let ([lines, tiles], [rows, columns]) = (grid, size);
        assert!(width.is_multiple_of(L) && 15 * between + lines * tiles * width <= products.len(), "winograd: output");
        assert!(width <= bias.len() && rows * columns * width <= to.len(), "winograd: output");
        for line in 0..lines {
            for x in 0..tiles {
                for l in (0..width).step_by(L) {
                    // SAFETY: the assertions have checked all three.
                    unsafe {
                        let from = products.as_ptr().add((line * tiles + x) * width + l);
                        let to = to.as_mut_ptr().add((2 * line * columns + 2 * x) * width + l);
                        macro_rules! column {
                            ($j:literal) => {
                                gather!([
                                    Lanes::<T>::load(from.add($j * between)),
                                    Lanes::load(from.add((4 + $j) * between)),
                                    Lanes::load(from.add((8 + $j) * between)),
                                    Lanes::load(from.add((12 + $j) * between))
                                ])
                            };
                        }
                        let (a, b, c, d) = (column!(0), column!(1), column!(2), column!(3));
                        let bias = Lanes::load(bias.as_ptr().add(l));
                        for i in 0..2 {
                            let pair = gather!([a[i], b[i], c[i], d[i]]);
                            for j in 0..2 {
                                let y = pair[j] + bias;
                                let y = if relu { y.relu() } else { y };
                                if 2 * line + i < rows && 2 * x + j < columns {
                                    y.store(to.add((i * columns + j) * width));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The gradient of the output under `lines` rows of `tiles` tiles, of one panel: `[rows, columns, width]`, zeros
    /// beyond, to `[16, tiles of all lines, width]`, number `place` `between` behind the one before.
    pub(super) fn grad_output[T: Float](
        from: &[T],
        size: [usize; 2],
        grid: [usize; 2],
        width: usize,
        to: &mut [T],
        between: usize,
    ) {
        let ([lines, tiles], [rows, columns]) = (grid, size);
        assert!(width.is_multiple_of(L) && rows * columns * width <= from.len(), "winograd: gradient of the output");
        assert!(15 * between + lines * tiles * width <= to.len(), "winograd: gradient of the output");
        for line in 0..lines {
            for x in 0..tiles {
                for l in (0..width).step_by(L) {
                    // SAFETY: the assertions have checked both.
                    unsafe {
                        let from = from.as_ptr().add((2 * line * columns + 2 * x) * width + l);
                        macro_rules! pixel {
                            ($i:literal, $j:literal) => {
                                if 2 * line + $i < rows && 2 * x + $j < columns {
                                    Lanes::<T>::load(from.add(($i * columns + $j) * width))
                                } else {
                                    Lanes::all(T::ZERO)
                                }
                            };
                        }
                        let a = scatter!([pixel!(0, 0), pixel!(1, 0)]);
                        let b = scatter!([pixel!(0, 1), pixel!(1, 1)]);
                        let to = to.as_mut_ptr().add((line * tiles + x) * width + l);
                        for i in 0..4 {
                            let row = scatter!([a[i], b[i]]);
                            for j in 0..4 {
                                row[j].store(to.add((4 * i + j) * between));
                            }
                        }
                    }
                }
            }
        }
    }

    /// The sums of a panel, `[16, channels, width]`, to the gradient of its weights, `[channels, 9, width]`.
    pub(super) fn grad_weight[T: Float](sums: &[T], width: usize, to: &mut [T]) {
        let channels = to.len() / (9 * width);
        assert!(width.is_multiple_of(L) && sums.len() >= 16 * channels * width, "winograd: gradient of the weight");
        for channel in 0..channels {
            for l in (0..width).step_by(L) {
                // SAFETY: `to` has 9 rows of a channel; the assertion has checked `sums`.
                unsafe {
                    let sums = sums.as_ptr().add(channel * width + l);
                    let to = to.as_mut_ptr().add(channel * 9 * width + l);
                    macro_rules! column {
                        ($j:literal) => {
                            narrow!([
                                Lanes::<T>::load(sums.add($j * channels * width)),
                                Lanes::load(sums.add((4 + $j) * channels * width)),
                                Lanes::load(sums.add((8 + $j) * channels * width)),
                                Lanes::load(sums.add((12 + $j) * channels * width))
                            ])
                        };
                    }
                    let (a, b, c, d) = (column!(0), column!(1), column!(2), column!(3));
                    for u in 0..3 {
                        let row = narrow!([a[u], b[u], c[u], d[u]]);
                        for v in 0..3 {
                            row[v].store(to.add((3 * u + v) * width));
                        }
                    }
                }
            }
        }
    }
}
