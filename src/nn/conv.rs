//! The convolution layer.

use super::param::{Name, Param};
use super::summary::Call;
use super::{Layer, Module, Walk, WalkMut};
use crate::element::Float;
use crate::ops::{self, Conv2dOptions};
use crate::shape::{Pair, ensure};
use crate::tensor::Tensor;

/// A two-dimensional convolution: [`ops::conv2d`] with a weight and a bias of its own.
///
/// * input `[batch, in, h, w]`, output `[batch, out, oh, ow]` with
///   `oh = (h + 2 padding - dilation (kh - 1) - 1) / stride + 1`
/// * `weight` `[out, in / groups, kh, kw]`, `bias` `[out]`, both initialised uniformly in `+-1 / sqrt(fan_in)` with
///   `fan_in = in / groups * kh * kw`, as PyTorch does
///
/// ```
/// use wengert::{Tensor, nn::{Conv2d, Conv2dOptions, Layer}};
/// let layer = Conv2d::new(1, 32, 3);
/// assert_eq!(layer.forward(&Tensor::zeros([64, 1, 28, 28])).shape(), [64, 32, 26, 26]);
///
/// let options = Conv2dOptions { stride: [2, 2], padding: [1, 0], ..Default::default() };
/// let halving = Conv2d::with(1, 8, [3, 2], options);
/// assert_eq!(halving.forward(&Tensor::zeros([1, 1, 28, 28])).shape(), [1, 8, 14, 14]);
/// ```
///
/// # Panics
/// In `forward`, when the input is not `[batch, in, h, w]` or smaller than the kernel.
#[derive(Clone, Debug)]
pub struct Conv2d<T: Float = f32> {
    /// `[out, in / groups, kh, kw]`.
    pub weight: Param<T>,
    /// `[out]`, or none.
    pub bias: Option<Param<T>>,
    options: Conv2dOptions,
    name: Name,
}

impl Conv2d {
    /// A layer from `inputs` to `outputs` channels with stride 1, without padding, with a bias.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, kernel: impl Into<Pair>) -> Conv2d {
        Conv2d::with(inputs, outputs, kernel, Conv2dOptions::default())
    }
}

impl<T: Float> Conv2d<T> {
    /// A layer from `inputs` to `outputs` channels, of either float type.
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[track_caller]
    pub fn with(inputs: usize, outputs: usize, kernel: impl Into<Pair>, options: Conv2dOptions) -> Conv2d<T> {
        let (Pair([kh, kw]), groups) = (kernel.into(), options.groups);
        ensure(groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups), || {
            format!("Conv2d: {inputs} to {outputs} channels: expected multiples of the groups, found {groups} groups")
        });
        let shape = [outputs, inputs / groups, kh, kw];
        let bound = 1.0 / (shape[1..].iter().product::<usize>().max(1) as f64).sqrt();
        Conv2d {
            weight: Param::uniform(&shape, bound),
            bias: options.bias.then(|| Param::uniform(&[outputs], bound)),
            options,
            name: Name::default(),
        }
    }

    /// Stride, padding, dilation and groups.
    pub fn options(&self) -> Conv2dOptions {
        self.options
    }
}

impl<T: Float> Module<T> for Conv2d<T> {
    fn visit(&self, walk: &mut Walk<T>) {
        walk.name(&self.name);
        walk.child("weight", &self.weight);
        walk.child("bias", &self.bias);
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        walk.name(&mut self.name);
        walk.child("weight", &mut self.weight);
        walk.child("bias", &mut self.bias);
    }
}

impl<T: Float> Layer<T> for Conv2d<T> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let call = Call::enter("Conv2d", Some(&self.name));
        let y = ops::conv2d(x, &self.weight, self.bias.as_deref(), self.options);
        call.leave(y, |y| {
            let (weight, bias) = (self.weight.numel(), self.bias.as_ref().map_or(0, |b| b.numel()));
            let per_output = weight / self.weight.size(0).max(1);
            (weight + bias, (2 * y.numel() * per_output) as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_lie_within_the_bound_and_fill_it() {
        crate::seed(1);
        let options = Conv2dOptions { groups: 2, ..Default::default() };
        let layer: Conv2d<f64> = Conv2d::with(8, 64, [3, 2], options);
        assert_eq!(layer.weight.shape(), [64, 4, 3, 2]);
        let bound = 1.0 / 24.0_f64.sqrt();
        for values in [layer.weight.to_vec(), layer.bias.as_ref().expect("a bias").to_vec()] {
            let largest = values.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
            assert!(largest <= bound && largest > 0.9 * bound, "{largest} of {bound}");
        }
    }

    #[test]
    fn the_summary_counts_parameters_and_operations() {
        let layer: Conv2d = Conv2d::new(3, 8, 3);
        let row = &layer.summary(&[2, 3, 10, 7]).rows[0];
        assert_eq!(*row.output, [2, 8, 8, 5]);
        assert_eq!(row.parameters, 8 * 3 * 9 + 8);
        assert_eq!(row.flops, 2 * (2 * 8 * 8 * 5) * 27);
    }

    #[test]
    fn an_option_leaves_the_bias_out() {
        let layer: Conv2d = Conv2d::with(3, 8, 3, Conv2dOptions { bias: false, ..Default::default() });
        assert_eq!(layer.num_parameters(), 8 * 3 * 9);
        assert_eq!(layer.parameters()[0].0, "weight");
    }

    #[test]
    fn an_unbatched_image_is_an_error_that_names_the_way_out() {
        let layer: Conv2d = Conv2d::new(3, 8, 3);
        let error = layer.try_forward(&Tensor::zeros([3, 8, 8])).expect_err("an error").to_string();
        assert!(error.contains("unsqueeze(0)") && error.contains("(in Conv2d)"), "{error}");
    }
}
