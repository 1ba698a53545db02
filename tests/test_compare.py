"""Promises of `compare`: paired differences, flips, what differs between runs, and its errors."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_runs import make_run

from qwen3_eval.chat import Chat, load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.cli import main
from qwen3_eval.compare.command import name_runs
from qwen3_eval.compare.flips import choose_flips, count_flips, find_flips
from qwen3_eval.compare.pairs import compare_pairs, list_differences, pair_runs
from qwen3_eval.compare.unlike import explain_unlike, list_unlike
from qwen3_eval.past_run import PastRun, read_past_run

A = {"q0": [[0, 0, 1, 0]], "q1": [[0, 1, 1, 0]], "q2": [[0, 0, 0, 0]], "q3": [[1, 1, 1, 1]]}
B = {
    "q0": [[0, 1, 1, 0]],
    "q1": [[1, 1, 1, 0]],
    "q2": [[0, 0, 1, 0]],
    "q3": [[1, 0, 1, 1]],
    "q4": [[1, 1, 1, 1]],
}
"""At 8 q1 turns right; at 16 q0 turns right and q3 wrong; at 32 q2 turns right. q4 is in b alone."""

T3 = 3.182446  # the 97.5 % quantile of t with 3 degrees of freedom, from a printed table


@pytest.fixture(scope="module")
def chat() -> Chat:
    return load_chat(locate_checkpoint("box:nano").path)


@pytest.fixture(scope="module")
def two_runs(chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return make_run(folder / "a", chat, A), make_run(folder / "b", chat, B, identity={"seed": 1})


@pytest.fixture(scope="module")
def pair(two_runs: tuple[Path, Path]) -> list[PastRun]:
    return [read_past_run(folder, "runs") for folder in two_runs]


def made(name: str, scores: Mapping[tuple[str, float], list[list[float]]], **run: Any) -> PastRun:
    """A run of records alone: by (mode, budget) the scores of each question's repeats; NaN is an error."""
    rows = [
        {
            "task": "toy", "group": "", "sample_id": f"q{question}", "mode": mode, "budget": budget,
            "repeat": repeat, "score": 0.0 if math.isnan(score) else score,
            "outcome": "error" if math.isnan(score) else "correct" if score == 1 else "incorrect",
            "extracted": str(score), "target": "1", "parts": "", "thinking_tokens": 100, "answer_tokens": 10,
            "prompt_sha256": f"q{question}", "rollout": question,
        }
        for (mode, budget), questions in scores.items()
        for question, repeats in enumerate(questions)
        for repeat, score in enumerate(repeats)
    ]  # fmt: skip
    described = {"identity": {}, "tasks": {"toy": {}}, "model": {"name": "m", "fingerprint": "1"}, **run}
    return PastRun(Path(name), name, described, pd.DataFrame(rows))


def rows_of(runs: list[PastRun]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = compare_pairs(pair_runs(runs, ["toy"])).to_dict("records")  # type: ignore[assignment]
    return found


# ---- Differences


def test_differences_worked_by_hand(pair: list[PastRun]) -> None:
    """At 8 the differences are 0, 1, 0, 0: mean 1/4, s 1/2, and two more answers widen the interval.

    At 16 one turned each way. Areas, weights 1/4, 1/2, 1/4, differ by 1/2, 1/4, 1/4, -1/2: mean 1/8, and of
    the 16 sign patterns 12 are as far from 0, so p is 3/4. Without thinking nothing differs.
    """
    rows = {
        (row["mode"], row["measure"], row["budget"]): row
        for row in rows_of(pair)
        if row["measure"] == "score"
    }
    area = next(row for row in rows_of(pair) if row["measure"] == "area")
    at8, at16, at32 = (rows["thinking", "score", budget] for budget in (8, 16, 32))
    assert (at8["score_reference"], at8["score"], at8["difference"]) == (0.25, 0.5, 0.25)
    assert at8["n_questions"] == 4, "q4 is in b alone"
    assert at8["stderr"] == pytest.approx(0.25)
    margin = T3 * (1 / 16 + 4 / 3 * 2 / 16) ** 0.5
    assert (at8["ci_low"], at8["ci_high"]) == pytest.approx((max(-1, 0.25 - margin), min(1, 0.25 + margin)))
    assert [(row["n_better"], row["n_worse"], row["n_equal"]) for row in (at8, at16, at32)] == [
        (1, 0, 3), (1, 1, 2), (1, 0, 3),
    ]  # fmt: skip
    assert (at16["difference"], at16["p_value"]) == (0, 1)
    assert (area["score_reference"], area["score"]) == pytest.approx((0.5, 0.625))
    assert area["difference"] == pytest.approx(0.125)
    assert area["p_value"] == pytest.approx(0.75)
    assert rows["non-thinking", "score", 0]["n_equal"] == 4
    assert at8["thinking_tokens"] == 8


def test_the_family_is_a_task_and_a_pair_of_runs() -> None:
    """10 of 10 questions better (p 2/1024) and 6 of 10 (p 2/64): Holm's are 4/1024 and 2/64."""
    a = made("a", {("thinking", 8.0): [[0.0]] * 10, ("non-thinking", 0.0): [[0.0]] * 10})
    b = made("b", {("thinking", 8.0): [[1.0]] * 10, ("non-thinking", 0.0): [[1.0]] * 6 + [[0.0]] * 4})
    rows = rows_of([a, b])
    assert [row["measure"] for row in rows] == ["score", "score"], "one budget has no area"
    assert [row["p_holm"] for row in rows] == pytest.approx([4 / 1024, 2 / 64])
    assert [row["p_holm"] for row in rows_of([a, b, b])][:2] == pytest.approx([4 / 1024, 2 / 64])
    said = dict(list_differences(compare_pairs(pair_runs([a, b], ["toy"]))))["toy"]
    assert said == "b is better than a at 8 (+1.000, p 0.004), without thinking (+0.600, p 0.031)"


def test_repeats_count_within_their_question_and_errors_not_at_all() -> None:
    """q0 goes from 1/2 to 1; q1 has one verdict of two in b, right as in a; q2 is an error in b."""
    error = math.nan
    a = made("a", {("thinking", 8.0): [[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]})
    b = made("b", {("thinking", 8.0): [[1.0, 1.0], [1.0, error], [error, error]]})
    (row,) = rows_of([a, b])
    assert (row["n_questions"], row["difference"], row["n_better"], row["n_equal"]) == (2, 0.25, 1, 1)
    assert (row["score_reference"], row["score"]) == (0.75, 1.0)


def test_the_area_of_a_trace_needs_every_budget() -> None:
    """A repeat with an error at one budget has no area; inf and 0 have no place on the axis."""
    scores = {8.0: [[0.0], [1.0]], 16.0: [[0.0], [1.0]], math.inf: [[1.0], [1.0]]}
    a = made("a", {("thinking", budget): of for budget, of in scores.items()})
    b = made("b", {("thinking", b): ([[1.0], [math.nan]] if b == 8 else of) for b, of in scores.items()})
    area = rows_of([a, b])[0]
    assert (area["measure"], area["n_questions"], area["difference"]) == ("area", 1, 0.5)


def test_a_macro_average_is_compared_as_one() -> None:
    """Averaged over groups of 1 and 3 questions, the one question of its group weighs a half."""
    about = {"tasks": {"toy": {"average": "groups"}}}
    a = made("a", {("thinking", 8.0): [[0.0]] * 4}, **about)
    b = made("b", {("thinking", 8.0): [[1.0], [0.0], [0.0], [0.0]]}, **about)
    for past in (a, b):
        past.records["group"] = ["x" if i == "q0" else "y" for i in past.records["sample_id"]]
    (row,) = rows_of([a, b])
    assert (row["score_reference"], row["score"], row["difference"]) == (0, 0.5, 0.5)


def test_a_task_that_the_first_run_lacks_is_told_against_the_next() -> None:
    """Of three runs, the second and third share a task that the first does not have."""
    a, b, c = (made(name, {("thinking", 8.0): [[1.0]]}) for name in "abc")
    for past in (b, c):
        past.records["task"] = "other"
    pairs = pair_runs([a, b, c], ["other"])
    assert [(p.reference.name, p.other.name, p.tasks) for p in pairs] == [("b", "c", ("other",))]


# ---- Flips


def test_flips_worked_by_hand(pair: list[PastRun]) -> None:
    """Four questions turned, each at one budget, in the order of budgets; q4 did not."""
    flips = find_flips(pair_runs(pair, ["toy"]))
    found = flips[["sample_id", "budget", "turned", "extracted_reference", "extracted"]].to_numpy().tolist()
    assert found == [
        ["q1", 8, "right", "0", "1"],
        ["q0", 16, "right", "0", "1"],
        ["q3", 16, "wrong", "1", "0"],
        ["q2", 32, "right", "0", "1"],
    ]
    assert count_flips(flips) == {"right": 3, "wrong": 1}


def test_repeats_turn_by_a_part() -> None:
    """From 1 of 2 right to 2 of 2 is better, not right; a wrong repeat is shown against a right one."""
    a = made("a", {("thinking", 8.0): [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]})
    b = made("b", {("thinking", 8.0): [[1.0, 1.0], [0.0, 0.0], [math.nan, 0.0]]})
    flips = find_flips(pair_runs([a, b], ["toy"]))
    assert flips["turned"].tolist() == ["better", "wrong"]
    assert flips["change"].tolist() == [0.5, -1]
    assert flips["repeat_reference"].tolist() == [1, 0]
    assert flips["outcome_reference"].tolist() == ["incorrect", "correct"]


def test_the_flips_of_a_page_are_chosen_fairly() -> None:
    """Of 10 flips at one budget and 2 at another, 4 are 2 of each; large changes go before small ones."""
    few = [[1.0, 1.0]] * 2 + [[0.0, 0.0]] * 8
    a = made("a", {("thinking", b): [[0.0, 0.0]] * 10 for b in (8.0, 16.0, 32.0)})
    b = made("b", {("thinking", 8.0): [[1.0, 1.0]] * 10, ("thinking", 16.0): few,
                   ("thinking", 32.0): [[0.0, 1.0]] * 10})  # fmt: skip
    flips = find_flips(pair_runs([a, b], ["toy"]))
    assert len(flips) == 22
    chosen = choose_flips(flips, 4)
    assert chosen["budget"].tolist() == [8, 8, 16, 16]
    assert choose_flips(flips, 22) is flips
    assert sorted(choose_flips(flips, 13)["budget"])[-1] == 32


# ---- What differs


def test_runs_that_differ_in_the_seed_alone_differ_by_chance(pair: list[PastRun]) -> None:
    """The seed and the question of one run alone are named; sampling of a mode that neither ran is not."""
    other = pair[1]
    run = {**other.run, "identity": {**other.run["identity"], "sampling.base.temperature": 1.0}}
    found = list_unlike(pair[0], PastRun(other.folder, "b", run, other.records), ["toy"])
    assert [each.said for each in found] == [
        "seed: 0 in a, 1 in b",
        "questions: toy: 4 shared, 1 in b alone; those are left out",
    ]
    assert (
        explain_unlike(pair[0], pair[1], found)
        == "a and b differ in the seed alone: what differs in their scores is chance."
    )


def test_every_kind_of_difference_is_named() -> None:
    """Model, prompts, sampling, stop text, limits, options, scoring, targets, versions, points and state."""
    cells: dict[tuple[str, float], list[list[float]]] = {("thinking", 8.0): [[1.0], [0.0]]}
    identity = {"max_answer_tokens": 64, "sampling.thinking.temperature": 0.6, "options.toy": {"share": 1.0}}
    a = made("a", cells | {("non-thinking", 0.0): [[1.0], [0.0]]}, identity=identity, versions={"vllm": "1"})
    b = made(
        "b", cells, identity={"max_answer_tokens": 4096, "sampling.thinking.temperature": 1.0,
                              "options.toy": {"share": 0.5}, "seed": 3},
        model={"name": "big", "fingerprint": "2"}, stop_text="Stop.</think>", status="running",
        versions={"vllm": "2"}, tasks={"toy": {"metric": "exact"}},
    )  # fmt: skip
    b.records["prompt_sha256"] = "other"
    b.records.loc[0, "target"] = "2"
    asked = {("toy", "q0"): "1", ("toy", "q1"): "2"}
    found = list_unlike(a, b, ["toy"], (asked, {("toy", "q0"): "9", ("toy", "q1"): "2"}))
    assert [each.said for each in found] == [
        "model: m in a, big in b",
        "prompts: toy, thinking: 2 of 2 shared questions were asked with other token ids (1 in their words)",
        "sampling of thinking: temperature 0.6 and 1.0 (a and b)",
        "stop text: '' in a, 'Stop.</think>' in b",
        "seed: unset in a, 3 in b",
        "max_answer_tokens: 64 in a, 4,096 in b",
        "options.toy.share: 1.0 in a, 0.5 in b",
        "metric of toy: unset in a, exact in b; a's is used for both",
        "targets: toy: 1 of 2 shared questions have another right answer",
        "versions: vllm 1 and 2 (a and b)",
        "in a alone: non-thinking; not compared",
        "b is unfinished (running): what it has so far is compared",
    ]
    assert (
        "differ in model, prompts, sampling, stop text, limits, options, scoring and targets"
        in explain_unlike(a, b, found)
    )


def test_another_tokenizer_is_part_of_another_model() -> None:
    """The same words as other ids lie with the model where that differs, and else are other prompts."""
    a, b = made("a", {("thinking", 8.0): [[1.0]]}), made("b", {("thinking", 8.0): [[1.0]]})
    b.records["prompt_sha256"] = "other"
    asked = {("toy", "q0"): "1"}
    assert [each.kind for each in list_unlike(a, b, ["toy"], (asked, asked))] == ["prompts"]
    other = made("b", {("thinking", 8.0): [[1.0]]}, model={"name": "big", "fingerprint": "2"})
    other.records["prompt_sha256"] = "other"
    found = list_unlike(a, other, ["toy"], (asked, asked))
    assert {each.kind for each in found} == {"model"}
    assert explain_unlike(a, other, found) == (
        "a and b differ in the model alone: what is more than chance comes from the model."
    )


# ---- The command


def test_runs_of_one_name_are_told_apart_by_their_path() -> None:
    """As many parts of the path as it takes, and no more."""
    names = name_runs([Path("/x/one/run"), Path("/x/two/run"), Path("/x/other"), Path("/y/two/run")])
    assert names == ["one/run", "x/two/run", "other", "y/two/run"]


def test_the_command_prints_and_writes(
    two_runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what differs and the differences; its folder stands beside the first run, complete."""
    a, b = two_runs
    before = {path: path.stat().st_mtime_ns for run in two_runs for path in run.iterdir()}
    assert main(["compare", f"runs={a},{b}"]) == 0
    told = capsys.readouterr().out
    assert "a and b differ in the seed alone" in told
    line = next(line for line in told.splitlines() if line.startswith("toy") and " 8 " in line)
    assert "0.250 → 0.500" in line
    assert "+0.250" in line
    out = a.parent / "compare-a-b"
    assert {path.name for path in out.iterdir()} == {
        "comparison.csv", "comparison.parquet", "comparison.md", "comparison.tex", "scores.csv",
        "tokens.csv", "runs.csv", "flips.csv", "curves.svg", "curves.png", "compare.html",
    }  # fmt: skip
    table = pd.read_csv(out / "comparison.csv")
    assert table["difference"].tolist() == [0.125, 0.25, 0, 0.25, 0]
    assert pd.read_parquet(out / "comparison.parquet")["difference"].tolist() == pytest.approx(
        table["difference"].tolist()
    )
    assert len(pd.read_csv(out / "flips.csv")) == 4
    assert {path: path.stat().st_mtime_ns for run in two_runs for path in run.iterdir()} == before


def test_costs_count_every_token_once(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    """4 traces of 42 ids (with `<think>` and `</think>`) and 16 answers; each request has its own seconds."""
    assert main(["compare", f"runs={two_runs[0]},{two_runs[1]}", f"out={tmp_path}"]) == 0
    costs = pd.read_csv(tmp_path / "runs.csv").set_index("run")
    assert costs.loc["a", "requests"] == 4 + 16
    assert costs.loc["a", "requests_s"] == pytest.approx(4 * 4.0 + 16 * 0.5)
    scores = pd.read_csv(tmp_path / "scores.csv", dtype={"budget": str})
    at32 = scores[(scores["run"] == "a") & (scores["budget"] == "32")].iloc[0]
    assert at32["seconds_mean"] == pytest.approx(4.0 * 32 / 40 + 0.5), (
        "a cut segment counts by the share used"
    )


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("", "runs= names no run; name the folders of at least two"),
        ("{a}", "alone; name the folders of at least two"),
        ("{a},{a}", "twice; name each run once"),
        ("{a},{a}/../a", "twice (as "),
        ("{a},{empty}", "holds no run (no run.json)"),
        ("{a},{other}", "share no task: a has toy; other has sums"),
    ],
)
def test_bad_input_is_told_in_one_message(
    two_runs: tuple[Path, Path], chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str], runs: str,
    message: str,
) -> None:  # fmt: skip
    """Exit code 2, what was got and what to do; nothing is written."""
    (tmp_path / "empty").mkdir()
    other = make_run(tmp_path / "other", chat, {"q0": [[1, 1, 1, 1]]}, task="sums")
    named = runs.format(a=two_runs[0], empty=tmp_path / "empty", other=other)
    assert main(["compare", f"runs={named}", f"out={tmp_path}/out"]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_task_that_is_not_shared_is_refused(
    two_runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """`task=` names the nearest that is shared, and what each run has."""
    assert main(["compare", f"runs={two_runs[0]},{two_runs[1]}", "task=toi"]) == 2
    assert "task 'toi' is in none of the runs; did you mean 'toy'?" in capsys.readouterr().err


def test_one_run_stands_beside_published_models(
    chat: Chat, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `reference=` one run is enough: its wins are printed and written, and there are no differences."""
    model = {"name": "Qwen3-0.6B", "fingerprint": "sha256:1"}
    run = make_run(tmp_path / "run", chat, A, task="math500", model=model)
    assert main(["compare", f"runs={run}", "reference=qwen3-report", "against=Qwen3-1.7B"]) == 0
    told = capsys.readouterr().out
    assert "Wins and losses against models of the Qwen3 report" in told
    out = tmp_path / "compare-run"
    assert (out / "wins.csv").is_file()
    assert not (out / "comparison.csv").exists()
    assert "Wins and losses" in (out / "compare.html").read_text()
    assert "Qwen3-1.7B" in (out / "comparison.md").read_text()


def test_published_models_need_a_reference(
    two_runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """`against=` alone is refused with what is missing."""
    assert main(["compare", f"runs={two_runs[0]},{two_runs[1]}", "against=Qwen3-8B"]) == 2
    assert "against=Qwen3-8B needs reference=" in capsys.readouterr().err
