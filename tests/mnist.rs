//! The real MNIST, where it is at hand: in the folder that `WENGERT_MNIST` names, else in `../shared/data/mnist` beside the
//! project. Without its files the tests say that they were skipped.
//!
//! Not libtest, which would not show that.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use support::cnn::Cnn;
use wengert::data::{DataLoader, Dataset, LabelledImages, Mnist, digits};
use wengert::loss::cross_entropy;
use wengert::nn::Layer;
use wengert::optim::{Adam, Optimizer};
use wengert::{Error, record, seed};

/// The share of the first 2,000 test images that is read after some steps of Adam on batches of 64.
fn accuracy_after(steps: usize, train: LabelledImages, test: &LabelledImages) -> f64 {
    seed(0);
    let mut net = Cnn::default();
    let mut optimizer = Adam::new(1e-3);
    for (x, y) in DataLoader::new(train, 64).shuffle(true).seed(0).epoch(0).take(steps) {
        let loss = record(|| cross_entropy(&net.forward(&x), &y));
        optimizer.step(&mut net, &loss.backward());
    }
    let mut right = 0;
    for part in (0..2000).collect::<Vec<_>>().chunks(250) {
        let (x, y) = test.batch(part);
        right += net.forward(&x).argmax(1, false).eq(&y).cast::<i64>().sum().item();
    }
    right as f64 / 2000.0
}

/// <https://yann.lecun.com/exdb/mnist>, and what everybody has counted in it since.
fn it_is_mnist(mnist: &Mnist) {
    let counts = |images: &LabelledImages| {
        let mut counts = [0; 10];
        images.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    };
    for (images, len) in [(&mnist.train, 60_000), (&mnist.test, 10_000)] {
        assert_eq!((images.len(), images.height, images.width), (len, 28, 28));
        assert_eq!(images.pixels.len(), len * 28 * 28);
    }
    assert_eq!(counts(&mnist.train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(counts(&mnist.test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    assert_eq!(mnist.train.labels[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(mnist.test.labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    // The mean that everybody normalises with: 0.1307 of 255.
    let sum: u64 = mnist.train.pixels.iter().map(|&pixel| u64::from(pixel)).sum();
    let mean = sum as f64 / mnist.train.pixels.len() as f64;
    assert!((mean - 33.318).abs() < 1e-3, "{mean}");
}

fn the_network_reads_it_after_300_steps(mnist: &Mnist) {
    let accuracy = accuracy_after(300, mnist.train.clone(), &mnist.test);
    println!("    accuracy {accuracy}");
    assert!(accuracy > 0.93, "accuracy {accuracy}");
}

fn the_network_reads_it_after_500_steps_on_digits_drawn_by_code(mnist: &Mnist) {
    let accuracy = accuracy_after(500, digits(500 * 64, 0), &mnist.test);
    println!("    accuracy {accuracy}");
    assert!(accuracy > 0.85, "accuracy {accuracy}");
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

type Test = (&'static str, fn(&Mnist));

fn main() -> ExitCode {
    let tests: [Test; 3] = [
        ("it_is_mnist", it_is_mnist),
        ("the_network_reads_it_after_300_steps", the_network_reads_it_after_300_steps),
        (
            "the_network_reads_it_after_500_steps_on_digits_drawn_by_code",
            the_network_reads_it_after_500_steps_on_digits_drawn_by_code,
        ),
    ];
    // What `cargo test` may pass on: a filter, and flags of libtest that mean nothing here.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |name: &str| {
        let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let tests: Vec<Test> = tests.into_iter().filter(|(name, _)| chosen(name)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }

    println!("\nrunning {} tests", tests.len());
    let start = Instant::now();
    let named = std::env::var_os("WENGERT_MNIST").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist");
    let folder = named.clone().unwrap_or(beside);
    let mnist = match Mnist::load(&folder) {
        Ok(mnist) => Some(mnist),
        // A folder that was asked for must be there.
        Err(error) if named.is_some() || !is_missing(&error) => panic!("{error}"),
        Err(_) => None,
    };
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, test) in tests {
        let Some(mnist) = &mnist else {
            skipped += 1;
            println!("test {name} ... skipped: no MNIST at {}, set WENGERT_MNIST", folder.display());
            continue;
        };
        let ok = std::panic::catch_unwind(|| test(mnist)).is_ok();
        if ok {
            passed += 1
        } else {
            failed += 1
        }
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
    }
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; finished in {:.2}s\n",
        if failed > 0 { "FAILED" } else { "ok" },
        start.elapsed().as_secs_f64()
    );
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
