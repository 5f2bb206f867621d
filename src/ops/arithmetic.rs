//! The operators `+ - * /` and unary minus: on tensors and scalars, on values and references, with broadcasting.
//!
//! An operand that is given by value, and that nobody else holds, is written in place.

use crate::autograd::{Pull, record_op};
use crate::element::{Float, Number};
use crate::kernels::elementwise;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::ops::{Add, Div, Mul, Neg, Sub};

impl<T: Number> Tensor<T> {
    /// `f(self, other)` with broadcasting, in place where `self` is the only handle on storage of the result's shape.
    #[track_caller]
    fn zip_into(mut self, op: &str, other: &Tensor<T>, f: impl Fn(T, T) -> T + Copy + Send + Sync) -> Tensor<T> {
        if self.layout.shape == other.layout.shape
            && other.is_contiguous()
            && let Some(out) = self.get_mut()
        {
            elementwise::zip_mut(out, other.elements(), f);
            return Tensor { entry: None, ..self };
        }
        self.zip_to(op, other, f)
    }

    /// `f` of every element, in place where `self` is the only handle.
    fn map_into(mut self, f: impl Fn(T) -> T + Copy + Send + Sync) -> Tensor<T> {
        if let Some(out) = self.get_mut() {
            elementwise::map_mut(out, f);
            return Tensor { entry: None, ..self };
        }
        self.map_to(f)
    }
}

/// A gradient of a broadcast result, summed back to the operand's shape.
#[track_caller]
#[inline(never)]
pub(super) fn unbroadcast<T: Float>(grad: Tensor<T>, shape: &Shape) -> Tensor<T> {
    if grad.dims() == *shape { grad } else { grad.sum_to(*shape) }
}

impl<T: Float> Tensor<T> {
    /// `self + other` with NumPy broadcasting; the operator `+`.
    #[track_caller]
    #[inline(never)]
    pub fn add(&self, other: &Tensor<T>) -> Tensor<T> {
        add(self, other, self.zip_to("add", other, |a, b| a + b))
    }

    /// `self - other` with NumPy broadcasting; the operator `-`.
    #[track_caller]
    #[inline(never)]
    pub fn sub(&self, other: &Tensor<T>) -> Tensor<T> {
        sub(self, other, self.zip_to("sub", other, |a, b| a - b))
    }

    /// `self * other`, element by element, with NumPy broadcasting; the operator `*`.
    #[track_caller]
    #[inline(never)]
    pub fn mul(&self, other: &Tensor<T>) -> Tensor<T> {
        let y = self.zip_to("mul", other, |a, b| a * b);
        record_op("mul", y, [self, other], || {
            // Each factor is kept only where the other one's gradient needs it.
            let a = other.is_tracked().then(|| self.clone());
            let b = self.is_tracked().then(|| other.clone());
            let (a_shape, b_shape) = (self.dims(), other.dims());
            move |pull: Pull<T>| {
                let db = pull.when_kept(1, &a, |grad, a| unbroadcast(grad * a, &b_shape));
                let kept = b.as_ref().filter(|_| pull.needs(0));
                [kept.map(|b| unbroadcast(pull.grad * b, &a_shape)), db]
            }
        })
    }

    /// `self / other`, element by element, with NumPy broadcasting; the operator `/`.
    #[track_caller]
    #[inline(never)]
    pub fn div(&self, other: &Tensor<T>) -> Tensor<T> {
        let y = self.zip_to("div", other, |a, b| a / b);
        record_op("div", y, [self, other], || {
            let (a, b) = (other.is_tracked().then(|| self.clone()), other.clone());
            let a_shape = self.dims();
            move |pull: Pull<T>| {
                // da = g / b, db = -g a / b^2
                let over = &pull.grad / &b;
                let db = pull.when_kept(1, &a, |_, a| unbroadcast(-(&over * a / &b), &b.dims()));
                [pull.needs(0).then(|| unbroadcast(over, &a_shape)), db]
            }
        })
    }

    /// `-self`.
    #[track_caller]
    #[inline(never)]
    pub fn neg(&self) -> Tensor<T> {
        record_op("neg", self.map_to(|x| -x), [self], || |pull: Pull<T>| [Some(-pull.grad)])
    }

    /// `self + c`.
    #[track_caller]
    #[inline(never)]
    pub fn add_scalar(&self, c: T) -> Tensor<T> {
        shift(self, self.map_to(move |x| x + c))
    }

    /// `self * c`.
    #[track_caller]
    #[inline(never)]
    pub fn mul_scalar(&self, c: T) -> Tensor<T> {
        scale(self, c, self.map_to(move |x| x * c))
    }

    /// A rank-0 constant, whatever this tensor holds.
    pub(crate) fn like(&self, c: f64) -> Tensor<T> {
        Tensor::scalar(T::of(c))
    }
}

#[track_caller]
#[inline]
fn add<T: Float>(a: &Tensor<T>, b: &Tensor<T>, y: Tensor<T>) -> Tensor<T> {
    record_op("add", y, [a, b], || {
        let (a_shape, b_shape) = (a.dims(), b.dims());
        move |pull: Pull<T>| {
            let da = pull.when(0, |g| unbroadcast(g.clone(), &a_shape));
            [da, pull.needs(1).then(|| unbroadcast(pull.grad, &b_shape))]
        }
    })
}

#[track_caller]
#[inline]
fn sub<T: Float>(a: &Tensor<T>, b: &Tensor<T>, y: Tensor<T>) -> Tensor<T> {
    record_op("sub", y, [a, b], || {
        let (a_shape, b_shape) = (a.dims(), b.dims());
        move |pull: Pull<T>| {
            let da = pull.when(0, |g| unbroadcast(g.clone(), &a_shape));
            [da, pull.needs(1).then(|| -unbroadcast(pull.grad, &b_shape))]
        }
    })
}

#[track_caller]
#[inline]
fn shift<T: Float>(x: &Tensor<T>, y: Tensor<T>) -> Tensor<T> {
    record_op("add_scalar", y, [x], || |pull: Pull<T>| [Some(pull.grad)])
}

#[track_caller]
#[inline]
fn scale<T: Float>(x: &Tensor<T>, c: T, y: Tensor<T>) -> Tensor<T> {
    record_op("mul_scalar", y, [x], || move |pull: Pull<T>| [Some(pull.grad * c)])
}

/// The four forms of one operator from its method on references; `owned` says how an operand given by value is used.
macro_rules! operator {
    ($Trait:ident $method:ident, |$a:ident, $b:ident| $owned_left:expr) => {
        impl<T: Float> $Trait<&Tensor<T>> for &Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            #[inline]
            fn $method(self, other: &Tensor<T>) -> Tensor<T> {
                Tensor::$method(self, other)
            }
        }
        impl<T: Float> $Trait<Tensor<T>> for &Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            #[inline]
            fn $method(self, other: Tensor<T>) -> Tensor<T> {
                Tensor::$method(self, &other)
            }
        }
        impl<T: Float> $Trait<&Tensor<T>> for Tensor<T> {
            type Output = Tensor<T>;
            #[inline(never)]
            #[track_caller]
            fn $method(self, $b: &Tensor<T>) -> Tensor<T> {
                let $a = self;
                $owned_left
            }
        }
        impl<T: Float> $Trait<Tensor<T>> for Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            #[inline]
            fn $method(self, other: Tensor<T>) -> Tensor<T> {
                $Trait::$method(self, &other)
            }
        }
    };
}
// Untracked operands are not needed again, so one that is given by value may be overwritten.
operator!(Add add, |a, b| if plain(&a, b) { a.zip_into("add", b, |a, b| a + b) } else { Tensor::add(&a, b) });
operator!(Sub sub, |a, b| if plain(&a, b) { a.zip_into("sub", b, |a, b| a - b) } else { Tensor::sub(&a, b) });
operator!(Mul mul, |a, b| if plain(&a, b) { a.zip_into("mul", b, |a, b| a * b) } else { Tensor::mul(&a, b) });
operator!(Div div, |a, b| if plain(&a, b) { a.zip_into("div", b, |a, b| a / b) } else { Tensor::div(&a, b) });

fn plain<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> bool {
    a.entry.is_none() && b.entry.is_none()
}

impl<T: Float> Neg for &Tensor<T> {
    type Output = Tensor<T>;
    #[track_caller]
    fn neg(self) -> Tensor<T> {
        Tensor::neg(self)
    }
}
impl<T: Float> Neg for Tensor<T> {
    type Output = Tensor<T>;
    #[inline(never)]
    #[track_caller]
    fn neg(self) -> Tensor<T> {
        if self.entry.is_none() { self.map_into(|x| -x) } else { Tensor::neg(&self) }
    }
}

/// A scalar on the right, of the tensor's element type: `x + 1.0`, `&x / 2.0`.
macro_rules! scalar_right {
    ($Trait:ident $method:ident, |$x:ident, $c:ident| $value:expr, |$y:ident| $record:expr) => {
        impl<T: Float> $Trait<T> for &Tensor<T> {
            type Output = Tensor<T>;
            #[inline(never)]
            #[track_caller]
            fn $method(self, $c: T) -> Tensor<T> {
                let $y = self.map_to(move |$x| $value);
                let $x = self;
                $record
            }
        }
        impl<T: Float> $Trait<T> for Tensor<T> {
            type Output = Tensor<T>;
            #[inline(never)]
            #[track_caller]
            fn $method(self, $c: T) -> Tensor<T> {
                if self.entry.is_none() { self.map_into(move |$x| $value) } else { $Trait::$method(&self, $c) }
            }
        }
    };
}
scalar_right!(Add add, |x, c| x + c, |y| shift(x, y));
scalar_right!(Sub sub, |x, c| x - c, |y| shift(x, y));
scalar_right!(Mul mul, |x, c| x * c, |y| scale(x, c, y));
scalar_right!(Div div, |x, c| x / c, |y| scale(x, T::ONE / c, y));

/// A scalar on the left: `1.0 - x`.
macro_rules! scalar_left {
    ($($t:ident)+) => {$(
        scalar_left!(@ $t Add add, |c, x| x + c);
        scalar_left!(@ $t Sub sub, |c, x| -x + c);
        scalar_left!(@ $t Mul mul, |c, x| x * c);
        scalar_left!(@ $t Div div, |c, x| Tensor::scalar(c) / x);
    )+};
    (@ $t:ident $Trait:ident $method:ident, |$c:ident, $x:ident| $value:expr) => {
        impl $Trait<&Tensor<$t>> for $t {
            type Output = Tensor<$t>;
            #[inline]
            #[track_caller]
            fn $method(self, $x: &Tensor<$t>) -> Tensor<$t> {
                let $c = self;
                $value
            }
        }
        impl $Trait<Tensor<$t>> for $t {
            type Output = Tensor<$t>;
            #[inline]
            #[track_caller]
            fn $method(self, $x: Tensor<$t>) -> Tensor<$t> {
                let $c = self;
                $value
            }
        }
    };
}
scalar_left!(f32 f64);

/// Integers: the same operators, never recorded. Overflow wraps around; division by zero panics.
macro_rules! integers {
    ($($t:ident)+) => {$(
        integers!(@ $t Add add, wrapping_add);
        integers!(@ $t Sub sub, wrapping_sub);
        integers!(@ $t Mul mul, wrapping_mul);
        integers!(@ $t Div div, wrapping_div);
    )+};
    (@ $t:ident $Trait:ident $method:ident, $f:ident) => {
        integers!(@impl $t $Trait $method, &Tensor<$t>, &Tensor<$t>, |a, b| a.zip_to(stringify!($method), b, $t::$f));
        integers!(@impl $t $Trait $method, &Tensor<$t>, Tensor<$t>, |a, b| a.zip_to(stringify!($method), &b, $t::$f));
        integers!(@impl $t $Trait $method, Tensor<$t>, &Tensor<$t>, |a, b| a.zip_into(stringify!($method), b, $t::$f));
        integers!(@impl $t $Trait $method, Tensor<$t>, Tensor<$t>, |a, b| a.zip_into(stringify!($method), &b, $t::$f));
        integers!(@impl $t $Trait $method, &Tensor<$t>, $t, |a, c| a.map_to(move |x| x.$f(c)));
        integers!(@impl $t $Trait $method, Tensor<$t>, $t, |a, c| a.map_into(move |x| x.$f(c)));
        integers!(@impl $t $Trait $method, $t, &Tensor<$t>, |c, a| a.map_to(move |x| c.$f(x)));
        integers!(@impl $t $Trait $method, $t, Tensor<$t>, |c, a| a.map_into(move |x| c.$f(x)));
    };
    (@impl $t:ident $Trait:ident $method:ident, $A:ty, $B:ty, |$a:ident, $b:ident| $value:expr) => {
        impl $Trait<$B> for $A {
            type Output = Tensor<$t>;
            // What is not called is not compiled, as it is with generic functions.
            #[inline]
            #[track_caller]
            fn $method(self, $b: $B) -> Tensor<$t> {
                let $a = self;
                $value
            }
        }
    };
}
integers!(i64 u8);

impl Neg for &Tensor<i64> {
    type Output = Tensor<i64>;
    fn neg(self) -> Tensor<i64> {
        self.map_to(i64::wrapping_neg)
    }
}

impl Neg for Tensor<i64> {
    type Output = Tensor<i64>;
    fn neg(self) -> Tensor<i64> {
        self.map_into(i64::wrapping_neg)
    }
}
