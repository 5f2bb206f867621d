//! The gradient of the weight: `dW^T [in * taps, out] = X . dY^T`, a sum over the pixels of all images.
//!
//! Lanes are output channels: blocks of `dY` are transposed to `[pixels, out]`, while the input is read where it lies (from
//! a padded copy of the rows at hand, where there is padding). The pixels are cut in slices that depend on the sizes alone;
//! each has a sum of its own, and the sums are added in order.

use super::Conv;
use super::planes::Padded;
use crate::element::Float;
use crate::kernels::gemm::{Finish, SLACK, Shared, Tile, panel_height, part, scratch, transpose};
use crate::kernels::parallel;
use crate::kernels::simd::{Isa, simd};
use std::ops::Range;

/// Pixels of a block: transposed for one panel of 32 channels they take 36 KiB of `f32`, so they stay in the first-level cache.
const PIXELS: usize = 288;

/// How the gradient of a weight is shared out.
pub(super) struct Shares {
    /// Slices of the pixels, with a sum each: by the sizes alone.
    pub slices: usize,
    /// Panels of output channels in a group, and how many teams they make.
    pub panels: usize,
    pub teams: usize,
    /// Parts of the input channels.
    pub parts: usize,
    /// Numbers in one panel of a sum: the bias, then rows for the input channels.
    pub panel_len: usize,
}

/// How the work is cut; by the sizes alone.
struct Plan {
    /// Those of a team share a copy of the input.
    shares: Shares,
    /// Rows of output pixels of all images.
    lines: usize,
    /// Rows of a tile: channels, at the same tap; or where there are fewer of them, taps of a row of the kernel.
    by_channels: bool,
    height: usize,
}

impl Plan {
    fn new(conv: &Conv, width: usize, tallest: usize) -> Plan {
        let (depth, panels) = (conv.depth(), conv.group_out().div_ceil(width));
        let lines = conv.batch * conv.output()[0];
        let most = ((1 << 20) / conv.weight_len().max(1)).clamp(1, 8);
        let slices = (lines * conv.output()[1] / 256).clamp(1, most).min(lines);
        // Without empty ones.
        let slices = lines.div_ceil(lines.div_ceil(slices));
        let channels = conv.group_in();
        let by_channels = channels >= conv.kernel[1].min(tallest);
        let height = panel_height(if by_channels { channels } else { conv.kernel[1] }, tallest);
        let tiles = if by_channels { channels.div_ceil(height) } else { channels };
        let teams = 8_usize.div_ceil(slices * conv.groups).min(panels);
        let parts = 8_usize.div_ceil(slices * teams * conv.groups).min(tiles);
        let shares = Shares { slices, panels, teams, parts, panel_len: (depth + 1) * width };
        Plan { shares, lines, by_channels, height }
    }
}

pub(super) fn grad_weight<T: Float>(isa: Isa, conv: &Conv, x: &[T], dy: &[T], dw: &mut [T], bias: Option<&mut [T]>) {
    let kernels = T::kernels(isa);
    let plan = Plan::new(conv, kernels.width(), kernels.height());
    let sum = |slice: usize, group: usize, panels: Range<usize>, at: usize, sums: Shared<T>| {
        let lines = part(plan.lines, plan.shares.slices, 1, slice);
        let unit = if plan.by_channels { plan.height } else { 1 };
        let channels = part(conv.group_in(), plan.shares.parts, unit, at);
        if !channels.is_empty() {
            sum_slice(isa, conv, &plan, x, dy, lines, group, panels, channels, sums);
        }
    };
    add_up(isa, conv, &plan.shares, dw, bias, sum, |total, done| done(total));
}

/// Calls `sum(slice, group, panels, part, sums of the group)` for all of them, adds the slices in their order, and brings to its
/// place what `finish` makes of each panel's sum: `[depth, width]`.
pub(super) fn add_up<T: Float>(
    isa: Isa,
    conv: &Conv,
    shares: &Shares,
    dw: &mut [T],
    bias: Option<&mut [T]>,
    sum: impl Fn(usize, usize, Range<usize>, usize, Shared<T>) + Sync,
    finish: impl Fn(&[T], &dyn Fn(&[T])) + Sync,
) {
    let &Shares { slices, panels, teams, parts, panel_len } = shares;
    let kernels = T::kernels(isa);
    let (width, depth) = (kernels.width(), conv.depth());
    let (group_out, all_panels, all_teams) = (conv.group_out(), conv.groups * panels, conv.groups * teams);
    scratch(slices * all_panels * panel_len, |sums: &mut [T]| {
        let shared = Shared::new(sums);
        parallel::tasks(slices * all_teams * parts, conv.threads(), |i| {
            let (slice, team, at) = (i / parts / all_teams, i / parts % all_teams, i % parts);
            let (group, some) = (team / teams, part(panels, teams, 1, team % teams));
            if !some.is_empty() {
                sum(slice, group, some, at, shared.after((slice * all_panels + group * panels) * panel_len));
            }
        });
        let sums: &[T] = sums;
        let (dw, bias) = (Shared::new(dw), bias.map(Shared::new));
        parallel::tasks(all_panels, conv.threads(), |panel| {
            let (group, first) = (panel / panels, panel % panels * width);
            let (channel, count) = (group * group_out + first, width.min(group_out - first));
            let of = |slice: usize| &sums[(slice * all_panels + panel) * panel_len..][..panel_len];
            let deliver = |total: &[T]| {
                finish(&total[width..], &|weights| {
                    // SAFETY: these output channels are written by this task only.
                    let to = unsafe { std::slice::from_raw_parts_mut(dw.at(channel * depth), count * depth) };
                    // [depth, count] -> [count, depth]
                    transpose(kernels, weights, width, [depth, count], to, depth);
                });
                if let Some(bias) = bias {
                    // SAFETY: as above.
                    let to = unsafe { std::slice::from_raw_parts_mut(bias.at(channel), count) };
                    to.copy_from_slice(&total[..count]);
                }
            };
            if slices == 1 {
                return deliver(of(0));
            }
            scratch(panel_len, |total: &mut [T]| {
                total.copy_from_slice(of(0));
                for slice in 1..slices {
                    sum_rows(isa, of(slice), total);
                }
                deliver(total);
            });
        });
    });
}

/// Rows that are summed side by side.
const ROWS: usize = 4;

simd! {
    /// Adds all rows of `from`, as long as `to`, to it.
    pub(super) fn sum_rows[T: Float](from: &[T], to: &mut [T]) {
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

/// Adds up the rows of some input channels, of some panels of a group, over some lines of pixels.
#[allow(clippy::too_many_arguments, reason = "the place of a task")]
fn sum_slice<T: Float>(
    isa: Isa,
    conv: &Conv,
    plan: &Plan,
    x: &[T],
    dy: &[T],
    lines: Range<usize>,
    group: usize,
    panels: Range<usize>,
    channels: Range<usize>,
    sums: Shared<T>,
) {
    let kernels = T::kernels(isa);
    let width = kernels.width();
    let (taps, size) = (conv.taps(), conv.output());
    let (in_plane, out_plane) = (conv.in_plane(), conv.out_plane());
    let per_block = (PIXELS / size[1]).clamp(1, lines.len().max(1));
    let plain = conv.padding == [0, 0] && (taps == 1 || super::apart::<T>(in_plane) == in_plane);
    // Else: for each image in a block the rows of the input that it sees.
    let seen = |lines: usize| (lines - 1) * conv.stride[0] + conv.reach(0);
    let layout = Padded::in_order(conv, seen(per_block.min(size[0])));
    let (plane, row) = if plain { (in_plane, conv.input[1]) } else { (super::apart::<T>(layout.plane()), layout.row) };
    let image_copy = channels.len() * plane;
    let images_per_block = per_block.div_ceil(size[0]) + 1;
    let copies = if plain { 0 } else { images_per_block * image_copy };
    let mut outer = Vec::new();
    scratch(per_block * size[1] * width + SLACK, |turned: &mut [T]| {
        scratch(copies + SLACK, |copied: &mut [T]| {
            // 1. Blocks of lines.
            for start in lines.clone().step_by(per_block) {
                let block = start..(start + per_block).min(lines.end);
                outer.clear();
                let mut copy = 0;
                for [line, some] in runs(block.clone(), size[0]) {
                    let (b, y) = (line / size[0], line % size[0]);
                    let image = (b * conv.in_channels + group * conv.group_in() + channels.start) * in_plane;
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
                    let at = (line - block.start) * size[1] * width;
                    outer.extend((0..some).map(|i| [base + i * conv.stride[0] * row, at + i * size[1] * width]));
                    copy += image_copy;
                }
                let from = if plain { x } else { &*copied };
                // 2. Panels of output channels.
                for panel in panels.clone() {
                    let sum = sums.at(panel * plan.shares.panel_len);
                    let first = panel * width;
                    let count = width.min(conv.group_out() - first);
                    for [line, some] in runs(block.clone(), size[0]) {
                        // [count, pixels] -> [pixels, count]
                        let channel = (line / size[0]) * conv.out_channels + group * conv.group_out() + first;
                        let from = &dy[channel * out_plane + line % size[0] * size[1]..];
                        let to = &mut turned[(line - block.start) * size[1] * width..];
                        transpose(kernels, from, out_plane, [count, some * size[1]], to, width);
                    }
                    if channels.start == 0 {
                        // SAFETY: the task with the first channels owns the bias.
                        let bias = unsafe { std::slice::from_raw_parts_mut(sum, width) };
                        if start == lines.start {
                            bias.fill(T::ZERO);
                        }
                        sum_rows(isa, &turned[..block.len() * size[1] * width], bias);
                    }
                    // 3. Tiles of rows.
                    let add = |[channel, u, v]: [usize; 3], rows: usize, a_stride: usize, between: usize| {
                        let at = (channel - channels.start) * plane + u * conv.dilation[0] * row + v * conv.dilation[1];
                        let tile = Tile {
                            rows,
                            width: count,
                            a: from[at..].as_ptr(),
                            a_stride,
                            b: turned.as_ptr(),
                            outer: &outer,
                            inner: size[1],
                            a_step: conv.stride[1],
                            b_step: width,
                            c: sum.wrapping_add((1 + channel * taps + u * conv.kernel[1] + v) * width),
                            c_stride: between * width,
                            accumulate: start > lines.start,
                            finish: Finish::NONE,
                        };
                        // SAFETY: every tap of a pixel lies in the input or in its padded copy; a row of `turned` and of
                        // the sum is a whole tile wide; this task owns these rows.
                        unsafe { kernels.tile(&tile) };
                    };
                    for u in 0..conv.kernel[0] {
                        if plan.by_channels {
                            for v in 0..conv.kernel[1] {
                                for channel in channels.clone().step_by(plan.height) {
                                    add([channel, u, v], plan.height.min(channels.end - channel), plane, taps);
                                }
                            }
                        } else {
                            for channel in channels.clone() {
                                for v in (0..conv.kernel[1]).step_by(plan.height) {
                                    add([channel, u, v], plan.height.min(conv.kernel[1] - v), conv.dilation[1], 1);
                                }
                            }
                        }
                    }
                }
            }
        });
    });
}

/// Cuts lines of all images in runs of one image each: the first line, and how many.
pub(super) fn runs(lines: Range<usize>, per_image: usize) -> impl Iterator<Item = [usize; 2]> {
    let mut next = lines.start;
    std::iter::from_fn(move || {
        let line = next;
        next = (line / per_image * per_image + per_image).min(lines.end);
        (line < lines.end).then(|| [line, next - line])
    })
}
