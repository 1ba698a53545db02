"""A run's responses as the model read them: ids of prompt, thinking and answer, and which is of which."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen3_eval.budget import Ending, find_ending
from qwen3_eval.chat import Chat
from qwen3_eval.errors import StoreError
from qwen3_eval.store import Store
from qwen3_eval.types import THINKING, Budget, Message

SPANS = ("prompt", "thinking", "answer")
PROMPT, THOUGHT, ANSWER = range(len(SPANS))
BETWEEN = -1
"""The span of what belongs to none: the tags that the model wrote, and the stop text of a forced end."""


@dataclass(frozen=True)
class Response:
    """One rollout at one budget. `spans` (N,) gives the span of each of the N `ids`: 0, 1, 2, or `BETWEEN`.

    The last id that was generated is left out: it was sampled, and never read, so no router saw it.
    """

    task: str
    sample_id: str
    ids: tuple[int, ...]
    spans: NDArray[np.int8]


@dataclass(frozen=True)
class Asked:
    """A thinking rollout of a run: `rollout` is its number in the store."""

    task: str
    sample_id: str
    messages: tuple[Message, ...]
    rollout: int
    prompt_sha256: str
    thinking_limit: int


def list_rollouts(store: Store, budget: Budget, lane: str, repeats: int | None) -> list[Asked]:
    """Returns the thinking rollouts that `budget` has responses of, in their order.

    `lane` is the one that stands for the budget where each has a trace of its own. Of a question the first
    `repeats` are taken, None for all.
    """
    return [
        Asked(
            row["task"],
            row["sample_id"],
            tuple(Message(role, content) for role, content in json.loads(row["messages"])),
            row["id"],
            row["prompt_sha256"],
            row["thinking_limit"],
        )
        for row in store.query(_ROLLOUTS, (THINKING, lane))
        if repeats is None or row["repeat"] < repeats
    ]


_ROLLOUTS = """
SELECT r.id, r.repeat, r.prompt_sha256, r.thinking_limit, s.task, s.sample_id, s.messages
FROM rollouts r JOIN samples s ON s.id = r.sample
WHERE r.mode = ? AND r.lane IN ('', ?) AND r.error IS NULL ORDER BY r.id
"""


def read_responses(
    store: Store, rollouts: Sequence[Asked], budget: Budget, chat: Chat, stop_text: str
) -> Iterator[Response | None]:
    """Yields each rollout's response at the budget, None where it is not there yet.

    Raises StoreError where the chat template or the tokenizer is not the one that the run was asked with.
    """
    stop_ids = chat.encode(stop_text)
    for asked in rollouts:
        yield _read_response(store, asked, budget, chat, stop_ids)


def _read_response(
    store: Store, asked: Asked, budget: Budget, chat: Chat, stop_ids: Sequence[int]
) -> Response | None:
    prompt = chat.render(asked.messages, THINKING)
    if prompt.sha256 != asked.prompt_sha256:
        raise StoreError(
            f"'{store.folder}' asked {asked.sample_id} with another prompt than this checkpoint's chat "
            "template and tokenizer give; name the checkpoint that the run was made with, model=DIR"
        )
    prefill = len(prompt.prefill or ())
    trace = store.read_trace(asked.rollout, prefill)
    ending = find_ending(trace, budget, asked.thinking_limit)
    if ending is None:
        return None
    answer = store.read_answer(asked.rollout, ending) if ending.answered else None
    if ending.answered and answer is None:
        return None
    raw = () if trace.end == "absent" else store.read_trace_ids(asked.rollout)
    parts = [(PROMPT, prompt.ids[: len(prompt.ids) - prefill]), (THOUGHT, prompt.prefill or ())]
    parts += _split_trace(raw, ending, 0 if prompt.prefill is not None or not raw else 1, prefill)
    if ending.forced:
        parts.append((BETWEEN, tuple(stop_ids)))
    parts.append((ANSWER, answer.ids if answer else ()))
    ids = tuple(token for _, part in parts for token in part)
    spans = np.concatenate([np.full(len(part), span, dtype=np.int8) for span, part in parts])
    return Response(asked.task, asked.sample_id, ids[:-1], spans[:-1])


def _split_trace(
    raw: tuple[int, ...], ending: Ending, opening: int, prefill: int
) -> list[tuple[int, tuple[int, ...]]]:
    """Splits what was generated of a trace: `<think>`, the span, and, but at a forced end, what closed it."""
    end = opening + ending.thinking_tokens - prefill if raw else 0
    closing = () if ending.forced else raw[end:]
    return [(BETWEEN, raw[:opening]), (THOUGHT, raw[opening:end]), (BETWEEN, closing)]
