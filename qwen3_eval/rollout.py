"""One rollout: a question asked once, its trace walked from budget to budget, and an answer at each ending.

Where the trace is cut by a budget, the forced answer and the next segment start together from the same token
ids; where the model closed its thinking, one natural answer serves every budget from there up. Token ids are
spliced, never re-tokenised.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qwen3_eval.budget import Ending, Trace, find_answerable, format_budget, grow_trace, next_stop
from qwen3_eval.chat import Chat, Prompt
from qwen3_eval.engine.base import Engine
from qwen3_eval.plan import Plan, Progress, Questions, derive_seed
from qwen3_eval.store import RolloutKey, Store
from qwen3_eval.types import BASE, THINKING, Budget, Generation, Mode, Sample, Unmade

FIRST_PIECE_TOKENS = 128
"""A base model's answer is looked at for its stop texts after so many tokens, then each time they double."""


class Asked:
    """A question that its rollouts share: made once, when the first of them starts."""

    def __init__(self, question: Sample | Unmade) -> None:
        self._question = question
        self._lock = asyncio.Lock()

    async def make(self) -> Sample:
        async with self._lock:
            if isinstance(self._question, Unmade):
                self._question = await asyncio.to_thread(self._question.make)
            return self._question


@dataclass(frozen=True)
class Rollouts:
    """What rolls a question out. Each engine call is committed to the store as it returns."""

    plan: Plan
    chat: Chat
    engine: Engine
    store: Store
    progress: Progress

    async def roll_out(
        self, questions: Questions, asked: Asked, key: RolloutKey, budgets: Sequence[Budget]
    ) -> None:
        """Generates what one rollout lacks."""
        sample = await asked.make()
        prompt = self._render(sample, key.mode)
        context = self.engine.max_model_len - len(prompt.ids)
        # The least that must be left behind the thinking: the stop text, and the answer or a part of it.
        reserve = (self.plan.max_answer_tokens or 0) + len(self.plan.stop_ids) + 1
        thinking_limit = min(questions.output_tokens, context - reserve)
        self.store.add_sample(key.task, sample)
        rollout = self.store.add_rollout(
            key,
            prompt.sha256,
            len(prompt.ids),
            None if prompt.prefill is None else len(prompt.prefill),
            thinking_limit,
        )
        longest = max((b for b in budgets if b < math.inf), default=0)
        if context < (self.plan.max_answer_tokens or 1) or (
            key.mode == THINKING and thinking_limit < max(longest, 1)
        ):
            answer = (
                f"the answer's {self.plan.max_answer_tokens}" if self.plan.max_answer_tokens else "an answer"
            )
            self.store.fail_rollout(
                rollout,
                f"prompt of {len(prompt.ids)} tokens, budget {format_budget(longest)} and {answer} do not "
                f"fit the context of {self.engine.max_model_len}",
            )
            self.progress.on_rollout(reused=False)
            return
        stop = sample.completion.cut if key.mode == BASE and sample.completion is not None else None
        limit = questions.output_tokens if self.plan.max_answer_tokens is None else None
        walk = _Walk(self, key, rollout, prompt, self.store.read_answered(rollout), limit, stop)
        if key.mode == THINKING:
            reused = await walk.answer_each(budgets, thinking_limit)
        else:
            reused = await walk.answer_directly()
        self.progress.on_rollout(reused=reused)

    def _render(self, sample: Sample, mode: Mode) -> Prompt:
        if mode != BASE:
            return self.chat.render(sample.messages, mode)
        assert sample.completion is not None, "a task without the form is refused before"
        return Prompt(self.chat.encode(sample.completion.prompt))


@dataclass(frozen=True)
class _Walk:
    """One rollout under way.

    Answers share `output_tokens` with the thinking, None where they have their own reserve. `cut` drops what
    a base model writes beyond its answer.
    """

    sweep: Rollouts
    key: RolloutKey
    rollout: int
    prompt: Prompt
    answered: set[Ending]
    output_tokens: int | None
    cut: Callable[[str], str] | None

    def _answer_limit(self, ids: Sequence[int], ending: Ending) -> int:
        """Returns the most tokens that the answer behind `ids` may have."""
        if self.output_tokens is None:
            assert self.sweep.plan.max_answer_tokens is not None
            return self.sweep.plan.max_answer_tokens
        room = self.sweep.engine.max_model_len - len(ids)
        return max(min(self.output_tokens - ending.thinking_tokens, room), 1)

    async def answer_directly(self) -> bool:
        ending = Ending("natural", 0)
        if ending in self.answered:
            return True
        if self.cut is None:
            await self._answer(ending, self.prompt.ids)
        else:
            await self._complete(ending, self.cut)
        return False

    async def _complete(self, ending: Ending, cut: Callable[[str], str]) -> None:
        """A base model rarely ends its turn: it goes on piece by piece until a stop text stands there."""
        limit = self._answer_limit(self.prompt.ids, ending)
        ids: tuple[int, ...] = ()
        elapsed_s, first_seed, cached = 0.0, 0, 0
        while True:
            generation, seed = await self._generate(
                "answer",
                len(ids),
                self.prompt.ids + ids,
                min(max(FIRST_PIECE_TOKENS, len(ids)), limit - len(ids)),
                self.sweep.chat.eos_ids,
            )
            if not ids:
                first_seed, cached = seed, generation.cached_tokens
            ids += generation.token_ids
            elapsed_s += generation.elapsed_s
            text = self.sweep.chat.decoder.decode(ids)
            ended = generation.finish_reason == "stop" or cut(text) != text
            if ended or len(ids) >= limit:
                break
        whole = Generation(ids, "stop" if ended else "length", elapsed_s, cached)
        self.sweep.store.add_answer(self.rollout, ending, whole, first_seed)
        self.sweep.progress.on_generation(whole, ending)

    async def answer_each(self, budgets: Sequence[Budget], thinking_limit: int) -> bool:
        """Extends the trace as far as the budgets need, branching off an answer at each ending."""
        trace = self.sweep.store.read_trace(self.rollout, len(self.prompt.prefill or ()))
        raw: tuple[int, ...] | None = None  # read only where something is missing
        reused = True
        async with asyncio.TaskGroup() as branches:
            while True:
                missing = find_answerable(trace, budgets, thinking_limit) - self.answered
                stop = next_stop(trace, budgets, thinking_limit)
                if raw is None and (missing or stop is not None):
                    raw = self.sweep.store.read_trace_ids(self.rollout)
                    reused = False
                for ending in missing:
                    assert raw is not None
                    self.answered.add(ending)
                    branches.create_task(self._answer_after(ending, trace, raw))
                if stop is None:
                    return reused
                assert raw is not None
                trace, raw = await self._extend(trace, raw, stop)

    async def _extend(self, trace: Trace, raw: tuple[int, ...], stop: int) -> tuple[Trace, tuple[int, ...]]:
        """Generates the trace on to `stop` thinking tokens, or to its end."""
        chat = self.sweep.chat
        opened = self.prompt.prefill is not None or bool(raw)
        generation, seed = await self._generate(
            "think",
            trace.length,
            self.prompt.ids + raw,
            stop - trace.length + (not opened),
            chat.thinking_stop_ids,
        )
        grown = grow_trace(
            trace,
            generation.token_ids,
            stopped=generation.finish_reason == "stop",
            opened=opened,
            open_id=chat.think_open_id,
            close_id=chat.think_close_id,
        )
        self.sweep.store.add_think(self.rollout, trace.length, generation, grown, seed)
        self.sweep.progress.on_generation(generation, None)
        return grown, raw + generation.token_ids

    async def _answer_after(self, ending: Ending, trace: Trace, raw: tuple[int, ...]) -> None:
        if ending.forced:
            opening = 1 if self.prompt.prefill is None else 0
            kept = raw[: opening + ending.thinking_tokens - len(self.prompt.prefill or ())]
            await self._answer(ending, self.prompt.ids + kept + self.sweep.plan.stop_ids)
        elif trace.end == "absent":
            await self._finish_begun(ending, raw)
        else:
            await self._answer(ending, self.prompt.ids + raw)

    async def _finish_begun(self, ending: Ending, begun: tuple[int, ...]) -> None:
        """The model answered without thinking: its first segment is the answer's beginning."""
        if begun[-1] in self.sweep.chat.eos_ids:
            self.sweep.store.add_answer(self.rollout, ending, Generation((), "stop"), 0, begun=len(begun))
        elif len(begun) >= self._answer_limit(self.prompt.ids, ending):
            self.sweep.store.add_answer(self.rollout, ending, Generation((), "length"), 0, begun=len(begun))
        else:
            await self._answer(ending, self.prompt.ids + begun, begun=len(begun))

    async def _answer(self, ending: Ending, ids: tuple[int, ...], *, begun: int = 0) -> None:
        kind = "forced" if ending.forced else "answer"
        limit = self._answer_limit(ids[: len(ids) - begun], ending) - begun
        generation, seed = await self._generate(
            kind, ending.thinking_tokens, ids, limit, self.sweep.chat.eos_ids
        )
        self.sweep.store.add_answer(self.rollout, ending, generation, seed, begun=begun)
        self.sweep.progress.on_generation(generation, ending)

    async def _generate(
        self, kind: str, start: int, ids: tuple[int, ...], max_tokens: int, stop_ids: frozenset[int]
    ) -> tuple[Generation, int]:
        """The seed depends on what is generated, never on when: records repeat at any concurrency."""
        key, plan = self.key, self.sweep.plan
        seed = derive_seed(plan.seed, key.task, key.sample_id, key.mode, key.repeat, key.lane, kind, start)
        sampling = plan.sampling[key.mode]
        return await self.sweep.engine.generate(ids, max_tokens, stop_ids, sampling, seed), seed
