//! The micro-kernels: one register tile of C, and copies in whole registers.
#![allow(clippy::needless_range_loop, reason = "loops over registers; counted ones unroll whole")]

use super::tile::{Rows, Squares, Strip, Tile, Transpose};
use super::vector::{Arithmetic, Vector};
use crate::kernels::prefetch;

// SAFETY (of the functions here): the caller of `Kernels::tile` vouches for the pointers, and each instance is only
// reached through the table of an instruction set that was detected.
/// A tile of `M` rows and `N` registers.
#[inline(always)]
pub(super) unsafe fn tile<V: Arithmetic, const M: usize, const N: usize>(t: &Tile<V::T>) {
    // SAFETY: above.
    unsafe {
        let mut sums = [[V::zero(); N]; M];
        for start in t.outer {
            let (mut a, mut b) = (t.a.wrapping_add(start[0]), t.b.wrapping_add(start[1]));
            for _ in 0..t.inner {
                let mut row = [V::zero(); N];
                for j in 0..N {
                    row[j] = V::load(b.add(j * V::LANES));
                }
                for i in 0..M {
                    let x = V::splat(*a.wrapping_add(i.wrapping_mul(t.a_stride)));
                    for j in 0..N {
                        sums[i][j] = sums[i][j].fma(x, row[j]);
                    }
                }
                (a, b) = (a.wrapping_add(t.a_step), b.wrapping_add(t.b_step));
            }
        }
        store(sums, t);
    }
}

/// Brings the sums of a tile to C.
#[inline(always)]
unsafe fn store<V: Arithmetic, const M: usize, const N: usize>(mut sums: [[V; N]; M], t: &Tile<V::T>) {
    // All registers are full but the last one, which may hold fewer columns.
    let last = t.width - (N - 1) * V::LANES;
    let row = |i: usize| t.c.wrapping_add(i.wrapping_mul(t.c_stride));
    // Many short loops instead of a long one: each is unrolled whole, and the tile stays in its registers.
    // SAFETY: above.
    unsafe {
        let load = |p: *const V::T, j: usize| {
            if j + 1 < N || last == V::LANES {
                V::load(p.add(j * V::LANES))
            } else {
                V::load_first(p.add(j * V::LANES), last)
            }
        };
        if t.accumulate {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = sums[i][j].add(load(row(i), j));
                }
            }
        }
        if !t.finish.bias_row.is_null() {
            let mut bias = [V::zero(); N];
            for j in 0..N {
                bias[j] = load(t.finish.bias_row, j);
            }
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = sums[i][j].add(bias[j]);
                }
            }
        }
        if !t.finish.bias_column.is_null() {
            for i in 0..M {
                let bias = V::splat(*t.finish.bias_column.add(i));
                for j in 0..N {
                    sums[i][j] = sums[i][j].add(bias);
                }
            }
        }
        if t.finish.relu {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = sums[i][j].relu();
                }
            }
        }
        if last == V::LANES {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j].store(row(i).add(j * V::LANES));
                }
            }
        } else {
            for i in 0..M {
                for j in 0..N - 1 {
                    sums[i][j].store(row(i).add(j * V::LANES));
                }
                sums[i][N - 1].store_first(row(i).add((N - 1) * V::LANES), last);
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn rows<V: Vector>(r: &Rows<V::T>) {
    // SAFETY: above.
    unsafe {
        for p in 0..r.count {
            let (from, to) = (r.from.add(p * r.from_stride), r.to.add(2 * p * V::LANES));
            V::load(from).store(to);
            if r.width > V::LANES {
                V::load(from.add(V::LANES)).store(to.add(V::LANES));
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn strip<V: Vector>(s: &Strip<V::T>) {
    // SAFETY: above.
    unsafe {
        for (p, &offset) in s.offsets.iter().enumerate() {
            let (from, mut to) = (s.from.add(offset), s.to.add(p * s.stride));
            for &[start, length] in s.pieces {
                let mut done = 0;
                while done < length {
                    V::load(from.add(start + done)).store(to.add(done));
                    done += V::LANES;
                }
                to = to.add(length);
            }
        }
    }
}

/// Distance between rows from which on the processor does not find the next ones by itself: each lies on a page of its own.
const FAR: usize = 1024;
/// How many rows ahead such rows are requested, also beyond the last: the next block tends to begin there.
const AHEAD: usize = 24;

#[inline(always)]
pub(super) unsafe fn transpose<V: Vector>(t: &Transpose<V::T>) {
    let (rows, columns, square) = (t.rows, t.columns, V::SQUARE);
    // SAFETY: above; a square stands at most `square` before the end of the rows and of the columns.
    unsafe {
        if rows < square || columns < square {
            for i in 0..rows {
                for j in 0..columns {
                    *t.to.add(j * t.to_stride + i) = *t.from.add(i * t.from_stride + j);
                }
            }
            return;
        }
        // Where lines lie far apart, they may share a set of the first-level cache: those of the side that is further apart are
        // done with before the next ones come. The last squares overlap those before and write the same again.
        let by_rows = t.from_stride >= t.to_stride;
        let (lines, line) = if by_rows { (rows, columns) } else { (columns, rows) };
        for i in (0..lines).step_by(square) {
            if by_rows && t.from_stride >= FAR {
                for k in i + AHEAD..i + AHEAD + square {
                    prefetch::line(t.from.wrapping_add(k * t.from_stride).cast());
                }
            }
            for j in (0..line).step_by(square) {
                let (i, j) = (i.min(lines - square), j.min(line - square));
                let (i, j) = if by_rows { (i, j) } else { (j, i) };
                V::turn(t.from.add(i * t.from_stride + j), t.from_stride, t.to.add(j * t.to_stride + i), t.to_stride);
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn squares<V: Arithmetic>(s: &Squares<V::T>) {
    let ([height, width], [top, ahead], [down, across]) = (s.size, s.start, s.count);
    let half = Squares::<V::T>::half(across);
    // 1. Rows of pixels: the even columns of the squares before the odd ones. Whole registers, then zeros where they have
    //    overrun; rows that the plane does not have stay zeros.
    let columns = width.min((2 * across + 2).saturating_sub(ahead));
    for i in 0..2 * down + 2 {
        let y = i.wrapping_sub(top);
        if y >= height {
            continue;
        }
        let start = y * width;
        // SAFETY: above; a half has room for its columns in whole registers, and for the zeros behind them.
        unsafe {
            let from = s.from.add(start);
            let even = s.rows.add(2 * i * half + ahead.div_ceil(2));
            let odd = s.rows.add((2 * i + 1) * half + ahead / 2);
            let (one, two) = if ahead.is_multiple_of(2) { (even, odd) } else { (odd, even) };
            if start + columns.next_multiple_of(2 * V::LANES) <= s.readable {
                for x in (0..columns).step_by(2 * V::LANES) {
                    let [a, b] = V::pairs(from.add(x));
                    a.store(one.add(x / 2));
                    b.store(two.add(x / 2));
                }
                V::zero().store(one.add(columns.div_ceil(2)));
                V::zero().store(two.add(columns / 2));
            } else {
                for x in 0..columns {
                    *(if x % 2 == 0 { one } else { two }).add(x / 2) = *from.add(x);
                }
            }
        }
    }
    // 2. Squares.
    for y in 0..down {
        for x in (0..across).step_by(V::LANES) {
            // SAFETY: above; there are four rows, with room for a register and a number more from `x` on.
            unsafe {
                let rows = s.rows.add(4 * y * half + x);
                let mut to = s.to.add(y * across + x);
                for (a, b, plus) in [(0, 2, false), (1, 2, true), (2, 1, false), (1, 3, false)] {
                    let mut column = [V::zero(); 4];
                    for j in 0..4 {
                        let at = rows.add(j % 2 * half + j / 2);
                        let (a, b) = (V::load(at.add(2 * a * half)), V::load(at.add(2 * b * half)));
                        column[j] = if plus { a.add(b) } else { a.sub(b) };
                    }
                    let [a, b, c, d] = column;
                    for x in [a.sub(c), b.add(c), c.sub(b), b.sub(d)] {
                        x.store(to);
                        to = to.add(s.between);
                    }
                }
            }
        }
    }
}
