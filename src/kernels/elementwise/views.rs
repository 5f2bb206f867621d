//! Element-wise loops over views: tiles of the operands are brought into contiguous order, in the first-level cache, and the
//! loops of contiguous pieces run on them. One traversal serves every function, and no function is compiled once per layout.

use super::super::parallel::pieces_mut;
use super::super::strided::{MAX_RANK, TILE, Tile, View, copy_tile, for_tiles, row_major};
use super::{Loop1, Loop2, Loop3, loop1, loop2, loop3, run1, run2, run3};
use crate::element::Element;
use std::mem::MaybeUninit;

/// The output of a strided loop, shared by the threads that write disjoint tiles of it.
struct Output<T>(*mut T);

// SAFETY: tiles cover every output element once, so no element is reached from two threads.
unsafe impl<T: Send> Sync for Output<T> {}

/// Whether the rows of a tile follow each other in the output without gaps.
#[inline]
fn joined<const N: usize>(tile: &Tile<N>) -> bool {
    tile.rows == 1 || tile.steps[N - 1].0 == tile.cols
}

/// Room for one operand of a tile, in contiguous order.
struct Scratch<T>(MaybeUninit<[T; TILE]>);

impl<T: Copy> Scratch<T> {
    #[inline(always)]
    fn new() -> Self {
        Scratch(MaybeUninit::uninit())
    }

    /// Operand `o` of the tile, row by row: where it lies in memory when that is contiguous, else copied here.
    ///
    /// # Safety
    /// The tile must lie in `data`.
    #[inline]
    unsafe fn fetch<'a, const N: usize>(&'a mut self, data: &'a [T], tile: &Tile<N>, o: usize) -> &'a [T] {
        let (steps, len) = (tile.steps[o], tile.rows * tile.cols);
        debug_assert!(len <= TILE);
        // SAFETY: the tile lies in `data`, and at most `TILE` elements are written; those `len` are then initialised.
        unsafe {
            let x = data.as_ptr().add(tile.offsets[o]);
            if (tile.cols == 1 || steps.1 == 1) && (tile.rows == 1 || steps.0 == tile.cols) {
                return std::slice::from_raw_parts(x, len);
            }
            let y = self.0.as_mut_ptr().cast::<T>();
            copy_tile(x, steps, y, tile.cols, tile.rows, tile.cols);
            std::slice::from_raw_parts(y, len)
        }
    }
}

/// The number of elements of `dims`, checked against the output's.
#[inline]
fn output_len(dims: &[usize], len: usize) -> usize {
    assert!(dims.len() <= MAX_RANK, "rank {} is more than {MAX_RANK}", dims.len());
    let n = dims.iter().product::<usize>();
    assert_eq!(n, len, "the output's length is not the product of the dims {dims:?}");
    n
}

/// Runs `row(y, start, end)` on the pieces of a tile's output: `start..end` are places in the fetched operands.
#[inline(always)]
fn for_rows<T, const N: usize>(out: &Output<T>, tile: &Tile<N>, mut row: impl FnMut(&mut [T], usize, usize)) {
    let (rows, cols) = if joined(tile) { (1, tile.rows * tile.cols) } else { (tile.rows, tile.cols) };
    for r in 0..rows {
        // SAFETY: `for_tiles` covers the output's elements once, and each of the tile's rows is taken once here.
        let y =
            unsafe { std::slice::from_raw_parts_mut(out.0.add(tile.offsets[N - 1] + r * tile.steps[N - 1].0), cols) };
        row(y, r * cols, r * cols + cols);
    }
}

/// Copies a strided operand to row-major order.
///
/// # Panics
/// Where the view reaches beyond its data, or `y` has another number of elements than `dims`.
pub fn copy_strided<T: Element>(dims: &[usize], x: View<T>, y: &mut [T]) {
    let n = output_len(dims, y.len());
    x.check(dims);
    if let Some(x) = x.contiguous(dims, n) {
        return pieces_mut(y, |start, y| y.copy_from_slice(&x[start..start + y.len()]));
    }
    let out = Output(y.as_mut_ptr());
    let out = &out;
    for_tiles(dims, [x.strides, &row_major(dims)[..dims.len()]], &|tile| {
        // SAFETY: `check` found every element of the view in its data; the tiles cover the output once.
        unsafe {
            let to = out.0.add(tile.offsets[1]);
            copy_tile(x.data.as_ptr().add(tile.offsets[0]), tile.steps[0], to, tile.steps[1].0, tile.rows, tile.cols);
        }
    });
}

/// `y = f(x)` over strided `x`; `y` in row-major order.
///
/// # Panics
/// Where the view reaches beyond its data, or `y` has another number of elements than `dims`.
pub fn map_strided<T: Element, U: Element>(
    dims: &[usize],
    x: View<T>,
    y: &mut [U],
    f: impl Fn(T) -> U + Copy + Send + Sync,
) {
    run1_strided(dims, x, y, &loop1(f));
}

pub(crate) fn run1_strided<T: Element, U: Element>(dims: &[usize], x: View<T>, y: &mut [U], run: Loop1<T, U>) {
    let n = output_len(dims, y.len());
    x.check(dims);
    if let Some(x) = x.contiguous(dims, n) {
        return run1(x, y, run);
    }
    let out = Output(y.as_mut_ptr());
    for_tiles(dims, [x.strides, &row_major(dims)[..dims.len()]], &|tile| {
        let mut scratch = Scratch::new();
        // SAFETY: `check` found every element of the view in its data.
        let x = unsafe { scratch.fetch(x.data, &tile, 0) };
        for_rows(&out, &tile, |y, start, end| run(&x[start..end], y));
    });
}

/// `y = f(a, b)` over strided operands; `y` in row-major order.
///
/// # Panics
/// Where a view reaches beyond its data, or `y` has another number of elements than `dims`.
pub fn zip_strided<T: Element, U: Element, V: Element>(
    dims: &[usize],
    a: View<T>,
    b: View<U>,
    y: &mut [V],
    f: impl Fn(T, U) -> V + Copy + Send + Sync,
) {
    run2_strided(dims, a, b, y, &loop2(f));
}

pub(crate) fn run2_strided<T: Element, U: Element, V: Element>(
    dims: &[usize],
    a: View<T>,
    b: View<U>,
    y: &mut [V],
    run: Loop2<T, U, V>,
) {
    let n = output_len(dims, y.len());
    a.check(dims);
    b.check(dims);
    if let (Some(a), Some(b)) = (a.contiguous(dims, n), b.contiguous(dims, n)) {
        return run2(a, b, y, run);
    }
    let out = Output(y.as_mut_ptr());
    for_tiles(dims, [a.strides, b.strides, &row_major(dims)[..dims.len()]], &|tile| {
        let (mut scratch_a, mut scratch_b) = (Scratch::new(), Scratch::new());
        // SAFETY: `check` found every element of the views in their data.
        let (a, b) = unsafe { (scratch_a.fetch(a.data, &tile, 0), scratch_b.fetch(b.data, &tile, 1)) };
        for_rows(&out, &tile, |y, start, end| run(&a[start..end], &b[start..end], y));
    });
}

/// `y = f(a, b, c)` over strided operands; `y` in row-major order.
///
/// # Panics
/// Where a view reaches beyond its data, or `y` has another number of elements than `dims`.
pub fn zip3_strided<T: Element, U: Element, V: Element, W: Element>(
    dims: &[usize],
    a: View<T>,
    b: View<U>,
    c: View<V>,
    y: &mut [W],
    f: impl Fn(T, U, V) -> W + Copy + Send + Sync,
) {
    run3_strided(dims, a, b, c, y, &loop3(f));
}

fn run3_strided<T: Element, U: Element, V: Element, W: Element>(
    dims: &[usize],
    a: View<T>,
    b: View<U>,
    c: View<V>,
    y: &mut [W],
    run: Loop3<T, U, V, W>,
) {
    let n = output_len(dims, y.len());
    a.check(dims);
    b.check(dims);
    c.check(dims);
    if let (Some(a), Some(b), Some(c)) = (a.contiguous(dims, n), b.contiguous(dims, n), c.contiguous(dims, n)) {
        return run3(a, b, c, y, run);
    }
    let out = Output(y.as_mut_ptr());
    for_tiles(dims, [a.strides, b.strides, c.strides, &row_major(dims)[..dims.len()]], &|tile| {
        let (mut room_a, mut room_b, mut room_c) = (Scratch::new(), Scratch::new(), Scratch::new());
        // SAFETY: `check` found every element of the views in their data.
        let (a, b, c) =
            unsafe { (room_a.fetch(a.data, &tile, 0), room_b.fetch(b.data, &tile, 1), room_c.fetch(c.data, &tile, 2)) };
        for_rows(&out, &tile, |y, start, end| {
            run(&a[start..end], &b[start..end], &c[start..end], y);
        });
    });
}
