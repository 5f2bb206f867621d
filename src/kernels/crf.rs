//! Linear-chain conditional random fields: the probability of a sequence of tags whose score adds up from one number for each
//! step and tag and one for each pair of neighbouring tags. (Lafferty, McCallum, Pereira, "Conditional random fields",
//! ICML 2001.)
//!
//! The sum over all sequences of tags is kept as logarithms, step by step; from the scores of a step their largest is taken
//! away, so that length costs no digits. The way back is that of the sum: no second recursion is needed.

use super::lanes::fold;
use super::parallel::{Shared, tasks};
use super::simd::{isa, simd};
use crate::element::Float;

/// The scores that a sequence of tags adds up.
#[derive(Clone, Copy)]
pub struct Scores<'a, T> {
    /// `[batch, time, tags]`: of a tag at a step.
    pub emissions: &'a [T],
    /// `[tags]`: of a tag at the first step.
    pub start: &'a [T],
    /// `[tags, tags]`: of a tag, the row, and the one after it, the column.
    pub transitions: &'a [T],
    /// `[tags]`: of a tag at the last step.
    pub end: &'a [T],
    /// `[batch]`: how many steps of each sequence count, from 1 to `time`.
    pub lengths: &'a [usize],
}

/// The gradients of [`Scores`].
pub struct ScoreGradients<'a, T> {
    /// `[batch, time, tags]`.
    pub emissions: &'a mut [T],
    /// `[tags]`.
    pub start: &'a mut [T],
    /// `[tags, tags]`.
    pub transitions: &'a mut [T],
    /// `[tags]`.
    pub end: &'a mut [T],
}

/// Sequences are shared out in so many parts at most, each with transition gradients of its own.
const PARTS: usize = 16;
/// Pairs of tags of all steps below which one thread does it all.
const FEW: usize = 1 << 11;

impl<T: Float> Scores<'_, T> {
    fn check(&self, [batch, time, tags]: [usize; 3]) {
        assert_eq!(self.emissions.len(), batch * time * tags, "crf: emissions [{batch}, {time}, {tags}]");
        assert!(self.start.len() == tags && self.end.len() == tags, "crf: start and end [{tags}]");
        assert_eq!(self.transitions.len(), tags * tags, "crf: transitions [{tags}, {tags}]");
        assert_eq!(self.lengths.len(), batch, "crf: lengths [{batch}]");
        assert!(self.lengths.iter().all(|length| (1..=time).contains(length)), "crf: lengths from 1 to {time}");
        assert!(tags > 0 || batch == 0, "crf: no tag");
    }

    fn check_tags(&self, [batch, time, tags]: [usize; 3], path: &[i64]) {
        assert_eq!(path.len(), batch * time, "crf: tags [{batch}, {time}]");
        for (path, &length) in path.chunks(time.max(1)).zip(self.lengths) {
            assert!(path[..length].iter().all(|tag| (0..tags as i64).contains(tag)), "crf: a tag is not one of {tags}");
        }
    }

    /// The emissions of one sequence.
    fn of(&self, [_, time, tags]: [usize; 3], sequence: usize) -> &[T] {
        &self.emissions[sequence * time * tags..][..self.lengths[sequence] * tags]
    }

    /// The score of one sequence of tags.
    fn score(&self, tags: usize, emissions: &[T], path: &[i64]) -> f64 {
        let tag = |step: usize| path[step] as usize;
        let last = emissions.len() / tags - 1;
        let at_steps: f64 = (0..=last).map(|step| emissions[step * tags + tag(step)].to_f64()).sum();
        let between: f64 = (0..last).map(|step| self.transitions[tag(step) * tags + tag(step + 1)].to_f64()).sum();
        self.start[tag(0)].to_f64() + at_steps + between + self.end[tag(last)].to_f64()
    }
}

/// `y = a + b - max`; returns the largest, `max`.
#[inline(always)]
fn level<T: Float>(a: &[T], b: &[T], y: &mut [T]) -> T {
    let max = fold(a, b, T::LOWEST, |a, b| if b > a { b } else { a }, |a, b| a + b);
    let max = if max == T::LOWEST { T::ZERO } else { max };
    for i in 0..y.len() {
        y[i] = a[i] + b[i] - max;
    }
    max
}

/// `y = exp(x)`, and their sum, for an `x` whose largest element is 0.
#[inline(always)]
fn exp_sum<T: Float>(x: &[T], y: &mut [T]) -> T {
    for i in 0..y.len() {
        y[i] = x[i].exp_up_to_0::<false>();
    }
    fold(y, y, T::ZERO, |a, b| a + b, |y, _| y)
}

simd! {
    /// The logarithm of the sum over all sequences of tags. `rows [length, tags]`: that over what comes before each tag.
    fn log_total_of[T: Float](emissions: &[T], start: &[T], transitions: &[T], end: &[T], rows: &mut [T]) -> f64 {
        let tags = start.len();
        let (mut here, mut max) = (vec![T::ZERO; tags], vec![T::ZERO; tags]);
        let (mut row, mut rows) = rows.split_at_mut(tags);
        row.copy_from_slice(start);
        let mut total = 0.0;
        let mut steps = emissions.chunks_exact(tags);
        let mut emission = steps.next().unwrap_or(&[]);
        for next_emission in steps {
            let (next, rest) = rows.split_at_mut(tags);
            total += level(row, emission, &mut here).to_f64();
            max.fill(T::LOWEST);
            for (&here, transitions) in here.iter().zip(transitions.chunks_exact(tags)) {
                for (max, &transition) in max.iter_mut().zip(transitions) {
                    let score = here + transition;
                    *max = if score > *max { score } else { *max };
                }
            }
            for max in &mut max {
                // Where nothing leads to, the difference of two infinities would be NaN.
                *max = if *max == T::LOWEST { T::ZERO } else { *max };
            }
            next.fill(T::ZERO);
            for (&here, transitions) in here.iter().zip(transitions.chunks_exact(tags)) {
                for ((next, &transition), &max) in next.iter_mut().zip(transitions).zip(&max) {
                    *next += (here + transition - max).exp_up_to_0::<false>();
                }
            }
            for (next, &max) in next.iter_mut().zip(&max) {
                *next = max + next.ln();
            }
            (row, rows, emission) = (next, rest, next_emission);
        }
        total += level(row, emission, &mut here).to_f64();
        let max_at_end = level(&here, end, &mut max).to_f64();
        total + max_at_end + exp_sum(&max, &mut here).ln().to_f64()
    }

    /// Adds `grad` times the probability of each tag at each step, of each pair, and of each tag at the ends. `turned` and
    /// `d_turned` are the transitions with the later tag as the row.
    fn probabilities_of[T: Float](
        emissions: &[T], end: &[T], turned: &[T], rows: &[T], grad: T,
        d_emissions: &mut [T], d_start: &mut [T], d_turned: &mut [T], d_end: &mut [T],
    ) {
        let tags = end.len();
        let (mut here, mut share) = (vec![T::ZERO; tags], vec![T::ZERO; tags]);
        let last = emissions.len() / tags - 1;
        let at = |step: usize| step * tags..(step + 1) * tags;
        level(&rows[at(last)], &emissions[at(last)], &mut here);
        let leveled = here.clone();
        level(&leveled, end, &mut here);
        let scale = grad / exp_sum(&here, &mut share);
        for (share, d_end) in share.iter_mut().zip(d_end) {
            *share = *share * scale;
            *d_end += *share;
        }
        for step in (1..=last).rev() {
            d_emissions[at(step)].copy_from_slice(&share);
            level(&rows[at(step - 1)], &emissions[at(step - 1)], &mut here);
            let earlier = &mut d_emissions[at(step - 1)];
            earlier.fill(T::ZERO);
            let pairs = turned.chunks_exact(tags).zip(d_turned.chunks_exact_mut(tags));
            for ((&share, &log_sum), (turned, d_turned)) in share.iter().zip(&rows[at(step)]).zip(pairs) {
                // A tag that cannot be has no share, and no sum to take apart.
                if share == T::ZERO {
                    continue;
                }
                for (((earlier, d_turned), &here), &turned) in earlier.iter_mut().zip(d_turned).zip(&here).zip(turned) {
                    let part = share * (here + turned - log_sum).exp();
                    *earlier += part;
                    *d_turned += part;
                }
            }
            share.copy_from_slice(earlier);
        }
        d_emissions[..tags].copy_from_slice(&share);
        for (d_start, &share) in d_start.iter_mut().zip(&share) {
            *d_start += share;
        }
    }

    /// The sequence of tags with the largest score; of equal ones the one that ends with the smaller tags.
    fn best_of[T: Float](emissions: &[T], start: &[T], transitions: &[T], end: &[T], path: &mut [i64]) {
        let tags = start.len();
        let (mut here, mut next) = (vec![T::ZERO; tags], vec![T::ZERO; tags]);
        let mut from = vec![0_u32; emissions.len()];
        for ((here, &start), &emission) in here.iter_mut().zip(start).zip(emissions) {
            *here = start + emission;
        }
        for (emission, from) in emissions.chunks_exact(tags).zip(from.chunks_exact_mut(tags)).skip(1) {
            next.fill(T::LOWEST);
            for (i, (&here, transitions)) in here.iter().zip(transitions.chunks_exact(tags)).enumerate() {
                for ((next, from), &transition) in next.iter_mut().zip(from.iter_mut()).zip(transitions) {
                    let score = here + transition;
                    *from = if score > *next { i as u32 } else { *from };
                    *next = if score > *next { score } else { *next };
                }
            }
            for ((here, &next), &emission) in here.iter_mut().zip(&next).zip(emission) {
                *here = next + emission;
            }
        }
        let (mut tag, mut best) = (0, T::LOWEST);
        for (i, (&here, &end)) in here.iter().zip(end).enumerate() {
            if here + end > best {
                (tag, best) = (i, here + end);
            }
        }
        for (path, from) in path.iter_mut().zip(from.chunks_exact(tags)).rev() {
            *path = tag as i64;
            tag = from[tag] as usize;
        }
    }
}

/// The logarithm of the probability of each sequence's tags `[batch, time]`, `path`; `rows [batch, time, tags]` is filled for
/// [`log_likelihood_back`] as far as the lengths go.
///
/// # Panics
/// When the sizes differ, or a tag within the lengths is not one of `tags`.
pub fn log_likelihood<T: Float>(dims: [usize; 3], scores: Scores<T>, path: &[i64], rows: &mut [T], y: &mut [T]) {
    let [batch, time, tags] = dims;
    scores.check(dims);
    scores.check_tags(dims, path);
    assert!(rows.len() == batch * time * tags && y.len() == batch, "crf: rows [{batch}, {time}, {tags}]");
    let (isa, rows, y) = (isa(), Shared::new(rows), Shared::new(y));
    tasks(batch, batch * time * tags * tags > FEW, |sequence| {
        let emissions = scores.of(dims, sequence);
        // SAFETY: every sequence has rows and a place of its own, which outlive the tasks.
        let (rows, y) = unsafe { (rows.chunk(time * tags, sequence), y.chunk(1, sequence)) };
        let rows = &mut rows[..emissions.len()];
        let total = log_total_of(isa, emissions, scores.start, scores.transitions, scores.end, rows);
        y[0] = T::of(scores.score(tags, emissions, &path[sequence * time..]) - total);
    });
}

/// The gradients of the scores from those of each sequence, `grad [batch]`, and the `rows` of [`log_likelihood`]: what there
/// is less what is to be expected.
///
/// # Panics
/// As [`log_likelihood`].
pub fn log_likelihood_back<T: Float>(
    dims: [usize; 3],
    scores: Scores<T>,
    path: &[i64],
    rows: &[T],
    grad: &[T],
    d: ScoreGradients<T>,
) {
    let [batch, time, tags] = dims;
    scores.check(dims);
    scores.check_tags(dims, path);
    assert!(rows.len() == batch * time * tags && grad.len() == batch, "crf: rows [{batch}, {time}, {tags}]");
    assert_eq!(d.emissions.len(), rows.len(), "crf: the gradient of emissions [{batch}, {time}, {tags}]");
    let transposed = |x: &[T], y: &mut [T]| {
        (0..tags * tags).for_each(|i| y[i] = x[i % tags * tags + i / tags]);
    };
    let mut turned = vec![T::ZERO; tags * tags];
    transposed(scores.transitions, &mut turned);
    let per_part = batch.div_ceil(PARTS).max(1);
    let parts = batch.div_ceil(per_part);
    // For each part the gradients of the transitions, of the start and of the end.
    let width = tags * tags + 2 * tags;
    let mut sums = vec![T::ZERO; parts.max(1) * width];
    let (isa, d_emissions, shared) = (isa(), Shared::new(d.emissions), Shared::new(&mut sums));
    tasks(parts, batch * time * tags * tags > FEW, |part| {
        // SAFETY: every part has sums of its own, which outlive the tasks.
        let sums = unsafe { shared.chunk(width, part) };
        let (d_turned, ends) = sums.split_at_mut(tags * tags);
        let (d_start, d_end) = ends.split_at_mut(tags);
        for sequence in part * per_part..batch.min((part + 1) * per_part) {
            // SAFETY: every sequence is in one part only.
            let d_emissions = unsafe { d_emissions.chunk(time * tags, sequence) };
            let (emissions, grad) = (scores.of(dims, sequence), grad[sequence]);
            let (d_emissions, beyond) = d_emissions.split_at_mut(emissions.len());
            beyond.fill(T::ZERO);
            let rows = &rows[sequence * time * tags..];
            probabilities_of(isa, emissions, scores.end, &turned, rows, -grad, d_emissions, d_start, d_turned, d_end);
            let path = &path[sequence * time..][..scores.lengths[sequence]];
            for (step, &tag) in path.iter().enumerate() {
                d_emissions[step * tags + tag as usize] += grad;
            }
            for pair in path.windows(2) {
                d_turned[pair[1] as usize * tags + pair[0] as usize] += grad;
            }
            d_start[path[0] as usize] += grad;
            d_end[path[path.len() - 1] as usize] += grad;
        }
    });
    let (first, others) = sums.split_at_mut(width);
    for other in others.chunks_exact(width.max(1)) {
        first.iter_mut().zip(other).for_each(|(sum, &x)| *sum += x);
    }
    let (d_turned, ends) = first.split_at(tags * tags);
    transposed(d_turned, d.transitions);
    d.start.copy_from_slice(&ends[..tags]);
    d.end.copy_from_slice(&ends[tags..]);
}

/// The tags with the largest score for each sequence, `[batch, time]`, by Viterbi's algorithm; 0 behind its length.
///
/// # Panics
/// When the sizes differ.
pub fn decode<T: Float>(dims: [usize; 3], scores: Scores<T>, path: &mut [i64]) {
    let [batch, time, tags] = dims;
    scores.check(dims);
    assert_eq!(path.len(), batch * time, "crf: path [{batch}, {time}]");
    let (isa, path) = (isa(), Shared::new(path));
    tasks(batch, batch * time * tags * tags > FEW, |sequence| {
        // SAFETY: every sequence has a row of its own, which outlives the tasks.
        let path = unsafe { path.chunk(time, sequence) };
        let (path, beyond) = path.split_at_mut(scores.lengths[sequence]);
        beyond.fill(0);
        best_of(isa, scores.of(dims, sequence), scores.start, scores.transitions, scores.end, path);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    struct Case<T> {
        dims: [usize; 3],
        scores: [Vec<T>; 4],
        lengths: Vec<usize>,
        path: Vec<i64>,
        grad: Vec<T>,
    }

    impl<T: Float> Case<T> {
        fn new(dims: [usize; 3], lengths: &[usize], forbidden: &[usize]) -> Case<T> {
            let [batch, time, tags] = dims;
            let random = |n, seed| noise(n, seed).into_iter().map(|x| T::of(2.0 * x)).collect::<Vec<T>>();
            let mut scores = [random(batch * time * tags, 1), random(tags, 2), random(tags * tags, 3), random(tags, 4)];
            forbidden.iter().for_each(|&pair| scores[2][pair] = T::LOWEST);
            let path = noise(batch * time, 5).into_iter().map(|x| ((x + 1.0) / 2.0 * tags as f64) as i64).collect();
            Case { dims, scores, lengths: lengths.to_vec(), path, grad: random(batch, 6) }
        }

        fn scores(&self) -> Scores<'_, T> {
            let [emissions, start, transitions, end] = self.scores.each_ref().map(|x| &x[..]);
            Scores { emissions, start, transitions, end, lengths: &self.lengths }
        }

        /// Log-likelihoods, the four gradients, and the best tags.
        fn run(&self) -> ([Vec<T>; 5], Vec<i64>) {
            let [batch, time, tags] = self.dims;
            let new = |n| vec![T::of(f64::NAN); n];
            let (mut rows, mut y, mut path) = (new(batch * time * tags), new(batch), vec![-1; batch * time]);
            log_likelihood(self.dims, self.scores(), &self.path, &mut rows, &mut y);
            let mut d = [batch * time * tags, tags, tags * tags, tags].map(new);
            let [emissions, start, transitions, end] = d.each_mut().map(|x| &mut x[..]);
            let gradients = ScoreGradients { emissions, start, transitions, end };
            log_likelihood_back(self.dims, self.scores(), &self.path, &rows, &self.grad, gradients);
            decode(self.dims, self.scores(), &mut path);
            let [a, b, c, e] = d;
            ([y, a, b, c, e], path)
        }

        /// The same from the definition: every sequence of tags, one after the other.
        fn reference(&self) -> ([Vec<f64>; 5], Vec<i64>) {
            let [batch, time, tags] = self.dims;
            let mut d = [batch * time * tags, tags, tags * tags, tags].map(|n| vec![0.0; n]);
            let (mut y, mut best_path) = (vec![0.0; batch], vec![0; batch * time]);
            for b in 0..batch {
                let length = self.lengths[b];
                let places = |path: &[usize]| {
                    let mut places: Vec<(usize, usize)> = vec![(1, path[0]), (3, path[length - 1])];
                    places.extend((0..length).map(|t| (0, (b * time + t) * tags + path[t])));
                    places.extend((1..length).map(|t| (2, path[t - 1] * tags + path[t])));
                    places
                };
                let score = |path: &[usize]| -> f64 {
                    places(path).iter().map(|&(which, at)| self.scores[which][at].to_f64()).sum()
                };
                let all: Vec<Vec<usize>> = (0..tags.pow(length as u32))
                    .map(|number| (0..length).map(|t| number / tags.pow(t as u32) % tags).collect())
                    .collect();
                let total: f64 = all.iter().map(|path| score(path).exp()).sum();
                let mut best = f64::NEG_INFINITY;
                for path in &all {
                    let p = score(path).exp() / total;
                    places(path).iter().for_each(|&(which, at)| d[which][at] -= p * self.grad[b].to_f64());
                    if score(path) > best {
                        best = score(path);
                        (0..time).for_each(|t| best_path[b * time + t] = path.get(t).map_or(0, |&tag| tag as i64));
                    }
                }
                let own: Vec<usize> = self.path[b * time..][..length].iter().map(|&tag| tag as usize).collect();
                places(&own).iter().for_each(|&(which, at)| d[which][at] += self.grad[b].to_f64());
                y[b] = score(&own) - total.ln();
            }
            let [a, b, c, e] = d;
            ([y, a, b, c, e], best_path)
        }

        fn agrees(&self, tolerance: f64) {
            let (expected, best) = self.reference();
            for (found, path) in on_every_machine(
                || self.run(),
                |(all, path)| (all.concat().iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>(), path.clone()),
            ) {
                assert_eq!(path, best);
                for (which, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
                        assert!((a.to_f64() - b).abs() <= tolerance * (1.0 + b.abs()), "{which}, {i}: {a} and {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn likelihood_gradients_and_best_tags_are_those_of_every_sequence_of_tags() {
        Case::<f64>::new([4, 5, 3], &[5, 1, 3, 2], &[]).agrees(1e-13);
        Case::<f64>::new([1, 1, 1], &[1], &[]).agrees(1e-13);
        Case::<f64>::new([18, 3, 5], &[3; 18], &[]).agrees(1e-13);
        Case::<f32>::new([4, 5, 3], &[5, 1, 3, 2], &[]).agrees(1e-6);
        Case::<f32>::new([3, 2, 19], &[2, 1, 2], &[]).agrees(1e-6);
    }

    #[test]
    fn what_is_forbidden_has_no_probability() {
        // From 0 to 1 and from 1 to anything but 2; the tags of each sequence avoid both.
        let mut case = Case::<f64>::new([2, 5, 3], &[5, 3], &[1, 3, 4]);
        case.path = vec![0, 2, 1, 2, 2, 2, 0, 0, 0, 0];
        case.agrees(1e-13);
        let (d, _) = case.run();
        assert_eq!([d[3][1], d[3][3], d[3][4]], [0.0; 3]);
    }

    #[test]
    fn a_thousand_steps_keep_their_digits() {
        let (time, tags) = (1000, 4);
        let mut case = Case::<f32>::new([1, time, tags], &[time], &[]);
        case.scores[0].iter_mut().for_each(|x| *x += 50.0);
        let (f32s, _) = case.run();
        let exact = Case::<f64> {
            dims: case.dims,
            scores: case.scores.clone().map(|x| x.into_iter().map(f64::from).collect()),
            lengths: case.lengths.clone(),
            path: case.path.clone(),
            grad: case.grad.iter().map(|&x| f64::from(x)).collect(),
        };
        let (f64s, _) = exact.run();
        for (f32s, f64s) in f32s.iter().zip(&f64s) {
            // The transitions' are sums of a thousand shares, and counts that take most of them away.
            let largest = f64s.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
            for (a, b) in f32s.iter().zip(f64s) {
                assert!((f64::from(*a) - b).abs() <= 1e-5 * largest, "{a} and {b}");
            }
        }
    }

    #[test]
    fn of_equal_scores_the_smaller_tags_are_taken() {
        let case = Case::<f64> {
            dims: [1, 3, 4],
            scores: [vec![0.0; 12], vec![0.0; 4], vec![0.0; 16], vec![0.0; 4]],
            lengths: vec![3],
            path: vec![0; 3],
            grad: vec![1.0],
        };
        assert_eq!(case.run().1, [0, 0, 0]);
        assert_eq!(bits(&case.run().0[0]), bits(&[-(64.0_f64.ln())]));
    }
}
