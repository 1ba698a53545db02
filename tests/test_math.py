r"""The math scorer: what it takes for the answer, what it takes for equal, and what it survives."""

import gzip
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.data import DataSource
from qwen3_eval.scoring.expressions import clean, read_number
from qwen3_eval.scoring.math import ANSWER_IS, ANSWER_LINE, HASHES, extract, judge, last_boxed, math_scorer
from qwen3_eval.scoring.symbolic import SymbolicWorker, shared_worker
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import Sample

FORMS = (HASHES, ANSWER_LINE, ANSWER_IS)
HOSTILE = "9^{9^{9^{9}}}"


@pytest.mark.parametrize(
    ("text", "boxed"),
    [
        (r"\boxed{1} and then \boxed{2}", "2"),
        (r"\boxed{\frac{\sqrt{2}}{3}}", r"\frac{\sqrt{2}}{3}"),
        (r"\boxed{a_{b_{c_{d}}}} end }", "a_{b_{c_{d}}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \mid x > \{ \right.}", r"\left\{ x \mid x > \{ \right."),
        (r"\boxed{x = \boxed{5}}", "x = {5}"),
        (r"\boxed {7}", "7"),
        (r"\fbox{7}", "7"),
        (r"line \\\boxed{7}", "7"),
        (r"escaped \\boxed{7}", "7"),
        (r"\boxed{3} but wait, \boxed{4", "3"),
        (r"{ never closed \boxed{5}", "5"),
        (r"\boxed{}", ""),
        (r"\boxed{5", None),
        (r"\boxed 5", None),
        ("boxed{5}", None),
        ("", None),
    ],
)
def test_the_last_closed_box_is_read(text: str, boxed: str | None) -> None:
    """Braces are matched, escaped ones passed over; of nested boxes the outer counts, an open one never."""
    assert last_boxed(text) == boxed


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("So 9 + 9 = 18\n#### 18", "18"),
        ("#### 17\nNo.\n#### 1,450,000", "1,450,000"),
        ("She sells 9.\nA: 18", "18"),
        ("The answer is 18.", "18"),
        ("The final answer is: **$1,234.50** per day", "1,234.50"),
        ("Answer: \\(18\\)", "18"),
        ("the answer is -3/4, I think", "-3/4"),
        ("The answer is 5. No, the answer is 6.", "6"),
        ("the answer is 3\n#### 4", "4"),
        ("\\boxed{5}\n#### 4", "5"),
        ("She has 18 eggs.", None),
        ("the answer is not 5", None),
        ("Plan A: 18", None),
    ],
)
def test_fallback_forms_in_their_order(text: str, expression: str | None) -> None:
    """Box, then ####, then a line `A:`, then `answer is`; a number that is merely there is no answer."""
    assert extract(text, FORMS)[0] == expression


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("it is 5", r"no \boxed{}"),
        (r"so \boxed{5", r"\boxed{ is never closed"),
        (r"\boxed{5} or \boxed{ }", r"the last \boxed{} is empty"),
        (r"\boxed{$$}", "without its dressing"),
    ],
)
def test_no_answer_says_why(text: str, reason: str) -> None:
    """The verdict is no_answer, scores 0, and names what was missing."""
    verdict = math_scorer()(Sample("s", (), "5"), text)
    assert (verdict.outcome, verdict.score, verdict.extracted) == ("no_answer", 0.0, None)
    assert reason in verdict.reason


EQUAL = [
    ("1,000", "1000"), ("1000.", "1000"), ("1{,}000", "1000"), (r"10,\!080", "10080"), ("025", "25"),
    ("18.00", "18"), ("-0", "0"), ("+7", "7"), ("−7", "-7"), (r"\$18", "18"), ("$18$", "18"), (r"-\$5", "-5"),
    ("€ 18", "18"), (r"\(18\)", "18"), (r"$$\mathbf{}18$$", "18"), ("**18**", "18"), ("{18}", "18"),
    (r"12\%", "12"), ("12 percent", "12%"), ("0.12", r"12\%"), ("50%", r"\frac{1}{2}"), (r"90^\circ", "90"),
    ("90°", "90"), (r"5\text{ cm}", "5"), (r"15\mbox{ cm}^2", "15"), ("18 dollars per day", "18"),
    (r"5.4 \text{ cents}", "5.4"), ("3 million", "3000000"), (r"2\text{ dozen}", "24"), ("１８", "18"),
    ("١٨", "18"), ("१८", "18"), ("٣٫٥", "3.5"), (r"\dfrac{1}{2}", r"\frac12"), ("1/2", r"\tfrac{1}{2}"),
    ("0.5", r"\frac{1}{2}"), ("2.9999999999", "3"), ("0.333333", r"\frac13"), (r"-\frac{3}{6}", "-0.5"),
    ("6.72e-5", ".0000672"), ("C", r"\text{(C)}"), ("(c)", r"\text{C}"), (r"\text{evelyn}", r"\text{Evelyn}"),
    ("Evelyn.", r"\text{Evelyn}"), (r"2 \sqrt{ 5 }", r"2\sqrt{5}"),
    (r"(3, \pi/2)", r"\left( 3, \frac{\pi}{2} \right)"),
    (r"(3,\infty)\cup(-\infty,2)", r"(-\infty, 2) \cup (3, \infty)"), ("[-2,7]", r"x \in [-2,7]"),
    (r"\{2,1\}", "1,2"), ("7, 3, 5", "3, 5, 7"), (r"1+\sqrt{19}, 1-\sqrt{19}", r"1 \pm \sqrt{19}"),
    ("2(k+1)", "2k+2"), ("x=5", "5"), ("5", "x=5"), ("9/5", r"1\frac{4}{5}"), ("-5i+6", "6 - 5i"),
    (r"\begin{bmatrix} 1/2 \\ 2 \end{bmatrix}", r"\begin{pmatrix} \frac{1}{2} \\ 2 \end{pmatrix}"),
    ("2x+3", "y = 2x + 3"), (r"\frac{\cos x}{\sin x}", r"\cot x"), (r"6.72 \times 10^{-5}", ".0000672"),
]  # fmt: skip

DIFFERENT = [
    ("1.000", "1000"), ("1,00", "100"), ("1,5", "1.5"), ("18.5", "18"), ("-18", "18"), ("1 8", "18"),
    ("180", "18"), ("0.12", "12"), ("500%", r"50\%"), ("0.333", r"\frac13"), ("0.000067", ".0000672"),
    ("1000000.4", "1000000"), ("5i", "5"), (r"5\mathrm{i}", "5"), ("5x", "5"), (r"5\pi", "5"), ("5 pi", "5"),
    ("5 or 6", "5"), (r"5\text{ or }6", "5"), ("5 squared", "5"), ("3 million", "3"), ("(5,3)", "(3,5)"),
    ("(3,5)", "[3,5]"), (r"\{1,2,3\}", "1,2"), ("seat", r"\text{east}"), ("west", r"\text{east}"),
    (r"\frac{1}{0}", "5"), (r"\text{none}", "5"), ("x>2", "x<2"), (r"\sqrt{5}", r"\sqrt{3}"), ("2k", "2k+2"),
    ("D", r"\text{(C)}"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "target"), EQUAL)
def test_equal_answers(answer: str, target: str) -> None:
    """Pairs that a mathematician marks correct, each read by hand."""
    assert judge(answer, target).outcome == "correct", judge(answer, target)


@pytest.mark.parametrize(("answer", "target"), DIFFERENT)
def test_different_answers(answer: str, target: str) -> None:
    """Pairs that look alike, or trip a careless normaliser, and are wrong."""
    assert judge(answer, target).outcome == "incorrect", judge(answer, target)


@pytest.mark.parametrize(
    "answer",
    [
        HOSTILE,
        *(
            pytest.param(answer, marks=pytest.mark.slow)
            for answer in ("10^{10^{10}}", "(1000000!)!", "(" * 490 + "1", r"\sum_{n=1}^{10^{10}} n^{1/3}")
        ),
    ],
)
def test_a_hostile_answer_is_incorrect_and_harms_nothing(answer: str) -> None:
    """It costs its seconds at most, the reason says so, and the next comparison works."""
    start = time.monotonic()
    verdict = judge(answer, r"5\pi")
    assert verdict.outcome == "incorrect", verdict
    assert time.monotonic() - start < 300  # 5 s on a quiet machine: 3 s of CPU, a restart, a second look
    assert judge(r"\pi 5", r"5\pi").outcome == "correct"


def test_a_hostile_reference_is_an_error() -> None:
    """A reference that cannot be compared is the data's fault, so it is not counted against the model."""
    verdict = judge(r"5\pi", HOSTILE)
    assert verdict.outcome == "error"
    assert verdict.reason == f"the reference {HOSTILE!r} took longer than 3 s to compare"


@pytest.mark.slow
def test_memory_is_limited() -> None:
    """A worker with too little memory for the work ends, or refuses; the caller gets an answer either way."""
    worker = SymbolicWorker(cpu_seconds=6, memory_bytes=600 << 20)
    try:
        found = worker.compare("2^{9999999999}", "5")
        assert not found.equal
        assert worker.compare("2 \\cdot x", "x+x").equal
    finally:
        worker.close()


def test_a_worker_that_cannot_start_is_the_machines_fault() -> None:
    """It raises instead of marking answers wrong; the scoring pass records that as `error`."""
    worker = SymbolicWorker(memory_bytes=60 << 20)
    with pytest.raises(RuntimeError, match="the comparison process cannot start"):
        worker.compare("1", "1")


def test_a_worker_that_was_killed_is_replaced() -> None:
    """An end from outside costs one comparison at most."""
    worker = SymbolicWorker()
    try:
        assert worker.compare("x+x", "2x").equal
        assert worker._process is not None
        worker._process.kill()
        worker._process.wait()
        assert worker.compare("x+x", "2x").failure == "ended the comparison process (exit code -9)"
        assert worker.compare("x+x", "2x").equal
    finally:
        worker.close()


def test_threads_share_the_worker() -> None:
    """Eight threads at once get each their own answer."""
    pairs = [(f"{n} x + x", f"{n + 1} x" if n % 2 else f"{n} x") for n in range(2, 34)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda pair: shared_worker().compare(*pair).equal, pairs))
    assert found == [n % 2 == 1 for n in range(2, 34)]


def test_long_answers_are_searched_at_their_end() -> None:
    """Of 100 kB and more the last part is read; an expression over 1,000 characters is not compared."""
    assert extract(r"\boxed{1}" + "x" * 100_000)[0] is None
    assert extract("x" * 10_000_000 + r"\boxed{1}")[0] == "1"
    assert judge("1+" * 600 + "1", "601").reason == "longer than 1,000 characters"


@pytest.mark.parametrize(
    "garbage",
    ["\\", "{", "}", "\\boxed{", "\\boxed{1}", "#### ", "A: ", "answer is ", "$", "1,111", " ", "．"],
)
def test_a_hundred_kilobytes_of_garbage_cost_little(garbage: str) -> None:
    """No pattern is quadratic: extraction takes well under a second whatever is repeated."""
    start = time.process_time()
    extract(garbage * (100_000 // len(garbage)), FORMS)
    assert time.process_time() - start < 1.0


@given(st.text(st.sampled_from(list("\\{}boxed$#A:answr is15.,/%-\n ٣½²")), max_size=60))
def test_reading_never_raises(text: str) -> None:
    """Whatever a model writes, extraction, cleaning and reading as a number return."""
    expression, reason = extract(text, FORMS)
    assert reason
    assert expression is None or expression == expression.strip()
    read_number(clean(text))


@given(st.text(max_size=200))
def test_reading_any_unicode_never_raises(text: str) -> None:
    """The same for any characters."""
    extract(text, FORMS)
    read_number(clean(text))


@given(st.integers(-(10**12), 10**12))
def test_an_integer_is_itself_however_written(value: int) -> None:
    """Plain, with commas, with zeros after the point, with a unit: correct; the next integer is not."""
    scorer = math_scorer()
    for written in (str(value), f"{value:,}", f"{value}.00", f"{value:,} dollars", f"${value}$"):
        assert scorer(Sample("s", (), str(value)), f"\\boxed{{{written}}}").outcome == "correct"
        assert scorer(Sample("s", (), str(value + 1)), f"\\boxed{{{written}}}").outcome == "incorrect"


def test_math500_references_match_their_own_solutions(data_root: Path) -> None:
    """All 500: the box in the authors' solution is the reference."""
    found = load_task("math500")
    with gzip.open(
        data_root / "HuggingFaceH4/MATH-500/default/test.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        solutions = [json.loads(line)["solution"] for line in lines]
    samples = found.load(Asking(DataSource(data_root))).made
    verdicts = [found.score(s, text) for s, text in zip(samples, solutions, strict=True)]
    assert [v for v in verdicts if v.outcome != "correct"] == []


@pytest.mark.slow
def test_math_verify_itself_agrees_on_math500(data_root: Path) -> None:
    """The plain readings, which settle most cases before math-verify, decide as it does on all references.

    Each is compared with itself and with the next.
    """
    targets = [s.target for s in load_task("math500").load(Asking(DataSource(data_root))).made]
    worker = shared_worker()
    differ = set()
    for target, other in pairwise(targets):
        for answer in (target, other):
            if worker.compare(answer, target).equal != (judge(answer, target).outcome == "correct"):
                differ.add((answer, target))
    assert differ == set()


@pytest.mark.parametrize("form", ["A:", "####"])
def test_gsm8k_agrees_with_the_authors(
    form: str, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 1,319 x 4 model answers the verdict is the authors' is_correct, wherever an answer is stated.

    They state it as `A: 18`; `#### 18`, the form of the data, must do as well. The others are listed.
    """
    found = load_task("gsm8k")
    samples = found.load(Asking(DataSource(data_root))).made
    with gzip.open(
        data_root / "oracles/gsm8k_example_model_solutions.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        rows = [json.loads(line) for line in lines]
    counts: Counter[str] = Counter()
    unstated = []
    for sample, row in zip(samples, rows, strict=True):
        assert sample.messages[0].content.startswith(row["question"])
        for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            solution, is_correct = row[model]["solution"], row[model]["is_correct"]
            verdict = found.score(sample, solution.replace("\nA:", f"\n{form}"))
            counts[verdict.outcome] += 1
            assert (verdict.outcome == "correct") == is_correct, (sample.sample_id, model, verdict)
            if verdict.outcome == "no_answer":
                assert "\nA:" not in solution
                unstated.append(f"{sample.sample_id} {model}: {verdict.reason}: …{solution[-40:]!r}")
    with capsys.disabled():
        print(f"\n{form} {dict(counts)}; without an answer in the asked form:", *unstated, sep="\n  ")
    assert counts == {"correct": 2001, "incorrect": 3264, "no_answer": 11}
