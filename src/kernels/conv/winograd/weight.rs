//! The gradient of the weight: `dG = G^T [sum over tiles of (A dY A^T) * (B^T d B)] G`, for each place in the square a product
//! `[in, tiles] . [tiles, out]`.

use super::{CHANNELS, PLACES, Tiling, lanes_of, product, spaced, splits, transforms};
use crate::element::Float;
use crate::kernels::conv::Conv;
use crate::kernels::conv::weight::{Shares, add_up, sum_rows};
use crate::kernels::gemm::{Kernels, SLACK, Shared, even, part, scratch, transpose};
use crate::kernels::simd::Isa;
use std::ops::Range;

/// Tiles of a block: with 64 channels, what stands for their input takes 320 KiB.
const TILES: usize = 64;

/// How the work is cut.
struct Plan {
    shares: Shares,
    tiling: Tiling,
    /// Lines of tiles of all images, and of a block.
    lines: usize,
    per_block: usize,
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
        let parts = channels.div_ceil(CHANNELS);
        let teams = splits(conv, slices * conv.groups).div_ceil(parts).min(panels);
        let per_block = tiling.per_block(TILES, lines.div_ceil(slices));
        let shares = Shares { slices, panels, teams, parts, panel_len: (1 + PLACES * channels) * width };
        Plan { shares, tiling, lines, per_block }
    }
}

pub(in crate::kernels::conv) fn grad_weight<T: Float>(
    isa: Isa,
    conv: &Conv,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    bias: Option<&mut [T]>,
) {
    let kernels = T::kernels(isa);
    let (plan, width) = (Plan::new(conv, kernels), kernels.width());
    let sum = |slice: usize, group: usize, panels: Range<usize>, at: usize, sums: Shared<T>| {
        let lines = part(plan.lines, plan.shares.slices, 1, slice);
        let channels = even(conv.group_in(), plan.shares.parts, at);
        sum_slice(isa, conv, &plan, x, dy, lines, group, panels, channels, sums);
    };
    add_up(isa, conv, &plan.shares, dw, bias, sum, |total, done| {
        scratch(conv.depth() * width, |taps: &mut [T]| {
            transforms::grad_weight(isa, total, width, taps);
            done(taps);
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
                        let sum = sums.after(panel * plan.shares.panel_len);
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
