//! Three-dimensional convolution and its transpose, as two-dimensional ones: the slices that a kernel sees along the depth stand
//! beside each other as channels.

use super::conv::{check, check_bias};
use super::{Conv2dOptions, ConvTranspose2dOptions, conv_transpose, conv_transpose2d, conv2d};
use crate::autograd::{Pull, record_op};
use crate::element::Float;
use crate::kernels::unfold::{self, Unfold};
use crate::tensor::Tensor;

/// The options of a three-dimensional convolution: `[depth, vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv3dOptions {
    /// The distance between neighbouring positions of the kernel.
    pub stride: [usize; 3],
    /// Zeros on either side of the input.
    pub padding: [usize; 3],
    /// The distance between neighbouring taps of the kernel.
    pub dilation: [usize; 3],
    /// Channels are split in so many groups; each group of outputs sees its own group of inputs only.
    pub groups: usize,
    /// Whether a layer has a bias. The operations, which are given theirs, do not look at it.
    pub bias: bool,
}

impl Default for Conv3dOptions {
    fn default() -> Self {
        Conv3dOptions { stride: [1; 3], padding: [0; 3], dilation: [1; 3], groups: 1, bias: true }
    }
}

/// The options of a three-dimensional transposed convolution: `[depth, vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose3dOptions {
    /// The distance in the output between neighbouring places of the input.
    pub stride: [usize; 3],
    /// Places that are left away on either side of the output.
    pub padding: [usize; 3],
    /// Places that the output has more at its end; less than the stride or the dilation.
    pub output_padding: [usize; 3],
    /// The distance between neighbouring taps of the kernel.
    pub dilation: [usize; 3],
    /// Channels are split in so many groups; each group of outputs sees its own group of inputs only.
    pub groups: usize,
    /// Whether a layer has a bias. The operations, which are given theirs, do not look at it.
    pub bias: bool,
}

impl Default for ConvTranspose3dOptions {
    fn default() -> Self {
        let Conv3dOptions { stride, padding, dilation, groups, bias } = Conv3dOptions::default();
        ConvTranspose3dOptions { stride, padding, output_padding: [0; 3], dilation, groups, bias }
    }
}

/// Volumes `[batch, channels, depth, h, w]` as images `[batch * positions, channels * kernel, h, w]`.
#[track_caller]
#[inline(never)]
pub(crate) fn unfold_depth<T: Float>(x: &Tensor<T>, sizes: Unfold) -> Tensor<T> {
    let packed = x.packed();
    let [h, w] = sizes.plane;
    let y = Tensor::build([sizes.batch * sizes.positions, sizes.channels * sizes.kernel, h, w], |y| {
        unfold::unfold(&sizes, packed.elements(), y);
    });
    record_op("unfold_depth", y, [x], || move |pull: Pull<T>| [Some(fold_depth(&pull.grad, None, sizes))])
}

/// The adjoint of [`unfold_depth`], plus a bias `[channels]`.
#[track_caller]
#[inline(never)]
pub(crate) fn fold_depth<T: Float>(images: &Tensor<T>, bias: Option<&Tensor<T>>, sizes: Unfold) -> Tensor<T> {
    let (packed, bias_packed) = (images.packed(), bias.map(Tensor::packed));
    let [h, w] = sizes.plane;
    let x = Tensor::build([sizes.batch, sizes.channels, sizes.depth, h, w], |x| {
        unfold::fold(&sizes, packed.elements(), bias_packed.as_ref().map(Tensor::elements), x);
    });
    // Without a bias its place in the entry is taken by an untracked scalar.
    let none = Tensor::scalar(T::ZERO);
    record_op("fold_depth", x, [images, bias.unwrap_or(&none)], || {
        move |pull: Pull<T>| {
            let images = pull.when(0, |grad| unfold_depth(grad, sizes));
            [images, pull.when(1, |grad| grad.sum_dim([0, 2, 3, 4], false))]
        }
    })
}

/// The weight of a three-dimensional convolution as that of a two-dimensional one: the taps along the depth become channels.
#[track_caller]
fn flat<T: Float>(weight: &Tensor<T>) -> Tensor<T> {
    let &[first, second, kd, kh, kw] = weight.shape() else { unreachable!("the rank is checked") };
    weight.reshape([first, second * kd, kh, kw])
}

/// The last two of three sizes.
fn last([_, h, w]: [usize; 3]) -> [usize; 2] {
    [h, w]
}

/// Three-dimensional convolution (the kernel is not flipped):
/// `y[b, o, i] = bias[o] + sum over c, u of weight[o, c, u] x[b, c, i s + u d - p]` with stride s, dilation d, padding p, where
/// i and u stand for three indices each.
///
/// * `x` `[batch, in, depth, h, w]`, `weight` `[out, in / groups, kd, kh, kw]`, `bias` `[out]`
/// * output `[batch, out, od, oh, ow]` with `oh = (h + 2 p - d (kh - 1) - 1) / s + 1`, rounded down, and so on
///
/// ```
/// use wengert::{Tensor, ops::{Conv3dOptions, conv3d}};
/// let x = Tensor::from([1.0, 2.0, 4.0, 8.0]).reshape([1, 1, 4, 1, 1]);
/// let difference = Tensor::from([-1.0, 1.0]).reshape([1, 1, 2, 1, 1]);
/// assert_eq!(conv3d(&x, &difference, None, Conv3dOptions::default()).to_vec(), [1.0, 2.0, 4.0]);
/// ```
///
/// # Panics
/// As [`conv2d`].
#[track_caller]
#[inline(never)]
pub fn conv3d<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: Conv3dOptions,
) -> Tensor<T> {
    let Conv3dOptions { stride, padding, dilation, groups, bias: has_bias } = options;
    check("conv3d", x.shape(), weight.shape(), [&stride, &padding, &dilation], groups);
    check_bias("conv3d", bias, weight.size(0));
    let (depth, kernel) = (x.size(2), weight.size(2));
    let sizes = Unfold {
        batch: x.size(0),
        channels: x.size(1),
        depth,
        plane: [x.size(3), x.size(4)],
        positions: (depth + 2 * padding[0] - dilation[0] * (kernel - 1) - 1) / stride[0] + 1,
        kernel,
        stride: stride[0],
        padding: padding[0],
        dilation: dilation[0],
    };
    let options = Conv2dOptions {
        stride: last(stride),
        padding: last(padding),
        dilation: last(dilation),
        groups,
        bias: has_bias,
    };
    let y = conv2d(&unfold_depth(x, sizes), &flat(weight), bias, options);
    let volumes = [sizes.batch, sizes.positions, y.size(1), y.size(2), y.size(3)];
    y.reshape(volumes).transpose(1, 2).contiguous()
}

/// Three-dimensional transposed convolution, the gradient of [`conv3d`] with respect to its input; see [`conv_transpose2d`].
/// `y[b, o, t] = bias[o] + sum over c, u of weight[c, o, u] x[b, c, i]` where `t = i s + u d - p`, and i, u and t stand for three
/// indices each.
///
/// * `x` `[batch, in, depth, h, w]`, `weight` `[in, out / groups, kd, kh, kw]`, `bias` `[out]`
/// * output `[batch, out, od, oh, ow]` with `oh = (h - 1) s - 2 p + d (kh - 1) + output_padding + 1`, and so on
///
/// ```
/// use wengert::{Tensor, ops::{ConvTranspose3dOptions, conv_transpose3d}};
/// let x = Tensor::from([1.0, 2.0]).reshape([1, 1, 2, 1, 1]);
/// let kernel = Tensor::from([1.0, 10.0]).reshape([1, 1, 2, 1, 1]);
/// let options = ConvTranspose3dOptions { stride: [2, 1, 1], ..Default::default() };
/// assert_eq!(conv_transpose3d(&x, &kernel, None, options).to_vec(), [1.0, 10.0, 2.0, 20.0]);
/// ```
///
/// # Panics
/// As [`conv_transpose2d`].
#[track_caller]
#[inline(never)]
pub fn conv_transpose3d<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: ConvTranspose3dOptions,
) -> Tensor<T> {
    const OP: &str = "conv_transpose3d";
    let ConvTranspose3dOptions { stride, padding, output_padding, dilation, groups, bias: has_bias } = options;
    let all = [stride, padding, output_padding, dilation];
    let [depth, h, w] = conv_transpose::output(OP, x.shape(), weight.shape(), all, groups);
    let channels = weight.size(1) * groups;
    check_bias(OP, bias, channels);
    let &[batch, inputs, positions, ..] = x.shape() else { unreachable!("the rank is checked") };
    let slices = x.transpose(1, 2).reshape([batch * positions, inputs, x.size(3), x.size(4)]);
    let [stride_2d, padding_2d, output_padding_2d, dilation_2d] = all.map(last);
    let options = ConvTranspose2dOptions {
        stride: stride_2d,
        padding: padding_2d,
        output_padding: output_padding_2d,
        dilation: dilation_2d,
        groups,
        bias: has_bias,
    };
    let images = conv_transpose2d(&slices, &flat(weight), None, options);
    let sizes = Unfold {
        batch,
        channels,
        depth,
        plane: [h, w],
        positions,
        kernel: weight.size(2),
        stride: stride[0],
        padding: padding[0],
        dilation: dilation[0],
    };
    fold_depth(&images, bias, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck, record};
    use crate::{Rng, Shape};

    fn random(shape: &[usize], seed: u64) -> Tensor<f64> {
        let mut rng = Rng::new(seed);
        Tensor::from_fn(shape, |_| rng.normal())
    }

    /// Input, weight and options of a few geometries.
    fn cases() -> Vec<(Tensor<f64>, Tensor<f64>, Conv3dOptions)> {
        let plain = Conv3dOptions::default();
        let odd = Conv3dOptions { stride: [2, 1, 2], padding: [2, 1, 0], dilation: [2, 1, 1], ..plain };
        let transposed = random(&[3, 4, 5, 2, 2], 3).permute(&[4, 3, 2, 1, 0]);
        let sliced = random(&[2, 4, 7, 3, 3], 4).slice(2, 0, 7, 2);
        let broadcast = random(&[1, 1, 3, 2, 3], 5).expand([2, 4, 3, 2, 3]);
        vec![
            (random(&[2, 2, 4, 3, 3], 1), random(&[3, 2, 3, 2, 2], 2), plain),
            (transposed, random(&[4, 2, 2, 3, 2], 2).transpose(3, 4), odd),
            (sliced, random(&[6, 2, 2, 2, 1], 2), Conv3dOptions { groups: 2, stride: [3, 1, 1], ..plain }),
            (broadcast, random(&[4, 1, 3, 1, 3], 2), Conv3dOptions { groups: 4, padding: [1, 0, 1], ..plain }),
            (random(&[1, 1, 1, 1, 1], 1), random(&[1, 1, 1, 1, 1], 2), plain),
            (random(&[0, 2, 2, 3, 3], 1), random(&[2, 2, 2, 2, 2], 2), plain),
            (random(&[2, 0, 2, 3, 3], 1), random(&[3, 0, 2, 3, 3], 2), plain),
        ]
    }

    fn transposed(options: Conv3dOptions, output_padding: [usize; 3]) -> ConvTranspose3dOptions {
        let Conv3dOptions { stride, padding, dilation, groups, bias } = options;
        ConvTranspose3dOptions { stride, padding, output_padding, dilation, groups, bias }
    }

    #[test]
    fn gradients_of_first_and_second_order_are_those_of_finite_differences() {
        for (x, weight, options) in cases() {
            let bias = random(&[weight.size(0)], 7);
            let f = |t: &[Tensor<f64>]| conv3d(&t[0], &t[1], Some(&t[2]), options).tanh();
            gradcheck(f, &[x.clone(), weight.clone(), bias.clone()]).unwrap();
            gradgradcheck(f, &[x.clone(), weight.clone(), bias]).unwrap();
            let y = conv3d(&x, &weight, None, options);
            let options = transposed(options, options.stride.map(|s| s - 1));
            let bias = random(&[weight.size(1) * options.groups], 8);
            let f = |t: &[Tensor<f64>]| conv_transpose3d(&t[0], &t[1], Some(&t[2]), options).tanh();
            gradcheck(f, &[y.clone(), weight.clone(), bias.clone()]).unwrap();
            gradgradcheck(f, &[y, weight, bias]).unwrap();
        }
    }

    #[test]
    fn the_transposed_convolution_is_the_gradient_of_the_convolutions_input() {
        for (x, weight, options) in cases() {
            let leaf = x.tracked();
            let y = record(|| conv3d(&leaf, &weight, None, options));
            let dy = random(y.shape(), 9);
            let expected = y.backward_with(&dy).of(&leaf);
            // The sizes that the stride cuts off are put back.
            let plain = conv_transpose3d(&dy, &weight, None, transposed(options, [0; 3]));
            let extra = std::array::from_fn(|i| x.shape()[2 + i] - plain.shape()[2 + i]);
            let found = conv_transpose3d(&dy, &weight, None, transposed(options, extra));
            assert_eq!((found.dims(), found.to_vec()), (expected.dims(), expected.to_vec()));
        }
    }

    #[test]
    fn a_kernel_of_depth_one_convolves_every_slice() {
        let (x, weight, bias) = (random(&[2, 4, 3, 5, 4], 1), random(&[6, 2, 1, 3, 2], 2), random(&[6], 3));
        let options = Conv3dOptions { groups: 2, stride: [1, 2, 1], padding: [0, 1, 1], ..Default::default() };
        let y = conv3d(&x, &weight, Some(&bias), options);
        assert!(y.is_contiguous());
        let options = Conv2dOptions { groups: 2, stride: [2, 1], padding: [1, 1], ..Default::default() };
        for slice in 0..3 {
            let expected = conv2d(&x.select(2, slice), &weight.squeeze(2), Some(&bias), options);
            assert_eq!(y.select(2, slice).to_vec(), expected.to_vec());
        }
    }

    #[test]
    fn views_give_what_their_copies_give() {
        for (x, weight, options) in cases() {
            let y = conv3d(&x, &weight, None, options);
            assert_eq!(y.to_vec(), conv3d(&x.contiguous(), &weight.contiguous(), None, options).to_vec());
            let turned: Vec<usize> = y.shape().iter().rev().copied().collect();
            let dy = random(&turned, 3).permute(&[4, 3, 2, 1, 0]);
            let options = transposed(options, [0; 3]);
            assert_eq!(
                conv_transpose3d(&dy, &weight, None, options).to_vec(),
                conv_transpose3d(&dy.contiguous(), &weight.contiguous(), None, options).to_vec()
            );
        }
    }

    #[test]
    fn shape_errors_are_told_in_three_dimensions() {
        let refusal = |x: &[usize], weight: &[usize], transposed: bool| {
            let (x, weight) = (Tensor::zeros(Shape::new(x)), Tensor::zeros(Shape::new(weight)));
            let run = || match transposed {
                false => conv3d(&x, &weight, None, Conv3dOptions::default()),
                true => conv_transpose3d(&x, &weight, None, ConvTranspose3dOptions::default()),
            };
            crate::shape::catch(run).map(|_| ()).expect_err("a refusal").0
        };
        for transposed in [false, true] {
            let unbatched = refusal(&[2, 4, 4, 4], &[2, 2, 1, 1, 1], transposed);
            assert!(unbatched.contains("[batch, in, depth, height, width]") && unbatched.contains("unsqueeze(0)"));
            assert!(refusal(&[1, 2, 4, 4, 4], &[2, 2, 1, 1], transposed).contains("kd, kh, kw]"));
        }
        assert_eq!(
            refusal(&[1, 2, 4, 4, 4], &[3, 2, 5, 1, 1], false),
            "conv3d: [1, 2, 4, 4, 4] * [3, 2, 5, 1, 1]: expected a kernel of 1 to 4, the padded input, found 5 along dimension 2"
        );
        assert_eq!(
            refusal(&[1, 2, 4, 4, 4], &[3, 2, 1, 1, 1], true),
            "conv_transpose3d: [1, 2, 4, 4, 4] * [3, 2, 1, 1, 1]: expected 3 input channels, found 2"
        );
    }
}
