//! The convolution layers.

use super::module::layer_module;
use super::param::{Name, Param};
use super::summary::{Call, cost_of_weight};
use super::{Layer, Role, Weighted};
use crate::element::Float;
use crate::ops::{
    self, Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvTranspose1dOptions, ConvTranspose2dOptions,
    ConvTranspose3dOptions,
};
use crate::shape::{Pair, Triple, ensure};
use crate::tensor::Tensor;

/// Layers with a weight and a bias: `Name, Options, operation, (type of kernel => |kernel| its sizes), the dimension of the
/// weight along which the outputs lie;`: 0, and 1 where it is transposed. The weight's second dimension is that of one group.
macro_rules! conv {
    ($(
        $(#[$meta:meta])*
        $name:ident $(($self:ident is $role:expr))?, $Options:ident, $op:ident, ($Kernel:ty => |$k:ident| $sizes:expr),
        $dim:literal;
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name<T: Float = f32> {
            /// The kernels.
            pub weight: Param<T>,
            /// `[out]`, or none.
            pub bias: Option<Param<T>>,
            options: $Options,
            name: Name,
        }

        impl $name {
            /// A layer from `inputs` to `outputs` channels with stride 1, without padding, with a bias.
            #[track_caller]
            pub fn new(inputs: usize, outputs: usize, kernel: $Kernel) -> $name {
                $name::with(inputs, outputs, kernel, $Options::default())
            }
        }

        impl<T: Float> $name<T> {
            /// A layer from `inputs` to `outputs` channels, of either float type.
            ///
            /// # Panics
            /// When the groups do not divide the channels.
            #[track_caller]
            pub fn with(inputs: usize, outputs: usize, kernel: $Kernel, options: $Options) -> $name<T> {
                let groups = options.groups;
                ensure(groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups), || {
                    format!(
                        "{}: {inputs} to {outputs} channels: expected multiples of the groups, found {groups} groups",
                        stringify!($name)
                    )
                });
                let [first, second] = if $dim == 0 { [outputs, inputs] } else { [inputs, outputs] };
                let $k = kernel;
                let shape = [&[first, second / groups][..], &$sizes].concat();
                // PyTorch's fan-in: of a transposed convolution too it is that of the second dimension.
                let bound = 1.0 / (shape[1..].iter().product::<usize>().max(1) as f64).sqrt();
                $name {
                    weight: Param::uniform(&shape, bound),
                    bias: options.bias.then(|| Param::uniform(&[outputs], bound)),
                    options,
                    name: Name::default(),
                }
            }

            /// What the layer was made with.
            pub fn options(&self) -> $Options {
                self.options
            }
        }

        layer_module!($name { weight, bias });

        impl<T: Float> Layer<T> for $name<T> {
            #[track_caller]
            fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
                self.forward_with(x, &self.weight)
            }
            $(
                fn role(&self) -> Role<'_, T> {
                    let $self = self;
                    $role
                }
            )?
        }

        impl<T: Float> Weighted<T> for $name<T> {
            const OUTPUTS: usize = $dim;

            fn parts(&self) -> (&Param<T>, Option<&Param<T>>) {
                (&self.weight, self.bias.as_ref())
            }

            fn parts_mut(&mut self) -> (&mut Param<T>, Option<&mut Param<T>>) {
                (&mut self.weight, self.bias.as_mut())
            }

            #[track_caller]
            fn forward_with(&self, x: &Tensor<T>, weight: &Tensor<T>) -> Tensor<T> {
                let call = Call::enter(stringify!($name), Some(&self.name));
                let y = ops::$op(x, weight, self.bias.as_deref(), self.options);
                call.leave(y, |y| {
                    cost_of_weight(weight, self.bias.as_ref(), if $dim == 0 { y.numel() } else { x.numel() })
                })
            }
        }
    )+};
}

conv! {
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
    Conv2d(conv is Role::Conv2d(conv)), Conv2dOptions, conv2d, (impl Into<Pair> => |kernel| kernel.into().0), 0;

    /// A one-dimensional convolution: [`ops::conv1d`] with a weight and a bias of its own.
    ///
    /// * input `[batch, in, length]`, output `[batch, out, l]` with
    ///   `l = (length + 2 padding - dilation (kernel - 1) - 1) / stride + 1`
    /// * `weight` `[out, in / groups, kernel]`, `bias` `[out]`, initialised as those of [`Conv2d`]
    ///
    /// ```
    /// use wengert::{Tensor, nn::{Conv1d, Layer}};
    /// let layer = Conv1d::new(8, 16, 3);
    /// assert_eq!(layer.forward(&Tensor::zeros([4, 8, 100])).shape(), [4, 16, 98]);
    /// ```
    ///
    /// # Panics
    /// In `forward`, when the input is not `[batch, in, length]` or shorter than the kernel.
    Conv1d, Conv1dOptions, conv1d, (usize => |kernel| [kernel]), 0;

    /// A three-dimensional convolution: [`ops::conv3d`] with a weight and a bias of its own.
    ///
    /// * input `[batch, in, depth, h, w]`, output `[batch, out, od, oh, ow]` with
    ///   `oh = (h + 2 padding - dilation (kh - 1) - 1) / stride + 1`, and so on
    /// * `weight` `[out, in / groups, kd, kh, kw]`, `bias` `[out]`, initialised as those of [`Conv2d`]
    ///
    /// ```
    /// use wengert::{Tensor, nn::{Conv3d, Layer}};
    /// let layer = Conv3d::new(1, 8, 3);
    /// assert_eq!(layer.forward(&Tensor::zeros([2, 1, 8, 16, 16])).shape(), [2, 8, 6, 14, 14]);
    /// ```
    ///
    /// # Panics
    /// In `forward`, when the input is not `[batch, in, depth, h, w]` or smaller than the kernel.
    Conv3d, Conv3dOptions, conv3d, (impl Into<Triple> => |kernel| kernel.into().0), 0;

    /// A two-dimensional transposed convolution, also called deconvolution: [`ops::conv_transpose2d`] with a weight and a bias
    /// of its own. With a stride it makes images larger.
    ///
    /// * input `[batch, in, h, w]`, output `[batch, out, oh, ow]` with
    ///   `oh = (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1`
    /// * `weight` `[in, out / groups, kh, kw]`, `bias` `[out]`, both initialised uniformly in `+-1 / sqrt(fan)` with
    ///   `fan = out / groups * kh * kw`, as PyTorch does
    ///
    /// ```
    /// use wengert::{Tensor, nn::{ConvTranspose2d, ConvTranspose2dOptions, Layer}};
    /// let options = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
    /// let doubling = ConvTranspose2d::with(128, 64, 4, options);
    /// assert_eq!(doubling.forward(&Tensor::zeros([2, 128, 7, 7])).shape(), [2, 64, 14, 14]);
    /// ```
    ///
    /// # Panics
    /// In `forward`, when the input is not `[batch, in, h, w]`, the padding leaves nothing of the output, or the output padding
    /// is not less than stride or dilation.
    ConvTranspose2d, ConvTranspose2dOptions, conv_transpose2d, (impl Into<Pair> => |kernel| kernel.into().0), 1;

    /// A one-dimensional transposed convolution: [`ops::conv_transpose1d`] with a weight and a bias of its own.
    ///
    /// * input `[batch, in, length]`, output `[batch, out, l]` with
    ///   `l = (length - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`
    /// * `weight` `[in, out / groups, kernel]`, `bias` `[out]`, initialised as those of [`ConvTranspose2d`]
    ///
    /// ```
    /// use wengert::{Tensor, nn::{ConvTranspose1d, ConvTranspose1dOptions, Layer}};
    /// let options = ConvTranspose1dOptions { stride: 2, ..Default::default() };
    /// let doubling = ConvTranspose1d::with(8, 4, 2, options);
    /// assert_eq!(doubling.forward(&Tensor::zeros([1, 8, 50])).shape(), [1, 4, 100]);
    /// ```
    ///
    /// # Panics
    /// As [`ConvTranspose2d`].
    ConvTranspose1d, ConvTranspose1dOptions, conv_transpose1d, (usize => |kernel| [kernel]), 1;

    /// A three-dimensional transposed convolution: [`ops::conv_transpose3d`] with a weight and a bias of its own.
    ///
    /// * input `[batch, in, depth, h, w]`, output `[batch, out, od, oh, ow]` with
    ///   `oh = (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1`, and so on
    /// * `weight` `[in, out / groups, kd, kh, kw]`, `bias` `[out]`, initialised as those of [`ConvTranspose2d`]
    ///
    /// ```
    /// use wengert::{Tensor, nn::{ConvTranspose3d, ConvTranspose3dOptions, Layer}};
    /// let options = ConvTranspose3dOptions { stride: [2; 3], padding: [1; 3], ..Default::default() };
    /// let doubling = ConvTranspose3d::with(8, 4, 4, options);
    /// assert_eq!(doubling.forward(&Tensor::zeros([1, 8, 4, 7, 7])).shape(), [1, 4, 8, 14, 14]);
    /// ```
    ///
    /// # Panics
    /// As [`ConvTranspose2d`], for an input `[batch, in, depth, h, w]`.
    ConvTranspose3d, ConvTranspose3dOptions, conv_transpose3d, (impl Into<Triple> => |kernel| kernel.into().0), 1;
}

impl<T: Float> Conv2d<T> {
    /// With `max(y, 0)`.
    #[track_caller]
    pub(super) fn forward_relu(&self, x: &Tensor<T>) -> Tensor<T> {
        let _call = Call::enter("Conv2d", Some(&self.name));
        ops::conv2d_relu(x, &self.weight, self.bias.as_deref(), self.options)
    }

    /// With `max(y, 0)` if `relu`, and the largest of each 2 x 2 pixels.
    #[track_caller]
    pub(super) fn forward_pooled(&self, x: &Tensor<T>, relu: bool) -> Tensor<T> {
        let _call = Call::enter("Conv2d", Some(&self.name));
        ops::conv2d_max_pool2d(x, &self.weight, self.bias.as_deref(), self.options, relu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Module;

    #[test]
    fn weights_lie_within_the_bound_and_fill_it() {
        crate::seed(1);
        let options = Conv2dOptions { groups: 2, ..Default::default() };
        let layer: Conv2d<f64> = Conv2d::with(8, 64, [3, 2], options);
        assert_eq!(layer.weight.shape(), [64, 4, 3, 2]);
        let options = ConvTranspose2dOptions { groups: 2, ..Default::default() };
        let transposed: ConvTranspose2d<f64> = ConvTranspose2d::with(64, 8, [3, 2], options);
        assert_eq!(transposed.weight.shape(), [64, 4, 3, 2]);
        let bound = 1.0 / 24.0_f64.sqrt();
        for values in [layer.weight, transposed.weight, layer.bias.expect("a bias")] {
            let largest = values.to_vec().iter().fold(0.0_f64, |a, x| a.max(x.abs()));
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
        // The convolution of which it is the gradient does the same products.
        let row = &ConvTranspose2d::new(8, 3, 3).summary(&[2, 8, 8, 5]).rows[0];
        assert_eq!((*row.output).to_vec(), [2, 3, 10, 7]);
        assert_eq!(row.parameters, 8 * 3 * 9 + 3);
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

    #[test]
    #[should_panic(expected = "ConvTranspose1d: 3 to 8 channels: expected multiples of the groups, found 2 groups")]
    fn groups_that_do_not_divide_the_channels_are_refused() {
        ConvTranspose1d::<f32>::with(3, 8, 2, ConvTranspose1dOptions { groups: 2, ..Default::default() });
    }
}
