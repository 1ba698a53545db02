"""Where finished runs stand beside published models: their wins, and what to know before believing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen3_eval.protocol import QWEN3_REPORT
from qwen3_eval.report.html import model_name
from qwen3_eval.report.published.departures import list_run_departures
from qwen3_eval.report.published.scores import REFERENCES, read_published
from qwen3_eval.report.published.wins import Wins, list_wins
from qwen3_eval.types import MODES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Standing:
    """`wins` of all runs; what each run departs in, by its name in them; and what could not be counted."""

    reference: str
    wins: tuple[Wins, ...]
    departures: Mapping[str, Sequence[str]]
    uncounted: tuple[str, ...] = ()


def find_standing(
    runs: Mapping[str, tuple[Mapping[str, Any], "pd.DataFrame"]],
    reference: str = QWEN3_REPORT,
    against: Sequence[str] = (),
) -> Standing:
    """Returns how runs stand beside the models `against`, by default those that `list_wins` chooses.

    `runs` gives for each name of a run what run.json holds and its summary. Raises ConfigError for a
    reference or a model that is not known.
    """
    wins: list[Wins] = []
    departures = {}
    uncounted: list[str] = []
    for name, (run, summary) in runs.items():
        found = list_wins(summary, model_name(run), against, reference, name)
        wins += found
        departures[name] = list_run_departures(run, found, reference)
        uncounted += list_uncounted(summary, reference)
    return Standing(reference, tuple(wins), departures, tuple(dict.fromkeys(uncounted)))


def list_uncounted(summary: "pd.DataFrame", reference: str = QWEN3_REPORT) -> list[str]:
    """Returns a sentence for each task of a summary that the reference lacks, or has in other modes only."""
    published = read_published(reference)
    said = REFERENCES[reference]
    found = []
    for task, rows in summary.groupby("task", sort=False):
        there = set(published.loc[published["task"] == task, "mode"])
        measured = [mode for mode in MODES if mode in set(rows["mode"])]
        missing = [mode for mode in measured if mode not in there]
        if not there:
            found.append(f"{task} is not in the {said}")
        elif missing:
            modes = " and ".join(mode for mode in MODES if mode in there)
            found.append(f"{task} is in the {said} in mode {modes} only, not {' or '.join(missing)}")
    return found
