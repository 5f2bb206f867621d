//! The tape as its user meets it: what is recorded, what `Gradients` hold, higher orders, operations of one's own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use wengert::autograd::{Mode, custom, detect_anomaly, gradcheck, gradgradcheck, is_recording, is_training};
use wengert::loss::mse_loss;
use wengert::nn::{Layer, Linear, LinearOptions, Module, Tanh};
use wengert::{Gradients, Rng, Tensor, module, no_record, record, sequential, with_mode};

fn leaf<const N: usize>(values: [f64; N]) -> Tensor<f64> {
    Tensor::from(values).tracked()
}

fn random(shape: &[usize], seed: u64) -> Tensor<f64> {
    let mut rng = Rng::new(seed);
    Tensor::from_fn(shape, |_| rng.normal())
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], within: f64) {
    assert_eq!(found.len(), expected.len());
    let far = found.iter().zip(expected).any(|(a, b)| (a - b).abs() > within * (1.0 + b.abs()) || a.is_nan());
    assert!(!far, "found {found:?}, expected {expected:?}");
}

/// The message of a panic.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("a panic");
    let text = payload.downcast_ref::<String>().cloned();
    text.or(payload.downcast_ref::<&str>().map(|text| text.to_string())).expect("a text")
}

#[test]
fn modes_nest_and_come_back() {
    let state = || (is_recording(), is_training());
    assert_eq!(state(), (false, false));
    record(|| {
        assert_eq!(state(), (true, true));
        no_record(|| {
            assert_eq!(state(), (false, true));
            record(|| assert_eq!(state(), (true, true)));
            assert_eq!(state(), (false, true));
        });
        with_mode(Mode::Eval, || assert_eq!(state(), (true, false)));
        assert_eq!(state(), (true, true));
    });
    with_mode(Mode::Train, || assert_eq!(state(), (false, true)));
    assert_eq!(state(), (false, false));
}

#[test]
fn a_panic_leaves_the_mode_as_it_was() {
    for f in [|| record(|| panic!("inside")), || with_mode(Mode::Train, || panic!("inside"))] {
        assert_eq!(panic_of(f), "inside");
        assert_eq!((is_recording(), is_training()), (false, false));
    }
    record(|| {
        assert_eq!(panic_of(|| no_record(|| panic!("inside"))), "inside");
        assert!(is_recording());
    });
}

#[test]
fn only_what_is_computed_from_tracked_tensors_inside_record_is_recorded() {
    let (x, c) = (leaf([1.0, 2.0]), Tensor::from([3.0, 4.0]));
    assert!(!(&x * &c).is_tracked());
    assert!(record(|| (&x * &c).is_tracked()));
    assert!(!record(|| (&c * &c).is_tracked()));
    assert!(!record(|| no_record(|| &x * &c).is_tracked()));
    assert!(!thread::scope(|scope| record(|| scope.spawn(|| (&x * &c).is_tracked()).join().unwrap())));
}

#[test]
fn a_detached_tensor_is_a_constant() {
    let x = leaf([2.0, 3.0]);
    let grads = record(|| (&x * x.detach()).sum()).backward(); // x times the constant x
    assert_eq!(grads.of(&x).to_vec(), [2.0, 3.0]);
    let y = record(|| x.square().detach());
    assert!(!y.is_tracked() && y.to_vec() == [4.0, 9.0]);
}

#[test]
fn a_tape_that_is_kept_can_be_walked_twice() {
    let x = leaf([2.0]);
    let loss = record(|| (&x * &x * &x).sum());
    let kept = loss.clone();
    assert_eq!(loss.backward().of(&x).to_vec(), [12.0]);
    assert_eq!(kept.backward().of(&x).to_vec(), [12.0]);
}

#[test]
fn a_tensor_used_twice_gets_the_sum_of_both_gradients() {
    let x = leaf([2.0, -1.0]);
    let grads = record(|| (x.square() + &x * 3.0 + &x).sum()).backward();
    assert_eq!(grads.of(&x).to_vec(), [8.0, 2.0]); // 2x + 4
    // Also where it meets itself in one operation.
    assert_eq!(record(|| (&x - &x).sum()).backward().of(&x).to_vec(), [0.0, 0.0]);
    assert_eq!(record(|| (&x / &x).sum()).backward().of(&x).to_vec(), [0.0, 0.0]);
    let m = Tensor::from([[1.0, 2.0], [3.0, 4.0]]).tracked();
    // d sum(A A) = 1 A^T + A^T 1
    assert_eq!(record(|| m.matmul(&m).sum()).backward().of(&m).to_vec(), [7.0, 11.0, 9.0, 13.0]);
}

#[test]
fn broadcast_operands_get_gradients_of_their_own_shape() {
    let (column, row) = (Tensor::from([[1.0], [2.0]]).tracked(), leaf([3.0, 4.0, 5.0]));
    let grads = record(|| (&column * &row).sum()).backward();
    assert_eq!((grads.of(&column).shape(), grads.of(&column).to_vec()), (&[2, 1][..], vec![12.0, 12.0]));
    assert_eq!((grads.of(&row).shape(), grads.of(&row).to_vec()), (&[3][..], vec![3.0; 3]));
    let scalar = Tensor::scalar(2.0).tracked();
    let grads = record(|| (&row / &scalar).sum()).backward();
    assert_eq!(grads.of(&row).to_vec(), [0.5; 3]);
    assert_eq!((grads.of(&scalar).shape().len(), grads.of(&scalar).item()), (0, -3.0)); // -12 / 4
}

#[test]
fn gradients_are_numbers_where_the_function_is_flat_or_has_a_corner() {
    // PyTorch gives 0 in all of these.
    let slope = |f: fn(&Tensor<f64>) -> Tensor<f64>, x: f64| {
        let x = leaf([x]);
        let slope = record(|| f(&x).sum().backward_graph().of(&x));
        assert_eq!(slope.to_vec(), [0.0]);
    };
    for x in [0.0, f64::INFINITY, f64::NEG_INFINITY, -1.5] {
        slope(Tensor::sign, x);
        slope(Tensor::floor, x);
        slope(Tensor::ceil, x);
        slope(Tensor::round, x);
        slope(|x| x.powf(0.0), x);
    }
    slope(Tensor::abs, 0.0);
    slope(Tensor::relu, 0.0);
    slope(Tensor::norm, 0.0);
    slope(|x| x.powf(2.0), 0.0);
    slope(|x| record(|| x.powf(1.0).sum().backward_graph().of(x)), 0.0);
}

#[test]
fn a_cast_carries_gradients_between_f32_and_f64() {
    let (x, w) = (Tensor::from([1.0_f32, 2.0]).tracked(), leaf([3.0, 5.0]));
    let grads = record(|| (x.cast::<f64>() * &w).square().sum().cast::<f32>()).backward();
    assert_eq!(grads.of(&x).to_vec(), [18.0_f32, 100.0]); // 2 x w^2
    assert_eq!(grads.of(&w).to_vec(), [6.0_f64, 40.0]); // 2 x^2 w
}

#[test]
fn gradients_can_be_looked_up_replaced_taken_and_scaled() {
    let (x, y, other) = (leaf([3.0]), leaf([4.0, 0.0]), leaf([1.0]));
    let mut grads = record(|| (x.square() * 0.5).sum() + (y.square() * 0.5).sum()).backward();
    assert_eq!((grads.len(), grads.is_empty()), (2, false));
    assert!(grads.contains(&x) && !grads.contains(&other) && !grads.contains(&x.detach()));
    assert!(grads.get(&other).is_none());
    assert_eq!(grads.of(&y).to_vec(), [4.0, 0.0]);
    assert!(panic_of(|| grads.of(&other)).contains("did not reach"));

    assert_eq!(grads.global_norm(), 5.0); // sqrt(3^2 + 4^2)
    grads.scale(2.0);
    assert_eq!((grads.of(&x).item(), grads.global_norm()), (6.0, 10.0));
    assert_eq!(grads.clip_norm(20.0), 10.0);
    assert_eq!(grads.of(&x).item(), 6.0); // below the limit nothing happens
    assert_eq!(grads.clip_norm(1.0), 10.0);
    assert_close(&[grads.of(&x).item(), grads.of(&y).get(&[0])], &[0.6, 0.8], 1e-6);

    grads.set(&x, Tensor::from([7.0]));
    assert_eq!(grads.of(&x).item(), 7.0);
    assert!(panic_of(|| grads.set(&x, Tensor::from([7.0, 8.0]))).contains("[2]"));
    assert_eq!(grads.take(&x).map(|grad| grad.item()), Some(7.0));
    assert!(!grads.contains(&x) && grads.take(&x).is_none());
}

#[test]
fn gradients_of_parts_add_up_to_those_of_the_whole_batch() {
    let net: Linear<f64> = Linear::with(3, 2, LinearOptions::default());
    let (x, t) = (random(&[8, 3], 1), random(&[8, 2], 2));
    let loss = |from: usize, count: usize| {
        record(|| (net.forward(&x.narrow(0, from, count)).tanh() - t.narrow(0, from, count)).square().sum() / 8.0)
    };
    let whole = loss(0, 8).backward();
    let mut parts = Gradients::default();
    parts += loss(0, 4).backward();
    for parts in [parts + loss(4, 4).backward(), loss(0, 5).backward() + loss(5, 3).backward()] {
        assert_close(&parts.of(&net.weight).to_vec(), &whole.of(&net.weight).to_vec(), 1e-14);
    }
    // A loss that reached only some leaves adds to those.
    let bias = net.bias.as_ref().unwrap();
    let sum = record(|| bias.sum()).backward() + record(|| net.weight.sum()).backward();
    assert_eq!((sum.len(), sum.of(bias).to_vec()), (2, vec![1.0, 1.0]));
}

#[test]
fn derivatives_can_be_taken_again_and_again() {
    let x = leaf([0.7]);
    // x^4 sin x: its derivatives by hand.
    let (s, c, v) = (0.7_f64.sin(), 0.7_f64.cos(), 0.7_f64);
    let second = 12.0 * v * v * s + 8.0 * v.powi(3) * c - v.powi(4) * s;
    let third = 24.0 * v * s + 36.0 * v * v * c - 12.0 * v.powi(3) * s - v.powi(4) * c;
    record(|| {
        let y = (x.powf(4.0) * x.sin()).sum();
        let d1 = y.backward_graph().of(&x).sum();
        let d2 = d1.backward_graph().of(&x).sum();
        assert_close(&[d2.item()], &[second], 1e-13);
        assert_close(&d2.backward().of(&x).to_vec(), &[third], 1e-12);
    });
}

#[test]
fn gradients_of_chosen_leaves_are_the_same_and_nothing_else_is_computed() {
    let (x, w, other) = (random(&[3, 4], 1).tracked(), random(&[4, 2], 2).tracked(), leaf([0.5]));
    // Its rule must not be asked for what only `other` needs.
    let only_other =
        || custom("only_other", [&other], |[x]| x * 1.0, |_, _, _| panic!("nobody wanted the gradient of `other`"));
    record(|| {
        let y = x.matmul(&w).tanh();
        let all = (&y * &y).sum().backward_graph();
        let grads = ((&y * &y).sum() + only_other().sum()).backward_graph_only(&[&x]);
        assert!(grads.contains(&x) && !grads.contains(&w) && !grads.contains(&other) && grads.len() == 1);
        assert_eq!(grads.of(&x).to_vec(), all.of(&x).to_vec());
        // Differentiated again, both know what the slope depends on.
        let [again, once_more] = [&grads, &all].map(|grads| grads.of(&x).square().sum().backward());
        assert_eq!(again.of(&w).to_vec(), once_more.of(&w).to_vec());
        // What does not depend on a leaf has no gradient for it.
        assert!(y.sum().backward_graph_only(&[&other]).is_empty());
    });
}

#[test]
#[should_panic(expected = "backward_graph_only: tensor 1, of shape [2], is no parameter or `.tracked()` tensor")]
fn gradients_of_chosen_leaves_refuse_what_is_no_leaf() {
    let x = leaf([1.0, 2.0]);
    record(|| {
        let y = x.exp();
        y.sum().backward_graph_only(&[&x, &y])
    });
}

#[test]
fn a_hessian_vector_product_agrees_with_differences_of_gradients() {
    let mut net = sequential![
        Linear::<f64>::with(3, 5, LinearOptions::default()),
        Tanh,
        Linear::<f64>::with(5, 1, LinearOptions::default())
    ];
    let (x, t) = (random(&[6, 3], 3), random(&[6, 1], 4));
    let parameters = net.parameters();
    let direction: Vec<_> = parameters.iter().zip(5..).map(|((_, w), seed)| random(w.shape(), seed)).collect();
    // d/dw (gradient . v) = H v
    let product = record(|| {
        let grads = mse_loss(&net.forward(&x), &t).backward_graph();
        let along = parameters.iter().zip(&direction).map(|((_, w), v)| (grads.of(w) * v).sum());
        along.reduce(|a, b| a + b).unwrap().backward()
    });
    let product: Vec<f64> =
        parameters.iter().flat_map(|(_, w)| product.get(w).unwrap_or_else(|| w.zeros_like()).to_vec()).collect();

    let h = 1e-5;
    let mut gradient_after = |step: f64| -> Vec<f64> {
        let mut places = direction.iter();
        net.for_each_param_mut(&mut |_, w| {
            let moved = w.detach() + places.next().unwrap() * step;
            w.set(&moved);
        });
        let grads = record(|| mse_loss(&net.forward(&x), &t)).backward();
        net.parameters().iter().flat_map(|(_, w)| grads.of(w).to_vec()).collect()
    };
    let (ahead, behind) = (gradient_after(h), gradient_after(-2.0 * h));
    let differences: Vec<f64> = ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * h)).collect();
    assert_close(&product, &differences, 1e-8);
}

#[test]
fn a_gradient_penalty_trains_the_weights() {
    // WGAN-GP (Gulrajani et al., 2017): (|d critic / dx| - 1)^2, for a critic whose derivative is known: w . x, w = (3, 4).
    let w = Tensor::from([[3.0], [4.0]]).tracked();
    let x = random(&[5, 2], 6).tracked();
    let penalty = record(|| {
        let slope = x.matmul(&w).sum().backward_graph().of(&x); // every row is w
        (slope.square().sum_dim(1, false).sqrt() - 1.0).square().mean()
    });
    assert_close(&[penalty.item()], &[16.0], 1e-14); // (5 - 1)^2
    // 2 (|w| - 1) w / |w|
    assert_close(&penalty.backward().of(&w).to_vec(), &[4.8, 6.4], 1e-14);
}

/// `x^3` with the given factor in its derivative; 3 is right.
fn cube(x: &Tensor<f64>, factor: f64) -> Tensor<f64> {
    custom("cube", [x], |[x]| x * x * x, move |[x], _, grad| [Some(grad * x * x * factor)])
}

#[test]
fn a_custom_operation_has_first_and_second_derivatives() {
    let x = leaf([2.0, -1.0]);
    let grads = record(|| {
        let slope = cube(&x, 3.0).sum().backward_graph().of(&x);
        assert_eq!(slope.to_vec(), [12.0, 3.0]);
        slope.sum().backward()
    });
    assert_eq!(grads.of(&x).to_vec(), [12.0, -6.0]); // 6x
    assert!(!cube(&x, 3.0).is_tracked());
}

#[test]
fn a_custom_gradient_of_the_wrong_shape_panics_with_the_operations_name() {
    let x = leaf([2.0, -1.0]);
    let y = record(|| custom("halve", [&x], |[x]| x * 0.5, |_, _, _| [Some(Tensor::from([0.5]))]));
    let message = panic_of(|| y.backward_with(&Tensor::from([1.0, 1.0])));
    assert_eq!(message, "halve: [2]: the rule's gradient of input 0 has shape [1]");
}

#[test]
fn gradcheck_accepts_a_right_rule_and_refuses_a_wrong_one() {
    let x = random(&[2, 3], 7);
    gradcheck(|x| cube(&x[0], 3.0).tanh(), std::slice::from_ref(&x)).unwrap();
    let error = gradcheck(|x| cube(&x[0], 3.001).tanh(), std::slice::from_ref(&x)).unwrap_err();
    assert!(error.contains("finite differences give"), "{error}");
    // A gradient that is missing is a gradient of 0.
    let cut = gradcheck(|x| &x[0] * x[1].detach(), &[x.clone(), x.clone()]);
    assert!(cut.unwrap_err().contains("along"));
    // Right for one input only.
    let product = |db: f64| {
        move |x: &[Tensor<f64>]| {
            custom("product", [&x[0], &x[1]], |[a, b]| a * b, move |[a, b], _, g| [Some(g * b), Some(g * a * db)])
        }
    };
    gradcheck(product(1.0), &[x.clone(), &x + 1.0]).unwrap();
    assert!(gradcheck(product(-1.0), &[x.clone(), &x + 1.0]).is_err());
    assert!(gradcheck(|x| custom("nan", [&x[0]], |[x]| x * 1.0, |_, _, g| [Some(g * f64::NAN)]), &[x]).is_err());
}

#[test]
fn gradgradcheck_accepts_a_right_rule_and_refuses_one_that_is_wrong_in_second_order_only() {
    let x = random(&[4], 8);
    gradgradcheck(|x| cube(&x[0], 3.0).tanh(), std::slice::from_ref(&x)).unwrap();
    // The square of x enters the derivative as a constant: right at first order, wrong at second.
    let frozen = |x: &[Tensor<f64>]| {
        custom("cube", [&x[0]], |[x]| x * x * x, |[x], _, grad| [Some(grad * (x * x).detach() * 3.0)])
    };
    gradcheck(frozen, std::slice::from_ref(&x)).unwrap();
    let error = gradgradcheck(frozen, &[x]).unwrap_err();
    assert!(error.starts_with("gradient of input 0: "), "{error}");
}

#[derive(Clone)]
struct Net {
    first: Linear,
    second: Linear,
}
module!(Net { first, second });

impl Net {
    fn new(seed: u64) -> Net {
        wengert::seed(seed);
        Net { first: Linear::new(4, 8), second: Linear::new(8, 1) }
    }
}

impl Layer for Net {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.second.forward(&self.first.forward(x).tanh())
    }
}

#[test]
fn detect_anomaly_names_the_operation_its_place_and_its_layer() {
    let x = Tensor::from([0.0_f32, 1.0]).tracked();
    let loss = || record(|| x.sqrt().sum());
    assert_eq!(loss().backward().of(&x).to_vec(), [f32::INFINITY, 0.5]);
    let message = panic_of(|| detect_anomaly(|| loss().backward()));
    assert!(message.starts_with("backward: the gradient of input 0 of sqrt at "), "{message}");
    assert!(message.contains(file!()), "{message}");
    assert!(message.ends_with("has 1 elements that are NaN or infinite (shape [2])"), "{message}");

    let mut net = Net::new(1);
    net.second.bias.as_mut().unwrap().as_mut_slice()[0] = f32::NAN;
    let (x, t) = (Tensor::ones([3, 4]), Tensor::ones([3, 1]));
    assert_eq!(net.parameters().len(), 4); // the walk names the layers
    let loss = record(|| mse_loss(&net.forward(&x), &t));
    let message = panic_of(|| detect_anomaly(|| loss.backward()));
    assert!(message.contains("mse_loss at "), "{message}");

    net.second.bias.as_mut().unwrap().as_mut_slice()[0] = 0.0;
    net.second.weight.as_mut_slice()[0] = f32::INFINITY;
    let loss = record(|| net.forward(&x).sum());
    let message = panic_of(|| detect_anomaly(|| loss.backward()));
    assert!(message.contains("of linear at ") && message.contains(" in second has "), "{message}");
    // Afterwards nothing is checked any more.
    record(|| net.forward(&x).sum()).backward();
}

#[test]
fn many_threads_predict_with_one_model() {
    let net = Net::new(2);
    let x = Tensor::randn([16, 4]);
    let expected = net.forward(&x).to_vec();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| net.forward(&x).to_vec())).collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
    });
}

#[test]
fn threads_record_apart_and_their_gradients_add_up() {
    let net = Net::new(3);
    let (x, t) = (Tensor::randn([16, 4]), Tensor::randn([16, 1]));
    let loss = |i: usize| record(|| (net.forward(&x.narrow(0, 4 * i, 4)) - t.narrow(0, 4 * i, 4)).square().sum());
    let apart = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|i| scope.spawn(move || loss(i).backward())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).fold(Gradients::default(), |sum, part| sum + part)
    });
    let whole = (0..4).map(loss).reduce(|a, b| record(|| a + b)).unwrap().backward();
    for (name, w) in net.parameters() {
        let within = 1e-5 * (1.0 + whole.of(&w).norm().item());
        assert!((apart.of(&w) - whole.of(&w)).abs().max().item() < within, "{name}");
    }
    // A tape may be recorded on one thread and walked on another.
    let loss = loss(0);
    let there = thread::scope(|scope| scope.spawn(move || loss.backward()).join().unwrap());
    assert_eq!(there.len(), 4);
}
