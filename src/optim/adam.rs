//! Adam and AdamW.

use super::{Optimizer, States, state_mut, zeros};
use crate::autograd::Gradients;
use crate::element::Float;
use crate::kernels::optim::{AdamStep, adam};
use crate::nn::{Module, Param};
use crate::tensor::Tensor;

/// What can be set of [`Adam`] and [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// The learning rate; 1e-3 by default.
    pub lr: f64,
    /// The decay rates of the first and of the second moment; 0.9 and 0.999 by default.
    pub betas: [f64; 2],
    /// Added to the denominator; 1e-8 by default.
    pub eps: f64,
    /// [`Adam`]: an L2 penalty, added to the gradient. [`AdamW`]: the parameter shrinks by `lr * weight_decay` in each step.
    /// 0 by default.
    pub weight_decay: f64,
}

impl Default for AdamOptions {
    fn default() -> AdamOptions {
        AdamOptions { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
    }
}

/// The moments of one parameter, and how often it was stepped.
#[derive(Clone)]
struct Moments<T: Float> {
    first: Tensor<T>,
    second: Tensor<T>,
    steps: i32,
}

impl<T: Float> Moments<T> {
    fn new(param: &Param<T>) -> Moments<T> {
        Moments { first: zeros(param), second: zeros(param), steps: 0 }
    }

    /// PyTorch's names; it keeps the number of steps as a float too.
    const PARTS: [&'static str; 3] = ["exp_avg", "exp_avg_sq", "step"];

    fn parts(&self) -> Vec<(&'static str, Tensor<T>)> {
        let parts = [self.first.clone(), self.second.clone(), Tensor::scalar(T::of(self.steps.into()))];
        Self::PARTS.into_iter().zip(parts).collect()
    }

    fn of_parts([first, second, steps]: [Tensor<T>; 3]) -> Moments<T> {
        let steps = steps.to_vec().first().map_or(0, |&steps| steps.to_f64() as i32);
        Moments { first, second, steps }
    }
}

#[track_caller]
fn step<T: Float>(
    options: &AdamOptions,
    decoupled: bool,
    moments: &mut States<Moments<T>>,
    model: &mut dyn Module<T>,
    grads: &Gradients,
) {
    let AdamOptions { lr, betas, eps, weight_decay } = *options;
    moments.for_each(model, grads, false, Moments::new, |param, _, grad, moments| {
        moments.steps += 1;
        let [beta1, beta2] = betas.map(|beta| beta.powi(moments.steps));
        let step = AdamStep {
            step_size: lr / (1.0 - beta1),
            betas,
            correction: (1.0 - beta2).sqrt(),
            eps,
            l2: if decoupled { 0.0 } else { weight_decay },
            shrink: if decoupled { 1.0 - lr * weight_decay } else { 1.0 },
        };
        let (first, second) = (state_mut(&mut moments.first, param), state_mut(&mut moments.second, param));
        adam(param.as_mut_slice(), grad, first, second, step);
    });
}

macro_rules! adam {
    ($(#[$meta:meta])* $name:ident, $decoupled:literal, $weight_decay:literal) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $name<T: Float = f32> {
            options: AdamOptions,
            moments: States<Moments<T>>,
        }

        impl<T: Float> $name<T> {
            /// With a learning rate, and the default of everything else.
            pub fn new(lr: f64) -> $name<T> {
                $name::with(AdamOptions { lr, weight_decay: $weight_decay, ..AdamOptions::default() })
            }

            /// With the given options.
            pub fn with(options: AdamOptions) -> $name<T> {
                $name { options, moments: States::default() }
            }
        }

        impl<T: Float> Optimizer<T> for $name<T> {
            #[track_caller]
            fn step(&mut self, model: &mut dyn Module<T>, grads: &Gradients) {
                step(&self.options, $decoupled, &mut self.moments, model, grads);
            }

            fn lr(&self) -> f64 {
                self.options.lr
            }

            fn set_lr(&mut self, lr: f64) {
                self.options.lr = lr;
            }

            fn allow_unreached(&mut self, allow: bool) {
                self.moments.allow_unreached = allow;
            }

            fn state_dict(&self) -> Vec<(String, Tensor<T>)> {
                self.moments.state_dict(Moments::parts)
            }

            fn load_state_dict(&mut self, state: Vec<(String, Tensor<T>)>) -> Result<(), Vec<String>> {
                self.moments.load_state_dict(state, Moments::<T>::PARTS, Moments::of_parts)
            }
        }
    };
}

adam! {
    /// Adam, PyTorch's `Adam`: with `g = grad + weight_decay p`,
    ///
    /// `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
    /// `p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)`.
    ///
    /// Kingma, Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    Adam, false, 0.0
}

adam! {
    /// AdamW, PyTorch's `AdamW`: [`Adam`] without the penalty in the gradient; instead, the parameter first shrinks by
    /// `lr weight_decay`. The weight decay is 0.01 in [`AdamW::new`], as in PyTorch.
    ///
    /// Loshchilov, Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    AdamW, true, 0.01
}
