"""`compare`: runs put side by side, from their folders alone; nothing in them is written to."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qwen3_eval.budget import parse_budget
from qwen3_eval.chat import Decoder
from qwen3_eval.compare.run_costs import read_run_cost
from qwen3_eval.compare.unlike import Asked
from qwen3_eval.config import CompareConfig
from qwen3_eval.errors import ConfigError, StoreError, did_you_mean
from qwen3_eval.past_run import PastRun, read_past_run
from qwen3_eval.report.records import Texts
from qwen3_eval.report.texts import read_texts
from qwen3_eval.store import Store

if TYPE_CHECKING:
    from qwen3_eval.compare.side_by_side import Published


def compare(config: CompareConfig) -> int:
    """Puts runs side by side: prints their differences, and writes tables, figures and a page."""
    from qwen3_eval.compare.printing import print_comparison
    from qwen3_eval.compare.side_by_side import put_side_by_side
    from qwen3_eval.compare.write import write_comparison

    runs = read_runs(config)
    tasks = choose_tasks(config, runs)
    published = _set_against_published(config, runs, tasks)
    with ExitStack() as opened:
        stores = {past.name: opened.enter_context(Store.read(past.folder)) for past in runs}
        costs = [read_run_cost(store) for store in stores.values()]
        asked = {name: _read_asked(store) for name, store in stores.items()}
        found = put_side_by_side(runs, tasks, costs, asked, published)
        texts = {past.name: _read_texts(stores[past.name], past) for past in runs}
        paths = write_comparison(found, texts, _out_folder(config, runs))
    print_comparison(found)
    page = next(path for path in paths if path.suffix == ".html")
    print(f"\ncomparison: {page}")
    return 0


def read_runs(config: CompareConfig) -> list[PastRun]:
    """Returns the runs, each under a name of its own. Raises ConfigError or StoreError."""
    folders = [str(folder) for folder in _as_list(config.runs)]
    least = 1 if config.reference else 2
    if len(folders) < least:
        got = f"names '{folders[0]}' alone" if folders else "names no run"
        raise ConfigError(
            f"runs= {got}; name the folders of at least {'one' if least == 1 else 'two'}, as "
            "runs=[runs/a,runs/b]; one alone can be set against published scores: reference=qwen3-report"
        )
    places: dict[Path, str] = {}
    for folder in folders:
        place = Path(folder).expanduser().resolve()
        if place in places:
            also = "" if folder == places[place] else f" (as '{places[place]}' and '{folder}')"
            raise ConfigError(f"runs= names '{folder}' twice{also}; name each run once")
        places[place] = folder
    runs = [read_past_run(folder, "runs") for folder in folders]
    names = name_runs([past.folder for past in runs])
    return [replace(past, name=name) for past, name in zip(runs, names, strict=True)]


def name_runs(folders: Sequence[Path]) -> list[str]:
    """Returns the last part of each folder, and as many parts before it as tell it from the others."""
    parts = [folder.resolve().parts for folder in folders]
    names = []
    for own in parts:
        depth = 1
        while sum(other[-depth:] == own[-depth:] for other in parts) > 1:
            depth += 1
        names.append("/".join(own[-depth:]))
    return names


def choose_tasks(config: CompareConfig, runs: Sequence[PastRun]) -> list[str]:
    """Returns the tasks to compare, those of the first run first. Raises ConfigError where there are none."""
    held = [list(dict.fromkeys(past.records["task"])) for past in runs]
    every = list(dict.fromkeys(task for tasks in held for task in tasks))
    least = min(2, len(runs))
    shared = [task for task in every if sum(task in tasks for tasks in held) >= least]
    asked = list(dict.fromkeys(str(task) for task in _as_list(config.task)))
    holdings = "; ".join(
        f"{past.name} has {', '.join(tasks)}" for past, tasks in zip(runs, held, strict=True)
    )
    for task in asked:
        if task not in shared:
            where = "is in one of the runs alone" if task in every else "is in none of the runs"
            raise ConfigError(f"task '{task}' {where}{did_you_mean(task, shared)} {holdings}")
    if not shared:
        raise ConfigError(f"runs= share no task: {holdings}; compare runs of the same task")
    return asked or shared


def _set_against_published(
    config: CompareConfig, runs: Sequence[PastRun], tasks: Sequence[str]
) -> "Published | None":
    """Returns how the runs stand beside published models, None where none are asked for."""
    against = [str(model) for model in _as_list(config.against)]
    if not config.reference:
        if against:
            raise ConfigError(f"against={','.join(against)} needs reference=, as reference=qwen3-report")
        return None
    from qwen3_eval.compare.side_by_side import set_against_published

    return set_against_published(runs, tasks, config.reference, against)


def _out_folder(config: CompareConfig, runs: Sequence[PastRun]) -> Path:
    if config.out:
        return Path(config.out).expanduser()
    names = "-".join(past.name.replace("/", "-") for past in runs)
    return runs[0].folder.resolve().parent / f"compare-{names}"


def _read_asked(store: Store) -> Asked:
    """Returns a digest of the words of each question, by task and sample id."""
    rows = store.query("SELECT task, sample_id, messages, completion FROM samples")
    return {
        (row["task"], row["sample_id"]): hashlib.sha256(
            f"{row['messages']}\n{row['completion'] or ''}".encode("utf-8", "surrogatepass")
        ).hexdigest()
        for row in rows
    }


def _read_texts(store: Store, past: PastRun) -> Texts:
    tokenizer = store.read_meta("tokenizer.json")
    if tokenizer is None:
        raise StoreError(f"'{past.folder}' holds no tokenizer, so its texts cannot be read; sweep it again")
    return read_texts(store, Decoder(tokenizer), [parse_budget(budget) for budget in past.run["budgets"]])


def _as_list(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else [value]
