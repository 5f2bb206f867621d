//! The networks that are timed, here and beside the peers.

use wengert::nn::{
    AvgPool2d, BatchNorm2d, Conv2d, Conv2dOptions, ConvTranspose2d, ConvTranspose2dOptions, Embedding, Flatten, Gru,
    Layer, LayerNorm, LeakyReLU, Linear, Lstm, MaxPool2d, ReLU, Sequential, Tanh,
};
use wengert::ops::{AttentionOptions, self_attention};
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

/// Images `[batch, 1, 28, 28]` from noise `[batch, 100]` (Radford, Metz and Chintala, 2016, made small).
pub struct Generator {
    pub fc: Linear,
    pub up: Sequential,
}
module!(Generator { fc, up });

impl Generator {
    pub fn new() -> Generator {
        let doubling = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
        let up = sequential![
            ReLU,
            ConvTranspose2d::with(128, 64, 4, doubling),
            ReLU,
            ConvTranspose2d::with(64, 1, 4, doubling),
            Tanh,
        ];
        Generator { fc: Linear::new(100, 7 * 7 * 128), up }
    }
}

impl Layer for Generator {
    fn forward(&self, z: &Tensor) -> Tensor {
        self.up.forward(&self.fc.forward(z).reshape([z.size(0), 128, 7, 7]))
    }
}

/// Logits `[batch, 1]` from images `[batch, 1, 28, 28]`.
pub fn discriminator() -> Sequential {
    let halving = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
    sequential![
        Conv2d::with(1, 64, 4, halving),
        LeakyReLU::new(0.2),
        Conv2d::with(64, 128, 4, halving),
        LeakyReLU::new(0.2),
        Flatten::default(),
        Linear::new(6272, 1),
    ]
}

/// Two convolutions with batch norm beside a shortcut (He et al., 2016).
pub struct BasicBlock {
    pub conv1: Conv2d,
    pub bn1: BatchNorm2d,
    pub conv2: Conv2d,
    pub bn2: BatchNorm2d,
    pub downsample: Option<Sequential>,
}
module!(BasicBlock { conv1, bn1, conv2, bn2, downsample });

impl BasicBlock {
    fn new(inputs: usize, outputs: usize, stride: usize) -> BasicBlock {
        let conv = |inputs, kernel: usize, stride| {
            let options =
                Conv2dOptions { stride: [stride; 2], padding: [kernel / 2; 2], bias: false, ..Default::default() };
            Conv2d::with(inputs, outputs, kernel, options)
        };
        let shrinks = stride != 1 || inputs != outputs;
        BasicBlock {
            conv1: conv(inputs, 3, stride),
            bn1: BatchNorm2d::new(outputs),
            conv2: conv(outputs, 3, 1),
            bn2: BatchNorm2d::new(outputs),
            downsample: shrinks.then(|| sequential![conv(inputs, 1, stride), BatchNorm2d::new(outputs)]),
        }
    }
}

impl Layer for BasicBlock {
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.bn1.forward(&self.conv1.forward(x)).relu();
        let y = self.bn2.forward(&self.conv2.forward(&y));
        match &self.downsample {
            Some(downsample) => (y + downsample.forward(x)).relu(),
            None => (y + x).relu(),
        }
    }
}

/// ResNet-18 for images of 32 x 32: a stem of 3 x 3, no pooling behind it.
pub fn resnet18_cifar() -> Sequential {
    let stem = Conv2dOptions { padding: [1, 1], bias: false, ..Default::default() };
    let mut net = sequential![Conv2d::with(3, 64, 3, stem), BatchNorm2d::new(64), ReLU];
    for (inputs, outputs, stride) in [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)] {
        net.push(BasicBlock::new(inputs, outputs, stride));
        net.push(BasicBlock::new(outputs, outputs, 1));
    }
    net.push(AvgPool2d::new(4));
    net.push(Flatten::default());
    net.push(Linear::new(512, 10));
    net
}

/// Attention and a small network, both behind a layer norm and beside a shortcut.
pub struct GptBlock {
    pub norm1: LayerNorm,
    pub qkv: Linear,
    pub out: Linear,
    pub norm2: LayerNorm,
    pub fc1: Linear,
    pub fc2: Linear,
}
module!(GptBlock { norm1, qkv, out, norm2, fc1, fc2 });

impl Layer for GptBlock {
    fn forward(&self, x: &Tensor) -> Tensor {
        let causal = AttentionOptions { is_causal: true, ..Default::default() };
        let heads = self_attention(&self.qkv.forward(&self.norm1.forward(x)), 4, causal);
        let x = self.out.forward(&heads) + x;
        self.fc2.forward(&self.fc1.forward(&self.norm2.forward(&x)).gelu()) + x
    }
}

/// Logits `[batch, 64, 65]` for the next of 65 characters (Radford et al., 2019, made small).
pub struct Gpt {
    pub tokens: Embedding,
    pub positions: Embedding,
    pub blocks: Vec<GptBlock>,
    pub norm: LayerNorm,
    pub head: Linear,
}
module!(Gpt { tokens, positions, blocks, norm, head });

impl Gpt {
    pub fn new() -> Gpt {
        let block = || GptBlock {
            norm1: LayerNorm::new(128),
            qkv: Linear::new(128, 3 * 128),
            out: Linear::new(128, 128),
            norm2: LayerNorm::new(128),
            fc1: Linear::new(128, 512),
            fc2: Linear::new(512, 128),
        };
        Gpt {
            tokens: Embedding::new(65, 128),
            positions: Embedding::new(64, 128),
            blocks: (0..4).map(|_| block()).collect(),
            norm: LayerNorm::new(128),
            head: Linear::new(128, 65),
        }
    }

    pub fn forward(&self, characters: &Tensor<i64>) -> Tensor {
        let mut x = self.tokens.forward(characters) + &*self.positions.weight;
        for block in &self.blocks {
            x = block.forward(&x);
        }
        self.head.forward(&self.norm.forward(&x))
    }
}
