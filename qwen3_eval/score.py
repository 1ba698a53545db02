"""From stored completions to verdicts, and from verdicts to one flat table of records."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import Ending, Trace, find_ending, parse_budget
from qwen3_eval.chat import STOP_TEXTS, Decoder
from qwen3_eval.store import Store
from qwen3_eval.types import BASE, THINKING, Budget, Completion, Message, Sample, Verdict

if TYPE_CHECKING:
    import pandas as pd

Scorer = Callable[[Sample, str], Verdict]

_UNSCORED = """
SELECT g.rollout, g.forced, g.start, s.task, s.sample_id, s."group", s.target, s.messages, s.metadata,
    s.parts, s.completion, r.mode
FROM generations g JOIN rollouts r ON r.id = g.rollout JOIN samples s ON s.id = r.sample
LEFT JOIN verdicts v ON v.rollout = g.rollout AND v.forced = g.forced AND v.thinking_tokens = g.start
WHERE g.kind = 'answer' AND v.rollout IS NULL ORDER BY g.rollout, g.forced, g.start
"""

_ALONG = 32  # answers judged at once beside a sweep
_LOOK_EVERY_S = 1.0

_ROLLOUTS = """
SELECT r.id, s.task, s."group", s.sample_id, s.target, s.parts, r.mode, r.repeat, r.lane, r.prompt_sha256,
    r.prompt_tokens, r.prefill, r.thinking_limit, r.error
FROM rollouts r JOIN samples s ON s.id = r.sample ORDER BY r.id
"""

_SESSIONS = "SELECT id, engine FROM sessions"

_SEGMENTS = """
SELECT rollout, start, tokens, trace_end, finish_reason, seed, session, elapsed, cached_tokens
FROM generations WHERE kind = 'think' ORDER BY rollout, start
"""

_ANSWERS = """
SELECT g.rollout, g.forced, g.start, g.tokens, g.finish_reason, g.seed, g.session, g.elapsed,
    g.cached_tokens, v.outcome, v.score, v.extracted, v.reason, v.parts
FROM generations g LEFT JOIN verdicts v
    ON v.rollout = g.rollout AND v.forced = g.forced AND v.thinking_tokens = g.start
WHERE g.kind = 'answer' ORDER BY g.rollout
"""


def score_answers(
    store: Store,
    scorers: Mapping[str, Scorer],
    decoder: Decoder,
    on_verdict: Callable[[], None] | None = None,
) -> int:
    """Scores every stored answer that has no verdict yet; returns how many. Each verdict is committed.

    A scorer that raises gives the verdict `error`: counted beside the score, never as incorrect.
    """
    rows = (r for r in list(store.query(_UNSCORED)) if r["task"] in scorers)
    done = 0
    with ThreadPoolExecutor(max_workers=4) as pool:
        while batch := list(islice(rows, 256)):
            jobs = [_Job.read(store, row, decoder) for row in batch]
            for job, verdict in zip(jobs, pool.map(lambda j: j.judge(scorers[j.task]), jobs), strict=True):
                store.add_verdict(job.rollout, job.ending, verdict)
                done += 1
                if on_verdict is not None:
                    on_verdict()
    return done


async def score_along(
    store: Store, scorers: Mapping[str, Scorer], decoder: Decoder, generated: asyncio.Event
) -> None:
    """Scores answers of the tasks in `scorers` as they come, until `generated` is set; some may be left.

    It is for scorers that take their time elsewhere, as in a sandbox; judging holds up no generation.
    """
    names = ", ".join("?" * len(scorers))
    query = _UNSCORED.replace("ORDER BY", f"AND s.task IN ({names}) ORDER BY") + f" LIMIT {_ALONG}"
    while not generated.is_set():
        jobs = [_Job.read(store, row, decoder) for row in store.query(query, tuple(scorers))]
        judged = await asyncio.gather(*(asyncio.to_thread(job.judge, scorers[job.task]) for job in jobs))
        for job, verdict in zip(jobs, judged, strict=True):
            store.add_verdict(job.rollout, job.ending, verdict)
        if len(jobs) < _ALONG:
            with suppress(TimeoutError):
                await asyncio.wait_for(generated.wait(), _LOOK_EVERY_S)


@dataclass(frozen=True)
class _Job:
    """One answer to judge."""

    rollout: int
    ending: Ending
    task: str
    sample: Sample
    text: str | None

    @classmethod
    def read(cls, store: Store, row: Any, decoder: Decoder) -> "_Job":
        ending = Ending("forced" if row["forced"] else "natural", row["start"])
        answer = store.read_answer(row["rollout"], ending)
        assert answer is not None
        sample = Sample(
            row["sample_id"],
            tuple(Message(role, content) for role, content in json.loads(row["messages"])),
            json.loads(row["target"]),
            row["group"],
            json.loads(row["metadata"]),
            tuple(json.loads(row["parts"])),
            _read_completion(row["completion"]),
        )
        if row["mode"] == BASE:
            text = decoder.decode(answer.ids)
            read: str | None = text if sample.completion is None else sample.completion.cut(text)
        else:
            read = decoder.read_answer(answer.ids)
        return cls(row["rollout"], ending, row["task"], sample, read)

    def judge(self, scorer: Scorer) -> Verdict:
        if self.text is None:
            return Verdict.no_answer("the answer reopens <think> and never closes it")
        try:
            verdict = scorer(self.sample, self.text)
            return replace(verdict, parts=fill_parts(verdict, self.sample.parts))
        except Exception as error:
            return Verdict.error(f"the scorer failed: {type(error).__name__}: {error}")


def _read_completion(text: str | None) -> Completion | None:
    if text is None:
        return None
    found = json.loads(text)
    return Completion(found["prompt"], tuple(found["stop"]))


def fill_parts(verdict: Verdict, names: Sequence[str]) -> dict[str, float]:
    """Returns the verdict's score of each part: 0 where nothing was answered, or could be judged."""
    if verdict.outcome in ("no_answer", "error"):
        return {name: verdict.parts.get(name, 0.0) for name in names}
    return {name: verdict.parts[name] for name in names}


RECORD_COLUMNS = (
    "task", "group", "sample_id", "mode", "budget", "repeat", "score", "outcome", "extracted", "reason",
    "target", "forced", "truncated", "thinking_tokens", "answer_tokens", "finish_reason", "completion_key",
    "rollout", "prompt_sha256", "prompt_tokens", "stop_text", "trace_finish_reason", "seed", "thinking_s",
    "answer_s", "cached_tokens", "engine", "parts",
)  # fmt: skip
"""What a record holds. Beside its verdict it says where it comes from.

`prompt_sha256` is of the prompt's ids, joined by commas; `stop_text` names what a forced end inserted, ""
where none was. `trace_finish_reason` says how the thinking ended: `stop` (by the model), `length` (by the
budget or the output limit) or "" (there was none); `finish_reason` says it of the answer. `thinking_s` and
`answer_s` are seconds from call to reply; a segment that goes beyond the budget counts by the share used.
`seed`, `cached_tokens` (prompt tokens found in the prefix cache) and `engine` are of the last request that
the record needed, mostly its answer. `parts` is a JSON object of further scores by name, "" for none.
"""


def read_records(store: Store, budgets: Sequence[Budget]) -> "pd.DataFrame":
    """Returns one row per task, sample, mode, repeat and budget, as far as the run has got.

    `budgets` are those of thinking mode, above 0; a rollout with a lane counts for that budget alone.
    Budgets of a rollout that share a completion have the same `completion_key`; -1 stands for none.
    """
    import pandas as pd

    return pd.DataFrame.from_records(list(_read_rows(store, budgets)), columns=list(RECORD_COLUMNS))


def count_records(store: Store, budgets: Sequence[Budget]) -> int:
    """Returns how many rows `read_records` gives, without pandas."""
    return sum(1 for _ in _read_rows(store, budgets))


def completion_key(ending: Ending) -> int:
    """Returns a number that two budgets of one rollout share exactly where they share a completion."""
    return 2 * ending.thinking_tokens + ending.forced


def _read_rows(store: Store, budgets: Sequence[Budget]) -> Iterator[tuple[Any, ...]]:
    engines = {row["id"]: _name_engine(json.loads(row["engine"])) for row in store.query(_SESSIONS)}
    stop_text = store.read_meta("stop_text") or ""
    stop_name = next((name for name, text in STOP_TEXTS.items() if text == stop_text), stop_text)
    # Row by row, side by side: a run of a week does not fit in memory.
    segments_of = _by_rollout(store.query(_SEGMENTS))
    answers_of = _by_rollout(store.query(_ANSWERS))
    for row in store.query(_ROLLOUTS):
        target = json.loads(row["target"])
        shown = target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)
        segments = segments_of(row["id"])
        answers = {
            Ending("forced" if answer["forced"] else "natural", answer["start"]): answer
            for answer in answers_of(row["id"])
        }
        trace = _read_trace(row, segments)
        for budget in _budgets_of(row, budgets):
            judged = _judge_budget(row, trace, budget, answers)
            if judged is None:
                continue
            verdict, ending, truncated, finish_reason = judged
            answer = answers.get(ending)
            # An answer that the first segment had finished already has no request, and no seed, of its own.
            last = answer if answer is not None and answer["seed"] else segments[-1] if segments else None
            thinking_s, answer_s = _time(trace, ending, segments, answer)
            yield (
                row["task"], row["group"], row["sample_id"], row["mode"], float(budget), row["repeat"],
                verdict.score, verdict.outcome, verdict.extracted, verdict.reason, shown, ending.forced,
                truncated, ending.thinking_tokens, answer["tokens"] if answer else 0, finish_reason,
                completion_key(ending) if answer else -1, row["id"], row["prompt_sha256"],
                row["prompt_tokens"], stop_name if ending.forced else "",
                _trace_finish_reason(trace, ending) if segments else "",
                last["seed"] if last else 0, thinking_s, answer_s, last["cached_tokens"] if last else 0,
                engines.get(last["session"], "") if last else "", _join_parts(verdict, row),
            )  # fmt: skip


def _join_parts(verdict: Verdict, row: Any) -> str:
    names = json.loads(row["parts"])
    return json.dumps(fill_parts(verdict, names)) if names else ""


def _by_rollout(rows: Iterable[Any]) -> Callable[[int], list[Any]]:
    """Returns a function from a rollout to its rows; `rows`, and what is asked, come in rising order."""
    groups = ((rollout, list(group)) for rollout, group in groupby(rows, key=lambda row: row["rollout"]))
    ahead = next(groups, None)

    def take(rollout: int) -> list[Any]:
        nonlocal ahead
        if ahead is None or ahead[0] != rollout:
            return []
        taken = ahead[1]
        ahead = next(groups, None)
        return taken

    return take


def _read_trace(row: Any, segments: Sequence[Any]) -> Trace:
    if not segments:
        return Trace(row["prefill"] or 0)
    return Trace(segments[-1]["start"] + segments[-1]["tokens"], segments[-1]["trace_end"])


def _name_engine(engine: Mapping[str, Any]) -> str:
    name = str(engine.get("engine", ""))
    return f"{name} {engine.get(f'{name}_version', '')}".strip()


def _budgets_of(row: Any, budgets: Sequence[Budget]) -> Sequence[Budget]:
    if row["mode"] != THINKING:
        return [0]
    return [parse_budget(row["lane"])] if row["lane"] else budgets


def _judge_budget(
    row: Any, trace: Trace, budget: Budget, answers: Mapping[Ending, Any]
) -> tuple[Verdict, Ending, bool, str] | None:
    """Returns (verdict, ending, truncated, finish reason), or None while it is not known."""
    if row["error"]:
        return Verdict.error(row["error"]), Ending("unclosed", 0), False, ""
    if row["mode"] != THINKING:
        ending: Ending | None = Ending("natural", 0)
    else:
        ending = find_ending(trace, budget, row["thinking_limit"])
    if ending is None:
        return None
    if not ending.answered:
        if trace.end == "abandoned":
            return Verdict.no_answer("the turn ended inside the thinking"), ending, False, "stop"
        return Verdict.no_answer("the thinking hit the output limit"), ending, True, "length"
    answer = answers.get(ending)
    if answer is None or answer["outcome"] is None:
        return None
    verdict = Verdict(
        answer["outcome"], answer["score"], answer["extracted"], answer["reason"], json.loads(answer["parts"])
    )
    return verdict, ending, answer["finish_reason"] == "length", answer["finish_reason"]


def _trace_finish_reason(trace: Trace, ending: Ending) -> str:
    if trace.end == "absent":
        return ""
    return "stop" if not ending.forced and trace.end in ("closed", "abandoned") else "length"


def _time(trace: Trace, ending: Ending, segments: Sequence[Any], answer: Any | None) -> tuple[float, float]:
    """Returns the seconds of thinking and of the answer; a model that did not think began with its answer."""
    thinking = 0.0
    for segment in segments:
        used = ending.thinking_tokens - segment["start"]
        if not ending.forced or used >= segment["tokens"]:
            thinking += segment["elapsed"]
        elif used > 0:
            thinking += segment["elapsed"] * used / segment["tokens"]
    answering = answer["elapsed"] if answer else 0.0
    return (0.0, thinking + answering) if trace.end == "absent" else (thinking, answering)
