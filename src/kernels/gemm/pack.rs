//! Packing: columns of B in the order in which a micro-kernel reads them.

use super::Mat;
use super::tile::{Kernels, Rows};
use super::transpose::transpose;
use std::ops::Range;

/// Numbers that a kernel may read or write beyond the end of a packed block.
pub(crate) const SLACK: usize = 32;

/// Copies `k` rows of `width` numbers, `row_stride` apart, to rows of a panel.
fn copy_rows<T: super::Gemm>(
    kernels: &Kernels<T>,
    from: &[T],
    row_stride: usize,
    k: usize,
    width: usize,
    panel: &mut [T],
) {
    let wide = kernels.width();
    assert!(k * wide <= panel.len(), "pack: panel");
    // Whole registers, as long as they end inside.
    let whole = if from.len() < wide { 0 } else { ((from.len() - wide) / row_stride.max(1) + 1).min(k) };
    let rows = Rows { from: from.as_ptr(), from_stride: row_stride, count: whole, to: panel.as_mut_ptr(), width };
    // SAFETY: `whole` rows of `wide` numbers are in both slices.
    unsafe { kernels.rows(&rows) };
    for p in whole..k {
        panel[p * wide..][..width].copy_from_slice(&from[p * row_stride..][..width]);
    }
}

/// Packs columns `columns` of B in panels of `kernels.width()` columns: element (p, j) of a panel at `p * width + j`, one
/// panel of `k` rows behind the other. `to` needs [`SLACK`] numbers more.
pub(crate) fn pack_b<T: super::Gemm>(kernels: &Kernels<T>, b: Mat<T>, k: usize, columns: Range<usize>, to: &mut [T]) {
    let width = kernels.width();
    if k == 0 {
        return;
    }
    if b.col_stride != 1 {
        for (panel, j) in columns.clone().step_by(width).enumerate() {
            let w = width.min(columns.end - j);
            let (from, to) = (&b.data[j * b.col_stride..], &mut to[panel * k * width..]);
            if b.row_stride == 1 {
                // [w, k] -> [k, w]
                transpose(kernels, from, b.col_stride, [w, k], to, width);
            } else {
                for p in 0..k {
                    for j in 0..w {
                        to[p * width + j] = from[p * b.row_stride + j * b.col_stride];
                    }
                }
            }
        }
        return;
    }
    // Some rows, of all panels, then the next: rows may lie on a page each, and only so many pages are at hand.
    for rows in (0..k).step_by(16).map(|p| p..(p + 16).min(k)) {
        for (panel, j) in columns.clone().step_by(width).enumerate() {
            let w = width.min(columns.end - j);
            let from = &b.data[rows.start * b.row_stride + j..];
            copy_rows(kernels, from, b.row_stride, rows.len(), w, &mut to[(panel * k + rows.start) * width..]);
        }
    }
}
