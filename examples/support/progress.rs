//! A progress bar with loss, accuracy, speed and time left; plain lines where the output is no terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Instant;

pub struct Progress {
    bar: ProgressBar,
    name: String,
    total: usize,
    seen: usize,
    hits: usize,
    losses: f64,
    start: Instant,
    lines: usize,
}

/// Lines that a run without a terminal prints.
const LINES: usize = 4;

impl Progress {
    /// For a pass over `total` samples.
    pub fn new(name: String, total: usize) -> Progress {
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3}% {msg}, {eta} left");
        let bar = ProgressBar::new(total as u64).with_style(style.expect("a valid template")).with_prefix(name.clone());
        Progress { bar, name, total, seen: 0, hits: 0, losses: 0.0, start: Instant::now(), lines: 0 }
    }

    /// After a batch of `samples`, with its mean loss and the number of right answers.
    pub fn update(&mut self, samples: usize, loss: f64, hits: usize) {
        self.hits += hits;
        self.losses += loss * samples as f64;
        let seen = (self.seen + samples) as f64;
        let (loss, accuracy) = (self.losses / seen, 100.0 * self.hits as f64 / seen);
        self.advance(samples, || format!("loss {loss:.4}, accuracy {accuracy:.2}%"));
    }

    /// After a batch of `samples`, with its mean loss.
    pub fn update_loss(&mut self, samples: usize, loss: f64) {
        self.losses += loss * samples as f64;
        let loss = self.losses / (self.seen + samples) as f64;
        self.advance(samples, || format!("loss {loss:.4}"));
    }

    /// After a batch of `samples`, with what there is to say of it.
    pub fn advance(&mut self, samples: usize, message: impl FnOnce() -> String) {
        self.seen += samples;
        let due = self.lines < LINES && self.seen * LINES >= (self.lines + 1) * self.total;
        if self.bar.is_hidden() && !due {
            return;
        }
        let speed = self.seen as f64 / self.start.elapsed().as_secs_f64();
        let message = format!("{}, {speed:.0} samples/s", message());
        if self.bar.is_hidden() {
            let left = (self.total - self.seen.min(self.total)) as f64 / speed;
            println!("{} {:>3}% {message}, {left:.0}s left", self.name, 100 * self.seen / self.total.max(1));
            self.lines += 1;
        } else {
            self.bar.set_message(message);
            self.bar.set_position(self.seen as u64);
        }
    }

    fn mean_loss(&self) -> f64 {
        self.losses / self.seen.max(1) as f64
    }

    /// Clears the bar; returns the mean loss.
    pub fn finish(self) -> f64 {
        self.bar.finish_and_clear();
        self.mean_loss()
    }
}
