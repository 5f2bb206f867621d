//! The micro-kernels: one register tile of C, in every height and width, for every instruction set.

use super::vector::{Baseline, Vector};
use crate::kernels::simd::Isa;

/// What happens to a tile of C after its last product. Null pointers mean none.
#[derive(Clone, Copy)]
pub(crate) struct Finish<T> {
    /// One number per column of the tile.
    pub bias_row: *const T,
    /// One number per row of the tile.
    pub bias_column: *const T,
    pub relu: bool,
}

impl<T> Finish<T> {
    pub const NONE: Self = Finish { bias_row: std::ptr::null(), bias_column: std::ptr::null(), relu: false };

    /// The finish of the tile that starts `row` rows and `column` columns further on.
    pub fn at(&self, row: usize, column: usize) -> Self {
        let shifted = |p: *const T, by| if p.is_null() { p } else { p.wrapping_add(by) };
        Finish {
            bias_row: shifted(self.bias_row, column),
            bias_column: shifted(self.bias_column, row),
            relu: self.relu,
        }
    }
}

/// `C[M, width] = A[M, k] . B[k, width] (+ C)`.
pub(crate) struct Tile<T> {
    pub k: usize,
    /// Packed: element (i, p) at `a[p * M + i]`.
    pub a: *const T,
    /// Element (p, j) at `b[p * b_stride + j]`; whole registers are read, also beyond `width`.
    pub b: *const T,
    pub b_stride: usize,
    pub c: *mut T,
    pub c_stride: usize,
    pub width: usize,
    pub accumulate: bool,
    pub finish: Finish<T>,
}

/// `C[M, width] = A[M, steps] . B[steps, width] (+ C)`, where A, B and C are read and written where they lie.
///
/// The steps are two nested loops over tables of offsets, which wrap around: an offset may be negative. A convolution is
/// such a product: the outer table holds channels (or rows of pixels), the inner one the taps of the kernel (or pixels).
pub(crate) struct Walk<'a, T> {
    pub a: *const T,
    pub b: *const T,
    pub c: *mut T,
    /// Row i of A starts at `a + rows[i][0]`, row i of C at `c + rows[i][1]`.
    pub rows: &'a [[usize; 2]],
    /// Step (u, v) takes number `outer[u][0] + inner[v][0]` of every row of A, and the row of B at
    /// `b + outer[u][1] + inner[v][1]`; whole registers of B are read, also beyond `width`.
    pub outer: &'a [[usize; 2]],
    pub inner: &'a [[usize; 2]],
    pub width: usize,
    pub accumulate: bool,
    pub finish: Finish<T>,
}

pub(crate) type TileFn<T> = unsafe fn(&Tile<T>);
pub(crate) type WalkFn<T> = unsafe fn(&Walk<T>);

/// The micro-kernels of one instruction set.
pub(crate) struct Kernels<T: 'static> {
    /// Numbers in a register; a tile is one or two registers wide.
    pub lanes: usize,
    /// `tile[M - 1][registers - 1]`.
    tile: &'static [[TileFn<T>; 2]],
    walk: &'static [[WalkFn<T>; 2]],
    /// Copies `count` rows of `width` numbers: row p from `from + offsets[p]` to `to + p * stride`.
    rows: unsafe fn(&Rows<T>),
    strip: unsafe fn(&Strip<T>),
    transpose: unsafe fn(&Transpose<T>),
}

/// Rows that are each put together from the same pieces `[start, length]`, side by side: a piece of row p is copied from
/// `from + offsets[p] + start`, and the row starts at `to + p * stride`.
pub(crate) struct Strip<'a, T> {
    pub from: *const T,
    pub offsets: &'a [usize],
    pub pieces: &'a [[usize; 2]],
    pub to: *mut T,
    pub stride: usize,
}

/// Number (i, j) goes from `from[i * from_stride + j]` to `to[j * to_stride + i]`.
pub(crate) struct Transpose<T> {
    pub from: *const T,
    pub from_stride: usize,
    pub rows: usize,
    pub columns: usize,
    pub to: *mut T,
    pub to_stride: usize,
}

/// `count` rows of at most one tile's width: row p is copied from `from + offsets[p]` to `to + p * stride`.
pub(crate) struct Rows<T> {
    pub from: *const T,
    pub offsets: *const usize,
    pub count: usize,
    pub to: *mut T,
    pub stride: usize,
    pub width: usize,
}

impl<T> Kernels<T> {
    /// The tallest tile.
    pub fn height(&self) -> usize {
        self.tile.len()
    }

    /// The widest tile.
    pub fn width(&self) -> usize {
        2 * self.lanes
    }

    /// # Safety
    /// The pointers of `t` must be valid for a tile of `height` rows, which is at most [`Kernels::height`]; `t.width` is
    /// from 1 to [`Kernels::width`]; C must not be touched by others meanwhile.
    #[inline]
    pub unsafe fn tile(&self, height: usize, t: &Tile<T>) {
        // SAFETY: the table holds what this machine can run; the caller vouches for the pointers.
        unsafe { self.tile[height - 1][usize::from(t.width > self.lanes)](t) }
    }

    /// # Safety
    /// As for [`Kernels::tile`], with a height of `t.rows.len()`, which is not 0.
    #[inline]
    pub unsafe fn walk(&self, t: &Walk<T>) {
        // SAFETY: as above.
        unsafe { self.walk[t.rows.len() - 1][usize::from(t.width > self.lanes)](t) }
    }

    /// Copies rows in whole registers: up to [`Kernels::width`] numbers beyond each row may be read, and beyond the last
    /// one written; rows are written in order, so that the next one repairs what the one before has overrun.
    ///
    /// # Safety
    /// The pointers must be valid for that.
    #[inline]
    pub unsafe fn rows(&self, r: &Rows<T>) {
        // SAFETY: as above.
        unsafe { (self.rows)(r) }
    }

    /// Copies pieces in whole registers: up to a register beyond each piece may be read, and beyond the last row one
    /// written; all is written in order, so that the next piece repairs what the one before has overrun.
    ///
    /// # Safety
    /// The pointers must be valid for that.
    #[inline]
    pub unsafe fn strip(&self, s: &Strip<T>) {
        // SAFETY: as above.
        unsafe { (self.strip)(s) }
    }

    /// Transposes a matrix; nothing else is read or written.
    ///
    /// # Safety
    /// The pointers must be valid for that.
    #[inline]
    pub unsafe fn transpose(&self, t: &Transpose<T>) {
        // SAFETY: as above.
        unsafe { (self.transpose)(t) }
    }
}

// SAFETY (of the functions here): the caller of `Kernels::tile` vouches for the pointers, and each instance is only
// reached through the table of an instruction set that was detected.
#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(t: &Tile<V::T>, zero: V::T) {
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
unsafe fn walk<V: Vector, const M: usize, const N: usize>(t: &Walk<V::T>, zero: V::T) {
    // SAFETY: above.
    unsafe {
        let mut acc = [[V::splat(zero); N]; M];
        let start: [*const V::T; M] = std::array::from_fn(|i| t.a.wrapping_add(t.rows.get_unchecked(i)[0]));
        for u in t.outer {
            for v in t.inner {
                let at = u[0].wrapping_add(v[0]);
                let b = t.b.wrapping_add(u[1].wrapping_add(v[1]));
                let mut row = [V::splat(zero); N];
                for j in 0..N {
                    row[j] = V::load(b.add(j * V::LANES));
                }
                for i in 0..M {
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
unsafe fn rows<V: Vector>(r: &Rows<V::T>) {
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
unsafe fn strip<V: Vector>(s: &Strip<V::T>) {
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
unsafe fn transpose<V: Vector>(t: &Transpose<V::T>) {
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

macro_rules! kernels {
    ($name:ident, $t:ty, $v:ty, [$($m:literal)*], $(#[$feature:meta])?) => {
        mod $name {
            use super::*;
            $(#[$feature])?
            unsafe fn tile<const M: usize, const N: usize>(t: &Tile<$t>) {
                // SAFETY: handed on.
                unsafe { super::tile::<$v, M, N>(t, 0.0) }
            }
            $(#[$feature])?
            unsafe fn walk<const M: usize, const N: usize>(t: &Walk<$t>) {
                // SAFETY: handed on.
                unsafe { super::walk::<$v, M, N>(t, 0.0) }
            }
            $(#[$feature])?
            unsafe fn rows(r: &Rows<$t>) {
                // SAFETY: handed on.
                unsafe { super::rows::<$v>(r) }
            }
            $(#[$feature])?
            unsafe fn strip(s: &Strip<$t>) {
                // SAFETY: handed on.
                unsafe { super::strip::<$v>(s) }
            }
            $(#[$feature])?
            unsafe fn transpose(t: &Transpose<$t>) {
                // SAFETY: handed on.
                unsafe { super::transpose::<$v>(t) }
            }
            pub static KERNELS: Kernels<$t> = Kernels {
                lanes: <$v as Vector>::LANES,
                tile: &[$([tile::<$m, 1>, tile::<$m, 2>]),*],
                walk: &[$([walk::<$m, 1>, walk::<$m, 2>]),*],
                rows,
                strip,
                transpose,
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
#[cfg(target_arch = "x86_64")]
kernels!(avx512_f32, f32, __m512, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx512_f64, f64, __m512d, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx2_f32, f32, __m256, [1 2 3 4 5 6], #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx2_f64, f64, __m256d, [1 2 3 4 5 6], #[target_feature(enable = "avx2,fma")]);
#[cfg(not(target_arch = "aarch64"))]
kernels!(baseline_f32, f32, Baseline<f32, 4>, [1 2 3 4],);
#[cfg(not(target_arch = "aarch64"))]
kernels!(baseline_f64, f64, Baseline<f64, 2>, [1 2 3 4],);
// 32 registers: 16 to 24 of them for the tile.
#[cfg(target_arch = "aarch64")]
kernels!(baseline_f32, f32, Baseline<f32, 4>, [1 2 3 4 5 6 7 8 9 10],);
#[cfg(target_arch = "aarch64")]
kernels!(baseline_f64, f64, Baseline<f64, 2>, [1 2 3 4 5 6 7 8 9 10],);

pub(super) fn f32_kernels(isa: Isa) -> &'static Kernels<f32> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &avx512_f32::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &avx2_f32::KERNELS,
        _ => &baseline_f32::KERNELS,
    }
}

pub(super) fn f64_kernels(isa: Isa) -> &'static Kernels<f64> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => &avx512_f64::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => &avx2_f64::KERNELS,
        _ => &baseline_f64::KERNELS,
    }
}
