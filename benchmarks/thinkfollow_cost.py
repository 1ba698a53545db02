"""What the check of ThinkFollow costs: its dialogues against the same turns generated without it.

Both ask the box model greedily, turn by turn, each from an empty prefix cache. Without the check a turn is
one request, up to its end; with it block and answer are two, each turn is judged, and each dialogue kept.
CPU time stands beside the wall: where others use the machine, it tells what the work itself took.
`python benchmarks/thinkfollow_cost.py 100` asks fewer dialogues.
"""

import asyncio
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from measure import GREEDY, MAX_ANSWER_TOKENS, N_QUESTIONS, NANO, Bench, Clock, print_target

from qwen3_eval.chat import STOP_TEXTS, Chat, load_chat
from qwen3_eval.thinkfollow.ask import Asker, ask_all
from qwen3_eval.thinkfollow.dialogues import Dialogue, draw_dialogues, read_bank
from qwen3_eval.thinkfollow.journal import open_journal
from qwen3_eval.thinkfollow.turn_row import TurnRow
from qwen3_eval.types import NON_THINKING, THINKING

N_DIALOGUES, N_TURNS, REPEATS = 1000, 4, 2
Cost = tuple[float, float, float]
"""Wall, CPU time of this process, and that of vLLM's, in seconds."""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else N_DIALOGUES
    chat = load_chat(NANO)
    with asyncio.Runner() as runner:
        bench = Bench(runner, chat)
        try:
            measure_cost(runner, bench, chat, count)
        finally:
            bench.close()


def measure_cost(runner: asyncio.Runner, bench: Bench, chat: Chat, count: int) -> None:
    dialogues = draw_dialogues(read_bank(), count, 0, turns=(N_TURNS, N_TURNS))
    sampling = {THINKING: GREEDY, NON_THINKING: GREEDY}
    stop_ids = chat.encode(STOP_TEXTS["docs"])
    asker = Asker(chat, bench.engine, sampling, stop_ids, MAX_ANSWER_TOKENS, 4096, 0)
    print(f"thinkfollow: {count:,} dialogues of {N_TURNS} turns")
    checked: list[Cost] = []
    bare: list[Cost] = []
    for _ in range(REPEATS):
        runner.run(bench.engine._llm.reset_prefix_cache())
        clock, rows = Clock(), runner.run(_ask(asker, dialogues))
        checked.append(clock.read())
        _print_cost("with the check", checked[-1], sum(len(row.ids) for row in rows))
        runner.run(bench.engine._llm.reset_prefix_cache())
        clock, n_tokens = Clock(), runner.run(_generate(asker, dialogues))
        bare.append(clock.read())
        _print_cost("without it", bare[-1], n_tokens)
    for what, of in (("wall", lambda cost: cost[0]), ("CPU time", lambda cost: cost[1] + cost[2])):
        ratio = median(map(of, checked)) / median(map(of, bare))
        print_target(f"with the check / without, {what}", ratio, 1.3)


def _print_cost(what: str, cost: Cost, n_tokens: int) -> None:
    wall_s, own_s, engine_s = cost
    cpu = f"CPU {own_s:.1f} s here, {engine_s:.1f} s in vLLM"
    print(f"  {what}: {wall_s:.1f} s ({cpu}), {n_tokens:,} tokens", flush=True)


async def _ask(asker: Asker, dialogues: Sequence[Dialogue]) -> list[TurnRow]:
    with TemporaryDirectory() as folder:
        journal = open_journal(Path(folder), {})
        lives = [(dialogue, math.inf) for dialogue in dialogues]
        await ask_all(asker, lives, N_QUESTIONS, journal.keep)
        return journal.rows


async def _generate(asker: Asker, dialogues: Sequence[Dialogue]) -> int:
    slots = asyncio.Semaphore(N_QUESTIONS)
    chat, n_tokens = asker.chat, 0

    async def converse(dialogue: Dialogue) -> None:
        nonlocal n_tokens
        answers: list[str] = []
        async with slots:
            for _ in dialogue.turns:
                prompt = chat.render(dialogue.messages(answers), dialogue.hard)
                got = await asker.engine.generate(prompt.ids, 4096, chat.eos_ids, GREEDY, 0)
                answers.append(chat.decoder.read_answer(got.token_ids) or "")
                n_tokens += len(got.token_ids)

    await asyncio.gather(*map(converse, dialogues))
    return n_tokens


if __name__ == "__main__":
    main()
