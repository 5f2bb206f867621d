//! A tape of a million operations runs backward and is dropped on a small stack.

use wengert::{Tensor, autograd::live_entries, record};

const LENGTH: usize = 1_000_000;

fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(f).unwrap();
    thread.join().expect("no overflow: an overflow would have ended the process");
}

fn chain(x: &Tensor<f64>) -> Tensor<f64> {
    record(|| (0..LENGTH).fold(x.clone(), |y, i| if i % 2 == 0 { y + 1.0 } else { y * 1.000_001 }))
}

// One test, so that nothing else changes the count of live entries meanwhile.
#[test]
fn a_million_operations_run_backward_and_drop_on_128_kib_of_stack() {
    on_a_small_stack(|| {
        let x = Tensor::scalar(0.5).tracked();
        let before = live_entries();
        let y = chain(&x);
        assert_eq!(live_entries() - before, LENGTH);
        let slope = y.backward().of(&x).item();
        // Half a million factors of 1.000001; their product is e^0.49999975, up to rounding.
        assert!((slope - (0.5 * LENGTH as f64 * 1.000_001_f64.ln()).exp()).abs() < 1e-8, "{slope}");
        assert_eq!(live_entries(), before);
    });
    on_a_small_stack(|| {
        let x = Tensor::scalar(0.5).tracked();
        let before = live_entries();
        drop(chain(&x));
        assert_eq!(live_entries(), before);
    });
    on_a_small_stack(|| {
        // The graph of the gradients of a chain is as deep.
        let x = Tensor::scalar(0.5).tracked();
        let before = live_entries();
        let grads = record(|| {
            let y = (0..LENGTH / 10).fold(x.clone(), |y, _| y.sin());
            y.backward_graph()
        });
        drop(grads);
        assert_eq!(live_entries(), before);
    });
}
