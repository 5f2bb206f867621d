//! A recurrent network tells whether a review is positive or negative.
//!
//! `cargo run --release --example sentiment` trains it on sentences put together by code, offline: expect 97 to 99 % on other
//! such sentences, in seconds. `-- --data DIR` takes the folder that holds rt-polarity.neg and rt-polarity.pos, sentences of
//! film reviews, every tenth of which is held out: expect 76 to 78 %, in half a minute on two cores. A folder with IMDB's train
//! and test will do too. `--predict TEXT` classifies a text of yours, at once with `--load FILE`; `-- --help` lists the options.
//!
//! A bidirectional LSTM (or `--cell gru`) reads the words, whose vectors are learned from nothing; the mean and the largest of
//! its outputs over the words decide.
//!
//! Pang, Lee, "Seeing stars", ACL 2005 (the sentences); Conneau, Kiela, Schwenk, Barrault, Bordes, "Supervised learning of
//! universal sentence representations", EMNLP 2017 (the pooling).

use std::path::Path;
use std::time::Instant;
use support::Progress;
use support::arguments::{self, Arguments, count, file, option, real};
use support::clap::Command;
use support::reviews::reviews;
use support::text::recurrent::{CELLS, Recurrent};
use support::text::score::{Score, table};
use support::text::{self, Saved, forget, hits, save, vectors};
use wengert::data::Dataset;
use wengert::data::text::{
    Imdb, LabelledTexts, Padded, Sequences, Vocab, VocabOptions, buckets, pad, read_rt_polarity,
};
use wengert::loss::cross_entropy;
use wengert::nn::{Dropout, Embedding, Layer, Linear, LstmOptions};
use wengert::optim::{AdamOptions, AdamW, Optimizer, schedule};
use wengert::{Error, Rng, Tensor, module, ops, record};

const CLASSES: [&str; 2] = ["negative", "positive"];

struct Classifier {
    words: Embedding,
    recurrent: Recurrent,
    class: Linear,
    dropout: Dropout,
}
module!(Classifier { words, recurrent, class });

impl Classifier {
    fn new(words: usize, size: &Size, dropout: f64) -> Classifier {
        let options = LstmOptions { bidirectional: true, ..Default::default() };
        Classifier {
            words: vectors(words, size.embedding),
            recurrent: Recurrent::new(&size.cell, size.embedding, size.hidden, options),
            class: Linear::new(4 * size.hidden, CLASSES.len()),
            dropout: Dropout::new(dropout),
        }
    }

    /// Words `[batch, steps]` to logits `[batch, classes]`.
    fn forward(&self, x: &Padded) -> Tensor {
        let [batch, steps] = [x.tokens.size(0), x.tokens.size(1)];
        let vectors = self.dropout.forward(&self.words.forward(&x.tokens.t())); // [steps, batch, embedding]
        let (y, _) = self.recurrent.forward(&vectors, None, Some(&x.lengths)); // [steps, batch, 2 hidden], 0 behind the ends
        let lengths = Tensor::from_fn([batch, 1], |i| x.lengths[i] as f32);
        let behind = Tensor::from_fn([steps, batch, 1], |i| i / batch >= x.lengths[i % batch]);
        let mean = y.sum_dim(0, false) / lengths;
        let largest = y.masked_fill(&behind, f32::NEG_INFINITY).amax(0, false);
        self.class.forward(&self.dropout.forward(&ops::cat(&[&mean, &largest], 1)))
    }
}

/// What a saved network must say of itself, beside its words.
struct Size {
    cell: String,
    embedding: usize,
    hidden: usize,
}

fn main() -> Result<(), Error> {
    let given = Arguments::read(options());
    wengert::seed(given.seed());
    let text = given.predict()?;
    if let (Some(file), Some(text)) = (given.path("load"), text) {
        let (net, vocab, _) = load(file, 0.0)?;
        println!("{}", predict(&net, &vocab, text));
        return Ok(());
    }
    let mut rng = Rng::new(given.seed()).stream(1);
    let [train, test] = data(&given, &mut rng)?;
    let (mut net, vocab, size) = match given.path("load") {
        Some(file) => load(file, given.real("dropout"))?,
        None => {
            let min_count = given.count("min-count") as u64;
            let vocab = Vocab::with(&train.texts, VocabOptions { lowercase: true, min_count, ..Default::default() });
            let cell = given.text("cell").expect("has a default").to_string();
            let size = Size { cell, embedding: given.count("embedding"), hidden: given.count("hidden") };
            (Classifier::new(vocab.len(), &size, given.real("dropout")), vocab, size)
        }
    };
    let numbers = |texts: &LabelledTexts| {
        let cut = |text: &String| {
            let mut numbers = vocab.encode(text);
            numbers.truncate(given.count("max-length"));
            numbers
        };
        Sequences::new(texts.texts.iter().map(cut).collect(), vocab.padding().expect("has one"))
    };
    let (x_train, x_test) = (numbers(&train), numbers(&test));
    println!("{} texts to learn from, {} to test on, {} different words", train.len(), test.len(), vocab.len());
    println!("bidirectional {} of {}, word vectors of {}\n", size.cell, size.hidden, size.embedding);

    let epochs = given.epochs();
    let batch_size = given.count("batch-size");
    let rate = schedule::cosine(given.real("lr"), given.real("lr") / 100.0, epochs * train.len().div_ceil(batch_size));
    let weight_decay = given.real("weight-decay");
    let mut optimizer = AdamW::with(AdamOptions { lr: given.real("lr"), weight_decay, ..Default::default() });
    let mut step = 0;
    for epoch in 1..=epochs {
        let start = Instant::now();
        let mut progress = Progress::new(format!("epoch {epoch}/{epochs}"), train.len());
        for indices in buckets(&x_train.lengths(), batch_size, &mut rng) {
            optimizer.set_lr(rate(step));
            step += 1;
            let mut x = x_train.batch(&indices);
            x.tokens = forget(&x.tokens, &vocab, given.real("word-dropout"), &mut rng);
            let y = labels(&train, &indices);
            let (loss, logits) = record(|| {
                let logits = net.forward(&x);
                (cross_entropy(&logits, &y), logits.detach())
            });
            progress.update(indices.len(), f64::from(loss.item()), hits(&logits.argmax(1, false).eq(&y)));
            let mut grads = loss.backward();
            grads.clip_norm(5.0);
            optimizer.step(&mut net, &grads);
        }
        let train_loss = progress.finish();
        println!(
            "epoch {epoch}: train loss {train_loss:.4}, test accuracy {:.2}%, {:.1} s",
            100.0 * accuracy(&classes(&net, &x_test), &test),
            start.elapsed().as_secs_f64()
        );
        if let Some(file) = given.path("save") {
            let [embedding, hidden] = [size.embedding, size.hidden].map(|n| n.to_string());
            let texts = [("cell", size.cell.clone()), ("embedding", embedding), ("hidden", hidden)];
            save(file, &net, &[&texts[..], &[("words", vocab.to_text())]].concat())?;
        }
    }

    if let Some(text) = text {
        println!("\n{}", predict(&net, &vocab, text));
    }
    let found = classes(&net, &x_test);
    let scores = (0..CLASSES.len()).map(|class| {
        let is = |&number: &i64| number == class as i64;
        let right = found.iter().zip(&test.labels).filter(|(found, label)| is(found) && is(label)).count();
        let [found, there] = [&found, &test.labels].map(|numbers| numbers.iter().filter(|number| is(number)).count());
        (CLASSES[class], Score { right, found, there })
    });
    println!("\n{}", table(scores));
    println!("test accuracy: {:.2}%", 100.0 * accuracy(&found, &test));
    Ok(())
}

/// The classes of the labels' texts, `[batch]`.
fn labels(texts: &LabelledTexts, indices: &[usize]) -> Tensor<i64> {
    Tensor::from_fn([indices.len()], |i| texts.labels[indices[i]])
}

/// The class that the network gives each text.
fn classes(net: &Classifier, texts: &Sequences) -> Vec<i64> {
    let all: Vec<usize> = (0..texts.len()).collect();
    all.chunks(64).flat_map(|part| net.forward(&texts.batch(part)).argmax(1, false).to_vec()).collect()
}

fn accuracy(found: &[i64], texts: &LabelledTexts) -> f64 {
    let hits = found.iter().zip(&texts.labels).filter(|(found, label)| found == label).count();
    hits as f64 / texts.len() as f64
}

fn predict(net: &Classifier, vocab: &Vocab, text: &str) -> String {
    let chances = net.forward(&pad(&[vocab.encode(text)], 0)).softmax(1);
    let class = chances.argmax(1, false).item() as usize;
    format!("{} ({:.1}%): {text}", CLASSES[class], 100.0 * chances.max().item())
}

/// A saved network, its words, and its size.
fn load(file: &Path, dropout: f64) -> Result<(Classifier, Vocab, Size), Error> {
    let saved = Saved::open(file)?;
    let vocab = saved.open_vocab("words")?;
    let cell = saved.one_of("cell", &CELLS)?;
    let size = Size { cell, embedding: saved.number("embedding")?, hidden: saved.number("hidden")? };
    let mut net = Classifier::new(vocab.len(), &size, dropout);
    text::load(file, &mut net)?;
    Ok((net, vocab, size))
}

/// Texts to learn from and texts to test on.
fn data(given: &Arguments, rng: &mut Rng) -> Result<[LabelledTexts; 2], Error> {
    let parts = match given.path("data") {
        Some(folder) if folder.join("train").exists() => {
            let imdb = Imdb::load(folder)?;
            [imdb.train, imdb.test]
        }
        Some(folder) => {
            let files = ["rt-polarity.neg", "rt-polarity.pos"];
            if !files.iter().any(|file| folder.join(file).exists()) {
                let expected = format!("a folder with {}, or with train and test", files.join(" and "));
                let found = if folder.is_dir() { "neither" } else { "no folder" };
                return Err(Error::malformed(folder, None, expected, found));
            }
            let reviews = read_rt_polarity(folder)?;
            let parts = held_out(reviews);
            if parts[1].is_empty() {
                return Err(Error::malformed(folder, None, "10 sentences in a file at least", "fewer"));
            }
            parts
        }
        None => {
            println!("Reviews put together by code. For real ones, put rt-polarity.neg and rt-polarity.pos, or IMDB's");
            println!(
                "train and test, in a folder DIR and call: cargo run --release --example sentiment -- --data DIR\n"
            );
            held_out(reviews(6_000, rng))
        }
    };
    Ok(if given.smoke() { parts.map(|part| some(part, 300)) } else { parts })
}

/// Every tenth text of each class is not learned from.
fn held_out(all: LabelledTexts) -> [LabelledTexts; 2] {
    let mut parts = [(); 2].map(|()| LabelledTexts::default());
    let mut counts = [0_usize; CLASSES.len()];
    for (text, label) in all.texts.into_iter().zip(all.labels) {
        let count = &mut counts[label as usize];
        *count += 1;
        let part = &mut parts[usize::from(count.is_multiple_of(10))];
        part.texts.push(text);
        part.labels.push(label);
    }
    parts
}

/// At most `most` texts, from all places.
fn some(texts: LabelledTexts, most: usize) -> LabelledTexts {
    let step = texts.len().div_ceil(most);
    LabelledTexts {
        texts: texts.texts.into_iter().step_by(step).collect(),
        labels: texts.labels.into_iter().step_by(step).collect(),
    }
}

fn options() -> Command {
    Command::new("sentiment")
        .about("A recurrent network tells whether a review is positive or negative.")
        .args([
            file(
                "data",
                "DIR",
                "Folder with rt-polarity.neg and .pos, or with IMDB's train and test [default: built-in]",
            ),
            option("cell", "CELL", "Kind of layer").value_parser(CELLS).default_value("lstm"),
            count("batch-size", "Texts per step").default_value("32"),
            count("embedding", "Numbers of a word's vector").default_value("64"),
            count("hidden", "Width of the layer in each direction").default_value("64"),
            count("min-count", "Words that are seen less often are unknown").default_value("2"),
            count("max-length", "Words of a text that are read").default_value("400"),
            real("dropout", "0.5", arguments::dropout, "Dropout of the words' vectors and before the decision"),
            real("word-dropout", "0.1", arguments::dropout, "Words that are made unknown while training"),
            real("lr", "0.003", arguments::positive, "Learning rate of AdamW at first; it falls to a hundredth"),
            real("weight-decay", "0.01", arguments::not_negative, "Weight decay of AdamW"),
            option("predict", "TEXT", "Classify this text: after training, or at once with --load"),
        ])
        .args(text::options("5"))
}
