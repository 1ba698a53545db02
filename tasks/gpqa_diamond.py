"""GPQA Diamond: 198 questions of graduate-level science that no search answers. Hub only, and gated."""

import random
from hashlib import sha256

from qwen3_eval.data import Row
from qwen3_eval.few_shot import FewShot, ask_choice
from qwen3_eval.scoring.choice import CHOICE_INSTRUCTION, choice_scorer, format_question
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample

_CHOICES = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def order_choices(row: Row) -> list[str]:
    """Returns the columns of the choices, shuffled by a seed from the row's id: alike on every machine."""
    rng = random.Random(int.from_bytes(sha256(row["Record ID"].encode()).digest()[:8]))
    # `random()` alone is promised to stay the same between Python versions; `shuffle` is not.
    return sorted(_CHOICES, key=lambda _: rng.random())


def right_letter(row: Row) -> str:
    return "ABCD"[order_choices(row).index("Correct Answer")]


def explain(row: Row) -> str:
    """Returns an example's answer: the authors' explanation, then the letter."""
    return f" {row['Explanation'].strip()} The answer is {right_letter(row)}."


@task(
    name="gpqa_diamond",
    card=Card(
        hub_id="Idavidrein/gpqa",
        config="gpqa_diamond",
        split="train",
        rows=198,
        columns=(
            "Record ID", "Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2",
            "Incorrect Answer 3", "High-level domain",
        ),
        licence="CC-BY-4.0; its authors ask that no question be published in plain text",
        prompt=f"<question>\nA. <choice> ... D. <choice>\n\n{CHOICE_INSTRUCTION}",
        protocol="0-shot chat, 10 answers to each question; choices in an order that the row's id decides; "
        "the answer field, else the boxed letter, else the letter stated last",
        source="Rein et al. 2023, arXiv:2311.12022; 10 answers: Qwen3 technical report, arXiv:2505.09388, "
        "section 4.6; prompt: Qwen3 model cards, Best Practices",
        departures="the order of the choices in the report is not known; mode=base: 5-shot with explanations "
        "as in the report, examples are other rows of the domain",
    ),
    scorer=choice_scorer(),
    few_shot=FewShot(
        n=5,
        ask=lambda row: ask_choice(row["Question"], [row[name].strip() for name in order_choices(row)]),
        answer=explain,
        stop=("\n\n",),
        within=lambda row: row["High-level domain"],
    ),
    repeats=10,
)  # fmt: skip
def gpqa_diamond(row: Row, sample_id: str, *, instruction: str = CHOICE_INSTRUCTION) -> Sample:
    choices = [row[name].strip() for name in order_choices(row)]
    question = format_question(row["Question"].strip(), choices, instruction)
    return Sample(
        sample_id,
        (Message("user", question),),
        right_letter(row),
        group=row["High-level domain"],
        metadata={"record_id": row["Record ID"]},
    )
