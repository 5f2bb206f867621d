//! Values and all gradients against PyTorch, from the fixtures that `tests/fixtures/make.py` wrote.

#[path = "support/critics.rs"]
mod critics;
#[path = "pytorch/generative.rs"]
mod generative;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use support::cnn::Cnn;
use wengert::io::{self, TensorFile};
use wengert::loss::{self, BinaryCrossEntropyOptions, CrossEntropyOptions, CtcOptions, Reduction};
use wengert::nn::distribution::{
    Bernoulli, Beta, Categorical, Dirichlet, Distribution, Gamma, GumbelSoftmax, Laplace, LogNormal,
    MultivariateNormal, Normal, OneHotCategorical, Uniform,
};
use wengert::nn::{
    AdditiveAttention, Attended, BatchNorm2d, Conv1d, Conv1dOptions, Conv2d, Conv2dOptions, ConvTranspose1d,
    ConvTranspose1dOptions, ConvTranspose2d, ConvTranspose2dOptions, DotAttention, Embedding, EmbeddingOptions, Gru,
    GruCell, GruOptions, Layer, LayerNorm, Linear, LinearOptions, Lstm, LstmCell, LstmOptions, LstmState, Module,
    Nonlinearity, Rnn, RnnCell, RnnCellOptions, RnnOptions, Slot, Tanh,
};
use wengert::ops::{self, AttentionOptions, AvgPool2dOptions, Conv2dOptions as Options, CrfScores, MaxPool2dOptions};
use wengert::optim::{Adam, AdamOptions, AdamW, Optimizer, Sgd, SgdOptions};
use wengert::{Gradients, Tensor, record, sequential};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Fails unless the largest difference is below 1e-5 of the largest value.
#[track_caller]
fn close(what: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.shape(), theirs.shape(), "{what}: shape");
    let (ours, theirs) = (ours.to_vec(), theirs.to_vec());
    let largest = theirs.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert!((a - b).abs() <= 1e-5 * largest, "{what}: element {i}: {a}, PyTorch {b}, largest {largest}");
    }
}

struct Fixture {
    file: TensorFile,
    cases: BTreeSet<String>,
}

impl Fixture {
    fn load(name: &str) -> Fixture {
        let file = io::load_tensors(fixture(name)).unwrap();
        let cases = file.tensors.iter().map(|(name, _)| name.split('/').next().unwrap().to_string()).collect();
        Fixture { file, cases }
    }

    fn get(&self, name: &str) -> Tensor {
        self.file.get(name).unwrap()
    }

    fn ints(&self, name: &str) -> Tensor<i64> {
        self.file.get(name).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.file.tensors.iter().any(|(there, _)| there == name)
    }

    /// Compares an operation's output and the gradients of all its inputs.
    fn check(&mut self, case: &str, f: impl Fn(&[Tensor]) -> Tensor) {
        assert!(self.cases.remove(case), "{case}: no such case, or checked twice");
        let inputs: Vec<Tensor> = (0..)
            .map(|i| format!("{case}/x{i}"))
            .take_while(|name| self.has(name) && self.has(&name.replace("/x", "/dx")))
            .map(|name| self.get(&name).tracked())
            .collect();
        let y = record(|| f(&inputs));
        close(&format!("{case}: output"), &y, &self.get(&format!("{case}/y")));
        let grads = y.backward_with(&self.get(&format!("{case}/v")));
        for (i, x) in inputs.iter().enumerate() {
            let name = format!("{case}/dx{i}");
            close(&name, &grads.get(x).unwrap_or_else(|| x.zeros_like()), &self.get(&name));
        }
    }

    /// Sets a module's parameters, buffers and counters to those of a case.
    fn set(&self, prefix: &str, module: &mut dyn Module) {
        module.for_each_param_mut(&mut |name, param| param.set(&self.get(&format!("{prefix}/{name}"))));
        module.for_each(&mut |name, slot| match slot {
            Slot::Buffer(buffer) => buffer.set(&self.get(&format!("{prefix}/{name}"))),
            Slot::Counter(counter) => counter.set(self.ints(&format!("{prefix}/{name}")).item()),
            Slot::Param(_) => {}
        });
    }

    /// Compares a module's parameters, buffers and counters with those of a case.
    fn compare(&self, prefix: &str, module: &dyn Module) {
        module.for_each(&mut |name, slot| {
            let name = format!("{prefix}/{name}");
            match slot {
                Slot::Param(param) => close(&name, param, &self.get(&name)),
                Slot::Buffer(buffer) => close(&name, &buffer.get(), &self.get(&name)),
                Slot::Counter(counter) => assert_eq!(counter.get(), self.ints(&name).item(), "{name}"),
            }
        });
    }

    /// Compares the gradients of a module's parameters; of one that there is none of, PyTorch has none.
    fn compare_gradients(&self, case: &str, module: &dyn Module, grads: &Gradients) {
        for (name, param) in module.parameters() {
            let name = format!("{case}/dstate/{name}");
            match grads.get(&param) {
                Some(grad) => close(&name, &grad, &self.get(&name)),
                None => assert!(!self.has(&name), "{name}: no gradient"),
            }
        }
    }

    /// Compares a layer's output, the gradients of its input and parameters, and its state afterwards.
    fn layer(&mut self, case: &str, mut layer: impl Layer, training: bool) {
        assert!(self.cases.remove(case), "{case}: no such case, or checked twice");
        self.set(&format!("{case}/state"), &mut layer);
        let x = self.get(&format!("{case}/x0")).tracked();
        let mode = if training { wengert::autograd::Mode::Train } else { wengert::autograd::Mode::Eval };
        let y = record(|| wengert::with_mode(mode, || layer.forward(&x)));
        close(&format!("{case}: output"), &y, &self.get(&format!("{case}/y")));
        let grads = y.backward_with(&self.get(&format!("{case}/v")));
        close(&format!("{case}/dx0"), &grads.of(&x), &self.get(&format!("{case}/dx0")));
        self.compare_gradients(case, &layer, &grads);
        self.compare(&format!("{case}/after"), &layer);
    }

    /// Compares the outputs of a recurrent layer or cell, which `run` gives for an input, the states h and c, and lengths,
    /// and the gradients of all that goes in.
    fn sequences<M: Module>(
        &mut self,
        case: &str,
        mut module: M,
        run: impl Fn(&M, &Tensor, [Option<&Tensor>; 2], Option<&[usize]>) -> Vec<Tensor>,
    ) {
        assert!(self.cases.remove(case), "{case}: no such case, or checked twice");
        self.set(&format!("{case}/state"), &mut module);
        let input =
            |name: &str| self.has(&format!("{case}/{name}")).then(|| self.get(&format!("{case}/{name}")).tracked());
        let inputs = ["x", "h", "c"].map(|name| (name, input(name)));
        let [x, h, c] = inputs.each_ref().map(|(_, value)| value.as_ref());
        let lengths = format!("{case}/lengths");
        let lengths: Option<Vec<usize>> = self
            .has(&lengths)
            .then(|| self.ints(&lengths).to_vec().into_iter().map(|length| length as usize).collect());
        let loss = record(|| {
            let outputs = run(&module, x.unwrap(), [h, c], lengths.as_deref());
            let mut loss = Tensor::scalar(0.0);
            for (i, y) in outputs.iter().enumerate() {
                close(&format!("{case}/y{i}"), y, &self.get(&format!("{case}/y{i}")));
                loss = loss + (y * self.get(&format!("{case}/v{i}"))).sum();
            }
            assert!(!self.has(&format!("{case}/y{}", outputs.len())), "{case}: outputs that are not compared");
            loss
        });
        let grads = loss.backward();
        for (name, value) in &inputs {
            if let Some(value) = value {
                close(&format!("{case}/d{name}"), &grads.of(value), &self.get(&format!("{case}/d{name}")));
            }
        }
        self.compare_gradients(case, &module, &grads);
    }

    /// Compares the parameters after each of 20 steps.
    fn optimizer(&mut self, case: &str, mut optimizer: impl Optimizer) {
        assert!(self.cases.remove(case), "{case}: no such case, or checked twice");
        let mut net = sequential![Linear::new(4, 8), Tanh, Linear::new(8, 2)];
        self.set(&format!("{case}/state"), &mut net);
        let (x, y) = (self.get(&format!("{case}/x0")), self.get(&format!("{case}/x1")));
        for step in 0..20 {
            let loss = record(|| loss::mse_loss(&net.forward(&x), &y));
            optimizer.step(&mut net, &loss.backward());
            self.compare(&format!("{case}/after{step}"), &net);
        }
    }
}

#[test]
fn every_fixture_agrees() {
    let mut all = Fixture::load("pytorch.safetensors");
    type ElementWise = (&'static str, fn(&Tensor) -> Tensor);
    let element_wise: [ElementWise; 25] = [
        ("exp", |x| x.exp()),
        ("expm1", |x| x.expm1()),
        ("square", |x| x.square()),
        ("abs", |x| x.abs()),
        ("sin", |x| x.sin()),
        ("cos", |x| x.cos()),
        ("tanh", |x| x.tanh()),
        ("sigmoid", |x| x.sigmoid()),
        ("erf", |x| x.erf()),
        ("relu", |x| x.relu()),
        ("neg", |x| -x),
        ("silu", |x| x.silu()),
        ("gelu", |x| x.gelu()),
        ("gelu_tanh", |x| x.gelu_tanh()),
        ("softplus", |x| x.softplus()),
        ("leaky_relu", |x| x.leaky_relu(0.01)),
        ("elu", |x| x.elu(1.0)),
        ("log_sigmoid", |x| x.log_sigmoid()),
        ("log", |x| x.log()),
        ("sqrt", |x| x.sqrt()),
        ("rsqrt", |x| x.rsqrt()),
        ("reciprocal", |x| x.reciprocal()),
        ("log1p", |x| x.log1p()),
        ("powf", |x| x.powf(2.5)),
        ("clamp", |x| x.clamp(-1.0, 0.5)),
    ];
    for (case, f) in element_wise {
        all.check(case, |x| f(&x[0]));
    }
    all.check("add", |x| &x[0] + &x[1]);
    all.check("sub", |x| &x[0] - &x[1]);
    all.check("mul", |x| &x[0] * &x[1]);
    all.check("div", |x| &x[0] / &x[1]);
    all.check("pow", |x| x[0].pow(&x[1]));
    all.check("maximum", |x| x[0].maximum(&x[1]));
    all.check("minimum", |x| x[0].minimum(&x[1]));
    for case in ["matmul", "matmul_batched", "matmul_vector"] {
        all.check(case, |x| x[0].matmul(&x[1]));
    }
    all.check("sum_dim", |x| x[0].sum_dim([0, 2], true));
    all.check("mean_dim", |x| x[0].mean_dim([1, 2], false));
    all.check("var_dim", |x| x[0].var_dim(1, 1, false));
    all.check("std", |x| x[0].std());
    all.check("prod_dim", |x| x[0].prod_dim(1, false));
    all.check("amax", |x| x[0].amax([0, 2], false));
    all.check("amin", |x| x[0].amin(1, true));
    all.check("amax_of_equals", |x| ops::cat(&[&x[0], &x[0]], 1).amax(1, false));
    all.check("logsumexp", |x| x[0].logsumexp([0, 2], false));
    all.check("softmax", |x| x[0].softmax(1));
    all.check("log_softmax", |x| x[0].log_softmax(-1));
    all.check("cat", |x| ops::cat(&[&x[0], &x[1]], 1));
    all.check("stack", |x| ops::stack(&[&x[0], &x[1]], -1));
    all.check("where", |x| x[0].gt(&x[1].expand([3, 4])).choose(&x[0], &(&x[1] * 2.0)));
    let index = all.ints("gather/x1");
    all.check("gather", |x| x[0].gather(1, &index));
    let index = all.ints("index_select/x1");
    all.check("index_select", |x| x[0].index_select(0, &index));

    let labels = all.ints("cross_entropy/x1");
    all.check("cross_entropy", |x| loss::cross_entropy(&x[0], &labels));
    all.check("cross_entropy_none", |x| {
        let options = CrossEntropyOptions { reduction: Reduction::None, ..Default::default() };
        loss::cross_entropy_with(&x[0], &labels, options)
    });
    all.check("cross_entropy_options", |x| {
        let weight = Some(Tensor::from([1.0, 2.0, 0.5]));
        loss::cross_entropy_with(
            &x[0],
            &labels,
            CrossEntropyOptions { weight, label_smoothing: 0.1, ..Default::default() },
        )
    });
    let places = all.ints("cross_entropy_places/x1");
    all.check("cross_entropy_places", |x| loss::cross_entropy(&x[0], &places));
    all.check("mse_loss", |x| loss::mse_loss(&x[0], &x[1]));
    all.check("binary_cross_entropy_with_logits", |x| loss::binary_cross_entropy_with_logits(&x[0], &x[1]));
    all.check("binary_cross_entropy_pos_weight", |x| {
        let pos_weight = Some(Tensor::from([1.0, 2.0, 3.0, 0.5]));
        let options = BinaryCrossEntropyOptions { pos_weight, reduction: Reduction::Sum };
        loss::binary_cross_entropy_with_logits_with(&x[0], &x[1], options)
    });

    all.check("conv2d", |x| ops::conv2d(&x[0], &x[1], Some(&x[2]), Options::default()));
    all.check("conv2d_all", |x| {
        let options = Options { stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2, ..Default::default() };
        ops::conv2d(&x[0], &x[1], Some(&x[2]), options)
    });
    all.check("conv2d_depthwise", |x| {
        ops::conv2d(&x[0], &x[1], None, Options { padding: [1, 1], groups: 4, ..Default::default() })
    });
    all.check("conv2d_pointwise", |x| {
        ops::conv2d(&x[0], &x[1], None, Options { stride: [2, 2], ..Default::default() })
    });
    for (name, relu) in [("conv2d_max_pool2d", false), ("conv2d_max_pool2d_relu", true)] {
        all.check(name, |x| {
            let options =
                Options { stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2, ..Default::default() };
            ops::conv2d_max_pool2d(&x[0], &x[1], Some(&x[2]), options, relu)
        });
    }
    all.check("conv2d_relu", |x| ops::conv2d_relu(&x[0], &x[1], Some(&x[2]), Options::default()));
    all.check("linear_relu", |x| ops::linear_relu(&x[0], &x[1], Some(&x[2])));
    all.check("conv_transpose2d", |x| ops::conv_transpose2d(&x[0], &x[1], Some(&x[2]), Default::default()));
    all.check("conv_transpose2d_all", |x| {
        let options = ConvTranspose2dOptions {
            stride: [2, 3],
            padding: [1, 2],
            output_padding: [1, 2],
            dilation: [1, 2],
            groups: 2,
            ..Default::default()
        };
        ops::conv_transpose2d(&x[0], &x[1], Some(&x[2]), options)
    });
    all.check("conv_transpose2d_far", |x| {
        let options =
            ConvTranspose2dOptions { padding: [1, 1], output_padding: [2, 2], dilation: [3, 3], ..Default::default() };
        ops::conv_transpose2d(&x[0], &x[1], None, options)
    });
    all.check("conv1d", |x| {
        let options = Conv1dOptions { stride: 2, padding: 1, dilation: 2, groups: 2, ..Default::default() };
        ops::conv1d(&x[0], &x[1], Some(&x[2]), options)
    });
    all.check("conv_transpose1d", |x| {
        let options = ConvTranspose1dOptions {
            stride: 2,
            padding: 1,
            output_padding: 1,
            dilation: 2,
            groups: 2,
            ..Default::default()
        };
        ops::conv_transpose1d(&x[0], &x[1], Some(&x[2]), options)
    });
    all.check("attention", |x| ops::scaled_dot_product_attention(&x[0], &x[1], &x[2], Default::default()));
    all.check("attention_causal", |x| {
        let options = AttentionOptions { is_causal: true, scale: Some(0.3), ..Default::default() };
        ops::scaled_dot_product_attention(&x[0], &x[1], &x[2], options)
    });
    all.check("attention_mask", |x| {
        let options = AttentionOptions { attn_mask: Some(x[3].clone()), ..Default::default() };
        ops::scaled_dot_product_attention(&x[0], &x[1], &x[2], options)
    });
    all.check("max_pool2d", |x| ops::max_pool2d(&x[0], 2, MaxPool2dOptions::default()));
    all.check("max_pool2d_all", |x| {
        let options = MaxPool2dOptions { stride: Some([2, 1]), padding: [1, 0], dilation: [1, 2], ceil_mode: true };
        ops::max_pool2d(&x[0], [3, 2], options)
    });
    all.check("avg_pool2d", |x| ops::avg_pool2d(&x[0], 2, AvgPool2dOptions::default()));
    all.check("avg_pool2d_all", |x| {
        let options =
            AvgPool2dOptions { stride: Some([2, 2]), padding: [1, 1], ceil_mode: true, count_include_pad: false };
        ops::avg_pool2d(&x[0], 3, options)
    });

    all.layer("linear", Linear::new(4, 3), true);
    all.layer("linear_no_bias", Linear::with(4, 3, LinearOptions { bias: false }), true);
    let options = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
    all.layer("conv_layer", Conv2d::with(3, 4, 3, options), true);
    let options = Conv1dOptions { stride: 2, padding: 1, groups: 2, ..Default::default() };
    all.layer("conv1d_layer", Conv1d::with(4, 6, 3, options), true);
    let options = ConvTranspose2dOptions {
        stride: [2, 2],
        padding: [1, 1],
        output_padding: [1, 1],
        groups: 2,
        dilation: [2, 2],
        ..Default::default()
    };
    all.layer("conv_transpose_layer", ConvTranspose2d::with(4, 6, 3, options), true);
    let options = ConvTranspose1dOptions { stride: 2, padding: 1, bias: false, ..Default::default() };
    all.layer("conv_transpose1d_layer", ConvTranspose1d::with(4, 6, 4, options), true);
    all.layer("batch_norm", BatchNorm2d::new(3), true);
    all.layer("batch_norm_eval", BatchNorm2d::new(3), false);
    all.layer("layer_norm", LayerNorm::new([4, 6]), true);
    embedding(&mut all);

    all.optimizer("sgd", Sgd::new(0.1));
    all.optimizer(
        "sgd_momentum",
        Sgd::with(SgdOptions { lr: 0.05, momentum: 0.9, dampening: 0.1, weight_decay: 0.01, nesterov: false }),
    );
    all.optimizer(
        "sgd_nesterov",
        Sgd::with(SgdOptions { lr: 0.05, momentum: 0.9, nesterov: true, ..Default::default() }),
    );
    all.optimizer("adam", Adam::new(0.01));
    all.optimizer("adam_l2", Adam::with(AdamOptions { lr: 0.01, betas: [0.8, 0.99], eps: 1e-6, weight_decay: 0.1 }));
    all.optimizer("adamw", AdamW::with(AdamOptions { lr: 0.01, weight_decay: 0.1, ..Default::default() }));
    assert!(all.cases.is_empty(), "fixtures that no test compares with: {:?}", all.cases);
}

#[test]
fn every_recurrent_fixture_agrees() {
    let mut all = Fixture::load("recurrent.safetensors");
    let lstm_state = |[h, c]: [Option<&Tensor>; 2]| Some(LstmState { h: h?.clone(), c: c?.clone() });
    let rnn = |rnn: &Rnn, x: &Tensor, [h, _]: [Option<&Tensor>; 2], lengths: Option<&[usize]>| {
        let (y, h) = rnn.forward_with(x, h, lengths);
        vec![y, h]
    };
    let lstm = |lstm: &Lstm, x: &Tensor, state: [Option<&Tensor>; 2], lengths: Option<&[usize]>| {
        let (y, state) = lstm.forward_with(x, lstm_state(state).as_ref(), lengths);
        vec![y, state.h, state.c]
    };
    let gru = |gru: &Gru, x: &Tensor, [h, _]: [Option<&Tensor>; 2], lengths: Option<&[usize]>| {
        let (y, h) = gru.forward_with(x, h, lengths);
        vec![y, h]
    };
    let relu = Nonlinearity::Relu;
    all.sequences("rnn", Rnn::new(5, 7), rnn);
    let options = RnnOptions { layers: 2, nonlinearity: relu, bidirectional: true, ..Default::default() };
    all.sequences("rnn_relu", Rnn::with(5, 7, options), rnn);
    let deep = LstmOptions { layers: 2, bidirectional: true, ..Default::default() };
    all.sequences("lstm", Lstm::new(5, 7), lstm);
    all.sequences("lstm_no_bias", Lstm::with(5, 7, LstmOptions { bias: false, ..Default::default() }), lstm);
    all.sequences("lstm_deep", Lstm::with(5, 7, deep), lstm);
    all.sequences("lstm_lengths", Lstm::with(5, 7, LstmOptions { batch_first: true, ..deep }), lstm);
    all.sequences("lstm_projection", Lstm::with(5, 7, LstmOptions { proj_size: 3, ..deep }), lstm);
    all.sequences("gru", Gru::new(5, 7), gru);
    all.sequences("gru_no_bias", Gru::with(5, 7, GruOptions { bias: false, ..Default::default() }), gru);
    let deep = GruOptions { layers: 2, bidirectional: true, ..Default::default() };
    all.sequences("gru_deep", Gru::with(5, 7, deep), gru);
    let cell = |cell: &RnnCell, x: &Tensor, [h, _]: [Option<&Tensor>; 2], _: Option<&[usize]>| vec![cell.forward(x, h)];
    all.sequences("rnn_cell", RnnCell::new(5, 7), cell);
    let options = RnnCellOptions { bias: false, nonlinearity: relu };
    all.sequences("rnn_cell_relu", RnnCell::with(5, 7, options), cell);
    let lstm_cell = |cell: &LstmCell, x: &Tensor, state: [Option<&Tensor>; 2], _: Option<&[usize]>| {
        let state = cell.forward(x, lstm_state(state).as_ref());
        vec![state.h, state.c]
    };
    all.sequences("lstm_cell", LstmCell::new(5, 7), lstm_cell);
    all.sequences("gru_cell", GruCell::new(5, 7), |cell, x, [h, _], _| vec![cell.forward(x, h)]);
    let options = LstmOptions { layers: 2, bidirectional: true, proj_size: 3, ..Default::default() };
    all.sequences("lstm_alone", Lstm::with(5, 7, options), lstm);
    all.sequences("gru_alone", Gru::with(5, 7, GruOptions { batch_first: true, ..Default::default() }), gru);
    all.sequences("rnn_cell_alone", RnnCell::new(5, 7), cell);
    all.sequences("lstm_cell_alone", LstmCell::new(5, 7), lstm_cell);
    assert!(all.cases.is_empty(), "fixtures that no test compares with: {:?}", all.cases);
}

#[test]
fn convolution_by_minimal_filtering_agrees() {
    let options = Options { padding: [1, 1], ..Default::default() };
    let mut all = Fixture::load("convolution.safetensors");
    all.check("conv2d_minimal", |x| ops::conv2d(&x[0], &x[1], Some(&x[2]), options));
    let options = Options { stride: [2, 2], ..options };
    all.check("conv2d_minimal_strided", |x| ops::conv2d(&x[0], &x[1], Some(&x[2]), options));
}

#[test]
fn every_fixture_of_sequences_agrees() {
    let mut all = Fixture::load("text.safetensors");
    let (sum, none) = (Reduction::Sum, Reduction::None);
    ctc(&mut all, "ctc", CtcOptions::default());
    ctc(&mut all, "ctc_sum", CtcOptions { reduction: sum, ..Default::default() });
    ctc(&mut all, "ctc_none", CtcOptions { reduction: none, blank: 2, ..Default::default() });
    ctc(&mut all, "ctc_infinite", CtcOptions { zero_infinity: true, ..Default::default() });
    let tags = all.ints("crf/x4");
    all.check("crf", |x| {
        let scores = CrfScores { start: &x[1], transitions: &x[2], end: &x[3] };
        ops::crf_log_likelihood(&x[0], scores, &tags, Some(&[5, 1, 3]))
    });
    let additive = |a: &AdditiveAttention, query: &Tensor, states: &Tensor| a.forward(query, states, Some(&[5, 1, 3]));
    attention(&mut all, "attention_additive", AdditiveAttention::new(4, 6, 7), additive);
    attention(&mut all, "attention_concat", AdditiveAttention::new(6, 6, 7), additive);
    let dot = |a: &DotAttention, query: &Tensor, states: &Tensor| a.forward(query, states, Some(&[5, 1, 3]));
    attention(&mut all, "attention_general", DotAttention::general(4, 6), dot);
    attention(&mut all, "attention_dot", DotAttention::dot(), dot);
    assert!(all.cases.is_empty(), "fixtures that no test compares with: {:?}", all.cases);
}

fn ctc(all: &mut Fixture, case: &str, options: CtcOptions) {
    let targets = all.ints(&format!("{case}/x1"));
    let lengths = |name: &str| -> Vec<usize> {
        all.ints(&format!("{case}/{name}")).to_vec().into_iter().map(|length| length as usize).collect()
    };
    let (steps, lengths) = (lengths("steps"), lengths("lengths"));
    all.check(case, |x| loss::ctc_loss_with(&x[0].log_softmax(2), &targets, &steps, &lengths, options));
}

/// Compares the context and the weights, beside each other, and the gradients of query, states and parameters.
fn attention<M: Module>(
    all: &mut Fixture,
    case: &str,
    mut module: M,
    forward: impl Fn(&M, &Tensor, &Tensor) -> Attended,
) {
    assert!(all.cases.remove(case));
    all.set(&format!("{case}/state"), &mut module);
    let [query, states] = ["x0", "x1"].map(|name| all.get(&format!("{case}/{name}")).tracked());
    let y = record(|| {
        let found = forward(&module, &query, &states);
        ops::cat(&[&found.context, &found.weights], -1)
    });
    close(&format!("{case}: output"), &y, &all.get(&format!("{case}/y")));
    let grads = y.backward_with(&all.get(&format!("{case}/v")));
    close(&format!("{case}/dx0"), &grads.of(&query), &all.get(&format!("{case}/dx0")));
    close(&format!("{case}/dx1"), &grads.of(&states), &all.get(&format!("{case}/dx1")));
    all.compare_gradients(case, &module, &grads);
}

/// An embedding takes whole numbers, so it is no [`Layer`].
fn embedding(all: &mut Fixture) {
    assert!(all.cases.remove("embedding"));
    let mut layer = Embedding::with(7, 3, EmbeddingOptions { padding_idx: Some(2) });
    all.set("embedding/state", &mut layer);
    let y = record(|| layer.forward(&all.ints("embedding/x0")));
    close("embedding: output", &y, &all.get("embedding/y"));
    let grads = y.backward_with(&all.get("embedding/v"));
    all.compare_gradients("embedding", &layer, &grads);
}

#[test]
fn every_fixture_of_distributions_agrees() {
    let mut all = Fixture::load("distributions.safetensors");
    all.check("lgamma", |x| x[0].lgamma());
    all.check("digamma", |x| x[0].digamma());
    all.check("trigamma", |x| x[0].polygamma(1.0));
    all.check("polygamma", |x| x[0].polygamma(3.0));
    all.check("tril", |x| x[0].tril(1) * x[0].triu(-1));
    all.check("cholesky", |x| covariance(&x[0]).cholesky());
    all.check("solve_lower", |x| lower(&x[0]).solve_triangular(&x[1], false));
    all.check("solve_upper", |x| lower(&x[0]).t().solve_triangular(&x[1], true));
    // As in make.py: what makes a distribution of its parameters, and a value of random numbers.
    let real = |x: &Tensor| x * 4.0 - 2.0;
    let unit = Tensor::clone;
    family(&mut all, "normal", 2, |x| Normal::new(&x[0], &x[1].exp()), real);
    family(&mut all, "log_normal", 2, |x| LogNormal::new(&x[0], &x[1].exp()), unit);
    family(&mut all, "uniform", 2, |x| Uniform::new(&(x[0].sigmoid() - 2.0), &(x[1].sigmoid() + 0.5)), unit);
    family(&mut all, "laplace", 2, |x| Laplace::new(&x[0], &x[1].exp()), real);
    family(&mut all, "gamma", 2, |x| Gamma::new(&x[0].exp(), &x[1].exp()), unit);
    family(&mut all, "beta", 2, |x| Beta::new(&x[0].exp(), &x[1].exp()), unit);
    family(&mut all, "dirichlet", 1, |x| Dirichlet::new(&x[0].exp()), |x| x / x.sum_dim(-1, true));
    family(&mut all, "bernoulli_probs", 1, |x| Bernoulli::from_probs(&x[0].sigmoid()), unit);
    family(&mut all, "bernoulli_logits", 1, |x| Bernoulli::from_logits(&x[0]), unit);
    family(&mut all, "one_hot_logits", 1, |x| OneHotCategorical::from_logits(&x[0]), unit);
    let normal = |x: &[Tensor]| MultivariateNormal::new(&x[0], &covariance(&x[1]));
    family(&mut all, "multivariate_covariance", 2, normal, real);
    let normal = |x: &[Tensor]| MultivariateNormal::from_scale_tril(&x[0], &lower(&x[1]));
    family(&mut all, "multivariate_factor", 2, normal, real);
    type Classes = fn(&Tensor) -> Categorical;
    let made: [(&str, Classes); 2] = [
        ("categorical_probs", |x| Categorical::from_probs(&x.exp())),
        ("categorical_logits", Categorical::from_logits),
    ];
    for (case, make) in made {
        let classes = all.ints(&format!("{case}_log_prob/x1"));
        all.check(&format!("{case}_log_prob"), |x| make(&x[0]).log_prob(&classes));
        all.check(&format!("{case}_entropy"), |x| make(&x[0]).entropy());
        all.check(&format!("{case}_kl"), |x| make(&x[0]).kl(&make(&x[1])));
    }
    all.check("relaxed_log_prob", |x| GumbelSoftmax::new(0.7, &x[0]).log_prob(&x[1].softmax(-1)));
    assert!(all.cases.remove("gamma_draws"));
    let concentration = all.get("gamma_draws/x0").tracked();
    let y = record(|| ops::log_standard_gamma_from(&concentration, &all.get("gamma_draws/y")));
    let slopes = y.backward_with(&concentration.ones_like()).of(&concentration).to_vec();
    for (i, (ours, theirs)) in slopes.iter().zip(all.get("gamma_draws/dx0").to_vec()).enumerate() {
        // PyTorch approximates; the kernel's own test has exact numbers.
        assert!((ours / theirs - 1.0).abs() < 2e-3, "gamma_draws: element {i}: {ours}, PyTorch {theirs}");
    }
    assert!(all.cases.is_empty(), "not checked: {:?}", all.cases);
}

/// Compares a distribution of `n` parameters with its five cases.
fn family<D: Distribution<f32, Value = f32>>(
    all: &mut Fixture,
    case: &str,
    n: usize,
    make: impl Fn(&[Tensor]) -> D,
    value: impl Fn(&Tensor) -> Tensor,
) {
    all.check(&format!("{case}_log_prob"), |x| make(&x[..n]).log_prob(&value(&x[n].sigmoid())));
    all.check(&format!("{case}_mean"), |x| make(x).mean());
    all.check(&format!("{case}_variance"), |x| make(x).variance());
    all.check(&format!("{case}_entropy"), |x| make(x).entropy());
    all.check(&format!("{case}_kl"), |x| make(&x[..n]).kl(&make(&x[n..])));
}

/// A lower triangular matrix with a positive diagonal.
fn lower(x: &Tensor) -> Tensor {
    x.tril(-1) + x.exp().tril(0).triu(0)
}

fn covariance(x: &Tensor) -> Tensor {
    x.matmul(&x.t()) + Tensor::eye(x.size(-1))
}

#[test]
fn a_state_dict_written_by_pytorch_loads_and_gives_the_same_output_and_gradients() {
    let mut net = Cnn::default();
    io::load(fixture("mnist_cnn.safetensors"), &mut net).unwrap();
    let case = io::load_tensors(fixture("mnist_cnn_case.safetensors")).unwrap();
    let get = |name: &str| case.get::<f32>(name).unwrap();
    let x = get("x").tracked();
    let (logits, loss) = record(|| {
        let logits = net.forward(&x);
        let loss = loss::cross_entropy(&logits, &case.get("target").unwrap());
        (logits, loss)
    });
    close("logits", &logits, &get("logits"));
    close("loss", &loss, &get("loss"));
    let grads = loss.backward();
    close("dx", &grads.of(&x), &get("dx"));
    for (name, param) in net.parameters() {
        let grad = grads.of(&param);
        let seen = if grad.rank() > 1 { grad.flatten(1).sum_dim(1, false) } else { grad };
        close(&name, &seen, &get(&format!("d/{name}")));
    }
}
