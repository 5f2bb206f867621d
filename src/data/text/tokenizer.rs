//! How a text is cut into tokens.

/// How a text is cut into tokens.
///
/// ```
/// use wengert::data::text::Tokenizer;
/// let cut = |tokenizer: Tokenizer| tokenizer.tokens("Don't stop, now!").len();
/// assert_eq!(cut(Tokenizer::Words), 5); // Don't stop , now !
/// assert_eq!(cut(Tokenizer::Whitespace), 3);
/// assert_eq!(cut(Tokenizer::Characters), 16);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenizer {
    /// Letters and digits in a row are a word, with single apostrophes inside it; any other character is a token of its
    /// own, white space is none.
    #[default]
    Words,
    /// What stands between white space, for a text that was cut into tokens before.
    Whitespace,
    /// Every character (Unicode scalar value), white space too.
    Characters,
}

impl Tokenizer {
    /// The tokens of a text, in order.
    pub fn tokens<'a>(&self, text: &'a str) -> Vec<&'a str> {
        match self {
            Tokenizer::Words => words(text),
            Tokenizer::Whitespace => text.split_whitespace().collect(),
            Tokenizer::Characters => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
        }
    }

    /// What stands between tokens in a text that is put together again.
    pub(super) fn separator(&self) -> &'static str {
        if *self == Tokenizer::Characters { "" } else { " " }
    }

    /// The name in a saved vocabulary.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Tokenizer::Words => "words",
            Tokenizer::Whitespace => "whitespace",
            Tokenizer::Characters => "characters",
        }
    }

    pub(super) fn named(name: &str) -> Option<Tokenizer> {
        [Tokenizer::Words, Tokenizer::Whitespace, Tokenizer::Characters].into_iter().find(|t| t.name() == name)
    }
}

fn words(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() { word(rest) } else { first.len_utf8() };
        if !first.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// The bytes of the word at the start of a text.
fn word(text: &str) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let goes_on = c.is_alphanumeric()
            || matches!(c, '\'' | '\u{2019}') && characters.peek().is_some_and(|(_, next)| next.is_alphanumeric());
        if !goes_on {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_apostrophes_inside_and_leave_other_marks_alone() {
        let cut = |text| Tokenizer::Words.tokens(text);
        assert_eq!(
            cut("  It's 'so' good--a 10/10!\n"),
            ["It's", "'", "so", "'", "good", "-", "-", "a", "10", "/", "10", "!"]
        );
        assert_eq!(cut("l\u{2019}été d''or x'"), ["l\u{2019}été", "d", "'", "'", "or", "x", "'"]);
        assert_eq!(cut(" \n"), [""; 0]);
    }

    #[test]
    fn characters_put_together_are_the_text() {
        let text = "aß\u{1f600}\u{0301} \n";
        assert_eq!(Tokenizer::Characters.tokens(text).concat(), text);
        assert_eq!(Tokenizer::Characters.tokens(text).len(), 6);
    }
}
