//! Networks that are saved with their vocabulary and size, as texts beside the tensors.

use std::path::Path;
use wengert::data::text::Vocab;
use wengert::nn::Module;
use wengert::{Error, io};

/// Writes a network and what must be known to make it again.
pub fn save(file: &Path, net: &impl Module, texts: &[(&str, String)]) -> Result<(), Error> {
    let texts = texts.iter().map(|(name, text)| (name.to_string(), text.clone())).collect();
    io::save_tensors(file, &io::state(net), &texts)
}

/// Takes a network's numbers from what [`save`] wrote.
pub fn load(file: &Path, net: &mut impl Module) -> Result<(), Error> {
    io::load(file, net)?;
    println!("loaded {}", file.display());
    Ok(())
}

/// What [`save`] wrote.
pub struct Saved<'a> {
    path: &'a Path,
    file: io::TensorFile,
}

impl<'a> Saved<'a> {
    pub fn open(path: &'a Path) -> Result<Saved<'a>, Error> {
        Ok(Saved { path, file: io::load_tensors(path)? })
    }

    /// That a text is not what was expected.
    pub fn wrong(&self, expected: &str, text: &str) -> Error {
        Error::malformed(self.path, None, expected, format!("{text:?}"))
    }

    pub fn text(&self, name: &str) -> Result<&str, Error> {
        self.file.text(name)
    }

    pub fn number(&self, name: &str) -> Result<usize, Error> {
        let text = self.text(name)?;
        text.parse().ok().filter(|&n| n > 0).ok_or_else(|| self.wrong(&format!("a number from 1 as {name}"), text))
    }

    pub fn one_of(&self, name: &str, choice: &[&str]) -> Result<String, Error> {
        let text = self.text(name)?;
        if !choice.contains(&text) {
            return Err(self.wrong(&format!("one of {} as {name}", choice.join(", ")), text));
        }
        Ok(text.to_string())
    }

    pub fn vocab(&self, name: &str) -> Result<Vocab, Error> {
        Vocab::from_text(self.path, self.text(name)?)
    }

    /// A vocabulary with padding, number 0, and a token for unknown ones.
    pub fn open_vocab(&self, name: &str) -> Result<Vocab, Error> {
        let vocab = self.vocab(name)?;
        if vocab.padding() != Some(0) || vocab.unknown().is_none() {
            let expected = format!("a padding and an unknown token in {name}");
            return Err(Error::malformed(self.path, None, expected, "a vocabulary without"));
        }
        Ok(vocab)
    }
}
