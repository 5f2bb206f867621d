//! What generative models and their critics use.

use super::Fixture;
use super::critics::penalties;
use wengert::nn::{
    BatchNorm3d, BatchNormOptions, Conv1d, Conv1dOptions, Conv2d, Conv2dOptions, Conv3d, Conv3dOptions,
    ConvTranspose1d, ConvTranspose1dOptions, ConvTranspose2d, ConvTranspose2dOptions, ConvTranspose3d,
    ConvTranspose3dOptions, GroupNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, InstanceNormOptions, Linear,
    MinibatchStdDev, MinibatchStdDevOptions, SpectralNorm, SpectralNormOptions, WeightNorm, WeightNormOptions,
};
use wengert::ops;

#[test]
fn every_generative_fixture_agrees() {
    let mut all = Fixture::load("generative.safetensors");
    let twice = SpectralNormOptions { n_power_iterations: 2, ..Default::default() };
    all.layer("spectral_linear", SpectralNorm::with(Linear::new(5, 3), twice), true);
    all.layer("spectral_linear_eval", SpectralNorm::new(Linear::new(5, 3)), false);
    let conv1d = Conv1d::with(4, 6, 3, Conv1dOptions { groups: 2, bias: false, ..Default::default() });
    all.layer("spectral_conv1d", SpectralNorm::new(conv1d), true);
    let halving = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
    let columns = SpectralNormOptions { dim: Some(1), ..Default::default() };
    all.layer("spectral_conv2d", SpectralNorm::with(Conv2d::with(3, 4, 3, halving), columns), true);
    let doubling = ConvTranspose1dOptions { stride: 2, padding: 1, ..Default::default() };
    all.layer("spectral_conv_transpose1d", SpectralNorm::new(ConvTranspose1d::with(4, 6, 4, doubling)), true);
    let doubling = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
    all.layer("spectral_conv_transpose2d", SpectralNorm::new(ConvTranspose2d::with(3, 4, 4, doubling)), true);
    all.layer("weight_linear", WeightNorm::new(Linear::new(5, 3)), true);
    let whole = WeightNormOptions { dim: None };
    all.layer("weight_conv2d", WeightNorm::with(Conv2d::new(3, 4, 3), whole), true);
    let groups = ConvTranspose2dOptions { groups: 2, ..Default::default() };
    let outputs = WeightNormOptions { dim: Some(1) };
    all.layer("weight_conv_transpose2d", WeightNorm::with(ConvTranspose2d::with(4, 6, 3, groups), outputs), true);

    all.check("conv3d", |x| ops::conv3d(&x[0], &x[1], Some(&x[2]), Conv3dOptions::default()));
    all.check("conv3d_all", |x| {
        let (stride, padding, dilation) = ([2, 1, 2], [2, 0, 1], [1, 2, 1]);
        let options = Conv3dOptions { stride, padding, dilation, groups: 2, ..Default::default() };
        ops::conv3d(&x[0], &x[1], Some(&x[2]), options)
    });
    let depthwise = Conv3dOptions { padding: [1; 3], groups: 4, ..Default::default() };
    all.check("conv3d_depthwise", |x| ops::conv3d(&x[0], &x[1], None, depthwise));
    all.check("conv_transpose3d", |x| ops::conv_transpose3d(&x[0], &x[1], Some(&x[2]), Default::default()));
    all.check("conv_transpose3d_all", |x| {
        let options = ConvTranspose3dOptions {
            stride: [2, 3, 1],
            padding: [1, 2, 1],
            output_padding: [1, 2, 1],
            dilation: [1, 1, 2],
            groups: 2,
            ..Default::default()
        };
        ops::conv_transpose3d(&x[0], &x[1], Some(&x[2]), options)
    });
    all.check("conv_transpose3d_far", |x| {
        let (padding, output_padding, dilation) = ([1; 3], [2; 3], [3; 3]);
        let options = ConvTranspose3dOptions { padding, output_padding, dilation, ..Default::default() };
        ops::conv_transpose3d(&x[0], &x[1], None, options)
    });
    let halving = Conv3dOptions { stride: [2; 3], padding: [1; 3], ..Default::default() };
    all.layer("conv3d_layer", Conv3d::with(2, 4, 3, halving), true);
    let doubling = ConvTranspose3dOptions {
        stride: [2; 3],
        padding: [1; 3],
        output_padding: [1; 3],
        groups: 2,
        bias: false,
        ..Default::default()
    };
    all.layer("conv_transpose3d_layer", ConvTranspose3d::with(4, 6, [4, 3, 4], doubling), true);
    all.layer("spectral_conv3d", SpectralNorm::new(Conv3d::new(2, 3, [2, 3, 2])), true);

    let plain = InstanceNormOptions::default();
    let affine = InstanceNormOptions { affine: true, ..plain };
    let tracking = InstanceNormOptions { track_running_stats: true, ..affine };
    all.layer("instance_norm1d", InstanceNorm1d::with(3, plain), true);
    all.layer("instance_norm2d", InstanceNorm2d::with(3, affine), true);
    let often = InstanceNormOptions { momentum: 0.3, ..tracking };
    all.layer("instance_norm_tracking", InstanceNorm2d::with(3, often), true);
    all.layer("instance_norm_eval", InstanceNorm2d::with(3, tracking), false);
    all.layer("instance_norm3d", InstanceNorm3d::with(2, affine), true);
    all.layer("batch_norm3d", BatchNorm3d::with(2, BatchNormOptions::default()), true);
    all.layer("group_norm", GroupNorm::new(2, 6), true);
    let options = MinibatchStdDevOptions { group_size: Some(3), features: 2, ..Default::default() };
    all.layer("minibatch_stddev", MinibatchStdDev::with(options), true);
    for (case, penalty) in penalties(1) {
        all.layer(case, penalty, true);
    }
    assert!(all.cases.is_empty(), "fixtures that no test compares with: {:?}", all.cases);
}
