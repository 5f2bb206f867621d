//! How close translations are to those of people.

use crate::shape::ensure;
use std::collections::HashMap;
use std::hash::Hash;

/// The longest n-grams that are counted.
const LONGEST: usize = 4;

/// BLEU-4 of a corpus, from 0 to 1: how many of the candidates' n-grams stand in their references.
///
/// ```text
/// BLEU = min(1, exp(1 - r / c)) (p_1 p_2 p_3 p_4)^(1/4)
/// ```
///
/// `p_n` is the part of the n-grams of all candidates that stand in a reference of theirs, each counted at most as often as in
/// the one reference that has it most often; `c` is the length of all candidates, `r` that of all their references, of several
/// the one whose length is closest, of two as close the shorter. Nothing is smoothed: without a common sequence of four tokens
/// it is 0.
///
/// Papineni, Roukos, Ward, Zhu, "BLEU: a method for automatic evaluation of machine translation", ACL 2002.
///
/// ```
/// use wengert::data::text::{Tokenizer, bleu};
/// let cut = |text| Tokenizer::Words.tokens(text);
/// let candidates = [cut("the cat sat on the mat"), cut("there is a dog here")];
/// let references = [vec![cut("the cat sat on the mat")], vec![cut("a dog is here"), cut("there is a dog")]];
/// // All words, 8 of 9 pairs, 6 of 7 triples, 4 of 5 quadruples; 11 words stand for 6 + 4.
/// let expected = (8.0 / 9.0 * 6.0 / 7.0 * 4.0 / 5.0_f64).powf(0.25);
/// assert!((bleu(&candidates, &references) - expected).abs() < 1e-12);
/// ```
///
/// # Panics
/// When there are not as many lists of references as candidates, or one is empty.
#[track_caller]
pub fn bleu<T: Eq + Hash>(candidates: &[Vec<T>], references: &[Vec<Vec<T>>]) -> f64 {
    ensure(candidates.len() == references.len(), || {
        format!("bleu: expected references of {} candidates, found those of {}", candidates.len(), references.len())
    });
    for (i, references) in references.iter().enumerate() {
        ensure(!references.is_empty(), || format!("bleu: expected a reference at least, found none of candidate {i}"));
    }
    let (mut found, mut all) = ([0; LONGEST], [0; LONGEST]);
    let (mut length, mut reference_length) = (0, 0);
    for (candidate, references) in candidates.iter().zip(references) {
        length += candidate.len();
        let distance = |reference: &Vec<T>| (reference.len().abs_diff(candidate.len()), reference.len());
        reference_length += references.iter().map(distance).min().map_or(0, |(_, length)| length);
        for n in 1..=LONGEST {
            let references: Vec<_> = references.iter().map(|reference| counts(reference, n)).collect();
            for (words, count) in counts(candidate, n) {
                let most = references.iter().filter_map(|counts| counts.get(words)).max().copied();
                found[n - 1] += count.min(most.unwrap_or(0));
                all[n - 1] += count;
            }
        }
    }
    if found.contains(&0) {
        return 0.0;
    }
    let precision = |(&found, &all): (&usize, &usize)| (found as f64 / all as f64).ln();
    let precisions: f64 = found.iter().zip(&all).map(precision).sum();
    let brevity = (1.0 - reference_length as f64 / length as f64).min(0.0);
    (brevity + precisions / LONGEST as f64).exp()
}

/// How often each run of `n` tokens stands in a sentence.
fn counts<T: Eq + Hash>(sentence: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    sentence.windows(n).for_each(|words| *counts.entry(words).or_insert(0) += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split(' ').filter(|word| !word.is_empty()).collect()
    }

    fn score(pairs: &[(&str, &[&str])]) -> f64 {
        let candidates: Vec<_> = pairs.iter().map(|(candidate, _)| words(candidate)).collect();
        let references: Vec<Vec<_>> =
            pairs.iter().map(|(_, all)| all.iter().map(|text| words(text)).collect()).collect();
        bleu(&candidates, &references)
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
    }

    #[test]
    fn n_grams_count_as_often_as_in_the_reference_that_has_them_most_often() {
        // a a b a b: words a 3, b 2; pairs aa, ab 2, ba; triples aab, aba, bab; quadruples aaba, abab.
        // a a b a:   words a 3, b 1; pairs aa, ab, ba; triples aab, aba; quadruple aaba.
        // b:         words b 1.
        // 4 of 5 words (b once), 3 of 4 pairs (ab once), 2 of 3 triples, 1 of 2 quadruples; closest length 4 of 5.
        let expected = (4.0 / 5.0 * 3.0 / 4.0 * 2.0 / 3.0 * 1.0 / 2.0_f64).powf(0.25);
        close(score(&[("a a b a b", &["a a b a", "b"])]), expected);
    }

    #[test]
    fn a_short_corpus_is_punished_by_its_brevity() {
        // Everything is found; 4 tokens stand for 6: exp(1 - 6 / 4).
        close(score(&[("a b c d", &["a b c d e f"])]), (-0.5_f64).exp());
        // Lengths are summed over the corpus: 4 + 6 for 6 + 4.
        close(score(&[("a b c d", &["a b c d e f"]), ("a b c d x y", &["a b c d"])]), {
            (8.0 / 10.0 * 6.0 / 8.0 * 4.0 / 6.0 * 2.0 / 4.0_f64).powf(0.25)
        });
    }

    #[test]
    fn of_references_as_close_the_shorter_counts() {
        close(score(&[("a b c d e", &["a b c d e f", "a b c d"])]), 1.0);
        close(score(&[("a b c d e", &["a b c d e f", "a b c"])]), (1.0 - 6.0 / 5.0_f64).exp());
    }

    #[test]
    fn sentences_share_their_counts_before_the_mean_is_taken() {
        // Alone the second sentence has no quadruple at all.
        close(score(&[("a b c d", &["a b c d"]), ("x y", &["x z"])]), (5.0 / 6.0 * 3.0 / 4.0_f64).powf(0.25));
    }

    #[test]
    fn nothing_in_common_is_zero() {
        for candidate in ["", "x", "a b c x d e f"] {
            assert_eq!(score(&[(candidate, &["a b c d e f"])]), 0.0);
        }
        assert_eq!(score(&[]), 0.0);
        assert_eq!(score(&[("a b c d e", &["a b c d e"])]), 1.0);
    }

    #[test]
    #[should_panic(expected = "bleu: expected a reference at least, found none of candidate 1")]
    fn a_candidate_without_reference_panics() {
        score(&[("a", &["a"]), ("a", &[])]);
    }
}
