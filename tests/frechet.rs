//! The distance that `examples/mnist_gan.rs` prints.

use support::frechet::{Gaussian, distance, eigen};
use wengert::Rng;

fn noise(count: usize, rng: &mut Rng) -> Vec<f64> {
    (0..count).map(|_| rng.normal()).collect()
}

#[test]
fn eigenvectors_rebuild_the_matrix_and_are_orthonormal() {
    for dim in [1, 2, 7, 64] {
        let x = noise(dim * dim, &mut Rng::new(3));
        let matrix: Vec<f64> = (0..dim * dim).map(|at| x[at] + x[at % dim * dim + at / dim]).collect();
        let (values, vectors) = eigen(&matrix, dim);
        for i in 0..dim {
            for j in 0..dim {
                let sum = |term: &dyn Fn(usize) -> f64| (0..dim).map(term).sum::<f64>();
                let rebuilt = sum(&|k| values[k] * vectors[k * dim + i] * vectors[k * dim + j]);
                assert!((rebuilt - matrix[i * dim + j]).abs() < 1e-12 * dim as f64, "{i}, {j} of {dim}");
                let product = sum(&|k| vectors[i * dim + k] * vectors[j * dim + k]);
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-13 * dim as f64, "{i}, {j} of {dim}");
            }
        }
    }
}

#[test]
fn along_one_axis_it_is_that_of_means_and_deviations() {
    // (m - n)^2 + (s - t)^2
    let [a, b] = [[0.0, 2.0, 4.0], [10.0, 11.0, 12.0]].map(|x| Gaussian::of(&x, 1));
    assert!((distance(&a, &b) - (81.0 + 1.0)).abs() < 1e-12);
}

#[test]
fn it_is_0_to_itself_and_that_of_a_shift_and_does_not_care_for_the_order() {
    let mut rng = Rng::new(5);
    let (x, y) = (noise(200 * 8, &mut rng), noise(200 * 8, &mut rng));
    let shifted: Vec<f64> = x.iter().map(|x| x + 0.5).collect();
    let [a, b, c] = [x, shifted, y].map(|x| Gaussian::of(&x, 8));
    assert!(distance(&a, &a).abs() < 1e-12);
    assert!((distance(&a, &b) - 8.0 * 0.25).abs() < 1e-12);
    assert!(distance(&a, &c) > 0.01);
    assert!((distance(&a, &c) - distance(&c, &a)).abs() < 1e-12);
}

#[test]
fn covariances_that_do_not_commute_give_the_known_distance() {
    // Vectors +-c e and +-c f have covariance proportional to e e' + f f'; A = diag(4, 1) and B = [[2, 1], [1, 2]]:
    // tr (A B)^1/2 = sqrt(tr A B + 2 sqrt(det A B)) = sqrt(10 + 2 sqrt 12), as for any 2 x 2 matrix.
    let third = 1.5_f64.sqrt(); // of four vectors the sum of squares is divided by 3
    let a = [2.0, 0.0, -2.0, 0.0, 0.0, 1.0, 0.0, -1.0].map(|x| x * third);
    let r = 0.5_f64.sqrt();
    let (u, v) = (3.0_f64.sqrt() * r, r);
    let b = [u, u, -u, -u, v, -v, -v, v].map(|x| x * third);
    let found = distance(&Gaussian::of(&a, 2), &Gaussian::of(&b, 2));
    assert!((found - (5.0 + 4.0 - 2.0 * (10.0 + 2.0 * 12.0_f64.sqrt()).sqrt())).abs() < 1e-12, "{found}");
}
