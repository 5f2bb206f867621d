//! Kernels on the shapes that people use. For products and convolutions the throughput "elem/s" counts floating-point
//! operations: Gelem/s are GFLOP/s. For passes it is bytes of operands and result.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use wengert::ops::{Conv2dOptions, conv2d, layer_norm};
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

/// Passes over memory, and operations so small that their own cost is all.
fn passes(c: &mut Criterion) {
    let mut group = c.benchmark_group("pass");
    let (large, other) = (Tensor::randn([4096, 4096]), Tensor::randn([4096, 4096]));
    let (rows, vectors) = (Tensor::randn([4096, 1024]), Tensor::randn([4096, 768]));
    let (weight, bias) = (Tensor::ones([768]), Tensor::zeros([768]));
    // Operands and result, in the sizes of `large`, `rows` and `vectors`.
    let pass = |name: &str, bytes: usize, run: &dyn Fn() -> Tensor, group: &mut BenchmarkGroup<WallTime>| {
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bench| bench.iter(run));
    };
    let bytes = |x: &Tensor| 4 * x.numel();
    pass("exp 4096x4096", 2 * bytes(&large), &|| large.exp(), &mut group);
    pass("tanh 4096x4096", 2 * bytes(&large), &|| large.tanh(), &mut group);
    pass("gelu 4096x4096", 2 * bytes(&large), &|| large.gelu(), &mut group);
    pass("softmax 4096x1024", 2 * bytes(&rows), &|| rows.softmax(1), &mut group);
    let norm = || layer_norm(&vectors, [768], Some(&weight), Some(&bias), 1e-5);
    pass("layer_norm 4096x768", 2 * bytes(&vectors), &norm, &mut group);
    pass("sum axis 0 4096x4096", bytes(&large), &|| large.sum_dim(0, false), &mut group);
    pass("sum axis 1 4096x4096", bytes(&large), &|| large.sum_dim(1, false), &mut group);
    pass("transposed copy 4096x4096", 2 * bytes(&large), &|| large.t().contiguous(), &mut group);
    pass("add 4096x4096", 3 * bytes(&large), &|| &large + &other, &mut group);
    pass("add transposed 4096x4096", 3 * bytes(&large), &|| &large + &other.t(), &mut group);
    group.finish();

    let mut group = c.benchmark_group("op on 16");
    let small = Tensor::randn([16]).tracked();
    group.bench_function("forward, recorded", |bench| bench.iter(|| record(|| &small * 2.0)));
    group.finish();
}

criterion_group!(benches, gemm, convolution, passes);
criterion_main!(benches);
