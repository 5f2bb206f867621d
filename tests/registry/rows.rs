use super::Row;
use wengert::ops::{self, Cell, Recurrent, RecurrentOptions, RecurrentWeights};
use wengert::{Tensor, loss, seed};

/// `name (low, high) {shape shape} | {shape shape}: |x| output;`: an input for each shape, values between low and high.
macro_rules! rows {
    ($($name:literal ($low:literal, $high:literal) $($case:tt)|+ : $f:expr;)+) => {
        vec![$(Row {
            name: $name,
            f: $f,
            cases: vec![$(shapes!($case)),+],
            range: ($low, $high),
            kinks_at_ties: false,
            first_order_only: false,
        }),+]
    };
}
macro_rules! shapes {
    ({$($shape:tt)*}) => { vec![$(Vec::from($shape)),*] };
}

/// One input of the usual shapes: a matrix, rank 3 with odd sizes, one element, rank 0, none.
macro_rules! unary {
    ($($name:literal ($low:literal, $high:literal): $f:expr;)+) => {
        rows! {$(
            $name ($low, $high) {[3, 4]} | {[2, 3, 5]} | {[1]} | {[]} | {[0, 2]}: $f;
        )+}
    };
}

/// Two inputs: of one shape, broadcast both ways, with size 1, rank 0 and size 0.
macro_rules! binary {
    ($($name:literal ($low:literal, $high:literal): $f:expr;)+) => {
        rows! {$(
            $name ($low, $high) {[3, 4] [3, 4]} | {[2, 1, 4] [3, 1]} | {[5] []} | {[1] [1]} | {[0, 3] [3]}: $f;
        )+}
    };
}

/// A recurrent layer whose inputs are x, `W_ih`, `W_hh`, then the rest in the order of its arguments; what comes out, in one
/// vector.
fn recurrent(
    cell: Cell,
    x: &[Tensor<f64>],
    rest: [Option<usize>; 5],
    reverse: bool,
    lengths: Option<&[usize]>,
) -> Tensor<f64> {
    let [input_bias, hidden_bias, projection, h, c] = rest.map(|i| i.map(|i| &x[i]));
    let weights = RecurrentWeights { input: &x[1], hidden: &x[2], input_bias, hidden_bias, projection };
    let Recurrent { output, h, c } = ops::recurrent(cell, &x[0], weights, RecurrentOptions { h, c, reverse, lengths });
    let parts = [Some(output), Some(h), c].map(|x| x.map(|x| x.flatten(0)));
    ops::cat(&parts.iter().flatten().collect::<Vec<_>>(), 0)
}

/// The logarithm of what a draw from the gamma distribution of rate 1 falls below with probability `u`: by bisection of
/// `P(a, z)`, the sum of `z^(a + n) e^-z / Gamma(a + n + 1)`.
fn log_gamma_quantile(a: f64, u: f64) -> f64 {
    let probability = |log_z: f64| {
        let z = log_z.exp();
        let first = (a * log_z - z - wengert::kernels::math::lgamma(a + 1.0)).exp();
        let terms = std::iter::successors(Some((first, a)), |(term, at)| Some((term * z / (at + 1.0), at + 1.0)));
        terms.take(200).map(|(term, _)| term).sum::<f64>()
    };
    let (mut low, mut high) = (-50.0, 5.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if probability(middle) < u { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// `n` added to the diagonal.
fn plus_diagonal(x: &Tensor<f64>, n: f64) -> Tensor<f64> {
    x + Tensor::eye(x.size(-1)).cast::<f64>() * n
}

fn index(places: &[i64]) -> Tensor<i64> {
    Tensor::from(places)
}

pub fn rows() -> Vec<Row> {
    let mut all = unary! {
        "neg" (-2.0, 2.0): |x| -&x[0];
        "add_scalar" (-2.0, 2.0): |x| &x[0] + 1.5;
        "mul_scalar" (-2.0, 2.0): |x| 3.0 * &x[0] / 7.0;
        "rsub" (-2.0, 2.0): |x| 1.0 - &x[0];
        "rdiv" (0.4, 2.0): |x| 1.0 / &x[0];
        "exp" (-2.0, 2.0): |x| x[0].exp();
        "expm1" (-2.0, 2.0): |x| x[0].expm1();
        "log" (0.2, 3.0): |x| x[0].log();
        "log1p" (-0.7, 3.0): |x| x[0].log1p();
        "sqrt" (0.2, 3.0): |x| x[0].sqrt();
        "rsqrt" (0.2, 3.0): |x| x[0].rsqrt();
        "square" (-2.0, 2.0): |x| x[0].square();
        "reciprocal" (0.4, 3.0): |x| x[0].reciprocal();
        "powf" (0.3, 2.0): |x| x[0].powf(2.7);
        "powf of negative numbers" (-2.0, -0.3): |x| x[0].powf(3.0);
        "abs" (-2.0, 2.0): |x| x[0].abs();
        "sign" (-2.0, 2.0): |x| x[0].sign() * &x[0];
        "heaviside" (-2.0, 2.0): |x| x[0].heaviside() * &x[0];
        "floor" (-2.0, 2.0): |x| x[0].floor() * &x[0];
        "ceil" (-2.0, 2.0): |x| x[0].ceil() * &x[0];
        "round" (-2.0, 2.0): |x| x[0].round() * &x[0];
        "inside" (-2.0, 2.0): |x| x[0].inside(-1.0, 0.5) * &x[0];
        "sin" (-3.0, 3.0): |x| x[0].sin();
        "cos" (-3.0, 3.0): |x| x[0].cos();
        "tanh" (-2.0, 2.0): |x| x[0].tanh();
        "sigmoid" (-3.0, 3.0): |x| x[0].sigmoid();
        "log_sigmoid" (-3.0, 3.0): |x| x[0].log_sigmoid();
        "erf" (-2.0, 2.0): |x| x[0].erf();
        "ndtr" (-3.0, 3.0): |x| x[0].ndtr();
        "lgamma" (0.3, 4.0): |x| x[0].lgamma();
        "lgamma of negative numbers" (-2.9, -2.1): |x| x[0].lgamma();
        "digamma" (0.3, 4.0): |x| x[0].digamma();
        "digamma of negative numbers" (-0.9, -0.1): |x| x[0].digamma();
        "polygamma" (0.3, 4.0): |x| x[0].polygamma(2.0);
        "relu" (-2.0, 2.0): |x| x[0].relu();
        "leaky_relu" (-2.0, 2.0): |x| x[0].leaky_relu(0.1);
        "elu" (-2.0, 2.0): |x| x[0].elu(1.3);
        "softplus" (-3.0, 3.0): |x| x[0].softplus();
        "silu" (-3.0, 3.0): |x| x[0].silu();
        "gelu" (-3.0, 3.0): |x| x[0].gelu();
        "gelu_tanh" (-3.0, 3.0): |x| x[0].gelu_tanh();
        "clamp" (-2.0, 2.0): |x| x[0].clamp(-1.0, 0.5);
        "cast" (-2.0, 2.0): |x| x[0].cast::<f64>() * 2.0;
        "contiguous" (-2.0, 2.0): |x| x[0].t().contiguous();
        "reshape" (-2.0, 2.0): |x| x[0].reshape([x[0].numel()]);
        "unsqueeze" (-2.0, 2.0): |x| x[0].unsqueeze(-1);
        "squeeze" (-2.0, 2.0): |x| x[0].unsqueeze(0).squeeze(0);
        "t" (-2.0, 2.0): |x| x[0].t();
        "sum" (-2.0, 2.0): |x| x[0].sum();
        "sum_dim" (-2.0, 2.0): |x| x[0].unsqueeze(0).sum_dim(-1, false);
        "mean" (-2.0, 2.0): |x| if x[0].numel() == 0 { x[0].sum() } else { x[0].mean() };
        "masked_fill" (-2.0, 2.0): |x| x[0].masked_fill(&x[0].gt_scalar(0.5), 3.0);
        "prod" (0.3, 2.0): |x| x[0].prod();
        "prod with a zero" (0.3, 2.0): |x| (x[0].unsqueeze(0) * x[0].unsqueeze(0).inside(0.5, 2.0)).prod_dim(-1, true);
        "norm" (0.3, 2.0): |x| if x[0].numel() == 0 { x[0].sum() } else { x[0].norm() };
        "max" (-2.0, 2.0): |x| if x[0].numel() == 0 { x[0].sum() } else { x[0].max() };
        "min" (-2.0, 2.0): |x| if x[0].numel() == 0 { x[0].sum() } else { x[0].min() };
    };
    all.extend(binary! {
        "add" (-2.0, 2.0): |x| &x[0] + &x[1];
        "sub" (-2.0, 2.0): |x| &x[0] - &x[1];
        "mul" (-2.0, 2.0): |x| &x[0] * &x[1];
        "div" (0.4, 2.0): |x| &x[0] / &x[1];
        "pow" (0.3, 2.0): |x| x[0].pow(&x[1]);
        "maximum" (-2.0, 2.0): |x| x[0].maximum(&x[1]);
        "minimum" (-2.0, 2.0): |x| x[0].minimum(&x[1]);
        "where" (-2.0, 2.0): |x| x[0].gt(&x[1]).choose(&x[0], &x[1]);
    });
    all.extend(rows! {
        "mse_loss" (-2.0, 2.0) {[3, 4] [3, 4]} | {[1] [1]} | {[] []} | {[0, 3] [0, 3]}: |x| loss::mse_loss_with(&x[0], &x[1], loss::Reduction::None);
        "binary_cross_entropy_with_logits" (-2.0, 2.0) {[3, 4] [3, 4]} | {[1] [1]} | {[] []} | {[0, 3] [0, 3]}: |x| {
            let options = loss::BinaryCrossEntropyOptions { reduction: loss::Reduction::Sum, ..Default::default() };
            loss::binary_cross_entropy_with_logits_with(&x[0], &x[1].sigmoid(), options)
        };
        "binary_cross_entropy_with_logits, weighted" (-2.0, 2.0) {[3, 4] [3, 4]} | {[1] [1]} | {[] []} | {[0, 3] [0, 3]}: |x| {
            let options = loss::BinaryCrossEntropyOptions {
                pos_weight: Some(Tensor::scalar(2.5)),
                reduction: loss::Reduction::None,
            };
            loss::binary_cross_entropy_with_logits_with(&x[0], &x[1].sigmoid(), options)
        };
        "permute" (-2.0, 2.0) {[2, 3, 4]} | {[1, 0, 2]}: |x| x[0].permute(&[2, 0, 1]);
        "expand" (-2.0, 2.0) {[3, 1]} | {[1]} | {[]}: |x| x[0].expand([2, 3, 4]);
        "expand to nothing" (-2.0, 2.0) {[1, 1]}: |x| x[0].expand([0, 4]);
        "slice" (-2.0, 2.0) {[5, 7]} | {[5, 1]}: |x| x[0].slice(0, 1, 5, 3).narrow(-1, 0, 1);
        "an empty slice" (-2.0, 2.0) {[5, 7]}: |x| x[0].slice(1, 2, 2, 1);
        "select" (-2.0, 2.0) {[3, 4, 2]} | {[1, 2, 0]}: |x| x[0].select(1, -1);
        "i" (-2.0, 2.0) {[3, 4, 2]}: |x| x[0].i((1.., ops::step(.., 2), -1));
        "split" (-2.0, 2.0) {[5, 2]}: |x| x[0].split(2, 0)[1].tanh() * x[0].split(2, 0)[0].sin();
        "cat" (-2.0, 2.0) {[2, 3] [2, 1]} | {[1, 0] [1, 2]}: |x| ops::cat(&[&x[0], &x[1], &x[0]], 1);
        "stack" (-2.0, 2.0) {[2, 3] [2, 3]} | {[] []} | {[0] [0]}: |x| ops::stack(&[&x[0], &x[1]], -1);
        "matmul" (-2.0, 2.0) {[3, 4] [4, 5]} | {[1, 1] [1, 1]} | {[3, 0] [0, 2]} | {[0, 2] [2, 3]}:
            |x| x[0].matmul(&x[1]);
        "matmul with batches" (-2.0, 2.0) {[2, 3, 4] [4, 5]} | {[2, 1, 3, 4] [3, 4, 2]} | {[3, 4] [2, 4, 2]} | {[0, 2, 3] [0, 3, 1]}:
            |x| x[0].matmul(&x[1]);
        "matmul with vectors" (-2.0, 2.0) {[4] [4]} | {[4] [4, 3]} | {[3, 4] [4]} | {[2, 3, 4] [4]}:
            |x| x[0].matmul(&x[1]);
        "linear_relu" (-2.0, 2.0) {[3, 4] [5, 4] [5]} | {[2, 3, 4] [1, 4] [1]} | {[0, 4] [2, 4] [2]}:
            |x| ops::linear_relu(&x[0], &x[1], Some(&x[2]));
        "tril" (-2.0, 2.0) {[3, 4]} | {[2, 3, 3]} | {[1, 1]} | {[0, 2, 3]}: |x| x[0].tril(1).sin() * x[0].triu(-1);
        "cholesky" (-2.0, 2.0) {[3, 3]} | {[2, 3, 4]} | {[1, 1]} | {[0, 2, 2]} | {[0, 0]}:
            |x| plus_diagonal(&x[0].matmul(&x[0].t()), 1.5).cholesky();
        "solve_triangular" (-2.0, 2.0) {[3, 3] [3, 2]} | {[2, 3, 3] [3, 1]} | {[4, 4] [2, 4, 2]} | {[1, 1] [1, 1]} | {[0, 2, 2] [2, 3]} | {[2, 2] [2, 0]}: |x| {
            let a = plus_diagonal(&(&x[0] * 0.3), 2.0);
            a.solve_triangular(&x[1], false).sin() + a.solve_triangular(&x[1], true)
        };
        "log_standard_gamma" (0.3, 4.0) {[3, 4]} | {[2, 1, 3]} | {[]} | {[0, 2]}: |x| {
            let (concentration, n) = (x[0].to_vec(), x[0].numel());
            let u = |i: usize| (i as f64 + 0.5) / n as f64;
            let draws = Tensor::from_fn(x[0].dims(), |i| log_gamma_quantile(concentration[i], u(i)));
            ops::log_standard_gamma_from(&x[0], &draws).tanh()
        };
        "linear" (-2.0, 2.0) {[3, 4] [5, 4] [5]} | {[2, 3, 4] [1, 4] [1]} | {[4] [2, 4] [2]} | {[0, 4] [2, 4] [2]}:
            |x| ops::linear(&x[0], &x[1], Some(&x[2]));
        "linear without bias" (-2.0, 2.0) {[3, 4] [5, 4]}: |x| ops::linear(&x[0], &x[1], None);
        "index_select" (-2.0, 2.0) {[4, 3]} | {[4, 0]} | {[4, 1]}: |x| x[0].index_select(0, &index(&[3, 0, -1, 0]));
        "gather" (-2.0, 2.0) {[3, 4]}: |x| x[0].gather(1, &Tensor::from([[0_i64, 3, 3], [2, -1, 0]]));
        "scatter_add" (-2.0, 2.0) {[3, 4] [2, 3]}:
            |x| x[0].scatter_add(1, &Tensor::from([[0_i64, 3, 3], [2, 1, 0]]), &x[1]);
        "softmax" (-2.0, 2.0) {[2, 3, 4]} | {[1, 1, 1]} | {[2, 0, 3]}: |x| x[0].softmax(1);
        "log_softmax" (-2.0, 2.0) {[3, 4]} | {[1, 1]} | {[0, 3]}: |x| x[0].log_softmax(-1);
        "logsumexp" (-2.0, 2.0) {[2, 3, 4]} | {[1, 1, 1]} | {[0, 2, 3]}: |x| x[0].logsumexp([1, 2], false);
        "cross_entropy" (-2.0, 2.0) {[3, 4]} | {[3, 3]}: |x| loss::cross_entropy(&x[0], &index(&[2, 0, 1]));
        "cross_entropy with options" (0.3, 2.0) {[2, 3, 2]}: |x| {
            let options = loss::CrossEntropyOptions {
                weight: Some(Tensor::from([1.0, 2.0, 0.5])),
                label_smoothing: 0.1,
                ignore_index: -1,
                ..Default::default()
            };
            loss::cross_entropy_with(&x[0], &Tensor::from([[2_i64, -1], [0, 1]]), options)
        };
        "ctc_loss" (-2.0, 2.0) {[5, 2, 4]} | {[3, 1, 3]} | {[4, 0, 3]}: |x| {
            // Of each sequence the labels 1, 1; its steps are just enough, or one more.
            let batch = x[0].size(1);
            let steps: Vec<usize> = (0..batch).map(|b| x[0].size(0) - b).collect();
            let options = loss::CtcOptions { reduction: loss::Reduction::None, ..Default::default() };
            loss::ctc_loss_with(&x[0], &Tensor::full([batch, 3], 1), &steps, &vec![2; batch], options)
        };
        "crf_log_likelihood" (-2.0, 2.0) {[2, 3, 4] [4] [4, 4] [4]} | {[1, 1, 1] [1] [1, 1] [1]} | {[0, 2, 3] [3] [3, 3] [3]}: |x| {
            let [batch, time, tags] = [0, 1, 2].map(|d| x[0].size(d));
            let path = Tensor::from_fn([batch, time], |i| (i * i % tags) as i64);
            let lengths: Vec<usize> = (0..batch).map(|b| time - b).collect();
            let scores = ops::CrfScores { start: &x[1], transitions: &x[2], end: &x[3] };
            ops::crf_log_likelihood(&x[0], scores, &path, Some(&lengths))
        };
        "conv2d" (-2.0, 2.0) {[2, 3, 5, 4] [4, 3, 3, 2] [4]} | {[1, 1, 1, 1] [1, 1, 1, 1] [1]} | {[0, 2, 3, 3] [2, 2, 2, 2] [2]}:
            |x| ops::conv2d(&x[0], &x[1], Some(&x[2]), ops::Conv2dOptions::default());
        "conv2d_relu" (-2.0, 2.0) {[2, 3, 5, 4] [4, 3, 3, 2] [4]} | {[1, 1, 1, 1] [1, 1, 1, 1] [1]} | {[0, 2, 3, 3] [2, 2, 2, 2] [2]}:
            |x| ops::conv2d_relu(&x[0], &x[1], Some(&x[2]), ops::Conv2dOptions::default());
        "conv2d_max_pool2d" (-2.0, 2.0) {[2, 3, 6, 5] [9, 3, 2, 2] [9]} | {[1, 1, 3, 2] [8, 1, 2, 1] [8]} | {[0, 2, 4, 3] [9, 2, 2, 2] [9]}:
            |x| ops::conv2d_max_pool2d(&x[0], &x[1], Some(&x[2]), ops::Conv2dOptions::default(), true);
        "conv2d_max_pool2d with options" (-2.0, 2.0) {[2, 4, 9, 8] [16, 2, 3, 2]}: |x| {
            let options = ops::Conv2dOptions { stride: [2, 1], padding: [1, 1], groups: 2, ..Default::default() };
            ops::conv2d_max_pool2d(&x[0], &x[1], None, options, false)
        };
        "conv2d with options" (-2.0, 2.0) {[2, 4, 6, 7] [6, 2, 3, 2]}: |x| {
            let options = ops::Conv2dOptions {
                stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2, ..Default::default()
            };
            ops::conv2d(&x[0], &x[1], None, options)
        };
        "conv_transpose2d" (-2.0, 2.0) {[2, 3, 2, 4] [3, 2, 3, 2] [2]} | {[1, 1, 1, 1] [1, 1, 1, 1] [1]} | {[0, 2, 3, 3] [2, 2, 2, 2] [2]}:
            |x| ops::conv_transpose2d(&x[0], &x[1], Some(&x[2]), ops::ConvTranspose2dOptions::default());
        "conv_transpose2d with options" (-2.0, 2.0) {[2, 4, 3, 4] [4, 3, 3, 2]}: |x| {
            let options = ops::ConvTranspose2dOptions {
                stride: [2, 3], padding: [1, 0], output_padding: [1, 2], dilation: [1, 2], groups: 2, ..Default::default()
            };
            ops::conv_transpose2d(&x[0], &x[1], None, options)
        };
        "conv1d" (-2.0, 2.0) {[2, 4, 7] [6, 2, 3] [6]} | {[0, 4, 7] [2, 2, 1] [2]}: |x| {
            let options = ops::Conv1dOptions { stride: 2, padding: 1, dilation: 2, groups: 2, ..Default::default() };
            ops::conv1d(&x[0], &x[1], Some(&x[2]), options)
        };
        "conv_transpose1d" (-2.0, 2.0) {[2, 4, 3] [4, 3, 3] [6]} | {[0, 4, 7] [4, 1, 3] [2]}: |x| {
            let options = ops::ConvTranspose1dOptions {
                stride: 2, padding: 1, output_padding: 1, dilation: 2, groups: 2, ..Default::default()
            };
            ops::conv_transpose1d(&x[0], &x[1], Some(&x[2]), options)
        };
        "conv3d" (-2.0, 2.0) {[2, 2, 3, 3, 4] [3, 2, 2, 2, 3] [3]} | {[1, 1, 1, 1, 1] [1, 1, 1, 1, 1] [1]} | {[0, 2, 2, 3, 3] [2, 2, 2, 2, 2] [2]}:
            |x| ops::conv3d(&x[0], &x[1], Some(&x[2]), ops::Conv3dOptions::default());
        "conv3d with options" (-2.0, 2.0) {[1, 4, 4, 3, 4] [4, 2, 2, 3, 2]}: |x| {
            let options = ops::Conv3dOptions {
                stride: [2, 1, 2], padding: [2, 1, 0], dilation: [3, 1, 2], groups: 2, ..Default::default()
            };
            ops::conv3d(&x[0], &x[1], None, options)
        };
        "conv_transpose3d" (-2.0, 2.0) {[2, 2, 3, 2, 3] [2, 3, 2, 2, 3] [3]} | {[0, 2, 2, 3, 3] [2, 2, 2, 2, 2] [2]}:
            |x| ops::conv_transpose3d(&x[0], &x[1], Some(&x[2]), ops::ConvTranspose3dOptions::default());
        "conv_transpose3d with options" (-2.0, 2.0) {[1, 4, 2, 2, 3] [4, 2, 3, 2, 2]}: |x| {
            let options = ops::ConvTranspose3dOptions {
                stride: [2, 1, 3], padding: [1, 0, 1], output_padding: [1, 1, 2], dilation: [1, 2, 1], groups: 2,
                ..Default::default()
            };
            ops::conv_transpose3d(&x[0], &x[1], None, options)
        };
        "max_pool2d" (-2.0, 2.0) {[2, 3, 5, 4]} | {[1, 1, 2, 2]} | {[0, 2, 4, 4]}:
            |x| ops::max_pool2d(&x[0], 2, ops::MaxPool2dOptions::default());
        "max_pool2d with options" (-2.0, 2.0) {[2, 2, 6, 7]}: |x| {
            let options =
                ops::MaxPool2dOptions { stride: Some([2, 1]), padding: [1, 0], dilation: [1, 2], ceil_mode: true };
            ops::max_pool2d(&x[0], [3, 2], options)
        };
        "avg_pool2d" (-2.0, 2.0) {[2, 3, 5, 4]} | {[1, 1, 2, 2]} | {[0, 2, 4, 4]}:
            |x| ops::avg_pool2d(&x[0], 2, ops::AvgPool2dOptions::default());
        "avg_pool2d with options" (-2.0, 2.0) {[2, 2, 6, 7]}: |x| {
            let options = ops::AvgPool2dOptions {
                stride: Some([2, 2]), padding: [1, 1], ceil_mode: true, count_include_pad: false,
            };
            ops::avg_pool2d(&x[0], 3, options)
        };
        "batch_norm" (-2.0, 2.0) {[4, 3, 2, 3] [3] [3]} | {[5, 2] [2] [2]} | {[2, 1, 1] [1] [1]}:
            |x| ops::batch_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-3).output;
        "batch_norm_with" (0.3, 2.0) {[4, 3, 2] [3] [3]} | {[0, 3] [3] [3]}: |x| {
            let (mean, var) = (Tensor::from([0.1, -0.4, 2.0]), Tensor::from([0.5, 1.0, 3.0]));
            ops::batch_norm_with(&x[0], &mean, &var, Some(&x[1]), Some(&x[2]), 1e-5)
        };
        "instance_norm" (-2.0, 2.0) {[2, 3, 4] [3] [3]} | {[2, 2, 2, 2] [2] [2]} | {[0, 3, 2] [3] [3]}:
            |x| ops::instance_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-3).output;
        "group_norm" (-2.0, 2.0) {[2, 4, 5] [4] [4]} | {[2, 4, 3] [4] [4]} | {[3, 4] [4] [4]} | {[0, 2] [2] [2]}:
            |x| ops::group_norm(&x[0], 2, Some(&x[1]), Some(&x[2]), 1e-3);
        "minibatch_stddev" (-2.0, 2.0) {[4, 3]} | {[2, 4, 1, 2]} | {[0, 2]}: |x| {
            let features = if x[0].size(1) == 3 { 1 } else { 2 };
            ops::minibatch_stddev(&x[0], ops::MinibatchStdDevOptions { group_size: Some(2), features, eps: 1e-2 })
        };
        "weight_norm" (0.3, 2.0) {[3, 4] [3, 1]} | {[2, 3, 2] [2, 1, 1]} | {[0, 4] [0, 1]}:
            |x| ops::weight_norm(&x[0], &x[1], Some(0));
        "weight_norm along another dimension" (0.3, 2.0) {[3, 4, 2] [1, 4, 1]}: |x| ops::weight_norm(&x[0], &x[1], Some(1));
        "weight_norm of the whole" (0.3, 2.0) {[3, 4] []}: |x| ops::weight_norm(&x[0], &x[1], None);
        "spectral_norm" (0.3, 2.0) {[3, 4] [3] [4]} | {[1, 1, 1] [1] [1]}:
            |x| ops::spectral_norm(&x[0], &x[1], &x[2], 0);
        "spectral_norm along another dimension" (0.3, 2.0) {[2, 3, 2] [3] [4]}:
            |x| ops::spectral_norm(&x[0], &x[1], &x[2], 1);
        "layer_norm" (-2.0, 2.0) {[4, 3] [3] [3]} | {[2, 2, 2] [2] [2]} | {[0, 3] [3] [3]}: |x| {
            ops::layer_norm(&x[0], x[1].dims(), Some(&x[1]), Some(&x[2]), 1e-3)
        };
        "dropout" (-2.0, 2.0) {[4, 3]} | {[1]} | {[0, 3]}: |x| {
            seed(1);
            ops::dropout(&x[0], 0.4).sin()
        };
        "embedding" (-2.0, 2.0) {[4, 3]} | {[4, 1]}:
            |x| ops::embedding_padded(&x[0], &Tensor::from([[3_i64, 0], [1, 3]]), Some(2)) + ops::embedding(&x[0], &index(&[1, 3]));
        "recurrent: tanh" (-2.0, 2.0) {[3, 2, 2] [3, 2] [3, 3] [3] [3] [2, 3]} | {[1, 1, 1] [1, 1] [1, 1] [1] [1] [1, 1]}:
            |x| recurrent(Cell::Tanh, x, [Some(3), Some(4), None, Some(5), None], false, None);
        "recurrent: ReLU" (-2.0, 2.0) {[3, 2, 2] [3, 2] [3, 3]} | {[2, 1, 0] [2, 0] [2, 2]}:
            |x| recurrent(Cell::Relu, x, [None; 5], true, None);
        "recurrent: LSTM" (-2.0, 2.0) {[3, 2, 2] [12, 2] [12, 3] [12] [12] [2, 3] [2, 3]}:
            |x| recurrent(Cell::Lstm, x, [Some(3), Some(4), None, Some(5), Some(6)], false, Some(&[3, 2]));
        "recurrent: LSTM with a projection" (-2.0, 2.0) {[3, 2, 2] [12, 2] [12, 2] [2, 3]}:
            |x| recurrent(Cell::Lstm, x, [None, None, Some(3), None, None], true, Some(&[2, 1]));
        "recurrent: GRU" (-2.0, 2.0) {[3, 2, 2] [9, 2] [9, 3] [9] [9] [2, 3]} | {[2, 2, 1] [3, 1] [3, 1] [3] [3] [2, 1]}:
            |x| recurrent(Cell::Gru, x, [Some(3), Some(4), None, Some(5), None], true, Some(&[2, 1]));
        "scaled_dot_product_attention" (-2.0, 2.0) {[2, 3, 4] [2, 5, 4] [2, 5, 3]} | {[1, 1] [1, 1] [1, 1]} | {[0, 3, 2] [0, 3, 2] [0, 3, 1]}:
            |x| ops::scaled_dot_product_attention(&x[0], &x[1], &x[2], ops::AttentionOptions::default());
        "scaled_dot_product_attention with options" (-2.0, 2.0) {[2, 3, 4, 2] [3, 3, 2] [2, 1, 3, 3]}: |x| {
            let options = ops::AttentionOptions { is_causal: true, scale: Some(0.4), ..Default::default() };
            ops::scaled_dot_product_attention(&x[0], &x[1], &x[2], options)
        };
        "scaled_dot_product_attention with a mask" (-2.0, 2.0) {[2, 3, 4] [2, 5, 4] [2, 5, 3]}: |x| {
            let mask = Tensor::from([0.5, f64::NEG_INFINITY, 0.0, -1.0, 2.0]);
            let options = ops::AttentionOptions { attn_mask: Some(mask), ..Default::default() };
            ops::scaled_dot_product_attention(&x[0], &x[1], &x[2], options)
        };
        "self_attention" (-2.0, 2.0) {[2, 3, 12]} | {[1, 1, 6]} | {[0, 2, 6]}: |x| {
            ops::self_attention(&x[0], 2, ops::AttentionOptions { is_causal: true, ..Default::default() })
        };
        "sum over some" (-2.0, 2.0) {[2, 3, 4]} | {[2, 1, 0]} | {[1, 1, 1]}: |x| x[0].sum_dim([0, -1], true);
        "sum_to" (-2.0, 2.0) {[2, 3, 4]} | {[1, 3, 1]}: |x| x[0].sum_to([3, 1]);
        "mean over some" (-2.0, 2.0) {[2, 3, 4]} | {[1, 1, 1]}: |x| x[0].mean_dim([0, 2], false);
        "var" (-2.0, 2.0) {[3, 4]} | {[2, 3]}: |x| x[0].var_dim(1, 1, true);
        "std" (-2.0, 2.0) {[3, 4]}: |x| x[0].std();
        "amax" (-2.0, 2.0) {[3, 4, 2]} | {[1, 1, 1]} | {[0, 2, 1]}: |x| x[0].amax([1, 2], false);
        "amin" (-2.0, 2.0) {[3, 4, 2]} | {[1, 1, 1]}: |x| x[0].amin([0, 1], true);
        "prod over some" (-2.0, 2.0) {[2, 3, 2]} | {[2, 1, 1]} | {[2, 0, 3]}: |x| x[0].prod_dim([0, 2], false);
    });
    for row in &mut all {
        row.first_order_only = row.name.starts_with("ctc_loss") || row.name == "log_standard_gamma";
        row.kinks_at_ties = ["max", "min", "amax", "amin"].contains(&row.name) || row.name.contains("max_pool2d");
    }
    all
}
