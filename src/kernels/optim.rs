//! Optimizer updates: one pass over parameter, gradient and state.

use super::parallel::{Shared, piece, pieces_mut, tasks};
use super::prefetch::{Stream, in_steps, requests_pay};
use super::simd::{isa, simd};
use crate::element::Float;

/// The numbers of one SGD step.
#[derive(Clone, Copy, Debug)]
pub struct SgdStep {
    /// The learning rate.
    pub lr: f64,
    /// How much of the velocity stays.
    pub momentum: f64,
    /// How much of the gradient is kept from the velocity.
    pub dampening: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Whether the gradient is taken ahead of the velocity.
    pub nesterov: bool,
}

/// The numbers of one Adam step.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// The learning rate over the first moment's bias correction, `lr / (1 - beta1^t)`.
    pub step_size: f64,
    /// The decay rates of the two moments.
    pub betas: [f64; 2],
    /// The root of the second moment's bias correction, `sqrt(1 - beta2^t)`.
    pub correction: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// L2 penalty, part of the gradient.
    pub l2: f64,
    /// The factor that shrinks the parameter first: `1 - lr * weight_decay` in AdamW.
    pub shrink: f64,
}

simd! {
    fn descend[T: Float](p: &mut [T], g: &[T], lr: T, decay: T) {
        for (p, &g) in p.iter_mut().zip(g) {
            *p = *p - lr * (g + decay * *p);
        }
    }

    fn momentum[T: Float](p: &mut [T], g: &[T], velocity: &mut [T], c: [T; 4], nesterov: bool) {
        let [lr, keep, take, decay] = c;
        for ((p, &g), v) in p.iter_mut().zip(g).zip(velocity) {
            let g = g + decay * *p;
            *v = keep * *v + take * g;
            *p = *p - lr * if nesterov { g + keep * *v } else { *v };
        }
    }

    fn adam_loop[T: Float](p: &mut [T], g: &[T], m: &mut [T], v: &mut [T], c: [T; 8]) {
        let [step_size, take1, keep2, take2, over_correction, eps, l2, shrink] = c;
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g + l2 * *p;
            *m = *m + take1 * (g - *m);
            *v = keep2 * *v + take2 * g * g;
            *p = *p * shrink - step_size * *m / (v.sqrt() * over_correction + eps);
        }
    }
}

/// One step of stochastic gradient descent; `velocity` is `None` without momentum. In the first step the velocity becomes
/// the gradient itself, as in PyTorch.
///
/// # Panics
/// When the lengths differ.
#[inline(never)]
pub fn sgd<T: Float>(p: &mut [T], g: &[T], velocity: Option<&mut [T]>, first: bool, step: SgdStep) {
    assert_eq!(p.len(), g.len(), "sgd: lengths differ");
    let isa = isa();
    let [lr, decay] = [step.lr, step.weight_decay].map(T::of);
    let Some(velocity) = velocity else {
        return pieces_mut(p, |start, p| descend(isa, p, &g[start..][..p.len()], lr, decay));
    };
    assert_eq!(p.len(), velocity.len(), "sgd: lengths differ");
    let take = if first { 1.0 } else { 1.0 - step.dampening };
    let c = [lr, T::of(step.momentum), T::of(take), decay];
    let requests = requests_pay(2 * p.len());
    let (n, p, v) = (p.len(), Shared::new(p), Shared::new(velocity));
    let piece = piece(n);
    tasks(n.div_ceil(piece), true, |i| {
        // SAFETY: the slices are borrowed until `tasks` returns, and each task has its own chunks.
        let (p, v) = unsafe { (p.chunk(piece, i), v.chunk(piece, i)) };
        let g = &g[i * piece..][..p.len()];
        in_steps(requests, p.len(), &[Stream::of(p), Stream::of(g), Stream::of(v)], &mut |range| {
            momentum(isa, &mut p[range.clone()], &g[range.clone()], &mut v[range], c, step.nesterov);
        });
    });
}

/// One step of Adam or AdamW with first moment `m` and second moment `v`.
///
/// # Panics
/// When the lengths differ.
#[inline(never)]
pub fn adam<T: Float>(p: &mut [T], g: &[T], m: &mut [T], v: &mut [T], step: AdamStep) {
    assert!(p.len() == g.len() && p.len() == m.len() && p.len() == v.len(), "adam: lengths differ");
    let isa = isa();
    let [beta1, beta2] = step.betas;
    let AdamStep { step_size, correction, eps, l2, shrink, .. } = step;
    let c = [step_size, 1.0 - beta1, beta2, 1.0 - beta2, 1.0 / correction, eps, l2, shrink].map(T::of);
    // With the state there are twice as many operands as elsewhere.
    let requests = requests_pay(2 * p.len());
    let (n, p, m, v) = (p.len(), Shared::new(p), Shared::new(m), Shared::new(v));
    let piece = piece(n);
    tasks(n.div_ceil(piece), true, |i| {
        // SAFETY: the slices are borrowed until `tasks` returns, and each task has its own chunks.
        let (p, m, v) = unsafe { (p.chunk(piece, i), m.chunk(piece, i), v.chunk(piece, i)) };
        let g = &g[i * piece..][..p.len()];
        in_steps(requests, p.len(), &[Stream::of(p), Stream::of(g), Stream::of(m), Stream::of(v)], &mut |range| {
            let (p, m, v) = (&mut p[range.clone()], &mut m[range.clone()], &mut v[range.clone()]);
            adam_loop(isa, p, &g[range], m, v, c);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    #[test]
    fn a_long_step_is_the_steps_of_its_parts() {
        const N: usize = (1 << 17) + 333;
        let of = |seed| noise(N, seed).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let (start, grad) = (of(1), of(2));
        let sgd_step = SgdStep { lr: 0.1, momentum: 0.9, dampening: 0.1, weight_decay: 0.01, nesterov: true };
        let (betas, correction) = ([0.9, 0.99], 0.8);
        let adam_step = AdamStep { step_size: 0.1, betas, correction, eps: 1e-8, l2: 0.01, shrink: 0.99 };
        let steps = |part: usize| {
            let mut all = [start.clone(), start.clone(), of(3), of(4), of(5).iter().map(|x| x.abs()).collect()];
            let [p, q, velocity, m, v] = &mut all;
            for at in (0..N).step_by(part) {
                let range = at..N.min(at + part);
                let grad = &grad[range.clone()];
                sgd(&mut p[range.clone()], grad, Some(&mut velocity[range.clone()]), false, sgd_step);
                adam(&mut q[range.clone()], grad, &mut m[range.clone()], &mut v[range], adam_step);
            }
            all.map(|x| bits(&x))
        };
        let expected = steps(1000);
        for found in on_every_machine(|| steps(N), |all| all.clone()) {
            assert!(found == expected);
        }
    }
}
