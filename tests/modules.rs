//! Models as their user builds them: names, freezing, the summary, optimizers, files, the layers' modes and first values.

use std::panic::{AssertUnwindSafe, catch_unwind};
use support::cnn::Cnn;
use wengert::autograd::Mode;
use wengert::loss::{cross_entropy, mse_loss};
use wengert::nn::{BatchNorm1d, Conv2d, Dropout, Embedding, Layer, Linear, LinearOptions, Module, Param, ReLU, Tanh};
use wengert::optim::{Adam, Optimizer, Sgd, SgdOptions, schedule};
use wengert::{Error, Float, Tensor, io, module, record, seed, sequential, with_mode};

fn names<T: Float>(model: &impl Module<T>) -> Vec<String> {
    model.parameters().into_iter().map(|(name, _)| name).collect()
}

fn values(model: &impl Module) -> Vec<(String, Vec<f32>)> {
    model.parameters().into_iter().map(|(name, w)| (name, w.to_vec())).collect()
}

/// The message of a panic.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("a panic");
    payload.downcast_ref::<String>().cloned().expect("a text")
}

#[derive(Clone)]
struct Block<T: Float = f32> {
    fc: Linear<T>,
    gain: Param<T>,
}
module!(Block<T> { fc, gain });

impl<T: Float> Block<T> {
    fn new() -> Block<T> {
        Block { fc: Linear::with(3, 3, LinearOptions { bias: false }), gain: Param::new(Tensor::full([3], T::ONE)) }
    }
}

impl<T: Float> Layer<T> for Block<T> {
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        self.fc.forward(x) * &*self.gain
    }
}

#[derive(Clone)]
struct Net<T: Float = f32> {
    stem: Linear<T>,
    blocks: Vec<Block<T>>,
    pair: [Linear<T>; 2],
    mixed: (Linear<T>, Tanh, Block<T>),
    extra: Option<Linear<T>>,
    absent: Option<Linear<T>>,
    /// Not a module: not listed.
    #[expect(dead_code, reason = "a field that the macro is not told of")]
    width: usize,
}
module!(Net<T> { stem, blocks, pair, mixed, extra, absent });

impl<T: Float> Net<T> {
    fn new() -> Net<T> {
        let square = || Linear::with(3, 3, LinearOptions::default());
        Net {
            stem: square(),
            blocks: (0..11).map(|_| Block::new()).collect(),
            pair: [square(), square()],
            mixed: (square(), Tanh, Block::new()),
            extra: Some(square()),
            absent: None,
            width: 3,
        }
    }
}

impl<T: Float> Layer<T> for Net<T> {
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let x = self.blocks.iter().fold(self.stem.forward(x), |x, block| block.forward(&x));
        let x = self.pair.iter().fold(x, |x, layer| layer.forward(&x));
        self.mixed.2.forward(&self.mixed.1.forward(&self.mixed.0.forward(&x)))
    }
}

#[test]
fn parameters_have_dotted_names_in_the_order_of_the_fields() {
    let net = Net::<f64>::new();
    let found = names(&net);
    assert_eq!(found[..4], ["stem.weight", "stem.bias", "blocks.0.fc.weight", "blocks.0.gain"]);
    assert_eq!(found[22..24], ["blocks.10.fc.weight", "blocks.10.gain"]);
    let rest = [
        "pair.0.weight",
        "pair.0.bias",
        "pair.1.weight",
        "pair.1.bias",
        "mixed.0.weight",
        "mixed.0.bias",
        "mixed.2.fc.weight",
        "mixed.2.gain",
        "extra.weight",
        "extra.bias",
    ];
    assert_eq!(found[24..], rest);
    assert_eq!(net.num_parameters(), 5 * (9 + 3) + 12 * (9 + 3)); // linear layers with their bias, blocks
    assert_eq!(net.blocks[3].gain.name(), Some("blocks.3.gain"));
    assert_eq!(Block::<f64>::new().gain.name(), None);
}

#[test]
fn freezing_takes_whole_parts_of_a_name() {
    let mut net = Net::<f32>::new();
    assert_eq!(net.freeze("blocks.1"), 2); // not blocks.10
    assert!(!net.blocks[1].gain.is_trainable() && net.blocks[10].gain.is_trainable());
    assert_eq!(net.freeze("block"), 0);
    assert_eq!(net.freeze("stem.weight"), 1);
    assert_eq!((net.stem.weight.is_trainable(), net.stem.bias.as_ref().unwrap().is_trainable()), (false, true));
    let summary = net.summary(&[1, 3]);
    assert_eq!((summary.parameters, summary.trainable), (net.num_parameters(), net.num_parameters() - 12 - 9));
    assert_eq!(net.unfreeze(""), names(&net).len());
    assert_eq!(net.freeze("mixed"), 4);
}

#[test]
fn the_summary_has_the_numbers_that_are_found_by_hand() {
    let net = Cnn::default();
    let summary = net.summary(&[1, 1, 28, 28]);
    // Parameters: out (in 3 3 + 1), out (in + 1). FLOPs: 2 for each weight at each of the 26^2, 11^2, 3^2 places.
    let by_hand = [
        ("conv1", vec![1, 32, 26, 26], 32 * (9 + 1), 2 * 26 * 26 * 32 * 9),
        ("", vec![1, 32, 13, 13], 0, 0),
        ("conv2", vec![1, 64, 11, 11], 64 * (32 * 9 + 1), 2 * 11 * 11 * 64 * 32 * 9),
        ("", vec![1, 64, 5, 5], 0, 0),
        ("conv3", vec![1, 64, 3, 3], 64 * (64 * 9 + 1), 2 * 3 * 3 * 64 * 64 * 9),
        ("fc1", vec![1, 64], 64 * (576 + 1), 2 * 64 * 576),
        ("fc2", vec![1, 10], 10 * (64 + 1), 2 * 10 * 64),
    ];
    assert_eq!(summary.rows.len(), by_hand.len());
    for (row, (name, shape, parameters, flops)) in summary.rows.iter().zip(by_hand) {
        assert_eq!((&*row.name, row.output.to_vec(), row.parameters, row.flops), (name, shape, parameters, flops));
    }
    assert_eq!((summary.parameters, summary.trainable, summary.flops()), (93_322, 93_322, 5_588_480));
    let text = "\
layer           output shape     parameters      FLOPs
------------------------------------------------------
conv1 (Conv2d)  [1, 32, 26, 26]         320    389,376
MaxPool2d       [1, 32, 13, 13]           0          0
conv2 (Conv2d)  [1, 64, 11, 11]      18,496  4,460,544
MaxPool2d       [1, 64, 5, 5]             0          0
conv3 (Conv2d)  [1, 64, 3, 3]        36,928    663,552
fc1 (Linear)    [1, 64]              36,928     73,728
fc2 (Linear)    [1, 10]                 650      1,280
------------------------------------------------------
parameters: 93,322 (93,322 trainable)  FLOPs: 5,588,480";
    assert_eq!(summary.to_string(), text);
}

#[test]
fn a_step_names_the_parameters_that_the_loss_did_not_reach() {
    let mut net = Net::<f32>::new();
    let before = values(&net);
    let loss = || record(|| net.forward(&Tensor::ones([2, 3])).square().mean());
    let grads = loss().backward();
    let message = panic_of(|| Sgd::new(0.1).step(&mut net, &grads));
    assert_eq!(
        message,
        "step: the loss did not reach extra.weight, extra.bias: freeze these parameters, or ask for \
         `allow_unreached(true)`"
    );
    assert_eq!(values(&net), before); // nothing was stepped

    let mut optimizer = Sgd::new(0.1);
    optimizer.allow_unreached(true);
    optimizer.step(&mut net, &grads);
    let changed: Vec<_> =
        values(&net).iter().zip(&before).filter(|(new, old)| new != old).map(|(new, _)| new.0.clone()).collect();
    assert!(!changed.iter().any(|name| name.starts_with("extra")), "{changed:?}");
    assert_eq!(changed.len(), before.len() - 2);
}

#[test]
fn frozen_parameters_stay_as_they_are() {
    let mut net = sequential![Linear::new(3, 4), ReLU, Linear::new(4, 1)];
    net.freeze("0");
    let before = values(&net);
    let mut optimizer = Adam::new(0.1);
    let mut step = |net: &mut wengert::nn::Sequential| {
        let loss = record(|| mse_loss(&net.forward(&Tensor::ones([2, 3])), &Tensor::from([[3.0], [4.0]])));
        optimizer.step(net, &loss.backward());
    };
    step(&mut net);
    let after = values(&net);
    assert_eq!(after[..2], before[..2]);
    assert!(after[2].1 != before[2].1 && after[3].1 != before[3].1);
    net.unfreeze("0");
    step(&mut net);
    assert_ne!(values(&net)[..2], before[..2]);
}

/// Plain numbers to descend on: the loss is `slope . w`.
struct Weights {
    a: Param,
}
module!(Weights { a });

impl Weights {
    fn step(&mut self, optimizer: &mut impl Optimizer, slope: f32) -> f32 {
        let grads = record(|| self.a.sum() * slope).backward();
        optimizer.step(self, &grads);
        self.a.item()
    }
}

#[test]
fn the_state_of_an_optimizer_follows_names() {
    let options = SgdOptions { lr: 1.0, momentum: 0.5, ..Default::default() };
    let (mut optimizer, mut first) = (Sgd::with(options), Weights { a: Param::new(Tensor::from([0.0])) });
    assert_eq!(first.step(&mut optimizer, 1.0), -1.0); // v = 1
    assert_eq!(first.step(&mut optimizer, 1.0), -2.5); // v = 1.5
    // Another model under the same name goes on with the velocity; a clone of the optimizer has its own.
    let (mut other, mut second) = (optimizer.clone(), Weights { a: Param::new(Tensor::from([0.0])) });
    assert_eq!(second.step(&mut optimizer, 0.0), -0.75);
    assert_eq!(first.step(&mut other, 0.0), -3.25);
    let mut wider = Weights { a: Param::new(Tensor::from([0.0, 0.0])) };
    let message = panic_of(|| wider.step(&mut optimizer, 1.0));
    assert_eq!(message, "step: a: the parameter has shape [2], the optimizer's state [1]");
}

#[test]
fn a_schedule_drives_the_learning_rate() {
    let rate = schedule::linear_warmup(2, schedule::step(1.0, 2, 0.5));
    let (mut optimizer, mut model) = (Sgd::new(1.0), Weights { a: Param::new(Tensor::from([0.0])) });
    let mut moved = Vec::new();
    for step in 0..6 {
        optimizer.set_lr(rate(step));
        assert_eq!(optimizer.lr(), rate(step));
        let before = model.a.item();
        moved.push(before - model.step(&mut optimizer, 1.0));
    }
    assert_eq!(moved, [0.5, 1.0, 1.0, 1.0, 0.5, 0.5]);
}

#[test]
fn layers_of_a_sequential_are_named_by_number_and_push_goes_on_counting() {
    let mut net = sequential![Linear::new(2, 2), Tanh, Linear::new(2, 2)];
    net.push(Linear::new(2, 1));
    assert_eq!(names(&net), ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"]);
    let nested = sequential![sequential![Linear::new(2, 2)], net];
    assert_eq!(names(&nested)[1..3], ["0.0.bias", "1.0.weight"]);
    assert_eq!(nested.forward(&Tensor::ones([4, 2])).shape(), [4, 1]);
    assert_eq!(sequential![].forward(&Tensor::from([1.0])).to_vec(), [1.0_f32]);
}

#[test]
fn what_is_saved_loads_again() {
    let path = std::env::temp_dir().join(format!("wengert-modules-{}.safetensors", std::process::id()));
    let (net, mut other) = (Net::<f32>::new(), Net::<f32>::new());
    io::save(&path, &net).unwrap();
    assert_ne!(values(&net), values(&other));
    io::load(&path, &mut other).unwrap();
    assert_eq!(values(&net), values(&other));
    let error = io::load(&path, &mut Block::<f32>::new()).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(error, Error::MissingKeys { .. }), "{error}");
    assert!(error.to_string().contains("fc.weight"), "{error}");
}

#[test]
fn a_clone_is_a_model_of_its_own() {
    let net = Block::<f32>::new();
    let mut other = net.clone();
    let before = values(&net);
    let grads = record(|| other.forward(&Tensor::ones([2, 3])).square().mean()).backward();
    assert!(grads.contains(&other.gain) && !grads.contains(&net.gain));
    Sgd::new(0.1).step(&mut other, &grads);
    assert_eq!(values(&net), before);
    assert_ne!(values(&other), before);
    // A clone of a frozen parameter is frozen.
    other.gain.freeze();
    assert!(!other.clone().gain.is_trainable() && other.clone().fc.weight.is_trainable());
}

#[test]
fn dropout_and_batch_norm_train_inside_record_and_by_with_mode() {
    let x = Tensor::randn([64, 8]) * 3.0 + 1.0;
    let zeros = |y: Tensor| y.eq_scalar(0.0).cast::<f32>().sum().item();
    let dropout = Dropout::new(0.5);
    assert_eq!(zeros(dropout.forward(&x)), 0.0);
    assert!(zeros(record(|| dropout.forward(&x))) > 0.0);
    assert!(zeros(with_mode(Mode::Train, || dropout.forward(&x))) > 0.0);
    assert_eq!(zeros(record(|| with_mode(Mode::Eval, || dropout.forward(&x)))), 0.0);

    let norm = BatchNorm1d::new(8);
    let running = || norm.running.as_ref().unwrap().mean.get().to_vec();
    norm.forward(&x);
    record(|| with_mode(Mode::Eval, || norm.forward(&x)));
    assert_eq!(running(), [0.0; 8]);
    let y = record(|| norm.forward(&x));
    assert!(y.mean_dim(0, false).abs().max().item() < 1e-5);
    let tenth = (x.mean_dim(0, false) * 0.1).to_vec(); // momentum 0.1
    assert!(running().iter().zip(&tenth).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn foreign_input_gives_an_error_and_the_model_goes_on() {
    let net = Block::<f32>::new();
    assert_eq!(net.try_forward(&Tensor::ones([2, 3])).unwrap().shape(), [2, 3]);
    let error = net.try_forward(&Tensor::ones([2, 4])).unwrap_err();
    assert!(matches!(&error, Error::Shape(text) if text.starts_with("linear: [2, 4] x [3, 3]^T")), "{error}");
    assert!(net.try_forward(&Tensor::scalar(1.0)).is_err());
    let logits = record(|| net.try_forward(&Tensor::ones([2, 3]))).unwrap();
    assert!(cross_entropy(&logits, &Tensor::from([0, 2])).item().is_finite());
}

#[test]
fn first_values_are_spread_as_pytorch_spreads_them() {
    /// All within the bound, nearly up to it, and with the variance of a uniform distribution, bound^2 / 3.
    fn uniform(name: &str, x: &Tensor, bound: f32) {
        let (largest, n) = (x.abs().max().item(), x.numel() as f32);
        assert!(largest <= bound && largest > 0.95 * bound, "{name}: {largest} of {bound}");
        // The variance of x^2 is 4/45 bound^4.
        let (found, expected) = (x.square().mean().item(), bound * bound / 3.0);
        assert!(
            (found - expected).abs() < 6.0 * bound * bound * (4.0 / 45.0 / n).sqrt(),
            "{name}: {found}, {expected}"
        );
        assert!(x.mean().item().abs() < 6.0 * bound / (3.0 * n).sqrt(), "{name}");
    }
    seed(11);
    let linear = Linear::new(50, 400); // torch.nn.Linear: 1 / sqrt(in)
    uniform("weight", &linear.weight, 1.0 / 50_f32.sqrt());
    uniform("bias", linear.bias.as_ref().unwrap(), 1.0 / 50_f32.sqrt());
    let conv = Conv2d::new(16, 200, [3, 5]); // torch.nn.Conv2d: 1 / sqrt(in kh kw)
    uniform("weight", &conv.weight, 1.0 / 240_f32.sqrt());
    uniform("bias", conv.bias.as_ref().unwrap(), 1.0 / 240_f32.sqrt());
    let table = Embedding::new(200, 100).weight; // torch.nn.Embedding: standard normal
    let n = table.numel() as f32;
    assert!(table.mean().item().abs() < 6.0 / n.sqrt());
    assert!((table.var().item() - 1.0).abs() < 6.0 * (2.0 / n).sqrt());
    assert!(table.abs().max().item() > 3.5); // not cut off
}
