use super::{Distribution, Given, expect_probs, expect_real, inner, joined};
use crate::autograd::no_record;
use crate::element::Float;
use crate::rng::with_thread_rng;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// 1 with probability `p`, else 0.
///
/// `log p(x) = x log p + (1 - x) log(1 - p)`, from logits `log(p / (1 - p))`, which is exact for any of them. The
/// formula also serves values between 0 and 1, such as the grey of a pixel.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Bernoulli, Distribution}};
/// let p = Bernoulli::from_logits(&Tensor::from([0.0_f32, 200.0]));
/// assert_eq!(p.mean().to_vec(), [0.5, 1.0]);
/// assert_eq!(p.log_prob(&Tensor::from([1.0, 0.0])).to_vec(), [-std::f32::consts::LN_2, -200.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Bernoulli<T: Float = f32>(Given<T>);

impl<T: Float> Bernoulli<T> {
    /// From probabilities `[batch..]`. As in PyTorch they count as at least the machine's epsilon away from 0 and 1
    /// where logarithms are taken.
    ///
    /// # Panics
    /// When one is not from 0 to 1.
    #[track_caller]
    pub fn from_probs(probs: &Tensor<T>) -> Bernoulli<T> {
        expect_probs("Bernoulli: probs", probs);
        Bernoulli(Given::Probs(probs.clone()))
    }

    /// From logits `[batch..]`.
    ///
    /// # Panics
    /// When one is not finite.
    #[track_caller]
    pub fn from_logits(logits: &Tensor<T>) -> Bernoulli<T> {
        expect_real("Bernoulli: logits", logits);
        Bernoulli(Given::Logits(logits.clone()))
    }

    /// The probabilities of 1, `[batch..]`.
    #[track_caller]
    pub fn probs(&self) -> Tensor<T> {
        match &self.0 {
            Given::Probs(probs) => probs.clone(),
            Given::Logits(logits) => logits.sigmoid(),
        }
    }

    /// `log(p / (1 - p))`, `[batch..]`.
    #[track_caller]
    pub fn logits(&self) -> Tensor<T> {
        match &self.0 {
            Given::Probs(probs) => {
                let probs = inner(probs);
                probs.log() - (-probs).log1p()
            }
            Given::Logits(logits) => logits.clone(),
        }
    }
}

impl<T: Float> Distribution<T> for Bernoulli<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        self.0.shape()
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let probs = no_record(|| self.probs()).packed();
        let probs = probs.elements();
        with_thread_rng(|rng| {
            Tensor::from_fn(joined(&shape.into(), &self.batch_shape()), |i| {
                if rng.uniform() < probs[i % probs.len()].to_f64() { T::ONE } else { T::ZERO }
            })
        })
    }

    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let logits = self.logits();
        value * &logits - logits.softplus()
    }

    fn entropy(&self) -> Tensor<T> {
        let logits = self.logits();
        logits.softplus() - self.probs() * logits
    }

    fn mean(&self) -> Tensor<T> {
        self.probs()
    }

    /// `p (1 - p)`.
    fn variance(&self) -> Tensor<T> {
        let probs = self.probs();
        &probs - probs.square()
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        // log p - log q of 1 and of 0, each with its probability.
        let (p, q, one) = (self.logits(), other.logits(), self.probs());
        let zero = -&one + T::ONE;
        one * ((-&q).softplus() - (-&p).softplus()) + zero * (q.softplus() - p.softplus())
    }
}
