//! Copies of planes with their padding, and the passes whose lanes run along a row of pixels.

use super::Conv;
use crate::element::Float;
use crate::kernels::gemm::{Kernels, SLACK, Shared, Strip, scratch};
use crate::kernels::lanes::folded;
use crate::kernels::parallel;
use crate::kernels::simd::{Isa, simd};

/// The layout of padded planes. Columns are sorted by their remainder modulo the stride, so that what one tap sees of a
/// row of output pixels lies side by side: column `x` is at `(x % s) * phase + x / s`.
#[derive(Clone, Copy)]
pub(super) struct Padded {
    /// Rows of a plane.
    pub height: usize,
    /// Numbers in a row: as many phases as the stride.
    pub row: usize,
    phase: usize,
    stride: usize,
}

impl Padded {
    /// Planes with all rows of a padded input.
    pub fn whole(conv: &Conv) -> Padded {
        let stride = conv.stride[1];
        let phase = (conv.input[1] + 2 * conv.padding[1]).div_ceil(stride);
        Padded { height: conv.input[0] + 2 * conv.padding[0], row: phase * stride, phase, stride }
    }

    /// Planes of `height` rows of a padded input, the columns in their order.
    pub fn in_order(conv: &Conv, height: usize) -> Padded {
        let row = conv.input[1] + 2 * conv.padding[1];
        Padded { height, row, phase: row, stride: 1 }
    }

    /// Whether the input already has this layout.
    pub fn is_plain(conv: &Conv) -> bool {
        conv.padding == [0, 0] && conv.stride[1] == 1
    }

    pub fn plane(&self) -> usize {
        self.height * self.row
    }

    /// Where a column stands in its row.
    fn column(&self, x: usize) -> usize {
        x % self.stride * self.phase + x / self.stride
    }

    /// Where the tap (u, v) of the first output pixel stands in a plane.
    pub fn tap(&self, conv: &Conv, tap: usize) -> usize {
        let (u, v) = (tap / conv.kernel[1], tap % conv.kernel[1]);
        u * conv.dilation[0] * self.row + self.column(v * conv.dilation[1])
    }

    /// Copies `rows` rows of a plane of the input, which `from` starts with, from row `first` of the padded plane on. What
    /// stands in `to` behind them may be overwritten.
    pub fn fill<T: Float>(
        &self,
        kernels: &Kernels<T>,
        conv: &Conv,
        [first, rows]: [usize; 2],
        from: &[T],
        to: &mut [T],
    ) {
        let ([height, width], [top, left]) = (conv.input, conv.padding);
        // Those of the rows that stand in the input, which may be none.
        let inside = top.clamp(first, first + rows)..(top + height).clamp(first, first + rows);
        let (above, below) = (inside.start - first, inside.end - first);
        to[..above * self.row].fill(T::ZERO);
        let from = &from[inside.start.saturating_sub(top).min(height) * width..];
        if self.stride == 1 {
            let offsets = |count: usize| (0..count).map(|y| y * width);
            let end = inside.len() * width + SLACK;
            if end <= from.len() && (below * self.row + SLACK) <= to.len() {
                // Whole registers, then the zeros that they have overrun.
                let mut some = [0; 32];
                for y in (0..inside.len()).step_by(some.len()) {
                    let count = some.len().min(inside.len() - y);
                    some.iter_mut().zip(offsets(count)).for_each(|(some, offset)| *some = offset);
                    let strip = Strip {
                        from: from[y * width..].as_ptr(),
                        offsets: &some[..count],
                        pieces: &[[0, width]],
                        to: to[(above + y) * self.row + left..].as_mut_ptr(),
                        stride: self.row,
                    };
                    // SAFETY: both slices have room for another register behind the last row.
                    unsafe { kernels.strip(&strip) };
                }
                for to in to[above * self.row..below * self.row].chunks_exact_mut(self.row) {
                    to[..left].iter_mut().for_each(|x| *x = T::ZERO);
                    to[left + width..].iter_mut().for_each(|x| *x = T::ZERO);
                }
            } else {
                let lines = to[above * self.row..below * self.row].chunks_exact_mut(self.row);
                for (to, at) in lines.zip(offsets(inside.len())) {
                    to.fill(T::ZERO);
                    to[left..left + width].copy_from_slice(&from[at..at + width]);
                }
            }
        } else {
            let lines = to[above * self.row..below * self.row].chunks_exact_mut(self.row);
            for (y, to) in lines.enumerate() {
                let from = &from[y * width..][..width];
                for (r, to) in to.chunks_mut(self.phase).enumerate() {
                    for (q, to) in to.iter_mut().enumerate() {
                        let x = (q * self.stride + r).wrapping_sub(left);
                        *to = from.get(x).copied().unwrap_or(T::ZERO);
                    }
                }
            }
        }
        to[below * self.row..rows * self.row].fill(T::ZERO);
    }

    /// [`Padded::fill`] for a whole plane, of which the padding stays as it is.
    pub fn fill_inside<T: Float>(&self, isa: Isa, conv: &Conv, from: &[T], to: &mut [T]) {
        match (self.stride, conv.input[1]) {
            (1, 16..) => spread(isa, [[(); 16]; 1], conv, *self, from, to),
            (1, 4..) => spread(isa, [[(); 4]; 1], conv, *self, from, to),
            (2, 16..) => spread(isa, [[(); 8]; 2], conv, *self, from, to),
            (2, 8..) => spread(isa, [[(); 4]; 2], conv, *self, from, to),
            (_, width) => {
                let lines = to[conv.padding[0] * self.row..].chunks_mut(self.row);
                for (from, to) in from.chunks(width.max(1)).take(conv.input[0]).zip(lines) {
                    from.iter().enumerate().for_each(|(x, &from)| to[self.column(x + conv.padding[1])] = from);
                }
            }
        }
    }

    /// Copies a plane of the input out of a padded one.
    pub fn unfill<T: Float>(&self, conv: &Conv, from: &[T], to: &mut [T]) {
        for (y, to) in to.chunks_mut(conv.input[1]).enumerate() {
            let from = &from[(y + conv.padding[0]) * self.row..][..self.row];
            if self.stride == 1 {
                to.copy_from_slice(&from[conv.padding[1]..][..conv.input[1]]);
                continue;
            }
            for (x, to) in to.iter_mut().enumerate() {
                *to = from[self.column(x + conv.padding[1])];
            }
        }
    }
}

simd! {
    /// Copies a plane of rows of `width` numbers to where [`Padded`] wants it: at least `LANES` numbers for each of the `PHASES`
    /// of a row. What is copied twice is the same.
    fn spread[T: Float, const LANES: usize, const PHASES: usize](
        _lanes: [[(); LANES]; PHASES], conv: &Conv, layout: Padded, from: &[T], to: &mut [T],
    ) {
        // Of a stride that the compiler knows.
        let layout = Padded { stride: PHASES, ..layout };
        let ([height, width], [top, left]) = (conv.input, conv.padding);
        for y in 0..height {
            let (from, to) = (&from[y * width..][..width], &mut to[(top + y) * layout.row..][..layout.row]);
            for x in (0..width).step_by(LANES * PHASES) {
                let x = x.min(width - LANES * PHASES);
                let from = &from[x..x + LANES * PHASES];
                for r in 0..PHASES {
                    let to = &mut to[layout.column(x + r + left)..][..LANES];
                    for l in 0..LANES {
                        to[l] = from[l * PHASES + r];
                    }
                }
            }
        }
    }
}

/// Sums that run side by side.
const LANES: usize = 16;
/// Those of rows, which may be short.
const ROW_LANES: usize = 8;

simd! {
    /// `sums[i] += a[offsets[i] + y pitch..] * b` for the rows of two planes, of which `b`'s are `columns` long. Behind `b` as
    /// many numbers as lanes can be read.
    fn dot_rows[T: Float, const TAPS: usize](
        a: &[T], offsets: &[usize; TAPS], pitch: usize, b: &[T], size: [usize; 2], sums: &mut [[T; ROW_LANES]; TAPS],
    ) {
        let [rows, columns] = size;
        let furthest = offsets.iter().copied().max().unwrap_or(0);
        assert!(rows > 0 && furthest + (rows - 1) * pitch + columns.max(ROW_LANES) <= a.len(), "conv: a padded plane");
        assert!((rows - 1) * columns + columns.max(ROW_LANES) <= b.len(), "conv: a plane of the gradient");
        let mut all = *sums;
        let whole = columns / ROW_LANES * ROW_LANES;
        // The last lanes of a row are as many: some are done already, or not of the row.
        let last = columns.saturating_sub(ROW_LANES);
        let mut open = [0_u32; ROW_LANES];
        open[whole - last.min(whole)..columns - last].fill(u32::from(whole < columns));
        for y in 0..rows {
            for x in (0..whole).step_by(ROW_LANES) {
                // SAFETY: the end of the last row is asserted above.
                let b = unsafe { b.get_unchecked(y * columns + x..y * columns + x + ROW_LANES) };
                for t in 0..TAPS {
                    let at = offsets[t] + y * pitch + x;
                    // SAFETY: as above, and for the furthest tap.
                    let a = unsafe { a.get_unchecked(at..at + ROW_LANES) };
                    for l in 0..ROW_LANES {
                        all[t][l] += a[l] * b[l];
                    }
                }
            }
            if whole < columns {
                // SAFETY: as above.
                let b = unsafe { b.get_unchecked(y * columns + last..y * columns + last + ROW_LANES) };
                for t in 0..TAPS {
                    let at = offsets[t] + y * pitch + last;
                    // SAFETY: as above.
                    let a = unsafe { a.get_unchecked(at..at + ROW_LANES) };
                    for l in 0..ROW_LANES {
                        let product = a[l] * b[l];
                        all[t][l] += if open[l] != 0 { product } else { T::ZERO };
                    }
                }
            }
        }
        *sums = all;
    }

    /// `lanes += a`.
    fn sum_lanes[T: Float](a: &[T], lanes: &mut [T; LANES]) {
        let mut sums = *lanes;
        let chunks = a.chunks_exact(LANES);
        for (sum, &a) in sums.iter_mut().zip(chunks.remainder()) {
            *sum += a;
        }
        for a in chunks {
            for l in 0..LANES {
                sums[l] += a[l];
            }
        }
        *lanes = sums;
    }
}

/// The gradient of the weight for groups of few output channels: products of shifted planes, summed.
pub(super) fn grad_weight<T: Float>(isa: Isa, conv: &Conv, x: &[T], dy: &[T], dw: &mut [T]) {
    // Taps that share what is read of `dy`.
    match conv.taps() {
        taps if taps.is_multiple_of(3) => grad_weight_by::<T, 3>(isa, conv, x, dy, dw),
        taps if taps.is_multiple_of(5) => grad_weight_by::<T, 5>(isa, conv, x, dy, dw),
        taps if taps.is_multiple_of(2) => grad_weight_by::<T, 2>(isa, conv, x, dy, dw),
        _ => grad_weight_by::<T, 1>(isa, conv, x, dy, dw),
    }
}

fn grad_weight_by<T: Float, const TAPS: usize>(isa: Isa, conv: &Conv, x: &[T], dy: &[T], dw: &mut [T]) {
    let (layout, size, taps) = (Padded::whole(conv), conv.output(), conv.taps());
    let (group_in, group_out, depth) = (conv.group_in(), conv.group_out(), conv.depth());
    let (in_plane, out_plane) = (conv.in_plane(), conv.out_plane());
    let offsets: Vec<usize> = (0..taps).map(|tap| layout.tap(conv, tap)).collect();
    let (offsets, _) = offsets.as_chunks::<TAPS>();
    let shared = Shared::new(dw);
    // A task for each input channel: its plane is copied once for all that see it.
    parallel::tasks(conv.in_channels, conv.threads(), |channel| {
        let (group, c) = (channel / group_in, channel % group_in);
        scratch(layout.plane() + out_plane + 2 * SLACK, |both: &mut [T]| {
            both.fill(T::ZERO);
            let (padded, buffer) = both.split_at_mut(layout.plane() + SLACK);
            let mut sums = vec![[[T::ZERO; ROW_LANES]; TAPS]; group_out * offsets.len()];
            for b in 0..conv.batch {
                layout.fill_inside(isa, conv, &x[(b * conv.in_channels + channel) * in_plane..], padded);
                for (o, sums) in sums.chunks_mut(offsets.len()).enumerate() {
                    let o = group * group_out + o;
                    let mut dy = &dy[(b * conv.out_channels + o) * out_plane..][..out_plane];
                    if size[1] < ROW_LANES {
                        buffer[..out_plane].copy_from_slice(dy);
                        dy = buffer;
                    }
                    for (sums, offsets) in sums.iter_mut().zip(offsets) {
                        dot_rows(isa, padded, offsets, conv.stride[0] * layout.row, dy, size, sums);
                    }
                }
            }
            for (i, lanes) in sums.as_flattened().iter().enumerate() {
                let o = group * group_out + i / taps;
                // SAFETY: in bounds, and the weights of this input channel are written by this task only.
                unsafe { *shared.at(o * depth + c * taps + i % taps) = folded(lanes, |a, b| a + b) };
            }
        });
    });
}

/// The gradient of the bias: the sum of each channel of `dy` over images and pixels.
pub(super) fn grad_bias<T: Float>(isa: Isa, conv: &Conv, dy: &[T], bias: &mut [T]) {
    let plane = conv.out_plane();
    let per_task = parallel::per_task(conv.out_channels, conv.batch * plane);
    parallel::chunks_mut(bias, per_task, |start, bias| {
        for (i, bias) in bias.iter_mut().enumerate() {
            let mut lanes = [T::ZERO; LANES];
            for b in 0..conv.batch {
                sum_lanes(isa, &dy[(b * conv.out_channels + start + i) * plane..][..plane], &mut lanes);
            }
            *bias = folded(&lanes, |a, b| a + b);
        }
    });
}
