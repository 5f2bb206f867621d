//! Labelled images, and MNIST as its four IDX files.

use super::idx::{Idx, read_idx};
use crate::error::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};

/// Grey images of one size with a label each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledImages {
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// The images one after the other, rows from the top: `[len, height, width]`; 0 is paper, 255 is ink.
    pub pixels: Vec<u8>,
    /// The label of each image: `[len]`.
    pub labels: Vec<u8>,
}

/// MNIST: images of handwritten digits, 28 x 28, in a training part of 60,000 and a test part of 10,000.
///
/// LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mnist {
    /// The part to train on.
    pub train: LabelledImages,
    /// The part to test on.
    pub test: LabelledImages,
}

const CLASSES: u8 = 10;

impl LabelledImages {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of image `index`: `[height, width]`.
    ///
    /// # Panics
    /// When there is no such image.
    #[track_caller]
    pub fn image(&self, index: usize) -> &[u8] {
        assert!(index < self.len(), "image: expected an index below {}, found {index}", self.len());
        let size = self.height * self.width;
        &self.pixels[index * size..][..size]
    }

    /// Keeps the first `len` images.
    pub fn truncate(&mut self, len: usize) {
        self.labels.truncate(len);
        self.pixels.truncate(len * self.height * self.width);
    }

    /// Reads an IDX file of images, `[len, height, width]`, and one of their labels, `[len]`, each 0 to 9.
    ///
    /// # Errors
    /// When [`read_idx`] fails on one of them, a rank is wrong, there is not one label for each image, or a label is
    /// above 9.
    pub fn load(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        let (images_path, labels_path) = (images.as_ref(), labels.as_ref());
        let (images, labels) = (read_idx(images_path)?, read_idx(labels_path)?);
        let &[count, height, width] = images.shape.as_slice() else {
            return Err(wrong_rank(images_path, "3 dimensions: images, rows, columns", &images));
        };
        let &[label_count] = labels.shape.as_slice() else {
            return Err(wrong_rank(labels_path, "1 dimension: labels", &labels));
        };
        if label_count != count {
            let expected = format!("{count} labels (as many as images in {})", images_path.display());
            return Err(Error::malformed(labels_path, 4, expected, label_count));
        }
        if let Some(index) = labels.bytes.iter().position(|&label| label >= CLASSES) {
            let header = 8;
            let found = labels.bytes[index];
            return Err(Error::malformed(labels_path, header + index as u64, "a label from 0 to 9", found));
        }
        Ok(LabelledImages { height, width, pixels: images.bytes, labels: labels.bytes })
    }
}

impl Mnist {
    /// Reads MNIST's four files from a folder, each plain or gzipped, under either of the names in use:
    /// `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`,
    /// `t10k-labels-idx1-ubyte`. Data sets made to replace MNIST, such as Fashion-MNIST, have the same names.
    ///
    /// # Errors
    /// When a file is missing or [`LabelledImages::load`] fails, or when training and test images differ in size.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let part = |part: &str| -> Result<(PathBuf, LabelledImages)> {
            let images = find(dir, &format!("{part}-images"), 3)?;
            let labels = find(dir, &format!("{part}-labels"), 1)?;
            let loaded = LabelledImages::load(&images, labels)?;
            Ok((images, loaded))
        };
        let (_, train) = part("train")?;
        let (test_path, test) = part("t10k")?;
        if (train.height, train.width) != (test.height, test.width) {
            let expected = format!("{} x {} pixels, as in the training images", train.height, train.width);
            return Err(Error::malformed(test_path, 8, expected, format!("{} x {}", test.height, test.width)));
        }
        Ok(Mnist { train, test })
    }
}

/// The first file in `dir` with one of the spellings of an MNIST file's name.
fn find(dir: &Path, stem: &str, rank: usize) -> Result<PathBuf> {
    let names = ["-", "."].map(|mark| ["", ".gz"].map(|end| dir.join(format!("{stem}{mark}idx{rank}-ubyte{end}"))));
    names.as_flattened().iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let expected =
            format!("MNIST's {stem} (put the IDX file there, plain or with .gz, or as {stem}.idx{rank}-ubyte)");
        Error::io(&names[0][0], expected, io::Error::new(io::ErrorKind::NotFound, "no such file"))
    })
}

fn wrong_rank(path: &Path, expected: &str, found: &Idx) -> Error {
    Error::malformed(path, 3, expected, format!("{} with shape {:?}", found.shape.len(), found.shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{test_dir, write_idx};

    /// A folder with a small MNIST in it: 3 training images and 2 test images of 2 x 4 pixels.
    fn small_mnist(test: &str, name: impl Fn(&str, usize) -> String) -> PathBuf {
        let dir = test_dir(test);
        let pixels: Vec<u8> = (0..24).collect();
        write_idx(dir.join(name("train-images", 3)), &[3, 2, 4], &pixels).unwrap();
        write_idx(dir.join(name("train-labels", 1)), &[3], &[7, 0, 9]).unwrap();
        write_idx(dir.join(name("t10k-images", 3)), &[2, 2, 4], &pixels[8..]).unwrap();
        write_idx(dir.join(name("t10k-labels", 1)), &[2], &[1, 2]).unwrap();
        dir
    }

    fn dashed(stem: &str, rank: usize) -> String {
        format!("{stem}-idx{rank}-ubyte")
    }

    fn message(dir: &Path) -> String {
        let error = Mnist::load(dir).unwrap_err().to_string();
        error.replace(&format!("{}{}", dir.display(), std::path::MAIN_SEPARATOR), "")
    }

    #[test]
    fn mnist_loads_under_every_spelling() {
        let spellings: [fn(&str, usize) -> String; 4] = [
            dashed,
            |stem, rank| format!("{stem}-idx{rank}-ubyte.gz"),
            |stem, rank| format!("{stem}.idx{rank}-ubyte"),
            |stem, rank| format!("{stem}.idx{rank}-ubyte.gz"),
        ];
        for (i, spelling) in spellings.into_iter().enumerate() {
            let dir = small_mnist(&format!("spelling-{i}"), spelling);
            let mnist = Mnist::load(&dir).unwrap();
            assert_eq!((mnist.train.len(), mnist.test.len()), (3, 2));
            assert_eq!((mnist.train.height, mnist.train.width), (2, 4));
            assert_eq!(mnist.train.labels, [7, 0, 9]);
            assert_eq!(mnist.train.image(2), [16, 17, 18, 19, 20, 21, 22, 23]);
            assert_eq!(mnist.test.image(0), [8, 9, 10, 11, 12, 13, 14, 15]);
        }
    }

    #[test]
    fn a_missing_file_is_named_with_what_belongs_there() {
        let dir = small_mnist("missing", dashed);
        std::fs::remove_file(dir.join("t10k-labels-idx1-ubyte")).unwrap();
        assert_eq!(
            message(&dir),
            "t10k-labels-idx1-ubyte: expected MNIST's t10k-labels (put the IDX file there, plain or with .gz, or as \
             t10k-labels.idx1-ubyte), found: no such file"
        );
        let error = Mnist::load(dir.join("nowhere")).unwrap_err().to_string();
        let tried = dir.join("nowhere").join("train-images-idx3-ubyte");
        assert!(error.starts_with(&tried.display().to_string()), "{error}");
    }

    #[test]
    fn labels_that_do_not_match_the_images_are_refused() {
        let dir = small_mnist("count", dashed);
        write_idx(dir.join("train-labels-idx1-ubyte"), &[2], &[1, 2]).unwrap();
        assert_eq!(
            message(&dir),
            "train-labels-idx1-ubyte: at byte 4: expected 3 labels (as many as images in train-images-idx3-ubyte), found 2"
        );
        write_idx(dir.join("train-labels-idx1-ubyte"), &[3], &[1, 2, 10]).unwrap();
        assert_eq!(message(&dir), "train-labels-idx1-ubyte: at byte 10: expected a label from 0 to 9, found 10");
    }

    #[test]
    fn files_of_the_wrong_rank_or_size_are_refused() {
        let dir = small_mnist("rank", dashed);
        write_idx(dir.join("t10k-labels-idx1-ubyte"), &[2, 1], &[1, 2]).unwrap();
        assert_eq!(
            message(&dir),
            "t10k-labels-idx1-ubyte: at byte 3: expected 1 dimension: labels, found 2 with shape [2, 1]"
        );
        write_idx(dir.join("train-images-idx3-ubyte"), &[24], &[0; 24]).unwrap();
        assert_eq!(
            message(&dir),
            "train-images-idx3-ubyte: at byte 3: expected 3 dimensions: images, rows, columns, found 1 with shape [24]"
        );
        let dir = small_mnist("size", dashed);
        write_idx(dir.join("t10k-images-idx3-ubyte"), &[2, 4, 2], &[0; 16]).unwrap();
        assert_eq!(
            message(&dir),
            "t10k-images-idx3-ubyte: at byte 8: expected 2 x 4 pixels, as in the training images, found 4 x 2"
        );
    }

    #[test]
    #[should_panic(expected = "image: expected an index below 3, found 3")]
    fn an_image_that_is_not_there_panics() {
        Mnist::load(small_mnist("index", dashed)).unwrap().train.image(3);
    }
}
