//! Every operation against finite differences in `f64`, first and second order, in every layout; every layer, with its
//! parameters; and nothing is left out.

mod registry;

use registry::{LAYS, Lay, input, rows};
use std::collections::BTreeSet;
use std::path::Path;
use wengert::autograd::{gradcheck, gradgradcheck, recorded_ops};
use wengert::nn::{GELU, Layer, LeakyReLU, Linear, ReLU, Sigmoid, Tanh};
use wengert::{Rng, Tensor, record, sequential};

#[test]
fn every_operation_agrees_with_finite_differences_in_every_layout() {
    let mut failures = Vec::new();
    for row in rows() {
        for shapes in &row.cases {
            for lay in LAYS {
                if lay == Lay::Broadcast && row.kinks_at_ties {
                    continue;
                }
                let mut rng = Rng::new(11);
                let inputs: Vec<_> = shapes.iter().map(|shape| input(shape, row.range, lay, &mut rng)).collect();
                if let Err(message) = gradcheck(row.f, &inputs) {
                    failures.push(format!("{} {shapes:?} {lay:?}: {message}", row.name));
                }
                if row.second_order
                    && let Err(message) = gradgradcheck(row.f, &inputs)
                {
                    failures.push(format!("{} {shapes:?} {lay:?}, second order: {message}", row.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The string literals that follow a call in the crate's sources, tests left out.
fn literals_after(calls: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = code.split("#[cfg(test)]").next().unwrap();
            for call in calls {
                for rest in code.split(call).skip(1) {
                    if let Some(literal) = rest.trim_start().strip_prefix('"') {
                        found.insert(literal.split('"').next().unwrap().to_string());
                    }
                }
            }
        }
    }
    found
}

#[test]
fn no_operation_is_outside_the_registry() {
    let mut expected = literals_after(&["record_op(", "record_many(", "record_as(", "view_op(", "extreme("]);
    expected.extend(wengert::ops::unary::NAMES.iter().map(|name| name.to_string()));
    expected.extend(wengert::ops::binary::NAMES.iter().map(|name| name.to_string()));
    assert!(expected.len() > 60, "the sources were not read: {expected:?}");
    let mut checked = BTreeSet::new();
    for row in rows() {
        for shapes in &row.cases {
            let mut rng = Rng::new(11);
            let inputs: Vec<_> =
                shapes.iter().map(|s| input(s, row.range, Lay::Contiguous, &mut rng).tracked()).collect();
            let grads = record(|| {
                let y = (row.f)(&inputs);
                checked.extend(recorded_ops(&y));
                // Adjoints that are operations of their own are seen in the graph of the gradients.
                if row.second_order && y.is_tracked() { Some(y.backward_graph_with(&y.exp())) } else { None }
            });
            for x in &inputs {
                if let Some(grad) = grads.as_ref().and_then(|grads| grads.get(x)) {
                    checked.extend(recorded_ops(&grad));
                }
            }
        }
    }
    let missing: Vec<_> = expected.iter().filter(|name| !checked.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "operations without a row in tests/registry/rows.rs: {missing:?}");
}

/// A layer's gradients of its parameters and of its input against central differences, along random directions.
fn check_layer(name: &str, mut layer: Box<dyn Layer<f64>>, x: Tensor<f64>) {
    let mut rng = Rng::new(5);
    let mut random = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f64>>();
    let leaf = x.tracked();
    let y = record(|| layer.forward(&leaf));
    let cotangent = random(y.numel());
    let grads = y.clone().backward_with(&Tensor::from_slice(&cotangent, y.dims()));
    let loss = |layer: &dyn Layer<f64>, x: &Tensor<f64>| -> f64 {
        // Recorded, so that the layer is in training mode.
        let y = record(|| layer.forward(x));
        y.to_vec().iter().zip(&cotangent).map(|(y, v)| y * v).sum()
    };
    const STEP: f64 = 1e-5;
    let agree = |what: &str, numeric: f64, analytic: f64| {
        assert!((numeric - analytic).abs() <= 1e-6 * (1.0 + numeric.abs()), "{name}, {what}: {numeric} and {analytic}");
    };
    let direction = random(x.numel());
    let moved = |h: f64| {
        let values = x.to_vec().iter().zip(&direction).map(|(x, d)| x + h * d).collect();
        Tensor::from_vec(values, x.dims())
    };
    let numeric = (loss(&*layer, &moved(STEP)) - loss(&*layer, &moved(-STEP))) / (2.0 * STEP);
    let analytic = grads.get(&leaf).map_or(0.0, |g| g.to_vec().iter().zip(&direction).map(|(g, d)| g * d).sum());
    agree("input", numeric, analytic);
    for (parameter, values) in layer.parameters() {
        let direction = random(values.numel());
        let mut at = |h: f64| {
            layer.for_each_param_mut(&mut |name, param| {
                if name == parameter {
                    param.as_mut_slice().iter_mut().zip(&direction).for_each(|(w, d)| *w += h * d);
                }
            });
            loss(&*layer, &x)
        };
        let numeric = (at(STEP) - at(-2.0 * STEP)) / (2.0 * STEP);
        at(STEP); // back to where it was
        let analytic = grads.of(&values).to_vec().iter().zip(&direction).map(|(g, d)| g * d).sum();
        agree(&parameter, numeric, analytic);
    }
}

#[test]
fn every_layer_agrees_with_finite_differences() {
    let randn = |shape: &[usize]| Tensor::randn(shape).cast::<f64>();
    let layers: Vec<(&str, Box<dyn Layer<f64>>, Tensor<f64>)> = vec![
        ("Linear", Box::new(Linear::new(4, 3)), randn(&[5, 4])),
        ("Linear without bias", Box::new(Linear::no_bias(4, 3)), randn(&[2, 5, 4])),
        ("ReLU", Box::new(ReLU), randn(&[3, 4])),
        ("LeakyReLU", Box::new(LeakyReLU::default()), randn(&[3, 4])),
        ("GELU", Box::new(GELU::default()), randn(&[3, 4])),
        ("GELU, tanh", Box::new(GELU { approximate: true }), randn(&[3, 4])),
        ("Sigmoid", Box::new(Sigmoid), randn(&[3, 4])),
        ("Tanh", Box::new(Tanh), randn(&[3, 4])),
        ("Sequential", Box::new(sequential![Linear::new(4, 3), Tanh, Linear::new(3, 2)]), randn(&[5, 4])),
    ];
    for (name, layer, x) in layers {
        check_layer(name, layer, x);
    }
}
