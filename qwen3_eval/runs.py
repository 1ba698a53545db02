"""The runs of a folder: what each has done, and shards of one sweep joined into one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_eval.budget import format_budget, parse_budget
from qwen3_eval.errors import StoreError
from qwen3_eval.run_folder import is_in_use, read_run
from qwen3_eval.score import count_records
from qwen3_eval.store import Store
from qwen3_eval.types import DIRECT_MODES, MODES


@dataclass(frozen=True)
class RunState:
    """One line of the list. `done` and `total` count records: one for each question, repeat and budget."""

    folder: Path
    state: str  # running, done, stopped or damaged
    done: int
    total: int
    model: str = ""
    tasks: Sequence[str] = ()
    budgets: Sequence[str] = ()


def find_runs(folder: Path) -> list[RunState]:
    """Returns the runs in a folder, itself included, by name. Raises StoreError where there is no folder."""
    if not folder.is_dir():
        raise StoreError(f"'{folder}' is no folder; name one that holds runs: python -m qwen3_eval runs DIR")
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    return [_look_at(place) for place in places if (place / "run.json").is_file()]


def merge_runs(out: Path, shards: Sequence[Path]) -> RunState:
    """Joins runs into `out`, a new folder or a run of the same sweep, and returns its state.

    The shards stay as they are. Raises StoreError where their settings differ, one is still being written, or
    two hold different tokens for one request; the shards before that one are then in `out`.
    """
    runs = [_read_still(shard) for shard in shards]
    earlier = read_run(out)
    if earlier is not None:
        runs.insert(0, earlier)
    _refuse_strangers(runs, [*([out] if earlier is not None else []), *shards])
    with Store.open(out, create=True) as store:
        for n, shard in enumerate(shards, start=len(runs) - len(shards) + 1):
            store.absorb(shard)
            merged = _join(runs[:n])
            done = count_records(store, _budgets(merged))
            status = "done" if done >= _count_planned(merged) else "stopped"
            store.write_run(merged | {"status": status})
    return _look_at(out)


def _look_at(folder: Path) -> RunState:
    running = is_in_use(folder)
    try:
        run = read_run(folder)
        assert run is not None
        with Store.read(folder) as store:
            done = count_records(store, _budgets(run))
    except StoreError as error:
        return RunState(folder, f"damaged: {error}", 0, 0)
    state = "running" if running else "done" if run.get("status") == "done" else "stopped"
    budgets = [*run["budgets"], *(["0"] if set(DIRECT_MODES) & set(run["modes"]) else [])]
    total = max(_count_planned(run), done)  # an earlier sweep of the same run may have asked for more
    return RunState(folder, state, done, total, run["model"]["name"], list(run["tasks"]), budgets)


def _budgets(run: Mapping[str, Any]) -> list[int | float]:
    return [parse_budget(budget) for budget in run["budgets"]]


def _count_planned(run: Mapping[str, Any]) -> int:
    columns = len(run["budgets"]) + len(set(DIRECT_MODES) & set(run["modes"]))
    return int(sum(task["questions"] * task["repeats"] for task in run["tasks"].values()) * columns)


def _read_still(folder: Path) -> dict[str, Any]:
    """Returns run.json of a run that nobody is writing."""
    run = read_run(folder)
    if run is None:
        raise StoreError(f"'{folder}' holds no run (no run.json); name the run folders to merge")
    if is_in_use(folder):
        raise StoreError(f"'{folder}' is still being written; wait until its sweep is over, or stop it")
    return run


def _refuse_strangers(runs: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> None:
    """Raises StoreError where two runs were made under settings that do not mix, by the settings' names."""
    first = runs[0]["identity"]
    for run, folder in zip(runs[1:], folders[1:], strict=True):
        differing = [
            f"{name} ({first[name]!r} and {value!r})"
            for name, value in run["identity"].items()
            if name in first and first[name] != value
        ]
        if differing:
            raise StoreError(
                f"'{folders[0]}' and '{folder}' were made under other settings, which do not mix: "
                f"{'; '.join(differing)}; merge shards of one sweep only"
            )


def _join(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the run.json of the runs together; what cannot be joined is the first one's."""
    merged = dict(runs[0])
    parts = _parts_of(runs[0])
    for run in runs[1:]:
        parts |= _parts_of(run)
        merged["identity"] = run["identity"] | merged["identity"]
        budgets = {parse_budget(b) for b in (*merged["budgets"], *run["budgets"])}
        merged["budgets"] = [format_budget(b) for b in sorted(budgets)]
        merged["modes"] = [m for m in MODES if m in (*merged["modes"], *run["modes"])]
        merged["command"] = list(dict.fromkeys([*merged["command"], *run["command"]]))
        merged["tasks"] = {
            name: task | {"repeats": max(task["repeats"], merged["tasks"].get(name, task)["repeats"])}
            for name, task in (run["tasks"] | merged["tasks"]).items()
        }
        merged["started"] = min(merged["started"], run["started"])
        if "finished" in run:
            merged["finished"] = max(merged.get("finished", ""), run["finished"])
    whole = parts.pop("", {})
    for name, task in merged["tasks"].items():
        shared = sum(questions.get(name, 0) for questions in parts.values())
        merged["tasks"][name] = task | {"questions": max(whole.get(name, 0), shared)}
    merged["settings"] = merged["settings"] | {"shard": ""}
    # What each shard holds, so that further ones can join and none counts twice; "" is a run of all.
    return merged | {"shard": "", "parts": parts | ({"": whole} if whole else {})}


def _parts_of(run: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Returns the number of questions of each task for each shard that a run holds, "" for a whole run."""
    if "parts" in run:
        return dict(run["parts"])
    return {run.get("shard", ""): {name: task["questions"] for name, task in run["tasks"].items()}}
