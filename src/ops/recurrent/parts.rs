//! Parts of the one output that a tape entry has, and of sequences that are shorter than the batch's longest.

use crate::autograd::{Pull, record_op};
use crate::element::Float;
use crate::kernels::elementwise::copy_strided;
use crate::kernels::recurrent::Layer;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// `shape.numel()` elements of a vector from `start` on, in a shape of their own.
#[track_caller]
pub(super) fn part<T: Float>(whole: &Tensor<T>, start: usize, shape: Shape) -> Tensor<T> {
    let (length, count) = (whole.numel(), shape.numel());
    let y = whole.detached().narrow(0, start, count).reshape(shape);
    record_op("recurrent_part", y, [whole], || move |pull: Pull<T>| [Some(in_whole(&pull.grad, start, length))])
}

/// A vector of `length` zeros with the part put in from `start` on: the adjoint of [`part`].
#[track_caller]
fn in_whole<T: Float>(part: &Tensor<T>, start: usize, length: usize) -> Tensor<T> {
    let (shape, count) = (part.dims(), part.numel());
    let y = Tensor::build(length, |y| {
        y[..start].fill(T::ZERO);
        copy_strided(part.shape(), part.view(), &mut y[start..start + count]);
        y[start + count..].fill(T::ZERO);
    });
    record_op("recurrent_whole", y, [part], || move |pull: Pull<T>| [Some(self::part(&pull.grad, start, shape))])
}

/// The inputs, 0 where a sequence has no step.
pub(super) fn without_padding<T: Float>(mut x: Tensor<T>, layer: &Layer) -> Tensor<T> {
    let entry = x.entry.take();
    for (x, &active) in x.make_mut().chunks_mut((layer.batch * layer.input).max(1)).zip(&layer.active) {
        x[active * layer.input..].fill(T::ZERO);
    }
    Tensor { entry, ..x }
}
