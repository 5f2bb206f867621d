use super::{Distribution, Reparameterized, expect, joined, sampled, uniform};
use crate::element::Float;
use crate::shape::Shape;
use crate::tensor::{Tensor, broadcast_shape};

/// The uniform distribution over `low <= x < high`.
///
/// `log p(x) = -log(high - low)`; a draw is `low + (high - low) u` with `u` uniform in `[0, 1)`.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Distribution, Uniform}};
/// let p = Uniform::new(&Tensor::from(-1.0_f32), &Tensor::from(1.0));
/// assert_eq!(p.log_prob(&Tensor::from([0.0, 1.0])).exp().to_vec(), [0.5, 0.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Uniform<T: Float = f32> {
    low: Tensor<T>,
    high: Tensor<T>,
}

impl<T: Float> Uniform<T> {
    /// `low` and `high` broadcast together.
    ///
    /// # Panics
    /// When they do not, or `high` is not above `low`.
    #[track_caller]
    pub fn new(low: &Tensor<T>, high: &Tensor<T>) -> Uniform<T> {
        let range = high.detach() - low.detach();
        expect("Uniform: high - low", &range, "positive numbers", |x| x > T::ZERO && x.is_finite());
        Uniform { low: low.clone(), high: high.clone() }
    }

    fn range(&self) -> Tensor<T> {
        &self.high - &self.low
    }
}

impl<T: Float> Distribution<T> for Uniform<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        broadcast_shape("Uniform", &self.low.dims(), &self.high.dims())
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let outside = value.lt(&self.low).logical_or(&value.ge(&self.high));
        (-self.range().log()).masked_fill(&outside, T::LOWEST)
    }

    /// `log(high - low)`.
    fn entropy(&self) -> Tensor<T> {
        self.range().log()
    }

    fn mean(&self) -> Tensor<T> {
        (&self.low + &self.high) * T::of(0.5)
    }

    /// `(high - low)^2 / 12`.
    fn variance(&self) -> Tensor<T> {
        self.range().square() * T::of(1.0 / 12.0)
    }

    /// `log` of the ratio of the ranges, infinite where this one reaches beyond the other.
    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let beyond = self.low.lt(&other.low).logical_or(&self.high.gt(&other.high));
        (other.range() / self.range()).log().masked_fill(&beyond, T::HIGHEST)
    }
}

impl<T: Float> Reparameterized<T> for Uniform<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        &self.low + self.range() * uniform::<T>(joined(&shape.into(), &self.batch_shape()))
    }
}
