use super::{Distribution, LN_SQRT_2PI, Reparameterized, expect_positive, expect_real, joined, normals, sampled};
use crate::element::Float;
use crate::shape::{Shape, ensure, fail};
use crate::tensor::Tensor;

/// The normal distribution of vectors of `d` numbers, with mean `loc [batch.., d]` and covariance `L L^T`, `L` lower
/// triangular.
///
/// `log p(x) = -|L^-1 (x - loc)|^2 / 2 - sum log diag L - d log(2 pi) / 2`; a draw is `loc + L n` with standard normal
/// `n`.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Distribution, MultivariateNormal}};
/// let covariance = Tensor::from([[4.0_f32, 2.0], [2.0, 5.0]]);
/// let p = MultivariateNormal::new(&Tensor::from([1.0, -1.0]), &covariance);
/// assert_eq!(p.covariance().to_vec(), covariance.to_vec());
/// assert_eq!(p.sample([7]).shape(), [7, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct MultivariateNormal<T: Float = f32> {
    loc: Tensor<T>,
    /// `L [batch.., d, d]`, 0 above the diagonal.
    scale_tril: Tensor<T>,
}

impl<T: Float> MultivariateNormal<T> {
    /// From `covariance [batch.., d, d]`, whose Cholesky factor is computed here: for its gradient, call this under
    /// [`record`](crate::record). Only the lower triangle is read.
    ///
    /// # Panics
    /// When the shapes do not fit, `loc` is not finite, or `covariance` is not positive definite.
    #[track_caller]
    pub fn new(loc: &Tensor<T>, covariance: &Tensor<T>) -> MultivariateNormal<T> {
        let name = "MultivariateNormal: covariance";
        expect_fitting(name, loc, covariance);
        MultivariateNormal { loc: loc.clone(), scale_tril: covariance.cholesky_of(name) }
    }

    /// From the lower triangular factor `L [batch.., d, d]` of the covariance; for its gradient, call this under
    /// [`record`](crate::record). Only the lower triangle is read.
    ///
    /// # Panics
    /// When the shapes do not fit, `loc` is not finite, or the diagonal is not positive.
    #[track_caller]
    pub fn from_scale_tril(loc: &Tensor<T>, scale_tril: &Tensor<T>) -> MultivariateNormal<T> {
        let name = "MultivariateNormal: scale_tril";
        expect_fitting(name, loc, scale_tril);
        let scale_tril = scale_tril.tril(0);
        expect_real(name, &scale_tril);
        expect_positive(&format!("{name}: diagonal"), &diagonal(&scale_tril));
        MultivariateNormal { loc: loc.clone(), scale_tril }
    }

    /// `L L^T`, `[batch.., d, d]`.
    #[track_caller]
    pub fn covariance(&self) -> Tensor<T> {
        self.scale_tril.matmul(&self.scale_tril.t()).expand(joined(&self.batch_shape(), &[self.size(); 2]))
    }

    fn size(&self) -> usize {
        self.loc.size(-1)
    }

    /// `[batch.., d]`.
    fn shape(&self) -> Shape {
        joined(&self.batch_shape(), &[self.size()])
    }

    /// `sum log diag L`, of the batch of `L`.
    fn log_volume(&self) -> Tensor<T> {
        diagonal(&self.scale_tril).log().sum_dim(-1, false)
    }

    /// `|L^-1 x|^2` for `x [.., d]`.
    #[track_caller]
    fn squared_length(&self, x: &Tensor<T>) -> Tensor<T> {
        if self.scale_tril.rank() > 2 {
            return self.scale_tril.solve_triangular(&x.unsqueeze(-1), false).squeeze(-1).square().sum_dim(-1, false);
        }
        // One matrix for all: one system with all vectors as right-hand sides, [d, d] \ [d, ..].
        let d = self.size();
        let columns = x.reshape([x.numel() / d, d]).t();
        let lengths = self.scale_tril.solve_triangular(&columns, false).square().sum_dim(0, false);
        lengths.reshape(&x.shape()[..x.rank() - 1])
    }
}

/// `[.., d]` of `[.., d, d]`.
fn diagonal<T: Float>(x: &Tensor<T>) -> Tensor<T> {
    let (d, batch) = (x.size(-1), &x.shape()[..x.rank() - 2]);
    x.reshape(joined(batch, &[d * d])).slice(-1, 0, d * d, d + 1)
}

#[track_caller]
fn expect_fitting<T: Float>(what: &str, loc: &Tensor<T>, matrix: &Tensor<T>) {
    let d = loc.shape().last().copied().unwrap_or(0);
    ensure(d > 0, || format!("MultivariateNormal: loc: {:?}: expected [batch.., d]", loc.shape()));
    ensure(matrix.rank() >= 2 && matrix.shape()[matrix.rank() - 2..] == [d, d], || {
        format!("{what}: {:?}: expected [batch.., {d}, {d}] for loc {:?}", matrix.shape(), loc.shape())
    });
    expect_real("MultivariateNormal: loc", loc);
    batch(loc, matrix);
}

/// The batch that `loc [.., d]` and a matrix `[.., d, d]` broadcast to.
#[track_caller]
fn batch<T: Float>(loc: &Tensor<T>, matrix: &Tensor<T>) -> Shape {
    let loc = Shape::new(&loc.shape()[..loc.rank() - 1]);
    let matrix = Shape::new(&matrix.shape()[..matrix.rank() - 2]);
    match Shape::broadcast(&loc, &matrix) {
        Some(batch) => batch,
        None => fail(format!("MultivariateNormal: batches {loc} and {matrix} do not broadcast")),
    }
}

impl<T: Float> Distribution<T> for MultivariateNormal<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        batch(&self.loc, &self.scale_tril)
    }

    fn event_shape(&self) -> Shape {
        Shape::from(self.size())
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let distance = self.squared_length(&(value - &self.loc));
        distance * T::of(-0.5) - self.log_volume() - T::of(self.size() as f64 * LN_SQRT_2PI)
    }

    /// `sum log diag L + d (1 + log 2 pi) / 2`.
    fn entropy(&self) -> Tensor<T> {
        let constant = self.size() as f64 * (0.5 + LN_SQRT_2PI);
        (self.log_volume() + T::of(constant)).expand(self.batch_shape())
    }

    fn mean(&self) -> Tensor<T> {
        self.loc.expand(self.shape())
    }

    /// The diagonal of the covariance.
    fn variance(&self) -> Tensor<T> {
        self.scale_tril.square().sum_dim(-1, false).expand(self.shape())
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let spread = other.scale_tril.solve_triangular(&self.scale_tril, false).square().sum_dim([-2, -1], false);
        let distance = other.squared_length(&(&self.loc - &other.loc));
        (spread + distance - T::of(self.size() as f64)) * T::of(0.5) + other.log_volume() - self.log_volume()
    }
}

impl<T: Float> Reparameterized<T> for MultivariateNormal<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let n: Tensor<T> = normals(joined(&shape.into(), &self.shape()));
        if self.scale_tril.rank() > 2 {
            return &self.loc + self.scale_tril.matmul(&n.unsqueeze(-1)).squeeze(-1);
        }
        // One matrix for all: [.., d] . [d, d]
        &self.loc + n.matmul(&self.scale_tril.t())
    }
}
