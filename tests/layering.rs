//! The house: which module may import which. The sources' `crate::` paths are read; an arrow that runs backwards fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The floors from the ground up. A module may import those below it, and those on its own floor.
const FLOORS: &[&[&str]] = &[
    &["error", "rng", "element", "shape"],
    &["kernels"],
    &["memory"],
    &["tensor", "autograd"],
    &["ops"],
    &["nn"],
    &["loss", "optim"],
    &["data", "io", "train"],
    &["compiled"],
];

/// Arrows that run upwards on purpose: an element type forwards to its kernels.
const UPWARDS: &[(&str, &str)] = &[("element", "kernels")];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.is_dir() { sources(&file, out) } else { out.push(file) }
    }
}

/// The module that each `crate::` path of a text names, with line numbers; tests, comments and macros for users left out.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            if line[..at].ends_with('$') {
                continue;
            }
            let path = &line[at + "crate::".len()..];
            let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((number + 1, name));
        }
    }
    found
}

/// What the crate's root re-exports from where, for paths such as `crate::record`.
fn home(name: &str, root: &str) -> Option<String> {
    let line = root.lines().find(|line| {
        let names = line.strip_prefix("pub use ").unwrap_or("");
        names.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name)
    })?;
    Some(line.trim_start_matches("pub use ").split("::").next().unwrap().to_string())
}

#[test]
fn no_module_imports_from_a_floor_above_its_own() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = std::fs::read_to_string(src.join("lib.rs")).unwrap();
    let (mut files, mut arrows, mut wrong) = (Vec::new(), BTreeSet::new(), Vec::new());
    sources(&src, &mut files);
    for file in files {
        let place = file.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        let module = place.split(['/', '.']).next().unwrap().to_string();
        if module == "lib" {
            continue;
        }
        let from = floor(&module).unwrap_or_else(|| panic!("{place}: which floor is module {module} on?"));
        for (line, name) in imports(&std::fs::read_to_string(&file).unwrap()) {
            let target = if floor(&name).is_some() { Some(name.clone()) } else { home(&name, &root) };
            let Some(target) = target else { continue };
            let to = floor(&target).unwrap_or_else(|| panic!("{place}:{line}: unknown module {target}"));
            arrows.insert((module.clone(), target.clone()));
            if to > from && !UPWARDS.contains(&(&module, &target)) {
                wrong.push(format!("src/{place}:{line}: {module} -> {target} runs upwards"));
            }
        }
    }
    assert!(arrows.contains(&("ops".to_string(), "autograd".to_string())), "the sources were not read: {arrows:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
