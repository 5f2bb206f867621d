//! Transposed convolution: the gradient of a convolution with respect to its input, as an operation forward. Its own
//! gradients are a convolution and the gradient of a convolution's weight, with input and output exchanged.

use super::conv::{check_bias, conv2d, conv2d_grad_weight, size_names};
use super::{Conv2dOptions, cat};
use crate::autograd::{Pull, record_op};
use crate::element::Float;
use crate::kernels::conv::{self, Conv};
use crate::shape::fail;
use crate::tensor::Tensor;

/// The options of a two-dimensional transposed convolution: `[vertical, horizontal]`.
///
/// ```
/// use wengert::ops::ConvTranspose2dOptions;
/// let doubling = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
/// assert_eq!(doubling.output_padding, [0, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2dOptions {
    /// The distance in the output between neighbouring pixels of the input.
    pub stride: [usize; 2],
    /// Rows and columns that are left away on either side of the output.
    pub padding: [usize; 2],
    /// Rows and columns that the output has more at its end: with a stride several sizes of output belong to one of input.
    /// Less than the stride or the dilation.
    pub output_padding: [usize; 2],
    /// The distance between neighbouring taps of the kernel.
    pub dilation: [usize; 2],
    /// Channels are split in so many groups; each group of outputs sees its own group of inputs only.
    pub groups: usize,
    /// Whether a layer has a bias. The operations, which are given theirs, do not look at it.
    pub bias: bool,
}

impl Default for ConvTranspose2dOptions {
    fn default() -> Self {
        let Conv2dOptions { stride, padding, dilation, groups, bias } = Conv2dOptions::default();
        ConvTranspose2dOptions { stride, padding, output_padding: [0, 0], dilation, groups, bias }
    }
}

impl ConvTranspose2dOptions {
    /// Those of the convolution whose gradient this is.
    fn convolution(&self) -> Conv2dOptions {
        let &ConvTranspose2dOptions { stride, padding, dilation, groups, bias, .. } = self;
        Conv2dOptions { stride, padding, dilation, groups, bias }
    }
}

/// Checks the sizes of a transposed convolution of any number of dimensions; gives the size of the output along each.
#[track_caller]
pub(super) fn output<const N: usize>(
    op: &str,
    x: &[usize],
    weight: &[usize],
    [stride, padding, extra, dilation]: [[usize; N]; 4],
    groups: usize,
) -> [usize; N] {
    let complain = |what: String| format!("{op}: {x:?} * {weight:?}: {what}");
    if x.len() != 2 + N {
        let hint = if x.len() == 1 + N { "; put a batch of one before it by unsqueeze(0)" } else { "" };
        let [size, _] = size_names(N);
        fail(complain(format!("expected an input [batch, in, {size}], found {} dimensions{hint}", x.len())));
    }
    if weight.len() != 2 + N {
        let [_, kernel] = size_names(N);
        fail(complain(format!("expected a weight [in, out / groups, {kernel}], found {} dimensions", weight.len())));
    }
    if groups == 0 || stride.contains(&0) || dilation.contains(&0) {
        fail(complain(format!(
            "expected stride, dilation and groups above 0, found {stride:?}, {dilation:?} and {groups}"
        )));
    }
    if x[1] != weight[0] {
        fail(complain(format!("expected {} input channels, found {}", weight[0], x[1])));
    }
    if !x[1].is_multiple_of(groups) {
        fail(complain(format!("expected a multiple of {groups} groups of input channels, found {}", x[1])));
    }
    let mut output = [0; N];
    // A loop, not a closure: an error blames the line that called a function, of which a closure knows nothing.
    for (i, output) in output.iter_mut().enumerate() {
        let (size, kernel, dim) = (x[2 + i], weight[2 + i], 2 + i);
        if size == 0 || kernel == 0 {
            fail(complain(format!("expected an input and a kernel of at least 1 along dimension {dim}")));
        }
        if extra[i] >= stride[i].max(dilation[i]) {
            fail(complain(format!(
                "expected an output padding less than the stride or the dilation, found {} along dimension {dim}",
                extra[i]
            )));
        }
        let whole = (size - 1) * stride[i] + dilation[i] * (kernel - 1) + 1 + extra[i];
        *output = match whole.checked_sub(2 * padding[i]) {
            None | Some(0) => fail(complain(format!(
                "expected a padding that leaves some of the {whole} pixels along dimension {dim}, found {}",
                padding[i]
            ))),
            Some(left) => left,
        };
    }
    output
}

/// Two-dimensional transposed convolution (Dumoulin and Visin, 2016, chapter 4): every pixel of the input adds the kernel,
/// times its value, to the output.
/// `y[b, o, h, w] = bias[o] + sum over c, u, v of weight[c, o, u, v] x[b, c, i, j]` where `h = i s + u d - p` and
/// `w = j s + v d - p`, with stride s, dilation d, padding p.
///
/// * `x` `[batch, in, h, w]`, `weight` `[in, out / groups, kh, kw]`, `bias` `[out]`
/// * output `[batch, out, oh, ow]` with `oh = (h - 1) s - 2 p + d (kh - 1) + output_padding + 1`
///
/// It is the gradient of [`conv2d`] with respect to its input, with the same weight and options. `dx` is [`conv2d`] of `dy`,
/// `dweight` is [`conv2d_grad_weight`] with `dy` as input and `x` as gradient; that of the bias is the sum of `dy` over images
/// and pixels.
///
/// ```
/// use wengert::{Tensor, ops::{ConvTranspose2dOptions, conv_transpose2d}};
/// let x = Tensor::from([[1.0, 2.0]]).reshape([1, 1, 1, 2]);
/// let kernel = Tensor::from([1.0, 10.0, 100.0]).reshape([1, 1, 1, 3]);
/// let options = ConvTranspose2dOptions { stride: [1, 2], ..Default::default() };
/// assert_eq!(conv_transpose2d(&x, &kernel, None, options).to_vec(), [1.0, 10.0, 102.0, 20.0, 200.0]);
/// ```
///
/// # Panics
/// When a rank or the channels do not fit, the groups do not divide the channels, a size, stride or dilation is 0, the output
/// padding is not less than the stride or the dilation, or the padding leaves nothing. An input without a batch dimension is
/// not taken.
#[track_caller]
#[inline(never)]
pub fn conv_transpose2d<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: ConvTranspose2dOptions,
) -> Tensor<T> {
    const OP: &str = "conv_transpose2d";
    let ConvTranspose2dOptions { stride, padding, output_padding, dilation, groups, .. } = options;
    let size = output(OP, x.shape(), weight.shape(), [stride, padding, output_padding, dilation], groups);
    let conv = Conv {
        batch: x.size(0),
        in_channels: weight.size(1) * groups,
        out_channels: weight.size(0),
        groups,
        input: size,
        kernel: [weight.size(2), weight.size(3)],
        stride,
        padding,
        dilation,
    };
    check_bias(OP, bias, conv.in_channels);
    // With an output padding of the stride or more the convolution of the output would have more pixels than there are: the
    // others are 0.
    let mut whole = x.clone();
    for (dim, &size) in (2..).zip(&conv.output()) {
        if whole.size(dim) < size {
            let mut shape = whole.dims();
            shape[dim as usize] = size - whole.size(dim);
            whole = cat(&[&whole, &Tensor::full(shape, T::ZERO)], dim);
        }
    }
    let x = &whole;
    let (x_packed, w_packed, bias_packed) = (x.packed(), weight.packed(), bias.map(Tensor::packed));
    let y = Tensor::build([conv.batch, conv.in_channels, size[0], size[1]], |y| {
        let bias = bias_packed.as_ref().map(Tensor::elements);
        conv::grad_input(&conv, x_packed.elements(), w_packed.elements(), bias, y);
    });
    // Without a bias its place in the entry is taken by an untracked scalar.
    let none = Tensor::scalar(T::ZERO);
    record_op("conv_transpose2d", y, [x, weight, bias.unwrap_or(&none)], || {
        let (x_kept, w_kept) = (weight.is_tracked().then(|| x.clone()), x.is_tracked().then(|| weight.clone()));
        let options = options.convolution();
        move |pull: Pull<T>| {
            let dx = pull.when_kept(0, &w_kept, |grad, w| conv2d(grad, w, None, options));
            let dw = pull.when_kept(1, &x_kept, |grad, x| conv2d_grad_weight(grad, x, conv.kernel, options));
            [dx, dw, pull.when(2, |grad| grad.sum_dim([0, 2, 3], false))]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck};
    use crate::ops::conv2d_grad_input;
    use crate::{Rng, record};

    fn random(shape: &[usize], seed: u64) -> Tensor<f64> {
        let mut rng = Rng::new(seed);
        Tensor::from_fn(shape, |_| rng.normal())
    }

    /// Input, weight and options of a few geometries.
    fn cases() -> Vec<(Tensor<f64>, Tensor<f64>, ConvTranspose2dOptions)> {
        let plain = ConvTranspose2dOptions::default();
        let odd = ConvTranspose2dOptions {
            stride: [2, 3],
            padding: [1, 2],
            output_padding: [1, 2],
            dilation: [2, 1],
            ..plain
        };
        let transposed = random(&[3, 4, 3, 2], 3).permute(&[3, 2, 1, 0]);
        let sliced = random(&[2, 4, 7, 3], 4).slice(2, 0, 7, 2);
        let broadcast = random(&[1, 1, 3, 2], 5).expand([2, 4, 3, 2]);
        // The output padding is less than the dilation only.
        let far = ConvTranspose2dOptions { dilation: [3, 4], output_padding: [2, 3], stride: [1, 2], ..plain };
        vec![
            (random(&[2, 3, 3, 4], 1), random(&[3, 4, 3, 2], 2), plain),
            (transposed, random(&[3, 4, 2, 3], 2).transpose(2, 3), odd),
            (sliced, random(&[4, 3, 2, 2], 2), ConvTranspose2dOptions { groups: 2, stride: [1, 3], ..plain }),
            (broadcast, random(&[4, 1, 3, 3], 2), ConvTranspose2dOptions { groups: 4, padding: [1, 1], ..plain }),
            (random(&[1, 2, 2, 2], 1), random(&[2, 1, 2, 2], 2), far),
            (random(&[1, 1, 1, 1], 1), random(&[1, 1, 1, 1], 2), plain),
            (random(&[0, 2, 2, 2], 1), random(&[2, 3, 3, 3], 2), plain),
            (random(&[2, 0, 2, 2], 1), random(&[0, 3, 3, 3], 2), plain),
        ]
    }

    #[test]
    fn gradients_of_first_and_second_order_are_those_of_finite_differences() {
        for (x, weight, options) in cases() {
            let bias = random(&[weight.size(1) * options.groups], 7);
            let f = |t: &[Tensor<f64>]| conv_transpose2d(&t[0], &t[1], Some(&t[2]), options).tanh();
            gradcheck(f, &[x.clone(), weight.clone(), bias.clone()]).unwrap();
            gradgradcheck(f, &[x.clone(), weight.clone(), bias]).unwrap();
            let unbiased = |t: &[Tensor<f64>]| conv_transpose2d(&t[0], &t[1], None, options).tanh();
            gradcheck(unbiased, &[x, weight]).unwrap();
        }
    }

    #[test]
    fn views_give_what_their_copies_give() {
        for (x, weight, options) in cases() {
            let y = conv_transpose2d(&x, &weight, None, options);
            let of_copies = conv_transpose2d(&x.contiguous(), &weight.contiguous(), None, options);
            assert_eq!(y.to_vec(), of_copies.to_vec());
        }
    }

    #[test]
    fn it_is_the_gradient_of_the_convolution_with_the_same_weight_plus_the_bias() {
        for (x, weight, options) in cases() {
            let y = conv_transpose2d(&x, &weight, None, options);
            let back = options.convolution();
            let there = conv2d(&y, &weight, None, back);
            if there.shape() == x.shape() {
                let size = [y.size(2), y.size(3)];
                assert_eq!(y.to_vec(), conv2d_grad_input(&x, &weight, size, back).to_vec());
            }
            let bias = random(&[y.size(1)], 8);
            let with_bias = conv_transpose2d(&x, &weight, Some(&bias), options);
            let expected = y + bias.reshape([1, bias.numel(), 1, 1]);
            with_bias.to_vec().iter().zip(expected.to_vec()).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn only_the_gradients_that_are_asked_for_are_given() {
        let (x, weight, bias) = (random(&[2, 2, 2, 2], 1), random(&[2, 3, 3, 3], 2), random(&[3], 3));
        let tracked = bias.tracked();
        let grads = record(|| conv_transpose2d(&x, &weight, Some(&tracked), Default::default()).sum()).backward();
        assert_eq!(grads.of(&tracked).to_vec(), [32.0; 3]);
        assert_eq!(grads.len(), 1);
    }

    #[test]
    fn shape_errors_say_what_is_wrong() {
        let plain = ConvTranspose2dOptions::default();
        let of = |x: &[usize], w: &[usize], options| {
            let (x, w) = (random(x, 1), random(w, 2));
            crate::shape::catch(|| conv_transpose2d(&x, &w, None, options)).map(|_| ()).expect_err("a refusal").0
        };
        assert!(of(&[3, 8, 8], &[3, 4, 3, 3], plain).contains("unsqueeze(0)"));
        assert!(of(&[1, 3, 8, 8], &[3, 4, 3], plain).contains("expected a weight [in, out / groups, kh, kw]"));
        assert_eq!(
            of(&[1, 2, 8, 8], &[4, 3, 3, 3], plain),
            "conv_transpose2d: [1, 2, 8, 8] * [4, 3, 3, 3]: expected 4 input channels, found 2"
        );
        let groups = ConvTranspose2dOptions { groups: 3, ..plain };
        assert!(of(&[1, 4, 8, 8], &[4, 3, 3, 3], groups).contains("a multiple of 3 groups of input channels, found 4"));
        let extra = ConvTranspose2dOptions { output_padding: [0, 1], ..plain };
        assert!(of(&[1, 3, 8, 8], &[3, 4, 3, 3], extra).contains("found 1 along dimension 3"));
        let wide = ConvTranspose2dOptions { padding: [5, 0], ..plain };
        assert!(of(&[1, 3, 8, 8], &[3, 4, 3, 3], wide).contains("leaves some of the 10 pixels along dimension 2"));
        assert!(of(&[1, 3, 0, 8], &[3, 4, 3, 3], plain).contains("at least 1 along dimension 2"));
    }
}
