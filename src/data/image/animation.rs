//! GIF files that move.

use super::Bytes;
use crate::error::{Error, Result};
use crate::io::write_atomically;
use crate::shape::ensure;
use crate::tensor::Tensor;
use gif::{Encoder, Frame, Repeat};
use std::path::{Path, PathBuf};

/// What can be set of [`Animation::with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnimationOptions {
    /// Seconds that a picture stays, in hundredths; 0.2 by default.
    pub delay: f64,
    /// Whether it begins anew at the end; it does by default.
    pub repeat: bool,
}

impl Default for AnimationOptions {
    fn default() -> Self {
        AnimationOptions { delay: 0.2, repeat: true }
    }
}

/// Pictures that follow each other, as a GIF file: how samples become better from epoch to epoch.
///
/// A picture of at most 256 colours, as a grey one, keeps them.
///
/// ```
/// use wengert::Tensor;
/// use wengert::data::image::{Animation, grid};
/// # let path = std::env::temp_dir().join(format!("wengert-doc-animation-{}.gif", std::process::id()));
/// let mut animation = Animation::new(&path);
/// for epoch in 0..3 {
///     animation.add(&grid(&Tensor::rand([16, 1, 8, 8]), 4))?;
///     animation.save()?; // so that it can be watched while training goes on
/// }
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), wengert::Error>(())
/// ```
pub struct Animation {
    path: PathBuf,
    options: AnimationOptions,
    /// From the first picture on: its height and width, and the file so far.
    file: Option<([usize; 2], Encoder<Vec<u8>>)>,
}

impl Animation {
    /// Without a picture yet; nothing is written before [`Animation::save`].
    pub fn new(path: impl AsRef<Path>) -> Animation {
        Animation::with(path, AnimationOptions::default())
    }

    /// [`Animation::new`] with options.
    pub fn with(path: impl AsRef<Path>, options: AnimationOptions) -> Animation {
        Animation { path: path.as_ref().to_owned(), options, file: None }
    }

    /// Adds a picture, `[channels, height, width]` of 1 or 3 channels or `[height, width]`, with numbers from 0 to 1.
    ///
    /// # Errors
    /// When a number is NaN.
    ///
    /// # Panics
    /// When the shape is another one, the size is not the first picture's, or more than 65,535.
    #[track_caller]
    pub fn add(&mut self, picture: &Tensor) -> Result<()> {
        let shape = picture.shape();
        let Bytes { channels, height, width, bytes } = Bytes::of(picture, &self.path, "Animation::add")?;
        ensure(height.max(width) <= usize::from(u16::MAX), || {
            format!("Animation::add: {shape:?}: expected at most 65535 rows and columns")
        });
        let size = [height, width];
        if let Some((first, _)) = &self.file {
            ensure(*first == size, || {
                format!(
                    "Animation::add: {shape:?}: expected the first picture's height and width {first:?}, found {size:?}"
                )
            });
        }
        let rgb = if channels == 3 { bytes } else { bytes.into_iter().flat_map(|grey| [grey; 3]).collect() };
        let mut frame = Frame::from_rgb(width as u16, height as u16, &rgb);
        frame.delay = (self.options.delay * 100.0).round() as u16;
        self.encode(size, &frame).map_err(|e| Error::io(&self.path, "an animation", std::io::Error::other(e)))
    }

    fn encode(&mut self, size: [usize; 2], frame: &Frame) -> std::result::Result<(), gif::EncodingError> {
        let (_, encoder) = match &mut self.file {
            Some(file) => file,
            file => {
                let mut encoder = Encoder::new(Vec::new(), frame.width, frame.height, &[])?;
                if self.options.repeat {
                    encoder.set_repeat(Repeat::Infinite)?;
                }
                file.insert((size, encoder))
            }
        };
        encoder.write_frame(frame)
    }

    /// Writes what there is so far; the file is replaced as a whole. More pictures may be added afterwards.
    ///
    /// # Errors
    /// When there is no picture yet or the file cannot be written.
    pub fn save(&self) -> Result<()> {
        /// What ends a GIF file.
        const TRAILER: u8 = b';';
        let Some((_, encoder)) = &self.file else {
            return Err(Error::malformed(&self.path, None, "at least one picture", "none"));
        };
        write_atomically(&self.path, |file| {
            file.write_all(encoder.get_ref())?;
            file.write_all(&[TRAILER])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::test_dir;

    /// Delay and pixels, as RGB, of each frame.
    fn frames(path: &Path) -> (Repeat, Vec<(u16, Vec<u8>)>) {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(std::fs::File::open(path).unwrap()).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            frames.push((frame.delay, frame.buffer.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect()));
        }
        (decoder.repeat(), frames)
    }

    #[test]
    fn pictures_of_few_colours_are_kept_and_the_file_is_whole_after_each_save() {
        let path = test_dir("gif").join("x.gif");
        let grey = Tensor::from_fn([16, 16], |i| i as f32 / 255.0);
        let color = Tensor::from_fn([3, 16, 16], |i| (i % 7 == 0) as u8 as f32);
        let mut animation = Animation::with(&path, AnimationOptions { delay: 0.5, repeat: true });
        let expected_grey: Vec<u8> = (0..=255).flat_map(|i| [i; 3]).collect();
        animation.add(&grey).unwrap();
        animation.save().unwrap();
        assert_eq!(frames(&path), (Repeat::Infinite, vec![(50, expected_grey.clone())]));
        animation.add(&color).unwrap();
        animation.save().unwrap();
        let bytes = |i: usize| (0..3).map(move |c| if (c * 256 + i).is_multiple_of(7) { 255 } else { 0 });
        assert_eq!(frames(&path).1, vec![(50, expected_grey), (50, (0..256).flat_map(bytes).collect())]);
    }

    #[test]
    fn many_colours_come_close_and_without_repeat_it_plays_once() {
        let path = test_dir("gif-colours").join("x.gif");
        let picture = Tensor::from_fn([3, 20, 20], |i| (i * 11 % 256) as f32 / 255.0);
        let mut animation = Animation::with(&path, AnimationOptions { repeat: false, ..Default::default() });
        animation.add(&picture).unwrap();
        animation.save().unwrap();
        let (repeat, frames) = frames(&path);
        assert_eq!((repeat, frames[0].0), (Repeat::Finite(0), 20));
        let exact = Bytes::of(&picture, &path, "test").unwrap().bytes;
        let worst = exact.iter().zip(&frames[0].1).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst < 64, "{worst}");
    }

    #[test]
    fn no_picture_and_nan_are_errors() {
        let mut animation = Animation::new("never.gif");
        assert_eq!(animation.save().unwrap_err().to_string(), "never.gif: expected at least one picture, found none");
        assert_eq!(
            animation.add(&Tensor::from([[0.0, f32::NAN]])).unwrap_err().to_string(),
            "never.gif: expected numbers as pixels, found NaN in channel 0, row 0, column 1"
        );
    }

    #[test]
    #[should_panic(
        expected = "Animation::add: [1, 2, 2]: expected the first picture's height and width [2, 3], found [2, 2]"
    )]
    fn a_picture_of_another_size_panics() {
        let mut animation = Animation::new("never.gif");
        animation.add(&Tensor::zeros([2, 3])).unwrap();
        let _ = animation.add(&Tensor::zeros([1, 2, 2]));
    }
}
