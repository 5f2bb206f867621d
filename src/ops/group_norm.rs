//! Norms over parts of each example: instance norm and group norm.

use super::norm::{
    BatchNormed, along, batch_norm, layer_norm_over, others, standardized, unstandardized, unwritten, with_affine,
};
use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::norm::batch::Affine;
use crate::kernels::norm::group::{self, Groups};
use crate::shape::{Shape, ensure};
use crate::tensor::Tensor;

/// Channels with fewer values each would be loops of their own: a layer norm and two broadcasts are faster.
const SHORT: usize = 4;

/// Checks an input `[batch, channels, ..]` and parameters `[channels]`; gives `[batch, channels, values of a channel]`.
#[track_caller]
fn sizes<T: Float>(op: &str, x: &Tensor<T>, weight: Option<&Tensor<T>>, bias: Option<&Tensor<T>>) -> [usize; 3] {
    let shape = x.shape();
    ensure(shape.len() >= 2, || {
        format!("{op}: {shape:?}: expected [batch, channels, ..], found {} dimensions", shape.len())
    });
    for (name, parameter) in [("weight", weight), ("bias", bias)] {
        if let Some(p) = parameter {
            ensure(p.shape() == [shape[1]], || {
                format!("{op}: {shape:?}: expected a {name} of [{}], found {:?}", shape[1], p.shape())
            });
        }
    }
    [shape[0], shape[1], shape[2..].iter().product()]
}

/// Instance norm: every channel of every example of `x [batch, channels, ..]` is normalized by its own mean and variance,
/// `y = (x - mean) / sqrt(var + eps) weight + bias` (Ulyanov, Vedaldi, Lempitsky, 2016).
///
/// `weight` and `bias` are `[channels]`; the mean and the variance that come with the output are `[batch, channels]`. Gradients
/// are those of [`batch_norm`], to which the channels of all examples are those of one.
///
/// ```
/// use wengert::{Tensor, ops};
/// let x = Tensor::from([[[1.0_f32, 3.0], [10.0, 20.0]]]);
/// let normed = ops::instance_norm(&x, None, None, 1e-12);
/// assert_eq!(normed.mean.to_vec(), [2.0, 15.0]);
/// assert_eq!(normed.var.to_vec(), [1.0, 25.0]);
/// ```
///
/// # Panics
/// When there are fewer than two dimensions, an example has one value per channel or none, or a parameter is not `[channels]`.
#[track_caller]
#[inline(never)]
pub fn instance_norm<T: Float>(
    x: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> BatchNormed<T> {
    let [batch, channels, length] = sizes("instance_norm", x, weight, bias);
    ensure(length > 1, || {
        format!(
            "instance_norm: {:?}: expected more than one value per channel of an example, found {length}",
            x.shape()
        )
    });
    let all = batch * channels;
    let each = |p: &Tensor<T>| p.expand([batch, channels]).reshape([all]);
    let (weight, bias) = (weight.map(each), bias.map(each));
    let normed = batch_norm(&x.reshape([1, all, length]), weight.as_ref(), bias.as_ref(), eps);
    let [mean, var] = [normed.mean, normed.var].map(|statistic| statistic.reshape([batch, channels]));
    BatchNormed { output: normed.output.reshape(x.dims()), mean, var }
}

/// Group norm: the channels of every example of `x [batch, channels, ..]` are split in groups, and each group is normalized by
/// its own mean and variance, `y = (x - mean) / sqrt(var + eps) weight + bias` (Wu and He, 2018).
///
/// `weight` and `bias` are `[channels]`. With `x^ = (x - mean) / sqrt(var + eps)`, `g = dy weight`, and means over the group,
/// `dx = (g - mean(g) - x^ mean(g x^)) / sqrt(var + eps)`, `dweight = sum dy x^`, `dbias = sum dy`.
///
/// ```
/// use wengert::{Tensor, ops};
/// let x = Tensor::from([[1.0_f32, 3.0, 10.0, 20.0]]);
/// let y = ops::group_norm(&x, 2, None, None, 1e-12);
/// assert!(y.to_vec().iter().zip([-1.0, 1.0, -1.0, 1.0]).all(|(y, expected)| (y - expected).abs() < 1e-6));
/// ```
///
/// # Panics
/// When there are fewer than two dimensions, there is no group, the groups do not divide the channels, or a parameter is not
/// `[channels]`.
#[track_caller]
#[inline(never)]
pub fn group_norm<T: Float>(
    x: &Tensor<T>,
    groups: usize,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    eps: f64,
) -> Tensor<T> {
    let [batch, channels, length] = sizes("group_norm", x, weight, bias);
    ensure(groups > 0, || format!("group_norm: {:?}: expected at least one group, found 0", x.shape()));
    ensure(channels.is_multiple_of(groups), || {
        format!("group_norm: {:?}: expected a multiple of {groups} groups of channels, found {channels}", x.shape())
    });
    if length < SHORT {
        let size = channels / groups * length;
        let normed = layer_norm_over(&x.reshape([batch * groups, size]), Shape::new(&[size]), None, None, eps);
        let mut y = normed.reshape(x.dims());
        if let Some(weight) = weight {
            y = y * along(weight, x.rank());
        }
        if let Some(bias) = bias {
            y = y + along(bias, x.rank());
        }
        return y;
    }
    let sizes = Groups { examples: batch, groups, channels: channels / groups, length };
    let (mut mean, mut var) = (unwritten::<f64>([batch, groups]), unwritten::<f64>([batch, groups]));
    let y = with_affine(x, weight, bias, eps, |x, affine, y| {
        group::forward(sizes, x, affine, y, [mean.make_mut(), var.make_mut()]);
    });
    let none = Tensor::scalar(T::ZERO);
    record_op("group_norm", y, [x, weight.unwrap_or(&none), bias.unwrap_or(&none)], || {
        let (x, weight) = (x.clone(), weight.cloned());
        move |pull: Pull<T>| {
            if is_recording() {
                return recordable(&x, sizes, weight.as_ref(), eps, &pull);
            }
            let (packed, grad, weight) = (x.packed(), pull.grad.packed(), weight.as_ref().map(Tensor::packed));
            let affine = Affine { weight: weight.as_ref().map(Tensor::elements), bias: None, eps };
            let mut dx = pull.needs(0).then(|| unwritten(x.dims()));
            let (mut dw, mut db) = (unwritten(channels), unwritten(channels));
            group::backward(
                sizes,
                [packed.elements(), grad.elements()],
                affine,
                [mean.elements(), var.elements()],
                dx.as_mut().map(Tensor::make_mut),
                [dw.make_mut(), db.make_mut()],
            );
            [dx, Some(dw), Some(db)]
        }
    })
}

/// The gradients of [`group_norm`] in operations that are recorded.
#[track_caller]
fn recordable<T: Float>(
    x: &Tensor<T>,
    sizes: Groups,
    weight: Option<&Tensor<T>>,
    eps: f64,
    pull: &Pull<T>,
) -> [Option<Tensor<T>>; 3] {
    let grouped = |x: &Tensor<T>| x.reshape([sizes.examples, sizes.groups, sizes.channels * sizes.length]);
    let (hat, rstd) = standardized(&grouped(x), &[2], eps);
    let others = &others(x.rank())[..];
    let dx = pull.when(0, |grad| {
        let g = weight.map_or_else(|| grad.clone(), |weight| grad * along(weight, x.rank()));
        (unstandardized(&grouped(&g), &hat, &[2]) * rstd).reshape(x.dims())
    });
    let dw = pull.when(1, |grad| (grad * hat.reshape(x.dims())).sum_dim(others, false));
    [dx, dw, pull.when(2, |grad| grad.sum_dim(others, false))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck};
    use crate::kernels::testing::noise;
    use std::slice::from_ref;

    fn input(shape: &[usize], seed: u64) -> Tensor<f64> {
        Tensor::from_vec(noise(shape.iter().product(), seed), shape)
    }

    #[track_caller]
    fn assert_near(found: &Tensor<f64>, expected: &Tensor<f64>) {
        assert_eq!(found.shape(), expected.shape());
        assert!(
            (found - expected).abs().max().item() < 1e-12,
            "{:?}, expected {:?}",
            found.to_vec(),
            expected.to_vec()
        );
    }

    #[test]
    fn an_instance_is_a_group_of_one_channel_and_a_batch_of_one() {
        let (x, weight, bias) = (input(&[3, 4, 2, 5], 1), input(&[4], 2), input(&[4], 3));
        let all = instance_norm(&x, Some(&weight), Some(&bias), 1e-3);
        assert_near(&all.output, &group_norm(&x, 4, Some(&weight), Some(&bias), 1e-3));
        for i in 0..3 {
            let alone = batch_norm(&x.narrow(0, i, 1), Some(&weight), Some(&bias), 1e-3);
            assert_near(&all.output.narrow(0, i, 1), &alone.output);
            assert_near(&all.mean.select(0, i as isize), &alone.mean);
            assert_near(&all.var.select(0, i as isize), &alone.var);
        }
    }

    #[test]
    fn group_norm_differentiates_twice_on_every_view_and_only_where_it_is_wanted() {
        let (weight, bias) = (input(&[4], 2), input(&[8], 3).slice(0, 0, 8, 2));
        let views = [
            input(&[3, 4, 2, 5], 1),
            input(&[5, 4, 3], 1).transpose(0, 2),
            input(&[3, 8, 2], 1).slice(1, 0, 8, 2),
            input(&[3, 4, 1], 1).expand([3, 4, 5]),
            input(&[4, 6], 1).t(),
            input(&[2, 4, 0], 1),
        ];
        let check = |f: &dyn Fn(&[Tensor<f64>]) -> Tensor<f64>, inputs: &[Tensor<f64>]| {
            let packed: Vec<_> = inputs.iter().map(Tensor::contiguous).collect();
            assert_eq!(f(inputs).to_vec(), f(&packed).to_vec());
            let square = |x: &[Tensor<f64>]| f(x).square();
            gradcheck(square, inputs).unwrap();
            gradgradcheck(square, inputs).unwrap();
        };
        for x in views {
            check(
                &|x| group_norm(&x[0], 2, Some(&x[1]), Some(&x[2]), 1e-3),
                &[x.clone(), weight.clone(), bias.clone()],
            );
            check(&|x| group_norm(&x[0], 4, None, None, 1e-3), from_ref(&x));
            check(&|w| group_norm(&x, 2, Some(&w[0]), None, 1e-3), from_ref(&weight));
            check(&|b| group_norm(&x, 1, None, Some(&b[0]), 1e-3), from_ref(&bias));
        }
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let refused = |f: &dyn Fn() -> Tensor<f64>| crate::shape::catch(f).map(|y| y.dims()).unwrap_err().0;
        let (x, two) = (input(&[2, 3, 1], 1), input(&[2], 1));
        assert_eq!(
            refused(&|| instance_norm(&x, None, None, 1e-5).output),
            "instance_norm: [2, 3, 1]: expected more than one value per channel of an example, found 1"
        );
        assert_eq!(
            refused(&|| instance_norm(&x, Some(&two), None, 1e-5).output),
            "instance_norm: [2, 3, 1]: expected a weight of [3], found [2]"
        );
        assert_eq!(
            refused(&|| group_norm(&x, 2, None, None, 1e-5)),
            "group_norm: [2, 3, 1]: expected a multiple of 2 groups of channels, found 3"
        );
        assert_eq!(
            refused(&|| group_norm(&x, 0, None, None, 1e-5)),
            "group_norm: [2, 3, 1]: expected at least one group, found 0"
        );
        assert_eq!(
            refused(&|| group_norm(&two, 1, None, None, 1e-5)),
            "group_norm: [2]: expected [batch, channels, ..], found 1 dimensions"
        );
    }
}
