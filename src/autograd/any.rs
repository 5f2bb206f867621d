//! A tensor of either float type: what travels along a tape on which `f32` and `f64` meet in a cast.

use super::rows::Rows;
use crate::element::Float;
use crate::kernels::elementwise;
use crate::tensor::Tensor;
use std::any::Any as Dynamic;

#[derive(Clone)]
pub(crate) enum Any {
    F32(Tensor<f32>),
    F64(Tensor<f64>),
    /// Only ever the gradient of a leaf.
    Rows32(Rows<f32>),
    /// Only ever the gradient of a leaf.
    Rows64(Rows<f64>),
}

/// `x` as a `B`, where `A` and `B` are the same type.
pub(crate) fn same<A: 'static, B: 'static>(x: A) -> Option<B> {
    let mut x = Some(x);
    (&mut x as &mut dyn Dynamic).downcast_mut::<Option<B>>()?.take()
}

/// A value of the tensor, or of the rows.
macro_rules! each {
    ($any:expr, $x:ident => $value:expr, $rows:ident => $of_rows:expr) => {
        match $any {
            Any::F32($x) => $value,
            Any::F64($x) => $value,
            Any::Rows32($rows) => $of_rows,
            Any::Rows64($rows) => $of_rows,
        }
    };
}

impl Any {
    #[inline]
    pub fn of<T: Float>(x: Tensor<T>) -> Any {
        match T::DTYPE {
            crate::element::DType::F32 => Any::F32(same(x).expect("an f32 tensor")),
            _ => Any::F64(same(x).expect("an f64 tensor")),
        }
    }

    pub fn of_rows<T: Float>(rows: Rows<T>) -> Any {
        match T::DTYPE {
            crate::element::DType::F32 => Any::Rows32(same(rows).expect("rows of f32")),
            _ => Any::Rows64(same(rows).expect("rows of f64")),
        }
    }

    /// The tensor, when its elements are `T`.
    #[inline]
    pub fn get<T: Float>(self) -> Option<Tensor<T>> {
        each!(self, x => same(x), rows => same(rows.whole()))
    }

    /// The rows, where it has been kept as such, when their elements are `T`.
    pub fn rows<T: Float>(&self) -> Option<&Rows<T>> {
        each!(self, _x => None, rows => (rows as &dyn Dynamic).downcast_ref())
    }

    pub fn shape(&self) -> &[usize] {
        each!(self, x => x.shape(), rows => rows.shape())
    }

    /// Elements of the values that are NaN or infinite.
    pub fn not_finite(&self) -> usize {
        each!(self, x => not_finite(x), rows => not_finite(rows.values()))
    }

    pub fn packed(self) -> Any {
        match self {
            Any::F32(x) => Any::F32(packed(x)),
            Any::F64(x) => Any::F64(packed(x)),
            rows => rows,
        }
    }

    pub fn scaled(self, by: f64) -> Any {
        match self {
            Any::F32(x) => Any::F32(scaled(x, by)),
            Any::F64(x) => Any::F64(scaled(x, by)),
            Any::Rows32(rows) => Any::Rows32(scaled_rows(rows, by)),
            Any::Rows64(rows) => Any::Rows64(scaled_rows(rows, by)),
        }
    }

    /// The sum of the squares of all elements, in `f64`.
    pub fn sum_of_squares(&self) -> f64 {
        each!(self, x => sum_of_squares(x), rows => sum_of_squares(rows.values()))
    }

    /// The sum of two gradients of the same tensor, recorded while recording is on.
    #[track_caller]
    pub fn plus(self, other: Any) -> Any {
        match (self, other) {
            (Any::F32(a), Any::F32(b)) => Any::F32(plus(a, b)),
            (Any::F64(a), Any::F64(b)) => Any::F64(plus(a, b)),
            (Any::Rows32(a), Any::Rows32(b)) => Any::Rows32(a.plus(&b)),
            (Any::Rows64(a), Any::Rows64(b)) => Any::Rows64(a.plus(&b)),
            (Any::F32(a), Any::Rows32(b)) | (Any::Rows32(b), Any::F32(a)) => Any::F32(plus(a, b.whole())),
            (Any::F64(a), Any::Rows64(b)) | (Any::Rows64(b), Any::F64(a)) => Any::F64(plus(a, b.whole())),
            _ => unreachable!("gradients of one tensor have its element type"),
        }
    }
}

fn not_finite<T: Float>(x: &Tensor<T>) -> usize {
    x.packed().elements().iter().filter(|x| !x.is_finite()).count()
}

fn sum_of_squares<T: Float>(x: &Tensor<T>) -> f64 {
    x.packed().elements().iter().map(|x| x.to_f64() * x.to_f64()).sum()
}

fn scaled_rows<T: Float>(rows: Rows<T>, by: f64) -> Rows<T> {
    let values = scaled(rows.values().clone(), by);
    rows.with_values(values)
}

fn packed<T: Float>(x: Tensor<T>) -> Tensor<T> {
    if x.is_contiguous() { x } else { Tensor { entry: x.entry.clone(), ..x.packed() } }
}

fn scaled<T: Float>(mut x: Tensor<T>, by: f64) -> Tensor<T> {
    let by = T::of(by);
    x.entry = None;
    elementwise::map_mut(x.make_mut(), |x| x * by);
    x
}

#[track_caller]
fn plus<T: Float>(mut a: Tensor<T>, mut b: Tensor<T>) -> Tensor<T> {
    if super::is_recording() {
        let sum = a.zip_to("add", &b, |a, b| a + b);
        return super::record_op("add", sum, [&a, &b], || {
            |pull: super::Pull<T>| [Some(pull.grad.clone()), Some(pull.grad)]
        });
    }
    if b.is_contiguous()
        && let Some(sum) = a.get_mut()
    {
        elementwise::zip_mut(sum, b.elements(), |a, b| a + b);
        return a;
    }
    if a.is_contiguous()
        && let Some(sum) = b.get_mut()
    {
        elementwise::zip_mut(sum, a.elements(), |b, a| a + b);
        return b;
    }
    a.zip_to("add", &b, |a, b| a + b)
}
