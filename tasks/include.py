"""INCLUDE: questions from local exams in 44 languages, written there and not translated."""

from qwen3_eval.data import Row
from qwen3_eval.few_shot import CHOICE_STOP, FewShot, ask_choice
from qwen3_eval.scoring.choice import CHOICE_INSTRUCTION, choice_scorer, format_question
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample

LANGUAGES = (
    "Albanian", "Arabic", "Armenian", "Azerbaijani", "Basque", "Belarusian", "Bengali", "Bulgarian",
    "Chinese", "Croatian", "Dutch", "Estonian", "Finnish", "French", "Georgian", "German", "Greek", "Hebrew",
    "Hindi", "Hungarian", "Indonesian", "Italian", "Japanese", "Kazakh", "Korean", "Lithuanian", "Malay",
    "Malayalam", "Nepali", "North Macedonian", "Persian", "Polish", "Portuguese", "Russian", "Serbian",
    "Spanish", "Tagalog", "Tamil", "Telugu", "Turkish", "Ukrainian", "Urdu", "Uzbek", "Vietnamese",
)  # fmt: skip


def _describe(hub_id: str, rows: int) -> Card:
    return Card(
        hub_id=hub_id,
        config=LANGUAGES,
        split="test",
        rows=rows,
        columns=("question", "option_a", "option_b", "option_c", "option_d", "answer"),
        licence="Apache-2.0",
        prompt=f"<question>\nA. <choice> ... D. <choice>\n\n{CHOICE_INSTRUCTION}",
        protocol="0-shot chat; the answer field, else the boxed letter, else the letter stated last; "
        "the mean of the languages' scores, over 10 % of each language",
        source="Romanou et al. 2024, arXiv:2411.19799; the 10 %: Qwen3 technical report, arXiv:2505.09388, "
        "section 4.6; prompt: Qwen3 model cards, Best Practices",
        departures="which 10 % the report drew is not known; mode=base: 5-shot as in the report, examples "
        "are other rows of the language",
    )


FEW_SHOT = FewShot(
    n=5,
    ask=lambda row: ask_choice(row["question"], [row[f"option_{letter}"] for letter in "abcd"]),
    answer=lambda row: f" {'ABCD'[int(row['answer'])]}",
    stop=CHOICE_STOP,
    within=lambda row: row["config"],
)


@task(
    name="include",
    card=_describe("CohereLabs/include-base-44", 22_637),
    scorer=choice_scorer(),
    few_shot=FEW_SHOT,
    share=0.1,
    average="groups",
)
@task(
    name="include_lite",
    card=_describe("CohereLabs/include-lite-44", 10_770),
    scorer=choice_scorer(),
    few_shot=FEW_SHOT,
    share=0.1,
    average="groups",
)
def include(row: Row, sample_id: str, *, instruction: str = CHOICE_INSTRUCTION) -> Sample:
    question = format_question(row["question"], [row[f"option_{letter}"] for letter in "abcd"], instruction)
    metadata = {name: str(row[name]) for name in ("subject", "domain", "country") if name in row}
    return Sample(
        sample_id,
        (Message("user", question),),
        "ABCD"[int(row["answer"])],
        group=row["config"],
        metadata=metadata,
    )
