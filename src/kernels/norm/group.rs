//! Group norm over `[examples, groups, channels of a group, length]`: every group of an example has its own mean and variance,
//! every channel its own weight and bias.

use super::super::gemm::Shared;
use super::super::lanes::sums;
use super::super::simd::{isa, simd};
use super::batch::{Affine, BLOCK, Batch, moments, split};
use crate::element::Float;

/// What is known of one group of an example.
#[derive(Clone, Copy)]
struct Statistics<T> {
    /// The mean in the element type.
    mean: T,
    /// What the rounding of the mean leaves over.
    left: f64,
    /// `1 / sqrt(var + eps)`.
    rstd: f64,
}

simd! {
    /// `y = (x - mean) rstd weight + bias`, where each `length` elements have a weight and a bias.
    fn normalize[T: Float](x: &[T], length: usize, of: Statistics<T>, affine: Affine<T>, first: usize, y: &mut [T]) {
        for (c, (x, y)) in x.chunks_exact(length).zip(y.chunks_exact_mut(length)).enumerate() {
            let scale = affine.weight(first + c) * of.rstd;
            let (shift, scale) = (T::of(affine.bias(first + c) - of.left * scale), T::of(scale));
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - of.mean) * scale + shift);
        }
    }

    /// For each `length` elements, the sums of `grad x^` and of `grad`, where `x^ = (x - mean) rstd`.
    fn products[T: Float](x: &[T], grad: &[T], length: usize, of: Statistics<T>, found: &mut [[f64; 2]]) {
        for (found, (x, grad)) in found.iter_mut().zip(x.chunks_exact(length).zip(grad.chunks_exact(length))) {
            let (mut sum, mut product) = (0.0, 0.0);
            for (x, grad) in x.chunks(BLOCK).zip(grad.chunks(BLOCK)) {
                let (first, second) = sums([x, grad, grad], T::ZERO, |x, grad, _| (grad, grad * (x - of.mean)));
                sum += first.to_f64();
                product += second.to_f64();
            }
            *found = [(product - of.left * sum) * of.rstd, sum];
        }
    }

    /// `dx = (grad weight - mean(grad weight) - x^ mean(grad weight x^)) rstd`, where each `length` elements have a weight; the
    /// two means are given.
    fn pull[T: Float](
        x: &[T], grad: &[T], length: usize, of: Statistics<T>, affine: Affine<T>, first: usize, means: [f64; 2], dx: &mut [T],
    ) {
        let slope = means[0] * of.rstd;
        let (shift, slope, rstd) = (T::of(means[1] - of.left * slope), T::of(slope), T::of(of.rstd));
        let both = x.chunks_exact(length).zip(grad.chunks_exact(length));
        for (c, ((x, grad), dx)) in both.zip(dx.chunks_exact_mut(length)).enumerate() {
            let weight = T::of(affine.weight(first + c));
            for ((dx, &x), &grad) in dx.iter_mut().zip(x).zip(grad) {
                *dx = (grad * weight - shift - (x - of.mean) * slope) * rstd;
            }
        }
    }
}

/// The sizes of a batch whose channels are normalized in groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Examples.
    pub examples: usize,
    /// Groups of each example.
    pub groups: usize,
    /// Channels of each group.
    pub channels: usize,
    /// Elements of a channel of one example: height times width.
    pub length: usize,
}

impl Groups {
    /// Elements of a group of one example.
    fn size(self) -> usize {
        self.channels * self.length
    }

    /// Every group as a channel of a batch of one.
    fn each(self) -> Batch {
        Batch { examples: 1, channels: self.examples * self.groups, length: self.size() }
    }

    /// Calls `f(group, first channel of the group)` for every group, in parallel where that pays.
    fn for_groups(self, f: impl Fn(usize, usize) + Sync + Send) {
        self.each().for_channels(|groups| groups.for_each(|group| f(group, group % self.groups * self.channels)));
    }

    fn check<T>(self, whole: &[&[T]], statistics: [&[f64]; 2], affine: Affine<T>) {
        let each = self.each();
        assert!(whole.iter().all(|x| x.len() == each.numel()), "group_norm: the elements of {self:?}");
        assert!(statistics.iter().all(|x| x.len() == each.channels), "group_norm: the groups of {self:?}");
        let fits = [affine.weight, affine.bias].iter().flatten().all(|x| x.len() == self.groups * self.channels);
        assert!(fits, "group_norm: the channels of {self:?}");
    }
}

/// `y = (x - mean) / sqrt(var + eps) weight + bias`, with the mean and the variance of each group of each example (the
/// population's), which are written too.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn forward<T: Float>(sizes: Groups, x: &[T], affine: Affine<T>, y: &mut [T], [mean, var]: [&mut [f64]; 2]) {
    sizes.check(&[x, y], [mean, var], affine);
    if y.is_empty() {
        return [mean, var].into_iter().for_each(|all| all.fill(0.0));
    }
    let (isa, each, size) = (isa(), sizes.each(), sizes.size());
    let (y, mean, var) = (Shared::new(y), Shared::new(mean), Shared::new(var));
    sizes.for_groups(|group, first| {
        let (exact, squares) = moments(isa, each, group, x);
        let variance = squares / size as f64;
        // SAFETY: each group is in one piece.
        let y = unsafe {
            mean.at(group).write(exact);
            var.at(group).write(variance);
            std::slice::from_raw_parts_mut(y.at(group * size), size)
        };
        normalize(isa, &x[group * size..][..size], sizes.length, affine.of(exact, variance), affine, first, y);
    });
}

impl<T: Float> Affine<'_, T> {
    fn of(&self, mean: f64, var: f64) -> Statistics<T> {
        let (mean, left) = split(mean);
        Statistics { mean, left, rstd: 1.0 / (var + self.eps).sqrt() }
    }
}

/// The gradients of the input (where it is wanted), the weight and the bias.
///
/// With `x^ = (x - mean) / sqrt(var + eps)`, `g = grad weight`, and means over the group:
/// `dx = (g - mean(g) - x^ mean(g x^)) / sqrt(var + eps)`, `dw = sum grad x^`, `db = sum grad`.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn backward<T: Float>(
    sizes: Groups,
    [x, grad]: [&[T]; 2],
    affine: Affine<T>,
    [mean, var]: [&[f64]; 2],
    dx: Option<&mut [T]>,
    [dw, db]: [&mut [T]; 2],
) {
    sizes.check(&[x, grad, dx.as_deref().unwrap_or(x)], [mean, var], affine);
    let channels = sizes.groups * sizes.channels;
    assert!(dw.len() == channels && db.len() == channels, "group_norm: the gradients of the channels of {sizes:?}");
    if x.is_empty() {
        return [dw, db].into_iter().for_each(|all| all.fill(T::ZERO));
    }
    let (isa, size) = (isa(), sizes.size());
    // The sums of each channel of each example.
    let mut parts = vec![[0.0; 2]; sizes.examples * channels];
    let (dx, shared) = (dx.map(Shared::new), Shared::new(&mut parts));
    sizes.for_groups(|group, first| {
        let (x, grad) = (&x[group * size..][..size], &grad[group * size..][..size]);
        let statistics = affine.of(mean[group], var[group]);
        // SAFETY: each group is in one piece.
        let found = unsafe { std::slice::from_raw_parts_mut(shared.at(group * sizes.channels), sizes.channels) };
        products(isa, x, grad, sizes.length, statistics, found);
        if let Some(dx) = dx {
            let mut means = [0.0; 2];
            for (c, found) in found.iter().enumerate() {
                (0..2).for_each(|i| means[i] += affine.weight(first + c) * found[i] / size as f64);
            }
            // SAFETY: as above.
            let dx = unsafe { std::slice::from_raw_parts_mut(dx.at(group * size), size) };
            pull(isa, x, grad, sizes.length, statistics, affine, first, means, dx);
        }
    });
    let (sums, parts) = parts.split_at_mut(channels);
    for part in parts.chunks_exact(channels) {
        for (sum, part) in sums.iter_mut().zip(part) {
            (sum[0], sum[1]) = (sum[0] + part[0], sum[1] + part[1]);
        }
    }
    for ((dw, db), sum) in dw.iter_mut().zip(db).zip(sums) {
        (*dw, *db) = (T::of(sum[0]), T::of(sum[1]));
    }
}
