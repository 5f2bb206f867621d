//! Transposition of blocks that fit the first-level cache.

use crate::kernels::simd::simd;

simd! {
    /// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows`, `j < columns`; nothing else is written.
    ///
    /// # Panics
    /// When a block does not fit its slice.
    pub(super) fn transpose[T: Copy](
        from: &[T], from_stride: usize, rows: usize, columns: usize, to: &mut [T], to_stride: usize,
    ) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!((rows - 1) * from_stride + columns <= from.len(), "transpose: source");
        assert!((columns - 1) * to_stride + rows <= to.len(), "transpose: target");
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        let (whole_rows, whole_columns) = (rows - rows % 4, columns - columns % 4);
        // SAFETY: `i < rows` and `j < columns` in all offsets below, for which the assertions have checked both slices.
        unsafe {
            for j in (0..whole_columns).step_by(4) {
                for i in (0..whole_rows).step_by(4) {
                    let square: [[T; 4]; 4] =
                        std::array::from_fn(|l| from.add((i + l) * from_stride + j).cast::<[T; 4]>().read_unaligned());
                    for l in 0..4 {
                        let line = [square[0][l], square[1][l], square[2][l], square[3][l]];
                        to.add((j + l) * to_stride + i).cast::<[T; 4]>().write_unaligned(line);
                    }
                }
            }
            for i in 0..rows {
                let start = if i < whole_rows { whole_columns } else { 0 };
                for j in start..columns {
                    *to.add(j * to_stride + i) = *from.add(i * from_stride + j);
                }
            }
        }
    }
}
