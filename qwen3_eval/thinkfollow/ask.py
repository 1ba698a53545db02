"""A dialogue as it goes: each turn is answered by the model itself, and its answer stands in the next prompt.

The history holds answers alone, as the chat template strips earlier thinking. A budget is one life of the
dialogue: the answers behind a cut differ, and so do the prompts after them. Seeds do not depend on the
budget, so lives that were not cut yet are the same, token for token.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qwen3_eval.budget import Ending, Trace, find_ending, format_budget, grow_trace
from qwen3_eval.chat import Chat, Prompt
from qwen3_eval.engine.base import Engine
from qwen3_eval.plan import derive_seed
from qwen3_eval.thinkfollow.compliance import Done, Opened, Reply, Tags, judge
from qwen3_eval.thinkfollow.dialogues import (
    Dialogue,
    count_switches,
    expected_modes,
    list_directions,
    list_places,
)
from qwen3_eval.thinkfollow.turn_row import TurnRow
from qwen3_eval.types import NON_THINKING, Budget, Mode, Sampling

_BLOCK_END = 4
"""Where a template writes the empty block, `</think>` is among so many last ids of the prompt."""


@dataclass(frozen=True)
class Asker:
    """What asks dialogues. `sampling` is chosen by the hard switch, as everywhere: a server sees no other."""

    chat: Chat
    engine: Engine
    sampling: Mapping[Mode, Sampling]
    stop_ids: tuple[int, ...]
    max_answer_tokens: int
    max_output_tokens: int
    seed: int

    async def ask(self, dialogue: Dialogue, budget: Budget) -> list[TurnRow]:
        """Returns a row for each turn of one life of the dialogue."""
        asked = expected_modes(dialogue)
        answers: list[str] = []
        rows: list[TurnRow] = []
        reason = ""
        for number in range(len(dialogue.turns)):
            said = None
            if not reason:
                prompt = self.chat.render(dialogue.messages(answers), dialogue.hard)
                reason = self._find_obstacle(prompt, budget, dialogue.hard)
                if not reason:
                    said = await self._answer(prompt, dialogue, number, budget)
                    answers.append(said.history)
            rows.append(self._row(dialogue, number, budget, asked, said, reason))
        return rows

    @property
    def _tags(self) -> Tags:
        chat = self.chat
        return Tags(chat.think_open_id, chat.think_close_id, chat.eos_ids, chat.decoder.decode)

    def _find_obstacle(self, prompt: Prompt, budget: Budget, hard: Mode) -> str:
        """Returns why the turn does not fit the context, or ""."""
        room = self.engine.max_model_len - len(prompt.ids)
        longest = 0 if hard == NON_THINKING or budget == math.inf else int(budget)
        if room - self.max_answer_tokens - len(self.stop_ids) - 1 >= max(longest, 1):
            return ""
        return (
            f"prompt of {len(prompt.ids)} tokens, budget {format_budget(budget)} and the answer's "
            f"{self.max_answer_tokens} do not fit the context of {self.engine.max_model_len}"
        )

    async def _answer(self, prompt: Prompt, dialogue: Dialogue, number: int, budget: Budget) -> "_Said":
        def seed_of(kind: str, start: int) -> int:
            return derive_seed(self.seed, "thinkfollow", dialogue.name, number, kind, start)

        sampling = self.sampling[dialogue.hard]
        call = _Call(self, prompt, sampling, seed_of)
        if dialogue.hard == NON_THINKING:
            return await call.answer_directly()
        return await call.answer_within(budget)

    def _row(
        self,
        dialogue: Dialogue,
        number: int,
        budget: Budget,
        asked: Sequence[Mode],
        said: "_Said | None",
        reason: str,
    ) -> TurnRow:
        turn = dialogue.turns[number]
        judged = None if said is None else judge(said.reply, self._tags)
        done: Done | str = "" if judged is None else judged.done
        return TurnRow(
            dialogue=dialogue.name,
            turn=number + 1,
            budget=format_budget(budget),
            kind=dialogue.kind,
            hard=dialogue.hard,
            language=turn.language,
            difficulty=turn.difficulty,
            place=list_places(dialogue)[number],
            direction=list_directions(asked)[number],
            switches_before=count_switches(asked)[number],
            trap=turn.trap,
            quoted=turn.quoted or "",
            asked=asked[number],
            done=done,
            forced=said is not None and said.ending.forced,
            truncated=said is not None and said.truncated,
            error=reason,
            prompt_tokens=0 if said is None else len(said.prompt_ids),
            prompt_sha256="" if said is None else Prompt(said.prompt_ids).sha256,
            thinking_tokens=0 if said is None else said.ending.thinking_tokens,
            answer_tokens=0 if said is None else said.answer_tokens,
            user=turn.text,
            system=dialogue.system,
            thinking="" if judged is None else judged.thinking,
            answer="" if judged is None else judged.answer,
            ids=() if said is None else said.ids,
            cut=-1 if said is None or said.reply.cut is None else said.reply.cut,
            opened="" if said is None else said.reply.opened,
        )


@dataclass(frozen=True)
class _Said:
    """A turn as generated; `ids` hold the stop text too, `history` is the answer in the next prompt."""

    reply: Reply
    ids: tuple[int, ...]
    ending: Ending
    history: str
    truncated: bool
    prompt_ids: tuple[int, ...]
    answer_tokens: int


@dataclass(frozen=True)
class _Call:
    """The engine calls of one turn."""

    asker: Asker
    prompt: Prompt
    sampling: Sampling
    seed_of: Callable[[str, int], int]

    async def answer_directly(self) -> _Said:
        answer, stopped = await self._generate("answer", 0, self.prompt.ids, self.asker.max_answer_tokens)
        return self._said(Ending("natural", 0), (), answer, not stopped, self._find_opened())

    def _find_opened(self) -> Opened:
        """What became of the hard switch: a template that knows none leaves the block, or opens it."""
        if self.prompt.prefill is not None:
            return "template"
        written = self.prompt.ids[-_BLOCK_END:]
        return "closed" if self.asker.chat.think_close_id in written else "model"

    async def answer_within(self, budget: Budget) -> _Said:
        """Thinks up to the budget, and answers behind the model's own end or the stop text."""
        asker, chat = self.asker, self.asker.chat
        prefill = self.prompt.prefill
        opened: Opened = "model" if prefill is None else "template"
        room = asker.engine.max_model_len - len(self.prompt.ids)
        limit = min(asker.max_output_tokens, room - asker.max_answer_tokens - len(asker.stop_ids) - 1)
        trace = Trace(len(prefill or ()))
        stop = int(min(budget, limit))
        raw: tuple[int, ...] = ()
        if trace.length < stop:
            ids, stopped = await self._generate(
                "think", 0, self.prompt.ids, stop - trace.length + (prefill is None), chat.thinking_stop_ids
            )
            trace = grow_trace(
                trace, ids, stopped=stopped, opened=prefill is not None,
                open_id=chat.think_open_id, close_id=chat.think_close_id,
            )  # fmt: skip
            raw = ids
        ending = find_ending(trace, budget, limit)
        assert ending is not None, "the trace was generated as far as the budget or the limit needs"
        if ending.kind == "unclosed":
            return self._said(ending, raw, (), trace.end == "open", opened)
        if ending.forced:
            kept = raw[: ending.thinking_tokens - len(prefill or ()) + (prefill is None)]
            prompt = self.prompt.ids + kept + asker.stop_ids
            answer, stopped = await self._generate(
                "forced", ending.thinking_tokens, prompt, asker.max_answer_tokens
            )
            return self._said(ending, kept, answer, not stopped, opened)
        if trace.end == "absent":
            return await self._finish_begun(ending, raw, opened)
        answer, stopped = await self._generate(
            "answer", ending.thinking_tokens, self.prompt.ids + raw, asker.max_answer_tokens
        )
        return self._said(ending, raw, answer, not stopped, opened)

    async def _finish_begun(self, ending: Ending, begun: tuple[int, ...], opened: Opened) -> _Said:
        """The model answered without a block: its first segment is the answer's beginning."""
        left = self.asker.max_answer_tokens - len(begun)
        if begun[-1] in self.asker.chat.eos_ids or left <= 0:
            truncated = begun[-1] not in self.asker.chat.eos_ids
            return self._said(ending, (), begun, truncated, opened)
        rest, stopped = await self._generate("answer", len(begun), self.prompt.ids + begun, left)
        return self._said(ending, (), begun + rest, not stopped, opened)

    async def _generate(
        self,
        kind: str,
        start: int,
        ids: tuple[int, ...],
        max_tokens: int,
        stops: frozenset[int] | None = None,
    ) -> tuple[tuple[int, ...], bool]:
        stop_ids = self.asker.chat.eos_ids if stops is None else stops
        seed = self.seed_of(kind, start)
        got = await self.asker.engine.generate(ids, max_tokens, stop_ids, self.sampling, seed)
        return got.token_ids, got.finish_reason == "stop"

    def _said(
        self,
        ending: Ending,
        thought: tuple[int, ...],
        answer: tuple[int, ...],
        truncated: bool,
        opened: Opened,
    ) -> _Said:
        stop = self.asker.stop_ids if ending.forced else ()
        reply = Reply(thought + answer, opened, len(thought) if ending.forced else None)
        history = self.asker.chat.decoder.read_answer(answer) or ""
        n_answer = len(answer) - (bool(answer) and answer[-1] in self.asker.chat.eos_ids)
        return _Said(
            reply, thought + stop + answer, ending, history, truncated, self.prompt.ids, n_answer
        )  # fmt: skip


async def ask_all(
    asker: Asker,
    lives: Sequence[tuple[Dialogue, Budget]],
    concurrency: int,
    keep: Callable[[Sequence[TurnRow]], None],
) -> None:
    """Asks the dialogues, `concurrency` at once; `keep` is given the rows of each as it ends.

    Raises the first error after cancelling the others; what was kept stays.
    """
    from qwen3_eval.sweep import first_cause

    slots = asyncio.Semaphore(concurrency)

    async def live(dialogue: Dialogue, budget: Budget) -> None:
        try:
            keep(await asker.ask(dialogue, budget))
        finally:
            slots.release()

    try:
        async with asyncio.TaskGroup() as group:
            for dialogue, budget in lives:
                await slots.acquire()
                group.create_task(live(dialogue, budget))
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from failures
