//! A network learns to draw digits from another one that learns to tell them from real ones.
//!
//! `cargo run --release --example mnist_gan -- --out DIR` trains it on digits drawn by code, offline, and writes what it draws
//! after each epoch to DIR, with a GIF of all at the end. `--data DIR` takes the four IDX files of MNIST in DIR instead.
//! `--loss` is that of the first GANs (`bce`), or `wgan-gp`, `hinge` or `lsgan`; with `--conditional` one asks for a digit and gets
//! it, and the rows of the pictures are the digits from 0 to 9. `-- --help` lists the options.
//!
//! A third network, which reads digits, judges what was drawn: the last line has its score, from 1 to 10, and the distance
//! between what it sees in real and in drawn digits. Expect, with MNIST and `--conditional`, a score of 9.1 and a distance of 8
//! after one epoch and of 9.3 and 2.7 after three, of a minute and a half each on two cores; real test digits score 9.5. Without
//! labels it was 6.5 and 32 after three: the discriminator adds up what it sees in squares of 10 x 10 pixels, so it can hardly
//! tell whether good strokes make a digit; of a digit that was asked for it knows where they belong.
//!
//! `--r1` keeps the discriminator's slope at real images small (Mescheder, Geiger and Nowozin, "Which training methods for GANs
//! do actually converge?", 2018). Without it the digits of a class come to look alike, and the distance was 92 after two epochs.
//!
//! Ctrl-C ends the run after the step in work and keeps it in a file; `--save FILE` keeps it after each epoch too. With
//! `--resume FILE` and the same options it goes on, and comes to the same bits as if it had not been stopped.
//!
//! Goodfellow et al., "Generative adversarial nets", 2014; the networks are, made small, those of Radford, Metz and Chintala,
//! "Unsupervised representation learning with deep convolutional generative adversarial networks", 2016.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use support::arguments::{Arguments, count, file, flag, option, real, real_from_0};
use support::cnn::Cnn;
use support::judge::{self, Judge, Quality};
use support::{Options, Progress, run};
use wengert::data::image::{Animation, GridOptions, grid_with, read_png, write_png};
use wengert::data::plot::{Axes, lines};
use wengert::data::{DataLoader, Dataset, Mnist};
use wengert::io::{self, Checkpoint};
use wengert::loss::binary_cross_entropy_with_logits as bce;
use wengert::nn::{
    Conv2d, Conv2dOptions, ConvTranspose2d, ConvTranspose2dOptions, Embedding, Flatten, Layer, LeakyReLU, Linear,
    Module, Sequential,
};
use wengert::ops::cat;
use wengert::optim::{Adam, AdamOptions, Optimizer, update_average};
use wengert::{Error, Rng, Tensor, module, record, sequential, set_thread_rng, thread_rng};

/// Random numbers that a digit is drawn from.
const NOISE: usize = 100;
/// Numbers for a digit that is asked for.
const LABEL: usize = 50;

/// Draws digits.
#[derive(Clone)]
struct Generator {
    labels: Option<Embedding>,
    fc: Linear,
    up1: ConvTranspose2d,
    up2: ConvTranspose2d,
}
module!(Generator { labels, fc, up1, up2 });

impl Generator {
    fn new(conditional: bool) -> Generator {
        let doubling = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
        Generator {
            labels: conditional.then(|| Embedding::new(10, LABEL)),
            fc: Linear::new(if conditional { NOISE + LABEL } else { NOISE }, 128 * 7 * 7),
            up1: ConvTranspose2d::with(128, 64, 4, doubling),
            up2: ConvTranspose2d::with(64, 1, 4, doubling),
        }
    }

    /// Noise `[batch, 100]` and labels `[batch]` to images `[batch, 1, 28, 28]` in `[-1, 1]`.
    fn forward(&self, noise: &Tensor, labels: &Tensor<i64>) -> Tensor {
        let x = match &self.labels {
            Some(embedding) => self.fc.forward(&cat(&[noise, &embedding.forward(labels)], 1)),
            None => self.fc.forward(noise),
        };
        let x = x.relu().reshape([noise.size(0), 128, 7, 7]);
        self.up2.forward(&self.up1.forward(&x).relu()).tanh()
    }
}

/// Tells real digits from drawn ones.
struct Discriminator {
    features: Sequential,
    score: Linear,
    labels: Option<Embedding>,
}
module!(Discriminator { features, score, labels });

impl Discriminator {
    fn new(conditional: bool) -> Discriminator {
        let halving = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
        let features = sequential![
            Conv2d::with(1, 64, 4, halving),
            LeakyReLU::new(0.2),
            Conv2d::with(64, 128, 4, halving),
            LeakyReLU::new(0.2),
            Flatten::default(),
        ];
        // At first the label counts for nothing.
        let labels = conditional.then(|| {
            let mut embedding = Embedding::new(10, 128 * 7 * 7);
            embedding.weight.as_mut_slice().fill(0.0);
            embedding
        });
        Discriminator { features, score: Linear::new(128 * 7 * 7, 1), labels }
    }

    /// Images `[batch, 1, 28, 28]` and labels `[batch]` to scores `[batch, 1]`, high for real ones. How well an image fits its
    /// label is a product (Miyato and Koyama, "cGANs with projection discriminator", 2018).
    fn forward(&self, images: &Tensor, labels: &Tensor<i64>) -> Tensor {
        let x = self.features.forward(images);
        match &self.labels {
            Some(embedding) => self.score.forward(&x) + (embedding.forward(labels) * &x).sum_dim(1, true),
            None => self.score.forward(&x),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Loss {
    /// The discriminator gives the logit of an image to be real. Goodfellow et al., 2014.
    Bce,
    /// Its scores differ as far as it can make them while their slope is about 1. Gulrajani et al., "Improved training of
    /// Wasserstein GANs", 2017.
    WganGp,
    /// Scores beyond 1 and -1 count no more. Lim and Ye, "Geometric GAN", 2017.
    Hinge,
    /// The scores are to be 1 and 0. Mao et al., "Least squares generative adversarial networks", 2017.
    Lsgan,
}

impl Loss {
    const NAMES: [(&str, Loss); 4] =
        [("bce", Loss::Bce), ("wgan-gp", Loss::WganGp), ("hinge", Loss::Hinge), ("lsgan", Loss::Lsgan)];

    /// What the discriminator learns from, given its scores.
    fn of_discriminator(self, real: &Tensor, fake: &Tensor) -> Tensor {
        match self {
            Loss::Bce => bce(real, &real.ones_like()) + bce(fake, &fake.zeros_like()),
            Loss::WganGp => fake.mean() - real.mean(),
            Loss::Hinge => (1.0 - real).relu().mean() + (1.0 + fake).relu().mean(),
            Loss::Lsgan => ((real - 1.0).square().mean() + fake.square().mean()) / 2.0,
        }
    }

    /// What the generator learns from, given the discriminator's scores of what it has drawn.
    fn of_generator(self, fake: &Tensor) -> Tensor {
        match self {
            Loss::Bce => bce(fake, &fake.ones_like()),
            Loss::WganGp | Loss::Hinge => -fake.mean(),
            Loss::Lsgan => (fake - 1.0).square().mean() / 2.0,
        }
    }
}

/// The squared length, for each image, of the slope of the discriminator's score.
fn squared_slope(discriminator: &Discriminator, images: Tensor, labels: &Tensor<i64>) -> Tensor {
    let images = images.tracked();
    let scores = discriminator.forward(&images, labels).sum();
    scores.backward_graph_only(&[&images]).of(&images).square().sum_dim([1, 2, 3], false)
}

/// `mean (|slope| - 1)^2`, at images between a real and a drawn one.
fn gradient_penalty(discriminator: &Discriminator, real: &Tensor, fake: &Tensor, labels: &Tensor<i64>) -> Tensor {
    let share = Tensor::rand([real.size(0), 1, 1, 1]);
    // The root has no derivative at 0.
    let norm = (squared_slope(discriminator, fake + (real - fake) * share, labels) + 1e-12).sqrt();
    (norm - 1.0).square().mean()
}

/// Steps of the discriminator to one that `--r1` counts in, for all of them: seldom is enough, and is cheaper (Karras et al.,
/// "Analyzing and improving the image quality of StyleGAN", 2020).
const R1_STEPS: usize = 4;

/// What a run does, from its command line.
struct Recipe {
    loss: Loss,
    conditional: bool,
    lr: f64,
    ema: f64,
    critic_steps: usize,
    r1: f32,
    seed: u64,
    /// All of it in words.
    text: String,
}

/// What a run has come to.
struct Gan {
    recipe: Recipe,
    generator: Generator,
    /// The generator's moving average, which draws the pictures.
    average: Generator,
    discriminator: Discriminator,
    generator_adam: Adam,
    discriminator_adam: Adam,
    /// Of both, step by step: discriminator, generator.
    losses: Vec<[f32; 2]>,
    epoch: u64,
    /// Batches of this epoch that are done.
    batch: usize,
}

impl Gan {
    fn new(recipe: Recipe) -> Gan {
        let betas = if recipe.loss == Loss::WganGp { [0.0, 0.9] } else { [0.5, 0.999] };
        let adam = Adam::with(AdamOptions { lr: recipe.lr, betas, ..Default::default() });
        let generator = Generator::new(recipe.conditional);
        Gan {
            average: generator.clone(),
            generator,
            discriminator: Discriminator::new(recipe.conditional),
            generator_adam: adam.clone(),
            discriminator_adam: adam,
            losses: Vec::new(),
            epoch: 0,
            batch: 0,
            recipe,
        }
    }

    /// The discriminator learns to tell real images, in `[-1, 1]`, from drawn ones, then the generator what it is taken in by.
    fn step(&mut self, real: &Tensor, labels: &Tensor<i64>) {
        let Recipe { loss, ema, critic_steps, r1, .. } = self.recipe;
        let noise = Tensor::randn([real.size(0), NOISE]);
        let fake = record(|| self.generator.forward(&noise, labels));
        let d_loss = record(|| {
            let (discriminator, fake) = (&self.discriminator, fake.detach());
            let scores = [real, &fake].map(|x| discriminator.forward(x, labels));
            let d_loss = loss.of_discriminator(&scores[0], &scores[1]);
            match loss {
                Loss::WganGp => d_loss + gradient_penalty(discriminator, real, &fake, labels) * 10.0,
                _ if r1 > 0.0 && self.losses.len().is_multiple_of(R1_STEPS) => {
                    let slope = squared_slope(discriminator, real.clone(), labels).mean();
                    d_loss + slope * (r1 / 2.0 * R1_STEPS as f32)
                }
                _ => d_loss,
            }
        });
        let mut losses = [d_loss.item(), self.losses.last().map_or(0.0, |losses| losses[1])];
        self.discriminator_adam.step(&mut self.discriminator, &d_loss.backward());

        if (self.losses.len() + 1).is_multiple_of(critic_steps) {
            self.discriminator.freeze("");
            let g_loss = record(|| loss.of_generator(&self.discriminator.forward(&fake, labels)));
            drop(fake);
            losses[1] = g_loss.item();
            self.generator_adam.step(&mut self.generator, &g_loss.backward());
            self.discriminator.unfreeze("");
            // At first the average is to forget quickly what the generator was before it had learned anything.
            let steps = (self.losses.len() / critic_steps) as f64;
            update_average(&mut self.average, &self.generator, ema.min((1.0 + steps) / (10.0 + steps)));
        }
        self.losses.push(losses);
        self.batch += 1;
    }

    /// Digits in `[0, 1]`.
    fn draw(&self, noise: &Tensor, labels: &Tensor<i64>) -> Tensor {
        (self.average.forward(noise, labels) + 1.0) / 2.0
    }

    /// Ten rows of ten, from noise that is the same whenever it is called; of a network that is asked for digits, row for row the
    /// same but for the digit.
    fn picture(&self) -> Tensor {
        let (rows, mut rng) = (if self.recipe.conditional { 1 } else { 10 }, Rng::new(self.recipe.seed).stream(1));
        let noise = Tensor::randn_with([rows, 10, NOISE], &mut rng).expand([10, 10, NOISE]).reshape([100, NOISE]);
        let images = self.draw(&noise, &Tensor::from_fn([100], |i| (i / 10) as i64));
        grid_with(&images, GridOptions { columns: 10, ..Default::default() })
    }

    fn quality(&self, judge: &Judge, count: usize) -> Quality {
        let mut rng = Rng::new(self.recipe.seed).stream(2);
        judge.quality(count, |labels| self.draw(&Tensor::randn_with([labels.numel(), NOISE], &mut rng), labels))
    }

    fn checkpoint(&self, reader: &Cnn) -> Checkpoint {
        let losses = Tensor::from_slice(self.losses.as_flattened(), [self.losses.len(), 2]);
        Checkpoint::new()
            .with_model("generator", &self.generator)
            .with_model("average", &self.average)
            .with_model("discriminator", &self.discriminator)
            .with_model("reader", reader)
            .with_optimizer("generator_adam", &self.generator_adam)
            .with_optimizer("discriminator_adam", &self.discriminator_adam)
            .with_rng("rng", &thread_rng())
            .with_tensor("losses", &losses)
            .with_value("epoch", self.epoch)
            .with_value("batch", self.batch)
            .with_value("recipe", &self.recipe.text)
    }

    fn resume(&mut self, file: &Path, reader: &mut Cnn) -> Result<(), Error> {
        let saved = Checkpoint::load(file)?;
        run::same_recipe(file, &saved, &self.recipe.text)?;
        saved.restore_model("generator", &mut self.generator)?;
        saved.restore_model("average", &mut self.average)?;
        saved.restore_model("discriminator", &mut self.discriminator)?;
        saved.restore_model("reader", reader)?;
        saved.restore_optimizer("generator_adam", &mut self.generator_adam)?;
        saved.restore_optimizer("discriminator_adam", &mut self.discriminator_adam)?;
        set_thread_rng(saved.rng("rng")?);
        self.losses = saved.tensor("losses")?.to_vec().chunks(2).map(|pair| [pair[0], pair[1]]).collect();
        (self.epoch, self.batch) = (saved.value("epoch")?, saved.value("batch")?);
        Ok(())
    }

    /// The mean losses of the last steps.
    fn mean_losses(&self, steps: usize) -> [f64; 2] {
        let last = &self.losses[self.losses.len().saturating_sub(steps)..];
        [0, 1].map(|i| last.iter().map(|losses| f64::from(losses[i])).sum::<f64>() / last.len() as f64)
    }

    fn write_pictures(&self, dir: &Path) -> Result<(), Error> {
        write_png(picture_path(dir, self.epoch), &self.picture())?;
        let curve = |i: usize| self.losses.iter().map(|losses| losses[i].into()).collect::<Vec<f64>>();
        let [d, g] = [0, 1].map(|i| support::smoothed(&curve(i), 20));
        let axes = Axes { title: "losses, mean of 20 steps", x: "step", ..Axes::default() };
        write_png(dir.join("loss.png"), &lines(&axes, &[("discriminator", &d), ("generator", &g)]))
    }
}

fn picture_path(dir: &Path, epoch: u64) -> PathBuf {
    dir.join(format!("epoch-{epoch:03}.png"))
}

/// The pictures of all epochs, also of those before the run was stopped.
fn write_animation(dir: &Path, epochs: u64) -> Result<(), Error> {
    let mut animation = Animation::new(dir.join("progress.gif"));
    for path in (1..=epochs).map(|epoch| picture_path(dir, epoch)).filter(|path| path.exists()) {
        animation.add(&read_png(path)?)?;
    }
    animation.save()
}

fn options() -> (Options, Arguments) {
    let more = [
        option("loss", "loss", "What the networks learn from")
            .value_parser(Loss::NAMES.map(|(name, _)| name))
            .default_value("bce"),
        real("ema", "0.999", |x| (0.0..1.0).contains(&x), "Decay of the moving average that draws; 0 for none"),
        real_from_0("r1", "1", "Weight of the penalty on the slope at real images; not for wgan-gp, which has its own"),
        count("critic-steps", "Steps of the discriminator for one of the generator [default: 1; wgan-gp: 5]"),
        flag("conditional", "Draw the digit that is asked for"),
        file("classifier", "FILE", "Judge with a network that mnist_cnn saved [default: train one]"),
    ];
    Options::parse_resumable("A network learns to draw digits.", ["5", "0.001"], more)
}

impl Recipe {
    fn new(options: &Options, given: &Arguments) -> Recipe {
        let name = given.text("loss").expect("has a default");
        let (_, loss) = Loss::NAMES.into_iter().find(|&(known, _)| known == name).expect("clap takes no others");
        let critic_steps = given.optional("critic-steps").unwrap_or(if loss == Loss::WganGp { 5 } else { 1 });
        let (conditional, ema, r1) = (given.flag("conditional"), given.real("ema"), given.real("r1") as f32);
        let &Options { lr, seed, batch_size, smoke, .. } = options;
        let mnist = options.data.is_some();
        let text = format!(
            "loss {name}, conditional {conditional}, lr {lr}, ema {ema}, r1 {r1}, critic-steps {critic_steps}, seed {seed}, \
             batch-size {batch_size}, data {mnist}, smoke {smoke}"
        );
        Recipe { loss, conditional, lr, ema, critic_steps, r1, seed, text }
    }
}

fn main() -> Result<(), Error> {
    let (options, given) = options();
    let recipe = Recipe::new(&options, &given);
    let Mnist { train, test } = options.digits()?;
    let (train, samples) = (Arc::new(train), if options.smoke { 200 } else { 10_000 });
    if let Some(dir) = &options.plot {
        support::folder(dir)?;
    }
    wengert::seed(options.seed);
    let (mut gan, mut reader) = (Gan::new(recipe), Cnn::default());
    println!("generator: {} parameters", gan.generator.num_parameters());
    println!("discriminator: {} parameters\n", gan.discriminator.num_parameters());
    if let Some(file) = &options.load {
        gan.resume(file, &mut reader)?;
        println!("resumed after {} epochs and {} batches", gan.epoch, gan.batch);
    }
    match given.path("classifier") {
        Some(file) => io::load(file, &mut reader)?,
        None if options.load.is_none() => {
            reader = judge::reader(&train, if options.smoke { 1 } else { 2 }, options.seed);
        }
        None => {}
    }
    let judge = Judge::new(reader, &test);

    let images = train.transform(|(x, y)| (x * 2.0 - 1.0, y));
    let loader = DataLoader::new(images, options.batch_size).shuffle(true).seed(options.seed).prefetch(2);
    run::watch_for_stop();
    let epochs = if options.eval { 0 } else { options.epochs };
    while gan.epoch < epochs {
        let start = Instant::now();
        let name = format!("epoch {}/{epochs}", gan.epoch + 1);
        let left = loader.dataset().len().saturating_sub(gan.batch * options.batch_size);
        let mut progress = Progress::new(name.clone(), left);
        for (x, y) in loader.rest_of_epoch(gan.epoch, gan.batch) {
            gan.step(&x, &y);
            progress.advance(y.numel(), || {
                let [d, g] = gan.mean_losses(100);
                format!("discriminator {d:.4}, generator {g:.4}")
            });
            if run::is_stopped() {
                progress.finish();
                let file = options.save.as_deref().unwrap_or(Path::new("mnist_gan.safetensors"));
                gan.checkpoint(&judge.reader).save(file)?;
                println!("stopped in {name} after batch {} of {}", gan.batch, loader.len());
                run::say_how_to_go_on(file);
                return Ok(());
            }
        }
        progress.finish();
        let [d, g] = gan.mean_losses(gan.batch);
        (gan.epoch, gan.batch) = (gan.epoch + 1, 0);
        let Quality { score, frechet, .. } = gan.quality(&judge, samples);
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{name}: discriminator {d:.4}, generator {g:.4}, score {score:.2}, frechet {frechet:.1}, {seconds:.1} s"
        );
        if let Some(dir) = &options.plot {
            gan.write_pictures(dir)?;
        }
        if let Some(file) = &options.save {
            gan.checkpoint(&judge.reader).save(file)?;
        }
    }

    if let Some(dir) = options.plot.as_deref().filter(|_| gan.epoch > 0) {
        write_animation(dir, gan.epoch)?;
        println!("\nwrote {}/progress.gif, loss.png and a picture for each epoch", dir.display());
    }
    let quality = gan.quality(&judge, samples);
    println!("\nOf {samples} drawn digits so many in a hundred are read as");
    println!("{}", support::joined(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|digit| format!("{digit:>4}"))));
    println!("{}", support::joined(&quality.shares.map(|share| format!("{:>4.1}", 100.0 * share))));
    if gan.recipe.conditional {
        println!("{:.2}% are read as the digit that was asked for", 100.0 * quality.right);
    }
    println!("\nclassifier score: {:.2} frechet: {:.1}", quality.score, quality.frechet);
    Ok(())
}
