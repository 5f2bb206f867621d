//! From the last step to the first, and the gradients of the weights.

use super::packed::{Packed, Target, products, rows_room};
use super::{Cell, Layer, PIECES, ROWS, State, Step, Weights, cells, row, with_packed};
use crate::element::Float;
use crate::kernels::gemm::{self, Epilogue, Mat, Shared, scratch};
use crate::kernels::parallel::{chunks_mut, tasks};
use crate::kernels::simd::{Isa, isa};

/// What the way forward has left.
#[derive(Clone, Copy)]
pub struct Saved<'a, T> {
    /// The outputs.
    pub y: &'a [T],
    /// The values of the gates.
    pub gates: &'a [T],
    /// The cell states of an LSTM.
    pub cells: &'a [T],
}

/// What the way back through the steps writes; of what is not wanted or not there, nothing.
pub struct Back<'a, T> {
    /// The gradients of what is kept of every step, in its places.
    pub gates: &'a mut [T],
    /// `[steps, batch, input]`, where it is wanted.
    pub x: Option<&'a mut [T]>,
    /// The sums of `gates` over all steps and sequences, `[width * hidden]`: the biases' gradients.
    pub bias: &'a mut [T],
    /// `[batch, output]`.
    pub h: &'a mut [T],
    /// `[batch, hidden]`, of an LSTM.
    pub c: &'a mut [T],
    /// With a projection: the gradients of all outputs, and the outputs before the projection.
    pub projected: Option<(&'a mut [T], &'a mut [T])>,
}

/// The gradients of all sums from those of the outputs, `dy`, and of the last cell states, `dc`.
///
/// # Panics
/// When the sizes do not fit.
pub fn backward<T: Float>(
    layer: &Layer,
    state: State<T>,
    w: &Weights<T>,
    saved: Saved<T>,
    dy: &[T],
    dc: Option<&[T]>,
    to: Back<T>,
) {
    layer.check(w, state);
    let (places, input, hidden, output) = (layer.steps * layer.batch, layer.input, layer.hidden, layer.output);
    let (kept, stride) = (layer.kept(), layer.stride());
    let cell_size = if layer.cell == Cell::Lstm { hidden } else { 0 };
    let fits = |len: usize, of: usize| assert_eq!(len, of, "recurrent: sizes");
    fits(saved.y.len(), places * output);
    fits(saved.gates.len(), places * stride);
    fits(saved.cells.len(), places * cell_size);
    fits(dy.len(), places * output);
    fits(to.gates.len(), places * stride);
    fits(to.bias.len(), kept);
    fits(to.h.len(), layer.batch * output);
    fits(to.c.len(), layer.batch * cell_size);
    match dc {
        Some(dc) => to.c.copy_from_slice(dc),
        None => to.c.fill(T::ZERO),
    }
    to.h.fill(T::ZERO);
    let (dh_all, unprojected) = to.projected.unwrap_or_default();
    if w.projection.is_some() {
        fits(dh_all.len(), places * output);
        fits(unprojected.len(), places * hidden);
    }
    let (wanted, dx) = (to.x.is_some(), to.x.unwrap_or_default());
    fits(dx.len(), if wanted { places * input } else { 0 });
    let by_step = wanted && layer.resident();
    let pieces = layer.cell.pieces();
    let rows = |data, columns| Mat { data, row_stride: columns, col_stride: 1 };
    let [a, b, c] = std::array::from_fn(|i| {
        let (from, size) = pieces.get(i).and_then(|piece| Some((piece.hidden?, piece.size)))?;
        Some((rows(&w.hidden[from * hidden * output..], output), size * hidden, output))
    });
    let [d, e, f] = std::array::from_fn(|i| {
        let (from, size) = pieces.get(i).filter(|_| by_step).and_then(|piece| Some((piece.input?, piece.size)))?;
        Some((rows(&w.input[from * hidden * input..], input), size * hidden, input))
    });
    let projection = w.projection.map(|w| (Mat { data: w, row_stride: hidden, col_stride: 1 }, output, hidden));
    let isa = isa();
    // A row for each task that runs beside others.
    let per_part = if layer.wide() { layer.batch.div_ceil(ROWS) } else { 1 };
    scratch(layer.parts() * per_part * kept, |sums: &mut [T]| {
        sums.fill(T::ZERO);
        with_packed(T::kernels(isa), [a, b, c, d, e, f, projection], |[a, b, c, d, e, f, projection]| {
            let walk = Walk {
                layer,
                state,
                recurrent: [a, b, c],
                input: [d, e, f],
                projection,
                saved,
                dy,
                gates: Shared::new(to.gates),
                x: Shared::new(dx),
                h: Shared::new(to.h),
                c: Shared::new(to.c),
                dh_all: Shared::new(dh_all),
                unprojected: Shared::new(unprojected),
            };
            let size = per_part * kept;
            chunks_mut(sums, size, |start, sums| walk.part(isa, layer.part_at(start / size), Shared::new(sums)));
        });
        to.bias.fill(T::ZERO);
        sums.chunks(kept).for_each(|sums| cells::add(isa, sums, to.bias));
    });
    if wanted && !by_step {
        // [steps * batch, gates * hidden] . [gates * hidden, input]
        let a = Mat { data: &to.gates[layer.cell.input_column() * hidden..], row_stride: stride, col_stride: 1 };
        gemm::gemm(places, layer.sums(), input, a, rows(w.input, input), dx, input, false, Epilogue::default());
    }
}

struct Walk<'a, T: Float> {
    layer: &'a Layer,
    state: State<'a, T>,
    /// The weights, packed: in pieces, and that of the projection.
    recurrent: [Option<Packed<'a, T>>; PIECES],
    input: [Option<Packed<'a, T>>; PIECES],
    projection: Option<Packed<'a, T>>,
    saved: Saved<'a, T>,
    dy: &'a [T],
    gates: Shared<T>,
    x: Shared<T>,
    h: Shared<T>,
    c: Shared<T>,
    dh_all: Shared<T>,
    unprojected: Shared<T>,
}

impl<T: Float> Walk<'_, T> {
    fn part(&self, isa: Isa, (from, rows): (usize, usize), sums: Shared<T>) {
        let Layer { steps, batch, hidden, output, .. } = *self.layer;
        let wide = self.layer.wide();
        let packed = rows_room(rows, self.layer.kept().max(output));
        scratch(packed + rows * hidden + hidden.max(output), |room: &mut [T]| {
            let (room, rest) = room.split_at_mut(packed);
            let (dm, zeros) = rest.split_at_mut(rows * hidden);
            zeros.fill(T::ZERO);
            let (dm, zeros): (_, &[T]) = (Shared::new(dm), zeros);
            for s in (0..steps).rev() {
                let t = self.layer.step(s);
                let active = self.layer.active_in((from, rows), t);
                let before = s.checked_sub(1).map(|s| self.layer.step(s));
                let warm = before.map_or(0, |t| self.layer.active_in((from, rows), t)).min(active);
                let (place, place_before) = (t * batch + from, before.unwrap_or(0) * batch + from);
                let step = Step { from, active, warm, place, place_before };
                for i in 0..active {
                    self.output(isa, &step, i);
                }
                if let Some(b) = self.projection {
                    let to = [Target { b, c: dm, c_start: 0, c_stride: hidden, accumulate: false, bias: None }];
                    // SAFETY: rows of this part; `dm` has a row for each sequence.
                    unsafe { products(active, self.h.at(from * output), output, &to, room, wide) };
                }
                tasks(active.div_ceil(ROWS), wide, |task| {
                    // SAFETY: `sums` has a row for each task that runs beside others.
                    let sums = unsafe { row(sums, if wide { task * self.layer.kept() } else { 0 }, self.layer.kept()) };
                    for i in task * ROWS..((task + 1) * ROWS).min(active) {
                        self.sequence(isa, &step, i, dm, zeros, sums);
                    }
                });
                self.products(&step, rows, room, wide);
            }
        });
    }

    /// The gradient of an output, which is that of the step after and the given one.
    fn output(&self, isa: Isa, step: &Step, i: usize) {
        let (output, at) = (self.layer.output, (step.place + i) * self.layer.output);
        // SAFETY: rows of this part.
        let dh = unsafe { row(self.h, (step.from + i) * output, output) };
        cells::add(isa, &self.dy[at..][..output], dh);
        if self.projection.is_some() {
            // SAFETY: as above.
            unsafe { row(self.dh_all, at, output) }.copy_from_slice(dh);
        }
    }

    /// The gradients of the sums, for the part's `i`-th sequence.
    fn sequence(&self, isa: Isa, step: &Step, i: usize, dm: Shared<T>, zeros: &[T], sums: &mut [T]) {
        let Layer { cell, hidden, output, .. } = *self.layer;
        let (kept, stride, saved) = (self.layer.kept(), self.layer.stride(), self.saved);
        let Step { from, warm, place, place_before, .. } = *step;
        let gates = &saved.gates[(place + i) * stride..][..kept];
        // SAFETY (of this function): rows of this part and of one of its sequences.
        let (d, dh) =
            unsafe { (row(self.gates, (place + i) * stride, kept), row(self.h, (from + i) * output, output)) };
        match cell {
            Cell::Tanh | Cell::Relu => cells::plain_back(isa, gates, dh, d, cell == Cell::Relu),
            Cell::Lstm => {
                let c = &saved.cells[(place + i) * hidden..][..hidden];
                let c_before = if i < warm {
                    &saved.cells[(place_before + i) * hidden..]
                } else {
                    self.state.c.map_or(zeros, |c| &c[(from + i) * hidden..])
                };
                // SAFETY: above.
                let dc = unsafe { row(self.c, (from + i) * hidden, hidden) };
                let (di, rest) = d.split_at_mut(hidden);
                let (df, rest) = rest.split_at_mut(hidden);
                let (dg, do_) = rest.split_at_mut(hidden);
                if self.projection.is_some() {
                    // SAFETY: above.
                    let (dm, m) =
                        unsafe { (row(dm, i * hidden, hidden), row(self.unprojected, (place + i) * hidden, hidden)) };
                    cells::lstm_back(isa, gates, c_before, c, dm, dc, di, df, dg, do_);
                    cells::lstm_output(isa, &gates[3 * hidden..], c, m);
                } else {
                    cells::lstm_back(isa, gates, c_before, c, dh, dc, di, df, dg, do_);
                }
            }
            Cell::Gru => {
                let h_before = if i < warm {
                    &saved.y[(place_before + i) * output..]
                } else {
                    self.state.h.map_or(zeros, |h| &h[(from + i) * output..])
                };
                let (dq, rest) = d.split_at_mut(hidden);
                let (dr, rest) = rest.split_at_mut(hidden);
                let (dz, dn) = rest.split_at_mut(hidden);
                cells::gru_back(isa, gates, h_before, dh, dq, dr, dz, dn);
            }
        }
        cells::add(isa, d, sums);
    }

    /// The gradients of the state before and of the input from those of the sums, and zeros where there is no step.
    fn products(&self, step: &Step, rows: usize, room: &mut [T], wide: bool) {
        let Layer { cell, input, hidden, output, .. } = *self.layer;
        let (stride, Step { from, active, place, .. }) = (self.layer.stride(), *step);
        // What a GRU has let pass is in `h` already.
        let (mut h_begun, mut x_begun) = (cell == Cell::Gru, false);
        for (piece, (of_h, of_x)) in cell.pieces().iter().zip(self.recurrent.into_iter().zip(self.input)) {
            let of_h = of_h.map(|b| {
                let accumulate = std::mem::replace(&mut h_begun, true);
                Target { b, c: self.h, c_start: from * output, c_stride: output, accumulate, bias: None }
            });
            let of_x = of_x.map(|b| {
                let accumulate = std::mem::replace(&mut x_begun, true);
                Target { b, c: self.x, c_start: place * input, c_stride: input, accumulate, bias: None }
            });
            let d = self.gates.at(place * stride + piece.column * hidden);
            // SAFETY: rows of this part.
            unsafe {
                match (of_h, of_x) {
                    (Some(a), Some(b)) => products(active, d, stride, &[a, b], room, wide),
                    (Some(a), None) | (None, Some(a)) => products(active, d, stride, &[a], room, wide),
                    (None, None) => {}
                }
            }
        }
        let (after, idle) = (place + active, rows - active);
        // SAFETY: rows of this part.
        unsafe {
            row(self.gates, after * stride, idle * stride).fill(T::ZERO);
            if x_begun {
                row(self.x, after * input, idle * input).fill(T::ZERO);
            }
            if self.projection.is_some() {
                row(self.dh_all, after * output, idle * output).fill(T::ZERO);
                row(self.unprojected, after * hidden, idle * hidden).fill(T::ZERO);
            }
        }
    }
}

/// `dW_ih` `[gates * hidden, input]` from the gradients of the sums.
pub fn grad_input_weight<T: Float>(layer: &Layer, x: &[T], gates: &[T], dw: &mut [T]) {
    let places = layer.steps * layer.batch;
    let a = Mat { data: &gates[layer.cell.input_column() * layer.hidden..], row_stride: 1, col_stride: layer.stride() };
    let b = Mat { data: x, row_stride: layer.input, col_stride: 1 };
    // [gates * hidden, steps * batch] . [steps * batch, input]
    gemm::gemm(layer.sums(), places, layer.input, a, b, dw, layer.input, false, Epilogue::default());
}

/// `dW_hh` `[gates * hidden, output]` from the gradients of the sums.
pub fn grad_hidden_weight<T: Float>(layer: &Layer, h: Option<&[T]>, y: &[T], gates: &[T], dw: &mut [T]) {
    let Layer { cell, steps, batch, hidden, output, reverse, .. } = *layer;
    let (kept, stride) = (layer.kept(), layer.stride());
    // All steps but each sequence's first, beside the outputs before them. Where a sequence has no step, its output is 0.
    let (d_from, y_from) = if reverse { (0, batch) } else { (batch, 0) };
    let places = (steps - 1) * batch;
    // Sequence b begins at step first(b).
    let first = |b: usize| if reverse { layer.active.partition_point(|&active| active > b) - 1 } else { 0 };
    scratch(if h.is_some() { batch * kept } else { 0 }, |begin: &mut [T]| {
        for (b, begin) in begin.chunks_mut(kept).enumerate() {
            begin.copy_from_slice(&gates[(first(b) * batch + b) * stride..][..kept]);
        }
        for piece in cell.pieces() {
            let Some(row) = piece.hidden else { continue };
            let (column, rows) = (piece.column * hidden, piece.size * hidden);
            let dw = &mut dw[row * hidden * output..][..rows * output];
            // [rows, places] . [places, output]
            let d = gates.get(d_from * stride + column..).unwrap_or_default();
            let a = Mat { data: d, row_stride: 1, col_stride: stride };
            let b = Mat { data: y.get(y_from * output..).unwrap_or_default(), row_stride: output, col_stride: 1 };
            gemm::gemm(rows, places, output, a, b, dw, output, false, Epilogue::default());
            if let Some(h) = h {
                // [rows, batch] . [batch, output]
                let a = Mat { data: &begin[column..], row_stride: 1, col_stride: kept };
                let b = Mat { data: h, row_stride: output, col_stride: 1 };
                gemm::gemm(rows, batch, output, a, b, dw, output, true, Epilogue::default());
            }
        }
    });
}

/// `dW_hr` `[output, hidden]` from the gradients of the outputs and the outputs before the projection.
pub fn grad_projection<T: Float>(layer: &Layer, dh: &[T], unprojected: &[T], dw: &mut [T]) {
    let Layer { hidden, output, .. } = *layer;
    let a = Mat { data: dh, row_stride: 1, col_stride: output };
    let b = Mat { data: unprojected, row_stride: hidden, col_stride: 1 };
    // [output, steps * batch] . [steps * batch, hidden]
    gemm::gemm(output, layer.steps * layer.batch, hidden, a, b, dw, hidden, false, Epilogue::default());
}
