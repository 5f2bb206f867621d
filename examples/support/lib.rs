//! What the examples share: options, progress, runs that can be stopped, data made by code, what digits and texts each need.

pub mod arguments;
pub mod cnn;
pub mod dates;
pub mod frechet;
pub mod judge;
pub mod notices;
pub mod pairs;
mod progress;
pub mod reviews;
pub mod run;
pub mod text;

pub use clap;
pub use progress::Progress;

use arguments::{Arguments, file, flag, option, seed, threads, whole};
use clap::{Arg, Command, value_parser};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use wengert::Error;
use wengert::data::Mnist;

/// The command line of an example that trains on digits.
pub struct Options {
    pub data: Option<PathBuf>,
    pub epochs: u64,
    pub batch_size: usize,
    pub lr: f64,
    pub seed: u64,
    pub save: Option<PathBuf>,
    pub load: Option<PathBuf>,
    pub plot: Option<PathBuf>,
    pub eval: bool,
    pub smoke: bool,
}

impl Options {
    /// Reads the command line, sets the number of threads; ends the program on `--help` and on a mistake.
    pub fn parse(about: &'static str) -> Options {
        Options::parse_changed(about, |command| command).0
    }

    /// [`Options::parse`] of an example whose run can be stopped and resumed, with other defaults of the epochs and the learning
    /// rate, and options of its own.
    pub fn parse_resumable(
        about: &'static str,
        [epochs, lr]: [&'static str; 2],
        more: impl IntoIterator<Item = Arg>,
    ) -> (Options, Arguments) {
        Options::parse_changed(about, |command| {
            command
                .mut_arg("epochs", |arg| arg.default_value(epochs))
                .mut_arg("lr", |arg| arg.default_value(lr))
                .mut_arg("save", |arg| arg.help("Keep the run after each epoch, to go on from"))
                .mut_arg("load", |arg| arg.long("resume").help("Go on with a run that was kept; with the same options"))
                .mut_arg("eval", |arg| arg.help("Only test, do not train; with --resume"))
                .args(more)
        })
    }

    /// [`Options::parse`] with changes: other defaults, other words, options of one example alone.
    fn parse_changed(about: &'static str, change: impl FnOnce(Command) -> Command) -> (Options, Arguments) {
        let command = Command::new("example").about(about).args([
            file("data", "DIR", "Folder with MNIST's four IDX files, gzipped or plain [default: built-in digits]"),
            option("epochs", "epochs", "Passes over the data").value_parser(whole(..)).default_value("5"),
            option("batch-size", "batch-size", "Images per step").value_parser(whole(1..)).default_value("64"),
            option("lr", "lr", "Learning rate of Adam").value_parser(value_parser!(f64)).default_value("0.001"),
            seed().value_name("seed"),
            threads(),
            file("save", "FILE", "Save the network after each epoch, as safetensors"),
            file("load", "FILE", "Start from a saved network"),
            file("plot", "DIR", "Write pictures as PNG").visible_alias("out"),
            flag("eval", "Only test, do not train; with --load"),
            flag("smoke", "A run of seconds on a little data, for tests"),
        ]);
        let given = Arguments::read(change(command));
        let path = |name| given.path(name).map(Path::to_path_buf);
        let options = Options {
            data: path("data"),
            epochs: given.epochs() as u64,
            batch_size: given.count("batch-size"),
            lr: given.real("lr"),
            seed: given.seed(),
            save: path("save"),
            load: path("load"),
            plot: path("plot"),
            eval: given.flag("eval"),
            smoke: given.smoke(),
        };
        (options, given)
    }

    /// The digits to learn from and to be tested on: MNIST's, or without `--data` those that are drawn by code.
    pub fn digits(&self) -> Result<Mnist, Error> {
        let (train, test) = if self.smoke { (640, 200) } else { (60_000, 10_000) };
        let mut mnist = match &self.data {
            Some(dir) => Mnist::load(dir)?,
            None => {
                println!(
                    "Training on {train} digits drawn by code. For real MNIST, put its four IDX files, gzipped or plain,"
                );
                println!("in a folder DIR and add: --data DIR\n");
                Mnist::digits(train, test, self.seed)
            }
        };
        if self.smoke {
            mnist.train.truncate(train);
            mnist.test.truncate(test);
        }
        Ok(mnist)
    }
}

/// A folder for pictures, made where it is missing.
pub fn folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|e| Error::io(path, "a folder for pictures", e))
}

/// `7 2 1`.
pub fn joined(values: &[impl Display]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// How often each label, in rows, was read as each class, in columns.
pub fn confusion_matrix(labels: &[u8], predictions: &[u8], classes: usize) -> String {
    let mut counts = vec![vec![0; classes]; classes];
    labels.iter().zip(predictions).for_each(|(&label, &read)| counts[usize::from(label)][usize::from(read)] += 1);
    let row = |head: String, cells: &[usize]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>6}")).collect();
        format!("{head:>4}{cells}\n")
    };
    let head = row(String::new(), &(0..classes).collect::<Vec<_>>());
    head + &counts.iter().enumerate().map(|(label, cells)| row(label.to_string(), cells)).collect::<String>()
}

/// The mean of each `window` values.
pub fn smoothed(values: &[f64], window: usize) -> Vec<(f64, f64)> {
    let mean = |(i, part): (usize, &[f64])| ((i * window) as f64, part.iter().sum::<f64>() / part.len() as f64);
    values.chunks(window).enumerate().map(mean).collect()
}
