//! Deep learning in Rust, on a tape.

pub mod autograd;
pub mod data;
pub mod element;
pub mod error;
pub mod io;
pub mod kernels;
pub mod loss;
pub mod memory;
pub mod nn;
pub mod ops;
pub mod optim;
mod rng;
pub mod shape;
mod tensor;

pub use autograd::{Gradients, no_record, record, with_mode};
pub use element::{DType, Element, Float, Number};
pub use error::{Error, Result};
pub use rng::{Rng, seed};
pub use shape::Shape;
pub use tensor::Tensor;
