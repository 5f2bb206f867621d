//! What the examples on text share: options, recurrent layers, saved networks, scores.

pub mod arguments;
#[path = "../progress.rs"]
mod progress;
pub mod recurrent;
mod saved;
pub mod score;

pub use progress::Progress;
pub use recurrent::{CELLS, Recurrent};
pub use saved::{Saved, save};
