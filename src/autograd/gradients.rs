//! What a walk back along the tape found.

use super::any::Any;
use crate::element::Float;
use crate::shape::fail;
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Entry numbers are their own hash: they are distinct and grow one by one.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.0 = self.0 << 8 | u64::from(b));
    }
    fn write_u64(&mut self, id: u64) {
        // The table takes its bucket from the low bits and a tag from the high ones.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(super) type IdMap<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// The gradients of a loss with respect to its leaves: parameters and `.tracked()` tensors.
///
/// Gradients of several losses add up (`a + b`), so a large batch can be taken in parts.
#[derive(Clone, Default)]
pub struct Gradients {
    leaves: IdMap<Any>,
}

impl Gradients {
    pub(super) fn from_leaves(leaves: IdMap<Any>) -> Gradients {
        Gradients { leaves }
    }

    /// The gradient of a parameter or tracked tensor; `None` where the loss does not depend on it.
    pub fn get<T: Float>(&self, leaf: &Tensor<T>) -> Option<Tensor<T>> {
        self.leaves.get(&leaf.entry.as_ref()?.id())?.clone().get()
    }

    /// The gradient of a table of which only some rows were looked up ([`ops::embedding`](crate::ops::embedding) of a parameter,
    /// fewer numbers than half its rows): the numbers of these rows, distinct and rising, and their gradients
    /// `[rows, dim]`. All other rows have the gradient 0. `None` where the gradient is kept whole; [`Gradients::get`] gives
    /// it whole in either case.
    ///
    /// ```
    /// use wengert::{Tensor, ops, record};
    /// let table = Tensor::from_fn([100, 2], |i| i as f32).tracked();
    /// let grads = record(|| ops::embedding(&table, &Tensor::from([7, 3, 7])).sum()).backward();
    /// let (rows, values) = grads.rows(&table).unwrap();
    /// assert_eq!((rows, values.to_vec()), (&[3, 7][..], vec![1.0, 1.0, 2.0, 2.0]));
    /// assert_eq!(grads.of(&table).sum().item(), 6.0);
    /// ```
    pub fn rows<T: Float>(&self, leaf: &Tensor<T>) -> Option<(&[usize], &Tensor<T>)> {
        let rows = self.leaves.get(&leaf.entry.as_ref()?.id())?.rows()?;
        Some((rows.places(), rows.values()))
    }

    /// Whether the loss reached a parameter or tracked tensor.
    pub fn contains<T: Float>(&self, leaf: &Tensor<T>) -> bool {
        leaf.entry.as_ref().is_some_and(|entry| self.leaves.contains_key(&entry.id()))
    }

    /// The gradient of a parameter or tracked tensor.
    ///
    /// # Panics
    /// When the loss does not depend on it.
    #[track_caller]
    pub fn of<T: Float>(&self, leaf: &Tensor<T>) -> Tensor<T> {
        match self.get(leaf) {
            Some(gradient) => gradient,
            None => fail(format!("gradients: the loss did not reach this tensor of shape {:?}", leaf.shape())),
        }
    }

    /// [`Gradients::get`], taken out, so that the caller is the only owner.
    pub fn take<T: Float>(&mut self, leaf: &Tensor<T>) -> Option<Tensor<T>> {
        self.leaves.remove(&leaf.entry.as_ref()?.id())?.get()
    }

    /// Replaces the gradient of a leaf.
    ///
    /// # Panics
    /// When `leaf` is not tracked, or the shapes differ.
    #[track_caller]
    pub fn set<T: Float>(&mut self, leaf: &Tensor<T>, gradient: Tensor<T>) {
        let Some(entry) = &leaf.entry else { fail("gradients: set: the tensor is not tracked".to_string()) };
        crate::shape::ensure(leaf.shape() == gradient.shape(), || {
            format!("gradients: set: {:?}: the gradient has shape {:?}", leaf.shape(), gradient.shape())
        });
        self.leaves.insert(entry.id(), Any::of(gradient));
    }

    /// How many leaves the loss reached.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether no leaf was reached.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Every gradient times `by`.
    pub fn scale(&mut self, by: f64) {
        for gradient in self.leaves.values_mut() {
            let before = std::mem::replace(gradient, Any::F32(Tensor::build([0], |_| ())));
            *gradient = before.scaled(by);
        }
    }

    /// The square root of the sum of the squares of all elements of all gradients.
    pub fn global_norm(&self) -> f64 {
        // In the order of the leaves' numbers, so that the sum does not depend on the hash table.
        let mut ids: Vec<_> = self.leaves.keys().collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.leaves[id].sum_of_squares()).sum::<f64>().sqrt()
    }

    /// Scales all gradients so that their global norm is at most `max_norm`; returns the norm before
    /// (PyTorch's `clip_grad_norm_`).
    pub fn clip_norm(&mut self, max_norm: f64) -> f64 {
        let norm = self.global_norm();
        // PyTorch's guard against division by zero.
        let by = max_norm / (norm + 1e-6);
        if by < 1.0 {
            self.scale(by);
        }
        norm
    }
}

impl std::ops::Add for Gradients {
    type Output = Gradients;
    fn add(mut self, other: Gradients) -> Gradients {
        self += other;
        self
    }
}

impl std::ops::AddAssign for Gradients {
    fn add_assign(&mut self, other: Gradients) {
        super::no_record(|| {
            for (id, gradient) in other.leaves {
                let sum = match self.leaves.remove(&id) {
                    Some(before) => before.plus(gradient),
                    None => gradient,
                };
                self.leaves.insert(id, sum);
            }
        });
    }
}

impl std::fmt::Debug for Gradients {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Gradients").field("leaves", &self.len()).finish_non_exhaustive()
    }
}
