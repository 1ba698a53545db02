"""Which tokens to generate next, and how each budget ends on a trace. Pure: no engine, no text, no files.

The rules of the nested sweep. A trace is known up to `length` thinking tokens. A budget B on it ends

* forced at B, once B ids stand there without `</think>` (even if `</think>` would have come next),
* natural, where the model closed the span after fewer than B ids,
* unclosed, where the turn ended inside the span, or the span hit the output limit at `inf`.

Natural and forced endings are answered; budgets that end alike share one completion.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from qwen3_eval.errors import ConfigError
from qwen3_eval.types import Budget

TraceEnd = Literal["open", "closed", "abandoned", "absent"]
"""open: more can be generated; closed: `</think>` was written; abandoned: the turn ended inside the span;
absent: the model answered without a thinking block."""

BUDGET_FORMS = "an int (1024), a multiple of 1024 (1k, 8k), 0 (non-thinking) or inf (no cap)"


@dataclass(frozen=True)
class Trace:
    """How much of one thinking span is known: `length` ids strictly between `<think>` and `</think>`."""

    length: int = 0
    end: TraceEnd = "open"


@dataclass(frozen=True)
class Ending:
    """How one budget ends on a trace. `thinking_tokens` is the length of the span it used."""

    kind: Literal["natural", "forced", "unclosed"]
    thinking_tokens: int

    @property
    def forced(self) -> bool:
        return self.kind == "forced"

    @property
    def answered(self) -> bool:
        """True where an answer follows; unclosed thinking is never an answer."""
        return self.kind != "unclosed"


def parse_budget(text: object) -> Budget:
    """Returns the budget that `text` means: `1k` is 1024, `inf` is `math.inf`. Raises ConfigError."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    if text == math.inf or text == "inf":
        return math.inf
    if isinstance(text, str):
        if re.fullmatch(r"0|[1-9][0-9]*", text):
            return int(text)
        if re.fullmatch(r"[1-9][0-9]*k", text):
            return int(text[:-1]) * 1024
    raise ConfigError(f"budget={text!r} is not a budget; write {BUDGET_FORMS}")


def parse_budgets(values: object) -> tuple[Budget, ...]:
    """Returns the budgets in rising order, duplicates merged. Raises ConfigError for none or a bad one."""
    listed = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    budgets = {parse_budget(value) for value in listed}
    if not budgets:
        raise ConfigError(f"budget=[] names no budget; write at least one of {BUDGET_FORMS}")
    return tuple(sorted(budgets))


def format_budget(budget: Budget) -> str:
    """Returns the short form: `8k` for 8192, `1000` for 1000, `inf`."""
    if budget == math.inf:
        return "inf"
    whole = int(budget)
    return f"{whole // 1024}k" if whole and whole % 1024 == 0 else str(whole)


def grow_trace(
    trace: Trace, ids: Sequence[int], *, stopped: bool, opened: bool, open_id: int, close_id: int
) -> Trace:
    """Returns the trace after a generated segment.

    `ids` came from the engine, the stop token last where `stopped`; `opened` says that `<think>` stands
    already, else the segment's first id must be it (`open_id`), uncounted.
    """
    if not opened:
        if not ids or ids[0] != open_id:
            return Trace(0, "absent")
        ids = ids[1:]
    if not stopped:
        return Trace(trace.length + len(ids), "open")
    return Trace(trace.length + len(ids) - 1, "closed" if ids[-1] == close_id else "abandoned")


def find_ending(trace: Trace, budget: Budget, thinking_limit: int) -> Ending | None:
    """Returns how `budget` ends on the trace, or None while too little of it is known.

    `thinking_limit` is the most thinking tokens that the output limit leaves at `inf`.
    """
    if budget == 0:
        raise ValueError("budget 0 is non-thinking and has no trace")
    if trace.length >= budget:
        return Ending("forced", int(budget))
    if trace.end in ("closed", "absent"):
        return Ending("natural", trace.length)
    if trace.end == "abandoned" or (budget == math.inf and trace.length >= thinking_limit):
        return Ending("unclosed", trace.length)
    return None


def next_stop(trace: Trace, budgets: Iterable[Budget], thinking_limit: int) -> int | None:
    """Returns the trace length to generate up to next: the nearest budget still undecided, or None."""
    undecided = [b for b in budgets if find_ending(trace, b, thinking_limit) is None]
    return int(min(min(undecided), thinking_limit)) if undecided else None


def find_answerable(trace: Trace, budgets: Iterable[Budget], thinking_limit: int) -> set[Ending]:
    """Returns the distinct endings among `budgets` that are decided and have an answer."""
    endings = (find_ending(trace, b, thinking_limit) for b in budgets)
    return {ending for ending in endings if ending is not None and ending.answered}
