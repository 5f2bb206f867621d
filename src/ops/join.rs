//! Tensors put together: `cat` and `stack`.

use crate::autograd::{Pull, record_many, same};
use crate::element::{DType, Element, Float};
use crate::kernels::parallel;
use crate::shape::{axis, ensure};
use crate::tensor::Tensor;
use std::any::Any as Dynamic;

/// The tensors one after the other along dimension `dim`; their other sizes are equal.
///
/// ```
/// use wengert::{Tensor, ops::cat};
/// let (a, b) = (Tensor::from([[1_i64, 2], [3, 4]]), Tensor::from([[5], [6]]));
/// assert_eq!(cat(&[&a, &b], 1).to_vec(), [1, 2, 5, 3, 4, 6]);
/// ```
///
/// # Panics
/// When there is no tensor, or a size differs.
#[track_caller]
#[inline(never)]
pub fn cat<T: Element>(tensors: &[&Tensor<T>], dim: isize) -> Tensor<T> {
    ensure(!tensors.is_empty(), || "cat: expected at least one tensor, found none".to_string());
    let dim = axis("cat", tensors[0].shape(), dim);
    let mut shape = tensors[0].dims();
    shape[dim] = 0;
    for x in tensors {
        let fits = x.rank() == shape.len() && (0..shape.len()).all(|d| d == dim || x.shape()[d] == shape[d]);
        ensure(fits, || {
            format!("cat: {:?} and {:?}: sizes differ outside dimension {dim}", tensors[0].shape(), x.shape())
        });
        shape[dim] += x.shape()[dim];
    }
    let inner: usize = shape[dim + 1..].iter().product();
    let row = shape[dim] * inner;
    let y = Tensor::build(shape, |y| {
        let parts: Vec<_> = tensors.iter().map(|x| x.packed()).filter(|x| x.numel() > 0).collect();
        let parts: Vec<_> = parts.iter().map(|x| (x.elements(), x.shape()[dim] * inner)).collect();
        join(&parts, row, y);
    });
    if tensors.iter().all(|x| x.entry.is_none()) {
        return y;
    }
    match T::DTYPE {
        DType::F32 => recorded::<f32, T>(tensors, y, dim),
        _ => recorded::<f64, T>(tensors, y, dim),
    }
}

/// Rows of `y`, put together from as long rows of all parts.
fn join<T: Element>(parts: &[(&[T], usize)], row: usize, y: &mut [T]) {
    if y.len() == row {
        // One row: threads share each part.
        let mut rest = y;
        for (x, len) in parts {
            let part = rest.split_off_mut(..*len).expect("the sum of the lengths");
            parallel::pieces_mut(part, |start, y| y.copy_from_slice(&x[start..][..y.len()]));
        }
        return;
    }
    let rows = parallel::per_task(y.len() / row.max(1), row);
    parallel::chunks_mut(y, rows * row, |start, y| {
        let mut column = 0;
        for (x, len) in parts {
            let x = &x[start / row * len..];
            if *len == 1 {
                y[column..].iter_mut().step_by(row).zip(x).for_each(|(y, &x)| *y = x);
            } else {
                for (y, x) in y.chunks_mut(row).zip(x.chunks(*len)) {
                    y[column..][..*len].copy_from_slice(x);
                }
            }
            column += len;
        }
    });
}

#[track_caller]
fn recorded<F: Float, T: Element>(tensors: &[&Tensor<T>], y: Tensor<T>, dim: usize) -> Tensor<T> {
    let tensors: Vec<&Tensor<F>> =
        tensors.iter().map(|x| (*x as &dyn Dynamic).downcast_ref().expect("tracked tensors are floats")).collect();
    let sizes: Vec<usize> = tensors.iter().map(|x| x.shape()[dim]).collect();
    let y = record_many("cat", same(y).expect("F is T"), &tensors, || {
        move |pull: Pull<F>| {
            let starts = sizes.iter().scan(0, |next, &size| Some(std::mem::replace(next, *next + size)));
            let part = |(i, (start, &size)): (usize, (usize, &usize))| {
                pull.when(i, |grad| grad.narrow(dim as isize, start, size))
            };
            starts.zip(&sizes).enumerate().map(part).collect()
        }
    });
    same(y).expect("T is F")
}

/// Tensors of one shape side by side, along a new dimension `dim`.
///
/// # Panics
/// When there is no tensor, or the shapes differ.
#[track_caller]
#[inline(never)]
pub fn stack<T: Element>(tensors: &[&Tensor<T>], dim: isize) -> Tensor<T> {
    ensure(!tensors.is_empty(), || "stack: expected at least one tensor, found none".to_string());
    for x in tensors {
        ensure(x.shape() == tensors[0].shape(), || {
            format!("stack: {:?} and {:?}: the shapes differ", tensors[0].shape(), x.shape())
        });
    }
    let rank = tensors[0].rank() as isize + 1;
    ensure(-rank <= dim && dim < rank, || {
        let shape = tensors[0].shape();
        format!("stack: {shape:?}: expected a dimension from {} to {} of the result, found {dim}", -rank, rank - 1)
    });
    let wide: Vec<Tensor<T>> = tensors.iter().map(|x| x.unsqueeze(dim)).collect();
    cat(&wide.iter().collect::<Vec<_>>(), dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::parallel::with_num_threads;

    /// Parts of one number and of many, in one row and in many, enough of each for several threads.
    #[test]
    fn long_parts_stand_beside_each_other_on_any_number_of_threads() {
        for (rows, sizes) in
            [(1, vec![50_000, 3, 40_001]), (50_000, vec![1, 1]), (40_000, vec![2, 0, 1]), (300, vec![200, 57])]
        {
            let mut parts: Vec<Tensor<i64>> = Vec::new();
            for (i, &size) in sizes.iter().enumerate() {
                parts.push(Tensor::from_fn([rows, size], |e| (e * 10 + i) as i64));
            }
            let parts: Vec<&Tensor<i64>> = parts.iter().collect();
            let mut expected = Vec::new();
            for row in 0..rows {
                for (i, &size) in sizes.iter().enumerate() {
                    expected.extend((row * size..(row + 1) * size).map(|e| (e * 10 + i) as i64));
                }
            }
            for threads in [1, 2, 3] {
                assert!(
                    with_num_threads(threads, || cat(&parts, 1)).to_vec() == expected,
                    "{rows} {sizes:?} {threads}"
                );
            }
        }
    }
}
