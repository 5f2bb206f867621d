//! Text: files of it, vocabularies that turn it into numbers, and batches of sequences of different lengths.
//!
//! ```
//! use wengert::data::text::{Sequences, Vocab, buckets};
//! use wengert::{Rng, data::Dataset};
//!
//! let texts = ["a good film", "good", "not a good film at all", "all bad"];
//! let vocab = Vocab::words(texts);
//! let padding = vocab.padding().unwrap();
//! let data = Sequences::new(texts.map(|text| vocab.encode(text)).into(), padding);
//!
//! // One epoch: texts of about equal length together, in random order.
//! for indices in buckets(&data.lengths(), 2, &mut Rng::new(7)) {
//!     let batch = data.batch(&indices);
//!     assert_eq!(batch.tokens.shape(), [2, *batch.lengths.iter().max().unwrap()]);
//! }
//! ```

mod batch;
mod bleu;
mod corpus;
mod entities;
mod read;
mod saved;
mod tokenizer;
mod vocab;

pub use batch::{Padded, Sequences, buckets, pad};
pub use bleu::bleu;
pub use corpus::{ConllOptions, Imdb, LabelledTexts, Sentence, read_conll, read_pairs, read_rt_polarity};
pub use entities::{Entity, entities};
pub use read::read_text;
pub use tokenizer::Tokenizer;
pub use vocab::{Vocab, VocabOptions};
