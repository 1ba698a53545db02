"""What several tests of the gate share: run folders made without a model, and what the gate said of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwen3_eval.budget import Ending, Trace, format_budget
from qwen3_eval.chat import STOP_TEXTS
from qwen3_eval.cli import main
from qwen3_eval.run_folder import write_run
from qwen3_eval.store import RolloutKey, Store
from qwen3_eval.types import BASE, NON_THINKING, THINKING, Budget, Generation, Message, Mode, Sample, Verdict

Floats = NDArray[np.float64]
Cells = Mapping[tuple[Mode, Budget], ArrayLike]
N = 120
TRACE = 5000
REPLY = Generation((1,), "stop")


def make_run(
    folder: Path, cells: Cells, *, task: str = "sums", seed: int = 0, ids: Sequence[str] = (),
    groups: Sequence[str] = (), parallel: bool = False, prompt: str = "", traces: Sequence[int] = (),
    status: str = "done", planned: int = 0, identity: Mapping[str, Any] | None = None, protocol: str = "",
    departures: Sequence[str] = (), limit: int | None = 200,
) -> Path:  # fmt: skip
    """Makes a run folder without a model. `cells` holds scores, (n_questions, n_repeats), NaN for an error.

    A trace is `traces[i]` tokens long, and closes by itself: larger budgets share its end.
    """
    scores = {point: np.asarray(values, dtype=float) for point, values in cells.items()}
    n, n_repeats = next(iter(scores.values())).shape
    names = list(ids) or [f"{task}/{i:04d}" for i in range(n)]
    lengths = list(traces) or [TRACE] * n
    with Store.open(folder, create=True) as store:
        store.write_meta("stop_text", STOP_TEXTS["docs"])
        store.start_session({"engine": "scripted"})
        store._db.execute("BEGIN")
        for i, name in enumerate(names):
            store.add_sample(
                task, Sample(name, (Message("user", "?"),), "x", groups[i] if len(groups) else "")
            )
            for repeat in range(n_repeats):
                for mode in dict.fromkeys(mode for mode, _ in scores):
                    key = RolloutKey(task, name, mode, repeat)
                    rollout = store.add_rollout(
                        key, f"{prompt or mode}-{name[-4:]}".rjust(64, "0")[::-1], 9, 0, 9999
                    )
                    if mode == THINKING:
                        store.add_think(rollout, 0, REPLY, Trace(lengths[i], "closed"), 1)
                    seen: set[Ending] = set()
                    for (there, budget), values in scores.items():
                        forced = mode == THINKING and budget <= lengths[i]
                        length = int(budget) if forced else lengths[i] if mode == THINKING else 0
                        ending = Ending("forced" if forced else "natural", length)
                        if there != mode or ending in seen:
                            continue
                        seen.add(ending)
                        store.add_answer(rollout, ending, REPLY, 1)
                        score = values[i, repeat]
                        told = Verdict("correct" if score == 1 else "incorrect", score, "x")
                        store.add_verdict(rollout, ending, Verdict.error("no") if np.isnan(score) else told)
        store._db.execute("COMMIT")
    sampling = {
        f"sampling.{mode.replace('-', '_')}.temperature": 0.6 for mode in (THINKING, NON_THINKING, BASE)
    }
    run: dict[str, Any] = {
        "model": {"name": folder.name, "fingerprint": f"sha256:{folder.name}"},
        "identity": {
            "seed": seed,
            "stop_text": STOP_TEXTS["docs"],
            "max_answer_tokens": 64,
            "options.sums": {},
        }
        | sampling
        | dict(identity or {}),
        "settings": {"limit": limit},
        "budgets": [format_budget(b) for mode, b in scores if mode == THINKING],
        "modes": list(dict.fromkeys(mode for mode, _ in scores)),
        "tasks": {
            task: {
                "metric": "accuracy",
                "average": "groups" if len(groups) else "questions",
                "parallel": parallel,
                "questions": planned or n,
                "repeats": n_repeats,
            }
        },
        "protocol": {"name": protocol, "departures": list(departures)},
        "versions": {"qwen3_eval": "0.1.0"},
        "status": status,
    }
    write_run(folder, run)
    return folder


def right(share: float, n: int = N, n_repeats: int = 1) -> Floats:
    """Scores of which the first `share` are 1."""
    return np.repeat((np.arange(n) < round(share * n)).astype(float)[:, None], n_repeats, axis=1)


CELLS: Cells = {(THINKING, 1024): right(0.5), (THINKING, 4096): right(0.75), (NON_THINKING, 0): right(0.25)}


def make_three(folder: Path) -> Path:
    """Makes a baseline, a candidate that answers alike, and one that has lost a fifth at 4k."""
    make_run(folder / "base", CELLS)
    make_run(folder / "same", CELLS, seed=1)
    make_run(folder / "worse", {**CELLS, (THINKING, 4096): right(0.55)}, seed=1)
    return folder


def gate(folder: Path, candidate: str, *more: str, baseline: str = "base", max_drop: str = "0.05") -> int:
    named = baseline if baseline.startswith("qwen3-report/") else f"{folder}/{baseline}"
    return main(
        ["gate", f"baseline={named}", f"candidate={folder}/{candidate}", f"gate.max_drop={max_drop}", *more]
    )


def read_gate(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "gate.json").read_text())
    return found


def by_place(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        " ".join(filter(None, [m["mode"], m["budget"], m["name"]])): m for m in read_gate(folder)["metrics"]
    }
