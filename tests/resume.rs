//! A training run that is stopped, kept in a file and resumed comes to the same bits as one that was not.

use std::path::PathBuf;
use wengert::data::{DataLoader, Dataset};
use wengert::io::{Checkpoint, state};
use wengert::loss::binary_cross_entropy_with_logits as bce;
use wengert::nn::{BatchNorm1d, Dropout, Layer, LeakyReLU, Linear, Module, ReLU, Sequential};
use wengert::optim::{Adam, AdamOptions, Optimizer, update_average};
use wengert::{Tensor, record, seed, sequential, set_thread_rng, thread_rng};

const NOISE: usize = 3;
const EPOCHS: u64 = 3;
/// Of 50 samples, 8 at a time.
const BATCHES: usize = 7;

/// Two networks that train each other, with dropout, running statistics and a moving average.
struct Gan {
    generator: Sequential,
    average: Sequential,
    discriminator: Sequential,
    generator_adam: Adam,
    discriminator_adam: Adam,
    epoch: u64,
    batch: usize,
}

fn generator() -> Sequential {
    sequential![Linear::new(NOISE, 16), BatchNorm1d::new(16), ReLU, Linear::new(16, 5)]
}

fn gan() -> Gan {
    let adam = Adam::with(AdamOptions { lr: 0.01, betas: [0.5, 0.999], ..Default::default() });
    let discriminator =
        sequential![Linear::new(5, 32), LeakyReLU::new(0.2), Dropout::new(0.3), Linear::new(32, 1), Dropout::new(0.1)];
    Gan {
        generator: generator(),
        average: generator(),
        discriminator,
        generator_adam: adam.clone(),
        discriminator_adam: adam,
        epoch: 0,
        batch: 0,
    }
}

/// Data in random order, made ahead on another thread, each batch with noise of its own.
fn batches(epoch: u64, first: usize) -> impl Iterator<Item = Tensor> {
    let data = Tensor::from_fn([50, 5], |i| (i as f32 * 0.7).sin());
    let noisy = data.transform(|x: Tensor| &x + Tensor::randn(x.dims()) * 0.1);
    let loader = DataLoader::new(noisy, 8).shuffle(true).seed(7).prefetch(2);
    assert_eq!(loader.len(), BATCHES);
    loader.rest_of_epoch(epoch, first)
}

impl Gan {
    fn step(&mut self, real: &Tensor) {
        let noise = Tensor::randn([real.size(0), NOISE]);
        let fake = record(|| self.generator.forward(&noise));
        let loss = record(|| {
            let (real_scores, fake_scores) =
                (self.discriminator.forward(real), self.discriminator.forward(&fake.detach()));
            let between = ((real + fake.detach()) * 0.5).tracked();
            let slope = self.discriminator.forward(&between).sum().backward_graph().of(&between);
            let penalty = (slope.square().sum_dim(1, false) + 1e-6).sqrt().mean();
            bce(&real_scores, &real_scores.ones_like()) + bce(&fake_scores, &fake_scores.zeros_like()) + penalty
        });
        self.discriminator_adam.step(&mut self.discriminator, &loss.backward());
        self.discriminator.freeze("");
        let loss = record(|| {
            let scores = self.discriminator.forward(&fake);
            bce(&scores, &scores.ones_like())
        });
        self.generator_adam.step(&mut self.generator, &loss.backward());
        self.discriminator.unfreeze("");
        update_average(&mut self.average, &self.generator, 0.9);
        self.batch += 1;
    }

    /// Goes on for so many steps, or to the end.
    fn train(&mut self, mut steps: usize) {
        while self.epoch < EPOCHS {
            for real in batches(self.epoch, self.batch) {
                if steps == 0 {
                    return;
                }
                self.step(&real);
                steps -= 1;
            }
            (self.epoch, self.batch) = (self.epoch + 1, 0);
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new()
            .with_model("generator", &self.generator)
            .with_model("average", &self.average)
            .with_model("discriminator", &self.discriminator)
            .with_optimizer("generator_adam", &self.generator_adam)
            .with_optimizer("discriminator_adam", &self.discriminator_adam)
            .with_rng("rng", &thread_rng())
            .with_value("epoch", self.epoch)
            .with_value("batch", self.batch)
    }

    fn resume(&mut self, saved: &Checkpoint) -> wengert::Result<()> {
        saved.restore_model("generator", &mut self.generator)?;
        saved.restore_model("average", &mut self.average)?;
        saved.restore_model("discriminator", &mut self.discriminator)?;
        saved.restore_optimizer("generator_adam", &mut self.generator_adam)?;
        saved.restore_optimizer("discriminator_adam", &mut self.discriminator_adam)?;
        set_thread_rng(saved.rng("rng")?);
        (self.epoch, self.batch) = (saved.value("epoch")?, saved.value("batch")?);
        Ok(())
    }

    /// Of all that would go into a file: names and bits, and where the generator of random numbers stands.
    fn bits(&self) -> (Vec<(String, Vec<u32>)>, [u64; 4]) {
        let models = [&self.generator, &self.average, &self.discriminator].into_iter().enumerate();
        let models =
            models.flat_map(|(i, model)| state(model).into_iter().map(move |(name, x)| (format!("{i} {name}"), x)));
        let optimizers = [&self.generator_adam, &self.discriminator_adam].into_iter().enumerate();
        let moments = optimizers
            .flat_map(|(i, adam)| adam.state_dict().into_iter().map(move |(name, x)| (format!("{i} {name}"), x)));
        let bits = |x: Tensor| x.to_vec().into_iter().map(f32::to_bits).collect();
        let whole_numbers = |x: Tensor<i64>| x.to_vec().into_iter().map(|n| n as u32).collect();
        let models =
            models.map(|(name, x)| (name, x.get().map(bits).unwrap_or_else(|| whole_numbers(x.get().unwrap()))));
        (models.chain(moments.map(|(name, x)| (name, bits(x)))).collect(), thread_rng().position())
    }
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wengert-resume-{}-{name}.safetensors", std::process::id()))
}

#[test]
fn a_run_that_is_stopped_after_any_step_comes_to_the_same_bits() {
    seed(1);
    let mut whole = gan();
    whole.train(usize::MAX);
    let expected = whole.bits();
    // At the beginning, in the middle and at the end of an epoch, and at the end of all.
    for steps in [0, 1, BATCHES, BATCHES + 3, 2 * BATCHES - 1, EPOCHS as usize * BATCHES] {
        let path = file(&steps.to_string());
        seed(1);
        let mut stopped = gan();
        stopped.train(steps);
        stopped.checkpoint().save(&path).unwrap();

        // Another process would begin with another generator, and with networks of its own.
        seed(99);
        let mut resumed = gan();
        resumed.train(2);
        resumed.resume(&Checkpoint::load(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        resumed.train(usize::MAX);
        assert!(resumed.bits() == expected, "other bits when stopped after {steps} steps");
    }
}

#[test]
fn each_part_of_a_checkpoint_is_needed_for_the_same_bits() {
    let path = file("parts");
    seed(1);
    let mut whole = gan();
    whole.train(BATCHES + 3);
    whole.checkpoint().save(&path).unwrap();
    whole.train(usize::MAX);
    let expected = whole.bits();
    let without: [fn(&mut Gan, &mut Gan); 4] = [
        |resumed, fresh| std::mem::swap(&mut resumed.discriminator_adam, &mut fresh.discriminator_adam),
        |resumed, fresh| std::mem::swap(&mut resumed.average, &mut fresh.average),
        |resumed, _| resumed.batch = 0,
        |_, _| seed(5),
    ];
    for (i, lose) in without.into_iter().enumerate() {
        let (mut resumed, mut fresh) = (gan(), gan());
        resumed.resume(&Checkpoint::load(&path).unwrap()).unwrap();
        lose(&mut resumed, &mut fresh);
        resumed.train(usize::MAX);
        assert!(resumed.bits() != expected, "part {i} makes no difference");
    }
    std::fs::remove_file(&path).unwrap();
}
