"""`data pull` and `data check`: a local mirror of what tasks need, for machines without a hub."""

import gzip
import json
from pathlib import Path

from qwen3_eval.config import DataCommandConfig
from qwen3_eval.data import DataSource, HubSplit, fetch, find_mirror_file, read_hub
from qwen3_eval.errors import ConfigError, DataError
from qwen3_eval.study import as_list
from qwen3_eval.task import Asking, Task, add_tasks, load_task


def data(action: str, config: DataCommandConfig) -> int:
    """Pulls or checks the rows of each task, a line each. Returns 1 where a task's rows are not as promised.

    Raises ConfigError for settings that name no mirror or no task, DataError where the mirror cannot be
    written.
    """
    if config.tasks.path:
        add_tasks(config.tasks.path)
    tasks = [load_task(str(name), config.lm_eval.include_path) for name in as_list(config.task)]
    if not tasks:
        raise ConfigError(
            f"data {action} needs task=, the tasks whose rows are meant, as task=[gsm8k,math500]"
        )
    source = DataSource(Path(config.data.root) if config.data.root else None, config.data.allow_partial)
    if source.mirror is None:
        raise ConfigError(f"data {action} needs data.root=DIR, the folder of the mirror")
    failed = 0
    for task in tasks:
        if not task.splits:
            print(f"ok       {task.name}: made here, needs no rows")
            continue
        try:
            if action == "pull":
                _pull(task, source.mirror)
            loaded = task.load(Asking(source))
        except DataError as error:
            failed += 1
            print(f"missing  {task.name}: {error}")
            if action == "pull":
                print("         a file that is there is left as it is: remove a bad one, then pull again")
        else:
            print(f"ok       {', '.join([f'{task.name}: {len(loaded.samples):,} questions', *loaded.notes])}")
    return 1 if failed else 0


def _pull(task: Task, mirror: Path) -> None:
    """Writes each split of the task that the mirror lacks; a file is there whole or not at all."""
    for wanted in task.splits:
        if find_mirror_file(mirror, wanted.hub_id, wanted.config, wanted.split) is not None:
            continue
        file = mirror / wanted.hub_id / wanted.config / f"{wanted.split}.jsonl.gz"
        content = fetch(wanted.url) if wanted.url else _pack(wanted)
        draft = file.with_name(f".{file.name}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(content)
            draft.replace(file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise DataError(
                f"'{file}' cannot be written: {error.strerror}; see to the folder or disk"
            ) from error


def _pack(wanted: HubSplit) -> bytes:
    """Returns the hub's rows as a file of the mirror; the same rows are the same file on any machine."""
    rows = read_hub(wanted.hub_id, wanted.config, wanted.split, wanted.revision)
    lines = "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    return gzip.compress(lines.encode("utf-8", "surrogatepass"), mtime=0)  # without a time in it
