//! The networks that are timed, here and beside the peers.

use wengert::nn::{Conv2d, Embedding, Flatten, Gru, Layer, Linear, Lstm, MaxPool2d, ReLU, Sequential};
use wengert::{Tensor, module, sequential};

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

/// Models of text: letters to vectors, a recurrent layer, what comes next.
macro_rules! readers {
    ($($name:ident $recurrent:ident)+) => {$(
        pub struct $name {
            letters: Embedding,
            recurrent: $recurrent,
            next: Linear,
        }
        module!($name { letters, recurrent, next });

        impl $name {
            pub fn new() -> $name {
                $name {
                    letters: Embedding::new(65, 128),
                    recurrent: $recurrent::new(128, 256),
                    next: Linear::new(256, 65),
                }
            }

            /// `[steps, batch] -> [steps, batch, 65]`.
            pub fn forward(&self, letters: &Tensor<i64>) -> Tensor {
                self.next.forward(&self.recurrent.forward(&self.letters.forward(letters)).0)
            }
        }
    )+};
}
readers!(LstmReader Lstm GruReader Gru);
