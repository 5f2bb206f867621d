//! The sealed element types of tensors: `f32`, `f64` (differentiable: [`Float`]), `i64`, `u8` and `bool`.

use crate::kernels::math;
use crate::kernels::simd::Isa;
use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// The run-time name of an element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 64-bit signed integer: labels and indices.
    I64,
    /// 8-bit unsigned integer: pixels.
    U8,
    /// Truth values: masks.
    Bool,
}

impl Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::Bool => "bool",
        })
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type that a tensor can hold. Sealed: the kernels know every one.
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + PartialOrd + Debug + Display + Send + Sync + 'static
{
    /// The run-time name.
    const DTYPE: DType;
    /// Whether every bit pattern is a value, so that recycled memory may be handed out as it is.
    const ANY_BITS: bool;

    /// A value of another element type as one of this: `as` between numbers, `!= 0` to `bool`, 0 or 1 from `bool`.
    fn of_element<U: Element>(x: U) -> Self;
    /// The value as `f32`.
    fn to_f32(self) -> f32;
    /// The value as `f64`.
    fn to_f64(self) -> f64;
    /// The value as `i64`.
    fn to_i64(self) -> i64;
    /// The value as `u8`.
    fn to_u8(self) -> u8;
    /// Whether the value is not zero.
    fn to_bool(self) -> bool;

    /// The version of a kernel for an instruction set. A version that is not called here is not compiled: only `f32` has
    /// one for AVX-512, the other types take that for AVX2 there and get the same bits.
    #[doc(hidden)]
    #[inline(always)]
    fn on<A, R>(
        isa: Isa,
        args: A,
        _avx512: impl Fn(A) -> R + Copy,
        avx2: impl Fn(A) -> R + Copy,
        portable: impl Fn(A) -> R + Copy,
    ) -> R {
        if isa == Isa::Portable { portable(args) } else { avx2(args) }
    }
}

/// An element type with arithmetic: all but `bool`.
pub trait Number:
    Element + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + AddAssign + std::iter::Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The smallest value; minus infinity for floats.
    const LOWEST: Self;
    /// The largest value; infinity for floats.
    const HIGHEST: Self;

    /// The sum; of integers, wrapped around.
    fn plus(self, other: Self) -> Self;
    /// The larger one; NaN where one is NaN.
    fn maximum(self, other: Self) -> Self;
    /// The smaller one; NaN where one is NaN.
    fn minimum(self, other: Self) -> Self;
}

/// A differentiable element type: `f32` or `f64`.
pub trait Float: Number + Neg<Output = Self> + crate::kernels::gemm::Gemm {
    /// The difference between 1 and the next larger value.
    const EPSILON: Self;

    /// The nearest value to an `f64` constant.
    fn of(x: f64) -> Self;
    /// Whether the value is neither NaN nor an infinity.
    fn is_finite(self) -> bool;
    /// Whether the value is NaN.
    fn is_nan(self) -> bool;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The largest whole number that is not larger.
    fn floor(self) -> Self;
    /// The smallest whole number that is not smaller.
    fn ceil(self) -> Self;
    /// The nearest whole number, halves to even.
    fn round(self) -> Self;
    /// `e^x`.
    #[inline(always)]
    fn exp(self) -> Self {
        self.exp_as::<false>()
    }
    /// [`Float::exp`], which may take fused multiply-adds where `FUSED`: it is 1.5 times as fast then on a processor that has
    /// them.
    #[doc(hidden)]
    fn exp_as<const FUSED: bool>(self) -> Self;
    /// `e^x` for an `x` that is not above 0, where what is too small for a normal number may be 0.
    #[doc(hidden)]
    fn exp_up_to_0<const FUSED: bool>(self) -> Self;
    /// [`Float::tanh`], see [`Float::exp_as`].
    #[doc(hidden)]
    fn tanh_as<const FUSED: bool>(self) -> Self;
    /// [`Float::sigmoid`], see [`Float::exp_as`].
    #[doc(hidden)]
    fn sigmoid_as<const FUSED: bool>(self) -> Self;
    /// [`Float::exp_m1`], see [`Float::exp_as`].
    #[doc(hidden)]
    fn exp_m1_as<const FUSED: bool>(self) -> Self;
    /// [`Float::erf`], see [`Float::exp_as`].
    #[doc(hidden)]
    fn erf_as<const FUSED: bool>(self) -> Self;
    /// [`Float::ndtr`], see [`Float::exp_as`].
    #[doc(hidden)]
    fn ndtr_as<const FUSED: bool>(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// `ln(1 + x)`, exact near 0.
    fn ln_1p(self) -> Self;
    /// The sine; radians.
    fn sin(self) -> Self;
    /// The cosine; radians.
    fn cos(self) -> Self;
    /// The hyperbolic tangent.
    #[inline(always)]
    fn tanh(self) -> Self {
        self.tanh_as::<false>()
    }
    /// The logistic function `1 / (1 + e^-x)`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        self.sigmoid_as::<false>()
    }
    /// The Gauss error function.
    #[inline(always)]
    fn erf(self) -> Self {
        self.erf_as::<false>()
    }
    /// The normal distribution function `(1 + erf(x / sqrt 2)) / 2`, under PyTorch's name.
    #[inline(always)]
    fn ndtr(self) -> Self {
        self.ndtr_as::<false>()
    }
    /// `e^x - 1`, exact near 0.
    #[inline(always)]
    fn exp_m1(self) -> Self {
        self.exp_m1_as::<false>()
    }
    /// `x^y`.
    fn pow(self, y: Self) -> Self;
    /// `x^n`.
    fn powi(self, n: i32) -> Self;

    /// `x^y` for a constant `y`; common ones are products and roots, as in PyTorch, and loops choose once.
    #[inline(always)]
    fn powf(self, y: f64) -> Self {
        if y == 1.0 {
            self
        } else if y == 2.0 {
            self * self
        } else if y == 3.0 {
            self * self * self
        } else if y == 0.5 {
            self.sqrt()
        } else if y == -0.5 {
            self.sqrt().reciprocal()
        } else if y == -1.0 {
            self.reciprocal()
        } else if y == -2.0 {
            (self * self).reciprocal()
        } else {
            self.pow(Self::of(y))
        }
    }
    /// The natural logarithm, under PyTorch's name.
    #[inline(always)]
    fn log(self) -> Self {
        self.ln()
    }
    /// The constant `c`, whatever the value: the same text then serves numbers and tensors.
    #[inline(always)]
    fn like(self, c: f64) -> Self {
        Self::of(c)
    }
    /// `1 / x`.
    #[inline(always)]
    fn reciprocal(self) -> Self {
        Self::ONE / self
    }
    /// `x^2`.
    #[inline(always)]
    fn square(self) -> Self {
        self * self
    }
    /// `max(x, 0)`; NaN stays NaN.
    #[inline(always)]
    fn relu(self) -> Self {
        if self < Self::ZERO { Self::ZERO } else { self }
    }
    /// 1 for `x > 0`, else 0.
    #[inline(always)]
    fn heaviside(self) -> Self {
        if self > Self::ZERO { Self::ONE } else { Self::ZERO }
    }
    /// -1, 0 or 1; NaN stays NaN.
    #[inline(always)]
    fn sign(self) -> Self {
        if self > Self::ZERO {
            Self::ONE
        } else if self < Self::ZERO {
            -Self::ONE
        } else {
            self
        }
    }
    /// 1 for `min <= x <= max`, else 0.
    #[inline(always)]
    fn inside(self, min: f64, max: f64) -> Self {
        if self >= Self::of(min) && self <= Self::of(max) { Self::ONE } else { Self::ZERO }
    }
    /// `ln(1 + e^x)`, stable for any `x`.
    fn softplus(self) -> Self;
    /// `ln |Gamma(x)|`.
    #[inline(always)]
    fn lgamma(self) -> Self {
        Self::of(math::lgamma(self.to_f64()))
    }
    /// The derivative of [`Float::lgamma`].
    #[inline(always)]
    fn digamma(self) -> Self {
        Self::of(math::digamma(self.to_f64()))
    }
    /// The `order`-th derivative of [`Float::digamma`]; NaN when that is not a whole number.
    #[inline(always)]
    fn polygamma(self, order: f64) -> Self {
        Self::of(math::polygamma(order, self.to_f64()))
    }
}

macro_rules! element {
    ($t:ty, $dtype:ident, $any:literal, $to:ident, |$x:ident| ($number:expr, $truth:expr) $($item:item)*) => {
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            const ANY_BITS: bool = $any;
            #[inline(always)]
            fn of_element<U: Element>(x: U) -> Self {
                x.$to()
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                let $x = self;
                $number as f32
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                let $x = self;
                $number as f64
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                let $x = self;
                $number as i64
            }
            #[inline(always)]
            fn to_u8(self) -> u8 {
                let $x = self;
                $number as u8
            }
            #[inline(always)]
            fn to_bool(self) -> bool {
                let $x = self;
                $truth
            }
            $($item)*
        }
    };
}
element!(f32, F32, true, to_f32, |x| (x, x != 0.0)
    #[inline(always)]
    fn on<A, R>(
        isa: Isa,
        args: A,
        avx512: impl Fn(A) -> R + Copy,
        avx2: impl Fn(A) -> R + Copy,
        portable: impl Fn(A) -> R + Copy,
    ) -> R {
        match isa {
            Isa::Portable => portable(args),
            Isa::Avx2 => avx2(args),
            Isa::Avx512 => avx512(args),
        }
    }
);
element!(f64, F64, true, to_f64, |x| (x, x != 0.0));
element!(i64, I64, true, to_i64, |x| (x, x != 0));
element!(u8, U8, true, to_u8, |x| (x, x != 0));
element!(bool, Bool, false, to_bool, |x| (x as u8, x));

macro_rules! integer {
    ($t:ty) => {
        impl Number for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$t>::MIN;
            const HIGHEST: Self = <$t>::MAX;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                self.max(other)
            }
            #[inline(always)]
            fn minimum(self, other: Self) -> Self {
                self.min(other)
            }
        }
    };
}
integer!(i64);
integer!(u8);

/// `exp`, .. are what the kernels' loops inline: of `f32` functions that vectorise. `FUSED` is that of the method.
macro_rules! float {
    ($t:ident, $exp:path, $exp_up_to_0:path, $exp_m1:path, $ln:path, $ln_1p:path, $sin:path, $cos:path, $tanh:path, $sigmoid:path, $erf:path, $ndtr:path,
     $softplus:path) => {
        impl Number for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $t::NEG_INFINITY;
            const HIGHEST: Self = $t::INFINITY;
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                // NaN in `self` fails the first comparison and is kept by the second.
                if other > self || other != other { other } else { self }
            }
            #[inline(always)]
            fn minimum(self, other: Self) -> Self {
                if other < self || other != other { other } else { self }
            }
        }
        impl Float for $t {
            const EPSILON: Self = $t::EPSILON;
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                $t::floor(self)
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                $t::ceil(self)
            }
            #[inline(always)]
            fn round(self) -> Self {
                $t::round_ties_even(self)
            }
            #[inline(always)]
            fn exp_as<const FUSED: bool>(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn exp_up_to_0<const FUSED: bool>(self) -> Self {
                $exp_up_to_0(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $ln_1p(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                $sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                $cos(self)
            }
            #[inline(always)]
            fn tanh_as<const FUSED: bool>(self) -> Self {
                $tanh(self)
            }
            #[inline(always)]
            fn sigmoid_as<const FUSED: bool>(self) -> Self {
                $sigmoid(self)
            }
            #[inline(always)]
            fn erf_as<const FUSED: bool>(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn ndtr_as<const FUSED: bool>(self) -> Self {
                $ndtr(self)
            }
            #[inline(always)]
            fn softplus(self) -> Self {
                $softplus(self)
            }
            #[inline(always)]
            fn exp_m1_as<const FUSED: bool>(self) -> Self {
                $exp_m1(self)
            }
            #[inline(always)]
            fn pow(self, y: Self) -> Self {
                $t::powf(self, y)
            }
            #[inline(always)]
            fn powi(self, n: i32) -> Self {
                $t::powi(self, n)
            }
        }
    };
}
float!(
    f32,
    math::exp::<FUSED>,
    math::exp_up_to_0::<FUSED>,
    math::exp_m1::<FUSED>,
    math::ln,
    math::ln_1p,
    math::sin,
    math::cos,
    math::tanh::<FUSED>,
    math::sigmoid::<FUSED>,
    math::erf::<FUSED>,
    math::ndtr::<FUSED>,
    math::softplus
);
float!(
    f64,
    f64::exp,
    f64::exp,
    f64::exp_m1,
    f64::ln,
    f64::ln_1p,
    f64::sin,
    f64::cos,
    f64::tanh,
    math::sigmoid_f64,
    math::erf_f64,
    math::ndtr_f64,
    math::softplus_f64
);
