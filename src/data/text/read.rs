//! Text files: UTF-8, or an error that says which byte is not.

use crate::error::{Error, Result};
use crate::io::open;
use std::io::Read;
use std::path::Path;

/// The byte order mark that some editors put before UTF-8 text.
const MARK: &str = "\u{feff}";

/// The text of a file, without a byte order mark at its start.
///
/// # Errors
/// When the file is missing or not a regular one, is not UTF-8, or has nothing but white space.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let (mut file, length) = open(path, "a text file")?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(|e| Error::io(path, "a text file", e))?;
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let (at, bytes) = (e.utf8_error().valid_up_to(), e.as_bytes());
        let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
        let found = format!("byte 0x{:02x} in line {line}", bytes[at]);
        Error::malformed(path, at as u64, "UTF-8 text", found)
    })?;
    if text.starts_with(MARK) {
        text.drain(..MARK.len());
    }
    if text.trim().is_empty() {
        let found = if text.is_empty() { "an empty file" } else { "nothing but white space" };
        return Err(Error::malformed(path, 0, "a text", found));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_dir;

    /// What reading a file of these bytes gives, the path in front of a message left out.
    fn read(name: &str, bytes: &[u8]) -> std::result::Result<String, String> {
        let path = test_dir("read-text").join(name);
        std::fs::write(&path, bytes).unwrap();
        read_text(&path).map_err(|e| {
            let message = e.to_string();
            message.strip_prefix(&format!("{}: ", path.display())).expect("the message names the file").to_string()
        })
    }

    #[test]
    fn a_text_is_read_as_it_is_without_the_byte_order_mark() {
        assert_eq!(read("plain", "a\r\nß ü\u{feff}\n".as_bytes()).unwrap(), "a\r\nß ü\u{feff}\n");
        assert_eq!(read("marked", b"\xef\xbb\xbfa").unwrap(), "a");
    }

    #[test]
    fn what_is_not_utf_8_is_told_by_byte_and_line() {
        let message = |name, bytes| read(name, bytes).unwrap_err();
        assert_eq!(message("latin", b"ab\nc\xe9d"), "at byte 4: expected UTF-8 text, found byte 0xe9 in line 2");
        assert_eq!(message("cut", "ab\n\nß".as_bytes().split_last().unwrap().1), {
            "at byte 4: expected UTF-8 text, found byte 0xc3 in line 3"
        });
        assert_eq!(message("first", b"\xff"), "at byte 0: expected UTF-8 text, found byte 0xff in line 1");
    }

    #[test]
    fn an_empty_text_is_refused() {
        assert_eq!(read("empty", b"").unwrap_err(), "at byte 0: expected a text, found an empty file");
        assert_eq!(read("mark-only", MARK.as_bytes()).unwrap_err(), "at byte 0: expected a text, found an empty file");
        assert_eq!(read("blank", b" \n\t\n").unwrap_err(), "at byte 0: expected a text, found nothing but white space");
    }

    #[test]
    fn a_missing_file_and_a_directory_are_errors() {
        let dir = test_dir("read-text");
        let message = read_text(dir.join("missing")).unwrap_err().to_string();
        assert!(message.contains("missing: expected a text file, found: "), "{message}");
        let message = read_text(&dir).unwrap_err().to_string();
        assert!(message.ends_with(": expected a text file, found a directory"), "{message}");
    }
}
