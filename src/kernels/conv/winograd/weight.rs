//! The gradient of the weight: `dG = G^T [sum over tiles of (A dY A^T) * (B^T d B)] G`, for each place in the square a product
//! `[in, tiles] . [tiles, out]`.

use super::{CHANNELS, PLACES, Tiling, lanes_of, product, spaced, splits, transforms};
use crate::element::Float;
use crate::kernels::conv::Conv;
use crate::kernels::conv::weight::sum_rows;
use crate::kernels::gemm::{Kernels, SLACK, Shared, part, scratch, transpose};
use crate::kernels::parallel;
use crate::kernels::simd::Isa;
use std::ops::Range;

/// Tiles of a block: what stands for the output of one panel takes 64 KiB of `f32`.
const TILES: usize = 64;

/// How the work is cut: the sums by the sizes alone.
struct Plan {
    tiling: Tiling,
    /// Lines of tiles of all images, and slices of them with a sum each.
    lines: usize,
    slices: usize,
    /// Lines of a block.
    per_block: usize,
    /// Parts of the input channels, and teams of panels of output channels.
    parts: usize,
    teams: usize,
    panels: usize,
    /// Numbers in one panel of a sum: the bias, then `[places, in, width]`.
    panel_len: usize,
}

impl Plan {
    fn new<T: Float>(conv: &Conv, kernels: &Kernels<T>) -> Plan {
        let (width, channels) = (kernels.width(), conv.group_in());
        let tiling = Tiling::new(conv.output(), conv.padding);
        let panels = conv.group_out().div_ceil(width);
        let lines = conv.batch * tiling.lines;
        let most = ((1 << 20) / (PLACES * channels * conv.out_channels).max(1)).clamp(1, 8);
        let slices = (lines * tiling.tiles / (2 * TILES)).clamp(1, most).min(lines);
        // Without empty ones.
        let slices = lines.div_ceil(lines.div_ceil(slices));
        let splits = splits(conv, slices * conv.groups);
        let parts = channels.div_ceil(CHANNELS);
        let teams = splits.div_ceil(parts).min(panels);
        let per_block = tiling.per_block(TILES, lines.div_ceil(slices));
        Plan { tiling, lines, slices, per_block, parts, teams, panels, panel_len: (1 + PLACES * channels) * width }
    }
}

pub(crate) fn grad_weight<T: Float>(isa: Isa, conv: &Conv, x: &[T], dy: &[T], dw: &mut [T], bias: Option<&mut [T]>) {
    let kernels = T::kernels(isa);
    let (width, depth, group_out) = (kernels.width(), conv.depth(), conv.group_out());
    let plan = Plan::new(conv, kernels);
    let all_panels = conv.groups * plan.panels;
    scratch(plan.slices * all_panels * plan.panel_len, |sums: &mut [T]| {
        let shared = Shared::new(sums);
        let all_teams = conv.groups * plan.teams;
        parallel::tasks(plan.slices * all_teams * plan.parts, conv.threads(), |i| {
            let (slice, team, at) = (i / plan.parts / all_teams, i / plan.parts % all_teams, i % plan.parts);
            let (group, team) = (team / plan.teams, team % plan.teams);
            let lines = part(plan.lines, plan.slices, 1, slice);
            let channels = conv.group_in() * at / plan.parts..conv.group_in() * (at + 1) / plan.parts;
            let panels = plan.panels * team / plan.teams..plan.panels * (team + 1) / plan.teams;
            let sums = shared.after((slice * all_panels + group * plan.panels) * plan.panel_len);
            sum_slice(isa, conv, &plan, x, dy, lines, group, panels, channels, sums);
        });
        let sums: &[T] = sums;
        let (dw, bias) = (Shared::new(dw), bias.map(Shared::new));
        parallel::tasks(all_panels, conv.threads(), |panel| {
            let (group, first) = (panel / plan.panels, panel % plan.panels * width);
            let (channel, count) = (group * group_out + first, width.min(group_out - first));
            scratch(plan.panel_len + depth * width, |buffer: &mut [T]| {
                let (total, taps) = buffer.split_at_mut(plan.panel_len);
                let of = |slice: usize| &sums[(slice * all_panels + panel) * plan.panel_len..][..plan.panel_len];
                total.copy_from_slice(of(0));
                for slice in 1..plan.slices {
                    sum_rows(isa, of(slice), total);
                }
                transforms::grad_weight(isa, &total[width..], width, taps);
                // SAFETY: these output channels are written by this task only.
                let to = unsafe { std::slice::from_raw_parts_mut(dw.at(channel * depth), count * depth) };
                // [depth, count] -> [count, depth]
                transpose(kernels, taps, width, [depth, count], to, depth);
                if let Some(bias) = bias {
                    // SAFETY: as above.
                    let to = unsafe { std::slice::from_raw_parts_mut(bias.at(channel), count) };
                    to.copy_from_slice(&total[..count]);
                }
            });
        });
    });
}

/// Adds up what stands for some input channels, of some panels of a group, over some lines of tiles.
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
    let (kernels, tiling) = (T::kernels(isa), &plan.tiling);
    let (width, [rows, columns]) = (kernels.width(), conv.output());
    let (in_plane, out_plane) = (conv.in_plane(), conv.out_plane());
    let first_channel = group * conv.group_in() + channels.start;
    let planes = |image: usize| &x[(image * conv.in_channels + first_channel) * in_plane..];
    let (pitch, most) = (tiling.pitch::<T>(plan.per_block), plan.per_block * tiling.tiles);
    scratch(PLACES * spaced(channels.len() * pitch) + SLACK, |input: &mut [T]| {
        scratch(
            PLACES * spaced(most * width) + 2 * tiling.lines.min(plan.per_block) * columns * width,
            |buffer: &mut [T]| {
                let (output, turned) = buffer.split_at_mut(PLACES * spaced(most * width));
                for start in lines.clone().step_by(plan.per_block) {
                    let block = start..(start + plan.per_block).min(lines.end);
                    let (count, pitch) = (block.len() * tiling.tiles, tiling.pitch::<T>(block.len()));
                    tiling.input(isa, block.clone(), channels.len(), conv.input, planes, input);
                    for panel in panels.clone() {
                        let first = panel * width;
                        let some_out = width.min(conv.group_out() - first);
                        let sum = sums.after(panel * plan.panel_len);
                        // SAFETY: only the task with the first channels reads and writes the bias of its panels and slice.
                        let mut bias = (channels.start == 0).then(|| unsafe { sum.chunk(width, 0) });
                        if let Some(bias) = bias.as_deref_mut().filter(|_| start == lines.start) {
                            bias.fill(T::ZERO);
                        }
                        let mut done = 0;
                        for (image, some) in tiling.runs(block.clone()) {
                            let seen = 2 * some.start..(2 * some.end).min(rows);
                            let pixels = seen.len() * columns;
                            // [some_out, pixels] -> [pixels, some_out]
                            let channel = image * conv.out_channels + group * conv.group_out() + first;
                            let from = &dy[channel * out_plane + seen.start * columns..];
                            transpose(kernels, from, out_plane, [some_out, pixels], turned, width);
                            if let Some(bias) = bias.as_deref_mut() {
                                sum_rows(isa, &turned[..pixels * width], bias);
                            }
                            let (size, tiles) = ([seen.len(), columns], [some.len(), tiling.tiles]);
                            let to = &mut output[done * width..];
                            transforms::grad_output(isa, turned, size, tiles, width, to, spaced(count * width));
                            done += some.len() * tiling.tiles;
                        }
                        for place in 0..PLACES {
                            let (a, b) = (
                                &input[place * spaced(channels.len() * pitch)..],
                                &output[place * spaced(count * width)..],
                            );
                            let at = (1 + place * conv.group_in() + channels.start) * width;
                            // SAFETY: this task alone writes these channels of this panel of this slice.
                            let c = unsafe { sum.after(at).chunk(channels.len() * width, 0) };
                            let sizes = [channels.len(), count, lanes_of(kernels, some_out)];
                            product(kernels, sizes, a, [pitch, 1], b, c, start > lines.start);
                        }
                    }
                }
            },
        );
    });
}
