//! Every operation gives the same bits on a view as on its contiguous copy: values and gradients.

mod registry;

use proptest::prelude::*;
use registry::{Row, rows, values, view};
use wengert::{Rng, Tensor, record};

/// The output and the gradient of every input, as bits.
fn run(row: &Row, inputs: &[Tensor<f64>]) -> Vec<Vec<u64>> {
    let leaves: Vec<_> = inputs.iter().map(Tensor::tracked).collect();
    let y = record(|| (row.f)(&leaves));
    let bits = |x: &Tensor<f64>| x.to_vec().into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let mut all = vec![bits(&y)];
    if y.is_tracked() {
        let cotangent = Tensor::from_fn(y.dims(), |i| (i as f64 * 0.7).cos());
        let grads = y.backward_with(&cotangent);
        all.extend(leaves.iter().map(|x| grads.get(x).map_or(Vec::new(), |grad| bits(&grad))));
    }
    all
}

/// An order of the dimensions from a number.
fn order(rank: usize, mut choice: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..rank).collect();
    let mut out = Vec::new();
    while !left.is_empty() {
        out.push(left.remove(choice % left.len()));
        choice /= left.len() + 1;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_operation_does_not_see_how_its_inputs_lie_in_memory(
        seed in any::<u64>(),
        orders in prop::array::uniform4(any::<u16>()),
        steps in prop::array::uniform4(1usize..4),
        offsets in prop::array::uniform4(0usize..3),
    ) {
        for row in rows() {
            for shapes in &row.cases {
                let mut rng = Rng::new(seed);
                let data: Vec<Vec<f64>> =
                    shapes.iter().map(|shape| values(shape.iter().product(), row.range, &mut rng)).collect();
                let packed: Vec<_> = data.iter().zip(shapes).map(|(d, s)| Tensor::from_slice(d, &s[..])).collect();
                let views: Vec<_> = (0..shapes.len())
                    .map(|i| {
                        let order = order(shapes[i].len(), usize::from(orders[i % 4]));
                        view(&data[i], &shapes[i], &order, steps[i % 4], offsets[i % 4])
                    })
                    .collect();
                prop_assert_eq!(run(&row, &packed), run(&row, &views), "{} {:?}", row.name, shapes);
            }
        }
    }

    #[test]
    fn element_wise_operations_agree_on_random_shapes(
        dims in prop::collection::vec(0usize..5, 0..5),
        kept in prop::array::uniform4(any::<bool>()),
        seed in any::<u64>(),
        order_of in any::<u16>(),
        step in 1usize..4,
    ) {
        let mut rng = Rng::new(seed);
        // The second operand is broadcast along some dimensions.
        let small: Vec<usize> = dims.iter().zip(kept).map(|(&d, keep)| if keep { d } else { 1 }).collect();
        let (a, b) = (values(dims.iter().product(), (0.3, 2.0), &mut rng), values(small.iter().product(), (0.3, 2.0), &mut rng));
        let by = |order: &[usize], step| [view(&a, &dims, order, step, step - 1), view(&b, &small, order, step, 0)];
        let straight: Vec<usize> = (0..dims.len()).collect();
        let (packed, views) = (by(&straight, 1), by(&order(dims.len(), usize::from(order_of)), step));
        let all = rows();
        let like = |name: &str| &all.iter().find(|row| row.name == name).unwrap().cases;
        for row in &all {
            let count = if row.cases == *like("add") { 2 } else { usize::from(row.cases == *like("exp")) };
            if count > 0 && row.range.0 <= 0.3 && row.range.1 >= 2.0 {
                prop_assert_eq!(
                    run(row, &packed[..count]), run(row, &views[..count]), "{} {:?} {:?}", row.name, &dims, &small
                );
            }
        }
    }
}
