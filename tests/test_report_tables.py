"""Promises of the tables beside the summary: golden numbers by hand, families, fronts, votes, and words."""

import math

import pandas as pd
import pytest
from made_records import about, draw_cells, join, make_cell
from scipy.stats import t

from qwen3_eval.report.build_tables import build_tables
from qwen3_eval.report.curve_tables import CURVE_COLUMNS
from qwen3_eval.report.difference_table import DIFFERENCE_COLUMNS
from qwen3_eval.report.efficiency_table import EFFICIENCY_COLUMNS
from qwen3_eval.report.findings import list_warnings
from qwen3_eval.report.repeat_tables import REPEAT_COLUMNS
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import summarize
from qwen3_eval.stats.paired import holm

INF = math.inf
KINDS = ("plain", "groups", "parallel", "parts")


def tables_of(records: pd.DataFrame, kind: str = "plain") -> dict[str, ReportTable]:
    tasks = {str(task): about(kind) for task in records["task"].unique()}
    found = build_tables(records, summarize(records, "nano", tasks), {"tasks": tasks}, seed=0)
    return {table.name: table for table in found}


def four_questions() -> pd.DataFrame:
    """Right from 128, from 256 and from 512 tokens on, and never; question 3 is right without thinking.

    Thinking really used: 100, 200, 300, 400 up to the budget.
    """
    cells = []
    for budget in (128.0, 256.0, 512.0, INF):
        right = {str(i): [float(budget >= 128 * 2**i and i < 3)] for i in range(4)}
        cell = make_cell(right, budget)
        cell["thinking_tokens"] = [min(100 * (i + 1), int(min(budget, 1000))) for i in range(4)]
        cells.append(cell.assign(forced=[100 * (i + 1) > budget for i in range(4)]))
    return join(*cells, make_cell({"0": [0.0], "1": [0.0], "2": [0.0], "3": [1.0]}, 0.0, answer_tokens=300))


def test_the_curve_of_four_questions_by_hand() -> None:
    """Scores 1/4, 1/2, 3/4 and 3/4 at inf. Area 1/2; the questions' areas are 1, 3/4, 1/4 and 0. Gain 1/4 a
    doubling; questions' slopes are 0, 1/2, 1/2, 0: s^2 = 1/12, margin t(3) / sqrt(48). 95 % of 3/4 is 85 %
    of the way from 256 to 512. Per 1k: 1/4 of 121, 1/2 of 203 and 3/4 of 250 tokens: 3 at 512 and inf."""
    table = tables_of(four_questions())["curve"]
    (row,) = table.frame.to_dict(orient="records")
    assert list(table.frame.columns) == list(CURVE_COLUMNS)
    assert (row["task"], row["n_questions"], row["n_repeats"]) == ("sums", 4, 1)
    assert (row["from_budget"], row["to_budget"], row["area"]) == (128, 512, 0.5)
    assert row["area_ci_low"] < 0.5 < row["area_ci_high"]
    margin = float(t.ppf(0.975, 3)) / math.sqrt(48)
    assert row["gain_per_doubling"] == 0.25
    assert row["gain_per_doubling_ci_low"] == pytest.approx(0.25 - margin)
    assert (row["budget_95"], row["budget_95_of"]) == (pytest.approx(256 * 2**0.85), INF)
    assert math.isnan(row["fit_c"])  # three budgets support no fit
    assert (row["score_per_1k_tokens"], row["score_per_1k_tokens_at"]) == (pytest.approx(3), 512)
    (cells,) = table.cells
    assert cells[0] == "sums"
    assert cells[2].startswith("+0.250 (−0.209 to +0.709)")
    assert (cells[4], cells[6]) == ("–", "4")


def test_the_differences_of_four_questions_by_hand() -> None:
    """Neighbours first, each budget against the largest, then thinking against none; no pair twice. 512 to
    inf has no flip. From 128 to inf two turn right: p 1/2. From none to inf three do, and one wrong: 5/8."""
    table = tables_of(four_questions())["differences"]
    frame = table.frame
    assert list(frame.columns) == list(DIFFERENCE_COLUMNS)
    assert [row[1] for row in table.cells] == [
        "128 → 256", "256 → 512", "512 → inf", "128 → inf", "256 → inf", "non-thinking → 128",
        "non-thinking → 256", "non-thinking → 512", "non-thinking → inf",
    ]  # fmt: skip
    by_points = {row[1]: got for row, got in zip(table.cells, frame.to_dict(orient="records"), strict=True)}
    far = by_points["128 → inf"]
    assert (far["comparison"], far["difference"], far["p_value"]) == ("largest", 0.5, 0.5)
    assert (far["n_better"], far["n_worse"], far["n_equal"], far["n_questions"]) == (2, 0, 2, 4)
    none = by_points["non-thinking → inf"]
    assert (none["difference"], none["n_better"], none["n_worse"]) == (0.5, 3, 1)
    assert none["p_value"] == pytest.approx(5 / 8)
    flat = by_points["512 → inf"]
    assert (flat["difference"], flat["p_value"], flat["n_equal"]) == (0, 1, 4)
    assert flat["smallest_difference"] > flat["ci_high"] > 0


def test_p_values_are_corrected_over_the_tasks_family() -> None:
    """The column is Holm's of the task's own p values; a second task changes nothing of the first's."""
    one = draw_cells(80, "plain", 0)
    both = join(one, draw_cells(80, "plain", 1).assign(task="other"))
    for frame in (tables_of(one)["differences"].frame, tables_of(both)["differences"].frame):
        for _, family in frame.groupby("task"):
            assert family["p_holm"].tolist() == pytest.approx(holm(family["p_value"]).tolist())
            assert len(family) == 2 + 1 + 3
    alone = tables_of(one)["differences"].frame["p_holm"]
    within = tables_of(both)["differences"].frame.query("task == 'drawn'")["p_holm"]
    assert within.tolist() == alone.tolist()


def test_the_front_of_four_questions_by_hand() -> None:
    """Tokens with the 10 of the answer: 131 for 1/4, 213 for 1/2, 260 for 3/4, 260 at inf for 3/4, and 300
    without thinking for 1/4, which 128 beats. inf takes what 512 takes and stays on the front with it."""
    table = tables_of(four_questions())["efficiency"]
    frame = table.frame
    assert list(frame.columns) == list(EFFICIENCY_COLUMNS)
    assert frame["tokens_mean"].tolist() == [131, 213, 260, 260, 300]
    assert frame["on_front"].tolist() == [True, True, True, True, False]
    assert frame["score_per_1k_tokens"].tolist() == pytest.approx(
        [250 / 121, 500 / 203, 3, 3, math.nan], nan_ok=True
    )
    assert [row[table.headings.index("front")] for row in table.cells] == ["●"] * 4 + [""]
    assert [row[table.headings.index("forced")] for row in table.cells] == ["75 %", "50 %", "–", "–", "–"]


def test_tasks_are_averaged_where_all_have_the_point() -> None:
    """Scores 1 and 1/2 have the mean 3/4, with half the second's error of 1/2; a budget that one task lacks
    has no mean."""
    records = join(
        make_cell({"0": [1.0], "1": [1.0]}, 128.0, "a"),
        make_cell({"0": [1.0], "1": [1.0]}, 256.0, "a"),
        make_cell({"0": [1.0], "1": [0.0]}, 128.0, "b", thinking_tokens=50),
    )
    table = tables_of(records)["efficiency"]
    last = table.frame.iloc[-1]
    assert (last["task"], last["budget"], last["score"], last["thinking_tokens_mean"]) == ("", 128, 0.75, 75)
    assert last["stderr"] == pytest.approx(0.5 / 2)
    assert (last["n_questions"], last["on_front"]) == (4, True)
    assert table.cells[-1][0] == "all tasks"
    assert len(table.cells) == 4


def test_repeats_by_hand() -> None:
    """Three answers each: right twice and wrong once, and right once, wrong twice with different answers, so
    a tie of three. avg 1/2; the vote of three 1 and 1/3; the best of three 1 and 1. At 2 of 3 the votes are
    (1 + 1/2 + 1/2) / 3 and (1/2 + 1/2 + 0) / 3, the best 1 and 2/3."""
    records = join(
        make_cell({"0": [1, 1, 0], "1": [1, 0, 0], "2": [1, None, None]}, 128.0), make_cell({"0": [1]}, 0.0)
    )
    table = tables_of(records)["repeats"]
    frame = table.frame
    assert list(frame.columns) == list(REPEAT_COLUMNS)
    got = {(row["measure"], row["k"]): row["score"] for row in frame.to_dict(orient="records")}
    assert got["avg", 3] == pytest.approx((2 / 3 + 1 / 3 + 1) / 3)
    assert got["maj", 3] == pytest.approx((1 + 1 / 3) / 2)
    assert got["maj", 2] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert (got["pass", 3], got["pass", 2]) == (1, pytest.approx((1 + 2 / 3) / 2))
    assert frame.loc[frame["measure"] == "maj", "n_questions"].unique().tolist() == [2]
    assert len(table.cells) == 1  # non-thinking was asked once


def test_an_answer_not_found_votes_for_nothing() -> None:
    """Two of three answers were not found: the third alone is the vote."""
    cell = make_cell({"0": [1, 0, 0], "1": [1, 0, 0]}, 128.0)
    cell.loc[cell["score"] == 0, ["extracted", "outcome"]] = [None, "no_answer"]
    frame = tables_of(cell)["repeats"].frame
    assert frame.query("measure == 'maj' and k == 3")["score"].tolist() == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_agree_with_the_summary(kind: str) -> None:
    """Whatever a task's average is: differences are those of scores, scores in the tables the summary's, the
    area the trapezoids' of the scores, the score per 1k the score over the mean tokens."""
    records = draw_cells(90, kind, 5)
    whole = summarize(records, tasks={"drawn": about(kind)}).query("group == ''")
    score = {(row["mode"], row["budget"]): row["score"] for row in whole.to_dict(orient="records")}
    tables = tables_of(records, kind)
    for row in tables["differences"].frame.to_dict(orient="records"):
        apart = score[row["to_mode"], row["to_budget"]] - score[row["from_mode"], row["from_budget"]]
        assert row["difference"] == pytest.approx(apart)
        assert row["n_questions"] == 90
    efficiency = tables["efficiency"].frame
    assert efficiency["score"].tolist() == whole["score"].tolist()
    thinking = efficiency[efficiency["mode"] == "thinking"]
    rate = 1000 * thinking["score"] / thinking["thinking_tokens_mean"]
    assert thinking["score_per_1k_tokens"].tolist() == pytest.approx(rate.tolist())
    curve = tables["curve"].frame.iloc[0]
    assert curve["area"] == pytest.approx((score["thinking", 128] + score["thinking", 512]) / 2)
    assert curve["n_questions"] == 90
    repeats = tables["repeats"].frame
    assert repeats.query("measure == 'avg'")["score"].tolist() == whole["score"].tolist()
    assert repeats.query("measure == 'pass' and k == 2")["score"].ge(whole["score"].to_numpy() - 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_whole_and_say_what_they_rest_on(kind: str) -> None:
    """A cell for each heading; captions state questions, repeats and intervals; wherever there are scores the
    four shares stand beside them; the same seed gives the same table."""
    records = draw_cells(40, kind, 6)
    tables = tables_of(records, kind)
    assert list(tables) == ["curve", "differences", "efficiency", "repeats"]
    for table in tables.values():
        assert {len(row) for row in table.cells} == {len(table.headings)}
        assert table.caption.startswith("n = 40 questions, 2 repeats of each, averaged first.")
        assert "95 %" in table.caption
        assert all(cell and "nan" not in cell for row in table.cells for cell in row if cell != "")
    assert "Holm" in tables["differences"].caption
    for name in ("efficiency", "repeats"):
        assert {"forced", "truncated", "no answer", "error"} <= set(tables[name].headings)
    again = tables_of(records, kind)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table.frame, again[name].frame)


@pytest.mark.parametrize(("records", "names"), [
    (make_cell({"0": [1.0]}, 128.0), {"efficiency"}),
    (make_cell({"0": [1.0], "1": [0.0]}, 0.0), {"efficiency"}),
    (make_cell({"0": [1.0]}, 0.0, mode="base"), {"efficiency"}),
    (make_cell({"0": [None, None]}, 128.0), set()),
    (join(make_cell({"0": [1.0]}, 128.0), make_cell({"1": [1.0]}, 256.0)), {"efficiency"}),
    (join(make_cell({"0": [0.0]}, 128.0), make_cell({"0": [0.0]}, INF)),
     {"curve", "differences", "efficiency"}),
])  # fmt: skip
def test_small_runs_have_the_tables_they_can(records: pd.DataFrame, names: set[str]) -> None:
    """One budget, no thinking, a base model, errors alone, no shared question, one question all wrong."""
    for kind in KINDS[:3]:
        assert set(tables_of(records, kind)) == names


def test_truncation_at_inf_is_said_before_the_rest() -> None:
    """30 % truncated at inf: the warning names the share, the settings, and what rests on it; errors of any
    task come before it."""
    scores = {str(i): [1.0] for i in range(40)}
    cut = join(make_cell(scores, 128.0, "a"), make_cell(scores, INF, "a"))
    cut.loc[40:51, "truncated"] = True
    broken = make_cell(scores | {"0": [None]}, 128.0, "b")
    said = list_warnings(summarize(join(cut, broken)))
    assert len(said) == 2
    assert said[0].startswith("b: records without a verdict")
    assert "30 % at inf" in said[1]
    assert "max_output_tokens" in said[1]
    assert said[1].endswith("what is told against inf rests on a score that may be too low.")
    cut["budget"] = cut["budget"].replace(INF, 256.0)
    assert list_warnings(summarize(cut))[0].endswith("may raise the score.")
