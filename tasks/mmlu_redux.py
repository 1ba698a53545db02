"""MMLU-Redux 2.0: 5,700 questions of MMLU, 100 of each subject, whose errors experts have marked."""

import re
from typing import Any, Literal

from qwen3_eval.data import Row
from qwen3_eval.few_shot import CHOICE_STOP, FewShot, ask_choice
from qwen3_eval.scoring.choice import CHOICE_INSTRUCTION, choice_scorer, format_question
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample

# Source: Hendrycks et al. 2021, arXiv:2009.03300, appendix B; the four areas of the authors' categories.py.
AREAS = {
    "STEM": (
        "abstract_algebra astronomy college_biology college_chemistry college_computer_science "
        "college_mathematics college_physics computer_security conceptual_physics electrical_engineering "
        "elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science "
        "high_school_mathematics high_school_physics high_school_statistics machine_learning"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history high_school_world_history "
        "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy "
        "prehistory professional_law world_religions"
    ),
    "social sciences": (
        "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics "
        "high_school_microeconomics high_school_psychology human_sexuality professional_psychology "
        "public_relations security_studies sociology us_foreign_policy"
    ),
    "other": (
        "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging management "
        "marketing medical_genetics miscellaneous nutrition professional_accounting professional_medicine "
        "virology"
    ),
}
AREA_OF = {subject: area for area, subjects in AREAS.items() for subject in subjects.split()}

Policy = Literal["ok_and_corrected", "ok", "all"]

_CHOICES = re.compile(r"\(?\s*([0-3A-D](?:(?:\s*,\s*|\s+or\s+|\s+and\s+|\s+)[0-3A-D])*)\s*\)?")


def read_correction(text: Any) -> list[str]:
    """Returns the letters that an annotator's `correct_answer` names ("2", "B", "0 or 1"); none in prose."""
    found = _CHOICES.fullmatch(str(text).strip())
    if found is None:
        return []
    named = re.findall(r"[0-3A-D]", found[1])
    return list(dict.fromkeys("ABCD"[int(name)] if name.isdigit() else name for name in named))


def judge_row(row: Row, policy: Policy) -> tuple[list[str], str]:
    """Returns the letters that count as right, none where the row is not asked, and how that was decided."""
    published, kind = "ABCD"[int(row["answer"])], row["error_type"]
    if kind == "ok":
        return [published], "ok"
    corrected = read_correction(row["correct_answer"])
    if kind == "wrong_groundtruth" and len(corrected) == 1 and policy != "ok":
        return corrected, "corrected"
    if policy != "all":
        return [], "left out"
    if kind == "multiple_correct_answers" and corrected:
        return corrected, "any of several"
    return [published], "as published"


@task(
    name="mmlu_redux",
    card=Card(
        hub_id="edinburgh-dawg/mmlu-redux-2.0",
        config=tuple(sorted(AREA_OF)),
        split="test",
        rows=5700,
        columns=("question", "choices", "answer", "error_type", "correct_answer"),
        fingerprint="24c1fb3e3b10750cd9b5d9e750782a494010d9178ab1307e8502d0f6fce84127",
        licence="CC-BY-4.0",
        prompt=f"<question>\nA. <choice> ... D. <choice>\n\n{CHOICE_INSTRUCTION}",
        protocol="0-shot chat; the answer field, else the boxed letter, else the letter stated last; "
        "policy ok_and_corrected: 5,330 ok rows and 102 whose corrected answer can be read",
        source="Gema et al. 2024, arXiv:2406.04127; prompt: Qwen3 model cards, Best Practices",
        departures="the Qwen3 report states no policy for rows with errors, and no commit of the data; "
        "mode=base: 5-shot as in the report, examples are other ok rows of the subject, not MMLU's dev set",
    ),
    scorer=choice_scorer(),
    few_shot=FewShot(
        n=5,
        ask=lambda row: ask_choice(row["question"], row["choices"]),
        answer=lambda row: f" {'ABCD'[int(row['answer'])]}",
        stop=CHOICE_STOP,
        within=lambda row: row["config"],
        usable=lambda row: row["error_type"] == "ok",
    ),
)
def mmlu_redux(
    row: Row, sample_id: str, *, policy: Policy = "ok_and_corrected", instruction: str = CHOICE_INSTRUCTION
) -> Sample | None:
    """A row under a policy: `ok` asks the rows without error alone, `all` every row, as far as it can be."""
    right, outcome = judge_row(row, policy)
    if not right:
        return None
    subject = row["config"]
    return Sample(
        sample_id,
        (Message("user", format_question(row["question"], row["choices"], instruction)),),
        right[0] if len(right) == 1 else right,
        group=f"{AREA_OF[subject]}/{subject}",
        metadata={"subject": subject, "error_type": row["error_type"], "policy_outcome": outcome},
    )
