"""Promises of the gate: three verdicts, nothing compared that was asked otherwise, no pass with a hole."""

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gating import CELLS, Cells, Floats, N, by_place, gate, make_run, make_three, read_gate, right
from scipy.stats import binom

from qwen3_eval.chat import STOP_TEXTS
from qwen3_eval.cli import main
from qwen3_eval.gate.baseline import format_baseline, read_baseline
from qwen3_eval.gate.judge import Metric, judge
from qwen3_eval.gate.sides import read_side
from qwen3_eval.past_run import read_past_run
from qwen3_eval.types import BASE, NON_THINKING, THINKING, Budget, Mode, Sampling


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_three(tmp_path_factory.mktemp("gate"))


def refuse(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """Returns what was said of bad input."""
    told = capsys.readouterr().err
    assert code == 2
    assert told.startswith("error: ")
    return told


def test_three_verdicts_and_their_exit_codes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Alike at a tolerance that 120 questions can show: 0. A fifth lost: 1. Alike at a tolerance that they
    cannot show: 3, which the settings map. A regression is never mapped."""
    assert gate(runs, "same") == 0
    assert capsys.readouterr().out.startswith("gate: PASS")
    assert gate(runs, "worse") == 1
    assert capsys.readouterr().out.startswith("gate: REGRESSION – 1 of 4 checks")
    for setting, code in (("", 3), ("gate.inconclusive=pass", 0), ("gate.inconclusive=fail", 1)):
        assert gate(runs, "same", *filter(None, [setting]), max_drop="0.01") == code
        told = capsys.readouterr().out
        assert told.startswith("gate: INCONCLUSIVE – of 4 checks, 4 undecided, none beyond")
        assert "about 300 questions (limit=, now 120)" in told
    assert gate(runs, "worse", "gate.inconclusive=pass") == 1


def test_what_is_judged_and_what_of(runs: Path) -> None:
    """Each cell, and the area: at 4k 90 are right and then 66, a drop of 24/120. The area of 1k and 4k is
    their mean. Holm multiplies the clearest of the four by 4."""
    gate(runs, "worse")
    found = by_place(runs / "worse")
    assert list(found) == [
        "thinking 1k score",
        "thinking 4k score",
        "non-thinking score",
        "thinking area 1k-4k area",
    ]
    worse = found["thinking 4k score"]
    assert (worse["baseline"], worse["candidate"], worse["drop"]) == (0.75, 0.55, 0.2)
    assert (worse["outcome"], worse["max_drop"], worse["n_questions"]) == ("regression", 0.05, 120)
    assert worse["p_beyond_holm"] == pytest.approx(4 * worse["p_beyond"], rel=1e-4)
    assert found["thinking area 1k-4k area"]["drop"] == 0.1
    assert [m["outcome"] for m in found.values()].count("pass") == 2


def test_a_tolerance_by_task(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name, by default, and neither; a task that is not judged is a slip."""
    assert gate(runs, "worse", max_drop="{sums:0.3}") == 0
    assert by_place(runs / "worse")["thinking 4k score"]["max_drop"] == 0.3
    assert gate(runs, "worse", max_drop="{default:0.3}") == 0
    assert gate(runs, "worse", max_drop="default:0.01,sums:0.3") == 0
    capsys.readouterr()
    assert "did you mean 'sums'?" in refuse(capsys, gate(runs, "worse", max_drop="{sum:0.3}"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("gate.max_drop=much", "gate.max_drop='much' is not allowed; give a number, 0 to 1"),
        ("gate.max_drop=-0.1", "give a number, 0 to 1"),
        ("gate.max_drop={sums:nan}", "gate.max_drop of sums"),
        ("gate.alpha=0.5", "above 0 and below 0.5"),
        ("gate.max_error=2", "gate.max_error=2"),
        ("gate.max_forced=5", "gate.max_forced=5.0 is not allowed"),
        ("gate.inconclusive=yes", "write pass, which exits with 0, or fail"),
        ("task=sumz", "did you mean 'sums'?"),
        ("baseline=", "baseline= is missing"),
        ("baseline=no/where", "neither a run folder nor a file of 'gate export'"),
        ("candidate=", "candidate= is missing"),
        ("candidate=no/where", "holds no run"),
        ("baseline=qwen3-report/Qwen3-7B", "is no model of that report; did you mean"),
    ],
)
def test_bad_settings_are_refused_with_what_is_allowed(
    runs: Path, setting: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One error, exit code 2, and nothing written."""
    (runs / "same" / "gate.json").unlink(missing_ok=True)
    given = {"baseline": f"{runs}/base", "candidate": f"{runs}/same"} | dict([setting.split("=", 1)])
    code = main(["gate", *(f"{name}={value}" for name, value in given.items())])
    assert said in refuse(capsys, code)
    assert not (runs / "same" / "gate.json").exists()


def test_a_run_is_not_compared_with_itself(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by another way to its folder either."""
    assert "are the same folder" in refuse(capsys, gate(runs, "same", baseline="base/../same"))


OTHERWISE: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "other"}, "prompts of sums in mode thinking: 120 of 120 were asked with other token ids"),
    ({"ids": [f"sums/{i:04d}" for i in range(1, N + 1)]}, "the candidate was not asked 1 of the baseline's"),
    ({"identity": {"sampling.thinking.temperature": 1.0}}, "sampling.thinking.temperature is 0.6 in the "),
    ({"identity": {"stop_text": STOP_TEXTS["report"]}}, "stop_text is docs in the baseline and report in"),
    ({"identity": {"max_answer_tokens": None}}, "max_answer_tokens is 64 in the baseline and not set in"),
    ({"identity": {"options.sums": {"hard": True}}}, "options.sums.hard is not set in the baseline and True"),
    ({"identity": {"data.fingerprint of sums": "x"}}, "data.fingerprint of sums is not set in the baseline"),
    ({"protocol": "qwen3-report"}, "protocol is '' in the baseline and qwen3-report in the candidate"),
    ({"groups": ["a"] * N}, "average of sums is questions in the baseline and groups in the candidate"),
]


@pytest.mark.parametrize(("changed", "said"), OTHERWISE)
def test_what_was_asked_otherwise_is_not_compared(
    runs: Path, tmp_path: Path, changed: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is refused by its name, also where the other side is a file."""
    make_run(tmp_path / "other", CELLS, **changed)
    code = main(["gate", f"baseline={runs}/base", f"candidate={tmp_path}/other"])
    told = refuse(capsys, code)
    assert said in told
    assert main(["gate", "export", f"run.dir={runs}/base", f"out={tmp_path}/base.json"]) == 0
    capsys.readouterr()
    code = main(["gate", f"baseline={tmp_path}/base.json", f"candidate={tmp_path}/other"])
    assert refuse(capsys, code) == told


def test_what_does_not_matter_is_no_obstacle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sampling of a mode that was not asked, and a stop text that ended nothing; another engine is told."""
    inf: Cells = {(THINKING, math.inf): right(0.5)}
    make_run(tmp_path / "base", inf)
    make_run(
        tmp_path / "other",
        inf,
        identity={"sampling.base.temperature": 1.0, "stop_text": "</think>", "engine.dtype": "float16"},
    )
    assert gate(tmp_path, "other") == 0
    assert "engine.dtype is not set in the baseline and float16 in the candidate" in capsys.readouterr().out


def test_more_than_the_baseline_has_is_left_out_and_told(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The baseline says which questions and cells are judged."""
    more = {
        (THINKING, 256): right(0, N + 9),
        **{p: np.vstack([v, np.zeros((9, 1))]) for p, v in CELLS.items()},
    }
    make_run(tmp_path / "more", more)
    assert main(["gate", f"baseline={runs}/base", f"candidate={tmp_path}/more", "gate.max_drop=0.05"]) == 0
    told = capsys.readouterr().out
    assert "9 questions of sums that the baseline was not asked are left out" in told
    assert "the baseline has no such records: sums thinking 256" in told
    assert {m["n_questions"] for m in read_gate(tmp_path / "more")["metrics"]} == {N}


def without(cells: Cells, point: tuple[Mode, Budget]) -> Cells:
    return {there: scores for there, scores in cells.items() if there != point}


def with_errors(n: int) -> Cells:
    scores = np.array(CELLS[NON_THINKING, 0])
    scores[-n:] = np.nan
    return {**CELLS, (NON_THINKING, 0): scores}


@pytest.mark.parametrize(
    ("cells", "changed", "said"),
    [
        (
            without(CELLS, (NON_THINKING, 0)),
            {},
            "candidate: no records with mode=non-thinking; sweep it with that too",
        ),
        (
            without(CELLS, (THINKING, 4096)),
            {},
            "candidate: no records with budget=4k; sweep it with that too",
        ),
        (CELLS, {"status": "stopped"}, "candidate: its sweep is stopped, not done"),
        (CELLS, {"status": "running"}, "candidate: its sweep is running, not done"),
        (CELLS, {"planned": 130}, "candidate: 120 of 130 records; let its sweep run on"),
        (with_errors(3), {}, "candidate: 3 of 120 records have no verdict (error), and gate.max_error is 0"),
    ],
)
def test_a_hole_never_passes(
    runs: Path, tmp_path: Path, cells: Cells, changed: dict[str, Any], said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """On either side; not with gate.inconclusive=pass either, which lets pass what more data would decide."""
    make_run(tmp_path / "hole", cells, **changed)
    pairs = [(runs / "base", tmp_path / "hole", said)]
    if "sweep it" not in said:  # what the baseline does not have is not judged
        make_run(tmp_path / "sound", CELLS)
        pairs.append((tmp_path / "hole", tmp_path / "sound", said.replace("candidate", "baseline")))
    for baseline, candidate, told in pairs:
        settings = [f"baseline={baseline}", f"candidate={candidate}", "gate.max_drop=0.05"]
        assert main(["gate", *settings]) == 3
        assert told in capsys.readouterr().out
        assert main(["gate", *settings, "gate.inconclusive=pass"]) == 3
        assert main(["gate", *settings, "gate.inconclusive=fail"]) == 1


def test_errors_up_to_what_is_allowed_pass(tmp_path: Path) -> None:
    """They are left out of the score, on both sides."""
    make_run(tmp_path / "base", CELLS)
    make_run(tmp_path / "errors", with_errors(3))
    assert gate(tmp_path, "errors", "gate.max_error=0.025") == 0
    assert by_place(tmp_path / "errors")["non-thinking score"]["n_questions"] == N - 3


def test_an_unfinished_candidate_may_be_a_regression(tmp_path: Path) -> None:
    """What it has is a fair draw of its questions: half of them, all lost, is enough."""
    make_run(tmp_path / "base", CELLS)
    half: Cells = {point: np.zeros((N // 2, 1)) for point in CELLS}
    make_run(tmp_path / "half", half, status="stopped", planned=N)
    assert gate(tmp_path, "half") == 1


def test_thinking_tokens_and_forced_share(tmp_path: Path) -> None:
    """Traces of 1,000 tokens, and then 1,300 of which 1,024 fit at 1k: 2.4 % more, all of them forced there.
    At 4k it is 30 % more, and none forced."""
    cells: Cells = {(THINKING, 1024): right(0.5), (THINKING, 4096): right(0.5), (NON_THINKING, 0): right(0.5)}
    make_run(tmp_path / "base", cells, traces=[1000] * N)
    make_run(tmp_path / "longer", cells, traces=[1300] * N)
    make_run(tmp_path / "shorter", cells, traces=[700] * N)
    asked = ("gate.max_thinking_tokens=0.1", "gate.max_forced=0.1")
    assert gate(tmp_path, "longer") == 0
    assert gate(tmp_path, "longer", *asked) == 1
    found = by_place(tmp_path / "longer")
    assert {place: m["outcome"] for place, m in found.items() if m["name"] not in ("score", "area")} == {
        "thinking 1k forced": "regression",
        "thinking 1k thinking tokens": "pass",
        "thinking 4k forced": "pass",
        "thinking 4k thinking tokens": "regression",
    }
    assert found["thinking 4k thinking tokens"]["drop"] == pytest.approx(0.3)
    assert found["thinking 1k thinking tokens"]["drop"] == pytest.approx(0.024)
    assert found["thinking 1k forced"]["drop"] == 1
    assert gate(tmp_path, "shorter", *asked) == 0


def test_groups_count_alike(tmp_path: Path) -> None:
    """90 questions of one language, 30 of another that loses all: half of the score, not a quarter."""
    groups = ["en/a"] * 60 + ["en/b"] * 30 + ["sw"] * 30
    make_run(tmp_path / "base", {(THINKING, 1024): np.ones((N, 1))}, groups=groups)
    make_run(tmp_path / "worse", {(THINKING, 1024): right(0.75)}, groups=groups)
    assert gate(tmp_path, "worse") == 1
    (found,) = by_place(tmp_path / "worse").values()
    assert (found["baseline"], found["candidate"], found["drop"]) == (1, 0.5, 0.5)


def test_parallel_questions_are_one_unit(tmp_path: Path) -> None:
    """Forty questions in three languages are forty independent ones."""
    ids = [f"sums/{language}/{i}" for language in ("de", "en", "sw") for i in range(40)]
    groups = [name.split("/")[1] for name in ids]
    for name in ("base", "same"):
        make_run(tmp_path / name, {(THINKING, 1024): right(0.5)}, ids=ids, groups=groups, parallel=True)
    assert gate(tmp_path, "same", max_drop="0.1") == 0
    (found,) = by_place(tmp_path / "same").values()
    assert (found["n_units"], found["n_questions"]) == (40, 120)


def test_any_named_metric_can_be_judged() -> None:
    """Compliance, per prompt: the gate of another command needs no more than this. All in one family."""
    b = np.ones(200)
    a = np.where(np.arange(200) < 60, 0.0, 1.0)
    verdict = judge([Metric("compliance", a, b, 0.1), Metric("score", b, b, 0.05, task="sums")], 0.05)
    assert verdict.outcome == "regression"
    assert [each.outcome for each in verdict.judged] == ["regression", "pass"]
    assert verdict.judged[0].metric.place == "compliance"
    assert judge([], 0.05).outcome == "inconclusive"
    assert judge([Metric("compliance", np.full(3, np.nan), np.ones(3), 0.1)], 0.05).outcome == "inconclusive"


def test_a_file_says_what_the_folder_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Repeats, errors, groups, fractions and token means survive: the same verdict, number by number."""
    random = np.random.default_rng(0)
    cells: dict[tuple[Mode, Budget], Floats] = {
        (THINKING, 1024): random.integers(0, 2, (N, 3)).astype(float),
        (THINKING, math.inf): random.choice([0, 1 / 3, 0.123456, 1], (N, 3)),
        (NON_THINKING, 0): np.where(random.random((N, 3)) < 0.1, np.nan, random.integers(0, 2, (N, 3))),
    }
    groups = [f"g{i % 3}/x" for i in range(N)]
    traces = [int(n) for n in random.integers(10, 4000, N)]
    make_run(tmp_path / "base", cells, groups=groups, traces=traces)
    cells[THINKING, 1024] = random.integers(0, 2, (N, 3)).astype(float)
    make_run(tmp_path / "new", cells, groups=groups, traces=traces[::-1])
    asked = ("gate.max_error=0.5", "gate.max_thinking_tokens=0.1", "gate.max_forced=0.1")
    gate(tmp_path, "new", *asked)
    want = read_gate(tmp_path / "new")["metrics"]
    for name in ("base.json", "base.json.gz"):
        assert main(["gate", "export", f"run.dir={tmp_path}/base", f"out={tmp_path}/{name}"]) == 0
        gate(tmp_path, "new", *asked, baseline=name)
        assert read_gate(tmp_path / "new")["metrics"] == want
    assert "records have no verdict" in capsys.readouterr().out


def test_a_file_is_small_and_the_same_each_time(tmp_path: Path) -> None:
    """Copies of a run in other places give the same bytes; reading and writing loses nothing. 1,319 questions
    in 8 cells stay under 150 kB."""
    random = np.random.default_rng(1)
    n = 1319
    budgets = [256, 512, 1024, 2048, 4096, 8192, math.inf]
    cells: dict[tuple[Mode, Budget], Floats] = {
        (THINKING, budget): random.integers(0, 2, (n, 1)).astype(float) for budget in budgets
    }
    cells[NON_THINKING, 0] = random.integers(0, 2, (n, 1)).astype(float)
    traces = [int(length) for length in random.lognormal(7, 0.8, n)]
    for place in ("here", "there"):
        make_run(tmp_path / place / "run", cells, task="gsm8k", traces=traces)
        assert main(["gate", "export", f"run.dir={tmp_path}/{place}/run"]) == 0
    path = tmp_path / "here" / "run" / "baseline.json"
    content = path.read_bytes()
    assert content == (tmp_path / "there" / "run" / "baseline.json").read_bytes()
    assert len(content) < 150_000
    assert format_baseline(read_baseline(path)).encode() == content
    assert main(["gate", "export", f"run.dir={tmp_path}/here/run", f"out={tmp_path}/b.json.gz"]) == 0
    assert gzip.decompress((tmp_path / "b.json.gz").read_bytes()) == content
    past = read_side(read_past_run(tmp_path / "here" / "run", "baseline")).tasks["gsm8k"]
    assert past.cells[THINKING, 256].scores.tolist() == cells[THINKING, 256][:, 0].tolist()


SPOILT = [
    (lambda text: text[:3000], "is damaged"),
    (lambda text: text.replace('"score": {"n":"1', '"score": {"n":"'), "a list holds 119 entries for 120"),
    (lambda text: text.replace('"ids"', '"id"'), "is damaged (KeyError"),
    (lambda text: text.replace('"version": 1', '"version": 2'), "has version 2; this version of qwen3_eval"),
    (lambda text: '{"a": 1}', "is no baseline file"),
    (lambda text: "[]", "is no baseline file"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_a_file_that_is_no_baseline_is_refused(
    runs: Path, tmp_path: Path, spoil: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut, edited, of another version, or something else."""
    path = tmp_path / "base.json"
    assert main(["gate", "export", f"run.dir={runs}/base", f"out={path}"]) == 0
    path.write_text(spoil(path.read_text()))
    capsys.readouterr()
    assert said in refuse(capsys, main(["gate", f"baseline={path}", f"candidate={runs}/same"]))


def test_an_unfinished_run_is_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor one that has fewer records than it planned, nor a task it has not; a folder is no file to write."""
    make_run(tmp_path / "stopped", CELLS, status="stopped")
    make_run(tmp_path / "short", CELLS, planned=130)
    for name, said in (("stopped", "its sweep is stopped"), ("short", "sums has 120 of 130 records")):
        assert said in refuse(capsys, main(["gate", "export", f"run.dir={tmp_path}/{name}"]))
        assert not (tmp_path / name / "baseline.json").exists()
    make_run(tmp_path / "done", CELLS)
    code = main(["gate", "export", f"run.dir={tmp_path}/done", "task=sumz"])
    assert "did you mean 'sums'?" in refuse(capsys, code)
    assert "is a folder" in refuse(
        capsys, main(["gate", "export", f"run.dir={tmp_path}/done", f"out={tmp_path}"])
    )


def test_published_numbers_are_unpaired_and_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Qwen3-8B-Base has 89.84 on gsm8k: against 102 of 120 right at a tolerance of 0.05, p is the binomial
    tail at 0.8484."""
    cells: Cells = {(BASE, 0): right(0.85)}
    make_run(tmp_path / "new", cells, task="gsm8k", protocol="qwen3-report", departures=["limit=200: ..."])
    published = "qwen3-report/Qwen3-8B-Base"
    assert gate(tmp_path, "new", baseline=published) == 3
    told = capsys.readouterr().out
    assert "unpaired" in told
    assert "departure from the protocol: limit=200" in told
    (found,) = read_gate(tmp_path / "new")["metrics"]
    assert (found["baseline"], found["paired"]) == (0.8984, False)
    assert found["p_within"] == pytest.approx(binom.sf(101, 120, 0.8484), rel=1e-4)
    assert gate(tmp_path, "new", "gate.max_forced=0.1", baseline=published) == 2
    make_run(tmp_path / "worse", {(BASE, 0): right(0.5)}, task="gsm8k", protocol="qwen3-report")
    assert gate(tmp_path, "worse", baseline=published) == 1


def test_published_numbers_need_the_reports_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it nothing is known to be alike, and with other sampling it is known not to be."""
    cells: Cells = {(THINKING, math.inf): right(0.9)}
    make_run(tmp_path / "free", cells, task="math500")
    told = refuse(capsys, gate(tmp_path, "free", baseline="qwen3-report/Qwen3-8B"))
    assert "swept with no protocol=; sweep it with protocol=qwen3-report" in told
    make_run(
        tmp_path / "hot",
        cells,
        task="math500",
        protocol="qwen3-report",
        identity={"sampling.thinking.top_k": 0},
    )
    told = refuse(capsys, gate(tmp_path, "hot", baseline="qwen3-report/Qwen3-8B"))
    assert "sampling.thinking.top_k is 20 in the report and 0 in the candidate" in told
    sampling = Sampling(temperature=0.6, top_p=0.95, top_k=20).as_dict()
    alike = {f"sampling.thinking.{name}": value for name, value in sampling.items()}
    capped: Cells = {(THINKING, 1024): right(0.9)}
    make_run(tmp_path / "capped", capped, task="math500", protocol="qwen3-report", identity=alike)
    assert gate(tmp_path, "capped", "gate.inconclusive=pass", baseline="qwen3-report/Qwen3-8B") == 3
    assert "no records with budget=inf; sweep it with that too" in capsys.readouterr().out
