//! Work over slices on several threads, split at boundaries that depend on the work alone, never on the number of
//! threads: the same input gives the same bits on 1, 2 or 64 threads.

use super::threads::share_out;
pub use super::threads::{num_threads, set_num_threads, with_num_threads};

/// Elements of cheap element-wise work under which waking another thread costs more than it saves.
pub const GRAIN: usize = 1 << 15;

/// Calls `f(i)` for every `i < n`; in parallel when `n > 1` and the whole is worth it (`parallel`).
pub fn tasks(n: usize, parallel: bool, f: impl Fn(usize) + Sync + Send) {
    if n <= 1 || !parallel {
        (0..n).for_each(f);
    } else {
        share_out(n, &f);
    }
}

/// How many of `units` of `size` elements a task gets: about [`GRAIN`] elements, or one unit. Where there are more tasks than
/// one, there are eight or a multiple of it, or somewhat fewer where units are large: threads have about equal shares, and in
/// all passes over as many elements the same ones, which they then find in their caches.
pub fn per_task(units: usize, size: usize) -> usize {
    match (units * size).div_ceil(GRAIN) {
        0 | 1 => units.max(1),
        tasks => units.div_ceil(tasks.next_multiple_of(8)),
    }
}

/// A slice that tasks share to write disjoint parts of it.
pub(crate) struct Shared<T> {
    start: *mut T,
    len: usize,
}
impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}
// SAFETY: whoever uses it from several threads writes disjoint elements.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(slice: &mut [T]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len() }
    }

    pub fn at(self, offset: usize) -> *mut T {
        self.start.wrapping_add(offset)
    }

    /// What begins at an offset that is in the slice.
    pub fn after(self, offset: usize) -> Self {
        let offset = offset.min(self.len);
        Shared { start: self.at(offset), len: self.len - offset }
    }

    /// Chunk `i` of those that begin at multiples of `chunk`.
    ///
    /// # Safety
    /// The slice must outlive the use of the chunk, and no chunk may be used twice at a time.
    pub unsafe fn chunk<'a>(self, chunk: usize, i: usize) -> &'a mut [T] {
        let start = (i * chunk).min(self.len);
        // SAFETY: inside the slice; the caller vouches for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), chunk.min(self.len - start)) }
    }
}

/// Calls `f(start, chunk)` for consecutive chunks of `chunk` elements of `y`; in parallel when there is more than one.
pub fn chunks_mut<T: Send>(y: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    let chunk = chunk.max(1);
    if y.len() <= chunk {
        if !y.is_empty() {
            f(0, y);
        }
        return;
    }
    let shared = Shared::new(y);
    tasks(y.len().div_ceil(chunk), true, |i| {
        // SAFETY: `y` is borrowed until `tasks` returns, and each task has its own chunk.
        f(i * chunk, unsafe { shared.chunk(chunk, i) });
    });
}

/// Where pieces begin: at multiples of so many elements.
pub const PIECES: usize = 64;

/// Calls `f(start, piece)` for pieces of `y` that begin at multiples of [`PIECES`], as [`per_task`] cuts them.
pub fn pieces_mut<T: Send>(y: &mut [T], f: impl Fn(usize, &mut [T]) + Sync + Send) {
    chunks_mut(y, piece(y.len()), f);
}

/// How long the pieces of `n` elements are.
pub fn piece(n: usize) -> usize {
    PIECES * per_task(n.div_ceil(PIECES), PIECES)
}

/// Calls `f(i, a, b)` for the `i`-th chunk of `a` together with the `i`-th chunk of `b`; in parallel when there is more than
/// one.
pub fn chunk_pairs_mut<T: Send, U: Send>(
    (a, a_chunk): (&mut [T], usize),
    (b, b_chunk): (&mut [U], usize),
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync + Send,
) {
    let (a_chunk, b_chunk) = (a_chunk.max(1), b_chunk.max(1));
    let count = a.len().div_ceil(a_chunk).min(b.len().div_ceil(b_chunk));
    let (a, b) = (Shared::new(a), Shared::new(b));
    tasks(count, true, |i| {
        // SAFETY: the slices are borrowed until `tasks` returns, and each task has its own chunks.
        let (a, b) = unsafe { (a.chunk(a_chunk, i), b.chunk(b_chunk, i)) };
        f(i, a, b);
    });
}
