//! A generative adversarial network learns a distribution from samples: the smallest one that shows how it is done.
//!
//! `cargo run --release --example gan_1d` trains it on a mixture of two Gaussians, in seconds, and prints both histograms. Expect a
//! Wasserstein distance of 0.03 to 0.06, whatever the `--seed`; between two samples of the data themselves it is about 0.02.
//! `-- --plot DIR` writes the histograms as pictures, and as a film how they came to be.
//!
//! Two networks play against each other. The generator makes numbers of noise; the discriminator is shown these and real
//! ones and says which is which. Each is trained on what the other one does, until the generator's numbers are
//! distributed as the data is and nothing is left to tell them apart by.
//!
//! Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative adversarial nets", 2014.

use support::arguments::{self, Arguments, count, file, flag};
use support::clap::Command;
use wengert::data::image::{Animation, write_png};
use wengert::data::plot::{Axes, histogram};
use wengert::loss::binary_cross_entropy_with_logits as says;
use wengert::nn::{Layer, LeakyReLU, Linear, ReLU};
use wengert::optim::{Adam, AdamOptions, Optimizer};
use wengert::{Error, Rng, Tensor, record, sequential};

const BATCH: usize = 256;
/// Numbers of noise for each number that is made.
const NOISE: usize = 4;

/// The data, `[n, 1]`: three samples of ten come from a narrow peak at -2, the others from a wide one at 1.5.
fn data(n: usize, rng: &mut Rng) -> Tensor {
    Tensor::from_fn([n, 1], |_| {
        let (mean, deviation) = if rng.uniform_f32() < 0.3 { (-2.0, 0.5) } else { (1.5, 0.8) };
        (mean + deviation * rng.normal()) as f32
    })
}

fn main() -> Result<(), Error> {
    let given = Arguments::read(options());
    let steps = if given.smoke() { 50 } else { given.count("steps") };
    let plot = given.path("plot");
    if let Some(dir) = plot {
        support::folder(dir)?;
    }
    wengert::seed(given.seed());
    let mut rng = Rng::new(given.seed()).stream(1);

    let mut generator = sequential![Linear::new(NOISE, 64), ReLU, Linear::new(64, 64), ReLU, Linear::new(64, 1)];
    let mut discriminator = sequential![
        Linear::new(1, 64),
        LeakyReLU::new(0.2),
        Linear::new(64, 64),
        LeakyReLU::new(0.2),
        Linear::new(64, 1) // a logit: positive says "real"
    ];
    // Less momentum than usual: each network aims at a target that moves, the other one.
    let adam = AdamOptions { betas: [0.5, 0.999], ..Default::default() };
    let [mut generator_adam, mut discriminator_adam] = [Adam::with(adam), Adam::with(adam)];
    let (real, made) = (Tensor::ones([BATCH, 1]), Tensor::zeros([BATCH, 1]));
    // What the generator is measured and shown with.
    let (sample, noise) = (data(10_000, &mut rng), Tensor::randn([10_000, NOISE]));
    let mut film = plot.map(|dir| Animation::new(dir.join("training.gif")));

    for step in 0..steps {
        // Both slow down to a stop, or they would circle around the solution for ever.
        let lr = adam.lr * (1.0 - step as f64 / steps as f64);
        generator_adam.set_lr(lr);
        discriminator_adam.set_lr(lr);

        // The discriminator's turn: real numbers to 1, made ones to 0. They are made outside of `record`, so no gradient
        // goes to the generator.
        let (x, fake) = (data(BATCH, &mut rng), generator.forward(&Tensor::randn([BATCH, NOISE])));
        let loss = record(|| says(&discriminator.forward(&x), &real) + says(&discriminator.forward(&fake), &made));
        let discriminator_loss = loss.item();
        discriminator_adam.step(&mut discriminator, &loss.backward());

        // The generator's turn: to have its numbers taken for real ones. The gradient goes through the discriminator,
        // which shows in which direction a number would look more real; only the generator takes a step.
        let z = Tensor::randn([BATCH, NOISE]);
        let loss = record(|| says(&discriminator.forward(&generator.forward(&z)), &real));
        let generator_loss = loss.item();
        generator_adam.step(&mut generator, &loss.backward());

        if let Some(film) = film.as_mut().filter(|_| step.is_multiple_of((steps / 50).max(1))) {
            film.add(&drawn(&sample, &generator.forward(&noise), [480, 300]))?;
        }
        if (step + 1).is_multiple_of((steps / 5).max(1)) {
            println!(
                "step {:>5}: loss of the discriminator {discriminator_loss:.3}, of the generator {generator_loss:.3}",
                step + 1
            );
        }
    }

    let y = generator.forward(&noise);
    println!("\n{}", text_histogram(&sample, &y));
    if let (Some(dir), Some(film)) = (plot, &film) {
        write_png(dir.join("histogram.png"), &drawn(&sample, &y, [800, 500]))?;
        film.save()?;
        println!("wrote {}/histogram.png and training.gif\n", dir.display());
    }
    println!("wasserstein distance: {:.3}", wasserstein(&sample, &y));
    Ok(())
}

fn sorted(x: &Tensor) -> Vec<f64> {
    let mut x: Vec<f64> = x.to_vec().into_iter().map(f64::from).collect();
    x.sort_by(f64::total_cmp);
    x
}

/// How far the one heap of samples must be carried on average to become the other (Wasserstein-1). In one dimension nobody is
/// overtaken on the way: the least goes to the least, and so on.
fn wasserstein(x: &Tensor, y: &Tensor) -> f64 {
    let way: f64 = sorted(x).iter().zip(sorted(y)).map(|(x, y)| (x - y).abs()).sum();
    way / x.numel() as f64
}

const LEFT: f64 = -4.0;
const RIGHT: f64 = 4.5;

fn drawn(x: &Tensor, y: &Tensor, size: [usize; 2]) -> Tensor {
    let axes = Axes {
        title: "a mixture of Gaussians and what the generator makes",
        x_range: Some([LEFT, RIGHT]),
        y_range: Some([0.0, 0.5]),
        size,
        ..Default::default()
    };
    histogram(&axes, &[("data", &sorted(x)), ("generator", &sorted(y))], 85)
}

/// Data to the left, the generator's numbers to the right.
fn text_histogram(x: &Tensor, y: &Tensor) -> String {
    const ROWS: usize = 17;
    const WIDTH: f64 = 200.0;
    let step = (RIGHT - LEFT) / ROWS as f64;
    let bar = |samples: &[f64], from: f64| {
        let inside = samples.iter().filter(|&&x| from <= x && x < from + step).count();
        "#".repeat((WIDTH * inside as f64 / samples.len() as f64).round() as usize)
    };
    let (x, y) = (sorted(x), sorted(y));
    let row = |i| {
        let from = LEFT + step * f64::from(i);
        format!("{:>34} {:>5.2} {}\n", bar(&x, from), from + step / 2.0, bar(&y, from))
    };
    format!("{:>34}       {}\n", "data", "generator") + &(0..ROWS as i32).map(row).collect::<String>()
}

fn options() -> Command {
    Command::new("gan_1d").about("A generative adversarial network learns a distribution.").args([
        count("steps", "Steps of each network").default_value("4000"),
        arguments::seed(),
        file("plot", "DIR", "Write the histograms as PNG, and as GIF how they came to be"),
        flag("smoke", "A run of a moment, for tests"),
    ])
}
