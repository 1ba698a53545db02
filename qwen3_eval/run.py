"""A run from settings to report: what `sweep`, `score` and `report` do."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from qwen3_eval.budget import parse_budget
from qwen3_eval.chat import Decoder
from qwen3_eval.config import ReportConfig, ScoreConfig, SweepConfig
from qwen3_eval.engine.start import start_engine
from qwen3_eval.errors import INTERRUPTED, ConfigError, QwenEvalError, StoreError, did_you_mean
from qwen3_eval.plan import Plan, Questions
from qwen3_eval.progress import show_progress
from qwen3_eval.score import read_records, score_along, score_answers
from qwen3_eval.store import Store
from qwen3_eval.study import Study, as_list, default_folder, describe_run, read_study, start_sandbox, utc_now
from qwen3_eval.subset import select
from qwen3_eval.sweep import run_sweep
from qwen3_eval.task import LM_EVAL, Scorer, add_tasks, load_task, task_names


def sweep(config: SweepConfig) -> int:
    """Generates, scores and reports; the same command on the same run.dir goes on where it stopped."""
    study = read_study(config)
    folder = Path(config.run.dir or default_folder(study))
    with Store.open(folder, create=True) as store:
        run = describe_run(config, study, store.read_run(), folder)
        store.write_run(run | {"status": "running"})
        try:
            asyncio.run(_generate(config, study, store, run))
            scorers = {task.name: task.score for task, _ in study.tasks}
            score_answers(store, scorers, _read_decoder(store))
        except (KeyboardInterrupt, asyncio.CancelledError):
            store.write_run(run | {"status": "stopped"})
            print(
                f"\nstopped; what was generated is kept in {folder}: the same command goes on",
                file=sys.stderr,
            )
            return INTERRUPTED
        except QwenEvalError:
            with suppress(StoreError):  # on a full disk the first error is the one to tell
                store.write_run(run | {"status": "stopped"})
            raise
        run = run | {"status": "done", "finished": utc_now()}
        store.write_run(run)
        return _write_report(store, run)


def score(config: ScoreConfig) -> int:
    """Scores a run's stored answers anew, and reports."""
    with Store.open(_folder(config)) as store:
        run = _read_run(store)
        names = [str(t) for t in as_list(config.task)] or list(run["tasks"])
        for name in names:
            if name not in run["tasks"]:
                raise ConfigError(
                    f"task '{name}' is not in run.dir='{store.folder}'{did_you_mean(name, run['tasks'])} "
                    f"it holds: {', '.join(run['tasks'])}"
                )
        if config.tasks.path:
            add_tasks(config.tasks.path)
        tasks = {}
        for name in names:
            path = run["tasks"][name].get("path", "")
            if path and not name.startswith(LM_EVAL) and name not in task_names():
                add_tasks(path)
            tasks[name] = load_task(name, config.lm_eval.include_path or path)
        tier = start_sandbox(config.sandbox, tasks.values())
        if tier and tier != run.get("sandbox"):
            run = run | {"sandbox": tier}
            store.write_run(run)
        scorers = {name: task.score for name, task in tasks.items()}
        for name in names:  # not before every scorer is at hand
            store.clear_verdicts(name)
        n = score_answers(store, scorers, _read_decoder(store))
        print(f"scored {n:,} answers", file=sys.stderr)
        return _write_report(store, run)


def report(config: ReportConfig) -> int:
    """Writes a run's tables, figures and page anew, also while a sweep is still writing it."""
    store = Store.read(_folder(config))
    try:
        return _write_report(store, _read_run(store), config.reference)
    finally:
        store.close()


async def _generate(config: SweepConfig, study: Study, store: Store, run: dict[str, Any]) -> None:
    chat = study.chat
    store.write_meta("tokenizer.json", chat.decoder.tokenizer_json)
    store.write_meta("stop_text", study.stop_text)
    plan = Plan(
        questions=[
            Questions(
                task.name,
                select(loaded.samples, config.limit, study.shard),
                config.repeats or task.repeats,
                config.max_output_tokens or task.max_output_tokens,
            )
            for task, loaded in study.tasks
        ],
        modes=study.modes,
        budgets=study.budgets,
        sampling=study.sampling,
        strategy=study.strategy,
        stop_ids=chat.encode(study.stop_text),
        max_answer_tokens=config.max_answer_tokens,
        seed=config.seed,
        concurrency=config.sweep.concurrency,
    )
    if config.protocol:
        said = study.departures or ("none",)
        print("\n  ".join([f"protocol={config.protocol}, departures:", *said]), file=sys.stderr)
    if study.strategy_reason:
        print(f"sweep.strategy=independent: {study.strategy_reason}", file=sys.stderr)
    print(f"starting {config.engine.name} with {study.model_name} ...", file=sys.stderr, flush=True)
    engine = await start_engine(config.engine, study.checkpoint, config.model.impl, chat, store.folder)
    try:
        run["engine"] = dict(engine.describe())
        store.write_run(run | {"status": "running"})
        store.start_session(engine.describe())
        programs = {task.name: task.score for task, _ in study.tasks if task.runs_code}
        async with scoring_along(store, programs, chat.decoder):
            with show_progress(plan.n_rollouts) as progress:
                await run_sweep(plan, chat, engine, store, progress)
        print(progress.describe(), file=sys.stderr)
    finally:
        await engine.close()


@asynccontextmanager
async def scoring_along(store: Store, scorers: Mapping[str, Scorer], decoder: Decoder) -> AsyncIterator[None]:
    """Judges the answers of these tasks while the block generates them; an error of the block ends both."""
    generated = asyncio.Event()
    scoring = asyncio.create_task(score_along(store, scorers, decoder, generated)) if scorers else None
    try:
        yield
    except BaseException:
        if scoring is not None:
            scoring.cancel()
        raise
    generated.set()
    if scoring is not None:
        await scoring


def _write_report(store: Store, run: dict[str, Any], reference: str = "") -> int:
    from qwen3_eval.report.html import model_name
    from qwen3_eval.report.tables import print_summary, summarize
    from qwen3_eval.report.texts import read_texts
    from qwen3_eval.report.write import write_report

    budgets = [parse_budget(b) for b in run["budgets"]]
    texts = read_texts(store, _read_decoder(store), budgets)
    records = read_records(store, budgets)
    model, summary = model_name(run), summarize(records, model_name(run), run["tasks"])
    standing = points = None
    if reference:
        from qwen3_eval.report.published.scores import reference_points
        from qwen3_eval.report.published.standing import find_standing
        from qwen3_eval.report.published.tables import print_standing, tabulate_standing

        standing = find_standing({model: (run, summary)}, reference)
        points = reference_points(reference, summary["task"], model)
    paths = write_report(
        records, run, texts, store.folder, summary=summary, reference=points,
        further=tabulate_standing(standing) if standing else (),
    )  # fmt: skip
    print_summary(summary)
    if standing:
        print_standing(standing)
    page = next(p for p in paths if p.suffix == ".html")
    print(f"\nreport: {page}")
    return 0


def _folder(config: ScoreConfig | ReportConfig) -> Path:
    if not config.run.dir:
        raise ConfigError("run.dir= is missing; name the folder of a run, as run.dir=runs/nano-chain")
    return Path(config.run.dir)


def _read_run(store: Store) -> dict[str, Any]:
    run = store.read_run()
    if run is None:
        raise StoreError(f"run.dir='{store.folder}' has no run.json; it is no run, or was never started")
    return run


def _read_decoder(store: Store) -> Decoder:
    tokenizer = store.read_meta("tokenizer.json")
    if tokenizer is None:
        raise StoreError(f"run.dir='{store.folder}' was never started: no tokenizer is stored in it")
    return Decoder(tokenizer)
