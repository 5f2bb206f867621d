//! One register of numbers, so that a micro-kernel is written once for every instruction set.

/// A SIMD register of `LANES` numbers, to copy with.
///
/// # Safety
/// Every method may only run where the instruction set of the implementing type is available; pointers must be valid for
/// the numbers that the method reads or writes. Alignment does not matter.
pub(super) trait Vector: Copy {
    /// The type of one number.
    type T: Copy;
    const LANES: usize;

    unsafe fn load(p: *const Self::T) -> Self;
    unsafe fn store(self, p: *mut Self::T);

    /// The side of the square that [`Vector::turn`] transposes.
    const SQUARE: usize;
    /// Transposes a square: row i starts at `from + i * from_stride`, column j becomes the row at `to + j * to_stride`.
    unsafe fn turn(from: *const Self::T, from_stride: usize, to: *mut Self::T, to_stride: usize);
}

/// A register that a tile is computed in.
///
/// # Safety
/// As for [`Vector`].
pub(super) trait Arithmetic: Vector {
    unsafe fn splat(x: Self::T) -> Self;
    unsafe fn zero() -> Self;
    /// The first `n < LANES` numbers from memory, zeros in the other lanes.
    unsafe fn load_first(p: *const Self::T, n: usize) -> Self;
    /// Writes the first `n < LANES` lanes only.
    unsafe fn store_first(self, p: *mut Self::T, n: usize);
    unsafe fn add(self, x: Self) -> Self;
    unsafe fn sub(self, x: Self) -> Self;
    /// Of `2 LANES` numbers those at even places, and those at odd ones.
    unsafe fn pairs(p: *const Self::T) -> [Self; 2];
    /// `self + x * y`, rounded once where the machine can.
    unsafe fn fma(self, x: Self, y: Self) -> Self;
    /// `max(self, 0)`; NaN stays NaN.
    unsafe fn relu(self) -> Self;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Arithmetic, Vector};
    use std::arch::x86_64::*;

    // SAFETY (of every block in the implementation and the macro): the caller of a method vouches for the instruction set
    // and for the pointers; the loads and stores are the unaligned ones.
    impl Vector for __m512 {
        type T = f32;
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: above.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: above.
            unsafe { _mm512_storeu_ps(p, self) }
        }
        const SQUARE: usize = <__m256 as Vector>::SQUARE;
        #[inline(always)]
        unsafe fn turn(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // SAFETY: above; the instruction set includes AVX2.
            unsafe { <__m256 as Vector>::turn(from, from_stride, to, to_stride) }
        }
    }

    macro_rules! avx2 {
        ($v:ty, $t:ty, $lanes:literal, $set1:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $fma:ident, $max:ident, $square:literal, $turn:ident, $pairs:ident) => {
            impl Vector for $v {
                type T = $t;
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn load(p: *const $t) -> Self {
                    // SAFETY: above.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn store(self, p: *mut $t) {
                    // SAFETY: above.
                    unsafe { $store(p, self) }
                }
                const SQUARE: usize = $square;
                #[inline(always)]
                unsafe fn turn(from: *const $t, from_stride: usize, to: *mut $t, to_stride: usize) {
                    // SAFETY: above.
                    unsafe { $turn(from, from_stride, to, to_stride) }
                }
            }
            impl Arithmetic for $v {
                #[inline(always)]
                unsafe fn splat(x: $t) -> Self {
                    // SAFETY: above.
                    unsafe { $set1(x) }
                }
                #[inline(always)]
                unsafe fn zero() -> Self {
                    // SAFETY: above.
                    unsafe { $set1(0.0) }
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
                unsafe fn sub(self, x: Self) -> Self {
                    // SAFETY: above.
                    unsafe { $sub(self, x) }
                }
                #[inline(always)]
                unsafe fn pairs(p: *const $t) -> [Self; 2] {
                    // SAFETY: above.
                    unsafe { $pairs(p) }
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
        _mm256_sub_ps,
        _mm256_fmadd_ps,
        _mm256_max_ps,
        8,
        turn_f32,
        pairs_f32
    );
    avx2!(
        __m256d,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_add_pd,
        _mm256_sub_pd,
        _mm256_fmadd_pd,
        _mm256_max_pd,
        4,
        turn_f64,
        pairs_f64
    );

    #[inline(always)]
    unsafe fn pairs_f32(p: *const f32) -> [__m256; 2] {
        // SAFETY: the caller vouches for the instruction set and for 16 numbers.
        unsafe {
            let (a, b) = (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)));
            // Within halves, then the inner two quarters change places.
            let (even, odd) = (_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b));
            let (even, odd) = (_mm256_castps_pd(even), _mm256_castps_pd(odd));
            [
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(even)),
                _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(odd)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn pairs_f64(p: *const f64) -> [__m256d; 2] {
        // SAFETY: the caller vouches for the instruction set and for 8 numbers.
        unsafe {
            let (a, b) = (_mm256_loadu_pd(p), _mm256_loadu_pd(p.add(4)));
            let (even, odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            [_mm256_permute4x64_pd::<0b11_01_10_00>(even), _mm256_permute4x64_pd::<0b11_01_10_00>(odd)]
        }
    }

    /// 8 x 8: halves of rows 0 to 3 beside those of rows 4 to 7, then pairs, then pairs of pairs.
    #[inline(always)]
    unsafe fn turn_f32(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller vouches for the instruction set and for 8 rows of 8 numbers on either side.
        unsafe {
            for half in 0..2 {
                let row = |i: usize| {
                    let p = from.add(i * from_stride + 4 * half);
                    let low = _mm256_castps128_ps256(_mm_loadu_ps(p));
                    _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(p.add(4 * from_stride)))
                };
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
                let to = to.add(4 * half * to_stride);
                _mm256_storeu_ps(to, _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd));
                _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd));
                _mm256_storeu_ps(to.add(2 * to_stride), _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high));
                _mm256_storeu_ps(to.add(3 * to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high));
            }
        }
    }

    /// 4 x 4: halves of rows 0 and 1 beside those of rows 2 and 3, then pairs.
    #[inline(always)]
    unsafe fn turn_f64(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
        // SAFETY: the caller vouches for the instruction set and for 4 rows of 4 numbers on either side.
        unsafe {
            for half in 0..2 {
                let row = |i: usize| {
                    let p = from.add(i * from_stride + 2 * half);
                    let low = _mm256_castpd128_pd256(_mm_loadu_pd(p));
                    _mm256_insertf128_pd::<1>(low, _mm_loadu_pd(p.add(2 * from_stride)))
                };
                let (a, b) = (row(0), row(1));
                let to = to.add(2 * half * to_stride);
                _mm256_storeu_pd(to, _mm256_unpacklo_pd(a, b));
                _mm256_storeu_pd(to.add(to_stride), _mm256_unpackhi_pd(a, b));
            }
        }
    }
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
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller vouches for `LANES` numbers at `p`.
                Baseline(unsafe { p.cast::<[$t; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller vouches for `LANES` numbers at `p`.
                unsafe { p.cast::<[$t; $lanes]>().write_unaligned(self.0) }
            }
            const SQUARE: usize = 4;
            #[inline(always)]
            unsafe fn turn(from: *const $t, from_stride: usize, to: *mut $t, to_stride: usize) {
                for i in 0..4 {
                    for j in 0..4 {
                        // SAFETY: the caller vouches for 4 rows of 4 numbers on either side.
                        unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
                    }
                }
            }
        }
        impl Arithmetic for Baseline<$t, $lanes> {
            #[inline(always)]
            unsafe fn splat(x: $t) -> Self {
                Baseline([x; $lanes])
            }
            #[inline(always)]
            unsafe fn zero() -> Self {
                Baseline([0.0; $lanes])
            }
            #[inline(always)]
            unsafe fn load_first(p: *const $t, n: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                // SAFETY: the caller vouches for `n < LANES` numbers at `p`.
                unsafe { p.copy_to_nonoverlapping(lanes.as_mut_ptr(), n) };
                Baseline(lanes)
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
            unsafe fn sub(mut self, x: Self) -> Self {
                for l in 0..$lanes {
                    self.0[l] -= x.0[l];
                }
                self
            }
            #[inline(always)]
            unsafe fn pairs(p: *const $t) -> [Self; 2] {
                let (mut even, mut odd) = ([0.0; $lanes], [0.0; $lanes]);
                for l in 0..$lanes {
                    // SAFETY: the caller vouches for `2 LANES` numbers at `p`.
                    (even[l], odd[l]) = unsafe { (*p.add(2 * l), *p.add(2 * l + 1)) };
                }
                [Baseline(even), Baseline(odd)]
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
