//! Models: [`Module`], the walk over a model's named parts; [`Layer`], a module from tensor to tensor; and the layers.
//!
//! Names, layouts and defaults are PyTorch's, so that a `state_dict` loads unchanged.

mod activation;
mod conv;
mod linear;
mod module;
mod param;
mod sequential;
mod summary;

pub use crate::ops::Conv2dOptions;
pub use activation::{GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh};
pub use conv::Conv2d;
pub use linear::Linear;
pub use module::{Layer, Module, Slot, Walk, WalkMut};
pub use param::{Buffer, Counter, Name, Param};
pub use sequential::Sequential;
pub use summary::{Row, Summary};
