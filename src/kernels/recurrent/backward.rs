//! From the last step to the first, and the gradients of the weights.

use super::outer::{BLOCK, Outer};
use super::packed::{Packed, Target, products};
use super::{Cell, Layer, Matrix, PIECES, ROWS, State, Step, Weights, cells, row, with_packed};
use crate::element::Float;
use crate::kernels::elementwise::add;
use crate::kernels::gemm::{self, Epilogue, Mat, Shared, scratch};
use crate::kernels::parallel::{chunks_mut, pieces_mut, tasks};
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

/// What the way back writes; of what is not wanted or not there, nothing.
pub struct Back<'a, T> {
    /// Room for the gradients of what is kept, [`Layer::gradients`].
    pub room: &'a mut [T],
    /// `[steps, batch, input]`.
    pub x: Option<&'a mut [T]>,
    /// The gradients of the two weights.
    pub weights: Option<(&'a mut [T], &'a mut [T])>,
    /// The sums of the gradients of what is kept over all steps, `[width * hidden]`: the biases' gradients.
    pub bias: &'a mut [T],
    /// `[batch, output]`.
    pub h: &'a mut [T],
    /// `[batch, hidden]`, of an LSTM.
    pub c: &'a mut [T],
    /// With a projection: its gradient, and room for the gradients of all outputs and for the outputs before it.
    pub projection: Option<[&'a mut [T]; 3]>,
}

/// All gradients from those of the outputs, `dy`, and of the last cell states, `dc`.
///
/// # Panics
/// When the sizes do not fit.
#[allow(clippy::too_many_arguments, reason = "what came in, what was kept, what came back")]
pub fn backward<T: Float>(
    layer: &Layer,
    x: &[T],
    state: State<T>,
    w: &Weights<T>,
    saved: Saved<T>,
    dy: &[T],
    dc: Option<&[T]>,
    to: Back<T>,
) {
    layer.check(w, state);
    let (places, input, hidden, output) = (layer.steps * layer.batch, layer.input, layer.hidden, layer.output);
    let (kept, stride, sums) = (layer.kept(), layer.stride(), layer.sums());
    let cell_size = if layer.cell == Cell::Lstm { hidden } else { 0 };
    let fits = |len: usize, of: usize| assert_eq!(len, of, "recurrent: sizes");
    fits(x.len(), places * input);
    fits(saved.y.len(), places * output);
    fits(saved.gates.len(), places * stride);
    fits(saved.cells.len(), places * cell_size);
    fits(dy.len(), places * output);
    fits(to.room.len(), layer.gradients());
    fits(to.bias.len(), kept);
    fits(to.h.len(), layer.batch * output);
    fits(to.c.len(), layer.batch * cell_size);
    match dc {
        Some(dc) => to.c.copy_from_slice(dc),
        None => to.c.fill(T::ZERO),
    }
    to.h.fill(T::ZERO);
    let (wanted, dx) = (to.x.is_some(), to.x.unwrap_or_default());
    fits(dx.len(), if wanted { places * input } else { 0 });
    let weights_wanted = to.weights.is_some();
    let (dw_ih, dw_hh) = to.weights.unwrap_or_default();
    if weights_wanted {
        fits(dw_ih.len(), sums * input);
        fits(dw_hh.len(), sums * output);
    }
    let [dw_hr, dh_all, unprojected] = to.projection.unwrap_or_default();
    if w.projection.is_some() {
        fits(dw_hr.len(), output * hidden);
        fits(dh_all.len(), places * output);
        fits(unprojected.len(), places * hidden);
    }
    let by_step = wanted && layer.resident();
    let pieces = layer.cell.pieces();
    let rows = |data, columns| Mat { data, row_stride: columns, col_stride: 1 };
    let [a, b, c] = std::array::from_fn(|i| {
        let (from, size) = pieces.get(i).and_then(|piece| Some((piece.hidden?, piece.size)))?;
        let b = rows(&w.hidden[from * hidden * output..], output);
        Some(Matrix { b, k: size * hidden, n: output, packed: None })
    });
    let [d, e, f] = std::array::from_fn(|i| {
        let (from, size) = pieces.get(i).filter(|_| by_step).and_then(|piece| Some((piece.input?, piece.size)))?;
        let b = rows(&w.input[from * hidden * input..], input);
        Some(Matrix { b, k: size * hidden, n: input, packed: None })
    });
    let projection = w.projection.map(|w| Matrix { b: rows(w, hidden), k: output, n: hidden, packed: None });
    let isa = isa();
    let parts = layer.parts();
    // A row for each task that runs beside others.
    let per_part = if layer.wide() { layer.batch.div_ceil(ROWS) } else { 1 };
    let local = layer.local() && weights_wanted;
    let shared = if local { (parts - 1) * sums * (input + output) } else { 0 };
    scratch(parts * per_part * kept + shared, |room: &mut [T]| {
        let (totals, partial) = room.split_at_mut(parts * per_part * kept);
        totals.fill(T::ZERO);
        with_packed(T::kernels(isa), [a, b, c, d, e, f, projection], |[a, b, c, d, e, f, projection]| {
            let walk = Walk {
                layer,
                x,
                state,
                recurrent: [a, b, c],
                input: [d, e, f],
                projection,
                saved,
                dy,
                gates: Shared::new(to.room),
                dx: Shared::new(dx),
                weights: local.then(|| [Shared::new(dw_ih), Shared::new(dw_hh), Shared::new(partial)]),
                h: Shared::new(to.h),
                c: Shared::new(to.c),
                dh_all: Shared::new(dh_all),
                unprojected: Shared::new(unprojected),
            };
            let size = per_part * kept;
            chunks_mut(totals, size, |start, totals| walk.part(isa, start / size, Shared::new(totals)));
        });
        to.bias.fill(T::ZERO);
        totals.chunks(kept).for_each(|totals| add(isa, totals, to.bias));
        if shared > 0 {
            for (to, start) in [(&mut *dw_ih, 0), (&mut *dw_hh, sums * input)] {
                pieces_mut(to, |offset, to| {
                    for part in partial.chunks(sums * (input + output)) {
                        add(isa, &part[start + offset..][..to.len()], to);
                    }
                });
            }
        }
    });
    // The gradients of all sums, [gates * hidden, steps * batch] or transposed.
    let gates: &[T] = to.room;
    let of_sums = gates.get(layer.cell.input_column() * hidden..).unwrap_or_default();
    if wanted && !by_step {
        // [steps * batch, gates * hidden] . [gates * hidden, input]
        let a = Mat { data: of_sums, row_stride: stride, col_stride: 1 };
        gemm::gemm(places, sums, input, a, rows(w.input, input), dx, input, false, Epilogue::default());
    }
    if weights_wanted && !local {
        // [gates * hidden, steps * batch] . [steps * batch, input]
        let a = Mat { data: of_sums, row_stride: 1, col_stride: stride };
        gemm::gemm(sums, places, input, a, rows(x, input), dw_ih, input, false, Epilogue::default());
        grad_hidden_weight(layer, state.h, saved.y, gates, dw_hh);
    }
    if w.projection.is_some() {
        // [output, steps * batch] . [steps * batch, hidden]
        let a = Mat { data: &*dh_all, row_stride: 1, col_stride: output };
        gemm::gemm(output, places, hidden, a, rows(unprojected, hidden), dw_hr, hidden, false, Epilogue::default());
    }
}

struct Walk<'a, T: Float> {
    layer: &'a Layer,
    x: &'a [T],
    state: State<'a, T>,
    /// The weights, packed: in pieces, and that of the projection.
    recurrent: [Option<Packed<'a, T>>; PIECES],
    input: [Option<Packed<'a, T>>; PIECES],
    projection: Option<Packed<'a, T>>,
    saved: Saved<'a, T>,
    dy: &'a [T],
    gates: Shared<T>,
    dx: Shared<T>,
    /// Where the first part sums the weights' gradients, and where all others do.
    weights: Option<[Shared<T>; 3]>,
    h: Shared<T>,
    c: Shared<T>,
    dh_all: Shared<T>,
    unprojected: Shared<T>,
}

impl<T: Float> Walk<'_, T> {
    fn part(&self, isa: Isa, part: usize, totals: Shared<T>) {
        let Layer { steps, batch, input, hidden, output, .. } = *self.layer;
        let (from, rows) = self.layer.part_at(part);
        let (kept, wide, kernels) = (self.layer.kept(), self.layer.wide(), T::kernels(isa));
        let (block, outer_room) =
            if self.layer.local() { (BLOCK * self.layer.stride(), Outer::room(self.layer, kernels)) } else { (0, 0) };
        let sums = self.layer.sums();
        let to = self.weights.map(|[first_ih, first_hh, others]| match part.checked_sub(1) {
            None => [first_ih, first_hh],
            Some(i) => {
                let start = i * sums * (input + output);
                // SAFETY: `others` has room for both gradients of each part but the first, which are written by it alone.
                unsafe {
                    let to_hh = row(others, start + sums * input, sums * output);
                    [Shared::new(row(others, start, sums * input)), Shared::new(to_hh)]
                }
            }
        });
        scratch(rows * hidden + hidden.max(output) + block + outer_room, |room: &mut [T]| {
            let (dm, rest) = room.split_at_mut(rows * hidden);
            let (zeros, rest) = rest.split_at_mut(hidden.max(output));
            let (block, outer_room) = rest.split_at_mut(block);
            zeros.fill(T::ZERO);
            let (dm, zeros): (_, &[T]) = (Shared::new(dm), zeros);
            let d = if self.layer.local() { Shared::new(block) } else { self.gates };
            let mut outer = Outer::new(self.layer, kernels, self.x, self.saved.y, self.state.h, to.unwrap_or([d, d]));
            let mut add = |outer: &mut Outer<T>| {
                if to.is_some() {
                    // SAFETY: the block was written for the steps that `outer` has; no one writes it now, and no one else
                    // the gradients of this part.
                    unsafe { outer.add(row(d, 0, BLOCK * self.layer.stride()), outer_room) };
                } else {
                    outer.clear();
                }
            };
            for s in (0..steps).rev() {
                let t = self.layer.step(s);
                let active = self.layer.active_in((from, rows), t);
                let before = s.checked_sub(1).map(|s| self.layer.step(s));
                let warm = before.map_or(0, |t| self.layer.active_in((from, rows), t)).min(active);
                let (place, place_before) = (t * batch + from, before.unwrap_or(0) * batch + from);
                if self.layer.local() && !outer.fits(active) {
                    add(&mut outer);
                }
                let gradients = if self.layer.local() { outer.filled() } else { place };
                let step = Step { from, active, warm, place, place_before, gradients };
                for i in 0..active {
                    self.output(isa, &step, i);
                }
                if let Some(b) = self.projection {
                    let to = [Target { b, c: dm, c_start: 0, c_stride: hidden, accumulate: false, bias: None }];
                    // SAFETY: rows of this part; `dm` has a row for each sequence.
                    unsafe { products(active, self.h.at(from * output), output, &to, wide) };
                }
                tasks(active.div_ceil(ROWS), wide, |task| {
                    // SAFETY: `totals` has a row for each task that runs beside others.
                    let totals = unsafe { row(totals, if wide { task * kept } else { 0 }, kept) };
                    for i in task * ROWS..((task + 1) * ROWS).min(active) {
                        self.sequence(isa, &step, i, [d, dm], zeros, totals);
                    }
                });
                self.products(&step, d, wide);
                if self.layer.local() {
                    outer.push(step);
                }
                self.idle(&step, rows);
            }
            if self.layer.local() {
                add(&mut outer);
            }
        });
    }

    /// The gradient of an output, which is that of the step after and the given one.
    fn output(&self, isa: Isa, step: &Step, i: usize) {
        let (output, at) = (self.layer.output, (step.place + i) * self.layer.output);
        // SAFETY: rows of this part.
        let dh = unsafe { row(self.h, (step.from + i) * output, output) };
        add(isa, &self.dy[at..][..output], dh);
        if self.projection.is_some() {
            // SAFETY: as above.
            unsafe { row(self.dh_all, at, output) }.copy_from_slice(dh);
        }
    }

    /// The gradients of the sums, for the part's `i`-th sequence.
    fn sequence(&self, isa: Isa, step: &Step, i: usize, [d, dm]: [Shared<T>; 2], zeros: &[T], totals: &mut [T]) {
        let Layer { cell, hidden, output, .. } = *self.layer;
        let (kept, stride, saved) = (self.layer.kept(), self.layer.stride(), self.saved);
        let Step { from, warm, place, place_before, gradients, .. } = *step;
        let gates = &saved.gates[(place + i) * stride..][..kept];
        // SAFETY: as in all of this function, rows of this part and of one of its sequences.
        let (d, dh) = unsafe { (row(d, (gradients + i) * stride, kept), row(self.h, (from + i) * output, output)) };
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
        add(isa, d, totals);
    }

    /// The gradients of the state before and of the input from those of the sums.
    fn products(&self, step: &Step, d: Shared<T>, wide: bool) {
        let Layer { cell, input, hidden, output, .. } = *self.layer;
        let (stride, Step { from, active, place, gradients, .. }) = (self.layer.stride(), *step);
        // What a GRU has let pass is in `h` already.
        let (mut h_begun, mut x_begun) = (cell == Cell::Gru, false);
        for (piece, (of_h, of_x)) in cell.pieces().iter().zip(self.recurrent.into_iter().zip(self.input)) {
            let of_h = of_h.map(|b| {
                let accumulate = std::mem::replace(&mut h_begun, true);
                Target { b, c: self.h, c_start: from * output, c_stride: output, accumulate, bias: None }
            });
            let of_x = of_x.map(|b| {
                let accumulate = std::mem::replace(&mut x_begun, true);
                Target { b, c: self.dx, c_start: place * input, c_stride: input, accumulate, bias: None }
            });
            let d = d.at(gradients * stride + piece.column * hidden);
            // SAFETY: rows of this part.
            unsafe {
                match (of_h, of_x) {
                    (Some(a), Some(b)) => products(active, d, stride, &[a, b], wide),
                    (Some(a), None) | (None, Some(a)) => products(active, d, stride, &[a], wide),
                    (None, None) => {}
                }
            }
        }
    }

    /// Zeros where sequences of the part have no step.
    fn idle(&self, step: &Step, rows: usize) {
        let Layer { input, hidden, output, .. } = *self.layer;
        let (after, idle, stride) = (step.place + step.active, rows - step.active, self.layer.stride());
        // SAFETY: rows of this part.
        unsafe {
            if !self.layer.local() {
                row(self.gates, after * stride, idle * stride).fill(T::ZERO);
            }
            if self.input.iter().any(Option::is_some) {
                row(self.dx, after * input, idle * input).fill(T::ZERO);
            }
            if self.projection.is_some() {
                row(self.dh_all, after * output, idle * output).fill(T::ZERO);
                row(self.unprojected, after * hidden, idle * hidden).fill(T::ZERO);
            }
        }
    }
}

/// `dW_hh` `[gates * hidden, output]` from the gradients of the sums.
fn grad_hidden_weight<T: Float>(layer: &Layer, h: Option<&[T]>, y: &[T], gates: &[T], dw: &mut [T]) {
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
