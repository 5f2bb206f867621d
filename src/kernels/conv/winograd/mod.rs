//! Kernels of 3 x 3 and stride 1 with 4 products for each pixel instead of 9: minimal filtering, F(2 x 2, 3 x 3) of Winograd,
//! as Lavin and Gray apply it in "Fast Algorithms for Convolutional Neural Networks" (2016).
//!
//! The output is cut in tiles of 2 x 2 pixels, each of which sees 4 x 4 pixels of the input. `Y = A^T [(G g G^T) * (B^T d B)] A`
//! where `*` multiplies number by number; so, summed over channels, there are 16 products of matrices, one for each place in
//! the square: `[tiles, in] . [in, out]`. The transforms only add, subtract and halve.

mod transforms;
mod weight;

pub(super) use self::weight::grad_weight;
use super::pass::Pass;
use super::weight::runs;
use super::{After, Conv, Weights};
use crate::element::Float;
use crate::kernels::gemm::{Finish, Kernels, SLACK, Shared, Squares, Tile, even, scratch};
use crate::kernels::simd::{self, Isa};
use crate::kernels::{parallel, processor};
use std::ops::Range;
use std::sync::OnceLock;

/// Numbers that stand for a tile and a channel.
const PLACES: usize = 16;

/// Tiles of a block: with 64 channels, what stands for their input takes 320 KiB.
const TILES: usize = 60;

/// Channels for which what stands for the input stays in the second-level cache while the places of a panel follow each other; of
/// more of them, several panels share a place.
const CHANNELS: usize = 64;

/// Products of a sum that are added up before they join the rest: their numbers of the weights stay in the first-level cache, and
/// a long sum rounds less.
const DEPTH: usize = 128;

/// Whether a convolution can go this way.
fn fits(conv: &Conv) -> bool {
    conv.kernel == [3, 3] && conv.stride == [1, 1] && conv.dilation == [1, 1] && conv.padding.iter().all(|&p| p <= 2)
}

/// Whether the user lets us: `WENGERT_CONV=direct` forbids it.
pub(super) fn is_wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| match std::env::var("WENGERT_CONV") {
        Ok(way) if way == "direct" => false,
        Ok(way) => panic!("WENGERT_CONV={way}: expected direct"),
        Err(_) => true,
    })
}

/// Whether this is the fastest way of a pass over so many numbers: about how many cycles each panel takes, with a product of a
/// number and two registers in one (two where they are multiplied in halves), and measured ones for the rest. Not for `f64`,
/// which checks others.
pub(super) fn pays<T: Float>(conv: &Conv, backward: bool) -> bool {
    if size_of::<T>() != 4 || !fits(conv) || !is_wanted() {
        return false;
    }
    let isa = simd::isa();
    saves(conv, backward, T::kernels(isa).width(), if processor::multiplies_in_halves(isa) { 2 } else { 1 })
}

/// The count of cycles, for tiles of a width and the cycles of a product.
pub(super) fn saves(conv: &Conv, backward: bool, width: usize, product: usize) -> bool {
    let [from, to] = if backward { [conv.group_out(), conv.group_in()] } else { [conv.group_in(), conv.group_out()] };
    let [lines, tiles] = (if backward { conv.input } else { conv.output() }).map(|size| size.div_ceil(2));
    let pixels = if backward { conv.in_plane() } else { conv.out_plane() };
    let square = from * (60 + 60 * tiles.div_ceil(8)) / to.div_ceil(width).max(1);
    let minimal = lines * (tiles * (20 * product * from + 60) + square);
    let direct = pixels * (10 * product * from + 16);
    // Of few tiles the transforms of the weights are a large part.
    let few = if backward { 32 } else { 16 };
    conv.batch * lines * tiles >= few && from.min(to) >= 12 && 10 * minimal < 9 * direct
}

/// The numbers of packed weights.
pub(super) fn packed_len(conv: &Conv, width: usize) -> usize {
    conv.groups * conv.group_out().div_ceil(width) * PLACES * conv.group_in() * width + SLACK
}

/// The weights as the forward pass reads them: of each panel, `[places, in, width]`.
pub(super) fn pack<T: Float>(isa: Isa, conv: &Conv, weight: &[T], to: &mut [T]) {
    let pass = Pass::forward(conv, &[], Weights { plain: weight, packed: None }, After::default());
    let panel_len = PLACES * conv.group_in() * T::kernels(isa).width();
    pass.pack_all(isa, panel_len, to, |group, panel, to| pack_panel(isa, &pass, group, panel, to));
}

fn pack_panel<T: Float>(isa: Isa, pass: &Pass<T>, group: usize, panel: usize, to: &mut [T]) {
    let width = T::kernels(isa).width();
    scratch(pass.from_channels * 9 * width, |taps: &mut [T]| {
        pass.pack(isa, group, panel, taps);
        transforms::weight(isa, taps, pass.backward, width, to);
    });
}

/// A distance of places, `n` or more: sixteen of them do not share sets of the first-level cache.
fn spaced(n: usize) -> usize {
    n.next_multiple_of(256) + 16
}

/// How tiles are laid out: rows of them, those of all images behind each other.
struct Tiling {
    /// Rows of tiles of an image, and tiles in a row.
    lines: usize,
    tiles: usize,
    /// Zeros above and left of the input.
    padding: [usize; 2],
}

impl Tiling {
    fn new(output: [usize; 2], padding: [usize; 2]) -> Tiling {
        let [lines, tiles] = output.map(|size| size.div_ceil(2));
        Tiling { lines, tiles, padding }
    }

    /// The distance between channels, for so many lines of tiles: room for what is written behind them, and no multiple of a
    /// kibibyte.
    fn pitch<T>(&self, lines: usize) -> usize {
        super::apart::<T>((lines * self.tiles + 8).next_multiple_of(16))
    }

    /// Lines of a block of at most so many tiles, but at least one: whole images where those are small, and equal parts of
    /// `lines` lines.
    fn per_block(&self, tiles: usize, lines: usize) -> usize {
        let most = (tiles / self.tiles).max(1);
        let unit = if most >= self.lines { self.lines } else { 1 };
        let units = lines.div_ceil(unit);
        units.div_ceil(units.div_ceil((most / unit).max(1))) * unit
    }

    /// Cuts lines of all images in runs of one image each: the image, and which of its lines.
    fn runs(&self, lines: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let per_image = self.lines;
        runs(lines, per_image).map(move |[line, some]| {
            let first = line % per_image;
            (line / per_image, first..first + some)
        })
    }

    /// What stands for the input of some lines, `[places, channels, pitch]`: `planes(image)` begins with as many planes, of
    /// `size`.
    fn input<'a, T: Float>(
        &self,
        isa: Isa,
        lines: Range<usize>,
        channels: usize,
        size: [usize; 2],
        planes: impl Fn(usize) -> &'a [T],
        to: &mut [T],
    ) {
        let (kernels, pitch, [height, width]) = (T::kernels(isa), self.pitch::<T>(lines.len()), size);
        let between = spaced(channels * pitch);
        assert!(PLACES * between <= to.len(), "winograd: what stands for the input");
        let mut done = 0;
        for (image, some) in self.runs(lines) {
            let (planes, count) = (planes(image), [some.len(), self.tiles]);
            assert!(channels * height * width <= planes.len(), "winograd: input");
            scratch(Squares::<T>::rows_len(count), |rows: &mut [T]| {
                rows.fill(T::ZERO);
                for channel in 0..channels {
                    let plane = &planes[channel * height * width..];
                    let squares = Squares {
                        from: plane.as_ptr(),
                        readable: plane.len(),
                        size,
                        start: [self.padding[0].wrapping_sub(2 * some.start), self.padding[1]],
                        count,
                        rows: rows.as_mut_ptr(),
                        to: to[channel * pitch + done..].as_mut_ptr(),
                        between,
                    };
                    // SAFETY: a channel has room for all its squares and a register more; the rest is checked above.
                    unsafe { kernels.squares(&squares) };
                }
            });
            done += some.len() * self.tiles;
        }
    }
}

/// `C[rows, width] = A . B`, or plus C, in tiles of rows as even as possible.
#[allow(clippy::too_many_arguments, reason = "the sizes of a product")]
fn product<T: Float>(
    kernels: &Kernels<T>,
    [rows, inner, width]: [usize; 3],
    a: &[T],
    [a_stride, a_step]: [usize; 2],
    b: &[T],
    c: &mut [T],
    accumulate: bool,
) {
    let (count, stride) = (rows.div_ceil(kernels.height()), kernels.width());
    assert!((rows - 1) * a_stride + (inner - 1) * a_step < a.len(), "winograd: A");
    assert!(inner * stride <= b.len() && rows * stride <= c.len(), "winograd: B and C");
    for start in (0..inner).step_by(DEPTH) {
        for i in 0..count {
            let some = even(rows, count, i);
            let tile = Tile {
                rows: some.len(),
                width,
                a: a[some.start * a_stride + start * a_step..].as_ptr(),
                a_stride,
                b: b[start * stride..].as_ptr(),
                outer: &[[0, 0]],
                inner: DEPTH.min(inner - start),
                a_step,
                b_step: stride,
                c: c[some.start * stride..].as_mut_ptr(),
                c_stride: stride,
                accumulate: accumulate || start > 0,
                finish: Finish::NONE,
            };
            // SAFETY: the assertions have checked all three; rows of B and C are a whole tile wide.
            unsafe { kernels.tile(&tile) };
        }
    }
}

/// In how many parts so many blocks are cut, so that each thread has a share; each part repeats some of the work. The bits do
/// not depend on it.
fn splits(conv: &Conv, blocks: usize) -> usize {
    let threads = if conv.threads() { parallel::num_threads() } else { 1 };
    (4 * threads).div_ceil(blocks).min(threads)
}

/// The width of a tile whose last lanes may be computed for nothing.
fn lanes_of<T>(kernels: &Kernels<T>, width: usize) -> usize {
    width.next_multiple_of(kernels.lanes)
}

pub(super) fn run<T: Float>(isa: Isa, pass: &Pass<T>, to: &mut [T]) {
    let (kernels, conv) = (T::kernels(isa), pass.conv);
    let (width, channels) = (kernels.width(), pass.from_channels);
    let padding = conv.padding.map(|p| if pass.backward { 2 - p } else { p });
    let tiling = Tiling::new(pass.to_size, padding);
    let lines = conv.batch * tiling.lines;
    let per_block = tiling.per_block(TILES, lines);
    let blocks = lines.div_ceil(per_block);
    let teams = splits(conv, blocks * conv.groups).min(pass.panels(width));
    let panel_len = PLACES * channels * width;
    let from_plane = pass.from_size[0] * pass.from_size[1];
    let shared = Shared::new(to);
    let pack = |group: usize, panel: usize, to: &mut [T]| pack_panel(isa, pass, group, panel, to);
    pass.share_out(isa, panel_len, [blocks, teams], pack, |block, group, panels, weights| {
        let lines = block * per_block..((block + 1) * per_block).min(lines);
        let (pitch, count) = (tiling.pitch::<T>(lines.len()), lines.len() * tiling.tiles);
        let planes = |image: usize| &pass.from[(image * conv.groups + group) * channels * from_plane..];
        scratch(PLACES * spaced(channels * pitch) + SLACK, |input: &mut [T]| {
            tiling.input(isa, lines.clone(), channels, pass.from_size, planes, input);
            let some = (channels / CHANNELS).clamp(1, panels.len().max(1));
            let products_len = PLACES * spaced(count * width);
            scratch(some * products_len, |products: &mut [T]| {
                for first in panels.clone().step_by(some) {
                    let some = first..(first + some).min(panels.end);
                    for place in 0..PLACES {
                        let a = &input[place * spaced(channels * pitch)..];
                        for (panel, products) in some.clone().zip(products.chunks_exact_mut(products_len)) {
                            let lanes = lanes_of(kernels, width.min(pass.to_channels - panel * width));
                            let b = &weights[(panel - panels.start) * panel_len + place * channels * width..];
                            let c = &mut products[place * spaced(count * width)..];
                            product(kernels, [count, channels, lanes], a, [1, pitch], b, c, false);
                        }
                    }
                    for (panel, products) in some.zip(products.chunks_exact(products_len)) {
                        deliver(isa, pass, &tiling, lines.clone(), group, panel, products, shared);
                    }
                }
            });
        });
    });
}

/// The output of some lines of tiles, of one panel, from their products `[places, tiles, width]`.
#[allow(clippy::too_many_arguments, reason = "the place of a panel")]
fn deliver<T: Float>(
    isa: Isa,
    pass: &Pass<T>,
    tiling: &Tiling,
    lines: Range<usize>,
    group: usize,
    panel: usize,
    products: &[T],
    to: Shared<T>,
) {
    let width = T::kernels(isa).width();
    let first = panel * width;
    let mut bias = [T::ZERO; SLACK];
    if let Some(of) = pass.after.bias {
        let count = width.min(pass.to_channels - first);
        bias[..count].copy_from_slice(&of[group * pass.to_channels + first..][..count]);
    }
    let relu = pass.after.relu && pass.halving.is_none();
    let (columns, between) = (pass.to_size[1], spaced(lines.len() * tiling.tiles * width));
    scratch(2 * lines.len().min(tiling.lines) * columns * width + SLACK, |result: &mut [T]| {
        let mut done = 0;
        for (image, some) in tiling.runs(lines) {
            let rows = 2 * some.start..(2 * some.end).min(pass.to_size[0]);
            let (sizes, from) = ([some.len(), tiling.tiles], &products[done..]);
            transforms::output(isa, from, between, sizes, width, &bias, relu, [rows.len(), columns], result);
            pass.deliver(isa, image, group, panel, rows, result, to);
            done += some.len() * tiling.tiles * width;
        }
    });
}
