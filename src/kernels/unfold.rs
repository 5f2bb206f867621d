//! The slices of a volume that a kernel sees, beside each other as channels: a convolution of volumes is then one of images.

use super::elementwise::add;
use super::parallel::{chunks_mut, per_task};
use super::simd::isa;
use crate::element::Float;

/// The sizes of volumes `[batch, channels, depth, plane]` and of what they unfold to,
/// `[batch, positions, channels, kernel, plane]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfold {
    /// Volumes.
    pub batch: usize,
    /// Channels of a volume.
    pub channels: usize,
    /// Slices of a channel.
    pub depth: usize,
    /// Height and width of a slice.
    pub plane: [usize; 2],
    /// Positions of the kernel.
    pub positions: usize,
    /// Taps of the kernel.
    pub kernel: usize,
    /// From one position to the next; not 0.
    pub stride: usize,
    /// Slices of zeros before the first one.
    pub padding: usize,
    /// From one tap to the next.
    pub dilation: usize,
}

impl Unfold {
    /// Elements of the volumes.
    pub fn volumes_len(&self) -> usize {
        self.batch * self.channels * self.depth * self.plane_len()
    }

    /// Elements of what they unfold to.
    pub fn images_len(&self) -> usize {
        self.batch * self.positions * self.channels * self.kernel * self.plane_len()
    }

    fn plane_len(&self) -> usize {
        self.plane[0] * self.plane[1]
    }

    /// Calls `f(i, plane)` for the planes of `y`.
    fn for_planes<T: Float>(&self, y: &mut [T], f: impl Fn(usize, &mut [T]) + Sync + Send) {
        let plane = self.plane_len().max(1);
        chunks_mut(y, per_task(y.len() / plane, plane) * plane, |start, chunk| {
            chunk.chunks_mut(plane).zip(start / plane..).for_each(|(y, i)| f(i, y));
        });
    }
}

/// At every position the slices under the kernel's taps: `y[b, i, c, t] = x[b, c, i stride + t dilation - padding]`, zeros where
/// there is no such slice.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn unfold<T: Float>(sizes: &Unfold, x: &[T], y: &mut [T]) {
    assert!(x.len() == sizes.volumes_len() && y.len() == sizes.images_len(), "unfold: {sizes:?}");
    let &Unfold { channels, depth, positions, kernel, stride, padding, dilation, .. } = sizes;
    sizes.for_planes(y, |i, y| {
        let (tap, rest) = (i % kernel, i / kernel);
        let (channel, position, volume) = (rest % channels, rest / channels % positions, rest / channels / positions);
        match (position * stride + tap * dilation).checked_sub(padding) {
            Some(slice) if slice < depth => {
                let start = ((volume * channels + channel) * depth + slice) * y.len();
                y.copy_from_slice(&x[start..][..y.len()]);
            }
            _ => y.fill(T::ZERO),
        }
    });
}

/// The adjoint of [`unfold`], plus a bias: `x[b, c, d] = bias[c] + sum of y[b, i, c, t]` over all i and t with
/// `i stride + t dilation - padding = d`.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn fold<T: Float>(sizes: &Unfold, y: &[T], bias: Option<&[T]>, x: &mut [T]) {
    let fits = bias.is_none_or(|bias| bias.len() == sizes.channels);
    assert!(x.len() == sizes.volumes_len() && y.len() == sizes.images_len() && fits, "fold: {sizes:?}");
    let &Unfold { channels, depth, positions, kernel, stride, padding, dilation, .. } = sizes;
    let isa = isa();
    sizes.for_planes(x, |i, x| {
        let (slice, channel, volume) = (i % depth, i / depth % channels, i / depth / channels);
        x.fill(bias.map_or(T::ZERO, |bias| bias[channel]));
        for tap in 0..kernel {
            // The position whose tap sees this slice.
            let Some(reached) = (slice + padding).checked_sub(tap * dilation) else { break };
            let position = reached / stride;
            if reached.is_multiple_of(stride) && position < positions {
                let start = (((volume * positions + position) * channels + channel) * kernel + tap) * x.len();
                add(isa, &y[start..][..x.len()], x);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, noise, on_every_machine};

    /// Sizes with strides, padding, dilation, gaps that no tap sees, one slice, large planes, none at all.
    fn cases() -> Vec<Unfold> {
        let plain = Unfold {
            batch: 2,
            channels: 3,
            depth: 5,
            plane: [3, 4],
            positions: 3,
            kernel: 3,
            stride: 1,
            padding: 0,
            dilation: 1,
        };
        vec![
            plain,
            Unfold { positions: 4, stride: 2, padding: 2, dilation: 2, ..plain },
            Unfold { positions: 2, kernel: 1, stride: 3, ..plain },
            Unfold { depth: 1, positions: 1, kernel: 1, ..plain },
            Unfold { plane: [150, 131], ..plain },
            Unfold { plane: [0, 4], ..plain },
            Unfold { batch: 0, ..plain },
            Unfold { channels: 0, ..plain },
        ]
    }

    #[test]
    fn both_ways_are_what_the_definition_says() {
        for sizes in cases() {
            let Unfold { batch, channels, depth, positions, kernel, stride, padding, dilation, .. } = sizes;
            let plane = sizes.plane[0] * sizes.plane[1];
            let narrow = |x: Vec<f64>| x.into_iter().map(|x| x as f32).collect::<Vec<_>>();
            let volumes = narrow(noise(sizes.volumes_len(), 1));
            let (images, bias) = (narrow(noise(sizes.images_len(), 2)), narrow(noise(channels, 3)));
            let mut unfolded = vec![0.0; images.len()];
            let mut folded = vec![0.0_f64; volumes.len()];
            for at in 0..folded.len() {
                folded[at] = f64::from(bias[at / plane / depth % channels]);
            }
            for at in 0..images.len() {
                let (pixel, tap, channel) = (at % plane, at / plane % kernel, at / plane / kernel % channels);
                let (position, volume) =
                    (at / plane / kernel / channels % positions, at / plane / kernel / channels / positions);
                let slice = (position * stride + tap * dilation) as isize - padding as isize;
                if (0..depth as isize).contains(&slice) {
                    let place = ((volume * channels + channel) * depth + slice as usize) * plane + pixel;
                    unfolded[at] = volumes[place];
                    folded[place] += f64::from(images[at]);
                }
            }
            assert_eq!(volumes.len(), batch * channels * depth * plane);
            let results = on_every_machine(
                || {
                    let (mut y, mut x) = (vec![9.0; images.len()], vec![9.0; volumes.len()]);
                    unfold(&sizes, &volumes, &mut y);
                    fold(&sizes, &images, Some(&bias), &mut x);
                    let mut plain = vec![9.0; volumes.len()];
                    fold(&sizes, &images, None, &mut plain);
                    [y, x, plain]
                },
                |all| all.iter().flat_map(|x| bits(x)).collect::<Vec<_>>(),
            );
            for [y, x, plain] in results {
                assert_eq!(y, unfolded, "{sizes:?}");
                for (at, ((&x, &plain), &expected)) in x.iter().zip(&plain).zip(&folded).enumerate() {
                    assert!((f64::from(x) - expected).abs() < 1e-6, "{sizes:?} at {at}: {x}, expected {expected}");
                    let bias = bias[at / plane / depth % channels];
                    assert!((x - plain - bias).abs() < 1e-6, "{sizes:?} at {at}: {x} with, {plain} without {bias}");
                }
            }
        }
    }
}
