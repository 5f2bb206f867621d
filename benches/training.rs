//! Training steps (forward, loss, backward and update) and inference, on data in memory. The throughput "elem/s" counts
//! samples.

#[path = "peers/networks.rs"]
mod networks;
#[path = "peers/repeat.rs"]
mod repeat;
#[path = "peers/workloads.rs"]
mod workloads;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

fn training(c: &mut Criterion) {
    let mut group = c.benchmark_group("network");
    for workload in workloads::all().into_iter().filter(|workload| workload.is_network()) {
        let mut run = (workload.make)();
        group.throughput(Throughput::Elements(workload.work.sample as u64));
        group.bench_function(&workload.name, |bench| {
            bench.iter_custom(|repeats| Duration::from_secs_f64((0..repeats).map(|_| run()).sum()))
        });
    }
    group.finish();
}

criterion_group!(benches, training);
criterion_main!(benches);
