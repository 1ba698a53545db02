"""What several tests of sweeps share: running one, and reading back what it generated."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from conftest import RunningVllm

from qwen3_eval.budget import Ending, find_ending, parse_budget
from qwen3_eval.chat import Chat
from qwen3_eval.model.nano_lessons import Dialogue
from qwen3_eval.plan import Plan
from qwen3_eval.store import Store
from qwen3_eval.sweep import run_sweep
from qwen3_eval.types import THINKING, Budget, Generation, Message, Sampling

Response = tuple[int, ...]


class Silent:
    """A progress display that shows nothing."""

    def on_generation(self, generation: Generation, ending: Ending | None) -> None: ...
    def on_rollout(self, *, reused: bool) -> None: ...


def sweep_on(vllm: RunningVllm, chat: Chat, plan: Plan, folder: Path) -> None:
    """Runs a sweep on the session's engine, into a run folder."""
    sweep_all_on(vllm, chat, {folder: plan})


def sweep_all_on(vllm: RunningVllm, chat: Chat, plans: Mapping[Path, Plan]) -> None:
    """Runs several sweeps at once: the long traces at the end of one leave the engine room for another's."""
    with ExitStack() as stack:
        sweeps = []
        for folder, plan in plans.items():
            store = stack.enter_context(Store.open(folder, create=True))
            store.write_meta("tokenizer.json", chat.decoder.tokenizer_json)
            store.start_session(vllm.engine.describe())
            sweeps.append(run_sweep(plan, chat, vllm.engine, store, Silent()))

        async def run_all() -> None:
            await asyncio.gather(*sweeps)

        vllm.run(run_all(), timeout_s=1200)


def read_openings(
    vllm: RunningVllm, chat: Chat, dialogues: Sequence[Dialogue], sampling: Sampling
) -> list[str]:
    """Returns the first four tokens of the reply to each dialogue, which show whether it thinks."""

    async def ask() -> list[Response]:
        prompts = [
            chat.render([Message(m["role"], m["content"]) for m in d.messages], THINKING).ids
            for d in dialogues
        ]
        calls = (vllm.engine.generate(ids, 4, chat.eos_ids, sampling, i) for i, ids in enumerate(prompts))
        return [generation.token_ids for generation in await asyncio.gather(*calls)]

    return [chat.decoder.decode(ids, keep_special=True) for ids in vllm.run(ask())]


def read_responses(folder: Path, plan: Plan) -> dict[tuple[str, int, Budget], Response]:
    """Returns the whole response of each (sample, repeat, budget), as a run at that budget alone gives it.

    Only thinking rollouts are read, of models whose template leaves `<think>` to them.
    """
    query = (
        "SELECT r.id, r.lane, r.repeat, r.thinking_limit, s.sample_id "
        "FROM rollouts r JOIN samples s ON s.id = r.sample WHERE r.mode = 'thinking'"
    )
    found: dict[tuple[str, int, Budget], Response] = {}
    with Store.read(folder) as store:
        for row in list(store.query(query)):
            trace, raw = store.read_trace(row["id"], 0), store.read_trace_ids(row["id"])
            for budget in [parse_budget(row["lane"])] if row["lane"] else plan.budgets:
                ending = find_ending(trace, budget, row["thinking_limit"])
                assert ending is not None
                assert ending.answered, f"{row['sample_id']} is unclosed at {budget}"
                answer = store.read_answer(row["id"], ending)
                assert answer is not None
                kept = raw[: 1 + ending.thinking_tokens] + plan.stop_ids if ending.forced else raw
                found[row["sample_id"], row["repeat"], budget] = kept + answer.ids
    return found
