//! Element-wise loops over views: where rows of an operand are short, or not adjacent elements, its tiles are brought into
//! contiguous order, in the first-level cache, and the loops of contiguous pieces run on them. One traversal serves every
//! function, and no function is compiled once per layout.

use super::super::parallel::pieces_mut;
use super::super::prefetch;
use super::super::strided::{MAX_RANK, TILE, Tile, View, copy_tile, for_tiles, row_major};
use super::{Loop1, Loop2, Loop3, loop1, loop2, loop3, run1, run2, run3};
use crate::element::Element;
use std::mem::MaybeUninit;

/// The output of a strided loop, shared by the threads that write disjoint tiles of it.
struct Output<T>(*mut T);

// SAFETY: tiles cover every output element once, so no element is reached from two threads.
unsafe impl<T: Send> Sync for Output<T> {}

/// Columns from which on a row is worth a call of the loop for itself, rather than a copy beside the others.
const OWN_ROW: usize = 64;

/// An operand of a tile: rows of adjacent elements, `step` apart.
#[derive(Clone, Copy)]
struct Rows<'a, T> {
    data: &'a [T],
    step: usize,
}

impl<'a, T> Rows<'a, T> {
    /// `len` elements from the start of row `row` on.
    #[inline]
    fn get(self, row: usize, len: usize) -> &'a [T] {
        &self.data[row * self.step..][..len]
    }
}

/// Room for one operand of a tile, in contiguous order.
#[repr(align(64))]
struct Scratch<T>(MaybeUninit<[T; TILE]>);

impl<T: Element> Scratch<T> {
    #[inline(always)]
    fn new() -> Self {
        Scratch(MaybeUninit::uninit())
    }

    /// Operand `o` of the tile: where it lies in memory, if its rows lie together or are long; else copied here.
    ///
    /// # Safety
    /// The tile must lie in `data`.
    #[inline]
    unsafe fn fetch<'a, const N: usize>(&'a mut self, data: &'a [T], tile: &Tile<N>, o: usize) -> Rows<'a, T> {
        let (steps, len) = (tile.steps[o], tile.rows * tile.cols);
        debug_assert!(len <= TILE);
        if tile.cols == 1 || steps.1 == 1 {
            if tile.rows == 1 || steps.0 == tile.cols {
                return Rows { data: &data[tile.offsets[o]..][..len], step: tile.cols };
            }
            if tile.cols >= OWN_ROW {
                let data = &data[tile.offsets[o]..];
                // They come while another operand is brought into order.
                (0..tile.rows).for_each(|row| prefetch::request_beyond(data.as_ptr(), row * steps.0, tile.cols));
                return Rows { data, step: steps.0 };
            }
        }
        // SAFETY: the tile lies in `data`, and at most `TILE` elements are written; those `len` are then initialised.
        unsafe {
            let y = self.0.as_mut_ptr().cast::<T>();
            copy_tile(data.as_ptr().add(tile.offsets[o]), steps, y, tile.cols, tile.rows, tile.cols);
            Rows { data: std::slice::from_raw_parts(y, len), step: tile.cols }
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

/// Runs `run(y, row)` on the pieces of a tile's output, each of which begins with that row: on all of them at once where the
/// rows of the output and of all operands, whose `steps` these are, lie together.
#[inline(always)]
fn for_rows<T, const N: usize>(out: &Output<T>, tile: &Tile<N>, steps: &[usize], mut run: impl FnMut(&mut [T], usize)) {
    let step = tile.steps[N - 1].0;
    let joined = tile.rows == 1 || step == tile.cols && steps.iter().all(|&step| step == tile.cols);
    let (rows, cols) = if joined { (1, tile.rows * tile.cols) } else { (tile.rows, tile.cols) };
    for row in 0..rows {
        // SAFETY: `for_tiles` covers the output's elements once, and each of the tile's rows is taken once here.
        let y = unsafe { std::slice::from_raw_parts_mut(out.0.add(tile.offsets[N - 1] + row * step), cols) };
        run(y, row);
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
        for_rows(&out, &tile, &[x.step], |y, row| run(x.get(row, y.len()), y));
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
        for_rows(&out, &tile, &[a.step, b.step], |y, row| run(a.get(row, y.len()), b.get(row, y.len()), y));
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
        for_rows(&out, &tile, &[a.step, b.step, c.step], |y, row| {
            let len = y.len();
            run(a.get(row, len), b.get(row, len), c.get(row, len), y);
        });
    });
}
