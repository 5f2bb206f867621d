//! Elements picked by indices along one dimension, and elements added where indices point.

use super::parallel::{Shared, chunks_mut, per_task, tasks};
use super::strided::{MAX_RANK, row_major};
use crate::element::{Element, Float};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// The place that an index names in a dimension; negative ones count from the end.
#[inline]
pub fn place(index: i64, size: usize) -> Option<usize> {
    let place = if index < 0 { index.wrapping_add(size as i64) } else { index } as usize;
    (place < size).then_some(place)
}

/// Indices of a shape `dims`, each of which picks an element of an array at the place of the index itself, but for dimension
/// `dim`, where it stands for the place.
#[derive(Clone, Copy)]
pub struct Picks<'a> {
    /// The indices, in row-major order.
    pub index: &'a [i64],
    /// Their shape, of at least one dimension.
    pub dims: &'a [usize],
    /// The dimension along which they pick.
    pub dim: usize,
    /// The shape of the array, in row-major order.
    pub sizes: &'a [usize],
}

impl Picks<'_> {
    /// The strides of the array; panics where a place could lie outside of `len` elements.
    fn strides(&self, len: usize) -> [usize; MAX_RANK] {
        let Picks { index, dims, dim, sizes } = *self;
        let rank = dims.len();
        assert!(dim < rank && sizes.len() == rank && rank <= MAX_RANK, "picks: ranks differ");
        assert_eq!(index.len(), dims.iter().product::<usize>(), "picks: the number of indices");
        assert!((0..rank).all(|d| d == dim || dims[d] <= sizes[d]), "picks: {dims:?} of {sizes:?}");
        assert_eq!(len, sizes.iter().product::<usize>(), "picks: the number of elements");
        row_major(sizes)
    }

    /// Calls `f(i, place)` for the indices in some columns of a row; whether all of them name a place.
    #[inline(always)]
    fn visit(
        &self,
        strides: &[usize; MAX_RANK],
        row: usize,
        columns: Range<usize>,
        mut f: impl FnMut(usize, usize),
    ) -> bool {
        let last = self.dims.len() - 1;
        let (mut rest, mut start) = (row, 0);
        for d in (0..last).rev() {
            if d != self.dim {
                start += rest % self.dims[d] * strides[d];
            }
            rest /= self.dims[d];
        }
        let (size, stride) = (self.sizes[self.dim], strides[self.dim]);
        let along = usize::from(self.dim < last);
        let index = &self.index[row * self.dims[last]..][..self.dims[last]];
        let mut good = true;
        for i in columns {
            match place(index[i], size) {
                Some(place) => f(i, start + place * stride + i * along),
                None => good = false,
            }
        }
        good
    }
}

/// `y` becomes what the indices pick from `x`; `false`, and `y` in part as it was, where one names no place.
///
/// # Panics
/// When the sizes contradict each other.
pub fn gather<T: Element>(picks: &Picks, x: &[T], y: &mut [T]) -> bool {
    let strides = picks.strides(x.len());
    assert_eq!(y.len(), picks.index.len(), "gather: lengths differ");
    let length = picks.dims[picks.dims.len() - 1];
    if y.is_empty() {
        return true;
    }
    let bad = AtomicBool::new(false);
    chunks_mut(y, length * per_task(picks.index.len() / length, length), |start, y| {
        for (i, y) in y.chunks_mut(length).enumerate() {
            if !picks.visit(&strides, start / length + i, 0..length, |i, place| y[i] = x[place]) {
                bad.store(true, Ordering::Relaxed);
            }
        }
    });
    !bad.into_inner()
}

/// Adds the elements of `x`, in their order, where the indices point in `y`; `false` where one names no place.
///
/// # Panics
/// When the sizes contradict each other.
pub fn scatter_add<T: Float>(picks: &Picks, x: &[T], y: &mut [T]) -> bool {
    let strides = picks.strides(y.len());
    assert_eq!(x.len(), picks.index.len(), "scatter_add: lengths differ");
    if x.is_empty() {
        return true;
    }
    let (rank, length) = (picks.dims.len(), picks.dims[picks.dims.len() - 1]);
    let rows = x.len() / length;
    let bad = AtomicBool::new(false);
    let y = Shared::new(y);
    let add = |rows: Range<usize>, columns: Range<usize>| {
        for row in rows {
            let x = &x[row * length..];
            let good = picks.visit(&strides, row, columns.clone(), |i, place| {
                // SAFETY: by what `strides` has checked all places are inside of `y`; no other task has this one.
                unsafe { *y.at(place) += x[i] }
            });
            if !good {
                bad.store(true, Ordering::Relaxed);
            }
        }
    };
    // Tasks must not meet: neither do what stands at different places before `dim`, nor in different columns behind it.
    let outer: usize = picks.dims[..picks.dim].iter().product();
    let whole = rows / outer.max(1);
    if picks.dim + 1 == rank || outer >= 8 {
        let some = per_task(outer, whole * length);
        tasks(outer.div_ceil(some), true, |i| add(i * some * whole..((i + 1) * some).min(outer) * whole, 0..length));
    } else {
        let some = per_task(length, rows);
        tasks(length.div_ceil(some), true, |i| add(0..rows, i * some..((i + 1) * some).min(length)));
    }
    !bad.into_inner()
}

/// The rows of `inner` elements that `places` names, of each slice of `size` of them in `x`.
///
/// # Panics
/// When the sizes contradict each other, or a place is outside.
pub fn select<T: Element>(places: &[usize], [size, inner]: [usize; 2], x: &[T], y: &mut [T]) {
    if y.is_empty() {
        return;
    }
    assert_eq!(y.len() * size, x.len() * places.len(), "select: lengths differ");
    chunks_mut(y, inner * per_task(y.len() / inner, inner), |start, y| {
        let first = start / inner;
        let (mut slice, mut at) = (first / places.len(), first % places.len());
        let mut y = y;
        while !y.is_empty() {
            let count = (places.len() - at).min(y.len() / inner);
            let (now, rest) = y.split_at_mut(count * inner);
            let (x, places) = (&x[slice * size * inner..][..size * inner], &places[at..][..count]);
            if inner == 1 {
                now.iter_mut().zip(places).for_each(|(y, &place)| *y = x[place]);
            } else {
                for (y, &place) in now.chunks_mut(inner).zip(places) {
                    y.copy_from_slice(&x[place * inner..][..inner]);
                }
            }
            (y, slice, at) = (rest, slice + 1, 0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, on_every_machine};

    /// A shape, a dimension, the shape of the indices: few and many rows before the dimension, in it and behind it.
    const CASES: [(&[usize], usize, &[usize]); 7] = [
        (&[70_000], 0, &[50_000]),
        (&[300, 250], 1, &[290, 400]),
        (&[300, 250], 0, &[400, 240]),
        (&[3, 40, 500], 1, &[2, 70, 499]),
        (&[20, 7, 400], 1, &[20, 9, 300]),
        (&[4, 5, 6], 2, &[4, 0, 3]),
        (&[40, 50, 20], 0, &[60, 50, 20]),
    ];

    fn indices(count: usize, size: usize) -> Vec<i64> {
        (0..count as i64).map(|i| (i * 7919 + i / 3) % (2 * size as i64) - size as i64).collect()
    }

    #[test]
    fn elements_are_picked_and_added_where_the_indices_point() {
        for (sizes, dim, dims) in CASES {
            let [len, count] = [sizes, dims].map(|dims| dims.iter().product::<usize>());
            let strides = row_major(sizes);
            let index = indices(count, sizes[dim]);
            let picks = Picks { index: &index, dims, dim, sizes };
            let (x, source) = (noise(len, 1), noise(count, 2));
            let mut expected = [vec![0.0; count], x.clone()];
            for i in 0..count {
                let (mut rest, mut at) = (i, 0);
                for d in (0..dims.len()).rev() {
                    let own = if d == dim { index[i].rem_euclid(sizes[dim] as i64) as usize } else { rest % dims[d] };
                    at += own * strides[d];
                    rest /= dims[d];
                }
                expected[0][i] = x[at];
                expected[1][at] += source[i];
            }
            let found = on_every_machine(
                || {
                    let mut found = [vec![0.0; count], x.clone()];
                    assert!(gather(&picks, &x, &mut found[0]));
                    assert!(scatter_add(&picks, &source, &mut found[1]));
                    found
                },
                |_| (),
            );
            assert!(found.iter().all(|found| *found == expected), "{sizes:?} {dim} {dims:?}");
        }
    }

    #[test]
    fn an_index_that_names_no_place_is_found() {
        for wrong in [-4, 3, i64::MIN, i64::MAX] {
            let index = [0, 1, wrong, 2];
            let picks = Picks { index: &index, dims: &[4], dim: 0, sizes: &[3] };
            assert!(!gather(&picks, &[1.0; 3], &mut [0.0; 4]), "{wrong}");
            assert!(!scatter_add(&picks, &[1.0; 4], &mut [0.0; 3]), "{wrong}");
        }
    }

    #[test]
    fn rows_are_selected_from_each_slice() {
        for [outer, size, inner, count] in
            [[1, 300, 200, 400], [500, 40, 1, 90], [60, 7, 33, 20], [1, 3, 1, 1], [2, 3, 0, 4]]
        {
            let x = noise(outer * size * inner, 1);
            let places: Vec<usize> = (0..count).map(|i| i * 7919 % size).collect();
            let found = on_every_machine(
                || {
                    let mut y = vec![0.0; outer * count * inner];
                    select(&places, [size, inner], &x, &mut y);
                    y
                },
                |_| (),
            );
            for y in found {
                for (i, y) in y.iter().enumerate() {
                    let (row, slice) = (i / inner % count, i / inner / count);
                    assert_eq!(*y, x[(slice * size + places[row]) * inner + i % inner]);
                }
            }
        }
    }
}
