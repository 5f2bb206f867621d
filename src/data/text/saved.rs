//! A vocabulary as a text file.
//!
//! The first line holds a title, the tokenizer, the treatment of case and the number of tokens; then comes a line for each
//! token: the token, its count, and for the padding and the unknown token what it is. The parts are separated by tabs. In a
//! token stand `\t`, `\n`, `\r`, `\\` and `\u{..}` for what would not be seen.

use super::read::read_text;
use super::tokenizer::Tokenizer;
use super::vocab::Vocab;
use crate::error::{Error, Result};
use crate::io::write_atomically;
use std::path::Path;

const TITLE: &str = "wengert vocabulary 1";
const CASES: [&str; 2] = ["as-is", "lowercase"];
const ROLES: [&str; 2] = ["padding", "unknown"];

impl Vocab {
    /// Writes the vocabulary as a text file, one token a line with its count.
    ///
    /// ```
    /// use wengert::data::text::Vocab;
    /// # let path = std::env::temp_dir().join(format!("wengert-doc-vocab-{}", std::process::id()));
    /// let vocab = Vocab::characters("to be\nor not to be");
    /// vocab.save(&path)?;
    /// assert_eq!(Vocab::load(&path)?, vocab);
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), wengert::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path, |file| file.write_all(self.to_text().as_bytes()))
    }

    /// What [`Vocab::save`] writes, for a place of one's own, such as the metadata of a saved network.
    ///
    /// ```
    /// use wengert::data::text::Vocab;
    /// let vocab = Vocab::words(["to be or not to be"]);
    /// assert_eq!(Vocab::from_text("network.safetensors", &vocab.to_text())?, vocab);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn to_text(&self) -> String {
        let case = CASES[usize::from(self.lowercase)];
        let mut text = format!("{TITLE}\t{}\t{case}\t{}\n", self.tokenizer.name(), self.len());
        for (number, (token, count)) in self.tokens.iter().enumerate() {
            text += &format!("{}\t{count}", escaped(token));
            for (role, at) in ROLES.iter().zip([self.padding, self.unknown]) {
                if at == Some(number) {
                    text += &format!("\t{role}");
                }
            }
            text.push('\n');
        }
        text
    }

    /// Reads what [`Vocab::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, or a line of it is not what was written.
    pub fn load(path: impl AsRef<Path>) -> Result<Vocab> {
        let path = path.as_ref();
        Vocab::from_text(path, &read_text(path)?)
    }

    /// Reads what [`Vocab::to_text`] gave; `path` is the file that errors name.
    ///
    /// # Errors
    /// When a line is not what was given.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Vocab> {
        let path = path.as_ref();
        let mut lines = text.split_inclusive('\n').enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        let (tokenizer, lowercase, count) = header(first).ok_or_else(|| {
            Error::malformed_line(path, 1, format!("a vocabulary's first line, {TITLE:?} .."), format!("{first:?}"))
        })?;
        let (mut tokens, mut roles) = (Vec::new(), [None, None]);
        for (i, line) in lines {
            let wrong =
                |expected: &str, found: &str| Error::malformed_line(path, i + 1, expected, format!("{found:?}"));
            let Some(whole) = line.strip_suffix('\n') else {
                return Err(wrong("a whole line", line));
            };
            let parts: Vec<&str> = whole.split('\t').collect();
            let (token, counted) = match parts[..] {
                [token, counted] | [token, counted, _] => (token, counted),
                _ => return Err(wrong("a token and its count", whole)),
            };
            let token = unescaped(token).filter(|token| !token.is_empty()).ok_or_else(|| wrong("a token", token))?;
            let counted = counted.parse().map_err(|_| wrong("a count", counted))?;
            if let Some(role) = parts.get(2) {
                let place = ROLES.iter().position(|name| name == role).filter(|&place| roles[place].is_none());
                let place = place.ok_or_else(|| wrong("padding or unknown, each once", role))?;
                roles[place] = Some(tokens.len());
            }
            tokens.push((token, counted));
        }
        if tokens.len() != count {
            return Err(Error::malformed(path, None, format!("{count} tokens"), tokens.len()));
        }
        Vocab::from_parts((tokenizer, lowercase), tokens.clone(), roles).ok_or_else(|| {
            let mut seen = std::collections::HashSet::new();
            let twice = tokens.iter().position(|(token, _)| !seen.insert(token)).unwrap_or(0);
            Error::malformed_line(path, twice + 2, "every token once", format!("{:?} again", tokens[twice].0))
        })
    }
}

/// The tokenizer, whether case is ignored, and the number of tokens.
fn header(line: &str) -> Option<(Tokenizer, bool, usize)> {
    let [TITLE, tokenizer, case, count] = line.strip_suffix('\n')?.split('\t').collect::<Vec<_>>()[..] else {
        return None;
    };
    let lowercase = CASES.iter().position(|name| *name == case)? == 1;
    Some((Tokenizer::named(tokenizer)?, lowercase, count.parse().ok()?))
}

fn escaped(token: &str) -> String {
    let mut out = String::new();
    for c in token.chars() {
        match c {
            '\\' => out += "\\\\",
            '\t' => out += "\\t",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            c if c.is_control() || c.is_whitespace() && c != ' ' || c == '\u{feff}' => {
                out += &format!("\\u{{{:x}}}", u32::from(c))
            }
            c => out.push(c),
        }
    }
    out
}

/// `None` where a backslash begins nothing that [`escaped`] writes.
fn unescaped(text: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('\\') {
        out += before;
        let mark = after.chars().next()?;
        rest = &after[mark.len_utf8()..];
        out.push(match mark {
            '\\' => '\\',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'u' => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                rest = after;
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        });
    }
    Some(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_dir;
    use crate::data::text::VocabOptions;

    #[test]
    fn what_is_saved_is_loaded_again_whatever_the_tokens_are() {
        let all: String = (0..0x3000).filter_map(char::from_u32).chain(['\u{feff}', '\u{1f600}']).collect();
        let odd = ["\\", "\\n", "a\\", "\\u{61}", " ", "  a ", "#", "\u{85}", "\r\n", "padding"];
        let lower = VocabOptions { lowercase: true, specials: vec!["<end>".into()], ..Default::default() };
        let vocabs = [
            Vocab::characters(&all),
            Vocab::of_tokens(odd),
            Vocab::with(["The <end>"], lower),
            Vocab::words([""]),
            Vocab::characters(""),
        ];
        for (i, vocab) in vocabs.iter().enumerate() {
            let path = test_dir("vocab").join(format!("kept-{i}"));
            vocab.save(&path).unwrap();
            assert_eq!(&Vocab::load(&path).unwrap(), vocab);
            // A line for each token, and one in front.
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), vocab.len() + 1);
        }
    }

    #[test]
    fn a_broken_file_is_an_error_that_names_file_and_line() {
        let dir = test_dir("vocab-broken");
        let head = "wengert vocabulary 1\twords\tas-is\t2\n";
        let message = |rest: &str| {
            let path = dir.join("broken");
            std::fs::write(&path, rest).unwrap();
            let message = Vocab::load(&path).unwrap_err().to_string();
            message.strip_prefix(&format!("{}: ", path.display())).expect("the message names the file").to_string()
        };
        let broken = [
            ("a\t1\nb\n", "at line 3: expected a token and its count, found \"b\""),
            ("a\t1\nb\t1\tc\td\n", "at line 3: expected a token and its count, found \"b\\t1\\tc\\td\""),
            ("a\t1\nb\t-1\n", "at line 3: expected a count, found \"-1\""),
            ("a\t1\nb\t1", "at line 3: expected a whole line, found \"b\\t1\""),
            ("\\q\t1\nb\t1\n", "at line 2: expected a token, found \"\\\\q\""),
            ("\\u{d800}\t1\nb\t1\n", "at line 2: expected a token, found \"\\\\u{d800}\""),
            ("a\\\t1\nb\t1\n", "at line 2: expected a token, found \"a\\\\\""),
            ("\t1\nb\t1\n", "at line 2: expected a token, found \"\""),
            ("a\t1\tfirst\nb\t1\n", "at line 2: expected padding or unknown, each once, found \"first\""),
            ("a\t1\tpadding\nb\t1\tpadding\n", "at line 3: expected padding or unknown, each once, found \"padding\""),
            ("a\t1\na\t1\n", "at line 3: expected every token once, found \"a\" again"),
            ("a\t1\n", "expected 2 tokens, found 1"),
        ];
        for (rest, expected) in broken {
            assert_eq!(message(&format!("{head}{rest}")), expected);
        }
        for first in ["words\n", "wengert vocabulary 1\tletters\tas-is\t2\n", "wengert vocabulary 1\twords\tas-is\t2"] {
            let expected = "at line 1: expected a vocabulary's first line, \"wengert vocabulary 1\" .., found ";
            assert_eq!(message(first), format!("{expected}{first:?}"));
        }
    }
}
