//! Losses, in numerically stable form, from logits.
//!
//! Each takes the predictions first and the targets second and gives the mean, as PyTorch's do; the `_with` form takes
//! options.

mod ctc;

pub use ctc::{CtcOptions, ctc_loss, ctc_loss_with};

use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::ops::softmax_cross_entropy;
use crate::shape::{Shape, ensure};
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

/// The cross-entropy between `softmax(logits)` and the given classes: `-log softmax(logits)[target]`, its mean.
///
/// * `logits` `[batch, classes]`, or `[batch, classes, d1, ..]` with a class for each place, or `[classes]`
/// * `target` `[batch]`, `[batch, d1, ..]` or `[]`
///
/// Finite, with the right gradient `(softmax(logits) - one_hot(target)) / batch`, for any finite logits.
///
/// ```
/// use wengert::{Tensor, loss::cross_entropy};
/// let logits = Tensor::from([[0.0_f32, 0.0], [1e4, -1e4]]);
/// let loss = cross_entropy(&logits, &Tensor::from([1, 0]));
/// assert!((loss.item() - 2f32.ln() / 2.0).abs() < 1e-6);
/// ```
///
/// # Panics
/// When the shapes do not fit, or a target is not a class.
#[track_caller]
pub fn cross_entropy<T: Float>(logits: &Tensor<T>, target: &Tensor<i64>) -> Tensor<T> {
    cross_entropy_with(logits, target, CrossEntropyOptions::default())
}

/// What can be set of [`cross_entropy_with`].
#[derive(Clone, Debug)]
pub struct CrossEntropyOptions<T: Float = f32> {
    /// A factor for each class, `[classes]`; the mean is then weighted by the targets' factors.
    pub weight: Option<Tensor<T>>,
    /// Targets with this number count for nothing; -100 by default.
    pub ignore_index: i64,
    /// How much of the target is spread evenly over all classes (Szegedy et al., 2016); 0 by default.
    pub label_smoothing: f64,
    /// What becomes of the losses of the single targets.
    pub reduction: Reduction,
}

impl<T: Float> Default for CrossEntropyOptions<T> {
    fn default() -> Self {
        CrossEntropyOptions { weight: None, ignore_index: -100, label_smoothing: 0.0, reduction: Reduction::Mean }
    }
}

/// [`cross_entropy`] with options, as PyTorch's `cross_entropy`. The mean over nothing but ignored targets is NaN.
///
/// # Panics
/// As [`cross_entropy`].
#[track_caller]
#[inline(never)]
pub fn cross_entropy_with<T: Float>(
    logits: &Tensor<T>,
    target: &Tensor<i64>,
    options: CrossEntropyOptions<T>,
) -> Tensor<T> {
    // The classes last: [batch, d1, .., classes]
    let (shape, class_dim) = (logits.dims(), if logits.rank() == 1 { 0 } else { 1 });
    ensure(shape.rank() > 0, || "cross_entropy: []: expected logits [batch, classes]".to_string());
    let expected: Vec<usize> = shape.iter().enumerate().filter(|&(d, _)| d != class_dim).map(|(_, &n)| n).collect();
    ensure(target.shape() == expected, || {
        format!("cross_entropy: {shape} and targets {:?}: expected targets {expected:?}", target.shape())
    });
    let mut order: Vec<isize> = (0..shape.rank() as isize).collect();
    order.remove(class_dim);
    order.push(class_dim as isize);
    let rows = target.numel();
    let logits =
        if shape.rank() == 2 { logits.clone() } else { logits.permute(&order).reshape([rows, shape[class_dim]]) };
    let target = target.reshape([rows]);
    let CrossEntropyOptions { weight, ignore_index, label_smoothing, reduction } = options;
    let losses = softmax_cross_entropy(&logits, &target, weight.as_ref(), ignore_index, label_smoothing);
    match reduction {
        Reduction::Sum => losses.sum(),
        Reduction::None => losses.reshape(Shape::new(&expected)),
        Reduction::Mean => {
            let counted = target.ne_scalar(ignore_index).cast::<T>();
            let total = match &weight {
                Some(weight) => {
                    let known = target.eq_scalar(ignore_index).cast::<i64>();
                    // An ignored target takes the weight of class 0, times 0.
                    let classes = &target * &(known * -1 + 1);
                    (weight.detach().index_select(0, &classes) * counted).sum().item()
                }
                None => counted.sum().item(),
            };
            losses.sum() / total
        }
    }
}

/// Refuses a target of another shape. Broadcasting would be convenient and wrong: `[batch, 1]` and `[batch]` would give
/// `[batch, batch]` losses.
#[track_caller]
fn same_shape<T: Float>(loss: &str, x: &Tensor<T>, target: &Tensor<T>) {
    ensure(x.shape() == target.shape(), || {
        format!("{loss}: {:?} and targets {:?}: expected the same shape", x.shape(), target.shape())
    });
}

/// The mean squared error `(x - target)^2`.
///
/// ```
/// use wengert::{Tensor, loss::mse_loss};
/// assert_eq!(mse_loss(&Tensor::from([1.0_f32, 4.0]), &Tensor::from([0.0, 2.0])).item(), 2.5);
/// ```
///
/// # Panics
/// When the shapes differ.
#[track_caller]
pub fn mse_loss<T: Float>(x: &Tensor<T>, target: &Tensor<T>) -> Tensor<T> {
    mse_loss_with(x, target, Reduction::Mean)
}

/// [`mse_loss`] with a reduction.
///
/// # Panics
/// As [`mse_loss`].
#[track_caller]
#[inline(never)]
pub fn mse_loss_with<T: Float>(x: &Tensor<T>, target: &Tensor<T>, reduction: Reduction) -> Tensor<T> {
    same_shape("mse_loss", x, target);
    let y = x.zip_to("mse_loss", target, |x, t| (x - t) * (x - t));
    reduction.of(record_op("mse_loss", y, [x, target], || {
        let (x, t) = (x.clone(), target.clone());
        move |pull: Pull<T>| {
            // dx = 2 (x - t) g, dt = -dx
            let d = (&x - &t) * T::of(2.0) * &pull.grad;
            [pull.when(0, |_| d.clone()), pull.when(1, |_| -&d)]
        }
    }))
}

/// Binary cross-entropy from logits: `-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)) = log(1 + e^x) - t x`, its mean.
/// Targets are probabilities.
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
/// When the shapes differ.
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
#[inline(never)]
pub fn binary_cross_entropy_with_logits_with<T: Float>(
    logits: &Tensor<T>,
    target: &Tensor<T>,
    options: BinaryCrossEntropyOptions<T>,
) -> Tensor<T> {
    same_shape("binary_cross_entropy_with_logits", logits, target);
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
                slope * grad
            });
            [dx, pull.when(1, |grad| -(&x * grad))]
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;

    #[test]
    fn losses_and_gradients_are_finite_and_right_at_logits_of_ten_thousand() {
        let x = Tensor::from([[1e4_f32, -1e4], [-1e4, 1e4], [0.0, 1e4]]).tracked();
        let loss = record(|| cross_entropy(&x, &Tensor::from([0, 0, 1])));
        assert_eq!(loss.item(), 2e4 / 3.0);
        let third = 1.0 / 3.0;
        assert_eq!(loss.backward().of(&x).to_vec(), [0.0, 0.0, -third, third, 0.0, 0.0]);

        let x = Tensor::from([1e4_f32, -1e4, 1e4, -1e4]).tracked();
        let loss = record(|| binary_cross_entropy_with_logits(&x, &Tensor::from([1.0, 0.0, 0.0, 1.0])));
        assert_eq!(loss.item(), 5e3);
        assert_eq!(loss.backward().of(&x).to_vec(), [0.0, 0.0, 0.25, -0.25]);
        let options = BinaryCrossEntropyOptions { pos_weight: Some(Tensor::from([3.0])), reduction: Reduction::None };
        let loss = binary_cross_entropy_with_logits_with(&x, &Tensor::from([1.0, 0.0, 0.0, 1.0]), options);
        assert_eq!(loss.to_vec(), [0.0, 0.0, 1e4, 3e4]);

        let loss = mse_loss(&x, &Tensor::from([-1e4; 4]));
        assert_eq!(loss.item(), 2e8);
    }

    #[test]
    fn the_weighted_mean_leaves_ignored_targets_out() {
        let logits = Tensor::<f64>::from([[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]);
        let options =
            CrossEntropyOptions { weight: Some(Tensor::from([1.0, 3.0])), ignore_index: 9, ..Default::default() };
        let loss = cross_entropy_with(&logits, &Tensor::from([0, 1, 9]), options.clone());
        assert!((loss.item() - 2f64.ln()).abs() < 1e-15);
        assert!(cross_entropy_with(&logits, &Tensor::from([9, 9, 9]), options).item().is_nan());
    }

    #[test]
    fn classes_stand_in_the_second_dimension() {
        let logits = Tensor::<f64>::from_fn([2, 3, 4], |i| (i as f64 * 1.3).sin());
        let target = Tensor::from_fn([2, 4], |i| i as i64 % 3);
        let options = CrossEntropyOptions { reduction: Reduction::None, ..Default::default() };
        let losses = cross_entropy_with(&logits, &target, options);
        for (b, p) in [(0, 0), (1, 2), (0, 3)] {
            let row = logits.i((b, .., p)).log_softmax(0);
            let expected = -row.get(&[target.get(&[b, p]) as usize]);
            assert!((losses.get(&[b, p]) - expected).abs() < 1e-15);
        }
        let single = cross_entropy(&logits.i((0, .., 0)), &Tensor::scalar(0));
        assert!((single.item() - losses.get(&[0, 0])).abs() < 1e-15);
    }

    #[test]
    #[should_panic(expected = "cross_entropy: [2, 3, 4] and targets [2, 3]: expected targets [2, 4]")]
    fn targets_of_another_shape_are_refused() {
        cross_entropy(&Tensor::zeros([2, 3, 4]), &Tensor::full([2, 3], 0));
    }

    #[test]
    #[should_panic(expected = "mse_loss: [4, 1] and targets [4]: expected the same shape")]
    fn a_column_and_a_row_are_not_broadcast_to_a_square() {
        mse_loss(&Tensor::zeros([4, 1]), &Tensor::zeros([4]));
    }

    #[test]
    #[should_panic(expected = "binary_cross_entropy_with_logits: [4, 1] and targets [4]: expected the same shape")]
    fn nor_are_logits_and_their_targets() {
        binary_cross_entropy_with_logits(&Tensor::zeros([4, 1]), &Tensor::zeros([4]));
    }
}
