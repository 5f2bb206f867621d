//! A convolutional network reads handwritten digits.
//!
//! `cargo run --release --example mnist_cnn` trains it on digits drawn by code, offline: expect about 99 % on such digits, in
//! steadier hands than those it learned from, after a minute. `-- --data DIR` takes the four IDX files of MNIST in DIR
//! instead, gzipped or plain: expect 99.0 % after 5 epochs. `-- --help` lists the options.
//!
//! LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.

use std::time::Instant;
use support::{Options, Progress};
use wengert::data::image::{grid, write_png};
use wengert::data::plot::{Axes, lines};
use wengert::data::{DataLoader, Dataset, LabelledImages, Mnist};
use wengert::loss::{CrossEntropyOptions, Reduction, cross_entropy, cross_entropy_with};
use wengert::nn::{Conv2d, Layer, Linear, MaxPool2d};
use wengert::optim::{Adam, Optimizer};
use wengert::{Error, Tensor, io, module, record};

struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    fc1: Linear,
    fc2: Linear,
    pool: MaxPool2d,
}
module!(Cnn { conv1, conv2, conv3, fc1, fc2 });

impl Cnn {
    fn new() -> Cnn {
        Cnn {
            conv1: Conv2d::new(1, 32, 3),
            conv2: Conv2d::new(32, 64, 3),
            conv3: Conv2d::new(64, 64, 3),
            fc1: Linear::new(576, 64),
            fc2: Linear::new(64, 10),
            pool: MaxPool2d::new(2),
        }
    }
}

impl Layer for Cnn {
    /// `[batch, 1, 28, 28]` to logits `[batch, 10]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        // ReLU and max pooling may change places; in this order ReLU has a quarter of the work.
        let x = self.pool.forward(&self.conv1.forward(x)).relu(); // [batch, 32, 13, 13]
        let x = self.pool.forward(&self.conv2.forward(&x)).relu(); // [batch, 64, 5, 5]
        let x = self.conv3.forward(&x).relu().flatten(1); // [batch, 576]
        self.fc2.forward(&self.fc1.forward(&x).relu())
    }
}

fn main() -> Result<(), Error> {
    let options = Options::parse("A convolutional network reads handwritten digits.");
    wengert::seed(options.seed);
    let Mnist { train, test } = options.digits()?;
    let mut net = Cnn::new();
    println!("{}\n", net.summary(&[1, 1, train.height, train.width]));
    if let Some(file) = &options.load {
        io::load(file, &mut net)?;
        println!("loaded {}", file.display());
    }

    let mut losses = Vec::new();
    if !options.eval {
        let loader = DataLoader::new(train, options.batch_size).shuffle(true).seed(options.seed).prefetch(2);
        let mut optimizer = Adam::new(options.lr);
        for epoch in 0..options.epochs {
            let start = Instant::now();
            let mut progress = Progress::new(format!("epoch {}/{}", epoch + 1, options.epochs), loader.dataset().len());
            for (x, y) in loader.epoch(epoch) {
                let (loss, logits) = record(|| {
                    let logits = net.forward(&x);
                    (cross_entropy(&logits, &y), logits.detach())
                });
                losses.push(f64::from(loss.item()));
                progress.update(y.numel(), losses[losses.len() - 1], correct(&logits, &y));
                optimizer.step(&mut net, &loss.backward());
            }
            let train_loss = progress.finish();
            let result = evaluate(&net, &test);
            println!(
                "epoch {}: train loss {train_loss:.4}, test loss {:.4}, test accuracy {:.2}%, {:.1} s",
                epoch + 1,
                result.loss,
                100.0 * result.accuracy(&test),
                start.elapsed().as_secs_f64()
            );
            if let Some(file) = &options.save {
                io::save(file, &net)?;
            }
        }
    }

    let result = evaluate(&net, &test);
    println!("\nThe first ten test images");
    println!("read as   {}", support::joined(&result.predictions[..test.len().min(10)]));
    println!("labelled  {}", support::joined(&test.labels[..test.len().min(10)]));
    println!("\nLabels in rows, predictions in columns");
    print!("{}", support::confusion_matrix(&test.labels, &result.predictions, 10));
    if let Some(dir) = &options.plot {
        support::folder(dir)?;
        let axes = Axes { title: "training loss, mean of 20 steps", x: "step", log_y: true, ..Axes::default() };
        write_png(dir.join("loss.png"), &lines(&axes, &[("", &support::smoothed(&losses, 20))]))?;
        let wrong = (0..test.len()).filter(|&i| test.labels[i] != result.predictions[i]).take(100).collect::<Vec<_>>();
        write_png(dir.join("misclassified.png"), &grid(&test.batch(&wrong).0, 10))?;
        println!("\nwrote {}/loss.png and misclassified.png", dir.display());
    }
    println!("\ntest accuracy: {:.2}%", 100.0 * result.accuracy(&test));
    Ok(())
}

fn correct(logits: &Tensor, y: &Tensor<i64>) -> usize {
    logits.argmax(-1, false).eq(y).to_vec().into_iter().filter(|&hit| hit).count()
}

struct Evaluation {
    loss: f32,
    predictions: Vec<u8>,
}

impl Evaluation {
    fn accuracy(&self, images: &LabelledImages) -> f64 {
        let hits = self.predictions.iter().zip(&images.labels).filter(|(p, label)| p == label).count();
        hits as f64 / images.len().max(1) as f64
    }
}

fn evaluate(net: &Cnn, images: &LabelledImages) -> Evaluation {
    let (mut loss, mut predictions) = (0.0, Vec::new());
    let all: Vec<usize> = (0..images.len()).collect();
    for part in all.chunks(250) {
        let (x, y) = images.batch(part);
        let logits = net.forward(&x);
        let sum = CrossEntropyOptions { reduction: Reduction::Sum, ..Default::default() };
        loss += cross_entropy_with(&logits, &y, sum).item();
        predictions.extend(logits.argmax(1, false).cast::<u8>().to_vec());
    }
    Evaluation { loss: loss / images.len().max(1) as f32, predictions }
}
