"""GSM8K: 1,319 word problems of grade-school arithmetic, with integer answers."""

from qwen3_eval.data import Row
from qwen3_eval.scoring.math import ANSWER_IS, ANSWER_LINE, BOXED_INSTRUCTION, HASHES, math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


@task(
    name="gsm8k",
    card=Card(
        hub_id="openai/gsm8k",
        config="main",
        split="test",
        revision="740312add88f781978c0658806c59bc2815b9866",
        rows=1319,
        columns=("question", "answer"),
        fingerprint="32c548f08195e19e33408b844dd7be6aa4bcae457d957bc05909ff4bd4a00595",
        licence="MIT",
        prompt=f"<question>\n{BOXED_INSTRUCTION}",
        protocol="0-shot chat; the last box, else '#### x', 'A: x' or 'the answer is x'; equal by value",
        source="Cobbe et al. 2021, arXiv:2110.14168; prompt: Qwen3 model cards, Best Practices",
        departures="the Qwen3 report's 4-shot GSM8K is of base models; other harnesses also take "
        "the last number of an answer that states none",
    ),
    scorer=math_scorer(fallback=(HASHES, ANSWER_LINE, ANSWER_IS)),
)
def gsm8k(row: Row, sample_id: str, *, instruction: str = BOXED_INSTRUCTION) -> Sample:
    target = row["answer"].rsplit("####", 1)[1].strip().replace(",", "")
    return Sample(sample_id, (Message("user", f"{row['question']}\n{instruction}"),), target)
