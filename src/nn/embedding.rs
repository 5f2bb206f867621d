//! The layer that turns numbers into vectors.

use super::module::layer_module;
use super::param::{Name, Param};
use super::summary::Call;
use crate::element::Float;
use crate::ops;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// A learned vector for each of `num` things: a table whose rows are looked up.
///
/// * input `[..]` of whole numbers, output `[.., dim]`
/// * `weight` `[num, dim]`, standard normal at first, as in PyTorch
///
/// ```
/// use wengert::{Tensor, nn::Embedding};
/// let letters: Embedding = Embedding::new(65, 128);
/// assert_eq!(letters.forward(&Tensor::from([[0, 64, 3], [7, 7, 7]])).shape(), [2, 3, 128]);
/// ```
#[derive(Clone, Debug)]
pub struct Embedding<T: Float = f32> {
    /// `[num, dim]`.
    pub weight: Param<T>,
    padding_idx: Option<usize>,
    name: Name,
}

/// What can be set of [`Embedding`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddingOptions {
    /// A row that stands for nothing: it is zero at first and is not trained.
    pub padding_idx: Option<usize>,
}

impl Embedding {
    /// A table of `num` vectors of `dim` numbers.
    pub fn new(num: usize, dim: usize) -> Embedding {
        Embedding::with(num, dim, EmbeddingOptions::default())
    }
}

impl<T: Float> Embedding<T> {
    /// A table of `num` vectors of `dim` numbers, of either float type.
    ///
    /// # Panics
    /// When there is no row `padding_idx`.
    #[track_caller]
    pub fn with(num: usize, dim: usize, options: EmbeddingOptions) -> Embedding<T> {
        let EmbeddingOptions { padding_idx } = options;
        let mut weight = Param::normal(&[num, dim]);
        if let Some(row) = padding_idx {
            ensure(row < num, || {
                format!("Embedding: [{num}, {dim}]: padding_idx {row} is out of range for {num} rows")
            });
            weight.as_mut_slice()[row * dim..][..dim].fill(T::ZERO);
        }
        Embedding { weight, padding_idx, name: Name::default() }
    }

    /// The row that stands for nothing, where there is one.
    pub fn padding_idx(&self) -> Option<usize> {
        self.padding_idx
    }

    /// The vectors of the numbers: `[..] -> [.., dim]`.
    ///
    /// # Panics
    /// When a number is not that of a row.
    #[track_caller]
    pub fn forward(&self, index: &Tensor<i64>) -> Tensor<T> {
        let call = Call::enter("Embedding", Some(&self.name));
        let y = ops::embedding_padded(&self.weight, index, self.padding_idx);
        call.leave(y, |_| (self.weight.numel(), 0))
    }
}

layer_module!(Embedding { weight });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::record;

    #[test]
    fn the_padding_is_zero_and_stays_untrained() {
        let table: Embedding<f64> = Embedding::with(4, 3, EmbeddingOptions { padding_idx: Some(1) });
        assert_eq!(table.weight.to_vec()[3..6], [0.0; 3]);
        assert!(table.weight.to_vec()[..3].iter().all(|&x| x != 0.0));
        let grads = record(|| table.forward(&Tensor::from([1, 2, 1])).sum()).backward();
        assert_eq!(grads.of(&table.weight).sum_dim(1, false).to_vec(), [0.0, 0.0, 3.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "embedding: [4, 3]: index 4 is out of range for 4 rows (in Embedding)")]
    fn a_number_beyond_the_table_is_refused() {
        Embedding::<f32>::new(4, 3).forward(&Tensor::from([4]));
    }
}
