//! Few channels in a group, above all one: lanes are pixels of a row, and some rows run side by side.
//!
//! A plane with its padding fits the first-level cache, where every tap reads it in pieces that need not be packed.

use super::planes::Padded;
use super::{After, Conv};
use crate::element::Float;
use crate::kernels::gemm::{SLACK, scratch};
use crate::kernels::parallel;
use crate::kernels::simd::{Isa, simd};

/// Rows of the output that run side by side.
const ROWS: usize = 4;

/// Output channels of a group up to which this way is faster.
const FEW: usize = 4;

/// A plane of the output, and how far apart the rows are that its rows see.
#[derive(Clone, Copy)]
struct Plane {
    size: [usize; 2],
    pitch: usize,
}

simd! {
    /// The first plane of `y`: `start + sum over k, u of weights[k][u] from[offsets[k] + (i + u) pitch + j]`, then ReLU if it is
    /// to be. What stands behind the plane may be overwritten.
    fn correlate[T: Float, const LANES: usize, const TAPS: usize](
        plane: Plane, from: &[T], offsets: &[usize], weights: &[[T; TAPS]], start: [T; LANES], relu: bool, y: &mut [T],
    ) {
        let [height, width] = plane.size;
        let furthest = offsets.iter().copied().max().unwrap_or(0);
        let rows = height.max(ROWS) + TAPS - 1;
        assert!(furthest + (rows - 1) * plane.pitch + width.max(LANES) <= from.len(), "conv: a padded plane");
        // 1. Some rows and 2. some pixels of each. The last ones are as many, where there are: they may be computed twice, to
        // the same.
        for i in (0..height).step_by(ROWS) {
            let i = i.min(height.saturating_sub(ROWS));
            for j in (0..width).step_by(LANES) {
                let j = j.min(width.saturating_sub(LANES));
                let mut sums = [start; ROWS];
                // 3. Taps below each other see the same rows.
                for (&offset, weights) in offsets.iter().zip(weights) {
                    for r in 0..ROWS + TAPS - 1 {
                        let at = offset + (i + r) * plane.pitch + j;
                        // SAFETY: no further than the furthest tap of the last row's last pixels, which is asserted above.
                        let x = unsafe { from.get_unchecked(at..at + LANES) };
                        for u in 0..TAPS {
                            if r >= u && r - u < ROWS {
                                for (sum, &x) in sums[r - u].iter_mut().zip(x) {
                                    *sum += weights[u] * x;
                                }
                            }
                        }
                    }
                }
                for (r, mut sums) in sums.into_iter().enumerate().take(height) {
                    if relu {
                        for sum in &mut sums {
                            *sum = sum.relu();
                        }
                    }
                    // A row shorter than the lanes is stored with what is too much, before the next one.
                    let at = (i + r) * width + j;
                    match y.get_mut(at..at + LANES) {
                        Some(y) => y.copy_from_slice(&sums),
                        None => y[at..].iter_mut().zip(sums).for_each(|(y, sum)| *y = sum),
                    }
                }
            }
        }
    }
}

pub(super) fn forward<T: Float>(isa: Isa, conv: &Conv, x: &[T], weight: &[T], after: After<T>, y: &mut [T]) {
    let depth = conv.depth();
    product(isa, conv, [1, 1], x, |channel, k| weight[channel * depth + k], after, y);
}

/// Whether [`forward`] is faster than the other ways: not with many channels to a group, or less rows than run side by side.
pub(super) fn pays(conv: &Conv) -> bool {
    narrow(conv, conv.output())
}

fn narrow(conv: &Conv, result: [usize; 2]) -> bool {
    conv.group_in() == 1 && conv.group_out() <= FEW && result[0] >= ROWS
}

/// Whether [`grad_input`] can do it and is faster. With larger strides it would multiply zeros for the most part.
pub(super) fn turns(conv: &Conv) -> bool {
    narrow(conv, conv.input) && [0, 1].iter().all(|&i| conv.stride[i] <= 2 && conv.padding[i] < conv.reach(i))
}

/// The gradient of the input: the pass forward with the kernel turned round, over `dy` with its pixels `stride` apart.
pub(super) fn grad_input<T: Float>(isa: Isa, conv: &Conv, dy: &[T], weight: &[T], bias: Option<&[T]>, dx: &mut [T]) {
    let padding = [0, 1].map(|i| conv.reach(i) - 1 - conv.padding[i]);
    let turned = Conv {
        in_channels: conv.out_channels,
        out_channels: conv.in_channels,
        // What makes the output as large as the input was.
        input: [0, 1].map(|i| conv.input[i] + conv.reach(i) - 1 - 2 * padding[i]),
        stride: [1, 1],
        padding,
        ..*conv
    };
    let (taps, depth) = (conv.taps(), turned.depth());
    let of = |channel, k| weight[channel * depth + k / taps * taps + (taps - 1 - k % taps)];
    product(isa, &turned, conv.stride, dy, of, After { bias, relu: false }, dx);
}

/// A convolution of planes whose pixels stand `apart`, with zeros between them; `weight(channel, k)` is the weight of a
/// channel of the output for the k-th number it sees.
fn product<T: Float>(
    isa: Isa,
    conv: &Conv,
    apart: [usize; 2],
    x: &[T],
    weight: impl Fn(usize, usize) -> T,
    after: After<T>,
    y: &mut [T],
) {
    match conv.kernel[0] {
        3 if conv.stride[0] == 1 && conv.dilation[0] == 1 => columns::<T, 3>(isa, conv, apart, x, weight, after, y),
        5 if conv.stride[0] == 1 && conv.dilation[0] == 1 => columns::<T, 5>(isa, conv, apart, x, weight, after, y),
        _ => columns::<T, 1>(isa, conv, apart, x, weight, after, y),
    }
}

/// [`product`] by columns of `TAPS` taps.
fn columns<T: Float, const TAPS: usize>(
    isa: Isa,
    conv: &Conv,
    apart: [usize; 2],
    x: &[T],
    weight: impl Fn(usize, usize) -> T,
    after: After<T>,
    y: &mut [T],
) {
    let layout = Padded::whole(conv);
    let (out, group_in, taps, out_plane) = (conv.group_out(), conv.group_in(), conv.taps(), conv.out_plane());
    let size = [0, 1].map(|i| conv.input[i].div_ceil(apart[i]));
    let in_plane = size[0] * size[1];
    let plane = Plane { size: conv.output(), pitch: conv.stride[0] * layout.row };
    // The uppermost taps of the columns.
    let step = if TAPS == 1 { 1 } else { conv.kernel[1] };
    let heads: Vec<usize> = (0..conv.depth()).filter(|k| k % taps < taps / TAPS).collect();
    let offsets: Vec<usize> = heads.iter().map(|k| k / taps * layout.plane() + layout.tap(conv, k % taps)).collect();
    let mut weights = vec![[T::ZERO; TAPS]; conv.out_channels * heads.len()];
    for (i, column) in weights.iter_mut().enumerate() {
        let (channel, head) = (i / heads.len(), heads[i % heads.len()]);
        column.iter_mut().enumerate().for_each(|(u, to)| *to = weight(channel, head + u * step));
    }
    let per_task = parallel::per_task(conv.batch * conv.groups, out * out_plane);
    parallel::chunks_mut(y, per_task * out * out_plane, |first, y| {
        scratch(group_in * layout.plane() + ROWS * plane.pitch + SLACK, |padded: &mut [T]| {
            padded.fill(T::ZERO);
            for i in 0..y.len() / (out * out_plane) {
                let index = first / (out * out_plane) + i;
                for c in 0..group_in {
                    let (from, to) = (&x[(index * group_in + c) * in_plane..], &mut padded[c * layout.plane()..]);
                    if apart == [1, 1] {
                        layout.fill_inside(isa, conv, from, to);
                        continue;
                    }
                    for (y, from) in from.chunks(size[1]).take(size[0]).enumerate() {
                        let to = &mut to[(conv.padding[0] + y * apart[0]) * layout.row + conv.padding[1]..];
                        to.iter_mut().step_by(apart[1]).zip(from).for_each(|(to, &x)| *to = x);
                    }
                }
                for o in 0..out {
                    let channel = index % conv.groups * out + o;
                    let weights = &weights[channel * heads.len()..][..heads.len()];
                    let start = after.bias.map_or(T::ZERO, |bias| bias[channel]);
                    let y = &mut y[(i * out + o) * out_plane..];
                    // Eight lanes keep the compiler from shuffling what the columns share.
                    if TAPS > 1 || plane.size[1] <= 8 {
                        correlate(isa, plane, padded, &offsets, weights, [start; 8], after.relu, y);
                    } else {
                        correlate(isa, plane, padded, &offsets, weights, [start; 16], after.relu, y);
                    }
                }
            }
        });
    });
}
