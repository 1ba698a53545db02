"""`gate`: does a candidate keep what a baseline scored? A verdict and an exit code, for a pipeline."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qwen3_eval.config import GateConfig
from qwen3_eval.errors import ConfigError, StoreError, did_you_mean
from qwen3_eval.gate.baseline import read_baseline, write_baseline
from qwen3_eval.gate.compliance import (
    THINKFOLLOW,
    check_followed_rules,
    holds_dialogues,
    list_followed_metrics,
    list_followed_notes,
    list_unlike_followed,
    read_followed,
)
from qwen3_eval.gate.judge import GateVerdict, judge
from qwen3_eval.gate.likeness import list_notes, list_unlike, list_unlike_published
from qwen3_eval.gate.metrics import find_gap, list_metrics, list_published_metrics
from qwen3_eval.gate.rules import Rules, read_rules
from qwen3_eval.gate.sides import Published, Side, read_side
from qwen3_eval.past_run import read_past_run
from qwen3_eval.protocol import QWEN3_REPORT
from qwen3_eval.types import MODES, Budget, Mode

if TYPE_CHECKING:
    from qwen3_eval.gate.report import GateReport

PASS, REGRESSION, INCONCLUSIVE = 0, 1, 3
"""Exit codes; bad input is 2, as everywhere."""


def gate(config: GateConfig) -> int:
    """Judges a candidate, prints and writes the verdict, and returns the exit code.

    Two folders of sweeps are judged, or two of `thinkfollow`. Raises ConfigError or StoreError, which exit
    with 2, where there is nothing to judge or the two sides cannot be compared.
    """
    from qwen3_eval.gate.report import announce, print_gate, write_gate

    of_dialogues = [holds_dialogues(config.baseline), holds_dialogues(config.candidate)]
    if all(of_dialogues):
        report, folder = _judge_dialogues(config)
    elif any(of_dialogues):
        raise _refuse_mixed(config, *of_dialogues)
    else:
        report, folder = _judge_sweeps(config)
    paths = write_gate(report, Path(config.out) if config.out else folder)
    print_gate(report, paths)
    announce(report)
    return report.exit_code


def _judge_dialogues(config: GateConfig) -> tuple["GateReport", Path]:
    from qwen3_eval.gate.report import GateReport

    baseline = read_followed(config.baseline, "baseline")
    candidate = read_followed(config.candidate, "candidate")
    _check_two(config.baseline, candidate.folder)
    _list_asked(config, [THINKFOLLOW], f"baseline='{config.baseline}'")
    rules = read_rules(config.gate, [THINKFOLLOW])
    check_followed_rules(rules)
    _check_like(list_unlike_followed(baseline, candidate))
    verdict = judge(list_followed_metrics(baseline, candidate, rules), rules.alpha)
    report = GateReport(
        verdict=verdict,
        exit_code=exit_code(verdict, rules),
        baseline=baseline.name,
        baseline_model=baseline.model,
        candidate=candidate.name,
        candidate_model=candidate.model,
        inconclusive=rules.inconclusive,
        limited=True,
        notes=list_followed_notes(baseline, candidate),
    )
    return report, candidate.folder


def _refuse_mixed(config: GateConfig, baseline: bool, candidate: bool) -> ConfigError:
    """Returns the error of two kinds; where the other one is nothing at all, its own error is raised."""
    if candidate:
        _find_baseline(config.baseline)
    else:
        read_past_run(config.candidate, "candidate")
    which, folder = ("candidate", config.candidate) if candidate else ("baseline", config.baseline)
    other, there = ("baseline", config.baseline) if candidate else ("candidate", config.candidate)
    return ConfigError(
        f"{which}='{folder}' holds dialogues of thinkfollow and {other}='{there}' does not; give two folders "
        "of thinkfollow, or two sweeps"
    )


def _check_two(baseline: str, candidate: Path) -> None:
    """Raises ConfigError where both sides are one folder."""
    path = Path(baseline).expanduser()
    if path.is_dir() and path.resolve() == candidate.resolve():
        raise ConfigError(f"baseline= and candidate= are the same folder, '{candidate}'; name two runs")


def _check_like(unlike: list[str]) -> None:
    """Raises StoreError that says why the two sides cannot be compared, if anything does."""
    if unlike:
        lines = "\n  ".join(unlike)
        raise StoreError(f"baseline and candidate cannot be compared:\n  {lines}")


def _judge_sweeps(config: GateConfig) -> tuple["GateReport", Path]:
    from qwen3_eval.gate.report import GateReport

    baseline = _find_baseline(config.baseline)
    past = read_past_run(config.candidate, "candidate")
    _check_two(config.baseline, past.folder)
    candidate = read_side(past)
    tasks = _choose_tasks(config, baseline, candidate)
    rules = read_rules(config.gate, tasks)
    if isinstance(baseline, Published):
        baseline = _narrow(baseline, tasks, candidate)
        if rules.max_forced is not None or rules.max_thinking_tokens is not None:
            raise ConfigError(
                f"gate.max_forced and gate.max_thinking_tokens need a baseline with records; {baseline.name} "
                "has scores alone"
            )
        _check_like(list_unlike_published(baseline, candidate))
        metrics = list_published_metrics(baseline, candidate, rules)
    else:
        _check_like(list_unlike(baseline, candidate, tasks))
        metrics = list_metrics(baseline, candidate, tasks, rules)
    verdict = judge(metrics, rules.alpha)
    report = GateReport(
        verdict=verdict,
        exit_code=exit_code(verdict, rules),
        baseline=baseline.name,
        baseline_model=baseline.model if isinstance(baseline, Published) else str(baseline.model.get("name")),
        candidate=candidate.name,
        candidate_model=str(candidate.model.get("name")),
        inconclusive=rules.inconclusive,
        limited=candidate.limited,
        notes=list_notes(baseline, candidate, tasks),
    )
    return report, past.folder


def export(config: GateConfig) -> int:
    """Writes a run as a small baseline file. Raises StoreError where the run is not finished."""
    if holds_dialogues(config.run.dir):
        raise ConfigError(
            f"run.dir='{config.run.dir}' holds dialogues of thinkfollow, and gate export takes sweeps; name "
            "the folder itself as baseline= (thinkfollow.jsonl and thinkfollow.json in it are read)"
        )
    past = read_past_run(config.run.dir, "run.dir")
    side = read_side(past)
    asked = _list_asked(config, list(side.tasks), f"run.dir='{past.folder}'") or list(side.tasks)
    side = replace(side, tasks={name: side.tasks[name] for name in asked})
    gaps = [side.unfinished, *(find_gap(name, task) for name, task in side.tasks.items())]
    gaps = [gap for gap in gaps if gap]
    if gaps:
        raise StoreError(
            f"run.dir='{past.folder}' cannot be a baseline: {'; '.join(gaps)}; let it run on, then export"
        )
    path = Path(config.out).expanduser() if config.out else past.folder / "baseline.json"
    if path.is_dir():
        raise ConfigError(f"out='{path}' is a folder; name the file, as out={path / 'baseline.json'}")
    write_baseline(side, path)
    cells = [cell for task in side.tasks.values() for cell in task.cells.values()]
    n_questions, n_errors = sum(len(task.ids) for task in side.tasks.values()), sum(c.n_errors for c in cells)
    print(
        f"baseline: {path} ({path.stat().st_size / 1000:,.0f} kB: {', '.join(side.tasks)}; "
        f"{n_questions:,} questions, {len(cells)} cells)"
    )
    if n_errors:
        print(f"{n_errors:,} records have no verdict (error): a gate on them passes from gate.max_error= on")
    return 0


def exit_code(verdict: GateVerdict, rules: Rules) -> int:
    """Returns 0, 1 or 3. `inconclusive=pass` lets pass what more data would decide, never what is missing."""
    if verdict.outcome == "pass":
        return PASS
    if verdict.outcome == "regression" or rules.inconclusive == "fail":
        return REGRESSION
    return PASS if rules.inconclusive == "pass" and not verdict.holes else INCONCLUSIVE


def _find_baseline(given: str) -> Side | Published:
    if not given:
        raise ConfigError(
            "baseline= is missing; name a run folder, a file of 'gate export', or published numbers, as "
            f"{QWEN3_REPORT}/Qwen3-8B"
        )
    path = Path(given).expanduser()
    if path.is_dir():
        return read_side(read_past_run(path, "baseline"))
    if path.is_file():
        return read_baseline(path)
    reference, _, model = given.partition("/")
    if reference == QWEN3_REPORT and model:
        return _read_published(model)
    raise StoreError(
        f"baseline='{given}' is neither a run folder nor a file of 'gate export', and published numbers are "
        f"named {QWEN3_REPORT}/MODEL"
    )


def _narrow(baseline: Published, tasks: list[str], candidate: Side) -> Published:
    """Returns the published scores of these tasks, in the modes that the candidate was asked in."""
    modes = _modes_of(candidate)
    kept = {
        (task, mode, budget): score
        for (task, mode, budget), score in baseline.scores.items()
        if task in tasks and mode in modes
    }
    return Published(baseline.name, baseline.model, kept)


def _modes_of(side: Side) -> set[str]:
    return {mode for task in side.tasks.values() for mode, _ in task.cells}


def _read_published(model: str) -> Published:
    from qwen3_eval.report.published.scores import (
        MODEL_TABLES,
        PERCENT,
        find_model,
        published_budget,
        read_published,
    )

    rows = read_published(QWEN3_REPORT)
    rows = rows[
        rows["source_table"].isin(MODEL_TABLES) & (rows["unit"] == PERCENT) & rows["mode"].isin(MODES)
    ]
    name = find_model(model, QWEN3_REPORT)
    if not name:
        known = sorted(rows["model"].unique())
        hint = did_you_mean(model, known)
        hint += f" it has: {', '.join(known)}" * (hint == ";")
        raise ConfigError(f"baseline='{QWEN3_REPORT}/{model}' is no model of that report{hint}")
    mine = rows[(rows["model"] == name) & (rows["task"] != "")].drop_duplicates(["task", "mode"])
    scores: dict[tuple[str, Mode, Budget], float] = {}
    for task, mode, score in zip(mine["task"], mine["mode"], mine["score"], strict=True):
        scores[str(task), mode, published_budget(mode, str(task))] = float(score)
    return Published(f"{QWEN3_REPORT}/{name}", name, scores)


def _choose_tasks(config: GateConfig, baseline: Side | Published, candidate: Side) -> list[str]:
    """Returns the tasks to judge. Raises ConfigError where one is not known, or none is shared."""
    if isinstance(baseline, Published):
        modes = _modes_of(candidate)
        of_baseline = [name for name, mode, _ in baseline.scores if mode in modes]
        known = [name for name in dict.fromkeys(of_baseline) if name in candidate.tasks]
    else:
        known = list(baseline.tasks)
    asked = _list_asked(config, known, f"baseline='{config.baseline}'")
    tasks = asked or known
    if not any(name in candidate.tasks for name in tasks):
        raise ConfigError(
            f"baseline='{config.baseline}' and candidate='{config.candidate}' share no task: the baseline "
            f"has {', '.join(tasks) or 'none of the candidate'}, the candidate {', '.join(candidate.tasks)}"
        )
    return tasks


def _list_asked(config: GateConfig, known: list[str], where: str) -> list[str]:
    """Returns the tasks that are named, none where none is. Raises ConfigError for one that is not there."""
    given = config.task if isinstance(config.task, list | tuple) else [config.task]
    asked = [str(name) for name in given if str(name)]
    for name in asked:
        if name not in known:
            raise ConfigError(
                f"task '{name}' is not in {where}{did_you_mean(name, known)} it has: "
                f"{', '.join(known) or 'none of the candidate'}"
            )
    return asked
