//! What a pass by minimal filtering is cut into, and what stands for its input.

use super::lanes::L;
use super::transforms::{input, of_three, of_two};
use crate::element::Float;
use crate::kernels::conv::pass::Pass;
use crate::kernels::conv::weight::runs;
use crate::kernels::conv::{Conv, apart};
use crate::kernels::gemm::{SLACK, Squares, even, scratch, transpose};
use crate::kernels::simd::Isa;
use std::ops::Range;

/// Channels whose pixels are transposed at a time.
const TURNED: usize = 32;

/// The phases of a scheme, at most.
pub(super) const PHASES: usize = of_two::PHASES;

/// Which transforms a convolution takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    OfThree,
    OfTwo,
}

impl Scheme {
    pub fn of(conv: &Conv) -> Option<Scheme> {
        let padded = |most: usize| conv.dilation == [1, 1] && conv.padding.iter().all(|&p| p <= most);
        match (conv.kernel, conv.stride) {
            ([3, 3], [1, 1]) if padded(2) => Some(Scheme::OfThree),
            ([4, 4], [2, 2]) if padded(3) => Some(Scheme::OfTwo),
            _ => None,
        }
    }

    /// Pixels along the side of a tile, and of the square that it sees.
    pub fn side(self) -> usize {
        if self == Scheme::OfThree { of_three::SIDE } else { of_two::SIDE }
    }

    pub fn seen(self) -> usize {
        if self == Scheme::OfThree { of_three::SEEN } else { of_two::SEEN }
    }

    /// Numbers that stand for a tile and a channel.
    pub fn places(self) -> usize {
        if self == Scheme::OfThree { of_three::PLACES } else { of_two::PLACES }
    }

    pub fn phases(self) -> usize {
        if self == Scheme::OfThree { of_three::PHASES } else { of_two::PHASES }
    }
}

/// One phase of a convolution, along rows and columns.
#[derive(Clone, Copy, Default)]
pub(super) struct Phase {
    /// The pixel of the source that the first tile sees first.
    pub start: [isize; 2],
    /// The tap on that pixel.
    pub tap: [usize; 2],
    /// The first pixel of the result.
    pub first: [usize; 2],
}

/// A pass in tiles. Rows of them are cut in blocks, those of all images behind each other.
pub(super) struct Plan {
    pub scheme: Scheme,
    all_phases: [Phase; PHASES],
    /// From one tap to the next of the same phase.
    pub by: isize,
    /// The distance of a phase's neighbours in the source, and in the result.
    pub step: [usize; 2],
    /// Rows of tiles of an image, and tiles in a row.
    pub lines: usize,
    pub tiles: usize,
    /// The source, and how many of its channels are at hand.
    pub size: [usize; 2],
    pub channels: usize,
}

/// Where what stands for the input of a block lies, in numbers: from one place, tile, channel and phase to the next.
pub(super) struct Layout {
    pub place: usize,
    pub tile: usize,
    pub channel: usize,
    pub phase: usize,
}

impl Plan {
    pub fn of<T: Float>(pass: &Pass<T>) -> Plan {
        Plan::new(pass.conv, pass.backward, [pass.from_size, pass.to_size], pass.from_channels)
    }

    pub fn new(conv: &Conv, backward: bool, [size, to_size]: [[usize; 2]; 2], channels: usize) -> Plan {
        let scheme = Scheme::of(conv).expect("a scheme for the kernel");
        let mut all_phases = [Phase::default(); PHASES];
        for (i, phase) in all_phases.iter_mut().enumerate().take(scheme.phases()) {
            for (axis, odd) in [i / 2, i % 2].into_iter().enumerate() {
                let padding = conv.padding[axis];
                match (scheme, backward) {
                    (Scheme::OfTwo, true) => {
                        // Pixel 2 t + odd of the result stands 2 t + odd + padding from the corner.
                        let at = odd + padding;
                        phase.start[axis] = (at / 2) as isize - 1;
                        phase.tap[axis] = at % 2 + 2;
                        phase.first[axis] = odd;
                    }
                    (_, true) => {
                        phase.start[axis] = padding as isize - 2;
                        phase.tap[axis] = 2;
                    }
                    (_, false) => {
                        phase.start[axis] = odd as isize - padding as isize;
                        phase.tap[axis] = odd;
                    }
                }
            }
        }
        let by = conv.stride[0] as isize * if backward { -1 } else { 1 };
        let step = if backward { [1, conv.stride[0]] } else { [conv.stride[0], 1] };
        let [lines, tiles] = to_size.map(|size| size.div_ceil(scheme.side() * step[1]));
        Plan { scheme, all_phases, by, step, lines, tiles, size, channels }
    }

    pub fn phases(&self) -> &[Phase] {
        &self.all_phases[..self.scheme.phases()]
    }

    /// Rows of the result in some lines of tiles of an image.
    pub fn rows(&self, lines: Range<usize>, height: usize) -> Range<usize> {
        let side = self.scheme.side() * self.step[1];
        side * lines.start..(side * lines.end).min(height)
    }

    /// Cuts lines of all images in runs of one image each: the image, and which of its lines.
    pub fn runs(&self, lines: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let per_image = self.lines;
        runs(lines, per_image).map(move |[line, some]| {
            let first = line % per_image;
            (line / per_image, first..first + some)
        })
    }

    pub fn layout<T>(&self, lines: usize) -> Layout {
        let tiles = lines * self.tiles;
        match self.scheme {
            Scheme::OfThree => {
                // Room for what is written behind the tiles of a channel.
                let channel = apart::<T>((tiles + 8).next_multiple_of(16));
                Layout { place: spaced(self.channels * channel), tile: 1, channel, phase: 0 }
            }
            Scheme::OfTwo => {
                let phase = self.channels.next_multiple_of(L);
                let tile = apart::<T>(PHASES * phase);
                Layout { place: spaced(tiles * tile), tile, channel: 1, phase }
            }
        }
    }

    /// The numbers that stand for the input of a block.
    pub fn input_len<T>(&self, lines: usize) -> usize {
        self.scheme.places() * self.layout::<T>(lines).place + SLACK
    }

    /// What stands for the input of some lines; `planes(image)` begins with as many planes as there are channels.
    pub fn input<'a, T: Float>(&self, isa: Isa, lines: Range<usize>, planes: impl Fn(usize) -> &'a [T], to: &mut [T]) {
        let layout = self.layout::<T>(lines.len());
        assert!(self.input_len::<T>(lines.len()) <= to.len(), "winograd: what stands for the input");
        let mut done = 0;
        for (image, some) in self.runs(lines) {
            let planes = planes(image);
            assert!(self.channels * self.size[0] * self.size[1] <= planes.len(), "winograd: input");
            let (count, to) = (some.len(), &mut to[done * layout.tile..]);
            match self.scheme {
                Scheme::OfThree => self.squares(isa, some, planes, &layout, to),
                Scheme::OfTwo => self.turned(isa, some, planes, &layout, to),
            }
            done += count * self.tiles;
        }
    }

    /// Channel by channel: lanes are tiles.
    fn squares<T: Float>(&self, isa: Isa, lines: Range<usize>, planes: &[T], layout: &Layout, to: &mut [T]) {
        let (count, start) = ([lines.len(), self.tiles], self.phases()[0].start);
        scratch(Squares::<T>::rows_len(count), |rows: &mut [T]| {
            rows.fill(T::ZERO);
            for channel in 0..self.channels {
                let plane = &planes[channel * self.size[0] * self.size[1]..];
                let squares = Squares {
                    from: plane.as_ptr(),
                    readable: plane.len(),
                    size: self.size,
                    start: [0_usize.wrapping_add_signed(-start[0] - 2 * lines.start as isize), -start[1] as usize],
                    count,
                    rows: rows.as_mut_ptr(),
                    to: to[channel * layout.channel..].as_mut_ptr(),
                    between: layout.place,
                };
                // SAFETY: a channel has room for all its squares and a register more; the rest is checked by the caller.
                unsafe { T::kernels(isa).squares(&squares) };
            }
        });
    }

    /// Some channels at a time, pixel by pixel: lanes are channels.
    fn turned<T: Float>(&self, isa: Isa, lines: Range<usize>, planes: &[T], layout: &Layout, to: &mut [T]) {
        let ([height, width], step, side) = (self.size, self.step[0], self.scheme.side());
        // The rows under these lines.
        let corner = (step * side * lines.start) as isize;
        let reach = (step * (side * (lines.len() - 1) + self.scheme.seen() - 1) + 1) as isize;
        let (mut above, mut below) = (isize::MAX, isize::MIN);
        for phase in self.phases() {
            (above, below) = (above.min(corner + phase.start[0]), below.max(corner + phase.start[0] + reach));
        }
        let [above, below] = [above, below].map(|row| row.clamp(0, height as isize) as usize);
        let rows = below.saturating_sub(above);
        scratch(rows * width * TURNED, |turned: &mut [T]| {
            for first in (0..self.channels).step_by(TURNED) {
                let count = TURNED.min(self.channels - first);
                let lanes = count.next_multiple_of(L);
                if rows > 0 {
                    // [count, pixels] -> [pixels, count]
                    let from = &planes[(first * height + above) * width..];
                    transpose(T::kernels(isa), from, height * width, [count, rows * width], turned, lanes);
                }
                for (i, phase) in self.phases().iter().enumerate() {
                    let start = [phase.start[0] + corner - above as isize, phase.start[1]];
                    let to = &mut to[i * layout.phase + first * layout.channel..];
                    let (tiles, size) = ([lines.len(), self.tiles], [rows, width]);
                    input(isa, turned, size, lanes, start, step, tiles, to, layout.place, layout.tile);
                }
            }
        });
    }

    /// The numbers of the weights of a panel, `[phases, channels, width]` of each place, and the distance of places.
    pub fn panel_len(&self, width: usize) -> usize {
        self.scheme.places() * self.panel_place(width)
    }

    pub fn panel_place(&self, width: usize) -> usize {
        spaced(self.scheme.phases() * self.channels * width)
    }

    pub fn pack_panel<T: Float>(&self, isa: Isa, pass: &Pass<T>, group: usize, panel: usize, to: &mut [T]) {
        let (across, width) = (pass.conv.kernel[0], T::kernels(isa).width());
        let len = self.channels * width;
        let between = self.panel_place(width);
        scratch(across * across * len, |taps: &mut [T]| {
            pass.pack(isa, group, panel, taps);
            for (i, phase) in self.phases().iter().enumerate() {
                let weight = if self.scheme == Scheme::OfThree { of_three::weight } else { of_two::weight };
                weight(isa, taps, across, phase.tap, self.by, width, &mut to[i * len..], between);
            }
        });
    }

    /// How lines are cut in blocks of as many tiles as fit a cache, or fewer, so that each of so many threads gets as many
    /// blocks, if there are enough. The bits do not depend on it: a row of a product is summed in one order.
    pub fn blocks<T>(&self, lines: usize, threads: usize) -> Blocks {
        let most = match self.scheme {
            // With 64 channels, what stands for their input takes 320 KiB.
            Scheme::OfThree => 60,
            // 768 KiB; but two of the tallest tiles, for which numbers of the weights are fetched.
            Scheme::OfTwo => ((3 << 16) / (of_two::PLACES * self.layout::<T>(1).tile)).max(28),
        };
        let most = (most / self.tiles).max(1);
        // Whole images, where those are small.
        let unit = if most >= self.lines { self.lines } else { 1 };
        let units = lines.div_ceil(unit);
        let count = units.div_ceil(most / unit);
        Blocks { unit, units, count: count.next_multiple_of(threads).min(units).max(1) }
    }
}

/// Runs of lines that are as even as possible.
pub(super) struct Blocks {
    unit: usize,
    units: usize,
    pub count: usize,
}

impl Blocks {
    pub fn lines(&self, block: usize) -> Range<usize> {
        let units = even(self.units, self.count, block);
        units.start * self.unit..units.end * self.unit
    }
}

/// A distance of places, `n` or more: sixteen of them do not share sets of the first-level cache.
pub(super) fn spaced(n: usize) -> usize {
    n.next_multiple_of(256) + 16
}
