//! Max and average pooling of images.

use crate::autograd::{Pull, is_tracked, record_op};
use crate::element::{Element, Float};
use crate::kernels::pool::{Pool2d, average, max, output_size};
use crate::shape::{Pair, Shape, fail};
use crate::tensor::Tensor;

/// How the windows of [`max_pool2d`] lie. Each pair is vertical, horizontal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2dOptions {
    /// From one window to the next; `None` for the size of a window.
    pub stride: Option<[usize; 2]>,
    /// Places outside the image, on each side, that windows may cover; they never are the maximum.
    pub padding: [usize; 2],
    /// From one element of a window to the next.
    pub dilation: [usize; 2],
    /// Whether a last window that hangs over the edge counts.
    pub ceil_mode: bool,
}

impl Default for MaxPool2dOptions {
    fn default() -> MaxPool2dOptions {
        MaxPool2dOptions { stride: None, padding: [0; 2], dilation: [1; 2], ceil_mode: false }
    }
}

/// How the windows of [`avg_pool2d`] lie. Each pair is vertical, horizontal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2dOptions {
    /// From one window to the next; `None` for the size of a window.
    pub stride: Option<[usize; 2]>,
    /// Zeros around the image, on each side.
    pub padding: [usize; 2],
    /// Whether a last window that hangs over the edge counts.
    pub ceil_mode: bool,
    /// Whether the padding counts where a sum is divided by the number of its elements.
    pub count_include_pad: bool,
}

impl Default for AvgPool2dOptions {
    fn default() -> AvgPool2dOptions {
        AvgPool2dOptions { stride: None, padding: [0; 2], ceil_mode: false, count_include_pad: true }
    }
}

/// The sizes of a pooling of `x`, and the shape of its output.
#[track_caller]
pub(super) fn sizes(op: &str, shape: &[usize], kernel: [usize; 2], options: MaxPool2dOptions) -> (Pool2d, Shape) {
    let MaxPool2dOptions { stride, padding, dilation, ceil_mode } = options;
    let stride = stride.unwrap_or(kernel);
    let complain = |what: String| format!("{op}: {shape:?}: {what}");
    if shape.len() < 2 {
        fail(complain(format!("expected [.., height, width], found {} dimensions", shape.len())));
    }
    for (name, pair) in [("window", kernel), ("stride", stride), ("dilation", dilation)] {
        if pair.contains(&0) {
            fail(complain(format!("expected a {name} of at least 1, found {pair:?}")));
        }
    }
    let (batch, input) = shape.split_at(shape.len() - 2);
    let input = [input[0], input[1]];
    let extent = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
    if (0..2).any(|axis| padding[axis] > extent[axis] / 2) {
        fail(complain(format!("expected a padding of at most half a window of {extent:?}, found {padding:?}")));
    }
    let mut output = [0; 2];
    // A loop, not a closure: an error blames the line that called a function, of which a closure knows nothing.
    for (axis, output) in output.iter_mut().enumerate() {
        let size = output_size(input[axis], kernel[axis], stride[axis], padding[axis], dilation[axis], ceil_mode);
        let Some(size) = size else {
            fail(complain(format!("a window of {extent:?} is larger than the image with a padding of {padding:?}")))
        };
        *output = size;
    }
    let planes = batch.iter().product();
    let mut y = Shape::new(shape);
    y[batch.len()..].copy_from_slice(&output);
    (Pool2d { planes, input, output, kernel, stride, padding, dilation }, y)
}

/// The largest element of each window: `[.., height, width] -> [.., out height, out width]`.
///
/// `out = (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down, or up with `ceil_mode`. NaN beats every
/// number. The gradient goes to the first of equal elements.
///
/// ```
/// use wengert::{Tensor, ops};
/// let x = Tensor::from([[1.0_f32, 5.0, 2.0, 0.0], [3.0, 4.0, 1.0, 7.0]]);
/// assert_eq!(ops::max_pool2d(&x, 2, Default::default()).to_vec(), [5.0, 7.0]);
/// ```
///
/// # Panics
/// When there are fewer than two dimensions, a size or step is 0, the padding exceeds half a window, or a window is larger
/// than the padded image.
#[track_caller]
pub fn max_pool2d<T: Float>(x: &Tensor<T>, kernel: impl Into<Pair>, options: MaxPool2dOptions) -> Tensor<T> {
    max_pool2d_of(x, kernel.into(), options)
}

#[inline(never)]
#[track_caller]
pub(crate) fn max_pool2d_of<T: Float>(x: &Tensor<T>, kernel: Pair, options: MaxPool2dOptions) -> Tensor<T> {
    let (p, shape) = sizes("max_pool2d", x.shape(), kernel.0, options);
    let packed = x.packed();
    if !is_tracked(&[x]) {
        return Tensor::build(shape, |y| max::forward(&p, packed.elements(), y));
    }
    // The places count up to the number of taps.
    if p.taps() <= u8::MAX as usize {
        max_recorded::<T, u8>(x, &packed, p, shape)
    } else {
        max_recorded::<T, i64>(x, &packed, p, shape)
    }
}

#[track_caller]
fn max_recorded<T: Float, I: Element>(x: &Tensor<T>, packed: &Tensor<T>, p: Pool2d, shape: Shape) -> Tensor<T> {
    let mut places = Tensor::full((), I::default());
    let y = Tensor::build(shape, |y| {
        places = Tensor::build(shape, |places| max::forward_places(&p, packed.elements(), y, places));
    });
    let input = x.dims();
    record_op("max_pool2d", y, [x], || move |pull: Pull<T>| [Some(max_pool2d_grad(&pull.grad, &places, p, input))])
}

/// The gradient of the windows put where their maxima came from. Linear in `grad`, with [`max_pool2d_take`] as its adjoint.
#[track_caller]
pub(super) fn max_pool2d_grad<T: Float, I: Element>(
    grad: &Tensor<T>,
    places: &Tensor<I>,
    p: Pool2d,
    input: Shape,
) -> Tensor<T> {
    let packed = grad.packed();
    let dx = Tensor::build(input, |dx| max::scatter(&p, packed.elements(), places.elements(), dx));
    record_op("max_pool2d_grad", dx, [grad], || {
        let places = places.clone();
        move |pull: Pull<T>| [Some(max_pool2d_take(&pull.grad, &places, p))]
    })
}

/// One element for each window, from where its maximum came.
#[track_caller]
fn max_pool2d_take<T: Float, I: Element>(x: &Tensor<T>, places: &Tensor<I>, p: Pool2d) -> Tensor<T> {
    let packed = x.packed();
    let y = Tensor::build(places.dims(), |y| max::gather(&p, packed.elements(), places.elements(), y));
    record_op("max_pool2d_take", y, [x], || {
        let (places, input) = (places.clone(), x.dims());
        move |pull: Pull<T>| [Some(max_pool2d_grad(&pull.grad, &places, p, input))]
    })
}

/// The mean of each window: `[.., height, width] -> [.., out height, out width]`.
///
/// `out = (size + 2 padding - kernel) / stride + 1`, rounded down, or up with `ceil_mode`. `dx = dy / count` for every element
/// of a window.
///
/// ```
/// use wengert::{Tensor, ops};
/// let x = Tensor::from([[1.0_f32, 5.0, 2.0, 0.0], [3.0, 4.0, 1.0, 7.0]]);
/// assert_eq!(ops::avg_pool2d(&x, [1, 2], Default::default()).to_vec(), [3.0, 1.0, 3.5, 4.0]);
/// ```
///
/// # Panics
/// As [`max_pool2d`].
#[track_caller]
pub fn avg_pool2d<T: Float>(x: &Tensor<T>, kernel: impl Into<Pair>, options: AvgPool2dOptions) -> Tensor<T> {
    avg_pool2d_of(x, kernel.into(), options)
}

#[inline(never)]
#[track_caller]
pub(crate) fn avg_pool2d_of<T: Float>(x: &Tensor<T>, kernel: Pair, options: AvgPool2dOptions) -> Tensor<T> {
    let AvgPool2dOptions { stride, padding, ceil_mode, count_include_pad } = options;
    let windows = MaxPool2dOptions { stride, padding, ceil_mode, ..Default::default() };
    let (p, shape) = sizes("avg_pool2d", x.shape(), kernel.0, windows);
    average(x, Average { p, count_include_pad, input: x.dims(), output: shape })
}

/// An average pooling whose sizes are known to fit.
#[derive(Clone, Copy)]
struct Average {
    p: Pool2d,
    count_include_pad: bool,
    input: Shape,
    output: Shape,
}

#[track_caller]
fn average<T: Float>(x: &Tensor<T>, pool: Average) -> Tensor<T> {
    let packed = x.packed();
    let y = Tensor::build(pool.output, |y| average::forward(&pool.p, pool.count_include_pad, packed.elements(), y));
    record_op("avg_pool2d", y, [x], || move |pull: Pull<T>| [Some(avg_pool2d_grad(&pull.grad, pool))])
}

/// The gradient of the windows spread over their elements. Linear, with the pooling itself as its adjoint.
#[track_caller]
fn avg_pool2d_grad<T: Float>(grad: &Tensor<T>, pool: Average) -> Tensor<T> {
    let packed = grad.packed();
    let dx = Tensor::build(pool.input, |dx| average::backward(&pool.p, pool.count_include_pad, packed.elements(), dx));
    record_op("avg_pool2d_grad", dx, [grad], || move |pull: Pull<T>| [Some(average(&pull.grad, pool))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck, record};
    use crate::kernels::testing::noise;

    fn input(shape: &[usize]) -> Tensor<f64> {
        Tensor::from_vec(noise(shape.iter().product(), 5), shape)
    }

    /// Images as they come: contiguous, transposed, every second one, repeated, without a batch, none at all.
    fn views() -> Vec<Tensor<f64>> {
        vec![
            input(&[2, 3, 6, 7]),
            input(&[2, 7, 6, 3]).transpose(1, 3),
            input(&[4, 2, 6, 5]).slice(0, 0, 4, 2).slice(3, 1, 5, 1),
            input(&[1, 1, 5, 6]).expand([2, 3, 5, 6]),
            input(&[5, 5]),
            input(&[0, 2, 4, 4]),
        ]
    }

    #[track_caller]
    fn check(f: impl Fn(&Tensor<f64>) -> Tensor<f64>) {
        for x in views() {
            let y = |x: &[Tensor<f64>]| f(&x[0]).square() * 0.5;
            assert_eq!(f(&x).to_vec(), f(&x.contiguous()).to_vec());
            gradcheck(y, std::slice::from_ref(&x)).unwrap();
            gradgradcheck(y, &[x]).unwrap();
        }
    }

    #[test]
    fn max_pooling_differentiates_twice_on_every_view() {
        check(|x| max_pool2d(x, 2, MaxPool2dOptions::default()));
        let options = MaxPool2dOptions { stride: Some([1, 2]), padding: [1, 0], ceil_mode: true, ..Default::default() };
        check(|x| max_pool2d(x, [3, 2], options));
        check(|x| max_pool2d(x, 2, MaxPool2dOptions { dilation: [2, 1], padding: [1, 1], ..Default::default() }));
        // More taps than a byte counts.
        let options = MaxPool2dOptions { stride: Some([1, 1]), ..Default::default() };
        let x = input(&[2, 17, 18]);
        gradgradcheck(|x| max_pool2d(&x[0], 16, options).tanh(), &[x]).unwrap();
    }

    #[test]
    fn average_pooling_differentiates_twice_on_every_view() {
        check(|x| avg_pool2d(x, 2, AvgPool2dOptions::default()));
        for count_include_pad in [false, true] {
            let options =
                AvgPool2dOptions { stride: Some([2, 1]), padding: [1, 1], ceil_mode: true, count_include_pad };
            check(|x| avg_pool2d(x, [3, 2], options));
        }
    }

    #[test]
    fn recording_changes_no_value() {
        let x = input(&[3, 9, 11]);
        let plain = max_pool2d(&x, 3, MaxPool2dOptions { stride: Some([2, 2]), ..Default::default() });
        let recorded =
            record(|| max_pool2d(&x.tracked(), 3, MaxPool2dOptions { stride: Some([2, 2]), ..Default::default() }));
        assert_eq!(plain.to_vec(), recorded.to_vec());
    }

    #[track_caller]
    fn refuses(message: &str, f: impl FnOnce() -> Tensor<f64>) {
        let failure = crate::shape::catch(f).map(|y| y.dims()).map_err(|failure| failure.0);
        assert_eq!(failure.unwrap_err(), message);
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let x = input(&[1, 3, 4]);
        let max = |kernel: [usize; 2], options| max_pool2d(&x, kernel, options);
        let none = MaxPool2dOptions::default();
        refuses("max_pool2d: [1, 3, 4]: a window of [4, 2] is larger than the image with a padding of [0, 0]", || {
            max([4, 2], none)
        });
        refuses("max_pool2d: [1, 3, 4]: expected a padding of at most half a window of [2, 3], found [0, 2]", || {
            max([2, 3], MaxPool2dOptions { padding: [0, 2], ..none })
        });
        refuses("max_pool2d: [1, 3, 4]: expected a stride of at least 1, found [0, 1]", || {
            max([2, 2], MaxPool2dOptions { stride: Some([0, 1]), ..none })
        });
        refuses("avg_pool2d: [1, 3, 4]: expected a window of at least 1, found [0, 0]", || {
            avg_pool2d(&x, 0, AvgPool2dOptions::default())
        });
        refuses("avg_pool2d: [4]: expected [.., height, width], found 1 dimensions", || {
            avg_pool2d(&input(&[4]), 2, AvgPool2dOptions::default())
        });
    }
}
