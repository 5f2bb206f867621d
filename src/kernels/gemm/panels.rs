//! Products by panels of the operand that fills the lanes.

use super::pack::pack_b;
use super::tile::{Finish, Kernels, Tile, Transpose};
use super::{Call, K_BLOCK, Mat, SLACK, Shared, TEAM, even, panel_height, part, scratch};
use crate::element::Float;
use crate::kernels::parallel;
use crate::kernels::prefetch;
use std::ops::Range;

/// Tiles of rows and panels of columns in the largest block of C: both operands stay in the second-level cache.
const TILES: usize = 18;
const PANELS: usize = 16;
/// Panels that are packed at once, where only one block reads them.
const GROUP: usize = 4;
/// The distance up to which rows of A are read where they lie: those of a tile share few sets of the first-level cache.
const NEAR: usize = 512;
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
    /// All panels of B, if they are packed already.
    packed: Option<&'a [T]>,
}

/// Where a block of the result goes: row i to `start + i * stride`.
#[derive(Clone, Copy)]
struct Place<T> {
    start: *mut T,
    stride: usize,
}

impl<T> Place<T> {
    fn at(self, row: usize, column: usize) -> Self {
        Place { start: self.start.wrapping_add(row * self.stride + column), ..self }
    }
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

/// What threads share out: rows of A, columns of B, or the blocks of k of both, whose sums are added then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cut {
    Rows,
    Columns,
    Sum,
}

/// In how many blocks threads share so many units: several for each thread, where the work is long enough to be uneven.
fn blocks(products: usize, units: usize, threads: usize) -> usize {
    let each = if products < 1 << 28 { 1 } else { 4 };
    (each * threads).min(units).max(threads)
}

/// How threads share a product whose A has so many tiles of rows, and B so many panels; the cost is that of a thread of two. Each
/// of them has written one half of every matrix in memory: the halves of a transposed one lie side by side. What it has not
/// written comes from the other core, slowly, and lines that both have read are slow to write.
pub(super) fn cut<T>(
    [m, k, n]: [usize; 3],
    [tiles, panels]: [usize; 2],
    [a, b]: [Mat<T>; 2],
    turned: bool,
    threads: usize,
) -> Cut {
    let (a_by_rows, b_by_rows) = (a.col_stride <= a.row_stride, b.col_stride <= b.row_stride);
    let [a, b, c] = [m * k, k * n, m * n];
    // All in sixteenths of cycles: to multiply; to copy a number of A, to pack one of B and bring it to the first-level cache, to
    // get one from afar.
    let work = |units: usize| c * k / units * units.div_ceil(threads) * threads / 2;
    let (copy, pack, far) = (1, if b_by_rows { 5 } else { 8 }, 3);
    let only = |is: bool, numbers: usize| usize::from(is) * numbers;
    // Each block copies and packs for itself.
    let [row_blocks, column_blocks] = [tiles, panels / PANELS].map(|units| blocks(c * k, units, 2));
    let rows = c * k / 2
        + copy * a / 2
        + pack * b * row_blocks / 2
        + far * (only(!a_by_rows, a / 4) + b / 2 + only(turned, c / 4));
    let columns = work(panels)
        + copy * a * column_blocks / 2
        + pack * b / 2
        + far * (a / 2 + only(b_by_rows, b / 4) + only(!turned, c / 4));
    let k_blocks = k.div_ceil(K_BLOCK);
    // Sums that are not added to C at once.
    let parts = k_blocks.div_ceil(2) * c;
    let far_sums = only(a_by_rows, a / 4) + only(!b_by_rows, b / 4) + parts / 2;
    let sum = c * k / k_blocks * k_blocks.div_ceil(2) + copy * a / 2 + pack * b / 2 + 4 * parts + far * far_sums;
    // More threads take columns of the halves.
    let halves = k_blocks > 1 && threads.is_multiple_of(2) && n.div_ceil(TEAM) >= threads / 2;
    if halves && parts <= 1 << 20 && sum < rows.min(columns) {
        Cut::Sum
    } else if rows <= columns {
        Cut::Rows
    } else {
        Cut::Columns
    }
}

pub(super) fn product<T: Float>(call: Call<T>, c: Shared<T>) {
    let Call { isa, sizes: [m, k, n], a, b, ldc, accumulate, epilogue, threads, packed } = call;
    let kernels = T::kernels(isa);
    let bias = epilogue.bias_row.map_or(std::ptr::null(), <[T]>::as_ptr);
    let turned = packed.is_none()
        && !accumulate
        && cost([n, k, m], b.t(), a.t(), kernels.lanes, true) < cost([m, k, n], a, b, kernels.lanes, false);
    let finish = Finish { relu: epilogue.relu, ..Finish::NONE };
    let (m, n, a, b, finish) = if turned {
        (n, m, b.t(), a.t(), Finish { bias_column: bias, ..finish })
    } else {
        (m, n, a, b, Finish { bias_row: bias, ..finish })
    };
    let threads = if threads { parallel::num_threads() } else { 1 };
    let units = [m.div_ceil(kernels.height()), n.div_ceil(kernels.width())];
    let cut = match packed {
        _ if threads == 1 => Cut::Rows,
        // Panels of B are packed for few rows.
        Some(_) => Cut::Columns,
        None => cut([m, k, n], units, [a, b], turned, threads),
    };
    if let Cut::Sum = cut {
        // Both halves are sums of whole blocks of k, added in the order in which one thread adds them: the bits are the same.
        let blocks = k.div_ceil(K_BLOCK);
        let block = |i: usize| part(k, blocks, 1, i);
        let first = 0..block(blocks / 2).start;
        let slices: Vec<_> = std::iter::once(first).chain((blocks / 2..blocks).map(block)).collect();
        return call.sliced(&slices, 2, c);
    }
    let product = Product { kernels, m, k, n, a, b, c, ldc, turned, accumulate, finish, packed };
    product.run(cut, threads);
}

impl<T: Float> Product<'_, T> {
    /// Each thread has rows or columns for itself, and packs what it reads: what another core has just written comes
    /// slowly. How many there are does not matter to the bits.
    fn run(&self, cut: Cut, threads: usize) {
        let width = self.kernels.width();
        let (tiles, panels) = (self.m.div_ceil(self.kernels.height()), self.n.div_ceil(width));
        let products = self.m * self.n * self.k;
        let blocks = |units: usize| if threads > 1 { blocks(products, units, threads) } else { 1 };
        if let Cut::Columns = cut {
            // Each block copies the rows of A that it reads: that pays for whole groups of panels.
            let blocks = blocks(panels / PANELS).min(panels);
            parallel::tasks(blocks, threads > 1, |i| self.task(0..self.m, share(panels, blocks, i, width, self.n)));
        } else {
            let blocks = blocks(tiles).min(tiles);
            parallel::tasks(blocks, threads > 1, |i| self.task(even(self.m, blocks, i), 0..self.n));
        }
    }

    /// Some rows and columns of C, block by block.
    fn task(&self, rows: Range<usize>, columns: Range<usize>) {
        let width = self.kernels.width();
        let row_blocks = rows.len().div_ceil(TILES * self.kernels.height());
        let most = (PACKED / self.k.max(1) / width).clamp(1, PANELS) * width;
        for columns in columns.clone().step_by(most).map(|start| start..(start + most).min(columns.end)) {
            let blocks = |packed: Option<&[T]>| {
                for i in 0..row_blocks {
                    let some = even(rows.len(), row_blocks, i);
                    self.block(rows.start + some.start..rows.start + some.end, columns.clone(), packed);
                }
            };
            if self.packed.is_some() || row_blocks == 1 {
                blocks(self.packed.map(|packed| &packed[columns.start * self.k..]));
                continue;
            }
            // All blocks of rows read the same panels.
            scratch(columns.len().next_multiple_of(width) * self.k + SLACK, |packed: &mut [T]| {
                pack_b(self.kernels, self.b, self.k, columns.clone(), packed);
                blocks(Some(packed));
            });
        }
    }

    /// A block of C; `packed` holds its panels of B, unless it is to pack them itself.
    fn block(&self, rows: Range<usize>, columns: Range<usize>, packed: Option<&[T]>) {
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        if !self.turned {
            let c = Place { start: self.c.at(rows.start * self.ldc + columns.start), stride: self.ldc };
            return self.sums(rows, columns, packed, c);
        }
        let (from_stride, to) =
            (columns.len().next_multiple_of(LINE), self.c.at(columns.start * self.ldc + rows.start));
        scratch(rows.len() * from_stride, |sums: &mut [T]| {
            self.sums(rows.clone(), columns.clone(), packed, Place { start: sums.as_mut_ptr(), stride: from_stride });
            let (from, to_stride) = (sums.as_ptr(), self.ldc);
            let all = Transpose { from, from_stride, rows: rows.len(), columns: columns.len(), to, to_stride };
            // SAFETY: the sums were written above; blocks of C are disjoint.
            unsafe { self.kernels.transpose(&all) };
        });
    }

    /// The sums of a block, finished, to `c`.
    fn sums(&self, rows: Range<usize>, columns: Range<usize>, packed: Option<&[T]>, c: Place<T>) {
        let (width, k_blocks) = (self.kernels.width(), self.k.div_ceil(K_BLOCK).max(1));
        for k_block in 0..k_blocks {
            let ks = part(self.k, k_blocks, 1, k_block);
            let a = self.a.from(rows.start, ks.start);
            let by_rows = a.col_stride <= a.row_stride;
            if columns.len() <= 2 * width || by_rows && a.row_stride <= NEAR {
                self.panels(rows.clone(), columns.clone(), ks, a, packed, c);
                continue;
            }
            // Rows of A at large distances share sets of the caches, and lie on a page each: many panels read a copy.
            let (lines, line) = if by_rows { (rows.len(), ks.len()) } else { (ks.len(), rows.len()) };
            let stride = line.next_multiple_of(LINE) + LINE;
            scratch(lines * stride, |copy: &mut [T]| {
                copy_lines(if by_rows { a } else { a.t() }, line, copy, stride);
                let copied = Mat { data: &*copy, row_stride: stride, col_stride: 1 };
                self.panels(rows.clone(), columns.clone(), ks, if by_rows { copied } else { copied.t() }, packed, c);
            });
        }
    }

    /// All panels of a block, for one block of k; A begins with its first number.
    fn panels(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        ks: Range<usize>,
        a: Mat<T>,
        packed: Option<&[T]>,
        c: Place<T>,
    ) {
        let width = self.kernels.width();
        if let Some(packed) = packed {
            for (panel, j) in columns.clone().step_by(width).enumerate() {
                let b = &packed[(panel * self.k + ks.start) * width..];
                let c = c.at(0, j - columns.start);
                self.panel(rows.clone(), j..(j + width).min(columns.end), ks.clone(), a, b, width, c);
            }
            return;
        }
        let few = self.b.col_stride == 1 && rows.len() <= 6 * self.kernels.height();
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
                    let c = c.at(0, j - columns.start);
                    self.panel(rows.clone(), j..(j + width).min(group.end), ks.clone(), a, b, b_step, c);
                }
            }
        });
    }

    /// All tiles of one panel, for one block of k; A and B begin with their first numbers.
    #[allow(clippy::too_many_arguments, reason = "the place of a panel")]
    fn panel(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        ks: Range<usize>,
        a: Mat<T>,
        b: &[T],
        b_step: usize,
        c: Place<T>,
    ) {
        let last = ks.end == self.k;
        let height = panel_height(rows.len(), self.kernels.height());
        for i in rows.clone().step_by(height) {
            let tile = Tile {
                rows: height.min(rows.end - i),
                width: columns.len(),
                a: a.from(i - rows.start, 0).data.as_ptr(),
                a_stride: a.row_stride,
                b: b.as_ptr(),
                outer: &[[0, 0]],
                inner: ks.len(),
                a_step: a.col_stride,
                b_step,
                c: c.at(i - rows.start, 0).start,
                c_stride: c.stride,
                accumulate: self.accumulate || ks.start > 0,
                finish: if last { self.finish.at(i, columns.start) } else { Finish::NONE },
            };
            tile.fetch(0);
            // SAFETY: `run` of the module has checked all matrices; B has whole registers; this task alone writes
            // its block of C, or a buffer that has room for it.
            unsafe { self.kernels.tile(&tile) };
        }
    }
}

/// Asks for some rows of `b` and its first `columns` columns, along whichever of them lie side by side.
fn fetch<T>(b: Mat<T>, rows: Range<usize>, columns: usize) {
    let (lines, line, stride) = match (b.col_stride, b.row_stride) {
        (1, stride) => (rows, 0..columns, stride),
        (stride, 1) => (0..columns, rows, stride),
        _ => return,
    };
    for i in lines {
        for j in line.clone().step_by(LINE) {
            prefetch::line(b.data.as_ptr().wrapping_add(i * stride + j).cast());
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
    let units = even(units, blocks, i);
    (units.start * size).min(end)..(units.end * size).min(end)
}
