//! Element-wise loops: one output element from the elements of one, two or three operands at the same place.
//!
//! The contiguous forms are what the compiler vectorises. The strided forms bring tiles of their operands into
//! contiguous order first, in the first-level cache, and run the same loops on them: one traversal serves every
//! function and no function is compiled once per layout.

use super::parallel::{GRAIN, pieces_mut};
use super::prefetch::{Stream, in_steps, requests_pay};
use super::simd::{isa, simd};
use super::strided::{TILE, Tile, copy_tile, for_tiles, row_major};
use crate::element::{Element, Float};
use std::mem::MaybeUninit;

pub use super::strided::{MAX_RANK, View};

simd! {
    fn map_loop[T: Element, U, F: Fn(T) -> U](x: &[T], y: &mut [U], f: F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    }

    fn map_loop_forms<FUSED>[T: Element, U, F: Fn(T) -> U, G: Fn(T) -> U](x: &[T], y: &mut [U], plain: F, fused: G) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if FUSED { fused(x) } else { plain(x) };
        }
    }

    /// `y = y + x`, on this thread.
    pub(super) fn add[T: Float](x: &[T], y: &mut [T]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
    }

    fn map_mut_loop[T: Element, F: Fn(T) -> T](x: &mut [T], f: F) {
        for x in x {
            *x = f(*x);
        }
    }

    fn zip_loop[T: Element, U: Copy, V, F: Fn(T, U) -> V](a: &[T], b: &[U], y: &mut [V], f: F) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(a, b);
        }
    }

    fn zip_mut_loop[T: Element, U: Copy, F: Fn(T, U) -> T](a: &mut [T], b: &[U], f: F) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a = f(*a, b);
        }
    }

    fn zip_mut_loop_forms<FUSED>[T: Element, U: Copy, F: Fn(T, U) -> T, G: Fn(T, U) -> T](
        a: &mut [T], b: &[U], plain: F, fused: G,
    ) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a = if FUSED { fused(*a, b) } else { plain(*a, b) };
        }
    }

    fn zip3_loop[T: Element, U: Copy, V: Copy, W, F: Fn(T, U, V) -> W](a: &[T], b: &[U], c: &[V], y: &mut [W], f: F) {
        for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
            *y = f(a, b, c);
        }
    }
}

/// A loop over contiguous pieces of the operands, called through a pointer: so the traversals, from those of this file up to
/// the tensors', are compiled once for each kind of operands, and for each function only its loop.
pub(crate) type Loop1<'a, T, U> = &'a (dyn Fn(&[T], &mut [U]) + Sync);
/// [`Loop1`] of two operands.
pub(crate) type Loop2<'a, T, U, V> = &'a (dyn Fn(&[T], &[U], &mut [V]) + Sync);
/// [`Loop1`] of three operands.
type Loop3<'a, T, U, V, W> = &'a (dyn Fn(&[T], &[U], &[V], &mut [W]) + Sync);

/// The loop of a function.
pub(crate) fn loop1<T: Element, U: Element>(f: impl Fn(T) -> U + Copy + Sync) -> impl Fn(&[T], &mut [U]) + Sync {
    let isa = isa();
    move |x, y| map_loop(isa, x, y, f)
}

/// The loop of a function in two forms, of which the instruction set has its pick: without fused multiply-adds, and with.
pub(crate) fn loop1_forms<T: Element, U: Element>(
    plain: impl Fn(T) -> U + Copy + Sync,
    fused: impl Fn(T) -> U + Copy + Sync,
) -> impl Fn(&[T], &mut [U]) + Sync {
    let isa = isa();
    move |x, y| map_loop_forms(isa, x, y, plain, fused)
}

/// The loop of a function of two operands.
pub(crate) fn loop2<T: Element, U: Element, V: Element>(
    f: impl Fn(T, U) -> V + Copy + Sync,
) -> impl Fn(&[T], &[U], &mut [V]) + Sync {
    let isa = isa();
    move |a, b, y| zip_loop(isa, a, b, y, f)
}

/// The loop of a function of three operands.
fn loop3<T: Element, U: Element, V: Element, W: Element>(
    f: impl Fn(T, U, V) -> W + Copy + Sync,
) -> impl Fn(&[T], &[U], &[V], &mut [W]) + Sync {
    let isa = isa();
    move |a, b, c, y| zip3_loop(isa, a, b, c, y, f)
}

/// `y[i] = f(x[i])`.
///
/// # Panics
/// Where the lengths differ.
#[inline]
pub fn map<T: Element, U: Element>(x: &[T], y: &mut [U], f: impl Fn(T) -> U + Copy + Send + Sync) {
    run1(x, y, &loop1(f));
}

pub(crate) fn run1<T: Element, U: Element>(x: &[T], y: &mut [U], run: Loop1<T, U>) {
    assert_eq!(x.len(), y.len(), "map: lengths differ");
    if y.len() <= GRAIN {
        return run(x, y);
    }
    let requests = requests_pay(y.len());
    pieces_mut(y, |start, y| {
        let x = &x[start..start + y.len()];
        let streams = [Stream::of(x), Stream::of(y)];
        in_steps(requests, y.len(), &streams, &mut |range| run(&x[range.clone()], &mut y[range]));
    });
}

/// `x[i] = f(x[i])`.
#[inline]
pub fn map_mut<T: Element>(x: &mut [T], f: impl Fn(T) -> T + Copy + Send + Sync) {
    let isa = isa();
    run_mut(x, &|x| map_mut_loop(isa, x, f));
}

fn run_mut<T: Element>(x: &mut [T], run: &(dyn Fn(&mut [T]) + Sync)) {
    if x.len() <= GRAIN {
        return run(x);
    }
    let requests = requests_pay(x.len());
    pieces_mut(x, |_, x| {
        in_steps(requests, x.len(), &[Stream::of(x)], &mut |range| run(&mut x[range]));
    });
}

/// `y[i] = f(a[i], b[i])`.
///
/// # Panics
/// Where the lengths differ.
#[inline]
pub fn zip<T: Element, U: Element, V: Element>(
    a: &[T],
    b: &[U],
    y: &mut [V],
    f: impl Fn(T, U) -> V + Copy + Send + Sync,
) {
    run2(a, b, y, &loop2(f));
}

pub(crate) fn run2<T: Element, U: Element, V: Element>(a: &[T], b: &[U], y: &mut [V], run: Loop2<T, U, V>) {
    assert!(a.len() == y.len() && b.len() == y.len(), "zip: lengths {}, {}, {} differ", a.len(), b.len(), y.len());
    if y.len() <= GRAIN {
        return run(a, b, y);
    }
    let requests = requests_pay(y.len());
    pieces_mut(y, |start, y| {
        let (a, b) = (&a[start..start + y.len()], &b[start..start + y.len()]);
        let streams = [Stream::of(a), Stream::of(b), Stream::of(y)];
        in_steps(requests, y.len(), &streams, &mut |range| run(&a[range.clone()], &b[range.clone()], &mut y[range]));
    });
}

/// `a[i] = f(a[i], b[i])`.
///
/// # Panics
/// Where the lengths differ.
#[inline]
pub fn zip_mut<T: Element, U: Element>(a: &mut [T], b: &[U], f: impl Fn(T, U) -> T + Copy + Send + Sync) {
    assert_eq!(a.len(), b.len(), "zip_mut: lengths differ");
    let isa = isa();
    run1(b, a, &|b, a| zip_mut_loop(isa, a, b, f));
}

/// [`zip_mut`] of a function in two forms, as in [`loop1_forms`].
pub(crate) fn zip_mut_forms<T: Element, U: Element>(
    a: &mut [T],
    b: &[U],
    plain: impl Fn(T, U) -> T + Copy + Send + Sync,
    fused: impl Fn(T, U) -> T + Copy + Send + Sync,
) {
    assert_eq!(a.len(), b.len(), "zip_mut: lengths differ");
    let isa = isa();
    run1(b, a, &|b, a| zip_mut_loop_forms(isa, a, b, plain, fused));
}

/// `y[i] = f(a[i], b[i], c[i])`.
///
/// # Panics
/// Where the lengths differ.
#[inline]
pub fn zip3<T: Element, U: Element, V: Element, W: Element>(
    a: &[T],
    b: &[U],
    c: &[V],
    y: &mut [W],
    f: impl Fn(T, U, V) -> W + Copy + Send + Sync,
) {
    run3(a, b, c, y, &loop3(f));
}

fn run3<T: Element, U: Element, V: Element, W: Element>(
    a: &[T],
    b: &[U],
    c: &[V],
    y: &mut [W],
    run: Loop3<T, U, V, W>,
) {
    let n = y.len();
    assert!(a.len() == n && b.len() == n && c.len() == n, "zip3: lengths differ");
    if n <= GRAIN {
        return run(a, b, c, y);
    }
    let requests = requests_pay(y.len());
    pieces_mut(y, |start, y| {
        let whole = start..start + y.len();
        let (a, b, c) = (&a[whole.clone()], &b[whole.clone()], &c[whole]);
        let streams = [Stream::of(a), Stream::of(b), Stream::of(c), Stream::of(y)];
        in_steps(requests, y.len(), &streams, &mut |range| {
            run(&a[range.clone()], &b[range.clone()], &c[range.clone()], &mut y[range]);
        });
    });
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, on_every_machine};

    /// A view of the dims with the strides, and data that it reaches.
    struct Operand {
        data: Vec<f32>,
        strides: Vec<usize>,
    }

    impl Operand {
        fn new(dims: &[usize], strides: &[usize], seed: u64) -> Self {
            let reach: usize = dims.iter().zip(strides).map(|(&d, &s)| d.saturating_sub(1) * s).sum();
            let data = noise(reach + 1, seed).into_iter().map(|x| x as f32).collect();
            Operand { data, strides: strides.to_vec() }
        }

        fn view(&self) -> View<'_, f32> {
            View { data: &self.data, strides: &self.strides }
        }

        /// The element at a flat row-major place, by the definition of a strided view.
        fn at(&self, dims: &[usize], mut flat: usize) -> f32 {
            let mut offset = 0;
            for (&d, &s) in dims.iter().zip(&self.strides).rev() {
                offset += flat % d * s;
                flat /= d;
            }
            self.data[offset]
        }
    }

    /// Dims, and strides that go with them: contiguous, transposed, sliced, broadcast, permuted.
    fn layouts() -> Vec<(Vec<usize>, Vec<Vec<usize>>)> {
        vec![
            (vec![], vec![vec![]]),
            (vec![1], vec![vec![1], vec![0], vec![7]]),
            (vec![0], vec![vec![1]]),
            (vec![3, 0, 2], vec![vec![0, 2, 1], vec![1, 3, 3]]),
            (vec![17], vec![vec![1], vec![0], vec![3]]),
            (vec![1500], vec![vec![1], vec![0], vec![2]]),
            (vec![70_001], vec![vec![1], vec![0], vec![2]]),
            (vec![4, 4], vec![vec![4, 1], vec![1, 4], vec![0, 1], vec![1, 0], vec![0, 0]]),
            (vec![300, 10], vec![vec![10, 1], vec![1, 300], vec![0, 1], vec![1, 0], vec![12, 1]]),
            (vec![10, 300], vec![vec![300, 1], vec![1, 10], vec![0, 1], vec![1, 0], vec![2, 40]]),
            (vec![3, 70_000], vec![vec![70_000, 1], vec![1, 3], vec![70_007, 1], vec![0, 1], vec![1, 0]]),
            (vec![70_000, 3], vec![vec![3, 1], vec![1, 70_000], vec![0, 1], vec![4, 1]]),
            (vec![333, 517], vec![vec![517, 1], vec![1, 333], vec![1, 400], vec![0, 1], vec![1, 0], vec![1040, 2]]),
            (
                vec![5, 3, 40, 41],
                vec![vec![4920, 1640, 41, 1], vec![0, 1, 0, 0], vec![4920, 1, 123, 3], vec![1, 5, 15, 600]],
            ),
            (vec![2, 1, 3, 2, 1, 4, 2, 3], vec![vec![144, 9, 48, 24, 0, 6, 3, 1], vec![1, 0, 2, 6, 5, 12, 48, 96]]),
            (vec![2, 300, 4, 33], vec![vec![39_600, 132, 33, 1], vec![1, 2, 19_800, 600], vec![132, 264, 1, 4]]),
        ]
    }

    #[test]
    fn every_strided_form_reads_the_elements_that_the_strides_name() {
        for (dims, strides) in layouts() {
            let n: usize = dims.iter().product();
            for (i, one) in strides.iter().enumerate() {
                let a = Operand::new(&dims, one, 1);
                let b = Operand::new(&dims, &strides[(i + 1) % strides.len()], 2);
                let c = Operand::new(&dims, &strides[(i + 2) % strides.len()], 3);
                let results = on_every_machine(
                    || {
                        let mut y = [0; 4].map(|_| vec![f32::NAN; n]);
                        copy_strided(&dims, a.view(), &mut y[0]);
                        map_strided(&dims, a.view(), &mut y[1], |x: f32| x * 2.0 + 1.0);
                        zip_strided(&dims, a.view(), b.view(), &mut y[2], |a: f32, b: f32| a - b * b);
                        zip3_strided(&dims, a.view(), b.view(), c.view(), &mut y[3], |a: f32, b: f32, c: f32| {
                            a * b - c
                        });
                        y
                    },
                    |y| y.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>(),
                );
                for y in results {
                    let [copied, mapped, zipped, zipped3] = &y;
                    for i in 0..n {
                        let (a, b, c) = (a.at(&dims, i), b.at(&dims, i), c.at(&dims, i));
                        assert_eq!(
                            [copied[i], mapped[i], zipped[i], zipped3[i]],
                            [a, a * 2.0 + 1.0, a - b * b, a * b - c],
                            "{dims:?} {one:?} at {i}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn transposed_copies_of_numbers_of_any_size_keep_their_bits() {
        fn check<T: Element + PartialEq + std::fmt::Debug>(number: impl Fn(usize) -> T + Sync) {
            let [rows, columns] = [270, 301];
            let from: Vec<T> = (0..rows * columns).map(&number).collect();
            let results = on_every_machine(
                || {
                    let mut to = vec![number(0); rows * columns];
                    copy_strided(&[columns, rows], View { data: &from, strides: &[1, columns] }, &mut to);
                    to
                },
                |_| (),
            );
            for to in results {
                for i in 0..rows * columns {
                    assert_eq!(to[i], from[i % rows * columns + i / rows], "{i}");
                }
            }
        }
        check(|i| i % 3 == 0);
        check(|i| i as f32);
        check(|i| i as f64);
        // As floats they would be NaN, subnormal and others.
        check(|i| (i as i64).wrapping_mul(-0x61c8_8646_80b5_83eb));
    }

    #[test]
    fn every_contiguous_form_visits_each_element_once() {
        for n in [0, 1, 2, 15, 16, 17, 1000, GRAIN, GRAIN + 1, 3 * GRAIN + 5] {
            let a: Vec<f64> = noise(n, 1);
            let b: Vec<i64> = (0..n as i64).map(|i| i % 13).collect();
            let c: Vec<bool> = (0..n).map(|i| i % 3 == 0).collect();
            let results = on_every_machine(
                || {
                    let (mut mapped, mut zipped, mut selected) = (vec![0i64; n], vec![false; n], vec![0.0; n]);
                    map(&a, &mut mapped, |x: f64| (x * 1e6) as i64);
                    zip(&a, &b, &mut zipped, |x: f64, y: i64| x * 20.0 > y as f64);
                    zip3(&c, &a, &b, &mut selected, |c: bool, x: f64, y: i64| if c { x } else { y as f64 });
                    map_mut(&mut selected, |x: f64| x + 1.0);
                    zip_mut(&mut selected, &a, |x: f64, y: f64| x * y);
                    (mapped, zipped, selected)
                },
                |r| (r.0.clone(), r.1.clone(), r.2.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
            );
            for (mapped, zipped, selected) in results {
                for i in 0..n {
                    assert_eq!(mapped[i], (a[i] * 1e6) as i64);
                    assert_eq!(zipped[i], a[i] * 20.0 > b[i] as f64);
                    assert_eq!(selected[i], (if c[i] { a[i] } else { b[i] as f64 } + 1.0) * a[i]);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "the view reaches element 4 of 4")]
    fn a_view_beyond_its_data_is_refused() {
        copy_strided(&[2, 2], View { data: &[0.0f32; 4], strides: &[3, 1] }, &mut [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "lengths differ")]
    fn operands_of_different_lengths_are_refused() {
        map(&[0.0f32; 3], &mut [0.0f32; 4], |x: f32| x);
    }

    #[test]
    fn passes_that_request_memory_ahead_reach_every_element_once() {
        for n in [(1 << 18) + 1, (1 << 18) + GRAIN + 777] {
            let of = |seed| noise(n, seed).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
            let (a, b, c) = (of(1), of(2), of(3));
            let results = on_every_machine(
                || {
                    let mut y = [0; 4].map(|_| vec![f32::NAN; n]);
                    map(&a, &mut y[0], |a| a * 3.0);
                    zip(&a, &b, &mut y[1], |a, b| a - b);
                    zip3(&a, &b, &c, &mut y[2], |a, b, c| a * b - c);
                    y[3].copy_from_slice(&a);
                    map_mut(&mut y[3], |a| a + 1.0);
                    zip_mut(&mut y[3], &b, |a, b| a * b);
                    y
                },
                |y| y.iter().map(|y| crate::kernels::testing::bits(y)).collect::<Vec<_>>(),
            );
            for y in results {
                for i in 0..n {
                    let expected = [a[i] * 3.0, a[i] - b[i], a[i] * b[i] - c[i], (a[i] + 1.0) * b[i]];
                    assert_eq!([y[0][i], y[1][i], y[2][i], y[3][i]], expected, "{i} of {n}");
                }
            }
        }
    }
}
