"""pass_at_k.csv: where questions were asked several times, how likely one of k answers is right."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from qwen3_eval.report.cell_estimates import estimate_cells
from qwen3_eval.stats.pass_at_k import choose_ks, question_pass_at_k

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

PASS_AT_K_COLUMNS = (
    "task", "group", "model", "mode", "budget", "k", "pass_at_k", "stderr", "ci_low", "ci_high",
    "n_questions", "n_repeats",
)  # fmt: skip


def summarize_pass_at_k(
    records: "pd.DataFrame", model: str, tasks: Mapping[str, Mapping[str, Any]]
) -> "pd.DataFrame":
    """Returns `PASS_AT_K_COLUMNS`: for each row of the summary with repeats, one for each k that is shown.

    The k are 1, the powers of two below a task's repeats, and these. `tasks` is as `summarize` takes it.
    """
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for task, of_task in records.groupby("task", sort=False):
        repeats = int(of_task["repeat"].max()) + 1
        ks = choose_ks(repeats) if repeats > 1 else []
        cells = estimate_cells(of_task, tasks, [partial(_reduce, k=k) for k in ks]) if ks else ()
        for cell in cells:
            for k, got in zip(ks, cell.estimates, strict=True):
                rows.append((
                    task, cell.group, model, cell.mode, cell.budget, k, got.score, got.stderr, got.ci_low,
                    got.ci_high, got.n_questions, repeats,
                ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(PASS_AT_K_COLUMNS))


def _reduce(scores: "NDArray[np.float64]", k: int) -> "NDArray[np.float64]":
    """Returns each question's pass@k; a row of the summary may have fewer repeats than its task."""
    if scores.shape[1] < k:
        return scores[:, :1] * float("nan")
    return question_pass_at_k(scores, k)
