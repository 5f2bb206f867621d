//! Distributions: draws by moments and by the Kolmogorov-Smirnov test, gradients of draws at fixed noise, and
//! everything that is computed in closed form.

use wengert::autograd::{gradcheck, gradgradcheck};
use wengert::kernels::math::{lgamma, ndtr_f64};
use wengert::nn::distribution::{
    Bernoulli, Beta, Categorical, Dirichlet, Distribution, Gamma, GumbelSoftmax, Laplace, LogNormal,
    MultivariateNormal, Normal, OneHotCategorical, Reparameterized, Uniform,
};
use wengert::{Tensor, record, seed};

const DRAWS: usize = 20_000;

fn number(x: f64) -> Tensor<f64> {
    Tensor::scalar(x)
}

/// Fails unless the largest distance between the distribution of the draws and `cdf` is one that is exceeded once in
/// 10,000 times: `sqrt(-ln(0.0001 / 2) / 2) = 2.23` over the root of their number.
#[track_caller]
fn kolmogorov_smirnov(name: &str, draws: &Tensor<f64>, cdf: impl Fn(f64) -> f64) {
    let mut draws = draws.to_vec();
    draws.sort_by(f64::total_cmp);
    let n = draws.len() as f64;
    let distance = draws.iter().enumerate().fold(0.0_f64, |d, (i, &x)| {
        let (below, above, exact) = (i as f64 / n, (i as f64 + 1.0) / n, cdf(x));
        d.max((exact - below).abs()).max((above - exact).abs())
    });
    assert!(distance < 2.23 / n.sqrt(), "{name}: distance {distance}");
}

/// Fails unless mean and variance of draws `[DRAWS, ..]` are within six standard errors of those that the distribution
/// states; the error of the variance is measured by the fourth moment.
#[track_caller]
fn moments<D: Distribution<f64, Value = f64>>(name: &str, p: &D) -> Tensor<f64> {
    seed(11);
    let draws = p.sample([DRAWS]);
    let (mean, variance) = (p.mean(), p.variance());
    assert_eq!(draws.shape()[1..], [&p.batch_shape()[..], &p.event_shape()[..]].concat(), "{name}");
    assert_eq!(draws.shape()[1..], *mean.shape(), "{name}");
    assert_eq!(mean.shape(), variance.shape(), "{name}");
    assert!(!draws.is_tracked());
    let n = DRAWS as f64;
    let off = (draws.mean_dim(0, false) - &mean).abs();
    let error = (&variance / n).sqrt() * 6.0;
    assert!(off.le(&error).all(), "{name}: mean {:?}, expected {:?}", draws.mean_dim(0, false).to_vec(), mean.to_vec());
    let squares = (&draws - &mean).square();
    let error = (squares.var_dim(0, 1, false) / n).sqrt() * 6.0 + 1e-12;
    let measured = squares.mean_dim(0, false);
    assert!((&measured - &variance).abs().le(&error).all(), "{name}: variance {measured:?}, expected {variance:?}");
    let deviation = p.stddev().square() - &variance;
    assert!(deviation.abs().lt_scalar(1e-12).all(), "{name}: standard deviation");
    // E -log p is the entropy.
    let surprise = -p.log_prob(&draws);
    assert_eq!(surprise.shape()[1..], p.batch_shape()[..], "{name}");
    let error = (surprise.var_dim(0, 1, false) / n).sqrt() * 6.0 + 1e-12;
    let (measured, entropy) = (surprise.mean_dim(0, false), p.entropy());
    assert!((&measured - &entropy).abs().le(&error).all(), "{name}: entropy {measured:?}, expected {entropy:?}");
    draws
}

/// Fails unless the divergence is the mean of `log p - log q` over draws of `p`, within six standard errors, and 0 of
/// `p` itself.
#[track_caller]
fn divergence<D: Distribution<f64>>(name: &str, p: &D, q: &D) {
    seed(12);
    let draws = p.sample([DRAWS]);
    let ratio = p.log_prob(&draws) - q.log_prob(&draws);
    let error = (ratio.var_dim(0, 1, false) / DRAWS as f64).sqrt() * 6.0 + 1e-9;
    let (measured, kl) = (ratio.mean_dim(0, false), p.kl(q));
    assert!((&measured - &kl).abs().le(&error).all(), "{name}: {measured:?}, expected {kl:?}");
    assert!(p.kl(p).abs().lt_scalar(1e-12).all(), "{name}: {:?} from itself", p.kl(p));
}

#[test]
fn draws_have_the_stated_moments_and_entropy() {
    let row = Tensor::from([0.3, 1.0, 2.5]);
    let column = Tensor::from([[0.7], [4.0]]);
    moments("Normal", &Normal::new(&row, &column));
    moments("LogNormal", &LogNormal::new(&row, &Tensor::from([[0.2], [0.5]])));
    moments("Uniform", &Uniform::new(&-&row, &column));
    moments("Laplace", &Laplace::new(&row, &column));
    moments("Gamma", &Gamma::new(&row, &column));
    moments("Gamma, large", &Gamma::new(&number(3000.0), &row));
    moments("Beta", &Beta::new(&row, &column));
    moments("Dirichlet", &Dirichlet::new(&(&row * &column)));
    moments("Bernoulli", &Bernoulli::from_probs(&Tensor::from([0.1, 0.5, 0.93])));
    moments("Bernoulli of logits", &Bernoulli::from_logits(&Tensor::from([[-1.0], [2.0]])));
    moments("OneHotCategorical", &OneHotCategorical::from_probs(&(&row + &column)));
    moments("OneHotCategorical of logits", &OneHotCategorical::from_logits(&Tensor::from([0.3, -1.0, 0.5])));
    let l = Tensor::from([[[1.0, 0.0], [0.5, 0.7]], [[0.4, 0.0], [-2.0, 1.5]]]);
    moments("MultivariateNormal", &MultivariateNormal::from_scale_tril(&Tensor::from([1.0, -2.0]), &l));
    let p =
        MultivariateNormal::new(&Tensor::from([[1.0, -2.0], [0.0, 0.5]]), &l.select(0, 1).matmul(&l.select(0, 1).t()));
    let draws = moments("MultivariateNormal of a covariance", &p) - p.mean();
    // The covariance off the diagonal: 0.4 * -2; the standard error is below sqrt(2 * 0.16 * 6.25 / DRAWS) = 0.01.
    let product = (draws.select(-1, 0) * draws.select(-1, 1)).mean_dim(0, false);
    assert!((product + 0.8).abs().lt_scalar(0.06).all());
}

#[test]
fn draws_follow_their_distribution_functions() {
    seed(5);
    let normal = Normal::new(&number(1.0), &number(2.0)).sample([DRAWS]);
    kolmogorov_smirnov("Normal", &normal, |x| ndtr_f64((x - 1.0) / 2.0));
    let draws = LogNormal::new(&number(1.0), &number(2.0)).sample([DRAWS]);
    kolmogorov_smirnov("LogNormal", &draws, |x| ndtr_f64((x.ln() - 1.0) / 2.0));
    let draws = Uniform::new(&number(-1.0), &number(3.0)).sample([DRAWS]);
    assert!(draws.ge_scalar(-1.0).all() && draws.lt_scalar(3.0).all());
    kolmogorov_smirnov("Uniform", &draws, |x| (x + 1.0) / 4.0);
    let draws = Laplace::new(&number(1.0), &number(0.5)).sample([DRAWS]);
    kolmogorov_smirnov("Laplace", &draws, |x| {
        let tail = 0.5 * (-(x - 1.0).abs() / 0.5).exp();
        if x < 1.0 { tail } else { 1.0 - tail }
    });
    // The regularized incomplete gamma function by its series, of positive terms.
    let gamma = |a: f64, x: f64| {
        let first = (a * x.ln() - x - lgamma(a + 1.0)).exp();
        let terms = std::iter::successors(Some((first, a)), |(term, at)| Some((term * x / (at + 1.0), at + 1.0)));
        terms.take(400).map(|(term, _)| term).sum::<f64>()
    };
    for a in [0.2, 0.9, 1.0, 4.5, 60.0] {
        let draws = Gamma::new(&number(a), &number(2.0)).sample([DRAWS]);
        kolmogorov_smirnov("Gamma", &draws, |x| gamma(a, 2.0 * x));
    }
    // x^a (1 + (1 - b) x a / (a + 1) + ..) / (a B): the series ends for a whole b; B(0.4, 3) by factorials of Gamma.
    let draws = Beta::new(&number(0.4), &number(3.0)).sample([DRAWS]);
    let normalizer = (lgamma(0.4) + lgamma(3.0) - lgamma(3.4)).exp();
    kolmogorov_smirnov("Beta", &draws, |x| x.powf(0.4) * (1.0 / 0.4 - 2.0 * x / 1.4 + x * x / 2.4) / normalizer);
    // Each part of a Dirichlet draw is a beta draw.
    let draws = Dirichlet::new(&Tensor::from([0.4, 1.0, 2.0])).sample([DRAWS]).select(-1, 0);
    kolmogorov_smirnov("Dirichlet", &draws, |x| x.powf(0.4) * (1.0 / 0.4 - 2.0 * x / 1.4 + x * x / 2.4) / normalizer);
    // The Mahalanobis length of d = 2 is that of a chi-squared number: 1 - e^(-r / 2).
    let l = Tensor::from([[1.0, 0.0], [0.5, 0.7]]);
    let p = MultivariateNormal::from_scale_tril(&Tensor::from([1.0, -2.0]), &l);
    let draws = p.sample([DRAWS]) - p.mean();
    let lengths = l.solve_triangular(&draws.t(), false).square().sum_dim(0, false);
    kolmogorov_smirnov("MultivariateNormal", &lengths, |r| 1.0 - (-0.5 * r).exp());
}

#[test]
fn classes_come_as_often_as_their_probabilities_say() {
    seed(6);
    let probs = Tensor::from([[0.1, 0.0, 0.6, 0.3], [4.0, 1.0, 1.0, 0.0]]);
    let p = Categorical::from_probs(&probs);
    assert_eq!((&p.batch_shape()[..], p.event_shape().rank()), (&[2][..], 0));
    let draws = p.sample([DRAWS]);
    assert_eq!(draws.shape(), [DRAWS, 2]);
    let often = draws.one_hot(4).cast::<f64>().mean_dim(0, false);
    let probs = p.probs();
    let error = ((&probs - probs.square()) / DRAWS as f64).sqrt() * 6.0;
    assert!((often - &probs).abs().le(&error).all());
    assert!(p.mean().to_vec()[0].is_nan() && p.variance().to_vec()[0].is_nan());
    // Gumbel's numbers choose with the probabilities of the logits.
    let relaxed = GumbelSoftmax::new(0.3, &Tensor::from([0.1, 0.6, 0.3]).log());
    let hard = relaxed.clone().hard(true).sample([DRAWS]);
    assert!(hard.eq_scalar(0.0).logical_or(&hard.eq_scalar(1.0)).all());
    assert!((hard.mean_dim(0, false) - Tensor::from([0.1, 0.6, 0.3])).abs().lt_scalar(0.02).all());
    assert!(relaxed.sample([10]).gt_scalar(0.0).all());
}

#[test]
fn divergences_are_mean_differences_of_log_probabilities() {
    let (a, b) = (Tensor::from([0.5, 1.0, 2.5]), Tensor::from([[0.7], [3.0]]));
    divergence("Normal", &Normal::new(&a, &b), &Normal::new(&b, &a));
    divergence("LogNormal", &LogNormal::new(&a, &b), &LogNormal::new(&b, &a));
    divergence("Laplace", &Laplace::new(&a, &b), &Laplace::new(&b, &a));
    divergence("Uniform", &Uniform::new(&-&a, &b), &Uniform::new(&number(-3.0), &number(3.5)));
    divergence("Gamma", &Gamma::new(&a, &b), &Gamma::new(&b, &a));
    divergence("Beta", &Beta::new(&a, &b), &Beta::new(&b, &a));
    divergence("Dirichlet", &Dirichlet::new(&(&a * &b)), &Dirichlet::new(&a));
    let (p, q) = (Tensor::from([[0.1, 0.6], [0.9, 0.5]]), Tensor::from([[0.5], [0.3]]));
    divergence("Bernoulli", &Bernoulli::from_probs(&p), &Bernoulli::from_probs(&q));
    divergence("Bernoulli of logits", &Bernoulli::from_logits(&p), &Bernoulli::from_logits(&q));
    divergence("Categorical", &Categorical::from_probs(&(&a * &b)), &Categorical::from_logits(&a));
    divergence("OneHotCategorical", &OneHotCategorical::from_logits(&(&a * &b)), &OneHotCategorical::from_probs(&a));
    let l = Tensor::from([[[1.0, 0.0], [0.5, 0.7]], [[0.4, 0.0], [-0.3, 1.5]]]);
    let loc = Tensor::from([0.3, -0.2]);
    let (one, two) = (l.select(0, 0), Tensor::from([[0.5, 0.0], [0.1, -0.4]]));
    let normal = |loc: &Tensor<f64>, l: &Tensor<f64>| MultivariateNormal::from_scale_tril(loc, l);
    divergence("MultivariateNormal", &normal(&loc, &l), &normal(&two, &one));
    divergence("MultivariateNormal, one factor", &normal(&two, &one), &normal(&loc, &l));
    let p = Normal::new(&a, &b);
    let standard = Normal::new(&number(0.0), &number(1.0));
    assert!((p.kl_standard() - p.kl(&standard)).abs().lt_scalar(1e-12).all());
}

/// What `f` gives of draws, with the same noise at each call.
fn fixed<R>(f: impl FnOnce() -> R) -> R {
    seed(21);
    f()
}

#[test]
fn draws_move_with_their_parameters_at_fixed_noise() {
    let (a, b) = (Tensor::from([0.5, -1.0, 2.5]), Tensor::from([[0.7], [3.0]]));
    let inputs = [a, b];
    type Draw = fn(&[Tensor<f64>]) -> Tensor<f64>;
    let families: [Draw; 6] = [
        |x| Normal::new(&x[0], &x[1]).rsample([4]).sin(),
        |x| LogNormal::new(&x[0], &(&x[1] * 0.2)).rsample(()).sin(),
        |x| Uniform::new(&(&x[0] - 4.0), &x[1]).rsample([4]).sin(),
        |x| Laplace::new(&x[0], &x[1]).rsample([4]).sin(),
        |x| GumbelSoftmax::new(0.8, &(&x[0] * &x[1])).rsample([4]).sin(),
        // The concentration stays: its draws do not move smoothly at fixed noise, as they are accepted or not.
        |x| Gamma::new(&Tensor::scalar(1.5), &(x[1].square() + x[0].square())).rsample([4]).sin(),
    ];
    for f in families {
        gradcheck(|x| fixed(|| f(x)), &inputs).unwrap();
        gradgradcheck(|x| fixed(|| f(x)), &inputs).unwrap();
    }
    let loc = Tensor::from([[0.5, -1.0], [0.1, 0.2], [1.0, 2.0]]);
    let one = Tensor::from([[0.7, 0.4], [0.2, 1.3]]);
    let three = Tensor::from_fn([3, 2, 2], |i| (i as f64 * 0.9).sin());
    for factor in [one, three] {
        let inputs = [loc.clone(), factor];
        let f = |x: &[Tensor<f64>]| {
            let eye = Tensor::eye(2).cast::<f64>();
            let covariance = x[1].matmul(&x[1].t()) + eye;
            let p = MultivariateNormal::new(&x[0], &covariance);
            fixed(|| p.rsample([4])).sin() + p.log_prob(&x[0].sin()).unsqueeze(-1)
        };
        gradcheck(f, &inputs).unwrap();
        gradgradcheck(f, &inputs).unwrap();
    }
}

#[test]
fn gradients_through_gamma_draws_are_those_of_the_expectations() {
    // d/da E z^2 = 2a + 1, as E z^2 = a (a + 1); E log z = psi(a).
    for a in [0.3, 1.0, 4.0, 50.0] {
        seed(8);
        let leaf = number(a).tracked();
        let p = Gamma::new(&leaf, &number(1.0));
        let squares = record(|| p.rsample([DRAWS]).square().mean()).backward().of(&leaf).item();
        assert!((squares / (2.0 * a + 1.0) - 1.0).abs() < 0.05, "{a}: {squares}");
        let logs = record(|| p.rsample([DRAWS]).log().mean()).backward().of(&leaf).item();
        let exact = number(a).polygamma(1.0).item();
        assert!((logs / exact - 1.0).abs() < 0.05, "{a}: {logs}, expected {exact}");
    }
    // Of Dirichlet draws E x_0^2 = a_0 (a_0 + 1) / (s (s + 1)), and of a beta draw the same with two numbers.
    seed(9);
    let second = |x: &Tensor<f64>| {
        let (a, s) = (x.narrow(-1, 0, 1), x.sum_dim(-1, true));
        (&a * (&a + 1.0) / (&s * (&s + 1.0))).sum()
    };
    let close = |ours: Tensor<f64>, exact: Tensor<f64>| {
        let largest = exact.abs().max().item();
        assert!((&ours - &exact).abs().lt_scalar(0.05 * largest).all(), "{ours:?}, expected {exact:?}");
    };
    let leaf = Tensor::from([0.6, 1.0, 3.0]).tracked();
    let exact = record(|| second(&leaf)).backward().of(&leaf);
    let draws = record(|| Dirichlet::new(&leaf).rsample([DRAWS]).select(-1, 0).square().mean());
    close(draws.backward().of(&leaf), exact);
    let leaf = Tensor::from([0.6, 3.0]).tracked();
    let exact = record(|| second(&leaf)).backward().of(&leaf);
    let draws = record(|| Beta::new(&leaf.select(0, 0), &leaf.select(0, 1)).rsample([DRAWS]).square().mean());
    close(draws.backward().of(&leaf), exact);
}

#[test]
fn second_order_through_gamma_draws_is_refused() {
    let leaf = number(2.0).tracked();
    let twice = || record(|| Gamma::new(&leaf, &number(1.0)).rsample([3]).sum().backward_graph());
    let message =
        *std::panic::catch_unwind(std::panic::AssertUnwindSafe(twice)).err().unwrap().downcast::<String>().unwrap();
    assert!(message.contains("log_standard_gamma") && message.contains("has no second-order rule"), "{message}");
}

#[test]
fn log_probabilities_have_gradients_of_both_orders() {
    let (x, a, b) = (Tensor::from([[0.2, 0.4], [0.7, 0.3]]), Tensor::from([0.6, 1.4]), Tensor::from([[2.5], [0.9]]));
    type Family = fn(&[Tensor<f64>]) -> Tensor<f64>;
    let families: [Family; 6] = [
        |x| Normal::new(&x[1], &x[2]).log_prob(&x[0]).sin() + Normal::new(&x[1], &x[2]).kl(&Normal::new(&x[2], &x[1])),
        |x| LogNormal::new(&x[1], &x[2]).log_prob(&x[0]).sin() + LogNormal::new(&x[1], &x[2]).entropy().sin(),
        |x| Gamma::new(&x[1], &x[2]).log_prob(&x[0]).sin() + Gamma::new(&x[1], &x[2]).kl(&Gamma::new(&x[2], &x[1])),
        |x| Beta::new(&x[1], &x[2]).log_prob(&x[0]).sin() + Beta::new(&x[1], &x[2]).kl(&Beta::new(&x[2], &x[1])).sin(),
        |x| Dirichlet::new(&(&x[1] * &x[2])).log_prob(&x[0]).sin() + Dirichlet::new(&(&x[1] * &x[2])).entropy().sin(),
        |x| Bernoulli::from_probs(&(&x[1] * &x[2] * 0.2)).log_prob(&x[0]).sin(),
    ];
    for f in families {
        gradcheck(f, &[x.clone(), a.clone(), b.clone()]).unwrap();
        gradgradcheck(f, &[x.clone(), a.clone(), b.clone()]).unwrap();
    }
}

#[test]
fn values_outside_the_support_have_log_probability_minus_infinity_and_no_gradient() {
    let low = f64::NEG_INFINITY;
    let (a, b) = (number(2.0).tracked(), number(3.0).tracked());
    type LogProb = fn(&Tensor<f64>, &Tensor<f64>, &Tensor<f64>) -> Tensor<f64>;
    let cases: [(&str, LogProb, f64); 6] = [
        ("LogNormal", |a, b, x| LogNormal::new(a, b).log_prob(x), -1.0),
        ("LogNormal", |a, b, x| LogNormal::new(a, b).log_prob(x), 0.0),
        ("Uniform", |a, b, x| Uniform::new(a, b).log_prob(x), 3.0),
        ("Gamma", |a, b, x| Gamma::new(a, b).log_prob(x), -0.1),
        ("Beta", |a, b, x| Beta::new(a, b).log_prob(x), 1.1),
        ("Beta", |a, b, x| Beta::new(a, b).log_prob(x), -0.1),
    ];
    for (name, log_prob, x) in cases {
        let y = record(|| log_prob(&a, &b, &Tensor::from([x, x])));
        assert_eq!(y.to_vec(), [low, low], "{name}({x})");
        let grads = y.backward_with(&Tensor::from([1.0, 1.0]));
        assert_eq!([grads.of(&a).item(), grads.of(&b).item()], [0.0, 0.0], "{name}({x})");
        assert!(log_prob(&a, &b, &number(f64::NAN)).item().is_nan() || name == "Uniform", "{name}(NaN)");
    }
    let p = Dirichlet::new(&Tensor::from([2.0, 3.0]));
    assert_eq!(p.log_prob(&Tensor::from([[-0.1, 1.1], [0.25, 0.75]])).get(&[0]), low);
    // At the edge of the support: density r, infinite, 0.
    let p = Gamma::new(&Tensor::from([1.0, 0.5, 2.0]), &number(2.0));
    assert_eq!(p.log_prob(&number(0.0)).to_vec(), [2.0_f64.ln(), f64::INFINITY, low]);
}

#[test]
fn classes_that_are_left_out_cost_no_number_its_meaning() {
    let low = f64::NEG_INFINITY;
    let logits = Tensor::from([0.3, low, -0.5]).tracked();
    let p = Categorical::from_logits(&logits);
    let q = Categorical::from_logits(&Tensor::from([0.0, 0.0, 0.0]));
    let (entropy, kl) = record(|| (p.entropy(), p.kl(&q)));
    let two = Categorical::from_logits(&Tensor::from([0.3, -0.5]));
    assert!((entropy.item() - two.entropy().item()).abs() < 1e-15);
    assert!((kl.item() - (3.0_f64.ln() - entropy.item())).abs() < 1e-15);
    for y in [entropy, kl] {
        let gradient = y.backward().of(&logits).to_vec();
        assert!(gradient.iter().all(|g| g.is_finite()) && gradient[1] == 0.0, "{gradient:?}");
    }
    assert_eq!(q.kl(&p).item(), f64::INFINITY);
    assert_eq!(p.log_prob(&Tensor::from([1])).item(), low);
    assert!(p.sample([1000]).ne_scalar(1).all());
    let beyond = Uniform::new(&number(0.0), &number(2.0)).kl(&Uniform::new(&number(0.0), &number(1.0)));
    assert_eq!(beyond.item(), f64::INFINITY);
}

#[test]
fn small_concentrations_give_draws_inside_the_support() {
    seed(4);
    let small = Tensor::full([1000], 1e-3_f32);
    let draws = Beta::new(&small, &small).sample(());
    assert!(draws.gt_scalar(0.0).all() && draws.lt_scalar(1.0).all());
    // Nearly all lie at the ends, half of them at each; the standard deviation of their share is 0.016.
    assert!((draws.mean().item() - 0.5).abs() < 0.1);
    let draws = Dirichlet::new(&Tensor::full([500, 3], 1e-3_f32)).sample(());
    assert!(draws.gt_scalar(0.0).all());
    assert!((draws.sum_dim(-1, false) - 1.0).abs().lt_scalar(1e-6).all());
    assert!(Gamma::new(&small, &Tensor::scalar(1.0)).sample(()).gt_scalar(0.0).all());
}

#[test]
fn the_seed_decides_over_draws() {
    let p = Gamma::new(&Tensor::from([0.3_f32, 4.0]), &Tensor::scalar(1.0));
    seed(3);
    let draws = p.sample([100]);
    assert_ne!(p.sample([100]).to_vec(), draws.to_vec());
    seed(3);
    assert_eq!(p.sample([100]).to_vec(), draws.to_vec());
    // A standard normal draw is that of Tensor::randn.
    seed(3);
    let z = Normal::new(&Tensor::scalar(0.0_f32), &Tensor::scalar(1.0)).sample([5]);
    seed(3);
    assert_eq!(z.to_vec(), Tensor::randn([5]).to_vec());
}

#[test]
fn parameters_that_make_no_distribution_are_refused_by_name() {
    let x = |values: [f32; 2]| Tensor::from(values);
    let one = Tensor::scalar(1.0_f32);
    let message = |f: &dyn Fn()| {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_err();
        *panic.downcast::<String>().unwrap()
    };
    let cases: [(&dyn Fn(), &str); 17] = [
        (&|| drop(Normal::new(&one, &x([1.0, -1.0]))), "Normal: scale: expected positive numbers, found -1 at [1]"),
        (&|| drop(Normal::new(&x([f32::NAN, 0.0]), &one)), "Normal: loc: expected finite numbers, found NaN at [0]"),
        (&|| drop(LogNormal::new(&one, &x([1.0, 0.0]))), "LogNormal: scale: expected positive numbers, found 0 at [1]"),
        (
            &|| drop(Normal::new(&Tensor::zeros([3]), &x([1.0, 1.0]))),
            "Normal: [3] and [2]: the shapes do not broadcast",
        ),
        (
            &|| drop(Uniform::new(&one, &x([2.0, 0.5]))),
            "Uniform: high - low: expected positive numbers, found -0.5 at [1]",
        ),
        (&|| drop(Laplace::new(&one, &x([0.0, 1.0]))), "Laplace: scale: expected positive numbers, found 0 at [0]"),
        (&|| drop(Gamma::new(&x([0.0, 1.0]), &one)), "Gamma: concentration: expected positive numbers, found 0 at [0]"),
        (&|| drop(Gamma::new(&one, &x([-2.0, 1.0]))), "Gamma: rate: expected positive numbers, found -2 at [0]"),
        (
            &|| drop(Beta::new(&one, &x([1.0, -2.0]))),
            "Beta: concentration0: expected positive numbers, found -2 at [1]",
        ),
        (&|| drop(Dirichlet::new(&one)), "Dirichlet: concentration: []: expected [batch.., k]"),
        (
            &|| drop(Bernoulli::from_probs(&x([0.5, 1.5]))),
            "Bernoulli: probs: expected probabilities from 0 to 1, found 1.5 at [1]",
        ),
        (
            &|| drop(Categorical::from_probs(&x([0.0, 0.0]))),
            "Categorical: probs: sum: expected positive numbers, found 0 at []",
        ),
        (
            &|| drop(Categorical::from_probs(&x([0.5, -0.5]))),
            "Categorical: probs: expected numbers from 0 on, found -0.5 at [1]",
        ),
        (
            &|| drop(Categorical::from_probs(&x([0.5, 0.5])).log_prob(&Tensor::from([-1]))),
            "Categorical: log_prob: -1 is not one of 2 classes",
        ),
        (&|| drop(GumbelSoftmax::new(0.0, &x([0.5, 0.5]))), "GumbelSoftmax: temperature: expected above 0, found 0"),
        (
            &|| drop(MultivariateNormal::new(&x([0.0, 0.0]), &Tensor::ones([2, 2]))),
            "MultivariateNormal: covariance: [2, 2]: matrix is not positive definite (pivot 1)",
        ),
        (
            &|| drop(MultivariateNormal::new(&x([0.0, 0.0]), &Tensor::ones([2, 3]))),
            "MultivariateNormal: covariance: [2, 3]: expected [batch.., 2, 2] for loc [2]",
        ),
    ];
    for (f, expected) in cases {
        let message = message(f);
        assert!(message.starts_with(expected), "{message}, expected {expected}");
    }
}
