"""Promises of cells: scores by question, and differences that are those of the scores in the summary."""

import math

import numpy as np
import pandas as pd
import pytest
from made_records import about, draw_cells, join, make_cell

from qwen3_eval.report.cell_estimates import estimate_cells
from qwen3_eval.report.cells import difference_of_cells, score_table, score_tables
from qwen3_eval.report.tables import summarize
from qwen3_eval.report.task_cells import read_task_cells

KINDS = ("plain", "groups", "parallel", "parts")


def test_a_table_has_a_row_a_question_and_a_column_a_repeat() -> None:
    """Ids rise as texts do, errors are left out, and a question of errors alone has no row."""
    table = score_table(make_cell({"b": [1, 0], "a": [None, 1], "c": [None, None]}))
    assert table.index.tolist() == ["a", "b"]
    assert table.columns.equals(pd.Index([0, 1]))
    assert table.to_numpy() == pytest.approx(np.array([[math.nan, 1], [1, 0]]), nan_ok=True)


def test_a_table_may_be_of_another_column() -> None:
    """Numbers as floats, texts with None where there is none."""
    cell = make_cell({"a": [1, None], "b": [1, 0]})
    tokens = score_table(cell, "thinking_tokens").to_numpy()
    assert tokens == pytest.approx(np.array([[100, math.nan], [100, 100]]), nan_ok=True)
    assert score_table(cell, "extracted").to_numpy().tolist() == [["right", None], ["right", "wrong 1"]]


def test_two_records_of_one_repeat_are_refused() -> None:
    """One of them would be lost without a word."""
    with pytest.raises(ValueError, match="two records"):
        score_table(join(make_cell({"a": [1]}), make_cell({"a": [0]})))


def test_the_difference_of_four_questions_by_hand() -> None:
    """Means 1, 1/2, 1, 0 less 0, 1/2, 0, 1/2 are 1, 0, 1, -1/2: 3/8, two better, one worse. A question with
    errors alone on one side, or on one side only, has no say."""
    a = make_cell({"0": [1, 1], "1": [1, 0], "2": [1, None], "3": [0, 0], "4": [None, None], "5": [1, 1]})
    b = make_cell({"0": [0, 0], "1": [0, 1], "2": [0, 0], "3": [1, 0], "4": [1, 1], "6": [0, 0]})
    got = difference_of_cells(a, b, {})
    assert got is not None
    assert got.difference == 3 / 8
    assert got.stderr == pytest.approx(math.sqrt(((5 / 8) ** 2 * 2 + (3 / 8) ** 2 + (7 / 8) ** 2) / 3 / 4))
    assert (got.n_questions, got.n_better, got.n_worse, got.n_equal) == (4, 2, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_no_shared_question_is_no_difference(kind: str) -> None:
    """Other questions, or errors alone, compare to nothing."""
    cell = draw_cells(8, kind, 0, [128.0])
    wrecked = cell.assign(outcome="error")
    others = cell.assign(sample_id=[f"other/{sample_id}" for sample_id in cell["sample_id"]])
    assert difference_of_cells(cell, wrecked, about(kind)) is None
    assert difference_of_cells(cell, others, about(kind)) is None
    assert difference_of_cells(cell, cell, about(kind)) is not None


def test_groups_count_alike_in_a_difference_by_hand() -> None:
    """Top group a: 1 - 0 of one question and 0 - 0 of another, 1/2; b/x and b/y together 0, 0, -1, -1/3 in
    the mean: (1/2 - 1/3) / 2 = 1/12. Over questions it would be 0."""
    groups = {"0": "a", "1": "a", "2": "b/x", "3": "b/x", "4": "b/y"}
    a = make_cell({"0": [1], "1": [0], "2": [0], "3": [1], "4": [0]}, groups=groups)
    b = make_cell({"0": [0], "1": [0], "2": [0], "3": [1], "4": [1]}, groups=groups)
    got = difference_of_cells(a, b, {"average": "groups"})
    assert got is not None
    assert got.difference == pytest.approx(1 / 12)
    assert (got.n_questions, got.n_units, got.n_better, got.n_worse) == (5, 5, 1, 1)
    plain = difference_of_cells(a, b, {})
    assert plain is not None
    assert plain.difference == 0


def test_parts_count_alike_in_a_difference_by_hand() -> None:
    """Question 0 turns right in the first of its two parts, question 1 wrong in both: base (1 - 1) / 2 = 0,
    plus (0 - 1) / 2 = -1/2, together -1/4. Two questions, one better and one worse."""
    a, b = (join(*(make_cell({name: [1.0]}, parts=f'{{"base": {base}, "plus": {plus}}}')
                    for name, base, plus in rows))
            for rows in ([("0", 1, 0), ("1", 0, 0)], [("0", 0, 0), ("1", 1, 1)]))  # fmt: skip
    got = difference_of_cells(a, b, {"average": "groups"})
    assert got is not None
    assert got.difference == -1 / 4
    assert (got.n_questions, got.n_units, got.n_better, got.n_worse) == (2, 2, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_differences_are_those_of_the_summary(kind: str) -> None:
    """Where both cells scored every question, the difference of cells is that of the scores."""
    records = draw_cells(60, kind, 3)
    whole = summarize(records, tasks={"drawn": about(kind)}).query("group == ''").set_index("budget")["score"]
    cells = dict(iter(records.groupby("budget")))
    for a, b in ((512.0, 128.0), (math.inf, 0.0)):
        got = difference_of_cells(cells[a], cells[b], about(kind))
        assert got is not None
        assert got.difference == pytest.approx(whole[a] - whole[b])
        assert got.n_better + got.n_worse + got.n_equal == got.n_questions == 60


def test_parallel_questions_are_units_across_languages() -> None:
    """60 questions in two languages are 30 units, and the tables are by language."""
    records = draw_cells(60, "parallel", 1, [128.0, 512.0])
    a, b = (records[records["budget"] == budget] for budget in (512.0, 128.0))
    got = difference_of_cells(a, b, about("parallel"))
    assert got is not None
    assert (got.n_questions, got.n_units) == (60, 30)
    assert sorted(score_tables(a, about("parallel"))) == ["de", "fr"]


@pytest.mark.parametrize("kind", KINDS)
def test_several_reductions_are_several_summaries(kind: str) -> None:
    """Estimated side by side, each way of reducing gives what it gives alone, in the summary's order."""
    records = draw_cells(25, kind, 8, n_repeats=3)
    tasks = {"drawn": about(kind)}
    ways = [lambda scores: scores, lambda scores: scores[:, :1]]
    both = list(estimate_cells(records, tasks, ways))
    for place, way in enumerate(ways):
        alone = list(estimate_cells(records, tasks, [way]))
        assert [cell.estimates[place] for cell in both] == [cell.estimates[0] for cell in alone]
    assert [cell.budget for cell in both[:4]] == [128, 512, math.inf, 0]


def test_rows_of_questions_line_up_over_budgets() -> None:
    """A question that one budget lacks is NaN there, and keeps its row; means are over its repeats."""
    records = join(make_cell({"0": [1, 0], "1": [1, 1]}, 128.0), make_cell({"1": [0, 0], "2": [1, 1]}, 512.0))
    (task,) = read_task_cells(records, {})
    assert task.rows.sample_ids.tolist() == ["0", "1", "2"]
    means = pd.DataFrame(dict(task.rows.means)).to_numpy()
    assert means == pytest.approx(np.array([[0.5, math.nan], [1, 0], [math.nan, 1]]), nan_ok=True)
