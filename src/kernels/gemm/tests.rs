use super::panels::Cut;
use super::*;
use crate::kernels::parallel::with_num_threads;
use crate::kernels::simd::{Isa, with_isa};

/// Whole numbers of magnitude 8: products and sums are exact, so any order gives the same bits.
fn numbers<T: Float>(len: usize, seed: usize) -> Vec<T> {
    (0..len).map(|i| T::of((((i * 7919 + seed * 104_729) / 3) % 17) as f64 - 8.0)).collect()
}

/// A matrix in one of the layouts: row-contiguous, column-contiguous, both strided, broadcast over rows, over columns.
fn strides(layout: usize, rows: usize, columns: usize) -> [usize; 2] {
    [[columns, 1], [1, rows], [2 * columns + 3, 2], [0, 1], [1, 0]][layout]
}

fn check<T: Float>([m, k, n]: [usize; 3], layouts: [usize; 2], accumulate: bool, bias: bool, relu: bool) {
    let (sa, sb) = (strides(layouts[0], m, k), strides(layouts[1], k, n));
    let len = |s: [usize; 2], r: usize, c: usize| if r * c == 0 { 0 } else { (r - 1) * s[0] + (c - 1) * s[1] + 1 };
    let (a, b) = (numbers::<T>(len(sa, m, k), 1), numbers::<T>(len(sb, k, n), 2));
    let ldc = n + 3;
    let start = numbers::<T>(m * ldc, 3);
    let biases = numbers::<T>(n, 4);
    let mut c = start.clone();
    let epilogue = Epilogue { bias_row: bias.then_some(&biases[..]), relu };
    let mat = |data, [row_stride, col_stride]: [usize; 2]| Mat { data, row_stride, col_stride };
    gemm(m, k, n, mat(&a, sa), mat(&b, sb), &mut c, ldc, accumulate, epilogue);
    for i in 0..m {
        for j in 0..ldc {
            let mut x = start[i * ldc + j];
            if j < n {
                if !accumulate {
                    x = T::ZERO;
                }
                for p in 0..k {
                    x += a[i * sa[0] + p * sa[1]] * b[p * sb[0] + j * sb[1]];
                }
                if bias {
                    x += biases[j];
                }
                if relu {
                    x = x.maximum(T::ZERO);
                }
            }
            assert_eq!(c[i * ldc + j], x, "C[{i}, {j}] of {m} x {k} x {n}, layouts {layouts:?}");
        }
    }
}

#[test]
fn product_is_exact_for_every_size_layout_and_isa() {
    for isa in Isa::available() {
        with_isa(isa, || {
            for m in [0, 1, 2, 5, 13, 14, 15, 29, 64] {
                for n in [0, 1, 3, 8, 16, 17, 31, 32, 33, 70] {
                    for k in [0, 1, 3, 4, 9, 33] {
                        let flags = m + n + k;
                        check::<f32>(
                            [m, k, n],
                            [flags % 5, (flags / 2) % 5],
                            flags % 2 == 0,
                            flags % 3 == 0,
                            flags % 7 < 3,
                        );
                        check::<f64>(
                            [m, k, n],
                            [(flags / 3) % 5, flags % 5],
                            flags % 3 == 0,
                            flags % 2 == 0,
                            flags % 5 < 2,
                        );
                    }
                }
            }
        });
    }
}

#[test]
fn large_product_is_exact_in_every_blocking() {
    for isa in Isa::available() {
        with_isa(isa, || {
            for layout in [[0, 0], [0, 1], [1, 0]] {
                check::<f32>([300, 520, 600], layout, false, true, true);
                check::<f32>([64, 2100, 30], layout, true, true, false);
                check::<f64>([20, 300, 700], layout, true, false, false);
                // Halves of the sum, alone and in teams.
                for threads in [2, 4, 5] {
                    with_num_threads(threads, || {
                        check::<f32>([80, 1500, 260], layout, true, true, true);
                        check::<f64>([80, 1500, 260], layout, false, false, true);
                    });
                }
                check::<f32>([1, 700, 900], layout, false, true, false);
                check::<f32>([900, 700, 1], layout, true, true, true);
            }
        });
    }
}

#[test]
fn batched_product_equals_single_products() {
    let (m, k, n, batch) = (5, 7, 33, 50);
    let (a, b) = (numbers::<f32>(m * k * batch, 1), numbers::<f32>(k * n, 2));
    let a_offsets: Vec<usize> = (0..batch).map(|i| i * m * k).collect();
    let mut c = vec![0.0; batch * m * n];
    let (a_view, b_view) =
        (Mat { data: &a, row_stride: k, col_stride: 1 }, Mat { data: &b, row_stride: n, col_stride: 1 });
    gemm_batched(m, k, n, a_view, &a_offsets, b_view, &vec![0; batch], &mut c);
    let mut whole = vec![0.0; batch * m * n];
    gemm(batch * m, k, n, a_view, b_view, &mut whole, n, false, Epilogue::default());
    assert_eq!(c, whole);
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads_nor_on_layouts() {
    let sizes = [
        [200, 700, 300],
        [64, 9000, 96],
        [64, 256, 1024],
        [512, 64, 700],
        [128, 768, 512],
        [96, 1400, 700],
        [96, 3200, 100],
    ];
    for (isa, [m, k, n]) in Isa::available().into_iter().flat_map(|isa| sizes.map(|sizes| (isa, sizes))) {
        let wave = |len: usize| (0..len).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
        let (a, b, bias) = (wave(m * k), wave(k * n), wave(n));
        let turned = |x: &[f32], rows: usize| -> Vec<f32> {
            (0..x.len()).map(|i| x[i % rows * (x.len() / rows) + i / rows]).collect()
        };
        let (a_turned, b_turned) = (turned(&a, m), turned(&b, k));
        let product = |accumulate: bool, threads: usize, turned: [bool; 2]| {
            let [row, column] = [
                |data, width| Mat { data, row_stride: width, col_stride: 1 },
                |data, height| Mat { data, row_stride: 1, col_stride: height },
            ];
            let a = if turned[0] { column(&a_turned, m) } else { row(&a, k) };
            let b = if turned[1] { column(&b_turned, k) } else { row(&b, n) };
            let mut c = wave(m * n);
            let epilogue = Epilogue { bias_row: Some(&bias), relu: true };
            with_isa(isa, || with_num_threads(threads, || gemm(m, k, n, a, b, &mut c, n, accumulate, epilogue)));
            c
        };
        for accumulate in [false, true] {
            let expected = product(accumulate, 1, [false; 2]);
            for (threads, layouts) in [(1, 3), (2, 0), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1), (8, 1)] {
                let found = product(accumulate, threads, [layouts & 1 > 0, layouts & 2 > 0]);
                assert!(found == expected, "{isa:?}, {m} x {k} x {n}, {threads} threads, layouts {layouts}");
            }
        }
    }
}

#[test]
fn threads_share_out_what_they_have_written() {
    let rows = |width| Mat { data: &[0.0; 1][..], row_stride: width, col_stride: 1 };
    let columns = |height| Mat { data: &[0.0; 1][..], row_stride: 1, col_stride: height };
    let cut = |sizes: [usize; 3], a, b| {
        let units = [sizes[0].div_ceil(14), sizes[2].div_ceil(32)];
        panels::cut(sizes, units, [a, b], false, 2)
    };
    // A layer of few examples and its gradients: rows of the weight.
    assert_eq!(cut([64, 784, 512], rows(784), columns(784)), Cut::Columns);
    assert_eq!(cut([64, 512, 784], rows(512), rows(784)), Cut::Sum);
    assert_eq!(cut([512, 64, 784], columns(512), rows(784)), Cut::Rows);
    // Of many: rows of the batch.
    assert_eq!(cut([768, 128, 512], rows(128), columns(128)), Cut::Rows);
    assert_eq!(cut([768, 512, 128], rows(512), rows(128)), Cut::Rows);
    assert_eq!(cut([512, 768, 128], columns(512), rows(128)), Cut::Sum);
    // Three blocks of k are no halves.
    assert_eq!(cut([64, 1000, 784], rows(1000), rows(784)), Cut::Columns);
}

#[test]
fn nan_passes_through_relu() {
    for isa in Isa::available() {
        with_isa(isa, || {
            let (a, b) = ([f32::NAN], [1.0; 20]);
            let mut c = [0.0; 20];
            let view = |data| Mat { data, row_stride: 20, col_stride: 1 };
            gemm(1, 1, 20, view(&a), view(&b), &mut c, 20, false, Epilogue { bias_row: None, relu: true });
            assert!(c.iter().all(|x| x.is_nan()));
        });
    }
}

#[test]
fn a_packed_operand_gives_the_same_bits() {
    for isa in Isa::available() {
        with_isa(isa, || {
            let mut packed_ones = 0;
            for [m, k, n] in [[5, 1, 5], [5, 33, 70], [14, 700, 300], [6, 64, 16], [15, 384, 33], [8, 800, 1000]] {
                let wave = |len: usize| (0..len).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
                let (a, b, bias) = (wave(m * k), wave(k * n), wave(n));
                let a = Mat { data: &a[..], row_stride: k, col_stride: 1 };
                let b = Mat { data: &b[..], row_stride: 1, col_stride: k };
                let epilogue = Epilogue { bias_row: Some(&bias[..]), relu: true };
                let (mut c, mut again) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
                gemm(m, k, n, a, b, &mut c, n, false, epilogue);
                let Some((_, len)) = packs::<f32>([m, k, n]) else { continue };
                let mut packed = vec![f32::NAN; len];
                pack([k, n], b, &mut packed);
                gemm_packed([m, k, n], a, b, &packed, &mut again, epilogue);
                assert_eq!(c, again, "{isa:?}: {m} x {k} x {n}");
                packed_ones += 1;
            }
            assert_eq!(packed_ones, if isa == Isa::Portable { 0 } else { 6 });
        });
    }
}
