//! Two-dimensional convolution and its two gradients, on contiguous arrays `[batch, channels, height, width]`.
//!
//! No matrix of patches is ever written down: one register tile (`gemm::Tile`) reads its operands where they lie, by
//! tables of offsets. Ways of using it, chosen by the sizes:
//!
//! * `direct`: lanes are output channels; each number of the input is broadcast. For the forward pass and, with the
//!   roles of the channels exchanged, for the gradient of the input.
//! * `pixels`: lanes are pixels. For few output channels, short sums and products with a 1x1 kernel.
//! * `weight`: the gradient of the weight, a sum over all pixels.
//! * `winograd`: all three for kernels of 3 x 3, and of 4 x 4 with stride 2, with fewer products.
//!
//! Without the tile: `depthwise`, for channels that each see one channel of the input.
//!
//! An output is always summed in the same order, so its bits depend on the sizes, the processor and the user's
//! `WENGERT_CONV` alone.

mod depthwise;
mod direct;
mod pass;
mod pixels;
mod planes;
mod weight;
mod winograd;

#[cfg(test)]
mod tests;

use super::simd;
use crate::element::Float;
use pass::Pass;
use winograd::Goal;

/// The sizes of a convolution: input `[batch, in_channels, h, w]`, weight `[out_channels, in_channels / groups, kh, kw]`,
/// output `[batch, out_channels, oh, ow]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Channels of the input; a multiple of `groups`.
    pub in_channels: usize,
    /// Channels of the output; a multiple of `groups`.
    pub out_channels: usize,
    /// Each group of output channels sees its own group of input channels only.
    pub groups: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the kernel; not 0, and no larger (dilated) than the padded input.
    pub kernel: [usize; 2],
    /// Distance between neighbouring positions of the kernel; not 0.
    pub stride: [usize; 2],
    /// Zeros on either side of the input.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps of the kernel; not 0.
    pub dilation: [usize; 2],
}

impl Conv {
    /// Height and width of the output: `(input + 2 padding - dilation (kernel - 1) - 1) / stride + 1`.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|i| (self.input[i] + 2 * self.padding[i] - self.reach(i)) / self.stride[i] + 1)
    }

    /// How many pixels a dilated kernel covers along an axis.
    fn reach(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Pixels of one channel of the input.
    fn in_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Pixels of one channel of the output.
    fn out_plane(&self) -> usize {
        self.output().iter().product()
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Input channels of one group.
    fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of one group.
    fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Weights of one output channel: the products that make one number of the output.
    fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Multiplications of one pass.
    fn products(&self) -> usize {
        self.batch * self.out_plane() * self.out_channels * self.depth()
    }

    /// Whether a second thread pays.
    fn threads(&self) -> bool {
        self.products() >= super::gemm::PARALLEL
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.in_plane()
    }

    /// Elements of the weight.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.depth()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.out_plane()
    }

    /// # Panics
    /// When the sizes contradict each other, or a slice does not have its size.
    fn check<T>(&self, x: &[T], weight: &[T], y: &[T]) {
        self.check_input(x, weight);
        assert_eq!(y.len(), self.output_len(), "conv: output of {self:?}");
    }

    fn check_input<T>(&self, x: &[T], weight: &[T]) {
        assert!(self.groups > 0, "conv: no groups");
        assert!(
            self.in_channels.is_multiple_of(self.groups) && self.out_channels.is_multiple_of(self.groups),
            "conv: {self:?}: channels are no multiple of the groups"
        );
        for i in [0, 1] {
            assert!(self.stride[i] > 0 && self.dilation[i] > 0 && self.kernel[i] > 0, "conv: {self:?}: a size is 0");
            assert!(self.reach(i) <= self.input[i] + 2 * self.padding[i], "conv: {self:?}: the kernel is too large");
        }
        assert_eq!(x.len(), self.input_len(), "conv: input of {self:?}");
        assert_eq!(weight.len(), self.weight_len(), "conv: weight of {self:?}");
    }
}

/// A distance of planes, images or channels that is `distance` or little more: at multiples of a kibibyte they would share
/// a few sets of the first-level cache.
fn apart<T>(distance: usize) -> usize {
    if (distance * size_of::<T>()).is_multiple_of(1024) { distance + 64 / size_of::<T>() } else { distance }
}

/// What is done to each number of the output before it is stored.
#[derive(Clone, Copy, Debug)]
pub struct After<'a, T> {
    /// One number per output channel, added.
    pub bias: Option<&'a [T]>,
    /// `max(y, 0)`, after the bias.
    pub relu: bool,
}

impl<T> Default for After<'_, T> {
    fn default() -> Self {
        After { bias: None, relu: false }
    }
}

/// The weights of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a, T> {
    /// `[out_channels, in_channels / groups, kh, kw]`.
    pub plain: &'a [T],
    /// What [`pack`] has made of them, if it has.
    pub packed: Option<&'a [T]>,
}

/// Pixels of the result from which on packing the weights is a small part of the work.
const FEW_PIXELS: usize = 1024;

/// Whether a forward pass, with pooling if `halved`, takes long to pack its weights beside multiplying with them: then the
/// order in which it reads them, as numbers that no other order has, and the length of what [`pack`] writes.
pub fn packs<T: Float>(conv: &Conv, halved: bool) -> Option<([usize; 5], usize)> {
    let kernels = T::kernels(simd::isa());
    let few = conv.batch * conv.out_plane() <= FEW_PIXELS;
    let minimal = few && winograd::pays::<T>(conv, Goal::Output);
    (minimal || few && (halved || !depthwise::pays(conv) && !pixels::pays(conv, kernels.lanes))).then(|| {
        let name = match conv.kernel {
            _ if !minimal => 1,
            [3, 3] => 4,
            _ => 5,
        };
        ([name, kernels.width(), conv.groups, conv.out_channels, conv.depth()], packed_len::<T>(conv))
    })
}

/// Packs the weights in the order of [`packs`].
///
/// # Panics
/// When a slice does not have its size.
pub fn pack<T: Float>(conv: &Conv, weight: &[T], to: &mut [T]) {
    let isa = simd::isa();
    assert_eq!(weight.len(), conv.weight_len(), "conv: weight of {conv:?}");
    assert_eq!(to.len(), packed_len::<T>(conv), "conv: packed weight of {conv:?}");
    if winograd::pays::<T>(conv, Goal::Output) {
        winograd::pack(isa, conv, weight, to)
    } else {
        direct::pack(isa, conv, weight, to)
    }
}

/// `y[b, o, i, j] = sum over c, u, v of weight[o, c, u, v] x[b, c, i s + u d - p, j s + v d - p]`, then `after`.
///
/// # Panics
/// When the sizes contradict each other, or a slice does not have its size.
pub fn forward<T: Float>(conv: &Conv, x: &[T], weight: Weights<T>, after: After<T>, y: &mut [T]) {
    conv.check(x, weight.plain, y);
    check_packed(conv, weight);
    if let Some(bias) = after.bias {
        assert_eq!(bias.len(), conv.out_channels, "conv: bias of {conv:?}");
    }
    if y.is_empty() {
        return;
    }
    let isa = simd::isa();
    if winograd::pays::<T>(conv, Goal::Output) {
        winograd::run(isa, &Pass::forward(conv, x, weight, after), y);
    } else if depthwise::pays(conv) {
        depthwise::forward(isa, conv, x, weight.plain, after, y);
    } else if pixels::pays(conv, T::kernels(isa).lanes) {
        pixels::forward(isa, conv, x, weight.plain, after, y);
    } else {
        direct::run(isa, &Pass::forward(conv, x, weight, after), y);
    }
}

fn check_packed<T: Float>(conv: &Conv, weight: Weights<T>) {
    if let Some(packed) = weight.packed {
        assert_eq!(packed.len(), packed_len::<T>(conv), "conv: packed weight of {conv:?}");
    }
}

fn packed_len<T: Float>(conv: &Conv) -> usize {
    let width = T::kernels(simd::isa()).width();
    if winograd::pays::<T>(conv, Goal::Output) {
        winograd::packed_len(conv, width)
    } else {
        direct::packed_len(conv, width)
    }
}

/// Whether [`forward_halved`] is of use: with a few channels most lanes would idle.
pub fn halves<T: Float>(conv: &Conv) -> bool {
    conv.group_out() >= T::kernels(simd::isa()).lanes
}

/// [`forward`], and of each 2 x 2 pixels of its result only the largest: `[batch, out_channels, oh / 2, ow / 2]`.
///
/// `taps` gets the number of each one's tap: 0 to 3 row by row, the first of equal ones, or 4 where ReLU has made it 0.
///
/// # Panics
/// When the sizes contradict each other, or a slice does not have its size.
pub fn forward_halved<T: Float>(
    conv: &Conv,
    x: &[T],
    weight: Weights<T>,
    after: After<T>,
    y: &mut [T],
    taps: Option<&mut [u8]>,
) {
    conv.check_input(x, weight.plain);
    check_packed(conv, weight);
    let [oh, ow] = conv.output();
    assert_eq!(y.len(), conv.batch * conv.out_channels * (oh / 2) * (ow / 2), "conv: halved output of {conv:?}");
    assert!(taps.as_ref().is_none_or(|taps| taps.len() == y.len()), "conv: taps of {conv:?}");
    if let Some(bias) = after.bias {
        assert_eq!(bias.len(), conv.out_channels, "conv: bias of {conv:?}");
    }
    if !y.is_empty() {
        let (isa, pass) = (simd::isa(), Pass::forward(conv, x, weight, after).halved(taps));
        if winograd::pays::<T>(conv, Goal::Output) { winograd::run(isa, &pass, y) } else { direct::run(isa, &pass, y) }
    }
}

/// The gradient of the input: `dx[b, c, h, w] = sum over o, u, v of weight[o, c, u, v] dy[b, o, i, j]` where
/// `h = i s + u d - p` and `w = j s + v d - p`; plus `bias[c]` where it is given: a transposed convolution has one.
///
/// # Panics
/// When the sizes contradict each other, or a slice does not have its size.
pub fn grad_input<T: Float>(conv: &Conv, dy: &[T], weight: &[T], bias: Option<&[T]>, dx: &mut [T]) {
    conv.check(dx, weight, dy);
    if let Some(bias) = bias {
        assert_eq!(bias.len(), conv.in_channels, "conv: bias of the input of {conv:?}");
    }
    if dx.is_empty() {
        return;
    }
    if dy.is_empty() {
        let planes = dx.chunks_mut(conv.in_plane()).enumerate();
        return planes.for_each(|(i, dx)| dx.fill(bias.map_or(T::ZERO, |bias| bias[i % conv.in_channels])));
    }
    let isa = simd::isa();
    // With a few channels most lanes of the direct way would idle.
    if winograd::pays::<T>(conv, Goal::GradInput) {
        winograd::run(isa, &Pass::grad_input(conv, dy, weight, bias), dx);
    } else if depthwise::turns(conv) {
        depthwise::grad_input(isa, conv, dy, weight, bias, dx);
    } else if conv.group_in() * 2 <= T::kernels(isa).lanes || pixels::is_unit(conv) {
        pixels::grad_input(isa, conv, dy, weight, bias, dx);
    } else {
        direct::run(isa, &Pass::grad_input(conv, dy, weight, bias), dx);
    }
}

/// The gradient of the weight, `dw[o, c, u, v] = sum over b, i, j of dy[b, o, i, j] x[b, c, i s + u d - p, j s + v d - p]`,
/// and where `bias` is given that of the bias, the sum of `dy` over images and pixels.
///
/// # Panics
/// When the sizes contradict each other, or a slice does not have its size.
pub fn grad_weight<T: Float>(conv: &Conv, x: &[T], dy: &[T], dw: &mut [T], bias: Option<&mut [T]>) {
    conv.check(x, dw, dy);
    let isa = simd::isa();
    if let Some(bias) = &bias {
        assert_eq!(bias.len(), conv.out_channels, "conv: bias of {conv:?}");
    }
    if x.is_empty() || dy.is_empty() {
        dw.fill(T::ZERO);
        if let Some(bias) = bias {
            planes::grad_bias(isa, conv, dy, bias);
        }
        return;
    }
    if winograd::pays::<T>(conv, Goal::GradWeight) {
        winograd::grad_weight(isa, conv, x, dy, dw, bias);
    } else if conv.group_out() * 4 <= T::kernels(isa).lanes {
        planes::grad_weight(isa, conv, x, dy, dw);
        if let Some(bias) = bias {
            planes::grad_bias(isa, conv, dy, bias);
        }
    } else {
        weight::grad_weight(isa, conv, x, dy, dw, bias);
    }
}
