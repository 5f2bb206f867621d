//! Copies of some rows of an image and of what lies around it, for some rows of windows. Columns are sorted by their remainder
//! modulo the stride, so that what one tap sees of a row of windows lies side by side.

use super::{Pool2d, blocks};
use crate::element::Float;
use std::ops::Range;

/// Numbers of a copy, unless one row of windows takes more: it stays in the first-level cache.
const NEAR: usize = 1 << 12;

pub(super) struct Bands<'a> {
    p: &'a Pool2d,
    /// Columns of a copy that have the same remainder.
    phase: usize,
    /// For each remainder that a tap sees, those of these columns that lie in the image, and where the first of them is there.
    phases: Vec<(Range<usize>, usize)>,
    /// Which rows of a copy a tap sees.
    seen: Vec<bool>,
    /// Rows of windows that share a copy.
    rows: usize,
    /// Where each tap of the first window of a row is, counted from the row's first.
    pub taps: Vec<usize>,
}

/// Some rows of windows of one image.
pub(super) struct Band {
    pub plane: usize,
    pub rows: Range<usize>,
    /// The first of these rows, counted from the first of all that were asked for.
    pub at: usize,
}

impl Bands<'_> {
    pub fn new(p: &Pool2d) -> Bands<'_> {
        let [tall, wide] = [0, 1].map(|axis| (p.kernel[axis] - 1) * p.dilation[axis]);
        let stride = p.stride[1];
        let phase = p.output[1] + wide / stride;
        let columns = |remainder: usize| {
            let start = p.padding[1].saturating_sub(remainder).div_ceil(stride).min(phase);
            let end = (p.input[1] + p.padding[1]).saturating_sub(remainder).div_ceil(stride).clamp(start, phase);
            (start..end, (start * stride + remainder).saturating_sub(p.padding[1]))
        };
        let mut remainders: Vec<_> = (0..p.kernel[1]).map(|k| k * p.dilation[1] % stride).collect();
        remainders.sort_unstable();
        remainders.dedup();
        let pitch = phase * remainders.len();
        let tap = |i: usize| {
            let [y, x] = [i / p.kernel[1] * p.dilation[0], i % p.kernel[1] * p.dilation[1]];
            let before = remainders.partition_point(|&remainder| remainder < x % stride);
            y * pitch + before * phase + x / stride
        };
        let rows = ((NEAR / pitch).saturating_sub(tall + 1) / p.stride[0] + 1).min(p.output[0]);
        let mut seen = vec![false; (rows - 1) * p.stride[0] + tall + 1];
        for ky in 0..p.kernel[0] {
            seen[ky * p.dilation[0]..].iter_mut().step_by(p.stride[0]).take(rows).for_each(|seen| *seen = true);
        }
        let taps = (0..p.taps()).map(tap).collect();
        Bands { p, phase, phases: remainders.into_iter().map(columns).collect(), seen, rows, taps }
    }

    /// Numbers of a row of a copy.
    fn pitch(&self) -> usize {
        self.phase * self.phases.len()
    }

    /// Where row `i` of a band begins in its copy.
    pub fn row(&self, i: usize) -> usize {
        i * self.p.stride[0] * self.pitch()
    }

    /// Numbers of the copy for so many rows of windows.
    fn len(&self, rows: usize) -> usize {
        self.row(rows - 1) + ((self.p.kernel[0] - 1) * self.p.dilation[0] + 1) * self.pitch()
    }

    /// Room for a copy.
    pub fn room<T: Float>(&self) -> Vec<T> {
        vec![T::ZERO; self.len(self.rows)]
    }

    /// The bands of `count` rows of windows, from row `first` of all images on.
    pub fn split(&self, first: usize, count: usize) -> impl Iterator<Item = Band> {
        let (all, most, mut at) = (self.p.output[0], self.rows, 0);
        std::iter::from_fn(move || {
            let (plane, row) = ((first + at) / all, (first + at) % all);
            let rows = most.min(all - row).min(count - at);
            at += rows;
            (rows > 0).then(|| Band { plane, rows: row..row + rows, at: at - rows })
        })
    }

    /// Copies what a band sees of the images `x`, and `outside` around them.
    #[inline(always)]
    pub fn copy<T: Float>(&self, band: &Band, x: &[T], outside: T, to: &mut [T]) {
        let p = self.p;
        let (stride, [height, width]) = (p.stride[1], p.input);
        let rows = to[..self.len(band.rows.len())].chunks_exact_mut(self.pitch());
        for (i, to) in rows.enumerate().filter(|(i, _)| self.seen[*i]) {
            let row = (band.rows.start * p.stride[0] + i).checked_sub(p.padding[0]).filter(|&row| row < height);
            let Some(row) = row else {
                to.fill(outside);
                continue;
            };
            let x = &x[(band.plane * height + row) * width..][..width];
            for ((columns, first), to) in self.phases.iter().zip(to.chunks_exact_mut(self.phase)) {
                to[..columns.start].fill(outside);
                to[columns.end..].fill(outside);
                if !columns.is_empty() {
                    every(stride, &x[*first..], &mut to[columns.clone()]);
                }
            }
        }
    }
}

/// `to[i] = x[i step]`.
#[inline(always)]
fn every<T: Float>(step: usize, x: &[T], to: &mut [T]) {
    const LANES: usize = 8;
    match (step, to.len()) {
        (1, n) => to.copy_from_slice(&x[..n]),
        (2, LANES..) => {
            for at in blocks(to.len(), LANES) {
                let (x, to) = (&x[2 * at..][..2 * LANES - 1], &mut to[at..][..LANES]);
                for l in 0..LANES {
                    to[l] = x[2 * l];
                }
            }
        }
        _ => to.iter_mut().zip(x.iter().step_by(step)).for_each(|(to, &x)| *to = x),
    }
}
