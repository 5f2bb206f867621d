use super::*;
use crate::autograd::{Mode, record, with_mode};
use crate::nn::Module;
use crate::rng::seed;
use crate::shape::catch;

fn names(module: &impl Module) -> Vec<String> {
    module.parameters().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_parameters_have_pytorchs_names_shapes_and_first_values() {
    let options = LstmOptions { layers: 2, bidirectional: true, proj_size: 3, ..Default::default() };
    let lstm = Lstm::with(5, 7, options);
    let mut expected = Vec::new();
    for suffix in ["l0", "l0_reverse", "l1", "l1_reverse"] {
        expected.extend(["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"].map(|n| format!("{n}_{suffix}")));
    }
    assert_eq!(names(&lstm), expected);
    let shapes: Vec<_> = lstm.parameters()[10..15].iter().map(|(_, w)| w.shape().to_vec()).collect();
    assert_eq!(shapes, [vec![28, 6], vec![28, 3], vec![28], vec![28], vec![3, 7]]); // the second layer reads 2 * 3
    assert_eq!(
        names(&Gru::with(2, 3, GruOptions { bias: false, ..Default::default() })),
        ["weight_ih_l0", "weight_hh_l0"]
    );
    assert_eq!(names(&LstmCell::new(2, 3)), ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]);
    let bound = 1.0 / 10.0; // 1 / sqrt(hidden)
    for (name, w) in Rnn::new(50, 100).parameters() {
        let values = w.to_vec();
        let largest = values.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        assert!(largest < bound && largest > 0.9 * bound, "{name}: {largest}");
    }
}

#[test]
fn a_cell_does_the_steps_of_its_layer() {
    seed(1);
    let x = Tensor::randn([3, 2, 4]);
    let (layer, mut cell) = (Lstm::new(4, 5), LstmCell::new(4, 5));
    cell.params = layer.params()[0].clone();
    let (_, last) = layer.forward(&x);
    let state = (0..3).fold(None, |state, t| Some(cell.forward(&x.select(0, t), state.as_ref()))).unwrap();
    for (a, b) in [(&last.h, &state.h), (&last.c, &state.c)] {
        assert!(a.to_vec().iter().zip(b.to_vec()).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn the_order_of_sequences_and_what_stands_in_their_padding_change_nothing() {
    seed(2);
    let options = GruOptions { layers: 2, bidirectional: true, batch_first: true, ..Default::default() };
    let gru = Gru::with(3, 4, options);
    let (x, h) = (Tensor::randn([3, 5, 3]), Tensor::randn([4, 3, 4]));
    let lengths = [2, 5, 3];
    let mut padded = x.to_vec();
    for (b, &length) in lengths.iter().enumerate() {
        padded[(b * 5 + length) * 3..(b + 1) * 5 * 3].fill(f32::NAN);
    }
    let leaf = Tensor::from_vec(padded, [3, 5, 3]).tracked();
    let (y, last) = record(|| gru.forward_with(&leaf, Some(&h), Some(&lengths)));
    for (b, &length) in lengths.iter().enumerate() {
        let alone = |x: &Tensor| x.narrow(0, b, 1);
        let (y_alone, last_alone) = gru.forward_with(&alone(&x).narrow(1, 0, length), Some(&h.narrow(1, b, 1)), None);
        let close = |a: &Tensor, b: &Tensor| a.to_vec().iter().zip(b.to_vec()).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&alone(&y).narrow(1, 0, length), &y_alone));
        assert!(alone(&y).narrow(1, length, 5 - length).to_vec().iter().all(|&y| y == 0.0));
        assert!(close(&last.narrow(1, b, 1), &last_alone));
    }
    let grads = record(|| y.square().sum()).backward();
    let finite = |x: &Tensor| x.to_vec().iter().all(|x| x.is_finite());
    assert!(gru.parameters().iter().all(|(_, w)| finite(&grads.of(w))) && finite(&grads.of(&leaf)));
}

/// Values and gradients of everything that `run` gives for the inputs.
fn values_and_gradients(inputs: &[Tensor], run: impl Fn(&[Tensor]) -> Vec<Tensor>) -> Vec<Vec<f32>> {
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::tracked).collect();
    let outputs = record(|| run(&leaves));
    let loss = record(|| outputs.iter().map(|y| (y.sin() * y).sum()).reduce(|a, b| a + b).unwrap());
    let grads = loss.backward();
    outputs.iter().map(Tensor::to_vec).chain(leaves.iter().map(|x| grads.of(x).to_vec())).collect()
}

#[test]
fn a_sequence_without_batch_gives_what_it_gives_as_a_batch_of_one() {
    seed(4);
    for batch_first in [false, true] {
        let options = LstmOptions { layers: 2, bidirectional: true, proj_size: 2, batch_first, ..Default::default() };
        let lstm = Lstm::with(3, 4, options);
        let inputs = [Tensor::randn([5, 3]), Tensor::randn([4, 2]), Tensor::randn([4, 4])];
        let dim = if batch_first { 0 } else { 1 };
        for lengths in [None, Some(&[4][..])] {
            let alone = values_and_gradients(&inputs, |x| {
                let (y, state) =
                    lstm.forward_with(&x[0], Some(&LstmState { h: x[1].clone(), c: x[2].clone() }), lengths);
                assert_eq!([y.shape(), state.h.shape(), state.c.shape()], [[5, 4], [4, 2], [4, 4]]);
                vec![y, state.h, state.c]
            });
            let batch = values_and_gradients(&inputs, |x| {
                let state = LstmState { h: x[1].unsqueeze(1), c: x[2].unsqueeze(1) };
                let (y, state) = lstm.forward_with(&x[0].unsqueeze(dim), Some(&state), lengths);
                vec![y, state.h, state.c]
            });
            assert_eq!(alone, batch);
        }
    }
    let cell = LstmCell::new(3, 4);
    let inputs = [Tensor::randn([3]), Tensor::randn([4]), Tensor::randn([4])];
    let alone = values_and_gradients(&inputs, |x| {
        let state = cell.forward(&x[0], Some(&LstmState { h: x[1].clone(), c: x[2].clone() }));
        assert_eq!([state.h.shape(), state.c.shape()], [[4], [4]]);
        vec![state.h, state.c]
    });
    let batch = values_and_gradients(&inputs, |x| {
        let state = LstmState { h: x[1].unsqueeze(0), c: x[2].unsqueeze(0) };
        let state = cell.forward(&x[0].unsqueeze(0), Some(&state));
        vec![state.h, state.c]
    });
    assert_eq!(alone, batch);
    assert_eq!(Gru::new(3, 4).forward(&Tensor::zeros([5, 3])).1.shape(), [1, 4]);
    assert_eq!(RnnCell::new(3, 4).forward(&Tensor::zeros([3]), None).shape(), [4]);
}

#[test]
fn dropout_acts_between_layers_in_training_only() {
    seed(3);
    let x = Tensor::randn([4, 2, 3]);
    let rnn = Rnn::with(3, 8, RnnOptions { layers: 2, dropout: 0.5, ..Default::default() });
    let training = || with_mode(Mode::Train, || rnn.forward(&x));
    let (eval, (a, a_last), (b, b_last)) = (rnn.forward(&x).0.to_vec(), training(), training());
    assert_eq!(eval, rnn.forward(&x).0.to_vec());
    assert!(a.to_vec() != b.to_vec() && a.to_vec() != eval);
    // The first layer is the same; what is dropped comes after it.
    assert_eq!(a_last.select(0, 0).to_vec(), b_last.select(0, 0).to_vec());
    let alone = Rnn::with(3, 8, RnnOptions { dropout: 0.5, ..Default::default() });
    assert_eq!(with_mode(Mode::Train, || alone.forward(&x)).0.to_vec(), alone.forward(&x).0.to_vec());
}

#[test]
fn gradients_end_at_a_detached_state() {
    let gru = Gru::new(2, 3);
    let x = Tensor::ones([2, 1, 2]).tracked();
    let grads = record(|| {
        let (_, h) = gru.forward(&x);
        gru.forward_with(&Tensor::ones([1, 1, 2]), Some(&h.detach()), None).0.sum()
    })
    .backward();
    assert!(grads.get(&x).is_none());
    let (_, state) = record(|| Lstm::new(2, 3).forward(&x));
    assert!(state.c.is_tracked() && !state.detach().c.is_tracked() && !state.detach().h.is_tracked());
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |f: &dyn Fn()| catch(f).map_err(|failure| failure.0).unwrap_err();
    let lstm = Lstm::new(3, 4);
    let run = |shape: &[usize], lengths: Option<&[usize]>| {
        refused(&|| {
            lstm.forward_with(&Tensor::zeros(shape), None, lengths);
        })
    };
    assert_eq!(
        run(&[3], None),
        "recurrent: [3]: expected [steps, batch, input] or [steps, input], found 1 dimensions (in Lstm)"
    );
    assert_eq!(run(&[5, 4], None), "recurrent: [5, 4]: expected [steps, input] with inputs of size 3 (in Lstm)");
    assert_eq!(
        run(&[0, 3], None),
        "recurrent: [0, 3]: expected [steps, input] with at least one step and one sequence (in Lstm)"
    );
    assert_eq!(run(&[5, 3], Some(&[5, 5])), "recurrent: [5, 3]: expected 1 lengths, found 2 (in Lstm)");
    assert_eq!(
        run(&[0, 2, 3], None),
        "recurrent: [0, 2, 3]: expected [steps, batch, input] with at least one step and one sequence (in Lstm)"
    );
    assert_eq!(
        run(&[5, 0, 3], None),
        "recurrent: [5, 0, 3]: expected [steps, batch, input] with at least one step and one sequence (in Lstm)"
    );
    assert_eq!(
        run(&[5, 2, 4], None),
        "recurrent: [5, 2, 4]: expected [steps, batch, input] with inputs of size 3 (in Lstm)"
    );
    assert_eq!(run(&[5, 2, 3], Some(&[5])), "recurrent: [5, 2, 3]: expected 2 lengths, found 1 (in Lstm)");
    assert_eq!(run(&[5, 2, 3], Some(&[1, 2, 3])), "recurrent: [5, 2, 3]: expected 2 lengths, found 3 (in Lstm)");
    for lengths in [[0, 5], [6, 5]] {
        let message = format!("recurrent: [5, 2, 3]: expected lengths from 1 to 5, found {lengths:?} (in Lstm)");
        assert_eq!(run(&[5, 2, 3], Some(&lengths)), message);
    }
    let state = LstmState { h: Tensor::zeros([1, 2, 4]), c: Tensor::zeros([2, 4]) };
    assert_eq!(
        refused(&|| {
            lstm.forward_with(&Tensor::zeros([5, 2, 3]), Some(&state), None);
        }),
        "recurrent: state c [2, 4]: expected [layers * directions, batch, size], [1, 2, 4] (in Lstm)"
    );
    assert_eq!(
        refused(&|| {
            lstm.forward_with(&Tensor::zeros([5, 3]), Some(&state), None);
        }),
        "recurrent: state h [1, 2, 4]: expected [layers * directions, size], [1, 4] (in Lstm)"
    );
    assert_eq!(
        refused(&|| {
            GruCell::new(3, 4).forward(&Tensor::zeros([0, 3]), None);
        }),
        "recurrent: [0, 3]: expected [3], or [batch, 3] with at least one sequence (in GruCell)"
    );
    for (h, expected) in [
        (&[1, 4][..], "recurrent: state h [1, 4]: expected one dimension (in GruCell)"),
        (&[3][..], "recurrent: state h [1, 3]: expected [1, 4] (in GruCell)"),
    ] {
        let message = refused(&|| {
            GruCell::new(3, 4).forward(&Tensor::zeros([3]), Some(&Tensor::zeros(h)));
        });
        assert_eq!(message, expected);
    }
    assert_eq!(
        refused(&|| {
            Rnn::new(0, 4);
        }),
        "Rnn: expected positive sizes, found input 0, hidden 4, layers 1"
    );
    let options = LstmOptions { proj_size: 4, ..Default::default() };
    assert_eq!(
        refused(&|| {
            Lstm::<f32>::with(3, 4, options);
        }),
        "Lstm: proj_size 4: expected less than hidden 4"
    );
}
