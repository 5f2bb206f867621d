use super::{Distribution, Reparameterized, expect_positive, extremes, joined, on_support, sampled, xlogy};
use crate::element::Float;
use crate::ops::log_standard_gamma;
use crate::shape::Shape;
use crate::tensor::{Tensor, broadcast_shape};

/// The beta distribution of numbers from 0 to 1.
///
/// `log p(x) = (a - 1) log x + (b - 1) log(1 - x) - log B(a, b)` with `B(a, b) = Gamma(a) Gamma(b) / Gamma(a + b)`; a
/// draw is `g / (g + h)` with gamma draws of `a` and of `b`, whose gradients are those of [`log_standard_gamma`]: first
/// order only. Draws stay off 0 and 1 by one rounding.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Beta, Distribution}};
/// let p = Beta::new(&Tensor::from(2.0_f32), &Tensor::from(1.0));
/// assert_eq!(p.log_prob(&Tensor::from([0.5, 1.0, 1.5])).exp().to_vec(), [1.0, 2.0, 0.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Beta<T: Float = f32> {
    a: Tensor<T>,
    b: Tensor<T>,
}

impl<T: Float> Beta<T> {
    /// The concentrations at 1 and at 0, `a` and `b`, broadcast together.
    ///
    /// # Panics
    /// When they do not, or a number is not positive.
    #[track_caller]
    pub fn new(concentration1: &Tensor<T>, concentration0: &Tensor<T>) -> Beta<T> {
        broadcast_shape("Beta", &concentration1.dims(), &concentration0.dims());
        expect_positive("Beta: concentration1", concentration1);
        expect_positive("Beta: concentration0", concentration0);
        Beta { a: concentration1.clone(), b: concentration0.clone() }
    }

    /// `a + b`.
    fn total(&self) -> Tensor<T> {
        &self.a + &self.b
    }

    /// `log B(a, b)`.
    fn log_normalizer(&self) -> Tensor<T> {
        self.a.lgamma() + self.b.lgamma() - self.total().lgamma()
    }
}

impl<T: Float> Distribution<T> for Beta<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        broadcast_shape("Beta", &self.a.dims(), &self.b.dims())
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let outside = value.lt_scalar(T::ZERO).logical_or(&value.gt_scalar(T::ONE));
        on_support(value, outside, T::of(0.5), |x| {
            xlogy(&(&self.a - T::ONE), x) + xlogy(&(&self.b - T::ONE), &(-x + T::ONE)) - self.log_normalizer()
        })
    }

    /// `log B(a, b) - (a - 1) psi(a) - (b - 1) psi(b) + (a + b - 2) psi(a + b)`.
    fn entropy(&self) -> Tensor<T> {
        let (a, b, total) = (&self.a, &self.b, self.total());
        self.log_normalizer() - (a - T::ONE) * a.digamma() - (b - T::ONE) * b.digamma()
            + (&total - T::of(2.0)) * total.digamma()
    }

    /// `a / (a + b)`.
    fn mean(&self) -> Tensor<T> {
        &self.a / self.total()
    }

    /// `a b / ((a + b)^2 (a + b + 1))`.
    fn variance(&self) -> Tensor<T> {
        let total = self.total();
        &self.a * &self.b / total.square() / (total + T::ONE)
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let (a, b) = (&self.a - &other.a, &self.b - &other.b);
        let total = (&a + &b) * self.total().digamma();
        other.log_normalizer() - self.log_normalizer() + a * self.a.digamma() + b * self.b.digamma() - total
    }
}

impl<T: Float> Reparameterized<T> for Beta<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let shape = joined(&shape.into(), &self.batch_shape());
        let draws = |x: &Tensor<T>| log_standard_gamma(&x.expand(shape));
        // g / (g + h) from logarithms: neither is lost where it is too small for a number.
        let y = (draws(&self.a) - draws(&self.b)).sigmoid();
        y.clamp(extremes::<T>().0, 1.0 - 0.5 * T::EPSILON.to_f64())
    }
}
