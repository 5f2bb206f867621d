//! The walk back along the tape.

use super::any::Any;
use super::mode::{is_detecting_anomaly, set_recording};
use super::tape::{Entry, Wanted};
use super::{Gradients, gradients::IdMap};
use crate::element::Float;
use crate::shape::{ensure, fail};
use crate::tensor::Tensor;
use std::collections::BinaryHeap;
use std::collections::hash_map;

/// From the root's entry and gradient to the gradients of all leaves that it was computed from.
///
/// Entries are visited in falling order of their number. An entry's number is larger than those of its inputs, so each is
/// visited once, after everything that was computed from it, and its handles are given up right after: what the rule saved
/// is freed as the walk goes on. It ends at leaves; where `ends` are given, at the entries with these numbers, and goes nowhere
/// else.
fn walk(root: Entry, seed: Any, anomaly: bool, ends: Option<&[u64]>) -> Gradients {
    let wanted = ends.map_or(Wanted::ALL, |ends| Wanted::between(&root, ends));
    let ends = ends.unwrap_or_default();
    let mut waiting: IdMap<(Entry, Any)> = IdMap::default();
    let mut order = BinaryHeap::new();
    let mut leaves = IdMap::default();
    if wanted.contains(&root) {
        order.push(root.id());
        waiting.insert(root.id(), (root, seed));
    }
    while let Some(id) = order.pop() {
        let (entry, grad) = waiting.remove(&id).expect("every number in the heap waits in the map");
        if entry.rule().is_leaf() || ends.contains(&id) {
            leaves.insert(id, grad.packed());
            continue;
        }
        let inputs = entry.rule().inputs();
        entry.rule().pull(grad, &entry, &wanted, &mut |i, grad| {
            let input = inputs[i].as_ref().expect("gradients are only given to tracked inputs");
            if !wanted.contains(input) {
                return;
            }
            if anomaly {
                check_finite(&grad, &entry, i);
            }
            match waiting.entry(input.id()) {
                hash_map::Entry::Occupied(mut there) => {
                    let sum = &mut there.get_mut().1;
                    let before = std::mem::replace(sum, Any::F32(Tensor::build([0], |_| ())));
                    *sum = before.plus(grad);
                }
                hash_map::Entry::Vacant(place) => {
                    place.insert((input.clone(), grad));
                    order.push(input.id());
                }
            }
        });
    }
    Gradients::from_leaves(leaves)
}

fn check_finite(grad: &Any, entry: &Entry, input: usize) {
    let bad = grad.not_finite();
    if bad > 0 {
        panic!(
            "backward: the gradient of input {input} of {} has {bad} elements that are NaN or infinite (shape {:?})",
            entry.describe(),
            grad.shape()
        );
    }
}

impl<T: Float> Tensor<T> {
    #[track_caller]
    fn root(&self, call: &str) -> Entry {
        match &self.entry {
            Some(entry) => entry.clone(),
            None => fail(format!(
                "{call}: this tensor was not recorded; compute it inside `record(|| ...)` from a parameter or a \
                 `.tracked()` tensor"
            )),
        }
    }

    #[track_caller]
    fn seed(&self, call: &str) -> Tensor<T> {
        ensure(self.numel() == 1, || {
            format!("{call}: {:?}: expected a loss with one element; reduce it with .sum() or .mean()", self.shape())
        });
        Tensor::full(self.dims(), T::ONE)
    }

    /// The gradients of this one-element tensor with respect to every leaf that it was computed from.
    ///
    /// Takes the loss by value: the tape is freed on the way, except for what other handles still hold.
    ///
    /// # Panics
    /// When there is more than one element, or the tensor was not recorded.
    #[track_caller]
    #[inline(never)]
    pub fn backward(self) -> Gradients {
        let seed = self.seed("backward");
        self.backward_with(&seed)
    }

    /// The gradients of `sum(self * cotangent)`: the product of the cotangent with the Jacobian.
    ///
    /// # Panics
    /// When the shapes differ, or the tensor was not recorded.
    #[track_caller]
    #[inline(never)]
    pub fn backward_with(self, cotangent: &Tensor<T>) -> Gradients {
        ensure(self.shape() == cotangent.shape(), || {
            format!("backward_with: {:?}: the cotangent has shape {:?}", self.shape(), cotangent.shape())
        });
        let root = self.root("backward");
        drop(self);
        set_recording(false, || walk(root, Any::of(cotangent.detached()), is_detecting_anomaly(), None))
    }

    /// [`Tensor::backward`], itself recorded: the gradients can be part of another loss (PyTorch's `create_graph=True`).
    ///
    /// ```
    /// use wengert::{Tensor, record};
    /// let x = Tensor::scalar(3.0_f32).tracked();
    /// let grads = record(|| {
    ///     let y = &x * &x * &x;
    ///     let slope = y.backward_graph().of(&x); // 3 x^2
    ///     slope.backward() // 6 x
    /// });
    /// assert_eq!(grads.of(&x).item(), 18.0);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::backward`], and, by name, at an operation that has no second-order rule.
    #[track_caller]
    pub fn backward_graph(&self) -> Gradients {
        self.backward_graph_with(&self.seed("backward_graph"))
    }

    /// [`Tensor::backward_with`], itself recorded.
    ///
    /// # Panics
    /// As [`Tensor::backward_with`], and, by name, at an operation that has no second-order rule.
    #[track_caller]
    #[inline(never)]
    pub fn backward_graph_with(&self, cotangent: &Tensor<T>) -> Gradients {
        ensure(self.shape() == cotangent.shape(), || {
            format!("backward_graph_with: {:?}: the cotangent has shape {:?}", self.shape(), cotangent.shape())
        });
        let root = self.root("backward_graph");
        set_recording(true, || walk(root, Any::of(cotangent.clone()), is_detecting_anomaly(), None))
    }

    /// [`Tensor::backward_graph`] for some leaves alone: nothing is computed that only others need. For a penalty on a slope.
    ///
    /// ```
    /// use wengert::nn::{Layer, Linear};
    /// use wengert::{Tensor, record};
    /// let (critic, x) = (Linear::new(4, 1), Tensor::ones([8, 4]).tracked());
    /// let grads = record(|| {
    ///     let slope = critic.forward(&x).sum().backward_graph_only(&[&x]).of(&x);
    ///     (slope.square().sum_dim([1], false) - 1.0).square().mean().backward()
    /// });
    /// assert_eq!(grads.of(&critic.weight).shape(), [1, 4]);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::backward_graph`], or when one of them is no leaf, that is no parameter or `.tracked()` tensor.
    #[track_caller]
    #[inline(never)]
    pub fn backward_graph_only(&self, leaves: &[&Tensor<T>]) -> Gradients {
        let mut ends = Vec::new();
        for (i, leaf) in leaves.iter().enumerate() {
            match &leaf.entry {
                Some(entry) if entry.rule().is_leaf() => ends.push(entry.id()),
                _ => fail(format!(
                    "backward_graph_only: tensor {i}, of shape {:?}, is no parameter or `.tracked()` tensor",
                    leaf.shape()
                )),
            }
        }
        let (seed, root) = (self.seed("backward_graph_only"), self.root("backward_graph_only"));
        set_recording(true, || walk(root, Any::of(seed), is_detecting_anomaly(), Some(&ends)))
    }

    /// The gradients of `sum(self * cotangent)`, recorded, with respect to tensors that need not be leaves; where two of them
    /// have the same entry, the first has the gradient. For rules that differentiate what they have computed again.
    pub(crate) fn gradients_at<const N: usize>(
        &self,
        cotangent: &Tensor<T>,
        at: [Option<&Tensor<T>>; N],
    ) -> [Option<Tensor<T>>; N] {
        let ends: Vec<u64> = at.iter().flatten().filter_map(|x| Some(x.entry.as_ref()?.id())).collect();
        let (root, seed) = (self.root("gradients_at"), Any::of(cotangent.clone()));
        let mut grads = set_recording(true, || walk(root, seed, is_detecting_anomaly(), Some(&ends)));
        at.map(|x| grads.take(x?))
    }
}
