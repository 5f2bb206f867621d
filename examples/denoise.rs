//! A convolutional autoencoder with skip connections takes the noise off handwritten digits.
//!
//! `cargo run --release --example denoise` trains it on digits drawn by code, offline. `-- --data DIR` takes the four IDX files
//! of MNIST in DIR instead: the noise leaves 14.0 dB, and after the first of 3 epochs it was 25.4 dB on the test set. `--noise X`
//! takes more or less noise, and `--plot DIR` shows what becomes of ten test digits. Ctrl-C keeps the run in a file, `--save FILE` does
//! so after each epoch, and `--resume FILE` goes on, to the same bits as without a stop. `-- --help` lists the options.
//!
//! On the way down the network sees more and more of the digit and less and less of where it was; on the way up each level
//! gets its details back from the same level of the way down. Ronneberger, Fischer, Brox, "U-Net: Convolutional networks for
//! biomedical image segmentation", 2015.

use support::Options;
use support::arguments::real_from_0;
use support::run::{Epoch, Run};
use wengert::data::image::{grid, write_png};
use wengert::data::plot::{Axes, lines};
use wengert::data::{Dataset, LabelledImages, Mnist};
use wengert::loss::mse_loss;
use wengert::nn::{Conv2d, Conv2dOptions, ConvTranspose2d, ConvTranspose2dOptions, Layer, MaxPool2d};
use wengert::ops::cat;
use wengert::optim::{Adam, Optimizer};
use wengert::{Error, Rng, Tensor, module, record};

struct UNet {
    down1: Conv2d,
    down2: Conv2d,
    bottom: Conv2d,
    grow2: ConvTranspose2d,
    up2: Conv2d,
    grow1: ConvTranspose2d,
    up1: Conv2d,
    last: Conv2d,
    pool: MaxPool2d,
}
module!(UNet { down1, down2, bottom, grow2, up2, grow1, up1, last });

impl UNet {
    fn new() -> UNet {
        let same =
            |inputs, outputs| Conv2d::with(inputs, outputs, 3, Conv2dOptions { padding: [1, 1], ..Default::default() });
        let doubling = |inputs, outputs| {
            let options = ConvTranspose2dOptions { stride: [2, 2], ..Default::default() };
            ConvTranspose2d::with(inputs, outputs, 2, options)
        };
        UNet {
            down1: same(1, 16),
            down2: same(16, 32),
            bottom: same(32, 64),
            grow2: doubling(64, 32),
            up2: same(64, 32),
            grow1: doubling(32, 16),
            up1: same(32, 16),
            last: same(16, 1),
            pool: MaxPool2d::new(2),
        }
    }
}

impl Layer for UNet {
    /// Noisy images `[batch, 1, 28, 28]` to clean ones.
    fn forward(&self, x: &Tensor) -> Tensor {
        let level1 = self.down1.forward(x).relu(); // [batch, 16, 28, 28]
        let level2 = self.down2.forward(&self.pool.forward(&level1)).relu(); // [batch, 32, 14, 14]
        let bottom = self.bottom.forward(&self.pool.forward(&level2)).relu(); // [batch, 64, 7, 7]
        let up = self.up2.forward(&cat(&[&self.grow2.forward(&bottom), &level2], 1)).relu(); // [batch, 32, 14, 14]
        let up = self.up1.forward(&cat(&[&self.grow1.forward(&up), &level1], 1)).relu(); // [batch, 16, 28, 28]
        // What there is to correct is less than what there is to draw.
        x + self.last.forward(&up)
    }
}

fn main() -> Result<(), Error> {
    let noise = real_from_0("noise", "0.2", "Standard deviation of the noise, where paper is 0 and ink is 1");
    let about = "A convolutional autoencoder takes the noise off handwritten digits.";
    let (options, given) = Options::parse_resumable(about, ["3", "0.001"], [noise]);
    let noise = given.real("noise") as f32;
    wengert::seed(options.seed);
    let Mnist { train, test } = options.digits()?;
    let mut net = UNet::new();
    println!("{}\n", net.summary(&[1, 1, train.height, train.width]));

    let mut optimizer = Adam::new(options.lr);
    let mut run = Run::new(&options, "denoise.safetensors", &format!("noise {noise}"));
    run.resume(&mut net, &mut optimizer)?;
    if !options.eval {
        let step = |net: &mut UNet, optimizer: &mut Adam, clean: &Tensor| {
            // New noise each time, so that none can be learned by heart.
            let noisy = clean + Tensor::randn(clean.dims()) * noise;
            let loss = record(|| mse_loss(&net.forward(&noisy), clean));
            let value = loss.item();
            optimizer.step(net, &loss.backward());
            value
        };
        let report = |net: &UNet, epoch: &Epoch| {
            println!(
                "epoch {}: train loss {:.5}, test PSNR {:.2} dB, {:.1} s",
                epoch.number,
                epoch.mean_loss,
                evaluate(net, &test, noise, options.seed).denoised,
                epoch.seconds()
            );
        };
        if !run.train(train, &mut net, &mut optimizer, step, report)? {
            return Ok(());
        }
    }

    let result = evaluate(&net, &test, noise, options.seed);
    if let Some(dir) = &options.plot {
        support::folder(dir)?;
        let axes = Axes { title: "training loss, mean of 20 steps", x: "step", log_y: true, ..Axes::default() };
        let losses: Vec<f64> = run.losses().iter().map(|&loss| loss.into()).collect();
        write_png(dir.join("loss.png"), &lines(&axes, &[("", &support::smoothed(&losses, 20))]))?;
        write_png(dir.join("denoised.png"), &result.picture)?;
        println!("\nwrote {}/loss.png and denoised.png: noisy, denoised, clean", dir.display());
    }
    println!("\ntest PSNR: {:.1} dB noisy, {:.1} dB denoised", result.noisy, result.denoised);
    Ok(())
}

struct Evaluation {
    /// Peak signal-to-noise ratios in dB: `-10 log10(mean squared error)`, as the peak is 1.
    noisy: f64,
    denoised: f64,
    /// The first ten images, noisy, denoised and clean.
    picture: Tensor,
}

/// The same noise at each call.
fn evaluate(net: &UNet, images: &LabelledImages, noise: f32, seed: u64) -> Evaluation {
    let mut rng = Rng::new(seed).stream(1);
    let [mut noisy_error, mut denoised_error] = [0.0; 2];
    let mut picture = None;
    let all: Vec<usize> = (0..images.len()).collect();
    for part in all.chunks(250) {
        let (clean, _) = images.batch(part);
        let noisy = &clean + Tensor::randn_with(clean.dims(), &mut rng) * noise;
        let denoised = net.forward(&noisy).clamp(0.0, 1.0);
        let error = |x: &Tensor| f64::from(mse_loss(x, &clean).item()) * part.len() as f64 / images.len() as f64;
        noisy_error += error(&noisy);
        denoised_error += error(&denoised);
        picture.get_or_insert_with(|| {
            let ten = |x: &Tensor| x.narrow(0, 0, part.len().min(10));
            grid(&cat(&[&ten(&noisy), &ten(&denoised), &ten(&clean)], 0), 10)
        });
    }
    let decibel = |error: f64| -10.0 * error.log10();
    Evaluation {
        noisy: decibel(noisy_error),
        denoised: decibel(denoised_error),
        picture: picture.unwrap_or(Tensor::zeros([1, 1])),
    }
}
