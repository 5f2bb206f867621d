//! How a shape mistake is told.
//!
//! A shape mistake is a bug in the caller: it panics, at the caller's line, in one format, and names the layer where one
//! is known: `matmul: [64, 576] x [512, 64]: inner dimensions 576 and 512 differ (in fc1)`. A server that feeds foreign
//! data to a model asks for a `Result` instead (`try_forward`); then the same text travels up quietly, by [`catch`].

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

thread_local! {
    static LAYERS: RefCell<Vec<Label>> = const { RefCell::new(Vec::new()) };
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What an error calls the layer that it happened in.
#[derive(Clone, Debug)]
pub enum Label {
    /// The dotted name in the model.
    Name(Arc<str>),
    /// The kind of layer, for one whose name is not known yet.
    Kind(&'static str),
}

/// While it lives, errors of this thread say that they happened in the given layer.
pub struct Scope(());

impl Scope {
    /// Enters a layer.
    #[inline]
    pub fn enter(label: Label) -> Scope {
        LAYERS.with_borrow_mut(|layers| layers.push(label));
        Scope(())
    }
}

impl Drop for Scope {
    #[inline]
    fn drop(&mut self) {
        LAYERS.with_borrow_mut(|layers| layers.pop());
    }
}

/// The layer that this thread is in: the innermost one with a name, else the innermost kind.
#[inline]
pub(crate) fn current_layer() -> Option<Label> {
    LAYERS.with_borrow(|layers| {
        let named = layers.iter().rev().find(|label| matches!(label, Label::Name(_)));
        named.or(layers.last()).cloned()
    })
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Label::Name(name) => f.write_str(name),
            Label::Kind(kind) => f.write_str(kind),
        }
    }
}

/// What travels up to [`catch`].
pub(crate) struct ShapeFailure(pub String);

/// Fails with the message, and the layer's name where one is known.
#[cold]
#[track_caller]
pub(crate) fn fail(message: String) -> ! {
    let message = match current_layer() {
        Some(layer) => format!("{message} (in {layer})"),
        None => message,
    };
    if CATCHING.get() {
        resume_unwind(Box::new(ShapeFailure(message)));
    }
    panic!("{message}");
}

/// Fails with the message unless the condition holds.
#[inline]
#[track_caller]
pub(crate) fn ensure(condition: bool, message: impl FnOnce() -> String) {
    if !condition {
        fail(message());
    }
}

/// Runs `f`; a shape mistake in it comes back as its message, any other panic goes on.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, ShapeFailure> {
    let before = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(before);
    result.map_err(|payload| match payload.downcast::<ShapeFailure>() {
        Ok(failure) => *failure,
        Err(other) => resume_unwind(other),
    })
}
