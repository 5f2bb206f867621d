//! Work over slices on rayon's threads, split at boundaries that depend on the work alone, never on the number of
//! threads: the same input gives the same bits on 1, 2 or 64 threads.

use rayon::prelude::*;

/// Sets how many threads the kernels work on; unless it is called, there is one for each core, or as many as
/// `RAYON_NUM_THREADS` says. Results do not depend on it.
///
/// # Panics
/// When the threads have been started already: call it before anything is computed.
#[track_caller]
pub fn set_num_threads(threads: usize) {
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    assert!(built.is_ok(), "set_num_threads({threads}): the threads have been started already; call it first");
}

/// Elements of cheap element-wise work under which waking another thread costs more than it saves.
pub const GRAIN: usize = 1 << 15;

/// Calls `f(start, chunk)` for consecutive chunks of `chunk` elements of `y`; in parallel when there is more than one.
pub fn chunks_mut<T: Send>(y: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    let chunk = chunk.max(1);
    if y.len() <= chunk || rayon::current_num_threads() == 1 {
        for (i, part) in y.chunks_mut(chunk).enumerate() {
            f(i * chunk, part);
        }
    } else {
        y.par_chunks_mut(chunk).enumerate().for_each(|(i, part)| f(i * chunk, part));
    }
}

/// Calls `f(i)` for every `i < n`; in parallel when `n > 1` and the whole is worth it (`parallel`).
pub fn tasks(n: usize, parallel: bool, f: impl Fn(usize) + Sync + Send) {
    if n <= 1 || !parallel || rayon::current_num_threads() == 1 {
        (0..n).for_each(f);
    } else {
        (0..n).into_par_iter().for_each(f);
    }
}

/// Calls `f(i, a, b)` for the `i`-th chunk of `a` together with the `i`-th chunk of `b`; in parallel when there is more than
/// one.
pub fn chunk_pairs_mut<T: Send, U: Send>(
    (a, a_chunk): (&mut [T], usize),
    (b, b_chunk): (&mut [U], usize),
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync + Send,
) {
    let (a_chunk, b_chunk) = (a_chunk.max(1), b_chunk.max(1));
    if a.len() <= a_chunk || rayon::current_num_threads() == 1 {
        for (i, (a, b)) in a.chunks_mut(a_chunk).zip(b.chunks_mut(b_chunk)).enumerate() {
            f(i, a, b);
        }
    } else {
        let pairs = a.par_chunks_mut(a_chunk).zip(b.par_chunks_mut(b_chunk));
        pairs.enumerate().for_each(|(i, (a, b))| f(i, a, b));
    }
}
