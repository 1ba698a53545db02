"""This run beside others: paired differences in compliance, on the turns that both were asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_eval.errors import StoreError
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.stats.paired import paired_difference
from qwen3_eval.thinkfollow.journal import JOURNAL, Journal, read_journal
from qwen3_eval.thinkfollow.tables import UNDECIDED, frame_of

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ["dialogue", "turn", "budget"]


def read_others(folders: Sequence[str], fingerprint: str) -> dict[str, Journal]:
    """Returns the journals of other runs, by folder.

    Raises StoreError where one holds no dialogues, or others than those with this fingerprint.
    """
    found = {}
    for folder in folders:
        path = Path(folder).expanduser() / JOURNAL
        journal = read_journal(path) if path.is_file() else None
        if journal is None:
            raise StoreError(
                f"against='{folder}' holds no dialogues ({JOURNAL}); name the folder of a thinkfollow run"
            )
        theirs = journal.identity["dialogues.fingerprint"]
        if theirs != fingerprint:
            raise StoreError(
                f"against='{folder}' was asked other dialogues, which cannot be paired (there {theirs}, here "
                f"{fingerprint}); give seed=, min_turns=, max_turns= and task= as there"
            )
        found[folder] = journal
    return found


def tabulate_against(frame: "pd.DataFrame", others: Mapping[str, Journal]) -> ReportTable:
    """Returns this run's plain compliance less each other's, by budget, on the turns that both have decided.

    Source: paired differences clustered by dialogue, as in `stats.paired`.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    mine = _score(frame)
    for folder, journal in others.items():
        both = mine.merge(_score(frame_of(journal.rows)), on=_KEYS, suffixes=("", "_there"))
        for budget, turns in both.groupby("budget", sort=False):
            got = paired_difference(turns[["score"]], turns[["score_there"]], turns["dialogue"].tolist())
            rows.append(
                {
                    "against": folder,
                    "budget": budget,
                    "here": float(turns["score"].mean()),
                    "there": float(turns["score_there"].mean()),
                    "difference": got.difference,
                    "ci_low": got.ci_low,
                    "ci_high": got.ci_high,
                    "p_value": got.p_value,
                    "turns": got.n_questions,
                    "dialogues": got.n_units,
                }
            )
    columns = ["against", "budget", "here", "there", "difference", "ci_low", "ci_high", "p_value", "turns",
               "dialogues"]  # fmt: skip
    cells = [
        [row["against"], str(row["budget"]), f"{row['here']:.3f}", f"{row['there']:.3f}",
         f"{row['difference']:+.3f}", f"{row['ci_low']:+.3f} – {row['ci_high']:+.3f}",
         f"{row['p_value']:.3f}", f"{row['turns']:,}", f"{row['dialogues']:,}"]
        for row in rows
    ]  # fmt: skip
    return ReportTable(
        "thinkfollow_against",
        "Against other runs",
        "Compliance of plain dialogues, here less there, on the turns that both have decided; 95 % interval "
        "and sign-flip p, clustered by dialogue.",
        pd.DataFrame(rows, columns=columns),
        ["against", "budget", "here", "there", "difference", "95 % interval", "p", "turns", "dialogues"],
        cells,
        2,
    )


def _score(frame: "pd.DataFrame") -> "pd.DataFrame":
    plain = frame[(frame["kind"] == "plain") & ~frame["done"].isin(["", UNDECIDED])]
    return plain.assign(score=(plain["asked"] == plain["done"]).astype(float))[[*_KEYS, "score"]]
