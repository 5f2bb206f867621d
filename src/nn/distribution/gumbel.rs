use super::{expect, inner_uniform, joined, noise, sampled};
use crate::element::Float;
use crate::rng::Rng;
use crate::shape::{Shape, ensure};
use crate::tensor::Tensor;

/// A categorical distribution relaxed to the inside of the simplex, so that its draws have gradients: a draw is
/// `softmax((logits + g) / temperature)` with independent Gumbel numbers `g`. The lower the temperature, the nearer to
/// one class.
///
/// Its entropy and moments have no closed form, so it is no [`Distribution`](super::Distribution).
///
/// ```
/// use wengert::{Tensor, nn::distribution::GumbelSoftmax, record};
/// let logits = Tensor::from([1.0_f32, 2.0, 0.5]).tracked();
/// let y = record(|| GumbelSoftmax::new(0.5, &logits).hard(true).rsample([8]));
/// assert_eq!(y.sum_dim(-1, false).to_vec(), [1.0; 8]); // one class each
/// assert!(y.backward_with(&Tensor::randn([8, 3])).of(&logits).norm().item() > 0.0);
/// ```
///
/// Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", 2017; Maddison, Mnih, Teh, "The concrete
/// distribution", 2017.
#[derive(Clone, Debug)]
pub struct GumbelSoftmax<T: Float = f32> {
    temperature: f64,
    logits: Tensor<T>,
    hard: bool,
}

fn gumbel(rng: &mut Rng) -> f64 {
    -(-inner_uniform(rng).ln()).ln()
}

impl<T: Float> GumbelSoftmax<T> {
    /// From logits `[batch.., classes]`.
    ///
    /// # Panics
    /// When the temperature is not positive, there are no classes, or a logit is not finite.
    #[track_caller]
    pub fn new(temperature: f64, logits: &Tensor<T>) -> GumbelSoftmax<T> {
        ensure(temperature > 0.0, || format!("GumbelSoftmax: temperature: expected above 0, found {temperature}"));
        ensure(logits.rank() > 0 && logits.size(-1) > 0, || {
            format!("GumbelSoftmax: logits: {:?}: expected [batch.., classes]", logits.shape())
        });
        expect("GumbelSoftmax: logits", logits, "finite numbers", T::is_finite);
        GumbelSoftmax { temperature, logits: logits.clone(), hard: false }
    }

    /// Whether draws are one class each, a 1 among 0, with the gradient of the relaxed draw ("straight through").
    pub fn hard(self, hard: bool) -> GumbelSoftmax<T> {
        GumbelSoftmax { hard, ..self }
    }

    /// Independent draws `[shape.., batch.., classes]`, with the gradient of the logits.
    #[track_caller]
    pub fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let noise: Tensor<T> = noise(joined(&shape.into(), self.logits.shape()), 2, gumbel);
        let y = ((&self.logits + noise) * T::of(1.0 / self.temperature)).softmax(-1);
        if !self.hard {
            return y;
        }
        let classes = y.size(-1);
        let hard = y.detach().argmax(-1, false).one_hot(classes).cast::<T>();
        // Exactly 0 and 1: 0 - y + y is 0, and 1 - y is off by at most half the distance from 1 to the number below it.
        (hard - y.detach()) + y
    }

    /// [`GumbelSoftmax::rsample`] without a gradient.
    #[track_caller]
    pub fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        sampled(|| self.rsample(shape))
    }

    /// The logarithm of the density of relaxed draws at `value [.., classes]`, inside the simplex: `log (n - 1)! + (n -
    /// 1) log t + sum (logits - (t + 1) log x) - n log sum e^(logits - t log x)` with `n` classes and temperature `t`.
    ///
    /// # Panics
    /// When the shapes do not broadcast.
    #[track_caller]
    pub fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let (n, t) = (self.logits.size(-1), self.temperature);
        let log = value.log();
        let score = (&self.logits - &log * T::of(t)).log_softmax(-1);
        let constant = crate::kernels::math::lgamma(n as f64) + (n as f64 - 1.0) * t.ln();
        (score - log).sum_dim(-1, false) + T::of(constant)
    }
}
