//! The gradient of the weight: `dW^T [in * taps, out] = X . dY^T`, a sum over the pixels of all images.
//!
//! Lanes are output channels: blocks of `dY` are transposed to `[pixels, out]`, while the input is read where it lies (from
//! a padded copy of the rows at hand, where there is padding). The pixels are cut in slices that depend on the sizes alone;
//! each has a sum of its own, and the sums are added in order.

use super::Conv;
use super::planes::Padded;
use crate::element::Float;
use crate::kernels::gemm::transpose;
use crate::kernels::gemm::{Finish, SLACK, Shared, Walk, panel_height, part, scratch};
use crate::kernels::parallel;
use crate::kernels::simd::{Isa, simd};
use std::ops::Range;

/// Pixels of a block: transposed for one panel of 32 channels they take 64 KiB of `f32`.
const PIXELS: usize = 512;

/// How the work is cut; by the sizes alone.
struct Plan {
    /// Panels of output channels in a group.
    panels: usize,
    /// Rows of output pixels of all images, cut in slices with a sum each.
    lines: usize,
    slices: usize,
    /// Parts of the `depth` rows of a sum.
    parts: usize,
    part_unit: usize,
    /// Numbers in one panel of a sum: the bias, then `depth` rows.
    panel_len: usize,
}

impl Plan {
    fn new(conv: &Conv, width: usize, height: usize) -> Plan {
        let (depth, panels) = (conv.depth(), conv.group_out().div_ceil(width));
        let lines = conv.batch * conv.output()[0];
        let most = ((1 << 20) / conv.weight_len().max(1)).clamp(1, 8);
        let slices = (lines * conv.output()[1] / 256).clamp(1, most).min(lines);
        // Without empty ones.
        let slices = lines.div_ceil(lines.div_ceil(slices));
        let tiles = depth.div_ceil(height);
        let parts = 8_usize.div_ceil(slices * panels * conv.groups).min(tiles);
        Plan { panels, lines, slices, parts, part_unit: height, panel_len: (depth + 1) * width }
    }
}

pub(super) fn grad_weight<T: Float>(isa: Isa, conv: &Conv, x: &[T], dy: &[T], dw: &mut [T], bias: Option<&mut [T]>) {
    let kernels = T::kernels(isa);
    let (width, depth) = (kernels.width(), conv.depth());
    let plan = Plan::new(conv, width, panel_height(depth, kernels.height()));
    let (group_out, all_panels) = (conv.group_out(), conv.groups * plan.panels);
    scratch(plan.slices * all_panels * plan.panel_len, |sums: &mut [T]| {
        let shared = Shared::new(sums);
        parallel::tasks(plan.slices * all_panels * plan.parts, conv.threads(), |i| {
            let (slice, panel, at) = (i / plan.parts / all_panels, i / plan.parts % all_panels, i % plan.parts);
            let lines = part(plan.lines, plan.slices, 1, slice);
            let rows = part(depth, plan.parts, plan.part_unit, at);
            if rows.is_empty() {
                return;
            }
            let sum = shared.at((slice * all_panels + panel) * plan.panel_len);
            sum_slice(isa, conv, &plan, x, dy, lines, panel, rows, sum);
        });
        let sums: &[T] = sums;
        let (dw, bias) = (Shared::new(dw), bias.map(Shared::new));
        parallel::tasks(all_panels, conv.threads(), |panel| {
            let (group, first) = (panel / plan.panels, panel % plan.panels * width);
            let (channel, count) = (group * group_out + first, width.min(group_out - first));
            scratch(plan.panel_len, |total: &mut [T]| {
                let of = |slice: usize| &sums[(slice * all_panels + panel) * plan.panel_len..][..plan.panel_len];
                total.copy_from_slice(of(0));
                for slice in 1..plan.slices {
                    sum_rows(isa, of(slice), total);
                }
                // SAFETY: these output channels are written by this task only.
                let to = unsafe { std::slice::from_raw_parts_mut(dw.at(channel * depth), count * depth) };
                // [depth, count] -> [count, depth]
                transpose(kernels, &total[width..], width, [depth, count], to, depth);
                if let Some(bias) = bias {
                    // SAFETY: as above.
                    let to = unsafe { std::slice::from_raw_parts_mut(bias.at(channel), count) };
                    to.copy_from_slice(&total[..count]);
                }
            });
        });
    });
}

/// Rows that are summed side by side.
const ROWS: usize = 4;

simd! {
    /// Adds all rows of `from`, as long as `to`, to it.
    fn sum_rows[T: Float](from: &[T], to: &mut [T]) {
        let width = to.len();
        let blocks = from.chunks_exact(ROWS * width);
        for row in blocks.remainder().chunks_exact(width) {
            for (to, &x) in to.iter_mut().zip(row) {
                *to += x;
            }
        }
        for block in blocks {
            let (a, b) = block.split_at(2 * width);
            let ((a, b), (c, d)) = (a.split_at(width), b.split_at(width));
            for ((((to, &a), &b), &c), &d) in to.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *to += (a + b) + (c + d);
            }
        }
    }
}

/// Adds up the rows `rows` of one panel over some lines of pixels.
#[allow(clippy::too_many_arguments, reason = "the place of a task")]
fn sum_slice<T: Float>(
    isa: Isa,
    conv: &Conv,
    plan: &Plan,
    x: &[T],
    dy: &[T],
    lines: Range<usize>,
    panel: usize,
    rows: Range<usize>,
    sum: *mut T,
) {
    let kernels = T::kernels(isa);
    let width = kernels.width();
    let (taps, size, group_in) = (conv.taps(), conv.output(), conv.group_in());
    let (in_plane, out_plane) = (conv.in_plane(), conv.out_plane());
    let (group, first) = (panel / plan.panels, panel % plan.panels * width);
    let (channel, count) = (group * conv.group_out() + first, width.min(conv.group_out() - first));
    let per_block = (PIXELS / size[1]).clamp(1, lines.len().max(1));
    let plain = conv.padding == [0, 0];
    // With padding: for each image in a block the rows of the input that it sees.
    let seen = |lines: usize| (lines - 1) * conv.stride[0] + conv.reach(0);
    let layout = Padded::in_order(conv, seen(per_block.min(size[0])));
    let channels = rows.start / taps..rows.end.div_ceil(taps);
    let (plane, row) = if plain { (in_plane, conv.input[1]) } else { (layout.plane(), layout.row) };
    let image_copy = channels.len() * plane;
    let offset = |k: usize| {
        let (c, u, v) = (k / taps, k % taps / conv.kernel[1], k % conv.kernel[1]);
        (c - channels.start) * plane + u * conv.dilation[0] * row + v * conv.dilation[1]
    };
    let tile_rows: Vec<[usize; 2]> = rows.clone().map(|k| [offset(k), (k + 1) * width]).collect();
    let inner: Vec<[usize; 2]> = (0..size[1]).map(|i| [i * conv.stride[1], i * width]).collect();
    let images_per_block = per_block.div_ceil(size[0]) + 1;
    let copies = if plain { 0 } else { images_per_block * image_copy };
    if rows.start == 0 {
        // SAFETY: the task with the first rows owns the bias.
        unsafe { std::slice::from_raw_parts_mut(sum, width) }.fill(T::ZERO);
    }
    let mut outer = Vec::new();
    scratch(per_block * size[1] * width + SLACK, |turned: &mut [T]| {
        scratch(copies + SLACK, |copied: &mut [T]| {
            // 1. Blocks of lines.
            for start in lines.clone().step_by(per_block) {
                let block = start..(start + per_block).min(lines.end);
                outer.clear();
                let (mut line, mut copy) = (block.start, 0);
                while line < block.end {
                    let (b, y) = (line / size[0], line % size[0]);
                    let some = (size[0] - y).min(block.end - line);
                    let at = (line - block.start) * size[1] * width;
                    // [count, pixels] -> [pixels, count]
                    let from = &dy[(b * conv.out_channels + channel) * out_plane + y * size[1]..];
                    transpose(kernels, from, out_plane, [count, some * size[1]], &mut turned[at..], width);
                    let image = (b * conv.in_channels + group * group_in + channels.start) * in_plane;
                    let base = if plain {
                        image + y * conv.stride[0] * row
                    } else {
                        for c in 0..channels.len() {
                            let to = &mut copied[copy + c * plane..];
                            let rows = [y * conv.stride[0], seen(some)];
                            layout.fill(kernels, conv, rows, &x[image + c * in_plane..], to);
                        }
                        copy
                    };
                    outer.extend((0..some).map(|i| [base + i * conv.stride[0] * row, at + i * size[1] * width]));
                    line += some;
                    copy += image_copy;
                }
                if rows.start == 0 {
                    // SAFETY: as above.
                    let bias = unsafe { std::slice::from_raw_parts_mut(sum, width) };
                    sum_rows(isa, &turned[..block.len() * size[1] * width], bias);
                }
                // 2. Tiles of rows.
                for tile in tile_rows.chunks(plan.part_unit) {
                    let walk = Walk {
                        a: if plain { x.as_ptr() } else { copied.as_ptr() },
                        b: turned.as_ptr(),
                        c: sum,
                        rows: tile,
                        outer: &outer,
                        inner: &inner,
                        width: count,
                        accumulate: start > lines.start,
                        finish: Finish::NONE,
                    };
                    // SAFETY: every tap of a pixel lies in the input or in its padded copy; a row of `turned` and of the
                    // sum is a whole tile wide; this task owns these rows.
                    unsafe { kernels.walk(&walk) };
                }
            }
        });
    });
}
