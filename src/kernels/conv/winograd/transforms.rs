//! The transforms of both schemes: `Y = A^T [(G g G^T) * (B^T d B)] A`, and their transposes for the gradient of the weight.
//!
//! What stands for a tile and channel is a square of numbers, whose place is the slowest axis: the values of polynomials at a few
//! points, and at infinity. F(2 x 2, 3 x 3) takes 0, 1 and -1. F(4 x 4, 2 x 2) takes 1/2, -1/2, 5/4 and -5/4, which lose little
//! to rounding: by the norms of the rows 3.0 times what a direct sum loses, root mean square, where 0, 1, -1 and 2 lose 6.4 times
//! what it loses, and the best eighths (3/8 and 5/4, either sign) 2.8 times.
//!
//! ```text
//! F(2 x 2, 3 x 3)
//! B^T =  1    0    -1    0       G =  1     0    0      A^T = 1   1   1   0
//!        0    1     1    0           1/2   1/2  1/2           0   1  -1  -1
//!        0   -1     1    0           1/2  -1/2  1/2
//!        0    1     0   -1            0     0    1
//!
//! F(4 x 4, 2 x 2), with a = 1/2 and b = 5/4
//! B^T =  abb   bb   -a   -1  0   G = 16/21   8/21       A^T =  1    1    1    1   0
//!       -abb   bb    a   -1  0      -16/21   8/21              a   -a    b   -b   0
//!       -aab  -aa    b    1  0      32/105   8/21              aa   aa   bb   bb  0
//!        aab  -aa   -b    1  0     -32/105   8/21              aaa -aaa  bbb -bbb 1
//!       aabb    0 -aa-bb  0  1         0      1
//! ```
#![allow(clippy::needless_range_loop, reason = "loops over registers; counted ones unroll whole")]

use super::lanes::{L, Lanes};
use crate::element::Float;
use crate::kernels::gemm::SLACK;
use crate::kernels::simd::simd;

/// The widest row of numbers that is transformed.
const WIDEST: usize = SLACK;

fn fits(width: usize) -> bool {
    width.is_multiple_of(L) && width <= WIDEST
}

/// `store(i, j, [map x map^T](i, j))` where `x(i, j) = load(i, j)`.
#[inline(always)]
fn square<T: Float, const N: usize, const M: usize>(
    load: impl Fn(usize, usize) -> Lanes<T>,
    map: impl Fn([Lanes<T>; N]) -> [Lanes<T>; M],
    mut store: impl FnMut(usize, usize, Lanes<T>),
) {
    let mut rows = [[Lanes::all(0.0); N]; M];
    for j in 0..N {
        let mut column = [Lanes::all(0.0); N];
        for i in 0..N {
            column[i] = load(i, j);
        }
        let column = map(column);
        for i in 0..M {
            rows[i][j] = column[i];
        }
    }
    for i in 0..M {
        let row = map(rows[i]);
        for j in 0..M {
            store(i, j, row[j]);
        }
    }
}

/// The tap of the kernel that is number `i`: from `first` on, `by` to the next.
#[inline(always)]
fn tap(first: usize, by: isize, i: usize) -> usize {
    first.wrapping_add_signed(by * i as isize)
}

macro_rules! transforms {
    (
        $(#[$meta:meta])*
        $name:ident: kernel $K:literal, side $S:literal, seen $N:literal, phases $P:literal;
        widen $widen:expr; gather $gather:expr; scatter $scatter:expr; narrow $narrow:expr;
    ) => {
        $(#[$meta])*
        pub(super) mod $name {
            use super::*;

            pub const SIDE: usize = $S;
            pub const SEEN: usize = $N;
            pub const PLACES: usize = SEEN * SEEN;
            pub const PHASES: usize = $P;

            simd! {
                /// The weights of a panel: of each channel's taps, `[channels, across, across, width]`, those from `first` on, `by`
                /// to the next.
                pub fn weight[T: Float](
                    from: &[T],
                    across: usize,
                    first: [usize; 2],
                    by: isize,
                    width: usize,
                    to: &mut [T],
                    between: usize,
                ) {
                    let channels = from.len() / (across * across * width);
                    assert!(fits(width) && (PLACES - 1) * between + channels * width <= to.len(), "winograd: weight");
                    assert!(first.iter().all(|&at| at < across && tap(at, by, $K - 1) < across), "winograd: taps");
                    for channel in 0..channels {
                        for l in (0..width).step_by(L) {
                            let from = from.as_ptr().wrapping_add(channel * across * across * width + l);
                            let to = to.as_mut_ptr().wrapping_add(channel * width + l);
                            let load = |i: usize, j: usize| {
                                let tap = tap(first[0], by, i) * across + tap(first[1], by, j);
                                // SAFETY: `from` has all taps of a channel.
                                unsafe { Lanes::load(from.add(tap * width)) }
                            };
                            square::<T, $K, $N>(load, $widen, |i, j, number| {
                                // SAFETY: the assertion has checked `to`.
                                unsafe { number.store(to.add(($N * i + j) * between)) }
                            });
                        }
                    }
                }

                /// The output of `lines` rows of `tiles` tiles, of one panel, from their products, `[tiles, width]` of each place.
                /// Pixel (i, j) goes to row `step i + first[0]` and column `step j + first[1]` of `to`, `[rows, columns, width]`;
                /// what lies beyond is left out.
                pub fn output[T: Float](
                    products: &[T],
                    between: usize,
                    count: [usize; 2],
                    width: usize,
                    bias: &[T],
                    relu: bool,
                    first: [usize; 2],
                    step: usize,
                    size: [usize; 2],
                    to: &mut [T],
                ) {
                    let ([lines, tiles], [rows, columns]) = (count, size);
                    // As the caller has it, but known when this is compiled.
                    let (first, step) = if PHASES == 1 { ([0; 2], 1) } else { (first, step) };
                    let last = (PLACES - 1) * between + lines * tiles * width;
                    assert!(fits(width) && last <= products.len(), "winograd: output");
                    assert!(width <= bias.len() && rows * columns * width <= to.len(), "winograd: output");
                    let (mut sink, to) = ([T::ZERO; WIDEST], to.as_mut_ptr());
                    let sink = sink.as_mut_ptr();
                    for line in 0..lines {
                        for x in 0..tiles {
                            let mut pixels = [[sink; SIDE]; SIDE];
                            for (i, pixels) in pixels.iter_mut().enumerate() {
                                for (j, pixel) in pixels.iter_mut().enumerate() {
                                    let row = step * (SIDE * line + i) + first[0];
                                    let column = step * (SIDE * x + j) + first[1];
                                    if row < rows && column < columns {
                                        *pixel = to.wrapping_add((row * columns + column) * width);
                                    }
                                }
                            }
                            for l in (0..width).step_by(L) {
                                let from = products.as_ptr().wrapping_add((line * tiles + x) * width + l);
                                // SAFETY: the assertion has checked `bias`.
                                let bias = unsafe { Lanes::load(bias.as_ptr().add(l)) };
                                // SAFETY: the assertion has checked `products`.
                                let load = |i: usize, j: usize| unsafe { Lanes::load(from.add(($N * i + j) * between)) };
                                square::<T, $N, $S>(load, $gather, |i, j, y| {
                                    let y = y + bias;
                                    let y = if relu { y.relu() } else { y };
                                    // SAFETY: the assertion has checked `to`.
                                    unsafe { y.store(pixels[i][j].add(l)) }
                                });
                            }
                        }
                    }
                }

                /// The gradient of the output under `lines` rows of `tiles` tiles, of one panel: `[rows, columns, width]`, zeros
                /// beyond, to `[tiles, width]` of each place.
                pub fn grad_output[T: Float](
                    from: &[T],
                    size: [usize; 2],
                    count: [usize; 2],
                    width: usize,
                    to: &mut [T],
                    between: usize,
                ) {
                    let ([lines, tiles], [rows, columns]) = (count, size);
                    assert!(fits(width) && rows * columns * width <= from.len(), "winograd: gradient of the output");
                    let last = (PLACES - 1) * between + lines * tiles * width;
                    assert!(last <= to.len(), "winograd: gradient of the output");
                    let nothing = [T::ZERO; WIDEST];
                    for line in 0..lines {
                        for x in 0..tiles {
                            let mut pixels = [[nothing.as_ptr(); SIDE]; SIDE];
                            for (i, pixels) in pixels.iter_mut().enumerate() {
                                for (j, pixel) in pixels.iter_mut().enumerate() {
                                    let [row, column] = [SIDE * line + i, SIDE * x + j];
                                    if row < rows && column < columns {
                                        *pixel = from.as_ptr().wrapping_add((row * columns + column) * width);
                                    }
                                }
                            }
                            for l in (0..width).step_by(L) {
                                let to = to.as_mut_ptr().wrapping_add((line * tiles + x) * width + l);
                                // SAFETY: the assertion has checked `from`.
                                let load = |i: usize, j: usize| unsafe { Lanes::load(pixels[i][j].add(l)) };
                                square::<T, $S, $N>(load, $scatter, |i, j, number| {
                                    // SAFETY: the assertion has checked `to`.
                                    unsafe { number.store(to.add(($N * i + j) * between)) }
                                });
                            }
                        }
                    }
                }

                /// The sums of a panel, `[channels, width]` of each place, to the gradient of its weights: of
                /// `[channels, across, across, width]` the taps from `first` on, `by` to the next.
                pub fn grad_weight[T: Float](
                    sums: &[T],
                    between: usize,
                    across: usize,
                    first: [usize; 2],
                    by: isize,
                    width: usize,
                    to: &mut [T],
                ) {
                    let channels = to.len() / (across * across * width);
                    let last = (PLACES - 1) * between + channels * width;
                    assert!(fits(width) && last <= sums.len(), "winograd: gradient of the weight");
                    assert!(first.iter().all(|&at| at < across && tap(at, by, $K - 1) < across), "winograd: taps");
                    for channel in 0..channels {
                        for l in (0..width).step_by(L) {
                            let sums = sums.as_ptr().wrapping_add(channel * width + l);
                            let to = to.as_mut_ptr().wrapping_add(channel * across * across * width + l);
                            // SAFETY: the assertion has checked `sums`.
                            let load = |i: usize, j: usize| unsafe { Lanes::load(sums.add(($N * i + j) * between)) };
                            square::<T, $N, $K>(load, $narrow, |i, j, number| {
                                let tap = tap(first[0], by, i) * across + tap(first[1], by, j);
                                // SAFETY: `to` has all taps of a channel.
                                unsafe { number.store(to.add(tap * width)) }
                            });
                        }
                    }
                }
            }
        }
    };
}

transforms! {
    /// F(2 x 2, 3 x 3).
    of_three: kernel 3, side 2, seen 4, phases 1;
    widen |[a, b, c]| {
        let (ends, middle) = (0.5 * (a + c), 0.5 * b);
        [a, ends + middle, ends - middle, c]
    };
    gather |[a, b, c, d]| [a + b + c, b - c - d];
    scatter |[a, b]| [a, a + b, a - b, Lanes::all(0.0) - b];
    narrow |[a, b, c, d]| {
        let (sum, difference) = (0.5 * (b + c), 0.5 * (b - c));
        [a + sum, difference, d + sum]
    };
}

transforms! {
    /// F(4 x 4, 2 x 2).
    of_two: kernel 2, side 4, seen 5, phases 4;
    widen |[a, b]| {
        let (near, far, odd) = (16.0 / 21.0 * a, 32.0 / 105.0 * a, 8.0 / 21.0 * b);
        [odd + near, odd - near, odd + far, odd - far, b]
    };
    gather |[a, b, c, d, e]| {
        let (near, far, odd_near, odd_far) = (a + b, c + d, a - b, c - d);
        [
            near + far,
            0.5 * odd_near + 1.25 * odd_far,
            0.25 * near + 1.5625 * far,
            0.125 * odd_near + 1.953125 * odd_far + e,
        ]
    };
    scatter |[a, b, c, d]| {
        let (near, odd_near) = (a + 0.25 * c, 0.5 * b + 0.125 * d);
        let (far, odd_far) = (a + 1.5625 * c, 1.25 * b + 1.953125 * d);
        [near + odd_near, near - odd_near, far + odd_far, far - odd_far, d]
    };
    narrow |[a, b, c, d, e]| {
        [16.0 / 21.0 * (a - b) + 32.0 / 105.0 * (c - d), 8.0 / 21.0 * (a + b + c + d) + e]
    };
}

/// `B^T d` of F(4 x 4, 2 x 2), one column.
#[inline(always)]
fn see<T: Float>([a, b, c, d, e]: [Lanes<T>; of_two::SEEN]) -> [Lanes<T>; of_two::SEEN] {
    let (near, far) = (1.5625 * b - d, d - 0.25 * b);
    let (odd_near, odd_far) = (0.5 * (1.5625 * a - c), 1.25 * (c - 0.25 * a));
    [near + odd_near, near - odd_near, far + odd_far, far - odd_far, e - 1.8125 * c + 0.390625 * a]
}

simd! {
    /// `B^T d B` of F(4 x 4, 2 x 2), for the squares `d` under rows of tiles: pixel (i, j) of tile (y, x) stands in row
    /// `step (4 y + i) + start[0]`, column `step (4 x + j) + start[1]` of `from`, `[rows, columns, width]`, or is zero where there
    /// is none. Number `place` of tile t goes to `to[place * between + t * pitch]`. (For F(2 x 2, 3 x 3) a micro-kernel does it,
    /// [`Squares`](crate::kernels::gemm::Squares).)
    pub(super) fn input[T: Float](
        from: &[T],
        size: [usize; 2],
        width: usize,
        start: [isize; 2],
        step: usize,
        count: [usize; 2],
        to: &mut [T],
        between: usize,
        pitch: usize,
    ) {
        let ([rows, columns], [lines, tiles]) = (size, count);
        let last = (of_two::PLACES - 1) * between + (lines * tiles).saturating_sub(1) * pitch + width;
        assert!(fits(width) && rows * columns * width <= from.len(), "winograd: input");
        assert!(last <= to.len(), "winograd: what stands for the input");
        let nothing = [T::ZERO; WIDEST];
        for y in 0..lines {
            for x in 0..tiles {
                let mut pixels = [[nothing.as_ptr(); of_two::SEEN]; of_two::SEEN];
                for (i, pixels) in pixels.iter_mut().enumerate() {
                    for (j, pixel) in pixels.iter_mut().enumerate() {
                        let row = start[0] + (step * (of_two::SIDE * y + i)) as isize;
                        let column = start[1] + (step * (of_two::SIDE * x + j)) as isize;
                        // Negative ones wrap around.
                        if (row as usize) < rows && (column as usize) < columns {
                            *pixel = from.as_ptr().wrapping_add((row as usize * columns + column as usize) * width);
                        }
                    }
                }
                for l in (0..width).step_by(L) {
                    // SAFETY: the assertion has checked `from`.
                    let load = |i: usize, j: usize| unsafe { Lanes::load(pixels[i][j].add(l)) };
                    let to = to.as_mut_ptr().wrapping_add((y * tiles + x) * pitch + l);
                    square(load, see, |i, j, number| {
                        // SAFETY: the assertion has checked `to`.
                        unsafe { number.store(to.add((of_two::SEEN * i + j) * between)) }
                    });
                }
            }
        }
    }
}
