//! From the pen's path to pixels, normalised as MNIST's are.

use super::curve::{Point, by_axis};
use crate::rng::Rng;
use std::ops::Range;

/// Rows and columns of an image.
pub const SIDE: usize = 28;
/// Rows and columns of the box that the digit just fits.
pub const BOX: usize = 20;

/// Pixels over which the edge of a stroke fades from ink to paper.
const EDGE: f32 = 1.4;
/// How far, as a part of [`EDGE`], the roughest paper moves the edge from pixel to pixel.
const ROUGHNESS: f32 = 0.2;

/// A place on the pen's path, and how far from it the ink reaches, in pixels.
#[derive(Clone, Copy)]
pub struct Dot {
    pub at: Point,
    pub radius: f32,
}

/// Draws the strokes into `image`, which is `[SIDE, SIDE]`.
///
/// As in MNIST (LeCun et al., 1998, section III-A) the digit is scaled to fit a box of 20 x 20 pixels, its aspect kept,
/// and moved so that its centre of mass comes to the middle of the image, as near as whole pixels allow. The middle is
/// pixel `[14, 14]`, as MNIST has it.
pub fn draw(strokes: &[Vec<Dot>], rng: &mut Rng, image: &mut [u8]) {
    let grain = Grain::new(rng);
    // The box is smaller for the one digit in 2,000 with its mass so far to one end that the other would leave the
    // image.
    let drawn = (1..=BOX).rev().any(|size| write(&fit(strokes, size), &grain).paste(image));
    debug_assert!(drawn, "a digit in a box of 13 pixels fits the image wherever its mass lies");
}

/// The ink of the strokes.
fn write(strokes: &[Vec<Dot>], grain: &Grain) -> Ink {
    let mut ink = Ink { cover: [[0.0; BOX]; BOX] };
    for stroke in strokes {
        for pair in stroke.windows(2) {
            ink.line(pair[0], pair[1], grain);
        }
    }
    ink
}

/// The strokes moved and scaled, their radius kept, so that the ink just fits a box of `size` pixels in the middle of
/// the whole one.
fn fit(strokes: &[Vec<Dot>], size: usize) -> Vec<Vec<Dot>> {
    let dots = || strokes.iter().flatten();
    let radius = dots().fold(0.0, |most: f32, dot| most.max(dot.radius));
    let low = by_axis(|axis| dots().fold(f32::INFINITY, |low, dot| low.min(dot.at[axis])));
    let high = by_axis(|axis| dots().fold(f32::NEG_INFINITY, |high, dot| high.max(dot.at[axis])));
    let extent = (high[0] - low[0]).max(high[1] - low[1]).max(f32::MIN_POSITIVE);
    let scale = (size as f32 - 2.0 * radius) / extent;
    let place = |dot: &Dot| {
        let at = by_axis(|axis| scale * (dot.at[axis] - (low[axis] + high[axis]) / 2.0) + BOX as f32 / 2.0);
        Dot { at, ..*dot }
    };
    strokes.iter().map(|stroke| stroke.iter().map(place).collect()).collect()
}

/// What the grain of the paper adds to the cover of each pixel at the edge of a stroke.
struct Grain([[f32; BOX]; BOX]);

impl Grain {
    fn new(rng: &mut Rng) -> Self {
        let depth = ROUGHNESS * rng.uniform_f32();
        let mut grain = [[0.0; BOX]; BOX];
        grain.as_flattened_mut().iter_mut().for_each(|x| *x = depth * (2.0 * rng.uniform_f32() - 1.0));
        Grain(grain)
    }
}

/// The box: how much of each pixel is ink.
struct Ink {
    cover: [[f32; BOX]; BOX],
}

impl Ink {
    /// Inks the line from `a` to `b`, its radius going from that of `a` to that of `b`.
    fn line(&mut self, a: Dot, b: Dot, grain: &Grain) {
        let (rows, columns) = (reach(a, b, 1), reach(a, b, 0));
        let along = by_axis(|axis| b.at[axis] - a.at[axis]);
        let inverse = 1.0 / (along[0] * along[0] + along[1] * along[1]).max(f32::MIN_POSITIVE);
        for row in rows {
            let y = row as f32 + 0.5 - a.at[1];
            for column in columns.clone() {
                let x = column as f32 + 0.5 - a.at[0];
                // The nearest point of the line to the pixel's middle is `a + t * along`.
                let t = ((x * along[0] + y * along[1]) * inverse).clamp(0.0, 1.0);
                let distance = ((x - t * along[0]).powi(2) + (y - t * along[1]).powi(2)).sqrt();
                let depth = a.radius + t * (b.radius - a.radius) - distance;
                let cover = (0.5 + depth / EDGE + grain.0[row][column]).clamp(0.0, 1.0);
                self.cover[row][column] = self.cover[row][column].max(cover);
            }
        }
    }

    /// Lays the box on the image, the centre of mass in the middle; gives `false` if ink would fall beside the image.
    fn paste(&self, image: &mut [u8]) -> bool {
        let mut grey = [0; BOX * BOX];
        for (grey, cover) in grey.iter_mut().zip(self.cover.as_flattened()) {
            *grey = (255.0 * cover).round() as u8;
        }
        let inked =
            || grey.iter().enumerate().map(|(i, &grey)| ([i % BOX, i / BOX], grey)).filter(|(_, grey)| *grey > 0);
        let mass: usize = inked().map(|(_, grey)| usize::from(grey)).sum();
        let shift = [0, 1].map(|axis| {
            let moment: usize = inked().map(|(place, grey)| usize::from(grey) * place[axis]).sum();
            (SIDE as f64 / 2.0 - moment as f64 / mass as f64).round() as isize
        });
        image.fill(0);
        inked().all(|(place, grey)| {
            let [x, y] = [0, 1].map(|axis| place[axis].wrapping_add_signed(shift[axis]));
            let inside = x < SIDE && y < SIDE;
            if inside {
                image[y * SIDE + x] = grey;
            }
            inside
        })
    }
}

/// The rows (`axis` 1) or columns (0) of the box that ink of the line from `a` to `b` can reach.
fn reach(a: Dot, b: Dot, axis: usize) -> Range<usize> {
    let far = a.radius.max(b.radius) + EDGE * (0.5 + ROUGHNESS);
    let low = a.at[axis].min(b.at[axis]) - far - 0.5;
    let high = a.at[axis].max(b.at[axis]) + far + 0.5;
    low.ceil().max(0.0) as usize..(high.floor().max(0.0) as usize).min(BOX)
}
