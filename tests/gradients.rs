//! Every operation against finite differences in `f64`, first and second order, in every layout; every layer, with its
//! parameters; and nothing is left out.

mod registry;

use registry::{LAYS, Lay, input, rows};
use std::collections::BTreeSet;
use std::path::Path;
use wengert::autograd::{gradcheck, gradgradcheck, recorded_ops};
use wengert::{Rng, record};

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
