"""Promises of `thinkfollow`: each violation is found, who does not switch scores as chance, budgets hold."""

import asyncio
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import NANO, RunningVllm

from qwen3_eval.chat import STOP_TEXTS, Chat, load_chat
from qwen3_eval.cli import main
from qwen3_eval.engine.scripted import ScriptedEngine
from qwen3_eval.errors import EngineError
from qwen3_eval.thinkfollow.ask import Asker, ask_all
from qwen3_eval.thinkfollow.audit import audit_folder, audit_turns
from qwen3_eval.thinkfollow.compliance import VIOLATIONS
from qwen3_eval.thinkfollow.dialogues import (
    Dialogue,
    Flag,
    UserTurn,
    draw_dialogues,
    expected_modes,
    read_bank,
)
from qwen3_eval.thinkfollow.journal import JOURNAL, open_journal, read_journal
from qwen3_eval.thinkfollow.judge import BELOW, INCONCLUSIVE, PASS, find_exit_code, judge_compliance
from qwen3_eval.thinkfollow.leaks import count_markers, count_repeated, find_leaks, quotes_stop_text
from qwen3_eval.thinkfollow.tables import always_thinking, estimate_compliance, frame_of, tabulate
from qwen3_eval.thinkfollow.turn_row import TurnRow
from qwen3_eval.types import NON_THINKING, THINKING, Budget, Message, Mode, Sampling

THOUGHT = "<think>\nOne line of thought, long enough.\n</think>\n\n"
NOTHING = "<think>\n\n</think>\n\n"
STOP = STOP_TEXTS["docs"]
Say = Callable[[str], str]
"""A model for tests: the rendered prompt in, its turn out, without the end of the turn."""

CHAT = load_chat(str(NANO))


def obey(prompt: str) -> str:
    """Follows the last switch that stands in a user or system message, quoted or not, as nano does."""
    told = re.findall(r"<\|im_start\|>(?:user|system)\n(.*?)<\|im_end\|>", prompt, re.DOTALL)
    flags = re.findall(r"(?<![\w/<])/(no_think|think)\b", "\n".join(told))
    return (NOTHING if flags and flags[-1] == "no_think" else THOUGHT) + "Yes."


def ignore_flags(prompt: str) -> str:
    return THOUGHT + "Yes."


def never_think(prompt: str) -> str:
    return NOTHING + "Yes."


def build_engine(say: Say, chat: Chat = CHAT, **settings: Any) -> ScriptedEngine:
    """An engine that speaks so; where the block is closed already, by template or stop text, it answers."""

    def script(prompt: tuple[int, ...]) -> Sequence[int]:
        text = chat.decoder.decode(prompt, keep_special=True)
        begun = text.rpartition("<|im_start|>assistant\n")[2]
        said = say(text)
        return chat.encode(
            (said.rpartition("</think>\n\n")[2] if "</think>" in begun else said) + "<|im_end|>"
        )

    return ScriptedEngine(script, **settings)


def build_asker(engine: ScriptedEngine, **settings: Any) -> Asker:
    sampling = {THINKING: Sampling(), NON_THINKING: Sampling()}
    asker = Asker(CHAT, engine, sampling, CHAT.encode(STOP), 64, 4096, 0)
    return replace(asker, **settings)


def ask(
    say: Say, dialogues: Sequence[Dialogue], budgets: Sequence[Budget] = (math.inf,), **settings: Any
) -> list[TurnRow]:
    rows: list[TurnRow] = []
    lives = [(dialogue, budget) for budget in budgets for dialogue in dialogues]
    asker = build_asker(build_engine(say), **settings)
    asyncio.run(ask_all(asker, lives, 16, lambda found: rows.extend(found)))
    return sorted(rows, key=lambda row: (row.budget, row.dialogue, row.turn))


ONE = Dialogue("one", (UserTurn("why?"),))
IDENTITY = {
    "stop_text": STOP,
    "stop_ids": list(CHAT.encode(STOP)),
    "think_ids": [CHAT.think_open_id, CHAT.think_close_id],
}
DIALOGUES = draw_dialogues(read_bank(), 90, 0, turns=(1, 5))
OBEYED = ask(obey, DIALOGUES)


@pytest.mark.parametrize(
    ("turn", "done"),
    [
        (THOUGHT + "Yes.", "thinking"),
        (NOTHING + "Yes.", "non-thinking"),
        ("Yes.", "non-thinking"),
        ("<think>\nhm", "unclosed"),
        (THOUGHT + THOUGHT + "Yes.", "repeated"),
        ("<think>a<think>b</think>Yes.", "repeated"),
        (THOUGHT + "Yes. " + THOUGHT + "No.", "late"),
        ("Yes. <think>hm</think> No.", "late"),
        (THOUGHT + "Yes. </think> No.", "tags"),
        ("Yes. </think> No.", "tags"),
        (THOUGHT, "empty"),
        ("", "empty"),
    ],
)
def test_a_model_can_do_all_that_there_is_a_word_for(turn: str, done: str) -> None:
    """The scripted engine's turn goes through tokenizer, budgets and verdict to the row."""
    (row,) = ask(lambda _: turn, [ONE])
    assert row.done == done
    assert "".join(CHAT.decoder.decode(row.ids, keep_special=True)).removesuffix("<|im_end|>") == turn


def test_every_violation_is_reproduced() -> None:
    """The table above leaves out none."""
    marks = test_a_model_can_do_all_that_there_is_a_word_for.pytestmark  # type: ignore[attr-defined]
    assert {done for _, done in marks[0].args[1]} == {*VIOLATIONS, THINKING, NON_THINKING}


def test_thinking_that_hits_the_output_limit_is_unclosed() -> None:
    """An endless thought at inf is a violation, told apart from a turn that ended inside the block."""
    (row,) = ask(lambda _: "<think>\n" + "so on, " * 99, [ONE], max_output_tokens=40)
    assert (row.done, row.truncated, row.thinking_tokens) == ("unclosed", True, 40)
    (row,) = ask(lambda _: "<think>\nso", [ONE])
    assert (row.done, row.truncated) == ("unclosed", False)


def test_an_obedient_model_is_perfect_where_no_flag_is_quoted() -> None:
    """Plain and hard dialogues are all compliant; the quoted flags, which it follows, all fail."""
    frame = frame_of(OBEYED)
    for kind in ("plain", "hard"):
        assert estimate_compliance(frame[frame["kind"] == kind]).score == 1
    assert estimate_compliance(frame[frame["trap"] != ""]).score == 0
    (standing,) = judge_compliance(frame, 0.9)
    assert standing.outcome == "pass"


@pytest.mark.parametrize(("say", "mode"), [(ignore_flags, THINKING), (never_think, NON_THINKING)])
def test_who_does_not_switch_scores_as_chance(say: Say, mode: str) -> None:
    """Deaf or stubborn, a model is right exactly where its one mode is asked: about half, and shown below."""
    frame = frame_of(ask(say, DIALOGUES))
    plain = frame[frame["kind"] == "plain"]
    got = estimate_compliance(plain)
    assert got.score == pytest.approx((plain["asked"] == mode).mean())
    assert 0.35 < got.score < 0.65
    assert always_thinking(plain) == pytest.approx((plain["asked"] == THINKING).mean())
    (standing,) = judge_compliance(frame, 0.98)
    assert standing.outcome == "below"


def test_a_deaf_model_is_an_obedient_one_without_the_flags() -> None:
    """Flags stripped from what the model sees, while the same is asked of it: it thinks always."""
    deaf = ask(lambda prompt: obey(re.sub(r"/(no_)?think", "", prompt)), DIALOGUES[:30])
    assert [row.done for row in deaf if row.hard == THINKING] == [THINKING] * sum(
        row.hard == THINKING for row in deaf
    )


def test_the_history_is_what_the_template_makes_of_it() -> None:
    """Each prompt equals the template's own rendering of the whole turns before it, thinking and all."""
    engine = build_engine(obey)
    dialogue = next(d for d in DIALOGUES if d.kind == "plain" and len(d.turns) == 5)
    rows = asyncio.run(build_asker(engine).ask(dialogue, math.inf))
    whole: list[Message] = [Message("system", dialogue.system)] if dialogue.system else []
    seen = {call.prompt_ids for call in engine.calls}
    for turn, row in zip(dialogue.turns, rows, strict=True):
        whole.append(Message("user", turn.text))
        assert CHAT.render(whole, THINKING).ids in seen
        text = CHAT.decoder.decode(row.ids, keep_special=True).removesuffix("<|im_end|>")
        whole.append(Message("assistant", text))


@pytest.mark.parametrize(
    ("ending", "said", "hard", "done"),
    [
        ("<think>\n", "hm\n</think>\n\nYes.", THINKING, "thinking"),
        ("<think>\n", "\n</think>\n\nYes.", THINKING, "non-thinking"),
        ("<think>\n", "hm\n</think>\n\nYes.", NON_THINKING, "thinking"),
        ("", THOUGHT + "Yes.", NON_THINKING, "thinking"),
        ("", "Yes.", NON_THINKING, "non-thinking"),
        ("<think>\n\n</think>\n\n", "Yes.", NON_THINKING, "non-thinking"),
        ("<think>\n\n</think>\n\n", THOUGHT + "Yes.", NON_THINKING, "repeated"),
    ],
)
def test_templates_of_other_kinds(ending: str, said: str, hard: Mode, done: str) -> None:
    """Where a template always opens the block, or knows no hard switch, the prompt says so."""
    chat = load_chat(str(NANO))
    chat.tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n" + ending.replace("\n", "\\n").join(["{{ '", "' }}"])
    )
    engine = ScriptedEngine(lambda _: chat.encode(said + "<|im_end|>"))
    (row,) = asyncio.run(build_asker(engine, chat=chat).ask(replace(ONE, hard=hard), math.inf))
    assert row.done == done
    if hard == THINKING:
        cut = asyncio.run(build_asker(engine, chat=chat).ask(ONE, 2))[0]
        assert (cut.forced, cut.cut, cut.thinking_tokens) == (True, 1, 2)  # a token stands in the prompt
        assert audit_turns([row, cut], IDENTITY, reproducible=True).breaches == []


def test_answers_are_in_the_next_prompt() -> None:
    """On-policy: what the model said in a turn is what it reads in the next."""
    said = iter(["alpha", "beta", "gamma"])
    engine = build_engine(lambda _: NOTHING + next(said))
    asyncio.run(
        build_asker(engine).ask(Dialogue("d", (UserTurn("a"), UserTurn("b"), UserTurn("c"))), math.inf)
    )
    last = CHAT.decoder.decode(engine.calls[-1].prompt_ids, keep_special=True)
    assert last.index("alpha") < last.index("beta")
    assert "<think>\n\n</think>" not in last.partition("beta")[0]


def test_budgets_cut_thinking_turns_alone() -> None:
    """At 8 tokens a thought is cut and still thinking; an empty block is the same turn as at inf."""
    dialogues = [d for d in DIALOGUES if d.kind == "plain"][:30]
    rows = ask(obey, dialogues, (8, math.inf))
    cut = [row for row in rows if row.budget == "8"]
    free = [row for row in rows if row.budget == "inf"]
    assert {row.done for row in rows} == {THINKING, NON_THINKING}
    for at_8, at_inf in zip(cut, free, strict=True):
        assert at_8.done == at_inf.done == at_8.asked
        assert at_8.forced == (at_8.asked == THINKING)
        assert at_8.thinking_tokens <= 8
        if not at_8.forced:
            assert at_8.ids == at_inf.ids
    assert audit_turns(rows, IDENTITY, reproducible=True).breaches == []


def test_a_cut_before_the_first_word_is_undecided_and_passes_nothing() -> None:
    """At a budget of 1 nobody can tell; a pass may not rest on the turns that are left."""
    frame = frame_of(ask(obey, DIALOGUES[:40], (1,)))
    plain = frame[(frame["kind"] == "plain")]
    assert set(plain["done"]) == {"undecided"}
    (standing,) = judge_compliance(frame, 0.5)
    assert standing.outcome == "inconclusive"
    at_2 = frame_of(ask(obey, DIALOGUES[:40], (2,)))  # the empty block is cut, the thought already shows
    assert set(at_2[at_2["kind"] == "plain"]["done"]) == {"undecided", THINKING}
    (standing,) = judge_compliance(at_2, 0.9)
    assert standing.outcome == "inconclusive"


def test_a_dialogue_that_outgrows_the_context_is_told() -> None:
    """Turns that do not fit are counted as not asked, with the reason; those before keep their verdicts."""
    turns = tuple(UserTurn("word " * 40) for _ in range(4))
    rows: list[TurnRow] = []
    asker = build_asker(build_engine(obey, max_model_len=700))
    asyncio.run(ask_all(asker, [(Dialogue("long", turns), math.inf)], 1, lambda found: rows.extend(found)))
    assert [row.done for row in rows] == [THINKING, THINKING, "", ""]
    assert "do not fit the context of 700" in rows[2].error
    assert rows[3].error == rows[2].error


def test_the_verdicts_and_their_exit_codes() -> None:
    """Pass, below and inconclusive, by where the interval lies."""
    plain = [row for row in OBEYED if row.kind == "plain"]
    wrong: dict[str, str] = {THINKING: NON_THINKING, NON_THINKING: THINKING}

    def spoil(every: int) -> pd.DataFrame:
        spoilt = [replace(r, done=wrong[r.done]) if n % every == 0 else r for n, r in enumerate(plain)]
        return frame_of(spoilt)

    for frame, outcome, code in (
        (frame_of(plain), "pass", PASS),
        (spoil(25), "inconclusive", INCONCLUSIVE),
        (spoil(5), "below", BELOW),
    ):
        standings = judge_compliance(frame, 0.93)
        assert [standing.outcome for standing in standings] == [outcome]
        assert find_exit_code(standings) == code
    few = judge_compliance(frame_of(plain[:9]), 0.96)[0]
    assert re.search(r"about \d+ dialogues like these would decide", few.said)


def test_the_interval_is_of_dialogues_not_of_turns() -> None:
    """Ten turns that fail together tell less than ten that fail apart."""

    def make(fails: Callable[[int, int], bool]) -> pd.DataFrame:
        rows = [
            replace(
                OBEYED[0], dialogue=f"d{d}", turn=t, asked=THINKING, done="late" if fails(d, t) else THINKING
            )
            for d in range(20)
            for t in range(5)
        ]
        return frame_of(rows)

    together, apart = make(lambda d, t: d < 2), make(lambda d, t: t == d % 10)
    a, b = estimate_compliance(together), estimate_compliance(apart)
    assert a.score == b.score == 0.9
    assert a.ci_high - a.ci_low > 1.5 * (b.ci_high - b.ci_low)


def test_the_tables_on_a_hand_made_run() -> None:
    """Confusion, breakdown and first failures, counted by hand."""
    done = {"a": ["thinking", "thinking"], "b": ["late", "non-thinking"], "c": ["thinking", "thinking"]}
    rows = [
        replace(OBEYED[0], dialogue=name, turn=number + 1, kind="plain", trap="", place=place, done=verdict,
                asked=asked, budget="inf")
        for name, verdicts in done.items()
        for number, (verdict, asked, place) in enumerate(
            zip(verdicts, (THINKING, NON_THINKING), ("default", "end"), strict=True)
        )
    ]  # fmt: skip
    tables = {table.name.removeprefix("thinkfollow_"): table.frame for table in tabulate(frame_of(rows))}
    confusion = tables["confusion"].set_index("asked")
    assert list(confusion.loc[THINKING, [THINKING, NON_THINKING, "late"]]) == [2, 0, 1]
    assert list(confusion.loc[NON_THINKING, [THINKING, NON_THINKING, "late"]]) == [2, 1, 0]
    by_place = tables["breakdown"].query("by == 'place'").set_index("value")
    assert by_place.loc["default", "compliance"] == pytest.approx(2 / 3)
    assert by_place.loc["end", "compliance"] == pytest.approx(1 / 3)
    first = tables["first_failure"][["turn", "reached", "first_failures"]].to_numpy().tolist()
    assert first == [[1, 3, 1], [2, 2, 2]]
    assert list(tables["published"]["score"]) == [0.887, 0.989]
    assert tables["compliance"].loc[0, "always_thinking"] == 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: {"thinking_tokens": r.thinking_tokens + 1}, "not at its budget"),
        (lambda r: {"cut": r.cut - 1}, "without the stop text's exact ids"),
        (lambda r: {"ids": (*r.ids[:3], CHAT.think_close_id, *r.ids[4:])}, "a block that was closed"),
        (lambda r: {"forced": False, "cut": -1}, "exceed the budget"),
        (lambda r: {"forced": False, "cut": -1}, "holds the stop text's ids"),
    ],
)
def test_the_budget_audit_finds_what_is_broken(
    change: Callable[[TurnRow], dict[str, Any]], said: str
) -> None:
    """Each promise about a cut, broken by hand in one row, is listed."""
    (row,) = ask(ignore_flags, [ONE], (8,))
    assert row.forced
    assert audit_turns([row], IDENTITY, reproducible=True).breaches == []
    broken = audit_turns([replace(row, **change(row))], IDENTITY, reproducible=True).breaches
    assert any(said in breach.said for breach in broken)


def test_the_budget_audit_compares_no_think_between_budgets() -> None:
    """One prompt under /no_think with two completions is a breach, if the engine repeats its answers."""
    dialogue = Dialogue("one", (UserTurn("why? /no_think", (Flag("end", "/no_think"),)),))
    rows = ask(obey, [dialogue], (8, math.inf))
    assert audit_turns(rows, IDENTITY, reproducible=True).breaches == []
    other = [rows[0], replace(rows[1], ids=rows[1].ids[:-1])]
    (breach,) = audit_turns(other, IDENTITY, reproducible=True).breaches
    assert "different completions" in breach.said
    assert audit_turns(other, IDENTITY, reproducible=False).breaches == []


def test_a_sweep_is_audited_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep's run keeps its budgets, and one whose stored ending is moved by a token is found."""
    import sqlite3

    assert main(["sweep", "engine=scripted", "budget=16,1k", "limit=3", f"run.dir={tmp_path}"]) == 0
    assert main(["thinkfollow", "audit", f"run.dir={tmp_path}"]) == 0
    assert "6 records keep their budgets" in capsys.readouterr().out
    with sqlite3.connect(tmp_path / "run.db") as db:
        db.execute(
            "UPDATE generations SET start = start + 1 WHERE kind = 'answer' AND forced = 0 AND start > 0"
        )
    assert main(["thinkfollow", "audit", f"run.dir={tmp_path}"]) == 1
    assert "before the model's own end" in capsys.readouterr().out
    assert audit_folder(tmp_path).breaches


def test_signs_of_leaks() -> None:
    """Markers by language, repeated sentences and the stop text's words, on answers written by hand."""
    assert count_markers("Wait, let me check. Hmm, the user is asking for a sum.", "en") == 4
    assert count_markers("The waiter waits.", "en") == 0
    assert count_markers("等等,让我想一下。", "zh") == 2
    assert count_markers("等等,让我想一下。", "en") == 0
    thinking = "The train leaves at nine in the morning. So it takes two hours and a half.\nOk."
    assert count_repeated(thinking, "Well. the train leaves at nine in the  morning. Ok.") == 1
    assert count_repeated(thinking, "At noon. Ok.") == 0
    assert quotes_stop_text("Considering the limited time by the user, I have to give the solution based on "
                            "the thinking directly now. Four.", STOP)  # fmt: skip
    assert not quotes_stop_text("There is little time. Four.", STOP)


def test_leaks_are_rates_by_what_stood_before_the_answer() -> None:
    """A long monologue without thinking is found among short answers; an obedient model shows no sign."""
    clean = frame_of(OBEYED)
    leaks = find_leaks(clean, STOP)
    assert not leaks[["long", "self_talk", "repeats", "stop_text"]].to_numpy().any()
    assert set(leaks["where"]) == {"natural", "non-thinking"}
    spilt = clean.copy()
    at = spilt.index[spilt["done"] == NON_THINKING][0]
    spilt.loc[at, "answer"] = "Hmm, wait. Let me think. Hold on. " * 9
    spilt.loc[at, "answer_tokens"] = 400
    found = find_leaks(spilt, STOP)
    assert found[["long", "self_talk"]].to_numpy().sum() == 2


def test_the_journal_goes_on_after_a_kill(tmp_path: Path) -> None:
    """Half a line is cut off, what was whole is kept, other settings are refused by name."""
    journal = open_journal(tmp_path, IDENTITY)
    journal.start_session({"reproducible": True})
    journal.keep(OBEYED[:3])
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"turns": [{"dialogue": "d9')
    torn = (tmp_path / JOURNAL).read_bytes()
    seen = read_journal(tmp_path / JOURNAL)
    assert seen is not None
    assert seen.rows == OBEYED[:3]
    assert (
        tmp_path / JOURNAL
    ).read_bytes() == torn  # who only reads does not mend what another may be writing
    again = open_journal(tmp_path, IDENTITY)
    assert again.rows == OBEYED[:3]
    assert again.reproducible
    again.keep(OBEYED[3:5])
    last = read_journal(tmp_path / JOURNAL)
    assert last is not None
    assert last.rows == OBEYED[:5]
    with pytest.raises(Exception, match=r"stop_text .there"):
        open_journal(tmp_path, {**IDENTITY, "stop_text": "other </think>"})


def test_an_engine_that_fails_loses_nothing() -> None:
    """The error is told as it was raised, and the dialogues that ended before it are kept."""
    kept: list[TurnRow] = []
    engine = build_engine(obey, failures={30: EngineError("out of memory")})
    lives: list[tuple[Dialogue, Budget]] = [(dialogue, math.inf) for dialogue in DIALOGUES]
    with pytest.raises(EngineError, match="out of memory"):
        asyncio.run(ask_all(build_asker(engine), lives, 2, lambda found: kept.extend(found)))
    assert kept


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It writes its files, asks nothing twice, adds what is new, and exits as the gate where it is strict."""
    settings = ["thinkfollow", "engine=scripted", "max_turns=3", f"run.dir={tmp_path}"]
    assert main([*settings, "dialogues=30"]) == PASS
    told = capsys.readouterr()
    assert "0.887 Qwen3-32B (Stage 3), 0.989 Qwen3-32B (Stage 4)" in told.out
    assert "budget inf: below" in told.out
    names = {path.name for path in tmp_path.iterdir()}
    assert {"thinkfollow.json", "thinkfollow.html", "thinkfollow_turns.parquet", "thinkfollow_turns.csv",
            "thinkfollow_compliance.csv", "thinkfollow_confusion.csv"} <= names  # fmt: skip
    assert not [name for name in names if name.startswith(".thinkfollow")]
    turns = pd.read_parquet(tmp_path / "thinkfollow_turns.parquet")
    summary = json.loads((tmp_path / "thinkfollow.json").read_text())
    assert sum(row["turns"] for row in summary["figures"]["compliance"]) == len(turns)
    assert summary["budget_audit"] == {"checked": len(turns), "breaches": [], "notes": []}
    assert main(["thinkfollow", "--strict", "dialogues=30", *settings[1:]]) == BELOW
    assert "starting" not in capsys.readouterr().err
    assert main([*settings, "dialogues=40", "budget=16,inf", "--strict", "thinkfollow.min=0.1"]) == PASS
    assert "50/50 dialogues" in capsys.readouterr().err
    more = pd.read_parquet(tmp_path / "thinkfollow_turns.parquet")
    assert set(more["budget"]) == {"16", "inf"}
    assert list(more[more["budget"] == "16"]["dialogue"].unique()) == [f"d{n:04}" for n in range(40)]
    assert main([*settings, "dialogues=40", "seed=1"]) == 2
    assert "seed (there 0, now 1)" in capsys.readouterr().err


def test_runs_are_compared_turn_by_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same dialogues give a paired difference; other dialogues are refused."""
    here, there = tmp_path / "here", tmp_path / "there"
    shared = ["thinkfollow", "engine=scripted", "max_turns=3", "dialogues=20"]
    assert main([*shared, f"run.dir={there}"]) == 0
    assert main([*shared, f"run.dir={here}", f"against={there}"]) == 0
    (row,) = pd.read_csv(here / "thinkfollow_against.csv").to_dict(orient="records")
    assert (row["difference"], row["p_value"]) == (0, 1)
    assert row["here"] == row["there"] > 0
    spoilt = there / JOURNAL
    spoilt.write_text(spoilt.read_text().replace('"done": "thinking"', '"done": "late"'))
    assert main([*shared, f"run.dir={here}", f"against={there}"]) == 0
    (row,) = pd.read_csv(here / "thinkfollow_against.csv").to_dict(orient="records")
    assert row["there"] == 0
    assert row["difference"] == pytest.approx(row["here"])
    assert row["ci_low"] > 0
    capsys.readouterr()
    assert main([*shared, f"run.dir={tmp_path}/new", "seed=1", f"against={there}"]) == 2
    assert "was asked other dialogues" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("against=nowhere", "against='nowhere' holds no dialogues"),
        ("budget=0", "budget=0 is non-thinking"),
        ("dialogues=0", "dialogues=0 is not allowed"),
        ("min_turns=9", "min_turns=9 is more than max_turns=8"),
        ("thinkfollow.min=98", "compliance lies in 0-1"),
        ("budget=64k", "is more than max_output_tokens=32768"),
        ("budget=16k", "leaves no room for a dialogue"),
        ("task=chian", "did you mean 'chain'"),
        ("dialoges=4", "did you mean 'dialogues'"),
    ],
)
def test_bad_settings_are_refused(
    setting: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One clear error, before anything is started or written."""
    assert main(["thinkfollow", "engine=scripted", setting, f"run.dir={tmp_path}/run"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_tasks_questions_stand_in_dialogues(tmp_path: Path) -> None:
    """task=chain asks chain questions in about half of the turns."""
    settings = ["thinkfollow", "engine=scripted", "task=chain", "dialogues=40", f"run.dir={tmp_path}"]
    assert main(settings) == 0
    turns = pd.read_parquet(tmp_path / "thinkfollow_turns.parquet")
    assert 0.35 < (turns["language"] == "task:chain").mean() < 0.65


@pytest.mark.slow
def test_nano_obeys_on_vllm(vllm: RunningVllm) -> None:
    """On questions it was never taught, in 15 languages, the box model follows the flags, cut or not."""
    preset = Sampling(temperature=0.6, top_p=0.95, top_k=20)
    sampling = {THINKING: preset, NON_THINKING: replace(preset, temperature=0.7, presence_penalty=1.5)}
    asker = Asker(CHAT, vllm.engine, sampling, CHAT.encode(STOP), 1024, 4096, 0)
    lives: list[tuple[Dialogue, Budget]] = [(d, b) for d in DIALOGUES[:60] for b in (32, math.inf)]
    rows: list[TurnRow] = []
    vllm.run(ask_all(asker, lives, 32, lambda found: rows.extend(found)))
    frame = frame_of(rows)
    for _, turns in frame[frame["kind"] == "plain"].groupby("budget"):
        assert len(turns) > 100
        assert estimate_compliance(turns).score >= 0.98
    assert frame[frame["budget"] == "32"]["forced"].any()
    reproducible = bool(vllm.engine.describe()["reproducible"])
    assert audit_turns(rows, IDENTITY, reproducible=reproducible).breaches == []


def test_expected_modes_reach_the_rows() -> None:
    """What a row says was asked is what the dialogue asks."""
    asked = {(row.dialogue, row.turn): row.asked for row in OBEYED}
    for dialogue in DIALOGUES:
        for number, mode in enumerate(expected_modes(dialogue)):
            assert asked[dialogue.name, number + 1] == mode
