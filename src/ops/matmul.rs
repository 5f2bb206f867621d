//! Matrix products.

use super::arithmetic::unbroadcast;
use super::unary::relu_grad;
use crate::autograd::{Pull, is_tracked, record_op};
use crate::element::Float;
use crate::kernels::gemm::{self, Epilogue, Mat};
use crate::shape::{Shape, ensure, fail};
use crate::tensor::Tensor;

/// The last two dimensions of a view, as the kernel wants them.
fn matrix<T: Float>(x: &Tensor<T>) -> Mat<'_, T> {
    let view = x.view();
    let n = view.strides.len();
    Mat { data: view.data, row_stride: view.strides[n - 2], col_stride: view.strides[n - 1] }
}

/// Where each matrix of a batch begins, in elements from the view's first.
pub(super) fn offsets(batch: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut offsets = vec![0];
    for (&size, &stride) in batch.iter().zip(strides) {
        offsets = offsets.iter().flat_map(|&o| (0..size).map(move |i| o + i * stride)).collect();
    }
    offsets
}

impl<T: Float> Tensor<T> {
    /// The matrix product: `[m, k] x [k, n] -> [m, n]`.
    ///
    /// As in NumPy and PyTorch, dimensions before the last two are a batch and broadcast; a vector on the left is a row, on
    /// the right a column, and that dimension is gone from the result.
    ///
    /// `dA = dC . B^T`, `dB = A^T . dC`.
    ///
    /// ```
    /// use wengert::Tensor;
    /// let a = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let b = Tensor::from([[1.0_f32], [10.0]]);
    /// assert_eq!(a.matmul(&b).to_vec(), [21.0, 43.0]);
    /// ```
    ///
    /// # Panics
    /// When the inner dimensions differ, the batches do not broadcast, or one operand is a scalar.
    #[track_caller]
    #[inline(never)]
    pub fn matmul(&self, other: &Tensor<T>) -> Tensor<T> {
        let (a, b) = (self, other);
        ensure(a.rank() > 0 && b.rank() > 0, || {
            format!("matmul: {:?} x {:?}: expected at least one dimension each", a.shape(), b.shape())
        });
        let (k, inner) = (a.size(-1), if b.rank() == 1 { b.size(0) } else { b.size(-2) });
        ensure(k == inner, || {
            format!("matmul: {:?} x {:?}: inner dimensions {k} and {inner} differ", a.shape(), b.shape())
        });
        if a.rank() == 1 {
            let y = a.unsqueeze(0).matmul(b);
            return if b.rank() == 1 { y.squeeze(0) } else { y.squeeze(-2) };
        }
        if b.rank() == 1 {
            return a.matmul(&b.unsqueeze(1)).squeeze(-1);
        }
        if a.rank() > 2 && b.rank() == 2 {
            // One product with all rows: [batch * m, k] . [k, n]
            let mut shape = a.dims();
            shape[a.rank() - 1] = b.size(1);
            let rows = shape[..a.rank() - 1].iter().product();
            return a.reshape([rows, k]).matmul(b).reshape(shape);
        }
        record_op("matmul", product(a, b), [a, b], || {
            let (a_kept, b_kept) = (b.is_tracked().then(|| a.clone()), a.is_tracked().then(|| b.clone()));
            let (a_shape, b_shape) = (a.dims(), b.dims());
            move |pull: Pull<T>| {
                // [m,n] . [n,k] and [k,m] . [m,n]
                let da = pull.when_kept(0, &b_kept, |grad, b| unbroadcast(grad.matmul(&b.t()), &a_shape));
                let db = pull.when_kept(1, &a_kept, |grad, a| unbroadcast(a.t().matmul(grad), &b_shape));
                [da, db]
            }
        })
    }
}

/// The product of matrices of rank 2 or more whose inner dimensions agree.
#[track_caller]
fn product<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> Tensor<T> {
    let (m, k, n) = (a.size(-2), a.size(-1), b.size(-1));
    if a.rank() == 2 && b.rank() == 2 {
        return Tensor::build([m, n], |c| {
            gemm::gemm(m, k, n, matrix(a), matrix(b), c, n, false, Epilogue::default());
        });
    }
    let (a_batch, b_batch) = (Shape::new(&a.shape()[..a.rank() - 2]), Shape::new(&b.shape()[..b.rank() - 2]));
    let Some(batch) = Shape::broadcast(&a_batch, &b_batch) else {
        fail(format!("matmul: {:?} x {:?}: batches {a_batch} and {b_batch} do not broadcast", a.shape(), b.shape()))
    };
    let mut dims = batch.to_vec();
    dims.extend([m, k]);
    let a = a.expanded(&Shape::new(&dims));
    dims.splice(batch.len().., [k, n]);
    let b = b.expanded(&Shape::new(&dims));
    dims.splice(batch.len().., [m, n]);
    let (a_offsets, b_offsets) = (offsets(&batch, a.strides()), offsets(&batch, b.strides()));
    Tensor::build(dims, |c| gemm::gemm_batched(m, k, n, matrix(&a), &a_offsets, matrix(&b), &b_offsets, c))
}

/// The affine map of a linear layer, `y = x W^T + b`, as one tape entry: `x [.., in]`, `weight [out, in]`, `bias [out]`.
///
/// `dx = dy . W`, `dW = dy^T . x`, `db = sum dy`.
///
/// # Panics
/// When the sizes do not fit.
#[track_caller]
#[inline(never)]
pub fn linear<T: Float>(x: &Tensor<T>, weight: &Tensor<T>, bias: Option<&Tensor<T>>) -> Tensor<T> {
    if x.rank() != 2 {
        return by_rows("linear", x, weight, |x| linear(x, weight, bias));
    }
    let y = affine("linear", x, weight, bias, false);
    // Without a bias its place in the entry is taken by an untracked scalar.
    let none = Tensor::scalar(T::ZERO);
    record_op("linear", y, [x, weight, bias.unwrap_or(&none)], || {
        let kept = Kept::new(x, weight);
        move |pull: Pull<T>| kept.gradients(&pull.grad, pull.all_needs())
    })
}

/// `max(y, 0)` of a [`linear`], in one operation.
///
/// # Panics
/// As [`linear`].
#[track_caller]
#[inline(never)]
pub fn linear_relu<T: Float>(x: &Tensor<T>, weight: &Tensor<T>, bias: Option<&Tensor<T>>) -> Tensor<T> {
    if x.rank() != 2 {
        return by_rows("linear_relu", x, weight, |x| linear_relu(x, weight, bias));
    }
    let y = affine("linear_relu", x, weight, bias, true);
    let (none, kept_y) = (Tensor::scalar(T::ZERO), y.clone());
    record_op("linear_relu", y, [x, weight, bias.unwrap_or(&none)], || {
        let kept = Kept::new(x, weight);
        move |pull: Pull<T>| {
            let needs = pull.all_needs();
            kept.gradients(&relu_grad(pull.grad, &kept_y), needs)
        }
    })
}

/// `f` of the rows `[rows, in]` of `x [.., in]`, as `[.., out]`.
#[track_caller]
fn by_rows<T: Float>(
    op: &str,
    x: &Tensor<T>,
    weight: &Tensor<T>,
    f: impl FnOnce(&Tensor<T>) -> Tensor<T>,
) -> Tensor<T> {
    let [out, inner] = check_linear(op, x, weight);
    let mut shape = x.dims();
    shape[x.rank() - 1] = out;
    let rows: usize = shape[..x.rank() - 1].iter().product();
    f(&x.reshape([rows, inner])).reshape(shape)
}

/// The sizes `[out, in]` of a weight that fits `x`.
#[track_caller]
fn check_linear<T: Float>(op: &str, x: &Tensor<T>, weight: &Tensor<T>) -> [usize; 2] {
    ensure(weight.rank() == 2, || format!("{op}: weight {:?}: expected [out, in]", weight.shape()));
    let [out, inner] = [weight.size(0), weight.size(1)];
    ensure(x.rank() > 0 && x.size(-1) == inner, || {
        format!("{op}: {:?} x {:?}^T: expected inputs of size {inner}", x.shape(), weight.shape())
    });
    [out, inner]
}

/// The output of a linear layer, of a matrix.
#[track_caller]
fn affine<T: Float>(op: &str, x: &Tensor<T>, weight: &Tensor<T>, bias: Option<&Tensor<T>>, relu: bool) -> Tensor<T> {
    let [out, inner] = check_linear(op, x, weight);
    if let Some(b) = bias {
        ensure(b.shape() == [out], || format!("{op}: bias {:?}: expected [{out}]", b.shape()));
    }
    let (rows, bias_row) = (x.size(0), bias.map(Tensor::packed));
    let sizes = [rows, inner, out];
    let turned = weight.t().detached();
    // Where nothing is recorded the weights may be expected to stay the same.
    let how = if is_tracked(&[x, weight]) { None } else { gemm::packs::<T>(sizes) };
    let packed = weight.arranged(how, |to| gemm::pack([inner, out], matrix(&turned), to));
    Tensor::build([rows, out], |y| {
        let epilogue = Epilogue { bias_row: bias_row.as_ref().map(Tensor::elements), relu };
        // [rows,in] . [in,out]
        match packed {
            Some(packed) => gemm::gemm_packed(sizes, matrix(x), matrix(&turned), packed, y, epilogue),
            None => gemm::gemm(rows, inner, out, matrix(x), matrix(&turned), y, out, false, epilogue),
        }
    })
}

/// What the gradients of a linear layer are computed from.
struct Kept<T: Float> {
    /// For the gradient of the weight.
    x: Option<Tensor<T>>,
    /// For the gradient of the input.
    weight: Option<Tensor<T>>,
}

impl<T: Float> Kept<T> {
    fn new(x: &Tensor<T>, weight: &Tensor<T>) -> Kept<T> {
        Kept { x: weight.is_tracked().then(|| x.clone()), weight: x.is_tracked().then(|| weight.clone()) }
    }

    /// Those of input, weight and bias that are needed.
    #[track_caller]
    fn gradients(&self, dy: &Tensor<T>, [input, weight, bias]: [bool; 3]) -> [Option<Tensor<T>>; 3] {
        let dx = self.weight.as_ref().filter(|_| input).map(|w| dy.matmul(w));
        let dw = self.x.as_ref().filter(|_| weight).map(|x| dy.t().matmul(x));
        [dx, dw, bias.then(|| dy.sum_dim(0, false))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;
    use crate::record;

    #[test]
    fn weights_that_are_kept_in_order_follow_the_weights() {
        let of = |shape: [usize; 2], seed| Tensor::from_vec(noise(shape[0] * shape[1], seed), shape).cast::<f32>();
        let (x, bias) = (of([7, 40], 1), of([1, 50], 2).flatten(0));
        let mut weight = of([50, 40], 3);
        let all =
            |weight: &Tensor| [linear(&x, weight, None), linear_relu(&x, weight, Some(&bias))].map(|y| y.to_vec());
        // On the tape nothing is kept.
        let expected = |weight: &Tensor| record(|| all(&weight.tracked()));
        for change in 0..3 {
            assert_eq!(all(&weight), expected(&weight), "after {change} changes");
            assert_eq!(all(&weight), expected(&weight), "after {change} changes, from what is kept");
            weight.make_mut()[change] += 1.0;
        }
        let part = weight.narrow(0, 10, 20);
        let tracked = record(|| linear(&x, &part.tracked(), None));
        assert_eq!(linear(&x, &part, None).to_vec(), tracked.to_vec());
        let turned = of([40, 50], 3).t();
        assert_eq!(linear(&x, &turned, None).to_vec(), record(|| linear(&x, &turned.tracked(), None)).to_vec());
    }
}
