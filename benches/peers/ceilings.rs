//! What the machine can do at most: multiply-adds per second for each instruction set, and bytes per second from memory.

#![allow(unsafe_code, reason = "calls functions compiled for an instruction set, after asking the machine for it")]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// A measured ceiling: name, value, unit.
pub type Ceiling = (String, f64, &'static str);

/// All of them, on one thread and on `threads`.
pub fn measure(threads: usize) -> Vec<Ceiling> {
    let mut counts = vec![1, threads];
    counts.dedup();
    let mut ceilings = Vec::new();
    for &threads in &counts {
        for (isa, multiply_add) in instruction_sets() {
            let flops = together(threads, 25, || multiply_add(1 << 22));
            ceilings.push((format!("fma {isa}, {}", plural(threads)), flops / 1e9, "GFLOP/s"));
        }
    }
    // Three arrays of the size of the tables' 4096 x 4096 tensors, and three that no cache holds.
    for (name, len) in [("64 MiB", 1 << 24), ("512 MiB", 1 << 27)] {
        let (mut a, b, c) = (vec![0.0_f32; len], vec![1.0_f32; len], vec![2.0_f32; len]);
        for &threads in &counts {
            let bytes = triad(&mut a, &b, &c, threads, if len > 1 << 24 { 3 } else { 15 });
            ceilings.push((format!("triad {name}, {}", plural(threads)), bytes / 1e9, "GB/s"));
        }
    }
    ceilings
}

fn plural(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// Work per second of the best of `rounds`, in which all threads do `work`, which returns how much it did.
fn together(threads: usize, rounds: usize, work: impl Fn() -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let round = || {
        let results: Vec<(f64, Instant, Instant)> = std::thread::scope(|scope| {
            let one = || {
                barrier.wait();
                let start = Instant::now();
                (work(), start, Instant::now())
            };
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            handles.into_iter().map(|handle| handle.join().expect("a loop without panics")).collect()
        });
        let start = results.iter().map(|r| r.1).min().expect("at least one thread");
        let end = results.iter().map(|r| r.2).max().expect("at least one thread");
        results.iter().map(|r| r.0).sum::<f64>() / (end - start).as_secs_f64()
    };
    (0..rounds).map(|_| round()).fold(0.0, f64::max)
}

/// Does so many steps of independent multiply-adds; returns the floating-point operations.
type MultiplyAdd = fn(usize) -> f64;

/// Chains of dependent multiply-adds: latency 4, two units, so at least 8; 12 fit the 16 registers of AVX2.
const CHAINS: usize = 12;

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<(&'static str, MultiplyAdd)> {
    // SAFETY: every x86-64 machine has SSE2.
    let mut sets: Vec<(&'static str, MultiplyAdd)> = vec![("sse2", |steps| unsafe { x86::sse2(steps) })];
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the machine has AVX2 and FMA.
        sets.push(("avx2", |steps| unsafe { x86::avx2(steps) }));
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the machine has AVX-512.
        sets.push(("avx512", |steps| unsafe { x86::avx512(steps) }));
    }
    sets
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, black_box};
    use std::arch::x86_64::*;

    /// A multiplication and an addition: SSE2 has no fused one.
    #[target_feature(enable = "sse2")]
    pub fn sse2(steps: usize) -> f64 {
        let (scale, shift) = (_mm_set1_ps(black_box(0.999)), _mm_set1_ps(black_box(0.001)));
        let mut chains = [_mm_set1_ps(1.0); CHAINS];
        for _ in 0..steps {
            for x in &mut chains {
                *x = _mm_add_ps(_mm_mul_ps(*x, scale), shift);
            }
        }
        black_box(chains);
        (steps * CHAINS * 4 * 2) as f64
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(steps: usize) -> f64 {
        let (scale, shift) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut chains = [_mm256_set1_ps(1.0); CHAINS];
        for _ in 0..steps {
            for x in &mut chains {
                *x = _mm256_fmadd_ps(*x, scale, shift);
            }
        }
        black_box(chains);
        (steps * CHAINS * 8 * 2) as f64
    }

    #[target_feature(enable = "avx512f")]
    pub fn avx512(steps: usize) -> f64 {
        let (scale, shift) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut chains = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..steps {
            for x in &mut chains {
                *x = _mm512_fmadd_ps(*x, scale, shift);
            }
        }
        black_box(chains);
        (steps * CHAINS * 16 * 2) as f64
    }
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<(&'static str, MultiplyAdd)> {
    vec![("neon", |steps| {
        use std::arch::aarch64::*;
        // SAFETY: every aarch64 machine that Rust's standard library runs on has NEON.
        unsafe {
            let (scale, shift) = (vdupq_n_f32(black_box(0.999)), vdupq_n_f32(black_box(0.001)));
            // Four units of latency 4 ask for 16 chains.
            let mut chains = [vdupq_n_f32(1.0); 16];
            for _ in 0..steps {
                for x in &mut chains {
                    *x = vfmaq_f32(shift, *x, scale);
                }
            }
            black_box(chains);
            (steps * 16 * 4 * 2) as f64
        }
    })]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<(&'static str, MultiplyAdd)> {
    vec![("scalar", |steps| {
        let (scale, shift) = (black_box(0.999_f32), black_box(0.001_f32));
        let mut chains = [1.0_f32; CHAINS];
        for _ in 0..steps {
            chains = chains.map(|x| x * scale + shift);
        }
        black_box(chains);
        (steps * CHAINS * 2) as f64
    })]
}

/// `a = b + s c`, counted as STREAM does: two reads and a write of four bytes for each element (McCalpin, 1995).
fn triad(a: &mut [f32], b: &[f32], c: &[f32], threads: usize, rounds: usize) -> f64 {
    let part = a.len().div_ceil(threads);
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for ((a, b), c) in a.chunks_mut(part).zip(b.chunks(part)).zip(c.chunks(part)) {
                scope.spawn(move || {
                    let scale = black_box(3.0);
                    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                        *a = b + scale * c;
                    }
                });
            }
        });
        best = best.min(start.elapsed());
        black_box(&*a);
    }
    (12 * a.len()) as f64 / best.as_secs_f64()
}
