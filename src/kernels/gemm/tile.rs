//! What the micro-kernels take, and the tables of them: one for every instruction set, in every height and width of a tile.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::micro;
use super::vector::{Baseline, Vector};
use crate::kernels::prefetch;
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

// SAFETY: what the pointers lead to is only read; who makes tiles vouches for it.
unsafe impl<T: Sync> Sync for Finish<T> {}

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

/// `C[rows, width] = A[rows, steps] . B[steps, width] (+ C)`, where A, B and C are read and written where they lie.
///
/// The steps are two nested loops: the outer one over a table of offsets, which wrap around (an offset may be negative), the
/// inner one at even distances. A convolution is such a product: the table holds channels and rows of the kernel.
pub(crate) struct Tile<'a, T> {
    pub rows: usize,
    pub width: usize,
    /// Row i of A starts at `a + i * a_stride`.
    pub a: *const T,
    pub a_stride: usize,
    pub b: *const T,
    /// Step (u, v) takes number `outer[u][0] + v * a_step` of every row of A, and the row of B at
    /// `b + outer[u][1] + v * b_step`; whole registers of B are read, also beyond `width`.
    pub outer: &'a [[usize; 2]],
    pub inner: usize,
    pub a_step: usize,
    pub b_step: usize,
    /// Row i of C starts at `c + i * c_stride`.
    pub c: *mut T,
    pub c_stride: usize,
    pub accumulate: bool,
    pub finish: Finish<T>,
}

impl<T> Tile<'_, T> {
    /// Asks for what stands `further` numbers behind each row of C, so that it is at hand when it is written.
    #[inline]
    pub fn fetch(&self, further: usize) {
        for i in 0..self.rows {
            let row = self.c.wrapping_add(i.wrapping_mul(self.c_stride) + further);
            prefetch::line(row.cast());
            prefetch::line(row.wrapping_add(self.width - 1).cast());
        }
    }
}

type TileFn<T> = unsafe fn(&Tile<T>);

/// The micro-kernels of one instruction set.
pub(crate) struct Kernels<T: 'static> {
    /// Numbers in a register; a tile is one or two registers wide.
    pub lanes: usize,
    /// `tile[rows - 1][registers - 1]`.
    tile: &'static [[TileFn<T>; 2]],
    rows: unsafe fn(&Rows<T>),
    strip: unsafe fn(&Strip<T>),
    transpose: unsafe fn(&Transpose<T>),
    squares: unsafe fn(&Squares<T>),
}

/// The squares of 4 x 4 pixels that start at every second pixel of every second row, each turned to `B^T d B` of minimal filtering
/// (`conv/winograd`).
pub(crate) struct Squares<T> {
    /// Rows of pixels, and how many numbers may be read from there.
    pub from: *const T,
    pub readable: usize,
    /// Their number and width; zeros lie around them.
    pub size: [usize; 2],
    /// Rows and columns of zeros before the first pixel, counted from the first square; where that stands further down than the
    /// first row, the number of rows is negative, and wraps around.
    pub start: [usize; 2],
    /// Squares in a column and in a row.
    pub count: [usize; 2],
    /// Room for [`Squares::rows_len`] numbers, zeros unless they come from squares of the same size, place and number.
    pub rows: *mut T,
    /// Number `place` of square (y, x) goes to `to[place * between + y * count[1] + x]`; a register more may be written behind
    /// each row of squares.
    pub to: *mut T,
    pub between: usize,
}

impl<T> Squares<T> {
    /// Numbers in half a row of pixels: enough for whole registers, one column to the right, and a register of zeros.
    pub fn half(across: usize) -> usize {
        across.next_multiple_of(8) + 16
    }

    pub fn rows_len(count: [usize; 2]) -> usize {
        (2 * count[0] + 2) * 2 * Self::half(count[1])
    }
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

/// `count` rows of at most one tile's width, `from_stride` apart, go to rows a whole tile's width apart.
pub(crate) struct Rows<T> {
    pub from: *const T,
    pub from_stride: usize,
    pub count: usize,
    pub to: *mut T,
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
    /// The pointers of `t` must be valid; it has 1 to [`Kernels::height`] rows and 1 to [`Kernels::width`] columns; C must
    /// not be touched by others meanwhile.
    #[inline]
    pub unsafe fn tile(&self, t: &Tile<T>) {
        // SAFETY: the table holds what this machine can run; the caller vouches for the pointers.
        unsafe { self.tile[t.rows - 1][usize::from(t.width > self.lanes)](t) }
    }

    /// Copies rows in whole registers: up to [`Kernels::width`] numbers of each row are read and written.
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

    /// # Safety
    /// The pointers must be valid for what [`Squares`] says.
    #[inline]
    pub unsafe fn squares(&self, s: &Squares<T>) {
        // SAFETY: as above.
        unsafe { (self.squares)(s) }
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

macro_rules! kernels {
    ($name:ident, $t:ty, $v:ty, $short:ty, $tile:expr, [$($m:literal)*], $(#[$feature:meta])?) => {
        mod $name {
            use super::*;
            $(#[$feature])?
            unsafe fn tile<const M: usize, const N: usize>(t: &Tile<$t>) {
                // SAFETY: handed on.
                unsafe { $tile(t) }
            }
            #[inline]
            $(#[$feature])?
            unsafe fn rows(r: &Rows<$t>) {
                // SAFETY: handed on.
                unsafe { micro::rows::<$v>(r) }
            }
            #[inline]
            $(#[$feature])?
            unsafe fn strip(s: &Strip<$t>) {
                // SAFETY: handed on.
                unsafe { micro::strip::<$v>(s) }
            }
            #[inline]
            $(#[$feature])?
            pub unsafe fn transpose(t: &Transpose<$t>) {
                // SAFETY: handed on.
                unsafe { micro::transpose::<$v>(t) }
            }
            #[inline]
            $(#[$feature])?
            unsafe fn squares(s: &Squares<$t>) {
                // SAFETY: handed on.
                unsafe { micro::squares::<$short>(s) }
            }
            pub const KERNELS: &Kernels<$t> = &Kernels {
                lanes: <$v as Vector>::LANES,
                tile: &[$([tile::<$m, 1>, tile::<$m, 2>]),*],
                rows,
                strip,
                transpose,
                squares,
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512};
#[cfg(target_arch = "x86_64")]
kernels!(avx512_f32, f32, __m512, __m256, avx512::tile::<M, N>, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx2_f32, f32, __m256, __m256, micro::tile::<__m256, M, N>, [1 2 3 4 5 6], #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "x86_64")]
kernels!(avx2_f64, f64, __m256d, __m256d, micro::tile::<__m256d, M, N>, [1 2 3 4 5 6], #[target_feature(enable = "avx2,fma")]);
#[cfg(not(target_arch = "aarch64"))]
kernels!(baseline_f32, f32, Baseline<f32, 4>, Baseline<f32, 4>, micro::tile::<Baseline<f32, 4>, M, N>, [1 2 3 4],);
#[cfg(not(target_arch = "aarch64"))]
kernels!(baseline_f64, f64, Baseline<f64, 2>, Baseline<f64, 2>, micro::tile::<Baseline<f64, 2>, M, N>, [1 2 3 4],);
// 32 registers: 16 to 24 of them for the tile.
#[cfg(target_arch = "aarch64")]
kernels!(baseline_f32, f32, Baseline<f32, 4>, Baseline<f32, 4>, micro::tile::<Baseline<f32, 4>, M, N>, [1 2 3 4 5 6 7 8 9 10],);
#[cfg(target_arch = "aarch64")]
kernels!(baseline_f64, f64, Baseline<f64, 2>, Baseline<f64, 2>, micro::tile::<Baseline<f64, 2>, M, N>, [1 2 3 4 5 6 7 8 9 10],);

pub(super) fn f32_kernels(isa: Isa) -> &'static Kernels<f32> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512_f32::KERNELS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2_f32::KERNELS,
        _ => baseline_f32::KERNELS,
    }
}

/// Inlined, and a constant: so they are compiled only in a crate that multiplies with them.
#[inline]
pub(super) fn f64_kernels(isa: Isa) -> &'static Kernels<f64> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => avx2_f64::KERNELS,
        _ => baseline_f64::KERNELS,
    }
}

/// What transposes blocks of numbers of eight bytes; not by the table, whose tiles would be compiled with it.
pub(super) fn turn_f64(isa: Isa) -> unsafe fn(&Transpose<f64>) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => avx2_f64::transpose,
        _ => baseline_f64::transpose,
    }
}
