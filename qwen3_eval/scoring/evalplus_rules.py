"""EvalPlus' rules: what its inputs are, what counts as the right output, and how long an answer may take.

Nothing here runs a program, and no comparison takes long, whatever an answer returned: outputs are built-in
values, and each step is bounded by the size of the expected output or by a fixed one.

Source: EvalPlus 0.3.1 (Liu et al. 2023, arXiv:2305.01210), evalplus/data/mbpp.py for the inputs,
evalplus/eval/__init__.py and _special_oracle.py for the outputs. One thing differs: there HumanEval/32 never
passes, as its oracle skips the line that counts an input as passed.
"""

import cmath
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

RTOL = 1e-7
FLOAT_ATOL = 1e-6
"""The absolute tolerance of a problem that states none, from its first expected float on."""

UNSEEN = object()
"""Stands for an output that is not None, but no plain value either, as the match of a regular expression."""

MAX_SET_ITEMS = 10_000
"""How many more items than expected an output may have that is compared as a set."""


def read_inputs(task_id: str, inputs: Any) -> list[list[Any]]:
    """Returns the arguments of each call. JSON has no tuple, set or complex number; MBPP+'s are put back.

    `inputs` is a row's `base_input` or `plus_input`: a list with a list of arguments for each call, or an
    empty mapping (Mbpp/793 has no further inputs).
    """
    source, _, number = task_id.partition("/")
    restore = _RESTORE.get(int(number), ()) if source == "Mbpp" else ()
    if callable(restore):
        return [[restore(argument) for argument in arguments] for arguments in inputs]
    return [
        [
            argument if change is None else change(argument)
            for argument, change in zip_longest(arguments, restore[: len(arguments)])
        ]
        for arguments in inputs
    ]


def expected_from(task_id: str, entry_point: str, output: Any) -> Any:
    """Returns what an answer is held to, given the reference's output: mostly that output."""
    return output is not None if only_asks_for_a_value(task_id, entry_point) else output


def only_asks_for_a_value(task_id: str, entry_point: str) -> bool:
    """True where any output but None will do, even one that is no plain value."""
    return task_id.startswith("Mbpp/") and entry_point in _NOT_NONE


def tolerances(expected: Sequence[Any], atol: float) -> list[float]:
    """Returns the absolute tolerance of each output, in order; 0 asks for equality.

    Where the row has none, floats get 1e-6, and so does every output after them, as in EvalPlus' own loop.
    """
    found = []
    for output in expected:
        if atol == 0 and _is_floats(output):
            atol = FLOAT_ATOL
        found.append(atol)
    return found


def is_right(
    task_id: str, entry_point: str, arguments: Sequence[Any], output: Any, expected: Any, atol: float
) -> bool:
    """Returns whether `output` is right: equal, close enough, or right by the problem's own oracle.

    `expected` is what `expected_from` gave, `atol` what `tolerances` did. Never raises.
    """
    try:
        if task_id.startswith("HumanEval/") and entry_point == "find_zero":
            return bool(abs(_evaluate_polynomial(arguments[0], output)) <= atol)
        exact = _is_exact(task_id, entry_point, arguments, output, expected, atol)
        return exact or (atol != 0 and type(output) is type(expected) and is_close(output, expected, atol))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return False


def is_close(output: Any, expected: Any, atol: float) -> bool:
    """Returns whether two numbers, or lists of them alike in shape, differ by at most atol + rtol |expected|.

    Infinities are close to themselves only, and what is not a number is close to nothing, NaN included.
    """
    if isinstance(expected, list | tuple):
        return (
            isinstance(output, list | tuple)
            and len(output) == len(expected)
            and all(is_close(o, e, atol) for o, e in zip(output, expected, strict=True))
        )
    if not (isinstance(output, int | float | complex) and isinstance(expected, int | float | complex)):
        return False
    if output == expected:
        return True
    if not (cmath.isfinite(output) and cmath.isfinite(expected)):
        return False
    return bool(abs(output - expected) <= atol + RTOL * abs(expected))


def find_limits(
    times_s: Sequence[float], floor_s: float, factor: float, ceiling_s: float
) -> tuple[float, float]:
    """Returns the seconds that one call may take, and all together, given what the reference took for each.

    A call: `factor` times the reference's slowest, at least `floor_s`. All: what the calls may take at most,
    counted one by one, but no more than the ceiling, and a second on top. Where the reference itself is slow,
    `factor` times its time may be more than the ceiling, so that a slow machine fails no right answer.
    Source: EvalPlus 0.3.1, untrusted_check; there each call has a limit of its own, and the ceiling holds.
    """
    limits_s = [max(floor_s, factor * time_s) for time_s in times_s]
    return max(limits_s), max(min(ceiling_s, sum(limits_s)), factor * sum(times_s)) + 1


def _is_exact(
    task_id: str, entry_point: str, arguments: Sequence[Any], output: Any, expected: Any, atol: float
) -> bool:
    if not task_id.startswith("Mbpp/"):
        return bool(output == expected)
    if entry_point in _NOT_NONE:
        return bool((output if isinstance(output, bool) else output is not None) == expected)
    if entry_point in _AS_SETS:
        items = list(islice(output, len(expected) + MAX_SET_ITEMS + 1))
        return len(items) <= len(expected) + MAX_SET_ITEMS and set(items) == set(expected)
    if output == expected:
        return True
    match entry_point:
        case "are_equivalent":  # Mbpp/164, whose reference is wrong
            return True
        case "sum_div":  # Mbpp/295, where a number may count among its divisors or not
            return bool(output == 0)
        case "surface_Area":  # Mbpp/581, "height" as the pyramid's and not as that of its faces
            return bool(abs(output - _pyramid_surface(*arguments)) <= atol)
        case "digit_distance_nums":  # Mbpp/558, the shorter number filled up with zeros
            return bool(output == _digit_distance(*arguments))
    return False


def _evaluate_polynomial(coefficients: Sequence[float], x: float) -> float:
    return sum(c * math.pow(x, i) for i, c in enumerate(coefficients))


def _pyramid_surface(base: float, height: float) -> int:
    slant = math.hypot(base / 2, height)
    return round(base**2 + 2 * base * slant)


def _digit_distance(first: int, second: int) -> int:
    width = max(len(str(first)), len(str(second)))
    pairs = zip(str(first).zfill(width), str(second).zfill(width), strict=True)
    return sum(abs(int(a) - int(b)) for a, b in pairs)


def _is_floats(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return bool(items) and all(isinstance(item, float) for item in items)


# Problems whose reference returns a match, or a list in no order of its own.
_NOT_NONE = frozenset({"check_str", "text_match_three", "text_starta_endb"})
_AS_SETS = frozenset({
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
})  # fmt: skip

_Change = Callable[[Any], Any] | None


def _items_to_tuples(value: Any) -> list[Any]:
    return [tuple(item) for item in value]


def _both_to_tuples(value: Any) -> tuple[Any, ...]:
    return tuple(tuple(item) for item in value)


def _lists_to_tuples(value: Any) -> Any:
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value


def _records_to_tuples(value: Any) -> tuple[Any, ...]:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def _items_to_sets(value: Any) -> list[Any]:
    return [set(item) if isinstance(item, list) and item else {} for item in value]


def _values_to_tuples(value: Any) -> dict[Any, Any]:
    return {key: tuple(item) for key, item in value.items()}


# By MBPP number: how every argument changes, or how the first ones do. Some numbers are of older releases.
_EVERY: dict[Callable[[Any], Any], tuple[int, ...]] = {
    tuple: (
        2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744,
        809,
    ),
    _items_to_tuples: (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
    _both_to_tuples: (259, 401, 445),
    _lists_to_tuples: (580, 615, 791),
}  # fmt: skip
_FIRST: dict[tuple[_Change, ...], tuple[int, ...]] = {
    (tuple,): (250, 307, 405, 446, 617, 720, 763, 808),
    (_items_to_tuples,): (75, 413, 444, 753),
    (_items_to_sets,): (115,),
    (_records_to_tuples,): (278,),
    (_values_to_tuples,): (722,),
    (complex,): (252,),
    (float, complex): (124,),
    (None, tuple): (106, 750),
}
_RESTORE: Mapping[int, Callable[[Any], Any] | tuple[_Change, ...]] = {
    **{number: change for change, numbers in _EVERY.items() for number in numbers},
    **{number: changes for changes, numbers in _FIRST.items() for number in numbers},
}
