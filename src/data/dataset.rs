//! Data in memory that batches are gathered from.

use super::loader::Batches;
use super::mnist::LabelledImages;
use crate::element::Element;
use crate::kernels::elementwise::{self, View};
use crate::kernels::parallel::GRAIN;
use crate::rng::Rng;
use crate::shape::ensure;
use crate::tensor::Tensor;
use std::sync::Arc;

/// Samples that are drawn by number, many at a time.
///
/// Implemented for [`LabelledImages`], for a tensor (its first dimension counts the samples) and for pairs and triples of
/// tensors. Your own data needs two methods:
///
/// ```
/// use wengert::{Tensor, data::Dataset};
///
/// /// The numbers below 1000 and their squares.
/// struct Squares;
///
/// impl Dataset for Squares {
///     type Batch = (Tensor, Tensor);
///     fn len(&self) -> usize {
///         1000
///     }
///     fn batch(&self, indices: &[usize]) -> Self::Batch {
///         let x = Tensor::from_fn([indices.len(), 1], |i| indices[i] as f32);
///         let y = x.square();
///         (x, y)
///     }
/// }
///
/// assert_eq!(Squares.batch(&[3, 7]).1.to_vec(), [9.0, 49.0]);
/// ```
pub trait Dataset: Send + Sync {
    /// What a batch is: the samples' tensors, stacked along a new or first dimension.
    type Batch: Send + 'static;

    /// How many samples there are.
    fn len(&self) -> usize;

    /// The samples with these numbers, in this order; a number may stand twice.
    ///
    /// # Panics
    /// When a number is not below [`Dataset::len`].
    fn batch(&self, indices: &[usize]) -> Self::Batch;

    /// Whether there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One pass over all samples in random order, `batch_size` at a time; the last batch has what is left.
    ///
    /// ```
    /// use wengert::{Rng, Tensor, data::Dataset};
    /// let data = (Tensor::randn([100, 3]), Tensor::<i64>::arange(0, 100));
    /// let mut rng = Rng::new(7);
    /// for (x, y) in data.batches(64, &mut rng) {
    ///     assert_eq!(x.shape()[0], y.numel());
    /// }
    /// ```
    ///
    /// [`DataLoader`](super::DataLoader) does more: batches made ahead, an order that a resumed run finds again.
    ///
    /// # Panics
    /// When `batch_size` is 0.
    #[track_caller]
    fn batches(&self, batch_size: usize, rng: &mut Rng) -> Batches<'_, Self> {
        Batches::new(self, batch_size, rng)
    }

    /// The same samples with `f` of every batch: to normalise, to augment, to leave out the labels.
    ///
    /// It runs where the batch is made: under [`DataLoader::prefetch`](super::DataLoader::prefetch), beside the training.
    ///
    /// ```
    /// use wengert::{Tensor, data::Dataset};
    /// let data = (Tensor::full([100, 3], 0.5), Tensor::<i64>::arange(0, 100));
    /// // MNIST's mean and standard deviation.
    /// let normalised = data.transform(|(x, y)| ((x - 0.1307) / 0.3081, y));
    /// assert!((normalised.batch(&[7]).0.to_vec()[0] - 1.1986_f32).abs() < 1e-4);
    /// ```
    fn transform<B: Send + 'static, F: Fn(Self::Batch) -> B + Send + Sync>(self, f: F) -> Transformed<Self, F>
    where
        Self: Sized,
    {
        Transformed { dataset: self, f }
    }
}

/// A data set with a function of every batch: [`Dataset::transform`].
#[derive(Clone, Copy, Debug)]
pub struct Transformed<D, F> {
    dataset: D,
    f: F,
}

impl<D: Dataset, B: Send + 'static, F: Fn(D::Batch) -> B + Send + Sync> Dataset for Transformed<D, F> {
    type Batch = B;
    #[track_caller]
    fn len(&self) -> usize {
        self.dataset.len()
    }
    #[track_caller]
    fn batch(&self, indices: &[usize]) -> B {
        (self.f)(self.dataset.batch(indices))
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    type Batch = D::Batch;
    fn len(&self) -> usize {
        (**self).len()
    }
    fn batch(&self, indices: &[usize]) -> D::Batch {
        (**self).batch(indices)
    }
}

/// Images `[batch, 1, height, width]` as `pixel / 255`, in `[0, 1]`, and labels `[batch]`.
///
/// The floats are made batch by batch, so that the data set stays at a byte per pixel.
impl Dataset for LabelledImages {
    type Batch = (Tensor, Tensor<i64>);

    fn len(&self) -> usize {
        self.labels.len()
    }

    #[track_caller]
    fn batch(&self, indices: &[usize]) -> (Tensor, Tensor<i64>) {
        let size = self.height * self.width;
        let images = Tensor::build([indices.len(), 1, self.height, self.width], |y| {
            for (y, &i) in y.chunks_mut(size.max(1)).zip(indices) {
                // In pieces that stay on this thread: the others are for training.
                for (x, y) in self.image(i).chunks(GRAIN).zip(y.chunks_mut(GRAIN)) {
                    elementwise::map(x, y, intensity);
                }
            }
        });
        (images, Tensor::from_fn([indices.len()], |i| i64::from(self.labels[indices[i]])))
    }
}

impl LabelledImages {
    /// All images, `[len, 1, height, width]` in `[0, 1]`, and their labels, `[len]`.
    pub fn tensors(&self) -> (Tensor, Tensor<i64>) {
        self.batch(&(0..self.len()).collect::<Vec<_>>())
    }
}

/// `x / 255`, to the last bit, without a division.
///
/// 1/255 in two parts: the first has 16 bits, so its product with a byte is exact, and the second corrects it.
#[inline(always)]
fn intensity(x: u8) -> f32 {
    const FIRST: f32 = 0x8080 as f32 / (1_u32 << 23) as f32;
    const SECOND: f32 = (1.0 / 255.0 - FIRST as f64) as f32;
    f32::from(x) * FIRST + f32::from(x) * SECOND
}

/// Rows of the first dimension: `[len, ..]` to `[indices.len(), ..]`, from any view.
#[track_caller]
fn rows<T: Element>(x: &Tensor<T>, indices: &[usize]) -> Tensor<T> {
    let len = samples(x);
    let mut shape = x.dims();
    shape[0] = indices.len();
    let row = x.dims().without(0);
    let data = x.view().data;
    Tensor::build(shape, |y| {
        for (y, &i) in y.chunks_mut(row.numel().max(1)).zip(indices) {
            ensure(i < len, || format!("batch: expected an index below {len}, found {i}"));
            let start = i * x.strides()[0];
            if x.is_contiguous() {
                y.copy_from_slice(&data[start..][..y.len()]);
            } else {
                elementwise::copy_strided(&row, View { data: &data[start..], strides: &x.strides()[1..] }, y);
            }
        }
    })
}

#[track_caller]
fn samples<T: Element>(x: &Tensor<T>) -> usize {
    ensure(x.rank() > 0, || "dataset: []: expected a first dimension to count the samples, found none".into());
    x.shape()[0]
}

/// Rows of the first dimension.
impl<T: Element> Dataset for Tensor<T> {
    type Batch = Tensor<T>;
    #[track_caller]
    fn len(&self) -> usize {
        samples(self)
    }
    #[track_caller]
    fn batch(&self, indices: &[usize]) -> Tensor<T> {
        rows(self, indices)
    }
}

macro_rules! tuple {
    ($($T:ident $i:tt),+) => {
        /// Tensors with equal first dimensions, which are cut alike.
        impl<$($T: Element),+> Dataset for ($(Tensor<$T>,)+) {
            type Batch = ($(Tensor<$T>,)+);
            #[track_caller]
            fn len(&self) -> usize {
                let len = samples(&self.0);
                $(ensure(samples(&self.$i) == len, || {
                    format!("dataset: {:?}, {:?}: the first sizes differ", self.0.shape(), self.$i.shape())
                });)+
                len
            }
            #[track_caller]
            fn batch(&self, indices: &[usize]) -> Self::Batch {
                ($(rows(&self.$i, indices),)+)
            }
        }
    };
}
tuple!(T 0, U 1);
tuple!(T 0, U 1, V 2);

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> LabelledImages {
        let pixels = (0..3 * 2 * 5).map(|i| (i * 8) as u8).collect();
        LabelledImages { height: 2, width: 5, pixels, labels: vec![4, 0, 9] }
    }

    #[test]
    fn a_pixel_becomes_its_255th_part_to_the_last_bit() {
        for x in 0..=255_u8 {
            assert_eq!(intensity(x).to_bits(), (f32::from(x) / 255.0).to_bits(), "{x}");
        }
    }

    #[test]
    fn a_batch_of_images_is_those_that_were_asked_for() {
        let (x, y) = images().batch(&[2, 0, 2]);
        assert_eq!((x.shape(), y.to_vec()), (&[3, 1, 2, 5][..], vec![9, 4, 9]));
        let expected: Vec<f32> =
            [20, 0, 20].iter().flat_map(|&s| (s..s + 10).map(|i| (i * 8) as f32 / 255.0)).collect();
        assert_eq!(x.to_vec(), expected);
        assert_eq!(images().tensors().1.to_vec(), [4, 0, 9]);
        assert_eq!(images().batch(&[]).0.shape(), [0, 1, 2, 5]);
    }

    #[test]
    fn rows_are_gathered_from_any_view() {
        let x = Tensor::from_fn([4, 3, 2], |i| i as f32);
        let twins = [x.clone(), x.permute(&[0, 2, 1]), x.transpose(0, 2), x.narrow(1, 1, 2), x.narrow(0, 1, 3)];
        for x in
            twins.into_iter().chain([Tensor::from(2.0).expand([5, 3]), Tensor::zeros([3, 0, 2]), x.narrow(1, 0, 0)])
        {
            let indices = [1, 0, 1, x.shape()[0] - 1];
            let expected = x.index_select(0, &Tensor::from_fn([4], |i| indices[i] as i64));
            let (a, b) = (x.clone(), x).batch(&indices);
            assert_eq!((a.shape(), a.to_vec()), (expected.shape(), expected.to_vec()));
            assert_eq!(b.to_vec(), expected.to_vec());
        }
    }

    #[test]
    #[should_panic(expected = "dataset: [3, 2], [4]: the first sizes differ")]
    fn tensors_of_different_lengths_are_no_data_set() {
        (Tensor::zeros([3, 2]), Tensor::<i64>::arange(0, 4)).len();
    }

    #[test]
    #[should_panic(expected = "dataset: []: expected a first dimension")]
    fn a_scalar_is_no_data_set() {
        Tensor::from(1.0).len();
    }

    #[test]
    #[should_panic(expected = "batch: expected an index below 3, found 3")]
    fn a_sample_that_is_not_there_panics() {
        Tensor::zeros([3, 2]).batch(&[0, 3]);
    }
}
