use super::batch::{self, Affine, Batch};
use super::group::{self, Groups};
use super::layer;
use crate::kernels::testing::{bits, noise, on_every_machine};

const EPS: f64 = 1e-5;

/// Numbers around a mean that is large beside their distance to it, rounded to `f32`, and the same in `f64`.
fn around(mean: f64, n: usize, seed: u64) -> (Vec<f32>, Vec<f64>) {
    let x: Vec<f32> = noise(n, seed).into_iter().map(|x| (mean + x) as f32).collect();
    let exact = x.iter().map(|&x| f64::from(x)).collect();
    (x, exact)
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f64], tolerance: f64) {
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(found) - expected).abs();
        assert!(difference <= tolerance * (1.0 + expected.abs()), "at {i}: {found}, expected {expected}");
    }
}

/// The definition, on the elements of one group: normalized values, mean, variance, and the gradient of the input for the
/// gradient `g` of the normalized values.
fn reference(x: &[f64], g: &[f64]) -> (Vec<f64>, f64, f64, Vec<f64>) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let rstd = 1.0 / (var + EPS).sqrt();
    let hat: Vec<f64> = x.iter().map(|x| (x - mean) * rstd).collect();
    // The sum over j of g_j dhat_j / dx_i, written out: dhat_j / dx_i = rstd ([i = j] - 1 / n - hat_i hat_j / n).
    let slope = |i: usize| {
        let terms = (0..x.len()).map(|j| g[j] * (f64::from(i == j) - 1.0 / n - hat[i] * hat[j] / n));
        rstd * terms.sum::<f64>()
    };
    let dx = (0..x.len()).map(slope).collect();
    (hat, mean, var, dx)
}

#[test]
fn batch_norm_and_its_gradients_agree_with_f64_also_far_from_zero() {
    let sizes =
        [(1, 1, 2), (4, 3, 1), (2, 3, 5), (5, 40, 49), (3, 2, 64), (2, 5, 257), (7, 3, 16), (1, 0, 4), (2, 33, 500)];
    for (examples, channels, length) in sizes {
        let batch = Batch { examples, channels, length };
        let n = examples * channels * length;
        for offset in [0.0, 1e4] {
            let (x, exact) = around(offset, n, 1);
            let (grad, weight, bias) = (noise(n, 2), noise(channels, 3), noise(channels, 4));
            let (grad32, weight32, bias32) = (narrow(&grad), narrow(&weight), narrow(&bias));
            let affine = Affine { weight: Some(&weight32), bias: Some(&bias32), eps: EPS };
            let results = on_every_machine(
                || {
                    let mut y = [0; 3].map(|_| vec![9.0; n]);
                    let mut statistics = [0; 2].map(|_| vec![9.0; channels]);
                    let mut each = [0; 4].map(|_| vec![9.0; channels]);
                    let [dw, db, dw2, db2] = &mut each;
                    let [mean, var] = &mut statistics;
                    batch::forward(batch, &x, affine, &mut y[0], [mean, var]);
                    let statistics = [&**mean, &**var];
                    batch::backward(batch, true, [&x, &grad32], affine, statistics, Some(&mut y[1]), [dw, db]);
                    batch::backward(batch, false, [&x, &grad32], affine, statistics, Some(&mut y[2]), [dw2, db2]);
                    assert_eq!((bits(dw), bits(db)), (bits(dw2), bits(db2)));
                    let mut again = vec![9.0; n];
                    batch::forward_with(batch, &x, affine, statistics, &mut again);
                    assert_eq!(bits(&y[0]), bits(&again));
                    (y, each, [mean.clone(), var.clone()])
                },
                |(y, each, statistics)| {
                    let all = y.iter().chain(each).flat_map(|x| bits(x));
                    all.chain(statistics.iter().flat_map(|x| bits(x))).collect::<Vec<_>>()
                },
            );
            for (y, each, statistics) in results {
                for c in 0..channels {
                    let places: Vec<usize> =
                        (0..examples * length).map(|i| (i / length * channels + c) * length + i % length).collect();
                    let of = |x: &[f64]| places.iter().map(|&at| x[at]).collect::<Vec<_>>();
                    let of32 = |x: &[f32]| places.iter().map(|&at| x[at]).collect::<Vec<_>>();
                    let (x, g) = (of(&exact), of(&grad));
                    let (hat, mean, var, slope) = reference(&x, &g);
                    let y_expected: Vec<f64> = hat.iter().map(|hat| hat * weight[c] + bias[c]).collect();
                    assert_near(&of32(&y[0]), &y_expected, 1e-4);
                    let found = [statistics[0][c] as f32, statistics[1][c] as f32];
                    assert_near(&found, &[mean, var], 1e-6);
                    let slope: Vec<f64> = slope.iter().map(|d| d * weight[c]).collect();
                    assert_near(&of32(&y[1]), &slope, 1e-4);
                    let rstd = 1.0 / (var + EPS).sqrt();
                    assert_near(&of32(&y[2]), &g.iter().map(|g| g * weight[c] * rstd).collect::<Vec<_>>(), 1e-4);
                    let dw = g.iter().zip(&hat).map(|(g, hat)| g * hat).sum::<f64>();
                    let scale = g.len() as f64;
                    assert!((f64::from(each[0][c]) - dw).abs() < 1e-5 * scale, "{batch:?}: dw");
                    assert!((f64::from(each[1][c]) - g.iter().sum::<f64>()).abs() < 1e-5 * scale, "{batch:?}: db");
                }
            }
        }
    }
}

#[test]
fn a_channel_of_many_blocks_has_the_mean_and_variance_of_the_whole() {
    // Rows longer than a block, and a mean that drifts from row to row.
    let (examples, length) = (3, 20_001);
    let x: Vec<f32> =
        noise(examples * length, 8).iter().enumerate().map(|(i, x)| (x + (i / length) as f64) as f32).collect();
    let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let mean = exact.iter().sum::<f64>() / exact.len() as f64;
    let var = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / exact.len() as f64;
    let (mut y, mut found) = (vec![0.0; x.len()], [[0.0], [0.0]]);
    let affine = Affine { weight: None, bias: None, eps: EPS };
    batch::forward(Batch { examples, channels: 1, length }, &x, affine, &mut y, found.each_mut().map(|x| &mut x[..]));
    assert!((found[0][0] - mean).abs() < 1e-6 && (found[1][0] - var).abs() < 1e-6 * var, "{found:?}: {mean}, {var}");
}

#[test]
fn layer_norm_and_its_gradients_agree_with_f64_also_far_from_zero() {
    for (rows, size) in [(1, 1), (3, 2), (5, 17), (2, 64), (3, 200), (70, 768), (0, 4), (300, 130)] {
        let n = rows * size;
        for offset in [0.0, 1e4] {
            let (x, exact) = around(offset, n, 1);
            let (grad, weight, bias) = (noise(n, 2), noise(size, 3), noise(size, 4));
            let (grad32, weight32, bias32) = (narrow(&grad), narrow(&weight), narrow(&bias));
            for affine in [true, false] {
                let (w, b) = (affine.then_some(&weight32[..]), affine.then_some(&bias32[..]));
                let results = on_every_machine(
                    || {
                        let (mut y, mut dx, mut alone) = (vec![9.0; n], vec![9.0; n], vec![9.0; n]);
                        let (mut statistics, mut parameters) = (vec![[9.0; 3]; rows], vec![9.0; 2 * size]);
                        layer::forward([rows, size], &x, [w, b], EPS, &mut y, &mut statistics);
                        let both = [&x[..], &grad32];
                        layer::backward([rows, size], both, w, &statistics, Some(&mut dx), Some(&mut parameters));
                        layer::backward([rows, size], both, w, &statistics, Some(&mut alone), None);
                        assert_eq!(bits(&dx), bits(&alone));
                        [y, dx, parameters]
                    },
                    |all| all.iter().flat_map(|x| bits(x)).collect::<Vec<_>>(),
                );
                for [y, dx, parameters] in results {
                    let (mut dw, mut db) = (vec![0.0; size], vec![0.0; size]);
                    for r in 0..rows {
                        let row = r * size..(r + 1) * size;
                        let at = |i: usize| if affine { (weight[i], bias[i]) } else { (1.0, 0.0) };
                        let g: Vec<f64> = (0..size).map(|i| grad[r * size + i] * at(i).0).collect();
                        let (hat, _, _, slope) = reference(&exact[row.clone()], &g);
                        let expected: Vec<f64> =
                            hat.iter().enumerate().map(|(i, hat)| hat * at(i).0 + at(i).1).collect();
                        assert_near(&y[row.clone()], &expected, 1e-4);
                        assert_near(&dx[row], &slope, 1e-4);
                        for i in 0..size {
                            dw[i] += grad[r * size + i] * hat[i];
                            db[i] += grad[r * size + i];
                        }
                    }
                    assert_near(&parameters[..size], &dw, 1e-5 * (1.0 + rows as f64));
                    assert_near(&parameters[size..], &db, 1e-5 * (1.0 + rows as f64));
                }
            }
        }
    }
}

#[test]
fn group_norm_and_its_gradients_agree_with_f64_also_far_from_zero() {
    let all = [(1, 1, 1, 2), (3, 2, 3, 1), (2, 3, 2, 5), (4, 2, 3, 49), (2, 1, 2, 9_000), (40, 4, 8, 64), (0, 2, 2, 3)];
    for (examples, groups, channels, length) in all {
        let sizes = Groups { examples, groups, channels, length };
        let (size, channels) = (channels * length, groups * channels);
        let n = examples * groups * size;
        for (offset, affine) in [(0.0, true), (1e4, true), (0.0, false)] {
            let (x, exact) = around(offset, n, 1);
            let (grad, weight, bias) = (noise(n, 2), noise(channels, 3), noise(channels, 4));
            let (grad32, weight32, bias32) = (narrow(&grad), narrow(&weight), narrow(&bias));
            let given = |p| affine.then_some(p);
            let affine = Affine { weight: given(&weight32[..]), bias: given(&bias32[..]), eps: EPS };
            let results = on_every_machine(
                || {
                    let [mut y, mut dx] = [0; 2].map(|_| vec![9.0; n]);
                    let [mut mean, mut var] = [0; 2].map(|_| vec![9.0; examples * groups]);
                    let mut each = [0; 4].map(|_| vec![9.0; channels]);
                    let [dw, db, dw2, db2] = &mut each;
                    group::forward(sizes, &x, affine, &mut y, [&mut mean, &mut var]);
                    let both = [&x[..], &grad32];
                    group::backward(sizes, both, affine, [&mean, &var], Some(&mut dx), [dw, db]);
                    group::backward(sizes, both, affine, [&mean, &var], None, [dw2, db2]);
                    assert_eq!((bits(dw), bits(db)), (bits(dw2), bits(db2)));
                    let [dw, db, ..] = each;
                    [y, dx, dw, db]
                },
                |all| all.iter().flat_map(|x| bits(x)).collect::<Vec<_>>(),
            );
            for [y, dx, dw, db] in results {
                let (mut dw_expected, mut db_expected) = (vec![0.0; channels], vec![0.0; channels]);
                for group in 0..examples * groups {
                    let places = group * size..(group + 1) * size;
                    let channel = |i: usize| i / length % channels;
                    let at = |c: usize| if affine.weight.is_some() { (weight[c], bias[c]) } else { (1.0, 0.0) };
                    let g: Vec<f64> = places.clone().map(|i| grad[i] * at(channel(i)).0).collect();
                    let (hat, _, _, slope) = reference(&exact[places.clone()], &g);
                    let expected: Vec<f64> =
                        places.clone().zip(&hat).map(|(i, hat)| hat * at(channel(i)).0 + at(channel(i)).1).collect();
                    assert_near(&y[places.clone()], &expected, 1e-4);
                    assert_near(&dx[places.clone()], &slope, 1e-4);
                    for (i, hat) in places.zip(&hat) {
                        dw_expected[channel(i)] += grad[i] * hat;
                        db_expected[channel(i)] += grad[i];
                    }
                }
                let count = (examples * length) as f64;
                assert_near(&dw, &dw_expected, 1e-5 * (1.0 + count));
                assert_near(&db, &db_expected, 1e-5 * (1.0 + count));
            }
        }
    }
}
