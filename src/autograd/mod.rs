//! The tape: what is recorded, and the walk back along it.
//!
//! [`record`] switches recording on. Inside it every operation on a tracked tensor leaves an entry on the tape; the entry
//! knows its inputs' entries and how to turn the gradient of its output into theirs. Entries are reference-counted and
//! numbered by one growing counter: the order of creation is the tape, and the walk back takes the largest number first.
//!
//! ```
//! use wengert::{Tensor, record};
//! let x = Tensor::from([1.0_f32, 2.0, 3.0]).tracked();
//! let loss = record(|| (&x * &x).sum());
//! let grads = loss.backward();
//! assert_eq!(grads.of(&x).to_vec(), [2.0, 4.0, 6.0]);
//! ```

mod any;
mod backward;
mod check;
mod custom;
mod gradients;
mod mode;
mod rows;
mod tape;

pub use check::{gradcheck, gradgradcheck};
pub use custom::custom;
pub use gradients::Gradients;
pub use mode::{Mode, detect_anomaly, is_recording, is_training, no_record, record, with_mode};
pub use tape::{live_entries, recorded_ops};

pub(crate) use any::same;
pub(crate) use mode::set_recording;
pub(crate) use rows::Rows;
pub(crate) use tape::{Entry, Gradient, Pull, is_tracked, record_as, record_many, record_op, record_rows};
