"""The verdicts of EvalPlus and ours on the same programs: each canonical solution, and five mutants of it.

A mutant is the canonical solution with its last word changed: off by one, of another type, an endless loop,
an exception, or wrong on a single input that the base tests lack. Neither side is told which; that one of
another type may be right (1.0 for 1) is for both to find. EvalPlus runs in an environment of its own, as it
does in executor.py.

Usage: evalplus_agreement.py [LOOPS [GOLDEN]], with endless loops for every LOOPS-th problem (default 8: each
of them costs both sides their time limit). EvalPlus' verdicts are written to GOLDEN, for the tests, which
hold ours against them where EvalPlus is not installed.
"""

import gzip
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from executor import DATA, EVAL_PLUS, OURS, install_evalplus, run, write

SETS = {
    "humaneval": ("humanevalplus_release/HumanEvalPlus.jsonl.gz", "HUMANEVAL_OVERRIDE_PATH"),
    "mbpp": ("mbppplus_release/MbppPlus.jsonl.gz", "MBPP_OVERRIDE_PATH"),
}
CANONICAL, LOOP = "canonical", "infinite loop"
KNOWN = {
    "HumanEval/32": "EvalPlus' oracle skips the line that counts an input as passed",
    "Mbpp/255": "five plus inputs, whose outputs hold 936 MB, are left out here",
    "Mbpp/389": "slow once its numbers are floats: EvalPlus gives an input 1 s, this side 4",
    "Mbpp/583": "as Mbpp/389",
}
CHANGES = """
def _change(value):
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float, complex)):
        return value + 1
    if isinstance(value, (str, list, tuple)):
        return value[:-1] if value else type(value)("0")
    return None
def _retype(value):
    if isinstance(value, (str, tuple, set, dict)):
        return list(value)
    if isinstance(value, list):
        return tuple(value)
    return str(value) if isinstance(value, (bool, type(None))) else float(value)
"""
BODIES = {
    "off by one": "return _change(_solve(*given))",
    "wrong type": "return _retype(_solve(*given))",
    LOOP: "while True: pass",
    "exception": "raise ValueError(given)",
    "wrong on a plus input only": "value = _solve(*given)\n"
    "    return _change(value) if _shown == {seen!r} else value",
}
KINDS = (CANONICAL, *BODIES)
LETTERS = {"pass and pass": "P", "pass and fail": "B", "fail and pass": "F", "fail and fail": "F"}
"""How the golden file writes a verdict on base, and on base and plus; a kind that was not run is "-"."""


def mutate(problem: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (kind, program) of the solution and its mutants; the last kind where a plus input allows it."""
    from qwen3_eval.scoring.evalplus_rules import read_inputs

    solution = problem["prompt"] + problem["canonical_solution"]
    yield CANONICAL, solution
    read = [read_inputs(problem["task_id"], problem[f"{kind}_input"] or []) for kind in ("base", "plus")]
    base, plus = ({repr(tuple(arguments)) for arguments in inputs} for inputs in read)
    entry_point = problem["entry_point"]
    for kind, body in BODIES.items():
        if "{seen" in body:
            new = plus - base
            if not new:
                continue
            body = body.format(seen=min(new, key=lambda text: (len(text), text)))
        wrapped = f"def {entry_point}(*given):\n    _shown = repr(given)\n    {body}\n"
        yield kind, f"{solution}\n{CHANGES}\n_solve = {entry_point}\n{wrapped}"


def compare(name: str, loops: int, folder: Path, golden: dict[str, dict[str, str]]) -> tuple[int, int]:
    """Runs both on one set and prints what differs. Returns how many verdicts agree, and of how many.

    Puts EvalPlus' verdicts into `golden`: by task id and kind, "pass and fail" of base, and of base and plus.
    """
    file, override = SETS[name]
    path = folder / f"{name}.jsonl"
    path.write_bytes(gzip.decompress((DATA / "evalplus" / file).read_bytes()))
    problems = [json.loads(line) for line in path.read_text().splitlines()]
    rows, kinds = [], []
    for number, problem in enumerate(problems):
        for kind, program in mutate(problem):
            if kind != LOOP or number % loops == 0:
                rows.append({"task_id": problem["task_id"], "solution": program})
                kinds.append(kind)
    samples = write(folder / f"{name}-samples.jsonl", rows)
    out = Path(str(samples).replace(".jsonl", "_eval_results.json"))
    call = EVAL_PLUS.replace('"humaneval"', f'"{name}"')
    theirs_run = run("evalplus", install_evalplus(), call, samples, out, **{override: str(path)})
    theirs = read_verdicts(out)
    ours_run = run("here", sys.executable, OURS, samples, out, f"problems={path}")
    ours = read_verdicts(out)
    found: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for row, kind, their, our in zip(rows, kinds, theirs, ours, strict=True):
        golden.setdefault(row["task_id"], {})[kind] = their
        seen[kind] += 1
        if their == our:
            found[kind] += 1
        else:
            why = KNOWN.get(row["task_id"], "")
            print(f"  {row['task_id']}, {kind}: here {our}, with EvalPlus {their}{'; ' * bool(why)}{why}")
    for kind, n in seen.items():
        print(f"  {name:<10} {kind:<28} {found[kind]:>5,} of {n:>5,} verdicts agree")
    print(f"  {name}: {theirs_run.wall_s:.0f} s with EvalPlus, {ours_run.wall_s:.0f} s here", flush=True)
    return found.total(), seen.total()


def read_verdicts(path: Path) -> list[str]:
    """Returns `base and plus` of each sample, as "pass and fail", in the order of the samples."""
    told = json.loads(path.read_text())["eval"]
    return [
        " and ".join("pass" if entry[f"{kind}_status"] == "pass" else "fail" for kind in ("base", "plus"))
        for entries in told.values()
        for entry in entries
    ]


def main(loops: str = "8", golden_file: str = "") -> None:
    print("Verdicts of EvalPlus and here, on canonical solutions and their mutants", flush=True)
    golden: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="qwen3_eval-bench-") as name:
        counts = [compare(of_set, int(loops), Path(name), golden) for of_set in SETS]
    if golden_file:
        packed = {
            task_id: "".join(LETTERS[kinds[kind]] if kind in kinds else "-" for kind in KINDS)
            for task_id, kinds in golden.items()
        }
        Path(golden_file).write_text(json.dumps(packed, indent=0) + "\n")
    agreed, n = (sum(column) for column in zip(*counts, strict=True))
    print(f"{'verdicts that agree':<58} {agreed / n:7.4f}   {agreed:,} of {n:,}")


if __name__ == "__main__":
    main(*sys.argv[1:])
