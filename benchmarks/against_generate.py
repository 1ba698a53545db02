"""One run at one budget against bare `LLM.generate`: what records, files and asyncio add.

The bare runs get the same token ids, the same settings (`measure.ENGINE`) and the same limits, and keep
nothing. Three forms of them, since a budget is more than one plain call:

* one call with vLLM's own `thinking_token_budget`, which generates the very ids that the run here does;
* two calls, as Qwen documents it: all thinking, then all answers;
* one call with one limit, budget plus answer, where cut thinking is never answered at all.

Both engines are up at once, and take turns; an idle one takes no CPU time. Scoring is on neither side.
"""

import asyncio
from typing import Any

from measure import (
    ENGINE,
    GREEDY,
    MAX_ANSWER_TOKENS,
    NANO,
    Bench,
    Clock,
    Run,
    chain_samples,
    make_plan,
    median_wall,
    print_run,
    print_target,
    quiet_vllm,
)

from qwen3_eval.budget import format_budget
from qwen3_eval.chat import STOP_TEXTS, THINK_OPEN, Chat, load_chat
from qwen3_eval.engine.vllm import sampling_params
from qwen3_eval.types import THINKING

BUDGET = 2048
REPEATS = 3
TARGET = 1.10

Ids = tuple[int, ...]


class BareVllm:
    """vLLM's `LLM`, and nothing of ours but the settings."""

    def __init__(self, chat: Chat) -> None:
        quiet_vllm()
        from vllm import LLM
        from vllm.config import ReasoningConfig

        self._chat = chat
        self._stop_ids = chat.encode(STOP_TEXTS["docs"])
        self._llm = LLM(
            NANO,
            reasoning_parser="qwen3",
            reasoning_config=ReasoningConfig(
                reasoning_start_str=THINK_OPEN, reasoning_end_str=STOP_TEXTS["docs"]
            ),
            **ENGINE,
        )

    def with_own_budget(self, prompts: list[Ids]) -> list[Ids]:
        """One call; vLLM forces the stop text where the thinking reaches the budget."""
        limit = 1 + BUDGET + len(self._stop_ids) + MAX_ANSWER_TOKENS
        return self._generate(prompts, limit, self._chat.eos_ids, thinking_token_budget=BUDGET)

    def in_two_calls(self, prompts: list[Ids]) -> list[Ids]:
        """One call for all thinking, one for all answers; the second waits for the slowest of the first."""
        thoughts = self._generate(prompts, 1 + BUDGET, self._chat.thinking_stop_ids)
        for i, ids in enumerate(thoughts):
            if ids[-1] != self._chat.think_close_id:
                thoughts[i] = ids + self._stop_ids
        begun = [prompt + ids for prompt, ids in zip(prompts, thoughts, strict=True)]
        answers = self._generate(begun, MAX_ANSWER_TOKENS, self._chat.eos_ids)
        return [ids + answer for ids, answer in zip(thoughts, answers, strict=True)]

    def with_one_limit(self, prompts: list[Ids]) -> list[Ids]:
        """One call that stops where the turn ends or budget and answer are spent."""
        return self._generate(prompts, 1 + BUDGET + MAX_ANSWER_TOKENS, self._chat.eos_ids)

    def time(self, method: str, prompts: list[Ids]) -> Run:
        """Runs one of the methods above, from an empty prefix cache."""
        self._llm.reset_prefix_cache()
        clock = Clock()
        responses = getattr(self, method)(prompts)
        return Run(*clock.read(), sum(map(len, responses)))

    def _generate(self, prompts: list[Ids], limit: int, stops: frozenset[int], **more: Any) -> list[Ids]:
        params = sampling_params(limit, stops, GREEDY, seed=0)
        for name, value in more.items():
            setattr(params, name, value)
        from vllm import TokensPrompt

        asked = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        outputs = self._llm.generate(asked, params, use_tqdm=False)
        return [tuple(output.outputs[0].token_ids) for output in outputs]


METHODS = {
    "with_own_budget": "bare, one call, vLLM's own budget",
    "in_two_calls": "bare, two calls",
    "with_one_limit": "bare, one call, one limit",
}


def main() -> None:
    chat, samples = load_chat(NANO), chain_samples()
    prompts = [chat.render(sample.messages, THINKING).ids for sample in samples]
    plan = make_plan(chat, samples, (BUDGET,))
    print(f"one run at {format_budget(BUDGET)}: {len(samples)} questions of chain")
    with asyncio.Runner() as runner:
        bench, bare = Bench(runner, chat), BareVllm(chat)
        try:
            bare.time("with_one_limit", prompts[:8])
            ours: list[Run] = []
            theirs: dict[str, list[Run]] = {method: [] for method in METHODS}
            for _ in range(REPEATS):
                ours.append(bench.sweep(plan))
                print_run("a run here", ours[-1])
                for method, title in METHODS.items():
                    theirs[method].append(bare.time(method, prompts))
                    print_run(title, theirs[method][-1])
            for method, title in METHODS.items():
                print_target(f"a run here / {title}", median_wall(ours) / median_wall(theirs[method]), TARGET)
        finally:
            bench.close()


if __name__ == "__main__":
    main()
