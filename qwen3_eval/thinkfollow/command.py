"""`thinkfollow`: does the model obey /think and /no_think through a dialogue, and keep to the format?

After ThinkFollow, which the Qwen3 report measures in-house: multi-turn dialogues with the two flags put in at
random. Source: Qwen3 technical report (arXiv 2505.09388), section 4.7 and table 22.
"""

import asyncio
import hashlib
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import format_budget, parse_budget, parse_budgets
from qwen3_eval.chat import THINK_CLOSE, THINK_OPEN, Chat, find_last_switch, find_stop_text, load_chat
from qwen3_eval.config import ThinkFollowConfig
from qwen3_eval.data import DataSource
from qwen3_eval.engine.start import check_engine, start_engine
from qwen3_eval.errors import INTERRUPTED, ConfigError
from qwen3_eval.model.checkpoint import Checkpoint, locate_checkpoint
from qwen3_eval.progress import show_progress
from qwen3_eval.run_folder import lock_folder, make_folder
from qwen3_eval.study import _read_sampling, _versions, as_list, utc_now
from qwen3_eval.task import Asking, add_tasks, load_task
from qwen3_eval.thinkfollow.against import read_others, tabulate_against
from qwen3_eval.thinkfollow.ask import Asker, TurnRow, ask_all
from qwen3_eval.thinkfollow.audit import audit_folder, audit_turns
from qwen3_eval.thinkfollow.dialogues import Dialogue, Question, draw_dialogues, read_bank
from qwen3_eval.thinkfollow.journal import Journal, open_journal
from qwen3_eval.thinkfollow.judge import BELOW, PASS, find_exit_code, judge_compliance
from qwen3_eval.thinkfollow.leaks import choose_examples, find_leaks, tabulate_leaks
from qwen3_eval.types import NON_THINKING, THINKING, Budget, Generation, Mode, Sampling, Unmade

if TYPE_CHECKING:
    import pandas as pd

TASK_QUESTIONS = 500
"""So many questions of a task at most: dialogues draw from them."""


@dataclass(frozen=True)
class Inquiry:
    """The settings, read and checked."""

    dialogues: Sequence[Dialogue]
    budgets: tuple[Budget, ...]
    sampling: Mapping[Mode, Sampling]
    stop_text: str
    checkpoint: Checkpoint
    chat: Chat
    model_name: str
    fingerprint: str  # of all questions, and of how dialogues are drawn


def thinkfollow(config: ThinkFollowConfig) -> int:
    """Asks the dialogues, prints and writes what was done, and returns the exit code.

    The same command on the same run.dir goes on where it stopped; more dialogues or budgets are added.
    """
    inquiry = read_inquiry(config)
    others = read_others([str(name) for name in as_list(config.against)], inquiry.fingerprint)
    folder = Path(config.run.dir or f"runs/{inquiry.model_name}-thinkfollow".replace(" ", "_"))
    make_folder(folder)
    lock = lock_folder(folder)
    try:
        started = utc_now()
        journal = open_journal(folder, _identify(config, inquiry))
        try:
            asyncio.run(_ask(config, inquiry, journal, folder))
        except (KeyboardInterrupt, asyncio.CancelledError):
            print(
                f"\nstopped; what was answered is kept in {folder}: the same command goes on", file=sys.stderr
            )
            return INTERRUPTED
        return _conclude(config, inquiry, journal, others, started, folder)
    finally:
        os.close(lock)


def read_inquiry(config: ThinkFollowConfig) -> Inquiry:
    """Reads and checks every setting before anything heavy starts. Raises QwenEvalErrors"""
    for name in (
        "dialogues",
        "min_turns",
        "max_turns",
        "max_answer_tokens",
        "max_output_tokens",
        "concurrency",
    ):
        if getattr(config, name) < 1:
            raise ConfigError(
                f"{name}={getattr(config, name)} is not allowed; give a whole number of at least 1"
            )
    if config.min_turns > config.max_turns:
        raise ConfigError(
            f"min_turns={config.min_turns} is more than max_turns={config.max_turns}; raise the one or lower "
            "the other"
        )
    if not 0 <= config.thinkfollow.min <= 1:
        raise ConfigError(
            f"thinkfollow.min={config.thinkfollow.min:g} is not allowed; compliance lies in 0-1, as "
            "thinkfollow.min=0.98"
        )
    budgets = parse_budgets(config.budget)
    if budgets[0] == 0:
        raise ConfigError(
            "budget=0 is non-thinking, which switches ask for here; give budgets above 0, as budget=[1k,inf]"
        )
    longest = max((int(budget) for budget in budgets if budget != math.inf), default=0)
    if longest > config.max_output_tokens:
        raise ConfigError(
            f"budget={format_budget(longest)} is more than max_output_tokens={config.max_output_tokens}; "
            "lower the one or raise the other"
        )
    sampling: dict[Mode, Sampling] = {
        THINKING: _read_sampling("thinking", config.sampling.thinking),
        NON_THINKING: _read_sampling("non_thinking", config.sampling.non_thinking),
    }
    stop_text = find_stop_text(config.stop_text)
    checkpoint = locate_checkpoint(config.model.path, config.model.revision)
    context = config.engine.max_model_len or checkpoint.context
    if config.engine.max_model_len is None and config.engine.yarn_factor != 1:
        context = None  # the engine knows what YaRN makes of it
    if context is not None and longest + config.max_answer_tokens >= context:
        raise ConfigError(
            f"budget={format_budget(longest)} with max_answer_tokens={config.max_answer_tokens} leaves "
            f"no room for a dialogue in the context of {context} of model '{config.model.path}'; lower one "
            "of them"
        )
    check_engine(config.engine, checkpoint, config.model.impl)
    chat = load_chat(checkpoint.path, checkpoint.revision)
    bank, tasks = read_bank(), _read_tasks(config, chat, context)
    turns = (config.min_turns, config.max_turns)
    # How dialogues are drawn is part of it: a later version may draw others from the same bank.
    first = draw_dialogues(bank, 50, config.seed, turns=turns, tasks=tasks)
    text = repr((bank, tasks, first))
    return Inquiry(
        draw_dialogues(bank, config.dialogues, config.seed, turns=turns, tasks=tasks),
        budgets,
        sampling,
        stop_text,
        checkpoint,
        chat,
        config.model.name or config.model.path.rstrip("/").rpartition("/")[2],
        hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16],
    )


def _read_tasks(config: ThinkFollowConfig, chat: Chat, context: int | None) -> list[Question]:
    """Returns questions of the tasks that are named: the last user messages, free of switches."""
    if config.tasks.path:
        add_tasks(config.tasks.path)
    source = DataSource(Path(config.data.root) if config.data.root else None, config.data.allow_partial)
    asking = Asking(
        source, chat.encode_plain, chat.count_template_tokens(), context, config.max_answer_tokens, False
    )
    questions = []
    for name in dict.fromkeys(str(name) for name in as_list(config.task)):
        samples = load_task(name, config.lm_eval.include_path).load(asking).samples
        step = max(1, len(samples) // TASK_QUESTIONS)
        for sample in samples[::step][:TASK_QUESTIONS]:
            made = sample.make() if isinstance(sample, Unmade) else sample
            text = next(m.content for m in reversed(made.messages) if m.role == "user")
            if not find_last_switch(made.messages) and THINK_OPEN not in text and THINK_CLOSE not in text:
                questions.append(Question(f"task:{name}", "", text))
        if not any(question.language == f"task:{name}" for question in questions):
            raise ConfigError(f"task '{name}' has no question that could stand in a dialogue; leave it out")
    return questions


def _identify(config: ThinkFollowConfig, inquiry: Inquiry) -> dict[str, Any]:
    """Returns what must not change within a run; the number of dialogues and the budgets may grow."""
    return {
        "model.fingerprint": inquiry.checkpoint.fingerprint,
        "model.impl": config.model.impl,
        "engine.name": config.engine.name,
        "engine.dtype": config.engine.dtype,
        "engine.max_model_len": config.engine.max_model_len,
        "engine.yarn_factor": config.engine.yarn_factor,
        "seed": config.seed,
        "stop_text": inquiry.stop_text,
        "stop_ids": list(inquiry.chat.encode(inquiry.stop_text)),
        "think_ids": [inquiry.chat.think_open_id, inquiry.chat.think_close_id],
        "max_answer_tokens": config.max_answer_tokens,
        "max_output_tokens": config.max_output_tokens,
        "turns": [config.min_turns, config.max_turns],
        "dialogues.fingerprint": inquiry.fingerprint,
        "sampling": {mode: sampling.as_dict() for mode, sampling in inquiry.sampling.items()},
    }


async def _ask(config: ThinkFollowConfig, inquiry: Inquiry, journal: Journal, folder: Path) -> None:
    """Asks what the journal lacks."""
    done = journal.done()
    lives = [
        (dialogue, budget)
        for dialogue in inquiry.dialogues
        for budget in inquiry.budgets
        if (dialogue.name, format_budget(budget)) not in done
    ]
    if not lives:
        return
    print(f"starting {config.engine.name} with {inquiry.model_name} ...", file=sys.stderr, flush=True)
    engine = await start_engine(config.engine, inquiry.checkpoint, config.model.impl, inquiry.chat, folder)
    try:
        journal.start_session(engine.describe())
        asker = Asker(
            inquiry.chat, engine, inquiry.sampling, inquiry.chat.encode(inquiry.stop_text),
            config.max_answer_tokens, config.max_output_tokens, config.seed,
        )  # fmt: skip
        with show_progress(len(lives)) as progress:

            def keep(rows: Sequence[TurnRow]) -> None:
                journal.keep(rows)
                for row in rows:
                    reason = "length" if row.truncated else "stop"
                    progress.on_generation(Generation(row.ids, reason), None)  # type: ignore[arg-type]
                    progress.forced += row.forced
                    progress.truncated += row.truncated
                progress.on_rollout(reused=False)

            await ask_all(asker, lives, config.concurrency, keep)
        print(progress.describe().replace("samples", "dialogues"), file=sys.stderr)
    finally:
        await engine.close()


def _conclude(
    config: ThinkFollowConfig,
    inquiry: Inquiry,
    journal: Journal,
    others: Mapping[str, Journal],
    started: str,
    folder: Path,
) -> int:
    from qwen3_eval.thinkfollow.report import print_audit, print_thinkfollow, write_thinkfollow
    from qwen3_eval.thinkfollow.tables import frame_of, tabulate

    rows = sorted(journal.rows, key=lambda row: parse_budget(row.budget))
    frame = frame_of(rows)
    audit = audit_turns(rows, journal.identity, reproducible=journal.reproducible)
    standings = judge_compliance(frame, config.thinkfollow.min)
    code = find_exit_code(standings) if config.thinkfollow.strict else PASS
    code = BELOW if audit.breaches else code
    leaks = find_leaks(frame, inquiry.stop_text)
    about = {
        "model": {
            "name": inquiry.model_name,
            "path": config.model.path,
            "revision": inquiry.checkpoint.revision,
            "fingerprint": inquiry.checkpoint.fingerprint,
        },
        "settings": asdict(config),
        "engine": journal.engines[-1] if journal.engines else {},
        "versions": _versions(),
        "started": started,
        "finished": utc_now(),
        "exit_code": code,
        "budget_audit": {
            "checked": audit.n_checked,
            "breaches": [vars(breach) for breach in audit.breaches],
            "notes": list(audit.notes),
        },
        "leaks": choose_examples(leaks),
    }
    tables, notes = [*tabulate(frame), tabulate_leaks(leaks)], [*list_notes(frame), *audit.notes]
    if others:
        tables.append(tabulate_against(frame, others))
    paths = write_thinkfollow(frame, tables, standings, about, folder, notes)
    print_thinkfollow(tables, standings, notes, paths)
    print_audit(audit)
    return code


def audit(config: ThinkFollowConfig) -> int:
    """Checks that a run keeps its budgets: one of a sweep, or of `thinkfollow`. Lists what does not."""
    if not config.run.dir:
        raise ConfigError("run.dir= is missing; name the folder of a run, as run.dir=runs/nano-chain")
    from qwen3_eval.thinkfollow.report import print_audit

    found = audit_folder(Path(config.run.dir))
    print_audit(found)
    for note in found.notes:
        print(f"Note: {note}")
    return BELOW if found.breaches else PASS


def list_notes(frame: "pd.DataFrame") -> list[str]:
    """Returns sentences about turns that were not asked, cut off, or cannot be told."""
    notes = []
    not_asked, undecided = frame[frame["done"] == ""], int((frame["done"] == "undecided").sum())
    if len(not_asked):
        notes.append(
            f"{len(not_asked):,} turns could not be asked, and those after them neither: "
            f"{not_asked['error'].iloc[0]}"
        )
    if undecided:
        notes.append(
            f"{undecided:,} turns are undecided and left out: their budget cut the block while it held "
            "nothing but whitespace"
        )
    unclosed = frame[(frame["done"] == "unclosed") & frame["truncated"]]
    if len(unclosed):
        notes.append(
            f"{len(unclosed):,} turns are unclosed because their thinking hit the output limit, not because "
            "the model ended the turn inside it"
        )
    return notes
