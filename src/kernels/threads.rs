//! The threads that kernels share their work with.
//!
//! A kernel's work takes microseconds, and a thread that sleeps takes tens of them to wake. So a helper that has finished
//! looks out for more for a while before it sleeps, the caller takes its share of the work, and a helper that has not come
//! by the time when all is taken is not waited for.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a helper looks out for work before it sleeps: longer than what lies between the kernels of a training step.
const LOOK_OUT: Duration = Duration::from_micros(200);

/// Parts of a thread of which the last one is a small share.
const SEVERAL: u32 = 4;

/// 0 until it is known.
static THREADS: AtomicUsize = AtomicUsize::new(0);
/// Whoever holds it gives work to the helpers.
static HELPERS: Mutex<Vec<&'static Helper>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this thread is at work that is shared already.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
    static FORCED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Sets how many threads the kernels work on, the calling one included; unless it is called, there is one for each core, or
/// as many as the environment variable `WENGERT_NUM_THREADS` says. Results do not depend on it.
///
/// # Panics
/// When `threads` is 0.
#[track_caller]
pub fn set_num_threads(threads: usize) {
    assert!(threads > 0, "set_num_threads(0): expected at least 1");
    THREADS.store(threads, Ordering::Relaxed);
}

/// How many threads the kernels work on.
///
/// # Panics
/// When the environment variable `WENGERT_NUM_THREADS` is no number above 0.
pub fn num_threads() -> usize {
    if let Some(forced) = FORCED.get() {
        return forced;
    }
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let threads = match std::env::var("WENGERT_NUM_THREADS") {
                Ok(number) => match number.parse() {
                    Ok(threads) if threads > 0 => threads,
                    _ => panic!("WENGERT_NUM_THREADS={number}: expected a number above 0"),
                },
                Err(_) => std::thread::available_parallelism().map_or(1, usize::from),
            };
            THREADS.store(threads, Ordering::Relaxed);
            threads
        }
        threads => threads,
    }
}

/// Runs `f`, whose kernels work on that many threads, also where the machine has fewer cores.
pub fn with_num_threads<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<usize>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(Some(threads.max(1))));
    f()
}

/// Consecutive parts of one thread, which others may take too.
///
/// A line of its own, as others look at it seldom.
#[derive(Default)]
#[repr(align(128))]
struct Parts {
    /// Those that nobody has taken: the first in the lower half of the number, the end in the upper.
    left: AtomicU64,
    /// All of them.
    all: AtomicU64,
}

impl Parts {
    fn set(&self, parts: Range<u32>) {
        let parts = u64::from(parts.end) << 32 | u64::from(parts.start);
        self.all.store(parts, Ordering::Relaxed);
        self.left.store(parts, Ordering::Relaxed);
    }

    /// By whom they belong to.
    fn take_first(&self) -> Option<usize> {
        let (first, end) = halves(self.left.fetch_add(1, Ordering::Relaxed));
        (first < end).then_some(first as usize)
    }

    /// By anyone. The last one of several is left to an owner who is at work: it takes less time to wait for that thread than to
    /// fetch from its cache what the part needs, and then back.
    fn take_last(&self) -> Option<usize> {
        let (start, end) = halves(self.all.load(Ordering::Relaxed));
        let several = end - start >= SEVERAL;
        let less = |left: u64| {
            let (first, end) = halves(left);
            (first + u32::from(several && first > start) < end).then(|| left - (1 << 32))
        };
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(halves(left).1 as usize - 1)
    }
}

/// The lower and the upper half.
fn halves(number: u64) -> (u32, u32) {
    (number as u32, (number >> 32) as u32)
}

/// Work that is shared out: each thread has parts that lie together, the same ones of every job as large, so that it finds
/// in its cache what it wrote there before; who is done takes of the others' from behind.
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    /// Of the thread that shares out.
    own: Parts,
    helpers: *const [&'static Helper],
    /// Helpers that came and have left.
    left: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job {
    fn helpers(&self) -> &[&'static Helper] {
        // SAFETY: they are held until the job is done.
        unsafe { &*self.helpers }
    }

    /// The parts of every thread, those of the one that shares out first.
    fn all(&self) -> impl Iterator<Item = &Parts> {
        std::iter::once(&self.own).chain(self.helpers().iter().map(|helper| &helper.parts))
    }

    fn share(&self, parts: u32) {
        let threads = self.all().count() as u64;
        let start = |thread| (u64::from(parts) * thread / threads) as u32;
        for (thread, share) in (0..).zip(self.all()) {
            share.set(start(thread)..start(thread + 1));
        }
    }

    fn clear(&self) {
        self.all().for_each(|parts| parts.set(0..0));
    }

    /// What thread `number` does: its own parts, then what the next ones have left.
    fn run(&self, own: &Parts, number: usize) {
        // SAFETY: the work outlives the job, and whoever runs it is waited for.
        let work = unsafe { &*self.work };
        while let Some(part) = own.take_first() {
            work(part);
        }
        for others in self.all().skip(number + 1).chain(self.all().take(number)) {
            while let Some(part) = others.take_last() {
                work(part);
            }
        }
    }
}

struct Helper {
    /// Among the threads of a job.
    number: usize,
    /// What is there to do: taken by the helper, or taken back.
    job: AtomicPtr<Job>,
    parts: Parts,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Helper {
    /// Starts a thread that lives as long as the program.
    fn start(number: usize) -> &'static Helper {
        let helper: &'static Helper = Box::leak(Box::new(Helper {
            number,
            parts: Parts::default(),
            job: AtomicPtr::new(std::ptr::null_mut()),
            asleep: AtomicBool::new(false),
            thread: OnceLock::new(),
        }));
        let started = std::thread::Builder::new().name(format!("wengert {number}")).spawn(|| helper.live());
        if let Ok(handle) = started {
            // Where the system has no more threads, the callers do what this one would have done.
            let _ = helper.thread.set(handle.thread().clone());
        }
        helper
    }

    fn live(&self) {
        AT_WORK.set(true);
        loop {
            let job = self.wait();
            // SAFETY: whoever gave the job waits until this helper has left it, which is the last thing done with it.
            let job = unsafe { &*job };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.run(&self.parts, self.number))) {
                job.clear();
                job.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
            job.left.fetch_add(1, Ordering::Release);
        }
    }

    fn take(&self) -> Option<*mut Job> {
        // Looks first: an exchange would take the cache line away from those who write to it.
        if self.job.load(Ordering::Relaxed).is_null() {
            return None;
        }
        let job = self.job.swap(std::ptr::null_mut(), Ordering::AcqRel);
        (!job.is_null()).then_some(job)
    }

    fn wait(&self) -> *mut Job {
        loop {
            let start = Instant::now();
            while start.elapsed() < LOOK_OUT {
                for _ in 0..16 {
                    if let Some(job) = self.take() {
                        return job;
                    }
                    std::hint::spin_loop();
                }
            }
            self.asleep.store(true, Ordering::SeqCst);
            if self.job.load(Ordering::SeqCst).is_null() {
                std::thread::park();
            }
            self.asleep.store(false, Ordering::SeqCst);
        }
    }

    fn give(&self, job: &Job) {
        self.job.store(std::ptr::from_ref(job).cast_mut(), Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// Calls `work(part)` once for each `part < parts`, on this thread and the helpers; returns when all is done. Work that
/// shares out in turn, or while another caller does, is done by its own thread alone.
pub(super) fn share_out(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    let threads = num_threads().min(parts);
    // The parts are counted in 32 bits, and one too many.
    if threads <= 1 || AT_WORK.get() || parts > i32::MAX as usize {
        return (0..parts).for_each(work);
    }
    let mut helpers = match HELPERS.try_lock() {
        Ok(helpers) => helpers,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        // Who asks for a number of threads gets them.
        Err(TryLockError::WouldBlock) if FORCED.get().is_some() => {
            HELPERS.lock().unwrap_or_else(PoisonError::into_inner)
        }
        Err(TryLockError::WouldBlock) => return (0..parts).for_each(work),
    };
    while helpers.len() < threads - 1 {
        let number = helpers.len() + 1;
        helpers.push(Helper::start(number));
    }
    // SAFETY: only the lifetime changes; nobody uses the pointer once this function has returned.
    let work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
    let asked = &helpers[..threads - 1];
    let job = Job { work, own: Parts::default(), helpers: asked, left: AtomicUsize::new(0), panic: Mutex::new(None) };
    job.share(parts as u32);
    {
        let mut end = End { job: &job, panicking: true };
        AT_WORK.set(true);
        asked.iter().for_each(|helper| helper.give(&job));
        job.run(&job.own, 0);
        end.panicking = false;
    }
    drop(helpers);
    let panic = job.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// Takes the job back from those who have not come, and waits for the others; also when the caller's own part panics.
struct End<'a> {
    job: &'a Job,
    /// The caller's own part has not come to its end.
    panicking: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        AT_WORK.set(false);
        if self.panicking {
            self.job.clear();
        }
        let came = self.job.helpers().iter().filter(|helper| helper.take().is_none()).count();
        let mut looks = 0_u32;
        while self.job.left.load(Ordering::Acquire) < came {
            looks += 1;
            if looks.is_multiple_of(1 << 12) {
                // Perhaps there are fewer cores than threads.
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_by_as_many_threads_as_there_may_be() {
        for threads in [1, 2, 3, 8] {
            for parts in [0, 1, 2, 7, 1000] {
                let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                with_num_threads(threads, || {
                    share_out(parts, &|part| {
                        done[part].fetch_add(1, Ordering::Relaxed);
                    });
                });
                assert!(
                    done.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                    "{threads} threads, {parts} parts"
                );
            }
        }
    }

    #[test]
    fn helpers_come_even_after_they_have_slept() {
        for pause in [0, 1, 3] {
            std::thread::sleep(Duration::from_millis(pause));
            let names = Mutex::new(std::collections::HashSet::new());
            with_num_threads(2, || {
                share_out(2, &|_| {
                    names.lock().unwrap().insert(std::thread::current().id());
                    // Until both are here.
                    let start = Instant::now();
                    while names.lock().unwrap().len() < 2 && start.elapsed() < Duration::from_secs(20) {
                        std::thread::yield_now();
                    }
                });
            });
            assert_eq!(names.lock().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_helpers_live_on() {
        for culprit in [0, 5, 63] {
            let caught = catch_unwind(|| {
                with_num_threads(3, || share_out(64, &|part| assert!(part != culprit, "part {part}")));
            });
            let message = *caught.unwrap_err().downcast::<String>().unwrap();
            assert!(message.contains(&format!("part {culprit}")), "{message}");
        }
        let sum = AtomicUsize::new(0);
        with_num_threads(3, || {
            share_out(100, &|part| {
                sum.fetch_add(part, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 4950);
    }

    #[test]
    fn work_that_shares_out_in_turn_and_many_callers_at_once_get_all_done() {
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        share_out(8, &|_| {
                            share_out(4, &|_| {
                                sum.fetch_add(1, Ordering::Relaxed);
                            })
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 200 * 8 * 4);
    }
}
