"""The policies that are judged, each at its settings, and the table of what they score and spend."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.policy.difficulty import Forecast, list_prices
from qwen3_eval.policy.policies import (
    Choice,
    Grid,
    Ints,
    choose_best,
    choose_by_group,
    choose_by_price,
    choose_fixed,
    choose_stable,
)
from qwen3_eval.policy.score import (
    COSTS,
    Cost,
    Gain,
    Outcome,
    estimate_weighted,
    follow,
    follow_fixed,
    measure_gain,
)
from qwen3_eval.stats.paired import holm

if TYPE_CHECKING:
    import pandas as pd

FIXED = "fixed budget"
STABLE = "stop when stable"
BY_GROUP = "non-thinking by group"
PREDICTOR = "predictor"
PREDICTOR_SKIPS = "predictor with skips"
ORACLE = "oracle (bound)"
TESTED = (STABLE, BY_GROUP, PREDICTOR, PREDICTOR_SKIPS)
"""The policies that one could run; the oracle could not."""
SWEPT = (PREDICTOR, PREDICTOR_SKIPS, ORACLE)
"""Those that are a curve over their price."""

IN_A_ROW = (2, 3)
ANY_PRICE = "any price"

POLICY_COLUMNS = (
    "task", "policy", "setting", "n_questions", "n_repeats", "score", "stderr", "ci_low", "ci_high",
    "thinking_tokens_mean", "all_tokens_mean", "non_thinking",
    *(
        f"{name}_{cost}"
        for cost in COSTS
        for name in ("mix", "mix_score", "mix_tokens", "difference", "ci_low", "ci_high", "p_value", "p_holm")
    ),
)  # fmt: skip
"""A row for each policy and setting. `non_thinking` is the share of rollouts that did not think.

What ends in a cost compares with the best mix of fixed budgets of the same mean tokens by that cost:
`difference` is the policy minus the mix, `p_holm` adjusted over the policies of a task. NaN for fixed
budgets, and for the oracle, which is no policy that one could run.
"""


def judge_policies(task: str, grid: Grid, predicted: Forecast, folds: Ints) -> "pd.DataFrame":
    """Returns `POLICY_COLUMNS` of one task, fixed budgets first and the oracle last.

    A price that changes nothing for any question is left out. `predicted` and `folds`
    (n_questions,) are of the cross-validation.
    """
    import pandas as pd

    fixed = follow_fixed(grid)
    rows: list[dict[str, Any]] = []
    before: tuple[str, Outcome] | None = None
    for policy, setting, choice in list_choices(grid, predicted, folds):
        outcome = follow(grid, choice)
        if policy in SWEPT and before is not None and before[0] == policy and outcome.equals(before[1]):
            continue
        before = policy, outcome
        rows.append(
            {"task": task, "policy": policy, "setting": setting}
            | _describe(grid, choice, outcome)
            | (_compare(grid, outcome, fixed) if policy in TESTED else {})
        )
    table = pd.DataFrame(rows, columns=list(POLICY_COLUMNS))
    for cost in COSTS:
        table[f"p_holm_{cost}"] = holm(table[f"p_value_{cost}"].to_numpy(dtype=float))
    return table


def list_choices(grid: Grid, predicted: Forecast, folds: Ints) -> Iterator[tuple[str, str, Choice]]:
    """Yields (policy, setting, choice); a policy that this grid leaves nothing to choose is left out."""
    first, n_options = grid.first_budget, len(grid.options)
    for option in range(n_options):
        yield FIXED, name_option(grid.options[option]), choose_fixed(grid, option)
    for m in IN_A_ROW:
        if grid.one_trace and m < n_options - first:
            yield STABLE, f"{m} in a row", choose_stable(grid, m)
    if first and len(set(grid.group)) > 1:
        for option in range(first, n_options):
            yield BY_GROUP, f"else {name_option(grid.options[option])}", choose_by_group(grid, option, folds)
    prices = list_prices(grid.weight @ grid.of_questions(grid.total))
    for name, least in ((PREDICTOR, first), (PREDICTOR_SKIPS, 0)):
        if name == PREDICTOR or first:
            for price in prices:
                choice = choose_by_price(grid, predicted.score, predicted.tokens, price, least)
                yield name, name_price(price), choice
    for price in prices:
        yield ORACLE, name_price(price), choose_best(grid, price)
    yield ORACLE, ANY_PRICE, choose_best(grid)


def name_option(option: float) -> str:
    """Returns `non-thinking`, or a budget as it is written."""
    return "non-thinking" if option == 0 else format_budget(option)


def name_price(price: float) -> str:
    """Returns what one more right answer may cost, as `pays 2k tokens`."""
    return f"pays {format_budget(round(1 / price))} tokens"


def _describe(grid: Grid, choice: Choice, outcome: Outcome) -> dict[str, Any]:
    got = estimate_weighted(grid, outcome.score)
    direct = (choice.option < grid.first_budget).astype(float)
    return {
        "n_questions": got.n_questions,
        "n_repeats": got.n_repeats,
        "score": got.score,
        "stderr": got.stderr,
        "ci_low": got.ci_low,
        "ci_high": got.ci_high,
        "thinking_tokens_mean": float(grid.weight @ outcome.tokens["thinking"]),
        "all_tokens_mean": float(grid.weight @ outcome.tokens["all"]),
        "non_thinking": float(grid.weight @ grid.of_questions(direct)),
    }


def _compare(grid: Grid, outcome: Outcome, fixed: list[Outcome]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cost in COSTS:
        found |= _name_gain(grid, measure_gain(grid, outcome, fixed, cost), cost)
    return found


def _name_gain(grid: Grid, gain: Gain, cost: Cost) -> dict[str, Any]:
    low, high = (name_option(grid.options[option]) for option in (gain.mix.low, gain.mix.high))
    mixed = f"{low} for {1 - gain.mix.share:.0%}, {high} for {gain.mix.share:.0%}"
    seen = gain.difference
    return {
        f"mix_{cost}": low if low == high else mixed.replace("%", " %"),
        f"mix_score_{cost}": gain.mix_score,
        f"mix_tokens_{cost}": gain.mix_tokens,
        f"difference_{cost}": seen.difference,
        f"ci_low_{cost}": seen.ci_low,
        f"ci_high_{cost}": seen.ci_high,
        f"p_value_{cost}": seen.p_value,
    }
