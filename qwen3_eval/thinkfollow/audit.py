"""Does a run keep its budgets? Every promise about a cut, counted again from the stored token ids.

The counting is done by hand here, not by budget.py, whose work it checks.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_eval.budget import Ending, format_budget, parse_budget
from qwen3_eval.chat import THINK_CLOSE, THINK_OPEN, Decoder, find_last_switch
from qwen3_eval.errors import StoreError
from qwen3_eval.run_folder import read_run
from qwen3_eval.score import read_records
from qwen3_eval.store import Store
from qwen3_eval.thinkfollow.journal import JOURNAL, read_journal
from qwen3_eval.thinkfollow.turn_row import TurnRow
from qwen3_eval.types import NON_THINKING, THINKING, Message

Ids = Sequence[int]


@dataclass(frozen=True)
class Breach:
    """A promise that a stored record breaks: where, and what."""

    place: str
    said: str


@dataclass(frozen=True)
class Audit:
    """What was looked at: turns or records, and what they break."""

    n_checked: int
    breaches: Sequence[Breach]
    notes: Sequence[str] = ()


def audit_folder(folder: Path) -> Audit:
    """Returns the audit of what a folder holds: a sweep's run, `thinkfollow`'s dialogues, or both.

    Raises StoreError where it holds neither.
    """
    audits = []
    if (folder / JOURNAL).is_file():
        journal = read_journal(folder / JOURNAL)
        if journal is not None:
            audits.append(audit_turns(journal.rows, journal.identity, reproducible=journal.reproducible))
    run = read_run(folder) if folder.is_dir() else None
    if run is not None:
        audits.append(audit_sweep(folder, run))
    if not audits:
        raise StoreError(
            f"run.dir='{folder}' holds no run (run.json) and no dialogues ({JOURNAL}); name the folder of one"
        )
    return Audit(
        sum(audit.n_checked for audit in audits),
        [breach for audit in audits for breach in audit.breaches],
        [note for audit in audits for note in audit.notes],
    )


def audit_turns(rows: Iterable[TurnRow], identity: Mapping[str, Any], *, reproducible: bool) -> Audit:
    """Checks each turn of `thinkfollow`.

    `identity` is the journal's: `stop_text`, `stop_ids`, `think_ids` (open, close). `reproducible` says
    whether the engine gives one prompt one answer.
    """
    rows = [row for row in rows if row.done]
    stop, (open_id, close_id) = tuple(identity["stop_ids"]), identity["think_ids"]
    worded = _has_words(identity["stop_text"])
    breaches = [
        Breach(f"{row.dialogue}, turn {row.turn}, budget {row.budget}", said)
        for row in rows
        for said in _check_turn(row, stop, worded, open_id, close_id)
    ]
    notes = []
    if reproducible:
        breaches += _check_shared(rows)
    else:
        notes.append("the engine does not repeat its answers, so /no_think was not compared between budgets")
    return Audit(len(rows), breaches, notes)


def _check_turn(row: TurnRow, stop: Ids, worded: bool, open_id: int, close_id: int) -> Iterator[str]:
    budget = parse_budget(row.budget)
    opened = row.opened == "template" or row.ids[:1] == (open_id,)
    inside = row.ids[1:] if row.ids[:1] == (open_id,) else row.ids
    if row.hard == NON_THINKING:
        if row.thinking_tokens or row.forced:
            yield f"non-thinking by the hard switch, yet {row.thinking_tokens} thinking tokens are counted"
        return
    if row.forced:
        if row.thinking_tokens != budget:
            yield f"a forced end at {row.thinking_tokens} thinking tokens, not at its budget"
        if tuple(row.ids[row.cut : row.cut + len(stop)]) != tuple(stop):
            yield "a forced end without the stop text's exact ids"
        if close_id in row.ids[: row.cut]:
            yield "a forced end behind a block that was closed"
        return
    span = inside.index(close_id) if opened and close_id in inside else len(inside) if opened else 0
    span = max(span, row.thinking_tokens)  # some may stand in the prompt
    if span > budget:
        yield f"{span} thinking tokens exceed the budget"
    if worded and _contains(row.ids, stop):
        yield "a natural end that holds the stop text's ids"


def _check_shared(rows: Sequence[TurnRow]) -> Iterator[Breach]:
    """One prompt that asks for non-thinking, and got it, has one completion whatever the budget."""
    found: dict[tuple[str, int, str], dict[tuple[int, ...], str]] = defaultdict(dict)
    for row in rows:
        if row.asked == row.done == NON_THINKING and not row.forced:
            found[row.dialogue, row.turn, row.prompt_sha256].setdefault(row.ids, row.budget)
    for (dialogue, turn, _), completions in found.items():
        if len(completions) > 1:
            budgets = ", ".join(completions.values())
            said = "one prompt under /no_think has different completions"
            yield Breach(f"{dialogue}, turn {turn}, budgets {budgets}", said)


_ROLLOUTS = """
SELECT r.id, r.prefill, r.repeat, s.task, s.sample_id, s.messages
FROM rollouts r JOIN samples s ON s.id = r.sample WHERE r.mode = 'thinking' ORDER BY r.id
"""


def audit_sweep(folder: Path, run: Mapping[str, Any]) -> Audit:
    """Checks each thinking record of a sweep. What stood in a forced answer's prompt is not stored there."""
    breaches: list[Breach] = []
    with Store.read(folder) as store:
        text = store.read_meta("tokenizer.json")
        if text is None:
            raise StoreError(f"run.dir='{folder}' was never started: no tokenizer is stored in it")
        decoder = Decoder(text)
        ids_of = decoder.tokenizer.encode
        (open_id,), (close_id,) = (
            ids_of(tag, add_special_tokens=False).ids for tag in (THINK_OPEN, THINK_CLOSE)
        )
        stop = tuple(ids_of(run["stop_text"], add_special_tokens=False).ids)
        worded = _has_words(run["stop_text"])
        records = read_records(store, [parse_budget(budget) for budget in run["budgets"]])
        records = records[(records["mode"] == THINKING) & (records["outcome"] != "error")]
        by_rollout = {key: rows.to_dict("records") for key, rows in records.groupby("rollout")}
        for rollout in store.query(_ROLLOUTS):
            place = f"{rollout['task']}/{rollout['sample_id']}, repeat {rollout['repeat']}"
            raw, prefill = store.read_trace_ids(rollout["id"]), rollout["prefill"]
            span, closed = _measure_span(raw, prefill, open_id, close_id)
            for ending in store.read_answered(rollout["id"]):
                answer = store.read_answer(rollout["id"], ending)
                written = raw if answer is None else (*raw, *answer.ids)
                holds_stop = worded and _contains(written, stop)
                for said in _check_ending(ending, span, closed, holds_stop):
                    breaches.append(Breach(f"{place}, {ending.kind} at {ending.thinking_tokens}", said))
            mine = by_rollout.get(rollout["id"], [])
            for record in mine:
                budget = record["budget"]
                if record["thinking_tokens"] > budget or (
                    record["forced"] and record["thinking_tokens"] != budget
                ):
                    said = f"{record['thinking_tokens']:.0f} thinking tokens, forced {record['forced']}"
                    breaches.append(Breach(f"{place}, budget {format_budget(budget)}", said))
            if _asks_for_nothing(rollout["messages"]) and not decoder.decode(raw[:span]).strip():
                shared = {r["completion_key"] for r in mine if r["budget"] > span}
                if len(shared) > 1:
                    said = "/no_think has different completions at different budgets"
                    breaches.append(Breach(place, said))
        n_records = len(records)
    return Audit(n_records, breaches)


def _measure_span(raw: Ids, prefill: int | None, open_id: int, close_id: int) -> tuple[int, bool]:
    """Returns how many thinking tokens there are, those in the prompt too, and whether they were closed."""
    if prefill is None:
        if not raw or raw[0] != open_id:
            return 0, True  # no block: the answer came at once
        raw = raw[1:]
    closed = close_id in raw
    return (prefill or 0) + (list(raw).index(close_id) if closed else len(raw)), closed


def _check_ending(ending: Ending, span: int, closed: bool, holds_stop: bool) -> Iterator[str]:
    if ending.forced and span < ending.thinking_tokens:
        yield f"only {span} thinking tokens stand before the cut"
    if not ending.forced and (span != ending.thinking_tokens or not closed):
        yield f"{span} thinking tokens stand before the model's own end"
    if not ending.forced and holds_stop:
        yield "a natural end that holds the stop text's ids"


def _asks_for_nothing(messages: str) -> bool:
    told = [Message(role, content) for role, content in json.loads(messages)]
    return find_last_switch(told) == "/no_think"


def _has_words(stop_text: str) -> bool:
    """A stop text that is the tag alone stands at every natural end too."""
    return bool(stop_text.replace(THINK_CLOSE, "").strip())


def _contains(ids: Ids, part: Ids) -> bool:
    n, whole, wanted = len(part), tuple(ids), tuple(part)
    return any(whole[at : at + n] == wanted for at in range(len(whole) - n + 1) if whole[at] == wanted[0])
