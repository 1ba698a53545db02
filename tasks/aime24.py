"""AIME 2024: the 30 problems of the American Invitational Mathematics Examination I and II; answers 0-999."""

from qwen3_eval.data import Row
from qwen3_eval.scoring.math import ANSWER_IS, BOXED_INSTRUCTION, math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


@task(
    name="aime24",
    card=Card(
        hub_id="HuggingFaceH4/aime_2024",
        config="default",
        split="train",
        revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        rows=30,
        columns=("id", "problem", "answer"),
        fingerprint="f59f6d0d47cc3d0bb23a3d3d0e618d733ad4dcca47351e3c6f0ca9ca6622c240",
        licence="Apache-2.0 as mirrored; the hub's card names none",
        prompt=f"<problem>\n{BOXED_INSTRUCTION}",
        protocol="0-shot chat, 64 answers to each problem, 38,912 output tokens; "
        "the last box, else 'the answer is x'",
        source="Qwen3 technical report, arXiv:2505.09388, section 4.6; prompt: Qwen3 model cards",
    ),
    scorer=math_scorer(fallback=(ANSWER_IS,)),
    max_output_tokens=38_912,
    repeats=64,
)
def aime24(row: Row, sample_id: str) -> Sample:
    target = str(int(row["answer"]))  # "025" on an AIME answer sheet is the number 25
    messages = (Message("user", f"{row['problem']}\n{BOXED_INSTRUCTION}"),)
    return Sample(sample_id, messages, target, metadata={"id": str(row["id"])})
