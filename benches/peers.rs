//! The workloads and kernels that `benches/peers/run.py` compares with other libraries, under the names it knows.
//!
//! Prints a line for each: name, median seconds, work (`flop=`, `byte=`, `sample=`; what a step needs at least), with tabs
//! between. `cargo bench --bench peers -- mlp infer` runs those whose name contains a word; `--ceilings` measures the
//! machine; `--list` lists; `--serve` reads lines from standard input: a name, the seconds to spend on it.

#[path = "peers/ceilings.rs"]
mod ceilings;
#[path = "peers/networks.rs"]
mod networks;
#[path = "peers/workloads.rs"]
mod workloads;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};
use workloads::{Run, Workload};

/// No workload is repeated for longer than this, however few repeats it had.
const LONGEST: Duration = Duration::from_secs(5);
const REPEATS: usize = 20;

/// The median of at least 20 repeats, for at least `seconds` and at most 5 s, after a warm-up.
fn median(run: &mut Run, seconds: f64) -> f64 {
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

/// The seconds of one repeat, or of the only one.
fn seconds(workload: &Workload, run: &mut Run, seconds: f64) -> f64 {
    if workload.once { run() } else { median(run, seconds) }
}

fn serve(workloads: &[Workload]) {
    let mut ready: HashMap<String, Run> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let (name, time) = line.split_once('\t').expect("a name, a tab, seconds");
        if let Some(workload) = workloads.iter().find(|workload| workload.name == name) {
            let run = ready.entry(name.to_owned()).or_insert_with(|| (workload.make)());
            let time = seconds(workload, run, time.parse().expect("a number of seconds"));
            println!("{name}\t{time:e}\t{}", workload.work);
            // Data of kernels would fill the memory.
            if !workload.is_network() {
                ready.remove(name);
            }
        }
        println!();
        std::io::stdout().flush().expect("a reader");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let workloads = workloads::all();
    if has("--list") {
        workloads.iter().for_each(|workload| println!("{}", workload.name));
    } else if has("--ceilings") {
        for (name, value, unit) in ceilings::measure(wengert::kernels::parallel::num_threads()) {
            println!("{name}\t{value:.1}\t{unit}");
        }
    } else if has("--serve") {
        serve(&workloads);
    } else {
        let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| name.contains(word.as_str()));
        for workload in workloads.iter().filter(|workload| wanted(&workload.name)) {
            let time = seconds(workload, &mut (workload.make)(), 1.0);
            println!("{}\t{time:e}\t{}", workload.name, workload.work);
        }
    }
}
