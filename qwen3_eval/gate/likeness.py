"""Whether two sides of a gate may be compared at all, and in what else they differ."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qwen3_eval.chat import STOP_TEXTS
from qwen3_eval.gate.metrics import show_budget
from qwen3_eval.gate.sides import Published, Side, TaskScores
from qwen3_eval.protocol import QWEN3_REPORT, REPORT_SAMPLING
from qwen3_eval.types import MODES, THINKING

_ENGINE = (
    "model.impl", "engine.name", "engine.dtype", "engine.max_model_len", "engine.yarn_factor",
    "sweep.strategy",
)  # fmt: skip
_SCORERS = ("qwen3_eval", "math-verify", "sympy")
_NAMED = 3
"""So many questions are named where they differ; the others are counted."""


def list_unlike(baseline: Side, candidate: Side, tasks: Sequence[str]) -> list[str]:
    """Returns what forbids to compare these tasks, a sentence each; none where they were asked alike."""
    shared = [name for name in tasks if name in candidate.tasks]
    found = [*_of_settings(baseline, candidate, shared)]
    for name in shared:
        found += _of_questions(name, baseline, candidate)
        found += _of_prompts(name, baseline.tasks[name], candidate.tasks[name])
    return found


def list_unlike_published(baseline: Published, candidate: Side) -> list[str]:
    """Returns what forbids to compare a run with a report's numbers, a sentence each."""
    if candidate.protocol != QWEN3_REPORT:
        shown = f"protocol={candidate.protocol}" if candidate.protocol else "no protocol="
        return [f"the candidate was swept with {shown}; sweep it with protocol={QWEN3_REPORT}"]
    found = []
    for mode in dict.fromkeys(mode for _, mode, _ in baseline.scores):
        if mode not in REPORT_SAMPLING:
            continue
        for name, value in REPORT_SAMPLING[mode].as_dict().items():
            setting = f"sampling.{mode.replace('-', '_')}.{name}"
            got = candidate.settings.get(setting)
            if got != value:
                found.append(f"{setting} is {value:g} in the report and {_show(got)} in the candidate")
    return found


def list_notes(baseline: Side | Published, candidate: Side, tasks: Sequence[str]) -> list[str]:
    """Returns what a reader should know beside the verdict, a sentence each."""
    if isinstance(baseline, Published):
        return [
            "published numbers say nothing of single questions, so nothing is paired, and the intervals are "
            "the candidate's alone",
            *(f"departure from the protocol: {each}" for each in candidate.departures),
        ]
    notes = []
    if baseline.model.get("fingerprint") == candidate.model.get("fingerprint"):
        same_seed = baseline.settings.get("seed") == candidate.settings.get("seed")
        notes.append(
            "baseline and candidate are the same checkpoint"
            + (", swept with the same seed: their answers need not be independent" if same_seed else "")
        )
    for name in _ENGINE:
        ours, theirs = baseline.settings.get(name), candidate.settings.get(name)
        if ours != theirs:
            notes.append(f"{name} is {_show(ours)} in the baseline and {_show(theirs)} in the candidate")
    for name in _SCORERS:
        ours, theirs = baseline.versions.get(name), candidate.versions.get(name)
        if ours != theirs:
            notes.append(f"scored by {name} {ours} in the baseline and {theirs} in the candidate")
    for name in tasks:
        if name in candidate.tasks:
            notes += _of_more(name, baseline.tasks[name], candidate.tasks[name])
    others = [name for name in candidate.tasks if name not in baseline.tasks]
    if others:
        notes.append(f"not judged, as the baseline has no such task: {', '.join(others)}")
    return notes


def _of_settings(baseline: Side, candidate: Side, tasks: Sequence[str]) -> Iterator[str]:
    ours, theirs = baseline.settings, candidate.settings
    points = {point for name in tasks for point in baseline.tasks[name].cells}
    points &= {point for name in tasks for point in candidate.tasks[name].cells}
    names = ["max_answer_tokens", "max_output_tokens"]
    if any(mode == THINKING and budget < math.inf for mode, budget in points):
        names.append("stop_text")
    for mode in MODES:
        if any(mode == there for there, _ in points):
            prefix = f"sampling.{mode.replace('-', '_')}."
            names += sorted(name for name in {**ours, **theirs} if name.startswith(prefix))
    for name in tasks:
        names += [f"options.{name}", f"data.fingerprint of {name}"]
    if baseline.protocol != candidate.protocol:
        yield tell_difference("protocol", baseline.protocol, candidate.protocol)
    for name in names:
        if ours.get(name) != theirs.get(name):
            yield tell_difference(name, ours.get(name), theirs.get(name))
    for name in tasks:
        for key in ("metric", "average"):
            pair = [side.tasks[name].about.get(key) for side in (baseline, candidate)]
            if pair[0] != pair[1]:
                yield tell_difference(f"{key} of {name}", *pair)


def _of_questions(name: str, baseline: Side, candidate: Side) -> Iterator[str]:
    """An unfinished candidate may lack questions, and cannot pass; one that is done was asked others."""
    ours, theirs = baseline.tasks[name], candidate.tasks[name]
    there = set(theirs.ids)
    missing = [sample_id for sample_id in ours.ids if sample_id not in there]
    if not missing or (candidate.unfinished and len(missing) < len(ours.ids)):
        return
    yield (
        f"questions of {name}: the candidate was not asked {len(missing):,} of the baseline's "
        f"{len(ours.ids):,} ({name_some(missing)}); sweep it with the baseline's limit= and shard="
    )


def _of_prompts(name: str, ours: TaskScores, theirs: TaskScores) -> Iterator[str]:
    places = {sample_id: place for place, sample_id in enumerate(theirs.ids)}
    for mode, hashes in ours.prompts.items():
        others = theirs.prompts.get(mode)
        if others is None:
            continue
        changed = [
            sample_id
            for sample_id, found in zip(ours.ids, hashes, strict=True)
            if sample_id in places and found and others[places[sample_id]] not in ("", found)
        ]
        if changed:
            yield (
                f"prompts of {name} in mode {mode}: {len(changed):,} of {len(ours.ids):,} were asked with "
                f"other token ids ({name_some(changed)}); task, chat template or tokenizer changed"
            )


def _of_more(name: str, ours: TaskScores, theirs: TaskScores) -> Iterator[str]:
    n_more = len(set(theirs.ids) - set(ours.ids))
    if n_more:
        yield f"{n_more:,} questions of {name} that the baseline was not asked are left out"
    points = [point for point in theirs.cells if point not in ours.cells]
    if points:
        shown = ", ".join(f"{mode} {show_budget(budget)}".strip() for mode, budget in points)
        yield f"not judged, as the baseline has no such records: {name} {shown}"


def tell_difference(name: str, ours: Any, theirs: Any) -> str:
    """Returns in words how a setting differs; of a mapping, each of its settings that does."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        keys = sorted(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))
        return "; ".join(tell_difference(f"{name}.{key}", ours.get(key), theirs.get(key)) for key in keys)
    if name == "stop_text":
        ours, theirs = (_name_stop(text) for text in (ours, theirs))
    return f"{name} is {_show(ours)} in the baseline and {_show(theirs)} in the candidate"


def _name_stop(text: Any) -> Any:
    return next((name for name, known in STOP_TEXTS.items() if known == text), text)


def _show(value: Any) -> str:
    if value is None:
        return "not set"
    text = value if isinstance(value, str) and value else repr(value)
    return text if len(text) <= 60 else f"{text[:28]!r} ... ({len(text)} characters)"


def name_some(ids: Sequence[str]) -> str:
    """Returns the first of these names, and how many more there are."""
    more = f", and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more
