//! Single steps of recurrent layers.

use super::super::param::Name;
use super::super::summary::Call;
use super::super::{Module, Walk, WalkMut};
use super::{LstmState, Nonlinearity, RecurrentParams};
use crate::element::Float;
use crate::ops::{self, Cell, Recurrent, RecurrentOptions};
use crate::shape::ensure;
use crate::tensor::Tensor;

/// What can be set of [`LstmCell`] and [`GruCell`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellOptions {
    /// Whether there are biases; by default there are.
    pub bias: bool,
}

impl Default for CellOptions {
    fn default() -> CellOptions {
        CellOptions { bias: true }
    }
}

/// What can be set of [`RnnCell`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RnnCellOptions {
    /// Whether there are biases; by default there are.
    pub bias: bool,
    /// The function of a step.
    pub nonlinearity: Nonlinearity,
}

impl Default for RnnCellOptions {
    fn default() -> RnnCellOptions {
        RnnCellOptions { bias: true, nonlinearity: Nonlinearity::Tanh }
    }
}

/// One step of [`Rnn`](super::Rnn): input `[batch, input]`, state `[batch, hidden]`, or `[input]` and `[hidden]`
/// without a batch.
///
/// The parameters are called `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, as in PyTorch.
///
/// ```
/// use wengert::{Tensor, nn::RnnCell};
/// let cell = RnnCell::new(3, 8);
/// let h = cell.forward(&Tensor::zeros([2, 3]), None);
/// assert_eq!(cell.forward(&Tensor::zeros([2, 3]), Some(&h)).shape(), [2, 8]);
/// ```
#[derive(Clone, Debug)]
pub struct RnnCell<T: Float = f32> {
    /// The weights and biases.
    pub params: RecurrentParams<T>,
    cell: Cell,
    name: Name,
}

/// One step of [`Lstm`](super::Lstm): input `[batch, input]`, state of `[batch, hidden]`, or `[input]` and
/// `[hidden]` without a batch.
///
/// The parameters are called `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, as in PyTorch.
///
/// ```
/// use wengert::{Tensor, nn::LstmCell};
/// let cell = LstmCell::new(3, 8);
/// let state = cell.forward(&Tensor::zeros([2, 3]), None);
/// assert_eq!(cell.forward(&Tensor::zeros([2, 3]), Some(&state)).c.shape(), [2, 8]);
/// ```
#[derive(Clone, Debug)]
pub struct LstmCell<T: Float = f32> {
    /// The weights and biases.
    pub params: RecurrentParams<T>,
    cell: Cell,
    name: Name,
}

/// One step of [`Gru`](super::Gru): input `[batch, input]`, state `[batch, hidden]`, or `[input]` and `[hidden]`
/// without a batch.
///
/// The parameters are called `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, as in PyTorch.
///
/// ```
/// use wengert::{Tensor, nn::GruCell};
/// let cell = GruCell::new(3, 8);
/// let h = cell.forward(&Tensor::zeros([2, 3]), None);
/// assert_eq!(cell.forward(&Tensor::zeros([2, 3]), Some(&h)).shape(), [2, 8]);
/// ```
#[derive(Clone, Debug)]
pub struct GruCell<T: Float = f32> {
    /// The weights and biases.
    pub params: RecurrentParams<T>,
    cell: Cell,
    name: Name,
}

#[track_caller]
fn step<T: Float>(
    call: &'static str,
    name: &Name,
    cell: Cell,
    params: &RecurrentParams<T>,
    x: &Tensor<T>,
    [h, c]: [Option<&Tensor<T>>; 2],
) -> Recurrent<T> {
    let call = Call::enter(call, Some(name));
    let (shape, input) = (x.shape(), params.weight_ih.size(1));
    let alone = shape.len() == 1;
    ensure(shape == [input] || shape.len() == 2 && shape[0] > 0 && shape[1] == input, || {
        format!("recurrent: {shape:?}: expected [{input}], or [batch, {input}] with at least one sequence")
    });
    let whole = |name: &str, state: Option<&Tensor<T>>| {
        state.map(|state| {
            let shape = state.shape();
            ensure(!alone || shape.len() == 1, || format!("recurrent: state {name} {shape:?}: expected one dimension"));
            if alone { state.unsqueeze(0) } else { state.clone() }
        })
    };
    let (h, c) = (whole("h", h), whole("c", c));
    let options = RecurrentOptions { h: h.as_ref(), c: c.as_ref(), ..Default::default() };
    let x = if alone { x.unsqueeze(0) } else { x.clone() };
    let mut one = ops::recurrent(cell, &x.unsqueeze(0), params.weights(), options);
    if alone {
        (one.h, one.c) = (one.h.squeeze(0), one.c.map(|c| c.squeeze(0)));
    }
    let batch = x.size(0);
    let h = call.leave(one.h, |_| {
        let (numbers, flops) = params.cost();
        (numbers, (flops * batch) as u64)
    });
    Recurrent { h, ..one }
}

macro_rules! cells {
    ($($name:ident $Options:ident |$options:ident| $cell:expr, $state:ty, |$given:ident| ($h:expr, $c:expr), |$one:ident| $together:expr;)+) => {$(
        impl $name {
            /// A cell from `input` to `hidden` features, with biases.
            ///
            /// # Panics
            /// When a size is 0.
            #[track_caller]
            pub fn new(input: usize, hidden: usize) -> $name {
                $name::with(input, hidden, $Options::default())
            }
        }

        impl<T: Float> $name<T> {
            /// A cell from `input` to `hidden` features, of either float type.
            ///
            /// # Panics
            /// When a size is 0.
            #[track_caller]
            pub fn with(input: usize, hidden: usize, $options: $Options) -> $name<T> {
                ensure(input > 0 && hidden > 0, || {
                    format!("{}: expected positive sizes, found input {input}, hidden {hidden}", stringify!($name))
                });
                let cell = $cell;
                $name { params: RecurrentParams::new(cell, input, hidden, $options.bias, 0), cell, name: Name::default() }
            }

            /// The state after a step from the given one, or from zeros.
            ///
            /// # Panics
            /// When the sizes do not fit.
            #[track_caller]
            pub fn forward(&self, x: &Tensor<T>, state: Option<&$state>) -> $state {
                let state = match state {
                    Some($given) => [Some($h), $c],
                    None => [None, None],
                };
                let $one = step(stringify!($name), &self.name, self.cell, &self.params, x, state);
                $together
            }
        }

        impl<T: Float> Module<T> for $name<T> {
            fn visit(&self, walk: &mut Walk<T>) {
                walk.name(&self.name);
                self.params.visit_as("", walk);
            }
            fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
                walk.name(&mut self.name);
                self.params.visit_mut_as("", walk);
            }
        }
    )+};
}

cells! {
    RnnCell RnnCellOptions |options| options.nonlinearity.cell(), Tensor<T>, |h| (h, None), |one| one.h;
    LstmCell CellOptions |options| Cell::Lstm, LstmState<T>, |state| (&state.h, Some(&state.c)),
        |one| LstmState { h: one.h, c: one.c.expect("an LSTM has a cell state") };
    GruCell CellOptions |options| Cell::Gru, Tensor<T>, |h| (h, None), |one| one.h;
}
