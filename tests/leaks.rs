//! Nothing is kept: no tape entry outlives its tensors, and memory is flat after a thousand steps.

use wengert::autograd::{custom, live_entries};
use wengert::nn::{Gru, Layer, Linear, Lstm, Tanh};
use wengert::optim::{Adam, Optimizer};
use wengert::{Tensor, loss::mse_loss, memory, record, sequential};

/// Runs a step a thousand times; after the tenth, live entries, live bytes and requests to the system stay as they are.
fn stays_flat(name: &str, mut step: impl FnMut()) {
    let now = || (live_entries(), memory::stats().live, memory::stats().system_allocations);
    let mut before = now();
    for i in 0..1000 {
        step();
        if i == 9 {
            before = now();
        }
    }
    assert_eq!(now(), before, "{name}: (live entries, live bytes, system allocations)");
}

// One test: the counts are of the whole process.
#[test]
fn a_thousand_steps_leave_nothing_behind() {
    let before = live_entries();
    let x = Tensor::from([1.0, 2.0]).tracked();
    let loss = record(|| x.square().sum());
    assert_eq!(live_entries() - before, 3); // the leaf, the square, the sum
    loss.backward();
    assert_eq!(live_entries() - before, 1);
    drop(x);
    assert_eq!(live_entries(), before);

    let mut net = sequential![Linear::new(20, 300), Tanh, Linear::new(300, 1)];
    let (x, y) = (Tensor::randn([64, 20]), Tensor::randn([64, 1]));
    let mut optimizer = Adam::new(1e-3);
    stays_flat("training", || {
        let loss = record(|| mse_loss(&net.forward(&x), &y));
        optimizer.step(&mut net, &loss.backward());
    });
    stays_flat("forward without backward, recorded", || drop(record(|| mse_loss(&net.forward(&x), &y))));
    stays_flat("forward, not recorded", || drop(net.forward(&x)));
    stays_flat("second order", || {
        let x = x.tracked();
        let loss = record(|| {
            let slopes = net.forward(&x).sum().backward_graph().of(&x);
            slopes.square().mean()
        });
        optimizer.allow_unreached(true);
        optimizer.step(&mut net, &loss.backward());
    });
    stays_flat("saved outputs and custom operations, kept across a step", || {
        let w = Tensor::ones([50, 50]).tracked();
        let loss = record(|| {
            let y = w.exp().sigmoid().sqrt().relu().reciprocal();
            let y = custom("double", [&y], |[x]| x * 2.0, |_, y, grad| [Some(grad * y / y * 2.0)]);
            y.softplus().tanh().sum()
        });
        let kept = loss.clone();
        let grads = loss.backward();
        assert!(grads.of(&w).shape() == kept.backward().of(&w).shape());
    });
    let mut reader = (Lstm::new(6, 12), Gru::new(12, 5));
    let (x, y) = (Tensor::randn([4, 3, 6]), Tensor::randn([1, 3, 5]));
    let mut optimizer = Adam::new(1e-3);
    let mut state = None;
    stays_flat("truncated backpropagation through time", || {
        let loss = record(|| {
            let (y_lstm, new) = reader.0.forward_with(&x, state.as_ref(), Some(&[2, 4, 1]));
            state = Some(new.detach());
            mse_loss(&reader.1.forward(&y_lstm).1, &y)
        });
        optimizer.step(&mut reader, &loss.backward());
    });
    stays_flat("a panic inside record", || {
        let result = wengert::nn::Layer::try_forward(&net, &Tensor::ones([2, 3]));
        assert!(result.is_err());
        assert!(record(|| net.try_forward(&Tensor::ones([2, 3]))).is_err());
    });
}
