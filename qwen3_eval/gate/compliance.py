"""The gate on ThinkFollow: does a candidate obey switches as a baseline does, on the same dialogues?"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen3_eval.budget import parse_budget
from qwen3_eval.errors import ConfigError, StoreError
from qwen3_eval.gate.judge import Metric
from qwen3_eval.gate.likeness import name_some, tell_difference
from qwen3_eval.gate.rules import Rules
from qwen3_eval.thinkfollow.journal import JOURNAL, read_journal
from qwen3_eval.thinkfollow.tables import UNDECIDED, frame_of

if TYPE_CHECKING:
    import pandas as pd

THINKFOLLOW = "thinkfollow"
"""What the gate calls the dialogues, as it calls the task of a sweep."""
_SUMMARY = "thinkfollow.json"
_ASKING = ("seed", "turns", "max_answer_tokens", "max_output_tokens", "sampling")
_ENGINE = ("model.impl", "engine.name", "engine.dtype", "engine.max_model_len", "engine.yarn_factor")
_KEYS = ["dialogue", "turn"]


@dataclass(frozen=True)
class Followed:
    """A folder of `thinkfollow` as a gate sees it. `identity` is the journal's; `turns` has all its turns.

    `unfinished` says in words what is missing, "" where nothing is.
    """

    folder: Path
    name: str
    model: str
    identity: Mapping[str, Any]
    turns: "pd.DataFrame"
    unfinished: str

    def at(self, budget: str) -> "pd.DataFrame":
        """Returns the turns at a budget."""
        return self.turns[self.turns["budget"] == budget]

    def budgets(self) -> list[str]:
        """Returns the budgets, the least first."""
        return sorted((str(budget) for budget in self.turns["budget"].unique()), key=parse_budget)


def holds_dialogues(folder: str) -> bool:
    """Returns whether a folder is one of `thinkfollow`, and not of a sweep."""
    path = Path(folder).expanduser()
    return bool(folder) and (path / JOURNAL).is_file() and not (path / "run.json").is_file()


def read_followed(folder: str, setting: str) -> Followed:
    """Returns what a folder of `thinkfollow` holds. Raises StoreError where that is nothing, or damaged."""
    path = Path(folder).expanduser()
    journal = read_journal(path / JOURNAL)
    if journal is None or not journal.rows:
        raise StoreError(f"{setting}='{folder}' holds no finished dialogue yet; let its thinkfollow run on")
    turns = frame_of(journal.rows)
    summary = _read_summary(path / _SUMMARY)
    model = str(summary.get("model", {}).get("name") or "model not told")
    unfinished = "its thinkfollow was stopped"
    if summary and not any(_has_gaps(here) for _, here in turns.groupby("budget")):
        unfinished = ""
    return Followed(path, path.resolve().name, model, journal.identity, turns, unfinished)


def check_followed_rules(rules: Rules) -> None:
    """Raises ConfigError where what only a sweep has is asked for."""
    if rules.max_forced is not None or rules.max_thinking_tokens is not None:
        raise ConfigError(
            "gate.max_forced and gate.max_thinking_tokens judge sweeps; of thinkfollow, compliance is judged "
            "(gate.max_drop); leave them out"
        )


def list_unlike_followed(baseline: Followed, candidate: Followed) -> list[str]:
    """Returns what forbids to pair the dialogues, a sentence each; none where they were asked alike."""
    ours, theirs = baseline.identity, candidate.identity
    shared = [budget for budget in baseline.budgets() if budget in candidate.budgets()]
    names = [*_ASKING, *(["stop_text"] if any(budget != "inf" for budget in shared) else [])]
    found = [
        tell_difference(name, ours.get(name), theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
    if ours.get("seed") != theirs.get("seed") or ours.get("turns") != theirs.get("turns"):
        return found
    print_of = "dialogues.fingerprint"
    if ours.get(print_of) != theirs.get(print_of):
        told = tell_difference(print_of, ours.get(print_of), theirs.get(print_of))
        return [*found, f"{told}: other task=, or drawn by another version of qwen3_eval"]
    return [*found, *_of_dialogues(baseline, candidate, shared), *_of_prompts(baseline, candidate)]


def list_followed_notes(baseline: Followed, candidate: Followed) -> list[str]:
    """Returns what a reader should know beside the verdict, a sentence each."""
    ours, theirs = baseline.identity, candidate.identity
    notes = []
    if ours.get("model.fingerprint") == theirs.get("model.fingerprint"):
        notes.append("baseline and candidate are the same checkpoint, asked with the same seed")
    notes += [
        tell_difference(name, ours.get(name), theirs.get(name))
        for name in _ENGINE
        if ours.get(name) != theirs.get(name)
    ]
    more = [budget for budget in candidate.budgets() if budget not in baseline.budgets()]
    if more:
        notes.append(f"not judged, as the baseline has no such turns: budget={','.join(more)}")
    for budget in baseline.budgets():
        n_more = len(_names(candidate.at(budget)) - _names(baseline.at(budget)))
        if n_more and budget not in more and len(candidate.at(budget)):
            notes.append(f"{n_more:,} dialogues that the baseline was not asked at {budget} are left out")
    notes.append("plain dialogues are judged; traps and the hard switch non-thinking are told by thinkfollow")
    return notes


def list_followed_metrics(baseline: Followed, candidate: Followed, rules: Rules) -> list[Metric]:
    """Returns plain compliance at each budget of the baseline, paired turn by turn, clustered by dialogue."""
    return [_of_budget(budget, baseline, candidate, rules) for budget in baseline.budgets()]


def _of_budget(budget: str, baseline: Followed, candidate: Followed, rules: Rules) -> Metric:
    ours, theirs = baseline.at(budget), candidate.at(budget)
    b, a = _score(ours), _score(theirs)
    holes = [baseline.unfinished and f"baseline: {baseline.unfinished}; run the same command again"]
    if theirs.empty:
        holes.append(f"candidate: no turns with budget={budget}; ask it with that too")
    elif candidate.unfinished:
        holes.append(f"candidate: {candidate.unfinished}; run the same command again")
    for who, scores in (("baseline", b), ("candidate", a[a.index.isin(b.index)])):
        n_open = int(scores.isna().sum())
        if n_open > rules.max_error * len(scores):
            holes.append(
                f"{who}: {n_open:,} of {len(scores):,} turns are undecided or were not asked, and "
                f"gate.max_error is {rules.max_error:g}"
            )
    return Metric(
        "compliance",
        a.reindex(b.index).to_numpy(dtype=float),
        b.to_numpy(dtype=float),
        rules.max_drop[THINKFOLLOW],
        THINKFOLLOW,
        budget=budget,
        clusters=[str(dialogue) for dialogue, _ in b.index],
        holes=tuple(filter(None, holes)),
        n_dialogues=len(_names(ours)),
    )


def _score(turns: "pd.DataFrame") -> "pd.Series":
    """Returns 1 for each plain turn that did what it was asked, else 0; NaN where that is not known."""
    plain = turns[turns["kind"] == "plain"].set_index(_KEYS)
    done = (plain["asked"] == plain["done"]).astype(float)
    return done.mask(plain["done"].isin(["", UNDECIDED]), np.nan)


def _of_dialogues(baseline: Followed, candidate: Followed, budgets: Sequence[str]) -> Iterator[str]:
    """An unfinished candidate may lack dialogues, and cannot pass; one that is done was asked fewer."""
    if candidate.unfinished:
        return
    for budget in budgets:
        asked = _names(baseline.at(budget))
        missing = sorted(asked - _names(candidate.at(budget)))
        if missing:
            yield (
                f"dialogues at budget {budget}: the candidate was not asked {len(missing):,} of the "
                f"baseline's {len(asked):,} ({name_some(missing)}); ask it dialogues={len(asked)}"
            )


def _of_prompts(baseline: Followed, candidate: Followed) -> Iterator[str]:
    """A first turn's prompt holds no answer yet, so it must be the same."""
    ours, theirs = (_first_prompts(side.turns) for side in (baseline, candidate))
    changed = sorted(name for name, found in ours.items() if theirs.get(name, found) != found)
    if changed:
        yield (
            f"first prompts: {len(changed):,} of {len(ours):,} were asked with other token ids "
            f"({name_some(changed)}); chat template or tokenizer changed"
        )


def _first_prompts(turns: "pd.DataFrame") -> dict[str, str]:
    first = turns[(turns["turn"] == 1) & (turns["prompt_sha256"] != "")]
    return dict(zip(first["dialogue"], first["prompt_sha256"], strict=True))


def _names(turns: "pd.DataFrame") -> set[str]:
    return {str(name) for name in turns["dialogue"].unique()}


def _has_gaps(turns: "pd.DataFrame") -> bool:
    """Dialogues are numbered from 0 on, and end in any order: a gap is one that was under way."""
    numbers = [int(name[1:]) for name in _names(turns)]
    return max(numbers) >= len(numbers)


def _read_summary(path: Path) -> dict[str, Any]:
    """Returns what `thinkfollow` wrote at its end, {} where it did not come so far. Raises StoreError."""
    if not path.is_file():
        return {}
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"'{path}' cannot be read: {error}; run thinkfollow again, which writes it anew"
        ) from error
    return summary if isinstance(summary, dict) else {}
