//! What the recurrent layers share: directions on top of each other.

use super::super::param::{Name, Param};
use super::super::summary::Call;
use super::super::{Module, Walk, WalkMut};
use crate::element::Float;
use crate::ops::{self, Cell, RecurrentOptions, RecurrentWeights};
use crate::shape::ensure;
use crate::tensor::Tensor;

/// The parameters of one layer in one direction, or of a single cell.
#[derive(Clone, Debug)]
pub struct RecurrentParams<T: Float = f32> {
    /// `[gates * hidden, input]`.
    pub weight_ih: Param<T>,
    /// `[gates * hidden, hidden]`, with a projection `[gates * hidden, proj_size]`.
    pub weight_hh: Param<T>,
    /// `[gates * hidden]`, or none.
    pub bias_ih: Option<Param<T>>,
    /// `[gates * hidden]`, or none.
    pub bias_hh: Option<Param<T>>,
    /// `[proj_size, hidden]` of an LSTM with a projection.
    pub weight_hr: Option<Param<T>>,
}

impl<T: Float> RecurrentParams<T> {
    /// Uniform in `+-1 / sqrt(hidden)`.
    pub(super) fn new(cell: Cell, input: usize, hidden: usize, bias: bool, proj_size: usize) -> RecurrentParams<T> {
        let bound = 1.0 / (hidden as f64).sqrt();
        let (sums, output) = (cell.gates() * hidden, if proj_size > 0 { proj_size } else { hidden });
        let uniform = |shape: &[usize]| Param::uniform(shape, bound);
        RecurrentParams {
            weight_ih: uniform(&[sums, input]),
            weight_hh: uniform(&[sums, output]),
            bias_ih: bias.then(|| uniform(&[sums])),
            bias_hh: bias.then(|| uniform(&[sums])),
            weight_hr: (proj_size > 0).then(|| uniform(&[proj_size, hidden])),
        }
    }

    pub(super) fn weights(&self) -> RecurrentWeights<'_, T> {
        RecurrentWeights {
            input: &self.weight_ih,
            hidden: &self.weight_hh,
            input_bias: self.bias_ih.as_deref(),
            hidden_bias: self.bias_hh.as_deref(),
            projection: self.weight_hr.as_deref(),
        }
    }

    pub(super) fn visit_as(&self, suffix: &str, walk: &mut Walk<T>) {
        walk.child(&format!("weight_ih{suffix}"), &self.weight_ih);
        walk.child(&format!("weight_hh{suffix}"), &self.weight_hh);
        walk.child(&format!("bias_ih{suffix}"), &self.bias_ih);
        walk.child(&format!("bias_hh{suffix}"), &self.bias_hh);
        walk.child(&format!("weight_hr{suffix}"), &self.weight_hr);
    }

    pub(super) fn visit_mut_as(&mut self, suffix: &str, walk: &mut WalkMut<T>) {
        walk.child(&format!("weight_ih{suffix}"), &mut self.weight_ih);
        walk.child(&format!("weight_hh{suffix}"), &mut self.weight_hh);
        walk.child(&format!("bias_ih{suffix}"), &mut self.bias_ih);
        walk.child(&format!("bias_hh{suffix}"), &mut self.bias_hh);
        walk.child(&format!("weight_hr{suffix}"), &mut self.weight_hr);
    }

    /// How many numbers there are, and the floating-point operations of one step of one sequence.
    pub(super) fn cost(&self) -> (usize, usize) {
        let matrices =
            self.weight_ih.numel() + self.weight_hh.numel() + self.weight_hr.as_ref().map_or(0, |w| w.numel());
        let biases = [&self.bias_ih, &self.bias_hh].into_iter().flatten().map(|b| b.numel()).sum::<usize>();
        (matrices + biases, 2 * matrices)
    }
}

/// What a layer was made with, under the names that the layers' own options have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub layers: usize,
    pub bias: bool,
    pub batch_first: bool,
    pub dropout: f64,
    pub bidirectional: bool,
    pub proj_size: usize,
}

/// Layers on top of each other, each in one or two directions.
#[derive(Clone, Debug)]
pub(super) struct Stack<T: Float> {
    pub params: Vec<RecurrentParams<T>>,
    kind: &'static str,
    cell: Cell,
    hidden: usize,
    options: Options,
    name: Name,
}

/// The state of all layers and directions, `[layers * directions, batch, ..]`, or without the batch.
pub(super) struct States<T: Float> {
    pub h: Tensor<T>,
    pub c: Option<Tensor<T>>,
}

impl<T: Float> Stack<T> {
    #[track_caller]
    pub fn new(kind: &'static str, cell: Cell, input: usize, hidden: usize, options: Options) -> Stack<T> {
        let Options { layers, bias, dropout, bidirectional, proj_size, .. } = options;
        ensure(input > 0 && hidden > 0 && layers > 0, || {
            format!("{kind}: expected positive sizes, found input {input}, hidden {hidden}, layers {layers}")
        });
        ensure((0.0..=1.0).contains(&dropout), || {
            format!("{kind}: dropout: expected a probability between 0 and 1, found {dropout}")
        });
        ensure(proj_size < hidden, || format!("{kind}: proj_size {proj_size}: expected less than hidden {hidden}"));
        let directions = if bidirectional { 2 } else { 1 };
        let output = directions * if proj_size > 0 { proj_size } else { hidden };
        let input_of = |i: usize| if i < directions { input } else { output };
        let params = (0..layers * directions)
            .map(|i| RecurrentParams::new(cell, input_of(i), hidden, bias, proj_size))
            .collect();
        Stack { params, kind, cell, hidden, options, name: Name::default() }
    }

    fn directions(&self) -> usize {
        if self.options.bidirectional { 2 } else { 1 }
    }

    #[track_caller]
    pub fn forward(
        &self,
        x: &Tensor<T>,
        h: Option<&Tensor<T>>,
        c: Option<&Tensor<T>>,
        lengths: Option<&[usize]>,
    ) -> (Tensor<T>, States<T>) {
        let call = Call::enter(self.kind, Some(&self.name));
        let (shape, batch_first) = (x.shape(), self.options.batch_first);
        let alone = shape.len() == 2;
        let order = match (alone, batch_first) {
            (true, _) => "[steps, input]",
            (_, true) => "[batch, steps, input]",
            _ => "[steps, batch, input]",
        };
        let input = self.params[0].weight_ih.size(1);
        ensure(alone || shape.len() == 3, || {
            format!("recurrent: {shape:?}: expected {order} or [steps, input], found {} dimensions", shape.len())
        });
        let (steps, batch) = match (alone, batch_first) {
            (true, _) => (shape[0], 1),
            (_, true) => (shape[1], shape[0]),
            _ => (shape[0], shape[1]),
        };
        ensure(steps > 0 && batch > 0, || {
            format!("recurrent: {shape:?}: expected {order} with at least one step and one sequence")
        });
        ensure(shape[shape.len() - 1] == input, || {
            format!("recurrent: {shape:?}: expected {order} with inputs of size {input}")
        });
        let output = self.params[0].weight_hh.size(1);
        let fits = |name: &str, state: Option<&Tensor<T>>, size: usize| {
            let (order, expected) = if alone {
                ("[layers * directions, size]", vec![self.params.len(), size])
            } else {
                ("[layers * directions, batch, size]", vec![self.params.len(), batch, size])
            };
            if let Some(state) = state {
                ensure(state.shape() == expected, || {
                    format!("recurrent: state {name} {:?}: expected {order}, {expected:?}", state.shape())
                });
            }
        };
        fits("h", h, output);
        fits("c", c, self.hidden);

        if let Some(lengths) = lengths {
            ensure(lengths.len() == batch, || {
                format!("recurrent: {shape:?}: expected {batch} lengths, found {}", lengths.len())
            });
            ensure(lengths.iter().all(|length| (1..=steps).contains(length)), || {
                format!("recurrent: {shape:?}: expected lengths from 1 to {steps}, found {lengths:?}")
            });
        }
        let x = match (alone, batch_first) {
            (true, _) => x.unsqueeze(1),
            (_, true) => x.transpose(0, 1),
            _ => x.clone(),
        };
        let [h, c] = [h, c].map(|state| state.map(|state| if alone { state.unsqueeze(1) } else { state.clone() }));
        let (h, c) = (h.as_ref(), c.as_ref());
        let (mut y, mut states) = match lengths {
            Some(lengths) if !lengths.is_sorted_by(|a, b| a >= b) => self.sorted(&x, h, c, lengths),
            _ => self.run(&x, h, c, lengths),
        };
        if alone {
            y = y.squeeze(1);
            states = States { h: states.h.squeeze(1), c: states.c.map(|c| c.squeeze(1)) };
        } else if batch_first {
            y = y.transpose(0, 1);
        }
        let y = call.leave(y, |_| {
            let costs = self.params.iter().map(RecurrentParams::cost);
            let (numbers, flops) = costs.fold((0, 0), |sum, cost| (sum.0 + cost.0, sum.1 + cost.1));
            (numbers, (flops * steps * batch) as u64)
        });
        (y, states)
    }

    /// With the longest sequence first, and everything put back in its place.
    #[track_caller]
    fn sorted(
        &self,
        x: &Tensor<T>,
        h: Option<&Tensor<T>>,
        c: Option<&Tensor<T>>,
        lengths: &[usize],
    ) -> (Tensor<T>, States<T>) {
        let batch = lengths.len();
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|&b| std::cmp::Reverse(lengths[b]));
        let mut places = vec![0; batch];
        order.iter().enumerate().for_each(|(place, &b)| places[b] = place as i64);
        let there = Tensor::from_fn(batch, |i| order[i] as i64);
        let back = Tensor::from(places);
        let lengths: Vec<usize> = order.iter().map(|&b| lengths[b]).collect();
        let [h, c] = [h, c].map(|state| state.map(|state| state.index_select(1, &there)));
        let (y, states) = self.run(&x.index_select(1, &there), h.as_ref(), c.as_ref(), Some(&lengths));
        let put_back = |x: Tensor<T>| x.index_select(1, &back);
        (put_back(y), States { h: put_back(states.h), c: states.c.map(put_back) })
    }

    /// Layer by layer: `[steps, batch, input] -> [steps, batch, directions * output]`.
    #[track_caller]
    fn run(
        &self,
        x: &Tensor<T>,
        h: Option<&Tensor<T>>,
        c: Option<&Tensor<T>>,
        lengths: Option<&[usize]>,
    ) -> (Tensor<T>, States<T>) {
        let (mut x, mut hs, mut cs) = (x.clone(), Vec::new(), Vec::new());
        for (layer, params) in self.params.chunks(self.directions()).enumerate() {
            if layer > 0 {
                x = ops::dropout(&x, self.options.dropout);
            }
            let mut outputs = Vec::new();
            for (direction, params) in params.iter().enumerate() {
                let of = |state: Option<&Tensor<T>>| state.map(|state| state.select(0, hs.len() as isize));
                let (h, c) = (of(h), of(c));
                let options = RecurrentOptions { h: h.as_ref(), c: c.as_ref(), reverse: direction == 1, lengths };
                let one = ops::recurrent(self.cell, &x, params.weights(), options);
                outputs.push(one.output);
                hs.push(one.h);
                cs.extend(one.c);
            }
            x = match &outputs[..] {
                [one] => one.clone(),
                both => ops::cat(&both.iter().collect::<Vec<_>>(), 2),
            };
        }
        let all = |states: Vec<Tensor<T>>| ops::stack(&states.iter().collect::<Vec<_>>(), 0);
        (x, States { h: all(hs), c: (!cs.is_empty()).then(|| all(cs)) })
    }

    /// `_l0`, `_l0_reverse`, `_l1`, ..
    fn suffix(&self, i: usize) -> String {
        let (layer, direction) = (i / self.directions(), i % self.directions());
        format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" })
    }
}

impl<T: Float> Module<T> for Stack<T> {
    fn visit(&self, walk: &mut Walk<T>) {
        walk.name(&self.name);
        for (i, params) in self.params.iter().enumerate() {
            params.visit_as(&self.suffix(i), walk);
        }
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        walk.name(&mut self.name);
        for i in 0..self.params.len() {
            let suffix = self.suffix(i);
            self.params[i].visit_mut_as(&suffix, walk);
        }
    }
}
