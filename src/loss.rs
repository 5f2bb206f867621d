//! Losses, in numerically stable form, from logits.
//!
//! Each takes the predictions first and the targets second and gives the mean, as PyTorch's do; the `_with` form takes
//! options.

use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::ops::unbroadcast;
use crate::tensor::Tensor;

/// What becomes of the losses of the single elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are.
    None,
}

impl Reduction {
    #[track_caller]
    fn of<T: Float>(self, losses: Tensor<T>) -> Tensor<T> {
        match self {
            Reduction::Mean => losses.mean(),
            Reduction::Sum => losses.sum(),
            Reduction::None => losses,
        }
    }
}

/// The mean squared error `(x - target)^2`; the shapes broadcast.
///
/// ```
/// use wengert::{Tensor, loss::mse_loss};
/// assert_eq!(mse_loss(&Tensor::from([1.0_f32, 4.0]), &Tensor::from([0.0, 2.0])).item(), 2.5);
/// ```
///
/// # Panics
/// When the shapes do not broadcast together.
#[track_caller]
pub fn mse_loss<T: Float>(x: &Tensor<T>, target: &Tensor<T>) -> Tensor<T> {
    mse_loss_with(x, target, Reduction::Mean)
}

/// [`mse_loss`] with a reduction.
///
/// # Panics
/// As [`mse_loss`].
#[track_caller]
pub fn mse_loss_with<T: Float>(x: &Tensor<T>, target: &Tensor<T>, reduction: Reduction) -> Tensor<T> {
    let y = x.zip_to("mse_loss", target, |x, t| (x - t) * (x - t));
    reduction.of(record_op("mse_loss", y, [x, target], || {
        let (x, t) = (x.clone(), target.clone());
        move |pull: Pull<T>| {
            // dx = 2 (x - t) g, dt = -dx
            let d = (&x - &t) * T::of(2.0) * &pull.grad;
            [pull.when(0, |_| unbroadcast(d.clone(), &x.dims())), pull.when(1, |_| unbroadcast(-&d, &t.dims()))]
        }
    }))
}

/// Binary cross-entropy from logits: `-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)) = log(1 + e^x) - t x`, its mean.
/// Targets are probabilities; the shapes broadcast.
///
/// Finite, with the right gradient, for any finite logit.
///
/// ```
/// use wengert::{Tensor, loss::binary_cross_entropy_with_logits};
/// let logits = Tensor::from([1e4_f32, -1e4]);
/// assert_eq!(binary_cross_entropy_with_logits(&logits, &Tensor::from([1.0, 1.0])).item(), 5e3);
/// ```
///
/// # Panics
/// When the shapes do not broadcast together.
#[track_caller]
pub fn binary_cross_entropy_with_logits<T: Float>(logits: &Tensor<T>, target: &Tensor<T>) -> Tensor<T> {
    binary_cross_entropy_with_logits_with(logits, target, BinaryCrossEntropyOptions::default())
}

/// What can be set of [`binary_cross_entropy_with_logits_with`].
#[derive(Clone, Debug)]
pub struct BinaryCrossEntropyOptions<T: Float = f32> {
    /// The factor of the positive part, `t`; broadcasts.
    pub pos_weight: Option<Tensor<T>>,
    /// What becomes of the losses of the single elements.
    pub reduction: Reduction,
}

impl<T: Float> Default for BinaryCrossEntropyOptions<T> {
    fn default() -> Self {
        BinaryCrossEntropyOptions { pos_weight: None, reduction: Reduction::Mean }
    }
}

/// [`binary_cross_entropy_with_logits`] with options: with a positive weight `w` the loss is
/// `-w t log sigmoid(x) - (1 - t) log(1 - sigmoid(x))`.
///
/// # Panics
/// As [`binary_cross_entropy_with_logits`].
#[track_caller]
pub fn binary_cross_entropy_with_logits_with<T: Float>(
    logits: &Tensor<T>,
    target: &Tensor<T>,
    options: BinaryCrossEntropyOptions<T>,
) -> Tensor<T> {
    if let Some(weight) = &options.pos_weight {
        // (1 - t) x + (1 + (w - 1) t) log(1 + e^-x)
        let positive = (weight - T::ONE) * target + T::ONE;
        let losses = (-target + T::ONE) * logits + positive * (-logits).softplus();
        return options.reduction.of(losses);
    }
    let y = logits.zip_to("binary_cross_entropy_with_logits", target, |x, t| x.softplus() - t * x);
    options.reduction.of(record_op("binary_cross_entropy_with_logits", y, [logits, target], || {
        let (x, t) = (logits.clone(), target.clone());
        move |pull: Pull<T>| {
            // dx = (sigmoid(x) - t) g, dt = -x g
            let dx = pull.when(0, |grad| {
                let slope =
                    if is_recording() { x.sigmoid() - &t } else { x.zip_to("backward", &t, |x, t| x.sigmoid() - t) };
                unbroadcast(slope * grad, &x.dims())
            });
            [dx, pull.when(1, |grad| unbroadcast(-(&x * grad), &t.dims()))]
        }
    }))
}
