//! Kernels on the shapes that people use. The throughput "elem/s" counts floating-point operations: Gelem/s are GFLOP/s.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wengert::ops::{Conv2dOptions, conv2d};
use wengert::{Tensor, record};

fn gemm(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    let square = [64, 128, 256, 512, 1024, 2048].map(|n| [n, n, n]);
    let skinny = [[64, 784, 512], [2048, 128, 1024], [64, 256, 1024], [64, 288, 9216], [7744, 288, 64]];
    for [m, k, n] in square.into_iter().chain(skinny) {
        let (a, b) = (Tensor::randn([m, k]), Tensor::randn([k, n]));
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        group.bench_function(format!("{m}x{k}x{n}"), |bench| bench.iter(|| a.matmul(&b)));
    }
    group.finish();
}

/// `[batch, in channels, height, width]`, output channels, kernel, padding.
const CONVOLUTIONS: [([usize; 4], usize, usize, usize); 5] = [
    ([64, 1, 28, 28], 32, 3, 0),
    ([64, 32, 13, 13], 64, 3, 0),
    ([64, 64, 5, 5], 64, 3, 0),
    ([64, 32, 14, 14], 64, 3, 1),
    ([32, 64, 32, 32], 64, 3, 1),
];

fn convolution(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv2d");
    for (shape, out, kernel, padding) in CONVOLUTIONS {
        let x = Tensor::randn(shape);
        let weight = Tensor::randn([out, shape[1], kernel, kernel]).tracked();
        let bias = Tensor::randn([out]).tracked();
        let options = Conv2dOptions { padding: [padding; 2], ..Default::default() };
        let forward = || conv2d(&x, &weight, Some(&bias), options);
        let y = forward();
        let flops = (2 * y.numel() * shape[1] * kernel * kernel) as u64;
        let name = format!("{shape:?} -> {out}, {kernel}x{kernel}, padding {padding}");
        group.throughput(Throughput::Elements(flops));
        group.bench_function(format!("forward {name}"), |bench| bench.iter(forward));
        // Backward to the weights and, but for the first layer of a network, to the input.
        let tracked = if shape[1] > 1 { x.tracked() } else { x.clone() };
        let products = if shape[1] > 1 { 3 } else { 2 };
        let grad = Tensor::randn(y.dims());
        group.throughput(Throughput::Elements(products * flops));
        group.bench_function(format!("forward and backward {name}"), |bench| {
            bench.iter(|| record(|| conv2d(&tracked, &weight, Some(&bias), options)).backward_with(&grad))
        });
    }
    group.finish();
}

criterion_group!(benches, gemm, convolution);
criterion_main!(benches);
