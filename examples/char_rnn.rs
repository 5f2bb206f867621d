//! A recurrent network learns to write, character by character.
//!
//! `cargo run --release --example char_rnn` trains a two-layer LSTM on the sources of this crate, offline, and prints what it
//! writes after each epoch. `-- --data FILE` takes any text in UTF-8 instead, `--cell gru` or `--cell rnn` another cell.
//! Expect the loss on the last tenth of the text, which is not learned from, to fall from epoch to epoch, and words, then
//! lines, that look like the text's. With `--data tinyshakespeare.txt --epochs 17` it was 1.54 nats per character after 5 epochs
//! and 1.467 at the end, in half a minute for each epoch on two cores. `--save FILE` keeps the network with its characters; `--load FILE --epochs 0 --generate
//! 1000 --prompt TEXT` lets it go on writing. `-- --help` lists the options.
//!
//! The text stands in columns that are read side by side in short pieces; each piece begins with the state that the one before
//! has left, through which no gradient flows (truncated back-propagation through time).
//!
//! Mikolov, Karafiát, Burget, Černocký, Khudanpur, "Recurrent neural network based language model", 2010.

#[path = "support/progress.rs"]
mod progress;

use clap::builder::RangedU64ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use progress::Progress;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use wengert::data::text::{Vocab, read_text};
use wengert::loss::cross_entropy;
use wengert::nn::{
    Dropout, Embedding, Gru, GruOptions, Layer, Linear, Lstm, LstmOptions, LstmState, Module, Rnn, RnnOptions, Walk,
    WalkMut,
};
use wengert::optim::{Adam, Optimizer, schedule};
use wengert::{Error, Rng, Tensor, io, module, record};

enum Recurrent {
    Lstm(Lstm),
    Gru(Gru),
    Rnn(Rnn),
}

enum State {
    Lstm(LstmState),
    Hidden(Tensor),
}

impl Recurrent {
    /// `[steps, batch, hidden]` to the same, and the state, cut off from the tape.
    fn forward(&self, x: &Tensor, state: Option<&State>) -> (Tensor, State) {
        let hidden = match state {
            Some(State::Hidden(h)) => Some(h),
            _ => None,
        };
        match self {
            Recurrent::Lstm(lstm) => {
                let before = match state {
                    Some(State::Lstm(state)) => Some(state),
                    _ => None,
                };
                let (y, state) = lstm.forward_with(x, before, None);
                (y, State::Lstm(state.detach()))
            }
            Recurrent::Gru(gru) => {
                let (y, h) = gru.forward_with(x, hidden, None);
                (y, State::Hidden(h.detach()))
            }
            Recurrent::Rnn(rnn) => {
                let (y, h) = rnn.forward_with(x, hidden, None);
                (y, State::Hidden(h.detach()))
            }
        }
    }
}

impl Module for Recurrent {
    fn visit(&self, walk: &mut Walk<f32>) {
        match self {
            Recurrent::Lstm(lstm) => lstm.visit(walk),
            Recurrent::Gru(gru) => gru.visit(walk),
            Recurrent::Rnn(rnn) => rnn.visit(walk),
        }
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<f32>) {
        match self {
            Recurrent::Lstm(lstm) => lstm.visit_mut(walk),
            Recurrent::Gru(gru) => gru.visit_mut(walk),
            Recurrent::Rnn(rnn) => rnn.visit_mut(walk),
        }
    }
}

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
        let recurrent = match size.cell.as_str() {
            "gru" => Recurrent::Gru(Gru::with(hidden, hidden, GruOptions { layers, dropout, ..Default::default() })),
            "rnn" => Recurrent::Rnn(Rnn::with(hidden, hidden, RnnOptions { layers, dropout, ..Default::default() })),
            _ => Recurrent::Lstm(Lstm::with(hidden, hidden, LstmOptions { layers, dropout, ..Default::default() })),
        };
        Writer {
            letters: Embedding::new(characters, hidden),
            recurrent,
            next: Linear::new(hidden, characters),
            dropout: Dropout::new(dropout),
        }
    }

    /// Characters `[steps, batch]` to logits `[steps * batch, characters]` of those that follow, and the state.
    fn forward(&self, x: &Tensor<i64>, state: Option<&State>) -> (Tensor, State) {
        let (y, state) = self.recurrent.forward(&self.letters.forward(x), state);
        let logits = self.next.forward(&self.dropout.forward(&y));
        let characters = logits.size(-1);
        (logits.reshape([x.numel(), characters]), state)
    }
}

/// What a saved network must say of itself, beside its characters.
struct Size {
    cell: String,
    hidden: usize,
    layers: usize,
}

fn main() -> Result<(), Error> {
    let found = options().get_matches();
    let number = |name: &str| *found.get_one::<usize>(name).expect("has a default");
    let real = |name: &str| *found.get_one::<f64>(name).expect("has a default");
    let path = |name: &str| found.get_one::<PathBuf>(name);
    if let Some(&threads) = found.get_one::<usize>("threads") {
        wengert::set_num_threads(threads);
    }
    let smoke = found.get_flag("smoke");
    let seed = *found.get_one::<u64>("seed").expect("has a default");
    wengert::seed(seed);
    let mut rng = Rng::new(seed).stream(1);

    let mut text = match path("data") {
        Some(file) => read_text(file)?,
        None => sources()?,
    };
    if smoke {
        text = text.chars().take(8_000).collect();
    }
    let mut size = Size {
        cell: found.get_one::<String>("cell").expect("has a default").clone(),
        hidden: if smoke { number("hidden").min(32) } else { number("hidden") },
        layers: number("layers"),
    };
    let vocab = match path("load") {
        Some(file) => saved(file, &mut size)?,
        None => Vocab::characters(&text),
    };
    let mut net = Writer::new(vocab.len(), &size, real("dropout"));
    if let Some(file) = path("load") {
        io::load(file, &mut net)?;
        println!("loaded {}", file.display());
    }
    let prompt = prompt(&found, &vocab)?;
    let ids = vocab.try_encode(&text)?;
    let held_out = ids.len() / 10;
    if held_out < 2 {
        let file = path("data").map_or(Path::new("text"), PathBuf::as_path);
        return Err(Error::malformed(file, None, "a text of at least 20 characters", format!("{} of them", ids.len())));
    }
    let (train, valid) = ids.split_at(ids.len() - held_out);
    let (batch, steps) = (number("batch-size"), number("seq-len"));
    let epochs = if smoke { number("epochs").min(1) } else { number("epochs") };
    let weights: usize = net.parameters().iter().map(|(_, weights)| weights.numel()).sum();
    println!(
        "{} characters, {} different; {} of {} layers of {}, {weights} parameters\n",
        ids.len(),
        vocab.len(),
        size.cell,
        size.layers,
        size.hidden
    );

    let [columns, height] = columns(train, batch);
    let rate = schedule::cosine(real("lr"), real("lr") / 100.0, epochs * height.div_ceil(steps));
    let mut optimizer = Adam::new(real("lr"));
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
            let hits = logits.argmax(-1, false).eq(&y).to_vec().into_iter().filter(|&hit| hit).count();
            progress.update(y.numel(), f64::from(loss.item()), hits);
            let mut grads = loss.backward();
            grads.clip_norm(real("clip"));
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
        println!("{}\n", write(&net, &vocab, &prompt, 200, real("temperature"), &mut rng));
        if let Some(file) = path("save") {
            save(file, &net, &vocab, &size)?;
        }
    }

    if let Some(&count) = found.get_one::<usize>("generate") {
        println!("{}\n", write(&net, &vocab, &prompt, count, real("temperature"), &mut rng));
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
fn prompt(found: &ArgMatches, vocab: &Vocab) -> Result<Vec<i64>, Error> {
    let text = found.get_one::<String>("prompt").filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(vec![vocab.number("\n").unwrap_or(0)]) };
    let number = |(at, c): (usize, char)| {
        let unknown = || Error::malformed("--prompt", at as u64, "a character of the text", format!("{c:?}"));
        vocab.number(&c.to_string()).ok_or_else(unknown)
    };
    text.char_indices().map(number).collect()
}

fn save(file: &Path, net: &Writer, vocab: &Vocab, size: &Size) -> Result<(), Error> {
    let tensors = io::state(net);
    let texts = [
        ("characters", vocab.tokens().collect()),
        ("cell", size.cell.clone()),
        ("hidden", size.hidden.to_string()),
        ("layers", size.layers.to_string()),
    ];
    let texts: BTreeMap<_, _> = texts.into_iter().map(|(name, text): (_, String)| (name.to_string(), text)).collect();
    io::save_tensors(file, &tensors, &texts)
}

/// The characters of a saved network, and its size.
fn saved(file: &Path, size: &mut Size) -> Result<Vocab, Error> {
    let saved = io::load_tensors(file)?;
    let number = |name: &str| {
        let text = saved.text(name)?;
        let wrong = || Error::malformed(file, None, format!("a number from 1 as {name}"), format!("{text:?}"));
        text.parse().ok().filter(|&n| n > 0).ok_or_else(wrong)
    };
    let cell = saved.text("cell")?.to_string();
    if !CELLS.contains(&cell.as_str()) {
        return Err(Error::malformed(file, None, "lstm, gru or rnn as cell", format!("{cell:?}")));
    }
    *size = Size { cell, hidden: number("hidden")?, layers: number("layers")? };
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

const CELLS: [&str; 3] = ["lstm", "gru", "rnn"];

fn options() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let count = |name, default: &'static str, help| {
        let least = if name == "epochs" { 0 } else { 1 };
        let parser = RangedU64ValueParser::<usize>::new().range(least..);
        option(name, "N", help).value_parser(parser).default_value(default)
    };
    let real = |name, default: &'static str, within: fn(f64) -> bool, help| {
        let parse = move |text: &str| match text.parse() {
            Ok(x) if within(x) => Ok(x),
            _ => Err("out of range or no number"),
        };
        option(name, "X", help).value_parser(parse).default_value(default)
    };
    let file = |name, help| option(name, "FILE", help).value_parser(value_parser!(PathBuf));
    let positive = |x: f64| x > 0.0 && x.is_finite();
    Command::new("char_rnn").about("A recurrent network learns to write, character by character.").args([
        file("data", "Text in UTF-8 [default: the sources of this crate]"),
        option("cell", "CELL", "Kind of layer").value_parser(CELLS).default_value("lstm"),
        count("epochs", "20", "Passes over the text; 0 with --load only tests and writes"),
        count("batch-size", "64", "Columns of text side by side"),
        count("seq-len", "64", "Characters through which gradients flow"),
        count("hidden", "256", "Width of a layer"),
        count("layers", "2", "Layers on top of each other"),
        real("dropout", "0.3", |x| (0.0..1.0).contains(&x), "Dropout between layers and behind the last"),
        real("lr", "0.002", positive, "Learning rate of Adam at first; it falls to a hundredth"),
        real("clip", "5", positive, "Largest norm of a step's gradients"),
        real("temperature", "0.8", |x| x >= 0.0 && x.is_finite(), "Boldness of what is written; 0 for none"),
        option("generate", "N", "Characters to write at the end")
            .value_parser(RangedU64ValueParser::<usize>::new().range(1..)),
        option("prompt", "TEXT", "What the network goes on from"),
        option("seed", "N", "Seed of everything random").value_parser(value_parser!(u64)).default_value("0"),
        option("threads", "N", "Threads [default: all cores]")
            .value_parser(RangedU64ValueParser::<usize>::new().range(1..)),
        file("save", "Save the network after each epoch, as safetensors"),
        file("load", "Start from a saved network, with its characters and size"),
        Arg::new("smoke").long("smoke").action(ArgAction::SetTrue).help("A run of seconds on a little text, for tests"),
    ])
}
