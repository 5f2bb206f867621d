//! Batch norm over `[batch, channels, length]`: every channel has its own mean and variance.

use super::super::gemm::Shared;
use super::super::parallel::{per_task, tasks};
use super::super::simd::{Isa, isa, simd};
use super::{LANES, add_row, add_rows, total};
use crate::element::Float;
use std::ops::Range;

/// Elements of a channel that are summed in the element type; sums over these are carried in `f64`.
pub(super) const BLOCK: usize = 1 << 13;

simd! {
    /// The sum of `rows` rows of `len` elements, `stride` apart.
    fn sum[T: Float](x: &[T], rows: usize, stride: usize, len: usize) -> T {
        let mut lanes = [T::ZERO; LANES];
        for row in 0..rows {
            add_row(&mut lanes, &x[row * stride..][..len], |x| x);
        }
        total(&lanes)
    }

    /// The sums of the distances to `mean` and of their squares.
    fn distances[T: Float](x: &[T], rows: usize, stride: usize, len: usize, mean: T) -> (T, T) {
        let (mut first, mut second) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        for row in 0..rows {
            let x = &x[row * stride..][..len];
            add_rows(&mut first, &mut second, x, x, |x, _| (x - mean, (x - mean) * (x - mean)));
        }
        (total(&first), total(&second))
    }

    /// The sums of `grad` and of `grad (x - mean)`.
    fn products[T: Float](x: &[T], grad: &[T], rows: usize, stride: usize, len: usize, mean: T) -> (T, T) {
        let (mut first, mut second) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        for row in 0..rows {
            let (x, grad) = (&x[row * stride..][..len], &grad[row * stride..][..len]);
            add_rows(&mut first, &mut second, x, grad, |x, grad| (grad, grad * (x - mean)));
        }
        (total(&first), total(&second))
    }

    /// `y = (x - mean) scale + shift`.
    fn affine[T: Float](x: &[T], mean: T, scale: T, shift: T, y: &mut [T]) {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - mean) * scale + shift);
    }

    /// `dx = (grad - shift - (x - mean) slope) scale`.
    fn pull[T: Float](x: &[T], grad: &[T], mean: T, shift: T, slope: T, scale: T, dx: &mut [T]) {
        let both = x.iter().zip(grad);
        dx.iter_mut().zip(both).for_each(|(dx, (&x, &grad))| *dx = (grad - shift - (x - mean) * slope) * scale);
    }

    /// `dx = grad scale`.
    fn scale[T: Float](grad: &[T], scale: T, dx: &mut [T]) {
        dx.iter_mut().zip(grad).for_each(|(dx, &grad)| *dx = grad * scale);
    }
}

/// The sizes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Examples.
    pub examples: usize,
    /// Channels, each of which is normalized for itself.
    pub channels: usize,
    /// Elements of a channel of one example: height times width.
    pub length: usize,
}

/// What the elements of the channels are mapped with: `(x - mean) / sqrt(var + eps) weight + bias`.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// `[channels]`; 1 where it is missing.
    pub weight: Option<&'a [T]>,
    /// `[channels]`; 0 where it is missing.
    pub bias: Option<&'a [T]>,
    /// Added to the variance.
    pub eps: f64,
}

impl<T: Float> Affine<'_, T> {
    pub(super) fn weight(&self, channel: usize) -> f64 {
        self.weight.map_or(1.0, |weight| weight[channel].to_f64())
    }

    pub(super) fn bias(&self, channel: usize) -> f64 {
        self.bias.map_or(0.0, |bias| bias[channel].to_f64())
    }
}

impl Batch {
    pub(super) fn numel(&self) -> usize {
        self.examples * self.channels * self.length
    }

    /// Elements of one channel.
    pub fn count(&self) -> usize {
        self.examples * self.length
    }

    /// Where the rows of a channel begin.
    fn rows(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.examples).map(move |example| (example * self.channels + channel) * self.length)
    }

    /// Calls `f(first element, rows, length of a row)` for blocks of rows, or of parts of rows, that make up a channel.
    fn for_blocks(self, channel: usize, mut f: impl FnMut(usize, usize, usize)) {
        if self.length == 0 {
            return;
        }
        let (rows, part) = ((BLOCK / self.length).max(1), self.length.min(BLOCK));
        for example in (0..self.examples).step_by(rows) {
            let start = (example * self.channels + channel) * self.length;
            for at in (0..self.length).step_by(part) {
                f(start + at, rows.min(self.examples - example), part.min(self.length - at));
            }
        }
    }

    /// Calls `f` for pieces of the channels, in parallel where that pays; no sum crosses from one channel to another.
    pub(super) fn for_channels(self, f: impl Fn(Range<usize>) + Sync + Send) {
        let piece = per_task(self.channels, self.count());
        tasks(self.channels.div_ceil(piece), true, |i| {
            f(i * piece..((i + 1) * piece).min(self.channels));
        });
    }

    fn stride(&self) -> usize {
        self.channels * self.length
    }

    fn check<T>(&self, whole: &[&[T]], statistics: [&[f64]; 2], affine: [Option<&[T]>; 4]) {
        assert!(whole.iter().all(|x| x.len() == self.numel()), "batch_norm: the elements of {self:?}");
        let fits = statistics.iter().all(|x| x.len() == self.channels)
            && affine.iter().flatten().all(|x| x.len() == self.channels);
        assert!(fits, "batch_norm: the channels of {self:?}");
    }
}

/// The mean and the sum of squared distances to it of one channel: those of its blocks, joined (Chan, Golub, LeVeque 1983,
/// equation 2.1).
pub(super) fn moments<T: Float>(isa: Isa, batch: Batch, channel: usize, x: &[T]) -> (f64, f64) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    batch.for_blocks(channel, |at, rows, len| {
        let (x, n) = (&x[at..], (rows * len) as f64);
        let near = T::of(sum(isa, x, rows, batch.stride(), len).to_f64() / n);
        let (first, second) = distances(isa, x, rows, batch.stride(), len, near);
        let (first, second) = (first.to_f64(), second.to_f64());
        let (block_mean, block_squares) = (near.to_f64() + first / n, second - first * first / n);
        let apart = block_mean - mean;
        squares += block_squares + apart * apart * count * n / (count + n);
        count += n;
        mean += apart * n / count;
    });
    (mean, squares.max(0.0))
}

/// Training: normalizes every channel by its own mean and variance (the population's), which are written too.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn forward<T: Float>(batch: Batch, x: &[T], affine: Affine<T>, y: &mut [T], [mean, var]: [&mut [f64]; 2]) {
    batch.check(&[x, y], [mean, var], [affine.weight, affine.bias, None, None]);
    let isa = isa();
    let (y, mean, var) = (Shared::new(y), Shared::new(mean), Shared::new(var));
    batch.for_channels(|channels| {
        for channel in channels {
            let (exact, squares) = moments(isa, batch, channel, x);
            let variance = squares / batch.count() as f64;
            // SAFETY: each channel is in one piece.
            unsafe {
                mean.at(channel).write(exact);
                var.at(channel).write(variance);
            }
            normalize(isa, batch, channel, x, affine, [exact, variance], y);
        }
    });
}

/// Writes one channel of the output, which no other thread touches.
fn normalize<T: Float>(
    isa: Isa,
    batch: Batch,
    channel: usize,
    x: &[T],
    affine: Affine<T>,
    [mean, var]: [f64; 2],
    y: Shared<T>,
) {
    let (near, left) = split(mean);
    let scale = affine.weight(channel) / (var + affine.eps).sqrt();
    let shift = affine.bias(channel) - left * scale;
    for at in batch.rows(channel) {
        // SAFETY: the rows of a channel are apart, and the caller has this channel for itself.
        let y = unsafe { std::slice::from_raw_parts_mut(y.at(at), batch.length) };
        self::affine(isa, &x[at..][..batch.length], near, T::of(scale), T::of(shift), y);
    }
}

/// The mean in the element type, and what its rounding leaves over.
pub(super) fn split<T: Float>(mean: f64) -> (T, f64) {
    let near = T::of(mean);
    (near, mean - near.to_f64())
}

/// Evaluation: normalizes every channel by a given mean and variance.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn forward_with<T: Float>(batch: Batch, x: &[T], affine: Affine<T>, [mean, var]: [&[f64]; 2], y: &mut [T]) {
    batch.check(&[x, y], [mean, var], [affine.weight, affine.bias, None, None]);
    let (isa, y) = (isa(), Shared::new(y));
    batch.for_channels(|channels| {
        for channel in channels {
            normalize(isa, batch, channel, x, affine, [mean[channel], var[channel]], y);
        }
    });
}

/// The gradients of the input, the weight and the bias.
///
/// With `x^ = (x - mean) / sqrt(var + eps)`: `db = sum grad`, `dw = sum grad x^`, and
/// `dx = w / sqrt(var + eps) (grad - db / count - x^ dw / count)` where mean and variance are the batch's own (`own`), else
/// `dx = w / sqrt(var + eps) grad` (Ioffe and Szegedy, 2015, section 3).
///
/// # Panics
/// When the slices do not have these sizes.
pub fn backward<T: Float>(
    batch: Batch,
    own: bool,
    [x, grad]: [&[T]; 2],
    affine: Affine<T>,
    [mean, var]: [&[f64]; 2],
    dx: Option<&mut [T]>,
    [dw, db]: [&mut [T]; 2],
) {
    batch.check(&[x, grad, dx.as_deref().unwrap_or(x)], [mean, var], [affine.weight, affine.bias, Some(dw), Some(db)]);
    let (isa, count) = (isa(), batch.count() as f64);
    let (dx, dw, db) = (dx.map(Shared::new), Shared::new(dw), Shared::new(db));
    batch.for_channels(|channels| {
        for channel in channels {
            let (mean, left) = split(mean[channel]);
            let rstd = 1.0 / (var[channel] + affine.eps).sqrt();
            let (mut sum, mut product) = (0.0, 0.0);
            batch.for_blocks(channel, |at, rows, len| {
                let (first, second) = products(isa, &x[at..], &grad[at..], rows, batch.stride(), len, mean);
                sum += first.to_f64();
                product += second.to_f64();
            });
            product -= left * sum;
            // SAFETY: each channel is in one piece.
            unsafe {
                dw.at(channel).write(T::of(product * rstd));
                db.at(channel).write(T::of(sum));
            }
            let Some(dx) = dx else { continue };
            let scale = T::of(affine.weight(channel) * rstd);
            let slope = product * rstd * rstd / count;
            let (shift, slope) = (T::of(sum / count - left * slope), T::of(slope));
            for at in batch.rows(channel) {
                // SAFETY: the rows of a channel are apart, and each channel is in one piece.
                let dx = unsafe { std::slice::from_raw_parts_mut(dx.at(at), batch.length) };
                let (x, grad) = (&x[at..][..batch.length], &grad[at..][..batch.length]);
                if own {
                    pull(isa, x, grad, mean, shift, slope, scale, dx);
                } else {
                    self::scale(isa, grad, scale, dx);
                }
            }
        }
    });
}
