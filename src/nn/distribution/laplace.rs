use super::{Distribution, Reparameterized, expect_positive, expect_real, inner_uniform, joined, noise, sampled};
use crate::element::Float;
use crate::rng::Rng;
use crate::shape::Shape;
use crate::tensor::{Tensor, broadcast_shape};
use std::f64::consts::LN_2;

/// The Laplace distribution, which falls off exponentially on both sides of `loc`.
///
/// `log p(x) = -|x - loc| / scale - log(2 scale)`; a draw is `loc + scale l` with a standard one, `l`.
#[derive(Clone, Debug)]
pub struct Laplace<T: Float = f32> {
    loc: Tensor<T>,
    scale: Tensor<T>,
}

/// The logarithm of a uniform number, with a sign.
fn standard(rng: &mut Rng) -> f64 {
    let u = inner_uniform(rng);
    if u < 0.5 { (2.0 * u).ln() } else { -(2.0 * (1.0 - u)).ln() }
}

impl<T: Float> Laplace<T> {
    /// `loc` and `scale` broadcast together.
    ///
    /// # Panics
    /// When they do not, `loc` is not finite, or `scale` is not positive.
    #[track_caller]
    pub fn new(loc: &Tensor<T>, scale: &Tensor<T>) -> Laplace<T> {
        broadcast_shape("Laplace", &loc.dims(), &scale.dims());
        expect_real("Laplace: loc", loc);
        expect_positive("Laplace: scale", scale);
        Laplace { loc: loc.clone(), scale: scale.clone() }
    }
}

impl<T: Float> Distribution<T> for Laplace<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        broadcast_shape("Laplace", &self.loc.dims(), &self.scale.dims())
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        -((value - &self.loc).abs() / &self.scale) - self.scale.log() - T::of(LN_2)
    }

    /// `1 + log(2 scale)`.
    fn entropy(&self) -> Tensor<T> {
        (self.scale.log() + T::of(1.0 + LN_2)).expand(self.batch_shape())
    }

    fn mean(&self) -> Tensor<T> {
        self.loc.expand(self.batch_shape())
    }

    /// `2 scale^2`.
    fn variance(&self) -> Tensor<T> {
        (self.scale.square() * T::of(2.0)).expand(self.batch_shape())
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let ratio = &self.scale / &other.scale;
        let distance = (&self.loc - &other.loc).abs();
        let decay = (-&distance / &self.scale).exp();
        distance / &other.scale + &ratio * decay - ratio.log() - T::ONE
    }
}

impl<T: Float> Reparameterized<T> for Laplace<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let l = noise(joined(&shape.into(), &self.batch_shape()), 2, standard);
        &self.loc + &self.scale * l
    }
}
