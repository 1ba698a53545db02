"""Wins, ties and losses: measured scores, or those of a published model, against a published model's.

Two published scores are compared as they are printed, and are a tie where they are equal. A measured score
wins or loses only where its 95 % interval excludes the published value; otherwise both are not told apart.
The error of the published value is not known, and is not in this. Models meet in the same mode only: thinking
against thinking, non-thinking against non-thinking, base against base.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen3_eval.protocol import QWEN3_REPORT
from qwen3_eval.report.published.scores import (
    MODEL_TABLES,
    PERCENT,
    RANKING_TABLES,
    find_model,
    published_budget,
    read_published,
    require_model,
)
from qwen3_eval.types import MODES, Mode

if TYPE_CHECKING:
    import pandas as pd

WINS_COLUMNS = (
    "benchmark", "task", "metric", "budget", "n_questions", "n_repeats", "ours", "ci_low", "ci_high",
    "theirs", "outcome", "source_table",
)  # fmt: skip
"""`ours` and `theirs` are in 0-1, or as printed where the published unit is no percentage. Where both are
published, budget and interval are NaN, questions and repeats 0. `source_table` is where `theirs` stands."""

WIN, TIE, UNDECIDED, LOSS = "win", "tie", "not told apart", "loss"


@dataclass(frozen=True)
class Wins:
    """How one model did against a published one in one mode: `rows`, one per benchmark, in `WINS_COLUMNS`.

    `as_published` is the same count from the tables of the reference alone, where `ours` was published too.
    """

    ours: str
    theirs: str
    mode: Mode
    rows: "pd.DataFrame"
    as_published: "Wins | None" = None

    @property
    def n_benchmarks(self) -> int:
        return len(self.rows)

    @property
    def is_published(self) -> bool:
        """Whether both are; ties are of such only, and what is not told apart of the others."""
        return self.n_benchmarks > 0 and not self.rows["n_questions"].any()

    @property
    def wins(self) -> int:
        return self._count(WIN)

    @property
    def ties(self) -> int:
        return self._count(TIE)

    @property
    def losses(self) -> int:
        return self._count(LOSS)

    @property
    def undecided(self) -> int:
        return self._count(UNDECIDED)

    def _count(self, outcome: str) -> int:
        return int((self.rows["outcome"] == outcome).sum())


def count_wins(
    ours: "pd.DataFrame | str", theirs: str, mode: Mode | None = None, reference: str = QWEN3_REPORT
) -> Wins:
    """Returns the wins, ties and losses of `ours` against the published model `theirs`.

    `ours` is a summary as `report.tables.summarize` gives it, a published model's name, or its rows of
    `read_published`. Two published models are compared over the tables that rank both, else over those that
    rank either; a measured one on the tasks that it shares with `theirs`, at the budget where that was
    measured, or else at the largest. Without `mode` it is the first that both have: thinking, non-thinking,
    base. Raises ConfigError for a model, or a reference, that is not known.
    """
    theirs = require_model(theirs, reference)
    published = read_published(reference)
    rivals = published[published["model"] == theirs]
    if isinstance(ours, str):
        ours = published[published["model"] == require_model(ours, reference)]
    shared = [m for m in MODES if m in set(ours["mode"]) and m in set(rivals["mode"])]
    mode = mode or (shared[0] if shared else MODES[0])
    ours, rivals = ours[ours["mode"] == mode], rivals[rivals["mode"] == mode]
    name = next((str(model) for model in ours["model"] if model), "")
    rows = _meet_published if "source_table" in ours.columns else _meet_measured
    return Wins(name, theirs, mode, _frame(rows(ours, rivals)))


def list_wins(
    summary: "pd.DataFrame",
    model: str,
    against: Sequence[str] = (),
    reference: str = QWEN3_REPORT,
    label: str = "",
) -> list[Wins]:
    """Returns the wins of a measured summary against each of `against`, by mode, where they share a task.

    By default these are the model itself where it was published, and all that a table sets beside it in one
    of these tasks; for a model that was not published, all that have one of them. A rival that was named and
    shares nothing has one entry without rows. `label` is how the run is called, by default as its `model`.
    Raises ConfigError for a name that is not known.
    """
    itself = find_model(model, reference)
    measured = [mode for mode in MODES if (summary["mode"] == mode).any()]
    named = list(dict.fromkeys(require_model(name, reference) for name in against))
    found: list[Wins] = []
    for mode in measured:
        for rival in named or _choose_rivals(summary, itself, mode, reference):
            got = count_wins(summary, rival, mode, reference)
            if got.n_benchmarks:
                again = count_wins(itself, rival, mode, reference) if itself not in ("", rival) else None
                again = again if again is not None and again.n_benchmarks else None
                found.append(Wins(label or model, rival, mode, got.rows, again))
    met = {wins.theirs for wins in found}
    return found + [
        Wins(label or model, rival, measured[0], _frame([]))
        for rival in named
        if rival not in met and measured
    ]


def _choose_rivals(summary: "pd.DataFrame", itself: str, mode: Mode, reference: str) -> list[str]:
    """Returns the published models to count against in a mode, the same model first."""
    published = read_published(reference)
    tasks = summary.loc[summary["mode"] == mode, "task"]
    here = published["task"].isin(tasks) & (published["mode"] == mode)
    rows = published[here & published["source_table"].isin(MODEL_TABLES)]
    if itself:
        rows = rows[rows["source_table"].isin(rows.loc[rows["model"] == itself, "source_table"])]
    return sorted(dict.fromkeys(rows["model"]), key=lambda name: name != itself)


def _meet_published(ours: "pd.DataFrame", theirs: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Yields a row for each benchmark that both have; a rating counts, its percentile does not once more."""
    ours, theirs = (rows[rows["source_table"].isin(RANKING_TABLES)] for rows in (ours, theirs))
    both = set(ours["source_table"]) & set(theirs["source_table"])
    if both:
        ours, theirs = (rows[rows["source_table"].isin(both)] for rows in (ours, theirs))
    scores = {(row["benchmark"], row["metric"]): row for row in theirs.to_dict(orient="records")}
    for row in ours.drop_duplicates(["benchmark", "metric"]).to_dict(orient="records"):
        other = scores.get((row["benchmark"], row["metric"]))
        if other is None or row["unit"] == "percentile":
            continue
        outcome = TIE if row["score"] == other["score"] else WIN if row["score"] > other["score"] else LOSS
        yield _named(other) | {
            "n_questions": 0,
            "n_repeats": 0,
            "ours": row["score"],
            "outcome": outcome,
        }  # fmt: skip


def _meet_measured(ours: "pd.DataFrame", theirs: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Yields a row for each task that was measured, and published of `theirs`."""
    whole = ours[(ours["group"] == "") & ours["score"].notna()]
    theirs = theirs[(theirs["task"] != "") & (theirs["unit"] == PERCENT)].drop_duplicates("task")
    for other in theirs.to_dict(orient="records"):
        of_task = whole[whole["task"] == other["task"]]
        if of_task.empty:
            continue
        row = _choose_budget(of_task, published_budget(other["mode"], other["task"]))
        outcome = UNDECIDED
        if row["ci_low"] > other["score"]:
            outcome = WIN
        elif row["ci_high"] < other["score"]:
            outcome = LOSS
        measured = {name: row[name] for name in ("budget", "n_questions", "n_repeats", "ci_low", "ci_high")}
        yield _named(other) | measured | {"ours": row["score"], "outcome": outcome}


def _named(published: Mapping[Any, Any]) -> dict[str, Any]:
    names = ("benchmark", "task", "metric", "source_table")
    return {name: published[name] for name in names} | {"theirs": published["score"]}


def _choose_budget(of_task: "pd.DataFrame", budget: float) -> "pd.Series[Any]":
    """Returns the row at the budget, else the one at the largest."""
    same = of_task[of_task["budget"] == budget]
    return (same if len(same) else of_task).sort_values("budget").iloc[-1]


def _frame(rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    numbers = dict.fromkeys(("budget", "ours", "ci_low", "ci_high", "theirs"), "float64")
    numbers |= {"n_questions": "int64", "n_repeats": "int64"}
    return pd.DataFrame(list(rows), columns=list(WINS_COLUMNS)).astype(numbers)
