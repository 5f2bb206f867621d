//! Recurrent layers: one layer in one direction over whole sequences, as one tape entry.

mod composed;
mod parts;
#[cfg(test)]
mod tests;

use crate::autograd::{Pull, is_recording, is_tracked, record_op};
use crate::element::Float;
pub use crate::kernels::recurrent::Cell;
use crate::kernels::recurrent::{self as kernel, Back, Layer, Saved, State, Weights};
use crate::shape::ensure;
use crate::tensor::Tensor;

/// The weights of [`recurrent`]. A cell has `gates` sums for each of `hidden` units: one with tanh or ReLU; i, f, g, o of
/// an LSTM; r, z, n of a GRU.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights<'a, T: Float = f32> {
    /// `W_ih` `[gates * hidden, input]`.
    pub input: &'a Tensor<T>,
    /// `W_hh` `[gates * hidden, output]`.
    pub hidden: &'a Tensor<T>,
    /// `b_ih` `[gates * hidden]`.
    pub input_bias: Option<&'a Tensor<T>>,
    /// `b_hh` `[gates * hidden]`.
    pub hidden_bias: Option<&'a Tensor<T>>,
    /// `W_hr` `[output, hidden]` of an LSTM: its output is projected to a smaller size.
    pub projection: Option<&'a Tensor<T>>,
}

/// How [`recurrent`] walks over the sequences, and what they begin with.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentOptions<'a, T: Float = f32> {
    /// The state at first, `[batch, output]`; zeros where there is none.
    pub h: Option<&'a Tensor<T>>,
    /// The cell state at first, `[batch, hidden]`, of an LSTM; zeros where there is none.
    pub c: Option<&'a Tensor<T>>,
    /// From each sequence's last step to its first.
    pub reverse: bool,
    /// The steps of each sequence, the longest first; by default all have all steps. The outputs of further steps are 0.
    pub lengths: Option<&'a [usize]>,
}

impl<T: Float> Default for RecurrentOptions<'_, T> {
    fn default() -> Self {
        RecurrentOptions { h: None, c: None, reverse: false, lengths: None }
    }
}

/// What [`recurrent`] gives.
#[derive(Clone, Debug)]
pub struct Recurrent<T: Float = f32> {
    /// The state after every step, `[steps, batch, output]`.
    pub output: Tensor<T>,
    /// The state after each sequence's last step (reverse: its first), `[batch, output]`.
    pub h: Tensor<T>,
    /// The cell state there, `[batch, hidden]`, of an LSTM.
    pub c: Option<Tensor<T>>,
}

/// The inputs on the tape, in this order: x, h, c, W_ih, W_hh, b_ih, b_hh, W_hr.
type Inputs<T> = [Option<Tensor<T>>; 8];

/// A recurrent layer in one direction: `x` `[steps, batch, input]`, the formula of a step at [`Cell`].
///
/// One tape entry, whatever the number of steps, on weights that are packed once; the way back is backpropagation through time
/// (Werbos, 1990). For second order the steps are recorded one by one.
///
/// ```
/// use wengert::Tensor;
/// use wengert::ops::{Cell, RecurrentOptions, RecurrentWeights, recurrent};
/// let (input, hidden) = (Tensor::from([[1.0]]), Tensor::from([[0.5]]));
/// let weights = RecurrentWeights { input: &input, hidden: &hidden, input_bias: None, hidden_bias: None, projection: None };
/// let x = Tensor::from([[[1.0]], [[1.0]]]); // two steps of one sequence
/// let y = recurrent(Cell::Relu, &x, weights, RecurrentOptions::default());
/// assert_eq!(y.output.to_vec(), [1.0, 1.5]); // 1, then 1 + 0.5 * 1
/// assert_eq!(y.h.to_vec(), [1.5]);
/// ```
///
/// # Panics
/// When the sizes do not fit, there is no step or no sequence, or the lengths increase or are not from 1 to `steps`.
#[track_caller]
#[inline(never)]
pub fn recurrent<T: Float>(
    cell: Cell,
    x: &Tensor<T>,
    weights: RecurrentWeights<T>,
    options: RecurrentOptions<T>,
) -> Recurrent<T> {
    let layer = checked(cell, x, &weights, &options);
    let Layer { steps, batch, hidden, output, .. } = layer;
    let w = &weights;
    let given =
        [Some(x), options.h, options.c, Some(w.input), Some(w.hidden), w.input_bias, w.hidden_bias, w.projection];
    // In row-major order, with their entries.
    let mut inputs: Inputs<T> = given.map(|x| x.map(|x| Tensor { entry: x.entry.clone(), ..x.packed() }));
    if layer.active[steps - 1] < batch {
        // What stands where there is no step may be anything, and would get into products with zeros.
        inputs[0] = inputs[0].take().map(|x| parts::without_padding(x, &layer));
    }
    let (length, cells) = (steps * batch * output, if cell == Cell::Lstm { batch * hidden } else { 0 });
    let whole = recorded(layer.clone(), inputs, length, cells);
    if cell != Cell::Lstm {
        let output = whole;
        return Recurrent { h: last(&output, &layer), output, c: None };
    }
    let output = parts::part(&whole, 0, [steps, batch, output].into());
    let c = parts::part(&whole, length, [batch, hidden].into());
    Recurrent { h: last(&output, &layer), output, c: Some(c) }
}

/// The sizes.
#[track_caller]
fn checked<T: Float>(cell: Cell, x: &Tensor<T>, w: &RecurrentWeights<T>, options: &RecurrentOptions<T>) -> Layer {
    let shape = x.shape();
    ensure(shape.len() == 3, || {
        format!("recurrent: {shape:?}: expected [steps, batch, input], found {} dimensions", shape.len())
    });
    let (steps, batch, input) = (shape[0], shape[1], shape[2]);
    ensure(steps > 0 && batch > 0, || format!("recurrent: {shape:?}: expected at least one step and one sequence"));
    let rank = w.input.rank();
    ensure(rank == 2, || format!("recurrent: weight_ih {:?}: expected two dimensions, found {rank}", w.input.shape()));
    let sums = w.input.size(0);
    let gates = cell.gates();
    ensure(sums > 0 && sums.is_multiple_of(gates), || {
        format!("recurrent: weight_ih {:?}: expected {gates} rows for each hidden unit", w.input.shape())
    });
    let hidden = sums / gates;
    let projection = w.projection.map(Tensor::shape);
    ensure(projection.is_none() || cell == Cell::Lstm, || {
        format!("recurrent: weight_hr {projection:?}: only an LSTM has a projection")
    });
    let output = projection.map_or(hidden, |shape| shape.first().copied().unwrap_or(0));
    let fits = |name: &str, x: Option<&Tensor<T>>, expected: &[usize]| {
        if let Some(x) = x {
            ensure(x.shape() == expected, || format!("recurrent: {name} {:?}: expected {expected:?}", x.shape()));
        }
    };
    fits("weight_ih", Some(w.input), &[sums, input]);
    fits("weight_hh", Some(w.hidden), &[sums, output]);
    fits("bias_ih", w.input_bias, &[sums]);
    fits("bias_hh", w.hidden_bias, &[sums]);
    fits("weight_hr", w.projection, &[output, hidden]);
    fits("state h", options.h, &[batch, output]);
    fits("state c", options.c, &[batch, hidden]);
    ensure(options.c.is_none() || cell == Cell::Lstm, || "recurrent: only an LSTM has a cell state".to_string());
    let mut active = vec![batch; steps];
    if let Some(lengths) = options.lengths {
        ensure(lengths.len() == batch, || {
            format!("recurrent: {shape:?}: expected {batch} lengths, found {}", lengths.len())
        });
        ensure(lengths.iter().all(|length| (1..=steps).contains(length)), || {
            format!("recurrent: {shape:?}: expected lengths from 1 to {steps}, found {lengths:?}")
        });
        ensure(lengths.is_sorted_by(|a, b| a >= b), || {
            format!("recurrent: {shape:?}: expected the longest sequence first, found lengths {lengths:?}")
        });
        for (t, active) in active.iter_mut().enumerate() {
            *active = lengths.partition_point(|&length| length > t);
        }
    }
    Layer { cell, steps, batch, input, hidden, output, reverse: options.reverse, active }
}

/// The state after each sequence's last step.
#[track_caller]
fn last<T: Float>(output: &Tensor<T>, layer: &Layer) -> Tensor<T> {
    let Layer { steps, batch, .. } = *layer;
    if layer.reverse {
        return output.select(0, 0);
    }
    if layer.active[steps - 1] == batch {
        return output.select(0, steps as isize - 1);
    }
    let place = |b: usize| (layer.active.partition_point(|&active| active > b) - 1) * batch + b;
    let places = Tensor::from_fn(batch, |b| place(b) as i64);
    output.reshape([steps * batch, layer.output]).index_select(0, &places)
}

fn slices<T: Float>(inputs: &Inputs<T>) -> (State<'_, T>, Weights<'_, T>) {
    let [_, h, c, input, hidden, input_bias, hidden_bias, projection] =
        inputs.each_ref().map(|x| x.as_ref().map(Tensor::elements));
    let (input, hidden) = (input.unwrap_or_default(), hidden.unwrap_or_default());
    (State { h, c }, Weights { input, hidden, input_bias, hidden_bias, projection, packed: [None; 2] })
}

/// The weights of the input and the hidden ones, packed once where packing takes its time.
fn packed<'a, T: Float>(layer: &Layer, weights: [&'a Tensor<T>; 2]) -> [Option<&'a [T]>; 2] {
    let how = kernel::packs::<T>(layer);
    std::array::from_fn(|i| weights[i].arranged(how[i], |to| kernel::pack(layer, i == 1, weights[i].elements(), to)))
}

/// A tensor of the shape whose elements are yet to be written.
fn unwritten<T: Float>(len: usize) -> Tensor<T> {
    Tensor::build(len, |_| ())
}

fn elements_of<T: Float>(x: &mut Tensor<T>) -> &mut [T] {
    x.get_mut().expect("the only handle: just made")
}

/// The outputs, and behind them the last cell states of an LSTM, as one tensor: an entry of the tape has one.
#[track_caller]
fn recorded<T: Float>(layer: Layer, inputs: Inputs<T>, length: usize, cell_states: usize) -> Tensor<T> {
    let Layer { cell, steps, batch, hidden, output, .. } = layer;
    let mut gates = unwritten(steps * batch * layer.stride());
    let mut cells = unwritten(if cell == Cell::Lstm { steps * batch * hidden } else { 0 });
    let mut y = unwritten(length + cell_states);
    let (state, mut weights) = slices(&inputs);
    // What is not there has an untracked scalar in its place.
    let none = Tensor::scalar(T::ZERO);
    let on_tape = inputs.each_ref().map(|x| x.as_ref().unwrap_or(&none));
    if !is_tracked(&on_tape) {
        weights.packed = packed(&layer, [on_tape[3], on_tape[4]]);
    }
    let x = inputs[0].as_ref().expect("x is there").elements();
    let (outputs, last_cells) = elements_of(&mut y).split_at_mut(length);
    kernel::forward(&layer, x, state, &weights, outputs, elements_of(&mut gates), elements_of(&mut cells));
    for (b, to) in last_cells.chunks_mut(hidden).enumerate() {
        let t = if layer.reverse { 0 } else { layer.active.partition_point(|&active| active > b) - 1 };
        to.copy_from_slice(&cells.elements()[(t * batch + b) * hidden..][..hidden]);
    }
    if cell_states == 0 {
        y = y.reshape([steps, batch, output]);
    }
    record_op("recurrent", y.clone(), on_tape, || {
        let inputs = inputs.clone();
        move |pull: Pull<T>| {
            if is_recording() {
                let y = composed::recurrent(&layer, &inputs);
                return y.gradients_at(&pull.grad, inputs.each_ref().map(Option::as_ref));
            }
            fused(&layer, &inputs, &pull, [&y, &gates, &cells], length)
        }
    })
}

/// The gradients of all inputs that want one.
fn fused<T: Float>(
    layer: &Layer,
    inputs: &Inputs<T>,
    pull: &Pull<T>,
    [y, gates, cells]: [&Tensor<T>; 3],
    length: usize,
) -> Inputs<T> {
    let Layer { cell, steps, batch, input, hidden, output, .. } = *layer;
    let (state, w) = slices(inputs);
    let x = inputs[0].as_ref().expect("x is there").elements();
    let grad = pull.grad.packed();
    let (dy, dc) = grad.elements().split_at(length);
    let (sums, kept) = (cell.gates() * hidden, cell.width() * hidden);
    let y = &y.elements()[..length];
    let mut room = unwritten(layer.gradients());
    let mut dx = unwritten(if pull.needs(0) { steps * batch * input } else { 0 });
    let weights_wanted = pull.needs(3) || pull.needs(4);
    let wanted = |len: usize| if weights_wanted { len } else { 0 };
    let (mut dw_ih, mut dw_hh) = (unwritten(wanted(sums * input)), unwritten(wanted(sums * output)));
    let mut bias = unwritten(kept);
    let mut dh = unwritten(batch * output);
    let mut dc_first = unwritten(dc.len());
    let places = if w.projection.is_some() { steps * batch } else { 0 };
    let mut dw_hr = unwritten(if places > 0 { output * hidden } else { 0 });
    let (mut dh_all, mut unprojected) = (unwritten(places * output), unwritten(places * hidden));
    let to = Back {
        room: elements_of(&mut room),
        x: pull.needs(0).then(|| elements_of(&mut dx)),
        weights: weights_wanted.then(|| (elements_of(&mut dw_ih), elements_of(&mut dw_hh))),
        bias: elements_of(&mut bias),
        h: elements_of(&mut dh),
        c: elements_of(&mut dc_first),
        projection: (places > 0).then(|| [&mut dw_hr, &mut dh_all, &mut unprojected].map(elements_of)),
    };
    let saved = Saved { y, gates: gates.elements(), cells: cells.elements() };
    kernel::backward(layer, x, state, &w, saved, dy, (!dc.is_empty()).then_some(dc), to);
    let hidden_bias = if cell == Cell::Gru {
        // q, r, z, n are kept; the weights' order is r, z, q.
        super::cat(&[&bias.narrow(0, hidden, 2 * hidden), &bias.narrow(0, 0, hidden)], 0)
    } else {
        bias.clone()
    };
    let given = |i: usize, grad: &Tensor<T>, shape: &[usize]| pull.needs(i).then(|| grad.reshape(shape));
    [
        given(0, &dx, &[steps, batch, input]),
        given(1, &dh, &[batch, output]),
        given(2, &dc_first, &[batch, hidden]),
        given(3, &dw_ih, &[sums, input]),
        given(4, &dw_hh, &[sums, output]),
        pull.needs(5).then(|| bias.narrow(0, kept - sums, sums)),
        pull.needs(6).then_some(hidden_bias),
        given(7, &dw_hr, &[output, hidden]),
    ]
}
