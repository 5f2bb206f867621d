//! A tensor whose element type is known at run time only: what a file holds.

use crate::element::{DType, Element};
use crate::tensor::Tensor;
use std::any::Any;

/// A tensor of any element type.
///
/// ```
/// use wengert::{Tensor, io::AnyTensor};
/// let any = AnyTensor::from(&Tensor::from([1_i64, 2, 3]));
/// assert_eq!(any.get::<i64>().unwrap().to_vec(), [1, 2, 3]);
/// assert!(any.get::<f32>().is_none());
/// ```
#[derive(Clone, Debug)]
pub enum AnyTensor {
    /// 32-bit floating point.
    F32(Tensor<f32>),
    /// 64-bit floating point.
    F64(Tensor<f64>),
    /// 64-bit signed integers.
    I64(Tensor<i64>),
    /// 8-bit unsigned integers.
    U8(Tensor<u8>),
    /// Truth values.
    Bool(Tensor<bool>),
}

macro_rules! each {
    ($any:expr, $x:ident => $value:expr) => {
        match $any {
            $crate::io::AnyTensor::F32($x) => $value,
            $crate::io::AnyTensor::F64($x) => $value,
            $crate::io::AnyTensor::I64($x) => $value,
            $crate::io::AnyTensor::U8($x) => $value,
            $crate::io::AnyTensor::Bool($x) => $value,
        }
    };
}
pub(super) use each;

impl AnyTensor {
    /// The sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        each!(self, x => x.shape())
    }

    /// The run-time name of the element type.
    pub fn dtype(&self) -> DType {
        each!(self, x => x.dtype())
    }

    /// The tensor, when its elements are `T`.
    pub fn get<T: Element>(&self) -> Option<Tensor<T>> {
        each!(self, x => (x as &dyn Any).downcast_ref::<Tensor<T>>().cloned())
    }
}

/// Shares the values, without the tape entry.
impl<T: Element> From<&Tensor<T>> for AnyTensor {
    fn from(x: &Tensor<T>) -> AnyTensor {
        fn same<T: Element, U: Element>(x: Tensor<T>) -> Tensor<U> {
            (&x as &dyn Any).downcast_ref::<Tensor<U>>().cloned().expect("the element type with this name")
        }
        let x = x.detached();
        match T::DTYPE {
            DType::F32 => AnyTensor::F32(same(x)),
            DType::F64 => AnyTensor::F64(same(x)),
            DType::I64 => AnyTensor::I64(same(x)),
            DType::U8 => AnyTensor::U8(same(x)),
            DType::Bool => AnyTensor::Bool(same(x)),
        }
    }
}

impl<T: Element> From<Tensor<T>> for AnyTensor {
    fn from(x: Tensor<T>) -> AnyTensor {
        AnyTensor::from(&x)
    }
}
