//! Rows of a table, and sums of rows back into it.

use super::elementwise::add;
use super::gemm::Shared;
use super::parallel::{GRAIN, chunks_mut, per_task, pieces_mut, tasks};
use super::simd::isa;
use crate::element::Float;

/// Columns of the table that are one piece of work of [`scatter_rows`].
const COLUMNS: usize = 64;

/// `y[i] = table[rows[i]]`, 0 for the row `zero`: `table` is `[n, size]`, `y` `[rows.len(), size]`.
///
/// # Panics
/// When the slices do not have these sizes, or a row is not in the table.
pub fn gather_rows<T: Float>(table: &[T], size: usize, rows: &[usize], zero: Option<usize>, y: &mut [T]) {
    assert_eq!(y.len(), rows.len() * size, "embedding: {} rows of {size}", rows.len());
    if y.is_empty() {
        return;
    }
    chunks_mut(y, per_task(rows.len(), size) * size, |start, y| {
        for (y, &row) in y.chunks_mut(size).zip(&rows[start / size..]) {
            if Some(row) == zero {
                y.fill(T::ZERO);
            } else {
                y.copy_from_slice(&table[row * size..][..size]);
            }
        }
    });
}

/// `table[r] = sum x[i]` over the `i` with `rows[i] = r`, in their order; 0 for the row `zero`, and for rows that are not
/// named: the adjoint of [`gather_rows`]. Threads share out the columns.
///
/// # Panics
/// When the slices do not have these sizes, or a row is not in the table.
pub fn scatter_rows<T: Float>(x: &[T], size: usize, rows: &[usize], zero: Option<usize>, table: &mut [T]) {
    assert_eq!(x.len(), rows.len() * size, "embedding: {} rows of {size}", rows.len());
    let last = rows.iter().max().map_or(0, |&row| row + 1);
    assert!(last * size <= table.len(), "embedding: row {last} is not in the table");
    pieces_mut(table, |_, table| table.fill(T::ZERO));
    let (isa, table) = (isa(), Shared::new(table));
    tasks(size.div_ceil(COLUMNS), x.len() > GRAIN, |i| {
        let (start, width) = (i * COLUMNS, COLUMNS.min(size - i * COLUMNS));
        for (x, &row) in x.chunks(size).zip(rows) {
            if Some(row) != zero {
                // SAFETY: the row is in the table, and the pieces have different columns.
                let y = unsafe { std::slice::from_raw_parts_mut(table.at(row * size + start), width) };
                add(isa, &x[start..start + width], y);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    #[test]
    fn rows_are_fetched_and_summed_back() {
        for (n, size, count) in
            [(1, 1, 1), (5, 3, 0), (7, 1, 40), (65, 128, 300), (9, 200, 170), (300, 65, 600), (3, 0, 2)]
        {
            let table = noise(n * size, 1);
            let grad = noise(count * size, 2);
            let rows: Vec<usize> = noise(count, 3).into_iter().map(|x| ((x + 1.0) / 2.0 * n as f64) as usize).collect();
            for zero in [None, Some(0)] {
                let results = on_every_machine(
                    || {
                        let (mut y, mut back) = (vec![9.0; count * size], vec![9.0; n * size]);
                        gather_rows(&table, size, &rows, zero, &mut y);
                        scatter_rows(&grad, size, &rows, zero, &mut back);
                        (y, back)
                    },
                    |(y, back)| (bits(y), bits(back)),
                );
                for (y, back) in results {
                    let mut expected = vec![0.0; n * size];
                    for (i, &row) in rows.iter().enumerate() {
                        for column in 0..size {
                            let kept = zero != Some(row);
                            let value = if kept { table[row * size + column] } else { 0.0 };
                            assert_eq!(y[i * size + column], value);
                            expected[row * size + column] += if kept { grad[i * size + column] } else { 0.0 };
                        }
                    }
                    assert_eq!(back, expected, "{n} {size} {count} {zero:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "row 4 is not in the table")]
    fn a_row_beyond_the_table_is_refused() {
        scatter_rows(&[1.0; 2], 1, &[0, 3], None, &mut [0.0; 3]);
    }
}
