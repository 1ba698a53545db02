"""How many questions and repeats a number rests on, in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def format_counts(n_questions: int, n_repeats: int) -> str:
    """Returns `300 × 2` for 300 questions asked twice, `300` for once."""
    return f"{n_questions:,}" + (f" × {n_repeats}" if n_repeats > 1 else "")


def say_counts(frame: "pd.DataFrame") -> str:
    """Returns `n = 300 questions, 2 repeats of each, averaged first.`, or ranges where rows differ.

    `frame` has the columns n_questions and n_repeats.
    """
    questions = _say_range(frame["n_questions"].min(), frame["n_questions"].max(), "question")
    repeats = _say_range(frame["n_repeats"].min(), frame["n_repeats"].max(), "repeat")
    averaged = "" if frame["n_repeats"].max() < 2 else " of each, averaged first"
    return f"n = {questions}, {repeats}{averaged}."


def _say_range(low: int, high: int, noun: str) -> str:
    numbers = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    return f"{numbers} {noun}{'' if high == 1 else 's'}"
