//! How much the examples of a batch differ, as a feature of each.

use super::cat;
use crate::element::Float;
use crate::shape::{Shape, ensure};
use crate::tensor::Tensor;

/// How [`minibatch_stddev`] splits the batch and the channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinibatchStdDevOptions {
    /// How many examples are compared with each other; `None` for the whole batch, which also stands where it is smaller.
    pub group_size: Option<usize>,
    /// How many channels are appended; each is the mean over its share of the input's channels.
    pub features: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl Default for MinibatchStdDevOptions {
    fn default() -> MinibatchStdDevOptions {
        MinibatchStdDevOptions { group_size: Some(4), features: 1, eps: 1e-8 }
    }
}

/// Appends the standard deviation over groups of examples to `x [batch, channels, ..]`, as channels: a critic sees by it whether
/// the examples are as varied as real ones (Karras, Aila, Laine, Lehtinen, "Progressive growing of GANs", 2018, section 3).
///
/// * output `[batch, channels + features, ..]`
///
/// With G examples to a group, those whose numbers have the same remainder by batch / G (as in the paper's code):
/// `s = mean over channels and places of sqrt(mean over the group of (x - mean over the group of x)^2 + eps)`, one number for a
/// group and a feature, stands at all places of all its examples.
///
/// ```
/// use wengert::{Tensor, ops::minibatch_stddev};
/// let x = Tensor::from([[1.0_f32, 5.0], [3.0, 1.0]]);
/// let y = minibatch_stddev(&x, Default::default());
/// assert_eq!(y.to_vec(), [1.0, 5.0, 1.5, 3.0, 1.0, 1.5]); // the deviations are 1 and 2
/// ```
///
/// # Panics
/// When there are fewer than two dimensions, the batch is no multiple of the group's size, or the features do not divide the
/// channels.
#[track_caller]
#[inline(never)]
pub fn minibatch_stddev<T: Float>(x: &Tensor<T>, options: MinibatchStdDevOptions) -> Tensor<T> {
    let MinibatchStdDevOptions { group_size, features, eps } = options;
    let shape = x.shape();
    ensure(shape.len() >= 2, || {
        format!("minibatch_stddev: {shape:?}: expected [batch, channels, ..], found {} dimensions", shape.len())
    });
    let (batch, channels, places) = (shape[0], shape[1], shape[2..].iter().product::<usize>());
    let group = group_size.unwrap_or(batch).min(batch).max(1);
    ensure(batch.is_multiple_of(group), || {
        format!("minibatch_stddev: {shape:?}: expected a batch of a multiple of {group} examples")
    });
    ensure(features > 0 && channels.is_multiple_of(features), || {
        format!("minibatch_stddev: {shape:?}: expected a multiple of {features} features of channels, found {channels}")
    });
    let groups = batch / group;
    let parts = x.reshape([group, groups, features, channels / features * places]);
    let deviation = (parts.var_dim(0, 0, false) + T::of(eps)).sqrt().mean_dim(-1, true); // [groups, features, 1]
    let mut appended = Shape::new(shape);
    appended[1] = features;
    cat(&[x, &deviation.expand([group, groups, features, places]).reshape(appended)], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_a_group_stand_a_number_of_groups_apart() {
        // Two groups: examples 0 and 2, 1 and 3. The first one's deviations are 2 and 4, the second one's 0.
        let x: Tensor = Tensor::from([[1.0, 0.0], [7.0, 7.0], [5.0, 8.0], [7.0, 7.0]]).reshape([4, 2, 1, 1]);
        let options = MinibatchStdDevOptions { group_size: Some(2), features: 2, eps: 0.0 };
        let y = minibatch_stddev(&x.expand([4, 2, 3, 2]), options);
        assert_eq!(y.shape(), [4, 4, 3, 2]);
        let appended = y.narrow(1, 2, 2);
        let expected = Tensor::from([[2.0, 4.0], [0.0, 0.0], [2.0, 4.0], [0.0, 0.0]]).reshape([4, 2, 1, 1]);
        assert_eq!(appended.to_vec(), expected.expand([4, 2, 3, 2]).to_vec());
    }

    #[test]
    fn a_batch_that_is_smaller_is_one_group() {
        let x = Tensor::randn([3, 2]);
        let whole = MinibatchStdDevOptions { group_size: None, ..Default::default() };
        assert_eq!(minibatch_stddev(&x, Default::default()).to_vec(), minibatch_stddev(&x, whole).to_vec());
        assert_eq!(minibatch_stddev(&Tensor::zeros([0, 2]), Default::default()).shape(), [0, 3]);
    }

    #[test]
    fn batches_and_channels_that_do_not_fit_are_refused() {
        let refusal = |shape: &[usize], options| {
            crate::shape::catch(|| minibatch_stddev(&Tensor::zeros(shape), options))
                .map(|_| ())
                .expect_err("a refusal")
                .0
        };
        let plain = MinibatchStdDevOptions::default();
        assert_eq!(refusal(&[6, 3], plain), "minibatch_stddev: [6, 3]: expected a batch of a multiple of 4 examples");
        assert_eq!(
            refusal(&[4, 3], MinibatchStdDevOptions { features: 2, ..plain }),
            "minibatch_stddev: [4, 3]: expected a multiple of 2 features of channels, found 3"
        );
        assert!(refusal(&[4], plain).ends_with("expected [batch, channels, ..], found 1 dimensions"));
    }
}
