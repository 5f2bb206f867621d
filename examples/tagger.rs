//! A recurrent network finds names, places and dates.
//!
//! `cargo run --release --example tagger` trains it on sentences put together by code, offline, and tests it on such with other
//! names: expect an F1 of 97 to 99 % over whole entities, in seconds. `-- --data FILE --test FILE` takes sentences in CoNLL's
//! columns instead, tagged in IOB1, IOB2 or IOBES; without `--test` every tenth of them is held out. `--predict TEXT` finds names
//! in a text of yours, at once with `--load FILE`; `-- --help` lists the options.
//!
//! Each word is the vector of its lower case and what a bidirectional LSTM has read from its letters, for names that were never
//! seen; a bidirectional LSTM reads the words, and a conditional random field chooses the tags of a sentence together.
//!
//! Lample, Ballesteros, Subramanian, Kawakami, Dyer, "Neural architectures for named entity recognition", NAACL 2016.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;
use support::Progress;
use support::arguments::{self, Arguments, count, file, option, real};
use support::clap::Command;
use support::notices::notices;
use support::text::score::{Score, table};
use support::text::{self, Saved, forget, save, vectors};
use wengert::data::text::{
    ConllOptions, Padded, Sentence, Tokenizer, Vocab, VocabOptions, buckets, entities, pad, read_conll,
};
use wengert::nn::{Crf, Dropout, Embedding, Layer, Linear, Lstm, LstmOptions};
use wengert::optim::{Adam, Optimizer, schedule};
use wengert::{Error, Rng, Tensor, module, ops, record};

struct Tagger {
    letters: Embedding,
    speller: Lstm,
    words: Embedding,
    reader: Lstm,
    tags: Linear,
    crf: Crf,
    dropout: Dropout,
}
module!(Tagger { letters, speller, words, reader, tags, crf });

impl Tagger {
    fn new(known: &Known, size: &Size, dropout: f64) -> Tagger {
        let both = LstmOptions { bidirectional: true, batch_first: true, ..Default::default() };
        Tagger {
            letters: vectors(known.letters.len(), size.letters),
            speller: Lstm::with(size.letters, size.letters, both),
            words: vectors(known.words.len(), size.embedding),
            reader: Lstm::with(size.embedding + 2 * size.letters, size.hidden, both),
            tags: Linear::new(2 * size.hidden, known.tags.len()),
            crf: Crf::new(known.tags.len()),
            dropout: Dropout::new(dropout),
        }
    }

    /// The scores of each tag at each word, `[batch, steps, tags]`.
    fn forward(&self, x: &Batch) -> Tensor {
        let [batch, steps] = [x.words.tokens.size(0), x.words.tokens.size(1)];
        let letters = self.letters.forward(&x.spellings.tokens); // [spellings, letters, ..]
        let (_, state) = self.speller.forward_with(&letters, None, Some(&x.spellings.lengths));
        let spelled = ops::cat(&[&state.h.select(0, 0), &state.h.select(0, 1)], 1); // [spellings, ..]
        let spelled = spelled.index_select(0, &x.places).reshape([batch, steps, spelled.size(1)]);
        let words = ops::cat(&[&self.words.forward(&x.words.tokens), &spelled], 2);
        let (y, _) = self.reader.forward_with(&self.dropout.forward(&words), None, Some(&x.words.lengths));
        self.tags.forward(&self.dropout.forward(&y))
    }
}

/// Sentences side by side.
struct Batch {
    /// `[batch, steps]`.
    words: Padded,
    /// The different words as their letters, `[spellings, letters]`.
    spellings: Padded,
    /// `[batch * steps]`: which of the spellings each word has.
    places: Tensor<i64>,
}

/// What the network has numbers for.
struct Known {
    words: Vocab,
    letters: Vocab,
    tags: Vocab,
}

impl Known {
    fn new(sentences: &[Sentence], min_count: usize) -> Known {
        let tokens = || sentences.iter().flat_map(|sentence| &sentence.tokens);
        let words = VocabOptions {
            tokenizer: Tokenizer::Whitespace,
            lowercase: true,
            min_count: min_count as u64,
            ..Default::default()
        };
        Known {
            words: Vocab::of_tokens_with(tokens(), words),
            letters: Vocab::with(tokens(), VocabOptions { tokenizer: Tokenizer::Characters, ..Default::default() }),
            tags: Vocab::of_tokens(sentences.iter().flat_map(|sentence| &sentence.tags)),
        }
    }

    fn batch(&self, sentences: &[&[String]]) -> Batch {
        let words: Vec<_> = sentences.iter().map(|tokens| self.words.encode_tokens(*tokens)).collect();
        let words = pad(&words, 0);
        let (mut spellings, mut numbers) = (Vec::new(), HashMap::new());
        let steps = words.tokens.size(1);
        let places = Tensor::from_fn([sentences.len() * steps], |i| match sentences[i / steps].get(i % steps) {
            None => 0,
            Some(token) => *numbers.entry(token).or_insert_with(|| {
                spellings.push(self.letters.encode(token));
                spellings.len() as i64 - 1
            }),
        });
        Batch { words, spellings: pad(&spellings, 0), places }
    }
}

/// What a saved network must say of itself, beside what it knows.
struct Size {
    letters: usize,
    embedding: usize,
    hidden: usize,
}

fn main() -> Result<(), Error> {
    let given = Arguments::read(options());
    wengert::seed(given.seed());
    let text = given.predict()?;
    if let (Some(file), Some(text)) = (given.path("load"), text) {
        let (net, known, _) = load(file, 0.0)?;
        println!("{}", predict(&net, &known, text));
        return Ok(());
    }
    let mut rng = Rng::new(given.seed()).stream(1);
    let [train, test] = data(&given, &mut rng)?;
    let (mut net, known, size) = match given.path("load") {
        Some(file) => load(file, given.real("dropout"))?,
        None => {
            let known = Known::new(&train, given.count("min-count"));
            let [letters, embedding, hidden] = ["letters", "embedding", "hidden"].map(|name| given.count(name));
            let size = Size { letters, embedding, hidden };
            (Tagger::new(&known, &size, given.real("dropout")), known, size)
        }
    };
    let epochs = given.epochs();
    if epochs > 0
        && let Some(tag) = train.iter().flat_map(|s| &s.tags).find(|tag| known.tags.number(tag).is_none())
    {
        let tags: Vec<&str> = known.tags.tokens().collect();
        let file = given.path("data").unwrap_or(Path::new("sentences"));
        let expected = format!("tags that the loaded network has ({})", tags.join(", "));
        return Err(Error::malformed(file, None, expected, format!("{tag:?}")));
    }
    println!("{} sentences to learn from, {} to test on", train.len(), test.len());
    println!(
        "{} words, {} letters, {} tags; bidirectional LSTM of {}\n",
        known.words.len(),
        known.letters.len(),
        known.tags.len(),
        size.hidden
    );

    let batch_size = given.count("batch-size");
    let lengths: Vec<usize> = train.iter().map(|sentence| sentence.tokens.len()).collect();
    let rate = schedule::cosine(given.real("lr"), given.real("lr") / 100.0, epochs * train.len().div_ceil(batch_size));
    let mut optimizer = Adam::new(given.real("lr"));
    let mut step = 0;
    for epoch in 1..=epochs {
        let start = Instant::now();
        let mut progress = Progress::new(format!("epoch {epoch}/{epochs}"), lengths.iter().sum());
        for indices in buckets(&lengths, batch_size, &mut rng) {
            optimizer.set_lr(rate(step));
            step += 1;
            let mut x = known.batch(&indices.iter().map(|&i| &train[i].tokens[..]).collect::<Vec<_>>());
            x.words.tokens = forget(&x.words.tokens, &known.words, given.real("word-dropout"), &mut rng);
            let y: Vec<_> = indices.iter().map(|&i| known.tags.encode_tokens(&train[i].tags)).collect();
            let (loss, scores) = record(|| {
                let scores = net.forward(&x);
                let likelihood = net.crf.log_likelihood(&scores, &pad(&y, 0).tokens, Some(&x.words.lengths));
                (-likelihood.mean(), scores.detach())
            });
            let chosen = net.crf.decode(&scores, Some(&x.words.lengths));
            let hits = chosen.iter().flatten().zip(y.iter().flatten()).filter(|(chosen, tag)| chosen == tag).count();
            progress.update(x.words.lengths.iter().sum(), f64::from(loss.item()), hits);
            let mut grads = loss.backward();
            grads.clip_norm(5.0);
            optimizer.step(&mut net, &grads);
        }
        let train_loss = progress.finish();
        println!(
            "epoch {epoch}: train loss {train_loss:.4}, test F1 {:.1}%, {:.1} s",
            100.0 * evaluate(&net, &known, &test).all.f1(),
            start.elapsed().as_secs_f64()
        );
        if let Some(file) = given.path("save") {
            let [letters, embedding, hidden] = [size.letters, size.embedding, size.hidden].map(|n| n.to_string());
            let sizes = [("letter-size", letters), ("embedding", embedding), ("hidden", hidden)];
            let [words, letters, tags] = [&known.words, &known.letters, &known.tags].map(Vocab::to_text);
            save(file, &net, &[sizes, [("words", words), ("letters", letters), ("tags", tags)]].concat())?;
        }
    }

    if let Some(text) = text {
        println!("\n{}", predict(&net, &known, text));
    }
    let found = evaluate(&net, &known, &test);
    let kinds = found.kinds.iter().map(|(kind, &score)| (&**kind, score));
    println!("\n{}", table(kinds.chain([("all", found.all)])));
    println!("with an unknown word: {} of {} found", found.unknown.right, found.unknown.there);
    println!("test F1: {:.1}%", 100.0 * found.all.f1());
    Ok(())
}

/// What was found in some sentences.
#[derive(Default)]
struct Evaluation {
    kinds: BTreeMap<String, Score>,
    all: Score,
    /// Of the entities with a word that is not in the vocabulary.
    unknown: Score,
}

fn evaluate(net: &Tagger, known: &Known, sentences: &[Sentence]) -> Evaluation {
    let mut result = Evaluation::default();
    for part in sentences.chunks(64) {
        let tags = tags(net, known, &part.iter().map(|sentence| &sentence.tokens[..]).collect::<Vec<_>>());
        for (sentence, tags) in part.iter().zip(&tags) {
            let (there, found) = (entities(&sentence.tags), entities(tags));
            for entity in &found {
                result.kinds.entry(entity.kind.to_string()).or_default().found += 1;
                result.all.found += 1;
            }
            for entity in &there {
                let words = known.words.encode_tokens(&sentence.tokens[entity.tokens.clone()]);
                let score = Score { right: usize::from(found.contains(entity)), found: 0, there: 1 };
                result.kinds.entry(entity.kind.to_string()).or_default().add(score);
                result.all.add(score);
                if words.iter().any(|&word| Some(word) == known.words.unknown()) {
                    result.unknown.add(score);
                }
            }
        }
    }
    result
}

/// The tags that the network gives each word.
fn tags<'a>(net: &Tagger, known: &'a Known, sentences: &[&[String]]) -> Vec<Vec<&'a str>> {
    let x = known.batch(sentences);
    let chosen = net.crf.decode(&net.forward(&x), Some(&x.words.lengths));
    chosen.into_iter().map(|tags| tags.into_iter().map(|tag| known.tags.token(tag)).collect()).collect()
}

/// The text with what was found in it: `[Anna Lindsen PER] lives in [Moreck LOC] .`
fn predict(net: &Tagger, known: &Known, text: &str) -> String {
    let mut words: Vec<String> = Tokenizer::Words.tokens(text).into_iter().map(String::from).collect();
    let tags = tags(net, known, &[&words]).remove(0);
    for entity in entities(&tags) {
        let (first, last) = (entity.tokens.start, entity.tokens.end - 1);
        words[first].insert(0, '[');
        words[last] += &format!(" {}]", entity.kind);
    }
    words.join(" ")
}

/// A saved network, what it knows, and its size.
fn load(file: &Path, dropout: f64) -> Result<(Tagger, Known, Size), Error> {
    let saved = Saved::open(file)?;
    let (words, letters) = (saved.open_vocab("words")?, saved.open_vocab("letters")?);
    let known = Known { words, letters, tags: saved.vocab("tags")? };
    let [letters, embedding, hidden] = ["letter-size", "embedding", "hidden"].map(|name| saved.number(name));
    let size = Size { letters: letters?, embedding: embedding?, hidden: hidden? };
    let mut net = Tagger::new(&known, &size, dropout);
    text::load(file, &mut net)?;
    Ok((net, known, size))
}

/// Sentences to learn from and sentences to test on.
fn data(given: &Arguments, rng: &mut Rng) -> Result<[Vec<Sentence>; 2], Error> {
    let columns = |file: &Path| read_conll(file, ConllOptions::default());
    let mut parts = match (given.path("data"), given.path("test")) {
        (Some(train), Some(test)) => [columns(train)?, columns(test)?],
        (Some(file), None) => {
            let mut parts = [Vec::new(), Vec::new()];
            for (i, sentence) in columns(file)?.into_iter().enumerate() {
                parts[usize::from(i % 10 == 9)].push(sentence);
            }
            if parts[1].is_empty() {
                return Err(Error::malformed(file, None, "10 sentences at least", parts[0].len()));
            }
            parts
        }
        _ => {
            println!("Sentences put together by code. For real ones, in CoNLL's columns, call:");
            println!("cargo run --release --example tagger -- --data FILE --test FILE\n");
            notices(4_000, 1_000, rng)
        }
    };
    if given.smoke() {
        parts.iter_mut().zip([2_000, 200]).for_each(|(part, most)| part.truncate(most));
    }
    Ok(parts)
}

fn options() -> Command {
    Command::new("tagger")
        .about("A recurrent network finds names, places and dates.")
        .args([
            file("data", "FILE", "Sentences in CoNLL's columns: token first, tag last [default: built-in]"),
            file("test", "FILE", "Sentences to test on [default: every tenth of --data]").requires("data"),
            count("batch-size", "Sentences per step").default_value("32"),
            count("letters", "Numbers of a letter's vector, and width of the layer that reads them")
                .default_value("24"),
            count("embedding", "Numbers of a word's vector").default_value("64"),
            count("hidden", "Width of the layer that reads the words, in each direction").default_value("64"),
            count("min-count", "Words that are seen less often are unknown").default_value("2"),
            real("dropout", "0.3", arguments::dropout, "Dropout of the words' vectors and before the decision"),
            real("word-dropout", "0.5", arguments::dropout, "Words that are made unknown while training"),
            real("lr", "0.003", arguments::positive, "Learning rate of Adam at first; it falls to a hundredth"),
            option("predict", "TEXT", "Find names in this text: after training, or at once with --load"),
        ])
        .args(text::options("5"))
}
