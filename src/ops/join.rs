//! Tensors put together: `cat` and `stack`.

use crate::autograd::{Pull, record_many, same};
use crate::element::{DType, Element, Float};
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
        let mut start = 0;
        for x in tensors {
            let x = x.packed();
            let part = x.shape()[dim] * inner;
            if part > 0 {
                for (y, x) in y.chunks_mut(row).zip(x.elements().chunks(part)) {
                    y[start..][..part].copy_from_slice(x);
                }
            }
            start += part;
        }
    });
    if tensors.iter().all(|x| x.entry.is_none()) {
        return y;
    }
    match T::DTYPE {
        DType::F32 => recorded::<f32, T>(tensors, y, dim),
        _ => recorded::<f64, T>(tensors, y, dim),
    }
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
