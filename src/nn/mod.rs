//! Models: [`Module`], the walk over a model's named parts; [`Layer`], a module from tensor to tensor; and the layers.
//!
//! Names, layouts and defaults are PyTorch's, so that a `state_dict` loads unchanged.

mod activation;
mod attention;
mod conv;
mod crf;
mod decoding;
pub mod distribution;
mod dropout;
mod embedding;
mod flatten;
mod group_norm;
mod linear;
mod minibatch_stddev;
mod module;
mod norm;
mod param;
mod pool;
mod recurrent;
mod sequential;
mod summary;
mod weight_norm;

pub use crate::ops::{
    AvgPool2dOptions, Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvTranspose1dOptions, ConvTranspose2dOptions,
    ConvTranspose3dOptions, MaxPool2dOptions, MinibatchStdDevOptions,
};
pub use activation::{GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh};
pub use attention::{AdditiveAttention, Attended, DotAttention, Keys};
pub use conv::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub use crf::Crf;
pub use decoding::{Hypothesis, SearchOptions, beam_search, greedy_search};
pub use dropout::Dropout;
pub use embedding::{Embedding, EmbeddingOptions};
pub use flatten::Flatten;
pub use group_norm::{
    GroupNorm, GroupNormOptions, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, InstanceNormOptions,
};
pub use linear::{Linear, LinearOptions};
pub use minibatch_stddev::MinibatchStdDev;
#[doc(hidden)]
pub use module::Role;
pub use module::{Layer, Module, Slot, Walk, WalkMut};
pub use norm::{BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormOptions, LayerNorm, LayerNormOptions, RunningStats};
pub use param::{Buffer, Counter, Name, Param};
pub use pool::{AvgPool2d, MaxPool2d};
pub use recurrent::{
    CellOptions, Gru, GruCell, GruOptions, Lstm, LstmCell, LstmOptions, LstmState, Nonlinearity, RecurrentParams, Rnn,
    RnnCell, RnnCellOptions, RnnOptions,
};
pub use sequential::Sequential;
pub use summary::{Row, Summary};
pub use weight_norm::{SpectralNorm, SpectralNormOptions, WeightNorm, WeightNormOptions, Weighted};
