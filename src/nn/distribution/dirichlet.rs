use super::{Distribution, Reparameterized, expect_positive, extremes, joined, on_support, sampled, xlogy};
use crate::element::Float;
use crate::ops::log_standard_gamma;
use crate::shape::{Shape, ensure};
use crate::tensor::Tensor;

/// The Dirichlet distribution over `k` positive numbers that add up to 1, with `concentration [batch.., k]`.
///
/// `log p(x) = sum (a - 1) log x + log Gamma(sum a) - sum log Gamma(a)`; a draw is `g / sum g` with gamma draws `g`,
/// whose gradients are those of [`log_standard_gamma`]: first order only. That a value adds up to 1 is not checked.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Dirichlet, Distribution}};
/// let p = Dirichlet::new(&Tensor::from([1.0_f32, 2.0, 5.0]));
/// assert_eq!(p.mean().to_vec(), [0.125, 0.25, 0.625]);
/// assert!((p.sample(()).sum().item() - 1.0).abs() < 1e-6);
/// ```
#[derive(Clone, Debug)]
pub struct Dirichlet<T: Float = f32> {
    concentration: Tensor<T>,
}

impl<T: Float> Dirichlet<T> {
    /// # Panics
    /// When `concentration` is a scalar or empty, or a number is not positive.
    #[track_caller]
    pub fn new(concentration: &Tensor<T>) -> Dirichlet<T> {
        ensure(concentration.rank() > 0 && concentration.size(-1) > 0, || {
            format!("Dirichlet: concentration: {:?}: expected [batch.., k]", concentration.shape())
        });
        expect_positive("Dirichlet: concentration", concentration);
        Dirichlet { concentration: concentration.clone() }
    }

    /// `sum a`, `[batch.., 1]`.
    fn total(&self) -> Tensor<T> {
        self.concentration.sum_dim(-1, true)
    }

    /// `sum log Gamma(a) - log Gamma(sum a)`, `[batch..]`.
    fn log_normalizer(&self) -> Tensor<T> {
        self.concentration.lgamma().sum_dim(-1, false) - self.total().lgamma().squeeze(-1)
    }

    /// `E log x`, `[batch.., k]`.
    fn mean_log(&self) -> Tensor<T> {
        self.concentration.digamma() - self.total().digamma()
    }
}

impl<T: Float> Distribution<T> for Dirichlet<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        let shape = self.concentration.shape();
        Shape::new(&shape[..shape.len() - 1])
    }

    fn event_shape(&self) -> Shape {
        Shape::from(self.concentration.size(-1))
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let density =
            on_support(value, value.lt_scalar(T::ZERO), T::ONE, |x| xlogy(&(&self.concentration - T::ONE), x));
        density.sum_dim(-1, false) - self.log_normalizer()
    }

    /// The logarithm of the normalizer less `sum (a - 1) E log x`.
    fn entropy(&self) -> Tensor<T> {
        self.log_normalizer() - ((&self.concentration - T::ONE) * self.mean_log()).sum_dim(-1, false)
    }

    /// `a / sum a`.
    fn mean(&self) -> Tensor<T> {
        &self.concentration / self.total()
    }

    /// `m (1 - m) / (sum a + 1)` with the mean `m`.
    fn variance(&self) -> Tensor<T> {
        let mean = self.mean();
        (&mean - mean.square()) / (self.total() + T::ONE)
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let moved = (&self.concentration - &other.concentration) * self.mean_log();
        other.log_normalizer() - self.log_normalizer() + moved.sum_dim(-1, false)
    }
}

impl<T: Float> Reparameterized<T> for Dirichlet<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let shape = joined(&shape.into(), self.concentration.shape());
        // g / sum g from logarithms: none is lost where it is too small for a number.
        let y = log_standard_gamma(&self.concentration.expand(shape)).softmax(-1);
        y.clamp(extremes::<T>().0, 1.0)
    }
}
