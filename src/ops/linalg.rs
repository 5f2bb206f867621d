//! Triangles, Cholesky factors, triangular systems.

use super::arithmetic::unbroadcast;
use super::matmul::offsets;
use crate::autograd::{Pull, record_op};
use crate::element::Float;
use crate::kernels::linalg;
use crate::shape::{Shape, ensure, fail};
use crate::tensor::Tensor;

impl<T: Float> Tensor<T> {
    /// The lower triangle of each matrix of `[.., n, m]`, up to the diagonal that stands `diagonal` places above the
    /// main one; elsewhere 0.
    ///
    /// # Panics
    /// When there are fewer than two dimensions.
    #[track_caller]
    pub fn tril(&self, diagonal: isize) -> Tensor<T> {
        self.triangle("tril", diagonal, true)
    }

    /// The upper triangle of each matrix of `[.., n, m]`, from the diagonal that stands `diagonal` places above the
    /// main one; elsewhere 0.
    ///
    /// # Panics
    /// When there are fewer than two dimensions.
    #[track_caller]
    pub fn triu(&self, diagonal: isize) -> Tensor<T> {
        self.triangle("triu", diagonal, false)
    }

    #[track_caller]
    #[inline(never)]
    pub(crate) fn triangle(&self, op: &str, diagonal: isize, lower: bool) -> Tensor<T> {
        ensure(self.rank() >= 2, || format!("{op}: {:?}: expected at least two dimensions", self.shape()));
        let (rows, columns) = (self.size(-2), self.size(-1));
        let mask = Tensor::build([rows, columns], |mask| {
            for (i, row) in mask.chunks_mut(columns.max(1)).enumerate() {
                // Up to here the lower triangle, or from here on the upper one.
                let end = (i as isize).saturating_add(diagonal).saturating_add(lower.into());
                let (before, after) = row.split_at_mut(end.clamp(0, columns as isize) as usize);
                before.fill(lower);
                after.fill(!lower);
            }
        });
        mask.choose(self, &Tensor::scalar(T::ZERO))
    }

    /// The Cholesky factor of each matrix of `[.., n, n]`, symmetric and positive definite: the lower triangular `L`
    /// with `A = L L^T` (`torch.linalg.cholesky`). Of the matrix only the lower triangle is read.
    ///
    /// `dA = (S + S^T) / 2`, `S = L^-T tril'(L^T dL) L^-1`, where `tril'` halves the diagonal (Murray, "Differentiation
    /// of the Cholesky decomposition", 2016): symmetric, as the matrix is.
    ///
    /// ```
    /// let a = wengert::Tensor::from([[4.0_f32, 2.0], [2.0, 5.0]]);
    /// assert_eq!(a.cholesky().to_vec(), [2.0, 0.0, 1.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// When a matrix is not square, or not positive definite.
    #[track_caller]
    pub fn cholesky(&self) -> Tensor<T> {
        self.cholesky_of("cholesky")
    }

    /// [`Tensor::cholesky`], whose errors begin with what the matrix is.
    #[track_caller]
    #[inline(never)]
    pub(crate) fn cholesky_of(&self, what: &str) -> Tensor<T> {
        let n = square(what, self);
        let mut l = self.copied();
        let factors = linalg::cholesky(n, l.get_mut().expect("the only handle: just made"));
        if let Err((matrix, pivot)) = factors {
            let one = if self.rank() == 2 { String::new() } else { format!(" {matrix}") };
            fail(format!("{what}: {:?}: matrix{one} is not positive definite (pivot {pivot})", self.shape()))
        }
        record_op("cholesky", l.clone(), [self], || {
            move |pull: Pull<T>| {
                let l = pull.attach(&l);
                let lower = l.t().matmul(&pull.grad).tril(0);
                let both = &lower + lower.tril(-1).t();
                // L^-T both, then the same from the right by way of the transposed matrix.
                let half = l.t().solve_triangular(&both, true);
                [Some(l.t().solve_triangular(&half.t(), true).t() * T::of(0.5))]
            }
        })
    }

    /// The `X` of `A X = B` for the triangular matrices of this tensor: `A [.., n, n]`, `B [.., n, m]`, whose batches
    /// broadcast (`torch.linalg.solve_triangular`). Of `A` only the upper or the lower triangle is read. A 0 on the
    /// diagonal gives infinities.
    ///
    /// `dB = A^-T dX`, `dA = -dB X^T` in the triangle that is read.
    ///
    /// ```
    /// use wengert::Tensor;
    /// let a = Tensor::from([[2.0_f32, 0.0], [1.0, 4.0]]);
    /// let b = Tensor::from([[2.0_f32], [9.0]]);
    /// assert_eq!(a.solve_triangular(&b, false).to_vec(), [1.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// When `A` is not square, or the shapes do not fit.
    #[track_caller]
    #[inline(never)]
    pub fn solve_triangular(&self, b: &Tensor<T>, upper: bool) -> Tensor<T> {
        let (a, n) = (self, square("solve_triangular", self));
        ensure(b.rank() >= 2 && b.size(-2) == n, || {
            format!("solve_triangular: {:?} and {:?}: expected a right-hand side of {n} rows", a.shape(), b.shape())
        });
        let m = b.size(-1);
        let (a_batch, b_batch) = (Shape::new(&a.shape()[..a.rank() - 2]), Shape::new(&b.shape()[..b.rank() - 2]));
        let Some(batch) = Shape::broadcast(&a_batch, &b_batch) else {
            fail(format!("solve_triangular: batches {a_batch} and {b_batch} do not broadcast"))
        };
        let matrices = |rows: usize, columns: usize| Shape::new(&[&batch[..], &[rows, columns]].concat());
        let read = a.packed().expanded(&matrices(n, n));
        let sides = b.expanded(&matrices(n, m)).packed();
        let x = Tensor::build(matrices(n, m), |x| {
            x.copy_from_slice(sides.elements());
            let offsets = offsets(&batch, read.strides());
            linalg::solve_triangular([n, m], upper, read.view().data, &offsets, x);
        });
        record_op("solve_triangular", x.clone(), [a, b], || {
            let (a, b_shape) = (a.clone(), b.dims());
            move |pull: Pull<T>| {
                let db = a.t().solve_triangular(&pull.grad, !upper);
                let da = pull.when(0, |_| {
                    let da = -db.matmul(&pull.attach(&x).t());
                    unbroadcast(if upper { da.triu(0) } else { da.tril(0) }, &a.dims())
                });
                [da, pull.needs(1).then(|| unbroadcast(db, &b_shape))]
            }
        })
    }
}

/// The size of square matrices.
#[track_caller]
fn square<T: Float>(what: &str, a: &Tensor<T>) -> usize {
    ensure(a.rank() >= 2 && a.size(-1) == a.size(-2), || format!("{what}: {:?}: expected square matrices", a.shape()));
    a.size(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "cholesky: [2, 2, 2]: matrix 1 is not positive definite (pivot 1)")]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        Tensor::from([[[4.0_f32, 2.0], [2.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]]).cholesky();
    }

    #[test]
    #[should_panic(expected = "solve_triangular: [2, 3]: expected square matrices")]
    fn a_matrix_that_is_not_square_is_refused() {
        Tensor::<f32>::full([2, 3], 1.0).solve_triangular(&Tensor::full([2, 1], 1.0), true);
    }

    #[test]
    #[should_panic(expected = "solve_triangular: [3, 3] and [2, 1]: expected a right-hand side of 3 rows")]
    fn a_right_hand_side_of_another_height_is_refused() {
        Tensor::<f32>::full([3, 3], 1.0).solve_triangular(&Tensor::full([2, 1], 1.0), true);
    }

    #[test]
    fn triangles_leave_out_what_is_not_a_number() {
        let x = Tensor::from([[1.0, f64::NAN, f64::INFINITY], [2.0, 3.0, f64::NAN]]);
        assert_eq!(x.tril(0).to_vec(), [1.0, 0.0, 0.0, 2.0, 3.0, 0.0]);
        assert_eq!(x.t().triu(0).to_vec(), [1.0, 2.0, 0.0, 3.0, 0.0, 0.0]);
        assert_eq!(x.tril(-1).to_vec(), [0.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
    }
}
