//! The networks in candle: its own layers, losses and optimizers, on its CPU backend.
//!
//! Where a fused kernel of candle has no gradient (softmax, layer norm), its version that has one stands here.

use crate::letter;
use crate::repeat::{Run, timed};
use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::loss::{binary_cross_entropy_with_logit, cross_entropy};
use candle_nn::ops::{layer_norm_slow, leaky_relu, softmax};
use candle_nn::rnn::{GRUConfig, LSTMConfig};
use candle_nn::{
    Activation, AdamW, BatchNorm, Conv2d, Conv2dConfig, ConvTranspose2dConfig, Embedding, LayerNorm, Linear, Module,
    ModuleT, Optimizer, ParamsAdamW, RNN, Sequential, VarBuilder, VarMap, batch_norm, conv_transpose2d, conv2d,
    conv2d_no_bias, embedding, gru, layer_norm, linear, lstm, seq,
};

const CPU: Device = Device::Cpu;

pub fn make(name: &str) -> Option<Run> {
    let run = match name {
        "mnist_cnn" => training(mnist_cnn, adam, classified(&[64, 1, 28, 28])),
        "mlp" => training(mlp, adam, classified(&[64, 784])),
        "resnet18_cifar" => training(resnet18_cifar, |v| Momentum::new(v, 0.1), classified(&[32, 3, 32, 32])),
        "lstm_lm" => reading(|builder| lstm(128, 256, LSTMConfig::default(), builder)),
        "gru_lm" => reading(|builder| gru(128, 256, GRUConfig::default(), builder)),
        "gpt" => gpt(),
        "dcgan" => dcgan(),
        _ => infer(name.strip_prefix("infer ")?.parse().ok()?),
    };
    Some(run.expect("layers that can be made"))
}

fn stepping<R: 'static>(mut step: impl FnMut() -> Result<R> + 'static) -> Run {
    timed(move || step().expect("shapes that fit"))
}

/// Variables to be made by the layers that ask for them.
fn variables() -> (VarMap, VarBuilder<'static>) {
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    (map, builder)
}

/// The same numbers, whose gradients are not asked for.
fn constants(variables: &VarMap) -> VarBuilder<'static> {
    let variables = variables.data().lock().expect("no thread that panicked");
    let tensors = variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().detach())).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &CPU)
}

fn adam(variables: Vec<Var>) -> Result<AdamW> {
    AdamW::new(variables, ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() })
}

/// Forward, loss, backward, update; the gradients of the step before are gone.
fn training<N: 'static, O: Optimizer + 'static>(
    make: impl FnOnce(VarBuilder) -> Result<N>,
    optimizer: impl FnOnce(Vec<Var>) -> Result<O>,
    loss: impl Fn(&N) -> Result<Tensor> + 'static,
) -> Result<Run> {
    let (map, builder) = variables();
    let net = make(builder)?;
    let mut optimizer = optimizer(map.all_vars())?;
    Ok(stepping(move || {
        let loss = loss(&net)?;
        optimizer.backward_step(&loss)?;
        loss.to_scalar::<f32>()
    }))
}

/// The loss of random images of ten classes.
fn classified(shape: &[usize]) -> impl Fn(&Sequential) -> Result<Tensor> + use<> {
    let x = Tensor::rand(0.0_f32, 1.0, shape, &CPU).expect("a shape");
    let y = integers(&shape[..1], |i| i % 10).expect("a shape");
    move |net| cross_entropy(&net.forward(&x)?, &y)
}

fn integers(shape: &[usize], value: impl Fn(usize) -> usize) -> Result<Tensor> {
    let values = (0..shape.iter().product()).map(|i| value(i) as u32).collect();
    Tensor::from_vec(values, shape, &CPU)
}

fn mnist_cnn(builder: VarBuilder) -> Result<Sequential> {
    let conv = |inputs, outputs, name| conv2d(inputs, outputs, 3, Conv2dConfig::default(), builder.pp(name));
    Ok(seq()
        .add(conv(1, 32, "conv1")?)
        .add(Activation::Relu)
        .add_fn(|x| x.max_pool2d(2))
        .add(conv(32, 64, "conv2")?)
        .add(Activation::Relu)
        .add_fn(|x| x.max_pool2d(2))
        .add(conv(64, 64, "conv3")?)
        .add(Activation::Relu)
        .add_fn(|x| x.flatten_from(1))
        .add(linear(576, 64, builder.pp("fc1"))?)
        .add(Activation::Relu)
        .add(linear(64, 10, builder.pp("fc2"))?))
}

fn infer(batch: usize) -> Result<Run> {
    let (map, builder) = variables();
    mnist_cnn(builder)?;
    let (net, x) = (mnist_cnn(constants(&map))?, Tensor::rand(0.0_f32, 1.0, (batch, 1, 28, 28), &CPU)?);
    Ok(stepping(move || net.forward(&x)))
}

fn mlp(builder: VarBuilder) -> Result<Sequential> {
    Ok(seq()
        .add(linear(784, 512, builder.pp("fc1"))?)
        .add(Activation::Relu)
        .add(linear(512, 512, builder.pp("fc2"))?)
        .add(Activation::Relu)
        .add(linear(512, 10, builder.pp("fc3"))?))
}

/// A step on 32 texts of 64 letters; the recurrent layers want the texts first.
fn reading<R: RNN + 'static>(recurrent: fn(VarBuilder) -> Result<R>) -> Result<Run> {
    let (x, y) = (integers(&[32, 64], |i| letter(i, 0))?, integers(&[32 * 64], |i| letter(i, 1))?);
    let make = |builder: VarBuilder| {
        let letters = embedding(65, 128, builder.pp("letters"))?;
        Ok((letters, recurrent(builder.pp("recurrent"))?, linear(256, 65, builder.pp("next"))?))
    };
    training(make, adam, move |(letters, recurrent, next)| {
        let states = recurrent.seq(&letters.forward(&x)?)?;
        let hidden = recurrent.states_to_tensor(&states)?.reshape((32 * 64, 256))?;
        cross_entropy(&next.forward(&hidden)?, &y)
    })
}

struct GptBlock {
    norm1: LayerNorm,
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

/// `LayerNorm::forward` takes a kernel without a gradient.
fn normed(norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
    layer_norm_slow(x, norm.weight(), norm.bias().expect("a bias"), norm.eps() as f32)
}

impl GptBlock {
    fn new(builder: VarBuilder) -> Result<GptBlock> {
        Ok(GptBlock {
            norm1: layer_norm(128, 1e-5, builder.pp("norm1"))?,
            qkv: linear(128, 3 * 128, builder.pp("qkv"))?,
            out: linear(128, 128, builder.pp("out"))?,
            norm2: layer_norm(128, 1e-5, builder.pp("norm2"))?,
            fc1: linear(128, 512, builder.pp("fc1"))?,
            fc2: linear(512, 128, builder.pp("fc2"))?,
        })
    }

    /// `future` is added to the scores: minus infinity where a character must not look.
    fn forward(&self, x: &Tensor, future: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = x.dims3()?;
        let parts = self.qkv.forward(&normed(&self.norm1, x)?)?.chunk(3, D::Minus1)?;
        let heads = |part: &Tensor| part.reshape((batch, length, 4, width / 4))?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (heads(&parts[0])?, heads(&parts[1])?, heads(&parts[2])?);
        let scores = (q.matmul(&k.t()?)? * (1.0 / (width as f64 / 4.0).sqrt()))?.broadcast_add(future)?;
        let attended = softmax(&scores, D::Minus1)?.matmul(&v)?.transpose(1, 2)?.reshape((batch, length, width))?;
        let x = (x + self.out.forward(&attended)?)?;
        let y = self.fc2.forward(&self.fc1.forward(&normed(&self.norm2, &x)?)?.gelu_erf()?)?;
        x + y
    }
}

struct Gpt {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<GptBlock>,
    norm: LayerNorm,
    head: Linear,
}

fn gpt() -> Result<Run> {
    let x = integers(&[12, 64], |i| i * 7 % 65)?;
    let y = integers(&[12 * 64], |i| (i + 1) * 7 % 65)?;
    let future: Vec<f32> = (0..64 * 64).map(|i| if i % 64 > i / 64 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let future = Tensor::from_vec(future, (64, 64), &CPU)?;
    let make = |builder: VarBuilder| {
        Ok(Gpt {
            tokens: embedding(65, 128, builder.pp("tokens"))?,
            positions: embedding(64, 128, builder.pp("positions"))?,
            blocks: (0..4).map(|i| GptBlock::new(builder.pp(format!("block{i}")))).collect::<Result<_>>()?,
            norm: layer_norm(128, 1e-5, builder.pp("norm"))?,
            head: linear(128, 65, builder.pp("head"))?,
        })
    };
    let adamw = |variables| AdamW::new(variables, ParamsAdamW { lr: 1e-3, weight_decay: 0.01, ..Default::default() });
    training(make, adamw, move |net| {
        let mut hidden = net.tokens.forward(&x)?.broadcast_add(net.positions.embeddings())?;
        for block in &net.blocks {
            hidden = block.forward(&hidden, &future)?;
        }
        cross_entropy(&net.head.forward(&normed(&net.norm, &hidden)?)?.flatten_to(1)?, &y)
    })
}

fn generator(builder: VarBuilder) -> Result<Sequential> {
    let doubling = ConvTranspose2dConfig { stride: 2, padding: 1, ..Default::default() };
    Ok(seq()
        .add(linear(100, 7 * 7 * 128, builder.pp("fc"))?)
        .add_fn(|x| x.reshape(((), 128, 7, 7)))
        .add(Activation::Relu)
        .add(conv_transpose2d(128, 64, 4, doubling, builder.pp("up1"))?)
        .add(Activation::Relu)
        .add(conv_transpose2d(64, 1, 4, doubling, builder.pp("up2"))?)
        .add_fn(|x| x.tanh()))
}

fn discriminator(builder: VarBuilder) -> Result<Sequential> {
    let halving = Conv2dConfig { stride: 2, padding: 1, ..Default::default() };
    Ok(seq()
        .add(conv2d(1, 64, 4, halving, builder.pp("conv1"))?)
        .add_fn(|x| leaky_relu(x, 0.2))
        .add(conv2d(64, 128, 4, halving, builder.pp("conv2"))?)
        .add_fn(|x| leaky_relu(x, 0.2))
        .add_fn(|x| x.flatten_from(1))
        .add(linear(6272, 1, builder.pp("fc"))?))
}

/// The discriminator learns real images from made ones, then the generator what it is taken in by.
fn dcgan() -> Result<Run> {
    let options = ParamsAdamW { lr: 2e-4, beta1: 0.5, weight_decay: 0.0, ..Default::default() };
    let (g_map, builder) = variables();
    let g = generator(builder)?;
    let (d_map, builder) = variables();
    let d = discriminator(builder)?;
    // It sees every update: the numbers are the same ones.
    let judge = discriminator(constants(&d_map))?;
    let mut g_optimizer = AdamW::new(g_map.all_vars(), options.clone())?;
    let mut d_optimizer = AdamW::new(d_map.all_vars(), options)?;
    let (real, z) =
        (Tensor::rand(-1.0_f32, 1.0, (64, 1, 28, 28), &CPU)?, Tensor::randn(0.0_f32, 1.0, (64, 100), &CPU)?);
    let (ones, zeros) = (Tensor::ones((64, 1), DType::F32, &CPU)?, Tensor::zeros((64, 1), DType::F32, &CPU)?);
    let bce = binary_cross_entropy_with_logit;
    Ok(stepping(move || {
        let fake = g.forward(&z)?;
        let d_loss = (bce(&d.forward(&real)?, &ones)? + bce(&d.forward(&fake.detach())?, &zeros)?)?;
        d_optimizer.backward_step(&d_loss)?;
        let g_loss = bce(&judge.forward(&fake)?, &ones)?;
        g_optimizer.backward_step(&g_loss)?;
        Ok([d_loss.to_scalar::<f32>()?, g_loss.to_scalar::<f32>()?])
    }))
}

/// SGD with a momentum of 0.9, which candle has not.
struct Momentum {
    variables: Vec<(Var, Option<Tensor>)>,
    rate: f64,
}

impl Optimizer for Momentum {
    type Config = f64;

    fn new(variables: Vec<Var>, rate: f64) -> Result<Momentum> {
        Ok(Momentum { variables: variables.into_iter().map(|variable| (variable, None)).collect(), rate })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        for (variable, velocity) in &mut self.variables {
            let Some(gradient) = gradients.get(variable) else { continue };
            let next = match velocity {
                Some(velocity) => ((&*velocity * 0.9)? + gradient)?,
                None => gradient.clone(),
            };
            variable.set(&variable.sub(&(&next * self.rate)?)?)?;
            *velocity = Some(next);
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.rate = rate;
    }
}

/// A convolution without a bias, and the batch norm behind it.
struct Normed {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Normed {
    fn new(inputs: usize, outputs: usize, kernel: usize, stride: usize, builder: VarBuilder) -> Result<Normed> {
        let options = Conv2dConfig { stride, padding: kernel / 2, ..Default::default() };
        let conv = conv2d_no_bias(inputs, outputs, kernel, options, builder.pp("conv"))?;
        Ok(Normed { conv, norm: batch_norm(outputs, 1e-5, builder.pp("norm"))? })
    }
}

impl Module for Normed {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.forward_t(&self.conv.forward(x)?, true)
    }
}

struct BasicBlock {
    first: Normed,
    second: Normed,
    downsample: Option<Normed>,
}

impl BasicBlock {
    fn new(inputs: usize, outputs: usize, stride: usize, builder: VarBuilder) -> Result<BasicBlock> {
        let shrinks = stride != 1 || inputs != outputs;
        let downsample = shrinks.then(|| Normed::new(inputs, outputs, 1, stride, builder.pp("downsample")));
        Ok(BasicBlock {
            first: Normed::new(inputs, outputs, 3, stride, builder.pp("first"))?,
            second: Normed::new(outputs, outputs, 3, 1, builder.pp("second"))?,
            downsample: downsample.transpose()?,
        })
    }
}

impl Module for BasicBlock {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.second.forward(&self.first.forward(x)?.relu()?)?;
        match &self.downsample {
            Some(downsample) => (y + downsample.forward(x)?)?.relu(),
            None => (y + x)?.relu(),
        }
    }
}

fn resnet18_cifar(builder: VarBuilder) -> Result<Sequential> {
    let mut net = seq().add(Normed::new(3, 64, 3, 1, builder.pp("stem"))?).add(Activation::Relu);
    for (i, (inputs, outputs, stride)) in
        [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)].into_iter().enumerate()
    {
        net = net
            .add(BasicBlock::new(inputs, outputs, stride, builder.pp(format!("stage{i}.0")))?)
            .add(BasicBlock::new(outputs, outputs, 1, builder.pp(format!("stage{i}.1")))?);
    }
    Ok(net.add_fn(|x| x.avg_pool2d(4)).add_fn(|x| x.flatten_from(1)).add(linear(512, 10, builder.pp("fc"))?))
}
