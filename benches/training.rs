//! Training steps: forward, loss, backward and update, on data in memory. The throughput "elem/s" counts samples.

#[allow(dead_code, reason = "some are timed beside the peers only")]
#[path = "peers/networks.rs"]
mod networks;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use networks::{GruReader, LstmReader, mlp, mnist_cnn};
use wengert::loss::cross_entropy;
use wengert::nn::Layer;
use wengert::optim::{Adam, Optimizer};
use wengert::{Tensor, record};

const BATCH: usize = 64;

fn training(c: &mut Criterion) {
    let mut group = c.benchmark_group("training step");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, mut net, shape) in [("mnist_cnn", mnist_cnn(), vec![BATCH, 1, 28, 28]), ("mlp", mlp(), vec![BATCH, 784])]
    {
        let (x, y) = (Tensor::rand(shape), Tensor::from_fn([BATCH], |i| i as i64 % 10));
        let mut optimizer = Adam::new(1e-3);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let loss = record(|| cross_entropy(&net.forward(&x), &y));
                optimizer.step(&mut net, &loss.backward());
            })
        });
    }
    macro_rules! text {
        ($name:literal, $net:expr) => {
            let (mut net, mut optimizer) = ($net, Adam::new(1e-3));
            let (x, y) = (Tensor::from_fn([64, 32], |i| i as i64 % 65), Tensor::from_fn([64 * 32], |i| i as i64 % 64));
            group.throughput(Throughput::Elements(64 * 32));
            group.bench_function($name, |bench| {
                bench.iter(|| {
                    let loss = record(|| cross_entropy(&net.forward(&x).reshape([y.numel(), 65]), &y));
                    optimizer.step(&mut net, &loss.backward());
                })
            });
        };
    }
    text!("lstm_lm", LstmReader::new());
    text!("gru_lm", GruReader::new());
    group.finish();

    let mut group = c.benchmark_group("inference");
    let net = mnist_cnn();
    for batch in [1, 256] {
        let x = Tensor::rand([batch, 1, 28, 28]);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("mnist_cnn, batch {batch}"), |bench| bench.iter(|| net.forward(&x)));
    }
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
