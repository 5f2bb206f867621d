//! Average pooling, and the way of the gradient.

use super::super::parallel::chunks_mut;
use super::super::simd::{isa, simd};
use super::bands::Bands;
use super::{Pool2d, blocks, with_lanes};
use crate::element::Float;

simd! {
    /// Rows of windows, from row `first` of all images on, `L` windows at a time: sums, divided by `heights[row] widths[column]`.
    fn means[T: Float, const L: usize](
        _lanes: [(); L],
        p: &Pool2d,
        bands: &Bands,
        first: usize,
        x: &[T],
        heights: &[T],
        widths: &[T],
        y: &mut [T],
    ) {
        let columns = p.output[1];
        let mut rows = bands.rows(first..first + y.len() / columns, x, T::ZERO);
        for y in y.chunks_exact_mut(columns) {
            let (oy, x) = rows.next();
            for at in blocks(columns, L) {
                let mut sums = [T::ZERO; L];
                for tap in &bands.taps {
                    let x = &x[tap + at..][..L];
                    for l in 0..L {
                        sums[l] += x[l];
                    }
                }
                let (y, widths) = (&mut y[at..][..L], &widths[at..][..L]);
                for l in 0..L {
                    y[l] = sums[l] / (heights[oy] * widths[l]);
                }
            }
        }
    }

    /// One tap of the gradients of a row of windows: `x += y`, where the elements of `x` are `step` apart.
    fn spread_tap[T: Float](y: &[T], step: usize, x: &mut [T]) {
        if step == 1 {
            x.iter_mut().zip(y).for_each(|(x, &y)| *x += y);
        } else {
            x.iter_mut().step_by(step).zip(y).for_each(|(x, &y)| *x += y);
        }
    }

    /// `y[i] = x[i] / (rows columns[i])`.
    fn divide[T: Float](x: &[T], rows: T, columns: &[T], y: &mut [T]) {
        y.iter_mut().zip(x).zip(columns).for_each(|((y, &x), &columns)| *y = x / (rows * columns));
    }

    /// Rows of 2 x 2 windows in steps of 2, from row `first` of all images on, `L` windows at a time.
    fn halve[T: Float, const L: usize](_lanes: [(); L], p: &Pool2d, first: usize, x: &[T], y: &mut [T]) {
        let quarter = T::of(0.25);
        for (row, y) in y.chunks_exact_mut(p.output[1]).enumerate() {
            let (top, bottom) = p.halved_rows(first + row, x);
            for at in blocks(y.len(), L) {
                let (top, bottom, y) = (&top[2 * at..][..2 * L], &bottom[2 * at..][..2 * L], &mut y[at..][..L]);
                for l in 0..L {
                    y[l] = (top[2 * l] + top[2 * l + 1] + bottom[2 * l] + bottom[2 * l + 1]) * quarter;
                }
            }
        }
    }

    /// The gradient of an image of 2 x 2 windows in steps of 2: each element that a window covers is written.
    fn unhalve[T: Float, const L: usize](_lanes: [(); L], p: &Pool2d, grad: &[T], dx: &mut [T]) {
        let quarter = T::of(0.25);
        for (grad, dx) in grad.chunks_exact(p.output[1]).zip(dx.chunks_exact_mut(2 * p.input[1])) {
            let (top, bottom) = dx.split_at_mut(p.input[1]);
            for at in blocks(grad.len(), L) {
                let grad = &grad[at..][..L];
                let (top, bottom) = (&mut top[2 * at..][..2 * L], &mut bottom[2 * at..][..2 * L]);
                for l in 0..L {
                    let part = grad[l] * quarter;
                    (top[2 * l], top[2 * l + 1]) = (part, part);
                    (bottom[2 * l], bottom[2 * l + 1]) = (part, part);
                }
            }
        }
    }
}

/// By how many elements each window along an axis is divided: all that lie in the image, or in the padded image.
fn counts<T: Float>(p: &Pool2d, axis: usize, include_padding: bool) -> Vec<T> {
    let (padding, input) = (p.padding[axis], p.input[axis]);
    let count = |o: usize| {
        // Places are counted from the beginning of the padding.
        let start = o * p.stride[axis];
        let end = (start + p.kernel[axis]).min(input + 2 * padding);
        if include_padding {
            return end - start;
        }
        end.min(input + padding) - start.max(padding).min(input + padding)
    };
    // A window without an element in the image has the sum 0 and is divided by 1.
    (0..p.output[axis]).map(|o| T::of(count(o).max(1) as f64)).collect()
}

fn check<T>(p: &Pool2d, input: &[T], output: &[T]) {
    assert_eq!(input.len(), p.planes * p.area(), "avg_pool2d: the input of {p:?}");
    assert_eq!(output.len(), p.planes * p.windows(), "avg_pool2d: the output of {p:?}");
    assert_eq!(p.dilation, [1; 2], "avg_pool2d: windows have no gaps");
}

/// `y[window] = sum x[element of the window] / count`: `x` is `[planes, height, width]`, `y` one value for each window. The
/// count is that of the window's elements in the image, or with `include_padding` in the padded image.
///
/// # Panics
/// When the slices do not have these sizes, or the dilation is not 1.
pub fn forward<T: Float>(p: &Pool2d, include_padding: bool, x: &[T], y: &mut [T]) {
    check(p, x, y);
    if y.is_empty() {
        return;
    }
    let (isa, columns, chunk) = (isa(), p.output[1], p.windows_per_task(y.len()));
    if p.is_halving() {
        return chunks_mut(y, chunk, |start, y| {
            with_lanes!(columns, |lanes| halve(isa, lanes, p, start / columns, x, y))
        });
    }
    let (bands, [heights, widths]) = (Bands::new(p), [0, 1].map(|axis| counts::<T>(p, axis, include_padding)));
    chunks_mut(y, chunk, |start, y| {
        with_lanes!(columns, |lanes| means(isa, lanes, p, &bands, start / columns, x, &heights, &widths, y))
    });
}

/// `dx[element] = sum grad[window] / count[window]` over the windows that the element is in: the adjoint of [`forward`].
///
/// # Panics
/// When the slices do not have these sizes, or the dilation is not 1.
pub fn backward<T: Float>(p: &Pool2d, include_padding: bool, grad: &[T], dx: &mut [T]) {
    check(p, dx, grad);
    if dx.is_empty() {
        return;
    }
    let (isa, columns, halving) = (isa(), p.output[1], p.is_halving() && !grad.is_empty());
    let reaches = [p.reaches(0), p.reaches(1)];
    let [heights, widths] = [0, 1].map(|axis| counts::<T>(p, axis, include_padding));
    chunks_mut(dx, p.elements_per_task(dx.len()), |start, dx| {
        let mut parts = vec![T::ZERO; columns];
        for (i, dx) in dx.chunks_mut(p.area()).enumerate() {
            let grad = &grad[(start / p.area() + i) * p.windows()..][..p.windows()];
            if halving {
                with_lanes!(columns, |lanes| unhalve(isa, lanes, p, grad, dx));
                p.zero_uncovered(dx);
                continue;
            }
            dx.fill(T::ZERO);
            for (oy, grad) in grad.chunks(columns.max(1)).enumerate() {
                divide(isa, grad, heights[oy], &widths, &mut parts);
                for ky in (0..p.kernel[0]).filter(|&ky| reaches[0][ky].contains(&oy)) {
                    let row = &mut dx[p.place(0, oy, ky) * p.input[1]..][..p.input[1]];
                    for (kx, reach) in reaches[1].iter().enumerate().filter(|(_, reach)| !reach.is_empty()) {
                        let first = p.place(1, reach.start, kx);
                        spread_tap(isa, &parts[reach.clone()], p.stride[1], &mut row[first..]);
                    }
                }
            }
        }
    });
}
