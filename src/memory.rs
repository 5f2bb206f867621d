//! The buffer pool: recycled, 64-byte aligned, reference-counted blocks that tensors keep their elements in.
//!
//! Writing into a fresh allocation costs page faults, with pages of 4 KiB ten times the work of an addition. So a block that is
//! no longer used goes back to the pool, and the next tensor of about its size takes it: a training loop in steady state
//! asks the system for nothing. Some small blocks wait in a cache of their thread, without a lock; all others in a shared
//! pool with an upper bound ([`set_cache_limit`]).
#![allow(unsafe_code, reason = "owns raw blocks; each block states why it is sound")]

use crate::element::Element;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const ALIGN: usize = 64;
/// Blocks up to this many bytes wait in the cache of their thread.
const SMALL: usize = 16 << 10;
/// Bytes that one thread's cache keeps per size class.
const SMALL_KEEP: usize = 64 << 10;
/// Blocks from this many bytes on ask for large pages: a pass over smaller ones finds their pages in the processor's table.
const LARGE: usize = 8 << 20;
/// Size classes: four to each doubling, so at most a fifth of a block is unused.
const CLASSES: usize = 4 * usize::BITS as usize;

/// What stands before the elements of a block, in a cache line of its own.
#[repr(C, align(64))]
struct Header {
    handles: AtomicUsize,
    /// Elements in use.
    len: usize,
    class: usize,
    /// Where the allocation begins: up to 63 bytes before the header.
    base: *mut u8,
    /// An [`Arranged`] of the elements, or null.
    arranged: AtomicPtr<()>,
}

/// The elements of a block in the order in which a kernel reads them.
struct Arranged<T: Element> {
    order: Order,
    elements: Storage<T>,
    /// Another one of the same elements, or null.
    next: AtomicPtr<()>,
}

impl<T: Element> Drop for Arranged<T> {
    fn drop(&mut self) {
        // SAFETY: `arranged` has put it there.
        unsafe { free_arranged::<T>(&mut self.next) };
    }
}

/// Orders in which the elements of a block are kept at most.
const ORDERS: usize = 2;

/// # Safety
/// `place` must hold null or an [`Arranged`] for elements of this type, to which nobody has a reference.
#[inline]
unsafe fn free_arranged<T: Element>(place: &mut AtomicPtr<()>) {
    let arranged = std::mem::replace(place.get_mut(), std::ptr::null_mut());
    if !arranged.is_null() {
        // SAFETY: the caller vouches for it.
        drop(unsafe { Box::from_raw(arranged.cast::<Arranged<T>>()) });
    }
}

/// An order of elements: numbers that a kernel knows it by, the first of which no other kernel has.
pub(crate) type Order = [usize; 5];

/// The class and the bytes of a block that holds a header and `bytes` of elements.
fn class_of(bytes: usize) -> (usize, usize) {
    let last = (bytes + size_of::<Header>()).max(2 * ALIGN) - 1;
    let shift = last.ilog2() - 2;
    let steps = (last >> shift) + 1; // 5 to 8 quarters of a power of two
    (shift as usize * 4 + steps - 5, steps << shift)
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);
static CACHE_LIMIT: AtomicUsize = AtomicUsize::new(1 << 30);
static SYSTEM_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static POOL: Mutex<[Vec<Free>; CLASSES]> = Mutex::new([const { Vec::new() }; CLASSES]);

thread_local! {
    static CACHE: RefCell<Cache> = const { RefCell::new(Cache([const { Vec::new() }; CLASSES])) };
}

/// A block that nobody uses: its whole memory is initialised, its header is stale.
struct Free(NonNull<Header>);
// SAFETY: a free block is plain memory with one owner.
unsafe impl Send for Free {}

struct Cache([Vec<Free>; CLASSES]);

impl Drop for Cache {
    fn drop(&mut self) {
        for (class, blocks) in self.0.iter_mut().enumerate() {
            blocks.drain(..).for_each(|block| block.release(bytes_of(class)));
        }
    }
}

fn bytes_of(class: usize) -> usize {
    (class % 4 + 5) << (class / 4)
}

/// Lets the system put pages of 2 MiB behind the whole ones of this memory, where it offers them to those who ask (Linux, whose
/// distributions mostly do). A pass then looks up fewer addresses and makes fewer page faults. The advice stays with the pages
/// when the memory goes back to the allocator.
fn ask_for_large_pages(base: *mut u8, bytes: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::ffi::{c_int, c_void};
        const PAGE: usize = 2 << 20;
        const MADV_HUGEPAGE: c_int = 14;
        // SAFETY: the standard library links to the C library, which declares it so.
        unsafe extern "C" {
            fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
        }
        let skipped = base.align_offset(PAGE);
        if skipped < bytes {
            // SAFETY: the range lies inside the allocation, and this advice changes no content. It may be refused.
            unsafe { madvise(base.add(skipped).cast(), (bytes - skipped) / PAGE * PAGE, MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (base, bytes);
}

impl Free {
    fn layout(bytes: usize) -> Layout {
        // The slack lets the header be moved up to the next multiple of 64. Asking for that alignment itself would make
        // the allocator write zeros where the system hands out zero pages for nothing.
        Layout::from_size_align(bytes + ALIGN, 16).expect("a block smaller than the address space")
    }

    fn fresh(class: usize, bytes: usize) -> Free {
        let layout = Free::layout(bytes);
        // SAFETY: the layout is not of size 0.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        SYSTEM_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        if bytes >= LARGE {
            ask_for_large_pages(base, bytes);
        }
        // SAFETY: the offset is at most 63 and the allocation has 64 bytes more than the block.
        let header = unsafe { base.add(base.align_offset(ALIGN)) }.cast::<Header>();
        let arranged = AtomicPtr::default();
        // SAFETY: the place is aligned, inside the allocation and not aliased.
        unsafe { header.write(Header { handles: AtomicUsize::new(0), len: 0, class, base, arranged }) };
        Free(NonNull::new(header).expect("not null: checked above"))
    }

    fn release(self, bytes: usize) {
        // SAFETY: the header outlives its last user, and `fresh` stored there what it got with this layout.
        unsafe { dealloc(self.0.as_ref().base, Free::layout(bytes)) };
    }

    /// A block of the class, recycled if there is one, and whether it is zeroed.
    fn take(class: usize, bytes: usize) -> (Free, bool) {
        if bytes <= SMALL
            && let Ok(Some(block)) = CACHE.try_with(|cache| cache.borrow_mut().0[class].pop())
        {
            return (block, false);
        }
        let recycled = POOL.lock().unwrap_or_else(|e| e.into_inner())[class].pop();
        match recycled {
            Some(block) => {
                CACHED.fetch_sub(bytes, Ordering::Relaxed);
                (block, false)
            }
            None => (Free::fresh(class, bytes), true),
        }
    }

    /// To the cache of this thread where the block is small and there is room, else to the pool, else to the system.
    fn give_back(self, class: usize) {
        let bytes = bytes_of(class);
        let mut block = Some(self);
        if bytes <= SMALL {
            // The cache is gone while its thread ends.
            let _ = CACHE.try_with(|cache| {
                let blocks = &mut cache.borrow_mut().0[class];
                if blocks.len() * bytes < SMALL_KEEP {
                    blocks.extend(block.take());
                }
            });
        }
        let Some(block) = block else { return };
        if CACHED.load(Ordering::Relaxed) + bytes <= CACHE_LIMIT.load(Ordering::Relaxed) {
            CACHED.fetch_add(bytes, Ordering::Relaxed);
            POOL.lock().unwrap_or_else(|e| e.into_inner())[class].push(block);
        } else {
            block.release(bytes);
        }
    }
}

/// Bytes of tensor memory, of the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// In blocks that tensors hold now, and those of weights that inference keeps a second time, in the order in which it reads
    /// them.
    pub live: usize,
    /// The largest `live` so far, or since [`reset_peak`].
    pub peak: usize,
    /// In blocks of the shared pool that wait for reuse.
    pub cached: usize,
    /// How many blocks the system allocator was asked for so far.
    pub system_allocations: usize,
}

/// What tensors hold and what waits for reuse.
///
/// ```
/// use wengert::{Tensor, memory};
/// let before = memory::stats().live;
/// let x = Tensor::zeros([1000, 1000]);
/// assert!(memory::stats().live - before >= 4_000_000);
/// # drop(x);
/// ```
pub fn stats() -> Stats {
    Stats {
        live: LIVE.load(Ordering::Relaxed),
        peak: PEAK.load(Ordering::Relaxed),
        cached: CACHED.load(Ordering::Relaxed),
        system_allocations: SYSTEM_ALLOCATIONS.load(Ordering::Relaxed),
    }
}

/// Starts the measurement of the peak anew, at what is live now.
pub fn reset_peak() {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Sets how many bytes of the shared pool may wait for reuse (1 GiB unless set), and gives the rest back to the system.
pub fn set_cache_limit(bytes: usize) {
    CACHE_LIMIT.store(bytes, Ordering::Relaxed);
    trim_to(bytes);
}

/// Gives every block of the shared pool back to the system.
pub fn trim() {
    trim_to(0);
}

fn trim_to(limit: usize) {
    let mut pool = POOL.lock().unwrap_or_else(|e| e.into_inner());
    for (class, blocks) in pool.iter_mut().enumerate().rev() {
        while CACHED.load(Ordering::Relaxed) > limit
            && let Some(block) = blocks.pop()
        {
            CACHED.fetch_sub(bytes_of(class), Ordering::Relaxed);
            block.release(bytes_of(class));
        }
    }
}

/// Reference-counted elements in a pooled block.
pub(crate) struct Storage<T: Element> {
    block: NonNull<Header>,
    elements: PhantomData<T>,
}
// SAFETY: shared handles only read, writing needs the only handle, and the count is atomic, as in `Arc`.
unsafe impl<T: Element> Send for Storage<T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for Storage<T> {}

impl<T: Element> Storage<T> {
    /// `len` elements of arbitrary value: what the block held before.
    pub fn scratch(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).filter(|&b| b <= isize::MAX as usize / 4);
        let (class, bytes) = class_of(bytes.expect("tensor: more bytes than the address space"));
        let (block, zeroed) = Free::take(class, bytes);
        let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if live > PEAK.load(Ordering::Relaxed) {
            PEAK.fetch_max(live, Ordering::Relaxed);
        }
        // SAFETY: the block is ours alone, and its header was written by `fresh`.
        let header = unsafe { &mut *block.0.as_ptr() };
        header.handles = AtomicUsize::new(1);
        header.len = len;
        let mut storage = Storage::<T> { block: block.0, elements: PhantomData };
        if !zeroed && !T::ANY_BITS {
            // SAFETY: the block has room for `len` elements, and all-zero bytes are a value of every element type.
            unsafe { storage.data().as_ptr().write_bytes(0, len) };
        }
        debug_assert!(storage.get_mut().is_some());
        storage
    }

    /// The given elements.
    pub fn from_slice(elements: &[T]) -> Self {
        let mut storage = Storage::scratch(elements.len());
        storage.make_mut().copy_from_slice(elements);
        storage
    }

    fn header(&self) -> &Header {
        // SAFETY: the block lives as long as a handle does.
        unsafe { self.block.as_ref() }
    }

    fn data(&self) -> NonNull<T> {
        // SAFETY: the elements follow the header inside the same allocation.
        unsafe { self.block.add(1).cast() }
    }

    /// All elements.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: `len` elements were initialised (zeroed or written) when the block was made or recycled, every bit
        // pattern in it is a value of `T` (`ANY_BITS`, else zeroed), and nobody writes while a shared handle exists.
        unsafe { std::slice::from_raw_parts(self.data().as_ptr(), self.header().len) }
    }

    /// All elements for writing, when this is the only handle.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut [T]> {
        if self.header().handles.load(Ordering::Acquire) != 1 {
            return None;
        }
        self.disarrange();
        // SAFETY: as in `as_slice`; this is the only handle and it is borrowed mutably.
        Some(unsafe { std::slice::from_raw_parts_mut(self.data().as_ptr(), self.header().len) })
    }

    /// The elements as `arrange` writes them, who gets room for `len`: once, and then again after they have changed. `None`
    /// where they are kept in other orders already.
    pub fn arranged(&self, order: Order, len: usize, arrange: impl FnOnce(&mut [T])) -> Option<&[T]> {
        let (mut place, mut arrange, mut new) = (&self.header().arranged, Some(arrange), None);
        for _ in 0..ORDERS {
            let mut kept = place.load(Ordering::Acquire);
            if kept.is_null() {
                let made = new.take().unwrap_or_else(|| {
                    let mut elements = Storage::scratch(len);
                    let arrange = arrange.take().expect("made once");
                    arrange(elements.get_mut().expect("the only handle: just made"));
                    Box::new(Arranged { order, elements, next: AtomicPtr::default() })
                });
                let made = Box::into_raw(made);
                kept = match place.compare_exchange(kept, made.cast(), Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => made.cast(),
                    Err(other) => {
                        // SAFETY: made above; another thread was faster, so nobody has seen it.
                        new = Some(unsafe { Box::from_raw(made) });
                        other
                    }
                };
            }
            // SAFETY: not null, and of a block of `T`; it is freed only by who has the only handle for itself (`disarrange`),
            // and this handle is borrowed as long as the result is.
            let kept = unsafe { &*kept.cast::<Arranged<T>>() };
            if kept.order == order {
                return Some(kept.elements.as_slice());
            }
            place = &kept.next;
        }
        None
    }

    /// Frees what is arranged; for the only handle.
    #[inline]
    fn disarrange(&mut self) {
        // SAFETY: the only handle, as the caller has found, so nobody has a reference to what `arranged` has put there.
        unsafe { free_arranged::<T>(&mut self.block.as_mut().arranged) };
    }

    /// All elements for writing, copied first when another handle reads them.
    pub fn make_mut(&mut self) -> &mut [T] {
        if self.get_mut().is_none() {
            *self = Storage::from_slice(self.as_slice());
        }
        self.get_mut().expect("the only handle: just made")
    }
}

impl<T: Element> Clone for Storage<T> {
    #[inline]
    fn clone(&self) -> Self {
        let handles = self.header().handles.fetch_add(1, Ordering::Relaxed);
        assert!(handles < isize::MAX as usize, "too many handles on one tensor");
        Storage { block: self.block, elements: PhantomData }
    }
}

impl<T: Element> Drop for Storage<T> {
    #[inline]
    fn drop(&mut self) {
        if self.header().handles.fetch_sub(1, Ordering::Release) == 1 {
            // What other threads read through their handles comes before the block's next use.
            std::sync::atomic::fence(Ordering::Acquire);
            self.disarrange();
            let class = self.header().class;
            LIVE.fetch_sub(bytes_of(class), Ordering::Relaxed);
            Free(self.block).give_back(class);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_hold_what_they_are_asked_for_and_waste_at_most_a_fifth() {
        for bytes in (0..4000).chain([1 << 20, (1 << 20) + 1, 12_345_678]) {
            let (class, size) = class_of(bytes);
            assert_eq!(size, bytes_of(class));
            let needed = bytes + size_of::<Header>();
            assert!(size >= needed && (size * 4 <= needed * 5 || size <= 2 * ALIGN), "{bytes}: {size}");
        }
    }

    #[test]
    fn elements_stand_at_multiples_of_64_bytes() {
        for len in [0, 1, 100, 10_000, 1_000_000] {
            assert_eq!(Storage::<f32>::scratch(len).as_slice().as_ptr() as usize % 64, 0);
        }
    }

    #[test]
    fn blocks_of_large_pages_hold_what_is_written_up_to_their_ends() {
        for len in [LARGE, LARGE + (2 << 20), 2 * LARGE + 12_345].map(|bytes| bytes / 4) {
            let mut a = Storage::<f32>::scratch(len);
            a.make_mut().iter_mut().enumerate().for_each(|(i, x)| *x = (i % 1021) as f32);
            assert!(a.as_slice().iter().enumerate().all(|(i, &x)| x == (i % 1021) as f32));
        }
    }

    #[test]
    fn a_block_is_recycled_and_a_shared_one_is_copied_before_it_is_written() {
        let mut a = Storage::from_slice(&[1.0_f32; 100_000]);
        let place = a.as_slice().as_ptr();
        let b = a.clone();
        assert!(a.get_mut().is_none());
        a.make_mut()[0] = 2.0;
        assert_eq!((a.as_slice()[0], b.as_slice()[0]), (2.0, 1.0));
        assert_eq!(b.as_slice().as_ptr(), place);
    }

    #[test]
    fn what_is_arranged_is_kept_until_the_elements_change() {
        let order = [1, 2, 3, 4, 5];
        let reversed = |a: &Storage<f32>, order| {
            let backwards = |to: &mut [f32]| to.iter_mut().zip(a.as_slice().iter().rev()).for_each(|(y, &x)| *y = x);
            a.arranged(order, 3, backwards).map(<[f32]>::to_vec)
        };
        let mut a = Storage::from_slice(&[1.0, 2.0, 3.0]);
        assert_eq!(reversed(&a, order), Some(vec![3.0, 2.0, 1.0]));
        // Kept, for all handles.
        let b = a.clone();
        assert_eq!(b.arranged(order, 3, |_| panic!("arranged again")), Some(&[3.0, 2.0, 1.0][..]));
        // A second order stands beside it, a third has no place.
        assert_eq!(b.arranged([0; 5], 1, |to| to[0] = 9.0), Some(&[9.0][..]));
        assert_eq!(b.arranged([0; 5], 1, |_| panic!("arranged again")), Some(&[9.0][..]));
        assert_eq!(b.arranged(order, 3, |_| panic!("arranged again")), Some(&[3.0, 2.0, 1.0][..]));
        assert_eq!(reversed(&b, [6; 5]), None);
        // One handle writes to a copy, the other one keeps what it has.
        a.make_mut()[0] = 7.0;
        assert_eq!(reversed(&a, order), Some(vec![3.0, 2.0, 7.0]));
        assert_eq!(b.arranged(order, 3, |_| panic!("arranged again")), Some(&[3.0, 2.0, 1.0][..]));
        // The only handle writes in place.
        a.make_mut()[0] = 8.0;
        assert_eq!(reversed(&a, order), Some(vec![3.0, 2.0, 8.0]));
    }

    #[test]
    fn threads_that_arrange_at_once_see_the_same() {
        let a = Storage::from_slice(&[1.0_f32; 100]);
        let places: Vec<usize> = std::thread::scope(|scope| {
            let arrange =
                |i: usize| a.arranged([i % 2; 5], 100, |to| to.fill(2.0)).expect("two orders").as_ptr() as usize;
            let threads: Vec<_> = (0..8).map(|i| scope.spawn(move || arrange(i))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(places.iter().enumerate().all(|(i, &place)| place == places[i % 2]));
    }

    #[test]
    fn recycled_memory_is_a_valid_bool() {
        for _ in 0..10 {
            drop(Storage::from_slice(&[255_u8; 300]));
            assert!(Storage::<bool>::scratch(300).as_slice().iter().all(|&x| !x));
        }
    }
}
