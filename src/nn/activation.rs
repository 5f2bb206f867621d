//! Activations as layers, for `Sequential`; in a `forward` of your own, call the tensor's methods.

use super::summary::Call;
use super::{Layer, Module, Role, Walk, WalkMut};
use crate::element::Float;
use crate::tensor::Tensor;

/// Layers without parameters: `Name, "kind", |self, x| output;`, behind the name its [`Role`](super::Role) where it has one.
macro_rules! stateless {
    ($($name:ident $(($self:ident is $role:expr))?, $kind:literal, |$this:ident, $x:ident| $forward:expr;)+) => {$(
        impl<T: Float> Module<T> for $name {
            fn visit(&self, _walk: &mut Walk<T>) {}
            fn visit_mut(&mut self, _walk: &mut WalkMut<T>) {}
        }

        impl<T: Float> Layer<T> for $name {
            #[track_caller]
            fn forward(&self, $x: &Tensor<T>) -> Tensor<T> {
                let call = Call::enter($kind, None);
                let $this = self;
                let y = $forward;
                call.leave(y, |_| (0, 0))
            }
            $(
                fn role(&self) -> $crate::nn::Role<'_, T> {
                    let $self = self;
                    $role
                }
            )?
        }
    )+};
}
pub(super) use stateless;

/// `max(x, 0)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReLU;

/// `x` for `x > 0`, else `slope x`; the slope is 0.01 by default (Maas et al., 2013).
#[derive(Clone, Copy, Debug)]
pub struct LeakyReLU {
    /// The slope for negative `x`.
    pub slope: f64,
}

impl LeakyReLU {
    /// A layer with the given slope for negative `x`.
    pub fn new(slope: f64) -> LeakyReLU {
        LeakyReLU { slope }
    }
}

impl Default for LeakyReLU {
    fn default() -> LeakyReLU {
        LeakyReLU { slope: 0.01 }
    }
}

/// `x Phi(x)`, exact by default (Hendrycks and Gimpel, 2016).
#[derive(Clone, Copy, Debug, Default)]
pub struct GELU {
    /// Whether to use the tanh approximation.
    pub approximate: bool,
}

/// The logistic function `1 / (1 + e^-x)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sigmoid;

/// The hyperbolic tangent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tanh;

/// [`Tensor::softmax`] along a dimension. For a loss give logits to cross-entropy instead: that is stable.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// The dimension along which the outputs add up to 1.
    pub dim: isize,
}

/// [`Tensor::log_softmax`] along a dimension.
#[derive(Clone, Copy, Debug)]
pub struct LogSoftmax {
    /// The dimension along which the outputs are the logarithms of a distribution.
    pub dim: isize,
}

impl Softmax {
    /// Along a dimension; -1 is the last.
    pub fn new(dim: isize) -> Softmax {
        Softmax { dim }
    }
}

impl LogSoftmax {
    /// Along a dimension; -1 is the last.
    pub fn new(dim: isize) -> LogSoftmax {
        LogSoftmax { dim }
    }
}

stateless! {
    ReLU(_relu is Role::Relu), "ReLU", |_layer, x| x.relu();
    LeakyReLU, "LeakyReLU", |layer, x| x.leaky_relu(layer.slope);
    GELU, "GELU", |layer, x| if layer.approximate { x.gelu_tanh() } else { x.gelu() };
    Sigmoid, "Sigmoid", |_layer, x| x.sigmoid();
    Tanh, "Tanh", |_layer, x| x.tanh();
    Softmax, "Softmax", |layer, x| x.softmax(layer.dim);
    LogSoftmax, "LogSoftmax", |layer, x| x.log_softmax(layer.dim);
}
