use super::{
    Distribution, LN_SQRT_2PI, Reparameterized, expect_positive, expect_real, joined, normals, on_support, sampled,
};
use crate::element::Float;
use crate::shape::Shape;
use crate::tensor::{Tensor, broadcast_shape};

/// The normal distribution with mean `loc` and standard deviation `scale`.
///
/// `log p(x) = -(x - loc)^2 / (2 scale^2) - log scale - log(2 pi) / 2`; a draw is `loc + scale n` with a standard
/// normal `n`.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Distribution, Normal}};
/// let p = Normal::new(&Tensor::from([0.0_f32, 3.0]), &Tensor::from(2.0));
/// assert_eq!(p.sample([5]).shape(), [5, 2]);
/// assert_eq!(p.log_prob(&Tensor::from([1.0, 4.0])).to_vec(), [-1.737_085_7; 2]);
/// ```
#[derive(Clone, Debug)]
pub struct Normal<T: Float = f32> {
    loc: Tensor<T>,
    scale: Tensor<T>,
}

impl<T: Float> Normal<T> {
    /// `loc` and `scale` broadcast together.
    ///
    /// # Panics
    /// When they do not, `loc` is not finite, or `scale` is not positive.
    #[track_caller]
    pub fn new(loc: &Tensor<T>, scale: &Tensor<T>) -> Normal<T> {
        Normal::named("Normal", loc, scale)
    }

    #[track_caller]
    fn named(name: &str, loc: &Tensor<T>, scale: &Tensor<T>) -> Normal<T> {
        broadcast_shape(name, &loc.dims(), &scale.dims());
        expect_real(&format!("{name}: loc"), loc);
        expect_positive(&format!("{name}: scale"), scale);
        Normal { loc: loc.clone(), scale: scale.clone() }
    }

    /// The divergence from the standard normal distribution, `(loc^2 + scale^2 - 1) / 2 - log scale`, `[batch..]`: what
    /// a variational auto-encoder adds to its loss.
    #[track_caller]
    pub fn kl_standard(&self) -> Tensor<T> {
        (self.loc.square() + self.scale.square() - T::ONE) * T::of(0.5) - self.scale.log()
    }
}

impl<T: Float> Distribution<T> for Normal<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        broadcast_shape("Normal", &self.loc.dims(), &self.scale.dims())
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let distance = (value - &self.loc) / &self.scale;
        distance.square() * T::of(-0.5) - self.scale.log() - T::of(LN_SQRT_2PI)
    }

    /// `log scale + (1 + log 2 pi) / 2`.
    fn entropy(&self) -> Tensor<T> {
        (self.scale.log() + T::of(0.5 + LN_SQRT_2PI)).expand(self.batch_shape())
    }

    fn mean(&self) -> Tensor<T> {
        self.loc.expand(self.batch_shape())
    }

    fn variance(&self) -> Tensor<T> {
        self.scale.square().expand(self.batch_shape())
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let ratio = (&self.scale / &other.scale).square();
        let distance = ((&self.loc - &other.loc) / &other.scale).square();
        (&ratio + distance - T::ONE - ratio.log()) * T::of(0.5)
    }
}

impl<T: Float> Reparameterized<T> for Normal<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let n = normals(joined(&shape.into(), &self.batch_shape()));
        &self.loc + &self.scale * n
    }
}

/// The distribution of `e^n` with a normal `n` of mean `loc` and standard deviation `scale`; its support are the
/// positive numbers.
///
/// `log p(x) = log p_normal(log x) - log x`.
#[derive(Clone, Debug)]
pub struct LogNormal<T: Float = f32>(Normal<T>);

impl<T: Float> LogNormal<T> {
    /// `loc` and `scale` of the logarithm broadcast together.
    ///
    /// # Panics
    /// As [`Normal::new`].
    #[track_caller]
    pub fn new(loc: &Tensor<T>, scale: &Tensor<T>) -> LogNormal<T> {
        LogNormal(Normal::named("LogNormal", loc, scale))
    }
}

impl<T: Float> Distribution<T> for LogNormal<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        self.0.batch_shape()
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        on_support(value, value.le_scalar(T::ZERO), T::ONE, |value| {
            let log = value.log();
            self.0.log_prob(&log) - log
        })
    }

    /// The entropy of the logarithm plus `loc`.
    fn entropy(&self) -> Tensor<T> {
        self.0.entropy() + &self.0.loc
    }

    /// `e^(loc + scale^2 / 2)`.
    fn mean(&self) -> Tensor<T> {
        (&self.0.loc + self.0.scale.square() * T::of(0.5)).exp()
    }

    /// `(e^(scale^2) - 1) e^(2 loc + scale^2)`.
    fn variance(&self) -> Tensor<T> {
        let square = self.0.scale.square();
        square.expm1() * (&self.0.loc * T::of(2.0) + &square).exp()
    }

    /// That of the logarithms.
    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        self.0.kl(&other.0)
    }
}

impl<T: Float> Reparameterized<T> for LogNormal<T> {
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        self.0.rsample(shape).exp()
    }
}
