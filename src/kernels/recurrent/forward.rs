//! From the first step to the last.

use super::packed::{Packed, Target, products, room};
use super::{Cell, Layer, Matrix, PIECES, ROWS, State, Step, Weights, cells, row, with_packed};
use crate::element::Float;
use crate::kernels::gemm::{self, Epilogue, Mat, Shared, scratch};
use crate::kernels::parallel::tasks;
use crate::kernels::simd::{Isa, isa};

/// The biases that are added to the sums with the input, and those of q.
fn biases<T: Float>(layer: &Layer, w: &Weights<T>) -> (Vec<T>, Vec<T>) {
    let hidden = layer.hidden;
    let mut sums = w.input_bias.map_or_else(|| vec![T::ZERO; layer.sums()], <[T]>::to_vec);
    let mut q = vec![T::ZERO; hidden];
    if let Some(bias) = w.hidden_bias {
        for piece in layer.cell.pieces() {
            let Some(row) = piece.hidden else { continue };
            let from = &bias[row * hidden..][..piece.size * hidden];
            let to = if piece.input.is_some() { &mut sums[row * hidden..] } else { &mut q };
            to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
        }
    }
    (sums, q)
}

/// The weights of the input.
fn input_matrix<'a, T>(layer: &Layer, weight: &'a [T], packed: Option<&'a [T]>) -> Matrix<'a, T> {
    let b = Mat { data: weight, row_stride: 1, col_stride: layer.input };
    Matrix { b, k: layer.input, n: layer.sums(), packed }
}

/// The hidden weights, in the cell's pieces.
fn hidden_matrices<'a, T: Float>(
    layer: &Layer,
    isa: Isa,
    weight: &'a [T],
    mut packed: Option<&'a [T]>,
) -> [Option<Matrix<'a, T>>; PIECES] {
    let Layer { cell, hidden, output, .. } = *layer;
    std::array::from_fn(|i| {
        let (rows, size) = cell.pieces().get(i).and_then(|piece| Some((piece.hidden?, piece.size)))?;
        let b = Mat { data: &weight[rows * hidden * output..], row_stride: 1, col_stride: output };
        let mut matrix = Matrix { b, k: output, n: size * hidden, packed: None };
        if let Some(rest) = packed {
            let (own, rest) = rest.split_at(matrix.room(T::kernels(isa)));
            (matrix.packed, packed) = (Some(own), Some(rest));
        }
        Some(matrix)
    })
}

/// Inputs, of all steps and sequences, from which on packing the weights is a small part of the work.
const FEW_INPUTS: usize = 64;

/// Where a forward pass takes long to pack its weights beside multiplying with them: of those of the input and of the hidden
/// ones the order in which it reads them, as numbers that no other order has, and the length of what [`pack`] writes.
pub fn packs<T: Float>(layer: &Layer) -> [Option<([usize; 5], usize)>; 2] {
    let Layer { cell, hidden, .. } = *layer;
    let kernels = T::kernels(isa());
    let few = layer.steps * layer.batch <= FEW_INPUTS;
    let sizes = cell.pieces().iter().filter(|piece| piece.hidden.is_some()).map(|piece| piece.size);
    let of_input = room(kernels, layer.input, layer.sums());
    let of_hidden = sizes.map(|size| room(kernels, layer.output, size * hidden)).sum();
    let order = |number: usize, k: usize| [2, kernels.width(), 2 * cell as usize + number, hidden, k];
    [
        (few && layer.resident()).then(|| (order(0, layer.input), of_input)),
        few.then(|| (order(1, layer.output), of_hidden)),
    ]
}

/// Packs the weights of the input, or the hidden ones, in the order of [`packs`].
///
/// # Panics
/// When a slice does not have its size.
pub fn pack<T: Float>(layer: &Layer, hidden: bool, weight: &[T], mut to: &mut [T]) {
    let isa = isa();
    let matrices = if hidden {
        hidden_matrices(layer, isa, weight, None)
    } else {
        [Some(input_matrix(layer, weight, None)), None, None]
    };
    for matrix in matrices.into_iter().flatten() {
        let (own, rest) = std::mem::take(&mut to).split_at_mut(matrix.room(T::kernels(isa)));
        Packed::new(T::kernels(isa), matrix.b, matrix.k, matrix.n, own);
        to = rest;
    }
}

/// The outputs `y`, 0 where a sequence has no step, and what the way back needs: `gates`, and `cells` of an LSTM (else
/// empty).
///
/// # Panics
/// When the sizes do not fit.
pub fn forward<T: Float>(
    layer: &Layer,
    x: &[T],
    state: State<T>,
    w: &Weights<T>,
    y: &mut [T],
    gates: &mut [T],
    cells: &mut [T],
) {
    layer.check(w, state);
    let (places, hidden, kept) = (layer.steps * layer.batch, layer.hidden, layer.stride());
    let cell_size = if layer.cell == Cell::Lstm { hidden } else { 0 };
    assert!(x.len() == places * layer.input && y.len() == places * layer.output, "recurrent: input and output");
    assert!(gates.len() == places * kept && cells.len() == places * cell_size, "recurrent: what is kept");
    let (bias, q_bias) = biases(layer, w);
    let isa = isa();
    let input = input_matrix(layer, w.input, w.packed[0]);
    if !layer.resident() {
        let epilogue = Epilogue { bias_row: Some(&bias), relu: false };
        // [steps * batch, input] . [input, gates * hidden]
        let a = Mat { data: x, row_stride: layer.input, col_stride: 1 };
        let sums = &mut gates[layer.cell.input_column() * hidden..];
        gemm::gemm(places, layer.input, layer.sums(), a, input.b, sums, kept, false, epilogue);
    }
    let input = layer.resident().then_some(input);
    let [a, b, c] = hidden_matrices(layer, isa, w.hidden, w.packed[1]);
    let projection = w.projection.map(|w| {
        let b = Mat { data: w, row_stride: 1, col_stride: hidden };
        Matrix { b, k: hidden, n: layer.output, packed: None }
    });
    with_packed(T::kernels(isa), [a, b, c, projection, input], |[a, b, c, projection, input]| {
        let walk = Walk {
            layer,
            x,
            state,
            bias: &bias,
            q_bias: &q_bias,
            recurrent: [a, b, c],
            projection,
            input,
            y: Shared::new(y),
            gates: Shared::new(gates),
            cells: Shared::new(cells),
        };
        tasks(layer.parts(), true, |i| walk.part(isa, layer.part_at(i)));
    });
}

struct Walk<'a, T: Float> {
    layer: &'a Layer,
    x: &'a [T],
    state: State<'a, T>,
    bias: &'a [T],
    q_bias: &'a [T],
    /// The weights, packed; the recurrent ones in pieces.
    recurrent: [Option<Packed<'a, T>>; PIECES],
    projection: Option<Packed<'a, T>>,
    input: Option<Packed<'a, T>>,
    y: Shared<T>,
    gates: Shared<T>,
    cells: Shared<T>,
}

impl<'a, T: Float> Walk<'a, T> {
    fn part(&self, isa: Isa, (from, rows): (usize, usize)) {
        let Layer { steps, batch, hidden, output, .. } = *self.layer;
        let wide = self.layer.wide();
        let unprojected = if self.projection.is_some() { rows * hidden } else { 0 };
        scratch(unprojected + hidden.max(output), |room: &mut [T]| {
            let (unprojected, zeros) = room.split_at_mut(unprojected);
            zeros.fill(T::ZERO);
            let (unprojected, zeros): (_, &[T]) = (Shared::new(unprojected), zeros);
            let mut before = (0, 0);
            for s in 0..steps {
                let t = self.layer.step(s);
                let active = self.layer.active_in((from, rows), t);
                let (place, place_before) = (t * batch + from, before.0 * batch + from);
                let step = Step { from, active, warm: active.min(before.1), place, place_before, gradients: 0 };
                self.sums(&step, wide);
                tasks(active.div_ceil(ROWS), wide, |i| {
                    for i in i * ROWS..((i + 1) * ROWS).min(active) {
                        self.sequence(isa, &step, i, unprojected, zeros);
                    }
                });
                if let Some(b) = self.projection {
                    let (c_start, c_stride) = (place * output, output);
                    let to = [Target { b, c: self.y, c_start, c_stride, accumulate: false, bias: None }];
                    // SAFETY: rows of this part.
                    unsafe { products(active, unprojected.at(0), hidden, &to, wide) };
                }
                // SAFETY: rows of this part.
                unsafe { row(self.y, (place + active) * output, (rows - active) * output) }.fill(T::ZERO);
                before = (t, active);
            }
        });
    }

    /// The products of a step.
    fn sums(&self, step: &Step, wide: bool) {
        let Layer { cell, batch, input, hidden, output, .. } = *self.layer;
        let Step { from, active, warm, place, place_before, .. } = *step;
        let stride = self.layer.stride();
        let target = |b: Packed<'a, T>, i: usize, column: usize, accumulate: bool, bias: Option<&'a [T]>| {
            let c_start = (place + i) * stride + column * hidden;
            [Target { b, c: self.gates, c_start, c_stride: stride, accumulate, bias }]
        };
        if let Some(b) = self.input {
            let to = target(b, 0, cell.input_column(), false, Some(self.bias));
            let x = self.x[place * input..].as_ptr();
            // SAFETY: `forward` found `x` to have an input for each place; rows of this part.
            unsafe { products(active, x, input, &to, wide) };
        }
        for (piece, b) in cell.pieces().iter().zip(self.recurrent) {
            let (Some(b), added) = (b, piece.input.is_some()) else { continue };
            let h = self.y.at(place_before * output);
            // SAFETY: outputs of the step before, of which no one writes any more; rows of this part.
            unsafe { products(warm, h, output, &target(b, 0, piece.column, added, None), wide) };
            if let Some(h) = self.state.h {
                let h = h[(from + warm).min(batch - 1) * output..].as_ptr();
                let to = target(b, warm, piece.column, added, None);
                // SAFETY: `check` found the state to have a row for each sequence; rows of this part.
                unsafe { products(active - warm, h, output, &to, wide) };
            } else if !added {
                for i in warm..active {
                    let start = (place + i) * stride + piece.column * hidden;
                    // SAFETY: rows of this part.
                    unsafe { row(self.gates, start, piece.size * hidden) }.fill(T::ZERO);
                }
            }
        }
    }

    /// What follows on the products, for the part's `i`-th sequence.
    fn sequence(&self, isa: Isa, step: &Step, i: usize, unprojected: Shared<T>, zeros: &[T]) {
        let Layer { cell, hidden, output, .. } = *self.layer;
        let Step { from, warm, place, place_before, .. } = *step;
        // SAFETY: as in all of this function, rows of this part and of one of its sequences; those of the step before are only
        // read.
        let gates = unsafe { row(self.gates, (place + i) * self.layer.stride(), self.layer.kept()) };
        let h = if self.projection.is_some() {
            // SAFETY: above.
            unsafe { row(unprojected, i * hidden, hidden) }
        } else {
            // SAFETY: above.
            unsafe { row(self.y, (place + i) * output, output) }
        };
        match cell {
            Cell::Tanh | Cell::Relu => cells::plain(isa, gates, h, cell == Cell::Relu),
            Cell::Lstm => {
                let c_before = if i < warm {
                    // SAFETY: above.
                    unsafe { row(self.cells, (place_before + i) * hidden, hidden) }
                } else {
                    self.state.c.map_or(zeros, |c| &c[(from + i) * hidden..])
                };
                // SAFETY: above.
                let c = unsafe { row(self.cells, (place + i) * hidden, hidden) };
                cells::lstm(isa, gates, c_before, c, h);
            }
            Cell::Gru => {
                let h_before = if i < warm {
                    // SAFETY: above.
                    unsafe { row(self.y, (place_before + i) * output, output) }
                } else {
                    self.state.h.map_or(zeros, |h| &h[(from + i) * output..])
                };
                cells::gru(isa, gates, self.q_bias, h_before, h);
            }
        }
    }
}
