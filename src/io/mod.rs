//! Models and tensors as files, in the [safetensors](https://github.com/huggingface/safetensors) format.
//!
//! Names and layouts are PyTorch's: a `state_dict` that `safetensors.torch.save_file` wrote loads unchanged, and what
//! [`save`] writes loads in PyTorch.
//!
//! ```
//! use wengert::{Tensor, io, nn::{Layer, Linear}};
//! # let path = std::env::temp_dir().join(format!("wengert-doc-io-{}.safetensors", std::process::id()));
//! let net: Linear = Linear::new(4, 2);
//! io::save(&path, &net)?;
//!
//! let mut same: Linear = Linear::new(4, 2);
//! io::load(&path, &mut same)?;
//! let x = Tensor::randn([3, 4]);
//! assert_eq!(same.forward(&x).to_vec(), net.forward(&x).to_vec());
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), wengert::Error>(())
//! ```

mod any;
mod checkpoint;
mod dtype;
mod file;
mod header;
mod json;
mod model;
mod safetensors;

pub use any::AnyTensor;
pub use checkpoint::Checkpoint;
pub(crate) use file::open;
pub use file::write_atomically;
pub use model::{LoadOptions, Loaded, load, load_with, save, state};
pub use safetensors::{TensorFile, load_tensors, save_tensors};

/// An empty folder for one test's files.
#[cfg(test)]
fn test_dir(test: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("wengert-io-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
