//! Pictures as PNG.

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::path::Path;
use wengert::Error;
use wengert::data::LabelledImages;

/// A line through the points.
pub fn curve(path: &Path, title: &str, x_name: &str, points: &[(f64, f64)]) -> Result<(), Error> {
    let (size, font) = ((800, 500), fonts());
    let right = points.last().map_or(1.0, |point| point.0.max(1.0));
    let top = points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let mut pixels = vec![0; size.0 * size.1 * 3];
    let draw = |area: DrawingArea<BitMapBackend, plotters::coord::Shift>| -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (font, 20))
            .margin(15)
            .x_label_area_size(40)
            .y_label_area_size(55)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart.configure_mesh().x_desc(x_name).label_style((font, 14)).light_line_style(WHITE).draw()?;
        chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE))?;
        area.present()?;
        Ok(())
    };
    let area = BitMapBackend::with_buffer(&mut pixels, (size.0 as u32, size.1 as u32)).into_drawing_area();
    draw(area).map_err(|e| Error::io(path, "a plot", std::io::Error::other(e.to_string())))?;
    png(path, size, png::ColorType::Rgb, &pixels)
}

/// The first hundred images whose prediction is not their label, in rows of ten, ink on white.
pub fn misclassified(path: &Path, images: &LabelledImages, predictions: &[u8]) -> Result<(), Error> {
    let wrong: Vec<usize> = (0..images.len()).filter(|&i| images.labels[i] != predictions[i]).take(100).collect();
    let (across, gap) = (10, 2);
    let (cell_width, cell_height) = (images.width + gap, images.height + gap);
    let size = (across * cell_width + gap, wrong.len().div_ceil(across).max(1) * cell_height + gap);
    let mut pixels = vec![255; size.0 * size.1];
    for (place, &i) in wrong.iter().enumerate() {
        let (left, top) = (gap + place % across * cell_width, gap + place / across * cell_height);
        for (y, row) in images.image(i).chunks(images.width).enumerate() {
            let line = &mut pixels[(top + y) * size.0 + left..][..images.width];
            line.iter_mut().zip(row).for_each(|(to, ink)| *to = 255 - ink);
        }
    }
    png(path, size, png::ColorType::Grayscale, &pixels)
}

/// A font of our own, so that the picture is the same on every machine.
fn fonts() -> &'static str {
    const NAME: &str = "DejaVu Sans";
    // Registered twice it is the same font.
    let _ = register_font(NAME, FontStyle::Normal, dejavu::sans::regular());
    NAME
}

fn png(path: &Path, (width, height): (usize, usize), color: png::ColorType, pixels: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "a folder for pictures", e))?;
    }
    wengert::io::write_atomically(path, |file| {
        let mut encoder = png::Encoder::new(file, width as u32, height as u32);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(pixels).map_err(Into::into)
    })
}
