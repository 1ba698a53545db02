"""What a record says of where it comes from, and that token ids are spliced, never re-tokenised."""

import asyncio
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sweeping import Silent

from qwen3_eval.chat import STOP_TEXTS, Chat, load_chat
from qwen3_eval.checkpoint import locate_checkpoint
from qwen3_eval.engine.scripted import ScriptedEngine
from qwen3_eval.plan import Plan, Questions, derive_seed
from qwen3_eval.report.records import RecordText
from qwen3_eval.report.write import write_report
from qwen3_eval.score import RECORD_COLUMNS, count_records, read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.sweep import run_sweep
from qwen3_eval.types import NON_THINKING, THINKING, Generation, Message, Mode, Sample, Sampling, Verdict

SAMPLE = Sample("toy/0", (Message("user", "Why?"),), "x")
BUDGETS = [4, 6, math.inf]


@pytest.fixture(scope="module")
def nano_chat() -> Chat:
    return load_chat(locate_checkpoint("box:nano").path)


class Timed(ScriptedEngine):
    """A script with times and cached tokens that can be worked out by hand: 0.1 s a token."""

    async def generate(
        self,
        prompt_ids: Sequence[int],
        max_tokens: int,
        stop_token_ids: frozenset[int],
        sampling: Sampling,
        seed: int,
    ) -> Generation:
        reply = await super().generate(prompt_ids, max_tokens, stop_token_ids, sampling, seed)
        tokens = len(reply.token_ids)
        return Generation(reply.token_ids, reply.finish_reason, tokens / 10, len(prompt_ids) // 2)


def sweep(
    folder: Path, chat: Chat, engine: ScriptedEngine, budgets: Sequence[float], modes: Sequence[Mode]
) -> pd.DataFrame:
    plan = Plan(
        questions=[Questions("toy", [SAMPLE], 1, 200)],
        modes=modes,
        budgets=budgets,
        sampling={THINKING: Sampling(), NON_THINKING: Sampling()},
        strategy="nested",
        stop_ids=chat.encode(STOP_TEXTS["report"]),
        max_answer_tokens=20,
        seed=7,
        concurrency=2,
    )
    with Store.open(folder, create=True) as store:
        store.write_meta("stop_text", STOP_TEXTS["report"])
        store.start_session({"engine": "vllm", "vllm_version": "0.32.0", "gpu": "none"})
        asyncio.run(run_sweep(plan, chat, engine, store, Silent()))
        score_answers(store, {"toy": lambda sample, answer: Verdict.correct(answer)}, chat.decoder)
        records = read_records(store, budgets)
        assert count_records(store, budgets) == len(records)
    return records


def test_a_record_says_where_it_comes_from(nano_chat: Chat, tmp_path: Path) -> None:
    """A trace of 8 tokens under 4, 6 (added later) and inf, and a direct answer: every column, by hand.

    Each answer is 3 ids. The later budget 6 lies inside the second segment, of 4 ids and `</think>`, and
    counts for half of that segment's 0.5 s.
    """
    chat, (end,) = nano_chat, nano_chat.encode("<|im_end|>")
    answer = (65, 66, end)

    def script(prompt: tuple[int, ...]) -> tuple[int, ...]:
        if chat.think_close_id in prompt:
            return answer
        return (chat.think_open_id, *b"thoughts", chat.think_close_id, *answer)

    sweep(tmp_path, chat, Timed(script), [4, math.inf], (THINKING, NON_THINKING))
    records = sweep(tmp_path, chat, Timed(script), BUDGETS, (THINKING, NON_THINKING))
    rows = {row["budget"]: row for row in records.to_dict("records")}
    assert list(records.columns) == list(RECORD_COLUMNS)
    prompt = chat.render(SAMPLE.messages, THINKING).ids
    direct = chat.render(SAMPLE.messages, NON_THINKING).ids
    stop = chat.encode(STOP_TEXTS["report"])

    def read(name: str) -> list[object]:
        return [rows[budget][name] for budget in (4, 6, math.inf, 0)]

    assert read("forced") == [True, True, False, False]
    assert read("thinking_tokens") == [4, 6, 8, 0]
    assert read("answer_tokens") == [3, 3, 3, 3]
    assert read("stop_text") == ["report", "report", "", ""]
    assert read("trace_finish_reason") == ["length", "length", "stop", ""]
    assert read("finish_reason") == ["stop"] * 4
    assert read("prompt_tokens") == [len(prompt)] * 3 + [len(direct)]
    hashes = [hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest() for ids in (prompt, direct)]
    assert read("prompt_sha256") == [hashes[0]] * 3 + [hashes[1]]
    key = (7, "toy", "toy/0", THINKING, 0, "")
    assert read("seed") == [
        derive_seed(*key, "forced", 4), derive_seed(*key, "forced", 6), derive_seed(*key, "answer", 8),
        derive_seed(7, "toy", "toy/0", NON_THINKING, 0, "", "answer", 0),
    ]  # fmt: skip
    assert read("answer_s") == [0.3] * 4
    # `<think>` and 4 ids, then 4 ids and `</think>`.
    assert read("thinking_s") == pytest.approx([0.5, 0.5 + 0.25, 1.0, 0])
    lengths = [len(prompt) + 5 + len(stop), len(prompt) + 7 + len(stop), len(prompt) + 10, len(direct)]
    assert read("cached_tokens") == [n // 2 for n in lengths]
    assert read("engine") == ["vllm 0.32.0"] * 4


def test_a_model_that_answers_at_once_has_no_thinking_time(nano_chat: Chat, tmp_path: Path) -> None:
    """The first segment was its answer: its seconds and its seed are the answer's."""
    (end,) = nano_chat.encode("<|im_end|>")
    records = sweep(tmp_path, nano_chat, Timed(lambda _: (65, 66, end)), [4], (THINKING,))
    row = records.to_dict("records")[0]
    assert (row["thinking_tokens"], row["thinking_s"], row["answer_s"]) == (0, 0, pytest.approx(0.3))
    assert row["trace_finish_reason"] == ""
    assert row["seed"] == derive_seed(7, "toy", "toy/0", THINKING, 0, "", "think", 0)
    assert row["engine"] == "vllm 0.32.0"


def test_samples_parquet_has_every_column(nano_chat: Chat, tmp_path: Path) -> None:
    """With the types that the records have; a seed of 63 bits stays exact."""
    (end,) = nano_chat.encode("<|im_end|>")
    records = sweep(tmp_path, nano_chat, Timed(lambda _: (65, 66, end)), BUDGETS, (THINKING,))
    run = {"model": {"name": "toy"}, "budgets": ["4", "6", "inf"]}
    write_report(records, run, lambda _: RecordText("Why?"), tmp_path)
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert list(samples.columns[: len(RECORD_COLUMNS)]) == list(RECORD_COLUMNS)
    for name in ("seed", "prompt_tokens", "cached_tokens"):
        assert samples[name].dtype == "int64"
        assert samples[name].tolist() == records[name].tolist()
    for name in ("thinking_s", "answer_s"):
        assert samples[name].tolist() == records[name].tolist()
    assert set(samples["engine"]) == {"vllm 0.32.0"}


def cut_everywhere(chat: Chat, span: tuple[int, ...], budgets: set[int]) -> None:
    """Sweeps a trace of these ids; asserts what the engine was given for each forced answer and segment."""
    (end,) = chat.encode("<|im_end|>")
    prompt, stop = chat.render(SAMPLE.messages, THINKING).ids, chat.encode(STOP_TEXTS["report"])
    whole = (chat.think_open_id, *span, chat.think_close_id, end)
    engine = ScriptedEngine(lambda asked: (end,) if chat.think_close_id in asked else whole)
    with TemporaryDirectory() as folder:
        sweep(Path(folder), chat, engine, sorted(budgets), (THINKING,))
    asked = {call.prompt_ids for call in engine.calls}
    for budget in budgets:
        if budget <= len(span):
            assert (*prompt, *whole[: 1 + budget], *stop) in asked
    cuts = {0, *(b + 1 for b in budgets if b <= len(span))}
    segments = {(*prompt, *whole[:cut]) for cut in cuts}
    forced = {(*prompt, *whole[: 1 + b], *stop) for b in budgets if b <= len(span)}
    assert asked <= segments | forced | {(*prompt, *whole[:-1])}


SPLICING = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
budget_sets = st.sets(st.integers(1, 40), min_size=1, max_size=4)


@SPLICING
@given(st.text(min_size=1, max_size=15), budget_sets)
@example("四🙂é", {1, 2, 4, 5, 8})
def test_bytes_are_spliced_wherever_a_budget_cuts_a_character(
    nano_chat: Chat, text: str, budgets: set[int]
) -> None:
    """nano's tokens are bytes: a budget may end inside a character, and its ids go on as they are."""
    cut_everywhere(nano_chat, tuple(text.encode()), budgets)


@pytest.fixture(scope="module")
def qwen3_chat(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Chat:
    folder = data_root / "Qwen" / "Qwen3-tokenizer"
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"no Qwen3 tokenizer at {folder}")
    return load_chat(str(folder))


@SPLICING
@given(st.lists(st.integers(0, 151_642), min_size=1, max_size=30), budget_sets)
def test_ids_of_qwen3_are_spliced_as_they_were_sampled(
    qwen3_chat: Chat, ids: list[int], budgets: set[int]
) -> None:
    """A model samples what the tokenizer would never write; decoded and encoded they would be other ids."""
    cut_everywhere(qwen3_chat, tuple(ids), budgets)


def test_re_tokenising_would_have_changed_the_ids(nano_chat: Chat, qwen3_chat: Chat) -> None:
    """The tests above can fail: text in between loses half a character, and merges what was apart."""
    half = tuple("四".encode())[:2]
    assert nano_chat.encode(nano_chat.decoder.decode(half)) != half
    apart = qwen3_chat.encode("think") + qwen3_chat.encode("ing")
    assert qwen3_chat.encode(qwen3_chat.decoder.decode(apart)) != apart
