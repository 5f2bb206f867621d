//! Comparison, and choice by a mask.

use super::arithmetic::unbroadcast;
use crate::autograd::{Pull, record_op, same};
use crate::element::{DType, Element, Float};
use crate::kernels::elementwise;
use crate::shape::Shape;
use crate::tensor::{Tensor, broadcast_shape};

macro_rules! compare {
    ($($(#[$meta:meta])* $name:ident, $scalar:ident: $op:tt;)+) => {
        impl<T: Element> Tensor<T> {$(
            $(#[$meta])*
            #[inline(never)]
            #[track_caller]
            pub fn $name(&self, other: &Tensor<T>) -> Tensor<bool> {
                self.zip_to(stringify!($name), other, |a, b| a $op b)
            }

            #[doc = concat!("[`Tensor::", stringify!($name), "`] with one value.")]
            #[inline(never)]
            pub fn $scalar(&self, value: T) -> Tensor<bool> {
                self.map_to(move |a| a $op value)
            }
        )+}
    };
}

compare! {
    /// Where the elements are equal, with broadcasting. NaN equals nothing.
    eq, eq_scalar: ==;
    /// Where the elements differ, with broadcasting.
    ne, ne_scalar: !=;
    /// Where `self < other`, with broadcasting.
    lt, lt_scalar: <;
    /// Where `self <= other`, with broadcasting.
    le, le_scalar: <=;
    /// Where `self > other`, with broadcasting.
    gt, gt_scalar: >;
    /// Where `self >= other`, with broadcasting.
    ge, ge_scalar: >=;
}

impl Tensor<bool> {
    /// Where both are true, with broadcasting.
    #[track_caller]
    pub fn logical_and(&self, other: &Tensor<bool>) -> Tensor<bool> {
        self.zip_to("logical_and", other, |a, b| a & b)
    }

    /// Where at least one is true, with broadcasting.
    #[track_caller]
    pub fn logical_or(&self, other: &Tensor<bool>) -> Tensor<bool> {
        self.zip_to("logical_or", other, |a, b| a | b)
    }

    /// Where this one is false.
    pub fn logical_not(&self) -> Tensor<bool> {
        self.map_to(|a| !a)
    }

    /// `a` where this mask is true, else `b`; all three broadcast together (NumPy's `where`). The gradient goes to the one
    /// that was taken.
    ///
    /// ```
    /// use wengert::Tensor;
    /// let x = Tensor::from([-1.0_f32, 2.0]);
    /// let y = x.gt_scalar(0.0).choose(&x, &Tensor::scalar(0.0));
    /// assert_eq!(y.to_vec(), [0.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// When the shapes do not broadcast together.
    #[track_caller]
    #[inline(never)]
    pub fn choose<T: Element>(&self, a: &Tensor<T>, b: &Tensor<T>) -> Tensor<T> {
        let both = broadcast_shape("where", &a.dims(), &b.dims());
        let shape = broadcast_shape("where", &self.dims(), &both);
        let y = choose_to(&shape, self, a, b);
        match (&a.entry, &b.entry, T::DTYPE) {
            (None, None, _) => y,
            (_, _, DType::F32) => recorded::<f32, T>(self, a, b, y),
            _ => recorded::<f64, T>(self, a, b, y),
        }
    }
}

#[track_caller]
fn recorded<F: Float, T: Element>(mask: &Tensor<bool>, a: &Tensor<T>, b: &Tensor<T>, y: Tensor<T>) -> Tensor<T> {
    let float = |x: &Tensor<T>| -> Tensor<F> { same(x.clone()).expect("tracked tensors hold f32 or f64") };
    let (a, b) = (float(a), float(b));
    let y = record_op("where", same(y).expect("the type of a"), [&a, &b], || {
        let (mask, a_shape, b_shape) = (mask.clone(), a.dims(), b.dims());
        move |pull: Pull<F>| {
            let zero = Tensor::scalar(F::ZERO);
            [
                pull.when(0, |grad| unbroadcast(mask.choose(grad, &zero), &a_shape)),
                pull.when(1, |grad| unbroadcast(mask.choose(&zero, grad), &b_shape)),
            ]
        }
    });
    same(y).expect("the type of a")
}

fn choose_to<T: Element>(shape: &Shape, mask: &Tensor<bool>, a: &Tensor<T>, b: &Tensor<T>) -> Tensor<T> {
    let (mask, a, b) = (mask.expanded(shape), a.expanded(shape), b.expanded(shape));
    Tensor::build(*shape, |y| {
        elementwise::zip3_strided(shape, mask.view(), a.view(), b.view(), y, |mask, a, b| if mask { a } else { b });
    })
}

impl<T: Element> Tensor<T> {
    /// `value` where the mask is true, else this tensor's element.
    ///
    /// # Panics
    /// When the shapes do not broadcast together.
    #[track_caller]
    #[inline(never)]
    pub fn masked_fill(&self, mask: &Tensor<bool>, value: T) -> Tensor<T> {
        mask.choose(&Tensor::scalar(value), self)
    }
}
