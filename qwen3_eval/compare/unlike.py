"""In what two runs differ beside their scores, in plain words: it says what a difference may be laid to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget
from qwen3_eval.chat import STOP_TEXTS
from qwen3_eval.past_run import PastRun
from qwen3_eval.types import MODES, THINKING

if TYPE_CHECKING:
    import pandas as pd

Asked = Mapping[tuple[str, str], str]
"""The words of each question, by task and sample id: a digest is enough."""

CHANCE = "seed"
"""Differs in nothing but the draw, so it explains no difference."""
ASIDE = ("versions", "questions", "points", "state")
"""Said, but no cause to name: versions rarely matter, and only what both have is compared."""

_LONGEST_VALUE = 60
_SETTINGS = {
    "model.impl": "engine", "engine.name": "engine", "engine.dtype": "engine",
    "engine.max_model_len": "engine", "engine.yarn_factor": "engine", "seed": CHANCE,
    "max_answer_tokens": "limits", "max_output_tokens": "limits", "sweep.strategy": "strategy",
}  # fmt: skip
"""Settings of run.json's identity and the kind of thing they are; the others are told by their own rules."""


@dataclass(frozen=True)
class Unlike:
    """One thing in which two runs differ: its kind, as "model" or "prompts", and a sentence about it."""

    kind: str
    said: str


def list_unlike(
    a: PastRun, b: PastRun, tasks: Sequence[str], asked: tuple[Asked, Asked] | None = None
) -> list[Unlike]:
    """Returns everything in which the runs differ on the `tasks` they share, what matters most first.

    `asked` holds the words of each run's questions, which tell another prompt from another chat template.
    """
    return [
        *_of_model(a, b),
        *_of_prompts(a, b, tasks, asked),
        *_of_settings(a, b),
        *_of_tasks(a, b, tasks),
        *_of_versions(a, b),
        *_of_questions(a, b, tasks),
        *_of_points(a, b, tasks),
        *_of_state(a),
        *_of_state(b),
    ]


def explain_unlike(a: PastRun, b: PastRun, found: Sequence[Unlike]) -> str:
    """Returns the sentence that says what a difference of scores between these runs may be laid to."""
    kinds = list(dict.fromkeys(each.kind for each in found if each.kind not in (*ASIDE, CHANCE)))
    seeds = "" if any(each.kind == CHANCE for each in found) else ", the seed included"
    pair = f"{a.name} and {b.name}"
    if not kinds and seeds:
        return f"{pair} were asked in the same way with the same seed: they should hardly differ."
    if not kinds:
        return f"{pair} differ in the seed alone: what differs in their scores is chance."
    if len(kinds) == 1:
        return f"{pair} differ in the {kinds[0]} alone: what is more than chance comes from the {kinds[0]}."
    listed = f"{', '.join(kinds[:-1])} and {kinds[-1]}"
    return (
        f"{pair} differ in {listed}: a difference of scores comes from all together, and tells nothing of "
        "any one of them."
    )


def _of_model(a: PastRun, b: PastRun) -> Iterator[Unlike]:
    one, other = a.run.get("model", {}), b.run.get("model", {})
    if one.get("fingerprint") == other.get("fingerprint"):
        return
    names = [model.get("name") or model.get("path") or "?" for model in (one, other)]
    if names[0] == names[1]:  # a checkpoint of the same name: the fingerprints alone tell them apart
        names = [
            f"{name} ({_short(str(m.get('fingerprint')))})"
            for name, m in zip(names, (one, other), strict=True)
        ]
    yield Unlike("model", f"model: {names[0]} in {a.name}, {names[1]} in {b.name}")


def _of_prompts(
    a: PastRun, b: PastRun, tasks: Sequence[str], asked: tuple[Asked, Asked] | None
) -> Iterator[Unlike]:
    """A prompt is its token ids: other words, another chat template or another tokenizer make another one.

    The template and the tokenizer are the model's own: where that is another too, they are no further thing.
    """
    other_model = a.run.get("model", {}).get("fingerprint") != b.run.get("model", {}).get("fingerprint")
    for task in tasks:
        for mode in MODES:
            pair = [_prompts_of(past.records, task, mode) for past in (a, b)]
            shared = pair[0].index.intersection(pair[1].index)
            changed = shared[(pair[0].loc[shared] != pair[1].loc[shared]).to_numpy()]
            if not len(changed):
                continue
            why, kind = "", "prompts"
            if asked is not None:
                n_words = sum(asked[0].get((task, i)) != asked[1].get((task, i)) for i in changed)
                template = "the same words, rendered or tokenized in another way"
                why = f" ({template})" if not n_words else f" ({n_words:,} in their words)"
                kind = "prompts" if n_words or not other_model else "model"
            yield Unlike(
                kind,
                f"prompts: {task}, {mode}: {len(changed):,} of {len(shared):,} shared questions were asked "
                f"with other token ids{why}",
            )  # fmt: skip


def _prompts_of(records: "pd.DataFrame", task: str, mode: str) -> "pd.Series[str]":
    mine = records[(records["task"] == task) & (records["mode"] == mode)]
    return mine.drop_duplicates("sample_id").set_index("sample_id")["prompt_sha256"]


def _of_settings(a: PastRun, b: PastRun) -> Iterator[Unlike]:
    one, other = a.run.get("identity", {}), b.run.get("identity", {})
    modes = set(a.records["mode"]) & set(b.records["mode"])
    thinking = THINKING in modes
    for mode in MODES:
        prefix = f"sampling.{mode.replace('-', '_')}."
        names = [name for name in _names(one, other) if name.startswith(prefix)]
        changed = [name for name in names if one.get(name) != other.get(name)]
        if changed and mode in modes:
            parts = [
                f"{n.removeprefix(prefix)} {_show(one.get(n))} and {_show(other.get(n))}" for n in changed
            ]
            said = f"sampling of {mode}: {', '.join(parts)} ({a.name} and {b.name})"
            yield Unlike("sampling", said)
    stops = [_name_stop(past.run.get("stop_text", "")) for past in (a, b)]
    if stops[0] != stops[1] and thinking:
        yield Unlike("stop text", f"stop text: {stops[0]} in {a.name}, {stops[1]} in {b.name}")
    for name, kind in _SETTINGS.items():
        if one.get(name) != other.get(name) and (kind != "strategy" or thinking):
            values = f"{_show(one.get(name))} in {a.name}, {_show(other.get(name))} in {b.name}"
            yield Unlike(kind, f"{name}: {values}")
    walls = [past.run.get("sandbox") or "" for past in (a, b)]
    if walls[0] != walls[1] and all(walls):
        yield Unlike("sandbox", f"sandbox: {walls[0]} in {a.name}, {walls[1]} in {b.name}")


def _of_tasks(a: PastRun, b: PastRun, tasks: Sequence[str]) -> Iterator[Unlike]:
    for task in tasks:
        options: list[Mapping[str, Any]] = [
            past.run.get("identity", {}).get(f"options.{task}") or {} for past in (a, b)
        ]
        for name in _names(*options):
            one, other = (_show(chosen.get(name)) for chosen in options)
            if one != other:
                yield Unlike("options", f"options.{task}.{name}: {one} in {a.name}, {other} in {b.name}")
        about = [past.run.get("tasks", {}).get(task, {}) for past in (a, b)]
        for name in ("metric", "average", "parallel"):
            if about[0].get(name) != about[1].get(name):
                said = f"{_show(about[0].get(name))} in {a.name}, {_show(about[1].get(name))} in {b.name}"
                yield Unlike("scoring", f"{name} of {task}: {said}; {a.name}'s is used for both")
        targets = [
            past.records[past.records["task"] == task]
            .drop_duplicates("sample_id")
            .set_index("sample_id")["target"]
            for past in (a, b)
        ]
        shared = targets[0].index.intersection(targets[1].index)
        n_other = int((targets[0].loc[shared] != targets[1].loc[shared]).sum())
        if n_other:
            said = (
                f"targets: {task}: {n_other:,} of {len(shared):,} shared questions have another right answer"
            )
            yield Unlike("targets", said)


def _of_versions(a: PastRun, b: PastRun) -> Iterator[Unlike]:
    one, other = a.run.get("versions", {}), b.run.get("versions", {})
    changed = [name for name in _names(one, other) if one.get(name) != other.get(name)]
    if changed:
        parts = [f"{name} {one.get(name, 'none')} and {other.get(name, 'none')}" for name in changed]
        yield Unlike("versions", f"versions: {', '.join(parts)} ({a.name} and {b.name})")
    devices = [str(past.run.get("engine", {}).get("device", "")) for past in (a, b)]
    if devices[0] != devices[1] and all(devices):
        yield Unlike("versions", f"device: {devices[0]} in {a.name}, {devices[1]} in {b.name}")


def _of_questions(a: PastRun, b: PastRun, tasks: Sequence[str]) -> Iterator[Unlike]:
    for task in tasks:
        mine, theirs = (set(p.records.loc[p.records["task"] == task, "sample_id"]) for p in (a, b))
        lone = ((a, len(mine - theirs)), (b, len(theirs - mine)))
        alone = [f"{n:,} in {past.name} alone" for past, n in lone if n]
        if alone:
            said = f"questions: {task}: {len(mine & theirs):,} shared, {', '.join(alone)}; those are left out"
            yield Unlike("questions", said)
        repeats = [p.records.loc[p.records["task"] == task, "repeat"].max() + 1 for p in (a, b)]
        if repeats[0] != repeats[1]:
            counts = f"{repeats[0]:,} in {a.name}, {repeats[1]:,} in {b.name}"
            said = f"repeats of {task}: {counts}; they are averaged within each question"
            yield Unlike("questions", said)


def _of_points(a: PastRun, b: PastRun, tasks: Sequence[str]) -> Iterator[Unlike]:
    pairs = []
    for past in (a, b):
        mine = past.records[past.records["task"].isin(tasks)]
        pairs.append(set(zip(mine["mode"], mine["budget"], strict=True)))
    for past, alone in ((a, pairs[0] - pairs[1]), (b, pairs[1] - pairs[0])):
        names = [
            format_budget(budget) if mode == THINKING else mode
            for mode, budget in sorted(alone, key=lambda point: (MODES.index(point[0]), point[1]))
        ]
        if names:
            yield Unlike("points", f"in {past.name} alone: {', '.join(names)}; not compared")


def _of_state(past: PastRun) -> Iterator[Unlike]:
    status = past.run.get("status", "done")
    if status != "done":
        yield Unlike("state", f"{past.name} is unfinished ({status}): what it has so far is compared")


def _names(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*one, *other]))


def _name_stop(text: str) -> str:
    return next((name for name, known in STOP_TEXTS.items() if known == text), repr(text[:_LONGEST_VALUE]))


def _short(fingerprint: str) -> str:
    return fingerprint.removeprefix("sha256:")[:8]


def _show(value: object) -> str:
    if value is None:
        return "unset"
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} ..."
