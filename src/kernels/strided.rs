//! Traversal of strided operands: dims are collapsed, the work is split at fixed boundaries, and every piece is handed
//! out as a two-dimensional tile that fits the first-level cache.

use super::gemm::transpose_at;
use super::parallel::{GRAIN, tasks};
use super::simd::{isa, simd};
use crate::element::Element;
use std::mem::MaybeUninit;

/// The largest number of dims that a strided kernel takes.
pub const MAX_RANK: usize = 8;

/// The most elements of a tile.
pub(super) const TILE: usize = 1024;

/// Rows of a tile whose operands run in different directions, and which has 64 columns: whole cache lines of the operand, and few
/// rows of the result, which may all lie in the same sets of a cache.
const ROWS: usize = 16;

/// The side of a block of such tiles: each of its rows may lie on a page of its own, on either side, and the processor knows
/// the places of about a thousand pages only.
const BLOCK: usize = 256;

/// A strided operand; a broadcast dim has stride 0.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    /// The elements, from the view's first one.
    pub data: &'a [T],
    /// The distance between neighbours along each dim, in elements.
    pub strides: &'a [usize],
}

impl<'a, T> View<'a, T> {
    /// Panics where the dims and strides reach beyond the data: the kernels rely on it.
    #[inline]
    pub(super) fn check(&self, dims: &[usize]) {
        assert!(dims.len() <= MAX_RANK, "rank {} is more than {MAX_RANK}", dims.len());
        assert_eq!(self.strides.len(), dims.len(), "strides and dims differ in rank");
        let mut last = 0usize;
        for (&d, &s) in dims.iter().zip(self.strides) {
            if d == 0 {
                return;
            }
            let reach = (d - 1).checked_mul(s).and_then(|reach| last.checked_add(reach));
            last = reach.expect("the strides overflow");
        }
        assert!(last < self.data.len(), "the view reaches element {last} of {}", self.data.len());
    }

    /// The elements as a slice when they lie in row-major order without gaps.
    #[inline]
    pub(super) fn contiguous(&self, dims: &[usize], len: usize) -> Option<&'a [T]> {
        let mut expected = 1;
        for (&d, &s) in dims.iter().zip(self.strides).rev() {
            if d != 1 && s != expected {
                return None;
            }
            expected *= d;
        }
        Some(&self.data[..len])
    }
}

/// Common dims of `N` operands, neighbours merged where every operand allows it.
#[derive(Clone, Copy)]
pub(super) struct Collapsed<const N: usize> {
    pub rank: usize,
    pub dims: [usize; MAX_RANK],
    pub strides: [[usize; MAX_RANK]; N],
}

impl<const N: usize> Collapsed<N> {
    /// Drops dims of size 1 and merges neighbours; the rank of the result is at least 1.
    pub fn new(dims: &[usize], strides: [&[usize]; N]) -> Self {
        let mut out = Collapsed { rank: 0, dims: [1; MAX_RANK], strides: [[0; MAX_RANK]; N] };
        for (i, &d) in dims.iter().enumerate() {
            if d == 1 {
                continue;
            }
            let merges = out.rank > 0 && (0..N).all(|o| out.strides[o][out.rank - 1] == strides[o][i] * d);
            if merges {
                out.dims[out.rank - 1] *= d;
            } else {
                out.dims[out.rank] = d;
                out.rank += 1;
            }
            for (o, stride) in strides.iter().enumerate() {
                out.strides[o][out.rank - 1] = stride[i];
            }
        }
        out.rank = out.rank.max(1);
        out
    }
}

/// The strides of a contiguous row-major array.
pub(super) fn row_major(dims: &[usize]) -> [usize; MAX_RANK] {
    let mut strides = [0; MAX_RANK];
    let mut step = 1;
    for (s, &d) in strides.iter_mut().zip(dims).rev() {
        *s = step;
        step *= d;
    }
    strides
}

/// A tile: `rows` by `cols` elements of every operand.
#[derive(Clone, Copy)]
pub(super) struct Tile<const N: usize> {
    pub rows: usize,
    pub cols: usize,
    /// The first element of each operand.
    pub offsets: [usize; N],
    /// The distance between rows and between columns of each operand.
    pub steps: [(usize, usize); N],
}

/// Hands out tiles that cover the dims once; in parallel when there is enough work.
///
/// The last operand is the output: contiguous in row-major order. Tiles of at least one row and one column; rows are
/// joined to one where output and inputs allow it.
pub(super) fn for_tiles<const N: usize>(dims: &[usize], strides: [&[usize]; N], f: &(dyn Fn(Tile<N>) + Sync)) {
    if dims.contains(&0) {
        return;
    }
    let c = Collapsed::new(dims, strides);
    let (q, total) = (c.rank - 1, c.dims[..c.rank].iter().product::<usize>());

    // The dim that becomes a tile's rows: where an operand is not contiguous along the columns, the dim along which it
    // has the smallest stride, so that a tile uses whole cache lines of both sides.
    let mut rows_dim = q.saturating_sub(1);
    let mut crossed = false;
    for s in &c.strides[..N - 1] {
        if s[q] > 1 && !crossed {
            let best = (0..q).filter(|&i| s[i] > 0).min_by_key(|&i| s[i]);
            if let Some(best) = best.filter(|&i| s[i] < s[q]) {
                (rows_dim, crossed) = (best, true);
            }
        }
    }

    // A slab: one index of the dims before `a`, a block of dim `a`, all of the dims behind it.
    let mut a = 0;
    let mut inner: usize = total / c.dims[0];
    while a < q && a < rows_dim && inner > 2 * GRAIN {
        a += 1;
        inner /= c.dims[a];
    }
    let mut block = if total <= GRAIN { c.dims[a] } else { GRAIN.div_ceil(inner) };
    if crossed && a == rows_dim {
        block = (c.dims[a] / 16).clamp(block.min(BLOCK), BLOCK).next_multiple_of(ROWS);
    }
    let blocks = c.dims[a].div_ceil(block);
    let slabs = blocks * c.dims[..a].iter().product::<usize>();
    tasks(slabs, slabs > 1, |slab| {
        let mut offsets = [0; N];
        let mut rest = slab / blocks;
        for i in (0..a).rev() {
            let index = rest % c.dims[i];
            rest /= c.dims[i];
            (0..N).for_each(|o| offsets[o] += index * c.strides[o][i]);
        }
        let low = slab % blocks * block;
        (0..N).for_each(|o| offsets[o] += low * c.strides[o][a]);
        let mut part = c;
        part.dims[..a].fill(1);
        part.dims[a] = block.min(c.dims[a] - low);
        walk(&part, offsets, rows_dim, crossed, f);
    });
}

/// Every tile of one slab, in order.
fn walk<const N: usize>(
    c: &Collapsed<N>,
    base: [usize; N],
    rows_dim: usize,
    crossed: bool,
    f: &(dyn Fn(Tile<N>) + Sync),
) {
    let q = c.rank - 1;
    let (height, width) = (if q == 0 { 1 } else { c.dims[rows_dim] }, c.dims[q]);
    let (rows, cols) = if crossed {
        let cols = (TILE / height.min(ROWS)).min(width);
        ((TILE / cols).min(height), cols)
    } else if width > TILE / 2 {
        (1, width.div_ceil(width.div_ceil(TILE)).next_multiple_of(64).min(width))
    } else {
        ((TILE / width).min(height), width)
    };
    let block = if crossed { BLOCK.next_multiple_of(cols) } else { width };
    let steps = std::array::from_fn(|o| (if q == 0 { 0 } else { c.strides[o][rows_dim] }, c.strides[o][q]));
    let mut index = [0; MAX_RANK];
    loop {
        let mut offsets = base;
        for (i, &at) in index.iter().enumerate().take(q) {
            (0..N).for_each(|o| offsets[o] += at * c.strides[o][i]);
        }
        for columns in (0..width).step_by(block).map(|start| start..(start + block).min(width)) {
            for row in (0..height).step_by(rows) {
                for col in columns.clone().step_by(cols) {
                    f(Tile {
                        rows: rows.min(height - row),
                        cols: cols.min(columns.end - col),
                        offsets: std::array::from_fn(|o| offsets[o] + row * steps[o].0 + col * steps[o].1),
                        steps,
                    });
                }
            }
        }
        // The next index of the dims that no tile spans, the last one fastest.
        let mut dim = q;
        loop {
            if dim == 0 {
                return;
            }
            dim -= 1;
            if dim == rows_dim {
                continue;
            }
            index[dim] += 1;
            if index[dim] < c.dims[dim] {
                break;
            }
            index[dim] = 0;
        }
    }
}

simd! {
    fn fill[T: Element](y: &mut [MaybeUninit<T>], value: T) {
        for y in y {
            y.write(value);
        }
    }
}

/// Copies a tile of `x` to rows of `cols` elements that lie `step` apart.
///
/// # Safety
/// `x` must be readable at `row * steps.0 + col * steps.1` for every row and column, `y` writable at
/// `row * step + col`, and the two must not overlap.
#[inline]
pub(super) unsafe fn copy_tile<T: Element>(
    x: *const T,
    steps: (usize, usize),
    y: *mut T,
    step: usize,
    rows: usize,
    cols: usize,
) {
    // SAFETY: the caller's promise covers every access: rows and columns stay in their ranges.
    unsafe {
        match steps {
            (_, 1) => {
                for row in 0..rows {
                    std::ptr::copy_nonoverlapping(x.add(row * steps.0), y.add(row * step), cols);
                }
            }
            (_, 0) => {
                let isa = isa();
                for row in 0..rows {
                    fill(isa, std::slice::from_raw_parts_mut(y.add(row * step).cast(), cols), *x.add(row * steps.0));
                }
            }
            (1, across) if matches!(size_of::<T>(), 4 | 8) => transpose_at(x, across, [cols, rows], y, step),
            (along, across) if along < across && rows > 1 => {
                // Eight columns at a time: the reads run along eight rows of memory, the writes fill whole pieces.
                let mut col = 0;
                while col + 8 <= cols {
                    let from = x.add(col * across);
                    let to = y.add(col);
                    for row in 0..rows {
                        let piece: [T; 8] = std::array::from_fn(|i| *from.add(row * along + i * across));
                        to.add(row * step).cast::<[T; 8]>().write(piece);
                    }
                    col += 8;
                }
                for col in col..cols {
                    for row in 0..rows {
                        y.add(row * step + col).write(*x.add(row * along + col * across));
                    }
                }
            }
            (along, across) => {
                for row in 0..rows {
                    for col in 0..cols {
                        y.add(row * step + col).write(*x.add(row * along + col * across));
                    }
                }
            }
        }
    }
}
