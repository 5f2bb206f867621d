//! The networks that are timed, here and beside the peers.

use wengert::nn::{Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential};
use wengert::sequential;

/// The network of `examples/mnist_cnn.rs`.
pub fn mnist_cnn() -> Sequential {
    sequential![
        Conv2d::new(1, 32, 3),
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(32, 64, 3),
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(64, 64, 3),
        ReLU,
        Flatten::default(),
        Linear::new(576, 64),
        ReLU,
        Linear::new(64, 10),
    ]
}

pub fn mlp() -> Sequential {
    sequential![Linear::new(784, 512), ReLU, Linear::new(512, 512), ReLU, Linear::new(512, 10)]
}
