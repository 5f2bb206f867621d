//! Triangular factors and systems, of many small matrices in row-major order.

use super::parallel::{GRAIN, Shared, chunk_pairs_mut, tasks};
use super::simd::{isa, simd};
use crate::element::Float;

simd! {
    /// Makes of the lower triangle of `a [n, n]` its Cholesky factor; `n`, or the place of the first pivot that is not
    /// a positive number.
    fn factor[T: Float](n: usize, a: &mut [T], column: &mut [T]) -> usize {
        // 1. columns of the factor
        for j in 0..n {
            let pivot = a[j * n + j];
            if !(pivot > T::ZERO && pivot.is_finite()) {
                return j;
            }
            let root = pivot.sqrt();
            a[j * n + j] = root;
            for i in j + 1..n {
                a[i * n + j] = a[i * n + j] / root;
                column[i] = a[i * n + j];
            }
            // 2. rows below: what the column adds to the matrix is taken off
            for i in j + 1..n {
                let by = -column[i];
                for (a, &c) in a[i * n + j + 1..=i * n + i].iter_mut().zip(&column[j + 1..=i]) {
                    *a += by * c;
                }
            }
        }
        n
    }

    /// Solves `A X = B` in place of `x`, which holds `B [n, m]`; of `a [n, n]` the upper or the lower triangle is read.
    fn solve_one[T: Float](n: usize, m: usize, upper: bool, a: &[T], x: &mut [T]) {
        // 1. rows of X, from the corner where the triangle begins
        for step in 0..n {
            let i = if upper { n - 1 - step } else { step };
            let (before, rest) = x.split_at_mut(i * m);
            let (row, after) = rest.split_at_mut(m);
            let solved = if upper { after } else { before };
            let first = if upper { i + 1 } else { 0 };
            // 2. rows that are solved
            for (j, solved) in solved.chunks_exact(m).enumerate() {
                let by = -a[i * n + first + j];
                row.iter_mut().zip(solved).for_each(|(x, &s)| *x += by * s);
            }
            row.iter_mut().for_each(|x| *x = *x / a[i * n + i]);
        }
    }
}

/// The Cholesky factors of the matrices of `a [count, n, n]`, in their place; above the diagonal 0. Only the lower
/// triangles are read.
///
/// # Errors
/// The matrix, and in it the pivot, that is not positive; the first one.
pub fn cholesky<T: Float>(n: usize, a: &mut [T]) -> Result<(), (usize, usize)> {
    if n == 0 {
        return Ok(());
    }
    let isa = isa();
    let mut pivots = vec![n; a.len() / (n * n)];
    let together = (GRAIN / (n * n * n)).max(1);
    chunk_pairs_mut((a, together * n * n), (&mut pivots, together), |_, a, pivots| {
        let mut column = vec![T::ZERO; n];
        for (a, pivot) in a.chunks_exact_mut(n * n).zip(pivots) {
            for i in 0..n {
                a[i * n + i + 1..(i + 1) * n].fill(T::ZERO);
            }
            *pivot = factor(isa, n, a, &mut column);
        }
    });
    match pivots.iter().position(|&pivot| pivot < n) {
        Some(matrix) => Err((matrix, pivots[matrix])),
        None => Ok(()),
    }
}

/// Solves `A X = B` for each right-hand side of `x [count, n, m]`, in its place; its matrix `[n, n]` stands at its
/// offset in `a`.
pub fn solve_triangular<T: Float>([n, m]: [usize; 2], upper: bool, a: &[T], offsets: &[usize], x: &mut [T]) {
    if n * m == 0 {
        return;
    }
    assert_eq!(x.len(), offsets.len() * n * m, "solve_triangular: lengths differ");
    let isa = isa();
    let together = (GRAIN / (n * n * m)).max(1);
    let parts = offsets.len().div_ceil(together);
    let shared = Shared::new(x);
    tasks(parts, parts > 1, |part| {
        // SAFETY: `x` is borrowed until `tasks` returns, and each task has its own chunk.
        let x = unsafe { shared.chunk(together * n * m, part) };
        for (x, &offset) in x.chunks_exact_mut(n * m).zip(&offsets[part * together..]) {
            solve_one(isa, n, m, upper, &a[offset..offset + n * n], x);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    /// `L [count, n, n]` with a diagonal away from 0, and the products `L L^T`, by hand.
    fn matrices(count: usize, n: usize) -> (Vec<f64>, Vec<f64>) {
        let mut l = noise(count * n * n, 5);
        let mut a = vec![0.0; l.len()];
        for (l, a) in l.chunks_mut((n * n).max(1)).zip(a.chunks_mut((n * n).max(1))) {
            for i in 0..n {
                l[i * n + i] += 1.5;
                l[i * n + i + 1..(i + 1) * n].fill(0.0);
            }
            for i in 0..n {
                for j in 0..n {
                    a[i * n + j] = (0..n).map(|k| l[i * n + k] * l[j * n + k]).sum();
                }
            }
        }
        (l, a)
    }

    fn close(ours: &[f64], exact: &[f64]) {
        let largest = exact.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        for (i, (a, b)) in ours.iter().zip(exact).enumerate() {
            assert!((a - b).abs() < 1e-9 * largest, "element {i}: {a}, expected {b}");
        }
    }

    #[test]
    fn a_factor_is_found_again_from_the_lower_triangle_of_its_square() {
        for (count, n) in [(1, 0), (3, 1), (70, 2), (5, 7), (2, 20)] {
            let (l, mut a) = matrices(count, n);
            for a in a.chunks_mut((n * n).max(1)) {
                (0..n).for_each(|i| a[i * n + i + 1..(i + 1) * n].fill(f64::NAN));
            }
            let results = on_every_machine(
                || {
                    let mut y = a.clone();
                    cholesky(n, &mut y).unwrap();
                    y
                },
                |y| bits(y),
            );
            results.iter().for_each(|y| close(y, &l));
        }
    }

    #[test]
    fn a_pivot_that_is_not_positive_is_named() {
        let mut a = [4.0, 0.0, 2.0, 2.0, 1.0, 0.0, 1.0, 1.0];
        assert_eq!(cholesky(2, &mut a), Err((1, 1)));
        assert_eq!(cholesky(1, &mut [1.0, f64::NAN, -1.0]), Err((1, 0)));
    }

    #[test]
    fn a_solution_times_its_triangle_is_the_right_hand_side() {
        for (n, m, sides) in [(0, 2, 1), (1, 1, 3), (4, 1, 9), (5, 3, 2), (20, 17, 5)] {
            let (l, _) = matrices(2, n);
            let x = noise(sides * n * m, 9);
            for upper in [false, true] {
                // Upper: the transposed matrix. The other triangle is not read.
                let at =
                    |k: usize, i: usize, j: usize| if upper { l[(k * n + j) * n + i] } else { l[(k * n + i) * n + j] };
                let inside = |i: usize, j: usize| if upper { i <= j } else { i >= j };
                let mut a = vec![f64::NAN; 2 * n * n];
                for (k, i, j) in
                    (0..2 * n * n).map(|e| (e / (n * n), e / n % n, e % n)).filter(|&(_, i, j)| inside(i, j))
                {
                    a[(k * n + i) * n + j] = at(k, i, j);
                }
                let offsets: Vec<usize> = (0..sides).map(|side| side % 2 * n * n).collect();
                let b: Vec<f64> = (0..x.len())
                    .map(|e| {
                        let (side, i, c) = (e / (n * m), e / m % n, e % m);
                        (0..n).map(|j| at(side % 2, i, j) * x[(side * n + j) * m + c]).sum()
                    })
                    .collect();
                let results = on_every_machine(
                    || {
                        let mut y = b.clone();
                        solve_triangular([n, m], upper, &a, &offsets, &mut y);
                        y
                    },
                    |y| bits(y),
                );
                results.iter().for_each(|y| close(y, &x));
            }
        }
    }
}
