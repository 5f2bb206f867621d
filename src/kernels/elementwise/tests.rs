use super::*;
use crate::kernels::testing::{noise, on_every_machine};

/// A view of the dims with the strides, and data that it reaches.
struct Operand {
    data: Vec<f32>,
    strides: Vec<usize>,
}

impl Operand {
    fn new(dims: &[usize], strides: &[usize], seed: u64) -> Self {
        let reach: usize = dims.iter().zip(strides).map(|(&d, &s)| d.saturating_sub(1) * s).sum();
        let data = noise(reach + 1, seed).into_iter().map(|x| x as f32).collect();
        Operand { data, strides: strides.to_vec() }
    }

    fn view(&self) -> View<'_, f32> {
        View { data: &self.data, strides: &self.strides }
    }

    /// The element at a flat row-major place, by the definition of a strided view.
    fn at(&self, dims: &[usize], mut flat: usize) -> f32 {
        let mut offset = 0;
        for (&d, &s) in dims.iter().zip(&self.strides).rev() {
            offset += flat % d * s;
            flat /= d;
        }
        self.data[offset]
    }
}

/// Dims, and strides that go with them: contiguous, transposed, sliced, broadcast, permuted.
fn layouts() -> Vec<(Vec<usize>, Vec<Vec<usize>>)> {
    vec![
        (vec![], vec![vec![]]),
        (vec![1], vec![vec![1], vec![0], vec![7]]),
        (vec![0], vec![vec![1]]),
        (vec![3, 0, 2], vec![vec![0, 2, 1], vec![1, 3, 3]]),
        (vec![17], vec![vec![1], vec![0], vec![3]]),
        (vec![1500], vec![vec![1], vec![0], vec![2]]),
        (vec![70_001], vec![vec![1], vec![0], vec![2]]),
        (vec![4, 4], vec![vec![4, 1], vec![1, 4], vec![0, 1], vec![1, 0], vec![0, 0]]),
        (vec![300, 10], vec![vec![10, 1], vec![1, 300], vec![0, 1], vec![1, 0], vec![12, 1]]),
        (vec![10, 300], vec![vec![300, 1], vec![1, 10], vec![0, 1], vec![1, 0], vec![2, 40]]),
        (vec![3, 70_000], vec![vec![70_000, 1], vec![1, 3], vec![70_007, 1], vec![0, 1], vec![1, 0]]),
        (vec![70_000, 3], vec![vec![3, 1], vec![1, 70_000], vec![0, 1], vec![4, 1]]),
        (vec![130, 70], vec![vec![80, 1], vec![1, 1100], vec![0, 1], vec![70, 1]]),
        (vec![333, 517], vec![vec![517, 1], vec![1, 333], vec![1, 400], vec![0, 1], vec![1, 0], vec![1040, 2]]),
        (
            vec![5, 3, 40, 41],
            vec![vec![4920, 1640, 41, 1], vec![0, 1, 0, 0], vec![4920, 1, 123, 3], vec![1, 5, 15, 600]],
        ),
        (vec![2, 1, 3, 2, 1, 4, 2, 3], vec![vec![144, 9, 48, 24, 0, 6, 3, 1], vec![1, 0, 2, 6, 5, 12, 48, 96]]),
        (vec![2, 300, 4, 33], vec![vec![39_600, 132, 33, 1], vec![1, 2, 19_800, 600], vec![132, 264, 1, 4]]),
    ]
}

#[test]
fn every_strided_form_reads_the_elements_that_the_strides_name() {
    for (dims, strides) in layouts() {
        let n: usize = dims.iter().product();
        for (i, one) in strides.iter().enumerate() {
            let a = Operand::new(&dims, one, 1);
            let b = Operand::new(&dims, &strides[(i + 1) % strides.len()], 2);
            let c = Operand::new(&dims, &strides[(i + 2) % strides.len()], 3);
            let results = on_every_machine(
                || {
                    let mut y = [0; 4].map(|_| vec![f32::NAN; n]);
                    copy_strided(&dims, a.view(), &mut y[0]);
                    map_strided(&dims, a.view(), &mut y[1], |x: f32| x * 2.0 + 1.0);
                    zip_strided(&dims, a.view(), b.view(), &mut y[2], |a: f32, b: f32| a - b * b);
                    zip3_strided(&dims, a.view(), b.view(), c.view(), &mut y[3], |a: f32, b: f32, c: f32| a * b - c);
                    y
                },
                |y| y.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>(),
            );
            for y in results {
                let [copied, mapped, zipped, zipped3] = &y;
                for i in 0..n {
                    let (a, b, c) = (a.at(&dims, i), b.at(&dims, i), c.at(&dims, i));
                    assert_eq!(
                        [copied[i], mapped[i], zipped[i], zipped3[i]],
                        [a, a * 2.0 + 1.0, a - b * b, a * b - c],
                        "{dims:?} {one:?} at {i}"
                    );
                }
            }
        }
    }
}

#[test]
fn transposed_copies_of_numbers_of_any_size_keep_their_bits() {
    fn check<T: Element + PartialEq + std::fmt::Debug>(number: impl Fn(usize) -> T + Sync) {
        let [rows, columns] = [270, 301];
        let from: Vec<T> = (0..rows * columns).map(&number).collect();
        let results = on_every_machine(
            || {
                let mut to = vec![number(0); rows * columns];
                copy_strided(&[columns, rows], View { data: &from, strides: &[1, columns] }, &mut to);
                to
            },
            |_| (),
        );
        for to in results {
            for i in 0..rows * columns {
                assert_eq!(to[i], from[i % rows * columns + i / rows], "{i}");
            }
        }
    }
    check(|i| i % 3 == 0);
    check(|i| i as f32);
    check(|i| i as f64);
    // As floats they would be NaN, subnormal and others.
    check(|i| (i as i64).wrapping_mul(-0x61c8_8646_80b5_83eb));
}

#[test]
fn every_contiguous_form_visits_each_element_once() {
    for n in [0, 1, 2, 15, 16, 17, 1000, GRAIN, GRAIN + 1, 3 * GRAIN + 5] {
        let a: Vec<f64> = noise(n, 1);
        let b: Vec<i64> = (0..n as i64).map(|i| i % 13).collect();
        let c: Vec<bool> = (0..n).map(|i| i % 3 == 0).collect();
        let results = on_every_machine(
            || {
                let (mut mapped, mut zipped, mut selected) = (vec![0i64; n], vec![false; n], vec![0.0; n]);
                map(&a, &mut mapped, |x: f64| (x * 1e6) as i64);
                zip(&a, &b, &mut zipped, |x: f64, y: i64| x * 20.0 > y as f64);
                zip3(&c, &a, &b, &mut selected, |c: bool, x: f64, y: i64| if c { x } else { y as f64 });
                map_mut(&mut selected, |x: f64| x + 1.0);
                zip_mut(&mut selected, &a, |x: f64, y: f64| x * y);
                (mapped, zipped, selected)
            },
            |r| (r.0.clone(), r.1.clone(), r.2.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
        );
        for (mapped, zipped, selected) in results {
            for i in 0..n {
                assert_eq!(mapped[i], (a[i] * 1e6) as i64);
                assert_eq!(zipped[i], a[i] * 20.0 > b[i] as f64);
                assert_eq!(selected[i], (if c[i] { a[i] } else { b[i] as f64 } + 1.0) * a[i]);
            }
        }
    }
}

#[test]
#[should_panic(expected = "the view reaches element 4 of 4")]
fn a_view_beyond_its_data_is_refused() {
    copy_strided(&[2, 2], View { data: &[0.0f32; 4], strides: &[3, 1] }, &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "lengths differ")]
fn operands_of_different_lengths_are_refused() {
    map(&[0.0f32; 3], &mut [0.0f32; 4], |x: f32| x);
}

#[test]
fn passes_that_request_memory_ahead_reach_every_element_once() {
    for n in [(1 << 18) + 1, (1 << 18) + GRAIN + 777] {
        let of = |seed| noise(n, seed).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let (a, b, c) = (of(1), of(2), of(3));
        let results = on_every_machine(
            || {
                let mut y = [0; 4].map(|_| vec![f32::NAN; n]);
                map(&a, &mut y[0], |a| a * 3.0);
                zip(&a, &b, &mut y[1], |a, b| a - b);
                zip3(&a, &b, &c, &mut y[2], |a, b, c| a * b - c);
                y[3].copy_from_slice(&a);
                map_mut(&mut y[3], |a| a + 1.0);
                zip_mut(&mut y[3], &b, |a, b| a * b);
                y
            },
            |y| y.iter().map(|y| crate::kernels::testing::bits(y)).collect::<Vec<_>>(),
        );
        for y in results {
            for i in 0..n {
                let expected = [a[i] * 3.0, a[i] - b[i], a[i] * b[i] - c[i], (a[i] + 1.0) * b[i]];
                assert_eq!([y[0][i], y[1][i], y[2][i], y[3][i]], expected, "{i} of {n}");
            }
        }
    }
}
