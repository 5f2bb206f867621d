//! Draws from gamma distributions that move with their concentration.

use crate::autograd::{Pull, record_op};
use crate::element::Float;
use crate::kernels::gamma;
use crate::rng::with_thread_rng;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// The logarithm of a draw from the gamma distribution of rate 1 for each element of `concentration`, from the thread's
/// generator ([`crate::seed`]). It is finite where the draw itself would be too small for a number.
///
/// The gradient is that of [`log_standard_gamma_from`].
///
/// # Panics
/// When a concentration is not a positive finite number.
#[track_caller]
#[inline(never)]
pub fn log_standard_gamma<T: Float>(concentration: &Tensor<T>) -> Tensor<T> {
    let packed = concentration.packed();
    for a in packed.elements() {
        ensure(*a > T::ZERO && a.is_finite(), || {
            format!("log_standard_gamma: expected positive finite concentrations, found {a}")
        });
    }
    let draws = with_thread_rng(|rng| {
        Tensor::from_fn(concentration.dims(), |i| T::of(gamma::log_draw(packed.elements()[i].to_f64(), rng)))
    });
    log_standard_gamma_from(concentration, &draws)
}

/// Draws from gamma distributions of rate 1, given as logarithms, as functions of their concentration: each moves so
/// that its rank among all draws stays. `d log z / d concentration = -(dP / d concentration) / (z dP / dz)`, with the
/// distribution function `P`.
///
/// The rule has no second order.
///
/// Figurnov, Mohamed, Mnih, "Implicit reparameterization gradients", 2018.
///
/// # Panics
/// When the shapes differ.
#[track_caller]
#[inline(never)]
pub fn log_standard_gamma_from<T: Float>(concentration: &Tensor<T>, draws: &Tensor<T>) -> Tensor<T> {
    ensure(concentration.shape() == draws.shape(), || {
        format!("log_standard_gamma: {:?} and draws {:?}: the shapes differ", concentration.shape(), draws.shape())
    });
    record_op("log_standard_gamma", draws.detached(), [concentration], || {
        let (concentration, draws) = (concentration.packed(), draws.packed());
        move |pull: Pull<T>| {
            pull.first_order_only();
            let grad = pull.grad.packed();
            let [a, z, grad] = [&concentration, &draws, &grad].map(Tensor::elements);
            [Some(Tensor::build(concentration.dims(), |dx| gamma::log_draws_back(a, z, grad, dx)))]
        }
    })
}
