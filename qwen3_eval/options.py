"""What a task leaves to its user, `options.<task>.<name>=`: read from its function's signature."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from qwen3_eval.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Option:
    """One choice; without `allowed`, any value of the default's type is."""

    name: str
    default: Any
    allowed: tuple[Any, ...] = ()


def find_options(function: Callable[..., Any]) -> list[Option]:
    """Returns an option for each keyword-only parameter; a Literal lists what is allowed."""
    found = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            literal = get_origin(parameter.annotation) is Literal
            allowed = get_args(parameter.annotation) if literal else ()
            found.append(Option(parameter.name, parameter.default, allowed))
    return found


def read_options(task: str, options: Sequence[Option], given: object) -> dict[str, Any]:
    """Returns every option of the task, as `given` by name or by default. Raises ConfigError for a wrong one.

    A default that is a tuple takes any list, one that is None any value.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"options.{task}={given!r} names no option; write options.{task}.NAME=VALUE")
    known = {option.name: option for option in options}
    chosen = {option.name: option.default for option in options}
    for name, value in given.items():
        where = f"options.{task}.{name}"
        if name not in known:
            raise ConfigError(
                f"unknown setting '{where}'{did_you_mean(name, known)} task '{task}' has: {', '.join(known)}"
            )
        chosen[name] = _read_value(where, known[name], value)
    return chosen


def _read_value(where: str, option: Option, value: Any) -> Any:
    if option.allowed:
        if value not in option.allowed:
            raise ConfigError(f"{where}={value!r} is not allowed; give {', '.join(map(str, option.allowed))}")
        return value
    if option.default is None:
        return value
    if isinstance(option.default, tuple):
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    if isinstance(option.default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wrong_kind = isinstance(value, bool) != isinstance(option.default, bool)
    if wrong_kind or not isinstance(value, type(option.default)):
        raise ConfigError(f"{where}={value!r} is not allowed; give one like the default, {option.default!r}")
    return value
