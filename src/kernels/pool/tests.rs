use super::{Pool2d, average, max, output_size};
use crate::kernels::testing::{bits, noise, on_every_machine};

/// Poolings of every kind of size: halving with even and odd images, overlapping, padded, dilated, with a row or column
/// that no window covers, with windows that hang over the edge, empty ones.
fn poolings() -> Vec<Pool2d> {
    let mut all = Vec::new();
    let mut add = |planes, input: [usize; 2], kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2], dilation| {
        for ceil_mode in [false, true] {
            let size = |a: usize| output_size(input[a], kernel[a], stride[a], padding[a], dilation, ceil_mode).unwrap();
            let output = [size(0), size(1)];
            all.push(Pool2d { planes, input, output, kernel, stride, padding, dilation: [dilation; 2] });
        }
    };
    for width in [2, 3, 4, 5, 9, 11, 16, 24, 26, 31, 33, 40, 67] {
        add(3, [5, width], [2, 2], [2, 2], [0, 0], 1);
    }
    add(70, [24, 24], [2, 2], [2, 2], [0, 0], 1);
    add(9, [112, 40], [3, 3], [2, 2], [1, 1], 1);
    add(2, [7, 9], [3, 2], [1, 3], [1, 0], 1);
    add(2, [9, 8], [2, 3], [2, 1], [1, 1], 2);
    add(2, [9, 23], [2, 3], [1, 2], [1, 1], 2);
    add(2, [11, 23], [2, 3], [1, 2], [1, 1], 3);
    add(2, [3, 5000], [2, 3], [2, 2], [1, 1], 1);
    add(2, [9, 9], [1, 1], [3, 3], [0, 0], 1);
    add(1, [1, 1], [1, 1], [1, 1], [0, 0], 1);
    add(4, [4, 4], [4, 4], [4, 4], [0, 0], 1);
    add(1, [20, 19], [17, 18], [1, 1], [8, 9], 1);
    add(1, [1, 1], [2, 2], [1, 1], [1, 1], 2);
    add(0, [6, 6], [2, 2], [2, 2], [0, 0], 1);
    all
}

/// The places in the image that a window covers: tap and element.
fn window(p: &Pool2d, oy: usize, ox: usize) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    for tap in 0..p.kernel[0] * p.kernel[1] {
        let at = |o: usize, k: usize, a: usize| (o * p.stride[a] + k * p.dilation[a]).checked_sub(p.padding[a]);
        if let (Some(y), Some(x)) = (at(oy, tap / p.kernel[1], 0), at(ox, tap % p.kernel[1], 1))
            && y < p.input[0]
            && x < p.input[1]
        {
            all.push((tap, y * p.input[1] + x));
        }
    }
    all
}

/// Calls `f(window, its places in all images)`.
fn for_windows(p: &Pool2d, mut f: impl FnMut(usize, Vec<(usize, usize)>)) {
    let mut number = 0;
    for plane in 0..p.planes {
        for oy in 0..p.output[0] {
            for ox in 0..p.output[1] {
                let shift = plane * p.input[0] * p.input[1];
                f(number, window(p, oy, ox).into_iter().map(|(tap, at)| (tap, shift + at)).collect());
                number += 1;
            }
        }
    }
}

/// Numbers with many equal ones, some infinite and some NaN.
fn awkward(n: usize) -> Vec<f32> {
    let numbers = noise(n, 5).into_iter().map(|x| (x * 4.0).round() as f32);
    numbers
        .enumerate()
        .map(|(i, x)| match i % 23 {
            7 => f32::NAN,
            11 | 12 => f32::NEG_INFINITY,
            13 => f32::INFINITY,
            _ => x,
        })
        .collect()
}

#[test]
fn the_maximum_is_the_first_largest_and_its_gradient_goes_where_it_came_from() {
    for p in poolings() {
        let (inputs, outputs) = (p.planes * p.area(), p.planes * p.windows());
        let grad: Vec<f64> = noise(outputs, 9);
        let grad32: Vec<f32> = grad.iter().map(|&g| g as f32).collect();
        for x in
            [awkward(inputs), noise(inputs, 4).iter().map(|&x| x as f32).collect(), vec![f32::NEG_INFINITY; inputs]]
        {
            let results = on_every_machine(
                || {
                    let (mut plain, mut y, mut wide_y) = (vec![9.0; outputs], vec![9.0; outputs], vec![9.0; outputs]);
                    let (mut narrow, mut wide) = (vec![0_u8; outputs], vec![0_i64; outputs]);
                    let (mut dx, mut back) = (vec![9.0; inputs], vec![9.0; outputs]);
                    max::forward(&p, &x, &mut plain);
                    max::forward_places(&p, &x, &mut wide_y, &mut wide);
                    if p.taps() < 256 {
                        max::forward_places(&p, &x, &mut y, &mut narrow);
                        assert!(narrow.iter().zip(&wide).all(|(&a, &b)| i64::from(a) == b), "{p:?}");
                        assert_eq!(bits(&y), bits(&wide_y), "{p:?}");
                        max::scatter(&p, &grad32, &narrow, &mut dx);
                    } else {
                        max::scatter(&p, &grad32, &wide, &mut dx);
                    }
                    assert_eq!(bits(&plain), bits(&wide_y), "{p:?}");
                    max::gather(&p, &dx, &wide, &mut back);
                    (plain, wide, dx, back)
                },
                |r| (bits(&r.0), r.1.clone(), bits(&r.2), bits(&r.3)),
            );
            for (y, places, dx, back) in results {
                let mut expected = vec![0.0; inputs];
                for_windows(&p, |number, covered| {
                    let Some(&first) = covered.first() else {
                        assert_eq!((y[number], places[number]), (f32::NEG_INFINITY, p.taps() as i64), "{p:?}");
                        return assert_eq!(back[number], 0.0);
                    };
                    let (_, at) =
                        *covered.iter().find(|(tap, _)| *tap as i64 == places[number]).expect("in the window");
                    let best = covered.iter().fold(first, |best, &next| {
                        let (a, b) = (x[best.1], x[next.1]);
                        if !a.is_nan() && (b.is_nan() || b > a) { next } else { best }
                    });
                    if x[best.1].is_nan() {
                        assert!(y[number].is_nan() && x[at].is_nan(), "{p:?}: window {number}");
                    } else {
                        assert_eq!((y[number], at), (x[best.1], best.1), "{p:?}: window {number}");
                    }
                    expected[at] += grad[number];
                    assert_eq!(back[number], dx[at], "{p:?}: window {number}");
                });
                for (dx, expected) in dx.iter().zip(&expected) {
                    assert!((f64::from(*dx) - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{p:?}");
                }
            }
        }
    }
}

#[test]
fn the_average_and_its_gradient_agree_with_f64() {
    for p in poolings().into_iter().filter(|p| p.dilation == [1; 2]) {
        let (inputs, outputs) = (p.planes * p.area(), p.planes * p.windows());
        let (x, grad) = (noise(inputs, 1), noise(outputs, 2));
        let [x32, grad32] = [&x, &grad].map(|v| v.iter().map(|&v| v as f32).collect::<Vec<_>>());
        for include_padding in [false, true] {
            let results = on_every_machine(
                || {
                    let (mut y, mut dx) = (vec![9.0; outputs], vec![9.0; inputs]);
                    average::forward(&p, include_padding, &x32, &mut y);
                    average::backward(&p, include_padding, &grad32, &mut dx);
                    (y, dx)
                },
                |(y, dx)| (bits(y), bits(dx)),
            );
            // How many places of an axis are counted, by walking over them.
            let counted = |a: usize, o: usize| {
                let places = (0..p.kernel[a]).map(|k| o * p.stride[a] + k);
                let pad = p.padding[a];
                let inside = |&at: &usize| {
                    at < p.input[a] + 2 * pad && (include_padding || (at >= pad && at < p.input[a] + pad))
                };
                places.filter(inside).count()
            };
            for (y, dx) in results {
                let mut expected = vec![0.0; inputs];
                for_windows(&p, |number, covered| {
                    let (oy, ox) = (number % p.windows() / p.output[1], number % p.output[1]);
                    let count = (counted(0, oy) * counted(1, ox)).max(1) as f64;
                    let mean = covered.iter().map(|&(_, at)| x[at]).sum::<f64>() / count;
                    assert!((f64::from(y[number]) - mean).abs() < 1e-5, "{p:?}: window {number}");
                    covered.iter().for_each(|&(_, at)| expected[at] += grad[number] / count);
                });
                for (at, (dx, expected)) in dx.iter().zip(&expected).enumerate() {
                    assert!((f64::from(*dx) - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{p:?} at {at}");
                }
            }
        }
    }
}

#[test]
fn windows_are_counted_as_pytorch_counts_them() {
    // torch.nn.functional.max_pool2d on an axis of these sizes, version 2.15.
    assert_eq!(output_size(24, 2, 2, 0, 1, false), Some(12));
    assert_eq!(output_size(11, 2, 2, 0, 1, false), Some(5));
    assert_eq!(output_size(11, 2, 2, 0, 1, true), Some(6));
    assert_eq!(output_size(6, 2, 3, 0, 1, true), Some(2));
    assert_eq!(output_size(5, 3, 2, 1, 1, true), Some(3));
    assert_eq!(output_size(4, 2, 4, 1, 1, true), Some(2));
    assert_eq!(output_size(3, 2, 1, 0, 2, false), Some(1));
    assert_eq!(output_size(2, 3, 1, 0, 1, false), None);
}
