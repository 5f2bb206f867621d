//! Instance norm and group norm.

use super::module::layer_module;
use super::norm::{RunningStats, channel_norm};
use super::param::{Name, Param};
use super::summary::Call;
use super::{Layer, Module, Slot, Walk, WalkMut};
use crate::autograd::is_training;
use crate::element::Float;
use crate::ops;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// What an instance norm has, and how its running statistics follow the batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// The share of a new batch in the running statistics.
    pub momentum: f64,
    /// Whether there are a weight and a bias; by default there are none.
    pub affine: bool,
    /// Whether there are running statistics, which evaluation uses; by default there are none, and evaluation does as training.
    pub track_running_stats: bool,
}

impl Default for InstanceNormOptions {
    fn default() -> InstanceNormOptions {
        InstanceNormOptions { eps: 1e-5, momentum: 0.1, affine: false, track_running_stats: false }
    }
}

#[track_caller]
fn instance_norm<T: Float>(
    x: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    running: Option<&RunningStats<T>>,
    options: InstanceNormOptions,
) -> Tensor<T> {
    if let Some(running) = running
        && !is_training()
    {
        return ops::batch_norm_with(x, &running.mean.get(), &running.var.get(), weight, bias, options.eps);
    }
    let normed = ops::instance_norm(x, weight, bias, options.eps);
    if let Some(running) = running {
        let [mean, var] = [normed.mean, normed.var].map(|statistic| statistic.mean_dim(0, false));
        running.follow(options.momentum, &mean, &var, x.shape()[2..].iter().product());
    }
    normed.output
}

channel_norm! {
    /// Instance norm of images: `y = (x - mean) / sqrt(var + eps) weight + bias` with the mean and the variance of every channel
    /// of every example (Ulyanov, Vedaldi, Lempitsky, "Instance normalization: the missing ingredient for fast stylization",
    /// 2016).
    ///
    /// * input and output `[batch, features, height, width]`
    /// * with `affine`, `weight` and `bias` `[features]`
    /// * with `track_running_stats`, state as that of [`BatchNorm2d`](super::BatchNorm2d): in training the running mean and
    ///   variance follow the mean over the batch of those of the examples (the counter stays 0, as PyTorch's does), in evaluation
    ///   they are used
    ///
    /// ```
    /// use wengert::{Tensor, nn::{InstanceNorm2d, Layer}};
    /// let y = InstanceNorm2d::new(3).forward(&(Tensor::randn([4, 3, 5, 5]) * 10.0));
    /// assert!(y.mean_dim([2, 3], false).abs().max().item() < 1e-5);
    /// ```
    ///
    /// # Panics
    /// In `forward`, when the input has other sizes, or there is one value per channel of an example.
    InstanceNorm2d, InstanceNormOptions, instance_norm, 4, "[batch, features, height, width]";

    /// [`InstanceNorm2d`] of sequences `[batch, features, length]`.
    ///
    /// # Panics
    /// As [`InstanceNorm2d`].
    InstanceNorm1d, InstanceNormOptions, instance_norm, 3, "[batch, features, length]";

    /// [`InstanceNorm2d`] of volumes `[batch, features, depth, height, width]`.
    ///
    /// # Panics
    /// As [`InstanceNorm2d`].
    InstanceNorm3d, InstanceNormOptions, instance_norm, 5, "[batch, features, depth, height, width]";
}

/// What a [`GroupNorm`] has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// Whether there are a weight and a bias.
    pub affine: bool,
}

impl Default for GroupNormOptions {
    fn default() -> GroupNormOptions {
        GroupNormOptions { eps: 1e-5, affine: true }
    }
}

/// Group norm: `y = (x - mean) / sqrt(var + eps) weight + bias`, mean and variance over each group of channels of each example
/// (Wu and He, "Group normalization", 2018): [`ops::group_norm`].
///
/// * input and output `[batch, channels, ..]`
/// * `weight` and `bias` `[channels]`
///
/// ```
/// use wengert::{Tensor, nn::{GroupNorm, Layer}};
/// let norm = GroupNorm::new(4, 32);
/// assert_eq!(norm.forward(&Tensor::zeros([2, 32, 8, 8])).shape(), [2, 32, 8, 8]);
/// ```
///
/// # Panics
/// In `forward`, when the input has another number of channels.
#[derive(Clone, Debug)]
pub struct GroupNorm<T: Float = f32> {
    /// `[channels]`, 1 at first; none without `affine`.
    pub weight: Option<Param<T>>,
    /// `[channels]`, 0 at first; none without `affine`.
    pub bias: Option<Param<T>>,
    groups: usize,
    channels: usize,
    options: GroupNormOptions,
    name: Name,
}

impl GroupNorm {
    /// A layer of `groups` groups in `channels` channels, with PyTorch's defaults.
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[track_caller]
    pub fn new(groups: usize, channels: usize) -> GroupNorm {
        GroupNorm::with(groups, channels, GroupNormOptions::default())
    }
}

impl<T: Float> GroupNorm<T> {
    /// A layer of `groups` groups in `channels` channels, of either float type.
    ///
    /// # Panics
    /// When the groups do not divide the channels.
    #[track_caller]
    pub fn with(groups: usize, channels: usize, options: GroupNormOptions) -> GroupNorm<T> {
        ensure(groups > 0 && channels.is_multiple_of(groups), || {
            format!("GroupNorm: expected a multiple of {groups} groups of channels, found {channels}")
        });
        GroupNorm {
            weight: options.affine.then(|| Param::full(&[channels], 1.0)),
            bias: options.affine.then(|| Param::full(&[channels], 0.0)),
            groups,
            channels,
            options,
            name: Name::default(),
        }
    }

    /// What the layer was made with.
    pub fn options(&self) -> GroupNormOptions {
        self.options
    }
}

layer_module!(GroupNorm { weight, bias });

impl<T: Float> Layer<T> for GroupNorm<T> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let call = Call::enter("GroupNorm", Some(&self.name));
        ensure(x.rank() >= 2 && x.shape()[1] == self.channels, || {
            format!("group_norm: {:?}: expected [batch, channels, ..] of {} channels", x.shape(), self.channels)
        });
        let (weight, bias) = (self.weight.as_deref(), self.bias.as_deref());
        let y = ops::group_norm(x, self.groups, weight, bias, self.options.eps);
        call.leave(y, |y| {
            let parameters = [weight, bias].iter().flatten().map(|p| p.numel()).sum();
            (parameters, 5 * y.numel() as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;

    #[test]
    fn running_statistics_follow_the_mean_over_the_examples() {
        let options = InstanceNormOptions { track_running_stats: true, momentum: 0.5, ..Default::default() };
        let norm: InstanceNorm1d<f64> = InstanceNorm1d::with(1, options);
        // Means 2 and 10; variances, with Bessel's correction, 2 and 8.
        let x = Tensor::from([[[1.0, 3.0]], [[8.0, 12.0]]]);
        record(|| norm.forward(&x));
        let running = norm.running.as_ref().unwrap();
        assert_eq!((running.mean.get().item(), running.var.get().item()), (3.0, 3.0));
        assert_eq!(running.num_batches_tracked.get(), 0);
        let y = norm.forward(&x).to_vec();
        assert!((y[2] - 5.0 / (3.0_f64 + 1e-5).sqrt()).abs() < 1e-12, "{y:?}");
        let mut names = Vec::new();
        norm.for_each(&mut |name, _| names.push(name.to_string()));
        assert_eq!(names, ["running_mean", "running_var", "num_batches_tracked"]);
    }

    #[test]
    fn without_running_statistics_evaluation_is_training() {
        let norm = InstanceNorm2d::new(3);
        assert_eq!(norm.num_parameters(), 0);
        let x = Tensor::randn([2, 3, 4, 5]);
        assert_eq!(norm.forward(&x).to_vec(), record(|| norm.forward(&x)).to_vec());
    }

    #[test]
    fn another_number_of_channels_is_refused() {
        let x = Tensor::zeros([2, 4, 3]);
        let error = InstanceNorm1d::new(3).try_forward(&x).expect_err("an error").to_string();
        assert_eq!(
            error,
            "instance_norm: [2, 4, 3]: expected [batch, features, length] of 3 channels (in InstanceNorm1d)"
        );
        let error = GroupNorm::new(3, 3).try_forward(&x).expect_err("an error").to_string();
        assert_eq!(error, "group_norm: [2, 4, 3]: expected [batch, channels, ..] of 3 channels (in GroupNorm)");
    }
}
