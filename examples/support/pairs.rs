//! Pairs of texts, and the vocabularies that they are read with.

use crate::dates;
use std::collections::HashMap;
use std::path::Path;
use wengert::data::text::{Sequences, Tokenizer, Vocab, VocabOptions, read_pairs};
use wengert::{Error, Rng};

/// What is translated: from and into which tokens.
pub struct Languages {
    pub from: Vocab,
    pub to: Vocab,
    pub words: bool,
}

pub const START: &str = "<start>";
pub const END: &str = "<end>";

impl Languages {
    /// Words that come but once are left out: so the network learns what to do about unknown ones.
    pub fn new(pairs: &[(String, String)], words: bool) -> Languages {
        let min_count = if words { 2 } else { 1 };
        let counted = |texts: Vec<&String>| {
            let all = Vocab::with(texts, VocabOptions { min_count, ..options_of(words) });
            vocab(all.tokens(), words)
        };
        let from = counted(pairs.iter().map(|(from, _)| from).collect());
        Languages { from, to: counted(pairs.iter().map(|(_, to)| to).collect()), words }
    }

    pub fn special(&self, token: &str) -> i64 {
        self.to.number(token).expect("every vocabulary has it")
    }

    pub fn padding(&self) -> i64 {
        self.to.padding().expect("every vocabulary has it")
    }

    pub fn sources<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Result<Sequences, Error> {
        let sequences = texts.map(|text| self.from.try_encode(text)).collect::<Result<_, _>>()?;
        Ok(Sequences::new(sequences, self.padding()))
    }

    /// With their start and their end.
    pub fn targets<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Result<Sequences, Error> {
        let whole = |text: &String| {
            let tokens = self.to.try_encode(text)?;
            Ok([&[self.special(START)], &tokens[..], &[self.special(END)]].concat())
        };
        Ok(Sequences::new(texts.map(whole).collect::<Result<_, Error>>()?, self.padding()))
    }
}

fn options_of(words: bool) -> VocabOptions {
    VocabOptions {
        tokenizer: if words { Tokenizer::Words } else { Tokenizer::Characters },
        unknown: words.then(|| "<unk>".into()),
        specials: vec![START.into(), END.into()],
        ..Default::default()
    }
}

/// Of these tokens, each of which counts once: in the order of the alphabet, so that a saved list gives it again.
pub fn vocab<'a>(tokens: impl Iterator<Item = &'a str>, words: bool) -> Vocab {
    Vocab::of_tokens_with(tokens, options_of(words))
}

/// Pairs to learn from, and others with all translations that are right.
pub struct Pairs {
    pub train: Vec<(String, String)>,
    pub test: Vec<(String, Vec<String>)>,
}

impl Pairs {
    pub fn dates(rng: &mut Rng) -> Pairs {
        let mut dates = dates::calendar();
        rng.shuffle(&mut dates);
        let train = dates.split_off(dates.len() / 10);
        Pairs {
            train: train.iter().map(|date| (date.written(rng), date.iso())).collect(),
            test: dates.iter().map(|date| (date.written(rng), vec![date.iso()])).collect(),
        }
    }

    /// The translations of a sentence stay together.
    pub fn read(file: &Path, rng: &mut Rng) -> Result<Pairs, Error> {
        let (mut places, mut all) = (HashMap::new(), Vec::<(String, Vec<String>)>::new());
        for (from, to) in read_pairs(file)? {
            let place = *places.entry(from.clone()).or_insert(all.len());
            if place == all.len() {
                all.push((from, Vec::new()));
            }
            all[place].1.push(to);
        }
        if all.len() < 10 {
            return Err(Error::malformed(file, None, "pairs of at least 10 sentences", all.len()));
        }
        rng.shuffle(&mut all);
        let train = all.split_off(all.len() / 10);
        let train = train.into_iter().flat_map(|(from, to)| to.into_iter().map(move |to| (from.clone(), to)));
        Ok(Pairs { train: train.collect(), test: all })
    }
}
