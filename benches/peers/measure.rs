//! How a workload is measured, `wengert`'s here and that of the peers in Rust in `rust/src/main.rs`.

use super::repeat::Run;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// No workload is repeated for longer than this, however few repeats it had.
const LONGEST: Duration = Duration::from_secs(5);
const REPEATS: usize = 20;
/// After so many steps a network has all the memory that it will ever take; `workloads.py` takes as many.
const STEPS: usize = 12;

/// The median of at least 20 repeats, for at least `seconds` and at most 5 s, after a warm-up.
pub fn median(run: &mut Run, seconds: f64) -> f64 {
    let warm_up = Instant::now();
    for _ in 0..5 {
        run();
        if warm_up.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < LONGEST && (times.len() < REPEATS || start.elapsed().as_secs_f64() < seconds) {
        times.push(run());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The largest resident size of this process so far, in bytes, after some steps; none where Linux's `/proc` is missing.
pub fn peak_memory(run: &mut Run) -> Option<u64> {
    for _ in 0..STEPS {
        run();
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    Some(1024 * kibibytes.parse::<u64>().ok()?)
}

/// Reads lines of a name, a tab and the seconds to spend on it, and answers each with name, `answer`'s seconds and its note,
/// if it knows the name; an empty line ends the answer.
pub fn serve(mut answer: impl FnMut(&str, f64) -> Option<(f64, String)>) {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let (name, seconds) = line.split_once('\t').expect("a name, a tab, seconds");
        if let Some((time, note)) = answer(name, seconds.parse().expect("a number of seconds")) {
            println!("{name}\t{time:e}\t{note}");
        }
        println!();
        std::io::stdout().flush().expect("a reader");
    }
}
