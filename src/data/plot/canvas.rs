//! What all charts are drawn on and with.

use crate::shape::ensure;
use crate::tensor::Tensor;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

pub(super) const FONT: &str = "DejaVu Sans";
pub(super) const INK: RGBColor = RGBColor(64, 64, 64);

/// The colour of a series or class.
pub(super) fn color(number: usize) -> RGBColor {
    const COLORS: [[u8; 3]; 10] = [
        [31, 119, 180],
        [255, 127, 14],
        [44, 160, 44],
        [214, 39, 40],
        [148, 103, 189],
        [140, 86, 75],
        [227, 119, 194],
        [127, 127, 127],
        [188, 189, 34],
        [23, 190, 207],
    ];
    let [r, g, b] = COLORS[number % COLORS.len()];
    RGBColor(r, g, b)
}

/// Makes [`FONT`] known, without which no text has a size.
pub(super) fn provide_font() {
    // Registered twice it is the same font.
    let _ = register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
}

/// What `draw` draws on a white picture of this width and height, as `[3, height, width]`.
#[track_caller]
pub(super) fn canvas([width, height]: [usize; 2], draw: impl FnOnce(&Area) -> Drawn) -> Tensor {
    ensure(width.min(height) >= 100, || {
        format!("plot: {width} x {height}: expected a picture of at least 100 x 100 pixels")
    });
    provide_font();
    let mut pixels = vec![0; width * height * 3];
    let area = BitMapBackend::with_buffer(&mut pixels, (width as u32, height as u32)).into_drawing_area();
    let drawn = area.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&area)).and_then(|()| Ok(area.present()?));
    drawn.expect("nothing fails that draws into memory");
    drop(area);
    let size = width * height;
    Tensor::from_fn([3, height, width], |at| f32::from(pixels[at % size * 3 + at / size]) / 255.0)
}
