"""The nested sweep: every question once per repeat, one trace, an answer at every budget."""

import asyncio
from collections.abc import Iterator, Sequence

from qwen3_eval.chat import Chat
from qwen3_eval.engine.base import Engine
from qwen3_eval.errors import QwenEvalError
from qwen3_eval.plan import Plan, Progress, Questions
from qwen3_eval.rollout import Asked, Rollouts
from qwen3_eval.store import RolloutKey, Store
from qwen3_eval.types import Budget


async def run_sweep(plan: Plan, chat: Chat, engine: Engine, store: Store, progress: Progress) -> None:
    """Generates whatever `plan` asks and the store lacks; each engine call is committed as it returns.

    Raises the first error of a rollout after cancelling the others; what was committed stays.
    """
    slots = asyncio.Semaphore(plan.concurrency)
    rollouts = Rollouts(plan, chat, engine, store, progress)
    try:
        async with asyncio.TaskGroup() as group:
            for questions, asked, key, budgets in _walk(plan):
                await slots.acquire()
                task = group.create_task(rollouts.roll_out(questions, asked, key, budgets))
                task.add_done_callback(lambda _: slots.release())
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from failures


def _walk(plan: Plan) -> Iterator[tuple[Questions, Asked, RolloutKey, Sequence[Budget]]]:
    """Depth-first: all of one question, then the next, so that its prompt stays in the prefix cache."""
    for questions in plan.questions:
        for sample in questions.samples:
            asked = Asked(sample)
            for mode in plan.modes:
                for repeat in range(questions.repeats):
                    for lane, budgets in plan.lanes(mode):
                        key = RolloutKey(questions.task, sample.sample_id, mode, repeat, lane)
                        yield questions, asked, key, budgets


def first_cause(failures: BaseExceptionGroup[BaseException]) -> BaseException:
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
