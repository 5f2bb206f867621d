//! Products with few rows or columns: each number of the large matrix is used a few times only, so it is read once, where
//! it lies, along its contiguous dimension.
//!
//! Either way a number of C is the sum of sixteen partial sums, of every sixteenth product, so its bits do not depend on
//! the layout.

use super::{Call, Shared, finish_one, scratch};
use crate::element::Float;
use crate::kernels::lanes::folded;
use crate::kernels::parallel;
use crate::kernels::simd::simd;

/// Rows of A at most.
pub(super) const FEW: usize = 4;
const LANES: usize = 16;
/// Columns of B to a task.
const COLUMNS: usize = 64;

pub(super) fn product<T: Float>(call: Call<T>, c: &mut [T]) {
    let Call { isa, sizes: [m, k, n], a, b, ldc, accumulate, epilogue, threads, .. } = call;
    // The few are the rows.
    let turned = n < m;
    let (few, many, a, b) = if turned { (n, m, b.t(), a.t()) } else { (m, n, a, b) };
    let shared = Shared::new(c);
    scratch(few * k, |rows: &mut [T]| {
        for i in 0..few {
            for p in 0..k {
                rows[i * k + p] = a.data[i * a.row_stride + p * a.col_stride];
            }
        }
        let rows: &[T] = rows;
        let per_task = if threads { COLUMNS } else { many };
        parallel::tasks(many.div_ceil(per_task), threads, |task| {
            let columns = task * per_task..((task + 1) * per_task).min(many);
            scratch(few * columns.len(), |sums: &mut [T]| {
                let b = b.from(0, columns.start);
                if b.row_stride == 1 {
                    dots(isa, rows, k, b.data, b.col_stride, columns.len(), sums);
                } else if b.col_stride == 1 {
                    combine(isa, rows, k, b.data, b.row_stride, columns.len(), sums);
                } else {
                    scratch(k * columns.len(), |copy: &mut [T]| {
                        for (j, column) in copy.chunks_mut(k.max(1)).enumerate() {
                            for (p, x) in column.iter_mut().enumerate() {
                                *x = b.data[p * b.row_stride + j * b.col_stride];
                            }
                        }
                        dots(isa, rows, k, copy, k, columns.len(), sums);
                    });
                }
                for i in 0..few {
                    for (j, &sum) in columns.clone().zip(&sums[i * columns.len()..]) {
                        let (row, column) = if turned { (j, i) } else { (i, j) };
                        // SAFETY: `run` of the module has checked C; each task has its own columns (or rows) of it.
                        let x = unsafe { &mut *shared.at(row * ldc + column) };
                        *x = finish_one(if accumulate { *x + sum } else { sum }, epilogue, column);
                    }
                }
            });
        });
    });
}

simd! {
    /// `sums[i, j] = rows[i] . columns[j]`, where column j starts at `j * stride`: lanes are products.
    fn dots[T: Float](rows: &[T], k: usize, columns: &[T], stride: usize, n: usize, sums: &mut [T]) {
        if k == 0 {
            return sums.fill(T::ZERO);
        }
        let whole = k - k % LANES;
        // Four columns at a time hide the time of an addition; all rows read them before the next ones come.
        for j in (0..n).step_by(4) {
            let some = (n - j).min(4);
            let column = |c: usize| &columns[(j + c.min(some - 1)) * stride..][..k];
            let of = [column(0), column(1), column(2), column(3)];
            for (i, row) in rows.chunks_exact(k).enumerate() {
                let [mut x, mut y, mut z, mut w] = [[T::ZERO; LANES]; 4];
                let blocks = row.chunks_exact(LANES).zip(of[0].chunks_exact(LANES)).zip(of[1].chunks_exact(LANES));
                for (((a, b), c), (d, e)) in blocks.zip(of[2].chunks_exact(LANES).zip(of[3].chunks_exact(LANES))) {
                    for l in 0..LANES {
                        x[l] += a[l] * b[l];
                        y[l] += a[l] * c[l];
                        z[l] += a[l] * d[l];
                        w[l] += a[l] * e[l];
                    }
                }
                let mut lanes = [x, y, z, w];
                for c in 0..some {
                    for l in 0..k - whole {
                        lanes[c][l] += row[whole + l] * of[c][whole + l];
                    }
                    sums[i * n + j + c] = folded(&lanes[c], |a, b| a + b);
                }
            }
        }
    }

    /// `sums[i, j] = sum over p of rows[i, p] b[p, j]`, where row p of B starts at `p * stride`: lanes are columns.
    fn combine[T: Float](rows: &[T], k: usize, b: &[T], stride: usize, n: usize, sums: &mut [T]) {
        const WIDE: usize = 4 * LANES;
        if k == 0 {
            return sums.fill(T::ZERO);
        }
        // Some columns, for all rows, then the next.
        for j in (0..n).step_by(WIDE) {
            let width = (n - j).min(WIDE);
            for (i, row) in rows.chunks_exact(k).enumerate() {
                let mut partial = [[T::ZERO; WIDE]; LANES];
                for (first, partial) in partial.iter_mut().enumerate().take(k) {
                    if width == WIDE {
                        let mut sum = [T::ZERO; WIDE];
                        for p in (first..k).step_by(LANES) {
                            let b: &[T; WIDE] = b[p * stride + j..][..WIDE].try_into().expect("a block");
                            for l in 0..WIDE {
                                sum[l] += row[p] * b[l];
                            }
                        }
                        *partial = sum;
                        continue;
                    }
                    for p in (first..k).step_by(LANES) {
                        for (x, &b) in partial.iter_mut().zip(&b[p * stride + j..][..width]) {
                            *x += row[p] * b;
                        }
                    }
                }
                // Added up as `folded` does it, all columns side by side.
                let mut count = LANES / 2;
                while count > 0 {
                    let (sums, others) = partial.split_at_mut(count);
                    for (sums, others) in sums.iter_mut().zip(others) {
                        for l in 0..WIDE {
                            sums[l] += others[l];
                        }
                    }
                    count /= 2;
                }
                sums[i * n + j..][..width].copy_from_slice(&partial[0][..width]);
            }
        }
    }
}
