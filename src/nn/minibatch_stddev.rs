//! How much the examples of a batch differ, as a layer.

use super::activation::stateless;
use super::summary::Call;
use super::{Layer, Module, Walk, WalkMut};
use crate::element::Float;
use crate::ops::{self, MinibatchStdDevOptions};
use crate::tensor::Tensor;

/// Appends the standard deviation over groups of examples as a channel: [`ops::minibatch_stddev`]. It stands near the end of a
/// critic.
///
/// * input `[batch, channels, ..]`, output `[batch, channels + features, ..]`
///
/// ```
/// use wengert::{Tensor, nn::{Layer, MinibatchStdDev}};
/// let layer = MinibatchStdDev::default();
/// assert_eq!(layer.forward(&Tensor::zeros([8, 64, 4, 4])).shape(), [8, 65, 4, 4]);
/// ```
///
/// # Panics
/// In `forward`, when the batch is no multiple of the group's size, or the features do not divide the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MinibatchStdDev {
    options: MinibatchStdDevOptions,
}

impl MinibatchStdDev {
    /// A layer that compares `group_size` examples with each other and appends one channel.
    pub fn new(group_size: usize) -> MinibatchStdDev {
        MinibatchStdDev::with(MinibatchStdDevOptions { group_size: Some(group_size), ..Default::default() })
    }

    /// A layer with the given options.
    pub fn with(options: MinibatchStdDevOptions) -> MinibatchStdDev {
        MinibatchStdDev { options }
    }

    /// What the layer was made with.
    pub fn options(&self) -> MinibatchStdDevOptions {
        self.options
    }
}

stateless! {
    MinibatchStdDev, "MinibatchStdDev", |layer, x| ops::minibatch_stddev(x, layer.options);
}
