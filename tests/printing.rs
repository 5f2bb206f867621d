//! Tensors as text, against NumPy's `array2string(x, separator=", ")` with four decimals. Numbers are written as Rust
//! writes them: `1.0` where NumPy has `1.`, `true` where it has `True`.

use wengert::{Element, Tensor, record};

/// Counts up from 0 in the given shape.
fn count(shape: &[usize]) -> Tensor<i64> {
    Tensor::from_fn(shape, |i| i as i64)
}

fn text<T: Element>(x: impl Into<Tensor<T>>) -> String {
    x.into().to_string()
}

#[test]
fn columns_are_aligned_for_the_sign_and_the_longest_number() {
    assert_eq!(text([1.0_f32, 2.5, -3.0]), "[ 1.0,  2.5, -3.0]");
    assert_eq!(text([[1.0_f32, -2.0], [30.0, 4.25]]), "[[ 1.00, -2.00],\n [30.00,  4.25]]");
    assert_eq!(text([[1_i64, -20], [300, 4]]), "[[  1, -20],\n [300,   4]]");
    assert_eq!(text([0_u8, 255, 7]), "[  0, 255,   7]");
    assert_eq!(text([[true, false], [false, true]]), "[[ true, false],\n [false,  true]]");
    assert_eq!(text([0.1_f64, 0.25, 10.0]), "[ 0.10,  0.25, 10.00]");
    assert_eq!(text([-0.0_f32, 0.0]), "[-0.0,  0.0]");
}

#[test]
fn matrices_are_parted_by_a_blank_line_for_each_rank_above_two() {
    assert_eq!(count(&[2, 2, 3]).to_string(), "[[[ 0,  1,  2],\n  [ 3,  4,  5]],\n\n [[ 6,  7,  8],\n  [ 9, 10, 11]]]");
    assert_eq!(count(&[2, 2, 1, 2]).to_string(), "[[[[0, 1]],\n\n  [[2, 3]]],\n\n\n [[[4, 5]],\n\n  [[6, 7]]]]");
    assert_eq!(count(&[1; 8]).to_string(), "[[[[[[[[0]]]]]]]]");
}

#[test]
fn a_scalar_is_its_number_and_an_empty_tensor_a_pair_of_brackets() {
    assert_eq!(text(3.5_f32), "3.5");
    assert_eq!(text(-7_i64), "-7");
    assert_eq!(text(true), "true");
    for shape in [&[0][..], &[2, 0], &[0, 3], &[1_000_000_000, 0]] {
        assert_eq!(count(shape).to_string(), "[]");
    }
}

#[test]
fn of_more_than_a_thousand_elements_three_are_shown_at_each_end() {
    assert_eq!(text(Tensor::from_fn(1001, |i| i as f32)), "[   0.0,    1.0,    2.0, ...,  998.0,  999.0, 1000.0]");
    assert!(!count(&[1000]).to_string().contains("..."));
    let rows = |rows: [usize; 3]| {
        rows.map(|i| {
            let x = |j| i * 30 + j;
            format!("[{:4}, {:4}, {:4}, ..., {:4}, {:4}, {:4}]", x(0), x(1), x(2), x(27), x(28), x(29))
        })
    };
    let ([a, b, c], [x, y, z]) = (rows([0, 1, 2]), rows([97, 98, 99]));
    assert_eq!(count(&[100, 30]).to_string(), format!("[{a},\n {b},\n {c},\n ...,\n {x},\n {y},\n {z}]"));
    // A short dimension is shown whole.
    assert_eq!(
        count(&[2, 1000]).to_string(),
        "[[   0,    1,    2, ...,  997,  998,  999],\n [1000, 1001, 1002, ..., 1997, 1998, 1999]]"
    );
    let deep = count(&[10, 20, 30]).to_string();
    assert!(deep.contains("[ 570,  571,  572, ...,  597,  598,  599]],\n\n [[ 600,"), "{deep}");
    assert!(deep.contains("[1770, 1771, 1772, ..., 1797, 1798, 1799]],\n\n ...,\n\n [[4200,"), "{deep}");
}

#[test]
fn long_rows_are_broken_before_column_75() {
    assert_eq!(
        count(&[40]).to_string(),
        "[ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n \
         18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,\n \
         36, 37, 38, 39]"
    );
    assert_eq!(
        count(&[2, 20]).to_string(),
        "[[ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n  \
         18, 19],\n \
         [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37,\n  \
         38, 39]]"
    );
    // 25 numbers of one digit fill the line to its last column.
    let longest = |n| Tensor::from_fn(n, |i| i as i64 % 10).to_string().lines().map(str::len).max();
    assert_eq!([longest(24), longest(25), longest(26)], [Some(72), Some(75), Some(75)]);
}

#[test]
fn nan_and_infinities_are_words() {
    assert_eq!(text([f32::NAN, 1.0, f32::NEG_INFINITY, f32::INFINITY]), "[ nan,  1.0, -inf,  inf]");
    assert_eq!(text([f64::NAN]), "[nan]");
}

#[test]
fn scientific_notation_begins_where_four_decimals_would_hide_a_number() {
    assert_eq!(text([1e-10_f32, 1.0, 1e10]), "[1.0e-10, 1.0e+00, 1.0e+10]");
    assert_eq!(text([1e-5_f32, -2.5e-5]), "[ 1.0e-05, -2.5e-05]");
    assert_eq!(text([1e-6_f64, 1.0, 0.0]), "[1.0e-06, 1.0e+00, 0.0e+00]");
    assert_eq!(text([1e8_f32, 2e8]), "[1.0e+08, 2.0e+08]");
    assert_eq!(text([1e300_f64, f64::NAN]), "[1.0e+300,      nan]");
    assert_eq!(text([1.0 / 3.0 * 1e-4, 1.0_f64]), "[3.3333e-05, 1.0000e+00]");
    // NumPy and PyTorch have it here too: the largest is more than a thousand times the smallest.
    assert_eq!(text([0.001_f32, 0.5, 100.25]), "[  0.001,   0.500, 100.250]");
}

#[test]
fn there_are_four_decimals_unless_the_format_asks_for_others() {
    let x = Tensor::from([1.0_f64 / 3.0, 2.0 / 3.0]);
    assert_eq!(format!("{x}"), "[0.3333, 0.6667]");
    assert_eq!(format!("{x:.2}"), "[0.33, 0.67]");
    assert_eq!(format!("{x:.0}"), "[0, 1]");
    assert_eq!(format!("{:.2}", x * 1e-9), "[3.33e-10, 6.67e-10]");
}

#[test]
fn views_print_as_their_copies() {
    let x = count(&[3, 4]);
    assert_eq!(x.t().to_string(), "[[ 0,  4,  8],\n [ 1,  5,  9],\n [ 2,  6, 10],\n [ 3,  7, 11]]");
    assert_eq!(x.i((1.., 2)).to_string(), "[ 6, 10]");
    assert_eq!(x.i(0).expand([2, 4]).to_string(), "[[0, 1, 2, 3],\n [0, 1, 2, 3]]");
}

#[test]
fn debug_tells_shape_type_and_the_operation_that_was_recorded() {
    assert_eq!(format!("{:?}", Tensor::from([[1.0_f32, 2.0]])), "Tensor [1, 2] f32\n[[1.0, 2.0]]");
    assert_eq!(format!("{:?}", Tensor::from(3_i64)), "Tensor [] i64 3");
    assert_eq!(format!("{:?}", Tensor::full([2, 0], 1_u8)), "Tensor [2, 0] u8\n[]");
    let x = Tensor::from([1.0_f64, 4.0]).tracked();
    assert_eq!(format!("{x:?}"), "Tensor [2] f64 (leaf) [1.0, 4.0]");
    assert_eq!(format!("{:?}", record(|| x.sqrt())), "Tensor [2] f64 (sqrt) [1.0, 2.0]");
}
