//! Gradients against finite differences.

use super::{Gradients, record, set_recording};
use crate::rng::Rng;
use crate::tensor::Tensor;

/// Step of the central difference; its error is about `h^2` plus `1e-16 / h`.
const STEP: f64 = 1e-5;

/// Compares the gradients of `f` with central differences, in `f64`, along random directions.
///
/// `f` maps the inputs to one tensor of any shape. With a random cotangent `v` and a random direction `d` over all inputs,
/// `v . (f(x + h d) - f(x - h d)) / 2h` must be the gradient of `v . f` times `d` (the covector test of HIPS autograd).
///
/// # Errors
/// A text that says which direction differs, and by how much, when the relative difference exceeds 1e-6 times the size of
/// the terms.
///
/// ```
/// use wengert::{Tensor, autograd::gradcheck};
/// let x = Tensor::randn([2, 3]).cast::<f64>();
/// gradcheck(|x| x[0].tanh() * &x[0], &[x]).unwrap();
/// ```
pub fn gradcheck(f: impl Fn(&[Tensor<f64>]) -> Tensor<f64>, inputs: &[Tensor<f64>]) -> Result<(), String> {
    let mut rng = Rng::new(0x77656e67);
    let leaves: Vec<_> = inputs.iter().map(Tensor::tracked).collect();
    let y = record(|| f(&leaves));
    let cotangent = random(&mut rng, y.shape());
    let shape = y.dims();
    let grads = if y.is_tracked() { y.backward_with(&cotangent) } else { Gradients::default() };
    let gradients: Vec<_> = leaves.iter().map(|x| grads.get(x).unwrap_or_else(|| x.zeros_like()).to_vec()).collect();
    for (x, g) in leaves.iter().zip(&gradients) {
        if x.numel() != g.len() {
            return Err(format!("input of shape {:?} has a gradient of {} elements", x.shape(), g.len()));
        }
    }
    // One direction through all inputs, then one through each alone.
    for only in std::iter::once(None).chain((0..inputs.len()).map(Some)) {
        let direction: Vec<Vec<f64>> = inputs
            .iter()
            .enumerate()
            .map(|(i, x)| match only {
                Some(j) if i != j => vec![0.0; x.numel()],
                _ => random(&mut rng, x.shape()).to_vec(),
            })
            .collect();
        let moved = |h: f64| {
            let at: Vec<_> = inputs.iter().zip(&direction).map(|(x, d)| shifted(x, d, h)).collect();
            let y = record(|| f(&at));
            assert_eq!(y.shape(), &*shape, "the output's shape depends on the input's values");
            y.to_vec()
        };
        let (ahead, behind) = (moved(STEP), moved(-STEP));
        let terms = || cotangent.to_vec().into_iter().zip(ahead.iter().zip(&behind)).map(|(v, (a, b))| v * (a - b));
        let numeric = terms().sum::<f64>() / (2.0 * STEP);
        let products = || gradients.iter().flatten().zip(direction.iter().flatten()).map(|(g, d)| g * d);
        let analytic: f64 = products().sum();
        let size = 1e-2 + terms().map(f64::abs).sum::<f64>() / (2.0 * STEP) + products().map(f64::abs).sum::<f64>();
        let difference = (numeric - analytic).abs();
        if difference.is_nan() || difference > 1e-6 * size {
            let place = only.map_or("all inputs".to_string(), |i| format!("input {i}"));
            return Err(format!("along {place}: finite differences give {numeric:.9e}, the tape {analytic:.9e}"));
        }
    }
    Ok(())
}

/// [`gradcheck`] of the gradients themselves: second order.
///
/// # Errors
/// As [`gradcheck`].
pub fn gradgradcheck(f: impl Fn(&[Tensor<f64>]) -> Tensor<f64>, inputs: &[Tensor<f64>]) -> Result<(), String> {
    let mut rng = Rng::new(0x74617065);
    let y = set_recording(false, || f(inputs));
    let cotangent = random(&mut rng, y.shape());
    for i in 0..inputs.len() {
        // The gradient of input i, as a function of all inputs and of the cotangent.
        let gradient = |all: &[Tensor<f64>]| {
            let (inputs, cotangent) = (&all[..all.len() - 1], &all[all.len() - 1]);
            record(|| {
                // An input that comes as a plain value is differentiated once only, here.
                let inputs: Vec<_> =
                    inputs.iter().map(|x| if x.is_tracked() { x.clone() } else { x.tracked() }).collect();
                let y = f(&inputs);
                if !y.is_tracked() {
                    return inputs[i].zeros_like();
                }
                y.backward_graph_with(cotangent).get(&inputs[i]).unwrap_or_else(|| inputs[i].zeros_like())
            })
        };
        let mut all = inputs.to_vec();
        all.push(cotangent.clone());
        gradcheck(gradient, &all).map_err(|e| format!("gradient of input {i}: {e}"))?;
    }
    Ok(())
}

fn random(rng: &mut Rng, shape: &[usize]) -> Tensor<f64> {
    Tensor::from_fn(shape, |_| rng.normal())
}

/// `x + h d`.
fn shifted(x: &Tensor<f64>, direction: &[f64], h: f64) -> Tensor<f64> {
    let step = Tensor::from_slice(direction, x.dims());
    x.zip_to("shift", &step, move |x, d| x + h * d)
}
