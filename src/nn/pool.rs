//! Pooling layers.

use super::activation::stateless;
use super::summary::Call;
use super::{Layer, Module, Role, Walk, WalkMut};
use crate::element::Float;
use crate::ops::{self, AvgPool2dOptions, MaxPool2dOptions};
use crate::shape::Pair;
use crate::tensor::Tensor;

/// The largest element of each window: input `[.., height, width]`, output `[.., out height, out width]`; see
/// [`ops::max_pool2d`].
///
/// ```
/// use wengert::{Tensor, nn::{Layer, MaxPool2d}};
/// let pool = MaxPool2d::new(2);
/// assert_eq!(pool.forward(&Tensor::zeros([8, 3, 24, 24])).shape(), [8, 3, 12, 12]);
/// ```
///
/// # Panics
/// In `forward`, when the windows do not fit the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Height and width of a window.
    pub kernel_size: [usize; 2],
    /// How the windows lie.
    pub options: MaxPool2dOptions,
}

impl MaxPool2d {
    /// Windows of the given size, side by side.
    pub fn new(kernel_size: impl Into<Pair>) -> MaxPool2d {
        MaxPool2d::with(kernel_size, MaxPool2dOptions::default())
    }

    /// Windows of the given size that lie as the options say.
    ///
    /// ```
    /// use wengert::nn::{MaxPool2d, MaxPool2dOptions};
    /// let options = MaxPool2dOptions { stride: Some([2, 2]), padding: [1, 1], ..Default::default() };
    /// let pool = MaxPool2d::with(3, options);
    /// ```
    pub fn with(kernel_size: impl Into<Pair>, options: MaxPool2dOptions) -> MaxPool2d {
        MaxPool2d { kernel_size: kernel_size.into().0, options }
    }
}

impl MaxPool2d {
    /// Whether the windows are 2 x 2, side by side.
    pub(super) fn is_halving(&self) -> bool {
        let MaxPool2dOptions { stride, .. } = self.options;
        let side_by_side = MaxPool2dOptions { stride, ..Default::default() };
        self.kernel_size == [2, 2] && stride.is_none_or(|stride| stride == [2, 2]) && self.options == side_by_side
    }
}

/// The mean of each window: input `[.., height, width]`, output `[.., out height, out width]`; see [`ops::avg_pool2d`].
///
/// ```
/// use wengert::{Tensor, nn::{AvgPool2d, Layer}};
/// let pool = AvgPool2d::new([4, 2]);
/// assert_eq!(pool.forward(&Tensor::ones([8, 3, 4, 4])).shape(), [8, 3, 1, 2]);
/// ```
///
/// # Panics
/// In `forward`, when the windows do not fit the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Height and width of a window.
    pub kernel_size: [usize; 2],
    /// How the windows lie, and what counts.
    pub options: AvgPool2dOptions,
}

impl AvgPool2d {
    /// Windows of the given size, side by side.
    pub fn new(kernel_size: impl Into<Pair>) -> AvgPool2d {
        AvgPool2d::with(kernel_size, AvgPool2dOptions::default())
    }

    /// Windows of the given size that lie as the options say.
    pub fn with(kernel_size: impl Into<Pair>, options: AvgPool2dOptions) -> AvgPool2d {
        AvgPool2d { kernel_size: kernel_size.into().0, options }
    }
}

stateless! {
    MaxPool2d(pool is Role::MaxPool2d(pool)), "MaxPool2d", |layer, x| ops::max_pool2d(x, layer.kernel_size, layer.options);
    AvgPool2d, "AvgPool2d", |layer, x| ops::avg_pool2d(x, layer.kernel_size, layer.options);
}
