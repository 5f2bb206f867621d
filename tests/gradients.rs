//! Every operation against finite differences in `f64`, first and second order, in every layout; every layer, with its
//! parameters; and nothing is left out.

#[path = "support/critics.rs"]
mod critics;
mod registry;

use registry::{rows, values, view};
use std::collections::BTreeSet;
use std::path::Path;
use wengert::autograd::{gradcheck, gradgradcheck, recorded_ops};
use wengert::nn::{
    AdditiveAttention, Attended, AvgPool2d, BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormOptions, CellOptions,
    Conv1d, Conv1dOptions, Conv2d, Conv2dOptions, Conv3d, Conv3dOptions, ConvTranspose1d, ConvTranspose1dOptions,
    ConvTranspose2d, ConvTranspose2dOptions, ConvTranspose3d, ConvTranspose3dOptions, Crf, DotAttention, Dropout,
    Embedding, EmbeddingOptions, Flatten, GELU, GroupNorm, GroupNormOptions, Gru, GruCell, GruOptions, InstanceNorm1d,
    InstanceNorm2d, InstanceNorm3d, InstanceNormOptions, Layer, LayerNorm, LayerNormOptions, LeakyReLU, Linear,
    LinearOptions, LogSoftmax, Lstm, LstmCell, LstmOptions, MaxPool2d, MinibatchStdDev, Module, Nonlinearity, ReLU,
    Rnn, RnnCell, RnnCellOptions, RnnOptions, Sigmoid, Softmax, SpectralNorm, SpectralNormOptions, Tanh, Walk, WalkMut,
    WeightNorm, WeightNormOptions,
};
use wengert::ops::cat;
use wengert::{Rng, Tensor, record, seed, sequential};

/// How an input lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lay {
    Contiguous,
    /// The dimensions stand in reverse order.
    Transposed,
    /// Every second element of a larger tensor, from an offset.
    Sliced,
    /// The first dimension that can be, is one element repeated.
    Broadcast,
}

const LAYS: [Lay; 4] = [Lay::Contiguous, Lay::Transposed, Lay::Sliced, Lay::Broadcast];

/// An input of a row.
fn input(shape: &[usize], range: (f64, f64), lay: Lay, rng: &mut Rng) -> Tensor<f64> {
    let numel: usize = shape.iter().product();
    let straight: Vec<usize> = (0..shape.len()).collect();
    let reversed: Vec<usize> = straight.iter().rev().copied().collect();
    match lay {
        Lay::Contiguous => Tensor::from_vec(values(numel, range, rng), shape),
        Lay::Transposed => view(&values(numel, range, rng), shape, &reversed, 1, 0),
        Lay::Sliced => view(&values(numel, range, rng), shape, &straight, 2, 1),
        Lay::Broadcast => {
            let mut small = shape.to_vec();
            if let Some(size) = small.iter_mut().find(|size| **size > 1) {
                *size = 1;
            }
            let count = small.iter().product();
            Tensor::from_vec(values(count, range, rng), &small).expand(shape)
        }
    }
}

#[test]
fn every_operation_agrees_with_finite_differences_in_every_layout() {
    let mut failures = Vec::new();
    for row in rows() {
        for shapes in &row.cases {
            for lay in LAYS {
                if lay == Lay::Broadcast && row.kinks_at_ties {
                    continue;
                }
                let mut rng = Rng::new(11);
                let inputs: Vec<_> = shapes.iter().map(|shape| input(shape, row.range, lay, &mut rng)).collect();
                if let Err(message) = gradcheck(row.f, &inputs) {
                    failures.push(format!("{} {shapes:?} {lay:?}: {message}", row.name));
                }
                if row.first_order_only {
                    continue;
                }
                if let Err(message) = gradgradcheck(row.f, &inputs) {
                    failures.push(format!("{} {shapes:?} {lay:?}, second order: {message}", row.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The string literals that follow a call in the crate's sources, tests left out.
fn literals_after(calls: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = code.split("#[cfg(test)]").next().unwrap();
            for call in calls {
                for rest in code.split(call).skip(1) {
                    if let Some(literal) = rest.trim_start().strip_prefix('"') {
                        found.insert(literal.split('"').next().unwrap().to_string());
                    }
                }
            }
        }
    }
    found
}

#[test]
fn no_operation_is_outside_the_registry() {
    let mut expected =
        literals_after(&["record_op(", "record_many(", "record_as(", "record_rows(", "view_op(", "extreme("]);
    expected.extend(wengert::ops::unary::NAMES.iter().map(|name| name.to_string()));
    expected.extend(wengert::ops::binary::NAMES.iter().map(|name| name.to_string()));
    assert!(expected.len() > 60, "the sources were not read: {expected:?}");
    let mut checked = BTreeSet::new();
    for row in rows() {
        for shapes in &row.cases {
            let mut rng = Rng::new(11);
            let inputs: Vec<_> =
                shapes.iter().map(|s| input(s, row.range, Lay::Contiguous, &mut rng).tracked()).collect();
            // Adjoints that are operations of their own are seen in the graphs of the gradients, and of theirs.
            record(|| {
                let mut seen = vec![(row.f)(&inputs)];
                for _ in 0..2 {
                    seen.retain(Tensor::is_tracked);
                    seen.iter().for_each(|y| checked.extend(recorded_ops(y)));
                    if row.first_order_only {
                        return;
                    }
                    let grads: Vec<_> = seen.iter().map(|y| y.backward_graph_with(&y.exp())).collect();
                    seen = grads.iter().flat_map(|grads| inputs.iter().filter_map(|x| grads.get(x))).collect();
                }
                seen.iter().for_each(|y| checked.extend(recorded_ops(y)));
            });
        }
    }
    let missing: Vec<_> = expected.iter().filter(|name| !checked.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "operations without a row in tests/registry/rows.rs: {missing:?}");
}

/// A layer's gradients of its parameters and of its input against central differences, along random directions.
fn check_layer(name: &str, mut layer: impl Layer<f64>, x: Tensor<f64>) {
    let mut rng = Rng::new(5);
    let mut random = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f64>>();
    let leaf = x.tracked();
    let y = record(|| layer.forward(&leaf));
    let cotangent = random(y.numel());
    let grads = y.clone().backward_with(&Tensor::from_slice(&cotangent, y.dims()));
    let loss = |layer: &dyn Layer<f64>, x: &Tensor<f64>| -> f64 {
        // Recorded, so that the layer is in training mode.
        let y = record(|| layer.forward(x));
        y.to_vec().iter().zip(&cotangent).map(|(y, v)| y * v).sum()
    };
    const STEP: f64 = 1e-5;
    let agree = |what: &str, numeric: f64, analytic: f64| {
        assert!((numeric - analytic).abs() <= 1e-6 * (1.0 + numeric.abs()), "{name}, {what}: {numeric} and {analytic}");
    };
    let direction = random(x.numel());
    let moved = |h: f64| {
        let values = x.to_vec().iter().zip(&direction).map(|(x, d)| x + h * d).collect();
        Tensor::from_vec(values, x.dims())
    };
    let numeric = (loss(&layer, &moved(STEP)) - loss(&layer, &moved(-STEP))) / (2.0 * STEP);
    let analytic = grads.get(&leaf).map_or(0.0, |g| g.to_vec().iter().zip(&direction).map(|(g, d)| g * d).sum());
    agree("input", numeric, analytic);
    for (parameter, values) in layer.parameters() {
        let direction = random(values.numel());
        let mut at = |h: f64| {
            layer.for_each_param_mut(&mut |name, param| {
                if name == parameter {
                    param.as_mut_slice().iter_mut().zip(&direction).for_each(|(w, d)| *w += h * d);
                }
            });
            loss(&layer, &x)
        };
        let numeric = (at(STEP) - at(-2.0 * STEP)) / (2.0 * STEP);
        at(STEP); // back to where it was
        let analytic = grads.get(&values).map_or(0.0, |g| g.to_vec().iter().zip(&direction).map(|(g, d)| g * d).sum());
        agree(&parameter, numeric, analytic);
    }
}

#[test]
fn every_layer_agrees_with_finite_differences() {
    let randn = |shape: &[usize]| Tensor::randn(shape).cast::<f64>();
    let conv = Conv2dOptions { stride: [2, 1], padding: [1, 0], ..Default::default() };
    seed(3);
    check_layer("Linear", Linear::with(4, 3, LinearOptions::default()), randn(&[5, 4]));
    check_layer("Linear without bias", Linear::with(4, 3, LinearOptions { bias: false }), randn(&[2, 5, 4]));
    check_layer("Conv2d", Conv2d::with(2, 3, 3, Conv2dOptions::default()), randn(&[2, 2, 5, 4]));
    check_layer("Conv2d with options", Conv2d::with(2, 3, [3, 2], conv), randn(&[2, 2, 5, 4]));
    let options = Conv1dOptions { stride: 2, padding: 1, groups: 2, ..Default::default() };
    check_layer("Conv1d", Conv1d::with(2, 4, 3, options), randn(&[2, 2, 6]));
    let options = ConvTranspose2dOptions { stride: [2, 1], output_padding: [1, 0], ..Default::default() };
    check_layer("ConvTranspose2d", ConvTranspose2d::with(2, 3, [3, 2], options), randn(&[2, 2, 3, 4]));
    let options = ConvTranspose1dOptions { stride: 2, padding: 1, ..Default::default() };
    check_layer("ConvTranspose1d", ConvTranspose1d::with(2, 3, 3, options), randn(&[2, 2, 4]));
    let options = Conv3dOptions { stride: [2, 1, 1], padding: [1, 0, 1], groups: 2, ..Default::default() };
    check_layer("Conv3d", Conv3d::with(2, 4, [3, 2, 2], options), randn(&[2, 2, 3, 3, 2]));
    let options = ConvTranspose3dOptions { stride: [2, 1, 2], output_padding: [1, 0, 0], ..Default::default() };
    check_layer("ConvTranspose3d", ConvTranspose3d::with(2, 3, [3, 2, 2], options), randn(&[2, 2, 2, 3, 2]));
    check_layer("MaxPool2d", MaxPool2d::new(2), randn(&[2, 2, 5, 4]));
    check_layer("AvgPool2d", AvgPool2d::new([2, 1]), randn(&[2, 2, 5, 4]));
    check_layer("BatchNorm1d", BatchNorm1d::with(3, BatchNormOptions::default()), randn(&[6, 3]));
    check_layer("BatchNorm2d", BatchNorm2d::with(3, BatchNormOptions::default()), randn(&[4, 3, 2, 2]));
    check_layer("LayerNorm", LayerNorm::with([3, 2], LayerNormOptions::default()), randn(&[4, 3, 2]));
    check_layer("BatchNorm3d", BatchNorm3d::with(2, BatchNormOptions::default()), randn(&[2, 2, 2, 3, 1]));
    let options = InstanceNormOptions { affine: true, track_running_stats: true, ..Default::default() };
    check_layer("InstanceNorm1d", InstanceNorm1d::with(3, InstanceNormOptions::default()), randn(&[2, 3, 4]));
    check_layer("InstanceNorm2d", InstanceNorm2d::with(3, options), randn(&[2, 3, 4, 2]));
    check_layer("InstanceNorm3d", InstanceNorm3d::with(2, options), randn(&[2, 2, 1, 3, 2]));
    check_layer("GroupNorm", GroupNorm::with(2, 4, GroupNormOptions::default()), randn(&[2, 4, 3]));
    check_layer("MinibatchStdDev", MinibatchStdDev::new(2), randn(&[4, 3, 2]));
    let linear = || Linear::with(4, 3, LinearOptions::default());
    check_layer("WeightNorm", WeightNorm::with(linear(), WeightNormOptions::default()), randn(&[5, 4]));
    let transposed = ConvTranspose1d::with(2, 3, 3, ConvTranspose1dOptions::default());
    let whole = WeightNormOptions { dim: None };
    check_layer("WeightNorm of a whole weight", WeightNorm::with(transposed.clone(), whole), randn(&[2, 2, 4]));
    // To its gradient the vectors are constants: that is right where they are the weight's own.
    let exact = SpectralNormOptions { n_power_iterations: 300, ..Default::default() };
    check_layer("SpectralNorm", SpectralNorm::with(linear(), exact), randn(&[5, 4]));
    check_layer("SpectralNorm of a transposed one", SpectralNorm::with(transposed, exact), randn(&[2, 2, 4]));
    check_layer("Dropout, nothing dropped", Dropout::new(0.0), randn(&[3, 4]));
    check_layer("Flatten", Flatten::default(), randn(&[3, 4, 2]));
    check_layer("ReLU", ReLU, randn(&[3, 4]));
    check_layer("LeakyReLU", LeakyReLU::default(), randn(&[3, 4]));
    check_layer("GELU", GELU::default(), randn(&[3, 4]));
    check_layer("GELU, tanh", GELU { approximate: true }, randn(&[3, 4]));
    check_layer("Sigmoid", Sigmoid, randn(&[3, 4]));
    check_layer("Tanh", Tanh, randn(&[3, 4]));
    check_layer("Softmax", Softmax::new(1), randn(&[3, 4]));
    check_layer("LogSoftmax", LogSoftmax::new(1), randn(&[3, 4]));
    let net =
        sequential![Linear::with(4, 3, LinearOptions::default()), Tanh, Linear::with(3, 2, LinearOptions::default())];
    check_layer("Sequential", net, randn(&[5, 4]));
}

/// A layer with a signature of its own as one from tensor to tensor.
struct Through<M, F>(M, F);

impl<M: Module<f64>, F: Send + Sync> Module<f64> for Through<M, F> {
    fn visit(&self, walk: &mut Walk<f64>) {
        walk.child("inner", &self.0);
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<f64>) {
        walk.child("inner", &mut self.0);
    }
}

impl<M: Module<f64>, F: Fn(&M, &Tensor<f64>) -> Tensor<f64> + Send + Sync> Layer<f64> for Through<M, F> {
    fn forward(&self, x: &Tensor<f64>) -> Tensor<f64> {
        (self.1)(&self.0, x)
    }
}

/// All that a recurrent layer gives, its state too, as one tensor.
fn joined(parts: impl AsRef<[Tensor<f64>]>) -> Tensor<f64> {
    let parts: Vec<_> = parts.as_ref().iter().map(|x| x.flatten(0)).collect();
    cat(&parts.iter().collect::<Vec<_>>(), 0)
}

#[test]
fn recurrent_layers_agree_with_finite_differences() {
    let randn = |shape: &[usize]| Tensor::randn(shape).cast::<f64>();
    seed(3);
    let rnn = Rnn::with(2, 3, RnnOptions { nonlinearity: Nonlinearity::Relu, layers: 2, ..Default::default() });
    check_layer(
        "Rnn",
        Through(rnn, |rnn: &Rnn<f64>, x: &Tensor<f64>| joined(<[_; 2]>::from(rnn.forward(x)))),
        randn(&[4, 3, 2]),
    );
    let options = LstmOptions { layers: 2, bidirectional: true, proj_size: 2, batch_first: true, ..Default::default() };
    let lstm = Through(Lstm::with(2, 3, options), |lstm: &Lstm<f64>, x: &Tensor<f64>| {
        let (y, state) = lstm.forward_with(x, None, Some(&[2, 4, 1]));
        let (z, state) = lstm.forward_with(x, Some(&state), None);
        joined([y, z, state.h, state.c])
    });
    check_layer("Lstm", lstm, randn(&[3, 4, 2]));
    let gru = Gru::with(2, 3, GruOptions { bidirectional: true, ..Default::default() });
    check_layer(
        "Gru",
        Through(gru, |gru: &Gru<f64>, x: &Tensor<f64>| joined(<[_; 2]>::from(gru.forward(x)))),
        randn(&[4, 3, 2]),
    );
    let cell = RnnCell::with(2, 3, RnnCellOptions::default());
    check_layer(
        "RnnCell",
        Through(cell, |cell: &RnnCell<f64>, x: &Tensor<f64>| cell.forward(x, Some(&cell.forward(x, None)))),
        randn(&[3, 2]),
    );
    let cell = LstmCell::with(2, 3, CellOptions::default());
    let twice = |cell: &LstmCell<f64>, x: &Tensor<f64>| {
        let state = cell.forward(x, Some(&cell.forward(x, None)));
        joined([state.h, state.c])
    };
    check_layer("LstmCell", Through(cell, twice), randn(&[3, 2]));
    let cell = GruCell::with(2, 3, CellOptions { bias: false });
    check_layer(
        "GruCell",
        Through(cell, |cell: &GruCell<f64>, x: &Tensor<f64>| cell.forward(x, Some(&cell.forward(x, None)))),
        randn(&[3, 2]),
    );
}

#[test]
fn layers_over_sequences_agree_with_finite_differences() {
    let randn = |shape: &[usize]| Tensor::randn(shape).cast::<f64>();
    seed(3);
    let likelihood = |crf: &Crf<f64>, x: &Tensor<f64>| {
        crf.log_likelihood(x, &Tensor::from([[0, 2, 1, 1], [2, 0, 0, 0]]), Some(&[4, 3])).tanh()
    };
    check_layer("Crf", Through(Crf::new(3), likelihood), randn(&[2, 4, 3]));
    // The states are queries too.
    let both = |found: Attended<f64>| found.context.tanh().matmul(&found.weights.sin());
    let lengths = [4, 2];
    let additive =
        move |attention: &AdditiveAttention<f64>, x: &Tensor<f64>| both(attention.forward(x, x, Some(&lengths)));
    check_layer("AdditiveAttention", Through(AdditiveAttention::new(4, 4, 3), additive), randn(&[2, 4, 4]));
    let dot = move |attention: &DotAttention<f64>, x: &Tensor<f64>| both(attention.forward(x, x, Some(&lengths)));
    check_layer("DotAttention", Through(DotAttention::general(4, 4), dot), randn(&[2, 4, 4]));
    check_layer("DotAttention, dot", Through(DotAttention::dot(), dot), randn(&[2, 4, 4]));
}

#[test]
fn the_gradient_of_a_gradient_penalty_agrees_with_finite_differences() {
    seed(3);
    // To the gradient of a spectral norm the vectors are constants: that is right where they are the weight's own.
    for (name, penalty) in critics::penalties::<f64>(300) {
        check_layer(name, penalty, Tensor::randn([4, 2, 6, 5]).cast::<f64>());
    }
}

#[test]
fn an_embedding_agrees_with_finite_differences() {
    // It takes whole numbers: here they are fixed.
    let lookup =
        |table: &Embedding<f64>, x: &Tensor<f64>| table.forward(&Tensor::from([[0_i64, 3], [3, 1]])).tanh() * x;
    check_layer(
        "Embedding",
        Through(Embedding::with(4, 3, EmbeddingOptions::default()), lookup),
        Tensor::randn([2, 2, 3]).cast::<f64>(),
    );
}
