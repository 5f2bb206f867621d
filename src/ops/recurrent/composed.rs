//! The steps one by one, of operations that are recorded: for second order.

use super::{Cell, Inputs};
use crate::element::Float;
use crate::kernels::recurrent::Layer;
use crate::ops::{cat, linear, stack};
use crate::tensor::Tensor;

/// What the fused operation gives: the outputs, and behind them the last cell states of an LSTM.
pub(super) fn recurrent<T: Float>(layer: &Layer, inputs: &Inputs<T>) -> Tensor<T> {
    let Layer { cell, steps, batch, hidden, output, .. } = *layer;
    let [Some(x), h, c, Some(w_ih), Some(w_hh), b_ih, b_hh, w_hr] = inputs.each_ref().map(Option::as_ref) else {
        unreachable!("x and the weights are there")
    };
    let mut h = h.cloned().unwrap_or_else(|| Tensor::full([batch, output], T::ZERO));
    let mut c = c.cloned().unwrap_or_else(|| Tensor::full([batch, hidden], T::ZERO));
    let mut outputs: Vec<Option<Tensor<T>>> = vec![None; steps];
    for s in 0..steps {
        let t = if layer.reverse { steps - 1 - s } else { s };
        let active = layer.active[t];
        // The first `active` sequences have this step; the others keep their state.
        let with_others = |new: Tensor<T>, others: &Tensor<T>| {
            if active < batch { cat(&[&new, &others.narrow(0, active, batch - active)], 0) } else { new }
        };
        let before = h.narrow(0, 0, active);
        let of_x = linear(&x.select(0, t as isize).narrow(0, 0, active), w_ih, b_ih);
        let of_h = linear(&before, w_hh, b_hh);
        let gate = |sums: &Tensor<T>, i: usize| sums.narrow(1, i * hidden, hidden);
        let new = match cell {
            Cell::Tanh => (of_x + of_h).tanh(),
            Cell::Relu => (of_x + of_h).relu(),
            Cell::Lstm => {
                let sums = of_x + of_h;
                let (i, f, o) = (gate(&sums, 0).sigmoid(), gate(&sums, 1).sigmoid(), gate(&sums, 3).sigmoid());
                let new_c = f * c.narrow(0, 0, active) + i * gate(&sums, 2).tanh();
                let new = o * new_c.tanh();
                c = with_others(new_c, &c);
                w_hr.map_or(new.clone(), |w| linear(&new, w, None))
            }
            Cell::Gru => {
                let (r, z) = ((gate(&of_x, 0) + gate(&of_h, 0)).sigmoid(), (gate(&of_x, 1) + gate(&of_h, 1)).sigmoid());
                let n = (gate(&of_x, 2) + r * gate(&of_h, 2)).tanh();
                &n + z * (before - &n)
            }
        };
        outputs[t] = Some(with_others(new.clone(), &h.zeros_like()));
        h = with_others(new, &h);
    }
    let outputs: Vec<&Tensor<T>> = outputs.iter().flatten().collect();
    let y = stack(&outputs, 0);
    if cell == Cell::Lstm { cat(&[&y.flatten(0), &c.flatten(0)], 0) } else { y }
}
