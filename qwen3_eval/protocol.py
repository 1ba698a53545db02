"""What a protocol fixes, and where a sweep departs from it.

`protocol=NAME` composes configs/protocol/NAME.yaml before the settings of the command line, which win; each
one that differs is then a departure, as is each that a task's card names.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from qwen3_eval.budget import format_budget
from qwen3_eval.chat import STOP_TEXTS
from qwen3_eval.config import SweepConfig
from qwen3_eval.errors import ConfigError, did_you_mean
from qwen3_eval.task import Task
from qwen3_eval.types import BASE, NON_THINKING, THINKING, Budget, Mode, Sampling

QWEN3_REPORT = "qwen3-report"
PROTOCOLS = (QWEN3_REPORT,)

# Source: Qwen3 technical report, arXiv:2505.09388, section 4.6.
REPORT_SAMPLING = {
    THINKING: Sampling(temperature=0.6, top_p=0.95, top_k=20),
    NON_THINKING: Sampling(temperature=0.7, top_p=0.8, top_k=20, presence_penalty=1.5),
}
RULER_BUDGET = 8192  # appendix A.1, as is the factor
RULER_YARN_FACTOR = 4.0


def list_departures(
    config: SweepConfig,
    tasks: Sequence[Task],
    options: Mapping[str, Mapping[str, Any]],
    modes: Iterable[Mode],
    budgets: Sequence[Budget],
    sampling: Mapping[Mode, Sampling],
) -> list[str]:
    """Returns a sentence for each thing in which the sweep is not as its protocol says; none without one.

    Raises ConfigError for a protocol that is not known.
    """
    if not config.protocol:
        return []
    if config.protocol not in PROTOCOLS:
        raise ConfigError(
            f"protocol={config.protocol!r} is unknown{did_you_mean(config.protocol, PROTOCOLS)} allowed: "
            f"{', '.join(PROTOCOLS)}"
        )
    found = list(_of_settings(config, modes, sampling))
    for task in tasks:
        found += _of_task(config, task, options[task.name], modes, budgets)
    return found


def _of_settings(
    config: SweepConfig, modes: Iterable[Mode], sampling: Mapping[Mode, Sampling]
) -> Iterator[str]:
    for mode in modes:
        if mode == BASE:
            yield "mode=base: the report does not say how its base models sample; here they are greedy"
            continue
        for name, value in REPORT_SAMPLING[mode].as_dict().items():
            got = sampling[mode].as_dict()[name]
            if got != value:
                yield f"sampling.{mode.replace('-', '_')}.{name}={got:g}: the report has {value:g}"
    if config.max_answer_tokens is not None:
        yield (
            f"max_answer_tokens={config.max_answer_tokens}: in the report an answer has what the thinking "
            "leaves of the output limit (max_answer_tokens=null)"
        )
    if config.stop_text not in ("report", STOP_TEXTS["report"]):
        yield f"stop_text={config.stop_text}: the report's own is stop_text=report"
    if config.limit is not None:
        yield f"limit={config.limit}: the report asks every question, or a tenth of the multilingual ones"


def _of_task(
    config: SweepConfig,
    task: Task,
    options: Mapping[str, Any],
    modes: Iterable[Mode],
    budgets: Sequence[Budget],
) -> Iterator[str]:
    if config.repeats not in (None, task.repeats):
        yield f"repeats={config.repeats} answers: {task.name} takes {task.repeats} to each question"
    if config.max_output_tokens not in (None, task.max_output_tokens):
        yield f"max_output_tokens={config.max_output_tokens}: {task.name} has {task.max_output_tokens}"
    for option in task.options:
        if options[option.name] != option.default:
            yield f"options.{task.name}.{option.name}={options[option.name]}: by default {option.default}"
    if task.name == "ruler":
        if config.engine.yarn_factor != RULER_YARN_FACTOR:
            yield f"engine.yarn_factor={config.engine.yarn_factor:g}: the report's RULER has a factor of 4"
        others = [b for b in budgets if b != RULER_BUDGET]
        if THINKING in modes and others:
            shown = ", ".join(format_budget(b) if b < math.inf else "inf" for b in others)
            yield f"budget={shown}: the report's RULER has a thinking budget of 8k"
    if task.card.departures != "none":
        yield f"{task.name}: {task.card.departures}"
