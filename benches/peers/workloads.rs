//! The workloads and kernels: what a repeat does, and the work in it.

mod everyday;

use super::networks::{Generator, Gpt, GruReader, LstmReader, discriminator, mlp, mnist_cnn, resnet18_cifar};
use super::repeat::{Run, timed};
use std::fmt;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;
use wengert::data::{DataLoader, Mnist};
use wengert::loss::{binary_cross_entropy_with_logits as bce, cross_entropy};
use wengert::nn::{Conv2d, Layer, Linear, Lstm, Module};
use wengert::ops::{Conv2dOptions, conv2d, layer_norm};
use wengert::optim::{Adam, AdamOptions, AdamW, Optimizer, Sgd, SgdOptions};
use wengert::{Tensor, record};

pub struct Workload {
    pub name: String,
    pub work: Work,
    /// One repeat is measured instead of a median.
    pub once: bool,
    /// Prepares data and model.
    pub make: Box<dyn Fn() -> Run>,
}

impl Workload {
    /// Whether it is a network's, whose repeats are steps.
    pub fn is_network(&self) -> bool {
        self.work.sample > 0.0 && !self.once
    }
}

/// What one repeat must do at least: floating-point operations, bytes read and written, samples.
#[derive(Clone, Copy, Default)]
pub struct Work {
    pub flop: f64,
    pub byte: f64,
    pub sample: f64,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let parts = [("flop", self.flop), ("byte", self.byte), ("sample", self.sample)];
        let known: Vec<String> = parts.iter().filter(|p| p.1 > 0.0).map(|(unit, n)| format!("{unit}={n:e}")).collect();
        f.write_str(&known.join(" "))
    }
}

pub fn all() -> Vec<Workload> {
    let mut list = List(Vec::new());
    networks(&mut list);
    small_inference(&mut list);
    products(&mut list);
    convolutions(&mut list);
    passes(&mut list);
    small_operations(&mut list);
    everyday::operations(&mut list);
    list.0
}

struct List(Vec<Workload>);

impl List {
    /// A workload whose repeat is timed from beginning to end.
    fn add<R>(&mut self, name: impl Into<String>, work: Work, make: impl Fn() -> Box<dyn FnMut() -> R> + 'static)
    where
        R: 'static,
    {
        self.add_timed(name, work, move || timed(make()));
    }

    /// A workload that holds the clock itself.
    fn add_timed(&mut self, name: impl Into<String>, work: Work, make: impl Fn() -> Run + 'static) {
        let name = name.into();
        self.0.push(Workload { name, work, once: false, make: Box::new(make) });
    }

    fn last(&mut self) -> &mut Workload {
        self.0.last_mut().expect("a workload was added")
    }
}

/// Products of the forward pass: multiply-adds of (first layer, all layers) for one sample.
const MNIST_CNN: (f64, f64) =
    (32. * 676. * 9., 32. * 676. * 9. + 64. * 121. * 288. + 64. * 9. * 576. + 576. * 64. + 640.);
const MLP: (f64, f64) = (784. * 512., 784. * 512. + 512. * 512. + 5120.);

/// Of one letter: a recurrent layer with so many sums for each unit, the layer that reads it out.
const fn reader(gates: f64) -> f64 {
    gates * 256. * (128. + 256.) + 256. * 65.
}
/// Letters of a step, and texts.
const TEXT: [usize; 2] = [64, 32];

/// The first convolution, and all: a stem, the four convolutions of 64 channels, and three stages that halve height and width
/// and double the channels, whose first convolution and shortcut see half of them.
const RESNET: (f64, f64) = {
    let (stem, whole) = (3. * 64. * 9. * 1024., 64. * 64. * 9. * 1024.);
    (stem, stem + 4. * whole + 3. * (3.5 * whole + whole / 18.) + 5120.)
};
/// For a character: the linear layers, and the products of attention with half of the others.
const GPT: f64 = 4. * (128. * 384. + 65. * 128. + 128. * 128. + 2. * 128. * 512.) + 128. * 65.;
/// The first layer, and all.
const GENERATOR: (f64, f64) = (100. * 6272., 100. * 6272. + 128. * 64. * 16. * 49. + 64. * 16. * 196.);
const DISCRIMINATOR: (f64, f64) = (64. * 16. * 196., 64. * 16. * 196. + 64. * 128. * 16. * 49. + 6272.);

/// Forward and both gradients, but for that of the first layer's input.
fn step_work((first, all): (f64, f64), batch: usize) -> Work {
    Work { flop: 2.0 * batch as f64 * (3.0 * all - first), sample: batch as f64, ..Default::default() }
}

fn training_step<M: Module + 'static>(
    mut net: M,
    mut optimizer: impl Optimizer + 'static,
    loss: impl Fn(&M) -> Tensor + 'static,
) -> Box<dyn FnMut() -> f32> {
    Box::new(move || {
        let loss = record(|| loss(&net));
        let value = loss.item();
        optimizer.step(&mut net, &loss.backward());
        value
    })
}

/// A step on letters and those that follow.
fn text_step<N: Module + 'static>(net: N, forward: fn(&N, &Tensor<i64>) -> Tensor) -> Box<dyn FnMut() -> f32> {
    let letters = |ahead: usize| Tensor::from_fn(TEXT, |i| (i * i + 7 * (i + ahead)) as i64 % 65);
    let (x, y) = (letters(0), letters(1).flatten(0));
    training_step(net, Adam::new(1e-3), move |net| cross_entropy(&forward(net, &x).reshape([y.numel(), 65]), &y))
}

fn classifying_step(
    net: impl Layer + 'static,
    optimizer: impl Optimizer + 'static,
    shape: &[usize],
) -> Box<dyn FnMut() -> f32> {
    let (x, y) = (Tensor::rand(shape), Tensor::from_fn([shape[0]], |i| i as i64 % 10));
    training_step(net, optimizer, move |net| cross_entropy(&net.forward(&x), &y))
}

/// The discriminator learns real images from made ones, then the generator what it is taken in by.
fn dcgan_step() -> Box<dyn FnMut() -> [f32; 2]> {
    let (mut g, mut d) = (Generator::new(), discriminator());
    let options = AdamOptions { lr: 2e-4, betas: [0.5, 0.999], ..Default::default() };
    let (mut g_optimizer, mut d_optimizer) = (Adam::with(options), Adam::with(options));
    let (real, z) = (Tensor::rand([64, 1, 28, 28]) * 2.0 - 1.0, Tensor::randn([64, 100]));
    let (ones, zeros) = (Tensor::ones([64, 1]), Tensor::zeros([64, 1]));
    Box::new(move || {
        let fake = record(|| g.forward(&z));
        let loss = record(|| bce(&d.forward(&real), &ones) + bce(&d.forward(&fake.detach()), &zeros));
        let d_loss = loss.item();
        d_optimizer.step(&mut d, &loss.backward());
        d.freeze("");
        let loss = record(|| bce(&d.forward(&fake), &ones));
        drop(fake);
        let g_loss = loss.item();
        g_optimizer.step(&mut g, &loss.backward());
        d.unfreeze("");
        [d_loss, g_loss]
    })
}

fn networks(list: &mut List) {
    list.add("mnist_cnn", step_work(MNIST_CNN, 64), || {
        classifying_step(mnist_cnn(), Adam::new(1e-3), &[64, 1, 28, 28])
    });
    list.add("mlp", step_work(MLP, 64), || classifying_step(mlp(), Adam::new(1e-3), &[64, 784]));
    // The discriminator sees real and made images and trains on both; for the generator it gives the gradient of the image
    // alone, through all of its layers.
    let products =
        2.0 * (3.0 * DISCRIMINATOR.1 - DISCRIMINATOR.0) + 2.0 * DISCRIMINATOR.1 + 3.0 * GENERATOR.1 - GENERATOR.0;
    list.add("dcgan", Work { flop: 2.0 * 64.0 * products, sample: 64.0, ..Default::default() }, dcgan_step);
    list.add("gpt", step_work((0.0, GPT), 12 * 64), || {
        let x = Tensor::from_fn([12, 64], |i| (i * 7 % 65) as i64);
        let y = Tensor::from_fn([12 * 64], |i| ((i + 1) * 7 % 65) as i64);
        let options = AdamOptions { lr: 1e-3, weight_decay: 0.01, ..Default::default() };
        training_step(Gpt::new(), AdamW::with(options), move |net| {
            cross_entropy(&net.forward(&x).reshape([12 * 64, 65]), &y)
        })
    });
    list.add("resnet18_cifar", step_work(RESNET, 32), || {
        let optimizer = Sgd::with(SgdOptions { lr: 0.1, momentum: 0.9, ..Default::default() });
        classifying_step(resnet18_cifar(), optimizer, &[32, 3, 32, 32])
    });
    let [steps, texts] = TEXT;
    let work = |gates: f64| step_work((0.0, reader(gates)), steps * texts);
    list.add("lstm_lm", work(4.), || text_step(LstmReader::new(), LstmReader::forward));
    list.add("gru_lm", work(3.), || text_step(GruReader::new(), GruReader::forward));
    for batch in [1, 256] {
        let work = Work { flop: 2.0 * batch as f64 * MNIST_CNN.1, sample: batch as f64, ..Default::default() };
        list.add(format!("infer {batch}"), work, move || {
            let (net, x) = (mnist_cnn(), Tensor::rand([batch, 1, 28, 28]));
            Box::new(move || net.forward(&x))
        });
    }
    if let Some(dir) = std::env::var_os("WENGERT_MNIST").map(PathBuf::from) {
        let work = step_work(MNIST_CNN, 60_000);
        list.add("mnist epoch", work, move || {
            let dir = dir.clone();
            Box::new(move || epoch(&dir))
        });
        list.last().once = true;
    }
}

/// A layer alone on little input, as in serving and in generating text.
fn small_inference(list: &mut List) {
    let work = |products: usize| Work { flop: 2.0 * products as f64, ..Default::default() };
    for rows in [1, 8] {
        list.add(format!("infer linear {rows}x1024x1024"), work(rows * 1024 * 1024), move || {
            let (net, x) = (Linear::new(1024, 1024), Tensor::randn([rows, 1024]));
            Box::new(move || net.forward(&x))
        });
    }
    list.add("infer lstm 1x1x128x256", work(4 * 256 * (128 + 256)), || {
        let (net, x) = (Lstm::new(128, 256), Tensor::randn([1, 1, 128]));
        let (_, state) = net.forward(&x);
        Box::new(move || net.forward_with(&x, Some(&state), None).0)
    });
    // Taps that fall on the image, of 3 x 3 on each of 4 x 4 pixels.
    list.add("infer conv2d 1x512x4x4", work(512 * 512 * 100), || {
        let options = Conv2dOptions { padding: [1, 1], ..Default::default() };
        let (net, x) = (Conv2d::with(512, 512, 3, options), Tensor::randn([1, 512, 4, 4]));
        Box::new(move || net.forward(&x))
    });
}

/// One epoch of `mnist_cnn`, from the files to the last step, with running loss and accuracy.
fn epoch(dir: &std::path::Path) -> f64 {
    let train = Mnist::load(dir).expect("the four files of MNIST").train;
    let (mut seen, mut hits, mut losses) = (0, 0, 0.0);
    let (mut net, mut optimizer) = (mnist_cnn(), Adam::new(1e-3));
    let loader = DataLoader::new(train, 64).shuffle(true).prefetch(2);
    for (step, (x, y)) in loader.epoch(0).enumerate() {
        let (loss, logits) = record(|| {
            let logits = net.forward(&x);
            (cross_entropy(&logits, &y), logits.detach())
        });
        seen += y.numel();
        losses += f64::from(loss.item()) * y.numel() as f64;
        hits += logits.argmax(-1, false).eq(&y).to_vec().into_iter().filter(|&hit| hit).count();
        optimizer.step(&mut net, &loss.backward());
        if step % 100 == 0 {
            eprintln!("{seen} samples, loss {:.4}, accuracy {:.4}", losses / seen as f64, hits as f64 / seen as f64);
        }
    }
    hits as f64 / seen as f64
}

fn products(list: &mut List) {
    let square = [64, 128, 256, 512, 1024, 2048].map(|n| [n, n, n]);
    let skinny = [[64, 784, 512], [2048, 128, 1024], [64, 256, 1024], [64, 288, 9216], [7744, 288, 64]];
    for [m, k, n] in square.into_iter().chain(skinny) {
        let work = Work { flop: (2 * m * k * n) as f64, ..Default::default() };
        list.add(format!("sgemm {m}x{k}x{n}"), work, move || {
            let (a, b) = (Tensor::randn([m, k]), Tensor::randn([k, n]));
            Box::new(move || a.matmul(&b))
        });
    }
}

fn convolutions(list: &mut List) {
    for (shape, out, padding) in [([64, 32, 14, 14], 64, 1), ([32, 64, 32, 32], 64, 1), ([64, 1, 28, 28], 32, 0)] {
        let options = Conv2dOptions { padding: [padding; 2], ..Default::default() };
        let [batch, channels, height, width] = shape;
        let positions = batch * (height + 2 * padding - 2) * (width + 2 * padding - 2);
        let flop = (2 * positions * out * channels * 9) as f64;
        let name = format!("conv2d {batch}x{channels}x{height}x{width}");
        let parameters = move || (Tensor::randn([out, channels, 3, 3]).tracked(), Tensor::randn([out]).tracked());
        list.add(format!("{name} forward"), Work { flop, ..Default::default() }, move || {
            let (x, (weight, bias)) = (Tensor::randn(shape), parameters());
            Box::new(move || conv2d(&x, &weight, Some(&bias), options))
        });
        // A first layer needs no gradient of its input.
        let passes = if channels > 1 { 3.0 } else { 2.0 };
        let work = Work { flop: passes * flop, ..Default::default() };
        list.add(format!("{name} forward, backward"), work, move || {
            let (x, (weight, bias)) = (Tensor::randn(shape), parameters());
            let x = if channels > 1 { x.tracked() } else { x };
            let grad = Tensor::randn(conv2d(&x, &weight, Some(&bias), options).dims());
            Box::new(move || record(|| conv2d(&x, &weight, Some(&bias), options)).backward_with(&grad))
        });
    }
}

/// Passes over memory: the bytes are those of every operand and result, once.
fn passes(list: &mut List) {
    const N: usize = 4096;
    let bytes = |elements: usize| Work { byte: 4.0 * elements as f64, ..Default::default() };
    let mut unary = |name: &str, shape: [usize; 2], result: usize, f: fn(&Tensor) -> Tensor| {
        list.add(name, bytes(shape[0] * shape[1] + result), move || {
            let x = Tensor::randn(shape);
            Box::new(move || f(&x))
        });
    };
    unary("exp 4096x4096", [N, N], N * N, |x| x.exp());
    unary("tanh 4096x4096", [N, N], N * N, |x| x.tanh());
    unary("gelu 4096x4096", [N, N], N * N, |x| x.gelu());
    unary("softmax 4096x1024", [N, 1024], N * 1024, |x| x.softmax(1));
    unary("sum axis 0 4096x4096", [N, N], N, |x| x.sum_dim(0, false));
    unary("sum axis 1 4096x4096", [N, N], N, |x| x.sum_dim(1, false));
    unary("transposed copy 4096x4096", [N, N], N * N, |x| x.t().contiguous());
    list.add("layer_norm 4096x768", bytes(2 * N * 768), || {
        let (x, weight, bias) = (Tensor::randn([N, 768]), Tensor::randn([768]), Tensor::randn([768]));
        Box::new(move || layer_norm(&x, [768], Some(&weight), Some(&bias), 1e-5))
    });
    list.add("add 4096x4096", bytes(3 * N * N), || {
        let (a, b) = (Tensor::randn([N, N]), Tensor::randn([N, N]));
        Box::new(move || &a + &b)
    });
    list.add("add transposed 4096x4096", bytes(3 * N * N), || {
        let (a, b) = (Tensor::randn([N, N]), Tensor::randn([N, N]));
        Box::new(move || &a + &b.t())
    });
}

/// The cost per operation where there is nearly nothing to compute, from a chain of them.
fn small_operations(list: &mut List) {
    const CHAIN: usize = 100;
    let chain = |x: &Tensor| {
        record(|| {
            let mut y = x.relu();
            for _ in 1..CHAIN {
                y = y.relu();
            }
            y
        })
    };
    list.add_timed("op on 16 forward", Work::default(), move || {
        let x = Tensor::randn([16]).tracked();
        Box::new(move || {
            let start = Instant::now();
            let y = black_box(chain(&x));
            let time = start.elapsed().as_secs_f64() / CHAIN as f64;
            drop(y);
            time
        })
    });
    list.add_timed("op on 16 backward", Work::default(), move || {
        let (x, grad) = (Tensor::randn([16]).tracked(), Tensor::ones([16]));
        Box::new(move || {
            let y = chain(&x);
            let start = Instant::now();
            drop(black_box(y.backward_with(&grad)));
            start.elapsed().as_secs_f64() / CHAIN as f64
        })
    });
}
