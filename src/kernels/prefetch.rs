//! Requests for memory ahead of its use.
//!
//! A loop with some arithmetic to each element reaches too few cache lines ahead by itself: while it computes, the memory
//! idles. With requests, a pass takes the longer of the two times instead of their sum. Where the processor reaches far enough
//! ([`fetches_ahead`]), plain passes do without; products of matrices and rows of softmax, which turn to other memory in
//! between, ask everywhere.

use super::processor::fetches_ahead;
use std::ops::Range;

/// Elements that are worked on between requests: small enough that these do not queue up.
pub(super) const STEP: usize = 128;
/// How many elements ahead of the work the requests are.
const AHEAD: usize = 4 * STEP;
/// Elements of the result from which on requests pay: below, the operands tend to be in the second-level cache.
const FAR: usize = 1 << 18;

/// Memory that a loop walks through, element by element.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    start: *const u8,
    /// Bytes of an element.
    size: usize,
    /// Elements.
    len: usize,
}

impl Stream {
    #[inline(always)]
    pub fn of<T>(x: &[T]) -> Stream {
        Stream { start: x.as_ptr().cast(), size: size_of::<T>(), len: x.len() }
    }

    /// Requests the elements of a range, as far as there are any.
    fn request(self, range: Range<usize>) {
        let end = range.end.min(self.len) * self.size;
        for byte in (range.start * self.size..end).step_by(64) {
            line(self.start.wrapping_add(byte));
        }
    }
}

/// Requests what comes [`AHEAD`] of these elements, whether or not it belongs to their slice.
#[inline(always)]
pub(super) fn request_after<T, const N: usize>(x: &[T; N]) {
    request_beyond(x.as_ptr(), AHEAD, N);
}

/// Requests `n` elements from `distance` elements beyond `x` on, whether or not they belong to its slice.
#[inline(always)]
pub(super) fn request_beyond<T>(x: *const T, distance: usize, n: usize) {
    let start = x.wrapping_add(distance).cast::<u8>();
    for byte in (0..n * size_of::<T>()).step_by(64) {
        line(start.wrapping_add(byte));
    }
}

/// Requests the cache line at an address for the first-level cache. It need not exist.
#[inline(always)]
pub(super) fn line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it is a hint for any address, and part of the baseline instruction set.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Whether requests pay in a pass over `n` elements: it leaves the caches, and the processor does not reach ahead by itself.
#[inline]
pub(super) fn requests_pay(n: usize) -> bool {
    n > FAR && !fetches_ahead()
}

/// Calls `work` for the ranges that make up `0..n`: the whole, or where `requests` are to be made in steps that each request what
/// the streams hold a little further on. Not generic, so that it is compiled once.
pub(super) fn in_steps(requests: bool, n: usize, streams: &[Stream], work: &mut dyn FnMut(Range<usize>)) {
    if !requests {
        return work(0..n);
    }
    streams.iter().for_each(|stream| stream.request(0..AHEAD));
    for start in (0..n).step_by(STEP) {
        streams.iter().for_each(|stream| stream.request(start + AHEAD..start + AHEAD + STEP));
        work(start..(start + STEP).min(n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_the_whole_in_order() {
        for n in [0, 1, STEP, STEP + 1, 5 * STEP - 1] {
            let x = vec![1.0_f32; n];
            for requests in [false, true] {
                let mut at = 0;
                in_steps(requests, n, &[Stream::of(&x), Stream::of(&x)], &mut |range| {
                    assert_eq!(range.start, at, "{n}");
                    assert!(!requests || range.len() <= STEP, "{n}: {range:?}");
                    at = range.end;
                });
                assert_eq!(at, n);
            }
        }
    }
}
