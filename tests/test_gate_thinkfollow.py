"""Promises of the gate on ThinkFollow, and of thinkfollow.xml."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gating import CELLS, gate, make_run, read_gate

from qwen3_eval.cli import main
from qwen3_eval.thinkfollow.journal import JOURNAL, open_journal
from qwen3_eval.thinkfollow.judge import judge_compliance
from qwen3_eval.thinkfollow.junit import render_junit
from qwen3_eval.thinkfollow.tables import frame_of
from qwen3_eval.thinkfollow.turn_row import TurnRow
from qwen3_eval.types import NON_THINKING, THINKING

Done = Callable[[int, int, str], str]
"""What turn t of dialogue d did at a budget; it was asked to think."""
IDENTITY: dict[str, Any] = {
    "model.fingerprint": "sha256:a", "engine.name": "scripted", "seed": 0, "stop_text": "docs",
    "max_answer_tokens": 64, "max_output_tokens": 4096, "turns": [1, 8], "dialogues.fingerprint": "abc",
    "sampling": {THINKING: {"temperature": 0.6, "top_k": 20}, NON_THINKING: {"temperature": 0.7}},
}  # fmt: skip
ABOUT = {"settings": {"thinkfollow": {"min": 0.98}}, "model": {"name": "toy"},
         "budget_audit": {"checked": 9, "breaches": [], "notes": []}}  # fmt: skip


def obey(dialogue: int, turn: int, budget: str) -> str:
    return THINKING


def build_turn(dialogue: int, turn: int, budget: str, done: str, **values: Any) -> TurnRow:
    said: dict[str, Any] = dict.fromkeys(
        ("hard", "language", "difficulty", "direction", "trap", "quoted", "error", "system", "thinking"), ""
    )
    said |= dict.fromkeys(("switches_before", "prompt_tokens", "thinking_tokens", "answer_tokens"), 0)
    said |= {"kind": "plain", "place": "start", "forced": False, "truncated": False, "cut": -1, "ids": (1,),
             "opened": "model", "user": "why?", "answer": "so"}  # fmt: skip
    said["prompt_sha256"] = f"{dialogue}-{turn}"
    name = f"d{dialogue:04}"
    return TurnRow(dialogue=name, turn=turn, budget=budget, asked=THINKING, done=done, **(said | values))


def make_followed(
    folder: Path, n: int, done: Done = obey, *, turns: Callable[[int], int] = lambda dialogue: 1,
    budgets: tuple[str, ...] = ("inf",), identity: Mapping[str, Any] | None = None,
    skip: tuple[int, ...] = (), finished: bool = True, **values: Any,
) -> Path:  # fmt: skip
    """Makes a folder of `thinkfollow` without a model: n plain dialogues at each budget."""
    folder.mkdir(parents=True)
    journal = open_journal(folder, {**IDENTITY, **(identity or {})})
    for budget in budgets:
        for d in (d for d in range(n) if d not in skip):
            many = range(1, turns(d) + 1)
            journal.keep([build_turn(d, t, budget, done(d, t, budget), **values) for t in many])
    if finished:
        (folder / "thinkfollow.json").write_text(json.dumps({"model": {"name": "toy"}}))
    return folder


@pytest.mark.parametrize(("n", "code"), [(59, 0), (58, 3)])
def test_the_rule_of_three_holds_of_dialogues(tmp_path: Path, n: int, code: int) -> None:
    """Without any change 59 dialogues of one turn pass at 0.05 and 58 do not: 0.95^59 < 0.05 < 0.95^58."""
    make_followed(tmp_path / "base", n)
    make_followed(tmp_path / "new", n)
    assert gate(tmp_path, "new") == code
    (metric,) = read_gate(tmp_path / "new")["metrics"]
    assert metric["p_within"] == pytest.approx(0.95**n, rel=1e-4)
    assert (metric["task"], metric["budget"], metric["name"]) == ("thinkfollow", "inf", "compliance")


def test_who_stops_obeying_is_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fall at one budget fails the gate, names it, and stands in all three files."""
    make_followed(tmp_path / "base", 100, budgets=("1k", "inf"))
    deaf = make_followed(
        tmp_path / "deaf", 100, lambda d, t, b: NON_THINKING if b == "1k" and d < 30 else THINKING,
        budgets=("1k", "inf"),
    )  # fmt: skip
    assert gate(tmp_path, "deaf") == 1
    assert "paired turn by turn on the same dialogues" in capsys.readouterr().out
    low, high = read_gate(deaf)["metrics"]
    assert (low["budget"], low["outcome"], low["drop"]) == ("1k", "regression", 0.3)
    assert (high["budget"], high["outcome"], high["drop"]) == ("inf", "pass", 0)
    assert "| thinkfollow 1k compliance | 1.000 | 0.700 | −0.300 |" in (deaf / "gate.md").read_text()
    suite = ElementTree.parse(deaf / "gate.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")


def test_turns_of_a_dialogue_are_one_unit(tmp_path: Path) -> None:
    """Ten turns each do not make 58 dialogues more: the chance of a wrong pass is the same."""
    for name in ("base", "new"):
        make_followed(tmp_path / name, 58, turns=lambda d: 10)
    assert gate(tmp_path, "new") == 3
    (metric,) = read_gate(tmp_path / "new")["metrics"]
    assert (metric["n_questions"], metric["n_units"]) == (580, 58)
    assert metric["p_within"] == pytest.approx(0.95**58, rel=1e-4)


def test_as_many_dialogues_as_advised_decide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 1 to 8 turns each, the number that the gate names passes, and a tenth less does not."""

    def judge(n: int) -> int:
        for name in ("base", "new"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            make_followed(tmp_path / name, n, turns=lambda d: d % 8 + 1)
        return gate(tmp_path, "new", max_drop="0.03")

    assert judge(40) == 3
    said = re.search(r"To decide: about (\d+) dialogues \(dialogues=, now 40\)", capsys.readouterr().out)
    assert said is not None
    advised = int(said[1])
    assert judge(advised) == 0
    assert judge(round(0.9 * advised)) == 3


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", 1, "seed is 0 in the baseline and 1 in the candidate"),
        ("turns", [1, 4], "turns is [1, 8] in the baseline and [1, 4] in the candidate"),
        ("max_answer_tokens", 32, "max_answer_tokens is 64 in the baseline and 32"),
        ("dialogues.fingerprint", "xyz", "other task=, or drawn by another version"),
        ("stop_text", "report", "stop_text is docs in the baseline and report"),
        ("sampling", {**IDENTITY["sampling"], THINKING: {"temperature": 1, "top_k": 20}},
         "sampling.thinking.temperature is 0.6 in the baseline and 1 in the candidate"),
    ],
)  # fmt: skip
def test_other_settings_are_refused_by_name(
    tmp_path: Path, name: str, value: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was asked otherwise is no fair pair, and the error says in what it differs."""
    make_followed(tmp_path / "base", 20, budgets=("1k", "inf"))
    make_followed(tmp_path / "new", 20, budgets=("1k", "inf"), identity={name: value})
    assert gate(tmp_path, "new") == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("in the candidate") <= 1
    assert not (tmp_path / "new" / "gate.json").exists()


def test_a_stop_text_that_was_never_used_does_not_matter(tmp_path: Path) -> None:
    """At inf nothing is cut, so the runs are alike."""
    make_followed(tmp_path / "base", 60)
    make_followed(tmp_path / "new", 60, identity={"stop_text": "report", "engine.name": "torch"})
    assert gate(tmp_path, "new") == 0
    notes = read_gate(tmp_path / "new")["notes"]
    assert "engine.name is scripted in the baseline and torch in the candidate" in notes


def test_other_prompts_and_fewer_dialogues_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished candidate with fewer dialogues, or first prompts of other ids, is told what to do."""
    make_followed(tmp_path / "base", 20)
    make_followed(tmp_path / "few", 15)
    make_followed(tmp_path / "other", 20, prompt_sha256="ff")
    assert gate(tmp_path, "few") == 2
    assert "was not asked 5 of the baseline's 20 (d0015, d0016, d0017, and 2 more); ask it dialogues=20" in (
        capsys.readouterr().err
    )
    assert gate(tmp_path, "other") == 2
    assert "first prompts: 20 of 20 were asked with other token ids" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"finished": False}, "candidate: its thinkfollow was stopped; run the same command again"),
        ({"skip": (7,)}, "candidate: its thinkfollow was stopped; run the same command again"),
        ({"budgets": ("2k",)}, "candidate: no turns with budget=inf; ask it with that too"),
        ({"done": lambda d, t, b: "undecided" if d == 3 else THINKING},
         "candidate: 1 of 80 turns are undecided or were not asked, and gate.max_error is 0"),
        ({"done": lambda d, t, b: "" if d == 3 else THINKING},
         "candidate: 1 of 80 turns are undecided or were not asked, and gate.max_error is 0"),
    ],
)  # fmt: skip
def test_what_is_missing_never_passes(tmp_path: Path, made: dict[str, Any], said: str) -> None:
    """Not even where an undecided gate is let pass; of turns without a verdict, gate.max_error lets some."""
    make_followed(tmp_path / "base", 80)
    make_followed(tmp_path / "new", 80, **made)
    assert gate(tmp_path, "new", "gate.inconclusive=pass") == 3
    (metric,) = read_gate(tmp_path / "new")["metrics"]
    assert metric["holes"] == [said]
    if "done" in made:
        assert gate(tmp_path, "new", "gate.max_error=0.02") == 0


def test_more_than_the_baseline_has_is_left_out_and_told(tmp_path: Path) -> None:
    """Further dialogues and budgets of the candidate change no figure, and are in the notes."""
    make_followed(tmp_path / "base", 60)
    deaf = lambda d, t, b: THINKING if d < 60 and b == "inf" else NON_THINKING  # noqa: E731 - one expression
    make_followed(tmp_path / "new", 80, deaf, budgets=("1k", "inf"))
    assert gate(tmp_path, "new") == 0
    notes = read_gate(tmp_path / "new")["notes"]
    assert "20 dialogues that the baseline was not asked at inf are left out" in notes
    assert "not judged, as the baseline has no such turns: budget=1k" in notes


def test_bad_pairs_are_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kinds do not mix, a folder is no pair with itself, and what only sweeps have is refused."""
    followed, sweep = make_followed(tmp_path / "base", 5), make_run(tmp_path / "sweep", CELLS)
    make_followed(tmp_path / "new", 5)
    make_followed(tmp_path / "none", 0)
    mixed = "holds dialogues of thinkfollow and"
    for arguments, said in (
        ([f"baseline={followed}", f"candidate={sweep}"], mixed),
        ([f"baseline={sweep}", f"candidate={followed}"], mixed),
        (["baseline=qwen3-report/Qwen3-8B", f"candidate={followed}"], mixed),
        (["baseline=nowhere", f"candidate={followed}"], "baseline='nowhere' is neither"),
        ([f"baseline={followed}", "candidate=nowhere"], "candidate='nowhere' holds no run"),
        ([f"candidate={followed}"], "baseline= is missing"),
        ([f"baseline={followed}"], "candidate= is missing"),
        ([f"baseline={followed}", f"candidate={followed}/."], "are the same folder"),
        ([f"baseline={followed}", f"candidate={tmp_path}/none"], "holds no finished dialogue yet"),
        ([f"baseline={followed}", f"candidate={tmp_path}/new", "gate.max_forced=0.1"], "judge sweeps"),
        ([f"baseline={followed}", f"candidate={tmp_path}/new", "task=gsm8k"], "task 'gsm8k' is not in"),
        (["export", f"run.dir={followed}"], "gate export takes sweeps"),
    ):
        assert main(["gate", *arguments]) == 2
        told = capsys.readouterr()
        assert said in told.err
        assert "Traceback" not in told.err


def test_two_runs_of_the_command(tmp_path: Path) -> None:
    """What `thinkfollow` leaves is judged, by task name too, and its traps do not count."""
    for name in ("base", "new"):
        settings = ["engine=scripted", "max_turns=2", "dialogues=20", f"run.dir={tmp_path / name}"]
        assert main(["thinkfollow", *settings]) == 0
    tolerance = "thinkfollow:0.5"
    assert gate(tmp_path, "new", "task=thinkfollow", f"out={tmp_path}/out", max_drop=tolerance) == 0
    told = read_gate(tmp_path / "out")
    assert told["candidate"] == {"name": "new", "model": "nano"}
    rows = [json.loads(line) for line in (tmp_path / "new" / JOURNAL).read_text().splitlines()]
    kinds = [turn["kind"] for row in rows for turn in row.get("turns", ())]
    assert told["metrics"][0]["n_questions"] == kinds.count("plain") < len(kinds)
    suites = ElementTree.parse(tmp_path / "new" / "thinkfollow.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["thinkfollow.budget inf", "thinkfollow.budget audit"]
    assert suites[0][1].get("name") == "compliance is at least 0.98"


def test_junit_says_what_strict_exits_with() -> None:
    """Below is a failure with an example, undecided an error, a pass has none of either."""
    for odd, n, codes in (
        (NON_THINKING, 60, ("2", "0")),
        (THINKING, 20, ("0", "1")),
        (THINKING, 300, ("0", "0")),
    ):
        frame = frame_of([build_turn(d, 1, "1k", odd if d % 2 else THINKING) for d in range(n)])
        suites = ElementTree.fromstring(render_junit(frame, judge_compliance(frame, 0.98), ABOUT).encode())
        suite = suites[0]
        assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == (*codes, "2")
        assert [len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error")] == [*map(int, codes)]
        for found in suite.iterfind("testcase/failure"):
            assert "dialogue d0001, turn 1: asked thinking, done non-thinking" in (found.text or "")


def test_junit_is_well_formed_whatever_the_model_writes() -> None:
    """Control characters, half surrogates and markup in an answer do not break it; traps are skipped."""
    nasty = "<b>&]]>\x00\x0b\x1b\x85\uffff\u2028नमस्ते\u200d"
    rows = [build_turn(0, t, "inf", "late", answer=nasty, user=nasty) for t in range(1, 9)]
    rows += [build_turn(1, 1, "inf", "late", kind="trap", trap="code")]
    frame = frame_of(rows)
    audit = {"checked": 9, "breaches": [{"place": "d0 \x01", "said": "too long"}], "notes": []}
    about = {**ABOUT, "budget_audit": audit, "model": {"name": "half \ud800"}}
    text = render_junit(frame, judge_compliance(frame, 0.98), about).encode("utf-8")
    suites = ElementTree.fromstring(text)
    example = "".join(found.text or "" for found in suites.iterfind("testsuite/testcase/*[@type]"))
    assert "answer: <b>&]]>\x85\u2028नमस्ते\u200d" in example
    skipped = suites[0].find("testcase[@name='trap: the turn that quotes a flag']/skipped")
    assert skipped is not None
    assert suites[1].get("failures") == "1"
    assert "d0 : too long" in (suites[1].findtext("testcase/failure") or "")
