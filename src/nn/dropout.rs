//! Dropout as a layer.

use super::activation::stateless;
use super::summary::Call;
use super::{Layer, Module, Walk, WalkMut};
use crate::element::Float;
use crate::ops;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// In training every element is 0 with probability `p`, else divided by `1 - p`; in evaluation nothing happens. See
/// [`ops::dropout`].
///
/// ```
/// use wengert::{Tensor, nn::{Dropout, Layer}, record};
/// let layer = Dropout::new(0.5);
/// let x = Tensor::ones([1000]);
/// assert_eq!(layer.forward(&x).to_vec(), x.to_vec());
/// assert!(record(|| layer.forward(&x)).to_vec().contains(&0.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// A layer in which an element goes with probability `p`.
    ///
    /// # Panics
    /// When `p` is not between 0 and 1.
    #[track_caller]
    pub fn new(p: f64) -> Dropout {
        ensure((0.0..=1.0).contains(&p), || format!("Dropout: expected a probability between 0 and 1, found {p}"));
        Dropout { p }
    }

    /// The probability of an element to go.
    pub fn p(&self) -> f64 {
        self.p
    }
}

impl Default for Dropout {
    /// PyTorch's: one half.
    fn default() -> Dropout {
        Dropout { p: 0.5 }
    }
}

stateless! {
    Dropout, "Dropout", |layer, x| ops::dropout(x, layer.p);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "Dropout: expected a probability between 0 and 1, found -0.1")]
    fn a_negative_probability_is_refused() {
        Dropout::new(-0.1);
    }

    #[test]
    #[should_panic(expected = "found NaN")]
    fn a_probability_that_is_no_number_is_refused() {
        Dropout::new(f64::NAN);
    }
}
