"""What `policy` prints and leaves in a run folder: the table, the findings in words, the figure."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, TextIO

from qwen3_eval.errors import StoreError
from qwen3_eval.policy.figure import draw_policies
from qwen3_eval.policy.points import BY_GROUP, FIXED, ORACLE, PREDICTOR, PREDICTOR_SKIPS, STABLE, TESTED
from qwen3_eval.policy.score import COSTS, Cost
from qwen3_eval.report.report_table import ReportTable
from qwen3_eval.report.tables import (
    defuse_formula,
    format_difference,
    format_interval,
    format_p,
    format_score,
    format_share,
    print_table,
)
from qwen3_eval.report.whole_file import write_all
from qwen3_eval.stats.paired import ALPHA

if TYPE_CHECKING:
    import pandas as pd

MEANINGS = {
    FIXED: "the same budget for every question; the curve that the others are held against",
    STABLE: (
        "probes the budgets in turn, and stops when so many in a row gave the same answer, or the thinking "
        "has ended; the answer of each probe costs its tokens"
    ),
    BY_GROUP: (
        "no thinking in the groups where it scored no less than the fixed budget did, on the other folds; "
        "that budget elsewhere"
    ),
    PREDICTOR: (
        "the thinking budget with the best score predicted from the prompt, less a price for each predicted "
        "token; one that pays 2k tokens gives as many for one more right answer"
    ),
    PREDICTOR_SKIPS: "the same, with non-thinking among the options",
    ORACLE: (
        "has the verdicts before it chooses, at the same prices: a bound on what any choice between these "
        "options can reach, not a policy"
    ),
}
SPENT: dict[Cost, str] = {"thinking": "thinking tokens", "all": "tokens"}


def beats(row: Mapping[Any, Any], cost: Cost) -> bool:
    """True where the policy is shown to score more than fixed budgets do for the same mean tokens."""
    above: bool = row[f"ci_low_{cost}"] > 0 and row[f"p_holm_{cost}"] < ALPHA
    return above


def list_policy_findings(table: "pd.DataFrame") -> list[tuple[str, str]]:
    """Returns (task, sentence): which policies beat fixed budgets, at their best settings, or that none does.

    All tokens count; a policy that beats them by thinking tokens alone is told apart.
    """
    found = []
    for task, rows in table.groupby("task", sort=False):
        tested = rows[rows["policy"].isin(TESTED)].to_dict(orient="records")
        said, silent = [], []
        for policy in dict.fromkeys(row["policy"] for row in tested):
            mine = [row for row in tested if row["policy"] == policy]
            shown = {cost: [row for row in mine if beats(row, cost)] for cost in COSTS}
            if shown["all"]:
                said.append(_tell(shown["all"], "all"))
            else:
                silent.append(policy)
            if shown["thinking"] and not shown["all"]:
                said.append(f"counting thinking tokens alone, {_tell(shown['thinking'], 'thinking')}")
        if len(silent) == len({row["policy"] for row in tested}):
            said.insert(0, "no policy beats fixed budgets at equal tokens with intervals apart")
        elif silent:
            said.append(f"not shown to beat them: {', '.join(silent)}")
        found += [(str(task), sentence) for sentence in said]
    return found


def _tell(rows: Sequence[Mapping[Any, Any]], cost: Cost) -> str:
    best = max(rows, key=lambda row: float(row[f"difference_{cost}"]))
    return (
        f"{best['policy']} ({best['setting']}) beats fixed budgets at equal tokens with intervals apart: "
        f"{format_score(best['score'])} for {best[_MEANS[cost]]:,.0f} {SPENT[cost]} a question, where the "
        f"best mix of fixed budgets has {format_score(best[f'mix_score_{cost}'])}: "
        f"{format_difference(best[f'difference_{cost}'])} "
        f"({format_interval(best[f'ci_low_{cost}'], best[f'ci_high_{cost}'])}, "
        f"p {format_p(best[f'p_holm_{cost}'])})"
    )


_MEANS: dict[Cost, str] = {"thinking": "thinking_tokens_mean", "all": "all_tokens_mean"}


def tabulate_policies(table: "pd.DataFrame") -> ReportTable:
    """Returns the table for people; a star marks what beats fixed budgets."""
    several = table["task"].nunique() > 1
    headings = [
        *(["task"] if several else []), "policy", "setting", "score", "95 % interval", "thinking",
        "all tokens", "skipped", "gain", "95 % interval", "p (Holm)", "gain (thinking)",
    ]  # fmt: skip
    rows: list[dict[Any, Any]] = table.to_dict(orient="records")
    cells = [
        [
            *([row["task"]] if several else []),
            row["policy"],
            row["setting"],
            format_score(row["score"]),
            f"{row['ci_low']:.2f} – {row['ci_high']:.2f}",
            f"{row['thinking_tokens_mean']:,.0f}",
            f"{row['all_tokens_mean']:,.0f}",
            format_share(row["non_thinking"]),
            _format_gain(row, "all"),
            _format_gain_interval(row),
            format_p(row["p_holm_all"]),
            _format_gain(row, "thinking"),
        ]
        for row in rows
    ]
    return ReportTable("policy", "Policies", caption_of(table), table, headings, cells, n_words=2 + several)


def _format_gain_interval(row: Mapping[Any, Any]) -> str:
    if math.isnan(row["difference_all"]):
        return "–"
    return format_interval(row["ci_low_all"], row["ci_high_all"])


def _format_gain(row: Mapping[Any, Any], cost: Cost) -> str:
    if math.isnan(row[f"difference_{cost}"]):
        return "–"
    return format_difference(row[f"difference_{cost}"]) + (" *" if beats(row, cost) else "")


def caption_of(table: "pd.DataFrame") -> str:
    """Returns what the numbers rest on: questions, repeats, intervals, correction."""
    counts = [
        f"{task}: {rows['n_questions'].max():,} questions"
        + (f" × {rows['n_repeats'].max()} repeats" if rows["n_repeats"].max() > 1 else ", 1 repeat")
        for task, rows in table.groupby("task", sort=False)
    ]
    return (
        f"{'; '.join(counts)}. Gain: the policy's score less that of the best random mix of two fixed "
        "budgets, non-thinking among them, with the same mean tokens (all of them; in the last column those "
        "of thinking), paired over questions, repeats averaged first. Intervals: 95 %. A star: beats fixed "
        "budgets, with the interval above 0 and p < 0.05 after Holm's correction over a task's policies and "
        "settings. What a choice rests on was learnt from other questions. All tokens: thinking, answer, and "
        "the answers of probes. Skipped: answered without thinking. Pays: what a predictor would give for "
        "one more right answer."
    )


def print_policies(
    table: "pd.DataFrame", notes: Mapping[str, Sequence[str]], file: TextIO | None = None
) -> None:
    """Prints the table, what the policies are, the notes of each task and the findings."""
    file = file or sys.stdout
    shown = tabulate_policies(table)
    print_table(shown.headings, shown.cells, shown.n_words, file)
    print(f"\n{fill(shown.caption, 110)}\n", file=file)
    for task, said in _notes(notes):
        print(f"{task}: {said}", file=file)
    for task, said in list_policy_findings(table):
        print(f"{task}: {said}", file=file)


def format_policies(
    table: "pd.DataFrame", notes: Mapping[str, Sequence[str]], about: Mapping[str, Any]
) -> str:
    """Returns policy.md: the findings, the figure, the table, and what each policy does."""
    shown = tabulate_policies(table)
    aligned = ["---"] * shown.n_words + ["---:"] * (len(shown.headings) - shown.n_words)
    rows = [shown.headings, aligned, *shown.cells]
    there = [policy for policy in MEANINGS if policy in set(table["policy"])]
    return "\n".join([
        f"# {about['run']}: a budget for each question",
        "",
        *(f"- **{task}:** {said}" for task, said in list_policy_findings(table)),
        *(f"- {task}: {said}" for task, said in _notes(notes)),
        "",
        "![score against mean tokens](policy.svg)",
        "",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
        "",
        shown.caption,
        "",
        *(f"- **{policy}**: {MEANINGS[policy]}." for policy in there),
        "",
        f"{about['folds']}-fold cross-validation over questions, seed {about['seed']}.",
        "",
    ])  # fmt: skip


def _notes(notes: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(task, said) for task, of_task in notes.items() for said in of_task]


def write_policies(
    table: "pd.DataFrame", notes: Mapping[str, Sequence[str]], about: Mapping[str, Any], out_dir: Path
) -> list[Path]:
    """Writes policy.csv, .json, .md, .svg and .png; returns their paths. Raises StoreError.

    `about` names the `run`, and the `folds` and `seed` of the cross-validation.
    """
    figures = draw_policies(table, str(about["run"]))
    found = {task: [said for name, said in list_policy_findings(table) if name == task] for task in notes}
    points = json.loads(table.to_json(orient="records"))  # which has null for NaN
    summary = {**about, "findings": found, "notes": notes, "policies": points}
    csv = table.round(6)
    for name in ("task", "policy", "setting"):
        csv[name] = [defuse_formula(str(text)) for text in csv[name]]
    contents: dict[str, str | bytes] = {
        "policy.csv": str(csv.to_csv(index=False, lineterminator="\n")),
        "policy.json": json.dumps(summary, indent=2, ensure_ascii=False) + "\n",
        "policy.md": format_policies(table, notes, about),
        "policy.svg": figures["svg"],
        "policy.png": figures["png"],
    }
    try:
        return write_all(out_dir, contents)
    except OSError as error:
        raise StoreError(
            f"the policies cannot be written to '{out_dir}': {error.strerror or error}; make room, or "
            "mend the folder's permissions"
        ) from error
