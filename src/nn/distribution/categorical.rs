use super::{Distribution, Given, expect, extremes, inner, joined};
use crate::autograd::no_record;
use crate::element::Float;
use crate::rng::with_thread_rng;
use crate::shape::{Shape, ensure};
use crate::tensor::{Tensor, broadcast_shape};

/// One of `classes` classes, a number from 0 on.
///
/// `log p(k)` is the log-softmax of the logits `[batch.., classes]`; a logit of minus infinity, as that of an action
/// which is not allowed, leaves its class out.
///
/// ```
/// use wengert::{Tensor, nn::distribution::{Categorical, Distribution}};
/// let p = Categorical::from_probs(&Tensor::from([0.5_f32, 0.25, 0.25]));
/// assert_eq!(p.sample([4]).shape(), [4]);
/// assert_eq!(p.log_prob(&Tensor::from([0, 2])).exp().to_vec(), [0.5, 0.25]);
/// ```
#[derive(Clone, Debug)]
pub struct Categorical<T: Float = f32>(Given<T>);

impl<T: Float> Categorical<T> {
    /// From probabilities `[batch.., classes]`, which are divided by their sum. As in PyTorch they count as at least
    /// the machine's epsilon away from 0 and 1 where logarithms are taken.
    ///
    /// # Panics
    /// When there are no classes, a number is negative, or all are 0.
    #[track_caller]
    pub fn from_probs(probs: &Tensor<T>) -> Categorical<T> {
        let name = "Categorical: probs";
        expect_classes(name, probs);
        expect(name, probs, "numbers from 0 on", |p| p >= T::ZERO && p.is_finite());
        expect(&format!("{name}: sum"), &probs.detach().sum_dim(-1, false), "positive numbers", |sum| sum > T::ZERO);
        Categorical(Given::Probs(probs.clone()))
    }

    /// From logits `[batch.., classes]`: logarithms of the probabilities plus any number.
    ///
    /// # Panics
    /// When there are no classes, a logit is NaN or infinite, or all are minus infinity.
    #[track_caller]
    pub fn from_logits(logits: &Tensor<T>) -> Categorical<T> {
        let name = "Categorical: logits";
        expect_classes(name, logits);
        expect(name, logits, "numbers below infinity", |x| x < T::HIGHEST);
        expect(&format!("{name}: largest"), &logits.detach().amax(-1, false), "finite numbers", T::is_finite);
        Categorical(Given::Logits(logits.clone()))
    }

    /// The probabilities, `[batch.., classes]`.
    #[track_caller]
    pub fn probs(&self) -> Tensor<T> {
        match &self.0 {
            Given::Probs(probs) => probs / probs.sum_dim(-1, true),
            Given::Logits(logits) => logits.softmax(-1),
        }
    }

    /// The logarithms of the probabilities, `[batch.., classes]`; PyTorch's `logits`.
    #[track_caller]
    pub fn log_probs(&self) -> Tensor<T> {
        match &self.0 {
            Given::Probs(_) => inner(&self.probs()).log(),
            Given::Logits(logits) => logits.log_softmax(-1),
        }
    }

    /// [`Categorical::log_probs`], but finite, so that their product with a probability of 0 is 0.
    #[track_caller]
    fn finite_log_probs(&self) -> Tensor<T> {
        let (_, largest) = extremes::<T>();
        self.log_probs().clamp(-largest, f64::INFINITY)
    }

    fn classes(&self) -> usize {
        let shape = self.0.shape();
        shape[shape.rank() - 1]
    }
}

#[track_caller]
fn expect_classes<T: Float>(what: &str, x: &Tensor<T>) {
    ensure(x.rank() > 0 && x.size(-1) > 0, || format!("{what}: {:?}: expected [batch.., classes]", x.shape()));
}

impl<T: Float> Distribution<T> for Categorical<T> {
    type Value = i64;

    fn batch_shape(&self) -> Shape {
        let shape = self.0.shape();
        Shape::new(&shape[..shape.rank() - 1])
    }

    /// The numbers of classes, `[shape.., batch..]`.
    fn sample(&self, shape: impl Into<Shape>) -> Tensor<i64> {
        let probs = no_record(|| self.probs()).packed();
        let (classes, batch) = (self.classes(), self.batch_shape());
        let mut sums: Vec<f64> = Vec::with_capacity(probs.numel());
        for row in probs.elements().chunks(classes) {
            let mut sum = 0.0;
            sums.extend(row.iter().map(|p| {
                sum += p.to_f64();
                sum
            }));
        }
        with_thread_rng(|rng| {
            Tensor::from_fn(joined(&shape.into(), &batch), |i| {
                let row = &sums[i % batch.numel() * classes..][..classes];
                // Strictly above the draw: a class of probability 0 does not raise the sum, and is never taken.
                let u = rng.uniform() * row[classes - 1];
                row.partition_point(|&sum| sum <= u) as i64
            })
        })
    }

    /// `value` holds numbers of classes, and broadcasts with `[batch..]`.
    ///
    /// # Panics
    /// When one is not a class.
    #[track_caller]
    fn log_prob(&self, value: &Tensor<i64>) -> Tensor<T> {
        let classes = self.classes();
        for k in value.packed().elements() {
            ensure((0..classes as i64).contains(k), || {
                format!("Categorical: log_prob: {k} is not one of {classes} classes")
            });
        }
        let batch = broadcast_shape("Categorical: log_prob", &value.dims(), &self.batch_shape());
        let all = self.log_probs().expand(joined(&batch, &[classes]));
        all.gather(-1, &value.expand(batch).unsqueeze(-1)).squeeze(-1)
    }

    fn entropy(&self) -> Tensor<T> {
        -(self.probs() * self.finite_log_probs()).sum_dim(-1, false)
    }

    /// NaN, as in PyTorch: the numbers of classes are names.
    fn mean(&self) -> Tensor<T> {
        Tensor::full(self.batch_shape(), T::of(f64::NAN))
    }

    /// NaN, as in PyTorch: the numbers of classes are names.
    fn variance(&self) -> Tensor<T> {
        self.mean()
    }

    /// Infinite where the other one leaves out a class that this one has.
    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        let probs = self.probs();
        let terms = &probs * (self.finite_log_probs() - other.finite_log_probs());
        let lost = probs.gt_scalar(T::ZERO).logical_and(&other.probs().eq_scalar(T::ZERO));
        terms.masked_fill(&lost, T::HIGHEST).sum_dim(-1, false)
    }
}

/// One of `classes` classes, as a vector `[classes]` that is 1 there and 0 elsewhere.
#[derive(Clone, Debug)]
pub struct OneHotCategorical<T: Float = f32>(Categorical<T>);

impl<T: Float> OneHotCategorical<T> {
    /// From probabilities, as [`Categorical::from_probs`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn from_probs(probs: &Tensor<T>) -> OneHotCategorical<T> {
        OneHotCategorical(Categorical::from_probs(probs))
    }

    /// From logits, as [`Categorical::from_logits`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn from_logits(logits: &Tensor<T>) -> OneHotCategorical<T> {
        OneHotCategorical(Categorical::from_logits(logits))
    }
}

impl<T: Float> Distribution<T> for OneHotCategorical<T> {
    type Value = T;

    fn batch_shape(&self) -> Shape {
        self.0.batch_shape()
    }

    fn event_shape(&self) -> Shape {
        Shape::from(self.0.classes())
    }

    fn sample(&self, shape: impl Into<Shape>) -> Tensor<T> {
        self.0.sample(shape).one_hot(self.0.classes()).cast()
    }

    /// `value [.., classes]`; the class is where it is largest.
    #[track_caller]
    fn log_prob(&self, value: &Tensor<T>) -> Tensor<T> {
        let classes = self.0.classes();
        ensure(value.rank() > 0 && value.size(-1) == classes, || {
            format!("OneHotCategorical: log_prob: {:?}: expected [.., {classes}]", value.shape())
        });
        self.0.log_prob(&value.argmax(-1, false))
    }

    fn entropy(&self) -> Tensor<T> {
        self.0.entropy()
    }

    fn mean(&self) -> Tensor<T> {
        self.0.probs()
    }

    /// `p (1 - p)`.
    fn variance(&self) -> Tensor<T> {
        let probs = self.0.probs();
        &probs - probs.square()
    }

    #[track_caller]
    fn kl(&self, other: &Self) -> Tensor<T> {
        self.0.kl(&other.0)
    }
}
