//! Element-wise loops: one output element from the elements of one, two or three operands at the same place.
//!
//! The contiguous forms, here, are what the compiler vectorises; those over views bring their operands into that form.

mod views;

use super::parallel::{GRAIN, pieces_mut};
use super::prefetch::{Stream, in_steps, requests_pay};
use super::simd::{isa, simd};
use crate::element::{Element, Float};

pub use super::strided::{MAX_RANK, View};
pub use views::{copy_strided, map_strided, zip_strided, zip3_strided};
pub(crate) use views::{run1_strided, run2_strided};

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

#[cfg(test)]
mod tests;
