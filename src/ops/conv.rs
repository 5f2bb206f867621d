//! Two-dimensional convolution. Its two gradients are operations too: the three are each other's rules.

use super::pool::{self, MaxPool2dOptions, max_pool2d, max_pool2d_grad};
use super::unary::relu_grad;
use crate::autograd::{Pull, is_recording, is_tracked, record_op};
use crate::element::Float;
use crate::kernels::conv::{self, After, Conv, Weights};
use crate::shape::{Shape, ensure, fail};
use crate::tensor::Tensor;

/// The options of a two-dimensional convolution: `[vertical, horizontal]`.
///
/// ```
/// use wengert::ops::Conv2dOptions;
/// let halving = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
/// assert_eq!(halving.groups, 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// The distance between neighbouring positions of the kernel.
    pub stride: [usize; 2],
    /// Rows and columns of zeros on either side of the input.
    pub padding: [usize; 2],
    /// The distance between neighbouring taps of the kernel.
    pub dilation: [usize; 2],
    /// Channels are split in so many groups; each group of outputs sees its own group of inputs only.
    pub groups: usize,
    /// Whether a layer has a bias. The operations, which are given theirs, do not look at it.
    pub bias: bool,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Conv2dOptions { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, bias: true }
    }
}

/// What errors call the sizes of an input and of a kernel of so many dimensions.
pub(super) fn size_names(dimensions: usize) -> [&'static str; 2] {
    match dimensions {
        1 => ["length", "kernel"],
        2 => ["height, width", "kh, kw"],
        _ => ["depth, height, width", "kd, kh, kw"],
    }
}

/// Checks the sizes of a convolution of any number of dimensions: the last ones of `x` and `weight`, as many as there are
/// strides.
#[track_caller]
pub(super) fn check(
    op: &str,
    x: &[usize],
    weight: &[usize],
    [stride, padding, dilation]: [&[usize]; 3],
    groups: usize,
) {
    let complain = |what: String| format!("{op}: {x:?} * {weight:?}: {what}");
    let rank = 2 + stride.len();
    if x.len() != rank {
        let hint = if x.len() + 1 == rank { "; put a batch of one before it by unsqueeze(0)" } else { "" };
        let [size, _] = size_names(stride.len());
        fail(complain(format!("expected an input [batch, in, {size}], found {} dimensions{hint}", x.len())));
    }
    if weight.len() != rank {
        let [_, kernel] = size_names(stride.len());
        fail(complain(format!("expected a weight [out, in / groups, {kernel}], found {} dimensions", weight.len())));
    }
    if groups == 0 || stride.contains(&0) || dilation.contains(&0) {
        fail(complain(format!(
            "expected stride, dilation and groups above 0, found {stride:?}, {dilation:?} and {groups}"
        )));
    }
    if !weight[0].is_multiple_of(groups) {
        fail(complain(format!("expected a multiple of {groups} groups of output channels, found {}", weight[0])));
    }
    if x[1] != weight[1] * groups {
        let expected = weight[1] * groups;
        fail(complain(format!("expected {expected} input channels in {groups} groups, found {}", x[1])));
    }
    for i in 0..stride.len() {
        let (kernel, size) = (weight[2 + i], x[2 + i] + 2 * padding[i]);
        if kernel == 0 || dilation[i] * (kernel - 1) >= size {
            let reach = if kernel == 0 { 0 } else { dilation[i] * (kernel - 1) + 1 };
            fail(complain(format!(
                "expected a kernel of 1 to {size}, the padded input, found {reach} along dimension {}",
                2 + i
            )));
        }
    }
}

/// Checks the shape of a bias.
#[track_caller]
pub(super) fn check_bias<T: Float>(op: &str, bias: Option<&Tensor<T>>, channels: usize) {
    if let Some(bias) = bias {
        ensure(bias.shape() == [channels], || format!("{op}: bias {:?}: expected [{channels}]", bias.shape()));
    }
}

/// The sizes of a convolution from those of its input and weight, which are checked.
#[track_caller]
fn sizes(op: &str, x: &[usize], weight: &[usize], options: &Conv2dOptions) -> Conv {
    let &Conv2dOptions { stride, padding, dilation, groups, .. } = options;
    check(op, x, weight, [&stride, &padding, &dilation], groups);
    Conv {
        batch: x[0],
        in_channels: x[1],
        out_channels: weight[0],
        groups,
        input: [x[2], x[3]],
        kernel: [weight[2], weight[3]],
        stride,
        padding,
        dilation,
    }
}

/// Checks the shape of an output or its gradient.
#[track_caller]
fn check_output(op: &str, conv: &Conv, dy: &[usize]) {
    let [h, w] = conv.output();
    let expected = [conv.batch, conv.out_channels, h, w];
    ensure(dy == expected, || format!("{op}: {dy:?}: expected a gradient of the output's shape {expected:?}"));
}

/// The two-dimensional convolution of deep learning (the kernel is not flipped):
/// `y[b, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] x[b, c, i s + u d - p, j s + v d - p]`
/// with stride s, dilation d, padding p.
///
/// * `x` `[batch, in, h, w]`, `weight` `[out, in / groups, kh, kw]`, `bias` `[out]`
/// * output `[batch, out, oh, ow]` with `oh = (h + 2 p - d (kh - 1) - 1) / s + 1`, rounded down
///
/// Gradients: [`conv2d_grad_input`], [`conv2d_grad_weight`]; that of the bias is the sum of `dy` over images and pixels.
///
/// ```
/// use wengert::{Tensor, ops::{Conv2dOptions, conv2d}};
/// let x = Tensor::from([[1.0, 2.0, 4.0, 8.0]]).reshape([1, 1, 1, 4]);
/// let difference = Tensor::from([-1.0, 1.0]).reshape([1, 1, 1, 2]);
/// let y = conv2d(&x, &difference, None, Conv2dOptions::default());
/// assert_eq!(y.to_vec(), [1.0, 2.0, 4.0]);
/// ```
///
/// # Panics
/// When a rank or the channels do not fit, the groups do not divide the channels, the (dilated) kernel is larger than the
/// padded input, or a stride or dilation is 0. An input without a batch dimension is not taken.
///
/// # Rounding
/// In `f32`, kernels of 3 x 3 and stride 1 over many channels are computed with four products for each pixel instead of nine
/// where that is faster, and those of 4 x 4 and stride 2 with 6.25 instead of 16; so are both gradients (Lavin and Gray, 2016,
/// "Fast Algorithms for Convolutional Neural Networks"). The error is of the size of that of direct sums, or 1.5 to 4.5 times
/// that with 4 x 4: below 2e-6 of the largest output. But it goes by the largest pixel near by, also where its weight is
/// small: a pixel of 1e8 under a weight of 0 hides what stands beside it, and the gradient of a pixel that no window covers may
/// be such an error instead of 0. An infinite pixel
/// gives NaN. The environment variable `WENGERT_CONV=direct` chooses direct sums for the whole program.
#[track_caller]
#[inline(never)]
pub fn conv2d<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: Conv2dOptions,
) -> Tensor<T> {
    let (conv, y) = convolved("conv2d", [x, weight], bias, &options, false);
    // Without a bias its place in the entry is taken by an untracked scalar.
    let none = Tensor::scalar(T::ZERO);
    record_op("conv2d", y, [x, weight, bias.unwrap_or(&none)], || {
        let kept = Kept::new(conv, options, x, weight);
        move |pull: Pull<T>| kept.gradients(&pull.grad, pull.all_needs())
    })
}

/// `max(y, 0)` of a [`conv2d`], in one operation.
///
/// # Panics
/// As [`conv2d`].
#[track_caller]
#[inline(never)]
pub fn conv2d_relu<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: Conv2dOptions,
) -> Tensor<T> {
    let (conv, y) = convolved("conv2d_relu", [x, weight], bias, &options, true);
    let (none, kept_y) = (Tensor::scalar(T::ZERO), y.clone());
    record_op("conv2d_relu", y, [x, weight, bias.unwrap_or(&none)], || {
        let kept = Kept::new(conv, options, x, weight);
        move |pull: Pull<T>| {
            let needs = pull.all_needs();
            kept.gradients(&relu_grad(pull.grad, &kept_y), needs)
        }
    })
}

/// The sizes of a convolution, and its output.
#[track_caller]
fn convolved<T: Float>(
    op: &str,
    [x, weight]: [&Tensor<T>; 2],
    bias: Option<&Tensor<T>>,
    options: &Conv2dOptions,
    relu: bool,
) -> (Conv, Tensor<T>) {
    let conv = sizes(op, x.shape(), weight.shape(), options);
    check_bias(op, bias, conv.out_channels);
    let [h, w] = conv.output();
    let kept = !is_tracked(&[x, weight]);
    let (x, weight, bias) = (x.packed(), weight.packed(), bias.map(Tensor::packed));
    let y = Tensor::build([conv.batch, conv.out_channels, h, w], |y| {
        let after = After { bias: bias.as_ref().map(Tensor::elements), relu };
        conv::forward(&conv, x.elements(), weights(&conv, &weight, kept, false), after, y);
    });
    (conv, y)
}

/// Contiguous weights. Where they may be expected to stay the same (`kept`: nothing is recorded) and packing them takes its
/// time, they are packed once.
fn weights<'a, T: Float>(conv: &Conv, weight: &'a Tensor<T>, kept: bool, halved: bool) -> Weights<'a, T> {
    let plain = weight.elements();
    let how = if kept { conv::packs::<T>(conv, halved) } else { None };
    let packed = weight.arranged(how, |to| conv::pack(conv, plain, to));
    Weights { plain, packed }
}

/// [`conv2d`], `max(y, 0)` if `relu`, and the largest of each 2 x 2 pixels, in one operation that writes nothing else: the
/// numbers of [`max_pool2d`](super::max_pool2d) with windows of 2, of a convolution.
///
/// * output `[batch, out, oh / 2, ow / 2]`, rounded down
///
/// ```
/// use wengert::{Tensor, ops};
/// let (x, weight) = (Tensor::from([-1.0_f32, 1.0, 3.0, 2.0]).reshape([1, 1, 2, 2]), Tensor::ones([1, 1, 1, 1]));
/// assert_eq!(ops::conv2d_max_pool2d(&x, &weight, None, Default::default(), true).to_vec(), [3.0]);
/// ```
///
/// # Panics
/// As [`conv2d`], and when its output has fewer than two rows or columns.
#[track_caller]
#[inline(never)]
pub fn conv2d_max_pool2d<T: Float>(
    x: &Tensor<T>,
    weight: &Tensor<T>,
    bias: Option<&Tensor<T>>,
    options: Conv2dOptions,
    relu: bool,
) -> Tensor<T> {
    const OP: &str = "conv2d_max_pool2d";
    let conv = sizes(OP, x.shape(), weight.shape(), &options);
    check_bias(OP, bias, conv.out_channels);
    let [h, w] = conv.output();
    let unpooled = [conv.batch, conv.out_channels, h, w];
    let (pool, shape) = pool::sizes(OP, &unpooled, [2, 2], MaxPool2dOptions::default());
    if !conv::halves::<T>(&conv) {
        let y = max_pool2d(&conv2d(x, weight, bias, options), 2, MaxPool2dOptions::default());
        return if relu { y.relu() } else { y };
    }
    let none = Tensor::scalar(T::ZERO);
    let inputs = [x, weight, bias.unwrap_or(&none)];
    let (x_packed, w_packed, bias_packed) = (x.packed(), weight.packed(), bias.map(Tensor::packed));
    let tracked = is_tracked(&inputs);
    let run = |y: &mut [T], taps: Option<&mut [u8]>| {
        let after = After { bias: bias_packed.as_ref().map(Tensor::elements), relu };
        let weights = weights(&conv, &w_packed, !tracked, true);
        conv::forward_halved(&conv, x_packed.elements(), weights, after, y, taps);
    };
    if !tracked {
        return Tensor::build(shape, |y| run(y, None));
    }
    let mut taps = Tensor::scalar(0);
    let y = Tensor::build(shape, |y| taps = Tensor::build(shape, |taps| run(y, Some(taps))));
    record_op(OP, y, inputs, || {
        let kept = Kept::new(conv, options, x, weight);
        move |pull: Pull<T>| {
            let dy = max_pool2d_grad(&pull.grad, &taps, pool, Shape::new(&unpooled));
            kept.gradients(&dy, pull.all_needs())
        }
    })
}

/// What the gradients of a convolution are computed from.
struct Kept<T: Float> {
    conv: Conv,
    options: Conv2dOptions,
    /// For the gradient of the weight.
    x: Option<Tensor<T>>,
    /// For the gradient of the input.
    weight: Option<Tensor<T>>,
}

impl<T: Float> Kept<T> {
    fn new(conv: Conv, options: Conv2dOptions, x: &Tensor<T>, weight: &Tensor<T>) -> Kept<T> {
        Kept {
            conv,
            options,
            x: weight.is_tracked().then(|| x.clone()),
            weight: x.is_tracked().then(|| weight.clone()),
        }
    }

    /// Those of input, weight and bias that are needed.
    #[track_caller]
    fn gradients(&self, dy: &Tensor<T>, [input, weight, bias]: [bool; 3]) -> [Option<Tensor<T>>; 3] {
        let kept = self.weight.as_ref().filter(|_| input);
        let dx = kept.map(|w| conv2d_grad_input(dy, w, self.conv.input, self.options));
        let (dw, db) = match self.x.as_ref().filter(|_| weight) {
            Some(x) if bias && !is_recording() => {
                let (dw, db) = weight_and_bias(&self.conv, x, dy);
                (Some(dw), Some(db))
            }
            x => (
                x.map(|x| conv2d_grad_weight(x, dy, self.conv.kernel, self.options)),
                bias.then(|| dy.sum_dim([0, 2, 3], false)),
            ),
        };
        [dx, dw, db]
    }
}

/// Both in one pass over `dy`.
fn weight_and_bias<T: Float>(conv: &Conv, x: &Tensor<T>, dy: &Tensor<T>) -> (Tensor<T>, Tensor<T>) {
    let (x, dy) = (x.packed(), dy.packed());
    let mut dw = None;
    let db = Tensor::build([conv.out_channels], |db| {
        dw = Some(Tensor::build(weight_shape(conv), |dw| {
            conv::grad_weight(conv, x.elements(), dy.elements(), dw, Some(db));
        }));
    });
    (dw.expect("built"), db)
}

fn weight_shape(conv: &Conv) -> [usize; 4] {
    [conv.out_channels, conv.in_channels / conv.groups, conv.kernel[0], conv.kernel[1]]
}

/// The gradient of [`conv2d`]'s input, also the transposed convolution ("deconvolution"):
/// `dx[b, c, h, w] = sum over o, u, v of weight[o, c, u, v] dy[b, o, i, j]` where `h = i s + u d - p`, `w = j s + v d - p`.
///
/// * `dy` `[batch, out, oh, ow]`, `weight` `[out, in / groups, kh, kw]`, output `[batch, in, h, w]`
/// * `input` is `[h, w]`: with a stride several inputs have an output of the same size, any of them may be asked for
///
/// Gradients: `d(dy)` is [`conv2d`] of the incoming gradient, `dw` is [`conv2d_grad_weight`].
///
/// # Panics
/// As [`conv2d`] of an input `[batch, in, h, w]`, and when that would not have the output's shape of `dy`.
#[track_caller]
#[inline(never)]
pub fn conv2d_grad_input<T: Float>(
    dy: &Tensor<T>,
    weight: &Tensor<T>,
    input: [usize; 2],
    options: Conv2dOptions,
) -> Tensor<T> {
    const OP: &str = "conv2d_grad_input";
    ensure(dy.rank() == 4 && weight.rank() == 4, || {
        format!(
            "{OP}: {:?} * {:?}: expected [batch, out, oh, ow] and [out, in / groups, kh, kw]",
            dy.shape(),
            weight.shape()
        )
    });
    let shape = [dy.size(0), weight.size(1) * options.groups, input[0], input[1]];
    let conv = sizes(OP, &shape, weight.shape(), &options);
    check_output(OP, &conv, dy.shape());
    let (dy_packed, w_packed) = (dy.packed(), weight.packed());
    let dx = Tensor::build(shape, |dx| conv::grad_input(&conv, dy_packed.elements(), w_packed.elements(), None, dx));
    record_op(OP, dx, [dy, weight], || {
        let (dy_kept, w_kept) = (weight.is_tracked().then(|| dy.clone()), dy.is_tracked().then(|| weight.clone()));
        move |pull: Pull<T>| {
            [
                pull.when_kept(0, &w_kept, |grad, w| conv2d(grad, w, None, options)),
                pull.when_kept(1, &dy_kept, |grad, dy| conv2d_grad_weight(grad, dy, conv.kernel, options)),
            ]
        }
    })
}

/// The gradient of [`conv2d`]'s weight:
/// `dw[o, c, u, v] = sum over b, i, j of dy[b, o, i, j] x[b, c, i s + u d - p, j s + v d - p]`.
///
/// * `x` `[batch, in, h, w]`, `dy` `[batch, out, oh, ow]`, output `[out, in / groups, kh, kw]`
/// * `kernel` is `[kh, kw]`
///
/// Gradients: `dx` is [`conv2d_grad_input`] and `d(dy)` is [`conv2d`], with the incoming gradient as weight.
///
/// # Panics
/// As [`conv2d`] with a weight of that shape, and when it would not have the output's shape of `dy`.
#[track_caller]
#[inline(never)]
pub fn conv2d_grad_weight<T: Float>(
    x: &Tensor<T>,
    dy: &Tensor<T>,
    kernel: [usize; 2],
    options: Conv2dOptions,
) -> Tensor<T> {
    const OP: &str = "conv2d_grad_weight";
    ensure(x.rank() == 4 && dy.rank() == 4, || {
        format!("{OP}: {:?} * {:?}: expected [batch, in, h, w] and [batch, out, oh, ow]", x.shape(), dy.shape())
    });
    ensure(options.groups > 0 && x.size(1).is_multiple_of(options.groups), || {
        format!("{OP}: {:?}: expected a multiple of {} groups of input channels", x.shape(), options.groups)
    });
    let shape = [dy.size(1), x.size(1) / options.groups, kernel[0], kernel[1]];
    let conv = sizes(OP, x.shape(), &shape, &options);
    check_output(OP, &conv, dy.shape());
    let (x_packed, dy_packed) = (x.packed(), dy.packed());
    let dw = Tensor::build(shape, |dw| conv::grad_weight(&conv, x_packed.elements(), dy_packed.elements(), dw, None));
    record_op(OP, dw, [x, dy], || {
        let (x_kept, dy_kept) = (dy.is_tracked().then(|| x.clone()), x.is_tracked().then(|| dy.clone()));
        move |pull: Pull<T>| {
            [
                pull.when_kept(0, &dy_kept, |grad, dy| conv2d_grad_input(dy, grad, conv.input, options)),
                pull.when_kept(1, &x_kept, |grad, x| conv2d(x, grad, None, options)),
            ]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck};
    use crate::{Rng, record};

    fn random(shape: &[usize], seed: u64) -> Tensor<f64> {
        let mut rng = Rng::new(seed);
        Tensor::from_fn(shape, |_| rng.normal())
    }

    /// Input, weight and options of a few geometries.
    fn cases() -> Vec<(Tensor<f64>, Tensor<f64>, Conv2dOptions)> {
        let plain = Conv2dOptions::default();
        let odd = Conv2dOptions { stride: [2, 1], padding: [1, 2], dilation: [1, 2], ..plain };
        let transposed = random(&[6, 5, 3, 2], 3).permute(&[3, 2, 1, 0]);
        let sliced = random(&[2, 4, 9, 6], 4).slice(2, 0, 9, 2);
        let broadcast = random(&[1, 1, 4, 5], 5).expand([3, 2, 4, 5]);
        vec![
            (random(&[2, 3, 5, 4], 1), random(&[4, 3, 3, 2], 2), plain),
            (transposed, random(&[4, 3, 2, 3], 2).transpose(2, 3), odd),
            (sliced, random(&[6, 2, 2, 2], 2), Conv2dOptions { groups: 2, stride: [1, 3], ..plain }),
            (broadcast, random(&[4, 1, 3, 3], 2), Conv2dOptions { groups: 2, padding: [1, 1], ..plain }),
            (random(&[1, 1, 1, 1], 1), random(&[1, 1, 1, 1], 2), plain),
            (random(&[0, 2, 4, 4], 1), random(&[3, 2, 3, 3], 2), plain),
            (random(&[2, 0, 4, 4], 1), random(&[3, 0, 3, 3], 2), plain),
        ]
    }

    #[test]
    fn gradients_of_first_and_second_order_are_those_of_finite_differences() {
        for (x, weight, options) in cases() {
            let bias = random(&[weight.size(0)], 7);
            let f = |t: &[Tensor<f64>]| conv2d(&t[0], &t[1], Some(&t[2]), options).tanh();
            gradcheck(f, &[x.clone(), weight.clone(), bias.clone()]).unwrap();
            gradgradcheck(f, &[x.clone(), weight.clone(), bias]).unwrap();
            let unbiased = |t: &[Tensor<f64>]| conv2d(&t[0], &t[1], None, options).tanh();
            gradcheck(unbiased, &[x, weight]).unwrap();
        }
    }

    #[test]
    fn gradients_of_the_gradients_are_those_of_finite_differences() {
        for (x, weight, options) in cases() {
            let y = conv2d(&x, &weight, None, options);
            let dy = random(y.shape(), 9);
            let (input, kernel) = ([x.size(2), x.size(3)], [weight.size(2), weight.size(3)]);
            let of_input = |t: &[Tensor<f64>]| conv2d_grad_input(&t[0], &t[1], input, options).tanh();
            gradcheck(of_input, &[dy.clone(), weight.clone()]).unwrap();
            gradgradcheck(of_input, &[dy.clone(), weight]).unwrap();
            let of_weight = |t: &[Tensor<f64>]| conv2d_grad_weight(&t[0], &t[1], kernel, options).tanh();
            gradcheck(of_weight, &[x.clone(), dy.clone()]).unwrap();
            gradgradcheck(of_weight, &[x, dy]).unwrap();
        }
    }

    #[test]
    fn views_give_what_their_copies_give() {
        for (x, weight, options) in cases() {
            let y = conv2d(&x, &weight, None, options);
            assert_eq!(y.to_vec(), conv2d(&x.contiguous(), &weight.contiguous(), None, options).to_vec());
            let dy = random(&[y.size(3), y.size(2), y.size(1), y.size(0)], 3).permute(&[3, 2, 1, 0]);
            let (input, kernel) = ([x.size(2), x.size(3)], [weight.size(2), weight.size(3)]);
            assert_eq!(
                conv2d_grad_input(&dy, &weight, input, options).to_vec(),
                conv2d_grad_input(&dy.contiguous(), &weight, input, options).to_vec()
            );
            assert_eq!(
                conv2d_grad_weight(&x, &dy, kernel, options).to_vec(),
                conv2d_grad_weight(&x, &dy.contiguous(), kernel, options).to_vec()
            );
        }
    }

    #[test]
    fn only_the_gradients_that_are_asked_for_are_given() {
        let (x, weight, bias) = (random(&[1, 2, 4, 4], 1), random(&[3, 2, 3, 3], 2), random(&[3], 3));
        let tracked = bias.tracked();
        let grads = record(|| conv2d(&x, &weight, Some(&tracked), Conv2dOptions::default()).sum()).backward();
        assert_eq!(grads.of(&tracked).to_vec(), [4.0; 3]);
        assert_eq!(grads.len(), 1);
    }

    #[test]
    fn a_stride_leaves_the_choice_of_the_input_size() {
        let options = Conv2dOptions { stride: [2, 2], ..Default::default() };
        let (dy, weight) = (random(&[1, 2, 2, 2], 1), random(&[2, 1, 2, 2], 2));
        let small = conv2d_grad_input(&dy, &weight, [4, 4], options);
        let large = conv2d_grad_input(&dy, &weight, [5, 4], options);
        assert_eq!(large.narrow(2, 0, 4).to_vec(), small.to_vec());
        assert_eq!(large.narrow(2, 4, 1).to_vec(), [0.0; 4]);
    }

    fn refusal(f: impl FnOnce()) -> String {
        crate::shape::catch(f).expect_err("a refusal").0
    }

    #[test]
    fn shape_errors_say_what_is_wrong() {
        let plain = Conv2dOptions::default();
        let of = |x: &[usize], w: &[usize], options| {
            let (x, w) = (random(x, 1), random(w, 2));
            refusal(|| {
                conv2d(&x, &w, None, options);
            })
        };
        assert!(of(&[3, 8, 8], &[4, 3, 3, 3], plain).contains("unsqueeze(0)"));
        assert!(of(&[1, 3, 8, 8], &[4, 3, 3], plain).contains("expected a weight [out, in / groups, kh, kw]"));
        assert_eq!(
            of(&[1, 2, 8, 8], &[4, 3, 3, 3], plain),
            "conv2d: [1, 2, 8, 8] * [4, 3, 3, 3]: expected 3 input channels in 1 groups, found 2"
        );
        let groups = Conv2dOptions { groups: 3, ..plain };
        assert!(
            of(&[1, 9, 8, 8], &[4, 3, 3, 3], groups)
                .contains("expected a multiple of 3 groups of output channels, found 4")
        );
        assert!(
            of(&[1, 3, 8, 2], &[4, 3, 3, 3], plain)
                .contains("expected a kernel of 1 to 2, the padded input, found 3 along dimension 3")
        );
        let zero = Conv2dOptions { stride: [0, 1], ..plain };
        assert!(of(&[1, 3, 8, 8], &[4, 3, 3, 3], zero).contains("above 0, found [0, 1]"));
        let (x, weight, bias) = (random(&[1, 2, 4, 4], 1), random(&[3, 2, 3, 3], 2), random(&[2], 3));
        let message = refusal(|| {
            conv2d(&x, &weight, Some(&bias), plain);
        });
        assert_eq!(message, "conv2d: bias [2]: expected [3]");
        let message = refusal(|| {
            conv2d_grad_input(&x, &weight, [4, 4], plain);
        });
        assert!(message.contains("expected a gradient of the output's shape [1, 3, 2, 2]"), "{message}");
    }

    #[test]
    fn weights_that_are_kept_in_order_follow_the_weights() {
        let options = Conv2dOptions { groups: 2, ..Default::default() };
        let x = random(&[1, 16, 6, 6], 1).cast::<f32>();
        let mut weight = random(&[40, 8, 3, 3], 2).cast::<f32>();
        let all = |weight: &Tensor| {
            let bias = Tensor::ones([40]);
            let pooled = conv2d_max_pool2d(&x, weight, Some(&bias), options, true);
            [conv2d(&x, weight, None, options), conv2d_relu(&x, weight, Some(&bias), options), pooled]
                .map(|y| y.to_vec())
        };
        // On the tape nothing is kept.
        let expected = |weight: &Tensor| record(|| all(&weight.tracked()));
        for change in 0..3 {
            assert_eq!(all(&weight), expected(&weight), "after {change} changes");
            assert_eq!(all(&weight), expected(&weight), "after {change} changes, from what is kept");
            weight.make_mut()[change] += 1.0;
        }
        // The same elements in other shapes, and a part of them.
        let turned = weight.reshape([20, 16, 3, 3]);
        let x = random(&[1, 32, 6, 6], 1).cast::<f32>();
        let (y, tracked) =
            (conv2d(&x, &turned, None, options), record(|| conv2d(&x, &turned.tracked(), None, options)));
        assert_eq!(y.to_vec(), tracked.to_vec());
        let part = weight.narrow(0, 20, 20);
        let x = x.narrow(1, 0, 16);
        let (y, tracked) = (conv2d(&x, &part, None, options), record(|| conv2d(&x, &part.tracked(), None, options)));
        assert_eq!(y.to_vec(), tracked.to_vec());
        // One image and four are computed in different ways, each with an order of its own.
        let options = Conv2dOptions { padding: [1, 1], ..Default::default() };
        let weight = random(&[128, 64, 3, 3], 3).cast::<f32>();
        let x = random(&[4, 64, 6, 6], 4).cast::<f32>();
        for _ in 0..2 {
            for x in [x.narrow(0, 0, 1), x.clone()] {
                let all = |weight: &Tensor| {
                    [conv2d(&x, weight, None, options), conv2d_max_pool2d(&x, weight, None, options, false)]
                };
                for (y, tracked) in all(&weight).iter().zip(&record(|| all(&weight.tracked()))) {
                    assert_eq!(y.to_vec(), tracked.to_vec());
                }
                let [y, pooled] = all(&weight);
                assert_eq!(max_pool2d(&y, 2, MaxPool2dOptions::default()).to_vec(), pooled.to_vec());
            }
        }
    }
}
