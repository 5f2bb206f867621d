//! Batches: in random order, and made ahead on a thread of their own.

use super::Dataset;
use crate::rng::{Rng, with_thread_rng};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// Gives out a data set in batches, epoch by epoch.
///
/// The order of an epoch depends on the seed and on the epoch's number alone, so a training run that is resumed at
/// epoch 12 sees the batches that it would have seen. So does what [`Dataset::batch`] draws from the thread's generator,
/// to augment images for instance: each batch has a stream of its own, on whatever thread it is made.
///
/// ```
/// use wengert::{Tensor, data::DataLoader};
///
/// let data = (Tensor::randn([1000, 3]), Tensor::<i64>::arange(0, 1000));
/// let loader = DataLoader::new(data, 64).shuffle(true).seed(7).prefetch(2);
/// for epoch in 0..3 {
///     for (x, y) in loader.epoch(epoch) {
///         assert_eq!(x.shape()[0], y.numel());
///     }
/// }
/// assert_eq!(loader.len(), 16);
/// ```
#[derive(Clone, Debug)]
pub struct DataLoader<D> {
    dataset: Arc<D>,
    batch_size: usize,
    shuffle: bool,
    drop_last: bool,
    prefetch: usize,
    /// Set at the first epoch where [`DataLoader::seed`] has not done so.
    rng: OnceLock<Rng>,
}

impl<D: Dataset + 'static> DataLoader<D> {
    /// Batches of `batch_size` samples in the order of the data, the last one with what is left, made when asked for.
    ///
    /// Unless [`DataLoader::seed`] sets a seed, the first epoch draws one from the thread's generator ([`crate::seed`]).
    ///
    /// # Panics
    /// When `batch_size` is 0.
    #[track_caller]
    pub fn new(dataset: D, batch_size: usize) -> DataLoader<D> {
        check(batch_size);
        let (dataset, rng) = (Arc::new(dataset), OnceLock::new());
        DataLoader { dataset, batch_size, shuffle: false, drop_last: false, prefetch: 0, rng }
    }

    /// Whether every epoch has a random order of its own.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Sets what the order of every epoch follows from, together with its number.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Rng::new(seed).into();
        self
    }

    /// Whether to leave out the last batch when it is smaller than the others.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// How many batches a thread of its own makes ahead; 0, the default, makes each when it is asked for.
    ///
    /// The batches are the same.
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.prefetch = batches;
        self
    }

    /// How many batches an epoch has.
    pub fn len(&self) -> usize {
        count(self.dataset.len(), self.batch_size, self.drop_last)
    }

    /// Whether an epoch has no batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }

    /// One pass over the data.
    ///
    /// A panic in [`Dataset::batch`] comes up where the batch is taken, also from the thread that prefetches. That thread
    /// has ended when the iterator has been dropped, which waits for the batch in work.
    pub fn epoch(&self, epoch: u64) -> Epoch<D> {
        self.rest_of_epoch(epoch, 0)
    }

    /// [`DataLoader::epoch`] from batch `first` on, counted from 0: where a training run was stopped. The batches before it
    /// are not made.
    pub fn rest_of_epoch(&self, epoch: u64, first: usize) -> Epoch<D> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        let rng = self.rng.get_or_init(|| Rng::new(with_thread_rng(Rng::next_u64))).stream(epoch);
        if self.shuffle {
            rng.clone().shuffle(&mut order);
        }
        let mut plan = Plan { rng: Some(rng), ..Plan::new(order, self.batch_size, self.drop_last) };
        plan.next = plan.order.len().min(first.saturating_mul(self.batch_size));
        let left = plan.left();
        let source = match self.prefetch.min(left) {
            0 => Source::Here(self.dataset.clone(), plan),
            ahead => Source::Ahead(Ahead::start(self.dataset.clone(), plan, ahead)),
        };
        Epoch { source, left }
    }
}

#[track_caller]
fn check(batch_size: usize) {
    assert!(batch_size > 0, "batches: expected a batch size of at least 1, found 0");
}

fn count(samples: usize, batch_size: usize, drop_last: bool) -> usize {
    if drop_last { samples / batch_size } else { samples.div_ceil(batch_size) }
}

/// Which samples the next batches have.
#[derive(Debug)]
struct Plan {
    order: Vec<usize>,
    batch_size: usize,
    next: usize,
    /// Has a stream for each batch to draw from; without it, batches draw from the thread's generator as it stands.
    rng: Option<Rng>,
}

impl Plan {
    fn new(mut order: Vec<usize>, batch_size: usize, drop_last: bool) -> Plan {
        if drop_last {
            order.truncate(order.len() / batch_size * batch_size);
        }
        Plan { order, batch_size, next: 0, rng: None }
    }

    fn left(&self) -> usize {
        count(self.order.len() - self.next, self.batch_size, false)
    }

    fn next<D: Dataset + ?Sized>(&mut self, dataset: &D) -> Option<D::Batch> {
        let start = self.next;
        self.next = self.order.len().min(start.saturating_add(self.batch_size));
        let _drawing = self.rng.as_ref().map(|rng| Drawing::from(rng.stream((start / self.batch_size) as u64)));
        (start < self.next).then(|| dataset.batch(&self.order[start..self.next]))
    }
}

/// While it lives, another generator stands in for the thread's, which it keeps.
struct Drawing(Rng);

impl Drawing {
    fn from(rng: Rng) -> Drawing {
        Drawing(with_thread_rng(|thread| std::mem::replace(thread, rng)))
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        with_thread_rng(|thread| std::mem::swap(thread, &mut self.0));
    }
}

/// The batches of one pass: [`Dataset::batches`].
#[derive(Debug)]
pub struct Batches<'a, D: ?Sized> {
    dataset: &'a D,
    plan: Plan,
}

impl<'a, D: Dataset + ?Sized> Batches<'a, D> {
    #[track_caller]
    pub(super) fn new(dataset: &'a D, batch_size: usize, rng: &mut Rng) -> Batches<'a, D> {
        check(batch_size);
        let mut order: Vec<usize> = (0..dataset.len()).collect();
        rng.shuffle(&mut order);
        Batches { dataset, plan: Plan::new(order, batch_size, false) }
    }
}

impl<D: Dataset + ?Sized> Iterator for Batches<'_, D> {
    type Item = D::Batch;
    fn next(&mut self) -> Option<D::Batch> {
        self.plan.next(self.dataset)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.plan.left(), Some(self.plan.left()))
    }
}

impl<D: Dataset + ?Sized> ExactSizeIterator for Batches<'_, D> {}

/// The batches of one epoch: [`DataLoader::epoch`].
pub struct Epoch<D: Dataset> {
    source: Source<D>,
    left: usize,
}

enum Source<D: Dataset> {
    Here(Arc<D>, Plan),
    Ahead(Ahead<D::Batch>),
}

impl<D: Dataset> Iterator for Epoch<D> {
    type Item = D::Batch;
    fn next(&mut self) -> Option<D::Batch> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Here(dataset, plan) => plan.next(&**dataset),
            Source::Ahead(ahead) => ahead.next(),
        }
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<D: Dataset> ExactSizeIterator for Epoch<D> {}

/// A thread that makes batches ahead. Either field is gone once the thread is to end.
struct Ahead<B> {
    batches: Option<Receiver<B>>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Send + 'static> Ahead<B> {
    fn start<D: Dataset<Batch = B> + 'static>(dataset: Arc<D>, mut plan: Plan, ahead: usize) -> Ahead<B> {
        // One batch is in the thread's hands while it waits for room in the channel.
        let (send, batches) = sync_channel(ahead - 1);
        let work = move || {
            while let Some(batch) = plan.next(&*dataset) {
                if send.send(batch).is_err() {
                    return; // the iterator was dropped
                }
            }
        };
        let thread = thread::Builder::new().name("wengert-prefetch".into()).spawn(work);
        Ahead { batches: Some(batches), thread: Some(thread.expect("a thread to prefetch batches on")) }
    }

    fn next(&mut self) -> Option<B> {
        match self.batches.as_ref()?.recv() {
            Ok(batch) => Some(batch),
            Err(_) => {
                self.batches = None;
                let ended = self.thread.take()?.join();
                ended.unwrap_or_else(|panic| resume_unwind(panic));
                None
            }
        }
    }
}

impl<B> Drop for Ahead<B> {
    fn drop(&mut self) {
        // The channel first: a thread that waits for room in it then ends.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic in a batch that nobody takes any more is nobody's.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// The numbers themselves; counts the batches made and panics at one number.
    struct Numbers {
        len: usize,
        made: Arc<AtomicUsize>,
        panic_at: usize,
    }

    impl Dataset for Numbers {
        type Batch = Vec<usize>;
        fn len(&self) -> usize {
            self.len
        }
        fn batch(&self, indices: &[usize]) -> Vec<usize> {
            assert!(!indices.contains(&self.panic_at), "sample {} is broken", self.panic_at);
            self.made.fetch_add(1, Ordering::SeqCst);
            indices.to_vec()
        }
    }

    fn numbers(len: usize) -> Numbers {
        Numbers { len, made: Arc::default(), panic_at: usize::MAX }
    }

    fn sorted(batches: impl Iterator<Item = Vec<usize>>) -> Vec<usize> {
        let mut all: Vec<usize> = batches.flatten().collect();
        all.sort();
        all
    }

    #[test]
    fn an_epoch_has_every_sample_once_however_it_is_cut() {
        for (len, size) in [(0, 3), (1, 3), (3, 3), (10, 3), (10, 1), (10, 100), (10, usize::MAX)] {
            for prefetch in [0, 1, 2, 50] {
                let loader = DataLoader::new(numbers(len), size).shuffle(true).prefetch(prefetch);
                assert_eq!(sorted(loader.epoch(0)), (0..len).collect::<Vec<_>>());
                assert_eq!(loader.epoch(0).len(), loader.len());
                assert_eq!(loader.epoch(0).count(), len.div_ceil(size));
                let whole = loader.drop_last(true);
                assert!(whole.epoch(0).all(|batch| batch.len() == size));
                assert_eq!((whole.len(), whole.epoch(0).count()), (len / size, len / size));
            }
        }
    }

    #[test]
    fn without_shuffling_the_order_is_that_of_the_data() {
        let loader = DataLoader::new(numbers(5), 2);
        assert_eq!(loader.epoch(9).collect::<Vec<_>>(), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn the_order_follows_from_seed_and_epoch_alone() {
        let order = |seed, prefetch, epoch| {
            let loader = DataLoader::new(numbers(100), 7).shuffle(true).seed(seed).prefetch(prefetch);
            loader.epoch(epoch).collect::<Vec<_>>()
        };
        let first = order(1, 0, 3);
        assert_eq!(order(1, 2, 3), first);
        let loader = DataLoader::new(numbers(100), 7).shuffle(true).seed(1);
        loader.epoch(0).take(3).for_each(drop);
        assert_eq!(loader.epoch(3).collect::<Vec<_>>(), first);
        assert_ne!(order(1, 0, 4), first);
        assert_ne!(order(2, 0, 3), first);
    }

    #[test]
    fn the_seed_is_the_threads_unless_one_is_given() {
        let order = || DataLoader::new(numbers(100), 100).shuffle(true).epoch(0).next();
        crate::seed(5);
        let (first, second) = (order(), order());
        assert_ne!(first, second);
        crate::seed(5);
        DataLoader::new(numbers(100), 100).shuffle(true).seed(1).epoch(0).next();
        assert_eq!(order(), first);
    }

    #[test]
    fn the_short_form_draws_an_order_from_the_generator() {
        let (data, mut rng) = (numbers(50), Rng::new(3));
        let first: Vec<_> = data.batches(8, &mut rng).collect();
        assert_eq!(data.batches(8, &mut rng).len(), 7);
        assert_ne!(data.batches(8, &mut rng).collect::<Vec<_>>(), first);
        assert_eq!(data.batches(8, &mut Rng::new(3)).collect::<Vec<_>>(), first);
        assert_eq!(sorted(first.into_iter()), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_batches_are_made_ahead_than_asked_for() {
        for prefetch in [1, 3] {
            let data = numbers(100);
            let made = data.made.clone();
            let loader = DataLoader::new(data, 1).prefetch(prefetch);
            let mut epoch = loader.epoch(0);
            epoch.next();
            let most = 1 + prefetch;
            while made.load(Ordering::SeqCst) < most {
                thread::yield_now();
            }
            // Time for a mistake to show; a correct loader cannot fail here however slow the machine is.
            thread::sleep(Duration::from_millis(20));
            assert_eq!(made.load(Ordering::SeqCst), most);
            drop(epoch);
            assert_eq!(Arc::strong_count(&loader.dataset), 1, "the thread has ended and let go of the data");
        }
    }

    #[test]
    fn dropping_an_epoch_ends_its_thread_wherever_it_stands() {
        for taken in 0..12 {
            let loader = DataLoader::new(numbers(10), 1).prefetch(2);
            let mut epoch = loader.epoch(0);
            for _ in 0..taken {
                epoch.next();
            }
            drop(epoch);
            assert_eq!(Arc::strong_count(&loader.dataset), 1);
        }
    }

    #[test]
    fn a_panic_in_a_batch_comes_up_where_it_is_taken() {
        for prefetch in [0, 1, 4] {
            let loader = DataLoader::new(Numbers { panic_at: 5, ..numbers(10) }, 2).prefetch(prefetch);
            let mut epoch = loader.epoch(0);
            assert_eq!((epoch.next(), epoch.next()), (Some(vec![0, 1]), Some(vec![2, 3])));
            let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| epoch.next())).unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().unwrap(), "sample 5 is broken");
            drop(epoch);
            let mut untaken = loader.epoch(0);
            untaken.next();
            drop(untaken);
        }
    }

    #[test]
    fn what_a_batch_draws_follows_from_seed_epoch_and_batch_alone() {
        let draws = |prefetch, epoch| {
            let data = numbers(10).transform(|batch| (batch, with_thread_rng(Rng::next_u64)));
            let loader = DataLoader::new(data, 3).seed(5).prefetch(prefetch);
            loader.epoch(epoch).map(|(_, draw)| draw).collect::<Vec<_>>()
        };
        crate::seed(1);
        let (first, after) = (draws(0, 2), with_thread_rng(Rng::next_u64));
        crate::seed(1);
        assert_eq!((draws(2, 2), with_thread_rng(Rng::next_u64)), (first.clone(), after));
        let mut all = [first, draws(0, 3), draws(2, 4)].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3 * 4, "no two batches draw the same");
    }

    #[test]
    fn a_shared_data_set_is_not_copied() {
        let data = Arc::new((Tensor::randn([10, 2]), Tensor::<i64>::arange(0, 10)));
        let loaders = [0, 2].map(|prefetch| DataLoader::new(data.clone(), 4).shuffle(true).seed(1).prefetch(prefetch));
        let [a, b] = loaders.map(|loader| loader.epoch(0).map(|(x, y)| (x.to_vec(), y.to_vec())).collect::<Vec<_>>());
        assert_eq!(a, b);
        assert_eq!(a[2].1.len(), 2);
    }

    #[test]
    #[should_panic(expected = "batches: expected a batch size of at least 1, found 0")]
    fn a_batch_size_of_zero_panics() {
        DataLoader::new(numbers(3), 0);
    }

    #[test]
    #[should_panic(expected = "batches: expected a batch size of at least 1, found 0")]
    fn a_batch_size_of_zero_panics_in_the_short_form() {
        numbers(3).batches(0, &mut Rng::new(0));
    }

    #[test]
    fn an_epoch_goes_on_from_any_batch() {
        for prefetch in [0, 2] {
            let loader = DataLoader::new(numbers(23), 5).shuffle(true).seed(4).prefetch(prefetch);
            let whole: Vec<_> = loader.epoch(2).collect();
            for first in 0..7 {
                let rest = loader.rest_of_epoch(2, first);
                assert_eq!(rest.len(), 5_usize.saturating_sub(first));
                assert_eq!(rest.collect::<Vec<_>>(), whole[first.min(5)..]);
            }
        }
    }
}
