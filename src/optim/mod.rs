//! Optimizers, and learning-rate schedules as plain functions of the step.
//!
//! ```
//! use wengert::{Tensor, loss::mse_loss, nn::{Layer, Linear}, optim::{Adam, Optimizer, schedule}, record};
//! let mut net = Linear::new(3, 1);
//! let mut optimizer = Adam::new(1e-2);
//! let rate = schedule::linear_warmup(10, schedule::cosine(1e-2, 0.0, 100));
//! let (x, y) = (Tensor::ones([8, 3]), Tensor::ones([8, 1]));
//! for step in 0..100 {
//!     optimizer.set_lr(rate(step));
//!     let loss = record(|| mse_loss(&net.forward(&x), &y));
//!     optimizer.step(&mut net, &loss.backward());
//! }
//! assert!(mse_loss(&net.forward(&x), &y).item() < 0.01);
//! ```

mod adam;
mod average;
pub mod schedule;
mod sgd;

pub use adam::{Adam, AdamOptions, AdamW};
pub use average::update_average;
pub use sgd::{Sgd, SgdOptions};

use crate::autograd::Gradients;
use crate::element::Float;
use crate::nn::{Module, Param};
use crate::shape::ensure;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Moves the parameters of a model against their gradients.
///
/// State, such as momentum, is kept by the parameters' dotted names, and is made when a parameter is first stepped. So each
/// model needs an optimizer of its own: two that have equal names would share it.
pub trait Optimizer<T: Float = f32> {
    /// Updates every trainable parameter of the model, in place.
    ///
    /// # Panics
    /// When the loss did not reach a trainable parameter: its name is in the message. Freeze the parameter, or ask for
    /// [`Optimizer::allow_unreached`].
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module<T>, grads: &Gradients);

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Sets the learning rate of the next steps.
    fn set_lr(&mut self, lr: f64);

    /// Whether `step` leaves parameters as they are that the loss did not reach, instead of panicking.
    fn allow_unreached(&mut self, allow: bool);

    /// What it has gathered for each parameter, under the parameter's name, a dot and PyTorch's name: `fc.weight.exp_avg`. The
    /// options are not among it. [`io::Checkpoint`](crate::io::Checkpoint) keeps it with the model.
    fn state_dict(&self) -> Vec<(String, Tensor<T>)> {
        Vec::new()
    }

    /// Goes on from what [`Optimizer::state_dict`] gave, in place of what it has gathered.
    ///
    /// # Errors
    /// The names that are not those of its state, or whose partners are missing. Then it is as it was before.
    fn load_state_dict(&mut self, state: Vec<(String, Tensor<T>)>) -> Result<(), Vec<String>> {
        if state.is_empty() { Ok(()) } else { Err(state.into_iter().map(|(name, _)| name).collect()) }
    }
}

/// The state of an optimizer for each parameter, by name.
#[derive(Clone)]
struct States<S> {
    by_name: BTreeMap<String, S>,
    allow_unreached: bool,
}

impl<S> Default for States<S> {
    fn default() -> Self {
        States { by_name: BTreeMap::new(), allow_unreached: false }
    }
}

impl<S> States<S> {
    /// The parts of all states, which `parts` names.
    fn state_dict<T: Float>(&self, parts: impl Fn(&S) -> Vec<(&'static str, Tensor<T>)>) -> Vec<(String, Tensor<T>)> {
        let named = |(name, state)| parts(state).into_iter().map(move |(part, x)| (format!("{name}.{part}"), x));
        self.by_name.iter().flat_map(named).collect()
    }

    /// The reverse of [`States::state_dict`]: `make` gets the parts of these names.
    fn load_state_dict<T: Float, const N: usize>(
        &mut self,
        state: Vec<(String, Tensor<T>)>,
        names: [&'static str; N],
        make: impl Fn([Tensor<T>; N]) -> S,
    ) -> Result<(), Vec<String>> {
        let mut parts: BTreeMap<String, [Option<Tensor<T>>; N]> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (name, x) in state {
            let split =
                name.rsplit_once('.').and_then(|(param, part)| Some((param, names.iter().position(|&n| n == part)?)));
            match split {
                Some((param, i)) => parts.entry(param.to_string()).or_insert([const { None }; N])[i] = Some(x),
                None => wrong.push(name),
            }
        }
        for (param, found) in &parts {
            if found.iter().any(Option::is_none) {
                wrong.extend(names.iter().zip(found).filter(|(_, x)| x.is_some()).map(|(n, _)| format!("{param}.{n}")));
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let whole =
            |(param, parts): (String, [Option<Tensor<T>>; N])| (param, make(parts.map(|x| x.expect("not wrong"))));
        self.by_name = parts.into_iter().map(whole).collect();
        Ok(())
    }

    /// Calls `update` with every trainable parameter that has a gradient, its gradient in row-major order and its state; and
    /// with the rows that the gradient has, if it has only some and `by_rows`.
    #[track_caller]
    fn for_each<T: Float>(
        &mut self,
        model: &mut dyn Module<T>,
        grads: &Gradients,
        by_rows: bool,
        new: impl Fn(&Param<T>) -> S,
        mut update: impl FnMut(&mut Param<T>, Option<&[usize]>, &[T], &mut S),
    ) {
        if !self.allow_unreached {
            let mut unreached = Vec::new();
            model.for_each_param_mut(&mut |name, param| {
                if param.is_trainable() && !grads.contains(param) {
                    unreached.push(name.to_string());
                }
            });
            ensure(unreached.is_empty(), || {
                format!(
                    "step: the loss did not reach {}: freeze these parameters, or ask for `allow_unreached(true)`",
                    unreached.join(", ")
                )
            });
        }
        model.for_each_param_mut(&mut |name, param| {
            let (rows, grad) = match grads.rows(&**param).filter(|_| by_rows) {
                Some((rows, values)) => (Some(rows), values.clone()),
                None => match grads.get(&**param) {
                    Some(grad) => (None, grad.packed()),
                    None => return,
                },
            };
            if !self.by_name.contains_key(name) {
                self.by_name.insert(name.to_string(), new(param));
            }
            let state = self.by_name.get_mut(name).expect("there: just looked");
            update(param, rows, grad.elements(), state);
        });
    }
}

/// Zeros for a parameter's state, checked against its shape when the state is used.
fn zeros<T: Float>(param: &Param<T>) -> Tensor<T> {
    Tensor::full(param.dims(), T::ZERO)
}

/// The elements of a state tensor for writing.
#[track_caller]
fn state_mut<'a, T: Float>(state: &'a mut Tensor<T>, param: &Param<T>) -> &'a mut [T] {
    ensure(state.shape() == param.shape(), || {
        format!(
            "step: {}: the parameter has shape {:?}, the optimizer's state {:?}",
            param.name().unwrap_or("parameter"),
            param.shape(),
            state.shape()
        )
    });
    state.make_mut()
}
