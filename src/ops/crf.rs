//! Linear-chain conditional random fields.

use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::crf::{ScoreGradients, Scores, decode, log_likelihood, log_likelihood_back};
use crate::shape::ensure;
use crate::tensor::Tensor;

/// What a linear-chain conditional random field scores, besides the tags at each step.
#[derive(Clone, Copy)]
pub struct CrfScores<'a, T: Float = f32> {
    /// `[tags]`: a tag at the first step.
    pub start: &'a Tensor<T>,
    /// `[tags, tags]`: a tag, the row, and the one after it, the column.
    pub transitions: &'a Tensor<T>,
    /// `[tags]`: a tag at the last step.
    pub end: &'a Tensor<T>,
}

impl<T: Float> CrfScores<'_, T> {
    /// Checks the shapes; `[batch, time, tags]`.
    #[track_caller]
    fn check(&self, emissions: &Tensor<T>, lengths: Option<&[usize]>) -> [usize; 3] {
        let shape = emissions.shape();
        ensure(shape.len() == 3, || format!("crf: {shape:?}: expected emissions [batch, time, tags]"));
        let [batch, time, tags] = [shape[0], shape[1], shape[2]];
        ensure(time > 0 && tags > 0, || format!("crf: {shape:?}: expected at least one step and one tag"));
        let found = [self.start.shape(), self.transitions.shape(), self.end.shape()];
        ensure(found == [&[tags][..], &[tags, tags], &[tags]], || {
            format!(
                "crf: {shape:?}: expected start [{tags}], transitions [{tags}, {tags}], end [{tags}], found {found:?}"
            )
        });
        if let Some(lengths) = lengths {
            ensure(lengths.len() == batch, || {
                format!("crf: {shape:?}: expected {batch} lengths, found {}", lengths.len())
            });
            ensure(lengths.iter().all(|length| (1..=time).contains(length)), || {
                format!("crf: {shape:?}: expected lengths from 1 to {time}, found {lengths:?}")
            });
        }
        [batch, time, tags]
    }
}

/// What the kernels read, in row-major order.
struct Packed<T: Float> {
    dims: [usize; 3],
    emissions: Tensor<T>,
    start: Tensor<T>,
    transitions: Tensor<T>,
    end: Tensor<T>,
    lengths: Vec<usize>,
}

impl<T: Float> Packed<T> {
    #[track_caller]
    fn new(emissions: &Tensor<T>, scores: CrfScores<T>, lengths: Option<&[usize]>) -> Packed<T> {
        let dims = scores.check(emissions, lengths);
        Packed {
            dims,
            emissions: emissions.packed(),
            start: scores.start.packed(),
            transitions: scores.transitions.packed(),
            end: scores.end.packed(),
            lengths: lengths.map_or(vec![dims[1]; dims[0]], <[usize]>::to_vec),
        }
    }

    fn scores(&self) -> Scores<'_, T> {
        Scores {
            emissions: self.emissions.elements(),
            start: self.start.elements(),
            transitions: self.transitions.elements(),
            end: self.end.elements(),
            lengths: &self.lengths,
        }
    }
}

/// The log-probability of each sequence of tags under a linear-chain conditional random field, `[batch]`:
/// `score(tags) - log sum exp(score)` over all sequences of tags, with
/// `score(y) = start[y_0] + sum_t emissions[t, y_t] + sum_t transitions[y_t, y_t+1] + end[y_last]`.
///
/// * `emissions` `[batch, time, tags]`, `tags` `[batch, time]`, `lengths` from 1 to `time`, all of them `time` without
///
/// The gradient of each score is how often it is counted, less how often it is to be expected. What stands behind a sequence's
/// length is not read and has gradient 0.
///
/// Lafferty, McCallum, Pereira, "Conditional random fields", ICML 2001.
///
/// # Panics
/// When the shapes do not fit, a length is not from 1 to `time`, or a tag within the lengths is not one of `tags`.
#[track_caller]
#[inline(never)]
pub fn crf_log_likelihood<T: Float>(
    emissions: &Tensor<T>,
    scores: CrfScores<T>,
    tags: &Tensor<i64>,
    lengths: Option<&[usize]>,
) -> Tensor<T> {
    let x = Packed::new(emissions, scores, lengths);
    let [batch, time, count] = x.dims;
    ensure(tags.shape() == [batch, time], || {
        format!("crf: {:?} and tags {:?}: expected tags [{batch}, {time}]", x.dims, tags.shape())
    });
    let path = tags.packed();
    for (b, (row, &length)) in path.elements().chunks(time).zip(&x.lengths).enumerate() {
        for &tag in &row[..length] {
            ensure((0..count as i64).contains(&tag), || {
                format!("crf: {:?}: sequence {b}: expected tags from 0 to {}, found {tag}", x.dims, count - 1)
            });
        }
    }
    let mut y = vec![T::ZERO; batch];
    let rows = Tensor::build(x.dims, |rows| log_likelihood(x.dims, x.scores(), path.elements(), rows, &mut y));
    let y = Tensor::from_vec(y, [batch]);
    let CrfScores { start, transitions, end } = scores;
    record_op("crf_log_likelihood", y, [emissions, start, transitions, end], || {
        let attached = [emissions, start, transitions, end].map(Tensor::clone);
        move |pull: Pull<T>| {
            if is_recording() {
                return composed(&attached, &path, &x.lengths, &pull.grad).map(Some);
            }
            let grad = pull.grad.packed();
            let mut grads = attached.each_ref().map(|x| Tensor::build(x.dims(), |_| ()));
            let [emissions, start, transitions, end] = grads.each_mut().map(Tensor::make_mut);
            let gradients = ScoreGradients { emissions, start, transitions, end };
            log_likelihood_back(x.dims, x.scores(), path.elements(), rows.elements(), grad.elements(), gradients);
            grads.map(Some)
        }
    })
}

/// The gradients of emissions, start, transitions and end, made of operations that can be differentiated again.
#[track_caller]
fn composed<T: Float>(
    [emissions, start, transitions, end]: &[Tensor<T>; 4],
    path: &Tensor<i64>,
    lengths: &[usize],
    grad: &Tensor<T>,
) -> [Tensor<T>; 4] {
    let [batch, time, tags] = [0, 1, 2].map(|d| emissions.shape()[d]);
    let weight = grad.unsqueeze(1); // [batch, 1]
    let zero_or_one = |is: bool| if is { T::ONE } else { T::ZERO };
    let counted = |step: usize| Tensor::from_fn([batch, 1], |b| zero_or_one(step < lengths[b]));
    let tag = |b: usize, step: usize| path.elements()[b * time + step.min(lengths[b] - 1)] as usize;
    // [batch, tags], and of pairs [batch, tags, tags]
    let there = |step: usize| Tensor::from_fn([batch, tags], |i| zero_or_one(i % tags == tag(i / tags, step)));
    let pair_there = |step: usize| {
        Tensor::from_fn([batch, tags, tags], |i| {
            let (b, pair) = (i / (tags * tags), i % (tags * tags));
            zero_or_one(pair == tag(b, step - 1) * tags + tag(b, step))
        })
    };

    // [batch, tags]: the logarithm of the sum over all tags before, of a sequence that has ended that over all.
    let mut here = emissions.select(1, 0) + start;
    let mut scores = Vec::with_capacity(time);
    for step in 1..time {
        let pairs = here.unsqueeze(2) + transitions; // [batch, tags, tags]
        let next = pairs.logsumexp(1, false) + emissions.select(1, step as isize);
        here = &here + (next - &here) * counted(step);
        scores.push(pairs);
    }
    // The way back of the sum, as in the kernel; `share` is the gradient of `here`.
    let mut share = (here + end).softmax(1) * &weight;
    let d_end = (there(time) * &weight - &share).sum_dim(0, false);
    let mut d_transitions = transitions.zeros_like();
    let mut d_emissions = Vec::with_capacity(time);
    for step in (1..time).rev() {
        let counted = counted(step);
        let of_step = &share * &counted;
        let pairs = scores[step - 1].softmax(1) * of_step.unsqueeze(1);
        let pair_weight = (&weight * &counted).unsqueeze(2);
        d_transitions = d_transitions + (pair_there(step) * pair_weight - &pairs).sum_dim(0, false);
        d_emissions.push(there(step) * (&weight * &counted) - &of_step);
        share = share - of_step + pairs.sum_dim(2, false);
    }
    let first = there(0) * &weight - share;
    let d_start = first.sum_dim(0, false);
    d_emissions.push(first);
    d_emissions.reverse();
    let d_emissions = super::stack(&d_emissions.iter().collect::<Vec<_>>(), 1);
    [d_emissions, d_start, d_transitions, d_end]
}

/// The most probable tags of each sequence under a linear-chain conditional random field, `[batch, time]`, 0 behind its
/// length: Viterbi's algorithm. Of equally probable ones those that end with the smaller tags.
///
/// # Panics
/// As [`crf_log_likelihood`].
#[track_caller]
#[inline(never)]
pub fn crf_decode<T: Float>(emissions: &Tensor<T>, scores: CrfScores<T>, lengths: Option<&[usize]>) -> Tensor<i64> {
    let x = Packed::new(emissions, scores, lengths);
    let [batch, time, _] = x.dims;
    Tensor::build([batch, time], |path| decode(x.dims, x.scores(), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck, record};

    fn noise(shape: &[usize], seed: u64) -> Tensor<f64> {
        Tensor::randn_with(shape, &mut crate::Rng::new(seed)).cast()
    }

    fn likelihood(x: &[Tensor<f64>], lengths: Option<&[usize]>) -> Tensor<f64> {
        let tags = Tensor::from([[0, 2, 1, 1], [2, 2, 9, -9], [1, 0, 0, 2]]);
        crf_log_likelihood(&x[0], CrfScores { start: &x[1], transitions: &x[2], end: &x[3] }, &tags, lengths)
    }

    #[test]
    fn gradients_agree_with_finite_differences_in_first_and_second_order() {
        let small = || [noise(&[3], 2), noise(&[3, 3], 3), noise(&[3], 4)];
        let views = [
            noise(&[3, 4, 3], 1),
            noise(&[4, 3, 3], 1).transpose(0, 1),
            noise(&[3, 4, 7], 1).slice(2, 1, 7, 2),
            noise(&[3, 1, 3], 1).expand([3, 4, 3]),
        ];
        for emissions in views {
            let [start, transitions, end] = small();
            let inputs = [emissions, start, transitions.t(), end];
            let f = |x: &[Tensor<f64>]| likelihood(x, Some(&[4, 2, 3])).tanh();
            gradcheck(f, &inputs).unwrap();
            gradgradcheck(f, &inputs).unwrap();
        }
    }

    #[test]
    fn both_ways_of_the_gradient_agree() {
        let inputs = [noise(&[3, 4, 3], 1), noise(&[3], 2), noise(&[3, 3], 3), noise(&[3], 4)].map(|x| x.tracked());
        let v = noise(&[3], 5);
        let run = || likelihood(&inputs, Some(&[1, 2, 4]));
        let fused = record(run).backward_with(&v);
        let graph = record(|| run().backward_graph_with(&v));
        for x in &inputs {
            let (a, b) = (fused.of(x), graph.of(x));
            a.to_vec().iter().zip(b.to_vec()).for_each(|(a, b)| assert!((a - b).abs() < 1e-14, "{a} and {b}"));
        }
    }

    #[test]
    fn what_stands_behind_a_length_is_not_read() {
        let mut inputs = [noise(&[3, 4, 3], 1), noise(&[3], 2), noise(&[3, 3], 3), noise(&[3], 4)];
        let lengths = Some(&[4, 2, 1][..]);
        let before = likelihood(&inputs[..], lengths).to_vec();
        let mut values = inputs[0].to_vec();
        values[12 + 6..24].fill(f64::NAN);
        inputs[0] = Tensor::from_vec(values, [3, 4, 3]).tracked();
        let y = record(|| likelihood(&inputs[..], lengths));
        assert_eq!(y.to_vec(), before);
        let grad = y.backward_with(&Tensor::from([1.0; 3])).of(&inputs[0]);
        assert!(grad.i((1, 2..)).to_vec().iter().all(|&g| g == 0.0));
    }

    #[test]
    #[should_panic(expected = "crf: [3, 4, 3]: expected lengths from 1 to 4, found [4, 0, 1]")]
    fn an_empty_sequence_is_refused() {
        likelihood(&[noise(&[3, 4, 3], 1), noise(&[3], 2), noise(&[3, 3], 3), noise(&[3], 4)], Some(&[4, 0, 1]));
    }

    #[test]
    #[should_panic(expected = "crf: [3, 4, 3]: sequence 1: expected tags from 0 to 2, found 9")]
    fn a_tag_that_is_not_there_is_refused() {
        likelihood(&[noise(&[3, 4, 3], 1), noise(&[3], 2), noise(&[3, 3], 3), noise(&[3], 4)], None);
    }
}
