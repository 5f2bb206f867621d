use super::{Distribution, Reparameterized, expect_positive, extremes, joined, on_support, sampled, xlogy};
use crate::element::Float;
use crate::ops::log_standard_gamma;
use crate::shape::Shape;
use crate::tensor::{Tensor, broadcast_shape};

/// The gamma distribution of positive numbers, with shape parameter `concentration` and `rate`, the inverse scale.
///
/// `log p(x) = a log r + (a - 1) log x - r x - log Gamma(a)`; a draw is one of rate 1, over `rate`, whose gradient is
/// that of [`log_standard_gamma`]: first order only, for the concentration. Draws are kept at the smallest positive
/// normal number.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Distribution, Gamma}};
/// let p = Gamma::new(&Tensor::from([1.0_f32, 3.0]), &Tensor::from(2.0));
/// assert_eq!(p.mean().to_vec(), [0.5, 1.5]);
/// assert_eq!(p.log_prob(&Tensor::from([0.0, -1.0])).to_vec(), [2.0_f32.ln(), f32::NEG_INFINITY]);
/// ```
#[derive(Clone, Debug)]
pub struct Gamma<T: Float = f32> {
    concentration: Tensor<T>,
    rate: Tensor<T>,
}

impl<T: Float> Gamma<T> {
    /// `concentration` and `rate` broadcast together.
    ///
    /// # Panics
    /// When they do not, or a number is not positive.
    #[track_caller]
    pub fn new(concentration: &Tensor<T>, rate: &Tensor<T>) -> Gamma<T> {
        broadcast_shape("Gamma", &concentration.dims(), &rate.dims());
        expect_positive("Gamma: concentration", concentration);
        expect_positive("Gamma: rate", rate);
        Gamma { concentration: concentration.clone(), rate: rate.clone() }
    }
}

impl<T: Float> Distribution<T> for Gamma<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        broadcast_shape("Gamma", &self.concentration.dims(), &self.rate.dims())
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let (a, rate) = (&self.concentration, &self.rate);
        on_support(value, value.lt_scalar(T::ZERO), T::ONE, |x| {
            a * rate.log() + xlogy(&(a - T::ONE), x) - rate * x - a.lgamma()
        })
    }

    /// `a - log r + log Gamma(a) + (1 - a) psi(a)`.
    fn entropy(&self) -> Tensor<T> {
        let a = &self.concentration;
        a + a.lgamma() + (-a + T::ONE) * a.digamma() - self.rate.log()
    }

    /// `a / r`.
    fn mean(&self) -> Tensor<T> {
        &self.concentration / &self.rate
    }

    /// `a / r^2`.
    fn variance(&self) -> Tensor<T> {
        &self.concentration / self.rate.square()
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let (p, q) = (&self.concentration, &other.concentration);
        q * (&self.rate / &other.rate).log() + q.lgamma() - p.lgamma()
            + (p - q) * p.digamma()
            + (&other.rate - &self.rate) * p / &self.rate
    }
}

impl<T: Float> Reparameterized<T> for Gamma<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let shape = joined(&shape.into(), &self.batch_shape());
        let draws = log_standard_gamma(&self.concentration.expand(shape)).exp();
        (draws / &self.rate).clamp(extremes::<T>().0, f64::INFINITY)
    }
}
