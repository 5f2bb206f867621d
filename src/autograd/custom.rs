//! Operations that a user adds.

use super::{Pull, no_record, record_op};
use crate::element::Float;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// An operation of your own: `forward` computes the output from the inputs, `rule` the gradient of each input from the
/// inputs, the output and the output's gradient. It is recorded and checked like a built-in one.
///
/// What the rule is given is attached to the tape, so a rule written with the crate's operations can be differentiated
/// again (`backward_graph`).
///
/// ```
/// use wengert::{Tensor, autograd::custom, record};
/// fn swish(x: &Tensor) -> Tensor {
///     custom("swish", [x], |[x]| x * x.sigmoid(), |[x], y, grad| {
///         let s = x.sigmoid();
///         [Some(grad * (&s + y * (1.0 - &s)))] // dy/dx = s + y (1 - s)
///     })
/// }
/// let x = Tensor::from([0.0_f32, 1.0]).tracked();
/// let grads = record(|| swish(&x).sum()).backward();
/// assert_eq!(grads.of(&x).get(&[0]), 0.5);
/// ```
///
/// # Panics
/// In `backward`, when the rule gives a gradient that does not have its input's shape.
#[track_caller]
pub fn custom<T: Float, const N: usize>(
    name: &'static str,
    inputs: [&Tensor<T>; N],
    forward: impl FnOnce([&Tensor<T>; N]) -> Tensor<T>,
    rule: impl Fn([&Tensor<T>; N], &Tensor<T>, &Tensor<T>) -> [Option<Tensor<T>>; N] + Send + Sync + 'static,
) -> Tensor<T> {
    let y = no_record(|| forward(inputs)).detached();
    record_op(name, y.clone(), inputs, || {
        let saved = inputs.map(Tensor::clone);
        move |pull: Pull<T>| {
            let y = if super::is_recording() { pull.attach(&y) } else { y.clone() };
            let grads = rule(saved.each_ref(), &y, &pull.grad);
            for (i, (grad, x)) in grads.iter().zip(&saved).enumerate() {
                if let Some(grad) = grad {
                    ensure(grad.shape() == x.shape(), || {
                        format!(
                            "{name}: {:?}: the rule's gradient of input {i} has shape {:?}",
                            x.shape(),
                            grad.shape()
                        )
                    });
                }
            }
            grads
        }
    })
}
