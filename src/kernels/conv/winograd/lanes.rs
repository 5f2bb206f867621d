//! Numbers that the transforms handle side by side.

use crate::element::Float;
use std::ops::{Add, Mul, Sub};

/// How many; the width of a panel of `f32` is a multiple.
pub(super) const L: usize = 8;

#[derive(Clone, Copy)]
pub(super) struct Lanes<T>([T; L]);

impl<T: Float> Lanes<T> {
    #[inline(always)]
    pub fn all(x: f64) -> Self {
        Lanes([T::of(x); L])
    }

    /// # Safety
    /// `L` numbers must be there.
    #[inline(always)]
    pub unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller vouches for it; an array is aligned as its numbers are.
        Lanes(unsafe { from.cast::<[T; L]>().read() })
    }

    /// # Safety
    /// There must be room for `L` numbers.
    #[inline(always)]
    pub unsafe fn store(self, to: *mut T) {
        // SAFETY: as above.
        unsafe { to.cast::<[T; L]>().write(self.0) }
    }

    #[inline(always)]
    pub fn relu(mut self) -> Self {
        for x in &mut self.0 {
            *x = x.relu();
        }
        self
    }
}

macro_rules! lanes {
    ($($trait:ident $name:ident),+) => {$(
        impl<T: Float> $trait for Lanes<T> {
            type Output = Self;
            #[inline(always)]
            fn $name(mut self, other: Self) -> Self {
                for l in 0..L {
                    self.0[l] = self.0[l].$name(other.0[l]);
                }
                self
            }
        }
    )+};
}
lanes!(Add add, Sub sub, Mul mul);

impl<T: Float> Mul<Lanes<T>> for f64 {
    type Output = Lanes<T>;
    #[inline(always)]
    fn mul(self, x: Lanes<T>) -> Lanes<T> {
        Lanes::all(self) * x
    }
}
