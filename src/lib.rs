//! Deep learning in Rust, on a tape.
//!
//! R. E. Wengert described in 1964 the list of elementary operations that reverse-mode differentiation walks backwards
//! ("A simple automatic derivative evaluation program", CACM 7:8). This crate is that list, the tensors on it, and the
//! layers, losses and optimizers that make networks of them. It needs no Python, no C library and no GPU.
//!
//! # Tensor
//!
//! A [`Tensor`] is an n-dimensional array of `f32` (or `f64`, `i64`, `u8`, `bool`). Cloning copies a handle; views share
//! storage, and nobody sees another handle's writes. Methods have PyTorch's names, operators broadcast as NumPy's do.
//!
//! ```
//! use wengert::Tensor;
//! let x = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
//! let y = (&x - x.mean_dim(0, true)) / 2.0; // [2, 3] and [1, 3] broadcast
//! assert_eq!(y.to_vec(), [-0.75, -0.75, -0.75, 0.75, 0.75, 0.75]);
//! assert_eq!(x.matmul(&x.t()).shape(), [2, 2]);
//! assert_eq!(x.i((.., 1)).to_vec(), [2.0, 5.0]);
//! ```
//!
//! # Gradient
//!
//! [`record`] is the record button: operations on tracked tensors inside it go on the tape, and layers such as dropout are
//! in training mode. `backward` walks the tape once and returns the [`Gradients`]; nothing is stored in the tensors, so
//! there is nothing to zero.
//!
//! ```
//! use wengert::{Tensor, record};
//! let w = Tensor::from([0.5_f32, -1.0]).tracked();
//! let loss = record(|| (&w * &w).sum()); // w . w
//! let grads = loss.backward();
//! assert_eq!(grads.of(&w).to_vec(), [1.0, -2.0]); // 2 w
//! ```
//!
//! Gradients can be differentiated again ([`Tensor::backward_graph`]), your own operations join the tape
//! ([`autograd::custom`]), and any function can be checked against finite differences ([`autograd::gradcheck`]).
//!
//! # Layer
//!
//! A model is a struct that owns its layers. [`module!`] makes it a [`nn::Module`], whose parameters have names; a
//! [`nn::Layer`] maps one tensor to one tensor. `forward` takes `&self`: many threads can serve predictions from one model.
//!
//! ```
//! use wengert::nn::{Layer, Linear, Module};
//! use wengert::{Tensor, module};
//!
//! struct Net {
//!     fc1: Linear,
//!     fc2: Linear,
//! }
//! module!(Net { fc1, fc2 });
//!
//! impl Layer for Net {
//!     /// `[batch, 4]` to `[batch, 3]`.
//!     fn forward(&self, x: &Tensor) -> Tensor {
//!         self.fc2.forward(&self.fc1.forward(x).relu())
//!     }
//! }
//!
//! let net = Net { fc1: Linear::new(4, 16), fc2: Linear::new(16, 3) };
//! assert_eq!(net.forward(&Tensor::zeros([5, 4])).shape(), [5, 3]);
//! assert_eq!(net.parameters()[0].0, "fc1.weight");
//! println!("{}", net.summary(&[1, 4]));
//! ```
//!
//! # Training
//!
//! ```
//! use wengert::data::DataLoader;
//! use wengert::loss::cross_entropy;
//! use wengert::nn::{Layer, Linear, ReLU};
//! use wengert::optim::{Adam, Optimizer};
//! use wengert::{Tensor, record, seed, sequential};
//!
//! seed(7); // the same seed gives the same bits, on any number of threads
//! let x = Tensor::randn([512, 2]);
//! let y = (x.i((.., 0)) * x.i((.., 1))).gt_scalar(0.0).cast::<i64>(); // are the signs equal?
//! let train = DataLoader::new((x.clone(), y.clone()), 32).shuffle(true);
//!
//! let mut net = sequential![Linear::new(2, 32), ReLU, Linear::new(32, 2)];
//! let mut optimizer = Adam::new(1e-2);
//! for epoch in 0..20 {
//!     for (x, y) in train.epoch(epoch) {
//!         let loss = record(|| cross_entropy(&net.forward(&x), &y));
//!         optimizer.step(&mut net, &loss.backward());
//!     }
//! }
//! let right = net.forward(&x).argmax(1, false).eq(&y).cast::<f32>().mean().item();
//! assert!(right > 0.95, "accuracy {right}");
//! ```
//!
//! Models are saved and loaded under PyTorch's names as safetensors ([`io`]).
//!
//! # When something is wrong
//!
//! A mistake in the program, such as two shapes that do not fit, panics at the caller's line and says what, where, expected
//! and found, with the layer's name. Whatever is read from outside gives a [`Result`] with the file and the place in it;
//! `try_` twins ([`Tensor::try_from_vec`], [`nn::Layer::try_forward`]) do so for foreign data.

pub mod autograd;
#[doc(hidden)]
pub mod compiled;
pub mod data;
pub mod element;
pub mod error;
pub mod io;
pub mod kernels;
pub mod loss;
pub mod memory;
pub mod nn;
pub mod ops;
pub mod optim;
mod rng;
pub mod shape;
mod tensor;

pub use autograd::{Gradients, no_record, record, with_mode};
pub use element::{DType, Element, Float, Number};
pub use error::{Error, Result};
pub use kernels::parallel::set_num_threads;
pub use rng::{Rng, seed, set_thread_rng, thread_rng};
pub use shape::Shape;
pub use tensor::Tensor;
