r"""The math scorer on answers written to mislead it, or in another script or locale; each worked by hand."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.scoring.math import ANSWER_IS, ANSWER_LINE, HASHES, extract, judge, math_scorer
from qwen3_eval.types import Sample

FORMS = (HASHES, ANSWER_LINE, ANSWER_IS)


@pytest.mark.parametrize(
    ("text", "target", "outcome"),
    [
        (r"\boxed{41} or \boxed{42}", "42", "correct"),
        (r"\boxed{42} or \boxed{41}", "42", "incorrect"),
        (r"\boxed{42}, \boxed{}", "42", "no_answer"),
        (r"\boxed{42}, \boxed{41", "42", "correct"),
        (r"\boxed{\boxed{\boxed{42}}}", "42", "correct"),
        (r"\boxed{x = \boxed{\boxed{42}}}", "42", "correct"),
        (r"\boxed{\frac{\boxed{1}}{\boxed{\boxed{2}}}}", "0.5", "correct"),
        (r"\boxed{\boxed{\boxed{1}+\boxed{41}}}", "42", "correct"),
        (r"\boxed{\boxed{41} \boxed{\boxed{42}}}", "42", "incorrect"),
        (r"\boxed{\boxed{\boxed{42}", "42", "correct"),
        (r"\boxed{\boxed{\boxed{4}2", "42", "incorrect"),
        (r"\boxed{\fbox{$\boxed{42}$}}", "42", "correct"),
    ],
)
def test_several_boxes_and_boxes_in_boxes(text: str, target: str, outcome: str) -> None:
    """The last closed box counts, and of nested ones the outermost that closes, with all it holds."""
    verdict = math_scorer()(Sample("s", (), target), text)
    assert verdict.outcome == outcome, verdict


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("４２", "42"),
        ("－４２", "-42"),
        ("１，０００", "1000"),
        ("３．５", "3.5"),
        ("４／５", "0.8"),
        ("５０％", "50"),
        ("٤٢", "42"),
        ("۴۲", "42"),
        ("-٤٢", "-42"),
        ("\u200f٤٢\u200f", "42"),
        ("٤٫٢", "4.2"),
        ("١٬٠٠٠٫٥", "1000.5"),
        ("٥٠٪", "50"),
        (r"\frac{١}{٢}", "0.5"),
        ("४२", "42"),
        ("\u200b42\ufeff", "42"),
        ("42。", "42"),
        ("−42", "-42"),
        ("–42", "-42"),
        ("‐42", "-42"),
        ("\u201142", "-42"),
        ("x − 1", "x-1"),
        ("10^{−3}", "0.001"),
    ],
)
def test_digits_and_signs_of_other_scripts(written: str, target: str) -> None:
    """Full-width, Arabic-Indic, Persian and Devanagari digits, their marks and every minus are read."""
    assert judge(written, target).outcome == "correct", judge(written, target)
    assert judge(written, "41").outcome == "incorrect"


@pytest.mark.parametrize("written", ["四十二", "XLII", "④②", "42 元", "٤٢ سم"])
def test_numerals_and_units_that_are_not_read(written: str) -> None:
    """What is out of scope is incorrect, never an error and never a guess."""
    assert judge(written, "42").outcome == "incorrect"


@pytest.mark.parametrize(
    "gap", ["\u202f", "\u2009", "\u00a0", "\u2007", " ", "’", "'", r"\,", r"\ ", "~", ","]
)
def test_digits_are_grouped_by_three(gap: str) -> None:
    """A space of any width, an apostrophe or a comma groups threes; before other digits it parts numbers."""
    for written, target in (("1_000", "1000"), ("12_345_678", "12345678"), ("-1_000.5", "-1000.5")):
        assert judge(written.replace("_", gap), target).outcome == "correct", written
    assert judge(f"1{gap}000 km", "1000").outcome == "correct"
    if gap in ("’", "'"):
        return  # math-verify reads primes, and drops them
    for written, target in (("1_00", "100"), ("1_2", "12"), ("1000_000", "1000000"), ("1_0000", "10000")):
        assert judge(written.replace("_", gap), target).outcome == "incorrect", written


@pytest.mark.parametrize(
    ("written", "target", "outcome"),
    [
        ("1,000", "1000", "correct"),
        ("1,000", "1", "incorrect"),
        ("1.000", "1", "correct"),
        ("1.000", "1000", "incorrect"),
        ("1000", "1.000", "incorrect"),
        ("1,234.5", "1234.5", "correct"),
        ("1.234,5", "1234.5", "incorrect"),
        ("1.234.567", "1234567", "correct"),
        ("1.234.56", "123456", "incorrect"),
        ("1,5", "1.5", "incorrect"),
        ("1,5", "1, 5", "correct"),
        ("0.500", "0.5", "correct"),
        ("1 234/5", "1234/5", "incorrect"),
        ("100, 200", "100200", "incorrect"),
    ],
)
def test_the_comma_groups_and_the_point_is_decimal(written: str, target: str, outcome: str) -> None:
    """1,000 is a thousand and 1.000 is one in every language; only what has one reading is read otherwise."""
    assert judge(written, target).outcome == outcome, judge(written, target)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("The answer is ４２.", "４２"),
        ("The answer is －٤٢", "－٤٢"),
        ("the answer is −42", "−42"),
        ("The answer is 1\u202f000 km", "1\u202f000"),
        ("The answer is 1’000’000.", "1’000’000"),
        ("The answer is 1 000.", "1 000"),
        ("The answer is 1.000.", "1.000"),
        ("The answer is ٣٫٥", "٣٫٥"),
        ("The answer is 12 34.", "12"),
        ("#### ۴۲", "۴۲"),
    ],
)
def test_numbers_without_a_box(text: str, expression: str) -> None:
    """The forms without a box read the same digits, signs and groups."""
    assert extract(text, FORMS)[0] == expression


@pytest.mark.parametrize(
    ("written", "target", "outcome"),
    [
        ("42 cm", "42", "correct"),
        ("42cm", "42", "correct"),
        (r"42\,\mathrm{m/s}", "42", "correct"),
        ("42km/h", "42", "correct"),
        (r"\text{42 cm}", "42", "correct"),
        (r"42\text{ cm}^2", "42", "correct"),
        (r"42\text{ cm}^2", "1764", "incorrect"),
        ("42", r"42\text{ cm}", "correct"),
        ("€42", "42", "correct"),
        ("42 €", "42", "correct"),
        ("42 thousand", "42", "incorrect"),
        ("42x", "42", "incorrect"),
        ("42 x", "42", "incorrect"),
        ("50%", "0.5", "correct"),
        ("50 percent", "50", "correct"),
        (r"12.5\%", r"\frac{1}{8}", "correct"),
        ("0.5", "50%", "correct"),
        ("50%", "5000", "incorrect"),
        ("50%", "0.5%", "incorrect"),
        ("0.5%", "50", "incorrect"),
    ],
)
def test_units_and_percentages(written: str, target: str, outcome: str) -> None:
    """Units go, words of scale count, and a percentage is its number or its share, not a hundred times it."""
    assert judge(written, target).outcome == outcome, judge(written, target)


@pytest.mark.parametrize(
    ("written", "target", "outcome"),
    [
        ("[1, 2]", "[1,2]", "correct"),
        (r"\left[1,2\right)", "[1,2)", "correct"),
        ("[0.5, 2]", r"[\frac{1}{2}, 2]", "correct"),
        (r"x \in [1,2]", "[1,2]", "correct"),
        (r"[3,4] \cup [1,2]", r"[1,2] \cup [3,4]", "correct"),
        ("(-∞, 2)", r"(-\infty, 2)", "correct"),
        ("[１, ２]", "[1,2]", "correct"),
        ("[1,2)", "[1,2]", "incorrect"),
        ("(1,2]", "[1,2]", "incorrect"),
        ("(1,2)", "[1,2]", "incorrect"),
        ("[1,2]", "(1,2)", "incorrect"),
        ("[2,1]", "[1,2]", "incorrect"),
        ("1,2", "[1,2]", "incorrect"),
        ("[1,2]", r"[1,2] \cup [3,4]", "incorrect"),
        (r"(-\infty, 2]", r"(-\infty, 2)", "incorrect"),
    ],
)
def test_intervals(written: str, target: str, outcome: str) -> None:
    """Ends and whether they belong to it make an interval; the order of a union does not."""
    assert judge(written, target).outcome == outcome, judge(written, target)


@pytest.mark.parametrize(
    "unit", ["\\boxed{", "{", "}", "1 000 ", "1’", "1.000", "-", "٤٢", "\u200f", "\\", "{{1}"]
)
def test_a_hundred_kilobytes_in_a_box_cost_little(unit: str) -> None:
    """Whatever is repeated, before the box or in it, the verdict comes soon."""
    start = time.process_time()
    garbage = unit * (100_000 // len(unit))
    for text in (f"{garbage}\\boxed{{42}}", f"\\boxed{{{garbage}}}", f"\\boxed{{{garbage[:900]}}}", garbage):
        verdict = math_scorer(fallback=FORMS)(Sample("s", (), "42"), text)
        assert verdict.outcome in ("correct", "incorrect", "no_answer")
    assert time.process_time() - start < 5.0


PIECES = st.sampled_from(
    [
        "\\boxed{", "\\\\\\\\\\boxed{", "\\fbox {", "{", "}", "\\{", "\\}", "\\", "\\ ", " ", "\n", "1", "42",
        "٤٢", "４", ",", ".", "−", "x", "\\frac", "\\text{", "#### ", "\nA: ", "The answer is ", "$",
        "\u202f", "’",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=100))
def test_extraction_is_idempotent(text: str) -> None:
    """It never raises, and what it found in a box or without one, it finds again when written so."""
    expression, reason = extract(text, FORMS)
    if expression is not None:
        again = f"\\boxed{{{expression}}}" if reason == "the last box" else f"#### {expression}"
        assert extract(again, FORMS) == (expression, reason)
