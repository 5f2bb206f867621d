//! Transposition of blocks that fit the first-level cache.

use super::Gemm;
use super::tile::{Kernels, Transpose, turn_f64};
use crate::kernels::simd::isa;

/// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows`, `j < columns`; nothing else is written.
///
/// # Panics
/// When a block does not fit its slice.
pub(crate) fn transpose<T: Gemm>(
    kernels: &Kernels<T>,
    from: &[T],
    from_stride: usize,
    [rows, columns]: [usize; 2],
    to: &mut [T],
    to_stride: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * from_stride + columns <= from.len(), "transpose: source");
    assert!((columns - 1) * to_stride + rows <= to.len(), "transpose: target");
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    // SAFETY: the assertions have checked both slices.
    unsafe { kernels.transpose(&Transpose { from, from_stride, rows, columns, to, to_stride }) };
}

/// [`transpose`] for anything of four or eight bytes, whose bits are copied; without checks.
///
/// # Safety
/// The blocks must lie in what the pointers lead to, and not overlap.
pub(crate) unsafe fn transpose_at<T: Copy>(
    from: *const T,
    from_stride: usize,
    [rows, columns]: [usize; 2],
    to: *mut T,
    to_stride: usize,
) {
    // SAFETY: the caller vouches for the blocks, and the kernels are those of this machine.
    unsafe {
        if size_of::<T>() == 4 {
            let (from, to) = (from.cast(), to.cast());
            f32::kernels(isa()).transpose(&Transpose { from, from_stride, rows, columns, to, to_stride });
        } else {
            assert_eq!(size_of::<T>(), 8, "transpose: the size of an element");
            let (from, to) = (from.cast(), to.cast());
            turn_f64(isa())(&Transpose { from, from_stride, rows, columns, to, to_stride });
        }
    }
}
