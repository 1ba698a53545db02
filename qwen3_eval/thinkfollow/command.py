"""`thinkfollow`: does the model obey /think and /no_think through a dialogue, and keep to the format?

After ThinkFollow, which the Qwen3 report measures in-house: multi-turn dialogues with the two flags put in at
random. Source: Qwen3 technical report (arXiv 2505.09388), section 4.7 and table 22.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from qwen3_eval.budget import format_budget, parse_budget
from qwen3_eval.config import ThinkFollowConfig
from qwen3_eval.engine.start import start_engine
from qwen3_eval.errors import INTERRUPTED, ConfigError
from qwen3_eval.progress import show_progress
from qwen3_eval.run_folder import lock_folder, make_folder
from qwen3_eval.study import as_list, read_versions, utc_now
from qwen3_eval.thinkfollow.against import read_others, tabulate_against
from qwen3_eval.thinkfollow.ask import Asker, ask_all
from qwen3_eval.thinkfollow.audit import audit_folder, audit_turns
from qwen3_eval.thinkfollow.inquiry import Inquiry, identify, read_inquiry
from qwen3_eval.thinkfollow.journal import Journal, open_journal
from qwen3_eval.thinkfollow.judge import BELOW, PASS, find_exit_code, judge_compliance
from qwen3_eval.thinkfollow.leaks import choose_examples, find_leaks, tabulate_leaks
from qwen3_eval.thinkfollow.turn_row import TurnRow
from qwen3_eval.types import Generation

if TYPE_CHECKING:
    import pandas as pd


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
        journal = open_journal(folder, identify(config, inquiry))
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
            **inquiry.checkpoint.describe(),
        },
        "settings": asdict(config),
        "engine": journal.engines[-1] if journal.engines else {},
        "versions": read_versions(),
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
