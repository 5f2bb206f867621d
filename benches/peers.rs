//! The workloads and kernels that `benches/peers/run.py` compares with other libraries, under the names it knows.
//!
//! Prints a line for each: name, median seconds, work (`flop=`, `byte=`, `sample=`; what a step needs at least), with tabs
//! between. `cargo bench --bench peers -- mlp infer` runs those whose name contains a word; `--ceilings` measures the
//! machine; `--list` lists; `--serve` reads lines from standard input: a name, the seconds to spend on it; `--memory NAME`
//! takes some steps of one workload and prints the largest resident size in bytes instead of the seconds.

#[path = "peers/ceilings.rs"]
mod ceilings;
#[path = "peers/measure.rs"]
mod measure;
#[path = "peers/networks.rs"]
mod networks;
#[path = "peers/repeat.rs"]
mod repeat;
#[path = "peers/workloads.rs"]
mod workloads;

use measure::{median, peak_memory};
use repeat::Run;
use std::collections::HashMap;
use workloads::Workload;

/// The seconds of one repeat, or of the only one.
fn seconds(workload: &Workload, run: &mut Run, seconds: f64) -> f64 {
    if workload.once { run() } else { median(run, seconds) }
}

fn serve(workloads: &[Workload]) {
    let mut ready: HashMap<String, Run> = HashMap::new();
    measure::serve(|name, time| {
        let workload = workloads.iter().find(|workload| workload.name == name)?;
        let run = ready.entry(name.to_owned()).or_insert_with(|| (workload.make)());
        let time = seconds(workload, run, time);
        // Data of kernels would fill the memory.
        if !workload.is_network() {
            ready.remove(name);
        }
        Some((time, workload.work.to_string()))
    });
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
    } else if has("--memory") {
        let workload = workloads.iter().find(|workload| has(&workload.name)).expect("the name of a workload");
        if let Some(bytes) = peak_memory(&mut (workload.make)()) {
            println!("{}\t{bytes}\t{}", workload.name, workload.work);
        }
    } else {
        let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| name.contains(word.as_str()));
        for workload in workloads.iter().filter(|workload| wanted(&workload.name)) {
            let time = seconds(workload, &mut (workload.make)(), 1.0);
            println!("{}\t{time:e}\t{}", workload.name, workload.work);
        }
    }
}
