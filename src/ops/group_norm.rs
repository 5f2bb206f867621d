//! Norms over parts of each example: instance norm and group norm.

use super::norm::{BatchNormed, along, batch_norm, layer_norm_over};
use crate::element::Float;
use crate::shape::{Shape, ensure};
use crate::tensor::Tensor;

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
/// `weight` and `bias` are `[channels]`. Gradients are those of [`layer_norm`](super::layer_norm), of which a group is an
/// example.
///
/// ```
/// use wengert::{Tensor, ops};
/// let x = Tensor::from([[1.0_f32, 3.0, 10.0, 20.0]]);
/// let y = ops::group_norm(&x, 2, None, None, 1e-12);
/// assert!(y.to_vec().iter().zip([-1.0, 1.0, -1.0, 1.0]).all(|(y, expected)| (y - expected).abs() < 1e-6));
/// ```
///
/// # Panics
/// When there are fewer than two dimensions, the groups do not divide the channels, or a parameter is not `[channels]`.
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
    ensure(groups > 0 && channels.is_multiple_of(groups), || {
        format!("group_norm: {:?}: expected a multiple of {groups} groups of channels, found {channels}", x.shape())
    });
    let size = channels / groups * length;
    let normed = layer_norm_over(&x.reshape([batch * groups, size]), Shape::new(&[size]), None, None, eps);
    let mut y = normed.reshape(x.dims());
    if let Some(weight) = weight {
        y = y * along(weight, x.rank());
    }
    if let Some(bias) = bias {
        y = y + along(bias, x.rank());
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;

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
            refused(&|| group_norm(&two, 1, None, None, 1e-5)),
            "group_norm: [2]: expected [batch, channels, ..], found 1 dimensions"
        );
    }
}
