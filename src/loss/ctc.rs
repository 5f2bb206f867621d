//! Connectionist temporal classification.

use super::Reduction;
use crate::autograd::{Pull, record_op};
use crate::element::Float;
use crate::kernels::ctc::{Labels, ctc, ctc_back};
use crate::shape::ensure;
use crate::tensor::Tensor;

/// The loss of sequences whose labels are known, but not at which step each is read: `-log P(targets)`, where `P` adds up the
/// probabilities of all paths that read as the targets once repetitions are merged and blanks (class 0) taken out. The mean
/// over the batch of each loss divided by its number of targets, as in PyTorch.
///
/// * `log_probs` `[time, batch, classes]`, from `log_softmax`
/// * `targets` `[batch, longest]` with anything behind the shorter ones, or all one after the other, `[sum of target_lengths]`
/// * `input_lengths`, `target_lengths` one for each sequence
///
/// The gradient is that of `log_probs` as they are, `-P(class at the step | targets)`. PyTorch's has `exp(log_probs)` added,
/// which `log_softmax` takes out again: behind it both give the logits the same.
///
/// ```
/// use wengert::{Tensor, loss::ctc_loss};
/// // Two steps, and a label that may be read at the first, at the second or at both.
/// let log_probs = Tensor::from([[[0.5_f32, 0.5]], [[0.5, 0.5]]]).log();
/// let loss = ctc_loss(&log_probs, &Tensor::from([[1]]), &[2], &[1]);
/// assert!((loss.item() + 0.75_f32.ln()).abs() < 1e-6);
/// ```
///
/// Graves, Fernandez, Gomez, Schmidhuber, "Connectionist temporal classification", ICML 2006.
///
/// # Panics
/// When the shapes do not fit, a length is larger than what there is, or a target is not a class or is the blank.
#[track_caller]
pub fn ctc_loss<T: Float>(
    log_probs: &Tensor<T>,
    targets: &Tensor<i64>,
    input_lengths: &[usize],
    target_lengths: &[usize],
) -> Tensor<T> {
    ctc_loss_with(log_probs, targets, input_lengths, target_lengths, CtcOptions::default())
}

/// What can be set of [`ctc_loss_with`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtcOptions {
    /// The class that reads as nothing; 0 by default.
    pub blank: usize,
    /// What becomes of the losses of the single sequences; their mean is that of the losses per target.
    pub reduction: Reduction,
    /// Whether a sequence with too few steps for its targets, whose loss is infinite, has loss and gradient 0. By default it
    /// has not, and its gradient is NaN.
    pub zero_infinity: bool,
}

/// [`ctc_loss`] with options, as PyTorch's `ctc_loss`. There is no second order.
///
/// # Panics
/// As [`ctc_loss`], and under `backward_graph`.
#[track_caller]
#[inline(never)]
pub fn ctc_loss_with<T: Float>(
    log_probs: &Tensor<T>,
    targets: &Tensor<i64>,
    input_lengths: &[usize],
    target_lengths: &[usize],
    options: CtcOptions,
) -> Tensor<T> {
    let shapes = || format!("ctc_loss: {:?} and targets {:?}", log_probs.shape(), targets.shape());
    ensure(log_probs.rank() == 3, || format!("{}: expected log_probs [time, batch, classes]", shapes()));
    let dims = [0, 1, 2].map(|d| log_probs.shape()[d]);
    let [time, batch, classes] = dims;
    for (what, lengths) in [("input_lengths", input_lengths), ("target_lengths", target_lengths)] {
        ensure(lengths.len() == batch, || {
            format!("{}: expected {batch} {what}, one for each sequence, found {}", shapes(), lengths.len())
        });
    }
    ensure(input_lengths.iter().all(|&length| length <= time), || {
        format!("{}: expected input_lengths up to {time}, found {input_lengths:?}", shapes())
    });
    ensure(options.blank < classes, || {
        format!("{}: expected a blank from 0 to {} of {classes}, found {}", shapes(), classes as i64 - 1, options.blank)
    });
    let reading = Reading::new(targets, input_lengths, target_lengths, options.blank, &shapes);
    let foreign = reading.labels.iter().find(|&&label| label >= classes || label == options.blank);
    ensure(foreign.is_none(), || {
        let label = foreign.map_or(0, |&label| label as i64);
        format!(
            "{}: expected targets from 0 to {} but the blank {}, found {label}",
            shapes(),
            classes - 1,
            options.blank
        )
    });
    let x = log_probs.packed();
    let labels = reading.labels();
    let mut losses = Vec::new();
    let rows = Tensor::build([batch, labels.kept(time)], |rows| {
        losses.resize(batch, T::ZERO);
        ctc(dims, x.elements(), labels, rows, &mut losses);
    });
    let mut y = Tensor::from_slice(&losses, [batch]);
    if options.zero_infinity {
        y = y.map_to(|loss| if loss == T::HIGHEST { T::ZERO } else { loss });
    }
    let infinite = if options.zero_infinity { T::ZERO } else { T::of(f64::NAN) };
    let y = record_op("ctc_loss", y, [log_probs], || {
        move |pull: Pull<T>| {
            pull.first_order_only();
            let grad = pull.grad.packed();
            [Some(Tensor::build(dims, |dx| {
                let (rows, labels) = (rows.elements(), reading.labels());
                ctc_back(dims, x.elements(), labels, rows, &losses, grad.elements(), infinite, dx);
            }))]
        }
    });
    match options.reduction {
        Reduction::Mean => {
            let weights = Tensor::from_fn([batch], |b| T::ONE / T::of(target_lengths[b].max(1) as f64));
            (y * weights).mean()
        }
        reduction => reduction.of(y),
    }
}

/// What the sequences should read as.
struct Reading {
    labels: Vec<usize>,
    starts: Vec<usize>,
    steps: Vec<usize>,
    blank: usize,
}

impl Reading {
    /// Of padded targets, or of targets one after the other. A negative label becomes one that is no class.
    #[track_caller]
    fn new(
        targets: &Tensor<i64>,
        input_lengths: &[usize],
        target_lengths: &[usize],
        blank: usize,
        shapes: &dyn Fn() -> String,
    ) -> Reading {
        let batch = target_lengths.len();
        let mut starts = vec![0];
        for length in target_lengths {
            starts.push(starts[starts.len() - 1] + length);
        }
        let total = starts[batch];
        let packed = targets.packed();
        let label = |&label: &i64| usize::try_from(label).unwrap_or(usize::MAX);
        let labels = if targets.rank() == 1 {
            ensure(targets.numel() == total, || {
                format!("{}: expected targets [batch, longest], or [{total}] for these lengths", shapes())
            });
            packed.elements().iter().map(label).collect()
        } else {
            let fits = targets.rank() == 2 && targets.shape()[0] == batch;
            ensure(fits, || format!("{}: expected targets [{batch}, longest]", shapes()));
            let longest = targets.shape()[1];
            ensure(target_lengths.iter().all(|&length| length <= longest), || {
                format!("{}: expected target_lengths up to {longest}, found {target_lengths:?}", shapes())
            });
            let rows = packed.elements().chunks(longest.max(1)).zip(target_lengths);
            rows.flat_map(|(row, &length)| row[..length].iter().map(label)).collect()
        };
        Reading { labels, starts, steps: input_lengths.to_vec(), blank }
    }

    fn labels(&self) -> Labels<'_> {
        Labels { labels: &self.labels, starts: &self.starts, steps: &self.steps, blank: self.blank }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, record};

    fn noise(shape: [usize; 3]) -> Tensor<f64> {
        Tensor::randn_with(shape, &mut crate::Rng::new(5)).cast()
    }

    #[test]
    fn gradients_agree_with_finite_differences_in_every_layout() {
        let targets = Tensor::from([[1, 1, 3], [2, 9, 9]]);
        let (whole, transposed) = (noise([6, 2, 4]), noise([4, 2, 6]).permute(&[2, 1, 0]));
        let views = [whole, transposed, noise([6, 2, 7]).narrow(2, 2, 4), noise([6, 1, 4]).expand([6, 2, 4])];
        for x in views {
            for reduction in [Reduction::None, Reduction::Sum, Reduction::Mean] {
                let options = CtcOptions { reduction, ..Default::default() };
                let f = |x: &[Tensor<f64>]| ctc_loss_with(&x[0], &targets, &[6, 4], &[3, 1], options).tanh();
                gradcheck(f, std::slice::from_ref(&x)).unwrap();
            }
        }
        let none = Tensor::full([0, 3], 0);
        let options = CtcOptions { reduction: Reduction::Sum, ..Default::default() };
        gradcheck(|x| ctc_loss_with(&x[0], &none, &[], &[], options), &[noise([3, 0, 2])]).unwrap();
    }

    #[test]
    fn targets_may_stand_padded_or_one_after_the_other() {
        let x = noise([5, 3, 4]).log_softmax(2);
        let (inputs, lengths) = ([5, 5, 4], [2, 0, 1]);
        let options = CtcOptions { reduction: Reduction::None, ..Default::default() };
        let padded = Tensor::from([[1, 2], [7, -7], [3, 0]]);
        let losses = ctc_loss_with(&x, &padded, &inputs, &lengths, options);
        assert_eq!(losses.to_vec(), ctc_loss_with(&x, &Tensor::from([1, 2, 3]), &inputs, &lengths, options).to_vec());
        let mean = ctc_loss(&x, &padded, &inputs, &lengths).item();
        let [a, b, c] = losses.to_vec()[..] else { panic!() };
        assert!((mean - (a / 2.0 + b + c) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn too_few_steps_have_an_infinite_loss_or_none() {
        let x = noise([3, 2, 4]).log_softmax(2).tracked();
        let (targets, lengths) = (Tensor::from([[1, 1], [1, 2]]), [2, 2]);
        for zero_infinity in [false, true] {
            let options = CtcOptions { zero_infinity, reduction: Reduction::None, ..Default::default() };
            let losses = record(|| ctc_loss_with(&x, &targets, &[2, 2], &lengths, options));
            assert!(losses.get(&[0]) == if zero_infinity { 0.0 } else { f64::INFINITY } && losses.get(&[1]) < 100.0);
            let grad = losses.backward_with(&Tensor::from([1.0, 1.0])).of(&x);
            let first = grad.i((..2, 0)).to_vec();
            assert!(first.iter().all(|g| if zero_infinity { *g == 0.0 } else { g.is_nan() }), "{first:?}");
            assert!(grad.i((2, ..)).to_vec().iter().all(|&g| g == 0.0), "steps beyond the length have no gradient");
            assert!((grad.i((..2, 1)).sum().item() + 2.0).abs() < 1e-12);
        }
    }

    #[test]
    #[should_panic(expected = "backward_graph: ctc_loss at ")]
    fn second_order_is_refused_by_name() {
        let x = noise([3, 1, 4]).tracked();
        record(|| ctc_loss(&x, &Tensor::from([[1]]), &[3], &[1]).backward_graph());
    }

    #[test]
    #[should_panic(
        expected = "ctc_loss: [3, 1, 4] and targets [1, 1]: expected targets from 0 to 3 but the blank 2, found 2"
    )]
    fn the_blank_is_no_target() {
        let options = CtcOptions { blank: 2, ..Default::default() };
        ctc_loss_with(&noise([3, 1, 4]), &Tensor::from([[2]]), &[3], &[1], options);
    }

    #[test]
    #[should_panic(expected = "ctc_loss: [3, 1, 4] and targets [1, 1]: expected input_lengths up to 3, found [4]")]
    fn more_steps_than_there_are_panic() {
        ctc_loss(&noise([3, 1, 4]), &Tensor::from([[2]]), &[4], &[1]);
    }

    #[test]
    #[should_panic(
        expected = "ctc_loss: [3, 2, 4] and targets [3]: expected targets [batch, longest], or [2] for these"
    )]
    fn another_number_of_targets_panics() {
        ctc_loss(&noise([3, 2, 4]), &Tensor::from([1, 2, 3]), &[3, 3], &[1, 1]);
    }
}
