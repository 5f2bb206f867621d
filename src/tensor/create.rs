//! Constructors.

use super::{Tensor, count_message};
use crate::element::{Element, Float, Number};
use crate::kernels::parallel::pieces_mut;
use crate::kernels::random;
use crate::rng::Rng;
use crate::shape::{Layout, Shape, ensure};

impl<T: Element> Tensor<T> {
    /// A tensor from its elements in row-major order.
    ///
    /// # Panics
    /// When their number is not that of the shape; [`Tensor::try_from_vec`] returns an error instead.
    #[track_caller]
    pub fn from_vec(elements: Vec<T>, shape: impl Into<Shape>) -> Tensor<T> {
        Tensor::from_slice(&elements, shape)
    }

    /// A tensor from its elements in row-major order, copied.
    ///
    /// # Panics
    /// When their number is not that of the shape.
    #[track_caller]
    pub fn from_slice(elements: &[T], shape: impl Into<Shape>) -> Tensor<T> {
        let shape = shape.into();
        ensure(elements.len() == shape.numel(), || count_message(elements.len(), &shape));
        Tensor { storage: crate::memory::Storage::from_slice(elements), layout: Layout::contiguous(shape), entry: None }
    }

    /// Every element the same.
    ///
    /// ```
    /// let mask = wengert::Tensor::full([2, 3], true);
    /// assert_eq!(mask.to_vec(), [true; 6]);
    /// ```
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: T) -> Tensor<T> {
        Tensor::build(shape, |y| pieces_mut(y, |_, y| y.fill(value)))
    }

    /// A rank-0 tensor.
    #[inline]
    pub fn scalar(value: T) -> Tensor<T> {
        Tensor::build((), |y| y[0] = value)
    }

    /// The element at each position is `f` of its row-major number.
    #[track_caller]
    pub fn from_fn(shape: impl Into<Shape>, mut f: impl FnMut(usize) -> T) -> Tensor<T> {
        Tensor::build(shape, |y| y.iter_mut().enumerate().for_each(|(i, y)| *y = f(i)))
    }
}

impl<T: Number> Tensor<T> {
    /// Zeros in the shape of this tensor.
    pub fn zeros_like(&self) -> Tensor<T> {
        Tensor::full(self.dims(), T::ZERO)
    }

    /// Ones in the shape of this tensor.
    pub fn ones_like(&self) -> Tensor<T> {
        Tensor::full(self.dims(), T::ONE)
    }
}

/// Constructors that are asked for no element type make `f32`, as PyTorch does; [`Tensor::full`], [`Tensor::from_fn`] and
/// [`Tensor::cast`] make the others.
impl Tensor<f32> {
    /// All 0.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>) -> Tensor {
        Tensor::full(shape, 0.0)
    }

    /// All 1.
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>) -> Tensor {
        Tensor::full(shape, 1.0)
    }

    /// The `[n, n]` identity matrix.
    pub fn eye(n: usize) -> Tensor {
        Tensor::from_fn([n, n], |i| if i / n == i % n { 1.0 } else { 0.0 })
    }

    /// `count` evenly spaced values from `start` to `end`, both included.
    pub fn linspace(start: f32, end: f32, count: usize) -> Tensor {
        let step = (end - start) / (count.max(2) - 1) as f32;
        // From both ends, so that the last value is `end` itself.
        Tensor::from_fn(count, |i| {
            if 2 * i < count { start + step * i as f32 } else { end - step * (count - 1 - i) as f32 }
        })
    }

    /// Independent standard normal values, from the thread's generator ([`crate::seed`]).
    #[track_caller]
    pub fn randn(shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        crate::rng::with_thread_rng(|rng| Tensor::randn_with(shape, rng))
    }

    /// Independent values uniform in `[0, 1)`, from the thread's generator ([`crate::seed`]).
    #[track_caller]
    pub fn rand(shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        crate::rng::with_thread_rng(|rng| Tensor::rand_with(shape, rng))
    }

    /// Independent standard normal values, from the given generator.
    #[track_caller]
    pub fn randn_with(shape: impl Into<Shape>, rng: &mut Rng) -> Tensor {
        Tensor::normals(shape, rng)
    }

    /// Independent values uniform in `[0, 1)`, from the given generator.
    #[track_caller]
    pub fn rand_with(shape: impl Into<Shape>, rng: &mut Rng) -> Tensor {
        Tensor::drawn(shape, rng, 1, Rng::uniform_f32)
    }
}

impl<T: Element> Tensor<T> {
    /// Draws that each take as many `words` of the generator: those that it gives in order, on several threads.
    pub(crate) fn drawn(
        shape: impl Into<Shape>,
        rng: &mut Rng,
        words: u64,
        draw: impl Fn(&mut Rng) -> T + Send + Sync,
    ) -> Tensor<T> {
        let from = rng.clone();
        let y = Tensor::build(shape, |y| {
            pieces_mut(y, |start, y| {
                let mut rng = from.after(words * start as u64);
                y.iter_mut().for_each(|y| *y = draw(&mut rng));
            });
        });
        *rng = from.after(words * y.numel() as u64);
        y
    }
}

impl<T: Float> Tensor<T> {
    /// Independent standard normal values: those that [`Rng::normal`] gives in order, on several threads.
    pub(crate) fn normals(shape: impl Into<Shape>, rng: &mut Rng) -> Tensor<T> {
        let y = Tensor::build(shape, |y| random::normals(rng.position(), y));
        *rng = rng.after(4 * y.numel() as u64);
        y
    }
}

impl Tensor<i64> {
    /// `start, start + 1, ...` up to but not including `end`.
    pub fn arange(start: i64, end: i64) -> Tensor<i64> {
        Tensor::from_fn((end - start).max(0) as usize, |i| start + i as i64)
    }
}

impl<T: Element> From<T> for Tensor<T> {
    fn from(value: T) -> Tensor<T> {
        Tensor::scalar(value)
    }
}

impl<T: Element, const N: usize> From<[T; N]> for Tensor<T> {
    fn from(x: [T; N]) -> Tensor<T> {
        Tensor::from_slice(&x, [N])
    }
}

impl<T: Element, const M: usize, const N: usize> From<[[T; N]; M]> for Tensor<T> {
    fn from(x: [[T; N]; M]) -> Tensor<T> {
        Tensor::from_slice(x.as_flattened(), [M, N])
    }
}

impl<T: Element, const L: usize, const M: usize, const N: usize> From<[[[T; N]; M]; L]> for Tensor<T> {
    fn from(x: [[[T; N]; M]; L]) -> Tensor<T> {
        Tensor::from_slice(x.as_flattened().as_flattened(), [L, M, N])
    }
}

impl<T: Element> From<&[T]> for Tensor<T> {
    fn from(x: &[T]) -> Tensor<T> {
        Tensor::from_slice(x, [x.len()])
    }
}

impl<T: Element> From<Vec<T>> for Tensor<T> {
    fn from(x: Vec<T>) -> Tensor<T> {
        Tensor::from_slice(&x, [x.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::parallel::with_num_threads;

    #[test]
    fn long_draws_are_those_of_the_generator_in_order_on_any_number_of_threads() {
        const N: usize = (1 << 16) + 77;
        let mut begun = Rng::new(3);
        begun.next_u32();
        let mut one_by_one = begun.clone();
        let normal: Vec<f32> = (0..N).map(|_| one_by_one.normal() as f32).collect();
        let uniform: Vec<f32> = (0..N).map(|_| one_by_one.uniform_f32()).collect();
        for threads in [1, 2, 3] {
            let mut rng = begun.clone();
            with_num_threads(threads, || {
                assert!(Tensor::randn_with(N, &mut rng).to_vec() == normal, "{threads} threads");
                assert!(Tensor::rand_with(N, &mut rng).to_vec() == uniform, "{threads} threads");
            });
            assert_eq!(rng.next_u64(), one_by_one.clone().next_u64());
        }
    }
}
