r"""Scores a mathematical answer: the last `\boxed{}`, or the form a task also takes, against the reference.

What counts as the answer:
1. The last closed `\boxed{}` (or `\fbox{}`); of nested boxes the outer one. An empty last box is no answer.
2. With no box, the task's fallback forms, each in turn, the last match of the first form that occurs.
3. Else there is no answer. A number that merely comes last in the text is never taken for one, unlike in
   lm-evaluation-harness' flexible filter or evalscope: it would pay for answers that were cut off.

What counts as equal: numbers by value, units dropped; then text as written; then math-verify. Digits of every
script are read, and 1,000 is a thousand, 1.000 is one: `expressions` says how numbers may be written.
An answer that cannot be compared (too long, too slow, too large) is `incorrect`, as the model wrote it; a
reference that cannot be is `error`.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from qwen3_eval.scoring.expressions import bare_words, clean, read_number, read_words, same_text
from qwen3_eval.scoring.symbolic import shared_worker
from qwen3_eval.types import Sample, Verdict

BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
"""What asks for the box. Source: the Qwen3 model cards, Best Practices, Standardize Output Format."""

MAX_ANSWER_CHARS = 100_000
MAX_EXPRESSION_CHARS = 1_000

_BOX = r"\\{1,4}f?box(?:ed)?\s*"  # doubled backslashes come from models that write JSON
_BRACES = re.compile(rf"{_BOX}\{{|\\[\\{{}}]|[{{}}]")
_MINUS = "−–﹣－‐‑-"  # of which the last would make a range elsewhere
_NUMBER = (
    rf"[+{_MINUS}]?(?:\\?[$€£¥])?[{_MINUS}]?(?:\d{{1,3}}(?:(?:[,，٬'’]|[^\S\n])\d{{3}})+(?!\d)|\d+)?"
    r"(?:[.．٫]\d+|(?<=\d))(?:\s*/\s*\d+)?"
)

HASHES = re.compile(r"####[ \t]*(\S[^\n]{0,200})")
"""`#### 18`, the end of GSM8K's own solutions."""

ANSWER_LINE = re.compile(r"^A:[ \t]*(\S[^\n]{0,200})", re.M)
"""`A: 18`, the same in the model solutions that GSM8K's authors published."""

ANSWER_IS = re.compile(rf"\banswer(?: is|:| is:)[ \t*$]{{0,6}}(?:\\\()?({_NUMBER})", re.I)
"""`the answer is 18`, or `Answer: **18**`: a number, right after the words."""


def math_scorer(*, fallback: Sequence[re.Pattern[str]] = ()) -> Callable[[Sample, str], Verdict]:
    """Returns a scorer for samples whose target is a number or a LaTeX expression, as text.

    `fallback` are the forms that count where the answer has no box; group 1 of each is the expression.
    """

    def score(sample: Sample, answer: str) -> Verdict:
        extracted, reason = extract(answer, fallback)
        return Verdict.no_answer(reason) if extracted is None else judge(extracted, str(sample.target))

    return score


def extract(answer: str, fallback: Sequence[re.Pattern[str]] = ()) -> tuple[str | None, str]:
    """Returns the expression that `answer` states and how it was found, or None and why there is none.

    Only the last 100,000 characters are read.
    """
    answer = answer[-MAX_ANSWER_CHARS:]
    boxed = last_boxed(answer)
    if boxed is not None:
        return (boxed, "the last box") if boxed else (None, r"the last \boxed{} is empty")
    for form in fallback:
        if found := form.findall(answer):
            return found[-1].strip(), "stated without a box"
    if not answer.strip():
        return None, "the answer is empty"
    if "\\boxed" in answer:
        return None, r"\boxed{ is never closed"
    return None, r"no \boxed{}" + (" and no other form that the task takes" if fallback else "")


def last_boxed(text: str) -> str | None:
    r"""Returns what the last closed `\boxed{}` holds, inner boxes made plain groups; None without one."""
    opened: list[tuple[int, bool]] = []
    boxes: list[slice] = []
    last: slice | None = None
    for brace in _BRACES.finditer(text):
        mark = brace[0]
        if mark in ("\\\\", "\\{", "\\}"):
            continue
        if mark != "}":
            opened.append((brace.end(), mark != "{"))
            if mark != "{":
                boxes.append(slice(brace.start(), brace.end() - 1))
        elif opened:
            start, is_box = opened.pop()
            if is_box:
                last = slice(start, brace.start())  # an outer box closes after its inner ones, so it stays
    if last is None:
        return None
    held, end = "", last.start
    for box in boxes:
        if last.start <= box.start < last.stop:
            held += text[end : box.start]
            end = box.stop
    return _strip(held + text[end : last.stop])


def judge(extracted: str, target: str) -> Verdict:
    """Compares an extracted expression with the reference; never raises for what a model may have written.

    Raises RuntimeError where the comparison process cannot be started.
    """
    if len(extracted) > MAX_EXPRESSION_CHARS:
        return Verdict.incorrect(_shorten(extracted), f"longer than {MAX_EXPRESSION_CHARS:,} characters")
    return _judge_short(extracted, target)


@lru_cache(maxsize=65_536)  # budgets share answers, and short answers repeat
def _judge_short(extracted: str, target: str) -> Verdict:
    shown = _shorten(extracted)
    answer, reference = clean(extracted), clean(target)
    if not answer:
        return Verdict.no_answer(f"nothing is left of {shown!r} without its dressing")
    number, wanted = read_number(answer), read_number(reference)
    if number is not None and wanted is not None:
        equal, how = number.equals(wanted), "as numbers"
    elif same_text(answer, reference):
        equal, how = True, "as written"
    elif (words := read_words(reference)) is not None:
        equal, how = bare_words(answer) == words, "as words"
    else:
        return _judge_symbolically(answer, reference, shown)
    return (
        Verdict.correct(shown, f"equal {how}") if equal else Verdict.incorrect(shown, f"not {target} {how}")
    )


def _judge_symbolically(answer: str, reference: str, shown: str) -> Verdict:
    worker = shared_worker()
    found = worker.compare(answer, reference)
    if not found.failure:
        if found.equal:
            return Verdict.correct(shown, "equal by math-verify")
        return Verdict.incorrect(shown, f"not {reference} by math-verify")
    if worker.compare("0", reference).failure:
        return Verdict.error(f"the reference {reference!r} {found.failure}")
    return Verdict.incorrect(shown, f"the answer {found.failure}")


def _strip(expression: str) -> str:
    r"""Strips space at the ends, also TeX's `\ `: half of one would escape a brace."""
    expression = expression.strip()
    while (len(expression) - len(expression.rstrip("\\"))) % 2:
        expression = expression[:-1].rstrip()
    return expression


def _shorten(expression: str) -> str:
    return expression if len(expression) <= 200 else expression[:200] + "…"
