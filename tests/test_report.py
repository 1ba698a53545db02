"""Promises of the report: the summary's figures, its words, the files, and what a page holds of a run."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_reports import RUN, fake_run, fake_text, read_summary, record

from qwen3_eval.errors import StoreError
from qwen3_eval.report.figures import draw_curve
from qwen3_eval.report.findings import list_findings, list_warnings
from qwen3_eval.report.html import choose_records, pack_index, render_page
from qwen3_eval.report.pass_at_k import summarize_pass_at_k
from qwen3_eval.report.records import RecordText
from qwen3_eval.report.tables import SUMMARY_COLUMNS, print_summary, summarize, summary_csv
from qwen3_eval.report.text_blocks import TextBlocks
from qwen3_eval.report.write import write_report

T10 = 2.228139  # the 97.5 % quantile of t with 10 degrees of freedom, from a printed table


# ---- The summary


def test_a_group_counts_for_those_above_it() -> None:
    """`STEM/maths` and `STEM/physics` make three rows; averaged over groups, the task is the mean of its top
    groups' scores, 1/2 of (2/3 and 0), not of its questions, 2/4."""
    records = pd.DataFrame([
        record(group="STEM/maths"), record(group="STEM/maths", sample_id="1"),
        record(group="STEM/physics", sample_id="2", score=0.0, outcome="incorrect"),
        record(group="other", sample_id="3", score=0.0, outcome="incorrect"),
    ])  # fmt: skip
    rows = summarize(records, tasks={"chain": {"metric": "accuracy", "average": "groups"}})
    scores = dict(zip(rows["group"], rows["score"], strict=True))
    assert list(scores) == ["", "STEM", "STEM/maths", "STEM/physics", "other"]
    assert scores == pytest.approx({"": 1 / 3, "STEM": 2 / 3, "STEM/maths": 1, "STEM/physics": 0, "other": 0})
    assert summarize(records)["score"].iloc[0] == pytest.approx(0.5)


def test_a_macro_average_of_errors_alone_is_no_score() -> None:
    """Where no record of a cell has a verdict its score is empty, and the report is still written."""
    records = pd.DataFrame([record(group="a", outcome="error", score=0.0)])
    row = summarize(records, tasks={"chain": {"average": "groups", "parallel": True}}).iloc[0]
    assert math.isnan(row["score"])
    assert (row["n_questions"], row["error"]) == (0, 1.0)


def test_groups_of_one_question_all_wrong_have_an_interval() -> None:
    """Three languages, one of them with one question, nothing right: 0, and an upper bound well above it.

    The lone question counts with an error of 0.5 over 3 groups, as much as 0.25 / (1/6)^2 = 9 plain draws.
    """
    wrong = {"score": 0.0, "outcome": "incorrect"}
    records = pd.DataFrame([record(group=group, sample_id=group + str(i), **wrong)
                            for group, n in (("a", 5), ("b", 5), ("c", 1)) for i in range(n)])  # fmt: skip
    row = summarize(records, tasks={"chain": {"average": "groups"}}).iloc[0]
    assert (row["score"], row["ci_low"]) == (0, pytest.approx(0, abs=1e-12))
    assert row["ci_high"] == pytest.approx(T10**2 / (9 + T10**2), rel=1e-3)


def test_parts_of_a_verdict_are_rows_and_stand_for_groups() -> None:
    """Two answers judged in two ways each: base 1 and 1, plus 1 and 0; the mean of the parts is 3/4.

    The whole row counts two questions, and a record without a part of a name has no say in it.
    """
    parts = ({"h": 1.0, "h_plus": 1.0}, {"h": 1.0, "h_plus": 0.0}, {"m": 0.0, "m_plus": 0.0})
    records = pd.DataFrame([
        record(sample_id=str(i), parts=json.dumps(part), score=min(part.values()))
        for i, part in enumerate(parts)
    ])  # fmt: skip
    rows = summarize(records, tasks={"chain": {"average": "groups"}})
    scores = dict(zip(rows["group"], rows["score"], strict=True))
    assert scores == {"": pytest.approx((1 + 0.5 + 0 + 0) / 4), "h": 1, "h_plus": 0.5, "m": 0, "m_plus": 0}
    assert dict(zip(rows["group"], rows["n_questions"], strict=True)) == {
        "": 3, "h": 2, "h_plus": 2, "m": 1, "m_plus": 1,
    }  # fmt: skip
    plain = summarize(records).set_index("group")["score"]
    assert plain[""] == pytest.approx(1 / 3), "without average=groups the verdict's own score is the task's"


def test_pass_at_k_of_each_row() -> None:
    """Two questions asked four times, 2 and 0 right: pass@1 1/4, pass@2 (5/6 + 0)/2, pass@4 1/2, by hand.

    A question whose answers are errors has no say; a task asked once has no row.
    """
    records = pd.DataFrame([
        *(record(sample_id="a", repeat=i, score=float(i < 2), group="g") for i in range(4)),
        *(record(sample_id="b", repeat=i, score=0.0, group="h") for i in range(4)),
        *(record(sample_id="c", repeat=i, score=0.0, outcome="error", group="h") for i in range(4)),
        record(task="once"),
    ])  # fmt: skip
    rows = summarize_pass_at_k(records, "nano", {})
    found = {(r["group"], r["k"]): r["pass_at_k"] for r in rows.to_dict("records")}
    assert found == pytest.approx({
        ("", 1): 1 / 4, ("", 2): 5 / 12, ("", 4): 1 / 2, ("g", 1): 1 / 2, ("g", 2): 5 / 6, ("g", 4): 1,
        ("h", 1): 0, ("h", 2): 0, ("h", 4): 0,
    })  # fmt: skip
    assert set(rows["task"]) == {"chain"}
    assert list(rows["n_questions"][:3]) == [2, 2, 2]
    assert summary_csv(rows).splitlines()[1].startswith("chain,,nano,thinking,1024,1,0.25,")


def test_summary_golden() -> None:
    """Three questions in two groups, two repeats, worked by hand: question means 1, 1/2, 0, so score 1/2,
    s = 1/2, se = 1/(2 sqrt 3); shares are of all six records; the error counts beside the score."""
    records = pd.DataFrame([
        record(group="a"), record(group="a", repeat=1, thinking_tokens=200),
        record(group="a", sample_id="1", forced=True),
        record(group="a", sample_id="1", repeat=1, score=0.0, outcome="no_answer", truncated=True),
        record(group="b", sample_id="2", score=0.0, outcome="incorrect"),
        record(group="b", sample_id="2", repeat=1, score=0.0, outcome="error", thinking_tokens=0),
    ])  # fmt: skip
    summary = summarize(records, "nano")
    assert tuple(summary.columns) == SUMMARY_COLUMNS
    assert summary["group"].tolist() == ["", "a", "b"]
    whole = summary.iloc[0]
    assert (whole["score"], whole["n_questions"], whole["n_repeats"]) == (0.5, 3, 2)
    assert whole["stderr"] == pytest.approx(1 / (2 * 3**0.5))
    shares = whole[["forced", "truncated", "no_answer", "error"]].astype(float)
    assert shares.tolist() == pytest.approx([1 / 6] * 4)
    assert whole["thinking_tokens_mean"] == pytest.approx((100 * 4 + 200) / 5)
    assert summary.iloc[1]["score"] == 0.75


def test_summary_orders_modes_and_budgets() -> None:
    """Tasks as they came, thinking before non-thinking, budgets rising, `inf` last."""
    records = pd.DataFrame([
        record(task="z", budget=math.inf), record(task="z", mode="non-thinking", budget=0.0),
        record(task="z", budget=4096.0), record(task="a"),
    ])  # fmt: skip
    summary = summarize(records)
    got = list(zip(summary["task"], summary["mode"], summary["budget"], strict=True))
    assert got == [
        ("z", "thinking", 4096),
        ("z", "thinking", math.inf),
        ("z", "non-thinking", 0),
        ("a", "thinking", 1024),
    ]


def test_errors_alone_give_no_score() -> None:
    """A cell of errors has no score and no questions, and says that all are errors."""
    row = summarize(pd.DataFrame([record(outcome="error", score=0.0)])).iloc[0]
    assert math.isnan(row["score"])
    assert (row["n_questions"], row["error"]) == (0, 1.0)


def test_csv_comes_back_unharmed(tmp_path: Path) -> None:
    """Written and read again, the summary is itself to six decimals; budgets are 1024, inf and 0."""
    summary = summarize(fake_run(20, tasks=("chain", "NA")), "nano")
    path = tmp_path / "summary.csv"
    path.write_text(summary_csv(summary))
    pd.testing.assert_frame_equal(read_summary(str(path)), summary, atol=1e-6, check_dtype=False)
    assert [line.split(",")[4] for line in path.read_text().splitlines()[1:5]] == ["1024", "4096", "inf", "0"]
    assert pd.read_csv(path)["budget"].tolist()[:4] == [1024, 4096, math.inf, 0]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_csv_holds_no_formula(name: str) -> None:
    """A name that a spreadsheet would run is written as text."""
    csv = summary_csv(summarize(pd.DataFrame([record(task=name)]), name))
    assert f"'{name},,'{name}," in csv


def test_plain_table_is_aligned() -> None:
    """Off a terminal each line of the table is as wide, plain text, and budgets read 1k, 4k, inf."""
    out = io.StringIO()
    print_summary(summarize(fake_run(50)), out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[2] for line in lines[1:]] == ["1k", "4k", "inf", "–"]
    assert "\x1b" not in out.getvalue()


def test_terminal_table_holds_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the same words appear, and markup in a task's name is not obeyed."""
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    print_summary(summarize(pd.DataFrame([record(task="[red]x")])), out)
    assert "[red]x" in out.getvalue()


# ---- Words


def test_findings_name_each_point() -> None:
    """The sentence of a task lists its points in the order of the curve."""
    rows = [record(), record(budget=8192.0, score=0.0), record(mode="non-thinking", budget=0.0, score=0.0)]
    assert list_findings(summarize(pd.DataFrame(rows))) == [
        ("chain", "1.00 at 1k, 0.00 at 8k; 0.00 without thinking")
    ]


def test_warnings_name_what_misleads() -> None:
    """Errors, truncation, silence, cuts at the largest budget and few questions are each said once."""
    clean = pd.DataFrame([record(sample_id=str(n)) for n in range(40)])
    assert list_warnings(summarize(clean)) == []
    dirty = clean.copy()
    dirty.loc[0, "outcome"] = "error"
    dirty.loc[1:3, "truncated"] = True
    dirty.loc[1:3, "outcome"] = "no_answer"
    dirty.loc[5:15, "forced"] = True
    said = list_warnings(summarize(dirty))
    assert len(said) == 4
    assert "2 % at 1k" in said[0]
    assert "truncated" in said[1]
    assert "no answer" in said[2]
    assert "28 %" in said[3]
    assert "few" in list_warnings(summarize(clean[:29]))[0]


# ---- The files


def test_write_report_leaves_whole_files_only(tmp_path: Path) -> None:
    """The files that are named appear, and no draft stays; written again they are equal, byte for byte."""
    records = fake_run(10)

    def write() -> dict[str, bytes]:
        paths = write_report(records, RUN, lambda rollout: fake_text(records, rollout), tmp_path)
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)
        return {path.name: path.read_bytes() for path in paths}

    first = write()
    assert set(first) >= {"summary.csv", "samples.parquet", "curve.png", "curve.svg", "report.html"}
    assert write() == first


def test_samples_hold_every_record_with_its_texts(tmp_path: Path) -> None:
    """A row per record, in order; the thinking ends at the record's own cut."""
    records = fake_run(10)
    write_report(records, RUN, lambda rollout: fake_text(records, rollout), tmp_path)
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert samples.columns.tolist() == [*records.columns, "prompt", "thinking", "answer"]
    pd.testing.assert_frame_equal(
        samples[records.columns].sort_values(["rollout", "budget"], ignore_index=True),
        records.sort_values(["rollout", "budget"], ignore_index=True),
        check_dtype=False,
    )
    cut = samples[samples["forced"] & (samples["budget"] == 1024)]
    assert len(cut) > 0
    assert set(cut["thinking"].str.len()) == {2048}


def test_a_failed_report_keeps_the_old_one(tmp_path: Path) -> None:
    """An error in the middle leaves what was there, and no draft."""
    records = fake_run(2)
    write_report(records, RUN, lambda rollout: fake_text(records, rollout), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(rollout: int) -> RecordText:
        raise StoreError("no such rollout")

    with pytest.raises(StoreError):
        write_report(records, RUN, broken, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_record_is_refused(tmp_path: Path) -> None:
    """Nothing to report is said, not drawn."""
    with pytest.raises(StoreError, match="no finished record"):
        write_report(fake_run(1)[:0], RUN, lambda rollout: RecordText(""), tmp_path)


# ---- What a page holds of a large run


def noise(seed: int) -> RecordText:
    """A thousand letters that cannot be compressed much."""
    letters = np.random.default_rng(seed).integers(97, 123, 1000, dtype=np.uint8)
    return RecordText(letters.tobytes().decode())


def test_where_texts_do_not_fit_first_repeats_stay_and_tasks_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two tasks, five questions each, asked twice, there is room for six texts: three of each task's first
    repeats stay, whichever task came first; the other fourteen are counted, and places are kept."""
    monkeypatch.setattr("qwen3_eval.report.text_blocks.BLOCK_CHARACTERS", 1)
    alone = TextBlocks()
    alone.add(noise(0))
    size = len(alone.blocks[0][1])
    monkeypatch.setattr("qwen3_eval.report.text_blocks.MAX_PAGE_BYTES", int(6.5 * size))
    blocks = TextBlocks()
    for place, (task, repeat) in enumerate((t, r) for t in "ab" for _ in range(5) for r in range(2)):
        blocks.add(noise(place), task=task, repeat=repeat)
    blocks.close()
    assert [places for places, _ in blocks.blocks] == [(0,), (2,), (4,), (10,), (12,), (14,)]
    assert (blocks.count, blocks.left_out) == (20, 14)


def test_unwanted_texts_have_a_place_and_are_not_missed() -> None:
    """A rollout that the page does not list costs nothing and is not counted as left out."""
    blocks = TextBlocks()
    for place in range(4):
        blocks.add(noise(place), wanted=place % 2 == 0)
    blocks.close()
    assert [places for places, _ in blocks.blocks] == [(0, 2)]
    assert (blocks.count, blocks.left_out) == (4, 0)


def test_a_page_lists_whole_questions_of_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for seven records, two tasks at two budgets give three questions, in turns, first repeats."""
    monkeypatch.setattr("qwen3_eval.report.html.MAX_PAGE_RECORDS", 7)
    records = pd.DataFrame([
        record(task=task, sample_id=question, repeat=repeat, budget=budget)
        for task in "ab" for question in "xyz" for repeat in range(2) for budget in (1024.0, 2048.0)
    ])  # fmt: skip
    shown = choose_records(records)
    assert (shown["task"] + shown["sample_id"]).tolist() == ["ax", "ax", "ay", "ay", "bx", "bx"]
    assert set(shown["repeat"]) == {0}
    assert shown.index.is_monotonic_increasing
    packed = json.loads(pack_index(records, {0: 0}, RUN))
    assert (packed["n_records"], packed["columns"]["task"]) == (24, list("aaaabb"))
    assert choose_records(records[:7]).equals(records[:7])


def test_a_page_keeps_to_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts give way until the whole page fits, and the page says how many and where they are."""
    records = fake_run(300, (1024.0,))
    summary, texts = summarize(records), TextBlocks()
    monkeypatch.setattr("qwen3_eval.report.text_blocks.BLOCK_CHARACTERS", 20_000)
    for rollout in dict.fromkeys(records["rollout"]):
        texts.add(noise(rollout))
    texts.close()
    index = pack_index(records, {rollout: rollout for rollout in records["rollout"]}, RUN)
    svg = draw_curve(summary)["svg"]
    whole = len(render_page(summary, RUN, svg, index, texts).encode())
    monkeypatch.setattr("qwen3_eval.report.text_blocks.MAX_PAGE_BYTES", whole - 100_000)
    page = render_page(summary, RUN, svg, index, texts)
    assert whole - 160_000 < len(page.encode()) <= whole - 100_000
    assert texts.left_out > 0
    assert f"The texts of {texts.left_out} traces are left out" in page
