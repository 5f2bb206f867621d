//! Weights in other forms: direction and length apart, and divided by their largest singular value.

use crate::element::Float;
use crate::shape::{axis, ensure};
use crate::tensor::Tensor;

/// A weight from its direction `v` and its length `g` (Salimans and Kingma, 2016, equation 2): `w = g v / |v|`.
///
/// The Euclidean norm is taken over all dimensions but `dim`, so that each index of it has a length of its own: `g` has the
/// size of `v` there and 1 elsewhere. Without a `dim` there is one length for all, and `g` is a scalar.
///
/// ```
/// use wengert::{Tensor, ops::weight_norm};
/// let v = Tensor::from([[3.0_f32, 4.0], [0.0, 2.0]]);
/// let g = Tensor::from([[10.0], [1.0]]);
/// assert_eq!(weight_norm(&v, &g, Some(0)).to_vec(), [6.0, 8.0, 0.0, 1.0]);
/// ```
///
/// # Panics
/// When `v` has no such dimension, or `g` another shape.
#[track_caller]
#[inline(never)]
pub fn weight_norm<T: Float>(v: &Tensor<T>, g: &Tensor<T>, dim: Option<usize>) -> Tensor<T> {
    let norm = norm_except(v, dim);
    ensure(g.shape() == norm.shape(), || {
        format!("weight_norm: {:?}: expected lengths of shape {:?}, found {:?}", v.shape(), norm.shape(), g.shape())
    });
    v * (g / norm)
}

/// The Euclidean norm over all dimensions but one, which keep the size 1; over all, as a scalar, without a `dim`.
#[track_caller]
pub(crate) fn norm_except<T: Float>(v: &Tensor<T>, dim: Option<usize>) -> Tensor<T> {
    let Some(dim) = dim else { return v.square().sum().sqrt() };
    let kept = axis("weight_norm", v.shape(), dim as isize) as isize;
    let others: Vec<isize> = (0..v.rank() as isize).filter(|&dim| dim != kept).collect();
    v.square().sum_dim(&others[..], true).sqrt()
}

/// A weight divided by its largest singular value (Miyato et al., 2018, equation 8), which is taken from its singular vectors:
/// `weight / (u . W v)`, where the rows of the matrix W are the indices of dimension `dim` and its columns the others'.
///
/// * `weight` of any shape with two dimensions or more, `u` `[rows]`, `v` `[columns]`, as [`power_iteration`] finds them
///
/// ```
/// use wengert::{Tensor, ops::spectral_norm};
/// let weight = Tensor::from([[2.0_f32, 0.0], [0.0, 0.5]]);
/// let first = Tensor::from([1.0, 0.0]);
/// assert_eq!(spectral_norm(&weight, &first, &first, 0).to_vec(), [1.0, 0.0, 0.0, 0.25]);
/// ```
///
/// # Panics
/// When the weight has no such dimension, or the vectors have other sizes.
#[track_caller]
#[inline(never)]
pub fn spectral_norm<T: Float>(weight: &Tensor<T>, u: &Tensor<T>, v: &Tensor<T>, dim: usize) -> Tensor<T> {
    let rows = rows(weight, dim);
    ensure(u.shape() == [rows.size(0)] && v.shape() == [rows.size(1)], || {
        let (shape, rows) = (weight.shape(), rows.shape());
        format!("spectral_norm: {shape:?}: expected vectors of {rows:?}, found {:?} and {:?}", u.shape(), v.shape())
    });
    weight / rows.matmul(v).matmul(u)
}

/// `count` steps towards the singular vectors `[u, v]` of the largest singular value of a weight (Miyato et al., 2018,
/// algorithm 1): `u = W v / |W v|`, `v = W^T u / |W^T u|`, with W as in [`spectral_norm`]. Norms are at least `eps`; the vectors
/// are constants.
///
/// # Panics
/// As [`spectral_norm`].
#[track_caller]
#[inline(never)]
pub fn power_iteration<T: Float>(
    weight: &Tensor<T>,
    [mut u, mut v]: [Tensor<T>; 2],
    dim: usize,
    count: usize,
    eps: f64,
) -> [Tensor<T>; 2] {
    let rows = rows(&weight.detach(), dim);
    let unit = |x: Tensor<T>| {
        let norm = x.norm().item().to_f64().max(eps);
        x / T::of(norm)
    };
    for _ in 0..count {
        u = unit(rows.matmul(&v.detach()));
        v = unit(rows.t().matmul(&u));
    }
    [u, v]
}

/// A weight as a matrix: the indices of one dimension are its rows.
#[track_caller]
fn rows<T: Float>(weight: &Tensor<T>, dim: usize) -> Tensor<T> {
    ensure(weight.rank() >= 2, || {
        format!("spectral_norm: {:?}: expected a weight of two dimensions or more", weight.shape())
    });
    let dim = axis("spectral_norm", weight.shape(), dim as isize);
    let mut order: Vec<isize> = (0..weight.rank() as isize).collect();
    order[..=dim].rotate_right(1);
    weight.permute(&order).flatten(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(f: impl FnOnce() -> Tensor) -> String {
        crate::shape::catch(f).map(|_| ()).expect_err("a refusal").0
    }

    #[test]
    fn the_power_iteration_finds_the_largest_singular_value_along_every_dimension() {
        // 5 a b^T + 1 c d^T of unit vectors that are at right angles: singular values 5 and 1.
        let (a, b) = ([0.6, 0.8], [2.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0]);
        let (c, d) = ([0.8, -0.6], [1.0 / 3.0, -2.0 / 3.0, 2.0 / 3.0]);
        let matrix: Tensor<f64> = Tensor::from_fn([2, 3], |i| 5.0 * a[i / 3] * b[i % 3] + c[i / 3] * d[i % 3]);
        let rows_in_the_middle = matrix.reshape([2, 3, 1]).permute(&[1, 0, 2]);
        for (weight, dim) in [(&matrix, 0), (&rows_in_the_middle, 1)] {
            let start = [Tensor::from([1.0, 0.0]), Tensor::from([0.0, 0.0, 1.0])];
            let [u, v] = power_iteration(weight, start, dim, 40, 1e-12);
            for (found, expected) in [(u.to_vec(), &a[..]), (v.to_vec(), &b[..])] {
                assert!(found.iter().zip(expected).all(|(x, y)| (x.abs() - y).abs() < 1e-12), "{found:?}");
            }
            let normed = spectral_norm(weight, &u, &v, dim).to_vec();
            assert!(normed.iter().zip(weight.to_vec()).all(|(y, x)| (y * 5.0 - x).abs() < 1e-12), "{normed:?}");
        }
    }

    #[test]
    fn a_weight_of_zeros_gives_vectors_of_zeros() {
        let [u, v] = power_iteration(&Tensor::zeros([2, 3]), [Tensor::ones([2]), Tensor::ones([3])], 0, 1, 1e-12);
        assert_eq!((u.to_vec(), v.to_vec()), (vec![0.0; 2], vec![0.0; 3]));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (weight, u) = (Tensor::ones([2, 3]), Tensor::ones([2]));
        assert_eq!(
            refusal(|| spectral_norm(&weight, &u, &u, 0)),
            "spectral_norm: [2, 3]: expected vectors of [2, 3], found [2] and [2]"
        );
        assert_eq!(
            refusal(|| spectral_norm(&u, &u, &u, 0)),
            "spectral_norm: [2]: expected a weight of two dimensions or more"
        );
        assert_eq!(
            refusal(|| weight_norm(&weight, &u, Some(0))),
            "weight_norm: [2, 3]: expected lengths of shape [2, 1], found [2]"
        );
        assert!(refusal(|| weight_norm(&weight, &u, Some(2))).starts_with("weight_norm: [2, 3]: expected a dimension"));
    }
}
