//! What the examples on text share: options, recurrent layers, saved networks, scores.

pub mod recurrent;
mod saved;
pub mod score;

pub use saved::{Saved, load, save};

use crate::arguments::{file, flag, option, seed, threads, whole};
use clap::Arg;
use wengert::data::text::Vocab;
use wengert::nn::{Embedding, EmbeddingOptions};
use wengert::{Rng, Tensor};

/// The options of every run.
pub fn options(epochs: &'static str) -> [Arg; 6] {
    [
        option("epochs", "N", "Passes over the text; 0 trains nothing, for --load")
            .value_parser(whole(..))
            .default_value(epochs),
        seed(),
        threads(),
        file("save", "FILE", "Save the network after each epoch, as safetensors"),
        file("load", "FILE", "Start from a saved network, with its vocabulary and size"),
        flag("smoke", "A run of seconds on a little text, for tests"),
    ]
}

/// Vectors `[number, dim]` of words or letters, the first of which is padding.
pub fn vectors(number: usize, dim: usize) -> Embedding {
    let mut table = Embedding::with(number, dim, EmbeddingOptions { padding_idx: Some(0) });
    // Small at first, so that what is learned of a rare word is not lost in what it was drawn as.
    table.weight.as_mut_slice().iter_mut().for_each(|weight| *weight *= 0.1);
    table
}

/// How many are true.
pub fn hits(right: &Tensor<bool>) -> usize {
    right.to_vec().into_iter().filter(|&hit| hit).count()
}

/// The words with some of them made unknown, so that what stands for unknown words is learned too.
pub fn forget(words: &Tensor<i64>, vocab: &Vocab, p: f64, rng: &mut Rng) -> Tensor<i64> {
    let [padding, unknown] = [vocab.padding(), vocab.unknown()].map(|special| special.expect("has one"));
    let forgotten = |word| if word != padding && rng.uniform() < p { unknown } else { word };
    Tensor::from_vec(words.to_vec().into_iter().map(forgotten).collect(), words.dims())
}

/// One of some words.
pub(crate) fn pick<'a>(from: &[&'a str], rng: &mut Rng) -> &'a str {
    from[rng.below(from.len())]
}
