//! The one error type of everything that reads from outside: files, archives, foreign data.
//!
//! A mistake in the program, such as two shapes that do not fit, panics instead, except in a `try_` method.

use std::fmt::{self, Debug, Display, Formatter};
use std::path::{Path, PathBuf};

/// What went wrong while reading from outside.
///
/// Every message has one format: what was read, where in it, what was expected there, what was found:
///
/// ```
/// use wengert::Error;
///
/// let error = Error::malformed("train-labels-idx1-ubyte.gz", 4, "60000 labels (as many as images)", 10000);
/// assert_eq!(
///     error.to_string(),
///     "train-labels-idx1-ubyte.gz: at byte 4: expected 60000 labels (as many as images), found 10000"
/// );
/// ```
#[non_exhaustive]
pub enum Error {
    /// The operating system could not open, read or write a file.
    Io {
        /// The file.
        path: PathBuf,
        /// What should have been there.
        expected: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    Malformed {
        /// The file.
        path: PathBuf,
        /// The place: an offset into the file's bytes, of a compressed file into the unpacked bytes.
        offset: Option<u64>,
        /// What should have been there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A line of a text file does not hold what it should.
    MalformedLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What should have been there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A shape mistake in foreign data, caught by a `try_` method; the text is the panic's.
    Shape(String),
    /// Names that should be in a file and are not.
    MissingKeys {
        /// The file.
        path: PathBuf,
        /// The names.
        keys: Vec<String>,
    },
    /// Names in a file that nothing asks for.
    UnknownKeys {
        /// The file.
        path: PathBuf,
        /// The names.
        keys: Vec<String>,
    },
    /// Names that stand for more than one thing.
    DuplicateKeys {
        /// The file.
        path: PathBuf,
        /// The names.
        keys: Vec<String>,
    },
    /// A named tensor of a file has another shape than the one it is to fill.
    KeyShape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        key: String,
        /// The shape it is to fill.
        expected: Vec<usize>,
        /// Its shape in the file.
        found: Vec<usize>,
    },
    /// A named tensor of a file has another element type than the one it is to fill.
    KeyDtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        key: String,
        /// The element type it is to fill.
        expected: String,
        /// Its element type in the file.
        found: String,
    },
}

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`]: `expected` could not be had from `path`.
    pub fn io(path: impl AsRef<Path>, expected: impl Display, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_owned(), expected: expected.to_string(), source }
    }

    /// An [`Error::Malformed`] at a byte of the file; `None` where no single byte is to blame.
    pub fn malformed(
        path: impl AsRef<Path>,
        offset: impl Into<Option<u64>>,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Error::Malformed {
            path: path.as_ref().to_owned(),
            offset: offset.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// An [`Error::MalformedLine`] at a line of the file, counted from 1.
    pub fn malformed_line(path: impl AsRef<Path>, line: usize, expected: impl Display, found: impl Display) -> Self {
        let path = path.as_ref().to_owned();
        Error::MalformedLine { path, line, expected: expected.to_string(), found: found.to_string() }
    }

    /// An [`Error::Shape`] with this text.
    pub fn shape(message: impl Into<String>) -> Self {
        Error::Shape(message.into())
    }

    /// An [`Error::MissingKeys`].
    pub fn missing_keys(path: impl AsRef<Path>, keys: Vec<String>) -> Self {
        Error::MissingKeys { path: path.as_ref().to_owned(), keys }
    }

    /// An [`Error::UnknownKeys`].
    pub fn unknown_keys(path: impl AsRef<Path>, keys: Vec<String>) -> Self {
        Error::UnknownKeys { path: path.as_ref().to_owned(), keys }
    }

    /// An [`Error::DuplicateKeys`].
    pub fn duplicate_keys(path: impl AsRef<Path>, keys: Vec<String>) -> Self {
        Error::DuplicateKeys { path: path.as_ref().to_owned(), keys }
    }

    /// An [`Error::KeyShape`].
    pub fn key_shape(path: impl AsRef<Path>, key: impl Into<String>, expected: &[usize], found: &[usize]) -> Self {
        let path = path.as_ref().to_owned();
        Error::KeyShape { path, key: key.into(), expected: expected.to_vec(), found: found.to_vec() }
    }

    /// An [`Error::KeyDtype`].
    pub fn key_dtype(
        path: impl AsRef<Path>,
        key: impl Into<String>,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        let path = path.as_ref().to_owned();
        Error::KeyDtype { path, key: key.into(), expected: expected.to_string(), found: found.to_string() }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Error::Io { path, expected, source } => {
                write!(f, "{}: expected {expected}, found: {source}", path.display())
            }
            Error::Malformed { path, offset: Some(offset), expected, found } => {
                write!(f, "{}: at byte {offset}: expected {expected}, found {found}", path.display())
            }
            Error::Malformed { path, offset: None, expected, found } => {
                write!(f, "{}: expected {expected}, found {found}", path.display())
            }
            Error::MalformedLine { path, line, expected, found } => {
                write!(f, "{}: at line {line}: expected {expected}, found {found}", path.display())
            }
            Error::Shape(message) => f.write_str(message),
            Error::MissingKeys { path, keys } => {
                write!(f, "{}: expected {}, found no such key", path.display(), keys.join(", "))
            }
            Error::UnknownKeys { path, keys } => {
                write!(f, "{}: expected no key besides the model's, found {}", path.display(), keys.join(", "))
            }
            Error::DuplicateKeys { path, keys } => {
                write!(f, "{}: expected every key once, found more than one {}", path.display(), keys.join(", "))
            }
            Error::KeyShape { path, key, expected, found } => {
                write!(f, "{}: at {key}: expected shape {expected:?}, found {found:?}", path.display())
            }
            Error::KeyDtype { path, key, expected, found } => {
                write!(f, "{}: at {key}: expected elements of type {expected}, found {found}", path.display())
            }
        }
    }
}

/// The same text, so that a `main` that returns the error prints what a person can read.
impl Debug for Error {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_names_file_place_expected_and_found() {
        let keys = || vec!["fc1.weight".to_string(), "fc1.bias".to_string()];
        let gone = std::io::Error::new(std::io::ErrorKind::NotFound, "gone");
        let messages = [
            (Error::io("a.csv", "a table", gone), "a.csv: expected a table, found: gone"),
            (Error::malformed("a", 4, "3 rows", 2), "a: at byte 4: expected 3 rows, found 2"),
            (Error::malformed("a", None, "a file", "a directory"), "a: expected a file, found a directory"),
            (Error::malformed_line("a", 7, "a tag", "nothing"), "a: at line 7: expected a tag, found nothing"),
            (Error::shape("reshape: [2, 3] -> [7]"), "reshape: [2, 3] -> [7]"),
            (Error::missing_keys("m", keys()), "m: expected fc1.weight, fc1.bias, found no such key"),
            (Error::unknown_keys("m", keys()), "m: expected no key besides the model's, found fc1.weight, fc1.bias"),
            (
                Error::duplicate_keys("m", keys()),
                "m: expected every key once, found more than one fc1.weight, fc1.bias",
            ),
            (Error::key_shape("m", "fc1.bias", &[64], &[32]), "m: at fc1.bias: expected shape [64], found [32]"),
            (
                Error::key_dtype("m", "fc1.bias", "f32", "f16"),
                "m: at fc1.bias: expected elements of type f32, found f16",
            ),
        ];
        for (error, message) in messages {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn an_error_travels_between_threads_and_keeps_its_source() {
        fn travels<T: Send + Sync + 'static>(_: &T) {}
        let error = Error::io("a", "a file", std::io::Error::other("disk on fire"));
        travels(&error);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk on fire");
    }
}
