"""MMMLU: the questions of MMLU, translated by people into 14 languages; 14,042 in each."""

from typing import Literal

from qwen3_eval.data import Row
from qwen3_eval.few_shot import CHOICE_STOP, FewShot, ask_choice
from qwen3_eval.scoring.choice import CHOICE_INSTRUCTION, choice_scorer, format_question
from qwen3_eval.task import Card, task
from qwen3_eval.types import Message, Sample

LOCALES = (
    "AR_XY", "BN_BD", "DE_DE", "ES_LA", "FR_FR", "HI_IN", "ID_ID", "IT_IT", "JA_JP", "KO_KR", "PT_BR",
    "SW_KE", "YO_NG", "ZH_CN",
)  # fmt: skip
YORUBA = "YO_NG"


@task(
    name="mmmlu",
    card=Card(
        hub_id="openai/MMMLU",
        config=LOCALES,
        split="test",
        rows=14_042 * len(LOCALES),
        columns=("Question", "A", "B", "C", "D", "Answer", "Subject"),
        licence="MIT",
        prompt=f"<question>\nA. <choice> ... D. <choice>\n\n{CHOICE_INSTRUCTION}",
        protocol="0-shot chat; the answer field, else the boxed letter, else the letter stated last; "
        "the mean of the languages' scores, over 10 % of each language",
        source="openai/MMMLU; the languages and the 10 %: Qwen3 technical report, arXiv:2505.09388, "
        "section 4.6 and table 10; prompt: Qwen3 model cards, Best Practices",
        departures="English, which the report counts in, is not in this data set; which 10 % the report "
        "drew is not known; mode=base: 5-shot as in the report, examples are other rows of the language",
    ),
    scorer=choice_scorer(),
    few_shot=FewShot(
        n=5,
        ask=lambda row: ask_choice(row["Question"], [row[letter] for letter in "ABCD"]),
        answer=lambda row: f" {row['Answer']}",
        stop=CHOICE_STOP,
        within=lambda row: row["config"],
    ),
    share=0.1,
    average="groups",
    parallel=True,
)
def mmmlu(
    row: Row,
    sample_id: str,
    *,
    languages: Literal["report", "all"] = "report",
    instruction: str = CHOICE_INSTRUCTION,
) -> Sample | None:
    """A row; `languages=report` leaves Yoruba out, as the Qwen3 report does."""
    if languages == "report" and row["config"] == YORUBA:
        return None
    question = format_question(row["Question"], [row[letter] for letter in "ABCD"], instruction)
    return Sample(
        sample_id,
        (Message("user", question),),
        row["Answer"],
        group=row["config"],
        metadata={"subject": row["Subject"]},
    )
