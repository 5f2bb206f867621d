//! Products by panels of the operand that fills the lanes.

use super::pack::pack_b;
use super::tile::{Finish, Kernels, Tile};
use super::{Epilogue, K_BLOCK, Mat, SLACK, Shared, panel_height, part, scratch};
use crate::element::Float;
use crate::kernels::parallel;
use crate::kernels::prefetch;
use crate::kernels::simd::Isa;
use std::ops::Range;

/// Tiles of rows and panels of columns in the largest block of C: both operands stay in the second-level cache.
const TILES: usize = 18;
const PANELS: usize = 16;
/// Panels that are packed at once, where only one block reads them.
const GROUP: usize = 4;
/// Numbers of B that are packed at most before they are used.
const PACKED: usize = 1 << 20;

/// One product, the way it is computed: the columns of B fill the lanes.
struct Product<'a, T: Float> {
    kernels: &'static Kernels<T>,
    m: usize,
    k: usize,
    n: usize,
    a: Mat<'a, T>,
    b: Mat<'a, T>,
    c: Shared<T>,
    ldc: usize,
    /// The result is the transpose of C.
    turned: bool,
    accumulate: bool,
    /// The last block of k is followed by it.
    finish: Finish<T>,
    height: usize,
}

/// About how many cycles a product takes with the columns of B in the lanes.
fn cost<T>([m, k, n]: [usize; 3], a: Mat<T>, b: Mat<T>, lanes: usize, turned: bool) -> usize {
    let products = k * n.div_ceil(lanes) * m / 2;
    // A step to another cache line, of another page, with each column of A.
    let far = if a.col_stride == 1 { 0 } else { k * m / 3 };
    let pack = match (b.col_stride, b.row_stride) {
        (1, _) => k * n / 8,
        (_, 1) => k * n / 3,
        _ => k * n,
    };
    products + far + pack + if turned { m * n / 4 } else { m * n / 8 }
}

#[allow(clippy::too_many_arguments, reason = "the BLAS signature")]
pub(super) fn product<T: Float>(
    isa: Isa,
    [m, k, n]: [usize; 3],
    a: Mat<T>,
    b: Mat<T>,
    c: &mut [T],
    ldc: usize,
    accumulate: bool,
    epilogue: Epilogue<T>,
    threads: bool,
) {
    let kernels = T::kernels(isa);
    let bias = epilogue.bias_row.map_or(std::ptr::null(), <[T]>::as_ptr);
    let turned = cost([n, k, m], b.t(), a.t(), kernels.lanes, true) < cost([m, k, n], a, b, kernels.lanes, false);
    let finish = Finish { relu: epilogue.relu, ..Finish::NONE };
    let (m, n, a, b, finish) = if turned {
        (n, m, b.t(), a.t(), Finish { bias_column: bias, ..finish })
    } else {
        (m, n, a, b, Finish { bias_row: bias, ..finish })
    };
    let height = panel_height(m, kernels.height());
    let product = Product { kernels, m, k, n, a, b, c: Shared::new(c), ldc, turned, accumulate, finish, height };
    product.run(threads);
}

impl<T: Float> Product<'_, T> {
    fn run(&self, threads: bool) {
        let width = self.kernels.width();
        let (tiles, panels) = (self.m.div_ceil(self.height), self.n.div_ceil(width));
        let (mut row_blocks, mut column_blocks) = (tiles.div_ceil(TILES), panels.div_ceil(PANELS));
        // Enough for eight threads, each with a few tiles.
        while threads && row_blocks * column_blocks < 8 {
            if panels >= 4 * column_blocks {
                column_blocks *= 2;
            } else if tiles >= 4 * row_blocks {
                row_blocks *= 2;
            } else {
                break;
            }
        }
        let rows = |i: usize| share(tiles, row_blocks, i, self.height, self.m);
        if row_blocks == 1 {
            parallel::tasks(column_blocks, threads, |i| {
                self.block(0..self.m, share(panels, column_blocks, i, width, self.n), None);
            });
            return;
        }
        // All blocks of rows share what is packed.
        let most = (PACKED / self.k.max(1) / width).max(PANELS) * width;
        for start in (0..self.n).step_by(most) {
            let columns = start..(start + most).min(self.n);
            let panels = columns.len().div_ceil(width);
            let column_blocks = column_blocks.min(panels);
            let groups = panels.div_ceil(GROUP);
            scratch(panels * width * self.k + SLACK, |packed: &mut [T]| {
                let all = Shared::new(packed);
                let group_len = GROUP * width * self.k;
                parallel::tasks(groups, threads && self.k * columns.len() >= 1 << 14, |i| {
                    // SAFETY: groups are disjoint.
                    let to = unsafe { all.chunk(group_len, i) };
                    let first = columns.start + i * GROUP * width;
                    pack_b(self.kernels, self.b, self.k, first..(first + GROUP * width).min(columns.end), to);
                });
                let packed: &[T] = packed;
                parallel::tasks(row_blocks * column_blocks, threads, |i| {
                    let some = share(panels, column_blocks, i % column_blocks, width, columns.len());
                    let packed = &packed[some.start * self.k..];
                    let columns = columns.start + some.start..columns.start + some.end;
                    self.block(rows(i / column_blocks), columns, Some(packed));
                });
            });
        }
    }

    /// A block of C; `packed` holds its panels of B, unless it is to pack them itself.
    fn block(&self, rows: Range<usize>, columns: Range<usize>, packed: Option<&[T]>) {
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        let (width, k_blocks) = (self.kernels.width(), self.k.div_ceil(K_BLOCK).max(1));
        for k_block in 0..k_blocks {
            let ks = part(self.k, k_blocks, 1, k_block);
            let a = self.a.from(rows.start, ks.start);
            if columns.len() <= 2 * width {
                self.panels(rows.clone(), columns.clone(), ks, a, packed);
                continue;
            }
            // Rows of A at large distances share sets of the caches, and lie on a page each: many panels read a copy.
            let by_rows = a.col_stride <= a.row_stride;
            let (lines, line) = if by_rows { (rows.len(), ks.len()) } else { (ks.len(), rows.len()) };
            let stride = line.next_multiple_of(LINE) + LINE;
            scratch(lines * stride, |copy: &mut [T]| {
                copy_lines(if by_rows { a } else { a.t() }, line, copy, stride);
                let copied = Mat { data: &*copy, row_stride: stride, col_stride: 1 };
                self.panels(rows.clone(), columns.clone(), ks, if by_rows { copied } else { copied.t() }, packed);
            });
        }
    }

    /// All panels of a block, for one block of k; A begins with its first number.
    fn panels(&self, rows: Range<usize>, columns: Range<usize>, ks: Range<usize>, a: Mat<T>, packed: Option<&[T]>) {
        let width = self.kernels.width();
        if let Some(packed) = packed {
            for (panel, j) in columns.clone().step_by(width).enumerate() {
                let b = &packed[(panel * self.k + ks.start) * width..];
                self.panel(rows.clone(), j..(j + width).min(columns.end), ks.clone(), a, b, width);
            }
            return;
        }
        let few = self.b.col_stride == 1 && rows.len() <= 2 * self.height;
        scratch(GROUP * ks.len() * width + SLACK, |packed: &mut [T]| {
            for group in columns.clone().step_by(GROUP * width) {
                let group = group..(group + GROUP * width).min(columns.end);
                let from = self.b.from(ks.start, group.start);
                let next = self.b.from(ks.start, group.end.min(columns.end - 1));
                // Few tiles read it where it lies, if whole registers end inside.
                let reach = ks.len().saturating_sub(1) * self.b.row_stride + group.len().next_multiple_of(width);
                let in_place = few && reach <= from.data.len();
                if !in_place {
                    pack_b(self.kernels, from, ks.len(), 0..group.len(), packed);
                }
                for (panel, j) in group.clone().step_by(width).enumerate() {
                    if group.end < columns.end {
                        // While this group is multiplied the next one comes closer.
                        fetch(next, share(ks.len(), GROUP, panel, 1, ks.len()), GROUP * width);
                    }
                    let (b, b_step) = if in_place {
                        (&from.data[panel * width..], self.b.row_stride)
                    } else {
                        (&packed[panel * ks.len() * width..], width)
                    };
                    self.panel(rows.clone(), j..(j + width).min(group.end), ks.clone(), a, b, b_step);
                }
            }
        });
    }

    /// All tiles of one panel, for one block of k; A and B begin with their first numbers.
    fn panel(&self, rows: Range<usize>, columns: Range<usize>, ks: Range<usize>, a: Mat<T>, b: &[T], b_step: usize) {
        let last = ks.end == self.k;
        for i in rows.clone().step_by(self.height) {
            let (row, column) = if self.turned { (columns.start, i) } else { (i, columns.start) };
            let tile = Tile {
                rows: self.height.min(rows.end - i),
                width: columns.len(),
                a: a.from(i - rows.start, 0).data.as_ptr(),
                a_stride: a.row_stride,
                b: b.as_ptr(),
                outer: &[[0, 0]],
                inner: ks.len(),
                a_step: a.col_stride,
                b_step,
                c: self.c.at(row * self.ldc + column),
                c_stride: self.ldc,
                turned: self.turned,
                accumulate: self.accumulate || ks.start > 0,
                finish: if last { self.finish.at(i, columns.start) } else { Finish::NONE },
            };
            tile.fetch(0);
            // SAFETY: `run` of the module has checked all matrices; B has whole registers; blocks of C are disjoint.
            unsafe { self.kernels.tile(&tile) };
        }
    }
}

/// Asks for some rows of `b` and its first `columns` columns.
fn fetch<T>(b: Mat<T>, rows: Range<usize>, columns: usize) {
    let (rows, columns) = if b.col_stride == 1 { (rows, 0..columns) } else { (0..columns, rows) };
    let (row_stride, col_stride) = if b.col_stride == 1 { (b.row_stride, 1) } else { (b.col_stride, b.row_stride) };
    if col_stride == 1 {
        for i in rows {
            for j in columns.clone().step_by(LINE) {
                prefetch::line(b.data.as_ptr().wrapping_add(i * row_stride + j).cast());
            }
        }
    }
}

/// Numbers to a cache line, or more.
const LINE: usize = 16;

/// Copies the first `line` numbers of all rows of `from` that `to` has room for, `stride` apart.
fn copy_lines<T: Copy>(from: Mat<T>, line: usize, to: &mut [T], stride: usize) {
    for (i, to) in to.chunks_mut(stride).enumerate() {
        let start = (i * from.row_stride).min(from.data.len());
        if from.col_stride == 1 {
            to[..line].copy_from_slice(&from.data[start..][..line]);
        } else {
            to[..line].iter_mut().enumerate().for_each(|(j, x)| *x = from.data[start + j * from.col_stride]);
        }
    }
}

/// What block `i` of `blocks` has of `units` tiles or panels, in rows or columns.
fn share(units: usize, blocks: usize, i: usize, size: usize, end: usize) -> Range<usize> {
    (units * i / blocks * size).min(end)..(units * (i + 1) / blocks * size).min(end)
}
