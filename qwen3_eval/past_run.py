"""A run that was made before, as `compare`, `gate` and `policy` read it: its settings and its records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen3_eval.budget import parse_budget
from qwen3_eval.errors import ConfigError, StoreError
from qwen3_eval.run_folder import read_run
from qwen3_eval.score import read_records
from qwen3_eval.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PastRun:
    """`run` is what run.json holds, `records` are as `qwen3_eval.score.read_records` gives them."""

    folder: Path
    name: str
    run: Mapping[str, Any]
    records: "pd.DataFrame"


def read_past_run(folder: str | Path, setting: str) -> PastRun:
    """Returns the run in a folder, which is not written to. `setting` is what named it, for the errors.

    Raises ConfigError where no folder is named, StoreError where it holds no run, or none with a record.
    """
    if not str(folder):
        raise ConfigError(f"{setting}= is missing; name a run folder, as {setting}=runs/nano-chain")
    path = Path(folder).expanduser()
    run = read_run(path) if path.is_dir() else None
    if run is None:
        raise StoreError(
            f"{setting}='{folder}' holds no run (no run.json); "
            "'python -m qwen3_eval runs DIR' lists those of a folder"
        )
    with Store.read(path) as store:
        records = read_records(store, [parse_budget(budget) for budget in run["budgets"]])
    if records.empty:
        raise StoreError(f"{setting}='{folder}' holds no finished record yet; let its sweep run on")
    return PastRun(path, path.resolve().name, run, records)
