//! The layer between images and vectors.

use super::activation::stateless;
use super::summary::Call;
use super::{Layer, Module, Walk, WalkMut};
use crate::element::Float;
use crate::tensor::Tensor;

/// All dimensions from `start_dim` to the last as one: by default `[batch, ..] -> [batch, features]`.
///
/// ```
/// use wengert::{Tensor, nn::{Flatten, Layer}};
/// let x = Tensor::zeros([8, 64, 3, 3]);
/// assert_eq!(Flatten::default().forward(&x).shape(), [8, 576]);
/// ```
///
/// # Panics
/// In `forward`, when the input has no such dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// The first dimension that is merged; negative ones count from the end.
    pub start_dim: isize,
}

impl Default for Flatten {
    fn default() -> Flatten {
        Flatten { start_dim: 1 }
    }
}

stateless! {
    Flatten, "Flatten", |layer, x| x.flatten(layer.start_dim);
}
