use super::cross_entropy::{Targets, cross_entropy, cross_entropy_back};
use super::*;
use crate::kernels::testing::{bits, noise, on_every_machine};

const SIZES: [[usize; 3]; 16] = [
    [0, 4, 1],
    [3, 0, 1],
    [3, 0, 200],
    [2, 3, 0],
    [1, 1, 1],
    [5, 1, 7],
    [640, 10, 1],
    [7, 63, 1],
    [9, 64, 1],
    [300, 65, 1],
    [33, 97, 1],
    [3, 1024, 1],
    [2, 1025, 1],
    [2, 9001, 1],
    [3, 10, 129],
    [1, 300, 401],
];

/// The slices along the middle dimension, as places in `[outer, n, inner]`.
fn slices([outer, n, inner]: [usize; 3]) -> impl Iterator<Item = Vec<usize>> {
    (0..outer * inner).map(move |at| (0..n).map(|j| (at / inner * n + j) * inner + at % inner).collect())
}

/// `log softmax` of a slice in f64.
fn log_softmax_of(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - max - log_sum).collect()
}

fn f32s(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

#[track_caller]
fn assert_close(found: f32, exact: f64, size: f64, what: &str) {
    assert!((f64::from(found) - exact).abs() <= 2e-6 * size.max(exact.abs()), "{what}: {found}, expected {exact}");
}

#[test]
fn values_and_gradients_agree_with_f64_on_every_machine() {
    for dims in SIZES {
        let len = dims.iter().product();
        let x: Vec<f32> = noise(len, 1).iter().map(|x| (x * 8.0) as f32).collect();
        let grad = f32s(&noise(len, 2));
        let results = on_every_machine(
            || {
                let mut y = [0; 4].map(|_| vec![f32::NAN; len]);
                softmax(dims, &x, &mut y[0]);
                log_softmax(dims, &x, &mut y[1]);
                let [p, log_p, dp, dlog_p] = &mut y;
                softmax_back(dims, &grad, p, dp);
                log_softmax_back(dims, &grad, log_p, dlog_p);
                let mut lse = vec![f32::NAN; dims[0] * dims[2]];
                logsumexp(dims, &x, &mut lse);
                y.into_iter().chain([lse]).collect::<Vec<_>>()
            },
            |y| y.iter().map(|y| bits(y)).collect::<Vec<_>>(),
        );
        for y in &results {
            for (s, places) in slices(dims).enumerate() {
                let at: Vec<f64> = places.iter().map(|&i| f64::from(x[i])).collect();
                let g: Vec<f64> = places.iter().map(|&i| f64::from(grad[i])).collect();
                let log_p = log_softmax_of(&at);
                let dot: f64 = g.iter().zip(&log_p).map(|(g, l)| g * l.exp()).sum();
                let (total, size) = (g.iter().sum::<f64>(), g.iter().map(|g| g.abs()).sum::<f64>());
                for (j, &i) in places.iter().enumerate() {
                    let p = log_p[j].exp();
                    assert_close(y[0][i], p, 0.0, "softmax");
                    assert_close(y[1][i], log_p[j], 1.0, "log_softmax");
                    assert_close(y[2][i], p * (g[j] - dot), p, "softmax_back");
                    assert_close(y[3][i], g[j] - p * total, 1.0 + p * size, "log_softmax_back");
                }
                if let Some(&log_p) = log_p.first() {
                    assert_close(y[4][s], at[0] - log_p, 1.0, "logsumexp");
                } else {
                    assert_eq!(y[4][s], f32::NEG_INFINITY);
                }
            }
        }
    }
}

#[test]
fn infinities_and_nan_end_where_pytorch_has_them() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for n in [2, 70, 2000] {
        for inner in [1, 3] {
            // The first two elements of a slice; the others are minus infinity.
            let cases = [[-inf, -inf], [-inf, 3.0], [inf, 0.0], [nan, 0.0], [0.0, nan], [1e4, -1e4], [-3e38, 3e38]];
            let p = [[nan, nan], [0.0, 1.0], [nan, nan], [nan, nan], [nan, nan], [1.0, 0.0], [0.0, 1.0]];
            let lse = [-inf, 3.0, inf, nan, nan, 1e4, 3e38];
            for (case, (p, lse)) in cases.into_iter().zip(p.into_iter().zip(lse)) {
                let mut x = vec![-inf; n * inner];
                x[inner - 1] = case[0];
                x[2 * inner - 1] = case[1];
                let (mut y, mut log_y, mut sums) = (x.clone(), x.clone(), vec![7.0; inner]);
                softmax([1, n, inner], &x, &mut y);
                log_softmax([1, n, inner], &x, &mut log_y);
                logsumexp([1, n, inner], &x, &mut sums);
                let found = [y[inner - 1], y[2 * inner - 1], log_y[2 * inner - 1], sums[inner - 1]];
                let expected = [p[0], p[1], if case == [1e4, -1e4] { -2e4 } else { p[1].ln() }, lse];
                let expected = if case == [-3e38, 3e38] { [0.0, 1.0, 0.0, 3e38] } else { expected };
                assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{case:?} in {n} x {inner}");
            }
        }
    }
}

/// Losses and gradients by the definition, in f64, for upstream gradients `grad`.
fn cross_entropy_of(classes: usize, x: &[f64], targets: Targets<f64>, grad: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let weight = targets.weight.map_or(vec![1.0; classes], <[f64]>::to_vec);
    let (mut losses, mut dx) = (vec![], vec![]);
    for (row, x) in x.chunks(classes).enumerate() {
        let log_p = log_softmax_of(x);
        let (label, s) = (targets.labels[row], targets.label_smoothing);
        let kept = f64::from(label != targets.ignore_index);
        let q = |c: usize| {
            let peak = if c as i64 == label { (1.0 - s) * weight[c] } else { 0.0 };
            kept * (peak + s * weight[c] / classes as f64)
        };
        losses.push((0..classes).map(|c| if q(c) == 0.0 { 0.0 } else { -q(c) * log_p[c] }).sum());
        let total: f64 = (0..classes).map(q).sum();
        dx.extend((0..classes).map(|c| grad[row] * (total * log_p[c].exp() - q(c))));
    }
    (losses, dx)
}

#[test]
fn cross_entropy_agrees_with_its_definition_on_every_machine() {
    for (rows, classes) in [(0, 5), (1, 1), (64, 10), (1000, 10), (70, 65), (9, 96), (5, 1024), (3, 5000), (2, 1)] {
        for (weighted, smoothing) in [(false, 0.0), (true, 0.0), (false, 0.1), (true, 0.25)] {
            let x: Vec<f32> = noise(rows * classes, 5).iter().map(|x| (x * 9.0) as f32).collect();
            let grad = f32s(&noise(rows, 6));
            let weight: Vec<f32> = noise(classes, 7).iter().map(|x| x.abs() as f32).collect();
            let labels: Vec<i64> =
                (0..rows).map(|i| if i % 5 == 3 { -100 } else { (i * 7 % classes) as i64 }).collect();
            let targets = Targets {
                labels: &labels,
                weight: weighted.then_some(&*weight),
                ignore_index: -100,
                label_smoothing: smoothing as f32,
            };
            let results = on_every_machine(
                || {
                    let (mut losses, mut stats) = (vec![f32::NAN; rows], vec![[f32::NAN; 2]; rows]);
                    let mut dx = vec![f32::NAN; rows * classes];
                    cross_entropy([rows, classes], &x, targets, &mut losses, &mut stats);
                    cross_entropy_back([rows, classes], &x, targets, &stats, &grad, &mut dx);
                    (losses, dx)
                },
                |(losses, dx)| [bits(losses), bits(dx)],
            );
            let [x, grad, weight] = [&x, &grad, &weight].map(|v| v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let exact = Targets {
                labels: &labels,
                weight: weighted.then_some(&*weight),
                ignore_index: -100,
                label_smoothing: f64::from(smoothing as f32),
            };
            let (losses, dx) = cross_entropy_of(classes, &x, exact, &grad);
            for (found_losses, found_dx) in results {
                found_losses.iter().zip(&losses).for_each(|(&found, &exact)| assert_close(found, exact, 1.0, "loss"));
                found_dx.iter().zip(&dx).for_each(|(&found, &exact)| assert_close(found, exact, 0.5, "gradient"));
            }
        }
    }
}

#[test]
fn cross_entropy_is_stable_at_large_logits() {
    let x = [1e4_f32, -1e4, 0.0, -1e4, 1e4, 1e4 - 0.5];
    let targets = Targets { labels: &[1, 2], weight: None, ignore_index: -100, label_smoothing: 0.0 };
    let (mut losses, mut stats, mut dx) = ([0.0; 2], [[0.0; 2]; 2], [0.0; 6]);
    cross_entropy([2, 3], &x, targets, &mut losses, &mut stats);
    cross_entropy_back([2, 3], &x, targets, &stats, &[1.0; 2], &mut dx);
    // log(1 + e^-0.5) + 0.5, and 1 / (1 + e^-0.5)
    assert_eq!(losses[0], 2e4);
    assert_close(losses[1], 0.5 + (-0.5f64).exp().ln_1p(), 0.0, "loss");
    let p = 1.0 / (1.0 + (-0.5f64).exp());
    for (found, exact) in dx.into_iter().zip([1.0, -1.0, 0.0, 0.0, p, -p]) {
        assert_close(found, exact, 0.0, "gradient");
    }
}

#[test]
#[should_panic(expected = "a label is not one of 3 classes")]
fn a_label_beyond_the_classes_is_refused() {
    let targets = Targets { labels: &[3], weight: None, ignore_index: -100, label_smoothing: 0.0 };
    cross_entropy([1, 3], &[0.0_f64; 3], targets, &mut [0.0], &mut [[0.0; 2]]);
}
