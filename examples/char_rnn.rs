//! A recurrent network learns to write, character by character.
//!
//! `cargo run --release --example char_rnn` trains a two-layer LSTM on the sources of this crate, offline, and prints what it
//! writes after each epoch. `-- --data FILE` takes any text in UTF-8 instead, `--cell gru` or `--cell rnn` another cell.
//! Expect the loss on the last tenth of the text, which is not learned from, to fall from epoch to epoch, and words, then
//! lines, that look like the text's. With `--data tinyshakespeare.txt --epochs 17` it was 1.54 nats per character after 5 epochs
//! and 1.467 at the end (PyTorch with the same recipe: 1.55 and 1.471), in half a minute for each epoch on two cores. `--save FILE`
//! keeps the network with its characters; `--load FILE --epochs 0 --generate 1000 --prompt TEXT` lets it go on writing.
//! `-- --help` lists the options.
//!
//! The text stands in columns that are read side by side in short pieces; each piece begins with the state that the one before
//! has left, through which no gradient flows (truncated back-propagation through time).
//!
//! Mikolov, Karafiát, Burget, Černocký, Khudanpur, "Recurrent neural network based language model", 2010.

use std::path::{Path, PathBuf};
use std::time::Instant;
use support::Progress;
use support::arguments::{self, Arguments, count, file, option, real};
use support::clap::Command;
use support::text::recurrent::{CELLS, Recurrent, State};
use support::text::{self, Saved, hits, save};
use wengert::data::text::{Vocab, read_text};
use wengert::loss::cross_entropy;
use wengert::nn::{Dropout, Embedding, Layer, Linear, LstmOptions, Module};
use wengert::optim::{Adam, Optimizer, schedule};
use wengert::{Error, Rng, Tensor, module, record};

struct Writer {
    letters: Embedding,
    recurrent: Recurrent,
    next: Linear,
    dropout: Dropout,
}
module!(Writer { letters, recurrent, next });

impl Writer {
    fn new(characters: usize, size: &Size, dropout: f64) -> Writer {
        let (hidden, layers) = (size.hidden, size.layers);
        let options = LstmOptions { layers, dropout, ..Default::default() };
        let recurrent = Recurrent::new(&size.cell, hidden, hidden, options);
        Writer {
            letters: Embedding::new(characters, hidden),
            recurrent,
            next: Linear::new(hidden, characters),
            dropout: Dropout::new(dropout),
        }
    }

    /// Characters `[steps, batch]` to logits `[steps * batch, characters]` of those that follow, and the state, cut off from
    /// the tape.
    fn forward(&self, x: &Tensor<i64>, state: Option<&State>) -> (Tensor, State) {
        let (y, state) = self.recurrent.forward(&self.letters.forward(x), state, None);
        let logits = self.next.forward(&self.dropout.forward(&y));
        let characters = logits.size(-1);
        (logits.reshape([x.numel(), characters]), state.detach())
    }
}

/// What a saved network must say of itself, beside its characters.
struct Size {
    cell: String,
    hidden: usize,
    layers: usize,
}

fn main() -> Result<(), Error> {
    let given = Arguments::read(options());
    wengert::seed(given.seed());
    let smoke = given.smoke();
    let mut rng = Rng::new(given.seed()).stream(1);

    let mut text = match given.path("data") {
        Some(file) => read_text(file)?,
        None => sources()?,
    };
    if smoke {
        text = text.chars().take(8_000).collect();
    }
    let mut size = Size {
        cell: given.text("cell").expect("has a default").to_string(),
        hidden: if smoke { given.count("hidden").min(32) } else { given.count("hidden") },
        layers: given.count("layers"),
    };
    let vocab = match given.path("load") {
        Some(file) => saved(file, &mut size)?,
        None => Vocab::characters(&text),
    };
    let mut net = Writer::new(vocab.len(), &size, given.real("dropout"));
    if let Some(file) = given.path("load") {
        text::load(file, &mut net)?;
    }
    let prompt = prompt(&given, &vocab)?;
    let ids = vocab.try_encode(&text)?;
    let held_out = ids.len() / 10;
    if held_out < 2 {
        let file = given.path("data").unwrap_or(Path::new("text"));
        return Err(Error::malformed(file, None, "a text of at least 20 characters", format!("{} of them", ids.len())));
    }
    let (train, valid) = ids.split_at(ids.len() - held_out);
    let (batch, steps) = (given.count("batch-size"), given.count("seq-len"));
    let epochs = given.epochs();
    println!(
        "{} characters, {} different; {} of {} layers of {}, {} parameters\n",
        ids.len(),
        vocab.len(),
        size.cell,
        size.layers,
        size.hidden,
        net.num_parameters()
    );

    let [columns, height] = columns(train, batch);
    let rate = schedule::cosine(given.real("lr"), given.real("lr") / 100.0, epochs * height.div_ceil(steps));
    let mut optimizer = Adam::new(given.real("lr"));
    let mut step = 0;
    let mut valid_loss = None;
    for epoch in 1..=epochs {
        let start = Instant::now();
        let mut progress = Progress::new(format!("epoch {epoch}/{epochs}"), columns * height);
        let mut state = None;
        for (x, y) in pieces(train, batch, steps) {
            optimizer.set_lr(rate(step));
            step += 1;
            let (loss, logits, left) = record(|| {
                let (logits, left) = net.forward(&x, state.as_ref());
                (cross_entropy(&logits, &y), logits.detach(), left)
            });
            state = Some(left);
            progress.update(y.numel(), f64::from(loss.item()), hits(&logits.argmax(-1, false).eq(&y)));
            let mut grads = loss.backward();
            grads.clip_norm(given.real("clip"));
            optimizer.step(&mut net, &grads);
        }
        let train_loss = progress.finish();
        let loss = evaluate(&net, valid, batch, steps);
        valid_loss = Some(loss);
        println!(
            "epoch {epoch}: train loss {train_loss:.3}, validation loss {loss:.3} nats, {:.3} bits per character, {:.1} s",
            loss / std::f64::consts::LN_2,
            start.elapsed().as_secs_f64()
        );
        println!("{}\n", write(&net, &vocab, &prompt, 200, given.real("temperature"), &mut rng));
        if let Some(file) = given.path("save") {
            let texts = [("characters", vocab.tokens().collect()), ("cell", size.cell.clone())];
            let sizes = [("hidden", size.hidden.to_string()), ("layers", size.layers.to_string())];
            save(file, &net, &[texts, sizes].concat())?;
        }
    }

    if let Some(count) = given.optional("generate") {
        println!("{}\n", write(&net, &vocab, &prompt, count, given.real("temperature"), &mut rng));
    }
    let loss = valid_loss.unwrap_or_else(|| evaluate(&net, valid, batch, steps));
    println!("validation loss: {loss:.3} nats/char");
    Ok(())
}

/// Columns that a text is read in, at most `batch`, and characters of each that have one behind them.
fn columns(ids: &[i64], batch: usize) -> [usize; 2] {
    let columns = batch.min(ids.len() - 1);
    [columns, (ids.len() - 1) / columns]
}

/// The text in at most `batch` columns, in pieces of at most `steps`: characters `[steps, batch]` and, flat, those that follow.
fn pieces(ids: &[i64], batch: usize, steps: usize) -> impl Iterator<Item = (Tensor<i64>, Tensor<i64>)> + '_ {
    let [batch, height] = columns(ids, batch);
    (0..height).step_by(steps).map(move |start| {
        let steps = steps.min(height - start);
        let piece = |ahead| Tensor::from_fn([steps, batch], |n| ids[n % batch * height + start + n / batch + ahead]);
        (piece(0), piece(1).reshape([steps * batch]))
    })
}

/// The mean loss of a character in nats.
fn evaluate(net: &Writer, ids: &[i64], batch: usize, steps: usize) -> f64 {
    let (mut state, mut sum, mut count) = (None, 0.0, 0);
    for (x, y) in pieces(ids, batch, steps) {
        let (logits, left) = net.forward(&x, state.as_ref());
        state = Some(left);
        sum += f64::from(cross_entropy(&logits, &y).item()) * y.numel() as f64;
        count += y.numel();
    }
    sum / count as f64
}

/// The prompt and `count` characters that the network puts behind it; at temperature 0 always the likeliest.
fn write(net: &Writer, vocab: &Vocab, prompt: &[i64], count: usize, temperature: f64, rng: &mut Rng) -> String {
    let mut all = prompt.to_vec();
    let (mut logits, mut state) = net.forward(&Tensor::from_slice(prompt, [prompt.len(), 1]), None);
    for _ in 0..count {
        let last = logits.i(logits.size(0) as isize - 1);
        let next = if temperature == 0.0 {
            last.argmax(0, false).item()
        } else {
            // The largest is taken away first: divided by a low temperature it may be infinite.
            let chances = ((&last - last.max().item()) / temperature as f32).softmax(0).to_vec();
            let mut left = rng.uniform_f32();
            let drawn = chances.iter().position(|chance| {
                left -= chance;
                left < 0.0
            });
            drawn.unwrap_or(chances.len() - 1) as i64
        };
        all.push(next);
        (logits, state) = net.forward(&Tensor::from_slice(&[next], [1, 1]), Some(&state));
    }
    vocab.decode(&all)
}

/// The numbers of the prompt's characters; without one, of a line's end or whatever character comes first.
fn prompt(given: &Arguments, vocab: &Vocab) -> Result<Vec<i64>, Error> {
    let text = given.text("prompt").filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(vec![vocab.number("\n").unwrap_or(0)]) };
    let number = |(at, c): (usize, char)| {
        let unknown = || Error::malformed("--prompt", at as u64, "a character of the text", format!("{c:?}"));
        vocab.number(&c.to_string()).ok_or_else(unknown)
    };
    text.char_indices().map(number).collect()
}

/// The characters of a saved network, and its size.
fn saved(file: &Path, size: &mut Size) -> Result<Vocab, Error> {
    let saved = Saved::open(file)?;
    let cell = saved.one_of("cell", &CELLS)?;
    *size = Size { cell, hidden: saved.number("hidden")?, layers: saved.number("layers")? };
    Ok(Vocab::characters(saved.text("characters")?))
}

/// This crate's sources, in the order of their paths.
fn sources() -> Result<String, Error> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
        let failed = |e| Error::io(folder, "a folder of Rust sources", e);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                collect(&path, files)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files)?;
    files.sort();
    files.iter().map(read_text).collect()
}

fn options() -> Command {
    Command::new("char_rnn")
        .about("A recurrent network learns to write, character by character.")
        .args([
            file("data", "FILE", "Text in UTF-8 [default: the sources of this crate]"),
            option("cell", "CELL", "Kind of layer").value_parser(CELLS).default_value("lstm"),
            count("batch-size", "Columns of text side by side").default_value("64"),
            count("seq-len", "Characters through which gradients flow").default_value("64"),
            count("hidden", "Width of a layer").default_value("256"),
            count("layers", "Layers on top of each other").default_value("2"),
            real("dropout", "0.3", arguments::dropout, "Dropout between layers and behind the last"),
            real("lr", "0.002", arguments::positive, "Learning rate of Adam at first; it falls to a hundredth"),
            real("clip", "5", arguments::positive, "Largest norm of a step's gradients"),
            real("temperature", "0.8", arguments::not_negative, "Boldness of what is written; 0 for none"),
            count("generate", "Characters to write at the end"),
            option("prompt", "TEXT", "What the network goes on from"),
        ])
        .args(text::options("20"))
}
