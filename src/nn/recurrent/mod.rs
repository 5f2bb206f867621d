//! Recurrent layers over whole sequences. Single steps: [`cells`].

mod cells;
mod stack;
#[cfg(test)]
mod tests;

pub use cells::{CellOptions, GruCell, LstmCell, RnnCell, RnnCellOptions};
pub use stack::RecurrentParams;

use super::{Module, Walk, WalkMut};
use crate::element::Float;
use crate::ops::Cell;
use crate::tensor::Tensor;
use stack::{Options, Stack, States};

/// The function of a step of [`Rnn`] and [`RnnCell`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nonlinearity {
    /// The hyperbolic tangent.
    #[default]
    Tanh,
    /// `max(x, 0)`.
    Relu,
}

impl Nonlinearity {
    fn cell(self) -> Cell {
        match self {
            Nonlinearity::Tanh => Cell::Tanh,
            Nonlinearity::Relu => Cell::Relu,
        }
    }
}

/// The options that all three have.
macro_rules! options {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty = $default:expr,)* }, $proj_size:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name {
            /// How many layers stand on top of each other; 1 by default.
            pub layers: usize,
            /// Whether there are biases; by default there are.
            pub bias: bool,
            /// Whether input and output are `[batch, steps, ..]`; by default they are `[steps, batch, ..]`.
            pub batch_first: bool,
            /// In training, the probability of an element between two layers to become 0; 0 by default.
            pub dropout: f64,
            /// Whether a second set of weights walks from the last step to the first; its outputs stand behind the first's.
            pub bidirectional: bool,
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> $name {
                $name { layers: 1, bias: true, batch_first: false, dropout: 0.0, bidirectional: false, $($field: $default,)* }
            }
        }

        impl $name {
            fn common(&self) -> Options {
                let $name { layers, bias, batch_first, dropout, bidirectional, .. } = *self;
                Options { layers, bias, batch_first, dropout, bidirectional, proj_size: $proj_size(self) }
            }
        }
    };
}

options! {
    /// What can be set of [`Rnn`].
    RnnOptions {
        /// The function of a step.
        nonlinearity: Nonlinearity = Nonlinearity::Tanh,
    }, |_: &RnnOptions| 0
}
options! {
    /// What can be set of [`Lstm`].
    LstmOptions {
        /// The size that outputs are projected to (Sak et al., 2014), smaller than `hidden`; 0, the default, for none.
        proj_size: usize = 0,
    }, |options: &LstmOptions| options.proj_size
}
options! {
    /// What can be set of [`Gru`].
    GruOptions {}, |_: &GruOptions| 0
}

/// A recurrent layer: `h = tanh(W_ih x + b_ih + W_hh h + b_hh)` for every step (Elman, "Finding structure in time", 1990).
///
/// * input `[steps, batch, input]`, output `[steps, batch, directions * hidden]`, state `[layers * directions, batch, hidden]`
/// * or without a batch: input `[steps, input]`, output `[steps, directions * hidden]`, state `[layers * directions, hidden]`
/// * `weight_ih_l0` `[hidden, input]`, `weight_hh_l0` `[hidden, hidden]`, `bias_ih_l0` and `bias_hh_l0` `[hidden]`, then
///   `weight_ih_l0_reverse`, `weight_ih_l1` and so on, all uniform in `+-1 / sqrt(hidden)` at first, as in PyTorch
///
/// ```
/// use wengert::{Tensor, nn::{Nonlinearity, Rnn, RnnOptions}};
/// let rnn = Rnn::with(3, 8, RnnOptions { nonlinearity: Nonlinearity::Relu, bidirectional: true, ..Default::default() });
/// let (y, h) = rnn.forward(&Tensor::zeros([5, 2, 3]));
/// assert_eq!((y.shape(), h.shape()), ([5, 2, 16].as_slice(), [2, 2, 8].as_slice()));
/// ```
#[derive(Clone, Debug)]
pub struct Rnn<T: Float = f32> {
    stack: Stack<T>,
    options: RnnOptions,
}

/// A long short-term memory (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers et al., 2000). For every step
///
/// ```text
/// i, f, o = sigmoid(W_ih x + b_ih + W_hh h + b_hh)   g = tanh(..)
/// c = f c + i g                                      h = o tanh c
/// ```
///
/// * input `[steps, batch, input]`, output `[steps, batch, directions * hidden]`, [`LstmState`] of
///   `[layers * directions, batch, hidden]`; with a projection `proj_size` stands for `hidden` in the output and in h
/// * or without a batch: input `[steps, input]`, output `[steps, directions * hidden]`, state `[layers * directions, hidden]`
/// * `weight_ih_l0` `[4 hidden, input]` with the rows of i, f, g, o; `weight_hh_l0` `[4 hidden, hidden]`, `bias_ih_l0` and
///   `bias_hh_l0` `[4 hidden]`, `weight_hr_l0` `[proj_size, hidden]`, then `weight_ih_l0_reverse`, `weight_ih_l1` and so on,
///   all uniform in `+-1 / sqrt(hidden)` at first, as in PyTorch
///
/// ```
/// use wengert::{Tensor, nn::{Lstm, LstmOptions}};
/// let lstm = Lstm::new(3, 8);
/// let (y, state) = lstm.forward(&Tensor::zeros([5, 2, 3]));
/// assert_eq!((y.shape(), state.c.shape()), ([5, 2, 8].as_slice(), [1, 2, 8].as_slice()));
///
/// // Two layers in both directions over a batch of sequences of 4 and of 5 steps, batch first.
/// let options = LstmOptions { layers: 2, bidirectional: true, dropout: 0.2, batch_first: true, ..Default::default() };
/// let lstm = Lstm::with(3, 8, options);
/// let (y, state) = lstm.forward_with(&Tensor::ones([2, 5, 3]), None, Some(&[4, 5]));
/// assert_eq!((y.shape(), state.h.shape()), ([2, 5, 16].as_slice(), [4, 2, 8].as_slice()));
/// assert_eq!(y.i((0, 4)).to_vec(), [0.0; 16]); // the first sequence has no fifth step
/// ```
///
/// # Truncated backpropagation through time
///
/// A text that is too long to be remembered whole is read in pieces: each begins with the state that the one before has
/// left, detached, so that gradients end there.
///
/// ```
/// use wengert::loss::cross_entropy;
/// use wengert::nn::{Embedding, Layer, Linear, Lstm};
/// use wengert::optim::{Adam, Optimizer};
/// use wengert::{Tensor, module, record, seed};
///
/// struct Reader {
///     letters: Embedding,
///     lstm: Lstm,
///     next: Linear,
/// }
/// module!(Reader { letters, lstm, next });
///
/// seed(1);
/// let mut reader = Reader { letters: Embedding::new(5, 8), lstm: Lstm::new(8, 16), next: Linear::new(16, 5) };
/// let mut optimizer = Adam::new(0.02);
/// // 12 pieces of 10 letters of 4 texts, and the letters that follow: 0, 0, 1, 1, .. 4, 4, 0, 0, ..
/// let letter = |place: usize, text: usize| (place / 2 + text) as i64 % 5;
/// let piece = |i: usize, ahead: usize| Tensor::from_fn([10, 4], |n| letter(10 * i + n / 4 + ahead, n % 4));
/// let mut loss_of_the_last = f32::INFINITY;
/// for epoch in 0..10 {
///     let mut state = None;
///     for i in 0..12 {
///         let (loss, new) = record(|| {
///             let (y, new) = reader.lstm.forward_with(&reader.letters.forward(&piece(i, 0)), state.as_ref(), None);
///             let logits = reader.next.forward(&y); // [10, 4, 5]
///             (cross_entropy(&logits.reshape([40, 5]), &piece(i, 1).reshape([40])), new)
///         });
///         state = Some(new.detach());
///         loss_of_the_last = loss.item();
///         optimizer.step(&mut reader, &loss.backward());
///     }
/// }
/// assert!(loss_of_the_last < 0.1, "{loss_of_the_last}"); // whether a letter comes a second time, only the state can tell
/// ```
#[derive(Clone, Debug)]
pub struct Lstm<T: Float = f32> {
    stack: Stack<T>,
    options: LstmOptions,
}

/// A gated recurrent unit (Cho et al., 2014), in cuDNN's and PyTorch's form. For every step
///
/// ```text
/// r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh)   n = tanh(W_in x + b_in + r (W_hn h + b_hn))
/// h = (1 - z) n + z h
/// ```
///
/// * input `[steps, batch, input]`, output `[steps, batch, directions * hidden]`, state `[layers * directions, batch, hidden]`
/// * or without a batch: input `[steps, input]`, output `[steps, directions * hidden]`, state `[layers * directions, hidden]`
/// * `weight_ih_l0` `[3 hidden, input]` with the rows of r, z, n; `weight_hh_l0` `[3 hidden, hidden]`, `bias_ih_l0` and
///   `bias_hh_l0` `[3 hidden]`, then `weight_ih_l0_reverse`, `weight_ih_l1` and so on, all uniform in `+-1 / sqrt(hidden)` at
///   first, as in PyTorch
///
/// ```
/// use wengert::{Tensor, nn::{Gru, GruOptions}};
/// let gru = Gru::with(3, 8, GruOptions { layers: 2, ..Default::default() });
/// let (y, h) = gru.forward(&Tensor::zeros([5, 2, 3]));
/// assert_eq!((y.shape(), h.shape()), ([5, 2, 8].as_slice(), [2, 2, 8].as_slice()));
/// let (_, h) = gru.forward_with(&Tensor::zeros([5, 2, 3]), Some(&h.detach()), None); // the next five steps
/// # let _ = h;
/// ```
#[derive(Clone, Debug)]
pub struct Gru<T: Float = f32> {
    stack: Stack<T>,
    options: GruOptions,
}

/// The state of an LSTM: `[layers * directions, batch, ..]` of [`Lstm`], `[batch, ..]` of [`LstmCell`], both without `batch` where
/// the input has none.
#[derive(Clone, Debug)]
pub struct LstmState<T: Float = f32> {
    /// The output of the last step.
    pub h: Tensor<T>,
    /// The cell state.
    pub c: Tensor<T>,
}

impl<T: Float> LstmState<T> {
    /// The same values, cut off from the tape: gradients end here.
    pub fn detach(&self) -> LstmState<T> {
        LstmState { h: self.h.detach(), c: self.c.detach() }
    }
}

/// What the three layers have alike; `$h` and `$c` are taken from a state, which is put together from [`States`].
macro_rules! layers {
    ($($name:ident $options:ident $cell:expr, $state:ty, |$given:ident| ($h:expr, $c:expr), |$states:ident| $together:expr;)+) => {$(
        impl $name {
            /// A layer from `input` to `hidden` features, with PyTorch's defaults.
            ///
            /// # Panics
            /// When a size is 0.
            #[track_caller]
            pub fn new(input: usize, hidden: usize) -> $name {
                $name::with(input, hidden, $options::default())
            }
        }

        impl<T: Float> $name<T> {
            /// A layer from `input` to `hidden` features, of either float type.
            ///
            /// # Panics
            /// When a size is 0, or an option is out of its range.
            #[track_caller]
            pub fn with(input: usize, hidden: usize, options: $options) -> $name<T> {
                let cell: fn(&$options) -> Cell = $cell;
                $name { stack: Stack::new(stringify!($name), cell(&options), input, hidden, options.common()), options }
            }

            /// What the layer was made with.
            pub fn options(&self) -> $options {
                self.options
            }

            /// The parameters: of the first layer, of its reverse direction where there is one, of the second layer, and so
            /// on.
            pub fn params(&self) -> &[RecurrentParams<T>] {
                &self.stack.params
            }

            /// [`Self::params`], to be changed.
            pub fn params_mut(&mut self) -> &mut [RecurrentParams<T>] {
                &mut self.stack.params
            }

            /// The outputs of all steps, and the state after the last one. The state before the first step is zero.
            ///
            /// # Panics
            /// When `x` has not two or three dimensions, other inputs than the weights, no step or no sequence.
            #[track_caller]
            pub fn forward(&self, x: &Tensor<T>) -> (Tensor<T>, $state) {
                self.forward_with(x, None, None)
            }

            /// [`Self::forward`] from a state on, and over sequences of different lengths, in any order: outputs beyond a
            /// sequence's end are 0, its state is that after its own last step, and the reverse direction begins there. (As
            /// PyTorch's packed sequences.)
            ///
            /// # Panics
            /// As [`Self::forward`], when the state does not fit, or when there is not a length from 1 to `steps` for every
            /// sequence.
            #[track_caller]
            pub fn forward_with(
                &self,
                x: &Tensor<T>,
                state: Option<&$state>,
                lengths: Option<&[usize]>,
            ) -> (Tensor<T>, $state) {
                let (h, c) = match state {
                    Some($given) => (Some($h), $c),
                    None => (None, None),
                };
                let (y, $states) = self.stack.forward(x, h, c, lengths);
                (y, $together)
            }
        }

        impl<T: Float> Module<T> for $name<T> {
            fn visit(&self, walk: &mut Walk<T>) {
                self.stack.visit(walk);
            }
            fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
                self.stack.visit_mut(walk);
            }
        }
    )+};
}

layers! {
    Rnn RnnOptions |options| options.nonlinearity.cell(), Tensor<T>, |h| (h, None), |states| states.h;
    Lstm LstmOptions |_| Cell::Lstm, LstmState<T>, |state| (&state.h, Some(&state.c)), |states| lstm_state(states);
    Gru GruOptions |_| Cell::Gru, Tensor<T>, |h| (h, None), |states| states.h;
}

fn lstm_state<T: Float>(states: States<T>) -> LstmState<T> {
    LstmState { h: states.h, c: states.c.expect("an LSTM has a cell state") }
}
