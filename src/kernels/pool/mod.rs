//! Pooling: the maximum or the mean of the windows of images, `[planes, height, width]`.
//!
//! Windows that are neighbours in a row are worked on side by side, tap by tap, on copies of the rows where the same tap of
//! neighbours lies side by side (`bands`). Windows of 2 x 2 in steps of 2, which nearly every network has, are blocks of
//! rows that are read once.

pub mod average;
mod bands;
pub mod max;
#[cfg(test)]
mod tests;

use super::parallel::per_task;
use crate::element::Number;
use std::ops::Range;

/// The sizes of a pooling. Each pair is vertical, horizontal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// How many images there are: batch times channels.
    pub planes: usize,
    /// Height and width of an image.
    pub input: [usize; 2],
    /// How many windows there are along each axis; see [`output_size`].
    pub output: [usize; 2],
    /// Elements of a window along each axis.
    pub kernel: [usize; 2],
    /// From one window to the next.
    pub stride: [usize; 2],
    /// Places outside the image, on each side, that windows may cover.
    pub padding: [usize; 2],
    /// From one element of a window to the next.
    pub dilation: [usize; 2],
}

/// How many windows fit along an axis: `(input + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down, or up
/// with `ceil_mode`, where a window that would begin beyond the image and its left padding is left out (PyTorch's rule).
/// `None` when a window is larger than the padded image.
pub fn output_size(
    input: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    ceil_mode: bool,
) -> Option<usize> {
    let extent = dilation * (kernel - 1) + 1;
    let room = (input + 2 * padding).checked_sub(extent)?;
    if !ceil_mode {
        return Some(room / stride + 1);
    }
    let steps = room.div_ceil(stride);
    Some(if steps * stride >= input + padding { steps } else { steps + 1 })
}

impl Pool2d {
    /// Elements of one image.
    fn area(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Windows of one image.
    fn windows(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Elements of one window.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether the windows are 2 x 2 in steps of 2, all inside the image.
    fn is_halving(&self) -> bool {
        (self.kernel, self.stride, self.padding, self.dilation) == ([2; 2], [2; 2], [0; 2], [1; 2])
            && 2 * self.output[0] <= self.input[0]
            && 2 * self.output[1] <= self.input[1]
    }

    /// The two rows of elements under row `row` of the windows of all images, where [`Pool2d::is_halving`].
    #[inline(always)]
    fn halved_rows<'a, T>(&self, row: usize, x: &'a [T]) -> (&'a [T], &'a [T]) {
        let (plane, oy) = (row / self.output[0], row % self.output[0]);
        let x = &x[plane * self.area() + 2 * oy * self.input[1]..][..2 * self.input[1]];
        x.split_at(self.input[1])
    }

    /// Writes 0 to the last row and column of an image that no window covers, where [`Pool2d::is_halving`].
    fn zero_uncovered<T: Number>(&self, dx: &mut [T]) {
        let (rows, columns) = (2 * self.output[0], 2 * self.output[1]);
        dx[rows * self.input[1]..].fill(T::ZERO);
        if columns < self.input[1] {
            dx.chunks_exact_mut(self.input[1]).for_each(|row| row[columns..].fill(T::ZERO));
        }
    }

    /// The windows `o` along an axis whose tap `k` lies in the image: `0 <= o stride + k dilation - padding < input`.
    fn reach(&self, axis: usize, k: usize) -> Range<usize> {
        let (stride, shift) = (self.stride[axis], k * self.dilation[axis]);
        let start = self.padding[axis].saturating_sub(shift).div_ceil(stride);
        let end = (self.input[axis] + self.padding[axis]).saturating_sub(shift).div_ceil(stride);
        start.min(self.output[axis])..end.min(self.output[axis])
    }

    /// [`Pool2d::reach`] for every tap along an axis.
    fn reaches(&self, axis: usize) -> Vec<Range<usize>> {
        (0..self.kernel[axis]).map(|k| self.reach(axis, k)).collect()
    }

    /// Where tap `k` of window `o` lies along an axis; it must be in reach.
    fn place(&self, axis: usize, o: usize, k: usize) -> usize {
        o * self.stride[axis] + k * self.dilation[axis] - self.padding[axis]
    }

    /// Of so many windows in all, those of the rows that are one piece of work.
    fn windows_per_task(&self, windows: usize) -> usize {
        let columns = self.output[1].max(1);
        columns * per_task(windows / columns, self.taps() * columns)
    }

    /// Of images with so many elements in all, those that are one piece of work, in elements.
    fn elements_per_task(&self, elements: usize) -> usize {
        let area = self.area().max(1);
        area * per_task(elements / area, area.max(self.windows()))
    }
}

/// The blocks of `lanes` that cover `0..n`: the last one overlaps the one before it where `n` is no multiple.
#[inline(always)]
fn blocks(n: usize, lanes: usize) -> impl Iterator<Item = usize> {
    (0..n.div_ceil(lanes)).map(move |i| (i * lanes).min(n - lanes))
}

/// Calls a function with `[(); L]` for the widest `L` of 16, 8, 4 and 1 that is not wider than a row.
macro_rules! with_lanes {
    ($columns:expr, |$lanes:ident| $call:expr) => {
        match $columns {
            16.. => {
                let $lanes = [(); 16];
                $call
            }
            8.. => {
                let $lanes = [(); 8];
                $call
            }
            4.. => {
                let $lanes = [(); 4];
                $call
            }
            _ => {
                let $lanes = [(); 1];
                $call
            }
        }
    };
}
use with_lanes;
