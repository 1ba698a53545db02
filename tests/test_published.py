"""Published numbers: taken over as printed, found for our tasks and models, and counted as it counts."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_eval.cli import compose_config
from qwen3_eval.config import SweepConfig
from qwen3_eval.errors import ConfigError
from qwen3_eval.report.points import REFERENCE_COLUMNS
from qwen3_eval.report.published.departures import list_run_departures
from qwen3_eval.report.published.scores import (
    PUBLISHED_COLUMNS,
    RANKING_TABLES,
    find_model,
    read_budget_curves,
    read_published,
    reference_points,
    require_model,
)
from qwen3_eval.report.published.standing import Standing, find_standing, list_uncounted
from qwen3_eval.report.published.tables import RULE, format_standing, print_standing, tabulate_standing
from qwen3_eval.report.published.wins import WINS_COLUMNS, count_wins, list_wins
from qwen3_eval.report.tables import SUMMARY_COLUMNS
from qwen3_eval.study import describe_run, read_study
from qwen3_eval.task import task_names
from qwen3_eval.types import MODES, Mode

PUBLISHED = read_published()
RANKED = PUBLISHED[PUBLISHED["source_table"].isin(RANKING_TABLES)]


def measured(*rows: tuple[str, Mode, float, float, float], model: str = "Qwen3-8B") -> pd.DataFrame:
    """A summary; each row is (task, mode, budget, ci_low, ci_high), with the score in the middle."""
    filled = [
        dict.fromkeys(SUMMARY_COLUMNS, 0.0)
        | {"task": task, "group": "", "model": model, "mode": mode, "budget": budget, "metric": "accuracy"}
        | {"score": (low + high) / 2, "ci_low": low, "ci_high": high, "n_questions": 500, "n_repeats": 2}
        for task, mode, budget, low, high in rows
    ]
    return pd.DataFrame(filled, columns=list(SUMMARY_COLUMNS))


def run_of(summary: pd.DataFrame, **settings: Any) -> dict[str, Any]:
    """What run.json would hold of a summary's run, by default under the report's own settings."""
    model = str(summary["model"].iloc[0])
    plain = {"limit": None, "repeats": None, "max_answer_tokens": None, "max_output_tokens": None}
    sampling = {
        "thinking": {"temperature": 0.6, "top_p": 0.95, "top_k": 20},
        "non-thinking": {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "presence_penalty": 1.5},
        "base": {"temperature": 0.0},
    }
    return {
        "model": {"name": model, "path": f"Qwen/{model}"},
        "tasks": {task: {} for task in summary["task"].unique()},
        "settings": plain | {"stop_text": "report", "engine": {"yarn_factor": 1.0}} | settings,
        "protocol": {"name": "qwen3-report", "departures": []},
        "sampling": sampling,
        "budgets": ["inf"],
        "identity": {},
    }


# Source of the counts: Qwen3 technical report, arXiv:2505.09388, sections 3.3 and 4.6.
@pytest.mark.parametrize(
    ("ours", "theirs", "mode", "wins", "total"),
    [
        ("Qwen3-235B-A22B-Base", "DeepSeek-V3-Base", "base", 14, 15),
        ("Qwen3-235B-A22B-Base", "Qwen2.5-72B-Base", "base", 15, 15),  # "in all benchmarks"
        ("Qwen3-32B-Base", "Qwen2.5-72B-Base", "base", 10, 15),
        ("Qwen3-32B-Base", "Llama-4-Scout-Base", "base", 14, 15),  # the text says all 15; table 4 does not
        ("Qwen3-14B-Base", "Qwen2.5-14B-Base", "base", 15, 15),
        ("Qwen3-14B-Base", "Gemma-3-12B-Base", "base", 15, 15),
        ("Qwen3-30B-A3B-Base", "Qwen2.5-14B-Base", "base", 15, 15),  # "on all tasks"
        ("Qwen3-235B-A22B", "DeepSeek-R1", "thinking", 17, 23),
        ("Qwen3-235B-A22B", "GPT-4o-2024-11-20", "non-thinking", 18, 23),
        ("Qwen3-32B", "QwQ-32B", "thinking", 17, 23),
    ],
)
def test_the_reports_own_counts_come_out(ours: str, theirs: str, mode: str, wins: int, total: int) -> None:
    """Fed the report's numbers, the wins are those that its text counts, and every benchmark counts once."""
    got = count_wins(ours, theirs)
    assert (got.mode, got.wins, got.n_benchmarks) == (mode, wins, total)
    assert (got.ties, got.undecided, got.losses) == (0, 0, total - wins)
    assert tuple(got.rows.columns) == WINS_COLUMNS


@pytest.mark.parametrize(
    ("ours", "theirs", "lost"),
    [
        ("Qwen3-235B-A22B-Base", "DeepSeek-V3-Base", ["INCLUDE"]),
        ("Qwen3-32B-Base", "Llama-4-Scout-Base", ["INCLUDE"]),
        ("Qwen3-32B-Base", "Qwen2.5-72B-Base", ["MMLU", "MMLU-Redux", "MATH", "MMMLU", "INCLUDE"]),
    ],
)
def test_the_benchmarks_that_are_lost_are_named(ours: str, theirs: str, lost: list[str]) -> None:
    """Read by eye off tables 3 and 4."""
    rows = count_wins(ours, theirs).rows
    assert rows.loc[rows["outcome"] == "loss", "benchmark"].tolist() == lost


def test_more_than_half_of_the_benchmarks_are_won_over_the_next_larger_qwen() -> None:
    """Qwen3-8B, 4B and 1.7B Base over Qwen2.5-14B, 7B and 3B Base: section 3.3, "over half"."""
    for size, larger in (("8B", "14B"), ("4B", "7B"), ("1.7B", "3B")):
        got = count_wins(f"Qwen3-{size}-Base", f"Qwen2.5-{larger}-Base")
        assert (got.n_benchmarks, got.wins > 7) == (15, True)


def test_rows_of_a_published_model_count_as_its_name_does() -> None:
    """`ours` may be a selection of `read_published`."""
    rows = PUBLISHED[PUBLISHED["model"] == "Qwen3-32B"]
    by_name = count_wins("Qwen3-32B", "QwQ-32B", "thinking")
    assert count_wins(rows, "QwQ-32B", "thinking").rows.equals(by_name.rows)


def test_equal_prints_are_a_tie() -> None:
    """Table 15 prints 98.0 for MATH-500 and 8.70 for AlignBench of both."""
    got = count_wins("Qwen3-30B-A3B", "QwQ-32B", "thinking")
    assert got.rows.loc[got.rows["outcome"] == "tie", "benchmark"].tolist() == ["AlignBench v1.1", "MATH-500"]
    assert got.wins + got.ties + got.losses == got.n_benchmarks == 23


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(sorted(RANKED["model"].unique())), st.sampled_from(sorted(RANKED["model"].unique())))
def test_wins_of_one_are_losses_of_the_other(ours: str, theirs: str) -> None:
    """Turned round, wins and losses change places and ties stay; only the same mode meets."""
    for mode in MODES:
        there, back = count_wins(ours, theirs, mode), count_wins(theirs, ours, mode)
        assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
        modes = [set(RANKED.loc[RANKED["model"] == name, "mode"]) for name in (ours, theirs)]
        assert (there.n_benchmarks > 0) == all(mode in known for known in modes)


# Read off the report: its tables 3, 11, 12, 18 and 23.
@pytest.mark.parametrize(
    ("table", "model", "mode", "benchmark", "metric", "score", "unit"),
    [
        ("Table 3", "Qwen3-235B-A22B-Base", "base", "MMLU", "accuracy", 0.8781, "percent"),
        (
            "Table 11",
            "Qwen3-235B-A22B",
            "thinking",
            "AIME'25",
            "accuracy, mean of 64 samples",
            0.815,
            "percent",
        ),
        ("Table 11", "Qwen3-235B-A22B", "thinking", "CodeForces", "Elo rating", 2056, "rating"),
        ("Table 11", "Qwen3-235B-A22B", "thinking", "CodeForces", "percentile", 98.2, "percentile"),
        ("Table 11", "OpenAI-o1", "thinking", "AlignBench v1.1", "score", 8.86, "of 10"),
        ("Table 12", "DeepSeek-V3", "non-thinking", "MLogiQA", "accuracy", 0.589, "percent"),
        ("Table 18", "Gemma-3-12B-IT", "non-thinking", "MMLU-Redux", "accuracy", 0.778, "percent"),
    ],
)
def test_scores_are_as_printed(
    table: str, model: str, mode: str, benchmark: str, metric: str, score: float, unit: str
) -> None:
    """Percentages in 0-1; a rating, a percentile and marks out of 10 stay, and their note says so."""
    here = (PUBLISHED["source_table"] == table) & (PUBLISHED["model"] == model) & (PUBLISHED["mode"] == mode)
    (row,) = PUBLISHED[here & (PUBLISHED["benchmark"] == benchmark)].query("metric == @metric").itertuples()
    assert (row.score, row.unit) == (score, unit)
    assert ("not 0-1" in str(row.note)) == (unit != "percent")


def test_the_tables_are_whole() -> None:
    """All 3,340 scores of 30 tables; shares lie in 0-1, nothing is missing, no model says two things."""
    assert tuple(PUBLISHED.columns) == PUBLISHED_COLUMNS
    assert len(PUBLISHED) == 3340
    assert set(PUBLISHED["source_table"]) == {f"Table {n}" for n in (*range(3, 9), *range(11, 36), 37)}
    assert not PUBLISHED.isna().any().any()
    assert PUBLISHED.loc[PUBLISHED["unit"] == "percent", "score"].between(0, 1).all()
    said = PUBLISHED.groupby(["model", "mode", "benchmark", "metric"])["score"].nunique()
    assert set(said) == {1}


def test_averages_are_the_means_of_what_they_average() -> None:
    """RULER's over its six lengths, a language's over its benchmarks: within the rounding of one decimal."""
    ruler = PUBLISHED[PUBLISHED["benchmark"].str.startswith("RULER")]
    languages = PUBLISHED[PUBLISHED["source_table"].isin([f"Table {n}" for n in range(24, 36)])]
    checked = 0
    for rows in (ruler, languages):
        for _, row in rows.groupby(["source_table", "model", "mode"]):
            of_average = row["benchmark"].str.contains("avg|Average")
            assert row[~of_average]["score"].mean() == pytest.approx(
                row[of_average]["score"].item(), abs=0.00051
            )
            checked += 1
    assert checked == 16 + 252


def test_tasks_are_ours_and_one_to_a_mode() -> None:
    """Each task that is named is registered; a model has at most one score of it in a mode, pass@64 none."""
    named = PUBLISHED[PUBLISHED["task"] != ""]
    assert set(named["task"]) <= set(task_names())
    assert {"gsm8k", "math500", "aime24", "aime25", "gpqa_diamond", "mmlu_redux"} <= set(named["task"])
    assert named.groupby(["model", "mode", "task"])["score"].nunique().max() == 1
    assert "pass@64" not in set(named["metric"])


def test_the_budget_curve_is_figure_2() -> None:
    """Seven points to a benchmark: 1K to 32K of 1,024 tokens, and non-thinking mode as in table 12."""
    curves = read_budget_curves()
    for _, rows in curves.groupby("benchmark"):
        assert rows["budget"].tolist() == [1024, 2048, 4096, 8192, 16384, 32768, 0]
    level = curves[curves["budget"] == 0].set_index("benchmark")["score"]
    table = PUBLISHED[(PUBLISHED["source_table"] == "Table 12") & (PUBLISHED["model"] == "Qwen3-235B-A22B")]
    printed = table.set_index("benchmark")["score"][level.index]
    assert level.tolist() == pytest.approx(printed.tolist(), abs=0.0005)


def test_points_to_draw_are_the_models_own_and_the_curve() -> None:
    """Table scores at inf and 0, RULER's at its budget of 8,192; figure 2's curve whosever run it is."""
    points = reference_points("qwen3-report", ["aime24", "ruler", "chain"], "Qwen/Qwen3-8B")
    assert tuple(points.columns) == REFERENCE_COLUMNS
    own = points[points["label"] == "Qwen3-8B (Qwen3 report)"]
    assert own[["task", "mode", "budget", "score"]].values.tolist() == [
        ["aime24", "non-thinking", 0, 0.291],
        ["aime24", "thinking", math.inf, 0.76],
        ["ruler", "non-thinking", 0, 0.891],
        ["ruler", "thinking", 8192, 0.844],
    ]
    curve = points[points["label"] == "Qwen3-235B-A22B (Qwen3 report, figure 2)"]
    assert (len(curve), len(points), set(curve["task"])) == (7, 11, {"aime24"})


def test_points_of_named_rivals_are_drawn_too() -> None:
    """A model that is not published has none of its own; where no task is published there is nothing."""
    points = reference_points("qwen3-report", ["gsm8k"], "nano", against=["Qwen3-0.6B-Base"])
    assert points.values.tolist() == [["Qwen3-0.6B-Base (Qwen3 report)", "gsm8k", "base", 0, 0.5959]]
    assert reference_points("qwen3-report", ["chain"], "Qwen3-8B").empty


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen3-8B", "Qwen3-8B"),
        ("Qwen/Qwen3-8B-Base", "Qwen3-8B-Base"),
        ("models/qwen3-30b-a3b/", "Qwen3-30B-A3B"),
        ("Qwen/Qwen2.5-72B", "Qwen2.5-72B-Base"),
        ("Qwen/Qwen2.5-72B-Instruct", "Qwen2.5-72B-Instruct"),
        ("google/gemma-3-27b-pt", "Gemma-3-27B-Base"),
        ("google/gemma-3-27b-it", "Gemma-3-27B-IT"),
        ("meta-llama/Llama-3.1-8B-Instruct", "LLaMA-3.1-8B-Instruct"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "DeepSeek-R1-Distill-Qwen-32B"),
        ("meta-llama/Llama-4-Scout-17B-16E", "Llama-4-Scout-Base"),
        ("Qwen/Qwen3-8B-FP8", ""),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", ""),
        ("nano", ""),
    ],
)
def test_a_measured_model_is_found_where_it_is_the_same(name: str, published: str) -> None:
    """By the hub's name or the report's; a quantised or later model is another."""
    assert find_model(name) == published


def test_hub_names_lead_to_models_that_are_there() -> None:
    """Every alias names a published model."""
    from qwen3_eval.report.published import scores as published

    assert set(published._HUB_NAMES.values()) <= set(PUBLISHED["model"])


def test_wrong_names_are_refused_with_what_was_meant() -> None:
    """A reference or a model that is not there; where nothing is near, all models are listed."""
    with pytest.raises(ConfigError, match=r"reference='qwen3-repor' is unknown; did you mean 'qwen3-report'"):
        read_published("qwen3-repor")
    with pytest.raises(ConfigError, match=r"reference='x' is unknown; allowed: qwen3-report"):
        reference_points("x", ["aime24"], "Qwen3-8B")
    with pytest.raises(
        ConfigError, match=r"against='Qwen3-8B-Bas' is no model .*did you mean 'Qwen3-8B-Base'"
    ):
        require_model("Qwen3-8B-Bas")
    with pytest.raises(ConfigError, match=r"against='gpt2' is no model .*; it has: .*Qwen3-8B, "):
        list_wins(measured(("aime24", "thinking", math.inf, 0.1, 0.2)), "Qwen3-8B", ["gpt2"])


# Qwen3-8B, table 17: MATH-500 97.4, AIME'24 76.0, AIME'25 67.3.
def test_a_measured_score_wins_where_its_interval_excludes_the_published() -> None:
    """Above is a win, below a loss, and an interval that holds it, its ends included, tells nothing apart."""
    summary = measured(
        ("math500", "thinking", math.inf, 0.975, 0.99),
        ("aime24", "thinking", math.inf, 0.60, 0.759),
        ("aime25", "thinking", math.inf, 0.673, 0.80),
    )
    got = count_wins(summary, "Qwen3-8B")
    assert dict(zip(got.rows["task"], got.rows["outcome"], strict=True)) == {
        "math500": "win", "aime24": "loss", "aime25": "not told apart",
    }  # fmt: skip
    assert (got.wins, got.ties, got.undecided, got.losses) == (1, 0, 1, 1)


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_measured_outcome_follows_the_interval(low: float, high: float) -> None:
    """Whatever the interval: told apart exactly where 0.974 is outside, and never a tie."""
    low, high = sorted((low, high))
    got = count_wins(measured(("math500", "thinking", math.inf, low, high)), "Qwen3-8B")
    want = (int(low > 0.974), 0, int(low <= 0.974 <= high), int(high < 0.974))
    assert (got.wins, got.ties, got.undecided, got.losses) == want


def test_a_mode_meets_its_own_kind_only() -> None:
    """A base run meets base models, thinking meets thinking; a rival without the mode has no count."""
    base = measured(("gsm8k", "base", 0.0, 0.9, 0.92), model="Qwen3-8B-Base")
    assert {w.theirs for w in list_wins(base, "Qwen3-8B-Base")} == {
        "Qwen3-8B-Base", "Llama-3-8B-Base", "Qwen2.5-7B-Base", "Qwen2.5-14B-Base",
    }  # fmt: skip
    both = measured(("aime24", "thinking", math.inf, 0.7, 0.8), ("aime24", "non-thinking", 0.0, 0.2, 0.4))
    assert [(w.mode, w.theirs) for w in list_wins(both, "Qwen3-8B", ["DeepSeek-V3", "OpenAI-o1"])] == [
        ("thinking", "OpenAI-o1"), ("non-thinking", "DeepSeek-V3"),
    ]  # fmt: skip
    (nothing,) = list_wins(both, "Qwen3-8B", ["Qwen3-8B-Base"])
    assert (nothing.theirs, nothing.n_benchmarks, nothing.is_published) == ("Qwen3-8B-Base", 0, False)


def test_rivals_are_by_default_those_of_the_same_table() -> None:
    """Itself first, then the others of table 17; table 23 joins where RULER was measured."""
    aime = measured(("aime24", "thinking", math.inf, 0.7, 0.8))
    names = ["Qwen3-8B", "DeepSeek-R1-Distill-Qwen-14B", "DeepSeek-R1-Distill-Qwen-32B", "Qwen3-4B"]
    assert [w.theirs for w in list_wins(aime, "Qwen3-8B")] == names
    ruler = measured(("ruler", "thinking", 8192.0, 0.8, 0.82), ("aime24", "thinking", math.inf, 0.7, 0.8))
    assert {"Qwen3-14B", "Qwen3-235B-A22B"} <= {w.theirs for w in list_wins(ruler, "Qwen3-8B")}
    # A model of no table meets all that have the task: those of tables 11, 13, 15, 17 and 19.
    tables = ["Table 11", "Table 13", "Table 15", "Table 17", "Table 19"]
    everyone = set(RANKED.loc[RANKED["source_table"].isin(tables), "model"])
    assert {w.theirs for w in list_wins(aime, "nano")} == everyone


def test_the_count_as_published_stands_beside_the_measured() -> None:
    """For Qwen3-8B against DeepSeek-R1-Distill-Qwen-32B, table 17 has 19 of 23; beside itself none."""
    found = list_wins(measured(("aime24", "thinking", math.inf, 0.7, 0.8)), "Qwen3-8B")
    again = {w.theirs: w.as_published for w in found}
    distilled = again["DeepSeek-R1-Distill-Qwen-32B"]
    assert distilled is not None
    assert (distilled.wins, distilled.ties, distilled.losses) == (19, 0, 4)
    assert again["Qwen3-8B"] is None


def test_the_budget_that_was_published_is_counted() -> None:
    """`inf` where it was measured, 8k for RULER, else the largest; group rows and missing scores are not."""
    summary = measured(
        ("aime24", "thinking", 1024.0, 0.1, 0.2),
        ("aime24", "thinking", math.inf, 0.7, 0.8),
        ("math500", "thinking", 1024.0, 0.1, 0.2),
        ("math500", "thinking", 8192.0, 0.9, 0.95),
        ("ruler", "thinking", 8192.0, 0.8, 0.85),
        ("ruler", "thinking", math.inf, 0.8, 0.85),
        ("aime25", "thinking", math.inf, 0.5, 0.6),
    )
    summary.loc[summary["task"] == "aime25", "score"] = math.nan
    grouped = summary.assign(group="I", ci_low=0.0, ci_high=0.01)
    got = count_wins(pd.concat([grouped, summary], ignore_index=True), "Qwen3-8B")
    assert dict(zip(got.rows["task"], got.rows["budget"], strict=True)) == {
        "math500": 8192, "aime24": math.inf, "ruler": 8192,
    }  # fmt: skip
    assert got.rows["ours"].tolist() == pytest.approx([0.925, 0.75, 0.825])


def departures_of(summary: pd.DataFrame, **settings: Any) -> list[str]:
    run = run_of(summary, **settings)
    return list_run_departures(run, list_wins(summary, run["model"]["name"]))


def test_a_run_by_the_protocol_departs_in_nothing() -> None:
    """The report's sampling, stop text, limits and repeats on aime24, whose card has no departure."""
    assert departures_of(measured(("aime24", "thinking", math.inf, 0.7, 0.8))) == []


def test_every_departure_is_told() -> None:
    """Settings that differ, what a task's card names, and a budget that stands for another; each once."""
    summary = measured(("aime24", "thinking", 8192.0, 0.7, 0.8), ("math500", "thinking", math.inf, 0.9, 0.95))
    run = run_of(summary, limit=100, max_answer_tokens=4096, stop_text="docs") | {
        "protocol": {"name": "", "departures": []}
    }
    run["sampling"]["thinking"]["temperature"] = 1.0
    told = list_run_departures(run, list_wins(summary, "Qwen3-8B"))
    assert told[0] == "the run was made without protocol=qwen3-report"
    assert "sampling.thinking.temperature=1: the report has 0.6" in told
    assert "limit=100: the report asks every question, or a tenth of the multilingual ones" in told
    assert "stop_text=docs: the report's own is stop_text=report" in told
    assert "aime24: the score at budget=8k stands for that at inf, which was not measured" in told
    for start in ("max_answer_tokens=4096:", "math500: units and bases are not compared"):
        assert sum(line.startswith(start) for line in told) == 1
    assert len(told) == len(set(told)) == 7


def test_another_benchmark_or_model_is_a_departure() -> None:
    """MATH is 5,000 problems, GPQA is taken for Diamond; a model by another name is told."""
    told = departures_of(measured(("math500", "base", 0.0, 0.6, 0.7), model="Qwen3-8B-FP8"))
    assert "the model, Qwen3-8B-FP8, is none of those in the Qwen3 report" in told
    assert any(line.startswith("math500: these are 500 of the 5,000 problems of MATH") for line in told)
    assert any(line.startswith("mode=base: the report does not say") for line in told)
    told = departures_of(measured(("gpqa_diamond", "base", 0.0, 0.4, 0.5), model="Qwen3-8B-Base"))
    assert any(line.startswith("gpqa_diamond: the report's base table says GPQA") for line in told)


def test_departures_that_were_stored_are_kept() -> None:
    """What the sweep told of itself stands, also where the settings are not in run.json."""
    summary = measured(("aime24", "thinking", math.inf, 0.7, 0.8))
    run = {
        "model": "Qwen3-8B",
        "tasks": {"aime24": {}},
        "protocol": {"name": "qwen3-report", "departures": ["repeats=2 answers: aime24 takes 64"]},
    }
    assert list_run_departures(run, list_wins(summary, "Qwen3-8B")) == [
        "repeats=2 answers: aime24 takes 64", "the settings of the run are not in its run.json",
    ]  # fmt: skip


def test_what_has_no_counterpart_is_said() -> None:
    """A task that is not there, and one that is there in another mode; nothing is counted, nothing fails."""
    summary = measured(("chain", "thinking", 1024.0, 0.5, 0.6), ("gsm8k", "thinking", math.inf, 0.9, 0.95))
    assert list_uncounted(summary) == [
        "chain is not in the Qwen3 report",
        "gsm8k is in the Qwen3 report in mode base only, not thinking",
    ]
    standing = find_standing({"Qwen3-8B": (run_of(summary), summary)})
    assert (standing.wins, standing.departures) == ((), {"Qwen3-8B": []})
    out = io.StringIO()
    print_standing(standing, out)
    assert out.getvalue() == (
        "\nNothing here has a counterpart in the Qwen3 report. Not counted: chain is not in the Qwen3 "
        "report; gsm8k is in the Qwen3 report in mode base only, not thinking.\n"
    )
    assert tabulate_standing(standing) == []


def standing_of_two() -> Standing:
    summary = measured(
        ("aime24", "thinking", math.inf, 0.6, 0.7), ("math500", "thinking", math.inf, 0.98, 0.99)
    )
    run = run_of(summary, limit=10)
    return find_standing({"a": (run, summary), "b|c": (run, summary)}, against=["qwen3-8b", "Qwen3-8B-Base"])


def test_the_tables_hold_the_counts_the_scores_and_the_departures() -> None:
    """Three tables, each with a row for every fact, the run it is of, and words that state the rule."""
    counts, scores, departures = tabulate_standing(standing_of_two())
    assert [counts.name, scores.name, departures.name] == ["wins", "published", "departures"]
    assert counts.headings == [
        "run", "mode", "against", "benchmarks", "wins", "not told apart", "losses", "as published",
    ]  # fmt: skip
    assert counts.cells[0] == ["a", "thinking", "Qwen3-8B", "2", "1", "0", "1", "–"]
    assert counts.cells[1] == ["a", "thinking", "Qwen3-8B-Base", "0", "–", "–", "–", "–"]
    assert RULE in counts.caption
    assert RULE in scores.caption
    assert scores.cells[1] == [
        "a", "thinking", "Qwen3-8B", "AIME'24 (table 17)", "loss", "inf", "0.650", "0.600 – 0.700", "0.760",
        "−0.110", "500 × 2",
    ]  # fmt: skip
    assert scores.frame["outcome"].tolist() == ["win", "loss"] * 2
    assert set(departures.frame["run"]) == {"a", "b|c"}
    for table in (counts, scores, departures):
        assert {len(row) for row in table.cells} == {len(table.headings)}
        assert len(table.frame) == len(table.cells)


def test_published_against_published_shows_ties_and_no_interval() -> None:
    """Two models of the report: ties instead of what is not told apart, ratings as they are printed."""
    wins = count_wins("Qwen3-30B-A3B", "QwQ-32B", "thinking")
    counts, scores = tabulate_standing(Standing("qwen3-report", (wins,), {}))
    assert counts.headings[3:7] == ["benchmarks", "wins", "ties", "losses"]
    assert counts.cells[0][3:7] == ["23", str(wins.wins), "2", str(wins.losses)]
    assert "compared as printed" in counts.caption
    assert "interval" not in counts.caption
    rating = next(row for row in scores.cells if row[3].startswith("CodeForces"))
    assert rating[4:] == ["loss", "–", "1974", "–", "1982", "−8.000", "–"]


def test_print_and_markdown_say_the_same() -> None:
    """Each cell of the tables is in both; a bar in a name does not break a row of the Markdown."""
    standing = standing_of_two()
    out = io.StringIO()
    print_standing(standing, out)
    printed, markdown = out.getvalue(), format_standing(standing)
    for table in tabulate_standing(standing):
        assert f"### {table.title}" in markdown
        for row in table.cells:
            assert all(cell in printed for cell in row)
            assert all(cell.replace("|", "\\|") in markdown for cell in row)
    assert RULE in printed
    rows = [line for line in markdown.splitlines() if line.startswith("| b\\|c | thinking | Qwen3-8B |")]
    assert len(rows) == 3
    assert rows[0].replace("\\|", "").count("|") == 9


def test_a_run_as_run_json_has_it_stands_beside_the_report(data_root: Path, tmp_path: Path) -> None:
    """gsm8k asked as of a base model: it meets each of tables 3 to 8 once, and tells all it did."""
    asked = ["task=gsm8k", "mode=base", "limit=3", "engine=scripted", f"data.root={data_root}"]
    config = compose_config("sweep", SweepConfig, asked)
    run = json.loads(json.dumps(describe_run(config, read_study(config), None, tmp_path)))
    summary = measured(("gsm8k", "base", 0.0, 0.0, 0.56), model="nano")
    standing = find_standing({"nano": (run, summary)})
    base = RANKED[(RANKED["mode"] == "base") & (RANKED["benchmark"] == "GSM8K")]
    assert [w.theirs for w in standing.wins] == base["model"].drop_duplicates().tolist()
    assert {w.n_benchmarks for w in standing.wins} == {1}
    # Of Llama-3-8B-Base 55.30, Qwen2.5-0.5B 41.62, Gemma-3-1B 2.20, Gemma-3-4B 43.97; all others are above.
    assert [w.theirs for w in standing.wins if w.undecided] == [
        "Llama-3-8B-Base", "Gemma-3-4B-Base", "Qwen2.5-0.5B-Base", "Gemma-3-1B-Base",
    ]  # fmt: skip
    told = standing.departures["nano"]
    assert told[:4] == [
        "the model, nano, is none of those in the Qwen3 report",
        "the run was made without protocol=qwen3-report",
        "mode=base: the report does not say how its base models sample; here they are greedy",
        "max_answer_tokens=4096: in the report an answer has what the thinking leaves of the output limit "
        "(max_answer_tokens=null)",
    ]
    assert "limit=3: the report asks every question, or a tenth of the multilingual ones" in told
    assert any(line.startswith("gsm8k: mode=base: 4-shot as in the Qwen3 report") for line in told)
    out = io.StringIO()
    print_standing(standing, out)
    assert f"{len(standing.wins)} scores are in published.csv" in out.getvalue()


def test_two_scores_span_both_modes() -> None:
    """ThinkFollow's of table 22; every other row has a mode of ours."""
    others = PUBLISHED[~PUBLISHED["mode"].isin(MODES)]
    assert others[["mode", "benchmark"]].values.tolist() == [["mixed", "ThinkFollow"]] * 2
