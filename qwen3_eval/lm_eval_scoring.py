"""Scores answers by lm-eval's own filters and metrics, in a process of their own.

Answers are scored from several threads. Code of lm-eval's tasks is not made for that: some set alarm signals,
which only a main thread may, and some keep state. So one child process runs it, an answer at a time, and is
ended where it hangs. It needs no rows: a sample carries its document. Run as a module, this file is the
child: a request is a line of JSON on its input, a reply a line on its output.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from copy import deepcopy
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from qwen3_eval.types import Sample, Verdict

TIMEOUT_S = 120.0
"""The longest that the scoring of one answer may take, the start of the child included."""

_MAX_SHOWN_CHARS = 200
_NOT_FOUND = "[invalid]"  # what lm-eval's regex filters give where nothing matches


def score_answer(file: Path, sample: Sample, answer: str) -> Verdict:
    """Judges an answer by the task in `file`: the score is the metric that the sample's metadata name.

    The answer is cut at each of the metadata's `until` in turn, as lm-eval's models do.
    """
    known = sample.metadata
    for stop in known["until"]:
        answer = answer.split(stop)[0]
    reply = _child.ask(
        {
            "file": str(file),
            "doc": known["doc"],
            "multiple_target": known["multiple_target"],
            "filters": sorted({name.rpartition(",")[2] for name in sample.parts}),
            "answer": answer,
        }
    )
    if "error" in reply:
        return Verdict.error(reply["error"])
    values = reply["values"]
    wrong = [f"{name}={values.get(name)}" for name in sample.parts if not is_share(values.get(name))]
    if wrong:
        return Verdict.error(f"lm-eval gave a value that is no number from 0 to 1: {', '.join(wrong)}")
    metric = known["metric"]
    score, parts = values[metric], {name: values[name] for name in sample.parts}
    read = reply["filtered"][metric.rpartition(",")[2]]
    if score == 0 and (read == _NOT_FOUND or not answer.strip()):
        return Verdict("no_answer", 0.0, None, f"{metric}: lm-eval's filter found no answer", parts)
    shown = read if len(read) <= _MAX_SHOWN_CHARS else read[:_MAX_SHOWN_CHARS] + "…"
    return Verdict("correct" if score == 1 else "incorrect", score, shown, f"{metric} is {score:g}", parts)


def is_share(value: object) -> bool:
    """True for a number from 0 to 1, which is all that a score here can be."""
    return isinstance(value, float) and 0 <= value <= 1


def apply_metrics(
    task: Any, doc: Mapping[str, Any], answer: str, filters: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns each metric of an answer by its name, as "exact_match,strict-match", and what each filter read.

    A metric is a float, or None where lm-eval gives something that is no number.
    """
    from lm_eval.api.instance import Instance

    instance = Instance("generate_until", doc, ("", {}), 0, metadata=(task.task_name, 0, 1), resps=[answer])
    for ensemble in task._filters:
        if ensemble.name in filters:
            ensemble.apply([instance])
    values = {
        f"{metric},{name}": _read_number(value)
        for name, filtered in instance.filtered_resps.items()
        for metric, value in task.process_results(deepcopy(doc), [filtered]).items()
    }
    return values, {name: str(filtered) for name, filtered in instance.filtered_resps.items()}


def _read_number(value: Any) -> float | None:
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    number = float(plain) if isinstance(plain, bool | int | float) else math.nan
    return None if math.isnan(number) else number


class _Child:
    """The process that scores; started when it is first asked, and again where it has ended."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the child's reply; one with an `error` where it has none. Waits for its turn."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            process = self._process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            alarm = Timer(TIMEOUT_S, process.kill)
            alarm.start()
            try:
                process.stdin.write(line)
                process.stdin.flush()
                reply = process.stdout.readline()
            except BrokenPipeError:
                reply = b""
            finally:
                alarm.cancel()
            if not reply:
                self._process = None
                code = process.wait()
                return {"error": f"the process that scores ended with code {code}; it has {TIMEOUT_S:g} s"}
        found: dict[str, Any] = json.loads(reply)
        return found

    @staticmethod
    def _start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "qwen3_eval.lm_eval_scoring"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # lm-eval's warnings, and whatever a task prints
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is for the parent, whose end ends the child
        )


_child = _Child()


_tasks: dict[str, Any] = {}


def _find_task(file: str, doc: Mapping[str, Any]) -> Any:
    """Returns the task of a file, made once; `doc` stands for its rows, which are not at hand."""
    if file not in _tasks:
        import datasets  # type: ignore[import-untyped]  # it carries no types

        rows = {"test": datasets.Dataset.from_list([dict(doc)])}
        _tasks[file] = build_task(
            Path(file),
            custom_dataset=lambda **_: rows,
            dataset_kwargs=None,
            training_split=None,
            validation_split=None,
            test_split="test",
            process_docs=None,
            fewshot_config=None,
            fewshot_split=None,
        )
    return _tasks[file]


def build_task(file: Path, **overrides: Any) -> Any:
    """Returns lm-eval's own task object for a YAML file, its keys overridden. It loads its rows at once."""
    from lm_eval.tasks._factory import TaskFactory
    from lm_eval.tasks._index import Entry, Kind

    return TaskFactory().build(Entry(file.stem, Kind.TASK, file), overrides=overrides, registry={})


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    doc = request["doc"]
    try:
        task = _find_task(request["file"], doc)
        # What lm-eval reads from the first row of all, of which the document at hand need not be one.
        task.features, task.multiple_target = list(doc), request["multiple_target"]
        values, filtered = apply_metrics(task, doc, request["answer"], request["filters"])
    except Exception as error:  # a task's code may raise anything
        return {"error": f"lm-eval's scorer failed: {type(error).__name__}: {error}"}
    return {"values": values, "filtered": filtered}


def serve() -> None:
    """Answers requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a task prints is no reply
    for line in sys.stdin.buffer:
        print(json.dumps(_answer(json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    serve()
