//! The gradient of the weight: `dG = G^T [sum over tiles of (A dY A^T) * (B^T d B)] G`, for each phase and place in the square a
//! product `[in, tiles] . [tiles, out]`.

use super::plan::{Plan, Scheme, spaced};
use super::transforms::{of_three, of_two};
use super::{CHANNELS, lanes_of, product, splits};
use crate::element::Float;
use crate::kernels::conv::Conv;
use crate::kernels::conv::weight::{Shares, add_up, sum_rows};
use crate::kernels::gemm::{Shared, even, part, scratch, transpose};
use crate::kernels::simd::Isa;
use std::ops::Range;

/// Tiles of a block.
fn most_tiles(scheme: Scheme) -> usize {
    // With 64 channels, or 16 of four phases each, what stands for their input takes 320 or 800 KiB. Sums over more tiles are read and
    // written less often, which matters where there are a hundred for each pair of channels.
    if scheme == Scheme::OfThree { 64 } else { 128 }
}

pub(in crate::kernels::conv) fn grad_weight<T: Float>(
    isa: Isa,
    conv: &Conv,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    bias: Option<&mut [T]>,
) {
    let (width, all) = (T::kernels(isa).width(), conv.group_in());
    let plan = |channels: usize| Plan::new(conv, false, [conv.input, conv.output()], channels);
    let whole = plan(all);
    let (places, phases) = (whole.scheme.places(), whole.scheme.phases());
    let panels = conv.group_out().div_ceil(width);
    let lines = conv.batch * whole.lines;
    let most = ((1 << 20) / (places * phases * all * conv.out_channels).max(1)).clamp(1, 8);
    let slices = (lines * whole.tiles / 128).clamp(1, most).min(lines);
    // Without empty ones.
    let slices = lines.div_ceil(lines.div_ceil(slices));
    let parts = (phases * all).div_ceil(CHANNELS);
    let teams = splits(conv, slices * conv.groups).div_ceil(parts).min(panels);
    let shares = Shares { slices, panels, teams, parts, panel_len: width + whole.panel_len(width) };
    let sum = |slice: usize, group: usize, panels: Range<usize>, at: usize, sums: Shared<T>| {
        let lines = part(lines, slices, 1, slice);
        let channels = even(all, parts, at);
        let of_panel = |panel: usize| sums.after(panel * shares.panel_len);
        let place = whole.panel_place(width);
        sum_slice(isa, conv, &plan(channels.len()), place, x, dy, lines, group, panels, channels.start, &of_panel);
    };
    add_up(isa, conv, &shares, dw, bias, sum, |total, done| {
        scratch(conv.depth() * width, |taps: &mut [T]| {
            let turn = if whole.scheme == Scheme::OfThree { of_three::grad_weight } else { of_two::grad_weight };
            for (i, phase) in whole.phases().iter().enumerate() {
                let sums = &total[i * all * width..];
                turn(isa, sums, whole.panel_place(width), conv.kernel[0], phase.tap, whole.by, width, taps);
            }
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
    place_len: usize,
    x: &[T],
    dy: &[T],
    lines: Range<usize>,
    group: usize,
    panels: Range<usize>,
    first_channel: usize,
    sums: &dyn Fn(usize) -> Shared<T>,
) {
    let kernels = T::kernels(isa);
    let (width, [height, columns]) = (kernels.width(), conv.output());
    let (in_plane, out_plane) = (conv.in_plane(), conv.out_plane());
    let (places, phases, channels) = (plan.scheme.places(), plan.scheme.phases(), plan.channels);
    let grad_output = if plan.scheme == Scheme::OfThree { of_three::grad_output } else { of_two::grad_output };
    let planes = |image: usize| &x[(image * conv.in_channels + group * conv.group_in() + first_channel) * in_plane..];
    let blocks = lines.len().div_ceil((most_tiles(plan.scheme) / plan.tiles).max(1));
    let most = lines.len().div_ceil(blocks);
    let of_output = places * spaced(most * plan.tiles * width);
    let turned_len = plan.scheme.side() * plan.lines.min(most) * columns * width;
    scratch(plan.input_len::<T>(most), |input: &mut [T]| {
        scratch(of_output + turned_len, |buffer: &mut [T]| {
            let (output, turned) = buffer.split_at_mut(of_output);
            for block in 0..blocks {
                let some = even(lines.len(), blocks, block);
                let some = lines.start + some.start..lines.start + some.end;
                let (layout, count) = (plan.layout::<T>(some.len()), some.len() * plan.tiles);
                let between = spaced(count * width);
                plan.input(isa, some.clone(), planes, input);
                for panel in panels.clone() {
                    let first = panel * width;
                    let some_out = width.min(conv.group_out() - first);
                    let sum = sums(panel);
                    // SAFETY: only the task with the first channels reads and writes the bias of its panels and slice.
                    let mut bias = (first_channel == 0).then(|| unsafe { sum.chunk(width, 0) });
                    if let Some(bias) = bias.as_deref_mut().filter(|_| block == 0) {
                        bias.fill(T::ZERO);
                    }
                    let mut done = 0;
                    for (image, some) in plan.runs(some.clone()) {
                        let rows = plan.rows(some.clone(), height);
                        let pixels = rows.len() * columns;
                        // [some_out, pixels] -> [pixels, some_out]
                        let channel = image * conv.out_channels + group * conv.group_out() + first;
                        let from = &dy[channel * out_plane + rows.start * columns..];
                        transpose(kernels, from, out_plane, [some_out, pixels], turned, width);
                        if let Some(bias) = bias.as_deref_mut() {
                            sum_rows(isa, &turned[..pixels * width], bias);
                        }
                        let (size, tiles) = ([rows.len(), columns], [some.len(), plan.tiles]);
                        grad_output(isa, turned, size, tiles, width, &mut output[done * width..], between);
                        done += some.len() * plan.tiles;
                    }
                    for i in 0..places * phases {
                        let (place, phase) = (i / phases, i % phases);
                        let a = &input[place * layout.place + phase * layout.phase..];
                        let b = &output[place * between..];
                        let at = width + place * place_len + (phase * conv.group_in() + first_channel) * width;
                        // SAFETY: this task alone writes these channels of this panel of this slice.
                        let c = unsafe { sum.after(at).chunk(channels * width, 0) };
                        let (sizes, strides) =
                            ([channels, count, lanes_of(kernels, some_out)], [layout.channel, layout.tile]);
                        product(kernels, sizes, a, strides, b, &[[0, 0]], c, block > 0);
                    }
                }
            }
        });
    });
}
