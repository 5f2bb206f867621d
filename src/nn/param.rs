//! What a model owns: trainable parameters, and state that is saved but not trained.

use crate::element::Float;
use crate::rng::{Rng, with_thread_rng};
use crate::shape::ensure;
use crate::tensor::Tensor;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

/// The dotted name of a layer or parameter, known once the model it is part of has been walked
/// ([`Module::visit`](super::Module::visit)): by an optimizer, `summary`, `state` and the like.
#[derive(Default)]
pub struct Name(OnceLock<Arc<str>>);

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.get().map_or("(not named yet)", |name| name))
    }
}

/// A clone is part of another model, or of none.
impl Clone for Name {
    fn clone(&self) -> Name {
        Name::default()
    }
}

impl Name {
    /// The name, where it is known.
    pub fn get(&self) -> Option<&Arc<str>> {
        self.0.get()
    }

    pub(super) fn set(&self, name: &str) {
        if self.0.get().is_none() && !name.is_empty() {
            // Another thread may have been faster; it walked the same model.
            let _ = self.0.set(name.into());
        }
    }

    pub(super) fn replace(&mut self, name: &str) {
        if self.0.get().is_none_or(|old| &**old != name) && !name.is_empty() {
            self.0 = OnceLock::from(Arc::from(name));
        }
    }
}

/// A trainable tensor of a model. It derefs to its [`Tensor`], which is tracked unless the parameter is frozen.
///
/// A clone is a parameter of its own, with the same values.
pub struct Param<T: Float = f32> {
    tensor: Tensor<T>,
    name: Name,
}

impl<T: Float> Param<T> {
    /// A trainable parameter with the given values.
    #[track_caller]
    pub fn new(values: Tensor<T>) -> Param<T> {
        Param { tensor: values.packed().tracked(), name: Name::default() }
    }

    /// Uniform values in `[-bound, bound)`, from the thread's generator.
    pub(super) fn uniform(shape: &[usize], bound: f64) -> Param<T> {
        let draw = |rng: &mut Rng| T::of((2.0 * rng.uniform() - 1.0) * bound);
        with_thread_rng(|rng| Param::new(Tensor::drawn(shape, rng, 2, draw)))
    }

    /// Standard normal values, from the thread's generator.
    pub(super) fn normal(shape: &[usize]) -> Param<T> {
        with_thread_rng(|rng| Param::new(Tensor::normals(shape, rng)))
    }

    /// Every element the same.
    pub(super) fn full(shape: &[usize], value: f64) -> Param<T> {
        Param::new(Tensor::full(shape, T::of(value)))
    }

    /// The dotted name in its model, where it is known.
    pub fn name(&self) -> Option<&str> {
        self.name.get().map(|name| &**name)
    }

    pub(super) fn name_cell(&self) -> &Name {
        &self.name
    }

    pub(super) fn name_cell_mut(&mut self) -> &mut Name {
        &mut self.name
    }

    /// Replaces the values.
    ///
    /// # Panics
    /// When the shape differs.
    #[track_caller]
    pub fn set(&mut self, values: &Tensor<T>) {
        ensure(self.shape() == values.shape(), || {
            format!("parameter: {:?}: cannot be set to values of shape {:?}", self.shape(), values.shape())
        });
        let entry = self.tensor.entry.take();
        self.tensor = Tensor { entry, ..values.packed() };
    }

    /// The elements for writing, in row-major order; in place where no other handle reads them.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.tensor.make_mut()
    }

    /// Stops training this parameter: operations on it are no longer recorded.
    pub fn freeze(&mut self) {
        self.tensor.entry = None;
    }

    /// Trains this parameter again.
    pub fn unfreeze(&mut self) {
        if !self.tensor.is_tracked() {
            self.tensor = self.tensor.tracked();
        }
    }

    /// Whether the parameter is trained.
    pub fn is_trainable(&self) -> bool {
        self.tensor.is_tracked()
    }
}

impl<T: Float> Deref for Param<T> {
    type Target = Tensor<T>;
    fn deref(&self) -> &Tensor<T> {
        &self.tensor
    }
}

impl<T: Float> Clone for Param<T> {
    fn clone(&self) -> Param<T> {
        let tensor = if self.is_trainable() { self.tensor.tracked() } else { self.tensor.clone() };
        Param { tensor, name: Name::default() }
    }
}

impl<T: Float> std::fmt::Debug for Param<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Param {:?} {:?}", self.name, self.tensor)
    }
}

/// State that a layer updates while it runs and that is saved with the model: running statistics.
pub struct Buffer<T: Float = f32>(RwLock<Tensor<T>>);

impl<T: Float> Buffer<T> {
    /// A buffer with the given values.
    pub fn new(values: Tensor<T>) -> Buffer<T> {
        Buffer(RwLock::new(values.packed()))
    }

    /// The values now.
    pub fn get(&self) -> Tensor<T> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Replaces the values.
    ///
    /// # Panics
    /// When the shape differs.
    #[track_caller]
    pub fn set(&self, values: &Tensor<T>) {
        let mut held = self.0.write().unwrap_or_else(|e| e.into_inner());
        ensure(held.shape() == values.shape(), || {
            format!("buffer: {:?}: cannot be set to values of shape {:?}", held.shape(), values.shape())
        });
        *held = values.packed();
    }
}

impl<T: Float> Clone for Buffer<T> {
    fn clone(&self) -> Buffer<T> {
        Buffer::new(self.get())
    }
}

impl<T: Float> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Buffer {:?}", self.get())
    }
}

/// A whole number that a layer counts up while it runs and that is saved with the model.
#[derive(Debug, Default)]
pub struct Counter(AtomicI64);

impl Counter {
    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the number.
    pub fn set(&self, count: i64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// Counts one more; returns the new number.
    pub(super) fn increment(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Clone for Counter {
    fn clone(&self) -> Counter {
        Counter(AtomicI64::new(self.get()))
    }
}
