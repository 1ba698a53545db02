"""GPQA Diamond: 198 questions of graduate-level science that no search answers. Hub only, and gated."""

import random
from hashlib import sha256

from qwen3_eval.data import Row
from qwen3_eval.scoring.choice import CHOICE_INSTRUCTION, choice_scorer, format_question
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample


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
        departures="the order of the choices in the report is not known",
    ),
    scorer=choice_scorer(),
    repeats=10,
)  # fmt: skip
def gpqa_diamond(row: Row, sample_id: str, *, instruction: str = CHOICE_INSTRUCTION) -> Sample:
    """A row, its choices shuffled by a seed from its record id: alike on every machine and in every run."""
    names = ["Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"]
    rng = random.Random(int.from_bytes(sha256(row["Record ID"].encode()).digest()[:8]))
    # `random()` alone is promised to stay the same between Python versions; `shuffle` is not.
    order = sorted(names, key=lambda _: rng.random())
    question = format_question(row["Question"].strip(), [row[name].strip() for name in order], instruction)
    return Sample(
        sample_id,
        (Message("user", question),),
        "ABCD"[order.index("Correct Answer")],
        group=row["High-level domain"],
        metadata={"record_id": row["Record ID"]},
    )
