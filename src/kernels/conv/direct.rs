//! Lanes are the channels of the result; every number of the source is broadcast where it lies.
//!
//! Pixels of the result are sorted in classes that see the same taps of the kernel. Within a class the taps lie at the
//! same distances from a pixel's first one, so neighbours in a row or in a column, or the same pixel of several images, make
//! a register tile; padding, stride and dilation cost nothing, and no product with a padded zero is formed. The gradient of
//! the input is the same with another geometry: `x = i s + u d - p` solved for `i`.

use super::{After, Conv, Weights};
use crate::element::Float;
use crate::kernels::gemm::{Finish, Kernels, SLACK, Shared, Tile, panel_height, part, scratch, transpose};
use crate::kernels::parallel;
use crate::kernels::pool::max::{halve_lanes, to_bytes};
use crate::kernels::simd::Isa;
use std::ops::Range;

/// Products of one output number for which a panel of weights is kept in the first-level cache: 36 KiB of `f32`.
const DEPTH: usize = 288;

/// Positions along one axis of the result that see the same taps. Positions and taps are at even distances, in the result
/// or the kernel and in the source.
struct Class {
    /// A position, and where its first tap is in the source.
    positions: Vec<[usize; 2]>,
    /// A tap, and its distance in the source from the first one; wraps around where it lies before that.
    taps: Vec<[usize; 2]>,
}

impl Class {
    /// The distance of neighbours; of none where there is only one.
    fn step(of: &[[usize; 2]]) -> [usize; 2] {
        match of {
            [first, second, ..] => [second[0].wrapping_sub(first[0]), second[1].wrapping_sub(first[1])],
            _ => [0, 0],
        }
    }
}

/// Sorts `size` positions by the taps for which `source(position, tap)` exists. A class without taps comes out too: its
/// result is 0.
fn classes(size: usize, taps: usize, source: impl Fn(usize, usize) -> Option<usize>) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    for position in 0..size {
        let seen: Vec<[usize; 2]> = (0..taps).filter_map(|tap| source(position, tap).map(|at| [tap, at])).collect();
        let first = seen.first().map_or(0, |tap| tap[1]);
        let taps: Vec<_> = seen.iter().map(|&[tap, at]| [tap, at.wrapping_sub(first)]).collect();
        let fits = |class: &&mut Class| {
            let (all, last) = (&class.positions, class.positions[class.positions.len() - 1]);
            let step = [position - last[0], first.wrapping_sub(last[1])];
            class.taps == taps && (all.len() == 1 || Class::step(all) == step)
        };
        match classes.iter_mut().find(fits) {
            Some(class) => class.positions.push([position, first]),
            None => classes.push(Class { positions: vec![[position, first]], taps }),
        }
    }
    classes
}

/// One pass, whichever way it goes.
struct Pass<'a, T> {
    batch: usize,
    groups: usize,
    from: &'a [T],
    /// Channels of the source in one group, and the height and width of a plane.
    from_channels: usize,
    from_size: [usize; 2],
    to_channels: usize,
    to_size: [usize; 2],
    kernel: [usize; 2],
    classes: [Vec<Class>; 2],
    after: After<'a, T>,
    halving: Option<Halving>,
    threads: bool,
    /// The weights in the order that they are read in, if it is at hand.
    packed: Option<&'a [T]>,
}

/// Of each 2 x 2 pixels of the result the largest is kept, and where there is a place for it the number of its tap.
struct Halving {
    taps: Option<Shared<u8>>,
}

/// The numbers of packed weights.
pub(super) fn packed_len(conv: &Conv, width: usize) -> usize {
    conv.groups * conv.group_out().div_ceil(width) * conv.depth() * width + SLACK
}

/// The weights in the order that the forward pass reads them in: panels of as many channels as a tile is wide.
pub(super) fn pack<T: Float>(isa: Isa, conv: &Conv, weight: &[T], to: &mut [T]) {
    let (out, width) = (conv.group_out(), T::kernels(isa).width());
    let panels = (0..conv.groups).flat_map(|group| (0..out).step_by(width).map(move |first| (group * out, first)));
    for ((group, first), to) in panels.zip(to.chunks_mut((conv.depth() * width).max(1))) {
        pack_panel(isa, conv, weight, group + first, width.min(out - first), to, width);
    }
}

/// [width, in * taps] -> [in * taps, width]
fn pack_panel<T: Float>(
    isa: Isa,
    conv: &Conv,
    weight: &[T],
    channel: usize,
    width: usize,
    to: &mut [T],
    stride: usize,
) {
    let depth = conv.depth();
    transpose(T::kernels(isa), &weight[channel * depth..], depth, [width, depth], to, stride);
}

pub(super) fn forward<T: Float>(isa: Isa, conv: &Conv, x: &[T], weight: Weights<T>, after: After<T>, y: &mut [T]) {
    run_forward(isa, conv, conv.output(), x, weight, after, y, None);
}

/// [`forward`] and max pooling with windows of 2 x 2: pixels that no window covers are not computed.
pub(super) fn forward_halved<T: Float>(
    isa: Isa,
    conv: &Conv,
    x: &[T],
    weight: Weights<T>,
    after: After<T>,
    y: &mut [T],
    taps: Option<&mut [u8]>,
) {
    let halving = Halving { taps: taps.map(Shared::new) };
    run_forward(isa, conv, conv.output().map(|size| size / 2 * 2), x, weight, after, y, Some(halving));
}

#[allow(clippy::too_many_arguments, reason = "what a pass is made of")]
fn run_forward<T: Float>(
    isa: Isa,
    conv: &Conv,
    to_size: [usize; 2],
    x: &[T],
    weight: Weights<T>,
    after: After<T>,
    y: &mut [T],
    halving: Option<Halving>,
) {
    let pass = Pass {
        batch: conv.batch,
        groups: conv.groups,
        from: x,
        from_channels: conv.group_in(),
        from_size: conv.input,
        to_channels: conv.group_out(),
        to_size,
        kernel: conv.kernel,
        classes: [0, 1].map(|i| {
            classes(to_size[i], conv.kernel[i], |position, tap| {
                let at = (position * conv.stride[i] + tap * conv.dilation[i]).checked_sub(conv.padding[i])?;
                (at < conv.input[i]).then_some(at)
            })
        }),
        after,
        halving,
        threads: conv.threads(),
        packed: weight.packed,
    };
    pass.run(isa, y, |channel, width, to, stride| pack_panel(isa, conv, weight.plain, channel, width, to, stride));
}

pub(super) fn grad_input<T: Float>(isa: Isa, conv: &Conv, dy: &[T], weight: &[T], bias: Option<&[T]>, dx: &mut [T]) {
    let (taps, depth, from_size) = (conv.taps(), conv.depth(), conv.output());
    let (group_in, group_out) = (conv.group_in(), conv.group_out());
    let pass = Pass {
        batch: conv.batch,
        groups: conv.groups,
        from: dy,
        from_channels: group_out,
        from_size,
        to_channels: group_in,
        to_size: conv.input,
        kernel: conv.kernel,
        classes: [0, 1].map(|i| {
            classes(conv.input[i], conv.kernel[i], |position, tap| {
                let at = (position + conv.padding[i]).checked_sub(tap * conv.dilation[i])?;
                (at % conv.stride[i] == 0 && at / conv.stride[i] < from_size[i]).then_some(at / conv.stride[i])
            })
        }),
        after: After { bias, relu: false },
        halving: None,
        threads: conv.threads(),
        packed: None,
    };
    pass.run(isa, dx, |channel, width, to, stride| {
        let (group, inside) = (channel / group_in, channel % group_in);
        for o in 0..group_out {
            // [width, taps] -> [taps, width]
            let from = &weight[(group * group_out + o) * depth + inside * taps..];
            transpose(T::kernels(isa), from, taps, [width, taps], &mut to[o * taps * stride..], stride);
        }
    });
}

impl<T: Float> Pass<'_, T> {
    /// `pack(channel, width, to, stride)` writes the weights of `width` channels of the result, from `channel` on, as
    /// `[from_channels * taps, stride]`.
    fn run(&self, isa: Isa, to: &mut [T], pack: impl Fn(usize, usize, &mut [T], usize) + Sync) {
        let width = T::kernels(isa).width();
        let taps = self.kernel[0] * self.kernel[1];
        let from_plane = self.from_size[0] * self.from_size[1];
        let copied = copied::<T>(from_plane, self.from_channels, self.groups);
        let pitch = copied.map_or(from_plane, |[plane, _]| plane);
        let [tall, wide] = &self.classes;
        let blocks = (self.from_channels * taps).div_ceil(DEPTH).clamp(1, self.from_channels.max(1));
        let channels = |i: usize| part(self.from_channels, blocks, 1, i);
        let classes = tall.iter().flat_map(|tall| wide.iter().map(move |wide| [tall, wide]));
        let steps = |i: usize| classes.clone().map(move |class| self.steps(class, channels(i), pitch, width)).collect();
        let steps: Vec<Vec<Steps>> = (0..blocks).map(steps).collect();
        let panels = self.to_channels.div_ceil(width);
        let panel_len = self.from_channels * taps * width;
        let plane = self.to_size[0] * self.to_size[1];
        // Enough pixels for whole tiles: of small planes, several images.
        let images = (512 / plane.max(1)).clamp(1, 14).min(self.batch);
        let image_groups = self.batch.div_ceil(images);
        let images = self.batch.div_ceil(image_groups);
        let shared = Shared::new(to);
        let pack = |group: usize, panel: usize, to: &mut [T]| {
            let first = panel * width;
            pack(group * self.to_channels + first, width.min(self.to_channels - first), to, width);
        };
        let blocks = |image_group: usize, group: usize, panels: Range<usize>, weights: &[T]| {
            let first = image_group * images;
            let count = images.min(self.batch - first);
            self.with_source(first, count, group, copied, |source| {
                for (i, panel) in panels.enumerate() {
                    let weights = &weights[i * panel_len..];
                    self.block(isa, first, count, group, panel * width, weights, source, &steps, shared);
                }
            });
        };
        let all = |weights: &[T]| {
            parallel::tasks(image_groups * self.groups, self.threads, |i| {
                let group = i % self.groups;
                blocks(i / self.groups, group, 0..panels, &weights[group * panels * panel_len..]);
            });
        };
        if image_groups == 1 {
            return parallel::tasks(self.groups * panels, self.threads, |i| {
                let (group, panel) = (i / panels, i % panels);
                if let Some(packed) = self.packed {
                    return blocks(0, group, panel..panel + 1, &packed[i * panel_len..]);
                }
                // Each thread packs what it reads: what another core has just written comes slowly.
                scratch(panel_len + SLACK, |weights: &mut [T]| {
                    pack(group, panel, &mut weights[..panel_len]);
                    blocks(0, group, panel..panel + 1, weights);
                });
            });
        }
        if let Some(packed) = self.packed {
            return all(packed);
        }
        scratch(self.groups * panels * panel_len + SLACK, |packed: &mut [T]| {
            let shared = Shared::new(packed);
            parallel::tasks(self.groups * panels, self.threads, |i| {
                // SAFETY: each task has a panel for itself.
                pack(i / panels, i % panels, unsafe { shared.chunk(panel_len, i) });
            });
            all(packed);
        });
    }

    /// The steps of the tiles of a class, along some channels of the source.
    fn steps(&self, [tall, wide]: [&Class; 2], channels: Range<usize>, plane: usize, stride: usize) -> Steps {
        let (taps, from_row) = (self.kernel[0] * self.kernel[1], self.from_size[1]);
        let weight = |u: usize, v: usize| (u * self.kernel[1] + v) * stride;
        if wide.taps.is_empty() || tall.taps.is_empty() {
            return Steps { outer: Vec::new(), inner: 0, a_step: 0, b_step: 0 };
        }
        if tall.taps.len() == 1 && wide.taps.len() == 1 {
            let weight = channels.start * taps * stride + weight(tall.taps[0][0], wide.taps[0][0]);
            let outer = vec![[channels.start * plane, weight]];
            return Steps { outer, inner: channels.len(), a_step: plane, b_step: taps * stride };
        }
        let rows = |c: usize| {
            tall.taps.iter().map(move |&[u, y]| {
                let at = (c * plane).wrapping_add(y.wrapping_mul(from_row));
                [at, c * taps * stride + weight(u, wide.taps[0][0])]
            })
        };
        let [v, x] = Class::step(&wide.taps);
        let outer = channels.flat_map(rows).collect();
        Steps { outer, inner: wide.taps.len(), a_step: x, b_step: v * stride }
    }

    /// Calls `f` with the planes of a group of channels, of some images, or a copy of them.
    fn with_source(
        &self,
        image: usize,
        images: usize,
        group: usize,
        copied: Option<[usize; 2]>,
        f: impl FnOnce(&Source<T>),
    ) {
        let from_plane = self.from_size[0] * self.from_size[1];
        let source = Source {
            data: &self.from[(image * self.groups + group) * self.from_channels * from_plane..],
            image: self.groups * self.from_channels * from_plane,
        };
        let Some([pitch, image]) = copied else { return f(&source) };
        scratch(pitch * self.from_channels + image * (images - 1), |copy: &mut [T]| {
            for n in 0..images {
                for c in 0..self.from_channels {
                    copy[n * image + c * pitch..][..from_plane]
                        .copy_from_slice(&source.data[n * source.image + c * from_plane..][..from_plane]);
                }
            }
            f(&Source { data: copy, image });
        });
    }

    /// The planes of one panel of channels, from channel `first` of the group on, of some images.
    #[allow(clippy::too_many_arguments, reason = "the place of a block")]
    fn block(
        &self,
        isa: Isa,
        image: usize,
        images: usize,
        group: usize,
        first: usize,
        weights: &[T],
        source: &Source<T>,
        steps: &[Vec<Steps>],
        shared: Shared<T>,
    ) {
        let kernels = T::kernels(isa);
        let stride = kernels.width();
        let width = stride.min(self.to_channels - first);
        let channel = group * self.to_channels + first;
        let plane = self.to_size[0] * self.to_size[1];
        let last = Finish {
            bias_row: self.after.bias.map_or(std::ptr::null(), |bias| bias[channel..][..width].as_ptr()),
            // The ReLU of the largest is the largest of the ReLUs.
            relu: self.after.relu && self.halving.is_none(),
            ..Finish::NONE
        };
        let blocks = steps.len();
        scratch(images * plane * stride + SLACK, |result: &mut [T]| {
            // Weights of a block of channels stay in the first-level cache while they meet all pixels.
            for (i, steps) in steps.iter().enumerate() {
                let finish = if i + 1 == blocks { last } else { Finish::NONE };
                let classes =
                    self.classes[0].iter().flat_map(|tall| self.classes[1].iter().map(move |wide| [tall, wide]));
                for (class, steps) in classes.zip(steps) {
                    self.class(kernels, class, steps, i > 0, images, weights, source, width, finish, result);
                }
            }
            for n in 0..images {
                let result = &mut result[n * plane * stride..];
                let start = (image + n) * self.groups * self.to_channels + channel;
                let Some(Halving { taps }) = self.halving else {
                    // SAFETY: these channels of this image are written by this task only.
                    let to = unsafe { std::slice::from_raw_parts_mut(shared.at(start * plane), width * plane) };
                    // [pixels, width] -> [width, pixels]
                    transpose(kernels, result, stride, [plane, width], to, plane);
                    continue;
                };
                let (size, plane, relu) = (self.to_size, plane / 4, self.after.relu);
                let whole = &mut result[..4 * plane * stride];
                if let Some(places) = taps {
                    scratch(2 * plane * stride + SLACK, |buffer: &mut [T]| {
                        let (taps, turned) = buffer.split_at_mut(plane * stride);
                        halve_lanes(isa, size, stride, relu, whole, taps);
                        transpose(kernels, taps, stride, [plane, width], turned, plane);
                        // SAFETY: as above.
                        let to = unsafe { std::slice::from_raw_parts_mut(places.at(start * plane), width * plane) };
                        to_bytes(isa, turned, to);
                    });
                } else {
                    halve_lanes(isa, size, stride, relu, whole, &mut []);
                }
                // SAFETY: as above.
                let to = unsafe { std::slice::from_raw_parts_mut(shared.at(start * plane), width * plane) };
                transpose(kernels, result, stride, [plane, width], to, plane);
            }
        });
    }

    /// The pixels of one class, of one panel of channels, to `result` `[images, pixels, stride]`.
    #[allow(clippy::too_many_arguments, reason = "the place of a class")]
    fn class(
        &self,
        kernels: &Kernels<T>,
        [tall, wide]: [&Class; 2],
        steps: &Steps,
        accumulate: bool,
        images: usize,
        weights: &[T],
        source: &Source<T>,
        width: usize,
        finish: Finish<T>,
        result: &mut [T],
    ) {
        let (stride, from_row, to_row) = (kernels.width(), self.from_size[1], self.to_size[1]);
        let plane = self.to_size[0] * to_row;
        // 1. Three ways to make a tile: neighbours in a row, in a column, images. The tallest tile is best.
        let ([y, from_y], [x, from_x]) = (Class::step(&tall.positions), Class::step(&wide.positions));
        let ways = [
            [wide.positions.len(), from_x, x],
            [tall.positions.len(), from_y.wrapping_mul(from_row), y * to_row],
            [images, source.image, plane],
        ];
        let height = |way: usize| panel_height(ways[way][0], kernels.height());
        let way = (0..3).rev().max_by_key(|&way| height(way)).expect("three ways");
        let [count, a_stride, c_pixels] = ways[way];
        let others = |this: usize, count: usize| if this == way { 1 } else { count };
        for n in 0..others(2, images) {
            for &[y, from_y] in &tall.positions[..others(1, tall.positions.len())] {
                for &[x, from_x] in &wide.positions[..others(0, wide.positions.len())] {
                    let from = n * source.image + from_y * from_row + from_x;
                    let to = n * plane + y * to_row + x;
                    // 2. Tiles.
                    for start in (0..count).step_by(height(way)) {
                        let tile = Tile {
                            rows: height(way).min(count - start),
                            width,
                            a: source.data.as_ptr().wrapping_add(from.wrapping_add(start.wrapping_mul(a_stride))),
                            a_stride,
                            b: weights.as_ptr(),
                            outer: &steps.outer,
                            inner: steps.inner,
                            a_step: steps.a_step,
                            b_step: steps.b_step,
                            c: result[(to + start * c_pixels) * stride..].as_mut_ptr(),
                            c_stride: c_pixels * stride,
                            accumulate,
                            finish,
                        };
                        // SAFETY: a class holds only taps that lie in the source; a row of weights is a whole tile wide,
                        // and so is a row of the result; the bias has `width` numbers.
                        unsafe { kernels.tile(&tile) };
                    }
                }
            }
        }
    }
}

/// The steps of a tile: along the kernel's rows in the inner loop, or of a single tap along the channels.
struct Steps {
    outer: Vec<[usize; 2]>,
    inner: usize,
    a_step: usize,
    b_step: usize,
}

/// Planes of one group of channels: channel c of image n starts at `n * image + c * plane`.
struct Source<'a, T> {
    data: &'a [T],
    image: usize,
}

/// The distances of planes and images in a copy of the source, if one is needed: planes or images at multiples of a kibibyte
/// share a few sets of the first-level cache.
fn copied<T>(plane: usize, channels: usize, groups: usize) -> Option<[usize; 2]> {
    let apart = super::apart::<T>;
    let wider = apart(plane);
    let image = apart(channels * wider);
    ([wider, groups * image] != [plane, groups * channels * plane]).then_some([wider, image])
}
