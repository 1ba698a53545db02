"""The gate's judgement: what is shown of each metric, and of all together.

Each metric has a tolerance m and a true drop d over the population that its questions are drawn from. Two
one-sided tests look at it from either side of m (`qwen3_eval.stats.noninferiority`):

- `pass`: d >= m is rejected at alpha, so the drop is shown to be within the tolerance;
- `regression`: d <= m is rejected at alpha, so it is shown to be beyond it;
- `inconclusive`: neither. At one m both can never be rejected, and at most one null hypothesis can be wrongly
  rejected, so a metric by itself gets a wrong call with a chance of at most alpha: no correction is due for
  testing both sides (three-sided testing by the partitioning principle).

Over the family of all metrics of one gate:

- The gate is a `regression` where any metric is. With many metrics one would be called by chance, so these p
  values are Holm's over the whole family: the chance that any metric whose true drop is within its tolerance
  is called a regression is at most alpha, however the metrics depend on each other (budgets of one trace do).
- The gate is a `pass` where every metric is. Its null hypothesis is the union "some metric drops by m or
  more"; the test that rejects only where each part is rejected at alpha has size alpha, with no correction
  (an intersection-union test). The `pass` of one metric says the same of that metric alone.

A metric with a hole (missing, unfinished or without verdicts) may be a regression and never a pass.

Source: three outcomes, Goeman, Solari and Stijnen 2010, Statistics in Medicine 29:2117-2125;
intersection-union test, Berger 1982, Technometrics 24:295-300; correction, Holm 1979, Scandinavian Journal of
Statistics 6:65-70.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qwen3_eval.stats.noninferiority import Drop, Need, measure_drop, plan_decision
from qwen3_eval.stats.paired import holm

Floats = NDArray[np.float64]
Outcome = Literal["pass", "regression", "inconclusive"]


@dataclass(frozen=True)
class Metric:
    """One thing that a gate judges: what the candidate `a` and the baseline `b` have of it, per question.

    `a` and `b` are (n_questions,), row by row the same questions, each a question's mean over its repeats,
    NaN where it has none. `max_drop` is the tolerated fall of the mean; where `worse` is "more" it is the
    tolerated growth, and with `relative` that growth as a share of the baseline's mean. Values lie in `low`
    to `high`. `strata` names groups that count alike, `clusters` what each question was drawn with.

    `paired` is False where `b` is one published number. `n_repeats` and `noise`, the variance that repeats
    would divide, are for planning. `holes` say why the metric may not pass, whatever the numbers are.

    Of dialogues the rows are turns, the clusters plain dialogues, and `n_dialogues` those asked of all kinds.
    """

    name: str
    a: Floats
    b: Floats
    max_drop: float
    task: str = ""
    mode: str = ""
    budget: str = ""
    worse: Literal["less", "more"] = "less"
    relative: bool = False
    low: float = 0.0
    high: float = 1.0
    strata: Sequence[Hashable] | None = None
    clusters: Sequence[Hashable] | None = None
    paired: bool = True
    n_repeats: int = 1
    noise: float | None = None
    holes: tuple[str, ...] = ()
    n_dialogues: int = 0

    @property
    def place(self) -> str:
        """What people call it: `chain thinking 1k`, or `chain thinking 1k forced`."""
        words = [self.task, self.mode, self.budget, "" if self.name in ("score", "area") else self.name]
        return " ".join(word for word in words if word) or self.name

    def means(self) -> tuple[float, float]:
        """Returns the means of baseline and candidate over the questions that both have."""
        both = ~(np.isnan(self.a) | np.isnan(self.b))
        if not both.any():
            return float("nan"), float("nan")
        weights = np.ones(int(both.sum()))
        if self.strata is not None:
            kept = [label for label, there in zip(self.strata, both, strict=True) if there]
            sizes = {label: kept.count(label) for label in dict.fromkeys(kept)}
            weights = np.array([1 / sizes[label] for label in kept])
        return float(np.average(self.b[both], weights=weights)), float(
            np.average(self.a[both], weights=weights)
        )

    def drops(self) -> tuple[Floats, tuple[float, float]]:
        """Returns what each question adds to the drop that is tested, and the bounds of one.

        A relative growth beyond g is a - (1 + g) b beyond 0, which is linear; over b's mean, with g added,
        its mean is the growth itself.
        """
        sign = 1.0 if self.worse == "less" else -1.0
        low, high = (self.low, self.low) if not self.paired else (self.low, self.high)
        known = self.b[~np.isnan(self.b)]
        if not self.paired and len(known):
            low = high = float(known[0])
        if not self.relative:
            ends = sorted((sign * (low - self.high), sign * (high - self.low)))
            return sign * (self.b - self.a), (ends[0], ends[1])
        scale = max(self.means()[0], 1.0)
        growth = (self.a - (1 + self.max_drop) * self.b) / scale + self.max_drop
        least = (self.low - (1 + self.max_drop) * self.high) / scale + self.max_drop
        return growth, (least, self.high / scale + self.max_drop)


@dataclass(frozen=True)
class Judged:
    """A metric and what is shown of it. `p_beyond` is Holm's; `baseline` and `candidate` are means."""

    metric: Metric
    outcome: Outcome
    baseline: float
    candidate: float
    drop: Drop
    p_beyond: float
    n_family: int
    need: Need | None


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says as a whole, and of each metric."""

    outcome: Outcome
    alpha: float
    judged: Sequence[Judged] = field(default_factory=tuple)

    @property
    def holes(self) -> list[Judged]:
        """The metrics that could not pass, whatever their numbers are."""
        return [each for each in self.judged if each.metric.holes]


def judge(metrics: Sequence[Metric], alpha: float) -> GateVerdict:
    """Returns the verdict over `metrics`, which are one family; none at all is inconclusive.

    `alpha` bounds the chance of a wrong pass of the gate, and that of any wrong regression in it.
    """
    drops = []
    for metric in metrics:
        values, span = metric.drops()
        drops.append(measure_drop(values, metric.max_drop, alpha, span, metric.strata, metric.clusters))
    adjusted = holm([drop.p_beyond for drop in drops])
    n_family = int(np.sum(~np.isnan(adjusted)))
    judged = [
        _judge_one(metric, drop, float(p), alpha, n_family)
        for metric, drop, p in zip(metrics, drops, adjusted, strict=True)
    ]
    outcomes = [each.outcome for each in judged]
    whole: Outcome = "inconclusive"
    if "regression" in outcomes:
        whole = "regression"
    elif outcomes and all(outcome == "pass" for outcome in outcomes):
        whole = "pass"
    return GateVerdict(whole, alpha, tuple(judged))


def _judge_one(metric: Metric, drop: Drop, p_beyond: float, alpha: float, n_family: int) -> Judged:
    outcome: Outcome = "inconclusive"
    if p_beyond < alpha:
        outcome = "regression"
    elif drop.p_within < alpha and not metric.holes:
        outcome = "pass"
    need = None
    if outcome == "inconclusive" and not metric.holes:
        most = (metric.drops()[1][1] - metric.max_drop) * _unevenness(metric)
        need = plan_decision(
            drop, metric.max_drop, metric.n_repeats, metric.noise, alpha, alpha / max(1, n_family), most
        )
        if need is not None and metric.n_dialogues:  # they have no repeats
            need = replace(need, repeats=None) if need.questions is not None else None
    return Judged(metric, outcome, *metric.means(), drop, p_beyond, n_family, need)


def _unevenness(metric: Metric) -> float:
    """Returns the largest cluster's size by the mean one's: the test's one more unit is of the heaviest."""
    if metric.clusters is None:
        return 1.0
    both = ~(np.isnan(metric.a) | np.isnan(metric.b))
    sizes = Counter(label for label, there in zip(metric.clusters, both, strict=True) if there)
    return max(sizes.values()) * len(sizes) / sizes.total() if sizes else 1.0
