//! Scaled dot-product attention and its gradients, a block of queries at a time: the matrix of all weights is never stored.
//!
//! What is kept for the way back is one number for each query, the logarithm of its sum of exponentials; the weights are
//! computed from it once more (Dao et al., 2022). With the causal mask a block does not look at the keys behind it.

use super::gemm::{Call, Mat, PARALLEL, Shared, scratch};
use super::lanes::fold;
use super::parallel::tasks;
use super::simd::{isa, simd};
use crate::element::Float;

/// Queries to a block.
const BLOCK: usize = 32;

/// The sizes of an attention: `heads` times queries `[queries, size]`, keys `[keys, size]` and values `[keys, values]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// How many attentions there are, and how many of them stand side by side in the rows of an output:
    /// `[heads / together, queries, together, values]`.
    pub heads: [usize; 2],
    /// Rows of the queries.
    pub queries: usize,
    /// Rows of the keys and the values.
    pub keys: usize,
    /// Columns of queries and keys.
    pub size: usize,
    /// Columns of the values.
    pub values: usize,
    /// Whether query i sees the keys up to i only.
    pub causal: bool,
    /// The factor of the products.
    pub scale: f64,
}

/// The matrices of all heads: element (r, c) of that of head i is at `data[offsets[i] + r * row + c * column]`.
#[derive(Clone, Copy)]
pub struct Heads<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Where each head's matrix begins.
    pub offsets: &'a [usize],
    /// The distance of rows.
    pub row: usize,
    /// The distance of columns.
    pub column: usize,
}

impl<'a, T> Heads<'a, T> {
    /// Rows from `first` on of one head.
    fn rows(&self, head: usize, first: usize) -> Mat<'a, T> {
        let start = (self.offsets[head] + first * self.row).min(self.data.len());
        Mat { data: &self.data[start..], row_stride: self.row, col_stride: self.column }
    }

    /// One head, transposed.
    fn turned(&self, head: usize) -> Mat<'a, T> {
        let whole = self.rows(head, 0);
        Mat { data: whole.data, row_stride: whole.col_stride, col_stride: whole.row_stride }
    }
}

/// Where gradients go.
pub enum Gradients<'a, T> {
    /// Those of queries, keys and values, where they are wanted: `[heads / together, rows, together, columns]` each.
    Apart([Option<&'a mut [T]>; 3]),
    /// All three in one: `[heads / together, rows, 3, together, columns]`.
    Packed(&'a mut [T]),
}

/// The place of the rows of all heads in an output.
#[derive(Clone, Copy)]
struct Place<T> {
    data: Shared<T>,
    /// Where the first head begins, the distance of rows, rows and columns of a head, heads that stand side by side.
    first: usize,
    row: usize,
    rows: usize,
    columns: usize,
    together: usize,
}

impl<T: Float> Place<T> {
    fn new(data: &mut [T], first: usize, row: usize, [rows, columns]: [usize; 2], together: usize) -> Place<T> {
        Place { data: Shared::new(data), first, row, rows, columns, together }
    }

    /// Copies rows of one head, from row `first` on.
    ///
    /// # Safety
    /// Output and head must be there, and nobody else may have this head.
    unsafe fn write(&self, head: usize, first: usize, from: &[T]) {
        let (outer, inner) = (head / self.together, head % self.together);
        for (r, from) in from.chunks_exact(self.columns.max(1)).enumerate() {
            let place = (outer * self.rows + first + r) * self.row + self.first + inner * self.columns;
            // SAFETY: as the caller vouches; heads have no element in common.
            unsafe { std::slice::from_raw_parts_mut(self.data.at(place), self.columns) }.copy_from_slice(from);
        }
    }
}

impl Attention {
    /// How many keys the queries before `end` see.
    fn seen(&self, end: usize) -> usize {
        if self.causal { end.min(self.keys) } else { self.keys }
    }

    fn threads(&self) -> bool {
        self.heads[0] * self.queries * self.keys * (self.size + self.values) >= PARALLEL
    }

    /// Elements of an output of all heads.
    fn len(&self, rows: usize, columns: usize) -> usize {
        self.heads[0] * rows * columns
    }

    fn check<T>(&self, inputs: &[Heads<T>], logs: usize) {
        let [all, together] = self.heads;
        assert!(together > 0 && all.is_multiple_of(together), "attention: {self:?}: heads side by side");
        assert!(inputs.iter().all(|x| x.offsets.len() == all), "attention: {self:?}: offsets");
        assert_eq!(logs, all * self.queries, "attention: {self:?}: logarithms");
    }
}

simd! {
    /// `e^(scale s - max)` of every row of scores, their inverse sums, and the logarithms of the sums without the maximum
    /// taken off.
    fn exponentials<FUSED>[T: Float](
        keys: usize, first: usize, causal: bool, scale: T, scores: &mut [T], inverse: &mut [T], logs: &mut [T],
    ) {
        // A pass for each step: rows are short, and what ends one would wait for itself.
        let mut maxima = [T::ZERO; BLOCK];
        for (r, (row, max)) in scores.chunks_exact_mut(keys).zip(&mut maxima).enumerate() {
            for s in row.iter_mut() {
                *s = *s * scale;
            }
            if causal {
                row[(first + r + 1).min(keys)..].fill(T::LOWEST);
            }
            *max = fold(row, row, T::LOWEST, |a, b| if b > a { b } else { a }, |x, _| x);
        }
        for (row, &max) in scores.chunks_exact_mut(keys).zip(&maxima) {
            for s in row {
                *s = (*s - max).exp_up_to_0::<FUSED>();
            }
        }
        for (row, sum) in scores.chunks_exact(keys).zip(inverse.iter_mut()) {
            *sum = fold(row, row, T::ZERO, |a, b| a + b, |x, _| x);
        }
        for ((log, sum), &max) in logs.iter_mut().zip(inverse.iter_mut()).zip(&maxima) {
            *log = max + sum.ln();
            *sum = sum.reciprocal();
        }
    }

    /// Rows times a factor each.
    fn scale_rows[T: Float](columns: usize, factors: &[T], rows: &mut [T]) {
        for (row, &factor) in rows.chunks_exact_mut(columns).zip(factors) {
            for x in row {
                *x = *x * factor;
            }
        }
    }

    /// The weights from scores and the logarithms of their sums.
    fn weights<FUSED>[T: Float](keys: usize, first: usize, causal: bool, scale: T, scores: &mut [T], logs: &[T]) {
        for (r, (row, &log)) in scores.chunks_exact_mut(keys).zip(logs).enumerate() {
            for s in row.iter_mut() {
                *s = (*s * scale - log).exp_up_to_0::<FUSED>();
            }
            if causal {
                row[(first + r + 1).min(keys)..].fill(T::ZERO);
            }
        }
    }

    /// The gradient of the products before they were scaled, from that of the weights: `d = w (d - sum w d) scale`.
    fn slopes[T: Float](keys: usize, scale: T, weights: &[T], slopes: &mut [T]) {
        for (w, d) in weights.chunks_exact(keys).zip(slopes.chunks_exact_mut(keys)) {
            let sum = fold(w, d, T::ZERO, |a, b| a + b, |w, d| w * d);
            for (d, &w) in d.iter_mut().zip(w) {
                *d = w * (*d - sum) * scale;
            }
        }
    }
}

/// `y = softmax(scale q k^T) v` for every head, `y` `[heads / together, queries, together, values]`; `logs`
/// `[heads, queries]` takes what [`backward`] needs. Without keys `y` is 0.
///
/// # Panics
/// When the sizes contradict each other, or a slice does not have its size.
pub fn forward<T: Float>(a: &Attention, [q, k, v]: [Heads<T>; 3], y: &mut [T], logs: &mut [T]) {
    a.check(&[q, k, v], logs.len());
    assert_eq!(y.len(), a.len(a.queries, a.values), "attention: {a:?}: output");
    if a.keys == 0 {
        return y.fill(T::ZERO);
    }
    let (isa, scale) = (isa(), T::of(a.scale));
    let place = Place::new(y, 0, a.heads[1] * a.values, [a.queries, a.values], a.heads[1]);
    let logs = Shared::new(logs);
    let block = BLOCK.min(a.queries);
    tasks(a.heads[0], a.threads(), |head| {
        scratch(block * (a.keys + a.values), |room: &mut [T]| {
            let (scores, result) = room.split_at_mut(block * a.keys);
            for first in (0..a.queries).step_by(BLOCK) {
                let rows = BLOCK.min(a.queries - first);
                let keys = a.seen(first + rows);
                let (scores, result) = (&mut scores[..rows * keys], &mut result[..rows * a.values]);
                // [rows, size] . [size, keys]
                Call::new(isa, [rows, a.size, keys], q.rows(head, first), k.turned(head)).run(scores);
                // SAFETY: each task has the logarithms of its head for itself.
                let logs = unsafe { std::slice::from_raw_parts_mut(logs.at(head * a.queries + first), rows) };
                let mut inverse = [T::ZERO; BLOCK];
                exponentials(isa, keys, first, a.causal, scale, scores, &mut inverse, logs);
                // [rows, keys] . [keys, values]
                let weights = Mat { data: scores, row_stride: keys, col_stride: 1 };
                Call::new(isa, [rows, keys, a.values], weights, v.rows(head, 0)).run(result);
                if a.values > 0 {
                    scale_rows(isa, a.values, &inverse, result);
                }
                // SAFETY: `y` has the size of all heads, and each task has a head for itself.
                unsafe { place.write(head, first, result) };
            }
        });
    });
}

/// The gradients of [`forward`] from that of its output, `dy`, and the logarithms that it gave. With the weights
/// `w = softmax(scale q k^T)` and `dw = dy v^T`: `dv = w^T dy`, `ds = w (dw - sum w dw) scale`, `dq = ds k`, `dk = ds^T q`.
///
/// # Panics
/// When the sizes contradict each other, or a slice does not have its size.
pub fn backward<T: Float>(a: &Attention, [q, k, v, dy]: [Heads<T>; 4], logs: &[T], gradients: Gradients<T>) {
    a.check(&[q, k, v, dy], logs.len());
    let together = a.heads[1];
    let shapes = [[a.queries, a.size], [a.keys, a.size], [a.keys, a.values]];
    let places: [Option<Place<T>>; 3] = match gradients {
        Gradients::Apart(all) => {
            let mut all = all.into_iter().zip(shapes).map(|(data, [rows, columns])| {
                let data = data?;
                assert_eq!(data.len(), a.len(rows, columns), "attention: {a:?}: gradient");
                if a.keys == 0 {
                    data.fill(T::ZERO);
                }
                Some(Place::new(data, 0, together * columns, [rows, columns], together))
            });
            std::array::from_fn(|_| all.next().expect("three"))
        }
        Gradients::Packed(data) => {
            assert!(a.queries == a.keys && a.size == a.values, "attention: {a:?}: no self-attention");
            assert_eq!(data.len(), 3 * a.len(a.keys, a.size), "attention: {a:?}: gradient");
            let row = together * a.size;
            [0, 1, 2].map(|i| Some(Place::new(data, i * row, 3 * row, [a.keys, a.size], together)))
        }
    };
    if a.keys == 0 {
        return;
    }
    let (isa, scale) = (isa(), T::of(a.scale));
    let block = BLOCK.min(a.queries);
    let lens = [block * a.keys, block * a.keys, block * a.size, a.keys * a.size, a.keys * a.values];
    tasks(a.heads[0], a.threads(), |head| {
        scratch(lens.iter().sum(), |room: &mut [T]| {
            let mut rest = room;
            let [scores, slope, dq, dk, dv] = lens.map(|len| rest.split_off_mut(..len).expect("enough room"));
            dk.fill(T::ZERO);
            dv.fill(T::ZERO);
            for first in (0..a.queries).step_by(BLOCK) {
                let rows = BLOCK.min(a.queries - first);
                let keys = a.seen(first + rows);
                let (scores, slope) = (&mut scores[..rows * keys], &mut slope[..rows * keys]);
                let (q, dy) = (q.rows(head, first), dy.rows(head, first));
                // [rows, size] . [size, keys]
                Call::new(isa, [rows, a.size, keys], q, k.turned(head)).run(scores);
                weights(isa, keys, first, a.causal, scale, scores, &logs[head * a.queries + first..][..rows]);
                let turned = |x| Mat { data: x, row_stride: 1, col_stride: keys };
                if places[2].is_some() {
                    // [keys, rows] . [rows, values]
                    Call { accumulate: true, ..Call::new(isa, [keys, rows, a.values], turned(scores), dy) }.run(dv);
                }
                if places[0].is_none() && places[1].is_none() {
                    continue;
                }
                // [rows, values] . [values, keys]
                Call::new(isa, [rows, a.values, keys], dy, v.turned(head)).run(slope);
                slopes(isa, keys, scale, scores, slope);
                if places[1].is_some() {
                    // [keys, rows] . [rows, size]
                    Call { accumulate: true, ..Call::new(isa, [keys, rows, a.size], turned(slope), q) }.run(dk);
                }
                if let Some(place) = &places[0] {
                    let (dq, slope) =
                        (&mut dq[..rows * a.size], Mat { data: &*slope, row_stride: keys, col_stride: 1 });
                    // [rows, keys] . [keys, size]
                    Call::new(isa, [rows, keys, a.size], slope, k.rows(head, 0)).run(dq);
                    // SAFETY: the gradient has the size of all heads, and each task has a head for itself.
                    unsafe { place.write(head, first, dq) };
                }
            }
            for (place, gradient) in [(&places[1], dk), (&places[2], dv)] {
                if let Some(place) = place {
                    // SAFETY: as above.
                    unsafe { place.write(head, 0, gradient) };
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    /// The definition in `f64`, for one head: y, dq, dk, dv.
    fn reference(a: &Attention, [q, k, v, dy]: [&[f64]; 4]) -> [Vec<f64>; 4] {
        let (e, f) = (a.size, a.values);
        let [mut y, mut dq, mut dk, mut dv] = [a.queries * f, q.len(), k.len(), v.len()].map(|n| vec![0.0; n]);
        for i in 0..a.queries {
            let seen = if a.causal { (i + 1).min(a.keys) } else { a.keys };
            let dot = |x: &[f64], z: &[f64]| x.iter().zip(z).map(|(x, z)| x * z).sum::<f64>();
            let powers: Vec<f64> =
                (0..seen).map(|j| (a.scale * dot(&q[i * e..][..e], &k[j * e..][..e])).exp()).collect();
            let w: Vec<f64> = powers.iter().map(|p| p / powers.iter().sum::<f64>()).collect();
            let dw: Vec<f64> = (0..seen).map(|j| dot(&dy[i * f..][..f], &v[j * f..][..f])).collect();
            let mean = dot(&w, &dw);
            for j in 0..seen {
                for c in 0..f {
                    y[i * f + c] += w[j] * v[j * f + c];
                    dv[j * f + c] += w[j] * dy[i * f + c];
                }
                for c in 0..e {
                    let ds = w[j] * (dw[j] - mean) * a.scale;
                    dq[i * e + c] += ds * k[j * e + c];
                    dk[j * e + c] += ds * q[i * e + c];
                }
            }
        }
        [y, dq, dk, dv]
    }

    /// Head by head in memory, or side by side: `[heads, rows, columns]` to `[heads / together, rows, together, columns]`.
    fn interleaved(x: &[f64], [rows, columns]: [usize; 2], together: usize) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for (i, &x) in x.iter().enumerate() {
            let (head, row, column) = (i / columns / rows, i / columns % rows, i % columns);
            let (outer, inner) = (head / together, head % together);
            out[((outer * rows + row) * together + inner) * columns + column] = x;
        }
        out
    }

    fn check<T: Float>(a: Attention) {
        let count = a.heads[0];
        let lens = [a.queries * a.size, a.keys * a.size, a.keys * a.values, a.queries * a.values];
        let rounded = |(seed, len): (usize, usize)| -> Vec<f64> {
            noise(count * len, seed as u64 + 1).into_iter().map(|x| T::of(x).to_f64()).collect()
        };
        let exact: Vec<Vec<f64>> = lens.into_iter().enumerate().map(rounded).collect();
        let mut expected = [const { Vec::new() }; 4];
        for head in 0..count {
            let part = |i: usize| &exact[i][head * lens[i]..][..lens[i]];
            let all = reference(&a, [part(0), part(1), part(2), part(3)]);
            expected.iter_mut().zip(all).for_each(|(to, from)| to.extend(from));
        }
        let shapes = [[a.queries, a.values], [a.queries, a.size], [a.keys, a.size], [a.keys, a.values]];
        let expected: Vec<_> =
            expected.iter().zip(shapes).map(|(x, shape)| interleaved(x, shape, a.heads[1])).collect();
        let typed: Vec<Vec<T>> = exact.iter().map(|v| v.iter().map(|&x| T::of(x)).collect()).collect();
        let offsets: Vec<Vec<usize>> = lens.iter().map(|len| (0..count).map(|head| head * len).collect()).collect();
        let columns = [a.size, a.size, a.values, a.values];
        let input = |i: usize| Heads { data: &typed[i], offsets: &offsets[i], row: columns[i], column: 1 };
        let packed = a.queries == a.keys && a.size == a.values;
        let results = on_every_machine(
            || {
                let junk = |[rows, columns]: [usize; 2]| vec![T::of(77.0); count * rows * columns];
                let [mut y, mut dq, mut dk, mut dv] = shapes.map(junk);
                let mut logs = vec![T::ZERO; count * a.queries];
                let [q, k, v, dy] = [0, 1, 2, 3].map(input);
                forward(&a, [q, k, v], &mut y, &mut logs);
                let apart = Gradients::Apart([Some(&mut dq), Some(&mut dk), Some(&mut dv)]);
                backward(&a, [q, k, v, dy], &logs, apart);
                if packed {
                    let mut all = vec![T::of(77.0); 3 * dq.len()];
                    backward(&a, [q, k, v, dy], &logs, Gradients::Packed(&mut all));
                    let row = (a.heads[1] * a.size).max(1);
                    for (i, row) in all.chunks(row).enumerate() {
                        assert_eq!(row, &[&dq, &dk, &dv][i % 3][i / 3 * row.len()..][..row.len()]);
                    }
                }
                [y, dq, dk, dv]
            },
            |all| all.each_ref().map(|v| bits(v)),
        );
        let bound = 64.0 * T::EPSILON.to_f64();
        for all in results {
            for (n, name) in ["y", "dq", "dk", "dv"].into_iter().enumerate() {
                for (i, (found, expected)) in all[n].iter().zip(&expected[n]).enumerate() {
                    let difference = (found.to_f64() - expected).abs();
                    assert!(difference <= bound * (1.0 + expected.abs()), "{name}[{i}] of {a:?}: {found}, {expected}");
                }
            }
        }
    }

    #[test]
    fn output_and_gradients_agree_with_their_definition_for_every_size() {
        let sizes = [[1, 1, 1, 1], [3, 5, 4, 2], [64, 64, 8, 8], [65, 130, 7, 9], [130, 65, 16, 3], [200, 200, 5, 5]];
        for [queries, keys, size, values] in sizes {
            for causal in [false, true] {
                for heads in [[2, 1], [6, 3]] {
                    let a = Attention { heads, queries, keys, size, values, causal, scale: 0.7 };
                    check::<f32>(a);
                    check::<f64>(Attention { scale: -1.3, ..a });
                }
            }
        }
        // Enough for several threads.
        check::<f32>(Attention {
            heads: [24, 4],
            queries: 64,
            keys: 64,
            size: 32,
            values: 32,
            causal: true,
            scale: 0.2,
        });
    }

    #[test]
    fn what_is_empty_is_zero() {
        let full = Attention { heads: [2, 2], queries: 3, keys: 4, size: 2, values: 2, causal: true, scale: 1.0 };
        check::<f32>(Attention { keys: 0, ..full });
        check::<f32>(Attention { queries: 0, ..full });
        check::<f32>(Attention { values: 0, ..full });
        check::<f32>(Attention { heads: [0, 2], ..full });
    }
}
