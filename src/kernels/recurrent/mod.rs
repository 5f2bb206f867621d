//! One layer of a recurrent network in one direction, over whole sequences.
//!
//! The products are done step by step on weights that are packed once; those with the inputs are one GEMM over all steps
//! where the weights are too large for a cache. Sequences of a batch do not depend on each other: they are cut in parts of a size that depends on the
//! sizes alone, and a thread walks its part from the first step to the last without waiting for others; only where the weights
//! are large do threads share out each step.
//!
//! Everything is time-first: `x` `[steps, batch, input]`, the output `y` `[steps, batch, output]`. A cell keeps `width`
//! numbers for each hidden unit and step, the values of its gates, in `gates` `[steps, batch, width * hidden]`, with some room
//! between sequences ([`Layer::stride`]):
//!
//! | cell | sums with the input | kept |
//! | --- | --- | --- |
//! | tanh, ReLU | 1 | h |
//! | LSTM | i, f, g, o | i, f, g, o; beside them c in `cells` `[steps, batch, hidden]` |
//! | GRU | r, z, n | q, r, z, n, where `q = W_hn h + b_hn` and `n = tanh(W_in x + b_in + r q)` |

mod backward;
mod cells;
mod forward;
mod outer;
mod packed;
#[cfg(test)]
mod tests;

pub use backward::{Back, Saved, backward};
pub use forward::{forward, pack, packs};

use super::gemm::{Kernels, Mat, Shared, scratch};
use crate::element::Float;
use packed::Packed;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `h = tanh(W_ih x + b_ih + W_hh h + b_hh)` (Elman, "Finding structure in time", 1990).
    Tanh,
    /// `h = max(W_ih x + b_ih + W_hh h + b_hh, 0)`.
    Relu,
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers et al., 2000).
    Lstm,
    /// The gated recurrent unit (Cho et al., 2014), in the form in which r is applied after the product.
    Gru,
}

/// Columns of what is kept, in units of the hidden size, and the rows of the weights whose products stand there: of those of
/// the state before, of those of the input, or the sum of both.
#[derive(Clone, Copy)]
struct Piece {
    column: usize,
    size: usize,
    hidden: Option<usize>,
    input: Option<usize>,
}

impl Cell {
    /// Sums for each hidden unit: the rows of the weights are as many times the hidden size.
    pub fn gates(self) -> usize {
        match self {
            Cell::Tanh | Cell::Relu => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// Numbers that are kept for each hidden unit and step.
    pub fn width(self) -> usize {
        if self == Cell::Gru { 4 } else { self.gates() }
    }

    /// Where the sums with the input begin among them.
    fn input_column(self) -> usize {
        self.width() - self.gates()
    }

    fn pieces(self) -> &'static [Piece] {
        match self {
            Cell::Tanh | Cell::Relu => &[Piece { column: 0, size: 1, hidden: Some(0), input: Some(0) }],
            Cell::Lstm => &[Piece { column: 0, size: 4, hidden: Some(0), input: Some(0) }],
            Cell::Gru => &[
                Piece { column: 1, size: 2, hidden: Some(0), input: Some(0) },
                Piece { column: 0, size: 1, hidden: Some(2), input: None },
                Piece { column: 3, size: 1, hidden: None, input: Some(2) },
            ],
        }
    }
}

/// The most pieces that a cell has.
const PIECES: usize = 3;

/// A layer's sizes and direction.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What a step does.
    pub cell: Cell,
    /// The longest sequence's steps; at least 1.
    pub steps: usize,
    /// How many sequences; at least 1.
    pub batch: usize,
    /// The size of an input.
    pub input: usize,
    /// Hidden units.
    pub hidden: usize,
    /// The size of an output: `hidden`, or that of the projection.
    pub output: usize,
    /// From the last step to the first.
    pub reverse: bool,
    /// How many sequences, the first ones, have a step: for every step, not increasing, the first `batch`.
    pub active: Vec<usize>,
}

/// The weights of a layer.
#[derive(Clone, Copy)]
pub struct Weights<'a, T> {
    /// `[gates * hidden, input]`.
    pub input: &'a [T],
    /// `[gates * hidden, output]`.
    pub hidden: &'a [T],
    /// `[gates * hidden]`.
    pub input_bias: Option<&'a [T]>,
    /// `[gates * hidden]`.
    pub hidden_bias: Option<&'a [T]>,
    /// `[output, hidden]`: of an LSTM whose output is smaller than its cell.
    pub projection: Option<&'a [T]>,
    /// What [`pack`] has made of the weights of the input and of the hidden ones, if it has; the way back does not look at it.
    pub packed: [Option<&'a [T]>; 2],
}

/// The state that sequences begin with; `None` for zeros.
#[derive(Clone, Copy)]
pub struct State<'a, T> {
    /// `[batch, output]`.
    pub h: Option<&'a [T]>,
    /// `[batch, hidden]`, of an LSTM.
    pub c: Option<&'a [T]>,
}

/// Sequences for which packed weights are fetched from the second-level cache once; each thread takes so many.
const PART: usize = 16;

/// Sequences whose gates a thread takes at a time where threads share out a step.
const ROWS: usize = 4;

/// Numbers that may stay in a second-level cache: 1.5 MiB of `f32`.
const RESIDENT: usize = 3 << 17;

impl Layer {
    /// The rows of the weights.
    fn sums(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// What is kept for one sequence and step.
    fn kept(&self) -> usize {
        self.cell.width() * self.hidden
    }

    /// From what is kept for one sequence to that for the next: where it is a multiple of 1 KiB a cache line more, or a column
    /// of it would fall in few places of the first-level cache.
    pub fn stride(&self) -> usize {
        self.kept() + if self.kept().is_multiple_of(256) { 16 } else { 0 }
    }

    /// Whether the packed weights fit a second-level cache: then the products with the inputs are done step by step too,
    /// while what they are added to is in the cache. Else they are one GEMM, which fetches the weights fewer times.
    fn resident(&self) -> bool {
        self.sums() * (self.input + self.output) <= RESIDENT
    }

    /// The step that is done `s`-th.
    fn step(&self, s: usize) -> usize {
        if self.reverse { self.steps - 1 - s } else { s }
    }

    /// Whether the weights' gradients are summed part by part, while what they are made of is in the second-level cache; else
    /// they are one GEMM each over all steps.
    fn local(&self) -> bool {
        self.resident() && self.output == self.hidden && self.part() <= 2 * PART && self.parts() <= 4
    }

    /// Numbers that [`backward`] needs for the gradients of what is kept.
    pub fn gradients(&self) -> usize {
        if self.local() { 0 } else { self.steps * self.batch * self.stride() }
    }

    /// Whether threads share out every step: where the weights are so large that fetching them for every part would take
    /// longer than to wait for each other.
    fn wide(&self) -> bool {
        !self.resident() && self.batch * self.sums() * self.output >= super::gemm::PARALLEL
    }

    /// The sequences that a thread takes at a time: fewer cost more fetches of the weights, more leave cores idle.
    fn part(&self) -> usize {
        let work = self.steps * self.batch * self.sums() * self.output;
        if self.wide() || self.batch < PART / 2 || work < super::gemm::PARALLEL {
            self.batch
        } else {
            self.batch.div_ceil(2).min(PART)
        }
    }

    fn parts(&self) -> usize {
        self.batch.div_ceil(self.part())
    }

    /// The first sequence of a part, and how many there are.
    fn part_at(&self, i: usize) -> (usize, usize) {
        let from = i * self.part();
        (from, self.part().min(self.batch - from))
    }

    /// How many sequences of a part have step `t`.
    fn active_in(&self, (from, rows): (usize, usize), t: usize) -> usize {
        self.active[t].clamp(from, from + rows) - from
    }

    fn check<T>(&self, w: &Weights<T>, state: State<T>) {
        let (sums, hidden, output) = (self.sums(), self.hidden, self.output);
        let fits = |what: Option<&[T]>, len: usize| assert!(what.is_none_or(|x| x.len() == len), "recurrent: sizes");
        assert!(self.steps > 0 && self.batch > 0 && self.active.len() == self.steps, "recurrent: steps and batch");
        assert!(self.active.is_sorted_by(|a, b| a >= b) && self.active[0] == self.batch, "recurrent: active sequences");
        assert!(w.projection.is_some() || hidden == output, "recurrent: a projection");
        fits(Some(w.input), sums * self.input);
        fits(Some(w.hidden), sums * output);
        fits(w.input_bias, sums);
        fits(w.hidden_bias, sums);
        fits(w.projection, output * hidden);
        fits(state.h, self.batch * output);
        fits(state.c, self.batch * hidden);
    }
}

/// A step of a part.
#[derive(Clone, Copy)]
struct Step {
    /// The part's first sequence.
    from: usize,
    /// How many of its sequences have the step, and of those, how many have the one that is done before; the others begin.
    active: usize,
    warm: usize,
    /// Where the part's places begin in this step and in the one that is done before.
    place: usize,
    place_before: usize,
    /// Where the gradients of what is kept of it begin.
    gradients: usize,
}

/// A row of what threads write different rows of.
///
/// # Safety
/// The row must lie in what is shared, outlive its use, and not be written by others meanwhile.
unsafe fn row<'a, T>(shared: Shared<T>, start: usize, len: usize) -> &'a mut [T] {
    // SAFETY: handed on.
    unsafe { std::slice::from_raw_parts_mut(shared.at(start), len) }
}

/// A matrix `[k, n]` to be packed, or that has been packed before.
#[derive(Clone, Copy)]
struct Matrix<'a, T> {
    b: Mat<'a, T>,
    k: usize,
    n: usize,
    packed: Option<&'a [T]>,
}

impl<T: Float> Matrix<'_, T> {
    /// How many numbers it has when it is packed.
    fn room(&self, kernels: &Kernels<T>) -> usize {
        packed::room(kernels, self.k, self.n)
    }
}

/// Calls `f` with the matrices packed.
fn with_packed<T: Float, const N: usize, R>(
    kernels: &'static Kernels<T>,
    matrices: [Option<Matrix<T>>; N],
    f: impl FnOnce([Option<Packed<T>>; N]) -> R,
) -> R {
    let to_pack = |m: &Option<Matrix<T>>| m.filter(|m| m.packed.is_none()).map_or(0, |m| m.room(kernels));
    scratch(matrices.iter().map(to_pack).sum(), |mut rest: &mut [T]| {
        let packed = matrices.map(|matrix| {
            let (to, after) = std::mem::take(&mut rest).split_at_mut(to_pack(&matrix));
            rest = after;
            matrix.map(|Matrix { b, k, n, packed }| match packed {
                Some(panels) => Packed::of(kernels, k, n, panels),
                None => Packed::new(kernels, b, k, n, to),
            })
        });
        f(packed)
    })
}
