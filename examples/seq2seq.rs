//! A recurrent encoder and decoder with attention rewrite sentences: dates in many forms to ISO, or one language to another.
//!
//! `cargo run --release --example seq2seq` learns to read dates ("the 3rd of May 1998", "5/3/98" with the month first,
//! "3.5.1998" with the day first, "Sunday, May 3, 1998"), offline, from a calendar of the hundred years from 1950.
//! `-- --data FILE` takes pairs of sentences instead, a pair a line with a tab between them, as Tatoeba's are, and reads them
//! word by word. A tenth of the dates, or of the sentences, is held out and tested on. `--save FILE` keeps the network with its
//! vocabularies; `--load FILE --epochs 0 --translate TEXT` uses it. `--plot DIR` draws where the decoder looked. `-- --help`
//! lists the options.
//!
//! Expect every one of 2,000 dates that it has not learned from to be right after the four epochs, of about 9 s each on two
//! cores. Of sentences it reports BLEU-4, in which punctuation marks count as words.
//!
//! The encoder is a GRU in both directions. The decoder, a GRU that begins with the encoder's last states, asks with each of its
//! states which of the encoder's matter, and takes their mean into account: with the right words so far as its input (teacher
//! forcing) all steps are computed at once.
//!
//! Bahdanau, Cho, Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015; the order of the
//! decoder's steps is that of Luong, Pham, Manning, "Effective approaches to attention-based neural machine translation", 2015.

use std::path::Path;
use std::time::Instant;
use support::arguments::{self, Arguments, count, file, flag, option, real, seed, threads, whole};
use support::clap::Command;
use support::clap::builder::NonEmptyStringValueParser;
use support::pairs::{END, Languages, Pairs, START, vocab};
use support::text::{self, Saved};
use support::{Progress, folder};
use wengert::data::Dataset;
use wengert::data::image::write_png;
use wengert::data::plot::heat_map;
use wengert::data::text::{Padded, Sequences, Tokenizer, Vocab, bleu, buckets, pad};
use wengert::loss::{CrossEntropyOptions, cross_entropy_with};
use wengert::nn::{
    AdditiveAttention, Attended, DotAttention, Dropout, Embedding, Gru, GruOptions, Keys, Layer, Linear, Module,
    SearchOptions, Walk, WalkMut, beam_search, greedy_search,
};
use wengert::ops::cat;
use wengert::optim::{Adam, Optimizer, schedule};
use wengert::{Error, Rng, Tensor, module, record};

#[expect(clippy::large_enum_variant, reason = "there is only one, in the network")]
enum Attention {
    Additive(AdditiveAttention),
    Dot(DotAttention),
}

impl Attention {
    fn keys(&self, states: &Tensor, lengths: &[usize]) -> Keys {
        match self {
            Attention::Additive(attention) => attention.keys(states, Some(lengths)),
            Attention::Dot(attention) => attention.keys(states, Some(lengths)),
        }
    }

    fn attend(&self, query: &Tensor, keys: &Keys) -> Attended {
        match self {
            Attention::Additive(attention) => attention.attend(query, keys),
            Attention::Dot(attention) => attention.attend(query, keys),
        }
    }
}

impl Module for Attention {
    fn visit(&self, walk: &mut Walk<f32>) {
        match self {
            Attention::Additive(attention) => attention.visit(walk),
            Attention::Dot(attention) => attention.visit(walk),
        }
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<f32>) {
        match self {
            Attention::Additive(attention) => attention.visit_mut(walk),
            Attention::Dot(attention) => attention.visit_mut(walk),
        }
    }
}

struct Translator {
    source: Embedding,
    encoder: Gru,
    target: Embedding,
    decoder: Gru,
    attention: Attention,
    combine: Linear,
    next: Linear,
    dropout: Dropout,
}
module!(Translator { source, encoder, target, decoder, attention, combine, next });

/// What the decoder gives for some steps.
struct Decoded {
    /// `[batch, steps, tokens]`.
    logits: Tensor,
    /// `[batch, steps, time]`: how much each source token counted.
    weights: Tensor,
    /// `[1, batch, hidden]`.
    state: Tensor,
}

impl Translator {
    fn new(from: &Vocab, to: &Vocab, size: &Size, dropout: f64) -> Translator {
        let Size { embedding, hidden, .. } = *size;
        let both = GruOptions { bidirectional: true, batch_first: true, ..Default::default() };
        Translator {
            source: Embedding::new(from.len(), embedding),
            encoder: Gru::with(embedding, hidden / 2, both),
            target: Embedding::new(to.len(), embedding),
            decoder: Gru::with(embedding, hidden, GruOptions { batch_first: true, ..Default::default() }),
            attention: match size.attention.as_str() {
                "dot" => Attention::Dot(DotAttention::dot()),
                _ => Attention::Additive(AdditiveAttention::new(hidden, hidden, hidden)),
            },
            combine: Linear::new(2 * hidden, hidden),
            next: Linear::new(hidden, to.len()),
            dropout: Dropout::new(dropout),
        }
    }

    /// Source tokens `[batch, time]` to what the decoder asks, and its first state.
    fn encode(&self, x: &Padded) -> (Keys, Tensor) {
        let x_embedded = self.dropout.forward(&self.source.forward(&x.tokens));
        let (states, last) = self.encoder.forward_with(&x_embedded, None, Some(&x.lengths)); // [batch, time, hidden]
        let state = cat(&[&last.select(0, 0), &last.select(0, 1)], 1).unsqueeze(0);
        (self.attention.keys(&states, &x.lengths), state)
    }

    /// Reads target tokens `[batch, steps]`.
    fn decode(&self, keys: &Keys, state: &Tensor, tokens: &Tensor<i64>) -> Decoded {
        let embedded = self.dropout.forward(&self.target.forward(tokens));
        let (y, state) = self.decoder.forward_with(&embedded, Some(state), None); // [batch, steps, hidden]
        let found = self.attention.attend(&y, keys);
        let y = self.combine.forward(&cat(&[&y, &found.context], 2)).tanh();
        Decoded { logits: self.next.forward(&self.dropout.forward(&y)), weights: found.weights, state }
    }

    /// Logits of what follows each of the target tokens `[batch, steps]`; not forced, each step reads what the one before
    /// thought likeliest.
    fn forward(&self, x: &Padded, tokens: &Tensor<i64>, forced: bool) -> Tensor {
        let (keys, mut state) = self.encode(x);
        if forced {
            return self.decode(&keys, &state, tokens).logits;
        }
        let (mut token, mut logits) = (tokens.narrow(1, 0, 1), Vec::new());
        for _ in 0..tokens.size(1) {
            let step = self.decode(&keys, &state, &token);
            token = step.logits.argmax(2, false);
            state = step.state;
            logits.push(step.logits);
        }
        cat(&logits.iter().collect::<Vec<_>>(), 1)
    }

    /// The mean loss of the tokens of `y`, how many it has, and how many of them were right.
    fn loss(&self, x: &Padded, y: &Padded, padding: i64, forced: bool) -> (Tensor, usize, usize) {
        let steps = y.tokens.size(1) - 1;
        let expected = y.tokens.narrow(1, 1, steps).flatten(0);
        let logits = self.forward(x, &y.tokens.narrow(1, 0, steps), forced);
        let logits = logits.reshape([expected.numel(), logits.size(2)]);
        let options = CrossEntropyOptions { ignore_index: padding, ..Default::default() };
        let loss = cross_entropy_with(&logits, &expected, options);
        let hits = logits.argmax(1, false).eq(&expected).logical_and(&expected.ne_scalar(padding));
        (loss, y.lengths.iter().sum::<usize>() - y.lengths.len(), text::hits(&hits))
    }
}

/// What a saved network must say of itself, beside its vocabularies.
struct Size {
    attention: String,
    embedding: usize,
    hidden: usize,
}

fn main() -> Result<(), Error> {
    let given = Arguments::read(options());
    wengert::seed(given.seed());
    let smoke = given.smoke();
    let mut rng = Rng::new(given.seed()).stream(1);

    let mut pairs = match given.path("data") {
        Some(file) => Pairs::read(file, &mut rng)?,
        None => Pairs::dates(&mut rng),
    };
    let mut size = Size {
        attention: given.text("attention").expect("has a default").to_string(),
        embedding: given.count("embedding"),
        hidden: if smoke { given.count("hidden").min(32) } else { given.count("hidden") },
    };
    let words = given.path("data").is_some();
    let languages = match given.path("load") {
        Some(file) => saved(file, &mut size, words)?,
        None => Languages::new(&pairs.train, words),
    };
    pairs.test.truncate(if smoke { 50 } else { given.count("test") });
    if smoke {
        pairs.train.truncate(640);
    }
    let mut net = Translator::new(&languages.from, &languages.to, &size, given.real("dropout"));
    if let Some(file) = given.path("load") {
        text::load(file, &mut net)?;
    }
    let asked = asked(&given, &languages)?;
    println!("{} pairs to learn from, {} sentences to test on", pairs.train.len(), pairs.test.len());
    println!(
        "{} and {} {}, {} attention, {} parameters\n",
        languages.from.len(),
        languages.to.len(),
        if words { "words" } else { "characters" },
        size.attention,
        net.num_parameters()
    );

    train(&mut net, &languages, &size, &pairs, &given, &mut rng)?;

    let translated = |text: &String| {
        Ok::<_, Error>(translate(&net, &languages, &languages.from.try_encode(text)?, given.count("beam")))
    };
    let texts = || pairs.test.iter().map(|(text, _)| text);
    let translations = texts().map(translated).collect::<Result<Vec<_>, _>>()?;
    let shown: Vec<(&String, Vec<i64>)> = match &asked {
        Some(text) => vec![(text, translated(text)?)],
        None => texts().zip(translations.iter().cloned()).take(10).collect(),
    };
    for (text, tokens) in &shown {
        println!("{text} -> {}", languages.to.decode(tokens));
    }
    if let Some(dir) = given.path("plot") {
        folder(dir)?;
        for (i, (text, tokens)) in shown.iter().take(3).enumerate() {
            let file = dir.join(format!("attention-{}.png", i + 1));
            plot(&file, &net, &languages, text, tokens)?;
            println!("wrote {}", file.display());
        }
    }
    println!("\n{}", score(&languages, &pairs, &translations));
    Ok(())
}

/// BLEU-4 of translated sentences; how many of the dates are right to the last digit.
fn score(languages: &Languages, pairs: &Pairs, translations: &[Vec<i64>]) -> String {
    if !languages.words {
        let right = |(found, (_, all)): &(&Vec<i64>, &(String, Vec<String>))| all.contains(&languages.to.decode(found));
        let hits = translations.iter().zip(&pairs.test).filter(right).count();
        return format!("exact match: {:.2}%", 100.0 * hits as f64 / translations.len() as f64);
    }
    let tokens = |text: &String| Tokenizer::Words.tokens(text).into_iter().map(String::from).collect();
    let references: Vec<Vec<_>> = pairs.test.iter().map(|(_, all)| all.iter().map(tokens).collect()).collect();
    let cut = |numbers: &Vec<i64>| numbers.iter().map(|&n| languages.to.token(n).to_string()).collect();
    let candidates: Vec<_> = translations.iter().map(cut).collect();
    format!("BLEU: {:.1}", 100.0 * bleu(&candidates, &references))
}

/// Trains for the epochs that are asked for; tells the loss on what is held out.
fn train(
    net: &mut Translator,
    languages: &Languages,
    size: &Size,
    pairs: &Pairs,
    given: &Arguments,
    rng: &mut Rng,
) -> Result<(), Error> {
    let (epochs, batch_size, padding) = (given.epochs(), given.count("batch-size"), languages.padding());
    let from = languages.sources(pairs.train.iter().map(|(from, _)| from))?;
    let to = languages.targets(pairs.train.iter().map(|(_, to)| to))?;
    let held_out = [
        languages.sources(pairs.test.iter().map(|(from, _)| from))?,
        languages.targets(pairs.test.iter().map(|(_, all)| &all[0]))?,
    ];
    let tokens: usize = to.lengths().iter().map(|length| length - 1).sum();
    let rate = schedule::cosine(given.real("lr"), given.real("lr") / 100.0, epochs * from.len().div_ceil(batch_size));
    let mut optimizer = Adam::new(given.real("lr"));
    let mut step = 0;
    for epoch in 1..=epochs {
        let start = Instant::now();
        let mut progress = Progress::new(format!("epoch {epoch}/{epochs}"), tokens);
        for indices in buckets(&from.lengths(), batch_size, rng) {
            optimizer.set_lr(rate(step));
            step += 1;
            let forced = rng.uniform() < given.real("teacher-forcing");
            let (x, y) = (from.batch(&indices), to.batch(&indices));
            let (loss, tokens, hits) = record(|| net.loss(&x, &y, padding, forced));
            progress.update(tokens, f64::from(loss.item()), hits);
            let mut grads = loss.backward();
            grads.clip_norm(given.real("clip"));
            optimizer.step(net, &grads);
        }
        let train_loss = progress.finish();
        let (loss, accuracy) = evaluate(net, &held_out, padding, batch_size);
        println!(
            "epoch {epoch}: train loss {train_loss:.4}, validation loss {loss:.4}, token accuracy {:.2}%, {:.1} s",
            100.0 * accuracy,
            start.elapsed().as_secs_f64()
        );
        if !loss.is_finite() {
            let found = format!("{loss}; a lower --lr may help");
            return Err(Error::malformed("network", None, "a loss that is a number", found));
        }
        if let Some(file) = given.path("save") {
            save(file, net, languages, size)?;
        }
    }
    Ok(())
}

/// The mean loss of a token, and the part of them that is right behind the right ones.
fn evaluate(net: &Translator, [from, to]: &[Sequences; 2], padding: i64, batch_size: usize) -> (f64, f64) {
    let (mut sum, mut count, mut right) = (0.0, 0, 0);
    for indices in (0..from.len()).collect::<Vec<_>>().chunks(batch_size) {
        let (loss, tokens, hits) = net.loss(&from.batch(indices), &to.batch(indices), padding, true);
        sum += f64::from(loss.item()) * tokens as f64;
        count += tokens;
        right += hits;
    }
    (sum / count as f64, right as f64 / count as f64)
}

/// Makes up for the smaller probability of longer translations; all dates have one length.
const LENGTH_PENALTY: f64 = 0.7;

fn translate(net: &Translator, languages: &Languages, tokens: &[i64], beam: usize) -> Vec<i64> {
    let (keys, state) = net.encode(&pad(&[tokens], languages.padding()));
    let step = |token, state: &mut Tensor| {
        let decoded = net.decode(&keys, state, &Tensor::from_slice(&[token], [1, 1]));
        *state = decoded.state;
        decoded.logits.flatten(0).log_softmax(0)
    };
    let options = SearchOptions {
        end: Some(languages.special(END)),
        max_length: 2 * tokens.len() + 10,
        beam_width: beam,
        length_penalty: LENGTH_PENALTY,
    };
    let start = languages.special(START);
    if beam == 1 {
        return greedy_search(state, start, options, step).tokens;
    }
    beam_search(state, start, options, step).swap_remove(0).tokens
}

/// Draws how much each token of the text counted for each of its translation.
fn plot(file: &Path, net: &Translator, languages: &Languages, text: &str, translation: &[i64]) -> Result<(), Error> {
    let tokens = languages.from.try_encode(text)?;
    let (keys, state) = net.encode(&pad(&[&tokens[..]], languages.padding()));
    let read = [&[languages.special(START)], translation].concat();
    let decoded = net.decode(&keys, &state, &Tensor::from_slice(&read, [1, read.len()]));
    let seen = |token| if token == " " { "\u{2423}" } else { token };
    let columns: Vec<&str> = tokens.iter().map(|&n| seen(languages.from.token(n))).collect();
    let rows = translation.iter().map(|&n| languages.to.token(n)).chain([END]).collect::<Vec<_>>();
    let title = format!("{text} \u{2192} {}", languages.to.decode(translation));
    write_png(file, &heat_map(&title, &decoded.weights.select(0, 0), &rows, &columns))
}

/// The text that is to be translated, which the network can read.
fn asked(given: &Arguments, languages: &Languages) -> Result<Option<String>, Error> {
    let Some(text) = given.text("translate") else { return Ok(None) };
    match languages.from.try_encode(text) {
        Ok(tokens) if tokens.is_empty() => Err(Error::malformed("--translate", None, "a text", "white space")),
        Ok(_) => Ok(Some(text.to_string())),
        Err(Error::Malformed { offset, found, .. }) => {
            Err(Error::malformed("--translate", offset, "a character that dates are written with", found))
        }
        Err(e) => Err(e),
    }
}

fn save(file: &Path, net: &Translator, languages: &Languages, size: &Size) -> Result<(), Error> {
    let tokens = |vocab: &Vocab| vocab.tokens().collect::<Vec<_>>().join("\n");
    let texts = [
        ("from", tokens(&languages.from)),
        ("to", tokens(&languages.to)),
        ("tokens", if languages.words { "words" } else { "characters" }.to_string()),
        ("attention", size.attention.clone()),
        ("embedding", size.embedding.to_string()),
        ("hidden", size.hidden.to_string()),
    ];
    text::save(file, net, &texts)
}

/// The vocabularies of a saved network, and its size.
fn saved(file: &Path, size: &mut Size, words: bool) -> Result<Languages, Error> {
    let saved = Saved::open(file)?;
    let attention = saved.text("attention")?.to_string();
    if !ATTENTIONS.contains(&attention.as_str()) {
        return Err(saved.wrong("additive or dot as attention", &attention));
    }
    let expected = if words { "words" } else { "characters" };
    if saved.text("tokens")? != expected {
        let expected = format!("a network that reads {expected}: sentences want --data, dates do not");
        return Err(saved.wrong(&expected, saved.text("tokens")?));
    }
    *size = Size { attention, embedding: saved.number("embedding")?, hidden: saved.number("hidden")? };
    if size.hidden % 2 == 1 {
        return Err(saved.wrong("an even number as hidden", saved.text("hidden")?));
    }
    let vocab = |name| Ok::<_, Error>(vocab(saved.text(name)?.split('\n'), words));
    Ok(Languages { from: vocab("from")?, to: vocab("to")?, words })
}

const ATTENTIONS: [&str; 2] = ["additive", "dot"];

fn options() -> Command {
    let even = |text: &str| match text.parse::<usize>() {
        Ok(n) if n > 0 && n % 2 == 0 => Ok(n),
        _ => Err("not an even number from 2"),
    };
    Command::new("seq2seq").about("A recurrent encoder and decoder with attention rewrite sentences.").args([
        file("data", "FILE", "Pairs of sentences, a pair a line with a tab between them [default: dates]"),
        option("attention", "KIND", "How states are compared").value_parser(ATTENTIONS).default_value("additive"),
        real("teacher-forcing", "1", |x| (0.0..=1.0).contains(&x), "Part of the batches that read the right tokens"),
        count("beam", "Hypotheses that the search follows").default_value("1"),
        option("epochs", "N", "Passes over the pairs; 0 with --load only tests and translates")
            .value_parser(whole(..))
            .default_value("4"),
        count("batch-size", "Pairs per step").default_value("64"),
        option("hidden", "N", "Width of the decoder; a direction of the encoder has half of it")
            .value_parser(even)
            .default_value("128"),
        count("embedding", "Width of a token").default_value("64"),
        real("dropout", "0.1", arguments::dropout, "Dropout of embeddings and before the last layer"),
        real("lr", "0.002", arguments::positive, "Learning rate of Adam at first; it falls to a hundredth"),
        real("clip", "5", arguments::positive, "Largest norm of a step's gradients"),
        count("test", "Sentences of the held-out tenth that are tested on, at most").default_value("2000"),
        seed(),
        threads(),
        file("save", "FILE", "Save the network after each epoch, as safetensors"),
        file("load", "FILE", "Start from a saved network, with its vocabularies and size"),
        option("translate", "TEXT", "A text to translate at the end").value_parser(NonEmptyStringValueParser::new()),
        file("plot", "DIR", "Draw the attention of the first translations as PNG"),
        flag("smoke", "A run of seconds on a little data, for tests"),
    ])
}
