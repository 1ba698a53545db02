"""MATH-500: 500 competition problems of the MATH test set, seven subjects, five levels; answers in LaTeX."""

from qwen3_eval.data import Row
from qwen3_eval.few_shot import FewShot
from qwen3_eval.scoring.math import BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


@task(
    name="math500",
    card=Card(
        hub_id="HuggingFaceH4/MATH-500",
        config="default",
        split="test",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        rows=500,
        columns=("problem", "answer", "subject", "level", "unique_id"),
        fingerprint="06f45acd0d966f9668f797340b8d06e42152f71bd1add115166c5ed585ee377f",
        licence="MIT",
        prompt=f"<problem>\n{BOXED_INSTRUCTION}",
        protocol="0-shot chat; the last box; equal by value, as written, or by math-verify; groups: subjects",
        source="Lightman et al. 2023, arXiv:2305.20050 (the selection); Hendrycks et al. 2021, "
        "arXiv:2103.03874; prompt: Qwen3 model cards",
        departures="units and bases are not compared: 52 counts for 52_8, as in math-verify; mode=base: "
        "4-shot as the Qwen3 report's MATH, examples are other rows of the subject",
    ),
    scorer=math_scorer(),
    few_shot=FewShot(
        n=4,
        ask=lambda row: f"Problem: {row['problem']}\nSolution:",
        answer=lambda row: f" {row['solution']}",
        stop=("\nProblem:",),
        within=lambda row: row["subject"],
    ),
)
def math500(row: Row, sample_id: str, *, instruction: str = BOXED_INSTRUCTION) -> Sample:
    messages = (Message("user", f"{row['problem']}\n{instruction}"),)
    metadata = {"level": int(row["level"]), "unique_id": row["unique_id"]}
    return Sample(sample_id, messages, row["answer"], group=row["subject"], metadata=metadata)
