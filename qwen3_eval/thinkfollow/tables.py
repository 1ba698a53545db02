"""What the turns say together: compliance with intervals, and where it is lost."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import format_score, format_share
from qwen3_eval.stats.estimate import Estimate, estimate
from qwen3_eval.thinkfollow.compliance import VIOLATIONS
from qwen3_eval.thinkfollow.dialogues import DIFFICULTIES, KINDS
from qwen3_eval.thinkfollow.turn_row import TurnRow
from qwen3_eval.types import NON_THINKING, THINKING

if TYPE_CHECKING:
    import pandas as pd

UNDECIDED = "undecided"
INTERVAL = "95 % Wilson interval, turns clustered by dialogue"
COLUMNS = ("compliance", "ci_low", "ci_high", "turns", "dialogues")
BREAKDOWNS = (
    ("asked", "mode asked"),
    ("turn", "turn"),
    ("place", "place of the flag"),
    ("direction", "switch"),
    ("switches_before", "switches before"),
    ("language", "language"),
    ("difficulty", "difficulty"),
)
"""The columns by which plain dialogues are broken down, and how they are headed."""

_PLACES = ("start", "middle", "end", "two", "system", "kept", "default")
_KIND_WORDS = {
    "plain": "plain",
    "trap": "trap: the turn that quotes a flag",
    "trap-around": "trap: the turns around it",
    "hard": "hard switch non-thinking",
}


def frame_of(rows: Iterable[TurnRow]) -> "pd.DataFrame":
    """Returns a row for each turn, by budget, dialogue and turn; budgets as they first appear."""
    import pandas as pd

    frame = pd.DataFrame([row.as_dict() for row in rows], columns=list(TurnRow.__dataclass_fields__))
    order = {budget: place for place, budget in enumerate(dict.fromkeys(frame["budget"]))}
    frame = frame.assign(_place=frame["budget"].map(order))
    return frame.sort_values(["_place", "dialogue", "turn"], kind="stable", ignore_index=True).drop(
        columns="_place"
    )


def estimate_compliance(turns: "pd.DataFrame") -> Estimate:
    """Returns the share of decided turns that did what they were asked, clustered by dialogue.

    Source: the unit and the clusters as in `stats.estimate`; a dialogue's turns share a history.
    """
    decided = turns[~turns["done"].isin(["", UNDECIDED])]
    scores = (decided["asked"] == decided["done"]).to_numpy(dtype=float).reshape(-1, 1)
    return estimate(scores, decided["dialogue"].tolist())


def always_thinking(turns: "pd.DataFrame") -> float:
    """Returns what a model would score that thinks whatever it is asked: NaN where no turn is decided."""
    decided = turns[~turns["done"].isin(["", UNDECIDED])]
    return float((decided["asked"] == THINKING).mean()) if len(decided) else math.nan


def tabulate(frame: "pd.DataFrame") -> list[ReportTable]:
    """Returns the tables of a run: compliance, confusion, breakdowns, first failures, published stages."""
    return [
        _tabulate_compliance(frame),
        _tabulate_confusion(frame),
        _tabulate_breakdowns(frame),
        _tabulate_first_failures(frame),
        _tabulate_stages(),
    ]


def split_kinds(turns: "pd.DataFrame") -> Iterator[tuple[str, "pd.DataFrame"]]:
    """Yields (what, its turns): plain dialogues, the turns that quote a flag, those around them, hard."""
    for kind in KINDS:
        mine = turns[turns["kind"] == kind]
        if kind == "trap":
            yield "trap", mine[mine["trap"] != ""]
            yield "trap-around", mine[mine["trap"] == ""]
        else:
            yield kind, mine


def _measure(turns: "pd.DataFrame") -> dict[str, Any]:
    got = estimate_compliance(turns)
    decided = turns[~turns["done"].isin(["", UNDECIDED])]
    values = (got.score, got.ci_low, got.ci_high, got.n_questions, int(decided["dialogue"].nunique()))
    return dict(zip(COLUMNS, values, strict=True))


def _tell(row: dict[str, Any]) -> list[str]:
    low, high = row["ci_low"], row["ci_high"]
    return [
        "–" if math.isnan(row["compliance"]) else f"{row['compliance']:.3f}",
        "–" if math.isnan(low) else f"{low:.3f} – {high:.3f}",
        f"{row['turns']:,}",
        f"{row['dialogues']:,}",
    ]


def _tabulate_compliance(frame: "pd.DataFrame") -> ReportTable:
    import pandas as pd

    rows = []
    for budget, turns in frame.groupby("budget", sort=False):
        for what, mine in split_kinds(turns):
            if mine.empty:
                continue
            shares = {
                "always_thinking": always_thinking(mine),
                "violations": float(mine["done"].isin(VIOLATIONS).mean()),
                "forced": float(mine["forced"].mean()),
                "undecided": int((mine["done"] == UNDECIDED).sum()),
                "not_asked": int((mine["done"] == "").sum()),
            }
            rows.append({"kind": what, "budget": budget, **_measure(mine), **shares})
    cells = [
        [
            _KIND_WORDS[row["kind"]], str(row["budget"]), *_tell(row),
            format_score(row["always_thinking"]), format_share(row["violations"]),
            format_share(row["forced"]), str(row["undecided"] or "–"), str(row["not_asked"] or "–"),
        ]
        for row in rows
    ]  # fmt: skip
    return ReportTable(
        "thinkfollow_compliance",
        "Compliance",
        f"Share of turns in the mode that was asked, without a violation of the format; {INTERVAL}. Always "
        "thinking: what a model would score that never switches.",
        pd.DataFrame(rows),
        ["kind", "budget", "compliance", "95 % interval", "turns", "dialogues",
         "always thinking", "violations", "forced", "undecided", "not asked"],
        cells,
        2,
    )  # fmt: skip


def _tabulate_confusion(frame: "pd.DataFrame") -> ReportTable:
    import pandas as pd

    columns = [THINKING, NON_THINKING, *VIOLATIONS, UNDECIDED]
    rows: list[dict[str, Any]] = []
    for budget, turns in frame.groupby("budget", sort=False):
        for what, mine in split_kinds(turns):
            for asked in (THINKING, NON_THINKING):
                done = mine[mine["asked"] == asked]["done"]
                if len(done):
                    counts = {name: int((done == name).sum()) for name in columns}
                    rows.append({"kind": what, "budget": budget, "asked": asked, **counts})
    cells = [
        [_KIND_WORDS[row["kind"]], str(row["budget"]), row["asked"]]
        + [f"{row[name]:,}" if row[name] else "–" for name in columns]
        for row in rows
    ]
    return ReportTable(
        "thinkfollow_confusion",
        "Asked and done",
        "Turns by the mode that was asked (rows) and what was done (columns); docs/thinkfollow.md defines "
        "the violations.",
        pd.DataFrame(rows),
        ["kind", "budget", "asked", *columns],
        cells,
        3,
    )


def _tabulate_breakdowns(frame: "pd.DataFrame") -> ReportTable:
    import pandas as pd

    rows, cells = [], []
    plain = frame[frame["kind"] == "plain"]
    for budget, turns in plain.groupby("budget", sort=False):
        for column, heading in BREAKDOWNS:
            for value in _order(column, turns[column].unique().tolist()):
                row = {"by": column, "value": value, "budget": budget}
                row |= _measure(turns[turns[column] == value])
                rows.append(row)
                cells.append([heading, str(value), str(budget), *_tell(row)])
    return ReportTable(
        "thinkfollow_breakdown",
        "Where compliance is lost",
        f"Plain dialogues; {INTERVAL}. A switch counts from the mode of the turn before.",
        pd.DataFrame(rows, columns=["by", "value", "budget", *COLUMNS]),
        ["by", "value", "budget", "compliance", "95 % interval", "turns", "dialogues"],
        cells,
        3,
    )


def _order(column: str, values: list[Any]) -> list[Any]:
    """Numbers rise, words stand as they are listed, all else by the alphabet."""
    known: Sequence[str] = {"place": _PLACES, "difficulty": DIFFICULTIES}.get(column, ())
    return sorted(values, key=lambda value: (known.index(value) if value in known else len(known), value))


def _tabulate_first_failures(frame: "pd.DataFrame") -> ReportTable:
    """Of the plain dialogues that were without failure before a turn, how many fail in it."""
    import pandas as pd

    rows = []
    plain = frame[(frame["kind"] == "plain") & ~frame["done"].isin(["", UNDECIDED])]
    for budget, turns in plain.groupby("budget", sort=False):
        failed = turns[turns["asked"] != turns["done"]]
        first = failed.groupby("dialogue")["turn"].min()
        for turn in range(1, int(turns["turn"].max()) + 1):
            reached = turns[turns["turn"] == turn]["dialogue"]
            sound = [name for name in reached if first.get(name, math.inf) >= turn]
            n_first = sum(first.get(name, math.inf) == turn for name in sound)
            rows.append({"budget": budget, "turn": turn, "reached": len(sound), "first_failures": n_first})
    cells = [
        [
            str(row["budget"]), str(row["turn"]), f"{row['reached']:,}", f"{row['first_failures']:,}",
            format_share(row["first_failures"] / row["reached"]) if row["reached"] else "–",
        ]
        for row in rows
    ]  # fmt: skip
    return ReportTable(
        "thinkfollow_first_failure",
        "First failing turn",
        "Plain dialogues that had no failure before the turn, and those that fail for the first time in it.",
        pd.DataFrame(rows, columns=["budget", "turn", "reached", "first_failures"]),
        ["budget", "turn", "reached", "first failures", "share"],
        cells,
        1,
    )


def read_stages() -> "pd.DataFrame":
    """Returns the published ThinkFollow scores: `model`, `score` in 0-1, `source_table`."""
    from qwen3_eval.report.published.scores import read_published

    rows = read_published()
    return rows[rows["benchmark"] == "ThinkFollow"][["model", "score", "source_table"]].reset_index(drop=True)


def _tabulate_stages() -> ReportTable:
    stages = read_stages()
    cells = [
        [str(model), f"{score:.3f}", f"Qwen3 report, {table}"]
        for model, score, table in stages.itertuples(index=False)
    ]
    return ReportTable(
        "thinkfollow_published",
        "Published",
        "The Qwen3 report's in-house ThinkFollow, whose dialogues and rules are not published: the same "
        "purpose, other questions.",
        stages,
        ["model", "score", "source"],
        cells,
        1,
    )
