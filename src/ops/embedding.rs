//! Rows of a table by their number.

use crate::autograd::{Gradient, Pull, Rows, record_op, record_rows};
use crate::element::Float;
use crate::kernels::embedding::{gather_rows, scatter_rows};
use crate::shape::{Shape, ensure, fail};
use crate::tensor::Tensor;
use std::sync::Arc;

/// One row of `weight [num, dim]` for each number of `index [..]`: `[.., dim]`.
///
/// `dweight` holds the sum of the gradients of each row's places, 0 for rows that are not named. Of a parameter it is kept as the
/// rows that are named, if these are few ([`Gradients::rows`](crate::Gradients::rows)).
///
/// ```
/// use wengert::{Tensor, ops};
/// let table = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
/// let y = ops::embedding(&table, &Tensor::from([1_i64, 0, 1]));
/// assert_eq!(y.to_vec(), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
/// ```
///
/// # Panics
/// When `weight` has not two dimensions, or a number is not that of a row.
#[track_caller]
pub fn embedding<T: Float>(weight: &Tensor<T>, index: &Tensor<i64>) -> Tensor<T> {
    embedding_padded(weight, index, None)
}

/// [`embedding`] in which row `padding_idx`, where there is one, gets no gradient.
///
/// # Panics
/// As [`embedding`], and when `padding_idx` is not the number of a row.
#[track_caller]
#[inline(never)]
pub fn embedding_padded<T: Float>(weight: &Tensor<T>, index: &Tensor<i64>, padding_idx: Option<usize>) -> Tensor<T> {
    let shape = weight.shape();
    ensure(shape.len() == 2, || format!("embedding: {shape:?}: expected a weight of [num, dim]"));
    let (num, dim) = (shape[0], shape[1]);
    if let Some(row) = padding_idx {
        ensure(row < num, || format!("embedding: {shape:?}: padding_idx {row} is out of range for {num} rows"));
    }
    let packed = index.packed();
    if let Some(i) = packed.elements().iter().find(|&&i| i < 0 || i as u64 >= num as u64) {
        fail(format!("embedding: {shape:?}: index {i} is out of range for {num} rows"));
    }
    let rows: Arc<[usize]> = packed.elements().iter().map(|&i| i as usize).collect();
    rows_of(weight, LookedUp { rows, output: index.dims().with(index.rank(), dim), num, padding: padding_idx }, None)
}

/// Rows that are known to be in a table of `num`.
#[derive(Clone)]
struct LookedUp {
    rows: Arc<[usize]>,
    output: Shape,
    num: usize,
    padding: Option<usize>,
}

/// The rows, in which `zero` counts as a row of zeros.
#[track_caller]
fn rows_of<T: Float>(table: &Tensor<T>, rows: LookedUp, zero: Option<usize>) -> Tensor<T> {
    let (packed, dim) = (table.packed(), table.size(1));
    let y = Tensor::build(rows.output, |y| gather_rows(packed.elements(), dim, &rows.rows, zero, y));
    record_rows("embedding", y, table, || {
        move |pull: Pull<T>, may_be_rows| {
            // Where most rows are looked up the whole table is less work.
            if may_be_rows && 2 * rows.rows.len() < rows.num {
                let packed = pull.grad.packed();
                return Gradient::Rows(Rows::sum([rows.num, dim], &rows.rows, packed.elements(), rows.padding));
            }
            Gradient::Whole(embedding_grad(&pull.grad, &rows))
        }
    })
}

/// The gradient of the table. Linear; its adjoint takes the rows, the padding's as zeros.
#[track_caller]
fn embedding_grad<T: Float>(grad: &Tensor<T>, rows: &LookedUp) -> Tensor<T> {
    let (packed, dim) = (grad.packed(), grad.size(-1));
    let table = Tensor::build([rows.num, dim], |table| {
        scatter_rows(packed.elements(), dim, &rows.rows, rows.padding, table);
    });
    record_op("embedding_grad", table, [grad], || {
        let rows = rows.clone();
        move |pull: Pull<T>| [Some(rows_of(&pull.grad, rows.clone(), rows.padding))]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck, record};
    use crate::kernels::testing::noise;

    #[test]
    fn differentiates_twice_on_every_view() {
        let table = Tensor::from_vec(noise(20, 1), [4, 5]);
        let index = Tensor::from([[1_i64, 3, 1], [0, 1, 3]]);
        let tables = [table.clone(), table.t(), table.slice(1, 0, 5, 2), table.narrow(0, 1, 1).expand([4, 5])];
        for table in tables {
            for index in [index.clone(), index.t(), Tensor::scalar(2), Tensor::from_vec(vec![], [0, 2])] {
                // The padding's gradient is withheld, so finite differences may only see the other rows.
                let f = |x: &[Tensor<f64>]| embedding(&x[0], &index).square();
                gradcheck(f, std::slice::from_ref(&table)).unwrap();
                gradgradcheck(f, std::slice::from_ref(&table)).unwrap();
            }
        }
    }

    #[test]
    fn the_padding_gets_no_gradient_of_any_order() {
        let table = Tensor::from_vec(noise(6, 1), [3, 2]).tracked();
        let index = Tensor::from([2_i64, 0, 2]);
        let cube = record(|| {
            let y = embedding_padded(&table, &index, Some(2));
            &y * &y * &y
        });
        assert_eq!(cube.to_vec()[0], table.get(&[2, 0]).powi(3));
        let second = record(|| {
            let y = embedding_padded(&table, &index, Some(2));
            let grads = (&y * &y * &y).backward_graph_with(&Tensor::full([3, 2], 1.0));
            let grad = grads.of(&table);
            assert_eq!(grad.to_vec()[2..], [0.0; 4]);
            assert!((grad.get(&[0, 1]) - 3.0 * table.get(&[0, 1]).powi(2)).abs() < 1e-12);
            grad
        });
        let second = second.backward_with(&Tensor::full([3, 2], 1.0)).of(&table).to_vec();
        assert_eq!(second[2..], [0.0; 4]);
        assert!((second[0] - 6.0 * table.get(&[0, 0])).abs() < 1e-12);
    }

    #[test]
    #[should_panic(expected = "embedding: [3, 2]: index -1 is out of range for 3 rows")]
    fn a_number_that_is_no_row_is_refused() {
        embedding(&Tensor::zeros([3, 2]), &Tensor::from([0_i64, -1]));
    }

    /// The gradient as rows where `num` is large, whole where it is small: of rows 2, 0 and 5, looked up twice with other
    /// numbers, of a table that is also multiplied with.
    fn grads(num: usize, tied: bool) -> (Tensor<f64>, crate::Gradients) {
        let table = Tensor::from_vec(noise(num * 3, 1), [num, 3]).tracked();
        let look = |places: [i64; 4]| embedding_padded(&table, &Tensor::from(places), Some(5)).square();
        let loss = |places| record(|| (look(places) * Tensor::from([1.0, -2.0, 3.0])).sum());
        let both = record(|| {
            let sum = loss([2, 0, 2, 5]) + loss([0, 1, 5, 2]);
            if tied { sum + table.tanh().sum() } else { sum }
        });
        (table, both.backward())
    }

    #[test]
    fn rows_of_a_large_table_have_the_gradient_of_a_small_one() {
        let (small, expected) = grads(6, false);
        let expected = expected.of(&small).to_vec();
        let (large, rows) = grads(40, false);
        let (places, values) = rows.rows(&large).expect("few of many rows");
        assert_eq!(places, [0, 1, 2, 5]);
        assert_eq!(values.to_vec()[..9], expected[..9]);
        assert_eq!(values.to_vec()[9..], [0.0; 3]);
        let whole = rows.of(&large).to_vec();
        assert_eq!((&whole[..18], &whole[18..]), (&expected[..], &[0.0; 102][..]));

        // What is done with gradients gives the same of rows.
        let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((rows.global_norm() - norm).abs() < 1e-12 * norm);
        let mut clipped = rows.clone() + rows.clone();
        clipped.clip_norm(norm);
        assert!(clipped.rows(&large).is_some());
        for (found, expected) in clipped.of(&large).to_vec().iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5 * norm, "{found}, expected {expected}");
        }
    }

    #[test]
    fn rows_and_a_whole_gradient_of_one_table_add_up() {
        let (small, expected) = grads(6, true);
        let (large, found) = grads(40, true);
        assert!(found.rows(&large).is_none());
        assert_eq!(found.of(&large).to_vec()[..18], expected.of(&small).to_vec());
        assert!(found.of(&large).to_vec()[18..].iter().all(|&x| x > 0.0));
    }
}
