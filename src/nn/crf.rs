//! The layer that tags sequences as a whole.

use super::module::layer_module;
use super::param::{Name, Param};
use super::summary::Call;
use crate::element::Float;
use crate::ops::{CrfScores, crf_decode, crf_log_likelihood};
use crate::tensor::Tensor;

/// A linear-chain conditional random field on top of the scores that a network gives each tag at each step: it learns which
/// tags follow each other.
///
/// * `start_transitions` `[tags]`, `end_transitions` `[tags]`, `transitions` `[tags, tags]` from the row's tag to the column's,
///   each uniform in `+-0.1` at first; names and values at first are those of the package `pytorch-crf`
///
/// ```
/// use wengert::{Tensor, nn::Crf, record};
/// let crf = Crf::new(3);
/// let emissions = Tensor::from([[[0.0_f32, 5.0, 0.0], [5.0, 0.0, 0.0]]]).tracked();
/// let loss = record(|| -crf.log_likelihood(&emissions, &Tensor::from([[1, 0]]), None).mean());
/// assert!(loss.item() < 0.1);
/// assert_eq!(crf.decode(&emissions, None), [[1, 0]]);
/// ```
///
/// Lafferty, McCallum, Pereira, "Conditional random fields", ICML 2001.
#[derive(Clone, Debug)]
pub struct Crf<T: Float = f32> {
    /// `[tags]`.
    pub start_transitions: Param<T>,
    /// `[tags]`.
    pub end_transitions: Param<T>,
    /// `[tags, tags]`.
    pub transitions: Param<T>,
    name: Name,
}

impl<T: Float> Crf<T> {
    /// A field over so many tags.
    pub fn new(tags: usize) -> Crf<T> {
        let [start_transitions, end_transitions] = [(); 2].map(|()| Param::uniform(&[tags], 0.1));
        let transitions = Param::uniform(&[tags, tags], 0.1);
        Crf { start_transitions, end_transitions, transitions, name: Name::default() }
    }

    /// The log-probability of each sequence of tags, `[batch]`, from `emissions [batch, time, tags]` and `tags [batch, time]`;
    /// of each sequence as many steps count as `lengths` says, all without it.
    ///
    /// # Panics
    /// When the shapes do not fit, a length is not from 1 to `time`, or a tag within the lengths is not one of `tags`.
    #[track_caller]
    pub fn log_likelihood(&self, emissions: &Tensor<T>, tags: &Tensor<i64>, lengths: Option<&[usize]>) -> Tensor<T> {
        let call = Call::enter("Crf", Some(&self.name));
        let y = crf_log_likelihood(emissions, self.scores(), tags, lengths);
        call.leave(y, |_| {
            let count = self.start_transitions.numel();
            // An addition, an exponential and a sum for each pair of tags at each step.
            (count * (count + 2), (3 * emissions.numel() * count) as u64)
        })
    }

    /// The most probable tags of each sequence, as many as its length says (Viterbi's algorithm).
    ///
    /// # Panics
    /// As [`Crf::log_likelihood`].
    #[track_caller]
    pub fn decode(&self, emissions: &Tensor<T>, lengths: Option<&[usize]>) -> Vec<Vec<i64>> {
        let _call = Call::enter("Crf", Some(&self.name));
        let path = crf_decode(emissions, self.scores(), lengths);
        let time = path.size(1);
        let row = |b: usize| path.elements()[b * time..][..lengths.map_or(time, |lengths| lengths[b])].to_vec();
        (0..path.size(0)).map(row).collect()
    }

    fn scores(&self) -> CrfScores<'_, T> {
        CrfScores { start: &self.start_transitions, transitions: &self.transitions, end: &self.end_transitions }
    }
}

layer_module!(Crf { start_transitions, end_transitions, transitions });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded_tags_are_as_many_as_the_lengths_say_and_the_most_probable() {
        crate::seed(4);
        let crf = Crf::<f64>::new(3);
        let emissions = Tensor::randn([2, 4, 3]).cast();
        let lengths = [4, 2];
        let best = crf.decode(&emissions, Some(&lengths));
        assert_eq!((best[0].len(), best[1].len()), (4, 2));
        let likelihood = |tags: [Vec<i64>; 2]| {
            let padded = Tensor::from_fn([2, 4], |i| tags[i / 4].get(i % 4).copied().unwrap_or(-1));
            crf.log_likelihood(&emissions, &padded, Some(&lengths)).to_vec()
        };
        let most = likelihood([best[0].clone(), best[1].clone()]);
        let mut sums = [0.0; 2];
        for number in 0..81 {
            let tags: Vec<i64> = (0..4).map(|t| number / 3_i64.pow(t) % 3).collect();
            let found = likelihood([tags.clone(), tags[..2].to_vec()]);
            assert!(found[0] <= most[0] && found[1] <= most[1]);
            sums[0] += found[0].exp();
            sums[1] += found[1].exp() / 9.0;
        }
        // All sequences of tags together are certain.
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{sums:?}");
    }

    #[test]
    #[should_panic(expected = "expected start [4], transitions [4, 4], end [4], found [[3], [3, 3], [3]] (in Crf)")]
    fn emissions_of_other_tags_are_refused() {
        Crf::<f32>::new(3).decode(&Tensor::zeros([1, 2, 4]), None);
    }
}
