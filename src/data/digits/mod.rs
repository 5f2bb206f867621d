//! Digits drawn by code: a data set in MNIST's form that needs no file.
//!
//! A digit is a few curves (`curve`) in one of several styles (`strokes`); a hand slants, bends and presses them
//! (`hand`); the pen's path becomes pixels, normalised as MNIST's are (`render`).

mod curve;
mod hand;
mod render;
mod strokes;

use super::{LabelledImages, Mnist};
use crate::kernels::parallel;
use crate::rng::Rng;
use render::SIDE;

const CLASSES: usize = 10;

/// Images that one task draws: fixed, so that the work is cut the same way for any number of threads.
const TASK: usize = 64;

/// `count` handwritten digits, drawn by code: 28 x 28, normalised as MNIST's are, labelled 0 to 9.
///
/// Image `i` of a seed is the same in a set of any size, and on any number of threads. Every ten images in a row, from
/// a multiple of ten, are the ten digits in random order.
///
/// The shapes are designed, not copied from any data: each digit has several styles of handwriting (a 7 with and
/// without a bar, a 4 open and closed), each a few strokes. A random hand then moves their points, slants, turns and
/// stretches them, bends them by a smooth field (Simard, Steinkraus, Platt, "Best practices for convolutional neural
/// networks applied to visual document analysis", 2003) and presses its pen more or less.
///
/// They are a stand-in for real data: a network of three convolutions and two linear layers, trained for five epochs
/// on 60,000 of them and on nothing else, reads about 97.5 % of MNIST's test images.
///
/// ```
/// let digits = wengert::data::digits(100, 0);
/// assert_eq!((digits.len(), digits.height, digits.width), (100, 28, 28));
/// assert_eq!(digits.labels.iter().filter(|&&label| label == 7).count(), 10);
/// ```
pub fn digits(count: usize, seed: u64) -> LabelledImages {
    drawn(count, 1.0, &Rng::new(seed))
}

/// How unsteady the hands are that wrote the digits to test on, beside those to learn from.
const TEST_UNSTEADINESS: f32 = 0.4;

impl Mnist {
    /// Digits drawn by code in MNIST's place: [`digits`]`(train, seed)` to train on, and `test` others to test on.
    ///
    /// The digits to test on are written by steadier hands: those to learn from are bent more than most people's, as
    /// images are distorted to augment a training set, and some of them nobody could read.
    ///
    /// ```
    /// let drawn = wengert::data::Mnist::digits(60, 10, 0);
    /// assert_eq!((drawn.train.len(), drawn.test.len()), (60, 10));
    /// ```
    pub fn digits(train: usize, test: usize, seed: u64) -> Self {
        Mnist { train: digits(train, seed), test: drawn(test, TEST_UNSTEADINESS, &Rng::new(seed).stream(2)) }
    }
}

/// `count` digits: the orders of the labels from sub-stream 0, the hands from sub-stream 1.
fn drawn(count: usize, unsteadiness: f32, rng: &Rng) -> LabelledImages {
    let (orders, hands) = (rng.stream(0), rng.stream(1));
    let mut labels = vec![0; count];
    for (ten, labels) in labels.chunks_mut(CLASSES).enumerate() {
        let mut order: [u8; CLASSES] = std::array::from_fn(|digit| digit as u8);
        orders.stream(ten as u64).shuffle(&mut order);
        labels.copy_from_slice(&order[..labels.len()]);
    }
    const SIZE: usize = SIDE * SIDE;
    let mut pixels = vec![0; count * SIZE];
    parallel::chunks_mut(&mut pixels, TASK * SIZE, |start, images| {
        for (index, image) in (start / SIZE..).zip(images.chunks_exact_mut(SIZE)) {
            let mut rng = hands.stream(index as u64);
            let strokes = hand::write(labels[index], unsteadiness, &mut rng);
            render::draw(&strokes, &mut rng, image);
        }
    });
    LabelledImages { height: SIDE, width: SIDE, pixels, labels }
}

#[cfg(test)]
mod tests {
    use super::render::BOX;
    use super::*;
    use crate::kernels::testing::on_every_machine;

    #[test]
    fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
        // More than three tasks, the last of them not full.
        let sets = on_every_machine(|| digits(3 * TASK + 7, 11), |set| (set.pixels.clone(), set.labels.clone()));
        assert!(sets.iter().all(|set| *set == sets[0]));
    }

    #[test]
    fn a_larger_set_begins_with_the_smaller_one() {
        let large = digits(2 * TASK + 5, 3);
        for count in [0, 1, 9, 10, TASK, TASK + 3] {
            let small = digits(count, 3);
            assert_eq!(small.len(), count);
            assert_eq!(small.labels, large.labels[..count]);
            assert_eq!(small.pixels, large.pixels[..count * SIDE * SIDE]);
        }
    }

    #[test]
    fn seeds_and_parts_differ_in_every_image() {
        let mnist = Mnist::digits(200, 200, 3);
        assert_eq!(mnist.train, digits(200, 3));
        let sets = [mnist.train, mnist.test, digits(200, 4), digits(200, 3 ^ 1 << 40)];
        let mut images: Vec<&[u8]> = sets.iter().flat_map(|set| set.pixels.chunks_exact(SIDE * SIDE)).collect();
        images.sort();
        images.dedup();
        assert_eq!(images.len(), 4 * 200);
        assert!(sets[1..].iter().all(|set| set.labels != sets[0].labels));
    }

    #[test]
    fn labels_are_balanced_and_in_random_order() {
        let set = digits(1000, 0);
        for ten in set.labels.chunks(10) {
            let mut sorted = ten.to_vec();
            sorted.sort();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        }
        // Of 100 tens, each label comes first in 10, with a standard deviation of 3.
        for digit in 0..10 {
            let first = set.labels.iter().step_by(10).filter(|&&label| label == digit).count();
            assert!(first.abs_diff(10) < 18, "{digit} comes first {first} times");
        }
    }

    #[test]
    fn every_image_fits_the_box_and_is_centred_by_mass() {
        let set = digits(5000, 1);
        for index in 0..set.len() {
            let image = set.image(index);
            let ink: Vec<[usize; 2]> =
                (0..image.len()).filter(|&i| image[i] > 0).map(|i| [i % SIDE, i / SIDE]).collect();
            let mass: f64 = image.iter().map(|&grey| f64::from(grey)).sum();
            let mut sides = [0; 2];
            for axis in 0..2 {
                let places = || ink.iter().map(|place| place[axis]);
                sides[axis] = places().max().unwrap() - places().min().unwrap() + 1;
                let moment: f64 = ink.iter().map(|p| f64::from(image[p[1] * SIDE + p[0]]) * p[axis] as f64).sum();
                assert!((moment / mass - 14.0).abs() <= 0.5, "{index}: centre {} on axis {axis}", moment / mass);
            }
            assert!((BOX - 3..=BOX).contains(sides.iter().max().unwrap()), "{index}: {sides:?}");
            // MNIST's training images have means from 6.5 (a thin 1) to 101.4 (a thick 0).
            let mean = mass / image.len() as f64;
            assert!((6.0..102.0).contains(&mean), "{index}: mean {mean}");
            assert!(image.iter().max() >= Some(&128), "{index}");
        }
    }

    #[test]
    fn the_whole_has_the_ink_of_mnist() {
        let set = digits(5000, 2);
        let n = set.pixels.len() as f64;
        let mean = set.pixels.iter().map(|&grey| f64::from(grey)).sum::<f64>() / n;
        let square = set.pixels.iter().map(|&grey| f64::from(grey).powi(2)).sum::<f64>() / n;
        // MNIST's training images: mean 33.3, standard deviation 78.6.
        assert!((mean - 33.3).abs() < 2.0, "{mean}");
        assert!(((square - mean * mean).sqrt() - 78.6).abs() < 4.0, "{}", (square - mean * mean).sqrt());
    }
}
