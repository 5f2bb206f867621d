//! The hand that writes a digit: which style it has, and how it slants, bends, errs and presses.

use super::curve::{Point, by_axis, smooth};
use super::render::Dot;
use super::strokes::{DIGITS, Mark, Style};
use crate::rng::Rng;

// How much hands differ. Lengths are in heights of the digit unless they are in pixels; a spread is a standard
// deviation. Slant, aspect and stroke width have about the mean of MNIST as a whole and a somewhat larger spread; bend
// and error were raised for as long as that helped a network that learned from these digits alone to read MNIST.

/// The slant of a hand, as x per y: mean and spread. People lean to the right.
const SLANT: [f32; 2] = [0.15, 0.25];
/// Spread of the turn of the whole digit, in radians.
const TURN: f32 = 0.1;
/// Width against height: mean and spread of its logarithm.
const ASPECT: [f32; 2] = [0.05, 0.2];
/// The largest displacement of a node of the field that bends the digit, for the most unsteady hand.
const BEND: f32 = 0.6;
/// Spread of the place of each mark, for the most careless hand.
const ERROR: f32 = 0.12;
/// Spread of how far a stroke goes beyond its first and its last mark (or stops short), in distances to the next mark.
const REACH: f32 = 0.15;
/// Half the width of a stroke in pixels: its median, the spread of its logarithm, the least and the most.
const RADIUS: [f32; 4] = [1.2, 0.35, 0.6, 2.5];
/// Spread of the change of a stroke's width over one height, relative to the width.
const PRESSURE: f32 = 0.3;

/// The pen's path for `digit`, as a hand drawn from `rng` writes it: a polyline for each stroke. `unsteadiness` scales how
/// much hands bend a digit and err, 1 for the hands to learn from.
pub fn write(digit: u8, unsteadiness: f32, rng: &mut Rng) -> Vec<Vec<Dot>> {
    let style = choose(DIGITS[usize::from(digit)], rng);
    let hand = Hand::new(unsteadiness, rng);
    style.strokes.iter().map(|stroke| hand.stroke(stroke, rng)).collect()
}

/// One of the styles, each as likely as its weight is large.
fn choose(styles: &'static [Style], rng: &mut Rng) -> &'static Style {
    let total: f32 = styles.iter().map(|style| style.weight).sum();
    let mut left = rng.uniform_f32() * total;
    let chosen = styles.iter().find(|style| {
        left -= style.weight;
        left < 0.0
    });
    chosen.unwrap_or(&styles[0])
}

/// What one hand does to the strokes of a digit.
struct Hand {
    error: f32,
    bend: Bend,
    /// Stretch, slant and turn: the rows of a matrix.
    matrix: [Point; 2],
    /// In pixels, at the middle of the digit.
    radius: f32,
    /// Relative growth of the radius along x and y.
    pressure: Point,
}

impl Hand {
    fn new(unsteadiness: f32, rng: &mut Rng) -> Self {
        // Squared, so that most hands are neat.
        let error = unsteadiness * ERROR * rng.uniform_f32().powi(2);
        let bend = Bend::new(unsteadiness * BEND * rng.uniform_f32().powi(2), rng);
        let aspect = (ASPECT[0] + ASPECT[1] * normal(rng)).exp();
        let slant = SLANT[0] + SLANT[1] * normal(rng);
        let (sin, cos) = (TURN * normal(rng)).sin_cos();
        // [cos -sin]   [aspect -slant]
        // [sin  cos] . [  0       1  ]
        let matrix = [[cos * aspect, -cos * slant - sin], [sin * aspect, -sin * slant + cos]];
        let [median, spread, least, most] = RADIUS;
        let radius = (median * (spread * normal(rng)).exp()).clamp(least, most);
        let pressure = by_axis(|_| PRESSURE * normal(rng));
        Hand { error, bend, matrix, radius, pressure }
    }

    /// A stroke as this hand writes it.
    fn stroke(&self, stroke: &[Mark], rng: &mut Rng) -> Vec<Dot> {
        let mut points: Vec<Point> = Vec::with_capacity(stroke.len());
        for (i, mark) in stroke.iter().enumerate() {
            let is_corner = i > 0 && *mark == stroke[i - 1];
            points.push(if is_corner {
                points[i - 1]
            } else {
                by_axis(|axis| f32::from(mark[axis]) / 100.0 + self.error * normal(rng))
            });
        }
        let last = points.len() - 1;
        for (end, inner) in [(0, 1), (last, last - 1)] {
            let reach = REACH * normal(rng);
            points[end] = by_axis(|axis| points[end][axis] + reach * (points[end][axis] - points[inner][axis]));
        }
        let mut curve = vec![points[0]];
        // A corner's two equal points are the end of one smooth part and the start of the next.
        for part in points.chunk_by(|p, q| p != q) {
            smooth(part, &mut curve);
        }
        curve.into_iter().map(|point| self.dot(point)).collect()
    }

    /// Where a point of the plain digit comes to lie, and how broad the pen is there.
    fn dot(&self, point: Point) -> Dot {
        let bend = self.bend.at(point);
        // Relative to the middle of most digits.
        let p = [point[0] + bend[0] - 0.35, point[1] + bend[1] - 0.5];
        let pressure = 1.0 + self.pressure[0] * p[0] + self.pressure[1] * p[1];
        Dot { at: self.matrix.map(|row| row[0] * p[0] + row[1] * p[1]), radius: self.radius * pressure.clamp(0.6, 1.5) }
    }
}

/// An elastic distortion: a smooth field of random displacements.
///
/// Simard, Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual document analysis",
/// 2003, blur a displacement per pixel, uniform in `[-1, 1]`, by a Gaussian of 4 pixels. Here, random displacements of
/// the nodes of a grid are interpolated by a cubic B-spline; that is such a blur (its variance is a third of the
/// squared spacing: 0.2 heights, 4 pixels of 20) and has a value at any point without an image of the field.
struct Bend {
    nodes: [[Point; Bend::NODES]; Bend::NODES],
}

impl Bend {
    /// Nodes along a side of the grid.
    const NODES: usize = 7;
    const SPACING: f32 = 0.35;
    /// The coordinate, x and y, of the second node; the grid covers the digit from here to the last node but one.
    const START: f32 = -0.2;

    fn new(strength: f32, rng: &mut Rng) -> Self {
        let mut displacement = || by_axis(|_| strength * (2.0 * rng.uniform_f32() - 1.0));
        Bend { nodes: [(); Self::NODES].map(|()| [(); Self::NODES].map(|()| displacement())) }
    }

    /// The displacement at a point.
    fn at(&self, point: Point) -> Point {
        let [(column, x), (row, y)] = point.map(|coordinate| {
            let most = (Self::NODES - 3) as f32 - 1e-3;
            let place = ((coordinate - Self::START) / Self::SPACING).clamp(0.0, most);
            (place as usize, b_spline(place.fract()))
        });
        let mut sum = [0.0; 2];
        for (nodes, y) in self.nodes[row..].iter().zip(y) {
            for (node, x) in nodes[column..].iter().zip(x) {
                sum = by_axis(|axis| sum[axis] + x * y * node[axis]);
            }
        }
        sum
    }
}

/// The weights of four neighbouring nodes at `t`, in `[0, 1)`, between the middle two: the uniform cubic B-spline.
fn b_spline(t: f32) -> [f32; 4] {
    let s = 1.0 - t;
    let near = |t: f32| 2.0 / 3.0 - t * t * (1.0 - t / 2.0);
    [s * s * s / 6.0, near(t), near(s), t * t * t / 6.0]
}

fn normal(rng: &mut Rng) -> f32 {
    rng.normal() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stroke_has_two_different_marks_at_either_end_and_fits_its_box() {
        for (digit, styles) in DIGITS.iter().enumerate() {
            assert!(styles.len() >= 4, "{digit}");
            for style in *styles {
                assert!(style.weight > 0.0);
                let marks: Vec<Mark> = style.strokes.concat();
                assert!(marks.iter().all(|&[x, y]| x <= 105 && y <= 100), "{digit}: {marks:?}");
                let [top, bottom] = [marks.iter().map(|m| m[1]).min(), marks.iter().map(|m| m[1]).max()];
                assert!(top <= Some(10) && bottom >= Some(78), "{digit}: {marks:?}");
                for stroke in style.strokes {
                    let last = stroke.len() - 1;
                    assert!(stroke[0] != stroke[1] && stroke[last] != stroke[last - 1], "{digit}: {stroke:?}");
                    assert!(stroke.windows(3).all(|m| m[0] != m[1] || m[1] != m[2]), "{digit}: {stroke:?}");
                }
            }
        }
    }

    #[test]
    fn styles_are_chosen_by_their_weights() {
        const DRAWS: usize = 20_000;
        let styles = DIGITS[1];
        let total: f32 = styles.iter().map(|style| style.weight).sum();
        let mut counts = vec![0; styles.len()];
        let mut rng = Rng::new(4);
        for _ in 0..DRAWS {
            let chosen = choose(styles, &mut rng);
            counts[styles.iter().position(|style| std::ptr::eq(style, chosen)).unwrap()] += 1;
        }
        for (style, count) in styles.iter().zip(counts) {
            let p = f64::from(style.weight / total);
            let deviation = (DRAWS as f64 * p * (1.0 - p)).sqrt();
            assert!((f64::from(count) - DRAWS as f64 * p).abs() < 6.0 * deviation, "{count} of {DRAWS} for {p}");
        }
    }

    #[test]
    fn the_bend_is_continuous_and_a_uniform_one_is_a_shift() {
        let shift = Bend { nodes: [[[0.3, -0.1]; Bend::NODES]; Bend::NODES] };
        let random = Bend::new(1.0, &mut Rng::new(5));
        for i in 0..400 {
            let t = i as f32 / 400.0;
            let [x, y] = shift.at([1.3 * t - 0.1, 1.1 - t]);
            assert!((x - 0.3).abs() < 1e-6 && (y + 0.1).abs() < 1e-6, "{x} {y}");
            // A cubic B-spline of values up to 1 has slopes up to 2 / spacing along each axis.
            let (a, b) = (random.at([t, 0.5]), random.at([t + 0.0025, 0.5]));
            assert!((0..2).all(|axis| (a[axis] - b[axis]).abs() < 0.0025 * 2.0 / Bend::SPACING + 1e-5));
        }
    }
}
