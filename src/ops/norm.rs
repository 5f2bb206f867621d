//! Batch norm and layer norm.

use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::norm::batch::{self, Affine, Batch};
use crate::kernels::norm::layer;
use crate::shape::{Shape, ensure, fail};
use crate::tensor::Tensor;

/// What [`batch_norm`] and [`instance_norm`](super::instance_norm) give.
pub struct BatchNormed<T: Float> {
    /// The normalized values, in the input's shape.
    pub output: Tensor<T>,
    /// The mean of each channel, `[channels]`, of instance norm `[batch, channels]`; a constant.
    pub mean: Tensor<T>,
    /// The variance of each channel (the population's: without Bessel's correction), of the same shape; a constant.
    pub var: Tensor<T>,
}

/// The sizes of an input `[batch, channels, ..]`.
#[track_caller]
fn sizes<T: Float>(x: &Tensor<T>, parameters: &[(&str, Option<&Tensor<T>>)]) -> Batch {
    let shape = x.shape();
    if shape.len() < 2 {
        fail(format!("batch_norm: {shape:?}: expected [batch, channels, ..], found {} dimensions", shape.len()));
    }
    for (name, parameter) in parameters {
        if let Some(p) = parameter {
            ensure(p.shape() == [shape[1]], || {
                format!("batch_norm: {shape:?}: expected a {name} of [{}], found {:?}", shape[1], p.shape())
            });
        }
    }
    Batch { examples: shape[0], channels: shape[1], length: shape[2..].iter().product() }
}

/// A batch of vectors as one example: `[batch, channels] -> [1, channels, batch]`. Each channel is then one row, which is what
/// the kernel is good at.
#[track_caller]
fn columns<T: Float>(x: &Tensor<T>, sizes: Batch) -> Option<Tensor<T>> {
    let vectors = sizes.length == 1 && sizes.examples > 1;
    vectors.then(|| x.reshape([sizes.examples, sizes.channels]).t().unsqueeze(0))
}

/// The way back, to the shape of `x`.
#[track_caller]
fn uncolumns<T: Float>(y: &Tensor<T>, x: &Tensor<T>) -> Tensor<T> {
    y.squeeze(0).t().contiguous().reshape(x.dims())
}

/// `[channels]` in the shape that broadcasts to `[batch, channels, ..]`.
#[track_caller]
pub(super) fn along<T: Float>(channels: &Tensor<T>, rank: usize) -> Tensor<T> {
    let mut shape = vec![1; rank];
    shape[1] = channels.numel();
    channels.reshape(&shape[..])
}

/// All dimensions but the channels.
pub(super) fn others(rank: usize) -> Vec<isize> {
    (0..rank as isize).filter(|&dim| dim != 1).collect()
}

/// `x^ = (x - mean) / sqrt(var + eps)` and `1 / sqrt(var + eps)` over `dims`, in operations that are recorded.
#[track_caller]
pub(super) fn standardized<T: Float>(x: &Tensor<T>, dims: &[isize], eps: f64) -> (Tensor<T>, Tensor<T>) {
    let centred = x - x.mean_dim(dims, true);
    let rstd = (centred.square().mean_dim(dims, true) + T::of(eps)).rsqrt();
    (centred * &rstd, rstd)
}

/// The gradient of `x` for that of `x^`, but for the factor `1 / sqrt(var + eps)`: `g - mean(g) - x^ mean(g x^)`.
#[track_caller]
pub(super) fn unstandardized<T: Float>(g: &Tensor<T>, hat: &Tensor<T>, dims: &[isize]) -> Tensor<T> {
    g - g.mean_dim(dims, true) - hat * (g * hat).mean_dim(dims, true)
}

/// A tensor that a kernel is about to write, every element.
pub(super) fn unwritten<T: Float>(shape: impl Into<Shape>) -> Tensor<T> {
    Tensor::build(shape, |_| ())
}

/// The normalization of a batch, with what its gradients need.
struct Saved<T: Float> {
    x: Tensor<T>,
    weight: Option<Tensor<T>>,
    mean: Tensor<f64>,
    var: Tensor<f64>,
    eps: f64,
    /// Whether mean and variance are the batch's own.
    own: bool,
}

impl<T: Float> Saved<T> {
    fn pull(&self, pull: Pull<T>) -> [Option<Tensor<T>>; 3] {
        if is_recording() { self.recordable(&pull) } else { self.fused(&pull) }
    }

    fn fused(&self, pull: &Pull<T>) -> [Option<Tensor<T>>; 3] {
        let (x, grad, sizes) = (self.x.packed(), pull.grad.packed(), sizes(&self.x, &[]));
        let weight = self.weight.as_ref().map(Tensor::packed);
        let affine = Affine { weight: weight.as_ref().map(Tensor::elements), bias: None, eps: self.eps };
        let statistics = [self.mean.elements(), self.var.elements()];
        let mut dx = pull.needs(0).then(|| unwritten(x.dims()));
        let (mut dw, mut db) = (unwritten(sizes.channels), unwritten(sizes.channels));
        let both = [x.elements(), grad.elements()];
        let parameters = [dw.make_mut(), db.make_mut()];
        batch::backward(sizes, self.own, both, affine, statistics, dx.as_mut().map(Tensor::make_mut), parameters);
        [dx, Some(dw), Some(db)]
    }

    /// The same in operations that are recorded.
    #[track_caller]
    fn recordable(&self, pull: &Pull<T>) -> [Option<Tensor<T>>; 3] {
        let (x, grad, rank) = (&self.x, &pull.grad, self.x.rank());
        let dims = &others(rank)[..];
        let (hat, rstd) = if self.own {
            standardized(x, dims, self.eps)
        } else {
            let rstd = (along(&self.var.cast::<T>(), rank) + T::of(self.eps)).rsqrt();
            ((x - along(&self.mean.cast::<T>(), rank)) * &rstd, rstd)
        };
        let dx = pull.needs(0).then(|| {
            let scale = match &self.weight {
                Some(weight) => &rstd * along(weight, rank),
                None => rstd.clone(),
            };
            if self.own { unstandardized(grad, &hat, dims) * scale } else { grad * scale }
        });
        let dw = pull.needs(1).then(|| (grad * &hat).sum_dim(dims, false));
        [dx, dw, pull.when(2, |grad| grad.sum_dim(dims, false))]
    }
}

/// Batch norm in training: every channel of `x [batch, channels, ..]` is normalized by the mean and the variance that it has
/// in this batch, `y = (x - mean) / sqrt(var + eps) weight + bias` (Ioffe and Szegedy, 2015, algorithm 1).
///
/// `weight` and `bias` are `[channels]`. With `x^ = (x - mean) / sqrt(var + eps)`, and means over all but the channels,
/// `dx = weight / sqrt(var + eps) (dy - mean(dy) - x^ mean(dy x^))`, `dweight = sum dy x^`, `dbias = sum dy`.
///
/// ```
/// use wengert::{Tensor, ops};
/// let x = Tensor::from([[1.0_f32, 10.0], [3.0, 10.0]]);
/// let normed = ops::batch_norm(&x, None, None, 1e-12);
/// assert_eq!(normed.mean.to_vec(), [2.0, 10.0]);
/// assert_eq!(normed.var.to_vec(), [1.0, 0.0]);
/// ```
///
/// # Panics
/// When there are fewer than two dimensions, there is one value per channel or none, or a parameter is not `[channels]`.
#[track_caller]
#[inline(never)]
pub fn batch_norm<T: Float>(
    x: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> BatchNormed<T> {
    let sizes = sizes(x, &[("weight", weight), ("bias", bias)]);
    ensure(sizes.count() > 1, || {
        let count = sizes.count();
        format!("batch_norm: {:?}: expected more than one value per channel in training, found {count}", x.shape())
    });
    if let Some(x_columns) = columns(x, sizes) {
        let normed = batch_norm(&x_columns, weight, bias, eps);
        return BatchNormed { output: uncolumns(&normed.output, x), ..normed };
    }
    let (mut mean, mut var) = (unwritten::<f64>(sizes.channels), unwritten::<f64>(sizes.channels));
    let output = with_affine(x, weight, bias, eps, |x, affine, y| {
        batch::forward(sizes, x, affine, y, [mean.make_mut(), var.make_mut()]);
    });
    let statistics = [mean.cast(), var.cast()];
    let output = recorded(output, x, weight, bias, || Saved {
        x: x.clone(),
        weight: weight.cloned(),
        mean,
        var,
        eps,
        own: true,
    });
    let [mean, var] = statistics;
    BatchNormed { output, mean, var }
}

/// Batch norm in evaluation: every channel of `x [batch, channels, ..]` is normalized by a given mean and variance,
/// `y = (x - mean) / sqrt(var + eps) weight + bias`. All parameters are `[channels]`; `mean` and `var` are constants.
///
/// # Panics
/// When there are fewer than two dimensions, or a parameter is not `[channels]`.
#[track_caller]
#[inline(never)]
pub fn batch_norm_with<T: Float>(
    x: &Tensor<T>,
    mean: &Tensor<T>,
    var: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> Tensor<T> {
    let sizes = sizes(x, &[("weight", weight), ("bias", bias), ("mean", Some(mean)), ("variance", Some(var))]);
    if let Some(x_columns) = columns(x, sizes) {
        return uncolumns(&batch_norm_with(&x_columns, mean, var, weight, bias, eps), x);
    }
    let (mean, var) = (mean.map_to(|x| x.to_f64()), var.map_to(|x| x.to_f64()));
    let output = with_affine(x, weight, bias, eps, |x, affine, y| {
        batch::forward_with(sizes, x, affine, [mean.elements(), var.elements()], y);
    });
    recorded(output, x, weight, bias, || Saved { x: x.clone(), weight: weight.cloned(), mean, var, eps, own: false })
}

/// Builds an output in the shape of `x` from the packed operands.
pub(super) fn with_affine<T: Float>(
    x: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
    fill: impl FnOnce(&[T], Affine<T>, &mut [T]),
) -> Tensor<T> {
    let (x, weight, bias) = (x.packed(), weight.map(Tensor::packed), bias.map(Tensor::packed));
    let [weight, bias] = [&weight, &bias].map(|p| p.as_ref().map(Tensor::elements));
    Tensor::build(x.dims(), |y| fill(x.elements(), Affine { weight, bias, eps }, y))
}

#[track_caller]
fn recorded<T: Float>(
    y: Tensor<T>,
    x: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    saved: impl FnOnce() -> Saved<T>,
) -> Tensor<T> {
    // A parameter that is missing has an untracked scalar in its place.
    let none = Tensor::scalar(T::ZERO);
    record_op("batch_norm", y, [x, weight.unwrap_or(&none), bias.unwrap_or(&none)], || {
        let saved = saved();
        move |pull: Pull<T>| saved.pull(pull)
    })
}

/// Layer norm over the last dimensions of `x [.., shape]`: every example is normalized by its own mean and variance,
/// `y = (x - mean) / sqrt(var + eps) weight + bias` (Ba, Kiros, Hinton, 2016).
///
/// `weight` and `bias` have the normalized `shape`. With `x^ = (x - mean) / sqrt(var + eps)`, `g = dy weight`, and means over
/// the normalized dimensions, `dx = (g - mean(g) - x^ mean(g x^)) / sqrt(var + eps)`, `dweight = sum dy x^`, `dbias = sum dy`.
///
/// ```
/// use wengert::{Tensor, ops};
/// let x = Tensor::from([[1.0_f32, 3.0], [10.0, 20.0]]);
/// let y = ops::layer_norm(&x, [2], None, None, 1e-12);
/// assert!(y.to_vec().iter().zip([-1.0, 1.0, -1.0, 1.0]).all(|(y, expected)| (y - expected).abs() < 1e-6));
/// ```
///
/// # Panics
/// When the input does not end in `shape`, `shape` has no dimension, or a parameter has another shape.
#[track_caller]
pub fn layer_norm<T: Float>(
    x: &Tensor<T>,
    shape: impl Into<Shape>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> Tensor<T> {
    layer_norm_over(x, shape.into(), weight, bias, eps)
}

#[inline(never)]
#[track_caller]
pub(crate) fn layer_norm_over<T: Float>(
    x: &Tensor<T>,
    shape: Shape,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> Tensor<T> {
    ensure(shape.rank() > 0 && x.shape().ends_with(&shape), || {
        format!("layer_norm: {:?}: expected an input that ends in {shape}", x.shape())
    });
    for (name, parameter) in [("weight", weight), ("bias", bias)] {
        if let Some(p) = parameter {
            ensure(p.dims() == shape, || {
                format!("layer_norm: {:?}: expected a {name} of {shape}, found {:?}", x.shape(), p.shape())
            });
        }
    }
    let lead = x.rank() - shape.rank();
    let sizes = [x.shape()[..lead].iter().product(), shape.numel()];
    let (packed, weight_packed, bias_packed) = (x.packed(), weight.map(Tensor::packed), bias.map(Tensor::packed));
    let mut statistics = unwritten([sizes[0], 3]);
    let y = Tensor::build(x.dims(), |y| {
        let affine = [&weight_packed, &bias_packed].map(|p| p.as_ref().map(Tensor::elements));
        layer::forward(sizes, packed.elements(), affine, eps, y, statistics.make_mut().as_chunks_mut().0);
    });
    let none = Tensor::scalar(T::ZERO);
    record_op("layer_norm", y, [x, weight.unwrap_or(&none), bias.unwrap_or(&none)], || {
        let (x, weight) = (x.clone(), weight.cloned());
        move |pull: Pull<T>| {
            if is_recording() {
                return layer_norm_recordable(&x, &shape, weight.as_ref(), eps, &pull);
            }
            let (packed, grad, weight) = (x.packed(), pull.grad.packed(), weight.as_ref().map(Tensor::packed));
            let mut dx = pull.needs(0).then(|| unwritten(x.dims()));
            let mut parameters = (pull.needs(1) || pull.needs(2)).then(|| unwritten(shape.with(0, 2)));
            layer::backward(
                sizes,
                [packed.elements(), grad.elements()],
                weight.as_ref().map(Tensor::elements),
                statistics.elements().as_chunks().0,
                dx.as_mut().map(Tensor::make_mut),
                parameters.as_mut().map(Tensor::make_mut),
            );
            let part = |i: isize| parameters.as_ref().map(|both| both.select(0, i));
            [dx, part(0), part(1)]
        }
    })
}

/// The gradients of [`layer_norm`] in operations that are recorded.
#[track_caller]
fn layer_norm_recordable<T: Float>(
    x: &Tensor<T>,
    shape: &Shape,
    weight: Option<&Tensor<T>>,
    eps: f64,
    pull: &Pull<T>,
) -> [Option<Tensor<T>>; 3] {
    let (rank, inner) = (x.rank() as isize, shape.rank() as isize);
    let normed: Vec<isize> = (rank - inner..rank).collect();
    let normed = &normed[..];
    let (hat, rstd) = standardized(x, normed, eps);
    let dx = pull.when(0, |grad| {
        let g = weight.map_or_else(|| grad.clone(), |weight| grad * weight);
        unstandardized(&g, &hat, normed) * &rstd
    });
    let dw = pull.when(1, |grad| (grad * &hat).sum_to(*shape));
    [dx, dw, pull.when(2, |grad| grad.sum_to(*shape))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck};
    use crate::kernels::testing::noise;

    const EPS: f64 = 1e-3;

    fn input(shape: &[usize], seed: u64) -> Tensor<f64> {
        Tensor::from_vec(noise(shape.iter().product(), seed), shape)
    }

    /// Inputs `[batch, 3, ..]`: contiguous, transposed, sliced, repeated, without a length, none at all.
    fn views() -> Vec<Tensor<f64>> {
        vec![
            input(&[4, 3, 2, 5], 1),
            input(&[5, 3, 4], 1).transpose(0, 2),
            input(&[4, 6, 3], 1).slice(1, 0, 6, 2),
            input(&[4, 3, 1], 1).expand([4, 3, 5]),
            input(&[6, 3], 1),
            input(&[3, 6], 1).t(),
        ]
    }

    #[track_caller]
    fn check(f: impl Fn(&[Tensor<f64>]) -> Tensor<f64>, inputs: &[Tensor<f64>]) {
        let packed: Vec<_> = inputs.iter().map(Tensor::contiguous).collect();
        assert_eq!(f(inputs).to_vec(), f(&packed).to_vec());
        let square = |x: &[Tensor<f64>]| f(x).square();
        gradcheck(square, inputs).unwrap();
        gradgradcheck(square, inputs).unwrap();
    }

    #[test]
    fn batch_norm_differentiates_twice_on_every_view() {
        let (weight, bias) = (input(&[3], 2), input(&[6], 3).slice(0, 0, 6, 2));
        for x in views() {
            check(
                |x| batch_norm(&x[0], Some(&x[1]), Some(&x[2]), EPS).output,
                &[x.clone(), weight.clone(), bias.clone()],
            );
            check(|x| batch_norm(&x[0], None, None, EPS).output, &[x]);
        }
    }

    #[test]
    fn batch_norm_in_evaluation_differentiates_twice_on_every_view() {
        let (weight, bias) = (input(&[3], 2), input(&[6], 3).slice(0, 0, 6, 2));
        let (mean, var) = (input(&[3], 4), input(&[3], 5).square());
        for x in views().into_iter().chain([input(&[0, 3, 2], 1), input(&[1, 3], 1)]) {
            let f = |x: &[Tensor<f64>]| batch_norm_with(&x[0], &mean, &var, Some(&x[1]), Some(&x[2]), EPS);
            check(f, &[x.clone(), weight.clone(), bias.clone()]);
            check(|x| batch_norm_with(&x[0], &mean, &var, None, None, EPS), &[x]);
        }
    }

    #[test]
    fn layer_norm_differentiates_twice_on_every_view() {
        for x in views().into_iter().chain([input(&[0, 3], 1)]) {
            for inner in 1..=x.rank().min(2) {
                let shape = Shape::new(&x.shape()[x.rank() - inner..]);
                let (weight, bias) = (input(&shape, 2), input(&shape, 3));
                let f = |x: &[Tensor<f64>]| layer_norm(&x[0], shape, Some(&x[1]), Some(&x[2]), EPS);
                check(f, &[x.clone(), weight, bias]);
                check(|x| layer_norm(&x[0], shape, None, None, EPS), std::slice::from_ref(&x));
            }
        }
    }

    #[test]
    fn only_the_gradients_that_are_wanted_are_given() {
        let (x, weight) = (input(&[4, 3], 1), input(&[3], 2));
        check(|w| batch_norm(&x, Some(&w[0]), None, EPS).output, std::slice::from_ref(&weight));
        check(|b| batch_norm(&x, None, Some(&b[0]), EPS).output, std::slice::from_ref(&weight));
        check(|w| layer_norm(&x, 3, Some(&w[0]), None, EPS), std::slice::from_ref(&weight));
        check(|b| layer_norm(&x, 3, None, Some(&b[0]), EPS), &[weight]);
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let refused = |f: &dyn Fn() -> Tensor<f64>| crate::shape::catch(f).map(|y| y.dims()).unwrap_err().0;
        let (x, two) = (input(&[1, 3], 1), input(&[2], 1));
        assert_eq!(
            refused(&|| batch_norm(&x, None, None, EPS).output),
            "batch_norm: [1, 3]: expected more than one value per channel in training, found 1"
        );
        assert_eq!(
            refused(&|| batch_norm(&input(&[4, 3], 1), Some(&two), None, EPS).output),
            "batch_norm: [4, 3]: expected a weight of [3], found [2]"
        );
        assert_eq!(
            refused(&|| batch_norm_with(&two, &two, &two, None, None, EPS)),
            "batch_norm: [2]: expected [batch, channels, ..], found 1 dimensions"
        );
        assert_eq!(
            refused(&|| layer_norm(&x, 2, None, None, EPS)),
            "layer_norm: [1, 3]: expected an input that ends in [2]"
        );
        assert_eq!(
            refused(&|| layer_norm(&x, 3, None, Some(&two), EPS)),
            "layer_norm: [1, 3]: expected a bias of [3], found [2]"
        );
    }
}
