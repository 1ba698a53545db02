"""What a sweep over eight budgets costs: against one run at the largest, and against eight runs.

All runs are greedy, on one engine, each from an empty prefix cache; the engine's start is not counted, which
spares the eight independent runs seven starts. Nested and alone take turns, for a machine drifts.
"""

import asyncio
from statistics import median

from measure import (
    BUDGETS,
    NANO,
    Bench,
    Run,
    chain_samples,
    make_plan,
    median_wall,
    print_engine_cpu,
    print_run,
    print_target,
)

from qwen3_eval.budget import Ending, format_budget
from qwen3_eval.chat import Chat, load_chat
from qwen3_eval.plan import Plan
from qwen3_eval.store import Store
from qwen3_eval.types import Budget

REPEATS = 2


def main() -> None:
    chat = load_chat(NANO)
    with asyncio.Runner() as runner:
        bench = Bench(runner, chat)
        try:
            measure_cost(bench, chat)
        finally:
            bench.close()


def measure_cost(bench: Bench, chat: Chat) -> None:
    samples, largest = chain_samples(), BUDGETS[-1]
    print(f"nested sweep: {len(samples)} questions of chain, budgets {', '.join(map(str, BUDGETS))}")
    nested, alone = [], []
    for _ in range(REPEATS):
        nested.append(bench.sweep(make_plan(chat, samples, BUDGETS)))
        print_run("nested over 8 budgets", nested[-1])
        alone.append(run_alone(bench, make_plan(chat, samples, (largest,)), largest)[0])
    runs, needed = [], Needed()
    for budget in BUDGETS:
        run, endings, thinking = run_alone(bench, make_plan(chat, samples, (budget,)), budget)
        runs.append(run)
        needed.add(endings, thinking)
    alone.append(runs[-1])  # the eighth is one more run at the largest budget

    independent_s = sum(run.wall_s for run in runs)
    print_target("nested / one run at 4k", median_wall(nested) / median_wall(alone), 1.35)
    print_target("nested / eight independent runs", median_wall(nested) / independent_s, 0.40)
    nested_cpu_s = median(run.engine_cpu_s for run in nested)
    alone_cpu_s = median(run.engine_cpu_s for run in alone)
    print_engine_cpu("nested / one run at 4k", nested_cpu_s / alone_cpu_s)
    print_engine_cpu("nested / eight independent", nested_cpu_s / sum(run.engine_cpu_s for run in runs))
    print_tokens("nested", nested[0].thinking_tokens, nested[0].answer_tokens)
    print_tokens("least that any method could generate", needed.thinking_tokens, needed.answer_tokens)
    print_tokens(
        "eight independent runs", sum(r.thinking_tokens for r in runs), sum(r.answer_tokens for r in runs)
    )


class Needed:
    """The least that any method could generate, from independent runs.

    A question's thinking at its largest budget, and each distinct answer once: budgets that end alike share
    their answer, a budget that cuts has its own.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, Ending], int] = {}
        self.thinking_tokens = 0

    def add(self, endings: dict[tuple[str, Ending], int], thinking_tokens: int) -> None:
        self._answers |= endings
        self.thinking_tokens = max(self.thinking_tokens, thinking_tokens)

    @property
    def answer_tokens(self) -> int:
        return sum(self._answers.values())


def run_alone(bench: Bench, plan: Plan, budget: Budget) -> tuple[Run, dict[tuple[str, Ending], int], int]:
    """Returns a run at one budget, the answer tokens of each (question, ending), and its thinking tokens."""
    folder = bench.next_folder()
    run = bench.sweep_into(plan, folder)
    print_run(f"alone at {format_budget(budget)}", run)
    query = (
        "SELECT s.sample_id, g.forced, g.start, g.tokens FROM generations g "
        "JOIN rollouts r ON r.id = g.rollout JOIN samples s ON s.id = r.sample WHERE g.kind = 'answer'"
    )
    with Store.read(folder) as store:
        endings = {
            (row["sample_id"], Ending("forced" if row["forced"] else "natural", row["start"])): row["tokens"]
            for row in store.query(query)
        }
    return run, endings, run.thinking_tokens


def print_tokens(name: str, thinking: int, answers: int) -> None:
    print(f"{name:<40} {thinking:>10,} thinking tokens {answers:>9,} answer tokens")


if __name__ == "__main__":
    main()
