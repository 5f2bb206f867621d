//! Element-wise functions of two tensors: a row gives the method, the value and both derivatives.

use super::arithmetic::unbroadcast;
use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::elementwise;
use crate::tensor::Tensor;
use std::borrow::Borrow;

/// Rows: `name: |a, b| value, da, db;` the derivatives are compiled on numbers and on tensors, as in the table of `unary`.
macro_rules! binary {
    ($($(#[$meta:meta])* $name:ident: |$a:ident, $b:ident| $value:expr, $da:expr, $db:expr;)+) => {
        impl<T: Float> Tensor<T> {$(
            $(#[$meta])*
            #[track_caller]
            pub fn $name(&self, other: impl Borrow<Tensor<T>>) -> Tensor<T> {
                $name(self, other.borrow())
            }
        )+}

        $(
            #[inline(never)]
            #[track_caller]
            fn $name<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> Tensor<T> {
                let y = a.zip_to(stringify!($name), b, |$a: T, $b: T| $value);
                record_op(stringify!($name), y, [a, b], || {
                    let saved = (a.clone(), b.clone());
                    move |pull: Pull<T>| {
                        let (a, b) = (&saved.0, &saved.1);
                        let da = pull.when(0, |grad| {
                            if is_recording() {
                                let ($a, $b) = (a, b);
                                let slope: Tensor<T> = $da;
                                return unbroadcast(grad * slope, &a.dims());
                            }
                            unbroadcast(fused(grad, a, b, |grad, $a: T, $b: T| grad * $da), &a.dims())
                        });
                        let db = pull.when(1, |grad| {
                            if is_recording() {
                                let ($a, $b) = (a, b);
                                let slope: Tensor<T> = $db;
                                return unbroadcast(grad * slope, &b.dims());
                            }
                            unbroadcast(fused(grad, a, b, |grad, $a: T, $b: T| grad * $db), &b.dims())
                        });
                        [da, db]
                    }
                })
            }
        )+

        /// The names of the rows, for the test that every operation is checked.
        #[doc(hidden)]
        pub const NAMES: &[&str] = &[$(stringify!($name)),+];

        /// For the list of what is compiled here.
        pub(crate) fn compiled<T: Float>() -> Vec<*const ()> {
            vec![$($name::<T> as *const ()),+]
        }
    };
}

binary! {
    /// `a^b`; `da = b a^(b - 1)`, 0 at `b = 0`; `db = a^b log a`, 0 at `a = 0`.
    pow: |a, b| a.pow(b),
        // Where b is 0, 1^(b - 1) stands for a^(b - 1), which may be infinite.
        b * (a * b.abs().heaviside() + (b.like(1.0) - b.abs().heaviside())).pow(b - b.like(1.0)),
        a.pow(b) * (a + (a.like(1.0) - a.abs().heaviside())).log();

    /// The larger one, NaN where one is NaN; the gradient goes to the larger one, half to each where they are equal.
    maximum: |a, b| a.maximum(b),
        (a - b).heaviside() + ((a - b).abs().heaviside() * a.like(-0.5) + a.like(0.5)),
        (b - a).heaviside() + ((a - b).abs().heaviside() * a.like(-0.5) + a.like(0.5));

    /// The smaller one, NaN where one is NaN; the gradient goes to the smaller one, half to each where they are equal.
    minimum: |a, b| a.minimum(b),
        (b - a).heaviside() + ((a - b).abs().heaviside() * a.like(-0.5) + a.like(0.5)),
        (a - b).heaviside() + ((a - b).abs().heaviside() * a.like(-0.5) + a.like(0.5));
}

/// `f(grad, a, b)` element by element, `a` and `b` broadcast to the gradient's shape.
fn fused<T: Float>(
    grad: &Tensor<T>,
    a: &Tensor<T>,
    b: &Tensor<T>,
    f: impl Fn(T, T, T) -> T + Copy + Send + Sync,
) -> Tensor<T> {
    let shape = grad.dims();
    let (a, b) = (a.expanded(&shape), b.expanded(&shape));
    Tensor::build(shape, |y| elementwise::zip3_strided(&shape, grad.view(), a.view(), b.view(), y, f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;

    #[test]
    fn a_power_with_exponent_zero_has_gradient_zero_everywhere() {
        let a = Tensor::<f64>::from([0.0, -2.0, f64::INFINITY, 3.0]).tracked();
        let b = Tensor::from([0.0, 0.0, 0.0, 2.0]);
        let y = record(|| a.pow(&b));
        assert_eq!(y.to_vec(), [1.0, 1.0, 1.0, 9.0]);
        let grads = y.backward_with(&Tensor::full([4], 1.0));
        assert_eq!(grads.of(&a).to_vec()[..2], [0.0, 0.0]);
        assert_eq!(grads.of(&a).get(&[3]), 6.0);
    }
}
