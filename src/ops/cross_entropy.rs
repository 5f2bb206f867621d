//! Softmax cross-entropy as one entry of the tape; `loss` has the reductions on top.

use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::softmax::cross_entropy::{Targets, cross_entropy, cross_entropy_back};
use crate::shape::ensure;
use crate::tensor::Tensor;

/// The cross-entropy of each row, `[rows]`, between `softmax(logits)` with `logits [rows, classes]` and the classes that
/// `targets [rows]` names, stable for any logits.
///
/// `loss = -(1 - s) w_t log p_t - s / classes * sum_c w_c log p_c` with `p = softmax(logits)`, class weights `w` (1 without
/// `weight [classes]`, which gets no gradient) and label smoothing `s`. Rows with the target `ignore_index` have loss and
/// gradient 0.
///
/// `dlogits = dloss ((sum_c q_c) p - q)` for the target `q_c = (1 - s) w_t [c = t] + s / classes w_c`.
///
/// # Panics
/// When the shapes do not fit, or a target is neither a class nor `ignore_index`.
#[track_caller]
#[inline(never)]
pub(crate) fn softmax_cross_entropy<T: Float>(
    logits: &Tensor<T>,
    targets: &Tensor<i64>,
    weight: Option<&Tensor<T>>,
    ignore_index: i64,
    label_smoothing: f64,
) -> Tensor<T> {
    let shapes = || format!("cross_entropy: {:?} and targets {:?}", logits.shape(), targets.shape());
    ensure(logits.rank() == 2, || format!("{}: expected logits [rows, classes]", shapes()));
    let (rows, classes) = (logits.size(0), logits.size(1));
    ensure(targets.shape() == [rows], || format!("{}: expected targets [{rows}]", shapes()));
    if let Some(weight) = weight {
        ensure(weight.shape() == [classes], || {
            format!("{}: expected a weight for each of {classes} classes, found {:?}", shapes(), weight.shape())
        });
    }
    ensure((0.0..=1.0).contains(&label_smoothing), || {
        format!("{}: expected label smoothing from 0 to 1, found {label_smoothing}", shapes())
    });
    let (labels, weight) = (targets.packed(), weight.map(Tensor::packed));
    for (row, &label) in labels.elements().iter().enumerate() {
        ensure(label == ignore_index || (0..classes as i64).contains(&label), || {
            format!(
                "{}: row {row}: expected a class from 0 to {} of {classes} or ignore_index {ignore_index}, found {label}",
                shapes(),
                classes as i64 - 1
            )
        });
    }
    let whole = Whole { labels, weight, ignore_index, label_smoothing: T::of(label_smoothing) };
    let x = logits.packed();
    let mut stats = vec![[T::ZERO; 2]; rows];
    let losses = Tensor::build([rows], |losses| {
        cross_entropy([rows, classes], x.elements(), whole.targets(), losses, &mut stats);
    });
    record_op("cross_entropy", losses, [logits], || {
        let logits = logits.clone();
        move |pull: Pull<T>| {
            if is_recording() {
                let (q, sums) = whole.distribution([rows, classes]);
                let slope = logits.softmax(1) * sums - q;
                return [Some(slope * pull.grad.unsqueeze(1))];
            }
            let grad = pull.grad.packed();
            let x = logits.packed();
            [Some(Tensor::build([rows, classes], |dx| {
                cross_entropy_back([rows, classes], x.elements(), whole.targets(), &stats, grad.elements(), dx);
            }))]
        }
    })
}

/// The targets with what they borrow from.
struct Whole<T: Float> {
    labels: Tensor<i64>,
    weight: Option<Tensor<T>>,
    ignore_index: i64,
    label_smoothing: T,
}

impl<T: Float> Whole<T> {
    fn targets(&self) -> Targets<'_, T> {
        Targets {
            labels: self.labels.elements(),
            weight: self.weight.as_ref().map(Tensor::elements),
            ignore_index: self.ignore_index,
            label_smoothing: self.label_smoothing,
        }
    }

    /// The targets as numbers, `[rows, classes]`, and their sums, `[rows, 1]`.
    fn distribution(&self, [rows, classes]: [usize; 2]) -> (Tensor<T>, Tensor<T>) {
        let mut sums = vec![T::ZERO; rows];
        let q = Tensor::build([rows, classes], |q| self.targets().distribution(classes, q, &mut sums));
        (q, Tensor::from_vec(sums, [rows, 1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck, record};

    fn noise(shape: impl Into<crate::Shape>) -> Tensor<f64> {
        (Tensor::randn_with(shape, &mut crate::Rng::new(5)) * 3.0).cast()
    }

    fn labels(labels: &[i64]) -> Tensor<i64> {
        Tensor::from_slice(labels, [labels.len()])
    }

    #[test]
    fn gradients_agree_with_finite_differences_in_first_and_second_order() {
        let weight = noise([4]).abs();
        for logits in [noise([3, 4]), noise([4, 3]).t(), noise([3, 8]).narrow(1, 1, 4), noise([1, 4]).expand([3, 4])] {
            for weight in [None, Some(&weight)] {
                for smoothing in [0.0, 0.2, 1.0] {
                    let targets = labels(&[2, -100, 0]);
                    let f =
                        |x: &[Tensor<f64>]| softmax_cross_entropy(&x[0], &targets, weight, -100, smoothing).square();
                    gradcheck(f, std::slice::from_ref(&logits)).unwrap();
                    gradgradcheck(f, std::slice::from_ref(&logits)).unwrap();
                }
            }
        }
        let f = |x: &[Tensor<f64>]| softmax_cross_entropy(&x[0], &labels(&[]), None, -100, 0.0);
        gradcheck(f, &[noise([0, 4])]).unwrap();
        let f = |x: &[Tensor<f64>]| softmax_cross_entropy(&x[0], &labels(&[0, 0]), None, -100, 0.1);
        gradgradcheck(f, &[noise([2, 1])]).unwrap();
    }

    #[test]
    fn it_is_the_log_softmax_of_the_target() {
        let logits = noise([3, 4]);
        let losses = softmax_cross_entropy(&logits, &labels(&[3, 7, 1]), None, 7, 0.0);
        let log_p = logits.log_softmax(1);
        let expected = [-log_p.get(&[0, 3]), 0.0, -log_p.get(&[2, 1])];
        losses.to_vec().iter().zip(expected).for_each(|(y, e)| assert!((y - e).abs() < 1e-14));
    }

    #[test]
    fn a_strided_view_of_targets_is_read_as_its_copy() {
        let (logits, all) = (noise([3, 4]), labels(&[0, 9, 1, 9, 2, 9]));
        let view = all.reshape([3, 2]).select(1, 0);
        let y = softmax_cross_entropy(&logits, &view, None, -100, 0.0);
        assert_eq!(y.to_vec(), softmax_cross_entropy(&logits, &labels(&[0, 1, 2]), None, -100, 0.0).to_vec());
    }

    #[test]
    fn nothing_but_ignored_rows_needs_no_class() {
        let y = softmax_cross_entropy(&noise([2, 0]), &labels(&[-1, -1]), None, -1, 0.0);
        assert_eq!(y.to_vec(), [0.0, 0.0]);
    }

    #[test]
    fn the_gradient_is_softmax_less_the_target() {
        let x = noise([3, 4]).tracked();
        let grads = record(|| softmax_cross_entropy(&x, &labels(&[0, 1, 2]), None, -100, 0.0).sum()).backward();
        let p = x.softmax(1).to_vec();
        let expected: Vec<f64> = (0..12).map(|i| p[i] - f64::from(u8::from(i % 4 == i / 4))).collect();
        grads.of(&x).to_vec().iter().zip(expected).for_each(|(g, e)| assert!((g - e).abs() < 1e-14));
    }

    #[test]
    #[should_panic(expected = "cross_entropy: [2, 3] and targets [2]: row 1: expected a class from 0 to 2 of 3 or \
                               ignore_index -100, found 3")]
    fn a_label_that_is_no_class_is_refused_by_name() {
        softmax_cross_entropy(&noise([2, 3]), &labels(&[0, 3]), None, -100, 0.0);
    }

    #[test]
    #[should_panic(expected = "cross_entropy: [2, 3] and targets [3]: expected targets [2]")]
    fn another_number_of_targets_is_refused() {
        softmax_cross_entropy(&noise([2, 3]), &labels(&[0, 1, 2]), None, -100, 0.0);
    }
}
