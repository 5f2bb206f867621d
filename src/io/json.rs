//! The part of JSON that a safetensors header is made of: objects, arrays, strings and whole numbers, read one after the
//! other without building a tree, with the byte of the file in every error.

use crate::error::{Error, Result};
use std::borrow::Cow;
use std::path::Path;

/// A place in a JSON text.
pub(super) struct Json<'a> {
    path: &'a Path,
    text: &'a str,
    at: usize,
    /// Where the text begins in the file.
    base: u64,
}

impl<'a> Json<'a> {
    pub fn new(path: &'a Path, text: &'a str, base: u64) -> Json<'a> {
        Json { path, text, at: 0, base }
    }

    /// The place of the next token, as an offset into the file.
    pub fn offset(&mut self) -> u64 {
        self.peek();
        self.base + self.at as u64
    }

    /// The first byte of the next token.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn wrong(&self, expected: &str) -> Error {
        let found = self.text[self.at..].chars().next().map_or("the end of the header".into(), |c| format!("{c:?}"));
        Error::malformed(self.path, self.base + self.at as u64, expected, found)
    }

    fn take(&mut self, token: u8, expected: &str) -> Result<()> {
        if self.peek() != Some(token) {
            return Err(self.wrong(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether `token` is next; if so, it is passed.
    fn accept(&mut self, token: u8) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    /// An object: calls `member` with the name of each member and the offset of that name; it reads the value.
    pub fn object(
        &mut self,
        expected: &str,
        mut member: impl FnMut(&mut Self, Cow<'a, str>, u64) -> Result<()>,
    ) -> Result<()> {
        self.take(b'{', expected)?;
        if self.accept(b'}') {
            return Ok(());
        }
        loop {
            let offset = self.offset();
            let name = self.string("a name")?;
            self.take(b':', "a colon")?;
            member(self, name, offset)?;
            if !self.accept(b',') {
                return self.take(b'}', "a comma or a closing brace");
            }
        }
    }

    /// An array: calls `element` before each element; it reads the element.
    pub fn array(&mut self, expected: &str, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.take(b'[', expected)?;
        if self.accept(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.accept(b',') {
                return self.take(b']', "a comma or a closing bracket");
            }
        }
    }

    /// A whole number from 0 to `2^64 - 1`.
    pub fn number(&mut self, expected: &str) -> Result<u64> {
        self.peek();
        let rest = &self.text[self.at..];
        let digits = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(self.wrong(expected));
        }
        let number = digits.parse().map_err(|_| {
            let found = if digits.len() > 40 { format!("{} digits", digits.len()) } else { digits.into() };
            Error::malformed(self.path, self.base + self.at as u64, format!("{expected} below 2^64"), found)
        })?;
        self.at += digits.len();
        Ok(number)
    }

    /// A string; a copy only where it has escapes.
    pub fn string(&mut self, expected: &str) -> Result<Cow<'a, str>> {
        self.take(b'"', expected)?;
        let (text, start) = (self.text, self.at);
        let mut copy: Option<String> = None;
        let mut plain = start;
        loop {
            match text.as_bytes().get(self.at) {
                Some(b'"') => {
                    let rest = &text[plain..self.at];
                    self.at += 1;
                    return Ok(match copy {
                        Some(copy) => Cow::Owned(copy + rest),
                        None => Cow::Borrowed(rest),
                    });
                }
                Some(b'\\') => {
                    let copy = copy.get_or_insert_default();
                    copy.push_str(&text[plain..self.at]);
                    copy.push(self.escape()?);
                    plain = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.wrong("the rest of a string")),
            }
        }
    }

    /// The character of an escape, whose backslash is next.
    fn escape(&mut self) -> Result<char> {
        self.at += 1;
        let simple = match self.text.as_bytes().get(self.at) {
            Some(&c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                if !(0xD800..0xDC00).contains(&first) {
                    return char::from_u32(first).ok_or_else(|| self.wrong("a surrogate pair"));
                }
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(self.wrong("the second half of a surrogate pair"));
                }
                self.at += 1;
                let second = self.hex()?;
                if !(0xDC00..0xE000).contains(&second) {
                    return Err(self.wrong("a surrogate pair"));
                }
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).expect("surrogate pairs reach no further than Unicode"));
            }
            _ => return Err(self.wrong("an escape")),
        };
        self.at += 1;
        Ok(simple)
    }

    /// The number behind the `u` that is next.
    fn hex(&mut self) -> Result<u32> {
        self.at += 1;
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.wrong("four hexadecimal digits"));
        }
        self.at += 4;
        Ok(digits.iter().fold(0, |code, &d| code << 4 | (d as char).to_digit(16).expect("checked above")))
    }

    /// Nothing may follow but white space.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("the end of the header")),
        }
    }
}

/// Appends a string with its quotes.
pub(super) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> std::result::Result<String, String> {
        let mut json = Json::new(Path::new("f"), text, 8);
        let string = json.string("a string").map_err(|e| e.to_string())?.into_owned();
        json.end().map_err(|e| e.to_string())?;
        Ok(string)
    }

    #[test]
    fn strings_are_read_as_json_defines_them() {
        let known = [
            (r#" "" "#, ""),
            (r#""fc1.weight""#, "fc1.weight"),
            (r#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"),
            (r#""\u00e9\u00E9é""#, "ééé"),
            (r#""\ud83d\ude00!""#, "😀!"),
        ];
        for (text, expected) in known {
            assert_eq!(string(text).unwrap(), expected);
        }
    }

    #[test]
    fn a_written_string_is_read_back() {
        let text: String = (0..0x300).filter_map(char::from_u32).chain(['😀']).collect();
        let mut written = String::new();
        write_string(&text, &mut written);
        assert_eq!(string(&written).unwrap(), text);
    }

    #[test]
    fn broken_strings_are_errors_that_say_where() {
        let known = [
            ("x", "f: at byte 8: expected a string, found 'x'"),
            ("\"ab", "f: at byte 11: expected the rest of a string, found the end of the header"),
            ("\"a\nb\"", "f: at byte 10: expected the rest of a string, found '\\n'"),
            (r#""\x""#, "f: at byte 10: expected an escape, found 'x'"),
            (r#""\u12é""#, "f: at byte 11: expected four hexadecimal digits, found '1'"),
            (r#""\u12"#, "f: at byte 11: expected four hexadecimal digits, found '1'"),
            (r#""\udc00""#, "f: at byte 15: expected a surrogate pair, found '\"'"),
            (r#""\ud800x""#, "f: at byte 15: expected the second half of a surrogate pair, found 'x'"),
            (r#""\ud800\u0041""#, "f: at byte 21: expected a surrogate pair, found '\"'"),
            (r#""a" b"#, "f: at byte 12: expected the end of the header, found 'b'"),
        ];
        for (text, message) in known {
            assert_eq!(string(text).unwrap_err(), message);
        }
    }

    #[test]
    fn only_whole_numbers_below_2_to_the_64_are_read() {
        let number = |text| Json::new(Path::new("f"), text, 0).number("a size").map_err(|e| e.to_string());
        assert_eq!(number(" 18446744073709551615"), Ok(u64::MAX));
        assert_eq!(number("0]"), Ok(0));
        for text in ["-1", "NaN", "\"1\"", "01", "", ".5"] {
            assert!(number(text).unwrap_err().starts_with("f: at byte 0: expected a size, found "), "{text}");
        }
        assert_eq!(
            number("18446744073709551616").unwrap_err(),
            "f: at byte 0: expected a size below 2^64, found 18446744073709551616"
        );
    }
}
