//! Batches of sequences of different lengths.

use crate::data::Dataset;
use crate::rng::Rng;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// Sequences of different lengths as one tensor.
#[derive(Clone, Debug)]
pub struct Padded {
    /// `[batch, longest]`: each sequence from the left, then padding.
    pub tokens: Tensor<i64>,
    /// `[batch]`: how many numbers of each row are the sequence's.
    pub lengths: Vec<usize>,
}

/// Puts sequences below each other, `[sequences.len(), longest]`, with `padding` behind the shorter ones.
///
/// ```
/// use wengert::data::text::pad;
/// let batch = pad(&[vec![5, 6, 7], vec![8]], 0);
/// assert_eq!(batch.tokens.to_vec(), [5, 6, 7, 8, 0, 0]);
/// assert_eq!(batch.lengths, [3, 1]);
/// ```
pub fn pad(sequences: &[impl AsRef<[i64]>], padding: i64) -> Padded {
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.as_ref().len()).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let tokens = Tensor::build([sequences.len(), longest], |tokens| {
        for (row, sequence) in tokens.chunks_mut(longest.max(1)).zip(sequences) {
            let (front, back) = row.split_at_mut(sequence.as_ref().len());
            front.copy_from_slice(sequence.as_ref());
            back.fill(padding);
        }
    });
    Padded { tokens, lengths }
}

/// Sequences as a data set: a batch is [`Padded`] to its longest sequence.
///
/// What belongs to the sequences (labels, or the sentences in another language) is a data set of its own that is asked for
/// the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    sequences: Vec<Vec<i64>>,
    padding: i64,
}

impl Sequences {
    /// A data set of these sequences.
    pub fn new(sequences: Vec<Vec<i64>>, padding: i64) -> Sequences {
        Sequences { sequences, padding }
    }

    /// The length of each sequence: what [`buckets`] takes.
    pub fn lengths(&self) -> Vec<usize> {
        self.sequences.iter().map(Vec::len).collect()
    }

    /// The sequences.
    pub fn as_slice(&self) -> &[Vec<i64>] {
        &self.sequences
    }
}

impl Dataset for Sequences {
    type Batch = Padded;

    fn len(&self) -> usize {
        self.sequences.len()
    }

    #[track_caller]
    fn batch(&self, indices: &[usize]) -> Padded {
        let mut chosen = Vec::with_capacity(indices.len());
        for &i in indices {
            ensure(i < self.len(), || format!("batch: expected an index below {}, found {i}", self.len()));
            chosen.push(&self.sequences[i]);
        }
        pad(&chosen, self.padding)
    }
}

/// How many batches are sorted by length together.
const POOL: usize = 100;

/// One pass over sequences of these lengths, as the numbers of each batch: sequences of about equal length come together, so
/// that little is padded, and everything in an order that follows from the generator.
///
/// All sequences are shuffled; every 100 batches' worth of them is sorted by length and cut into batches of `batch_size`, one
/// of which has what is left; then the batches are shuffled. Within a batch the longest comes first.
///
/// ```
/// use wengert::{Rng, data::text::buckets};
/// let batches = buckets(&[3, 9, 4, 8, 3], 2, &mut Rng::new(1));
/// assert_eq!(batches.len(), 3);
/// assert!(batches.contains(&vec![1, 3])); // the long ones
/// ```
///
/// # Panics
/// When `batch_size` is 0.
#[track_caller]
pub fn buckets(lengths: &[usize], batch_size: usize, rng: &mut Rng) -> Vec<Vec<usize>> {
    ensure(batch_size > 0, || "buckets: expected a batch size of at least 1, found 0".to_string());
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    rng.shuffle(&mut order);
    let mut batches = Vec::with_capacity(lengths.len().div_ceil(batch_size));
    for pool in order.chunks_mut(batch_size.saturating_mul(POOL)) {
        pool.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
        batches.extend(pool.chunks(batch_size).map(<[usize]>::to_vec));
    }
    rng.shuffle(&mut batches);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_empty_sequences_are_padded_too() {
        let none = pad(&Vec::<Vec<i64>>::new(), 9);
        assert_eq!((none.tokens.shape(), none.lengths.len()), (&[0, 0][..], 0));
        let empty = pad(&[vec![], vec![]], 9);
        assert_eq!((empty.tokens.shape(), empty.lengths), (&[2, 0][..], vec![0, 0]));
        assert_eq!(pad(&[vec![], vec![1]], 9).tokens.to_vec(), [9, 1]);
    }

    #[test]
    fn a_batch_is_as_long_as_its_longest_sequence() {
        let data = Sequences::new(vec![vec![1], vec![2, 3, 4], vec![5, 6]], -1);
        let batch = data.batch(&[2, 0, 2]);
        assert_eq!((batch.tokens.shape(), batch.lengths), (&[3, 2][..], vec![2, 1, 2]));
        assert_eq!(batch.tokens.to_vec(), [5, 6, 1, -1, 5, 6]);
    }

    #[test]
    fn every_sequence_comes_once_and_little_is_padded() {
        let mut rng = Rng::new(3);
        let lengths: Vec<usize> = (0..5003).map(|_| 1 + rng.below(50)).collect();
        let batches = buckets(&lengths, 16, &mut rng);
        let mut all = batches.concat();
        all.sort();
        assert_eq!(all, (0..5003).collect::<Vec<_>>());
        assert_eq!(batches.len(), 5003_usize.div_ceil(16));
        assert!(batches.iter().all(|batch| batch.is_sorted_by(|&a, &b| lengths[a] >= lengths[b])));
        // 100 batches have 50 different lengths: neighbours in the order differ by 1 at most, a batch seldom.
        let padded: usize = batches.iter().map(|batch| lengths[batch[0]] * batch.len()).sum();
        let filled: usize = lengths.iter().sum();
        assert!(padded < filled + filled / 20, "{padded} places for {filled} tokens");
        let longest = |batch: &Vec<usize>| lengths[batch[0]];
        assert!(!batches.is_sorted_by_key(longest), "the batches are in random order");
    }

    #[test]
    fn the_order_follows_from_the_generator() {
        let lengths: Vec<usize> = (0..200).map(|i| i % 7).collect();
        let order = |seed| buckets(&lengths, 8, &mut Rng::new(seed));
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut rng = Rng::new(1);
        assert_ne!(buckets(&lengths, 8, &mut rng), buckets(&lengths, 8, &mut rng), "epochs differ");
        assert_eq!(buckets(&[], 8, &mut rng), Vec::<Vec<usize>>::new());
    }

    #[test]
    #[should_panic(expected = "buckets: expected a batch size of at least 1, found 0")]
    fn a_batch_size_of_zero_panics() {
        buckets(&[1], 0, &mut Rng::new(0));
    }

    #[test]
    #[should_panic(expected = "batch: expected an index below 1, found 1")]
    fn a_sequence_that_is_not_there_panics() {
        Sequences::new(vec![vec![1]], 0).batch(&[0, 1]);
    }
}
