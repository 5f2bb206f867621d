//! Lanes are the channels of the result; every number of the source is broadcast where it lies.
//!
//! Pixels of the result are sorted in classes that see the same taps of the kernel. Within a class the taps lie at the
//! same distances from a pixel's first one, so neighbours in a row or in a column, or the same pixel of several images, make
//! a register tile; padding, stride and dilation cost nothing, and no product with a padded zero is formed. The gradient of
//! the input is the same with another geometry: `x = i s + u d - p` solved for `i`.

use super::pass::Pass;
use super::{After, Conv, Weights};
use crate::element::Float;
use crate::kernels::gemm::{Finish, Kernels, SLACK, Shared, Tile, panel_height, part, scratch};
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

/// The numbers of packed weights.
pub(super) fn packed_len(conv: &Conv, width: usize) -> usize {
    conv.groups * conv.group_out().div_ceil(width) * conv.depth() * width + SLACK
}

/// A pass, and the classes of the rows and of the columns of its result.
struct Direct<'a, T> {
    pass: &'a Pass<'a, T>,
    classes: [Vec<Class>; 2],
}

pub(super) fn run<T: Float>(isa: Isa, pass: &Pass<T>, to: &mut [T]) {
    let (conv, from) = (pass.conv, pass.from_size);
    let classes = [0, 1].map(|i| {
        classes(pass.to_size[i], conv.kernel[i], |position, tap| {
            let (stride, padding, tap) = (conv.stride[i], conv.padding[i], tap * conv.dilation[i]);
            let at = if pass.backward {
                let at = (position + padding).checked_sub(tap)?;
                (at % stride == 0).then_some(at / stride)?
            } else {
                (position * stride + tap).checked_sub(padding)?
            };
            (at < from[i]).then_some(at)
        })
    });
    Direct { pass, classes }.run(isa, to);
}

/// The weights in the order that a forward pass reads them in.
pub(super) fn pack<T: Float>(isa: Isa, conv: &Conv, weight: &[T], to: &mut [T]) {
    let pass = Pass::forward(conv, &[], Weights { plain: weight, packed: None }, After::default());
    let panel_len = conv.depth() * T::kernels(isa).width();
    pass.pack_all(isa, panel_len, to, |group, panel, to| pass.pack(isa, group, panel, to));
}

impl<T: Float> Direct<'_, T> {
    fn run(&self, isa: Isa, to: &mut [T]) {
        let pass = self.pass;
        let width = T::kernels(isa).width();
        let taps = pass.conv.taps();
        let from_plane = pass.from_size[0] * pass.from_size[1];
        let copied = copied::<T>(from_plane, pass.from_channels, pass.conv.groups);
        let pitch = copied.map_or(from_plane, |[plane, _]| plane);
        let [tall, wide] = &self.classes;
        let blocks = (pass.from_channels * taps).div_ceil(DEPTH).clamp(1, pass.from_channels.max(1));
        let channels = |i: usize| part(pass.from_channels, blocks, 1, i);
        let classes = tall.iter().flat_map(|tall| wide.iter().map(move |wide| [tall, wide]));
        let steps = |i: usize| classes.clone().map(move |class| self.steps(class, channels(i), pitch, width)).collect();
        let steps: Vec<Vec<Steps>> = (0..blocks).map(steps).collect();
        let panel_len = pass.from_channels * taps * width;
        let plane = pass.to_size[0] * pass.to_size[1];
        // Enough pixels for whole tiles: of small planes, several images.
        let images = (512 / plane.max(1)).clamp(1, 14).min(pass.conv.batch);
        let image_groups = pass.conv.batch.div_ceil(images);
        let images = pass.conv.batch.div_ceil(image_groups);
        let teams = if image_groups == 1 { pass.panels(width) } else { 1 };
        let shared = Shared::new(to);
        let pack = |group: usize, panel: usize, to: &mut [T]| pass.pack(isa, group, panel, to);
        pass.share_out(isa, panel_len, [image_groups, teams], pack, |image_group, group, panels, weights| {
            let first = image_group * images;
            let count = images.min(pass.conv.batch - first);
            self.with_source(first, count, group, copied, |source| {
                for (i, panel) in panels.enumerate() {
                    let weights = &weights[i * panel_len..];
                    self.block(isa, first, count, group, panel, weights, source, &steps, shared);
                }
            });
        });
    }

    /// The steps of the tiles of a class, along some channels of the source.
    fn steps(&self, [tall, wide]: [&Class; 2], channels: Range<usize>, plane: usize, stride: usize) -> Steps {
        let (taps, from_row) = (self.pass.conv.taps(), self.pass.from_size[1]);
        let weight = |u: usize, v: usize| (u * self.pass.conv.kernel[1] + v) * stride;
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
        let from_plane = self.pass.from_size[0] * self.pass.from_size[1];
        let source = Source {
            data: &self.pass.from[(image * self.pass.conv.groups + group) * self.pass.from_channels * from_plane..],
            image: self.pass.conv.groups * self.pass.from_channels * from_plane,
        };
        let Some([pitch, image]) = copied else { return f(&source) };
        scratch(pitch * self.pass.from_channels + image * (images - 1), |copy: &mut [T]| {
            for n in 0..images {
                for c in 0..self.pass.from_channels {
                    copy[n * image + c * pitch..][..from_plane]
                        .copy_from_slice(&source.data[n * source.image + c * from_plane..][..from_plane]);
                }
            }
            f(&Source { data: copy, image });
        });
    }

    /// The planes of one panel of channels, of some images.
    #[allow(clippy::too_many_arguments, reason = "the place of a block")]
    fn block(
        &self,
        isa: Isa,
        image: usize,
        images: usize,
        group: usize,
        panel: usize,
        weights: &[T],
        source: &Source<T>,
        steps: &[Vec<Steps>],
        shared: Shared<T>,
    ) {
        let kernels = T::kernels(isa);
        let stride = kernels.width();
        let first = panel * stride;
        let width = stride.min(self.pass.to_channels - first);
        let channel = group * self.pass.to_channels + first;
        let plane = self.pass.to_size[0] * self.pass.to_size[1];
        let last = Finish {
            bias_row: self.pass.after.bias.map_or(std::ptr::null(), |bias| bias[channel..][..width].as_ptr()),
            // The ReLU of the largest is the largest of the ReLUs.
            relu: self.pass.after.relu && self.pass.halving.is_none(),
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
                self.pass.deliver(isa, image + n, group, panel, 0..self.pass.to_size[0], result, shared);
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
        let (stride, from_row, to_row) = (kernels.width(), self.pass.from_size[1], self.pass.to_size[1]);
        let plane = self.pass.to_size[0] * to_row;
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
