//! What the examples on text share: options, recurrent layers, saved networks, scores.

pub mod arguments;
pub mod recurrent;
mod saved;
pub mod score;

pub use saved::{Saved, save};

use wengert::data::text::Vocab;
use wengert::{Rng, Tensor};

/// The words with some of them made unknown, so that what stands for unknown words is learned too.
pub fn forget(words: &Tensor<i64>, vocab: &Vocab, p: f64, rng: &mut Rng) -> Tensor<i64> {
    let [padding, unknown] = [vocab.padding(), vocab.unknown()].map(|special| special.expect("has one"));
    let forgotten = |word| if word != padding && rng.uniform() < p { unknown } else { word };
    Tensor::from_vec(words.to_vec().into_iter().map(forgotten).collect(), words.dims())
}
