//! From the first step to the last.

use super::packed::{Packed, rows_room};
use super::{Cell, Layer, State, Weights, cells, row, with_packed};
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
            let from = &bias[piece.row * hidden..][..piece.rows * hidden];
            let to = if piece.added { &mut sums[piece.row * hidden..] } else { &mut q };
            to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
        }
    }
    (sums, q)
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
    let (places, hidden, kept) = (layer.steps * layer.batch, layer.hidden, layer.kept());
    let cell_size = if layer.cell == Cell::Lstm { hidden } else { 0 };
    assert!(x.len() == places * layer.input && y.len() == places * layer.output, "recurrent: input and output");
    assert!(gates.len() == places * kept && cells.len() == places * cell_size, "recurrent: what is kept");
    let (bias, q_bias) = biases(layer, w);
    let isa = isa();
    let epilogue = Epilogue { bias_row: Some(&bias), relu: false };
    // [steps * batch, input] . [input, gates * hidden]
    let a = Mat { data: x, row_stride: layer.input, col_stride: 1 };
    let b = Mat { data: w.input, row_stride: 1, col_stride: layer.input };
    let sums = &mut gates[layer.cell.input_column() * hidden..];
    gemm::gemm(places, layer.input, layer.sums(), a, b, sums, kept, false, epilogue);

    let pieces = layer.cell.pieces();
    let piece = |i: usize| {
        let piece = pieces.get(i)?;
        let b = Mat { data: &w.hidden[piece.row * hidden * layer.output..], row_stride: 1, col_stride: layer.output };
        Some((b, layer.output, piece.rows * hidden))
    };
    let projection = w.projection.map(|w| (Mat { data: w, row_stride: 1, col_stride: hidden }, hidden, layer.output));
    with_packed(T::kernels(isa), [piece(0), piece(1), projection], |packed| {
        let walk = Walk {
            layer,
            state,
            q_bias: &q_bias,
            packed,
            y: Shared::new(y),
            gates: Shared::new(gates),
            cells: Shared::new(cells),
        };
        tasks(layer.parts(), true, |i| walk.part(isa, layer.part_at(i)));
    });
}

struct Walk<'a, T: Float> {
    layer: &'a Layer,
    state: State<'a, T>,
    q_bias: &'a [T],
    /// The recurrent weights in pieces, and the projection.
    packed: [Option<Packed<'a, T>>; 3],
    y: Shared<T>,
    gates: Shared<T>,
    cells: Shared<T>,
}

impl<T: Float> Walk<'_, T> {
    fn part(&self, isa: Isa, (from, rows): (usize, usize)) {
        let Layer { cell, steps, batch, hidden, output, .. } = *self.layer;
        let kept = self.layer.kept();
        let unprojected = if self.packed[2].is_some() { rows * hidden } else { 0 };
        scratch(rows_room(rows) + unprojected + hidden.max(output), |room: &mut [T]| {
            let (room, rest) = room.split_at_mut(rows_room(rows));
            let (unprojected, zeros) = rest.split_at_mut(unprojected);
            zeros.fill(T::ZERO);
            let zeros: &[T] = zeros;
            let mut before = (0, 0);
            for s in 0..steps {
                let t = self.layer.step(s);
                let active = self.layer.active_in((from, rows), t);
                // The first ones have a step before; the others begin.
                let warm = active.min(before.1);
                let (place, place_before) = (t * batch + from, before.0 * batch + from);
                for (piece, packed) in cell.pieces().iter().zip(self.packed.iter().flatten()) {
                    let c = |i: usize| self.gates.at((place + i) * kept + piece.column * hidden);
                    let h = self.y.at(place_before * output);
                    // SAFETY: outputs of the step before, of which no one writes any more; rows of this part.
                    unsafe { packed.product(warm, h, output, c(0), kept, piece.added, room) };
                    if let Some(h) = self.state.h {
                        let h = h[(from + warm) * output..].as_ptr();
                        // SAFETY: `check` found the state to have a row for each sequence; rows of this part.
                        unsafe { packed.product(active - warm, h, output, c(warm), kept, piece.added, room) };
                    } else if !piece.added {
                        for i in warm..active {
                            let start = (place + i) * kept + piece.column * hidden;
                            // SAFETY: rows of this part.
                            unsafe { row(self.gates, start, piece.rows * hidden) }.fill(T::ZERO);
                        }
                    }
                }
                for i in 0..active {
                    // SAFETY (of this loop): rows of this part; those of the step before are only read.
                    let gates = unsafe { row(self.gates, (place + i) * kept, kept) };
                    let h = if unprojected.is_empty() {
                        // SAFETY: above.
                        unsafe { row(self.y, (place + i) * output, output) }
                    } else {
                        &mut unprojected[i * hidden..][..hidden]
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
                if let Some(projection) = &self.packed[2] {
                    let y = self.y.at(place * output);
                    // SAFETY: rows of this part.
                    unsafe { projection.product(active, unprojected.as_ptr(), hidden, y, output, false, room) };
                }
                // SAFETY: rows of this part.
                unsafe { row(self.y, (place + active) * output, (rows - active) * output) }.fill(T::ZERO);
                before = (t, active);
            }
        });
    }
}
