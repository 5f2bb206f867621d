//! The network of the example `mnist_cnn`, whose files it reads.

use wengert::nn::{Conv2d, Layer, Linear, MaxPool2d};
use wengert::{Tensor, module};

pub struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    fc1: Linear,
    fc2: Linear,
    pool: MaxPool2d,
}
module!(Cnn { conv1, conv2, conv3, fc1, fc2 });

impl Default for Cnn {
    fn default() -> Cnn {
        Cnn {
            conv1: Conv2d::new(1, 32, 3),
            conv2: Conv2d::new(32, 64, 3),
            conv3: Conv2d::new(64, 64, 3),
            fc1: Linear::new(576, 64),
            fc2: Linear::new(64, 10),
            pool: MaxPool2d::new(2),
        }
    }
}

impl Cnn {
    /// Images `[batch, 1, 28, 28]` in `[0, 1]` to features `[batch, 64]`.
    pub fn features(&self, x: &Tensor) -> Tensor {
        let x = self.pool.forward(&self.conv1.forward(x)).relu();
        let x = self.pool.forward(&self.conv2.forward(&x)).relu();
        self.fc1.forward(&self.conv3.forward(&x).relu().flatten(1)).relu()
    }

    /// Features to logits `[batch, 10]`.
    pub fn logits(&self, features: &Tensor) -> Tensor {
        self.fc2.forward(features)
    }
}

impl Layer for Cnn {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.logits(&self.features(x))
    }
}
