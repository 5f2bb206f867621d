//! One-dimensional convolution, as the two-dimensional one over images of height 1.

use super::conv::{check, check_bias};
use super::{Conv2dOptions, ConvTranspose2dOptions, conv_transpose, conv_transpose2d, conv2d};
use crate::element::Float;
use crate::tensor::Tensor;

/// The options of a one-dimensional convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv1dOptions {
    /// The distance between neighbouring positions of the kernel.
    pub stride: usize,
    /// Zeros on either side of the input.
    pub padding: usize,
    /// The distance between neighbouring taps of the kernel.
    pub dilation: usize,
    /// Channels are split in so many groups; each group of outputs sees its own group of inputs only.
    pub groups: usize,
    /// Whether a layer has a bias. The operations, which are given theirs, do not look at it.
    pub bias: bool,
}

impl Default for Conv1dOptions {
    fn default() -> Self {
        Conv1dOptions { stride: 1, padding: 0, dilation: 1, groups: 1, bias: true }
    }
}

/// The options of a one-dimensional transposed convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose1dOptions {
    /// The distance in the output between neighbouring places of the input.
    pub stride: usize,
    /// Places that are left away on either side of the output.
    pub padding: usize,
    /// Places that the output has more at its end; less than the stride or the dilation.
    pub output_padding: usize,
    /// The distance between neighbouring taps of the kernel.
    pub dilation: usize,
    /// Channels are split in so many groups; each group of outputs sees its own group of inputs only.
    pub groups: usize,
    /// Whether a layer has a bias. The operations, which are given theirs, do not look at it.
    pub bias: bool,
}

impl Default for ConvTranspose1dOptions {
    fn default() -> Self {
        ConvTranspose1dOptions { stride: 1, padding: 0, output_padding: 0, dilation: 1, groups: 1, bias: true }
    }
}

/// The one-dimensional convolution of deep learning (the kernel is not flipped):
/// `y[b, o, i] = bias[o] + sum over c, u of weight[o, c, u] x[b, c, i s + u d - p]` with stride s, dilation d, padding p.
///
/// * `x` `[batch, in, length]`, `weight` `[out, in / groups, kernel]`, `bias` `[out]`
/// * output `[batch, out, l]` with `l = (length + 2 p - d (kernel - 1) - 1) / s + 1`, rounded down
///
/// ```
/// use wengert::{Tensor, ops::{Conv1dOptions, conv1d}};
/// let x = Tensor::from([1.0, 2.0, 4.0, 8.0]).reshape([1, 1, 4]);
/// let difference = Tensor::from([-1.0, 1.0]).reshape([1, 1, 2]);
/// assert_eq!(conv1d(&x, &difference, None, Conv1dOptions::default()).to_vec(), [1.0, 2.0, 4.0]);
/// ```
///
/// # Panics
/// As [`conv2d`].
#[track_caller]
#[inline(never)]
pub fn conv1d<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: Conv1dOptions,
) -> Tensor<T> {
    let Conv1dOptions { stride, padding, dilation, groups, bias: has_bias } = options;
    check("conv1d", x.shape(), weight.shape(), [&[stride], &[padding], &[dilation]], groups);
    check_bias("conv1d", bias, weight.size(0));
    let options =
        Conv2dOptions { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], groups, bias: has_bias };
    conv2d(&x.unsqueeze(2), &weight.unsqueeze(2), bias, options).squeeze(2)
}

/// One-dimensional transposed convolution, the gradient of [`conv1d`] with respect to its input; see [`conv_transpose2d`].
/// `y[b, o, t] = bias[o] + sum over c, u of weight[c, o, u] x[b, c, i]` where `t = i s + u d - p`.
///
/// * `x` `[batch, in, length]`, `weight` `[in, out / groups, kernel]`, `bias` `[out]`
/// * output `[batch, out, l]` with `l = (length - 1) s - 2 p + d (kernel - 1) + output_padding + 1`
///
/// ```
/// use wengert::{Tensor, ops::{ConvTranspose1dOptions, conv_transpose1d}};
/// let (x, kernel) = (Tensor::from([[[1.0, 2.0]]]), Tensor::from([[[1.0, 10.0]]]));
/// let options = ConvTranspose1dOptions { stride: 2, ..Default::default() };
/// assert_eq!(conv_transpose1d(&x, &kernel, None, options).to_vec(), [1.0, 10.0, 2.0, 20.0]);
/// ```
///
/// # Panics
/// As [`conv_transpose2d`].
#[track_caller]
#[inline(never)]
pub fn conv_transpose1d<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: ConvTranspose1dOptions,
) -> Tensor<T> {
    const OP: &str = "conv_transpose1d";
    let ConvTranspose1dOptions { stride, padding, output_padding, dilation, groups, bias: has_bias } = options;
    let sizes = [[stride], [padding], [output_padding], [dilation]];
    conv_transpose::output(OP, x.shape(), weight.shape(), sizes, groups);
    check_bias(OP, bias, weight.size(1) * groups);
    let options = ConvTranspose2dOptions {
        stride: [1, stride],
        padding: [0, padding],
        output_padding: [0, output_padding],
        dilation: [1, dilation],
        groups,
        bias: has_bias,
    };
    conv_transpose2d(&x.unsqueeze(2), &weight.unsqueeze(2), bias, options).squeeze(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_errors_are_told_in_one_dimension() {
        let (x, weight, plain) = (Tensor::zeros([1, 2, 8]), Tensor::zeros([4, 3, 3]), Conv1dOptions::default());
        let refusal = |f: &dyn Fn() -> Tensor| crate::shape::catch(f).map(|_| ()).expect_err("a refusal").0;
        assert_eq!(
            refusal(&|| conv1d(&x, &weight, None, plain)),
            "conv1d: [1, 2, 8] * [4, 3, 3]: expected 3 input channels in 1 groups, found 2"
        );
        assert!(refusal(&|| conv1d(&x.squeeze(0), &weight, None, plain)).contains("[batch, in, length]"));
        let transposed = ConvTranspose1dOptions::default();
        assert_eq!(
            refusal(&|| conv_transpose1d(&x, &weight, None, transposed)),
            "conv_transpose1d: [1, 2, 8] * [4, 3, 3]: expected 4 input channels, found 2"
        );
        assert_eq!(
            refusal(&|| conv1d(&x, &weight.narrow(1, 0, 2), Some(&Tensor::zeros([3])), plain)),
            "conv1d: bias [3]: expected [4]"
        );
        assert_eq!(conv1d(&Tensor::zeros([1, 3, 8]), &weight, None, plain).shape(), [1, 4, 6]);
    }
}
