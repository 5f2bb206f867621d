//! Probability distributions: draws, log-probabilities, entropies and divergences, all with gradients.
//!
//! Names, shapes and numbers are those of `torch.distributions`. Parameters are tensors that broadcast together to the
//! batch shape `[batch..]`, one distribution for each element; a draw of one of them has the event shape `[event..]`.
//! Where a parameter is tracked, what is computed from it under [`record`](crate::record) has its gradient. Draws come
//! from the thread's generator ([`crate::seed`]).
//!
//! [`Distribution::sample`] gives numbers, [`Reparameterized::rsample`] a function of the parameters (Kingma and
//! Welling, "Auto-encoding variational Bayes", 2014):
//!
//! ```
//! use wengert::nn::distribution::{Distribution, Normal, Reparameterized};
//! use wengert::{Tensor, record, seed};
//!
//! seed(1);
//! let loc = Tensor::from([0.5_f32, -1.0]).tracked();
//! let scale = Tensor::from([1.0_f32, 2.0]).tracked();
//! let loss = record(|| {
//!     let latent = Normal::new(&loc, &scale);
//!     let z = latent.rsample([16]); // [16, 2]
//!     z.square().mean() + latent.kl_standard().sum()
//! });
//! let grads = loss.backward();
//! assert_eq!(grads.of(&scale).shape(), [2]);
//! ```
//!
//! The log-probability of a value outside the support is minus infinity, and without gradient. A parameter that makes
//! no distribution, a scale of -1 say, panics with its name.

mod bernoulli;
mod beta;
mod categorical;
mod dirichlet;
mod gamma;
mod gumbel;
mod laplace;
mod multivariate;
mod normal;
mod uniform;

pub use bernoulli::Bernoulli;
pub use beta::Beta;
pub use categorical::{Categorical, OneHotCategorical};
pub use dirichlet::Dirichlet;
pub use gamma::Gamma;
pub use gumbel::GumbelSoftmax;
pub use laplace::Laplace;
pub use multivariate::MultivariateNormal;
pub use normal::{LogNormal, Normal};
pub use uniform::Uniform;

use crate::autograd::no_record;
use crate::element::{DType, Element, Float};
use crate::rng::{Rng, with_thread_rng};
use crate::shape::{Shape, ensure};
use crate::tensor::Tensor;

/// `ln(2 pi) / 2`.
const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// A family of distributions, one for each element of the batch.
pub trait Distribution<T: Float = f32> {
    /// The element type of a draw: `T`, or `i64` for the number of a class.
    type Value: Element;

    /// `[batch..]`: the shape that the parameters broadcast to, without the dimensions of one event.
    fn batch_shape(&self) -> Shape;

    /// `[event..]`: the shape of a draw from one distribution of the batch; `[]` for a number.
    fn event_shape(&self) -> Shape {
        Shape::from(())
    }

    /// Independent draws `[shape.., batch.., event..]`, without a gradient.
    fn sample(&self, shape: impl Into<Shape>) -> Tensor<Self::Value>;

    /// The logarithm of the density, or of the probability of a value that can be counted, at `value`, which broadcasts
    /// with `[batch.., event..]`: one number for each event.
    fn log_prob(&self, value: &Tensor<Self::Value>) -> Tensor<T>;

    /// The entropy `-E log p`, `[batch..]`, in nats.
    fn entropy(&self) -> Tensor<T>;

    /// The mean, `[batch.., event..]`.
    fn mean(&self) -> Tensor<T>;

    /// The variance of each element, `[batch.., event..]`.
    fn variance(&self) -> Tensor<T>;

    /// The standard deviation of each element, `[batch.., event..]`.
    fn stddev(&self) -> Tensor<T> {
        self.variance().sqrt()
    }

    /// The Kullback-Leibler divergence `E (log p - log q)` of this one, `p`, from `other`, `q`, in nats; their batches
    /// broadcast.
    fn kl(&self, other: &Self) -> Tensor<T>;
}

/// A distribution whose draws are functions of its parameters, so that gradients flow through them.
pub trait Reparameterized<T: Float = f32>: Distribution<T, Value = T> {
    /// Independent draws `[shape.., batch.., event..]`, with gradients of the parameters.
    fn rsample(&self, shape: impl Into<Shape>) -> Tensor<T>;
}

/// Draws without a gradient.
fn sampled<T: Float>(rsample: impl FnOnce() -> Tensor<T>) -> Tensor<T> {
    no_record(rsample).detach()
}

/// `[a.., b..]`.
#[track_caller]
fn joined(a: &[usize], b: &[usize]) -> Shape {
    Shape::new(&[a, b].concat())
}

/// Independent draws of `draw`, each of so many `words` of the thread's generator.
#[inline(never)]
pub(crate) fn noise<T: Float>(shape: Shape, words: u64, draw: fn(&mut Rng) -> f64) -> Tensor<T> {
    with_thread_rng(|rng| Tensor::drawn(shape, rng, words, |rng| T::of(draw(rng))))
}

/// Independent standard normal values.
fn normals<T: Float>(shape: Shape) -> Tensor<T> {
    with_thread_rng(|rng| Tensor::normals(shape, rng))
}

/// Independent values uniform in `[0, 1)`, of as many bits as `T` has.
fn uniform<T: Float>(shape: Shape) -> Tensor<T> {
    if T::DTYPE == DType::F32 { noise(shape, 1, |rng| rng.uniform_f32().into()) } else { noise(shape, 2, Rng::uniform) }
}

/// A value uniform in `(0, 1)`, whose logarithm and that of its complement are finite.
fn inner_uniform(rng: &mut Rng) -> f64 {
    rng.uniform() + 0.5 / (1u64 << 53) as f64
}

/// The smallest positive normal number, and the largest one.
fn extremes<T: Float>() -> (f64, f64) {
    if T::DTYPE == DType::F32 { (f32::MIN_POSITIVE.into(), f32::MAX.into()) } else { (f64::MIN_POSITIVE, f64::MAX) }
}

/// Refuses a parameter some of whose numbers are not what is expected: `Normal: scale: expected positive numbers, found
/// -1 at [2]`.
#[track_caller]
#[inline(never)]
pub(crate) fn expect<T: Float>(what: &str, parameter: &Tensor<T>, expected: &str, holds: fn(T) -> bool) {
    let values = parameter.packed();
    let Some(wrong) = values.elements().iter().position(|&x| !holds(x)) else { return };
    let mut left = wrong;
    let mut place: Vec<usize> = Vec::new();
    for &size in parameter.shape().iter().rev() {
        place.insert(0, left % size);
        left /= size;
    }
    ensure(false, || format!("{what}: expected {expected}, found {} at {place:?}", values.elements()[wrong]));
}

#[track_caller]
fn expect_positive<T: Float>(what: &str, parameter: &Tensor<T>) {
    expect(what, parameter, "positive numbers", |x| x > T::ZERO && x.is_finite());
}

#[track_caller]
fn expect_real<T: Float>(what: &str, parameter: &Tensor<T>) {
    expect(what, parameter, "finite numbers", T::is_finite);
}

/// `f(value)`, but minus infinity and without gradient where `outside` is true: there `f` gets a value `inside`
/// instead, as the gradient of what is not a number would not be one either.
#[track_caller]
fn on_support<T: Float>(
    value: &Tensor<T>,
    outside: Tensor<bool>,
    inside: T,
    f: impl FnOnce(&Tensor<T>) -> Tensor<T>,
) -> Tensor<T> {
    if outside.any() { f(&value.masked_fill(&outside, inside)).masked_fill(&outside, T::LOWEST) } else { f(value) }
}

/// `x log y`, 0 where both are 0.
#[track_caller]
fn xlogy<T: Float>(x: &Tensor<T>, y: &Tensor<T>) -> Tensor<T> {
    let nothing = x.eq_scalar(T::ZERO).logical_and(&y.eq_scalar(T::ZERO));
    x * y.masked_fill(&nothing, T::ONE).log()
}

/// What a discrete distribution was made from.
#[derive(Clone, Debug)]
enum Given<T: Float> {
    Probs(Tensor<T>),
    Logits(Tensor<T>),
}

impl<T: Float> Given<T> {
    fn shape(&self) -> Shape {
        match self {
            Given::Probs(x) | Given::Logits(x) => x.dims(),
        }
    }
}

/// Probabilities at least the machine's epsilon away from 0 and 1, as PyTorch keeps them before it takes logarithms.
fn inner<T: Float>(probs: &Tensor<T>) -> Tensor<T> {
    let eps = T::EPSILON.to_f64();
    probs.clamp(eps, 1.0 - eps)
}

/// Refuses numbers that are no probabilities.
#[track_caller]
fn expect_probs<T: Float>(what: &str, probs: &Tensor<T>) {
    expect(what, probs, "probabilities from 0 to 1", |p| p >= T::ZERO && p <= T::ONE);
}
