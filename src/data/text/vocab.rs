//! Vocabularies: tokens and their numbers.

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::shape::{ensure, fail};
use std::borrow::Cow;
use std::collections::HashMap;

/// The tokens of a language, numbered from 0.
///
/// The special tokens come first: padding, unknown, then those of [`VocabOptions::specials`]. The others follow by how often
/// they were counted, the most frequent first and equally frequent ones in the order of their text; characters in the order
/// of the alphabet. So the numbers depend on the text alone.
///
/// ```
/// use wengert::data::text::Vocab;
/// let letters = Vocab::characters("to be or not to be");
/// assert_eq!(letters.encode("bone"), [1, 4, 3, 2]); // of " benort"
/// assert_eq!(letters.decode(&[1, 4, 3, 2]), "bone");
///
/// let words = Vocab::words(["to be or not to be"]);
/// assert_eq!(words.encode("to be a bee"), [3, 2, 1, 1]); // of <pad> <unk> be to not or
/// assert_eq!(words.decode(&[3, 2, 1, 0]), "to be <unk>");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocab {
    pub(super) tokenizer: Tokenizer,
    pub(super) lowercase: bool,
    /// Each token and how often it was counted.
    pub(super) tokens: Vec<(String, u64)>,
    pub(super) padding: Option<usize>,
    pub(super) unknown: Option<usize>,
    numbers: HashMap<String, usize>,
}

/// What can be set of [`Vocab::with`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VocabOptions {
    /// How a text is cut; into words by default.
    pub tokenizer: Tokenizer,
    /// Whether texts are put in lower case first; by default they are not.
    pub lowercase: bool,
    /// What fills a batch behind shorter sequences: number 0; `<pad>` by default.
    pub padding: Option<String>,
    /// What stands for tokens that are not in the vocabulary; `<unk>` by default.
    pub unknown: Option<String>,
    /// More tokens that are there whether they are counted or not, such as `<start>` and `<end>`; none by default.
    pub specials: Vec<String>,
    /// Tokens that are counted less often are left out; 1 by default.
    pub min_count: u64,
    /// How many tokens there are at most, special ones included: the rarest are left out; no limit by default.
    pub max_size: Option<usize>,
}

impl Default for VocabOptions {
    fn default() -> Self {
        VocabOptions {
            tokenizer: Tokenizer::Words,
            lowercase: false,
            padding: Some("<pad>".into()),
            unknown: Some("<unk>".into()),
            specials: Vec::new(),
            min_count: 1,
            max_size: None,
        }
    }
}

impl Vocab {
    /// The characters of a text, in the order of the alphabet; neither padding nor an unknown character.
    pub fn characters(text: &str) -> Vocab {
        let options =
            VocabOptions { tokenizer: Tokenizer::Characters, padding: None, unknown: None, ..Default::default() };
        Vocab::with([text], options)
    }

    /// The words of some texts, with padding `<pad>` and unknown `<unk>`.
    pub fn words(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vocab {
        Vocab::with(texts, VocabOptions::default())
    }

    /// The tokens of some texts.
    ///
    /// # Panics
    /// When a special token is empty or stands twice, or there are more of them than `max_size`.
    #[track_caller]
    pub fn with(texts: impl IntoIterator<Item = impl AsRef<str>>, options: VocabOptions) -> Vocab {
        let mut counts = Counts::default();
        for text in texts {
            let text = lowered(text.as_ref(), options.lowercase);
            options.tokenizer.tokens(&text).into_iter().for_each(|token| counts.add(token));
        }
        counts.vocab(options)
    }

    /// A vocabulary of what has been cut into tokens before, such as the tags of sentences; neither padding nor unknown
    /// unless the options say so.
    ///
    /// ```
    /// use wengert::data::text::Vocab;
    /// let tags = Vocab::of_tokens(["O", "B-PER", "O", "I-PER"]);
    /// assert_eq!(tags.encode_tokens(["B-PER", "O"]), [1, 0]);
    /// ```
    pub fn of_tokens(tokens: impl IntoIterator<Item = impl AsRef<str>>) -> Vocab {
        let tokenizer = Tokenizer::Whitespace;
        Vocab::of_tokens_with(
            tokens,
            VocabOptions { tokenizer, padding: None, unknown: None, ..VocabOptions::default() },
        )
    }

    /// [`Vocab::of_tokens`] with options.
    ///
    /// # Panics
    /// As [`Vocab::with`].
    #[track_caller]
    pub fn of_tokens_with(tokens: impl IntoIterator<Item = impl AsRef<str>>, options: VocabOptions) -> Vocab {
        let mut counts = Counts::default();
        tokens.into_iter().for_each(|token| counts.add(&lowered(token.as_ref(), options.lowercase)));
        counts.vocab(options)
    }

    /// `None` where a token stands twice.
    pub(super) fn from_parts(
        (tokenizer, lowercase): (Tokenizer, bool),
        tokens: Vec<(String, u64)>,
        [padding, unknown]: [Option<usize>; 2],
    ) -> Option<Vocab> {
        let numbers: HashMap<_, _> = tokens.iter().enumerate().map(|(i, (token, _))| (token.clone(), i)).collect();
        (numbers.len() == tokens.len()).then_some(Vocab { tokenizer, lowercase, tokens, padding, unknown, numbers })
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens in the order of their numbers.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(|(token, _)| &**token)
    }

    /// The number of a token, where it has one.
    pub fn number(&self, token: &str) -> Option<i64> {
        self.numbers.get(token).map(|&number| number as i64)
    }

    /// The token with a number.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn token(&self, number: i64) -> &str {
        &self.entry(number).0
    }

    /// How often the token with a number was counted.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn count(&self, number: i64) -> u64 {
        self.entry(number).1
    }

    #[track_caller]
    fn entry(&self, number: i64) -> &(String, u64) {
        match usize::try_from(number).ok().and_then(|number| self.tokens.get(number)) {
            Some(entry) => entry,
            None => fail(format!("vocabulary: [{0}]: expected a number below {0}, found {number}", self.len())),
        }
    }

    /// The number of the padding, where there is one.
    pub fn padding(&self) -> Option<i64> {
        self.padding.map(|number| number as i64)
    }

    /// The number that stands for tokens that are not there, where there is one.
    pub fn unknown(&self) -> Option<i64> {
        self.unknown.map(|number| number as i64)
    }

    /// The numbers of a text's tokens.
    ///
    /// # Panics
    /// At a token that is not there, in a vocabulary without one for unknown; [`Vocab::try_encode`] returns an error.
    #[track_caller]
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let text = lowered(text, self.lowercase);
        self.encode_tokens(self.tokenizer.tokens(&text))
    }

    /// The numbers of a text's tokens, for a text from outside.
    ///
    /// # Errors
    /// Where [`Vocab::encode`] panics.
    pub fn try_encode(&self, text: &str) -> Result<Vec<i64>> {
        let text = lowered(text, self.lowercase);
        let number = |token: &str| {
            self.find(token).ok_or_else(|| {
                let offset = token.as_ptr() as usize - text.as_ptr() as usize;
                let expected = format!("one of a vocabulary of {} tokens", self.len());
                Error::malformed("text", offset as u64, expected, format!("{token:?}"))
            })
        };
        self.tokenizer.tokens(&text).into_iter().map(number).collect()
    }

    /// The numbers of what has been cut into tokens before.
    ///
    /// # Panics
    /// As [`Vocab::encode`].
    #[track_caller]
    pub fn encode_tokens(&self, tokens: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<i64> {
        let mut numbers = Vec::new();
        for token in tokens {
            let token = lowered(token.as_ref(), self.lowercase);
            match self.find(&token) {
                Some(number) => numbers.push(number),
                None => fail(format!(
                    "encode: {token:?} is not in the vocabulary of {}, which has no unknown token",
                    self.len()
                )),
            }
        }
        numbers
    }

    fn find(&self, token: &str) -> Option<i64> {
        self.number(token).or(self.unknown())
    }

    /// The text that numbers stand for, with spaces between words; padding is left out.
    ///
    /// # Panics
    /// When a number is that of no token.
    #[track_caller]
    pub fn decode(&self, numbers: &[i64]) -> String {
        let mut text = String::new();
        for (i, &number) in numbers.iter().filter(|&&number| Some(number) != self.padding()).enumerate() {
            if i > 0 {
                text += self.tokenizer.separator();
            }
            text += self.token(number);
        }
        text
    }
}

fn lowered(text: &str, lowercase: bool) -> Cow<'_, str> {
    if lowercase { text.to_lowercase().into() } else { text.into() }
}

/// How often each token was seen.
#[derive(Default)]
struct Counts(HashMap<String, u64>);

impl Counts {
    fn add(&mut self, token: &str) {
        match self.0.get_mut(token) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(token.to_string(), 1);
            }
        }
    }

    #[track_caller]
    fn vocab(mut self, options: VocabOptions) -> Vocab {
        let VocabOptions { tokenizer, lowercase, padding, unknown, specials, min_count, max_size } = options;
        let roles = [padding.is_some().then_some(0), unknown.is_some().then_some(usize::from(padding.is_some()))];
        let mut tokens: Vec<(String, u64)> = Vec::new();
        for special in padding.into_iter().chain(unknown).chain(specials) {
            let new = !special.is_empty() && tokens.iter().all(|(token, _)| *token != special);
            ensure(new, || format!("vocabulary: special tokens: {special:?} is empty or stands twice"));
            let count = self.0.remove(&special).unwrap_or(0);
            tokens.push((special, count));
        }
        let room = max_size.map_or(usize::MAX, |size| {
            ensure(tokens.len() <= size, || {
                format!("vocabulary: expected room for {} special tokens, found a max_size of {size}", tokens.len())
            });
            size - tokens.len()
        });
        let mut counted: Vec<_> = self.0.into_iter().filter(|&(_, count)| count >= min_count).collect();
        counted.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        counted.truncate(room);
        if tokenizer == Tokenizer::Characters {
            counted.sort_unstable();
        }
        tokens.extend(counted);
        Vocab::from_parts((tokenizer, lowercase), tokens, roles).expect("a map has each token once")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(vocab: &Vocab) -> Vec<&str> {
        vocab.tokens().collect()
    }

    #[test]
    fn the_most_frequent_come_first_and_equals_by_their_text() {
        let vocab = Vocab::words(["b a c b", "a d b"]);
        assert_eq!(tokens(&vocab), ["<pad>", "<unk>", "b", "a", "c", "d"]);
        assert_eq!([0, 2, 3, 5].map(|number| vocab.count(number)), [0, 3, 2, 1]);
        assert_eq!((vocab.padding(), vocab.unknown(), vocab.number("z")), (Some(0), Some(1), None));
        let characters = Vocab::characters("banana\n");
        assert_eq!((tokens(&characters), characters.count(1)), (vec!["\n", "a", "b", "n"], 3));
    }

    #[test]
    fn the_rare_are_left_out() {
        let with = |min_count, max_size, tokenizer| {
            let options = VocabOptions { min_count, max_size, tokenizer, padding: None, ..Default::default() };
            Vocab::with(["c c c a b b"], options)
        };
        assert_eq!(tokens(&with(2, None, Tokenizer::Words)), ["<unk>", "c", "b"]);
        assert_eq!(tokens(&with(1, Some(2), Tokenizer::Words)), ["<unk>", "c"]);
        assert_eq!(tokens(&with(1, Some(1), Tokenizer::Words)), ["<unk>"]);
        // The most frequent characters are kept, and then ordered.
        assert_eq!(tokens(&with(1, Some(3), Tokenizer::Characters)), ["<unk>", " ", "c"]);
        assert_eq!(with(2, None, Tokenizer::Words).encode("a b c d"), [0, 2, 1, 0]);
    }

    #[test]
    fn special_tokens_are_there_once_and_are_counted_where_they_stand_in_the_text() {
        let options = VocabOptions {
            tokenizer: Tokenizer::Whitespace,
            specials: vec!["<start>".into(), "<end>".into()],
            ..Default::default()
        };
        let vocab = Vocab::with(["a <unk> <end>"], options);
        assert_eq!(tokens(&vocab), ["<pad>", "<unk>", "<start>", "<end>", "a"]);
        assert_eq!((vocab.count(1), vocab.count(2)), (1, 0));
    }

    #[test]
    fn case_is_kept_unless_it_is_not_wanted() {
        let lower = Vocab::with(["The the THE Ähre"], VocabOptions { lowercase: true, ..Default::default() });
        assert_eq!(tokens(&lower), ["<pad>", "<unk>", "the", "ähre"]);
        assert_eq!(lower.encode("ÄHRE The"), [3, 2]);
        assert_eq!(lower.encode_tokens(["ÄHRE", "The"]), [3, 2]);
        assert_eq!(Vocab::words(["The the"]).len(), 4);
    }

    #[test]
    fn a_text_is_what_its_numbers_stand_for() {
        let text = "Zwölf Boxkämpfer\njagen «Viktor».\t\u{1f600}";
        let vocab = Vocab::characters(text);
        assert_eq!(vocab.decode(&vocab.encode(text)), text);
        assert_eq!(vocab.decode(&[]), "");
    }

    #[test]
    fn an_unknown_token_is_an_error_where_nothing_stands_for_it() {
        let vocab = Vocab::characters("ab");
        let message = vocab.try_encode("abäc").unwrap_err().to_string();
        assert_eq!(message, "text: at byte 2: expected one of a vocabulary of 2 tokens, found \"ä\"");
        assert_eq!(vocab.try_encode("ba").unwrap(), [1, 0]);
    }

    #[test]
    #[should_panic(expected = "encode: \"c\" is not in the vocabulary of 2, which has no unknown token")]
    fn and_a_panic_in_the_short_form() {
        Vocab::characters("ab").encode("abc");
    }

    #[test]
    #[should_panic(expected = "vocabulary: [2]: expected a number below 2, found -1")]
    fn a_number_without_token_panics() {
        Vocab::characters("ab").decode(&[0, -1]);
    }

    #[test]
    #[should_panic(expected = "vocabulary: special tokens: \"<pad>\" is empty or stands twice")]
    fn a_special_token_that_stands_twice_panics() {
        Vocab::with([""], VocabOptions { specials: vec!["<pad>".into()], ..Default::default() });
    }
}
