//! PNG files.

use super::Bytes;
use crate::error::{Error, Result};
use crate::io::{open, write_atomically};
use crate::tensor::Tensor;
use png::{BitDepth, ColorType, Decoder, Encoder, Transformations};
use std::io::BufReader;
use std::path::Path;

const WHAT: &str = "a PNG file";
/// Deflate cannot expand more: a match of 258 bytes takes two bits at least.
const DEFLATE_EXPANSION: u64 = 1032;

/// Writes a picture, `[channels, height, width]` of 1 or 3 channels or `[height, width]`, as PNG with 8 bits for a number; the
/// file is replaced as a whole.
///
/// Numbers below 0 or above 1 are written as 0 or 1.
///
/// # Errors
/// When a number is NaN or the file cannot be written.
///
/// # Panics
/// When the shape is another one.
#[track_caller]
pub fn write_png(path: impl AsRef<Path>, picture: &Tensor) -> Result<()> {
    let path = path.as_ref();
    let picture = Bytes::of(picture, path, "write_png")?;
    write_atomically(path, |file| {
        let mut encoder = Encoder::new(file, picture.width as u32, picture.height as u32);
        encoder.set_color(if picture.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
        encoder.set_depth(BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&picture.bytes)?;
        writer.finish().map_err(Into::into)
    })
}

/// Reads a PNG file as a picture `[channels, height, width]` with numbers from 0 to 1: 1 channel where it is grey, 3 where it
/// is coloured.
///
/// Palettes are looked up; 16 bits for a number are cut to 8.
///
/// # Errors
/// When the file is missing, is not an intact PNG file, or has transparent pixels.
pub fn read_png(path: impl AsRef<Path>) -> Result<Tensor> {
    read(path.as_ref())
}

fn read(path: &Path) -> Result<Tensor> {
    let broken = |e| Error::malformed(path, None, WHAT, e);
    let (file, length) = open(path, WHAT)?;
    let mut decoder = Decoder::new(BufReader::new(file));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // The header may claim any size: no memory is asked for that the file could not fill.
    let header = decoder.read_header_info().map_err(broken)?;
    let claimed = (header.raw_row_length() as u64).checked_mul(u64::from(header.height));
    if claimed.is_none_or(|claimed| claimed > length.saturating_mul(DEFLATE_EXPANSION)) {
        let expected = format!("{} x {} pixels, as the header claims", header.width, header.height);
        return Err(Error::malformed(path, None, expected, format!("a file of {length} bytes")));
    }
    let mut reader = decoder.read_info().map_err(broken)?;
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::Rgb => 3,
        other => return Err(Error::malformed(path, None, "a grey or RGB picture", format!("{other:?}"))),
    };
    let mut bytes = vec![0; reader.output_buffer_size().expect("checked by read_info")];
    let frame = reader.next_frame(&mut bytes).map_err(broken)?;
    reader.finish().map_err(broken)?;
    Ok(Bytes { channels, height: frame.height as usize, width: frame.width as usize, bytes }.tensor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_dir;

    #[test]
    fn what_was_written_is_read_again() {
        let dir = test_dir("png");
        for (name, shape) in [("grey", [1, 5, 7]), ("rgb", [3, 5, 7])] {
            let picture = Tensor::from_fn(shape, |i| ((i * 37) % 256) as f32 / 255.0);
            write_png(dir.join(name), &picture.transpose(1, 2)).unwrap();
            let read = read_png(dir.join(name)).unwrap();
            assert_eq!(read.shape(), [shape[0], 7, 5]);
            assert_eq!(read.to_vec(), picture.transpose(1, 2).to_vec());
        }
        write_png(dir.join("flat"), &Tensor::from([[-0.5_f32, 0.5], [1.5, f32::INFINITY]])).unwrap();
        assert_eq!(read_png(dir.join("flat")).unwrap().to_vec(), [0.0, 128.0 / 255.0, 1.0, 1.0]);
    }

    #[test]
    fn other_depths_palettes_and_interlaced_files_are_read_and_transparent_ones_are_not() {
        let dir = test_dir("png-kinds");
        let file = |name: &str, color, depth, palette: &[u8], data: &[u8]| {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(color);
            encoder.set_depth(depth);
            if !palette.is_empty() {
                encoder.set_palette(palette);
            }
            encoder.write_header().unwrap().write_image_data(data).unwrap();
            std::fs::write(dir.join(name), bytes).unwrap();
            read_png(dir.join(name))
        };
        let bits = file("bits", ColorType::Grayscale, BitDepth::One, &[], &[0b0100_0000]).unwrap();
        assert_eq!(bits.to_vec(), [0.0, 1.0]);
        let wide = file("wide", ColorType::Grayscale, BitDepth::Sixteen, &[], &[51, 9, 255, 255]).unwrap();
        assert_eq!(wide.to_vec(), [0.2, 1.0]);
        let palette = file("palette", ColorType::Indexed, BitDepth::Eight, &[0, 0, 255, 255, 0, 0], &[1, 0]).unwrap();
        assert_eq!((palette.shape(), palette.to_vec()), (&[3, 1, 2][..], vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0]));
        let clear = file("clear", ColorType::Rgba, BitDepth::Eight, &[], &[0; 8]).unwrap_err().to_string();
        assert!(clear.ends_with("clear: expected a grey or RGB picture, found Rgba"), "{clear}");
    }

    #[test]
    fn a_nan_is_an_error_that_says_where_and_the_old_file_stays() {
        let path = test_dir("png-nan").join("x.png");
        write_png(&path, &Tensor::zeros([1, 1])).unwrap();
        let mut pixels = vec![0.0; 3 * 4 * 5];
        pixels[2 * 20 + 3 * 5 + 1] = f32::NAN;
        let error = write_png(&path, &Tensor::from_vec(pixels, [3, 4, 5])).unwrap_err().to_string();
        assert!(
            error.ends_with("x.png: expected numbers as pixels, found NaN in channel 2, row 3, column 1"),
            "{error}"
        );
        assert_eq!(read_png(&path).unwrap().shape(), [1, 1, 1]);
    }

    #[test]
    #[should_panic(
        expected = "write_png: [28, 28, 3]: expected a picture [height, width] or [channels, height, width]"
    )]
    fn channels_behind_the_pixels_panic() {
        let _ = write_png("never", &Tensor::zeros([28, 28, 3]));
    }

    #[test]
    #[should_panic(expected = "write_png: [1, 0, 28]: expected at least one pixel")]
    fn no_pixels_panic() {
        let _ = write_png("never", &Tensor::zeros([1, 0, 28]));
    }
}
