//! The element types of safetensors, and how each becomes one of ours.

use crate::element::{DType, Element};
use std::fmt::{self, Display, Formatter};

macro_rules! dtypes {
    ($($name:ident $bits:literal),+) => {
        /// An element type of the format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the format's own names")]
        #[repr(u8)]
        pub(super) enum Dtype {
            $($name),+
        }

        impl Dtype {
            /// The type with the format's name.
            pub fn named(name: &str) -> Option<Dtype> {
                match name {
                    $(stringify!($name) => Some(Dtype::$name),)+
                    _ => None,
                }
            }

            /// The bits of an element.
            pub fn bits(self) -> usize {
                match self {
                    $(Dtype::$name => $bits,)+
                }
            }
        }

        impl Display for Dtype {
            fn fmt(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str(match self {
                    $(Dtype::$name => stringify!($name),)+
                })
            }
        }
    };
}
dtypes! {
    BOOL 8, F4 4, F6_E2M3 6, F6_E3M2 6, U8 8, I8 8, F8_E5M2 8, F8_E4M3 8, F8_E8M0 8, F8_E4M3FNUZ 8, F8_E5M2FNUZ 8,
    I16 16, U16 16, F16 16, BF16 16, I32 32, U32 32, F32 32, C64 64, F64 64, I64 64, U64 64
}

impl Dtype {
    /// The type that elements of ours are written as.
    pub fn of(dtype: DType) -> Dtype {
        match dtype {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I64 => Dtype::I64,
            DType::U8 => Dtype::U8,
            DType::Bool => Dtype::BOOL,
        }
    }

    /// The element type of ours that holds every value of this one; `None` where there is none.
    pub fn ours(self) -> Option<DType> {
        match self {
            Dtype::F16 | Dtype::BF16 | Dtype::F32 => Some(DType::F32),
            Dtype::F64 => Some(DType::F64),
            Dtype::I64 => Some(DType::I64),
            Dtype::U8 => Some(DType::U8),
            Dtype::BOOL => Some(DType::Bool),
            _ => None,
        }
    }

    /// Whether elements of this type may be read as `dtype`: floats as floats, anything else as itself.
    pub fn reads_as(self, dtype: DType) -> bool {
        let is_float = |dtype| matches!(dtype, DType::F32 | DType::F64);
        self.ours().is_some_and(|ours| ours == dtype || (is_float(ours) && is_float(dtype)))
    }

    /// Turns bytes into elements, as many as `out` has room for; floats are rounded to the nearest.
    ///
    /// # Errors
    /// The place of a byte that is no value of the type.
    pub fn decode<T: Element>(self, bytes: &[u8], out: &mut [T]) -> Result<(), usize> {
        debug_assert!(self.reads_as(T::DTYPE) && bytes.len() * 8 == out.len() * self.bits());
        match self {
            Dtype::F32 => each(bytes, out, |b| T::of_element(f32::from_le_bytes(b))),
            Dtype::F64 => each(bytes, out, |b| T::of_element(f64::from_le_bytes(b))),
            Dtype::F16 => each(bytes, out, |b| T::of_element(f16_to_f32(u16::from_le_bytes(b)))),
            Dtype::BF16 => each(bytes, out, |b| T::of_element(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
            Dtype::I64 => each(bytes, out, |b| T::of_element(i64::from_le_bytes(b))),
            Dtype::U8 => each(bytes, out, |[b]| T::of_element(b)),
            Dtype::BOOL => match bytes.iter().position(|&b| b > 1) {
                Some(place) => return Err(place),
                None => each(bytes, out, |[b]| T::of_element(b)),
            },
            _ => unreachable!("{self} does not read as {}", T::DTYPE),
        }
        Ok(())
    }
}

#[inline(always)]
fn each<T, const N: usize>(bytes: &[u8], out: &mut [T], value: impl Fn([u8; N]) -> T) {
    for (y, &b) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *y = value(b);
    }
}

/// Appends the elements as little-endian bytes.
pub(super) fn encode<T: Element>(elements: &[T], out: &mut Vec<u8>) {
    match T::DTYPE {
        DType::F32 => append(elements, |x| x.to_f32().to_le_bytes(), out),
        DType::F64 => append(elements, |x| x.to_f64().to_le_bytes(), out),
        DType::I64 => append(elements, |x| x.to_i64().to_le_bytes(), out),
        DType::U8 | DType::Bool => append(elements, |x| [x.to_u8()], out),
    }
}

fn append<T: Copy, const N: usize>(elements: &[T], bytes: impl Fn(T) -> [u8; N], out: &mut Vec<u8>) {
    out.reserve(N * elements.len());
    for &x in elements {
        out.extend_from_slice(&bytes(x));
    }
}

/// IEEE 754 half precision: sign, 5 bits of exponent (bias 15), 10 of fraction. Every value is an `f32`.
fn f16_to_f32(x: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(x >> 15) << 31, u32::from(x >> 10) & 0x1f, u32::from(x) & 0x3ff);
    let magnitude = match exponent {
        // Zero and subnormal numbers: multiples of 2^-24.
        0 => (fraction as f32 * (1.0 / (1 << 24) as f32)).to_bits(),
        0x1f => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 127 - 15) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_precision_number_is_its_value() {
        for x in 0..=u16::MAX {
            let (sign, exponent, fraction) =
                (1.0 - 2.0 * f64::from(x >> 15), i32::from(x >> 10 & 31), f64::from(x & 1023));
            let y = f64::from(f16_to_f32(x));
            match (exponent, fraction) {
                (31, 0.0) => assert_eq!(y, sign * f64::INFINITY),
                (31, _) => assert!(y.is_nan()),
                (0, _) => assert_eq!(y, sign * fraction * 2f64.powi(-24)),
                _ => assert_eq!(y, sign * (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15)),
            }
            assert_eq!(y.is_sign_negative(), x >> 15 == 1);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        fn check<T: Element>(values: &[T]) {
            let mut bytes = Vec::new();
            encode(values, &mut bytes);
            let mut back = vec![T::default(); values.len()];
            Dtype::of(T::DTYPE).decode(&bytes, &mut back).unwrap();
            assert_eq!(back, values);
        }
        check(&[1.5_f32, -0.0, f32::MAX, f32::INFINITY]);
        check(&[0.1_f64, f64::MIN_POSITIVE]);
        check(&[i64::MIN, -1, 0, i64::MAX]);
        check(&[0_u8, 255]);
        check(&[true, false]);
    }

    #[test]
    fn floats_are_read_as_the_nearest_float_of_ours() {
        let read = |dtype: Dtype, bytes: &[u8]| {
            let mut y = [0.0_f32];
            dtype.decode(bytes, &mut y).unwrap();
            y[0]
        };
        assert_eq!(read(Dtype::F64, &0.1_f64.to_le_bytes()), 0.1);
        assert_eq!(read(Dtype::F64, &1e300_f64.to_le_bytes()), f32::INFINITY);
        assert_eq!(read(Dtype::BF16, &[0xc0, 0x3f]), 1.5);
        assert_eq!(read(Dtype::F16, &[0x00, 0xbe]), -1.5);
        let mut y = [0.0_f64];
        Dtype::F32.decode(&0.1_f32.to_le_bytes(), &mut y).unwrap();
        assert_eq!(y, [f64::from(0.1_f32)]);
    }

    #[test]
    fn a_byte_that_is_no_truth_value_is_an_error() {
        assert_eq!(Dtype::BOOL.decode(&[1, 0, 2], &mut [false; 3]), Err(2));
    }
}
