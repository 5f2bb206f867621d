//! Tensors as their user meets them: what they are made of, how they share storage, and what NumPy and PyTorch would give.

use wengert::nn::{BatchNorm2d, Conv2d, Embedding, Linear, Param, Sequential};
use wengert::ops::{cat, stack, step};
use wengert::{DType, Element, Gradients, Rng, Tensor};

/// Counts up from 0 in the given shape.
fn count(shape: &[usize]) -> Tensor<i64> {
    Tensor::from_fn(shape, |i| i as i64)
}

#[track_caller]
fn assert_is<T: Element>(x: &Tensor<T>, shape: &[usize], elements: &[T]) {
    assert_eq!(x.shape(), shape);
    assert_eq!(x.to_vec(), elements);
}

/// Where a tensor's first element lies.
fn place<T: Element>(x: &Tensor<T>) -> *const T {
    x.as_slice().expect("a contiguous tensor").as_ptr()
}

#[test]
fn constructors_give_shape_type_and_row_major_elements() {
    assert_is(&Tensor::from([[1.0_f64, 2.0], [3.0, 4.0]]), &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    assert_is(&Tensor::from([[[1_u8], [2]], [[3], [4]]]), &[2, 2, 1], &[1, 2, 3, 4]);
    assert_is(&Tensor::from(vec![true, false]), &[2], &[true, false]);
    assert_is(&Tensor::from(&[5_i64, 6][..]), &[2], &[5, 6]);
    assert_is(&Tensor::from(2.5_f32), &[], &[2.5]);
    assert_is(&Tensor::scalar(7_i64), &[], &[7]);
    assert_is(&Tensor::from_vec(vec![1_i64, 2, 3, 4, 5, 6], [2, 3]), &[2, 3], &[1, 2, 3, 4, 5, 6]);
    assert_is(&Tensor::from_slice(&[1.0_f32, 2.0], vec![2, 1]), &[2, 1], &[1.0, 2.0]);
    assert_is(&Tensor::full((), 9_u8), &[], &[9]);
    assert_is(&Tensor::zeros(3), &[3], &[0.0; 3]);
    assert_is(&Tensor::ones([2, 0]), &[2, 0], &[]);
    assert_is(&Tensor::eye(2), &[2, 2], &[1.0, 0.0, 0.0, 1.0]);
    assert_is(&Tensor::<i64>::arange(-2, 2), &[4], &[-2, -1, 0, 1]);
    assert_is(&Tensor::<i64>::arange(2, -2), &[0], &[]);
    assert_is(&Tensor::linspace(0.0, 1.0, 5), &[5], &[0.0, 0.25, 0.5, 0.75, 1.0]);
    assert_is(&Tensor::linspace(3.0, 4.0, 1), &[1], &[3.0]);
    assert_eq!(Tensor::linspace(0.1, 0.7, 23).get(&[22]), 0.7);
    assert_is(&Tensor::from([3_u8, 4]).zeros_like(), &[2], &[0, 0]);
    assert_is(&Tensor::from([[3.0_f64]]).ones_like(), &[1, 1], &[1.0]);
}

#[test]
fn every_element_type_tells_its_name() {
    assert_eq!(Tensor::zeros(1).dtype(), DType::F32);
    assert_eq!(Tensor::from([1.0_f64]).dtype(), DType::F64);
    assert_eq!(Tensor::<i64>::arange(0, 1).dtype(), DType::I64);
    assert_eq!(Tensor::from([1_u8]).dtype(), DType::U8);
    assert_eq!(Tensor::from([true]).dtype().to_string(), "bool");
}

#[test]
fn random_constructors_draw_from_the_seed_or_from_the_generator_given() {
    wengert::seed(3);
    let (a, b) = (Tensor::rand([2, 3]), Tensor::rand([2, 3]));
    wengert::seed(3);
    assert_eq!(Tensor::rand([2, 3]).to_vec(), a.to_vec());
    assert_ne!(a.to_vec(), b.to_vec());
    assert_eq!(Tensor::rand_with([2, 3], &mut Rng::new(3)).to_vec(), a.to_vec());
    // Six standard errors: 1 / sqrt(12 n) of the uniform mean, 1 / sqrt(n) of the normal one.
    let n = 20_000;
    assert!((Tensor::rand(n).mean().item() - 0.5).abs() < 6.0 / (12.0 * n as f32).sqrt());
    assert!(Tensor::randn(n).mean().item().abs() < 6.0 / (n as f32).sqrt());
    assert!((Tensor::randn(n).std().item() - 1.0).abs() < 6.0 / (2.0 * n as f32).sqrt());
}

#[test]
fn operators_take_values_and_references_and_scalars_on_both_sides() {
    let (a, b) = (Tensor::from([6.0_f32, 8.0]), Tensor::from([2.0, 4.0]));
    for y in [&a + &b, &a + b.clone(), a.clone() + &b, a.clone() + b.clone(), a.add(&b)] {
        assert_eq!(y.to_vec(), [8.0, 12.0]);
    }
    for y in [&a - &b, &a - b.clone(), a.clone() - &b, a.clone() - b.clone(), a.sub(&b)] {
        assert_eq!(y.to_vec(), [4.0, 4.0]);
    }
    for y in [&a * &b, &a * b.clone(), a.clone() * &b, a.clone() * b.clone(), a.mul(&b)] {
        assert_eq!(y.to_vec(), [12.0, 32.0]);
    }
    for y in [&a / &b, &a / b.clone(), a.clone() / &b, a.clone() / b.clone(), a.div(&b)] {
        assert_eq!(y.to_vec(), [3.0, 2.0]);
    }
    assert_eq!([&a + 1.0, a.clone() + 1.0, 1.0 + &a, 1.0 + a.clone()].map(|y| y.to_vec()), [[7.0, 9.0]; 4]);
    assert_eq!([&a * 2.0, a.clone() * 2.0, 2.0 * &a, 2.0 * a.clone()].map(|y| y.to_vec()), [[12.0, 16.0]; 4]);
    assert_eq!([&a - 1.0, a.clone() - 1.0].map(|y| y.to_vec()), [[5.0, 7.0]; 2]);
    assert_eq!([1.0 - &a, 1.0 - a.clone()].map(|y| y.to_vec()), [[-5.0, -7.0]; 2]);
    assert_eq!([&a / 2.0, a.clone() / 2.0].map(|y| y.to_vec()), [[3.0, 4.0]; 2]);
    assert_eq!([24.0 / &a, 24.0 / a.clone()].map(|y| y.to_vec()), [[4.0, 3.0]; 2]);
    assert_eq!([-&a, -a.clone(), a.neg()].map(|y| y.to_vec()), [[-6.0, -8.0]; 3]);
    assert_eq!((1.0_f64 - Tensor::from([0.25_f64])).to_vec(), [0.75]);
}

#[test]
fn quotients_are_rounded_once() {
    // 49 (1 / 49) is 0.9999999999999999 in f64, 41 (1 / 41) is 0.99999994 in f32.
    assert_eq!((49.0 / Tensor::from([49.0_f64])).to_vec(), [1.0]);
    assert_eq!((41.0 / Tensor::from([41.0_f32])).to_vec(), [1.0]);
    assert_eq!((Tensor::from([49.0_f64]) / 49.0).to_vec(), [1.0]);
    assert_eq!(Tensor::full([49], 1.0_f64).mean().item(), 1.0);
    assert_eq!(Tensor::ones([2, 41]).mean_dim(1, false).to_vec(), [1.0; 2]);
    // 1 / 1e-40 is beyond f32; 0 / 1e-40 is not.
    assert_eq!((0.0 / Tensor::from([1e-40_f32])).to_vec(), [0.0]);
}

#[test]
fn integer_arithmetic_wraps_around_and_divides_towards_zero() {
    let (a, b) = (Tensor::from([7_i64, -7, i64::MAX]), Tensor::from([2_i64, 2, 1]));
    for y in [&a + &b, a.clone() + &b, &a + b.clone(), a.clone() + b.clone()] {
        assert_eq!(y.to_vec(), [9, -5, i64::MIN]);
    }
    assert_eq!((&a / &b).to_vec(), [3, -3, i64::MAX]);
    assert_eq!((&a * -2).to_vec(), [-14, 14, 2]);
    assert_eq!((a.clone() - 1).to_vec(), [6, -8, i64::MAX - 1]);
    assert_eq!([10 - &b, 10 - b.clone()].map(|y| y.to_vec()), [[8, 8, 9]; 2]);
    assert_eq!([-&b, -b.clone()].map(|y| y.to_vec()), [[-2, -2, -1]; 2]);
    assert_eq!((Tensor::from([250_u8, 3]) + 10).to_vec(), [4, 13]);
    assert_eq!((Tensor::from([[1_u8], [2]]) * Tensor::from([3_u8, 200])).to_vec(), [3, 200, 6, 144]);
}

#[test]
fn sums_of_integers_wrap_around_too() {
    assert_eq!(Tensor::from([200_u8, 100]).sum().item(), 44);
    assert_eq!(Tensor::from([200_u8, 100]).cast::<i64>().sum().item(), 300);
    assert_eq!(Tensor::from([i64::MAX, 1]).sum().item(), i64::MIN);
    assert_eq!(Tensor::full([3, 300], 1_u8).sum_dim(1, false).to_vec(), [44; 3]);
}

#[test]
fn shapes_broadcast_as_in_numpy() {
    let shape = |a: &[usize], b: &[usize]| (Tensor::zeros(a) + Tensor::zeros(b)).shape().to_vec();
    assert_eq!(shape(&[8, 1, 6, 1], &[7, 1, 5]), [8, 7, 6, 5]); // NumPy's own example
    assert_eq!(shape(&[], &[2, 3]), [2, 3]);
    assert_eq!(shape(&[1], &[0]), [0]);
    assert_eq!(shape(&[3, 1], &[1, 0]), [3, 0]);
    let outer = Tensor::from([[1.0_f32], [2.0]]) * Tensor::from([10.0, 20.0, 30.0]);
    assert_is(&outer, &[2, 3], &[10.0, 20.0, 30.0, 20.0, 40.0, 60.0]);
    let wide = count(&[2, 1, 3]) + count(&[2, 1]) * 100;
    assert_is(&wide, &[2, 2, 3], &[0, 1, 2, 100, 101, 102, 3, 4, 5, 103, 104, 105]);
}

#[test]
fn a_handle_kept_aside_never_sees_writes() {
    let x = Tensor::from([1.0_f32, 2.0, 3.0, 4.0]);
    let (copy, view) = (x.clone(), x.reshape([2, 2]).t());
    let y = -(x * 10.0 + &copy);
    assert_eq!(y.to_vec(), [-11.0, -22.0, -33.0, -44.0]);
    assert_eq!(copy.to_vec(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(view.to_vec(), [1.0, 3.0, 2.0, 4.0]);

    let mut param = Param::new(copy.clone());
    let seen = param.detach();
    param.as_mut_slice()[0] = 9.0;
    assert_eq!((param.get(&[0]), seen.get(&[0]), copy.get(&[0])), (9.0, 1.0, 1.0));
}

#[test]
fn the_only_handle_is_written_in_place() {
    let x = Tensor::from([1.0_f32, 2.0]);
    let before = place(&x);
    let x = -((x + 1.0) * 3.0 - &Tensor::from([1.0, 1.0]));
    assert_eq!((place(&x), x.to_vec()), (before, vec![-5.0, -8.0]));
    let kept = x.clone();
    assert_ne!(place(&(x + 1.0)), place(&kept));

    let mut param = Param::new(Tensor::from([1.0_f32, 2.0]));
    let before = place(&param);
    param.as_mut_slice()[1] = 5.0;
    assert_eq!((place(&param), param.to_vec()), (before, vec![1.0, 5.0]));
}

#[test]
fn views_have_strides_and_copy_nothing() {
    let x = count(&[2, 3, 4]);
    assert_eq!(x.strides(), [12, 4, 1]);
    assert_eq!(x.transpose(0, -1).strides(), [1, 4, 12]);
    assert_eq!(x.permute(&[1, -1, 0]).strides(), [4, 1, 12]);
    assert_eq!(x.narrow(1, 1, 2).strides(), [12, 4, 1]);
    assert_eq!(x.i((.., 0, step(.., 2))).strides(), [12, 2]);
    assert_eq!(x.expand([5, 2, 3, 4]).strides(), [0, 12, 4, 1]);
    assert_eq!(x.t().shape(), [2, 4, 3]);
    assert_eq!(x.t().strides(), [12, 1, 4]);
    // These lie in the very memory of x.
    for y in [x.reshape([6, 4]), x.flatten(0), x.unsqueeze(1), x.unsqueeze(0).squeeze(0), x.contiguous(), x.i(0)] {
        assert_eq!(place(&y), place(&x), "{:?}", y.shape());
    }
    assert_eq!(place(&x.i((1, 2))), place(&x).wrapping_add(20));
    // A transposed matrix cannot be flattened without a copy, but a dimension of it can be split.
    let t = x.reshape([6, 4]).t();
    assert!(!t.is_contiguous() && t.as_slice().is_none());
    assert!(t.flatten(0).is_contiguous());
    assert_eq!(t.reshape([4, 2, 3]).strides(), [1, 12, 4]);
    assert_is(&t.contiguous(), &[4, 6], &(0..24).map(|i| i % 6 * 4 + i / 6).collect::<Vec<i64>>());
}

#[test]
fn reshape_finds_one_open_size() {
    let x = count(&[2, 3, 4]);
    assert_eq!(x.reshape([-1]).shape(), [24]);
    assert_eq!(x.reshape([4, -1, 2]).shape(), [4, 3, 2]);
    assert_eq!(x.reshape([2, 12]).reshape(x.dims()).shape(), [2, 3, 4]);
    assert_eq!(x.reshape(&[6_usize, 4][..]).shape(), [6, 4]);
    assert_eq!(count(&[1]).reshape(()).shape(), [0; 0]);
    assert_eq!(count(&[0, 3]).reshape([-1, 7]).shape(), [0, 7]);
    assert_eq!(count(&[2, 3]).flatten(1).shape(), [2, 3]);
    assert_eq!(Tensor::scalar(1.0_f32).flatten(0).shape(), [1]);
}

#[test]
fn tensors_of_every_rank_and_of_size_zero_go_through_the_operations() {
    for rank in 0..=8 {
        let x = Tensor::full(vec![2; rank], 1.5_f32);
        assert_eq!((x.rank(), x.numel()), (rank, 1 << rank));
        let y = (&x * 2.0 + &x.permute(&(0..rank as isize).rev().collect::<Vec<_>>())).exp().log();
        assert!((y.sum().item() - 4.5 * (1 << rank) as f32).abs() < 1e-3);
        assert_eq!(x.get(&vec![1; rank]), 1.5);
    }
    let empty = Tensor::zeros([0, 3]);
    assert_is(&(&empty + 1.0).relu(), &[0, 3], &[]);
    assert_is(&empty.sum_dim(0, false), &[3], &[0.0; 3]);
    assert_is(&empty.sum_dim(1, false), &[0], &[]);
    assert_is(&empty.argmax(1, false), &[0], &[]);
    assert_is(&empty.t().matmul(&empty), &[3, 3], &[0.0; 9]);
    assert_eq!((empty.sum().item(), empty.prod().item()), (0.0, 1.0));
    assert!(empty.mean().item().is_nan() && empty.var().item().is_nan());
    assert_is(&cat(&[&empty, &Tensor::ones([1, 3])], 0), &[1, 3], &[1.0; 3]);
    assert_eq!(empty.split(2, 1).iter().map(|x| x.shape().to_vec()).collect::<Vec<_>>(), [[0, 2], [0, 1]]);
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "an end of -1 is the last index, not the one before the first")]
fn slices_count_from_both_ends() {
    let x = count(&[4, 5]);
    assert_is(&x.i(1), &[5], &[5, 6, 7, 8, 9]);
    assert_is(&x.i((-1, -2)), &[], &[18]);
    assert_is(&x.i((1..3, ..2)), &[2, 2], &[5, 6, 10, 11]);
    assert_is(&x.i((2.., 3..)), &[2, 2], &[13, 14, 18, 19]);
    assert_is(&x.i((.., -2..)), &[4, 2], &[3, 4, 8, 9, 13, 14, 18, 19]);
    assert_is(&x.i((0, ..-3)), &[2], &[0, 1]);
    assert_is(&x.i((0, 1..=2)), &[2], &[1, 2]);
    assert_is(&x.i((0, 2..=-1)), &[3], &[2, 3, 4]);
    assert_is(&x.i((0, 1..-1)), &[3], &[1, 2, 3]);
    assert_is(&x.i((step(.., 3), step(1.., 2))), &[2, 2], &[1, 3, 16, 18]);
    assert_is(&x.i((1..1, ..)), &[0, 5], &[]);
    assert_is(&x.slice(1, 0, 5, 2), &[4, 3], &[0, 2, 4, 5, 7, 9, 10, 12, 14, 15, 17, 19]);
    assert_is(&x.narrow(-1, 4, 1), &[4, 1], &[4, 9, 14, 19]);
    assert_is(&x.select(0, -4), &[5], &[0, 1, 2, 3, 4]);
    assert_eq!((x.size(-1), x.get(&[3, 4]), x.i((3, 4)).item()), (5, 19, 19));
}

#[test]
fn cat_stack_and_split_fit_together() {
    let (a, b) = (count(&[2, 2]), count(&[2, 1]) + 10);
    assert_is(&cat(&[&a, &b], -1), &[2, 3], &[0, 1, 10, 2, 3, 11]);
    assert_is(&cat(&[&a, &a.t()], 0), &[4, 2], &[0, 1, 2, 3, 0, 2, 1, 3]);
    assert_is(&stack(&[&a, &a.t()], 0), &[2, 2, 2], &[0, 1, 2, 3, 0, 2, 1, 3]);
    assert_is(&stack(&[&a, &a.t()], -1), &[2, 2, 2], &[0, 0, 1, 2, 2, 1, 3, 3]);
    assert_is(&stack(&[&Tensor::from(1_u8), &Tensor::from(2_u8)], 0), &[2], &[1, 2]);
    let parts = count(&[5, 2]).split(2, 0);
    assert_eq!(parts.iter().map(|x| x.size(0)).collect::<Vec<_>>(), [2, 2, 1]);
    assert_is(&cat(&parts.iter().collect::<Vec<_>>(), 0), &[5, 2], &(0..10).collect::<Vec<_>>());
}

#[test]
fn index_tensors_pick_and_add_as_in_pytorch() {
    let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let rows = Tensor::from([2_i64, 0, -1]);
    assert_is(&x.index_select(0, &rows), &[3, 2], &[5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
    // The example of torch.gather.
    let y = Tensor::from([[1_i64, 2], [3, 4]]);
    assert_is(&y.gather(1, &Tensor::from([[0_i64, 0], [1, 0]])), &[2, 2], &[1, 1, 4, 3]);
    assert_is(&y.index_select(1, &Tensor::from([1_i64])), &[2, 1], &[2, 4]);
    assert_is(&Tensor::from([true, false]).index_select(0, &Tensor::from([1_i64, 1])), &[2], &[false, false]);
    // The example of torch.scatter_add.
    let index = Tensor::from([[0_i64, 1, 2, 0, 0], [0, 1, 2, 2, 2]]);
    let sum = Tensor::zeros([3, 5]).scatter_add(0, &index, &Tensor::ones([2, 5]));
    assert_is(&sum, &[3, 5], &[2., 0., 0., 1., 1., 0., 2., 0., 0., 0., 0., 0., 2., 1., 1.]);
    assert_is(&Tensor::from([2_i64, 0]).one_hot(3), &[2, 3], &[0., 0., 1., 1., 0., 0.]);
}

#[test]
fn comparisons_give_masks_that_choose() {
    let (x, y) = (Tensor::from([1.0_f32, f32::NAN, 3.0]), Tensor::from([1.0, 2.0, 2.0]));
    assert_eq!(x.eq(&y).to_vec(), [true, false, false]);
    assert_eq!(x.ne(&y).to_vec(), [false, true, true]);
    assert_eq!(x.lt(&y).to_vec(), [false; 3]);
    assert_eq!(x.le(&y).to_vec(), [true, false, false]);
    assert_eq!(x.gt_scalar(2.0).to_vec(), [false, false, true]);
    assert_eq!(count(&[2, 1]).ge(&count(&[2])).to_vec(), [true, false, true, true]);
    let (a, b) = (Tensor::from([true, true, false]), Tensor::from([true, false, false]));
    assert_eq!(a.logical_and(&b).to_vec(), [true, false, false]);
    assert_eq!(a.logical_or(&b).to_vec(), [true, true, false]);
    assert_eq!(a.logical_not().to_vec(), [false, false, true]);
    assert_eq!((a.any(), a.all(), a.i(..2).all(), a.i(2..).any()), (true, false, true, false));
    assert!(a.i(..0).all() && !a.i(..0).any());

    let mask = Tensor::from([[true], [false]]);
    assert_is(&mask.choose(&y, &Tensor::scalar(-1.0)), &[2, 3], &[1.0, 2.0, 2.0, -1.0, -1.0, -1.0]);
    assert_is(&a.choose(&count(&[3]), &Tensor::scalar(9)), &[3], &[0, 1, 9]);
    assert_is(&y.masked_fill(&a, 0.0), &[3], &[0.0, 0.0, 2.0]);
    // What is not chosen does not matter.
    assert_is(&x.ne(&x).choose(&Tensor::scalar(0.0), &x), &[3], &[1.0, 0.0, 3.0]);
}

#[test]
fn casts_saturate_and_nan_becomes_zero() {
    let x = Tensor::from([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.9, 300.7]);
    assert_eq!(x.cast::<i64>().to_vec(), [0, i64::MAX, i64::MIN, -1, 300]);
    assert_eq!(x.cast::<u8>().to_vec(), [0, 255, 0, 0, 255]);
    assert_eq!(x.cast::<bool>().to_vec(), [true; 5]);
    assert_eq!(Tensor::from([300_i64, -1]).cast::<u8>().to_vec(), [44, 255]);
    assert_eq!(Tensor::from([true, false]).cast::<f64>().to_vec(), [1.0, 0.0]);
    assert_eq!(Tensor::from([1e300_f64, 0.1]).cast::<f32>().to_vec(), [f32::INFINITY, 0.1]);
    assert_eq!(Tensor::from([0.0_f64, -0.0, 1e-300]).cast::<bool>().to_vec(), [false, false, true]);
}

#[test]
fn reductions_run_over_any_set_of_dimensions() {
    let x = count(&[2, 3, 4]).cast::<f32>();
    assert_is(&x.sum_dim(1, false), &[2, 4], &[12., 15., 18., 21., 48., 51., 54., 57.]);
    assert_is(&x.sum_dim([0, -1], true), &[1, 3, 1], &[60., 92., 124.]);
    assert_is(&x.amax([0, 1], false), &[4], &[20., 21., 22., 23.]);
    assert_is(&x.amin(.., true), &[1, 1, 1], &[0.0]);
    assert_is(&x.mean_dim(&[0, 2][..], false), &[3], &[7.5, 11.5, 15.5]);
    assert_is(&x.argmax(2, true), &[2, 3, 1], &[3; 6]);
    assert_is(&(&x + 1.0).i((0, 0)).prod_dim(0, false), &[], &[24.0]);
    // Over no dimension: nothing happens.
    assert_is(&x.sum_dim([], false), x.shape(), &x.to_vec());
    assert_is(&x.amax([], true), x.shape(), &x.to_vec());
    assert_is(&x.mean_dim([], false), x.shape(), &x.to_vec());
    // np.var([0, 1, 2, 3], ddof=0 and 1)
    assert_eq!(x.i((0, 0)).var_dim(0, 0, false).item(), 1.25);
    assert!((x.i((0, 0)).var().item() - 5.0 / 3.0).abs() < 1e-6);
    assert!(Tensor::scalar(2.0_f32).var().item().is_nan());
    assert_eq!(Tensor::from([3.0_f32, -4.0]).norm().item(), 5.0);
    assert_eq!((count(&[5]).max().item(), (count(&[5]) - 9).min().item()), (4, -9));
}

#[test]
fn nan_is_never_lost() {
    let x = Tensor::from([[1.0_f32, f32::NAN, 3.0], [1.0, 2.0, 3.0]]);
    let last = |x: Tensor| (x.get(&[0]).is_nan(), x.get(&[1]));
    assert_eq!(last(x.amax(1, false)), (true, 3.0));
    assert_eq!(last(x.amin(1, false)), (true, 1.0));
    assert_eq!(last(x.sum_dim(1, false)), (true, 6.0));
    assert_eq!(x.argmax(1, false).to_vec(), [1, 2]);
    assert_eq!(x.argmin(1, false).to_vec(), [1, 0]);
    let nan = Tensor::scalar(f32::NAN);
    let all = [nan.relu(), nan.clamp(0.0, 1.0), nan.sign(), nan.abs(), nan.leaky_relu(0.1), nan.elu(1.0)];
    assert!(all.iter().all(|y| y.item().is_nan()), "{all:?}");
    for y in [nan.maximum(Tensor::scalar(1.0)), Tensor::scalar(1.0).minimum(&nan), x.max(), x.softmax(1).i((0, 0))] {
        assert!(y.item().is_nan());
    }
}

#[test]
fn tensors_and_modules_may_go_to_other_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Tensor>();
    shared::<Tensor<bool>>();
    shared::<Gradients>();
    shared::<Param>();
    shared::<(Linear, Conv2d, Embedding)>();
    shared::<(BatchNorm2d<f64>, Sequential)>();
}
