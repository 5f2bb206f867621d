//! Data sets, as bytes and numbers: IDX files, MNIST, digits drawn by code, and [`text`]; and batches of them, as tensors.
//!
//! With feature `image` also `image`: pictures as PNG and GIF; with feature `plot` also `plot`: charts.

mod dataset;
mod digits;
mod idx;
#[cfg(feature = "image")]
pub mod image;
mod loader;
mod mnist;
#[cfg(feature = "plot")]
pub mod plot;
pub mod text;

pub use dataset::{Dataset, Transformed};
pub use digits::digits;
pub use idx::{Idx, read_idx, write_idx};
pub use loader::{Batches, DataLoader, Epoch};
pub use mnist::{LabelledImages, Mnist};

/// An empty folder for one test's files.
#[cfg(test)]
fn test_dir(test: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("wengert-data-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
