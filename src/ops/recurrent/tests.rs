use super::*;
use crate::autograd::{gradcheck, gradgradcheck, record};
use crate::kernels::testing::noise;

fn input(shape: &[usize], seed: u64) -> Tensor<f64> {
    Tensor::from_vec(noise(shape.iter().product(), seed), shape)
}

#[derive(Clone, Copy, Debug)]
struct Case {
    cell: Cell,
    reverse: bool,
    lengths: Option<&'static [usize]>,
    bias: bool,
    state: bool,
    projection: bool,
}

const CELLS: [Cell; 4] = [Cell::Tanh, Cell::Relu, Cell::Lstm, Cell::Gru];
const STEPS: usize = 4;
const BATCH: usize = 3;

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for cell in CELLS {
        for reverse in [false, true] {
            for lengths in [None, Some(&[4, 2, 1][..]), Some(&[3, 3, 2][..])] {
                for (bias, state) in [(true, false), (false, true)] {
                    all.push(Case { cell, reverse, lengths, bias, state, projection: false });
                    if cell == Cell::Lstm {
                        all.push(Case { cell, reverse, lengths, bias, state, projection: true });
                    }
                }
            }
        }
    }
    all
}

impl Case {
    /// x, W_ih, W_hh, then what there is of b_ih, b_hh, W_hr, h, c.
    fn inputs(&self) -> Vec<Tensor<f64>> {
        let (hidden, features) = (3, 2);
        let output = if self.projection { 2 } else { hidden };
        let sums = self.cell.gates() * hidden;
        let mut all = vec![input(&[STEPS, BATCH, features], 1), input(&[sums, features], 2), input(&[sums, output], 3)];
        if self.bias {
            all.extend([input(&[sums], 4), input(&[sums], 5)]);
        }
        if self.projection {
            all.push(input(&[output, hidden], 6));
        }
        if self.state {
            all.push(input(&[BATCH, output], 7));
            if self.cell == Cell::Lstm {
                all.push(input(&[BATCH, hidden], 8));
            }
        }
        all
    }

    fn run(&self, inputs: &[Tensor<f64>]) -> Recurrent<f64> {
        let (x, mut rest) = (&inputs[0], inputs[3..].iter());
        let (input_bias, hidden_bias) = if self.bias { (rest.next(), rest.next()) } else { (None, None) };
        let projection = if self.projection { rest.next() } else { None };
        let (h, c) = if self.state { (rest.next(), rest.next()) } else { (None, None) };
        let weights = RecurrentWeights { input: &inputs[1], hidden: &inputs[2], input_bias, hidden_bias, projection };
        recurrent(self.cell, x, weights, RecurrentOptions { h, c, reverse: self.reverse, lengths: self.lengths })
    }

    /// Everything that comes out, in one vector.
    fn all(&self, inputs: &[Tensor<f64>]) -> Tensor<f64> {
        let Recurrent { output, h, c } = self.run(inputs);
        let parts: Vec<_> = [Some(output), Some(h), c].into_iter().flatten().map(|x| x.flatten(0)).collect();
        crate::ops::cat(&parts.iter().collect::<Vec<_>>(), 0)
    }
}

#[test]
fn every_cell_differentiates_once() {
    for case in cases() {
        gradcheck(|x| case.all(x), &case.inputs()).unwrap_or_else(|e| panic!("{case:?}: {e}"));
    }
}

#[test]
fn every_cell_differentiates_twice() {
    for case in cases() {
        gradgradcheck(|x| case.all(x), &case.inputs()).unwrap_or_else(|e| panic!("{case:?}: {e}"));
    }
}

#[test]
fn the_fused_steps_give_what_the_steps_one_by_one_give() {
    for case in cases() {
        let inputs: Vec<_> = case.inputs().iter().map(Tensor::tracked).collect();
        let y = record(|| case.all(&inputs));
        let v = Tensor::from_vec(noise(y.numel(), 9), y.dims());
        let composed = record(|| y.backward_graph_with(&v));
        let fused = y.backward_with(&v);
        for x in &inputs {
            let (a, b) = (fused.of(x).to_vec(), composed.of(x).to_vec());
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12), "{case:?}: {a:?} {b:?}");
        }
    }
}

#[test]
fn frozen_weights_change_no_other_gradient() {
    for case in cases() {
        let inputs = case.inputs();
        let gradient = |frozen: bool| {
            let mut leaves: Vec<_> = inputs.iter().map(Tensor::tracked).collect();
            if frozen {
                leaves[1..].iter_mut().for_each(|x| *x = x.detach());
            }
            record(|| case.all(&leaves).square().sum()).backward().of(&leaves[0]).to_vec()
        };
        assert_eq!(gradient(true), gradient(false), "{case:?}");
    }
}

#[test]
fn weights_that_are_kept_in_order_follow_the_weights() {
    for case in cases() {
        let mut inputs = case.inputs();
        // On the tape nothing is kept.
        let expected = |inputs: &[Tensor<f64>]| {
            let tracked: Vec<_> = inputs.iter().map(Tensor::tracked).collect();
            record(|| case.all(&tracked)).to_vec()
        };
        for change in 0..3 {
            assert_eq!(case.all(&inputs).to_vec(), expected(&inputs), "{case:?} after {change} changes");
            assert_eq!(case.all(&inputs).to_vec(), expected(&inputs), "{case:?} after {change} changes, kept");
            inputs[1 + change % 2].make_mut()[change] += 1.0;
        }
    }
}
