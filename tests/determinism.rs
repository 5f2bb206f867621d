//! The same seed gives the same bits on any number of threads.

use wengert::kernels::parallel::with_num_threads;
use wengert::loss::cross_entropy;
use wengert::nn::{
    BatchNorm2d, Conv2d, Dropout, Flatten, Gru, Layer, LayerNorm, Linear, Lstm, LstmOptions, MaxPool2d, Module, ReLU,
};
use wengert::optim::{Adam, Optimizer};
use wengert::{Tensor, record, seed, sequential};

/// Trains for some steps; the bits of the losses and of all parameters and of the gradient of the input.
fn train() -> Vec<u32> {
    seed(3);
    let mut net = sequential![
        Conv2d::new(3, 16, 3),
        BatchNorm2d::new(16),
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(16, 24, 3),
        ReLU,
        Dropout::new(0.3),
        Flatten::default(),
        Linear::new(24 * 11 * 11, 256),
        LayerNorm::new([256]),
        ReLU,
        Linear::new(256, 10),
    ];
    let mut optimizer = Adam::new(1e-3);
    let (x, y) = (Tensor::randn([32, 3, 28, 28]).tracked(), Tensor::from_fn([32], |i| i as i64 % 10));
    let mut bits = Vec::new();
    let mut keep = |x: &Tensor| bits.extend(x.to_vec().into_iter().map(f32::to_bits));
    for _ in 0..4 {
        let loss = record(|| cross_entropy(&net.forward(&x), &y));
        keep(&loss);
        let grads = loss.backward();
        keep(&grads.of(&x));
        optimizer.step(&mut net, &grads);
    }
    net.parameters().iter().for_each(|(_, param)| keep(param));
    keep(&net.forward(&x));
    // Sums and products that are large enough to be shared out.
    let wide = Tensor::randn([300, 5000]);
    keep(&wide.sum());
    keep(&wide.sum_dim(0, false));
    keep(&wide.matmul(&wide.t()));
    keep(&wide.softmax(1).var_dim(1, 1, false));
    bits
}

/// Trains a recurrent network for some steps; the bits of the losses, of all parameters and of the gradient of the input.
fn train_on_sequences() -> Vec<u32> {
    seed(4);
    let options = LstmOptions { layers: 2, bidirectional: true, dropout: 0.2, ..Default::default() };
    let (lstm, gru, read) = (Lstm::with(24, 100, options), Gru::new(200, 120), Linear::new(120, 10));
    let mut net = (lstm, gru, read);
    let mut optimizer = Adam::new(1e-3);
    let lengths: Vec<usize> = (0..37).map(|i| 1 + i * 5 % 12).collect();
    let (x, y) = (Tensor::randn([12, 37, 24]).tracked(), Tensor::from_fn([37], |i| i as i64 % 10));
    let mut bits = Vec::new();
    let mut keep = |x: &Tensor| bits.extend(x.to_vec().into_iter().map(f32::to_bits));
    for _ in 0..3 {
        let loss = record(|| {
            let (y_lstm, state) = net.0.forward_with(&x, None, Some(&lengths));
            let (_, h) = net.1.forward(&y_lstm);
            cross_entropy(&net.2.forward(&h.select(0, 0)), &y) + state.c.square().mean()
        });
        keep(&loss);
        let grads = loss.backward();
        keep(&grads.of(&x));
        optimizer.step(&mut net, &grads);
    }
    net.parameters().iter().for_each(|(_, param)| keep(param));
    bits
}

#[test]
fn training_gives_the_same_bits_on_1_2_3_and_8_threads() {
    for train in [train, train_on_sequences] {
        let on = |threads| with_num_threads(threads, train);
        let first = on(1);
        assert!(first.iter().any(|&bits| bits != 0));
        for threads in [2, 3, 8] {
            assert!(on(threads) == first, "{threads} threads change the bits");
        }
        assert!(train() == first, "as many threads as there are by default change the bits");
    }
}
