//! Reductions of contiguous arrays, seen as `[outer, n, inner]`: the middle dimension goes.
//!
//! Every sum is cut at fixed places, and each piece is summed in a fixed number of lanes, so the bits depend on the sizes
//! alone; the pieces also keep the rounding error of a long sum small.

use super::lanes::fold;
use super::parallel::{GRAIN, chunks_mut, per_task, tasks};
use super::simd::{Isa, isa, simd};
use crate::element::{Element, Number};

/// Elements of a row that are folded at a time.
const PIECE: usize = 1 << 13;
/// Rows that are folded at a time where the rows lie side by side.
const ROWS: usize = 128;
/// Columns that are folded at a time: one row of results stays in the first-level cache.
const COLUMNS: usize = 1 << 12;
/// Rows below this length are searched element by element.
const SHORT: usize = 64;
/// Elements that are searched at a time, and columns.
const ARGS: usize = 512;

simd! {
    /// One piece of a row.
    fn fold_piece[T: Element, F: Fn(T, T) -> T](x: &[T], start: T, f: F) -> T {
        fold(x, x, start, f, |x, _| x)
    }

    /// Rows of `n` elements, each no longer than a piece.
    fn fold_each[T: Element, F: Fn(T, T) -> T](x: &[T], n: usize, start: T, y: &mut [T], f: F) {
        for (y, x) in y.iter_mut().zip(x.chunks_exact(n)) {
            *y = fold(x, x, start, &f, |x, _| x);
        }
    }

    /// Rows of `stride` elements, of which `y.len()` are folded into `y`.
    fn fold_rows[T: Element, F: Fn(T, T) -> T](x: &[T], rows: usize, stride: usize, y: &mut [T], f: F) {
        let columns = y.len();
        let of = |row: usize| &x[row * stride..][..columns];
        // Four at a time: the results are read and written less often.
        for row in (0..rows - rows % 4).step_by(4) {
            let four = y.iter_mut().zip(of(row)).zip(of(row + 1)).zip(of(row + 2)).zip(of(row + 3));
            for ((((y, &a), &b), &c), &d) in four {
                *y = f(f(f(f(*y, a), b), c), d);
            }
        }
        for row in rows - rows % 4..rows {
            for (y, &x) in y.iter_mut().zip(of(row)) {
                *y = f(*y, x);
            }
        }
    }

    /// The first index in each row of `n` elements that no other is better than.
    fn arg_each[T: Element, F: Fn(T, T) -> bool](x: &[T], n: usize, y: &mut [i64], better: F) {
        for (y, x) in y.iter_mut().zip(x.chunks_exact(n)) {
            if n < SHORT {
                let better_at = |best: usize, at: usize| if better(x[at], x[best]) { at } else { best };
                *y = (1..n).fold(0, better_at) as i64;
                continue;
            }
            let best = fold(x, x, x[0], |best, x| if better(x, best) { x } else { best }, |x, _| x);
            // Of equals the first: block by block, then inside the block that has it.
            let mut start = 0;
            for block in x.chunks(ARGS) {
                if block.iter().fold(false, |found, &x| found | !better(best, x)) {
                    let inside = block.iter().position(|&x| !better(best, x));
                    *y = (start + inside.expect("the best is in this block")) as i64;
                    break;
                }
                start += ARGS;
            }
        }
    }

    /// The same in each of the columns of `n` rows, `stride` apart.
    fn arg_columns[T: Element, F: Fn(T, T) -> bool](x: &[T], n: usize, stride: usize, y: &mut [i64], better: F) {
        let mut room = [x[0]; ARGS];
        let best = &mut room[..y.len()];
        best.copy_from_slice(&x[..y.len()]);
        y.fill(0);
        for j in 1..n {
            let x = &x[j * stride..][..y.len()];
            for ((y, best), &x) in y.iter_mut().zip(&mut *best).zip(x) {
                let found = better(x, *best);
                *best = if found { x } else { *best };
                *y = if found { j as i64 } else { *y };
            }
        }
    }
}

fn fold_row<T: Element>(isa: Isa, x: &[T], start: T, f: impl Fn(T, T) -> T + Copy) -> T {
    if x.len() <= PIECE {
        return fold_piece(isa, x, start, f);
    }
    let pieces: Vec<T> = x.chunks(PIECE).map(|piece| fold_piece(isa, piece, start, f)).collect();
    fold_row(isa, &pieces, start, f)
}

/// `y[o, i] = f(.. f(f(start, x[o, 0, i]), x[o, 1, i]) ..)` for an associative `f` with the neutral element `start`, in an
/// order that depends on the sizes alone. `x` is `[outer, n, inner]`, `y` `[outer, inner]`.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn reduce<T: Number>(
    [outer, n, inner]: [usize; 3],
    x: &[T],
    y: &mut [T],
    start: T,
    f: impl Fn(T, T) -> T + Copy + Send + Sync,
) {
    assert_eq!(x.len(), outer * n * inner, "reduce: x [{outer}, {n}, {inner}]");
    assert_eq!(y.len(), outer * inner, "reduce: y [{outer}, {inner}]");
    if y.is_empty() {
        return;
    }
    if n == 0 {
        return y.fill(start);
    }
    let isa = isa();
    if inner == 1 {
        if outer == 1 && n > GRAIN {
            let mut pieces = vec![start; n.div_ceil(PIECE)];
            chunks_mut(&mut pieces, per_task(n.div_ceil(PIECE), PIECE), |at, pieces| {
                let x = &x[at * PIECE..];
                pieces.iter_mut().zip(x.chunks(PIECE)).for_each(|(y, x)| *y = fold_piece(isa, x, start, f));
            });
            y[0] = fold_row(isa, &pieces, start, f);
            return;
        }
        chunks_mut(y, per_task(outer, n), |at, y| {
            if n <= PIECE {
                return fold_each(isa, &x[at * n..][..y.len() * n], n, start, y, f);
            }
            y.iter_mut().zip(x[at * n..].chunks(n)).for_each(|(y, x)| *y = fold_row(isa, x, start, f));
        });
        return;
    }
    if n <= ROWS {
        return chunks_mut(y, per_task(outer, n * inner) * inner, |at, y| {
            for (y, x) in y.chunks_mut(inner).zip(x[at * n..].chunks(n * inner)) {
                y.fill(start);
                fold_block(isa, x, n, inner, y, f);
            }
        });
    }
    // Blocks of rows first, each to one row; then those.
    let blocks = n.div_ceil(ROWS);
    let mut parts = vec![start; outer * blocks * inner];
    let shared = super::gemm::Shared::new(&mut parts);
    tasks(outer * blocks, outer * n * inner > GRAIN, |i| {
        let (o, block) = (i / blocks, i % blocks);
        let rows = ROWS.min(n - block * ROWS);
        // SAFETY: each task has a row of the parts for itself.
        let part = unsafe { std::slice::from_raw_parts_mut(shared.at(i * inner), inner) };
        fold_block(isa, &x[(o * n + block * ROWS) * inner..][..rows * inner], rows, inner, part, f);
    });
    reduce([outer, blocks, inner], &parts, y, start, f);
}

/// Folds `rows` rows of `inner` elements into `y`.
fn fold_block<T: Element>(isa: Isa, x: &[T], rows: usize, inner: usize, y: &mut [T], f: impl Fn(T, T) -> T + Copy) {
    for (i, y) in y.chunks_mut(COLUMNS).enumerate() {
        fold_rows(isa, &x[i * COLUMNS..], rows, inner, y, f);
    }
}

/// `y[o, i]`: the first index along the middle dimension of `x [outer, n, inner]` that no other one is `better` than.
/// `better(a, b)` tells whether `a` beats the best so far, `b`.
///
/// # Panics
/// When the slices do not have these sizes, or `n` is 0 where there is something to find.
pub fn arg_reduce<T: Element>(
    [outer, n, inner]: [usize; 3],
    x: &[T],
    y: &mut [i64],
    better: impl Fn(T, T) -> bool + Copy + Send + Sync,
) {
    assert_eq!(x.len(), outer * n * inner, "arg_reduce: x [{outer}, {n}, {inner}]");
    assert_eq!(y.len(), outer * inner, "arg_reduce: y [{outer}, {inner}]");
    if y.is_empty() {
        return;
    }
    assert!(n > 0, "arg_reduce: nothing to choose from");
    let isa = isa();
    if inner == 1 {
        return chunks_mut(y, per_task(outer, n), |at, y| arg_each(isa, &x[at * n..], n, y, better));
    }
    let blocks = inner.div_ceil(ARGS);
    let y = super::parallel::Shared::new(y);
    tasks(outer * blocks, outer * n * inner > GRAIN, |i| {
        let (o, column) = (i / blocks, i % blocks * ARGS);
        // SAFETY: `y` is borrowed until `tasks` returns, and each task has columns of its own.
        let y = unsafe { std::slice::from_raw_parts_mut(y.at(o * inner + column), ARGS.min(inner - column)) };
        arg_columns(isa, &x[o * n * inner + column..], n, inner, y, better);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    #[test]
    fn sums_agree_with_f64_and_do_not_depend_on_threads() {
        for [outer, n, inner] in [
            [1, 1, 1],
            [3, 5, 1],
            [1, 100_003, 1],
            [2, 9000, 1],
            [4, 7, 33],
            [1, 129, 5000],
            [3, 300, 17],
            [70, 64, 64],
        ] {
            let x: Vec<f32> = noise(outer * n * inner, 3).into_iter().map(|x| x as f32).collect();
            let results = on_every_machine(
                || {
                    let mut y = vec![0.0; outer * inner];
                    reduce([outer, n, inner], &x, &mut y, 0.0, |a: f32, b| a + b);
                    y
                },
                |y| bits(y),
            );
            for y in &results {
                assert_eq!(bits(y), bits(&results[0]), "instruction sets differ");
                for (at, &y) in y.iter().enumerate() {
                    let column = |j: usize| f64::from(x[(at / inner * n + j) * inner + at % inner]);
                    let exact: f64 = (0..n).map(column).sum();
                    let size: f64 = (0..n).map(|j| column(j).abs()).sum();
                    assert!((f64::from(y) - exact).abs() <= 1e-5 * size, "{outer} {n} {inner} at {at}");
                }
            }
        }
    }

    #[test]
    fn nothing_sums_to_the_neutral_element() {
        let mut y = [7.0; 6];
        reduce([2, 0, 3], &[], &mut y, 1.5, |a: f64, b| a * b);
        assert_eq!(y, [1.5; 6]);
        reduce([0, 4, 3], &[], &mut [], 0.0, |a: f64, b| a + b);
    }

    #[test]
    fn the_first_of_equals_is_chosen() {
        let mut y = [0; 2];
        arg_reduce([1, 3, 2], &[1, 5, 4, 5, 4, 2], &mut y, |a: i64, b| a > b);
        assert_eq!(y, [1, 0]);
    }

    #[test]
    fn the_first_of_the_best_is_found_in_rows_and_in_columns_of_any_size() {
        let better = |a: f32, b: f32| (a > b) | (a.is_nan() & !b.is_nan());
        for [outer, n, inner] in
            [[3, 1, 1], [5, 7, 1], [4, 63, 1], [4, 64, 1], [3, 1500, 1], [40, 1024, 1], [2, 70, 600], [3, 5, 513]]
        {
            for nan in [false, true] {
                // Few different values, so that equals are many blocks apart.
                let mut x: Vec<f32> =
                    noise(outer * n * inner, 5).into_iter().map(|x| (x * 3.0).round() as f32).collect();
                if nan {
                    x.iter_mut().step_by(97).for_each(|x| *x = f32::NAN);
                }
                let results = on_every_machine(
                    || {
                        let mut y = vec![-1; outer * inner];
                        arg_reduce([outer, n, inner], &x, &mut y, better);
                        y
                    },
                    |y| y.clone(),
                );
                for y in results {
                    for (at, &found) in y.iter().enumerate() {
                        let column = |j: usize| x[(at / inner * n + j) * inner + at % inner];
                        let first = (0..n).find(|&j| (0..n).all(|other| !better(column(other), column(j))));
                        assert_eq!(Some(found as usize), first, "{outer} {n} {inner} at {at}");
                    }
                }
            }
        }
    }
}
