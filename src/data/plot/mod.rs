//! Charts, drawn as pictures. With feature `plot`.
//!
//! Each function gives a picture `[3, height, width]`, which [`write_png`](crate::data::image::write_png) writes, and which may be
//! a part of an [`Animation`](crate::data::image::Animation). The font is part of the crate, so a picture is the same on every machine.
//!
//! ```
//! use wengert::data::image::write_png;
//! use wengert::data::plot::{Axes, lines};
//! # let path = std::env::temp_dir().join(format!("wengert-doc-plot-{}.png", std::process::id()));
//! let train: Vec<(f64, f64)> = (1..100).map(|step| (step as f64, 1.0 / step as f64)).collect();
//! let test = [(50.0, 0.04), (99.0, 0.03)];
//! let axes = Axes { title: "loss", x: "step", log_y: true, ..Axes::default() };
//! write_png(&path, &lines(&axes, &[("train", &train), ("test", &test)]))?;
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), wengert::Error>(())
//! ```

mod canvas;
mod heat_map;

pub use heat_map::heat_map;

use crate::shape::ensure;
use crate::tensor::Tensor;
use canvas::{Area, Drawn, FONT, INK, canvas, color};
use plotters::prelude::*;
use std::ops::Range;

/// What a chart says besides its data, and where its axes run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axes<'a> {
    /// Stands above.
    pub title: &'a str,
    /// What the horizontal axis counts.
    pub x: &'a str,
    /// What the vertical axis counts.
    pub y: &'a str,
    /// Whether equal distances along x are equal ratios; numbers that are not positive are left out then.
    pub log_x: bool,
    /// Whether equal distances along y are equal ratios.
    pub log_y: bool,
    /// From where to where x runs; by default as far as the data.
    pub x_range: Option<[f64; 2]>,
    /// From where to where y runs.
    pub y_range: Option<[f64; 2]>,
    /// Width and height in pixels; 800 x 500 by default.
    pub size: [usize; 2],
}

impl Default for Axes<'_> {
    fn default() -> Self {
        Axes { title: "", x: "", y: "", log_x: false, log_y: false, x_range: None, y_range: None, size: [800, 500] }
    }
}

/// A line for each series, a name and its points `(x, y)`; a name that is empty is not in the legend.
///
/// A point that is not finite, or not positive on a logarithmic axis, breaks the line.
///
/// # Panics
/// When a range of the axes is empty, or the size is below 100 pixels.
#[track_caller]
pub fn lines(axes: &Axes, series: &[(&str, &[(f64, f64)])]) -> Tensor {
    let series: Vec<_> = series.iter().map(|(name, points)| (*name, Marks::Line(scaled(axes, points)))).collect();
    draw(axes, &series)
}

/// Points in the plane, `[n, 2]`, in the colour of their class, `[n]`, with the classes' names: latent codes by digit.
///
/// Points that are not finite are left out. After ten classes the colours come again.
///
/// # Panics
/// When the shapes are others, a label is not a class, a range of the axes is empty, or the size is below 100 pixels.
#[track_caller]
pub fn scatter(axes: &Axes, points: &Tensor, labels: &Tensor<i64>, classes: &[impl AsRef<str>]) -> Tensor {
    let (shape, count) = (points.shape(), labels.numel());
    ensure(shape == [count, 2] && labels.rank() == 1, || {
        format!("scatter: {shape:?}, {:?}: expected points [n, 2] and labels [n]", labels.shape())
    });
    let mut groups = vec![Vec::new(); classes.len()];
    for (point, label) in points.to_vec().chunks(2).zip(labels.to_vec()) {
        let group = usize::try_from(label).ok().and_then(|label| groups.get_mut(label));
        ensure(group.is_some(), || {
            format!("scatter: {shape:?}: expected labels below {}, found {label}", classes.len())
        });
        group.into_iter().for_each(|group| group.push((f64::from(point[0]), f64::from(point[1]))));
    }
    let radius = if count > 500 { 2 } else { 4 };
    let marks = groups.iter().map(|points| Marks::Dots(scaled(axes, points), radius));
    draw(axes, &classes.iter().map(AsRef::as_ref).zip(marks).collect::<Vec<_>>())
}

/// How the samples of each series, a name and numbers, are distributed: densities in bars over `bins` equal parts of the
/// x axis, so that the bars of a series that is all in sight have area 1.
///
/// Numbers that are not finite are left out.
///
/// # Panics
/// When there is no bin, an axis is logarithmic, a range of the axes is empty, or the size is below 100 pixels.
#[track_caller]
pub fn histogram(axes: &Axes, series: &[(&str, &[f64])], bins: usize) -> Tensor {
    ensure(bins > 0, || "histogram: expected at least 1 bin, found 0".to_string());
    ensure(!axes.log_x && !axes.log_y, || "histogram: expected axes that are not logarithmic".to_string());
    let range = extent(series.iter().flat_map(|(_, samples)| samples.iter().copied()), axes.x_range, false);
    let width = (range.end - range.start) / bins as f64;
    let bars = |samples: &[f64]| {
        let mut counts = vec![0; bins];
        for x in samples.iter().filter(|&&x| range.start <= x && x <= range.end) {
            counts[(((x - range.start) / width) as usize).min(bins - 1)] += 1;
        }
        let density = |count| f64::from(count) / (samples.len() as f64 * width);
        let bar = |(bin, count)| [range.start + bin as f64 * width, density(count)];
        Marks::Bars(counts.into_iter().enumerate().filter(|&(_, count)| count > 0).map(bar).collect(), width)
    };
    let marks: Vec<_> = series.iter().map(|(name, samples)| (*name, bars(samples))).collect();
    draw(&Axes { x_range: Some([range.start, range.end]), ..*axes }, &marks)
}

/// What a series is drawn with.
enum Marks {
    Line(Vec<(f64, f64)>),
    /// With a radius in pixels.
    Dots(Vec<(f64, f64)>, u32),
    /// Left side and height of each, and the width of all.
    Bars(Vec<[f64; 2]>, f64),
}

impl Marks {
    /// The points that have to be in sight.
    fn points(&self) -> Vec<(f64, f64)> {
        match self {
            Marks::Line(points) | Marks::Dots(points, _) => points.iter().copied().filter(visible).collect(),
            Marks::Bars(bars, _) => bars.iter().flat_map(|&[left, height]| [(left, 0.0), (left, height)]).collect(),
        }
    }
}

/// Beyond this the distances between a chart's ticks are no numbers any more.
const LARGEST: f64 = 1e100;

fn visible(&(x, y): &(f64, f64)) -> bool {
    x.abs() < LARGEST && y.abs() < LARGEST
}

/// The points as they lie on the axes.
fn scaled(axes: &Axes, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let scale = |log: bool, x: f64| if log { x.log10() } else { x };
    points.iter().map(|&(x, y)| (scale(axes.log_x, x), scale(axes.log_y, y))).collect()
}

/// From where to where an axis runs: as given, or as far as the values do.
#[track_caller]
fn extent(values: impl Iterator<Item = f64>, given: Option<[f64; 2]>, log: bool) -> Range<f64> {
    if let Some([start, end]) = given {
        let on_axis = if log { [start.log10(), end.log10()] } else { [start, end] };
        ensure(on_axis[0] < on_axis[1] && on_axis.iter().all(|x| x.abs() < LARGEST), || {
            format!("Axes: expected a range of two numbers that rise, found {start} and {end}")
        });
        return on_axis[0]..on_axis[1];
    }
    let (start, end) = values
        .filter(|x| x.abs() < LARGEST)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(start, end), x| (start.min(x), end.max(x)));
    if start > end {
        return 0.0..1.0;
    }
    // Between numbers that are all but equal there is no room for ticks.
    let size = start.abs().max(end.abs());
    let margin = match end - start {
        width if width > 1e-6 * size => 0.02 * width,
        _ if size > 0.0 => 0.5 * size,
        _ => 0.5,
    };
    start - margin..end + margin
}

/// All series on common axes.
#[track_caller]
fn draw(axes: &Axes, series: &[(&str, Marks)]) -> Tensor {
    let points: Vec<(f64, f64)> = series.iter().flat_map(|(_, marks)| marks.points()).collect();
    let x = extent(points.iter().map(|point| point.0), axes.x_range, axes.log_x);
    let mut y = extent(points.iter().map(|point| point.1), axes.y_range, axes.log_y);
    if axes.y_range.is_none() && series.iter().any(|(_, marks)| matches!(marks, Marks::Bars(..))) {
        y.start = 0.0;
    }
    canvas(axes.size, |area| draw_on(area, axes, series, [x, y]))
}

fn draw_on(area: &Area, axes: &Axes, series: &[(&str, Marks)], [x, y]: [Range<f64>; 2]) -> Drawn {
    let [width, height] = [x.end - x.start, y.end - y.start];
    let mut chart = ChartBuilder::on(area)
        .caption(axes.title, (FONT, 20))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(65)
        .build_cartesian_2d(x, y)?;
    let labels = |log, size| move |value: &f64| tick(*value, log, size);
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&labels(axes.log_x, width))
        .y_label_formatter(&labels(axes.log_y, height))
        .label_style((FONT, 14))
        .light_line_style(WHITE)
        .draw()?;
    for (number, (name, marks)) in series.iter().enumerate() {
        let color = color(number);
        let drawn = match marks {
            Marks::Line(points) => {
                let parts = || points.split(|point| !visible(point)).filter(|part| !part.is_empty());
                let alone = parts().filter(|part| part.len() == 1);
                chart.draw_series(alone.map(|part| Circle::new(part[0], 2, color.filled())))?;
                chart.draw_series(parts().map(|part| PathElement::new(part, color.stroke_width(2))))?
            }
            Marks::Dots(points, radius) => {
                let points = points.iter().filter(|point| visible(point));
                chart.draw_series(points.map(|&point| Circle::new(point, *radius, color.filled())))?
            }
            Marks::Bars(bars, width) => {
                let corners = |&[left, height]: &[f64; 2]| [(left, 0.0), (left + width, height)];
                chart.draw_series(bars.iter().map(|bar| Rectangle::new(corners(bar), color.mix(0.5).filled())))?
            }
        };
        if !name.is_empty() {
            drawn.label(*name).legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 16, y + 4)], color.filled()));
        }
    }
    if series.iter().any(|(name, _)| !name.is_empty()) {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(INK)
            .label_font((FONT, 14))
            .draw()?;
    }
    Ok(())
}

/// A number at an axis of this size, without what rounding adds to it.
fn tick(value: f64, log: bool, size: f64) -> String {
    let value = if value.abs() < 1e-9 * size { 0.0 } else { value };
    let shown = if log { format!("{:.1e}", 10f64.powf(value)) } else { format!("{value:.5e}") };
    let shown: f64 = shown.parse().unwrap_or(value);
    if shown != 0.0 && !(1e-4..1e6).contains(&shown.abs()) { format!("{shown:e}") } else { format!("{shown}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pixels have the colour of a series.
    fn count(picture: &Tensor, series: usize) -> usize {
        let (RGBColor(r, g, b), pixels) = (color(series), picture.to_vec());
        let size = pixels.len() / 3;
        let is = |at: usize, channel: usize, value: u8| pixels[channel * size + at] == f32::from(value) / 255.0;
        (0..size).filter(|&at| is(at, 0, r) && is(at, 1, g) && is(at, 2, b)).count()
    }

    #[test]
    fn each_series_is_drawn_in_its_colour_and_named() {
        let axes = Axes { title: "loss", x: "step", y: "nats", size: [300, 200], ..Default::default() };
        let (down, up) = ([(0.0, 3.0), (10.0, 1.0)], [(0.0, 1.0), (10.0, 2.0)]);
        let two = lines(&axes, &[("train", &down), ("test", &up)]);
        assert_eq!(two.shape(), [3, 200, 300]);
        let nameless = lines(&axes, &[("", &down)]);
        // Beside the line a rectangle in the legend.
        assert!(count(&two, 0) > count(&nameless, 0) && count(&two, 1) > 100 && count(&nameless, 1) == 0);
        assert!(count(&nameless, 0) > 150);
    }

    #[test]
    fn a_point_that_is_no_number_breaks_the_line_and_no_data_still_draws_axes() {
        let axes = Axes { size: [300, 200], x_range: Some([0.0, 3.0]), ..Default::default() };
        let line = |y: [f64; 4]| count(&lines(&axes, &[("", &[0, 1, 2, 3].map(|i| (i as f64, y[i])))]), 0);
        let whole = line([0.0, 1.0, 0.5, 1.0]);
        assert!((1..whole).contains(&line([0.0, 1.0, f64::NAN, 1.0])));
        // A point alone is a dot.
        assert!(line([f64::NAN, 1.0, f64::NAN, f64::NAN]) > 0);
        let all = [f64::NAN, f64::INFINITY, -f64::MAX, f64::NAN];
        assert_eq!(line(all), 0);
        assert_eq!(count(&lines(&Axes::default(), &[]), 0), 0);
    }

    #[test]
    fn any_numbers_can_be_drawn() {
        for scale in [0.0, f64::MIN_POSITIVE, 1e-30, 1.0, 1e16, 1e99, 1e300] {
            for [first, second] in [[0.0, 1.0], [1.0, 1.0], [1.0, 1.0 + f64::EPSILON], [-1.0, 1.0]] {
                for log_y in [false, true] {
                    let axes = Axes { size: [120, 100], log_y, ..Default::default() };
                    lines(&axes, &[("x", &[(first * scale, second * scale), (second * scale, first * scale)])]);
                }
            }
        }
    }

    #[test]
    fn on_a_logarithmic_axis_a_geometric_series_is_straight() {
        let axes = Axes { size: [300, 200], log_y: true, ..Default::default() };
        let geometric: Vec<_> = (0..5).map(|i| (f64::from(i), 10f64.powi(-i))).collect();
        let straight: Vec<_> = (0..5).map(|i| (f64::from(i), f64::from(-i))).collect();
        let logarithmic = lines(&axes, &[("", &geometric)]);
        let linear = lines(&Axes { log_y: false, ..axes }, &[("", &straight)]);
        assert_eq!(count(&logarithmic, 0), count(&linear, 0));
        assert_eq!([tick(-1.0, true, 8.0), tick(0.5, true, 8.0), tick(-7.0, true, 8.0)], ["0.1", "3.2", "1e-7"]);
        assert_eq!([0.1 + 0.2, 2e3, -3e7, 7e-18].map(|x| tick(x, false, 0.5)), ["0.3", "2000", "-3e7", "0"]);
    }

    #[test]
    fn points_have_the_colour_of_their_class() {
        let axes = Axes { size: [300, 200], ..Default::default() };
        let points = Tensor::from([[0.0, 0.0], [1.0, 0.5], [f32::NAN, 0.0], [0.5, 1.0]]);
        let drawn = |labels: [i64; 4]| {
            let picture = scatter(&axes, &points, &Tensor::from(labels), &["a", "b"]);
            [count(&picture, 0), count(&picture, 1)]
        };
        let (even, most) = (drawn([0, 1, 1, 1]), drawn([0, 0, 1, 0]));
        assert!(even[1] > even[0] && most[0] > most[1] && most[1] > 0, "{even:?} {most:?}");
    }

    #[test]
    #[should_panic(expected = "scatter: [2, 2]: expected labels below 2, found 2")]
    fn a_label_that_is_no_class_panics() {
        scatter(&Axes::default(), &Tensor::zeros([2, 2]), &Tensor::from([1, 2]), &["a", "b"]);
    }

    #[test]
    fn a_histogram_shows_densities() {
        let axes =
            Axes { size: [400, 300], x_range: Some([0.0, 4.0]), y_range: Some([0.0, 1.0]), ..Default::default() };
        let ink = |samples: &[f64]| {
            let drawn = histogram(&axes, &[("", samples)], 4);
            let blank = histogram(&axes, &[("", &[])], 4);
            drawn.to_vec().iter().zip(blank.to_vec()).filter(|(a, b)| **a != *b).count() as f64
        };
        // All in one bin, or in four with a quarter each, and as many samples as one likes: the same area.
        let (one, four) = (ink(&[1.5; 10]), ink(&[0.5, 1.5, 2.5, 3.5, f64::NAN]));
        assert!((one / four - 1.0).abs() < 0.3, "{one} {four}");
    }

    #[test]
    #[should_panic(expected = "Axes: expected a range of two numbers that rise, found 1 and 1")]
    fn an_empty_range_panics() {
        lines(&Axes { x_range: Some([1.0, 1.0]), ..Default::default() }, &[]);
    }
}
