//! Lanes are pixels of the output: for few channels, short sums and kernels of one tap.
//!
//! A strip of the output is one tile wide. What its products need of the image is packed behind each other in the
//! first-level cache, or read where it lies when that is in one piece. Weights are read where they lie.

use super::planes::Padded;
use super::{After, Conv};
use crate::element::Float;
use crate::kernels::gemm::{Finish, Kernels, SLACK, Shared, Strip, Tile, panel_height, scratch};
use crate::kernels::simd::{Isa, simd};
use crate::kernels::{parallel, processor};

/// Products of one output number per packed strip: 36 KiB of `f32`.
const DEPTH: usize = 288;

/// Whether this way is faster than the direct one: a count of cycles for both, of which the products are most. A number
/// times two registers takes a cycle, times one hardly less, for the loads; the other costs are measured.
pub(super) fn pays(conv: &Conv, lanes: usize) -> bool {
    let (out, depth, plane) = (conv.group_out(), conv.depth(), conv.out_plane());
    let pixels = conv.batch * plane;
    // Direct: weights and result are transposed.
    let direct = pixels * depth * out.div_ceil(2 * lanes) + (depth + pixels) * out / 4;
    // Here: rows of pixels are packed for each strip.
    let products = conv.batch * plane.div_ceil(2 * lanes) * depth * out;
    let pieces = conv.batch * plane.div_ceil(conv.output()[1].min(lanes)) * depth;
    products + if conv.taps() == 1 || out <= 4 { 0 } else { 3 * pieces } < direct
}

/// Pieces of rows that make a strip: where in a plane the first tap of each one's first pixel stands, and its length.
fn pieces(conv: &Conv, layout: Padded, strip: std::ops::Range<usize>) -> impl Iterator<Item = [usize; 2]> {
    let columns = conv.output()[1];
    let (mut at, end) = (strip.start, strip.end);
    std::iter::from_fn(move || {
        let start = at / columns * conv.stride[0] * layout.row + at % columns;
        let length = (columns - at % columns).min(end - at);
        at += length;
        (length > 0).then_some([start, length])
    })
}

/// Row k of `to` holds the pieces of the strip, seen from `from[offsets[k]]`.
fn pack<T: Float>(
    kernels: &Kernels<T>,
    from: &[T],
    offsets: &[usize],
    pieces: &[[usize; 2]],
    to: &mut [T],
    stride: usize,
) {
    let furthest = offsets.iter().max().unwrap_or(&0) + pieces.iter().map(|p| p[0] + p[1]).max().unwrap_or(0);
    if furthest + SLACK <= from.len() && offsets.len() * stride + SLACK <= to.len() {
        let strip = Strip { from: from.as_ptr(), offsets, pieces, to: to.as_mut_ptr(), stride };
        // SAFETY: the furthest piece and the last row have room for another register, which is at most `SLACK` long.
        unsafe { kernels.strip(&strip) };
        return;
    }
    for (k, &offset) in offsets.iter().enumerate() {
        let mut at = k * stride;
        for &[start, length] in pieces {
            to[at..at + length].copy_from_slice(&from[offset + start..][..length]);
            at += length;
        }
    }
}

simd! {
    /// Adds the pieces of each row of `from` to what lies at `to[offsets[k]]`.
    fn unpack[T: Float](from: &[T], stride: usize, offsets: &[usize], pieces: &[[usize; 2]], to: &mut [T]) {
        for (k, &offset) in offsets.iter().enumerate() {
            let mut from = &from[k * stride..];
            for &[start, length] in pieces {
                let to = &mut to[offset + start..][..length];
                for (to, &x) in to.iter_mut().zip(from) {
                    *to += x;
                }
                from = &from[length..];
            }
        }
    }
}

/// A strip of output pixels: the same one in all images.
struct Planned {
    pixels: std::ops::Range<usize>,
    /// [`pieces`] of it.
    pieces: Vec<[usize; 2]>,
}

impl Planned {
    /// Where in a plane its first pixel has its first tap.
    fn start(&self) -> usize {
        self.pieces[0][0]
    }
}

/// The strips that `chunk` of `chunks` tasks does: of whole planes, or where `rows` is set none longer than a row.
fn strips(conv: &Conv, layout: Padded, width: usize, rows: bool, chunk: usize, chunks: usize) -> Vec<Planned> {
    let size = conv.output();
    let (lines, length) = if rows { (size[0], size[1]) } else { (1, size[0] * size[1]) };
    let per_line = length.div_ceil(width);
    let range = crate::kernels::gemm::part(lines * per_line, chunks, 1, chunk);
    range
        .map(|i| {
            let (line, start) = (i / per_line * length, i % per_line * width);
            let pixels = line + start..line + (start + width).min(length);
            Planned { pieces: pieces(conv, layout, pixels.clone()).collect(), pixels }
        })
        .collect()
}

/// Into how many tasks an image is cut: few images share their strips.
fn chunks(conv: &Conv, width: usize) -> usize {
    if conv.threads() {
        8_usize.div_ceil(conv.batch * conv.groups).min(conv.out_plane().div_ceil(2 * width))
    } else {
        1
    }
}

/// Whether an output pixel sees one pixel, the one in its place: then planes are products of matrices.
pub(super) fn is_unit(conv: &Conv) -> bool {
    Padded::is_plain(conv) && conv.taps() == 1 && conv.stride[0] == 1
}

/// How the weights of a product lie: of a group, of an output channel, of a product that it sums.
struct Lie {
    group: usize,
    row: usize,
    step: usize,
}

pub(super) fn forward<T: Float>(isa: Isa, conv: &Conv, x: &[T], weight: &[T], after: After<T>, y: &mut [T]) {
    let depth = conv.depth();
    product(isa, conv, x, weight, Lie { group: conv.group_out() * depth, row: depth, step: 1 }, after, y);
}

/// A convolution with weights that lie in any order.
fn product<T: Float>(isa: Isa, conv: &Conv, x: &[T], weight: &[T], lie: Lie, after: After<T>, y: &mut [T]) {
    let kernels = T::kernels(isa);
    let width = kernels.width();
    let (out, depth, plane, in_plane) = (conv.group_out(), conv.depth(), conv.out_plane(), conv.in_plane());
    let (layout, plain) = (Padded::whole(conv), Padded::is_plain(conv));
    let unit = is_unit(conv);
    let by_rows = !unit && out <= 4;
    // Packing pays when many tiles read the strip: rows of planes whose size is a power of two would share cache sets.
    let read_once = out <= 2 * kernels.height();
    let offsets: Vec<usize> = (0..conv.group_in())
        .flat_map(|c| (0..conv.taps()).map(move |tap| c * layout.plane() + layout.tap(conv, tap)))
        .collect();
    let furthest = offsets.last().copied().unwrap_or(0);
    let where_it_lies: Vec<[usize; 2]> =
        offsets.iter().enumerate().map(|(k, &at)| [k % DEPTH * lie.step, at]).collect();
    // As many as fit the first-level cache.
    let together = (DEPTH / depth.max(1)).max(1);
    let chunks = chunks(conv, width);
    let shared = Shared::new(y);
    let height = panel_height(out, kernels.height());
    let requests = !processor::fetches_ahead();

    let planned: Vec<_> = (0..chunks).map(|chunk| strips(conv, layout, width, by_rows, chunk, chunks)).collect();

    let run = |image: usize, group: usize, chunk: usize, from: &[T], buffer: &mut [T]| {
        let first = group * out;
        let in_place =
            |strip: &Planned| (unit || by_rows) && read_once && strip.start() + furthest + width <= from.len();
        // 1. Some strips of pixels: what is packed for the first has left for the cache before it is read.
        for some in planned[chunk].chunks(together) {
            // 2. Blocks of the sum.
            for k in (0..depth.max(1)).step_by(DEPTH) {
                let ks = k..(k + DEPTH).min(depth);
                let bias = after.bias.filter(|_| ks.end == depth);
                for (i, strip) in some.iter().enumerate().filter(|(_, strip)| !in_place(strip)) {
                    let to = &mut buffer[i * ks.len() * width..];
                    pack(kernels, from, &offsets[ks.clone()], &strip.pieces, to, width);
                }
                // 3. Tiles of output channels: some at a time write along their planes.
                for o in (0..out).step_by(height) {
                    let a = weight[(group * lie.group + o * lie.row + k * lie.step).min(weight.len())..].as_ptr();
                    let channel = first + o;
                    let finish = Finish {
                        bias_column: bias.map_or(std::ptr::null(), |b| b[channel..].as_ptr()),
                        relu: after.relu && ks.end == depth,
                        ..Finish::NONE
                    };
                    for (i, strip) in some.iter().enumerate() {
                        let (b, outer, inner) = if in_place(strip) {
                            (&from[strip.start()..], &where_it_lies[ks.clone()], 1)
                        } else {
                            (&buffer[i * ks.len() * width..], &[[0, 0]][..], ks.len())
                        };
                        let tile = Tile {
                            rows: height.min(out - o),
                            width: strip.pixels.len(),
                            a,
                            a_stride: lie.row,
                            b: b.as_ptr(),
                            outer,
                            inner,
                            a_step: lie.step,
                            b_step: width,
                            c: shared.at((image * conv.out_channels + channel) * plane + strip.pixels.start),
                            c_stride: plane,
                            accumulate: k > 0,
                            finish,
                        };
                        // Short sums are over before their place is at hand: ask for that of the next strip.
                        if requests {
                            tile.fetch(width);
                        }
                        // SAFETY: B is a packed strip of whole tiles, or `in_place` has checked its end; the rows of C are
                        // channels of this image, whose strip this task alone writes; the bias has a number for each.
                        unsafe { kernels.tile(&tile) };
                    }
                }
            }
        }
    };
    parallel::tasks(conv.batch * conv.groups * chunks, conv.threads(), |i| {
        let (b, group, chunk) = (i / chunks / conv.groups, i / chunks % conv.groups, i % chunks);
        let start = (b * conv.in_channels + group * conv.group_in()) * in_plane;
        scratch(together * DEPTH.min(depth) * width + SLACK, |strips: &mut [T]| {
            if plain {
                return run(b, group, chunk, &x[start..], strips);
            }
            scratch(conv.group_in() * layout.plane() + SLACK, |padded: &mut [T]| {
                for c in 0..conv.group_in() {
                    let to = &mut padded[c * layout.plane()..];
                    layout.fill(kernels, conv, [0, layout.height], &x[start + c * in_plane..], to);
                }
                run(b, group, chunk, padded, strips);
            });
        });
    });
}

/// The gradient of the input: the products of all taps, strip by strip, each added where its tap has seen the input.
pub(super) fn grad_input<T: Float>(isa: Isa, conv: &Conv, dy: &[T], weight: &[T], bias: Option<&[T]>, dx: &mut [T]) {
    if is_unit(conv) {
        // [in,out] . [out,pixels]
        let turned = Conv { in_channels: conv.out_channels, out_channels: conv.in_channels, ..*conv };
        let lie = Lie { group: weight.len() / conv.groups, row: 1, step: conv.depth() };
        return product(isa, &turned, dy, weight, lie, After { bias, relu: false }, dx);
    }
    let kernels = T::kernels(isa);
    let width = kernels.width();
    let (depth, plane, in_plane, group_in) = (conv.depth(), conv.out_plane(), conv.in_plane(), conv.group_in());
    let layout = Padded::whole(conv);
    let offsets: Vec<usize> = (0..group_in)
        .flat_map(|c| (0..conv.taps()).map(move |tap| c * layout.plane() + layout.tap(conv, tap)))
        .collect();
    let height = panel_height(depth, kernels.height());
    let planned = strips(conv, layout, width, false, 0, 1);
    parallel::chunks_mut(dx, if conv.threads() { group_in * in_plane } else { usize::MAX }, |start, dx| {
        for (i, dx) in dx.chunks_mut(group_in * in_plane).enumerate() {
            let index = start / (group_in * in_plane) + i;
            let (b, group) = (index / conv.groups, index % conv.groups);
            let first = group * conv.group_out();
            let from = &dy[(b * conv.out_channels + first) * plane..];
            scratch(group_in * layout.plane(), |sums: &mut [T]| {
                scratch(conv.group_out() * width + SLACK, |strip_buffer: &mut [T]| {
                    scratch(height * width, |tile: &mut [T]| {
                        for (c, sums) in sums.chunks_mut(layout.plane()).enumerate() {
                            sums.fill(bias.map_or(T::ZERO, |bias| bias[group * group_in + c]));
                        }
                        for Planned { pixels, pieces } in &planned {
                            let in_place = (conv.group_out() - 1) * plane + pixels.start + width <= from.len();
                            if !in_place {
                                for (o, to) in strip_buffer.chunks_mut(width).take(conv.group_out()).enumerate() {
                                    to[..pixels.len()].copy_from_slice(&from[o * plane..][pixels.clone()]);
                                }
                            }
                            for (i, offsets) in offsets.chunks(height).enumerate() {
                                let product = Tile {
                                    rows: offsets.len(),
                                    width: pixels.len(),
                                    a: weight[first * depth + i * height..].as_ptr(),
                                    a_stride: 1,
                                    b: if in_place { from[pixels.start..].as_ptr() } else { strip_buffer.as_ptr() },
                                    outer: &[[0, 0]],
                                    inner: conv.group_out(),
                                    a_step: depth,
                                    b_step: if in_place { plane } else { width },
                                    c: tile.as_mut_ptr(),
                                    c_stride: width,
                                    accumulate: false,
                                    finish: Finish::NONE,
                                };
                                // SAFETY: the weights have all rows; B is a strip of whole tiles, or `in_place` has
                                // checked its end; a tile has room for `height` rows.
                                unsafe { kernels.tile(&product) };
                                unpack(isa, tile, width, offsets, pieces, sums);
                            }
                        }
                    });
                });
                for (dx, sums) in dx.chunks_mut(in_plane).zip(sums.chunks(layout.plane())) {
                    layout.unfill(conv, sums, dx);
                }
            });
        }
    });
}
