//! The record button, and the mode of the layers.

use std::cell::Cell;

#[derive(Clone, Copy)]
struct State {
    recording: bool,
    training: bool,
    anomaly: bool,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State { recording: false, training: false, anomaly: false }) };
}

/// Puts the state back, also when the closure panics.
struct Restore(State);

impl Drop for Restore {
    fn drop(&mut self) {
        STATE.set(self.0);
    }
}

fn with<R>(change: impl FnOnce(&mut State), f: impl FnOnce() -> R) -> R {
    let before = STATE.get();
    let mut state = before;
    change(&mut state);
    let _restore = Restore(before);
    STATE.set(state);
    f()
}

/// Whether layers such as dropout and batch norm train or predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Dropout drops, batch norm uses the batch's statistics and updates the running ones.
    Train,
    /// Dropout does nothing, batch norm uses the running statistics.
    Eval,
}

/// Runs `f` with recording on and layers in training mode, on this thread.
///
/// Calls nest, the innermost one counts, and a panic in `f` leaves the mode as it was. To record in evaluation mode, put
/// `with_mode(Mode::Eval, ..)` inside `record`, not around it.
pub fn record<R>(f: impl FnOnce() -> R) -> R {
    with(|s| (s.recording, s.training) = (true, true), f)
}

/// Runs `f` with recording off; the layers' mode stays as it is.
pub fn no_record<R>(f: impl FnOnce() -> R) -> R {
    with(|s| s.recording = false, f)
}

/// Runs `f` with recording on or off; the layers' mode stays as it is.
pub(crate) fn set_recording<R>(recording: bool, f: impl FnOnce() -> R) -> R {
    with(|s| s.recording = recording, f)
}

/// Runs `f` with the layers in the given mode; recording stays as it is.
///
/// Monte-Carlo dropout predicts under `Mode::Train`; a frozen batch norm trains under `Mode::Eval`.
pub fn with_mode<R>(mode: Mode, f: impl FnOnce() -> R) -> R {
    with(|s| s.training = mode == Mode::Train, f)
}

/// Runs `f`; a `backward` in it panics at the first gradient that is NaN or infinite, and names the operation, its place
/// in the source and its layer.
pub fn detect_anomaly<R>(f: impl FnOnce() -> R) -> R {
    with(|s| s.anomaly = true, f)
}

/// Whether operations on tracked tensors are put on the tape now.
#[inline]
pub fn is_recording() -> bool {
    STATE.get().recording
}

/// Whether layers are in training mode now.
#[inline]
pub fn is_training() -> bool {
    STATE.get().training
}

pub(crate) fn is_detecting_anomaly() -> bool {
    STATE.get().anomaly
}
