//! Products of matrices, row by row, into an array that is there already.

use crate::repeat::{Run, timed};
use gemm::Parallelism;

pub fn make(name: &str) -> Option<Run> {
    let sizes: Vec<usize> = name.strip_prefix("sgemm ")?.split('x').map_while(|size| size.parse().ok()).collect();
    let [m, k, n] = sizes.try_into().ok()?;
    let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 255) as f32 / 255.0 - 0.5).collect() };
    let (a, b, mut c) = (values(m * k), values(k * n), vec![0.0_f32; m * n]);
    Some(timed(move || {
        let [columns_of_a, columns_of_b] = [k, n].map(|columns| columns as isize);
        // SAFETY: `a` has m rows of k numbers, `b` k rows of n, and `c`, which nothing else looks at, m rows of n.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                columns_of_b,
                false,
                a.as_ptr(),
                1,
                columns_of_a,
                b.as_ptr(),
                1,
                columns_of_b,
                0.0,
                1.0,
                false,
                false,
                false,
                // As many threads as rayon has.
                Parallelism::Rayon(0),
            );
        }
    }))
}
