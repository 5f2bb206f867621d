//! Scaled dot-product attention.

use super::arithmetic::unbroadcast;
use super::matmul::offsets;
use super::{dropout, stack};
use crate::autograd::{Pull, is_recording, record_op};
use crate::element::Float;
use crate::kernels::attention::{self, Attention, Gradients, Heads};
use crate::shape::{Shape, ensure, fail};
use crate::tensor::Tensor;

/// What can be set of [`scaled_dot_product_attention`] and [`self_attention`].
#[derive(Clone, Debug)]
pub struct AttentionOptions<T: Float = f32> {
    /// Added to the scaled products, and broadcast to them, `[.., queries, keys]`: minus infinity where a query must not see
    /// a key. A query that sees none gets NaN.
    pub attn_mask: Option<Tensor<T>>,
    /// The share of the weights that dropout sets to 0 in training; 0 by default.
    pub dropout_p: f64,
    /// Whether query i sees the keys up to i only; off by default.
    pub is_causal: bool,
    /// The factor of the products; `1 / sqrt(size)` where there is none.
    pub scale: Option<f64>,
}

impl<T: Float> Default for AttentionOptions<T> {
    fn default() -> Self {
        AttentionOptions { attn_mask: None, dropout_p: 0.0, is_causal: false, scale: None }
    }
}

impl<T: Float> AttentionOptions<T> {
    fn scale(&self, size: usize) -> f64 {
        self.scale.unwrap_or(1.0 / (size as f64).sqrt())
    }

    /// Whether the weights are needed, so that they are computed as a matrix.
    fn wants_weights(&self) -> bool {
        self.attn_mask.is_some() || self.dropout_p > 0.0
    }
}

/// The weights `softmax(scale q k^T + mask)`, in operations that are recorded.
#[track_caller]
fn weights<T: Float>(
    q: &Tensor<T>,
    k: &Tensor<T>,
    scale: f64,
    is_causal: bool,
    attn_mask: Option<&Tensor<T>>,
) -> Tensor<T> {
    let mut scores = (q * T::of(scale)).matmul(&k.t());
    if is_causal {
        let keys = k.size(-2);
        let hidden = Tensor::from_fn([q.size(-2), keys], |i| i % keys > i / keys);
        scores = scores.masked_fill(&hidden, T::LOWEST);
    }
    if let Some(mask) = attn_mask {
        scores = scores + mask;
    }
    scores.softmax(-1)
}

/// The gradients of queries, keys and values in operations that are recorded.
#[track_caller]
fn recordable<T: Float>([q, k, v]: [&Tensor<T>; 3], grad: &Tensor<T>, scale: f64, is_causal: bool) -> [Tensor<T>; 3] {
    let w = weights(q, k, scale, is_causal, None);
    let dw = grad.matmul(&v.t());
    let ds = &w * (&dw - (&w * &dw).sum_dim(-1, true)) * T::of(scale);
    [ds.matmul(k), ds.t().matmul(q), w.t().matmul(grad)]
}

/// The matrices of a batch of one shape.
fn heads<'a, T: Float>(x: &'a Tensor<T>, offsets: &'a [usize]) -> Heads<'a, T> {
    let (view, rank) = (x.view(), x.rank());
    Heads { data: view.data, offsets, row: view.strides[rank - 2], column: view.strides[rank - 1] }
}

fn starts<T: Float>(x: &Tensor<T>) -> Vec<usize> {
    let lead = x.rank() - 2;
    offsets(&x.shape()[..lead], &x.strides()[..lead])
}

/// A shape whose last batch dimension stands behind the rows, and the order of dimensions that puts it in its place: so the
/// heads of an attention come out side by side, as the layers want them.
fn side_by_side(batch: &[usize], rows: usize, columns: usize) -> (Shape, Vec<isize>) {
    let mut order: Vec<isize> = (0..batch.len() as isize + 2).collect();
    let mut shape = batch.to_vec();
    shape.extend([rows, columns]);
    if batch.len() > 1 {
        let last = batch.len() - 1;
        shape.swap(last, last + 1);
        order.swap(last, last + 1);
    }
    (Shape::new(&shape), order)
}

/// Attention: every query gets a mean of the values, with weights from its products with the keys:
/// `y = softmax(scale q k^T + mask) v` (Vaswani et al., 2017, equation 1).
///
/// * `q` `[.., queries, size]`, `k` `[.., keys, size]`, `v` `[.., keys, values]`; what stands before broadcasts
/// * output `[.., queries, values]`
///
/// With the weights `w` and `dw = dy v^T`: `dv = w^T dy`, `ds = w (dw - sum w dw) scale`, `dq = ds k`, `dk = ds^T q`. Without a
/// mask and dropout the weights are not stored, and memory grows with the length, not with its square.
///
/// ```
/// use wengert::{Tensor, ops::{AttentionOptions, scaled_dot_product_attention}};
/// let (q, v) = (Tensor::zeros([2, 4]), Tensor::from([[1.0_f32], [3.0]]));
/// let options = AttentionOptions { is_causal: true, ..Default::default() };
/// assert_eq!(scaled_dot_product_attention(&q, &q, &v, options).to_vec(), [1.0, 2.0]);
/// ```
///
/// # Panics
/// When a tensor has fewer than two dimensions, the sizes do not fit, or the batches do not broadcast.
#[track_caller]
#[inline(never)]
pub fn scaled_dot_product_attention<T: Float>(
    q: &Tensor<T>,
    k: &Tensor<T>,
    v: &Tensor<T>,
    options: AttentionOptions<T>,
) -> Tensor<T> {
    let all = [q, k, v];
    let complain = |what: &str| {
        let [q, k, v] = all.map(Tensor::shape);
        format!("scaled_dot_product_attention: {q:?}, {k:?}, {v:?}: {what}")
    };
    if all.iter().any(|x| x.rank() < 2) {
        fail(complain("expected at least two dimensions each"));
    }
    if q.size(-1) != k.size(-1) {
        fail(complain("expected queries and keys of one size"));
    }
    if k.size(-2) != v.size(-2) {
        fail(complain("expected as many keys as values"));
    }
    let [a, b, c] = all.map(|x| Shape::new(&x.shape()[..x.rank() - 2]));
    let Some(batch) = Shape::broadcast(&a, &b).and_then(|shape| Shape::broadcast(&shape, &c)) else {
        fail(complain("the batches do not broadcast"))
    };
    let (is_causal, scale) = (options.is_causal, options.scale(q.size(-1)));
    if options.wants_weights() {
        let w = weights(q, k, scale, is_causal, options.attn_mask.as_ref());
        return if options.dropout_p > 0.0 { dropout(&w, options.dropout_p) } else { w }.matmul(v);
    }
    let sizes = Attention {
        heads: [batch.numel(), if batch.rank() > 1 { batch[batch.rank() - 1].max(1) } else { 1 }],
        queries: q.size(-2),
        keys: k.size(-2),
        size: q.size(-1),
        values: v.size(-1),
        causal: is_causal,
        scale,
    };
    let whole = move |x: &Tensor<T>| {
        let mut shape = batch.to_vec();
        shape.extend(&x.shape()[x.rank() - 2..]);
        x.expanded(&Shape::new(&shape))
    };
    let wholes = all.map(whole);
    let places = wholes.each_ref().map(starts);
    let inputs = [0, 1, 2].map(|i| heads(&wholes[i], &places[i]));
    let (shape, order) = side_by_side(&batch, sizes.queries, sizes.values);
    let mut y = None;
    let logs = Tensor::build([batch.numel(), sizes.queries], |logs| {
        y = Some(Tensor::build(shape, |y| attention::forward(&sizes, inputs, y, logs)));
    });
    let y = y.expect("built").permute(&order);
    record_op("scaled_dot_product_attention", y, all, || {
        let saved = all.map(Tensor::clone);
        move |pull: Pull<T>| {
            if is_recording() {
                let grads = recordable(saved.each_ref(), &pull.grad, scale, is_causal);
                let mut grads = grads.into_iter().zip(&saved);
                return std::array::from_fn(|i| {
                    let (grad, x) = grads.next().expect("three");
                    pull.needs(i).then(|| unbroadcast(grad, &x.dims()))
                });
            }
            let wholes = saved.each_ref().map(whole);
            let [q, k, v] = &wholes;
            let all = [q, k, v, &pull.grad];
            let places = all.map(starts);
            let inputs = [0, 1, 2, 3].map(|i| heads(all[i], &places[i]));
            let mut grads = [0, 1, 2].map(|i| {
                let (shape, _) = side_by_side(&batch, wholes[i].size(-2), wholes[i].size(-1));
                pull.needs(i).then(|| Tensor::build(shape, |_| ()))
            });
            let outputs = grads.each_mut().map(|grad| grad.as_mut().map(Tensor::make_mut));
            attention::backward(&sizes, inputs, logs.elements(), Gradients::Apart(outputs));
            let mut grads = grads.into_iter().zip(&saved);
            std::array::from_fn(|_| {
                let (grad, x) = grads.next().expect("three");
                grad.map(|grad| unbroadcast(grad.permute(&order), &x.dims()))
            })
        }
    })
}

/// The queries, keys and values of [`self_attention`], `[batch, heads, length, size]` each.
#[track_caller]
fn parts<T: Float>(qkv: &Tensor<T>, heads: usize) -> [Tensor<T>; 3] {
    let (batch, length) = (qkv.size(0), qkv.size(1));
    let parts = qkv.reshape([batch, length, 3, heads, qkv.size(2) / (3 * heads)]).permute(&[2, 0, 3, 1, 4]);
    [0, 1, 2].map(|i| parts.select(0, i))
}

/// [`scaled_dot_product_attention`] of a sequence to itself, in several heads, from the queries, keys and values that one
/// linear layer gives.
///
/// * `qkv` `[batch, length, 3 * heads * size]`: in each row the queries of all heads, their keys, their values
/// * output `[batch, length, heads * size]`: the heads side by side
///
/// Nothing is cut up or put together: the heads are read and written where they lie.
///
/// ```
/// use wengert::{Tensor, ops::{AttentionOptions, self_attention}};
/// let options = AttentionOptions { is_causal: true, ..Default::default() };
/// let y = self_attention(&Tensor::randn([12, 64, 3 * 128]), 4, options);
/// assert_eq!(y.shape(), [12, 64, 128]);
/// ```
///
/// # Panics
/// When the input is not `[batch, length, 3 * heads * size]`.
#[track_caller]
#[inline(never)]
pub fn self_attention<T: Float>(qkv: &Tensor<T>, heads: usize, options: AttentionOptions<T>) -> Tensor<T> {
    let shape = qkv.shape();
    ensure(shape.len() == 3 && heads > 0 && shape[2].is_multiple_of(3 * heads), || {
        format!("self_attention: {shape:?}: expected [batch, length, 3 * {heads} heads * size]")
    });
    let (batch, length, width) = (shape[0], shape[1], shape[2] / 3);
    if options.wants_weights() {
        let [q, k, v] = parts(qkv, heads);
        return scaled_dot_product_attention(&q, &k, &v, options).transpose(1, 2).reshape([batch, length, width]);
    }
    let size = width / heads;
    let (is_causal, scale) = (options.is_causal, options.scale(size));
    let sizes = Attention {
        heads: [batch * heads, heads],
        queries: length,
        keys: length,
        size,
        values: size,
        causal: is_causal,
        scale,
    };
    let packed = qkv.packed();
    let inputs = parts(&packed, heads);
    let places = inputs.each_ref().map(starts);
    let mut y = None;
    let logs = Tensor::build([batch * heads, length], |logs| {
        let inputs = [0, 1, 2].map(|i| self::heads(&inputs[i], &places[i]));
        y = Some(Tensor::build([batch, length, width], |y| attention::forward(&sizes, inputs, y, logs)));
    });
    record_op("self_attention", y.expect("built"), [qkv], || {
        let qkv = qkv.clone();
        move |pull: Pull<T>| {
            if is_recording() {
                let grad = pull.grad.reshape([batch, length, heads, size]).transpose(1, 2);
                let [q, k, v] = parts(&qkv, heads);
                let [dq, dk, dv] = recordable([&q, &k, &v], &grad, scale, is_causal);
                let all = stack(&[&dq, &dk, &dv], 0).permute(&[1, 3, 0, 2, 4]);
                return [Some(all.reshape([batch, length, 3 * width]))];
            }
            let grad = pull.grad.packed().reshape([batch, length, heads, size]).transpose(1, 2);
            let [q, k, v] = parts(&qkv.packed(), heads);
            let all = [q, k, v, grad];
            let places = all.each_ref().map(starts);
            let inputs = [0, 1, 2, 3].map(|i| self::heads(&all[i], &places[i]));
            [Some(Tensor::build([batch, length, 3 * width], |dx| {
                attention::backward(&sizes, inputs, logs.elements(), Gradients::Packed(dx));
            }))]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use crate::autograd::{gradcheck, gradgradcheck};

    fn random(shape: &[usize], seed: u64) -> Tensor<f64> {
        let mut rng = Rng::new(seed);
        Tensor::from_fn(shape, |_| rng.normal())
    }

    fn options(is_causal: bool) -> AttentionOptions<f64> {
        AttentionOptions { is_causal, ..Default::default() }
    }

    /// Queries, keys and values: with and without a batch, of other sizes, views, broadcast, empty.
    fn cases() -> Vec<[Tensor<f64>; 3]> {
        let of = |q: &[usize], k: &[usize], v: &[usize]| [random(q, 1), random(k, 2), random(v, 3)];
        let [q, k, v] = of(&[2, 4, 3, 5], &[2, 5, 3, 5], &[2, 5, 3, 4]);
        let wide = random(&[3, 5, 8], 4);
        vec![
            of(&[3, 4], &[5, 4], &[5, 2]),
            of(&[2, 3, 4, 2], &[2, 3, 4, 2], &[2, 3, 4, 2]),
            of(&[2, 1, 3, 2], &[3, 4, 2], &[1, 1, 4, 3]),
            [q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)],
            [wide.slice(2, 0, 8, 2), wide.narrow(2, 1, 4), wide.t().narrow(1, 0, 5)],
            of(&[0, 3, 2], &[0, 4, 2], &[0, 4, 2]),
            of(&[2, 3, 2], &[2, 0, 2], &[2, 0, 4]),
            of(&[1, 1], &[1, 1], &[1, 1]),
        ]
    }

    #[test]
    fn output_and_gradients_are_those_of_the_definition() {
        for [q, k, v] in cases() {
            for causal in [false, true] {
                let f = |t: &[Tensor<f64>]| scaled_dot_product_attention(&t[0], &t[1], &t[2], options(causal)).tanh();
                let inputs = [q.clone(), k.clone(), v.clone()];
                gradcheck(f, &inputs).unwrap();
                gradgradcheck(f, &inputs).unwrap();
                if k.size(-2) > 0 {
                    // A mask of zeros goes the other way.
                    let attn_mask = Some(Tensor::full((), 0.0));
                    let masked = AttentionOptions { attn_mask, ..options(causal) };
                    let [found, expected] = [options(causal), masked]
                        .map(|options| scaled_dot_product_attention(&q, &k, &v, options).to_vec());
                    found.iter().zip(&expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
                    assert_eq!(found.len(), expected.len());
                }
            }
        }
    }

    #[test]
    fn attention_of_a_sequence_to_itself_is_that_of_its_parts() {
        for (shape, heads) in [([2, 5, 18], 3), ([1, 1, 3], 1), ([0, 2, 6], 1), ([2, 70, 12], 2)] {
            for x in [random(&shape, 1), random(&[shape[2], shape[1], shape[0]], 1).permute(&[2, 1, 0])] {
                let f = |x: &[Tensor<f64>]| self_attention(&x[0], heads, options(true));
                let [q, k, v] = parts(&x, heads);
                let apart = scaled_dot_product_attention(&q, &k, &v, options(true));
                assert_eq!(f(std::slice::from_ref(&x)).to_vec(), apart.transpose(1, 2).to_vec());
                if shape[1] < 10 {
                    gradcheck(|x| f(x).tanh(), std::slice::from_ref(&x)).unwrap();
                    gradgradcheck(|x| f(x).tanh(), &[x]).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_mask_hides_keys() {
        let [q, k, v] = [random(&[2, 3, 4], 1), random(&[2, 5, 4], 2), random(&[2, 5, 2], 3)];
        let mask = Tensor::from([0.0, 0.0, 0.0, f64::NEG_INFINITY, f64::NEG_INFINITY]);
        let masked = AttentionOptions { attn_mask: Some(mask), ..Default::default() };
        let found = scaled_dot_product_attention(&q, &k, &v, masked);
        let expected = scaled_dot_product_attention(&q, &k.narrow(1, 0, 3), &v.narrow(1, 0, 3), options(false));
        found.to_vec().iter().zip(expected.to_vec()).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
    }

    #[test]
    fn shape_errors_say_what_is_wrong() {
        let of = |q: &[usize], k: &[usize], v: &[usize]| {
            let [q, k, v] = [q, k, v].map(|shape| random(shape, 1));
            let run = || scaled_dot_product_attention(&q, &k, &v, options(false));
            crate::shape::catch(run).map(|_| ()).expect_err("a refusal").0
        };
        assert_eq!(
            of(&[3, 4], &[5, 3], &[5, 2]),
            "scaled_dot_product_attention: [3, 4], [5, 3], [5, 2]: expected queries and keys of one size"
        );
        assert!(of(&[3, 4], &[5, 4], &[6, 2]).contains("expected as many keys as values"));
        assert!(of(&[2, 3, 4], &[3, 5, 4], &[5, 2]).contains("the batches do not broadcast"));
        assert!(of(&[4], &[5, 4], &[6, 2]).contains("at least two dimensions"));
        let x = random(&[2, 3, 10], 1);
        let refusal =
            crate::shape::catch(|| self_attention(&x, 2, options(false))).map(|_| ()).expect_err("a refusal").0;
        assert_eq!(refusal, "self_attention: [2, 3, 10]: expected [batch, length, 3 * 2 heads * size]");
    }
}
