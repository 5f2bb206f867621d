//! How good made digits are, judged by a network that reads digits.
//!
//! Salimans et al., "Improved techniques for training GANs", 2016, for the score; Heusel et al., "GANs trained by a two
//! time-scale update rule converge to a local Nash equilibrium", 2017, for the distance. Both take Inception, which knows the
//! classes of ImageNet; this network knows digits. So the figures compare with each other, and with nobody else's.

use crate::frechet::{Gaussian, distance};
use std::path::Path;
use wengert::data::{DataLoader, Dataset, LabelledImages};
use wengert::loss::cross_entropy;
use wengert::nn::{Conv2d, Layer, Linear, MaxPool2d};
use wengert::optim::{Adam, Optimizer};
use wengert::{Error, Rng, Tensor, io, module, record, set_thread_rng, thread_rng};

/// The network of `mnist_cnn`, whose files it reads.
pub struct Reader {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    fc1: Linear,
    fc2: Linear,
    pool: MaxPool2d,
}
module!(Reader { conv1, conv2, conv3, fc1, fc2 });

/// What it sees at a time.
const BATCH: usize = 250;

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            conv1: Conv2d::new(1, 32, 3),
            conv2: Conv2d::new(32, 64, 3),
            conv3: Conv2d::new(64, 64, 3),
            fc1: Linear::new(576, 64),
            fc2: Linear::new(64, 10),
            pool: MaxPool2d::new(2),
        }
    }
}

impl Reader {
    /// Images `[batch, 1, 28, 28]` in `[0, 1]` to features `[batch, 64]` and logits `[batch, 10]`.
    fn forward(&self, x: &Tensor) -> (Tensor, Tensor) {
        let x = self.pool.forward(&self.conv1.forward(x)).relu();
        let x = self.pool.forward(&self.conv2.forward(&x)).relu();
        let x = self.conv3.forward(&x).relu().flatten(1);
        let features = self.fc1.forward(&x).relu();
        let logits = self.fc2.forward(&features);
        (features, logits)
    }

    /// Loads it from what `mnist_cnn --save` wrote.
    pub fn load(&mut self, file: &Path) -> Result<(), Error> {
        io::load(file, self)
    }

    /// Trains it for some epochs, with random numbers of its own.
    pub fn train(&mut self, images: &LabelledImages, epochs: u64, seed: u64) {
        let before = thread_rng();
        set_thread_rng(Rng::new(seed).stream(3));
        *self = Reader::default();
        let mut optimizer = Adam::new(1e-3);
        let loader = DataLoader::new(images.clone(), 64).shuffle(true).prefetch(2);
        for (x, y) in (0..epochs).flat_map(|epoch| loader.epoch(epoch)) {
            let loss = record(|| cross_entropy(&self.forward(&x).1, &y));
            optimizer.step(self, &loss.backward());
        }
        set_thread_rng(before);
    }

    fn read(&self, batches: impl Iterator<Item = Tensor>) -> Reading {
        let (mut features, mut probabilities) = (Vec::new(), Vec::new());
        for x in batches {
            let (batch, logits) = self.forward(&x);
            features.extend(batch.to_vec().into_iter().map(f64::from));
            probabilities
                .extend(logits.softmax(1).to_vec().chunks(10).map(|row| std::array::from_fn(|i| row[i].into())));
        }
        Reading { features: Gaussian::of(&features, 64), probabilities }
    }
}

/// What the network makes of images.
struct Reading {
    features: Gaussian,
    probabilities: Vec<[f64; 10]>,
}

impl Reading {
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
    pub reader: Reader,
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
    pub fn new(reader: Reader, test: &LabelledImages) -> Judge {
        let all: Vec<usize> = (0..test.len()).collect();
        let real = reader.read(all.chunks(BATCH).map(|part| test.batch(part).0));
        let right = 100.0 * real.right(test.labels.iter().map(|&label| label.into()));
        println!("The judge reads {right:.2}% of the test digits right; they score {:.2} of 10.\n", real.score());
        Judge { reader, real: real.features }
    }

    /// The quality of `count` digits that `make` makes of the labels that it is given, as images in `[0, 1]`.
    pub fn quality(&self, count: usize, mut make: impl FnMut(&Tensor<i64>) -> Tensor) -> Quality {
        let labels = |part: usize| Tensor::from_fn([BATCH.min(count - part)], |i| ((part + i) % 10) as i64);
        let made = self.reader.read((0..count).step_by(BATCH).map(|part| make(&labels(part))));
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
