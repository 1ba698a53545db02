"""AIME 2025: the 30 problems of the American Invitational Mathematics Examination I and II; answers 0-999."""

from qwen3_eval.data import Row
from qwen3_eval.scoring.math import ANSWER_IS, BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


@task(
    name="aime25",
    card=Card(
        hub_id="math-ai/aime25",
        config="default",
        split="test",
        revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
        rows=30,
        columns=("id", "problem", "answer"),
        fingerprint="93226328a3bc794c9b7cf8ccd90beb65491bafa0ac58b132f3c11fe9976131b9",
        licence="Apache-2.0",
        prompt=f"<problem>\n{BOXED_INSTRUCTION}",
        protocol="0-shot chat, 64 answers to each problem, 38,912 output tokens; "
        "the last box, else 'the answer is x'",
        source="Qwen3 technical report, arXiv:2505.09388, section 4.6; prompt: Qwen3 model cards",
    ),
    scorer=math_scorer(fallback=(ANSWER_IS,)),
    max_output_tokens=38_912,
    repeats=64,
)
def aime25(row: Row, sample_id: str) -> Sample:
    target = str(int(row["answer"]))  # "025" on an AIME answer sheet is the number 25
    messages = (Message("user", f"{row['problem']}\n{BOXED_INSTRUCTION}"),)
    return Sample(sample_id, messages, target, metadata={"id": str(row["id"])})
