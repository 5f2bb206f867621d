//! Options that more than one example has, and their values.

use clap::builder::RangedU64ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use wengert::Error;

pub fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// An option that takes a path.
pub fn file(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    option(name, value, help).value_parser(value_parser!(PathBuf))
}

/// An option that is there or not.
pub fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Whole numbers of a range.
pub fn whole(range: impl RangeBounds<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

/// A whole number from 1 without default.
pub fn count(name: &'static str, help: &'static str) -> Arg {
    option(name, "N", help).value_parser(whole(1..))
}

/// A number in a range.
pub fn real(name: &'static str, default: &'static str, within: fn(f64) -> bool, help: &'static str) -> Arg {
    number(name, default, within, "out of range or no number", help)
}

/// A number of at least 0.
pub fn real_from_0(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    number(name, default, not_negative, "expected a number of at least 0", help)
}

fn number(
    name: &'static str,
    default: &'static str,
    within: fn(f64) -> bool,
    wrong: &'static str,
    help: &'static str,
) -> Arg {
    let parse = move |text: &str| text.parse().ok().filter(|&x| within(x)).ok_or(wrong);
    option(name, "X", help).value_parser(parse).default_value(default)
}

pub fn positive(x: f64) -> bool {
    x > 0.0 && x.is_finite()
}

pub fn not_negative(x: f64) -> bool {
    x >= 0.0 && x.is_finite()
}

/// The probability that something is left out, not all.
pub fn dropout(x: f64) -> bool {
    (0.0..1.0).contains(&x)
}

pub fn seed() -> Arg {
    option("seed", "N", "Seed of everything random").value_parser(value_parser!(u64)).default_value("0")
}

pub fn threads() -> Arg {
    count("threads", "Threads [default: all cores]")
}

/// The command line as it was given.
pub struct Arguments(ArgMatches);

impl Arguments {
    /// Reads the command line, sets the number of threads; ends the program on `--help` and on a mistake.
    pub fn read(command: Command) -> Arguments {
        let arguments = Arguments(command.get_matches());
        // Not every example has the option.
        if let Ok(Some(&threads)) = arguments.0.try_get_one("threads") {
            wengert::set_num_threads(threads);
        }
        arguments
    }

    pub fn optional(&self, name: &str) -> Option<usize> {
        self.0.get_one(name).copied()
    }

    pub fn count(&self, name: &str) -> usize {
        self.optional(name).expect("has a default")
    }

    pub fn real(&self, name: &str) -> f64 {
        *self.0.get_one(name).expect("has a default")
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get_one::<String>(name).map(String::as_str)
    }

    pub fn path(&self, name: &str) -> Option<&Path> {
        self.0.get_one::<PathBuf>(name).map(PathBuf::as_path)
    }

    pub fn flag(&self, name: &str) -> bool {
        self.0.get_flag(name)
    }

    pub fn seed(&self) -> u64 {
        *self.0.get_one("seed").expect("has a default")
    }

    pub fn smoke(&self) -> bool {
        self.flag("smoke")
    }

    /// One at most in a run of seconds.
    pub fn epochs(&self) -> usize {
        if self.smoke() { self.count("epochs").min(1) } else { self.count("epochs") }
    }

    /// What is to be read in the end, where there is such a text.
    ///
    /// # Errors
    /// When it is blank.
    pub fn predict(&self) -> Result<Option<&str>, Error> {
        match self.text("predict") {
            Some(text) if text.trim().is_empty() => Err(Error::malformed("--predict", None, "a text", "none")),
            text => Ok(text),
        }
    }
}
