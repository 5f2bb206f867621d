//! Element-wise functions of one tensor: a row gives the method, the value and the derivative.
//!
//! A row's derivative is compiled twice from the same text: on numbers, in one pass with the product with the upstream
//! gradient, and on tensors, where it is recorded for second order. So it may only use what both have: operators, the
//! functions of this table that [`Float`] has too, and `like(c)`, a constant of the same kind.
//!
//! Where `<FUSED>` follows the name, texts on numbers are compiled for instruction sets without fused multiply-adds and with
//! them, for the functions that end in `_as::<FUSED>`.

use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::elementwise;
use crate::tensor::Tensor;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// `sqrt(2 / pi)`, in the tanh form of GELU.
const SQRT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// `1 / sqrt(2 pi)`, of the normal density.
const FRAC_1_SQRT_2PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * 0.5;
/// The cubic coefficient in the tanh form of GELU (Hendrycks and Gimpel, 2016).
const GELU_CUBIC: f64 = 0.044715;

/// `one(values, f)`, or with an `f` in two forms `two(values, plain, fused)`.
macro_rules! forms {
    ($one:path, $two:path, [], $values:expr, |$($x:ident),+| $text:expr) => {
        $one($values, move |$($x: T),+| $text)
    };
    ($one:path, $two:path, [$FUSED:ident], $values:expr, |$($x:ident),+| $text:expr) => {
        $two(
            $values,
            move |$($x: T),+| form!(false, [$FUSED], $text),
            move |$($x: T),+| form!(true, [$FUSED], $text),
        )
    };
}

/// A text with its `FUSED`, if it has one.
macro_rules! form {
    ($fused:literal, [], $text:expr) => {
        $text
    };
    ($fused:literal, [$FUSED:ident], $text:expr) => {{
        #[allow(dead_code, reason = "a row may need it in one of its texts")]
        const $FUSED: bool = $fused;
        $text
    }};
}

/// Rows: `name(arguments): |x| value, of_x |x| derivative;` or `of_y |y| derivative`, whichever the derivative is a function
/// of; that one is saved.
macro_rules! unary {
    ($($(#[$meta:meta])* $name:ident $(<$FUSED:ident>)? ($($arg:ident),*): |$x:ident| $value:expr, $of:ident |$v:ident| $derivative:expr;)+) => {
        impl<T: Float> Tensor<T> {$(
            $(#[$meta])*
            #[inline(never)]
            #[track_caller]
            pub fn $name(&self $(, $arg: f64)*) -> Tensor<T> {
                let y = forms!(Tensor::map_to, Tensor::map_to_forms, [$($FUSED)?], self, |$x| $value);
                let saved = is_recording().then(|| $of(self, &y));
                record_op(stringify!($name), y, [self], || {
                    let saved = saved.expect("saved while recording");
                    move |pull: Pull<T>| {
                        if is_recording() {
                            let $v = &saved.attached(&pull);
                            let slope: Tensor<T> = form!(false, [$($FUSED)?], $derivative);
                            return [Some(&pull.grad * slope)];
                        }
                        let operands = (pull.grad, &saved.values);
                        [Some(forms!(pulled, pulled_forms, [$($FUSED)?], operands, |grad, $v| grad * $derivative))]
                    }
                })
            }
        )+}

        /// The names of the rows, for the test that every operation is checked.
        #[doc(hidden)]
        pub const NAMES: &[&str] = &[$(stringify!($name)),+];

        /// For the list of what is compiled here.
        pub(crate) fn compiled<T: Float>() -> Vec<*const ()> {
            vec![$(Tensor::<T>::$name as *const ()),+]
        }
    };
}

unary! {
    /// `e^x`; `dy/dx = y`.
    exp<FUSED>(): |x| x.exp_as::<FUSED>(), of_y |y| y * y.like(1.0);

    /// `e^x - 1`, exact near 0; `dy/dx = y + 1`.
    expm1<FUSED>(): |x| x.exp_m1_as::<FUSED>(), of_y |y| y + y.like(1.0);

    /// The natural logarithm; `dy/dx = 1 / x`.
    log(): |x| x.ln(), of_x |x| x.reciprocal();

    /// `log(1 + x)`, exact near 0; `dy/dx = 1 / (1 + x)`.
    log1p(): |x| x.ln_1p(), of_x |x| (x + x.like(1.0)).reciprocal();

    /// The square root; `dy/dx = 1 / 2y`.
    sqrt(): |x| x.sqrt(), of_y |y| (y * y.like(2.0)).reciprocal();

    /// `1 / sqrt(x)`; `dy/dx = -y^3 / 2`.
    rsqrt(): |x| x.sqrt().reciprocal(), of_y |y| y * y * y * y.like(-0.5);

    /// `x^2`; `dy/dx = 2x`.
    square(): |x| x * x, of_x |x| x * x.like(2.0);

    /// `1 / x`; `dy/dx = -y^2`.
    reciprocal(): |x| x.reciprocal(), of_y |y| y * y * y.like(-1.0);

    /// `x^exponent`; `dy/dx = exponent x^(exponent - 1)`, 0 for exponent 0.
    powf(exponent): |x| x.powf(exponent),
        of_x |x| if exponent == 0.0 { x.like(0.0) } else { x.powf(exponent - 1.0) * x.like(exponent) };

    /// The absolute value; `dy/dx = sign x`, 0 at 0.
    abs(): |x| x.abs(), of_x |x| x.sign();

    /// -1, 0 or 1; the derivative is 0.
    sign(): |x| x.sign(), of_x |x| x.like(0.0);

    /// 1 for `x > 0`, else 0; the derivative is 0.
    heaviside(): |x| x.heaviside(), of_x |x| x.like(0.0);

    /// The largest whole number that is not larger; the derivative is 0.
    floor(): |x| x.floor(), of_x |x| x.like(0.0);

    /// The smallest whole number that is not smaller; the derivative is 0.
    ceil(): |x| x.ceil(), of_x |x| x.like(0.0);

    /// The nearest whole number, halves to even; the derivative is 0.
    round(): |x| x.round(), of_x |x| x.like(0.0);

    /// The sine of `x` radians; `dy/dx = cos x`.
    sin(): |x| x.sin(), of_x |x| x.cos();

    /// The cosine of `x` radians; `dy/dx = -sin x`.
    cos(): |x| x.cos(), of_x |x| -x.sin();

    /// The hyperbolic tangent; `dy/dx = 1 - y^2`.
    tanh<FUSED>(): |x| x.tanh_as::<FUSED>(), of_y |y| y.like(1.0) - y * y;

    /// The logistic function `1 / (1 + e^-x)`; `dy/dx = y (1 - y)`.
    sigmoid<FUSED>(): |x| x.sigmoid_as::<FUSED>(), of_y |y| y * (y.like(1.0) - y);

    /// `log sigmoid x = -log(1 + e^-x)`, stable for any `x`; `dy/dx = sigmoid(-x)`.
    log_sigmoid<FUSED>(): |x| -(-x).softplus(), of_x |x| (-x).sigmoid_as::<FUSED>();

    /// The Gauss error function; `dy/dx = 2 / sqrt(pi) e^(-x^2)`.
    erf<FUSED>(): |x| x.erf_as::<FUSED>(), of_x |x| (-(x * x)).exp_as::<FUSED>() * x.like(FRAC_2_SQRT_PI);

    /// The normal distribution function `(1 + erf(x / sqrt 2)) / 2`; `dy/dx = e^(-x^2 / 2) / sqrt(2 pi)`.
    ndtr<FUSED>(): |x| x.ndtr_as::<FUSED>(), of_x |x| (x * x * x.like(-0.5)).exp_as::<FUSED>() * x.like(FRAC_1_SQRT_2PI);

    /// `log |Gamma(x)|`, the logarithm of the gamma function, infinite at 0 and at the negative whole numbers;
    /// `dy/dx = psi(x)`, [`Tensor::digamma`].
    lgamma(): |x| x.lgamma(), of_x |x| x.digamma();

    /// The derivative of [`Tensor::lgamma`], `psi(x) = Gamma'(x) / Gamma(x)`; `dy/dx = psi'(x)`.
    digamma(): |x| x.digamma(), of_x |x| x.polygamma(1.0);

    /// The `order`-th derivative of [`Tensor::digamma`], for a whole `order` from 0 on (else NaN);
    /// `dy/dx = polygamma(order + 1)`.
    polygamma(order): |x| x.polygamma(order), of_x |x| x.polygamma(order + 1.0);

    /// `max(x, 0)`; `dy/dx = 1` for `x > 0`, else 0.
    relu(): |x| x.relu(), of_y |y| y.heaviside();

    /// `x` for `x > 0`, else `slope x` (Maas et al., 2013); `dy/dx = 1` or `slope`.
    leaky_relu(slope): |x| if x > T::ZERO { x } else { x * T::of(slope) },
        of_x |x| x.heaviside() + (x.like(1.0) - x.heaviside()) * x.like(slope);

    /// `x` for `x > 0`, else `alpha (e^x - 1)` (Clevert et al., 2016); `dy/dx = 1` or `alpha e^x`.
    elu<FUSED>(alpha): |x| if x > T::ZERO { x } else { x.exp_m1_as::<FUSED>() * T::of(alpha) },
        of_x |x| x.heaviside() + (x.like(1.0) - x.heaviside()) * (-(-x).relu()).exp_as::<FUSED>() * x.like(alpha);

    /// `log(1 + e^x)`, stable for any `x`; `dy/dx = sigmoid x`.
    softplus<FUSED>(): |x| x.softplus(), of_x |x| x.sigmoid_as::<FUSED>();

    /// `x sigmoid x`, also called swish; `dy/dx = s + x s (1 - s)` with `s = sigmoid x`.
    silu<FUSED>(): |x| x * x.sigmoid_as::<FUSED>(),
        of_x |x| x.sigmoid_as::<FUSED>() * (x.like(1.0) + x * (x.like(1.0) - x.sigmoid_as::<FUSED>()));

    /// `x Phi(x)` with the normal distribution function [`Tensor::ndtr`] (Hendrycks and Gimpel, 2016);
    /// `dy/dx = Phi(x) + x phi(x)`.
    gelu<FUSED>(): |x| x * x.ndtr_as::<FUSED>(),
        of_x |x| x.ndtr_as::<FUSED>() + x * (x * x * x.like(-0.5)).exp_as::<FUSED>() * x.like(FRAC_1_SQRT_2PI);

    /// GELU's approximation `x (1 + tanh u) / 2`, `u = sqrt(2 / pi) (x + 0.044715 x^3)`;
    /// `dy/dx = (1 + tanh u) / 2 + x (1 - tanh^2 u) u' / 2`.
    gelu_tanh<FUSED>(): |x| x * T::of(0.5) * (T::ONE + gelu_inner(x).tanh_as::<FUSED>()),
        of_x |x| x.like(0.5) * (x.like(1.0) + (x * (x.like(SQRT_2_OVER_PI) + x * x * x.like(SQRT_2_OVER_PI * GELU_CUBIC))).tanh_as::<FUSED>())
            + x * x.like(0.5)
                * (x.like(1.0) - (x * (x.like(SQRT_2_OVER_PI) + x * x * x.like(SQRT_2_OVER_PI * GELU_CUBIC))).tanh_as::<FUSED>().square())
                * (x.like(SQRT_2_OVER_PI) + x * x * x.like(3.0 * SQRT_2_OVER_PI * GELU_CUBIC));

    /// `x`, at least `min` and at most `max`; `dy/dx = 1` inside and at the limits, 0 outside. Infinite limits are none.
    clamp(min, max): |x| x.maximum(T::of(min)).minimum(T::of(max)), of_x |x| x.inside(min, max);

    /// 1 where `min <= x <= max`, else 0; the derivative is 0.
    inside(min, max): |x| x.inside(min, max), of_x |x| x.like(0.0);
}

fn gelu_inner<T: Float>(x: T) -> T {
    x * (T::of(SQRT_2_OVER_PI) + x * x * T::of(SQRT_2_OVER_PI * GELU_CUBIC))
}

/// What a derivative is a function of.
struct Saved<T: Float> {
    values: Tensor<T>,
    is_output: bool,
}

fn of_x<T: Float>(x: &Tensor<T>, _y: &Tensor<T>) -> Saved<T> {
    Saved { values: x.clone(), is_output: false }
}

fn of_y<T: Float>(_x: &Tensor<T>, y: &Tensor<T>) -> Saved<T> {
    Saved { values: y.clone(), is_output: true }
}

impl<T: Float> Saved<T> {
    fn attached(&self, pull: &Pull<T>) -> Tensor<T> {
        if self.is_output { pull.attach(&self.values) } else { self.values.clone() }
    }
}

/// The gradient of `max(x, 0)` from its output, for operations that end with it.
#[track_caller]
pub(super) fn relu_grad<T: Float>(grad: Tensor<T>, y: &Tensor<T>) -> Tensor<T> {
    if is_recording() {
        return &grad * y.heaviside();
    }
    pulled((grad, y), |grad, y| grad * y.heaviside())
}

/// `f(grad, saved)` element by element; in place where nobody else holds the gradient, else in a copy.
fn pulled<T: Float>(
    (mut grad, saved): (Tensor<T>, &Tensor<T>),
    f: impl Fn(T, T) -> T + Copy + Send + Sync,
) -> Tensor<T> {
    elementwise::zip_mut(grad.make_mut(), saved.packed().elements(), f);
    grad
}

fn pulled_forms<T: Float>(
    (mut grad, saved): (Tensor<T>, &Tensor<T>),
    plain: impl Fn(T, T) -> T + Copy + Send + Sync,
    fused: impl Fn(T, T) -> T + Copy + Send + Sync,
) -> Tensor<T> {
    elementwise::zip_mut_forms(grad.make_mut(), saved.packed().elements(), plain, fused);
    grad
}

/// What [`Float`] has under these names: texts call them on tensors too, whose functions choose for themselves.
impl<T: Float> Tensor<T> {
    fn exp_as<const FUSED: bool>(&self) -> Tensor<T> {
        self.exp()
    }

    fn tanh_as<const FUSED: bool>(&self) -> Tensor<T> {
        self.tanh()
    }

    fn sigmoid_as<const FUSED: bool>(&self) -> Tensor<T> {
        self.sigmoid()
    }

    fn ndtr_as<const FUSED: bool>(&self) -> Tensor<T> {
        self.ndtr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;
    use crate::kernels::math::{erf, exp, exp_m1, exp_up_to_0, ndtr, sigmoid, tanh};
    use crate::kernels::simd::{Isa, PORTABLE_FUSES, with_isa};

    /// The bits of `f` where an instruction set has fused multiply-adds or not; they differ somewhere.
    fn expected(fused: bool, x: &[f32], plain: fn(f32) -> f32, with: fn(f32) -> f32) -> Vec<f32> {
        let [plain, with] = [plain, with].map(|f| x.iter().map(|&x| f(x)).collect::<Vec<f32>>());
        assert_ne!(plain, with);
        if fused { with } else { plain }
    }

    #[test]
    fn powers_that_are_products_or_roots_are_powers() {
        let x: Vec<f32> = [1.5, -2.25, 0.7, 1e-20, 1e12, 0.0, f32::INFINITY, f32::NAN].repeat(5);
        for exponent in [1.0, 2.0, 3.0, 0.5, -0.5, -1.0, -2.0, 0.0, 4.0, 2.5] {
            for (x, y) in x.iter().zip(Tensor::from(x.clone()).powf(exponent).to_vec()) {
                let expected = f64::from(*x).powf(exponent) as f32;
                let close = (y - expected).abs() <= 3e-7 * expected.abs();
                assert!(close || y == expected || y.is_nan() && expected.is_nan(), "{x}^{exponent}: {y} {expected}");
            }
        }
    }

    #[test]
    fn fused_multiply_adds_are_taken_where_there_are_any() {
        let x: Vec<f32> = (0..500).map(|i| i as f32 * 0.013 - 3.2).collect();
        let below: Vec<f32> = x.iter().map(|x| -x.abs()).collect();
        for isa in Isa::available() {
            let fused = isa != Isa::Portable || PORTABLE_FUSES;
            let of = |plain, with| expected(fused, &x, plain, with);
            with_isa(isa, || {
                let t = Tensor::from(x.clone());
                assert_eq!(t.exp().to_vec(), of(exp::<false>, exp::<true>), "{isa:?}");
                assert_eq!(t.expm1().to_vec(), of(exp_m1::<false>, exp_m1::<true>), "{isa:?}");
                assert_eq!(t.tanh().to_vec(), of(tanh::<false>, tanh::<true>), "{isa:?}");
                assert_eq!(t.sigmoid().to_vec(), of(sigmoid::<false>, sigmoid::<true>), "{isa:?}");
                assert_eq!(t.erf().to_vec(), of(erf::<false>, erf::<true>), "{isa:?}");
                assert_eq!(t.ndtr().to_vec(), of(ndtr::<false>, ndtr::<true>), "{isa:?}");
                // A derivative.
                let t = t.tracked();
                let slope = record(|| t.softplus().sum()).backward().of(&t).to_vec();
                assert_eq!(slope, of(sigmoid::<false>, sigmoid::<true>), "{isa:?}");
                // A kernel of its own.
                let pairs = Tensor::from(below.iter().flat_map(|&x| [0.0, x]).collect::<Vec<f32>>()).reshape([500, 2]);
                let exponentials = expected(fused, &below, exp_up_to_0::<false>, exp_up_to_0::<true>);
                let shares: Vec<f32> = exponentials.iter().map(|e| e * (1.0 / (1.0 + e))).collect();
                assert_eq!(pairs.softmax(1).select(1, 1).to_vec(), shares, "{isa:?}");
            });
        }
    }
}
