//! The Fréchet distance between normal distributions.
//!
//! Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982. The eigenvalues are Jacobi's, who
//! computed those of the planets' orbits so in 1846.

/// The mean and the covariance of vectors.
pub struct Gaussian {
    mean: Vec<f64>,
    /// `[dim, dim]`.
    covariance: Vec<f64>,
}

impl Gaussian {
    /// Of vectors of `dim` numbers that stand one after the other; the covariance with Bessel's correction.
    pub fn of(vectors: &[f64], dim: usize) -> Gaussian {
        let count = (vectors.len() / dim) as f64;
        let mut mean = vec![0.0; dim];
        for vector in vectors.chunks(dim) {
            mean.iter_mut().zip(vector).for_each(|(mean, x)| *mean += x / count);
        }
        let mut covariance = vec![0.0; dim * dim];
        let mut centered = vec![0.0; dim];
        for vector in vectors.chunks(dim) {
            (0..dim).for_each(|i| centered[i] = vector[i] - mean[i]);
            for (row, x) in covariance.chunks_mut(dim).zip(&centered) {
                row.iter_mut().zip(&centered).for_each(|(sum, y)| *sum += x * y / (count - 1.0));
            }
        }
        Gaussian { mean, covariance }
    }
}

/// `|m - n|^2 + tr(A + B - 2 (A B)^1/2)` for means m, n and covariances A, B.
pub fn distance(a: &Gaussian, b: &Gaussian) -> f64 {
    let dim = a.mean.len();
    // A B has the eigenvalues of A^1/2 B A^1/2, which is symmetric.
    let (values, vectors) = eigen(&a.covariance, dim);
    let mut root = vec![0.0; dim * dim];
    for (value, vector) in values.iter().zip(vectors.chunks(dim)) {
        for (row, x) in root.chunks_mut(dim).zip(vector) {
            row.iter_mut().zip(vector).for_each(|(sum, y)| *sum += value.max(0.0).sqrt() * x * y);
        }
    }
    let middle = product(&product(&root, &b.covariance, dim), &root, dim);
    let means: f64 = a.mean.iter().zip(&b.mean).map(|(m, n)| (m - n) * (m - n)).sum();
    let trace = |matrix: &[f64]| matrix.iter().step_by(dim + 1).sum::<f64>();
    let roots: f64 = eigen(&middle, dim).0.iter().map(|value| value.max(0.0).sqrt()).sum();
    means + trace(&a.covariance) + trace(&b.covariance) - 2.0 * roots
}

/// `A B`, each `[dim, dim]`.
fn product(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let mut product = vec![0.0; dim * dim];
    for (to, row) in product.chunks_mut(dim).zip(a.chunks(dim)) {
        for (x, from) in row.iter().zip(b.chunks(dim)) {
            to.iter_mut().zip(from).for_each(|(sum, y)| *sum += x * y);
        }
    }
    product
}

/// The eigenvalues of a symmetric matrix `[dim, dim]`, and its eigenvectors in rows.
///
/// Each rotation of two rows and columns makes one element 0 off the diagonal, and the sum of their squares smaller; sweep after
/// sweep over all of them, until rounding is all that is left there (Golub and Van Loan, "Matrix computations", 8.5).
pub fn eigen(matrix: &[f64], dim: usize) -> (Vec<f64>, Vec<f64>) {
    const SWEEPS: usize = 100;
    let mut a = matrix.to_vec();
    let mut vectors = vec![0.0; dim * dim];
    vectors.iter_mut().step_by(dim + 1).for_each(|x| *x = 1.0);
    let size: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..dim * dim).filter(|at| at / dim < at % dim).map(|at| a[at] * a[at]).sum();
        if off <= size * f64::EPSILON * f64::EPSILON {
            break;
        }
        for p in 0..dim {
            for q in p + 1..dim {
                let element = a[p * dim + q];
                if element == 0.0 {
                    continue;
                }
                // The tangent t of the angle solves t^2 + 2 theta t = 1; the smaller root turns least.
                let theta = (a[q * dim + q] - a[p * dim + p]) / (2.0 * element);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                let turn =
                    |x: &mut [f64], i: usize, j: usize| (x[i], x[j]) = (c * x[i] - s * x[j], s * x[i] + c * x[j]);
                (0..dim).for_each(|k| turn(&mut a, k * dim + p, k * dim + q));
                (0..dim).for_each(|k| turn(&mut a, p * dim + k, q * dim + k));
                (0..dim).for_each(|k| turn(&mut vectors, p * dim + k, q * dim + k));
            }
        }
    }
    (a.into_iter().step_by(dim + 1).collect(), vectors)
}
