"""GSM8K: 1,319 word problems of grade-school arithmetic, with integer answers."""

import re

from qwen3_eval.data import Row
from qwen3_eval.few_shot import FewShot
from qwen3_eval.scoring.math import ANSWER_IS, ANSWER_LINE, BOXED_INSTRUCTION, HASHES, math_scorer
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample

_CALCULATOR = re.compile(r"<<.*?>>")  # notes of the authors for a calculator, not part of the solution

FEW_SHOT = FewShot(
    n=4,
    ask=lambda row: f"Question: {row['question']}\nAnswer:",
    answer=lambda row: f" {_CALCULATOR.sub('', row['answer'])}",
    stop=("\nQuestion:",),
    split="train",
    split_rows=7473,
)


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
        departures="mode=base: 4-shot as in the Qwen3 report, whose examples are not known; here rows of the "
        "training set; other harnesses also take the last number of an answer that states none",
    ),
    scorer=math_scorer(fallback=(HASHES, ANSWER_LINE, ANSWER_IS)),
    few_shot=FEW_SHOT,
)
def gsm8k(row: Row, sample_id: str, *, instruction: str = BOXED_INSTRUCTION) -> Sample:
    target = row["answer"].rsplit("####", 1)[1].strip().replace(",", "")
    return Sample(sample_id, (Message("user", f"{row['question']}\n{instruction}"),), target)
