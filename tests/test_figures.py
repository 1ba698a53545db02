"""Promises of the figures: in print and in pages, of tasks, of several runs, beside published scores."""

import json
import math
import re
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_reports import HOSTILE, fake_run

from qwen3_eval.report.charts.interactive import Charts, draw_charts
from qwen3_eval.report.charts.specs import CONFIG
from qwen3_eval.report.charts.tables import describe_counts
from qwen3_eval.report.charts.vega import draw_static, read_library
from qwen3_eval.report.figures import draw_curve, draw_runs
from qwen3_eval.report.looks import COLORS, choose_look
from qwen3_eval.report.points import POINT_COLUMNS, REFERENCE_COLUMNS, place_on_log_axis, points_of
from qwen3_eval.report.tables import summarize

TWELVE = tuple(f"task{n}" for n in range(12))


def as_base(records: pd.DataFrame) -> pd.DataFrame:
    """The records without thinking, as a base model's."""
    return records[records["budget"] == 0].assign(mode="base")


def point(**values: object) -> dict[str, object]:
    """One point: run a on chain at 1k, score 0.5, unless `values` say otherwise."""
    plain = {
        "run": "a", "task": "chain", "mode": "thinking", "budget": 1024.0, "score": 0.5, "ci_low": 0.4,
        "ci_high": 0.6, "thinking_tokens_mean": 800.0, "forced": 0.25, "truncated": 0.0, "no_answer": 0.0,
        "error": 0.0, "n_questions": 40, "n_repeats": 1,
    }  # fmt: skip
    return plain | values


def points(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(POINT_COLUMNS))


def publish(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(REFERENCE_COLUMNS))


def values_of(charts: Charts, chart: int = 0, panel: int = 0) -> list[dict[str, object]]:
    return list(charts.charts[chart].panels[panel].spec["data"]["values"])


# ---- Places and looks


def test_budgets_stand_at_their_logarithm_and_the_ends_apart() -> None:
    """128 is at 7 and 512 at 9; 0 and inf, which have no logarithm, stand 1.4 outside."""
    assert place_on_log_axis([512, math.inf, 128, 0, 512]) == pytest.approx(
        {0: 5.6, 128: 7, 512: 9, math.inf: 10.4}
    )
    assert place_on_log_axis([math.inf]) == {math.inf: 0}
    assert place_on_log_axis([0.0]) == {0: -1.4}


def test_looks_differ_without_colour() -> None:
    """In grey, the marker and the line of the first 32 series still tell them apart."""
    looks = [choose_look(number) for number in range(32)]
    assert len({(look.marker, look.dash) for look in looks}) == 32
    assert looks[0].marker != looks[8].marker, "the same colour has another marker"


def test_colours_are_the_same_in_print_and_in_pages() -> None:
    """style.mplstyle, the charts and page.css name the same eight colours."""
    import matplotlib as mpl

    reports = files("qwen3_eval.reports")
    with as_file(reports / "style.mplstyle") as style:
        cycle = mpl.rc_params_from_file(style, use_default_template=False)["axes.prop_cycle"]
    assert tuple(cycle.by_key()["color"]) == COLORS
    css = (reports / "page.css").read_text(encoding="utf-8")
    found = re.findall(r"--series-(\d): light-dark\((#\w+),", css)
    assert found == [(str(number), color) for number, color in enumerate(COLORS)]


@pytest.mark.parametrize(("ink", "paper"), [(0, "#ffffff"), (1, "#0d1117")])
def test_words_are_read_in_either_theme(ink: int, paper: str) -> None:
    """Every colour that words have on a page stands out 4.5 to 1 from the paper, and series 2 to 1.

    Source: WCAG 2.2, success criteria 1.4.3 and the contrast ratio it defines.
    """

    def luminance(color: str) -> float:
        parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    css = (files("qwen3_eval.reports") / "page.css").read_text(encoding="utf-8")
    found = {
        name: colors[ink] for name, *colors in re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", css)
    }
    for name, color in found.items():
        low, high = sorted([luminance(color), luminance(paper)])
        ratio = (high + 0.05) / (low + 0.05)
        if name in ("ink", "soft", "accent", "good", "bad", "odd", "cut"):
            assert ratio >= 4.5, name
        elif name.startswith("series"):
            assert ratio >= 2, name


# ---- For print


@pytest.mark.parametrize(
    ("tasks", "budgets", "score"),
    [
        (("chain",), (1024.0,), None),
        (("chain",), (math.inf,), 1.0),
        (("chain",), (1024.0, 4096.0), 0.0),
        (("chain",), (), None),
        (TWELVE[:3], (256.0, 1024.0, math.inf), None),
        (TWELVE, (256.0, 1024.0, math.inf), None),
        (TWELVE, (), None),
    ],
)
def test_curve_draws_every_shape_of_run(
    tasks: tuple[str, ...], budgets: tuple[float, ...], score: float | None
) -> None:
    """One budget, only `inf`, all wrong, all right, no thinking, 1, 3, 12 tasks: all is named, n stated."""
    figures = draw_curve(summarize(fake_run(12, budgets, tasks, score), "nano"))
    svg = figures["svg"].decode()
    assert figures["png"].startswith(b"\x89PNG")
    for words in ("12 questions, 1 repeat. Bars: 95 % Wilson interval", "without thinking", *tasks):
        assert words in svg
    for label, budget in (("256", 256), ("1k", 1024), ("inf", math.inf)):
        assert budget not in budgets or f">{label}<" in svg


@pytest.mark.parametrize("tasks", [TWELVE[:1], TWELVE[:3], TWELVE])
def test_a_base_model_is_drawn_by_task(tasks: tuple[str, ...]) -> None:
    """Without budgets there is no curve: each task has its point, and the caption says how it was asked."""
    svg = draw_curve(summarize(as_base(fake_run(12, (), tasks)), "nano"))["svg"].decode()
    for words in ("score by task", "as a base model", *tasks):
        assert words in svg
    assert "thinking budget" not in svg


def test_runs_and_published_scores_share_a_figure() -> None:
    """Runs on one task share its axis, on two tasks each task has one; published scores are in the legend."""
    rows = [point(run=run, task=task, budget=b) for run in ("a1", "b2") for task in ("chain", "sums")
            for b in (1024.0, math.inf)]  # fmt: skip
    published = publish(("Paper", "chain", "thinking", 2048.0, 0.7), ("Else", "other", "thinking", 64.0, 0.7))
    together = draw_runs(points(*rows[::4], rows[1]), reference=published)["svg"].decode()
    apart = draw_runs(points(*rows), reference=published)["svg"].decode()
    for svg in (together, apart):
        for words in (">a1<", ">b2<", ">Paper<", ">2k<", "Hollow: published scores"):
            assert words in svg
        assert "Else" not in svg, "published scores of other tasks are left out"
        assert ">64<" not in svg
    assert ">tokens used<" in together
    assert ">sums<" in apart


def test_curve_skips_cells_without_a_score() -> None:
    """A cell of errors leaves a gap, not a crash or a zero."""
    rows = [point(), point(budget=2048.0, score=np.nan, ci_low=np.nan, ci_high=np.nan, error=1.0),
            point(budget=4096.0), point(budget=math.inf)]  # fmt: skip
    svg = draw_runs(points(*rows))["svg"]
    assert b">inf<" in svg
    assert b"nan" not in svg
    nothing = points(point(score=np.nan, ci_low=np.nan, ci_high=np.nan, n_questions=0))
    assert b"no record has a score yet" in draw_runs(nothing)["svg"]


def test_curve_is_deterministic() -> None:
    """Equal summaries give equal bytes, without a date."""
    summary = summarize(fake_run(12), "nano")
    first, second = draw_curve(summary), draw_curve(summary)
    assert first == second
    assert b"<dc:date>" not in first["svg"]


def test_a_caption_states_what_differs() -> None:
    """Tasks of other sizes are told one by one; of many, the range."""
    rows = [point(), point(task="aime", n_questions=30, n_repeats=64)]
    assert describe_counts(points(*rows)) == "chain 40 questions, 1 repeat; aime 30 questions × 64 repeats"
    many = [point(task=str(n), n_questions=n) for n in range(1, 6)]
    assert describe_counts(points(*many)) == "1–5 questions, 1 repeat"
    assert describe_counts(points(many[0])) == "1 question, 1 repeat"


# ---- For pages


@pytest.mark.parametrize("runs", [("a",), ("a", "b")])
@pytest.mark.parametrize("tasks", [TWELVE[:1], TWELVE[:3]])
@pytest.mark.parametrize("base", [False, True])
def test_every_chart_can_be_drawn(tasks: Sequence[str], runs: Sequence[str], base: bool) -> None:
    """The library draws each specification: one or several runs and tasks, with and without thinking."""
    records = fake_run(12, (1024.0, math.inf), tuple(tasks))
    summary = summarize(as_base(records) if base else records)
    published = publish(("Paper", "task0", "base" if base else "thinking", 0.0 if base else math.inf, 0.7))
    charts = draw_charts(pd.concat([points_of(summary, run) for run in runs]), published)
    names = [chart.name for chart in charts.charts]
    assert names == (
        ["score_by_budget"] if base else ["score_by_budget", "score_by_tokens", "shares_by_budget"]
    )
    n_axes = len(tasks) if len(runs) > 1 and len(tasks) > 1 else 1
    assert [len(chart.panels) for chart in charts.charts] == [n_axes] * len(names)
    for chart in charts.charts:
        for panel in chart.panels:
            drawn = draw_static(panel.spec, CONFIG)
            assert drawn.startswith("<svg")
            assert drawn.count('aria-roledescription="point"') >= len(runs)
            assert "NaN" not in drawn


def test_the_front_is_ringed_by_task() -> None:
    """Of (tokens, score) a task's (100, 0.5) and (200, 0.8) are unbeaten, (150, 0.4) and (300, 0.8) are not.

    Not thinking, (0, 0.1), is as cheap as can be. Another task has a front of its own.
    """
    found = [(0.0, 0.1), (100.0, 0.5), (150.0, 0.4), (200.0, 0.8), (300.0, 0.8)]
    rows = [
        point(budget=2.0**n * 64 if tokens else 0.0, mode="thinking" if tokens else "non-thinking",
              thinking_tokens_mean=tokens, score=score)
        for n, (tokens, score) in enumerate(found)
    ]  # fmt: skip
    charts = draw_charts(points(*rows, point(task="sums", thinking_tokens_mean=900.0, score=0.05)))
    assert [row["front"] for row in values_of(charts, 1)] == [True, True, False, True, False, True]
    assert [row["per_1k"] for row in values_of(charts, 1)][:2] == ["–", "5.000"]


@pytest.mark.parametrize(
    ("tokens", "names"),
    [
        ([100.0, 9000.0], ["64", "256", "1k", "4k", "16k"]),
        ([0.0, 0.5, 3.0], ["0", "1", "2", "4"]),
        ([1024.0], ["1k"]),
        ([0.0], ["0", "1"]),
    ],
)
def test_ticks_of_tokens_enclose_the_points(tokens: list[float], names: list[str]) -> None:
    """Powers of two from below the fewest to above the most; less than one token stands at one."""
    rows = [point(budget=2.0**n, thinking_tokens_mean=used) for n, used in enumerate(tokens)]
    panel = draw_charts(points(*rows)).charts[1].panels[0]
    params = {param["name"]: param["value"] for param in panel.spec["params"]}
    assert params["names"] == names
    assert all(
        min(params["places"]) <= row["z"] <= max(params["places"]) for row in panel.spec["data"]["values"]
    )


def test_series_are_toggled_by_their_keys() -> None:
    """A row carries the keys of the legend's boxes: its task's, and its run's or its publisher's."""
    published = publish(("Paper", "sums", "thinking", math.inf, 0.7))
    charts = draw_charts(points(point(), point(task="sums")), published)
    assert [(row["t"], row["r"]) for row in values_of(charts)] == [("t0", "r0"), ("t1", "r0"), ("t1", "p0")]
    assert [(title, [(e.key, e.label) for e in entries]) for title, entries in charts.legends] == [
        ("Tasks", [("t0", "chain"), ("t1", "sums")]), ("Published", [("p0", "Paper")]),
    ]  # fmt: skip
    assert draw_charts(points(point())).legends == []


def test_shares_that_are_nil_are_said_not_drawn() -> None:
    """Only what happened has an axis, the caption names the rest; no score is no reason to hide a share."""
    bad = point(budget=math.inf, score=np.nan, ci_low=np.nan, ci_high=np.nan, error=1.0, n_questions=0)
    shares = draw_charts(points(point(), bad)).charts[-1]
    assert [panel.title for panel in shares.panels] == ["forced", "error"]
    assert shares.caption.endswith("There was none of: truncated, no answer.")
    assert len(shares.panels[1].spec["data"]["values"]) == 2
    assert shares.table.cells == [
        ("chain", "thinking", "1k", "25 %", "–", "–", "–"),
        ("chain", "thinking", "inf", "25 %", "–", "–", "100 %"),
    ]


def test_names_never_leave_the_data() -> None:
    """Whatever a task or a run is called, the JSON closes no element and no expression holds the name."""
    name = HOSTILE.replace("\ud800", "")
    charts = draw_charts(points(point(task=name, run=name)), publish((name, name, "thinking", 64.0, 0.5)))
    packed = charts.pack()
    assert "<" not in packed
    assert packed.isascii()
    specs = json.loads(packed)["specs"]
    assert specs[0]["data"]["values"][0]["task"] == name
    for spec in specs:
        del spec["data"], spec["description"]
        spec["params"] = [param for param in spec["params"] if param["name"] != "names"]
        assert "pwned" not in json.dumps(spec)


def test_the_library_is_bundled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is kept in the cache, made anew where that is damaged, and no cache is no error."""
    import vl_convert

    made: list[str] = []

    def bundle(snippet: str) -> str:
        made.append(snippet)
        return "vegaEmbed('\r\n')"

    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fresh = read_library.__wrapped__
    assert fresh() == fresh() == "vegaEmbed('\n')"
    assert len(made) == 1
    (kept,) = (tmp_path / "qwen3_eval").iterdir()
    kept.write_bytes(b"\xff")
    assert "vegaEmbed" in fresh()
    assert len(made) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))  # a file, where no folder can be made
    assert "vegaEmbed" in fresh()
