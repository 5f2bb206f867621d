//! The micro-kernels: one register tile of C, and copies in whole registers.
#![allow(clippy::needless_range_loop, reason = "loops over registers; counted ones unroll whole")]

use super::tile::{Finish, Rows, Strip, Tile, Transpose, Walk};
use super::vector::Vector;

// SAFETY (of the functions here): the caller of `Kernels::tile` vouches for the pointers, and each instance is only
// reached through the table of an instruction set that was detected.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const M: usize, const N: usize>(t: &Tile<V::T>, zero: V::T) {
    // SAFETY: above.
    unsafe {
        let mut acc = [[V::splat(zero); N]; M];
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.k {
            let mut row = [V::splat(zero); N];
            for j in 0..N {
                row[j] = V::load(b.add(j * V::LANES));
            }
            for i in 0..M {
                let x = V::splat(*a.add(i));
                for j in 0..N {
                    acc[i][j] = acc[i][j].fma(x, row[j]);
                }
            }
            a = a.add(M);
            b = b.add(t.b_stride);
        }
        store::<V, M, N>(acc, |i| t.c.wrapping_add(i * t.c_stride), t.width, t.accumulate, &t.finish, zero);
    }
}

#[inline(always)]
pub(super) unsafe fn walk<V: Vector, const M: usize, const N: usize>(t: &Walk<V::T>, zero: V::T) {
    // SAFETY: above.
    unsafe {
        let mut acc = [[V::splat(zero); N]; M];
        let mut start = [t.a; M];
        for i in 0..M {
            start[i] = t.a.wrapping_add(t.rows.get_unchecked(i)[0]);
        }
        for u in t.outer {
            for v in t.inner {
                let at = u[0].wrapping_add(v[0]);
                let b = t.b.wrapping_add(u[1].wrapping_add(v[1]));
                let mut row = [V::splat(zero); N];
                for j in 0..N {
                    row[j] = V::load(b.add(j * V::LANES));
                }
                for i in 0..M {
                    // Volatile: else the compiler keeps the pointers in registers, has too few, and moves all loads of a
                    // step to its front, which drives the tile out of its registers: half the speed.
                    let x = V::splat(*std::ptr::read_volatile(&start[i]).wrapping_add(at));
                    for j in 0..N {
                        acc[i][j] = acc[i][j].fma(x, row[j]);
                    }
                }
            }
        }
        let row = |i: usize| t.c.wrapping_add(t.rows.get_unchecked(i)[1]);
        store::<V, M, N>(acc, row, t.width, t.accumulate, &t.finish, zero);
    }
}

#[inline(always)]
unsafe fn store<V: Vector, const M: usize, const N: usize>(
    mut acc: [[V; N]; M],
    row_of_c: impl Fn(usize) -> *mut V::T,
    width: usize,
    accumulate: bool,
    finish: &Finish<V::T>,
    zero: V::T,
) {
    // All registers are full but the last one, which may hold fewer columns.
    let last = width - (N - 1) * V::LANES;
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
        if accumulate {
            for i in 0..M {
                for j in 0..N {
                    acc[i][j] = acc[i][j].add(load(row_of_c(i), j));
                }
            }
        }
        if !finish.bias_row.is_null() {
            let mut bias = [V::splat(zero); N];
            for j in 0..N {
                bias[j] = load(finish.bias_row, j);
            }
            for i in 0..M {
                for j in 0..N {
                    acc[i][j] = acc[i][j].add(bias[j]);
                }
            }
        }
        if !finish.bias_column.is_null() {
            for i in 0..M {
                let bias = V::splat(*finish.bias_column.add(i));
                for j in 0..N {
                    acc[i][j] = acc[i][j].add(bias);
                }
            }
        }
        if finish.relu {
            for i in 0..M {
                for j in 0..N {
                    acc[i][j] = acc[i][j].relu();
                }
            }
        }
        if last == V::LANES {
            for i in 0..M {
                for j in 0..N {
                    acc[i][j].store(row_of_c(i).add(j * V::LANES));
                }
            }
        } else {
            for i in 0..M {
                for j in 0..N - 1 {
                    acc[i][j].store(row_of_c(i).add(j * V::LANES));
                }
                acc[i][N - 1].store_first(row_of_c(i).add((N - 1) * V::LANES), last);
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn rows<V: Vector>(r: &Rows<V::T>) {
    // SAFETY: above.
    unsafe {
        if r.width <= V::LANES {
            for p in 0..r.count {
                V::load(r.from.add(*r.offsets.add(p))).store(r.to.add(p * r.stride));
            }
        } else {
            for p in 0..r.count {
                let (from, to) = (r.from.add(*r.offsets.add(p)), r.to.add(p * r.stride));
                let (low, high) = (V::load(from), V::load(from.add(V::LANES)));
                low.store(to);
                high.store(to.add(V::LANES));
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
        // The last squares overlap those before and write the same again.
        for i in (0..rows).step_by(square).map(|i| i.min(rows - square)) {
            for j in (0..columns).step_by(square).map(|j| j.min(columns - square)) {
                V::turn(t.from.add(i * t.from_stride + j), t.from_stride, t.to.add(j * t.to_stride + i), t.to_stride);
            }
        }
    }
}
