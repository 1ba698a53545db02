"""Is compliance at least what is asked for? The gate's three verdicts and its exit codes."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qwen3_eval.stats.estimate import Estimate, estimate
from qwen3_eval.thinkfollow.tables import UNDECIDED, estimate_compliance

if TYPE_CHECKING:
    import pandas as pd

PASS, BELOW, INCONCLUSIVE = 0, 1, 3
"""Exit codes, as the gate's; bad input is 2, as everywhere."""

_MOST_DIALOGUES = 100_000


@dataclass(frozen=True)
class Standing:
    """A budget's plain compliance beside the least that is asked. `said` is a sentence on it."""

    budget: str
    outcome: Literal["pass", "below", "inconclusive"]
    said: str


def judge_compliance(frame: "pd.DataFrame", least: float) -> list[Standing]:
    """Returns how plain compliance stands to `least`, for each budget.

    `pass` where the whole interval is at least `least`, `below` where all of it is less, else `inconclusive`.
    Turns that are undecided or could not be asked count as failures for a pass, and as obeyed for `below`:
    only what does not hang on them is decided.
    """
    standings = []
    for budget, turns in frame.groupby("budget", sort=False):
        plain = turns[turns["kind"] == "plain"]
        got = estimate_compliance(plain)
        n_dialogues = plain["dialogue"].nunique(), turns["dialogue"].nunique()
        worst, best = _count_holes(plain, "none"), _count_holes(plain, None)
        n_holes = int(plain["done"].isin(["", UNDECIDED]).sum())
        shown = f"compliance {got.score:.3f} ({got.ci_low:.3f} – {got.ci_high:.3f})"
        if got.n_questions == 0:
            standings.append(Standing(str(budget), "inconclusive", "no turn of a plain dialogue is decided"))
        elif best.ci_high < least:
            standings.append(Standing(str(budget), "below", f"{shown} is below {least:g}"))
        elif worst.ci_low >= least:
            standings.append(Standing(str(budget), "pass", f"{shown} is at least {least:g}"))
        elif n_holes and not got.ci_low < least < got.ci_high:
            said = f"{shown}, but {n_holes:,} turns are undecided or could not be asked, and might turn it"
            standings.append(Standing(str(budget), "inconclusive", said))
        else:
            said = f"{shown}: the interval holds {least:g}; {_advise(got, *n_dialogues, least)}"
            standings.append(Standing(str(budget), "inconclusive", said))
    return standings


def _count_holes(plain: "pd.DataFrame", done: str | None) -> Estimate:
    """Returns compliance with `done` for turns without a verdict; None: what they were asked."""
    holes = plain["done"].isin(["", UNDECIDED])
    return estimate_compliance(plain.assign(done=plain["done"].mask(holes, done or plain["asked"])))


def _advise(got: Estimate, n_plain: int, n_dialogues: int, least: float) -> str:
    """Says how many dialogues in all, of this spread, would decide; errors shrink with their number's root.

    Without a failure the interval is that of plain draws, and is looked up.
    """
    if got.score == least:
        return "no number of dialogues like these would decide"
    if got.score == 1:
        n = float(n_plain)
        while n < _MOST_DIALOGUES and estimate([[1.0]] * int(n)).ci_low < least:
            n = n * 1.05 + 1
    else:
        edge = got.ci_low if got.score > least else got.ci_high
        n = n_plain * ((got.score - edge) / (got.score - least)) ** 2
    asked = math.ceil(n * n_dialogues / n_plain)
    if asked > _MOST_DIALOGUES:
        return f"more than {_MOST_DIALOGUES:,} dialogues like these would be needed to decide"
    return f"about {float(f'{asked:.2g}'):,.0f} dialogues like these would decide (dialogues=)"


def find_exit_code(standings: list[Standing]) -> int:
    """Returns 0, 1 or 3: below at any budget is below; a pass is a pass at all."""
    outcomes = {standing.outcome for standing in standings}
    if "below" in outcomes:
        return BELOW
    return PASS if outcomes == {"pass"} else INCONCLUSIVE
