//! The networks in burn: its own layers, losses and optimizers, on its backend `flex`.

use crate::letter;
use crate::repeat::{Run, timed};
use burn::module::{Module, ModuleDisplay};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::gru::{Gru, GruConfig};
use burn::nn::loss::{BinaryCrossEntropyLoss, BinaryCrossEntropyLossConfig, CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, Lstm,
    LstmConfig, PaddingConfig2d,
};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::{gelu, leaky_relu, relu, tanh};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

pub fn make(name: &str) -> Option<Run> {
    let plain = Device::flex();
    let device = &plain.clone().autodiff();
    Some(match name {
        "mnist_cnn" => classifying(MnistCnn::new(device), MnistCnn::forward, adam(), 1e-3, [64, 1, 28, 28], device),
        "mlp" => classifying(Mlp::new(device), Mlp::forward, adam(), 1e-3, [64, 784], device),
        "resnet18_cifar" => {
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
            let sgd = SgdConfig::new().with_momentum(Some(momentum)).init();
            classifying(Resnet::new(device), Resnet::forward, sgd, 0.1, [32, 3, 32, 32], device)
        }
        "lstm_lm" => {
            let recurrent = LstmConfig::new(128, 256, true).init(device);
            reading(Reader::new(recurrent, device), |lstm: &Lstm, x| lstm.forward(x, None).0, device)
        }
        "gru_lm" => {
            let recurrent = GruConfig::new(128, 256, true).init(device);
            reading(Reader::new(recurrent, device), |gru: &Gru, x| gru.forward(x, None), device)
        }
        "gpt" => {
            let x = integers([12, 64], |i| i * 7 % 65, device);
            let y = integers([12 * 64], |i| (i + 1) * 7 % 65, device);
            let adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).init();
            let loss = cross_entropy(device);
            training(Gpt::new(device), adamw, 1e-3, move |net| loss.forward(net.forward(x.clone()), y.clone()))
        }
        "dcgan" => dcgan(device),
        _ => {
            let batch: usize = name.strip_prefix("infer ")?.parse().ok()?;
            let (net, x) = (MnistCnn::new(&plain), uniform([batch, 1, 28, 28], &plain));
            timed(move || net.forward(x.clone()))
        }
    })
}

fn uniform<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(0.0, 1.0), device)
}

fn integers<const D: usize>(shape: [usize; D], value: impl Fn(usize) -> usize, device: &Device) -> Tensor<D, Int> {
    let values: Vec<i64> = (0..shape.iter().product()).map(|i| value(i) as i64).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().with_epsilon(1e-8).init()
}

fn cross_entropy(device: &Device) -> CrossEntropyLoss {
    CrossEntropyLossConfig::new().init(device)
}

/// Forward, loss, backward, update; the gradients of the step before are gone.
fn training<M: Module + 'static>(
    net: M,
    mut optimizer: ModuleOptimizer,
    rate: f64,
    loss: impl Fn(&M) -> Tensor<1> + 'static,
) -> Run {
    let mut net = Some(net);
    timed(move || {
        let before = net.take().expect("each step puts the network back");
        let (after, value) = step(before, &mut optimizer, rate, &loss);
        net = Some(after);
        value
    })
}

/// The network behind a step, and the loss before it.
fn step<M: Module>(net: M, optimizer: &mut ModuleOptimizer, rate: f64, loss: impl Fn(&M) -> Tensor<1>) -> (M, f32) {
    let loss = loss(&net);
    let value = loss.clone().into_scalar::<f32>();
    let gradients = GradientsParams::from_grads(loss.backward(), &net);
    drop(loss);
    (optimizer.step(rate, net, gradients), value)
}

fn classifying<M: Module + 'static, const D: usize>(
    net: M,
    forward: fn(&M, Tensor<D>) -> Tensor<2>,
    optimizer: ModuleOptimizer,
    rate: f64,
    shape: [usize; D],
    device: &Device,
) -> Run {
    let (x, y) = (uniform(shape, device), integers([shape[0]], |i| i % 10, device));
    let loss = cross_entropy(device);
    training(net, optimizer, rate, move |net| loss.forward(forward(net, x.clone()), y.clone()))
}

fn conv(channels: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
}

#[derive(Module, Debug)]
struct MnistCnn {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    pool: MaxPool2d,
    fc1: Linear,
    fc2: Linear,
}

impl MnistCnn {
    fn new(device: &Device) -> MnistCnn {
        MnistCnn {
            conv1: conv([1, 32], 3, 1, 0).init(device),
            conv2: conv([32, 64], 3, 1, 0).init(device),
            conv3: conv([64, 64], 3, 1, 0).init(device),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            fc1: LinearConfig::new(576, 64).init(device),
            fc2: LinearConfig::new(64, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.conv1.forward(x)));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        let x = relu(self.conv3.forward(x)).flatten(1, 3);
        self.fc2.forward(relu(self.fc1.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Mlp {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Mlp { fc1: linear(784, 512), fc2: linear(512, 512), fc3: linear(512, 10) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc3.forward(relu(self.fc2.forward(relu(self.fc1.forward(x)))))
    }
}

#[derive(Module, Debug)]
struct Reader<R: Module> {
    letters: Embedding,
    recurrent: R,
    next: Linear,
}

impl<R: Module> Reader<R> {
    fn new(recurrent: R, device: &Device) -> Reader<R> {
        Reader {
            letters: EmbeddingConfig::new(65, 128).init(device),
            recurrent,
            next: LinearConfig::new(256, 65).init(device),
        }
    }
}

/// A step on 32 texts of 64 letters; the recurrent layers want the texts first.
fn reading<R: Module + ModuleDisplay + 'static>(
    net: Reader<R>,
    recurrent: fn(&R, Tensor<3>) -> Tensor<3>,
    device: &Device,
) -> Run {
    let x = integers([32, 64], |i| letter(i, 0), device);
    let y = integers([32 * 64], |i| letter(i, 1), device);
    let loss = cross_entropy(device);
    training(net, adam(), 1e-3, move |net| {
        let hidden = recurrent(&net.recurrent, net.letters.forward(x.clone()));
        loss.forward(net.next.forward(hidden).flatten(0, 1), y.clone())
    })
}

#[derive(Module, Debug)]
struct GptBlock {
    norm1: LayerNorm,
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl GptBlock {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let parts = self.qkv.forward(self.norm1.forward(x.clone())).chunk(3, 2);
        let heads = |part: &Tensor<3>| part.clone().reshape([batch, length, 4, width / 4]).swap_dims(1, 2);
        let causal = AttentionModuleOptions { is_causal: true, ..Default::default() };
        let attended = attention(heads(&parts[0]), heads(&parts[1]), heads(&parts[2]), None, None, causal);
        let x = x + self.out.forward(attended.swap_dims(1, 2).reshape([batch, length, width]));
        let y = self.fc2.forward(gelu(self.fc1.forward(self.norm2.forward(x.clone()))));
        x + y
    }
}

#[derive(Module, Debug)]
struct Gpt {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<GptBlock>,
    norm: LayerNorm,
    head: Linear,
}

impl Gpt {
    fn new(device: &Device) -> Gpt {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let norm = || LayerNormConfig::new(128).init(device);
        let block = || GptBlock {
            norm1: norm(),
            qkv: linear(128, 3 * 128),
            out: linear(128, 128),
            norm2: norm(),
            fc1: linear(128, 512),
            fc2: linear(512, 128),
        };
        Gpt {
            tokens: EmbeddingConfig::new(65, 128).init(device),
            positions: EmbeddingConfig::new(64, 128).init(device),
            blocks: (0..4).map(|_| block()).collect(),
            norm: norm(),
            head: linear(128, 65),
        }
    }

    /// `[batch, 64] -> [batch * 64, 65]`.
    fn forward(&self, characters: Tensor<2, Int>) -> Tensor<2> {
        let x = self.tokens.forward(characters) + self.positions.weight.val().unsqueeze();
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.head.forward(self.norm.forward(x)).flatten(0, 1)
    }
}

#[derive(Module, Debug)]
struct Generator {
    fc: Linear,
    up1: ConvTranspose2d,
    up2: ConvTranspose2d,
}

impl Generator {
    fn new(device: &Device) -> Generator {
        let doubling = |channels| {
            ConvTranspose2dConfig::new(channels, [4, 4]).with_stride([2, 2]).with_padding([1, 1]).init(device)
        };
        Generator {
            fc: LinearConfig::new(100, 7 * 7 * 128).init(device),
            up1: doubling([128, 64]),
            up2: doubling([64, 1]),
        }
    }

    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let [batch, _] = z.dims();
        let x = relu(self.fc.forward(z).reshape([batch, 128, 7, 7]));
        tanh(self.up2.forward(relu(self.up1.forward(x))))
    }
}

#[derive(Module, Debug)]
struct Discriminator {
    conv1: Conv2d,
    conv2: Conv2d,
    fc: Linear,
}

impl Discriminator {
    fn new(device: &Device) -> Discriminator {
        Discriminator {
            conv1: conv([1, 64], 4, 2, 1).init(device),
            conv2: conv([64, 128], 4, 2, 1).init(device),
            fc: LinearConfig::new(6272, 1).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = leaky_relu(self.conv1.forward(x), 0.2);
        let x = leaky_relu(self.conv2.forward(x), 0.2);
        self.fc.forward(x.flatten(1, 3))
    }
}

/// The discriminator learns real images from made ones, then the generator what it is taken in by.
fn dcgan(device: &Device) -> Run {
    const RATE: f64 = 2e-4;
    let (mut nets, adam) = (
        Some((Generator::new(device), Discriminator::new(device))),
        AdamConfig::new().with_beta_1(0.5).with_epsilon(1e-8),
    );
    let (mut g_optimizer, mut d_optimizer) = (adam.init(), adam.init());
    let real = uniform([64, 1, 28, 28], device) * 2.0 - 1.0;
    let z = Tensor::<2>::random([64, 100], Distribution::Normal(0.0, 1.0), device);
    let (ones, zeros) = (integers([64, 1], |_| 1, device), integers([64, 1], |_| 0, device));
    let bce: BinaryCrossEntropyLoss = BinaryCrossEntropyLossConfig::new().with_logits(true).init(device);
    timed(move || {
        let (g, d) = nets.take().expect("each step puts the networks back");
        let fake = g.forward(z.clone());
        let (d, d_loss) = step(d, &mut d_optimizer, RATE, |d| {
            bce.forward(d.forward(real.clone()), ones.clone())
                + bce.forward(d.forward(fake.clone().detach()), zeros.clone())
        });
        // None of its gradients is asked for.
        let judge = d.clone().no_grad();
        let (g, g_loss) = step(g, &mut g_optimizer, RATE, |_| bce.forward(judge.forward(fake.clone()), ones.clone()));
        nets = Some((g, d));
        [d_loss, g_loss]
    })
}

#[derive(Module, Debug)]
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    downsample: Option<(Conv2d, BatchNorm)>,
}

impl BasicBlock {
    fn new(inputs: usize, outputs: usize, stride: usize, device: &Device) -> BasicBlock {
        let conv =
            |inputs, kernel, stride| conv([inputs, outputs], kernel, stride, kernel / 2).with_bias(false).init(device);
        let norm = || BatchNormConfig::new(outputs).init(device);
        let shrinks = stride != 1 || inputs != outputs;
        BasicBlock {
            conv1: conv(inputs, 3, stride),
            bn1: norm(),
            conv2: conv(outputs, 3, 1),
            bn2: norm(),
            downsample: shrinks.then(|| (conv(inputs, 1, stride), norm())),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let y = self.bn2.forward(self.conv2.forward(y));
        relu(match &self.downsample {
            Some((conv, norm)) => y + norm.forward(conv.forward(x)),
            None => y + x,
        })
    }
}

#[derive(Module, Debug)]
struct Resnet {
    stem: Conv2d,
    norm: BatchNorm,
    blocks: Vec<BasicBlock>,
    pool: AvgPool2d,
    fc: Linear,
}

impl Resnet {
    fn new(device: &Device) -> Resnet {
        let stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)];
        Resnet {
            stem: conv([3, 64], 3, 1, 1).with_bias(false).init(device),
            norm: BatchNormConfig::new(64).init(device),
            blocks: stages
                .into_iter()
                .flat_map(|(inputs, outputs, stride)| [(inputs, outputs, stride), (outputs, outputs, 1)])
                .map(|(inputs, outputs, stride)| BasicBlock::new(inputs, outputs, stride, device))
                .collect(),
            pool: AvgPool2dConfig::new([4, 4]).init(),
            fc: LinearConfig::new(512, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm.forward(self.stem.forward(x)));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.fc.forward(self.pool.forward(x).flatten(1, 3))
    }
}
