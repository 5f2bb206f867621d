//! Convolutions with fewer products: minimal filtering by Winograd, as Lavin and Gray apply it in "Fast Algorithms for
//! Convolutional Neural Networks" (2016).
//!
//! The output is cut in tiles. `Y = A^T [(G g G^T) * (B^T d B)] A` where `*` multiplies number by number; so, summed over
//! channels, there is a product of matrices for each place in the square of numbers that stand for a tile: `[tiles, in] . [in, out]`.
//! Two schemes:
//!
//! * Kernels of 3 x 3 and stride 1 by F(2 x 2, 3 x 3): tiles of 2 x 2 pixels, each of which sees 4 x 4; 4 products for each pixel
//!   instead of 9.
//! * Kernels of 4 x 4 and stride 2 by F(4 x 4, 2 x 2). The taps of even and odd rows and columns see different pixels: four
//!   phases of the input, of half the height and width, each under a kernel of 2 x 2 and stride 1. A tile of 4 x 4 pixels sees
//!   5 x 5 of each phase; 6.25 products for each pixel instead of 16. Forward the phases are added up; backward each one is a part
//!   of the result.

mod lanes;
mod plan;
mod transforms;
mod weight;

use self::plan::{PHASES, Plan, Scheme, spaced};
use self::transforms::{of_three, of_two};
pub(super) use self::weight::grad_weight;
use super::pass::Pass;
use super::{After, Conv, Weights};
use crate::element::Float;
use crate::kernels::gemm::{Finish, Kernels, SLACK, Shared, Tile, even, scratch};
use crate::kernels::simd::{self, Isa};
use crate::kernels::{parallel, processor};
use std::ops::Range;
use std::sync::OnceLock;

/// Channels for which what stands for the input stays in the second-level cache while the places of a panel follow each other; of
/// more of them, several panels share a place.
const CHANNELS: usize = 64;

/// Products of a sum that are added up before they join the rest: their numbers of the weights stay in the first-level cache, and
/// a long sum rounds less.
const DEPTH: usize = 128;

/// Whether the user lets us: `WENGERT_CONV=direct` forbids it.
pub(super) fn is_wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| match std::env::var("WENGERT_CONV") {
        Ok(way) if way == "direct" => false,
        Ok(way) => panic!("WENGERT_CONV={way}: expected direct"),
        Err(_) => true,
    })
}

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Output,
    GradInput,
    GradWeight,
}

/// Whether this is the fastest way of a pass over so many numbers: about how many cycles it takes, with a product of a number and
/// two registers in one (two where they are multiplied in halves), and measured ones for the rest. Not for `f64`, which checks
/// others.
pub(super) fn pays<T: Float>(conv: &Conv, goal: Goal) -> bool {
    if size_of::<T>() != 4 || !is_wanted() {
        return false;
    }
    let isa = simd::isa();
    saves(conv, goal, T::kernels(isa).width(), if processor::multiplies_in_halves(isa) { 2 } else { 1 })
}

/// The count of cycles, for tiles of a width and the cycles of a product.
pub(super) fn saves(conv: &Conv, goal: Goal, width: usize, product: usize) -> bool {
    let backward = goal != Goal::Output;
    let [from, to] = if backward { [conv.group_out(), conv.group_in()] } else { [conv.group_in(), conv.group_out()] };
    let [minimal, direct] = match Scheme::of(conv) {
        None => return false,
        Some(Scheme::OfThree) => {
            let [lines, tiles] = (if backward { conv.input } else { conv.output() }).map(|size| size.div_ceil(2));
            // Of few tiles the transforms of the weights are a large part.
            if conv.batch * lines * tiles < if backward { 32 } else { 16 } {
                return false;
            }
            let pixels = if backward { conv.in_plane() } else { conv.out_plane() };
            let square = from * (60 + 60 * tiles.div_ceil(8)) / to.div_ceil(width).max(1);
            [lines * (tiles * (20 * product * from + 60) + square), pixels * (10 * product * from + 16)]
        }
        Some(Scheme::OfTwo) => {
            let size = if goal == Goal::GradInput { conv.input.map(|size| size.div_ceil(2)) } else { conv.output() };
            let tiles = conv.batch * size.map(|size| size.div_ceil(of_two::SIDE)).iter().product::<usize>();
            let pixels = conv.batch * conv.out_plane();
            // The panels of the weights, whose last one may be half as wide.
            let [from, to] = if goal == Goal::GradInput { [from, to] } else { [conv.group_in(), conv.group_out()] };
            let (panels, halves) = (to.div_ceil(width), to.div_ceil(width / 2));
            let products = halves * product * from / 2;
            // What a pass does for each tile and panel, for each pixel and panel directly, and for the weights.
            let (tile, pixel, weights) = match goal {
                Goal::Output => (36 * width, 16, 60 * width),
                Goal::GradInput => (4 * 36 * width, 16 + 2 * from, 60 * width),
                Goal::GradWeight => (36 * width, 16 + 3 * from, 120 * width),
            };
            let squares = tiles * PHASES * 120 * from.div_ceil(8);
            let minimal =
                tiles * (PHASES * of_two::PLACES * products + tile * panels) + weights * from * panels + squares;
            [minimal, pixels * (16 * products + pixel * panels)]
        }
    };
    from.min(to) >= 12 && 10 * minimal < 9 * direct
}

/// The numbers of packed weights.
pub(super) fn packed_len(conv: &Conv, width: usize) -> usize {
    let plan = Plan::new(conv, false, [conv.input, conv.output()], conv.group_in());
    conv.groups * conv.group_out().div_ceil(width) * plan.panel_len(width) + SLACK
}

/// The weights as the forward pass reads them.
pub(super) fn pack<T: Float>(isa: Isa, conv: &Conv, weight: &[T], to: &mut [T]) {
    let pass = Pass::forward(conv, &[], Weights { plain: weight, packed: None }, After::default());
    let plan = Plan::of(&pass);
    let panel_len = plan.panel_len(T::kernels(isa).width());
    pass.pack_all(isa, panel_len, to, |group, panel, to| plan.pack_panel(isa, &pass, group, panel, to));
}

/// `C[rows, width] = A . B`, or plus C, in tiles of rows as even as possible; the sum goes over the `offsets` of A and B.
#[allow(clippy::too_many_arguments, reason = "the sizes of a product")]
fn product<T: Float>(
    kernels: &Kernels<T>,
    [rows, inner, width]: [usize; 3],
    a: &[T],
    [a_stride, a_step]: [usize; 2],
    b: &[T],
    offsets: &[[usize; 2]],
    c: &mut [T],
    accumulate: bool,
) {
    let (count, stride) = (rows.div_ceil(kernels.height()), kernels.width());
    for [of_a, of_b] in offsets {
        assert!(of_a + (rows - 1) * a_stride + (inner - 1) * a_step < a.len(), "winograd: A");
        assert!(of_b + inner * stride <= b.len(), "winograd: B");
    }
    assert!(rows * stride <= c.len(), "winograd: C");
    let mut accumulate = accumulate;
    for outer in offsets.chunks((DEPTH / inner).max(1)) {
        for start in (0..inner).step_by(DEPTH) {
            for i in 0..count {
                let some = even(rows, count, i);
                let tile = Tile {
                    rows: some.len(),
                    width,
                    a: a[some.start * a_stride + start * a_step..].as_ptr(),
                    a_stride,
                    b: b[start * stride..].as_ptr(),
                    outer,
                    inner: DEPTH.min(inner - start),
                    a_step,
                    b_step: stride,
                    c: c[some.start * stride..].as_mut_ptr(),
                    c_stride: stride,
                    accumulate,
                    finish: Finish::NONE,
                };
                // SAFETY: the assertions have checked all three; rows of B and C are a whole tile wide.
                unsafe { kernels.tile(&tile) };
            }
            accumulate = true;
        }
    }
}

/// In how many parts so many blocks are cut, so that each thread has a share; each part repeats some of the work. The bits do
/// not depend on it.
fn splits(conv: &Conv, blocks: usize) -> usize {
    (4 * threads(conv)).div_ceil(blocks).min(threads(conv))
}

fn threads(conv: &Conv) -> usize {
    if conv.threads() { parallel::num_threads() } else { 1 }
}

/// The width of a tile whose last lanes may be computed for nothing.
fn lanes_of<T>(kernels: &Kernels<T>, width: usize) -> usize {
    width.next_multiple_of(kernels.lanes)
}

pub(super) fn run<T: Float>(isa: Isa, pass: &Pass<T>, to: &mut [T]) {
    let (kernels, conv, plan) = (T::kernels(isa), pass.conv, Plan::of(pass));
    let (width, channels, places) = (kernels.width(), plan.channels, plan.scheme.places());
    let blocks = plan.blocks::<T>(conv.batch * plan.lines, threads(conv));
    let teams = splits(conv, blocks.count * conv.groups).min(pass.panels(width));
    let (panel_len, from_plane) = (plan.panel_len(width), plan.size[0] * plan.size[1]);
    let shared = Shared::new(to);
    let pack = |group: usize, panel: usize, to: &mut [T]| plan.pack_panel(isa, pass, group, panel, to);
    pass.share_out(isa, panel_len, [blocks.count, teams], pack, |block, group, panels, weights| {
        let lines = blocks.lines(block);
        let (layout, count) = (plan.layout::<T>(lines.len()), lines.len() * plan.tiles);
        let between = spaced(count * width);
        let phases = plan.scheme.phases();
        let mut offsets = [[0; 2]; PHASES];
        for (i, offset) in offsets.iter_mut().enumerate() {
            *offset = [i * layout.phase, i * channels * width];
        }
        // Forward all phases give one sum, backward each its own.
        let sums = if pass.backward { phases } else { 1 };
        let planes = |image: usize| &pass.from[(image * conv.groups + group) * channels * from_plane..];
        scratch(plan.input_len::<T>(lines.len()), |input: &mut [T]| {
            plan.input(isa, lines.clone(), planes, input);
            let some = (channels / CHANNELS).clamp(1, panels.len().max(1));
            let [products_len, result_len] = [places * between, result_len(pass, &plan, &lines) * width];
            scratch(some * (products_len + result_len), |buffer: &mut [T]| {
                let (products, results) = buffer.split_at_mut(some * products_len);
                for first in panels.clone().step_by(some) {
                    let some = first..(first + some).min(panels.end);
                    for sum in 0..sums {
                        for place in 0..places {
                            let a = &input[place * layout.place..];
                            for (panel, products) in some.clone().zip(products.chunks_exact_mut(products_len)) {
                                let lanes = lanes_of(kernels, width.min(pass.to_channels - panel * width));
                                let b = &weights[(panel - panels.start) * panel_len..][..panel_len];
                                let b = &b[place * plan.panel_place(width)..];
                                let c = &mut products[place * between..];
                                let offsets = &offsets[sum * phases / sums..(sum + 1) * phases / sums];
                                let strides = [layout.tile, layout.channel];
                                product(kernels, [count, channels, lanes], a, strides, b, offsets, c, false);
                            }
                        }
                        let all = products.chunks_exact(products_len).zip(results.chunks_exact_mut(result_len));
                        for (panel, (products, result)) in some.clone().zip(all) {
                            let to = (sum + 1 == sums).then_some(shared);
                            deliver(isa, pass, &plan, lines.clone(), group, panel, sum, products, result, to);
                        }
                    }
                }
            });
        });
    });
}

/// Pixels of the result in some lines of tiles.
fn result_len<T: Float>(pass: &Pass<T>, plan: &Plan, lines: &Range<usize>) -> usize {
    let [height, width] = pass.to_size;
    plan.runs(lines.clone()).map(|(_, some)| plan.rows(some, height).len() * width).sum()
}

/// The output of some lines of tiles, of one panel and phase, from their products `[places, tiles, width]`: to `result`, and from
/// there to its place, if there is one yet.
#[allow(clippy::too_many_arguments, reason = "the place of a panel")]
fn deliver<T: Float>(
    isa: Isa,
    pass: &Pass<T>,
    plan: &Plan,
    lines: Range<usize>,
    group: usize,
    panel: usize,
    phase: usize,
    products: &[T],
    result: &mut [T],
    to: Option<Shared<T>>,
) {
    let width = T::kernels(isa).width();
    let first = panel * width;
    let mut bias = [T::ZERO; SLACK];
    if let Some(of) = pass.after.bias {
        let count = width.min(pass.to_channels - first);
        bias[..count].copy_from_slice(&of[group * pass.to_channels + first..][..count]);
    }
    let relu = pass.after.relu && pass.halving.is_none();
    let ([height, columns], between) = (pass.to_size, spaced(lines.len() * plan.tiles * width));
    let output = if plan.scheme == Scheme::OfThree { of_three::output } else { of_two::output };
    let (corner, step) = (plan.phases()[phase].first, plan.step[1]);
    let (mut from, mut result) = (products, result);
    for (image, some) in plan.runs(lines) {
        let rows = plan.rows(some.clone(), height);
        let (count, size) = ([some.len(), plan.tiles], [rows.len(), columns]);
        let (this, rest) = std::mem::take(&mut result).split_at_mut(rows.len() * columns * width);
        output(isa, from, between, count, width, &bias, relu, corner, step, size, this);
        if let Some(to) = to {
            pass.deliver(isa, image, group, panel, rows, this, to);
        }
        (from, result) = (&from[some.len() * plan.tiles * width..], rest);
    }
}
