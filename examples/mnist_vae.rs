//! A variational autoencoder learns to draw handwritten digits.
//!
//! `cargo run --release --example mnist_vae` trains it on digits drawn by code, offline; `-- --data DIR` takes the four IDX files of
//! MNIST in DIR instead: expect a bound of -100.0 nats on its test set after 4 epochs. `--out DIR` writes reconstructions beside
//! originals and digits drawn from nothing but noise. With `--latent 2` there is more to see: the plane of latent codes,
//! coloured by digit, and the digits that each of its places stands for. Ctrl-C keeps the run in a file, `--save FILE` does so after
//! each epoch, and `--resume FILE` goes on, to the same bits as without a stop. `-- --help` lists the options.
//!
//! The encoder tells for an image where in the latent space it lies, as a normal distribution `q(z | x)`; the decoder draws an
//! image from a point of it. They learn together, by the evidence lower bound
//!
//! ```text
//! log p(x) >= ELBO = E_q[log p(x | z)] - KL(q(z | x) || N(0, 1))
//! ```
//!
//! that is, to draw what was seen, and to use codes that noise could have drawn. The likelihood is Bernoulli's, with the grey
//! of a pixel as its target, not 0 or 1 drawn from it. Kingma, Welling, "Auto-encoding variational Bayes", 2014; the factor
//! `--beta` on the second part is Higgins et al., "beta-VAE", 2017.

use std::path::Path;
use support::Options;
use support::arguments::{count, real_from_0, whole};
use support::run::{Epoch, Run};
use wengert::data::image::{grid, write_png};
use wengert::data::plot::{Axes, scatter};
use wengert::data::{Dataset, LabelledImages, Mnist};
use wengert::loss::{BinaryCrossEntropyOptions, Reduction, binary_cross_entropy_with_logits_with};
use wengert::nn::Layer;
use wengert::nn::{BatchNorm2d, Conv2d, Conv2dOptions, ConvTranspose2d, ConvTranspose2dOptions, Linear};
use wengert::ops::cat;
use wengert::optim::{Adam, Optimizer};
use wengert::{Error, Rng, Tensor, module, record};

struct Vae {
    conv1: Conv2d,
    norm1: BatchNorm2d,
    conv2: Conv2d,
    norm2: BatchNorm2d,
    hidden: Linear,
    mean: Linear,
    log_variance: Linear,
    back: Linear,
    spread: Linear,
    grow2: ConvTranspose2d,
    norm3: BatchNorm2d,
    grow1: ConvTranspose2d,
}
module!(Vae { conv1, norm1, conv2, norm2, hidden, mean, log_variance, back, spread, grow2, norm3, grow1 });

impl Vae {
    fn new(latent: usize) -> Vae {
        let halving = |inputs, outputs| {
            let options = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
            Conv2d::with(inputs, outputs, 4, options)
        };
        let doubling = |inputs, outputs| {
            let options = ConvTranspose2dOptions { stride: [2, 2], padding: [1, 1], ..Default::default() };
            ConvTranspose2d::with(inputs, outputs, 4, options)
        };
        Vae {
            conv1: halving(1, 32),
            norm1: BatchNorm2d::new(32),
            conv2: halving(32, 64),
            norm2: BatchNorm2d::new(64),
            hidden: Linear::new(64 * 7 * 7, 256),
            mean: Linear::new(256, latent),
            log_variance: Linear::new(256, latent),
            back: Linear::new(latent, 256),
            spread: Linear::new(256, 64 * 7 * 7),
            grow2: doubling(64, 32),
            norm3: BatchNorm2d::new(32),
            grow1: doubling(32, 1),
        }
    }

    /// Images `[batch, 1, 28, 28]` to mean and logarithm of the variance of their codes, both `[batch, latent]`.
    fn encode(&self, x: &Tensor) -> [Tensor; 2] {
        let x = self.norm1.forward(&self.conv1.forward(x)).relu(); // [batch, 32, 14, 14]
        let x = self.norm2.forward(&self.conv2.forward(&x)).relu(); // [batch, 64, 7, 7]
        let x = self.hidden.forward(&x.flatten(1)).relu();
        [self.mean.forward(&x), self.log_variance.forward(&x)]
    }

    /// Codes `[batch, latent]` to logits of pixels `[batch, 1, 28, 28]`.
    fn decode(&self, z: &Tensor) -> Tensor {
        let x = self.spread.forward(&self.back.forward(z).relu()).relu().reshape([z.size(0), 64, 7, 7]);
        let x = self.norm3.forward(&self.grow2.forward(&x)).relu(); // [batch, 32, 14, 14]
        self.grow1.forward(&x)
    }

    /// The two parts of `-ELBO` in nats, mean of the batch: what is lost in the reconstruction, and the KL divergence.
    ///
    /// `noise`, `[batch, latent]`, is where randomness comes in; so the gradient finds its way through mean and variance.
    fn losses(&self, x: &Tensor, noise: &Tensor) -> [Tensor; 2] {
        let [mean, log_variance] = self.encode(x);
        let z = &mean + (&log_variance * 0.5).exp() * noise;
        let sum = BinaryCrossEntropyOptions { reduction: Reduction::Sum, ..Default::default() };
        let lost = binary_cross_entropy_with_logits_with(&self.decode(&z), x, sum);
        // KL(N(m, v) || N(0, 1)) = (m^2 + v - 1 - log v) / 2, summed over the dimensions of the code.
        let kl = (mean.square() + log_variance.exp() - 1.0 - &log_variance).sum() * 0.5;
        [lost, kl].map(|sum| sum / x.size(0) as f32)
    }
}

fn main() -> Result<(), Error> {
    let latent = count("latent", "Dimensions of the code").value_parser(whole(1..1000)).default_value("20");
    let beta = real_from_0("beta", "1", "Factor on the KL divergence");
    let about = "A variational autoencoder learns to draw handwritten digits.";
    let (options, given) = Options::parse_resumable(about, ["4", "0.002"], [latent, beta]);
    let latent = given.count("latent");
    let beta = given.real("beta") as f32;
    wengert::seed(options.seed);
    let Mnist { train, test } = options.digits()?;
    let mut net = Vae::new(latent);

    let mut optimizer = Adam::new(options.lr);
    let mut run = Run::new(&options, "mnist_vae.safetensors", &format!("latent {latent}, beta {beta}"));
    run.resume(&mut net, &mut optimizer)?;
    if !options.eval {
        let step = |net: &mut Vae, optimizer: &mut Adam, x: &Tensor| {
            let noise = Tensor::randn([x.size(0), latent]);
            let loss = record(|| {
                let [lost, kl] = net.losses(x, &noise);
                lost + kl * beta
            });
            let value = loss.item();
            optimizer.step(net, &loss.backward());
            value
        };
        let report = |net: &Vae, epoch: &Epoch| {
            let [lost, kl] = evaluate(net, &test, latent, options.seed);
            println!(
                "epoch {}: train loss {:.2}, test ELBO {:.2} nats: reconstruction {:.2}, KL {kl:.2}; {:.1} s",
                epoch.number,
                epoch.mean_loss,
                -lost - kl,
                -lost,
                epoch.seconds()
            );
        };
        if !run.train(train, &mut net, &mut optimizer, step, report)? {
            return Ok(());
        }
    }

    if let Some(dir) = &options.plot {
        pictures(dir, &net, &test, latent, options.seed)?;
        println!("\nwrote pictures to {}", dir.display());
    }
    let [lost, kl] = evaluate(&net, &test, latent, options.seed);
    println!("\ntest ELBO: {:.1} nats", -lost - kl);
    Ok(())
}

/// Both parts of `-ELBO`, mean over the images, with the same noise at each call.
fn evaluate(net: &Vae, images: &LabelledImages, latent: usize, seed: u64) -> [f64; 2] {
    let mut rng = Rng::new(seed).stream(1);
    let mut sums = [0.0; 2];
    for part in numbers(images.len()).chunks(250) {
        let losses = net.losses(&images.batch(part).0, &Tensor::randn_with([part.len(), latent], &mut rng));
        sums.iter_mut().zip(losses).for_each(|(sum, loss)| *sum += f64::from(loss.item()) * part.len() as f64);
    }
    sums.map(|sum| sum / images.len() as f64)
}

fn numbers(len: usize) -> Vec<usize> {
    (0..len).collect()
}

fn pictures(dir: &Path, net: &Vae, images: &LabelledImages, latent: usize, seed: u64) -> Result<(), Error> {
    support::folder(dir)?;
    let draw = |z: &Tensor| net.decode(z).sigmoid();
    // A row of originals, below it their reconstructions, and so on.
    let rows = numbers(images.len().min(60))
        .chunks(10)
        .flat_map(|part| {
            let (x, _) = images.batch(part);
            let [mean, _] = net.encode(&x);
            let y = draw(&mean);
            [x, y]
        })
        .collect::<Vec<_>>();
    write_png(dir.join("reconstructions.png"), &grid(&cat(&rows.iter().collect::<Vec<_>>(), 0), 10))?;
    let mut rng = Rng::new(seed).stream(2);
    write_png(dir.join("samples.png"), &grid(&draw(&Tensor::randn_with([100, latent], &mut rng)), 10))?;
    if latent != 2 {
        return Ok(());
    }

    let codes: Vec<Tensor> =
        numbers(images.len()).chunks(250).map(|part| net.encode(&images.batch(part).0)[0].clone()).collect();
    let codes = cat(&codes.iter().collect::<Vec<_>>(), 0);
    let labels = Tensor::from_fn([images.len()], |i| i64::from(images.labels[i]));
    let axes = Axes { title: "latent codes of test digits", size: [800, 800], ..Axes::default() };
    write_png(
        dir.join("latent.png"),
        &scatter(&axes, &codes, &labels, &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]),
    )?;
    // Where nine of ten codes of noise lie in each direction, from the upper left.
    const SIDE: usize = 20;
    let place = |i: usize| 1.65 * (2.0 * i as f32 / (SIDE - 1) as f32 - 1.0);
    let plane =
        Tensor::from_fn([SIDE * SIDE, 2], |i| if i % 2 == 0 { place(i / 2 % SIDE) } else { -place(i / 2 / SIDE) });
    write_png(dir.join("manifold.png"), &grid(&draw(&plane), SIDE))
}
