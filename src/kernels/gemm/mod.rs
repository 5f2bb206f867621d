//! Matrix products.
//!
//! The loops are those of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): a micro-kernel
//! keeps a tile of C in registers. Its rows of A are read where they lie, whatever their distance; only the operand whose
//! numbers fill the lanes is packed in panels, and not even that one if few tiles read it. Which of the two it is
//! (C or its transpose may be computed) depends on what is to be packed.
//!
//! An element of C is always summed over the same blocks of k in the same order, so its bits depend on the sizes alone, not
//! on the layouts.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod few;
mod micro;
mod pack;
mod panels;
mod scratch;
mod tile;
mod transpose;
mod vector;

#[cfg(test)]
mod tests;

pub(crate) use pack::{SLACK, pack_b};
pub(crate) use scratch::scratch;
pub(crate) use tile::{Finish, Kernels, Squares, Strip, Tile, Transpose};
pub(crate) use transpose::{transpose, transpose_at};

use crate::element::Float;
use crate::kernels::elementwise::add;
use crate::kernels::parallel;
pub(crate) use crate::kernels::parallel::Shared;
use crate::kernels::simd::{self, Isa};
use std::ops::Range;

/// The floats that have micro-kernels. A supertrait of [`Float`], so sealed with it.
pub trait Gemm: Copy + Send + Sync + 'static {
    #[doc(hidden)]
    #[allow(private_interfaces, reason = "callable only inside the crate, which is meant")]
    fn kernels(isa: Isa) -> &'static Kernels<Self>;

    /// `C = A . B + beta C` on one thread, by crate `matrixmultiply`.
    ///
    /// # Safety
    /// The pointers must be valid for the sizes and strides.
    #[doc(hidden)]
    #[allow(clippy::too_many_arguments, reason = "the BLAS signature")]
    unsafe fn matrixmultiply(
        m: usize,
        k: usize,
        n: usize,
        a: *const Self,
        a_strides: [usize; 2],
        b: *const Self,
        b_strides: [usize; 2],
        beta: Self,
        c: *mut Self,
        ldc: usize,
    );
}

macro_rules! gemm {
    ($t:ty, $kernels:ident, $matrixmultiply:ident) => {
        impl Gemm for $t {
            #[allow(private_interfaces, reason = "callable only inside the crate, which is meant")]
            #[inline]
            fn kernels(isa: Isa) -> &'static Kernels<Self> {
                tile::$kernels(isa)
            }
            unsafe fn matrixmultiply(
                m: usize,
                k: usize,
                n: usize,
                a: *const Self,
                [rsa, csa]: [usize; 2],
                b: *const Self,
                [rsb, csb]: [usize; 2],
                beta: Self,
                c: *mut Self,
                ldc: usize,
            ) {
                let [rsa, csa, rsb, csb, rsc] = [rsa, csa, rsb, csb, ldc].map(|s| s as isize);
                // SAFETY: the caller vouches for the pointers; C's rows do not overlap.
                unsafe { matrixmultiply::$matrixmultiply(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, beta, c, rsc, 1) }
            }
        }
    };
}
gemm!(f32, f32_kernels, sgemm);
gemm!(f64, f64_kernels, dgemm);

/// A view of a matrix: element (i, j) at `data[i * row_stride + j * col_stride]`. Strides may be 0 (broadcast).
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T> {
    /// The elements, from (0, 0) on.
    pub data: &'a [T],
    /// The distance between rows.
    pub row_stride: usize,
    /// The distance between columns.
    pub col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// The transpose.
    fn t(&self) -> Self {
        Mat { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// The view from element (i, j) on.
    pub(crate) fn from(&self, i: usize, j: usize) -> Self {
        let start = (i * self.row_stride + j * self.col_stride).min(self.data.len());
        Mat { data: &self.data[start..], ..*self }
    }

    /// Panics unless `rows x columns` elements are in bounds.
    fn check(&self, rows: usize, columns: usize, name: &str) {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * self.row_stride + (columns - 1) * self.col_stride;
            assert!(
                last < self.data.len(),
                "gemm: {name} [{rows}, {columns}] needs {} elements, has {}",
                last + 1,
                self.data.len()
            );
        }
    }
}

/// What is done to each element of the product before it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T> {
    /// One number per column, added to every row: the bias of a linear layer.
    pub bias_row: Option<&'a [T]>,
    /// `max(x, 0)`, after the bias.
    pub relu: bool,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Epilogue { bias_row: None, relu: false }
    }
}

/// Inner indices per block: a panel of B (384 x 32 `f32`) just fits the first-level cache.
pub(crate) const K_BLOCK: usize = 384;
/// Columns that one thread of several has at least, where they share a slice of a sum.
const TEAM: usize = 64;
/// Multiplications under which a second thread does not pay.
pub(crate) const PARALLEL: usize = 2 << 20;

/// The boundaries of block `i` when `n` is cut in `blocks` parts of `n / blocks` rounded up to a multiple of `unit`.
pub(crate) fn part(n: usize, blocks: usize, unit: usize, i: usize) -> Range<usize> {
    let size = n.div_ceil(blocks.max(1)).next_multiple_of(unit);
    (i * size).min(n)..((i + 1) * size).min(n)
}

/// Part `i` when `n` is cut in `parts` parts that differ by one at most.
pub(crate) fn even(n: usize, parts: usize, i: usize) -> Range<usize> {
    n * i / parts..n * (i + 1) / parts
}

/// The height of A's panels: as even as possible, at most the tallest tile.
pub(crate) fn panel_height(m: usize, tallest: usize) -> usize {
    m.div_ceil(m.div_ceil(tallest).max(1)).max(1)
}

/// `C[m,n] = A[m,k] . B[k,n] (+ C)`, then the epilogue. Row i of C starts at `c[i * ldc]`.
///
/// # Panics
/// When a matrix does not fit its slice.
#[allow(clippy::too_many_arguments, reason = "the BLAS signature")]
pub fn gemm<T: Float>(
    m: usize,
    k: usize,
    n: usize,
    a: Mat<T>,
    b: Mat<T>,
    c: &mut [T],
    ldc: usize,
    accumulate: bool,
    epilogue: Epilogue<T>,
) {
    Call { ldc, accumulate, epilogue, threads: true, ..Call::new(simd::isa(), [m, k, n], a, b) }.run(c);
}

/// Rows of A above which B is better read where it lies, or packing it is a small part of the work.
const FEW_ROWS: usize = 15;

/// Whether a product of `[m, k]` and `[k, n]` takes long to pack B beside multiplying with it: then the order in which it reads
/// B, as numbers that no other order has, and the length of what [`pack`] writes.
pub fn packs<T: Float>([m, k, n]: [usize; 3]) -> Option<([usize; 5], usize)> {
    let isa = simd::isa();
    let width = T::kernels(isa).width();
    let packs = isa != Isa::Portable && m > few::FEW && m <= FEW_ROWS && n > few::FEW && slices([m, k, n]) <= 1;
    packs.then(|| ([3, width, k, n, 0], packed_len([k, n], width)))
}

/// The length of what [`pack`] writes.
fn packed_len([k, n]: [usize; 2], width: usize) -> usize {
    k * n.next_multiple_of(width) + SLACK
}

/// Packs B in the order of [`packs`].
///
/// # Panics
/// When a slice does not have its size.
pub fn pack<T: Float>([k, n]: [usize; 2], b: Mat<T>, to: &mut [T]) {
    let kernels = T::kernels(simd::isa());
    b.check(k, n, "B");
    assert_eq!(to.len(), packed_len([k, n], kernels.width()), "gemm: packed B [{k}, {n}]");
    pack_b(kernels, b, k, 0..n, to);
}

/// [`gemm`] with what [`pack`] has made of B, of sizes for which [`packs`] says so.
///
/// # Panics
/// When a matrix does not fit its slice.
pub fn gemm_packed<T: Float>(
    sizes: [usize; 3],
    a: Mat<T>,
    b: Mat<T>,
    packed: &[T],
    c: &mut [T],
    epilogue: Epilogue<T>,
) {
    let [_, k, n] = sizes;
    let isa = simd::isa();
    assert_eq!(packed.len(), packed_len([k, n], T::kernels(isa).width()), "gemm: packed B [{k}, {n}]");
    Call { epilogue, threads: true, packed: Some(packed), ..Call::new(isa, sizes, a, b) }.run(c);
}

/// Parts of a long sum that are computed side by side where C is small.
fn slices([m, k, n]: [usize; 3]) -> usize {
    if m * n > 1 << 16 { 1 } else { (k / (4 * K_BLOCK)).clamp(1, 16) }
}

/// `C[i] = A[i] . B[i]` for every batch i: `[m,k] . [k,n]`. Matrix i of A starts at `a.data[a_offsets[i]]`, of B likewise;
/// C is `[batch, m, n]`, contiguous.
///
/// # Panics
/// When a matrix does not fit its slice, or the numbers of offsets differ.
#[allow(clippy::too_many_arguments, reason = "the BLAS signature")]
pub fn gemm_batched<T: Float>(
    m: usize,
    k: usize,
    n: usize,
    a: Mat<T>,
    a_offsets: &[usize],
    b: Mat<T>,
    b_offsets: &[usize],
    c: &mut [T],
) {
    let batch = a_offsets.len();
    assert_eq!(batch, b_offsets.len(), "gemm_batched: offsets of A and of B");
    assert_eq!(batch * m * n, c.len(), "gemm_batched: C [{batch}, {m}, {n}]");
    if m * n == 0 {
        return;
    }
    let isa = simd::isa();
    // Many small products: each on one thread. Few large ones: each on all.
    let small = m * n * k < 8 * PARALLEL;
    let per_task = if small { (PARALLEL / 2 / (m * n * k).max(1)).max(1) } else { batch };
    let product = |i: usize, c: &mut [T]| {
        let a = Mat { data: &a.data[a_offsets[i]..], ..a };
        let b = Mat { data: &b.data[b_offsets[i]..], ..b };
        Call { threads: !small, ..Call::new(isa, [m, k, n], a, b) }.run(c);
    };
    parallel::chunks_mut(c, per_task * m * n, |start, c| {
        for (i, c) in c.chunks_mut(m * n).enumerate() {
            product(start / (m * n) + i, c);
        }
    });
}

/// `C[m, n] = A[m, k] . B[k, n] (+ C)`, then the epilogue.
#[derive(Clone, Copy)]
pub(super) struct Call<'a, T> {
    pub isa: Isa,
    /// m, k and n.
    pub sizes: [usize; 3],
    pub a: Mat<'a, T>,
    pub b: Mat<'a, T>,
    /// The distance between rows of C.
    pub ldc: usize,
    pub accumulate: bool,
    pub epilogue: Epilogue<'a, T>,
    /// Whether other threads may take a share, if it pays.
    pub threads: bool,
    /// What [`pack`] has made of B, if it has.
    pub packed: Option<&'a [T]>,
}

impl<'a, T: Float> Call<'a, T> {
    /// A product alone, on this thread, whose C is contiguous.
    pub fn new(isa: Isa, sizes: [usize; 3], a: Mat<'a, T>, b: Mat<'a, T>) -> Self {
        Call {
            isa,
            sizes,
            a,
            b,
            ldc: sizes[2],
            accumulate: false,
            epilogue: Epilogue::default(),
            threads: false,
            packed: None,
        }
    }

    /// # Panics
    /// When a matrix does not fit its slice.
    pub fn run(mut self, c: &mut [T]) {
        let Call { sizes: [m, k, n], a, b, ldc, epilogue, .. } = self;
        if m == 0 || n == 0 {
            return;
        }
        a.check(m, k, "A");
        b.check(k, n, "B");
        assert!(m == 1 || ldc >= n, "gemm: rows of C overlap: {n} columns, row stride {ldc}");
        Mat { data: &*c, row_stride: ldc, col_stride: 1 }.check(m, n, "C");
        if let Some(bias) = epilogue.bias_row {
            assert_eq!(bias.len(), n, "gemm: bias");
        }
        let few = m.min(n) <= few::FEW;
        // A few rows wait for the numbers of the large matrix, so each of their products takes longer.
        self.threads = self.threads && m * n * k >= if few { PARALLEL / 4 } else { PARALLEL };
        if few {
            return few::product(self, c);
        }
        let c = Shared::new(c);
        match slices(self.sizes) {
            1 => self.blocks(c),
            // A gradient of a weight.
            slices => {
                let slices: Vec<_> = (0..slices).map(|i| part(k, slices, 1, i)).collect();
                self.sliced(&slices, slices.len(), c);
            }
        }
    }

    /// The sum cut in slices, each to numbers of its own but the first, and added in order; the slices are shared out in groups:
    /// all but the last have one.
    fn sliced(self, slices: &[Range<usize>], groups: usize, c: Shared<T>) {
        let Call { isa, sizes: [m, _, n], a, b, ldc, epilogue, .. } = self;
        // Where there are more threads, each has some columns of a group.
        let teams = if self.threads { parallel::num_threads().div_ceil(groups) } else { 1 };
        scratch((slices.len() - 1) * m * n, |parts: &mut [T]| {
            let parts = Shared::new(parts);
            parallel::tasks(groups * teams, self.threads, |i| {
                let (group, columns) = (i / teams, part(n, teams, TEAM, i % teams));
                let end = if group + 1 < groups { group + 1 } else { slices.len() };
                for (slice, ks) in (group..end).zip(&slices[group..end]).filter(|_| !columns.is_empty()) {
                    let (a, b) = (a.from(0, ks.start), b.from(ks.start, columns.start));
                    let sizes = [m, ks.len(), columns.len()];
                    let (to, ldc) = if slice == 0 { (c, ldc) } else { (parts.after((slice - 1) * m * n), n) };
                    let call = Call { sizes, a, b, ldc, accumulate: self.accumulate && slice == 0, ..self };
                    Call { epilogue: Epilogue::default(), threads: false, packed: None, ..call }
                        .blocks(to.after(columns.start));
                }
            });
            let rows = parallel::per_task(m, slices.len() * n);
            parallel::tasks(m.div_ceil(rows), self.threads, |i| {
                for row in i * rows..((i + 1) * rows).min(m) {
                    // SAFETY: the row is in C, and in this task alone.
                    let c = unsafe { std::slice::from_raw_parts_mut(c.at(row * ldc), n) };
                    for slice in 0..slices.len() - 1 {
                        // SAFETY: it was written above.
                        add(isa, unsafe { std::slice::from_raw_parts(parts.at((slice * m + row) * n), n) }, c);
                    }
                    if epilogue.bias_row.is_some() || epilogue.relu {
                        c.iter_mut().enumerate().for_each(|(j, x)| *x = finish_one(*x, epilogue, j));
                    }
                }
            });
        });
    }

    /// The whole product, whose sizes were checked; nobody else may touch C.
    fn blocks(self, c: Shared<T>) {
        let Call { sizes: [m, k, n], a, b, ldc, .. } = self;
        if self.isa != Isa::Portable {
            return panels::product(self, c);
        }
        let (row_blocks, column_blocks) = if self.threads { (m.div_ceil(256), n.div_ceil(256)) } else { (1, 1) };
        parallel::tasks(row_blocks * column_blocks, self.threads, |i| {
            let rows = part(m, row_blocks, 1, i / column_blocks);
            let columns = part(n, column_blocks, 1, i % column_blocks);
            if rows.is_empty() || columns.is_empty() {
                return;
            }
            let sizes = [rows.len(), k, columns.len()];
            let bias_row = self.epilogue.bias_row.map(|bias| &bias[columns.clone()]);
            let epilogue = Epilogue { bias_row, ..self.epilogue };
            let (a, b) = (a.from(rows.start, 0), b.from(0, columns.start));
            // SAFETY: `run` has checked all three matrices; blocks of C are disjoint.
            unsafe { Call { sizes, a, b, epilogue, ..self }.portable(c.at(rows.start * ldc + columns.start)) };
        });
    }

    /// By crate `matrixmultiply`.
    ///
    /// # Safety
    /// The three matrices must be in bounds, and no one else may touch C.
    unsafe fn portable(self, c: *mut T) {
        let Call { sizes: [m, k, n], a, b, ldc, epilogue, .. } = self;
        let beta = if self.accumulate { T::ONE } else { T::ZERO };
        let (a_strides, b_strides) = ([a.row_stride, a.col_stride], [b.row_stride, b.col_stride]);
        // SAFETY: the caller vouches for the matrices.
        unsafe { T::matrixmultiply(m, k, n, a.data.as_ptr(), a_strides, b.data.as_ptr(), b_strides, beta, c, ldc) };
        if epilogue.bias_row.is_some() || epilogue.relu {
            for i in 0..m {
                for j in 0..n {
                    // SAFETY: inside C.
                    let x = unsafe { &mut *c.add(i * ldc + j) };
                    *x = finish_one(*x, epilogue, j);
                }
            }
        }
    }
}

#[inline(always)]
fn finish_one<T: Float>(x: T, epilogue: Epilogue<T>, column: usize) -> T {
    let x = epilogue.bias_row.map_or(x, |bias| x + bias[column]);
    if epilogue.relu && x < T::ZERO { T::ZERO } else { x }
}
