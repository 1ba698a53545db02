"""Which questions turned between two runs: right to wrong, wrong to right, or by some of their repeats."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qwen3_eval.compare.pairs import Pair
from qwen3_eval.past_run import PastRun
from qwen3_eval.stats.paired import SAME
from qwen3_eval.types import MODES

if TYPE_CHECKING:
    import pandas as pd

POINT = ["task", "sample_id", "mode", "budget"]

FLIP_COLUMNS = (
    "reference", "run", "task", "group", "sample_id", "mode", "budget", "turned", "change",
    "score_reference", "score", "n_repeats_reference", "n_repeats", "outcome_reference", "outcome",
    "extracted_reference", "extracted", "target", "repeat_reference", "repeat",
)  # fmt: skip
"""A row for each question, mode and budget at which the mean over repeats differs between two runs.

`change` is run minus reference, in score units. `turned` is "right" where every answer went from wrong to
right, "wrong" the other way round, and "better" or "worse" where some repeats did, or a score in part.
Outcome and extracted answer are of the repeat that shows the change best, a low score against a high one;
`repeat` names it. Repeats without a verdict have no say.
"""

TURNED = {"right": "wrong to right", "wrong": "right to wrong", "better": "better", "worse": "worse"}


def find_flips(pairs: Sequence[Pair]) -> "pd.DataFrame":
    """Returns `FLIP_COLUMNS`, in the order of pairs, tasks, modes and budgets, and of questions within."""
    import pandas as pd

    found = [flips for pair in pairs for flips in _find(pair)]
    filled = [flips for flips in found if len(flips)]
    if not filled:
        return pd.DataFrame(columns=list(FLIP_COLUMNS))
    return pd.concat(filled, ignore_index=True)


def _find(pair: Pair) -> Iterator["pd.DataFrame"]:
    import pandas as pd

    for task in pair.tasks:
        reference, other = (_questions_of(past, task) for past in (pair.reference, pair.other))
        both = reference.add_suffix("_reference").join(other, how="inner")
        both["change"] = both["score"] - both["score_reference"]
        both["place"] = range(len(both))
        halves = []
        for better, rows in ((True, both[both["change"] > SAME]), (False, both[both["change"] < -SAME])):
            first = _show_best(pair.reference, task, high=not better).add_suffix("_reference")
            rows = rows.join(first).join(_show_best(pair.other, task, high=better)).reset_index()
            whole = rows[["score_reference", "score"]].isin([0.0, 1.0]).all(axis=1)
            words = ("right", "better") if better else ("wrong", "worse")
            halves.append(rows.assign(turned=whole.map({True: words[0], False: words[1]})))
        found = pd.concat(halves).assign(reference=pair.reference.name, run=pair.other.name)
        found["place_of_mode"] = found["mode"].map(MODES.index)
        found = found.sort_values(["place_of_mode", "budget", "place"], kind="stable")
        yield found[list(FLIP_COLUMNS)]


def _questions_of(past: PastRun, task: str) -> "pd.DataFrame":
    """Returns each question's mean score and number of repeats, by `POINT`."""
    by_point = _scored(past, task).groupby(POINT, sort=False)
    return by_point.agg(score=("score", "mean"), n_repeats=("score", "count"))


def _show_best(past: PastRun, task: str, *, high: bool) -> "pd.DataFrame":
    """Returns the record of each point with the highest, or the lowest, score; the first among equals."""
    scored = _scored(past, task).sort_values(["score", "repeat"], ascending=[not high, True])
    shown = scored.drop_duplicates(POINT).set_index(POINT)
    return shown[["group", "outcome", "extracted", "target", "repeat"]]


def _scored(past: PastRun, task: str) -> "pd.DataFrame":
    return past.records[(past.records["task"] == task) & (past.records["outcome"] != "error")]


def choose_flips(flips: "pd.DataFrame", most: int) -> "pd.DataFrame":
    """Returns at most so many flips, the largest changes first served, and each point its fair share.

    They stay in their order.
    """
    if len(flips) <= most:
        return flips
    size = flips["change"].abs().round(9)
    place = flips.assign(size=size).groupby(["run", "task", "mode", "budget", "turned", "size"], sort=False)
    ranked = flips.assign(size=size, rank=place.cumcount())
    kept = ranked.sort_values(["size", "rank"], ascending=[False, True], kind="stable").index[:most]
    return flips.loc[kept.sort_values()]


def count_flips(flips: "pd.DataFrame") -> dict[str, int]:
    """Returns how many flips there are of each kind of `TURNED`, those of none left out."""
    counts = flips["turned"].value_counts()
    return {name: int(counts[name]) for name in TURNED if name in counts}


def tell_flips(flips: "pd.DataFrame") -> str:
    """Returns `12 wrong to right, 3 right to wrong`, "" where nothing turned."""
    return ", ".join(f"{n:,} {TURNED[name]}" for name, n in count_flips(flips).items())


def as_rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Returns the rows as plain dictionaries, which are much quicker to read than the frame."""
    return frame.to_dict(orient="records")  # type: ignore[return-value]  # keys are our column names
