"""Programs as answers: found in the text, run behind the wall, judged here."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_eval.sandbox import Sandbox
from qwen3_eval.scoring import code_reference, code_run
from qwen3_eval.scoring.code import code_scorer, extract_program, judge_program
from qwen3_eval.types import Message, Sample

PROMPT = 'from math import sqrt\n\n\ndef root(n):\n    """Returns the root of n."""\n'
BODY = "    return sqrt(n)\n"
WHOLE = "from math import sqrt\n\ndef root(n):\n    return sqrt(n)"
FENCED = f"```python\n{WHOLE}\n```"


def extract(answer: str) -> str | None:
    return extract_program(answer, PROMPT, "root")


@pytest.mark.parametrize("answer", [
    FENCED,
    f"Sure!\n\n{FENCED}\n\nIt uses `sqrt`.",
    f"```py\n{WHOLE}\n```",
    f"```Python3 title=root.py\n{WHOLE}\n```",
    f"```\n{WHOLE}\n```",
    f"````\n{WHOLE}\n`````",
    f"~~~python\n{WHOLE}\n~~~",
    FENCED.replace("\n", "\r\n"),
    f"First a draft:\n```python\ndef root(n):\n    return n ** 0.5\n```\nBetter:\n{FENCED}",
    f"{FENCED}\nUse it so:\n```python\nprint(root(4))  # 2.0\n```",
    f"{FENCED}\n```text\nroot(4) is 2\n```",
    f"{FENCED}\nAnd in a shell\n```bash\npython root.py",
    "1. Write\n\n   " + FENCED.replace("\n", "\n   ") + "\n\n2. Run it.",
    "- " + FENCED.replace("\n", "\n  "),
    "\t" + FENCED.replace("\n", "\n\t"),
    f"```python\n{WHOLE}\n",
    f"```python\n{WHOLE}\n``",
    "```python\n    " + WHOLE.replace("\n", "\n    ") + "\n```",
    f"```python\n{WHOLE}\n```\n```python\ndef root(n):\n    return (n\n```",
])  # fmt: skip
def test_the_last_block_that_defines_the_function_is_the_program(answer: str) -> None:
    """Whatever its fence, label, place, line ends; a draft, a use or a torn block beside it do not count."""
    assert (extract(answer) or "").rstrip() == WHOLE


@pytest.mark.parametrize("answer", [
    f"Sure\n\n{WHOLE}\n\nThat is all of it. Time complexity: O(1)",
    f"- first import\n- then define\n\n{WHOLE}\nprint(root(4))\nassert root(9) == 3",
    f"## Solution\n\nNote: it's quick\n{WHOLE}\n# Example(s)",
    f"```python\n{WHOLE}\nprint(root(4)\n```",
    f"```python\n{WHOLE}\n\nprint(roo",
    f"Use of \"\"\" is fine.\n{WHOLE}",
    f"Some `code```python\n{WHOLE}\n```",
])  # fmt: skip
def test_else_it_is_the_longest_run_of_statements(answer: str) -> None:
    """Prose around it goes, also where it would parse as Python; so do calls at its ends."""
    found = extract(answer)
    assert found is not None
    assert found.strip() == WHOLE


@pytest.mark.parametrize("answer", [
    BODY,
    f"\n{BODY}",
    f"```python\n{BODY}```",
    f"The body is:\n```\n{BODY}\n```\nDone.",
])  # fmt: skip
def test_a_body_gets_its_prompt_back(answer: str) -> None:
    """As a completion, and in a block: prompt and body are the program, and it runs."""
    found = extract(answer)
    assert found is not None
    assert found.startswith(PROMPT)
    scope: dict[str, Any] = {}
    exec(found, scope)
    assert scope["root"](9) == 3


def test_a_completion_loses_what_follows_its_function() -> None:
    """A base model that goes on in prose after the body still gave the body."""
    assert extract(f"{BODY}\nThe function above returns the root.") == f"{PROMPT}{BODY}".rstrip()


def test_a_docstring_may_hold_a_fence() -> None:
    """The fence in a string ends no block where it is indented, nor where all of it parses only as one."""
    for indent in ("    ", ""):
        code = f'def root(n):\n    """Use:\n{indent}```\n{indent}root(4)\n{indent}```\n    """\n    return n'
        assert extract(f"```python\n{code}\n```") == code


@pytest.mark.parametrize("definition", [
    "root = lambda n: n ** 0.5",
    "class root:\n    pass",
    "async def root(n):\n    return n",
    "from math import sqrt as root",
    "import math as root",
    "def f(n):\n    return n\n\n\nroot = square = f",
    "try:\n    from math import root\nexcept ImportError:\n    def root(n):\n        return n",
    "import functools\n\n@functools.cache\ndef root(n):\n    return n",
    "root: object = abs",
    "first, root = min, max",
])  # fmt: skip
def test_there_are_many_ways_to_define_a_function(definition: str) -> None:
    """Each counts, fenced or not."""
    assert extract(f"```python\n{definition}\n```") == definition
    assert extract(f"It is:\n\n{definition}\n") in (definition, definition + "\n")


@pytest.mark.parametrize("answer", [
    "", "   \n", "I do not know.", "```python\n```", "```python", "root", "root(4)", "```\nroot(4)\n```",
    "```python\ndef rooted(n):\n    return n\n```",
    "```python\ndef root(n):\n    return (n\n```",
    "```python\ndef root(n):\n    return [n for root in n",
    "```python\ndef other():\n    def root(n):\n        return n\n```",
    "```python\nroot: int\n```",
    "```python\n[root for root in range(3)]\n```",
    "    # nothing but a comment",
    "    The answer follows.",
    "def root(n): return \0",
])  # fmt: skip
def test_without_a_program_there_is_none(answer: str) -> None:
    """A name that is only used, torn code, an inner function, a bare annotation: none defines it."""
    assert extract(answer) is None


TOKENS = st.lists(
    st.sampled_from([
        "root", "def root(n):", "    return n", "```", "```python", "~~~", "\n", "\n", "\n\n", "\r\n", "\r",
        '"""', "'''", "(", ")", ":", "=", "@", "# ", "- ", "   ", "\t", "lambda n: n", "import root", "\0",
        "\x0c", "é", "\ud800", "Sure", "print(root(1))", "class root:", "\\", "f'{", "}",
    ]),
    max_size=40,
).map("".join)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(TOKENS, st.text()))
def test_extraction_never_raises_and_finds_itself_again(answer: str) -> None:
    """What is found in a text is found again, unchanged, in a fenced block of its own."""
    found = extract(answer)
    if found is not None:
        assert extract(f"```python\n{found}\n```") == found


@pytest.mark.parametrize("piece", [
    "root ", "root\n", "root = 1\n", "(", "[", "root(", "@root\n", "```\n", "```python\nroot\n", '"""root\n',
    "root:root=", "not ", "- root\n", "    root\n", "print(root(1))\n", "lambda root:", "`", "def root(n):\n",
])  # fmt: skip
def test_garbage_is_quick(piece: str) -> None:
    """100 kB of anything takes well under two seconds; it is mostly a twentieth of one."""
    for start in ("", "```python\n", f"{WHOLE}\n\n"):
        began = time.process_time()
        extract((start + piece * (100_000 // len(piece)))[:100_000])
        assert time.process_time() - began < 2


# From here on programs are run.


TRIANGLE = {
    "task_id": "HumanEval/triangle",
    "entry_point": "area",
    "prompt": "def area(a, h):\n",
    "canonical_solution": "    return a * h / 2\n",
    "base_input": [[4, 3], [1, 1]],
    "plus_input": [[0, 5], [10, 0.5], [3, 7]],
    "atol": 0,
}
REVERSE = {
    "task_id": "Mbpp/0",
    "entry_point": "flip",
    "prompt": '"""\nTurn a list around.\n"""\n',
    "canonical_solution": "def flip(items):\n    return items[::-1]\n",
    "base_input": [[[1, 2, 3]], [["a"]]],
    "plus_input": [[[]], [[None, True]]],
    "atol": 0,
}
PROBLEMS = {"triangle": TRIANGLE, "reverse": REVERSE}
QUICK = code_scorer(call_s=0.5)


def judge(problem: dict[str, Any], program: str) -> tuple[str, dict[str, float], str]:
    sample = Sample("t/0", (Message("user", ""),), "", metadata={"problem": problem}, parts=("base", "plus"))
    verdict = QUICK(sample, f"```python\n{program}\n```")
    return verdict.outcome, dict(verdict.parts), verdict.reason


@pytest.mark.parametrize(("name", "program", "parts", "reason"), [
    ("triangle", "def area(a, h): return a * h / 2", (1, 1), "passed 2 base and 3 plus inputs"),
    ("triangle", "def area(a, h): return a * h / 2 + 1e-9", (1, 1), "passed 2 base"),
    ("triangle", "def area(a, h): return a * h / 2 + 1e-5", (0, 0), "area(4, 3) returned 6.00001"),
    ("triangle", "def area(a, h): return (a + 1) * h / 2", (0, 0), "area(4, 3) returned 7.5, expected 6.0"),
    ("triangle", "def area(a, h): return str(a * h / 2)", (0, 0), "area(4, 3) returned '6.0', expected 6.0"),
    ("triangle", "def area(a, h):\n while True: pass", (0, 0), "base input 0: area(4, 3) timed out"),
    ("triangle", "def area(a, h): return a / 0", (0, 0), "area(4, 3) raised ZeroDivisionError"),
    ("triangle", "def area(a, h): return a * h / 2 if a else None", (1, 0),
     "plus input 0: area(0, 5) returned None, expected 0.0"),
    ("triangle", "def area(a, h): return a * h / 2\n1 / 0", (0, 0), "not load: raised ZeroDivisionError"),
    ("triangle", "area = 3", (0, 0), "base input 0"),
    ("triangle", "def area(a, h): import os; os._exit(0)", (0, 0), "area(4, 3) crashed"),
    ("triangle", "def area(a, h): import socket; socket.socket()", (0, 0), "area(4, 3)"),
    ("triangle", "class Same:\n def __eq__(self, o): return True\ndef area(a, h): return Same()", (0, 0),
     "area(4, 3) returned what is no plain value"),
    ("triangle", "class F(float):\n def __eq__(self, o): return True\ndef area(a, h): return F(1)", (0, 0),
     "area(4, 3) returned 1.0, expected 6.0"),
    ("reverse", "def flip(items): return items[::-1]", (1, 1), "passed 2 base and 2 plus inputs"),
    ("reverse", "def flip(items): return items[:0:-1]", (0, 0), "flip([1, 2, 3]) returned [3, 2]"),
    ("reverse", "def flip(items): return tuple(items[::-1])", (0, 0), "(3, 2, 1), expected [3, 2, 1]"),
    ("reverse", "def flip(items):\n while True: pass", (0, 0), "flip([1, 2, 3]) timed out"),
    ("reverse", "def flip(items): return items.reversed()", (0, 0), "raised AttributeError"),
    ("reverse", "def flip(items): return items[0] and items[::-1]", (1, 0), "plus input 0: flip([]) raised"),
    ("reverse", "seen = []\ndef flip(items):\n seen.append(0)\n return items[::-1][:9 - len(seen)]", (1, 1),
     "passed"),
    ("reverse", "def flip(items): return range(10**12)", (0, 0), "flip([1, 2, 3])"),
])  # fmt: skip
def test_a_program_gets_its_verdict(
    sandbox: Sandbox, name: str, program: str, parts: tuple[int, int], reason: str
) -> None:
    """The right one passes; each mutant fails where it must, and the reason says where and how."""
    outcome, got, told = judge(PROBLEMS[name], program)
    assert (got["base"], got["plus"]) == parts, told
    assert outcome == ("correct" if all(parts) else "incorrect")
    assert reason in told


def test_no_program_is_no_answer() -> None:
    """Nothing runs, and both parts are left for the score to fill with 0."""
    sample = Sample("t/0", (), "", metadata={"problem": TRIANGLE}, parts=("base", "plus"))
    assert QUICK(sample, "I give up.").reason == "no program defines area"
    assert QUICK(sample, " ").reason == "the answer is empty"
    assert QUICK(sample, "").outcome == "no_answer"


def test_a_reference_that_fails_is_an_error(sandbox: Sandbox) -> None:
    """Nobody is judged by it: the verdict is `error`, and names the problem."""
    broken = {**TRIANGLE, "canonical_solution": "    return a / 0\n"}
    outcome, _, told = judge(broken, "def area(a, h): return a * h / 2")
    assert outcome == "error"
    assert "the reference solution of HumanEval/triangle does not run here: input 0 raised" in told


def test_an_output_too_large_for_the_wall_is_not_asked_for(sandbox: Sandbox) -> None:
    """The input is left out, and the reason says so; the others judge."""
    large = {**REVERSE, "canonical_solution": "def flip(n):\n    return [[]] * n\n"}
    large |= {"base_input": [[3], [2_000_000]], "plus_input": []}
    assert judge(large, "def flip(n): return [[] for _ in range(n)]")[2] == (
        f"passed 1 base inputs, 1 left out as too large to compare [{sandbox.tier}]"
    )


def test_expected_outputs_are_kept_on_disk(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process finds them; a damaged file is computed anew."""
    problem = {**TRIANGLE, "base_input": [[2, 2]], "plus_input": []}
    assert judge(problem, "def area(a, h): return a * h / 2")[0] == "correct"
    newest = max(code_reference._folder().iterdir(), key=lambda file: file.stat().st_mtime_ns)
    kept = newest.read_bytes()
    monkeypatch.setattr(code_reference, "_run", lambda *_: pytest.fail("it was computed again"))
    code_reference._known.clear()
    assert judge(problem, "def area(a, h): return a * h / 2")[0] == "correct"
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(newest.parent.parent.parent))
    newest.write_bytes(kept[:-3])
    code_reference._known.clear()
    assert judge(problem, "def area(a, h): return a * h / 2")[0] == "correct"


CHECKED = {
    "task_id": "HumanEval/own",
    "entry_point": "one",
    "prompt": 'def one():\n    """Returns 1."""\n',
    "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}


def test_a_right_answer_has_a_second_try_where_the_machine_is_busy(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference took nothing when it was timed, and 0.3 s now; an answer as slow is right in the end."""
    slow = "import time\ndef flip(items):\n    time.sleep(0.3)\n    return items[::-1]\n"
    busy = {**REVERSE, "task_id": "Mbpp/1", "canonical_solution": slow}
    hasty = code_scorer(call_s=0.05)

    def score(program: str) -> tuple[str, str]:
        sample = Sample("t/0", (Message("user", ""),), "", metadata={"problem": busy})
        verdict = hasty(sample, f"```python\n{program}\n```")
        return verdict.outcome, verdict.reason

    for kind in ("base", "plus"):
        known = code_reference.find_reference(sandbox, busy, kind)
        known.times_s[:] = [0.0] * len(known.times_s)  # as of an idle machine
    assert score(slow)[0] == "correct"
    outcome, reason = score(slow.replace("0.3", "60"))
    assert outcome == "incorrect"
    assert "timed out" in reason


def test_a_check_that_is_not_the_packages_runs_inside(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run's folder may hold any check: it never runs in this process, and the verdict is marked as weak."""
    found = judge_program(CHECKED, "def one(): return 1")
    assert (found.passed, found.reason) == (True, "passed its check (weak: checked inside)")
    found = judge_program(CHECKED, "def one(): return 2")
    assert not found.passed
    assert found.reason.endswith("(weak: checked inside)")
    mark = tmp_path / "mark"
    hostile = {**CHECKED, "test": f"def check(candidate):\n    open({str(mark)!r}, 'w').close()\n"}
    with pytest.raises(Exception, match="does not run here"):
        judge_program(hostile, "def one(): return 1")
    assert not mark.exists()


@pytest.mark.parametrize(("test", "program", "reason"), [
    ("assert candidate() == 1", "def one(): return 1", ""),
    ("assert candidate() == 1", "def one(): return 2", "fails at `assert candidate() == 1`; one() re"),
    ("assert candidate() + 1 == 2", "def one(): return None", "fails with TypeError at `assert"),
    ("assert candidate() == one()", "import random\ndef one(): return 1", ""),
    ("candidate(); assert False, 'x'", "def one(): raise KeyError(3)", "one() raised KeyError"),
    ("assert tuple(candidate())", "def one(): return range(9_000_000)", "which is too long to check"),
    ("while True: pass", "def one(): return 1", "timed out after"),
])  # fmt: skip
def test_an_official_check_runs_here(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, test: str, program: str, reason: str
) -> None:
    """What it calls runs behind the wall; what fails is told by the line; it cannot hang this process."""
    problem = {**CHECKED, "test": f"def check(candidate):\n    {test}\n"}
    monkeypatch.setattr(code_run, "_read_official", lambda: {problem["task_id"]: problem})
    fault, _ = code_run.run_check(sandbox, problem, program, 0.5)
    told = "" if fault is None else fault.reason
    assert told.startswith(reason) if not reason.startswith("which") else reason in told
    assert bool(told) == bool(reason)


def test_values_are_shown_on_one_short_line() -> None:
    """Whatever was returned: giants, line ends, deep lists, control characters."""
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for value in (10**9999, "a\nb\x00" * 99, deep, [*range(99)], {1: "x" * 999}, range(10**12), float("nan")):
        shown = code_run.show(value)
        assert len(shown) <= 160
        assert shown.isprintable()
    assert code_run.show(2**5000) == "<int of 5,001 bits>"
