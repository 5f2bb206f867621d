//! Products of a few rows with a matrix that stays the same from step to step.

use crate::kernels::gemm::{Finish, Gemm, K_BLOCK, Kernels, Mat, SLACK, Tile, pack_b, panel_height, part};
use crate::kernels::parallel::{Shared, tasks};
use std::ops::Range;

/// A matrix B `[k, n]` in the order in which the micro-kernels read it: blocks of k, in each the panels of B, each panel
/// followed by the numbers that packing may overrun.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a, T: Gemm> {
    kernels: &'static Kernels<T>,
    k: usize,
    n: usize,
    panels: &'a [T],
}

/// Blocks of k, panels of B and the distance between two of them.
fn layout<T: Gemm>(kernels: &Kernels<T>, k: usize, n: usize) -> [usize; 3] {
    let blocks = k.div_ceil(K_BLOCK).max(1);
    [blocks, n.div_ceil(kernels.width()), part(k, blocks, 1, 0).len() * kernels.width() + SLACK]
}

/// How many numbers [`Packed::new`] needs for `[k, n]`.
pub(super) fn room<T: Gemm>(kernels: &Kernels<T>, k: usize, n: usize) -> usize {
    layout(kernels, k, n).into_iter().product()
}

impl<'a, T: Gemm> Packed<'a, T> {
    /// Packs B into `to`, which has [`room`].
    pub fn new(kernels: &'static Kernels<T>, b: Mat<T>, k: usize, n: usize, to: &'a mut [T]) -> Self {
        let [blocks, count, stride] = layout(kernels, k, n);
        assert!(to.len() >= blocks * count * stride, "recurrent: room for the packed weights");
        let shared = Shared::new(to);
        tasks(blocks * count, k * n >= 1 << 16, |i| {
            let (ks, j) = (part(k, blocks, 1, i / count), i % count * kernels.width());
            // SAFETY: `to` is borrowed until the panels are packed, and each task has its own.
            let panel = unsafe { shared.chunk(stride, i) };
            pack_b(kernels, b.from(ks.start, 0), ks.len(), j..(j + kernels.width()).min(n), panel);
        });
        Packed { kernels, k, n, panels: to }
    }

    /// What [`Packed::new`] has written.
    pub fn of(kernels: &'static Kernels<T>, k: usize, n: usize, panels: &'a [T]) -> Self {
        assert_eq!(panels.len(), room(kernels, k, n), "recurrent: packed weights");
        Packed { kernels, k, n, panels }
    }
}

/// A product `C[rows, n] = A[rows, k] . B (+ C) (+ bias)`, row i of C from `c_start + i * c_stride` on.
pub(super) struct Target<'a, T: Gemm> {
    pub b: Packed<'a, T>,
    pub c: Shared<T>,
    pub c_start: usize,
    pub c_stride: usize,
    pub accumulate: bool,
    pub bias: Option<&'a [T]>,
}

/// Panels of B that a thread takes at a time where [`products`] shares them out.
const PANELS: usize = 4;

/// The products of the same rows with one or more matrices of as many rows: row i of A starts at `a + i * a_stride`. With
/// `wide`, threads share out the columns. The bits of a row do not depend on the other rows.
///
/// # Safety
/// The rows of A must be readable and those of all C writable, and none of it touched by others meanwhile.
pub(super) unsafe fn products<T: Gemm>(rows: usize, a: *const T, a_stride: usize, targets: &[Target<T>], wide: bool) {
    let Some(Packed { kernels, k, .. }) = targets.first().map(|target| target.b) else { return };
    if rows == 0 {
        return;
    }
    assert!(targets.iter().all(|t| t.b.k == k && t.bias.is_none_or(|bias| bias.len() == t.b.n)), "recurrent: sizes");
    let (width, height) = (kernels.width(), panel_height(rows, kernels.height()));
    let blocks = layout(kernels, k, 1)[0];
    // SAFETY: the caller vouches for it.
    let a = unsafe { std::slice::from_raw_parts(a, (rows - 1) * a_stride + k) };
    let panels_of = |target: &Target<T>| target.b.n.div_ceil(width);
    let run = |panels: Range<usize>| {
        // 1. Blocks of k, in order.
        for block in 0..blocks {
            let ks = part(k, blocks, 1, block);
            let mut first = 0;
            for target in targets {
                let [_, count, stride] = layout(kernels, k, target.b.n);
                let own = panels.start.max(first)..panels.end.min(first + count);
                // 2. Panels of B, from the second-level cache.
                for j in own.map(|panel| panel - first) {
                    let panel = &target.b.panels[(block * count + j) * stride..][..stride];
                    let bias = target.bias.filter(|_| block + 1 == blocks);
                    let bias_row = bias.map_or(std::ptr::null(), |bias| bias[j * width..].as_ptr());
                    // 3. Rows of A, while the panel of B is in the first-level cache.
                    for i in (0..rows).step_by(height) {
                        let tile = Tile {
                            rows: height.min(rows - i),
                            width: width.min(target.b.n - j * width),
                            a: a[i * a_stride + ks.start..].as_ptr(),
                            a_stride,
                            b: panel.as_ptr(),
                            outer: &[[0, 0]],
                            inner: ks.len(),
                            a_step: 1,
                            b_step: width,
                            c: target.c.at(target.c_start + i * target.c_stride + j * width),
                            c_stride: target.c_stride,
                            accumulate: target.accumulate || block > 0,
                            finish: Finish { bias_row, ..Finish::NONE },
                        };
                        // SAFETY: B is packed for `k` steps of a tile; the caller vouches for A and C.
                        unsafe { kernels.tile(&tile) };
                    }
                }
                first += count;
            }
        }
    };
    let count = targets.iter().map(panels_of).sum();
    if wide {
        tasks(usize::div_ceil(count, PANELS), true, |i| run(i * PANELS..((i + 1) * PANELS).min(count)));
    } else {
        run(0..count);
    }
}
