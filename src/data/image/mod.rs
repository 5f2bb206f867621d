//! Pictures as tensors, and as PNG and GIF files. With feature `image`.
//!
//! A picture is a tensor `[channels, height, width]`, one channel for grey or three for red, green and blue, from 0 (dark) to 1
//! (bright); `[height, width]` is grey too. So what a network makes, what [`grid`] puts together and what
//! [`plot`](crate::data::plot) draws is written alike.
//!
//! ```
//! use wengert::Tensor;
//! use wengert::data::image::{grid, read_png, write_png};
//! # let path = std::env::temp_dir().join(format!("wengert-doc-image-{}.png", std::process::id()));
//! let digits = Tensor::rand([10, 1, 28, 28]);
//! write_png(&path, &grid(&digits, 5))?; // two rows of five
//! assert_eq!(read_png(&path)?.shape(), [1, 2 + 2 * 30, 2 + 5 * 30]);
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), wengert::Error>(())
//! ```

mod animation;
mod png;

pub use animation::{Animation, AnimationOptions};
pub use png::{read_png, write_png};

use crate::error::{Error, Result};
use crate::shape::{ensure, fail};
use crate::tensor::Tensor;
use std::path::Path;

/// What can be set of [`grid_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridOptions {
    /// Images in a row; 8 by default.
    pub columns: usize,
    /// Pixels around each image; 2 by default.
    pub gap: usize,
    /// What stands there; 0, dark, by default.
    pub fill: f32,
    /// The numbers that become 0 and 1; 0 and 1 by default. `[-1.0, 1.0]` for images from a `tanh`.
    pub range: [f32; 2],
}

impl Default for GridOptions {
    fn default() -> Self {
        GridOptions { columns: 8, gap: 2, fill: 0.0, range: [0.0, 1.0] }
    }
}

/// Images `[n, channels, height, width]` side by side as one picture, `columns` in a row.
///
/// # Panics
/// When the shape is another one, or `columns` is 0.
#[track_caller]
pub fn grid(images: &Tensor, columns: usize) -> Tensor {
    grid_with(images, GridOptions { columns, ..GridOptions::default() })
}

/// [`grid`] with options, as torchvision's `make_grid`.
///
/// # Panics
/// When the shape is not `[n, channels, height, width]`, `columns` is 0 or the range is empty.
#[track_caller]
pub fn grid_with(images: &Tensor, options: GridOptions) -> Tensor {
    let GridOptions { columns, gap, fill, range: [dark, bright] } = options;
    let &[count, channels, height, width] = images.shape() else {
        fail(format!("grid: {:?}: expected [n, channels, height, width]", images.shape()));
    };
    ensure(columns > 0, || format!("grid: {:?}: expected at least 1 column, found 0", images.shape()));
    ensure(dark < bright, || {
        format!("grid: {:?}: expected a range of two numbers that rise, found {dark} and {bright}", images.shape())
    });
    let (across, down) = (columns.min(count), count.div_ceil(columns));
    let (cell_height, cell_width) = (height + gap, width + gap);
    let [rows, row] = [gap + down * cell_height, gap + across * cell_width];
    let mut pixels = vec![fill; channels * rows * row];
    let packed = images.packed();
    for (line, from) in packed.elements().chunks(width.max(1)).enumerate() {
        let (y, channel, image) = (line % height, line / height % channels, line / height / channels);
        let (top, left) = (gap + image / columns * cell_height, gap + image % columns * cell_width);
        let to = &mut pixels[(channel * rows + top + y) * row + left..][..width];
        to.iter_mut().zip(from).for_each(|(to, x)| *to = (x - dark) / (bright - dark));
    }
    Tensor::from_vec(pixels, [channels, rows, row])
}

/// A picture in bytes, pixel after pixel.
struct Bytes {
    channels: usize,
    height: usize,
    width: usize,
    /// `[height, width, channels]`.
    bytes: Vec<u8>,
}

impl Bytes {
    /// Of a picture that goes to this file; what is outside 0 to 1 becomes dark or bright, and NaN is an error.
    #[track_caller]
    fn of(picture: &Tensor, path: &Path, name: &str) -> Result<Bytes> {
        let (channels, height, width) = match *picture.shape() {
            [height, width] => (1, height, width),
            [channels @ (1 | 3), height, width] => (channels, height, width),
            _ => fail(format!(
                "{name}: {:?}: expected a picture [height, width] or [channels, height, width] of 1 or 3 channels",
                picture.shape()
            )),
        };
        ensure(height > 0 && width > 0, || format!("{name}: {:?}: expected at least one pixel", picture.shape()));
        let packed = picture.packed();
        let (from, size) = (packed.elements(), height * width);
        if let Some(at) = from.iter().position(|x| x.is_nan()) {
            let found = format!("NaN in channel {}, row {}, column {}", at / size, at % size / width, at % width);
            return Err(Error::malformed(path, None, "numbers as pixels", found));
        }
        let mut bytes = vec![0; from.len()];
        for (channel, from) in from.chunks(size).enumerate() {
            let to = bytes[channel..].iter_mut().step_by(channels);
            to.zip(from).for_each(|(to, x)| *to = (x.clamp(0.0, 1.0) * 255.0).round() as u8);
        }
        Ok(Bytes { channels, height, width, bytes })
    }

    /// The picture, `[channels, height, width]`.
    fn tensor(&self) -> Tensor {
        let &Bytes { channels, height, width, ref bytes } = self;
        let size = height * width;
        Tensor::from_fn([channels, height, width], |at| f32::from(bytes[at % size * channels + at / size]) / 255.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    /// `[4, 2, 2, 3]`, each number different.
    fn images() -> Tensor {
        Tensor::from_fn([4, 2, 2, 3], |i| i as f32)
    }

    #[test]
    fn a_grid_holds_each_image_in_its_place_and_the_gaps_between() {
        let options = GridOptions { columns: 3, gap: 1, fill: -1.0, ..Default::default() };
        let (images, grid) = (images(), grid_with(&images(), options));
        assert_eq!(grid.shape(), [2, 1 + 2 * 3, 1 + 3 * 4]);
        for image in 0..4 {
            let (top, left) = (1 + image / 3 * 3, 1 + image % 3 * 4);
            let cell = grid.narrow(1, top, 2).narrow(2, left, 3);
            assert_eq!(cell.to_vec(), images.i(image as isize).to_vec());
        }
        let drawn = grid.ne_scalar(-1.0).to_vec().iter().filter(|&&drawn| drawn).count();
        assert_eq!(drawn, images.numel());
    }

    #[test]
    fn a_grid_of_a_view_is_that_of_its_copy_and_fewer_images_than_columns_make_it_narrower() {
        let turned = images().transpose(2, 3);
        assert_eq!(grid(&turned, 8).to_vec(), grid(&turned.contiguous(), 8).to_vec());
        assert_eq!(grid(&turned, 8).shape(), [2, 2 + 5, 2 + 4 * 4]);
        assert_eq!(grid(&Tensor::zeros([0, 1, 2, 2]), 8).shape(), [1, 2, 2]);
        assert_eq!(grid(&Tensor::zeros([2, 1, 0, 3]), 8).shape(), [1, 4, 12]);
    }

    #[test]
    fn the_range_becomes_0_to_1() {
        let x = Tensor::from_vec(vec![-1.0, 0.0, 3.0], [1, 1, 1, 3]);
        let options = GridOptions { gap: 0, range: [-1.0, 3.0], ..Default::default() };
        assert_eq!(grid_with(&x, options).to_vec(), [0.0, 0.25, 1.0]);
    }

    #[test]
    fn what_is_no_batch_of_images_panics_with_its_shape() {
        let message = |f: fn()| *catch_unwind(f).unwrap_err().downcast::<String>().unwrap();
        let found = message(|| drop(grid(&Tensor::zeros([28, 28]), 8)));
        assert_eq!(found, "grid: [28, 28]: expected [n, channels, height, width]");
        let found = message(|| drop(grid(&Tensor::zeros([1, 1, 28, 28]), 0)));
        assert_eq!(found, "grid: [1, 1, 28, 28]: expected at least 1 column, found 0");
        let found = message(|| {
            let options = GridOptions { range: [1.0, f32::NAN], ..Default::default() };
            drop(grid_with(&Tensor::zeros([1, 1, 28, 28]), options));
        });
        assert_eq!(found, "grid: [1, 1, 28, 28]: expected a range of two numbers that rise, found 1 and NaN");
    }
}
