//! Connectionist temporal classification: the probability that a path of classes, one a step, reads as the given labels, once
//! repetitions are merged and blanks taken out. (Graves, Fernandez, Gomez, Schmidhuber, "Connectionist temporal
//! classification", ICML 2006.)
//!
//! A path goes through the states `blank, label 1, blank, label 2, .., blank`: it stays, goes one on, or passes over a blank
//! between two different labels. Everything is kept as logarithms, and from every row of states its largest is taken away, so
//! that neither length nor improbability costs digits.

use super::lanes::fold;
use super::parallel::{GRAIN, Shared, chunk_pairs_mut, tasks};
use super::simd::{isa, simd};
use crate::element::Float;

/// What the sequences of a batch should read as.
#[derive(Clone, Copy)]
pub struct Labels<'a> {
    /// The labels of all sequences, one sequence after the other.
    pub labels: &'a [usize],
    /// `[batch + 1]`: where the labels of each begin, and where the last ones end.
    pub starts: &'a [usize],
    /// `[batch]`: how many steps of each count.
    pub steps: &'a [usize],
    /// The class that reads as nothing.
    pub blank: usize,
}

impl Labels<'_> {
    /// Elements of a row of states: those of the longest labels, and two in front that no path is in.
    fn row(&self) -> usize {
        let longest = self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        2 * longest + 3
    }

    /// How many elements [`ctc`] keeps for each sequence of a batch of `time` steps.
    pub fn kept(&self, time: usize) -> usize {
        (time + 1) * self.row()
    }

    fn check(&self, [time, batch, classes]: [usize; 3], log_probs: usize, kept: usize) {
        assert_eq!(log_probs, time * batch * classes, "ctc: log_probs [{time}, {batch}, {classes}]");
        assert!(self.starts.len() == batch + 1 && self.steps.len() == batch, "ctc: labels of {batch} sequences");
        assert!(self.steps.iter().all(|&steps| steps <= time), "ctc: {time} steps");
        let known = self.labels.iter().all(|&label| label < classes) && (self.blank < classes || batch == 0);
        assert!(known, "ctc: a label is not one of {classes} classes");
        assert_eq!(kept, batch * self.kept(time), "ctc: kept rows");
    }

    /// The states of a sequence.
    fn states<T: Float>(&self, sequence: usize) -> States<T> {
        let labels = &self.labels[self.starts[sequence]..self.starts[sequence + 1]];
        let mut classes = vec![self.blank; 2 * labels.len() + 1];
        let mut skip = vec![T::LOWEST; classes.len() + 2];
        for (i, &label) in labels.iter().enumerate() {
            classes[2 * i + 1] = label;
            if i > 0 && labels[i - 1] != label {
                skip[2 * i + 1] = T::ZERO;
            }
        }
        States { classes, skip }
    }
}

/// The states that paths through one sequence go through.
struct States<T> {
    /// What each state reads.
    classes: Vec<usize>,
    /// 0 where a path may come from two states before, else minus infinity; two more for states behind the last.
    skip: Vec<T>,
}

/// `ln(e^a + e^b + e^c)`.
#[inline(always)]
fn log_sum<T: Float>(a: T, b: T, c: T) -> T {
    let larger = if a > b { a } else { b };
    let max = if c > larger { c } else { larger };
    // Where there is nothing but minus infinity, its difference with itself would be NaN.
    let max = if max == T::LOWEST { T::ZERO } else { max };
    max + ((a - max).exp_up_to_0::<false>() + (b - max).exp_up_to_0::<false>() + (c - max).exp_up_to_0::<false>()).ln()
}

/// Takes the largest element away from all; returns it, and 0 where nothing is above minus infinity.
#[inline(always)]
fn level<T: Float>(row: &mut [T]) -> T {
    let max = fold(row, row, T::LOWEST, |a, b| if b > a { b } else { a }, |x, _| x);
    let max = if max == T::LOWEST { T::ZERO } else { max };
    for x in row {
        *x = *x - max;
    }
    max
}

simd! {
    fn forward_of[T: Float](log_probs: &[T], stride: usize, classes: &[usize], skip: &[T], rows: &mut [T]) -> f64 {
        let states = classes.len();
        let mut read = vec![T::ZERO; states];
        let (mut before, mut rows) = rows.split_at_mut(states + 2);
        // Before the first step a path is where only the first two states can be reached from.
        before.fill(T::LOWEST);
        before[2] = T::ZERO;
        let mut total = 0.0;
        let mut step = 0;
        while !rows.is_empty() {
            let (row, rest) = rows.split_at_mut(states + 2);
            for (read, &class) in read.iter_mut().zip(classes) {
                *read = log_probs[step * stride + class];
            }
            row[..2].fill(T::LOWEST);
            let row_of = &mut row[2..];
            let (stay, next, over) = (&before[2..][..states], &before[1..][..states], &before[..states]);
            for s in 0..states {
                row_of[s] = log_sum(stay[s], next[s], over[s] + skip[s]) + read[s];
            }
            total += level(row_of).to_f64();
            (before, rows, step) = (row, rest, step + 1);
        }
        let last = before[states + 1];
        let before_last = before[states];
        -(total + log_sum(last, if states > 1 { before_last } else { T::LOWEST }, T::LOWEST).to_f64())
    }

    fn backward_of[T: Float](
        log_probs: &[T], stride: usize, classes: &[usize], skip: &[T], rows: &[T], grad: T, dx: Shared<T>, width: usize,
    ) {
        let states = classes.len();
        let steps = rows.len() / (states + 2) - 1;
        // What is still to come from each state on, and the same with what is read there.
        let mut after = vec![T::LOWEST; states];
        let mut with_read = vec![T::LOWEST; states + 2];
        let mut share = vec![T::ZERO; states];
        after[states - 1] = T::ZERO;
        after[states.saturating_sub(2)] = T::ZERO;
        for step in (0..steps).rev() {
            let row = &rows[(step + 1) * (states + 2)..][2..states + 2];
            for s in 0..states {
                share[s] = row[s] + after[s];
            }
            level(&mut share);
            for share in &mut share {
                *share = share.exp_up_to_0::<false>();
            }
            let scale = grad / fold(&share, &share, T::ZERO, |a, b| a + b, |x, _| x);
            // SAFETY: the row is in `dx`, and no other sequence has it.
            let dx = unsafe { std::slice::from_raw_parts_mut(dx.at(step * stride), width) };
            for (&share, &class) in share.iter().zip(classes) {
                dx[class] = dx[class] - share * scale;
            }
            for ((with_read, &after), &class) in with_read.iter_mut().zip(&after).zip(classes) {
                *with_read = after + log_probs[step * stride + class];
            }
            let (stay, next, over) = (&with_read[..states], &with_read[1..][..states], &with_read[2..][..states]);
            let skip = &skip[2..][..states];
            for s in 0..states {
                after[s] = log_sum(stay[s], next[s], over[s] + skip[s]);
            }
            level(&mut after);
        }
    }
}

/// `-log P(labels)` of each sequence, infinity where the steps are too few, from `log_probs [time, batch, classes]`; `rows`,
/// [`Labels::kept`] elements for each sequence, is filled for [`ctc_back`].
///
/// # Panics
/// When the sizes differ, or a label is not a class.
pub fn ctc<T: Float>(dims: [usize; 3], log_probs: &[T], labels: Labels, rows: &mut [T], losses: &mut [T]) {
    let [time, batch, classes] = dims;
    labels.check(dims, log_probs.len(), rows.len());
    assert_eq!(losses.len(), batch, "ctc: losses [{batch}]");
    let (isa, kept) = (isa(), labels.kept(time));
    let one = |sequence: usize, loss: &mut [T], rows: &mut [T]| {
        let states = labels.states(sequence);
        let rows = &mut rows[..(labels.steps[sequence] + 1) * (states.classes.len() + 2)];
        let from = log_probs.get(sequence * classes..).unwrap_or(&[]);
        loss[0] = T::of(forward_of(isa, from, batch * classes, &states.classes, &states.skip, rows));
    };
    if rows.len() > GRAIN / COST {
        return chunk_pairs_mut((losses, 1), (rows, kept), one);
    }
    for (sequence, (loss, rows)) in losses.chunks_mut(1).zip(rows.chunks_mut(kept)).enumerate() {
        one(sequence, loss, rows);
    }
}

/// A state costs as much as so many elements of cheap work.
const COST: usize = 8;

/// The gradient of `log_probs` from that of each loss, `grad [batch]`, and what [`ctc`] gave: minus the probability that the
/// path is in a state of the class, given that it reads as the labels. Where a loss is infinite, `infinite` for all steps
/// that count.
///
/// # Panics
/// When the sizes differ, or a label is not a class.
#[allow(clippy::too_many_arguments, reason = "kernels take slices and sizes")]
pub fn ctc_back<T: Float>(
    dims: [usize; 3],
    log_probs: &[T],
    labels: Labels,
    rows: &[T],
    losses: &[T],
    grad: &[T],
    infinite: T,
    dx: &mut [T],
) {
    let [time, batch, classes] = dims;
    labels.check(dims, log_probs.len(), rows.len());
    assert!(losses.len() == batch && grad.len() == batch, "ctc_back: losses and grad [{batch}]");
    assert_eq!(dx.len(), log_probs.len(), "ctc_back: dx [{time}, {batch}, {classes}]");
    dx.fill(T::ZERO);
    let (isa, kept, dx) = (isa(), labels.kept(time), Shared::new(dx));
    tasks(batch, rows.len() > GRAIN / COST, |sequence| {
        let states = labels.states(sequence);
        let (steps, stride) = (labels.steps[sequence], batch * classes);
        if losses[sequence] == T::HIGHEST {
            for step in 0..steps {
                let start = dx.at(step * stride + sequence * classes);
                // SAFETY: the row is in `dx`, and no other sequence has it.
                unsafe { std::slice::from_raw_parts_mut(start, classes) }.fill(infinite);
            }
            return;
        }
        let rows = &rows[sequence * kept..][..(steps + 1) * (states.classes.len() + 2)];
        let from = log_probs.get(sequence * classes..).unwrap_or(&[]);
        let dx = dx.after(sequence * classes);
        backward_of(isa, from, stride, &states.classes, &states.skip, rows, grad[sequence], dx, classes);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    /// The labels that a path reads as.
    fn reading(path: &[usize], blank: usize) -> Vec<usize> {
        let mut path = path.to_vec();
        path.dedup();
        path.retain(|&class| class != blank);
        path
    }

    /// Loss and gradient from the definition: the sum over every path.
    fn reference(classes: usize, log_probs: &[f64], labels: &[usize], blank: usize) -> (f64, Vec<f64>) {
        let steps = log_probs.len() / classes;
        let (mut total, mut shares) = (0.0, vec![0.0; log_probs.len()]);
        for number in 0..classes.pow(steps as u32) {
            let path: Vec<usize> = (0..steps).map(|t| number / classes.pow(t as u32) % classes).collect();
            if reading(&path, blank) == labels {
                let p = path.iter().enumerate().map(|(t, &c)| log_probs[t * classes + c]).sum::<f64>().exp();
                total += p;
                path.iter().enumerate().for_each(|(t, &c)| shares[t * classes + c] += p);
            }
        }
        (-total.ln(), shares.iter().map(|share| -share / total).collect())
    }

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        a == b || (a - b).abs() <= tolerance * (1.0 + b.abs())
    }

    fn run<T: Float>(dims: [usize; 3], x: &[T], labels: Labels, grad: &[T]) -> (Vec<T>, Vec<T>) {
        let mut rows = vec![T::of(f64::NAN); dims[1] * labels.kept(dims[0])];
        let (mut losses, mut dx) = (vec![T::ZERO; dims[1]], vec![T::of(f64::NAN); x.len()]);
        ctc(dims, x, labels, &mut rows, &mut losses);
        ctc_back(dims, x, labels, &rows, &losses, grad, T::ZERO, &mut dx);
        (losses, dx)
    }

    fn agrees<T: Float>(tolerance: f64) {
        let (time, classes) = (6, 3);
        // Repeated labels, different ones, none, as many as there is time for, and one too many.
        let all: [(&[usize], usize); 8] = [
            (&[1, 1, 2], 6),
            (&[2, 1], 5),
            (&[], 6),
            (&[1, 2, 1, 2, 1, 2], 6),
            (&[1, 1, 1], 4),
            (&[1], 1),
            (&[], 0),
            (&[1], 0),
        ];
        for blank in [0, 2] {
            let swap = |class: usize| if class == blank { 0 } else { class };
            let labels: Vec<Vec<usize>> =
                all.iter().map(|(l, _)| l.iter().map(|&c| if blank == 0 { c } else { swap(c) }).collect()).collect();
            let steps: Vec<usize> = all.iter().map(|&(_, steps)| steps).collect();
            let mut starts = vec![0];
            labels.iter().for_each(|l| starts.push(starts.last().unwrap() + l.len()));
            let flat = labels.concat();
            let batch = all.len();
            let x: Vec<T> = noise(time * batch * classes, 3).into_iter().map(|x| T::of(2.0 * x)).collect();
            let grad: Vec<T> = noise(batch, 4).into_iter().map(T::of).collect();
            let what = Labels { labels: &flat, starts: &starts, steps: &steps, blank };
            let results = on_every_machine(
                || run([time, batch, classes], &x, what, &grad),
                |(losses, dx)| (bits(losses), bits(dx)),
            );
            for (losses, dx) in results {
                for b in 0..batch {
                    let row = |t: usize| (t * batch + b) * classes..(t * batch + b + 1) * classes;
                    let own: Vec<f64> = (0..steps[b]).flat_map(|t| x[row(t)].iter().map(|x| x.to_f64())).collect();
                    let (loss, expected) = reference(classes, &own, &labels[b], blank);
                    assert!(close(losses[b].to_f64(), loss, tolerance), "{b}: {} and {loss}", losses[b]);
                    for t in 0..time {
                        for (c, dx) in dx[row(t)].iter().enumerate() {
                            let expected =
                                if t < steps[b] && loss.is_finite() { expected[t * classes + c] } else { 0.0 };
                            let expected = expected * grad[b].to_f64();
                            assert!(close(dx.to_f64(), expected, tolerance), "{b}, {t}, {c}: {dx} and {expected}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn loss_and_gradient_are_those_of_all_paths_that_read_as_the_labels() {
        agrees::<f64>(1e-12);
        agrees::<f32>(2e-6);
    }

    #[test]
    fn long_and_improbable_sequences_keep_their_digits() {
        // 2000 steps of probability e^-60 for the label, e^-50 for the blank.
        let (time, classes) = (2000, 2);
        let x: Vec<f32> = (0..time * classes).map(|i| if i % 2 == 0 { -50.0 } else { -60.0 }).collect();
        let labels = Labels { labels: &[1], starts: &[0, 1], steps: &[time], blank: 0 };
        let (losses, dx) = run([time, 1, classes], &x, labels, &[1.0]);
        // A run of n labels can begin at 2001 - n places: sum (2001 - n) e^(-50 * 2000 - 10 n).
        let expected =
            50.0 * 2000.0 - (1..=2000).map(|n| (2001 - n) as f64 * (-10.0 * n as f64).exp()).sum::<f64>().ln();
        assert!((f64::from(losses[0]) - expected).abs() <= 1e-7 * expected, "{} and {expected}", losses[0]);
        for dx in dx.chunks(2) {
            assert!((dx[0] + dx[1] + 1.0).abs() < 1e-5, "{dx:?}: the shares of a step add up to 1");
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads_where_they_share_the_work() {
        let [time, batch, classes] = [40, 7, 12];
        let x: Vec<f32> = noise(time * batch * classes, 9).into_iter().map(|x| 3.0 * x as f32).collect();
        let flat: Vec<usize> = (0..batch * 10).map(|i| 1 + i * i % 11).collect();
        let (starts, steps) = ((0..=batch).map(|b| 10 * b).collect::<Vec<_>>(), vec![time; batch]);
        let labels = Labels { labels: &flat, starts: &starts, steps: &steps, blank: 0 };
        assert!(batch * labels.kept(time) > GRAIN / COST);
        on_every_machine(
            || run([time, batch, classes], &x, labels, &[1.0; 7]),
            |(losses, dx)| (bits(losses), bits(dx)),
        );
    }
}
