//! One register of numbers, so that a micro-kernel is written once for every instruction set.

/// A SIMD register of `LANES` numbers.
///
/// # Safety
/// Every method may only run where the instruction set of the implementing type is available; pointers must be valid for
/// the numbers that the method reads or writes. Alignment does not matter.
pub(super) trait Vector: Copy {
    /// The type of one number.
    type T: Copy;
    const LANES: usize;

    unsafe fn splat(x: Self::T) -> Self;
    unsafe fn load(p: *const Self::T) -> Self;
    /// The first `n < LANES` numbers from memory, zeros in the other lanes.
    unsafe fn load_first(p: *const Self::T, n: usize) -> Self;
    unsafe fn store(self, p: *mut Self::T);
    /// Writes the first `n < LANES` lanes only.
    unsafe fn store_first(self, p: *mut Self::T, n: usize);
    unsafe fn add(self, x: Self) -> Self;
    /// `self + x * y`, rounded once where the machine can.
    unsafe fn fma(self, x: Self, y: Self) -> Self;
    /// `max(self, 0)`; NaN stays NaN.
    unsafe fn relu(self) -> Self;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    // SAFETY (of every block in the two macros): the caller of a `Vector` method vouches for the instruction set and for
    // the pointers; the loads and stores are the unaligned ones.
    macro_rules! avx512 {
        ($v:ty, $t:ty, $lanes:literal, $mask:ty, $set1:ident, $load:ident, $maskz_load:ident, $store:ident, $mask_store:ident, $add:ident, $fma:ident, $max:ident) => {
            impl Vector for $v {
                type T = $t;
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn splat(x: $t) -> Self {
                    // SAFETY: above.
                    unsafe { $set1(x) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $t) -> Self {
                    // SAFETY: above.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn load_first(p: *const $t, n: usize) -> Self {
                    // SAFETY: above; lanes beyond `n` are masked and touch no memory.
                    unsafe { $maskz_load(((1u32 << n) - 1) as $mask, p) }
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut $t) {
                    // SAFETY: above.
                    unsafe { $store(p, self) }
                }
                #[inline(always)]
                unsafe fn store_first(self, p: *mut $t, n: usize) {
                    // SAFETY: above; lanes beyond `n` are masked and touch no memory.
                    unsafe { $mask_store(p, ((1u32 << n) - 1) as $mask, self) }
                }
                #[inline(always)]
                unsafe fn add(self, x: Self) -> Self {
                    // SAFETY: above.
                    unsafe { $add(self, x) }
                }
                #[inline(always)]
                unsafe fn fma(self, x: Self, y: Self) -> Self {
                    // SAFETY: above.
                    unsafe { $fma(x, y, self) }
                }
                #[inline(always)]
                unsafe fn relu(self) -> Self {
                    // The instruction gives its second operand when one is NaN.
                    // SAFETY: above.
                    unsafe { $max($set1(0.0), self) }
                }
            }
        };
    }
    avx512!(
        __m512,
        f32,
        16,
        __mmask16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_storeu_ps,
        _mm512_mask_storeu_ps,
        _mm512_add_ps,
        _mm512_fmadd_ps,
        _mm512_max_ps
    );
    avx512!(
        __m512d,
        f64,
        8,
        __mmask8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_maskz_loadu_pd,
        _mm512_storeu_pd,
        _mm512_mask_storeu_pd,
        _mm512_add_pd,
        _mm512_fmadd_pd,
        _mm512_max_pd
    );

    macro_rules! avx2 {
        ($v:ty, $t:ty, $lanes:literal, $set1:ident, $load:ident, $store:ident, $add:ident, $fma:ident, $max:ident) => {
            impl Vector for $v {
                type T = $t;
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn splat(x: $t) -> Self {
                    // SAFETY: above.
                    unsafe { $set1(x) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $t) -> Self {
                    // SAFETY: above.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn load_first(p: *const $t, n: usize) -> Self {
                    let mut lanes = [0.0; $lanes];
                    // SAFETY: above; `n < LANES` numbers fit the array.
                    unsafe {
                        p.copy_to_nonoverlapping(lanes.as_mut_ptr(), n);
                        $load(lanes.as_ptr())
                    }
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut $t) {
                    // SAFETY: above.
                    unsafe { $store(p, self) }
                }
                #[inline(always)]
                unsafe fn store_first(self, p: *mut $t, n: usize) {
                    let mut lanes = [0.0; $lanes];
                    // SAFETY: above; `n < LANES` numbers are in the array.
                    unsafe {
                        $store(lanes.as_mut_ptr(), self);
                        p.copy_from_nonoverlapping(lanes.as_ptr(), n);
                    }
                }
                #[inline(always)]
                unsafe fn add(self, x: Self) -> Self {
                    // SAFETY: above.
                    unsafe { $add(self, x) }
                }
                #[inline(always)]
                unsafe fn fma(self, x: Self, y: Self) -> Self {
                    // SAFETY: above.
                    unsafe { $fma(x, y, self) }
                }
                #[inline(always)]
                unsafe fn relu(self) -> Self {
                    // The instruction gives its second operand when one is NaN.
                    // SAFETY: above.
                    unsafe { $max($set1(0.0), self) }
                }
            }
        };
    }
    avx2!(
        __m256,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_fmadd_ps,
        _mm256_max_ps
    );
    avx2!(
        __m256d,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_add_pd,
        _mm256_fmadd_pd,
        _mm256_max_pd
    );
}

/// A register of the target's baseline, left to the compiler: SSE2 or NEON.
#[derive(Clone, Copy)]
pub(super) struct Baseline<T, const L: usize>([T; L]);

macro_rules! baseline {
    ($t:ty, $lanes:literal) => {
        impl Vector for Baseline<$t, $lanes> {
            type T = $t;
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                Baseline([x; $lanes])
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller vouches for `LANES` numbers at `p`.
                Baseline(unsafe { p.cast::<[$t; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $t, n: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                // SAFETY: the caller vouches for `n < LANES` numbers at `p`.
                unsafe { p.copy_to_nonoverlapping(lanes.as_mut_ptr(), n) };
                Baseline(lanes)
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller vouches for `LANES` numbers at `p`.
                unsafe { p.cast::<[$t; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, n: usize) {
                // SAFETY: the caller vouches for `n < LANES` numbers at `p`.
                unsafe { p.copy_from_nonoverlapping(self.0.as_ptr(), n) }
            }
            #[inline(always)]
            unsafe fn add(mut self, x: Self) -> Self {
                for l in 0..$lanes {
                    self.0[l] += x.0[l];
                }
                self
            }
            #[inline(always)]
            unsafe fn fma(mut self, x: Self, y: Self) -> Self {
                for l in 0..$lanes {
                    // Without the instruction, `mul_add` would be a call into the C library.
                    if cfg!(target_arch = "aarch64") {
                        self.0[l] = x.0[l].mul_add(y.0[l], self.0[l]);
                    } else {
                        self.0[l] += x.0[l] * y.0[l];
                    }
                }
                self
            }
            #[inline(always)]
            unsafe fn relu(mut self) -> Self {
                for l in 0..$lanes {
                    self.0[l] = if self.0[l] < 0.0 { 0.0 } else { self.0[l] };
                }
                self
            }
        }
    };
}
baseline!(f32, 4);
baseline!(f64, 2);
