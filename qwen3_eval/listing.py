"""What `tasks`, `models` and `runs` print. Nothing heavy is imported."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from textwrap import wrap

from qwen3_eval.data import DataSource
from qwen3_eval.errors import ConfigError, DataError
from qwen3_eval.task import Asking, Task, add_tasks, load_task, task_names
from qwen3_eval.types import Unmade


def print_tasks(words: Sequence[str], *, markdown: bool = False) -> int:
    """Prints every task, a line each, or one task's card with a rendered example.

    `words` hold at most one name, and `tasks.path=DIR` or `lm_eval.include_path=DIR` for tasks of the user's.
    """
    paths = dict(
        word.split("=", 1) for word in words if word.startswith(("tasks.path=", "lm_eval.include_path="))
    )
    names = [word for word in words if word.partition("=")[0] not in paths]
    if "tasks.path" in paths:
        add_tasks(paths["tasks.path"])
    if len(names) > 1:
        raise ConfigError(f"tasks shows one task at a time, got {len(names)}: {', '.join(names)}")
    if names:
        _print_card(load_task(names[0], paths.get("lm_eval.include_path", "")))
        return 0
    tasks = [load_task(n) for n in task_names()]
    if markdown:
        _print_markdown(tasks)
        return 0
    rows = [
        (t.name, t.card.hub_id or "made here", f"{t.card.rows:,}", t.metric, t.card.licence) for t in tasks
    ]
    _print_table(("task", "data", "questions", "metric", "licence"), rows)
    return 0


def _print_markdown(tasks: Sequence[Task]) -> None:
    """The table of the documents: what is asked, how it is scored, where it departs from the published."""
    headings = ("task", "data", "questions", "licence", "protocol", "departures", "source")
    print(f"| {' | '.join(headings)} |\n|{' --- |' * len(headings)}")
    for t in tasks:
        card = t.card
        cells = (
            f"`{t.name}`", card.hub_id or "made here", f"{card.rows:,}", card.licence, card.protocol,
            card.departures, card.source,
        )  # fmt: skip
        print(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")


def print_models() -> int:
    """Prints the models that have a name here: files of configs/model/."""
    rows = []
    for file in sorted(files("qwen3_eval.configs").joinpath("model").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            text = file.read_text()
            about = text.splitlines()[0].removeprefix("# ") if text.startswith("#") else ""
            rows.append((file.name.removesuffix(".yaml"), about))
    _print_table(("model", "about"), rows)
    print("\nmodel= also takes a checkpoint folder (./name) or a hub id (owner/name)")
    return 0


def print_runs(folders: Sequence[str]) -> int:
    """Prints the runs in a folder, a line each: state, records done, model, tasks, budgets."""
    from qwen3_eval.runs import find_runs

    if len(folders) > 1:
        raise ConfigError(f"runs takes one folder, got {len(folders)}: {', '.join(folders)}")
    folder = Path(folders[0] if folders else "runs")
    runs = find_runs(folder)
    if not runs:
        print(f"no runs in {folder}")
        return 0
    rows = [
        (run.state, f"{run.done:,}/{run.total:,}", run.model, ",".join(run.tasks), ",".join(run.budgets),
         str(run.folder)) for run in runs
    ]  # fmt: skip
    _print_table(("state", "records", "model", "tasks", "budgets", "folder"), rows)
    return 0


def merge_into(folders: Sequence[str]) -> int:
    """Joins the runs in `folders[1:]` into the run `folders[0]`, and says what came of it."""
    from qwen3_eval.runs import merge_runs

    if len(folders) < 2:
        raise ConfigError("runs merge needs a folder to write and runs to join: runs merge OUT IN1 IN2 ...")
    resolved = [Path(folder).resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise ConfigError(f"runs merge names a folder twice: {' '.join(folders)}; name each once")
    state = merge_runs(Path(folders[0]), [Path(folder) for folder in folders[1:]])
    print(f"{state.state}: {state.done:,} of {state.total:,} records in {state.folder}")
    print(f"for its tables and page: python -m qwen3_eval report run.dir={state.folder}")
    return 0


def _print_card(task: Task) -> None:
    """Everything the card says, and one question as the model is asked it."""
    print(f"{task.name}\n")
    facts = asdict(task.card) | {"max_output_tokens": task.max_output_tokens, "repeats": task.repeats}
    if not task.card.rows:  # lm-eval's files do not say how many there are
        del facts["rows"]
    if task.average == "groups":
        facts["average"] = "over groups, each counting alike"
    for option in task.options:
        allowed = f" ({', '.join(map(str, option.allowed))})" if option.allowed else ""
        facts[f"options.{task.name}.{option.name}"] = f"{option.default}{allowed}"
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, tuple) else value
        if shown not in ("", None, False):
            print(_wrap(f"  {name:<{width}} ", str(shown)))
    try:
        found = task.load(Asking(DataSource(allow_partial=True))).samples[0]
        sample = found.make() if isinstance(found, Unmade) else found
    except DataError as error:
        print(f"\nno example: {error}")
        return
    print(f"\nexample {sample.sample_id}, target {sample.target!r}:\n")
    for message in sample.messages:
        print(f"[{message.role}]\n{message.content}")


def _wrap(head: str, text: str) -> str:
    """Returns `head` and the text beside it, in lines of at most 110 characters."""
    hanging = " " * len(head)
    lines = [
        piece
        for line in text.splitlines()
        for piece in wrap(line, 110 - len(head), break_on_hyphens=False) or [""]
    ]
    return head + f"\n{hanging}".join(lines)


def _print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
