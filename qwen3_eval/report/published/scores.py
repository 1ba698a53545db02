"""Published scores: what a report's tables and figures say, under our names of the tasks.

Source: Qwen3 technical report, arXiv:2505.09388, tables 3-8, 11-35 and 37, and figure 2. reports/published/
keeps the numbers as printed, and says what is odd about them.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from qwen3_eval.errors import ConfigError, did_you_mean
from qwen3_eval.protocol import QWEN3_REPORT, RULER_BUDGET
from qwen3_eval.report.points import REFERENCE_COLUMNS
from qwen3_eval.types import MODES, THINKING, Mode

if TYPE_CHECKING:
    import pandas as pd

REFERENCES = {QWEN3_REPORT: "Qwen3 report"}
"""The references that `reference=` knows, and how figures call them."""

PUBLISHED_COLUMNS = (
    "source_table", "model", "mode", "benchmark", "task", "metric", "score", "note", "unit",
)  # fmt: skip

PERCENT = "percent"
"""The unit of scores that are shares; others are `rating`, `percentile` and `of 10`."""

RANKING_TABLES = tuple(f"Table {number}" for number in (*range(3, 9), *range(11, 21)))
"""The tables that set released models side by side, each benchmark once: 3-8 base, 11-20 instruct.

Those after them are of one benchmark (23), of checkpoints on the way (21, 22), or by language (24 and on).
"""
MODEL_TABLES = (*RANKING_TABLES, "Table 23")

# What the hub calls a model, where that is not the report's name but for case, owner, or a missing -Base.
_HUB_NAMES = {
    "meta-llama-3-8b": "Llama-3-8B-Base",
    "llama-4-scout-17b-16e": "Llama-4-Scout-Base",
    "llama-4-scout-17b-16e-instruct": "LLaMA-4-Scout",
    "llama-4-maverick-17b-128e": "Llama-4-Maverick-Base",
    "llama-4-maverick-17b-128e-instruct": "LLaMA-4-Maverick",
    "phi-4-mini-instruct": "Phi-4-mini",
}


def read_published(reference: str = QWEN3_REPORT) -> "pd.DataFrame":
    """Returns `PUBLISHED_COLUMNS`: a row for each score that a table of the reference prints.

    `mode` is as in our records, but for two rows that span both modes, "mixed". `task` is the one of ours
    that asks the same benchmark, "" where none does. `score` is in 0-1 where `unit` is "percent"; ratings,
    percentiles and marks out of 10 are as printed, and their note says so. Raises ConfigError for a reference
    that is not known.
    """
    return _read(f"{_check_reference(reference)}.csv")[list(PUBLISHED_COLUMNS)].copy()


def read_budget_curves(reference: str = QWEN3_REPORT) -> "pd.DataFrame":
    """Returns the published curves of score against thinking budget, as `read_published` does its tables.

    `budget` is in tokens, 0 for the level lines of non-thinking mode. The figure counts in K, whose size the
    report does not state; here it is 1,024, as in its budget of 8,192 for RULER. Raises ConfigError.
    """
    return _read(f"{_check_reference(reference)}-figure2.csv")[[*PUBLISHED_COLUMNS, "budget"]].copy()


def reference_points(
    reference: str, tasks: Iterable[str], model: str, against: Sequence[str] = ()
) -> "pd.DataFrame":
    """Returns `REFERENCE_COLUMNS`, the published scores to draw beside measured ones, in 0-1.

    They are those of the measured `model` where it was published, of the models named by `against`, and the
    curves by budget, whosever they are. `budget` is in tokens: `inf` for thinking that only the output limit
    ended, 0 for the other modes. Raises ConfigError for a reference or a model that is not known.
    """
    import pandas as pd

    published = read_published(reference)
    wanted, said = set(tasks), REFERENCES[reference]
    models = [find_model(model, reference), *(require_model(name, reference) for name in against)]
    here = published["task"].isin(wanted) & published["mode"].isin(MODES) & (published["unit"] == PERCENT)
    rows = published[here & published["model"].isin(models)].drop_duplicates(["model", "mode", "task"])
    rows = rows.assign(
        label=rows["model"] + f" ({said})",
        budget=[published_budget(*row) for row in zip(rows["mode"], rows["task"], strict=True)],
    )
    curves = read_budget_curves(reference)
    curves = curves[curves["task"].isin(wanted)]
    figure = curves["source_table"].str.lower()
    curves = curves.assign(label=curves["model"] + f" ({said}, " + figure + ")")
    points = pd.concat([rows, curves])[list(REFERENCE_COLUMNS)].astype({"budget": float, "score": float})
    return points.sort_values(["label", "task", "mode", "budget"], ignore_index=True)


def published_budget(mode: Mode, task: str) -> float:
    """Returns the thinking budget in tokens at which a table's score of the task was measured."""
    if mode != THINKING:
        return 0.0
    return float(RULER_BUDGET) if task == "ruler" else math.inf


def find_model(name: str, reference: str = QWEN3_REPORT) -> str:
    """Returns what the reference calls a model, "" where it does not have it.

    `name` may be the hub's: case and owner do not count, `-pt` is `-Base`, as is no ending where there is no
    other model of that name. What was made from a model, as Qwen3-8B-FP8 or a date's update, is another.
    """
    plain = _plain(name)
    if plain in _HUB_NAMES:
        return _HUB_NAMES[plain]
    known = {_plain(model): model for model in read_published(reference)["model"].unique()}
    for asked in (plain, f"{plain.removesuffix('-pt')}-base"):
        if asked in known:
            return str(known[asked])
    return ""


def require_model(name: str, reference: str = QWEN3_REPORT) -> str:
    """Returns what the reference calls a model. Raises ConfigError where it does not have it."""
    found = find_model(name, reference)
    if found:
        return found
    published = read_published(reference)
    known = published[published["source_table"].isin(MODEL_TABLES)]["model"].unique().tolist()
    hint = did_you_mean(name.rstrip("/").rpartition("/")[2], known)
    hint += f" it has: {', '.join(known)}" * (hint == ";")
    raise ConfigError(f"against='{name}' is no model of reference={reference}{hint}")


def _plain(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold().replace("_", "-").replace(" ", "-")


def _check_reference(reference: str) -> str:
    if reference not in REFERENCES:
        raise ConfigError(
            f"reference={reference!r} is unknown{did_you_mean(reference, REFERENCES)} allowed: "
            f"{', '.join(REFERENCES)}"
        )
    return reference


@cache
def _read(name: str) -> "pd.DataFrame":
    import pandas as pd

    with (files("qwen3_eval.reports") / "published" / name).open(encoding="utf-8") as file:
        rows = pd.read_csv(file, keep_default_na=False)  # an empty note or task is not a missing one
    shares = (rows["score"] / 100).round(6)
    rows["score"] = shares.where(rows["unit"] == PERCENT, rows["score"])
    return rows
