"""What a gate asks for, read from its settings and checked."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qwen3_eval.config import GateRules
from qwen3_eval.errors import ConfigError, did_you_mean

DEFAULT = "default"


@dataclass(frozen=True)
class Rules:
    """A gate's rules. `max_drop` has a tolerance for each task, in score units."""

    max_drop: Mapping[str, float]
    alpha: float
    max_error: float
    inconclusive: str
    max_thinking_tokens: float | None
    max_forced: float | None


def read_rules(rules: GateRules, tasks: Iterable[str]) -> Rules:
    """Returns the rules for these tasks. Raises ConfigError that names the setting."""
    if rules.inconclusive not in ("", "pass", "fail"):
        raise ConfigError(
            f"gate.inconclusive={rules.inconclusive!r} is not allowed; write pass, which exits with 0, or "
            "fail, which exits with 1; without it an undecided gate exits with 3"
        )
    alpha = _number("gate.alpha", rules.alpha, 0.5)
    if not 0 < alpha < 0.5:
        raise ConfigError(f"gate.alpha={alpha:g} is not allowed; give a chance above 0 and below 0.5")
    tokens, forced = rules.max_thinking_tokens, rules.max_forced
    return Rules(
        _read_max_drop(rules.max_drop, list(tasks)),
        alpha,
        _number("gate.max_error", rules.max_error, 1.0),
        rules.inconclusive,
        None if tokens is None else _number("gate.max_thinking_tokens", tokens, math.inf),
        None if forced is None else _number("gate.max_forced", forced, 1.0),
    )


def _read_max_drop(given: Any, tasks: list[str]) -> dict[str, float]:
    name = "gate.max_drop"
    by_task = _as_mapping(given)
    if by_task is None:
        tolerance = _number(name, given, 1.0)
        return dict.fromkeys(tasks, tolerance)
    for task in by_task:
        if task not in (*tasks, DEFAULT):
            raise ConfigError(
                f"{name} has task '{task}', which is not judged{did_you_mean(task, tasks)} judged: "
                f"{', '.join(tasks)}"
            )
    found = {}
    for task in tasks:
        if task not in by_task and DEFAULT not in by_task:
            raise ConfigError(
                f"{name} has no tolerance for task '{task}'; add {task}:0.01, or {DEFAULT}:0.01 for the rest"
            )
        found[task] = _number(f"{name} of {task}", by_task.get(task, by_task.get(DEFAULT)), 1.0)
    return found


def _as_mapping(given: Any) -> dict[str, Any] | None:
    """Returns tolerances by task: a mapping, or the text `gsm8k:0.02,chain:0.01`; None of a plain number."""
    if isinstance(given, Mapping):
        return {str(task): value for task, value in given.items()}
    if not isinstance(given, str) or ":" not in given:
        return None
    pairs = [pair.rpartition(":") for pair in given.strip("{} ").split(",")]
    return {task.strip(): value.strip() for task, _, value in pairs}


def _number(name: str, given: Any, most: float) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(given, bool) or not 0 <= value <= most or math.isinf(value):
        allowed = f"0 to {most:g}" if most < math.inf else "0 or more"
        raise ConfigError(f"{name}={given!r} is not allowed; give a number, {allowed}, as 0.01")
    return value
