"""The nested sweep: every question once per repeat, one trace, an answer at every budget.

Each rollout walks its trace from budget to budget. Where the trace is cut by a budget, the forced answer
and the next segment start together from the same token ids; where the model closed its thinking, one
natural answer serves every budget from there up. Token ids are spliced, never re-tokenised.
"""

import asyncio
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from qwen3_eval.budget import Ending, Trace, find_answerable, format_budget, grow_trace, next_stop
from qwen3_eval.chat import Chat, Prompt
from qwen3_eval.engine.base import Engine
from qwen3_eval.errors import ConfigError, QwenEvalError
from qwen3_eval.store import RolloutKey, Store
from qwen3_eval.types import NON_THINKING, THINKING, Budget, Generation, Mode, Sample, Sampling


@dataclass(frozen=True)
class Questions:
    """One task's share of a sweep. `thinking_tokens` is the most thinking that `inf` may use."""

    task: str
    samples: Sequence[Sample]
    repeats: int
    thinking_tokens: int


@dataclass(frozen=True)
class Plan:
    """What a sweep generates. `budgets` are those of thinking mode: above 0, rising."""

    questions: Sequence[Questions]
    modes: Sequence[Mode]
    budgets: Sequence[Budget]
    sampling: Mapping[Mode, Sampling]
    strategy: str
    stop_ids: tuple[int, ...]
    max_answer_tokens: int
    seed: int
    concurrency: int

    @property
    def n_rollouts(self) -> int:
        lanes = sum(len(self.lanes(mode)) for mode in self.modes)
        return lanes * sum(len(q.samples) * q.repeats for q in self.questions)

    def lanes(self, mode: Mode) -> Sequence[tuple[str, Sequence[Budget]]]:
        """Returns (lane, its budgets): one lane for all budgets of a nested sweep, else one each."""
        if mode == NON_THINKING:
            return [("", ())]
        if self.strategy == "nested":
            return [("", self.budgets)]
        return [(format_budget(b), (b,)) for b in self.budgets]


class Progress(Protocol):
    """Told of every engine call as it returns, and of every finished rollout."""

    def on_generation(self, generation: Generation, ending: Ending | None) -> None:
        """`ending` is set for answers, None for segments of a trace."""

    def on_rollout(self, *, reused: bool) -> None:
        """`reused` where nothing had to be generated."""


def choose_strategy(asked: str, thinking: Sampling) -> tuple[str, str]:
    """Returns the strategy and, where it is not what was wanted, why. Raises ConfigError."""
    if asked not in ("auto", "nested", "independent"):
        raise ConfigError(f"sweep.strategy={asked!r} is unknown; allowed: auto, nested, independent")
    if not thinking.penalises_output:
        return ("independent" if asked == "independent" else "nested"), ""
    why = (
        "the thinking preset has a presence, frequency or repetition penalty, whose count would restart at "
        "each segment's border, so a shared trace is not what a run at one budget would sample"
    )
    if asked == "nested":
        raise ConfigError(
            f"sweep.strategy=nested is refused: {why}; take the penalty off, or use "
            "sweep.strategy=independent"
        )
    return "independent", "" if asked == "independent" else why


def derive_seed(*parts: object) -> int:
    """Returns a seed in [0, 2**63) that depends on every part, and on nothing else."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


async def run_sweep(plan: Plan, chat: Chat, engine: Engine, store: Store, progress: Progress) -> None:
    """Generates whatever `plan` asks and the store lacks; each engine call is committed as it returns.

    Raises the first error of a rollout after cancelling the others; what was committed stays.
    """
    slots = asyncio.Semaphore(plan.concurrency)
    sweep = _Sweep(plan, chat, engine, store, progress)
    try:
        async with asyncio.TaskGroup() as group:
            for questions, sample, key, budgets in _walk(plan):
                await slots.acquire()
                task = group.create_task(sweep.roll_out(questions, sample, key, budgets))
                task.add_done_callback(lambda _: slots.release())
    except BaseExceptionGroup as failures:
        raise _first_cause(failures) from failures


def _walk(plan: Plan) -> Iterator[tuple[Questions, Sample, RolloutKey, Sequence[Budget]]]:
    """Depth-first: all of one question, then the next, so that its prompt stays in the prefix cache."""
    for questions in plan.questions:
        for sample in questions.samples:
            for mode in plan.modes:
                for repeat in range(questions.repeats):
                    for lane, budgets in plan.lanes(mode):
                        key = RolloutKey(questions.task, sample.sample_id, mode, repeat, lane)
                        yield questions, sample, key, budgets


def _first_cause(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """An error of ours tells more than the cancellations and groups around it."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [failures]
    while stack:
        error = stack.pop()
        if isinstance(error, BaseExceptionGroup):
            stack.extend(reversed(error.exceptions))
        else:
            leaves.append(error)
    return next((e for e in leaves if isinstance(e, QwenEvalError)), leaves[0])


@dataclass(frozen=True)
class _Sweep:
    plan: Plan
    chat: Chat
    engine: Engine
    store: Store
    progress: Progress

    async def roll_out(
        self, questions: Questions, sample: Sample, key: RolloutKey, budgets: Sequence[Budget]
    ) -> None:
        """Generates what one rollout lacks."""
        prompt = self.chat.render(sample.messages, key.mode)
        room = self.engine.max_model_len - len(prompt.ids) - self.plan.max_answer_tokens
        thinking_limit = min(questions.thinking_tokens, room - len(self.plan.stop_ids) - 1)
        digest = hashlib.sha256(",".join(map(str, prompt.ids)).encode()).hexdigest()
        self.store.add_sample(key.task, sample)
        rollout = self.store.add_rollout(
            key,
            digest,
            len(prompt.ids),
            None if prompt.prefill is None else len(prompt.prefill),
            thinking_limit,
        )
        longest = max((b for b in budgets if b < math.inf), default=0)
        if room < 0 or (key.mode == THINKING and thinking_limit < max(longest, 1)):
            self.store.fail_rollout(
                rollout,
                f"prompt of {len(prompt.ids)} tokens, budget {format_budget(longest)} and the answer's "
                f"{self.plan.max_answer_tokens} do not fit the context of {self.engine.max_model_len}",
            )
            self.progress.on_rollout(reused=False)
            return
        walk = _Walk(self, key, rollout, prompt, self.store.read_answered(rollout))
        if key.mode == NON_THINKING:
            reused = await walk.answer_directly()
        else:
            reused = await walk.answer_each(budgets, thinking_limit)
        self.progress.on_rollout(reused=reused)


@dataclass(frozen=True)
class _Walk:
    """One rollout under way."""

    sweep: _Sweep
    key: RolloutKey
    rollout: int
    prompt: Prompt
    answered: set[Ending]

    async def answer_directly(self) -> bool:
        ending = Ending("natural", 0)
        if ending in self.answered:
            return True
        await self._answer(ending, self.prompt.ids, self.sweep.plan.max_answer_tokens)
        return False

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
        limit = self.sweep.plan.max_answer_tokens
        if ending.forced:
            opening = 1 if self.prompt.prefill is None else 0
            kept = raw[: opening + ending.thinking_tokens - len(self.prompt.prefill or ())]
            await self._answer(ending, self.prompt.ids + kept + self.sweep.plan.stop_ids, limit)
        elif trace.end == "absent":
            await self._finish_begun(ending, raw, limit)
        else:
            await self._answer(ending, self.prompt.ids + raw, limit)

    async def _finish_begun(self, ending: Ending, begun: tuple[int, ...], limit: int) -> None:
        """The model answered without thinking: its first segment is the answer's beginning."""
        if begun[-1] in self.sweep.chat.eos_ids:
            self.sweep.store.add_answer(self.rollout, ending, Generation((), "stop"), 0, begun=len(begun))
        elif len(begun) >= limit:
            self.sweep.store.add_answer(self.rollout, ending, Generation((), "length"), 0, begun=len(begun))
        else:
            await self._answer(ending, self.prompt.ids + begun, limit - len(begun), begun=len(begun))

    async def _answer(self, ending: Ending, ids: tuple[int, ...], max_tokens: int, *, begun: int = 0) -> None:
        kind = "forced" if ending.forced else "answer"
        generation, seed = await self._generate(
            kind, ending.thinking_tokens, ids, max_tokens, self.sweep.chat.eos_ids
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
