//! Small critics, each with another kind of layer, and the penalty on their slopes: a test of second order.

use wengert::nn::{
    AvgPool2d, BatchNorm2d, BatchNormOptions, Conv2d, Conv2dOptions, ConvTranspose2d, ConvTranspose2dOptions, Flatten,
    GroupNorm, GroupNormOptions, InstanceNorm2d, InstanceNormOptions, Layer, LayerNorm, LayerNormOptions, LeakyReLU,
    Linear, LinearOptions, MaxPool2d, MinibatchStdDev, Module, Sequential, SpectralNorm, SpectralNormOptions, Tanh,
    Walk, WalkMut, WeightNorm, WeightNormOptions,
};
use wengert::{Float, Tensor, sequential};

/// The gradient penalty of a critic D as a layer: the mean over the batch of `(|dD(x)/dx| - 1)^2` (Gulrajani et al., 2017).
pub struct Penalty<T: Float>(Sequential<T>);

impl<T: Float> Module<T> for Penalty<T> {
    fn visit(&self, walk: &mut Walk<T>) {
        walk.child("critic", &self.0);
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        walk.child("critic", &mut self.0);
    }
}

impl<T: Float> Layer<T> for Penalty<T> {
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let x = if x.is_tracked() { x.clone() } else { x.tracked() };
        let slope = self.0.forward(&x).sum().backward_graph().of(&x);
        (slope.flatten(1).square().sum_dim(1, false).sqrt() - T::ONE).square().mean()
    }
}

/// The penalties of critics of one kind of layer each, with names, for inputs `[4, 2, 6, 5]`.
pub fn penalties<T: Float>(n_power_iterations: usize) -> Vec<(&'static str, Penalty<T>)> {
    let spectral = SpectralNormOptions { n_power_iterations, ..Default::default() };
    let halving = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
    let doubling = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
    let affine = InstanceNormOptions { affine: true, ..Default::default() };
    let conv = || Conv2d::with(4, 3, 3, halving);
    let middles: Vec<(&str, Box<dyn Layer<T>>, usize)> = vec![
        ("penalty_conv", Box::new(conv()), 27),
        ("penalty_conv_transpose", Box::new(ConvTranspose2d::with(4, 3, 4, doubling)), 360),
        ("penalty_layer_norm", Box::new(LayerNorm::with([4, 6, 5], LayerNormOptions::default())), 120),
        ("penalty_instance_norm", Box::new(InstanceNorm2d::with(4, affine)), 120),
        ("penalty_group_norm", Box::new(GroupNorm::with(2, 4, GroupNormOptions::default())), 120),
        ("penalty_batch_norm", Box::new(BatchNorm2d::with(4, BatchNormOptions::default())), 120),
        ("penalty_avg_pool", Box::new(AvgPool2d::new(2)), 24),
        ("penalty_max_pool", Box::new(MaxPool2d::new(2)), 24),
        ("penalty_minibatch_stddev", Box::new(MinibatchStdDev::default()), 150),
        ("penalty_spectral_norm", Box::new(SpectralNorm::with(conv(), spectral)), 27),
        ("penalty_weight_norm", Box::new(WeightNorm::with(conv(), WeightNormOptions::default())), 27),
    ];
    let penalty = |(name, middle, features)| {
        let first = Conv2d::with(2, 4, 3, Conv2dOptions { padding: [1, 1], ..Default::default() });
        let last = Linear::with(features, 1, LinearOptions::default());
        (name, Penalty(sequential![first, LeakyReLU::new(0.2), middle, Tanh, Flatten::default(), last]))
    };
    middles.into_iter().map(penalty).collect()
}
