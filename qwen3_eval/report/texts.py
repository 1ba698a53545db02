"""From stored token ids to the texts of a rollout, decoded when a reader asks for them."""

import json
from collections.abc import Sequence

from qwen3_eval.budget import Ending, Trace, find_ending, parse_budget
from qwen3_eval.chat import Decoder
from qwen3_eval.report.records import RecordText, Texts
from qwen3_eval.score import completion_key
from qwen3_eval.store import Store
from qwen3_eval.types import BASE, NON_THINKING, Budget


def read_texts(store: Store, decoder: Decoder, budgets: Sequence[Budget]) -> Texts:
    """Returns a function from a rollout's number to its texts. `budgets` are the run's, above 0."""

    def read(rollout: int) -> RecordText:
        row = next(store.query(_ROLLOUT, (rollout,)))
        answers = {}
        for ending in store.read_answered(rollout):
            answer = store.read_answer(rollout, ending)
            assert answer is not None
            answers[completion_key(ending)] = decoder.decode(answer.ids).strip()
        if row["mode"] == BASE:
            return RecordText(json.loads(row["completion"])["prompt"], answers=answers)
        if row["mode"] == NON_THINKING:
            return RecordText(_read_prompt(row["messages"]), answers=answers)
        trace = store.read_trace(rollout, row["prefill"] or 0)
        span = _cut_span(store.read_trace_ids(rollout), trace, opened=row["prefill"] is not None)
        own = [parse_budget(row["lane"])] if row["lane"] else budgets
        endings = [(budget, find_ending(trace, budget, row["thinking_limit"])) for budget in own]
        cuts = tuple(
            (budget, len(decoder.decode(span[: ending.thinking_tokens - (row["prefill"] or 0)])))
            for budget, ending in endings
            if isinstance(ending, Ending) and ending.forced
        )
        return RecordText(_read_prompt(row["messages"]), decoder.decode(span), cuts, answers)

    return read


_ROLLOUT = """
SELECT r.mode, r.lane, r.prefill, r.thinking_limit, s.messages, s.completion
FROM rollouts r JOIN samples s ON s.id = r.sample WHERE r.id = ?
"""


def _cut_span(raw: tuple[int, ...], trace: Trace, *, opened: bool) -> tuple[int, ...]:
    """Returns the generated thinking ids: without the `<think>` before them and the stop token after."""
    if trace.end == "absent":
        return ()
    span = raw if opened else raw[1:]
    return span if trace.end == "open" else span[:-1]


def _read_prompt(messages: str) -> str:
    turns = json.loads(messages)
    if len(turns) == 1:
        return str(turns[0][1])
    return "\n\n".join(f"{role}: {content}" for role, content in turns)
