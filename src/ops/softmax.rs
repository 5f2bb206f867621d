//! Softmax, log-softmax and log-sum-exp.

use super::reduce::{dropped, kept};
use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::{elementwise, softmax};
use crate::shape::{Dims, MAX_RANK, axis};
use crate::tensor::Tensor;

/// A shape cut at a dimension: `[outer, n, inner]`.
fn cut(shape: &[usize], dim: usize) -> [usize; 3] {
    [&shape[..dim], &shape[dim..=dim], &shape[dim + 1..]].map(|part| part.iter().product())
}

impl<T: Float> Tensor<T> {
    /// `y = exp(x) / sum exp(x)` along a dimension, stable for any `x`: positive numbers that add up to 1.
    ///
    /// `dx = y (dy - sum dy y)`.
    ///
    /// ```
    /// let x = wengert::Tensor::from([[0.0_f32, 0.0], [1000.0, -1000.0]]);
    /// assert_eq!(x.softmax(1).to_vec(), [0.5, 0.5, 1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// When there is no such dimension.
    #[track_caller]
    #[inline(never)]
    pub fn softmax(&self, dim: isize) -> Tensor<T> {
        let cut = cut(self.shape(), axis("softmax", self.shape(), dim));
        let x = self.packed();
        let y = Tensor::build(self.dims(), |y| softmax::softmax(cut, x.elements(), y));
        record_op("softmax", y.clone(), [self], || {
            move |pull: Pull<T>| {
                if is_recording() {
                    let y = pull.attach(&y);
                    let mean = (&pull.grad * &y).sum_dim(dim, true);
                    return [Some(y * (&pull.grad - mean))];
                }
                let grad = pull.grad.packed();
                [Some(Tensor::build(y.dims(), |dx| softmax::softmax_back(cut, grad.elements(), y.elements(), dx)))]
            }
        })
    }

    /// `y = x - log sum exp(x)` along a dimension: the logarithm of [`Tensor::softmax`], finite where that is 0.
    ///
    /// `dx = dy - exp(y) sum dy`.
    ///
    /// ```
    /// let x = wengert::Tensor::from([1000.0_f32, -1000.0]);
    /// assert_eq!(x.log_softmax(-1).to_vec(), [0.0, -2000.0]);
    /// ```
    ///
    /// # Panics
    /// When there is no such dimension.
    #[track_caller]
    #[inline(never)]
    pub fn log_softmax(&self, dim: isize) -> Tensor<T> {
        let cut = cut(self.shape(), axis("log_softmax", self.shape(), dim));
        let x = self.packed();
        let y = Tensor::build(self.dims(), |y| softmax::log_softmax(cut, x.elements(), y));
        record_op("log_softmax", y.clone(), [self], || {
            move |pull: Pull<T>| {
                if is_recording() {
                    let total = pull.grad.sum_dim(dim, true);
                    return [Some(&pull.grad - pull.attach(&y).exp() * total)];
                }
                let grad = pull.grad.packed();
                [Some(Tensor::build(y.dims(), |dx| softmax::log_softmax_back(cut, grad.elements(), y.elements(), dx)))]
            }
        })
    }

    /// `y = log sum exp(x)` over the given dimensions, stable for any `x`; `keepdim` keeps them with size 1. Minus infinity
    /// where there is nothing to add.
    ///
    /// `dx = dy exp(x - y)`.
    ///
    /// ```
    /// let x = wengert::Tensor::from([1000.0_f32, 1000.0]);
    /// assert_eq!(x.logsumexp(0, false).item(), 1000.0 + 2.0_f32.ln());
    /// ```
    ///
    /// # Panics
    /// When there is no such dimension, or one is named twice.
    #[track_caller]
    pub fn logsumexp(&self, dims: impl Dims, keepdim: bool) -> Tensor<T> {
        self.logsumexp_over(dims.mask("logsumexp", self.shape()), keepdim)
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn logsumexp_over(&self, mask: [bool; MAX_RANK], keepdim: bool) -> Tensor<T> {
        let mut y = self.packed();
        // Along one dimension after the other: log sum exp of log sum exp is that of all.
        for dim in (0..self.rank()).rev().filter(|&dim| mask[dim]) {
            let cut = cut(y.shape(), dim);
            let mut shape = y.dims();
            shape[dim] = 1;
            y = Tensor::build(shape, |out| softmax::logsumexp(cut, y.elements(), out));
        }
        debug_assert_eq!(y.dims(), kept(&self.dims(), &mask));
        let y = record_op("logsumexp", y.clone(), [self], || {
            let x = self.clone();
            move |pull: Pull<T>| {
                if is_recording() {
                    let y = pull.attach(&y);
                    // All terms are 0 there; the difference of two infinities would be NaN.
                    let y = y.masked_fill(&y.eq_scalar(T::LOWEST), T::ZERO);
                    return [Some((&x - y).exp() * &pull.grad)];
                }
                let shape = x.dims();
                let (y, grad) = (y.expanded(&shape), pull.grad.expanded(&shape));
                let term = |x: T, y: T, grad: T| grad * (x - if y == T::LOWEST { T::ZERO } else { y }).exp();
                let (x, y, grad) = (x.view(), y.view(), grad.view());
                [Some(Tensor::build(shape, |dx| elementwise::zip3_strided(&shape, x, y, grad, dx, term)))]
            }
        });
        if keepdim { y } else { y.reshape(dropped(&self.dims(), &mask)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{gradcheck, gradgradcheck, record};

    fn noise(shape: impl Into<crate::Shape>) -> Tensor<f64> {
        (Tensor::randn_with(shape, &mut crate::Rng::new(3)) * 2.0).cast()
    }

    /// Contiguous, transposed, sliced, broadcast, and with sizes 0 and 1; each with a dimension.
    fn inputs() -> Vec<(Tensor<f64>, isize)> {
        vec![
            (noise([3, 5]), 1),
            (noise([3, 5]), 0),
            (noise([7]), 0),
            (noise([2, 3, 4]), -2),
            (noise([4, 3]).t(), 1),
            (noise([5, 8]).narrow(1, 2, 4), 1),
            (noise([5, 8]).narrow(1, 2, 4), 0),
            (noise([1, 4]).expand([3, 4]), 0),
            (noise([3, 1]), 1),
            (noise([3, 0]), 1),
            (noise([3, 0]), 0),
            (noise([0, 3]), 1),
        ]
    }

    #[test]
    fn gradients_agree_with_finite_differences_in_first_and_second_order() {
        for (x, dim) in inputs() {
            for f in [
                |x: &Tensor<f64>, dim| x.softmax(dim).square(),
                |x: &Tensor<f64>, dim| x.log_softmax(dim).square(),
                |x: &Tensor<f64>, dim| (x * 0.3).log_softmax(dim).exp(),
            ] {
                gradcheck(|x| f(&x[0], dim), std::slice::from_ref(&x)).unwrap();
                gradgradcheck(|x| f(&x[0], dim), std::slice::from_ref(&x)).unwrap();
            }
            if x.numel() > 0 {
                for keepdim in [false, true] {
                    gradcheck(|x| x[0].logsumexp(dim, keepdim).square(), std::slice::from_ref(&x)).unwrap();
                    gradgradcheck(|x| x[0].logsumexp(dim, keepdim).square(), std::slice::from_ref(&x)).unwrap();
                }
            }
        }
        let x = noise([3, 2, 4]);
        gradcheck(|x| x[0].logsumexp([0, 2], false).square(), std::slice::from_ref(&x)).unwrap();
        gradgradcheck(|x| x[0].logsumexp(.., false).square(), &[x]).unwrap();
    }

    #[test]
    fn a_view_gives_what_its_copy_gives() {
        for (x, dim) in inputs() {
            let copy = Tensor::from_vec(x.to_vec(), x.dims());
            assert_eq!(x.softmax(dim).to_vec(), copy.softmax(dim).to_vec());
            assert_eq!(x.log_softmax(dim).to_vec(), copy.log_softmax(dim).to_vec());
            assert_eq!(x.logsumexp(dim, true).to_vec(), copy.logsumexp(dim, true).to_vec());
        }
    }

    #[test]
    fn logsumexp_over_several_dimensions_is_that_of_all_their_elements() {
        let x = noise([3, 2, 4]);
        let direct = x.exp().sum_dim([0, 2], true).log();
        let y = x.logsumexp([0, -1], true);
        assert_eq!(y.shape(), [1, 2, 1]);
        y.to_vec().iter().zip(direct.to_vec()).for_each(|(y, d)| assert!((y - d).abs() < 1e-14));
        assert_eq!(Tensor::<f64>::full([2, 0], 1.0).logsumexp(1, false).to_vec(), [f64::NEG_INFINITY; 2]);
        let none: [isize; 0] = [];
        assert_eq!(x.logsumexp(none, false).to_vec(), x.to_vec());
    }

    #[test]
    fn minus_infinity_has_gradient_0_in_logsumexp() {
        let low = f64::NEG_INFINITY;
        let x = Tensor::from([[low, low], [low, 1.0]]).tracked();
        let grads = record(|| x.logsumexp(1, false).sum()).backward();
        assert_eq!(grads.of(&x).to_vec(), [0.0, 0.0, 0.0, 1.0]);
        let twice = record(|| {
            let g = x.logsumexp(1, false).sum().backward_graph().of(&x).clone();
            g.sum()
        });
        assert_eq!(twice.item(), 1.0);
    }

    #[test]
    #[should_panic(expected = "softmax: [2, 3]: expected a dimension from -2 to 1, found 2")]
    fn a_dimension_that_is_not_there_is_refused() {
        noise([2, 3]).softmax(2);
    }
}
