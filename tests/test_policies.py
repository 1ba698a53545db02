"""Promises of the policies: by hand on four questions, bounded by the oracle, and no gain from no signal."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_eval.policy.difficulty import Forecast, assign_folds, forecast, list_prices, read_features
from qwen3_eval.policy.grid import join_grids, read_grid
from qwen3_eval.policy.points import FIXED, STABLE, TESTED, judge_policies
from qwen3_eval.policy.policies import (
    Choice,
    Floats,
    Grid,
    choose_best,
    choose_by_group,
    choose_by_price,
    choose_fixed,
    choose_stable,
)
from qwen3_eval.policy.report import beats, list_policy_findings
from qwen3_eval.policy.score import COSTS, Mix, follow, follow_fixed, measure_gain, mix_fixed
from qwen3_eval.report.tables import summarize
from qwen3_eval.types import NON_THINKING, THINKING

BUDGETS = (100.0, 200.0, 400.0)
TARGET = "r"
# For each question: its group, its answer without thinking, how long it would think, and its answers at the
# three budgets. "r" is right, anything else is not.
Questions = Mapping[str, tuple[str, str, int, tuple[str | None, ...]]]
FOUR: Questions = {
    "q0": ("a", "r", 80, ("r", "r", "r")),
    "q1": ("a", "x", 150, ("7", "r", "r")),
    "q2": ("b", "x", 300, ("4", "4", "r")),
    "q3": ("b", "x", 900, ("r", "2", "2")),
}


def record(**values: Any) -> dict[str, Any]:
    """One record as `read_records` has it, as far as policies read it; right where it says "r"."""
    answer = values.get("extracted", TARGET)
    outcome = "no_answer" if answer is None else "correct" if answer == TARGET else "incorrect"
    plain = {
        "task": "t", "group": "", "mode": THINKING, "repeat": 0, "score": float(answer == TARGET),
        "outcome": outcome, "forced": False, "truncated": False, "answer_tokens": 5, "parts": "",
    }  # fmt: skip
    return plain | values


def records_of(questions: Questions = FOUR, repeat: int = 0) -> pd.DataFrame:
    """The records of a run at `BUDGETS` and without thinking; answers take 5 tokens, without thinking 3."""
    rows = []
    for number, (name, (group, direct, length, answers)) in enumerate(questions.items()):
        about = {"sample_id": name, "group": group, "repeat": repeat}
        for budget, answer in zip(BUDGETS, answers, strict=True):
            used = {"forced": length >= budget, "thinking_tokens": min(length, int(budget))}
            rows.append(record(budget=budget, extracted=answer, rollout=2 * number, **about, **used))
        rows.append(
            record(
                mode=NON_THINKING, budget=0.0, extracted=direct, answer_tokens=3, thinking_tokens=0,
                rollout=2 * number + 1, **about,
            )
        )  # fmt: skip
    return pd.DataFrame(rows)


def grid_of(records: pd.DataFrame, **about: Any) -> Grid:
    grid = read_grid(records, about)
    assert grid is not None
    return grid


@pytest.fixture(scope="module")
def four() -> Grid:
    return grid_of(records_of())


def judged(grid: Grid, choice: Choice) -> tuple[list[float], float, float, float]:
    """The option that each rollout takes, the score, the mean thinking tokens, the mean of all tokens."""
    outcome = follow(grid, choice)
    means = (grid.weight @ outcome.tokens[cost] for cost in COSTS)
    return [grid.options[k] for k in choice.option], float(grid.weight @ outcome.score), *map(float, means)  # type: ignore[return-value]


def test_fixed_budgets_by_hand(four: Grid) -> None:
    """At 200, two of four are right, for (80 + 150 + 200 + 200) / 4 tokens of thinking; answers take 5."""
    assert four.options == (0.0, *BUDGETS)
    got = [judged(four, choose_fixed(four, option))[1:] for option in range(4)]
    assert got == [(0.25, 0, 3), (0.5, 95, 100), (0.5, 157.5, 162.5), (0.75, 232.5, 237.5)]


def test_the_oracle_by_hand(four: Grid) -> None:
    """Each takes its cheapest right option: none, 200, 400 and 100, for (3 + 155 + 305 + 105) / 4 tokens."""
    assert judged(four, choose_best(four)) == ([0, 200, 400, 100], 1.0, 137.5, 142.0)


def test_a_priced_oracle_by_hand(four: Grid) -> None:
    """Where a right answer is worth 200 tokens, q2 at 305 is too dear: it takes the cheapest, in vain."""
    assert judged(four, choose_best(four, 1 / 200)) == ([0, 200, 0, 100], 0.75, 62.5, 66.5)


def test_stopping_after_two_equal_answers_by_hand(four: Grid) -> None:
    """q0 ends at once, q1 at 200; q2 says 4 twice and stops wrong at 200; q3 says 2 twice by 400.

    Probes thrown away: none, one, one and two answers of 5 tokens: (85 + 160 + 210 + 415) / 4 in all.
    """
    assert judged(four, choose_stable(four, 2)) == ([100, 200, 200, 400], 0.5, 207.5, 217.5)


def test_stopping_after_three_equal_answers_by_hand(four: Grid) -> None:
    """Now q2 goes on to its end at 400, and is right: (85 + 160 + 315 + 415) / 4 tokens in all."""
    assert judged(four, choose_stable(four, 3)) == ([100, 200, 400, 400], 0.75, 232.5, 243.75)


def test_answers_not_found_are_never_stable() -> None:
    """Two budgets in a row without an answer do not stop; the third has one."""
    grid = grid_of(records_of({"q": ("", "x", 900, (None, None, "r")), "p": ("", "x", 900, ("7", "7", "r"))}))
    assert judged(grid, choose_stable(grid, 2))[0] == [200, 400]  # the questions in the order of their names


def test_switching_by_group_by_hand(four: Grid) -> None:
    """Fold 0 (q0, q2) learns from q1, where 0 loses to 400, and q3, where neither is right: b skips.
    Fold 1 (q1, q3) learns from q0, where both are right, and q2, where 400 wins: a skips."""
    folds = np.array([0, 1, 0, 1])
    got = judged(four, choose_by_group(four, 3, folds))
    assert got == ([400, 0, 0, 400], 0.25, 120.0, (85 + 3 + 3 + 405) / 4)
    alone = judged(four, choose_by_group(four, 3, np.array([0, 0, 1, 1])))
    assert alone[0] == [400] * 4, "a group that the other folds lack is not known"


def test_choosing_by_price_by_hand(four: Grid) -> None:
    """Worth at 1/2000 a token: .5, .55, .6, .7; at 1/1000 all are .5, and the smallest goes; dearer, too."""
    score = np.tile([0.5, 0.6, 0.7, 0.9], (4, 1))
    tokens = np.tile([0.0, 100.0, 200.0, 400.0], (4, 1))
    assert set(choose_by_price(four, score, tokens, 1 / 2000).option) == {3}
    assert set(choose_by_price(four, score, tokens, 1 / 1000).option) == {0}
    assert set(choose_by_price(four, score, tokens, 1 / 500, first=1).option) == {1}
    score[2] = [0.0, 0.0, 1.0, 1.0]
    assert judged(four, choose_by_price(four, score, tokens, 1 / 500)) == ([0, 0, 200, 0], 0.25, 50, 53.5)


def test_gain_against_a_mix_by_hand(four: Grid) -> None:
    """Stopping at m=2 scores 1/2 for 207.5 tokens of thinking. 9/11 of 400 and 2/11 of 100 spend as much and
    score 31/44, more than a mix of the neighbours 200 and 400 (2/3): the policy loses 9/44."""
    gain = measure_gain(four, follow(four, choose_stable(four, 2)), follow_fixed(four), "thinking")
    assert (gain.mix.low, gain.mix.high) == (1, 3)
    assert gain.mix.share == pytest.approx(9 / 11)
    assert gain.mix_score == pytest.approx(31 / 44)
    assert gain.mix_tokens == pytest.approx(207.5)
    assert gain.difference.difference == pytest.approx(-9 / 44)


def test_what_costs_more_than_the_largest_budget_is_held_against_it(four: Grid) -> None:
    """m=3 spends 243.75, more than any fixed budget: its gain is against 400 alone, and 0."""
    gain = measure_gain(four, follow(four, choose_stable(four, 3)), follow_fixed(four), "all")
    assert (gain.mix, gain.mix_score) == (Mix(3, 3, 0.0), 0.75)
    assert gain.difference.difference == 0


def test_the_best_mix() -> None:
    """Between neighbours on a concave curve, over the dip of another, never more tokens for less score."""
    tokens = np.array([0.0, 10.0, 20.0])
    assert mix_fixed(np.array([0.0, 0.6, 0.8]), tokens, 15) == Mix(1, 2, 0.5)
    assert mix_fixed(np.array([0.0, 0.1, 0.8]), tokens, 15) == Mix(0, 2, 0.75)
    assert mix_fixed(np.array([0.0, 0.6, 0.4]), tokens, 15) == Mix(1, 1, 0.0)
    assert mix_fixed(np.array([0.2, 0.6, 0.4]), tokens + 5, 3) == Mix(0, 0, 0.0)


def test_repeats_are_averaged_within_the_question() -> None:
    """q0 stops at 100 once and at 200 once: thinking (80 + 150) / 2; asked twice, it weighs no more."""
    again = records_of({"q0": ("a", "x", 150, ("7", "r", "r"))}, repeat=1)
    grid = grid_of(pd.concat([records_of(), again], ignore_index=True))
    outcome = follow(grid, choose_stable(grid, 2))
    assert outcome.tokens["thinking"].tolist() == [115, 150, 200, 400]
    assert outcome.score.tolist() == [1, 1, 0, 0]
    assert follow_fixed(grid)[0].score.tolist() == [0.5, 0, 0, 0]
    assert (grid.n_questions, grid.n_repeats) == (4, 2)


def test_rollouts_without_a_score_at_some_option_are_left_out_whole() -> None:
    """An error at one budget, a budget not there yet, no scored answer without thinking: each is counted."""
    records = records_of()
    records.loc[(records["sample_id"] == "q0") & (records["budget"] == 200), "outcome"] = "error"
    records = records[~((records["sample_id"] == "q1") & (records["budget"] == 400))]
    records.loc[(records["sample_id"] == "q2") & (records["budget"] == 0), "outcome"] = "error"
    grid = grid_of(records)
    assert (grid.sample_ids, grid.n_left_out) == (("q3",), 3)
    assert read_grid(records[records["sample_id"] != "q3"], {}) is None


def test_budgets_with_traces_of_their_own_are_known() -> None:
    records = records_of()
    assert grid_of(records).one_trace
    records.loc[records["budget"] == 200, "rollout"] += 100
    grid = grid_of(records)
    assert not grid.one_trace
    table = judge_policies("t", grid, even_forecast(grid), assign_folds(grid.cluster, 2, 0))
    assert STABLE not in set(table["policy"])


def even_forecast(grid: Grid) -> Forecast:
    """A forecast that knows nothing of single questions."""
    shape = (grid.n_questions, len(grid.options))
    return Forecast(np.zeros(shape), np.broadcast_to(np.arange(shape[1], dtype=float), shape))


PARTS = (
    {"h": 1.0, "h_plus": 0.0},
    {"m": 1.0, "m_plus": 1.0},
    {"m": 0.0, "m_plus": 0.0},
    {"m": 1.0, "m_plus": 0.0},
)


@pytest.mark.parametrize("about", [{}, {"average": "groups"}, {"average": "groups", "parallel": True}])
def test_fixed_budgets_are_those_of_the_summary(about: dict[str, Any]) -> None:
    """Same score and same interval, however the task averages and whatever its clusters are."""
    questions = {f"{name}/{i}": question for i, (name, question) in enumerate(FOUR.items())}
    records = records_of({**questions, "z/1": FOUR["q1"]})
    want, fixed = summary_and_fixed(records, about)
    for column in ("score", "stderr", "ci_low", "ci_high"):
        assert fixed[column].tolist() == pytest.approx(want[column].tolist()), column


def test_parts_of_a_verdict_weigh_as_in_the_summary() -> None:
    """One question has parts h and h_plus, three have m and m_plus; each part counts a quarter."""
    judged_in = dict(zip(FOUR, map(json.dumps, PARTS), strict=True))
    records = records_of()
    records["parts"] = records["sample_id"].map(judged_in)
    want, fixed = summary_and_fixed(records, {"average": "groups"})
    assert fixed["score"].tolist() == pytest.approx([(1 + 0 + 2 / 3 + 1 / 3) / 4] * 4)
    assert want["score"].tolist() == pytest.approx(fixed["score"].tolist())


def summary_and_fixed(records: pd.DataFrame, about: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The summary's rows of the whole task and the table's of fixed budgets, by rising budget."""
    summary = summarize(records, tasks={"t": about})
    grid = grid_of(records, **about)
    table = judge_policies("t", grid, even_forecast(grid), assign_folds(grid.cluster, 2, 0))
    return summary[summary["group"] == ""].sort_values("budget"), table[table["policy"] == FIXED]


def test_tasks_together_count_alike() -> None:
    """Task t scores 3/4 at 400, two questions of u 1 and 0: together 5/8. Groups carry the task's name."""
    other = grid_of(records_of({"q0": FOUR["q0"], "q3": FOUR["q3"]}))
    whole = join_grids({"t": grid_of(records_of()), "u": other})
    assert judged(whole, choose_fixed(whole, 3))[1:] == (5 / 8, (232.5 + 240) / 2, (237.5 + 245) / 2)
    assert whole.group == ("t/a", "t/a", "t/b", "t/b", "u/a", "u/b")
    assert whole.sample_ids[-2:] == ("u/q0", "u/q3")
    assert len(set(whole.cluster.tolist())) == 6
    assert set(whole.stratum[:4]) != set(whole.stratum[4:])


# Made-up runs: how long a question thinks decides what it scores.


def made_up(random: np.random.Generator, n_questions: int, n_repeats: int = 2) -> tuple[Grid, Floats]:
    """A task whose traces end after lognormal lengths, right in 9 of 10 if they ended and in 1 of 10 if not.

    Forced answers are one of three at random. Returns the grid and the logarithm of each question's length.
    """
    lengths = np.exp(random.normal(5.5, 1.2, n_questions))
    question = np.repeat(np.arange(n_questions), n_repeats)
    length = lengths[question] * np.exp(random.normal(0, 0.2, len(question)))
    budgets = np.array([128.0, 256.0, 512.0, 1024.0])
    ended = length[:, None] < budgets
    score = np.where(ended, random.random((len(question), 1)) < 0.9, random.random(ended.shape) < 0.1)
    direct = random.random((len(question), 1)) < 0.1
    nothing = np.zeros((len(question), 1))
    guesses = random.integers(0, 3, ended.shape)
    grid = Grid(
        options=(0.0, *budgets.tolist()),
        sample_ids=tuple(map(str, range(n_questions))),
        question=question,
        score=np.hstack([direct, score]).astype(float),
        thinking=np.hstack([nothing, np.minimum(length[:, None], budgets)]),
        answer=np.full((len(question), 5), 20.0),
        ended=np.hstack([nothing == 0, ended]),
        extracted=np.hstack([nothing.astype(np.int64) - 1, guesses]),
        weight=np.full(n_questions, 1 / n_questions),
        stratum=np.zeros(n_questions, dtype=np.int64),
        cluster=np.arange(n_questions),
        group=tuple("ab"[i % 2] for i in range(n_questions)),
    )
    return grid, np.log(lengths)


def test_no_signal_does_not_beat_fixed_budgets() -> None:
    """Prompts that say nothing, answers that repeat by chance, groups alike: in at most 5 % of made-up runs
    is any policy, at any setting and by either cost, said to beat fixed budgets."""
    n_runs, false_calls = 60, 0
    for seed in range(n_runs):
        random = np.random.default_rng(seed)
        grid, _ = made_up(random, 100)
        folds = assign_folds(grid.cluster, 5, seed)
        predicted = forecast(grid, random.normal(size=(100, 4)), folds, seed, n_trees=5)
        rows = judge_policies("t", grid, predicted, folds).to_dict(orient="records")
        false_calls += any(beats(row, cost) for row in rows for cost in COSTS)
    assert false_calls <= 0.05 * n_runs


def test_a_signal_is_found() -> None:
    """Where a feature tells the length within a fifth, the predictor beats fixed budgets in 8 of 8 runs."""
    for seed in range(8):
        random = np.random.default_rng(seed)
        grid, lengths = made_up(random, 100)
        folds = assign_folds(grid.cluster, 5, seed)
        features = np.column_stack([random.normal(size=(100, 3)), lengths])
        table = judge_policies("t", grid, forecast(grid, features, folds, seed, n_trees=5), folds)
        (said,) = [said for _, said in list_policy_findings(table) if said.startswith("predictor (")]
        assert "beats fixed budgets at equal tokens with intervals apart" in said


def test_a_random_mix_neither_gains_nor_loses() -> None:
    """Each rollout draws 128 or 512: the 95 % interval of its gain over the mix holds 0 in 93 to 97 % of
    runs. The share of the mix is estimated from the same tokens, and the interval knows it."""
    n_runs, covered = 600, 0
    for seed in range(n_runs):
        random = np.random.default_rng(seed)
        grid, _ = made_up(random, 200)
        drawn = Choice(np.where(random.random(400) < 0.5, 1, 3), np.zeros(400))
        fixed = follow_fixed(grid)
        # The mix is to be of these two, not of a better pair.
        seen = measure_gain(grid, follow(grid, drawn), [fixed[1], fixed[3]], "thinking").difference
        covered += seen.ci_low <= 0 <= seen.ci_high
    assert 0.93 <= covered / n_runs <= 0.97


def test_a_predictor_that_knows_nothing_is_a_fixed_budget() -> None:
    """Equal prompts: within a fold all questions take one option, that of the training means; without a price
    it is the best budget for all, with no gain at all."""
    grid, _ = made_up(np.random.default_rng(0), 100)
    folds = assign_folds(grid.cluster, 5, 0)
    predicted = forecast(grid, np.ones((100, 3)), folds, 0)
    for fold in range(5):
        of_others = grid.of_questions(grid.score)[folds != fold].mean(axis=0)
        assert predicted.score[folds == fold] == pytest.approx(np.tile(of_others, (20, 1)))
    for price in list_prices(grid.weight @ grid.of_questions(grid.total)):
        chosen = choose_by_price(grid, predicted.score, predicted.tokens, price).option
        assert all(len(set(chosen[folds[grid.question] == fold])) == 1 for fold in range(5))
    fixed = follow_fixed(grid)
    outcome = follow(grid, choose_by_price(grid, predicted.score, predicted.tokens, 0.0))
    assert outcome.equals(fixed[-1])
    assert measure_gain(grid, outcome, fixed, "all").difference.difference == 0


def test_a_forecast_does_not_see_its_own_fold() -> None:
    """Other scores and tokens in a fold change no forecast of that fold, and some of the others."""
    grid, lengths = made_up(np.random.default_rng(1), 60)
    folds = assign_folds(grid.cluster, 4, 1)
    mine = folds[grid.question] == 2
    turned = np.where(mine[:, None], 1 - grid.score, grid.score)
    other = replace(grid, score=turned, answer=grid.answer + 100 * mine[:, None])
    before, after = (forecast(g, lengths[:, None], folds, 0, n_trees=5) for g in (grid, other))
    assert np.array_equal(before.score[folds == 2], after.score[folds == 2])
    assert np.array_equal(before.tokens[folds == 2], after.tokens[folds == 2])
    assert not np.array_equal(before.score[folds != 2], after.score[folds != 2])


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.integers(2, 6), st.integers(0, 99))
def test_folds_keep_clusters_together(labels: list[int], n_folds: int, seed: int) -> None:
    """Questions of a cluster share a fold, no fold is empty, and they differ by one cluster at most."""
    cluster = np.unique(labels, return_inverse=True)[1]
    folds = assign_folds(cluster, n_folds, seed)
    of_cluster = {c: set(folds[cluster == c].tolist()) for c in set(cluster.tolist())}
    assert all(len(found) == 1 for found in of_cluster.values())
    sizes = np.bincount([next(iter(found)) for found in of_cluster.values()])
    assert len(sizes) == min(n_folds, len(of_cluster))
    assert sizes.min() >= sizes.max() - 1
    assert sizes.min() > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0, 0.01))
def test_no_policy_beats_the_oracle(seed: int, n_questions: int, price: float) -> None:
    """Whatever the grid: neither in score, nor in score less the price of its tokens, at any setting."""
    random = np.random.default_rng(seed)
    grid, _ = made_up(random, n_questions)
    n_options = len(grid.options)
    folds = assign_folds(grid.cluster, 2, seed)
    choices = [
        *(choose_fixed(grid, option) for option in range(n_options)),
        *(choose_stable(grid, m) for m in range(1, 6)),
        *(choose_by_group(grid, option, folds) for option in range(1, n_options)),
        choose_by_price(grid, random.random((n_questions, n_options)), grid.of_questions(grid.total), price),
        Choice(random.integers(0, n_options, len(grid.score)), np.zeros(len(grid.score))),
    ]
    for paid in (0.0, price):
        best = follow(grid, choose_best(grid, paid))
        bound = grid.weight @ (best.score - paid * best.tokens["all"])
        for choice in choices:
            got = follow(grid, choice)
            assert grid.weight @ (got.score - paid * got.tokens["all"]) <= bound + 1e-9


@given(st.integers(0, 10_000), st.integers(4, 9))
@settings(max_examples=40, deadline=None)
def test_waiting_for_more_than_there_are_is_the_largest_budget(seed: int, m: int) -> None:
    """With m above the number of budgets, score and thinking are those of the largest, question by question;
    beyond that it spends one answer for each smaller budget at which the thinking had not ended."""
    grid, _ = made_up(np.random.default_rng(seed), 5)
    got, largest = follow(grid, choose_stable(grid, m + 1)), follow_fixed(grid)[-1]
    assert got.score.tolist() == largest.score.tolist()
    assert got.tokens["thinking"].tolist() == largest.tokens["thinking"].tolist()
    probed = grid.of_questions(20.0 * np.minimum(np.sum(~grid.ended, axis=1), 3))
    assert got.tokens["all"] == pytest.approx(largest.tokens["all"] + probed)


def test_prices_reach_from_the_cheapest_to_the_dearest() -> None:
    """Options of 25 to 1,307 tokens: one right answer is worth from 16 tokens to 1.5 * 2^17."""
    prices = list_prices(np.array([25.0, 148.0, 1307.0]))
    assert (1 / prices[0], 1 / prices[1], 1 / prices[-1]) == (16, 24, 1.5 * 2**17)
    assert prices == sorted(prices, reverse=True)


def test_features_of_prompts() -> None:
    """Finite numbers for every prompt, an empty, a long and a strange one too; equal ones have equal rows."""
    prompts = ["", "a 12 b 7.5?", "x " * 50_000, "٣ \ud800 \x00 " + "9" * 400, "a 12 b 7.5?"]
    rows = read_features(prompts, [0, 5, 9, 9, 5], ["t", "t/a/b", "t", "u", "t/a/b"])
    assert rows.shape[0] == 5
    assert np.isfinite(rows).all()
    assert np.array_equal(rows[1], rows[4])
    assert math.log1p(12) in rows[1]
    assert not np.array_equal(rows[0], rows[3])


def test_findings_tell_that_none_does(four: Grid) -> None:
    """Four questions show nothing; the sentence says so, and names no winner."""
    table = judge_policies("t", four, even_forecast(four), assign_folds(four.cluster, 2, 0))
    assert list_policy_findings(table) == [
        ("t", "no policy beats fixed budgets at equal tokens with intervals apart")
    ]
    assert table.loc[table["policy"].isin(TESTED), "p_holm_all"].notna().all()
    assert table.loc[~table["policy"].isin(TESTED), "difference_all"].isna().all()
