//! Kernels on the shapes that people use. The throughput "elem/s" counts floating-point operations (Gelem/s are GFLOP/s),
//! that in bytes counts operands and result.

#[path = "peers/networks.rs"]
mod networks;
#[path = "peers/repeat.rs"]
mod repeat;
#[path = "peers/workloads.rs"]
mod workloads;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use wengert::ops::{Conv2dOptions, conv2d};
use wengert::{Tensor, record};

/// What is compared with the peers, under the same names.
fn kernels(c: &mut Criterion) {
    for workload in workloads::all().into_iter().filter(|workload| !workload.is_network() && !workload.once) {
        let mut group = c.benchmark_group("kernel");
        let (flop, byte) = (workload.work.flop as u64, workload.work.byte as u64);
        match [flop, byte] {
            [0, 0] => {}
            [0, byte] => {
                group.throughput(Throughput::Bytes(byte));
            }
            [flop, _] => {
                group.throughput(Throughput::Elements(flop));
            }
        }
        let mut run = (workload.make)();
        group.bench_function(&workload.name, |bench| {
            bench.iter_custom(|repeats| Duration::from_secs_f64((0..repeats).map(|_| run()).sum()))
        });
        group.finish();
    }
}

/// The inner layers of `mnist_cnn`: `[batch, in channels, height, width]`, kernels of 3 x 3 to 64 channels.
const LAYERS: [[usize; 4]; 2] = [[64, 32, 13, 13], [64, 64, 5, 5]];

fn layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("layer");
    for shape in LAYERS {
        let weight = Tensor::randn([64, shape[1], 3, 3]).tracked();
        let (x, bias) = (Tensor::randn(shape), Tensor::randn([64]).tracked());
        let forward = |x: &Tensor| conv2d(x, &weight, Some(&bias), Conv2dOptions::default());
        let grad = Tensor::randn(forward(&x).dims());
        let flops = (2 * grad.numel() * shape[1] * 9) as u64;
        group.throughput(Throughput::Elements(flops));
        group.bench_function(format!("conv2d {shape:?} forward"), |bench| bench.iter(|| forward(&x)));
        let x = x.tracked();
        group.throughput(Throughput::Elements(3 * flops));
        group.bench_function(format!("conv2d {shape:?} forward, backward"), |bench| {
            bench.iter(|| record(|| forward(&x)).backward_with(&grad))
        });
    }
    group.finish();
}

criterion_group!(benches, kernels, layers);
criterion_main!(benches);
