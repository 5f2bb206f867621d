//! Learning rates as plain functions of the step, counted from 0.
//!
//! ```
//! use wengert::optim::schedule;
//! let rate = schedule::linear_warmup(4, schedule::step(0.1, 10, 0.5));
//! assert_eq!([rate(0), rate(3), rate(4), rate(14)], [0.025, 0.1, 0.1, 0.05]);
//! ```

use std::f64::consts::PI;

/// `lr`, always.
pub fn constant(lr: f64) -> impl Fn(usize) -> f64 + Clone {
    move |_| lr
}

/// `lr gamma^floor(step / every)`.
///
/// # Panics
/// When `every` is 0.
#[track_caller]
pub fn step(lr: f64, every: usize, gamma: f64) -> impl Fn(usize) -> f64 + Clone {
    assert!(every > 0, "schedule::step: every: expected at least 1, found 0");
    move |step| lr * gamma.powf((step / every) as f64)
}

/// `lr gamma^step`.
pub fn exponential(lr: f64, gamma: f64) -> impl Fn(usize) -> f64 + Clone {
    move |step| lr * gamma.powf(step as f64)
}

/// `min + (lr - min) (1 + cos(pi step / total)) / 2` up to step `total`, `min` from there on.
///
/// Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5, without restarts.
pub fn cosine(lr: f64, min: f64, total: usize) -> impl Fn(usize) -> f64 + Clone {
    move |step| {
        let done = (step as f64 / total.max(1) as f64).min(1.0);
        min + (lr - min) * (1.0 + (PI * done).cos()) / 2.0
    }
}

/// In the first `steps` steps `(step + 1) / steps` of what `then` begins with, after that `then`, whose steps are counted
/// from the end of the warm-up.
///
/// Goyal et al., "Accurate, large minibatch SGD", 2017, section 2.2.
pub fn linear_warmup<F: Fn(usize) -> f64 + Clone>(steps: usize, then: F) -> impl Fn(usize) -> f64 + Clone {
    move |step| match step.checked_sub(steps) {
        None => then(0) * (step + 1) as f64 / steps as f64,
        Some(later) => then(later),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_have_their_values_at_the_corners() {
        assert_eq!(constant(0.3)(1_000_000), 0.3);
        let halved = step(0.8, 3, 0.5);
        assert_eq!([0, 2, 3, 5, 6].map(&halved), [0.8, 0.8, 0.4, 0.4, 0.2]);
        let decayed = exponential(1.0, 0.9);
        assert!((decayed(2) - 0.81).abs() < 1e-15);
        let wave = cosine(1.0, 0.2, 10);
        assert_eq!(wave(0), 1.0);
        assert!((wave(5) - 0.6).abs() < 1e-15);
        assert_eq!([wave(10), wave(11), wave(usize::MAX)], [0.2; 3]);
        let warm = linear_warmup(4, wave);
        assert_eq!([warm(0), warm(1), warm(3), warm(4), warm(14)], [0.25, 0.5, 1.0, 1.0, 0.2]);
        assert_eq!(linear_warmup(0, constant(1.0))(0), 1.0);
    }

    #[test]
    #[should_panic(expected = "every: expected at least 1, found 0")]
    fn a_step_schedule_of_period_zero_is_refused() {
        let _ = step(1.0, 0, 0.5);
    }
}
