"""AIME: 30 problems a year of the American Invitational Mathematics Examination I and II; answers 0-999."""

from typing import Any

from qwen3_eval.data import Row
from qwen3_eval.scoring.math import ANSWER_IS, BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


def _describe(*, number: str = "id", departures: str = "none", **where: Any) -> Card:
    """The card of one year; `number` is the column that numbers the problems."""
    return Card(
        config="default",
        rows=30,
        columns=(number, "problem", "answer"),
        prompt=f"<problem>\n{BOXED_INSTRUCTION}",
        protocol="0-shot chat, 64 answers to each problem, 38,912 output tokens; "
        "the last box, else 'the answer is x'",
        source="Qwen3 technical report, arXiv:2505.09388, section 4.6; prompt: Qwen3 model cards",
        departures=departures,
        **where,
    )


YEARS = {
    "aime24": _describe(
        hub_id="HuggingFaceH4/aime_2024",
        split="train",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        fingerprint="f59f6d0d47cc3d0bb23a3d3d0e618d733ad4dcca47351e3c6f0ca9ca6622c240",
        licence="Apache-2.0 as mirrored; the hub's card names none",
    ),
    "aime25": _describe(
        hub_id="math-ai/aime25",
        split="test",
        revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
        fingerprint="93226328a3bc794c9b7cf8ccd90beb65491bafa0ac58b132f3c11fe9976131b9",
        licence="Apache-2.0",
    ),
    "aime26": _describe(
        hub_id="MathArena/aime_2026",
        split="train",
        number="problem_idx",
        licence="Apache-2.0 as mirrored; the hub's card names none",
        departures="the report is older than these problems",
    ),
}


def read_problem(row: Row, sample_id: str, *, instruction: str = BOXED_INSTRUCTION) -> Sample:
    """A problem; its answer "025", as written on an AIME answer sheet, is the number 25."""
    problem = row["problem"].removesuffix(BOXED_INSTRUCTION).rstrip()  # some copies carry the instruction
    number = row["problem_idx"] if "problem_idx" in row else row["id"]
    messages = (Message("user", f"{problem}\n{instruction}"),)
    return Sample(sample_id, messages, str(int(row["answer"])), metadata={"id": str(number)})


for _name, _card in YEARS.items():
    task(
        name=_name,
        card=_card,
        scorer=math_scorer(fallback=(ANSWER_IS,)),
        max_output_tokens=38_912,
        repeats=64,
    )(read_problem)
