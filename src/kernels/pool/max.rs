//! Max pooling: the values, where they came from, and the way of the gradient.
//!
//! A window's maximum is remembered as the number of its tap, row by row in the window; `taps()` says that the window has
//! no element in the image. Of equal elements the first one counts, and NaN beats every number.

use super::super::parallel::{chunk_pairs_mut, chunks_mut, per_task};
use super::super::simd::{Isa, isa, simd};
use super::bands::Bands;
use super::{Pool2d, blocks, with_lanes};
use crate::element::{Element, Float};

/// Whether `x` takes the place of the largest element so far.
#[inline(always)]
fn beats<T: Float>(x: T, best: T) -> bool {
    // Bit operations, not branches: the loops are vectorised.
    (x > best) | x.is_nan()
}

/// The first pixel of each 2 x 2, in order.
#[inline(always)]
fn corners([height, width]: [usize; 2]) -> impl Iterator<Item = usize> {
    (0..height).step_by(2).flat_map(move |row| (0..width).step_by(2).map(move |column| row * width + column))
}

simd! {
    /// Rows of windows, from row `first` of all images on, `L` windows at a time.
    fn values[T: Float, const L: usize](
        _lanes: [(); L],
        p: &Pool2d,
        bands: &Bands,
        first: usize,
        x: &[T],
        y: &mut [T],
    ) {
        let columns = p.output[1];
        let mut rows = bands.rows(first..first + y.len() / columns, x, T::LOWEST);
        for y in y.chunks_exact_mut(columns) {
            let (_, x) = rows.next();
            for at in blocks(columns, L) {
                let mut best = [T::LOWEST; L];
                for tap in &bands.taps {
                    let x = &x[tap + at..][..L];
                    for l in 0..L {
                        best[l] = if beats(x[l], best[l]) { x[l] } else { best[l] };
                    }
                }
                y[at..][..L].copy_from_slice(&best);
            }
        }
    }

    /// [`values`] that also remembers the taps; `firsts` are those that count where all elements are minus infinity.
    fn places[T: Float, I: Element, const L: usize](
        _lanes: [(); L],
        p: &Pool2d,
        bands: &Bands,
        first: usize,
        x: &[T],
        y: &mut [T],
        places: &mut [I],
        firsts: &Firsts<I>,
    ) {
        let columns = p.output[1];
        let mut rows = bands.rows(first..first + y.len() / columns, x, T::LOWEST);
        for (y, places) in y.chunks_exact_mut(columns).zip(places.chunks_exact_mut(columns)) {
            let (oy, x) = rows.next();
            let firsts = firsts.of(oy);
            for at in blocks(columns, L) {
                let mut best = [T::LOWEST; L];
                let mut place: [I; L] = firsts[at..][..L].try_into().expect("L windows");
                for (tap, start) in bands.taps.iter().enumerate() {
                    let (x, tap) = (&x[start + at..][..L], I::of_element(tap as i64));
                    for l in 0..L {
                        let beats = beats(x[l], best[l]);
                        best[l] = if beats { x[l] } else { best[l] };
                        place[l] = if beats { tap } else { place[l] };
                    }
                }
                y[at..][..L].copy_from_slice(&best);
                places[at..][..L].copy_from_slice(&place);
            }
        }
    }

    /// Rows of 2 x 2 windows in steps of 2, from row `first` of all images on, `L` windows at a time.
    fn halve_values[T: Float, const L: usize](_lanes: [(); L], p: &Pool2d, first: usize, x: &[T], y: &mut [T]) {
        for (row, y) in y.chunks_exact_mut(p.output[1]).enumerate() {
            let (top, bottom) = p.halved_rows(first + row, x);
            for at in blocks(y.len(), L) {
                let (top, bottom, y) = (&top[2 * at..][..2 * L], &bottom[2 * at..][..2 * L], &mut y[at..][..L]);
                for l in 0..L {
                    let mut best = top[2 * l];
                    for x in [top[2 * l + 1], bottom[2 * l], bottom[2 * l + 1]] {
                        best = if beats(x, best) { x } else { best };
                    }
                    y[l] = best;
                }
            }
        }
    }

    /// [`halve_values`] that also remembers the taps.
    fn halve_places[T: Float, I: Element, const L: usize](
        _lanes: [(); L],
        p: &Pool2d,
        first: usize,
        x: &[T],
        y: &mut [T],
        places: &mut [I],
        taps: [I; 4],
    ) {
        let rows = y.chunks_exact_mut(p.output[1]).zip(places.chunks_exact_mut(p.output[1]));
        for (row, (y, places)) in rows.enumerate() {
            let (top, bottom) = p.halved_rows(first + row, x);
            for at in blocks(y.len(), L) {
                let (top, bottom) = (&top[2 * at..][..2 * L], &bottom[2 * at..][..2 * L]);
                let (y, places) = (&mut y[at..][..L], &mut places[at..][..L]);
                for l in 0..L {
                    let (mut best, mut place) = (top[2 * l], taps[0]);
                    for (x, tap) in [(top[2 * l + 1], taps[1]), (bottom[2 * l], taps[2]), (bottom[2 * l + 1], taps[3])] {
                        let beats = beats(x, best);
                        best = if beats { x } else { best };
                        place = if beats { tap } else { place };
                    }
                    y[l] = best;
                    places[l] = place;
                }
            }
        }
    }

    /// [`halve_lanes`] without taps, `L` lanes at a time.
    fn halve_lanes_by[T: Float, const L: usize](
        _lanes: [(); L],
        size: [usize; 2],
        lanes: usize,
        relu: bool,
        x: &mut [T],
    ) {
        let (mut to, width) = (0, size[1]);
        for from in corners(size) {
            for l in (0..lanes).step_by(L) {
                let at = |pixel: usize| -> [T; L] { x[pixel * lanes + l..][..L].try_into().expect("L lanes") };
                let mut best = at(from);
                for x in [at(from + 1), at(from + width), at(from + width + 1)] {
                    for i in 0..L {
                        best[i] = if beats(x[i], best[i]) { x[i] } else { best[i] };
                    }
                }
                if relu {
                    best = best.map(T::relu);
                }
                x[to + l..][..L].copy_from_slice(&best);
            }
            to += lanes;
        }
    }

    /// [`halve_lanes`] with taps, `L` lanes at a time.
    fn halve_taps_by[T: Float, const L: usize](
        _lanes: [(); L],
        size: [usize; 2],
        lanes: usize,
        relu: bool,
        x: &mut [T],
        taps: &mut [T],
    ) {
        let (mut to, width, numbers) = (0, size[1], [1.0, 2.0, 3.0, 4.0].map(T::of));
        for from in corners(size) {
            for l in (0..lanes).step_by(L) {
                let at = |pixel: usize| -> [T; L] { x[pixel * lanes + l..][..L].try_into().expect("L lanes") };
                let (mut best, mut place) = (at(from), [T::ZERO; L]);
                for (x, tap) in [at(from + 1), at(from + width), at(from + width + 1)].iter().zip(numbers) {
                    for i in 0..L {
                        let beats = beats(x[i], best[i]);
                        best[i] = if beats { x[i] } else { best[i] };
                        place[i] = if beats { tap } else { place[i] };
                    }
                }
                if relu {
                    for i in 0..L {
                        place[i] = if best[i] > T::ZERO { place[i] } else { numbers[3] };
                        best[i] = best[i].relu();
                    }
                }
                x[to + l..][..L].copy_from_slice(&best);
                taps[to + l..][..L].copy_from_slice(&place);
            }
            to += lanes;
        }
    }

    /// Small whole numbers as bytes.
    pub fn to_bytes[T: Float](x: &[T], y: &mut [u8]) {
        // The unit of 2^52 is 1, so a small number stands in the lowest bits of the sum: this vectorises, a cast does not.
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x.to_f64() + (1_u64 << 52) as f64).to_bits() as u8);
    }

    /// The gradient of an image of 2 x 2 windows in steps of 2: each element that a window covers is written, 0 or the
    /// window's.
    fn unhalve[T: Float, I: Element, const L: usize](
        _lanes: [(); L],
        p: &Pool2d,
        grad: &[T],
        places: &[I],
        taps: [I; 4],
        dx: &mut [T],
    ) {
        let columns = p.output[1];
        let rows = grad.chunks_exact(columns).zip(places.chunks_exact(columns));
        for ((grad, places), dx) in rows.zip(dx.chunks_exact_mut(2 * p.input[1])) {
            let (top, bottom) = dx.split_at_mut(p.input[1]);
            for at in blocks(columns, L) {
                let (grad, places) = (&grad[at..][..L], &places[at..][..L]);
                let (top, bottom) = (&mut top[2 * at..][..2 * L], &mut bottom[2 * at..][..2 * L]);
                // By way of arrays: a loop that writes both rows at once is not vectorised.
                let mut parts = [[T::ZERO; L]; 4];
                for (part, tap) in parts.iter_mut().zip(taps) {
                    for l in 0..L {
                        let grad = grad[l];
                        part[l] = if places[l] == tap { grad } else { T::ZERO };
                    }
                }
                for (row, [left, right]) in [(top, [&parts[0], &parts[1]]), (bottom, [&parts[2], &parts[3]])] {
                    for l in 0..L {
                        (row[2 * l], row[2 * l + 1]) = (left[l], right[l]);
                    }
                }
            }
        }
    }
}

/// Pixels `[height, width, lanes]` at one place of many channels: the largest of each 2 x 2, then `max(y, 0)` if `relu`, comes
/// to the front of `x`, `[height / 2, width / 2, lanes]`. `taps`, of that size or empty, gets the number of its tap, or 4 where
/// ReLU has made it 0. Height and width are even.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn halve_lanes<T: Float>(isa: Isa, size: [usize; 2], lanes: usize, relu: bool, x: &mut [T], taps: &mut [T]) {
    assert_eq!(x.len(), size[0] * size[1] * lanes, "halve_lanes: {size:?}, {lanes} lanes");
    assert!(taps.is_empty() || 4 * taps.len() == x.len(), "halve_lanes: taps of {size:?}, {lanes} lanes");
    match (lanes % 16, taps.is_empty()) {
        (0, true) => halve_lanes_by(isa, [(); 16], size, lanes, relu, x),
        (0, false) => halve_taps_by(isa, [(); 16], size, lanes, relu, x, taps),
        (_, true) => halve_lanes_by(isa, [(); 4], size, lanes, relu, x),
        (_, false) => halve_taps_by(isa, [(); 4], size, lanes, relu, x, taps),
    }
}

/// The numbers of the taps of a 2 x 2 window.
fn four_taps<I: Element>() -> [I; 4] {
    [0_i64, 1, 2, 3].map(I::of_element)
}

fn check<T, I>(p: &Pool2d, input: &[T], output: &[T], places: Option<&[I]>) {
    assert_eq!(input.len(), p.planes * p.area(), "max_pool2d: the input of {p:?}");
    assert_eq!(output.len(), p.planes * p.windows(), "max_pool2d: the output of {p:?}");
    assert!(places.is_none_or(|places| places.len() == output.len()), "max_pool2d: the places of {p:?}");
}

/// The first tap of each window that lies in the image.
struct Firsts<I> {
    columns: usize,
    /// For each row of windows that of the kernel which comes first.
    rows: Vec<usize>,
    /// For each row of the kernel, and for none, the taps of a row of windows.
    taps: Vec<I>,
}

impl<I: Element> Firsts<I> {
    fn new(p: &Pool2d) -> Self {
        let reaches = [0, 1].map(|axis| p.reaches(axis));
        let first = |axis: usize, o: usize| reaches[axis].iter().position(|reach| reach.contains(&o));
        let columns: Vec<_> = (0..p.output[1]).map(|ox| first(1, ox)).collect();
        let taps = |ky: usize| {
            columns.iter().map(move |kx| {
                let inside = kx.filter(|_| ky < p.kernel[0]);
                I::of_element(inside.map_or(p.taps(), |kx| ky * p.kernel[1] + kx) as i64)
            })
        };
        Firsts {
            columns: p.output[1],
            rows: (0..p.output[0]).map(|oy| first(0, oy).unwrap_or(p.kernel[0])).collect(),
            taps: (0..=p.kernel[0]).flat_map(taps).collect(),
        }
    }

    /// Those of row `oy` of the windows.
    fn of(&self, oy: usize) -> &[I] {
        &self.taps[self.rows[oy] * self.columns..][..self.columns]
    }
}

/// `y[window] = max x[element of the window]`: `x` is `[planes, height, width]`, `y` one value for each window.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn forward<T: Float>(p: &Pool2d, x: &[T], y: &mut [T]) {
    check::<T, u8>(p, x, y, None);
    if y.is_empty() {
        return;
    }
    let (isa, columns, chunk) = (isa(), p.output[1], p.windows_per_task(y.len()));
    if p.is_halving() {
        return chunks_mut(y, chunk, |start, y| {
            with_lanes!(columns, |lanes| halve_values(isa, lanes, p, start / columns, x, y))
        });
    }
    let bands = Bands::new(p);
    chunks_mut(y, chunk, |start, y| with_lanes!(columns, |lanes| values(isa, lanes, p, &bands, start / columns, x, y)));
}

/// [`forward`] that also writes the number of the tap that each maximum came from.
///
/// # Panics
/// When the slices do not have these sizes, or `I` cannot count the taps.
pub fn forward_places<T: Float, I: Element>(p: &Pool2d, x: &[T], y: &mut [T], to: &mut [I]) {
    check(p, x, y, Some(&*to));
    assert_eq!(
        I::of_element(p.taps() as i64).to_i64(),
        p.taps() as i64,
        "max_pool2d: the type of the places is narrow"
    );
    if y.is_empty() {
        return;
    }
    let (isa, columns, chunk) = (isa(), p.output[1], p.windows_per_task(y.len()));
    let first = |i: usize| i * chunk / columns;
    if p.is_halving() {
        return chunk_pairs_mut((y, chunk), (to, chunk), |i, y, to| {
            with_lanes!(columns, |lanes| halve_places(isa, lanes, p, first(i), x, y, to, four_taps()))
        });
    }
    let (bands, firsts) = (Bands::new(p), Firsts::new(p));
    chunk_pairs_mut((y, chunk), (to, chunk), |i, y, to| {
        with_lanes!(columns, |lanes| places(isa, lanes, p, &bands, first(i), x, y, to, &firsts))
    });
}

/// Where each tap of a window is in the image, counted from its first, which may lie outside.
fn tap_offsets(p: &Pool2d) -> Vec<usize> {
    let offset = |tap: usize| tap / p.kernel[1] * p.dilation[0] * p.input[1] + tap % p.kernel[1] * p.dilation[1];
    (0..p.taps()).map(offset).collect()
}

/// Calls `f(window, element)` for the windows of one image, in order, and the element that each remembers.
#[inline(always)]
fn for_places<I: Element>(p: &Pool2d, offsets: &[usize], places: &[I], mut f: impl FnMut(usize, usize)) {
    for (oy, row) in places.chunks_exact(p.output[1].max(1)).enumerate() {
        let first = (oy * p.stride[0]).wrapping_sub(p.padding[0]).wrapping_mul(p.input[1]).wrapping_sub(p.padding[1]);
        for (ox, tap) in row.iter().enumerate() {
            if let Some(offset) = offsets.get(tap.to_i64() as usize) {
                f(oy * p.output[1] + ox, first.wrapping_add(ox * p.stride[1] + offset));
            }
        }
    }
}

/// `dx[element] = sum grad[windows that remember it]`, in the windows' order: the adjoint of [`gather`].
///
/// # Panics
/// When the slices do not have these sizes.
pub fn scatter<T: Float, I: Element>(p: &Pool2d, grad: &[T], places: &[I], dx: &mut [T]) {
    check(p, dx, grad, Some(places));
    if dx.is_empty() {
        return;
    }
    let (isa, halving, offsets) = (isa(), p.is_halving() && !grad.is_empty(), tap_offsets(p));
    chunks_mut(dx, p.elements_per_task(dx.len()), |start, dx| {
        for (i, dx) in dx.chunks_mut(p.area()).enumerate() {
            let from = (start / p.area() + i) * p.windows();
            let (grad, places) = (&grad[from..][..p.windows()], &places[from..][..p.windows()]);
            if halving {
                // Eight windows make sixteen elements of a row: more are no faster.
                match p.output[1] {
                    8.. => unhalve(isa, [(); 8], p, grad, places, four_taps(), dx),
                    4.. => unhalve(isa, [(); 4], p, grad, places, four_taps(), dx),
                    _ => unhalve(isa, [(); 1], p, grad, places, four_taps(), dx),
                }
                p.zero_uncovered(dx);
            } else {
                dx.fill(T::ZERO);
                for_places(p, &offsets, places, |window, element| dx[element] += grad[window]);
            }
        }
    });
}

/// `y[window] = x[the element that it remembers]`, 0 where there is none.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn gather<T: Float, I: Element>(p: &Pool2d, x: &[T], places: &[I], y: &mut [T]) {
    check(p, x, y, Some(places));
    if y.is_empty() {
        return;
    }
    let (offsets, planes) = (tap_offsets(p), per_task(y.len() / p.windows(), p.windows()));
    chunks_mut(y, planes * p.windows(), |start, y| {
        y.fill(T::ZERO);
        for (i, y) in y.chunks_mut(p.windows()).enumerate() {
            let plane = start / p.windows() + i;
            let x = &x[plane * p.area()..][..p.area()];
            for_places(p, &offsets, &places[plane * p.windows()..][..p.windows()], |window, element| {
                y[window] = x[element]
            });
        }
    });
}
