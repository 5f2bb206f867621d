//! The customary forms of labelled text: columns, pairs, films reviewed.

use super::read::read_text;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A sentence with a tag for each token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// The tokens.
    pub tokens: Vec<String>,
    /// As many tags.
    pub tags: Vec<String>,
}

/// What can be set of [`read_conll`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConllOptions {
    /// The column of the tokens, counted from 0; the first by default.
    pub token: usize,
    /// The column of the tags; the last by default.
    pub tag: Option<usize>,
    /// Whether lines that begin with `#` are comments, as in CoNLL-U; by default they are not.
    pub comments: bool,
}

/// Reads sentences in CoNLL's columns: a token a line, followed by its tags, and an empty line behind each sentence.
///
/// Columns stand between tabs where the first line has a tab, else between spaces. The lines `-DOCSTART-` of CoNLL-2003 are
/// left out. (Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003 shared task", 2003.)
///
/// # Errors
/// When [`read_text`] fails, a line has another number of columns than the first or not the ones that are asked for, one of
/// these is empty, or there is no sentence.
pub fn read_conll(path: impl AsRef<Path>, options: ConllOptions) -> Result<Vec<Sentence>> {
    let path = path.as_ref();
    let text = read_text(path)?;
    let (mut sentences, mut sentence) = (Vec::new(), Sentence::default());
    // The line, the number of columns and the separator that the others must agree with.
    let mut first: Option<(usize, usize, bool)> = None;
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            if !sentence.tokens.is_empty() {
                sentences.push(std::mem::take(&mut sentence));
            }
            continue;
        }
        if line.starts_with("-DOCSTART-") || options.comments && line.starts_with('#') {
            continue;
        }
        let tabs = first.map_or(line.contains('\t'), |(_, _, tabs)| tabs);
        let columns: Vec<&str> = if tabs { line.split('\t').collect() } else { line.split_whitespace().collect() };
        let &mut (line_of_first, count, _) = first.get_or_insert((i + 1, columns.len(), tabs));
        if columns.len() != count {
            let expected = format!("{count} columns, as in line {line_of_first}");
            return Err(Error::malformed_line(path, i + 1, expected, columns.len()));
        }
        let least = options.tag.unwrap_or(options.token + 1).max(options.token) + 1;
        if count < least {
            return Err(Error::malformed_line(path, i + 1, format!("{least} columns at least"), count));
        }
        let [token, tag] = [options.token, options.tag.unwrap_or(count - 1)].map(|column| columns[column].trim());
        if token.is_empty() || tag.is_empty() {
            return Err(Error::malformed_line(path, i + 1, "a token and a tag", "an empty column"));
        }
        sentence.tokens.push(token.to_string());
        sentence.tags.push(tag.to_string());
    }
    if !sentence.tokens.is_empty() {
        sentences.push(sentence);
    }
    if sentences.is_empty() {
        return Err(Error::malformed(path, None, "a sentence", "none"));
    }
    Ok(sentences)
}

/// Reads pairs of sentences: the first two of the columns, between tabs, of each line; Tatoeba's format. Empty lines are
/// left out.
///
/// # Errors
/// When [`read_text`] fails, or a line has no tab or an empty sentence.
pub fn read_pairs(path: impl AsRef<Path>) -> Result<Vec<(String, String)>> {
    let path = path.as_ref();
    let text = read_text(path)?;
    let mut pairs = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut columns = line.split('\t').map(str::trim);
        match (columns.next(), columns.next()) {
            (Some(first), Some(second)) if !first.is_empty() && !second.is_empty() => {
                pairs.push((first.to_string(), second.to_string()));
            }
            (_, second) => {
                let found = if second.is_some() { "an empty sentence" } else { "no tab" };
                return Err(Error::malformed_line(path, i + 1, "two sentences with a tab between them", found));
            }
        }
    }
    Ok(pairs)
}

/// Texts with a label each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelledTexts {
    /// The texts.
    pub texts: Vec<String>,
    /// `[texts.len()]`: 0 for negative, 1 for positive.
    pub labels: Vec<i64>,
}

impl LabelledTexts {
    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    fn extend(&mut self, texts: impl IntoIterator<Item = String>, label: i64) {
        self.texts.extend(texts);
        self.labels.resize(self.texts.len(), label);
    }
}

/// Reads the sentences of film reviews `rt-polarity.neg` and `rt-polarity.pos` in a folder, one a line: the negative ones
/// first. (Pang and Lee, "Seeing stars", 2005; 5,331 of each.)
///
/// The files that the authors give out are in Latin-1; [`read_text`] wants UTF-8.
///
/// # Errors
/// When [`read_text`] fails on one of the files.
pub fn read_rt_polarity(folder: impl AsRef<Path>) -> Result<LabelledTexts> {
    let mut all = LabelledTexts::default();
    for (label, name) in [(0, "rt-polarity.neg"), (1, "rt-polarity.pos")] {
        let text = read_text(folder.as_ref().join(name))?;
        all.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from), label);
    }
    Ok(all)
}

/// The large data set of film reviews, in a training part and a test part of 25,000 each. (Maas et al., "Learning word
/// vectors for sentiment analysis", 2011.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imdb {
    /// The part to train on.
    pub train: LabelledTexts,
    /// The part to test on.
    pub test: LabelledTexts,
}

impl Imdb {
    /// Reads the folder as it is unpacked: `train/neg/*.txt`, `train/pos/*.txt`, `test/neg/*.txt` and `test/pos/*.txt`, each
    /// folder in the order of the files' names, the negative ones first. Line breaks written as `<br />` become spaces.
    ///
    /// # Errors
    /// When a folder is missing or has no such file, or [`read_text`] fails on a file.
    pub fn load(folder: impl AsRef<Path>) -> Result<Imdb> {
        let part = |part: &str| -> Result<LabelledTexts> {
            let mut all = LabelledTexts::default();
            for (label, class) in [(0, "neg"), (1, "pos")] {
                for path in text_files(&folder.as_ref().join(part).join(class))? {
                    all.extend([read_text(path)?.replace("<br />", " ")], label);
                }
            }
            Ok(all)
        };
        Ok(Imdb { train: part("train")?, test: part("test")? })
    }
}

/// The files `*.txt` of a folder, in the order of their names: that of the file system is arbitrary.
fn text_files(folder: &Path) -> Result<Vec<PathBuf>> {
    const WHAT: &str = "a folder of text files (*.txt)";
    let failed = |e| Error::io(folder, WHAT, e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::malformed(folder, None, WHAT, "none"));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_dir;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = test_dir("corpus").join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn columns_become_sentences() {
        let text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ  B-VP O\r\n\n\n# NN B-NP O\n";
        let path = file("conll", text);
        let sentences = read_conll(&path, ConllOptions::default()).unwrap();
        assert_eq!(sentences.len(), 2);
        assert_eq!(sentences[0].tokens, ["EU", "rejects"]);
        assert_eq!(sentences[0].tags, ["B-ORG", "O"]);
        assert_eq!(sentences[1].tokens, ["#"]);
        let options = ConllOptions { token: 1, tag: Some(0), comments: true };
        assert_eq!(
            read_conll(&path, options).unwrap(),
            [Sentence { tokens: vec!["NNP".into(), "VBZ".into()], tags: vec!["EU".into(), "rejects".into()] }]
        );
        let tabs = file("conll-u", "# text = New York\n1\tNew York\tPROPN\n");
        let options = ConllOptions { token: 1, comments: true, ..Default::default() };
        assert_eq!(read_conll(tabs, options).unwrap()[0].tokens, ["New York"]);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let message = |name, text, options| {
            let path = file(name, text);
            let message = read_conll(&path, options).unwrap_err().to_string();
            message.strip_prefix(&format!("{}: ", path.display())).expect("the message names the file").to_string()
        };
        let usual = ConllOptions::default();
        assert_eq!(message("ragged", "\na O\n\nb\n", usual), "at line 4: expected 2 columns, as in line 2, found 1");
        assert_eq!(message("narrow", "a\n", usual), "at line 1: expected 2 columns at least, found 1");
        let third = ConllOptions { tag: Some(2), ..usual };
        assert_eq!(message("third", "a O\n", third), "at line 1: expected 3 columns at least, found 2");
        for text in ["a\tO\n\tO\n", "a\tO\nb\t\n", "a\tO\n \tO\n"] {
            let expected = "at line 2: expected a token and a tag, found an empty column";
            assert_eq!(message("empty", text, usual), expected);
        }
        assert_eq!(message("none", "-DOCSTART- O\n", usual), "expected a sentence, found none");
    }

    #[test]
    fn pairs_are_the_first_two_columns() {
        let path = file("pairs", "Go.\tGeh.\tCC-BY 2.0\n\nRun!\tLauf!\n");
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(read_pairs(path).unwrap(), [pair("Go.", "Geh."), pair("Run!", "Lauf!")]);
        for (name, text, found) in [("no-tab", "a\tb\nc d\n", "no tab"), ("half", "a\tb\nc\t\n", "an empty sentence")] {
            let message = read_pairs(file(name, text)).unwrap_err().to_string();
            let expected = format!("{name}: at line 2: expected two sentences with a tab between them, found {found}");
            assert!(message.ends_with(&expected), "{message}");
        }
    }

    #[test]
    fn reviews_are_labelled_by_their_file_or_folder() {
        file("rt-polarity.neg", "dull \n\nslow\n");
        file("rt-polarity.pos", "lively");
        let reviews = read_rt_polarity(test_dir("corpus")).unwrap();
        assert_eq!(
            reviews,
            LabelledTexts { texts: vec!["dull".into(), "slow".into(), "lively".into()], labels: vec![0, 0, 1] }
        );
        let dir = test_dir("imdb");
        for (name, text) in [
            ("train/neg/10_2.txt", "bad<br /><br />end"),
            ("train/neg/0_3.txt", "poor"),
            ("train/pos/0_9.txt", "good"),
            ("test/neg/0_1.txt", "worst"),
            ("test/pos/0_8.txt", "fine"),
            ("test/pos/urls", "left out"),
        ] {
            std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.join(name), text).unwrap();
        }
        let imdb = Imdb::load(&dir).unwrap();
        assert_eq!(imdb.train.texts, ["poor", "bad  end", "good"]);
        assert_eq!((imdb.train.labels, imdb.test.labels), (vec![0, 0, 1], vec![0, 1]));
        std::fs::remove_dir_all(dir.join("test/pos")).unwrap();
        let message = Imdb::load(&dir).unwrap_err().to_string();
        assert!(message.contains("pos: expected a folder of text files (*.txt), found: "), "{message}");
        std::fs::create_dir_all(dir.join("test/pos")).unwrap();
        let message = Imdb::load(&dir).unwrap_err().to_string();
        assert!(message.ends_with("pos: expected a folder of text files (*.txt), found none"), "{message}");
    }
}
