"""Finished runs made by hand for tests of `compare`: every trace, answer and verdict is chosen."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwen3_eval.budget import Ending, Trace, find_ending
from qwen3_eval.chat import STOP_TEXTS, Chat
from qwen3_eval.store import RolloutKey, Store
from qwen3_eval.types import Generation, Message, Mode, Sample, Verdict

BUDGETS = (8, 16, 32)
NATURAL = 40
"""Thinking tokens of each trace: longer than every budget, so that each budget is a forced end."""

Scores = Mapping[str, Sequence[Sequence[float]]]
"""For each question, for each repeat: the scores at the budgets, then without thinking; 0.5 is an error."""

RUN: dict[str, Any] = {
    "status": "done",
    "started": "2025-05-14T12:00:00Z",
    "finished": "2025-05-14T13:00:00Z",
    "budgets": [str(budget) for budget in BUDGETS],
    "modes": ["thinking", "non-thinking"],
    "stop_text": STOP_TEXTS["docs"],
    "model": {"name": "nano", "fingerprint": "sha256:11112222"},
    "engine": {"engine": "vllm", "vllm_version": "0.32.0", "device": "cpu"},
    "versions": {"qwen3_eval": "0.1.0"},
    "tasks": {"toy": {"metric": "accuracy", "average": "questions", "parallel": False}},
}
IDENTITY = {
    "seed": 0,
    "max_answer_tokens": 64,
    "sampling.thinking.temperature": 0.6,
    "sampling.base.temperature": 0.0,
    "options.toy": {"share": 1.0},
}


def make_run(
    folder: Path, chat: Chat, scores: Scores, *, thought: str = "thought", prompt: str = "Question",
    task: str = "toy", identity: Mapping[str, Any] | None = None, **settings: Any,
) -> Path:  # fmt: skip
    """Writes a run folder; `thought` begins each trace, `identity` and `settings` differ from the usual."""
    with Store.open(folder, create=True) as store:
        store.write_meta("tokenizer.json", chat.decoder.tokenizer_json)
        store.write_meta("stop_text", STOP_TEXTS["docs"])
        store.start_session({"engine": "vllm", "vllm_version": "0.32.0"})
        for question, repeats in scores.items():
            words = f"{prompt} {question}?"
            store.add_sample(task, Sample(question, (Message("user", words),), "1"))
            for repeat, row in enumerate(repeats):
                _think(store, chat, RolloutKey(task, question, "thinking", repeat), words, thought, row[:-1])
                _answer_directly(
                    store, chat, RolloutKey(task, question, "non-thinking", repeat), words, row[-1]
                )
        tasks = {task: RUN["tasks"]["toy"]}
        store.write_run(RUN | {"tasks": tasks, "identity": IDENTITY | dict(identity or {})} | settings)
    return folder


def _think(
    store: Store, chat: Chat, key: RolloutKey, words: str, thought: str, scores: Sequence[float]
) -> None:
    rollout = store.add_rollout(key, _digest(words, "thinking"), 9, None, 100)
    text = f"{thought} {key.sample_id}.{key.repeat} ".ljust(NATURAL, ".")[:NATURAL]
    ids = (*chat.encode("<think>"), *chat.encode_plain(text), *chat.encode("</think>"))
    trace = Trace(NATURAL, "closed")
    store.add_think(rollout, 0, Generation(ids, "stop", elapsed_s=4.0), trace, 1)
    for budget, score in zip(BUDGETS, scores, strict=True):
        ending = find_ending(trace, budget, 100)
        assert ending is not None
        _add_answer(store, chat, rollout, ending, f"At {budget}", score)


def _answer_directly(store: Store, chat: Chat, key: RolloutKey, words: str, score: float) -> None:
    rollout = store.add_rollout(key, _digest(words, "non-thinking"), 9, None, 100)
    _add_answer(store, chat, rollout, Ending("natural", 0), "Directly", score)


def _add_answer(store: Store, chat: Chat, rollout: int, ending: Ending, said: str, score: float) -> None:
    right = score == 1.0
    ids = (*chat.encode_plain(f"{said}: \\boxed{{{int(right)}}}."), *chat.encode("<|im_end|>"))
    store.add_answer(rollout, ending, Generation(ids, "stop", elapsed_s=0.5), 2)
    verdict = Verdict.correct("1") if right else Verdict.incorrect("0", "0 is not 1")
    store.add_verdict(rollout, ending, verdict if score != 0.5 else Verdict.error("no scorer"))


def _digest(words: str, mode: Mode) -> str:
    return hashlib.sha256(f"{mode} {words}".encode()).hexdigest()
