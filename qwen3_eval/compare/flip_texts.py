"""The flips that a page embeds, with the texts of both sides: one click opens them beside each other."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.compare.flips import POINT, as_rows, choose_flips
from qwen3_eval.past_run import PastRun
from qwen3_eval.report.records import Texts
from qwen3_eval.report.text_blocks import TextBlocks, json_budget

if TYPE_CHECKING:
    import pandas as pd

MAX_FLIPS = 2_000
"""Most flips in a page; flips.csv lists all."""
MAX_REPEATS = 4
"""Most repeats of a question that a side shows, those that show the change best before the others."""
MAX_CHARACTERS = 2_000
"""Longest extracted answer, target or reason in the index; texts have a limit of their own."""

_OF_RECORD = ("repeat", "outcome", "extracted", "reason", "forced", "truncated", "thinking_tokens",
              "answer_tokens", "completion_key")  # fmt: skip


@dataclass(frozen=True)
class PackedFlips:
    """`index` is JSON for the page's script, `texts` are those that it names by place.

    `n_embedded` of `n_flips` are there.
    """

    index: str
    texts: TextBlocks
    n_embedded: int
    n_flips: int


def pack_flips(flips: "pd.DataFrame", runs: Sequence[PastRun], texts: Mapping[str, Texts]) -> PackedFlips:
    """Packs `MAX_FLIPS` flips at most, fairly chosen, with up to `MAX_REPEATS` traces of either side.

    `texts` reads a run's texts, by its name; it is called once for each trace that is embedded.
    """
    chosen = choose_flips(flips, MAX_FLIPS)
    packer = _Packer({past.name: number for number, past in enumerate(runs)}, texts)
    named = {past.name: _group_records(past, chosen) for past in runs}
    packed = [packer.add(flip, named) for flip in as_rows(chosen)]
    packer.blocks.close()
    budgets = sorted(set(chosen["budget"]))
    index = json.dumps({
        "runs": [past.name for past in runs],
        "stop_texts": [str(past.run.get("stop_text") or "") for past in runs],
        "budgets": [[json_budget(budget), format_budget(budget)] for budget in budgets],
        "flips": packed,
        "records": packer.records,
    })  # fmt: skip
    return PackedFlips(index, packer.blocks, len(chosen), len(flips))


class _Packer:
    """Gives each record and each trace its place; what several flips share is there once."""

    def __init__(self, numbers: Mapping[str, int], texts: Mapping[str, Texts]) -> None:
        self.blocks = TextBlocks()
        self.records: list[dict[str, Any]] = []
        self._numbers = numbers
        self._texts = texts
        self._traces: dict[tuple[str, int], int] = {}

    def add(self, flip: Mapping[str, Any], named: "Mapping[str, Mapping[Any, list[dict[str, Any]]]]") -> Any:
        point = tuple(flip[name] for name in POINT)
        better = flip["change"] > 0
        sides = []
        for name, high in ((flip["reference"], not better), (flip["run"], better)):
            repeats = sorted(
                named[name][point], key=lambda record: -record["score"] if high else record["score"]
            )
            sides.append([self._place(name, record, n) for n, record in enumerate(repeats[:MAX_REPEATS])])
        return {
            "task": flip["task"],
            "sample_id": flip["sample_id"],
            "group": flip["group"],
            "mode": flip["mode"],
            "budget": json_budget(flip["budget"]),
            "turned": flip["turned"],
            "change": round(flip["change"], 6),
            "target": _clip(flip["target"]),
            "runs": [self._numbers[flip["reference"]], self._numbers[flip["run"]]],
            "scores": [round(flip["score_reference"], 6), round(flip["score"], 6)],
            "repeats": [int(flip["n_repeats_reference"]), int(flip["n_repeats"])],
            "sides": sides,
        }

    def _place(self, name: str, record: Mapping[str, Any], number: int) -> int:
        trace = (name, record["rollout"])
        if trace not in self._traces:
            self._traces[trace] = len(self._traces)
            # Where texts must be left out, those of the repeats that show a change best stay.
            self.blocks.add(self._texts[name](record["rollout"]), task=record["task"], repeat=number)
        told = {key: _clip(record[key]) for key in _OF_RECORD}
        self.records.append(told | {"text": self._traces[trace]})
        return len(self.records) - 1


def _group_records(past: PastRun, chosen: "pd.DataFrame") -> dict[Any, list[dict[str, Any]]]:
    """Returns the run's scored records of the points of `chosen`, by point, in the order of repeats."""
    mine = past.records[past.records["outcome"] != "error"]
    wanted = chosen[POINT].drop_duplicates()
    found: dict[Any, list[dict[str, Any]]] = {}
    for record in as_rows(mine.merge(wanted, on=POINT).sort_values("repeat", kind="stable")):
        found.setdefault(tuple(record[name] for name in POINT), []).append(record)
    return found


def _clip(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_CHARACTERS]
    return None if isinstance(value, float) and math.isnan(value) else value
