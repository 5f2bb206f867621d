//! What a forward pass and a gradient of the input have in common: the one is the other, with the roles of the channels
//! exchanged.

use super::{After, Conv, Weights};
use crate::element::Float;
use crate::kernels::gemm::{SLACK, Shared, Transpose, even, scratch, transpose};
use crate::kernels::parallel;
use crate::kernels::pool::max::{halve_lanes, to_bytes};
use crate::kernels::simd::Isa;
use std::ops::Range;

/// One pass, whichever way it goes.
pub(super) struct Pass<'a, T> {
    pub conv: &'a Conv,
    /// From the output to the input.
    pub backward: bool,
    pub from: &'a [T],
    /// Channels of the source in one group, and the height and width of a plane.
    pub from_channels: usize,
    pub from_size: [usize; 2],
    pub to_channels: usize,
    pub to_size: [usize; 2],
    pub weight: Weights<'a, T>,
    pub after: After<'a, T>,
    pub halving: Option<Halving>,
}

/// Of each 2 x 2 pixels of the result the largest is kept, and where there is a place for it the number of its tap.
pub(super) struct Halving {
    pub taps: Option<Shared<u8>>,
}

impl<'a, T: Float> Pass<'a, T> {
    pub fn forward(conv: &'a Conv, x: &'a [T], weight: Weights<'a, T>, after: After<'a, T>) -> Self {
        Pass {
            conv,
            backward: false,
            from: x,
            from_channels: conv.group_in(),
            from_size: conv.input,
            to_channels: conv.group_out(),
            to_size: conv.output(),
            weight,
            after,
            halving: None,
        }
    }

    /// A forward pass and max pooling with windows of 2 x 2: pixels that no window covers are not computed.
    pub fn halved(self, taps: Option<&mut [u8]>) -> Self {
        let halving = Some(Halving { taps: taps.map(Shared::new) });
        Pass { to_size: self.to_size.map(|size| size / 2 * 2), halving, ..self }
    }

    pub fn grad_input(conv: &'a Conv, dy: &'a [T], weight: &'a [T], bias: Option<&'a [T]>) -> Self {
        Pass {
            conv,
            backward: true,
            from: dy,
            from_channels: conv.group_out(),
            from_size: conv.output(),
            to_channels: conv.group_in(),
            to_size: conv.input,
            weight: Weights { plain: weight, packed: None },
            after: After { bias, relu: false },
            halving: None,
        }
    }

    /// Panels of as many channels of the result as a tile is wide.
    pub fn panels(&self, width: usize) -> usize {
        self.to_channels.div_ceil(width)
    }

    /// The weights of a panel, as `[from_channels * taps, width]`.
    pub fn pack(&self, isa: Isa, group: usize, panel: usize, to: &mut [T]) {
        let kernels = T::kernels(isa);
        let (width, first, weight) = (kernels.width(), panel * kernels.width(), self.weight.plain);
        let (count, taps, depth) = (width.min(self.to_channels - first), self.conv.taps(), self.conv.depth());
        if self.backward {
            for o in 0..self.from_channels {
                // [count, taps] -> [taps, count]
                let from = &weight[(group * self.from_channels + o) * depth + first * taps..];
                transpose(kernels, from, taps, [count, taps], &mut to[o * taps * width..], width);
            }
        } else {
            // [count, in * taps] -> [in * taps, count]
            transpose(kernels, &weight[(group * self.to_channels + first) * depth..], depth, [count, depth], to, width);
        }
    }

    /// Calls `pack(group, panel, to)` for all panels, whose weights `to` gets behind each other, `panel_len` numbers of each.
    pub fn pack_all(&self, isa: Isa, panel_len: usize, to: &mut [T], pack: impl Fn(usize, usize, &mut [T])) {
        let panels = self.panels(T::kernels(isa).width());
        for (i, to) in to.chunks_mut(panel_len.max(1)).take(self.conv.groups * panels).enumerate() {
            pack(i / panels, i % panels, to);
        }
    }

    /// Calls `work(block, group, panels, their weights)` for all panels of all groups, in `blocks` blocks of pixels and
    /// `teams` teams of panels. `pack(group, panel, to)` writes the `panel_len` numbers of a panel's weights, where they
    /// are not at hand.
    pub fn share_out(
        &self,
        isa: Isa,
        panel_len: usize,
        [blocks, teams]: [usize; 2],
        pack: impl Fn(usize, usize, &mut [T]) + Sync,
        work: impl Fn(usize, usize, Range<usize>, &[T]) + Sync,
    ) {
        let (groups, panels) = (self.conv.groups, self.panels(T::kernels(isa).width()));
        let (threads, all_teams) = (self.conv.threads(), self.conv.groups * teams);
        let team = |i: usize| (i / teams, even(panels, teams, i % teams));
        let all = |weights: &[T]| {
            parallel::tasks(blocks * all_teams, threads, |i| {
                let (group, some) = team(i % all_teams);
                let first = group * panels + some.start;
                work(i / all_teams, group, some, &weights[first * panel_len..]);
            });
        };
        if let Some(packed) = self.weight.packed {
            return all(packed);
        }
        if blocks == 1 {
            // Each thread packs what it reads: what another core has just written comes slowly.
            return parallel::tasks(all_teams, threads, |i| {
                let (group, some) = team(i);
                scratch(some.len() * panel_len + SLACK, |weights: &mut [T]| {
                    for (i, panel) in some.clone().enumerate() {
                        pack(group, panel, &mut weights[i * panel_len..][..panel_len]);
                    }
                    work(0, group, some, weights);
                });
            });
        }
        scratch(groups * panels * panel_len + SLACK, |packed: &mut [T]| {
            let shared = Shared::new(packed);
            parallel::tasks(groups * panels, threads, |i| {
                // SAFETY: each task has a panel for itself.
                pack(i / panels, i % panels, unsafe { shared.chunk(panel_len, i) });
            });
            all(packed);
        });
    }

    /// Brings some rows of an image, `result` `[pixels, width]` of one panel, to their place, halved if they are to be.
    #[allow(clippy::too_many_arguments, reason = "the place of a panel")]
    pub fn deliver(
        &self,
        isa: Isa,
        image: usize,
        group: usize,
        panel: usize,
        rows: Range<usize>,
        result: &mut [T],
        to: Shared<T>,
    ) {
        let kernels = T::kernels(isa);
        let stride = kernels.width();
        let width = stride.min(self.to_channels - panel * stride);
        let channel = (image * self.conv.groups + group) * self.to_channels + panel * stride;
        let shrink = if self.halving.is_some() { 4 } else { 1 };
        let [plane, start, pixels] = [self.to_size[0], rows.start, rows.len()].map(|n| n * self.to_size[1] / shrink);
        if let Some(Halving { taps }) = self.halving {
            let (size, relu) = ([rows.len(), self.to_size[1]], self.after.relu);
            let whole = &mut result[..4 * pixels * stride];
            if let Some(places) = taps {
                scratch(2 * pixels * stride + SLACK, |buffer: &mut [T]| {
                    let (taps, turned) = buffer.split_at_mut(pixels * stride);
                    halve_lanes(isa, size, stride, relu, whole, taps);
                    transpose(kernels, taps, stride, [pixels, width], turned, pixels);
                    for (i, taps) in turned.chunks_exact(pixels).take(width).enumerate() {
                        let at = places.at((channel + i) * plane + start);
                        // SAFETY: these rows of this channel are written by this task only.
                        to_bytes(isa, taps, unsafe { std::slice::from_raw_parts_mut(at, pixels) });
                    }
                });
            } else {
                halve_lanes(isa, size, stride, relu, whole, &mut []);
            }
        }
        assert!(pixels * stride <= result.len(), "conv: a panel of {pixels} pixels");
        // [pixels, width] -> [width, pixels]
        let turn = Transpose {
            from: result.as_ptr(),
            from_stride: stride,
            rows: pixels,
            columns: width,
            to: to.at(channel * plane + start),
            to_stride: plane,
        };
        // SAFETY: these rows of these channels are in the result, and written by this task only.
        unsafe { kernels.transpose(&turn) };
    }
}
