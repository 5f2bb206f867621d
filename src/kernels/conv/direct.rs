//! Lanes are the channels of the result; every number of the source is broadcast where it lies.
//!
//! Pixels of the result are sorted in classes that see the same taps of the kernel. Within a class the taps lie at the
//! same distances from a pixel's first one, so any pixels of a class, of any images, make a register tile; padding, stride
//! and dilation cost nothing, and no product with a padded zero is formed. The gradient of the input is the same with
//! another geometry: `x = i s + u d - p` solved for `i`.

use super::{After, Conv};
use crate::element::Float;
use crate::kernels::gemm::transpose;
use crate::kernels::gemm::{Finish, SLACK, Shared, Walk, panel_height, scratch};
use crate::kernels::parallel;
use crate::kernels::simd::Isa;

/// Positions along one axis of the result that see the same taps.
struct Class {
    /// A position, and where its first tap is in the source.
    positions: Vec<[usize; 2]>,
    /// A tap, and its distance in the source from the first one; wraps around where it lies before that.
    taps: Vec<[usize; 2]>,
}

/// Sorts `size` positions by the taps for which `source(position, tap)` exists. A class without taps comes out too: its
/// result is 0.
fn classes(size: usize, taps: usize, source: impl Fn(usize, usize) -> Option<usize>) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    for position in 0..size {
        let seen: Vec<[usize; 2]> = (0..taps).filter_map(|tap| source(position, tap).map(|at| [tap, at])).collect();
        let first = seen.first().map_or(0, |tap| tap[1]);
        let taps: Vec<_> = seen.iter().map(|&[tap, at]| [tap, at.wrapping_sub(first)]).collect();
        match classes.iter_mut().find(|class| class.taps == taps) {
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
    threads: bool,
}

pub(super) fn forward<T: Float>(isa: Isa, conv: &Conv, x: &[T], weight: &[T], after: After<T>, y: &mut [T]) {
    let (depth, to_size) = (conv.depth(), conv.output());
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
        threads: conv.threads(),
    };
    pass.run(isa, y, |channel, width, to, stride| {
        // [width, in * taps] -> [in * taps, width]
        transpose(T::kernels(isa), &weight[channel * depth..], depth, [width, depth], to, stride);
    });
}

pub(super) fn grad_input<T: Float>(isa: Isa, conv: &Conv, dy: &[T], weight: &[T], dx: &mut [T]) {
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
        after: After::default(),
        threads: conv.threads(),
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
        let panels = self.to_channels.div_ceil(width);
        let panel_len = self.from_channels * taps * width;
        let plane = self.to_size[0] * self.to_size[1];
        // Enough pixels for whole tiles: of small planes, several images.
        let images = (512 / plane.max(1)).clamp(1, 14).min(self.batch);
        let image_groups = self.batch.div_ceil(images);
        let images = self.batch.div_ceil(image_groups);
        scratch(self.groups * panels * panel_len + SLACK, |packed: &mut [T]| {
            let all = Shared::new(packed);
            parallel::tasks(self.groups * panels, self.threads, |i| {
                let (group, panel) = (i / panels, i % panels);
                let first = panel * width;
                // SAFETY: each task has a panel for itself.
                let to = unsafe { std::slice::from_raw_parts_mut(all.at(i * panel_len), panel_len) };
                pack(group * self.to_channels + first, width.min(self.to_channels - first), to, width);
            });
            let shared = Shared::new(to);
            parallel::tasks(image_groups * self.groups * panels, self.threads, |i| {
                let (image_group, group, panel) = (i / panels / self.groups, i / panels % self.groups, i % panels);
                let first = image_group * images;
                let count = images.min(self.batch.saturating_sub(first));
                // SAFETY: the panel was written above and nobody writes it now.
                let weights =
                    unsafe { std::slice::from_raw_parts(all.at((group * panels + panel) * panel_len), panel_len) };
                self.block(isa, first, count, group, panel * width, weights, shared);
            });
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
        shared: Shared<T>,
    ) {
        let kernels = T::kernels(isa);
        let stride = kernels.width();
        let width = stride.min(self.to_channels - first);
        let channel = group * self.to_channels + first;
        let (plane, from_plane) = (self.to_size[0] * self.to_size[1], self.from_size[0] * self.from_size[1]);
        let from_image = self.groups * self.from_channels * from_plane;
        let taps = self.kernel[0] * self.kernel[1];
        let finish = Finish {
            bias_row: self.after.bias.map_or(std::ptr::null(), |bias| bias[channel..][..width].as_ptr()),
            relu: self.after.relu,
            ..Finish::NONE
        };
        let outer: Vec<_> = (0..self.from_channels).map(|c| [c * from_plane, c * taps * stride]).collect();
        let (mut inner, mut rows) = (Vec::new(), Vec::new());
        scratch(images * plane * stride + SLACK, |result: &mut [T]| {
            // 1. Classes of pixels.
            for tall in &self.classes[0] {
                for wide in &self.classes[1] {
                    inner.clear();
                    inner.extend(tall.taps.iter().flat_map(|&[u, y]| {
                        wide.taps.iter().map(move |&[v, x]| {
                            let at = y.wrapping_mul(self.from_size[1]).wrapping_add(x);
                            [at, (u * self.kernel[1] + v) * stride]
                        })
                    }));
                    rows.clear();
                    for n in 0..images {
                        let start = (image + n) * from_image + group * self.from_channels * from_plane;
                        for &[y, from_y] in &tall.positions {
                            rows.extend(wide.positions.iter().map(|&[x, from_x]| {
                                let at = n * plane + y * self.to_size[1] + x;
                                [start + from_y * self.from_size[1] + from_x, at * stride]
                            }));
                        }
                    }
                    // 2. Tiles of pixels.
                    for rows in rows.chunks(panel_height(rows.len(), kernels.height())) {
                        let walk = Walk {
                            a: self.from.as_ptr(),
                            b: weights.as_ptr(),
                            c: result.as_mut_ptr(),
                            rows,
                            outer: &outer,
                            inner: &inner,
                            width,
                            accumulate: false,
                            finish,
                        };
                        // SAFETY: a class holds only taps that lie in the source; a row of weights is a whole tile wide,
                        // and so is a row of the result; the bias has `width` numbers.
                        unsafe { kernels.walk(&walk) };
                    }
                }
            }
            for n in 0..images {
                let start = ((image + n) * self.groups * self.to_channels + channel) * plane;
                // SAFETY: these channels of this image are written by this task only.
                let to = unsafe { std::slice::from_raw_parts_mut(shared.at(start), width * plane) };
                // [pixels, width] -> [width, pixels]
                transpose(kernels, &result[n * plane * stride..], stride, [plane, width], to, plane);
            }
        });
    }
}
