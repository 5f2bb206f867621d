//! The workloads of `benches/peers/workloads.rs` in burn, candle and the crate `gemm`, under the same names.
//!
//! `wengert-peers burn|candle|gemm` reads lines from standard input and answers them as `measure::serve` says;
//! `wengert-peers burn|candle --memory NAME` takes some steps and prints the largest resident size in bytes.

#[cfg(feature = "burn")]
mod in_burn;
#[cfg(feature = "candle")]
mod in_candle;
#[cfg(feature = "gemm")]
mod in_gemm;
#[path = "../../measure.rs"]
mod measure;
#[path = "../../repeat.rs"]
mod repeat;

use measure::{median, peak_memory};
use repeat::Run;
use std::collections::HashMap;

/// Prepares data and model of a workload, if the library has it.
type Make = fn(&str) -> Option<Run>;

/// Of 32 texts of 64 letters, side by side, the letter that stands at place `i`, or `ahead` behind it.
#[cfg(any(feature = "burn", feature = "candle"))]
fn letter(i: usize, ahead: usize) -> usize {
    let i = i % 64 * 32 + i / 64;
    (i * i + 7 * (i + ahead)) % 65
}

/// The library of that name, and what of it is measured.
fn library(name: &str) -> Option<(Make, &'static str)> {
    match name {
        #[cfg(feature = "burn")]
        "burn" => Some((in_burn::make, "flex")),
        #[cfg(feature = "candle")]
        "candle" => Some((in_candle::make, "CPU")),
        #[cfg(feature = "gemm")]
        "gemm" => Some((in_gemm::make, "existing array")),
        _ => None,
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (make, variant) = arguments.first().and_then(|name| library(name)).expect("the name of a library built in");
    match arguments[1..] {
        [] => {
            let mut ready: HashMap<String, Run> = HashMap::new();
            measure::serve(|name, seconds| {
                if !ready.contains_key(name) {
                    ready.insert(name.to_owned(), make(name)?);
                }
                let time = median(ready.get_mut(name)?, seconds);
                // Data of kernels would fill the memory.
                if name.starts_with("sgemm") {
                    ready.remove(name);
                }
                Some((time, variant.to_owned()))
            });
        }
        ["--memory", name] => {
            if let Some(bytes) = make(name).and_then(|mut run| peak_memory(&mut run)) {
                println!("{name}\t{bytes}\t{variant}");
            }
        }
        _ => panic!("{arguments:?}: only --memory NAME may follow the library"),
    }
}
