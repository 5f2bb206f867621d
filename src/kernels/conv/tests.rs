use super::*;
use crate::kernels::pool::{self, Pool2d};
use crate::kernels::testing::{bits, noise, on_every_machine};

/// The three passes by their definition, in `f64`: y, dx, dw, db. Both y and dx have a bias, `shift` is that of dx.
fn reference(conv: &Conv, [x, weight, bias, dy, shift]: [&[f64]; 5]) -> [Vec<f64>; 4] {
    let [oh, ow] = conv.output();
    let (cg, og) = (conv.in_channels / conv.groups, conv.out_channels / conv.groups);
    let mut y = vec![0.0; conv.output_len()];
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; bias.len()]);
    let plane = conv.input[0] * conv.input[1];
    dx.iter_mut().enumerate().for_each(|(i, dx)| *dx = shift[i / plane % conv.in_channels]);
    for b in 0..conv.batch {
        for o in 0..conv.out_channels {
            for i in 0..oh {
                for j in 0..ow {
                    let at = ((b * conv.out_channels + o) * oh + i) * ow + j;
                    y[at] += bias[o];
                    db[o] += dy[at];
                    for c in 0..cg {
                        for u in 0..conv.kernel[0] {
                            for v in 0..conv.kernel[1] {
                                let h = (i * conv.stride[0] + u * conv.dilation[0]) as isize - conv.padding[0] as isize;
                                let w = (j * conv.stride[1] + v * conv.dilation[1]) as isize - conv.padding[1] as isize;
                                if h < 0 || w < 0 || h >= conv.input[0] as isize || w >= conv.input[1] as isize {
                                    continue;
                                }
                                let plane = b * conv.in_channels + o / og * cg + c;
                                let from = (plane * conv.input[0] + h as usize) * conv.input[1] + w as usize;
                                let tap = ((o * cg + c) * conv.kernel[0] + u) * conv.kernel[1] + v;
                                y[at] += weight[tap] * x[from];
                                dx[from] += weight[tap] * dy[at];
                                dw[tap] += dy[at] * x[from];
                            }
                        }
                    }
                }
            }
        }
    }
    [y, dx, dw, db]
}

/// Which way a pass takes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Chosen,
    Direct,
    Pixels,
    Depthwise,
    Winograd,
}

const GOALS: [Goal; 3] = [Goal::Output, Goal::GradInput, Goal::GradWeight];

fn plain<T>(plain: &[T]) -> Weights<'_, T> {
    Weights { plain, packed: None }
}

/// A pass by minimal filtering, or else directly.
fn run<T: Float>(way: Way, pass: &Pass<T>, y: &mut [T]) {
    match way {
        _ if y.is_empty() => {}
        Way::Winograd => winograd::run(simd::isa(), pass, y),
        _ => direct::run(simd::isa(), pass, y),
    }
}

fn passes<T: Float>(conv: &Conv, way: Way, [x, weight, bias, dy, shift]: [&[T]; 5], relu: bool) -> [Vec<T>; 4] {
    let isa = simd::isa();
    // Not zeros: every number has to be written.
    let junk = T::of(77.0);
    let (mut y, mut dx) = (vec![junk; conv.output_len()], vec![junk; x.len()]);
    let (mut dw, mut db) = (vec![junk; weight.len()], vec![junk; bias.len()]);
    let (after, shift) = (After { bias: Some(bias), relu }, Some(shift));
    let minimal = matches!(way, Way::Winograd);
    match way {
        Way::Chosen => {
            forward(conv, x, plain(weight), after, &mut y);
            if let Some((_, len)) = packs::<T>(conv, false) {
                let (mut again, mut packed) = (vec![junk; y.len()], vec![junk; len]);
                pack(conv, weight, &mut packed);
                forward(conv, x, Weights { plain: weight, packed: Some(&packed) }, after, &mut again);
                assert_eq!(bits(&y), bits(&again), "{conv:?}: packed before");
            }
            grad_input(conv, dy, weight, shift, &mut dx);
            grad_weight(conv, x, dy, &mut dw, Some(&mut db));
        }
        Way::Direct | Way::Winograd => {
            run(way, &Pass::forward(conv, x, plain(weight), after), &mut y);
            let width = T::kernels(isa).width();
            let len = if minimal { winograd::packed_len(conv, width) } else { direct::packed_len(conv, width) };
            let (mut again, mut packed) = (vec![junk; y.len()], vec![junk; len]);
            if minimal {
                winograd::pack(isa, conv, weight, &mut packed);
            } else {
                direct::pack(isa, conv, weight, &mut packed);
            }
            let packed = Weights { plain: &[], packed: Some(&packed) };
            run(way, &Pass::forward(conv, x, packed, after), &mut again);
            assert_eq!(bits(&y), bits(&again), "{conv:?}: packed before");
            run(way, &Pass::grad_input(conv, dy, weight, shift), &mut dx);
            if minimal {
                winograd::grad_weight(isa, conv, x, dy, &mut dw, Some(&mut db));
            } else {
                weight::grad_weight(isa, conv, x, dy, &mut dw, Some(&mut db));
            }
        }
        Way::Depthwise => {
            depthwise::forward(isa, conv, x, weight, after, &mut y);
            if conv.group_in() == 1 && depthwise::turns(conv) {
                depthwise::grad_input(isa, conv, dy, weight, shift, &mut dx);
            } else {
                pixels::grad_input(isa, conv, dy, weight, shift, &mut dx);
            }
            planes::grad_weight(isa, conv, x, dy, &mut dw);
            planes::grad_bias(isa, conv, dy, &mut db);
        }
        Way::Pixels => {
            pixels::forward(isa, conv, x, weight, after, &mut y);
            pixels::grad_input(isa, conv, dy, weight, shift, &mut dx);
            planes::grad_weight(isa, conv, x, dy, &mut dw);
            planes::grad_bias(isa, conv, dy, &mut db);
        }
    }
    [y, dx, dw, db]
}

fn check<T: Float>(conv: Conv, way: Way) {
    let lens = [conv.input_len(), conv.weight_len(), conv.out_channels, conv.output_len(), conv.in_channels];
    let mut seed = 0;
    let exact = lens.map(|len| {
        seed += 1;
        // As the type holds them.
        noise(len, seed).into_iter().map(|x| T::of(x).to_f64()).collect::<Vec<f64>>()
    });
    let expected = reference(&conv, exact.each_ref().map(|v| &v[..]));
    let magnitudes = exact.each_ref().map(|v| v.iter().map(|x| x.abs()).collect::<Vec<f64>>());
    let sizes = reference(&conv, magnitudes.each_ref().map(|v| &v[..]));
    let typed = exact.each_ref().map(|v| v.iter().map(|&x| T::of(x)).collect::<Vec<T>>());
    let relu = conv.batch % 2 == 1;
    let results = on_every_machine(
        || passes(&conv, way, typed.each_ref().map(|v| &v[..]), relu),
        |all| all.each_ref().map(|v| bits(v)),
    );
    // Minimal filtering rounds numbers that cancel: every pixel under a kernel times any of the kernel's weights.
    let minimal = |isa, pass: usize| match way {
        Way::Winograd => true,
        Way::Chosen => simd::with_isa(isa, || winograd::pays::<T>(&conv, GOALS[pass.min(2)])),
        Way::Direct | Way::Pixels | Way::Depthwise => false,
    };
    let summed = |v: &[f64]| {
        let kernel = conv.taps();
        v.chunks(kernel).flat_map(|v| vec![v.iter().sum::<f64>(); kernel]).collect::<Vec<f64>>()
    };
    let [x, weight, bias, dy, shift] = &magnitudes;
    let [y, dx, ..] = reference(&conv, [x, &summed(weight), bias, dy, shift]);
    let mut of_minimal = [y, dx, summed(&sizes[2]), sizes[3].clone()];
    if conv.kernel == [4, 4] {
        // Tiles are larger than the kernel: any pixel of theirs.
        for sizes in &mut of_minimal[..3] {
            let most = sizes.iter().copied().fold(0.0, f64::max);
            sizes.fill(most);
        }
    }
    for (isa, all) in simd::Isa::available().into_iter().zip(results) {
        for (n, name) in ["y", "dx", "dw", "db"].into_iter().enumerate() {
            let minimal = minimal(isa, n);
            for (i, (&found, &expected)) in all[n].iter().zip(&expected[n]).enumerate() {
                let expected = if relu && n == 0 { expected.max(0.0) } else { expected };
                let size = if minimal { of_minimal[n][i] } else { sizes[n][i] };
                let bound = 8.0 * T::EPSILON.to_f64() * size.max(1e-30);
                let difference = (found.to_f64() - expected).abs();
                assert!(difference <= bound, "{name}[{i}] of {conv:?} {way:?}: {found}, expected {expected}");
            }
        }
    }
}

fn conv(batch: usize, channels: [usize; 3], input: [usize; 2], kernel: [usize; 2]) -> Conv {
    let [in_channels, out_channels, groups] = channels;
    let (stride, padding, dilation) = ([1, 1], [0, 0], [1, 1]);
    Conv { batch, in_channels, out_channels, groups, input, kernel, stride, padding, dilation }
}

#[test]
fn all_passes_agree_with_their_definition_for_every_geometry() {
    for way in [Way::Direct, Way::Pixels, Way::Depthwise] {
        for kernel in [[1, 1], [3, 3], [2, 4]] {
            for stride in [[1, 1], [2, 3], [3, 2], [2, 1]] {
                for padding in [[0, 0], [1, 2], [3, 0]] {
                    for dilation in [[1, 1], [2, 3]] {
                        let conv = Conv { stride, padding, dilation, ..conv(2, [3, 5, 1], [9, 11], kernel) };
                        check::<f32>(conv, way);
                    }
                }
            }
        }
    }
}

#[test]
fn planes_of_their_own_kernels_agree_with_the_definition() {
    for channels in [[3, 3, 3], [2, 8, 2]] {
        for kernel in [[3, 3], [5, 5], [5, 2], [1, 3], [7, 7]] {
            for (stride, dilation) in [([1, 1], [1, 1]), ([2, 2], [1, 1]), ([2, 1], [1, 2]), ([1, 3], [2, 1])] {
                for input in [[9, 3], [13, 8], [2, 20], [1, 1], [21, 37]] {
                    let shape = Conv { stride, dilation, ..conv(2, channels, input, kernel) };
                    // Half of what the kernel covers, and all but a pixel of it.
                    let reach = [0, 1].map(|i| shape.reach(i));
                    for padding in [reach.map(|n| n / 2), reach.map(|n| n - 1)] {
                        let shape = Conv { padding, ..shape };
                        if (0..2).any(|i| reach[i] > input[i] + 2 * padding[i]) {
                            continue;
                        }
                        check::<f32>(shape, Way::Depthwise);
                        check::<f32>(shape, Way::Chosen);
                        if kernel == [3, 3] {
                            check::<f64>(shape, Way::Depthwise);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn all_passes_agree_with_their_definition_for_every_number_of_channels() {
    for way in [Way::Chosen, Way::Direct, Way::Pixels, Way::Depthwise] {
        for channels in [[1, 1, 1], [1, 32, 1], [17, 33, 1], [40, 2, 1], [6, 6, 6], [4, 12, 4], [36, 34, 2]] {
            for batch in [1, 3, 16] {
                check::<f32>(Conv { padding: [1, 1], ..conv(batch, channels, [5, 6], [3, 3]) }, way);
                check::<f64>(Conv { stride: [2, 2], ..conv(batch, channels, [5, 6], [3, 2]) }, way);
            }
        }
    }
}

#[test]
fn long_sums_and_large_planes_are_cut_without_loss() {
    for way in [Way::Chosen, Way::Direct, Way::Pixels] {
        check::<f32>(conv(2, [70, 35, 1], [7, 7], [3, 3]), way);
        check::<f32>(Conv { padding: [1, 1], ..conv(2, [8, 40, 1], [40, 33], [3, 3]) }, way);
        check::<f64>(conv(1, [300, 20, 1], [4, 5], [1, 1]), way);
        check::<f32>(Conv { stride: [2, 2], padding: [1, 1], ..conv(3, [16, 24, 1], [30, 30], [4, 4]) }, way);
    }
}

#[test]
fn planes_narrower_than_the_padding_see_only_zeros() {
    for way in [Way::Chosen, Way::Direct, Way::Pixels] {
        check::<f32>(Conv { padding: [3, 3], ..conv(2, [2, 20, 1], [1, 2], [2, 2]) }, way);
        check::<f32>(Conv { padding: [40, 0], ..conv(1, [2, 20, 1], [2, 30], [1, 1]) }, way);
        check::<f64>(Conv { padding: [3, 2], stride: [3, 3], ..conv(1, [20, 3, 1], [2, 1], [1, 1]) }, way);
    }
}

#[test]
fn without_images_or_channels_gradients_are_zero_and_the_output_is_the_bias() {
    check::<f32>(conv(0, [3, 5, 1], [9, 11], [3, 3]), Way::Chosen);
    check::<f32>(conv(2, [0, 20, 1], [4, 4], [3, 3]), Way::Chosen);
    check::<f32>(conv(2, [3, 0, 1], [4, 4], [3, 3]), Way::Chosen);
    check::<f32>(Conv { padding: [1, 1], ..conv(2, [3, 20, 1], [0, 4], [2, 2]) }, Way::Chosen);
}

#[test]
fn minimal_filtering_agrees_with_the_definition() {
    for (channels, batch) in [([1, 1, 1], 2), ([3, 17, 1], 5), ([40, 33, 1], 1), ([6, 10, 2], 3)] {
        for input in [[3, 3], [4, 5], [9, 12], [20, 37], [2, 1]] {
            for padding in [[0, 0], [1, 1], [2, 1], [0, 2]] {
                if [0, 1].iter().all(|&i| input[i] + 2 * padding[i] >= 3) {
                    check::<f32>(Conv { padding, ..conv(batch, channels, input, [3, 3]) }, Way::Winograd);
                }
            }
        }
    }
    for width in 1..=36 {
        for padding in [0, 1, 2] {
            if width + 2 * padding >= 3 {
                check::<f32>(Conv { padding: [1, padding], ..conv(1, [2, 3, 1], [3, width], [3, 3]) }, Way::Winograd);
            }
        }
    }
    // The shape of the fixture by PyTorch and those of residual networks go this way.
    for (batch, channels, size) in [(1, 12, 32), (1, 64, 56), (32, 64, 32), (32, 512, 4)] {
        let conv = Conv { padding: [1, 1], ..conv(batch, [channels, channels, 1], [size, size], [3, 3]) };
        for isa in simd::Isa::available() {
            simd::with_isa(isa, || assert!(GOALS.iter().all(|&goal| winograd::pays::<f32>(&conv, goal)), "{conv:?}"));
        }
        assert!(!winograd::pays::<f64>(&conv, Goal::Output));
    }
    // Where a product of 512 bits takes two cycles, more of them go this way: the second layer of `mnist_cnn`, backward.
    let second = conv(64, [32, 64, 1], [13, 13], [3, 3]);
    assert_eq!([1, 2].map(|product| winograd::saves(&second, Goal::GradInput, 32, product)), [false, true]);
    check::<f32>(Conv { padding: [1, 1], ..conv(1, [12, 12, 1], [32, 32], [3, 3]) }, Way::Chosen);
    // Many blocks and slices, parts of the channels, teams of panels.
    for (batch, channels, input) in
        [(1, [12, 12, 1], [32, 32]), (9, [16, 40, 1], [16, 30]), (2, [300, 80, 1], [4, 4]), (5, [80, 150, 2], [7, 7])]
    {
        check::<f32>(Conv { padding: [1, 1], ..conv(batch, channels, input, [3, 3]) }, Way::Winograd);
    }
}

#[test]
fn minimal_filtering_by_phases_agrees_with_the_definition() {
    for (channels, batch) in [([1, 1, 1], 2), ([3, 17, 1], 5), ([40, 33, 1], 1), ([6, 10, 2], 3)] {
        for input in [[4, 4], [5, 7], [9, 12], [20, 37], [2, 1]] {
            for padding in [[0, 0], [1, 1], [2, 1], [0, 3], [3, 2]] {
                if [0, 1].iter().all(|&i| input[i] + 2 * padding[i] >= 4) {
                    let conv = Conv { padding, stride: [2, 2], ..conv(batch, channels, input, [4, 4]) };
                    check::<f32>(conv, Way::Winograd);
                }
            }
        }
    }
    for (batch, channels, input) in
        [(64, [64, 128, 1], [14, 14]), (9, [16, 40, 1], [16, 30]), (2, [300, 80, 1], [4, 4]), (5, [80, 150, 2], [7, 7])]
    {
        let conv = Conv { padding: [1, 1], stride: [2, 2], ..conv(batch, channels, input, [4, 4]) };
        check::<f32>(conv, Way::Winograd);
    }
    // The shape of the fixture by PyTorch, by the widths of tiles and the cycles of a product.
    let fixture = Conv { padding: [1, 1], stride: [2, 2], ..conv(1, [16, 32, 1], [32, 32], [4, 4]) };
    let ways = [(8, 1), (16, 1), (32, 2), (32, 1)];
    assert_eq!(ways.map(|(w, p)| winograd::saves(&fixture, Goal::Output, w, p)), [true, true, true, false]);
    assert_eq!(ways.map(|(w, p)| winograd::saves(&fixture, Goal::GradWeight, w, p)), [true, true, false, false]);
    // Tiles of 4 x 4 fit 7 x 7 pixels well, but not 5 x 5.
    let of = |size| Conv { padding: [1, 1], stride: [2, 2], ..conv(64, [64, 128, 1], [size, size], [4, 4]) };
    for isa in simd::Isa::available() {
        simd::with_isa(isa, || {
            assert_eq!(GOALS.map(|goal| winograd::pays::<f32>(&of(14), goal)), [true; 3]);
            assert_eq!(GOALS.map(|goal| winograd::pays::<f32>(&of(10), goal)), [false; 3]);
            assert_eq!(GOALS.map(|goal| winograd::pays::<f64>(&of(14), goal)), [false; 3]);
        });
    }
}

/// A convolution and the pooling behind it, joined and one after the other: values and taps.
fn halved<T: Float>(conv: &Conv, [x, weight, bias]: [&[T]; 3], relu: bool, way: Way, joined: bool) -> [Vec<T>; 2] {
    let [oh, ow] = conv.output();
    let len = conv.batch * conv.out_channels * (oh / 2) * (ow / 2);
    let (mut y, mut again, mut taps) = (vec![T::of(77.0); len], vec![T::of(77.0); len], vec![77_u8; len]);
    let after = After { bias: Some(bias), relu };
    let pass = |relu| Pass::forward(conv, x, plain(weight), After { relu, ..after });
    if joined {
        run(way, &pass(relu).halved(Some(&mut taps)), &mut y);
        run(way, &pass(relu).halved(None), &mut again);
        assert_eq!(bits(&y), bits(&again));
    } else {
        let mut whole = vec![T::ZERO; conv.output_len()];
        run(way, &pass(false), &mut whole);
        let pool = Pool2d {
            planes: conv.batch * conv.out_channels,
            input: [oh, ow],
            output: [oh / 2, ow / 2],
            kernel: [2, 2],
            stride: [2, 2],
            padding: [0, 0],
            dilation: [1, 1],
        };
        pool::max::forward_places(&pool, &whole, &mut y, &mut taps);
        if relu {
            taps.iter_mut().zip(&y).filter(|(_, y)| **y <= T::ZERO || y.is_nan()).for_each(|(tap, _)| *tap = 4);
            y.iter_mut().for_each(|y| *y = y.relu());
        }
    }
    [y, taps.into_iter().map(|tap| T::of(f64::from(tap))).collect()]
}

#[test]
fn convolution_joined_with_pooling_gives_the_bits_of_one_after_the_other() {
    fn check<T: Float>(conv: Conv, way: Way) {
        // Few different numbers make ties; one NaN.
        let values = |len, seed| noise(len, seed).into_iter().map(|x| T::of((3.0 * x).round())).collect::<Vec<T>>();
        let mut x = values(conv.input_len(), 1);
        if let Some(x) = x.last_mut() {
            *x = T::of(f64::NAN);
        }
        let (weight, bias) = (values(conv.weight_len(), 2), values(conv.out_channels, 3));
        for relu in [false, true] {
            let run = |joined| {
                let run = || halved(&conv, [&x, &weight, &bias], relu, way, joined);
                on_every_machine(run, |all| all.each_ref().map(|v| bits(v)))
            };
            for (joined, apart) in run(true).iter().zip(&run(false)) {
                for n in [0, 1] {
                    assert_eq!(bits(&joined[n]), bits(&apart[n]), "{conv:?}, relu {relu}");
                }
            }
        }
    }
    for channels in [[1, 32, 1], [3, 17, 1], [2, 40, 2], [2, 3, 1]] {
        for (batch, input) in [(1, [28, 28]), (1, [5, 33]), (3, [7, 8]), (20, [4, 5]), (2, [4, 3]), (0, [6, 6])] {
            check::<f32>(conv(batch, channels, input, [3, 3]), Way::Direct);
            check::<f64>(Conv { stride: [2, 1], padding: [2, 1], ..conv(batch, channels, input, [3, 2]) }, Way::Direct);
            check::<f32>(conv(batch, channels, input, [3, 3]), Way::Winograd);
            check::<f32>(Conv { padding: [2, 1], ..conv(batch, channels, input, [3, 3]) }, Way::Winograd);
            for padding in [[1, 1], [3, 2]] {
                let conv = Conv { stride: [2, 2], padding, ..conv(batch, channels, input, [4, 4]) };
                check::<f32>(conv, Way::Winograd);
            }
        }
    }
}
