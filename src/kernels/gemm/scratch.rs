//! Packing buffers that each thread keeps.

use std::cell::RefCell;

/// One cache line, so that a buffer starts on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    /// Not a single buffer: kernels ask for several at a time.
    static BUFFERS: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` numbers of unspecified value, from a buffer that this thread keeps for the next call.
pub(crate) fn scratch<T: super::Gemm, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    let lines = (len * size_of::<T>()).div_ceil(64);
    if buffer.len() < lines {
        buffer.resize(lines, Line([0; 64]));
    }
    // SAFETY: the buffer holds at least `len` numbers, is aligned to 64 bytes and initialized; `T` is `f32` or `f64`
    // (`Gemm` is sealed by `Float`), for which all bits are a value.
    let numbers = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<T>(), len) };
    let result = f(numbers);
    BUFFERS.with_borrow_mut(|all| all.push(buffer));
    result
}
