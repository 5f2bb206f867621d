//! Conversion between element types.

use crate::autograd::{Pull, record_as, same};
use crate::element::{DType, Element, Float};
use crate::tensor::Tensor;
use std::any::Any as Dynamic;

impl<T: Element> Tensor<T> {
    /// The values in another element type: `as` between numbers, `!= 0` to `bool`, 0 or 1 from `bool`.
    ///
    /// Between floats it is recorded, and the gradient is cast back.
    ///
    /// ```
    /// let x = wengert::Tensor::from([0.0_f32, 1.7]);
    /// assert_eq!(x.cast::<i64>().to_vec(), [0, 1]);
    /// assert_eq!(x.cast::<bool>().to_vec(), [false, true]);
    /// ```
    #[inline(never)]
    #[track_caller]
    pub fn cast<U: Element>(&self) -> Tensor<U> {
        let y = self.map_to(U::of_element);
        match (&self.entry, T::DTYPE, U::DTYPE) {
            (Some(_), DType::F32, DType::F32) => recorded::<f32, f32, _, _>(self, y),
            (Some(_), DType::F32, DType::F64) => recorded::<f32, f64, _, _>(self, y),
            (Some(_), DType::F64, DType::F32) => recorded::<f64, f32, _, _>(self, y),
            (Some(_), DType::F64, DType::F64) => recorded::<f64, f64, _, _>(self, y),
            _ => y,
        }
    }
}

/// Records a cast from `S = T` to `R = U`.
#[track_caller]
fn recorded<S: Float, R: Float, T: Element, U: Element>(x: &Tensor<T>, y: Tensor<U>) -> Tensor<U> {
    let x: &Tensor<S> = (x as &dyn Dynamic).downcast_ref().expect("S is T");
    let y: Tensor<R> = same(y).expect("R is U");
    same(floats(x, y)).expect("R is U")
}

#[track_caller]
fn floats<S: Float, R: Float>(x: &Tensor<S>, y: Tensor<R>) -> Tensor<R> {
    record_as("cast", y, x, || |pull: Pull<R>| [Some(pull.grad.cast::<S>())])
}
