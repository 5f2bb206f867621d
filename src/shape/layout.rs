//! Where the elements of a view stand in its storage.

use super::{MAX_RANK, Shape};

/// Shape, strides and offset, all in elements. Strides are never negative; 0 repeats an element (`expand`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub shape: Shape,
    strides: [usize; MAX_RANK],
    pub offset: usize,
}

impl Layout {
    /// Row-major, from the storage's first element.
    #[inline]
    pub fn contiguous(shape: Shape) -> Layout {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for i in (0..shape.rank()).rev() {
            strides[i] = step;
            step *= shape[i];
        }
        Layout { shape, strides, offset: 0 }
    }

    #[inline]
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.shape.rank()]
    }

    /// Whether the elements stand in row-major order without gaps.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1;
        for i in (0..self.shape.rank()).rev() {
            if self.shape[i] != 1 && self.strides[i] != step {
                return self.shape.contains(&0);
            }
            step *= self.shape[i];
        }
        true
    }

    pub fn permute(&self, order: &[usize]) -> Layout {
        let mut out = *self;
        for (to, &from) in order.iter().enumerate() {
            out.shape[to] = self.shape[from];
            out.strides[to] = self.strides[from];
        }
        out
    }

    /// `length` indices of one dimension, every `step`th from `start`.
    pub fn slice(&self, dim: usize, start: usize, length: usize, step: usize) -> Layout {
        let mut out = *self;
        out.shape[dim] = length;
        // An empty view stays where it is: its start may lie beyond the storage's end.
        if out.shape.numel() > 0 {
            out.offset += start * self.strides[dim];
        }
        out.strides[dim] *= step;
        out
    }

    /// The dimension of size 1 at `dim` left out.
    pub fn squeeze(&self, dim: usize) -> Layout {
        let mut out = *self;
        out.strides.copy_within(dim + 1.., dim);
        out.shape = self.shape.without(dim);
        out
    }

    /// A dimension of size 1 put in at `dim`.
    #[track_caller]
    pub fn unsqueeze(&self, dim: usize) -> Layout {
        let mut out = *self;
        out.shape = self.shape.with(dim, 1);
        out.strides.copy_within(dim..MAX_RANK - 1, dim + 1);
        out.strides[dim] = 1;
        out
    }

    /// Repeated to a larger shape; `None` where a size differs and is not 1.
    pub fn expand(&self, shape: &Shape) -> Option<Layout> {
        let lead = shape.rank().checked_sub(self.shape.rank())?;
        let mut out = Layout { shape: *shape, strides: [0; MAX_RANK], offset: self.offset };
        for i in 0..self.shape.rank() {
            if self.shape[i] == shape[lead + i] {
                out.strides[lead + i] = self.strides[i];
            } else if self.shape[i] != 1 {
                return None;
            }
        }
        Some(out)
    }

    /// The same elements in row-major order under another shape, where that is possible without a copy.
    pub fn reshape(&self, shape: &Shape) -> Option<Layout> {
        let mut out = Layout { offset: self.offset, ..Layout::contiguous(*shape) };
        if self.is_contiguous() {
            return Some(out);
        }
        // Old dimensions that step through memory as one become one run; every new dimension must be cut from one run.
        let mut runs = [(0, 0); MAX_RANK];
        let mut count = 0;
        for (&size, &stride) in self.shape.iter().zip(self.strides()).filter(|&(&size, _)| size != 1) {
            match runs[..count].last_mut() {
                Some((run, step)) if *step == size * stride => (*run, *step) = (*run * size, stride),
                _ => {
                    runs[count] = (size, stride);
                    count += 1;
                }
            }
        }
        let (mut left, mut step) = (1, 1);
        for d in (0..shape.rank()).rev().filter(|&d| shape[d] != 1) {
            if left == 1 {
                count -= 1;
                (left, step) = runs[count];
            }
            if left % shape[d] != 0 {
                return None;
            }
            out.strides[d] = step;
            step *= shape[d];
            left /= shape[d];
        }
        Some(out)
    }
}
