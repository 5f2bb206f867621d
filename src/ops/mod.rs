//! The operations, one file per family: public method, shape check, kernel call and backward rule side by side.
//!
//! Element-wise functions are rows of a table ([`unary`], [`binary`]). Any other operation computes its output with
//! kernels and hands it to the tape with a closure from the output's gradient to those of the inputs. Under
//! `backward_graph` that closure runs with recording on, so it must be made of recordable operations; where a fused
//! kernel is faster it is taken only when recording is off.

mod arithmetic;
mod attention;
pub mod binary;
mod cast;
mod compare;
mod conv;
mod conv1d;
mod conv3d;
mod conv_transpose;
mod crf;
mod cross_entropy;
mod dropout;
mod embedding;
mod gamma;
mod group_norm;
mod index;
mod join;
mod linalg;
mod matmul;
mod minibatch_stddev;
mod norm;
mod pool;
mod recurrent;
mod reduce;
mod slicing;
mod softmax;
pub mod unary;
mod view;
mod weight_norm;

pub use attention::{AttentionOptions, scaled_dot_product_attention, self_attention};
pub use conv::{Conv2dOptions, conv2d, conv2d_grad_input, conv2d_grad_weight, conv2d_max_pool2d, conv2d_relu};
pub use conv_transpose::{ConvTranspose2dOptions, conv_transpose2d};
pub use conv1d::{Conv1dOptions, ConvTranspose1dOptions, conv_transpose1d, conv1d};
pub use conv3d::{Conv3dOptions, ConvTranspose3dOptions, conv_transpose3d, conv3d};
#[cfg(debug_assertions)]
pub(crate) use conv3d::{fold_depth, unfold_depth};
pub use crf::{CrfScores, crf_decode, crf_log_likelihood};
pub(crate) use cross_entropy::softmax_cross_entropy;
pub use dropout::dropout;
pub use embedding::{embedding, embedding_padded};
pub use gamma::{log_standard_gamma, log_standard_gamma_from};
pub use group_norm::{group_norm, instance_norm};
pub use join::{cat, stack};
pub use matmul::{linear, linear_relu};
pub use minibatch_stddev::{MinibatchStdDevOptions, minibatch_stddev};
pub(crate) use norm::layer_norm_over;
pub use norm::{BatchNormed, batch_norm, batch_norm_with, layer_norm};
pub use pool::{AvgPool2dOptions, MaxPool2dOptions, avg_pool2d, max_pool2d};
pub(crate) use pool::{avg_pool2d_of, max_pool2d_of};
pub use recurrent::{Cell, Recurrent, RecurrentOptions, RecurrentWeights, recurrent};
pub use slicing::{Index, Indices, step};
pub(crate) use weight_norm::norm_except;
pub use weight_norm::{power_iteration, spectral_norm, weight_norm};
