use super::*;
use crate::kernels::testing::{bits, noise, on_every_machine};

/// Everything that a layer is given.
struct Given<T> {
    x: Vec<T>,
    h: Option<Vec<T>>,
    c: Option<Vec<T>>,
    w_ih: Vec<T>,
    w_hh: Vec<T>,
    b_ih: Option<Vec<T>>,
    b_hh: Option<Vec<T>>,
    w_hr: Option<Vec<T>>,
    dy: Vec<T>,
    dc: Option<Vec<T>>,
}

impl<T: Float> Given<T> {
    fn new(layer: &Layer, all: bool) -> Given<T> {
        let Layer { steps, batch, input, hidden, output, .. } = *layer;
        let (sums, lstm) = (layer.sums(), layer.cell == Cell::Lstm);
        let made =
            |n: usize, seed| noise(n, seed).into_iter().map(|x| T::of(x as f32 as f64 * 0.5)).collect::<Vec<T>>();
        let some = |there: bool, n: usize, seed| there.then(|| made(n, seed));
        Given {
            x: made(steps * batch * input, 1),
            h: some(all, batch * output, 2),
            c: some(all && lstm, batch * hidden, 3),
            w_ih: made(sums * input, 4),
            w_hh: made(sums * output, 5),
            b_ih: some(all, sums, 6),
            b_hh: some(all, sums, 7),
            w_hr: some(output != hidden, output * hidden, 8),
            dy: made(steps * batch * output, 9),
            dc: some(all && lstm, batch * hidden, 10),
        }
    }

    fn weights(&self) -> (State<'_, T>, Weights<'_, T>) {
        let state = State { h: self.h.as_deref(), c: self.c.as_deref() };
        let weights = Weights {
            input: &self.w_ih,
            hidden: &self.w_hh,
            input_bias: self.b_ih.as_deref(),
            hidden_bias: self.b_hh.as_deref(),
            projection: self.w_hr.as_deref(),
            packed: [None; 2],
        };
        (state, weights)
    }

    /// The outputs, and all gradients one after the other.
    fn run(&self, layer: &Layer) -> (Vec<T>, Vec<T>) {
        let Layer { steps, batch, input, hidden, output, .. } = *layer;
        let (places, kept, lstm) = (steps * batch, layer.kept(), layer.cell == Cell::Lstm);
        let all_kept = places * layer.stride();
        // What is not written would be seen.
        let room = |n: usize| vec![T::of(f64::NAN); n];
        let cell_size = if lstm { hidden } else { 0 };
        let (mut y, mut gates, mut cells) = (room(places * output), room(all_kept), room(places * cell_size));
        let (state, w) = self.weights();
        forward(layer, &self.x, state, &w, &mut y, &mut gates, &mut cells);
        let packed = [false, true].map(|hidden| {
            let (_, len) = packs::<T>(layer)[usize::from(hidden)]?;
            let mut to = room(len);
            pack(layer, hidden, if hidden { w.hidden } else { w.input }, &mut to);
            Some(to)
        });
        let packed = packed.each_ref().map(Option::as_deref);
        let (mut again, mut gates_again, mut cells_again) = (room(y.len()), room(gates.len()), room(cells.len()));
        let w_packed = Weights { packed, ..w };
        forward(layer, &self.x, state, &w_packed, &mut again, &mut gates_again, &mut cells_again);
        assert_eq!(bits(&y), bits(&again), "{layer:?}: packed before");
        let (mut bias, mut h, mut c) = (room(kept), room(batch * output), room(batch * cell_size));
        let (mut d, mut dx) = (room(layer.gradients()), room(places * input));
        let (mut dw_ih, mut dw_hh) = (room(layer.sums() * input), room(layer.sums() * output));
        let (mut dw_hr, mut dh, mut m) = (room(output * hidden), room(places * output), room(places * hidden));
        let projected = w.projection.is_some();
        let to = Back {
            room: &mut d,
            x: Some(&mut dx),
            weights: Some((&mut dw_ih, &mut dw_hh)),
            bias: &mut bias,
            h: &mut h,
            c: &mut c,
            projection: projected.then_some([&mut dw_hr, &mut dh, &mut m]),
        };
        let saved = Saved { y: &y, gates: &gates, cells: &cells };
        backward(layer, &self.x, state, &w, saved, &self.dy, self.dc.as_deref(), to);
        let mut all = [bias, h, c, dx, dw_ih, dw_hh].concat();
        if projected {
            all.extend(dw_hr);
        }
        (y, all)
    }
}

/// `[count, x.len()] . x`: a product, by the definition.
fn times(count: usize, rows: &[f64], x: &[f64]) -> Vec<f64> {
    (0..count).map(|i| rows[i * x.len()..].iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

fn plus(mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

/// The outputs, sequence by sequence and step by step, from the formulas in PyTorch's documentation.
fn naive(layer: &Layer, given: &Given<f64>) -> Vec<f64> {
    let Layer { steps, batch, input, hidden, output, .. } = *layer;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut y = vec![0.0; steps * batch * output];
    for b in 0..batch {
        let mut h = given.h.as_ref().map_or(vec![0.0; output], |h| h[b * output..][..output].to_vec());
        let mut c = given.c.as_ref().map_or(vec![0.0; hidden], |c| c[b * hidden..][..hidden].to_vec());
        let length = (0..steps).filter(|&t| layer.active[t] > b).count();
        let order: Vec<usize> = if layer.reverse { (0..length).rev().collect() } else { (0..length).collect() };
        for t in order {
            let zeros = vec![0.0; layer.sums()];
            let of_x = times(layer.sums(), &given.w_ih, &given.x[(t * batch + b) * input..][..input]);
            let of_x = plus(of_x, given.b_ih.as_ref().unwrap_or(&zeros));
            let of_h = plus(times(layer.sums(), &given.w_hh, &h), given.b_hh.as_ref().unwrap_or(&zeros));
            let sum = |gate: usize, j: usize| of_x[gate * hidden + j] + of_h[gate * hidden + j];
            let mut new = Vec::new();
            for j in 0..hidden {
                new.push(match layer.cell {
                    Cell::Tanh => sum(0, j).tanh(),
                    Cell::Relu => sum(0, j).max(0.0),
                    Cell::Lstm => {
                        c[j] = sigmoid(sum(1, j)) * c[j] + sigmoid(sum(0, j)) * sum(2, j).tanh();
                        sigmoid(sum(3, j)) * c[j].tanh()
                    }
                    Cell::Gru => {
                        let (r, z) = (sigmoid(sum(0, j)), sigmoid(sum(1, j)));
                        let n = (of_x[2 * hidden + j] + r * of_h[2 * hidden + j]).tanh();
                        (1.0 - z) * n + z * h[j]
                    }
                });
            }
            h = given.w_hr.as_ref().map_or(new.clone(), |w| times(output, w, &new));
            y[(t * batch + b) * output..][..output].copy_from_slice(&h);
        }
    }
    y
}

/// Steps, sequences, input, hidden, output, and the lengths.
type Size = (usize, usize, usize, usize, usize, Option<&'static [usize]>);

fn layers() -> Vec<Layer> {
    let sizes: [Size; 12] = [
        (1, 1, 1, 1, 1, None),
        (1, 9, 3, 5, 5, None),
        (4, 3, 2, 7, 7, None),
        (5, 4, 3, 33, 33, Some(&[5, 3, 3, 1])),
        (6, 3, 0, 4, 4, Some(&[4, 4, 2])),
        (30, 20, 3, 5, 5, None), // several blocks of steps
        (3, 40, 2, 4, 4, None),  // a part with too many sequences for one
        (5, 37, 17, 73, 73, None),
        (3, 9, 5, 260, 260, Some(&[3, 3, 3, 3, 3, 2, 2, 1, 1])),
        (4, 40, 6, 90, 31, None),
        (2, 9, 8, 400, 400, Some(&[2, 2, 2, 2, 2, 2, 1, 1, 1])), // steps that are shared out
        (2, 3, 400, 256, 256, Some(&[2, 2, 1])),                 // weights that are too large for a cache
    ];
    let mut all = Vec::new();
    for (steps, batch, input, hidden, output, lengths) in sizes {
        for cell in [Cell::Tanh, Cell::Relu, Cell::Lstm, Cell::Gru] {
            for reverse in [false, true] {
                if output == hidden || cell == Cell::Lstm {
                    let count = |t| lengths.map_or(batch, |lengths| lengths.iter().filter(|&&n| n > t).count());
                    let active = (0..steps).map(count).collect();
                    all.push(Layer { cell, steps, batch, input, hidden, output, reverse, active });
                }
            }
        }
    }
    all
}

fn agree<T: Float>(what: &str, layer: &Layer, ours: &[T], expected: &[f64], tolerance: f64) {
    let largest = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        assert!((a.to_f64() - b).abs() <= tolerance * largest, "{what} of {layer:?}, element {i}: {a}, expected {b}");
    }
    assert_eq!(ours.len(), expected.len());
}

#[test]
fn the_outputs_are_those_of_the_formulas_and_the_gradients_the_same_on_every_machine() {
    for layer in layers() {
        for all in [false, true] {
            let exact = Given::<f64>::new(&layer, all);
            let expected = naive(&layer, &exact);
            // That the gradients in f64 are right, finite differences tell (`ops::recurrent`).
            let (_, gradients) = exact.run(&layer);
            let both = |(y, d): &(Vec<f64>, Vec<f64>)| (bits(y), bits(d));
            for (y, d) in on_every_machine(|| exact.run(&layer), both) {
                agree("output", &layer, &y, &expected, 1e-12);
                agree("gradients", &layer, &d, &gradients, 1e-11);
            }
            let single = Given::<f32>::new(&layer, all);
            for (y, d) in on_every_machine(|| single.run(&layer), |(y, d)| (bits(y), bits(d))) {
                agree("f32 output", &layer, &y, &expected, 3e-5);
                agree("f32 gradients", &layer, &d, &gradients, 2e-4);
            }
        }
    }
}

#[test]
fn a_large_batch_is_cut_at_places_that_depend_on_the_sizes() {
    let layer = |batch| Layer {
        cell: Cell::Lstm,
        steps: 64,
        batch,
        input: 128,
        hidden: 256,
        output: 256,
        reverse: false,
        active: vec![batch; 64],
    };
    let parts = |batch| (0..layer(batch).parts()).map(|i| layer(batch).part_at(i)).collect::<Vec<_>>();
    assert_eq!(parts(1), [(0, 1)]);
    assert_eq!(parts(9), [(0, 5), (5, 4)]);
    assert_eq!(parts(32), [(0, 16), (16, 16)]);
    assert_eq!(parts(40), [(0, 16), (16, 16), (32, 8)]);
}
