"""Promises of the report: the summary's figures, the curve, the files, and the page in a real browser."""

import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qwen3_eval.errors import StoreError
from qwen3_eval.report.figures import draw_curve
from qwen3_eval.report.findings import list_findings, list_warnings
from qwen3_eval.report.html import TextBlocks
from qwen3_eval.report.pass_at_k import summarize_pass_at_k
from qwen3_eval.report.records import RecordText
from qwen3_eval.report.tables import SUMMARY_COLUMNS, print_summary, read_summary, summarize, summary_csv
from qwen3_eval.report.write import write_report

RUN: dict[str, Any] = {
    "model": "nano",
    "finished": "2025-05-14T12:00:00",
    "stop_text": "\n\nTime is up.\n</think>\n\n",
}
# A lone surrogate, which pandas cannot hold, can come in texts and settings only.
HOSTILE = (
    "<script>window.pwned = 1</script></script><img src=x onerror='window.pwned = 1'>"
    "$x_1$ <!-- \u2028 \u2029 \ud800 \u202e right to left \u05e9\u05dc\u05d5\u05dd ]]> \x00 &lt; 🙂"
)


T10 = 2.228139  # the 97.5 % quantile of t with 10 degrees of freedom, from a printed table


def record(**values: Any) -> dict[str, Any]:
    """One record: a correct answer of question 0 at 1k, unless `values` say otherwise."""
    plain = {
        "task": "chain", "group": "", "sample_id": "0", "mode": "thinking", "budget": 1024.0, "repeat": 0,
        "score": 1.0, "outcome": "correct", "extracted": "7", "reason": "7 equals 7", "target": "7",
        "forced": False, "truncated": False, "thinking_tokens": 100, "answer_tokens": 10,
        "finish_reason": "stop", "completion_key": 200, "rollout": 0, "parts": "",
    }  # fmt: skip
    return plain | values


def fake_run(
    n_questions: int,
    budgets: tuple[float, ...] = (1024.0, 4096.0, math.inf),
    tasks: tuple[str, ...] = ("chain",),
    score: float | None = None,
) -> pd.DataFrame:
    """Records of a made-up sweep: one trace a question, 20 tokens to 40,000, right if it was not cut."""
    random, rows = np.random.default_rng(7), []
    for number, (task, question) in enumerate((t, q) for t in tasks for q in range(n_questions)):
        length = int(np.clip(np.exp(random.normal(7.5, 1)), 20, 40_000))
        for budget in (*budgets, 0.0):
            forced, used = 0 < budget <= length, int(min(length, budget))
            right = score if score is not None else float(budget > 0 and not forced)
            rows.append(
                record(
                    task=task, sample_id=str(question), mode="thinking" if budget else "non-thinking",
                    budget=budget, score=right, outcome="correct" if right else "incorrect", forced=forced,
                    thinking_tokens=used, completion_key=2 * used + forced,
                    rollout=2 * number + (budget == 0), reason=f"verdict on {question}",
                )
            )  # fmt: skip
    return pd.DataFrame(rows)


def fake_text(records: pd.DataFrame, rollout: int) -> RecordText:
    """Two characters a token, so that a budget of 1k cuts after 2,048."""
    mine = records[records["rollout"] == rollout]
    thinking = "".join(f"{n:07}\n" for n in range(mine["thinking_tokens"].max() // 4))
    cuts = tuple((b, int(2 * b)) for b in mine.loc[mine["forced"], "budget"])
    answers = {int(key): f"The answer of rollout {rollout} is 7." for key in mine["completion_key"]}
    return RecordText(f"What is question {rollout}?", thinking, cuts, answers)


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


# ---- The figure


@pytest.mark.parametrize(
    ("tasks", "budgets", "score"),
    [
        (("chain",), (1024.0,), None),
        (("chain",), (math.inf,), 1.0),
        (("chain",), (1024.0, 4096.0), 0.0),
        (("chain",), (), None),
        (tuple(f"task{n}" for n in range(8)), (256.0, 1024.0, math.inf), None),
    ],
)
def test_curve_draws_every_shape_of_run(
    tasks: tuple[str, ...], budgets: tuple[float, ...], score: float | None
) -> None:
    """One budget, only `inf`, all wrong, all right, no thinking, eight tasks: each task and tick is named."""
    figures = draw_curve(summarize(fake_run(12, budgets, tasks, score), "nano"))
    svg = figures["svg"].decode()
    assert figures["png"].startswith(b"\x89PNG")
    assert "95 % Wilson interval" in svg
    assert "without thinking" in svg
    for name in tasks:
        assert name in svg
    for label, budget in (("256", 256), ("1k", 1024), ("inf", math.inf)):
        assert budget not in budgets or f">{label}<" in svg


def test_curve_skips_cells_without_a_score() -> None:
    """A cell of errors leaves a gap, not a crash or a zero."""
    records = fake_run(12)
    records.loc[records["budget"] == 4096, "outcome"] = "error"
    svg = draw_curve(summarize(records))["svg"]
    assert b">inf<" in svg
    assert b"nan" not in svg
    records["outcome"] = "error"
    assert b"no record has a score yet" in draw_curve(summarize(records))["svg"]


def test_curve_is_deterministic() -> None:
    """Equal summaries give equal bytes, without a date."""
    summary = summarize(fake_run(12), "nano")
    first, second = draw_curve(summary), draw_curve(summary)
    assert first == second
    assert b"<dc:date>" not in first["svg"]


# ---- The files


def test_write_report_leaves_whole_files_only(tmp_path: Path) -> None:
    """The five files appear, and no draft stays; written again they are equal, byte for byte."""
    records = fake_run(10)

    def write() -> dict[str, bytes]:
        paths = write_report(records, RUN, lambda rollout: fake_text(records, rollout), tmp_path)
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)
        return {path.name: path.read_bytes() for path in paths}

    first = write()
    assert set(first) == {"summary.csv", "samples.parquet", "curve.png", "curve.svg", "report.html"}
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


def test_texts_past_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the page is full, texts are left out and counted, and every rollout keeps its place."""
    monkeypatch.setattr("qwen3_eval.report.html.MAX_PAGE_BYTES", 1)
    monkeypatch.setattr("qwen3_eval.report.html.BLOCK_CHARACTERS", 100)
    blocks = TextBlocks()
    for _ in range(5):
        blocks.add(RecordText("q" * 100))
    blocks.close()
    assert blocks.left_out == 4
    assert [block[:2] for block in blocks.blocks] == [(0, 1), (1, 4)]


# ---- The page, in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium of its own profile, or a skip."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium with chromedriver on PATH; on Debian: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage",
        "window-size=1280,900", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(driver)
    with webdriver.Chrome(options=options, service=service) as running:
        yield running


def open_page(browser: Any, folder: Path) -> Any:
    """Opens report.html and waits until its reader can be used."""
    browser.get((folder / "report.html").as_uri())
    wait(browser, "return document.body.dataset.ready === 'true'")
    return browser


def wait(browser: Any, script: str, *args: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda b: b.execute_script(script, *args))


def choose(browser: Any, name: str, value: str, status: str) -> None:
    """Sets one filter as a user does, and waits for the count that `status` begins with."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    field = browser.find_element(By.NAME, name)
    if field.tag_name == "select":
        Select(field).select_by_value(value)
    else:
        field.clear()
        field.send_keys(value)
    wait(browser, "return document.getElementById('status').textContent.startsWith(arguments[0])", status)


def record_text(browser: Any) -> str:
    return str(browser.execute_script("return document.getElementById('record').textContent"))


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    records = fake_run(500)
    write_report(records, RUN, lambda rollout: fake_text(records, rollout), folder)
    return folder


def test_page_filters_and_stays_small(browser: Any, page_folder: Path) -> None:
    """2,000 records: filters count right, and the page never holds more than a window of rows."""
    records = fake_run(500)
    open_page(browser, page_folder)
    assert browser.execute_script("return document.getElementById('status').textContent").startswith(
        "2,000 of"
    )
    n_cut = int(((records["budget"] == 1024) & (records["outcome"] == "incorrect")).sum())
    choose(browser, "budget", "1024", "500 of")
    choose(browser, "outcome", "incorrect", f"{n_cut} of")
    choose(browser, "outcome", "", "500 of")
    choose(browser, "budget", "", "2,000 of")
    list_top = "document.getElementById('list').scrollTop = arguments[0]; return true"
    for top in (0, 30_000, 10**9):
        wait(browser, list_top, top)
        wait(browser, "return document.querySelectorAll('.row').length > 5")
        assert browser.execute_script("return document.querySelectorAll('.row').length") < 60
    last = "return [...document.querySelectorAll('.row')].pop()?.getAttribute('aria-posinset') === '2000'"
    assert wait(browser, last)


def test_page_opens_a_record_with_its_cut(browser: Any, page_folder: Path) -> None:
    """A forced record shows prompt, thinking, `cut at 1k` after 2,048 characters, stop text and answer."""
    open_page(browser, page_folder)
    choose(browser, "budget", "1024", "500 of")
    browser.execute_script(
        "[...document.querySelectorAll('.row')].find(r => r.textContent.includes('forced')).click()"
    )
    wait(browser, "return document.querySelector('#record .cut.here')")
    assert browser.execute_script("return document.querySelector('.cut.here').textContent") == "cut at 1k"
    before = browser.execute_script("return document.querySelector('.cut.here').previousSibling.textContent")
    assert len(before) == 2048
    after = browser.execute_script("return document.querySelector('.cut.here').nextSibling.textContent")
    assert after == RUN["stop_text"]
    shown = record_text(browser)
    assert "What is question" in shown
    assert "The answer of rollout" in shown
    assert "verdict on" in shown


def test_page_moves_between_budgets_of_a_question(browser: Any, page_folder: Path) -> None:
    """The chips above a record lead to the same question at another budget."""
    open_page(browser, page_folder)
    chips = browser.execute_script(
        "return [...document.querySelectorAll('.siblings button')].map(b => b.ariaLabel)"
    )
    assert [chip.split(":")[0] for chip in chips] == ["1k", "4k", "inf", "non-thinking"]
    browser.execute_script("document.querySelectorAll('.siblings button')[3].click()")
    assert wait(browser, "return document.querySelector('#record h3').textContent.includes('non-thinking')")


def test_page_searches_in_texts(browser: Any, page_folder: Path) -> None:
    """Search finds words of one rollout's prompt in all records that share it."""
    open_page(browser, page_folder)
    choose(browser, "query", "what is question 84?", "3 of")
    assert "What is question 84?" in record_text(browser)
    choose(browser, "query", "no such words", "0 of")
    assert "No record passes" in record_text(browser)


def test_page_is_used_by_keyboard(browser: Any, page_folder: Path) -> None:
    """Arrow keys in the list choose the next record, and the list names it as the active one."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, page_folder)
    listbox = browser.find_element(By.ID, "list")
    listbox.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert wait(
        browser, "return document.getElementById('list').getAttribute('aria-activedescendant') === 'row-2'"
    )
    listbox.send_keys(Keys.END)
    assert wait(
        browser, "return document.querySelector('#row-1999')?.getAttribute('aria-selected') === 'true'"
    )
    unnamed = (
        "return [...document.querySelectorAll('select, input, button, [tabindex=\"0\"]')]"
        ".filter(e => !(e.ariaLabel || e.labels?.length || e.textContent.trim())).length"
    )
    assert browser.execute_script(unnamed) == 0


def test_page_loads_nothing_and_logs_nothing(browser: Any, page_folder: Path) -> None:
    """One file, no request, no console message."""
    browser.get_log("browser")
    open_page(browser, page_folder)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [360, 1280])
def test_page_fits_its_window(browser: Any, page_folder: Path, width: int) -> None:
    """Neither on a phone nor on a desk does the page scroll sideways."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    open_page(browser, page_folder)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_page_reads_without_scripts(browser: Any, page_folder: Path) -> None:
    """With scripts off the finding, the curve and the table still show."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get((page_folder / "report.html").as_uri())
    from selenium.webdriver.common.by import By

    try:
        body = browser.find_element(By.TAG_NAME, "body").text
        curve = browser.find_element(By.CSS_SELECTOR, "figure svg").size
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "without thinking" in body
    assert "95 % interval" in body
    assert "samples.parquet" in body
    assert curve["height"] > 200


def test_hostile_text_is_shown_and_never_run(browser: Any, tmp_path: Path) -> None:
    """Markup, quotes, separators, lone surrogates and right-to-left text in every field stay text.

    The cut still stands after the first five letters, whatever they count in UTF-16.
    """
    fields = ("task", "group", "sample_id", "extracted", "reason", "target")
    records = pd.DataFrame([record(forced=True, **dict.fromkeys(fields, HOSTILE.replace("\ud800", "")))])
    text = RecordText(HOSTILE, "🙂" * 5 + HOSTILE, ((1024.0, 5),), {200: HOSTILE})
    run = {"model": HOSTILE, "stop_text": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    write_report(records, run, lambda rollout: text, tmp_path)
    open_page(browser, tmp_path)
    wait(browser, "return document.querySelector('#record .cut.here')")
    assert browser.execute_script("return window.pwned === undefined")
    assert (
        browser.execute_script("return document.querySelectorAll('#record script, #record img').length") == 0
    )
    assert (
        browser.execute_script("return document.querySelector('.cut.here').previousSibling.textContent")
        == "🙂" * 5
    )
    prompt = browser.execute_script("return escape(document.querySelector('#record pre').textContent)")
    assert "%3Cscript%3E" in prompt
    assert "%uD800" in prompt
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert samples["prompt"][0].startswith("<script>")
