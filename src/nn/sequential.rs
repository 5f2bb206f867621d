//! Layers one after the other.

use super::{Layer, Module, Role, Walk, WalkMut, summary};
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

impl<T: Float> std::fmt::Debug for Sequential<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Sequential of {} layers", self.len())
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
        let mut x = x.clone();
        let mut layers = &self.layers[..];
        while let [first, rest @ ..] = layers {
            let [second, third] = [0, 1].map(|i| rest.get(i).map_or(Role::Other, |layer| layer.role()));
            // A summary is told the layers one by one.
            let (y, count) = match (first.role(), second, third) {
                _ if summary::is_tracing() => (first.forward(&x), 1),
                (Role::Conv2d(conv), Role::Relu, Role::MaxPool2d(pool))
                | (Role::Conv2d(conv), Role::MaxPool2d(pool), Role::Relu)
                    if pool.is_halving() =>
                {
                    (conv.forward_pooled(&x, true), 3)
                }
                (Role::Conv2d(conv), Role::MaxPool2d(pool), _) if pool.is_halving() => {
                    (conv.forward_pooled(&x, false), 2)
                }
                // The maximum of max(x, 0) is max(0, the maximum of x), with the same gradient: in this order ReLU has fewer
                // numbers.
                (Role::Conv2d(conv), Role::Relu, Role::MaxPool2d(pool)) => (pool.forward(&conv.forward(&x)).relu(), 3),
                (Role::Relu, Role::MaxPool2d(pool), _) => (pool.forward(&x).relu(), 2),
                (Role::Conv2d(conv), Role::Relu, _) => (conv.forward_relu(&x), 2),
                (Role::Linear(linear), Role::Relu, _) => (linear.forward_relu(&x), 2),
                _ => (first.forward(&x), 1),
            };
            (x, layers) = (y, &layers[count..]);
        }
        x
    }
}

/// A [`Sequential`](crate::nn::Sequential) of the listed layers.
#[macro_export]
macro_rules! sequential {
    ($($layer:expr),* $(,)?) => {
        $crate::nn::Sequential::new(vec![$(Box::new($layer)),*])
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;
    use crate::nn::{Conv2d, Flatten, Linear, MaxPool2d, MaxPool2dOptions, ReLU};

    #[test]
    fn relu_and_max_pooling_in_either_order_give_the_same_bits() {
        let options = MaxPool2dOptions { stride: Some([1, 2]), padding: [1, 1], ..Default::default() };
        for pool in [MaxPool2d::new(2), MaxPool2d::with(3, options)] {
            // Whole numbers, so that there are ties and windows without a positive number; NaN too.
            let mut values: Vec<f32> = (0..3 * 49).map(|i| ((i * 37) % 11) as f32 - 7.0).collect();
            values[60] = f32::NAN;
            let x = Tensor::from_vec(values, [1, 3, 7, 7]).tracked();
            let bits = |y: Tensor| {
                let cotangent = Tensor::from_fn(y.dims(), |i| i as f32 + 1.0);
                let grad = y.clone().backward_with(&cotangent).of(&x);
                [y, grad].map(|x| x.to_vec().into_iter().map(f32::to_bits).collect::<Vec<_>>())
            };
            let net = sequential![ReLU, pool];
            assert_eq!(bits(record(|| net.forward(&x))), bits(record(|| pool.forward(&ReLU.forward(&x)))));
        }
    }

    #[test]
    fn layers_that_are_joined_compute_what_they_compute_one_by_one() {
        crate::seed(3);
        let layers = || (Conv2d::new(2, 40, 3), Conv2d::new(40, 5, 2), Linear::new(5, 6), MaxPool2d::new(2));
        let (wide, narrow, linear, pool) = layers();
        let other = MaxPool2d::with(2, MaxPool2dOptions { stride: Some([1, 1]), ..Default::default() });
        let x = Tensor::randn([3, 2, 16, 15]);
        let one_by_one = |layers: &[&dyn Layer]| layers.iter().fold(x.clone(), |x, layer| layer.forward(&x));
        let joined = |layers: Vec<Box<dyn Layer>>| Sequential::new(layers).forward(&x);
        let flat = Flatten::default();
        macro_rules! check {
            ($($layer:expr),+) => {
                let (found, expected) = (joined(vec![$(Box::new($layer.clone())),+]), one_by_one(&[$(&$layer),+]));
                assert_eq!(found.shape(), expected.shape());
                for (found, expected) in found.to_vec().into_iter().zip(expected.to_vec()) {
                    assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
                }
            };
        }
        check!(wide, ReLU, pool, narrow, ReLU);
        check!(wide, pool, ReLU, narrow, pool, pool, flat, linear, ReLU);
        check!(wide, pool, narrow, other, ReLU);
        check!(wide, ReLU, other, ReLU, pool, narrow);
    }
}
