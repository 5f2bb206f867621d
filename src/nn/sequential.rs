//! Layers one after the other.

use super::{Layer, Module, Walk, WalkMut};
use crate::element::Float;
use crate::tensor::Tensor;

/// Layers one after the other: the output of each is the input of the next. [`sequential!`](crate::sequential) makes it
/// from a list; the layers are named by their numbers, as in PyTorch: `0.weight`, `0.bias`, `2.weight`.
///
/// ```
/// use wengert::{Tensor, nn::{Layer, Linear, Module, ReLU}, sequential};
/// let net = sequential![Linear::new(4, 8), ReLU, Linear::new(8, 2)];
/// assert_eq!(net.forward(&Tensor::zeros([5, 4])).shape(), [5, 2]);
/// assert_eq!(net.parameters()[2].0, "2.weight");
/// ```
#[derive(Default)]
pub struct Sequential<T: Float = f32> {
    layers: Vec<Box<dyn Layer<T>>>,
}

impl<T: Float> Sequential<T> {
    /// The given layers; none is the identity.
    pub fn new(layers: Vec<Box<dyn Layer<T>>>) -> Sequential<T> {
        Sequential { layers }
    }

    /// With one more layer at the end.
    pub fn push(&mut self, layer: impl Layer<T> + 'static) {
        self.layers.push(Box::new(layer));
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl<T: Float> Module<T> for Sequential<T> {
    fn visit(&self, walk: &mut Walk<T>) {
        self.layers.visit(walk);
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        self.layers.visit_mut(walk);
    }
}

impl<T: Float> Layer<T> for Sequential<T> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        match self.layers.split_first() {
            Some((first, rest)) => rest.iter().fold(first.forward(x), |x, layer| layer.forward(&x)),
            None => x.clone(),
        }
    }
}

/// A [`Sequential`](crate::nn::Sequential) of the listed layers.
#[macro_export]
macro_rules! sequential {
    ($($layer:expr),* $(,)?) => {
        $crate::nn::Sequential::new(vec![$(Box::new($layer)),*])
    };
}
