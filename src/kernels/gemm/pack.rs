//! Packing: panels of A and B in the order in which a micro-kernel reads them.

use super::Mat;
use super::tile::{Kernels, Rows};
use std::ops::Range;

/// Numbers that packing may write beyond the end of a panel.
pub(crate) const SLACK: usize = 32;

/// Packs `lines` strided lines of `k` numbers side by side: number p of line i goes to `to[p * stride + i]`.
///
/// Serves rows of A and columns of B alike. `to` needs [`SLACK`] numbers beyond its `k * stride`.
fn interleave<T: Copy>(
    from: &[T],
    lines: usize,
    line_stride: usize,
    k: usize,
    k_stride: usize,
    to: &mut [T],
    stride: usize,
) {
    if k_stride != 1 || k < 4 {
        for p in 0..k {
            for i in 0..lines {
                to[p * stride + i] = from[i * line_stride + p * k_stride];
            }
        }
        return;
    }
    // Squares of 4 x 4, the last lines first: a square of fewer than 4 lines overruns into the next p, which is written after it.
    let whole = k - k % 4;
    for p in (0..whole).step_by(4) {
        for i in (0..lines).step_by(4).rev() {
            let square: [[T; 4]; 4] = std::array::from_fn(|l| {
                let start = (i + l).min(lines - 1) * line_stride + p;
                from[start..start + 4].try_into().expect("four numbers")
            });
            for (l, at) in (0..4).map(|l| (l, (p + l) * stride + i)) {
                to[at..at + 4].copy_from_slice(&[square[0][l], square[1][l], square[2][l], square[3][l]]);
            }
        }
    }
    for p in whole..k {
        for i in 0..lines {
            to[p * stride + i] = from[i * line_stride + p];
        }
    }
}

/// Copies `k` rows of `width` numbers, `row_stride` apart, to rows `stride` apart.
fn copy_rows<T: super::Gemm>(
    kernels: &Kernels<T>,
    from: &[T],
    row_stride: usize,
    k: usize,
    width: usize,
    to: &mut [T],
    stride: usize,
) {
    let wide = kernels.width();
    let mut offsets = [0; 64];
    let mut p = 0;
    while p < k {
        let count = (k - p).min(offsets.len());
        let end = (p + count - 1) * row_stride + wide;
        let end_to = (p + count - 1) * stride + wide;
        if width <= wide && end <= from.len() && end_to <= to.len() {
            for (i, offset) in offsets[..count].iter_mut().enumerate() {
                *offset = (p + i) * row_stride;
            }
            let rows = Rows {
                from: from.as_ptr(),
                offsets: offsets.as_ptr(),
                count,
                to: to[p * stride..].as_mut_ptr(),
                stride,
                width,
            };
            // SAFETY: the two comparisons above: whole registers at the last row are in bounds, so they are at all.
            unsafe { kernels.rows(&rows) };
        } else {
            for p in p..p + count {
                to[p * stride..][..width].copy_from_slice(&from[p * row_stride..][..width]);
            }
        }
        p += count;
    }
}

/// Packs rows `rows` and inner indices `k` of A in panels of `height` rows: element (i, p) of a panel of h rows at
/// `p * h + i`, one panel behind the other. `to` needs [`SLACK`] numbers more.
pub(crate) fn pack_a<T: super::Gemm>(
    kernels: &Kernels<T>,
    a: Mat<T>,
    rows: Range<usize>,
    k: Range<usize>,
    height: usize,
    to: &mut [T],
) {
    let mut at = 0;
    if k.is_empty() {
        return;
    }
    for i in rows.clone().step_by(height) {
        let h = height.min(rows.end - i);
        let from = &a.data[i * a.row_stride + k.start * a.col_stride..];
        if a.row_stride == 1 && a.col_stride != 1 {
            copy_rows(kernels, from, a.col_stride, k.len(), h, &mut to[at..], h);
        } else {
            interleave(from, h, a.row_stride, k.len(), a.col_stride, &mut to[at..], h);
        }
        at += h * k.len();
    }
}

/// Packs inner indices `k` and columns `columns` (at most a tile's width) of B: element (p, j) at `p * stride + j`, where
/// `stride` is the width of a full tile. `to` needs [`SLACK`] numbers more.
pub(crate) fn pack_b<T: super::Gemm>(
    kernels: &Kernels<T>,
    b: Mat<T>,
    k: Range<usize>,
    columns: Range<usize>,
    to: &mut [T],
) {
    if k.is_empty() {
        return;
    }
    let from = &b.data[k.start * b.row_stride + columns.start * b.col_stride..];
    if b.col_stride == 1 {
        copy_rows(kernels, from, b.row_stride, k.len(), columns.len(), to, kernels.width());
    } else {
        interleave(from, columns.len(), b.col_stride, k.len(), b.row_stride, to, kernels.width());
    }
}
