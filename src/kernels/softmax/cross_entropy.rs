//! Softmax cross-entropy from logits `[rows, classes]` and class labels.
//!
//! A row's loss is `-sum_c q_c log softmax(x)_c` with the target `q_c = (1 - s) w_t [c = t] + s / classes w_c` for label `t`,
//! class weights `w` and label smoothing `s` (Szegedy et al., 2016); its gradient is `(sum_c q_c) softmax(x)_c - q_c`. The
//! logits are read twice, once for each; no array of probabilities is kept in between.

use super::rows::{block, exp_rows, row_sums, sum_of};
use super::rows_per_task;
use crate::element::Float;
use crate::kernels::parallel::{chunk_pairs_mut, chunks_mut};
use crate::kernels::simd::{isa, simd};

/// What the rows should be.
#[derive(Clone, Copy)]
pub struct Targets<'a, T> {
    /// The class of each row.
    pub labels: &'a [i64],
    /// The weight of each class; `None` is 1 for all.
    pub weight: Option<&'a [T]>,
    /// Rows with this label have loss and gradient 0.
    pub ignore_index: i64,
    /// The part of the target that is spread over all classes.
    pub label_smoothing: T,
}

impl<T: Float> Targets<'_, T> {
    #[inline(always)]
    fn weight_of(&self, label: i64) -> T {
        self.weight.map_or(T::ONE, |weight| weight[label as usize])
    }

    /// The target of a label without the part that is spread.
    #[inline(always)]
    fn peak(&self, label: i64) -> T {
        (T::ONE - self.label_smoothing) * self.weight_of(label)
    }

    /// What each class gets of the part that is spread, before its weight.
    fn spread(&self, classes: usize) -> T {
        self.label_smoothing / T::of(classes as f64)
    }

    /// The sum of the weights.
    fn total(&self, classes: usize) -> T {
        self.weight.map_or(T::of(classes as f64), |weight| sum_of(weight, weight, |w, _| w))
    }

    fn check(&self, [rows, classes]: [usize; 2], logits: usize) {
        assert_eq!(logits, rows * classes, "cross_entropy: logits [{rows}, {classes}]");
        assert_eq!(self.labels.len(), rows, "cross_entropy: labels [{rows}]");
        assert!(self.weight.is_none_or(|w| w.len() == classes), "cross_entropy: weight [{classes}]");
        let fits = |&label: &i64| label == self.ignore_index || (0..classes as i64).contains(&label);
        assert!(self.labels.iter().all(fits), "cross_entropy: a label is not one of {classes} classes");
    }

    /// Writes the targets `q [rows, classes]` and the sum of each row.
    ///
    /// # Panics
    /// When the sizes differ, or a label is neither a class nor ignored.
    pub fn distribution(&self, classes: usize, q: &mut [T], sums: &mut [T]) {
        self.check([sums.len(), classes], q.len());
        let (spread, total) = (self.spread(classes), self.total(classes));
        for ((q, sum), &label) in q.chunks_exact_mut(classes.max(1)).zip(sums).zip(self.labels) {
            if label == self.ignore_index {
                q.fill(T::ZERO);
                *sum = T::ZERO;
                continue;
            }
            match self.weight {
                Some(weight) => q.iter_mut().zip(weight).for_each(|(q, &w)| *q = w * spread),
                None => q.fill(spread),
            }
            q[label as usize] += self.peak(label);
            *sum = self.peak(label) + spread * total;
        }
    }
}

simd! {
    fn losses_of<FUSED>[T: Float](
        classes: usize, x: &[T], targets: Targets<T>, spread: T, total: T, losses: &mut [T], stats: &mut [[T; 2]],
    ) {
        row_sums(classes, x, |max| max, T::exp_up_to_0::<FUSED>, |row, max, sum| {
            stats[row] = [max, sum];
            let label = targets.labels[row];
            if label == targets.ignore_index {
                losses[row] = T::ZERO;
                return;
            }
            let (x, log_sum) = (&x[row * classes..][..classes], sum.ln());
            let mut loss = targets.peak(label) * (log_sum - (x[label as usize] - max));
            if spread != T::ZERO {
                let shifted = match targets.weight {
                    Some(weight) => sum_of(x, weight, |x, w| (x - max) * w),
                    None => sum_of(x, x, |x, _| x - max),
                };
                loss += spread * (total * log_sum - shifted);
            }
            losses[row] = loss;
        });
    }

    fn gradients_of<FUSED>[T: Float](
        classes: usize, x: &[T], targets: Targets<T>, spread: T, total: T, stats: &[[T; 2]], grad: &[T], dx: &mut [T],
    ) {
        let rows = block(classes);
        for (i, (x, dx)) in x.chunks(rows * classes).zip(dx.chunks_mut(rows * classes)).enumerate() {
            exp_rows(classes, x, dx, |row| stats[i * rows + row][0], T::exp_up_to_0::<FUSED>);
            for (row, dx) in dx.chunks_exact_mut(classes).enumerate() {
                let row = i * rows + row;
                let (label, sum, grad) = (targets.labels[row], stats[row][1], grad[row]);
                if label == targets.ignore_index {
                    dx.fill(T::ZERO);
                    continue;
                }
                let peak = targets.peak(label);
                let (scale, spread) = (grad * (peak + spread * total) / sum, grad * spread);
                match targets.weight {
                    Some(weight) => dx.iter_mut().zip(weight).for_each(|(dx, &w)| *dx = *dx * scale - w * spread),
                    None => dx.iter_mut().for_each(|dx| *dx = *dx * scale - spread),
                }
                dx[label as usize] = dx[label as usize] - grad * peak;
            }
        }
    }
}

/// The loss of each row of `logits [rows, classes]`, and in `stats` its largest logit and the sum of `exp(x - largest)`,
/// for [`cross_entropy_back`].
///
/// # Panics
/// When the sizes differ, or a label is neither a class nor ignored.
pub fn cross_entropy<T: Float>(
    [rows, classes]: [usize; 2],
    logits: &[T],
    targets: Targets<T>,
    losses: &mut [T],
    stats: &mut [[T; 2]],
) {
    targets.check([rows, classes], logits.len());
    assert!(losses.len() == rows && stats.len() == rows, "cross_entropy: losses and stats [{rows}]");
    if classes == 0 {
        // Without classes there is nothing but ignored rows.
        return losses.fill(T::ZERO);
    }
    let (isa, per_task) = (isa(), rows_per_task(rows, classes));
    let (spread, total) = (targets.spread(classes), targets.total(classes));
    chunk_pairs_mut((losses, per_task), (stats, per_task), |i, losses, stats| {
        let range = i * per_task..i * per_task + losses.len();
        let targets = Targets { labels: &targets.labels[range.clone()], ..targets };
        let x = &logits[range.start * classes..range.end * classes];
        losses_of(isa, classes, x, targets, spread, total, losses, stats);
    });
}

/// The gradient of `logits` from that of each row's loss, `grad [rows]`, and the `stats` of [`cross_entropy`].
///
/// # Panics
/// When the sizes differ, or a label is neither a class nor ignored.
pub fn cross_entropy_back<T: Float>(
    [rows, classes]: [usize; 2],
    logits: &[T],
    targets: Targets<T>,
    stats: &[[T; 2]],
    grad: &[T],
    dx: &mut [T],
) {
    targets.check([rows, classes], logits.len());
    assert!(grad.len() == rows && stats.len() == rows, "cross_entropy_back: grad and stats [{rows}]");
    assert_eq!(dx.len(), logits.len(), "cross_entropy_back: dx [{rows}, {classes}]");
    let isa = isa();
    let (spread, total) = (targets.spread(classes), targets.total(classes));
    chunks_mut(dx, rows_per_task(rows, classes) * classes, |start, dx| {
        let range = start / classes..(start + dx.len()) / classes;
        let targets = Targets { labels: &targets.labels[range.clone()], ..targets };
        let x = &logits[start..start + dx.len()];
        gradients_of(isa, classes, x, targets, spread, total, &stats[range.clone()], &grad[range], dx);
    });
}
