//! The fully connected layer.

use super::module::layer_module;
use super::param::{Name, Param};
use super::summary::{Call, cost_of_weight};
use super::{Layer, Role, Weighted};
use crate::element::Float;
use crate::ops;
use crate::tensor::Tensor;

/// A fully connected layer: `y = x W^T + b`.
///
/// * input `[.., in]`, output `[.., out]`
/// * `weight` `[out, in]`, `bias` `[out]`, both initialised uniformly in `+-1 / sqrt(in)`, as PyTorch does
///
/// ```
/// use wengert::{Tensor, nn::{Layer, Linear}};
/// let layer = Linear::new(784, 10);
/// assert_eq!(layer.forward(&Tensor::zeros([64, 784])).shape(), [64, 10]);
/// ```
///
/// # Panics
/// In `forward`, when the input's last size is not `in`.
#[derive(Clone, Debug)]
pub struct Linear<T: Float = f32> {
    /// `[out, in]`.
    pub weight: Param<T>,
    /// `[out]`, or none.
    pub bias: Option<Param<T>>,
    name: Name,
}

/// What can be set of [`Linear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearOptions {
    /// Whether there is a bias; by default there is.
    pub bias: bool,
}

impl Default for LinearOptions {
    fn default() -> LinearOptions {
        LinearOptions { bias: true }
    }
}

impl Linear {
    /// A layer from `inputs` to `outputs` features, with a bias.
    pub fn new(inputs: usize, outputs: usize) -> Linear {
        Linear::with(inputs, outputs, LinearOptions::default())
    }
}

impl<T: Float> Linear<T> {
    /// A layer from `inputs` to `outputs` features, of either float type.
    pub fn with(inputs: usize, outputs: usize, options: LinearOptions) -> Linear<T> {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        Linear {
            weight: Param::uniform(&[outputs, inputs], bound),
            bias: options.bias.then(|| Param::uniform(&[outputs], bound)),
            name: Name::default(),
        }
    }
}

layer_module!(Linear { weight, bias });

impl<T: Float> Layer<T> for Linear<T> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        self.forward_with(x, &self.weight)
    }
    fn role(&self) -> Role<'_, T> {
        Role::Linear(self)
    }
}

impl<T: Float> Weighted<T> for Linear<T> {
    const OUTPUTS: usize = 0;

    fn parts(&self) -> (&Param<T>, Option<&Param<T>>) {
        (&self.weight, self.bias.as_ref())
    }

    fn parts_mut(&mut self) -> (&mut Param<T>, Option<&mut Param<T>>) {
        (&mut self.weight, self.bias.as_mut())
    }

    #[track_caller]
    fn forward_with(&self, x: &Tensor<T>, weight: &Tensor<T>) -> Tensor<T> {
        let call = Call::enter("Linear", Some(&self.name));
        let y = ops::linear(x, weight, self.bias.as_deref());
        call.leave(y, |y| cost_of_weight(weight, self.bias.as_ref(), y.numel()))
    }
}

impl<T: Float> Linear<T> {
    /// With `max(y, 0)`.
    #[track_caller]
    pub(super) fn forward_relu(&self, x: &Tensor<T>) -> Tensor<T> {
        let _call = Call::enter("Linear", Some(&self.name));
        ops::linear_relu(x, &self.weight, self.bias.as_deref())
    }
}
