//! The gradients of the weights of a part, while what they are made of is still in the second-level cache.

use super::{Layer, Step};
use crate::kernels::gemm::{Finish, Gemm, Kernels, Mat, SLACK, Shared, Tile, pack_b, panel_height};
use std::ops::Range;

/// Rows of a block: their gradients are 1 MiB for 256 units of an LSTM.
pub(super) const BLOCK: usize = 256;

/// Sums `dW_ih = d^T x` and `dW_hh = d^T h'` over the steps of a part: it collects steps until they are a block of k, then
/// adds their product to what is there.
pub(super) struct Outer<'a, T: Gemm> {
    layer: &'a Layer,
    kernels: &'static Kernels<T>,
    /// The inputs, the outputs, and the state at first.
    x: &'a [T],
    y: &'a [T],
    h: Option<&'a [T]>,
    /// Where the two gradients go: `[gates * hidden, input]` and `[gates * hidden, output]`.
    to: [Shared<T>; 2],
    begun: bool,
    steps: Vec<Step>,
    filled: usize,
}

impl<'a, T: Gemm + Default> Outer<'a, T> {
    pub fn new(
        layer: &'a Layer,
        kernels: &'static Kernels<T>,
        x: &'a [T],
        y: &'a [T],
        h: Option<&'a [T]>,
        to: [Shared<T>; 2],
    ) -> Self {
        Outer { layer, kernels, x, y, h, to, begun: false, steps: Vec::new(), filled: 0 }
    }

    /// The numbers that [`Outer::add`] needs.
    pub fn room(layer: &Layer, kernels: &Kernels<T>) -> usize {
        let panels = layer.input.div_ceil(kernels.width()) + layer.output.div_ceil(kernels.width());
        panels * (BLOCK * kernels.width() + SLACK)
    }

    /// Rows of the block that are taken.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Whether the block has room for so many rows.
    pub fn fits(&self, rows: usize) -> bool {
        self.filled + rows <= BLOCK
    }

    /// Takes the next rows of the block for a step.
    pub fn push(&mut self, step: Step) {
        self.filled += step.active;
        self.steps.push(step);
    }

    /// Packs columns of the inputs, or of the states before, of all rows of the block.
    fn pack(&self, of_x: bool, columns: Range<usize>, to: &mut [T]) {
        let Layer { input, output, .. } = *self.layer;
        let mut p = 0;
        for step in &self.steps {
            let Step { from, active, warm, place, place_before, .. } = *step;
            let rows: [(Option<&[T]>, usize, usize); 2] = if of_x {
                [(Some(self.x), place, active), (None, 0, 0)]
            } else {
                [(Some(self.y), place_before, warm), (self.h, from + warm, active - warm)]
            };
            let size = if of_x { input } else { output };
            for (data, first, count) in rows.into_iter().filter(|&(_, _, count)| count > 0) {
                let to = &mut to[p * self.kernels.width()..];
                match data {
                    Some(data) => {
                        let b = Mat { data: &data[first * size..], row_stride: size, col_stride: 1 };
                        pack_b(self.kernels, b, count, columns.clone(), to);
                    }
                    None => to[..count * self.kernels.width()].fill(T::default()),
                }
                p += count;
            }
        }
    }

    /// Adds the products of the block, whose gradients of the sums are the rows of `d`, and begins another one; `room` has
    /// [`Outer::room`].
    ///
    /// # Safety
    /// No one else may touch what the gradients are written to, which must have their sizes.
    pub unsafe fn add(&mut self, d: &[T], room: &mut [T]) {
        let Layer { cell, hidden, input, output, .. } = *self.layer;
        let (kernels, k, width) = (self.kernels, self.filled, self.kernels.width());
        let sides = [input, output];
        let stride = BLOCK * width + SLACK;
        let panels = sides.map(|size| size.div_ceil(width));
        let b = &mut room[..(panels[0] + panels[1]) * stride];
        for (i, b) in b.chunks_mut(stride).enumerate() {
            let side = usize::from(i >= panels[0]);
            let j = (i - side * panels[0]) * width;
            self.pack(side == 0, j..(j + width).min(sides[side]), b);
        }
        for piece in cell.pieces() {
            let count = piece.size * hidden;
            let height = panel_height(count, kernels.height());
            // 1. Columns of d.
            for i in (0..count).step_by(height) {
                let (h, column) = (height.min(count - i), piece.column * hidden + i);
                for (side, row) in [piece.input, piece.hidden].into_iter().enumerate() {
                    let Some(row) = row else { continue };
                    let size = sides[side];
                    // 2. Panels of the inputs or states, from the second-level cache.
                    for j in 0..panels[side] {
                        let tile = Tile {
                            rows: h,
                            width: width.min(size - j * width),
                            a: d[column..].as_ptr(),
                            a_stride: 1,
                            b: b[(side * panels[0] + j) * stride..].as_ptr(),
                            outer: &[[0, 0]],
                            inner: k,
                            a_step: self.layer.stride(),
                            b_step: width,
                            c: self.to[side].at((row * hidden + i) * size + j * width),
                            c_stride: size,
                            accumulate: self.begun,
                            finish: Finish::NONE,
                        };
                        // SAFETY: `d` has k rows, B is packed for them; the caller vouches for C.
                        unsafe { kernels.tile(&tile) };
                    }
                }
            }
        }
        self.begun = true;
        self.clear();
    }

    /// Begins another block.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.steps.clear();
    }
}
