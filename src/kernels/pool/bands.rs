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
    /// Rows of windows that share a copy.
    rows: usize,
    /// Which rows of a copy a tap sees.
    seen: Vec<bool>,
    /// Where each tap of the first window of a row is, counted from the row's first.
    pub taps: Vec<usize>,
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
        Bands { p, phase, phases: remainders.into_iter().map(columns).collect(), rows, seen, taps }
    }

    /// The rows of windows `these` of all images `x`, with `outside` around each image.
    #[inline(always)]
    pub fn rows<'a, T: Float>(&'a self, these: Range<usize>, x: &'a [T], outside: T) -> Rows<'a, T> {
        let copy = vec![T::ZERO; self.seen.len() * self.pitch()];
        Rows { bands: self, these, x, outside, copy, here: 0..0, top: 0 }
    }

    /// Numbers of a row of a copy.
    fn pitch(&self) -> usize {
        self.phase * self.phases.len()
    }

    /// Copies the rows of an image that are `seen`, from row `first` of the padded image on.
    #[inline(always)]
    fn copy<T: Float>(&self, x: &[T], first: usize, seen: &[bool], outside: T, to: &mut [T]) {
        let (p, width) = (self.p, self.p.input[1]);
        let rows = to.chunks_exact_mut(self.pitch()).zip(seen).enumerate();
        for (i, (to, _)) in rows.filter(|(_, (_, seen))| **seen) {
            let Some(row) = (first + i).checked_sub(p.padding[0]).filter(|&row| row < p.input[0]) else {
                to.fill(outside);
                continue;
            };
            let x = &x[row * width..][..width];
            for ((columns, first), to) in self.phases.iter().zip(to.chunks_exact_mut(self.phase)) {
                to[..columns.start].fill(outside);
                to[columns.end..].fill(outside);
                if !columns.is_empty() {
                    every(p.stride[1], &x[*first..], &mut to[columns.clone()]);
                }
            }
        }
    }
}

/// Rows of windows, one after the other.
pub(super) struct Rows<'a, T> {
    bands: &'a Bands<'a>,
    /// Those that the copy does not hold yet.
    these: Range<usize>,
    x: &'a [T],
    outside: T,
    copy: Vec<T>,
    /// Which rows of an image share the copy and are still to come, and the first that does.
    here: Range<usize>,
    top: usize,
}

impl<T: Float> Rows<'_, T> {
    /// The number that the next row has in its image, and what its taps see.
    #[inline(always)]
    pub fn next(&mut self) -> (usize, &[T]) {
        let (bands, p) = (self.bands, self.bands.p);
        if self.here.is_empty() {
            let (plane, top) = (self.these.start / p.output[0], self.these.start % p.output[0]);
            let rows = bands.rows.min(p.output[0] - top).min(self.these.len());
            let seen = &bands.seen[..bands.seen.len() - (bands.rows - rows) * p.stride[0]];
            bands.copy(&self.x[plane * p.area()..][..p.area()], top * p.stride[0], seen, self.outside, &mut self.copy);
            (self.here, self.top) = (top..top + rows, top);
            self.these.start += rows;
        }
        let row = self.here.start;
        self.here.start += 1;
        (row, &self.copy[(row - self.top) * p.stride[0] * bands.pitch()..])
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
