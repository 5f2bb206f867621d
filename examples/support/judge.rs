//! How good made digits are, judged by a network that reads digits.
//!
//! Salimans et al., "Improved techniques for training GANs", 2016, for the score; Heusel et al., "GANs trained by a two
//! time-scale update rule converge to a local Nash equilibrium", 2017, for the distance. Both take Inception, which knows the
//! classes of ImageNet; this network knows digits. So the figures compare with each other, and with nobody else's.

use crate::cnn::Cnn;
use crate::frechet::{Gaussian, distance};
use wengert::data::{DataLoader, Dataset, LabelledImages};
use wengert::loss::cross_entropy;
use wengert::nn::Layer;
use wengert::optim::{Adam, Optimizer};
use wengert::{Rng, Tensor, record, set_thread_rng, thread_rng};

/// What the network sees at a time.
const BATCH: usize = 250;

/// A network that has learned to read digits for some epochs, with random numbers of its own.
pub fn reader(images: &LabelledImages, epochs: u64, seed: u64) -> Cnn {
    let before = thread_rng();
    set_thread_rng(Rng::new(seed).stream(3));
    let mut net = Cnn::default();
    let mut optimizer = Adam::new(1e-3);
    let loader = DataLoader::new(images.clone(), 64).shuffle(true).prefetch(2);
    for (x, y) in (0..epochs).flat_map(|epoch| loader.epoch(epoch)) {
        let loss = record(|| cross_entropy(&net.forward(&x), &y));
        optimizer.step(&mut net, &loss.backward());
    }
    set_thread_rng(before);
    net
}

/// What the network makes of images.
struct Reading {
    features: Gaussian,
    probabilities: Vec<[f64; 10]>,
}

impl Reading {
    fn of(net: &Cnn, batches: impl Iterator<Item = Tensor>) -> Reading {
        let (mut features, mut probabilities) = (Vec::new(), Vec::new());
        for x in batches {
            let batch = net.features(&x);
            let rows = net.logits(&batch).softmax(1).to_vec();
            features.extend(batch.to_vec().into_iter().map(f64::from));
            probabilities.extend(rows.chunks(10).map(|row| std::array::from_fn(|i| row[i].into())));
        }
        Reading { features: Gaussian::of(&features, 64), probabilities }
    }

    fn digits(&self) -> impl Iterator<Item = usize> + '_ {
        self.probabilities.iter().map(|p| (0..10).max_by(|&i, &j| p[i].total_cmp(&p[j])).expect("ten digits"))
    }

    /// `exp(mean KL(p(digit | image) || p(digit)))`: 10 when each image is clearly one digit and all digits are equally many.
    fn score(&self) -> f64 {
        let count = self.probabilities.len() as f64;
        let mean: [f64; 10] = std::array::from_fn(|i| self.probabilities.iter().map(|p| p[i]).sum::<f64>() / count);
        let divergence = |p: &[f64; 10]| -> f64 {
            p.iter().zip(&mean).filter(|(p, _)| **p > 0.0).map(|(p, mean)| p * (p / mean).ln()).sum()
        };
        (self.probabilities.iter().map(divergence).sum::<f64>() / count).exp()
    }

    /// How many images were read as the digit that they are said to be.
    fn right(&self, labels: impl Iterator<Item = usize>) -> f64 {
        self.digits().zip(labels).filter(|(read, label)| read == label).count() as f64 / self.probabilities.len() as f64
    }
}

/// A network that reads digits, and how it reads real ones.
pub struct Judge {
    pub reader: Cnn,
    real: Gaussian,
}

/// What a [`Judge`] says of made digits.
pub struct Quality {
    /// 1 at worst, 10 at best.
    pub score: f64,
    /// The distance between the features of real and of made digits; 0 at best.
    pub frechet: f64,
    /// How often each digit was made.
    pub shares: [f64; 10],
    /// How many were read as the digit that was asked for.
    pub right: f64,
}

impl Judge {
    /// With real digits that the network has not learned from.
    pub fn new(reader: Cnn, test: &LabelledImages) -> Judge {
        let all: Vec<usize> = (0..test.len()).collect();
        let real = Reading::of(&reader, all.chunks(BATCH).map(|part| test.batch(part).0));
        let right = 100.0 * real.right(test.labels.iter().map(|&label| label.into()));
        println!("The judge reads {right:.2}% of the test digits right; they score {:.2} of 10.\n", real.score());
        Judge { reader, real: real.features }
    }

    /// The quality of `count` digits that `make` makes of the labels that it is given, as images in `[0, 1]`.
    pub fn quality(&self, count: usize, mut make: impl FnMut(&Tensor<i64>) -> Tensor) -> Quality {
        let labels = |part: usize| Tensor::from_fn([BATCH.min(count - part)], |i| ((part + i) % 10) as i64);
        let made = Reading::of(&self.reader, (0..count).step_by(BATCH).map(|part| make(&labels(part))));
        let mut shares = [0.0; 10];
        made.digits().for_each(|digit| shares[digit] += 1.0 / count as f64);
        Quality {
            score: made.score(),
            frechet: distance(&self.real, &made.features),
            shares,
            right: made.right((0..count).map(|i| i % 10)),
        }
    }
}
