//! One repeat of a workload.

use std::hint::black_box;
use std::time::Instant;

/// Does the workload once and returns the seconds that count.
pub type Run = Box<dyn FnMut() -> f64>;

/// A repeat that is timed from beginning to end.
pub fn timed<R: 'static>(mut run: impl FnMut() -> R + 'static) -> Run {
    Box::new(move || {
        let start = Instant::now();
        // Giving the result back is part of it.
        drop(black_box(run()));
        start.elapsed().as_secs_f64()
    })
}
