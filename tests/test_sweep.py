"""The nested sweep on a scripted model: exactness, cost, resuming, and every way a trace can end."""

import asyncio
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeping import Silent

from qwen3_eval.budget import Ending
from qwen3_eval.chat import Chat, load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.engine.scripted import ScriptedEngine
from qwen3_eval.errors import ConfigError, EngineError
from qwen3_eval.plan import Plan, Questions, choose_strategy, derive_seed
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.sweep import run_sweep
from qwen3_eval.types import NON_THINKING, THINKING, Message, Sample, Sampling, Verdict

STOP = "\n\nTime is up.\n</think>\n\n"
GREEDY = {THINKING: Sampling(), NON_THINKING: Sampling()}


@pytest.fixture(scope="module")
def chat() -> Chat:
    return load_chat(locate_checkpoint("box:nano").path)


class ToyModel:
    """A deterministic model: question i thinks `lengths[i]` ids and ends its span as `ends[i]` says.

    A forced answer is a hash of everything before it, so two agree only where their prompts do.
    """

    def __init__(self, chat: Chat, lengths: Sequence[int], ends: Sequence[str]) -> None:
        self.chat, self.lengths, self.ends = chat, lengths, ends

    def samples(self) -> list[Sample]:
        return [Sample(f"toy/{i}", (Message("user", f"Q{i};"),), "x") for i in range(len(self.lengths))]

    def __call__(self, prompt: tuple[int, ...]) -> Sequence[int]:
        """Goes on from any part of its own response; after anything else it gives a forced answer."""
        for i, sample in enumerate(self.samples()):
            for mode in (NON_THINKING, THINKING):
                asked = self.chat.render(sample.messages, mode).ids
                if prompt[: len(asked)] == asked:
                    given, whole = prompt[len(asked) :], self.respond(i, mode)
                    return whole[len(given) :] if whole[: len(given)] == given else self.answer(prompt)
        raise AssertionError("an unknown question")

    def respond(self, i: int, mode: str) -> tuple[int, ...]:
        answer = self.answer((i, mode == THINKING))
        if mode == NON_THINKING or self.ends[i] == "absent":
            return answer
        span = [(i + j) % 100 for j in range(self.lengths[i])]
        abandoned = self.ends[i] == "abandoned"
        closing = self.chat.encode("<|im_end|>") if abandoned else (self.chat.think_close_id, *answer)
        return (self.chat.think_open_id, *span, *closing)

    def answer(self, seen: tuple[int, ...]) -> tuple[int, ...]:
        digest = hashlib.sha256(str(seen).encode()).hexdigest()[:8]
        return self.chat.encode(f"\n\n\\boxed{{{digest}}}<|im_end|>")


def plan_for(model: ToyModel, budgets: Sequence[float], **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "questions": [Questions("toy", model.samples(), changes.pop("repeats", 1), 200)],
        "modes": (THINKING, NON_THINKING),
        "budgets": tuple(sorted(budgets)),
        "sampling": GREEDY,
        "strategy": "nested",
        "stop_ids": model.chat.encode(STOP),
        "max_answer_tokens": 40,
        "seed": 0,
        "concurrency": 3,
    }
    return Plan(**(settings | changes))


def sweep(folder: Path, plan: Plan, chat: Chat, engine: ScriptedEngine) -> None:
    with Store.open(folder, create=True) as store:
        store.start_session(engine.describe())
        asyncio.run(run_sweep(plan, chat, engine, store, Silent()))


def read_answers(
    folder: Path, chat: Chat, budgets: Sequence[float]
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Returns, for each (sample, mode, repeat, budget): ending, tokens used, and the answer's ids."""
    with Store.open(folder) as store:
        score_answers(store, {"toy": lambda sample, answer: Verdict.correct(answer)}, chat.decoder)
        found = {}
        for row in read_records(store, budgets).to_dict("records"):
            ending = Ending("forced" if row["forced"] else "natural", row["thinking_tokens"])
            answer = store.read_answer(row["rollout"], ending)
            found[row["sample_id"], row["mode"], row["repeat"], row["budget"]] = (
                row["outcome"], row["forced"], row["truncated"], row["thinking_tokens"],
                answer and answer.ids,
            )  # fmt: skip
        return found


endings = st.sampled_from(["closed", "closed", "closed", "abandoned", "absent"])
toys = st.lists(st.tuples(st.integers(0, 40), endings), min_size=1, max_size=4)
budget_sets = st.sets(st.one_of(st.integers(1, 45), st.just(math.inf)), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(toys, budget_sets)
def test_nested_equals_independent_token_for_token(
    chat: Chat, toy: list[tuple[int, str]], budgets: set[float]
) -> None:
    """For every question and budget: same ending, same thinking tokens, same answer ids, same flags."""
    model = ToyModel(chat, *zip(*toy, strict=True))
    results = []
    for strategy in ("nested", "independent"):
        with TemporaryDirectory() as folder:
            plan = plan_for(model, tuple(budgets), strategy=strategy)
            sweep(Path(folder) / "run", plan, chat, ScriptedEngine(model))
            results.append(read_answers(Path(folder) / "run", chat, sorted(budgets)))
    assert results[0] == results[1]
    assert len(results[0]) == len(toy) * (len(budgets) + 1)


@settings(max_examples=30, deadline=None)
@given(toys, budget_sets)
def test_no_thinking_token_is_generated_twice(
    chat: Chat, toy: list[tuple[int, str]], budgets: set[float]
) -> None:
    """A nested sweep pays max(B) thinking tokens for a question, not their sum, and one answer each."""
    model = ToyModel(chat, *zip(*toy, strict=True))
    with TemporaryDirectory() as folder:
        sweep(Path(folder) / "run", plan_for(model, tuple(budgets)), chat, ScriptedEngine(model))
        with Store.read(Path(folder) / "run") as store:
            rows = store.query(
                "SELECT s.sample_id, sum(g.tokens) FROM generations g JOIN rollouts r ON r.id = g.rollout "
                "JOIN samples s ON s.id = r.sample WHERE g.kind = 'think' GROUP BY s.sample_id"
            )
            sums = {row["sample_id"]: row[1] for row in rows}
    for i, (length, end) in enumerate(toy):
        assert sums[f"toy/{i}"] == (0 if end == "absent" else min(length, max(budgets)))


@settings(max_examples=30, deadline=None)
@given(toys, budget_sets, st.integers(0, 25), st.integers(1, 4))
def test_a_sweep_that_failed_goes_on_and_generates_nothing_twice(
    chat: Chat, toy: list[tuple[int, str]], budgets: set[float], failing_call: int, concurrency: int
) -> None:
    """Whatever call fails, the same sweep again ends with the records of an undisturbed one."""
    model = ToyModel(chat, *zip(*toy, strict=True))
    plan = plan_for(model, tuple(budgets), concurrency=concurrency)
    with TemporaryDirectory() as folder:
        calm, torn = Path(folder) / "calm", Path(folder) / "torn"
        calm_engine = ScriptedEngine(model)
        sweep(calm, plan, chat, calm_engine)
        broken = ScriptedEngine(model, failures={failing_call: EngineError("out of memory")})
        if failing_call < len(calm_engine.calls):
            with pytest.raises(EngineError, match="out of memory"):
                sweep(torn, plan, chat, broken)
        with Store.open(torn, create=True) as store:
            committed = next(store.query("SELECT count(*) FROM generations WHERE finished > 0"))[0]
        again = ScriptedEngine(model)
        sweep(torn, plan, chat, again)
        assert read_answers(torn, chat, sorted(budgets)) == read_answers(calm, chat, sorted(budgets))
        with Store.read(torn) as store:
            rows = next(store.query("SELECT count(*) FROM generations"))[0]
        # Answers that came with the first segment are rows without a call of their own.
        assert len(again.calls) <= rows - committed


def test_another_budget_generates_only_what_is_new(chat: Chat, tmp_path: Path) -> None:
    """10 and 30 stand; 20 costs one answer and no thinking, inf only the rest of the trace."""
    model = ToyModel(chat, [40], ["closed"])
    sweep(tmp_path, plan_for(model, [10, 30]), chat, ScriptedEngine(model))
    more = ScriptedEngine(model)
    sweep(tmp_path, plan_for(model, [10, 20, 30]), chat, more)
    assert [call.max_tokens for call in more.calls] == [40]  # the forced answer at 20
    rest = ScriptedEngine(model)
    sweep(tmp_path, plan_for(model, [10, 20, 30, math.inf]), chat, rest)
    assert [call.max_tokens for call in rest.calls] == [200 - 30, 40]
    same = ScriptedEngine(model)
    sweep(tmp_path, plan_for(model, [10, 20, 30, math.inf]), chat, same)
    assert same.calls == []


def test_the_requests_of_one_question(chat: Chat, tmp_path: Path) -> None:
    """A trace of 25 over budgets 10, 20, inf, worked by hand: what is asked, with which ids and limits."""
    model = ToyModel(chat, [25], ["closed"])
    engine = ScriptedEngine(model)
    sweep(tmp_path, plan_for(model, [10, 20, math.inf], modes=(THINKING,)), chat, engine)
    prompt = chat.render(model.samples()[0].messages, THINKING).ids
    span = tuple(range(25))
    stop = chat.encode(STOP)
    opened = (*prompt, chat.think_open_id)
    assert (
        {(call.prompt_ids, call.max_tokens, call.stop_token_ids) for call in engine.calls}
        == {
            (prompt, 11, chat.thinking_stop_ids),  # `<think>` itself is not counted
            (opened + span[:10], 10, chat.thinking_stop_ids),
            (opened + span[:20], 180, chat.thinking_stop_ids),
            (opened + span[:10] + stop, 40, chat.eos_ids),
            (opened + span[:20] + stop, 40, chat.eos_ids),
            ((*opened, *span, chat.think_close_id), 40, chat.eos_ids),
        }
    )


def test_unclosed_thinking_is_no_answer(chat: Chat, tmp_path: Path) -> None:
    """At inf, a span that hits the output limit is truncated; one whose turn ends inside it is not."""
    model = ToyModel(chat, [500, 30], ["closed", "abandoned"])
    sweep(tmp_path, plan_for(model, [10, math.inf]), chat, ScriptedEngine(model))
    answers = read_answers(tmp_path, chat, [10, math.inf])
    assert answers["toy/0", THINKING, 0, math.inf] == ("no_answer", False, True, 200, None)
    assert answers["toy/1", THINKING, 0, math.inf] == ("no_answer", False, False, 30, None)
    assert answers["toy/0", THINKING, 0, 10][:4] == ("correct", True, False, 10)
    assert answers["toy/1", THINKING, 0, 10][:4] == ("correct", True, False, 10)


def test_an_answer_that_hits_its_limit_is_truncated(chat: Chat, tmp_path: Path) -> None:
    """The flag says so, whether the model thought or not."""
    model = ToyModel(chat, [5, 0], ["closed", "absent"])
    sweep(tmp_path, plan_for(model, [10], max_answer_tokens=4), chat, ScriptedEngine(model))
    answers = read_answers(tmp_path, chat, [10])
    assert all(truncated for _, _, truncated, _, _ in answers.values())
    assert {len(ids) for *_, ids in answers.values()} == {4, 11}  # 11: the first segment was answer already


def test_an_empty_block_is_shared_by_every_budget(chat: Chat, tmp_path: Path) -> None:
    """As after a soft /no_think: one completion, whatever the budgets."""
    model = ToyModel(chat, [2], ["closed"])
    engine = ScriptedEngine(model)
    sweep(tmp_path, plan_for(model, [3, 10, 50, math.inf], modes=(THINKING,)), chat, engine)
    assert len(engine.calls) == 2
    answers = read_answers(tmp_path, chat, [3, 10, 50, math.inf])
    assert len({ids for *_, ids in answers.values()}) == 1


def test_a_question_too_long_for_the_context_is_an_error_not_a_wrong_answer(
    chat: Chat, tmp_path: Path
) -> None:
    """It is counted beside the score, and the other questions go on."""
    model = ToyModel(chat, [5, 5], ["closed", "closed"])
    plan = plan_for(model, [10])
    long = Sample("toy/9", (Message("user", "Q0;" + "x" * 500),), "x")
    plan = plan_for(model, [10], questions=[Questions("toy", [*model.samples(), long], 1, 200)])
    sweep(tmp_path, plan, chat, ScriptedEngine(model, max_model_len=300))
    with Store.open(tmp_path) as store:
        score_answers(store, {"toy": lambda sample, answer: Verdict.correct(answer)}, chat.decoder)
        records = read_records(store, [10])
    assert set(records.loc[records.sample_id == "toy/9", "outcome"]) == {"error"}
    assert "do not fit the context of 300" in records.loc[records.sample_id == "toy/9", "reason"].iloc[0]
    assert set(records.loc[records.sample_id != "toy/9", "outcome"]) == {"correct"}


def test_seeds_depend_on_what_is_generated_and_not_on_when(chat: Chat, tmp_path: Path) -> None:
    """Any concurrency asks each request with the same seed; no two requests of a run share one."""
    model = ToyModel(chat, [25, 8, 40], ["closed"] * 3)
    asked = []
    for concurrency in (1, 64):
        engine = ScriptedEngine(model)
        sweep(
            tmp_path / str(concurrency),
            plan_for(model, [10, 20], repeats=3, concurrency=concurrency),
            chat,
            engine,
        )
        asked.append(sorted((call.prompt_ids, call.seed) for call in engine.calls))
        assert len({call.seed for call in engine.calls}) == len(engine.calls)
    assert asked[0] == asked[1]


@given(st.lists(st.text(), min_size=2, max_size=4))
def test_derived_seeds_are_64_bit_and_stable(parts: list[str]) -> None:
    """A seed is a pure function of its parts, and non-negative."""
    assert derive_seed(*parts) == derive_seed(*parts)
    assert 0 <= derive_seed(*parts) < 2**63


def test_a_penalty_makes_nested_inexact_and_is_told(chat: Chat) -> None:
    """With an output penalty auto takes independent and says why; nested is refused."""
    penalised = Sampling(presence_penalty=1.5)
    assert choose_strategy("auto", Sampling()) == ("nested", "")
    strategy, why = choose_strategy("auto", penalised)
    assert strategy == "independent"
    assert "penalty" in why
    with pytest.raises(ConfigError, match=r"refused.*penalty"):
        choose_strategy("nested", penalised)
    with pytest.raises(ConfigError, match="allowed: auto, nested, independent"):
        choose_strategy("nestled", Sampling())


def test_a_template_that_opens_the_block_counts_its_newline(chat: Chat, tmp_path: Path) -> None:
    """Where the prompt ends in `<think>` and a newline, that newline is the first thinking token."""
    tokenizer = load_chat(locate_checkpoint("box:nano").path).tokenizer
    tokenizer.chat_template = "{{ messages[0].content }}{% if enable_thinking %}{{ '<think>\n' }}{% endif %}"
    opening = Chat(tokenizer, chat.think_open_id, chat.think_close_id, chat.eos_ids)

    def script(prompt: tuple[int, ...]) -> Sequence[int]:
        text = opening.decoder.decode(prompt, keep_special=True)
        answer = opening.encode("A<|im_end|>")
        return answer if "</think>" in text else (*range(7), opening.think_close_id, *answer)

    model = ToyModel(opening, [0], ["closed"])
    engine = ScriptedEngine(script)
    sweep(tmp_path, plan_for(model, [5, 8, 9], modes=(THINKING,)), opening, engine)
    answers = read_answers(tmp_path, opening, [5, 8, 9])
    # One newline and seven ids: eight tokens, so 9 is natural and 8 is forced.
    assert [answers["toy/0", THINKING, 0, b][1:4] for b in (5, 8, 9)] == [
        (True, False, 5), (True, False, 8), (False, False, 8),
    ]  # fmt: skip
    assert engine.calls[0].max_tokens == 4
