//! Attention of a decoder over the states of an encoder.

use super::Module;
use super::module::layer_module;
use super::param::{Name, Param};
use super::summary::Call;
use crate::element::Float;
use crate::ops;
use crate::shape::ensure;
use crate::tensor::Tensor;

/// What a query found in the states of an encoder.
#[derive(Clone, Debug)]
pub struct Attended<T: Float = f32> {
    /// The states' mean by the weights, `[batch, states]`, or `[batch, steps, states]`.
    pub context: Tensor<T>,
    /// How much each state counts, `[batch, time]`, or `[batch, steps, time]`; 0 behind a sequence's length.
    pub weights: Tensor<T>,
}

/// The states of an encoder, made ready to be asked many times: [`AdditiveAttention::keys`], [`DotAttention::keys`].
#[derive(Clone, Debug)]
pub struct Keys<T: Float = f32> {
    /// `[batch, time, states]`.
    states: Tensor<T>,
    /// `[batch, time, ..]`: what queries are compared with.
    projected: Tensor<T>,
    /// `[batch, 1, time]`: true behind a sequence's length.
    beyond: Option<Tensor<bool>>,
}

impl<T: Float> Keys<T> {
    #[track_caller]
    fn new(states: &Tensor<T>, projected: impl FnOnce() -> Tensor<T>, lengths: Option<&[usize]>) -> Keys<T> {
        let shape = states.shape();
        ensure(shape.len() == 3, || format!("attention: {shape:?}: expected states [batch, time, states]"));
        let (batch, time) = (shape[0], shape[1]);
        ensure(time > 0, || format!("attention: {shape:?}: expected at least one state"));
        if let Some(lengths) = lengths {
            ensure(lengths.len() == batch, || {
                format!("attention: {shape:?}: expected {batch} lengths, found {}", lengths.len())
            });
            ensure(lengths.iter().all(|length| (1..=time).contains(length)), || {
                format!("attention: {shape:?}: expected lengths from 1 to {time}, found {lengths:?}")
            });
        }
        let beyond = lengths.filter(|lengths| lengths.iter().any(|&length| length < time));
        let beyond = beyond.map(|lengths| Tensor::from_fn([batch, 1, time], |i| i % time >= lengths[i / time]));
        Keys { states: states.clone(), projected: projected(), beyond }
    }

    /// Weights and context from `scores [batch, steps, time]`; without steps where the query had none.
    fn attend(&self, scores: Tensor<T>, single: bool) -> Attended<T> {
        let scores = match &self.beyond {
            Some(beyond) => scores.masked_fill(&beyond.expand(scores.dims()), T::LOWEST),
            None => scores,
        };
        let weights = scores.softmax(2);
        let context = weights.matmul(&self.states); // [batch, steps, time] . [batch, time, states]
        if single {
            return Attended { context: context.squeeze(1), weights: weights.squeeze(1) };
        }
        Attended { context, weights }
    }

    /// The query as `[batch, steps, size]`, and whether it came without steps.
    #[track_caller]
    fn steps(&self, query: &Tensor<T>, size: usize) -> (Tensor<T>, bool) {
        let (shape, batch) = (query.shape(), self.states.shape()[0]);
        let fits = (2..=3).contains(&shape.len()) && shape[0] == batch && shape[shape.len() - 1] == size;
        ensure(fits, || {
            format!(
                "attention: {:?} and query {shape:?}: expected a query [{batch}, {size}] or [{batch}, steps, {size}]",
                self.states.shape()
            )
        });
        if shape.len() == 2 { (query.unsqueeze(1), true) } else { (query.clone(), false) }
    }

    /// The products of `query [batch, steps, size]` with what it is compared with: `[batch, steps, time]`.
    #[track_caller]
    fn products(&self, query: &Tensor<T>) -> Tensor<T> {
        query.matmul(&self.projected.transpose(1, 2))
    }
}

/// Additive attention: a state's score is `v . tanh(W_q query + W_s state + b)`, its weight the softmax of the scores of all
/// states within the sequence's length.
///
/// * query `[batch, query]`, or `[batch, steps, query]` for many steps at once; states `[batch, time, states]`
/// * `query_weight` `[hidden, query]`, `state_weight` `[hidden, states]`, `bias` `[hidden]`, `score` `[hidden]`, initialised
///   uniformly in `+-1 / sqrt(inputs)` as those of linear layers
///
/// Bahdanau, Cho, Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015. With a query of
/// the states' size it is the attention "concat" of Luong, Pham, Manning, "Effective approaches to attention-based neural
/// machine translation", EMNLP 2015, whose one matrix stands here as two, beside each other.
///
/// ```
/// use wengert::{Tensor, nn::AdditiveAttention};
/// let attention: AdditiveAttention = AdditiveAttention::new(8, 6, 10);
/// let (states, lengths) = (Tensor::randn([2, 5, 6]), [5, 3]);
/// // One step of a decoder after the other: the states are projected once.
/// let keys = attention.keys(&states, Some(&lengths));
/// let found = attention.attend(&Tensor::randn([2, 8]), &keys);
/// assert_eq!((found.context.shape(), found.weights.shape()), (&[2, 6][..], &[2, 5][..]));
/// assert_eq!(found.weights.get(&[1, 4]), 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct AdditiveAttention<T: Float = f32> {
    /// `[hidden, query]`.
    pub query_weight: Param<T>,
    /// `[hidden, states]`.
    pub state_weight: Param<T>,
    /// `[hidden]`.
    pub bias: Param<T>,
    /// `[hidden]`.
    pub score: Param<T>,
    name: Name,
}

fn bound(inputs: usize) -> f64 {
    1.0 / (inputs.max(1) as f64).sqrt()
}

impl<T: Float> AdditiveAttention<T> {
    /// Attention of queries of a size over states of a size, which are compared in `hidden` numbers.
    pub fn new(query: usize, states: usize, hidden: usize) -> AdditiveAttention<T> {
        AdditiveAttention {
            query_weight: Param::uniform(&[hidden, query], bound(query)),
            state_weight: Param::uniform(&[hidden, states], bound(states)),
            bias: Param::uniform(&[hidden], bound(states)),
            score: Param::uniform(&[hidden], bound(hidden)),
            name: Name::default(),
        }
    }

    /// Makes `states [batch, time, states]` ready to be asked; of each sequence as many count as `lengths` says, all without
    /// it.
    ///
    /// # Panics
    /// When the shapes do not fit, or a length is not from 1 to `time`.
    #[track_caller]
    pub fn keys(&self, states: &Tensor<T>, lengths: Option<&[usize]>) -> Keys<T> {
        let _call = Call::enter("AdditiveAttention", Some(&self.name));
        Keys::new(states, || ops::linear(states, &self.state_weight, Some(&self.bias)), lengths)
    }

    /// What a query, `[batch, query]` or `[batch, steps, query]`, finds.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn attend(&self, query: &Tensor<T>, keys: &Keys<T>) -> Attended<T> {
        let call = Call::enter("AdditiveAttention", Some(&self.name));
        let (query, single) = keys.steps(query, self.query_weight.size(1));
        let query = ops::linear(&query, &self.query_weight, None).unsqueeze(2); // [batch, steps, 1, hidden]
        let mixed = (query + keys.projected.unsqueeze(1)).tanh(); // [batch, steps, time, hidden]
        let mut found = keys.attend(mixed.matmul(&self.score), single);
        found.context = call.leave(found.context, |_| {
            let parameters = self.parameters().iter().map(|(_, x)| x.numel()).sum();
            (parameters, (4 * mixed.numel() + 2 * found.weights.numel() * keys.states.shape()[2]) as u64)
        });
        found
    }

    /// What a query finds in `states [batch, time, states]`: [`AdditiveAttention::keys`] and [`AdditiveAttention::attend`].
    ///
    /// # Panics
    /// As these.
    #[track_caller]
    pub fn forward(&self, query: &Tensor<T>, states: &Tensor<T>, lengths: Option<&[usize]>) -> Attended<T> {
        self.attend(query, &self.keys(states, lengths))
    }
}

layer_module!(AdditiveAttention { query_weight, state_weight, bias, score });

/// Multiplicative attention: a state's score is `query . state` ("dot"), or `query . W state` with a `weight`
/// `[query, states]` ("general"), its weight the softmax of the scores of all states within the sequence's length.
///
/// * query `[batch, query]`, or `[batch, steps, query]` for many steps at once; states `[batch, time, states]`
///
/// Luong, Pham, Manning, "Effective approaches to attention-based neural machine translation", EMNLP 2015, equation 8; the
/// third score there, "concat", is [`AdditiveAttention`].
///
/// ```
/// use wengert::{Tensor, nn::DotAttention};
/// let states = Tensor::from([[[1.0_f32, 0.0], [0.0, 1.0], [9.0, 9.0]]]);
/// let query = Tensor::from([[100.0, 0.0]]);
/// let found = DotAttention::dot().forward(&query, &states, Some(&[2]));
/// assert_eq!(found.context.to_vec(), [1.0, 0.0]);
/// ```
#[derive(Clone, Debug)]
pub struct DotAttention<T: Float = f32> {
    /// `[query, states]`, or none.
    pub weight: Option<Param<T>>,
    name: Name,
}

impl<T: Float> DotAttention<T> {
    /// Without a weight: queries have the size of states.
    pub fn dot() -> DotAttention<T> {
        DotAttention { weight: None, name: Name::default() }
    }

    /// With a weight for queries of a size and states of a size, initialised uniformly in `+-1 / sqrt(states)`.
    pub fn general(query: usize, states: usize) -> DotAttention<T> {
        DotAttention { weight: Some(Param::uniform(&[query, states], bound(states))), name: Name::default() }
    }

    /// Makes `states [batch, time, states]` ready to be asked; of each sequence as many count as `lengths` says, all without
    /// it.
    ///
    /// # Panics
    /// When the shapes do not fit, or a length is not from 1 to `time`.
    #[track_caller]
    pub fn keys(&self, states: &Tensor<T>, lengths: Option<&[usize]>) -> Keys<T> {
        let _call = Call::enter("DotAttention", Some(&self.name));
        let projected = || match &self.weight {
            Some(weight) => ops::linear(states, weight, None),
            None => states.clone(),
        };
        Keys::new(states, projected, lengths)
    }

    /// What a query, `[batch, query]` or `[batch, steps, query]`, finds.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn attend(&self, query: &Tensor<T>, keys: &Keys<T>) -> Attended<T> {
        let call = Call::enter("DotAttention", Some(&self.name));
        let size = keys.projected.shape()[2];
        let (query, single) = keys.steps(query, size);
        let mut found = keys.attend(keys.products(&query), single);
        found.context = call.leave(found.context, |_| {
            let parameters = self.weight.as_ref().map_or(0, |weight| weight.numel());
            (parameters, (2 * found.weights.numel() * (size + keys.states.shape()[2])) as u64)
        });
        found
    }

    /// What a query finds in `states [batch, time, states]`: [`DotAttention::keys`] and [`DotAttention::attend`].
    ///
    /// # Panics
    /// As these.
    #[track_caller]
    pub fn forward(&self, query: &Tensor<T>, states: &Tensor<T>, lengths: Option<&[usize]>) -> Attended<T> {
        self.attend(query, &self.keys(states, lengths))
    }
}

layer_module!(DotAttention { weight });

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(shape: &[usize], seed: u64) -> Tensor<f64> {
        Tensor::randn_with(shape, &mut crate::Rng::new(seed)).cast()
    }

    fn close(a: &Tensor<f64>, b: &Tensor<f64>) {
        assert_eq!(a.shape(), b.shape());
        a.to_vec().iter().zip(b.to_vec()).for_each(|(a, b)| assert!((a - b).abs() < 1e-13, "{a} and {b}"));
    }

    /// The weights from the formula, one sequence and one query at a time.
    fn reference(score: impl Fn(&[f64], &[f64]) -> f64, query: &Tensor<f64>, states: &Tensor<f64>) -> Vec<f64> {
        let scores: Vec<f64> =
            (0..states.size(0)).map(|t| score(&query.to_vec(), &states.select(0, t as isize).to_vec()).exp()).collect();
        scores.iter().map(|score| score / scores.iter().sum::<f64>()).collect()
    }

    #[test]
    fn weights_are_the_softmax_of_the_scores_within_each_length() {
        crate::seed(2);
        let (query, states, lengths) = (noise(&[2, 3, 4], 1), noise(&[2, 5, 6], 2), [3, 5]);
        let additive = AdditiveAttention::<f64>::new(4, 6, 7);
        let general = DotAttention::<f64>::general(4, 6);
        let product = |w: &Tensor<f64>, x: &[f64]| w.matmul(&Tensor::from(x));
        let weight = general.weight.clone().unwrap();
        type Score<'a> = &'a dyn Fn(&[f64], &[f64]) -> f64;
        let additive_score = |q: &[f64], s: &[f64]| {
            let sum = product(&additive.query_weight, q) + product(&additive.state_weight, s) + &*additive.bias;
            (sum.tanh() * &*additive.score).sum().item()
        };
        let general_score = |q: &[f64], s: &[f64]| (product(&weight, s) * Tensor::from(q)).sum().item();
        let cases: [(Attended<f64>, Score); 2] = [
            (additive.forward(&query, &states, Some(&lengths)), &additive_score),
            (general.forward(&query, &states, Some(&lengths)), &general_score),
        ];
        for (found, score) in cases {
            for (b, &length) in lengths.iter().enumerate() {
                let states = states.i((b, ..length));
                for step in 0..3 {
                    let mut expected = reference(score, &query.i((b, step)), &states);
                    let context = Tensor::from(&expected[..]).matmul(&states);
                    expected.resize(5, 0.0);
                    close(&found.weights.i((b, step)), &Tensor::from(&expected[..]));
                    close(&found.context.i((b, step)), &context);
                }
            }
        }
    }

    #[test]
    fn a_step_alone_finds_what_it_finds_among_others() {
        crate::seed(3);
        let (query, states) = (noise(&[2, 3, 6], 1), noise(&[2, 5, 6], 2));
        let additive = AdditiveAttention::<f64>::new(6, 6, 7);
        let keys = additive.keys(&states, Some(&[2, 4]));
        let (all, one) = (additive.attend(&query, &keys), additive.attend(&query.i((.., 1)), &keys));
        close(&all.context.i((.., 1)), &one.context);
        close(&all.weights.i((.., 1)), &one.weights);
        let dot = DotAttention::<f64>::dot();
        let (all, one) = (dot.forward(&query, &states, None), dot.forward(&query.i((.., 1)), &states, None));
        close(&all.context.i((.., 1)), &one.context);
        close(&all.weights.i((.., 1)), &one.weights);
    }

    #[test]
    #[should_panic(expected = "attention: [2, 5, 6] and query [2, 4]: expected a query [2, 6] or [2, steps, 6] \
                               (in DotAttention)")]
    fn a_query_of_another_size_is_refused() {
        DotAttention::<f64>::dot().forward(&noise(&[2, 4], 1), &noise(&[2, 5, 6], 2), None);
    }

    #[test]
    #[should_panic(
        expected = "attention: [2, 5, 6]: expected lengths from 1 to 5, found [0, 5] (in AdditiveAttention)"
    )]
    fn a_sequence_without_states_is_refused() {
        AdditiveAttention::<f64>::new(4, 6, 7).keys(&noise(&[2, 5, 6], 2), Some(&[0, 5]));
    }
}
