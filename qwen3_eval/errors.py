"""One exception per boundary. Each message says what, where, what was got, what is allowed, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells give it."""


class QwenEvalError(Exception):
    """Anything the user can mend. The command line prints its message and exits with `exit_code`."""

    exit_code = 2


class ConfigError(QwenEvalError):
    """A setting or a command that is unknown, malformed or contradicts another."""


class DataError(QwenEvalError):
    """Benchmark rows that cannot be had, or are not what the task promises."""


class CheckpointError(QwenEvalError):
    """A model folder, its weights, its tokenizer or its chat template does not fit."""


class EngineError(QwenEvalError):
    """The engine cannot start, or cannot serve a request."""


class StoreError(QwenEvalError):
    """A run folder that cannot be read, written or continued."""


class SandboxError(QwenEvalError):
    """Programs cannot be run behind a wall on this machine, or not as asked."""


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?`, or `;` where nothing known is near `got`."""
    near = get_close_matches(got, list(known), n=3, cutoff=0.6)
    # Letters in another order are the likelier slip than a wrong one: 'aime52' is 'aime25', not 'aime26'.
    near.sort(key=lambda name: sorted(name) != sorted(got))
    return f"; did you mean '{near[0]}'?" if near else ";"
