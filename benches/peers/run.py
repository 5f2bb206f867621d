"""Runs wengert and its peers in turn, several rounds, and prints a table.

    bash benches/peers/setup.sh                       once: PyTorch and Keras in benches/peers/.venv
    python3 benches/peers/run.py --quick              under 10 minutes
    python3 benches/peers/run.py                      the whole, about half an hour
    python3 benches/peers/run.py --everyday           operations of everyday beside PyTorch, instead of the workloads
    python3 benches/peers/run.py --only conv2d        workloads whose name contains a word; may be repeated
    python3 benches/peers/run.py --rust               burn, candle and the crate gemm too; they compile for minutes
    python3 benches/peers/run.py --memory             peak memory of training too; with --rounds 0 nothing else

The folder with the four files of MNIST is named by --mnist or the environment variable WENGERT_MNIST; without one the
epoch is left out. The table goes to benches/peers/results.md, and with --readme into benches/README.md, each to its place.
"""

import argparse
import collections
import datetime
import itertools
import json
import math
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = HERE / ".venv" / "bin" / "python"
RUST = HERE / "rust"

# The share of the cores' time that others may take before the figures are void.
QUIET = 0.05

# The first word of the operations that only --everyday measures.
EVERYDAY = "everyday"

# What `wengert`'s time is to be: a ratio to that of the best peer, or seconds.
TARGETS = {
    "mnist_cnn": (0.60, None), "mlp": (0.60, None), "lstm_lm": (0.85, None), "gru_lm": (0.35, None),
    "dcgan": (0.75, None), "gpt": (0.50, None), "resnet18_cifar": (0.85, None),
    "infer 1": (0.50, None), "infer 256": (1 / 1.3, None), "mnist epoch": (0.60, None),
    "conv2d 64x1x28x28 forward": (0.60, None), "conv2d 64x1x28x28 forward, backward": (0.60, None),
    "add 4096x4096": (None, 2.6e-3), "exp 4096x4096": (None, 4e-3), "tanh 4096x4096": (None, 4e-3),
    "gelu 4096x4096": (None, 4e-3), "softmax 4096x1024": (0.80, None), "layer_norm 4096x768": (0.80, None),
    "sum axis 0 4096x4096": (0.55, None), "sum axis 1 4096x4096": (1.0, None),
    "transposed copy 4096x4096": (None, 6e-3), "add transposed 4096x4096": (None, 1.3 * 2.6e-3),
    "op on 16 forward": (None, 150e-9), "op on 16 backward": (None, 250e-9),
}
ANY_TARGET = {"sgemm": (1.0, None), "conv2d": (1.0, None), EVERYDAY: (1.0, None)}

# Networks whose peak memory is measured, and what the leanest peer took where the targets were set, in MB: `wengert` may take
# as much, or where a peer in Rust runs beside it, as much as the leanest then.
MEMORY = {"mnist_cnn": 95, "lstm_lm": 54, "gpt": 70, "dcgan": 105, "resnet18_cifar": 399}


class Contestant:
    """A process that waits for the name of a workload and answers what it measured."""

    def __init__(self, name, command, environment):
        self.name = name
        pipe = subprocess.PIPE
        self.errors = open(HERE / f"results.{name}.log", "w")
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self.errors, text=True, cwd=ROOT, env=environment
        )

    def measure(self, workload, seconds):
        """Lines of seconds and a note, or none when it has no such workload."""
        try:
            self.process.stdin.write(f"{workload}\t{seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answers = []
        for line in self.process.stdout:
            if line == "\n":
                return answers
            name, value, note = line.rstrip("\n").split("\t")
            answers.append((float(value), note))
        sys.exit(f"{self.name} has ended; see {self.errors.name}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def cargo_bench():
    """Builds the bench; returns its path."""
    command = ["cargo", "bench", "--bench", "peers", "--no-run"]
    built = subprocess.run(command, cwd=ROOT, text=True, stderr=subprocess.PIPE)
    if built.returncode != 0:
        sys.exit(built.stderr)
    return ROOT / built.stderr.split("(")[-1].split(")")[0]


def rust_peers(names):
    """Builds the program with these peers; returns its path."""
    # In its folder, for the flags in its `.cargo`; where the target folder is, the environment may say.
    command = ["cargo", "build", "--release", "--features", ",".join(names), "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=RUST, text=True, stdout=subprocess.PIPE)
    if built.returncode != 0:
        sys.exit("the peers in Rust cannot be built")
    messages = (json.loads(line) for line in built.stdout.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))


def lines(command, environment=None):
    result = subprocess.run(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, check=True)
    return result.stdout.splitlines()


def machine():
    """Model and instruction sets of the processor."""
    model, flags = platform.processor() or platform.machine(), ""
    if (cpuinfo := pathlib.Path("/proc/cpuinfo")).exists():
        fields = dict(
            (part.strip() for part in line.split(":", 1)) for line in cpuinfo.read_text().splitlines() if ":" in line
        )
        model = f"{fields.get('model name', model)}, family {fields.get('cpu family')}, model {fields.get('model')}"
        flags = " ".join(f for f in fields.get("flags", "").split() if f.startswith(("avx", "fma", "amx")))
    return f"{model}, {os.cpu_count()} cores{'; ' + flags if flags else ''}"


def busy_seconds():
    """Processor time that the machine has spent so far, and that this command and what it ran have."""
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    used = sum(usage.ru_utime + usage.ru_stime for usage in own)
    if not (stat := pathlib.Path("/proc/stat")).exists():
        return used, used
    user, nice, system, _, _, irq, softirq, stolen = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK"), used


def versions(python, backends, rust):
    """Of `wengert`, the compiler, what `python` has if it is not none, and the peers in Rust."""
    commit = lines(["git", "describe", "--always", "--dirty"])[0]
    found = [f"wengert {commit}", lines(["rustc", "--version"])[0]]
    if rust:
        manifest, features = str(RUST / "Cargo.toml"), ",".join(rust)
        tree = ["cargo", "tree", "--manifest-path", manifest, "--features", features, "--depth", "1", "--prefix", "none"]
        found += [" ".join(line.split()[:2]).replace(" v", " ") for line in lines(tree)[1:]]
    if python is None:
        return ", ".join(found)
    modules = ["torch", "keras", "numpy", *backends]
    code = f"from importlib.metadata import version\nfor m in {modules!r}:\n    try: print(m, version(m))\n"
    code += "    except Exception:\n        try: print(m, version(m + '-cpu'))\n        except Exception: pass"
    return ", ".join(found + lines([python, "-c", code]))


def duration(seconds):
    if not math.isfinite(seconds):
        return "-"
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}" if seconds * scale < 1000 else f"{seconds * scale:.0f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def share(work, seconds, ceilings):
    """Speed and its part of what the machine can do."""
    parts = dict(part.split("=") for part in work.split())
    if "byte" in parts:
        speed = float(parts["byte"]) / seconds / 1e9
        return f"{speed:.1f} GB/s", f"{100 * speed / ceilings['byte']:.0f} %"
    if "flop" in parts:
        speed = float(parts["flop"]) / seconds / 1e9
        return f"{speed:.0f} GFLOP/s", f"{100 * speed / ceilings['flop']:.0f} %"
    return "", ""


def target(name):
    return TARGETS.get(name) or ANY_TARGET.get(name.split()[0], (None, None))


def verdict(name, ours, ratio):
    wanted_ratio, wanted_seconds = target(name)
    if wanted_ratio is not None:
        met = "" if ratio is None else "yes" if ratio <= wanted_ratio else "no"
        return f"<= {wanted_ratio:.2f}", met
    if wanted_seconds is not None:
        return f"<= {duration(wanted_seconds)}", "yes" if ours <= wanted_seconds else "no"
    return "", ""


def peak_memory(command, workload, environment):
    """The least of the largest resident sizes, and its variant: a process for each variant. None where there is none."""
    found = []
    for index in itertools.count():
        # The programs in Rust have one way of doing a thing, the one in Python has numbered ways.
        numbered = [str(index)] if command[-1] in ("torch", "jax", "tensorflow") else []
        with open(HERE / "results.memory.log", "a") as errors:
            call = [*command, "--memory", workload, *numbered]
            answer = subprocess.run(call, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=errors)
        if answer.returncode != 0:
            print(f"{' '.join(call)} has failed; see {errors.name}", file=sys.stderr)
        elif answer.stdout:
            _, size, variant = answer.stdout.rstrip("\n").split("\t")
            found.append((float(size), variant))
        if not numbered or not answer.stdout:
            return min(found, default=None)


def memory_report(sizes, peers, rust):
    """`sizes[workload][contestant]` is bytes and a variant. A table, and the variants."""
    columns = ["peak memory", "wengert", *peers, "ratio to the leanest", "target", "met"]
    table = ["", f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    details = ["", "Leanest variant of each peer:", ""]
    shown = lambda size: f"{size / 1e6:.3g} MB"
    for name, found in sizes.items():
        ours, cells, notes, leanest = found["wengert"][0], [], [], math.inf
        for peer, contestants in peers.items():
            size, variant = min((found[c] for c in contestants if c in found), default=(math.inf, ""))
            leanest = min(leanest, size)
            cells.append(shown(size) if variant else "-")
            notes += [f"{peer}: {variant}"] if variant else []
        limit = leanest if rust and math.isfinite(leanest) else 1e6 * MEMORY[name]
        ratio = f"{ours / leanest:.2f}" if math.isfinite(leanest) else "-"
        met = "yes" if ours <= limit else "no"
        table.append(f"| {' | '.join([name, shown(ours), *cells, ratio, f'<= {shown(limit)}', met])} |")
        details.append(f"- {name}: {'; '.join(notes) or 'no peer'}")
    return table, details


def report(results, works, order, peers, ceilings, limits, header, quiet):
    """`results[contestant][workload][variant]` is a list of seconds, one for each round. A table, and the variants."""

    def middle(contestant, workload):
        """Median over the rounds of every variant; the best first."""
        found = results[contestant].get(workload, {})
        full = max((len(times) for times in found.values()), default=0)
        medians = [(statistics.median(times), v) for v, times in found.items() if len(times) == full]
        compared = sorted(m for m in medians if not m[1].startswith("("))
        return compared, sorted(m for m in medians if m[1].startswith("("))

    out = header + ["", "| ceiling | |", "| --- | ---: |"]
    out += [f"| {name} | {value:.1f} {unit} |" for name, value, unit in ceilings]
    columns = ["workload", "wengert", *peers, "ratio to the best", "target", "met", "speed", "of the ceiling"]
    out += ["", f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    details = ["", "Best variant of each peer, where it is not the plain one, and in brackets what does less work:", ""]
    for name in order:
        ours = middle("wengert", name)[0][0][0]
        best, cells, notes = math.inf, [], []
        for peer, contestants in peers.items():
            compared, others = [], []
            for contestant in contestants:
                for whole, part in zip((compared, others), middle(contestant, name)):
                    whole += part
            if compared:
                seconds, variant = min(compared)
                best = min(best, seconds)
                notes.append(f"{peer}: {variant}")
            cells.append(duration(min(compared)[0]) if compared else "-")
            notes += [f"{variant} {duration(seconds)}" for seconds, variant in others]
        ratio = ours / best if math.isfinite(best) else None
        wanted, met = verdict(name, ours, ratio)
        met = met if quiet else "?"
        speed, part = share(works[name], ours, limits)
        shown = "-" if ratio is None else f"{ratio:.2f}"
        out.append(f"| {' | '.join([name, duration(ours), *cells, shown, wanted, met, speed, part])} |")
        if notes != ["PyTorch: eager"]:
            details.append(f"- {name}: {'; '.join(notes) or 'no peer'}")
    return out, details


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="workloads whose name contains NAME")
    parser.add_argument("--everyday", action="store_true", help="operations of everyday, instead of the workloads")
    parser.add_argument("--rounds", type=int, help="how often every contestant has its turn (5; quick: 3; 0: no times)")
    parser.add_argument("--seconds", type=float, help="at least so long a measurement (1; quick: 0.2)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, one epoch each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mnist", default=os.environ.get("WENGERT_MNIST"), metavar="DIR")
    parser.add_argument("--python", default=str(VENV), help="the Python that has the peers")
    parser.add_argument("--backends", default="jax,tensorflow", help="Keras's backends; none when empty")
    parser.add_argument("--alone", action="store_true", help="without PyTorch and Keras")
    parser.add_argument(
        "--rust", nargs="?", const="burn,candle,gemm", default="", metavar="PEERS",
        help="build the peers in Rust and measure them too: burn,candle,gemm or some of them",
    )
    parser.add_argument("--memory", action="store_true", help="measure the peak memory of training too")
    parser.add_argument("--readme", action="store_true", help="put the table into benches/README.md")
    options = parser.parse_args()
    rounds = (3 if options.quick else 5) if options.rounds is None else options.rounds
    seconds = options.seconds or (0.2 if options.quick else 1.0)

    environment = dict(os.environ)
    threads = str(options.threads)
    for variable in ("WENGERT_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        environment[variable] = threads
    environment["TF_NUM_INTRAOP_THREADS"] = environment["TF_NUM_INTEROP_THREADS"] = threads
    if options.mnist:
        environment["WENGERT_MNIST"] = str(pathlib.Path(options.mnist).resolve())
    if options.threads < (os.cpu_count() or 1) and hasattr(os, "sched_setaffinity"):
        # XLA takes a thread for each core it is allowed.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])

    rust = [peer for peer in options.rust.split(",") if peer]
    rust_program = rust_peers(rust) if rust else None
    start, (machine_before, used_before) = time.perf_counter(), busy_seconds()
    bench = str(cargo_bench())
    named = [n for n in lines([bench, "--list"], environment) if n.startswith(EVERYDAY) == options.everyday]
    wanted = [n for n in named if not options.only or any(o in n for o in options.only)]
    order = wanted if rounds > 0 else []
    ceilings, limits = [], {}
    if order:
        for line in lines([bench, "--ceilings"], environment):
            name, value, unit = line.split("\t")
            ceilings.append((name, float(value), unit))
        suffix = f", {threads} thread{'s' if threads != '1' else ''}"
        limits = {
            "flop": max(value for name, value, _ in ceilings if name.startswith("fma") and name.endswith(suffix)),
            "byte": next(value for name, value, _ in ceilings if name == f"triad 64 MiB{suffix}"),
        }
    backends = [b for b in options.backends.split(",") if b and not (options.alone or options.everyday)]

    commands, peers = {"wengert": [bench]}, {}
    if not options.alone:
        commands |= {library: [options.python, str(HERE / "workloads.py"), library] for library in ("torch", *backends)}
        peers = {"PyTorch": ["torch"]} | ({"Keras": backends} if backends else {})
    commands |= {peer: [rust_program, peer] for peer in rust}
    peers |= {peer: [peer] for peer in rust}

    results = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(list)))
    works = {}
    contestants = []
    if order:
        serving = {name: [*command, "--serve"] if name == "wengert" else command for name, command in commands.items()}
        contestants = [Contestant(name, command, environment) for name, command in serving.items()]
    for turn in range(rounds):
        for name in order:
            if name.endswith("epoch") and options.quick and turn > 0:
                continue
            # Each round begins with another one.
            for i in range(len(contestants)):
                contestant = contestants[(i + turn) % len(contestants)]
                time.sleep(0.05)  # threads of the one before go to sleep
                for value, note in contestant.measure(name, seconds):
                    ours = contestant.name == "wengert"
                    if ours:
                        works[name] = note
                    results[contestant.name][name]["" if ours else note].append(value)
            ours = results["wengert"][name][""][-1]
            print(f"round {turn + 1}/{rounds}  {name}  {duration(ours)}", file=sys.stderr, flush=True)
    for contestant in contestants:
        contestant.close()

    sizes = {}
    for name in [name for name in MEMORY if options.memory and name in wanted]:
        found = {contestant: peak_memory(command, name, environment) for contestant, command in commands.items()}
        sizes[name] = {contestant: size for contestant, size in found.items() if size}
        taken = ", ".join(f"{contestant} {size / 1e6:.3g} MB" for contestant, (size, _) in sizes[name].items())
        print(f"memory  {name}  {taken}", file=sys.stderr, flush=True)

    how = f"medians of {rounds} rounds of at least {seconds} s, " if order else ""
    python = None if options.alone else options.python
    header = [
        f"Measured on {datetime.date.today()}, {threads} threads, {how}"
        f"in {(time.perf_counter() - start) / 60:.0f} minutes.",
        "",
        f"- machine: {machine()}",
        f"- versions: {versions(python, backends, rust) if peers else lines(['rustc', '--version'])[0]}",
    ]
    machine_after, used_after = busy_seconds()
    others = (machine_after - machine_before) - (used_after - used_before)
    others /= (time.perf_counter() - start) * (os.cpu_count() or 1)
    header.append(f"- other processes: {100 * max(others, 0):.0f} % of the cores' time")
    quiet = others < QUIET
    if order and not quiet:
        header += ["", "**The machine was busy with other work: neither the times nor the ratios can be relied on.**"]
    out, details = report(results, works, order, peers, ceilings, limits, header, quiet) if order else (header, [])
    if sizes:
        more, notes = memory_report(sizes, {peer: peers[peer] for peer in peers if peer != "gemm"}, rust)
        out, details = out + more, details + notes
    table = "\n".join(out + details) + "\n"
    print(table)
    (HERE / "results.md").write_text(table)
    if options.readme:
        readme = ROOT / "benches" / "README.md"
        place = EVERYDAY if options.everyday else "table"
        before, rest = readme.read_text().split(f"<!-- {place} -->\n", 1)
        after = rest.split(f"<!-- end of {place} -->\n", 1)[1]
        readme.write_text(f"{before}<!-- {place} -->\n{table}<!-- end of {place} -->\n{after}")


if __name__ == "__main__":
    main()
