//! Matrices as fields of colour.

use super::canvas::{Area, Drawn, FONT, INK, canvas, provide_font};
use crate::shape::{ensure, fail};
use crate::tensor::Tensor;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const MARGIN: i32 = 15;
const TITLE_HEIGHT: i32 = 30;
const GAP: i32 = 6;
/// Of the scale of colours.
const SCALE_WIDTH: i32 = 14;
/// Room for a number beside the scale.
const NUMBER_WIDTH: i32 = 60;

/// A matrix `[rows, columns]` as a field of colours from its least to its largest number, with a scale, and with a name for each
/// row and column or none: which words an attention layer looks at.
///
/// A number that is not finite is grey.
///
/// # Panics
/// When the shape is another one, a side is 0, or there are names but not one for each row or column.
#[track_caller]
pub fn heat_map(title: &str, matrix: &Tensor, rows: &[impl AsRef<str>], columns: &[impl AsRef<str>]) -> Tensor {
    provide_font();
    let rows: Vec<&str> = rows.iter().map(AsRef::as_ref).collect();
    let columns: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
    let &[height, width] = matrix.shape() else {
        fail(format!("heat_map: {:?}: expected [rows, columns]", matrix.shape()));
    };
    for (names, count, what) in [(&rows, height, "row"), (&columns, width, "column")] {
        ensure(count > 0 && (names.is_empty() || names.len() == count), || {
            format!("heat_map: {:?}: expected a name for each {what} or none, found {}", matrix.shape(), names.len())
        });
    }
    let cell = (600 / height.max(width)).clamp(2, 40) as i32;
    let font = 14.min(cell.max(8));
    let longest = |names: &[&str]| names.iter().map(|name| text_width(name, font)).max().unwrap_or(0);
    let map = Map {
        title,
        values: matrix.to_vec(),
        cell,
        font,
        left: MARGIN + longest(&rows) + GAP,
        top: MARGIN + TITLE_HEIGHT + longest(&columns) + GAP,
        size: [width as i32, height as i32],
        rows,
        columns,
    };
    let right = map.left + map.size[0] * cell + 2 * GAP + SCALE_WIDTH + NUMBER_WIDTH;
    let bottom = map.top + map.size[1] * cell + MARGIN;
    let right = right.max(2 * MARGIN + text_width(title, 20));
    canvas([right.max(100) as usize, bottom.max(100) as usize], |area| map.draw(area))
}

/// About how wide a text is, in pixels.
fn text_width(text: &str, font: i32) -> i32 {
    (FONT, font).into_font().box_size(text).map_or(0, |(width, _)| width as i32)
}

/// From few to much: white, blue, black; `share` from 0 to 1.
fn shade(share: f32) -> RGBColor {
    const STOPS: [[f32; 3]; 3] = [[247.0, 251.0, 255.0], [66.0, 146.0, 198.0], [8.0, 28.0, 70.0]];
    let place = share.clamp(0.0, 1.0) * 2.0;
    let (from, to, part) = if place < 1.0 { (STOPS[0], STOPS[1], place) } else { (STOPS[1], STOPS[2], place - 1.0) };
    let mixed = |i: usize| (from[i] + (to[i] - from[i]) * part).round() as u8;
    RGBColor(mixed(0), mixed(1), mixed(2))
}

struct Map<'a> {
    title: &'a str,
    values: Vec<f32>,
    rows: Vec<&'a str>,
    columns: Vec<&'a str>,
    /// Columns and rows.
    size: [i32; 2],
    /// Pixels of a side of a cell.
    cell: i32,
    font: i32,
    /// Where the first cell is.
    left: i32,
    top: i32,
}

impl Map<'_> {
    fn draw(&self, area: &Area) -> Drawn {
        let &Map { size: [width, height], cell, left, top, .. } = self;
        let finite = || self.values.iter().copied().filter(|x| x.is_finite());
        let (least, largest) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        // Halves, so that the difference of two large numbers is a number.
        let share =
            |x: f32| if largest > least { (x / 2.0 - least / 2.0) / (largest / 2.0 - least / 2.0) } else { 0.0 };
        for (at, &x) in (0..).zip(&self.values) {
            let (x0, y0) = (left + at % width * cell, top + at / width * cell);
            let color = if x.is_finite() { shade(share(x)) } else { RGBColor(200, 200, 200) };
            area.draw(&Rectangle::new([(x0, y0), (x0 + cell, y0 + cell)], color.filled()))?;
        }
        let (right, bottom) = (left + width * cell, top + height * cell);
        area.draw(&Rectangle::new([(left, top), (right, bottom)], INK))?;

        let text = |text: &str, font: i32, at: (i32, i32), pos: Pos, turn: FontTransform| {
            let style = (FONT, font).into_font().transform(turn).color(&BLACK).pos(pos);
            area.draw(&Text::new(text.to_string(), at, style))
        };
        let flat = FontTransform::None;
        text(self.title, 20, (MARGIN, MARGIN), Pos::new(HPos::Left, VPos::Top), flat.clone())?;
        for (i, name) in (0..).zip(&self.rows) {
            let at = (left - GAP, top + i * cell + cell / 2);
            text(name, self.font, at, Pos::new(HPos::Right, VPos::Center), flat.clone())?;
        }
        for (i, name) in (0..).zip(&self.columns) {
            let at = (left + i * cell + cell / 2, top - GAP);
            text(name, self.font, at, Pos::new(HPos::Left, VPos::Center), FontTransform::Rotate270)?;
        }

        let scale = right + 2 * GAP;
        for y in top..bottom {
            let color = shade((bottom - y) as f32 / (bottom - top) as f32);
            area.draw(&Rectangle::new([(scale, y), (scale + SCALE_WIDTH, y + 1)], color.filled()))?;
        }
        area.draw(&Rectangle::new([(scale, top), (scale + SCALE_WIDTH, bottom)], INK))?;
        for (x, y, pos) in [(largest, top, VPos::Top), (least, bottom, VPos::Bottom)] {
            if x.is_finite() {
                let at = (scale + SCALE_WIDTH + GAP, y);
                text(&super::tick(f64::from(x), false, 0.0), 12, at, Pos::new(HPos::Left, pos), flat.clone())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const NONE: &[&str] = &[];

    /// The colour in the middle of a cell, where cells are 40 pixels wide.
    fn cell(picture: &Tensor, row: usize, column: usize) -> [f32; 3] {
        let (top, left) = ((MARGIN + TITLE_HEIGHT + GAP) as usize, (MARGIN + GAP) as usize);
        [0, 1, 2].map(|channel| picture.get(&[channel, top + row * 40 + 20, left + column * 40 + 20]))
    }

    fn of(share: f32) -> [f32; 3] {
        let RGBColor(r, g, b) = shade(share);
        [r, g, b].map(|x| f32::from(x) / 255.0)
    }

    #[test]
    fn each_number_has_its_colour_in_its_row_and_column() {
        let matrix = Tensor::from([[0.0, 1.0, 2.0], [f32::NAN, 4.0, 3.0]]);
        let picture = heat_map("", &matrix, NONE, NONE);
        for (row, column, share) in [(0, 0, 0.0), (0, 1, 0.25), (0, 2, 0.5), (1, 1, 1.0), (1, 2, 0.75)] {
            assert_eq!(cell(&picture, row, column), of(share), "{row} {column}");
        }
        assert_eq!(cell(&picture, 1, 0), [200.0 / 255.0; 3]);
    }

    #[test]
    fn numbers_that_are_equal_or_huge_and_long_names_are_drawn() {
        assert_eq!(cell(&heat_map("", &Tensor::full([2, 2], 3.0), NONE, NONE), 1, 1), of(0.0));
        let huge = heat_map("", &Tensor::from([[f32::MIN, f32::MAX]]), NONE, NONE);
        assert_eq!([cell(&huge, 0, 0), cell(&huge, 0, 1)], [of(0.0), of(1.0)]);
        let plain = heat_map("", &Tensor::zeros([1, 2]), NONE, NONE);
        let named = heat_map("", &Tensor::zeros([1, 2]), &["a rather long name"], &["", "another name"]);
        assert!(named.size(2) > plain.size(2) + 50 && named.size(1) > plain.size(1) + 50);
    }

    #[test]
    #[should_panic(expected = "heat_map: [2, 3]: expected a name for each column or none, found 2")]
    fn a_missing_name_panics() {
        heat_map("", &Tensor::zeros([2, 3]), &["a", "b"], &["a", "b"]);
    }
}
