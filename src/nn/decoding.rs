//! The search for a probable sequence, token by token.

use crate::element::Float;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// A sequence that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The tokens, without the first one that was given and without the end.
    pub tokens: Vec<i64>,
    /// The logarithm of the probability of the tokens, and of the end where it was reached.
    pub log_prob: f64,
    /// What hypotheses are compared by: `log_prob` divided by the length penalty.
    pub score: f64,
    /// Whether the end was reached, or else the maximum length.
    pub ended: bool,
}

/// What can be set of [`greedy_search`] and [`beam_search`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    /// The token that ends a sequence; none by default.
    pub end: Option<i64>,
    /// How many tokens a sequence has at most, the end included; 100 by default.
    pub max_length: usize,
    /// How many hypotheses are followed at a time; 5 by default. Greedy search follows one.
    pub beam_width: usize,
    /// The `a` of the length penalty `((5 + length) / 6)^a`, which makes up for the smaller probability of long sequences; the
    /// end counts to the length. 0 by default: none. (Wu et al., "Google's neural machine translation system", 2016,
    /// equation 14.)
    pub length_penalty: f64,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions { end: None, max_length: 100, beam_width: 5, length_penalty: 0.0 }
    }
}

impl SearchOptions {
    fn penalty(&self, length: usize) -> f64 {
        ((5 + length) as f64 / 6.0).powf(self.length_penalty)
    }
}

/// A hypothesis that goes on.
struct Live<S> {
    /// After all tokens but the last have been read.
    state: S,
    /// What is read next.
    last: i64,
    tokens: Vec<i64>,
    log_prob: f64,
}

impl<S> Live<S> {
    fn finish(self, ended: bool, options: &SearchOptions) -> Hypothesis {
        let length = self.tokens.len() + usize::from(ended);
        let score = self.log_prob / options.penalty(length);
        Hypothesis { tokens: self.tokens, log_prob: self.log_prob, score, ended }
    }
}

/// The log-probabilities `[tokens]` that a step gave.
#[track_caller]
fn read<T: Float>(log_probs: Tensor<T>) -> Vec<f64> {
    let shape = log_probs.shape();
    ensure(shape.len() == 1 && shape[0] > 0, || format!("search: {shape:?}: expected log-probabilities [tokens]"));
    let values: Vec<f64> = log_probs.to_vec().into_iter().map(T::to_f64).collect();
    let broken = values.iter().position(|value| value.is_nan() || *value == f64::INFINITY);
    ensure(broken.is_none(), || {
        let token = broken.unwrap_or(0);
        format!("search: {shape:?}: expected log-probabilities, found {} for token {token}", values[token])
    });
    values
}

/// Takes the most probable token at every step, of equally probable ones the smaller, until the end or the maximum length.
///
/// `step` reads a token, changes the state, and gives the log-probabilities `[tokens]` of what comes next; the first token
/// it reads is `first`.
///
/// ```
/// use wengert::{Tensor, nn::{SearchOptions, greedy_search}};
/// // After each token the next larger one is most probable; the state counts the steps.
/// let step = |token, count: &mut usize| {
///     *count += 1;
///     Tensor::from_fn(5, |i| if i as i64 == token + 1 { 0.0_f32 } else { -9.0 })
/// };
/// let found = greedy_search(0, 0, SearchOptions { end: Some(4), ..Default::default() }, step);
/// assert_eq!((found.tokens, found.ended), (vec![1, 2, 3], true));
/// ```
///
/// # Panics
/// When `step` gives anything but one log-probability for each token.
#[track_caller]
pub fn greedy_search<S, T: Float>(
    state: S,
    first: i64,
    options: SearchOptions,
    mut step: impl FnMut(i64, &mut S) -> Tensor<T>,
) -> Hypothesis {
    let mut live = Live { state, last: first, tokens: Vec::new(), log_prob: 0.0 };
    while live.tokens.len() < options.max_length {
        let (mut token, mut best) = (0, f64::NEG_INFINITY);
        for (i, log_prob) in read(step(live.last, &mut live.state)).into_iter().enumerate() {
            if log_prob > best {
                (token, best) = (i as i64, log_prob);
            }
        }
        live.log_prob += best;
        if options.end == Some(token) {
            return live.finish(true, &options);
        }
        live.tokens.push(token);
        live.last = token;
    }
    live.finish(false, &options)
}

/// Follows the `beam_width` most probable beginnings side by side, and gives as many hypotheses as were found, the one with
/// the largest score first.
///
/// `step` reads a token, changes the state, and gives the log-probabilities `[tokens]` of what comes next; it is called for
/// every beginning, each with a state of its own, a clone. A beginning that the end was added to is set aside; the search
/// stops once `beam_width` of those score so high that nothing that goes on can, or at the maximum length, where what goes on
/// is compared with what has ended.
///
/// The same steps give the same hypotheses: of equal ones that comes first which descends from the better beginning, then
/// which has the smaller token, and of those set aside the one that ended first.
///
/// ```
/// use wengert::{Tensor, nn::{SearchOptions, beam_search}};
/// // What seems best at first, 0, leads to nothing certain; 1 does. Token 2 ends.
/// let table = [[0.5_f32, 0.4, 0.1], [0.4, 0.3, 0.3], [0.0, 0.0, 1.0]];
/// let step = |token: i64, steps: &mut usize| {
///     *steps += 1;
///     let row = if *steps == 1 { 0 } else { token as usize + 1 };
///     Tensor::from(table[row]).log()
/// };
/// let options = SearchOptions { end: Some(2), max_length: 4, beam_width: 3, ..Default::default() };
/// let found = beam_search(0, 0, options, step);
/// assert_eq!(found[0].tokens, [1]);
/// assert!((found[0].log_prob - 0.4_f64.ln()).abs() < 1e-6);
/// ```
///
/// # Panics
/// When `beam_width` is 0, or `step` gives anything but one log-probability for each token.
#[track_caller]
pub fn beam_search<S: Clone, T: Float>(
    state: S,
    first: i64,
    options: SearchOptions,
    mut step: impl FnMut(i64, &mut S) -> Tensor<T>,
) -> Vec<Hypothesis> {
    let width = options.beam_width;
    ensure(width > 0, || "beam_search: expected a beam width of at least 1, found 0".to_string());
    let mut beams = vec![Live { state, last: first, tokens: Vec::new(), log_prob: 0.0 }];
    let mut finished: Vec<Hypothesis> = Vec::new();
    for length in 1..=options.max_length {
        // (log-probability, beam, token)
        let mut candidates: Vec<(f64, usize, i64)> = Vec::new();
        for (i, beam) in beams.iter_mut().enumerate() {
            let log_probs = read(step(beam.last, &mut beam.state)).into_iter().enumerate();
            let possible = log_probs.filter(|(_, log_prob)| *log_prob > f64::NEG_INFINITY);
            candidates.extend(possible.map(|(token, log_prob)| (beam.log_prob + log_prob, i, token as i64)));
        }
        // Stable, so equals stay in the order of beams and tokens.
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut next = Vec::with_capacity(width);
        for &(log_prob, i, token) in candidates.iter().take(width) {
            let Live { state, tokens, .. } = &beams[i];
            let mut live = Live { state: state.clone(), last: token, tokens: tokens.clone(), log_prob };
            if options.end == Some(token) {
                finished.push(live.finish(true, &options));
            } else {
                live.tokens.push(token);
                next.push(live);
            }
        }
        beams = next;
        rank(&mut finished, width);
        // The longest sequence is penalized most lightly, or most heavily, where the penalty is negative.
        let lightest = options.penalty(length + 1).max(options.penalty(options.max_length));
        let best = beams.iter().map(|beam| beam.log_prob).fold(f64::NEG_INFINITY, f64::max) / lightest;
        if beams.is_empty() || finished.len() == width && finished[width - 1].score >= best {
            return finished;
        }
    }
    finished.extend(beams.into_iter().map(|beam| beam.finish(false, &options)));
    rank(&mut finished, width);
    finished
}

/// Keeps the `width` best, the best first, equals in their order.
fn rank(hypotheses: &mut Vec<Hypothesis>, width: usize) {
    hypotheses.sort_by(|a, b| b.score.total_cmp(&a.score));
    hypotheses.truncate(width);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const TOKENS: usize = 4;
    const END: i64 = 3;

    /// Log-probabilities that depend on everything read so far: the state.
    fn table(seed: u64) -> impl Fn(i64, &mut Vec<i64>) -> Tensor<f64> {
        move |token, read: &mut Vec<i64>| {
            read.push(token);
            let mut rng = read.iter().fold(Rng::new(seed), |rng, &token| rng.stream(token as u64));
            Tensor::from_fn(TOKENS, |_| 2.0 * rng.normal()).log_softmax(0)
        }
    }

    /// Every sequence up to the maximum length, the best first.
    fn exhaustive(seed: u64, options: SearchOptions) -> Vec<Hypothesis> {
        let mut all = Vec::new();
        let mut waiting = vec![(Vec::new(), Vec::new(), 0, 0.0)];
        while let Some((tokens, mut read, last, log_prob)) = waiting.pop() {
            if tokens.len() == options.max_length {
                all.push(Live { state: (), last, tokens, log_prob }.finish(false, &options));
                continue;
            }
            let next = table(seed)(last, &mut read).to_vec();
            for (token, next) in next.iter().enumerate() {
                let mut tokens = tokens.clone();
                if token as i64 == END {
                    all.push(Live { state: (), last, tokens, log_prob: log_prob + next }.finish(true, &options));
                } else {
                    tokens.push(token as i64);
                    waiting.push((tokens, read.clone(), token as i64, log_prob + next));
                }
            }
        }
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all
    }

    #[test]
    fn a_beam_that_is_wide_enough_finds_what_exhaustive_search_finds() {
        for seed in 0..20 {
            for length_penalty in [0.0, 0.7, 1.5, -0.5] {
                let options =
                    SearchOptions { end: Some(END), max_length: 4, beam_width: 4_usize.pow(4), length_penalty };
                let (found, all) = (beam_search(Vec::new(), 0, options, table(seed)), exhaustive(seed, options));
                assert_eq!(found.len(), all.len());
                for (a, b) in found.iter().zip(&all) {
                    assert_eq!((&a.tokens, a.ended), (&b.tokens, b.ended));
                    assert!((a.score - b.score).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn stopping_early_loses_nothing_that_the_beam_would_have_found() {
        for seed in 0..50 {
            for length_penalty in [0.0, 1.0] {
                let options = SearchOptions { end: Some(END), max_length: 6, beam_width: 3, length_penalty };
                let found = beam_search(Vec::new(), 0, options, table(seed));
                // The same search without an early end, in which ended beginnings are only counted at the end.
                let (mut beams, mut ended) = (vec![(Vec::new(), Vec::new(), 0_i64, 0.0)], Vec::new());
                for _ in 0..6 {
                    let mut all = Vec::new();
                    for (tokens, mut read, last, log_prob) in beams {
                        let next = table(seed)(last, &mut read).to_vec();
                        all.extend((0..TOKENS).map(|t| {
                            let tokens: Vec<i64> = [&tokens[..], &[t as i64]].concat();
                            (tokens, read.clone(), t as i64, log_prob + next[t])
                        }));
                    }
                    all.sort_by(|a, b| b.3.total_cmp(&a.3));
                    all.truncate(3);
                    let (done, live): (Vec<_>, Vec<_>) = all.into_iter().partition(|beam| beam.2 == END);
                    ended.extend(done);
                    beams = live;
                }
                ended.extend(beams);
                let score = |beam: &(Vec<i64>, Vec<i64>, i64, f64)| beam.3 / options.penalty(beam.0.len());
                ended.sort_by(|a, b| score(b).total_cmp(&score(a)));
                ended.truncate(3);
                assert_eq!(found.len(), ended.len());
                for (a, b) in found.iter().zip(&ended) {
                    assert_eq!([&a.tokens[..], if a.ended { &[END] } else { &[] }].concat(), b.0);
                }
            }
        }
    }

    #[test]
    fn a_beam_of_one_without_penalty_is_greedy_search() {
        for seed in 0..20 {
            let options = SearchOptions { end: Some(END), max_length: 8, beam_width: 1, ..Default::default() };
            let (beam, greedy) =
                (beam_search(Vec::new(), 0, options, table(seed)), greedy_search(Vec::new(), 0, options, table(seed)));
            assert_eq!(beam, [greedy]);
        }
    }

    #[test]
    fn equals_are_taken_in_the_order_of_their_beams_and_tokens() {
        let even = |_, (): &mut ()| Tensor::<f64>::full(3, -(3_f64.ln()));
        let options = SearchOptions { end: None, max_length: 2, beam_width: 4, ..Default::default() };
        let found: Vec<_> = beam_search((), 0, options, even).into_iter().map(|found| found.tokens).collect();
        assert_eq!(found, [[0, 0], [0, 1], [0, 2], [1, 0]]);
        assert_eq!(greedy_search((), 0, options, even).tokens, [0, 0]);
    }

    #[test]
    fn what_is_impossible_is_not_followed() {
        let only = |_, (): &mut ()| Tensor::from([f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY]);
        let options = SearchOptions { end: Some(2), max_length: 3, beam_width: 3, ..Default::default() };
        let found = beam_search((), 0, options, only);
        assert_eq!((found.len(), &found[0].tokens[..], found[0].ended), (1, &[1, 1, 1][..], false));
    }

    #[test]
    fn a_length_penalty_prefers_longer_sequences() {
        // To end at once has probability 0.6, to go on for five tokens 0.4.
        let step = |_, length: &mut usize| {
            *length += 1;
            let p: [f64; 2] = match *length {
                1 => [0.4, 0.6],
                6.. => [0.0, 1.0],
                _ => [1.0, 0.0],
            };
            Tensor::from(p).log()
        };
        let with = |length_penalty| {
            let options = SearchOptions { end: Some(1), beam_width: 2, length_penalty, ..Default::default() };
            beam_search(0, 0, options, step)[0].tokens.len()
        };
        assert_eq!((with(0.0), with(2.0)), (0, 5));
    }

    #[test]
    #[should_panic(expected = "search: [2]: expected log-probabilities, found NaN for token 1")]
    fn a_broken_model_is_not_searched() {
        greedy_search((), 0, SearchOptions::default(), |_, ()| Tensor::from([0.0, f64::NAN]));
    }

    #[test]
    #[should_panic(expected = "beam_search: expected a beam width of at least 1, found 0")]
    fn a_beam_of_no_width_panics() {
        let options = SearchOptions { beam_width: 0, ..Default::default() };
        beam_search((), 0, options, |_, ()| Tensor::from([0.0]));
    }
}
