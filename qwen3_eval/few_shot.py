"""The form of mode `base`: solved examples, then the question, as text that a model goes on from."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from qwen3_eval.data import Row
from qwen3_eval.types import Completion


@dataclass(frozen=True)
class FewShot:
    """How a task is asked of a base model: `n` examples, each `ask(row) + answer(row)`, then `ask(row)`.

    `stop` ends the answer. The examples are rows of `split`, which has `split_rows` rows, with the columns
    that the task reads; without one they are rows of the task itself, the question's own left out. They share
    what `within` returns, as a subject, and are those rows that `usable` lets pass.
    """

    n: int
    ask: Callable[[Row], str]
    answer: Callable[[Row], str]
    stop: tuple[str, ...]
    split: str = ""
    split_rows: int = 0
    within: Callable[[Row], Hashable] = lambda row: ""
    usable: Callable[[Row], bool] = lambda row: True


class Examples:
    """The rows to draw examples from, each group in a pseudo-random order that never changes."""

    def __init__(self, form: FewShot, rows: Iterable[tuple[str, Row]]) -> None:
        self._form = form
        self._groups: dict[Hashable, list[tuple[str, Row]]] = {}
        usable = ((row_id, row) for row_id, row in rows if form.usable(row))
        for row_id, row in sorted(usable, key=lambda found: hashlib.sha256(found[0].encode()).digest()):
            self._groups.setdefault(form.within(row), []).append((row_id, row))

    def compose(self, row_id: str, row: Row) -> Completion:
        """Returns the question of a row after its examples; where there are too few, all there are."""
        form = self._form
        known = self._groups.get(form.within(row), [])[: form.n + 1]
        own = "" if form.split else row_id
        shown = [example for example_id, example in known if example_id != own][: form.n]
        parts = [*(form.ask(example) + form.answer(example) for example in shown), form.ask(row)]
        return Completion("\n\n".join(parts), form.stop)


def ask_choice(question: str, choices: Sequence[str]) -> str:
    """Returns a question with its lettered choices, which asks for one letter.

    Source: the form of Hendrycks et al. 2021, arXiv:2009.03300, figure 1.
    """
    lettered = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCDEFGHIJ", choices, strict=False))
    return f"{question.strip()}\n{lettered}\nAnswer:"


CHOICE_STOP = ("\n",)
