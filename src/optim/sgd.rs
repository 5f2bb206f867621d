//! Stochastic gradient descent.

use super::{Optimizer, States, state_mut, zeros};
use crate::autograd::Gradients;
use crate::element::Float;
use crate::kernels::optim::{SgdStep, sgd};
use crate::nn::Module;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// What can be set of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdOptions {
    /// The learning rate; 0.01 by default.
    pub lr: f64,
    /// How much of the velocity stays in each step; 0 by default.
    pub momentum: f64,
    /// How much of the gradient is kept from the velocity; 0 by default.
    pub dampening: f64,
    /// The L2 penalty, added to the gradient; 0 by default.
    pub weight_decay: f64,
    /// Nesterov's momentum; off by default.
    pub nesterov: bool,
}

impl Default for SgdOptions {
    fn default() -> SgdOptions {
        SgdOptions { lr: 0.01, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// Stochastic gradient descent with momentum, PyTorch's `SGD`:
///
/// `g = grad + weight_decay p`, `v = momentum v + (1 - dampening) g` (at first `v = g`), `p = p - lr v`; with Nesterov's
/// momentum `p = p - lr (g + momentum v)`.
///
/// Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning", 2013.
#[derive(Clone)]
pub struct Sgd<T: Float = f32> {
    options: SgdOptions,
    velocities: States<Option<Tensor<T>>>,
}

impl<T: Float> Sgd<T> {
    /// Plain descent with a learning rate.
    #[track_caller]
    pub fn new(lr: f64) -> Sgd<T> {
        Sgd::with(SgdOptions { lr, ..SgdOptions::default() })
    }

    /// With the given options.
    ///
    /// # Panics
    /// When Nesterov's momentum is asked for without momentum or with dampening.
    #[track_caller]
    pub fn with(options: SgdOptions) -> Sgd<T> {
        ensure(!options.nesterov || (options.momentum > 0.0 && options.dampening == 0.0), || {
            format!("sgd: Nesterov's momentum needs a momentum and no dampening: {options:?}")
        });
        Sgd { options, velocities: States::default() }
    }
}

impl<T: Float> Optimizer<T> for Sgd<T> {
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module<T>, grads: &Gradients) {
        let SgdOptions { lr, momentum, dampening, weight_decay, nesterov } = self.options;
        let step = SgdStep { lr, momentum, dampening, weight_decay, nesterov };
        self.velocities.for_each(
            model,
            grads,
            // Rows without a gradient stay as they are.
            momentum == 0.0 && weight_decay == 0.0,
            |_| None,
            |param, rows, grad, velocity| {
                if let Some(rows) = rows {
                    let dim = param.size(1);
                    let param = param.as_mut_slice();
                    for (&row, grad) in rows.iter().zip(grad.chunks(dim.max(1))) {
                        sgd(&mut param[row * dim..][..dim], grad, None, false, step);
                    }
                    return;
                }
                if momentum == 0.0 {
                    return sgd(param.as_mut_slice(), grad, None, false, step);
                }
                let first = velocity.is_none();
                let velocity = velocity.get_or_insert_with(|| zeros(param));
                let velocity = state_mut(velocity, param);
                sgd(param.as_mut_slice(), grad, Some(velocity), first, step);
            },
        );
    }

    fn lr(&self) -> f64 {
        self.options.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.options.lr = lr;
    }

    fn allow_unreached(&mut self, allow: bool) {
        self.velocities.allow_unreached = allow;
    }

    fn state_dict(&self) -> Vec<(String, Tensor<T>)> {
        self.velocities.state_dict(|velocity| velocity.iter().map(|v| ("momentum_buffer", v.clone())).collect())
    }

    fn load_state_dict(&mut self, state: Vec<(String, Tensor<T>)>) -> Result<(), Vec<String>> {
        self.velocities.load_state_dict(state, ["momentum_buffer"], |[velocity]| Some(velocity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;
    use crate::nn::Embedding;

    /// The table after two steps.
    fn trained(table: &Embedding, options: SgdOptions, whole: bool) -> Vec<f32> {
        let (mut table, mut sgd) = (table.clone(), Sgd::with(options));
        for _ in 0..2 {
            let loss = record(|| table.forward(&Tensor::from([[3, 17], [3, 0]])).square().sum());
            let mut grads = loss.backward();
            assert!(grads.rows(&table.weight).is_some());
            if whole {
                let grad = grads.of(&table.weight);
                grads.set(&table.weight, grad);
            }
            sgd.step(&mut table, &grads);
        }
        table.weight.to_vec()
    }

    #[test]
    fn a_gradient_of_rows_moves_what_the_whole_one_moves() {
        let table = Embedding::new(20, 5);
        let plain = SgdOptions { lr: 0.1, ..Default::default() };
        for options in [plain, SgdOptions { momentum: 0.9, ..plain }, SgdOptions { weight_decay: 0.1, ..plain }] {
            assert_eq!(trained(&table, options, false), trained(&table, options, true));
        }
        assert_eq!(trained(&table, plain, false)[20..85], table.weight.to_vec()[20..85]);
        assert_ne!(trained(&table, plain, false)[15..20], table.weight.to_vec()[15..20]);
    }
}
