//! Dropout.

use crate::autograd::{Pull, is_training, record_op};
use crate::element::Float;
use crate::kernels::dropout::{self, Mask};
use crate::rng::with_thread_rng;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// In training mode every element is 0 with probability `p`, else divided by `1 - p`, so that its expectation stays; in
/// evaluation nothing happens (Srivastava et al., "Dropout", 2014).
///
/// The draws come from the thread's generator ([`crate::seed`]) by the elements' numbers: the same seed gives the same bits
/// for any number of threads. The way back draws them again; nothing is saved.
///
/// ```
/// use wengert::{Tensor, autograd::Mode, ops, with_mode};
/// let x = Tensor::ones([1000]);
/// assert_eq!(ops::dropout(&x, 0.5).to_vec(), x.to_vec());
/// let y = with_mode(Mode::Train, || ops::dropout(&x, 0.5));
/// assert!(y.to_vec().iter().all(|&y| y == 0.0 || y == 2.0));
/// ```
///
/// # Panics
/// When `p` is not between 0 and 1.
#[track_caller]
#[inline(never)]
pub fn dropout<T: Float>(x: &Tensor<T>, p: f64) -> Tensor<T> {
    ensure((0.0..=1.0).contains(&p), || {
        format!("dropout: {:?}: expected a probability between 0 and 1, found {p}", x.shape())
    });
    if !is_training() || p == 0.0 {
        return x.clone();
    }
    if p == 1.0 {
        let shape = x.dims();
        return record_op("dropout", x.zeros_like(), [x], || move |_: Pull<T>| [Some(Tensor::full(shape, T::ZERO))]);
    }
    let threshold = (p * 2f64.powi(32)).round() as u32;
    let mask = with_thread_rng(|rng| {
        // Past a block that has been begun, so that the position is that of a whole one.
        rng.skip(0);
        let [key, stream, block, _] = rng.position();
        rng.skip(dropout::blocks(x.numel()));
        Mask { key, stream, block, threshold }
    });
    masked(x, mask, T::of(1.0 / (1.0 - p)))
}

/// The survivors scaled. Linear, and its own adjoint.
#[track_caller]
fn masked<T: Float>(x: &Tensor<T>, mask: Mask, scale: T) -> Tensor<T> {
    let packed = x.packed();
    let y = Tensor::build(x.dims(), |y| dropout::apply(mask, packed.elements(), scale, y));
    record_op("dropout", y, [x], || move |pull: Pull<T>| [Some(masked(&pull.grad, mask, scale))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Mode, gradcheck, gradgradcheck, record, with_mode};
    use crate::rng::seed;

    fn train<R>(f: impl FnOnce() -> R) -> R {
        with_mode(Mode::Train, f)
    }

    #[test]
    fn the_share_and_the_scale_of_the_survivors_are_right() {
        for (p, kept) in [(0.1, 0.9), (0.5, 0.5), (0.9, 0.1)] {
            seed(4);
            let n = 100_000;
            let y = train(|| dropout(&Tensor::ones([n]), p)).to_vec();
            let survivors: Vec<f32> = y.into_iter().filter(|&y| y != 0.0).collect();
            assert!(survivors.iter().all(|&y| (y - (1.0 / kept) as f32).abs() < 1e-5 * y));
            // Six standard deviations of a binomial count.
            let bound = 6.0 * (n as f64 * p * kept).sqrt();
            assert!((survivors.len() as f64 - n as f64 * kept).abs() < bound, "{p}: {}", survivors.len());
        }
    }

    #[test]
    fn a_seed_gives_the_same_draws_and_the_next_call_gives_others() {
        let x = Tensor::ones([1000]);
        seed(5);
        let first = train(|| (dropout(&x, 0.5).to_vec(), dropout(&x, 0.5).to_vec()));
        assert_ne!(first.0, first.1);
        seed(5);
        assert_eq!(train(|| (dropout(&x, 0.5).to_vec(), dropout(&x, 0.5).to_vec())), first);
        // Also where a block of the generator has been begun.
        seed(5);
        with_thread_rng(|rng| rng.next_u32());
        let third = train(|| dropout(&x, 0.5)).to_vec();
        assert!(third != first.0 && third != first.1);
    }

    #[test]
    fn evaluation_and_the_probabilities_0_and_1_draw_nothing() {
        seed(6);
        let before = with_thread_rng(|rng| rng.position());
        let x = Tensor::from([1.0, f32::NAN]).tracked();
        assert_eq!(dropout(&x, 1.0).get(&[0]), 1.0);
        assert_eq!(train(|| dropout(&x, 0.0)).get(&[0]), 1.0);
        let y = record(|| dropout(&x, 1.0));
        assert_eq!(y.to_vec(), [0.0, 0.0]);
        assert_eq!(y.backward_with(&Tensor::ones([2])).of(&x).to_vec(), [0.0, 0.0]);
        assert_eq!(with_thread_rng(|rng| rng.position()), before);
    }

    #[test]
    fn differentiates_twice_on_every_view() {
        let x = Tensor::from_vec(crate::kernels::testing::noise(60, 1), [3, 4, 5]);
        let views =
            [x.clone(), x.transpose(0, 2), x.slice(2, 1, 5, 2), x.narrow(0, 0, 1).expand([3, 4, 5]), x.narrow(1, 0, 0)];
        for x in views {
            for p in [0.0, 0.3, 1.0] {
                let f = |x: &[Tensor<f64>]| {
                    seed(7);
                    train(|| dropout(&x[0], p)).square()
                };
                gradcheck(f, std::slice::from_ref(&x)).unwrap();
                gradgradcheck(f, std::slice::from_ref(&x)).unwrap();
            }
        }
    }

    #[test]
    #[should_panic(expected = "dropout: [2]: expected a probability between 0 and 1, found 1.5")]
    fn a_probability_above_1_is_refused() {
        dropout(&Tensor::ones([2]), 1.5);
    }
}
