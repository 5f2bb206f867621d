//! Normalization layers.

use super::module::layer_module;
use super::param::{Buffer, Counter, Name, Param};
use super::summary::Call;
use super::{Layer, Module, Slot, Walk, WalkMut};
use crate::autograd::is_training;
use crate::element::Float;
use crate::ops;
use crate::shape::{Shape, ensure};
use crate::tensor::Tensor;

/// What a batch norm has, and how its running statistics follow the batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// The share of a new batch in the running statistics; `None` for the mean over all batches.
    pub momentum: Option<f64>,
    /// Whether there are a weight and a bias.
    pub affine: bool,
    /// Whether there are running statistics; without them evaluation uses the batch's own, as training does.
    pub track_running_stats: bool,
}

impl Default for BatchNormOptions {
    fn default() -> BatchNormOptions {
        BatchNormOptions { eps: 1e-5, momentum: Some(0.1), affine: true, track_running_stats: true }
    }
}

/// What has been seen of the batches so far.
#[derive(Clone, Debug)]
pub struct RunningStats<T: Float = f32> {
    /// `[features]`, 0 at first.
    pub mean: Buffer<T>,
    /// `[features]`, with Bessel's correction; 1 at first.
    pub var: Buffer<T>,
    /// How many batches there were.
    pub num_batches_tracked: Counter,
}

impl<T: Float> RunningStats<T> {
    pub(super) fn new(features: usize) -> RunningStats<T> {
        RunningStats {
            mean: Buffer::new(Tensor::full(features, T::ZERO)),
            var: Buffer::new(Tensor::full(features, T::ONE)),
            num_batches_tracked: Counter::default(),
        }
    }

    /// Takes in the mean and the variance of `count` values for each feature, with the given share of the result.
    #[track_caller]
    pub(super) fn follow(&self, share: f64, mean: &Tensor<T>, var: &Tensor<T>, count: usize) {
        let follow = |held: &Buffer<T>, new: &Tensor<T>, scale: f64| {
            let mix = |old: T, new: T| T::of(old.to_f64() * (1.0 - share) + new.to_f64() * scale * share);
            held.set(&held.get().zip_to("running statistics", new, mix));
        };
        follow(&self.mean, mean, 1.0);
        follow(&self.var, var, count as f64 / (count as f64 - 1.0));
    }
}

/// Layers over inputs `[batch, features, ..]`: `Name, Options, function, the ranks of inputs, what is expected of them;`. The
/// function is given the input, weight, bias, running statistics and options.
macro_rules! channel_norm {
    ($($(#[$meta:meta])* $name:ident, $Options:ident, $op:ident, $ranks:pat, $expected:literal;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name<T: Float = f32> {
            /// `[features]`, 1 at first; none without `affine`.
            pub weight: Option<Param<T>>,
            /// `[features]`, 0 at first; none without `affine`.
            pub bias: Option<Param<T>>,
            /// None without `track_running_stats`.
            pub running: Option<RunningStats<T>>,
            options: $Options,
            features: usize,
            name: Name,
        }

        impl $name {
            /// A layer for inputs of `features` channels, with PyTorch's defaults.
            pub fn new(features: usize) -> $name {
                $name::with(features, $Options::default())
            }
        }

        impl<T: Float> $name<T> {
            /// A layer for inputs of `features` channels, of either float type.
            pub fn with(features: usize, options: $Options) -> $name<T> {
                $name {
                    weight: options.affine.then(|| Param::full(&[features], 1.0)),
                    bias: options.affine.then(|| Param::full(&[features], 0.0)),
                    running: options.track_running_stats.then(|| RunningStats::new(features)),
                    options,
                    features,
                    name: Name::default(),
                }
            }

            /// What the layer was made with.
            pub fn options(&self) -> $Options {
                self.options
            }
        }

        impl<T: Float> Module<T> for $name<T> {
            fn visit(&self, walk: &mut Walk<T>) {
                walk.name(&self.name);
                walk.child("weight", &self.weight);
                walk.child("bias", &self.bias);
                if let Some(running) = &self.running {
                    walk.state("running_mean", Slot::Buffer(&running.mean));
                    walk.state("running_var", Slot::Buffer(&running.var));
                    walk.state("num_batches_tracked", Slot::Counter(&running.num_batches_tracked));
                }
            }
            fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
                walk.name(&mut self.name);
                walk.child("weight", &mut self.weight);
                walk.child("bias", &mut self.bias);
            }
        }

        impl<T: Float> Layer<T> for $name<T> {
            #[track_caller]
            fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
                let call = Call::enter(stringify!($name), Some(&self.name));
                let (shape, features) = (x.shape(), self.features);
                ensure(matches!(shape.len(), $ranks) && shape[1] == features, || {
                    format!("{}: {shape:?}: expected {} of {features} channels", stringify!($op), $expected)
                });
                let (weight, bias) = (self.weight.as_deref(), self.bias.as_deref());
                let y = $op(x, weight, bias, self.running.as_ref(), self.options);
                call.leave(y, |y| {
                    let parameters = [weight, bias].iter().flatten().map(|p| p.numel()).sum();
                    (parameters, 2 * y.numel() as u64)
                })
            }
        }
    )+};
}
pub(super) use channel_norm;

#[track_caller]
fn batch_norm<T: Float>(
    x: &Tensor<T>,
    weight: Option<&Tensor<T>>,
    bias: Option<&Tensor<T>>,
    running: Option<&RunningStats<T>>,
    options: BatchNormOptions,
) -> Tensor<T> {
    if let Some(running) = running
        && !is_training()
    {
        return ops::batch_norm_with(x, &running.mean.get(), &running.var.get(), weight, bias, options.eps);
    }
    let batch = ops::batch_norm(x, weight, bias, options.eps);
    if let Some(running) = running {
        let batches = running.num_batches_tracked.increment();
        let share = options.momentum.unwrap_or(1.0 / batches as f64);
        running.follow(share, &batch.mean, &batch.var, x.numel() / x.size(1));
    }
    batch.output
}

channel_norm! {
    /// Batch norm of images: `y = (x - mean) / sqrt(var + eps) weight + bias`, channel by channel (Ioffe and Szegedy, 2015).
    ///
    /// * input and output `[batch, features, height, width]`
    /// * `weight` and `bias` `[features]`; state: `running_mean`, `running_var`, `num_batches_tracked`
    ///
    /// In training mean and variance are those of the batch, and the running ones follow them:
    /// `running = (1 - momentum) running + momentum new`, the variance with Bessel's correction. In evaluation the running
    /// ones are used.
    ///
    /// ```
    /// use wengert::{Tensor, nn::{BatchNorm2d, Layer}, record};
    /// let norm = BatchNorm2d::new(3);
    /// let x = Tensor::randn([4, 3, 5, 5]) * 10.0;
    /// let y = record(|| norm.forward(&x));
    /// assert!(y.mean_dim([0, 2, 3], false).to_vec().iter().all(|mean| mean.abs() < 1e-5));
    /// ```
    ///
    /// # Panics
    /// In `forward`, when the input has other sizes, and in training when there is one value per channel or none.
    BatchNorm2d, BatchNormOptions, batch_norm, 4, "[batch, features, height, width]";

    /// [`BatchNorm2d`] of vectors `[batch, features]` and sequences `[batch, features, length]`.
    ///
    /// # Panics
    /// As [`BatchNorm2d`].
    BatchNorm1d, BatchNormOptions, batch_norm, 2 | 3, "[batch, features] or [batch, features, length]";

    /// [`BatchNorm2d`] of volumes `[batch, features, depth, height, width]`.
    ///
    /// # Panics
    /// As [`BatchNorm2d`].
    BatchNorm3d, BatchNormOptions, batch_norm, 5, "[batch, features, depth, height, width]";
}

/// What a [`LayerNorm`] has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// Whether there are a weight and a bias.
    pub elementwise_affine: bool,
    /// Whether there is a bias.
    pub bias: bool,
}

impl Default for LayerNormOptions {
    fn default() -> LayerNormOptions {
        LayerNormOptions { eps: 1e-5, elementwise_affine: true, bias: true }
    }
}

/// Layer norm: `y = (x - mean) / sqrt(var + eps) weight + bias`, mean and variance over the last dimensions of each example
/// (Ba, Kiros, Hinton, 2016).
///
/// * input and output `[.., shape]`
/// * `weight` and `bias` of the normalized shape
///
/// ```
/// use wengert::{Tensor, nn::{Layer, LayerNorm}};
/// let norm = LayerNorm::new(128);
/// assert_eq!(norm.forward(&Tensor::zeros([12, 64, 128])).shape(), [12, 64, 128]);
/// ```
///
/// # Panics
/// In `forward`, when the input does not end in the normalized shape.
#[derive(Clone, Debug)]
pub struct LayerNorm<T: Float = f32> {
    /// Of the normalized shape, 1 at first; none without `elementwise_affine`.
    pub weight: Option<Param<T>>,
    /// Of the normalized shape, 0 at first; none without `elementwise_affine` or `bias`.
    pub bias: Option<Param<T>>,
    shape: Shape,
    options: LayerNormOptions,
    name: Name,
}

impl LayerNorm {
    /// A layer over last dimensions of the given shape, with PyTorch's defaults.
    pub fn new(normalized_shape: impl Into<Shape>) -> LayerNorm {
        LayerNorm::with(normalized_shape, LayerNormOptions::default())
    }
}

impl<T: Float> LayerNorm<T> {
    /// A layer over last dimensions of the given shape, of either float type.
    pub fn with(normalized_shape: impl Into<Shape>, options: LayerNormOptions) -> LayerNorm<T> {
        let shape = normalized_shape.into();
        LayerNorm {
            weight: options.elementwise_affine.then(|| Param::full(&shape, 1.0)),
            bias: (options.elementwise_affine && options.bias).then(|| Param::full(&shape, 0.0)),
            shape,
            options,
            name: Name::default(),
        }
    }

    /// The shape over which is normalized.
    pub fn normalized_shape(&self) -> &[usize] {
        &self.shape
    }

    /// What the layer was made with.
    pub fn options(&self) -> LayerNormOptions {
        self.options
    }
}

layer_module!(LayerNorm { weight, bias });

impl<T: Float> Layer<T> for LayerNorm<T> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let call = Call::enter("LayerNorm", Some(&self.name));
        let (weight, bias) = (self.weight.as_deref(), self.bias.as_deref());
        let y = ops::layer_norm(x, self.shape, weight, bias, self.options.eps);
        call.leave(y, |y| {
            let parameters = [weight, bias].iter().flatten().map(|p| p.numel()).sum();
            (parameters, 5 * y.numel() as u64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Mode, record, with_mode};

    fn batch() -> Tensor<f64> {
        Tensor::from_vec(vec![1.0, 2.0, 4.0, -1.0, 0.5, 3.0, 2.0, 8.0], [2, 2, 2, 1])
    }

    #[track_caller]
    fn assert_near(found: &Tensor<f64>, expected: &[f64]) {
        let near = found.to_vec().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near && found.numel() == expected.len(), "{:?}, expected {expected:?}", found.to_vec());
    }

    /// The values of torch.nn.BatchNorm2d(2, momentum=..).double() after `m(x); m(3 x + 1)`, version 2.15.
    #[test]
    fn running_statistics_follow_the_batches_as_pytorchs_do() {
        let torch = [
            (Some(0.1), [0.73375, 1.3675], [2.026875, 14.9175], [0.187_014_406_0, 0.889_415_930_7, 0.681_585_293_3]),
            (None, [3.75, 7.0], [6.145_833_333_3, 71.25], [-1.109_281_962_5, -0.705_906_703_4, -0.355_409_301_7]),
        ];
        for (momentum, mean, var, eval) in torch {
            let norm: BatchNorm2d<f64> = BatchNorm2d::with(2, BatchNormOptions { momentum, ..Default::default() });
            let next = batch() * 3.0 + 1.0;
            let y = record(|| {
                norm.forward(&batch());
                norm.forward(&next)
            });
            let trained = [-0.650_944_162_6, 0.390_566_497_6, 0.229_415_721_9, -1.300_022_424_4];
            assert_near(&y.detach().narrow(0, 0, 1), &trained);
            let running = norm.running.as_ref().unwrap();
            assert_near(&running.mean.get(), &mean);
            assert_near(&running.var.get(), &var);
            assert_eq!(running.num_batches_tracked.get(), 2);
            assert_near(&norm.forward(&batch()).flatten(0).narrow(0, 0, 3), &eval);
            let frozen = record(|| with_mode(Mode::Eval, || norm.forward(&batch())));
            assert_near(&frozen.flatten(0).narrow(0, 0, 3), &eval);
            assert_eq!(running.num_batches_tracked.get(), 2);
        }
    }

    #[test]
    fn the_state_has_pytorchs_names_in_pytorchs_order() {
        let names = |options| {
            let mut names = Vec::new();
            BatchNorm2d::<f32>::with(3, options).for_each(&mut |name, _| names.push(name.to_string()));
            names
        };
        let all = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
        assert_eq!(names(BatchNormOptions::default()), all);
        assert_eq!(names(BatchNormOptions { affine: false, ..Default::default() }), all[2..]);
        assert_eq!(names(BatchNormOptions { track_running_stats: false, ..Default::default() }), all[..2]);
        let layer: LayerNorm = LayerNorm::new([2, 3]);
        assert_eq!(layer.parameters().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), all[..2]);
    }

    #[test]
    fn without_running_statistics_evaluation_is_training() {
        let options = BatchNormOptions { track_running_stats: false, ..Default::default() };
        let norm: BatchNorm2d<f64> = BatchNorm2d::with(2, options);
        assert_eq!(norm.forward(&batch()).to_vec(), record(|| norm.forward(&batch())).to_vec());
    }

    #[test]
    fn vectors_and_sequences_are_normalized_like_images() {
        let options = BatchNormOptions::default();
        let (images, vectors) = (BatchNorm2d::with(2, options), BatchNorm1d::with(2, options));
        let x = batch();
        // [batch, features, height, 1] -> [batch, features, length], and [batch * length, features].
        let (sequence, rows) = (x.squeeze(-1), x.squeeze(-1).transpose(1, 2).reshape([4, 2]));
        let expected = record(|| images.forward(&x)).squeeze(-1);
        assert_near(&record(|| vectors.forward(&sequence)), &expected.to_vec());
        let y = record(|| vectors.forward(&rows));
        assert_near(&y, &expected.transpose(1, 2).reshape([4, 2]).to_vec());
        assert!(y.is_contiguous());
        assert_eq!(vectors.running.unwrap().num_batches_tracked.get(), 2);
    }

    #[test]
    #[should_panic(
        expected = "batch_norm: [2, 2, 2, 1]: expected [batch, features, height, width] of 3 channels (in BatchNorm2d)"
    )]
    fn another_number_of_channels_is_refused() {
        BatchNorm2d::with(3, BatchNormOptions::default()).forward(&batch());
    }

    #[test]
    #[should_panic(expected = "expected more than one value per channel in training, found 1")]
    fn one_value_per_channel_is_refused_in_training() {
        let norm = BatchNorm1d::with(2, BatchNormOptions::default());
        norm.forward(&batch().narrow(3, 0, 1).flatten(1).narrow(0, 0, 1).narrow(1, 0, 2));
        record(|| norm.forward(&Tensor::<f64>::full([1, 2], 1.0)));
    }
}
