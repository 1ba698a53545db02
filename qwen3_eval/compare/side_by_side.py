"""Everything that `compare` says of runs, drawn from their records: the same for terminal, files and page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen3_eval.compare.flips import find_flips
from qwen3_eval.compare.pairs import (
    Pair,
    compare_pairs,
    list_differences,
    pair_runs,
    tabulate_differences,
)
from qwen3_eval.compare.run_costs import RunCost
from qwen3_eval.compare.scores_by_run import (
    summarize_runs,
    tabulate_costs,
    tabulate_scores,
    tabulate_tokens,
)
from qwen3_eval.compare.unlike import Asked, Unlike, explain_unlike, list_unlike
from qwen3_eval.past_run import PastRun
from qwen3_eval.report.findings import list_warnings
from qwen3_eval.report.html import model_name
from qwen3_eval.report.points import points_of
from qwen3_eval.report.published.scores import reference_points
from qwen3_eval.report.published.standing import Standing, find_standing
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import summarize

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PairUnlike:
    """In what a pair of runs differs: what that means for a difference of scores, then one by one."""

    names: str
    meaning: str
    found: tuple[Unlike, ...]


@dataclass(frozen=True)
class Published:
    """Where the runs stand beside published models, and the `points` to draw: `REFERENCE_COLUMNS`."""

    standing: Standing
    points: "pd.DataFrame"


@dataclass(frozen=True)
class SideBySide:
    """Runs side by side on the `tasks` that at least two of them have.

    `summary` is as `summarize_runs` gives it, `flips` as `find_flips`. `tables` come in the order of reading.
    """

    runs: tuple[PastRun, ...]
    tasks: tuple[str, ...]
    pairs: tuple[Pair, ...]
    unlike: tuple[PairUnlike, ...]
    findings: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    summary: "pd.DataFrame"
    flips: "pd.DataFrame"
    tables: tuple[ReportTable, ...]
    published: Published | None = None

    @property
    def title(self) -> str:
        """Returns `a and b`, or `a, b and c`."""
        *names, last = [past.name for past in self.runs]
        return f"{', '.join(names)} and {last}" if names else last

    @property
    def points(self) -> "pd.DataFrame":
        """Returns the points that figures draw, `POINT_COLUMNS` of all runs."""
        import pandas as pd

        names = [past.name for past in self.runs]
        return pd.concat([points_of(self.summary[self.summary["run"] == name], name) for name in names])


def put_side_by_side(
    runs: Sequence[PastRun],
    tasks: Sequence[str],
    costs: Sequence[RunCost],
    asked: Mapping[str, Asked] | None = None,
    published: Published | None = None,
) -> SideBySide:
    """Compares runs, whose names must differ. One run alone has scores and costs, and no difference.

    `costs` are the runs', in order; `asked` holds the words of each run's questions, by the run's name.
    """
    pairs = pair_runs(runs, tasks)
    summary = summarize_runs(runs, tasks)
    tables = [tabulate_scores(summary), tabulate_tokens(summary), tabulate_costs(runs, costs)]
    findings: list[tuple[str, str]] = []
    if pairs:
        comparison = compare_pairs(pairs)
        findings = list_differences(comparison)
        tables.insert(0, tabulate_differences(comparison, pairs))
    return SideBySide(
        tuple(runs),
        tuple(tasks),
        tuple(pairs),
        tuple(_unlike(pair, asked) for pair in pairs),
        tuple(findings),
        tuple(_warn(summary)),
        summary,
        find_flips(pairs),
        tuple(tables),
        published,
    )


def set_against_published(
    runs: Sequence[PastRun], tasks: Sequence[str], reference: str, against: Sequence[str] = ()
) -> Published:
    """Returns how the runs stand beside published models, each on all its own questions.

    Raises ConfigError for a reference or a model that is not known.
    """
    import pandas as pd

    summaries = {
        past.name: (
            past.run,
            summarize(past.records[past.records["task"].isin(tasks)], model, past.run["tasks"]),
        )
        for past, model in ((past, model_name(past.run)) for past in runs)
    }
    models = dict.fromkeys(model_name(past.run) for past in runs)
    points = [reference_points(reference, tasks, model, against) for model in models]
    return Published(
        find_standing(summaries, reference, against), pd.concat(points, ignore_index=True).drop_duplicates()
    )


def _unlike(pair: Pair, asked: Mapping[str, Asked] | None) -> PairUnlike:
    a, b = pair.reference, pair.other
    found = list_unlike(a, b, pair.tasks, None if asked is None else (asked[a.name], asked[b.name]))
    return PairUnlike(f"{a.name} and {b.name}", explain_unlike(a, b, found), tuple(found))


def _warn(summary: "pd.DataFrame") -> list[str]:
    """Returns what could mislead in each run's own scores, told once where it is true of all."""
    said: dict[str, list[str]] = {}
    for run, rows in summary.groupby("run", sort=False):
        for warning in list_warnings(rows):
            said.setdefault(warning, []).append(str(run))
    n_runs = summary["run"].nunique()
    return [
        warning if len(runs) == n_runs else f"{', '.join(runs)}: {warning}" for warning, runs in said.items()
    ]
