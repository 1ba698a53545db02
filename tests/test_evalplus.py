"""HumanEval, MBPP and EvalPlus: how they ask, their rules on hand cases, and their own solutions."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from evalplus_agreement import KINDS, KNOWN, LETTERS, LOOP, mutate
from hypothesis import given
from hypothesis import strategies as st

from qwen3_eval.data import DataSource
from qwen3_eval.errors import DataError, SandboxError
from qwen3_eval.sandbox import Sandbox
from qwen3_eval.scoring.code import code_scorer, extract_program, judge_program, use_sandbox
from qwen3_eval.scoring.evalplus_rules import (
    UNSEEN,
    expected_from,
    find_limits,
    is_right,
    read_inputs,
    tolerances,
)
from qwen3_eval.task import Asking, load_task
from qwen3_eval.types import Sample, Verdict

TASKS = {"humaneval": 164, "humaneval_plus": 164, "mbpp": 378, "mbpp_plus": 378, "evalplus": 542}


@cache
def load(name: str, root: Path | None, base: bool = False, **options: object) -> list[Sample]:
    return load_task(name).load(Asking(DataSource(root), base=base), options).made


def solve(sample: Sample) -> str:
    problem = sample.metadata["problem"]
    return str(problem["prompt"] + problem["canonical_solution"])


@pytest.mark.parametrize(("name", "rows"), TASKS.items())
def test_every_problem_is_asked_once(name: str, rows: int, data_root: Path) -> None:
    """As many as the card says, each with an id that holds the set's own, and with what judges it."""
    samples = load(name, data_root)
    assert len(samples) == load_task(name).card.rows == rows
    assert len({sample.sample_id for sample in samples}) == rows
    for sample in samples:
        problem = sample.metadata["problem"]
        assert sample.sample_id == f"{name}/{problem['task_id']}"
        assert ("test" in problem) == (name == "humaneval")
        assert json.loads(json.dumps(problem)) == problem
        assert (
            bool(problem.get("plus_input")) == (name not in ("humaneval", "mbpp"))
            or "793" in sample.sample_id
        )


@pytest.mark.parametrize("name", ["humaneval_plus", "mbpp_plus", "mbpp"])
def test_the_rows_are_those_of_the_card(name: str, data_root: Path) -> None:
    """The mirror's release has the content that the card pins."""
    loaded = load_task(name).load(Asking(DataSource(data_root)))
    assert loaded.fingerprint == load_task(name).card.fingerprint
    assert loaded.notes == ()


def test_evalplus_is_the_mean_of_four(data_root: Path) -> None:
    """HumanEval's problems count for two parts and MBPP's for two others; the score is over the four."""
    samples = load("evalplus", data_root)
    assert load_task("evalplus").average == "groups"
    for sample in samples:
        own = "humaneval" if "HumanEval/" in sample.sample_id else "mbpp"
        assert sample.parts == (own, f"{own}_plus")


def test_humaneval_needs_neither_hub_nor_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked from the installed package; the others say where their rows are to be had."""
    monkeypatch.delenv("QWEN3_EVAL_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(load("humaneval", None)) == 164
    with pytest.raises(
        DataError, match=r"releases/download/v0.2.0/MbppPlus.jsonl.gz; fetch it into a mirror"
    ):
        load_task("mbpp_plus").load(Asking(DataSource()))


def test_an_empty_mirror_names_the_file_it_lacks(tmp_path: Path) -> None:
    """The message holds the path that the release file goes to."""
    with pytest.raises(DataError, match=r"evalplus/humanevalplus_release/HumanEvalPlus"):
        load("evalplus", tmp_path)


def test_the_prompt_is_evalplus_own(data_root: Path) -> None:
    """The first of MBPP+, read by eye: instruction, fence, docstring; nothing of the answer is given."""
    sample = load("mbpp_plus", data_root)[0]
    assert [(message.role, message.content) for message in sample.messages] == [(
        "user",
        "Please provide a self-contained Python script that solves the following problem in a markdown code "
        'block:\n```\n"""\nWrite a function to find the shared elements from the given two lists.\n'
        'assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))\n"""\n```\n',
    )]  # fmt: skip
    other = load("mbpp_plus", data_root, instruction="Write code:")[0]
    assert other.messages[0].content.startswith('Write code:\n```\n"""')


def test_base_models_complete_the_prompt(data_root: Path) -> None:
    """HumanEval's stands as it is, the others' without white space around it; stop texts end the answer."""
    for name in TASKS:
        for sample in load(name, data_root, base=True):
            prompt = sample.metadata["problem"]["prompt"]
            assert sample.completion is not None
            assert sample.completion.prompt == (prompt if name == "humaneval" else f"{prompt.strip()}\n")
            assert not any(stop in sample.completion.cut("x\n") for stop in sample.completion.stop)
    completion = load("humaneval", data_root, base=True)[0].completion
    assert completion is not None
    assert completion.cut("    return 1\n\ndef f():\n    pass") == "    return 1\n"
    assert load("humaneval", data_root)[0].completion is None


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("name", ["humaneval", "evalplus"])
def test_solutions_are_extracted_from_any_answer(name: str, data_root: Path) -> None:
    """Fenced, among prose, with a use after it, unfenced, as a bare completion: each compiles and defines."""
    for sample in load(name, data_root, base=True):
        problem = sample.metadata["problem"]
        prompt, entry_point, whole = problem["prompt"], problem["entry_point"], solve(sample)
        for answer, expected in (
            (f"Here it is.\n\n```python\n{whole}\n```\n\nIt works.", whole),
            (f"```python\n{whole}\n```\nFor example:\n```python\nprint({entry_point}(1))\n```", whole),
            (f"~~~py\n{whole.replace(chr(10), chr(13) + chr(10))}\n~~~", whole),
            (problem["canonical_solution"], None),
            (f"Here it is.\n\n{whole}\n\nIt works.", None),
        ):
            program = extract_program(answer, prompt, entry_point)
            assert program is not None, (sample.sample_id, answer)
            assert expected is None or program.rstrip() == expected.rstrip()
            scope: dict[str, Any] = {}
            exec(compile(program, "<program>", "exec"), scope)
            assert callable(scope[entry_point])


@pytest.mark.parametrize(("task_id", "inputs", "expected"), [
    ("HumanEval/0", [[[1.0], 0.5]], [[[1.0], 0.5]]),
    ("Mbpp/3", [[7]], [[7]]),
    ("Mbpp/2", [[[3, 4], [5]]], [[(3, 4), (5,)]]),
    ("Mbpp/63", [[[[1, 2], [3, 4]]]], [[[(1, 2), (3, 4)]]]),
    ("Mbpp/75", [[[[6, 24]], 6]], [[[(6, 24)], 6]]),
    ("Mbpp/106", [[[5], [9, 10]]], [[[5], (9, 10)]]),
    ("Mbpp/115", [[[[1, 1], [], {}]]], [[[{1}, {}, {}]]]),
    ("Mbpp/124", [["1", "2j"]], [[1.0, 2j]]),
    ("Mbpp/250", [[[10, 8], 4]], [[(10, 8), 4]]),
    ("Mbpp/252", [["(1+2j)"], [5]], [[1 + 2j], [5 + 0j]]),
    ("Mbpp/259", [[[[1, 3]], [[6, 7]]]], [[((1, 3),), ((6, 7),)]]),
    ("Mbpp/278", [[[1, [2, 3], "x"]]], [[(1, (2, 3), "x")]]),
    ("Mbpp/307", [[["a", []], 1, 50]], [[("a", []), 1, 50]]),
    ("Mbpp/580", [[[4, [6, [7]]]]], [[(4, (6, (7,)))]]),
    ("Mbpp/722", [[{"a": [1.5, 2]}, 1, 2]], [[{"a": (1.5, 2)}, 1, 2]]),
    ("Mbpp/793", {}, []),
])  # fmt: skip
def test_inputs_get_back_what_json_lost(task_id: str, inputs: Any, expected: list[Any]) -> None:
    """Tuples, sets, complex numbers and the rest, each at its place; other problems' inputs stay."""
    found = read_inputs(task_id, inputs)
    assert found == expected
    assert repr(found) == repr(expected)  # (1, 2) is not [1, 2], and 5 is not 5 + 0j


@pytest.mark.parametrize(("output", "expected", "atol", "right"), [
    (0.1 + 0.2, 0.3, 1e-6, True),
    (1.000002, 1.0, 1e-6, False),
    (1e9 + 50, 1e9, 1e-6, True),  # rtol 1e-7
    (3, 3.0, 0, True),
    (3.0000001, 3, 1e-6, False),  # a float is no int
    ([0.1 + 0.2, 1.0], [0.3, 1], 1e-6, True),
    ((0.1 + 0.2,), [0.3], 1e-6, False),
    ([0.3], [0.3, 0.3], 1e-6, False),
    ([[0.1 + 0.2]], [[0.3]], 1e-6, True),
    ([[0.1 + 0.2]], [[0.3]], 0, False),
    (math.nan, math.nan, 1e-6, False),
    (math.inf, math.inf, 1e-6, True),
    (1.0, math.inf, 1e-6, False),
    (-math.inf, math.inf, 1e-6, False),
    (complex(1, 1e-9), complex(1, 0), 1e-6, True),
    (10**400, 1.0, 1e-6, False),
    (10**400, 10**400 + 1, 1e-6, False),
    ("a", "b", 1e-6, False),
    ({"a": 0.1 + 0.2}, {"a": 0.3}, 1e-6, False),
    (None, 0.0, 1e-6, False),
    ([1, 2], (1, 2), 0, False),
    (True, 1, 0, True),
    (range(10**12), [1], 0, False),
])  # fmt: skip
def test_outputs_are_equal_or_close(output: Any, expected: Any, atol: float, right: bool) -> None:
    """By hand, after numpy.allclose's documentation: |output - expected| <= atol + 1e-7 |expected|."""
    assert is_right("HumanEval/0", "f", [], output, expected, atol) == right


@pytest.mark.parametrize(("task_id", "entry_point", "arguments", "output", "expected", "atol", "right"), [
    ("HumanEval/32", "find_zero", [[1, 2]], -0.5, -0.5, 1e-4, True),
    ("HumanEval/32", "find_zero", [[-6, 11, -6, 1]], 3.0, 1.0, 1e-4, True),  # another root is right
    ("HumanEval/32", "find_zero", [[1, 2]], -0.4, -0.5, 1e-4, False),
    ("HumanEval/32", "find_zero", [[1, 2]], None, -0.5, 1e-4, False),
    ("HumanEval/32", "find_zero", [[1, 2, 3, 4]], 1e200, -0.5, 1e-4, False),
    ("Mbpp/2", "similar_elements", [], (5, 4, 4), (4, 5), 0, True),
    ("Mbpp/2", "similar_elements", [], [4, 5], (4, 5), 0, True),
    ("Mbpp/2", "similar_elements", [], {4, 5, 6}, (4, 5), 0, False),
    ("Mbpp/2", "similar_elements", [], 4, (4, 5), 0, False),
    ("Mbpp/2", "similar_elements", [], [[4]], (4, 5), 0, False),
    ("Mbpp/2", "similar_elements", [], count(), (4, 5), 0, False),
    ("Mbpp/2", "similar_elements", [], range(10**12), (4, 5), 0, False),
    ("HumanEval/2", "similar_elements", [], (5, 4), (4, 5), 0, False),
    ("Mbpp/737", "check_str", [], True, True, 0, True),
    ("Mbpp/737", "check_str", [], False, True, 0, False),
    ("Mbpp/737", "check_str", [], UNSEEN, True, 0, True),
    ("Mbpp/737", "check_str", [], None, False, 0, True),
    ("Mbpp/737", "check_str", [], "yes", True, 0, True),
    ("Mbpp/164", "are_equivalent", [], False, True, 0, True),
    ("Mbpp/295", "sum_div", [7], 0, 1, 0, True),
    ("Mbpp/295", "sum_div", [7], 8, 1, 0, False),
    ("Mbpp/581", "surface_Area", [3, 4], 33, 33, 0, True),
    ("Mbpp/581", "surface_Area", [3, 4], 35, 33, 0, True),  # 9 + 6 sqrt(18.25) = 34.6
    ("Mbpp/581", "surface_Area", [3, 4], 34, 33, 0, False),
    ("Mbpp/558", "digit_distance_nums", [12345, 9], 11, 8, 0, False),  # 00009: 1 + 2 + 3 + 4 + 4 = 14
    ("Mbpp/558", "digit_distance_nums", [12345, 9], 14, 8, 0, True),
])  # fmt: skip
def test_special_oracles(
    task_id: str, entry_point: str, arguments: Any, output: Any, expected: Any, atol: float, right: bool
) -> None:
    """Sets, any value at all, any root, a rounded surface: each problem's own idea of right, by hand."""
    assert is_right(task_id, entry_point, arguments, output, expected, atol) == right


def test_tolerance_begins_at_the_first_float() -> None:
    """Outputs before it are equal or wrong; from it on EvalPlus keeps a tolerance. A row's own stays."""
    assert tolerances([1, [0.5], [], "x"], 0) == [0, 1e-6, 1e-6, 1e-6]
    assert tolerances([1, 2.0], 1e-4) == [1e-4, 1e-4]
    assert tolerances([[1, 0.5], []], 0) == [0, 0]


def test_any_value_will_do_for_three_problems() -> None:
    """A match of a regular expression has no form outside its process; that there is one is enough."""
    assert expected_from("Mbpp/737", "check_str", UNSEEN) is True
    assert expected_from("Mbpp/737", "check_str", None) is False
    assert expected_from("Mbpp/3", "is_not_prime", None) is None


def test_limits_by_hand() -> None:
    """A call: 4 s, or 4 times the slowest. All: the sum, 60 s or 4 times a slow reference, and 1 s more."""
    assert find_limits([0.1, 0.2], 4, 4, 60) == (4, 9)
    assert find_limits([0.1, 2.0], 4, 4, 60) == (8, 13)
    assert find_limits([0.125] * 1000, 4, 4, 60) == (4, 501)
    assert find_limits([0.001] * 1000, 4, 4, 60) == (4, 61)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(VALUES, VALUES, st.sampled_from([0, 1e-6, 1e-4]))
def test_judging_never_raises(output: Any, expected: Any, atol: float) -> None:
    """Whatever comes back, for every kind of problem; and what is close is so both ways in shape."""
    for task_id, name in (
        ("HumanEval/0", "f"), ("HumanEval/32", "find_zero"), ("Mbpp/2", "similar_elements"),
        ("Mbpp/737", "check_str"), ("Mbpp/581", "surface_Area"), ("Mbpp/558", "digit_distance_nums"),
    ):  # fmt: skip
        assert is_right(task_id, name, [expected, output], output, expected, atol) in (True, False)
    if output == expected:
        assert is_right("HumanEval/0", "f", [], output, expected, atol)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_base_inputs_suit_the_solutions(data_root: Path) -> None:
    """Each base input, as it is read, runs in its reference solution, whose output is right by the rules."""
    for sample in load("evalplus", data_root):
        problem = sample.metadata["problem"]
        task_id, entry_point = problem["task_id"], problem["entry_point"]
        scope: dict[str, Any] = {}
        exec(compile(solve(sample), task_id, "exec"), scope)
        inputs = read_inputs(task_id, problem["base_input"])
        again = read_inputs(task_id, problem["base_input"])
        outputs = [scope[entry_point](*arguments) for arguments in again]
        expected = [expected_from(task_id, entry_point, output) for output in outputs]
        for case in zip(inputs, outputs, expected, tolerances(expected, problem["atol"]), strict=True):
            assert is_right(task_id, entry_point, *case), (task_id, case)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["humaneval", "mbpp", "evalplus"])
def test_reference_solutions_are_correct(name: str, sandbox: Sandbox, data_root: Path) -> None:
    """All of them, in a chat answer, HumanEval/32 included; of one problem's inputs five are left out."""
    samples, verdicts = judge_solutions(name, data_root)
    assert [v for v in verdicts if v.outcome != "correct"] == []
    left_out = [s.sample_id for s, v in zip(samples, verdicts, strict=True) if "left out" in v.reason]
    assert left_out == (["evalplus/Mbpp/255"] if name == "evalplus" else [])


def judge_solutions(name: str, root: Path) -> tuple[list[Sample], list[Verdict]]:
    samples = load(name, root)
    answers = [f"Here it is:\n```python\n{solve(sample)}\n```" for sample in samples]
    with ThreadPoolExecutor(2) as pool:
        return samples, list(pool.map(load_task(name).score, samples, answers))


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["unshare", "landlock"])
def test_they_are_correct_behind_the_weaker_walls(tier: str, sandbox: Sandbox, data_root: Path) -> None:
    """HumanEval's checks, MBPP's inputs and all of HumanEval+, in each tier that runs here."""
    try:
        weaker = Sandbox(workers=2, tier=tier)
    except SandboxError as error:
        pytest.skip(str(error))
    with weaker:
        use_sandbox(weaker)
        try:
            for name in ("humaneval", "mbpp", "humaneval_plus"):
                verdicts = judge_solutions(name, data_root)[1]
                assert [v for v in verdicts if v.outcome != "correct"] == []
                assert all(f"[{tier}]" in v.reason for v in verdicts)
        finally:
            use_sandbox(sandbox)


RIGHT = {
    "HumanEval/53": ("x, y", "x + y"),
    "Mbpp/17": ("a", "4 * a"),
    "Mbpp/79": ("s", "len(s) % 2 != 0"),
}
"""What some problems are given, and what they return."""


@pytest.mark.parametrize("name", ["humaneval", "humaneval_plus", "mbpp_plus", "evalplus"])
def test_mutants_are_found_out(name: str, sandbox: Sandbox, data_root: Path) -> None:
    """Off by one, of a wrong type, endless, raising: all wrong; wrong on plus inputs only: half wrong."""
    score = code_scorer(call_s=1.0)
    for sample in load(name, data_root):
        problem = sample.metadata["problem"]
        if problem["task_id"] not in RIGHT:
            continue
        names, right = RIGHT[problem["task_id"]]
        head = f"def {problem['entry_point']}({names})"

        def judge(body: str, head: str = head, sample: Sample = sample) -> Verdict:
            return score(sample, f"```python\n{head}:\n    {body}\n```")

        assert judge(f"return {right}").outcome == "correct"
        for body in (
            f"return ({right}) + 1", f"return [{right}]", "while True: pass", "raise ValueError('no')",
            "import sys; sys.exit(0)",
        ):  # fmt: skip
            verdict = judge(body)
            assert verdict.outcome == "incorrect", (sample.sample_id, body, verdict)
            assert set(verdict.parts.values()) <= {0.0}
        if "plus_input" in problem:
            known = f"return {right} if [{names}] in {problem['base_input']!r} else None"
            verdict = judge(known)
            assert (verdict.outcome, verdict.reason[:10]) == ("incorrect", "plus input")
            assert list(verdict.parts.values()) == ([1.0, 0.0] if name == "evalplus" else [])


def _hold(sandbox: Sandbox, problem: dict[str, Any], kind: str, program: str) -> str:
    """Returns the verdict on base, and on base and plus, as the golden file writes it."""
    found = judge_program(problem, program, call_s=1.0 if kind == LOOP else 4.0)
    return LETTERS[" and ".join("pass" if passed else "fail" for passed in (found.base_passed, found.passed))]


@pytest.mark.parametrize(("name", "share"), [("humaneval_plus", 3), ("mbpp_plus", 6)])
def test_mutants_get_the_verdicts_of_evalplus(
    sandbox: Sandbox, data_root: Path, name: str, share: int
) -> None:
    """Off by one, of another type, endless, raising, wrong on one plus input: as EvalPlus 0.3.1 judges them.

    tests/golden/evalplus_verdicts.json holds what EvalPlus said, by benchmarks/evalplus_agreement.py; a part
    of the problems is run here, but for the few where the sides differ for a known reason.
    """
    golden = json.loads((Path(__file__).parent / "golden" / "evalplus_verdicts.json").read_text())
    problems = [sample.metadata["problem"] for sample in load(name, data_root)]
    asked = [
        (problem, kind, program)
        for number, problem in enumerate(problems)
        for kind, program in mutate(problem)
        if problem["task_id"] not in KNOWN and number % (40 if kind == LOOP else share) == 0
    ]
    use_sandbox(sandbox)
    try:
        with ThreadPoolExecutor(2) as threads:
            ours = list(threads.map(lambda case: _hold(sandbox, *case), asked))
    finally:
        use_sandbox(None)
    differ = [
        f"{problem['task_id']}, {kind}: {our}"
        for (problem, kind, _), our in zip(asked, ours, strict=True)
        if our != golden[problem["task_id"]][KINDS.index(kind)]
    ]
    assert not differ
    assert {kind for _, kind, _ in asked} == set(KINDS)
