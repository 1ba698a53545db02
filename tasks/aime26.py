"""AIME 2026: the 30 problems of the American Invitational Mathematics Examination I and II; answers 0-999."""

from qwen3_eval.data import Row
from qwen3_eval.scoring.math import ANSWER_IS, BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


@task(
    name="aime26",
    card=Card(
        hub_id="MathArena/aime_2026",
        config="default",
        split="train",
        rows=30,
        columns=("problem_idx", "problem", "answer"),
        licence="Apache-2.0 as mirrored; the hub's card names none",
        prompt=f"<problem>\n{BOXED_INSTRUCTION}",
        protocol="0-shot chat, 64 answers to each problem, 38,912 output tokens; "
        "the last box, else 'the answer is x'",
        source="MathArena; protocol as the Qwen3 technical report's for AIME, arXiv:2505.09388, section 4.6; "
        "prompt: Qwen3 model cards",
        departures="the report is older than these problems",
    ),
    scorer=math_scorer(fallback=(ANSWER_IS,)),
    max_output_tokens=38_912,
    repeats=64,
)
def aime26(row: Row, sample_id: str) -> Sample:
    problem = row["problem"].removesuffix(BOXED_INSTRUCTION).rstrip()  # some copies carry the instruction
    messages = (Message("user", f"{problem}\n{BOXED_INSTRUCTION}"),)
    return Sample(sample_id, messages, str(int(row["answer"])), metadata={"id": str(row["problem_idx"])})
