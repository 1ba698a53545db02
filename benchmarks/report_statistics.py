"""The statistics of a report: seconds and memory for 200,000 questions at 12 points.

Budgets do not apply to mode `non-thinking`, so 11 budgets and one point without thinking stand for 6 budgets
x 2 modes: as many records, and more comparisons. The records are made here, of one task without groups, and
of one shaped as MMMLU is: 14 languages that count alike and hold the same questions, 57 subjects in each. The
time is of `summarize` and `build_tables`: estimates, curve, fit, bootstrap, paired differences, Holm, front.
What votes among eight repeats cost is printed beside them, for a tenth of the questions.
"""

import math
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
from measure import print_target

from qwen3_eval.report.build_tables import build_tables
from qwen3_eval.report.pass_at_k import summarize_pass_at_k
from qwen3_eval.report.tables import summarize

N_QUESTIONS = 200_000
BUDGETS = (*(64.0 * 2**i for i in range(10)), math.inf, 0.0)
N_LANGUAGES, N_SUBJECTS, N_REPEATS = 14, 57, 8
TARGET_S = 60.0
TARGET_GIB = 4.0


def make_records(n_questions: int, n_repeats: int = 1, grouped: bool = False) -> pd.DataFrame:
    """Returns records as `read_records` gives them: traces of many lengths, and cut ones are mostly wrong."""
    random = np.random.default_rng(0)
    number = np.arange(n_questions)
    language, row = number % N_LANGUAGES, number // N_LANGUAGES
    names, groups = [f"made/{i}" for i in number], [""] * n_questions
    if grouped:
        names = [f"made/L{of}/{i}" for of, i in zip(language, row, strict=True)]
        groups = [f"L{of}/subject {i % N_SUBJECTS}" for of, i in zip(language, row, strict=True)]
    length = np.exp(random.normal(7.0, 1.0, (n_repeats, n_questions))).astype(int)
    cells = []
    for budget in BUDGETS:
        for repeat in range(n_repeats):
            forced = (length[repeat] > budget) & (budget > 0)
            right = random.random(n_questions) < np.where(forced | (budget == 0), 0.3, 0.9)
            wrong = random.integers(0, 4, n_questions)
            cells.append(pd.DataFrame({
                "task": "made",
                "group": groups,
                "sample_id": names,
                "mode": "thinking" if budget else "non-thinking",
                "budget": budget,
                "repeat": repeat,
                "score": right.astype(float),
                "outcome": np.where(right, "correct", "incorrect"),
                "extracted": np.where(right, "A", np.array(["B", "C", "D", "E"])[wrong]),
                "forced": forced,
                "truncated": False,
                "thinking_tokens": np.minimum(length[repeat], budget).astype(int),
                "answer_tokens": 10,
                "parts": "",
            }))  # fmt: skip
    return pd.concat(cells, ignore_index=True)


def measure_statistics(
    n_questions: int, n_repeats: int, grouped: bool
) -> tuple[float, float, float, int, int]:
    """Returns wall and CPU seconds, the peak GiB of the process, and the numbers of records and rows."""
    records = make_records(n_questions, n_repeats, grouped)
    about: dict[str, Any] = {"average": "groups", "parallel": True} if grouped else {}
    run = {"tasks": {"made": about}}
    began, cpu_began = time.perf_counter(), time.process_time()
    summary = summarize(records, "made", run["tasks"])
    tables = build_tables(records, summary, run)
    summarize_pass_at_k(records, "made", run["tasks"])
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB
    rows = len(summary) + sum(len(table.frame) for table in tables)
    return wall_s, cpu_s, peak_gib, len(records), rows


def in_own_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what `measure` does in a process of its own, whose peak of memory is no other's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def main() -> None:
    print(f"statistics of {N_QUESTIONS:,} questions at {len(BUDGETS)} points")
    for name, grouped in (("one task", False), (f"{N_LANGUAGES} x {N_SUBJECTS} groups", True)):
        got = in_own_process(measure_statistics, N_QUESTIONS, 1, grouped)
        wall_s, cpu_s, peak_gib, n_records, n_rows = got
        print(
            f"  {name}: {n_records:,} records, {n_rows:,} rows of figures, {cpu_s:.1f} s of CPU", flush=True
        )
        print_target(f"{name}, wall", wall_s, TARGET_S, " s")
        print_target(f"{name}, peak memory", peak_gib, TARGET_GIB, " GiB")
    n = N_QUESTIONS // 10
    once, votes = (in_own_process(measure_statistics, n, repeats, False) for repeats in (1, N_REPEATS))
    print(f"  {n:,} questions asked once: {once[0]:.1f} s; {N_REPEATS} times, with votes: {votes[0]:.1f} s")


if __name__ == "__main__":
    main()
