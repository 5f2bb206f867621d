//! Layers whose weight is used in another form: spectral norm and weight norm.

use super::param::{Buffer, Name, Param};
use super::summary::Call;
use super::{Layer, Module, Slot, Walk, WalkMut};
use crate::autograd::is_training;
use crate::element::Float;
use crate::ops;
use crate::rng::with_thread_rng;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// A layer with a weight that can be exchanged: what [`SpectralNorm`] and [`WeightNorm`] wrap.
pub trait Weighted<T: Float = f32>: Layer<T> {
    /// The dimension of the weight along which its outputs lie.
    const OUTPUTS: usize;

    /// The weight, and the bias where there is one.
    fn parts(&self) -> (&Param<T>, Option<&Param<T>>);

    /// [`Weighted::parts`], to be changed.
    fn parts_mut(&mut self) -> (&mut Param<T>, Option<&mut Param<T>>);

    /// [`Layer::forward`] with a weight, of the same shape, in place of its own.
    fn forward_with(&self, x: &Tensor<T>, weight: &Tensor<T>) -> Tensor<T>;
}

/// What a [`SpectralNorm`] has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectralNormOptions {
    /// Steps of the power iteration in each pass of training.
    pub n_power_iterations: usize,
    /// The least norm that is divided by in the power iteration.
    pub eps: f64,
    /// The dimension whose indices are the rows of the matrix; `None` for that of the outputs: 1 for a transposed convolution,
    /// else 0.
    pub dim: Option<usize>,
}

impl Default for SpectralNormOptions {
    fn default() -> SpectralNormOptions {
        SpectralNormOptions { n_power_iterations: 1, eps: 1e-12, dim: None }
    }
}

/// A layer whose weight is divided by its largest singular value, so that a linear layer lengthens no vector (Miyato, Kataoka,
/// Koyama, Yoshida, "Spectral normalization for generative adversarial networks", 2018): `weight / (u . W v)`, see
/// [`ops::spectral_norm`].
///
/// * input and output are those of the layer: [`Linear`](super::Linear), a convolution, or any other that is [`Weighted`]
/// * `bias` and `parametrizations.weight.original`, the layer's own parameters, at first as they were;
///   state: `parametrizations.weight.0._u` `[outputs]` and `_v`, the singular vectors, as PyTorch's
///   `nn.utils.parametrizations.spectral_norm` names them
///
/// In training every pass takes a step of the power iteration before it uses the vectors; to gradients they are constants. In
/// evaluation they stay.
///
/// ```
/// use wengert::{Tensor, nn::{Layer, Linear, Module, SpectralNorm}, record};
/// let layer = SpectralNorm::new(Linear::new(4, 3));
/// let y = record(|| layer.forward(&Tensor::ones([2, 4])));
/// assert_eq!(y.shape(), [2, 3]);
/// assert_eq!(layer.parameters()[1].0, "parametrizations.weight.original");
/// ```
///
/// # Panics
/// In `forward`, when the layer would.
#[derive(Clone, Debug)]
pub struct SpectralNorm<L, T: Float = f32> {
    layer: L,
    u: Buffer<T>,
    v: Buffer<T>,
    dim: usize,
    options: SpectralNormOptions,
    name: Name,
}

impl<L: Weighted> SpectralNorm<L> {
    /// A layer with PyTorch's defaults around another.
    pub fn new(layer: L) -> SpectralNorm<L> {
        SpectralNorm::with(layer, SpectralNormOptions::default())
    }
}

impl<T: Float, L: Weighted<T>> SpectralNorm<L, T> {
    /// A layer around another, of either float type. The vectors begin as random ones after 15 steps of the power iteration.
    ///
    /// # Panics
    /// When there is no step, the weight has no such dimension, or it has less than two.
    #[track_caller]
    pub fn with(layer: L, options: SpectralNormOptions) -> SpectralNorm<L, T> {
        ensure(options.n_power_iterations > 0, || "SpectralNorm: expected at least one power iteration".to_string());
        let (weight, _) = layer.parts();
        let dim = options.dim.unwrap_or(L::OUTPUTS);
        let height = weight.size(dim as isize);
        let sizes = [height, weight.numel() / height.max(1)];
        let random = with_thread_rng(|rng| sizes.map(|n| Tensor::normals(n, rng)));
        let [u, v] = ops::power_iteration(weight, random, dim, 15, options.eps).map(Buffer::new);
        SpectralNorm { layer, u, v, dim, options, name: Name::default() }
    }

    /// The layer inside, with the weight that is not normalized.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// What the layer was made with.
    pub fn options(&self) -> SpectralNormOptions {
        self.options
    }

    /// The normalized weight, which a pass uses. In training it takes the steps of the power iteration.
    #[track_caller]
    pub fn weight(&self) -> Tensor<T> {
        let call = Call::enter("SpectralNorm", Some(&self.name));
        let (weight, _) = self.layer.parts();
        let [mut u, mut v] = [self.u.get(), self.v.get()];
        if is_training() {
            let SpectralNormOptions { n_power_iterations, eps, .. } = self.options;
            [u, v] = ops::power_iteration(weight, [u, v], self.dim, n_power_iterations, eps);
            self.u.set(&u);
            self.v.set(&v);
        }
        let normed = ops::spectral_norm(weight, &u, &v, self.dim);
        call.leave(normed, |weight| (0, 3 * weight.numel() as u64))
    }

    /// The layer inside, with the normalized weight for good.
    pub fn into_layer(mut self) -> L {
        let weight = crate::no_record(|| self.weight());
        self.layer.parts_mut().0.set(&weight);
        self.layer
    }
}

impl<T: Float, L: Weighted<T>> Module<T> for SpectralNorm<L, T> {
    fn visit(&self, walk: &mut Walk<T>) {
        walk.name(&self.name);
        let (weight, bias) = self.layer.parts();
        if let Some(bias) = bias {
            walk.child("bias", bias);
        }
        walk.child("parametrizations.weight.original", weight);
        walk.state("parametrizations.weight.0._u", Slot::Buffer(&self.u));
        walk.state("parametrizations.weight.0._v", Slot::Buffer(&self.v));
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        walk.name(&mut self.name);
        let (weight, bias) = self.layer.parts_mut();
        if let Some(bias) = bias {
            walk.child("bias", bias);
        }
        walk.child("parametrizations.weight.original", weight);
    }
}

impl<T: Float, L: Weighted<T>> Layer<T> for SpectralNorm<L, T> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let _call = Call::enter("SpectralNorm", Some(&self.name));
        self.layer.forward_with(x, &self.weight())
    }
}

/// What a [`WeightNorm`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightNormOptions {
    /// The dimension whose indices have a length each; `None` for one length of the whole weight. The first by default.
    pub dim: Option<usize>,
}

impl Default for WeightNormOptions {
    fn default() -> WeightNormOptions {
        WeightNormOptions { dim: Some(0) }
    }
}

/// A layer whose weight is trained as a direction and a length (Salimans and Kingma, "Weight normalization: a simple
/// reparameterization to accelerate training of deep neural networks", 2016): `weight = g v / |v|`, see [`ops::weight_norm`].
///
/// * input and output are those of the layer: [`Linear`](super::Linear), a convolution, or any other that is [`Weighted`]
/// * `bias`, the layer's own; `parametrizations.weight.original0`, the lengths g, and `original1`, the direction v, as
///   PyTorch's `nn.utils.parametrizations.weight_norm` names them. At first the weight is what it was.
///
/// ```
/// use wengert::{Tensor, nn::{Conv2d, Layer, Module, WeightNorm}};
/// let layer = WeightNorm::new(Conv2d::new(3, 8, 3));
/// assert_eq!(layer.forward(&Tensor::zeros([2, 3, 8, 8])).shape(), [2, 8, 6, 6]);
/// assert_eq!(layer.num_parameters(), 8 + 8 + 8 * 3 * 9);
/// ```
///
/// # Panics
/// In `forward`, when the layer would.
#[derive(Clone, Debug)]
pub struct WeightNorm<L, T: Float = f32> {
    layer: L,
    g: Param<T>,
    options: WeightNormOptions,
    name: Name,
}

impl<L: Weighted> WeightNorm<L> {
    /// A layer with PyTorch's defaults around another.
    pub fn new(layer: L) -> WeightNorm<L> {
        WeightNorm::with(layer, WeightNormOptions::default())
    }
}

impl<T: Float, L: Weighted<T>> WeightNorm<L, T> {
    /// A layer around another, of either float type.
    ///
    /// # Panics
    /// When the weight has no such dimension.
    #[track_caller]
    pub fn with(layer: L, options: WeightNormOptions) -> WeightNorm<L, T> {
        let g = Param::new(ops::norm_except(&layer.parts().0.detach(), options.dim));
        WeightNorm { layer, g, options, name: Name::default() }
    }

    /// The layer inside, with the direction in the place of the weight.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// What the layer was made with.
    pub fn options(&self) -> WeightNormOptions {
        self.options
    }

    /// The weight, which a pass uses.
    #[track_caller]
    pub fn weight(&self) -> Tensor<T> {
        let call = Call::enter("WeightNorm", Some(&self.name));
        let weight = ops::weight_norm(self.layer.parts().0, &self.g, self.options.dim);
        call.leave(weight, |weight| (self.g.numel(), 3 * weight.numel() as u64))
    }

    /// The layer inside, with the weight for good.
    pub fn into_layer(mut self) -> L {
        let weight = crate::no_record(|| self.weight());
        self.layer.parts_mut().0.set(&weight);
        self.layer
    }
}

impl<T: Float, L: Weighted<T>> Module<T> for WeightNorm<L, T> {
    fn visit(&self, walk: &mut Walk<T>) {
        walk.name(&self.name);
        let (direction, bias) = self.layer.parts();
        if let Some(bias) = bias {
            walk.child("bias", bias);
        }
        walk.child("parametrizations.weight.original0", &self.g);
        walk.child("parametrizations.weight.original1", direction);
    }
    fn visit_mut(&mut self, walk: &mut WalkMut<T>) {
        walk.name(&mut self.name);
        let (direction, bias) = self.layer.parts_mut();
        if let Some(bias) = bias {
            walk.child("bias", bias);
        }
        walk.child("parametrizations.weight.original0", &mut self.g);
        walk.child("parametrizations.weight.original1", direction);
    }
}

impl<T: Float, L: Weighted<T>> Layer<T> for WeightNorm<L, T> {
    #[track_caller]
    fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let _call = Call::enter("WeightNorm", Some(&self.name));
        self.layer.forward_with(x, &self.weight())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Mode, record, with_mode};
    use crate::nn::{Conv2d, ConvTranspose2d, Linear, LinearOptions};
    use crate::sequential;

    fn names(module: &impl Module) -> Vec<String> {
        let mut names = Vec::new();
        module.for_each(&mut |name, _| names.push(name.to_string()));
        names
    }

    /// A layer without a bias, with the singular values 3 and 1.
    fn diagonal() -> Linear<f64> {
        let mut layer = Linear::with(2, 2, LinearOptions { bias: false });
        layer.weight.set(&Tensor::from([[3.0, 0.0], [0.0, 1.0]]));
        layer
    }

    #[test]
    fn the_state_has_pytorchs_names_and_sizes() {
        let spectral = SpectralNorm::new(ConvTranspose2d::new(3, 4, 3));
        let all = [
            "bias",
            "parametrizations.weight.original",
            "parametrizations.weight.0._u",
            "parametrizations.weight.0._v",
        ];
        assert_eq!(names(&spectral), all);
        assert_eq!((spectral.u.get().shape(), spectral.v.get().shape()), ([4].as_slice(), [27].as_slice()));
        let weight = WeightNorm::new(Conv2d::new(3, 4, 3));
        let all = ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"];
        assert_eq!(names(&weight), all);
        assert_eq!(weight.g.shape(), [4, 1, 1, 1]);
        let whole = WeightNorm::with(Conv2d::new(3, 4, 3), WeightNormOptions { dim: None });
        assert_eq!(whole.g.shape(), [0; 0]);
        let net = sequential![spectral, weight];
        assert_eq!(names(&net)[5], "1.parametrizations.weight.original0");
        let mut changed = Vec::new();
        let mut net = net;
        net.for_each_param_mut(&mut |name, _| changed.push(name.to_string()));
        assert_eq!(changed, net.parameters().into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    }

    #[test]
    fn the_largest_singular_value_becomes_one_and_the_vectors_move_in_training_only() {
        let layer = SpectralNorm::with(diagonal(), SpectralNormOptions::default());
        layer.u.set(&Tensor::from([0.6, 0.8]));
        layer.v.set(&Tensor::from([0.8, 0.6]));
        let x = Tensor::from([[1.0, 1.0]]);
        // u . W v = 0.6 3 0.8 + 0.8 0.6 = 1.92
        let y = layer.forward(&x).to_vec();
        let frozen = record(|| with_mode(Mode::Eval, || layer.forward(&x))).to_vec();
        assert!((y[0] - 3.0 / 1.92).abs() < 1e-12 && (y[1] - 1.0 / 1.92).abs() < 1e-12, "{y:?}");
        assert_eq!((y, layer.u.get().to_vec()), (frozen, vec![0.6, 0.8]));
        for _ in 0..30 {
            record(|| layer.forward(&x));
        }
        let y = layer.forward(&x).to_vec();
        assert!((y[0] - 1.0).abs() < 1e-12 && (y[1] - 1.0 / 3.0).abs() < 1e-12, "{y:?}");
        assert_eq!(layer.into_layer().forward(&x).to_vec(), y);
    }

    #[test]
    fn the_direction_of_a_weight_has_no_length() {
        let mut layer = WeightNorm::with(diagonal(), WeightNormOptions::default());
        let x = Tensor::from([[2.0, 5.0]]);
        assert_eq!(layer.forward(&x).to_vec(), [6.0, 5.0]);
        layer.layer.weight.as_mut_slice().iter_mut().for_each(|v| *v *= 4.0);
        assert_eq!(layer.forward(&x).to_vec(), [6.0, 5.0]);
        layer.g.as_mut_slice()[1] = 2.0;
        assert_eq!(layer.forward(&x).to_vec(), [6.0, 10.0]);
        assert_eq!(layer.into_layer().forward(&x).to_vec(), [6.0, 10.0]);
    }

    #[test]
    fn the_summary_has_a_row_for_the_weight_and_one_for_the_layer() {
        let summary = sequential![WeightNorm::new(Linear::new(4, 3))].summary(&[2, 4]);
        let rows: Vec<_> = summary.rows.iter().map(|row| (row.name.as_str(), row.kind, row.parameters)).collect();
        assert_eq!(rows, [("0", "WeightNorm", 3), ("0", "Linear", 15)]);
        assert_eq!(summary.parameters, 18);
    }

    #[test]
    fn an_error_names_the_wrapped_layer() {
        let net = sequential![SpectralNorm::new(Linear::new(4, 3))];
        net.parameters();
        let error = net.try_forward(&Tensor::zeros([2, 5])).expect_err("an error").to_string();
        assert!(error.ends_with("(in 0)"), "{error}");
    }

    #[test]
    #[should_panic(expected = "SpectralNorm: expected at least one power iteration")]
    fn no_power_iteration_is_refused() {
        let options = SpectralNormOptions { n_power_iterations: 0, ..Default::default() };
        SpectralNorm::with(Linear::new(2, 2), options);
    }
}
